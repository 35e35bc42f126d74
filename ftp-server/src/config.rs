//! Settings of a server.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ftp_proto::{HostName, Network, ParseError, ParseErrorKind, PortRanges};

use crate::name_pattern::NamePattern;

/// Settings of a server, apart from those of its users. Each field names its default, which
/// [`Default`] sets. Later versions may add fields.
///
/// ```
/// use std::time::Duration;
///
/// use ftp_server::ServerConfig;
///
/// let config = ServerConfig::default().with(|config| {
///     config.timeouts.idle = Duration::from_secs(60);
///     config.limits.per_user = 4;
/// });
/// assert_eq!(config.limits.per_address, 0);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Text of the greeting, after `220 `. It should name neither product nor version (default:
    /// `Service ready`).
    pub banner: String,
    /// Timeouts.
    pub timeouts: Timeouts,
    /// Limits on sessions and resources.
    pub limits: Limits,
    /// Delays and bans after failed logins.
    pub logins: LoginPolicy,
    /// Networks that may connect (default: empty, any network).
    pub allow: Vec<Network>,
    /// Networks that may not connect, even if [`allow`](Self::allow) lists them (default: empty).
    /// Their clients get 421 instead of the greeting, and no thread is started for them. For a
    /// connection from a load balancer, a thread first reads the PROXY header.
    pub deny: Vec<Network>,
    /// Networks of this server's load balancers (default: empty). Each control or passive data
    /// connection from these networks must begin with a PROXY header of version 1 or 2, before any
    /// TLS handshake. Connections from other addresses must not begin with a header.
    ///
    /// The client in the header is the peer of the session in every respect: log, limits, bans,
    /// [`allow`](Self::allow), [`deny`](Self::deny) and data connections. PASV replies (227)
    /// announce the balancer's address that the client connected to, unless
    /// [`passive.address`](PassivePolicy::address) is set. A connection without a valid header
    /// within 5 s is refused ([`Refusal::Header`](crate::Refusal::Header)). A connection from the
    /// balancer itself (`LOCAL`), such as a health check, is accepted even if the balancer is
    /// denied or banned. If the header does not name a client (`UNKNOWN`), the balancer counts as
    /// the client, and `PORT` and `EPRT` fail with 504.
    ///
    /// List only addresses of balancers: any host in these networks can name any client. A client
    /// in these networks cannot connect without a header.
    ///
    /// ```
    /// use std::io::{BufRead, BufReader, Write};
    /// use std::net::TcpStream;
    ///
    /// use ftp_server::{MemoryStorage, Network, Rights, Server, ServerConfig};
    ///
    /// let balancers = vec![Network::parse(b"127.0.0.1/32")?];
    /// let server = Server::builder()
    ///     .user("u", "p", Rights::FULL)
    ///     .storage(MemoryStorage::new())
    ///     .config(ServerConfig::default().with(|config| config.proxy_protocol = balancers))
    ///     .bind("127.0.0.1:0")?;
    /// // A balancer passes on a connection of 203.0.113.7 to 192.0.2.1.
    /// let mut stream = TcpStream::connect(server.local_addr())?;
    /// stream.write_all(b"PROXY TCP4 203.0.113.7 192.0.2.1 50000 21\r\n")?;
    /// let mut greeting = String::new();
    /// BufReader::new(&stream).read_line(&mut greeting)?;
    /// assert_eq!(greeting, "220 Service ready\r\n");
    /// assert_eq!(server.sessions()[0].peer, "203.0.113.7:50000".parse()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub proxy_protocol: Vec<Network>,
    /// Virtual hosts that `HOST` accepts (RFC 7151; default: empty, any name). The authenticator
    /// gets the host that the client chose. See [`VirtualHost`].
    pub hosts: Vec<VirtualHost>,
    /// Passive data connections.
    pub passive: PassivePolicy,
    /// Active data connections.
    pub active: ActivePolicy,
    /// Networks that users with the right [`FXP`](crate::Rights::FXP) may use for data connections,
    /// in addition to the client's own host (default: empty).
    pub fxp_networks: Vec<Network>,
    /// Whether `STOR` and `RNTO` may replace a file, and `STOR` the part of a file after a `REST`
    /// offset (default: `true`). `APPE` can always append.
    pub overwrite: bool,
    /// Names that no command may create (default: empty). `STOR`, `STOU`, `APPE`, `MKD` and `RNTO`
    /// to such a name fail, even if a file with that name exists. Existing files can be read,
    /// renamed and deleted. The names of the targets of symbolic links are not checked, because FTP
    /// cannot create links.
    pub deny_names: Vec<NamePattern>,
    /// Whether clients may transfer files in blocks (`MODE B`; default: `true`).
    ///
    /// In mode B, a block marks the end of a file, and the data connection stays open for the next
    /// file. The data connection closes with the session at the latest, so an idle session can have
    /// two connections.
    pub block_mode: bool,
    /// Whether clients may compress transfers and listings (`MODE Z`; default: `false`).
    ///
    /// Compression saves bandwidth but uses processor time, on at most half of the processors
    /// (rounded up). Rate limits count compressed bytes; quotas and file sizes count uncompressed
    /// bytes. Under TLS, the length of compressed data reveals something about its content to
    /// observers of the network. The length reveals more to attackers who can add data to the same
    /// file or listing.
    pub compression: bool,
    /// Whether `LIST` shows the numeric owner and group of each entry instead of `ftp` (default:
    /// `false`).
    pub show_ids: bool,
    /// Whether to remove a leading `-` from passwords (default: `false`). Old clients send it to
    /// ask for short replies; all replies of this server are short.
    pub dash_password: bool,
    /// Whether to reject command lines that end in LF without CR, with 500 (default: `false`). Some
    /// scripts and devices send such lines.
    pub strict_crlf: bool,
}

