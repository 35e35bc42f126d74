//! What can fail: [`Error`] shows who must act, [`ErrorKind`] is the coarse class, and
//! [`Recovery`] says what another attempt can do. The other types are details of an [`Error`].
//!
//! ```
//! use ftp_client::error::{Phase, Recovery};
//! use ftp_client::{Error, ErrorKind};
//!
//! let error = Error::Timeout(Phase::Stall);
//! assert_eq!(error.kind(), ErrorKind::Timeout);
//! assert_eq!(error.recovery(), Recovery::TryAgain);
//! ```

mod connect;
pub(crate) mod fxp;
pub(crate) mod job;
mod kind;
mod tls;

pub(crate) use connect::{AnnouncedHost, may_demand_session};
pub use connect::{DataAttempt, ProxyAnswer, ProxyFault};
pub use fxp::FxpAttempt;
pub(crate) use job::TreeFault;
pub use job::{FileFact, JobFault};
pub use kind::{ErrorKind, Recovery, Unsupported};
pub use tls::{CertificateFault, TlsCause, TlsError};

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::path::{Path, is_separator};
use std::sync::Arc;

use ftp_proto::{BlockFault, DeflateFault, Escaped};
use ftp_proto::{ParseError, Reply, ReplyCode, Severity, Verb};

use self::fxp::CopyAttempts;
use crate::digest::Digest;

