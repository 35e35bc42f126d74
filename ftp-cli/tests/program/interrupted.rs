//! Signals at any moment: before the connection, during data, after the end.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use ftp_server::{Rights, Server};
use ftp_tests::content;
use ftp_tests::process::{LIMIT, Running};
use ftp_tests::random::Random;
use ftp_tests::root::TempRoot;
use rustix::process::{Pid, Signal, kill_process};

use crate::ftp;

/// The number of interrupted runs.
const RUNS: usize = 120;

/// The latest moment of the signal after the start of a run, in microseconds; it is lowered if runs
/// usually end before it, but not below the second value.
const LATEST_MICROS: usize = 60_000;
const FIRST_MICROS: usize = 2_000;

#[test]
fn random_signals_leave_only_complete_files_hl_10_li_10() {
    let mut random = Random::new(10);
    let content = content::binary(4 << 20, 3);
    let (root, here) = (TempRoot::new(), TempRoot::new());
    root.write("file", &content);
    let local = here.write("local", &content);
    let server = Server::builder().root(root.path()).anonymous(Rights::FULL);
    let server = server.bind("127.0.0.1:0").unwrap();
    let url = |name: &str| format!("ftp://{}/{name}", server.local_addr());
    let target = TempRoot::new();
    let (mut ended, mut done) = (0, 0);
    // The duration of a run is not known before, and depends on the load of the machine.
    let mut latest = LATEST_MICROS;
    for _ in 0..RUNS {
        let kind = *random.choose(&["get", "get -c", "put", "ls", "get -"]);
        let (signal, code) = *random.choose(&[(Signal::INT, 130), (Signal::TERM, 143)]);
        target.write("file", b"old");
        let mut command = ftp(&[kind.split(' ').next().unwrap(), "-q"]);
        match kind {
            "get" => command.arg(url("file")).arg(target.join("file")),
            "get -c" => command.arg("-c").arg(url("file")).arg(target.join("new")),
            "put" => command.arg(&local).arg(url("new")),
            "get -" => command.arg(url("file")).arg("-"),
            _ => command.arg(url("")),
        };
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut run = Running::start(&mut command);
        thread::park_timeout(Duration::from_micros(random.below(latest) as u64));
        // The run may be over already, but is not reaped yet.
        let _ = kill_process(Pid::from_child(&run.child), signal);
        let status = run.wait(Instant::now() + LIMIT).expect("it ends in time");
        // Before it handles signals, it has nothing to clean up.
        let by_signal = status.code() == Some(code) || status.signal() == Some(signal.as_raw());
        assert!(by_signal || status.success(), "{kind}: {status:?}");
        let counted = if by_signal { &mut ended } else { &mut done };
        *counted += 1;
        latest = match by_signal {
            true => (latest * 5 / 4).min(LATEST_MICROS),
            false => (latest * 4 / 5).max(FIRST_MICROS),
        };
        match kind {
            "get" if status.success() => assert!(target.read("file") == content, "{kind}"),
            // The signal may have come after the rename.
            "get" => {
                let file = target.read("file");
                assert!(file == b"old" || file == content, "{kind}: {} bytes", file.len());
            }
            _ => assert_eq!(target.read("file"), b"old", "{kind}: {status:?}"),
        }
        let mut names = target.names();
        names.retain(|name| name != b"file");
        match (kind, status.success()) {
            ("get -c", true) => assert_eq!(names, [b"new"], "{kind}"),
            ("get -c", false) => {
                // It ends where it was cut, and its bytes are right.
                let kept = names.first().map(|name| target.read(name)).unwrap_or_default();
                assert!(content.starts_with(&kept), "{kind}: {} bytes", kept.len());
                let is_whole = kept.len() == content.len();
                let right = |name: &Vec<u8>| name == b"new.part" || (is_whole && name == b"new");
                assert!(names.len() <= 1 && names.iter().all(right), "{kind}: {names:?}");
            }
            _ => assert!(names.is_empty(), "{kind}: {names:?}"),
        }
        for name in names {
            std::fs::remove_file(target.join(name)).unwrap();
        }
        if kind == "put" && status.success() {
            assert!(root.read("new") == content, "{kind}");
        }
    }
    // If all signals came before or after the transfers, nothing was tested.
    assert!(ended >= 10, "{ended} were ended, {done} came to their end");
    // After the sessions have ended, nothing changes any more.
    server.shutdown(LIMIT);
    let names = root.names_without_records();
    assert!(names.iter().all(|name| name == b"file" || name == b"new"), "{names:?}");
    assert!(names.len() == 1 || root.read("new") == content);
}

#[test]
fn a_closed_output_pipe_ends_get_with_sigpipe_hl_10() {
    let mut random = Random::new(11);
    let root = TempRoot::new();
    let content = content::binary(4 << 20, 4);
    root.write("file", &content);
    let server = Server::builder().root(root.path()).anonymous(Rights::READ);
    let server = server.bind("127.0.0.1:0").unwrap();
    let url = format!("ftp://{}/file", server.local_addr());
    for _ in 0..30 {
        let mut get = ftp(&["get", "-q", &url, "-"]);
        let mut get = Running::start(get.stdout(Stdio::piped()).stderr(Stdio::null()));
        let mut output = get.child.stdout.take().unwrap();
        let mut some = vec![0; random.below(2 << 20)];
        output.read_exact(&mut some).unwrap();
        assert!(content.starts_with(&some));
        drop(output);
        let status = get.wait(Instant::now() + LIMIT).expect("it ends in time");
        assert_eq!(status.signal(), Some(13), "{status:?}");
    }
}
