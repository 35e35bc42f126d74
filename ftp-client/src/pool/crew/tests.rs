use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use ftp_proto::{Reply, ReplyCode, Verb};

use super::*;

fn too_many() -> Error {
    let code = ReplyCode::new(530).unwrap();
    Error::Refused(Verb::Pass, Reply::new(code, "too many"))
}

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
    fn connect(&mut self, _: usize) -> Result<(), NotLent> {
        let take = |places: usize| places.checked_sub(1);
        let order = Ordering::SeqCst;
        self.has_place = self.has_place || self.places.fetch_update(order, order, take).is_ok();
        match self.has_place {
            true => Ok(()),
            false => {
                self.meeting.map(Barrier::wait);
                // Long enough for the others to finish the rest.
                thread::sleep(Duration::from_millis(5));
                Err(NotLent::Fewer(too_many()))
            }
        }
    }

    fn client(&self) -> Option<&Client> {
        None
    }

    fn act(&mut self, item: usize, _: &[usize]) -> Result<bool, Error> {
        // A worker that begins alone connects here.
        if !self.has_place {
            self.connect(item).map_err(NotLent::into_error)?;
        }
        match (self.stops_at)(item) {
            true => Err(Error::Closed),
            false => {
                self.log.lock().unwrap().push(item.to_string());
                Ok(true)
            }
        }
    }

    fn failed(&mut self, item: usize, failure: Error) -> ControlFlow<()> {
        let mut log = self.log.lock().unwrap();
        log.push(format!("{item} failed: {failure}"));
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
    work(Some(jobs), items, None, |_| Hand { places, has_place, log: log_of, stops_at, meeting });
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
    assert!(log[0].ends_with("failed: PASS refused: 530 too many"), "{log:?}");
    assert_eq!(
        done(1, 1, 3, |item| item == 1),
        ["0", "1 failed: the control connection is closed"]
    );
}

#[test]
fn a_job_put_back_after_the_end_is_not_tried() {
    let places = &AtomicUsize::new(1);
    let log = &Mutex::new(Vec::new());
    let (stops_at, meeting): (fn(usize) -> bool, _) = (|_| true, &Barrier::new(2));
    let has_place = false;
    let meeting = Some(meeting);
    work(Some(2), 2, None, |_| Hand { places, has_place, log, stops_at, meeting });
    let log = log.lock().unwrap();
    assert_eq!(log.len(), 1, "{log:?}");
    assert!(log[0].ends_with("failed: the control connection is closed"), "{log:?}");
}
