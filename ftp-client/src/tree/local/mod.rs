//! The local side: a tree below an open directory. Paths are opened part by part, and through a
//! symbolic link only in a source with `LinkChoice::Follow`. So neither a server nor a local user who
//! changes the tree can make a mirror leave the tree (CVE-2014-4877).

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use ftp_proto::Pathname;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

#[cfg(unix)]
pub(crate) use unix::Directory;
#[cfg(windows)]
pub(crate) use windows::Directory;

use super::entry::{TEMPORARY, TreeEntry};
use super::names::{Answer, Relation, fold, relation};
use crate::file::local::set_modified;
use crate::listing::Budget;
use crate::system::{FileId, MetadataExt};

/// Number of temporary files of this process, used for their names.
static MADE: AtomicU32 = AtomicU32::new(0);

/// Largest number of times that a directory is listed that changes meanwhile.
const LOOKS: u32 = 10;

const IN_USE: &str = "another program may be writing to it";

/// Largest number of backups of one name.
const COPIES: usize = 10_000;

const SHORT: &str = "the file system takes this name for an object of another name";

/// A time that FAT cannot store.
pub(crate) const ODD_TIME: i64 = 1_000_000_001;

impl Directory {
    /// Sets whether symbolic links in and below the directory are followed. Only sources may follow
    /// them.
    pub(crate) fn following(mut self, follows: bool) -> Self {
        self.follows = follows;
        self
    }

    /// Sets the files of this run, which are listed as such.
    pub(crate) fn sparing(mut self, own: &Arc<[FileId]>) -> Self {
        self.own = Arc::clone(own);
        self
    }

    /// Opens the directory at `path`, relative to this directory. `path` consists of names
    /// separated by `/`. If `path` is empty, opens this directory itself.
    ///
    /// # Errors
    ///
    /// Returns the system's errors. Unless links are followed, fails if a part of the path is a
    /// symbolic link.
    pub(crate) fn below(&self, path: &[u8]) -> io::Result<Self> {
        parts(path).try_fold(self.again()?, |directory, name| directory.enter(name))
    }

    /// Returns the entries of this directory, and whether they are all. While the directory changes, a
    /// listing can lack a name that exists at every moment (tmpfs, Btrfs): then it is listed again, a
    /// few times.
    ///
    /// # Errors
    ///
    /// Returns the system's errors, even if only part of the directory is unreadable. Returns
    /// `QuotaExceeded` if the directory exceeds `limits`.
    pub(crate) fn items(&self, limits: Budget) -> io::Result<(Vec<TreeEntry>, bool)> {
        for _ in 1..LOOKS {
            let listed = self.look(limits)?;
            if listed.1 {
                return Ok(listed);
            }
        }
        self.look(limits)
    }

    /// Returns whether `unlisted` is the object `listed`. Both are paths in one directory.
    ///
    /// # Errors
    ///
    /// Returns the system's errors.
    pub(crate) fn relation(&self, listed: &[u8], unlisted: &[u8]) -> io::Result<Relation> {
        let (above, name) = Pathname::split(unlisted);
        let directory = self.below(above)?;
        let answer = |name: &[u8]| match directory.found(name)? {
            Some(_) => Ok::<_, io::Error>(Answer::There),
            None => Ok(Answer::Absent),
        };
        let both = [Pathname::split(listed).1, name];
        let relation = relation(answer(both[0])?, answer(name)?);
        // Inodes prove nothing: on exFAT through FUSE, each spelling has its own. But a listing
        // shows every object once.
        let are_two =
            relation == Relation::One && directory.names(|shown| both.contains(&shown))?.len() == 2;
        Ok(if are_two { Relation::Two } else { relation })
    }

    /// Creates a directory in this one. Accepts an existing directory that has this name.
    ///
    /// # Errors
    ///
    /// Returns the system's errors, and those of [`check_listed`](Self::check_listed).
    pub(crate) fn make(&self, name: &[u8]) -> io::Result<()> {
        match self.make_new(name) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                self.enter(name)?;
                self.check_listed(name)
            }
            made => made,
        }
    }

    /// Checks that the existing object of this name is listed under it, in any case: FAT and NTFS also
    /// open `LONGNA~1.TXT`, the short name of another file.
    ///
    /// # Errors
    ///
    /// Returns `InvalidInput` if it is not, and the system's errors.
    pub(crate) fn check_listed(&self, name: &[u8]) -> io::Result<()> {
        let folded = fold(name);
        // One listing can lack a name that is replaced just then, as in `items`.
        for _ in 0..2 {
            if !self.names(|listed| fold(listed) == folded)?.is_empty() {
                return Ok(());
            }
        }
        Err(io::Error::new(ErrorKind::InvalidInput, SHORT))
    }

    /// Returns whether the directory has an object of this name. Where case does not count, an object
    /// that is listed in another spelling is not one.
    ///
    /// # Errors
    ///
    /// Returns the system's errors.
    pub(crate) fn has(&self, name: &[u8]) -> io::Result<bool> {
        if self.found(name)?.is_none() {
            return Ok(false);
        }
        let folded = fold(name);
        let alike = self.names(|listed| fold(listed) == folded)?;
        Ok(alike.is_empty() || alike.contains(name))
    }

    /// Returns whether the file system stores only even seconds, like FAT, by testing it with a
    /// temporary file.
    ///
    /// # Errors
    ///
    /// Returns the system's errors.
    pub(crate) fn is_coarse(&self) -> io::Result<bool> {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let numbers = format!("{:x}-{number:x}.tmp", std::process::id());
        let name = [TEMPORARY, numbers.as_bytes()].concat();
        let file = self.create(&name)?;
        let odd = SystemTime::UNIX_EPOCH + Duration::from_secs(ODD_TIME.unsigned_abs());
        let time = set_modified(&file, odd).and_then(|()| Ok(file.metadata()?.mtime()));
        self.remove(&name, false)?;
        Ok(time? != ODD_TIME)
    }

    /// Returns whether an earlier run kept the first bytes of a file, under [`part_of`] its name.
    pub(crate) fn has_part(&self, name: &[u8]) -> bool {
        let part = [&part_of(name), b".part".as_slice()].concat();
        self.found(&part).is_ok_and(|part| part.is_some())
    }
}

/// A directory for replaced and deleted files, which keep their relative paths in it.
#[derive(Debug)]
pub(crate) struct Backup(pub(crate) Directory);

impl Backup {
    /// Opens the directory at `path` of the backup, and creates missing directories.
    fn place(&self, path: &[u8]) -> io::Result<Directory> {
        parts(path).try_fold(self.0.again()?, |place, name| match place.enter(name) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                place.make(name)?;
                place.enter(name)
            }
            entered => entered,
        })
    }
}

fn other_file_system(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::CrossesDevices => {
            io::Error::other("the backup must be on the same file system as the target")
        }
        _ => error,
    }
}

/// Returns the names of a path.
fn parts(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty())
}

/// Returns whether FAT can round the time `source` to `target`, an adjacent even second.
pub(crate) const fn rounds_to(source: i64, target: i64) -> bool {
    target % 2 == 0 && source.abs_diff(target) == 1
}

/// Returns the name from which the name of the partial file of `name` is derived.
pub(crate) fn part_of(name: &[u8]) -> Vec<u8> {
    [TEMPORARY, b"part-", name].concat()
}

/// Returns the names to try for a file that is kept in a backup: its own, then those of
/// `cp --backup=numbered`.
fn names(name: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let numbered =
        (1..COPIES).map(move |number| [name, format!(".~{number}~").as_bytes()].concat());
    std::iter::once(name.to_vec()).chain(numbered)
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
