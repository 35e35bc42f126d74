//! The journal of `--remove-source`: a small file next to the local file, from which the next run
//! continues after a kill. It is written completely or not at all, and is on disk before the next
//! step begins.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use super::target::{parent, sync_directory};
use crate::display::shown_path;
use crate::exit::{Exit, Failure};

/// The first line, which names the format of the lines after it.
const FORM: &str = "ftp-cli journal 1";

/// Paths of the files from which the next run continues an interrupted move.
pub(super) struct Journal {
    path: PathBuf,
    directory: PathBuf,
    id: String,
}

/// Facts in a journal, by name.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Record(BTreeMap<String, String>);

impl Record {
    pub(super) fn with(mut self, name: &str, value: &(impl ToString + ?Sized)) -> Self {
        self.0.insert(name.to_owned(), value.to_string());
        self
    }

    pub(super) fn with_if(self, name: &str, value: Option<&(impl ToString + ?Sized)>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    pub(super) fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.0.get(name)?.parse().ok()
    }

    /// Adds the facts about the object `of`, with that name as their prefix.
    pub(super) fn with_part(mut self, of: &str, part: &Self) -> Self {
        let named = part.0.iter().map(|(name, value)| (format!("{of}.{name}"), value.clone()));
        self.0.extend(named);
        self
    }

    /// Returns the facts about the object `of`.
    pub(super) fn part(&self, of: &str) -> Self {
        let own = |name: &str| Some(name.strip_prefix(of)?.strip_prefix('.')?.to_owned());
        let facts = self.0.iter();
        Self(facts.filter_map(|(name, value)| Some((own(name)?, value.clone()))).collect())
    }

    /// Returns the facts that identify a local file, even after a rename.
    pub(super) fn of_file(metadata: &Metadata) -> Self {
        Self::default()
            .with("inode", &metadata.ino())
            .with("size", &metadata.len())
            .with("modified", &metadata.mtime())
            .with("nanoseconds", &metadata.mtime_nsec())
    }

    /// Returns bytes that were written in hexadecimal.
    pub(super) fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        let text = self.text(name)?;
        let digits = |at: usize| text.get(at..at + 2);
        let byte = |at: usize| digits(at).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        (0..text.len()).step_by(2).map(byte).collect()
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next() != Some(FORM) {
            return None;
        }
        let pair =
            |line: &str| line.split_once(' ').map(|(name, value)| (name.into(), value.into()));
        lines.map(pair).collect::<Option<_>>().map(Self)
    }
}

/// Lock that keeps other runs from moving the same local file.
pub(super) struct MoveLock {
    path: PathBuf,
    _file: File,
}

impl Drop for MoveLock {
    fn drop(&mut self) {
        // On failure an empty file remains, which the next run locks and removes.
        let _ = fs::remove_file(&self.path);
    }
}

/// Locks a local file against other moves, from or to any server, until the result is dropped.
///
/// # Errors
///
/// Returns `Limit` if another run has the lock, and `Local` if the lock file cannot be created or
/// locked.
pub(super) fn hold(local: &Path) -> Result<MoveLock, Failure> {
    let name = local.file_name().unwrap_or_default();
    let digest = Sha256::digest(name.as_encoded_bytes());
    let id = hex(digest.get(..8).unwrap_or_default());
    // `mirror` recognises the lock file by this pattern, and skips it.
    let path = parent(local).join(format!(".ftp-cli-{id}.lock"));
    let failed =
        |error: &io::Error| Failure { fatal: false, ..Failure::local(shown_path(&path), error) };
    loop {
        let opened = OpenOptions::new().create(true).append(true).open(&path);
        let file = opened.map_err(|error| failed(&error))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let message = format!(
                    "{}: another run is moving this file; try again later",
                    shown_path(local)
                );
                return Err(Failure::item(Exit::Limit, message));
            }
            Err(error) => return Err(failed(&error.into())),
        }
        let held = file.metadata().map_err(|error| failed(&error))?;
        // The previous run may have removed this lock file, which then excludes no other run.
        match fs::metadata(&path) {
            Ok(now) if (now.dev(), now.ino()) == (held.dev(), held.ino()) => {
                return Ok(MoveLock { path, _file: file });
            }
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(&error)),
            _ => {}
        }
    }
}

