//! RFC 2428: the net-addr of `EPRT` and of the 229 reply, network protocols by number, the list of
//! a 522 reply, and the argument of `EPSV`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::{ParseError, ParseErrorKind, bytes};

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
    pub(super) fn read(digits: &[u8], at: usize) -> Result<Self, ParseError> {
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

#[cfg(test)]
mod tests {
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
