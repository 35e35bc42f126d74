//! The costs of an idle server, in its own process.
//!
//! `cargo test --release -p ftp-cli --test program footprint -- --nocapture --test-threads=1` prints
//! the figures of `docs/figures.md`. A debug build is allowed twice as much for a session; the size of
//! its code does not count.

mod tls;

use std::io::Write;

use ftp_tests::raw::{DEADLINE, RawSession};
use ftp_tests::root::TempRoot;
use ftp_tests::scale::{count, some};
use ftp_tests::tls::{Authority, Kind, PairFiles, TlsClient};
use rustix::net::sockopt::set_socket_recv_buffer_size;

use crate::figures::{
    THREADS_AT_REST, allow_descriptors, mapped, memory, most_of_its_own, threads,
};
use crate::serve::Served;

/// In KiB, of a release build. The server's figure is its share (PSS): pages that other processes
/// have mapped count in part. Most of it is code, which belongs to it alone only while no other
/// server runs, so with one test at a time. How much code is mapped depends on the system's cache,
/// too: the same program had 5.3, 5.6 and 7.0 MiB on one computer, since each page fault maps the
/// cached pages around it. So this bound only says that no more than the program is mapped. A debug
/// build has several times as much. Its own data is measured too, and does not vary; a debug build
/// has up to twice as much, with its larger tables of relocated addresses.
const IDLE_SERVER: u64 = 8 * 1_024;
const IDLE_SERVER_OWN: u64 = 1_024;
const IDLE_SESSION: u64 = 26;

#[test]
fn footprint_of_idle_sessions() {
    allow_descriptors();
    let count = count(200, 1_000) as u64;
    let root = TempRoot::new();
    let served = Served::start(&root, &["--user", "u:p"]);
    let process = served.running.child.id();
    drop(RawSession::login(served.address, "u", "p"));
    let [before, server, own] =
        ["Rss:", "Pss:", "Anonymous:"].map(|figure| mapped(process, figure));
    let mut sessions: Vec<_> = (0..count)
        .map(|_| {
            let mut session = RawSession::login(served.address, "u", "p");
            session.expect("PWD", 257);
            session.expect("TYPE I", 200);
            session
        })
        .collect();
    let grown = mapped(process, "Rss:").saturating_sub(before);
    for session in &mut sessions {
        session.expect_in_step();
    }
    println!("server with no client: {server} KiB, {before} KiB resident, {own} KiB of its own");
    println!("{count} idle sessions: {grown} KiB, {:.1} KiB each", grown as f64 / count as f64);
    let slack = if cfg!(debug_assertions) { 2 } else { 1 };
    assert!(cfg!(debug_assertions) || server <= IDLE_SERVER);
    assert!(own <= slack * IDLE_SERVER_OWN);
    assert!(grown <= slack * IDLE_SESSION * count);
}

/// Memory of a session in KiB, with which the server computes the limit on sessions.
const UNREAD_SESSION: u64 = 128;

/// Memory of the names of a listing in KiB that the server reads ahead, within a bound of its own for
/// all sessions.
const NAMES: u64 = 1_024;

/// What a client leaves unread, whether it is data, and the memory that has another bound.
const UNREAD: [(&str, bool, u64); 8] = [
    ("STAT d", false, 0),
    ("HELP", false, 0),
    ("FEAT", false, 0),
    ("MLST d", false, 0),
    ("RETR large", true, 0),
    ("NLST d", true, NAMES),
    ("LIST d", true, NAMES),
    ("MLSD d", true, NAMES),
];

#[test]
fn footprint_of_sessions_whose_clients_read_nothing_ho_01() {
    const COUNT: u64 = 40;
    let (root, etc, authority) = (TempRoot::new(), TempRoot::new(), Authority::new());
    let PairFiles { certificate, key, .. } = authority.issue(Kind::Good).write(&etc, "server");
    let [certificate, key] = [&certificate, &key].map(|path| path.to_str().unwrap());
    (0..1_000).for_each(|number| drop(root.write(format!("d/{number:0>250}"), b"")));
    std::fs::File::create(root.path().join("large")).unwrap().set_len(64 << 20).unwrap();
    let slack = if cfg!(debug_assertions) { 2 } else { 1 };
    let cases = UNREAD.into_iter().flat_map(|unread| [false, true].map(|is_tls| (unread, is_tls)));
    for ((what, is_data, more), is_tls) in some(cases.collect(), 4) {
        let users = ["--user", "u:p", "--tls-cert", certificate, "--tls-key", key];
        let served = Served::start(&root, &users);
        let (process, client) = (served.running.child.id(), TlsClient::trusting(&authority));
        let log_in = || match is_tls {
            true => RawSession::secure(served.address, &client, "u", "p"),
            false => RawSession::login(served.address, "u", "p"),
        };
        drop(log_in());
        let before = mapped(process, "Anonymous:");
        let begin = |_| {
            let mut session = log_in();
            set_socket_recv_buffer_size(session.stream(), 4_096).unwrap();
            let data = is_data.then(|| session.passive());
            if let Some(data) = &data {
                set_socket_recv_buffer_size(data.stream(), 4_096).unwrap();
            }
            session.send(format!("{what}\r\n"));
            let is_shaken = is_tls && is_data;
            let data = data.map(|data| match is_shaken {
                true => (None, Some(data.tls(&client))),
                false => (Some(data), None),
            });
            let next = if is_data { "NOOP" } else { what };
            session.send(format!("{next}\r\n").repeat(250));
            (session, data)
        };
        let sessions: Vec<_> = (0..COUNT).map(begin).collect();
        let each = most_of_its_own(process).saturating_sub(before) / COUNT;
        let tls = if is_tls { " under TLS" } else { "" };
        println!("a session with {what} unread{tls}: {each} KiB");
        assert!(each <= slack * (UNREAD_SESSION + more), "{what}{tls}: {each} KiB");
        drop(sessions);
    }
}

#[test]
fn footprint_of_a_line_of_1_gib_hs_01() {
    let root = TempRoot::new();
    let mut served = Served::start(&root, &["--user", "u:p"]);
    let process = served.running.child.id();
    let block = vec![b'x'; 1 << 20];
    let mut rest = || {
        let ended = || (threads(process) <= THREADS_AT_REST).then_some(());
        served.running.wait_until(DEADLINE, ended).expect("the session ends");
    };
    let address = served.address;
    let endless = |rest: &mut dyn FnMut()| {
        let session = RawSession::login(address, "u", "p");
        // The server stops reading long before the end; then writing fails.
        let sent = (0..1_024).take_while(|_| session.stream().write_all(&block).is_ok()).count();
        assert!(sent < 1_024, "all of it was taken");
        drop(session);
        rest();
        // The server still works.
        RawSession::login(address, "u", "p").expect_in_step();
    };
    // The first run touches code and stacks for the first time, which the line does not cause.
    endless(&mut rest);
    rest();
    let before = memory(process, "VmHWM:");
    endless(&mut rest);
    let grown = memory(process, "VmHWM:").saturating_sub(before);
    println!("a line of 1 GiB: {grown} KiB at most");
    // The counter can lag by some hundred pages for each processor.
    assert!(grown < 4_096);
}
