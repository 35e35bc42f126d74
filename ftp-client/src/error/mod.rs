//! The crate's only error, by blame: each variant names who has to act.

mod kind;

pub use kind::ErrorKind;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};

use ftp_proto::{AddressRule, EpsvArgument, HostReason, NetworkProtocol};
use ftp_proto::{ParseError, Reply, ReplyCode, Severity, Verb};

use crate::digest::Digest;
use crate::security::TlsError;

/// Why a client call failed. Each variant names who has to act.
///
/// After [`ServiceClosing`](Self::ServiceClosing), most [`Unexpected`](Self::Unexpected),
/// [`Protocol`](Self::Protocol), [`Desynchronised`](Self::Desynchronised) and a
/// [`Timeout`](Self::Timeout) on the control connection, the connection is closed, and every
/// later call says [`Closed`](Self::Closed). After the others it can be used on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server said no to this command. The reply, kept whole, is 4yz (it may work later) or
    /// 5yz (it will not), or the 332 of a server that wants an account at login.
    #[error("{0} refused: {1}")]
    Refused(Verb, Reply),
    /// 421: the server ends the session, now or at the next command.
    #[error("the server is closing the connection: {0}")]
    ServiceClosing(Reply),
    /// The server greeted with something other than 220 and 421.
    #[error("the server does not offer its service: {0}")]
    Greeting(Reply),
    /// A reply that RFC 959 §6 does not allow as an answer to this command, or one that confirms
    /// an upload before its end, which alone leaves the connection open.
    #[error("the server answered {0} with a reply that cannot answer it: {1}")]
    Unexpected(Verb, Reply),
    /// What the server sent is not FTP, or lacks the value that it must carry.
    #[error("the server does not speak FTP as it should: {0}")]
    Protocol(#[source] ParseError),
    /// The server had sent something that no command asked for. From then on nobody can tell
    /// which reply belongs to which command.
    #[error("the server sent a reply that no command asked for; the connection is given up")]
    Desynchronised,
    /// The caller gave what FTP cannot carry, such as a line feed in a name. Nothing was sent.
    #[error("not sent: {0}")]
    Argument(#[source] ParseError),
    /// Nothing arrived, or nothing could be sent, in time.
    #[error("timed out {0}")]
    Timeout(Phase),
    /// The network failed.
    #[error("network error: {0}")]
    Io(#[source] io::Error),
    /// The control connection is closed: by the server, or by this client after an earlier error.
    #[error("the control connection is closed")]
    Closed,
    /// No data connection could be made: each way that was tried, in order.
    #[error("no data connection: {}", Attempts(.0))]
    DataConnection(Vec<DataAttempt>),
    /// Fewer or more bytes came than were announced, although nothing else went wrong, or the
    /// caller ended a download before its data did. Or an upload of which the server, asked for
    /// the length, has fewer or more than were sent.
    #[error("incomplete: {}", Missing(*.bytes, *.announced))]
    Incomplete {
        /// How many bytes came, or how many the server has.
        bytes: u64,
        /// How many were to come: by what the server had said, by what the caller expected, or
        /// because they were asked for. Of an upload, how many there should be.
        announced: Option<u64>,
    },
    /// The server confirmed a listing that is not proved whole: something may be missing from it,
    /// or in it that is not in the directory. Whoever removes what a listing lacks must not, by
    /// this one.
    #[error("the listing is not proved whole: {0}")]
    ListingCut(ListingCut),
    /// The file on the server is not known to be the one whose beginning is here already. To go on
    /// with it could make one file of two.
    #[error("the file on the server is not known to be the one that was begun")]
    Changed,
    /// The server computed another digest of its file than that of the local one.
    #[error("{} differs: {here} here, {there} on the server", .here.algorithm)]
    Mismatch {
        /// That of the local file.
        here: Digest,
        /// The server's.
        there: Digest,
    },
    /// A connection is not protected as the caller demands.
    #[error("{0}")]
    Tls(#[source] TlsError),
    /// The caller's own reader or writer failed, in a call that moves a whole file.
    #[error("reading or writing here: {0}")]
    Local(#[source] io::Error),
    /// A [`Canceller`](crate::Canceller) said so.
    #[error("cancelled")]
    Cancelled,
    /// What was asked for cannot be done with this server or over this connection.
    #[error("not supported: {0}")]
    Unsupported(&'static str),
}

impl Error {
    /// Whether the same call may work later without a change by the user: network trouble, limits
    /// of time, 421 and other 4yz replies.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Refused(_, reply) | Self::Greeting(reply) => {
                reply.code().severity() == Severity::Transient
            }
            Self::ServiceClosing(_)
            | Self::Timeout(_)
            | Self::Io(_)
            | Self::Closed
            | Self::Incomplete { .. }
            | Self::ListingCut(ListingCut::LineEnd) => true,
            // A server does not come to like a promise or a command that it does not know.
            Self::DataConnection(attempts) => {
                let is_permanent = |error: &Self| {
                    matches!(error, Self::Refused(_, reply)
                        if reply.code().severity() == Severity::Permanent)
                };
                attempts.iter().all(|attempt| attempt.epsv != EpsvArgument::All)
                    && !attempts.iter().all(|attempt| is_permanent(&attempt.error))
            }
            Self::Unexpected(..)
            | Self::Protocol(_)
            | Self::Desynchronised
            | Self::Argument(_)
            | Self::ListingCut(_)
            | Self::Changed
            | Self::Mismatch { .. }
            | Self::Tls(_)
            | Self::Local(_)
            | Self::Cancelled
            | Self::Unsupported(_) => false,
        }
    }

    /// Whether the server says that it cannot begin elsewhere than at byte 0, so that the whole has
    /// to be moved. It may let `REST` pass, and refuse the command after it: ProFTPD says 451 to
    /// `STOR` and `APPE` then, unless it is told to restart uploads.
    ///
    /// It is about a transfer that was to go on; of another, `STOR` may be refused for anything.
    #[must_use]
    pub fn refuses_restart(&self) -> bool {
        const PROFTPD: &[u8] = b"Restart not permitted, try again";
        let Self::Refused(verb, reply) = self else { return false };
        let code = reply.code();
        let is_permanent = code.severity() == Severity::Permanent;
        match verb {
            Verb::Rest => is_permanent,
            Verb::Stor if code == ReplyCode::OVER_QUOTA => false,
            Verb::Stor => is_permanent || code == ReplyCode::LOCAL_ERROR,
            Verb::Appe if code == ReplyCode::LOCAL_ERROR => reply.text().ends_with(PROFTPD),
            _ => code.value() == 554,
        }
    }

    /// The reply of the server that this error reports, if it is one.
    #[must_use]
    pub const fn reply(&self) -> Option<&Reply> {
        match self {
            Self::Refused(_, reply)
            | Self::ServiceClosing(reply)
            | Self::Greeting(reply)
            | Self::Unexpected(_, reply)
            | Self::ListingCut(ListingCut::Reply(reply))
            | Self::Tls(TlsError::Refused(reply) | TlsError::DataProtectionRefused(_, reply)) => {
                Some(reply)
            }
            _ => None,
        }
    }

    /// Takes back the error that [`Read`](io::Read) of a download or [`Write`](io::Write) of an
    /// upload packed into an `io::Error`. This tells the two ends of a copy apart: what comes
    /// back as `Err` is the caller's own, such as that of the local file.
    ///
    /// ```
    /// use ftp_client::Error;
    ///
    /// let packed = std::io::Error::from(Error::Closed);
    /// assert!(matches!(Error::recover(packed), Ok(Error::Closed)));
    /// let local = std::io::Error::other("disk full");
    /// assert!(Error::recover(local).is_err());
    /// ```
    ///
    /// # Errors
    ///
    /// `error` itself, if it was not made by this crate.
    pub fn recover(error: io::Error) -> Result<Self, io::Error> {
        error.downcast()
    }

    /// The same error once more, for a `finish()` after a failed read or write.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::Refused(verb, reply) => Self::Refused(*verb, reply.clone()),
            Self::ServiceClosing(reply) => Self::ServiceClosing(reply.clone()),
            Self::Greeting(reply) => Self::Greeting(reply.clone()),
            Self::Unexpected(verb, reply) => Self::Unexpected(*verb, reply.clone()),
            Self::Protocol(error) => Self::Protocol(*error),
            Self::Desynchronised => Self::Desynchronised,
            Self::Argument(error) => Self::Argument(*error),
            Self::Timeout(phase) => Self::Timeout(*phase),
            Self::Io(error) => Self::Io(io_again(error)),
            Self::Closed => Self::Closed,
            Self::DataConnection(attempts) => {
                Self::DataConnection(attempts.iter().map(DataAttempt::again).collect())
            }
            Self::Incomplete { bytes, announced } => {
                Self::Incomplete { bytes: *bytes, announced: *announced }
            }
            Self::ListingCut(why) => Self::ListingCut(why.clone()),
            Self::Changed => Self::Changed,
            Self::Mismatch { here, there } => {
                Self::Mismatch { here: here.clone(), there: there.clone() }
            }
            Self::Tls(error) => Self::Tls(error.clone()),
            Self::Local(error) => Self::Local(io_again(error)),
            Self::Cancelled => Self::Cancelled,
            Self::Unsupported(what) => Self::Unsupported(what),
        }
    }

    /// Whether the server refused because nobody is logged in.
    pub(crate) fn is_not_logged_in(&self) -> bool {
        self.reply().is_some_and(|reply| reply.code() == ReplyCode::NOT_LOGGED_IN)
    }
}

