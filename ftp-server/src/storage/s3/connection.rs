//! The addresses of a server, and connections to it.

use std::net::ToSocketAddrs;
use std::sync::Arc;
use std::time::Duration;

use ureq::Agent;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

use super::error::S3Error;
use crate::limits;
use crate::net::lookup::Lookup;

/// Timeouts for the phases of a request to an object store.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct S3Timeouts {
    /// Maximum time to connect, including the TLS handshake (default: 10 s).
    pub connect: Duration,
    /// Maximum time without a byte sent or received (default: 30 s). The body of a request must be
    /// sent within this time plus 1 s for each 64 KiB.
    pub idle: Duration,
    /// Maximum wait for the response to a request (default: 30 s).
    pub answer: Duration,
    /// Maximum wait for the response to a copy or to the completion of a multipart upload; stores
    /// may need minutes for these (default: 600 s).
    pub commit: Duration,
    /// Time after which a failed request is no longer retried (default: 60 s). A request is retried
    /// three times at most.
    pub retries: Duration,
    /// Maximum wait of an upload for memory while no other upload gets any (default: 120 s). If the
    /// upload that others wait for gets less than 512 KiB in half of this time, it fails.
    pub memory: Duration,
    /// Time for which a change without a response blocks its path, if the store does not check the
    /// condition of the change (default: 60 s). It begins when the connection is closed.
    pub late: Duration,
}

ftp_proto::settings! {
    S3Timeouts {
        connect: Duration = Duration::from_secs(10),
        idle: Duration = Duration::from_secs(30),
        answer: Duration = Duration::from_secs(30),
        commit: Duration = Duration::from_secs(600),
        retries: Duration = Duration::from_secs(60),
        memory: Duration = limits::PART_WAIT,
        late: Duration = Duration::from_secs(60),
    }
}

/// The connections to one server, whose name is resolved in advance.
pub(super) struct Connections {
    pub(super) agent: Agent,
    /// `http` or `https`.
    pub(super) scheme: &'static str,
    /// The host, and the port if it is not the default one.
    pub(super) authority: String,
    pub(super) addresses: Addresses,
}

impl Connections {
    /// Prepares connections to `place`. `ca` contains the trusted CAs in PEM; with `None`, the
    /// system's CAs are trusted.
    pub(super) fn to(
        place: &StorePlace,
        timeouts: S3Timeouts,
        ca: Option<&[u8]>,
    ) -> Result<Self, S3Error> {
        let StorePlace { scheme, host, port } = place;
        let addresses = Addresses::of(host, *port)?;
        let authority = match *port == place.usual_port() {
            true => host.clone(),
            false => format!("{host}:{port}"),
        };
        let agent = agent(timeouts, tls(scheme, ca)?, addresses.clone());
        Ok(Self { agent, scheme, authority, addresses })
    }
}

pub(super) struct StorePlace {
    scheme: &'static str,
    host: String,
    port: u16,
}

impl StorePlace {
    /// Parses a URL without a path.
    pub(super) fn of(endpoint: &str) -> Result<Self, S3Error> {
        // The message omits the URL, which could contain a password.
        let wrong =
            || S3Error::Configuration("invalid endpoint: expected https://HOST[:PORT]".to_owned());
        let (scheme, rest) = endpoint.split_once("://").ok_or_else(wrong)?;
        let scheme = match scheme {
            "http" => "http",
            "https" => "https",
            _ => return Err(wrong()),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, Some(port.parse().map_err(|_| wrong())?))
            }
            _ => (authority, None),
        };
        let is_ipv6 = host.starts_with('[') && host.ends_with(']');
        let is_good = |byte: u8| {
            byte.is_ascii_alphanumeric()
                || b"-._".contains(&byte)
                || is_ipv6 && b":[]".contains(&byte)
        };
        if host.is_empty() || !host.bytes().all(is_good) {
            return Err(wrong());
        }
        let place = Self { scheme, host: host.to_owned(), port: 0 };
        let port = port.unwrap_or(place.usual_port());
        Ok(Self { port, ..place })
    }

    /// Returns the host, and the port in any case.
    pub(super) fn name(&self) -> String {
        format!("{}:{}", self.host.to_ascii_lowercase(), self.port)
    }

    /// Returns this address with `label` and a dot before the host name.
    pub(super) fn with_label(self, label: &str) -> Self {
        Self { host: format!("{label}.{}", self.host), ..self }
    }

    fn usual_port(&self) -> u16 {
        if self.scheme == "https" { 443 } else { 80 }
    }
}

