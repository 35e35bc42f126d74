//! The settings that a client has before it connects, and `ClientBuilder`, which sets them.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ftp_proto::{
    AddressRule, DataRules, Extended, Mode, NetworkProtocol, Password, PortRanges, Scheme,
};

use crate::charset::Charset;
use crate::control::learned::Learned;
use crate::error::{Error, Unsupported};
use crate::event::Counts;
use crate::net::SharedConnector;
use crate::net::proxy::{Proxy, Route};
use crate::net::wait::{Canceller, Transport};
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

#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) timeouts: Timeouts,
    pub(crate) overall: Option<Duration>,
    pub(crate) keepalive: Option<Duration>,
    pub(crate) bind: Option<IpAddr>,
    pub(crate) family: Option<NetworkProtocol>,
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
    /// The character set of the server; `None` if that is UTF-8 or unknown.
    pub(crate) charset: Option<Charset>,
    /// Whether to compress data if the server offers `MODE Z`.
    pub(crate) compress: bool,
    /// Whether several transfers use one data connection if the server offers `MODE B`.
    pub(crate) reuse_data: bool,
    pub(crate) tls: Option<Tls>,
    pub(crate) counts: Counts,
    pub(crate) learned: Learned,
}

impl Config {
    /// Rejects contradictory settings, and sets those that follow from others.
    pub(crate) fn check(&mut self) -> Result<(), Error> {
        if self.rules.epsv_all {
            if self.rules.mode == Mode::Active {
                return Err(Error::Unsupported(Unsupported::EpsvAllActive));
            }
            if self.rules.epsv == Extended::Never {
                return Err(Error::Unsupported(Unsupported::EpsvAllWithoutEpsv));
            }
            self.rules.epsv = Extended::Always;
        }
        if self.rules.pipeline
            && (self.rules.mode == Mode::Active || self.rules.epsv == Extended::Never)
        {
            return Err(Error::Unsupported(Unsupported::PipelineWithoutEpsv));
        }
        if self.compress && self.reuse_data {
            return Err(Error::Unsupported(Unsupported::CompressedReuse));
        }
        if self.connector.is_some() && self.rules.passive_address != AddressRule::Peer {
            return Err(Error::Unsupported(Unsupported::ConnectorAndRule));
        }
        match &self.route {
            Some(route) => self.check_proxy(&route.proxy),
            None => Ok(()),
        }
    }

    fn check_proxy(&self, proxy: &Proxy) -> Result<(), Error> {
        let excluded = if self.connector.is_some() {
            Unsupported::ConnectorAndProxy
        } else if self.rules.mode == Mode::Active {
            Unsupported::ActiveRelayed
        } else if !proxy.is_ftp() && self.rules.passive_address != AddressRule::Peer {
            Unsupported::ProxyAndRule
        } else if proxy.is_ftp() && self.tls.is_some() {
            Unsupported::FtpProxyAndTls
        } else if proxy.is_ftp() && self.host_command {
            Unsupported::FtpProxyAndHost
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
            family: None,
            connector: None,
            route: None,
            canceller: None,
            account: None,
            host_command: false,
            charset: None,
            compress: false,
            reuse_data: false,
            tls: None,
            counts: Counts::default(),
            learned: Learned::default(),
            rules: DataRules::default(),
            allow_low_ports: false,
            active_ports: None,
            active_address: None,
        }
    }
}