/// Why a client call failed. Each variant shows who must act.
///
/// The connection is closed after these errors, and every later call returns
/// [`Closed`](Self::Closed):
///
/// - [`ServiceClosing`](Self::ServiceClosing), [`Greeting`](Self::Greeting) and
///   [`Desynchronised`](Self::Desynchronised);
/// - [`Unexpected`](Self::Unexpected) and [`Protocol`](Self::Protocol), in most cases;
/// - a [`Timeout`](Self::Timeout), [`Io`](Self::Io) or [`Tls`](Self::Tls) error of the control
///   connection.
///
/// After most other errors the connection remains usable;
/// [`Client::is_settled`](crate::Client::is_settled) returns whether it is.
///
/// The text of an error includes its causes. Therefore [`source`](std::error::Error::source) returns
/// only what the text lacks, and a printed chain says nothing twice; the variants have the causes.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server refused this command. The reply is 4xx (the command may succeed later), 5xx (it
    /// will fail again), 332 if the server wants an account at login, or 202 if it did nothing.
    #[error("{verb} refused: {reply}")]
    #[non_exhaustive]
    Refused {
        /// The command.
        verb: Verb,
        /// The server's reply.
        reply: Reply,
    },
    /// The server refused this command, which may have been carried out by an earlier attempt whose
    /// reply was lost; or it got no reply, and cannot be repeated. After `MKD`, the directory exists
    /// now; after `DELE` or `RMD`, the object may be another one. The server may still carry out `RNTO`,
    /// `STOR`, `APPE` or `STOU`.
    #[error("{verb} {answer}; {}", Perhaps(*verb), answer = refused(reply.as_ref()))]
    #[non_exhaustive]
    Uncertain {
        /// The command.
        verb: Verb,
        /// The server's reply, if one came.
        reply: Option<Reply>,
    },
    /// 421: the server ends the session, now or at the next command.
    #[error("the server is closing the connection: {0}")]
    ServiceClosing(Reply),
    /// The greeting was neither 220 nor 421.
    #[error("unexpected greeting: {0}")]
    Greeting(Reply),
    /// A reply that is not valid for this command, one that confirms an upload before its end, or
    /// one that puts in question whether an earlier upload succeeded. The command may have been
    /// carried out. Only an early confirmation leaves the connection open.
    #[error("unexpected reply to {verb}: {reply}")]
    #[non_exhaustive]
    Unexpected {
        /// The command.
        verb: Verb,
        /// The server's reply.
        reply: Reply,
    },
    /// The server sent something that is not FTP, a reply without its required value, or an overlong
    /// line.
    #[error("protocol error: {0}")]
    Protocol(ParseError),
    /// The server sent something that no command asked for, so later replies could not be matched
    /// to commands.
    ///
    /// The command was not sent, or it only asked for something: it can be repeated over a new
    /// connection. If a command may have been carried out, the error is
    /// [`Unexpected`](Self::Unexpected).
    #[error("the server sent an unexpected reply; the client closed the connection")]
    Desynchronised,
    /// An argument that FTP cannot carry, such as a line feed in a name. Nothing was sent.
    #[error("not sent: {0}")]
    Argument(ParseError),
    /// A phase, or the whole session, took too long.
    #[error("timed out {0}")]
    Timeout(Phase),
    /// The network failed.
    #[error("network error: {0}")]
    Io(Arc<io::Error>),
    /// A [`Proxy`](crate::Proxy) cannot be reached, or does not connect to the server.
    #[error("proxy {proxy}: {fault}")]
    #[non_exhaustive]
    Proxy {
        /// The proxy: `socks5h://proxy.example.org:1080`, without user and password.
        proxy: String,
        /// What went wrong.
        fault: ProxyFault,
    },
    /// The control connection is closed: by the server, or by this client after an earlier error.
    #[error("the control connection is closed")]
    Closed,
    /// No data connection could be opened. Lists every attempt, in order.
    #[error("no data connection: {}", Attempts(.0))]
    DataConnection(Vec<DataAttempt>),
    /// A transfer that ended without another error, but has the wrong length.
    ///
    /// A download received fewer or more bytes than announced, or the caller ended it before the
    /// end of the data. After an upload, the server reports fewer or more bytes than were sent.
    #[error("incomplete: {}", ByteCount(*.bytes, *.announced))]
    #[non_exhaustive]
    Incomplete {
        /// The number of bytes received or, after an upload, of bytes that the server has.
        bytes: u64,
        /// The number of bytes that the server announced, or that the caller expected or requested.
        /// For an upload, the length that the file must have.
        announced: Option<u64>,
    },
    /// Data of a download or listing in mode Z is not a complete compressed stream. After any fault
    /// except [`Truncated`](DeflateFault::Truncated), the bytes already received may be wrong:
    /// discard them.
    #[error(transparent)]
    Compressed(DeflateFault),
    /// Data of a download or listing in mode B is not a complete sequence of blocks. After any
    /// fault except [`Truncated`](BlockFault::Truncated), the bytes already received may be wrong:
    /// discard them.
    #[error(transparent)]
    Blocks(BlockFault),
    /// The server confirmed a listing that may be incomplete, or sent one beyond the limits of the
    /// caller.
    ///
    /// Entries may be missing, or may not belong to the directory. Do not delete files because this
    /// listing lacks them.
    #[error("the listing may be incomplete: {0}")]
    ListingCut(ListingCut),
    /// The server's file may differ from the file whose beginning is stored locally. Resuming could
    /// join parts of two files.
    #[error("the file on the server may have changed")]
    Changed,
    /// The server reports the modification time of a file in another form than that of RFC 3659.
    #[error("the modification time that the server reports cannot be read: {0}")]
    UnreadableTime(Reply),
    /// The server's digest differs from that of the local file.
    #[error("{} mismatch: {here} here, {there} on the server", .here.algorithm)]
    #[non_exhaustive]
    Mismatch {
        /// The digest of the local file.
        here: Digest,
        /// The server's digest.
        there: Digest,
    },
    /// A connection could not be protected as the caller demands.
    #[error(transparent)]
    Tls(TlsError),
    /// A local file, or the caller's own reader or writer, failed.
    #[error("local error: {0}")]
    Local(Arc<io::Error>),
    /// A [`Canceller`](crate::Canceller) stopped the call.
    #[error("cancelled")]
    Cancelled,
    /// A job with whole files failed: an upload, a download, a move or a removal.
    #[error(transparent)]
    Job(JobFault),
    /// A copy from server to server failed. Lists every attempt, in order; the last one ended the
    /// copy. The text gives each server's reply, and the server settings that may be the cause.
    #[error("{}", CopyAttempts(.0))]
    Fxp(Vec<FxpAttempt>),
    /// No line of a listing could be parsed.
    #[error(
        "no line of the listing was understood{}; the first is: {}",
        System(.system.as_deref()), Escaped(.line)
    )]
    #[non_exhaustive]
    UnknownListing {
        /// The server's system (`SYST`), if the server reports it.
        system: Option<Vec<u8>>,
        /// The first line.
        line: Vec<u8>,
    },
    /// A step of a tree failed.
    #[error(transparent)]
    Tree(Box<TreeFault>),
    /// A pool has, or its server accepts, no more connections than those that are lent, or the server
    /// refused another caller for good. The error is the one that this or another caller met.
    /// [`Pool::try_take`](crate::Pool::try_take) and [`Worker::connect`](crate::pool::Worker::connect)
    /// return this.
    #[error(transparent)]
    Fewer(Box<Self>),
    /// The closure that makes the connections of a [`Pool`](crate::Pool) failed for a reason of the
    /// caller: for example, a password could not be read.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use ftp_client::error::Recovery;
    /// use ftp_client::{Error, ErrorKind};
    ///
    /// let cause = Arc::new(std::io::Error::other("the keyring is locked"));
    /// let error = Error::dial(cause, ErrorKind::Local, Recovery::Impossible);
    /// assert_eq!(error.to_string(), "the keyring is locked");
    /// ```
    #[error("{cause}")]
    #[non_exhaustive]
    Dial {
        /// The failure, in a type of the caller.
        cause: Arc<dyn std::error::Error + Send + Sync>,
        /// The kind of the failure.
        kind: ErrorKind,
        /// What another attempt can do.
        recovery: Recovery,
    },
    /// The request is not possible with this server, over this connection or with these settings.
    #[error("not supported: {0}")]
    Unsupported(Unsupported),
}