fn tls(scheme: &str, ca: Option<&[u8]>) -> Result<TlsConfig, S3Error> {
    let builder = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(crate::tls::ring());
    if scheme == "http" {
        return Ok(builder.build());
    }
    let roots = crate::tls::trusted(ca).map_err(S3Error::Configuration)?;
    let roots: Vec<_> = roots.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
    Ok(builder.root_certs(RootCerts::new_with_certs(&roots)).build())
}

fn agent(timeouts: S3Timeouts, tls: TlsConfig, addresses: Addresses) -> Agent {
    const CONNECTIONS: usize = 64;
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .user_agent("ftp-server")
        .accept("")
        .accept_encoding("")
        .max_idle_connections(CONNECTIONS)
        .max_idle_connections_per_host(CONNECTIONS)
        .tls_config(tls)
        .timeout_connect(Some(timeouts.connect))
        .timeout_send_request(Some(timeouts.answer))
        .timeout_recv_response(Some(timeouts.answer))
        .timeout_per_read(Some(timeouts.idle))
        .timeout_per_write(Some(timeouts.idle))
        .build();
    Agent::with_parts(config, DefaultConnector::new(), addresses)
}

// The addresses of a store. The host name is resolved in advance, because a session that is
// confined to its root cannot read the files that name resolution needs.

/// Maximum number of addresses that are tried.
const MOST: usize = 8;

#[derive(Clone, Debug)]
pub(super) struct Addresses(Arc<Lookup>);

impl Addresses {
    pub(super) fn of(host: &str, port: u16) -> Result<Self, S3Error> {
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = host.clone();
        let find = move || {
            #[cfg(test)]
            if let Some((_, address)) = HOSTS.lock().iter().find(|(host, _)| *host == name) {
                return Ok(vec![*address]);
            }
            Ok((&*name, port).to_socket_addrs()?.take(MOST).collect())
        };
        let lookup = Lookup::start(find);
        Ok(Self(Arc::new(lookup.map_err(|reason| S3Error::Unresolved { host, reason })?)))
    }

    /// Resolves the host name again, in another thread. On failure the known addresses stay.
    pub(super) fn look_up(&self) {
        drop(self.0.ask());
    }
}

/// Host names that only tests have.
#[cfg(test)]
pub(super) static HOSTS: crate::lock::Lock<Vec<(String, std::net::SocketAddr)>> =
    crate::lock::Lock::new(Vec::new());

impl Resolver for Addresses {
    fn resolve(
        &self,
        _uri: &Uri,
        _config: &Config,
        _timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut addresses = self.empty();
        for address in self.0.known() {
            addresses.push(address);
        }
        Ok(addresses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s3_endpoints_are_parsed() {
        for (endpoint, want) in [
            ("http://127.0.0.1:8333", ("http", "127.0.0.1", 8333)),
            ("https://s3.example.com/", ("https", "s3.example.com", 443)),
            ("http://[::1]:80", ("http", "[::1]", 80)),
            ("https://[::1]", ("https", "[::1]", 443)),
        ] {
            let place = StorePlace::of(endpoint).unwrap();
            assert_eq!((place.scheme, &*place.host, place.port), want);
        }
        for wrong in ["", "s3.example.com", "ftp://h", "http://u:p@h", "http://h/x", "http://h:x"] {
            let error = StorePlace::of(wrong).err().unwrap().to_string();
            assert!(!error.contains("u:p"), "{error}");
        }
    }
}
