//! Events of a server, and its observers.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ftp_proto::{HostName, Network, Reply, ReplyCode, RepresentationType, Verb};

use crate::auth::{AuthError, LocalPaths};
use crate::storage::VirtualPath;
use crate::tls::TlsInfo;

/// A receiver of events. The events of a session arrive in order, after they happened.
///
/// Usually, the session's thread calls [`observe`](Self::observe) and waits. For slow work, copy
/// the data that you need and process it in another thread. The session's thread may be confined to
/// its user's files, so open all files beforehand. For most refused connections, the thread that
/// accepts connections calls `observe`, and new clients wait until it returns. Another thread
/// reports the end of bans.
///
/// If a session gives up a change for which it waits for a slow storage, and the change is made all
/// the same, the thread of that call reports it, maybe after the session's end. For an upload, this
/// is a second event, with a complete [`end`](Transfer::end).
///
/// A panic in `observe` ends at most the session that the event is about.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// use ftp_server::{Event, EventKind, Observer};
///
/// /// Number of bytes in complete uploads.
/// #[derive(Default)]
/// struct Received(AtomicU64);
///
/// impl Observer for Received {
///     fn observe(&self, event: &Event<'_>) {
///         if let EventKind::Transferred(transfer) = &event.kind
///             && transfer.direction == ftp_server::Direction::Received
///             && transfer.end.is_whole()
///         {
///             self.0.fetch_add(transfer.bytes, Ordering::Relaxed);
///         }
///     }
/// }
/// ```
pub trait Observer: Send + Sync {
    /// Receives an event.
    fn observe(&self, event: &Event<'_>);

    /// Receives the event of an upload that is complete and is about to be published; `hidden_file` is
    /// [`Upload::hidden_file`](crate::Upload::hidden_file). A program that must not lose the event if the server
    /// is killed now writes it to disk here (default: does nothing).
    ///
    /// The session calls the returned function with whether the file is published. If the session
    /// gave up the publication, the thread of the publication calls it. If the end stays unknown, for
    /// example because the storage does not answer, the function is dropped.
    #[must_use]
    fn before_publication(
        &self,
        _event: &Event<'_>,
        _hidden_file: Option<(u64, u64)>,
    ) -> Option<Settle> {
        None
    }
}

/// A function that an observer wants to be called with whether an upload is published.
pub(crate) type Settle = Box<dyn FnOnce(bool) + Send>;

/// Forwards to the inner observer, so that the caller can keep a handle.
impl<T: Observer + ?Sized> Observer for Arc<T> {
    fn observe(&self, event: &Event<'_>) {
        (**self).observe(event);
    }

    fn before_publication(
        &self,
        event: &Event<'_>,
        hidden_file: Option<(u64, u64)>,
    ) -> Option<Settle> {
        (**self).before_publication(event, hidden_file)
    }
}

/// An event of a server. No event holds a password.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Event<'a> {
    /// Number of the session, from 1, unique for this server; `None` for a refused connection and
    /// for the end of a ban.
    pub session: Option<u64>,
    /// The client's address on the control connection; an IPv4-mapped address appears as IPv4.
    pub peer: SocketAddr,
    /// The argument of `USER` of the accepted login, byte for byte; `None` without a login.
    pub user: Option<&'a [u8]>,
    /// How TLS protects the control connection; `None` in plaintext.
    pub tls: Option<TlsInfo>,
    /// The virtual host of the session; `None` if it has none, or if
    /// [`ServerConfig::hosts`](crate::ServerConfig::hosts) is empty.
    pub host: Option<&'a HostName>,
    /// Kind and details of the event.
    pub kind: EventKind<'a>,
    /// Why the system forbade a refused command or a failed transfer, such as "permission of the
    /// server's user"; `None` if the user's rights or the storage itself refused it.
    pub cause: Option<&'static str>,
    /// What the system or the store has said about a refused command or a failed transfer; `None` if
    /// it has said nothing, or no more than the reply and the cause.
    pub error: Option<&'a str>,
    /// Number of similar events that the log has left out since its last line about such an event;
    /// `None` if it leaves out this event too.
    pub(crate) unsaid: Option<u64>,
    /// The user's [`Login::local_paths`](crate::Login::local_paths).
    pub(crate) local_paths: Option<&'a LocalPaths>,
}

impl<'a> Event<'a> {
    /// Returns an event that belongs to no session, so no session's limit of log lines applies to
    /// it.
    pub(crate) const fn of_peer(peer: SocketAddr, kind: EventKind<'a>) -> Self {
        let (session, user, tls, host, local_paths) = (None, None, None, None, None);
        let (cause, error) = (None, None);
        Self { session, peer, user, tls, host, kind, cause, error, unsaid: Some(0), local_paths }
    }

