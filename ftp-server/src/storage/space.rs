//! Space: what a user has, what files and directories cost for quotas, and the limited room for
//! contents in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::storage::{StorageErrorKind, StorageResult};

/// The free space of a directory, or the usage and limits of a user in bytes and in the number of
/// files and directories.
///
/// ```
/// use ftp_server::Space;
///
/// // 3 files and directories with 5,000 bytes in total. 4,096 bytes and any number of files are
/// // allowed.
/// let space = Space::used(5_000, 3).max_bytes(4_096);
/// assert_eq!((space.bytes_left(), space.files_left()), (Some(0), None));
/// assert_eq!(Space::free(7).free, Some(7));
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Space {
    /// Free bytes, regardless of the limits; `None`: unknown.
    pub free: Option<u64>,
    /// Bytes in use, including running uploads.
    pub bytes: u64,
    /// Maximum of `bytes`; `None`: unlimited.
    pub max_bytes: Option<u64>,
    /// Number of files and directories.
    pub files: u64,
    /// Maximum of `files`; `None`: unlimited.
    pub max_files: Option<u64>,
}

impl Space {
    /// Returns a number of free bytes, without limits.
    #[must_use]
    pub const fn free(bytes: u64) -> Self {
        Self { free: Some(bytes), ..Self::used(0, 0) }
    }

    /// Returns this usage, without limits.
    #[must_use]
    pub const fn used(bytes: u64, files: u64) -> Self {
        Self { free: None, bytes, max_bytes: None, files, max_files: None }
    }

    /// Sets the maximum of `bytes`.
    #[must_use]
    pub const fn max_bytes(self, bytes: u64) -> Self {
        Self { max_bytes: Some(bytes), ..self }
    }

    /// Sets the maximum of `files`.
    #[must_use]
    pub const fn max_files(self, files: u64) -> Self {
        Self { max_files: Some(files), ..self }
    }

    /// Returns the number of bytes that the limits leave; `None` if bytes are unlimited.
    #[must_use]
    pub fn bytes_left(self) -> Option<u64> {
        self.max_bytes.map(|most| most.saturating_sub(self.bytes))
    }

    /// Returns the number of files and directories that can still be created; `None` if their
    /// number is unlimited.
    #[must_use]
    pub fn files_left(self) -> Option<u64> {
        self.max_files.map(|most| most.saturating_sub(self.files))
    }
}

/// Cost of a directory or an empty file, in bytes: about the space it takes on a disk.
pub(crate) const COST_OF_OBJECT: u64 = 4 * 1024;

/// The cost of files and directories, or a limit on the cost.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Cost {
    pub(crate) bytes: u64,
    /// Number of files and directories.
    pub(crate) files: u64,
}

impl Cost {
    pub(crate) const DIRECTORY: Self = Self { bytes: COST_OF_OBJECT, files: 1 };

    /// The cost of a name for a new file, before it has content.
    pub(crate) const NAME: Self = Self { bytes: 0, files: 1 };

    /// The smallest cost that an upload adds to a file.
    pub(crate) const BYTE: Self = Self::bytes(1);

    pub(crate) const fn bytes(bytes: u64) -> Self {
        Self { bytes, files: 0 }
    }

    pub(crate) const fn of_file(size: u64) -> Self {
        Self { bytes: if size == 0 { COST_OF_OBJECT } else { size }, files: 1 }
    }

    pub(crate) const fn plus(self, other: Self) -> Self {
        let bytes = self.bytes.saturating_add(other.bytes);
        Self { bytes, files: self.files.saturating_add(other.files) }
    }

    pub(crate) const fn minus(self, other: Self) -> Self {
        let bytes = self.bytes.saturating_sub(other.bytes);
        Self { bytes, files: self.files.saturating_sub(other.files) }
    }

    /// Returns whether this limit permits `more` in addition to `used`. Too many files do not
    /// forbid more bytes, and too many bytes do not forbid another name.
    pub(crate) const fn permits(self, more: Self, used: Self) -> bool {
        let total = used.plus(more);
        (more.bytes == 0 || total.bytes <= self.bytes)
            && (more.files == 0 || total.files <= self.files)
    }

    pub(crate) fn at_least(self, other: Self) -> Self {
        Self { bytes: self.bytes.max(other.bytes), files: self.files.max(other.files) }
    }
}

/// A limit in bytes, and the bytes in use.
#[derive(Debug)]
pub(crate) struct Room {
    limit: u64,
    used: AtomicU64,
}

impl Room {
    pub(crate) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicU64::new(0) })
    }

    pub(crate) fn free(&self) -> u64 {
        self.limit.saturating_sub(self.used.load(Ordering::SeqCst))
    }
}

/// Reserved bytes of a [`Room`], released on drop.
#[derive(Debug)]
pub(crate) struct Charge {
    pub(crate) room: Arc<Room>,
    pub(crate) bytes: u64,
}

/// The content of a file, or its first bytes.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) bytes: Vec<u8>,
    pub(crate) charge: Charge,
}

impl Charge {
    pub(crate) fn grow(&mut self, bytes: u64) -> StorageResult<()> {
        let Room { limit, used } = &*self.room;
        let add = |used: u64| used.checked_add(bytes).filter(|used| used <= limit);
        match used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, add) {
            Ok(_) => {
                self.bytes += bytes;
                Ok(())
            }
            Err(_) => Err(StorageErrorKind::NoSpace.into()),
        }
    }

    fn give_back(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.room.used.fetch_sub(bytes, Ordering::SeqCst);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

impl Content {
    pub(crate) const fn empty(room: Arc<Room>) -> Self {
        Self { bytes: Vec::new(), charge: Charge { room, bytes: 0 } }
    }

    pub(crate) fn add(&mut self, bytes: &[u8]) -> StorageResult<()> {
        self.charge.grow(bytes.len() as u64)?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    pub(crate) fn truncate(&mut self, length: usize) {
        let gone = self.bytes.len().saturating_sub(length);
        self.bytes.truncate(length);
        // What is given back must be free.
        if self.bytes.capacity() / 2 > length {
            self.bytes.shrink_to_fit();
        }
        self.charge.give_back(gone as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_given_back_are_free() {
        let room = Room::new(10_000);
        let mut content = Content::empty(Arc::clone(&room));
        content.add(&[0; 8_000]).unwrap();
        for length in [7_999, 2_000, 1, 0] {
            content.truncate(length);
            assert_eq!(room.used.load(Ordering::SeqCst), length as u64);
            assert!(content.bytes.capacity() <= 2 * length + 1);
        }
    }
}
