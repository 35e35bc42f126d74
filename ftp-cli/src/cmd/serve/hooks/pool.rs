//! Threads that run the jobs of a queue.
//!
//! A session's thread is confined to its user's files, and a program that it starts would be too.
//! So the session only queues a job; threads that existed before any session run it.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::queue::{Queue, Queued};
use crate::cmd::serve::logging::LOG;
use crate::console::threads;
use crate::lock::lock;

/// Time that the shutdown waits for killed programs.
const KILLED: Duration = Duration::from_secs(2);

/// Work for an event. Nothing gets lost without a word: a job ends by `run`, `fail` or `refuse`, or
/// [`Pool::finish`] returns it.
pub(super) trait Job: Queued + Send + 'static {
    /// Does the work. Ends early once `is_over`.
    ///
    /// # Errors
    ///
    /// Returns the reason as a message.
    fn run(&self, is_over: &dyn Fn() -> bool) -> Result<(), String>;

    /// Counts a failure. Returns the pause before the next attempt; `None` if there is none.
    fn retry(&mut self) -> Option<Duration> {
        None
    }

    /// Accounts for a job whose last attempt failed.
    fn fail(self, why: &str);

    /// Accounts for a job that has no place in the queue, in the thread of a session.
    fn refuse(self);
}

/// A queue, and the threads that run its jobs.
pub(super) struct Pool<J> {
    state: Mutex<State<J>>,
    changed: Condvar,
}

struct State<J> {
    waiting: Queue<J>,
    /// Largest number of jobs that run at once.
    at_once: usize,
    running: usize,
    threads: usize,
    /// The shutdown no longer waits for running jobs.
    is_cut: bool,
    /// The server is stopping, and nothing is tried again.
    is_stopping: bool,
    /// No job is started any more, and running ones end early.
    is_over: bool,
}

impl<J: Job> Pool<J> {
    /// Returns a pool without threads. With `is_serial`, the jobs of a user keep their order.
    pub(super) const fn new(is_serial: bool) -> Self {
        let waiting = Queue::new(is_serial);
        let (at_once, running, threads) = (0, 0, 0);
        let (is_cut, is_stopping, is_over) = (false, false, false);
        let state = State { waiting, at_once, running, threads, is_cut, is_stopping, is_over };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Starts the threads for this number of jobs at once.
    ///
    /// # Errors
    ///
    /// Returns the system's error if it refuses a thread.
    pub(super) fn prepare(self: &Arc<Self>, at_once: usize) -> io::Result<()> {
        while self.state().threads < at_once {
            let pool = Arc::clone(self);
            threads::start("hooks", move || pool.work())?;
            self.state().threads += 1;
        }
        Ok(())
    }

    /// Sets how many jobs run at once, up to the number that was prepared.
    pub(super) fn set(&self, at_once: usize) {
        self.state().at_once = at_once;
        self.changed.notify_all();
    }

    /// Queues a job.
    pub(super) fn push(&self, job: J) {
        let mut state = self.state();
        let refused = match state.is_over {
            true => vec![job],
            false => state.waiting.push(job),
        };
        drop(state);
        self.changed.notify_all();
        refused.into_iter().for_each(J::refuse);
    }

    /// Makes [`finish`](Self::finish) stop waiting.
    pub(super) fn cut(&self) {
        self.state().is_cut = true;
        self.changed.notify_all();
    }

    /// Waits for the jobs for at most `limit`, then ends the running ones. Returns those that were
    /// not started.
    #[must_use]
    pub(super) fn finish(&self, limit: Duration) -> Vec<J> {
        let mut state = self.state();
        state.is_stopping = true;
        state.waiting.hurry();
        self.changed.notify_all();
        let is_busy =
            |state: &mut State<J>| !state.is_cut && (state.running > 0 || state.waiting.len() > 0);
        let waited = self.changed.wait_timeout_while(state, limit, is_busy);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.is_over = true;
        let left = state.waiting.take();
        self.changed.notify_all();
        let is_busy = |state: &mut State<J>| state.running > 0;
        let waited = self.changed.wait_timeout_while(state, KILLED, is_busy);
        let running = waited.unwrap_or_else(PoisonError::into_inner).0.running;
        if running > 0 {
            log::error!(target: LOG, "hooks: {running} programs do not end; their events are lost");
        }
        left
    }

    fn work(&self) {
        while let Some(job) = self.next() {
            let run = || job.run(&|| self.state().is_over);
            let ran = catch_unwind(AssertUnwindSafe(run));
            let ran = ran.unwrap_or_else(|_| Err("panicked".to_owned()));
            self.settle(job, ran);
        }
    }

    /// Waits for a job that can start; `None` at the end.
    fn next(&self) -> Option<J> {
        let mut state = self.state();
        loop {
            if state.is_over {
                return None;
            }
            let now = Instant::now();
            if state.running < state.at_once
                && let Some(job) = state.waiting.pop(now)
            {
                state.running += 1;
                return Some(job);
            }
            let pause = state.waiting.next_start().map(|time| time.saturating_duration_since(now));
            // A pause that is over waits for a running job, whose end is a change.
            state = match pause.filter(|pause| !pause.is_zero()) {
                Some(pause) => {
                    let waited = self.changed.wait_timeout(state, pause);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Accounts for a job that has run, before the next one of its user.
    fn settle(&self, mut job: J, ran: Result<(), String>) {
        let user = job.user().to_vec();
        if let Err(why) = ran {
            let mut state = self.state();
            let pause = if state.is_stopping { None } else { job.retry() };
            match pause {
                Some(pause) => state.waiting.put_back(job, Instant::now().checked_add(pause)),
                None => {
                    drop(state);
                    job.fail(&why);
                }
            }
        }
        let mut state = self.state();
        state.running -= 1;
        state.waiting.done(&user);
        drop(state);
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State<J>> {
        lock(&self.state)
    }
}
