//! The threads that handshakes are computed in.
//!
//! A handshake takes far more stack than anything else a session does, and what a thread has touched
//! of its stack it keeps: sessions that are idle afterwards would all keep it. And whoever begins
//! many handshakes at a time gets the processors one after the other.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use crate::limits;

/// A few threads, which end when this is dropped.
pub(super) struct Pool {
    queue: Sender<Work>,
}

type Work = Box<dyn FnOnce() + Send>;

impl Pool {
    pub(super) fn start() -> io::Result<Self> {
        let (queue, work) = channel::<Work>();
        let work = Arc::new(Mutex::new(work));
        let processors = thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..processors.min(limits::HANDSHAKE_THREADS) {
            let work = Arc::clone(&work);
            let thread = thread::Builder::new().name("ftp-tls".to_owned());
            thread.stack_size(limits::HANDSHAKE_STACK).spawn(move || serve(&work))?;
        }
        Ok(Self { queue })
    }

    /// Has `work` done, and waits for what comes of it: `TimedOut` at `deadline`.
    pub(super) fn run<T: Send + 'static>(
        &self,
        deadline: Instant,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let (done, result) = sync_channel(1);
        let gone = || io::Error::other("the handshake ended by a defect");
        let work = move || {
            // Whoever wanted it may have left.
            let _ = done.send(work());
        };
        self.queue.send(Box::new(work)).map_err(|_| gone())?;
        let rest = deadline.saturating_duration_since(Instant::now());
        result.recv_timeout(rest).map_err(|error| match error {
            RecvTimeoutError::Timeout => io::ErrorKind::TimedOut.into(),
            RecvTimeoutError::Disconnected => gone(),
        })
    }
}

fn serve(queue: &Mutex<Receiver<Work>>) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(work) = next else { return };
        // A panic is the matter of one handshake, whose session sees that nobody answers.
        let _ = catch_unwind(AssertUnwindSafe(work));
    }
}