fn io_again(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

/// What the caller gave cannot be sent.
impl From<ParseError> for Error {
    fn from(error: ParseError) -> Self {
        Self::Argument(error)
    }
}

/// Takes out what a read or write of a transfer [packed](Error::recover); what is left is the
/// caller's own.
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::recover(error).unwrap_or_else(Self::Local)
    }
}

impl From<Error> for io::Error {
    /// Packs the error with the kind that fits it best; [`Error::recover`] takes it out again.
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Timeout(_) => io::ErrorKind::TimedOut,
            Error::Io(error) | Error::Local(error) => error.kind(),
            Error::Argument(_) => io::ErrorKind::InvalidInput,
            Error::Protocol(_) | Error::Unexpected(..) | Error::Desynchronised => {
                io::ErrorKind::InvalidData
            }
            Error::Closed | Error::ServiceClosing(_) => io::ErrorKind::ConnectionAborted,
            Error::Incomplete { .. }
            | Error::ListingCut(_)
            | Error::Tls(TlsError::TruncatedTls) => io::ErrorKind::UnexpectedEof,
            Error::Tls(_) => io::ErrorKind::InvalidData,
            Error::Unsupported(_) => io::ErrorKind::Unsupported,
            _ => io::ErrorKind::Other,
        };
        // `Interrupted` would make `std::io::copy` try again for ever.
        let kind = if kind == io::ErrorKind::Interrupted { io::ErrorKind::Other } else { kind };
        Self::new(kind, error)
    }
}

