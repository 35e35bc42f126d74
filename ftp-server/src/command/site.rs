//! SITE (RFC 959 §4.1.3): commands specific to this server, and those of the embedder.

use ftp_proto::{Pathname, Reply, ReplyCode, Severity, SiteArgument};

use super::objects::AttributeChange;
use crate::auth::Rights;
use crate::context::SiteRequest;
use crate::reply::{self, Purpose};
use crate::session::{Access, Session};
use crate::storage::{Capabilities, RoomFor};

/// The help entry of a `SITE` command that the server handles itself.
struct SiteWord {
    form: &'static str,
    /// Whether a user with this offer can use the command.
    is_offered: fn((Rights, Capabilities)) -> bool,
}

/// Every `SITE` command that the server handles itself, in the order of the help.
const SITE_WORDS: &[SiteWord] = &[
    SiteWord { form: "HELP", is_offered: |_offer| true },
    SiteWord { form: "CHMOD <mode> <path>", is_offered: may_chmod },
    SiteWord { form: "QUOTA", is_offered: may_see_quota },
];

fn may_chmod((rights, capabilities): (Rights, Capabilities)) -> bool {
    rights.contains(Rights::CHMOD) && capabilities.contains(Capabilities::CHMOD)
}

fn may_see_quota((rights, capabilities): (Rights, Capabilities)) -> bool {
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
pub(super) fn site(session: &Session, argument: &SiteArgument) -> Result<Reply, Reply> {
    match argument {
        SiteArgument::Help(_) => Ok(help(session)),
        SiteArgument::Chmod { mode, path } if can_chmod(session) => chmod(session, *mode, path),
        SiteArgument::Other { word, argument } if is_quota(session, word) => match &**argument {
            [] => quota(session),
            _ => Err(Reply::new(ReplyCode::BAD_ARGUMENT, "QUOTA has no argument")),
        },
        SiteArgument::Other { word, argument } => of_the_embedder(session, word, argument),
        _ => Err(no_such_word()),
    }
}

/// Returns the answer of the program that embeds the server, or 504 for an unknown word. A 1yz or
/// 3yz is not a final reply, so the client gets 451 instead.
fn of_the_embedder(session: &Session, word: &[u8], argument: &[u8]) -> Result<Reply, Reply> {
    let commands = session.context.site.as_ref().ok_or_else(no_such_word)?;
    let Access::User(user) = &session.login.access else { return Err(no_such_word()) };
    let peer = session.peer.address;
    let request = SiteRequest { word, argument, user: &user.name, rights: user.rights, peer };
    let reply = commands(&request).ok_or_else(no_such_word)?;
    if is_final(&reply) {
        return Ok(reply);
    }
    let text = "The handler of this command returned no final reply";
    Err(Reply::new(ReplyCode::LOCAL_ERROR, text))
}

fn is_final(reply: &Reply) -> bool {
    !matches!(reply.code().severity(), Severity::Preliminary | Severity::Intermediate)
}

fn no_such_word() -> Reply {
    Reply::new(ReplyCode::PARAMETER_NOT_IMPLEMENTED, "No such SITE command")
}

fn help(session: &Session) -> Reply {
    let lines = forms(session).into_iter().map(|form| format!(" SITE {form}"));
    Reply::multi_line(ReplyCode::HELP, "Commands:", lines, "End")
}

/// Returns whether the storage supports permission bits. The right to set them is checked later.
fn can_chmod(session: &Session) -> bool {
    session.offer().1.contains(Capabilities::CHMOD)
}

fn is_quota(session: &Session, word: &[u8]) -> bool {
    let is_known = session.offer().1.contains(Capabilities::QUOTA);
    is_known && word.eq_ignore_ascii_case(b"QUOTA")
}

/// `SITE QUOTA`: 211 with the used and the allowed bytes and files for the current directory; 200
/// if there is no quota. The numbers include the files of all users of the directory, so the user
/// needs the right to list it.
fn quota(session: &Session) -> Result<Reply, Reply> {
    let path = &session.login.directory;
    let storage = session.storage_at(path, Rights::LIST)?;
    let line = |what: &str, used: u64, most: Option<u64>| {
        let most = most.map_or_else(|| "unlimited".to_owned(), |most| most.to_string());
        format!(" {what}: {used} of {most}")
    };
    let used = storage.space(path, RoomFor::User);
    let used = used.map_err(reply::failure_of(Purpose::Existing))?;
    if used.max_bytes.is_none() && used.max_files.is_none() {
        return Ok(Reply::new(ReplyCode::OKAY, "No quota here"));
    }
    let bytes = line("Bytes", used.bytes, used.max_bytes);
    let files = line("Files", used.files, used.max_files);
    Ok(Reply::multi_line(ReplyCode::SYSTEM_STATUS, "Quota:", [bytes, files], "End"))
}

fn chmod(session: &Session, mode: u16, path: &Pathname) -> Result<Reply, Reply> {
    let change = AttributeChange { modified: None, mode: Some(mode.into()) };
    change.make(session, path).map(|_facts| Reply::new(ReplyCode::OKAY, "Mode changed"))
}
