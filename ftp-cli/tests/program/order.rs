//! The order of system calls by which `serve` keeps its promises.

use ftp_tests::peer::{Peer, skipped};
use ftp_tests::process::{LIMIT, run};
use ftp_tests::raw::RawSession;
use ftp_tests::root::TempRoot;

use crate::config::Configured;
use crate::serve::Served;

/// The traced calls.
const CALLS: &str =
    "trace=fadvise64,fdatasync,fsync,linkat,mkdirat,renameat,renameat2,unlinkat,write,sendto";

/// Returns strace. Reports and returns `None` if it is missing or processes cannot be traced.
pub(crate) fn strace() -> Option<Peer> {
    let strace = Peer::find("strace")?;
    if run(strace.command().args(["-o", "/dev/null", "true"])).code() != Some(0) {
        skipped("nobody may be traced");
        return None;
    }
    Some(strace)
}

/// A server whose system calls strace records.
fn traced(root: &TempRoot, log: &TempRoot, sync: &str) -> Option<Served> {
    let mut command = strace()?.command();
    command.args(["-f", "-y", "-s", "64", "-e", CALLS, "-o"]).arg(log.join("trace"));
    command.arg(env!("CARGO_BIN_EXE_ftp-cli")).args(["serve", "--listen", "0", "--write"]);
    command.args(["--user", "u:p", "--set", sync]).arg(root.path());
    Some(Served::of(&mut command))
}

/// Returns the calls between a 150 and its 226, in order, without repetitions.
fn orders(trace: &str) -> Vec<Vec<&str>> {
    let mut orders: Vec<Vec<&str>> = Vec::new();
    let mut session = "";
    for line in trace.lines() {
        // A call that another thread interrupts takes two lines: the first is the beginning.
        let (thread, call) = line.split_once(' ').unwrap_or(("", line));
        let call = call.trim_start();
        // Another thread syncs the record of an upload over an existing file.
        let is_other = thread != session && call.contains("sync(");
        if is_other {
            continue;
        }
        if call.starts_with("<...") || call.starts_with("+++") || call.starts_with("---") {
            continue;
        }
        let name = call.split('(').next().unwrap_or_default();
        let said = call.split('"').nth(1).unwrap_or_default();
        match name {
            "write" | "sendto" if said.starts_with("150 ") => {
                session = thread;
                orders.push(Vec::new());
            }
            "write" | "sendto" if said.starts_with("226 ") => {
                orders.last_mut().expect("150 comes first").push("226");
            }
            "write" if said.starts_with("xxxx") => {
                let order = orders.last_mut().expect("150 comes first");
                if order.last() != Some(&"data") {
                    order.push("data");
                }
            }
            "fadvise64" | "fdatasync" | "fsync" | "linkat" | "renameat" | "renameat2" => {
                if let Some(order) = orders.last_mut().filter(|order| order.last() != Some(&"226"))
                {
                    order.push(name);
                }
            }
            _ => {}
        }
    }
    orders
}

#[test]
fn a_long_upload_is_synced_in_pieces_fs_12() {
    let (root, log) = (TempRoot::new(), TempRoot::new());
    let Some(mut served) = traced(&root, &log, "transfer.sync=file") else { return };
    let mut session = RawSession::login(served.address, "u", "p");
    session.expect("TYPE I", 200);
    // Shorter files are synced once.
    for length in [7 << 20, 20 << 20] {
        session.upload("STOR new", &vec![b'x'; length]);
    }
    let trace = finished(&mut served, &log, 2);
    let orders = orders(&trace);
    let [short, long] = orders.as_slice() else { panic!("{orders:?}") };
    assert_eq!(short, &["data", "fdatasync", "renameat2", "226"]);
    // The number of syncs, and of advices to begin to write, depends on the disk.
    let [first @ .., "fdatasync", renamed, "226"] = long.as_slice() else { panic!("{long:?}") };
    assert!(first.starts_with(&["data", "fdatasync", "data"]), "{long:?}");
    assert!(renamed.starts_with("renameat"), "{long:?}");
}

/// Returns the trace once this many transfers are complete: strace writes at once, but in another
/// process.
fn finished(served: &mut Served, log: &TempRoot, transfers: usize) -> String {
    let all = || {
        let trace = String::from_utf8(log.read("trace")).unwrap();
        (trace.matches("\"226 ").count() >= transfers).then_some(trace)
    };
    served.running.wait_until(LIMIT, all).unwrap()
}

