//! The digest of a public key, in the notation of curl and RFC 7469 §2.4.

use std::fmt;

use ftp_proto::{ParseError, ParseErrorKind};

use crate::base64::{self, Base64, LETTERS};

const PREFIX: &str = "sha256//";

/// The SHA-256 of a certificate's `SubjectPublicKeyInfo`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Pin([u8; 32]);

impl Pin {
    #[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "used only with TLS"))]
    pub(crate) const fn new(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// Parses `sha256//` and the base64 of 32 bytes: 43 characters and one `=`.
    pub(crate) fn parse(text: &str) -> Result<Self, ParseError> {
        let error = |at, kind| ParseError::new("pin", at, kind);
        let encoded = text.strip_prefix(PREFIX);
        let encoded = encoded.ok_or(error(0, ParseErrorKind::UnknownWord))?;
        let mut letters = encoded.strip_suffix('=').unwrap_or(encoded).bytes().enumerate();
        let odd = letters.find(|(index, letter)| *index == 43 || !LETTERS.contains(letter));
        if let Some((index, _)) = odd {
            return Err(error(PREFIX.len() + index, ParseErrorKind::UnexpectedByte));
        }
        let digest = base64::decode(encoded.as_bytes()).and_then(|bytes| bytes.try_into().ok());
        let pin = Self(digest.ok_or(error(text.len(), ParseErrorKind::UnexpectedEnd))?);
        // The last letter has two surplus bits, which must be 0.
        match pin.to_string() == text {
            true => Ok(pin),
            false => Err(error(text.len() - 2, ParseErrorKind::UnexpectedByte)),
        }
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", Base64(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_are_parsed_and_displayed_tl_19a() {
        // The SHA-256 of no bytes, encoded by RFC 4648 tools.
        let empty = "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        let digest = Pin::parse(empty).unwrap();
        assert_eq!(digest.0[..4], [0xe3, 0xb0, 0xc4, 0x42]);
        assert_eq!(digest.0[28..], [0x78, 0x52, 0xb8, 0x55]);
        assert_eq!(digest.to_string(), empty);
        for seed in 0..=255_u8 {
            let mut byte = seed;
            let next = |_| {
                byte = byte.wrapping_mul(31).wrapping_add(7);
                byte
            };
            let digest = Pin(std::array::from_fn(next));
            assert_eq!(Pin::parse(&digest.to_string()), Ok(digest));
        }
    }

    #[test]
    fn invalid_pins_are_refused_tl_19a() {
        use ParseErrorKind::{UnexpectedByte, UnexpectedEnd, UnknownWord};
        let good = "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        for (text, at, kind) in [
            ("", 0, UnknownWord),
            ("sha1//47DEQpj8HBSa+/TImW+5JCeuQeQ=", 0, UnknownWord),
            ("sha256//", 8, UnexpectedEnd),
            (&good[..good.len() - 1], 51, UnexpectedEnd),
            (&good[..good.len() - 2], 50, UnexpectedEnd),
            (&good.replace("+", "-"), 20, UnexpectedByte),
            (&good.replace("U=", "V="), 50, UnexpectedByte),
            (&good.replace("U=", "UU="), 51, UnexpectedByte),
            (&good.replace("U=", "UAA="), 51, UnexpectedByte),
            (&good.replace("U=", "U=="), 51, UnexpectedByte),
        ] {
            assert_eq!(Pin::parse(text), Err(ParseError::new("pin", at, kind)), "{text}");
        }
    }
}