impl Error {
    /// Returns the error of a command that the server refused with `reply`.
    #[must_use]
    pub const fn refused(verb: Verb, reply: Reply) -> Self {
        Self::Refused { verb, reply }
    }

    /// Returns the error of a command that the server answered with a reply that is not valid for it.
    #[must_use]
    pub const fn unexpected(verb: Verb, reply: Reply) -> Self {
        Self::Unexpected { verb, reply }
    }

    /// Returns the error of a connection that could not be made for a reason of the caller.
    #[must_use]
    pub const fn dial(
        cause: Arc<dyn std::error::Error + Send + Sync>,
        kind: ErrorKind,
        recovery: Recovery,
    ) -> Self {
        Self::Dial { cause, kind, recovery }
    }

    /// Returns the error of a network that failed.
    #[must_use]
    pub fn io(error: io::Error) -> Self {
        Self::Io(Arc::new(error))
    }

    /// Returns the error of a local file, or of the caller's own reader or writer.
    #[must_use]
    pub fn local(error: io::Error) -> Self {
        Self::Local(Arc::new(error))
    }

    /// Returns whether the server sent a reply that answers no command, so that what it confirmed
    /// before may have failed.
    #[must_use]
    pub const fn is_out_of_step(&self) -> bool {
        matches!(self, Self::Unexpected { .. } | Self::Desynchronised)
    }

    /// Returns whether other transfers over the same control connection would fail too, because it
    /// is unusable, or because the disk of the server or of this computer is full or read-only.
    #[must_use]
    pub fn affects_others(&self) -> bool {
        match self {
            Self::Fewer(met) => met.affects_others(),
            Self::Refused { reply, .. } => reply.code().is_no_space(),
            Self::Argument(_)
            | Self::Uncertain { .. }
            | Self::Incomplete { .. }
            | Self::ListingCut(_)
            | Self::UnreadableTime(_)
            | Self::UnknownListing { .. }
            | Self::Changed
            | Self::Unsupported(Unsupported::UnknownIac)
            // A control connection that was reset is `Closed`.
            | Self::Io(_)
            | Self::Tls(TlsError::TruncatedTls)
            | Self::Mismatch { .. } => false,
            // The next file would fail, too.
            Self::Local(error) => matches!(
                error.kind(),
                io::ErrorKind::StorageFull
                    | io::ErrorKind::QuotaExceeded
                    | io::ErrorKind::ReadOnlyFilesystem
                    | io::ErrorKind::BrokenPipe
            ),
            Self::Job(fault) => fault.affects_others(),
            Self::Tree(fault) => fault.ends_run(),
            Self::Fxp(attempts) if !fxp::are_about_the_way(attempts) => {
                attempts.last().is_none_or(|last| last.error.affects_others())
            }
            _ => true,
        }
    }

