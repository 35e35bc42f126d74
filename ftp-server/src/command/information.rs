//! Information (RFC 959 §4.1.3; RFC 2389): SYST, FEAT, OPTS, HELP, STAT, NOOP; and SITE: commands specific
//! to this server, and those of the embedder.

use std::fmt::Write;

use ftp_proto::{Escaped, OptsArgument, Pathname, Reply, ReplyCode, Severity, SiteArgument, Verb};

use super::digest::Algorithm;
use super::objects::AttributeChange;
use super::rules::{RULES, Rule};
use crate::auth::Rights;
use crate::context::SiteRequest;
use crate::data::DataChannel;
use crate::listing::FactSelection;
use crate::reply::{self, Purpose};
use crate::session::{Access, Session};
use crate::storage::{Capabilities, RoomFor};

/// `SYST`: 215. From this reply, clients choose their parser for `LIST`.
pub(super) fn syst() -> Reply {
    Reply::new(ReplyCode::SYSTEM_NAME, "UNIX Type: L8")
}

/// `NOOP`: 200.
pub(super) fn noop() -> Reply {
    Reply::new(ReplyCode::OKAY, "Nothing done")
}

/// `FEAT`: 211 with one line for each extension to RFC 959 that this user can use (before login:
/// any user).
pub(super) fn feat(session: &Session) -> Reply {
    let offer = session.offer();
    let served = RULES.iter().filter(|rule| rule.is_enabled(session));
    let served = served.filter(|rule| rule.is_permitted(offer.0));
    // Two that are not commands: how paths work here (RFC 3659 §6), and that no listing shows a link as
    // a directory.
    let mut features = vec!["TVFS".to_owned()];
    features.extend(offer.1.contains(Capabilities::LINKS).then(|| "X-LINKS".to_owned()));
    for rule in served {
        let Some(feature) = rule.feature else { continue };
        features.push(match rule.verb {
            // Without TLS, these commands always fail.
            Verb::Pbsz | Verb::Prot if session.context.tls.is_none() => continue,
            Verb::Mode => {
                features.extend(modes(session).map(|mode| format!("MODE {mode}")));
                continue;
            }
            Verb::Hash => format!("{feature} {}", algorithm_list(session)),
            Verb::Mlst => format!("{feature} {}", fact_list(session)),
            Verb::Mff => match offered(session, &CHANGEABLE_FACTS).concat().as_str() {
                "" => continue,
                facts => format!("{feature} {facts}"),
            },
            _ => feature.to_owned(),
        });
    }
    features.sort_unstable();
    let lines = features.iter().map(|feature| format!(" {feature}"));
    Reply::multi_line(ReplyCode::SYSTEM_STATUS, "Features:", lines, "End")
}

/// Returns the transfer modes that the configuration allows, in addition to `S`.
fn modes(session: &Session) -> impl Iterator<Item = &'static str> {
    let config = &session.context.config;
    let modes = [("B", config.block_mode), ("Z", config.compression)];
    modes.into_iter().filter(|(_, is_allowed)| *is_allowed).map(|(mode, _)| mode)
}

/// Returns the names of all facts, with a `*` after those that the client has selected (RFC 3659
/// §7.8).
fn fact_list(session: &Session) -> String {
    let mut list = String::new();
    for (name, chosen) in session.transfer.facts.names() {
        let _ = write!(list, "{name}{};", mark(chosen));
    }
    list
}

/// Returns the names of all digest algorithms, with a `*` after the selected one
/// (draft-bryan-ftpext-hash-02 §3.1).
fn algorithm_list(session: &Session) -> String {
    let mut list = String::new();
    for algorithm in Algorithm::ALL {
        let mark = mark(algorithm == session.transfer.algorithm);
        let _ = write!(list, "{}{mark};", algorithm.name());
    }
    list
}

const fn mark(chosen: bool) -> &'static str {
    if chosen { "*" } else { "" }
}