/// A virtual host: one of several names by which clients reach the same server (RFC 7151).
///
/// A client chooses a host with `HOST` before login, or with the server name in its TLS handshake
/// (RFC 6066). The name in the handshake has priority: it overrides an earlier `HOST`, and a later
/// `HOST` with another name fails with 504. `REIN` clears the choice. A client that does not name a
/// host has none. If a server has hosts, `HOST` with an unknown name fails with 504; the address
/// that the client connected to is accepted too.
///
/// Names are compared as a whole, ignoring case. Internationalised names are A-labels, such as
/// `xn--e1afmkfd.com`. [`Tls::host`](crate::Tls::host) adds the certificate of a host. The
/// authenticator decides which users a host has, and chooses their storage.
///
/// ```
/// use std::io::{BufRead, BufReader, Write};
/// use std::net::TcpStream;
/// use std::sync::Arc;
///
/// use ftp_server::{
///     AuthError, Authenticator, HostName, Login, LoginAttempt, MemoryStorage, Rights, Server,
///     ServerConfig, VirtualHost,
/// };
///
/// /// Each user has one host.
/// struct Users;
///
/// impl Authenticator for Users {
///     fn login(&self, attempt: &LoginAttempt<'_>) -> Result<Login, AuthError> {
///         let host = attempt.host.map(HostName::to_string).unwrap_or_default();
///         match (attempt.user, attempt.password, host.as_str()) {
///             (b"anna", b"secret", "a.example.org") => {
///                 Ok(Login::new(Arc::new(MemoryStorage::new()), Rights::FULL))
///             }
///             (b"anna", b"secret", _) => Err(AuthError::OtherHost),
///             _ => Err(AuthError::Refused),
///         }
///     }
/// }
///
/// let name = HostName::parse(b"a.example.org")?;
/// let hosts = vec![VirtualHost::new(name).banner("Files of Anna")];
/// let server = Server::builder()
///     .config(ServerConfig::default().with(|config| config.hosts = hosts))
///     .authenticator(Users)
///     .bind("127.0.0.1:0")?;
/// let mut stream = BufReader::new(TcpStream::connect(server.local_addr())?);
/// let mut replies = String::new();
/// for command in ["", "HOST A.example.org\r\n", "USER anna\r\n", "PASS secret\r\n"] {
///     stream.get_mut().write_all(command.as_bytes())?;
///     stream.read_line(&mut replies)?;
/// }
/// assert!(replies.contains("220 Files of Anna\r\n"));
/// assert!(replies.contains("230 "));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct VirtualHost {
    /// The name of the host, or an address in its [canonical form](HostName::into_canonical).
    pub name: HostName,
    /// Text of the reply to `HOST`, after `220 `, and of the greeting over implicit TLS. `None`:
    /// the server's own texts (default).
    pub banner: Option<String>,
}

impl VirtualHost {
    /// Returns a host without a banner.
    #[must_use]
    pub fn new(name: HostName) -> Self {
        Self { name: name.into_canonical(), banner: None }
    }

    /// Sets the text of the reply to `HOST`, and of the greeting over implicit TLS.
    #[must_use]
    pub fn banner(self, banner: impl Into<String>) -> Self {
        Self { banner: Some(banner.into()), ..self }
    }
}

