//! Very many sessions, one after another and at the same time, and very many commands in one.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ftp_tests::raw::{DEADLINE, RawData, RawSession};
use ftp_tests::root::TempRoot;
use ftp_tests::scale;
use ftp_tests::wait::{at_last, wait_until};

use crate::figures::{
    allow_descriptors, mapped, memory, open_descriptors, resident, threads, wait_for_rest,
};
use crate::ftp;
use crate::serve::Served;

/// In KiB: the memory that 100,000 sessions may leave allocated, or that many commands of one
/// session.
const LEFT_BY_SESSIONS: u64 = 2 * 1_024;
const LEFT_BY_COMMANDS: u64 = 1_024;

/// In KiB, of a release build. A debug build may use twice as much.
const IDLE_SESSION: u64 = 21;

/// The longest duration of a login under any load.
const LOGIN: Duration = Duration::from_secs(1);

/// The actions of a session before it ends; every second one fails.
const DEEDS: [fn(&mut RawSession); 12] = [
    |session| assert_eq!(session.download("RETR file"), [b'x'; 10_000]),
    // A missing object.
    |session| {
        session.expect("PASV", 227);
        session.expect("RETR nothing", 550);
    },
    |session| session.upload("STOR new", &[b'x'; 1_000]),
    // An upload that is reset.
    |session| {
        let mut data = session.passive();
        session.expect("STOR other", 150);
        data.write_all(&[b'x'; 1_000]);
        data.reset();
        session.expect_reply(426);
    },
    |session| assert!(!session.download("MLSD").is_empty()),
    // A download that is reset.
    |session| {
        let mut data = session.passive();
        session.expect("RETR large", 150);
        let _ = data.read_exact(1);
        data.reset();
        session.expect_reply(426);
    },
    |session| assert!(!session.download("LIST").is_empty()),
    // A port without a listener.
    |session| {
        let _nobody = session.active_without_listening();
        session.expect("APPE nothing", 150);
        session.expect_reply(425);
    },
    |session| {
        let listener = session.active();
        session.expect("RETR file", 150);
        assert_eq!(listener.accept().read_to_end(), [b'x'; 10_000]);
        session.expect_reply(226);
    },
    // An upload that is aborted.
    |session| {
        let mut data = session.passive();
        session.expect("STOU", 150);
        data.write_all(&[b'x'; 1_000]);
        session.expect("ABOR", 426);
        session.expect_reply(226);
    },
    |session| {
        session.expect("MKD made", 257);
        session.expect("RMD made", 250);
    },
    // A session that ends before its transfer begins.
    |session| {
        session.expect("PASV", 227);
        session.expect("STOR other", 150);
    },
];

/// Runs one session from beginning to end, with or without QUIT.
fn one(address: SocketAddr, number: usize) {
    let mut session = RawSession::login(address, "u", "p");
    DEEDS[number % DEEDS.len()](&mut session);
    let is_in_transfer = number % DEEDS.len() == DEEDS.len() - 1;
    if !is_in_transfer && number.is_multiple_of(3) {
        session.expect("QUIT", 221);
        session.expect_closed();
    }
}

#[test]
fn sequential_sessions_leak_nothing_at_scale_go_09_ho_11() {
    let count = scale::count(1_000, 100_000);
    let root = TempRoot::new();
    root.write("file", &[b'x'; 10_000]);
    std::fs::File::create(root.join("large")).unwrap().set_len(16 << 20).unwrap();
    let mut serve = ftp(&["serve", "--listen", "0.0.0.0:0", "--user", "u:p", "--write"]);
    let served = Served::of(
        serve
            .args(["--set", "transfer.sync=none", "--set", "transfer.partial=discard"])
            .arg(root.path()),
    );
    let process = served.running.child.id();
    wait_for_rest(process);
    // Each loopback address has its own ports for clients; otherwise closed connections would use
    // up all ports.
    let address = |number: usize| {
        let last = u8::try_from(number % 200 + 1).unwrap();
        SocketAddr::from(([127, 0, 0, last], served.address.port()))
    };
    let at_rest = threads(process);
    let ended = || wait_until("the end of all sessions", || threads(process) <= at_rest);
    // Code that runs for the first time is read from disk, which is not a leak of sessions.
    (0..DEEDS.len()).for_each(|number| one(address(number), number));
    ended();
    let (alone, before) = (open_descriptors(process), resident(process));
    let start = Instant::now();
    (0..count).for_each(|number| one(address(number), number));
    ended();
    let left = resident(process).saturating_sub(before);
    println!("{count} sessions in {:?}: {left} KiB of {before} KiB left", start.elapsed());
    assert_eq!(open_descriptors(process), alone);
    assert_eq!(root.published(), [&b"file"[..], b"large", b"new"]);
    assert!(left < LEFT_BY_SESSIONS, "{left} KiB");
}

