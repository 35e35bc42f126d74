//! Steps of long work, between which a session checks on its client.

use std::thread;
use std::time::{Duration, Instant};

use crate::limits;

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

    /// Returns the size of the next step in bytes.
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
}
