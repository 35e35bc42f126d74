//! HASH (draft-bryan-ftpext-hash-02), and the older XCRC, XMD5, XSHA1 and XSHA256, which no document
//! specifies. The digest is computed in pieces, so that the session can check its control connection
//! in between.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use flate2::Crc;
use ftp_proto::{FileDigest, Pathname, Reply, ReplyCode, Verb};
use sha2::digest::DynDigest;

use crate::deadline::before_asking_again;
use crate::limits;
use crate::reply::{self, Purpose};
use crate::session::Work;
use crate::storage::{Source, StorageErrorKind};

/// Maximum bytes of one read.
const PIECE: usize = 32 * 1024;

pub(super) struct Digesting {
    source: Box<dyn Source>,
    hasher: Hasher,
    /// The algorithm and the name of the file as the client wrote it, for the reply to HASH; `None` for
    /// an older command.
    told: Option<(Algorithm, Pathname)>,
    /// Number of bytes to digest; `None`: all.
    length: Option<u64>,
    /// Bytes read so far.
    done: u64,
    begun: Instant,
    limit: Duration,
    buffer: Vec<u8>,
}

impl Digesting {
    pub(super) fn of_hash(
        opened: (Box<dyn Source>, Option<u64>),
        algorithm: Algorithm,
        pathname: Pathname,
    ) -> Self {
        Self::new(opened, Hasher::Digest(algorithm.begin()), Some((algorithm, pathname)))
    }

    pub(super) fn new(
        (source, length): (Box<dyn Source>, Option<u64>),
        hasher: Hasher,
        told: Option<(Algorithm, Pathname)>,
    ) -> Self {
        Self {
            source,
            length,
            hasher,
            told,
            done: 0,
            begun: Instant::now(),
            limit: limits::DIGEST_TIME,
            buffer: vec![0; PIECE],
        }
    }
}

impl Work for Digesting {
    /// Reads the next piece. Returns `true` at the end of the file.
    fn advance(&mut self) -> Result<bool, Reply> {
        // The time limit also stops the digest of a file that grows as fast as it is read.
        if self.begun.elapsed() >= self.limit {
            return Err(reply::too_much_to_digest());
        }
        match self.source.ready() {
            Ok(true) => {}
            Ok(false) => {
                before_asking_again();
                return Ok(false);
            }
            Err(error) => return Err(reply::storage_failure(&error, Purpose::Digest)),
        }
        let left = self.length.map(|length| length - self.done);
        let most = left.and_then(|left| usize::try_from(left).ok()).unwrap_or(PIECE).min(PIECE);
        match self.source.read(self.buffer.get_mut(..most).unwrap_or_default()) {
            // Another session has taken the bytes away.
            Ok(0) if most > 0 && left.is_some() => {
                Err(reply::storage_failure(&StorageErrorKind::Busy.into(), Purpose::Digest))
            }
            Ok(0) => Ok(true),
            Ok(count) => {
                self.hasher.update(self.buffer.get(..count).unwrap_or_default());
                self.done = self.done.saturating_add(count as u64);
                Ok(false)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(false),
            Err(error) => Err(reply::storage_failure(&error.into(), Purpose::Digest)),
        }
    }

    fn finish(&mut self) -> Reply {
        let digest = self.hasher.finish();
        let Some((algorithm, pathname)) = self.told.take() else {
            let digits: String = digest.iter().map(|byte| format!("{byte:02X}")).collect();
            return Reply::new(ReplyCode::FILE_ACTION_OKAY, digits);
        };
        let digest = FileDigest {
            algorithm: algorithm.name().to_owned(),
            first: 0,
            last: self.done.saturating_sub(1),
            digest,
            pathname,
        };
        Reply::new(ReplyCode::FILE_STATUS, digest.encode())
    }

    fn done(&self) -> u64 {
        self.done
    }
}

pub(super) enum Hasher {
    Digest(Box<dyn DynDigest + Send>),
    Crc32(Crc),
}

impl Hasher {
    /// Returns the hasher of an older command; `None` for other verbs.
    pub(super) fn of(verb: Verb) -> Option<Self> {
        Some(match verb {
            Verb::Xcrc => Self::Crc32(Crc::new()),
            Verb::Xmd5 => Self::Digest(Box::<md5::Md5>::default()),
            Verb::Xsha1 => Self::Digest(Algorithm::Sha1.begin()),
            Verb::Xsha256 => Self::Digest(Algorithm::Sha256.begin()),
            _ => return None,
        })
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Digest(digest) => digest.update(bytes),
            Self::Crc32(crc) => crc.update(bytes),
        }
    }

