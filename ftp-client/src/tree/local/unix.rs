//! A tree on Unix: everything is opened by its name in an open directory, also the directory for files
//! that would otherwise be lost (`backup`).

use std::collections::HashSet;
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, RawMode, Stat};
use rustix::io::Errno;

use super::{Backup, IN_USE, MADE, names, other_file_system};
use crate::listing::Budget;
use crate::system::{
    FileId, OsStrExt, local_name, lock, locked, path_of_directory, rename_new_at,
    reports_failed_writes, sync_file_system,
};
use crate::tree::entry::{MODE, ObjectKind, Stamp, TEMPORARY, TreeEntry};

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);

#[derive(Debug)]
pub(crate) struct Directory {
    descriptor: OwnedFd,
    /// The path by which the directory was opened.
    place: PathBuf,
    /// Whether symbolic links in the directory are followed (`LinkChoice::Follow`).
    pub(super) follows: bool,
    pub(super) own: Arc<[FileId]>,
}

impl Directory {
    /// Opens the directory that the user named, through symbolic links if necessary.
    ///
    /// # Errors
    ///
    /// Returns the system's errors.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let descriptor = rustix::fs::openat(CWD, path, DIRECTORY, Mode::empty())?;
        Ok(Self { descriptor, place: path.to_owned(), follows: false, own: Arc::default() })
    }

    fn of_objects(&self) -> OFlags {
        if self.follows { OFlags::empty() } else { OFlags::NOFOLLOW }
    }

    pub(super) fn enter(&self, name: &[u8]) -> io::Result<Self> {
        let flags = DIRECTORY.union(self.of_objects());
        let descriptor =
            rustix::fs::openat(&self.descriptor, local_name(name)?, flags, Mode::empty())?;
        let place = self.place.join(OsStr::from_bytes(name));
        Ok(Self { descriptor, place, follows: self.follows, own: Arc::clone(&self.own) })
    }

    pub(super) fn again(&self) -> io::Result<Self> {
        let (descriptor, place) = (self.descriptor.try_clone()?, self.place.clone());
        Ok(Self { descriptor, place, follows: self.follows, own: Arc::clone(&self.own) })
    }

    /// Returns the entries that one listing shows, and whether each was there when it was looked at,
    /// and the directory did not change.
    pub(super) fn look(&self, limits: Budget) -> io::Result<(Vec<TreeEntry>, bool)> {
        let changed =
            || rustix::fs::fstat(&self.descriptor).map(|at| (at.st_ctime, at.st_ctime_nsec));
        let before = changed()?;
        let (mut items, mut held, mut is_steady) = (Vec::new(), 0, true);
        for entry in Dir::read_from(&self.descriptor)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            held += size_of::<TreeEntry>() + Budget::weight_of_name(name.to_bytes());
            if items.len() >= limits.entries || held > limits.bytes {
                return Err(ErrorKind::QuotaExceeded.into());
            }
            match self.stat(name) {
                Ok(stat) => items.push(self.entry(name, &stat)),
                // The object was removed in the meantime.
                Err(error) if error.kind() == ErrorKind::NotFound => is_steady = false,
                Err(error) => return Err(error),
            }
        }
        // rustix takes the ENOENT of a removed directory for its end: it is not an empty one, whose
        // objects could be removed from the other side.
        if items.is_empty() && rustix::fs::fstat(&self.descriptor)?.st_nlink == 0 {
            return Err(ErrorKind::NotFound.into());
        }
        let is_steady = is_steady && before == changed()?;
        Ok((items, is_steady))
    }

    /// Returns the names in this directory that `wants` accepts.
    ///
    /// # Errors
    ///
    /// Returns the system's errors.
    pub(crate) fn names(&self, wants: impl Fn(&[u8]) -> bool) -> io::Result<HashSet<Vec<u8>>> {
        let mut names = HashSet::new();
        for entry in Dir::read_from(&self.descriptor)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if wants(name) {
                names.insert(name.to_vec());
            }
        }
        Ok(names)
    }

    fn stat(&self, name: &CStr) -> io::Result<Stat> {
        let itself = rustix::fs::statat(&self.descriptor, name, AtFlags::SYMLINK_NOFOLLOW);
        if self.follows
            && let Ok(mut stat) = rustix::fs::statat(&self.descriptor, name, AtFlags::empty())
        {
            // A link that now leads to an older file is a change too.
            stat.st_ctime = itself.map_or(stat.st_ctime, |link| stat.st_ctime.max(link.st_ctime));
            return Ok(stat);
        }
        Ok(itself?)
    }

    pub(crate) fn found(&self, name: &[u8]) -> io::Result<Option<Stat>> {
        match rustix::fs::statat(&self.descriptor, local_name(name)?, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn make_new(&self, name: &[u8]) -> io::Result<()> {
        let mode = Mode::from_raw_mode(0o777);
        Ok(rustix::fs::mkdirat(&self.descriptor, local_name(name)?, mode)?)
    }

    /// Creates an empty file, which is locked until the result is dropped.
    ///
    /// # Errors
    ///
    /// Returns the system's errors, such as `EEXIST` if the name exists.
    pub(crate) fn create(&self, name: &[u8]) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let made = rustix::fs::openat(
            &self.descriptor,
            local_name(name)?,
            flags,
            Mode::from_raw_mode(0o666),
        );
        let file = File::from(made?);
        // The lock keeps other runs from removing the file as a leftover, as in `Draft::new`.
        let _ = lock(&file);
        Ok(file)
    }

    /// Opens a regular file in this directory for reading.
    ///
    /// # Errors
    ///
    /// Returns the system's errors, and an error for anything but a regular file.
    pub(crate) fn read(&self, name: &[u8]) -> io::Result<File> {
        // With `NONBLOCK`, opening a FIFO does not wait for a writer.
        let flags = OFlags::RDONLY | self.of_objects() | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = File::from(rustix::fs::openat(
            &self.descriptor,
            local_name(name)?,
            flags,
            Mode::empty(),
        )?);
        match file.metadata()?.is_file() {
            true => Ok(file),
            false => Err(io::Error::other("is no longer a regular file")),
        }
    }

    /// Opens and locks a regular file that is removed next. On a file system without locks, it is only
    /// opened.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`read`](Self::read), and one for which [`is_in_use`] is true if another
    /// program has the lock.
    pub(crate) fn read_last(&self, name: &[u8]) -> io::Result<File> {
        locked(self.read(name)?)
    }

    /// Removes an object. A directory must be empty. If the object is a symbolic link, removes the
    /// link itself.
    ///
    /// # Errors
    ///
    /// Returns the system's errors.
    pub(crate) fn remove(&self, name: &[u8], is_directory: bool) -> io::Result<()> {
        let flags = if is_directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        Ok(rustix::fs::unlinkat(&self.descriptor, local_name(name)?, flags)?)
    }

    /// Locks a temporary file until the result is dropped, so that no other run writes to it.
    /// Returns `None` if the object is missing or not a regular file.
    ///
    /// # Errors
    ///
    /// Returns `WouldBlock` if the file cannot be locked, because another program has the lock or
    /// the file system has no locks. Also returns the system's errors.
    pub(crate) fn hold(&self, name: &[u8]) -> io::Result<Option<File>> {
        let is_file = |stat: Stat| TreeEntry::local(name, &stat).kind == ObjectKind::File;
        if !self.found(name)?.is_some_and(is_file) {
            return Ok(None);
        }
        let name = local_name(name)?;
        let open = |access| {
            let flags = access | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
            rustix::fs::openat(&self.descriptor, name, flags, Mode::empty())
        };
        // Some network file systems lock only files that are open for writing.
        let opened = match open(OFlags::WRONLY) {
            Err(Errno::ACCESS | Errno::ROFS) => open(OFlags::RDONLY),
            opened => opened,
        };
        let file = match opened {
            Ok(file) => File::from(file),
            // In the meantime, another run may have renamed or removed the file.
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        match lock(&file) {
            Ok(()) => Ok(Some(file)),
            Err(_) => Err(io::Error::new(ErrorKind::WouldBlock, IN_USE)),
        }
    }

    /// Returns a path that leads to this directory, on Linux even if it is moved and its old name is
    /// reused. Returns `None` on Linux without `/proc`, and on other systems if the directory was
    /// moved.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        path_of_directory(&self.descriptor, &self.place)
    }

    /// Prepares the complete `file` for the name `name`: checks that it replaces nothing but a
    /// regular file, and sets the permission bits `mode`.
    ///
    /// # Errors
    ///
    /// Returns the system's errors, and `AlreadyExists` if the name belongs to anything but a
    /// regular file, since a server's names never replace other objects of the user.
    pub(crate) fn prepare(&self, file: &File, name: &[u8], mode: Option<u16>) -> io::Result<()> {
        if let Some(old) = self.found(name)?
            && TreeEntry::local(name, &old).kind != ObjectKind::File
        {
            return Err(ErrorKind::AlreadyExists.into());
        }
        match mode {
            Some(mode) => Ok(rustix::fs::fchmod(file, bits(mode))?),
            None => Ok(()),
        }
    }

    /// Syncs everything written to this file system to the disk.
    ///
    /// # Errors
    ///
    /// Returns the system's errors.
    pub(crate) fn sync(&self) -> io::Result<()> {
        sync_file_system(&self.descriptor)
    }

    /// Returns whether [`sync`](Self::sync) of `top` leaves out the files in this directory, or the
    /// errors of writing them: it is on another file system, or on one that may not report them.
    pub(crate) fn is_synced_apart(&self, top: &Self) -> bool {
        let device = |at: &Self| rustix::fs::fstat(&at.descriptor).map(|stat| stat.st_dev);
        device(self) != device(top) || !reports_failed_writes(&self.descriptor)
    }
}

