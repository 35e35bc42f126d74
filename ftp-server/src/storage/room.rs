//! Contents in memory, and the limit of their total size.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::storage::{StorageErrorKind, StorageResult};

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