/// Commands of every kind with their codes, after which the session is unchanged. Those of
/// [`DEEDS`] move data.
const COMMANDS: &[(&str, u16)] = &[
    ("NOOP", 200),
    ("USER u", 530),
    ("PASS p", 503),
    ("ACCT x", 202),
    ("SYST", 215),
    ("FEAT", 211),
    ("HELP", 214),
    ("HELP RETR", 214),
    ("STAT", 211),
    ("STAT .", 212),
    ("STAT f*", 212),
    ("OPTS UTF8 ON", 200),
    ("OPTS MLST size;modify;type;perm;unique;UNIX.mode;", 200),
    ("OPTS HASH SHA-1", 200),
    ("OPTS HASH SHA-256", 200),
    ("CLNT test", 200),
    ("LANG", 200),
    ("TYPE A", 200),
    ("SIZE file", 213),
    ("TYPE I", 200),
    ("STRU F", 200),
    ("MODE S", 200),
    ("MODE Z", 504),
    ("PWD", 257),
    ("CWD d", 250),
    ("CDUP", 250),
    ("CWD nowhere", 550),
    ("MKD d/e", 257),
    ("MKD d", 550),
    ("RMD d/e", 250),
    ("RNFR file", 350),
    ("RNTO d/file", 250),
    ("RNFR d/file", 350),
    ("RNTO file", 250),
    ("RNTO x", 503),
    ("DELE nothing", 550),
    ("SIZE file", 213),
    ("MDTM file", 213),
    ("MFMT 20200101000000 file", 213),
    ("MFF Modify=20210101000000; file", 213),
    ("MLST file", 250),
    ("AVBL", 213),
    ("ALLO 1", 200),
    ("SITE CHMOD 644 file", 200),
    ("SITE HELP", 214),
    ("REST 5", 350),
    ("PASV", 227),
    ("EPSV", 229),
    ("PORT 1,2,3,4,5,6", 504),
    ("EPRT |1|1.2.3.4|6000|", 504),
    ("ABOR", 226),
    ("ABOR", 225),
    ("RETR file", 425),
    ("STOR file", 425),
    ("LIST", 425),
    ("PASV", 227),
    ("RETR nothing", 550),
    ("EPSV", 229),
    ("MLSD file", 501),
    ("EPSV", 229),
    ("NLST nothing*", 550),
    ("AUTH TLS", 502),
    ("PBSZ 0", 503),
    ("SMNT x", 502),
    ("XYZZY", 500),
    ("", 500),
    ("RETR a\rb", 501),
    ("HOST a", 503),
    // The last one, since it looks for ABOR and STAT.
    ("HASH file", 213),
];

/// Sends `lines` without waiting, and returns the code of the one reply to each.
fn codes(session: &RawSession, lines: &[u8], count: usize) -> Vec<u16> {
    let mut stream = session.stream();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(lines).unwrap();
    let (mut codes, mut replies, mut buffer) = (Vec::new(), Vec::new(), [0; 16 * 1024]);
    while codes.len() < count {
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0, "closed after {codes:?}");
        replies.extend_from_slice(&buffer[..read]);
        let whole = replies.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        for line in replies[..whole].split_inclusive(|&byte| byte == b'\n') {
            // Lines in between begin with SP, or have a `-` after the code.
            if line.get(3) == Some(&b' ') && line[..3].iter().all(u8::is_ascii_digit) {
                codes.push(std::str::from_utf8(&line[..3]).unwrap().parse().unwrap());
            }
        }
        replies.drain(..whole);
    }
    assert!(replies.is_empty(), "more replies than lines: {replies:?}");
    codes
}

