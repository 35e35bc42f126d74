//! `Connector`: how a caller makes the connections itself.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::transport::Transport;

/// Makes the connections of a client: through a proxy, in another network namespace, to a peer
/// in the same process.
///
/// With one, [`ClientBuilder::connect`](crate::ClientBuilder::connect) resolves no name, and
/// control and passive data connections alike are what this gives, asked for by the host as the
/// caller named it: only the far side of a proxy knows which address that is. The addresses of
/// the connections are unknown then, so active mode is
/// [`Unsupported`](crate::Error::Unsupported).
///
/// The connection is any [`Transport`], such as a `TcpStream` or one end of a `UnixStream::pair`;
/// the client makes it non-blocking. Only TCP can tell a server that an upload was cut, by a reset;
/// another peer has to look at the control connection.
///
/// ```
/// use std::io;
/// use std::net::TcpStream;
/// use std::time::Duration;
///
/// use ftp_client::{Client, Connector, Target, Transport};
///
/// /// Whatever is asked for is behind one address.
/// struct Tunnel(std::net::SocketAddr);
///
/// impl Connector for Tunnel {
///     fn connect(
///         &self,
///         target: &Target<'_>,
///         limit: Duration,
///     ) -> io::Result<Box<dyn Transport>> {
///         let stream = TcpStream::connect_timeout(&self.0, limit)?;
///         // Here the tunnel would be told about target.host and target.port.
///         Ok(Box::new(stream))
///     }
/// }
///
/// let builder = Client::builder().connector(Tunnel(([127, 0, 0, 1], 1_080).into()));
/// ```
pub trait Connector: Send + Sync {
    /// Connects to `target`, which may take `limit`. Each call has a thread of its own, which is
    /// left to itself when the limit is over or the client is cancelled.
    ///
    /// # Errors
    ///
    /// Whatever is in the way; the client reports it as [`Error::Io`](crate::Error::Io).
    fn connect(&self, target: &Target<'_>, limit: Duration) -> io::Result<Box<dyn Transport>>;
}

impl<C: Connector + ?Sized> Connector for Arc<C> {
    fn connect(&self, target: &Target<'_>, limit: Duration) -> io::Result<Box<dyn Transport>> {
        (**self).connect(target, limit)
    }
}

/// What a [`Connector`] is to connect to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Target<'a> {
    /// The server as the caller named it: a name, or an address without brackets.
    pub host: &'a str,
    /// The port: the caller's, or the one that the server listens at for data.
    pub port: u16,
    /// What the connection is for.
    pub purpose: Purpose,
}

impl<'a> Target<'a> {
    pub(crate) const fn new(host: &'a str, port: u16, purpose: Purpose) -> Self {
        Self { host, port, purpose }
    }
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Purpose {
    /// Commands and replies.
    Control,
    /// One transfer.
    Data,
}

/// A connector as settings hold it.
#[derive(Clone)]
pub(crate) struct SharedConnector(pub(crate) Arc<dyn Connector>);

impl fmt::Debug for SharedConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}
