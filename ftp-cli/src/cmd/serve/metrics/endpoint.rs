//! The place where metrics are fetched: `GET /metrics` by HTTP, over TCP or a Unix socket.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::Metrics;
use crate::cmd::serve::local_socket::{LocalSocket, Timed, start_serving};
use crate::display::shown_path;
use crate::exit::{Exit, Failure};

/// The time in which a client has to send its request and to take the answer.
const LIMIT: Duration = Duration::from_secs(5);

/// The longest request head in bytes, and the most header fields in it.
const LONGEST: usize = 8 * 1024;
const FIELDS: usize = 64;

/// Where to listen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum MetricsAddress {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl MetricsAddress {
    /// Parses `ADDRESS:PORT` or `unix:PATH`.
    ///
    /// # Errors
    ///
    /// Returns a message with what was expected.
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
}

impl fmt::Display for MetricsAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The listening socket.
#[derive(Debug)]
pub(crate) enum Endpoint {
    Tcp(TcpListener),
    Unix(LocalSocket),
}

impl Endpoint {
    /// Binds the address of the settings, if they have one.
    ///
    /// # Errors
    ///
    /// Returns `Network` or `Local` if it cannot be bound.
    pub(crate) fn bind(address: Option<&MetricsAddress>) -> Result<Option<Self>, Failure> {
        match address {
            None => Ok(None),
            Some(MetricsAddress::Tcp(address)) => match TcpListener::bind(address) {
                Ok(listener) => Ok(Some(Self::Tcp(listener))),
                Err(error) => {
                    let message = format!("metrics.listen: {address}: {error}");
                    Err(Failure::new(Exit::Network, message))
                }
            },
            Some(MetricsAddress::Unix(path)) => match LocalSocket::bind(path, 0o666) {
                Ok(listener) => Ok(Some(Self::Unix(listener))),
                Err(error) => {
                    let message = format!("metrics.listen: {}: {error}", shown_path(path));
                    Err(Failure::new(Exit::Local, message))
                }
            },
        }
    }

    /// Starts the thread that answers, one client after the other.
    ///
    /// # Errors
    ///
    /// Returns `Internal` if the thread cannot be started.
    pub(crate) fn start(self, metrics: Arc<Metrics>) -> Result<(), Failure> {
        start_serving("metrics", move || self.serve_one(&metrics))
    }

    fn serve_one(&self, metrics: &Metrics) -> io::Result<()> {
        match self {
            Self::Tcp(listener) => {
                let stream: TcpStream = listener.accept()?.0;
                answer(Timed::new(&stream, LIMIT), metrics)
            }
            Self::Unix(socket) => {
                let stream = socket.listener.accept()?.0;
                answer(Timed::new(&stream, LIMIT), metrics)
            }
        }
    }
}

/// Answers one request.
fn answer(mut stream: impl Read + Write, metrics: &Metrics) -> io::Result<()> {
    let (status, body) = match path(&mut stream)?.as_deref() {
        Some("/metrics") => ("200 OK", metrics.text()),
        Some(_) => ("404 Not Found", "metrics are at /metrics\n".to_owned()),
        None => ("405 Method Not Allowed", "only GET\n".to_owned()),
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all((head + &body).as_bytes())
}

/// Reads a request head, and returns the path of a GET.
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
            return Err(io::Error::new(ErrorKind::InvalidData, "no whole request head"));
        }
    }
}
