//! What replies say about a file: its facts, one entry of an `MLST` or `MLSD` reply (RFC 3659 §7.2),
//! and its digest, the reply to `HASH` (draft-bryan-ftpext-hash-02 §3).

use std::fmt;

use crate::bytes::{self, Escaped, Pathname, split_once};
use crate::time_val::TimeVal;
use crate::{ParseError, ParseErrorKind};

/// The value of the fact `type` (RFC 3659 §7.5.1).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum FactType {
    /// `file`: an object that `RETR` can read.
    File,
    /// `dir`: a directory.
    Directory,
    /// `cdir`: the listed directory itself.
    CurrentDirectory,
    /// `pdir`: the parent of the listed directory.
    ParentDirectory,
    /// `OS.name=type`, or a word that the RFC does not define.
    Other,
}

impl FactType {
    /// Parses the value of the fact, ignoring case.
    pub(crate) fn read(value: &[u8]) -> Self {
        let is = |word: &str| value.eq_ignore_ascii_case(word.as_bytes());
        if is("file") {
            Self::File
        } else if is("dir") {
            Self::Directory
        } else if is("cdir") {
            Self::CurrentDirectory
        } else if is("pdir") {
            Self::ParentDirectory
        } else {
            Self::Other
        }
    }
}

/// A known fact about an object: one of RFC 3659 §7.5, or a Unix fact that no standard defines but
/// many servers send. `OPTS MLST` chooses which of these facts a server sends.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Fact {
    /// Its type, such as `file` or `dir`.
    Type,
    /// Its size in bytes.
    Size,
    /// Its modification time.
    Modify,
    /// Its creation time.
    Create,
    /// An identifier that differs from those of all other objects on the server.
    Unique,
    /// The user's rights to it.
    Perm,
    /// The language of its name.
    Lang,
    /// Its media type, such as `text/plain`.
    MediaType,
    /// The character set of its content.
    CharSet,
    /// Its permission bits, in octal.
    UnixMode,
    /// Its owner.
    UnixOwner,
    /// Its group.
    UnixGroup,
}

impl Fact {
    /// All known facts: those of the RFC, then those of Unix.
    pub const ALL: &[Self] = &[
        Self::Type,
        Self::Size,
        Self::Modify,
        Self::Create,
        Self::Unique,
        Self::Perm,
        Self::Lang,
        Self::MediaType,
        Self::CharSet,
        Self::UnixMode,
        Self::UnixOwner,
        Self::UnixGroup,
    ];

    /// Returns the name of the fact on the wire. Ignore case when you compare names.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Type => "type",
            Self::Size => "size",
            Self::Modify => "modify",
            Self::Create => "create",
            Self::Unique => "unique",
            Self::Perm => "perm",
            Self::Lang => "lang",
            Self::MediaType => "media-type",
            Self::CharSet => "charset",
            Self::UnixMode => "UNIX.mode",
            Self::UnixOwner => "UNIX.owner",
            Self::UnixGroup => "UNIX.group",
        }
    }

    /// Returns the fact with this name, ignoring case; `None` for an unknown name.
    #[must_use]
    pub fn parse(name: &[u8]) -> Option<Self> {
        let is = |fact: &&Self| fact.as_str().as_bytes().eq_ignore_ascii_case(name);
        Self::ALL.iter().find(is).copied()
    }
}

/// One entry: facts and a pathname.
///
/// ```
/// use ftp_proto::Facts;
///
/// let facts = Facts::parse(b"Type=file;Size=1024;unique=fd01; a name")?;
/// assert_eq!(facts.size(), Some(1024));
/// assert_eq!(facts.get("UNIQUE"), Some(b"fd01".as_slice()));
/// assert_eq!(facts.name(), b"a name");
/// # Ok::<(), ftp_proto::ParseError>(())
/// ```
#[derive(Clone, Eq, PartialEq)]
pub struct Facts {
    /// The facts, each with its `;`, then SP and the name.
    line: Vec<u8>,
    /// The position of that SP.
    space: usize,
}

impl fmt::Debug for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Facts").field(&Escaped(&self.line)).finish()
    }
}

impl Facts {
    /// Returns an entry called `name` without facts.
    #[must_use]
    pub fn new(name: impl Into<Vec<u8>>) -> Self {
        let mut line = name.into();
        line.insert(0, b' ');
        Self { line, space: 0 }
    }

    /// Adds a fact after the others, and returns the entry.
    ///
    /// Neither argument may contain a separator (`;`, SP or TAB), and `fact` must not contain `=`.
    #[must_use]
    pub fn with(mut self, fact: &str, value: impl AsRef<[u8]>) -> Self {
        let name = self.line.split_off(self.space);
        for piece in [fact.as_bytes(), b"=", value.as_ref(), b";"] {
            self.line.extend_from_slice(piece);
        }
        self.space = self.line.len();
        self.line.extend_from_slice(&name);
        self
    }

