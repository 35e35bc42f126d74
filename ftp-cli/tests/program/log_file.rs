//! `--log-file`: the record of a run with timestamps, for cron jobs.

use std::fs;

use ftp_tests::process::run;
use ftp_tests::root::TempRoot;
use ftp_tests::site::OurServer;

use crate::{failed, ftp};

/// Returns the messages of a log file. Each line must begin with a time and the process.
fn messages(log: &str) -> Vec<&str> {
    log.lines()
        .map(|line| {
            let (time, rest) = line.split_once(' ').unwrap();
            let form = time.chars().map(|char| if char.is_ascii_digit() { '0' } else { char });
            assert_eq!(form.collect::<String>(), "0000-00-00T00:00:00.000Z", "{line}");
            let (process, message) = rest.split_once(": ").unwrap();
            let id = process.strip_prefix("ftp-cli[").and_then(|rest| rest.strip_suffix(']'));
            assert!(id.is_some_and(|id| id.parse::<u32>().is_ok()), "{line}");
            message
        })
        .collect()
}

#[test]
fn a_log_file_keeps_successes_failures_and_exit_codes() {
    let server = OurServer::start();
    server.root.write("file", b"content");
    let here = TempRoot::new();
    let file = here.join("log");
    let log = file.to_str().unwrap();
    let target = here.join("copy");
    let get = |path: &str, options: &[&str]| {
        let url = server.url(path);
        let mut ftp = ftp(&["get", "--log-file", log]);
        run(ftp.args(options).arg(url).arg(&target))
    };
    // Standard error is empty after a success.
    let ran = get("file", &[]);
    assert!(ran.stderr.is_empty(), "{ran:?}");
    ran.exited(0);
    // The log file is appended to, and --quiet omits nothing from it.
    get("file", &["-q", "--no-clobber"]).exited(0);
    failed(&get("none\n", &[]), 2, "");
    failed(&get("none", &[]), 8, "550");
    let text = fs::read_to_string(&file).unwrap();
    let messages = messages(&text);
    assert_eq!(messages.len(), 8, "{text}");
    assert!(messages[0].starts_with("file -> ") && messages[0].contains("7 B in "), "{text}");
    assert_eq!(messages[1], "exit status 0");
    assert!(messages[2].ends_with("skipped"), "{text}");
    assert_eq!([messages[3], messages[5], messages[7]].map(|end| end.len()), [13; 3], "{text}");
    assert!(messages[6].contains("550"), "{text}");
    assert_eq!(messages[7], "exit status 8");
}

#[test]
fn a_log_file_that_cannot_be_opened_or_written_is_reported() {
    let server = OurServer::start();
    server.root.write("file", b"content");
    let ran = run(&mut ftp(&["stat", "--log-file", "/proc/none/log", &server.url("file")]));
    failed(&ran, 3, "/proc/none/log: No such file");
    let ran = run(&mut ftp(&["stat", "--log-file=", &server.url("file")]));
    failed(&ran, 2, "--log-file: the path is empty");
    // The run continues, and reports once that its log is lost.
    let ran = run(&mut ftp(&["stat", "-v", "--log-file", "/dev/full", &server.url("file")]));
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert_eq!(said.matches("--log-file: cannot write: No space left").count(), 1, "{ran:?}");
    ran.exited(0);
    let ran = run(&mut ftp(&["stat", "--trace=/dev/full", &server.url("file")]));
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert_eq!(said.matches("--trace: cannot write: No space left").count(), 1, "{ran:?}");
    ran.exited(0);
}

#[test]
fn a_log_file_shows_no_password_and_no_forged_line() {
    let server = OurServer::start();
    let here = TempRoot::new();
    let file = here.join("log");
    let log = file.to_str().unwrap();
    run(&mut ftp(&["get", "--log-file", log, "me:secret@host/x"])).exited(2);
    run(&mut ftp(&["get", "--log-file", log, &server.url("a%1b[2Jb")])).exited(8);
    let text = fs::read_to_string(&file).unwrap();
    assert!(!text.contains("secret"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
    messages(&text);
}
