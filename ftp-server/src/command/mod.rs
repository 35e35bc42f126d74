//! Commands: the table of what is served, the gate that decides whether a command is looked at,
//! and the way to its handler.

mod access;
mod directory;
mod file;
mod information;
mod listing;
mod parameter;
mod transfer;

pub(crate) use information::status;

use self::parameter::only;
use ftp_proto::{Command, ParseErrorKind, Reply, ReplyCode, Verb};

use crate::session::{Access, Outcome, Session};

/// When a command is looked at: read by the gate, in the order the checks run, by `HELP` and
/// `FEAT`.
pub(crate) struct Rule {
    pub(crate) verb: Verb,
    login: Login,
    /// The command that must stand before this one.
    after: Option<Verb>,
    data: Data,
    /// The line of `FEAT` that says this is served.
    feature: Option<&'static str>,
    help: &'static str,
}

/// Whether a command needs a login.
#[derive(Clone, Copy, PartialEq)]
enum Login {
    /// Served before and after.
    Any,
    /// Served only to users: 530 before.
    Needed,
    /// Served only to those who are not logged in: 530 after.
    Before,
}

/// What a command has to do with the data connection.
#[derive(Clone, Copy, PartialEq)]
enum Data {
    None,
    /// Prepares one in a way that `EPSV ALL` rules out.
    Prepares,
    /// Needs one.
    Needs,
}

const fn rule(
    verb: Verb,
    login: Login,
    after: Option<Verb>,
    data: Data,
    feature: Option<&'static str>,
    help: &'static str,
) -> Rule {
    Rule { verb, login, after, data, feature, help }
}

/// Every command that is served. A verb that is not here is known and answered 502.
#[rustfmt::skip]
pub(crate) const RULES: &[Rule] = {
    use Login::{Any, Before, Needed};
    use Data::{Needs, None as No, Prepares};
    use Verb::{
        Abor, Appe, Cdup, Cwd, Dele, Eprt, Epsv, Feat, Help, List, Mdtm, Mkd, Mlsd, Mlst, Mode,
        Nlst, Noop, Opts, Pass, Pasv, Port, Pwd, Quit, Rest, Retr, Rmd, Rnfr, Rnto, Size, Stat,
        Stor, Stou, Stru, Syst, Type, User,
    };
    &[
        rule(User, Before, None,       No,       None,                "USER <name>"),
        rule(Pass, Any,    Some(User), No,       None,                "PASS <password>"),
        rule(Quit, Any,    None,       No,       None,                "QUIT"),
        rule(Cwd,  Needed, None,       No,       None,                "CWD <directory>"),
        rule(Cdup, Needed, None,       No,       None,                "CDUP"),
        rule(Pwd,  Needed, None,       No,       None,                "PWD"),
        rule(Mkd,  Needed, None,       No,       None,                "MKD <directory>"),
        rule(Rmd,  Needed, None,       No,       None,                "RMD <directory>"),
        rule(Type, Needed, None,       No,       None,                "TYPE A | I | L 8"),
        rule(Stru, Needed, None,       No,       None,                "STRU F"),
        rule(Mode, Needed, None,       No,       None,                "MODE S"),
        rule(Pasv, Needed, None,       Prepares, None,                "PASV"),
        rule(Port, Needed, None,       Prepares, None,                "PORT h1,h2,h3,h4,p1,p2"),
        rule(Epsv, Needed, None,       No,       Some("EPSV"),        "EPSV [1 | 2 | ALL]"),
        rule(Eprt, Needed, None,       Prepares, Some("EPRT"),        "EPRT |1 or 2|address|port|"),
        rule(Rest, Needed, None,       No,       Some("REST STREAM"), "REST <offset>"),
        rule(Retr, Needed, None,       Needs,    None,                "RETR <file>"),
        rule(Stor, Needed, None,       Needs,    None,                "STOR <file>"),
        rule(Appe, Needed, None,       Needs,    None,                "APPE <file>"),
        rule(Stou, Needed, None,       Needs,    None,                "STOU [<prefix>]"),
        rule(Abor, Any,    None,       No,       None,                "ABOR"),
        rule(List, Needed, None,       Needs,    None,                "LIST [<path>]"),
        rule(Nlst, Needed, None,       Needs,    None,                "NLST [<path>]"),
        rule(Mlsd, Needed, None,       Needs,    None,                "MLSD [<directory>]"),
        rule(Mlst, Needed, None,       No,       Some("MLST"),        "MLST [<path>]"),
        rule(Size, Needed, None,       No,       Some("SIZE"),        "SIZE <file>"),
        rule(Mdtm, Needed, None,       No,       Some("MDTM"),        "MDTM <file>"),
        rule(Dele, Needed, None,       No,       None,                "DELE <file>"),
        rule(Rnfr, Needed, None,       No,       None,                "RNFR <from>"),
        rule(Rnto, Needed, Some(Rnfr), No,       None,                "RNTO <to>"),
        rule(Stat, Needed, None,       No,       None,                "STAT [<path>]"),
        rule(Syst, Any,    None,       No,       None,                "SYST"),
        rule(Feat, Any,    None,       No,       None,                "FEAT"),
        rule(Opts, Any,    None,       No,       Some("UTF8"),        "OPTS UTF8 ON | MLST <facts>"),
        rule(Help, Any,    None,       No,       None,                "HELP [<command>]"),
        rule(Noop, Any,    None,       No,       None,                "NOOP"),
    ]
};

