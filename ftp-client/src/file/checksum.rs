//! Digests of local data, for comparison with digests that a server computes.

use std::fs::File;
use std::io;

use sha2::Digest as _;

use crate::client::Client;
use crate::digest::{Digest, HashAlgorithm};
use crate::error::Error;
use crate::system::FileExt;

/// The number of bytes to read from a file at a time.
const BLOCK: usize = 256 * 1_024;

/// The polynomial of CRC-32 (ISO 3309), bit-reversed.
const CRC_32: u32 = 0xedb8_8320;

/// A running digest of local data, for [`Client::compare_hash`].
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

    /// Returns an empty digest for the first algorithm that both the server and this library
    /// support; `None` if there is none.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Client::hash_algorithms`].
    pub fn for_server(client: &mut Client) -> Result<Option<Self>, Error> {
        Ok(client.hash_algorithms()?.into_iter().find_map(Self::new))
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
