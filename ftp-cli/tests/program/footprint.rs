//! The costs of an idle server, in its own process.
//!
//! `cargo test --release -p ftp-cli --test program footprint -- --nocapture --test-threads=1` prints
//! the figures of `docs/figures.md`. A debug build is allowed twice as much for a session; the size of
//! its code does not count.

mod tls;

use std::io::Write;

use ftp_tests::raw::{DEADLINE, RawSession};
use ftp_tests::root::TempRoot;

use crate::figures::{THREADS_AT_REST, allow_descriptors, mapped, memory, threads};
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
const SESSIONS: u64 = 1_000;

#[test]
fn footprint_of_idle_sessions() {
    allow_descriptors();
    let root = TempRoot::new();
    let served = Served::start(&root, &["--user", "u:p"]);
    let process = served.running.child.id();
    drop(RawSession::login(served.address, "u", "p"));
    let [before, server, own] =
        ["Rss:", "Pss:", "Anonymous:"].map(|figure| mapped(process, figure));
    let mut sessions: Vec<_> = (0..SESSIONS)
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
    println!(
        "{SESSIONS} idle sessions: {grown} KiB, {:.1} KiB each",
        grown as f64 / SESSIONS as f64
    );
    let slack = if cfg!(debug_assertions) { 2 } else { 1 };
    assert!(cfg!(debug_assertions) || server <= IDLE_SERVER);
    assert!(own <= slack * IDLE_SERVER_OWN);
    assert!(grown <= slack * IDLE_SESSION * SESSIONS);
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
    assert!(grown < 64);
}
