//! The addresses of data connections: the host-port of `PORT` and of the 227 reply (RFC 959 §4.1.2,
//! §5.3.2; RFC 1123 §4.1.2.6), then what RFC 2428 adds: the net-addr of `EPRT` and of the 229 reply,
//! network protocols by number, the list of a 522 reply, and the argument of `EPSV`.
//!
//! A server may announce a host other than that of the control connection: by mistake behind a NAT,
//! or to attack the client (curl's CVE-2020-8284). The choice of the host depends on the classes of
//! both addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};

use crate::{ParseError, ParseErrorKind, bytes};

/// An IPv4 address and TCP port, written `h1,h2,h3,h4,p1,p2` (RFC 959 §4.1.2 and §5.3.2).
///
/// The six fields are decimal octets, high order first; the port is `p1 * 256 + p2`.
///
/// ```
/// use ftp_proto::HostPort;
///
/// let tuple = HostPort::parse(b"10,0,0,5,195,84")?;
/// assert_eq!(tuple.port, 195 * 256 + 84);
/// assert_eq!(tuple.to_string(), "10,0,0,5,195,84");
/// # Ok::<(), ftp_proto::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct HostPort {
    /// The host, `h1.h2.h3.h4`.
    pub host: Ipv4Addr,
    /// The port, 0 to 65535. The caller decides whether to accept 0 or a port below 1024.
    pub port: u16,
}

impl HostPort {
    /// Parses one tuple that fills all of `input`, without spaces or brackets.
    ///
    /// # Errors
    ///
    /// - `UnexpectedEnd` for fewer than six fields.
    /// - `UnexpectedByte` for more than six fields.
    /// - `BadNumber` for a field that is not a number from 0 to 255 in 1 to 3 digits; `at` is the
    ///   start of that field.
    pub fn parse(input: &[u8]) -> Result<Self, ParseError> {
        let error = |at, kind| ParseError::new("host-port", at, kind);
        let mut fields = input.split(|&byte| byte == b',');
        let mut octets = [0; 6];
        let mut at = 0;
        for octet in &mut octets {
            let field = fields.next().ok_or(error(at, ParseErrorKind::UnexpectedEnd))?;
            *octet = bytes::octet(field).ok_or(error(at, ParseErrorKind::BadNumber))?;
            at += field.len() + 1;
        }
        if fields.next().is_some() {
            return Err(error(at, ParseErrorKind::UnexpectedByte));
        }
        Ok(Self::from_octets(octets))
    }

    /// Finds the tuple in the text of a 227 reply.
    ///
    /// The tuple is the start of the first run of six or more numbers with commas between them.
    /// Brackets are optional, since servers differ in the surrounding text (RFC 1123 §4.1.2.6). If
    /// there is no such run, a second search allows SP after the commas.
    ///
    /// ```
    /// use ftp_proto::HostPort;
    ///
    /// let tuple = HostPort::find(b"Entering Passive Mode (10,0,0,5,195,84).")?;
    /// assert_eq!(tuple, HostPort::find(b"Entering Passive Mode 10,0,0,5,195,84")?);
    /// # Ok::<(), ftp_proto::ParseError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - `UnexpectedEnd` if there is no run of at least six numbers.
    /// - `BadNumber` if a number is above 255 or longer than three digits, or the port is 0.
    pub fn find(text: &[u8]) -> Result<Self, ParseError> {
        match Self::find_with(text, false) {
            Err(ParseError { kind: ParseErrorKind::UnexpectedEnd, .. }) => {
                Self::find_with(text, true)
            }
            found => found,
        }
    }

