//! `mirror --watch`: a directory into which files come, and from which none is lost or sent in part.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use ftp_proto::HiddenFile;
use ftp_server::{Rights, Server};
use ftp_tests::process::Running;
use ftp_tests::root::TempRoot;
use ftp_tests::site::OurServer;
use ftp_tests::wait::{at_last, wait_until};
use rustix::process::{Pid, Signal, kill_process};

use super::{failed, mirror, shown};
use crate::ftp;

/// Starts a watch of `source`.
fn watch(options: &[&str], source: &Path, url: &str) -> Running {
    let mut command = ftp(&["mirror", "-q", "--watch=5s"]);
    command.args(options).arg(source).arg(url).stdin(Stdio::null()).stdout(Stdio::null());
    Running::start(command.stderr(Stdio::null()))
}

/// Returns the files of a tree with their contents, except hidden ones of the server, which come and go.
fn published(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut found, mut left) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                left.push(path);
            } else if !entry.file_name().as_bytes().starts_with(HiddenFile::UPLOAD)
                && let Ok(content) = fs::read(&path)
            {
                found.insert(path.strip_prefix(root).unwrap().to_owned(), content);
            }
        }
    }
    found
}

fn ends_by(mut running: Running, signal: Signal, code: i32) {
    kill_process(Pid::from_child(&running.child), signal).unwrap();
    let status = at_last("the end", || running.child.try_wait().unwrap());
    assert_eq!(status.code(), Some(code), "{status}");
}

/// Starts a server, unless the port is still in use.
fn serve(root: &Path, port: u16) -> Option<Server> {
    let builder = Server::builder().root(root).user("user", "word", Rights::FULL);
    builder.bind((Ipv4Addr::LOCALHOST, port)).ok()
}

#[test]
fn files_that_appear_in_any_way_arrive_once_and_whole_despite_kills_and_outages() {
    let (root, here) = (TempRoot::new(), TempRoot::new());
    let server = serve(root.path(), 0).unwrap();
    let address: SocketAddr = server.local_addr();
    let url = format!("ftp://user:word@{address}/t");
    let (source, target) = (here.mkdir("in"), root.join("t"));
    let count = |path: &Path| fs::read_dir(path).map_or(0, Iterator::count);
    let arrived = |least| wait_until("files arrive", || count(&target) >= least);
    let by_rename = |from: usize, to: usize| {
        for number in from..to {
            let new = here.write(format!("new-{number}"), format!("{number}").as_bytes());
            fs::rename(new, source.join(format!("renamed-{number:04}"))).unwrap();
        }
    };
    let running = watch(&[], &source, &url);
    by_rename(0, 200);
    arrived(100);
    // Killed in the middle of its work, and started again.
    drop(running);
    let running = watch(&[], &source, &url);
    by_rename(200, 500);
    // Written in two pieces, with a run between them, and in a directory that did not exist.
    fs::create_dir(source.join("d")).unwrap();
    let mut slow: Vec<_> = (0..500)
        .map(|number| File::create(source.join(format!("d/slow-{number:04}"))).unwrap())
        .collect();
    slow.iter_mut().for_each(|file| file.write_all(b"first half, ").unwrap());
    arrived(300);
    // The server goes away and comes back.
    drop(server);
    slow.iter_mut().for_each(|file| file.write_all(b"second half").unwrap());
    drop(slow);
    let _server = at_last("the port is free", || serve(root.path(), address.port()));
    wait_until("all is there", || published(&target) == published(&source));
    assert_eq!(published(&source).len(), 1_000);
    // Removals are no business of a watch without --delete, and the next file arrives alone.
    fs::remove_file(source.join("renamed-0000")).unwrap();
    by_rename(500, 501);
    wait_until("the last file", || target.join("renamed-0500").exists());
    assert!(target.join("renamed-0000").exists());
    ends_by(running, Signal::TERM, 143);
}

#[test]
fn a_watch_removes_what_goes_and_ends_by_ctrl_c() {
    let (server, here) = (OurServer::start(), TempRoot::new());
    let source = here.mkdir("in");
    here.write("in/a", b"a");
    here.write("in/b", b"b");
    let running = watch(&["--delete"], &source, &server.url("t"));
    let target = server.root.join("t");
    wait_until("both files", || published(&target).len() == 2);
    fs::remove_file(source.join("a")).unwrap();
    wait_until("one file", || published(&target) == published(&source));
    ends_by(running, Signal::INT, 130);
}

#[test]
fn a_server_is_watched_by_time() {
    let (server, here) = (OurServer::start(), TempRoot::new());
    server.root.write("t/a", b"a");
    let mut command =
        ftp(&["mirror", "-q", "--watch=1s", &server.url("t"), shown(&here.join("d"))]);
    let running = Running::start(command.stdin(Stdio::null()).stderr(Stdio::null()));
    wait_until("the first file", || here.join("d/a").exists());
    server.root.write("t/b", b"b");
    wait_until("the second file", || here.join("d/b").exists());
    ends_by(running, Signal::TERM, 143);
}

