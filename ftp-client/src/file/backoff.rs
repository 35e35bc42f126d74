//! Pauses between attempts.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

/// Pauses before further attempts. Each pause is twice as long as the previous one, up to a maximum
/// (default: 1 s, 2 s, 4 s and so on, up to 60 s).
///
/// [`Retry`](crate::Retry) shortens these pauses at random, as [`scattered`](Self::scattered) does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Backoff {
    /// The pause before the second attempt (default: 1 s).
    pub first: Duration,
    /// The longest pause (default: 60 s).
    pub longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_secs(1), longest: Duration::from_secs(60) }
    }
}

impl Backoff {
    /// Returns the pause after `attempts` attempts.
    #[must_use]
    pub fn pause(self, attempts: u32) -> Duration {
        let doublings = 2_u32.saturating_pow(attempts.saturating_sub(1));
        self.first.saturating_mul(doublings).min(self.longest)
    }

    /// Returns the pause after `attempts` attempts, shortened at random by up to half of its
    /// length.
    ///
    /// Clients that lost their connections to the same server then do not all reconnect at once.
    #[must_use]
    pub fn scattered(self, attempts: u32) -> Duration {
        let pause = self.pause(attempts);
        // Hash keys are random, and that is enough here: an attacker gains nothing from guessing
        // them.
        let [low, high, ..] = RandomState::new().build_hasher().finish().to_le_bytes();
        let half = pause / 2;
        half + half / 65_536 * u32::from(u16::from_le_bytes([low, high]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_delays_double_with_jitter() {
        let second = Duration::from_secs(1);
        let backoff = Backoff { first: second, longest: Duration::MAX };
        assert_eq!(backoff.pause(1), second);
        assert_eq!(backoff.pause(6), 32 * second);
        assert_eq!(backoff.pause(41), Duration::from_secs(u64::from(u32::MAX)));
        assert_eq!(Backoff::default().pause(41), 60 * second);
        let endless = Backoff { first: Duration::MAX, longest: Duration::MAX };
        assert_eq!(endless.pause(3), Duration::MAX);
        let all: Vec<_> = (0..100).map(|_| backoff.scattered(1)).collect();
        assert!(all.iter().all(|pause| (second / 2..=second).contains(pause)));
        assert!(all.iter().any(|pause| pause != &all[0]));
        assert!(endless.scattered(1) >= Duration::MAX / 2);
        assert_eq!(Backoff { first: Duration::ZERO, longest: second }.scattered(1), Duration::ZERO);
    }
}
