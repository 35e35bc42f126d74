//! Who is connected, as others may see it.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use ftp_proto::Verb;

use crate::lock::unpoisoned;
use crate::storage::VirtualPath;
use crate::tls::TlsVersion;

/// A session, as it was when [`Server::sessions`](crate::Server::sessions) looked.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct SessionInfo {
    /// Its number, from 1: what events and log lines call it, and what
    /// [`Server::kick`](crate::Server::kick) takes.
    pub number: u64,
    /// Where the control connection comes from; an IPv4-mapped address is written as IPv4.
    pub peer: SocketAddr,
    /// The argument of `USER`, byte for byte, of who is logged in.
    pub user: Option<Vec<u8>>,
    /// Since when it is connected.
    pub since: SystemTime,
    /// The version of TLS that protects the control connection; `None` in clear.
    pub tls: Option<TlsVersion>,
    /// What it does.
    pub activity: Activity,
}

/// What a session does.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Activity {
    /// It waits for a command, or carries out one that is short.
    Idle,
    /// It carries out a command that moves bytes, or takes as long.
    #[non_exhaustive]
    Transfer {
        /// The command.
        verb: Verb,
        /// What is transferred, listed or read.
        path: VirtualPath,
        /// How many bytes had moved a moment ago: at most a MiB or a quarter of a second behind.
        bytes: u64,
    },
}

/// What a session shows of itself. It writes this at a login, when TLS begins
/// or ends, and at the ends of a transfer; all it
/// costs meanwhile is a number.
#[derive(Debug)]
pub(crate) struct Shown {
    peer: SocketAddr,
    since: SystemTime,
    user: Mutex<Option<Vec<u8>>>,
    tls: Mutex<Option<TlsVersion>>,
    transfer: Mutex<Option<(Verb, VirtualPath)>>,
    moved: AtomicU64,
}

impl Shown {
    pub(crate) fn new(peer: SocketAddr) -> Self {
        Self {
            peer,
            since: SystemTime::now(),
            user: Mutex::default(),
            tls: Mutex::default(),
            transfer: Mutex::default(),
            moved: AtomicU64::new(0),
        }
    }

    pub(crate) fn set_user(&self, user: Option<&[u8]>) {
        *unpoisoned(self.user.lock()) = user.map(<[u8]>::to_vec);
    }

    /// Says that TLS protects it from now on, or does not any more.
    pub(crate) fn set_tls(&self, version: Option<TlsVersion>) {
        *unpoisoned(self.tls.lock()) = version;
    }

    /// Says what begins, or that it is over.
    pub(crate) fn set_transfer(&self, transfer: Option<(Verb, VirtualPath)>) {
        self.set_moved(0);
        *unpoisoned(self.transfer.lock()) = transfer;
    }

    pub(crate) fn set_moved(&self, bytes: u64) {
        self.moved.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    pub(crate) fn info(&self, number: u64) -> SessionInfo {
        let bytes = self.moved();
        let activity = match unpoisoned(self.transfer.lock()).clone() {
            Some((verb, path)) => Activity::Transfer { verb, path, bytes },
            None => Activity::Idle,
        };
        let peer = self.peer;
        let since = self.since;
        let user = unpoisoned(self.user.lock()).clone();
        SessionInfo { number, peer, user, since, tls: *unpoisoned(self.tls.lock()), activity }
    }
}