    fn finish(&mut self) -> Vec<u8> {
        match self {
            Self::Digest(digest) => digest.finalize_reset().into_vec(),
            Self::Crc32(crc) => crc.sum().to_be_bytes().to_vec(),
        }
    }
}

/// The argument of an older command: a path, and the part of the file to digest. Only after a path in
/// quotes can there be a part: otherwise `XCRC report 2024` could be another file.
pub(super) struct RangeArgument {
    pub(super) path: Pathname,
    pub(super) first: u64,
    /// The offset after the last byte; `None`: the end of the file.
    pub(super) end: Option<u64>,
}

impl RangeArgument {
    pub(super) fn parse(argument: &[u8]) -> Option<Self> {
        let Some(rest) = argument.strip_prefix(b"\"") else {
            return Some(Self { path: Pathname::new(argument).ok()?, first: 0, end: None });
        };
        let close = rest.iter().rposition(|&byte| byte == b'"')?;
        let (path, numbers) = (rest.get(..close)?, str::from_utf8(rest.get(close + 1..)?).ok()?);
        let mut numbers = numbers.split_whitespace().map(|number| number.parse().ok());
        let (first, end) = (numbers.next(), numbers.next());
        if numbers.next().is_some() {
            return None;
        }
        let first = first.map_or(Some(0), |first| first)?;
        let end = end.map_or(Some(None), |end: Option<u64>| end.map(Some))?;
        let path = Pathname::new(path).ok()?;
        end.is_none_or(|end| end >= first).then_some(Self { path, first, end })
    }
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Algorithm {
    /// SHA-256, the default.
    #[default]
    Sha256,
    Sha512,
    /// SHA-1, which is insecure but required by the draft.
    Sha1,
}

impl Algorithm {
    /// All algorithms, in the order of `FEAT`.
    pub(crate) const ALL: [Self; 3] = [Self::Sha256, Self::Sha512, Self::Sha1];