impl TreeEntry {
    pub(crate) fn local(name: &[u8], stat: &Stat) -> Self {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => ObjectKind::File,
            FileType::Directory => ObjectKind::Directory,
            FileType::Symlink => ObjectKind::Link,
            _ => ObjectKind::Special,
        };
        Self {
            name: name.to_vec(),
            kind,
            size: u64::try_from(stat.st_size).ok(),
            stamp: Some(Stamp::at(stat.st_mtime)),
            changed: Some(stat.st_ctime),
            unique: None,
            mode: u16::try_from(stat.st_mode & RawMode::from(MODE)).ok(),
            target: None,
        }
    }
}

fn bits(mode: u16) -> Mode {
    Mode::from_raw_mode(RawMode::from(mode & MODE))
}

/// Mode bits other than the nine permission bits.
const SPECIAL: RawMode = 0o7000;

impl Directory {
    /// Returns the entry of the object `name`, whose status is `stat`. If the object is a link,
    /// reads its target.
    pub(crate) fn entry(&self, name: &CStr, stat: &Stat) -> TreeEntry {
        let mut entry = TreeEntry::local(name.to_bytes(), stat);
        match entry.kind {
            ObjectKind::File if is_among(&self.own, stat) => {
                entry.kind = ObjectKind::Own;
            }
            ObjectKind::Link => {
                let target = rustix::fs::readlinkat(&self.descriptor, name, Vec::new());
                entry.target = target.ok().map(CString::into_bytes);
            }
            // Links can make a tree endless.
            ObjectKind::Directory if self.follows => entry.unique = Some(identifier(stat)),
            _ => {}
        }
        entry
    }

