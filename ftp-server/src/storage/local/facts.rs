//! What the record of a cut upload says: its format, and who may have written it.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsFd;

use rustix::fs::{AtFlags, Mode, OFlags, openat};
use rustix::io::{Errno, retry_on_intr};

use super::kept_uploads::KeptPart;
use super::name::{self, Hidden};
use super::{hidden, root};
use crate::deadline::unix_now;
use crate::percent;
use crate::storage::Metadata;
use crate::storage::unfinished::RECORDED;

/// First line of a record.
const FORMAT: &str = "ftp-upload-record 1";

/// Last line of a record, which a torn write lacks.
const END: &str = "end";

/// Maximum size of a record in bytes: a user and a name, each byte percent-encoded.
const LONGEST: u64 = 16 * 1024;

/// What the record of an upload says that was cut.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Facts {
    pub(super) user: Vec<u8>,
    /// The name of the target.
    pub(super) name: Vec<u8>,
    pub(super) number: u64,
    /// What identified the file to be replaced: inode, size, modification time, links and owner.
    pub(super) old: Option<String>,
    /// The hidden name of the received bytes.
    pub(super) bytes: Vec<u8>,
    /// Number of received bytes that are on disk.
    pub(super) length: u64,
    /// The time at which the upload ended, in seconds since 1970.
    pub(super) when: i64,
    /// The time until which the bytes are kept.
    pub(super) until: i64,
}

pub(super) fn facts_of(old: &Metadata) -> String {
    let owner = old.user_id().map_or(-1, i64::from);
    format!("{} {} {} {} {owner}", old.identity.1, old.size, old.modified, old.links)
}

impl Facts {
    pub(super) fn encode(&self) -> String {
        let text = |bytes: &[u8]| percent::encoded(bytes, |byte| byte.is_ascii_alphanumeric());
        let (user, name, bytes) = (text(&self.user), text(&self.name), text(&self.bytes));
        let Self { number, length, when, until, .. } = self;
        let old = self.old.as_ref().map_or_else(String::new, |old| format!("old {old}\n"));
        format!(
            "{FORMAT}\nuser {user}\nname {name}\nnumber {number}\n{old}bytes {bytes}\n\
             left {length} {when} {until}\n{END}\n"
        )
    }

    fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix(FORMAT)?.strip_prefix('\n')?;
        let text = text.strip_suffix('\n')?.strip_suffix(END)?;
        let word = |key| {
            let line = text.lines().find_map(|line| line.strip_prefix(key));
            line.and_then(|line| line.strip_prefix(' '))
        };
        let bytes = |key| percent::decoded(word(key)?);
        let mut left = word("left")?.split(' ');
        Some(Self {
            user: bytes("user")?,
            name: bytes("name")?,
            number: word("number")?.parse().ok()?,
            old: word("old").map(str::to_owned),
            bytes: bytes("bytes")?,
            length: left.next()?.parse().ok()?,
            when: left.next()?.parse().ok()?,
            until: left.next()?.parse().ok()?,
        })
    }

    /// Returns whether this is the name of such a record, and names only bytes of an upload beside it.
    /// The owner of the directory can have written anything else.
    fn is_named(&self, record: &[u8]) -> bool {
        name::of_record(Some(&self.user), &self.name).eq_ignore_ascii_case(record)
            && !self.bytes.contains(&b'/')
            && name::hidden(&self.bytes) == Some(Hidden::Bytes)
    }

    /// Returns what the shelf is to know of the record in a directory, whose path is relative to the
    /// root, and whose device and inode are `above`, with `size` bytes.
    pub(super) fn part(
        &self,
        directory: Vec<u8>,
        above: (u64, u64),
        record: &[u8],
        size: u64,
    ) -> KeptPart {
        let part = KeptPart::new(directory, above, record, self.old.is_some());
        part.with_bytes(&self.bytes, size, self.until)
    }

    /// Returns the number of seconds for which the bytes will still be kept; 0 or less if they are
    /// too old. A clock that was set back does not keep them forever.
    pub(super) fn seconds_of_bytes(&self) -> i64 {
        let most = self.until.saturating_sub(self.when);
        self.until.saturating_sub(unix_now()).min(most)
    }

    /// Returns the number of seconds for which the record will still be kept, unless it ends before.
    /// That of a replaced file has no such end: after a jump of the clock, it would be lost at once.
    pub(super) fn seconds_left(&self) -> i64 {
        if self.old.is_some() {
            return i64::MAX;
        }
        let recorded = i64::try_from(RECORDED.as_secs()).unwrap_or(i64::MAX);
        self.when.saturating_add(recorded).saturating_sub(unix_now()).min(recorded)
    }

    /// Returns whether the record has ended, because there is nothing to mix with any more: the old
    /// file is gone, or a file has appeared where there was none. The record of a new file also ends by
    /// its age.
    pub(super) fn has_ended(&self, now: Option<&Metadata>) -> bool {
        self.old.is_some() != now.is_some() || self.seconds_left() <= 0
    }

    /// Returns the metadata of the kept bytes; `None` if there are none, or if another program may
    /// have written them.
    pub(super) fn kept_bytes(&self, directory: impl AsFd) -> Option<Metadata> {
        if self.length == 0 || self.seconds_of_bytes() <= 0 {
            return None;
        }
        let found = root::metadata_at(&directory, &*self.bytes, AtFlags::empty()).ok()?;
        let is_whole = found.size == self.length;
        (is_whole && hidden::is_of_server(directory.as_fd(), &found)).then_some(found)
    }
}

