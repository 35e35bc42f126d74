//! Hosts, ports and networks in commands, replies and settings.
//!
//! In this file are the names of virtual hosts, the argument of `HOST` (RFC 7151 §3.1); networks of
//! addresses for allow lists, such as `10.0.0.0/8` and `2001:db8::/32` (RFC 4632 §3.1, RFC 4291
//! §2.3); and lists of local ports, such as `21,300-400,50000-50099`.

mod data_port;
mod proxy_header;

pub use data_port::{
    AddressClass, AddressRule, ChosenHost, EpsvArgument, ExtendedAddress, HostPort, HostReason,
    NetworkProtocol, NetworkProtocols,
};
pub use proxy_header::{ProxyHeader, ProxyProgress};

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use crate::bytes::{self, split_once};
use crate::{ParseError, ParseErrorKind, limits};

/// A host by name or by address, without a port.
///
/// ```
/// use ftp_proto::HostName;
///
/// let name = HostName::parse(b"FTP.Example.org")?;
/// assert_eq!(name, HostName::Domain("ftp.example.org".to_owned()));
/// assert_eq!(HostName::parse(b"[2001:db8::1]")?.to_string(), "[2001:db8::1]");
/// assert!(HostName::parse(b"ftp.example.org:21").is_err());
/// # Ok::<(), ftp_proto::ParseError>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum HostName {
    /// A domain name of A-labels, in lower case.
    Domain(String),
    /// An address literal; an IPv6 address is in brackets on the wire.
    Address(IpAddr),
}

impl HostName {
    /// Parses a host name that fills all of `input`.
    ///
    /// # Errors
    ///
    /// - `UnexpectedEnd` for empty input, an empty label or an unclosed bracket.
    /// - `UnexpectedByte` for a label with a leading or trailing hyphen, or with characters other
    ///   than letters, digits and hyphens. A port and an IPv6 address without brackets contain such
    ///   characters.
    /// - `UnexpectedByte` for text after a closing bracket.
    /// - `BadNumber` for an invalid address in brackets.
    /// - `TooLong` for a label over 63 or a name over 253 bytes (RFC 1035 §2.3.4).
    pub fn parse(input: &[u8]) -> Result<Self, ParseError> {
        let error = |at, kind| ParseError::new("hostname", at, kind);
        if let Some(rest) = input.strip_prefix(b"[") {
            let close = rest.iter().position(|&byte| byte == b']');
            let close = close.ok_or(error(input.len(), ParseErrorKind::UnexpectedEnd))?;
            if close + 1 < rest.len() {
                return Err(error(close + 2, ParseErrorKind::UnexpectedByte));
            }
            let text = rest.get(..close).and_then(|text| std::str::from_utf8(text).ok());
            let address = text.and_then(|text| text.parse::<Ipv6Addr>().ok());
            let address = address.ok_or(error(1, ParseErrorKind::BadNumber))?;
            return Ok(Self::Address(address.into()));
        }
        let mut at = 0;
        for label in input.split(|&byte| byte == b'.') {
            if label.is_empty() {
                return Err(error(at, ParseErrorKind::UnexpectedEnd));
            }
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
            if let Some(wrong) = label.iter().position(|&byte| !allowed(byte)) {
                return Err(error(at + wrong, ParseErrorKind::UnexpectedByte));
            }
            if label.starts_with(b"-") || label.ends_with(b"-") {
                return Err(error(at, ParseErrorKind::UnexpectedByte));
            }
            if label.len() > 63 {
                return Err(error(at, ParseErrorKind::TooLong));
            }
            at += label.len() + 1;
        }
        if input.len() > 253 {
            return Err(error(253, ParseErrorKind::TooLong));
        }
        let name = String::from_utf8_lossy(input).to_ascii_lowercase();
        Ok(name.parse::<Ipv4Addr>().map_or(Self::Domain(name), |ip| Self::Address(ip.into())))
    }

    /// Converts an IPv4-mapped IPv6 address to IPv4, so that equal hosts compare equal.
    #[must_use]
    pub fn into_canonical(self) -> Self {
        match self {
            Self::Address(address) => Self::Address(address.to_canonical()),
            domain @ Self::Domain(_) => domain,
        }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Domain(name) => f.write_str(name),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
        }
    }
}

/// All addresses of one family that begin with the same bits; a single address is a network too.
///
/// ```
/// use ftp_proto::Network;
///
/// let site = Network::parse(b"10.0.0.0/8")?;
/// assert!(site.contains([10, 1, 2, 3].into()));
/// assert!(!site.contains([11, 1, 2, 3].into()));
/// # Ok::<(), ftp_proto::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Network {
    first: IpAddr,
    prefix: u8,
}

