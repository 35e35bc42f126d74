//! Errors of starting and reconfiguring a server.

use std::io;
use std::net::SocketAddr;

use crate::storage::StorageError;

/// Reason why a server could not be started or reconfigured. Nothing that clients do makes a
/// running server fail.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address is in use, belongs to another machine, or is not allowed.
    #[error("cannot listen on {address}")]
    Bind {
        /// The requested address.
        address: SocketAddr,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The address is invalid, or no address was given.
    #[error("no address to listen on")]
    Address(#[source] io::Error),
    /// The root directory cannot be opened.
    #[error("cannot open the root directory {root}")]
    Root {
        /// The directory.
        root: String,
        /// The storage's error.
        #[source]
        source: StorageError,
    },
    /// The system lacks a mechanism to confine sessions
    /// ([`ConfinementPolicy::Require`](crate::ConfinementPolicy::Require)).
    #[error("cannot confine sessions to {root}")]
    Confinement {
        /// The directory.
        root: String,
        /// The missing mechanism.
        #[source]
        source: StorageError,
    },
    /// The action after binding the addresses
    /// ([`ServerBuilder::once_bound`](crate::ServerBuilder::once_bound)) failed.
    #[error("cannot prepare to serve")]
    OnceBound(#[source] io::Error),
    /// The builder has neither a root directory, nor a storage, nor an authenticator.
    #[error("no root directory or storage for the users")]
    NoStorage,
    /// A listener for implicit TLS
    /// ([`ServerBuilder::implicit_tls`](crate::ServerBuilder::implicit_tls)) has no certificate.
    #[error("implicit TLS without a certificate")]
    NoCertificate,
    /// TLS could not be set up: a thread for handshakes could not be started.
    #[error("cannot set up TLS")]
    Tls(#[source] io::Error),
    /// A thread could not be started.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

impl Error {
    /// Returns whether the same call may succeed later without a change, because an address is in
    /// use now or the system is out of threads.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Bind { source, .. } => source.kind() == io::ErrorKind::AddrInUse,
            Self::Thread(_) | Self::Tls(_) => true,
            Self::Address(_)
            | Self::Root { .. }
            | Self::Confinement { .. }
            | Self::OnceBound(_)
            | Self::NoCertificate
            | Self::NoStorage => false,
        }
    }
}
