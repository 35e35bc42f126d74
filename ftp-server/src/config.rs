//! Settings of a server.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ftp_proto::{HostName, Network, ParseError, ParseErrorKind, Pattern, PortRanges};

/// Settings of a server, except those of its users. [`Default`] sets the default that each field
/// names. Later versions may add fields.
///
/// ```
/// use std::time::Duration;
///
/// use ftp_server::{Limits, ServerConfig, Timeouts};
///
/// let config = ServerConfig::new()
///     .timeouts(Timeouts::new().idle(Duration::from_secs(60)))
///     .limits(Limits::new().per_user(4));
/// assert_eq!(config.limits.per_address, 0);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Text of the greeting, after `220 `. It should name neither a product nor a version (default:
    /// `Service ready`).
    pub banner: String,
    /// Timeouts.
    pub timeouts: Timeouts,
    /// Limits on sessions and resources.
    pub limits: Limits,
    /// Delays and bans after failed logins.
    pub logins: LoginPolicy,
    /// Networks whose clients may connect (default: empty, all networks).
    pub allow: Vec<Network>,
    /// Networks whose clients may not connect, even if [`allow`](Self::allow) lists them (default:
    /// empty). A refused client gets 421 instead of the greeting, or no reply on a listener with
    /// implicit TLS. The server starts no thread for a refused client, except to read the PROXY
    /// header of a load balancer.
    pub deny: Vec<Network>,
    /// Networks of this server's load balancers (default: empty). Each control or passive data
    /// connection from these networks must begin with a PROXY header of version 1 or 2, before any
    /// TLS handshake. Connections from other addresses must not begin with a header.
    ///
    /// The client in the header is the peer of the session in every respect: log, limits, bans,
    /// [`allow`](Self::allow), [`deny`](Self::deny) and data connections. PASV replies (227)
    /// announce the balancer's address that the client connected to, unless
    /// [`passive`](Self::passive) has an address for the client. A control connection without a
    /// valid header within 5 s is refused ([`Refusal::Header`](crate::Refusal::Header)).
    ///
    /// A connection from the balancer itself (`LOCAL`), such as a health check, is accepted even if
    /// the balancer is denied or banned. If the header does not name a client (`UNKNOWN`), the
    /// balancer counts as the client, and `PORT` and `EPRT` fail with 504.
    ///
    /// List only addresses of balancers, because any host in these networks can pretend to be any
    /// client. A client in these networks cannot connect without a header.
    ///
    /// ```
    /// use std::io::{BufRead, BufReader, Write};
    /// use std::net::TcpStream;
    ///
    /// use ftp_server::{MemoryStorage, Network, Rights, Server, ServerConfig};
    ///
    /// let balancers = [Network::parse(b"127.0.0.1/32")?];
    /// let server = Server::builder()
    ///     .user("u", "p", Rights::FULL)
    ///     .storage(MemoryStorage::new())
    ///     .config(ServerConfig::new().proxy_protocol(balancers))
    ///     .bind("127.0.0.1:0")?;
    /// // A balancer passes on a connection from 203.0.113.7 to 192.0.2.1.
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
    /// learns the host that the client chose. See [`VirtualHost`].
    pub hosts: Vec<VirtualHost>,
    /// Passive data connections.
    pub passive: PassivePolicy,
    /// Whether `PORT` and `EPRT` are served, for active data connections: the server connects to
    /// clients (default: `true`, RFC 1123 §4.1.2.13).
    pub active: bool,
    /// Whether to connect from the port below that of the control connection (20 for 21, RFC 959
    /// §5.2), if that port is available (default: `false`). Ports below 1024 need root or
    /// `CAP_NET_BIND_SERVICE`.
    pub active_source_port: bool,
    /// Networks with which users with the right [`FXP`](crate::Rights::FXP) may have data
    /// connections, in addition to the client's own host (default: empty).
    pub fxp_networks: Vec<Network>,
    /// Whether `STOR` and `RNTO` may replace a file, and whether `STOR` and `APPE` may replace the
    /// end of a file after a `REST` offset (default: `true`). `APPE` can always append.
    pub overwrite: bool,
    /// Names that no command may create (default: empty). `STOR`, `STOU`, `APPE`, `MKD` and `RNTO`
    /// with such a name fail, even if a file with that name exists. Existing files can be read,
    /// renamed and deleted. The server does not check the name of a symbolic link's target, because
    /// FTP cannot create links.
    pub deny_names: Vec<NamePattern>,
    /// Whether clients may transfer files in blocks (`MODE B`; default: `true`).
    ///
    /// In mode B, a block marks the end of a file, and the data connection stays open for the next
    /// file. It closes when the session ends at the latest, so an idle session can have two
    /// connections.
    pub block_mode: bool,
    /// Whether clients may compress transfers and listings (`MODE Z`; default: `false`).
    ///
    /// Compression saves bandwidth but uses processor time, on at most half of the processors
    /// (rounded up). Rate limits count compressed bytes; quotas and file sizes count uncompressed
    /// bytes.
    ///
    /// Under TLS, the length of compressed data reveals something about its content to observers of
    /// the network. An observer who can add data to the same file or listing learns more.
    pub compression: bool,
    /// Whether `LIST` and `STAT` show numeric owners and groups instead of `ftp` (default:
    /// `false`).
    pub show_ids: bool,
    /// Whether to remove a leading `-` from passwords (default: `false`). Old clients send the `-`
    /// to ask for short replies; all replies of this server are short.
    pub dash_password: bool,
    /// Whether command lines that end in LF without CR fail with 500 (default: `false`). Some
    /// scripts and devices send such lines.
    pub strict_crlf: bool,
}

