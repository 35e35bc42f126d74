//! The lock and the journal of a move, which removes its source: a small file next to the local file,
//! from which the next run continues after a kill. It is written completely or not at all, and is on
//! disk before the next step begins.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use ftp_proto::HiddenFile;
use sha2::{Digest, Sha256};

use super::journal::LocalFacts;
use super::partial::named;
use super::record::{LONGEST_JOURNAL, ServerFile, open_regular, parent, read_small, replace_small};
use crate::client::Client;
use crate::digest::{hex, unhex};
use crate::error::{Error, JobFault, Unsupported};
use crate::facts::ServerFacts;
use crate::system::{is_in_use, is_same, lock, lockable, sync_directory};
use crate::url_path::Place;

/// The first line, which names the format of the lines after it.
const FORM: &str = "ftp-cli journal 1";

/// What identifies the server's file of a move, beside the path of the local file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct MovedName {
    /// The name, which also identifies the server.
    pub(super) name: String,
    /// For another user, the same path can lead to another file.
    pub(super) user: Vec<u8>,
}

impl MovedName {
    /// Returns the name that the session gives the file.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Unsupported`] if nothing identifies the file, and the errors of
    /// [`ServerFile::ask`].
    pub(super) fn of(client: &mut Client, place: &Place) -> Result<Self, Error> {
        let Some(ServerFile { login, path }) = ServerFile::ask(client, place)? else {
            return Err(Error::Unsupported(Unsupported::NoIdentity));
        };
        let name = format!("{}:{}/{}", login.host, login.port, hex(&path));
        Ok(Self { name, user: login.user.clone() })
    }
}

/// Paths of the files from which the next run continues an interrupted move.
#[derive(Debug, Clone)]
pub(super) struct MoveJournal {
    path: PathBuf,
    directory: PathBuf,
    id: String,
}

/// Facts in a journal, by name.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct MoveRecord(BTreeMap<String, String>);

impl MoveRecord {
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

    pub(super) fn part(&self, of: &str) -> Self {
        let own = |name: &str| Some(name.strip_prefix(of)?.strip_prefix('.')?.to_owned());
        let facts = self.0.iter();
        Self(facts.filter_map(|(name, value)| Some((own(name)?, value.clone()))).collect())
    }

    /// Returns the facts that identify a local file, even after a rename.
    pub(super) fn of_file(file: &LocalFacts) -> Self {
        Self::default()
            .with("inode", &file.inode)
            .with("size", &file.size)
            .with("modified", &file.modified.0)
            .with("nanoseconds", &file.modified.1)
    }

    /// Returns the facts that identify an unchanged local file under its name.
    pub(super) fn of_unchanged(file: &LocalFacts) -> Self {
        Self::of_file(file)
            .with("changed", &file.changed.0)
            .with("changed-nanoseconds", &file.changed.1)
    }

    pub(super) fn of_server(facts: &ServerFacts) -> Self {
        let seconds = facts.modified.map(|time| time.unix_seconds());
        let unique = facts.unique.as_deref().map(hex);
        Self::default()
            .with_if("size", facts.size.as_ref())
            .with_if("modified", seconds.as_ref())
            .with_if("unique", unique.as_ref())
    }

    /// Returns whether the facts of a server's file prove that it is the recorded one. If the size or
    /// the time is missing, they prove nothing.
    pub(super) fn is_of(&self, facts: &ServerFacts) -> bool {
        facts.size.is_some() && facts.modified.is_some() && Self::of_server(facts) == *self
    }

    /// Returns bytes that were written in hexadecimal.
    pub(super) fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        unhex(self.text(name)?.as_bytes())
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(super) fn text_of_file(&self) -> String {
        let lines = self.0.iter().map(|(name, value)| format!("{name} {value}\n"));
        format!("{FORM}\n{}", lines.collect::<String>())
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next() != Some(FORM) {
            return None;
        }
        let pair =
            |line: &str| line.split_once(' ').map(|(name, value)| (name.into(), value.into()));
        lines.map(pair).collect::<Option<_>>().map(Self)
    }
}

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

