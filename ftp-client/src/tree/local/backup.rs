//! `--backup-dir` of a local tree: the directory for files that would otherwise be lost.

use std::io::{self, ErrorKind};

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::unix::os;
use super::{Directory, ELSEWHERE, names};
use crate::system::rename_new_at;

/// A directory for replaced and deleted files, which keep their relative paths in it.
#[derive(Debug)]
pub(crate) struct Backup(pub(crate) Directory);

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
        let (from, own) = (&directory.descriptor, os(name)?);
        for kept in names(name) {
            match rustix::fs::linkat(from, own, &place.descriptor, os(&kept)?, AtFlags::empty()) {
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
        let (from, own) = (&directory.descriptor, os(name)?);
        for kept in names(name) {
            let at = &place.descriptor;
            let to = os(&kept)?;
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

    /// Opens the directory at `path` of the backup, and creates missing directories.
    fn place(&self, path: &[u8]) -> io::Result<Directory> {
        let mut place = self.0.below(b"")?;
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            place.make(name)?;
            place = place.enter(name)?;
        }
        Ok(place)
    }
}

fn other_file_system(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::CrossesDevices => io::Error::other(ELSEWHERE),
        _ => error,
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