    /// Returns whether repeating the same call later may succeed: after network trouble, incomplete
    /// transfers, timeouts, 421 and other 4xx replies, replies out of step, and after a refused
    /// connection or login whose text says that the server has too many clients.
    ///
    /// If no data connection could be opened, the result is `true` unless the server refused
    /// `EPSV ALL` permanently or answered every attempt with 5xx.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Refused { reply, .. } | Self::Greeting(reply) => {
                reply.code().severity() == Severity::Transient || self.is_busy()
            }
            Self::ServiceClosing(_)
            | Self::Desynchronised
            | Self::Timeout(_)
            | Self::Io(_)
            | Self::Closed
            | Self::Incomplete { .. }
            | Self::Compressed(DeflateFault::Truncated)
            | Self::Blocks(BlockFault::Truncated)
            | Self::ListingCut(ListingCut::LineEnd)
            | Self::Tls(TlsError::Broken(_)) => true,
            Self::Proxy { fault, .. } => fault.is_transient(),
            Self::Job(fault) => {
                fault.recovery() != Some(Recovery::Impossible)
                    && fault.cause().is_some_and(Self::is_transient)
            }
            Self::Fxp(attempts) => attempts.iter().any(|attempt| attempt.error.is_transient()),
            Self::Dial { recovery, .. } => *recovery == Recovery::TryAgain,
            Self::Tree(fault) => fault.recovery() == Recovery::TryAgain,
            Self::Fewer(met) => met.is_transient(),
            // A server that refuses `EPSV ALL`, or every attempt with 5xx, will refuse again later.
            Self::DataConnection(attempts) => {
                let is_permanent = |error: &Self| {
                    matches!(error, Self::Refused { reply, .. }
                        if reply.code().severity() == Severity::Permanent)
                };
                !attempts.iter().any(DataAttempt::breaks_promise)
                    && !attempts.iter().all(|attempt| is_permanent(&attempt.error))
            }
            Self::Unexpected { .. }
            | Self::Uncertain { .. }
            | Self::Protocol(_)
            | Self::Argument(_)
            | Self::ListingCut(_)
            | Self::UnknownListing { .. }
            | Self::UnreadableTime(_)
            | Self::Compressed(_)
            | Self::Blocks(_)
            | Self::Changed
            | Self::Mismatch { .. }
            | Self::Tls(_)
            | Self::Local(_)
            | Self::Cancelled
            | Self::Unsupported(_) => false,
        }
    }

    /// Returns whether the server says that it cannot restart a transfer; the whole file must then
    /// be transferred.
    ///
    /// A server may accept `REST` and refuse the command after it: ProFTPD answers 451 to `STOR`
    /// and `APPE` unless its configuration allows restarts. Call this method only after a resumed
    /// transfer: a server may refuse any other `STOR` for an unrelated reason.
    #[must_use]
    pub fn refuses_restart(&self) -> bool {
        const PROFTPD: &[u8] = b"Restart not permitted, try again";
        let Self::Refused { verb, reply } = self else { return false };
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

    /// Returns the server's reply that this error reports, if any.
    #[must_use]
    pub fn reply(&self) -> Option<&Reply> {
        match self {
            Self::Uncertain { reply, .. } => reply.as_ref(),
            Self::Refused { reply, .. }
            | Self::ServiceClosing(reply)
            | Self::Greeting(reply)
            | Self::Unexpected { reply, .. }
            | Self::UnreadableTime(reply)
            | Self::ListingCut(ListingCut::Reply(reply))
            | Self::Tls(TlsError::Refused(reply) | TlsError::DataProtectionRefused { reply, .. }) => {
                Some(reply)
            }
            Self::Job(fault) => fault.cause()?.reply(),
            Self::Tree(fault) => fault.cause()?.reply(),
            Self::Fewer(met) => met.reply(),
            Self::Fxp(attempts) => attempts.last()?.error.reply(),
            _ => None,
        }
    }

    /// Unpacks the error that [`Read`](io::Read) of a download or [`Write`](io::Write) of an upload
    /// wrapped in an `io::Error`.
    ///
    /// This distinguishes the two ends of a copy: an `Err` is the caller's own error, such as that
    /// of the local file.
    ///
    /// ```
    /// use ftp_client::Error;
    ///
    /// let packed = std::io::Error::from(Error::Closed);
    /// assert!(matches!(Error::downcast(packed), Ok(Error::Closed)));
    /// let local = std::io::Error::other("disk full");
    /// assert!(Error::downcast(local).is_err());
    /// ```
    ///
    /// # Errors
    ///
    /// Returns `error` itself if it did not come from this crate.
    pub fn downcast(error: io::Error) -> Result<Self, io::Error> {
        error.downcast()
    }

    /// Returns the error in [`Fewer`](Self::Fewer), and any other error itself.
    #[must_use]
    pub fn met(self) -> Self {
        if let Self::Fewer(met) = self { *met } else { self }
    }

    /// Returns whether the server refused a command for good. A 530, and refusals of `USER`,
    /// `PASS`, `EPSV` and `PASV`, do not count: they say nothing about the object of the command.
    #[must_use]
    pub fn is_no(&self) -> bool {
        matches!(self, Self::Refused { verb, reply } if is_final_no(reply)
            && !matches!(verb, Verb::User | Verb::Pass | Verb::Epsv | Verb::Pasv))
    }

    /// Returns whether the server does not carry out a command now (4yz).
    pub(crate) fn is_not_now(&self) -> bool {
        matches!(self, Self::Refused { reply: it, .. } if it.code().severity() == Severity::Transient)
    }

    /// Returns whether a refused listing says that the directory has no files, as some servers do for an
    /// empty one. That proves nothing unless the server is inside the directory.
    pub(crate) fn says_no_files(&self) -> bool {
        let says =
            |line: &[u8]| line.to_ascii_lowercase().windows(8).any(|part| part == b"no files");
        matches!(self, Self::Refused { verb: Verb::List | Verb::Mlsd, reply }
            if reply.code() == ReplyCode::FILE_UNAVAILABLE && reply.lines().any(says))
    }

    pub(crate) fn is_not_logged_in(&self) -> bool {
        self.reply().is_some_and(|reply| reply.code() == ReplyCode::NOT_LOGGED_IN)
    }
}

