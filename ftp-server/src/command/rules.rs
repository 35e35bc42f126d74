//! The table of served commands, and the gate that applies it. A row contains everything that the
//! server knows about a verb except its grammar and its handler.

use ftp_proto::{Reply, ReplyCode, Verb};

use self::NamedPath::{Parent, Path, PathAfterFlags, PathAfterWord, PathOrHere};
use crate::auth::Rights;
use crate::session::{Access, Session};
use crate::storage::Capabilities;
use crate::tls::TlsPolicy;

/// The rule of one verb: the conditions of the gate, the texts for `HELP` and `FEAT`, and the
/// effect on the session.
pub(crate) struct Rule {
    pub(super) verb: Verb,
    pub(super) help: &'static str,
    pub(super) login: LoginState,
    pub(super) after: After,
    pub(super) data: Data,
    needs: Needs,
    /// Rights of which the user needs at least one; empty if the command needs no right.
    rights: &'static [Rights],
    /// Whether the command is allowed in plaintext even if TLS is required, because it contains
    /// nothing secret.
    pub(super) is_harmless: bool,
    keeps: Keeps,
    /// Whether the command calls the authenticator; such a call may never return.
    decides_login: bool,
    /// The path that observers learn if the command is refused.
    pub(super) names: NamedPath,
    /// The line in `FEAT`, or the first word of that line; `None`: no line.
    pub(super) feature: Option<&'static str>,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum LoginState {
    /// The command is served before and after login.
    Any,
    /// The command is served only after login; before, it gets 530.
    Needed,
    /// The command is served only before login; after, it gets 530.
    Before,
}

/// The state that a command requires; in another state, it gets 503.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum After {
    Any,
    /// `USER` was sent.
    User,
    /// `PASS` was accepted: the user is logged in, or must still send `ACCT`.
    Pass,
    NoLogin,
    /// `RNFR` was accepted.
    Rnfr,
    NoRest,
    /// The control connection is protected.
    Protection,
    /// The control connection is in plaintext.
    NoProtection,
    /// The control connection is protected. `PBSZ` was sent, unless implicit TLS or `AUTH SSL` makes
    /// it unnecessary.
    Pbsz,
}

/// The path that a command names. Refused uploads and downloads are events of their own.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum NamedPath {
    Nothing,
    /// The argument.
    Path,
    /// The argument, or the current directory if there is none.
    PathOrHere,
    /// As `PathOrHere`, after flags such as `-la`.
    PathAfterFlags,
    /// What follows the first word.
    PathAfterWord,
    /// The path in the argument of an older digest command.
    PathOfRange,
    Parent,
}

/// The relation of a command to the data connection.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Data {
    None,
    /// Prepares a data connection in a way that `EPSV ALL` forbids.
    Prepares,
    Lists,
    Sends,
    Receives,
}

