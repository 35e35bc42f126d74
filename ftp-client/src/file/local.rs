//! A local file that receives a download: it gets its name when it is complete.

use std::collections::hash_map::RandomState;
use std::fs::{self, File, Metadata, OpenOptions};
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{CWD, FlockOperation, Mode, RenameFlags, fchmod, flock, renameat_with};
use rustix::io::Errno;

use super::growing::{Growing, is_at, named, remove_empty};
use super::origin::Origin;
use super::partial::{PartialFile, Salvage};
use crate::error::Error;

/// The number of temporary names to try.
const NAMES: usize = 16;

/// A local file that receives a download.
///
/// [`commit`](Self::commit) gives the complete file its name. Until then, an existing file is
/// unchanged, except with [`in_place`](Self::in_place). If the `LocalFile` is dropped before that,
/// the received bytes are removed or kept, depending on the constructor.
///
/// A file that replaces another takes over its permissions and, if allowed, its owner.
///
/// ```no_run
/// use std::path::Path;
/// use ftp_client::LocalFile;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mut client = ftp_client::Client::builder().connect("ftp.example.org")?;
/// let mut file = LocalFile::replacing(Path::new("a.bin"))?;
/// client.retrieve("pub/a.bin")?.copy_to(&mut file)?;
/// file.commit(true)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct LocalFile(Kind);

#[derive(Debug)]
enum Kind {
    /// A temporary file that is renamed, or removed when dropped.
    Replacing(Temporary),
    /// `NAME.part`, which is renamed, or kept when dropped.
    Part(Part),
    /// A file that is written under its own name.
    InPlace(Growing),
}

/// A file without its final name.
#[derive(Debug)]
struct Temporary {
    file: File,
    path: PathBuf,
    target: PathBuf,
    is_named: bool,
}