    /// Returns the identifier of this directory if links are followed, because a link can lead to
    /// it. Otherwise returns `None`.
    pub(crate) fn identity(&self) -> Option<Vec<u8>> {
        let stat = self.follows.then(|| rustix::fs::fstat(&self.descriptor).ok()).flatten();
        stat.as_ref().map(identifier)
    }

    /// Creates a symbolic link to `target`; with `replaces`, in place of an existing link.
    ///
    /// # Errors
    ///
    /// Returns the system's errors, and `AlreadyExists` if an object other than a replaceable link
    /// has the name.
    pub(crate) fn link(&self, name: &[u8], target: &[u8], replaces: bool) -> io::Result<()> {
        if !replaces {
            return Ok(rustix::fs::symlinkat(target, &self.descriptor, local_name(name)?)?);
        }
        let is_link = self
            .found(name)?
            .is_none_or(|stat| TreeEntry::local(name, &stat).kind == ObjectKind::Link);
        if !is_link {
            return Err(ErrorKind::AlreadyExists.into());
        }
        loop {
            let number = MADE.fetch_add(1, Ordering::Relaxed);
            let process = std::process::id();
            let temporary = [TEMPORARY, format!("{process:x}-{number:x}.tmp").as_bytes()].concat();
            match rustix::fs::symlinkat(target, &self.descriptor, local_name(&temporary)?) {
                // An earlier process with the same id left this link.
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
                Ok(()) => {
                    let (from, to) = (local_name(&temporary)?, local_name(name)?);
                    let at = &self.descriptor;
                    return rustix::fs::renameat(at, from, at, to).map_err(|error| {
                        let _ = rustix::fs::unlinkat(at, from, AtFlags::empty());
                        error.into()
                    });
                }
            }
        }
    }

