//! The entries of a directory, read one buffer at a time.

use std::ffi::CStr;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::vec;

use rustix::fs::{AtFlags, FileType, RawDir};
use rustix::io::{Errno, Result};

use super::append;
use super::failure::system;
use super::name;
use super::root::{self, Root};
use crate::storage::{Entry, EntryKind, Metadata, StorageError, VirtualPath};

/// Size of the buffer for one system call, in bytes; enough for a few thousand entries.
const BUFFER: usize = 64 * 1024;

/// The entries of an open directory. They are never opened, so nothing blocks.
#[derive(Debug)]
pub(super) struct DirectoryEntries {
    root: Arc<Root>,
    path: VirtualPath,
    directory: OwnedFd,
    buffer: Vec<u8>,
    /// The names in the last buffer, each with a NUL at its end. They share one allocation: a
    /// separate one for each name would take almost half of the processor time of `NLST`.
    text: Vec<u8>,
    /// The places of the remaining names in `text`, with the kinds that the directory reports.
    names: vec::IntoIter<(Range<usize>, FileType)>,
    ended: bool,
    /// Whether only the names are asked for. Then an object is examined only if it is a symbolic
    /// link or the directory does not report its kind.
    only_names: bool,
}

impl DirectoryEntries {
    /// Returns the entries of `directory`, whose path is `path`.
    pub(super) fn new(
        root: &Arc<Root>,
        path: &VirtualPath,
        directory: OwnedFd,
        only_names: bool,
    ) -> Self {
        Self {
            root: Arc::clone(root),
            path: path.clone(),
            directory,
            buffer: Vec::with_capacity(BUFFER),
            text: Vec::new(),
            names: Vec::new().into_iter(),
            ended: false,
            only_names,
        }
    }

    /// Reads the next buffer of entries, which may contain no name to list.
    fn fill(&mut self) -> Result<()> {
        self.text.clear();
        let mut names = Vec::new();
        let mut entries = RawDir::new(&self.directory, self.buffer.spare_capacity_mut());
        loop {
            match entries.next() {
                Some(Ok(entry)) => {
                    let name = entry.file_name();
                    let bytes = name.to_bytes();
                    if !matches!(bytes, b"." | b"..") && !name::is_temporary(bytes) {
                        let start = self.text.len();
                        self.text.extend_from_slice(name.to_bytes_with_nul());
                        names.push((start..self.text.len(), entry.file_type()));
                    }
                }
                Some(Err(Errno::INTR)) => continue,
                // The directory itself was removed: it has no entries left.
                None | Some(Err(Errno::NOENT)) => self.ended = true,
                Some(Err(errno)) => return Err(errno),
            }
            if self.ended || entries.is_buffer_empty() {
                self.names = names.into_iter();
                return Ok(());
            }
        }
    }

    /// Returns the place of the next name, with the kind that the directory reports.
    fn next_name(&mut self) -> Option<Result<(Range<usize>, FileType)>> {
        loop {
            if let Some(name) = self.names.next() {
                return Some(Ok(name));
            }
            if self.ended {
                return None;
            }
            if let Err(errno) = self.fill() {
                return Some(Err(errno));
            }
        }
    }

    /// Returns the name at a place in the last buffer.
    fn name_at(&self, place: Range<usize>) -> &CStr {
        let text = self.text.get(place).unwrap_or_default();
        CStr::from_bytes_with_nul(text).unwrap_or_default()
    }

    /// Ends the listing with an error.
    fn end(&mut self, errno: Errno) -> StorageError {
        self.ended = true;
        self.names = Vec::new().into_iter();
        system(errno)
    }

    /// Returns the metadata of the object `name`; `None` if the object no longer exists or cannot
    /// be examined. For example, another user's FUSE mount cannot be examined.
    fn metadata(&self, name: &CStr) -> Result<Option<Metadata>> {
        // Cached attributes of a network file system are good enough here.
        match root::metadata_at(&self.directory, name, AtFlags::STATX_DONT_SYNC) {
            Ok(link) if link.kind == EntryKind::Symlink => {
                // The link may lead through a parent directory, which only a lookup from the root
                // can follow.
                match self.root.stat(self.path.join(name.to_bytes()).relative()) {
                    Err(Errno::NOENT) => Ok(None),
                    target => Ok(Some(target.unwrap_or(link))),
                }
            }
            Err(Errno::NOENT | Errno::NOTCONN | Errno::STALE | Errno::ACCESS | Errno::PERM) => {
                Ok(None)
            }
            metadata => metadata.map(|found| Some(append::settled(found))),
        }
    }
}

impl Iterator for DirectoryEntries {
    type Item = std::result::Result<Entry, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let found = self.next_name()?;
            let listed = found.and_then(|(place, kind)| {
                let name = self.name_at(place);
                // Links are looked up as in a listing with metadata, so that both list the same
                // names. Some file systems report no kinds.
                let needs_look = matches!(kind, FileType::Symlink | FileType::Unknown);
                let metadata = match self.only_names && !needs_look {
                    true => Some(Metadata::file(0)),
                    false => self.metadata(name)?,
                };
                Ok(metadata.map(|metadata| Entry::new(name.to_bytes(), metadata)))
            });
            match listed {
                Ok(Some(entry)) => return Some(Ok(entry)),
                Ok(None) => {}
                Err(errno) => return Some(Err(self.end(errno))),
            }
        }
    }
}
