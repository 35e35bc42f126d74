//! The settings of a server.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ftp_proto::{HostName, Network, ParseError, ParseErrorKind, PortRanges};

use crate::name_pattern::NamePattern;

/// The settings of a server that do not concern its users. [`Default`] gives the values named at
/// each field; fields are added in later versions.
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
    /// Text of the greeting, after `220 `. `Service ready`: it names neither product nor version.
    pub banner: String,
    /// How long the server waits for what.
    pub timeouts: Timeouts,
    /// How much of what there may be.
    pub limits: Limits,
    /// What failed logins lead to.
    pub logins: LoginPolicy,
    /// The networks that may connect. Empty: all.
    pub allow: Vec<Network>,
    /// The networks that may not, [`allow`](Self::allow) notwithstanding. Their clients get 421 in
    /// place of the greeting, which costs no thread. Empty.
    pub deny: Vec<Network>,
    /// The virtual hosts that `HOST` may choose (RFC 7151). The authenticator is told which one was
    /// chosen. Empty: any name is accepted.
    pub hosts: Vec<HostName>,
    /// Data connections to the server.
    pub passive: PassivePolicy,
    /// Data connections from the server.
    pub active: ActivePolicy,
    /// Where data connections of users with the right [`FXP`](crate::Rights::FXP) may go to and
    /// come from, apart from their own host. Empty.
    pub fxp_networks: Vec<Network>,
    /// Whether `STOR` and `RNTO` may replace a file, or a part of it after `REST`; `APPE` may add
    /// to one in any case. `true`.
    pub overwrite: bool,
    /// Names that no command may make: `STOR`, `STOU` and `APPE` are refused, also for an existing
    /// file of that name, and so are `MKD` and `RNTO`. Existing files can be read, renamed and
    /// removed. The target of a symbolic link is not compared: FTP cannot make links. Empty.
    pub deny_names: Vec<NamePattern>,
    /// Whether `LIST` shows the owner and the group of each entry, by number, in place of `ftp`.
    /// `false`.
    pub show_ids: bool,
    /// Whether a leading `-` of a password is dropped: an old custom to ask for short replies,
    /// which those of this server are anyway. `false`: it is a part of the password.
    pub dash_password: bool,
    /// Whether a command line that ends in LF alone is refused with 500. `false`: scripts and
    /// devices send such lines.
    pub strict_crlf: bool,
}

/// How long the server waits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Timeouts {
    /// How long a session may be connected without being logged in; the server does not wait for
    /// an authenticator that takes longer. 60 s.
    pub login: Duration,
    /// How long a session may go without a command. 5 min (RFC 1123 §4.1.3.2).
    pub idle: Duration,
    /// How long a data connection may take to open after the 150. 30 s.
    pub data_connect: Duration,
    /// How long a TLS handshake may take in all, on the control connection and on each data
    /// connection. 10 s.
    pub tls_handshake: Duration,
    /// How long a transfer may go without one byte moved. 60 s.
    pub stall: Duration,
}

/// How many sessions there may be, and what they may use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Limits {
    /// The most sessions in all. 0: as many as the system's limits allow, found at startup.
    pub sessions: usize,
    /// The most connections of one IPv4 address, or of one /64 of IPv6; loopback may have any
    /// number. 0: any number.
    pub per_address: usize,
    /// The most sessions of one user. 0: any number.
    pub per_user: usize,
    /// The memory of the large buffers of all transfers together, in bytes. When none is left, a
    /// transfer uses its own small buffer of at most 64 KiB. 64 MiB.
    pub buffers: u64,
    /// The most bytes of files and listings that a session may move per second, in both directions
    /// together. 0: any number.
    pub rate_per_session: u64,
    /// The most bytes that all sessions of one user may move per second. 0: any number.
    pub rate_per_user: u64,
    /// How many bytes stay free on a storage that tells its free space: an upload or `MKD` does
    /// not begin below that, a running upload ends there with 452, `ALLO` refuses to go further,
    /// and `AVBL` leaves these bytes out. Before that, kept parts of cut uploads are removed, the
    /// oldest first. Each upload looks again after 8 MiB at most, so parallel uploads can exceed
    /// the limit by that much each. A free inode counts as 4 KiB at most, on a file system with a
    /// fixed number of inodes. A rename needs no space. 0.
    pub min_free: u64,
}

/// What failed logins lead to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct LoginPolicy {
    /// After how many failed logins the server closes a connection. 3.
    pub failures: u32,
    /// How long after its `PASS` the first failed login of a connection is answered; the second
    /// takes twice as long, all further ones four times. Zero: at once. 1 s (RFC 2577 §5).
    pub delay: Duration,
    /// How many logins from one IPv4 address, or one /64 of IPv6, may fail within
    /// [`ban_window`](Self::ban_window); then new connections, and logins over existing ones, get
    /// 421 for [`ban_for`](Self::ban_for). Users who are logged in stay so, and no user is locked
    /// out. Loopback is exempt, since a proxy or tunnel lends its address to all of its clients;
    /// set this to 0 if a proxy runs on another machine. At most
    /// [`limits::BAN_AFTER`](crate::limits::BAN_AFTER); 0: any number. 20.
    pub ban_after: u32,
    /// See [`ban_after`](Self::ban_after). 10 min.
    pub ban_window: Duration,
    /// See [`ban_after`](Self::ban_after). Zero: no host is banned. 10 min.
    pub ban_for: Duration,
}

/// Data connections that clients open (`PASV` and `EPSV`).
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct PassivePolicy {
    /// Whether `PASV` and `EPSV` are served. `true`.
    pub enabled: bool,
    /// The ports to listen on; one address holds at most half of them at a time. `None`: the
    /// system chooses.
    pub ports: Option<PortRanges>,
    /// The address in a 227 in place of the one that the control connection came to, for a server
    /// behind a NAT. It holds for every client that is not on this machine.
    pub address: Option<PassiveAddress>,
    /// The address in a 227 for clients of certain networks, in place of
    /// [`address`](Self::address); the first match counts.
    pub overrides: Vec<PassiveOverride>,
}

/// Data connections that the server opens (`PORT` and `EPRT`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ActivePolicy {
    /// Whether `PORT` and `EPRT` are served. `true` (RFC 1123 §4.1.2.13).
    pub enabled: bool,
    /// Whether connections come from the port below that of the control connection, 20 for 21
    /// (RFC 959 §5.2), where that is available: ports below 1024 need a privilege. `false`.
    pub source_port: bool,
}

impl ServerConfig {
    /// Returns these settings with `change` applied.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}

/// Where clients reach this server: what 227 announces.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum PassiveAddress {
    /// This address.
    Address(Ipv4Addr),
    /// The IPv4 address of this host name, which is looked up at start and every five minutes
    /// from then on, outside of any session. The last one that was found holds while it cannot be
    /// looked up; before one was found, the address of the control connection does.
    Name(String),
}

/// What 227 announces to clients of some networks.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct PassiveOverride {
    /// Where those clients are.
    pub clients: Vec<Network>,
    /// What is announced to them.
    pub address: PassiveAddress,
}

impl PassiveAddress {
    /// Reads an IPv4 address or a host name.
    ///
    /// # Errors
    ///
    /// `Unsupported` for an IPv6 address, which 227 cannot carry; `UnexpectedByte` for what is no
    /// host name, `BadNumber` for numbers that are no address.
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
            hosts: Vec::new(),
            passive: PassivePolicy::default(),
            active: ActivePolicy::default(),
            fxp_networks: Vec::new(),
            overwrite: true,
            deny_names: Vec::new(),
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
