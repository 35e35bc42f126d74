//! What can be set about a server.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ftp_proto::{HostName, Network, ParseError, ParseErrorKind, PortRanges};

use crate::limits;
use crate::name_pattern::NamePattern;
use crate::storage::{ConfinementPolicy, PartialPolicy, SyncPolicy};

/// The settings of a server that do not concern its users. `Default` gives what is
/// said at each field.
///
/// ```
/// use std::time::Duration;
///
/// use ftp_server::ServerConfig;
///
/// let config = ServerConfig { idle: Duration::from_secs(60), ..ServerConfig::default() };
/// assert_eq!(config.per_address, 0);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerConfig {
    /// The text of the greeting, behind `220 `. `Service ready`: it names neither product nor
    /// version.
    pub banner: String,
    /// How long a session may be connected without being logged in; an authenticator that takes
    /// longer is not waited for. 60 s.
    pub login: Duration,
    /// How long a session may go without a command. 5 min (RFC 1123 §4.1.3.2).
    pub idle: Duration,
    /// How long a data connection may take to come about once 150 was sent. 30 s.
    pub data_connect: Duration,
    /// How long a TLS handshake may take in all, on the control connection and on each data
    /// connection. 10 s.
    pub tls_handshake: Duration,
    /// How long a transfer may go without one byte moved. 60 s.
    pub stall: Duration,
    /// How many sessions there may be. 0: as many as the system's limits allow, found at start.
    pub sessions: usize,
    /// How many connections one IPv4 address, or one /64 of IPv6, may have; loopback may have
    /// any number. 0: any number.
    pub per_address: usize,
    /// How many sessions one user may have. 0: any number.
    pub per_user: usize,
    /// How many bytes the large buffers of all transfers may have together. Where none is left, a
    /// transfer makes do with what it has of its own, which is 64 KiB at most. 64 MiB.
    pub buffers: u64,
    /// After how many failed logins a connection is closed. 3.
    pub login_failures: u32,
    /// How long after its `PASS` the first failed login of a connection is answered; the second is
    /// after twice as long, all further ones after four times. Zero: at once. 1 s (RFC 2577 §5).
    pub login_delay: Duration,
    /// How many logins from one IPv4 address, or one /64 of IPv6, may fail within
    /// [`ban_window`](Self::ban_window); then new connections, and logins over those that exist, get 421 for as
    /// long as [`ban_for`](Self::ban_for). Who is logged in goes on, and no user is locked out.
    /// Loopback is exempt, since a proxy or tunnel lends its address to everybody; behind one on
    /// another machine this is better off. At most
    /// [`limits::BAN_AFTER`](crate::limits::BAN_AFTER), for [`BAN_HOSTS`](crate::limits::BAN_HOSTS)
    /// hosts at a time; 0: any number. 20.
    pub ban_after: u32,
    /// See [`ban_after`](Self::ban_after). 10 min.
    pub ban_window: Duration,
    /// See [`ban_after`](Self::ban_after). Zero: nobody is banned. 10 min.
    pub ban_for: Duration,
    /// Who may connect: these networks and nobody else. None: everybody.
    pub allow: Vec<Network>,
    /// Who may not, [`allow`](Self::allow) notwithstanding. Who may not gets a 421 in place of the
    /// greeting, which costs no thread. None.
    pub deny: Vec<Network>,
    /// How many bytes of files and listings a session may move in a second, to and from the server
    /// taken together. 0: any number.
    pub rate_per_session: u64,
    /// The same for all sessions of one user together. 0: any number.
    pub rate_per_user: u64,
    /// The virtual hosts that `HOST` may choose (RFC 7151). Which host was chosen the
    /// authenticator is told. None: any name is taken.
    pub hosts: Vec<HostName>,
    /// Whether `PASV` and `EPSV` are served. `true`.
    pub passive: bool,
    /// The ports that passive data connections use; one address holds at most half of them at a
    /// time. `None`: those the system chooses.
    pub passive_ports: Option<PortRanges>,
    /// What 227 announces in place of the address that the control connection came to, where a
    /// NAT stands before the server. It holds for every client that is not on this machine.
    pub passive_address: Option<PassiveAddress>,
    /// What 227 announces to clients of certain networks, whatever holds for others; the first
    /// that fits counts.
    pub passive_overrides: Vec<PassiveOverride>,
    /// Whether `PORT` and `EPRT` are served. `true` (RFC 1123 §4.1.2.13).
    pub active: bool,
    /// Whether active data connections come from the port below that of the control connection,
    /// 20 for 21 (RFC 959 §5.2), where it can be had: those below 1024 need a privilege. `false`.
    pub active_source_port: bool,
    /// Where data connections of users with the right [`FXP`](crate::Rights::FXP) may go to and
    /// come from, apart from their own host. None.
    pub fxp_networks: Vec<Network>,
    /// Whether `STOR` and `RNTO` may replace a file, or a part of it behind `REST`; `APPE` may
    /// add to one in any case. `true`.
    pub overwrite: bool,
    /// Names that no command makes, by whatever verb: `STOR`, `STOU` and `APPE` are refused, also
    /// where a file has the name already, and so are `MKD` and `RNTO`. What is there can be read,
    /// renamed and removed. Where a symbolic link leads is not looked at: nobody makes one by FTP.
    /// None.
    pub deny_names: Vec<NamePattern>,
    /// Whether `LIST` shows the owner and the group of each entry, by number, in place of `ftp`.
    /// `false`.
    pub show_ids: bool,
    /// Whether a `-` in front of a password is taken away: an old custom to ask for short replies,
    /// which those of this server are anyway. `false`: it is a part of the password.
    pub dash_password: bool,
    /// Whether a LF alone in a command line is refused, with 500, in place of ending it. `false`:
    /// scripts and devices send it.
    pub strict_crlf: bool,
    /// How many bytes of a storage that tells its free space are kept free: an upload or `MKD` does
    /// not begin where less is left, an upload that runs ends with 452 when it comes to that, `ALLO`
    /// refuses to, and `AVBL` leaves them out. What is kept of cut uploads is given up before that,
    /// the oldest first. Each upload looks again after 8 MiB at most, so that each of many at a time
    /// may take that much more. An inode that is free counts as 4 KiB at most, where a file system
    /// has a fixed number of them. To give a file another name needs no room. 0.
    pub min_free: u64,
    /// What of an upload is on disk when 226 is sent, and of what `RNTO`, `MKD`, `RMD` and `DELE` do
    /// when they are answered, below a root directory.
    /// [`SyncPolicy::FileAndDirectory`].
    pub sync: SyncPolicy,
    /// How far the kernel has to keep sessions beneath a root directory.
    /// [`ConfinementPolicy::BestEffort`].
    pub confine: ConfinementPolicy,
    /// Whether a file below a root directory that has more than one name is neither read nor added
    /// to nor changed otherwise: 550. `false`.
    pub deny_hardlinks: bool,
    /// What becomes of a new file whose upload was cut, below a root directory.
    /// [`PartialPolicy::Resume`].
    pub partial: PartialPolicy,
    /// How many cut uploads of one user are kept, the youngest; 0: any number. 100.
    pub partial_files: usize,
    /// How many bytes are kept of all cut uploads of one user, of the youngest; a larger one is not
    /// kept. 0: any number. 10 GiB.
    pub partial_bytes: u64,
    /// The permission bits that what is new does not get, below a root directory. `0o022`.
    pub umask: u32,
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
            login: Duration::from_secs(60),
            idle: Duration::from_secs(300),
            data_connect: Duration::from_secs(30),
            tls_handshake: Duration::from_secs(10),
            stall: Duration::from_secs(60),
            sessions: 0,
            per_address: 0,
            per_user: 0,
            buffers: 64 * 1024 * 1024,
            login_failures: 3,
            login_delay: Duration::from_secs(1),
            ban_after: 20,
            ban_window: Duration::from_secs(600),
            ban_for: Duration::from_secs(600),
            allow: Vec::new(),
            deny: Vec::new(),
            rate_per_session: 0,
            rate_per_user: 0,
            hosts: Vec::new(),
            passive: true,
            passive_ports: None,
            passive_address: None,
            passive_overrides: Vec::new(),
            active: true,
            active_source_port: false,
            fxp_networks: Vec::new(),
            overwrite: true,
            deny_names: Vec::new(),
            show_ids: false,
            dash_password: false,
            strict_crlf: false,
            min_free: 0,
            deny_hardlinks: false,
            sync: SyncPolicy::FileAndDirectory,
            confine: ConfinementPolicy::BestEffort,
            partial: PartialPolicy::Resume,
            partial_files: limits::PARTIAL_FILES,
            partial_bytes: limits::PARTIAL_BYTES,
            umask: 0o022,
        }
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