/// A requirement of a command on the configuration or the storage. If the requirement is not met,
/// the command gets 502.
#[derive(Clone, Copy)]
enum Needs {
    Nothing,
    Passive,
    Active,
    /// TLS that the client can request.
    Tls,
    /// Trusted servers, with which this server can be the TLS client.
    OtherServers,
    /// Any of these capabilities.
    Storage(&'static [Capabilities]),
}

/// The pending state that a command keeps, whether or not it succeeds. By default, `RNFR` and
/// `REST` apply only to the next command.
#[derive(Clone, Copy, PartialEq)]
enum Keeps {
    Nothing,
    /// The restart offset of `REST`.
    Restart,
    /// The name of `RNFR`.
    Rename,
    All,
    /// Both, if the command has no argument.
    AllIfBare,
}

/// Returns the rule of a command for logged-in users, without other requirements.
const fn rule(verb: Verb, help: &'static str) -> Rule {
    Rule {
        verb,
        help,
        login: LoginState::Needed,
        after: After::Any,
        data: Data::None,
        needs: Needs::Nothing,
        rights: &[],
        is_harmless: false,
        keeps: Keeps::Nothing,
        decides_login: false,
        names: NamedPath::Nothing,
        feature: None,
    }
}

/// Returns the rule of a command for all clients, before and after login.
const fn rule_for_all(verb: Verb, help: &'static str) -> Rule {
    Rule { login: LoginState::Any, ..rule(verb, help) }
}

/// Returns the rule of a command for logged-in users that names a path.
const fn rule_of(names: NamedPath, verb: Verb, help: &'static str) -> Rule {
    Rule { names, ..rule(verb, help) }
}

/// Returns the rule of a digest command that is older than HASH.
const fn xdigest(verb: Verb, help: &'static str, feature: &'static str) -> Rule {
    rule_of(NamedPath::PathOfRange, verb, help)
        .needs(Needs::Storage(&[Capabilities::DIGEST]))
        .rights(&[Rights::RETRIEVE])
        .feature(feature)
}

/// Every served command, in the order of `HELP`. Other known verbs get 502.
pub(super) const RULES: &[Rule] = &[
    Rule { login: LoginState::Before, ..rule(Verb::User, "USER <name>") },
    rule_for_all(Verb::Pass, "PASS <password>").after(After::User).decides_login(),
    rule_for_all(Verb::Acct, "ACCT <account>").after(After::Pass).decides_login(),
    rule_for_all(Verb::Rein, "REIN"),
    rule_for_all(Verb::Quit, "QUIT").harmless(),
    rule_for_all(Verb::Host, "HOST <hostname>").after(After::NoLogin).harmless().feature("HOST"),
    rule_for_all(Verb::Lang, "LANG [<tag>]").harmless().feature("LANG EN*"),
    rule_for_all(Verb::Clnt, "CLNT <name>").harmless().feature("CLNT"),
    rule_for_all(Verb::Auth, "AUTH TLS")
        .after(After::NoProtection)
        .needs(Needs::Tls)
        .harmless()
        .feature("AUTH TLS"),
    rule_for_all(Verb::Pbsz, "PBSZ <size>").after(After::Protection).harmless().feature("PBSZ"),
    rule_for_all(Verb::Prot, "PROT C | P").after(After::Pbsz).harmless().feature("PROT"),
    rule(Verb::Sscn, "SSCN [ON | OFF]")
        .after(After::Protection)
        .needs(Needs::OtherServers)
        .rights(&[Rights::FXP])
        .feature("SSCN"),
    rule_for_all(Verb::Ccc, "CCC").harmless(),
    rule_of(Path, Verb::Cwd, "CWD <directory>"),
    rule_of(Parent, Verb::Cdup, "CDUP"),
    rule(Verb::Pwd, "PWD"),
    rule_of(Path, Verb::Mkd, "MKD <directory>").rights(&[Rights::MKDIR]),
    rule_of(Path, Verb::Rmd, "RMD <directory>").rights(&[Rights::DELETE]),
    rule(Verb::Type, "TYPE A | I | L 8").keeps(Keeps::Restart),
    rule(Verb::Stru, "STRU F"),
    rule(Verb::Mode, "MODE S").feature("MODE"),
    rule(Verb::Pasv, "PASV").data(Data::Prepares).needs(Needs::Passive).keeps(Keeps::Restart),
    rule(Verb::Port, "PORT h1,h2,h3,h4,p1,p2")
        .data(Data::Prepares)
        .needs(Needs::Active)
        .keeps(Keeps::Restart),
    rule(Verb::Epsv, "EPSV [1 | 2 | ALL]")
        .needs(Needs::Passive)
        .keeps(Keeps::Restart)
        .feature("EPSV"),
    rule(Verb::Eprt, "EPRT |1 or 2|address|port|")
        .data(Data::Prepares)
        .needs(Needs::Active)
        .keeps(Keeps::Restart)
        .feature("EPRT"),
    rule(Verb::Rest, "REST <offset>")
        .rights(&[Rights::RETRIEVE, Rights::WRITE])
        .keeps(Keeps::Restart)
        .feature("REST STREAM"),
    rule(Verb::Allo, "ALLO <size> [R <size>]")
        .rights(&[Rights::CREATE, Rights::APPEND])
        .keeps(Keeps::Restart),
    rule(Verb::Retr, "RETR <file>").data(Data::Sends).rights(&[Rights::RETRIEVE]),
    rule(Verb::Stor, "STOR <file>").data(Data::Receives).rights(&[Rights::CREATE]),
    rule(Verb::Stou, "STOU [<prefix>]")
        .after(After::NoRest)
        .data(Data::Receives)
        .rights(&[Rights::CREATE]),
    rule(Verb::Appe, "APPE <file>").data(Data::Receives).rights(&[Rights::APPEND]),
    rule_for_all(Verb::Abor, "ABOR").harmless(),
    rule_of(PathAfterFlags, Verb::List, "LIST [<path>]").data(Data::Lists).rights(&[Rights::LIST]),
    rule_of(PathAfterFlags, Verb::Nlst, "NLST [<path>]").data(Data::Lists).rights(&[Rights::LIST]),
    rule_of(PathOrHere, Verb::Mlsd, "MLSD [<directory>]").data(Data::Lists).rights(&[Rights::LIST]),
    rule_of(PathOrHere, Verb::Mlst, "MLST [<path>]").rights(&[Rights::LIST]).feature("MLST"),
    rule_of(Path, Verb::Size, "SIZE <file>").rights(&[Rights::LIST]).feature("SIZE"),
    rule_of(Path, Verb::Mdtm, "MDTM <file>").rights(&[Rights::LIST]).feature("MDTM"),
    rule_of(PathAfterWord, Verb::Mfmt, "MFMT <time> <path>")
        .needs(Needs::Storage(&[Capabilities::SET_TIMES]))
        .rights(&[Rights::WRITE])
        .feature("MFMT"),
    rule_of(PathAfterWord, Verb::Mff, "MFF <fact>=<value>;... <path>")
        .needs(Needs::Storage(&[Capabilities::SET_TIMES, Capabilities::CHMOD]))
        .rights(&[Rights::WRITE, Rights::CHMOD])
        .feature("MFF"),
    rule_of(Path, Verb::Hash, "HASH <file>")
        .needs(Needs::Storage(&[Capabilities::DIGEST]))
        .rights(&[Rights::RETRIEVE])
        .feature("HASH"),
    xdigest(Verb::Xcrc, "XCRC \"<file>\" [<start> [<end>]]", "XCRC filename;start;end"),
    xdigest(Verb::Xmd5, "XMD5 \"<file>\" [<start> [<end>]]", "XMD5 filename;start;end"),
    xdigest(Verb::Xsha1, "XSHA1 \"<file>\" [<start> [<end>]]", "XSHA1 filename;start;end"),
    xdigest(Verb::Xsha256, "XSHA256 \"<file>\" [<start> [<end>]]", "XSHA256 filename;start;end"),
    rule_of(PathOrHere, Verb::Avbl, "AVBL [<directory>]")
        .needs(Needs::Storage(&[Capabilities::SPACE]))
        .rights(&[Rights::LIST])
        .feature("AVBL"),
    rule_of(Path, Verb::Dele, "DELE <file>").rights(&[Rights::DELETE]),
    rule_of(Path, Verb::Rnfr, "RNFR <from>").rights(&[Rights::RENAME]).keeps(Keeps::Rename),
    rule_of(Path, Verb::Rnto, "RNTO <to>").after(After::Rnfr).rights(&[Rights::RENAME]),
    rule(Verb::Site, "SITE"),
    rule_of(Path, Verb::Stat, "STAT [<path>]").keeps(Keeps::AllIfBare),
    rule_for_all(Verb::Syst, "SYST").harmless(),
    rule_for_all(Verb::Feat, "FEAT").harmless(),
    rule_for_all(Verb::Opts, "OPTS UTF8 ON | MLST <facts>").harmless().feature("UTF8"),
    rule_for_all(Verb::Help, "HELP [<command>]").harmless(),
    rule_for_all(Verb::Noop, "NOOP").harmless().keeps(Keeps::All),
];

impl Rule {
    const fn after(self, after: After) -> Self {
        Self { after, ..self }
    }

