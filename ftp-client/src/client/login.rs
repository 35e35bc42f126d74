//! Connecting, logging in, and how far away the server is.

use std::time::{Duration, Instant};

use ftp_proto::{Command, Features, FtpUrl, Password};

use super::Client;
use super::directories::Position;
use crate::config::{ClientBuilder, for_scheme};
use crate::control::login::{self, Login};
use crate::error::Error;
use crate::net::Server;
use crate::security::TlsStart;

/// The time to connect from which a round trip is worth saving.
const FAR: Duration = Duration::from_millis(20);

/// What a connection has shown of the way to its server, and of the server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// The shortest time from a command to its reply.
    pub(crate) reply: Duration,
    /// The time to connect and to log in.
    pub(crate) login: Duration,
}

impl ClientBuilder {
    /// Connects to a server and waits for its greeting.
    ///
    /// `server` is `host` or `host:port`. The host is a name or an address; an IPv6 address before
    /// a port must be in brackets. The default port is 21, and 990 with
    /// [`Tls::implicit`](crate::Tls::implicit).
    ///
    /// A name may have several addresses of both families. The client tries them in turn: each
    /// attempt starts as soon as the previous one fails, or at most 250 ms after that one started.
    /// It uses the first address that answers (RFC 8305).
    ///
    /// # Errors
    ///
    /// - [`Error::Argument`] if `server` is not a valid host.
    /// - [`Error::Unsupported`] for settings that exclude each other; nothing is sent.
    /// - [`Error::Io`] if the name has no address or none can be reached, with the reason for each
    ///   address.
    /// - [`Error::Proxy`] if the proxy cannot be reached, or does not connect to the server.
    /// - [`Error::Timeout`] if a phase takes too long.
    /// - [`Error::Tls`] if TLS fails, if the server refuses it although it is demanded, or if the
    ///   TLS settings cannot be met.
    /// - [`Error::ServiceClosing`] or [`Error::Greeting`] if the greeting is not 220.
    /// - [`Error::Refused`] if the server refuses the name in [`HOST`](Self::host_command).
    /// - [`Error::Protocol`] if the peer is not an FTP server.
    /// - [`Error::Cancelled`] if the [`canceller`](Self::canceller) stops the client.
    /// - The other errors of the control connection that [`Client`] lists.
    pub fn connect(self, server: &str) -> Result<Client, Error> {
        self.connect_at(server, None)
    }

    /// Connects to a server. `port`, if given, replaces the port in `server`.
    fn connect_at(mut self, server: &str, port: Option<u16>) -> Result<Client, Error> {
        self.config.check()?;
        let is_implicit =
            self.config.tls.as_ref().is_some_and(|tls| tls.start == TlsStart::Implicit);
        let mut server = Server::parse(server, is_implicit)?;
        server.port = port.unwrap_or(server.port);
        Client::connect(&self.config, &server)
    }

    /// Connects to the server of a URL without logging in.
    ///
    /// The schemes `ftpes` and `ftps` demand TLS, `ftps` from the first byte. All other TLS
    /// settings come from [`tls`](Self::tls).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`connect`](Self::connect).
    pub fn connect_to(mut self, url: &FtpUrl) -> Result<Client, Error> {
        self.config.tls = for_scheme(url.scheme(), self.config.tls.take());
        match url.host() {
            host if host.contains(':') => self.connect_at(&format!("[{host}]"), url.named_port()),
            host => self.connect_at(host, url.named_port()),
        }
    }
}

impl Client {
    /// Returns a builder for a new client.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// Logs in with `USER` and, if the server asks for them, `PASS` and `ACCT`.
    ///
    /// # Errors
    ///
    /// - [`Error::Refused`] with the server's reply, such as 530 for a wrong name or password, or
    ///   332 if the server wants an account and the builder has none.
    /// - [`Error::Argument`] for an empty name or account, an argument that is too long, or CR, LF
    ///   or NUL in any argument.
    /// - [`Error::Tls`] if the server refuses to protect data connections as requested.
    /// - [`Error::Proxy`] if an FTP proxy refuses the user and password for the proxy itself.
    pub fn login(
        &mut self,
        user: impl AsRef<[u8]>,
        password: impl AsRef<[u8]>,
    ) -> Result<(), Error> {
        let began = Instant::now();
        let (own, password) = (user.as_ref(), password.as_ref());
        self.settle()?;
        self.close_kept();
        if self.secured.as_ref().is_some_and(|secured| secured.before_login) {
            self.protect()?;
        }
        let user = match &self.config.route {
            Some(route) if route.proxy.is_ftp() => {
                &login::by_proxy(&mut self.control, &route.proxy, own)?
            }
            _ => own,
        };
        let account = self.config.account.as_ref();
        self.identity = None;
        self.control.forget_answers();
        let logged_in = login::login(&mut self.control, user, password, account);
        // Some servers list more features after the login.
        self.features = None;
        logged_in?;
        self.control.logged_in();
        self.identity = Some(Login::new(self.control.server(), own));
        self.protect()?;
        self.position = Position::default();
        self.login_time = began.elapsed();
        self.config.counts.note_login(self.login_time);
        Ok(())
    }

    /// Returns the user as passed to [`login`](Self::login), or `None` before a successful login and
    /// after a raw `USER` or `REIN`.
    #[must_use]
    pub fn user(&self) -> Option<&[u8]> {
        self.identity.as_ref().map(|login| &*login.user)
    }

    /// Returns the server and the user while [`user`](Self::user) returns one.
    pub(crate) const fn identity(&self) -> Option<&Login> {
        self.identity.as_ref()
    }

    /// Sends an account (`ACCT`), which some servers demand with 532 after the login.
    ///
    /// For a server that asks for the account at login, use
    /// [`ClientBuilder::account`](crate::ClientBuilder::account).
    ///
    /// # Errors
    ///
    /// Returns [`Error::Refused`] if the server refuses the account, and [`Error::Argument`] if the
    /// account is empty, is too long, or contains CR, LF or NUL.
    pub fn account(&mut self, account: impl AsRef<[u8]>) -> Result<(), Error> {
        self.order(&Command::Acct(Password(account.as_ref().to_vec()))).map(drop)
    }

    pub(crate) fn know_features(&mut self, features: &Features) {
        self.features.get_or_insert_with(|| features.clone());
    }

    /// Returns whether the server is so far away that a round trip is worth saving.
    pub(crate) fn is_far(&self) -> bool {
        self.round_trip() >= FAR && !self.is_near()
    }

    /// Returns the time of a round trip to the server, measured when the client connected.
    pub(crate) const fn round_trip(&self) -> Duration {
        self.connecting
    }

    /// Returns what the connection has shown of the server; `None` before the login.
    pub(crate) fn pace(&self) -> Option<Pace> {
        let reply = self.control.quickest.filter(|_| self.identity.is_some())?;
        Some(Pace { reply, login: self.connecting + self.login_time })
    }
}
