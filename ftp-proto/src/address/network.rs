//! Networks of addresses for allow lists: `10.0.0.0/8`, `2001:db8::/32` (RFC 4632 §3.1, RFC 4291
//! §2.3).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::extended::NetworkProtocol;
use crate::bytes::{self, split_once};
use crate::{ParseError, ParseErrorKind};

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
    /// The first address.
    first: IpAddr,
    /// The number of bits that all addresses share.
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
        Ok(Self { first: first(address, prefix), prefix })
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
        Self { first: first(address, prefix), prefix }
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
        address.is_ipv4() == self.first.is_ipv4() && first(address, self.prefix) == self.first
    }
}

const fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// Clears all bits of an address after the first `prefix`.
fn first(address: IpAddr, prefix: u8) -> IpAddr {
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

#[cfg(test)]
mod tests {
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
