//! Commands. `rules.rs` lists the served commands and checks the state of the session; this module
//! calls the handlers. It also notifies observers of commands that are refused at once: logins in
//! plaintext, commands on files and directories, and listings.

mod access;
mod digest;
mod information;
mod listing;
mod objects;
mod parameter;
mod rules;
mod space;
mod transfer;
pub(crate) mod unfinished;

pub(crate) use digest::Algorithm;
pub(crate) use information::status;
pub(crate) use rules::{decides_login, file_direction};

use ftp_proto::{Command, ParseErrorKind, Pathname, Reply, ReplyCode, Severity, Verb};

use self::digest::{Hasher, RangeArgument};
use self::parameter::only;
use self::rules::{NamedPath, Rule, gate};
use crate::auth::AuthError;
use crate::listing::strip_all_flags;
use crate::log::{Direction, EventKind};
use crate::session::{Outcome, PreparedTransfer, Session};
use crate::storage::VirtualPath;

/// Passes a command through the gate and the parser to its handler.
pub(crate) fn dispatch(session: &mut Session, verb: Verb, argument: &[u8]) -> Outcome {
    // A REST or RNFR cancels the previous one, even if the new one is refused.
    if verb == Verb::Rest {
        (session.transfer.restart, session.transfer.has_lost_restart) = (0, false);
    }
    if verb == Verb::Rnfr {
        session.login.rename_from = None;
    }
    if verb != Verb::Size {
        session.login.proved_size = None;
    }
    let renamed = session.login.rename_from.clone().filter(|_| verb == Verb::Rnto);
    let outcome = Outcome::from(try_dispatch(session, verb, argument));
    if let Outcome::Reply(reply) = &outcome {
        tell_refusal(session, verb, argument, renamed.as_ref(), reply);
    }
    // The client of a refused upload may have sent the data already; a later upload must not get
    // that data.
    let is_transfer = matches!(outcome, Outcome::Transfer(..));
    if !is_transfer && file_direction(verb) == Some(Direction::Received) {
        session.transfer.close_open_data();
    }
    session.forget_pending(verb, argument);
    outcome
}

/// Returns the outcome of a command, or the reply if the command is refused before the work begins.
fn try_dispatch(session: &mut Session, verb: Verb, argument: &[u8]) -> Result<Outcome, Reply> {
    let rule = gate(session, verb)?;
    if verb == Verb::Cwd && argument.is_empty() {
        return Ok(objects::stay(session).into());
    }
    let command = Command::parse(verb, argument)
        .map_err(|error| parse_failure(session, verb, argument, error.kind))?;
    if !rule.needs_data() {
        return handle(session, &command).ok_or_else(not_implemented);
    }
    try_transfer(session, &command)
}

/// Returns the outcome of a command with a data connection, or the reply if the command is refused.
/// This is a separate function because of the stack of idle sessions, like [`handle_other`].
#[inline(never)]
fn try_transfer(session: &mut Session, command: &Command) -> Result<Outcome, Reply> {
    access::check_data(session)?;
    // Even a refused command uses up the prepared connection: a stale listener must not serve the
    // next transfer. An open connection stays open, because the client may already have sent the
    // next commands, which use it.
    let no_data =
        || Reply::new(ReplyCode::NO_DATA_CONNECTION, "Use PASV, EPSV, PORT or EPRT first");
    let channel = session.transfer.channel.take().ok_or_else(no_data)?;
    let is_file = matches!(command, Command::Retr(_));
    let prepared = prepare(session, command).ok_or_else(not_implemented)?;
    match prepared.and_then(|transfer| transfer::in_mode(session, transfer, is_file)) {
        Ok(transfer) => Ok(Outcome::Transfer(transfer, channel)),
        Err(reply) => {
            match channel.is_open() {
                true => session.transfer.channel = Some(channel),
                false => session.transfer.refused = channel.refuse(),
            }
            Err(reply)
        }
    }
}

fn not_implemented() -> Reply {
    Reply::new(ReplyCode::NOT_IMPLEMENTED, "Command not implemented")
}

fn parse_failure(session: &Session, verb: Verb, argument: &[u8], kind: ParseErrorKind) -> Reply {
    match (kind, verb) {
        (ParseErrorKind::Unsupported, _) => parameter::unsupported(),
        (ParseErrorKind::UnsupportedProtocol, Verb::Eprt) => {
            parameter::only_usable(session.active_protocols())
        }
        (ParseErrorKind::UnsupportedProtocol, _) => {
            parameter::only_usable(only(session.peer.protocol()))
        }
        _ if argument.is_empty() => Reply::new(ReplyCode::BAD_ARGUMENT, "Argument missing"),
        _ => Reply::new(ReplyCode::BAD_ARGUMENT, "Bad argument"),
    }
}

