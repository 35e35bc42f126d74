//! Threads that run the jobs of a queue, in which users take turns, so that a user with many jobs
//! does not delay the others. A job starts a process or writes a file.
//!
//! A session's thread is confined to its user's files, and a program that it starts would be too.
//! So the session only queues a job, and an unconfined thread runs it.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar};
use std::time::{Duration, Instant};

use crate::daemon::logging::LOG;
use crate::daemon::{DaemonError, start_thread};
use crate::lock::{Lock, unpoisoned};

/// Maximum number of jobs in a queue.
pub(crate) const JOBS: usize = 1_000;

/// Maximum total size of the jobs in a queue, in bytes.
const BYTES: usize = 4 * 1024 * 1024;

/// Jobs that have not been started.
struct Queue<J> {
    /// One lane per user, in the order of their turns. Each lane has at least one queued or running
    /// job.
    lanes: VecDeque<Lane<J>>,
    /// Whether the jobs of a user run one at a time.
    is_serial: bool,
    length: usize,
    bytes: usize,
}

struct Lane<J> {
    user: Vec<u8>,
    jobs: VecDeque<Arc<J>>,
    /// Whether a job of this user is running and the others wait for it.
    is_busy: bool,
    /// End of the back-off after the first job has failed.
    not_before: Option<Instant>,
}

impl<J: Job> Lane<J> {
    fn bytes(&self) -> usize {
        self.jobs.iter().map(|job| job.size()).sum()
    }

    fn can_start(&self, now: Instant) -> bool {
        let is_due = self.not_before.is_none_or(|time| time <= now);
        !self.is_busy && is_due && !self.jobs.is_empty()
    }
}

impl<J: Job> Queue<J> {
    pub(crate) const fn new(is_serial: bool) -> Self {
        Self { lanes: VecDeque::new(), is_serial, length: 0, bytes: 0 }
    }

    pub(crate) const fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn has_room(&self, job: &J) -> bool {
        self.length < JOBS && self.bytes + job.size() <= BYTES
    }

    /// Adds a job. Returns the jobs that no longer fit: the newest jobs of the user with the most
    /// jobs or bytes. The added job may be one of them.
    pub(crate) fn push(&mut self, job: Arc<J>) -> Vec<Arc<J>> {
        let size = job.size();
        match self.lane(job.user()) {
            Some(lane) => lane.jobs.push_back(job),
            None => {
                let user = job.user().to_vec();
                let jobs = VecDeque::from([job]);
                self.lanes.push_back(Lane { user, jobs, is_busy: false, not_before: None });
            }
        }
        self.length += 1;
        self.bytes += size;
        std::iter::from_fn(|| self.pop_surplus()).collect()
    }

    /// If the queue exceeds a limit, removes the newest job of the user with the most jobs or
    /// bytes.
    fn pop_surplus(&mut self) -> Option<Arc<J>> {
        let largest = if self.bytes > BYTES {
            self.lanes.iter_mut().max_by_key(|lane| lane.bytes())
        } else if self.length > JOBS {
            self.lanes.iter_mut().max_by_key(|lane| lane.jobs.len())
        } else {
            None
        };
        let job = largest?.jobs.pop_back()?;
        self.forget(&job);
        Some(job)
    }

