//! `--jobs`: handles several items in parallel, each over a separate connection. If a server
//! refuses more connections, its items use the connections that it accepted.

use std::ops::ControlFlow;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use ftp_client::NotLent;

use crate::exit::Failure;
use crate::lock::lock;

/// A worker with separate connections. Items are identified by number.
pub(crate) trait Worker {
    /// Ensures a connection for an item.
    ///
    /// # Errors
    ///
    /// Returns the reason if there is none. Unless the connection failed, this worker ends, and
    /// others handle the item.
    fn connect(&mut self, item: usize) -> Result<(), NotLent<Failure>>;

    /// Handles an item.
    ///
    /// # Errors
    ///
    /// Returns the reason if it fails.
    fn act(&mut self, item: usize) -> Result<(), Failure>;

    /// Reports a failed item. Returns `Break` if no other item can succeed.
    fn failed(&mut self, item: usize, failure: Failure) -> ControlFlow<()>;

    /// Disconnects from the servers.
    fn end(self);
}

/// Remaining items and the number of workers.
struct Queue {
    state: Mutex<WorkState>,
    /// Notified when an item has come back, when no more items can come back, or when the work is
    /// over.
    settled: Condvar,
}

struct WorkState {
    /// The remaining items; the last element is the next one.
    items: Vec<usize>,
    workers: usize,
    /// Number of items that workers have taken but not started, and that may come back to the
    /// queue.
    undecided: usize,
    /// Number of workers that wait for an item to come back.
    waiting: usize,
    /// Whether the work is over: items that come back are not tried any more.
    is_over: bool,
}

/// Handles `items` items, numbered from 0, with up to `jobs` workers made by `hire`.
pub(crate) fn run<W: Worker>(jobs: usize, items: usize, hire: impl Fn() -> W + Sync) {
    let workers = jobs.clamp(1, items.max(1));
    let items = (0..items).rev().collect();
    let state = WorkState { items, workers, undecided: 0, waiting: 0, is_over: false };
    let queue = Queue { state: Mutex::new(state), settled: Condvar::new() };
    std::thread::scope(|threads| {
        for number in 1..workers {
            let name = format!("job {number}");
            let queue = &queue;
            let hire = &hire;
            let thread = std::thread::Builder::new().name(name);
            if thread.spawn_scoped(threads, move || work(queue, hire())).is_err() {
                // The work continues without the additional thread.
                queue.lock().workers -= 1;
            }
        }
        work(&queue, hire());
    });
}

/// Works until nothing is left, or other workers can do the rest.
fn work(queue: &Queue, mut worker: impl Worker) {
    while let Some(taken) = queue.next() {
        let item = taken.item;
        let done = match worker.connect(item) {
            Err(NotLent::Failed(failure)) => {
                drop(taken);
                Err(failure)
            }
            Err(why) => {
                if taken.give_back() {
                    return worker.end();
                }
                Err(why.into_failure())
            }
            Ok(()) => {
                drop(taken);
                worker.act(item)
            }
        };
        if let Err(failure) = done
            && worker.failed(item, failure).is_break()
        {
            queue.end();
        }
    }
    worker.end();
}

impl Queue {
    /// Returns the next item. Returns `None` to end the worker if no item is left and none can come
    /// back.
    fn next(&self) -> Option<Taken<'_>> {
        let mut state = self.lock();
        loop {
            if let Some(item) = state.items.pop() {
                state.undecided += 1;
                return Some(Taken { queue: self, item });
            }
            if state.undecided == 0 || state.is_over {
                state.workers -= 1;
                return None;
            }
            state.waiting += 1;
            state = self.settled.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
    }

    /// Ends the work: workers start no other item, not even one that comes back later.
    fn end(&self) {
        let mut state = self.lock();
        state.items.clear();
        state.is_over = true;
        self.settled.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, WorkState> {
        lock(&self.state)
    }
}

/// An item without a connection yet. Until this value is dropped, idle workers wait, because the
/// item may come back.
struct Taken<'a> {
    queue: &'a Queue,
    item: usize,
}

