//! Two servers of a bucket. A program between one of them and the store holds a request back, as a
//! slow network or a server that is stopped does, until the other server has stored a newer file.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ftp_server::{Rights, S3Storage, Server};
use ftp_tests::peer::ObjectStore;
use ftp_tests::raw::RawSession;
use ftp_tests::wait::wait_until;

use super::stores::{place, storage_at, stores};

/// What is known of the request that is held.
#[derive(Default)]
struct Held {
    is_armed: AtomicBool,
    has_come: AtomicBool,
    may_go: AtomicBool,
    is_answered: AtomicBool,
}

impl Held {
    fn is(&self, what: fn(&Self) -> &AtomicBool) -> bool {
        what(self).load(Ordering::SeqCst)
    }

    fn set(&self, what: fn(&Self) -> &AtomicBool) {
        what(self).store(true, Ordering::SeqCst);
    }
}

/// Starts a program before a store, which holds the first request that begins like this.
fn hold(store: SocketAddr, first: &'static str) -> (SocketAddr, Arc<Held>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let held = Arc::new(Held::default());
    let all = Arc::clone(&held);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let Ok(there) = TcpStream::connect(store) else { return };
            let held = Arc::clone(&all);
            thread::spawn(move || relay(stream, &there, first, &held));
        }
    });
    (address, held)
}

fn relay(mut here: TcpStream, there: &TcpStream, first: &str, held: &Arc<Held>) {
    let (mut back, mut from) = (here.try_clone().unwrap(), there.try_clone().unwrap());
    let is_own = Arc::new(AtomicBool::new(false));
    let (own, answered) = (Arc::clone(&is_own), Arc::clone(held));
    let answers = thread::spawn(move || {
        let mut bytes = [0; 16_384];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            if own.load(Ordering::SeqCst) {
                answered.set(|it| &it.is_answered);
            }
            // The server may have given up.
            let _ = back.write_all(&bytes[..count]);
        }
        let _ = back.shutdown(std::net::Shutdown::Both);
    });
    let mut bytes = vec![0; 65_536];
    // A server sends the head of a request only after the answer to the request before.
    while let Ok(count @ 1..) = here.read(&mut bytes) {
        let is_first = held.is(|it| &it.is_armed) && bytes.starts_with(first.as_bytes());
        if is_first && !held.has_come.swap(true, Ordering::SeqCst) {
            wait_until("the request may go", || held.is(|it| &it.may_go));
            is_own.store(true, Ordering::SeqCst);
        }
        if (&*there).write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = there.shutdown(std::net::Shutdown::Write);
    let _ = answers.join();
}

fn serve(storage: S3Storage) -> (Server, RawSession) {
    let builder = Server::builder().storage(storage.keep_times(true));
    let server = builder.user("u", "p", Rights::FULL).bind("127.0.0.1:0").expect("a server");
    let mut session = RawSession::login(server.local_addr(), "u", "p");
    session.expect("TYPE I", 200);
    (server, session)
}

/// A command, its first request that changes something, and the file that it changes.
const CASES: [(&[&str], &str, &str); 4] = [
    (&["STOR f"], "PUT /bucket/files/f", "f"),
    (&["DELE f"], "DELETE /bucket/files/f", "f"),
    (&["RNFR f", "RNTO g"], "PUT /bucket/files/g", "g"),
    (&["MFMT 20200101000000 f"], "PUT /bucket/files/f", "f"),
];

/// Cases that fail: the store and the last command. Garage checks no condition, and moto none on the
/// target of a copy, as `--check` says.
const KNOWN: [(&str, &str); 5] = [
    ("Garage", "STOR"),
    ("Garage", "DELE"),
    ("Garage", "RNTO"),
    ("Garage", "MFMT"),
    ("moto", "RNTO"),
];

/// Plays a case, and returns what the file has at the end.
fn play(store: &ObjectStore, (lines, first, name): (&[&str], &'static str, &str)) -> Vec<u8> {
    let there = place(store);
    let (endpoint, keys) = there.split_once(' ').unwrap();
    let address = endpoint.trim_start_matches("http://").parse().unwrap();
    let (before, held) = hold(address, first);
    let (one, mut session) = serve(storage_at(&format!("http://{before} {keys}")));
    let (other, mut newer) = serve(storage_at(&there));
    for name in ["f", "g"] {
        newer.upload(format!("STOR {name}"), name.as_bytes());
    }
    held.set(|it| &it.is_armed);
    let (last, earlier) = lines.split_last().unwrap();
    earlier.iter().for_each(|line| drop(session.expect(line, 350)));
    let data = last.starts_with("STOR").then(|| session.passive());
    session.line(last);
    if let Some(data) = data {
        let _ = data.stream().write_all(b"the older content");
        data.close();
    }
    wait_until("the request comes", || held.is(|it| &it.has_come));
    // The client gives up, and stores a newer file by the other server.
    drop(session);
    wait_until("the session ends", || one.sessions().is_empty());
    newer.upload(format!("STOR {name}"), b"newer");
    held.set(|it| &it.may_go);
    wait_until("the request is answered", || held.is(|it| &it.is_answered));
    one.shutdown(Duration::from_secs(9));
    let mut left = Vec::new();
    let data = newer.passive();
    if newer.ask(format!("RETR {name}")).code == 150 {
        left = data.read_to_end();
        newer.expect_reply(226);
    }
    for name in ["f", "g"] {
        newer.ask(format!("DELE {name}"));
    }
    drop(newer);
    other.shutdown(Duration::from_secs(9));
    left
}

#[test]
fn a_request_that_is_held_back_replaces_no_newer_file_cm_102_cm_105() {
    for store in stores(1) {
        for case in CASES {
            let (what, left) = (case.0.last().unwrap(), play(&store, case));
            let is_of = |(name, verb): &(&str, &str)| *name == store.name && what.starts_with(verb);
            let is_known = KNOWN.iter().any(is_of);
            let is_newer = left == b"newer";
            println!("{}: {what}: {}", store.name, if is_newer { "newer" } else { "older" });
            assert!(is_newer || is_known, "{}: {what}: {}", store.name, left.escape_ascii());
        }
    }
}