    /// Removes the next job, which belongs to the user whose turn it is. Returns `None` if no job
    /// can start now.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Arc<J>> {
        let at = self.lanes.iter().position(|lane| lane.can_start(now))?;
        let mut lane = self.lanes.remove(at)?;
        let job = lane.jobs.pop_front()?;
        lane.not_before = None;
        lane.is_busy = self.is_serial;
        self.lanes.push_back(lane);
        self.forget(&job);
        Some(job)
    }

    fn can_start(&self, now: Instant) -> bool {
        self.lanes.iter().any(|lane| lane.can_start(now))
    }

    /// Lets the next job of this user start.
    pub(crate) fn done(&mut self, user: &[u8]) {
        if let Some(lane) = self.lane(user) {
            lane.is_busy = false;
        }
        self.tidy_up();
    }

    /// Puts a failed job back at the head of its user's lane; only for serial queues. Call
    /// [`done`](Self::done) afterwards.
    pub(crate) fn put_back(&mut self, job: Arc<J>, not_before: Option<Instant>) {
        let size = job.size();
        // In a serial queue, a user's lane exists while one of its jobs runs.
        let Some(lane) = self.lane(job.user()) else { return };
        lane.jobs.push_front(job);
        lane.not_before = not_before;
        self.length += 1;
        self.bytes += size;
    }

    /// Returns the time at which the first pause ends, or `None` if no job waits for the end of a
    /// pause.
    fn next_start(&self) -> Option<Instant> {
        let waiting = self.lanes.iter().filter(|lane| !lane.is_busy);
        waiting.filter_map(|lane| lane.not_before).min()
    }

    /// Ends all pauses.
    pub(crate) fn hurry(&mut self) {
        self.lanes.iter_mut().for_each(|lane| lane.not_before = None);
    }

    /// Removes all jobs.
    pub(crate) fn take(&mut self) -> Vec<Arc<J>> {
        self.length = 0;
        self.bytes = 0;
        std::mem::take(&mut self.lanes).into_iter().flat_map(|lane| lane.jobs).collect()
    }

    fn lane(&mut self, user: &[u8]) -> Option<&mut Lane<J>> {
        self.lanes.iter_mut().find(|lane| lane.user == user)
    }

    fn forget(&mut self, job: &J) {
        self.length -= 1;
        self.bytes -= job.size();
        self.tidy_up();
    }

    fn tidy_up(&mut self) {
        self.lanes.retain(|lane| lane.is_busy || !lane.jobs.is_empty());
    }
}

/// Work for an event or a login. No job is lost silently: it ends with `run`, `fail` or `refuse`,
/// or [`ProgramPool::end`] or [`ProgramPool::give_up`] returns it.
pub(crate) trait Job: Send + Sync + 'static {
    /// Returns the user whose turn the job takes.
    fn user(&self) -> &[u8];

    /// Returns the memory that the job takes, in bytes.
    fn size(&self) -> usize;

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

pub(crate) struct ProgramPool<J> {
    state: Lock<PoolState<J>>,
    /// Notified once per runnable job, and for all threads when limits change or the pool ends.
    work: Condvar,
    /// Notified when a job ends, for a shutdown that waits.
    ended: Condvar,
    /// Name of the threads.
    name: &'static str,
}

struct PoolState<J> {
    waiting: Queue<J>,
    running: Vec<Arc<J>>,
    at_once: usize,
    threads: usize,
    /// Whether the shutdown no longer waits for running jobs.
    is_cut: bool,
    /// Whether the server is stopping, so that failed jobs are not retried.
    is_stopping: bool,
    /// Whether no more jobs are started and running jobs end early.
    is_over: bool,
}

