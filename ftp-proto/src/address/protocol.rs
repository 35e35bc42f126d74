//! Network protocols by number, the list of a 522 reply, and the argument of `EPSV` (RFC 2428 §2
//! and §3).

use std::fmt;
use std::net::IpAddr;

use crate::error::{ParseError, ParseErrorKind};
use crate::number;

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
    pub(super) fn read(digits: &[u8], at: usize) -> Result<Self, ParseError> {
        match number::decimal(digits) {
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
            match number::decimal(number) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use ParseErrorKind::{UnknownWord, UnsupportedProtocol};

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