    /// Parses one line without its line ending: facts that each end with `;`, one SP, and the
    /// pathname, which may begin or end with SP.
    ///
    /// A line that begins with SP has no facts. Names of facts are case-insensitive (RFC 3659
    /// §7.5). If a fact occurs twice, the first one counts. Unknown facts are kept; a fact without
    /// `=` is ignored.
    ///
    /// Two violations of the RFC are accepted, since servers send them. The last fact may lack its
    /// `;`. The value of an owner, a group, an unknown fact or an `OS.name=type` may contain SP if the
    /// facts end with `;` and SP. ProFTPD sends such values for groups called `domain users`, and for
    /// links whose target contains SP.
    ///
    /// # Errors
    ///
    /// - `UnexpectedEnd` if the SP or the name is missing.
    /// - `UnexpectedByte` if the text before the SP does not consist of facts, for example because
    ///   the line is a message.
    /// - `UnexpectedByte` for a TAB after the facts: otherwise, the first SP in the name would
    ///   count as the separator.
    pub fn parse(line: &[u8]) -> Result<Self, ParseError> {
        let error = |at, kind| ParseError::new("MLSx entry", at, kind);
        let end = || error(line.len(), ParseErrorKind::UnexpectedEnd);
        let first = memchr::memchr2(b' ', b'\t', line).ok_or_else(end)?;
        let (before, _) = line.split_at(first);
        let (space, closed) = if matches!(before, [] | [.., b';']) {
            (first, true)
        } else {
            match line.windows(2).position(|pair| pair == b"; ") {
                Some(at) if may_hold_blanks(line.split_at(at).0) => (at + 1, true),
                _ => (first, false),
            }
        };
        let (facts, name) = line.split_at(space);
        if name.len() == 1 {
            return Err(end());
        }
        // If the last part does not end with `;`, it must contain an `=`.
        let last = facts.rsplit(|&byte| byte == b';').next().filter(|_| !closed);
        let has_facts = facts.is_empty() || last.unwrap_or(facts).contains(&b'=');
        if line.get(first) == Some(&b'\t') || !has_facts {
            return Err(error(first, ParseErrorKind::UnexpectedByte));
        }
        let mut facts = Self { line: line.to_vec(), space };
        if !closed {
            facts.line.insert(space, b';');
            facts.space += 1;
        }
        Ok(facts)
    }

    /// Appends the line without its line ending, with the facts in their original order.
    ///
    /// The name is not checked: leave names with CR or LF out of a listing (RFC 3659 §2.2).
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.line);
    }

    /// Returns the text before the SP, and the SP with the name.
    fn halves(&self) -> (&[u8], &[u8]) {
        self.line.split_at(self.space)
    }

    /// Returns each fact without its `;`.
    fn each(&self) -> impl Iterator<Item = &[u8]> {
        self.halves().0.split(|&byte| byte == b';').filter(|fact| !fact.is_empty())
    }

    /// Returns the name and value of each fact with `=`, as received and in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.each().filter_map(|fact| split_once(fact, b'='))
    }

    /// Returns the value of a fact, ignoring case in its name; `None` if it is missing.
    #[must_use]
    pub fn get(&self, fact: &str) -> Option<&[u8]> {
        let wanted = fact.as_bytes();
        self.each().find_map(|fact| {
            let (name, value) = fact.split_at_checked(wanted.len())?;
            let value = value.strip_prefix(b"=")?;
            name.eq_ignore_ascii_case(wanted).then_some(value)
        })
    }

    /// Returns the pathname, byte for byte. A hostile server may send `..` or a name with `/`.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        let (_, name) = self.halves();
        name.strip_prefix(b" ").unwrap_or(name)
    }

    /// Returns the fact `type`; `None` if it is missing.
    #[must_use]
    pub fn kind(&self) -> Option<FactType> {
        self.get("type").map(FactType::read)
    }

    /// Returns the fact `size` in bytes; `None` if it is missing or not a number below 2^64.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        bytes::decimal(self.get("size")?)
    }

    /// Returns the fact `modify`, the modification time; `None` if it is missing or invalid.
    #[must_use]
    pub fn modify(&self) -> Option<TimeVal> {
        TimeVal::parse(self.get("modify")?).ok()
    }
}

/// Returns whether all parts are facts, with SP only in values that may contain it.
fn may_hold_blanks(facts: &[u8]) -> bool {
    facts.split(|&byte| byte == b';').all(|fact| {
        let Some((name, value)) = split_once(fact, b'=') else { return false };
        let takes_blanks = match Fact::parse(name) {
            None | Some(Fact::UnixOwner | Fact::UnixGroup) => true,
            Some(Fact::Type) => value.contains(&b'='),
            _ => false,
        };
        !name.contains(&b' ') && (takes_blanks || !value.contains(&b' '))
    })
}

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
        if let Some(at) = algorithm.iter().position(|byte| !is_algorithm_byte(*byte)) {
            return Err(error(at, ParseErrorKind::UnexpectedByte));
        }
        let at = algorithm.len() + 1;
        let bad_range = error(at, ParseErrorKind::BadNumber);
        let (first, last) = split_once(range, b'-').ok_or(bad_range)?;
        let first = bytes::decimal(first).ok_or(bad_range)?;
        let last = bytes::decimal(last).filter(|last| *last >= first).ok_or(bad_range)?;
        let digest =
            hex_bytes(digits).ok_or(error(at + range.len() + 1, ParseErrorKind::BadNumber))?;
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
pub(crate) const fn is_algorithm_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'/' | b'.' | b',')
}

