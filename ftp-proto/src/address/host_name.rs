//! Names of virtual hosts, the argument of `HOST` (RFC 7151 §3.1).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{ParseError, ParseErrorKind};

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
