//! The local side: a tree below a descriptor. Paths are opened part by part and never through a
//! symbolic link. So neither a local user who changes the tree nor a server can lead a mirror out
//! of it (CVE-2014-4877).

use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use ftp_client::{Error, Origin, PartialFile, Salvage, TimeVal};
use rustix::fs::flock;
use rustix::fs::{
    AtFlags, CWD, Dir, FlockOperation, Mode, OFlags, RenameFlags, Stat, Timespec, Timestamps,
};
use rustix::io::Errno;

use super::entry::{ObjectKind, TEMPORARY, TreeEntry};

/// Number of temporary files of this process, used for their names.
static MADE: AtomicU32 = AtomicU32::new(0);

/// A time that FAT cannot store.
pub(super) const ODD_TIME: i64 = 1_000_000_001;

/// Flags for opening a directory.
const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);

/// An open directory.
#[derive(Debug)]
pub(super) struct Directory(OwnedFd);

impl Directory {
    /// Opens the directory that the user named, through symbolic links if necessary.
    ///
    /// # Errors
    ///
    /// Returns the system's errors.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(rustix::fs::openat(CWD, path, DIRECTORY, Mode::empty())?))
    }

    /// Opens a directory in this one, not through a link.
    fn enter(&self, name: &[u8]) -> io::Result<Self> {
        let flags = DIRECTORY.union(OFlags::NOFOLLOW);
        Ok(Self(rustix::fs::openat(&self.0, os(name)?, flags, Mode::empty())?))
    }

    /// Opens the directory at `path` below this one: names separated by `/`, or an empty path for
    /// itself.
    ///
    /// # Errors
    ///
    /// Returns the system's errors; for a part that is a symbolic link, that it is not a directory.
    pub(super) fn below(&self, path: &[u8]) -> io::Result<Self> {
        let mut directory = Self(self.0.try_clone()?);
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            directory = directory.enter(name)?;
        }
        Ok(directory)
    }

    /// Returns its entries.
    ///
    /// # Errors
    ///
    /// Returns the system's errors: a directory that cannot be read completely is an error.
    /// `QuotaExceeded` if it has more than `limit` objects.
    pub(super) fn items(&self, limit: usize) -> io::Result<Vec<TreeEntry>> {
        let mut items = Vec::new();
        for entry in Dir::read_from(&self.0)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            if items.len() >= limit {
                return Err(ErrorKind::QuotaExceeded.into());
            }
            match self.stat(name) {
                Ok(stat) => items.push(TreeEntry::local(name.to_bytes(), &stat)),
                // It was removed meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(items)
    }

    fn stat(&self, name: &CStr) -> io::Result<Stat> {
        Ok(rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Returns the object with this name, if there is one.
    fn found(&self, name: &[u8]) -> io::Result<Option<Stat>> {
        match rustix::fs::statat(&self.0, os(name)?, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Creates a directory in it. Accepts an existing one.
    ///
    /// # Errors
    ///
    /// Returns the system's errors.
    pub(super) fn make(&self, name: &[u8]) -> io::Result<()> {
        match rustix::fs::mkdirat(&self.0, os(name)?, Mode::from_raw_mode(0o777)) {
            Err(Errno::EXIST) => self.enter(name).map(drop),
            made => Ok(made?),
        }
    }

    /// Opens a regular file in it for reading.
    ///
    /// # Errors
    ///
    /// Returns the system's errors, and an error for anything but a regular file.
    pub(super) fn read(&self, name: &[u8]) -> io::Result<File> {
        // Does not wait for the writer of a FIFO.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = File::from(rustix::fs::openat(&self.0, os(name)?, flags, Mode::empty())?);
        match file.metadata()?.is_file() {
            true => Ok(file),
            false => Err(io::Error::other("is no longer a regular file")),
        }
    }

    /// Removes an object: a directory only if it is empty; of a link, the link itself.
    ///
    /// # Errors
    ///
    /// Returns the system's errors.
    pub(super) fn remove(&self, name: &[u8], is_directory: bool) -> io::Result<()> {
        let flags = if is_directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        Ok(rustix::fs::unlinkat(&self.0, os(name)?, flags)?)
    }

    /// Removes a temporary file of a killed run, if no process holds its lock. Returns whether it
    /// did.
    ///
    /// # Errors
    ///
    /// Returns the system's errors.
    pub(super) fn clear(&self, name: &[u8]) -> io::Result<bool> {
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = match rustix::fs::openat(&self.0, os(name)?, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            // It got its final name meanwhile.
            Err(Errno::NOENT) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        if !file.metadata()?.is_file()
            || flock(&file, FlockOperation::NonBlockingLockExclusive).is_err()
        {
            return Ok(false);
        }
        self.remove(name, false).map(|()| true)
    }

    /// Returns whether the file system stores only even seconds, like FAT: tests it with a
    /// temporary file.
    ///
    /// # Errors
    ///
    /// Returns the system's errors.
    pub(super) fn is_coarse(&self) -> io::Result<bool> {
        let draft = Draft::new(self)?;
        set_times(draft.partial.file(), ODD_TIME)?;
        Ok(draft.partial.file().metadata()?.mtime() != ODD_TIME)
    }

    /// Syncs everything written to this file system to the disk.
    ///
    /// # Errors
    ///
    /// Returns the system's errors.
    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.0)?)
    }
}

/// A file without its final name. When dropped, it is removed, or kept for resuming.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    directory: &'a Directory,
    partial: PartialFile,
    name: Vec<u8>,
    is_done: bool,
    /// Time of the remote file that it is a part of, if it is kept.
    keeps: Option<i64>,
}

impl<'a> Draft<'a> {
    /// Creates an empty draft in a directory.
    ///
    /// # Errors
    ///
    /// Returns the system's errors.
    pub(super) fn new(directory: &'a Directory) -> io::Result<Self> {
        loop {
            let number = MADE.fetch_add(1, Ordering::Relaxed);
            let process = std::process::id();
            let mut name = TEMPORARY.to_vec();
            name.extend_from_slice(format!("{process:x}-{number:x}.tmp").as_bytes());
            let flags =
                OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            // The umask applies.
            let mode = Mode::from_raw_mode(0o666);
            match rustix::fs::openat(&directory.0, os(&name)?, flags, mode) {
                Ok(file) => {
                    let file = File::from(file);
                    // The lock shows that a process still writes to it. On a file system without
                    // locks, no file is taken for a leftover.
                    let _ = flock(&file, FlockOperation::NonBlockingLockExclusive);
                    let partial = PartialFile::new(file, 0);
                    return Ok(Self { directory, partial, name, is_done: false, keeps: None });
                }
                // Left by an earlier process with this id.
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Opens the partial file of `name` from an earlier run, or creates an empty one. It is resumed
    /// by the rule of `get --continue`: only if it is the beginning of the file that the server
    /// describes in `now`. The earlier description is not stored in an extended attribute: the
    /// partial file has the remote file's time, like all files of a mirror, on every file system.
    ///
    /// Without a time it starts empty: a size alone proves too little for the many files of a
    /// mirror.
    ///
    /// # Errors
    ///
    /// Returns the system's errors.
    pub(super) fn part(directory: &'a Directory, name: &[u8], now: Origin) -> io::Result<Self> {
        let part = [TEMPORARY, b"part-", name].concat();
        let keeps = now.modified.map(|time| time.unix_seconds());
        if part.len() > 255 || keeps.is_none() {
            return Self::new(directory);
        }
        let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW;
        let flags = flags | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = rustix::fs::openat(&directory.0, os(&part)?, flags, Mode::from_raw_mode(0o666))?;
        let file = File::from(file);
        let metadata = file.metadata()?;
        let is_ours = metadata.is_file() && metadata.nlink() == 1;
        // Two processes that resume one file would each take the other's data for its own.
        if !is_ours || flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Self::new(directory);
        }
        let known = Origin::new(None, TimeVal::from_unix_seconds(metadata.mtime()));
        let is_beginning = now.continues(Some(known), metadata.len(), None);
        let offset = if is_beginning { metadata.len() } else { 0 };
        let partial = PartialFile::new(file, offset);
        let mut draft = Self { directory, partial, name: part, is_done: false, keeps };
        if !is_beginning {
            draft.empty()?;
        }
        Ok(draft)
    }

    /// Returns the number of bytes that an earlier run kept.
    pub(super) const fn offset(&self) -> u64 {
        self.partial.offset()
    }

    /// Truncates it to zero bytes.
    ///
    /// # Errors
    ///
    /// Returns the system's errors.
    pub(super) fn empty(&mut self) -> io::Result<()> {
        self.partial.start_over();
        self.partial.begun().map(drop)
    }

    /// Truncates bytes that may not belong to the file, after a download of its `rest` failed.
    pub(super) fn salvage(&self, error: &Error, rest: Option<u64>) -> Salvage {
        self.partial.salvage(error, rest)
    }

    /// Renames it to its final name, with `modified` as its time, in seconds since
    /// 1970-01-01T00:00:00Z. With `replaces`, it replaces a regular file of that name and keeps its
    /// permissions.
    ///
    /// # Errors
    ///
    /// Returns the system's errors. Returns `AlreadyExists` if the name belongs to anything but a
    /// regular file, since a server's names never replace other objects of the user. Without
    /// `replaces`, an existing file is an error too: it was not listed, or its name differs only in
    /// case on a case-insensitive file system.
    pub(super) fn commit(
        mut self,
        name: &[u8],
        replaces: bool,
        modified: Option<i64>,
    ) -> io::Result<()> {
        if let Some(seconds) = modified {
            set_times(self.partial.file(), seconds)?;
        }
        let directory = &self.directory.0;
        let from = os(&self.name)?;
        let to = os(name)?;
        let renamed = match replaces {
            true => Err(Errno::INVAL),
            false => {
                let only_if_free = RenameFlags::NOREPLACE;
                rustix::fs::renameat_with(directory, from, directory, to, only_if_free)
            }
        };
        match renamed {
            // Not every file system can do that atomically.
            Err(Errno::INVAL | Errno::NOSYS) => {
                if let Some(old) = self.directory.found(name)? {
                    if !replaces || TreeEntry::local(name, &old).kind != ObjectKind::File {
                        return Err(ErrorKind::AlreadyExists.into());
                    }
                    // Without the bits that would run a changed program as another user.
                    rustix::fs::fchmod(
                        self.partial.file(),
                        Mode::from_raw_mode(old.st_mode & 0o777),
                    )?;
                }
                rustix::fs::renameat(directory, from, directory, to)?;
            }
            renamed => renamed?,
        }
        self.is_done = true;
        Ok(())
    }
}

impl Write for Draft<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.partial.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        if let Some(modified) = self.keeps
            && self.partial.file().metadata().is_ok_and(|metadata| metadata.len() > 0)
            && set_times(self.partial.file(), modified).is_ok()
        {
            return;
        }
        let _ = self.directory.remove(&self.name, false);
    }
}

fn set_times(file: impl AsFd, seconds: i64) -> io::Result<()> {
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    Ok(rustix::fs::futimens(file, &Timestamps { last_access: time, last_modification: time })?)
}

/// Returns a name for system calls.
///
/// # Errors
///
/// Returns `InvalidInput` for a name that would escape the directory. Such names are rejected
/// earlier; this is the last line of defence.
fn os(name: &[u8]) -> io::Result<&OsStr> {
    if matches!(name, b"" | b"." | b"..") || name.iter().any(|byte| matches!(byte, b'/' | 0)) {
        return Err(ErrorKind::InvalidInput.into());
    }
    Ok(OsStr::from_bytes(name))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use ftp_tests::wait::{at_last, wait_until};

    use super::super::entry::is_temporary;
    use super::*;

    fn scene() -> (tempfile::TempDir, Directory) {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("tree/d")).unwrap();
        fs::create_dir(root.path().join("outside")).unwrap();
        fs::write(root.path().join("outside/f"), "outside").unwrap();
        let tree = Directory::open(&root.path().join("tree")).unwrap();
        (root, tree)
    }

    #[test]
    fn no_link_leads_out_of_the_tree_cl_50_li_08_hc_06_hc_07() {
        let (root, tree) = scene();
        symlink("../outside", root.path().join("tree/l")).unwrap();
        symlink("../outside/f", root.path().join("tree/f")).unwrap();
        assert!(tree.below(b"l").is_err());
        assert!(tree.below(b"l/x").is_err());
        assert!(tree.make(b"l").is_err());
        assert!(tree.read(b"f").is_err());
        let mut draft = Draft::new(&tree).unwrap();
        draft.write_all(b"theirs").unwrap();
        assert_eq!(draft.commit(b"f", true, None).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read(root.path().join("outside/f")).unwrap(), b"outside");

        // The directory was checked, then replaced by a link before the write.
        let held = tree.below(b"d").unwrap();
        fs::rename(root.path().join("tree/d"), root.path().join("tree/e")).unwrap();
        symlink("../outside", root.path().join("tree/d")).unwrap();
        assert!(tree.below(b"d").is_err());
        Draft::new(&held).unwrap().commit(b"new", false, None).unwrap();
        assert!(root.path().join("tree/e/new").exists());
        assert_eq!(fs::read_dir(root.path().join("outside")).unwrap().count(), 1);

        // Only the link itself is removed.
        tree.remove(b"l", false).unwrap();
        assert!(root.path().join("outside/f").exists());
    }

    #[test]
    fn names_lead_nowhere_else_hc_05_hc_08() {
        let (_root, tree) = scene();
        for name in [&b""[..], b".", b"..", b"../outside/f", b"/etc/passwd", b"d/x", b"a\0b"] {
            let shown = name.escape_ascii();
            assert!(tree.read(name).is_err(), "{shown}");
            assert!(tree.make(name).is_err(), "{shown}");
            assert!(tree.remove(name, false).is_err(), "{shown}");
            assert!(tree.remove(name, true).is_err(), "{shown}");
            assert!(Draft::new(&tree).unwrap().commit(name, false, None).is_err(), "{shown}");
        }
        assert!(tree.below(b"../outside").is_err());
        assert_eq!(tree.items(10).unwrap().len(), 1);
    }

    #[test]
    fn what_a_killed_run_left_goes_and_nothing_else_does() {
        let (root, tree) = scene();
        let draft = Draft::new(&tree).unwrap();
        let held = draft.name.clone();
        assert!(is_temporary(&held));
        assert!(!tree.clear(&held).unwrap(), "somebody writes to it");
        // As a killed process leaves it: without an open descriptor.
        let left = b".ftp-cli-1f-0.tmp";
        fs::write(root.path().join("tree/.ftp-cli-1f-0.tmp"), "half").unwrap();
        symlink("../outside/f", root.path().join("tree/.ftp-cli-2f-0.tmp")).unwrap();
        assert!(tree.clear(left).unwrap());
        assert!(!tree.clear(left).unwrap(), "it is gone");
        assert!(tree.clear(b".ftp-cli-2f-0.tmp").is_err());
        assert!(root.path().join("outside/f").exists());
        for name in [
            &b"f.tmp"[..],
            b".ftp-cli-part-f",
            b".ftp-cli-part-f.tmp",
            b".ftp-cli-Ab3xYz",
            b".ftp-cli-1-2-3.tmp",
            b".ftp-cli--2.tmp",
            b".ftp-cli-.tmp",
            b".ftp-cli-1-2",
        ] {
            assert!(!is_temporary(name), "{}", name.escape_ascii());
        }
    }

    #[test]
    fn a_file_is_whole_or_not_there_cl_53() {
        let (root, tree) = scene();
        let path = root.path().join("tree/f");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o4640)).unwrap();
        let mut draft = Draft::new(&tree).unwrap();
        draft.write_all(b"half").unwrap();
        drop(draft);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        let mut draft = Draft::new(&tree).unwrap();
        draft.write_all(b"whole").unwrap();
        draft.commit(b"f", true, Some(1_000_000_000)).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        // An unexpected file stays.
        let draft = Draft::new(&tree).unwrap();
        assert_eq!(draft.commit(b"f", false, None).unwrap_err().kind(), ErrorKind::AlreadyExists);
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!((metadata.mode() & 0o7777, metadata.mtime()), (0o640, 1_000_000_000));
        assert_eq!(fs::read_dir(root.path().join("tree")).unwrap().count(), 2);
    }

    /// Makes a file of nine bytes with this modification time.
    fn at(seconds: i64) -> Origin {
        Origin::new(Some(9), TimeVal::from_unix_seconds(seconds))
    }

    #[test]
    fn a_part_is_gone_on_with_only_if_it_is_of_the_same_file() {
        let (root, tree) = scene();
        let part = root.path().join("tree/.ftp-cli-part-f");
        let mut draft = Draft::part(&tree, b"f", at(1_000_000_000)).unwrap();
        assert_eq!(draft.offset(), 0);
        draft.write_all(b"abc").unwrap();
        // A second process cannot resume it at the same time.
        assert_eq!(Draft::part(&tree, b"f", at(1_000_000_000)).unwrap().offset(), 0);
        drop(draft);
        assert_eq!(fs::read(&part).unwrap(), b"abc");
        let part_with = |offset| {
            let open = || Draft::part(&tree, b"f", at(1_000_000_000)).unwrap();
            at_last("the part is not locked", || {
                Some(open()).filter(|draft| draft.offset() == offset)
            })
        };
        let mut draft = part_with(3);
        draft.write_all(b"def").unwrap();
        drop(draft);
        // The server sent the beginning again.
        let mut draft = part_with(6);
        draft.write_all(b"abc").unwrap();
        assert_eq!(draft.salvage(&Error::Closed, Some(3)), Salvage::Kept);
        drop(draft);
        assert_eq!(fs::read(&part).unwrap(), b"abcdef");
        // With another time it is another file; without bytes there is nothing to resume.
        wait_until("the part is removed", || {
            assert_eq!(Draft::part(&tree, b"f", at(1_000_000_001)).unwrap().offset(), 0);
            !part.exists()
        });
        let mut draft = Draft::part(&tree, b"f", at(1_000_000_001)).unwrap();
        draft.write_all(b"whole").unwrap();
        draft.commit(b"f", false, Some(1_000_000_001)).unwrap();
        assert!(!part.exists());
        assert_eq!(fs::read(root.path().join("tree/f")).unwrap(), b"whole");
        // A planted link is not followed either.
        symlink("../outside/f", &part).unwrap();
        assert!(Draft::part(&tree, b"f", at(1)).is_err());
        fs::remove_file(&part).unwrap();
        fs::hard_link(root.path().join("outside/f"), &part).unwrap();
        drop(Draft::part(&tree, b"f", at(1)).unwrap());
        assert_eq!(fs::read(root.path().join("outside/f")).unwrap(), b"outside");
    }

    #[test]
    fn only_regular_files_are_read_and_waited_for_is_nobody() {
        let (root, tree) = scene();
        let fifo = root.path().join("tree/p");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        assert!(tree.read(b"p").is_err());
        assert!(tree.read(b"d").is_err());
        assert!(Draft::new(&tree).unwrap().commit(b"p", true, None).is_err());
        let kinds = |items: Vec<TreeEntry>| {
            let mut kinds: Vec<_> = items.into_iter().map(|item| (item.name, item.kind)).collect();
            kinds.sort_by(|one, other| one.0.cmp(&other.0));
            kinds
        };
        let want = [(b"d".to_vec(), ObjectKind::Directory), (b"p".to_vec(), ObjectKind::Special)];
        assert_eq!(kinds(tree.items(2).unwrap()), want);
        assert_eq!(tree.items(1).unwrap_err().kind(), ErrorKind::QuotaExceeded);
    }
}
