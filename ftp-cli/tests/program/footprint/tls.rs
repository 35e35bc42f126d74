//! The cost of an idle session under TLS. Raw TLS clients cost more than plain ones, so there are
//! fewer sessions than in plaintext.

use ftp_tests::raw::RawSession;
use ftp_tests::root::TempRoot;
use ftp_tests::tls::{Authority, Kind, PairFiles, TlsClient};

use crate::figures::{allow_descriptors, mapped, memory, threads};
use crate::serve::Served;

/// In KiB, of a release build.
const IDLE_TLS_SESSION: u64 = 30;
const SESSIONS: u64 = 500;

/// The memory that the kernel keeps for a sleeping thread, in KiB: `THREAD_SIZE` of x86-64 and
/// AArch64.
const KERNEL_STACK: u64 = 16;

/// The number of measurements: the gaps that the allocator leaves depend on which handshakes
/// overlap. They add up to 3 KiB per session in one process and nothing in the next.
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

/// Returns the cost of these sessions in a new server, in KiB, without and with the kernel's memory
/// for them.
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
    // Allocates the stacks of the threads for handshakes, and what these need once.
    drop((0..4).map(|_| log_in()).collect::<Vec<_>>());
    let kernel = || memory(process, "VmPTE:") + KERNEL_STACK * threads(process) as u64;
    // The pages of the program itself do not count: this process's share of them changes as other
    // tests run it, and no session has its own.
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