/// Shows what an earlier attempt of a command may have done.
struct Perhaps(Verb);

impl fmt::Display for Perhaps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Verb::Mkd => "it exists now, perhaps made by an earlier attempt",
            Verb::Dele | Verb::Rmd => "it may be a new one, after the old one was removed",
            Verb::Appe | Verb::Stor | Verb::Stou => {
                "the server may still carry it out: look at the file before you try again"
            }
            _ => {
                "the server may have renamed it, or still do so: look at both names before you try again"
            }
        })
    }
}

/// Returns a 2xx reply. Any other is [`Error::Refused`], and so is a 202 to a command that changes an
/// object or the current directory: the server did nothing (RFC 959 §4.2.1).
pub(crate) fn accepted(verb: Verb, reply: Reply) -> Result<Reply, Error> {
    use Verb::{Cdup, Cwd, Dele, Mfmt, Mkd, Rmd, Rnto, Site};
    let is_idle = reply.code() == ReplyCode::SUPERFLUOUS
        && matches!(verb, Cdup | Cwd | Dele | Mfmt | Mkd | Rmd | Rnto | Site);
    match reply.code().severity() {
        Severity::Completion if !is_idle => Ok(reply),
        _ => Err(Error::Refused { verb, reply }),
    }
}

/// Returns whether a command is refused for good (5yz). A 530 is about the login: with another one, or
/// later, the command can succeed.
pub(crate) fn is_final_no(reply: &Reply) -> bool {
    reply.code().severity() == Severity::Permanent && reply.code() != ReplyCode::NOT_LOGGED_IN
}

