//! `get`: completely or not at all.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Stdio;

use ftp_server::{Limits, ServerConfig};
use ftp_tests::port::OwnPort;
use ftp_tests::process::{LIMIT, Running, run};
use ftp_tests::root::TempRoot;
use ftp_tests::site::OurServer;
use ftp_tests::wait::wait_until;

use crate::peer::{Act, Peer};
use crate::{failed, ftp};

const TEN: &str = "150 data (10 bytes)";

/// A directory that contains `old`.
fn with_old() -> (TempRoot, String) {
    let here = TempRoot::new();
    let old = here.write("old", b"old").to_str().unwrap().to_owned();
    (here, old)
}

#[test]
fn c_is_advised_only_where_it_can_resume() {
    let here = TempRoot::new();
    for (options, advised) in [(&[][..], true), (&["-a"], false), (&["-a", "--in-place"], false)] {
        let peer = Peer::start(&[("RETR f", Act::SendAndBreak("150 data", b"some".to_vec()))]);
        let mut get = ftp(&["get", &peer.url("f")]);
        let ran = run(get.args(options).arg(here.join("x")));
        let said = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(said.contains("use -c"), advised, "{options:?}: {said}");
        assert_eq!(ran.code(), Some(4), "{said}");
    }
}

#[test]
fn a_failed_download_keeps_only_the_old_file_li_06_li_07_hl_04() {
    let data = |length| vec![b'x'; length];
    for (retr, code, words) in [
        (Act::Say("550 no such file"), 8, "550 no such file"),
        (Act::Say("450 busy"), 9, "450 busy"),
        (Act::Say("421 going down"), 9, "421 going down"),
        (Act::Say("425 no way"), 13, "425 no way"),
        (Act::Say("331 what"), 7, "331 what"),
        (Act::Say("hello"), 7, ""),
        (Act::Send(TEN, data(9), "226 done"), 11, "9 of 10"),
        (Act::Send(TEN, data(9), "426 cut"), 9, "426 cut"),
        (Act::Send(TEN, data(10), "451 disk"), 9, "451 disk"),
        (Act::Send("150 data", data(10), "551 disk"), 8, "551 disk"),
        (Act::SendAndBreak(TEN, data(10)), 4, ""),
        (Act::SendAndHang(TEN, data(5)), 10, "stall"),
    ] {
        let (here, old) = with_old();
        let shown = format!("{retr:?}");
        // The client does not try the path part by part, which would cause a second 550: it has
        // only one part.
        let peer = Peer::start(&[("RETR", retr)]);
        let limits: &[&str] = if code == 10 { &["--stall-timeout", "500ms"] } else { &[] };
        let ran = run(ftp(&["get", &peer.url("x"), &old]).args(limits));
        failed(&ran, code, words);
        assert_eq!(here.read("old"), b"old", "{shown}");
        assert_eq!(here.names(), [b"old"], "{shown}");
    }
}

#[test]
fn size_is_sent_if_the_150_reply_has_no_size() {
    for (size, code) in [("213 10", 0), ("550 no", 0), ("450 busy", 0), ("213 11", 11)] {
        let (here, old) = with_old();
        let send = Act::Send("150 data", vec![b'x'; 10], "226 done");
        let peer = Peer::start(&[("RETR", send), ("SIZE", Act::Say(size))]);
        run(&mut ftp(&["get", &peer.url("x"), &old])).exited(code);
        assert_eq!(here.read("old").len(), if code == 0 { 10 } else { 3 }, "{size}");
        assert_eq!(here.names(), [b"old"]);
        assert!(peer.seen().contains("SIZE x"), "{}", peer.seen());
    }
    let (_here, old) = with_old();
    let peer = Peer::start(&[("RETR", Act::Send(TEN, vec![b'x'; 10], "226 done"))]);
    run(&mut ftp(&["get", &peer.url("x"), &old])).succeeded();
    // The client does not wait for long after its last command.
    wait_until("the QUIT", || peer.seen().ends_with(", QUIT"));
    assert_eq!(peer.seen(), "USER anonymous, PASS anonymous@, TYPE I, EPSV, RETR x, QUIT");
}

