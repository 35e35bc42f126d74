//! The target of an upload.

use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::fs::{AtFlags, Mode, OFlags, StatxAttributes};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::directory::{self, Directory, creation, lookup, owns_all_files, system};
use super::inherit::Given;
use super::root::{self, LINKS, Root};
use super::{name, turn};
use crate::storage::{
    DirectoryUse, EntryKind, Metadata, StorageError, StorageErrorKind, StorageResult, VirtualPath,
    WriteMode,
};

/// The directory and name of a file to be written, after following symbolic links.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) directory: Directory,
    pub(super) name: Vec<u8>,
    pub(super) existing: Option<Metadata>,
    attributes: StatxAttributes,
}

impl Target {
    /// Finds the target of an upload to `path`. With [`WriteMode::Create`], any existing object is
    /// an error, even a symbolic link to a missing file.
    pub(super) fn find(
        root: &Arc<Root>,
        path: &VirtualPath,
        mode: WriteMode,
    ) -> StorageResult<Self> {
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
            let found = match root::look_at(&directory, name, AtFlags::empty()) {
                Ok(found) => Some(found),
                Err(Errno::NOENT) => None,
                Err(errno) => return Err(creation(&directory, errno)),
            };
            // A running append may be rolled back, so the file is still the one before it.
            let existing = found.map(|(metadata, _)| turn::settled(metadata));
            let attributes = found.map_or(StatxAttributes::empty(), |(_, attributes)| attributes);
            match existing.map(|existing| existing.kind) {
                Some(EntryKind::Directory) => return Err(StorageErrorKind::IsDirectory.into()),
                Some(_) if mode == WriteMode::Create => return Err(StorageErrorKind::Exists.into()),
                Some(EntryKind::Symlink) => {}
                _ => return Ok(Self { name: name.to_vec(), directory, existing, attributes }),
            }
            // The kernel checks the owners only of links that it follows itself.
            let link = root::read_link(directory.as_fd(), name).map_err(directory::existing)?;
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

    /// Returns `Fixed` with the reason if no new file, which is to get what is `given`, can take the
    /// name, so that the client learns it before it sends the file.
    pub(super) fn check_replaceable(&self, given: Given) -> StorageResult<()> {
        given.check()?;
        let (above, attributes) = self.directory.look().map_err(system)?;
        let is_of_other = |it: Metadata| it.user_id() != Some(geteuid().as_raw());
        // The kernel lets neither the old file go nor the new one take its name.
        let is_kept = self.existing.is_some_and(is_of_other) || given.gives_away();
        let reasons = [
            (attributes.contains(StatxAttributes::IMMUTABLE), "the directory is immutable"),
            (attributes.contains(StatxAttributes::APPEND), "the directory is append-only"),
            (self.attributes.contains(StatxAttributes::IMMUTABLE), "the file is immutable"),
            (self.attributes.contains(StatxAttributes::APPEND), "the file is append-only"),
            (self.attributes.contains(StatxAttributes::MOUNT_ROOT), "the file is a mount point"),
            (
                above.mode & Mode::SVTX.as_raw_mode() != 0
                    && is_of_other(above)
                    && is_kept
                    && !owns_all_files(),
                "the file of another user is in a sticky directory",
            ),
        ];
        match reasons.iter().find(|(is_so, _)| *is_so) {
            Some((_, reason)) => Err(StorageErrorKind::Fixed(reason).into()),
            None => Ok(()),
        }
    }

    /// Returns the error of an upload that the system has refused. If it refused only the new name that
    /// a replacement needs, while an append could write to the file, the error names the directory.
    pub(super) fn explained(&self, given: Given, error: StorageError) -> StorageError {
        let may_write =
            |old: Metadata| given.check_writable(&self.directory, &self.name, &old).is_ok();
        let is_directory = error.kind == StorageErrorKind::Denied
            && directory::use_of(&self.directory) != DirectoryUse::Full
            && self.existing.is_some_and(may_write);
        let reason = "the server may not write to the directory, so it can only append to the file";
        match is_directory {
            true => StorageError { kind: StorageErrorKind::Fixed(reason), ..error },
            false => error,
        }
    }
}
