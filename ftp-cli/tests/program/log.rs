//! The log of `serve`: its destination, its format, and a log that no process reads.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Instant;

use ftp_tests::port::OwnPort;
use ftp_tests::process::{LIMIT, Running, run};
use ftp_tests::raw::RawSession;
use ftp_tests::root::TempRoot;
use ftp_tests::wait::{at_last, wait_until};

use crate::serve::Served;
use crate::{failed, ftp};

/// Tries to log in, with a name so long that it soon fills the log.
fn refused(address: SocketAddr) {
    let mut session = RawSession::greeted(address);
    for _ in 0..2 {
        session.expect(format!("USER {}", "x".repeat(500)), 331);
        session.expect("PASS wrong", 530);
    }
    session.expect("QUIT", 221);
    session.expect_closed();
}

#[test]
fn an_unread_log_pipe_blocks_no_session_hf_14() {
    let root = TempRoot::new();
    let mut serve = ftp(&["serve", "--listen", "0", "--user", "u:p"]);
    serve.args(["--set", "limits.login_delay=0"]);
    let mut running = Running::start(serve.arg(root.path()).stderr(Stdio::piped()));
    let mut stderr = BufReader::new(running.child.stderr.take().unwrap());
    let mut first = String::new();
    // As root, the log begins with a warning.
    while !first.contains("listening on") {
        first.clear();
        assert!(stderr.read_line(&mut first).unwrap() > 0, "it listens");
    }
    let address: SocketAddr = first.trim().rsplit(' ').next().unwrap().parse().unwrap();
    // From here on the log has no reader: 64 KiB fit into the pipe, 256 KiB are queued, the rest is
    // lost.
    (0..500).for_each(|_| refused(address));
    let mut session = RawSession::login(address, "u", "p");
    session.expect_in_step();
    // With a reader again, all lines arrive except the lost ones, which are counted.
    let reading = std::thread::spawn(move || {
        let (mut said, mut line) = (0, String::new());
        loop {
            line.clear();
            assert!(stderr.read_line(&mut line).unwrap() > 0, "what was lost is counted");
            said += usize::from(line.contains(" login-refused "));
            if let Some((before, _)) = line.split_once(" lines of the log were lost") {
                let lost: usize = before.rsplit(' ').next().unwrap().parse().unwrap();
                break (stderr, (said, lost));
            }
        }
    });
    let (stderr, (said, lost)) = reading.join().unwrap();
    assert!(lost > 100, "{said} said, {lost} lost");
    // The login may be among them.
    assert!([1_000, 1_001].contains(&(said + lost)), "{said} said, {lost} lost");
    // The server ends even without a reader.
    (0..500).for_each(|_| refused(address));
    drop(session);
    let kill = Command::new("kill").args(["-s", "TERM", &running.child.id().to_string()]).status();
    assert!(kill.unwrap().success());
    let status = running.wait(Instant::now() + LIMIT).expect("it ends");
    assert_eq!(status.code(), Some(0));
    drop(stderr);
}

#[test]
fn a_log_on_a_full_disk_stops_no_session_hf_14() {
    let (root, logs) = (TempRoot::new(), TempRoot::new());
    let log = logs.join("transfers");
    std::os::unix::fs::symlink("/dev/full", &log).unwrap();
    let set = format!("log.transfers={}", log.display());
    let mut served = Served::start(&root, &["--user", "u:p", "--write", "--set", &set]);
    let mut session = RawSession::login(served.address, "u", "p");
    for number in 0..100 {
        session.upload(format!("STOR {number}"), b"x");
    }
    session.expect_in_step();
    let cannot = |line: &String| line.contains("transfers cannot be written: No space left");
    let mut said = std::iter::from_fn(|| served.log.recv_timeout(LIMIT).ok());
    assert!(said.any(|line| cannot(&line)));
    served.signal("TERM");
    let status = served.running.wait(Instant::now() + LIMIT).expect("it ends");
    assert_eq!(status.code(), Some(0));
}

#[test]
fn transfers_are_appended_to_the_transfer_log() {
    let (root, elsewhere) = (TempRoot::new(), TempRoot::new());
    let log = elsewhere.write("xferlog", b"what was there\n");
    let set = format!("log.transfers={}", log.display());
    let arguments = ["-q", "--user", "u:p", "--write", "--set", &set];
    let mut serve = ftp(&["serve", "--listen", "127.0.0.1:0"]);
    let port = OwnPort::claim();
    let address = port.address();
    serve.args(["--listen", &address.to_string()]).args(arguments).arg(root.path());
    let mut running = Running::start(serve.stderr(Stdio::piped()));
    wait_until("the server starts", || RawSession::greeting(address).is_some());
    let mut session = RawSession::login(address, "u", "p");
    session.upload("STOR a b", b"12345");
    session.expect("QUIT", 221);
    let kill = Command::new("kill").args(["-s", "TERM", &running.child.id().to_string()]).status();
    assert!(kill.unwrap().success());
    assert!(running.wait(Instant::now() + LIMIT).is_some());
    let mut said = String::new();
    running.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "", "quiet");
    let text = fs::read_to_string(&log).unwrap();
    let (first, second) = text.split_once('\n').unwrap();
    assert_eq!(first, "what was there");
    let (seconds, rest) = second[25..].split_once(' ').unwrap();
    assert!(seconds.parse::<u32>().is_ok_and(|seconds| seconds > 0), "{second}");
    assert_eq!(rest, "127.0.0.1 5 /a_b a _ i r u ftp 0 * c\n");
}

#[test]
fn an_unopenable_transfer_log_is_a_local_error() {
    let set = "log.transfers=/proc/none/xferlog";
    failed(
        &run(&mut ftp(&["serve", "--listen", "0", "--set", set, "/usr"])),
        3,
        "/proc/none/xferlog",
    );
}

#[test]
fn every_log_line_is_json_with_format_json() {
    let root = TempRoot::new();
    let mut serve = ftp(&["serve", "-v", "--listen", "0", "--user", "u:p"]);
    serve.args(["--set", "log.format=json"]).arg(root.path());
    let file = TempRoot::new();
    let path = file.write("log", b"");
    let mut running = Running::start(serve.stderr(File::create(&path).unwrap()));
    let address = at_last("the server logs its address", || {
        let text = fs::read_to_string(&path).unwrap();
        let (_, said) = text.split_once("\"text\":\"listening on ")?;
        said.split_once('"')?.0.parse().ok()
    });
    let mut session = RawSession::login(address, "u", "p");
    session.expect("CLNT \"x\x1b\\", 200);
    session.expect("QUIT", 221);
    session.expect_closed();
    let kill = Command::new("kill").args(["-s", "TERM", &running.child.id().to_string()]).status();
    assert!(kill.unwrap().success());
    assert!(running.wait(Instant::now() + LIMIT).is_some());
    let text = fs::read_to_string(&path).unwrap();
    let is_object = |line: &str| line.starts_with("{\"time\":\"20") && line.ends_with('}');
    assert!(text.lines().all(is_object), "{text}");
    for part in [
        "\"event\":\"login\",\"session\":1,",
        "\"level\":\"info\",\"text\":\"127.0.0.1:",
        r#"client is \"x\\x1b\\\\""#,
        "\"event\":\"ended\",\"session\":1,",
        // The session that has just ended may still be counted.
        "\"text\":\"stopped; sessions ended: ",
    ] {
        assert!(text.contains(part), "no {part} in {text}");
    }
}
