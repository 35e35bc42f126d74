//! The entries of a directory, read one buffer at a time.

use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{AtFlags, RawDir};
use rustix::io::{Errno, Result};

use super::failure::system;
use super::name;
use super::root::{self, Root};
use crate::storage::{Entry, EntryKind, Metadata, StorageError, VirtualPath};

/// Bytes of entries per call: some hundred entries.
const BUFFER: usize = 32 * 1024;

/// Reads an open directory. Its entries are never opened, so nothing blocks.
#[derive(Debug)]
pub(super) struct DirectoryEntries {
    root: Arc<Root>,
    path: VirtualPath,
    directory: OwnedFd,
    buffer: Vec<u8>,
    /// The names of the last buffer, each followed by a NUL.
    names: Vec<u8>,
    /// Index in `names` of the next name.
    next: usize,
    ended: bool,
}

impl DirectoryEntries {
    /// Returns the entries of `directory`, whose path is `path`.
    pub(super) fn new(root: &Arc<Root>, path: &VirtualPath, directory: OwnedFd) -> Self {
        Self {
            root: Arc::clone(root),
            path: path.clone(),
            directory,
            buffer: Vec::with_capacity(BUFFER),
            names: Vec::new(),
            next: 0,
            ended: false,
        }
    }

    /// Reads the next buffer, possibly without any entry to show.
    fn fill(&mut self) -> Result<()> {
        self.names.clear();
        self.next = 0;
        let mut entries = RawDir::new(&self.directory, self.buffer.spare_capacity_mut());
        loop {
            match entries.next() {
                Some(Ok(entry)) => {
                    let name = entry.file_name().to_bytes_with_nul();
                    if !matches!(name, b".\0" | b"..\0") && !name::is_temporary(name) {
                        self.names.extend_from_slice(name);
                    }
                }
                Some(Err(Errno::INTR)) => continue,
                // The directory itself was removed: it has no entries left.
                None | Some(Err(Errno::NOENT)) => {
                    self.ended = true;
                    return Ok(());
                }
                Some(Err(errno)) => return Err(errno),
            }
            if entries.is_buffer_empty() {
                return Ok(());
            }
        }
    }

    /// Ends the listing with an error.
    fn end(&mut self, errno: Errno) -> StorageError {
        self.ended = true;
        self.names.clear();
        system(errno)
    }

    /// Returns the metadata of a name; `None` if it no longer exists, or is a mount that only
    /// another user may look at (FUSE).
    fn metadata(&self, name: &CStr) -> Result<Option<Metadata>> {
        // Cached attributes of a network file system are good enough here.
        match root::metadata_at(&self.directory, name, AtFlags::STATX_DONT_SYNC) {
            Ok(link) if link.kind == EntryKind::Symlink => {
                // The link may lead up and down again, which only a lookup from the root can
                // follow.
                match self.root.stat(self.path.join(name.to_bytes()).relative()) {
                    Err(Errno::NOENT) => Ok(None),
                    target => Ok(Some(target.unwrap_or(link))),
                }
            }
            Err(Errno::NOENT | Errno::NOTCONN | Errno::STALE | Errno::ACCESS | Errno::PERM) => {
                Ok(None)
            }
            metadata => metadata.map(|found| Some(self.root.usage().settled(found))),
        }
    }
}

impl Iterator for DirectoryEntries {
    type Item = std::result::Result<Entry, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let rest = self.names.get(self.next..).unwrap_or_default();
            let Ok(name) = CStr::from_bytes_until_nul(rest) else {
                if self.ended {
                    return None;
                }
                if let Err(errno) = self.fill() {
                    return Some(Err(self.end(errno)));
                }
                continue;
            };
            self.next += name.count_bytes() + 1;
            let name = name.to_owned();
            match self.metadata(&name) {
                Ok(Some(metadata)) => return Some(Ok(Entry { name: name.into(), metadata })),
                Ok(None) => {}
                Err(errno) => return Some(Err(self.end(errno))),
            }
        }
    }
}
