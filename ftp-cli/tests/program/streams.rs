//! Standard streams that are closed, whose reader is gone, or that lead to `/dev/null` on purpose.

use std::io::{PipeWriter, pipe};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use ftp_tests::process::{clear_environment, run};
use ftp_tests::root::TempRoot;
use ftp_tests::site::OurServer;
use ftp_tests::wait::wait_until;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::{failed, ftp};

/// Returns the binary started by a shell, with a redirection.
fn redirected(arguments: &[&str], how: &str) -> Command {
    let mut shell = Command::new("/bin/sh");
    clear_environment(&mut shell).env("LC_ALL", "C.UTF-8").env("HOME", "/proc/none");
    let program = env!("CARGO_BIN_EXE_ftp-cli");
    shell.args(["-c", &format!("exec \"$0\" \"$@\" {how}"), program]).args(arguments);
    shell
}

/// A server with a file, and a directory to mirror.
fn site() -> OurServer {
    let server = OurServer::start();
    server.root.write("file", b"content");
    server
}

/// The commands that write data, results or events to standard output.
fn writers(server: &OurServer, here: &TempRoot) -> Vec<Vec<String>> {
    let (file, top) = (server.url("file"), server.url(""));
    let local = here.join("local").to_str().unwrap().to_owned();
    let tree = here.join("tree").to_str().unwrap().to_owned();
    let script = here.write("script", b"ls\n").to_str().unwrap().to_owned();
    [
        &["get", &file, "-"][..],
        &["ls", &top],
        &["stat", &file],
        &["quote", &top, "NOOP"],
        &["batch", &top, &script],
        &["mirror", "--dry-run", &top, &tree],
        &["mirror", "--json", &top, &tree],
        &["get", "--json", &file, &local],
        &["doctor", &top],
        &["man"],
        &["help"],
        &["--version"],
        &["completions", "bash"],
    ]
    .iter()
    .map(|words| words.iter().map(|word| (*word).to_owned()).collect())
    .collect()
}

#[test]
fn closed_standard_streams_are_errors() {
    let (server, here) = (site(), TempRoot::new());
    for words in writers(&server, &here) {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let ran = run(&mut redirected(&words, ">&-"));
        failed(&ran, 3, "standard output: closed");
        let ran = run(&mut redirected(&words, "<&- >&-"));
        failed(&ran, 3, "standard output: closed");
    }
    let there = server.url("there");
    for words in [&["put", "-", &there][..], &["batch", &server.url("")], &["passwd"]] {
        failed(&run(&mut redirected(words, "<&-")), 3, "standard input: closed");
    }
    server.assert_only(&[b"file"]);
    // Nothing is stored, not even over an old file.
    let there = server.url("file");
    for (input, want) in
        [("<&-", "standard input: closed"), ("</", "standard input: Is a directory")]
    {
        failed(&run(&mut redirected(&["put", "-", &there], input)), 3, want);
        assert_eq!(server.root.read("file"), b"content");
    }
    // Commands that need neither stream work without them.
    let local = here.join("local").to_str().unwrap().to_owned();
    run(&mut redirected(&["get", &server.url("file"), &local], "<&- >&- 2>&-")).succeeded();
    assert_eq!(here.read("local"), b"content");
}

#[test]
fn dev_null_is_not_taken_for_a_closed_stream() {
    let (server, here) = (site(), TempRoot::new());
    for how in [">/dev/null", "1<>/dev/null", "<>/dev/null >&0 2>&0"] {
        for words in writers(&server, &here) {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let ran = run(&mut redirected(&words, how));
            assert_eq!(ran.code(), Some(0), "{how}: {ran:?}");
        }
    }
    for how in ["</dev/null", "<>/dev/null"] {
        run(&mut redirected(&["put", "-", &server.url("empty")], how)).succeeded();
        assert_eq!(server.root.read("empty"), b"");
    }
}

/// Returns the writing end of a pipe without a reader. A program that another test has just started
/// may hold the other end for a moment.
pub(crate) fn without_reader() -> PipeWriter {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    wait_until("the end of the reader", || {
        let mut watched = [PollFd::new(&writer, PollFlags::OUT)];
        poll(&mut watched, Some(&Timespec::default())).unwrap();
        watched[0].revents().contains(PollFlags::ERR)
    });
    writer
}

#[test]
fn a_closed_output_pipe_ends_the_command_silently() {
    let (server, here) = (site(), TempRoot::new());
    for words in writers(&server, &here) {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut ftp = ftp(&words);
        ftp.stdin(Stdio::null()).stdout(without_reader()).stderr(Stdio::piped());
        let ended = ftp.spawn().unwrap().wait_with_output().unwrap();
        assert_eq!(ended.status.signal(), Some(13), "{words:?}: {ended:?}");
        assert!(ended.stderr.is_empty(), "{words:?}: {ended:?}");
    }
    assert!(!here.names().iter().any(|name| name.starts_with(b".ftp-cli-")), "{:?}", here.names());
}