    /// Sets the permission bits of a file or directory, but never through a link. A directory keeps
    /// its other bits, such as set-group-ID.
    ///
    /// # Errors
    ///
    /// Returns the system's errors.
    pub(crate) fn set_mode(&self, name: &[u8], mode: u16) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let object = rustix::fs::openat(&self.descriptor, local_name(name)?, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&object)?;
        let kept = match TreeEntry::local(name, &stat).kind {
            ObjectKind::Directory => Mode::from_raw_mode(stat.st_mode & SPECIAL),
            _ => Mode::empty(),
        };
        Ok(rustix::fs::fchmod(object, bits(mode) | kept)?)
    }
}

/// Systems number devices with and without a sign.
fn is_among(own: &[FileId], stat: &Stat) -> bool {
    own.iter().any(|(device, inode)| {
        i128::from(*device) == i128::from(stat.st_dev) && *inode == stat.st_ino
    })
}

fn identifier(stat: &Stat) -> Vec<u8> {
    format!("{:x}.{:x}", stat.st_dev, stat.st_ino).into_bytes()
}

impl Backup {
    /// Gives the object `name` of `directory` a second name in the backup, so that the original
    /// name can be replaced in one step. `path` is the path of the directory from the top. If the
    /// file system has no hard links, moves the object to the backup.
    ///
    /// # Errors
    ///
    /// Returns the system's errors, `Other` if the backup is on another file system, and
    /// `AlreadyExists` if no backup name is free.
    pub(crate) fn keep(&self, directory: &Directory, path: &[u8], name: &[u8]) -> io::Result<()> {
        let Some(before) = directory.found(name)? else { return Ok(()) };
        let place = self.place(path)?;
        let (from, own) = (&directory.descriptor, local_name(name)?);
        for kept in names(name) {
            match rustix::fs::linkat(
                from,
                own,
                &place.descriptor,
                local_name(&kept)?,
                AtFlags::empty(),
            ) {
                Err(Errno::EXIST) => {
                    // An earlier run was interrupted after this step.
                    let there = place.found(&kept)?;
                    if there.is_some_and(|there| {
                        (there.st_dev, there.st_ino) == (before.st_dev, before.st_ino)
                    }) {
                        return Ok(());
                    }
                }
                Err(Errno::PERM | Errno::OPNOTSUPP | Errno::MLINK | Errno::NOSYS) => {
                    return self.take(directory, path, name);
                }
                linked => return linked.map_err(|error| other_file_system(error.into())),
            }
        }
        Err(ErrorKind::AlreadyExists.into())
    }

    /// Moves the object `name` of `directory` to the backup.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`keep`](Self::keep).
    pub(crate) fn take(&self, directory: &Directory, path: &[u8], name: &[u8]) -> io::Result<()> {
        let place = self.place(path)?;
        let (from, own) = (&directory.descriptor, local_name(name)?);
        for kept in names(name) {
            let at = &place.descriptor;
            let to = local_name(&kept)?;
            let moved = match rename_new_at((from, own), (at, to)) {
                Some(moved) => moved,
                None if place.found(&kept)?.is_some() => continue,
                None => rustix::fs::renameat(from, own, at, to).map_err(io::Error::from),
            };
            match moved {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                moved => return moved.map_err(other_file_system),
            }
        }
        Err(ErrorKind::AlreadyExists.into())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn no_file_in_the_backup_is_overwritten() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        fs::create_dir_all(path("tree/d")).unwrap();
        fs::create_dir(path("old")).unwrap();
        let tree = Directory::open(&path("tree")).unwrap();
        let below = tree.below(b"d").unwrap();
        let backup = Backup(Directory::open(&path("old")).unwrap());
        let read = |name: &str| fs::read_to_string(path(name)).unwrap();
        for (text, kept) in [("one", "f"), ("two", "f.~1~"), ("three", "f.~2~")] {
            fs::write(path("tree/d/f"), text).unwrap();
            backup.take(&below, b"d", b"f").unwrap();
            assert_eq!(read(&format!("old/d/{kept}")), text);
            assert!(!path("tree/d/f").exists());
        }
        fs::write(path("tree/d/f"), "four").unwrap();
        // Repeating the step, as after a killed run, adds nothing.
        for _ in 0..2 {
            backup.keep(&below, b"d", b"f").unwrap();
        }
        assert_eq!((read("old/d/f.~3~"), read("tree/d/f")), ("four".into(), "four".into()));
        assert_eq!(fs::read_dir(path("old/d")).unwrap().count(), 4);
        // A missing file has nothing to keep.
        backup.keep(&below, b"d", b"none").unwrap();
        // The backup is not entered through a link.
        std::os::unix::fs::symlink("/", path("old/l")).unwrap();
        assert!(backup.take(&below, b"l", b"f").is_err());
        assert_eq!(read("tree/d/f"), "four");
    }
}
