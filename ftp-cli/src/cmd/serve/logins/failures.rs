//! Limits the messages about a program that fails, so that clients cannot fill the log.

use std::time::{Duration, Instant};

/// Largest number of messages in a period.
const MESSAGES: u64 = 20;

/// Length of a period.
const PERIOD: Duration = Duration::from_secs(10);

/// Counter of logins for which the program gave no valid answer.
#[derive(Debug, Default)]
pub(super) struct Failures {
    /// Start of the current period.
    start: Option<Instant>,
    said: u64,
    unsaid: u64,
}

impl Failures {
    /// Counts a failure. Returns the number of failures since the last message, or `None` if there
    /// must be no message for this failure either.
    pub(super) fn due(&mut self, now: Instant) -> Option<u64> {
        if self.start.is_none_or(|start| now.saturating_duration_since(start) >= PERIOD) {
            self.start = Some(now);
            self.said = 0;
        }
        if self.said == MESSAGES {
            self.unsaid += 1;
            return None;
        }
        self.said += 1;
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_failures_is_rate_limited_and_counted() {
        let mut failures = Failures::default();
        let start = Instant::now();
        let said = (0..1_000).filter_map(|_| failures.due(start)).collect::<Vec<_>>();
        assert_eq!(said, [0; 20]);
        assert_eq!(failures.due(start + PERIOD / 2), None);
        assert_eq!(failures.due(start + PERIOD), Some(981));
        assert_eq!(failures.due(start + PERIOD), Some(0));
    }
}
