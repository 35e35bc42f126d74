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
mod tests {
    use super::*;
    use ParseErrorKind::{BadNumber, UnexpectedByte, UnexpectedEnd};

    #[test]
    fn parse_accepts_host_ports_cm_42() {
        for (text, host, port) in [
            ("127,0,0,1,0,0", [127, 0, 0, 1], 0),
            ("10,0,0,5,195,84", [10, 0, 0, 5], 50_004),
            ("255,255,255,255,255,255", [255; 4], 65_535),
            ("001,02,3,4,5,6", [1, 2, 3, 4], 1_286),
        ] {
            let want = HostPort { host: host.into(), port };
            assert_eq!(HostPort::parse(text.as_bytes()), Ok(want), "{text}");
        }
    }

    #[test]
    fn parse_rejects_invalid_host_ports_cm_42() {
        for (text, at, kind) in [
            ("", 0, BadNumber),
            ("1,2,3,4,5", 10, UnexpectedEnd),
            ("1,2,3,4,5,6,7", 12, UnexpectedByte),
            ("1,2,3,+4,5,6", 6, BadNumber),
            ("1,2,3,-4,5,6", 6, BadNumber),
            ("1,2,3, 4,5,6", 6, BadNumber),
            ("1,2,3,4,5,256", 10, BadNumber),
            ("1,2,,4,5,6", 4, BadNumber),
            ("1.2.3.4.5.6", 0, BadNumber),
            ("(1,2,3,4,5,6)", 0, BadNumber),
            ("1,2,3,4,5,6,", 12, UnexpectedByte),
            ("1,2,3,4,5,0006", 10, BadNumber),
        ] {
            let want = ParseError::new("host-port", at, kind);
            assert_eq!(HostPort::parse(text.as_bytes()), Err(want), "{text}");
        }
    }

    #[test]
    fn find_reads_the_227_texts_of_servers_cl_23() {
        let want = HostPort { host: [10, 0, 0, 5].into(), port: 50_004 };
        for text in [
            "Entering Passive Mode (10,0,0,5,195,84).",
            "Entering Passive Mode 10,0,0,5,195,84",
            "=10,0,0,5,195,84",
            "10,0,0,5,195,84",
            "2 ways, 1 port: 10,0,0,5,195,84 (20 s)",
            "Entering Passive Mode (10,0,0,5,195,84,)",
            "Entering Passive Mode (10, 0, 0, 5, 195, 84)",
            "Entering Passive Mode 10, 0,  0, 5,195, 84.",
            "port 5, 10,0,0,5,195,84",
            "1, 2, 3, 4, 5, 6: 10,0,0,5,195,84",
            "1, ,2,3,4,5,6: 10, 0,0,5,195,84",
        ] {
            assert_eq!(HostPort::find(text.as_bytes()), Ok(want), "{text}");
        }
    }

    #[test]
    fn find_rejects_invalid_host_ports_cl_24_hc_04() {
        let digits = "9".repeat(1 << 20);
        for (text, kind) in [
            ("Entering Passive Mode", UnexpectedEnd),
            ("(10,0,0,5,195)", UnexpectedEnd),
            ("(10,0,0,,195,84)", UnexpectedEnd),
            ("(10,0,0,5,256,84)", BadNumber),
            ("(10,0,0,5,0,0)", BadNumber),
            ("(10,0,0,5,1000000000000000000000000000000,84)", BadNumber),
            (digits.as_str(), UnexpectedEnd),
            ("", UnexpectedEnd),
            ("\0", UnexpectedEnd),
        ] {
            let got = HostPort::find(text.as_bytes()).map_err(|error| error.kind);
            assert_eq!(got, Err(kind), "{text:.60}");
        }
    }

    #[test]
    fn display_round_trips() {
        for port in [0, 1, 255, 256, 50_004, 65_535] {
            let tuple = HostPort { host: [192, 0, 2, 1].into(), port };
            assert_eq!(HostPort::parse(tuple.to_string().as_bytes()), Ok(tuple));
        }
    }