impl Network {
    /// Parses an address, optionally followed by `/` and the length of the prefix in bits.
    ///
    /// Ignores the bits of the address after the prefix. A network of IPv4-mapped IPv6 addresses
    /// becomes an IPv4 network.
    ///
    /// # Errors
    ///
    /// Returns `BadNumber` at the invalid address or length.
    pub fn parse(input: &[u8]) -> Result<Self, ParseError> {
        let error = |at| ParseError::new("network", at, ParseErrorKind::BadNumber);
        let (text, digits) = match split_once(input, b'/') {
            Some((text, digits)) => (text, Some(digits)),
            None => (input, None),
        };
        let address = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
        let address: IpAddr = address.ok_or(error(0))?;
        let bits = width(address);
        let prefix = match digits {
            None => bits,
            Some(digits) => {
                let at = text.len() + 1;
                let prefix = bytes::decimal(digits).and_then(|prefix| u8::try_from(prefix).ok());
                prefix.filter(|prefix| *prefix <= bits).ok_or(error(at))?
            }
        };
        let (address, prefix) = match (address.to_canonical(), prefix.checked_sub(96)) {
            (IpAddr::V4(mapped), Some(prefix)) if address.is_ipv6() => (mapped.into(), prefix),
            _ => (address, prefix),
        };
        Ok(Self { first: first_address(address, prefix), prefix })
    }

    /// Returns the network of all addresses with the same first `prefix` bits as `address`.
    ///
    /// A `prefix` longer than the address is reduced to the address's length. An IPv4-mapped IPv6
    /// address counts as its IPv4 address.
    ///
    /// ```
    /// use ftp_proto::Network;
    ///
    /// let network = Network::around([192, 0, 2, 9].into(), 24);
    /// assert_eq!(network.to_string(), "192.0.2.0/24");
    /// ```
    #[must_use]
    pub fn around(address: IpAddr, prefix: u8) -> Self {
        let address = address.to_canonical();
        let prefix = prefix.min(width(address));
        Self { first: first_address(address, prefix), prefix }
    }

    /// Returns the protocol of the network's addresses; for IPv4-mapped IPv6 addresses it is IPv4.
    #[must_use]
    pub fn protocol(self) -> NetworkProtocol {
        NetworkProtocol::of(self.first)
    }

    /// Returns whether the network contains an address. An IPv4-mapped IPv6 address counts as its
    /// IPv4 address.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.first.is_ipv4()
            && first_address(address, self.prefix) == self.first
    }
}

const fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn first_address(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

/// A set of ports, written as numbers and inclusive ranges in any order.
///
/// ```
/// use ftp_proto::PortRanges;
///
/// let ports = PortRanges::parse(b"300-302, 21")?;
/// assert_eq!(ports.count(), 4);
/// assert_eq!(ports.iter().collect::<Vec<_>>(), [21, 300, 301, 302]);
/// // All ports, starting at the third: a random start makes the next port hard to guess.
/// assert_eq!(ports.iter_from(2).collect::<Vec<_>>(), [301, 302, 21, 300]);
/// # Ok::<(), ftp_proto::ParseError>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct PortRanges(Vec<RangeInclusive<u16>>);

impl PortRanges {
    /// Parses a list of ports from 1 to 65535 and ranges `first-last`, separated by commas; SP
    /// around numbers is ignored.
    ///
    /// # Errors
    ///
    /// Returns `UnexpectedEnd` for an empty item, `BadNumber` for an invalid port or range, and
    /// `TooLong` for more than [`limits::PORT_RANGES`] items. `at` is the start of the item.
    pub fn parse(input: &[u8]) -> Result<Self, ParseError> {
        let error = |at, kind| ParseError::new("port ranges", at, kind);
        let mut ranges = Vec::new();
        let mut at = 0;
        for (count, item) in input.split(|&byte| byte == b',').enumerate() {
            if count == limits::PORT_RANGES {
                return Err(error(at, ParseErrorKind::TooLong));
            }
            let text = item.trim_ascii();
            if text.is_empty() {
                return Err(error(at, ParseErrorKind::UnexpectedEnd));
            }
            let mut ends =
                text.splitn(2, |&byte| byte == b'-').map(|end| parse_port(end.trim_ascii()));
            let first = ends.next().flatten();
            let last = ends.next().unwrap_or(first);
            match (first, last) {
                (Some(first), Some(last)) if first <= last => add_range(&mut ranges, first..=last),
                _ => return Err(error(at, ParseErrorKind::BadNumber)),
            }
            at += item.len() + 1;
        }
        Ok(Self(ranges))
    }

    /// Returns the number of ports, 1 to 65535.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.iter().map(ExactSizeIterator::len).sum()
    }

    /// Returns whether a port is in the set.
    #[must_use]
    pub fn contains(&self, port: u16) -> bool {
        self.0.iter().any(|range| range.contains(&port))
    }

    /// Returns all ports in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u16> + Clone {
        self.0.iter().cloned().flatten()
    }

    /// Returns each port once, starting with the port at index `start` and wrapping around.
    ///
    /// `start` counts from 0 and is taken modulo [`count`](Self::count).
    pub fn iter_from(&self, start: usize) -> impl Iterator<Item = u16> {
        // There is at least one port, so this cannot divide by zero.
        let start = start % self.count();
        self.iter().skip(start).chain(self.iter().take(start))
    }
}

