//! SITE (RFC 959 §4.1.3): commands of this server only.

use ftp_proto::{Pathname, Reply, ReplyCode, Severity, SiteArgument};

use super::attribute::AttributeChange;
use crate::auth::{Offer, Rights};
use crate::session::{Access, Outcome, Session};
use crate::site_commands::SiteRequest;
use crate::storage::Capabilities;

/// A word of `SITE` for the help.
struct SiteWord {
    form: &'static str,
    /// Whether a user with this offer can use it.
    is_offered: fn(Offer) -> bool,
}

/// Every word of `SITE` that is served.
const SITE_WORDS: &[SiteWord] = &[
    SiteWord { form: "HELP", is_offered: |_offer| true },
    SiteWord { form: "CHMOD <mode> <path>", is_offered: may_chmod },
];

fn may_chmod(Offer { rights, capabilities }: Offer) -> bool {
    rights.contains(Rights::CHMOD) && capabilities.contains(Capabilities::CHMOD)
}

/// Returns the forms of the words for this user, or for any user before login.
pub(super) fn forms(session: &Session) -> Vec<&'static str> {
    let offer = session.offer();
    let offered = SITE_WORDS.iter().filter(|word| (word.is_offered)(offer));
    offered.map(|word| word.form).collect()
}

/// `SITE HELP`: 214 with the user's commands. `SITE CHMOD <mode> <path>`: 200. 504 for unknown
/// words.
pub(super) fn site(session: &Session, argument: &SiteArgument) -> Outcome {
    match argument {
        SiteArgument::Help(_) => help(session).into(),
        SiteArgument::Chmod { mode, path } if can_chmod(session) => chmod(session, *mode, path),
        SiteArgument::Other { word, argument } => of_the_embedder(session, word, argument),
        _ => no_such_word(),
    }
}

/// Returns the embedder's answer, or 504 for an unknown word. A 1yz or 3yz would make the client
/// wait for a further reply that never comes, so it becomes 451.
fn of_the_embedder(session: &Session, word: &[u8], argument: &[u8]) -> Outcome {
    let Some(commands) = &session.context.site else { return no_such_word() };
    let Access::User(user) = &session.access else { return no_such_word() };
    let request =
        SiteRequest { word, argument, user: &user.name, rights: user.rights, peer: session.peer };
    match commands.serve(&request) {
        None => no_such_word(),
        Some(reply) if is_final(&reply) => reply.into(),
        Some(_) => Reply::new(ReplyCode::LOCAL_ERROR, "The command has no final reply").into(),
    }
}

fn is_final(reply: &Reply) -> bool {
    !matches!(reply.code().severity(), Severity::Preliminary | Severity::Intermediate)
}

fn no_such_word() -> Outcome {
    Reply::new(ReplyCode::PARAMETER_NOT_IMPLEMENTED, "No such SITE command").into()
}

fn help(session: &Session) -> Reply {
    let lines = forms(session).into_iter().map(|form| format!(" SITE {form}"));
    Reply::multi_line(ReplyCode::HELP, "Commands:", lines, "End")
}

/// Returns whether the storage knows permission bits. The right to set them is checked later.
fn can_chmod(session: &Session) -> bool {
    session.offer().capabilities.contains(Capabilities::CHMOD)
}

fn chmod(session: &Session, mode: u16, path: &Pathname) -> Outcome {
    let change = AttributeChange { modified: None, mode: Some(mode.into()) };
    match change.make(session, path) {
        Ok(_facts) => Reply::new(ReplyCode::OKAY, "Mode changed").into(),
        Err(reply) => reply.into(),
    }
}
