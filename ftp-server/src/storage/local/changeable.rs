//! Objects whose attributes `MFMT` and `SITE CHMOD` change.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::OFlags;

use super::failure::{lookup, system};
use super::name;
use super::root::{self, Root};
use crate::storage::{EntryKind, Metadata, StorageError, StorageErrorKind, VirtualPath};

/// A file or directory whose attributes will be changed. It is opened with `O_PATH`, which needs no
/// right to read it. Older kernels cannot change attributes through such a descriptor, so callers
/// use the descriptor's link in `/proc`. The link leads to the same object even if another object
/// has the name by now.
pub(super) struct Changeable {
    pub(super) link: String,
    /// The metadata of the object when it was found.
    pub(super) metadata: Metadata,
    descriptor: OwnedFd,
}

impl Changeable {
    pub(super) fn find(root: &Root, path: &VirtualPath) -> Result<Self, StorageError> {
        name::check_existing(path)?;
        let descriptor = root.open_beneath(path.relative(), OFlags::PATH).map_err(lookup)?;
        let metadata = root::metadata_of(&descriptor).map_err(system)?;
        if !matches!(metadata.kind, EntryKind::File | EntryKind::Directory) {
            return Err(StorageErrorKind::NotFile.into());
        }
        let link = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
        Ok(Self { link, metadata, descriptor })
    }

    /// Returns the current metadata of the object, even if its path leads to another object by now.
    pub(super) fn metadata_now(&self) -> Result<Metadata, StorageError> {
        root::metadata_of(&self.descriptor).map_err(system)
    }
}