#[test]
fn an_upload_is_synced_and_renamed_before_226_hf_07_fs_12() {
    for (sync, file, directory) in [
        ("transfer.sync=none", &[][..], &[][..]),
        ("transfer.sync=file", &["fdatasync"], &[]),
        ("transfer.sync=file+dir", &["fdatasync"], &["fsync"]),
    ] {
        let (root, log) = (TempRoot::new(), TempRoot::new());
        let Some(mut served) = traced(&root, &log, sync) else { return };
        let content = vec![b'x'; 100_000];
        let mut session = RawSession::login(served.address, "u", "p");
        session.expect("TYPE I", 200);
        // A new file, a replacement, and a file that grows in place.
        for command in ["STOR new", "STOR new", "APPE new"] {
            session.upload(command, &content);
        }
        let trace = finished(&mut served, &log, 3);
        let orders = orders(&trace);
        let [new, replaced, grown] = orders.as_slice() else { panic!("{trace}") };
        let want =
            |names: &[&'static str]| [&["data"][..], file, names, directory, &["226"]].concat();
        assert_eq!(new, &want(&["renameat2"]), "{sync}: {trace}");
        assert!(
            [want(&["renameat"]), want(&["renameat2"])].contains(replaced),
            "{sync}: {replaced:?}"
        );
        assert_eq!(grown, &want(&[]), "{sync}: {trace}");
    }
}

/// Returns the calls before each reply, in order: calls that create or remove names, and syncs of
/// directories with their path below `root`.
fn steps(trace: &str, root: &TempRoot) -> Vec<(String, Vec<String>)> {
    let root = root.path().display().to_string();
    let (mut steps, mut calls) = (Vec::new(), Vec::new());
    // Another thread syncs the record of an upload over an existing file.
    let session = trace.lines().find(|line| line.contains("\"220 ")).unwrap_or_default();
    let session = session.split(' ').next().unwrap_or_default();
    for line in trace.lines() {
        let (thread, call) = line.split_once(' ').unwrap_or(("", line));
        let call = call.trim_start();
        if thread != session && call.contains("sync(") {
            continue;
        }
        let (name, arguments) = call.split_once('(').unwrap_or_default();
        match name {
            "write" | "sendto" => {
                let said = arguments.split('"').nth(1).unwrap_or_default();
                if said.get(3..4) == Some(" ") && said.as_bytes()[..3].is_ascii() {
                    steps.push((said[..3].to_owned(), std::mem::take(&mut calls)));
                }
            }
            "fsync" => {
                let path = arguments.split(['<', '>']).nth(1).unwrap_or_default();
                let path = path.strip_prefix(&root).unwrap_or(path);
                calls.push(format!("fsync /{}", path.trim_start_matches('/')));
            }
            "fdatasync" | "linkat" | "mkdirat" | "renameat" | "renameat2" | "unlinkat" => {
                calls.push(name.replace("renameat2", "renameat"));
            }
            _ => {}
        }
    }
    steps
}

/// Otherwise, a power cut could remove the home with the uploads that were confirmed in it.
#[test]
fn a_new_home_is_synced_before_the_login_fs_12() {
    let log = TempRoot::new();
    let Some(strace) = strace() else { return };
    let configured = Configured::new(
        "[users.u]\npassword = \"HASH\"\nroot = \"ROOT/%u\"\nrights = \"full\"\ncreate_home = true\n",
    );
    let mut command = strace.command();
    let calls = "trace=mkdir,mkdirat,fsync,write,sendto";
    command.args(["-f", "-y", "-s", "64", "-e", calls, "-o"]).arg(log.join("trace"));
    let serve = configured.command(&["--listen", "0"]);
    command.arg(serve.get_program()).args(serve.get_args()).current_dir(configured.here.path());
    let mut served = Served::of(&mut command);
    RawSession::login(served.address, "u", "p").expect_in_step();
    let find = || {
        let trace = String::from_utf8(log.read("trace")).unwrap();
        let at = |words: &str| trace.find(words);
        Some((at("mkdir")?, at("fsync(")?, at("\"230 ")?))
    };
    let (made, synced, told) = served.running.wait_until(LIMIT, find).unwrap();
    assert!(made < synced && synced < told);
}

#[test]
fn changes_are_synced_before_their_reply_by_default_fs_12_hf_07() {
    let (root, log) = (TempRoot::new(), TempRoot::new());
    // `transfer.sync` is not set.
    let Some(mut served) = traced(&root, &log, "transfer.partial=resume") else { return };
    let mut session = RawSession::login(served.address, "u", "p");
    session.expect("TYPE I", 200);
    session.expect("MKD a", 257);
    session.expect("MKD a/b", 257);
    session.expect("MKD c", 257);
    for command in ["STOR a/b/f", "STOR a/b/f", "APPE a/b/f", "APPE a/b/g", "STOU"] {
        session.upload(command, b"data");
    }
    for line in ["RNFR a/b/f", "RNTO c/f", "RNFR c/f", "RNTO c/h"] {
        session.expect(line, if line.starts_with("RNFR") { 350 } else { 250 });
    }
    for line in ["RNFR a/b/g", "RNTO c/h", "DELE c/h", "RMD c"] {
        session.expect(line, if line.starts_with("RNFR") { 350 } else { 250 });
    }
    session.expect("NOOP", 200);
    let all = || {
        let trace = String::from_utf8(log.read("trace")).unwrap();
        let steps = steps(&trace, &root);
        (steps.len() > 20 && steps.last()?.0 == "200").then_some(steps)
    };
    let steps = served.running.wait_until(LIMIT, all).unwrap();
    let done = steps.into_iter().filter(|(code, _)| ["226", "250", "257"].contains(&&**code));
    let done: Vec<String> = done.map(|(_, calls)| calls.join(", ")).collect();
    let want = [
        "mkdirat, fsync /",
        "mkdirat, fsync /a",
        "mkdirat, fsync /",
        "fdatasync, renameat, fsync /a/b",
        // The record goes after the file has its name.
        "fdatasync, renameat, unlinkat, fsync /a/b",
        "fdatasync, fsync /a/b",
        "fdatasync, renameat, fsync /a/b",
        "fdatasync, renameat, fsync /",
        "renameat, fsync /c, fsync /a/b",
        "renameat, fsync /c",
        // The first rename does not replace.
        "renameat, renameat, fsync /c, fsync /a/b",
        "unlinkat, fsync /c",
        "unlinkat, fsync /",
    ];
    assert_eq!(done, want);
}
