//! What a client is told before it connects: limits of time, and how data connections are made.

use std::time::Duration;

use ftp_proto::Password;

use crate::client::Client;
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
    /// From looking up the name to the control connection, all addresses together. 10 s.
    pub connect: Duration,
    /// From sending a command to the end of its reply, and from connecting to the end of the
    /// greeting. 60 s.
    pub reply: Duration,
    /// Opening a data connection. 10 s.
    pub data_connect: Duration,
    /// The longest time in which no byte of data moves. 60 s.
    pub stall: Duration,
    /// From the end of the data to the reply that ends the transfer. A server may have to check
    /// and to sync what it was sent. 300 s.
    pub final_reply: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
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

/// What [`ClientBuilder`] gathers and [`Client`] keeps.
#[derive(Clone, Debug, Default)]
pub(crate) struct Config {
    pub(crate) timeouts: Timeouts,
    pub(crate) overall: Option<Duration>,
    pub(crate) mode: Mode,
    pub(crate) epsv: Extended,
    pub(crate) eprt: Extended,
    pub(crate) account: Option<Password>,
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
///     .connect("ftp.example.org", 21)?;
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

    /// Connects to `host`, a name or an address, and waits for the server's greeting. The
    /// addresses of a name are tried in turn.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the name has no address or no address can be reached;
    /// [`Error::Timeout`]; [`Error::ServiceClosing`] or [`Error::Greeting`] if the server greets
    /// with anything but 220; [`Error::Protocol`] if what answers is no FTP server.
    pub fn connect(self, host: &str, port: u16) -> Result<Client, Error> {
        Client::connect(self.config, host, port)
    }
}
