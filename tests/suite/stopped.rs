//! A server in a process of its own that is stopped at each of its requests to a store, while another
//! server stores a newer file, and that goes on, before or after all its timeouts are over.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use ftp_tests::at_once::at_once;
use ftp_tests::content::binary;
use ftp_tests::peer::ObjectStore;
use ftp_tests::raw::RawSession;
use ftp_tests::scale::{is_full, some};
use ftp_tests::wait::wait_until;
use rustix::process::Signal;

use super::stores::{HASTY, Served, login, place, serve};

/// Returns the seconds for which a server is stopped: `FTP_STOPPED=120`. Without this variable, it is
/// stopped for three.
fn seconds() -> Option<Duration> {
    let seconds = std::env::var("FTP_STOPPED").ok()?;
    Some(Duration::from_secs(seconds.parse().expect("a number of seconds")))
}

/// How a server is stopped at a request.
#[derive(Clone, Copy, Debug)]
struct Stop {
    /// Whether the request is held, as a slow network does. Otherwise its answer waits.
    is_held: bool,
    /// Whether all timeouts of the server are over when it goes on. Otherwise it believes the answer.
    is_hasty: bool,
}

impl Stop {
    /// Returns the time without a request after which a server is taken to have nothing under way.
    fn quiet(self) -> Duration {
        Duration::from_secs(if self.is_hasty { 1 } else { 4 })
    }
}

/// The requests of a server, of which one is special.
struct Requests {
    /// The number of requests that pass before the special one.
    left: AtomicUsize,
    is_armed: AtomicBool,
    has_come: AtomicBool,
    /// Whether the special one is held.
    is_held: AtomicBool,
    may_go: AtomicBool,
    last: Mutex<Instant>,
}

impl Requests {
    /// Starts a program before a store.
    fn before(store: SocketAddr) -> (SocketAddr, Arc<Self>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let [is_armed, has_come, is_held, may_go] = [false; 4].map(AtomicBool::new);
        let (left, last) = (AtomicUsize::new(0), Mutex::new(Instant::now()));
        let all = Arc::new(Self { left, is_armed, has_come, is_held, may_go, last });
        let requests = Arc::clone(&all);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let Ok(there) = TcpStream::connect(store) else { continue };
                let requests = Arc::clone(&requests);
                thread::spawn(move || requests.relay(stream, &there));
            }
        });
        (address, all)
    }

    fn relay(&self, mut here: TcpStream, there: &TcpStream) {
        let (mut back, mut from) = (here.try_clone().unwrap(), there.try_clone().unwrap());
        let answers = thread::spawn(move || {
            // The server may have given up.
            let _ = std::io::copy(&mut from, &mut back);
            let _ = back.shutdown(Shutdown::Both);
        });
        let mut bytes = vec![0; 65_536];
        // A server sends the head of a request only after the answer to the request before.
        while let Ok(count @ 1..) = here.read(&mut bytes) {
            *self.last.lock().unwrap() = Instant::now();
            let is_head = ["GET ", "HEAD ", "PUT ", "POST ", "DELETE "]
                .iter()
                .any(|method| bytes[..count].starts_with(method.as_bytes()));
            if is_head && self.is_special() && self.is_held.load(Ordering::SeqCst) {
                while !self.may_go.load(Ordering::SeqCst) {
                    thread::sleep(Duration::from_millis(1));
                }
            }
            if (&*there).write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        let _ = there.shutdown(Shutdown::Write);
        let _ = answers.join();
    }

    fn is_special(&self) -> bool {
        if !self.is_armed.load(Ordering::SeqCst) || self.has_come.load(Ordering::SeqCst) {
            return false;
        }
        let less = |left: usize| left.checked_sub(1);
        let is_last = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_err();
        is_last && !self.has_come.swap(true, Ordering::SeqCst)
    }

    fn arm(&self, number: usize, is_held: bool) {
        self.left.store(number, Ordering::SeqCst);
        self.has_come.store(false, Ordering::SeqCst);
        self.may_go.store(false, Ordering::SeqCst);
        self.is_held.store(is_held, Ordering::SeqCst);
        self.is_armed.store(true, Ordering::SeqCst);
    }

    fn wait_until_quiet(&self, stop: Stop) {
        let is_quiet = || self.last.lock().unwrap().elapsed() > stop.quiet();
        wait_until("it has ended all work", is_quiet);
    }
}

