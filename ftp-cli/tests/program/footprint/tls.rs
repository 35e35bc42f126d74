//! What an idle session costs under TLS. A client by hand costs more than that: the sessions are
//! fewer than in clear.

use ftp_tests::raw::RawSession;
use ftp_tests::root::TempRoot;
use ftp_tests::tls::{Authority, Kind, PairFiles, TlsClient};

use crate::figures::{allow_descriptors, mapped, memory, threads};
use crate::serve::Served;

/// In KiB, of a release build.
const IDLE_TLS_SESSION: u64 = 28;
const SESSIONS: u64 = 500;

/// What the kernel keeps for a thread that sleeps, in KiB: `THREAD_SIZE` of x86-64 and of AArch64.
const KERNEL_STACK: u64 = 16;

/// How often it is counted: what the allocator leaves between the blocks goes by how handshakes meet,
/// and makes up to 3 KiB of a session in one process and none in the next.
const TRIES: usize = if cfg!(debug_assertions) { 1 } else { 5 };

#[test]
fn footprint_of_idle_tls_sessions() {
    allow_descriptors();
    let (grown, all_in) = (0..TRIES).map(|_| count()).min().unwrap();
    let each = grown as f64 / SESSIONS as f64;
    let each_all_in = all_in as f64 / SESSIONS as f64;
    println!(
        "{SESSIONS} idle sessions under TLS: {grown} KiB, {each:.1} KiB each; {each_all_in:.1} with \
         the stacks and page tables of the kernel, and without its sockets; least of {TRIES}"
    );
    let slack = if cfg!(debug_assertions) { 2 } else { 1 };
    assert!(grown <= slack * IDLE_TLS_SESSION * SESSIONS, "{each:.1} KiB each");
}

/// What so many sessions take of a new server, in KiB, and with what the kernel keeps for them.
fn count() -> (u64, u64) {
    let (root, etc, authority) = (TempRoot::new(), TempRoot::new(), Authority::new());
    let PairFiles { certificate, key, .. } = authority.issue(Kind::Good).write(&etc, "server");
    let [certificate, key] = [&certificate, &key].map(|path| path.to_str().unwrap());
    let pair = ["--user", "u:p", "--tls-cert", certificate, "--tls-key", key];
    let served = Served::start(&root, &pair);
    let process = served.running.child.id();
    let log_in = || {
        let client = TlsClient::trusting(&authority);
        let mut session = RawSession::secure(served.address, &client, "u", "p");
        session.expect("PWD", 257);
        session.expect("TYPE I", 200);
        session
    };
    // Stacks of the threads for handshakes, and what they need once.
    drop((0..4).map(|_| log_in()).collect::<Vec<_>>());
    let kernel = || memory(process, "VmPTE:") + KERNEL_STACK * threads(process) as u64;
    // Without the pages of the program itself, of which more or fewer are this process's as other
    // tests run it beside: no session has any of its own.
    let of_sessions = || mapped(process, "Pss_Anon:");
    let (before, kernel_before) = (of_sessions(), kernel());
    let mut sessions: Vec<_> = (0..SESSIONS).map(|_| log_in()).collect();
    let grown = of_sessions().saturating_sub(before);
    let all_in = grown + kernel().saturating_sub(kernel_before);
    for session in &mut sessions {
        session.expect_in_step();
    }
    (grown, all_in)
}