/// Formats bytes in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Journal {
    /// Returns the journal for a move between the local file `local` and the file that `user` sees
    /// as `remote`. `remote` must also identify the server.
    pub(super) fn of(local: &Path, remote: &str, user: &[u8]) -> Self {
        let name = local.file_name().unwrap_or_default();
        let mut hash = Sha256::new();
        hash.update(name.as_encoded_bytes());
        hash.update([0]);
        hash.update(remote.as_bytes());
        hash.update([0]);
        hash.update(user);
        let digest = hash.finalize();
        let id = hex(digest.get(..8).unwrap_or_default());
        let directory = parent(local).to_owned();
        let path = directory.join(format!(".{id}.ftp-cli-journal"));
        Self { path, directory, id }
    }

    /// Returns the path of a complete download that does not yet have its final name.
    pub(super) fn taken(&self) -> PathBuf {
        self.directory.join(format!(".{}.ftp-cli-taken", self.id))
    }

    /// Returns the record of an interrupted move.
    ///
    /// # Errors
    ///
    /// Returns `Local` if the journal cannot be read or is damaged.
    pub(super) fn read(&self) -> Result<Option<Record>, Failure> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed(&error)),
        };
        let damaged =
            || self.failed(&io::Error::other("not a journal of this program; move it away"));
        Record::parse(&text).map(Some).ok_or_else(damaged)
    }

    /// Writes the record. It is on disk when this method returns.
    ///
    /// # Errors
    ///
    /// Returns `Local` if it cannot be written.
    pub(super) fn write(&self, record: &Record) -> Result<(), Failure> {
        let mut text = format!("{FORM}\n");
        for (name, value) in &record.0 {
            let _ = writeln!(text, "{name} {value}");
        }
        let new = self.directory.join(format!(".{}.ftp-cli-new", self.id));
        let written = File::create(&new).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &self.path)
        });
        written.and_then(|()| sync_directory(&self.directory)).map_err(|error| self.failed(&error))
    }

    /// Removes the record: the move is over.
    ///
    /// # Errors
    ///
    /// Returns `Local` if that fails.
    pub(super) fn remove(&self) -> Result<(), Failure> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(self.failed(&error)),
            _ => Ok(()),
        }
    }

    fn failed(&self, error: &io::Error) -> Failure {
        Failure { fatal: false, ..Failure::local(shown_path(&self.path), error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_round_trips_and_belongs_to_one_file_url_and_user() {
        let root = tempfile::tempdir().unwrap();
        let journal = Journal::of(&root.path().join("a"), "ftp://h/a", b"u");
        assert_eq!(journal.read().unwrap(), None);
        let record = Record::default().with("size", &5).with_if("modified", Some(&-1_i64));
        let record = record.with_if("unique", None::<&str>).with("temp", "a b");
        journal.write(&record).unwrap();
        let read = journal.read().unwrap().unwrap();
        assert_eq!(read, record);
        assert_eq!((read.number("size"), read.number("modified")), (Some(5_u64), Some(-1_i64)));
        assert_eq!((read.text("temp"), read.text("unique")), (Some("a b"), None));
        let bytes = Record::default().with("x", &hex(b"\x00\xff a")).with("y", "f").with("z", "xy");
        assert_eq!(bytes.bytes("x").as_deref(), Some(&b"\x00\xff a"[..]));
        assert_eq!((bytes.bytes("y"), bytes.bytes("z"), bytes.bytes("w")), (None, None, None));
        let whole = bytes.clone().with_part("here", &record);
        assert_eq!((whole.part("here"), whole.part("her")), (record, Record::default()));
        for (name, remote, user) in
            [("b", "ftp://h/a", "u"), ("a", "ftp://g/a", "u"), ("a", "ftp://h/a", "v")]
        {
            let other = Journal::of(&root.path().join(name), remote, user.as_bytes());
            assert_eq!(other.read().unwrap(), None, "{name} {remote} {user}");
        }
        journal.remove().unwrap();
        journal.remove().unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
        fs::write(&journal.path, "").unwrap();
        assert!(journal.read().is_err());
    }

    #[test]
    fn a_local_file_is_transferred_by_one_run_at_a_time() {
        let root = tempfile::tempdir().unwrap();
        let held = hold(&root.path().join("a")).unwrap();
        let refused = hold(&root.path().join("a")).map(drop).unwrap_err();
        assert_eq!(refused.exit, Exit::Limit);
        drop(hold(&root.path().join("b")).unwrap());
        drop(held);
        drop(hold(&root.path().join("a")).unwrap());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
