//! Why a copy failed: which server said what, in each direction that was tried.

use std::fmt;

use ftp_proto::{Reply, ReplyCode, Verb};

use super::Direction;
use crate::transfer;

/// One of the two servers.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Side {
    /// The one that has the file.
    Source,
    /// The one that gets it.
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

/// Why a copy failed.
///
/// `Display` names what each server said, and what to do where servers refuse third hosts.
#[derive(Debug)]
#[non_exhaustive]
pub struct Error {
    /// What was tried, in order; the last ended it. At least one.
    pub attempts: Vec<Attempt>,
}

impl Error {
    pub(super) fn new(attempt: Attempt) -> Self {
        Self { attempts: vec![attempt] }
    }

    /// What ended the copy.
    #[must_use]
    pub fn last(&self) -> Option<&Attempt> {
        self.attempts.last()
    }

    /// Whether the same call may work later without a change by the user.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.attempts.iter().any(|attempt| attempt.error.is_transient())
    }

    /// Whether no data connection between the two came about, which is up to their settings.
    #[must_use]
    pub fn is_about_the_way(&self) -> bool {
        self.attempts.iter().all(Attempt::is_about_the_way)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.last().map(|attempt| &attempt.error as _)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, attempt) in self.attempts.iter().enumerate() {
            match attempt.direction {
                _ if index == 0 => {}
                Direction::SourceListens => f.write_str("; where the source listens: ")?,
                _ => f.write_str("; where the target listens: ")?,
            }
            write!(f, "{attempt}")?;
        }
        if self.attempts.iter().any(Attempt::may_be_about_third_hosts) {
            f.write_str(
                "; servers connect to third hosts only where that is allowed: port_promiscuous \
                 and pasv_promiscuous of vsftpd, AllowForeignAddress of ProFTPD, -W of Pure-FTPd, \
                 fxp.networks and the right fxp of ftp-cli serve",
            )?;
        }
        if self.attempts.iter().any(Attempt::may_be_about_trust) {
            f.write_str(
                "; a server that leaves at the handshake with the other may not trust the other's \
                 certificate: TLSVerifyClient, TLSVerifyServer and TLSCACertificateFile of ProFTPD",
            )?;
        }
        if self.attempts.iter().any(Attempt::may_be_about_sessions) {
            f.write_str(
                "; a server that demands that protected data connections resume the session of the \
                 control connection cannot copy to another server: require_ssl_reuse=NO of vsftpd, \
                 TLSOptions NoSessionReuseRequired of ProFTPD, tls.session_reuse of ftp-cli serve",
            )?;
        }
        match self.attempts.as_slice() {
            [only] if only.is_about_the_way() => f.write_str("; the other direction may work"),
            _ => Ok(()),
        }
    }
}

/// One direction that was tried, and why it failed.
#[derive(Debug)]
#[non_exhaustive]
pub struct Attempt {
    /// Which server listened: never [`Auto`](Direction::Auto).
    pub direction: Direction,
    /// Whose fault ended it.
    pub side: Side,
    /// What that was.
    pub error: crate::Error,
    /// What went wrong with the other server on top of that, be it by itself or while its part of
    /// the transfer was aborted.
    pub other: Option<crate::Error>,
    /// The reply of the other server, if it took the transfer for complete all the same.
    pub confirmed: Option<Reply>,
    /// Whether the two were to do a handshake of TLS with each other.
    pub is_protected: bool,
    /// Whether `side` and the other server had begun to transfer (1yz).
    pub(super) had_begun: (bool, bool),
}

impl Attempt {
    pub(super) const fn new(direction: Direction, side: Side, error: crate::Error) -> Self {
        Self {
            direction,
            side,
            error,
            other: None,
            confirmed: None,
            is_protected: false,
            had_begun: (false, false),
        }
    }

    /// Whether it failed because no data connection came about, so that another direction may
    /// help.
    pub(super) fn is_about_the_way(&self) -> bool {
        match &self.error {
            crate::Error::Refused(_, reply) if reply.code() == ReplyCode::NOT_LOGGED_IN => false,
            crate::Error::Refused(Verb::Pasv | Verb::Epsv | Verb::Port | Verb::Eprt, _) => true,
            crate::Error::Refused(_, reply) => reply.code() == ReplyCode::NO_DATA_CONNECTION,
            crate::Error::Unsupported(_) => true,
            _ => false,
        }
    }

    /// Whether a server may have left because it does not trust the other.
    fn may_be_about_trust(&self) -> bool {
        let has_left = |error| matches!(error, &(crate::Error::Closed | crate::Error::Io(_)));
        self.is_protected && (has_left(&self.error) || self.other.as_ref().is_some_and(has_left))
    }

    /// Whether a server may have refused because the data connection resumed no session of its own.
    fn may_be_about_sessions(&self) -> bool {
        let has_refused = |error: &crate::Error| {
            matches!(
                error,
                crate::Error::Refused(Verb::Retr | Verb::Stor, reply)
                    if transfer::is_demand_for_session(reply)
            )
        };
        self.is_protected
            && (has_refused(&self.error) || self.other.as_ref().is_some_and(has_refused))
    }

    /// Whether a server may have refused because the other is not the client.
    fn may_be_about_third_hosts(&self) -> bool {
        match &self.error {
            crate::Error::Refused(Verb::Pasv | Verb::Epsv, _) => false,
            crate::Error::Refused(..) => self.is_about_the_way(),
            _ => false,
        }
    }
}

impl fmt::Display for Attempt {
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
                f.write_str("; the target takes what came for the whole file")
            }
            (Some(_), Side::Source) => f.write_str("; the source sent all of it"),
            (None, _) => Ok(()),
        }
    }
}

/// What failed at a server. A transfer that had begun was not refused.
fn say(
    f: &mut fmt::Formatter<'_>,
    side: Side,
    error: &crate::Error,
    had_begun: bool,
) -> fmt::Result {
    match error {
        crate::Error::Refused(verb, reply) if had_begun => {
            write!(f, "{side}: {verb} broken off: {reply}")
        }
        error => write!(f, "{side}: {error}"),
    }
}
