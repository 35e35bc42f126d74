//! Requests in separate threads, so that the session can serve its client or send another request
//! meanwhile.

use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, Builder};
use std::time::Duration;

use super::error::S3Error;
use crate::threads;

/// Stack size of a thread that sends requests, in bytes. It is enough for TLS in a debug build.
const STACK: usize = 512 * 1024;

/// Maximum time that a session waits for a thread before the session checks on its client again, as
/// [`Upload::ready`](crate::Upload::ready) requires.
pub(super) const STEP: Duration = Duration::from_millis(100);

/// Work in a thread, and its result.
pub(super) struct Job<T> {
    result: Receiver<T>,
}

impl<T: Send + 'static> Job<T> {
    /// Starts work in a thread. The work must end by itself, as requests do because of their
    /// timeouts.
    pub(super) fn begin(work: impl FnOnce() -> T + Send + 'static) -> Result<Self, S3Error> {
        let (sender, result) = mpsc::sync_channel(1);
        let work = move || {
            // Fails if the job was dropped.
            let _ = sender.send(work());
        };
        threads::start(Some("s3"), STACK, work).map_err(S3Error::Local)?;
        Ok(Self { result })
    }

    /// Returns the result if it is available within `limit`, otherwise `None`.
    pub(super) fn wait(&self, limit: Duration) -> Option<Result<T, S3Error>> {
        match self.result.recv_timeout(limit) {
            Ok(result) => Some(Ok(result)),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Err(panicked())),
        }
    }

    /// Waits for the result.
    pub(super) fn finish(self) -> Result<T, S3Error> {
        self.result.recv().map_err(|_| panicked())
    }
}

/// Runs `first` and `second` at the same time, `second` in a thread.
pub(super) fn both<A, B: Send>(
    first: impl FnOnce() -> A,
    second: impl FnOnce() -> B + Send,
) -> Result<(A, B), S3Error> {
    thread::scope(|scope| {
        let builder = Builder::new().name("s3".to_owned()).stack_size(STACK);
        let second = builder.spawn_scoped(scope, second).map_err(S3Error::Local)?;
        let first = first();
        Ok((first, second.join().map_err(|_| panicked())?))
    })
}

fn panicked() -> S3Error {
    S3Error::Local(io::Error::other("the thread of a request panicked"))
}
