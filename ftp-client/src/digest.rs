//! Digests of files, and their algorithms; bytes as hexadecimal and base64 text
//! (RFC 4648 §8, §4).

use std::fmt;

use ftp_proto::Verb;

/// An algorithm of [`Client::hash`](crate::Client::hash).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum HashAlgorithm {
    /// SHA-256, 32 bytes.
    Sha256,
    /// SHA-512, 64 bytes.
    Sha512,
    /// SHA-1, 20 bytes. Detects only accidental changes: an attacker can make different files with
    /// the same digest.
    Sha1,
    /// MD5, 16 bytes. Detects only accidental changes, like SHA-1.
    Md5,
    /// CRC-32, 4 bytes, most significant byte first. Detects only accidental changes, and misses
    /// about one in four billion.
    Crc32,
}

impl HashAlgorithm {
    /// All algorithms, the preferred ones first.
    pub const ALL: &[Self] = &[Self::Sha256, Self::Sha512, Self::Sha1, Self::Md5, Self::Crc32];

    /// Returns the name of the algorithm, such as `SHA-256`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA-256",
            Self::Sha512 => "SHA-512",
            Self::Sha1 => "SHA-1",
            Self::Md5 => "MD5",
            Self::Crc32 => "CRC32",
        }
    }

    /// Returns the length of a digest in bytes.
    #[must_use]
    pub const fn length(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
            Self::Sha1 => 20,
            Self::Md5 => 16,
            Self::Crc32 => 4,
        }
    }

    /// Returns the commands that compute only this algorithm.
    pub(crate) const fn verbs(self) -> &'static [Verb] {
        match self {
            Self::Sha256 => &[Verb::Xsha256],
            Self::Sha512 => &[Verb::Xsha512],
            Self::Sha1 => &[Verb::Xsha1, Verb::Xsha],
            Self::Md5 => &[Verb::Xmd5],
            Self::Crc32 => &[Verb::Xcrc],
        }
    }

    /// Returns whether `name` is a server's name for the algorithm; some servers leave out the `-`.
    pub(crate) fn is_named(self, name: &[u8]) -> bool {
        let plain = |name: &[u8]| -> Vec<u8> {
            let bare = name.iter().filter(|byte| **byte != b'-');
            bare.map(u8::to_ascii_uppercase).collect()
        };
        plain(name) == plain(self.as_str().as_bytes())
    }
}

impl fmt::Display for HashAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A digest of a file, computed by the server or from local data. `Display` writes it in
/// hexadecimal.
#[derive(Clone, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Digest {
    /// The algorithm.
    pub algorithm: HashAlgorithm,
    /// The digest, with [`HashAlgorithm::length`] bytes.
    pub bytes: Vec<u8>,
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.bytes))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({} {self})", self.algorithm)
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn unhex(digits: &[u8]) -> Option<Vec<u8>> {
    let (pairs, rest) = digits.as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = |[high, low]: &[u8; 2]| u8::try_from(digit(*high)? * 16 + digit(*low)?).ok();
    if rest.is_empty() { pairs.iter().map(byte).collect() } else { None }
}

/// The letters of base64, in the order of their values.
pub(crate) const LETTERS: &[u8; 64] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

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

pub(crate) fn from_base64(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for four in text.chunks(4) {
        let padding = four.iter().rev().take_while(|letter| **letter == b'=').count();
        let mut bits = 0_u32;
        for letter in four.iter().take(4 - padding) {
            let value = LETTERS.iter().position(|known| known == letter)?;
            bits = bits << 6 | u32::try_from(value).ok()?;
        }
        let count = 3_usize.checked_sub(padding).filter(|count| *count > 0 && four.len() == 4)?;
        let [_, first, second, third] = (bits << (6 * padding)).to_be_bytes();
        bytes.extend([first, second, third].into_iter().take(count));
    }
    Some(bytes)
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
            assert_eq!(from_base64(want.as_bytes()).as_deref(), Some(bytes.as_bytes()));
        }
    }
}
