//! Commands: the table of what is served, the gate that decides whether a command is looked at,
//! and the way to its handler.

mod access;
mod attribute;
mod digest;
mod directory;
mod file;
mod information;
mod listing;
mod parameter;
mod security;
mod space;
mod transfer;
mod unique;

pub(crate) use information::status;

use self::parameter::only;
use ftp_proto::{Command, ParseErrorKind, Reply, ReplyCode, Verb};

use crate::session::{Access, Outcome, Session};
use crate::storage::Capabilities;
use crate::tls::TlsPolicy;

/// When a command is looked at: read by the gate, in the order the checks run, by `HELP` and
/// `FEAT`.
pub(crate) struct Rule {
    pub(crate) verb: Verb,
    login: Login,
    /// What must have been before.
    after: After,
    data: Data,
    /// The line of `FEAT` that says this is served, or its first word.
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

/// What must, or must not, stand before a command: 503 otherwise.
#[derive(Clone, Copy, PartialEq)]
enum After {
    /// Anything.
    Any,
    /// `USER`.
    User,
    /// A `PASS` that was right, whether or not it was enough.
    Pass,
    /// No login that was finished.
    NoLogin,
    /// `RNFR`.
    Rnfr,
    /// No `REST`.
    NoRest,
    /// A control connection that is protected.
    Protection,
    /// One that is not.
    NoProtection,
    /// `PBSZ`.
    Pbsz,
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
    after: After,
    data: Data,
    feature: Option<&'static str>,
    help: &'static str,
) -> Rule {
    Rule { verb, login, after, data, feature, help }
}

/// Every command that is served. A verb that is not here is known and answered 502.
#[rustfmt::skip]
pub(crate) const RULES: &[Rule] = {
    use Login::{Before, Needed};
    use After::{NoLogin, NoProtection, NoRest, Protection};
    use Data::{Needs, None as No, Prepares};
    use Verb::{
        Abor, Acct, Allo, Appe, Auth, Avbl, Ccc, Cdup, Clnt, Cwd, Dele, Eprt, Epsv, Feat, Hash, Help,
        Host, Lang, List, Mdtm, Mff, Mfmt, Mkd, Mlsd, Mlst, Mode, Nlst, Noop, Opts, Pass, Pasv,
        Pbsz, Port, Prot, Pwd, Quit, Rein, Rest, Retr, Rmd, Rnfr, Rnto, Site, Size, Stat, Stor,
        Stou, Stru, Syst, Type, User,
    };
    const ANY: After = After::Any;
    const ALWAYS: Login = Login::Any;
    &[
        rule(User, Before, ANY,         No,       None,                "USER <name>"),
        rule(Pass, ALWAYS, After::User, No,       None,                "PASS <password>"),
        rule(Acct, ALWAYS, After::Pass, No,       None,                "ACCT <account>"),
        rule(Rein, ALWAYS, ANY,         No,       None,                "REIN"),
        rule(Quit, ALWAYS, ANY,         No,       None,                "QUIT"),
        rule(Host, ALWAYS, NoLogin,     No,       Some("HOST"),        "HOST <hostname>"),
        rule(Lang, ALWAYS, ANY,         No,       Some("LANG EN*"),    "LANG [<tag>]"),
        rule(Clnt, ALWAYS, ANY,         No,       Some("CLNT"),        "CLNT <name>"),
        rule(Auth, ALWAYS, NoProtection, No,      Some("AUTH TLS"),    "AUTH TLS"),
        rule(Pbsz, ALWAYS, Protection,  No,       Some("PBSZ"),        "PBSZ <size>"),
        rule(Prot, ALWAYS, After::Pbsz, No,       Some("PROT"),        "PROT C | P"),
        rule(Ccc,  ALWAYS, ANY,         No,       None,                "CCC"),
        rule(Cwd,  Needed, ANY,         No,       None,                "CWD <directory>"),
        rule(Cdup, Needed, ANY,         No,       None,                "CDUP"),
        rule(Pwd,  Needed, ANY,         No,       None,                "PWD"),
        rule(Mkd,  Needed, ANY,         No,       None,                "MKD <directory>"),
        rule(Rmd,  Needed, ANY,         No,       None,                "RMD <directory>"),
        rule(Type, Needed, ANY,         No,       None,                "TYPE A | I | L 8"),
        rule(Stru, Needed, ANY,         No,       None,                "STRU F"),
        rule(Mode, Needed, ANY,         No,       None,                "MODE S"),
        rule(Pasv, Needed, ANY,         Prepares, None,                "PASV"),
        rule(Port, Needed, ANY,         Prepares, None,                "PORT h1,h2,h3,h4,p1,p2"),
        rule(Epsv, Needed, ANY,         No,       Some("EPSV"),        "EPSV [1 | 2 | ALL]"),
        rule(Eprt, Needed, ANY,         Prepares, Some("EPRT"),        "EPRT |1 or 2|address|port|"),
        rule(Rest, Needed, ANY,         No,       Some("REST STREAM"), "REST <offset>"),
        rule(Allo, Needed, ANY,         No,       None,                "ALLO <size> [R <size>]"),
        rule(Retr, Needed, ANY,         Needs,    None,                "RETR <file>"),
        rule(Stor, Needed, ANY,         Needs,    None,                "STOR <file>"),
        rule(Stou, Needed, NoRest,      Needs,    None,                "STOU [<prefix>]"),
        rule(Appe, Needed, ANY,         Needs,    None,                "APPE <file>"),
        rule(Abor, ALWAYS, ANY,         No,       None,                "ABOR"),
        rule(List, Needed, ANY,         Needs,    None,                "LIST [<path>]"),
        rule(Nlst, Needed, ANY,         Needs,    None,                "NLST [<path>]"),
        rule(Mlsd, Needed, ANY,         Needs,    None,                "MLSD [<directory>]"),
        rule(Mlst, Needed, ANY,         No,       Some("MLST"),        "MLST [<path>]"),
        rule(Size, Needed, ANY,         No,       Some("SIZE"),        "SIZE <file>"),
        rule(Mdtm, Needed, ANY,         No,       Some("MDTM"),        "MDTM <file>"),
        rule(Mfmt, Needed, ANY,         No,       Some("MFMT"),        "MFMT <time> <path>"),
        rule(Mff,  Needed, ANY,         No,       Some("MFF"),         "MFF <fact>=<value>;... <path>"),
        rule(Hash, Needed, ANY,         No,       Some("HASH"),        "HASH <file>"),
        rule(Avbl, Needed, ANY,         No,       Some("AVBL"),        "AVBL [<directory>]"),
        rule(Dele, Needed, ANY,         No,       None,                "DELE <file>"),
        rule(Rnfr, Needed, ANY,         No,       None,                "RNFR <from>"),
        rule(Rnto, Needed, After::Rnfr, No,       None,                "RNTO <to>"),
        rule(Site, Needed, ANY,         No,       None,                "SITE HELP"),
        rule(Stat, Needed, ANY,         No,       None,                "STAT [<path>]"),
        rule(Syst, ALWAYS, ANY,         No,       None,                "SYST"),
        rule(Feat, ALWAYS, ANY,         No,       None,                "FEAT"),
        rule(Opts, ALWAYS, ANY,         No,       Some("UTF8"),        "OPTS UTF8 ON | MLST <facts>"),
        rule(Help, ALWAYS, ANY,         No,       None,                "HELP [<command>]"),
        rule(Noop, ALWAYS, ANY,         No,       None,                "NOOP"),
    ]
};

impl Rule {
    pub(crate) fn of(verb: Verb) -> Option<&'static Self> {
        RULES.iter().find(|rule| rule.verb == verb)
    }

