//! The files below one root, under one configuration.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{OFlags, StatVfs, fstatvfs};
use rustix::io::{Errno, retry_on_intr};

use super::directory::Directory;
use super::failure::{lookup, system};
use super::policy::LocalConfig;
use super::quota;
use super::root::Root;
use super::usage::{COST_OF_OBJECT, Cost};
use crate::storage::{StorageErrorKind, StorageResult, VirtualPath};

/// The root of a storage, and the configuration of the files below it.
#[derive(Clone, Debug)]
pub(super) struct Files {
    pub(super) root: Arc<Root>,
    pub(super) config: LocalConfig,
}

impl Files {
    /// Opens the directory at `path`, which must be searchable.
    pub(super) fn open_directory(
        &self,
        path: &VirtualPath,
        flags: OFlags,
    ) -> StorageResult<OwnedFd> {
        // Looks up `.` in the directory, because that requires the right to search the directory.
        let inside = [path.relative(), b"/."].concat();
        let inside = inside.strip_prefix(b"/").unwrap_or(&inside);
        match self.root.open_beneath(inside, flags | OFlags::DIRECTORY) {
            // `path` is a file, and not a name below a file.
            Err(Errno::NOTDIR) if self.root.stat(path.relative()).is_ok() => {
                Err(system(Errno::NOTDIR))
            }
            opened => opened.map_err(lookup),
        }
    }

    /// Returns the parent directory of `path`, opened, and the last component. `path` must not be
    /// the root.
    pub(super) fn parent<'a>(&self, path: &'a VirtualPath) -> StorageResult<(Directory, &'a [u8])> {
        let name = path.name().ok_or(StorageErrorKind::Denied)?;
        let parent = path.parent().unwrap_or_default();
        let directory = Directory::open(&self.root, parent.relative()).map_err(lookup)?;
        Ok((directory, name))
    }

    /// Returns the size and the free space of a directory's file system.
    ///
    /// # Errors
    ///
    /// Returns `Unsupported` if the file system reports no size, as some remote file systems do.
    /// Such a file system is not necessarily full.
    pub(super) fn file_system(&self, path: &VirtualPath) -> StorageResult<StatVfs> {
        let found = if path.is_root() {
            retry_on_intr(|| fstatvfs(&*self.root))
        } else {
            let directory = self.open_directory(path, OFlags::PATH)?;
            retry_on_intr(|| fstatvfs(&directory))
        };
        match found.map_err(system)? {
            StatVfs { f_blocks: 0, .. } => Err(StorageErrorKind::Unsupported.into()),
            found => Ok(found),
        }
    }

    /// Waits for at most `longest`, and returns whether the usage is known well enough to decide if
    /// the quota permits `wanted`.
    pub(super) fn knows_usage(&self, wanted: Cost, longest: Duration) -> StorageResult<bool> {
        let Some(limit) = self.config.limit() else { return Ok(true) };
        let used = quota::used_within(&self.root, limit, wanted, longest)?;
        Ok(used.is_some())
    }
}

/// Returns the free bytes for unprivileged users.
pub(super) const fn free_bytes(found: &StatVfs) -> u64 {
    found.f_bavail.saturating_mul(found.f_frsize)
}

/// Returns the number of free inodes if there are too few for `wanted` bytes in files of 4 KiB,
/// otherwise `None`. A quarter of all inodes is always enough, because some file systems are made
/// for few large files.
pub(super) fn lack_of_inodes(found: &StatVfs, wanted: u64) -> Option<u64> {
    let enough = wanted.div_ceil(COST_OF_OBJECT).min(found.f_files / 4);
    Some(found.f_favail).filter(|&free| free < enough)
}
