//! Requests in separate threads, so that the session can serve its client or send another request
//! meanwhile.

use std::cell::Cell;
use std::io;
use std::thread::{self, Builder};
use std::time::Duration;

use super::error::S3Error;
use crate::threads;
pub(super) use crate::threads::Job;

/// Maximum time that a session waits for a thread before the session checks on its client again, as
/// [`Upload::ready`](crate::Upload::ready) requires.
pub(super) const STEP: Duration = Duration::from_millis(100);

thread_local! {
    /// Whether this thread is making a change of files.
    static IS_CHANGING: Cell<bool> = const { Cell::new(false) };
}

/// Makes a change of files, whose request is neither sent nor sent again once the session has given
/// up the work of this thread: it could replace or remove newer files.
pub(super) fn change<T>(send: impl FnOnce() -> Result<T, S3Error>) -> Result<T, S3Error> {
    if threads::is_cancelled() {
        return Err(S3Error::Local(io::Error::other("its session has given it up")));
    }
    IS_CHANGING.set(true);
    let sent = send();
    IS_CHANGING.set(false);
    sent
}

/// Returns whether this thread is making a [`change`] that its session has given up.
pub(super) fn is_given_up() -> bool {
    IS_CHANGING.get() && threads::is_cancelled()
}

/// Runs `first` and `second` at the same time, `second` in a thread.
pub(super) fn both<A, B: Send>(
    first: impl FnOnce() -> A,
    second: impl FnOnce() -> B + Send,
) -> Result<(A, B), S3Error> {
    thread::scope(|scope| {
        let builder = Builder::new().name("s3".to_owned()).stack_size(threads::JOB_STACK);
        let second = builder.spawn_scoped(scope, second).map_err(S3Error::Local)?;
        let first = first();
        Ok((first, second.join().map_err(|_| panicked())?))
    })
}

fn panicked() -> S3Error {
    S3Error::Local(io::Error::other("the thread of a request panicked"))
}
