//! The limited memory for parts, and the bytes of a part before it is stored.

use std::sync::{Arc, Condvar};
use std::time::Duration;

use crate::lock::{Lock, unpoisoned};
use crate::storage::{StorageErrorKind as Kind, StorageResult};

/// Maximum number of bytes that an upload buffers without reserving common memory. So small files
/// never wait for memory.
pub(super) const FREE: usize = 1024 * 1024;

/// Maximum number of bytes that a session writes at once.
pub(super) const WRITE: usize = 512 * 1024;

/// Bytes of one part.
#[derive(Debug)]
pub(super) struct PartBuffer {
    pool: Arc<BufferPool>,
    bytes: Vec<u8>,
    /// The reserved common memory, enough for a whole part.
    memory: Option<Memory>,
}

impl PartBuffer {
    pub(super) const fn new(pool: Arc<BufferPool>) -> Self {
        Self { pool, bytes: Vec::new(), memory: None }
    }

    /// Returns an empty buffer of the same pool.
    pub(super) fn another(&self) -> Self {
        Self::new(Arc::clone(&self.pool))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn is_full(&self, part: usize) -> bool {
        self.bytes.len() >= part
    }

    /// Returns whether the next write of a session can proceed without waiting for memory.
    pub(super) fn is_roomy(&self) -> bool {
        self.memory.is_some() || self.bytes.len() + WRITE <= FREE
    }

    /// Waits up to `limit` for the memory of a part of `part` bytes, and returns whether it was
    /// reserved.
    ///
    /// # Errors
    ///
    /// Returns `Busy` if the system has no memory left.
    pub(super) fn reserve(&mut self, part: usize, limit: Duration) -> StorageResult<bool> {
        if self.memory.is_none() {
            self.memory = self.pool.take(part as u64, limit);
            if self.memory.is_some() {
                let more = part.saturating_sub(self.bytes.len());
                self.bytes.try_reserve_exact(more).map_err(|_| Kind::Busy)?;
            }
        }
        Ok(self.memory.is_some())
    }

    /// Adds bytes until the buffer holds `part` bytes, or at most [`FREE`] bytes without reserved
    /// memory. Returns the number of bytes added.
    pub(super) fn add(&mut self, bytes: &[u8], part: usize) -> usize {
        let most = if self.memory.is_some() { part } else { part.min(FREE) };
        let room = most.saturating_sub(self.bytes.len()).min(bytes.len());
        self.bytes.extend_from_slice(bytes.get(..room).unwrap_or_default());
        room
    }

    /// Returns the content, and leaves the buffer empty.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// Replaces the content. The new content must not exceed one part.
    pub(super) fn set(&mut self, bytes: Vec<u8>) {
        self.bytes = bytes;
    }
}

/// The memory for the uploads of one store.
#[derive(Debug)]
pub(super) struct BufferPool {
    left: Lock<u64>,
    returned: Condvar,
}

/// A reservation of memory. It ends when the value is dropped.
#[derive(Debug)]
pub(super) struct Memory {
    pool: Arc<BufferPool>,
    bytes: u64,
}

impl BufferPool {
    pub(super) fn new(bytes: u64) -> Arc<Self> {
        Arc::new(Self { left: Lock::new(bytes), returned: Condvar::new() })
    }

    /// Waits at most `limit` for free memory, and reserves it. Returns `None` if too little becomes
    /// free in that time.
    pub(super) fn take(self: &Arc<Self>, bytes: u64, limit: Duration) -> Option<Memory> {
        let left = self.left.lock();
        let waited = self.returned.wait_timeout_while(left, limit, |left| *left < bytes);
        let (mut left, _) = unpoisoned(waited);
        *left = left.checked_sub(bytes)?;
        Some(Memory { pool: Arc::clone(self), bytes })
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        *self.pool.left.lock() += self.bytes;
        self.pool.returned.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_content_needs_no_reservation_from_the_memory_pool() {
        const PART: usize = 4 * FREE;
        let pool = BufferPool::new(PART as u64);
        let mut first = PartBuffer::new(Arc::clone(&pool));
        assert!(first.is_roomy());
        assert_eq!(first.add(&vec![1; PART], PART), FREE);
        assert_eq!(first.add(&[1], PART), 0);
        assert!(!first.is_roomy() && !first.is_full(PART));
        assert!(first.reserve(PART, Duration::ZERO).unwrap());
        assert_eq!(first.add(&vec![1; PART], PART), PART - FREE);
        assert!(first.is_full(PART) && first.is_roomy());
        let mut second = first.another();
        assert!(!second.reserve(PART, Duration::ZERO).unwrap());
        drop(first);
        assert!(second.reserve(PART, Duration::ZERO).unwrap());
    }

    #[test]
    fn the_memory_pool_is_limited() {
        let pool = BufferPool::new(10);
        let none = Duration::ZERO;
        let first = pool.take(7, none).unwrap();
        assert!(pool.take(4, none).is_none());
        let second = pool.take(3, none).unwrap();
        drop(first);
        assert_eq!(pool.take(7, none).map(|memory| memory.bytes), Some(7));
        drop(second);
        let waiting = Arc::clone(&pool);
        let all = pool.take(10, none).unwrap();
        let waiter =
            std::thread::spawn(move || waiting.take(10, Duration::from_secs(60)).is_some());
        drop(all);
        assert!(waiter.join().unwrap());
    }
}
