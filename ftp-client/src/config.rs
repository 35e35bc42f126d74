//! Settings that a client has before it connects: timeouts, and how data connections are opened.

use std::net::IpAddr;
use std::time::Duration;

use ftp_proto::{AddressRule, DataRules, Extended, Mode, Password, PortRanges, RepresentationType};

use crate::control::FlightTest;
use crate::error::Error;
use crate::event::Counts;
use crate::net::proxy::{Proxy, Route};
use crate::net::stream::SharedConnector;
use crate::net::wait::Canceller;
use crate::security::Tls;

/// A timeout for each phase.
///
/// Each timeout limits the whole phase: a server that sends one byte at a time does not extend it.
/// Only [`stall`](Self::stall) starts again with each byte.
///
/// ```
/// use std::time::Duration;
/// use ftp_client::Timeouts;
///
/// let timeouts = Timeouts::new().reply(Duration::from_secs(20));
/// assert_eq!(timeouts.connect, Duration::from_secs(10));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Timeouts {
    /// Looking up the server's name (default: 10 s).
    pub resolve: Duration,
    /// Opening the control connection, over all addresses of the name together (default: 10 s).
    pub connect: Duration,
    /// Receiving the server's greeting, once the connection is open (default: 60 s).
    pub greeting: Duration,
    /// The TLS handshake, on the control connection and on each data connection (default: 10 s).
    pub handshake: Duration,
    /// From sending a command to the end of its reply (default: 60 s).
    pub reply: Duration,
    /// Opening a data connection (default: 10 s).
    pub data_connect: Duration,
    /// The longest time without a byte on the data connection (default: 60 s).
    ///
    /// Once the server has confirmed the transfer, only bytes in transit can still arrive, and
    /// [`data_connect`](Self::data_connect) applies if it is shorter.
    pub stall: Duration,
    /// From the end of the data to the final reply (default: 300 s). A server may need to check and
    /// sync the file.
    pub final_reply: Duration,
}

ftp_proto::settings! {
    Timeouts {
        resolve: Duration = Duration::from_secs(10),
        connect: Duration = Duration::from_secs(10),
        greeting: Duration = Duration::from_secs(60),
        handshake: Duration = Duration::from_secs(10),
        reply: Duration = Duration::from_secs(60),
        data_connect: Duration = Duration::from_secs(10),
        stall: Duration = Duration::from_secs(60),
        final_reply: Duration = Duration::from_secs(300),
    }
}

/// Family of the server addresses to try.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Family {
    /// Any address.
    #[default]
    Any,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

/// The settings that the builder gathers and the client keeps.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) timeouts: Timeouts,
    pub(crate) overall: Option<Duration>,
    pub(crate) keepalive: Option<Duration>,
    pub(crate) bind: Option<IpAddr>,
    pub(crate) family: Family,
    pub(crate) connector: Option<SharedConnector>,
    /// The route through a proxy; it excludes a connector.
    pub(crate) route: Option<Route>,
    pub(crate) canceller: Option<Canceller>,
    /// The `peer` in the rules is set once the control connection is open.
    pub(crate) rules: DataRules,
    pub(crate) account: Option<Password>,
    pub(crate) allow_low_ports: bool,
    pub(crate) active_ports: Option<PortRanges>,
    pub(crate) active_address: Option<String>,
    pub(crate) host_command: bool,
    /// Whether to compress data if the server offers `MODE Z`.
    pub(crate) compress: bool,
    /// Whether several transfers use one data connection if the server offers `MODE B`.
    pub(crate) reuse_data: bool,
    pub(crate) tls: Option<Tls>,
    /// The type of the passive transfer that follows the login, if one does.
    pub(crate) first_transfer: Option<RepresentationType>,
    /// Whether this transfer depends on the features.
    pub(crate) lists_first: bool,
    pub(crate) counts: Counts,
    pub(crate) flights: FlightTest,
    /// Whether the server answers questions after the confirmation of a download, even if it got them
    /// before.
    pub(crate) early: FlightTest,
}

impl Config {
    /// Rejects contradictory settings, and sets those that follow from others.
    pub(crate) fn check(&mut self) -> Result<(), Error> {
        if self.rules.epsv_all {
            if self.rules.mode == Mode::Active {
                return Err(Error::Unsupported("EPSV ALL in active mode"));
            }
            if self.rules.epsv == Extended::Never {
                return Err(Error::Unsupported("EPSV ALL without EPSV"));
            }
            self.rules.epsv = Extended::Always;
        }
        if self.rules.pipeline
            && (self.rules.mode == Mode::Active || self.rules.epsv == Extended::Never)
        {
            return Err(Error::Unsupported("pipelining without EPSV"));
        }
        if self.compress && self.reuse_data {
            return Err(Error::Unsupported("compression together with a reused data connection"));
        }
        if self.connector.is_some() && self.rules.passive_address != AddressRule::Peer {
            return Err(Error::Unsupported(
                "a rule for the passive address together with a connector",
            ));
        }
        match &self.route {
            Some(route) => self.check_proxy(&route.proxy),
            None => Ok(()),
        }
    }

    /// Rejects settings that a proxy excludes.
    fn check_proxy(&self, proxy: &Proxy) -> Result<(), Error> {
        let excluded = if self.connector.is_some() {
            "a proxy together with a connector"
        } else if self.rules.mode == Mode::Active {
            "active mode through a proxy"
        } else if !proxy.is_ftp() && self.rules.passive_address != AddressRule::Peer {
            "a rule for the passive address together with a proxy"
        } else if proxy.is_ftp() && self.tls.is_some() {
            "TLS through an FTP proxy, which reads what the client sends"
        } else if proxy.is_ftp() && self.host_command {
            "HOST through an FTP proxy"
        } else {
            return Ok(());
        };
        Err(Error::Unsupported(excluded))
    }

    /// Returns whether a SOCKS5 or HTTP proxy or the caller's connector opens the connections. The
    /// socket's peer address is then not the server's.
    pub(crate) fn is_relayed(&self) -> bool {
        self.connector.is_some() || self.route.as_ref().is_some_and(|route| !route.proxy.is_ftp())
    }
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
            route: None,
            canceller: None,
            account: None,
            host_command: false,
            compress: false,
            reuse_data: false,
            tls: None,
            first_transfer: None,
            lists_first: false,
            counts: Counts::default(),
            flights: FlightTest::default(),
            early: FlightTest::default(),
            rules: DataRules::default(),
            allow_low_ports: false,
            active_ports: None,
            active_address: None,
        }
    }
}
