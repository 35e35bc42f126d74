//! The files below one root, under one configuration, and a regular file that is being read.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{OFlags, SeekFrom, StatVfs, fstatvfs, seek, tell};
use rustix::io::{Errno, read, retry_on_intr};

use super::directory::{Directory, lookup, system};
use super::policy::LocalConfig;
use super::root::Root;
use super::usage::{COST_OF_OBJECT, Cost, Counting, UploadCharge};
use super::{sweep, turn};
use crate::storage::{Metadata, Source, StorageErrorKind, StorageResult, VirtualPath};
use crate::{limits, threads};

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
        match found {
            Ok(StatVfs { f_blocks: 0, .. }) | Err(Errno::NOSYS | Errno::OPNOTSUPP) => {
                Err(StorageErrorKind::Unsupported.into())
            }
            found => found.map_err(system),
        }
    }

    /// Begins an upload under the limit, and reserves `cost`. `old` is the file that the upload is to
    /// replace; as many bytes as it has are free.
    ///
    /// # Errors
    ///
    /// Returns `OverQuota` if no bytes are left or `cost` does not fit, or an error of [`used`].
    pub(super) fn charge(&self, cost: Cost, old: Option<&Metadata>) -> StorageResult<UploadCharge> {
        let limit = self.config.limit();
        if let Some(limit) = limit {
            let wanted = if old.is_some() { cost } else { cost.plus(Cost::BYTE) };
            used(&self.root, limit, wanted)?;
        }
        let mut charge = self.root.usage().charge(limit, old);
        charge.grow(cost.plus(Cost::BYTE))?;
        charge.shrink(1);
        Ok(charge)
    }
}

/// Maximum time that [`used`] waits for a count. During the wait, the session does not check
/// whether its client is still connected.
const WAIT: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 5 });

/// Returns the usage under `limit`. Counts first if there is no count, or if the count is old and
/// leaves less than `wanted` of the limit.
///
/// # Errors
///
/// Returns `Busy` if the count takes longer than [`WAIT`]; the count then continues. Returns an
/// error if no thread can be started for the count.
pub(super) fn used(root: &Arc<Root>, limit: Cost, wanted: Cost) -> StorageResult<Cost> {
    let used = root.usage().used_within(limit, wanted, WAIT, |counting: Counting| {
        let root = Arc::clone(root);
        let count = move || counting.walk(|| sweep::count(&root));
        threads::start(Some("count"), limits::SESSION_STACK, count).map(drop)
    })?;
    used.ok_or_else(|| StorageErrorKind::Busy.into())
}

/// Returns the free bytes for unprivileged users.
pub(crate) const fn free_bytes(found: &StatVfs) -> u64 {
    found.f_bavail.saturating_mul(found.f_frsize)
}

/// Returns the number of free inodes if there are too few for `wanted` bytes in files of 4 KiB,
/// otherwise `None`. A quarter of all inodes is always enough, because some file systems are made
/// for few large files.
pub(super) fn lack_of_inodes(found: &StatVfs, wanted: u64) -> Option<u64> {
    let enough = wanted.div_ceil(COST_OF_OBJECT).min(found.f_files / 4);
    Some(found.f_favail).filter(|&free| free < enough)
}

/// An open file, and its size when it was opened, without the bytes of a running append. It ends there:
/// what an upload appends meanwhile may be removed again.
#[derive(Debug)]
pub(super) struct LocalSource {
    file: OwnedFd,
    size: u64,
}

impl LocalSource {
    /// Returns a source of a file with this metadata.
    pub(super) fn new(file: OwnedFd, found: &Metadata) -> Self {
        Self { file, size: turn::settled(*found).size }
    }
}

impl io::Read for LocalSource {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // The kernel may have sent bytes from the descriptor.
        let left = usize::try_from(self.size.saturating_sub(tell(&self.file)?));
        let most = left.unwrap_or(usize::MAX).min(buffer.len());
        let buffer = buffer.get_mut(..most).unwrap_or_default();
        Ok(retry_on_intr(|| read(&self.file, &mut *buffer))?)
    }
}

impl Source for LocalSource {
    fn size(&self) -> u64 {
        self.size
    }

    fn seek_to(&mut self, offset: u64) -> StorageResult<()> {
        if offset > self.size {
            return Err(StorageErrorKind::BadRestart.into());
        }
        retry_on_intr(|| seek(&self.file, SeekFrom::Start(offset))).map(drop).map_err(system)
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }
}