    /// Returns the name that IANA has registered.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA-256",
            Self::Sha512 => "SHA-512",
            Self::Sha1 => "SHA-1",
        }
    }

    pub(crate) fn begin(self) -> Box<dyn DynDigest + Send> {
        match self {
            Self::Sha256 => Box::<sha2::Sha256>::default(),
            Self::Sha512 => Box::<sha2::Sha512>::default(),
            Self::Sha1 => Box::<sha1::Sha1>::default(),
        }
    }

    /// Returns the algorithm with this upper-case name, or `None` if the name is unknown.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::StorageResult;

    /// Supplies its bytes three at a time, with an interruption before each piece.
    struct Dripping {
        rest: &'static [u8],
        interrupt: bool,
        end: Option<ErrorKind>,
    }

    impl std::io::Read for Dripping {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.interrupt = !self.interrupt;
            if self.interrupt {
                return Err(ErrorKind::Interrupted.into());
            }
            if let Some(end) = self.end.filter(|_| self.rest.is_empty()) {
                return Err(end.into());
            }
            let count = self.rest.len().min(3);
            buffer[..count].copy_from_slice(&self.rest[..count]);
            self.rest = &self.rest[count..];
            Ok(count)
        }
    }

    impl Source for Dripping {
        fn size(&self) -> u64 {
            self.rest.len() as u64
        }

        fn seek_to(&mut self, _offset: u64) -> StorageResult<()> {
            Err(StorageErrorKind::Io.into())
        }
    }

    fn digesting(
        content: &'static [u8],
        algorithm: Algorithm,
        end: Option<ErrorKind>,
    ) -> Digesting {
        let source = Box::new(Dripping { rest: content, interrupt: false, end });
        Digesting::of_hash((source, None), algorithm, Pathname::new("a name").unwrap())
    }

    fn reply(mut digesting: Digesting) -> String {
        let work: &mut dyn Work = &mut digesting;
        let reply = std::iter::from_fn(|| Some(work.step())).flatten().next().unwrap();
        String::from_utf8(reply.encode()).unwrap()
    }

    #[test]
    fn digests_match_the_standard_cm_126() {
        use Algorithm::{Sha1, Sha256, Sha512};
        const TWO_BLOCKS: &[u8] = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
        for (content, algorithm, range, want) in [
            (
                &b"abc"[..],
                Sha256,
                "0-2",
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ),
            (
                TWO_BLOCKS,
                Sha256,
                "0-55",
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
            ),
            (
                b"",
                Sha256,
                "0-0",
                "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            ),
            (b"abc", Sha1, "0-2", "a9993e364706816aba3e25717850c26c9cd0d89d"),
            (TWO_BLOCKS, Sha1, "0-55", "84983e441c3bd26ebaae4aa1f95129e5e54670f1"),
            (
                b"abc",
                Sha512,
                "0-2",
                "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                 2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
            ),
        ] {
            let want = format!("213 {} {range} {want} a name\r\n", algorithm.name());
            assert_eq!(reply(digesting(content, algorithm, None)), want);
        }
    }

    #[test]
    fn older_commands_match_the_standards_cm_127() {
        for (verb, want) in [
            (Verb::Xcrc, "352441C2"),
            (Verb::Xmd5, "900150983CD24FB0D6963F7D28E17F72"),
            (Verb::Xsha1, "A9993E364706816ABA3E25717850C26C9CD0D89D"),
            (Verb::Xsha256, "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD"),
        ] {
            let source = Box::new(Dripping { rest: b"abc", interrupt: false, end: None });
            let digesting = Digesting::new((source, None), Hasher::of(verb).unwrap(), None);
            assert_eq!(reply(digesting), format!("250 {want}\r\n"), "{verb:?}");
        }
    }

    #[test]
    fn only_a_path_in_quotes_has_a_range_cm_127() {
        let parse = |text: &str| {
            let found = RangeArgument::parse(text.as_bytes())?;
            Some((found.path.as_bytes().to_vec(), found.first, found.end))
        };
        let is = |path: &str, first, end| Some((path.as_bytes().to_vec(), first, end));
        for (text, want) in [
            ("report 2024", is("report 2024", 0, None)),
            ("\"report 2024\"", is("report 2024", 0, None)),
            ("\"a \"b\" c\" 5", is("a \"b\" c", 5, None)),
            ("\"a\" 5 5", is("a", 5, Some(5))),
            ("\"a\" 5 4", None),
            ("\"a\" 5 6 7", None),
            ("\"a\" x", None),
            ("\"a\" 1 -1", None),
            ("\"a", None),
            ("", None),
        ] {
            assert_eq!(parse(text), want, "{text}");
        }
    }

    #[test]
    fn an_unreadable_or_slow_file_has_no_digest_cm_126() {
        let broken = digesting(b"abcdef", Algorithm::Sha256, Some(ErrorKind::Other));
        assert!(reply(broken).starts_with("451 "));
        let mut slow = digesting(b"abcdef", Algorithm::Sha256, None);
        slow.limit = Duration::ZERO;
        assert!(reply(slow).starts_with("556 "));
    }

    #[test]
    fn algorithms_are_found_by_their_names_cm_57() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::named(algorithm.name()), Some(algorithm));
        }
        for name in ["", "MD5", "SHA", "SHA256", "SHA-2560"] {
            assert_eq!(Algorithm::named(name), None, "{name}");
        }
    }
}
