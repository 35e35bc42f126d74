use std::io::Write;
use std::net::TcpListener;
use std::ops::Range;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use ftp_proto::{Reply, ReplyCode, Verb};

use super::*;

fn too_many() -> Error {
    let code = ReplyCode::new(530).unwrap();
    Error::Refused { verb: Verb::Pass, reply: Reply::new(code, "too many") }
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
    client: Option<Client>,
}

impl Worker for Hand<'_> {
    fn connect(&mut self, _: usize) -> Result<(), Error> {
        let take = |places: usize| places.checked_sub(1);
        let order = Ordering::SeqCst;
        self.has_place = self.has_place || self.places.fetch_update(order, order, take).is_ok();
        match self.has_place {
            true => Ok(()),
            false => {
                self.meeting.map(Barrier::wait);
                // Long enough for the others to finish the rest.
                thread::sleep(Duration::from_millis(5));
                Err(Error::Fewer(too_many().into()))
            }
        }
    }

    fn client(&self) -> Option<&Client> {
        self.client.as_ref()
    }

    fn act(&mut self, item: usize, _: &[usize]) -> Result<bool, Error> {
        // A worker that begins alone connects here.
        if !self.has_place {
            self.connect(item).map_err(Error::met)?;
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

    fn end(self) {
        self.places.fetch_add(usize::from(self.has_place), Ordering::SeqCst);
    }
}

fn done(jobs: usize, places: usize, items: usize, stops_at: fn(usize) -> bool) -> Vec<String> {
    let places = AtomicUsize::new(places);
    let log = Mutex::new(Vec::new());
    let places = &places;
    let log_of = &log;
    let has_place = false;
    let meeting = None;
    Hand::work(Some(jobs), items, None, |_| Hand {
        places,
        has_place,
        log: log_of,
        stops_at,
        meeting,
        client: None,
    });
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

fn queue(items: Vec<usize>, workers: usize, growth: Option<Growth>) -> Queue {
    let (busy, hired, is_over, attempt) = (Vec::new(), workers - 1, false, None);
    let state = CrewState { items, busy, workers, hired, is_over, growth, attempt };
    Queue { state: Mutex::new(state), started: Instant::now() }
}

#[test]
fn a_worker_that_has_ended_gets_no_share_of_what_comes_back() {
    let (queue, mut row) = (queue(Vec::new(), 2, None), VecDeque::new());
    assert_eq!(queue.next(&mut row), None);
    queue.lock().items = vec![2, 1, 0];
    queue.take_row(3, &mut row);
    assert_eq!(row, [0, 1, 2]);
}

#[test]
fn a_joining_worker_that_loses_its_connection_is_the_last_one() {
    let queue = &queue(vec![0], 2, Some(Growth::new(Some(1))));
    let (places, log) = (&AtomicUsize::new(0), &Mutex::new(Vec::new()));
    let (has_place, stops_at, meeting): (_, fn(usize) -> bool, _) = (false, |_| false, None);
    let hire = &|_: usize| Hand { places, has_place, log, stops_at, meeting, client: None };
    let spare = &Mutex::new(None);
    let tried = thread::scope(|threads| {
        let crew = Crew { queue, hire, spare, threads };
        crew.attempt(&mut hire(1), &mut Standing::OnProbation, 0, &mut VecDeque::new())
    });
    assert!(matches!(tried, Tried::Back));
    assert!(queue.is_refused());
}

/// Returns a client whose server has ended the connection, which it does not know.
fn ended_client() -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = thread::spawn(move || listener.accept().unwrap().0.write_all(b"220 ready\r\n"));
    let client = Client::builder().connect(&address).unwrap();
    server.join().unwrap().unwrap();
    let begun = Instant::now();
    while !client.control.has_ended() {
        assert!(begun.elapsed() < Duration::from_secs(60));
        thread::sleep(Duration::from_millis(1));
    }
    assert!(client.control.is_open());
    client
}

#[test]
fn a_connection_that_ends_between_two_items_ends_the_growth_of_the_crew_cl_77() {
    for (standing, has_left) in
        [(Standing::First, false), (Standing::OnProbation, true), (Standing::Joined, true)]
    {
        let mut growth = Growth::new(Some(1));
        growth.dialled(true, Duration::ZERO);
        let queue = &queue(vec![1, 0], 2, Some(growth));
        let (places, log) = (&AtomicUsize::new(1), &Mutex::new(Vec::new()));
        let (has_place, stops_at, meeting): (_, fn(usize) -> bool, _) = (false, |_| false, None);
        let hire = &|_: usize| {
            let client = Some(ended_client());
            Hand { places, has_place, log, stops_at, meeting, client }
        };
        let (spare, mut standing) = (&Mutex::new(None), standing);
        let tried = thread::scope(|threads| {
            let crew = Crew { queue, hire, spare, threads };
            crew.attempt(&mut hire(1), &mut standing, 0, &mut VecDeque::new())
        });
        assert_eq!((matches!(tried, Tried::Back), queue.is_refused()), (has_left, true));
        assert_eq!(log.lock().unwrap().len(), usize::from(!has_left));
    }
}

#[test]
fn a_job_put_back_after_the_end_is_not_tried() {
    let places = &AtomicUsize::new(1);
    let log = &Mutex::new(Vec::new());
    let (stops_at, meeting): (fn(usize) -> bool, _) = (|_| true, &Barrier::new(2));
    let has_place = false;
    let meeting = Some(meeting);
    let hire = |_| Hand { places, has_place, log, stops_at, meeting, client: None };
    Hand::work(Some(2), 2, None, hire);
    let log = log.lock().unwrap();
    assert_eq!(log.len(), 1, "{log:?}");
    assert!(log[0].ends_with("failed: the control connection is closed"), "{log:?}");
}

/// A server and the way to it, in seconds.
#[derive(Clone, Copy)]
struct World {
    round_trip: f64,
    login: f64,
    /// Round trips that a file waits for.
    waits: f64,
    /// Seconds of the common link, disk or processor that each file takes.
    shared: f64,
    /// Connections that the server accepts.
    limit: usize,
}

/// Runs `files` files through the rule. Returns the seconds, the most connections, and the number
/// of refused ones.
fn run(world: World, files: usize, largest: Option<u64>) -> (f64, usize, usize) {
    let mut growth = Growth::new(largest);
    let seconds = Duration::from_secs_f64;
    let pace = Pace { reply: seconds(world.round_trip), login: seconds(world.login) };
    // Per worker: when it is free, and when its file began. Workers that are logging in are apart.
    let (mut workers, mut dialling) = (vec![(0.0, 0.0)], None);
    let (mut left, mut link, mut refused) = (files, 0.0_f64, 0);
    let mut now = 0.0;
    let mut begin = |now: f64, left: &mut usize| {
        *left -= 1;
        link = link.max(now) + world.shared;
        ((now + world.waits * world.round_trip + world.shared).max(link), now)
    };
    workers[0] = begin(0.0, &mut left);
    let mut most = 1;
    loop {
        if dialling.is_none() && growth.wants_another(left, pace, seconds(now)) {
            dialling = Some(now + world.login);
        }
        let next = (0..workers.len()).min_by(|a, b| workers[*a].0.total_cmp(&workers[*b].0));
        let ends = next.map_or(f64::INFINITY, |at| workers[at].0);
        if let Some(at) = dialling.filter(|at| *at <= ends) {
            (now, dialling) = (at, None);
            let accepted = workers.len() < world.limit;
            growth.dialled(accepted, seconds(now));
            refused += usize::from(!accepted);
            if accepted && left > 0 {
                workers.push(begin(now, &mut left));
                most = most.max(workers.len());
            }
            continue;
        }
        let Some(at) = next else { return (now, most, refused) };
        now = ends;
        growth.file_ended(seconds(now - workers[at].1));
        match left {
            0 => drop(workers.remove(at)),
            _ => workers[at] = begin(now, &mut left),
        }
    }
}

const FAR: World =
    World { round_trip: 0.05, login: 0.3, waits: 3.0, shared: 0.0007, limit: usize::MAX };

#[test]
fn connections_grow_where_files_wait_for_replies() {
    let lan = World { round_trip: 0.0001, login: 0.0006, shared: 0.0003, ..FAR };
    let farther = World { round_trip: 0.2, login: 1.2, ..FAR };
    for (world, files, most, at_most) in [
        (FAR, 1, 1, 0.2),
        (FAR, 10, 2, 1.5),
        (FAR, 200, 4, 8.9),
        (FAR, 5_000, 4, 195.0),
        (farther, 200, 4, 35.0),
        (lan, 1_000, 4, 1.0),
    ] {
        let (seconds, connections, refused) = run(world, files, Some(4_096));
        assert_eq!((connections, refused), (most, 0), "{files} files at {}", world.round_trip);
        assert!(seconds <= at_most, "{files} files took {seconds}");
    }
}

#[test]
fn a_full_link_and_few_files_stay_with_few_connections() {
    // Files of 20 MiB at 50 Mbit/s wait for bytes.
    let big = World { shared: 3.4, ..FAR };
    assert_eq!(run(big, 20, Some(20 << 20)).1, 1);
    // A login that costs more than it saves: two seconds for PAM.
    assert_eq!(run(World { login: 2.0, ..FAR }, 20, Some(4_096)).1, 1);
    // A server that carries out one command after the other: the third connection gains nothing.
    let serial = World { round_trip: 0.001, login: 0.05, waits: 1.0, shared: 0.004, ..FAR };
    assert_eq!(run(serial, 1_000, Some(4_096)).1, 3);
}

#[test]
fn at_most_one_connection_is_refused() {
    for limit in [1, 2, 3] {
        let (_, most, refused) = run(World { limit, ..FAR }, 200, Some(4_096));
        assert_eq!((most, refused), (limit, 1));
    }
}

#[test]
fn the_first_file_must_end_if_its_size_is_unknown() {
    let mut growth = Growth::new(None);
    let pace = Pace { reply: Duration::from_millis(50), login: Duration::from_millis(300) };
    assert!(!growth.wants_another(100, pace, Duration::ZERO));
    growth.file_ended(Duration::from_millis(200));
    assert!(growth.wants_another(100, pace, Duration::from_millis(200)));
    // One at a time.
    assert!(!growth.wants_another(100, pace, Duration::from_millis(400)));
}

/// A server that begins only this many transfers at a time and refuses the others, and accepts only this
/// many connections.
struct BusyServer {
    transfers: usize,
    connections: usize,
    /// Items that it always refuses.
    locked: Range<usize>,
}

#[derive(Default)]
struct Load {
    transfers: usize,
    connections: usize,
    log: Vec<String>,
}

struct BusyHand<'a> {
    server: &'a BusyServer,
    load: &'a Mutex<Load>,
    is_connected: bool,
    /// Whether the server has refused a transfer, and says so once more.
    is_in_doubt: bool,
}

