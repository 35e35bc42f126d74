//! The target of an upload.

use std::sync::Arc;

use rustix::fs::{OFlags, readlinkat};
use rustix::io::{Errno, retry_on_intr};

use super::directory::Directory;
use super::failure::{self, lookup, system};
use super::name;
use super::root::{self, Root};
use crate::storage::{EntryKind, Metadata, StorageError, StorageErrorKind, VirtualPath, WriteMode};

/// Maximum number of symbolic links to follow, as in the kernel.
const LINKS: u32 = 40;

/// The directory and name of a file to be written, after following symbolic links.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) directory: Directory,
    pub(super) name: Vec<u8>,
    /// The existing object with this name.
    pub(super) existing: Option<Metadata>,
}

impl Target {
    /// Finds the target of an upload to `path`. With [`WriteMode::Create`], any existing object is
    /// an error, even a symbolic link to a missing file.
    pub(super) fn find(
        root: &Arc<Root>,
        path: &VirtualPath,
        mode: WriteMode,
    ) -> Result<Self, StorageError> {
        let mut path = path.relative().to_vec();
        for _ in 0..=LINKS {
            let (parent, name) = root::split(&path);
            if matches!(name, b"." | b"..") {
                // Only a symbolic link can lead to `.` or `..`, and the object is then a directory.
                root.open_beneath(&path, OFlags::PATH).map_err(lookup)?;
                return Err(StorageErrorKind::IsDirectory.into());
            }
            if name::is_temporary(name) {
                return Err(StorageErrorKind::NameNotAllowed.into());
            }
            let directory = Directory::open(root, parent).map_err(lookup)?;
            let existing = match directory.metadata(name) {
                Ok(metadata) => Some(metadata),
                Err(Errno::NOENT) => None,
                Err(errno) => return Err(system(errno)),
            };
            match existing.map(|existing| existing.kind) {
                Some(EntryKind::Directory) => return Err(StorageErrorKind::IsDirectory.into()),
                Some(_) if mode == WriteMode::Create => return Err(StorageErrorKind::Exists.into()),
                Some(EntryKind::Symlink) => {}
                _ => return Ok(Self { name: name.to_vec(), directory, existing }),
            }
            if !root.is_kernel_confined() {
                return Err(system(Errno::LOOP));
            }
            let link = retry_on_intr(|| readlinkat(&directory, name, Vec::new()));
            let link = link.map_err(failure::existing)?.into_bytes();
            if link.starts_with(b"/") {
                return Err(system(Errno::XDEV));
            }
            let mut next = parent.to_vec();
            if !next.is_empty() {
                next.push(b'/');
            }
            let length = link.iter().rposition(|&byte| byte != b'/').map_or(0, |last| last + 1);
            next.extend_from_slice(link.get(..length).unwrap_or_default());
            path = next;
        }
        Err(system(Errno::LOOP))
    }
}
