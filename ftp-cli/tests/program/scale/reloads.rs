//! Reloads while very many sessions are connected and others log in.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use ftp_tests::raw::RawSession;
use ftp_tests::scale;
use ftp_tests::wait::wait_until;

use crate::config::{Configured, log_until};
use crate::figures::{allow_descriptors, open_descriptors, threads, wait_for_sweep};
use crate::serve::Served;

/// Threads that log in, transfer and leave without a pause.
const BUSY: usize = 4;

/// Ends the threads even if an assertion fails: their scope waits for them.
struct EndOnDrop<'a>(&'a AtomicBool);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn reloads_under_load_refuse_no_login_and_leave_nothing_at_scale_go_09_hf_15() {
    let (sessions, reloads) = (scale::count(100, 1_000), scale::count(10, 100));
    allow_descriptors();
    let text = |number: usize| {
        // What each reload replaces: the banner, the limits, the transfer log, the hooks and the users.
        format!(
            "server.banner = \"{number}\"\nlimits.per_address = 0\nlimits.per_user = {number}00\n\
             log.transfers = \"LOG{}\"\nhooks.stored = [\"/bin/true\"]\n\
             hooks.spool = \"SPOOL\"\ntransfer.sync = \"none\"\n\
             [anonymous]\nenabled = true\nroot = \"ROOT\"\nrights = \"full\"\n",
            number % 2
        )
    };
    let configured = Configured::new("");
    let write = |number: usize| {
        let text = text(number + 100).replace("LOG", configured.here.join("log").to_str().unwrap());
        let text = text.replace("SPOOL", configured.here.join("spool").to_str().unwrap());
        configured.write(&text);
    };
    write(0);
    let served: Served = configured.serve();
    let process = served.running.child.id();
    wait_for_sweep(process);
    let login = || {
        let mut session = RawSession::login(served.address, "anonymous", "p");
        session.expect("TYPE I", 200);
        session
    };
    let at_rest = threads(process);
    // The first sessions and the first reload start what then stays.
    served.signal("HUP");
    log_until(&served, "configuration reloaded");
    (0..2).for_each(|_| login().upload("STOR first", b"x"));
    wait_until("the end of all sessions", || threads(process) <= at_rest);
    let before = open_descriptors(process);
    let mut idle: Vec<RawSession> = (0..sessions).map(|_| login()).collect();

    let (is_over, logins) = (AtomicBool::new(false), AtomicUsize::new(0));
    let start = Instant::now();
    thread::scope(|scope| {
        let _end = EndOnDrop(&is_over);
        for number in 0..BUSY {
            let (is_over, logins, login) = (&is_over, &logins, &login);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let mut session = login();
                    let name = format!("file{number}");
                    session.upload(format!("STOR {name}"), name.as_bytes());
                    assert_eq!(session.download(format!("RETR {name}")), name.as_bytes());
                    logins.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for number in 1..=reloads {
            let before = logins.load(Ordering::Relaxed);
            write(number);
            served.signal("HUP");
            log_until(&served, "configuration reloaded; changed: server.banner");
            let greeting = RawSession::greeting(served.address).unwrap().text();
            assert_eq!(greeting, format!("220 {}", number + 100));
            // A login that began during the reload ends.
            wait_until("a login", || logins.load(Ordering::Relaxed) >= before + BUSY);
        }
    });
    println!("{reloads} reloads, {logins:?} logins, {sessions} sessions: {:?}", start.elapsed());
    // No session ended or lost its step.
    idle.iter_mut().for_each(RawSession::expect_in_step);
    drop(idle);
    wait_until("the end of all sessions", || threads(process) <= at_rest);
    wait_until("the descriptors are closed", || open_descriptors(process) <= before);
}