impl<J: Job> PoolState<J> {
    fn pop(&mut self, now: Instant) -> Option<Arc<J>> {
        let has_room = self.running.len() < self.at_once;
        let job = has_room.then(|| self.waiting.pop(now)).flatten()?;
        self.running.push(Arc::clone(&job));
        Some(job)
    }

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
        let state = PoolState { waiting, running, at_once, threads, is_cut, is_stopping, is_over };
        Self { state: Lock::new(state), work: Condvar::new(), ended: Condvar::new(), name }
    }

    /// Sets how many jobs run in parallel, and starts the threads that this needs. Call it in a thread
    /// that is not confined, because the programs are confined as the threads that start them. If a
    /// thread cannot be started, fewer jobs run in parallel; without any, the jobs wait.
    pub(crate) fn set(self: &Arc<Self>, at_once: usize) {
        let mut state = self.state.lock();
        state.at_once = at_once;
        while state.threads < at_once {
            let pool = Arc::clone(self);
            if let Err(error) = start_thread(self.name, move || pool.work()) {
                log::error!(target: LOG, "{}", DaemonError::no_thread(self.name, &error));
                break;
            }
            state.threads += 1;
        }
        drop(state);
        self.work.notify_all();
    }

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
        let is_busy = |state: &mut PoolState<J>| {
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
        let is_busy = |state: &mut PoolState<J>| !state.running.is_empty();
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
                // Hand over: one idle thread must watch for the next job and for expiring
                // back-offs.
                if state.can_start() || state.waiting.next_start().is_some() {
                    self.work.notify_one();
                }
                return Some(job);
            }
            let pause = state.waiting.next_start().map(|time| time.saturating_duration_since(now));
            // A back-off has expired but its lane is busy: the thread that frees the lane picks the
            // job up, so this one must not spin.
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use ftp_tests::wait::wait_until;

    use super::*;

    /// The name of a user, and a number.
    #[derive(Debug, Eq, PartialEq)]
    struct Numbered(&'static str, usize);

    impl Job for Numbered {
        fn user(&self) -> &[u8] {
            self.0.as_bytes()
        }

        fn size(&self) -> usize {
            if self.0 == "large" { 1024 * 1024 } else { 1 }
        }

        fn run(&self, _is_over: &dyn Fn() -> bool) -> Result<(), String> {
            Ok(())
        }

        fn fail(&self, _why: &str) {}

        fn refuse(self: Arc<Self>) {}
    }

    fn numbered(user: &'static str, number: usize) -> Arc<Numbered> {
        Arc::new(Numbered(user, number))
    }

    #[test]
    fn a_pool_has_as_many_threads_as_jobs_at_once_until_it_ends() {
        let threads = || {
            let names = fs::read_dir("/proc/self/task").unwrap().map(|thread| {
                fs::read_to_string(thread.unwrap().path().join("comm")).unwrap_or_default()
            });
            names.filter(|name| name == "counted\n").count()
        };
        let pool = Arc::new(ProgramPool::<Numbered>::new("counted", false));
        for (at_once, want) in [(0, 0), (2, 2), (2, 2), (1, 2), (3, 3)] {
            pool.set(at_once);
            wait_until("the threads run", || threads() == want);
        }
        drop(pool.end());
        wait_until("all threads end", || threads() == 0);
    }

    #[test]
    fn a_user_with_many_events_does_not_starve_the_others() {
        let now = Instant::now();
        let mut queue = Queue::new(false);
        for number in 0..JOBS {
            assert_eq!(queue.push(numbered("camera", number)), []);
        }
        // The queue is full: the user who filled it loses a place, and gets no other.
        assert_eq!(queue.push(numbered("scanner", 1)), [numbered("camera", JOBS - 1)]);
        assert_eq!(queue.push(numbered("camera", JOBS)), [numbered("camera", JOBS)]);
        assert_eq!(queue.len(), JOBS);
        let first: Vec<_> = (0..3).map(|_| queue.pop(now).unwrap().0).collect();
        assert_eq!(first, ["camera", "scanner", "camera"]);
        while queue.pop(now).is_some() {}
        assert_eq!((queue.len(), queue.bytes, queue.lanes.len()), (0, 0, 0));
    }

    #[test]
    fn the_queue_also_limits_bytes() {
        let mut queue = Queue::new(true);
        (0..4).for_each(|number| assert_eq!(queue.push(numbered("large", number)), []));
        assert_eq!(queue.push(numbered("small", 0)), [numbered("large", 3)]);
        assert_eq!(queue.push(numbered("large", 4)), [numbered("large", 4)]);
        assert_eq!(queue.take().len(), 4);
        assert_eq!((queue.len(), queue.bytes), (0, 0));
    }

    #[test]
    fn jobs_of_a_user_wait_for_each_other_and_for_a_retry() {
        let (now, pause) = (Instant::now(), Duration::from_secs(1));
        let mut queue = Queue::new(true);
        for job in [numbered("a", 1), numbered("a", 2), numbered("b", 1)] {
            queue.push(job);
        }
        let job = queue.pop(now).unwrap();
        assert_eq!(queue.pop(now), Some(numbered("b", 1)));
        assert_eq!(queue.pop(now), None);
        queue.done(b"b");
        assert_eq!(job, numbered("a", 1));
        queue.put_back(job, Some(now + pause));
        queue.done(b"a");
        assert_eq!(queue.pop(now), None);
        assert_eq!(queue.next_start(), Some(now + pause));
        assert_eq!(queue.pop(now + pause), Some(numbered("a", 1)));
        queue.done(b"a");
        assert_eq!(queue.pop(now), Some(numbered("a", 2)));
        queue.push(numbered("a", 3));
        assert_eq!(queue.pop(now), None);
        queue.done(b"a");
        queue.pop(now).unwrap();
        queue.done(b"a");
        assert_eq!((queue.len(), queue.bytes, queue.lanes.len()), (0, 0, 0));
    }
}
