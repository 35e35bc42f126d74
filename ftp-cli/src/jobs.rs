//! `--jobs`: several items at a time, each over a connection of its own. A server that takes no
//! further connection (421) gets fewer, and the items go to those that it took.

use std::ops::ControlFlow;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::exit::Failure;

/// The 421 of a server that takes no further session.
pub(crate) const SERVICE_CLOSING: u16 = 421;

/// Whoever works, with connections of their own. What is to be done they know by its number.
pub(crate) trait Worker {
    /// Makes sure that there is a connection for an item.
    ///
    /// # Errors
    ///
    /// Why there is none.
    fn connect(&mut self, item: usize) -> Result<(), Failure>;

    /// Does an item.
    ///
    /// # Errors
    ///
    /// Why it is not done.
    fn act(&mut self, item: usize) -> Result<(), Failure>;

    /// Tells that an item failed. `Break` if to go on with others would be no use.
    fn failed(&mut self, item: usize, failure: Failure) -> ControlFlow<()>;

    /// Parts with the servers.
    fn end(self: Box<Self>);
}

/// What is left, and how many work on it.
struct Queue {
    state: Mutex<State>,
    /// An item came back, or no more can, or it is over.
    settled: Condvar,
}

struct State {
    /// The next one is the last.
    items: Vec<usize>,
    workers: usize,
    /// How many items wait for a connection, and may come back.
    undecided: usize,
    /// To go on would be no use: what comes back now is not tried any more.
    is_over: bool,
}

/// Works through so many `items`, numbered from 0, with as many workers, made by `hire`, as there is
/// work for, up to `jobs`.
pub(crate) fn run<'a>(jobs: usize, items: usize, hire: &(dyn Fn() -> Box<dyn Worker + 'a> + Sync)) {
    let workers = jobs.clamp(1, items.max(1));
    let items = (0..items).rev().collect();
    let state = State { items, workers, undecided: 0, is_over: false };
    let queue = Queue { state: Mutex::new(state), settled: Condvar::new() };
    std::thread::scope(|threads| {
        for number in 1..workers {
            let name = format!("job {number}");
            let queue = &queue;
            let thread = std::thread::Builder::new().name(name);
            if thread.spawn_scoped(threads, move || work(queue, hire())).is_err() {
                // A thread more is nothing that anything depends on.
                queue.lock().workers -= 1;
            }
        }
        work(&queue, hire());
    });
}

/// Works until nothing is left, or others can do the rest.
fn work(queue: &Queue, mut worker: Box<dyn Worker + '_>) {
    while let Some(taken) = queue.next() {
        let item = taken.item;
        let done = match worker.connect(item) {
            Err(failure) if failure.code == Some(SERVICE_CLOSING) => {
                if taken.give_back() {
                    return worker.end();
                }
                Err(failure)
            }
            connected => {
                drop(taken);
                connected.and_then(|()| worker.act(item))
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
    /// The next item. `None` sends the worker home: nothing is left, nor can come back.
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
            state = self.settled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Nothing more is begun, not even what comes back later.
    fn end(&self) {
        let mut state = self.lock();
        state.items.clear();
        state.is_over = true;
        self.settled.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An item for which there is no connection yet. Until this is dropped, whoever has nothing to do
/// waits for it to come back.
struct Taken<'a> {
    queue: &'a Queue,
    item: usize,
}

impl Taken<'_> {
    /// Leaves the item to the others, if there are any, or to nobody once it is over: then the
    /// worker is to go home.
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
        self.queue.lock().undecided -= 1;
        self.queue.settled.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::exit::Exit;

    /// A server that takes so many connections at a time.
    struct Hand<'a> {
        places: &'a AtomicUsize,
        has_place: bool,
        log: &'a Mutex<Vec<String>>,
        stops_at: fn(usize) -> bool,
        /// Where the first that fails and one that has no place wait for each other.
        meeting: Option<&'a Barrier>,
    }

    impl Worker for Hand<'_> {
        fn connect(&mut self, _: usize) -> Result<(), Failure> {
            let take = |places: usize| places.checked_sub(1);
            let order = Ordering::SeqCst;
            self.has_place = self.has_place || self.places.fetch_update(order, order, take).is_ok();
            match self.has_place {
                true => Ok(()),
                false => {
                    self.meeting.map(Barrier::wait);
                    // Long enough for the others to be done with the rest.
                    std::thread::sleep(Duration::from_millis(5));
                    let mut failure = Failure::new(Exit::Temporary, "421 too many");
                    failure.code = Some(421);
                    Err(failure)
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

        fn end(self: Box<Self>) {}
    }

    fn done(jobs: usize, places: usize, items: usize, stops_at: fn(usize) -> bool) -> Vec<String> {
        let (places, log) = (AtomicUsize::new(places), Mutex::new(Vec::new()));
        let (places, log_of, has_place, meeting) = (&places, &log, false, None);
        run(jobs, items, &|| Box::new(Hand { places, has_place, log: log_of, stops_at, meeting }));
        let mut log = log.into_inner().unwrap();
        log.sort_by_key(|line| line.split(' ').next().unwrap().parse::<usize>().unwrap());
        log
    }

    #[test]
    fn a_server_that_takes_fewer_gets_fewer_and_nothing_is_lost() {
        let all = |count: usize| (0..count).map(|item| item.to_string()).collect::<Vec<_>>();
        for (jobs, places) in [(1, 1), (4, 4), (4, 1), (8, 2), (3, 100)] {
            assert_eq!(done(jobs, places, 50, |_| false), all(50), "{jobs} {places}");
        }
        assert_eq!(done(4, 4, 0, |_| false), all(0));
    }

    #[test]
    fn the_last_one_says_what_is_wrong() {
        let log = done(4, 0, 50, |_| false);
        assert_eq!(log.len(), 1, "{log:?}");
        assert!(log[0].ends_with("failed: 421 too many"), "{log:?}");
        assert_eq!(done(1, 1, 3, |item| item == 1), ["0", "1 failed: no"]);
    }

    #[test]
    fn what_comes_back_once_it_is_over_is_not_tried() {
        let (places, log) = (&AtomicUsize::new(1), &Mutex::new(Vec::new()));
        let (stops_at, meeting): (fn(usize) -> bool, _) = (|_| true, &Barrier::new(2));
        let (has_place, meeting) = (false, Some(meeting));
        run(2, 2, &|| Box::new(Hand { places, has_place, log, stops_at, meeting }));
        let log = log.lock().unwrap();
        assert_eq!(log.len(), 1, "{log:?}");
        assert!(log[0].ends_with("failed: no"), "{log:?}");
    }
}