/// Handles a command without a data connection. Returns `None` if the command has no handler; a
/// test ensures that every command has one.
fn handle(session: &mut Session, command: &Command) -> Option<Outcome> {
    match command {
        Command::User(name) => Some(access::user(session, name)),
        Command::Pass(password) => Some(access::pass(session, password)),
        Command::Acct(account) => Some(access::acct(session, &account.0)),
        other => handle_other(session, other),
    }
}

/// Handles every command except those of a login. This is a separate function so that idle
/// sessions, which have only logged in, never touch the stack of the largest handler.
#[inline(never)]
fn handle_other(session: &mut Session, command: &Command) -> Option<Outcome> {
    Some(match command {
        Command::Rein => access::rein(session),
        Command::Quit => access::quit(),
        Command::Host(name) => access::host(session, name),
        Command::Lang(tag) => access::lang(tag.as_ref()),
        Command::Clnt(name) => access::clnt(session, name),
        Command::Auth(mechanism) => access::auth(session, mechanism).into(),
        Command::Pbsz(_) => access::pbsz(session).into(),
        Command::Prot(level) => access::prot(session, *level).into(),
        Command::Known(Verb::Sscn, argument) => access::sscn(session, argument).into(),
        Command::Known(verb, argument) if let Some(hasher) = Hasher::of(*verb) => {
            objects::xdigest(session, hasher, argument).into()
        }
        Command::Ccc => access::ccc(session).into(),
        Command::Cwd(path) => objects::cwd(session, path).into(),
        Command::Cdup => objects::cdup(session).into(),
        Command::Pwd => objects::pwd(session).into(),
        Command::Mkd(path) => objects::mkd(session, path).into(),
        Command::Rmd(path) => objects::rmd(session, path).into(),
        Command::Type(representation) => parameter::set_type(session, *representation).into(),
        Command::Stru(structure) => parameter::stru(*structure).into(),
        Command::Mode(mode) => parameter::mode(session, *mode).into(),
        Command::Pasv => parameter::pasv(session).into(),
        Command::Port(host_port) => parameter::port(session, *host_port).into(),
        Command::Epsv(argument) => parameter::epsv(session, *argument).into(),
        Command::Eprt(address) => parameter::eprt(session, *address).into(),
        Command::Rest(marker) => transfer::rest(session, *marker).into(),
        Command::Allo { size, .. } => space::allo(session, *size).into(),
        Command::Abor => transfer::abor(session).into(),
        Command::Mlst(path) => listing::mlst(session, path.as_ref()).into(),
        Command::Size(path) => objects::size(session, path).into(),
        Command::Mdtm(path) => objects::mdtm(session, path).into(),
        Command::Mfmt(time, path) => objects::mfmt(session, time, path).into(),
        Command::Mff(facts) => objects::mff(session, facts).into(),
        Command::Hash(path) => objects::hash(session, path).into(),
        Command::Avbl(path) => space::avbl(session, path.as_ref()).into(),
        Command::Site(argument) => information::site(session, argument).into(),
        Command::Dele(path) => objects::dele(session, path).into(),
        Command::Rnfr(path) => objects::rnfr(session, path).into(),
        Command::Rnto(path) => objects::rnto(session, path).into(),
        Command::Stat(None) => status(session, None).into(),
        Command::Stat(Some(path)) => {
            unfinished::tell_names(session);
            listing::stat(session, path).into()
        }
        Command::Syst => information::syst().into(),
        Command::Feat => information::feat(session).into(),
        Command::Opts(option) => information::opts(session, option).into(),
        Command::Help(verb) => information::help(session, verb.as_deref()).into(),
        Command::Noop => information::noop().into(),
        _ => return None,
    })
}

/// Prepares the transfer of a command with a data connection. Returns `None` if the command has no
/// handler.
#[inline(never)]
fn prepare(session: &mut Session, command: &Command) -> Option<Result<PreparedTransfer, Reply>> {
    Some(match command {
        Command::Retr(path) => transfer::retr(session, path),
        Command::Stor(path) => transfer::stor(session, path),
        Command::Stou(prefix) => transfer::stou(session, prefix.as_ref()),
        Command::Appe(path) => transfer::appe(session, path),
        Command::List(path) => {
            unfinished::tell_names(session);
            listing::list(session, path.as_ref())
        }
        Command::Nlst(path) => listing::nlst(session, path.as_ref()),
        Command::Mlsd(path) => {
            unfinished::tell_names(session);
            listing::mlsd(session, path.as_ref())
        }
        _ => return None,
    })
}

