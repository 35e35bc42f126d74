//! Partial local files: the names by which a later run finds them, and the bytes that one download at a
//! time adds to them.
//!
//! The name is `NAME.part`, or another name if that one belongs to another program. A download from
//! byte 0 empties the local file when the first byte arrives.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use super::evidence::OVERLAP;
use super::record::{Record, open_regular, parent, remove_sidecar};
use crate::digest::hex;
use crate::error::{LocalPath, io_again};
use crate::system::{
    FileExt, MetadataExt, OpenOptionsExt, OsStrExt, OsStringExt, appending, close_copy, is_in_use,
    is_same, lockable, locked, set_length, unlock,
};

/// The number of received bytes after which they are written to disk and recorded. A program that is
/// killed loses at most as many.
const FLUSH: u64 = 64 << 20;

/// The number that suffices a second after the last flush. Fast transfers do not wait for the disk each
/// time: that would cost a third of their rate.
const FLUSH_SLOW: u64 = 8 << 20;

/// The number of the last own bytes that must still be there before own bytes are removed.
const TAIL: usize = 4 << 10;

/// A local file that a download extends, or overwrites once the first byte arrives. The bytes
/// before the offset stay.
#[derive(Debug)]
pub(super) struct PartialFile {
    file: File,
    /// The position of the download's first byte; `None` once that byte has arrived. Until then,
    /// the old bytes from this position on stay.
    start: Option<u64>,
    /// The same position, kept after the first byte has arrived.
    offset: u64,
    /// The number of bytes that were written after the offset, and the last ones.
    own: u64,
    tail: Vec<u8>,
    /// The path and the record of a file that a later run may resume.
    record: Option<(PathBuf, Option<Record>)>,
    /// The number of bytes that are on disk.
    flushed: u64,
    /// When they were flushed.
    flushed_at: Instant,
    /// The number of bytes that the stored record proves: the flushed ones, or those that its digest
    /// covers.
    proved: u64,
    /// The number of bytes, once the first one has arrived.
    length: u64,
    /// The error of a sync. The system reports it once: a later success would prove nothing.
    fault: Option<io::Error>,
}

impl PartialFile {
    /// Wraps `file`, which must be open for appending. Its first `offset` bytes are kept.
    pub(super) fn new(file: File, offset: u64) -> Self {
        let start = Some(offset);
        Self {
            file,
            start,
            offset,
            own: 0,
            tail: Vec::new(),
            record: None,
            flushed: 0,
            flushed_at: Instant::now(),
            proved: 0,
            length: offset,
            fault: None,
        }
    }

    /// Sets the record of the file at `path`. It is stored when the first byte arrives, and after
    /// each flush. Without a record, a stored one is removed.
    pub(super) fn recorded(self, path: PathBuf, record: Option<Record>) -> Self {
        Self { record: Some((path, record)), ..self }
    }

    pub(super) fn record(&self) -> Option<&Record> {
        self.record.as_ref().and_then(|(_, record)| record.as_ref())
    }

    /// Prepares the file for another download, which keeps the first `offset` bytes.
    pub(super) fn again(&mut self, offset: u64) {
        self.start = Some(offset);
        self.offset = offset;
        self.own = 0;
        self.tail.clear();
    }

    /// Writes the received bytes to disk and records them, so that a later run can resume them.
    ///
    /// # Errors
    ///
    /// Returns the system's error. A later run then resumes fewer bytes.
    pub(super) fn settle(&mut self) -> io::Result<()> {
        if self.start.is_some() || self.record().is_none() {
            return Ok(());
        }
        self.length = self.file.metadata()?.len();
        self.sync(File::sync_data)?;
        self.store_record(self.flushed);
        Ok(())
    }

    /// As [`settle`](Self::settle), but nothing more is written unless another attempt begins: a later
    /// run resumes no byte if another program writes to the file.
    pub(super) fn end(&mut self) -> io::Result<()> {
        self.settle()?;
        if self.start.is_none() {
            self.write_record(self.flushed, true);
        }
        Ok(())
    }