fn parse_port(digits: &[u8]) -> Option<u16> {
    bytes::decimal(digits)?.try_into().ok().filter(|port| *port != 0)
}

/// Adds a range to sorted ranges, merging those that it overlaps or touches.
fn add_range(ranges: &mut Vec<RangeInclusive<u16>>, range: RangeInclusive<u16>) {
    let (mut first, mut last) = range.into_inner();
    ranges.retain(|other| {
        let is_apart = u32::from(*other.end()) + 1 < u32::from(first)
            || u32::from(last) + 1 < u32::from(*other.start());
        if !is_apart {
            first = first.min(*other.start());
            last = last.max(*other.end());
        }
        is_apart
    });
    let at = ranges.partition_point(|other| *other.end() < first);
    ranges.insert(at, first..=last);
}

impl fmt::Display for PortRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            if range.start() == range.end() {
                write!(f, "{comma}{}", range.start())?;
            } else {
                write!(f, "{comma}{}-{}", range.start(), range.end())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ParseErrorKind::{BadNumber, TooLong, UnexpectedByte, UnexpectedEnd};

    #[test]
    fn valid_host_names_are_parsed_cm_23() {
        for (text, shown) in [
            ("h", "h"),
            ("ftp.example.org", "ftp.example.org"),
            ("XN--e1afmkfd.com", "xn--e1afmkfd.com"),
            ("1-2.3", "1-2.3"),
            ("192.0.2.1", "192.0.2.1"),
            ("[2001:db8::c000:201]", "[2001:db8::c000:201]"),
            ("[::192.0.2.1]", "[::c000:201]"),
            ("[::ffff:192.0.2.1]", "[::ffff:192.0.2.1]"),
        ] {
            let name = HostName::parse(text.as_bytes()).unwrap();
            assert_eq!(name.to_string(), shown, "{text}");
            assert_eq!(HostName::parse(shown.as_bytes()), Ok(name), "{text}");
        }
        assert!(matches!(HostName::parse(b"192.0.2.1"), Ok(HostName::Address(_))));
        for (text, canonical) in
            [("h", "h"), ("[2001:db8::1]", "[2001:db8::1]"), ("[::ffff:192.0.2.1]", "192.0.2.1")]
        {
            let name = HostName::parse(text.as_bytes()).unwrap();
            assert_eq!(name.into_canonical().to_string(), canonical);
        }
    }

    #[test]
    fn invalid_host_names_are_rejected_cm_24() {
        let label = "a".repeat(64);
        let long = format!("{}.aa", vec!["a".repeat(62); 4].join("."));
        assert_eq!(long.len(), 254);
        for (text, at, kind) in [
            ("", 0, UnexpectedEnd),
            ("a.", 2, UnexpectedEnd),
            ("a..b", 2, UnexpectedEnd),
            ("192.0.2.1:2112", 9, UnexpectedByte),
            ("[2001:db8::1]:2112", 13, UnexpectedByte),
            ("2001:db8::1", 4, UnexpectedByte),
            ("[2001:db8::1", 12, UnexpectedEnd),
            ("[x]", 1, BadNumber),
            ("[fe80::1%eth0]", 1, BadNumber),
            ("[192.0.2.1]", 1, BadNumber),
            ("-a", 0, UnexpectedByte),
            ("b.a-", 2, UnexpectedByte),
            ("a b", 1, UnexpectedByte),
            ("f\u{f6}.de", 1, UnexpectedByte),
            (&label, 0, TooLong),
            (&long, 253, TooLong),
        ] {
            let want = ParseError::new("hostname", at, kind);
            assert_eq!(HostName::parse(text.as_bytes()), Err(want), "{text}");
        }
        assert!(HostName::parse(&long.as_bytes()[1..]).is_ok());
        assert!(HostName::parse(&label.as_bytes()[1..]).is_ok());
    }
}

#[cfg(test)]
mod tests_of_networks {
    use super::*;