/// Returns the part for a local file in the names of its hidden files.
fn id_of(local: &Path) -> String {
    let digest = Sha256::digest(local.file_name().unwrap_or_default().as_encoded_bytes());
    hex(digest.get(..8).unwrap_or_default())
}

/// Returns the path of a source between its upload and its removal.
pub(super) fn aside(local: &Path) -> PathBuf {
    parent(local).join(format!(".{}{}taken", id_of(local), HiddenFile::CLI))
}

/// Locks a local file against other moves, from or to any server, until the result is dropped.
///
/// # Errors
///
/// Returns [`JobFault::Locked`] if another run has the lock, and [`Error::Local`] if the lock file
/// cannot be created or locked.
pub(super) fn hold(local: &Path) -> Result<MoveLock, Error> {
    // Uploads of trees recognise the lock file by this pattern, and skip it.
    let path = parent(local).join(format!("{}{}.lock", HiddenFile::CLI, id_of(local)));
    let failed = |error: &io::Error| Error::local(named(&path, error));
    loop {
        let opened =
            open_regular(&path, lockable(&mut OpenOptions::new()).create(true).append(true));
        let locked = opened.and_then(|file| lock(&file).map(|()| file));
        let file = locked.map_err(|error| match is_in_use(&error) {
            true => Error::Job(JobFault::Locked(local.to_owned())),
            false => failed(&error),
        })?;
        let held = file.metadata().map_err(|error| failed(&error))?;
        // The previous run may have removed this lock file, which then excludes no other run.
        match fs::metadata(&path) {
            Ok(now) if is_same(&now, &held) => {
                return Ok(MoveLock { path, _file: file });
            }
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(&error)),
            _ => {}
        }
    }
}

/// Removes a file that may be missing.
///
/// # Errors
///
/// Returns [`Error::Local`] if it cannot be removed.
pub(super) fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::local(named(path, &error))),
        _ => Ok(()),
    }
}

impl MoveJournal {
    pub(super) fn of(local: &Path, remote: &MovedName) -> Self {
        let name = local.file_name().unwrap_or_default();
        let mut hash = Sha256::new();
        hash.update(name.as_encoded_bytes());
        hash.update([0]);
        hash.update(remote.name.as_bytes());
        hash.update([0]);
        hash.update(&remote.user);
        let digest = hash.finalize();
        let id = hex(digest.get(..8).unwrap_or_default());
        let directory = parent(local).to_owned();
        let path = directory.join(format!(".{id}{}journal", HiddenFile::CLI));
        Self { path, directory, id }
    }

    /// Returns the path of a complete download that does not yet have its final name.
    pub(super) fn taken(&self) -> PathBuf {
        self.directory.join(format!(".{}{}taken", self.id, HiddenFile::CLI))
    }

    /// Returns the record of an interrupted move.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Local`] if the journal cannot be read, and [`JobFault::BadJournal`] if it
    /// is damaged.
    pub(super) fn read(&self) -> Result<Option<MoveRecord>, Error> {
        let text = read_small(&self.path, LONGEST_JOURNAL);
        let text = text.map_err(|error| Error::local(named(&self.path, &error)))?;
        text.map(|text| MoveRecord::parse(&text).ok_or_else(|| self.damaged())).transpose()
    }

    pub(super) fn damaged(&self) -> Error {
        Error::Job(JobFault::BadJournal(self.path.clone()))
    }

    /// Writes the record. It is on disk when this method returns.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Local`] if it cannot be written.
    pub(super) fn write(&self, record: &MoveRecord) -> Result<(), Error> {
        let written = replace_small(&self.path, &record.text_of_file(), true);
        let synced = written.and_then(|()| sync_directory(&self.directory));
        synced.map_err(|error| Error::local(named(&self.path, &error)))
    }

