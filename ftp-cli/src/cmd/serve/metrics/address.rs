//! `metrics.listen`: the address of the metrics.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Address of the metrics endpoint.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum MetricsAddress {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl MetricsAddress {
    /// Parses `ADDRESS:PORT` or `unix:/PATH`.
    ///
    /// # Errors
    ///
    /// Returns a message with the expected form.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("invalid address \"{text}\": expected ADDRESS:PORT or unix:/PATH");
        match text.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') && !path.contains('\0') => {
                Ok(Self::Unix(path.into()))
            }
            Some(_) => Err(wrong()),
            None => text.parse().map(Self::Tcp).map_err(|_| wrong()),
        }
    }

    /// Returns the TCP address, or `None` for a Unix socket.
    pub(crate) const fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// Returns the path of the Unix socket, or `None` for a TCP address.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(path) => Some(path),
        }
    }
}

impl fmt::Display for MetricsAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