/// Something that only some users can use: its text, and what it needs.
type Offered = (&'static str, Rights, Capabilities);

/// The facts that `MFF` can change.
const CHANGEABLE_FACTS: [Offered; 2] = [
    ("Modify;", Rights::WRITE, Capabilities::SET_TIMES),
    ("UNIX.mode;", Rights::CHMOD, Capabilities::CHMOD),
];

/// The syntax of the `SITE` commands that the server handles itself, in the order of the help.
const SITE_FORMS: [Offered; 3] = [
    ("HELP", Rights::NONE, Capabilities::NONE),
    ("CHMOD <mode> <path>", Rights::CHMOD, Capabilities::CHMOD),
    ("QUOTA", Rights::LIST, Capabilities::QUOTA),
];

/// Returns what this user (before login: any user) can use.
fn offered(session: &Session, all: &[Offered]) -> Vec<&'static str> {
    let (rights, capabilities) = session.offer();
    let can = |(_, right, capability): &&Offered| {
        rights.contains(*right) && capabilities.contains(*capability)
    };
    all.iter().filter(can).map(|(text, ..)| *text).collect()
}

/// `OPTS <option>`: sets an option; 501 for an unknown one.
///
/// - `OPTS UTF8 ON`: 200, without effect, because the server never changes the bytes of names.
/// - `OPTS MLST <facts>`: 200 with the facts that later replies show (RFC 3659 §7.9).
/// - `OPTS HASH [<name>]`: 200 with the algorithm that is in force; 501 for an unknown name.
/// - `OPTS MODE Z [LEVEL <n>]`: 200 with the level of compression that is in force.
pub(super) fn opts(session: &mut Session, option: &OptsArgument) -> Reply {
    match option {
        OptsArgument::Utf8 => Reply::new(ReplyCode::OKAY, "UTF8 is on"),
        OptsArgument::Mlst(list) => {
            session.transfer.facts = FactSelection::parse(list);
            let mut text = "MLST OPTS ".to_owned();
            for (name, _) in session.transfer.facts.names().filter(|(_, chosen)| *chosen) {
                let _ = write!(text, "{name};");
            }
            Reply::new(ReplyCode::OKAY, text.trim_end())
        }
        OptsArgument::Hash(name) if is_served(session, Verb::Hash) => {
            let current = session.transfer.algorithm;
            let wanted = name.as_deref().map_or(Some(current), Algorithm::named);
            let Some(algorithm) = wanted else {
                let text = "Unknown algorithm, current selection not changed";
                return Reply::new(ReplyCode::BAD_ARGUMENT, text);
            };
            session.transfer.algorithm = algorithm;
            Reply::new(ReplyCode::OKAY, algorithm.name())
        }
        OptsArgument::Deflate(level) if session.context.config.compression => {
            session.transfer.deflate_level = level.unwrap_or_default();
            let text = format!("MODE Z LEVEL is {}", session.transfer.deflate_level.value());
            Reply::new(ReplyCode::OKAY, text)
        }
        _ => Reply::new(ReplyCode::BAD_ARGUMENT, "Unknown option"),
    }
}

/// `HELP [<command>]`: 214 with the commands of this user (before login: of any user), or with the
/// syntax of one command. 502 if that command is not served.
pub(super) fn help(session: &Session, verb: Option<&[u8]>) -> Reply {
    if let Some(word) = verb {
        let rule = Verb::parse(word).ok().and_then(Rule::of);
        return match rule.filter(|rule| rule.is_enabled(session)) {
            Some(rule) => Reply::new(ReplyCode::HELP, format!("Syntax: {}", form(session, rule))),
            None => Reply::new(ReplyCode::NOT_IMPLEMENTED, "Command not implemented"),
        };
    }
    let (rights, _) = session.offer();
    let enabled = RULES.iter().filter(|rule| rule.is_enabled(session));
    let enabled = enabled.filter(|rule| rule.is_permitted(rights));
    let verbs: Vec<&str> = enabled.map(|rule| rule.verb.as_str()).collect();
    let lines = verbs.chunks(8).map(|line| format!(" {}", line.join(" ")));
    Reply::multi_line(ReplyCode::HELP, "Commands:", lines, "HELP <command> shows its syntax")
}