impl Temporary {
    fn make(target: &Path) -> io::Result<Self> {
        let directory = parent(target);
        let mut last = None;
        for _ in 0..NAMES {
            let number = RandomState::new().build_hasher().finish();
            let path = directory.join(format!("{}{number:016x}", LocalFile::TEMPORARY));
            // The umask restricts the mode.
            match OpenOptions::new().write(true).create_new(true).mode(0o666).open(&path) {
                Ok(file) => {
                    // The lock shows other programs that the file is in use. Locking fails only on
                    // file systems without locks.
                    let _ = flock(&file, FlockOperation::NonBlockingLockExclusive);
                    let made = Self { file, path, target: target.to_owned(), is_named: false };
                    if let Ok(old) = fs::metadata(target) {
                        take_over(&made.file, &old)?;
                    }
                    return Ok(made);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or_else(|| io::ErrorKind::AlreadyExists.into()))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.is_named {
            let _ = fs::remove_file(&self.path);
        }
        // As in `Growing`: closing the file does not always unlock it.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

/// `NAME.part`.
#[derive(Debug)]
struct Part {
    growing: Growing,
    target: PathBuf,
}

impl Drop for Part {
    fn drop(&mut self) {
        // An empty file is useless for resuming. After a rename, the path no longer leads to the
        // file, so nothing is removed.
        remove_empty(self.growing.partial.file(), &self.growing.path);
    }
}

/// The result of giving a file its name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Committed {
    /// The file has its name.
    Done,
    /// Another file has the name and must not be replaced.
    Exists,
}

impl LocalFile {
    /// The prefix of the names of temporary files, which are never resumed.
    ///
    /// A program that was killed may leave such files; skip them when copying a directory. A file
    /// that is in use has an exclusive lock (`flock`), except on file systems without locks.
    pub const TEMPORARY: &'static str = ".ftp-client-";

    /// Creates a temporary file, to which [`commit`](Self::commit) gives the name `target`.
    ///
    /// If it is dropped before [`commit`](Self::commit), nothing is left.
    ///
    /// # Errors
    ///
    /// Returns the system's error if no file can be created next to `target`.
    pub fn replacing(target: &Path) -> io::Result<Self> {
        Temporary::make(target).map(Kind::Replacing).map(Self)
    }

    /// Opens `NAME.part` for the file at `target`. `NAME.part` must have `length` bytes, or be
    /// missing if `length` is 0; its first `offset` bytes are kept.
    ///
    /// Received bytes stay when the `LocalFile` is dropped. `origin` describes the server's file
    /// and is recorded with the local one.
    ///
    /// # Errors
    ///
    /// Returns the system's error if the file cannot be created or opened, or if another program is
    /// writing to it.
    pub fn part(
        target: &Path,
        length: u64,
        offset: u64,
        origin: Option<Origin>,
    ) -> io::Result<Self> {
        let growing = Growing::open(part_of(target), length, offset, origin)?;
        if let Ok(old) = fs::metadata(target) {
            take_over(growing.partial.file(), &old)
                .map_err(|error| named(&growing.path, &error))?;
        }
        Ok(Self(Kind::Part(Part { growing, target: target.to_owned() })))
    }

    /// Opens the file at `path` itself. The file must have `length` bytes, or be missing if
    /// `length` is 0; its first `offset` bytes are kept.
    ///
    /// Received bytes stay when the `LocalFile` is dropped.
    ///
    /// # Errors
    ///
    /// Returns the system's error if the file cannot be opened, or if another program is writing to
    /// it.
    pub fn in_place(path: &Path, length: u64, offset: u64) -> io::Result<Self> {
        Growing::open(path.to_owned(), length, offset, None).map(Kind::InPlace).map(Self)
    }

    /// Returns the path of the file that holds the received bytes until [`commit`](Self::commit).
    #[must_use]
    pub fn path(&self) -> &Path {
        match &self.0 {
            Kind::Replacing(temporary) => &temporary.path,
            Kind::Part(part) => &part.growing.path,
            Kind::InPlace(growing) => &growing.path,
        }
    }

    /// Returns the final path.
    #[must_use]
    pub fn target(&self) -> &Path {
        match &self.0 {
            Kind::Replacing(temporary) => &temporary.target,
            Kind::Part(part) => &part.target,
            Kind::InPlace(growing) => &growing.path,
        }
    }

    /// Returns whether received bytes stay when the `LocalFile` is dropped. A later download can
    /// then resume.
    #[must_use]
    pub const fn is_kept(&self) -> bool {
        !matches!(self.0, Kind::Replacing(_))
    }

    /// Sets the modification time. Call this method after writing the last byte.
    ///
    /// # Errors
    ///
    /// Returns the system's error if the time cannot be set.
    pub fn set_modified(&self, time: SystemTime) -> io::Result<()> {
        let file = match &self.0 {
            Kind::Replacing(temporary) => &temporary.file,
            Kind::Part(Part { growing, .. }) | Kind::InPlace(growing) => growing.partial.file(),
        };
        file.set_modified(time)
    }

    const fn partial(&self) -> Option<&PartialFile> {
        match &self.0 {
            Kind::Part(Part { growing, .. }) | Kind::InPlace(growing) => Some(&growing.partial),
            Kind::Replacing(_) => None,
        }
    }

    /// Removes the bytes that arrived after the offset at which the download resumed. Does nothing
    /// if the offset is 0.
    fn restore(&self) {
        if let Some(partial) = self.partial() {
            partial.restore();
        }
    }

    /// Removes bytes that may be wrong after a download of `rest` bytes failed with `error`, as
    /// [`PartialFile::salvage`] does.
    pub fn salvage(&self, error: &Error, rest: Option<u64>) -> Salvage {
        self.partial().map_or(Salvage::Kept, |partial| partial.salvage(error, rest))
    }

    /// Removes received bytes that are known to be wrong. Removes `NAME.part` or the temporary file
    /// as a whole. After a download in place, removes only the bytes after the offset at which it
    /// resumed, and nothing if it started at byte 0.
    pub fn discard(self) {
        self.restore();
        if let Kind::Part(part) = &self.0
            && is_at(part.growing.partial.file(), &part.growing.path)
        {
            let _ = fs::remove_file(&part.growing.path);
        }
    }

    /// Syncs the file to disk and then gives it its name.
    ///
    /// If another file has the name, it is replaced if `replaces` is true; otherwise the result is
    /// [`Committed::Exists`]. A file opened by [`in_place`](Self::in_place) already has its name.
    ///
    /// # Errors
    ///
    /// Returns the system's error. After an error, an existing file is unchanged, except with
    /// [`in_place`](Self::in_place).
    pub fn commit(mut self, replaces: bool) -> io::Result<Committed> {
        let done = match &mut self.0 {
            Kind::InPlace(growing) => {
                growing.keep();
                growing.partial.begun().and_then(|file| file.sync_all())
            }
            Kind::Part(Part { growing, target }) => growing
                .partial
                .begun()
                .and_then(|file| {
                    Origin::remove_from(file);
                    file.sync_all()
                })
                .and_then(|()| rename(&growing.path, target, replaces)),
            Kind::Replacing(temporary) => {
                let Temporary { file, path, target, is_named } = temporary;
                let renamed = file.sync_all().and_then(|()| rename(path, target, replaces));
                *is_named = renamed.is_ok();
                renamed
            }
        };
        match done {
            Ok(()) => Ok(Committed::Done),
            Err(error) if !replaces && error.kind() == io::ErrorKind::AlreadyExists => {
                Ok(Committed::Exists)
            }
            Err(error) => Err(error),
        }
    }
}

impl Write for LocalFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Kind::Replacing(temporary) => temporary.file.write(bytes),
            Kind::Part(Part { growing, .. }) | Kind::InPlace(growing) => {
                growing.partial.write(bytes)
            }
        }
    }