    fn find_with(text: &[u8], blanks: bool) -> Result<Self, ParseError> {
        let error = |at, kind| ParseError::new("host-port", at, kind);
        let mut rest = text;
        loop {
            let Some(skipped) = rest.iter().position(u8::is_ascii_digit) else {
                return Err(error(text.len(), ParseErrorKind::UnexpectedEnd));
            };
            let at = text.len() - rest.len() + skipped;
            let (_, from_digit) = rest.split_at(skipped);
            let mut before = 0;
            let belongs = |byte: &&u8| {
                let last = std::mem::replace(&mut before, **byte);
                byte.is_ascii_digit()
                    || **byte == b','
                    || blanks && **byte == b' ' && matches!(last, b',' | b' ')
            };
            let length = from_digit.iter().take_while(belongs).count();
            let (run, after) = from_digit.split_at(length);
            // The numbers may be followed by one more comma.
            let run = run.trim_ascii_end();
            let run = run.strip_suffix(b",").unwrap_or(run);
            let mut fields = run.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
            let is_whole = fields.clone().all(|field| !field.is_empty());
            if is_whole && fields.clone().count() >= 6 {
                let mut octets = [0; 6];
                for (octet, field) in octets.iter_mut().zip(&mut fields) {
                    *octet = bytes::octet(field).ok_or(error(at, ParseErrorKind::BadNumber))?;
                }
                return match Self::from_octets(octets) {
                    Self { port: 0, .. } => Err(error(at, ParseErrorKind::BadNumber)),
                    found => Ok(found),
                };
            }
            rest = after;
        }
    }

    const fn from_octets([h1, h2, h3, h4, p1, p2]: [u8; 6]) -> Self {
        Self { host: Ipv4Addr::new(h1, h2, h3, h4), port: u16::from_be_bytes([p1, p2]) }
    }
}

impl From<SocketAddrV4> for HostPort {
    fn from(address: SocketAddrV4) -> Self {
        Self { host: *address.ip(), port: address.port() }
    }
}

impl From<HostPort> for SocketAddrV4 {
    fn from(tuple: HostPort) -> Self {
        Self::new(tuple.host, tuple.port)
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [h1, h2, h3, h4] = self.host.octets();
        let [p1, p2] = self.port.to_be_bytes();
        write!(f, "{h1},{h2},{h3},{h4},{p1},{p2}")
    }
}

/// An address of either family and a TCP port, written `|2|2001:db8::1|50004|` (RFC 2428 §2). Any
/// byte from 33 to 126 may replace the delimiter `|`.
///
/// ```
/// use ftp_proto::ExtendedAddress;
///
/// let address = ExtendedAddress::parse(b"|1|192.0.2.1|50004|")?;
/// assert_eq!(address.port, 50_004);
/// assert_eq!(ExtendedAddress::parse(b"!1!192.0.2.1!50004!")?, address);
/// # Ok::<(), ftp_proto::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ExtendedAddress {
    /// The address; its variant determines the net-prt.
    pub address: IpAddr,
    /// The port, 0 to 65535. The caller decides whether to accept 0 or a port below 1024.
    pub port: u16,
}

impl ExtendedAddress {
    /// Parses the argument of `EPRT`.
    ///
    /// # Errors
    ///
    /// - `UnsupportedProtocol` for a net-prt that is a number other than 1 and 2.
    /// - `UnexpectedEnd` if the last delimiter or a field is missing.
    /// - `UnexpectedByte` for a delimiter outside 33 to 126, or bytes after the last delimiter.
    /// - `BadNumber` for a net-prt that is not a number, or a port that is not a number from 0 to
    ///   65535.
    /// - `BadNumber` for an address that has a scope or is not of the family that net-prt names.
    pub fn parse(input: &[u8]) -> Result<Self, ParseError> {
        let error = |at, kind| ParseError::new("net-addr", at, kind);
        let end = error(input.len(), ParseErrorKind::UnexpectedEnd);
        let (&delimiter, rest) = input.split_first().ok_or(end)?;
        if !matches!(delimiter, 33..=126) {
            return Err(error(0, ParseErrorKind::UnexpectedByte));
        }
        let mut fields = rest.split(|&byte| byte == delimiter);
        let mut field = || fields.next().ok_or(end);
        let family = field()?;
        let address = field()?;
        let port = field()?;
        let last = field()?;
        let address_at = family.len() + 2;
        let port_at = address_at + address.len() + 1;
        if !last.is_empty() || fields.next().is_some() {
            return Err(error(port_at + port.len() + 1, ParseErrorKind::UnexpectedByte));
        }
        let family = NetworkProtocol::read(family, 1)?;
        let text = std::str::from_utf8(address).ok();
        let address = text.and_then(|text| match family {
            NetworkProtocol::Ipv4 => text.parse::<Ipv4Addr>().map(IpAddr::V4).ok(),
            NetworkProtocol::Ipv6 => text.parse::<Ipv6Addr>().map(IpAddr::V6).ok(),
        });
        let address = address.ok_or(error(address_at, ParseErrorKind::BadNumber))?;
        let port = bytes::decimal(port).and_then(|port| port.try_into().ok());
        let port = port.ok_or(error(port_at, ParseErrorKind::BadNumber))?;
        Ok(Self { address, port })
    }

