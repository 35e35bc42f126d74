//! The crate's public error.

use std::io;
use std::net::SocketAddr;

use crate::storage::StorageError;

/// Why a server could not be started. Once it runs, nothing a client does makes it fail.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address is in use, not of this machine, or not allowed.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The address is not one, or no address to listen on was given.
    #[error("no address to listen on")]
    Address(#[source] io::Error),
    /// The directory that was to be the root cannot be opened.
    #[error("cannot open the root directory {root}")]
    Root {
        /// The directory.
        root: String,
        /// What the system said.
        #[source]
        source: StorageError,
    },
    /// The system lacks what sessions were to be confined with
    /// ([`ConfinementPolicy::Require`](crate::ConfinementPolicy::Require)).
    #[error("cannot confine sessions to {root}")]
    Confinement {
        /// The directory.
        root: String,
        /// What is missing.
        #[source]
        source: StorageError,
    },
    /// What was to be done once the addresses were bound
    /// ([`ServerBuilder::once_bound`](crate::ServerBuilder::once_bound)) failed.
    #[error("bound, but not ready to serve")]
    OnceBound(#[source] io::Error),
    /// Users were named, but neither a root directory nor a storage for them.
    #[error("no root directory or storage for the users")]
    NoStorage,
    /// A listener was to protect its connections from the start
    /// ([`ServerBuilder::implicit_tls`](crate::ServerBuilder::implicit_tls)), and there is no
    /// certificate to do it with.
    #[error("implicit TLS without a certificate")]
    NoCertificate,
    /// TLS could not be set up: the system gave no thread for handshakes.
    #[error("cannot set up TLS")]
    Tls(#[source] io::Error),
    /// The system gave no thread to accept connections in.
    #[error("cannot start the accepting thread")]
    Thread(#[source] io::Error),
}

impl Error {
    /// Whether the same call may work later without a change: an address in use, a system out of
    /// threads.
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
