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

/// An open file, and its size when it was opened, without the bytes of a running append.
#[derive(Debug)]
pub(super) struct LocalSource {
    file: OwnedFd,
    /// Device and inode.
    identity: (u64, u64),
    size: u64,
    /// Bytes left to read if an upload was appending to the file when it was opened or later,
    /// otherwise `None`. The appended bytes are not read, because they may be removed again.
    left: Option<u64>,
}

impl LocalSource {
    pub(super) fn new(file: OwnedFd, found: &Metadata) -> Self {
        let left = turn::former(found.identity).map(|length| length.min(found.size));
        Self { file, identity: found.identity, size: left.unwrap_or(found.size), left }
    }

    /// If an upload has begun to append to the file, lets this source end at the size that the file
    /// had before. That can be more than when the file was opened: another upload may have appended
    /// to it since. Returns how far the source has been read beyond that size.
    fn end_before_append(&mut self) -> io::Result<u64> {
        let former = turn::former(self.identity);
        let Some(length) = former.filter(|_| self.left.is_none()) else { return Ok(0) };
        let position = tell(&self.file)?;
        self.left = Some(length.saturating_sub(position));
        Ok(position.saturating_sub(length))
    }
}

impl io::Read for LocalSource {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.end_before_append()? > 0 {
            // The kernel has sent bytes that may be removed again.
            return Err(Errno::IO.into());
        }
        let most = self.left.and_then(|left| usize::try_from(left).ok()).unwrap_or(buffer.len());
        let most = most.min(buffer.len());
        let buffer = buffer.get_mut(..most).unwrap_or_default();
        let count = retry_on_intr(|| read(&self.file, &mut *buffer))?;
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
            return Ok(count);
        }
        // The append may have begun during the read.
        let beyond = usize::try_from(self.end_before_append()?).unwrap_or(usize::MAX);
        Ok(count.saturating_sub(beyond))
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
        retry_on_intr(|| seek(&self.file, SeekFrom::Start(offset))).map_err(system)?;
        self.left = self.left.map(|_| self.size - offset);
        Ok(())
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        // The kernel would send the appended bytes too.
        let ends_early = self.left.is_some() || turn::former(self.identity).is_some();
        (!ends_early).then(|| self.file.as_fd())
    }
}
