//! How much is done at a time where somebody may have to be listened to in between.

use std::time::{Duration, Instant};

use crate::limits;

/// A step that takes less is too short to be worth the looking around behind it.
const QUICK: Duration = Duration::from_millis(100);

/// A number of bytes for each step of a long work: twice as many while steps are quick, half as
/// many when one was not.
#[derive(Debug)]
pub(crate) struct Pace {
    least: u64,
    most: u64,
    now: u64,
}

impl Pace {
    /// Begins with `least` bytes a step, and takes no more than `most`.
    pub(crate) const fn new(least: u64, most: u64) -> Self {
        Self { least, most, now: least }
    }

    /// How many bytes the next step may take.
    pub(crate) const fn size(&self) -> u64 {
        self.now
    }

    /// Lets `work` be done on at most as many bytes as it is given.
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

/// Repeats `piece`, which takes a moment, until it says by true that all is done, or until
/// [`limits::TICK`] has passed. True when all is done.
pub(crate) fn for_a_tick<E>(mut piece: impl FnMut() -> Result<bool, E>) -> Result<bool, E> {
    let start = Instant::now();
    while !piece()? {
        if start.elapsed() >= limits::TICK {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_grow_while_they_are_quick() {
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
    fn pieces_are_done_until_there_are_no_more_or_a_tick_has_passed() {
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
