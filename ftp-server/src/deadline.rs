//! Time: deadlines, the current time, the steps of long work, between which a session checks on its
//! client, and the rate limits of transfers, per session and per user.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::limits;
use crate::lock::Lock;

/// Returns `start` plus `limit`. Caps `limit` at 30 years, so that the sum cannot overflow.
pub(crate) fn after(start: Instant, limit: Duration) -> Instant {
    const YEARS: Duration = Duration::from_secs(30 * 365 * 86_400);
    start + limit.min(YEARS)
}

pub(crate) fn unix_now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

/// Duration below which a step counts as quick, so that the next step is larger. With shorter
/// steps, the checks between them would cost too much.
const QUICK: Duration = Duration::from_millis(100);

/// The size of the next step in bytes: doubled after a quick step, halved after a slow one.
#[derive(Debug)]
pub(crate) struct Pace {
    least: u64,
    most: u64,
    now: u64,
}

impl Pace {
    /// Returns a pace that begins with `least` bytes per step, and stays between `least` and
    /// `most`.
    pub(crate) const fn new(least: u64, most: u64) -> Self {
        Self { least, most, now: least }
    }

    pub(crate) const fn size(&self) -> u64 {
        self.now
    }

    /// Runs `work` with the size of the step, measures its time, and adjusts the next size. `work`
    /// must handle at most that many bytes.
    pub(crate) fn step<T>(&mut self, work: impl FnOnce(u64) -> T) -> T {
        let start = Instant::now();
        let done = work(self.now);
        self.learn(start.elapsed());
        done
    }

    fn learn(&mut self, took: Duration) {
        self.now = match took < QUICK {
            true => self.now.saturating_mul(2).min(self.most),
            false => (self.now / 2).max(self.least),
        };
    }
}

