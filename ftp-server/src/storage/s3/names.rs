//! The addresses of a store. The host name is resolved in advance, because a session that is
//! confined to its root cannot read the files that name resolution needs.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use super::error::S3Error;
use crate::lock::Lock;

/// Maximum number of addresses that are tried.
const MOST: usize = 8;

/// The addresses of one host.
#[derive(Clone, Debug)]
pub(super) struct Addresses {
    host: String,
    port: u16,
    known: Arc<Lock<Vec<SocketAddr>>>,
}

impl Addresses {
    /// Resolves a host name.
    pub(super) fn of(host: &str, port: u16) -> Result<Self, S3Error> {
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let addresses = Self { host, port, known: Arc::default() };
        addresses.look_up()?;
        Ok(addresses)
    }

    /// Resolves the host name again. On failure the known addresses stay.
    pub(super) fn look_up(&self) -> Result<(), S3Error> {
        let failed = |source| S3Error::Unresolved { host: self.host.clone(), source };
        let found = (&*self.host, self.port).to_socket_addrs().map_err(failed)?;
        let found: Vec<_> = found.take(MOST).collect();
        if found.is_empty() {
            return Err(failed(std::io::ErrorKind::NotFound.into()));
        }
        *self.known.lock() = found;
        Ok(())
    }
}

impl Resolver for Addresses {
    fn resolve(
        &self,
        _uri: &Uri,
        _config: &Config,
        _timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut addresses = self.empty();
        for address in self.known.lock().iter() {
            addresses.push(*address);
        }
        Ok(addresses)
    }
}