    /// Does nothing: [`commit`](Self::commit) syncs the bytes.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the path of the received bytes.
impl AsRef<Path> for LocalFile {
    fn as_ref(&self) -> &Path {
        self.path()
    }
}

/// Returns the path of `NAME.part`, which keeps the bytes of an interrupted download.
#[must_use]
pub fn part_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

/// Returns the directory that contains `path`.
pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Gives a file its final name, replacing an existing file only if requested.
fn rename(from: &Path, to: &Path, replaces: bool) -> io::Result<()> {
    if replaces {
        return fs::rename(from, to);
    }
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Not every file system supports this. A hard link has the same effect.
        Err(Errno::INVAL | Errno::NOSYS) => {
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        renamed => Ok(renamed?),
    }
}

/// Copies the permissions of the file to be replaced and, if allowed, its owner. The set-user-ID
/// and set-group-ID bits are left out: they would let the new content run with the rights of the
/// old owner.
pub(super) fn take_over(file: &File, old: &Metadata) -> io::Result<()> {
    let new = file.metadata()?;
    if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
        let _ = fchown(file, Some(old.uid()), Some(old.gid()));
    }
    Ok(fchmod(file, Mode::from_raw_mode(old.mode() & 0o777))?)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn names_in(root: &Path) -> Vec<String> {
        let entries = fs::read_dir(root).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_local_file_replaces_the_old_one_or_leaves_no_trace_li_07_cl_53() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("f");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o4640)).unwrap();

        let mut file = LocalFile::replacing(&path).unwrap();
        file.write_all(b"half").unwrap();
        assert_eq!(names_in(root.path()).len(), 2);
        drop(file);
        assert_eq!(names_in(root.path()), ["f"]);
        assert_eq!(fs::read(&path).unwrap(), b"old");

        let mut file = LocalFile::replacing(&path).unwrap();
        file.write_all(b"whole").unwrap();
        file.commit(true).unwrap();
        assert_eq!(names_in(root.path()), ["f"]);
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);
    }

    #[test]
    fn a_part_stays_when_dropped() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("f");
        let mut file = LocalFile::part(&path, 0, 0, None).unwrap();
        file.write_all(b"abcdef").unwrap();
        drop(file);
        assert_eq!(names_in(root.path()), ["f.part"]);
        let mut file = LocalFile::part(&path, 6, 4, None).unwrap();
        file.write_all(b"EF").unwrap();
        file.commit(true).unwrap();
        assert_eq!(names_in(root.path()), ["f"]);
        assert_eq!(fs::read(&path).unwrap(), b"abcdEF");
    }

    #[test]
    fn a_part_is_not_truncated_before_the_first_byte_nor_left_empty() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("f");
        let part = root.path().join("f.part");
        drop(LocalFile::part(&path, 0, 0, None).unwrap());
        assert!(names_in(root.path()).is_empty());
        fs::write(&part, "abcdef").unwrap();
        drop(LocalFile::part(&path, 6, 0, None).unwrap());
        assert_eq!(fs::read(&part).unwrap(), b"abcdef");
        // An empty file can be committed too.
        LocalFile::part(&path, 6, 0, None).unwrap().commit(true).unwrap();
        assert_eq!(names_in(root.path()), ["f"]);
        assert_eq!(fs::read(&path).unwrap(), b"");
    }

    #[test]
    fn a_part_takes_over_the_permissions_of_the_file_it_replaces() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("f");
        fs::write(&path, "old and private").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let mut file = LocalFile::part(&path, 0, 0, None).unwrap();
        file.write_all(b"new").unwrap();
        file.commit(true).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    }

    #[test]
    fn two_writers_cannot_resume_the_same_file() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("f");
        let mut first = LocalFile::part(&path, 0, 0, None).unwrap();
        first.write_all(b"abc").unwrap();
        for length in [0, 3] {
            let error = LocalFile::part(&path, length, length, None).unwrap_err();
            assert!(error.to_string().contains("f.part: another program"), "{error}");
        }
        first.commit(true).unwrap();
        let mut first = LocalFile::in_place(&path, 3, 3).unwrap();
        first.write_all(b"def").unwrap();
        assert!(LocalFile::in_place(&path, 6, 6).is_err());
        first.commit(true).unwrap();
        assert!(LocalFile::in_place(&path, 3, 3).is_err(), "it grew since it was looked at");
        assert_eq!(fs::read(&path).unwrap(), b"abcdef");
    }

    #[test]
    fn a_commit_without_overwrite_keeps_a_file_created_meanwhile() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("f");
        let mut file = LocalFile::replacing(&path).unwrap();
        file.write_all(b"new").unwrap();
        fs::write(&path, "another's").unwrap();
        assert_eq!(file.commit(false).unwrap(), Committed::Exists);
        assert_eq!(names_in(root.path()), ["f"]);
        assert_eq!(fs::read(&path).unwrap(), b"another's");
        fs::remove_file(&path).unwrap();
        let mut file = LocalFile::replacing(&path).unwrap();
        file.write_all(b"new").unwrap();
        assert_eq!(file.commit(false).unwrap(), Committed::Done);
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn a_failed_commit_is_not_reported_as_an_existing_file() {
        for replaces in [false, true] {
            let root = tempfile::tempdir().unwrap();
            let directory = root.path().join("d");
            fs::create_dir(&directory).unwrap();
            let mut file = LocalFile::part(&directory.join("f"), 0, 0, None).unwrap();
            file.write_all(b"new").unwrap();
            fs::remove_dir_all(&directory).unwrap();
            assert_eq!(file.commit(replaces).unwrap_err().kind(), io::ErrorKind::NotFound);
        }
    }

    #[test]
    fn a_file_written_in_place_is_not_truncated_before_the_first_byte() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("f");
        fs::write(&path, "old").unwrap();
        let mut file = LocalFile::in_place(&path, 3, 0).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        file.write_all(b"ne").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"ne");
        file.commit(true).unwrap();
        LocalFile::in_place(&path, 2, 0).unwrap().commit(true).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"");
    }
}
