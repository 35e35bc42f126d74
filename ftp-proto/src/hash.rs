//! Digests of files: the reply to `HASH` (draft-bryan-ftpext-hash-02 §3).

use std::fmt;

use crate::bytes::{self, Pathname, split_once};
use crate::{ParseError, ParseErrorKind};

/// A digest in a 213 reply: `SHA-256 0-49 169cd2… name`.
///
/// ```
/// use ftp_proto::FileDigest;
///
/// let digest = FileDigest::parse(b"SHA-1 0-255 80bc95fd391772fa a name")?;
/// assert_eq!(digest.algorithm, "SHA-1");
/// assert_eq!((digest.first, digest.last), (0, 255));
/// assert_eq!(digest.pathname.as_bytes(), b"a name");
/// # Ok::<(), ftp_proto::ParseError>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct FileDigest {
    /// The IANA name of the algorithm, in upper case, such as `SHA-256`.
    pub algorithm: String,
    /// The first byte of the digested range, counted from 0.
    pub first: u64,
    /// The last byte of the digested range; 0 for an empty file.
    pub last: u64,
    /// The digest, one byte or more.
    pub digest: Vec<u8>,
    /// The file.
    pub pathname: Pathname,
}

impl FileDigest {
    /// Parses the text of a 213 reply.
    ///
    /// # Errors
    ///
    /// - `UnexpectedEnd` if a field is missing.
    /// - `UnexpectedByte` for an algorithm with characters that the draft does not allow.
    /// - `BadNumber` for an invalid range or digest.
    /// - `LineBreak` for CR, LF or NUL in the pathname.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        let error = |at, kind| ParseError::new("HASH reply", at, kind);
        let end = error(text.len(), ParseErrorKind::UnexpectedEnd);
        let mut fields = text.splitn(4, |&byte| byte == b' ');
        let mut field = || fields.next().filter(|field| !field.is_empty()).ok_or(end);
        let algorithm = field()?;
        let range = field()?;
        let digits = field()?;
        let pathname = field()?;
        if let Some(at) = algorithm.iter().position(|byte| !is_name_byte(*byte)) {
            return Err(error(at, ParseErrorKind::UnexpectedByte));
        }
        let at = algorithm.len() + 1;
        let bad_range = error(at, ParseErrorKind::BadNumber);
        let (first, last) = split_once(range, b'-').ok_or(bad_range)?;
        let first = bytes::decimal(first).ok_or(bad_range)?;
        let last = bytes::decimal(last).filter(|last| *last >= first).ok_or(bad_range)?;
        let digest = bytes(digits).ok_or(error(at + range.len() + 1, ParseErrorKind::BadNumber))?;
        Ok(Self {
            algorithm: String::from_utf8_lossy(algorithm).to_ascii_uppercase(),
            first,
            last,
            digest,
            pathname: Pathname::try_from(pathname)?,
        })
    }

    /// Returns the text of a 213 reply, with the digest in lower case.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut text = format!("{self} ").into_bytes();
        text.extend_from_slice(self.pathname.as_bytes());
        text
    }
}

/// Writes everything except the pathname, which is bytes and not text.
impl fmt::Display for FileDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}-{} ", self.algorithm, self.first, self.last)?;
        self.digest.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Returns whether the draft allows a byte in the name of an algorithm.
pub(crate) const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'/' | b'.' | b',')
}

/// Converts pairs of hexadecimal digits to bytes.
fn bytes(digits: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let byte = |[high, low]: &[u8; 2]| u8::try_from(digit(*high)? * 16 + digit(*low)?).ok();
    pairs.iter().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ParseErrorKind::{BadNumber, UnexpectedByte, UnexpectedEnd};

    #[test]
    fn parse_and_encode_round_trip_cm_126() {
        for (text, first, last, digest) in [
            ("SHA-256 0-49 169cd2 filename.ext", 0, 49, vec![0x16, 0x9c, 0xd2]),
            ("sha-1 0-0 FF  a ", 0, 0, vec![0xff]),
            ("MD5 5-18446744073709551615 00ff \u{e9}", 5, u64::MAX, vec![0, 0xff]),
        ] {
            let got = FileDigest::parse(text.as_bytes()).unwrap();
            assert_eq!((got.first, got.last, &got.digest), (first, last, &digest), "{text}");
            let sent = got.encode();
            assert_eq!(sent.to_ascii_lowercase(), text.as_bytes().to_ascii_lowercase(), "{text}");
            assert_eq!(FileDigest::parse(&sent), Ok(got), "{text}");
        }
    }

    #[test]
    fn parse_rejects_invalid_input() {
        for (text, at, kind) in [
            ("", 0, UnexpectedEnd),
            ("SHA-1 0-1 ff", 12, UnexpectedEnd),
            ("SHA-1 0-1 ff ", 13, UnexpectedEnd),
            ("SHA-1  0-1 ff a", 15, UnexpectedEnd),
            ("SHA+1 0-1 ff a", 3, UnexpectedByte),
            ("SHA-1 0 ff a", 6, BadNumber),
            ("SHA-1 2-1 ff a", 6, BadNumber),
            ("SHA-1 -1 ff a", 6, BadNumber),
            ("SHA-1 0-18446744073709551616 ff a", 6, BadNumber),
            ("SHA-1 0-1 fff a", 10, BadNumber),
            ("SHA-1 0-1 fg a", 10, BadNumber),
            ("SHA-1 0-1 +f a", 10, BadNumber),
        ] {
            let want = ParseError::new("HASH reply", at, kind);
            assert_eq!(FileDigest::parse(text.as_bytes()), Err(want), "{text}");
        }
        assert!(FileDigest::parse(b"SHA-1 0-1 ff a\rb").is_err());
    }
}
