//! `ErrorKind`: a coarse classification of errors, for decisions. [`Error`] has the details.

use std::fmt;

use ftp_proto::{BlockFault, DeflateFault, ReplyCode, Severity, Verb};

use super::{DataAttempt, Error};
use crate::security::TlsError;

/// The kind of an [`Error`]. `Display` writes the word that `ftp-cli` uses in `--json`; in
/// `ftp-cli`, each kind also has its own exit code.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An argument that FTP cannot carry, or TLS settings that cannot be met. Nothing was sent.
    Usage,
    /// A local file or disk, or the caller's own reader or writer.
    Local,
    /// A name without an address, an unreachable address, a lost connection, or a proxy that does
    /// not connect. Also data in mode B or Z that ended early.
    Network,
    /// The server demands or refuses TLS, a handshake or certificate check failed, or protected
    /// data was truncated.
    Tls,
    /// The user, password or account was refused.
    Login,
    /// A reply that is not FTP or not allowed at that point, or a listing beyond the limits.
    Protocol,
    /// A 5xx reply to a command other than a login, or a greeting other than 220 and 4xx.
    Refused,
    /// A 4xx reply to a command, or a 4xx greeting; includes 421, but not 425.
    Temporary,
    /// A phase or the whole session took too long.
    Timeout,
    /// Too few, too many or corrupt bytes, a listing that is not proved complete, or a file that
    /// changed.
    Integrity,
    /// The control connection works, but a data connection cannot be opened (also 425).
    Data,
    /// The server or this library lacks the requested feature, or other settings exclude it.
    Unsupported,
    /// A [`Canceller`](crate::Canceller) was used.
    Cancelled,
}

impl ErrorKind {
    /// Returns the name of the kind: one lower-case word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Local => "local",
            Self::Network => "network",
            Self::Tls => "tls",
            Self::Login => "login",
            Self::Protocol => "protocol",
            Self::Refused => "refused",
            Self::Temporary => "temporary",
            Self::Timeout => "timeout",
            Self::Integrity => "integrity",
            Self::Data => "data",
            Self::Unsupported => "unsupported",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Error {
    /// Returns the kind of failure.
    ///
    /// ```
    /// use ftp_client::{Error, ErrorKind, Phase};
    ///
    /// assert_eq!(Error::Timeout(Phase::Reply).kind(), ErrorKind::Timeout);
    /// ```
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused(verb, reply) => refused(*verb, reply.code()),
            Self::Greeting(reply) => answered(reply.code()),
            Self::ServiceClosing(_) => ErrorKind::Temporary,
            Self::Unexpected(..) | Self::Protocol(_) | Self::Desynchronised => ErrorKind::Protocol,
            Self::Argument(_) => ErrorKind::Usage,
            Self::Timeout(_) => ErrorKind::Timeout,
            Self::Io(_)
            | Self::Closed
            | Self::Proxy(_)
            | Self::Tls(TlsError::Broken(_))
            | Self::Compressed(DeflateFault::Truncated)
            | Self::Blocks(BlockFault::Truncated) => ErrorKind::Network,
            Self::DataConnection(attempts) if attempts.iter().any(DataAttempt::breaks_promise) => {
                ErrorKind::Unsupported
            }
            Self::DataConnection(_) => ErrorKind::Data,
            Self::Incomplete { .. }
            | Self::ListingCut(_)
            | Self::Compressed(_)
            | Self::Blocks(_)
            | Self::Changed
            | Self::Mismatch { .. } => ErrorKind::Integrity,
            Self::Tls(TlsError::Absent) => ErrorKind::Unsupported,
            Self::Tls(TlsError::File { .. }) => ErrorKind::Local,
            Self::Tls(TlsError::Settings(_)) => ErrorKind::Usage,
            Self::Tls(_) => ErrorKind::Tls,
            Self::Local(_) => ErrorKind::Local,
            Self::Upload(fault) => fault.kind(),
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Unsupported(_) => ErrorKind::Unsupported,
        }
    }
}

fn refused(verb: Verb, code: ReplyCode) -> ErrorKind {
    match verb {
        // After a command with data, a 522 concerns TLS; after others, the network protocol.
        _ if code == ReplyCode::PROTOCOL_NOT_SUPPORTED && verb.uses_data() => ErrorKind::Tls,
        Verb::User | Verb::Pass | Verb::Acct if code.severity() != Severity::Transient => {
            ErrorKind::Login
        }
        _ => answered(code),
    }
}

fn answered(code: ReplyCode) -> ErrorKind {
    match code.severity() {
        _ if code == ReplyCode::NO_DATA_CONNECTION => ErrorKind::Data,
        Severity::Transient => ErrorKind::Temporary,
        _ => ErrorKind::Refused,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use ftp_proto::{Pathname, Reply};

    use super::*;
    use crate::error::Phase;

    #[test]
    fn each_failure_has_its_kind() {
        let reply = |code| Reply::new(ReplyCode::new(code).unwrap(), "because");
        let refused = |verb, code| Error::Refused(verb, reply(code));
        for (error, want) in [
            (refused(Verb::Retr, 550), ErrorKind::Refused),
            (refused(Verb::Retr, 450), ErrorKind::Temporary),
            (refused(Verb::Retr, 425), ErrorKind::Data),
            (refused(Verb::Retr, 522), ErrorKind::Tls),
            (refused(Verb::Eprt, 522), ErrorKind::Refused),
            (refused(Verb::Retr, 530), ErrorKind::Refused),
            (refused(Verb::Pass, 530), ErrorKind::Login),
            (refused(Verb::User, 332), ErrorKind::Login),
            (refused(Verb::Pass, 421), ErrorKind::Temporary),
            (Error::Greeting(reply(554)), ErrorKind::Refused),
            (Error::ServiceClosing(reply(421)), ErrorKind::Temporary),
            (Error::Argument(Pathname::new("a\nb").unwrap_err()), ErrorKind::Usage),
            (Error::Timeout(Phase::Stall), ErrorKind::Timeout),
            (Error::Closed, ErrorKind::Network),
            (Error::DataConnection(Vec::new()), ErrorKind::Data),
            (Error::Incomplete { bytes: 1, announced: Some(2) }, ErrorKind::Integrity),
            (Error::Tls(TlsError::Settings("no".to_owned())), ErrorKind::Usage),
            (Error::Tls(TlsError::TruncatedTls), ErrorKind::Tls),
            (Error::Tls(TlsError::Failed("no".to_owned())), ErrorKind::Tls),
            (Error::Tls(TlsError::Broken("no".to_owned())), ErrorKind::Network),
            (Error::Local(io::Error::other("full")), ErrorKind::Local),
            (Error::Cancelled, ErrorKind::Cancelled),
        ] {
            assert_eq!(error.kind(), want, "{error}");
        }
    }

    #[test]
    fn conversions_from_other_errors_keep_the_cause() {
        let packed = io::Error::from(Error::Timeout(Phase::Stall));
        assert_eq!(Error::from(packed).kind(), ErrorKind::Timeout);
        assert_eq!(Error::from(io::Error::other("full")).kind(), ErrorKind::Local);
        let error = Pathname::new("a\nb").unwrap_err();
        assert!(matches!(Error::from(error), Error::Argument(same) if same == error));
    }
}
