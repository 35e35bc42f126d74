//! A server in a process of its own that is stopped at each of its requests to a store, while another
//! server stores a newer file, and that goes on when all its timeouts are over.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use ftp_tests::content::binary;
use ftp_tests::peer::ObjectStore;
use ftp_tests::raw::RawSession;
use ftp_tests::scale::{is_full, some};
use ftp_tests::wait::wait_until;
use rustix::process::Signal;

use super::stores::{HASTY, Served, login, place, serve};

/// The time without a request after which a server is taken to have nothing under way.
const QUIET: Duration = Duration::from_secs(1);

/// The requests of a server, of which one is special.
struct Requests {
    /// The number of requests that pass before the special one.
    left: AtomicUsize,
    is_armed: AtomicBool,
    has_come: AtomicBool,
    /// Whether the special one is held, as a slow network does. Otherwise its answer waits.
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
                let Ok(there) = TcpStream::connect(store) else { return };
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
                wait_until("the request may go", || self.may_go.load(Ordering::SeqCst));
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

    fn is_quiet(&self) -> bool {
        self.last.lock().unwrap().elapsed() > QUIET
    }
}

/// A command: its name, the lines, whether the file has several parts, and the file that the other
/// server stores.
type Case = (&'static str, &'static [&'static str], bool, &'static str);

const CASES: [Case; 9] = [
    ("STOR new", &["STOR n"], false, "n"),
    ("STOR over", &["STOR f"], false, "f"),
    ("STOR parts", &["STOR f"], true, "f"),
    ("APPE", &["APPE f"], false, "f"),
    ("DELE", &["DELE f"], false, "f"),
    ("RNTO new", &["RNFR f", "RNTO n"], false, "n"),
    ("RNTO over", &["RNFR f", "RNTO g"], false, "g"),
    ("RNTO source", &["RNFR f", "RNTO g"], false, "f"),
    ("MFMT", &["MFMT 20200101000000 f"], false, "f"),
];

/// The commands that lose a newer file at a store, as `--check` says of it: moto ignores the
/// conditions of a completion, and of the target of a copy.
const KNOWN: [(&str, &str); 3] =
    [("moto", "STOR parts"), ("moto", "RNTO new"), ("moto", "RNTO over")];

/// Stops a server at the request with this number. Returns whether the newer file is left, or `None`
/// if the command has no such request.
fn play(
    (stopped, requests): (&Served, &Requests),
    newer: &mut RawSession,
    (_, lines, is_large, file): Case,
    (number, is_held): (usize, bool),
) -> Option<bool> {
    for old in ["f", "g"] {
        newer.upload(format!("STOR {old}"), format!("the old {old}").as_bytes());
    }
    let mut session = login(stopped.address);
    let (last, earlier) = lines.split_last().unwrap();
    earlier.iter().for_each(|line| drop(session.expect(line, 350)));
    let connection = session.stream().try_clone().unwrap();
    let data = is_upload(last).then(|| session.passive());
    requests.arm(number, is_held);
    session.line(last);
    let (told, end) = mpsc::channel();
    let ending = thread::spawn(move || {
        if let Some(data) = data {
            let older = if is_large { binary((5 << 20) + 9, 4) } else { b"older".to_vec() };
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
        newer.upload(format!("STOR {file}"), b"newer");
        requests.may_go.store(true, Ordering::SeqCst);
        wait_until("its timeouts are over", || stopped_at.elapsed() > HASTY + QUIET);
        *requests.last.lock().unwrap() = Instant::now();
        stopped.signal(Signal::CONT);
        wait_until("it has ended all work", || requests.is_quiet());
        // A rename that began again may have moved it.
        is_left = [file, "g"].iter().any(|name| content(newer, name) == b"newer");
    }
    connection.shutdown(Shutdown::Both).ok();
    ending.join().unwrap();
    wait_until("it has ended all work", || requests.is_quiet());
    for line in ["DELE f", "DELE g", "DELE n"] {
        wait_until(line, || [250, 550].contains(&newer.ask(line).code));
    }
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

/// Stops a server of this store at each request of each command. Returns the number of cases.
fn stops(store: &ObjectStore) -> usize {
    let there = place(store);
    let (endpoint, keys) = there.split_once(' ').unwrap();
    let address = endpoint.trim_start_matches("http://").parse().unwrap();
    let (before, requests) = Requests::before(address);
    let stopped = Served::start(&format!("http://{before} {keys} hasty"));
    let other = serve(&there);
    let mut newer = login(other.local_addr());
    // The first rename tests the store.
    newer.upload("STOR f", b"");
    let mut warm = login(stopped.address);
    for line in ["RNFR f", "RNTO g", "DELE g"] {
        assert!(warm.ask(line).code < 400, "{line}");
    }
    let mut count = 0;
    // A plain run has another command for each store, and holds each request.
    for case in some(CASES.to_vec(), 1) {
        let is_known = KNOWN.contains(&(store.name, case.0));
        for is_held in [true, false] {
            for number in 0.. {
                let is_left = play((&stopped, &requests), &mut newer, case, (number, is_held));
                let Some(is_left) = is_left else { break };
                assert!(is_left || is_known, "{}: {}: request {number}", store.name, case.0);
                count += 1;
            }
            if !is_full() {
                break;
            }
        }
    }
    stopped.kill();
    count
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