impl Rule {
    pub(crate) fn of(verb: Verb) -> Option<&'static Self> {
        RULES.iter().find(|rule| rule.verb == verb)
    }

    /// Whether this server's configuration leaves the command in.
    fn is_enabled(&self, session: &Session) -> bool {
        session.context.config.active || !matches!(self.verb, Verb::Port | Verb::Eprt)
    }
}

/// From a verb and its argument to what is to be done: the gate, the parser, the handler.
///
/// `RNFR` and `REST` hold only for what follows them: all but a few commands make the session
/// forget them, whether they succeed or not.
pub(crate) fn dispatch(session: &mut Session, verb: Verb, argument: &[u8]) -> Outcome {
    if verb == Verb::Rest {
        session.restart = 0;
    }
    if verb == Verb::Rnfr {
        session.rename_from = None;
    }
    let outcome = look_at(session, verb, argument).unwrap_or_else(Outcome::Reply);
    session.forget_pending(verb, argument);
    outcome
}

fn look_at(session: &mut Session, verb: Verb, argument: &[u8]) -> Result<Outcome, Reply> {
    let rule = gate(session, verb)?;
    let command =
        Command::parse(verb, argument).map_err(|error| parse_failure(session, verb, error.kind))?;
    if rule.data != Data::Needs {
        return Ok(handle(session, &command));
    }
    // Whatever comes of it, what was prepared is used up: a stale listener must not serve the
    // next transfer.
    let no_data =
        || Reply::new(ReplyCode::NO_DATA_CONNECTION, "Use PASV, EPSV, PORT or EPRT first");
    let channel = session.channel.take().ok_or_else(no_data)?;
    let mut outcome = handle(session, &command);
    if let Outcome::Transfer(transfer) = &mut outcome {
        transfer.channel = Some(channel);
    }
    Ok(outcome)
}

/// Decides whether a command is looked at, by the state alone: those who are not logged in reach
/// as little code as can be.
fn gate(session: &Session, verb: Verb) -> Result<&'static Rule, Reply> {
    let refuse = |code, text| Err(Reply::new(code, text));
    let Some(rule) = Rule::of(verb).filter(|rule| rule.is_enabled(session)) else {
        return refuse(ReplyCode::NOT_IMPLEMENTED, "Command not implemented");
    };
    match rule.login {
        Login::Needed if session.user().is_none() => {
            return refuse(ReplyCode::NOT_LOGGED_IN, "Please log in with USER and PASS");
        }
        Login::Before if session.user().is_some() => {
            return refuse(ReplyCode::NOT_LOGGED_IN, "Already logged in");
        }
        _ => {}
    }
    let in_sequence = match rule.after {
        Some(Verb::User) => matches!(session.access, Access::Named(_)),
        Some(Verb::Rnfr) => session.rename_from.is_some(),
        _ => true,
    };
    let restarts_a_new_file = verb == Verb::Stou && session.restart > 0;
    if !in_sequence || restarts_a_new_file {
        return refuse(ReplyCode::BAD_SEQUENCE, "Bad sequence of commands");
    }
    if session.epsv_all && rule.data == Data::Prepares {
        return refuse(ReplyCode::BAD_SEQUENCE, "Only EPSV is allowed after EPSV ALL");
    }
    Ok(rule)
}