    /// Syncs the file with `sync`. After an error, every later call returns it too, and of the bytes
    /// since the last flush, a later run resumes none.
    pub(super) fn sync(&mut self, sync: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
        if self.fault.is_none() {
            self.fault = sync(&self.file).and_then(|()| close_copy(&self.file)).err();
            match self.fault {
                Some(_) => self.store_record(self.flushed),
                None => (self.flushed, self.flushed_at) = (self.length, Instant::now()),
            }
        }
        self.fault.as_ref().map_or(Ok(()), |fault| Err(io_again(fault)))
    }

    pub(super) const fn has_failed(&self) -> bool {
        self.fault.is_some()
    }

    /// Keeps only the first `length` bytes, which the download has received itself.
    pub(super) fn cut(&mut self, length: u64) -> io::Result<()> {
        // This record fits before and after the file is cut.
        self.store_record(length.min(OVERLAP));
        set_length(&self.file, length)?;
        self.again(0);
        (self.start, self.length, self.flushed, self.own) = (None, length, 0, length);
        Ok(())
    }

    /// Turns the record into that of a complete file.
    pub(super) fn complete(&self) {
        match &self.record {
            Some((path, Some(record))) => {
                remove_sidecar(path);
                record.complete(&self.file);
            }
            Some((path, None)) => Record::remove(&self.file, path),
            None => {}
        }
    }

    /// Turns the record back into that of a file that a later run may resume.
    pub(super) fn incomplete(&mut self) {
        self.store_record(self.proved.max(self.flushed));
    }

    /// Stores the record, which proves the first `proved` bytes of the file.
    fn store_record(&mut self, proved: u64) {
        self.proved = proved;
        self.write_record(proved, false);
    }

    fn write_record(&self, proved: u64, is_ended: bool) {
        match &self.record {
            Some((path, Some(record))) => {
                record.keep(&self.file, path, proved, is_ended);
            }
            Some((path, None)) => Record::remove(&self.file, path),
            None => {}
        }
    }

    pub(super) const fn file(&self) -> &File {
        &self.file
    }

    /// Returns the file for writing. The first call truncates it to the position of the download's
    /// first byte.
    ///
    /// # Errors
    ///
    /// Returns the system's error if the file cannot be truncated, or if the kept bytes cannot be
    /// synced.
    pub(super) fn begun(&mut self) -> io::Result<&mut File> {
        if let Some(start) = self.start {
            (self.length, self.flushed) = (start, 0);
            let is_kept = start > 0 && self.record().is_some();
            if is_kept {
                // This record fits before and after the file is cut.
                self.sync(File::sync_data)?;
                self.store_record(self.flushed);
            }
            set_length(&self.file, start)?;
            if !is_kept {
                self.store_record(self.flushed);
            }
            self.start = None;
        }
        Ok(&mut self.file)
    }

    /// Removes the received bytes, if they are the last ones of the file; those before the offset stay.
    /// Returns false if another program has written since: the file then stays as it is, and no later
    /// run resumes it.
    pub(super) fn restore(&mut self) -> bool {
        if self.start.is_some() || self.own == 0 {
            return true;
        }
        let end = self.offset + self.own;
        let (mut last, at) = (vec![0; self.tail.len()], end - self.tail.len() as u64);
        let is_own = self.file.read_exact_at(&mut last, at).is_ok()
            && last == self.tail
            && self.file.metadata().is_ok_and(|metadata| metadata.len() == end);
        if is_own {
            // If truncating fails, the next attempt truncates the file or finds it too long.
            let _ = set_length(&self.file, self.offset);
        } else if let Some((path, record)) = &mut self.record {
            *record = None;
            Record::remove(&self.file, path);
        }
        is_own
    }
}

impl Write for PartialFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.begun()?.write(bytes)?;
        self.length += count as u64;
        self.own += count as u64;
        let new = bytes.get(count.saturating_sub(TAIL)..count).unwrap_or_default();
        self.tail.extend_from_slice(new);
        self.tail.drain(..self.tail.len().saturating_sub(TAIL));
        if self.proved < OVERLAP && self.length >= OVERLAP.min(2 * self.proved) {
            // Long before a flush, the first bytes show whose file this is.
            self.store_record(self.length.min(OVERLAP));
        }
        let unflushed = self.length - self.flushed;
        let is_slow = || self.flushed_at.elapsed() >= Duration::from_secs(1);
        if unflushed >= FLUSH || unflushed >= FLUSH_SLOW && is_slow() {
            self.settle()?;
        }
        Ok(count)
    }

    /// Does nothing: nothing is buffered.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A locked local file that a download extends.
