//! What happens in a server, told to whom it may concern.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ftp_proto::{Network, Reply, ReplyCode, RepresentationType, Verb};

use crate::storage::VirtualPath;
use crate::tls::TlsInfo;

/// Is told what happened, after the fact and in the order of each session.
///
/// It is called on the thread of the session, which waits for it: who has much to do with an event
/// copies what is wanted and does it elsewhere. That thread may be confined to the files of its
/// user by then, so whatever is to be opened has to be open before. Of a connection that is
/// refused the accepting thread tells, and all who want to connect wait for it.
///
/// A panic ends the session that it was called for, as any other panic on its thread would, and
/// nothing else.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// use ftp_server::{Event, EventKind, Observer};
///
/// /// How many bytes were received.
/// #[derive(Default)]
/// struct Received(AtomicU64);
///
/// impl Observer for Received {
///     fn observe(&self, event: &Event<'_>) {
///         if let EventKind::Transferred(transfer) = &event.kind
///             && transfer.direction == ftp_server::Direction::Received
///         {
///             self.0.fetch_add(transfer.bytes, Ordering::Relaxed);
///         }
///     }
/// }
/// ```
pub trait Observer: Send + Sync {
    /// Takes note of an event.
    fn observe(&self, event: &Event<'_>);
}

/// For whoever keeps the observer, to ask it later.
impl<T: Observer + ?Sized> Observer for Arc<T> {
    fn observe(&self, event: &Event<'_>) {
        (**self).observe(event);
    }
}

/// Something that has happened, and to whom. No event holds a password.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Event<'a> {
    /// The number of the session, from 1, which no other session of the server has; `None` for a
    /// connection that was refused and for the end of a ban.
    pub session: Option<u64>,
    /// Where the control connection comes from; an IPv4-mapped address is written as IPv4.
    pub peer: SocketAddr,
    /// The argument of `USER` of the login that was accepted, byte for byte; `None` without one.
    pub user: Option<&'a [u8]>,
    /// How the control connection is protected, if it is.
    pub tls: Option<TlsInfo>,
    /// What has happened.
    pub kind: EventKind<'a>,
    /// How many events like it had no line in logs since the last one that had; `None` if this one
    /// has none either.
    pub(crate) unsaid: Option<u64>,
}

impl<'a> Event<'a> {
    /// An event outside of all sessions, which has its line in logs.
    pub(crate) const fn of_peer(peer: SocketAddr, kind: EventKind<'a>) -> Self {
        Self { session: None, peer, user: None, tls: None, kind, unsaid: Some(0) }
    }
}

/// What has happened.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum EventKind<'a> {
    /// A session begins.
    #[non_exhaustive]
    Connected {
        /// The address that was connected to.
        local: SocketAddr,
    },
    /// A connection was closed with 421 before it became a session.
    Refused(Refusal),
    /// A login was accepted.
    LoggedIn,
    /// A login was not accepted.
    #[non_exhaustive]
    LoginRefused {
        /// The argument of `USER`, byte for byte: whatever anybody likes to send.
        user: &'a [u8],
        /// Why.
        reason: LoginRefusal,
    },
    /// Too many logins from a host failed, the last one in this session: for a while new connections
    /// from there are refused, and nobody logs in over those that exist.
    #[non_exhaustive]
    Banned {
        /// The host, or the IPv6 network of 64 bits that counts as one.
        network: Network,
        /// How long it lasts.
        duration: Duration,
    },
    /// A ban is over, by its time or because another configuration forgets it. It is told of the
    /// peer of whom its beginning was told, without a session. That the server ends is no end of
    /// it which is told.
    #[non_exhaustive]
    BanEnded {
        /// As it was when it began.
        network: Network,
    },
    /// The user left by `REIN`, and the session goes on without one.
    LoggedOut,
    /// The session is over. Not every user is logged out before.
    #[non_exhaustive]
    Ended {
        /// How long it was connected.
        duration: Duration,
        /// How it ended.
        end: SessionEnd<'a>,
    },
    /// A command that moves bytes is over, well or not.
    Transferred(Transfer<'a>),
    /// A file is gone: `DELE`.
    #[non_exhaustive]
    Deleted {
        /// Where it was.
        path: &'a VirtualPath,
    },
    /// There is a new directory: `MKD`, or a file was to be made in it.
    #[non_exhaustive]
    DirectoryMade {
        /// Where it is.
        path: &'a VirtualPath,
    },
    /// A directory is gone: `RMD`.
    #[non_exhaustive]
    DirectoryRemoved {
        /// Where it was.
        path: &'a VirtualPath,
    },
    /// A file or directory has another name: `RNFR` and `RNTO`.
    #[non_exhaustive]
    Renamed {
        /// Where it was.
        from: &'a VirtualPath,
        /// Where it is now.
        to: &'a VirtualPath,
    },
    /// Attributes were set: `MFMT`, `MFF`, `SITE CHMOD`.
    #[non_exhaustive]
    Changed {
        /// Of what.
        path: &'a VirtualPath,
        /// When it was last modified, as it is stored now, in seconds since 1970; `None` if that
        /// was not set.
        modified: Option<i64>,
        /// The permission bits, as they are stored now; `None` if they were not set.
        mode: Option<u32>,
    },
}