/// Returns whether the server does not know a command, whatever its argument is.
pub(crate) fn is_unknown(reply: &Reply) -> bool {
    matches!(reply.code().value(), 500 | 502)
}

/// Returns whether a reply to an optional command shows that the server lacks it, or this use of it, so
/// that the job goes on without it. Where a command is the job itself, only [`is_unknown`] shows that:
/// a 501 is about its argument, and a 202 to it is a refusal.
pub(crate) fn is_missing(reply: &Reply) -> bool {
    is_about_syntax(reply) || matches!(reply.code().value(), 202 | 522)
}

/// Returns whether a refusal is about the command, its argument or its order (RFC 959 §4.2: 50z), not
/// about an object, the user or TLS: to a command with data, 522 asks for TLS.
pub(crate) fn is_about_syntax(reply: &Reply) -> bool {
    matches!(reply.code().value(), 500..=504)
}

/// Returns the end of a sentence about a command that was not carried out, as far as known.
fn refused(reply: Option<&Reply>) -> String {
    reply.map_or_else(|| "got no reply".to_owned(), |reply| format!("refused: {reply}"))
}

/// Shows the system of a server, if it is known.
struct System<'a>(Option<&'a [u8]>);

impl fmt::Display for System<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |system| write!(f, " (SYST: {})", Escaped(system)))
    }
}

/// A local path. The backslashes that separate its parts on Windows stay single.
pub(crate) struct LocalPath<'a>(pub(crate) &'a Path);

impl fmt::Display for LocalPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_kept = |byte: &u8| *byte == b'\\' && is_separator('\\');
        for (at, part) in self.0.as_os_str().as_encoded_bytes().split(is_kept).enumerate() {
            let separator = if at > 0 { "\\" } else { "" };
            write!(f, "{separator}{}", Escaped(part))?;
        }
        Ok(())
    }
}

pub(crate) fn io_again(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

/// Converts the parse error of an argument to [`Error::Argument`].
impl From<ParseError> for Error {
    fn from(error: ParseError) -> Self {
        Self::Argument(error)
    }
}

/// Lets a URL stand where a text that is parsed as one can stand.
impl From<Infallible> for Error {
    fn from(error: Infallible) -> Self {
        match error {}
    }
}

/// Unpacks an error that a transfer [wrapped](Error::downcast); any other becomes [`Error::Local`].
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::downcast(error).unwrap_or_else(Self::local)
    }
}

impl From<Error> for io::Error {
    /// Wraps the error in an `io::Error` of the kind that fits best; [`Error::downcast`] unpacks it.
    ///
    /// A storage of `ftp_server` that uses this client can so return its errors with `?`: a full
    /// disk (452) or an exceeded quota (552) of the other server stays one, and a name that it does
    /// not allow (553). A 550 does not show its reason and becomes `PermissionDenied`: `NotFound`
    /// would claim that there is no such object.
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Refused { reply, .. } => match reply.code() {
                ReplyCode::NO_SPACE => io::ErrorKind::StorageFull,
                ReplyCode::OVER_QUOTA => io::ErrorKind::QuotaExceeded,
                ReplyCode::FILE_UNAVAILABLE | ReplyCode::NOT_LOGGED_IN => {
                    io::ErrorKind::PermissionDenied
                }
                ReplyCode::NAME_NOT_ALLOWED => io::ErrorKind::InvalidFilename,
                code if code.severity() == Severity::Transient => io::ErrorKind::ResourceBusy,
                _ => io::ErrorKind::Other,
            },
            Error::Job(JobFault::Missing) => io::ErrorKind::NotFound,
            Error::Timeout(_) => io::ErrorKind::TimedOut,
            Error::Io(error) | Error::Local(error) => error.kind(),
            Error::Argument(_) => io::ErrorKind::InvalidInput,
            Error::Protocol(_) | Error::Unexpected { .. } | Error::Desynchronised => {
                io::ErrorKind::InvalidData
            }
            Error::Closed | Error::ServiceClosing(_) => io::ErrorKind::ConnectionAborted,
            Error::Incomplete { .. }
            | Error::ListingCut(_)
            | Error::Compressed(DeflateFault::Truncated)
            | Error::Blocks(BlockFault::Truncated)
            | Error::Tls(TlsError::TruncatedTls) => io::ErrorKind::UnexpectedEof,
            Error::Tls(_) | Error::Compressed(_) | Error::Blocks(_) => io::ErrorKind::InvalidData,
            Error::Unsupported(_) => io::ErrorKind::Unsupported,
            _ => io::ErrorKind::Other,
        };
        // `Interrupted` would make `std::io::copy` try again forever.
        let kind = if kind == io::ErrorKind::Interrupted { io::ErrorKind::Other } else { kind };
        Self::new(kind, error)
    }
}