/// A virtual host: one of several names by which clients reach the same server (RFC 7151).
///
/// A client chooses a host with `HOST` before login, or with the server name in its TLS handshake
/// (RFC 6066). The name in the handshake has priority: it overrides an earlier `HOST`, and a later
/// `HOST` with another name fails with 504. `REIN` clears the choice. A client that names no host
/// has no virtual host.
///
/// If a server has virtual hosts, `HOST` with any other name fails with 504. `HOST` also accepts
/// the IP address that the client connected to.
///
/// Names are compared as a whole, ignoring case. Internationalised names must be A-labels, such as
/// `xn--e1afmkfd.com`. [`Tls::host`](crate::Tls::host) adds the certificate of a host. The
/// authenticator decides which users may log in at a host, and chooses their storage.
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
/// let hosts = [VirtualHost::new(name).banner("Files of Anna")];
/// let server = Server::builder()
///     .config(ServerConfig::new().hosts(hosts))
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
    /// Text of the reply to `HOST`, after `220 `, and of the greeting over implicit TLS (default:
    /// `None`; `HOST` gets `Host accepted`, and the greeting is the server's banner).
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
    /// Maximum time without a logged-in user, including the authenticator's time (default: 60 s).
    pub login: Duration,
    /// Maximum time without a command from a logged-in user (default: 5 min, RFC 1123 §4.1.3.2).
    pub idle: Duration,
    /// Maximum time to open a data connection after the 150, without its TLS handshake (default: 30
    /// s).
    pub data_connect: Duration,
    /// Maximum total time of a TLS handshake, on a control or data connection (default: 10 s).
    pub tls_handshake: Duration,
    /// Maximum time in which a transfer moves no bytes from or to the client (default: 60 s), or in
    /// which its storage is not ready, unless that has [`Capabilities::BOUNDED_WAITS`].
    ///
    /// [`Capabilities::BOUNDED_WAITS`]: crate::Capabilities::BOUNDED_WAITS
    pub stall: Duration,
}

/// Limits on sessions and resources.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Limits {
    /// Maximum number of sessions in total (default: 0, as many as the system's limits allow at
    /// startup). A larger number than the system allows has the same effect as 0. The last eighth,
    /// at least one of two or more, is for networks that have no session: an IPv4 address or an
    /// IPv6 /48 counts as one network.
    pub sessions: usize,
    /// Maximum number of connections from one IPv4 address or one IPv6 /64 (default: 0, unlimited).
    /// Connections without a login also have a fixed limit per client host. Loopback is exempt from
    /// both.
    pub per_address: usize,
    /// Maximum number of sessions of one user at a time (default: 0, unlimited).
    pub per_user: usize,
    /// Memory for the large buffers of all transfers, in bytes (default: 64 MiB); never more than
    /// an eighth of the memory. If no large buffer is left, a transfer uses small ones of at most
    /// 64 KiB in total.
    pub buffers: u64,
    /// Maximum bytes of files and listings per second in one session, both directions together
    /// (default: 0, unlimited).
    pub rate_per_session: u64,
    /// Maximum bytes of files and listings per second in all sessions of one user together
    /// (default: 0, unlimited).
    pub rate_per_user: u64,
    /// Bytes to keep free in storages that know their free space (default: 0).
    ///
    /// If less is free, `MKD` and both new and running uploads fail with 452. Before an upload
    /// fails, the server removes kept partial uploads, the oldest first. `ALLO` fails for a size
    /// that would leave less free, and `AVBL` does not count these bytes. A rename needs no space.
    ///
    /// Near the limit, each upload checks the free space again after at most 8 MiB. So each of
    /// several parallel uploads can exceed the limit by that much. If a file system has few free
    /// inodes, each free inode counts as at most 4 KiB of free space.
    pub min_free: u64,
}