/// Notifies observers if `reply` refuses a `USER` because TLS is required, or refuses a command
/// with a path to a logged-in user. For `RNTO`, `renamed` is the path that `RNFR` named.
fn tell_refusal(
    session: &mut Session,
    verb: Verb,
    argument: &[u8],
    renamed: Option<&VirtualPath>,
    reply: &Reply,
) {
    if verb == Verb::User && reply.code() == ReplyCode::DENIED_BY_POLICY {
        // One event per session is enough: a refused `USER` costs a client nothing, but observers
        // may run a program for each event.
        if let Ok(Command::User(name)) = Command::parse(verb, argument)
            && !std::mem::replace(&mut session.login.has_been_told_of_tls, true)
        {
            session.tell(EventKind::LoginRefused { user: &name, reason: AuthError::Protection });
        }
        return;
    }
    let severity = reply.code().severity();
    let names = Rule::of(verb).map_or(NamedPath::Nothing, |rule| rule.names);
    if names == NamedPath::Nothing
        || !matches!(severity, Severity::Transient | Severity::Permanent)
        || session.user().is_none()
        || !session.context.observers.are_listening()
    {
        return;
    }
    let path = match names {
        NamedPath::PathAfterFlags => strip_all_flags(argument),
        NamedPath::PathAfterWord => {
            argument.splitn(2, |&byte| byte == b' ').nth(1).unwrap_or_default()
        }
        _ => argument,
    };
    // Without a path, there is nothing to report.
    let named = match names {
        NamedPath::Parent => session.login.directory.parent().unwrap_or_default(),
        NamedPath::PathOrHere | NamedPath::PathAfterFlags if path.is_empty() => {
            session.login.directory.clone()
        }
        NamedPath::PathOfRange => match RangeArgument::parse(path) {
            Some(RangeArgument { path, .. }) => session.resolve(&path),
            None => return,
        },
        _ => match Pathname::new(path) {
            Ok(path) => session.resolve(&path),
            Err(_) => return,
        },
    };
    let kind = match renamed {
        Some(from) => EventKind::CommandRefused { verb, path: from, to: Some(&named), reply },
        None => EventKind::CommandRefused { verb, path: &named, to: None, reply },
    };
    session.tell(kind);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::rules::RULES;
    use super::*;
    use crate::auth::UserTable;
    use crate::config::ServerConfig;
    use crate::context::{Context, Current};
    use crate::net::admission::Admission;
    use crate::net::socket::Ends;

    fn session() -> Session {
        let peer = ([127, 0, 0, 1], 1).into();
        let config = ServerConfig::default();
        let context = Context::new(config, Arc::new(UserTable::new()), Admission::new(1, 0));
        Session::new(Current::new(context), Ends::direct(peer, peer))
    }

    #[test]
    fn command_rules_and_handlers_match() {
        // Each command accepts one of these texts as its argument.
        let samples = [
            "",
            "x",
            "1",
            "A",
            "C",
            "F",
            "S",
            "TLS",
            "UTF8 ON",
            "127,0,0,1,4,1",
            "|1|127.0.0.1|1025|",
            "20260101000000 x",
            "Modify=20260101000000; x",
        ];
        let parse =
            |verb| samples.iter().find_map(|text| Command::parse(verb, text.as_bytes()).ok());
        for verb in Verb::KNOWN.iter().copied() {
            let command =
                parse(verb).unwrap_or_else(|| panic!("{verb}: add an argument of it above"));
            let is_handled = handle(&mut session(), &command).is_some();
            let is_prepared = prepare(&mut session(), &command).is_some();
            match RULES.iter().find(|rule| rule.verb == verb) {
                None if !is_handled && !is_prepared => {}
                None => panic!("{verb}: add a row in command/rules.rs"),
                Some(rule) if rule.needs_data() && is_prepared && !is_handled => {}
                Some(rule) if !rule.needs_data() && is_handled && !is_prepared => {}
                Some(_) => panic!("{verb}: add a handler in command/mod.rs"),
            }
        }
    }

    /// Returns the code of the reply to a line, and whether the session ends.
    fn answer(session: &mut Session, line: &str) -> (u16, bool) {
        let (verb, argument) = Verb::split(line.as_bytes()).unwrap();
        match dispatch(session, verb, argument) {
            Outcome::Reply(reply) => (reply.code().value(), false),
            Outcome::Close(reply) => (reply.code().value(), true),
            _ => panic!("{line} is answered at once"),
        }
    }

    #[test]
    fn a_draining_server_replies_421_to_known_commands_st_02() {
        let mut session = session();
        assert_eq!(answer(&mut session, "PWD"), (530, false));
        assert_eq!(answer(&mut session, "SMNT x"), (502, false));
        session.context.register.start_draining();
        for line in ["PWD", "RNTO", "PASS x", "NOOP", "HOST h"] {
            assert_eq!(answer(&mut session, line), (421, true), "{line}");
        }
        assert_eq!(answer(&mut session, "SMNT x"), (502, false));
    }
}