    #[test]
    fn errors_report_the_position() {
        for (text, at) in [("ab 1,2,3,4,5,256", 3), ("1,2 ab 1,2,3,4,0,0", 7), ("none", 4)] {
            let got = HostPort::find(text.as_bytes()).map_err(|error| error.at);
            assert_eq!(got, Err(at), "{text}");
        }
    }
}

#[cfg(test)]
mod tests_of_rfc_2428 {
    use super::*;
    use ParseErrorKind::{
        BadNumber, UnexpectedByte, UnexpectedEnd, UnknownWord, UnsupportedProtocol,
    };

    #[test]
    fn parse_accepts_extended_addresses_cm_47() {
        let v4 = IpAddr::from([132, 235, 1, 2]);
        let v6: IpAddr = "1080::8:800:200c:417a".parse().unwrap();
        for (text, address, port) in [
            ("|1|132.235.1.2|6275|", v4, 6275),
            ("|2|1080::8:800:200C:417A|5282|", v6, 5282),
            ("!1!132.235.1.2!6275!", v4, 6275),
            ("~2~1080::8:800:200C:417A~65535~", v6, 65_535),
            ("a1a132.235.1.2a0a", v4, 0),
        ] {
            let want = ExtendedAddress { address, port };
            assert_eq!(ExtendedAddress::parse(text.as_bytes()), Ok(want), "{text}");
        }
    }

    #[test]
    fn parse_rejects_invalid_extended_addresses_cm_48_cm_49() {
        for (text, kind) in [
            ("", UnexpectedEnd),
            (" 1 132.235.1.2 6275 ", UnexpectedByte),
            ("\u{7f}1\u{7f}132.235.1.2\u{7f}6275\u{7f}", UnexpectedByte),
            ("|1|132.235.1.2|6275", UnexpectedEnd),
            ("|1|132.235.1.2|", UnexpectedEnd),
            ("|1|132.235.1.2|6275|x", UnexpectedByte),
            ("|1|132.235.1.2|6275||", UnexpectedByte),
            (".1.132.235.1.2.6275.", UnexpectedByte),
            ("|3|132.235.1.2|6275|", UnsupportedProtocol),
            ("|0|132.235.1.2|6275|", UnsupportedProtocol),
            ("|99999999999999999999999|x|1|", UnsupportedProtocol),
            ("||132.235.1.2|6275|", BadNumber),
            ("|x|132.235.1.2|6275|", BadNumber),
            ("|1||6275|", BadNumber),
            ("|1|::1|6275|", BadNumber),
            ("|2|132.235.1.2|6275|", BadNumber),
            ("|2|fe80::1%eth0|6275|", BadNumber),
            ("|1|132.235.1.2||", BadNumber),
            ("|1|132.235.1.2|65536|", BadNumber),
            ("|1|132.235.1.2|-1|", BadNumber),
            ("|1|132.235.1.2|+1|", BadNumber),
            ("|2|::\u{e9}|1|", BadNumber),
        ] {
            let got = ExtendedAddress::parse(text.as_bytes()).map_err(|error| error.kind);
            assert_eq!(got, Err(kind), "{text}");
        }
    }

    #[test]
    fn find_port_reads_the_port_of_a_229_reply_cl_28_hc_03() {
        for (text, want) in [
            ("Entering Extended Passive Mode (|||6446|)", Ok(6446)),
            ("ok (!!!1!) (|||2|)", Ok(1)),
            ("(|1|10.0.0.1|8021|)", Ok(8021)),
            ("(|||6446|", Ok(6446)),
            ("(|||6446)", Err(UnexpectedEnd)),
            ("|||6446|", Err(UnexpectedEnd)),
            ("(", Err(UnexpectedEnd)),
            ("( 1 )", Err(UnexpectedByte)),
            ("(|||0|)", Err(BadNumber)),
            ("(|||65536|)", Err(BadNumber)),
            ("(||||)", Err(BadNumber)),
            ("(|||x|)", Err(BadNumber)),
            ("(10,0,0,1,2,3)", Err(UnexpectedEnd)),
        ] {
            let got = ExtendedAddress::find_port(text.as_bytes()).map_err(|error| error.kind);
            assert_eq!(got, want, "{text}");
        }
    }