/// Delays and bans after failed logins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct LoginPolicy {
    /// Number of failed logins after which the server closes the connection with 421 (default: 3; 0
    /// has the effect of 1).
    pub failures: u32,
    /// Delay of the reply to the first failed login of a connection (default: 1 s, RFC 2577 §5;
    /// zero: no delay). The delay starts when `PASS` or `ACCT` arrives. The reply to the second
    /// failed login has twice this delay, and each later one four times this delay.
    pub delay: Duration,
    /// Number of failed logins from one IPv4 address or one IPv6 /64 within
    /// [`ban_window`](Self::ban_window) that lead to a ban (default: 20; 0: no bans).
    ///
    /// During a ban, which lasts for [`ban_for`](Self::ban_for), the server refuses new connections
    /// from the host, and logins over existing ones. Sessions with a logged-in user continue, and
    /// users can log in from other hosts. Loopback is exempt, because all clients of a local proxy
    /// or tunnel have its address. For a proxy on another machine, use
    /// [`proxy_protocol`](ServerConfig::proxy_protocol) if the proxy sends PROXY headers; otherwise
    /// set this field to 0. The maximum is 1,000; a larger number has the same effect.
    pub ban_after: u32,
    /// Time for which a failed login counts towards a ban (default: 10 min); see
    /// [`ban_after`](Self::ban_after).
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
    /// Ports to listen on (default: `None`, the system's ephemeral ports). A client (an IPv4
    /// address or an IPv6 /64) can hold up to half of the configured ports at a time, or one if
    /// only one is configured.
    pub ports: Option<PortRanges>,
    /// Address in PASV replies (227), for a server behind a NAT (default: `None`, the address that
    /// the client connected to). Clients on the loopback interface do not get this address.
    pub address: Option<PassiveAddress>,
    /// Networks of clients, and the address in PASV replies (227) for these clients, instead of
    /// [`address`](Self::address) (default: empty). The first entry that contains the client
    /// applies.
    pub overrides: Vec<(Vec<Network>, PassiveAddress)>,
}

ftp_proto::settings! {
    ServerConfig {
        banner: impl Into<String> = "Service ready".to_owned(),
        timeouts: Timeouts = Timeouts::default(),
        limits: Limits = Limits::default(),
        logins: LoginPolicy = LoginPolicy::default(),
        allow: impl Into<Vec<Network>> = Vec::new(),
        deny: impl Into<Vec<Network>> = Vec::new(),
        proxy_protocol: impl Into<Vec<Network>> = Vec::new(),
        hosts: impl Into<Vec<VirtualHost>> = Vec::new(),
        passive: PassivePolicy = PassivePolicy::default(),
        active: bool = true,
        active_source_port: bool = false,
        fxp_networks: impl Into<Vec<Network>> = Vec::new(),
        overwrite: bool = true,
        deny_names: impl Into<Vec<NamePattern>> = Vec::new(),
        block_mode: bool = true,
        compression: bool = false,
        show_ids: bool = false,
        dash_password: bool = false,
        strict_crlf: bool = false,
    }

    Timeouts {
        login: Duration = Duration::from_secs(60),
        idle: Duration = Duration::from_secs(300),
        data_connect: Duration = Duration::from_secs(30),
        tls_handshake: Duration = Duration::from_secs(10),
        stall: Duration = Duration::from_secs(60),
    }

    Limits {
        sessions: usize = 0,
        per_address: usize = 0,
        per_user: usize = 0,
        buffers: u64 = 64 * 1024 * 1024,
        rate_per_session: u64 = 0,
        rate_per_user: u64 = 0,
        min_free: u64 = 0,
    }

    LoginPolicy {
        failures: u32 = 3,
        delay: Duration = Duration::from_secs(1),
        ban_after: u32 = 20,
        ban_window: Duration = Duration::from_secs(600),
        ban_for: Duration = Duration::from_secs(600),
    }

    PassivePolicy {
        enabled: bool = true,
        ports: impl Into<Option<PortRanges>> = None,
        address: impl Into<Option<PassiveAddress>> = None,
        overrides: impl Into<Vec<(Vec<Network>, PassiveAddress)>> = Vec::new(),
    }
}

impl ServerConfig {
    pub(crate) fn host(&self, name: &HostName) -> Option<&VirtualHost> {
        self.hosts.iter().find(|host| host.name == *name)
    }
}

/// Address of this server in PASV replies (227).
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum PassiveAddress {
    /// A fixed IPv4 address.
    Address(Ipv4Addr),
    /// The IPv4 address of this host name. A separate thread looks up all such names at startup,
    /// then every 10 s until it has found each name once, and then every 5 min. If a lookup fails,
    /// the last address stays in use. Before the first success, the reply has the address that the
    /// client connected to.
    Name(String),
}