#[test]
fn a_session_with_many_commands_uses_constant_memory_at_scale_ho_12() {
    let count = scale::count(20_000, 1_000_000);
    let root = TempRoot::in_memory();
    root.write("file", &[b'x'; 1_000]);
    root.mkdir("d");
    let served = Served::start(&root, &["--user", "u:p", "--write"]);
    let process = served.running.child.id();
    wait_for_rest(process);
    let mut session = RawSession::login(served.address, "u", "p");
    let lines: String = COMMANDS.iter().map(|(line, _)| format!("{line}\r\n")).collect();
    let want: Vec<u16> = COMMANDS.iter().map(|(_, code)| *code).collect();
    let round = |session: &RawSession| {
        for (at, code) in codes(session, lines.as_bytes(), want.len()).into_iter().enumerate() {
            assert_eq!(code, want[at], "{}", COMMANDS[at].0);
        }
    };
    let transfers = |session: &mut RawSession| {
        assert_eq!(session.download("RETR file"), [b'x'; 1_000]);
        session.upload("STOR new", b"x");
        session.upload("APPE new", b"x");
        assert!(!session.download("MLSD").is_empty());
        session.expect("DELE new", 250);
    };
    round(&session);
    transfers(&mut session);
    let before = memory(process, "VmHWM:");
    let start = Instant::now();
    let rounds = count.div_ceil(want.len());
    for number in 0..rounds {
        round(&session);
        if number % 100 == 0 {
            transfers(&mut session);
        }
    }
    let grown = memory(process, "VmHWM:").saturating_sub(before);
    println!("{} commands in {:?}: {grown} KiB", rounds * want.len(), start.elapsed());
    session.expect_in_step();
    assert!(grown < LEFT_BY_COMMANDS, "{grown} KiB");
}

/// Logs in repeatedly, again if the machine pauses meanwhile; one of a hundred logins may take
/// longer. Returns the duration of one, for the output.
#[must_use]
fn log_in_quickly(address: SocketAddr, times: usize) -> String {
    at_last("quick logins", || log_in_times(address, times))
}

fn log_in_times(address: SocketAddr, times: usize) -> Option<String> {
    let mut took: Vec<_> = (0..times)
        .map(|_| {
            let start = Instant::now();
            RawSession::login(address, "u", "p").expect("QUIT", 221);
            start.elapsed()
        })
        .collect();
    took.sort();
    let (median, most) = (took[times / 2], took[times * 99 / 100 - 1]);
    let all = took[times - 1];
    let figures = || format!("a login takes {median:?}, 99 of 100 {most:?} at most, all {all:?}");
    (most < LOGIN).then(figures)
}

/// Returns the session limit that a server derives on this machine, and its reason, as logged at
/// startup.
fn derived_cap(root: &TempRoot) -> (usize, String) {
    let served = Served::start(root, &["-v", "--user", "u:p"]);
    let line = served.said.lines().find_map(|line| line.split_once("at most "));
    let (cap, reason) = line.unwrap().1.split_once(" sessions, limited by ").unwrap();
    (cap.parse().unwrap(), reason.to_owned())
}

/// Starts a server for very many sessions. Each loopback address has its own ports for clients;
/// otherwise closed connections would use up all ports.
fn serve_many(root: &TempRoot, arguments: &[&str]) -> Served {
    let mut serve = ftp(&["serve", "--listen", "0.0.0.0:0", "--user", "u:p"]);
    let served = Served::of(serve.args(arguments).arg(root.path()));
    let process = served.running.child.id();
    wait_for_rest(process);
    // Code that runs for the first time is read from disk, which is not a cost of sessions.
    let at_rest = threads(process);
    drop(RawSession::login(address_of(&served, 0), "u", "p"));
    wait_until("the end of the session", || threads(process) <= at_rest);
    served
}

fn address_of(served: &Served, number: usize) -> SocketAddr {
    let last = u8::try_from(number % 200 + 1).unwrap();
    SocketAddr::from(([127, 0, 0, last], served.address.port()))
}