    #[test]
    fn text_in_brackets_before_the_tuple_is_skipped_cl_28() {
        for text in [
            "Entering Extended Passive Mode (EPSV) (|||50004|)",
            "Extended Passive Mode (IPv6 only) (|2||50004|).",
            "Mode (a|b|c|d) (|||50004|)",
            "Mode ((|||50004|))",
            "( (|||50004|)",
        ] {
            assert_eq!(ExtendedAddress::find_port(text.as_bytes()), Ok(50_004), "{text}");
        }
        let named = ExtendedAddress::find_protocol(b"Mode (EPSV) (|2||50004|)");
        assert_eq!(named, Some(NetworkProtocol::Ipv6));
        // If no tuple is valid, the error is that of the first tuple.
        let error = ExtendedAddress::find_port(b"Mode (EPSV) (|||0|)").unwrap_err();
        assert_eq!(error.kind, UnexpectedEnd);
    }

    #[test]
    fn find_protocol_reads_the_protocol_of_a_229_reply_cl_28() {
        for (text, want) in [
            ("ok (|||6446|)", None),
            ("ok (|1|10.0.0.1|6446|)", Some(NetworkProtocol::Ipv4)),
            ("ok (!2!!6446!)", Some(NetworkProtocol::Ipv6)),
            ("ok (|3||6446|)", None),
            ("ok (|x||6446|)", None),
            ("ok (", None),
            ("ok", None),
        ] {
            assert_eq!(ExtendedAddress::find_protocol(text.as_bytes()), want, "{text}");
        }
    }

    #[test]
    fn display_round_trips() {
        for address in ["192.0.2.1:0", "[2001:db8::1]:50004", "[::ffff:10.0.0.1]:1"] {
            let address = ExtendedAddress::from(address.parse::<SocketAddr>().unwrap());
            assert_eq!(ExtendedAddress::parse(address.to_string().as_bytes()), Ok(address));
        }
    }

    #[test]
    fn errors_report_the_position() {
        for (text, at) in [
            ("|1|132.235.1.2|6275|xy|", 20),
            ("|12|1|6275||", 11),
            ("|1|132.235.1|6275|", 3),
            ("|1|132.235.1.2|6x|", 15),
            ("|1|132.235.1.2|62", 17),
            ("|x|1.2.3.4|1|", 1),
        ] {
            let got = ExtendedAddress::parse(text.as_bytes()).map_err(|error| error.at);
            assert_eq!(got, Err(at), "{text}");
        }
    }

    #[test]
    fn epsv_arguments_are_parsed_cm_39_to_cm_41() {
        for (text, want) in [
            ("", Ok(EpsvArgument::Default)),
            ("1", Ok(EpsvArgument::Protocol(NetworkProtocol::Ipv4))),
            ("2", Ok(EpsvArgument::Protocol(NetworkProtocol::Ipv6))),
            ("aLl", Ok(EpsvArgument::All)),
            ("3", Err(UnsupportedProtocol)),
            ("99999999999999999999999", Err(UnsupportedProtocol)),
            ("ALLO", Err(UnknownWord)),
            ("-1", Err(UnknownWord)),
        ] {
            let got = EpsvArgument::parse(text.as_bytes()).map_err(|error| error.kind);
            assert_eq!(got, want, "{text}");
        }
    }

    #[test]
    fn protocol_lists_cl_30_hc_30() {
        let list = |ipv4, ipv6| Some(NetworkProtocols { ipv4, ipv6 });
        for (text, want) in [
            ("use (1,2)", list(true, true)),
            ("use (2)", list(false, true)),
            ("(1)", list(true, false)),
            ("( 2 , 1 ) or none", list(true, true)),
            ("(3,4)", list(false, false)),
            ("(2,99999999999999999999999)", list(false, true)),
            ("(02)", list(false, true)),
            ("(a) use (1)", list(true, false)),
            ("((1))", list(true, false)),
            ("", None),
            ("(", None),
            ("(1", None),
            ("1)", None),
            ("()", None),
            ("(1,,2)", None),
            ("(1,)", None),
            ("(-1)", None),
            ("(1;2)", None),
        ] {
            assert_eq!(NetworkProtocols::find(text.as_bytes()), want, "{text}");
        }
        for (ipv4, ipv6) in [(true, true), (true, false), (false, true)] {
            let list = NetworkProtocols { ipv4, ipv6 };
            assert_eq!(NetworkProtocols::find(list.to_string().as_bytes()), Some(list));
        }
        assert_eq!(NetworkProtocols::default().to_string(), "()");
    }

