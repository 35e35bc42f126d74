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

#[test]
fn the_exit_code_is_partial_if_some_files_succeeded() {
    let messages = Messages::new(std::io::sink(), false);
    let events = Events::default();
    let failure = |exit, fatal| Failure { fatal, ..Failure::new(exit, "no") };
    for (all, done, failures, want, words) in [
        (1, 0, &[(Exit::Refused, false)][..], Exit::Refused, "no"),
        (3, 2, &[(Exit::Refused, false)], Exit::Partial, "2 of 3 files sent, 1 failed, 0 not"),
        (3, 1, &[(Exit::Temporary, true)], Exit::Partial, "no; 1 of 3 files sent, 1 failed, 1"),
        (2, 0, &[(Exit::Local, false), (Exit::Refused, false)], Exit::Refused, "0 of 2 files"),
        (2, 1, &[(Exit::Interrupted, true)], Exit::Interrupted, "no; 1 of 2 files"),
    ] {
        let mut tally = Tally::new(all, "files sent", &messages, &events);
        (0..done).for_each(|_| tally.done());
        for (exit, fatal) in failures {
            let flow = tally.failed(failure(*exit, *fatal), |error| error);
            assert_eq!(flow.is_break(), *fatal);
        }
        let failure = tally.finish().unwrap_err();
        assert_eq!(failure.exit, want);
        assert!(failure.reported && failure.message.starts_with(words), "{}", failure.message);
    }
    let mut tally = Tally::new(2, "files sent", &messages, &events);
    tally.done();
    tally.done();
    assert!(tally.finish().is_ok());
}