#[derive(Debug)]
pub(super) struct Growing {
    pub(super) partial: PartialFile,
    pub(super) path: PathBuf,
    /// Whether the file was created for this download. Such a file is removed if nothing arrives.
    is_new: bool,
}

impl Growing {
    /// Opens the file at `path`. The file must have `length` bytes, or be missing if `length` is 0;
    /// its first `offset` bytes are kept. `record` is stored with the file; `None` removes a stored
    /// one.
    pub(super) fn open(
        path: PathBuf,
        length: u64,
        offset: u64,
        mode: u32,
        record: Option<Record>,
    ) -> io::Result<Self> {
        let (file, is_new) = open_alone(&path, length, mode)?;
        let mut partial = PartialFile::new(file, offset).recorded(path.clone(), record);
        if is_new {
            // From now on, the file is known to be this program's, even if nothing arrives.
            partial.store_record(0);
        }
        Ok(Self { partial, path, is_new })
    }

    /// Keeps the file even if it is empty.
    pub(super) const fn keep(&mut self) {
        self.is_new = false;
    }
}

impl Drop for Growing {
    fn drop(&mut self) {
        if self.is_new {
            remove_empty(self.partial.file(), &self.path);
        }
        unlock(self.partial.file());
    }
}

/// Removes the file at `path` if it is empty and is still `file`.
pub(super) fn remove_empty(file: &File, path: &Path) {
    if file.metadata().is_ok_and(|metadata| metadata.len() == 0) && is_at(file, path) {
        let _ = fs::remove_file(path);
        remove_sidecar(path);
    }
}

/// Opens and locks a file for appending. Without the lock, two downloads that extend the same file
/// would mix their bytes. `length` is the expected length. A new file gets `mode`, which the
/// umask restricts. Also returns whether the file was created.
fn open_alone(path: &Path, length: u64, mode: u32) -> io::Result<(File, bool)> {
    let options = || {
        let mut options = OpenOptions::new();
        appending(lockable(&mut options));
        options
    };
    let made = options().read(true).create_new(true).mode(mode).open(path);
    let is_new = made.is_ok();
    let opened = made.or_else(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => options().read(true).open(path),
        _ => Err(error),
    });
    let file = opened.or_else(|error| match error.kind() {
        // The file may be writable but not readable. If it is neither, or if there is no file, the
        // first error says why.
        io::ErrorKind::PermissionDenied => options().open(path).map_err(|_| error),
        _ => Err(error),
    });
    let busy = || named(path, &io::Error::other("another program is writing to it"));
    let file = file.and_then(locked).map_err(|error| match is_in_use(&error) {
        true => busy(),
        false => named(path, &error),
    })?;
    // On file systems without locks, the length still shows whether the file has changed.
    let has_length = file.metadata().is_ok_and(|metadata| metadata.len() == length);
    if !has_length || !is_at(&file, path) {
        return Err(busy());
    }
    Ok((file, is_new))
}

pub(super) fn is_at(file: &File, path: &Path) -> bool {
    let both = (file.metadata(), fs::symlink_metadata(path));
    matches!(both, (Ok(here), Ok(there)) if is_same(&here, &there))
}

#[derive(Debug, thiserror::Error)]
#[error("{}: {error}", LocalPath(path))]
struct NamedError {
    path: PathBuf,
    error: io::Error,
}

pub(crate) fn named(path: &Path, error: &io::Error) -> io::Error {
    let named = NamedError { path: path.to_owned(), error: io_again(error) };
    io::Error::new(error.kind(), named)
}

/// Returns a copy of an error that has a path already, or needs none.
pub(super) fn named_again(error: &io::Error) -> io::Error {
    let named_error = error.get_ref().and_then(|error| error.downcast_ref::<NamedError>());
    named_error.map_or_else(|| io_again(error), |inner| named(&inner.path, &inner.error))
}