    /// Whether the configuration leaves the command in, and the storage has what it needs.
    fn is_enabled(&self, session: &Session) -> bool {
        let config = &session.context.config;
        let can = |capability| session.offer().capabilities.contains(capability);
        match self.verb {
            Verb::Pasv | Verb::Epsv => config.passive,
            Verb::Port | Verb::Eprt => config.active,
            Verb::Auth => {
                let policy = session.context.tls.as_ref().map(|tls| tls.control_policy());
                policy.is_some_and(|policy| policy != TlsPolicy::Off)
            }
            Verb::Mfmt => can(Capabilities::SET_TIMES),
            Verb::Mff => can(Capabilities::SET_TIMES) || can(Capabilities::CHMOD),
            Verb::Hash => can(Capabilities::DIGEST),
            Verb::Avbl => can(Capabilities::SPACE),
            _ => true,
        }
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
    let outcome = match look_at(session, verb, argument) {
        Ok(outcome) => outcome,
        Err(reply) if reply.code() == ReplyCode::SERVICE_CLOSING => Outcome::Close(reply),
        Err(reply) => reply.into(),
    };
    session.forget_pending(verb, argument);
    outcome
}

fn look_at(session: &mut Session, verb: Verb, argument: &[u8]) -> Result<Outcome, Reply> {
    let rule = gate(session, verb)?;
    let command = Command::parse(verb, argument)
        .map_err(|error| parse_failure(session, verb, argument, error.kind))?;
    if rule.data != Data::Needs {
        return Ok(handle(session, &command));
    }
    security::check_data(session)?;
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
    if session.context.is_draining() {
        return refuse(ReplyCode::SERVICE_CLOSING, "Service closing");
    }
    if session.secured.is_none() && !is_harmless(verb) && session.needs_tls() {
        return refuse(ReplyCode::DENIED_BY_POLICY, "AUTH TLS comes first");
    }
    match rule.login {
        Login::Needed if session.user().is_none() => {
            return refuse(ReplyCode::NOT_LOGGED_IN, "Please log in with USER and PASS");
        }
        Login::Before if session.user().is_some() => {
            return refuse(ReplyCode::NOT_LOGGED_IN, "Already logged in, send REIN first");
        }
        _ => {}
    }
    let is_in_sequence = match rule.after {
        After::Any => true,
        After::User => matches!(session.access, Access::Named(_)),
        After::Pass => matches!(session.access, Access::Unaccounted { .. } | Access::User(_)),
        After::NoLogin => session.user().is_none(),
        After::Rnfr => session.rename_from.is_some(),
        After::NoRest => session.restart == 0,
        After::Protection => session.secured.is_some(),
        After::NoProtection => session.secured.is_none(),
        After::Pbsz => session.secured.is_some() && session.has_buffer_size,
    };
    if !is_in_sequence {
        return refuse(ReplyCode::BAD_SEQUENCE, "Bad sequence of commands");
    }
    if session.epsv_all && rule.data == Data::Prepares {
        return refuse(ReplyCode::BAD_SEQUENCE, "Only EPSV is allowed after EPSV ALL");
    }
    Ok(rule)
}

/// What is looked at in clear where TLS is required: nothing of it is anybody's secret.
const fn is_harmless(verb: Verb) -> bool {
    matches!(
        verb,
        Verb::Auth
            | Verb::Pbsz
            | Verb::Prot
            | Verb::Ccc
            | Verb::Feat
            | Verb::Help
            | Verb::Noop
            | Verb::Quit
            | Verb::Host
            | Verb::Syst
            | Verb::Opts
            | Verb::Lang
            | Verb::Clnt
            | Verb::Abor
    )
}

fn parse_failure(session: &Session, verb: Verb, argument: &[u8], kind: ParseErrorKind) -> Reply {
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
        _ if argument.is_empty() => Reply::new(ReplyCode::BAD_ARGUMENT, "Argument missing"),
        _ => Reply::new(ReplyCode::BAD_ARGUMENT, "Bad argument"),
    }
}