/// Timeouts of sessions and transfers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Timeouts {
    /// Maximum time without a login, including the time that the authenticator takes (default: 60
    /// s).
    pub login: Duration,
    /// Maximum time without a command (default: 5 min, RFC 1123 §4.1.3.2).
    pub idle: Duration,
    /// Maximum time to open a data connection after the 150 (default: 30 s).
    pub data_connect: Duration,
    /// Maximum total time of a TLS handshake, on a control or data connection (default: 10 s).
    pub tls_handshake: Duration,
    /// Maximum time during which a transfer moves no bytes (default: 60 s).
    pub stall: Duration,
}

/// Limits on sessions and resources.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Limits {
    /// Maximum sessions in total (default: 0, as many as the system's limits allow at startup).
    pub sessions: usize,
    /// Maximum connections from one IPv4 address or one /64 of IPv6 (default: 0, unlimited).
    /// Loopback is exempt.
    pub per_address: usize,
    /// Maximum sessions of one user (default: 0, unlimited).
    pub per_user: usize,
    /// Memory for the large buffers of all transfers, in bytes (default: 64 MiB). When none is
    /// left, a transfer uses a small buffer of at most 64 KiB.
    pub buffers: u64,
    /// Maximum bytes of files and listings per second in one session, both directions together
    /// (default: 0, unlimited).
    pub rate_per_session: u64,
    /// Maximum bytes per second of all sessions of one user (default: 0, unlimited).
    pub rate_per_user: u64,
    /// Bytes to keep free on storages that know their free space (default: 0).
    ///
    /// Below this limit, uploads and `MKD` fail, and running uploads end with 452. `ALLO` rejects
    /// sizes that do not fit above the limit, and `AVBL` subtracts the limit. Before an upload
    /// fails, kept partial uploads are removed, the oldest first. Near the limit, each upload
    /// checks again after at most 8 MiB, so each of several parallel uploads can exceed the limit
    /// by that much. On file systems with a fixed number of inodes, a free inode counts as at most
    /// 4 KiB. A rename needs no space.
    pub min_free: u64,
}

/// Delays and bans after failed logins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct LoginPolicy {
    /// Failed logins after which the server closes the connection (default: 3).
    pub failures: u32,
    /// Delay of the reply to the first failed login of a connection, counted from its `PASS`
    /// (default: 1 s, RFC 2577 §5). The reply to the second takes twice as long, and the replies to
    /// all others four times as long. Zero: no delay.
    pub delay: Duration,
    /// Failed logins from one IPv4 address or one /64 of IPv6 within
    /// [`ban_window`](Self::ban_window) that lead to a ban (default: 20; 0: no bans).
    ///
    /// During a ban, new connections and logins over existing ones get 421 for
    /// [`ban_for`](Self::ban_for). Users who are logged in stay, and no user is locked out.
    /// Loopback is exempt, because all clients of a local proxy or tunnel have its address. For a
    /// proxy on another machine, use [`proxy_protocol`](ServerConfig::proxy_protocol) if it sends
    /// PROXY headers; otherwise set this to 0. The maximum is
    /// [`limits::BAN_AFTER`](crate::limits::BAN_AFTER).
    pub ban_after: u32,
    /// Window in which failed logins count (default: 10 min); see [`ban_after`](Self::ban_after).
    pub ban_window: Duration,
    /// Duration of a ban (default: 10 min; zero: no bans); see [`ban_after`](Self::ban_after).
    pub ban_for: Duration,
}

/// Passive data connections: clients connect to the server (`PASV` and `EPSV`).
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct PassivePolicy {
    /// Whether `PASV` and `EPSV` are served (default: `true`).
    pub enabled: bool,
    /// Ports to listen on (default: `None`, the system chooses). A client (an IPv4 address or an
    /// IPv6 /64) can hold at most half of these ports at a time, but always one.
    pub ports: Option<PortRanges>,
    /// Address in PASV replies (227) instead of the one that the client connected to, for a server
    /// behind a NAT. Clients on this machine do not get this address.
    pub address: Option<PassiveAddress>,
    /// Addresses in PASV replies (227) for clients of certain networks, instead of
    /// [`address`](Self::address). The first match counts.
    pub overrides: Vec<PassiveOverride>,
}

/// Active data connections: the server connects to clients (`PORT` and `EPRT`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ActivePolicy {
    /// Whether `PORT` and `EPRT` are served (default: `true`, RFC 1123 §4.1.2.13).
    pub enabled: bool,
    /// Whether to connect from the port below that of the control connection (20 for 21, RFC 959
    /// §5.2) if that port is available (default: `false`). Ports below 1024 need root or
    /// `CAP_NET_BIND_SERVICE`.
    pub source_port: bool,
}