/// A command, and what another server stores meanwhile.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    lines: &'static [&'static str],
    /// Whether the file has several parts.
    is_large: bool,
    /// The directory that the other server makes, if it is not there.
    directory: Option<&'static str>,
    /// The file that the other server stores.
    file: &'static str,
}

const fn case(name: &'static str, lines: &'static [&'static str], file: &'static str) -> Case {
    Case { name, lines, is_large: false, directory: None, file }
}

const CASES: [Case; 14] = [
    case("STOR new", &["STOR n"], "n"),
    case("STOR over", &["STOR f"], "f"),
    Case { is_large: true, ..case("STOR parts", &["STOR f"], "f") },
    case("REST", &["REST 3", "STOR f"], "f"),
    case("APPE", &["APPE f"], "f"),
    case("DELE", &["DELE f"], "f"),
    case("RNTO new", &["RNFR f", "RNTO n"], "n"),
    case("RNTO over", &["RNFR f", "RNTO g"], "g"),
    case("RNTO source", &["RNFR f", "RNTO g"], "f"),
    Case { directory: Some("e"), ..case("RNTO tree", &["RNFR d", "RNTO e"], "e/f") },
    Case { directory: Some("d"), ..case("RNTO tree source", &["RNFR d", "RNTO e"], "d/f") },
    Case { directory: Some("n"), ..case("MKD", &["MKD n"], "n/f") },
    Case { directory: Some("m"), ..case("RMD", &["RMD m"], "m/f") },
    case("MFMT", &["MFMT 20200101000000 f"], "f"),
];

/// The command that loses a newer file at a store, as `--check` says of it: moto ignores the condition
/// that the target of a copy, or of a completion, is still the same.
const KNOWN: [(&str, &str); 1] = [("moto", "RNTO over")];

/// Stops a server at the request with this number. Returns whether the newer file is left, or `None`
/// if the command has no such request. Both work in `place`, a new directory.
fn play(
    (stopped, requests): (&Served, &Requests),
    newer: &mut RawSession,
    case: Case,
    (number, stop): (usize, Stop),
    place: &str,
) -> Option<bool> {
    newer.expect(format!("MKD {place}"), 257);
    newer.expect(format!("CWD {place}"), 250);
    ["MKD d", "MKD m"].into_iter().for_each(|line| drop(newer.expect(line, 257)));
    for old in ["f", "g", "d/f"] {
        newer.upload(format!("STOR {old}"), format!("the old {old}").as_bytes());
    }
    let mut session = login(stopped.address);
    session.expect(format!("CWD {place}"), 250);
    let (last, earlier) = case.lines.split_last().unwrap();
    earlier.iter().for_each(|line| drop(session.expect(line, 350)));
    let connection = session.stream().try_clone().unwrap();
    let data = is_upload(last).then(|| session.passive());
    requests.arm(number, stop.is_held);
    session.line(last);
    let (told, end) = mpsc::channel();
    let ending = thread::spawn(move || {
        if let Some(data) = data {
            let older = if case.is_large { binary((5 << 20) + 9, 4) } else { b"older".to_vec() };
            // The server may be stopped, or have refused it.
            let _ = data.stream().write_all(&older);
            data.close();
        }
        while session.try_reply().is_ok_and(|reply| reply.code < 200) {}
        let _ = told.send(());
    });
    let is_over = |limit| !matches!(end.recv_timeout(limit), Err(RecvTimeoutError::Timeout));
    let mut has_ended = false;
    wait_until("the request comes, or the reply", || {
        has_ended = has_ended || is_over(Duration::ZERO);
        has_ended || requests.has_come.load(Ordering::SeqCst)
    });
    let has_come = requests.has_come.load(Ordering::SeqCst);
    let mut is_left = true;
    if has_come {
        stopped.signal(Signal::STOP);
        let stopped_at = Instant::now();
        // The client gives up, and stores a newer file by the other server.
        connection.shutdown(Shutdown::Both).unwrap();
        case.directory.into_iter().for_each(|it| drop(newer.ask(format!("MKD {it}"))));
        newer.upload(format!("STOR {}", case.file), b"newer");
        requests.may_go.store(true, Ordering::SeqCst);
        let until = seconds().unwrap_or(HASTY + Duration::from_secs(1));
        thread::sleep(until.saturating_sub(stopped_at.elapsed()));
        *requests.last.lock().unwrap() = Instant::now();
        stopped.signal(Signal::CONT);
        requests.wait_until_quiet(stop);
        // A rename that began again may have moved it.
        is_left = [case.file, "g", "e/f"].iter().any(|name| content(newer, name) == b"newer");
    }
    connection.shutdown(Shutdown::Both).ok();
    ending.join().unwrap();
    requests.wait_until_quiet(stop);
    newer.expect("CDUP", 250);
    has_come.then_some(is_left)
}

fn is_upload(line: &str) -> bool {
    line.starts_with("STOR") || line.starts_with("APPE")
}

fn content(session: &mut RawSession, name: &str) -> Vec<u8> {
    let data = session.passive();
    if session.ask(format!("RETR {name}")).code != 150 {
        return Vec::new();
    }
    let content = data.read_to_end();
    session.expect_reply(226);
    content
}

/// The number of servers that are stopped at a time, each at other requests.
const AT_A_TIME: usize = 3;

/// Stops servers of this store at each request of a command. Returns the number of cases.
#[expect(clippy::print_stdout, reason = "it shows how many cases there are")]
fn stops_at_each(store: &ObjectStore, other: SocketAddr, case: Case, stop: Stop) -> usize {
    let stops = |first| stops_from(first, store, other, case, stop);
    let ends = at_once(AT_A_TIME, 0..AT_A_TIME, stops);
    let (count, lost): (Vec<_>, Vec<_>) = ends.into_iter().unzip();
    let (count, lost): (usize, usize) = (count.iter().sum(), lost.iter().sum());
    println!("{}: {} {stop:?}: {count}, {lost} lost", store.name, case.name);
    count
}

/// Stops a server at the request with the number `first` and at each [`AT_A_TIME`]th one after it. Returns how
/// many there are, and at how many the newer file was lost.
fn stops_from(
    first: usize,
    store: &ObjectStore,
    other: SocketAddr,
    case: Case,
    stop: Stop,
) -> (usize, usize) {
    let (before, requests) = Requests::before(store.address());
    let there = place(store);
    let (_, keys) = there.split_once(' ').unwrap();
    let hasty = if stop.is_hasty { " hasty" } else { "" };
    let stopped = Served::start(&format!("http://{before} {keys}{hasty}"));
    let (mut newer, name) = (login(other), format!("{} {stop:?} {first}", case.name));
    // The first rename tests the store.
    newer.upload(format!("STOR {name} f"), b"");
    let mut warm = login(stopped.address);
    for line in [format!("RNFR {name} f"), format!("RNTO {name} g"), format!("DELE {name} g")] {
        assert!(warm.ask(&line).code < 400, "{line}");
    }
    let is_known = KNOWN.contains(&(store.name, case.name));
    let (mut count, mut lost) = (0, 0);
    for number in (first..).step_by(AT_A_TIME) {
        let place = format!("{name} {number}");
        let is_left = play((&stopped, &requests), &mut newer, case, (number, stop), &place);
        let Some(is_left) = is_left else { break };
        assert!(is_left || is_known, "{}: {name}: request {number}", store.name);
        (count, lost) = (count + 1, lost + usize::from(!is_left));
    }
    stopped.kill();
    (count, lost)
}

/// Stops servers of this store at each request of each command. Returns the number of cases.
fn stops(store: &ObjectStore) -> usize {
    let other = serve(&place(store));
    // A plain run has another command for each store, holds each request, and believes the answer.
    let all = [(true, false), (false, false), (true, true), (false, true)];
    let count = if seconds().is_some() { 2 } else { all.len() };
    let stops = all.iter().take(if is_full() { count } else { 1 });
    let stops = stops.map(|&(is_held, is_hasty)| Stop { is_held, is_hasty });
    let cases = some(CASES.to_vec(), 1);
    let cases = cases.iter().flat_map(|case| stops.clone().map(move |stop| (*case, stop)));
    let at_a_time = if seconds().is_some() { 10 } else { 2 };
    let play = |(case, stop)| stops_at_each(store, other.local_addr(), case, stop);
    at_once(at_a_time, cases, play).into_iter().sum()
}

#[test]
fn a_server_that_is_stopped_at_a_request_changes_nothing_newer_on_moto_cm_102_cm_105() {
    let Some(store) = ObjectStore::moto() else { return };
    println!("{} cases", stops(&store));
}

#[test]
fn a_server_that_is_stopped_at_a_request_changes_nothing_newer_on_seaweedfs_cm_102_cm_105() {
    let Some(store) = ObjectStore::seaweedfs() else { return };
    println!("{} cases", stops(&store));
}
