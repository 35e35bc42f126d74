//! What a client is told before it connects: limits of time, and how data connections are made.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ftp_proto::Password;

use crate::canceller::Canceller;
use crate::client::Client;
use crate::connect::Server;
use crate::connector::{Connector, SharedConnector};
use crate::error::Error;

/// How long each phase may take. Each is a limit for the whole phase: a server that sends one
/// byte at a time does not extend it, except [`stall`](Self::stall), which is about each byte.
///
/// ```
/// use std::time::Duration;
/// use ftp_client::Timeouts;
///
/// let timeouts = Timeouts { reply: Duration::from_secs(20), ..Timeouts::default() };
/// assert_eq!(timeouts.connect, Duration::from_secs(10));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Timeouts {
    /// Looking up the server's name. 10 s.
    pub resolve: Duration,
    /// Opening the control connection, all addresses of the name together. 10 s.
    pub connect: Duration,
    /// From connecting to the end of the server's greeting. 60 s.
    pub greeting: Duration,
    /// From sending a command to the end of its reply. 60 s.
    pub reply: Duration,
    /// Opening a data connection. 10 s.
    pub data_connect: Duration,
    /// The longest time in which no byte of data moves. 60 s. Where the server has confirmed the
    /// transfer already, so that only what is on its way can still come,
    /// [`data_connect`](Self::data_connect) if that is shorter.
    pub stall: Duration,
    /// From the end of the data to the reply that ends the transfer. A server may have to check
    /// and to sync what it was sent. 300 s.
    pub final_reply: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            resolve: Duration::from_secs(10),
            connect: Duration::from_secs(10),
            greeting: Duration::from_secs(60),
            reply: Duration::from_secs(60),
            data_connect: Duration::from_secs(10),
            stall: Duration::from_secs(60),
            final_reply: Duration::from_secs(300),
        }
    }
}

/// Who opens data connections (RFC 959 §3.2).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Mode {
    /// The client, to a port of the server: `EPSV`, else `PASV`. Passes firewalls and NAT on the
    /// client's side.
    #[default]
    Passive,
    /// The server, to a port of the client: `EPRT`, else `PORT`.
    Active,
}

/// Whether the commands of RFC 2428 are used for data connections, or those of RFC 959.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Extended {
    /// Those of RFC 2428, and once the server does not know them, those of RFC 959 where the
    /// connection is IPv4.
    #[default]
    Auto,
    /// Only `EPSV` or `EPRT`.
    Always,
    /// Only `PASV` or `PORT`.
    Never,
}

/// Which addresses of a server are tried.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Family {
    /// All.
    #[default]
    Any,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

/// What [`ClientBuilder`] gathers and [`Client`] keeps.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) timeouts: Timeouts,
    pub(crate) overall: Option<Duration>,
    pub(crate) keepalive: Option<Duration>,
    pub(crate) bind: Option<IpAddr>,
    pub(crate) family: Family,
    pub(crate) connector: Option<SharedConnector>,
    pub(crate) canceller: Option<Canceller>,
    pub(crate) mode: Mode,
    pub(crate) epsv: Extended,
    pub(crate) eprt: Extended,
    pub(crate) account: Option<Password>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            timeouts: Timeouts::default(),
            overall: None,
            keepalive: Some(Duration::from_secs(60)),
            bind: None,
            family: Family::default(),
            connector: None,
            canceller: None,
            mode: Mode::default(),
            epsv: Extended::default(),
            eprt: Extended::default(),
            account: None,
        }
    }
}

/// Settings of a client that is not yet connected; each has a default that suits most servers.
///
/// ```no_run
/// use std::time::Duration;
/// use ftp_client::{Client, Mode};
///
/// let client = Client::builder()
///     .mode(Mode::Active)
///     .overall(Some(Duration::from_secs(600)))
///     .connect("ftp.example.org")?;
/// # Ok::<(), ftp_client::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "nothing happens before connect()"]
pub struct ClientBuilder {
    pub(crate) config: Config,
}

impl ClientBuilder {
    /// The limits of each phase.
    pub const fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.config.timeouts = timeouts;
        self
    }

    /// A limit for all that the client does from [`connect`](Self::connect) on; none by default.
    /// Once it is reached, every call ends with [`Error::Timeout`].
    pub const fn overall(mut self, limit: Option<Duration>) -> Self {
        self.config.overall = limit;
        self
    }

    /// After how long without a byte the kernel begins to ask whether the peer is still there,
    /// on either connection; 60 s by default, `None` for never. A peer that does not answer six
    /// times, 10 s apart, is gone.
    pub const fn keepalive(mut self, idle: Option<Duration>) -> Self {
        self.config.keepalive = idle;
        self
    }

    /// The address of this host that all connections are made from, and where it listens in
    /// active mode. Addresses of the server in the other family are not tried then.
    pub const fn bind(mut self, address: IpAddr) -> Self {
        self.config.bind = Some(address);
        self
    }

    /// Which addresses of the server are tried; all by default.
    pub const fn family(mut self, family: Family) -> Self {
        self.config.family = family;
        self
    }

    /// Who makes the connections, if not this client itself. Excludes [`bind`](Self::bind),
    /// [`family`](Self::family) and active mode; [`keepalive`](Self::keepalive) is the
    /// connector's too.
    pub fn connector(mut self, connector: impl Connector + 'static) -> Self {
        self.config.connector = Some(SharedConnector(Arc::new(connector)));
        self
    }

    /// What another thread stops this client by.
    pub fn canceller(mut self, canceller: Canceller) -> Self {
        self.config.canceller = Some(canceller);
        self
    }

    /// Who opens data connections; the client by default.
    pub const fn mode(mut self, mode: Mode) -> Self {
        self.config.mode = mode;
        self
    }

    /// `EPSV` or `PASV` in passive mode.
    pub const fn epsv(mut self, extended: Extended) -> Self {
        self.config.epsv = extended;
        self
    }

    /// `EPRT` or `PORT` in active mode.
    pub const fn eprt(mut self, extended: Extended) -> Self {
        self.config.eprt = extended;
        self
    }

    /// The account that is given to a server that asks for one at login (332). Kept out of logs
    /// and `Debug` like a password.
    pub fn account(mut self, account: impl Into<Vec<u8>>) -> Self {
        self.config.account = Some(Password(account.into()));
        self
    }

    /// Connects to a server and waits for its greeting. It is named as `host` or `host:port`,
    /// where the host is a name or an address, an IPv6 address before a port in brackets; the
    /// port is 21 if none is given.
    ///
    /// A name may have many addresses, of both families. They are tried in turn, each 250 ms
    /// after the one before it or as soon as that has failed, and the first that answers is used
    /// (RFC 8305).
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] if `server` is none; [`Error::Io`] if the name has no address, or none
    /// of them can be reached: it says what each of them failed with; [`Error::Timeout`];
    /// [`Error::ServiceClosing`] or [`Error::Greeting`] if the server greets with anything but
    /// 220; [`Error::Protocol`] if what answers is no FTP server; [`Error::Cancelled`];
    /// [`Error::Unsupported`] for settings that exclude each other.
    pub fn connect(self, server: &str) -> Result<Client, Error> {
        let server = Server::parse(server).map_err(Error::Argument)?;
        Client::connect(self.config, server)
    }
}
