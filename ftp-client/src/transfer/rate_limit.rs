//! How fast bytes may move, in all transfers that share a limit together.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many pieces a second is cut into: what moves at once must not be felt as a burst.
const PIECES: u64 = 10;

/// A limit of the bytes a second, shared by all transfers that have a clone of it.
#[derive(Clone, Debug)]
pub struct RateLimit {
    rate: u64,
    /// When all that was moved so far may have moved.
    until: Arc<Mutex<Instant>>,
}

impl RateLimit {
    /// At most `rate` bytes a second, and at least one.
    #[must_use]
    pub fn new(rate: u64) -> Self {
        Self { rate: rate.max(1), until: Arc::new(Mutex::new(Instant::now())) }
    }

    /// How many of `most` bytes may move at once: at least 1.
    pub(super) fn piece(&self, most: usize) -> usize {
        usize::try_from((self.rate / PIECES).max(1)).unwrap_or(most).min(most)
    }

    /// Counts bytes that moved, and says how long to wait before more may.
    pub(super) fn count(&self, bytes: usize) -> Duration {
        let time = bytes as u128 * 1_000_000_000 / u128::from(self.rate);
        let time = Duration::from_nanos(u64::try_from(time).unwrap_or(u64::MAX));
        let now = Instant::now();
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        // Time in which nothing moved is gone.
        *until = (*until).max(now) + time;
        until.duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_kept_by_all_who_share_it() {
        let limit = RateLimit::new(100_000);
        assert_eq!((limit.piece(1 << 18), limit.piece(10)), (10_000, 10));
        assert_eq!((RateLimit::new(3).piece(100), RateLimit::new(0).piece(100)), (1, 1));
        let start = Instant::now();
        std::thread::scope(|threads| {
            for _ in 0..2 {
                threads.spawn(|| (0..5).for_each(|_| std::thread::sleep(limit.count(2_000))));
            }
        });
        // Less would be faster than allowed; more is what a busy machine makes of it.
        assert!(start.elapsed() >= Duration::from_millis(200), "{:?}", start.elapsed());
    }
}
