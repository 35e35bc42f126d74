//! Exit codes: one cause, one code, frozen. Scripts depend on this table.

use std::error::Error as _;
use std::io;
use std::process::ExitCode;

use ftp_client::{DataAttempt, EpsvArgument, Error};
use ftp_proto::{ReplyCode, Severity, Verb};

/// How a run ended. The numbers are a contract.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Exit {
    /// All done.
    Success = 0,
    /// Anything that has no code of its own.
    Internal = 1,
    /// An option, a URL, a setting; a name that FTP cannot carry.
    Usage = 2,
    /// A local file or disk.
    Local = 3,
    /// Name resolution, connect, reset.
    Network = 4,
    /// TLS is demanded.
    Tls = 5,
    /// The login was refused, or there is no password for it.
    Login = 6,
    /// A reply that is not FTP, or not allowed here.
    Protocol = 7,
    /// 5yz to a command.
    Refused = 8,
    /// 4yz to a command, 421 included, 425 not.
    Temporary = 9,
    /// A phase, or the whole, took too long.
    Timeout = 10,
    /// Fewer or more bytes than announced.
    Integrity = 11,
    /// Of several items some failed.
    Partial = 12,
    /// The control connection is fine and a data connection impossible, 425 included.
    Data = 13,
    /// The server, or this version, lacks what was asked for.
    Unsupported = 14,
    /// SIGINT.
    Interrupted = 130,
    /// SIGTERM.
    Terminated = 143,
}

/// The table as `help` prints it.
pub(crate) const TABLE: &[(Exit, &str)] = &[
    (Exit::Success, "all done"),
    (Exit::Internal, "anything unclassified: a bug"),
    (Exit::Usage, "usage: option, URL, setting, a name that FTP cannot carry"),
    (Exit::Local, "local file or disk"),
    (Exit::Network, "network: name, address, connect, reset"),
    (Exit::Tls, "the server demands TLS"),
    (Exit::Login, "login refused, or no password for it"),
    (Exit::Protocol, "a reply that is not FTP or not allowed here"),
    (Exit::Refused, "refused: 5yz to a command"),
    (Exit::Temporary, "refused for now: 4yz or 421 to a command"),
    (Exit::Timeout, "timed out"),
    (Exit::Integrity, "integrity: fewer or more bytes than announced"),
    (Exit::Partial, "of several items some failed"),
    (Exit::Data, "no data connection, 425 included"),
    (Exit::Unsupported, "the server, or this version, lacks what was asked for"),
    (Exit::Interrupted, "interrupted (SIGINT)"),
    (Exit::Terminated, "terminated (SIGTERM)"),
];

impl Exit {
    pub(crate) const fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command failed: its exit code, and a sentence for people.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
    /// Whether to try further files over the same control connection would be no use.
    pub(crate) fatal: bool,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), fatal: true }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// A local file: `what` went wrong, and why.
    pub(crate) fn local(what: impl std::fmt::Display, error: &io::Error) -> Self {
        Self::new(Exit::Local, format!("{what}: {error}"))
    }

    /// What a login failed with: every refusal here is about the login.
    pub(crate) fn login(error: &Error) -> Self {
        let mut failure = Self::from(error);
        let Error::Refused(verb, reply) = error else { return failure };
        match reply.code().value() {
            534 => {
                failure.exit = Exit::Tls;
                failure.message.push_str(
                    "; the server wants TLS (ftpes://), which is not built into this version",
                );
            }
            530 | 331 | 332 => failure.exit = Exit::Login,
            _ if matches!(verb, Verb::User | Verb::Pass | Verb::Acct)
                && reply.code().severity() == Severity::Permanent =>
            {
                failure.exit = Exit::Login;
            }
            _ => {}
        }
        failure
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::from(&error)
    }
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        let exit = match error {
            Error::Refused(_, reply) | Error::Greeting(reply) => {
                match (reply.code(), reply.code().severity()) {
                    (ReplyCode::NO_DATA_CONNECTION, _) => Exit::Data,
                    (_, Severity::Transient) => Exit::Temporary,
                    _ => Exit::Refused,
                }
            }
            Error::ServiceClosing(_) => Exit::Temporary,
            Error::Unexpected(..) | Error::Protocol(_) | Error::Desynchronised => Exit::Protocol,
            Error::Argument(_) => Exit::Usage,
            Error::Timeout(_) => Exit::Timeout,
            Error::Io(_) | Error::Closed => Exit::Network,
            Error::DataConnection(attempts) if attempts.iter().any(is_promise) => Exit::Unsupported,
            Error::DataConnection(_) => Exit::Data,
            Error::Incomplete { .. } | Error::Changed => Exit::Integrity,
            Error::Local(_) => Exit::Local,
            Error::Unsupported(_) => Exit::Unsupported,
            // By a signal; which it was says who caught it.
            Error::Cancelled => Exit::Interrupted,
            _ => Exit::Internal,
        };
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !message.ends_with(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            cause = error.source();
        }
        if exit == Exit::Data {
            message.push_str("; the control connection works: ");
            message.push_str(match error {
                Error::DataConnection(attempts) if attempts.iter().any(has_another_host) => {
                    "--passive-address has the rules"
                }
                _ => "--active, --passive or --epsv never may find a way",
            });
        }
        let fatal = match error {
            // What is full stays full for the next file.
            Error::Refused(_, reply) => {
                matches!(reply.code(), ReplyCode::NO_SPACE | ReplyCode::OVER_QUOTA)
            }
            Error::Argument(_) => false,
            _ => true,
        };
        Self { exit, message, fatal }
    }
}

