//! The published state of sessions.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use ftp_proto::{Escaped, HostName, Verb};

use crate::lock::Lock;
use crate::storage::VirtualPath;
use crate::tls::TlsVersion;

/// A session at the time of [`Server::sessions`](crate::Server::sessions).
#[derive(Clone, Eq, PartialEq)]
#[non_exhaustive]
pub struct SessionInfo {
    /// Number of the session, counted from 1: the number in events and log lines, and the argument
    /// of [`Server::kick`](crate::Server::kick).
    pub number: u64,
    /// The client's address on the control connection; an IPv4-mapped address appears as IPv4.
    pub peer: SocketAddr,
    /// Name of the logged-in user, byte for byte as `USER` had it; `None` if no user is logged in.
    pub user: Option<Vec<u8>>,
    /// Virtual host of the login; `None` if there is no login or no host, or if
    /// [`ServerConfig::hosts`](crate::ServerConfig::hosts) is empty.
    pub host: Option<HostName>,
    /// Time at which the client connected.
    pub since: SystemTime,
    /// TLS version of the control connection; `None` in plaintext.
    pub tls: Option<TlsVersion>,
    /// Time since the last command ended, or since the client connected if it has sent no command;
    /// zero during a transfer.
    pub idle: Duration,
    /// Current activity.
    pub activity: Activity,
}

ftp_proto::debug_fields!(SessionInfo {
    number,
    peer,
    user: user.as_deref().map(Escaped),
    host,
    since,
    tls,
    idle,
    activity,
});

/// Activity of a session.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Activity {
    /// Waiting for a command, or carrying out a short one.
    Idle,
    /// Carrying out a transfer, or another long command.
    #[non_exhaustive]
    Transfer {
        /// The command.
        verb: Verb,
        /// Path of the file or directory.
        path: VirtualPath,
        /// Bytes moved so far, updated every 4 MiB or every 250 ms, whichever comes first.
        bytes: u64,
        /// Time since the command arrived.
        elapsed: Duration,
    },
}

/// The published state of a session. The session writes this state at a login or logout, when TLS
/// begins or ends, and when a transfer begins or ends. During a transfer, it updates only the
/// number of bytes, and after a command only the time of the last command.
#[derive(Debug)]
pub(crate) struct Shown {
    /// The peer address of the connection; after a balancer's header was read, the client's
    /// address.
    peer: Lock<SocketAddr>,
    since: SystemTime,
    /// The same time as `since`, by the monotonic clock.
    begun: Instant,
    /// Milliseconds from `begun` to the end of the last command.
    last_command: AtomicU64,
    user: Lock<Option<Vec<u8>>>,
    /// The virtual host, boxed because most sessions have none.
    host: Lock<Option<Box<HostName>>>,
    tls: Lock<Option<TlsVersion>>,
    transfer: Lock<Option<(Verb, VirtualPath, Instant)>>,
    moved: AtomicU64,
}

impl Shown {
    pub(crate) fn new(peer: SocketAddr) -> Self {
        Self {
            peer: Lock::new(peer),
            since: SystemTime::now(),
            begun: Instant::now(),
            last_command: AtomicU64::new(0),
            user: Lock::default(),
            host: Lock::default(),
            tls: Lock::default(),
            transfer: Lock::default(),
            moved: AtomicU64::new(0),
        }
    }

    /// Sets the client's address of a connection that a balancer forwards.
    pub(crate) fn set_peer(&self, peer: SocketAddr) {
        *self.peer.lock() = peer;
    }

    /// Returns the client's address.
    pub(crate) fn peer(&self) -> SocketAddr {
        *self.peer.lock()
    }

    /// Sets the logged-in user and the host of the login.
    pub(crate) fn set_login(&self, user: Option<&[u8]>, host: Option<&HostName>) {
        *self.host.lock() = host.cloned().map(Box::new);
        *self.user.lock() = user.map(<[u8]>::to_vec);
    }

    /// Sets the TLS version; `None` in plaintext.
    pub(crate) fn set_tls(&self, version: Option<TlsVersion>) {
        *self.tls.lock() = version;
    }

    /// Records the end of a command.
    pub(crate) fn note_command(&self) {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_command.store(now, Ordering::Relaxed);
    }

    /// Records that a transfer begins.
    pub(crate) fn set_transfer(&self, verb: Verb, path: VirtualPath) {
        self.set_moved(0);
        *self.transfer.lock() = Some((verb, path, Instant::now()));
    }

    /// Records that the transfer has ended.
    pub(crate) fn end_transfer(&self) {
        self.set_moved(0);
        *self.transfer.lock() = None;
    }

    pub(crate) fn set_moved(&self, bytes: u64) {
        self.moved.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    pub(crate) fn info(&self, number: u64) -> SessionInfo {
        let bytes = self.moved();
        let activity = match self.transfer.lock().clone() {
            Some((verb, path, begun)) => {
                Activity::Transfer { verb, path, bytes, elapsed: begun.elapsed() }
            }
            None => Activity::Idle,
        };
        let last_command = Duration::from_millis(self.last_command.load(Ordering::Relaxed));
        let idle = match activity {
            Activity::Idle => self.begun.elapsed().saturating_sub(last_command),
            Activity::Transfer { .. } => Duration::ZERO,
        };
        let peer = self.peer();
        let since = self.since;
        let user = self.user.lock().clone();
        let host = self.host.lock().as_deref().cloned();
        let tls = *self.tls.lock();
        SessionInfo { number, peer, user, host, since, tls, idle, activity }
    }
}