impl Taken<'_> {
    /// Puts the item back into the queue, unless the work is over, and no longer counts this
    /// worker. Returns `false`, and does nothing, if no other worker is left.
    fn give_back(self) -> bool {
        let mut state = self.queue.lock();
        if state.is_over {
            state.workers -= 1;
            return true;
        }
        if state.workers == 1 {
            return false;
        }
        state.workers -= 1;
        state.items.push(self.item);
        true
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        state.undecided -= 1;
        if state.waiting > 0 {
            self.queue.settled.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::exit::Exit;

    /// A server that accepts this many connections at a time.
    struct Hand<'a> {
        places: &'a AtomicUsize,
        has_place: bool,
        log: &'a Mutex<Vec<String>>,
        stops_at: fn(usize) -> bool,
        /// A case in which the first failing worker and a worker without a place could wait for
        /// each other.
        meeting: Option<&'a Barrier>,
    }

    impl Worker for Hand<'_> {
        fn connect(&mut self, _: usize) -> Result<(), NotLent<Failure>> {
            let take = |places: usize| places.checked_sub(1);
            let order = Ordering::SeqCst;
            self.has_place = self.has_place || self.places.fetch_update(order, order, take).is_ok();
            match self.has_place {
                true => Ok(()),
                false => {
                    self.meeting.map(Barrier::wait);
                    // Long enough for the others to finish the rest.
                    std::thread::sleep(Duration::from_millis(5));
                    Err(NotLent::Fewer(Failure::new(Exit::Login, "530 too many")))
                }
            }
        }

        fn act(&mut self, item: usize) -> Result<(), Failure> {
            match (self.stops_at)(item) {
                true => Err(Failure::usage("no")),
                false => {
                    self.log.lock().unwrap().push(item.to_string());
                    Ok(())
                }
            }
        }

        fn failed(&mut self, item: usize, failure: Failure) -> ControlFlow<()> {
            let mut log = self.log.lock().unwrap();
            log.push(format!("{item} failed: {}", failure.message));
            if log.len() == 1 {
                self.meeting.map(Barrier::wait);
            }
            ControlFlow::Break(())
        }

        fn end(self) {}
    }

    fn done(jobs: usize, places: usize, items: usize, stops_at: fn(usize) -> bool) -> Vec<String> {
        let places = AtomicUsize::new(places);
        let log = Mutex::new(Vec::new());
        let places = &places;
        let log_of = &log;
        let has_place = false;
        let meeting = None;
        run(jobs, items, || Hand { places, has_place, log: log_of, stops_at, meeting });
        let mut log = log.into_inner().unwrap();
        log.sort_by_key(|line| line.split(' ').next().unwrap().parse::<usize>().unwrap());
        log
    }

    #[test]
    fn fewer_accepted_connections_lose_no_job() {
        let all = |count: usize| (0..count).map(|item| item.to_string()).collect::<Vec<_>>();
        for (jobs, places) in [(1, 1), (4, 4), (4, 1), (8, 2), (3, 100)] {
            assert_eq!(done(jobs, places, 50, |_| false), all(50), "{jobs} {places}");
        }
        assert_eq!(done(4, 4, 0, |_| false), all(0));
    }

    #[test]
    fn only_one_worker_reports_why_no_connection_works() {
        let log = done(4, 0, 50, |_| false);
        assert_eq!(log.len(), 1, "{log:?}");
        assert!(log[0].ends_with("failed: 530 too many"), "{log:?}");
        assert_eq!(done(1, 1, 3, |item| item == 1), ["0", "1 failed: no"]);
    }

    #[test]
    fn a_job_put_back_after_the_end_is_not_tried() {
        let places = &AtomicUsize::new(1);
        let log = &Mutex::new(Vec::new());
        let (stops_at, meeting): (fn(usize) -> bool, _) = (|_| true, &Barrier::new(2));
        let has_place = false;
        let meeting = Some(meeting);
        run(2, 2, || Hand { places, has_place, log, stops_at, meeting });
        let log = log.lock().unwrap();
        assert_eq!(log.len(), 1, "{log:?}");
        assert!(log[0].ends_with("failed: no"), "{log:?}");
    }
}