impl PassiveAddress {
    /// Reads an IPv4 address or a host name.
    ///
    /// # Errors
    ///
    /// Returns `Unsupported` if the input is an IPv6 address, which a 227 reply cannot carry.
    /// Returns `UnexpectedByte` if the input contains a byte that no host name has. Returns
    /// `BadNumber` if the input is not an IPv4 address and contains no letter.
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

/// A pattern for names of files and directories.
///
/// The syntax is that of [`Pattern`]: `*`, `?`, `[a-z]`, `[!a-z]` and `{a,b}`; a `\` before such a
/// character makes it match itself. The case of ASCII letters does not matter, because other programs that use the files, such as
/// web servers, often ignore case.
///
/// ```
/// use ftp_server::NamePattern;
///
/// let pattern = NamePattern::parse(b"*.php")?;
/// assert!(pattern.matches(b"index.PHP"));
/// assert!(!pattern.matches(b"index.php.txt"));
/// # Ok::<(), ftp_proto::ParseError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NamePattern {
    text: Vec<u8>,
    pattern: Pattern,
}

impl NamePattern {
    /// Reads a pattern for one name, without a directory part.
    ///
    /// # Errors
    ///
    /// Returns `UnexpectedEnd` if the pattern is empty, and `UnexpectedByte` if it contains `/`.
    /// Returns `LineBreak` if it contains CR, LF or NUL, which a name in a command cannot contain.
    /// Returns the errors of [`Pattern::parse_name`].
    pub fn parse(input: &[u8]) -> Result<Self, ParseError> {
        let error = |at, kind| ParseError::new("pattern", at, kind);
        if input.is_empty() {
            return Err(error(0, ParseErrorKind::UnexpectedEnd));
        }
        if let Some((at, byte)) =
            input.iter().enumerate().find(|(_, byte)| b"/\r\n\0".contains(byte))
        {
            let slash = *byte == b'/';
            let kind =
                if slash { ParseErrorKind::UnexpectedByte } else { ParseErrorKind::LineBreak };
            return Err(error(at, kind));
        }
        let pattern = Pattern::parse_name(input)?.ignoring_case();
        Ok(Self { text: input.to_vec(), pattern })
    }

    /// Returns whether the pattern matches `name`, which has no directory part.
    #[must_use]
    pub fn matches(&self, name: &[u8]) -> bool {
        self.pattern.matches(name)
    }
}

/// Writes the original text, with U+FFFD in place of bytes that are not UTF-8.
impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.text))
    }
}

pub(crate) fn is_denied(patterns: &[NamePattern], name: &[u8]) -> bool {
    patterns.iter().any(|denied| denied.matches(name))
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

    #[test]
    fn name_patterns_ignore_ascii_case_fs_06() {
        for (pattern, yes, no) in [
            ("*.exe", &["a.exe", "A.EXE", ".exe", "a b.Exe"][..], &["a.exe.txt", "aexe"][..]),
            (".ht*", &[".htaccess", ".HTpasswd"], &["a.htaccess", "ht"]),
            ("Thumbs.db", &["Thumbs.db", "THUMBS.DB"], &["Thumbs.db1", "Thumbs_db", ""]),
            ("[A-C]?", &["ax", "CX"], &["d1", "a", "abc"]),
            ("core", &["core", "CORE"], &["core.1"]),
            ("\u{e9}*", &["\u{e9}a"], &["\u{c9}a"]),
            ("*.{exe,C[ou]m}", &["a.EXE", "a.com", "a.cUM"], &["a.bat"]),
            ("\\[[[:upper:]]", &["[a", "[A"], &["a", "[1"]),
        ] {
            let pattern = NamePattern::parse(pattern.as_bytes()).unwrap();
            for name in yes {
                assert!(pattern.matches(name.as_bytes()), "{pattern} {name}");
            }
            for name in no {
                assert!(!pattern.matches(name.as_bytes()), "{pattern} {name}");
            }
        }
    }

    #[test]
    fn name_patterns_reject_slashes_line_breaks_and_invalid_text() {
        use ParseErrorKind::{LineBreak, UnexpectedByte, UnexpectedEnd};
        for (text, at, kind) in [
            ("", 0, UnexpectedEnd),
            ("a/b", 1, UnexpectedByte),
            ("a\n", 1, LineBreak),
            ("\0", 0, LineBreak),
            ("a[b", 1, UnexpectedEnd),
            ("{b}", 0, ParseErrorKind::Unsupported),
        ] {
            let want = ParseError::new("pattern", at, kind);
            assert_eq!(NamePattern::parse(text.as_bytes()), Err(want), "{text:?}");
        }
    }
}