/// One way to a data connection that was tried, and why it failed.
#[derive(Debug)]
#[non_exhaustive]
pub struct DataAttempt {
    /// `EPSV`, `PASV`, `EPRT` or `PORT`.
    pub way: Verb,
    /// What `EPSV` was sent with; [`EpsvArgument::Default`] for the others.
    pub epsv: EpsvArgument,
    /// Where the data connection was to go, or where the server was to connect to, as far as that
    /// was known.
    pub address: Option<SocketAddr>,
    /// The host that the server announced, if it is not that of the control connection.
    pub announced: Option<AnnouncedHost>,
    /// What went wrong.
    pub error: Error,
}

impl DataAttempt {
    /// A way that failed before an address was agreed on.
    pub(crate) const fn early(way: Verb, error: Error) -> Self {
        Self { way, epsv: EpsvArgument::Default, address: None, announced: None, error }
    }

    fn again(&self) -> Self {
        Self { error: self.error.again(), ..*self }
    }
}

impl fmt::Display for DataAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let argument = match self.epsv {
            EpsvArgument::Default => "",
            EpsvArgument::Protocol(NetworkProtocol::Ipv4) => " 1",
            EpsvArgument::Protocol(NetworkProtocol::Ipv6) => " 2",
            EpsvArgument::All => " ALL",
        };
        match (&self.error, self.address) {
            (Error::Refused(..), _) | (_, None) => {}
            (_, Some(address)) => write!(f, "{}{argument} with {address}: ", self.way)?,
        }
        match &self.error {
            Error::Refused(way, reply) => write!(f, "{way}{argument} refused: {reply}")?,
            Error::Io(error) => error.fmt(f)?,
            error => error.fmt(f)?,
        }
        match &self.announced {
            Some(announced) => write!(f, " ({announced})"),
            None => Ok(()),
        }
    }
}

