//! Waits for other threads and programs. A program that another test has just started also holds
//! resources for a moment: it inherits all open descriptors until it executes its program.

use std::thread;
use std::time::{Duration, Instant};

/// The longest wait: many times what a busy machine needs.
const LIMIT: Duration = Duration::from_secs(60);

/// Repeats an attempt until it has a result, and returns that.
#[track_caller]
pub fn at_last<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + LIMIT;
    loop {
        if let Some(result) = attempt() {
            return result;
        }
        assert!(Instant::now() < end, "{what}: not within {LIMIT:?}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until a condition is true.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    at_last(what, || condition().then_some(()));
}