    /// Removes the record: the move is over.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Local`] if that fails.
    pub(super) fn remove(&self) -> Result<(), Error> {
        remove(&self.path)
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use crate::system::OsStrExt;

    #[test]
    fn a_journal_round_trips_and_belongs_to_one_file_url_and_user() {
        let named = |name: &str, user: &str| MovedName { name: name.into(), user: user.into() };
        let root = tempfile::tempdir().unwrap();
        let journal = MoveJournal::of(&root.path().join("a"), &named("ftp://h/a", "u"));
        assert_eq!(journal.read().unwrap(), None);
        // The first 64 bits of the SHA-256 of `a`, `ftp://h/a` and `u`, with NUL between them: later
        // versions must find the journal of this one.
        let name = journal.path.file_name().unwrap();
        assert_eq!(name, ".9276df115171ec3d.ftp-cli-journal");
        assert!(journal.taken().ends_with(".9276df115171ec3d.ftp-cli-taken"));
        let taken = aside(&root.path().join("a"));
        for path in
            [&journal.path, &journal.taken(), &taken, &journal.path.with_extension("ftp-cli-new")]
        {
            let name = path.file_name().unwrap();
            assert_eq!(HiddenFile::of(name.as_bytes()), Some(HiddenFile::Move), "{name:?}");
        }
        let record = MoveRecord::default().with("size", &5).with_if("modified", Some(&-1_i64));
        let record = record.with_if("unique", None::<&str>).with("temp", "a b");
        journal.write(&record).unwrap();
        let read = journal.read().unwrap().unwrap();
        assert_eq!(read, record);
        assert_eq!((read.number("size"), read.number("modified")), (Some(5_u64), Some(-1_i64)));
        assert_eq!((read.text("temp"), read.text("unique")), (Some("a b"), None));
        let bytes =
            MoveRecord::default().with("x", &hex(b"\x00\xff a")).with("y", "f").with("z", "xy");
        assert_eq!(bytes.bytes("x").as_deref(), Some(&b"\x00\xff a"[..]));
        assert_eq!((bytes.bytes("y"), bytes.bytes("z"), bytes.bytes("w")), (None, None, None));
        let whole = bytes.clone().with_part("here", &record);
        assert_eq!((whole.part("here"), whole.part("her")), (record, MoveRecord::default()));
        for (name, remote, user) in
            [("b", "ftp://h/a", "u"), ("a", "ftp://g/a", "u"), ("a", "ftp://h/a", "v")]
        {
            let other = MoveJournal::of(&root.path().join(name), &named(remote, user));
            assert_eq!(other.read().unwrap(), None, "{name} {remote} {user}");
        }
        journal.remove().unwrap();
        journal.remove().unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
        fs::write(&journal.path, "").unwrap();
        assert!(journal.read().is_err());
    }

    #[test]
    fn a_planted_link_does_not_lead_a_journal_or_lock_to_another_file() {
        let root = tempfile::tempdir().unwrap();
        let (local, victim) = (root.path().join("a"), root.path().join("victim"));
        let journal = MoveJournal::of(&local, &MovedName { name: "b".into(), user: Vec::new() });
        fs::write(&victim, "precious").unwrap();
        std::os::unix::fs::symlink("victim", journal.path.with_extension("ftp-cli-new")).unwrap();
        journal.write(&MoveRecord::default().with("x", "y")).unwrap();
        assert_eq!(journal.read().unwrap().unwrap().text("x"), Some("y"));
        let lock = hold(&local).unwrap().path.clone();
        std::os::unix::fs::symlink("missing", lock).unwrap();
        assert!(hold(&local).is_err());
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
        assert!(!root.path().join("missing").exists());
    }

    #[test]
    fn a_local_file_is_transferred_by_one_run_at_a_time() {
        let root = tempfile::tempdir().unwrap();
        let held = hold(&root.path().join("a")).unwrap();
        let refused = hold(&root.path().join("a")).map(drop).unwrap_err();
        assert!(matches!(refused, Error::Job(JobFault::Locked(_))), "{refused}");
        drop(hold(&root.path().join("b")).unwrap());
        drop(held);
        drop(hold(&root.path().join("a")).unwrap());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
