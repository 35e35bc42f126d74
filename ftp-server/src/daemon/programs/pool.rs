//! Threads that run the jobs of a queue. A job starts a process or writes a file.
//!
//! A session's thread is confined to its user's files, and a program that it starts would be too.
//! So the session only queues a job, and an unconfined thread runs it.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar};
use std::time::{Duration, Instant};

use super::queue::{Queue, Queued};
use crate::daemon::start_thread;
use crate::lock::{Lock, unpoisoned};

/// Work for an event or a login. No job is lost silently: it ends with `run`, `fail` or `refuse`,
/// or [`ProgramPool::end`] or [`ProgramPool::give_up`] returns it.
pub(crate) trait Job: Queued + Send + Sync + 'static {
    /// Does the work. Ends early when `is_over` returns `true`.
    ///
    /// # Errors
    ///
    /// Returns a message with the reason if the job failed.
    fn run(&self, is_over: &dyn Fn() -> bool) -> Result<(), String>;

    /// Counts a failure. Returns the pause before the next attempt, or `None` if there is no next
    /// attempt.
    fn retry(&self) -> Option<Duration> {
        None
    }

    /// Accounts for a job whose last attempt failed.
    fn fail(&self, why: &str);

    /// Accounts for a job that did not fit into the queue. Called in the thread of a session.
    fn refuse(self: Arc<Self>);

    /// Accounts for a job that came after the end. Called in the thread of a session.
    fn leave(&self) {
        self.fail("not started: the server is stopping");
    }
}

/// A queue, and the threads that run its jobs.
pub(crate) struct ProgramPool<J> {
    state: Lock<State<J>>,
    /// Signal that wakes one thread for a job, or all threads after a change of the limits or at
    /// the end.
    work: Condvar,
    /// Signal that wakes the shutdown when a job has ended.
    ended: Condvar,
    /// Name of the threads.
    name: &'static str,
}

struct State<J> {
    waiting: Queue<Arc<J>>,
    running: Vec<Arc<J>>,
    /// Largest number of jobs that run at once.
    at_once: usize,
    threads: usize,
    /// Whether the shutdown no longer waits for running jobs.
    is_cut: bool,
    /// Whether the server is stopping, so that failed jobs are not retried.
    is_stopping: bool,
    /// Whether no more jobs are started and running jobs end early.
    is_over: bool,
}

impl<J: Job> State<J> {
    /// Returns the next job, if one may start now.
    fn pop(&mut self, now: Instant) -> Option<Arc<J>> {
        let has_room = self.running.len() < self.at_once;
        let job = has_room.then(|| self.waiting.pop(now)).flatten()?;
        self.running.push(Arc::clone(&job));
        Some(job)
    }

    /// Returns whether a thread can start a job.
    fn can_start(&self) -> bool {
        self.running.len() < self.at_once && self.waiting.can_start(Instant::now())
    }

    fn is_running(&self, job: &Arc<J>) -> bool {
        self.running.iter().any(|running| Arc::ptr_eq(running, job))
    }
}

impl<J: Job> ProgramPool<J> {
    /// Returns a pool without threads; `name` is for the threads that it starts later. With
    /// `is_serial`, the jobs of each user run one at a time.
    pub(crate) const fn new(name: &'static str, is_serial: bool) -> Self {
        let waiting = Queue::new(is_serial);
        let running = Vec::new();
        let (at_once, threads) = (0, 0);
        let (is_cut, is_stopping, is_over) = (false, false, false);
        let state = State { waiting, running, at_once, threads, is_cut, is_stopping, is_over };
        Self { state: Lock::new(state), work: Condvar::new(), ended: Condvar::new(), name }
    }

    /// Starts enough threads to run `at_once` jobs in parallel.
    ///
    /// # Errors
    ///
    /// Returns the system's error if a thread cannot be started.
    pub(crate) fn prepare(self: &Arc<Self>, at_once: usize) -> io::Result<()> {
        while self.state.lock().threads < at_once {
            let pool = Arc::clone(self);
            start_thread(self.name, move || pool.work())?;
            self.state.lock().threads += 1;
        }
        Ok(())
    }

    /// Sets how many jobs run in parallel, up to the number of prepared threads.
    pub(crate) fn set(&self, at_once: usize) {
        self.state.lock().at_once = at_once;
        self.work.notify_all();
    }

