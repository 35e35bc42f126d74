//! `Login`: the server and the user of a session.

use super::Client;
use crate::net::connect::Server;

/// The server and the user of a session, as the caller named them.
///
/// Two sessions with equal values see the same files under the same names. Another name of the same
/// host is another value, because it can lead to another host later.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Login {
    /// The host as passed to [`ClientBuilder::connect`](crate::ClientBuilder::connect): a name, or
    /// an address without brackets. With a [`Proxy`](crate::Proxy), the host that the proxy
    /// connects to.
    pub host: String,
    /// The port of the control connection.
    pub port: u16,
    /// The user name as passed to [`Client::login`].
    pub user: Vec<u8>,
}

impl Login {
    pub(super) fn new(server: &Server, user: &[u8]) -> Self {
        Self { host: server.host.clone(), port: server.port, user: user.to_vec() }
    }

    /// Returns the login of an anonymous user.
    #[cfg(test)]
    pub(crate) fn for_tests(host: &str, port: u16) -> Self {
        Self { host: host.to_owned(), port, user: b"anonymous".to_vec() }
    }
}

impl Client {
    /// Returns the server and the user, or `None` before a successful [`login`](Self::login) and
    /// after a raw `USER` or `REIN`.
    ///
    /// ```no_run
    /// let mut client = ftp_client::Client::builder().connect("ftp.example.org")?;
    /// assert_eq!(client.identity(), None);
    /// client.login("me", "secret")?;
    /// let login = client.identity().expect("the client has logged in");
    /// assert_eq!((login.host.as_str(), login.port), ("ftp.example.org", 21));
    /// # Ok::<(), ftp_client::Error>(())
    /// ```
    #[must_use]
    pub const fn identity(&self) -> Option<&Login> {
        self.identity.as_ref()
    }
}