#[test]
fn a_refused_path_is_retried_one_directory_at_a_time_cl_60() {
    let refused = || ("RETR a/b/x", Act::Say("550 no"));
    let sent = || ("RETR x", Act::Send(TEN, vec![b'x'; 10], "226 done"));
    let (here, old) = with_old();
    let peer = Peer::start(&[refused(), sent()]);
    run(&mut ftp(&["get", &peer.url("a/b/x"), &old])).succeeded();
    assert_eq!(here.read("old").len(), 10);
    assert!(peer.seen().contains("CWD a, CWD b, "), "{}", peer.seen());

    let peer = Peer::start(&[refused(), sent(), ("CWD b", Act::Say("550 not there"))]);
    failed(&run(&mut ftp(&["get", &peer.url("a/b/x"), &old])), 8, "550 no");

    // An escaped `/` is inside a part, and does not separate two.
    let peer = Peer::start(&[refused(), sent()]);
    run(&mut ftp(&["get", &peer.url("a%2Fb/x"), &old])).succeeded();
    assert!(peer.seen().contains("RETR a/b/x, CWD a/b, EPSV, RETR x, "), "{}", peer.seen());
}

#[test]
fn the_local_operand_can_be_a_link_directory_or_device_li_08_hl_05_hl_06() {
    let server = OurServer::start();
    server.root.write("file", b"new");
    let url = server.url("file");
    let here = TempRoot::new();
    let get = |local: &str| {
        let local = here.join(local);
        run(ftp(&["get", &url]).arg(local))
    };
    here.write("real", b"old");
    fs::set_permissions(here.join("real"), Permissions::from_mode(0o640)).unwrap();
    symlink("real", here.join("link")).unwrap();
    get("link").succeeded();
    assert_eq!(here.read("real"), b"new");
    assert!(here.join("link").is_symlink());
    assert_eq!(fs::metadata(here.join("real")).unwrap().permissions().mode() & 0o777, 0o640);

    here.mkdir("dir");
    get("dir").succeeded();
    assert_eq!(here.read("dir/file"), b"new");
    here.mkdir("taken/file".strip_suffix("/file").unwrap());
    here.mkdir("taken/file");
    failed(&get("taken"), 3, "taken/file");
    run(&mut ftp(&["get", &url, "/dev/null"])).succeeded();
    run(ftp(&["get", &url]).current_dir(here.path())).succeeded();
    assert_eq!(here.read("file"), b"new");
    // A new file has the usual permissions.
    assert_eq!(fs::metadata(here.join("file")).unwrap().permissions().mode() & 0o600, 0o600);
    assert_ne!(fs::metadata(here.join("file")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(run(&mut ftp(&["get", &url, "-"])).succeeded(), b"new");
}

#[test]
fn a_full_disk_is_a_local_failure_hl_07() {
    let server = OurServer::start();
    server.root.write("file", &[b'x'; 100_000]);
    failed(&run(&mut ftp(&["get", &server.url("file"), "/dev/full"])), 3, "/dev/full");
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let mut child = ftp(&["get", &server.url("file"), "-"]);
    let status = child.stdout(full).stderr(Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(3));
}

/// The acts of one connection: the facts of the file, and its data.
fn told(size: &'static str, modified: &'static str, retr: Act) -> Vec<(&'static str, Act)> {
    vec![("SIZE", Act::Say(size)), ("MDTM", Act::Say(modified)), ("RETR", retr)]
}

const THEN: &str = "213 19990101000000";

#[test]
fn continue_keeps_a_partial_file_and_resumes_it() {
    let content: Vec<u8> = (0..25_000_u32).flat_map(u32::to_be_bytes).collect();
    let (here, file) = (TempRoot::new(), "file");
    let local = here.join(file).to_str().unwrap().to_owned();
    let cut = Act::Send("150 data (100000 bytes)", content[..80_000].to_vec(), "426 cut");
    let rest = Act::Send("150 data (100000 bytes)", content[14_464..].to_vec(), "226 done");
    let size = "213 100000";
    let peer = Peer::start_several(vec![
        told(size, THEN, cut),
        told(size, THEN, rest),
        told(size, THEN, Act::Say("550 not again")),
    ]);
    let get = || run(&mut ftp(&["get", "-c", &peer.url("x"), &local]));
    failed(&get(), 9, "file.part; use -c to resume");
    assert_eq!(here.names(), [b"file.part"]);

    // The rest; by now there is also an old file, which stays until the end.
    here.write(file, b"old");
    get().succeeded();
    assert!(peer.seen().contains("REST 14464, RETR x"), "{}", peer.seen());
    assert_eq!(here.read(file), content);
    assert_eq!(here.names(), [b"file"]);

    // The file is complete: nothing is downloaded.
    get().succeeded();
}

#[test]
fn continue_starts_over_if_the_file_has_changed_as_09() {
    for (size, modified, is_resumed) in [
        ("213 100", THEN, true),
        ("213 100", "550 no", false),
        ("213 100", "213 29990101000000", false),
        ("213 39", THEN, false),
        ("550 no", THEN, false),
    ] {
        let here = TempRoot::new();
        let local = here.join("file").to_str().unwrap().to_owned();
        let length = if size == "213 39" { 39 } else { 100 };
        let bytes = |byte| vec![byte; length];
        // Bytes that are resumed are received again, so they are the same here.
        let whole = bytes(if is_resumed { b'a' } else { b'b' });
        let sent = Act::Send("150 data", whole.clone(), "226 done");
        let cut = Act::Send("150 data", vec![b'a'; 40], "426 cut");
        let peer =
            Peer::start_several(vec![told("213 100", THEN, cut), told(size, modified, sent)]);
        let get = || run(&mut ftp(&["get", "-c", &peer.url("x"), &local]));
        get().exited(9);
        let ran = get();
        let said = String::from_utf8_lossy(&ran.stderr).contains("downloading from the start");
        assert_eq!(said, !is_resumed, "{size} {modified}: {ran:?}");
        ran.exited(0);
        assert_eq!((here.read("file"), here.names()), (whole, vec![b"file".to_vec()]));
    }
}

#[test]
fn a_resumed_file_of_the_wrong_size_fails() {
    let here = TempRoot::new();
    let local = here.join("file").to_str().unwrap().to_owned();
    let cut = Act::Send("150 data", vec![b'a'; 40], "426 cut");
    let short = Act::Send("150 data", vec![b'a'; 99], "226 done");
    let peer = Peer::start_several(vec![told("213 100", THEN, cut), told("213 100", THEN, short)]);
    let get = || run(&mut ftp(&["get", "-c", &peer.url("x"), &local]));
    get().exited(9);
    failed(&get(), 11, "99 bytes");
}

#[test]
fn the_trace_explains_and_hides_the_password_li_12() {
    let server = OurServer::start();
    server.root.write("file", b"x");
    let here = TempRoot::new();
    let log = here.join("log").to_str().unwrap().to_owned();
    let trace = format!("--trace={log}");
    let url = format!("ftp://user@{}/file", server.address);
    let password = here.write("password", b"pass word\n").to_str().unwrap().to_owned();
    fs::set_permissions(&password, Permissions::from_mode(0o600)).unwrap();
    let arguments = ["get", &trace, "--epsv", "never", "--password-file", &password, &url, "-"];
    let ran = run(&mut ftp(&arguments));
    assert!(ran.stderr.is_empty(), "{ran:?}");
    ran.succeeded();
    let log = String::from_utf8(here.read("log")).unwrap();
    for want in ["> USER user\n", "> PASS ****\n", "= 227: 127.0.0.1 port ", "*256+", "< 226 "] {
        assert!(log.contains(want), "no {want} in {log}");
    }
    assert!(!log.contains("pass word"), "{log}");

    let mut ftp = ftp(&["get", "--trace", &url, "-"]);
    let ran = run(ftp.env("FTP_PASSWORD", "pass word"));
    assert!(String::from_utf8_lossy(&ran.stderr).contains("> RETR file\n"), "{ran:?}");
    assert_eq!(ran.succeeded(), b"x");
}

#[test]
fn data_connections_follow_the_options_cl_25_cl_27_cl_33_cl_34() {
    let server = OurServer::start();
    server.root.write("file", b"whole");
    let url = server.url("file");
    let own = OwnPort::claim();
    let free = own.number().to_string();
    for (options, want) in [
        (&["--epsv-all"][..], "> EPSV ALL\n"),
        (&["--epsv", "never", "--passive-address", "reply"], "> PASV\n"),
        (&["--active", "--active-address", "localhost"], "> EPRT |1|127.0.0.1|"),
        (&["--active", "--active-ports", &free], &format!("> EPRT |1|127.0.0.1|{free}|\n")),
    ] {
        let ran = run(ftp(&["get", "--trace", &url, "-"]).args(options));
        assert!(String::from_utf8_lossy(&ran.stderr).contains(want), "{options:?}: {ran:?}");
        assert_eq!(ran.succeeded(), b"whole", "{options:?}");
    }
    let peer = Peer::start(&[("EPSV ALL", Act::Say("502 no such promise"))]);
    let ran = run(&mut ftp(&["get", "--epsv-all", &peer.url("x"), "-"]));
    failed(&ran, 14, "EPSV ALL refused: 502 no such promise");

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let ran = run(&mut ftp(&["get", "--active", "--active-ports", &port, &url, "-"]));
    failed(&ran, 13, &format!("no free port in {port}: all of them are in use"));

    // A third host, without a listener.
    let announced = Act::Say("227 ok (127,0,0,2,7,1)");
    let peer = Peer::start(&[("PASV", announced), ("RETR", Act::Say("150 data"))]);
    let arguments = ["get", "--epsv", "never", "--passive-address", "reply", &peer.url("x"), "-"];
    let ran = run(&mut ftp(&arguments));
    failed(&ran, 13, "the address rule `peer` would use 127.0.0.1");
    failed(&ran, 13, "see --passive-address");
}

#[test]
fn pipeline_sends_commands_together_cl_14() {
    let server = OurServer::start();
    server.root.write("file", b"whole");
    let sent = |options: &[&str]| {
        let ran = run(ftp(&["get", "--trace", &server.url("file"), "-"]).args(options));
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(ran.succeeded(), b"whole");
        let marks = said.lines().filter_map(|line| line.split(' ').nth(1).map(str::to_owned));
        marks.filter(|mark| mark != "=").collect::<String>()
    };
    // The greeting, USER, PASS, then TYPE, EPSV and RETR with 150 and 226, QUIT.
    assert_eq!(sent(&["--pipeline"]), "<><><>>><<<<><");
    assert_eq!(sent(&[]), "<><><><><><<><");
}

#[test]
fn progress_is_silent_in_a_pipe_unless_it_is_wanted() {
    let server = OurServer::start();
    server.root.write("file", &[b'x'; 1_000]);
    let url = server.url("file");
    assert!(run(&mut ftp(&["get", &url, "/dev/null"])).stderr.is_empty());
    let ran = run(&mut ftp(&["get", &url, "/dev/null", "--progress", "always"]));
    assert!(String::from_utf8_lossy(&ran.stderr).contains("file"), "{ran:?}");
    let ran = run(&mut ftp(&["get", "-v", &url, "/dev/null"]));
    assert!(String::from_utf8_lossy(&ran.stderr).contains("1000 B in"), "{ran:?}");
}

#[test]
fn verbose_ends_with_what_the_run_cost() {
    let server = OurServer::start();
    server.root.write("file", &[b'x'; 1_000]);
    let said = |ran: &ftp_tests::process::Ran| {
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        said.lines().next_back().unwrap_or_default().to_owned()
    };
    // Connecting, greeting, USER, PASS, TYPE, EPSV, RETR, the data connection, QUIT.
    let line = said(&run(&mut ftp(&["get", "-v", &server.url("file"), "/dev/null"])));
    assert!(line.starts_with("ftp-cli: 1 file, 1000 B, 9 round trips of "), "{line}");
    assert!(line.contains(" ms, 1 connection, login "), "{line}");
    // A failure follows it.
    let ran = run(&mut ftp(&["get", "-v", &server.url("none"), "/dev/null"]));
    ran.exited(8);
    assert!(String::from_utf8_lossy(&ran.stderr).contains(", 1 connection, login "), "{ran:?}");

    let config = ServerConfig::new().limits(Limits::new().per_user(1).rate_per_session(100_000));
    let server = OurServer::with(config);
    let urls = ["a", "b", "c"].map(|name| {
        server.root.write(name, &[b'x'; 50_000]);
        server.url(name)
    });
    let here = TempRoot::new();
    let mut get = ftp(&["get", "-v", "-j", "3"]);
    let line = said(&run(get.args(urls).current_dir(here.join(""))));
    assert!(line.starts_with("ftp-cli: 3 files, 146.5 KiB, "), "{line}");
}

#[test]
fn timeout_limits_the_whole_run() {
    let peer = Peer::start(&[("RETR", Act::SendAndHang(TEN, Vec::new()))]);
    failed(
        &run(&mut ftp(&["get", "--timeout", "1", &peer.url("x"), "-"])),
        10,
        "overall time limit",
    );
}

#[test]
fn error_messages_name_the_url() {
    let here = TempRoot::new();
    let local = here.join("x").to_str().unwrap().to_owned();
    for (verb, option) in [("USER", "-q"), ("PASS", "-q"), ("TYPE", "-q"), ("SIZE", "-c")] {
        here.write("x", b"beginning");
        let peer = Peer::start(&[(verb, Act::Say("421 going down"))]);
        let ran = run(&mut ftp(&["get", option, &peer.url("x"), &local]));
        failed(&ran, 9, &format!("ftp-cli: {}: ", peer.url("x")));
    }
}

#[test]
fn continue_keeps_the_partial_file_if_the_server_refuses() {
    // The size is unknown, so the download starts from byte 0, but only once the server has begun.
    for size in ["550 no such file", "213 2"] {
        let here = TempRoot::new();
        here.write("file.part", b"hello");
        let local = here.join("file").to_str().unwrap().to_owned();
        let acts = [("SIZE", Act::Say(size)), ("RETR", Act::Say("550 no such file"))];
        let ran = run(&mut ftp(&["get", "-c", &Peer::start(&acts).url("x"), &local]));
        failed(&ran, 8, "550 no such file");
        assert_eq!(here.read("file.part"), b"hello", "{size}");
    }
    // No empty file is left if there was none before.
    let here = TempRoot::new();
    let local = here.join("file").to_str().unwrap().to_owned();
    let peer = Peer::start(&[("RETR", Act::Say("550 no such file"))]);
    failed(&run(&mut ftp(&["get", "-c", &peer.url("x"), &local])), 8, "550 no such file");
    assert!(here.names().is_empty());
}

#[test]
fn two_runs_cannot_resume_the_same_file() {
    let here = TempRoot::new();
    let local = here.join("file").to_str().unwrap().to_owned();
    let hang = Act::SendAndHang("150 data (10 bytes)", b"12345".to_vec());
    let first = Peer::start(&[("RETR", hang)]);
    let mut get = Running::start(&mut ftp(&["get", "-c", &first.url("x"), &local]));
    let holds = || here.join("file.part").metadata().is_ok_and(|m| m.len() == 5).then_some(());
    get.wait_until(LIMIT, holds).unwrap();
    let acts = [
        ("SIZE", Act::Say("213 10")),
        ("RETR", Act::Send("150 data (10 bytes)", b"1234567890".to_vec(), "226 done")),
    ];
    let ran = run(&mut ftp(&["get", "-c", &Peer::start(&acts).url("x"), &local]));
    failed(&ran, 3, "another program is writing to it");
    assert_eq!(here.read("file.part"), b"12345");
    drop(get);
    run(&mut ftp(&["get", "-c", &Peer::start(&acts).url("x"), &local])).succeeded();
    assert_eq!((here.read("file"), here.names()), (b"1234567890".to_vec(), vec![b"file".to_vec()]));
}
