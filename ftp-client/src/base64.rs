//! Base64 (RFC 4648 §4), as pins and HTTP proxies use it.

use std::fmt;

/// The letters, in the order of their values.
pub(crate) const LETTERS: &[u8; 64] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Bytes that `Display` writes as base64.
pub(crate) struct Base64<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Base64<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for three in self.0.chunks(3) {
            let mut bits = 0_u32;
            for index in 0..3 {
                bits = bits << 8 | u32::from(three.get(index).copied().unwrap_or(0));
            }
            for index in 0..4 {
                let value = usize::try_from(bits >> (18 - 6 * index) & 63).unwrap_or(0);
                let letter = LETTERS.get(value).filter(|_| index <= three.len());
                write!(f, "{}", char::from(*letter.unwrap_or(&b'=')))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_matches_the_rfc_4648_test_vectors() {
        for (bytes, want) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(Base64(bytes.as_bytes()).to_string(), want);
        }
    }
}
