//! The vocabulary of the security extensions (RFC 2228 §3, RFC 4217).

use std::fmt;

use crate::{ParseError, ParseErrorKind, bytes};

/// A security mechanism, the argument of `AUTH` (RFC 2228 §3; RFC 4217 §4.2 and §17).
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum AuthMechanism {
    /// `TLS`, or `TLS-C`: TLS on the control connection; data is unencrypted until `PROT P`.
    Tls,
    /// `SSL`, or `TLS-P`, from drafts before RFC 4217: TLS on the control connection and, without
    /// `PROT`, on data connections.
    TlsWithData,
    /// Any other mechanism, in upper case.
    Other(String),
}

impl AuthMechanism {
    /// Parses a mechanism name, ignoring case: 1 to 20 printable ASCII characters other than SP
    /// (RFC 2228 §8.2).
    ///
    /// # Errors
    ///
    /// Returns `UnexpectedEnd` for empty input, `UnexpectedByte` for SP or a character that is not
    /// printable ASCII, and `TooLong` beyond 20 characters.
    pub fn parse(input: &[u8]) -> Result<Self, ParseError> {
        let error = |at, kind| ParseError::new("mechanism-name", at, kind);
        if input.is_empty() {
            return Err(error(0, ParseErrorKind::UnexpectedEnd));
        }
        if let Some(at) = input.iter().position(|byte| !byte.is_ascii_graphic()) {
            return Err(error(at, ParseErrorKind::UnexpectedByte));
        }
        if input.len() > 20 {
            return Err(error(20, ParseErrorKind::TooLong));
        }
        Ok(match input.to_ascii_uppercase().as_slice() {
            b"TLS" | b"TLS-C" => Self::Tls,
            b"SSL" | b"TLS-P" => Self::TlsWithData,
            other => Self::Other(String::from_utf8_lossy(other).into_owned()),
        })
    }
}

impl fmt::Display for AuthMechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls => "TLS",
            Self::TlsWithData => "SSL",
            Self::Other(name) => name,
        })
    }
}

/// The protection of the data connection, the prot-code of `PROT` (RFC 2228 §3).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum ProtectionLevel {
    /// `C`: none.
    #[default]
    Clear,
    /// `S`: integrity; no TLS equivalent (RFC 4217 §9).
    Safe,
    /// `E`: confidentiality; no TLS equivalent.
    Confidential,
    /// `P`: integrity and confidentiality, with TLS.
    Private,
}

impl ProtectionLevel {
    /// Parses a prot-code in either case.
    ///
    /// # Errors
    ///
    /// Returns `UnexpectedEnd` for empty input, `Unsupported` for another letter (a server answers
    /// 504), and `UnknownWord` for anything else.
    pub fn parse(input: &[u8]) -> Result<Self, ParseError> {
        let error = |kind| Err(ParseError::new("prot-code", 0, kind));
        match input {
            [] => error(ParseErrorKind::UnexpectedEnd),
            b"C" | b"c" => Ok(Self::Clear),
            b"S" | b"s" => Ok(Self::Safe),
            b"E" | b"e" => Ok(Self::Confidential),
            b"P" | b"p" => Ok(Self::Private),
            [letter] if letter.is_ascii_alphabetic() => error(ParseErrorKind::Unsupported),
            _ => error(ParseErrorKind::UnknownWord),
        }
    }

    /// Returns the prot-code as sent.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Clear => "C",
            Self::Safe => "S",
            Self::Confidential => "E",
            Self::Private => "P",
        }
    }
}

/// Parses the argument of `PBSZ`: decimal, 0 to 2^32 - 1 (RFC 2228 §3; RFC 4217 §9 asks for 0).
pub(crate) fn parse_buffer_size(input: &[u8]) -> Result<u32, ParseError> {
    let error = |kind| ParseError::new("protection buffer size", 0, kind);
    if input.is_empty() {
        return Err(error(ParseErrorKind::UnexpectedEnd));
    }
    let size = bytes::decimal(input).and_then(|size| size.try_into().ok());
    size.ok_or(error(ParseErrorKind::BadNumber))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ParseErrorKind::{
        BadNumber, TooLong, UnexpectedByte, UnexpectedEnd, UnknownWord, Unsupported,
    };

    #[test]
    fn auth_mechanisms_cm_60_cm_61() {
        let other = |name: &str| Ok(AuthMechanism::Other(name.to_owned()));
        for (text, want) in [
            ("TLS", Ok(AuthMechanism::Tls)),
            ("tls-c", Ok(AuthMechanism::Tls)),
            ("SSL", Ok(AuthMechanism::TlsWithData)),
            ("Tls-P", Ok(AuthMechanism::TlsWithData)),
            ("gssapi", other("GSSAPI")),
            ("ABCDEFGHIJKLMNOPQRST", other("ABCDEFGHIJKLMNOPQRST")),
            ("ABCDEFGHIJKLMNOPQRSTU", Err(TooLong)),
            ("", Err(UnexpectedEnd)),
            ("T LS", Err(UnexpectedByte)),
            ("T\u{e9}", Err(UnexpectedByte)),
        ] {
            let got = AuthMechanism::parse(text.as_bytes());
            assert_eq!(got.clone().map_err(|error| error.kind), want, "{text}");
            if let Ok(mechanism) = got {
                let sent = mechanism.to_string();
                assert_eq!(AuthMechanism::parse(sent.as_bytes()), Ok(mechanism), "{text}");
            }
        }
    }

    #[test]
    fn protection_levels_cm_68() {
        for (text, want) in [
            ("C", Ok(ProtectionLevel::Clear)),
            ("s", Ok(ProtectionLevel::Safe)),
            ("E", Ok(ProtectionLevel::Confidential)),
            ("p", Ok(ProtectionLevel::Private)),
            ("X", Err(Unsupported)),
            ("", Err(UnexpectedEnd)),
            ("PP", Err(UnknownWord)),
            ("1", Err(UnknownWord)),
        ] {
            let got = ProtectionLevel::parse(text.as_bytes());
            assert_eq!(got.map_err(|error| error.kind), want, "{text}");
            if let Ok(level) = got {
                assert_eq!(ProtectionLevel::parse(level.as_str().as_bytes()), Ok(level));
            }
        }
    }

    #[test]
    fn buffer_sizes_cm_67_hs_22() {
        for (text, want) in [
            ("0", Ok(0)),
            ("4294967295", Ok(u32::MAX)),
            ("4294967296", Err(BadNumber)),
            ("-1", Err(BadNumber)),
            ("", Err(UnexpectedEnd)),
        ] {
            let got = parse_buffer_size(text.as_bytes()).map_err(|error| error.kind);
            assert_eq!(got, want, "{text}");
        }
    }
}