/// Settings of a client that is not yet connected. The defaults suit most servers.
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
    setters! {
        /// Sets the timeout of each phase.
        timeouts(timeouts: Timeouts) => config.timeouts = timeouts;
        /// Limits the total time, starting with [`connect`](Self::connect) (default: none).
        ///
        /// Once the limit is reached, a call that waits for the server fails with [`Error::Timeout`].
        /// If that timeout closes the connection, later calls fail with [`Error::Closed`].
        overall(limit: Option<Duration>) => config.overall = limit;
        /// Sets the idle time after which the kernel probes whether the peer is still reachable
        /// (default: 60 s).
        ///
        /// It applies to control and data connections, and is clamped to the range from 1 s to about
        /// nine hours. `None` turns the probes off. A peer that misses six probes, 10 s apart, counts
        /// as gone.
        keepalive(idle: Option<Duration>) => config.keepalive = idle;
        /// Sets the local address that all connections use, and on which the client listens in active
        /// mode.
        ///
        /// Server addresses of the other family are then not tried.
        bind(address: IpAddr) => config.bind = Some(address);
        /// Sets the family of the server addresses to try (default: `None`, which tries any address).
        family(family: Option<NetworkProtocol>) => config.family = family;
    }

    /// Sets a connector, which opens the connections in place of this client: through a tunnel, in
    /// another network namespace, or to a peer in the same process.
    ///
    /// It gets the host that the caller of [`connect`](Self::connect) named; the port, which the server
    /// announces for data; whether the connection is for the data of a transfer, or of several with
    /// [`reuse_data`](Self::reuse_data); and the time that is left. The client resolves no
    /// names, and data connections go to the same host, since its address is unknown. Each call runs
    /// in its own thread; after the time or a cancel, the client no longer waits for that thread. An
    /// error of the connector is an [`Error::Io`].
    ///
    /// The connection is any [`Transport`], such as a `TcpStream` or one end of a
    /// `UnixStream::pair`; the client makes it non-blocking. Only TCP can signal an interrupted upload
    /// by a reset; over other transports, the server must notice the interruption on the control
    /// connection.
    ///
    /// A connector excludes [`bind`](Self::bind), [`family`](Self::family), [`proxy`](Self::proxy),
    /// a rule for [`passive_address`](Self::passive_address) and active mode. [`keepalive`](Self::keepalive) has no effect on its connections.
    ///
    /// ```
    /// use std::net::{SocketAddr, TcpStream};
    /// use ftp_client::Client;
    ///
    /// let tunnel = SocketAddr::from(([127, 0, 0, 1], 1_080));
    /// let builder = Client::builder().connector(move |_host, _port, _is_data, limit| {
    ///     let stream = TcpStream::connect_timeout(&tunnel, limit)?;
    ///     // A real tunnel would now get the host and the port.
    ///     Ok(Box::new(stream))
    /// });
    /// ```
    pub fn connector(
        mut self,
        connector: impl Fn(&str, u16, bool, Duration) -> io::Result<Box<dyn Transport>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.config.connector = Some(SharedConnector(Arc::new(connector)));
        self
    }

    setters! {
        /// Sets a proxy that all connections go through.
        ///
        /// [`connect`](Self::connect) rejects a proxy together with active mode or a
        /// [`connector`](Self::connector). It also rejects an FTP proxy together with TLS or
        /// [`host_command`](Self::host_command). [`bind`](Self::bind) and [`family`](Self::family)
        /// apply to the connection to the proxy. [`Timeouts::connect`] limits the time to reach the
        /// server, the connection to the proxy included. [`Timeouts::data_connect`] does the same for
        /// data connections.
        ///
        /// Environment variables are not read, but a `Proxy` can be parsed from the text that they
        /// usually hold.
        ///
        /// ```no_run
        /// use ftp_client::{Client, Proxy};
        ///
        /// let proxy: Proxy = "http://proxy.example.org:3128".parse()?;
        /// let client = Client::builder().proxy(proxy).connect("ftp.example.org")?;
        /// # Ok::<(), ftp_client::Error>(())
        /// ```
        proxy(proxy: Proxy) => config.route = Some(Route::new(proxy));
        /// Sets a canceller, with which another thread can stop this client.
        canceller(canceller: Canceller) => config.canceller = Some(canceller);
        /// Sets which side opens data connections (default: [`Mode::Passive`]).
        mode(mode: Mode) => config.rules.mode = mode;
        /// Chooses between `EPSV` and `PASV` in passive mode (default: [`Extended::Auto`]).
        epsv(extended: Extended) => config.rules.epsv = extended;
        /// Chooses between `EPRT` and `PORT` in active mode (default: [`Extended::Auto`]).
        eprt(extended: Extended) => config.rules.eprt = extended;
        /// Sets whether to promise that only `EPSV` is used (`EPSV ALL`, RFC 2428 §4; default: no).
        ///
        /// A NAT on the path then has nothing to translate, and there is no fallback to `PASV`. If the
        /// server refuses the promise, transfers fail with [`Error::DataConnection`].
        /// [`connect`](Self::connect) rejects this setting together with [`Mode::Active`] or
        /// [`Extended::Never`].
        epsv_all(on: bool) => config.rules.epsv_all = on;
        /// Sets whether to send `TYPE`, `EPSV` and `RETR` or a listing command in one write, which
        /// saves two round trips (default: no). `MDTM` comes first if the modification time is
        /// requested.
        ///
        /// For uploads and transfers from an offset, the client sends one command at a time. After an
        /// error reply that pipelining may have caused, the client starts the transfer again without it.
        /// From then on, neither this client nor any later one of this builder and its clones uses
        /// pipelining with this server. Leave pipelining off for a server that loses commands sent
        /// together: the client would wait for replies that never come.
        /// [`connect`](Self::connect) rejects pipelining together with [`Mode::Active`] or
        /// [`Extended::Never`].
        pipeline(on: bool) => config.rules.pipeline = on;
        /// Sets whether to compress the data of transfers and listings (`MODE Z`) if the server lists
        /// the mode (default: no).
        ///
        /// The client asks for the server's features first
        /// ([`Client::features`](crate::Client::features)). Data that is already compressed does not
        /// become smaller. Under TLS, the length of compressed data reveals something about its content.
        /// All lengths and offsets refer to the uncompressed file.
        /// [`Client::compresses`](crate::Client::compresses) returns whether data will be compressed.
        compress(on: bool) => config.compress = on;
        /// Sets whether several transfers and listings use one data connection (`MODE B`, RFC 959
        /// §3.4.2) if the server lists the mode (default: no).
        ///
        /// Small files are then transferred faster, above all under TLS, since only the first one needs
        /// a connection and a handshake. The end of a file is marked in its data, so a truncated file
        /// is recognised without the server's reply.
        /// [`Client::plan_downloads`](crate::Client::plan_downloads) saves more round trips, and
        /// [`Client::reuses_data`](crate::Client::reuses_data) returns whether the server offers the
        /// mode.
        ///
        /// Servers that close the data connection after each file work too. If the server has closed
        /// the connection before a transfer begins, the transfer uses a new one.
        /// [`connect`](Self::connect) rejects this setting together with [`compress`](Self::compress).
        reuse_data(on: bool) => config.reuse_data = on;
        /// Sets the host to which the client opens data connections after `PASV` (default: the host of
        /// the control connection).
        ///
        /// `EPSV`, which the client tries first by default, announces no host.
        /// [`connect`](Self::connect) rejects any rule except the default together with a
        /// [`connector`](Self::connector) or a SOCKS5 or HTTP [`proxy`](Self::proxy).
        passive_address(rule: AddressRule) => config.rules.passive_address = rule;
        /// Sets whether a server may announce data ports below 1024 (default: no).
        ///
        /// These ports belong to other services.
        allow_low_ports(on: bool) => config.allow_low_ports = on;
        /// Sets the ports to listen on in active mode, such as those that a firewall allows or a NAT
        /// forwards (default: any).
        ///
        /// The client tries each port, starting at a random one. If none is free, the transfer fails
        /// with [`Error::DataConnection`].
        active_ports(ports: PortRanges) => config.active_ports = Some(ports);
        /// Sets the address that is announced to the server in active mode, in place of the local
        /// address.
        ///
        /// Use the address or the name of the NAT in front of this host. The name is looked up for each
        /// transfer, within [`Timeouts::resolve`]. The name must have an address of the control
        /// connection's family. Only connections from the server's own address are accepted.
        active_address(address: impl Into<String>) => config.active_address = Some(address.into());
        /// Sets the character set in which the server reads and sends names (default: UTF-8).
        ///
        /// The client then translates all commands, replies and listings, and paths are UTF-8. It does not send
        /// `OPTS UTF8 ON`. What the character set lacks is an [`Error::Argument`] before anything is sent.
        charset(charset: Charset) => config.charset = charset.other_than_utf8();
        /// Sets whether the client sends the server's name (`HOST`, RFC 7151; default: no).
        ///
        /// Use it for a server that serves several names at one address. If the server does not know
        /// the command, the client continues, and assumes that the server has only one name.
        host_command(on: bool) => config.host_command = on;
        /// Sets whether and how TLS protects the connections (default: no TLS).
        ///
        /// A URL with scheme `ftpes` or `ftps` overrides this setting in part: it demands TLS and
        /// determines when TLS begins.
        tls(tls: Tls) => config.tls = Some(tls);
        /// Sets the account for servers that ask for one at login (332).
        ///
        /// Like a password, it stays out of logs and `Debug`.
        account(account: impl Into<Vec<u8>>) => config.account = Some(Password(account.into()));
        /// Sets where to count round trips and connections, together with other clients.
        counts(counts: &Counts) => config.counts = counts.clone();
    }
}

/// Returns the TLS settings for the scheme of a URL. The settings cannot remove the protection that
/// the scheme demands.
pub(crate) fn for_scheme(scheme: Scheme, settings: Option<Tls>) -> Option<Tls> {
    match scheme {
        Scheme::Ftp => settings,
        scheme => Some(settings.unwrap_or(Tls::explicit()).required(scheme == Scheme::Ftps)),
    }
}

#[cfg(test)]
mod tests;
