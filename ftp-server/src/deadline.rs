//! Points in time by which something has to be done.

use std::time::{Duration, Instant};

/// When `limit` has passed since `start`. One that no clock can show is as good as none, which is
/// what it is asked for.
pub(crate) fn after(start: Instant, limit: Duration) -> Instant {
    const YEARS: Duration = Duration::from_secs(30 * 365 * 86_400);
    start + limit.min(YEARS)
}
