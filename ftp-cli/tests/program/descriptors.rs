//! `serve` when its descriptors run out, in a process of its own.

use std::time::{Duration, Instant};

use ftp_tests::raw::RawSession;
use ftp_tests::root::TempRoot;
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::serve::Served;

/// How many descriptors a process has open.
fn open_descriptors(process: u32) -> usize {
    std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().count()
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what} does not come");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// The system says that there are no descriptors before anybody connects; who does so later, when
/// there are some again, is a client like any other.
#[test]
fn a_client_that_comes_when_descriptors_are_free_again_is_served_ho_04() {
    let root = TempRoot::new();
    let served = Served::start(&root, &["--user", "u:p"]);
    let process = served.running.child.id();
    let login = || RawSession::login(served.address, "u", "p");
    let sessions: Vec<_> = (0..8).map(|_| login()).collect();
    let full = open_descriptors(process);
    let limit = Some(u64::try_from(full).unwrap());
    let id = Pid::from_raw(i32::try_from(process).unwrap());
    prlimit(id, Resource::Nofile, Rlimit { current: limit, maximum: limit }).unwrap();
    // The accept that waits already has its descriptor; the next one finds none.
    let last = login();
    wait_until("the end of descriptors", || open_descriptors(process) == full);
    drop(sessions);
    wait_until("the end of the sessions", || open_descriptors(process) < full - 4);
    login().expect_in_step();
    drop(last);
}