impl Worker for BusyHand<'_> {
    fn connect(&mut self, _: usize) -> Result<(), Error> {
        let mut load = lock(self.load);
        if !self.is_connected && load.connections == self.server.connections {
            return Err(Error::Fewer(too_many().into()));
        }
        load.connections += usize::from(!std::mem::replace(&mut self.is_connected, true));
        Ok(())
    }

    fn client(&self) -> Option<&Client> {
        None
    }

    fn repeats(&self, _: usize) -> bool {
        true
    }

    fn act(&mut self, item: usize, _: &[usize]) -> Result<bool, Error> {
        self.connect(item).map_err(Error::met)?;
        if std::mem::take(&mut self.is_in_doubt) {
            return Err(Error::Desynchronised);
        }
        let mut load = lock(self.load);
        self.is_in_doubt = load.transfers == self.server.transfers;
        if self.is_in_doubt || self.server.locked.contains(&item) {
            let reply = Reply::new(ReplyCode::new(451).unwrap(), "too many transfers");
            return Err(Error::Refused { verb: Verb::Retr, reply });
        }
        load.transfers += 1;
        drop(load);
        thread::sleep(Duration::from_micros(item as u64 % 3 * 100));
        let mut load = lock(self.load);
        load.transfers -= 1;
        load.log.push(item.to_string());
        Ok(true)
    }

    fn failed(&mut self, item: usize, failure: Error) -> ControlFlow<()> {
        lock(self.load).log.push(format!("{item}: {failure}"));
        ControlFlow::Continue(())
    }

    fn end(self) {
        lock(self.load).connections -= usize::from(self.is_connected);
    }
}

/// Each item is handled or reported once, whichever worker leaves, and fails only if one worker alone cannot
/// handle it.
#[test]
fn limits_of_transfers_and_connections_lose_no_item_cl_77() {
    let mut cases = 0;
    for (jobs, transfers, connections) in (1..=5).flat_map(|jobs| {
        (1..=jobs).flat_map(move |most| (1..=jobs).map(move |open| (jobs, most, open)))
    }) {
        for locked in [0..0, 0..1, 3..7, 0..20] {
            let server = &BusyServer { transfers, connections, locked: locked.clone() };
            let load = &Mutex::default();
            let hire = |_| BusyHand { server, load, is_connected: false, is_in_doubt: false };
            BusyHand::work(Some(jobs), 20, None, hire);
            let Load { mut log, .. } = std::mem::take(&mut *lock(load));
            log.sort_by_key(|line| line.split(':').next().unwrap().parse::<usize>().unwrap());
            let want = (0..20).map(|item| match locked.contains(&item) {
                true => format!("{item}: RETR refused: 451 too many transfers"),
                false => item.to_string(),
            });
            assert_eq!(log, want.collect::<Vec<_>>(), "{jobs} {transfers} {connections}");
            cases += 1;
        }
    }
    assert_eq!(cases, 220);
}
