//! A directory beneath the root that is held open while something in it is changed.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, openat, renameat, renameat_with};
use rustix::io::{Errno, Result, retry_on_intr};

use super::root::{self, Root};
use crate::limits;
use crate::storage::Metadata;

/// The root or a directory beneath it. Names are made and removed in it by this descriptor, so
/// that what is swapped on the way to it does not matter.
#[derive(Clone, Debug)]
pub(super) struct Directory {
    root: Arc<Root>,
    /// None for the root itself.
    below: Option<Arc<OwnedFd>>,
    /// How many directories it was below the root when it was opened, if no link was followed.
    depth: usize,
}

impl Directory {
    /// Opens the directory at `path`, relative to the root and empty for the root itself.
    pub(super) fn open(root: &Arc<Root>, path: &[u8]) -> Result<Self> {
        let depth = path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()).count();
        let below = match depth {
            0 => None,
            _ => Some(Arc::new(root.open_beneath(path, OFlags::PATH | OFlags::DIRECTORY)?)),
        };
        Ok(Self { root: Arc::clone(root), below, depth })
    }

    pub(super) fn root(&self) -> &Arc<Root> {
        &self.root
    }

    /// What has this name, a symbolic link being itself.
    pub(super) fn metadata(&self, name: &[u8]) -> Result<Metadata> {
        root::metadata_at(self, name, AtFlags::empty())
    }

    /// The same directory opened so that fsync makes its names durable.
    pub(super) fn readable(&self) -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        retry_on_intr(|| openat(self, ".", flags, Mode::empty()))
    }

    /// Renames, but EEXIST if the new name is taken. Atomic, except on file systems that cannot
    /// (`RENAME_NOREPLACE` is missing on some in user space): there it looks first.
    pub(super) fn rename_new(&self, from: &[u8], to_directory: &Self, to: &[u8]) -> Result<()> {
        let flags = RenameFlags::NOREPLACE;
        match retry_on_intr(|| renameat_with(self, from, to_directory, to, flags)) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                match to_directory.metadata(to) {
                    Ok(_) => Err(Errno::EXIST),
                    Err(Errno::NOENT) => retry_on_intr(|| renameat(self, from, to_directory, to)),
                    Err(errno) => Err(errno),
                }
            }
            done => done,
        }
    }

    /// Fails with ENOENT if somebody on this machine has moved the directory out of the root
    /// since it was opened.
    ///
    /// Looks upwards: mostly the root is still as far up as it was, which one call shows.
    pub(super) fn check_beneath(&self) -> Result<()> {
        let above = |levels: usize| {
            let path = "../".repeat(levels);
            root::metadata_at(self, path.as_str(), AtFlags::empty()).map(|above| above.identity)
        };
        if self.below.is_none() || above(self.depth)? == self.root.identity() {
            return Ok(());
        }
        let mut below = None;
        for levels in 1..=2 * limits::PATH_DEPTH {
            let identity = Some(above(levels)?);
            if identity == Some(self.root.identity()) {
                return Ok(());
            }
            if identity == below {
                // The top of everything.
                break;
            }
            below = identity;
        }
        Err(Errno::NOENT)
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.below.as_ref().map_or_else(|| self.root.as_fd(), |below| below.as_fd())
    }
}
