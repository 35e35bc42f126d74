//! The table of exit codes, row by row: each cause with the real binary, and the kind that `--json`
//! reports.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Instant;

use ftp_tests::port::OwnPort;
use ftp_tests::process::{LIMIT, Running, run};
use ftp_tests::root::TempRoot;
use ftp_tests::site::OurServer;

use crate::peer::{Act, Peer};
use crate::{failed, ftp};

const TEN: &str = "150 data (10 bytes)";

/// A cause, and its effect on `get`.
struct Row {
    code: i32,
    kind: &'static str,
    acts: Vec<(&'static str, Act)>,
    options: &'static [&'static str],
    /// The message for users.
    words: &'static str,
}

fn row(
    (code, kind): (i32, &'static str),
    acts: Vec<(&'static str, Act)>,
    options: &'static [&'static str],
    words: &'static str,
) -> Row {
    Row { code, kind, acts, options, words }
}

#[test]
fn each_remote_failure_has_its_exit_code_and_kind_li_06() {
    let ten = || vec![b'x'; 10];
    let say = Act::Say;
    for row in [
        row((0, ""), vec![("RETR", Act::Send(TEN, ten(), "226 done"))], &[], ""),
        row((4, "network"), vec![("RETR", Act::SendAndBreak(TEN, vec![]))], &[], "closed"),
        row((5, "tls"), vec![("USER", say("534 TLS first"))], &[], "ftpes://"),
        row((5, "tls"), vec![("RETR", say("522 data by TLS"))], &[], "522 data by TLS"),
        row((6, "login"), vec![("PASS", say("530 wrong"))], &[], "530 wrong"),
        row((6, "login"), vec![("PASS", say("332 account?"))], &[], "332"),
        row((7, "protocol"), vec![("RETR", say("hello"))], &[], "protocol error"),
        row((7, "protocol"), vec![("RETR", say("331 what"))], &[], "331 what"),
        row((8, "refused"), vec![("RETR", say("550 no such file"))], &[], "550 no such file"),
        row((9, "temporary"), vec![("RETR", say("450 busy"))], &[], "450 busy"),
        row((9, "temporary"), vec![("RETR", say("421 going down"))], &[], "421 going down"),
        row(
            (10, "timeout"),
            vec![("RETR", Act::SendAndHang(TEN, vec![b'x'; 5]))],
            &["--stall-timeout=250ms"],
            "stall",
        ),
        row((11, "integrity"), vec![("RETR", Act::Send(TEN, vec![b'x'; 9], "226 done"))], &[], "9"),
        row((13, "data"), vec![("RETR", say("425 no way"))], &[], "doctor"),
        row(
            (13, "data"),
            vec![("EPSV", say("502 no")), ("PASV", say("502 no"))],
            &[],
            "the control connection works",
        ),
        row((14, "unsupported"), vec![("EPSV", say("502 no"))], &["--epsv-all"], "EPSV"),
    ] {
        let here = TempRoot::new();
        let local = here.join("x").to_str().unwrap().to_owned();
        // First without `--json`, then with it.
        let plain = Peer::start(&row.acts);
        let ran = run(ftp(&["get", &plain.url("x"), &local]).args(row.options));
        if row.code == 0 {
            ran.clone().succeeded();
        } else {
            failed(&ran, row.code, row.words);
            assert!(here.names().is_empty(), "{:?}", here.names());
        }
        let peer = Peer::start(&row.acts);
        let ran = run(ftp(&["get", "--json", &peer.url("x"), &local]).args(row.options));
        ran.exited(row.code);
        judge(&ran.stdout, row.code, row.kind);
    }
}

/// Asserts that the last event is a summary with this code and kind, and that an error precedes it.
#[track_caller]
fn judge(stdout: &[u8], code: i32, kind: &str) {
    let text = String::from_utf8(stdout.to_vec()).unwrap();
    let last = text.lines().last().unwrap_or_default();
    assert!(last.starts_with(r#"{"v":1,"event":"summary","#), "{text}");
    assert!(last.contains(&format!("\"exit\":{code},")), "{text}");
    let kind = format!("\"kind\":\"{kind}\"");
    assert_eq!(last.contains(&kind), code != 0, "{text}");
    for line in text.lines() {
        assert!(line.starts_with(r#"{"v":1,"event":""#) && line.ends_with('}'), "{text}");
    }
    if code != 0 {
        let error = text.lines().find(|line| line.contains(r#""event":"error""#));
        assert!(error.is_some_and(|line| line.contains(&kind) || code == 12), "{text}");
    }
}

#[test]
fn each_local_failure_has_its_exit_code_and_kind_li_06() {
    let server = OurServer::start();
    server.root.write("file", b"content");
    let (url, closed) = (server.url("file"), OwnPort::claim_closed());
    let nobody = format!("ftp://{}/x", closed.address());
    for (code, kind, arguments, words) in [
        (2, "", &["get", "--no-such-option"][..], "unknown option"),
        (2, "usage", &["get", "--json", "ftp://127.0.0.1/a%0aDELE%20b"], "not an FTP URL"),
        (3, "local", &["get", "--json", &url, "/proc/none/x"], "/proc/none/x"),
        (3, "", &["get", &url, "/dev/full"], "/dev/full"),
        (4, "network", &["ls", "--json", &nobody], "refused"),
        (4, "", &["ls", "ftp://no-such-host.invalid/"], "no-such-host.invalid"),
        (6, "login", &["ls", "--json", "-u", "me", &url], "FTP_PASSWORD"),
    ] {
        let ran = run(&mut ftp(arguments));
        ran.exited(code);
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(said.contains(words), "{words}: {ran:?}");
        if !kind.is_empty() {
            judge(&ran.stdout, code, kind);
        }
    }
}

#[test]
fn an_unexpected_error_exits_with_1_li_06() {
    let mut shell = Command::new("/bin/sh");
    // Enough descriptors to start, but not for the signals.
    let line = "ulimit -n 5; exec \"$0\" ls ftp://127.0.0.1:1/";
    shell.args(["-c", line, env!("CARGO_BIN_EXE_ftp-cli")]);
    let ran = run(shell.env_clear());
    ran.exited(1);
    assert!(String::from_utf8_lossy(&ran.stderr).starts_with("ftp-cli: signals: "), "{ran:?}");
}

#[test]
fn partly_failed_items_exit_with_12_li_06() {
    let here = TempRoot::new();
    let names = ["a", "b", "c"].map(|name| here.write(name, b"x").to_str().unwrap().to_owned());
    let acts = [
        ("STOR a", Act::Take("150 go", "226 done")),
        ("STOR b", Act::Say("553 not that name")),
        ("STOR c", Act::Take("150 go", "226 done")),
        ("SIZE", Act::Say("213 1")),
    ];
    let [a, b, c] = &names;
    let peer = Peer::start(&acts);
    let ran = run(&mut ftp(&["put", "--json", a, b, c, &peer.url("")]));
    ran.exited(12);
    assert!(String::from_utf8_lossy(&ran.stderr).contains("553 not that name"), "{ran:?}");
    judge(&ran.stdout, 12, "partial");
    // If all items fail, the code is not `partial`.
    let peer = Peer::start(&[("STOR", Act::Say("553 no"))]);
    run(&mut ftp(&["put", a, b, &peer.url("")])).exited(8);
}

#[test]
fn signals_exit_with_130_and_143_li_06_li_10() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ftp://{}/x", listener.local_addr().unwrap());
        let mut get = ftp(&["get", "--json", &url, "/dev/null"]);
        get.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut get = Running::start(&mut get);
        let (mut control, _) = listener.accept().unwrap();
        control.write_all(b"220 ready\r\n").unwrap();
        let mut line = String::new();
        BufReader::new(&control).read_line(&mut line).unwrap();
        let id = get.child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
        let status = get.wait(Instant::now() + LIMIT).expect("it ends");
        assert_eq!(status.code(), Some(code));
        let output = std::io::read_to_string(get.child.stdout.take().unwrap()).unwrap();
        let last = output.lines().last().unwrap_or_default();
        assert!(last.contains(&format!("\"exit\":{code},\"kind\":\"cancelled\"")), "{output}");
    }
}

/// The codes in `help` and in the documents are the actual ones.
#[test]
fn help_and_documents_list_the_exit_codes_li_06() {
    let help = String::from_utf8(run(&mut ftp(&["help"])).succeeded()).unwrap();
    let table = help.split("\nExit codes\n").nth(1).unwrap();
    let codes = |line: &str| line.split_whitespace().next()?.parse::<i32>().ok();
    // A meaning may continue on the next line.
    let table = table.lines().take_while(|line| !line.is_empty());
    let codes: Vec<i32> = table.filter_map(codes).collect();
    assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 130, 143]);
    let scripts = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/scripts.md");
    let scripts = std::fs::read_to_string(scripts).unwrap();
    for code in codes {
        assert!(scripts.contains(&format!("\n| {code} | ")), "docs/scripts.md lacks {code}");
    }
}

/// A message names its server once, whatever the command.
#[test]
fn an_unreachable_server_is_named_once_in_the_message() {
    let (closed, here) = (OwnPort::claim_closed(), TempRoot::new());
    let url = format!("ftp://{}/d/", closed.address());
    here.write("file", b"");
    for arguments in [
        &["get", "-P", ".", &url[..url.len() - 1]][..],
        &["put", "file", &url],
        &["ls", &url],
        &["stat", &url],
        &["rm", "-r", &url],
        &["mkdir", &url],
        &["rmdir", &url],
        &["mv", &url, "e"],
        &["chmod", "600", &url],
        &["quote", &url, "NOOP"],
        &["mirror", &url, "."],
        &["mirror", ".", &url],
        &["fxp", "-r", &url, &url],
    ] {
        let ran = run(ftp(arguments).current_dir(here.path()));
        failed(&ran, 4, "cannot connect to");
        let said = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(said.matches("ftp://").count(), 1, "{said}");
    }
}
