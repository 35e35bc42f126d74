//! Deadlines, and the current time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Returns `start` plus `limit`. Caps `limit` at 30 years, so that the sum cannot overflow.
pub(crate) fn after(start: Instant, limit: Duration) -> Instant {
    const YEARS: Duration = Duration::from_secs(30 * 365 * 86_400);
    start + limit.min(YEARS)
}

pub(crate) fn unix_now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}
