//! The limited memory for parts.

use std::sync::{Arc, Condvar};
use std::time::Duration;

use crate::lock::{Lock, unpoisoned};

/// The memory for the uploads of one store.
#[derive(Debug)]
pub(super) struct Pool {
    left: Lock<u64>,
    returned: Condvar,
}

/// A reservation of memory. It ends when the value is dropped.
#[derive(Debug)]
pub(super) struct Memory {
    pool: Arc<Pool>,
    bytes: u64,
}

impl Pool {
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
    fn the_memory_pool_is_limited() {
        let pool = Pool::new(10);
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
