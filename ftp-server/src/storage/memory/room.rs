//! Contents of files, and the limit of their total size.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::storage::{StorageError, StorageErrorKind};

/// The limit of a tree and its bytes in use.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) limit: u64,
    pub(super) used: AtomicU64,
}

/// Reserved bytes of a [`Room`], released on drop.
#[derive(Debug)]
pub(super) struct Charge {
    pub(super) room: Arc<Room>,
    pub(super) bytes: u64,
}

/// The content of a file.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) bytes: Vec<u8>,
    pub(super) charge: Charge,
}

impl Charge {
    pub(super) fn grow(&mut self, bytes: u64) -> Result<(), StorageError> {
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
    pub(super) fn add(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.charge.grow(bytes.len() as u64)?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    pub(super) fn truncate(&mut self, length: usize) {
        let gone = self.bytes.len().saturating_sub(length);
        self.bytes.truncate(length);
        self.charge.give_back(gone as u64);
    }
}
