//! Digests of files, their algorithms, and their computation from local data; bytes as hexadecimal and base64 text
//! (RFC 4648 §8, §4).

use std::fs::File;
use std::{fmt, io};

use ftp_proto::Verb;
use sha2::Digest as _;

use crate::system::FileExt;

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

/// The number of bytes to read from a file at a time.
const BLOCK: usize = 256 * 1_024;

/// The polynomial of CRC-32 (ISO 3309), bit-reversed.
const CRC_32: u32 = 0xedb8_8320;

/// A running digest of local data, for [`Client::compare_hash`](crate::Client::compare_hash).
pub struct Checksum {
    algorithm: HashAlgorithm,
    hash: Hash,
}

enum Hash {
    Sha256(sha2::Sha256),
    Sha512(sha2::Sha512),
    Sha1(sha1::Sha1),
    Crc32(u32),
}

impl Checksum {
    /// Returns an empty digest, to which bytes can be added; `None` for MD5, which this library
    /// does not compute.
    #[must_use]
    pub fn new(algorithm: HashAlgorithm) -> Option<Self> {
        let hash = match algorithm {
            HashAlgorithm::Sha256 => Hash::Sha256(sha2::Sha256::new()),
            HashAlgorithm::Sha512 => Hash::Sha512(sha2::Sha512::new()),
            HashAlgorithm::Sha1 => Hash::Sha1(sha1::Sha1::new()),
            HashAlgorithm::Crc32 => Hash::Crc32(!0),
            HashAlgorithm::Md5 => return None,
        };
        Some(Self { algorithm, hash })
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.hash {
            Hash::Sha256(hash) => hash.update(bytes),
            Hash::Sha512(hash) => hash.update(bytes),
            Hash::Sha1(hash) => hash.update(bytes),
            Hash::Crc32(crc) => {
                for byte in bytes {
                    *crc ^= u32::from(*byte);
                    for _ in 0..8 {
                        *crc = (*crc >> 1) ^ (CRC_32 & (*crc & 1).wrapping_neg());
                    }
                }
            }
        }
    }

    /// Returns the algorithm of the digest.
    #[must_use]
    pub const fn algorithm(&self) -> HashAlgorithm {
        self.algorithm
    }

    /// Adds the first `length` bytes of a file. The file's position does not matter and does not
    /// change.
    ///
    /// # Errors
    ///
    /// Returns the file's error, and [`io::ErrorKind::UnexpectedEof`] if the file is shorter than
    /// `length`.
    pub fn update_from(&mut self, file: &File, length: u64) -> io::Result<()> {
        let mut block = vec![0; BLOCK];
        let mut at = 0;
        while at < length {
            let wanted = usize::try_from(length - at).unwrap_or(BLOCK).min(BLOCK);
            let (piece, _) = block.split_at_mut(wanted);
            file.read_exact_at(piece, at)?;
            self.update(piece);
            at += wanted as u64;
        }
        Ok(())
    }

    /// Returns the digest of all bytes.
    #[must_use]
    pub fn finish(self) -> Digest {
        let bytes = match self.hash {
            Hash::Sha256(hash) => hash.finalize().to_vec(),
            Hash::Sha512(hash) => hash.finalize().to_vec(),
            Hash::Sha1(hash) => hash.finalize().to_vec(),
            Hash::Crc32(crc) => (!crc).to_be_bytes().to_vec(),
        };
        Digest { algorithm: self.algorithm, bytes }
    }
}

ftp_proto::debug_fields!(Checksum { algorithm }..);

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

    #[test]
    fn digests_match_published_test_vectors() {
        // The first three values are from FIPS 180-4 for "abc", the last is the check value of ISO
        // 3309.
        for (algorithm, text, want) in [
            (HashAlgorithm::Sha256, "abc", "ba7816bf8f01cfea"),
            (HashAlgorithm::Sha512, "abc", "ddaf35a193617aba"),
            (HashAlgorithm::Sha1, "abc", "a9993e364706816a"),
            (HashAlgorithm::Crc32, "123456789", "cbf43926"),
        ] {
            let mut checksum = Checksum::new(algorithm).unwrap();
            for byte in text.as_bytes() {
                checksum.update(&[*byte]);
            }
            let digest = checksum.finish();
            assert_eq!(digest.bytes.len(), algorithm.length());
            assert!(digest.to_string().starts_with(want), "{algorithm}: {digest}");
        }
        assert!(Checksum::new(HashAlgorithm::Md5).is_none());
    }

    #[test]
    fn checksums_read_from_the_start_and_keep_the_file_position() {
        use std::io::{Read, Seek, SeekFrom, Write};

        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"123456789 and more").unwrap();
        file.seek(SeekFrom::Start(10)).unwrap();
        let mut checksum = Checksum::new(HashAlgorithm::Crc32).unwrap();
        checksum.update_from(&file, 9).unwrap();
        assert_eq!(checksum.finish().bytes, [0xcb, 0xf4, 0x39, 0x26]);
        let mut rest = String::new();
        file.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "and more");
        let mut checksum = Checksum::new(HashAlgorithm::Crc32).unwrap();
        assert!(checksum.update_from(&file, 19).is_err());
    }
}
