//! Waits for other threads and programs. A program that another test has just started also holds
//! resources for a moment: it inherits all open descriptors until it executes its program.

use std::net::{SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;
use std::time::{Duration, Instant};

/// The longest wait: many times what a busy machine needs.
const LIMIT: Duration = Duration::from_secs(60);

/// Repeats an attempt until it has a result, and returns the result.
#[track_caller]
pub fn at_last<T>(what: &str, attempt: impl FnMut() -> Option<T>) -> T {
    at_last_or(|| what.to_owned(), attempt)
}

/// Does the same as [`at_last`]. `what` is asked only at the end of the longest wait, for the state then.
#[track_caller]
pub fn at_last_or<T>(what: impl Fn() -> String, mut attempt: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + LIMIT;
    loop {
        if let Some(result) = attempt() {
            return result;
        }
        assert!(Instant::now() < end, "{}: not within {LIMIT:?}", what());
        thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until a condition is true.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    at_last(what, || condition().then_some(()));
}

/// Waits until no program listens at an address. The listener may be closed already, but a program
/// that another test starts may hold a copy of its socket.
#[track_caller]
pub fn wait_until_closed(address: SocketAddr) {
    wait_until("the port is closed", || TcpStream::connect(address).is_err());
}

/// Calls `test` with a short limit for its waits. A thread may be delayed for longer than any
/// limit. So if `test` fails after more time than the limit, it is called again with ten times the
/// limit, at most twice.
///
/// Use it if a test has to wait for a timeout that also applies to earlier steps, or if the limit
/// is a constant of the toolkit.
#[track_caller]
pub fn patiently<T>(limit: Duration, test: impl Fn(Duration) -> T) -> T {
    let result = try_patiently(limit, |limit| catch_unwind(AssertUnwindSafe(|| test(limit))));
    result.unwrap_or_else(|panic| resume_unwind(panic))
}

/// Does the same as [`patiently`] for a test that returns an error.
///
/// # Errors
///
/// Returns the error of the last call.
pub fn try_patiently<T, E>(
    limit: Duration,
    test: impl Fn(Duration) -> Result<T, E>,
) -> Result<T, E> {
    for limit in [limit, 10 * limit] {
        let begin = Instant::now();
        let result = test(limit);
        if result.is_ok() || begin.elapsed() < limit {
            return result;
        }
    }
    test(100 * limit)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn a_test_that_fails_late_is_retried_with_longer_limits() {
        let limits = RefCell::new(Vec::new());
        let test = |limit: Duration| {
            limits.borrow_mut().push(limit.as_millis());
            thread::sleep(limit);
            assert!(limit.as_millis() == 100, "on purpose");
        };
        patiently(Duration::from_millis(1), test);
        assert_eq!(limits.take(), [1, 10, 100]);
        let failed = catch_unwind(|| patiently(Duration::from_secs(60), |_| panic!("at once")));
        assert_eq!(failed.unwrap_err().downcast_ref(), Some(&"at once"));
    }
}