/// Returns the error without the file's name, for a caller that knows another one.
pub(crate) fn unnamed(error: &io::Error) -> io::Error {
    let named = error.get_ref().and_then(|error| error.downcast_ref::<NamedError>());
    named.map_or_else(|| io_again(error), |named| unnamed(&named.error))
}

const NAMES: u32 = 16;

/// The longest file name in bytes.
const LONGEST: usize = 255;

/// The longest text that the name of a piece adds: `.segment-` and a position.
const PIECE: usize = 29;

const NONE: &str = "no free name for a partial file";

/// A local file that may be the beginning of the server's file.
#[derive(Debug)]
pub(super) struct FoundFile {
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) length: u64,
    pub(super) record: Option<Record>,
}

impl FoundFile {
    /// Opens the regular file at `path` for reading; `None` if there is no file.
    ///
    /// # Errors
    ///
    /// Returns the system's error, with the path. Anything but a regular file is an error.
    pub(super) fn at(path: &Path) -> io::Result<Option<Self>> {
        let file = match open_regular(path, File::options().read(true)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(|error| named(path, &error))?,
        };
        let metadata = file.metadata().map_err(|error| named(path, &error))?;
        let record = Record::read(&file, path);
        Ok(Some(Self { path: path.to_owned(), file, length: metadata.len(), record }))
    }

    /// Returns whether this program wrote the file, as a part of a download.
    pub(super) fn is_ours(&self) -> bool {
        let has_one_name = self.file.metadata().is_ok_and(|metadata| metadata.nlink() == 1);
        has_one_name && self.record.as_ref().is_some_and(|record| record.is_part_of(&self.file))
    }
}

/// Returns the path for the partial file of `target`, and the file if it exists: the first name
/// that this program's partial file has, else the first free one. Skips the paths for
/// which `is_target` is true.
///
/// # Errors
///
/// Returns the system's errors, and `AlreadyExists` if all names belong to other files.
pub(super) fn find(
    target: &Path,
    is_target: impl Fn(&Path) -> bool,
) -> io::Result<(PathBuf, Option<FoundFile>)> {
    let mut free = None;
    for number in 1..=NAMES {
        let path = path_of(target, number);
        if is_target(&path) {
            continue;
        }
        match FoundFile::at(&path) {
            Ok(Some(found)) if found.is_ours() => return Ok((path, Some(found))),
            // Another program's file, or one that cannot be read.
            Ok(Some(_)) => {}
            Ok(None) if free.is_none() => free = Some(path),
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) if fs::symlink_metadata(&path).is_ok() => {}
            Err(error) => return Err(error),
        }
    }
    let none = || named(target, &io::Error::new(io::ErrorKind::AlreadyExists, NONE));
    free.map(|path| (path, None)).ok_or_else(none)
}

/// Returns the first path for the pieces of `target` for which `is_ours` finds no file of another
/// program.
///
/// # Errors
///
/// Returns the errors of `is_ours`, and `AlreadyExists` if all names belong to other files.
pub(super) fn find_first(
    target: &Path,
    mut is_ours: impl FnMut(&Path) -> io::Result<bool>,
) -> io::Result<PathBuf> {
    for number in 1..=NAMES {
        let path = path_within(target, number, LONGEST - PIECE);
        if is_ours(&path)? {
            return Ok(path);
        }
    }
    Err(named(target, &io::Error::new(io::ErrorKind::AlreadyExists, NONE)))
}

/// Returns the path of the partial file with this number. The name of the first one is
/// `NAME.part`. A name that would be too long is cut, and ends in a digest instead.
fn path_of(target: &Path, number: u32) -> PathBuf {
    path_within(target, number, LONGEST)
}

fn path_within(target: &Path, number: u32, most: usize) -> PathBuf {
    let name = target.file_name().unwrap_or_default();
    let end = if number == 1 { ".part".to_owned() } else { format!(".part-{number}") };
    parent_of(target).join(shortened(name, &end, most))
}

