//! The time here.

use std::time::{SystemTime, UNIX_EPOCH};

/// The time here, in seconds of Unix: what times of files and certificates are compared with.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