impl ServerConfig {
    /// Returns these settings with `change` applied.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Returns the virtual host with this name, if there is one.
    pub(crate) fn host(&self, name: &HostName) -> Option<&VirtualHost> {
        self.hosts.iter().find(|host| host.name == *name)
    }
}

/// Address of this server for clients, as PASV replies (227) announce it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum PassiveAddress {
    /// This IPv4 address.
    Address(Ipv4Addr),
    /// The IPv4 address of this host name, looked up at startup and every five minutes, outside of
    /// sessions. If a lookup fails, the last address stays in use; before the first success, the
    /// address of the control connection is used.
    Name(String),
}

/// PASV address for clients in certain networks.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct PassiveOverride {
    /// Networks of the clients that get this address.
    pub clients: Vec<Network>,
    /// Address for those clients.
    pub address: PassiveAddress,
}

impl PassiveAddress {
    /// Reads an IPv4 address or a host name.
    ///
    /// # Errors
    ///
    /// Returns `Unsupported` for an IPv6 address, which a 227 reply cannot carry, `UnexpectedByte`
    /// for an invalid host name, or `BadNumber` for an invalid address.
    pub fn parse(input: &[u8]) -> Result<Self, ParseError> {
        let error = |at, kind| ParseError::new("passive address", at, kind);
        let text = std::str::from_utf8(input).unwrap_or_default();
        match text.parse() {
            Ok(IpAddr::V4(address)) => return Ok(Self::Address(address)),
            Ok(IpAddr::V6(_)) => return Err(error(0, ParseErrorKind::Unsupported)),
            Err(_) => {}
        }
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if let Some(at) = input.iter().position(|&byte| !is_part(byte)) {
            return Err(error(at, ParseErrorKind::UnexpectedByte));
        }
        match input.iter().any(u8::is_ascii_alphabetic) {
            true => Ok(Self::Name(text.to_owned())),
            false => Err(error(0, ParseErrorKind::BadNumber)),
        }
    }
}

impl fmt::Display for PassiveAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            banner: "Service ready".to_owned(),
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            logins: LoginPolicy::default(),
            allow: Vec::new(),
            deny: Vec::new(),
            proxy_protocol: Vec::new(),
            hosts: Vec::new(),
            passive: PassivePolicy::default(),
            active: ActivePolicy::default(),
            fxp_networks: Vec::new(),
            overwrite: true,
            deny_names: Vec::new(),
            block_mode: true,
            compression: false,
            show_ids: false,
            dash_password: false,
            strict_crlf: false,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            login: Duration::from_secs(60),
            idle: Duration::from_secs(300),
            data_connect: Duration::from_secs(30),
            tls_handshake: Duration::from_secs(10),
            stall: Duration::from_secs(60),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 0,
            per_address: 0,
            per_user: 0,
            buffers: 64 * 1024 * 1024,
            rate_per_session: 0,
            rate_per_user: 0,
            min_free: 0,
        }
    }
}

impl Default for LoginPolicy {
    fn default() -> Self {
        Self {
            failures: 3,
            delay: Duration::from_secs(1),
            ban_after: 20,
            ban_window: Duration::from_secs(600),
            ban_for: Duration::from_secs(600),
        }
    }
}

impl Default for PassivePolicy {
    fn default() -> Self {
        Self { enabled: true, ports: None, address: None, overrides: Vec::new() }
    }
}

impl Default for ActivePolicy {
    fn default() -> Self {
        Self { enabled: true, source_port: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passive_addresses_are_addresses_or_names() {
        use ParseErrorKind::{BadNumber, UnexpectedByte, Unsupported};
        for (text, want) in [
            ("192.0.2.1", Ok(PassiveAddress::Address([192, 0, 2, 1].into()))),
            ("ftp.example.org", Ok(PassiveAddress::Name("ftp.example.org".to_owned()))),
            ("2001:db8::1", Err((0, Unsupported))),
            ("", Err((0, BadNumber))),
            ("192.0.2.256", Err((0, BadNumber))),
            ("192.0.2.1:21", Err((9, UnexpectedByte))),
            ("ftp example", Err((3, UnexpectedByte))),
        ] {
            let want = want.map_err(|(at, kind)| ParseError::new("passive address", at, kind));
            assert_eq!(PassiveAddress::parse(text.as_bytes()), want, "{text}");
        }
    }
}