fn hex_bytes(digits: &[u8]) -> Option<Vec<u8>> {
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

    #[test]
    fn parse_reads_facts_and_the_name_ls_46_ls_47() {
        let facts = Facts::parse(b"TYPE=file;x.y=;Size=5;size=6;junk;modify=19990929003355; a ");
        let facts = facts.unwrap();
        assert_eq!(facts.kind(), Some(FactType::File));
        assert_eq!(facts.size(), Some(5));
        assert_eq!(facts.get("X.Y"), Some(&b""[..]));
        assert_eq!(facts.get("junk"), None);
        assert_eq!(facts.modify().unwrap().unix_seconds(), 938_565_235);
        assert_eq!(facts.name(), b"a ");
        let bare = Facts::parse(b"  lead").unwrap();
        assert_eq!((bare.name(), bare.kind()), (&b" lead"[..], None));
    }

    #[test]
    fn fact_names_round_trip() {
        for fact in Fact::ALL {
            assert_eq!(Fact::parse(fact.as_str().to_uppercase().as_bytes()), Some(*fact));
        }
        assert_eq!(Fact::parse(b"UNIX.uid"), None);
        assert_eq!(Fact::parse(b""), None);
    }

    #[test]
    fn parse_rejects_invalid_input() {
        for line in ["", "nospace", "type=file;", "type=file; ", " ", "type=file;size=5 "] {
            let want = ParseError::new("MLSx entry", line.len(), ParseErrorKind::UnexpectedEnd);
            assert_eq!(Facts::parse(line.as_bytes()), Err(want), "{line:?}");
        }
        for (line, at) in [
            ("No such directory", 2),
            ("ftpd: .: Permission denied", 5),
            ("550 x; y", 3),
            ("; x", 1),
            ("type=file;\ta b", 10),
            ("type=file\t; b", 9),
        ] {
            let want = ParseError::new("MLSx entry", at, ParseErrorKind::UnexpectedByte);
            assert_eq!(Facts::parse(line.as_bytes()), Err(want), "{line:?}");
        }
    }

    #[test]
    fn kind_recognises_every_type() {
        for (word, want) in [
            ("FILE", FactType::File),
            ("dir", FactType::Directory),
            ("cDir", FactType::CurrentDirectory),
            ("pdir", FactType::ParentDirectory),
            ("OS.unix=slink", FactType::Other),
            ("dix", FactType::Other),
            ("qdir", FactType::Other),
        ] {
            assert_eq!(Facts::new("x").with("type", word).kind(), Some(want), "{word}");
        }
    }

    #[test]
    fn encode_round_trips() {
        let facts = Facts::new(" a;b= c").with("type", "OS.unix=slink").with("size", "7");
        let mut line = Vec::new();
        facts.encode(&mut line);
        assert_eq!(line, b"type=OS.unix=slink;size=7;  a;b= c");
        assert_eq!(Facts::parse(&line), Ok(facts));
    }

    #[test]
    fn ten_thousand_facts_use_no_more_memory_than_the_line_hc_32() {
        let mut line = b"a=1;".repeat(10_000);
        line.extend_from_slice(&b"no-equals;".repeat(10_000));
        line.extend_from_slice(b"size=5; name");
        let facts = Facts::parse(&line).unwrap();
        assert_eq!((facts.size(), facts.iter().count()), (Some(5), 10_001));
        assert!(facts.line.capacity() <= line.len());
    }

    #[test]
    fn facts_with_spaces_are_parsed_ls_47() {
        for (line, group, name) in [
            ("type=file;UNIX.group=domain users;size=5; testfile", "domain users", "testfile"),
            ("UNIX.group=domain users;size=5;  a; b ", "domain users", " a; b "),
            ("size=5;UNIX.group=a b c; x", "a b c", "x"),
            ("UNIX.group=a;size=5; b; c", "a", "b; c"),
            ("UNIX.group=a; size=5; b", "a", "size=5; b"),
            ("type=OS.unix=slink:/a b;UNIX.group=g; c d", "g", "c d"),
        ] {
            let facts = Facts::parse(line.as_bytes()).unwrap();
            assert_eq!(facts.get("unix.group"), Some(group.as_bytes()), "{line}");
            assert_eq!(facts.name(), name.as_bytes(), "{line}");
        }
    }

    #[test]
    fn facts_without_a_final_semicolon_are_parsed() {
        let facts = Facts::parse(b"type=file;size=5 a").unwrap();
        assert_eq!((facts.size(), facts.name()), (Some(5), &b"a"[..]));
    }

    #[test]
    fn sizes_beyond_64_bits_are_unknown_hc_16() {
        for size in ["18446744073709551616", "-1", "", "1e9"] {
            assert_eq!(Facts::new("x").with("size", size).size(), None, "{size}");
        }
    }
}

#[cfg(test)]
mod tests_of_digests {
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