/// Repeats the short step `piece` until `piece` returns `true` or fails, or [`limits::TICK`] has
/// passed. Returns whether `piece` returned `true`.
pub(crate) fn for_a_tick<E>(mut piece: impl FnMut() -> Result<bool, E>) -> Result<bool, E> {
    let start = Instant::now();
    while !piece()? {
        if start.elapsed() >= limits::TICK {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Pauses for [`limits::ASK_AGAIN`] before a session retries a call to a storage that was not
/// ready.
pub(crate) fn before_asking_again() {
    thread::sleep(limits::ASK_AGAIN);
}

/// Divisor of the bytes per second. The result is the maximum number of bytes to move at a time, so
/// that other sessions get turns in between.
const SHARE: u64 = 16;

/// Maximum unused time that a transfer may make up for after a pause or a late wakeup.
const SLACK: Duration = Duration::from_millis(100);

/// A rate limit that one or more sessions share. A session reserves bytes before they move.
/// Reservations follow one another, so every session gets its turn.
#[derive(Debug)]
pub(crate) struct Rate {
    /// Bytes per second, above 0.
    per_second: u64,
    /// The time at which all reserved bytes will have moved.
    free_at: Lock<Instant>,
}

impl Rate {
    /// Returns a rate limit, or `None` for 0 (unlimited).
    pub(crate) fn new(bytes_per_second: u64) -> Option<Arc<Self>> {
        let rate = Self { per_second: bytes_per_second, free_at: Lock::new(Instant::now()) };
        (bytes_per_second > 0).then(|| Arc::new(rate))
    }

    pub(crate) const fn per_second(&self) -> u64 {
        self.per_second
    }

    /// Returns the maximum number of bytes to reserve at a time.
    fn share(&self) -> u64 {
        (self.per_second / SHARE).max(1)
    }

    /// Reserves bytes, and returns the time at which they may move.
    fn reserve(&self, bytes: u64, now: Instant) -> Instant {
        let mut free_at = self.free_at.lock();
        let earliest = now.checked_sub(SLACK).unwrap_or(now);
        let at = earliest.max(*free_at);
        *free_at = at + self.time_of(bytes);
        at
    }

    /// Cancels the reservation of bytes that did not move.
    fn give_back(&self, bytes: u64) {
        let mut free_at = self.free_at.lock();
        *free_at = free_at.checked_sub(self.time_of(bytes)).unwrap_or(*free_at);
    }

    fn time_of(&self, bytes: u64) -> Duration {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.per_second);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// The rate limits of one direction of a session (default: none).
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    rates: Vec<Arc<Rate>>,
}

impl Throttle {
    pub(crate) fn new(rates: impl IntoIterator<Item = Arc<Rate>>) -> Self {
        Self { rates: rates.into_iter().collect() }
    }

    pub(crate) const fn none() -> Self {
        Self { rates: Vec::new() }
    }

    pub(crate) fn is_off(&self) -> bool {
        self.rates.is_empty()
    }

    /// Reserves at most `most` bytes. Returns the number of reserved bytes, and the time at which
    /// they may move. The caller must [give back](Self::give_back) the bytes that do not move.
    pub(crate) fn reserve(&self, most: usize) -> (usize, Instant) {
        let share = self.rates.iter().map(|rate| rate.share()).min().unwrap_or(u64::MAX);
        let bytes = usize::try_from(share).unwrap_or(usize::MAX).min(most);
        let now = Instant::now();
        let times = self.rates.iter().map(|rate| rate.reserve(bytes as u64, now));
        (bytes, times.max().unwrap_or(now))
    }

    /// Cancels the reservation of bytes that did not move.
    pub(crate) fn give_back(&self, bytes: usize) {
        if bytes > 0 {
            self.rates.iter().for_each(|rate| rate.give_back(bytes as u64));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_grow_while_quick_and_shrink_when_slow() {
        let mut pace = Pace::new(10, 70);
        for (took, want) in [(0, 10), (99, 20), (0, 40), (5, 70), (100, 70), (900, 35), (0, 17)] {
            assert_eq!(pace.now, want);
            pace.learn(Duration::from_millis(took));
        }
        for _ in 0..9 {
            pace.learn(QUICK);
        }
        assert_eq!(pace.step(|bytes| bytes), 10);
    }

    #[test]
    fn work_runs_until_it_is_done_fails_or_a_tick_has_passed() {
        let mut left = 3;
        let mut piece = || {
            left -= 1;
            if left < 0 { Err(left) } else { Ok(left == 0) }
        };
        assert_eq!(for_a_tick(&mut piece), Ok(true));
        assert_eq!(for_a_tick(&mut piece), Err(-1));
        let start = Instant::now();
        assert_eq!(for_a_tick(|| Ok::<_, ()>(false)), Ok(false));
        assert!(start.elapsed() >= limits::TICK);
    }

    #[test]
    fn rate_reservations_follow_each_other_in_time() {
        let rate = Rate::new(1_000).unwrap();
        let start = *rate.free_at.lock();
        let later = |millis| start + Duration::from_millis(millis);
        assert_eq!(rate.share(), 62);
        assert_eq!(rate.reserve(500, start), start);
        assert_eq!(rate.reserve(250, start), later(500));
        assert_eq!(rate.reserve(250, start), later(750));
        rate.give_back(100);
        assert_eq!(rate.reserve(1, later(10)), later(900));
        // Unused time is lost, except for a short moment.
        let long = later(60_000);
        assert_eq!(rate.reserve(100, long), long - SLACK);
        assert_eq!(rate.reserve(1, long), long);
        assert_eq!(rate.reserve(1, long), later(60_001));
    }

    #[test]
    fn rates_may_be_tiny_or_huge() {
        assert!(Rate::new(0).is_none());
        let tiny = Rate::new(1).unwrap();
        assert_eq!((tiny.share(), tiny.time_of(1)), (1, Duration::from_secs(1)));
        let huge = Rate::new(u64::MAX).unwrap();
        assert_eq!(huge.time_of(huge.share()), Duration::from_nanos(62_499_999));
        assert_eq!(tiny.time_of(u64::MAX), Duration::from_nanos(u64::MAX));
    }

    #[test]
    fn the_slowest_rate_decides() {
        let throttle = Throttle::default();
        assert!(throttle.is_off());
        assert_eq!(throttle.reserve(usize::MAX).0, usize::MAX);
        let slow = Rate::new(160).unwrap();
        let throttle = Throttle::new([slow, Rate::new(16_000).unwrap()]);
        assert_eq!(throttle.reserve(3).0, 3);
        throttle.give_back(3);
        let at: Vec<_> = (0..4).map(|_| throttle.reserve(1_000)).collect();
        assert!(at.iter().all(|(bytes, _)| *bytes == 10));
        assert_eq!(at[3].1 - at[2].1, Duration::from_nanos(62_500_000));
    }
}