    #[test]
    fn mapped_addresses_are_ipv4_dc_10() {
        for (address, want) in [
            ("::ffff:10.0.0.1", NetworkProtocol::Ipv4),
            ("10.0.0.1", NetworkProtocol::Ipv4),
            ("2001:db8::1", NetworkProtocol::Ipv6),
        ] {
            assert_eq!(NetworkProtocol::of(address.parse().unwrap()), want, "{address}");
        }
    }

    #[test]
    fn contains_finds_only_listed_protocols() {
        for (text, ipv4, ipv6) in [("(1)", true, false), ("(2,7)", false, true)] {
            let list = NetworkProtocols::find(text.as_bytes()).unwrap();
            assert_eq!(list.contains(NetworkProtocol::Ipv4), ipv4, "{text}");
            assert_eq!(list.contains(NetworkProtocol::Ipv6), ipv6, "{text}");
        }
    }
}

#[cfg(test)]
mod tests_of_rules {
    use super::*;
    use AddressClass::{LinkLocal, Loopback, Multicast, Private, Public, Shared, Unspecified};

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn address_rules_choose_the_host_cl_25_cl_26_cl_27_hc_01() {
        use AddressRule::{Peer, Reply, Smart};
        use HostReason::{LocalOnly, PeerRule, Plausible, ReplyRule, Same, Unreachable};
        for (rule, announced, peer, host, reason) in [
            (Peer, "10.0.0.5", "203.0.113.7", "203.0.113.7", PeerRule),
            (Peer, "198.51.100.1", "203.0.113.7", "203.0.113.7", PeerRule),
            (Peer, "203.0.113.7", "::ffff:203.0.113.7", "203.0.113.7", Same),
            (Reply, "198.51.100.1", "203.0.113.7", "198.51.100.1", ReplyRule),
            (Reply, "0.0.0.0", "203.0.113.7", "0.0.0.0", ReplyRule),
            (Smart, "10.0.0.5", "203.0.113.7", "203.0.113.7", Unreachable(Private)),
            (Smart, "100.64.1.1", "203.0.113.7", "203.0.113.7", Unreachable(Shared)),
            (Smart, "127.0.0.1", "203.0.113.7", "203.0.113.7", Unreachable(Loopback)),
            (Smart, "169.254.169.254", "203.0.113.7", "203.0.113.7", Unreachable(LinkLocal)),
            (Smart, "0.0.0.0", "10.0.0.1", "10.0.0.1", Unreachable(Unspecified)),
            (Smart, "224.0.0.1", "10.0.0.1", "10.0.0.1", Unreachable(Multicast)),
            (Smart, "198.51.100.1", "203.0.113.7", "198.51.100.1", Plausible),
            (Smart, "198.51.100.1", "10.0.0.1", "198.51.100.1", Plausible),
            (Smart, "10.0.0.5", "10.0.0.1", "10.0.0.5", Plausible),
            (Smart, "10.0.0.5", "100.64.0.1", "10.0.0.5", Plausible),
            (Smart, "127.0.0.1", "10.0.0.1", "10.0.0.1", LocalOnly(Loopback)),
            (Smart, "127.0.0.53", "100.64.0.1", "100.64.0.1", LocalOnly(Loopback)),
            (Smart, "127.0.0.1", "169.254.0.9", "169.254.0.9", LocalOnly(Loopback)),
            (Smart, "::1", "fd00::1", "fd00::1", LocalOnly(Loopback)),
            (Smart, "::ffff:127.0.0.1", "192.168.1.1", "192.168.1.1", LocalOnly(Loopback)),
            (Smart, "127.0.0.2", "127.0.0.1", "127.0.0.2", Plausible),
            (Smart, "127.0.0.1", "::1", "127.0.0.1", Plausible),
            (Smart, "169.254.169.254", "10.0.0.1", "10.0.0.1", LocalOnly(LinkLocal)),
            (Smart, "169.254.169.254", "127.0.0.1", "127.0.0.1", LocalOnly(LinkLocal)),
            (Smart, "fe80::1", "fd00::1", "fd00::1", LocalOnly(LinkLocal)),
            (Smart, "169.254.1.2", "169.254.0.9", "169.254.1.2", Plausible),
            (Smart, "169.254.1.2", "fe80::9", "169.254.1.2", Plausible),
            (Smart, "10.0.0.5", "127.0.0.1", "10.0.0.5", Plausible),
            (Reply, "127.0.0.1", "10.0.0.1", "127.0.0.1", ReplyRule),
            (Smart, "203.0.113.7", "203.0.113.7", "203.0.113.7", Same),
        ] {
            let chosen = rule.choose(address(announced), address(peer));
            let want = ChosenHost { host: address(host), reason };
            assert_eq!(chosen, want, "{rule:?} {announced} {peer}");
        }
    }