/// Whether the server refused `EPSV ALL`, which an option demands.
fn is_promise(attempt: &DataAttempt) -> bool {
    attempt.epsv == EpsvArgument::All
}

/// Whether another host could be tried.
const fn has_another_host(attempt: &DataAttempt) -> bool {
    attempt.announced.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ftp_client::Phase;
    use ftp_proto::{ParseError, Pathname, Reply};

    fn reply(code: u16) -> Reply {
        Reply::new(ReplyCode::new(code).unwrap(), "because")
    }

    fn parse_error() -> ParseError {
        Pathname::new("a\nb").unwrap_err()
    }

    #[test]
    fn table_is_whole_and_in_order() {
        assert!(TABLE.is_sorted_by_key(|(exit, _)| exit.code()));
        let codes: Vec<u8> = TABLE.iter().map(|(exit, _)| exit.code()).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 130, 143]);
    }

    #[test]
    fn one_cause_has_one_code_li_06() {
        let broken = || io::Error::from(io::ErrorKind::ConnectionReset);
        for (error, want) in [
            (Error::Refused(Verb::Retr, reply(550)), Exit::Refused),
            (Error::Refused(Verb::Retr, reply(500)), Exit::Refused),
            (Error::Refused(Verb::Retr, reply(450)), Exit::Temporary),
            (Error::Refused(Verb::Retr, reply(426)), Exit::Temporary),
            (Error::Refused(Verb::Retr, reply(425)), Exit::Data),
            (Error::Refused(Verb::Retr, reply(530)), Exit::Refused),
            (Error::ServiceClosing(reply(421)), Exit::Temporary),
            (Error::Greeting(reply(554)), Exit::Refused),
            (Error::Greeting(reply(420)), Exit::Temporary),
            (Error::Unexpected(Verb::Retr, reply(227)), Exit::Protocol),
            (Error::Protocol(parse_error()), Exit::Protocol),
            (Error::Desynchronised, Exit::Protocol),
            (Error::Argument(parse_error()), Exit::Usage),
            (Error::Timeout(Phase::Stall), Exit::Timeout),
            (Error::Timeout(Phase::Overall), Exit::Timeout),
            (Error::Io(broken()), Exit::Network),
            (Error::Closed, Exit::Network),
            (Error::DataConnection(Vec::new()), Exit::Data),
            (Error::Incomplete { bytes: 1, announced: Some(2) }, Exit::Integrity),
            (Error::Changed, Exit::Integrity),
            (Error::Local(broken()), Exit::Local),
            (Error::Unsupported("this"), Exit::Unsupported),
        ] {
            assert_eq!(Failure::from(&error).exit, want, "{error}");
        }
    }

    #[test]
    fn a_refused_login_is_the_logins() {
        for (error, want) in [
            (Error::Refused(Verb::Pass, reply(530)), Exit::Login),
            (Error::Refused(Verb::User, reply(530)), Exit::Login),
            (Error::Refused(Verb::Pass, reply(332)), Exit::Login),
            (Error::Refused(Verb::User, reply(331)), Exit::Login),
            (Error::Refused(Verb::User, reply(534)), Exit::Tls),
            (Error::Refused(Verb::User, reply(500)), Exit::Login),
            (Error::Refused(Verb::User, reply(450)), Exit::Temporary),
            (Error::ServiceClosing(reply(421)), Exit::Temporary),
            (Error::Closed, Exit::Network),
        ] {
            assert_eq!(Failure::login(&error).exit, want, "{error}");
        }
        let tls = Failure::login(&Error::Refused(Verb::User, reply(534)));
        assert!(tls.message.contains("ftpes://"), "{}", tls.message);
    }

    #[test]
    fn the_servers_reason_is_never_lost() {
        let failure = Failure::from(&Error::Refused(Verb::Stor, reply(553)));
        assert!(failure.message.contains("553 because"), "{}", failure.message);
        assert!(!failure.fatal);
        assert!(Failure::from(&Error::Refused(Verb::Stor, reply(452))).fatal);
    }
}