fn parse_failure(session: &Session, verb: Verb, kind: ParseErrorKind) -> Reply {
    match (kind, verb) {
        (ParseErrorKind::Unsupported, _) => {
            Reply::new(ReplyCode::PARAMETER_NOT_IMPLEMENTED, "Not implemented for that parameter")
        }
        (ParseErrorKind::UnsupportedProtocol, Verb::Eprt) => {
            parameter::protocol_not_supported(session.active_protocols())
        }
        (ParseErrorKind::UnsupportedProtocol, _) => {
            parameter::protocol_not_supported(only(session.protocol()))
        }
        (ParseErrorKind::UnexpectedEnd, _) => {
            Reply::new(ReplyCode::BAD_ARGUMENT, "Argument missing")
        }
        _ => Reply::new(ReplyCode::BAD_ARGUMENT, "Bad argument"),
    }
}

fn handle(session: &mut Session, command: &Command) -> Outcome {
    match command {
        Command::User(name) => access::user(session, name),
        Command::Pass(password) => access::pass(session, password),
        Command::Quit => access::quit(),
        Command::Cwd(path) => directory::cwd(session, path),
        Command::Cdup => directory::cdup(session),
        Command::Pwd => directory::pwd(session),
        Command::Mkd(path) => directory::mkd(session, path),
        Command::Rmd(path) => directory::rmd(session, path),
        Command::Type(representation) => parameter::set_type(session, *representation),
        Command::Stru(structure) => parameter::stru(session, *structure),
        Command::Mode(mode) => parameter::mode(session, *mode),
        Command::Pasv => parameter::pasv(session),
        Command::Port(host_port) => parameter::port(session, *host_port),
        Command::Epsv(argument) => parameter::epsv(session, *argument),
        Command::Eprt(address) => parameter::eprt(session, *address),
        Command::Rest(marker) => transfer::rest(session, *marker),
        Command::Retr(path) => transfer::retr(session, path),
        Command::Stor(path) => transfer::stor(session, path),
        Command::Appe(path) => transfer::appe(session, path),
        Command::Stou(prefix) => transfer::stou(session, prefix.as_ref()),
        Command::Abor => transfer::abor(session),
        Command::List(path) => listing::list(session, path.as_ref()),
        Command::Nlst(path) => listing::nlst(session, path.as_ref()),
        Command::Mlsd(path) => listing::mlsd(session, path.as_ref()),
        Command::Mlst(path) => listing::mlst(session, path.as_ref()),
        Command::Size(path) => file::size(session, path),
        Command::Mdtm(path) => file::mdtm(session, path),
        Command::Dele(path) => file::dele(session, path),
        Command::Rnfr(path) => file::rnfr(session, path),
        Command::Rnto(path) => file::rnto(session, path),
        Command::Stat(None) => status(session, None).into(),
        Command::Stat(Some(path)) => listing::stat(session, path),
        Command::Syst => information::syst(),
        Command::Feat => information::feat(session),
        Command::Opts(option) => information::opts(session, option),
        Command::Help(verb) => information::help(session, verb.as_deref()),
        Command::Noop => information::noop(),
        _ => Reply::new(ReplyCode::NOT_IMPLEMENTED, "Command not implemented").into(),
    }
}

impl Session {
    /// Forgets `RNFR` and `REST` behind any other command than those that may stand between them
    /// and what they are for.
    fn forget_pending(&mut self, verb: Verb, argument: &[u8]) {
        if verb == Verb::Noop || (verb == Verb::Stat && argument.is_empty()) {
            return;
        }
        if verb != Verb::Rnfr {
            self.rename_from = None;
        }
        let keeps_restart = matches!(
            verb,
            Verb::Rest | Verb::Type | Verb::Pasv | Verb::Port | Verb::Epsv | Verb::Eprt
        );
        if !keeps_restart {
            self.restart = 0;
        }
    }

    /// An unknown verb is a command in between like any other; a line without any verb, such as
    /// an empty one, is not.
    pub(crate) fn forget_pending_of_unknown(&mut self, line: &[u8]) {
        if let Ok((verb, argument)) = Verb::split(line) {
            self.forget_pending(verb, argument);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_verb_has_two_rules() {
        for (index, rule) in RULES.iter().enumerate() {
            assert_eq!(RULES.iter().position(|other| other.verb == rule.verb), Some(index));
        }
    }

    #[test]
    fn every_help_text_begins_with_its_verb() {
        for rule in RULES {
            assert!(rule.help.starts_with(rule.verb.as_str()), "{}", rule.help);
        }
    }
}