    #[test]
    fn a_network_contains_addresses_with_its_prefix() {
        for (network, shown, inside, outside) in [
            ("10.0.0.0/8", "10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("10.1.2.3/8", "10.0.0.0/8", "10.0.0.0", "9.255.255.255"),
            ("192.0.2.1", "192.0.2.1/32", "192.0.2.1", "192.0.2.0"),
            ("192.0.2.0/25", "192.0.2.0/25", "192.0.2.127", "192.0.2.128"),
            ("0.0.0.0/0", "0.0.0.0/0", "255.255.255.255", "::1"),
            ("::/0", "::/0", "2001:db8::1", "192.0.2.1"),
            ("2001:db8::/32", "2001:db8::/32", "2001:db8:ffff::", "2001:db9::"),
            ("::1", "::1/128", "::1", "::2"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8", "10.1.2.3", "11.0.0.0"),
            ("10.0.0.0/8", "10.0.0.0/8", "::ffff:10.1.2.3", "::ffff:11.0.0.0"),
            ("::ffff:0:0/96", "0.0.0.0/0", "10.1.2.3", "::1"),
        ] {
            let parsed = Network::parse(network.as_bytes()).unwrap();
            assert_eq!(parsed.to_string(), shown, "{network}");
            assert_eq!(Network::parse(shown.as_bytes()), Ok(parsed), "{network}");
            let inside = inside.parse().unwrap();
            assert!(parsed.contains(inside), "{inside} in {network}");
            assert_eq!(parsed.protocol(), NetworkProtocol::of(inside.to_canonical()), "{network}");
            assert!(!parsed.contains(outside.parse().unwrap()), "{outside} in {network}");
        }
    }

    #[test]
    fn parse_rejects_invalid_input() {
        for (text, at) in [
            ("", 0),
            ("/8", 0),
            ("10.0.0/8", 0),
            ("10.0.0.0/", 9),
            ("10.0.0.0/33", 9),
            ("10.0.0.0/-1", 9),
            ("10.0.0.0/8/8", 9),
            ("10.0.0.0/256", 9),
            ("::/129", 3),
            (" 10.0.0.0/8", 0),
            ("fe80::1%eth0/64", 0),
            ("example.org", 0),
            ("\u{661}0.0.0.0", 0),
        ] {
            let want = ParseError::new("network", at, ParseErrorKind::BadNumber);
            assert_eq!(Network::parse(text.as_bytes()), Err(want), "{text}");
        }
    }
}

#[cfg(test)]
mod tests_of_port_ranges {
    use super::*;
    use ParseErrorKind::{BadNumber, TooLong, UnexpectedEnd};

    #[test]
    fn parse_merges_port_ranges_dc_02() {
        for (text, shown, count) in [
            ("21", "21", 1),
            ("1-65535", "1-65535", 65_535),
            ("21,300-400,50000-50099", "21,300-400,50000-50099", 202),
            (" 300 - 400 , 21 ", "21,300-400", 102),
            ("5,4,3", "3-5", 3),
            ("10-20,15-30,12", "10-30", 21),
            ("10-20,22", "10-20,22", 12),
            ("10-20,21", "10-21", 12),
            ("65535,65534", "65534-65535", 2),
            ("7,7,7", "7", 1),
            ("10-30,12-15", "10-30", 21),
        ] {
            let ports = PortRanges::parse(text.as_bytes()).unwrap();
            assert_eq!(ports.to_string(), shown, "{text}");
            assert_eq!(ports.count(), count, "{text}");
            assert_eq!(ports.iter().count(), count, "{text}");
            assert_eq!(PortRanges::parse(shown.as_bytes()), Ok(ports), "{text}");
        }
    }

    #[test]
    fn parse_rejects_invalid_input() {
        let many = vec!["1"; limits::PORT_RANGES + 1].join(",");
        for (text, at, kind) in [
            ("", 0, UnexpectedEnd),
            ("21,", 3, UnexpectedEnd),
            (",21", 0, UnexpectedEnd),
            ("21,,22", 3, UnexpectedEnd),
            ("0", 0, BadNumber),
            ("65536", 0, BadNumber),
            ("21,5000-4000", 3, BadNumber),
            ("1-2-3", 0, BadNumber),
            ("-5", 0, BadNumber),
            ("5-", 0, BadNumber),
            ("0-5", 0, BadNumber),
            ("+5", 0, BadNumber),
            ("a", 0, BadNumber),
            (&many, 2 * limits::PORT_RANGES, TooLong),
        ] {
            let want = ParseError::new("port ranges", at, kind);
            assert_eq!(PortRanges::parse(text.as_bytes()), Err(want), "{text}");
        }
    }

    #[test]
    fn iter_from_yields_each_port_once_dc_03() {
        let ports = PortRanges::parse(b"1-3,7,9-10").unwrap();
        for start in 0..20 {
            let mut round: Vec<u16> = ports.iter_from(start).collect();
            assert_eq!(round.first(), ports.iter().nth(start % 6).as_ref(), "{start}");
            round.sort_unstable();
            assert_eq!(round, [1, 2, 3, 7, 9, 10]);
        }
        assert!(ports.contains(9) && !ports.contains(8));
    }
}
