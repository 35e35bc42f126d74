//! A queue of jobs in which users take turns, so that a user with many jobs does not delay the
//! others.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

/// Maximum number of jobs in a queue.
pub(crate) const JOBS: usize = 1_000;

/// Maximum total size of the jobs in a queue, in bytes.
const BYTES: usize = 4 * 1024 * 1024;

/// A job in a queue.
pub(crate) trait Queued {
    /// Returns the user whose turn the job takes.
    fn user(&self) -> &[u8];
    /// Returns the memory that the job takes, in bytes.
    fn size(&self) -> usize;
}

impl<J: Queued> Queued for Arc<J> {
    fn user(&self) -> &[u8] {
        (**self).user()
    }

    fn size(&self) -> usize {
        (**self).size()
    }
}

/// Jobs that have not been started.
pub(crate) struct Queue<J> {
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
    jobs: VecDeque<J>,
    /// Whether a job of this user is running and the others wait for it.
    is_busy: bool,
    /// If the first job failed, the time before which it is not started again.
    not_before: Option<Instant>,
}

impl<J: Queued> Lane<J> {
    fn bytes(&self) -> usize {
        self.jobs.iter().map(Queued::size).sum()
    }

    fn can_start(&self, now: Instant) -> bool {
        let is_due = self.not_before.is_none_or(|time| time <= now);
        !self.is_busy && is_due && !self.jobs.is_empty()
    }
}

impl<J: Queued> Queue<J> {
    /// Returns an empty queue. With `is_serial`, the jobs of each user run one at a time.
    pub(crate) const fn new(is_serial: bool) -> Self {
        Self { lanes: VecDeque::new(), is_serial, length: 0, bytes: 0 }
    }

    /// Returns the number of jobs.
    pub(crate) const fn len(&self) -> usize {
        self.length
    }

    /// Returns whether a job of this size fits.
    pub(crate) fn has_room(&self, job: &impl Queued) -> bool {
        self.length < JOBS && self.bytes + job.size() <= BYTES
    }

    /// Adds a job. Returns the jobs that no longer fit: the newest jobs of the user with the most
    /// jobs or bytes. The added job may be one of them.
    pub(crate) fn push(&mut self, job: J) -> Vec<J> {
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
    fn pop_surplus(&mut self) -> Option<J> {
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
    pub(crate) fn pop(&mut self, now: Instant) -> Option<J> {
        let at = self.lanes.iter().position(|lane| lane.can_start(now))?;
        let mut lane = self.lanes.remove(at)?;
        let job = lane.jobs.pop_front()?;
        lane.not_before = None;
        lane.is_busy = self.is_serial;
        self.lanes.push_back(lane);
        self.forget(&job);
        Some(job)
    }

    /// Returns whether a job can start now.
    pub(crate) fn can_start(&self, now: Instant) -> bool {
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
    pub(crate) fn put_back(&mut self, job: J, not_before: Option<Instant>) {
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
    pub(crate) fn next_start(&self) -> Option<Instant> {
        let waiting = self.lanes.iter().filter(|lane| !lane.is_busy);
        waiting.filter_map(|lane| lane.not_before).min()
    }

    /// Ends all pauses.
    pub(crate) fn hurry(&mut self) {
        self.lanes.iter_mut().for_each(|lane| lane.not_before = None);
    }

    /// Removes all jobs.
    pub(crate) fn take(&mut self) -> Vec<J> {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// The name of a user, and a number.
    #[derive(Debug, Eq, PartialEq)]
    struct Numbered(&'static str, usize);

    impl Queued for Numbered {
        fn user(&self) -> &[u8] {
            self.0.as_bytes()
        }

        fn size(&self) -> usize {
            if self.0 == "large" { 1024 * 1024 } else { 1 }
        }
    }

    #[test]
    fn a_user_with_many_events_does_not_starve_the_others() {
        let now = Instant::now();
        let mut queue = Queue::new(false);
        for number in 0..JOBS {
            assert_eq!(queue.push(Numbered("camera", number)), []);
        }
        // The queue is full: the user who filled it loses a place, and gets no other.
        assert_eq!(queue.push(Numbered("scanner", 1)), [Numbered("camera", JOBS - 1)]);
        assert_eq!(queue.push(Numbered("camera", JOBS)), [Numbered("camera", JOBS)]);
        assert_eq!(queue.len(), JOBS);
        let first: Vec<_> = (0..3).map(|_| queue.pop(now).unwrap().0).collect();
        assert_eq!(first, ["camera", "scanner", "camera"]);
        while queue.pop(now).is_some() {}
        assert_eq!((queue.len(), queue.bytes, queue.lanes.len()), (0, 0, 0));
    }

    #[test]
    fn the_queue_also_limits_bytes() {
        let mut queue = Queue::new(true);
        (0..4).for_each(|number| assert_eq!(queue.push(Numbered("large", number)), []));
        assert_eq!(queue.push(Numbered("small", 0)), [Numbered("large", 3)]);
        assert_eq!(queue.push(Numbered("large", 4)), [Numbered("large", 4)]);
        assert_eq!(queue.take().len(), 4);
        assert_eq!((queue.len(), queue.bytes), (0, 0));
    }

    #[test]
    fn jobs_of_a_user_wait_for_each_other_and_for_a_retry() {
        let (now, pause) = (Instant::now(), Duration::from_secs(1));
        let mut queue = Queue::new(true);
        for job in [Numbered("a", 1), Numbered("a", 2), Numbered("b", 1)] {
            queue.push(job);
        }
        let job = queue.pop(now).unwrap();
        assert_eq!(queue.pop(now), Some(Numbered("b", 1)));
        assert_eq!(queue.pop(now), None);
        queue.done(b"b");
        assert_eq!(job, Numbered("a", 1));
        queue.put_back(job, Some(now + pause));
        queue.done(b"a");
        assert_eq!(queue.pop(now), None);
        assert_eq!(queue.next_start(), Some(now + pause));
        assert_eq!(queue.pop(now + pause), Some(Numbered("a", 1)));
        queue.done(b"a");
        assert_eq!(queue.pop(now), Some(Numbered("a", 2)));
        queue.push(Numbered("a", 3));
        assert_eq!(queue.pop(now), None);
        queue.done(b"a");
        queue.pop(now).unwrap();
        queue.done(b"a");
        assert_eq!((queue.len(), queue.bytes, queue.lanes.len()), (0, 0, 0));
    }
}
