//! SITE (RFC 959 §4.1.3): commands specific to this server.

use ftp_proto::{Pathname, Reply, ReplyCode, Severity, SiteArgument};

use super::attribute::AttributeChange;
use crate::auth::{Offer, Rights};
use crate::reply::{self, Purpose};
use crate::session::{Access, Outcome, Session};
use crate::site_commands::SiteRequest;
use crate::storage::{Capabilities, RoomFor, Space};

/// The help entry of a `SITE` command that the server handles itself.
struct SiteWord {
    form: &'static str,
    /// Whether a user with this offer can use the command.
    is_offered: fn(Offer) -> bool,
}

/// Every `SITE` command that the server handles itself, in the order of the help.
const SITE_WORDS: &[SiteWord] = &[
    SiteWord { form: "HELP", is_offered: |_offer| true },
    SiteWord { form: "CHMOD <mode> <path>", is_offered: may_chmod },
    SiteWord { form: "QUOTA", is_offered: may_see_quota },
];

fn may_chmod(Offer { rights, capabilities }: Offer) -> bool {
    rights.contains(Rights::CHMOD) && capabilities.contains(Capabilities::CHMOD)
}

fn may_see_quota(Offer { rights, capabilities }: Offer) -> bool {
    rights.contains(Rights::LIST) && capabilities.contains(Capabilities::QUOTA)
}

/// Returns the syntax of the `SITE` commands that this user (before login: any user) can use.
pub(super) fn forms(session: &Session) -> Vec<&'static str> {
    let offer = session.offer();
    let offered = SITE_WORDS.iter().filter(|word| (word.is_offered)(offer));
    offered.map(|word| word.form).collect()
}

/// `SITE HELP`: 214 with the `SITE` commands that this user can use. `SITE CHMOD <mode> <path>`:
/// 200. `SITE QUOTA`: 211, or 200 without a quota. Other words go to the program that embeds the
/// server; a word that it does not know gets 504.
pub(super) fn site(session: &Session, argument: &SiteArgument) -> Outcome {
    match argument {
        SiteArgument::Help(_) => help(session).into(),
        SiteArgument::Chmod { mode, path } if can_chmod(session) => chmod(session, *mode, path),
        SiteArgument::Other { word, argument } if is_quota(session, word) => match &**argument {
            [] => quota(session),
            _ => Reply::new(ReplyCode::BAD_ARGUMENT, "QUOTA has no argument").into(),
        },
        SiteArgument::Other { word, argument } => of_the_embedder(session, word, argument),
        _ => no_such_word(),
    }
}

/// Returns the answer of the program that embeds the server, or 504 for an unknown word. A 1yz or
/// 3yz is not a final reply, so the client gets 451 instead.
fn of_the_embedder(session: &Session, word: &[u8], argument: &[u8]) -> Outcome {
    let Some(commands) = &session.context.site else { return no_such_word() };
    let Access::User(user) = &session.login.access else { return no_such_word() };
    let peer = session.peer.address;
    let request = SiteRequest { word, argument, user: &user.name, rights: user.rights, peer };
    match commands.serve(&request) {
        None => no_such_word(),
        Some(reply) if is_final(&reply) => reply.into(),
        Some(_) => Reply::new(
            ReplyCode::LOCAL_ERROR,
            "The handler of this command returned no final reply",
        )
        .into(),
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

/// Returns whether the storage supports permission bits. The right to set them is checked later.
fn can_chmod(session: &Session) -> bool {
    session.offer().capabilities.contains(Capabilities::CHMOD)
}

fn is_quota(session: &Session, word: &[u8]) -> bool {
    let is_known = session.offer().capabilities.contains(Capabilities::QUOTA);
    is_known && word.eq_ignore_ascii_case(b"QUOTA")
}

/// `SITE QUOTA`: 211 with the used and the allowed bytes and files for the current directory; 200
/// if there is no quota. The numbers include the files of all users of the directory, so the user
/// needs the right to list it.
fn quota(session: &Session) -> Outcome {
    let path = &session.login.directory;
    let Some(storage) = session.storage_at(path, Rights::LIST) else {
        return reply::no_right().into();
    };
    let line = |what: &str, used: u64, most: Option<u64>| {
        let most = most.map_or_else(|| "unlimited".to_owned(), |most| most.to_string());
        format!(" {what}: {used} of {most}")
    };
    match storage.space(path, RoomFor::User) {
        Ok(Space { max_bytes: None, max_files: None, .. }) => {
            Reply::new(ReplyCode::OKAY, "No quota here").into()
        }
        Ok(used) => {
            let bytes = line("Bytes", used.bytes, used.max_bytes);
            let files = line("Files", used.files, used.max_files);
            Reply::multi_line(ReplyCode::SYSTEM_STATUS, "Quota:", [bytes, files], "End").into()
        }
        Err(error) => reply::storage_failure(&error, Purpose::Existing).into(),
    }
}

fn chmod(session: &Session, mode: u16, path: &Pathname) -> Outcome {
    let change = AttributeChange { modified: None, mode: Some(mode.into()) };
    match change.make(session, path) {
        Ok(_facts) => Reply::new(ReplyCode::OKAY, "Mode changed").into(),
        Err(reply) => reply.into(),
    }
}
