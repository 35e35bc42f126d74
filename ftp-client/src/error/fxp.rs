//! Failed attempts of server-to-server copies, with each server's reply.

use std::fmt;

use ftp_proto::{Reply, ReplyCode, Verb};

use super::{Error, may_demand_session};

/// One of the two servers of a copy.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Side {
    /// The server that has the file.
    Source,
    /// The server that receives the file.
    Target,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "source",
            Self::Target => "target",
        })
    }
}

/// Returns whether the server of this side began its part of a transfer (sent 1xx) in any attempt.
pub(crate) fn has_begun(attempts: &[FxpAttempt], side: Side) -> bool {
    attempts.iter().any(|attempt| {
        let (this, other) = attempt.had_begun;
        if attempt.side == side { this } else { other }
    })
}

/// Returns whether every attempt failed because the servers could not connect to each other. The
/// servers' settings may forbid such connections.
pub(super) fn are_about_the_way(attempts: &[FxpAttempt]) -> bool {
    attempts.iter().all(FxpAttempt::is_about_the_way)
}

/// The attempts of a copy. `Display` gives each server's reply, and the server settings that may be
/// the cause.
pub(super) struct CopyAttempts<'a>(pub(super) &'a [FxpAttempt]);

impl fmt::Display for CopyAttempts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, attempt) in self.0.iter().enumerate() {
            if index > 0 {
                write!(f, "; with the {} listening: ", attempt.listener)?;
            }
            write!(f, "{attempt}")?;
        }
        if self.0.iter().any(FxpAttempt::may_be_about_third_hosts) {
            f.write_str(
                "; to allow third hosts, set port_promiscuous and pasv_promiscuous of vsftpd, \
                 AllowForeignAddress of ProFTPD, -W of Pure-FTPd, or fxp.networks and the right \
                 fxp of ftp-cli serve",
            )?;
        }
        if self.0.iter().any(FxpAttempt::may_be_about_trust) {
            f.write_str(
                "; a server that ends the TLS handshake may not trust the other's certificate: \
                 see TLSVerifyClient, TLSVerifyServer and TLSCACertificateFile of ProFTPD, or \
                 tls.sscn_ca and tls.sscn_pins of ftp-cli serve",
            )?;
        }
        if self.0.iter().any(FxpAttempt::may_be_about_sessions) {
            f.write_str(
                "; a server that requires TLS session resumption cannot copy to another server: \
                 set require_ssl_reuse=NO of vsftpd, TLSOptions NoSessionReuseRequired of \
                 ProFTPD, or tls.session_reuse of ftp-cli serve",
            )?;
        }
        match self.0 {
            [only] if only.is_about_the_way() => f.write_str("; the other direction may work"),
            _ => Ok(()),
        }
    }
}

/// One attempt of a copy, with one of the servers listening, and why it failed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FxpAttempt {
    /// The server that listened for the data connection, or was asked to.
    pub listener: Side,
    /// The server that failed.
    pub side: Side,
    /// The error at the server that failed.
    pub error: Error,
    /// The error at the other server, if any: its own failure, or a failure to abort its transfer.
    pub other: Option<Error>,
    /// The other server's final reply, if that server confirmed the transfer.
    pub confirmed: Option<Reply>,
    /// Whether the servers had to use TLS between them.
    pub is_protected: bool,
    /// Whether `side` and the other server, in this order, had begun to transfer (sent 1xx).
    pub(crate) had_begun: (bool, bool),
}

impl FxpAttempt {
    pub(crate) const fn new(listener: Side, side: Side, error: Error) -> Self {
        Self {
            listener,
            side,
            error,
            other: None,
            confirmed: None,
            is_protected: false,
            had_begun: (false, false),
        }
    }

    /// Returns whether no data connection could be opened. The other direction may then work.
    pub(crate) fn is_about_the_way(&self) -> bool {
        match &self.error {
            Error::Refused { reply, .. } if reply.code() == ReplyCode::NOT_LOGGED_IN => false,
            Error::Refused { verb: Verb::Pasv | Verb::Epsv | Verb::Port | Verb::Eprt, .. } => true,
            Error::Refused { reply, .. } => reply.code() == ReplyCode::NO_DATA_CONNECTION,
            Error::Unsupported(_) => true,
            _ => false,
        }
    }

    /// Returns whether a server may have failed because it does not trust the other's certificate.
    fn may_be_about_trust(&self) -> bool {
        let has_left = |error: &Error| match error {
            Error::Closed | Error::Io(_) => true,
            Error::Refused { verb: Verb::Retr | Verb::Stor, reply } => {
                reply.code() == ReplyCode::PROTOCOL_NOT_SUPPORTED
            }
            _ => false,
        };
        self.is_protected && (has_left(&self.error) || self.other.as_ref().is_some_and(has_left))
    }

    /// Returns whether a server may have refused the transfer because the data connection resumed
    /// none of that server's TLS sessions.
    fn may_be_about_sessions(&self) -> bool {
        let has_refused = |error: &Error| {
            matches!(
                error,
                Error::Refused { verb: Verb::Retr | Verb::Stor, reply }
                    if may_demand_session(reply)
            )
        };
        self.is_protected
            && (has_refused(&self.error) || self.other.as_ref().is_some_and(has_refused))
    }

    /// Returns whether a server may have refused because the other end of the data connection is
    /// not the client.
    fn may_be_about_third_hosts(&self) -> bool {
        match &self.error {
            Error::Refused { verb: Verb::Pasv | Verb::Epsv, .. } => false,
            Error::Refused { .. } => self.is_about_the_way(),
            _ => false,
        }
    }
}

impl fmt::Display for FxpAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let other = match self.side {
            Side::Source => Side::Target,
            Side::Target => Side::Source,
        };
        let (this_had_begun, other_had_begun) = self.had_begun;
        say(f, self.side, &self.error, this_had_begun)?;
        if let Some(error) = &self.other {
            f.write_str("; ")?;
            say(f, other, error, other_had_begun)?;
        }
        match (&self.confirmed, other) {
            (Some(_), Side::Target) => {
                f.write_str("; the target confirmed the partial file as complete")
            }
            (Some(_), Side::Source) => f.write_str("; the source confirmed that it sent the file"),
            (None, _) => Ok(()),
        }
    }
}

/// Writes the failure at one server. A transfer that had begun was aborted, not refused.
fn say(f: &mut fmt::Formatter<'_>, side: Side, error: &Error, had_begun: bool) -> fmt::Result {
    match error {
        Error::Refused { verb, reply } if had_begun => {
            write!(f, "{side}: {verb} aborted: {reply}")
        }
        error => write!(f, "{side}: {error}"),
    }
}
