//! The endpoint of the metrics: `GET /metrics` over HTTP, on TCP or a Unix socket.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use socket2::Socket;

use super::Metrics;
use crate::daemon::config::Settings;
use crate::daemon::local_socket::{LocalSocket, SocketClient, start_serving};
use crate::daemon::values::{is_absolute, shown_path};
use crate::daemon::{DaemonError, DaemonErrorKind};
use crate::net::socket;

/// Maximum length of a request head, in bytes.
const LONGEST: usize = 8 * 1024;

/// Maximum number of header fields in a request.
const FIELDS: usize = 64;

/// The listening socket.
#[derive(Debug)]
pub(crate) enum MetricsEndpoint {
    Tcp(TcpListener),
    Unix(LocalSocket),
}

impl MetricsEndpoint {
    /// Binds the address in the settings, if they name one.
    ///
    /// # Errors
    ///
    /// Returns `Network` if the TCP address cannot be bound, or `Local` if the Unix socket cannot.
    pub(crate) fn bind(settings: &Settings) -> Result<Option<Self>, DaemonError> {
        match &settings.metrics {
            None => Ok(None),
            Some(MetricsAddress::Tcp(address)) => match socket::bind(*address, settings.freebind) {
                Ok(listener) => Ok(Some(Self::Tcp(listener))),
                Err(error) => {
                    let message = format!("metrics.listen: {address}: {error}");
                    Err(DaemonError::new(DaemonErrorKind::Network, message))
                }
            },
            Some(MetricsAddress::Unix(path)) => match LocalSocket::bind(path, 0o666) {
                Ok(listener) => Ok(Some(Self::Unix(listener))),
                Err(error) => {
                    let message = format!("metrics.listen: {}: {error}", shown_path(path));
                    Err(DaemonError::new(DaemonErrorKind::Local, message))
                }
            },
        }
    }

    /// Starts the threads that answer clients.
    ///
    /// # Errors
    ///
    /// Returns `Internal` if a thread cannot be started.
    pub(crate) fn start(&self, metrics: Arc<Metrics>) -> Result<(), DaemonError> {
        let failed = |error: io::Error| DaemonError::no_thread("metrics", &error);
        let listener: Socket = match self {
            Self::Tcp(listener) => listener.try_clone().map_err(failed)?.into(),
            Self::Unix(socket) => socket.listener.try_clone().map_err(failed)?.into(),
        };
        start_serving("metrics", listener, move |client| answer(client, &metrics))
    }
}

/// Answers one request.
fn answer(client: &SocketClient<'_>, metrics: &Metrics) -> io::Result<()> {
    let (status, body) = match path(&mut client.timed())?.as_deref() {
        Some("/metrics") => ("200 OK", metrics.text()),
        Some(_) => ("404 Not Found", "metrics are at /metrics\n".to_owned()),
        None => ("405 Method Not Allowed", "only GET is allowed\n".to_owned()),
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    client.timed().write_all((head + &body).as_bytes())
}

/// Reads a request head. Returns the path of a GET, or `None` for another method.
fn path(stream: &mut impl Read) -> io::Result<Option<String>> {
    let mut head = Vec::new();
    let mut buffer = [0; 1_024];
    loop {
        let count = stream.read(&mut buffer)?;
        head.extend_from_slice(buffer.get(..count).unwrap_or_default());
        let mut fields = [httparse::EMPTY_HEADER; FIELDS];
        let mut request = httparse::Request::new(&mut fields);
        let parsed = request.parse(&head).map_err(io::Error::other)?;
        if parsed.is_complete() {
            let is_get = request.method == Some("GET");
            return Ok(request.path.filter(|_| is_get).map(str::to_owned));
        }
        if count == 0 || head.len() > LONGEST {
            return Err(io::Error::new(ErrorKind::InvalidData, "incomplete request"));
        }
    }
}

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
            Some(path) if is_absolute(path) => Ok(Self::Unix(path.into())),
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