    const fn data(self, data: Data) -> Self {
        Self { data, ..self }
    }

    const fn needs(self, needs: Needs) -> Self {
        Self { needs, ..self }
    }

    const fn rights(self, rights: &'static [Rights]) -> Self {
        Self { rights, ..self }
    }

    const fn harmless(self) -> Self {
        Self { is_harmless: true, ..self }
    }

    const fn keeps(self, keeps: Keeps) -> Self {
        Self { keeps, ..self }
    }

    const fn decides_login(self) -> Self {
        Self { decides_login: true, ..self }
    }

    const fn feature(self, feature: &'static str) -> Self {
        Self { feature: Some(feature), ..self }
    }

    pub(super) fn of(verb: Verb) -> Option<&'static Self> {
        RULES.iter().find(|rule| rule.verb == verb)
    }

    /// Returns whether the configuration and the storage allow the command.
    pub(super) fn is_enabled(&self, session: &Session) -> bool {
        match self.needs {
            Needs::Nothing => true,
            Needs::Passive => session.context.config.passive.enabled,
            Needs::Active => session.context.config.active,
            Needs::Tls => {
                let tls = session.context.tls.as_ref();
                tls.is_some_and(|tls| tls.rules().control != TlsPolicy::Off)
            }
            Needs::OtherServers => session.serves_sscn(),
            Needs::Storage(any) => {
                let (_, capabilities) = session.offer();
                any.iter().any(|capability| capabilities.contains(*capability))
            }
        }
    }

    /// Returns whether these rights allow the command for at least some paths or arguments.
    pub(super) fn is_permitted(&self, rights: Rights) -> bool {
        self.rights.is_empty() || self.rights.iter().any(|right| rights.contains(*right))
    }

    pub(super) fn needs_data(&self) -> bool {
        matches!(self.data, Data::Lists | Data::Sends | Data::Receives)
    }

