//! The local clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// Returns the current time in Unix seconds, to compare with file times and certificates.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