    /// Returns the path on disk of what was transferred completely, made or renamed, if the user's
    /// [`Login::local_paths`](crate::Login::local_paths) returns one.
    #[must_use]
    pub fn local_path(&self) -> Option<PathBuf> {
        let path = match self.kind {
            EventKind::Transferred(Transfer { path, end, .. }) if end.is_whole() => path,
            EventKind::DirectoryMade { path } => path,
            EventKind::Renamed { to, .. } => to,
            _ => return None,
        };
        self.local_paths?(path)
    }
}

/// Kind of an event, with its details.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum EventKind<'a> {
    /// A session began.
    #[non_exhaustive]
    Connected {
        /// The server's address that the client connected to.
        local: SocketAddr,
    },
    /// A connection was closed before the greeting: with 421, or without a reply if TLS is
    /// implicit.
    Refused(Refusal),
    /// A login was accepted.
    LoggedIn,
    /// A login was refused.
    #[non_exhaustive]
    LoginRefused {
        /// The argument of `USER`, byte for byte, as the untrusted client sent it.
        user: &'a [u8],
        /// Reason of the refusal.
        reason: AuthError,
    },
    /// A host was banned because too many of its logins failed, the last one in this session.
    /// During the ban, the server refuses new connections from the host, and logins over existing
    /// ones.
    #[non_exhaustive]
    Banned {
        /// The banned host: an IPv4 address, or a /64 of IPv6.
        network: Network,
        /// Duration of the ban.
        duration: Duration,
    },
    /// A ban expired, or a new configuration or [`Server::unban`](crate::Server::unban) ended it.
    /// The event has the peer of the [`Banned`](Self::Banned) event, but no session. A shutdown
    /// does not report the end of bans.
    #[non_exhaustive]
    BanEnded {
        /// The host that was banned.
        network: Network,
    },
    /// `REIN` or `AUTH` ended the login, and the session continues without a user.
    LoggedOut,
    /// The session ended, with or without a logged-in user.
    #[non_exhaustive]
    Ended {
        /// Duration of the session.
        duration: Duration,
        /// How the session ended.
        end: SessionEnd<'a>,
    },
    /// A transfer ended, completely or not.
    Transferred(Transfer<'a>),
    /// A file was deleted: `DELE`.
    #[non_exhaustive]
    Deleted {
        /// Path of the file.
        path: &'a VirtualPath,
    },
    /// A directory was made, by `MKD` or as a missing parent of an upload.
    #[non_exhaustive]
    DirectoryMade {
        /// Path of the directory.
        path: &'a VirtualPath,
    },
    /// A directory was removed: `RMD`.
    #[non_exhaustive]
    DirectoryRemoved {
        /// Path of the directory.
        path: &'a VirtualPath,
    },
    /// A file or directory was renamed: `RNFR` and `RNTO`.
    #[non_exhaustive]
    Renamed {
        /// Old path.
        from: &'a VirtualPath,
        /// New path.
        to: &'a VirtualPath,
    },
    /// A logged-in user's command was refused: `CWD`, `CDUP`, `MKD`, `RMD`, `DELE`, `RNFR`, `RNTO`,
    /// `SIZE`, `MDTM`, `MFMT`, `MLST`, `MLSD`, `LIST` or `NLST`. A refused `RETR`, `STOR`, `STOU` or `APPE` is a [`Transfer`] that ends with
    /// [`TransferEnd::Refused`].
    #[non_exhaustive]
    CommandRefused {
        /// The command.
        verb: Verb,
        /// The file or directory; for `RNTO` its current path.
        path: &'a VirtualPath,
        /// The new path in `RNTO`; otherwise `None`.
        to: Option<&'a VirtualPath>,
        /// The reply. Its text names the reason, unless the user must not know it.
        reply: &'a Reply,
    },
    /// Attributes were set: `MFMT`, `MFF`, `SITE CHMOD`.
    #[non_exhaustive]
    Changed {
        /// Path of the file or directory.
        path: &'a VirtualPath,
        /// Modification time as stored, in seconds since 1970-01-01T00:00:00Z; `None` if it was not
        /// set.
        modified: Option<i64>,
        /// Permission bits as stored; `None` if they were not set.
        mode: Option<u32>,
    },
}

/// The end of a transfer: `RETR`, `STOR`, `STOU`, `APPE`, `LIST`, `NLST` or `MLSD`. `HASH`, and
/// `STAT` of a path, also count as transfers, because they can take as long as one.
///
/// A refused `RETR`, `STOR`, `STOU` or `APPE` is a transfer of 0 bytes. A listing, `HASH` or `STAT`
/// that is refused at once is not an event.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Transfer<'a> {
    /// The command.
    pub verb: Verb,
    /// Path of the file or directory.
    pub path: &'a VirtualPath,
    /// Direction of the data.
    pub direction: Direction,
    /// The type of the transfer (`TYPE`).
    pub representation: RepresentationType,
    /// Bytes moved over the data connection: uncompressed, with line endings as sent, and without
    /// block headers and TLS. For `HASH`, bytes read; for `STAT`, bytes of the listed lines.
    pub bytes: u64,
    /// Time from the command to the end of the transfer.
    pub duration: Duration,
    /// How the transfer ended.
    pub end: TransferEnd,
    /// Code of the first reply after the data, such as 226 or 426. Code of the only reply if the
    /// server sent no preliminary one, and `None` if it sent no reply at all.
    pub reply: Option<ReplyCode>,
    /// TLS on the data connection; `None` in plaintext.
    pub tls: Option<TlsInfo>,
}