    /// Finds the port in the text of a 229 reply, such as `... (|||50004|)`.
    ///
    /// The port is in the first valid tuple after a `(`. A tuple consists of three fields, with the
    /// same delimiter before, between and after them. RFC 2428 §3 requires the first two to be
    /// empty; the third is the port. Other text in brackets may come first, as in `Mode (EPSV)
    /// (|||50004|)`. The first two fields are ignored even if a server fills them: the data
    /// connection goes to the host of the control connection.
    ///
    /// ```
    /// use ftp_proto::ExtendedAddress;
    ///
    /// let port = ExtendedAddress::find_port(b"Entering Extended Passive Mode (|||50004|)")?;
    /// assert_eq!(port, 50_004);
    /// # Ok::<(), ftp_proto::ParseError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If no tuple is valid, the first `(` determines the error:
    ///
    /// - `UnexpectedEnd` if there is no `(`, or if a field or its delimiter is missing.
    /// - `UnexpectedByte` for a delimiter outside 33 to 126.
    /// - `BadNumber` for a port that is not a number from 1 to 65535.
    pub fn find_port(text: &[u8]) -> Result<u16, ParseError> {
        Self::find(text).map(|(_, port)| port)
    }

    /// Returns the offset (after the `(`) and the port of the first valid tuple in a 229 reply. If
    /// no tuple is valid, returns the error of the first.
    fn find(text: &[u8]) -> Result<(usize, u16), ParseError> {
        let end = ParseError::new("229 reply", text.len(), ParseErrorKind::UnexpectedEnd);
        let mut wrong = None;
        for (at, _) in text.iter().enumerate().filter(|&(_, &byte)| byte == b'(') {
            match Self::port_at(text, at + 1, end) {
                Ok(port) => return Ok((at + 1, port)),
                Err(error) => wrong = wrong.or(Some(error)),
            }
        }
        Err(wrong.unwrap_or(end))
    }

    fn port_at(text: &[u8], at: usize, end: ParseError) -> Result<u16, ParseError> {
        let error = |kind| ParseError::new("229 reply", at, kind);
        let (&delimiter, rest) = text.get(at..).and_then(<[u8]>::split_first).ok_or(end)?;
        if !matches!(delimiter, 33..=126) {
            return Err(error(ParseErrorKind::UnexpectedByte));
        }
        let mut fields = rest.split(|&byte| byte == delimiter);
        let mut field = || fields.next().ok_or(end);
        let _protocol = field()?;
        let _address = field()?;
        let port = field()?;
        // A delimiter must end the port too.
        let _after = field()?;
        match bytes::decimal(port).and_then(|port| u16::try_from(port).ok()) {
            Some(port) if port != 0 => Ok(port),
            _ => Err(error(ParseErrorKind::BadNumber)),
        }
    }

