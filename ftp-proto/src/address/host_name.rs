//! Names of virtual hosts, the argument of `HOST` (RFC 7151 §3.1), and tags of languages, the
//! argument of `LANG` (RFC 2640 §4.2).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::error::{ParseError, ParseErrorKind};

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
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum HostName {
    /// A domain name of A-labels, in lower case.
    Domain(String),
    /// An address literal; IPv6 stands in brackets on the wire.
    Address(IpAddr),
}

impl HostName {
    /// Reads a host name that fills all of `input`.
    ///
    /// # Errors
    ///
    /// `UnexpectedEnd` for nothing, an empty label or a bracket that is not closed;
    /// `UnexpectedByte` for anything but letters, digits and hyphens inside a label, a port, or
    /// an IPv6 address without brackets; `BadNumber` for an address in brackets that is none;
    /// `TooLong` for a label over 63 or a name over 253 bytes (RFC 1035 §2.3.4).
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

/// A language by its tag, such as `en-US`, in lower case.
///
/// ```
/// use ftp_proto::LanguageTag;
///
/// assert_eq!(LanguageTag::parse(b"en-GB")?.primary(), "en");
/// # Ok::<(), ftp_proto::ParseError>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct LanguageTag(String);

impl LanguageTag {
    /// Reads a tag: parts of 1 to 8 letters with hyphens between them, in any case; all parts
    /// but the first may have digits (RFC 5646, which has replaced what RFC 2640 refers to). At
    /// most [`limits::LANGUAGE_TAG`](crate::limits::LANGUAGE_TAG) bytes.
    ///
    /// # Errors
    ///
    /// `UnexpectedEnd` for an empty part, `UnexpectedByte` for another character, `TooLong` for
    /// a part over 8 bytes or a tag over the limit.
    pub fn parse(input: &[u8]) -> Result<Self, ParseError> {
        let error = |at, kind| ParseError::new("lang-tag", at, kind);
        let mut at = 0;
        for part in input.split(|&byte| byte == b'-') {
            if part.is_empty() {
                return Err(error(at, ParseErrorKind::UnexpectedEnd));
            }
            let allowed =
                |byte: u8| byte.is_ascii_alphabetic() || (at > 0 && byte.is_ascii_digit());
            if let Some(wrong) = part.iter().position(|&byte| !allowed(byte)) {
                return Err(error(at + wrong, ParseErrorKind::UnexpectedByte));
            }
            if part.len() > 8 {
                return Err(error(at, ParseErrorKind::TooLong));
            }
            at += part.len() + 1;
        }
        if input.len() > crate::limits::LANGUAGE_TAG {
            return Err(error(crate::limits::LANGUAGE_TAG, ParseErrorKind::TooLong));
        }
        Ok(Self(String::from_utf8_lossy(input).to_ascii_lowercase()))
    }

    /// The whole tag.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first part: the language itself.
    #[must_use]
    pub fn primary(&self) -> &str {
        self.0.split_once('-').map_or(&self.0, |(primary, _)| primary)
    }
}

impl fmt::Display for LanguageTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ParseErrorKind::{BadNumber, TooLong, UnexpectedByte, UnexpectedEnd};

    #[test]
    fn host_names_read_cm_23() {
        for (text, shown) in [
            ("h", "h"),
            ("ftp.example.org", "ftp.example.org"),
            ("XN--e1afmkfd.com", "xn--e1afmkfd.com"),
            ("1-2.3", "1-2.3"),
            ("192.0.2.1", "192.0.2.1"),
            ("[2001:db8::c000:201]", "[2001:db8::c000:201]"),
            ("[::192.0.2.1]", "[::c000:201]"),
        ] {
            let name = HostName::parse(text.as_bytes()).unwrap();
            assert_eq!(name.to_string(), shown, "{text}");
            assert_eq!(HostName::parse(shown.as_bytes()), Ok(name), "{text}");
        }
        assert!(matches!(HostName::parse(b"192.0.2.1"), Ok(HostName::Address(_))));
    }

    #[test]
    fn host_names_refuse_cm_24() {
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

    #[test]
    fn language_tags_cm_27() {
        for (text, want) in [
            ("en", Ok("en")),
            ("EN-us", Ok("en-us")),
            ("zh-Hant-TW", Ok("zh-hant-tw")),
            ("es-419", Ok("es-419")),
            ("abcdefgh", Ok("abcdefgh")),
            ("", Err((0, UnexpectedEnd))),
            ("en-", Err((3, UnexpectedEnd))),
            ("-en", Err((0, UnexpectedEnd))),
            ("e1", Err((1, UnexpectedByte))),
            ("en_US", Err((2, UnexpectedByte))),
            ("en*", Err((2, UnexpectedByte))),
            ("abcdefghi", Err((0, TooLong))),
            ("en-abcdefghi", Err((3, TooLong))),
        ] {
            let want = want.map_err(|(at, kind)| ParseError::new("lang-tag", at, kind));
            let got = LanguageTag::parse(text.as_bytes());
            assert_eq!(got.as_ref().map(LanguageTag::as_str), want.as_ref().copied(), "{text}");
        }
        let limit = crate::limits::LANGUAGE_TAG;
        let fits = "abc-".repeat(limit / 4) + "abc";
        assert!(LanguageTag::parse(&fits.as_bytes()[..limit - 1]).is_ok());
        assert!(LanguageTag::parse(format!("{fits}-a").as_bytes()).is_err());
        assert_eq!(LanguageTag::parse(b"zh-Hant").unwrap().primary(), "zh");
    }

    #[test]
    fn the_longest_language_tag() {
        let longest = format!("en{}", "-abcdefg".repeat((crate::limits::LANGUAGE_TAG - 2) / 8));
        let tag = LanguageTag::parse(longest.as_bytes()).unwrap();
        assert_eq!(tag.to_string(), longest);
        let fill = crate::limits::LANGUAGE_TAG - longest.len();
        let full = format!("{longest}{}", &"-abcdefgh"[..fill]);
        assert_eq!(
            LanguageTag::parse(full.as_bytes()).map(|tag| tag.as_str().len()),
            Ok(full.len())
        );
        let over = LanguageTag::parse(format!("{longest}-abcdefgh").as_bytes());
        let want = ParseError::new("lang-tag", crate::limits::LANGUAGE_TAG, TooLong);
        assert_eq!(over, Err(want));
    }
}
