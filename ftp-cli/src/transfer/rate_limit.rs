//! `--limit-rate`: how fast bytes may move, in all transfers of a command together.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ftp_client::Canceller;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How many pieces a second is cut into: what moves at once must not be felt as a burst.
const PIECES: u64 = 10;

/// A limit for the bytes a second, shared by whoever has a clone of it.
#[derive(Clone, Default)]
pub(crate) struct Pace(Option<(u64, Arc<Mutex<Instant>>)>);

impl Pace {
    /// At most `rate` bytes a second, which is not 0; without one there is no limit.
    pub(crate) fn new(rate: Option<u64>) -> Self {
        Self(rate.map(|rate| (rate, Arc::new(Mutex::new(Instant::now())))))
    }

    /// Whether there is no limit.
    pub(crate) const fn is_free(&self) -> bool {
        self.0.is_none()
    }

    /// How many of `most` bytes may be moved before the next [`keep`](Self::keep): at least 1.
    pub(crate) fn piece(&self, most: usize) -> usize {
        match &self.0 {
            Some((rate, _)) => usize::try_from((rate / PIECES).max(1)).unwrap_or(most).min(most),
            None => most,
        }
    }

    /// Waits until `bytes` more may have moved, or until `canceller` ends it.
    pub(crate) fn keep(&self, bytes: usize, canceller: Option<&Canceller>) {
        let Some((rate, until)) = &self.0 else { return };
        let time = bytes as u128 * 1_000_000_000 / u128::from((*rate).max(1));
        let time = Duration::from_nanos(u64::try_from(time).unwrap_or(u64::MAX));
        let end = {
            let mut until = until.lock().unwrap_or_else(PoisonError::into_inner);
            // Time that nobody used is gone.
            *until = (*until).max(Instant::now()) + time;
            *until
        };
        pause_until(end, canceller);
    }
}

/// Waits until `end`, or until it is cancelled.
pub(crate) fn pause_until(end: Instant, canceller: Option<&Canceller>) {
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() || canceller.is_some_and(Canceller::is_cancelled) {
            return;
        }
        let limit = Timespec::try_from(left).ok();
        let mut watched: Vec<_> =
            canceller.iter().map(|canceller| PollFd::new(*canceller, PollFlags::IN)).collect();
        // An interrupted wait goes on.
        let _ = poll(&mut watched, limit.as_ref());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_kept_by_all_who_share_it() {
        let pace = Pace::new(Some(100_000));
        assert_eq!((pace.piece(1 << 18), pace.piece(10)), (10_000, 10));
        assert_eq!((Pace::new(Some(3)).piece(100), Pace::default().piece(100)), (1, 100));
        let start = Instant::now();
        std::thread::scope(|threads| {
            for _ in 0..2 {
                threads.spawn(|| (0..5).for_each(|_| pace.keep(2_000, None)));
            }
        });
        // Less would be faster than allowed; more is what a busy machine makes of it.
        assert!(start.elapsed() >= Duration::from_millis(200), "{:?}", start.elapsed());
    }

    #[test]
    fn a_cancel_ends_a_pause() {
        let canceller = Canceller::new().unwrap();
        canceller.cancel();
        pause_until(Instant::now() + Duration::from_secs(3_600), Some(&canceller));
        Pace::new(Some(1)).keep(1 << 20, Some(&canceller));
    }
}
