//! Errors of server-to-server copies: each server's reply, for each direction that was tried.

use std::fmt;

use ftp_proto::{Reply, ReplyCode, Verb};

use super::kind::may_demand_session;

/// The server that listens for the data connection.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Direction {
    /// The target listens; if the servers cannot open a data connection that way, the source
    /// listens.
    #[default]
    Auto,
    /// The target listens and the source connects to it (RFC 959 §5.2, figure 3). If the data is
    /// unencrypted, the source's first reply arrives before the target opens its file. That reply
    /// shows whether the source can read its own file.
    TargetListens,
    /// The source listens and the target connects to it. The source can then send 150 only after
    /// the target has received `STOR`. If the source cannot read its file, the target's file stays
    /// unchanged only if the source refuses `RETR` promptly.
    SourceListens,
}

impl Direction {
    /// Returns the directions to try, none of which is `Auto`.
    pub(crate) const fn in_order(self) -> &'static [Self] {
        match self {
            Self::Auto => &[Self::TargetListens, Self::SourceListens],
            Self::TargetListens => &[Self::TargetListens],
            Self::SourceListens => &[Self::SourceListens],
        }
    }
}

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

/// Why a copy failed.
///
/// `Display` gives each server's reply, and the server settings that may be the cause.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Error {
    /// The attempts in order, at least one; the last one ended the copy.
    pub attempts: Vec<Attempt>,
}

impl Error {
    pub(crate) fn new(attempt: Attempt) -> Self {
        Self { attempts: vec![attempt] }
    }

    /// Returns the attempt that ended the copy; `None` only if [`attempts`](Self::attempts) is
    /// empty.
    #[must_use]
    pub fn last(&self) -> Option<&Attempt> {
        self.attempts.last()
    }

    /// Returns whether a server began its part of a transfer (sent 1xx) in any attempt.
    pub(crate) fn has_begun(&self, side: Side) -> bool {
        self.attempts.iter().any(|attempt| {
            let (this, other) = attempt.had_begun;
            if attempt.side == side { this } else { other }
        })
    }

    /// Returns whether repeating the same call later may succeed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.attempts.iter().any(|attempt| attempt.error.is_transient())
    }

    /// Returns whether every attempt failed because the servers could not connect to each other.
    /// The servers' settings may forbid such connections.
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
                Direction::SourceListens => f.write_str("; with the source listening: ")?,
                _ => f.write_str("; with the target listening: ")?,
            }
            write!(f, "{attempt}")?;
        }
        if self.attempts.iter().any(Attempt::may_be_about_third_hosts) {
            f.write_str(
                "; to allow third hosts, set port_promiscuous and pasv_promiscuous of vsftpd, \
                 AllowForeignAddress of ProFTPD, -W of Pure-FTPd, or fxp.networks and the right \
                 fxp of ftp-cli serve",
            )?;
        }
        if self.attempts.iter().any(Attempt::may_be_about_trust) {
            f.write_str(
                "; a server that ends the TLS handshake may not trust the other's certificate: \
                 see TLSVerifyClient, TLSVerifyServer and TLSCACertificateFile of ProFTPD, or \
                 tls.sscn_ca and tls.sscn_pins of ftp-cli serve",
            )?;
        }
        if self.attempts.iter().any(Attempt::may_be_about_sessions) {
            f.write_str(
                "; a server that requires TLS session resumption cannot copy to another server: \
                 set require_ssl_reuse=NO of vsftpd, TLSOptions NoSessionReuseRequired of \
                 ProFTPD, or tls.session_reuse of ftp-cli serve",
            )?;
        }
        match self.attempts.as_slice() {
            [only] if only.is_about_the_way() => f.write_str("; the other direction may work"),
            _ => Ok(()),
        }
    }
}

/// One direction that was tried, and why it failed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Attempt {
    /// The direction that was tried; never [`Auto`](Direction::Auto).
    pub direction: Direction,
    /// The server that failed.
    pub side: Side,
    /// The error at the server that failed.
    pub error: super::Error,
    /// The error at the other server, if any: its own failure, or a failure to abort its transfer.
    pub other: Option<super::Error>,
    /// The other server's final reply, if that server confirmed the transfer.
    pub confirmed: Option<Reply>,
    /// Whether the servers had to use TLS between them.
    pub is_protected: bool,
    /// Whether `side` and the other server, in this order, had begun to transfer (sent 1xx).
    pub(crate) had_begun: (bool, bool),
}

impl Attempt {
    pub(crate) const fn new(direction: Direction, side: Side, error: super::Error) -> Self {
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

    /// Returns whether no data connection could be opened. The other direction may then work.
    pub(crate) fn is_about_the_way(&self) -> bool {
        match &self.error {
            super::Error::Refused(_, reply) if reply.code() == ReplyCode::NOT_LOGGED_IN => false,
            super::Error::Refused(Verb::Pasv | Verb::Epsv | Verb::Port | Verb::Eprt, _) => true,
            super::Error::Refused(_, reply) => reply.code() == ReplyCode::NO_DATA_CONNECTION,
            super::Error::Unsupported(_) => true,
            _ => false,
        }
    }

    /// Returns whether a server may have failed because it does not trust the other's certificate.
    fn may_be_about_trust(&self) -> bool {
        let has_left = |error: &super::Error| match error {
            super::Error::Closed | super::Error::Io(_) => true,
            super::Error::Refused(Verb::Retr | Verb::Stor, reply) => {
                reply.code() == ReplyCode::PROTOCOL_NOT_SUPPORTED
            }
            _ => false,
        };
        self.is_protected && (has_left(&self.error) || self.other.as_ref().is_some_and(has_left))
    }

    /// Returns whether a server may have refused the transfer because the data connection resumed
    /// none of that server's TLS sessions.
    fn may_be_about_sessions(&self) -> bool {
        let has_refused = |error: &super::Error| {
            matches!(
                error,
                super::Error::Refused(Verb::Retr | Verb::Stor, reply)
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
            super::Error::Refused(Verb::Pasv | Verb::Epsv, _) => false,
            super::Error::Refused(..) => self.is_about_the_way(),
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
                f.write_str("; the target confirmed the partial file as complete")
            }
            (Some(_), Side::Source) => f.write_str("; the source confirmed that it sent the file"),
            (None, _) => Ok(()),
        }
    }
}

/// Writes the failure at one server. A transfer that had begun was aborted, not refused.
fn say(
    f: &mut fmt::Formatter<'_>,
    side: Side,
    error: &super::Error,
    had_begun: bool,
) -> fmt::Result {
    match error {
        super::Error::Refused(verb, reply) if had_begun => {
            write!(f, "{side}: {verb} aborted: {reply}")
        }
        error => write!(f, "{side}: {error}"),
    }
}
