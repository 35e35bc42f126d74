//! The commands, one file each, and their dispatch.

#[cfg(feature = "client")]
pub(crate) mod batch;
#[cfg(feature = "client")]
pub(crate) mod change;
pub(crate) mod completions;
#[cfg(feature = "server")]
pub(crate) mod control;
#[cfg(all(feature = "client", feature = "server"))]
pub(crate) mod demo;
#[cfg(feature = "client")]
pub(crate) mod doctor;
#[cfg(feature = "client")]
pub(crate) mod fxp;
#[cfg(feature = "client")]
pub(crate) mod get;
pub(crate) mod help;
#[cfg(feature = "client")]
pub(crate) mod ls;
pub(crate) mod man;
#[cfg(feature = "client")]
pub(crate) mod mirror;
#[cfg(feature = "client")]
pub(crate) mod put;
#[cfg(feature = "client")]
pub(crate) mod quote;
#[cfg(feature = "server")]
pub(crate) mod serve;
#[cfg(feature = "client")]
pub(crate) mod stat;

use std::ffi::OsString;
use std::fs::File;
use std::path::Path;

use crate::config_file;
use crate::connect::credentials::{anonymous_hint, check_input};
use crate::console::output::shown_path;
use crate::console::signals::start_watchdog;
use crate::console::{Hidden, Messages, Stdio, output};
use crate::exit::{Exit, Failure, Result};
use crate::options::{self, Command, Options, is_remote, is_url};
use crate::report::Events;
use crate::system;

/// Parses the arguments, applies the configuration file and runs the command. Messages hide
/// `hidden`.
///
/// # Errors
///
/// Returns the failure that ends the program.
pub(crate) fn run(arguments: Vec<OsString>, hidden: Hidden, stdio: &mut Stdio) -> Result {
    let asks_for_all = arguments.iter().any(|argument| argument == "--help");
    let (command, mut options) = options::parse(arguments)?;
    let configured = config_file::apply(command, &mut options);
    stdio.events = Events::from_options(&options, &stdio.output, hidden);
    configured?;
    start_watchdog(command, &options, stdio)?;
    options::check_sources(command, &options)?;
    if let Some(path) = options.value("log-file") {
        stdio.messages.log_to(path)?;
    }
    let options = &options;
    if options.has("version") {
        let version = concat!("ftp-cli ", env!("CARGO_PKG_VERSION"), "\n");
        return output::print(&mut stdio.output, version.as_bytes());
    }
    if options.has("help") {
        return help::print(command, asks_for_all, stdio);
    }
    let Some(command) = command else {
        return Err(Failure::usage("missing command; ftp-cli -h lists the commands"));
    };
    if command == Command::Ls
        && options.operands.is_empty()
        && options.names().eq(["human-readable"])
    {
        // A user who types `ls -h` without a URL expects what `-h` means elsewhere.
        return help::print(Some(command), false, stdio);
    }
    options.relate(command)?;
    check_input(command, options)?;
    refuse_type(command, options)?;
    let _held = hold(options)?;
    let done = match function(command) {
        Some(function) => function(options, stdio),
        None => command.built().map(drop),
    };
    let usage = &stdio.messages.usage;
    if options.is_verbose() && usage.counts.connections() > 0 {
        stdio.messages.say(usage);
    }
    let done = done.map_err(|failure| advised(failure, command, options, &stdio.messages));
    done.and_then(|()| stdio.messages.replies.check())
}

/// Checks that no URL has a `;type=`, which names no part of the path, if the command transfers nothing:
/// in curl and in names of files, it can mean another object.
///
/// # Errors
///
/// Returns `Usage` if one has.
fn refuse_type(command: Command, options: &Options) -> Result {
    use Command::{Chmod, Du, Mkdir, Mv, Rm, Rmdir, Stat};
    let has_type = |operand: &OsString| {
        let text = operand.as_encoded_bytes().to_ascii_lowercase();
        is_url(&text) && text.windows(6).any(|part| part == b";type=")
    };
    match command {
        Chmod | Du | Mkdir | Mv | Rm | Rmdir | Stat if options.operands.iter().any(has_type) => {
            let name = command.name();
            let message = format!("{name} does not support ;type=; in a name, write %3Btype=");
            Err(Failure::usage(message))
        }
        _ => Ok(()),
    }
}

type Function = fn(&Options, &mut Stdio) -> Result;

fn function(command: Command) -> Option<Function> {
    Some(match command {
        Command::Help => help::run,
        Command::Man => man::run,
        Command::Completions => completions::run,
        #[cfg(feature = "server")]
        Command::Serve => serve::run,
        #[cfg(feature = "server")]
        Command::Ctl => control::ctl,
        #[cfg(feature = "server")]
        Command::Passwd => control::passwd,
        #[cfg(feature = "server")]
        Command::User => control::user,
        #[cfg(all(feature = "client", feature = "server"))]
        Command::Demo => demo::run,
        #[cfg(feature = "client")]
        command => return of_client(command),
        #[cfg(not(feature = "client"))]
        _ => return None,
    })
}

#[cfg(feature = "client")]
fn of_client(command: Command) -> Option<Function> {
    Some(match command {
        Command::Get => get::run,
        Command::Put => put::run,
        Command::Ls => ls::run,
        Command::Mirror => mirror::run,
        Command::Stat => stat::run,
        Command::Du => stat::run_du,
        Command::Rm => change::rm,
        Command::Mkdir => change::mkdir,
        Command::Rmdir => change::rmdir,
        Command::Mv => change::mv,
        Command::Chmod => change::chmod,
        Command::Quote => quote::run,
        Command::Batch => batch::run,
        Command::Fxp => fxp::run,
        Command::Doctor => doctor::run,
        _ => return None,
    })
}

/// Locks the file of `--lock` until the returned value is dropped. Creates the file if it is
/// missing, and never removes it.
///
/// # Errors
///
/// Returns `Limit` if another run has the lock, and `Local` if the file cannot be opened or locked.
fn hold(options: &Options) -> Result<Option<File>> {
    let Some(path) = options.value("lock").map(Path::new) else { return Ok(None) };
    match system::hold(path) {
        Ok(Some(file)) => Ok(Some(file)),
        Ok(None) => {
            let message = format!("{}: locked by another run; nothing was done", shown_path(path));
            Err(Failure::new(Exit::Limit, message))
        }
        Err(error) => Err(Failure::local(shown_path(path), &error)),
    }
}

/// Adds to the refusal of a command that changes a server why its login is anonymous.
fn advised(failure: Failure, command: Command, options: &Options, messages: &Messages) -> Failure {
    // After the login, these replies mean missing rights, or a wrong name.
    let is_refused = matches!(failure.code, Some(530 | 532 | 550 | 553));
    let is_refused = is_refused && failure.exit != Exit::Login;
    let changes = match command {
        Command::Mirror => options.operands.last().is_some_and(|target| is_remote(target)),
        // These commands change a server.
        Command::Put | Command::Batch | Command::Rm | Command::Mkdir | Command::Rmdir => true,
        Command::Mv | Command::Chmod => true,
        _ => false,
    };
    match messages.usage.anonymous.get() {
        Some(why) if is_refused && changes && !failure.is_explained => {
            failure.hinted(&anonymous_hint(why))
        }
        _ => failure,
    }
}