impl Transfer<'_> {
    /// Returns whether the transfer moved no data over a connection, so that a client can cause
    /// thousands of such events per second.
    pub(crate) const fn is_cheap(&self) -> bool {
        matches!(self.direction, Direction::Read)
            || matches!(self.end, TransferEnd::Refused | TransferEnd::NoData | TransferEnd::NoTls)
    }
}

/// Direction of a transfer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Direction {
    /// To the client.
    Sent,
    /// From the client.
    Received,
    /// Neither: the server only read the data, to answer `HASH` or `STAT`.
    Read,
}

/// How a transfer ended. Logs contain the word of each variant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum TransferEnd {
    /// `fin`: complete. A received file is published, or the data was sent or read to its end. The
    /// reply to an upload is 451 if the name of its file could not be synced.
    Fin,
    /// `close-notify`: complete under TLS, where the sender confirmed the end.
    CloseNotify,
    /// `truncated`: an upload may lack its end. Under TLS, the upload ended without `close_notify`;
    /// in mode B or Z, it ended before its data marked the end.
    Truncated,
    /// `corrupt`: an upload in mode Z was not a valid compressed stream, or an upload in mode B was
    /// not a file in valid blocks.
    Corrupt,
    /// `reset`: the data connection broke.
    Reset,
    /// `stall`: no byte moved within the stall timeout, or the storage was not ready.
    Stall,
    /// `abor`: the client sent `ABOR`.
    Abor,
    /// `control-lost`: the control connection ended during the transfer.
    ControlLost,
    /// `cut`: the server ended the transfer, by a shutdown or
    /// [`Server::kick`](crate::Server::kick).
    Cut,
    /// `no-data`: the data connection could not be opened.
    NoData,
    /// `no-tls`: the data connection could not be protected.
    NoTls,
    /// `refused`: the command was refused before a 150.
    Refused,
    /// `storage`: the storage failed after the 150, for example because the disk was full.
    Storage,
}

/// Reason why a connection was refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Refusal {
    /// `full`: the maximum number of sessions is reached: in total, without a login, or for this
    /// host.
    Full,
    /// `resources`: the system has no descriptor or thread left.
    Resources,
    /// `banned`: too many logins failed from this host.
    Banned,
    /// `denied`: the address may not connect.
    Denied,
    /// `header`: a connection from a network in
    /// [`proxy_protocol`](crate::ServerConfig::proxy_protocol) had no valid PROXY header.
    Header,
}

/// How a session ended.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum SessionEnd<'a> {
    /// `closed`: the client or the server closed the session, normally or after a timeout.
    Closed,
    /// `failed`: the connection or a TLS handshake failed, the client did not read the replies, the
    /// authenticator took too long, or no thread could be started.
    Failed(&'a io::Error),
    /// `panicked`: the session's thread panicked, because of a defect.
    Panicked,
}

impl TransferEnd {
    /// Returns whether the transfer is complete: a received file is published, or the data was sent
    /// or read to its end. Prefer this method to a comparison with variants, because later versions
    /// may add some.
    #[must_use]
    pub const fn is_whole(self) -> bool {
        matches!(self, Self::Fin | Self::CloseNotify)
    }

    /// Returns the word that logs contain.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fin => "fin",
            Self::CloseNotify => "close-notify",
            Self::Truncated => "truncated",
            Self::Corrupt => "corrupt",
            Self::NoTls => "no-tls",
            Self::Reset => "reset",
            Self::Stall => "stall",
            Self::Abor => "abor",
            Self::ControlLost => "control-lost",
            Self::Cut => "cut",
            Self::NoData => "no-data",
            Self::Refused => "refused",
            Self::Storage => "storage",
        }
    }
}

impl Refusal {
    /// Returns the word that logs contain.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Resources => "resources",
            Self::Banned => "banned",
            Self::Denied => "denied",
            Self::Header => "header",
        }
    }

    /// Returns the reply to the client: 421 with the reason.
    pub(crate) fn reply(self) -> Reply {
        let why = match self {
            Self::Full | Self::Resources => "Too many connections",
            Self::Banned => "Too many failed logins",
            Self::Denied => "Not available to your address",
            Self::Header => "A PROXY header is required",
        };
        Reply::new(ReplyCode::SERVICE_CLOSING, why)
    }
}

impl SessionEnd<'_> {
    /// Returns the word that logs contain.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Failed(_) => "failed",
            Self::Panicked => "panicked",
        }
    }
}