fn handle(session: &mut Session, command: &Command) -> Outcome {
    match command {
        Command::User(name) => access::user(session, name),
        Command::Pass(password) => access::pass(session, password),
        Command::Acct(account) => access::acct(session, &account.0),
        other => handle_other(session, other),
    }
}

/// All but a login, which every session has and many have nothing else: it is not to touch the
/// stack that the largest of these needs.
#[inline(never)]
fn handle_other(session: &mut Session, command: &Command) -> Outcome {
    match command {
        Command::Rein => access::rein(session),
        Command::Quit => access::quit(),
        Command::Host(name) => access::host(session, name),
        Command::Lang(tag) => access::lang(tag.as_ref()),
        Command::Clnt(name) => access::clnt(session, name),
        Command::Auth(mechanism) => security::auth(session, mechanism),
        Command::Pbsz(_) => security::pbsz(session),
        Command::Prot(level) => security::prot(session, *level),
        Command::Ccc => security::ccc(session),
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
        Command::Allo { size, .. } => space::allo(session, *size),
        Command::Retr(path) => transfer::retr(session, path),
        Command::Stor(path) => transfer::stor(session, path),
        Command::Stou(prefix) => unique::stou(session, prefix.as_ref()),
        Command::Appe(path) => transfer::appe(session, path),
        Command::Abor => transfer::abor(session),
        Command::List(path) => listing::list(session, path.as_ref()),
        Command::Nlst(path) => listing::nlst(session, path.as_ref()),
        Command::Mlsd(path) => listing::mlsd(session, path.as_ref()),
        Command::Mlst(path) => listing::mlst(session, path.as_ref()),
        Command::Size(path) => file::size(session, path),
        Command::Mdtm(path) => file::mdtm(session, path),
        Command::Mfmt(time, path) => attribute::mfmt(session, time, path),
        Command::Mff(facts) => attribute::mff(session, facts),
        Command::Hash(path) => digest::hash(session, path),
        Command::Avbl(path) => space::avbl(session, path.as_ref()),
        Command::Site(argument) => attribute::site(session, argument),
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
    use std::sync::Arc;

    use super::*;
    use crate::auth::UserTable;
    use crate::config::ServerConfig;
    use crate::context::{Context, Current};
    use crate::net::admission::Admission;

    #[test]
    fn no_verb_has_two_rules() {
        for (index, rule) in RULES.iter().enumerate() {
            assert_eq!(RULES.iter().position(|other| other.verb == rule.verb), Some(index));
        }
    }

    /// What a line is answered with, and whether the session then ends.
    fn answer(session: &mut Session, line: &str) -> (u16, bool) {
        let (verb, argument) = Verb::split(line.as_bytes()).unwrap();
        match dispatch(session, verb, argument) {
            Outcome::Reply(reply) => (reply.code().value(), false),
            Outcome::Close(reply) => (reply.code().value(), true),
            _ => panic!("{line} is answered at once"),
        }
    }

    #[test]
    fn a_server_that_drains_says_so_before_it_looks_further_st_02() {
        let peer = ([127, 0, 0, 1], 1).into();
        let config = ServerConfig::default();
        let context = Context::new(config, Arc::new(UserTable::new()), Admission::new(1, 0));
        let mut session = Session::new(Current::new(Arc::clone(&context)), peer, peer);
        assert_eq!(answer(&mut session, "PWD"), (530, false));
        assert_eq!(answer(&mut session, "SMNT x"), (502, false));
        context.register.start_draining();
        for line in ["PWD", "RNTO", "PASS x", "NOOP", "HOST h"] {
            assert_eq!(answer(&mut session, line), (421, true), "{line}");
        }
        assert_eq!(answer(&mut session, "SMNT x"), (502, false));
    }

    #[test]
    fn every_help_text_begins_with_its_verb() {
        for rule in RULES {
            assert!(rule.help.starts_with(rule.verb.as_str()), "{}", rule.help);
        }
    }
}