    /// Returns the network protocol in the first field of the first valid tuple in a 229 reply.
    /// Returns `None` if there is no valid tuple, or if the field is empty or names no known
    /// protocol.
    ///
    /// RFC 2428 §3 requires the field to be empty. A server that fills it names the protocol on
    /// which it listens.
    ///
    /// ```
    /// use ftp_proto::{ExtendedAddress, NetworkProtocol};
    ///
    /// assert_eq!(ExtendedAddress::find_protocol(b"ok (|||50004|)"), None);
    /// let named = ExtendedAddress::find_protocol(b"ok (|2||50004|)");
    /// assert_eq!(named, Some(NetworkProtocol::Ipv6));
    /// ```
    #[must_use]
    pub fn find_protocol(text: &[u8]) -> Option<NetworkProtocol> {
        let (at, _) = Self::find(text).ok()?;
        let (&delimiter, rest) = text.get(at..)?.split_first()?;
        NetworkProtocol::read(rest.split(|&byte| byte == delimiter).next()?, at).ok()
    }
}

impl From<SocketAddr> for ExtendedAddress {
    /// Converts the address and the port, without the flow label and scope of an IPv6 address,
    /// which FTP cannot carry.
    fn from(address: SocketAddr) -> Self {
        Self { address: address.ip(), port: address.port() }
    }
}

impl fmt::Display for ExtendedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = match self.address {
            IpAddr::V4(_) => NetworkProtocol::Ipv4,
            IpAddr::V6(_) => NetworkProtocol::Ipv6,
        };
        write!(f, "|{}|{}|{}|", family.number(), self.address, self.port)
    }
}

/// A network protocol, identified by its address family number (RFC 2428 §2).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum NetworkProtocol {
    /// Number 1.
    Ipv4,
    /// Number 2.
    Ipv6,
}

impl NetworkProtocol {
    /// Returns the protocol of an address; an IPv4-mapped IPv6 address counts as IPv4, since its
    /// packets are IPv4.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(_) => Self::Ipv4,
            IpAddr::V6(_) => Self::Ipv6,
        }
    }

    /// Returns the address family number, 1 or 2.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Ipv4 => 1,
            Self::Ipv6 => 2,
        }
    }

    /// Parses the number at byte `at` of the input.
    fn read(digits: &[u8], at: usize) -> Result<Self, ParseError> {
        match bytes::decimal(digits) {
            Some(1) => Ok(Self::Ipv4),
            Some(2) => Ok(Self::Ipv6),
            _ if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => {
                Err(ParseError::new("net-prt", at, ParseErrorKind::UnsupportedProtocol))
            }
            _ => Err(ParseError::new("net-prt", at, ParseErrorKind::BadNumber)),
        }
    }
}

/// The network protocols that a 522 reply lists as supported (RFC 2428 §2).
///
/// ```
/// use ftp_proto::{NetworkProtocol, NetworkProtocols};
///
/// let text = b"Network protocol not supported, use (1,2)";
/// let usable = NetworkProtocols::find(text).expect("there is a list");
/// assert!(usable.contains(NetworkProtocol::Ipv6));
/// assert_eq!(NetworkProtocols::find(b"Network protocol not supported"), None);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct NetworkProtocols {
    /// Whether the list has number 1.
    pub ipv4: bool,
    /// Whether the list has number 2.
    pub ipv6: bool,
}

impl NetworkProtocols {
    /// Finds the list in the text of a 522 reply: the first brackets that contain only numbers
    /// separated by commas. Ignores SP around the numbers.
    ///
    /// Numbers other than 1 and 2 are skipped. Returns `None` if there is no such list; any
    /// protocol may then work.
    #[must_use]
    pub fn find(text: &[u8]) -> Option<Self> {
        let lists = text.split(|&byte| byte == b'(').skip(1);
        lists
            .filter_map(|rest| rest.split(|&byte| byte == b')').next().map(|list| (list, rest)))
            .filter(|(list, rest)| list.len() < rest.len())
            .find_map(|(list, _)| Self::read(list))
    }

    fn read(list: &[u8]) -> Option<Self> {
        let mut found = Self::default();
        for number in list.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            if number.is_empty() || !number.iter().all(u8::is_ascii_digit) {
                return None;
            }
            match bytes::decimal(number) {
                Some(1) => found.ipv4 = true,
                Some(2) => found.ipv6 = true,
                _ => {}
            }
        }
        Some(found)
    }

    /// Returns whether a protocol is in the list.
    #[must_use]
    pub const fn contains(self, protocol: NetworkProtocol) -> bool {
        match protocol {
            NetworkProtocol::Ipv4 => self.ipv4,
            NetworkProtocol::Ipv6 => self.ipv6,
        }
    }
}

