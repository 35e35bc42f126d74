//! What `MFMT` and `SITE CHMOD` change.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::OFlags;

use super::failure::{lookup, system};
use super::name;
use super::root::{self, Root};
use crate::storage::{EntryKind, Metadata, StorageError, StorageErrorKind, VirtualPath};

/// A file or directory whose attributes are to be changed. It is looked up and not opened, which
/// needs no right to read it; no call changes it by such a descriptor, but the link that `/proc`
/// has for one leads to what it holds, whatever has its name by then.
pub(super) struct Changeable {
    pub(super) link: String,
    /// What it was when it was found.
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

    /// What it is now, whatever its path leads to.
    pub(super) fn metadata_now(&self) -> Result<Metadata, StorageError> {
        root::metadata_of(&self.descriptor).map_err(system)
    }
}
