//! `Connector`: connections that the caller opens.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::transport::Transport;

/// A way to open the connections of a client: through a proxy, in another network namespace, or to
/// a peer in the same process.
///
/// With a connector, the client resolves no names. For the control connection and each passive data
/// connection, the client passes the host name that the caller gave, since the address is unknown.
/// Active mode fails with [`Unsupported`](crate::Error::Unsupported), because the addresses of the
/// connections are unknown.
///
/// The connection is any [`Transport`], such as a `TcpStream` or one end of a `UnixStream::pair`;
/// the client makes it non-blocking. Only TCP can signal an interrupted upload by a reset; over
/// other transports, the server must notice the interruption on the control connection.
///
/// ```
/// use std::io;
/// use std::net::TcpStream;
/// use std::time::Duration;
///
/// use ftp_client::{Client, Connector, Target, Transport};
///
/// /// Reaches every host through one address.
/// struct Tunnel(std::net::SocketAddr);
///
/// impl Connector for Tunnel {
///     fn connect(
///         &self,
///         target: &Target<'_>,
///         limit: Duration,
///     ) -> io::Result<Box<dyn Transport>> {
///         let stream = TcpStream::connect_timeout(&self.0, limit)?;
///         // A real tunnel would now get target.host and target.port.
///         Ok(Box::new(stream))
///     }
/// }
///
/// let builder = Client::builder().connector(Tunnel(([127, 0, 0, 1], 1_080).into()));
/// ```
pub trait Connector: Send + Sync {
    /// Connects to `target` within `limit`.
    ///
    /// Each call runs in its own thread. If `limit` expires or the client is cancelled, the client
    /// stops waiting for that thread.
    ///
    /// # Errors
    ///
    /// Returns any error; the client reports it as [`Error::Io`](crate::Error::Io).
    fn connect(&self, target: &Target<'_>, limit: Duration) -> io::Result<Box<dyn Transport>>;
}

impl<C: Connector + ?Sized> Connector for Arc<C> {
    fn connect(&self, target: &Target<'_>, limit: Duration) -> io::Result<Box<dyn Transport>> {
        (**self).connect(target, limit)
    }
}

/// The destination of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Target<'a> {
    /// The server as the caller named it: a name, or an address without brackets.
    pub host: &'a str,
    /// The port that the caller named for the control connection, or that the server announced for
    /// a data connection.
    pub port: u16,
    /// The purpose of the connection.
    pub purpose: Purpose,
}

impl<'a> Target<'a> {
    pub(crate) const fn new(host: &'a str, port: u16, purpose: Purpose) -> Self {
        Self { host, port, purpose }
    }
}

/// The purpose of a connection.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Purpose {
    /// Commands and replies.
    Control,
    /// The data of a transfer, or of several with
    /// [`reuse_data`](crate::ClientBuilder::reuse_data).
    Data,
}

/// A connector, as stored in settings.
#[derive(Clone)]
pub(crate) struct SharedConnector(pub(crate) Arc<dyn Connector>);

impl fmt::Debug for SharedConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}