#[test]
fn a_watch_takes_what_reaches_its_age_and_moves_it() {
    let (server, here) = (OurServer::start(), TempRoot::new());
    let source = here.mkdir("in");
    let options = ["--remove-source", "--min-age", "2", "--watch=1s"];
    let running = watch(&options, &source, &server.url("t"));
    let target = server.root.join("t");
    wait_until("the first run", || target.exists());
    // It is too young until its age is reached, which counts from each run.
    here.write("in/new", b"new");
    wait_until("the file is moved", || !source.join("new").exists());
    assert_eq!(server.root.read("t/new"), b"new");
    ends_by(running, Signal::TERM, 143);
}

#[test]
fn a_watch_runs_as_soon_as_a_changed_file_has_its_age() {
    let (server, here) = (OurServer::start(), TempRoot::new());
    let source = here.mkdir("in");
    let running = watch(&["--min-age", "2", "--watch=5min"], &source, &server.url("t"));
    wait_until("the first run", || server.root.join("t").exists());
    here.write("in/new", b"new");
    wait_until("the file", || server.root.join("t/new").exists());
    ends_by(running, Signal::TERM, 143);
}

#[test]
fn a_watch_runs_as_soon_as_a_file_has_its_age_after_an_outage() {
    let (root, here) = (TempRoot::new(), TempRoot::new());
    let server = serve(root.path(), 0).unwrap();
    let address: SocketAddr = server.local_addr();
    let source = here.mkdir("in");
    let url = format!("ftp://user:word@{address}/t");
    let running = watch(&["--min-age", "4", "--watch=5min"], &source, &url);
    wait_until("the first run", || root.join("t").exists());
    drop(server);
    // The second run, without a change, fails.
    std::thread::sleep(std::time::Duration::from_millis(5_500));
    here.write("in/new", b"new");
    let _server = at_last("the port is free", || serve(root.path(), address.port()));
    wait_until("the file", || root.join("t/new").exists());
    ends_by(running, Signal::TERM, 143);
}

#[test]
fn a_watch_reads_the_ignore_file_before_each_run() {
    let (server, here) = (OurServer::start(), TempRoot::new());
    let source = here.mkdir("in");
    here.write("in/a", b"a");
    let mut running = watch(&[], &source, &server.url("t"));
    let target = server.root.join("t");
    wait_until("the first file", || target.join("a").exists());
    // Written before the files, as a run could begin between them.
    here.write("in/.ftpignore", b"secret*\n");
    here.write("in/secret", b"private");
    here.write("in/z", b"z");
    wait_until("the last file", || target.join("z").exists());
    assert!(!target.join("secret").exists());
    here.write("in/.ftpignore", b"[\n");
    let status = at_last("the end", || running.child.try_wait().unwrap());
    assert_eq!(status.code(), Some(2), "{status}");
}

#[test]
fn a_watch_reads_its_lists_once() {
    let (server, here) = (OurServer::start(), TempRoot::new());
    let source = here.mkdir("in");
    here.write("in/secret", b"private");
    here.write("skipped", b"secret\n");
    let skipped = here.join("skipped");
    let log = here.join("log");
    let options = ["--exclude-from", skipped.to_str().unwrap(), "--log-file", shown(&log)];
    let running = watch(&options, &source, &server.url("t"));
    wait_until("the first run", || server.root.join("t").exists());
    // It is just being written.
    here.write("skipped", b"");
    here.write("in/new", b"new");
    wait_until("the next run", || server.root.join("t/new").exists());
    here.write("in/newer", b"newer");
    wait_until("the run after it", || server.root.join("t/newer").exists());
    assert!(!server.root.join("t/secret").exists());
    ends_by(running, Signal::TERM, 143);
    let log = String::from_utf8(here.read("log")).unwrap();
    assert_eq!(log.matches("skipped: has changed").count(), 1, "{log}");
}

#[test]
fn only_mistakes_end_a_watch() {
    let (server, here) = (OurServer::start(), TempRoot::new());
    let source = here.mkdir("in");
    let wrong = server.url("t").replace("pass%20word", "wrong");
    assert!(wrong.contains("wrong"));
    mirror(&["--watch"], shown(&source), &wrong).exited(6);
    failed(&mirror(&["--watch=no"], shown(&source), &server.url("t")), 2, "--watch");
    // A file that is still written would go; the login is not even tried.
    let moves = ["--watch", "--remove-source"];
    failed(&mirror(&moves, shown(&source), &wrong), 2, "need --min-age: ");
    failed(&mirror(&moves, &wrong, shown(&source)), 2, "need --min-age: ");
    failed(&mirror(&["--watch", "--links", "keep"], shown(&source), &server.url("t")), 2, "links");
}