/// The host that a 227 reply announced where it is another than that of the control connection,
/// and what was made of it. `Display` says why, and which [`AddressRule`] would choose the other.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct AnnouncedHost {
    /// As the server said.
    pub announced: IpAddr,
    /// That of the control connection.
    pub peer: IpAddr,
    /// Why the one or the other was chosen.
    pub reason: HostReason,
}

impl AnnouncedHost {
    /// Whether the announced host was chosen.
    #[must_use]
    pub const fn is_used(&self) -> bool {
        matches!(self.reason, HostReason::ReplyRule | HostReason::Plausible)
    }
}

impl fmt::Display for AnnouncedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { announced, peer, reason } = self;
        let smart = AddressRule::Smart.choose(*announced, *peer);
        let smart_uses_it = smart.host == *announced;
        write!(f, "the server announced {announced}: ")?;
        match (self.is_used(), smart_uses_it) {
            (true, true) => write!(f, "{reason}; the address rule `peer` would use {peer}"),
            (true, false) => {
                write!(f, "{}; the address rules `peer` and `smart` would use {peer}", smart.reason)
            }
            (false, true) => {
                write!(f, "{reason}; the address rules `smart` and `reply` would use the other")
            }
            (false, false) => write!(f, "{reason}; the address rule `reply` would use the other"),
        }
    }
}

struct Attempts<'a>(&'a [DataAttempt]);

impl fmt::Display for Attempts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, attempt) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{attempt}")?;
        }
        Ok(())
    }
}

/// Why a listing that the server confirmed is not proved whole. `Display` says it for people.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ListingCut {
    /// The text of the final reply says so, such as `226 Output truncated to 10000 matches`.
    Reply(Reply),
    /// The last line has no line end, so that its name may go on. The line is not given.
    LineEnd,
    /// The directory is listed as if it were all that is in itself, and cannot be entered to look.
    OwnName,
}

impl fmt::Display for ListingCut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reply(reply) => write!(f, "the server says {reply}"),
            Self::LineEnd => f.write_str("its last line has no end"),
            Self::OwnName => f.write_str("its only entry has the name of the directory itself"),
        }
    }
}

/// Bytes that came, and bytes that were announced.
struct Missing(u64, Option<u64>);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self(bytes, Some(announced)) if bytes < announced => {
                write!(f, "{bytes} of {announced} bytes came")
            }
            Self(bytes, Some(announced)) if bytes > announced => {
                write!(f, "{bytes} bytes came, where {announced} were announced")
            }
            Self(bytes, _) => write!(f, "ended after {bytes} bytes, with more to come"),
        }
    }
}

/// What was being waited for. `Display` completes "timed out ...".
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Phase {
    /// The addresses of the server's name.
    Resolve,
    /// The control connection.
    Connect,
    /// The 220 reply after connecting.
    Greeting,
    /// The handshake of TLS, on either connection.
    Handshake,
    /// The reply to a command.
    Reply,
    /// The data connection.
    DataConnect,
    /// One more byte on the data connection.
    Stall,
    /// The reply that ends a transfer.
    FinalReply,
    /// The limit for all that the client does, whatever it was doing.
    Overall,
}

impl Phase {
    /// One lower-case word, for programs: `resolve`, `connect`, `greeting`, `handshake`, `reply`,
    /// `data-connect`, `stall`, `final-reply`, `overall`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Greeting => "greeting",
            Self::Handshake => "handshake",
            Self::Reply => "reply",
            Self::DataConnect => "data-connect",
            Self::Stall => "stall",
            Self::FinalReply => "final-reply",
            Self::Overall => "overall",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "looking up the name of the server",
            Self::Connect => "connecting to the server",
            Self::Greeting => "waiting for the server's greeting",
            Self::Handshake => "agreeing on TLS with the server",
            Self::Reply => "waiting for a reply",
            Self::DataConnect => "opening the data connection",
            Self::Stall => "moving data: the transfer stalled",
            Self::FinalReply => "waiting for the server to confirm the transfer",
            Self::Overall => "because the limit for the whole connection is reached",
        })
    }
}
