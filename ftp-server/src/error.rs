//! Errors when a server is started or reconfigured.

use std::io;
use std::net::SocketAddr;

use rustix::io::Errno;

use crate::storage::StorageError;

/// Reason why a server could not be started or reconfigured. Clients cannot cause this error on a
/// running server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server cannot listen on the address, for example because the address is in use.
    #[error("cannot listen on {address}")]
    Bind {
        /// The requested address.
        address: SocketAddr,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// No address was given, an address cannot be resolved, or a given socket cannot be used.
    #[error("cannot listen on the given addresses")]
    Address(#[source] io::Error),
    /// The directory of [`ServerBuilder::root`](crate::ServerBuilder::root) cannot be opened.
    #[error("cannot open the root directory {root}")]
    Root {
        /// The directory.
        root: String,
        /// The storage's error.
        #[source]
        source: StorageError,
    },
    /// The system lacks a mechanism that
    /// [`ConfinementPolicy::Require`](crate::ConfinementPolicy::Require) needs to confine sessions.
    #[error("cannot confine sessions to {root}")]
    Confinement {
        /// The directory.
        root: String,
        /// The missing mechanism.
        #[source]
        source: StorageError,
    },
    /// The action of [`ServerBuilder::once_bound`](crate::ServerBuilder::once_bound) failed.
    #[error("cannot prepare the server")]
    OnceBound(#[source] io::Error),
    /// The builder has neither a root directory, nor a storage, nor an authenticator.
    #[error("cannot start: no files to serve; set a root directory, a storage or an authenticator")]
    NoStorage,
    /// The builder has a listener for [implicit TLS](crate::ServerBuilder::implicit_tls), but no
    /// [certificate](crate::ServerBuilder::tls).
    #[error("cannot listen with implicit TLS: no certificate")]
    NoCertificate,
    /// A thread for TLS handshakes could not be started, or rustls rejects the TLS settings.
    #[error("cannot prepare TLS handshakes")]
    Tls(#[source] io::Error),
    /// A server thread other than those for TLS handshakes could not be started.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

impl Error {
    /// Returns whether repeating the same call later may succeed. Returns `true` if an
    /// address is in use, if the system lacks descriptors or memory for a listener, or if a thread
    /// could not be started.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Bind { source, .. } => {
                source.kind() == io::ErrorKind::AddrInUse || is_shortage(source)
            }
            Self::Address(source) => is_shortage(source),
            Self::Thread(_) => true,
            // The other errors are those of rustls.
            Self::Tls(source) => source.raw_os_error().is_some(),
            Self::Root { .. }
            | Self::Confinement { .. }
            | Self::OnceBound(_)
            | Self::NoCertificate
            | Self::NoStorage => false,
        }
    }
}

/// Returns whether the system lacked descriptors or memory.
fn is_shortage(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_transient_if_another_process_can_end_it() {
        let bind = |errno: Errno| Error::Bind {
            address: SocketAddr::from(([127, 0, 0, 1], 21)),
            source: errno.into(),
        };
        for (error, want) in [
            (bind(Errno::ADDRINUSE), true),
            (bind(Errno::MFILE), true),
            (bind(Errno::ACCESS), false),
            (Error::Thread(Errno::AGAIN.into()), true),
            (Error::Tls(Errno::AGAIN.into()), true),
            // rustls rejects the settings.
            (Error::Tls(io::Error::other("no cipher suite")), false),
            (Error::Address(io::ErrorKind::InvalidInput.into()), false),
            (Error::Address(Errno::MFILE.into()), true),
            (Error::OnceBound(io::ErrorKind::PermissionDenied.into()), false),
            (Error::NoCertificate, false),
            (Error::NoStorage, false),
        ] {
            assert_eq!(error.is_transient(), want, "{error}");
        }
    }
}