    /// Returns whether the name of `RNFR` and the offset of `REST` survive the command.
    fn keeps_pending(&self, argument: &[u8]) -> (bool, bool) {
        match self.keeps {
            Keeps::Nothing => (false, false),
            Keeps::Restart => (false, true),
            Keeps::Rename => (true, false),
            Keeps::All => (true, true),
            Keeps::AllIfBare => (argument.is_empty(), argument.is_empty()),
        }
    }
}

/// Returns whether a command calls the authenticator; such a call may never return.
pub(crate) fn decides_login(verb: Verb) -> bool {
    Rule::of(verb).is_some_and(|rule| rule.decides_login)
}

pub(crate) fn file_direction(verb: Verb) -> Option<crate::log::Direction> {
    match Rule::of(verb)?.data {
        Data::Sends => Some(crate::log::Direction::Sent),
        Data::Receives => Some(crate::log::Direction::Received),
        Data::None | Data::Prepares | Data::Lists => None,
    }
}

impl Session {
    /// Forgets `RNFR` and `REST`, unless this command may stand between them and the command that
    /// uses them.
    pub(super) fn forget_pending(&mut self, verb: Verb, argument: &[u8]) {
        let (keeps_name, keeps_offset) =
            Rule::of(verb).map_or((false, false), |rule| rule.keeps_pending(argument));
        if !keeps_name {
            self.login.rename_from = None;
        }
        if !keeps_offset {
            self.transfer.lose_restart();
            self.transfer.has_lost_restart &= file_direction(verb).is_none();
        }
    }

    /// Forgets `RNFR` and `REST` after a line that is no command.
    pub(crate) fn forget_all_pending(&mut self) {
        self.login.rename_from = None;
        self.transfer.lose_restart();
    }
}

/// Returns the rule of a command, or a reply that refuses the command.
///
/// The decision depends on the rule and the state of the session. The gate comes before the parser,
/// so that clients without a login reach as little code as possible.
pub(super) fn gate(session: &Session, verb: Verb) -> Result<&'static Rule, Reply> {
    let refuse = |code, text| Err(Reply::new(code, text));
    let Some(rule) = Rule::of(verb).filter(|rule| rule.is_enabled(session)) else {
        return refuse(ReplyCode::NOT_IMPLEMENTED, "Command not implemented");
    };
    if session.context.is_draining() {
        return refuse(ReplyCode::SERVICE_CLOSING, "Service closing");
    }
    if session.secured.is_none() && !rule.is_harmless && session.needs_tls() {
        return refuse(ReplyCode::DENIED_BY_POLICY, "Use AUTH TLS first");
    }
    match rule.login {
        LoginState::Needed if session.user().is_none() => {
            return refuse(ReplyCode::NOT_LOGGED_IN, "Please log in with USER and PASS");
        }
        LoginState::Before if session.user().is_some() => {
            return refuse(ReplyCode::NOT_LOGGED_IN, "Already logged in, send REIN first");
        }
        _ => {}
    }
    let is_in_sequence = match rule.after {
        After::Any => true,
        After::User => matches!(session.login.access, Access::Named(_)),
        After::Pass => matches!(session.login.access, Access::Unaccounted { .. } | Access::User(_)),
        After::NoLogin => session.user().is_none(),
        After::Rnfr => session.login.rename_from.is_some(),
        After::NoRest => session.transfer.restart == 0,
        After::Protection => session.secured.is_some(),
        After::NoProtection => session.secured.is_none(),
        After::Pbsz => session.secured.is_some() && session.transfer.has_buffer_size,
    };
    if !is_in_sequence {
        return refuse(ReplyCode::BAD_SEQUENCE, "Bad sequence of commands");
    }
    if session.transfer.has_lost_restart && rule.data == Data::Receives {
        return refuse(ReplyCode::BAD_SEQUENCE, "Another command has cancelled REST");
    }
    if session.transfer.epsv_all && rule.data == Data::Prepares {
        return refuse(ReplyCode::BAD_SEQUENCE, "Only EPSV is allowed after EPSV ALL");
    }
    Ok(rule)
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
    fn refusals_of_every_command_with_a_path_have_an_event() {
        let operands = ["<path>", "<file>", "<directory>", "<from>", "<to>"];
        for rule in RULES {
            let has_path = operands.iter().any(|operand| rule.help.contains(operand));
            let is_file = matches!(rule.data, Data::Sends | Data::Receives);
            let is_expected = (has_path || rule.verb == Verb::Cdup) && !is_file;
            assert_eq!(rule.names != NamedPath::Nothing, is_expected, "{}", rule.help);
        }
    }

    #[test]
    fn every_help_text_begins_with_its_verb() {
        for rule in RULES {
            assert!(rule.help.starts_with(rule.verb.as_str()), "{}", rule.help);
        }
    }
}