/// Why a listing may be incomplete although the server did not refuse it. `Display` explains it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ListingCut {
    /// The final reply says that entries are missing, such as
    /// `226 Output truncated to 10000 matches`.
    #[error("the server says {0}")]
    Reply(Reply),
    /// The last line has no line ending, so the name in it may be truncated. That line is
    /// discarded.
    #[error("its last line has no line ending")]
    LineEnd,
    /// The only entry has the name of the directory itself. The client did not list it from inside
    /// to check, because the server does not report the current directory.
    #[error("its only entry has the name of the directory itself")]
    OwnName,
    /// The listing equals that of the directory listed before, and the server is still in the
    /// caller's directory, so it probably listed that one again.
    #[error("the server lists the same names for another directory")]
    Elsewhere,
    /// The listing, or the tree that it belongs to, exceeds the limits of the caller on entries or
    /// memory. The client stopped reading.
    #[error("it is too long: too many names, or too much memory")]
    TooLong,
}

/// The attempts, separated by semicolons.
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

/// The bytes received, and the bytes announced.
struct ByteCount(u64, Option<u64>);

impl fmt::Display for ByteCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self(bytes, Some(announced)) if bytes < announced => {
                write!(f, "{bytes} of {announced} bytes transferred")
            }
            Self(bytes, Some(announced)) if bytes > announced => {
                write!(f, "{bytes} bytes transferred, {announced} expected")
            }
            Self(bytes, _) => write!(f, "ended after {bytes} bytes, before the end of the data"),
        }
    }
}

/// What timed out. `Display` completes "timed out …".
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Phase {
    /// Looking up the server's name.
    Resolve,
    /// Opening the control connection.
    Connect,
    /// Connecting to a proxy, and through it to the server.
    Proxy,
    /// Waiting for the 220 reply after connecting.
    Greeting,
    /// The TLS handshake, on either connection.
    Handshake,
    /// Waiting for the reply to a command: to this one, if it is known.
    Reply(Option<Verb>),
    /// Opening a data connection.
    DataConnect,
    /// Waiting for progress on the data connection, in either direction.
    Stall,
    /// Waiting for the reply that ends a transfer.
    FinalReply,
    /// The limit for the whole session, whatever the client was doing.
    Overall,
}

impl Phase {
    /// Returns the name of the phase, in lower case: `resolve`, `connect`, `proxy`, `greeting`,
    /// `handshake`, `reply`, `data-connect`, `stall`, `final-reply`, `overall`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Proxy => "proxy",
            Self::Greeting => "greeting",
            Self::Handshake => "handshake",
            Self::Reply(_) => "reply",
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
            Self::Proxy => "connecting to the server through the proxy",
            Self::Greeting => "waiting for the server's greeting",
            Self::Handshake => "during the TLS handshake",
            Self::Reply(Some(verb)) => return write!(f, "waiting for the reply to {verb}"),
            Self::Reply(None) => "waiting for a reply",
            Self::DataConnect => "opening the data connection",
            Self::Stall => "moving data: the transfer stalled",
            Self::FinalReply => "waiting for the server to confirm the transfer",
            Self::Overall => "because the overall time limit was reached",
        })
    }
}