impl fmt::Display for NetworkProtocols {
    /// Writes the list as in a 522 reply, with brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.ipv4, self.ipv6) {
            (true, true) => "(1,2)",
            (true, false) => "(1)",
            (false, true) => "(2)",
            (false, false) => "()",
        })
    }
}

/// The argument of `EPSV` (RFC 2428 §3).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum EpsvArgument {
    /// No argument: listen with the protocol of the control connection.
    Default,
    /// Listen with this protocol.
    Protocol(NetworkProtocol),
    /// `ALL`: the client promises to set up all data connections with `EPSV`.
    All,
}

impl EpsvArgument {
    /// Parses the argument of `EPSV`; empty input is [`EpsvArgument::Default`].
    ///
    /// # Errors
    ///
    /// Returns `UnsupportedProtocol` for a number other than 1 and 2, and `UnknownWord` for other
    /// text.
    pub fn parse(input: &[u8]) -> Result<Self, ParseError> {
        if input.is_empty() {
            Ok(Self::Default)
        } else if input.eq_ignore_ascii_case(b"ALL") {
            Ok(Self::All)
        } else if input.iter().all(u8::is_ascii_digit) {
            NetworkProtocol::read(input, 0).map(Self::Protocol)
        } else {
            Err(ParseError::new("EPSV argument", 0, ParseErrorKind::UnknownWord))
        }
    }
}

/// How a client uses the host in a 227 reply.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum AddressRule {
    /// Always use the host of the control connection. An attacker may have chosen the announced
    /// host (CVE-2020-8284).
    #[default]
    Peer,
    /// Use the announced host unless it cannot be meant for this client.
    ///
    /// The announced host is rejected if its address is unspecified or multicast, or if only the
    /// host of the control connection is public. A loopback or link-local announced host is
    /// rejected if the host of the control connection is of another class. Otherwise a server could
    /// direct a client to the client's own services, or to cloud metadata at 169.254.169.254.
    Smart,
    /// Always use the announced host, even if it is not plausible.
    Reply,
}

/// The chosen host, and the reason.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct ChosenHost {
    /// The host to connect to.
    pub host: IpAddr,
    /// The reason.
    pub reason: HostReason,
}

/// Why a host was chosen.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum HostReason {
    /// The announced host is the host of the control connection.
    Same,
    /// The rule demands the host of the control connection.
    PeerRule,
    /// The rule demands the announced host.
    ReplyRule,
    /// There is no reason to reject the announced host.
    Plausible,
    /// The announced host is of this class. Either the class is unspecified or multicast, or only
    /// the host of the control connection is public.
    Unreachable(AddressClass),
    /// The announced host is of this class, loopback or link-local, and the host of the control
    /// connection is of another class.
    LocalOnly(AddressClass),
}

impl AddressRule {
    /// Chooses between the host that a reply announced and that of the control connection.
    ///
    /// ```
    /// use ftp_proto::{AddressClass, AddressRule, HostReason};
    ///
    /// // A server behind a NAT announces its internal address.
    /// let inside = [10, 0, 0, 5].into();
    /// let outside = [203, 0, 113, 7].into();
    /// let chosen = AddressRule::Smart.choose(inside, outside);
    /// assert_eq!(chosen.host, outside);
    /// assert_eq!(chosen.reason, HostReason::Unreachable(AddressClass::Private));
    /// assert_eq!(chosen.reason.to_string(), "private, but the server's address is public");
    /// ```
    #[must_use]
    pub fn choose(self, announced: IpAddr, peer: IpAddr) -> ChosenHost {
        let announced = announced.to_canonical();
        let peer = peer.to_canonical();
        let (host, reason) = match (self, AddressClass::of(announced)) {
            _ if announced == peer => (peer, HostReason::Same),
            (Self::Peer, _) => (peer, HostReason::PeerRule),
            (Self::Reply, _) => (announced, HostReason::ReplyRule),
            (Self::Smart, class @ (AddressClass::Unspecified | AddressClass::Multicast)) => {
                (peer, HostReason::Unreachable(class))
            }
            (Self::Smart, AddressClass::Public) => (announced, HostReason::Plausible),
            (Self::Smart, class) if AddressClass::of(peer) == AddressClass::Public => {
                (peer, HostReason::Unreachable(class))
            }
            (Self::Smart, class @ (AddressClass::Loopback | AddressClass::LinkLocal))
                if AddressClass::of(peer) != class =>
            {
                (peer, HostReason::LocalOnly(class))
            }
            (Self::Smart, _) => (announced, HostReason::Plausible),
        };
        ChosenHost { host, reason }
    }
}

