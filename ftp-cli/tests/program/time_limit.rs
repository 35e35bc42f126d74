//! `--timeout` limits the whole run, even while the program waits for something local.

use std::fs::{self, File, OpenOptions};
use std::io::{self, PipeReader, PipeWriter, Write, pipe};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ftp_tests::at_once::at_once;
use ftp_tests::process::{LIMIT, Running, run};
use ftp_tests::root::TempRoot;
use ftp_tests::site::OurServer;
use ftp_tests::wait::wait_until;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, test_kill_process};

use crate::{ftp, ftp_with_hangup};

/// Returns a pipe that is full.
fn full() -> (PipeReader, PipeWriter) {
    let (reader, writer) = pipe().unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    while (&writer).write(&[b'x'; 4_096]).is_ok() {}
    rustix::io::ioctl_fionbio(&writer, false).unwrap();
    (reader, writer)
}

fn make_fifo(here: &TempRoot, name: &str) -> String {
    let path = here.join(name);
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    path.to_str().unwrap().to_owned()
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stream {
    Null,
    /// Standard input from a pipe into which nothing is written.
    Silent,
    /// Standard output to a pipe that nothing reads.
    Full,
}

#[test]
fn a_blocked_local_side_does_not_outlast_the_timeout_li_10() {
    use Stream::{Full, Null, Silent};
    let (server, here) = (OurServer::start(), TempRoot::new());
    server.root.write("file", &[b'x'; 1 << 20]);
    // With a writer that writes nothing.
    let silent = make_fifo(&here, "silent");
    let _writer = OpenOptions::new().read(true).write(true).open(&silent).unwrap();
    let list = here.write("list", b"").to_str().unwrap().to_owned();
    let tree = here.mkdir("tree").to_str().unwrap().to_owned();
    let (file, new, top) = (server.url("file"), server.url("new"), server.url(""));
    let named = server.url("").replace("ftp://", "ftp://u@");
    // The shell passes descriptor 9.
    let fd = format!("exec \"$0\" \"$@\" 9<>{silent}");
    let rows: Vec<(Stream, Vec<&str>)> = vec![
        (Null, vec!["put", "FIFO", &new]),
        (Null, vec!["put", &silent, &new]),
        (Null, vec!["get", &file, "FIFO"]),
        (Full, vec!["get", &file, "-"]),
        (Silent, vec!["put", "-", &new]),
        (Silent, vec!["batch", &top]),
        (Null, vec!["batch", &top, "FIFO"]),
        (Silent, vec!["get", "-i", "-"]),
        (Null, vec!["ls", "--password-command", "sleep 1000; echo", &named]),
        (Null, vec!["ls", "--password-file", "FIFO", &named]),
        (Null, vec!["ls", "--password-file", &silent, &named]),
        (Null, vec!["ls", "--password-fd", "9", &named]),
        (Full, vec!["ls", &top]),
        (Full, vec!["ls", "--json", &top]),
        (Full, vec!["stat", &file]),
        (Full, vec!["quote", &top, "NOOP"]),
        (Full, vec!["mirror", "--dry-run", &top, &tree]),
        (Full, vec!["doctor", &top]),
        (Null, vec!["doctor", "--password-command", "sleep 1000; echo", &named]),
        (Null, vec!["doctor", "--password-file", "FIFO", &named]),
        (Null, vec!["get", "-i", "FIFO"]),
        (Null, vec!["put", "--log-file", "FIFO", &list, &new]),
        (Null, vec!["put", "--trace=FIFO", &list, &new]),
        (Null, vec!["put", "--lock", "FIFO", &list, &new]),
    ];
    at_once(8, rows.into_iter().enumerate(), |(row, (stream, words))| {
        // Each row has its own FIFO, so that the other end of none is open.
        let fifo = make_fifo(&here, &format!("fifo{row}"));
        let words: Vec<_> = words.iter().map(|word| word.replace("FIFO", &fifo)).collect();
        let words: Vec<&str> =
            words.iter().map(String::as_str).chain(["--timeout", "300ms"]).collect();
        let mut ftp = match words.contains(&"--password-fd") {
            false => ftp(&words),
            true => {
                let mut shell = Command::new("/bin/sh");
                shell.args(["-c", &fd, env!("CARGO_BIN_EXE_ftp-cli")]).args(&words);
                shell
            }
        };
        let (reader, writer) = pipe().unwrap();
        let (unread, filled) = full();
        match stream {
            Silent => ftp.stdin(reader),
            _ => ftp.stdin(Stdio::null()),
        };
        match stream {
            Full => ftp.stdout(filled),
            _ => ftp.stdout(Stdio::null()),
        };
        let begun = Instant::now();
        let mut ftp = Running::start(ftp.stderr(Stdio::null()));
        let status = ftp.wait(begun + LIMIT);
        assert_eq!(status.and_then(|status| status.code()), Some(10), "{words:?}");
        drop((writer, unread));
    });
    server.assert_only(&[b"file"]);
}

#[test]
fn the_timeout_of_a_blocked_run_is_reported_as_an_event_li_10() {
    let (server, here) = (OurServer::start(), TempRoot::new());
    let fifo = make_fifo(&here, "fifo");
    let ran = run(&mut ftp(&["put", "--json", "--timeout", "300ms", &fifo, &server.url("new")]));
    ran.exited(10);
    let text = String::from_utf8(ran.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let [.., error, summary] = lines.as_slice() else { panic!("{text}") };
    assert!(error.contains(r#""event":"error","kind":"timeout","exit":10,"#), "{text}");
    assert!(error.contains(r#""phase":"overall""#), "{text}");
    assert!(summary.contains(r#""event":"summary","exit":10,"kind":"timeout""#), "{text}");
    let said = String::from_utf8(ran.stderr).unwrap();
    assert!(said.contains("the overall time limit was reached"), "{said}");
}

#[test]
fn the_time_limit_begins_when_the_program_starts() {
    let server = OurServer::start();
    server.root.write("file", b"content");
    let (reader, mut writer) = pipe().unwrap();
    let mut get = ftp(&["get", "--timeout", "1 s", "-i", "-", "-o", "-"]);
    let begun = Instant::now();
    let mut get = Running::start(get.stdin(reader).stdout(Stdio::piped()).stderr(Stdio::null()));
    let _ = writeln!(writer, "{}", server.url("file"));
    let status = get.wait(begun + LIMIT).expect("it ends");
    assert_eq!(status.code(), Some(10));
    assert!(begun.elapsed() > Duration::from_millis(900), "{:?}", begun.elapsed());
}

/// Starts `ls` with a password command that writes the numbers of its processes to a file, and then
/// waits. Returns it with these numbers.
fn with_command(here: &TempRoot, url: &str, options: &[&str]) -> (Running, Vec<Pid>) {
    let (out, err) = (here.join("out"), here.join("err"));
    let ids = here.join("ids");
    let _ = fs::remove_file(&ids);
    let command = format!("sleep 1000 & echo $$ $! >{0}.new; mv {0}.new {0}; wait", ids.display());
    let mut ls = ftp_with_hangup(&["ls", "--password-command", &command, url]);
    ls.args(options).stdin(Stdio::null());
    ls.stdout(File::create(out).unwrap()).stderr(File::create(err).unwrap());
    let mut running = Running::start(&mut ls);
    running.wait_until(LIMIT, || ids.exists().then_some(())).unwrap();
    let ids = fs::read_to_string(ids).unwrap();
    let ids = ids.split_whitespace().map(|id| Pid::from_raw(id.parse().unwrap()).unwrap());
    (running, ids.collect())
}

/// Returns whether a process runs. One that has ended may remain until its parent looks.
fn runs(process: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero()));
    test_kill_process(process).is_ok() && stat.is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn a_password_command_does_not_outlive_the_program_li_10() {
    let (server, here) = (OurServer::start(), TempRoot::new());
    let url = server.url("").replace("ftp://", "ftp://u@");
    for (signal, options, code) in [
        (Some("TERM"), &[][..], Some(143)),
        (Some("INT"), &[], Some(130)),
        (Some("HUP"), &[], None),
        (None, &["--timeout", "10"], Some(10)),
    ] {
        let (mut ls, processes) = with_command(&here, &url, options);
        assert_eq!(processes.len(), 2);
        if let Some(signal) = signal {
            let id = ls.child.id().to_string();
            assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
        }
        let status = ls.wait(Instant::now() + LIMIT).expect("it ends");
        assert_eq!(status.code(), code, "{signal:?}");
        wait_until("the end of the command", || !processes.iter().any(|it| runs(*it)));
    }
}

#[test]
fn a_hangup_is_reported_as_the_last_event_li_10() {
    let (server, here) = (OurServer::start(), TempRoot::new());
    let url = server.url("").replace("ftp://", "ftp://u@");
    let (mut ls, _) = with_command(&here, &url, &["--json"]);
    let id = ls.child.id().to_string();
    assert!(Command::new("kill").args(["-s", "HUP", &id]).status().unwrap().success());
    let status = ls.wait(Instant::now() + LIMIT).expect("it ends");
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(1));
    let text = fs::read_to_string(here.join("out")).unwrap();
    let last = text.lines().last().unwrap();
    assert!(last.contains(r#""event":"summary","exit":129,"kind":"cancelled""#), "{text}");
}

#[test]
fn a_stream_that_does_not_block_is_waited_for() -> io::Result<()> {
    let server = OurServer::start();
    let content = ftp_tests::content::binary(1 << 20, 1);
    server.root.write("file", &content);
    let (mut reader, writer) = pipe()?;
    rustix::io::ioctl_fionbio(&writer, true)?;
    let mut get = ftp(&["get", "-q", &server.url("file"), "-"]);
    get.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(Stdio::null());
    let mut running = Running::start(&mut get);
    // The command holds a copy of the pipe.
    drop(get);
    // Reading begins only when the pipe is full.
    wait_until("a full pipe", || {
        let mut watched = [PollFd::new(&writer, PollFlags::OUT)];
        poll(&mut watched, Some(&Timespec::default())).is_ok_and(|ready| ready == 0)
    });
    drop(writer);
    let mut got = Vec::new();
    io::Read::read_to_end(&mut reader, &mut got)?;
    assert_eq!(running.wait(Instant::now() + LIMIT).and_then(|status| status.code()), Some(0));
    assert!(got == content);
    let (reader, mut writer) = pipe()?;
    rustix::io::ioctl_fionbio(&reader, true)?;
    let mut put = ftp(&["put", "-q", "-", &server.url("new")]);
    let mut put = Running::start(put.stdin(reader).stdout(Stdio::null()).stderr(Stdio::null()));
    writer.write_all(&content)?;
    drop(writer);
    assert_eq!(put.wait(Instant::now() + LIMIT).and_then(|status| status.code()), Some(0));
    assert!(server.root.read("new") == content);
    Ok(())
}