/// Returns the syntax of a command, with the forms that this user can use.
fn form(session: &Session, rule: &Rule) -> String {
    let has_compression = session.context.config.compression;
    match rule.verb {
        Verb::Site => format!("{} {}", rule.help, offered(session, &SITE_FORMS).join(" | ")),
        Verb::Mode => {
            modes(session).fold(rule.help.to_owned(), |form, mode| format!("{form} | {mode}"))
        }
        Verb::Opts => {
            let mut form = rule.help.to_owned();
            if is_served(session, Verb::Hash) {
                form.push_str(" | HASH [<name>]");
            }
            if has_compression {
                form.push_str(" | MODE Z [LEVEL <n>]");
            }
            form
        }
        _ => rule.help.to_owned(),
    }
}

fn is_served(session: &Session, verb: Verb) -> bool {
    Rule::of(verb).is_some_and(|rule| rule.is_enabled(session))
}

/// `STAT`: 211 with the state of the session; `moved` is the number of bytes that a running
/// transfer has moved.
pub(crate) fn status(session: &Session, moved: Option<u64>) -> Reply {
    let user = session.user().map_or_else(String::new, |user| Escaped(&user.name).to_string());
    let transfer = &session.transfer;
    let mut lines = vec![
        format!(" Connected from {}", session.peer.ip()),
        format!(" Logged in as {user}"),
        format!(
            " TYPE {}, STRU F, MODE {}",
            transfer.representation.as_str(),
            transfer.mode.as_str()
        ),
        match session.tls() {
            None => " Control connection is in plaintext".to_owned(),
            Some(info) => format!(" Control connection uses TLS {}", info.version.as_str()),
        },
        match (transfer.is_private, transfer.begins_handshakes) {
            (true, true) => {
                " Data connections use TLS, with this server as the TLS client (SSCN ON)".to_owned()
            }
            (true, false) => " Data connections use TLS".to_owned(),
            (false, _) => " Data connections are in plaintext".to_owned(),
        },
    ];
    lines.push(match (moved, &transfer.channel) {
        (Some(moved), _) => format!(" Transfer in progress: {moved} bytes so far"),
        (None, Some(DataChannel::Passive(_))) => " Passive data connection prepared".to_owned(),
        (None, Some(DataChannel::Open(_))) => " Data connection open".to_owned(),
        (None, Some(DataChannel::Active(_))) => " Active data connection prepared".to_owned(),
        (None, None) => " No data connection".to_owned(),
    });
    Reply::multi_line(ReplyCode::SYSTEM_STATUS, "Status:", lines, "End of status")
}

/// `SITE HELP`: 214 with the `SITE` commands that this user can use. `SITE CHMOD <mode> <path>`:
/// 200. `SITE QUOTA`: 211, or 200 without a quota. Other words go to the program that embeds the
/// server; a word that it does not know gets 504.
pub(super) fn site(session: &mut Session, argument: &SiteArgument) -> Result<Reply, Reply> {
    // The handlers check the rights.
    let (_, capabilities) = session.offer();
    let is = |word: &[u8], name: &[u8], needed| {
        word.eq_ignore_ascii_case(name) && capabilities.contains(needed)
    };
    match argument {
        SiteArgument::Help(_) => Ok(site_help(session)),
        SiteArgument::Chmod { mode, path } if capabilities.contains(Capabilities::CHMOD) => {
            chmod(session, *mode, path)
        }
        SiteArgument::Other { word, argument } if is(word, b"QUOTA", Capabilities::QUOTA) => {
            match &**argument {
                [] => quota(session),
                _ => Err(Reply::new(ReplyCode::BAD_ARGUMENT, "QUOTA has no argument")),
            }
        }
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

fn site_help(session: &Session) -> Reply {
    let lines = offered(session, &SITE_FORMS).into_iter().map(|form| format!(" SITE {form}"));
    Reply::multi_line(ReplyCode::HELP, "Commands:", lines, "End")
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

fn chmod(session: &mut Session, mode: u16, path: &Pathname) -> Result<Reply, Reply> {
    let change = AttributeChange { modified: None, mode: Some(mode.into()) };
    change.make(session, path).map(|_facts| Reply::new(ReplyCode::OKAY, "Mode changed"))
}
