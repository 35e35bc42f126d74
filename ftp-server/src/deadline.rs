//! Deadlines.

use std::time::{Duration, Instant};

/// Returns `start` plus `limit`. Caps `limit` at 30 years, so that the sum cannot overflow.
pub(crate) fn after(start: Instant, limit: Duration) -> Instant {
    const YEARS: Duration = Duration::from_secs(30 * 365 * 86_400);
    start + limit.min(YEARS)
}