/// Logs in from as many hosts as needed for `per_host` sessions each: one host leaves an eighth of the
/// sessions to others.
fn log_in_many(served: &Served, count: usize, per_host: usize) -> Vec<RawSession> {
    let log_in = |number| {
        let host = u32::try_from(number / per_host).unwrap();
        let host = std::net::Ipv4Addr::from_bits(0x7F01_0000 + host);
        let address = address_of(served, number);
        let mut session = RawSession::login_from(host.into(), address, "u", "p");
        session.expect("PWD", 257);
        session
    };
    (0..count).map(log_in).collect()
}

/// If one process cannot have enough descriptors for all sessions, several servers share them, each
/// filled almost up to its derived limit.
#[test]
fn idle_sessions_use_little_memory_at_scale_ho_13_go_08() {
    let count = scale::count(200, 10_000);
    let descriptors = allow_descriptors();
    assert!(descriptors >= u64::try_from(count).unwrap() + 200, "{descriptors} are too few");
    let root = TempRoot::new();
    let (cap, reason) = derived_cap(&root);
    // One client logs in again and again as well. The last eighth is for hosts without a session, and
    // the server may not have noticed the end of its last one yet.
    let in_each = (cap - cap.div_ceil(8)).saturating_sub(50).min(count);
    let servers: Vec<_> = (0..count.div_ceil(in_each)).map(|_| serve_many(&root, &[])).collect();
    let processes: Vec<_> = servers.iter().map(|served| served.running.child.id()).collect();
    let at_rest = threads(processes[0]);
    let shares = || processes.iter().map(|process| mapped(*process, "Pss:")).sum::<u64>();
    let before = shares();
    let start = Instant::now();
    let mut sessions = Vec::new();
    for served in &servers {
        sessions.extend(log_in_many(served, in_each.min(count - sessions.len()), 64));
    }
    let grown = shares() - before;
    let each = grown as f64 / count as f64;
    println!("{} servers, each of at most {cap} sessions, limited by {reason}", servers.len());
    println!("{count} idle sessions in {:?}: {grown} KiB, {each:.1} each", start.elapsed());
    for served in &servers {
        println!("{}", log_in_quickly(served.address, 200));
    }
    sessions.iter_mut().for_each(RawSession::expect_in_step);
    let slack = if cfg!(debug_assertions) { 2 } else { 1 };
    assert_eq!(sessions.len(), count);
    assert!(grown <= slack * IDLE_SESSION * u64::try_from(count).unwrap(), "{each:.1} KiB each");
    drop(sessions);
    for process in processes {
        wait_until("the end of all sessions", || threads(process) <= at_rest);
    }
}

/// The reserve in the formula of the limit: 256 sessions of four mappings each.
const MAPPINGS_RESERVED: usize = 4 * 256;

/// Returns the number of mappings of a process.
fn mappings(process: u32) -> usize {
    let maps = std::fs::read(format!("/proc/{process}/maps")).unwrap();
    maps.iter().filter(|&&byte| byte == b'\n').count()
}