    /// Queues a job.
    pub(crate) fn push(&self, job: Arc<J>) {
        let mut state = self.state.lock();
        if state.is_over {
            drop(state);
            return job.leave();
        }
        let refused = state.waiting.push(job);
        let can_start = state.can_start();
        drop(state);
        if can_start {
            self.work.notify_one();
        }
        refused.into_iter().for_each(J::refuse);
    }

    /// Returns whether another job fits into the queue, so that it takes no other job's place.
    pub(crate) fn has_room(&self, job: &J) -> bool {
        self.state.lock().waiting.has_room(job)
    }

    /// Makes [`wait`](Self::wait) return.
    pub(crate) fn cut(&self) {
        self.state.lock().is_cut = true;
        self.ended.notify_all();
    }

    /// Begins the shutdown: failed jobs are not retried.
    pub(crate) fn stop(&self) {
        let mut state = self.state.lock();
        state.is_stopping = true;
        state.waiting.hurry();
        drop(state);
        self.work.notify_all();
    }

    /// Waits for all jobs, at most until `until` or a call to [`cut`](Self::cut).
    pub(crate) fn wait(&self, until: Instant) {
        let is_busy = |state: &mut State<J>| {
            !state.is_cut && (!state.running.is_empty() || state.waiting.len() > 0)
        };
        let limit = until.saturating_duration_since(Instant::now());
        drop(self.ended.wait_timeout_while(self.state.lock(), limit, is_busy));
    }

    /// Makes the running jobs end early, and starts no more. Returns the jobs that were not
    /// started.
    #[must_use]
    pub(crate) fn end(&self) -> Vec<Arc<J>> {
        let mut state = self.state.lock();
        state.is_over = true;
        let left = state.waiting.take();
        drop(state);
        self.work.notify_all();
        left
    }

    /// Waits at most until `until` for the running jobs, which [`end`](Self::end) has cancelled.
    /// Returns the jobs that still run; the pool no longer accounts for them.
    #[must_use]
    pub(crate) fn give_up(&self, until: Instant) -> Vec<Arc<J>> {
        let limit = until.saturating_duration_since(Instant::now());
        let is_busy = |state: &mut State<J>| !state.running.is_empty();
        let waited = self.ended.wait_timeout_while(self.state.lock(), limit, is_busy);
        let (mut state, _) = unpoisoned(waited);
        std::mem::take(&mut state.running)
    }

    fn work(&self) {
        while let Some(job) = self.next() {
            let run = || job.run(&|| self.state.lock().is_over);
            let ran = catch_unwind(AssertUnwindSafe(run));
            let ran = ran.unwrap_or_else(|_| Err("panicked".to_owned()));
            self.settle(&job, ran);
        }
    }

    /// Waits for a job that can start. Returns `None` once the pool has ended.
    fn next(&self) -> Option<Arc<J>> {
        let mut state = self.state.lock();
        loop {
            if state.is_over {
                return None;
            }
            let now = Instant::now();
            if let Some(job) = state.pop(now) {
                // Another thread must now wait for jobs and for the end of pauses.
                if state.can_start() || state.waiting.next_start().is_some() {
                    self.work.notify_one();
                }
                return Some(job);
            }
            let pause = state.waiting.next_start().map(|time| time.saturating_duration_since(now));
            // If a pause is over but no job can start, the thread of a running job takes the paused
            // job later.
            state = match pause.filter(|pause| !pause.is_zero()) {
                Some(pause) => {
                    let waited = self.work.wait_timeout(state, pause);
                    unpoisoned(waited).0
                }
                None => unpoisoned(self.work.wait(state)),
            };
        }
    }

    /// Records the outcome of a job, before the next job of the same user starts.
    fn settle(&self, job: &Arc<J>, ran: Result<(), String>) {
        let mut state = self.state.lock();
        if let Err(why) = ran
            && state.is_running(job)
        {
            let pause = if state.is_stopping { None } else { job.retry() };
            match pause {
                Some(pause) => {
                    let not_before = Instant::now().checked_add(pause);
                    state.waiting.put_back(Arc::clone(job), not_before);
                }
                None => {
                    drop(state);
                    job.fail(&why);
                    state = self.state.lock();
                }
            }
        }
        state.running.retain(|running| !Arc::ptr_eq(running, job));
        state.waiting.done(job.user());
        drop(state);
        self.ended.notify_all();
    }
}
