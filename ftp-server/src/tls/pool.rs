//! The threads that compute handshakes.
//!
//! A handshake needs far more stack than any other part of a session. A thread keeps the pages of
//! its stack that it has touched. Without the pool, all idle sessions would therefore keep the
//! pages that their handshakes touched. In addition, the pool limits how many handshakes are
//! computed at a time.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar};
use std::time::Instant;

use crate::lock::{Lock, unpoisoned};
use crate::{budget, limits, threads};

/// Stack of a pool thread, in bytes. It is more than four times the stack of a session, so that the
/// C library does not reuse the stack of an ended pool thread, with all touched pages, for a
/// session.
const STACK: usize = 5 * limits::SESSION_STACK;

/// Maximum number of pool threads. There are never more threads than processors.
const THREADS: usize = 8;

/// A few threads, which end when this value is dropped.
pub(super) struct Pool {
    queue: Sender<Task>,
}

type Task = Box<dyn FnOnce() + Send>;

/// The result of a piece of work, and the notification of the thread that waits for the result.
struct Completion<T> {
    result: Lock<Result<Option<T>, Gone>>,
    changed: Condvar,
}

/// The error if the work ended without a result.
struct Gone;

/// The worker's side of a [`Completion`]. Dropping it without a result, usually in a panic, reports
/// [`Gone`].
struct Worker<T>(Arc<Completion<T>>);

impl<T> Completion<T> {
    fn put(&self, result: Result<Option<T>, Gone>) {
        let mut place = self.result.lock();
        if matches!(&*place, Ok(None)) {
            *place = result;
        }
        self.changed.notify_one();
    }
}

impl<T> Drop for Worker<T> {
    fn drop(&mut self) {
        self.0.put(Err(Gone));
    }
}

impl Pool {
    pub(super) fn start() -> io::Result<Self> {
        let (queue, work) = channel::<Task>();
        let work = Arc::new(Lock::new(work));
        for _ in 0..budget::processors().min(THREADS) {
            let work = Arc::clone(&work);
            threads::start(Some("ftp-tls"), STACK, move || serve(&work))?;
        }
        Ok(Self { queue })
    }

    /// Runs `work` in a pool thread, and waits for its result. Fails with `TimedOut` at `deadline`.
    ///
    /// A channel is not used for the result, because the C library would keep its freed memory for
    /// the session's thread.
    pub(super) fn run<T: Send + 'static>(
        &self,
        deadline: Instant,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let desk = Arc::new(Completion { result: Lock::new(Ok(None)), changed: Condvar::new() });
        let gone = || io::Error::other("the thread of the handshake panicked");
        let worker = Worker(Arc::clone(&desk));
        let work = move || worker.0.put(Ok(Some(work())));
        self.queue.send(Box::new(work)).map_err(|_| gone())?;
        let mut place = desk.result.lock();
        loop {
            match std::mem::replace(&mut *place, Ok(None)) {
                Ok(Some(result)) => return Ok(result),
                Ok(None) => {}
                Err(Gone) => return Err(gone()),
            }
            let rest = deadline.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let woken = desk.changed.wait_timeout(place, rest);
            place = unpoisoned(woken).0;
        }
    }
}

fn serve(queue: &Lock<Receiver<Task>>) {
    loop {
        let next = queue.lock().recv();
        let Ok(work) = next else { return };
        // A panic concerns one handshake, whose session sees that the result is missing.
        let _ = catch_unwind(AssertUnwindSafe(work));
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn handshake_work_runs_on_pool_threads_and_survives_panics_ht_12() {
        let pool = Pool::start().unwrap();
        let far = Instant::now() + Duration::from_secs(60);
        let here = thread::current().id();
        for _ in 0..20 {
            assert!(pool.run(far, move || thread::current().id() != here).unwrap());
            let failed = pool.run(far, || -> u32 { panic!("as a defect would") });
            assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::Other);
        }
        let (hold, held) = channel::<()>();
        let soon = Instant::now() + Duration::from_millis(50);
        let late = pool.run(soon, move || held.recv().is_err());
        assert_eq!(late.unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(hold);
    }
}