/// With the full numbers, the server uses its derived limit. The test checks that a session takes
/// no more than the formula assumes.
#[test]
fn the_cap_on_sessions_is_reached_and_enforced_at_scale_ho_01_ho_03_ho_09_go_08() {
    let root = TempRoot::new();
    root.write("file", &[b'x'; 10_000]);
    let (cap, reason) = match scale::is_full() {
        true => derived_cap(&root),
        false => (60, "configuration".to_owned()),
    };
    let descriptors = allow_descriptors();
    assert!(descriptors >= u64::try_from(cap).unwrap() + 300, "{descriptors} are too few");
    let setting = format!("limits.sessions={cap}");
    let setting = ["--set", setting.as_str()];
    let served = serve_many(&root, if scale::is_full() { &[] } else { &setting });
    let process = served.running.child.id();
    let (at_rest, open, mapped) = (threads(process), open_descriptors(process), mappings(process));
    let start = Instant::now();
    let mut sessions = log_in_many(&served, cap, 1);
    println!("{cap} sessions, the cap by {reason}, in {:?}", start.elapsed());
    let each = (mappings(process) - mapped) as f64 / cap as f64;
    println!("{each:.2} mappings each");
    let newcomers = scale::count(50, 500);
    let refused = |number| {
        let mut newcomer = RawSession::connect(address_of(&served, number));
        assert_eq!(newcomer.expect_reply(421).text(), "421 Too many connections");
        newcomer.expect_closed();
    };
    (0..newcomers).for_each(refused);
    // Existing sessions continue, and many at once can use everything that a session may need.
    let busy = cap.min(200);
    let first = sessions.iter_mut().take(busy);
    let transfers: Vec<_> = first
        .map(|session| {
            let own = session.stream().local_addr().unwrap().ip();
            let reply = session.expect("PASV", 227);
            let data = RawData::connect_from(own, session.data_address(&reply));
            session.expect("RETR file", 150);
            data
        })
        .collect();
    (0..newcomers).for_each(refused);
    let transferring = mappings(process);
    for (session, data) in sessions.iter_mut().zip(transfers) {
        assert!(data.read_to_end() == [b'x'; 10_000], "not what the file holds");
        session.expect_reply(226);
    }
    sessions.iter_mut().for_each(RawSession::expect_in_step);
    // The allocator's arenas are taken from the reserve.
    assert!(transferring <= mapped + 4 * cap + MAPPINGS_RESERVED, "{transferring} mappings");
    assert!(open_descriptors(process) <= open + 4 * cap);
    // The next client gets a freed place.
    sessions.pop().unwrap().expect("QUIT", 221);
    wait_until("a place", || {
        RawSession::greeting(served.address).is_some_and(|reply| reply.code == 220)
    });
    drop(sessions);
    wait_until("the end of all sessions", || threads(process) <= at_rest);
    RawSession::login(served.address, "u", "p").expect_in_step();
}

/// Returns whether the server has sent something, or ended the connection.
fn has_ended(peer: &RawSession) -> bool {
    let stream = peer.stream();
    stream.set_nonblocking(true).unwrap();
    let found = stream.peek(&mut [0]);
    stream.set_nonblocking(false).unwrap();
    !found.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

/// Each client sends a byte at times and never logs in: shorter timeouts than those of HS-05, in
/// the same code.
#[test]
fn slow_peers_are_ended_by_the_login_timeout_at_scale_hs_05_go_07() {
    let count = scale::count(100, 2_000);
    let limit = Duration::from_secs(if scale::is_full() { 12 } else { 3 });
    // They have half of all places, with four descriptors each.
    let descriptors = allow_descriptors();
    assert!(descriptors >= 8 * u64::try_from(count).unwrap() + 300, "{descriptors}");
    let root = TempRoot::new();
    let login = format!("timeouts.login={}s", limit.as_secs());
    let served = Served::start(&root, &["--user", "u:p", "--set", &login]);
    let process = served.running.child.id();
    wait_for_rest(process);
    let at_rest = threads(process);
    let mut peers: Vec<_> = (0..count)
        .map(|_| {
            let came = Instant::now();
            (came, RawSession::greeted(served.address))
        })
        .collect();
    println!("{count} peers, {} threads", threads(process));
    let (start, mut told) = (Instant::now(), 0);
    // If bytes extended the timeout, this would not end.
    while !peers.is_empty() {
        assert!(start.elapsed() < limit + DEADLINE, "{} peers are left", peers.len());
        peers.retain_mut(|(came, peer)| {
            if !has_ended(peer) && peer.try_send("N").is_ok() {
                return true;
            }
            assert!(came.elapsed() >= limit, "{:?}: too early", came.elapsed());
            // A byte that crosses the reply resets the connection.
            told += usize::from(peer.try_reply().is_ok_and(|reply| reply.code == 421));
            false
        });
        println!("{}", log_in_quickly(served.address, 100));
        std::thread::park_timeout(limit / 12);
    }
    println!("all are gone after {:?}", start.elapsed());
    assert!(told > 0, "no peer was told why");
    wait_until("the end of all sessions", || threads(process) <= at_rest);
}