impl fmt::Display for HostReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same => f.write_str("the host of the control connection"),
            Self::PeerRule => f.write_str("the host of the control connection is always used"),
            Self::ReplyRule => f.write_str("the announced host is always used"),
            Self::Plausible => f.write_str("the announced host is plausible"),
            Self::Unreachable(class @ (AddressClass::Unspecified | AddressClass::Multicast)) => {
                write!(f, "{class}, which is not a host")
            }
            Self::Unreachable(class) => write!(f, "{class}, but the server's address is public"),
            Self::LocalOnly(class) => write!(f, "{class}, but the server's address is not"),
        }
    }
}

/// The range from which an address can be reached.
///
/// An IPv4-mapped IPv6 address has the class of its IPv4 address.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum AddressClass {
    /// Reachable from anywhere: an address of no other class.
    Public,
    /// Reachable within one site: 10/8, 172.16/12, 192.168/16 (RFC 1918), fc00::/7 (RFC 4193).
    Private,
    /// Reachable within one provider's network: 100.64/10, for carrier-grade NAT (RFC 6598).
    Shared,
    /// Reachable from the same machine: 127/8, ::1.
    Loopback,
    /// Reachable on the same link: 169.254/16, fe80::/10 (RFC 3927, RFC 4291).
    LinkLocal,
    /// Not a host: 0/8, ::.
    Unspecified,
    /// Many hosts: 224/4, ff00::/8, and the IPv4 broadcast address.
    Multicast,
}

impl AddressClass {
    /// Returns the class of an address.
    ///
    /// ```
    /// use ftp_proto::AddressClass;
    ///
    /// assert_eq!(AddressClass::of([10, 0, 0, 5].into()), AddressClass::Private);
    /// assert_eq!(AddressClass::of([100, 64, 0, 1].into()), AddressClass::Shared);
    /// assert_eq!(AddressClass::of([203, 0, 113, 7].into()), AddressClass::Public);
    /// ```
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::of_ipv4(address),
            IpAddr::V6(address) => Self::of_ipv6(address),
        }
    }

    const fn of_ipv4(address: Ipv4Addr) -> Self {
        match address.octets() {
            [0, ..] => Self::Unspecified,
            [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Self::Private,
            [100, 64..=127, ..] => Self::Shared,
            [127, ..] => Self::Loopback,
            [169, 254, ..] => Self::LinkLocal,
            [224..=239, ..] | [255, 255, 255, 255] => Self::Multicast,
            _ => Self::Public,
        }
    }

    const fn of_ipv6(address: Ipv6Addr) -> Self {
        if address.is_unspecified() {
            Self::Unspecified
        } else if address.is_loopback() {
            Self::Loopback
        } else if address.is_multicast() {
            Self::Multicast
        } else if address.is_unicast_link_local() {
            Self::LinkLocal
        } else if address.is_unique_local() {
            Self::Private
        } else {
            Self::Public
        }
    }
}

impl fmt::Display for AddressClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "public",
            Self::Private => "private",
            Self::Shared => "shared",
            Self::Loopback => "loopback",
            Self::LinkLocal => "link-local",
            Self::Unspecified => "unspecified",
            Self::Multicast => "multicast",
        })
    }
}

#[cfg(test)]
mod tests;
