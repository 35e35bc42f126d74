//! A directory below the root, held open while names in it change.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{
    AtFlags, Mode, OFlags, RenameFlags, fsync, openat, renameat, renameat_with, syncfs,
};
use rustix::io::{Errno, Result, fcntl_dupfd_cloexec, retry_on_intr};

use super::policy::SyncPolicy;
use super::root::{self, Root};
use crate::limits;
use crate::storage::Metadata;

/// The root or a directory below the root, held open. Names are changed through the descriptor, so
/// replacing a directory on the path has no effect.
#[derive(Clone, Debug)]
pub(super) struct Directory {
    root: Arc<Root>,
    /// `None` for the root itself.
    below: Option<Arc<OwnedFd>>,
    /// The path by which the directory was opened, relative to the root.
    path: Arc<[u8]>,
}

impl Directory {
    /// Opens the directory at `path`, which is relative to the root. An empty path is the root
    /// itself.
    pub(super) fn open(root: &Arc<Root>, path: &[u8]) -> Result<Self> {
        let below = match depth(path) {
            0 => None,
            _ => Some(Arc::new(root.open_beneath(path, OFlags::PATH | OFlags::DIRECTORY)?)),
        };
        Ok(Self { root: Arc::clone(root), below, path: path.into() })
    }

    /// Returns the path by which the directory was opened, relative to the root; empty for the root
    /// itself.
    pub(super) fn path(&self) -> &[u8] {
        &self.path
    }

    pub(super) fn root(&self) -> &Arc<Root> {
        &self.root
    }

    /// Returns whether both directories were opened by the same path.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.path == other.path
    }

    /// Returns the metadata of a name. Does not follow a symbolic link.
    pub(super) fn metadata(&self, name: &[u8]) -> Result<Metadata> {
        root::metadata_at(self, name, AtFlags::empty())
    }

    /// Returns the way to sync the names in this directory to disk, as the policy requires. Call
    /// this method before the names change. `file` is an open file in this directory, if there is
    /// one.
    pub(super) fn names(&self, sync: SyncPolicy, file: Option<BorrowedFd<'_>>) -> Result<Names> {
        if sync != SyncPolicy::FileAndDirectory {
            return Ok(Names::Left);
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match retry_on_intr(|| openat(self, ".", flags, Mode::empty())) {
            // The server may write to the directory but not read it, for example in a drop box.
            Err(Errno::ACCESS) => match file {
                Some(file) => fcntl_dupfd_cloexec(file, 0),
                None => self.open_on_same_file_system(),
            }
            .map(Names::FileSystem),
            opened => opened.map(Names::Directory),
        }
    }

    /// Opens a file or directory on the file system of this directory, which cannot be read. A file
    /// without a name needs the permissions that a change of a name needs.
    fn open_on_same_file_system(&self) -> Result<OwnedFd> {
        let unnamed = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
        match retry_on_intr(|| openat(self, ".", unnamed, Mode::RUSR | Mode::WUSR)) {
            // This file system has no such files, or is full.
            Err(error) if root::metadata_of(self)?.identity.0 == self.root.identity().0 => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let root = retry_on_intr(|| openat(&*self.root, ".", flags, Mode::empty()));
                root.map_err(|_unreadable| error)
            }
            opened => opened,
        }
    }

    /// Renames an object, or returns EEXIST if the new name is taken. The rename is atomic, except
    /// on file systems without `RENAME_NOREPLACE`, such as some FUSE file systems, and under a
    /// filter that forbids the call. There, this method first looks up the new name.
    pub(super) fn rename_new(&self, from: &[u8], to_directory: &Self, to: &[u8]) -> Result<()> {
        let flags = RenameFlags::NOREPLACE;
        match retry_on_intr(|| renameat_with(self, from, to_directory, to, flags)) {
            // A filter of system calls answers EPERM to calls that it does not know.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => {
                match to_directory.metadata(to) {
                    Ok(_) => Err(Errno::EXIST),
                    Err(Errno::NOENT) => retry_on_intr(|| renameat(self, from, to_directory, to)),
                    Err(errno) => Err(errno),
                }
            }
            done => done,
        }
    }

    /// Returns ENOENT if another program has moved this directory out of the root.
    ///
    /// One call confirms the usual case, in which the root is as many levels up as before.
    /// Otherwise this method walks upwards.
    pub(super) fn check_beneath(&self) -> Result<()> {
        let above = |levels: usize| {
            let path = "../".repeat(levels);
            root::metadata_at(self, path.as_str(), AtFlags::empty()).map(|above| above.identity)
        };
        if self.below.is_none() || above(depth(&self.path))? == self.root.identity() {
            return Ok(());
        }
        let mut below = None;
        for levels in 1..=2 * limits::PATH_DEPTH {
            let identity = Some(above(levels)?);
            if identity == Some(self.root.identity()) {
                return Ok(());
            }
            if identity == below {
                // This is the top of all file systems.
                break;
            }
            below = identity;
        }
        Err(Errno::NOENT)
    }
}

/// Returns the number of components in a path.
fn depth(path: &[u8]) -> usize {
    path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()).count()
}

/// A way to sync the names of a directory to disk.
#[derive(Debug)]
pub(super) enum Names {
    /// No sync: the system decides when to write the names.
    Left,
    /// A sync of the directory.
    Directory(OwnedFd),
    /// A sync of the file system that holds this file, because the directory cannot be opened.
    FileSystem(OwnedFd),
}

impl Names {
    pub(super) fn sync(&self) -> Result<()> {
        match self {
            Self::Left => Ok(()),
            Self::Directory(directory) => match retry_on_intr(|| fsync(directory)) {
                // This file system cannot sync directories.
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Ok(()),
                synced => synced,
            },
            Self::FileSystem(file) => retry_on_intr(|| syncfs(file)),
        }
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.below.as_ref().map_or_else(|| self.root.as_fd(), |below| below.as_fd())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_file_system_of_an_unreadable_directory_can_be_synced() {
        let top = tempfile::tempdir().unwrap();
        std::fs::create_dir(top.path().join("d")).unwrap();
        for root in [top.path(), Path::new("/proc")] {
            let root = Arc::new(Root::open(root).unwrap());
            // No file can be created below `/proc`, but its root can be opened.
            let below = if root.has_proc() && root.stat(b"d").is_err() { "self" } else { "d" };
            let directory = Directory::open(&root, below.as_bytes()).unwrap();
            let opened = directory.open_on_same_file_system().unwrap();
            let found = root::metadata_of(&opened).unwrap().identity.0;
            assert_eq!(found, root.identity().0);
            Names::FileSystem(opened).sync().unwrap();
        }
        assert_eq!(std::fs::read_dir(top.path().join("d")).unwrap().count(), 0);
    }
}
