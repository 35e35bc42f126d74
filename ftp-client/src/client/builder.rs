//! `ClientBuilder`: the settings of a client, and the way to one that is connected.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ftp_proto::{AddressRule, Password, PortRanges};

use super::Client;
use crate::config::{Config, Extended, Family, Mode, Timeouts};
use crate::error::Error;
use crate::net::canceller::Canceller;
use crate::net::connect::Server;
use crate::net::connector::{Connector, SharedConnector};
use crate::security::{Start, Tls};

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

impl Client {
    /// Settings for a new client.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }
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
    /// on either connection, from a second to about nine hours; 60 s by default, `None` for never.
    /// A peer that does not answer six
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

    /// Promises the server, before the first data connection, that none will be set up but by
    /// `EPSV` (`EPSV ALL`, RFC 2428 §4). A NAT on the way then has nothing to translate. There is
    /// no `PASV` after `EPSV` any more, and a server that refuses the promise ends the transfer
    /// with [`Error::DataConnection`]. Off by default; not with [`Mode::Active`] and not with
    /// [`Extended::Never`], which [`connect`](Self::connect) says.
    pub const fn epsv_all(mut self, on: bool) -> Self {
        self.config.epsv_all = on;
        self
    }

    /// Sends `TYPE`, `EPSV` and `RETR`, or a listing verb, in one write, and saves the time that
    /// two replies take. Uploads and what begins at an offset go the ordinary way. Any answer that
    /// does not lead straight on ends this for the connection, and the transfer begins again in the
    /// ordinary way. A server that loses commands which come together answers nothing: off by
    /// default. Not with [`Mode::Active`] and not with [`Extended::Never`], which
    /// [`connect`](Self::connect) says.
    pub const fn pipeline(mut self, on: bool) -> Self {
        self.config.pipeline = on;
        self
    }

    /// Which host a data connection goes to after `PASV`, where the server announces one; the
    /// host of the control connection by default. `EPSV`, which is asked first, announces none.
    /// With a [`connector`](Self::connector) there is no choice.
    pub const fn passive_address(mut self, rule: AddressRule) -> Self {
        self.config.passive_address = rule;
        self
    }

    /// Whether a server may have data connections go to ports below 1024, which are those of
    /// other services; not by default.
    pub const fn allow_low_ports(mut self, on: bool) -> Self {
        self.config.allow_low_ports = on;
        self
    }

    /// Where to listen in active mode: ports that a firewall lets in, or a NAT sends here. Each
    /// is tried, from a random one on; with all of them taken a transfer ends with
    /// [`Error::DataConnection`]. By default the system chooses any port.
    pub fn active_ports(mut self, ports: PortRanges) -> Self {
        self.config.active_ports = Some(ports);
        self
    }

    /// What to tell the server in active mode instead of the local address: the address of the
    /// NAT in front of this host, or its name, which is looked up again for each transfer within
    /// [`Timeouts::resolve`]. It must have an address of the family of the control connection,
    /// and the server's own as the source: others are taken for strangers.
    pub fn active_address(mut self, address: impl Into<String>) -> Self {
        self.config.active_address = Some(address.into());
        self
    }

    /// Whether the server is told by which name it was called (`HOST`, RFC 7151), for one that
    /// serves several under one address; not by default. A server that does not know the command
    /// is taken to serve one.
    pub const fn host_command(mut self, on: bool) -> Self {
        self.config.host_command = on;
        self
    }

    /// Whether, and how, connections are protected by TLS; not, by default. A URL of the scheme
    /// `ftpes` or `ftps` demands it, and then says when it begins.
    pub fn tls(mut self, tls: Tls) -> Self {
        self.config.tls = Some(tls);
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
    /// port is 21 if none is given, and 990 with [`Tls::implicit`].
    ///
    /// A name may have many addresses, of both families. They are tried in turn, each 250 ms
    /// after the one before it or as soon as that has failed, and the first that answers is used
    /// (RFC 8305).
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] if `server` is none; [`Error::Io`] if the name has no address, or none
    /// of them can be reached: it says what each of them failed with; [`Error::Timeout`];
    /// [`Error::Tls`] for TLS that is demanded and does not come about;
    /// [`Error::ServiceClosing`] or [`Error::Greeting`] if the server greets with anything but
    /// 220; [`Error::Protocol`] if what answers is no FTP server; [`Error::Cancelled`];
    /// [`Error::Unsupported`] for settings that exclude each other,
    /// before anything is sent.
    pub fn connect(self, server: &str) -> Result<Client, Error> {
        self.connect_at(server, None)
    }

    /// The same, at `port` if there is one, whatever `server` says of it.
    pub(crate) fn connect_at(mut self, server: &str, port: Option<u16>) -> Result<Client, Error> {
        self.config.check()?;
        let is_implicit = self.config.tls.as_ref().is_some_and(|tls| tls.start == Start::Implicit);
        let mut server = Server::parse(server, is_implicit)?;
        server.port = port.unwrap_or(server.port);
        Client::connect(self.config, server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epsv_all_takes_no_other_way_cl_34() {
        let check = |builder: ClientBuilder| {
            let mut config = builder.epsv_all(true).config;
            config.check().map(|()| config.epsv)
        };
        let builder = ClientBuilder::default;
        for extended in [Extended::Auto, Extended::Always] {
            assert_eq!(check(builder().epsv(extended)).unwrap(), Extended::Always);
        }
        assert!(matches!(check(builder().epsv(Extended::Never)), Err(Error::Unsupported(_))));
        assert!(matches!(check(builder().mode(Mode::Active)), Err(Error::Unsupported(_))));
    }

    #[test]
    fn a_connector_goes_to_no_other_host_cl_25_hc_33() {
        struct Nobody;
        impl Connector for Nobody {
            fn connect(
                &self,
                _: &crate::Target<'_>,
                _: Duration,
            ) -> std::io::Result<Box<dyn crate::Transport>> {
                Err(std::io::ErrorKind::Unsupported.into())
            }
        }
        let check =
            |rule| ClientBuilder::default().connector(Nobody).passive_address(rule).config.check();
        assert!(check(AddressRule::Peer).is_ok());
        for rule in [AddressRule::Smart, AddressRule::Reply] {
            assert!(matches!(check(rule), Err(Error::Unsupported(_))), "{rule:?}");
        }
    }

    #[test]
    fn only_epsv_is_sent_ahead_cl_14() {
        let check = |builder: ClientBuilder| builder.pipeline(true).config.check();
        let builder = ClientBuilder::default;
        assert!(check(builder().epsv(Extended::Always)).is_ok());
        assert!(check(builder().epsv_all(true)).is_ok());
        assert!(matches!(check(builder().epsv(Extended::Never)), Err(Error::Unsupported(_))));
        assert!(matches!(check(builder().mode(Mode::Active)), Err(Error::Unsupported(_))));
    }
}