    #[test]
    fn reasons_are_sentences() {
        for (reason, want) in [
            (HostReason::Same, "the host of the control connection"),
            (HostReason::PeerRule, "the host of the control connection is always used"),
            (HostReason::ReplyRule, "the announced host is always used"),
            (HostReason::Plausible, "the announced host is plausible"),
            (HostReason::Unreachable(Shared), "shared, but the server's address is public"),
            (HostReason::Unreachable(Multicast), "multicast, which is not a host"),
            (HostReason::LocalOnly(Loopback), "loopback, but the server's address is not"),
            (HostReason::LocalOnly(LinkLocal), "link-local, but the server's address is not"),
        ] {
            assert_eq!(reason.to_string(), want);
        }
    }

    #[test]
    fn address_classes_follow_the_rfc_ranges() {
        for (text, want) in [
            ("0.0.0.0", Unspecified),
            ("0.255.255.255", Unspecified),
            ("1.0.0.0", Public),
            ("9.255.255.255", Public),
            ("10.0.0.0", Private),
            ("10.255.255.255", Private),
            ("11.0.0.0", Public),
            ("100.63.255.255", Public),
            ("100.64.0.0", Shared),
            ("100.127.255.255", Shared),
            ("100.128.0.0", Public),
            ("126.255.255.255", Public),
            ("127.0.0.1", Loopback),
            ("128.0.0.0", Public),
            ("169.253.255.255", Public),
            ("169.254.0.0", LinkLocal),
            ("169.255.0.0", Public),
            ("172.15.255.255", Public),
            ("172.16.0.0", Private),
            ("172.31.255.255", Private),
            ("172.32.0.0", Public),
            ("192.167.255.255", Public),
            ("192.168.0.0", Private),
            ("192.169.0.0", Public),
            ("223.255.255.255", Public),
            ("224.0.0.1", Multicast),
            ("239.255.255.255", Multicast),
            ("255.255.255.254", Public),
            ("255.255.255.255", Multicast),
            ("::", Unspecified),
            ("::1", Loopback),
            ("::2", Public),
            ("fbff::1", Public),
            ("fc00::1", Private),
            ("fdff::1", Private),
            ("fe7f::1", Public),
            ("fe80::1", LinkLocal),
            ("febf::1", LinkLocal),
            ("ff02::1", Multicast),
            ("2001:db8::1", Public),
            ("::ffff:10.0.0.1", Private),
            ("::ffff:127.0.0.1", Loopback),
            ("::ffff:8.8.8.8", Public),
        ] {
            assert_eq!(AddressClass::of(address(text)), want, "{text}");
        }
    }

    #[test]
    fn classes_have_names() {
        for (class, want) in [
            (Public, "public"),
            (Private, "private"),
            (Loopback, "loopback"),
            (LinkLocal, "link-local"),
            (Unspecified, "unspecified"),
        ] {
            assert_eq!(class.to_string(), want);
        }
    }
}
