//! The number of system calls that a transfer costs the client.

use std::path::Path;

use ftp_tests::process::run;
use ftp_tests::root::TempRoot;

use crate::ftp;
use crate::order::strace;
use crate::serve::Served;

/// Long enough to notice calls for a few bytes each.
const LARGE: u64 = 128 << 20;

/// The system calls of a run in all its threads, one line each. Without strace it reports that and
/// returns `None`.
fn trace(arguments: &[&str]) -> Option<Vec<String>> {
    let log = TempRoot::new();
    let program = ftp(arguments);
    let mut command = strace()?.command();
    command.env("HOME", "/proc/none").env("LC_ALL", "C.UTF-8");
    command.args(["-f", "-qq", "-s", "1", "-o"]).arg(log.join("trace"));
    run(command.arg(program.get_program()).args(program.get_args())).succeeded();
    let trace = String::from_utf8_lossy(&log.read("trace")).into_owned();
    Some(trace.lines().filter(|line| line.contains('(')).map(str::to_owned).collect())
}

/// The number of calls without those that wait, wake another thread or find nothing to receive: their
/// number depends on how busy the computer is. A call that another thread interrupts takes two lines.
fn count(trace: &[String]) -> usize {
    let calls = trace.iter().filter(|line| !line.contains(" resumed>") && !line.contains("futex("));
    let waits = trace.iter().filter(|line| line.contains(" EAGAIN ")).count();
    calls.filter(|line| !line.contains("poll(")).count() - waits
}

/// The sizes of the reads from data connections.
fn reads(trace: &[String]) -> Vec<usize> {
    let ended = trace.iter().filter(|line| line.contains("recvfrom") && line.contains(" = "));
    let size = |line: &String| line.rsplit(", ").nth(3)?.parse().ok();
    // Replies are read into a buffer of 1 KiB.
    ended.filter_map(size).filter(|size| *size != 1_024).collect()
}

/// Makes a sparse file.
fn make(path: &Path, length: u64) {
    std::fs::File::create(path).unwrap().set_len(length).unwrap();
}

#[test]
fn a_small_get_makes_few_system_calls_after_startup() {
    let (root, here) = (TempRoot::new(), TempRoot::new());
    make(&root.join("file"), 1_024);
    let served = Served::start(&root, &[]);
    let local = here.join("file");
    let Some(start) = trace(&["--version"]) else { return };
    let get = trace(&["get", &served.url("", "file"), local.to_str().unwrap()]).unwrap();
    let more = count(&get) - count(&start);
    assert!(more <= 109, "{more} calls: {get:#?}");
}

#[test]
fn a_downloaded_file_and_its_name_are_synced() {
    let (root, here) = (TempRoot::new(), TempRoot::new());
    root.write("file", b"new");
    let served = Served::start(&root, &[]);
    let (url, local) = (served.url("", "file"), here.join("file"));
    for names in
        [&["fsync", "linkat", "fsync"][..], &["fsync", "linkat", "linkat", "rename", "fsync"]]
    {
        let Some(get) = trace(&["get", &url, local.to_str().unwrap()]) else { return };
        let call = |line: &String| Some(line.split('(').next()?.split(' ').next_back()?.to_owned());
        let calls = get.iter().filter_map(call);
        let calls: Vec<_> = calls.filter(|call| names.contains(&call.as_str())).collect();
        assert_eq!(calls, names);
    }
}

#[test]
fn a_large_file_is_transferred_in_large_blocks() {
    let (root, here) = (TempRoot::new(), TempRoot::new());
    let settings = ["--anonymous", "--write", "--set", "transfer.sync=none"];
    let served = Served::start(&root, &settings);
    let [from, to] = ["from", "to"].map(|name| here.join(name).to_str().unwrap().to_owned());
    let url = served.url("", "file");
    let put = |length| {
        make(Path::new(&from), length);
        trace(&["put", &from, &url])
    };
    let get = || trace(&["get", &url, &to]).unwrap();

    let Some(small) = put(1_024) else { return };
    let small_reads = reads(&get());
    let large = put(LARGE).unwrap();
    // One call sends up to 1 MiB. With a server that often pauses, it is what was read meanwhile, after a
    // wait; reading and writing blocks of 64 KiB would take 4,096 calls.
    let more = count(&large) - count(&small);
    assert!(more as u64 <= 2 * (LARGE >> 20), "{more} calls: {large:#?}");
    // The number of reads also depends on the server.
    let large_reads = reads(&get());
    assert!(small_reads.iter().all(|size| *size == 16 << 10), "{small_reads:?}");
    let first = large_reads.iter().take_while(|size| **size == 16 << 10).count();
    assert!(first < large_reads.len(), "{large_reads:?}");
    assert!(large_reads[first..].iter().all(|size| *size == 512 << 10), "{large_reads:?}");
}
