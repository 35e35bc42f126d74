//! Digests of local data, to be compared with those that a server computes (`--verify hash`).

use std::fs::File;
use std::io;

use ftp_client::HashAlgorithm;
use rustix::io::pread;
use sha2::Digest as _;

/// How much of a file is read at a time, in bytes.
const BLOCK: usize = 256 * 1_024;

/// The polynomial of CRC-32 (ISO 3309), its bits in reverse.
const CRC_32: u32 = 0xedb8_8320;

/// A digest that is being computed.
pub(crate) enum Checksum {
    Sha256(sha2::Sha256),
    Sha512(sha2::Sha512),
    Sha1(sha1::Sha1),
    Crc32(u32),
}

impl Checksum {
    /// Of no bytes yet. `None` for an algorithm that is not computed here.
    pub(crate) fn new(algorithm: HashAlgorithm) -> Option<Self> {
        match algorithm {
            HashAlgorithm::Sha256 => Some(Self::Sha256(sha2::Sha256::new())),
            HashAlgorithm::Sha512 => Some(Self::Sha512(sha2::Sha512::new())),
            HashAlgorithm::Sha1 => Some(Self::Sha1(sha1::Sha1::new())),
            HashAlgorithm::Crc32 => Some(Self::Crc32(!0)),
            _ => None,
        }
    }

    /// Takes further bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha512(hash) => hash.update(bytes),
            Self::Sha1(hash) => hash.update(bytes),
            Self::Crc32(crc) => {
                for byte in bytes {
                    *crc ^= u32::from(*byte);
                    for _ in 0..8 {
                        *crc = (*crc >> 1) ^ (CRC_32 & (*crc & 1).wrapping_neg());
                    }
                }
            }
        }
    }

    /// Takes the first `length` bytes of a file, whatever its position is, which stays.
    ///
    /// # Errors
    ///
    /// The file's; [`io::ErrorKind::UnexpectedEof`] if it is shorter.
    pub(crate) fn update_from(&mut self, file: &File, length: u64) -> io::Result<()> {
        let mut block = vec![0; BLOCK];
        let mut at = 0;
        while at < length {
            let wanted = usize::try_from(length - at).unwrap_or(BLOCK).min(BLOCK);
            let count = pread(file, block.get_mut(..wanted).unwrap_or_default(), at)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.update(block.get(..count).unwrap_or_default());
            at += count as u64;
        }
        Ok(())
    }

    /// The digest, as many bytes as [`HashAlgorithm::length`] says.
    pub(crate) fn finish(self) -> Vec<u8> {
        match self {
            Self::Sha256(hash) => hash.finalize().to_vec(),
            Self::Sha512(hash) => hash.finalize().to_vec(),
            Self::Sha1(hash) => hash.finalize().to_vec(),
            Self::Crc32(crc) => (!crc).to_be_bytes().to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_the_documents() {
        // FIPS 180-4 has the first three for "abc", ISO 3309 the check value of the last.
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
            let bytes = checksum.finish();
            assert_eq!(bytes.len(), algorithm.length());
            let shown: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert!(shown.starts_with(want), "{algorithm}: {shown}");
        }
        assert!(Checksum::new(HashAlgorithm::Md5).is_none());
    }

    #[test]
    fn files_are_read_from_their_start_and_keep_their_position() {
        use std::io::{Read, Seek, SeekFrom, Write};

        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"123456789 and more").unwrap();
        file.seek(SeekFrom::Start(10)).unwrap();
        let mut checksum = Checksum::new(HashAlgorithm::Crc32).unwrap();
        checksum.update_from(&file, 9).unwrap();
        assert_eq!(checksum.finish(), [0xcb, 0xf4, 0x39, 0x26]);
        let mut rest = String::new();
        file.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "and more");
        let mut checksum = Checksum::new(HashAlgorithm::Crc32).unwrap();
        assert!(checksum.update_from(&file, 19).is_err());
    }
}
