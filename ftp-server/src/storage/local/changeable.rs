//! Objects whose attributes `MFMT` and `SITE CHMOD` change.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, Timespec, Timestamps, chmodat, fchmod, fstat, futimens, utimensat,
};
use rustix::io::retry_on_intr;

use super::append;
use super::failure::{lookup, system};
use super::name;
use super::root::{self, Root};
use crate::storage::{
    EntryKind, Metadata, StorageError, StorageErrorKind, StorageResult, VirtualPath,
};

/// A file or directory whose attributes will be changed. It is opened with `O_PATH`, which needs no
/// right to read it. Older kernels cannot change attributes through such a descriptor, so the calls
/// use the descriptor's link in `/proc`. The link leads to the same object even if another object
/// has the name by now. Without `/proc`, the object is opened for reading.
pub(super) struct Changeable {
    link: Option<String>,
    /// The metadata of the object when it was found.
    pub(super) metadata: Metadata,
    descriptor: OwnedFd,
}

impl Changeable {
    pub(super) fn find(root: &Root, path: &VirtualPath) -> StorageResult<Self> {
        name::check_existing(path)?;
        let open = |flags| root.open_beneath(path.relative(), flags).map_err(lookup);
        let mut descriptor = open(OFlags::PATH)?;
        let metadata = root::metadata_of(&descriptor).map_err(system)?;
        if !matches!(metadata.kind, EntryKind::File | EntryKind::Directory) {
            return Err(StorageErrorKind::NotFile.into());
        }
        let link = root.has_proc().then(|| format!("/proc/self/fd/{}", descriptor.as_raw_fd()));
        if link.is_none() {
            descriptor = open(OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
            if root::metadata_of(&descriptor).map_err(system)?.identity != metadata.identity {
                return Err(StorageErrorKind::NotFound.into());
            }
        }
        Ok(Self { link, metadata, descriptor })
    }

    /// Sets the modification time, in seconds since 1970, and returns the new metadata of the object,
    /// even if its path leads to another object by now.
    ///
    /// # Errors
    ///
    /// Returns `Io` if the file system reports success, and has not stored the time.
    pub(super) fn set_modified(&self, modified: i64) -> StorageResult<Metadata> {
        // With libfuse 2, many file systems ignore a change of only one time, and report success.
        let old = retry_on_intr(|| fstat(&self.descriptor)).map_err(system)?;
        let accessed =
            Timespec { tv_sec: old.st_atime, tv_nsec: old.st_atime_nsec.try_into().unwrap_or(0) };
        let last_modification = Timespec { tv_sec: modified, tv_nsec: 0 };
        let times = Timestamps { last_access: accessed, last_modification };
        retry_on_intr(|| match &self.link {
            Some(link) => utimensat(CWD, link.as_str(), &times, AtFlags::empty()),
            None => futimens(&self.descriptor, &times),
        })
        .map_err(system)?;
        let now = root::metadata_of(&self.descriptor).map_err(system)?;
        match is_stored(modified, now.modified) {
            true => {
                append::has_time(&now);
                Ok(now)
            }
            false => {
                let source = std::io::Error::other("the file system has not stored the time");
                Err(StorageError { kind: StorageErrorKind::Io, source: Some(source) })
            }
        }
    }

    /// Sets the permission bits, and returns the new metadata. `is_limited` tells whether the storage
    /// has a quota.
    ///
    /// # Errors
    ///
    /// Returns `Denied` for the root, and if a quota could no longer count what is in a directory.
    pub(super) fn set_mode(
        &self,
        mode: u32,
        root: &Root,
        is_limited: bool,
    ) -> StorageResult<Metadata> {
        let is_directory = self.metadata.kind == EntryKind::Directory;
        // Compares identities instead of paths, because a symbolic link can lead to the root.
        if self.metadata.identity == root.identity()
            || is_limited && is_directory && mode & 0o500 != 0o500
        {
            return Err(StorageErrorKind::Denied.into());
        }
        // Clients must not change the set-id and sticky bits of a directory.
        let kept = if is_directory { self.metadata.mode & 0o7000 } else { 0 };
        let mode = Mode::from_raw_mode(mode & 0o777 | kept);
        retry_on_intr(|| match &self.link {
            Some(link) => chmodat(CWD, link.as_str(), mode, AtFlags::empty()),
            None => fchmod(&self.descriptor, mode),
        })
        .map_err(system)?;
        root::metadata_of(&self.descriptor).map_err(system)
    }
}

/// Returns whether a file system stores the time `wanted` as `now`: exactly, or as the next even
/// second, as FAT does.
const fn is_stored(wanted: i64, now: i64) -> bool {
    now == wanted || now % 2 == 0 && now.abs_diff(wanted) == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_may_be_stored_in_steps_of_two_seconds_cm_123() {
        for (wanted, now, want) in [
            (1_000_000_001, 1_000_000_001, true),
            (1_000_000_000, 1_000_000_000, true),
            (1_000_000_001, 1_000_000_000, true),
            (1_000_000_001, 1_000_000_002, true),
            (1_000_000_000, 1_000_000_001, false),
            (1_000_000_000, 999_999_999, false),
            (1_000_000_000, 1_000_000_002, false),
            (1_000_000_000, 1_800_000_000, false),
            (-1, -2, true),
            (-2, -1, false),
            (0, i64::MIN, false),
        ] {
            assert_eq!(is_stored(wanted, now), want, "{wanted} {now}");
        }
    }
}
