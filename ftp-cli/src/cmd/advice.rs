//! Adds to a failure what the operands and the login suggest to type instead.

use crate::console::output::Messages;
use crate::exit::{Exit, Failure};
use crate::options::{Command, Options, urls};

/// Returns the hint for a login that is anonymous for want of a user or a password.
pub(crate) fn anonymous(why: &str) -> String {
    format!("; this login is anonymous: {why}")
}

/// Commands that change a server.
const WRITERS: [Command; 8] = [
    Command::Put,
    Command::Mirror,
    Command::Batch,
    Command::Rm,
    Command::Mkdir,
    Command::Rmdir,
    Command::Mv,
    Command::Chmod,
];

/// Adds hints to the failure of a command that has used a server.
pub(super) fn advised(
    failure: Failure,
    command: Command,
    options: &Options,
    messages: &Messages,
) -> Failure {
    let mut hint = String::new();
    if is_of_server(&failure)
        && let Some(meant) = options.operands.iter().find_map(|operand| urls::meant(operand))
    {
        hint = meant;
    }
    // After the login, these replies mean missing rights, or a wrong name.
    let is_refused = matches!(failure.code, Some(530 | 532 | 550 | 553));
    let changes = match command {
        Command::Mirror => options.operands.last().is_some_and(|target| urls::is_remote(target)),
        command => WRITERS.contains(&command),
    };
    if is_refused
        && changes
        && failure.exit != Exit::Login
        && !failure.is_explained
        && let Some(why) = messages.usage().anonymous()
    {
        hint.push_str(&anonymous(why));
    }
    Failure { message: failure.message + &hint, ..failure }
}

/// Returns whether another URL could have helped.
fn is_of_server(failure: &Failure) -> bool {
    let exits = [Exit::Network, Exit::Timeout, Exit::Refused, Exit::Login, Exit::Tls];
    exits.contains(&failure.exit)
}
