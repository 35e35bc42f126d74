//! A limit of bytes per second for transfers together.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::lock;

/// The number of pieces per second, high enough that no piece is noticeable as a burst.
const PIECES: u64 = 10;

/// A limit in bytes per second, shared by all transfers that have a clone of it (see
/// [`FileOptions::rate_limit`](crate::FileOptions::rate_limit)).
///
/// A [`Canceller`](crate::Canceller) of the client also ends the pauses for the limit.
#[derive(Clone, Debug)]
pub struct RateLimit {
    rate: u64,
    /// The earliest time at which the next byte may move.
    until: Arc<Mutex<Instant>>,
}

impl RateLimit {
    /// Returns a limit of `rate` bytes per second; 0 counts as 1.
    #[must_use]
    pub fn new(rate: u64) -> Self {
        Self { rate: rate.max(1), until: Arc::new(Mutex::new(Instant::now())) }
    }

    /// Returns how many bytes may move at once: at least 1, at most `most`.
    pub(super) fn piece(&self, most: usize) -> usize {
        usize::try_from((self.rate / PIECES).max(1)).unwrap_or(most).min(most)
    }

    /// Counts moved bytes, and returns how long to wait before the next ones.
    pub(super) fn count(&self, bytes: usize) -> Duration {
        let time = bytes as u128 * 1_000_000_000 / u128::from(self.rate);
        let time = Duration::from_nanos(u64::try_from(time).unwrap_or(u64::MAX));
        let now = Instant::now();
        let mut until = lock(&self.until);
        // Idle time is not credited.
        *until = (*until).max(now) + time;
        until.duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_shared_rate_limit_is_not_exceeded() {
        let limit = RateLimit::new(100_000);
        assert_eq!((limit.piece(1 << 18), limit.piece(10)), (10_000, 10));
        assert_eq!((RateLimit::new(3).piece(100), RateLimit::new(0).piece(100)), (1, 1));
        let start = Instant::now();
        thread::scope(|threads| {
            for _ in 0..2 {
                threads.spawn(|| (0..5).for_each(|_| thread::sleep(limit.count(2_000))));
            }
        });
        // A shorter time would exceed the limit; a longer one can happen on a busy machine.
        assert!(start.elapsed() >= Duration::from_millis(200), "{:?}", start.elapsed());
    }
}
