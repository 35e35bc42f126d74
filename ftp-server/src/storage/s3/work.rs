//! Requests in separate threads, so that the session can serve its client or send another request
//! meanwhile.

use std::io;
use std::thread::{self, Builder};
use std::time::Duration;

use super::error::S3Error;
use crate::threads;
pub(super) use crate::threads::Job;

/// Maximum time that a session waits for a thread before the session checks on its client again, as
/// [`Upload::ready`](crate::Upload::ready) requires.
pub(super) const STEP: Duration = Duration::from_millis(100);

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