/// Returns `name` with `end`; a name that would exceed `most` bytes is cut.
fn shortened(name: &OsStr, end: &str, most: usize) -> OsString {
    let mut bytes = name.as_bytes().to_vec();
    if bytes.len() + end.len() > most {
        let sum = Sha256::digest(&bytes);
        let sum = hex(sum.get(..8).unwrap_or_default());
        let room = most.saturating_sub(end.len() + sum.len() + 1);
        bytes.truncate(room);
        // Whole characters only: some file systems refuse other names.
        if name.to_str().is_some() {
            while !bytes.is_empty() && std::str::from_utf8(&bytes).is_err() {
                bytes.pop();
            }
        }
        bytes.push(b'~');
        bytes.extend_from_slice(sum.as_bytes());
    }
    bytes.extend_from_slice(end.as_bytes());
    OsString::from_vec(bytes)
}

/// Returns the directory of `target` as the caller wrote it; empty for the current one.
fn parent_of(target: &Path) -> &Path {
    target.parent().unwrap_or_else(|| parent(target))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek};

    use ftp_proto::TimeVal;

    #[cfg(target_os = "linux")]
    use super::super::evidence::Fit;
    use super::super::evidence::Origin;
    use super::*;

    fn content(partial: PartialFile) -> String {
        let mut file = partial.file;
        let mut content = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut content).unwrap();
        content
    }

    #[test]
    fn existing_content_stays_until_the_first_byte_arrives() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"hello").unwrap();
        file.rewind().unwrap();
        let mut partial = PartialFile::new(file, 5);
        partial.again(0);
        assert_eq!(partial.file().metadata().unwrap().len(), 5);
        partial.write_all(b"a").unwrap();
        assert_eq!(content(partial), "a");
    }

    /// A file that cannot be synced, with its record beside `path`.
    #[cfg(target_os = "linux")]
    fn unsyncable(path: &Path, offset: u64) -> PartialFile {
        let file = File::options().read(true).append(true).open("/proc/thread-self/comm").unwrap();
        let record = Record::of_test(Origin::new(Some(9), TimeVal::from_unix_seconds(1)));
        PartialFile::new(file, offset).recorded(path.to_owned(), Some(record))
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_failed_sync_is_not_forgotten_as_09() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("f.part");
        // The bytes of an earlier run, a flush amid a download, and one at its end.
        let mut resumed = unsyncable(&path, 3);
        resumed.begun().unwrap_err();
        let mut amid = unsyncable(&path, 0);
        amid.begun().unwrap();
        amid.length = FLUSH - 1;
        amid.write_all(b"x").unwrap_err();
        let mut ended = unsyncable(&path, 0);
        ended.write_all(b"x").unwrap();
        ended.settle().unwrap_err();
        for mut partial in [resumed, amid, ended] {
            let sidecar = fs::read_dir(root.path()).unwrap().next().unwrap().unwrap().path();
            partial.store_record(partial.flushed);
            // The bytes that no flush has confirmed count in no later run.
            assert!(fs::read_to_string(&sidecar).unwrap().contains(" part 0 "));
            // The system has reported the error, and will not do so again.
            partial.file = tempfile::tempfile().unwrap();
            partial.sync(File::sync_all).unwrap_err();
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_killed_download_proves_its_bytes_until_another_program_writes_them_as_09() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("f.part");
        let origin = Origin::new(Some(200_000), TimeVal::from_unix_seconds(1));
        let now = Record::of_test(origin);
        let fit = || {
            let found = FoundFile::at(&path).unwrap().unwrap();
            now.fit(&found.record.unwrap(), &found.file)
        };
        let mut growing = Growing::open(path.clone(), 0, 0, 0o666, Some(now.clone())).unwrap();
        assert_eq!(fit(), Fit::Fits { kept: 0 });
        // Few bytes may be the beginning of any file.
        for (count, kept) in [(1_000, 1_000), (100, 1_000), (1_000, 2_100), (120_000, OVERLAP)] {
            growing.partial.write_all(&vec![7; count]).unwrap();
            assert_eq!(fit(), Fit::Fits { kept });
        }
        drop(growing);
        // The file and its attributes stay, and nothing has been flushed.
        fs::write(&path, [8; 150_000]).unwrap();
        assert_eq!(fit(), Fit::Other);
    }

    /// The disk keeps no attributes, and the program is killed between the truncation of its partial file
    /// and the new record.
    #[test]
    fn an_emptied_partial_file_with_the_record_of_its_old_bytes_is_still_ours_as_09() {
        let root = tempfile::tempdir().unwrap();
        let (target, path) = (root.path().join("f"), root.path().join("f.part"));
        let record = Record::of_test(Origin::new(Some(9), TimeVal::from_unix_seconds(1)));
        fs::write(&path, [7; 5]).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        record.beside_for_tests(&file, &path, 5);
        assert!(FoundFile::at(&path).unwrap().unwrap().is_ours());
        // Another program's bytes are not.
        fs::write(&path, [8; 5]).unwrap();
        assert!(!FoundFile::at(&path).unwrap().unwrap().is_ours());
        for _ in 0..2 * NAMES {
            file.set_len(0).unwrap();
            let (found, ours) = find(&target, |_| false).unwrap();
            assert_eq!(found, path);
            assert!(ours.unwrap().is_ours());
        }
    }

    /// As an editor does that writes in place: the file keeps its attributes.
    #[test]
    fn a_partial_file_that_another_program_overwrites_is_no_longer_ours_as_09() {
        let root = tempfile::tempdir().unwrap();
        let (target, path) = (root.path().join("f"), root.path().join("f.part"));
        let record = Record::of_test(Origin::new(Some(9), TimeVal::from_unix_seconds(1)));
        let mut growing = Growing::open(path.clone(), 0, 0, 0o666, Some(record)).unwrap();
        growing.partial.write_all(&[7; 5]).unwrap();
        drop(growing);
        assert_eq!(find(&target, |_| false).unwrap().0, path);
        fs::write(&path, "precious").unwrap();
        let (free, found) = find(&target, |_| false).unwrap();
        assert!(free.ends_with("f.part-2") && found.is_none());
        super::super::pieces::discard(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        // Nothing in it can be lost.
        fs::write(&path, "").unwrap();
        assert!(find(&target, |_| false).unwrap().1.is_some());
    }

    #[test]
    fn a_file_that_cannot_be_created_is_not_reported_as_missing() {
        // Not even root can create a file here; a container may have mounted it read-only.
        let error = Growing::open("/sys/ftp-client".into(), 0, 0, 0o666, None).unwrap_err();
        assert_ne!(error.kind(), io::ErrorKind::NotFound, "{error}");
    }

    #[test]
    fn a_starting_child_process_does_not_keep_the_lock() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Growing::open(directory.path().join("f.part"), 0, 0, 0o666, None);
        let mut growing = open().unwrap();
        growing.keep();
        assert!(open().is_err(), "another download extends it");
        // A child process has such a copy until it runs its program.
        let copy = growing.partial.file().try_clone().unwrap();
        drop(growing);
        open().unwrap();
        drop(copy);
    }

    #[test]
    fn a_partial_file_of_another_program_is_left_alone_and_another_name_taken() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("f");
        let (path, found) = find(&target, |_| false).unwrap();
        assert!(path.ends_with("f.part") && found.is_none());
        fs::write(&path, "another's").unwrap();
        fs::create_dir(root.path().join("f.part-2")).unwrap();
        assert!(find(&target, |_| false).unwrap().0.ends_with("f.part-3"));
        let is_target = |path: &Path| path == root.path().join("f.part-3");
        assert!(find(&target, is_target).unwrap().0.ends_with("f.part-4"));
        assert_eq!(fs::read(&path).unwrap(), b"another's");
    }

    #[test]
    fn names_of_partial_files_fit_into_255_bytes() {
        for length in [1, 200, 249, 250, 251, 255] {
            for name in ["a".repeat(length), "é".repeat(length / 2)] {
                let path = path_of(Path::new(&name), 1);
                let got = path.file_name().unwrap();
                assert!(got.as_bytes().len() <= LONGEST, "{length}");
                assert!(got.to_str().is_some_and(|got| got.ends_with(".part")), "{length}");
                assert_eq!(name.len() <= 250, got.to_str() == Some(&format!("{name}.part")));
            }
        }
        let one = path_of(Path::new(&"b".repeat(255)), 1);
        assert_ne!(one, path_of(Path::new(&["b".repeat(254), "c".into()].concat()), 1));
    }
}