/// A command that moves bytes, when it is over: `RETR`, `STOR`, `STOU`, `APPE`, `LIST`, `NLST`,
/// `MLSD`; and what takes as long, `HASH` and a `STAT` that searches.
///
/// For a file that could not even be opened there is one as well, refused and without a byte; for
/// a listing there is not.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Transfer<'a> {
    /// The command.
    pub verb: Verb,
    /// What was transferred or listed.
    pub path: &'a VirtualPath,
    /// Which way.
    pub direction: Direction,
    /// The type in force (`TYPE`).
    pub representation: RepresentationType,
    /// How many bytes moved over the data connection, or were read where there is none.
    pub bytes: u64,
    /// How long it took, from the command on.
    pub duration: Duration,
    /// How it ended.
    pub end: TransferEnd,
    /// The first reply behind the 150, or the only one; `None` if none was sent.
    pub reply: Option<ReplyCode>,
    /// How the data connection was protected, if it was.
    pub tls: Option<TlsInfo>,
}

impl Transfer<'_> {
    /// Whether a client can have thousands of them per second: no data connection is needed.
    pub(crate) const fn is_cheap(&self) -> bool {
        matches!(self.direction, Direction::Read)
            || matches!(self.end, TransferEnd::Refused | TransferEnd::NoData | TransferEnd::NoTls)
    }
}

/// Which way bytes went.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Direction {
    /// To the client.
    Sent,
    /// From the client.
    Received,
    /// Nowhere: they were read for a reply.
    Read,
}

/// How a transfer ended. Each has a word that logs name it by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum TransferEnd {
    /// `fin`: whole. What was received is published; what was sent was sent to its end.
    Fin,
    /// `close-notify`: the same under TLS, where both sides say that it was all.
    CloseNotify,
    /// `truncated`: an upload under TLS ended without the client's word that it was all. Somebody may
    /// have cut it.
    Truncated,
    /// `reset`: the data connection broke.
    Reset,
    /// `stall`: no byte moved for too long.
    Stall,
    /// `abor`: the client said `ABOR`.
    Abor,
    /// `control-lost`: the control connection ended, and whose it was with it.
    ControlLost,
    /// `cut`: the server ended it, by its shutdown or [`Server::kick`](crate::Server::kick).
    Cut,
    /// `no-data`: there was no data connection.
    NoData,
    /// `no-tls`: the data connection could not be protected.
    NoTls,
    /// `refused`: there was no 150.
    Refused,
    /// `storage`: the storage failed behind the 150, as with a disk that is full.
    Storage,
}

/// Why a connection was closed before it became a session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Refusal {
    /// `full`: there are as many sessions as may be, in all, without a login, or from this host.
    Full,
    /// `resources`: the system had no descriptor or thread for it.
    Resources,
    /// `banned`: too many logins failed from this host.
    Banned,
    /// `denied`: this address may not connect.
    Denied,
}

/// Why a login was not accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum LoginRefusal {
    /// `credentials`: no such user, or another password or account.
    Credentials,
    /// `no-home`: the user's directory cannot be opened.
    NoHome,
    /// `unavailable`: the authenticator could not tell.
    Unavailable,
    /// `too-many`: the user has as many sessions as one may have.
    TooMany,
    /// `certificate`: the client has shown no certificate of that user's
    /// ([`Tls::cert_user`](crate::Tls::cert_user)).
    Certificate,
    /// `protection`: the user has to log in under TLS, or without
    /// ([`Login::tls`](crate::Login::tls)).
    Protection,
    /// `banned`: too many logins failed from this host.
    Banned,
}

/// How a session ended.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum SessionEnd<'a> {
    /// `closed`: by the client or the server, with a last reply if there was somebody to read it.
    Closed,
    /// `failed`: the connection broke, or nobody read the replies.
    Failed(&'a io::Error),
    /// `panicked`: by a defect. The thread ended where it was.
    Panicked,
}

impl TransferEnd {
    /// Whether all of it was transferred: what was received is published as a whole file, what was
    /// sent was sent to its end. Who acts on such transfers alone asks here, whichever words for
    /// them there are.
    #[must_use]
    pub const fn is_whole(self) -> bool {
        match self {
            Self::Fin | Self::CloseNotify => true,
            Self::Truncated
            | Self::NoTls
            | Self::Reset
            | Self::Stall
            | Self::Abor
            | Self::ControlLost
            | Self::Cut
            | Self::NoData
            | Self::Refused
            | Self::Storage => false,
        }
    }

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fin => "fin",
            Self::CloseNotify => "close-notify",
            Self::Truncated => "truncated",
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
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Resources => "resources",
            Self::Banned => "banned",
            Self::Denied => "denied",
        }
    }

    /// What its client is told: 421 and why.
    pub(crate) fn reply(self) -> Reply {
        let why = match self {
            Self::Full | Self::Resources => "Too many connections",
            Self::Banned => "Too many failed logins",
            Self::Denied => "Not available to your address",
        };
        Reply::new(ReplyCode::SERVICE_CLOSING, why)
    }
}

impl LoginRefusal {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Credentials => "credentials",
            Self::NoHome => "no-home",
            Self::Unavailable => "unavailable",
            Self::TooMany => "too-many",
            Self::Certificate => "certificate",
            Self::Protection => "protection",
            Self::Banned => "banned",
        }
    }
}

impl SessionEnd<'_> {
    /// The word for it.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Failed(_) => "failed",
            Self::Panicked => "panicked",
        }
    }
}
