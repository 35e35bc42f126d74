//! Facts about objects: one entry of `MLST` and `MLSD` (RFC 3659 §7.2).

use crate::error::{ParseError, ParseErrorKind};
use crate::limits;
use crate::number;
use crate::time_val::TimeVal;

/// What the fact `type` says an entry is (RFC 3659 §7.5.1).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum FactType {
    /// `file`: something `RETR` works on.
    File,
    /// `dir`: a directory.
    Directory,
    /// `cdir`: the listed directory itself.
    CurrentDirectory,
    /// `pdir`: its parent.
    ParentDirectory,
    /// `OS.name=type` or a word that is not in the RFC.
    Other,
}

/// One entry: facts, and the pathname they are about.
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
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Facts {
    facts: Vec<(Vec<u8>, Vec<u8>)>,
    name: Vec<u8>,
}

impl Facts {
    /// An entry called `name` of which nothing is known yet.
    #[must_use]
    pub fn new(name: impl Into<Vec<u8>>) -> Self {
        Self { facts: Vec::new(), name: name.into() }
    }

    /// The same entry with one fact more. A fact that it has already keeps its first value.
    #[must_use]
    pub fn with(mut self, fact: &str, value: impl Into<Vec<u8>>) -> Self {
        if self.get(fact).is_none() {
            self.facts.push((fact.as_bytes().to_vec(), value.into()));
        }
        self
    }

    /// Reads one line, without its line end: facts that each end with `;`, one SP, the pathname,
    /// which may begin or end with further SP. A line that begins with SP has no facts.
    ///
    /// Names of facts compare without regard to case, a fact given twice keeps its first value,
    /// and one without `=` is passed over, as unknown facts must be (RFC 3659 §7.5). So is every
    /// fact behind the first [`limits::FACTS`], which bounds what one line can cost.
    ///
    /// # Errors
    ///
    /// `UnexpectedEnd` without the SP, or with nothing behind it.
    pub fn parse(line: &[u8]) -> Result<Self, ParseError> {
        let end = ParseError::new("MLSx entry", line.len(), ParseErrorKind::UnexpectedEnd);
        let space = line.iter().position(|&byte| byte == b' ').ok_or(end)?;
        let (head, name) = line.split_at_checked(space).ok_or(end)?;
        let name = name.split_first().map_or(name, |(_space, name)| name);
        if name.is_empty() {
            return Err(end);
        }
        let mut entry = Self::new(name);
        for fact in head.split(|&byte| byte == b';').filter(|fact| !fact.is_empty()) {
            let Some(at) = fact.iter().position(|&byte| byte == b'=') else { continue };
            let (key, value) = (fact.get(..at), fact.get(at + 1..));
            if entry.facts.len() == limits::FACTS {
                break;
            }
            if let (Some(key), Some(value)) = (key, value)
                && entry.find(key).is_none()
            {
                entry.facts.push((key.to_vec(), value.to_vec()));
            }
        }
        Ok(entry)
    }

    /// Writes the line without its line end, facts in the order they were added.
    pub fn encode(&self, out: &mut Vec<u8>) {
        for (key, value) in &self.facts {
            out.extend_from_slice(key);
            out.push(b'=');
            out.extend_from_slice(value);
            out.push(b';');
        }
        out.push(b' ');
        out.extend_from_slice(&self.name);
    }

    /// The value of a fact, its name in any case.
    #[must_use]
    pub fn get(&self, fact: &str) -> Option<&[u8]> {
        self.find(fact.as_bytes())
    }

    fn find(&self, fact: &[u8]) -> Option<&[u8]> {
        let found = self.facts.iter().find(|(key, _)| key.eq_ignore_ascii_case(fact));
        found.map(|(_, value)| value.as_slice())
    }

    /// The pathname, byte for byte. From a hostile server it may hold `/` or be `..`.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// The fact `type`.
    #[must_use]
    pub fn kind(&self) -> Option<FactType> {
        let value = self.get("type")?;
        let is = |word: &[u8]| value.eq_ignore_ascii_case(word);
        Some(match () {
            () if is(b"file") => FactType::File,
            () if is(b"dir") => FactType::Directory,
            () if is(b"cdir") => FactType::CurrentDirectory,
            () if is(b"pdir") => FactType::ParentDirectory,
            () => FactType::Other,
        })
    }

    /// The fact `size` in bytes; `None` where it is missing or not a number below 2^64.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        number::decimal(self.get("size")?)
    }

    /// The fact `modify`: when the object was last modified.
    #[must_use]
    pub fn modify(&self) -> Option<TimeVal> {
        TimeVal::parse(self.get("modify")?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_reads_ls_46_ls_47() {
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
    fn parse_refuses() {
        for line in ["", "nospace", "type=file;", "type=file; ", " "] {
            assert!(Facts::parse(line.as_bytes()).is_err(), "{line:?}");
        }
    }

    #[test]
    fn a_fact_bomb_is_cut_hc_32() {
        let mut line = b"size=7;".to_vec();
        for n in 0..10_000 {
            line.extend_from_slice(format!("x{n}=y;junk;").as_bytes());
        }
        line.extend_from_slice(b"type=dir; name");
        let facts = Facts::parse(&line).unwrap();
        assert_eq!((facts.size(), facts.name()), (Some(7), &b"name"[..]));
        assert_eq!(facts.get("x62"), Some(&b"y"[..]));
        assert_eq!((facts.get("x63"), facts.kind()), (None, None));
    }

    #[test]
    fn kind_reads_every_word() {
        for (word, want) in [
            ("FILE", FactType::File),
            ("dir", FactType::Directory),
            ("cDir", FactType::CurrentDirectory),
            ("pdir", FactType::ParentDirectory),
            ("OS.unix=slink", FactType::Other),
        ] {
            assert_eq!(Facts::new("x").with("type", word).kind(), Some(want), "{word}");
        }
    }

    #[test]
    fn encode_reads_back() {
        let facts = Facts::new(" a;b= c").with("type", "OS.unix=slink").with("size", "7");
        let mut line = Vec::new();
        facts.encode(&mut line);
        assert_eq!(line, b"type=OS.unix=slink;size=7;  a;b= c");
        assert_eq!(Facts::parse(&line), Ok(facts));
    }

    #[test]
    fn sizes_beyond_64_bits_are_unknown_hc_16() {
        for size in ["18446744073709551616", "-1", "", "1e9"] {
            assert_eq!(Facts::new("x").with("size", size).size(), None, "{size}");
        }
    }
}