/// What is found under the name of a record.
pub(super) enum RecordFile {
    Missing,
    /// A record of unknown content, or something else. It has no bytes, and forbids all the same.
    Doubtful,
    Whole(Box<Facts>),
}

/// Reads a record. Fails only for a shortage, which passes: what cannot be read at all would refuse uploads
/// for ever.
pub(super) fn read(directory: impl AsFd, record: &[u8]) -> Result<RecordFile, Errno> {
    let flags =
        OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
    let directory = directory.as_fd();
    let file = match retry_on_intr(|| openat(directory, record, flags, Mode::empty())) {
        Err(Errno::NOENT | Errno::NAMETOOLONG) => return Ok(RecordFile::Missing),
        Err(shortage) if hidden::is_shortage(shortage) => return Err(shortage),
        Err(_) => return Ok(RecordFile::Doubtful),
        Ok(file) => file,
    };
    let is_trusted =
        root::metadata_of(&file).is_ok_and(|found| hidden::is_of_server(directory, &found));
    let mut text = String::new();
    let is_read = is_trusted && File::from(file).take(LONGEST).read_to_string(&mut text).is_ok();
    let facts = Facts::parse(&text).filter(|facts| is_read && facts.is_named(record));
    Ok(facts.map_or(RecordFile::Doubtful, |facts| RecordFile::Whole(Box::new(facts))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        let when = unix_now();
        Facts {
            user: b"ann \n\xFF".to_vec(),
            name: b"f\nleft 9 9 9".to_vec(),
            number: u64::MAX,
            old: Some("1 2 -3 4 -1".to_owned()),
            bytes: b".ftp-upload-0123456789abcdef-f.part".to_vec(),
            length: 7,
            when,
            until: when + 100,
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_a_torn_one_is_not_fs_15() {
        for facts in [facts(), Facts { old: None, ..facts() }] {
            let text = facts.encode();
            assert_eq!(Facts::parse(&text), Some(facts));
            for end in 0..text.len() {
                assert_eq!(Facts::parse(&text[..end]), None, "{end}");
            }
            assert_eq!(Facts::parse(&text.replace("record 1", "record 2")), None);
        }
    }

    #[test]
    fn a_clock_that_is_set_keeps_nothing_longer_and_ends_no_record_early_fs_14_fs_15() {
        let now = unix_now();
        for (ago, bytes, record) in
            [(0, true, true), (99, true, true), (101, false, true), (91 * 86_400, false, false)]
        {
            let over = Facts { when: now - ago, until: now - ago + 100, ..facts() };
            assert_eq!((over.seconds_of_bytes() > 0, over.seconds_left()), (bytes, i64::MAX));
            let facts = Facts { old: None, ..over };
            assert_eq!(facts.seconds_of_bytes() > 0, bytes, "{ago}");
            assert_eq!(facts.seconds_left() > 0, record, "{ago}");
            // As if the clock had been set back by years since.
            let ahead =
                Facts { when: now + 400 * 86_400, until: now + 400 * 86_400 + 100, ..facts };
            assert_eq!((ahead.seconds_of_bytes(), ahead.seconds_left()), (100, 90 * 86_400));
        }
    }
}
