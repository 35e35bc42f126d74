//! The options of `get` and `put`: several files, checks, times, retries.

mod continued;
mod provenance;
mod retries;
mod uploaded;

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use ftp_tests::port::{OwnPort, OwnPorts};
use ftp_tests::process::{LIMIT, Running, run, run_with};
use ftp_tests::root::TempRoot;
use ftp_tests::site::OurServer;
use ftp_tests::wait::at_last;

use crate::peer::{Act, Peer};
use crate::{failed, ftp};

const TEN: &str = "150 data (10 bytes)";
const PLAIN: &str = "150 data";

fn ten(byte: u8) -> Vec<u8> {
    vec![byte; 10]
}

fn sent(byte: u8) -> Act {
    Act::Send(TEN, ten(byte), "226 done")
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// Returns how often a line with the beginning `start` arrived.
fn count(peer: &Peer, start: &str) -> usize {
    peer.seen().split(", ").filter(|line| line.starts_with(start)).count()
}

#[test]
fn jobs_share_the_ports_of_active_mode() {
    let (server, here) = (OurServer::start(), TempRoot::new());
    let ports = OwnPorts::claim(2).ranges().to_string();
    let names: Vec<String> = (0..8).map(|number| format!("file{number}")).collect();
    for name in &names {
        server.root.write(name, &[b'x'; 50_000]);
    }
    let urls: Vec<String> = names.iter().map(|name| server.url(name)).collect();
    let (at, top) = (here.join("got"), server.url(""));
    let at = at.to_str().unwrap();
    let mut get = vec!["get", "--create-dirs", "-P", at];
    get.extend(urls.iter().map(String::as_str));
    let tree = here.join("tree").to_str().unwrap().to_owned();
    for words in [get, vec!["mirror", &top, &tree]] {
        // Slow enough that the transfers overlap.
        let slow = ["-j", "4", "--limit-rate", "1M", "--active", "--active-ports", &ports];
        run(ftp(&words).args(slow)).succeeded();
    }
    for directory in [at, &tree] {
        assert_eq!(fs::read_dir(directory).unwrap().count(), names.len());
    }
}

#[test]
fn several_files_use_one_control_connection_tl_24() {
    let here = TempRoot::new();
    // The peer accepts one connection.
    let peer =
        Peer::start(&[("RETR a", sent(b'a')), ("RETR d/b", sent(b'b')), ("RETR", sent(b'c'))]);
    let urls = [peer.url("a"), peer.url("d/b"), peer.url("c")];
    run(ftp(&["get", "-P"]).arg(here.path()).args(&urls)).succeeded();
    assert_eq!(here.names(), [b"a", b"b", b"c"]);
    assert_eq!(here.read("b"), ten(b'b'));
    assert_eq!((count(&peer, "USER"), count(&peer, "TYPE")), (1, 1), "{}", peer.seen());

    // One file fails, the others arrive; another user needs another connection, which is refused
    // here.
    let here = TempRoot::new();
    let peer = Peer::start(&[("RETR a", Act::Say("550 no such file")), ("RETR b", sent(b'b'))]);
    let ran = run(ftp(&["get", "-P"]).arg(here.path()).args([peer.url("a"), peer.url("b")]));
    failed(&ran, 12, "1 of 2 files fetched, 1 failed, 0 not tried");
    failed(&ran, 12, "550 no such file");
    assert_eq!(here.names(), [b"b"]);
}

#[test]
fn a_fallback_cwd_does_not_change_the_path_of_the_next_file_cl_60() {
    // After the CWD for the first file, a plain name would be another file: the client logs in
    // again.
    let server = OurServer::start();
    server.root.mkdir("d");
    server.root.write("d/x", b"wrong");
    server.root.write("x", b"right");
    let here = TempRoot::new();
    let urls = [format!("{}d/missing", server.url("")), server.url("x")];
    run(ftp(&["get", "-P"]).arg(here.path()).args(&urls)).exited(12);
    assert_eq!(here.read("x"), b"right");
}

#[test]
fn operands_that_would_lose_a_file_are_refused() {
    let closed = OwnPort::claim_closed();
    let url = |name: &str| format!("ftp://{}/{name}", closed.address());
    let here = TempRoot::new();
    let dir = text(here.path());
    for (arguments, words) in [
        (vec!["get", &url("a"), &url("b"), &dir], "-P DIR"),
        (vec!["get", &url("a"), "host:b"], "./NAME"),
        (vec!["get", "-P", &dir, &url("a"), &url("d/a")], "a: target of two sources"),
        (vec!["get", "-P", &dir, &url("d/..")], "does not name a file"),
        (vec!["get", "-P", &dir], "needs URLs"),
        (vec!["get", "-j", "2", &url("a"), &dir], "-P DIR URL..."),
        (vec!["get", "-j", "0", "-P", &dir, &url("a")], "expected 1 to 64"),
        (vec!["get", "-c", &url("a"), "-"], "regular local file"),
        (vec!["get", "-p", &url("a"), "-"], "regular local file"),
        (vec!["get", "--retry-delay", "1", &url("a"), "-"], "--retry"),
        (vec!["get", "--limit-rate", "0", &url("a"), "-"], "greater than 0"),
        (vec!["get", "-a", "--verify", "hash", &url("a"), "-"], "--ascii"),
        (vec!["put", "--append", "--if-changed", "x", &url("a")], "append the file again"),
        (vec!["get", "-4", "-6", &url("a"), "x"], "exclude each other"),
        (vec!["ls", "-h", &url("")], "needs --long"),
        (vec!["ls", "-a", "--listing=mlsd", &url("")], "MLSD has no flag"),
        (vec!["get", "--in-place", "-n", &url("a"), "x"], "exclude each other"),
        (vec!["get", "--in-place", "--newer", &url("a"), "x"], "exclude each other"),
        (vec!["put", "--append", "-c", "x", &url("a")], "exclude each other"),
        (vec!["put", "--unique", "-c", "x", &url("a")], "exclude each other"),
        (vec!["put", "-p", "-", &url("a")], "not standard input"),
        (vec!["put", "--append", "--verify", "hash", "x", &url("a")], "exclude each other"),
    ] {
        failed(&run(&mut ftp(&arguments)), 2, words);
    }
    assert!(here.names().is_empty());
}

#[test]
fn no_clobber_skips_existing_files_and_reports_it() {
    let here = TempRoot::new();
    let old = text(&here.write("old", b"old"));
    // Nothing is sent for an existing file.
    let closed = OwnPort::claim_closed();
    let ran = run(&mut ftp(&["get", "-n", &format!("ftp://{}/x", closed.address()), &old]));
    assert!(String::from_utf8_lossy(&ran.stderr).contains("old: exists, skipped"), "{ran:?}");
    ran.succeeded();
    assert_eq!(here.read("old"), b"old");

    let feat = |text| ("FEAT", Act::Say(text));
    let (size, both) = ("211-x\r\n SIZE\r\n211 end", "211-x\r\n SIZE\r\n MDTM\r\n211 end");
    let facts = "211-x\r\n MDTM\r\n MLST type*;\r\n211 end";
    let there = ("MDTM", Act::Say("213 20260101000000"));
    let here_is = || ("MLST", Act::Say("250-x\r\n type=dir; /\r\n250 end"));
    let listed = |name: &str| {
        let line = format!("-rw------- 1 u g 5 Jan 2 2020 {name}\r\n").into_bytes();
        ("LIST", Act::Send("150 list", line, "226 done"))
    };
    for (acts, code, stores) in [
        (vec![there], 0, false),
        (vec![("SIZE", Act::Say("550 no")), feat(size)], 14, false),
        (vec![("SIZE", Act::Say("550 no")), feat(size), listed("y")], 0, true),
        (vec![("SIZE", Act::Say("550 no"))], 14, false),
        // A size alone may be that of an interrupted upload, which is not a file yet.
        (vec![("SIZE", Act::Say("213 3")), feat(both)], 14, false),
        (vec![("SIZE", Act::Say("213 3")), feat(size)], 14, false),
        // Only MLST has a refusal that is a proof, and only by 550.
        (vec![("MLST x", Act::Say("550 no")), here_is(), feat(facts)], 0, true),
        (vec![("MLST", Act::Say("550 no")), feat(facts)], 14, false),
        (vec![("MLST", Act::Say("500 what")), feat(facts), listed("x")], 0, false),
        (vec![("MLST", Act::Say("500 what")), feat(facts)], 14, false),
        // vsftpd refuses MDTM and SIZE for a file that anonymous users must not read.
        (vec![("MDTM", Act::Say("550 no")), feat(both), listed("x")], 0, false),
        (vec![("MDTM", Act::Say("550 no")), feat(both), listed("y")], 0, true),
        (vec![("MDTM", Act::Say("550 no")), feat(both), ("LIST", Act::Say("550 no"))], 14, false),
    ] {
        let stored = ("STOR", Act::Take("150 go", "226 done"));
        let peer = Peer::start(&[acts, vec![stored]].concat());
        let ran = run(&mut ftp(&["put", "-n", "--verify", "none", &old, &peer.url("x")]));
        ran.exited(code);
        assert_eq!(count(&peer, "STOR"), usize::from(stores), "{}", peer.seen());
        if code == 0 && !stores {
            assert!(String::from_utf8_lossy(&ran.stderr).contains("x: exists, skipped"), "{ran:?}");
        }
    }
    // A directory that is proved to be missing holds nothing.
    for (name, code) in [("c", 0), ("d", 14)] {
        let peer = Peer::start(&[
            ("MDTM", Act::Say("550 no")),
            feat(both),
            listed(name),
            ("PWD", Act::Say("257 \"/\"")),
            ("CWD d", Act::Say("550 no")),
            ("STOR", Act::Take("150 go", "226 done")),
        ]);
        let ran = run(&mut ftp(&["put", "-n", "--verify", "none", &old, &peer.url("d/x")]));
        ran.exited(code);
        assert_eq!(count(&peer, "STOR"), usize::from(code == 0), "{}", peer.seen());
    }
    // Without a time, only a proved absence lets `--newer` store anything.
    for (acts, code) in [
        (vec![("MDTM", Act::Say("550 no")), feat(both), listed("x")], 14),
        (vec![("MDTM", Act::Say("500 no")), feat(both)], 14),
        (vec![("SIZE", Act::Say("550 no")), feat(size)], 14),
        (vec![("MDTM", Act::Say("550 no")), feat(both), listed("y")], 0),
        (vec![("MLST x", Act::Say("550 no")), here_is(), feat(facts)], 0),
        (vec![("MLST", Act::Say("550 no")), feat(facts)], 14),
    ] {
        let stored = ("STOR", Act::Take("150 go", "226 done"));
        let peer = Peer::start(&[acts, vec![stored]].concat());
        let ran = run(&mut ftp(&["put", "--newer", "--verify", "none", &old, &peer.url("x")]));
        ran.exited(code);
        assert_eq!(count(&peer, "STOR"), usize::from(code == 0), "{}", peer.seen());
    }
}

#[test]
fn no_clobber_keeps_a_file_created_during_the_download() {
    let here = TempRoot::new();
    let local = here.join("file");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ftp://{}/file", listener.local_addr().unwrap());
    let mut get = ftp(&["get", "-n", &url, &text(&local)]);
    let mut get = Running::start(get.stdout(Stdio::null()).stderr(Stdio::null()));
    let (control, data) = crate::signals::begin_with(&listener, TEN).unwrap();
    fs::write(&local, "another's").unwrap();
    (&data).write_all(&ten(b'x')).unwrap();
    drop(data);
    (&control).write_all(b"226 done\r\n").unwrap();
    drop(control);
    let status = get.wait(Instant::now() + LIMIT).expect("it ends");
    assert_eq!(status.code(), Some(0));
    assert_eq!(fs::read(&local).unwrap(), b"another's");
    assert_eq!(here.names(), [b"file"]);
}

#[test]
fn verify_size_fails_if_the_server_reports_no_size() {
    let here = TempRoot::new();
    let (file, new) = (text(&here.write("old", b"0123456789")), text(&here.join("new")));
    let acts = |size: &'static str| {
        let retr = Act::Send(PLAIN, ten(b'x'), "226 done");
        [("RETR", retr), ("STOR", Act::Take("150 go", "226 done")), ("SIZE", Act::Say(size))]
    };
    for (option, size, code) in [
        ("size", "213 10", 0),
        ("size", "213 11", 11),
        ("size", "550 no", 14),
        ("none", "213 11", 0),
    ] {
        for arguments in [["get", "URL", &new], ["put", &file, "URL"]] {
            let peer = Peer::start(&acts(size));
            let url = peer.url("x");
            let arguments = arguments.map(|word| if word == "URL" { &*url } else { word });
            let ran = run(ftp(&arguments).args(["--verify", option]));
            ran.exited(code);
            assert_eq!(count(&peer, "SIZE") > 0, option == "size", "{}", peer.seen());
            let is_there = here.names().contains(&b"new".to_vec());
            assert_eq!(is_there, code == 0 && arguments[0] == "get", "{ran:?}");
            let _ = fs::remove_file(&new);
        }
    }
}

#[test]
fn verify_hash_compares_digests_and_fails_without_one() {
    let server = OurServer::start();
    let here = TempRoot::new();
    let file = text(&here.write("file", b"0123456789"));
    let ran = run(&mut ftp(&["put", "--verify", "hash", "--trace", &file, &server.url("x")]));
    assert!(String::from_utf8_lossy(&ran.stderr).contains("> HASH x\n"), "{ran:?}");
    ran.succeeded();
    let input =
        run_with(&mut ftp(&["put", "--verify", "hash", "-", &server.url("y")]), b"y", LIMIT);
    input.succeeded();
    let new = text(&here.join("new"));
    run(&mut ftp(&["get", "--verify", "hash", &server.url("x"), &new])).succeeded();
    assert_eq!(
        run(&mut ftp(&["get", "--verify", "hash", &server.url("x"), "-"])).succeeded(),
        b"0123456789"
    );
    fs::remove_file(&new).unwrap();
    // A file that another program has left beside it.
    here.write("new.part", b"01234");
    run(&mut ftp(&["get", "-c", "--verify", "hash", &server.url("x"), &new])).succeeded();
    assert_eq!(here.read("new"), b"0123456789");
    fs::remove_file(&new).unwrap();
    fs::remove_file(here.join("new.part")).unwrap();

    let feat = || ("FEAT", Act::Say("211-x\r\n HASH SHA-1*\r\n211 end"));
    // The digest of "0123456789" is 87acec17cd9dcd20a716cc2cf67417b71c8a7016.
    let right = "213 SHA-1 0-9 87acec17cd9dcd20a716cc2cf67417b71c8a7016 x";
    let wrong = "213 SHA-1 0-9 87acec17cd9dcd20a716cc2cf67417b71c8a7017 x";
    for (hash, code) in [(right, 0), (wrong, 11), ("550 not now", 14)] {
        for option in ["-b", "-c"] {
            let retr = ("RETR", Act::Send(TEN, b"0123456789".to_vec(), "226 done"));
            let peer = Peer::start(&[retr, feat(), ("HASH", Act::Say(hash))]);
            let arguments = ["get", option, "--verify", "hash", &peer.url("x"), &new];
            run(&mut ftp(&arguments)).exited(code);
            // Bytes known to be wrong are not kept for --continue.
            let left = usize::from(code == 0 || option == "-c" && code == 14);
            assert_eq!(here.names().len(), 1 + left, "{hash} {option} {:?}", here.names());
            let _ = (fs::remove_file(&new), fs::remove_file(here.join("new.part")));
        }
        let stor = ("STOR", Act::Take("150 go", "226 done"));
        let peer = Peer::start(&[stor, feat(), ("HASH", Act::Say(hash))]);
        run(&mut ftp(&["put", "--verify", "hash", &file, &peer.url("x")])).exited(code);
    }
    // Nothing is transferred if it cannot be verified.
    let peer = Peer::start(&[]);
    let ran = run(&mut ftp(&["get", "--verify", "hash", &peer.url("x"), &new]));
    failed(&ran, 14, "offers no suitable digest");
    assert_eq!(count(&peer, "RETR"), 0);
}

#[test]
fn preserve_keeps_times_both_ways_or_fails() {
    let server = OurServer::start();
    let here = TempRoot::new();
    let file = here.write("file", b"content");
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    fs::File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
    run(&mut ftp(&["put", "-p", &text(&file), &server.url("x")])).succeeded();
    let modified = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
    assert_eq!(modified(&server.root.join("x")), time);
    let new = here.join("new");
    for option in ["-b", "-c", "--in-place"] {
        run(&mut ftp(&["get", "-p", option, &server.url("x"), &text(&new)])).succeeded();
        assert_eq!(modified(&new), time, "{option}");
        fs::remove_file(&new).unwrap();
    }

    let peer = Peer::start(&[("RETR", sent(b'x'))]);
    let ran = run(&mut ftp(&["get", "-p", &peer.url("x"), &text(&new)]));
    failed(&ran, 14, "does not report modification times");
    assert_eq!(count(&peer, "RETR"), 0);
    // An old file of equal size must not get the new time.
    let peer = Peer::start(&[("STOR", Act::Take("150 go", "226 done"))]);
    let ran = run(&mut ftp(&["put", "-p", &text(&file), &peer.url("x")]));
    failed(&ran, 11, "nothing shows that the server's file is the new one");
    let size = ("SIZE", Act::Say("213 7"));
    let peer = Peer::start(&[
        ("SIZE", Act::Say("550 none")),
        size,
        ("STOR", Act::Take("150 go", "226 done")),
    ]);
    let ran = run(&mut ftp(&["put", "-p", &text(&file), &peer.url("x")]));
    failed(&ran, 14, "uploaded, but the time could not be set");
}

#[test]
fn directories_are_made_on_request_only() {
    let server = OurServer::start();
    let here = TempRoot::new();
    let file = text(&here.write("file", b"content"));
    let url = server.url("a/b/c/file");
    failed(&run(&mut ftp(&["put", &file, &url])), 8, "550");
    assert!(server.root.names().is_empty());
    run(&mut ftp(&["put", "--create-dirs", &file, &url])).succeeded();
    assert_eq!(server.root.read("a/b/c/file"), b"content");
    // While the directory exists, a drop box gets no further command.
    let ran = run(&mut ftp(&["put", "--create-dirs", "--trace", &file, &server.url("a/b/other")]));
    assert!(!String::from_utf8_lossy(&ran.stderr).contains("> MKD"), "{ran:?}");
    ran.succeeded();

    let local = text(&here.join("x/y/file"));
    failed(&run(&mut ftp(&["get", &url, &local])), 3, "x/y/file");
    run(&mut ftp(&["get", "--create-dirs", &url, &local])).succeeded();
    assert_eq!(here.read("x/y/file"), b"content");
    run(ftp(&["get", "--create-dirs", &url]).arg(here.join("z/"))).succeeded();
    assert_eq!(here.read("z/file"), b"content");
    run(ftp(&["get", "--create-dirs", "-P"]).arg(here.join("p/q")).arg(&url)).succeeded();
    assert_eq!(here.read("p/q/file"), b"content");
}

#[test]
fn in_place_writes_under_the_final_name_from_the_first_byte() {
    let here = TempRoot::new();
    let old = here.write("old", b"a longer old file");
    let get_to = |path: &Path, act: Act| {
        let peer = Peer::start(&[("RETR", act)]);
        run(&mut ftp(&["get", "--in-place", &peer.url("x"), &text(path)]))
    };
    let get = |act: Act| get_to(&old, act);
    // Nothing is lost before the first byte arrives.
    get(Act::Say("550 no")).exited(8);
    assert_eq!(here.read("old"), b"a longer old file");
    get(Act::Send(TEN, b"12345".to_vec(), "426 cut")).exited(9);
    assert_eq!(here.read("old"), b"12345");
    get(sent(b'x')).succeeded();
    assert_eq!((here.read("old"), here.names()), (ten(b'x'), vec![b"old".to_vec()]));

    // Without any byte no new file is created, unless the server's file is empty.
    let new = here.join("new");
    for (option, act, code) in [
        ("--in-place", Act::Say("550 no"), 8),
        ("--in-place", Act::Send("150 data", Vec::new(), "426 cut"), 9),
        ("-c", Act::Say("550 no"), 8),
        ("--in-place", Act::Send("150 data", Vec::new(), "226 done"), 0),
    ] {
        let peer = Peer::start(&[("RETR", act)]);
        let ran = run(&mut ftp(&["get", option, &peer.url("x"), &text(&new)]));
        ran.exited(code);
        assert_eq!(here.names().len(), if code == 0 { 2 } else { 1 }, "{option} {code}");
    }
    // An existing empty file stays.
    get_to(&new, Act::Say("550 no")).exited(8);
    assert_eq!(here.read("new"), b"");
}

#[test]
fn two_hard_links_of_one_file_do_not_both_become_a_target_in_place() {
    let here = TempRoot::new();
    fs::hard_link(here.write("a", b"12345"), here.join("b")).unwrap();
    let peer = Peer::start(&[("RETR a", sent(b'x')), ("RETR b", sent(b'y'))]);
    let mut get = ftp(&["get", "-j1", "--in-place", "-P"]);
    let ran = run(get.arg(here.path()).args([peer.url("a"), peer.url("b")]));
    failed(&ran, 12, "which was written before");
    assert_eq!(here.read("a"), ten(b'x'));
}

#[test]
fn the_unique_name_chosen_by_the_server_is_printed() {
    let server = OurServer::start();
    server.root.mkdir("d");
    let here = TempRoot::new();
    let file = text(&here.write("file", b"content"));
    let root = server.url("");
    for url in [format!("{root}d/"), format!("{root}d/wish"), format!("{root}d%2Fwish")] {
        let arguments = ["put", "--unique", "--verify", "size", &file, &url];
        let printed = run(&mut ftp(&arguments)).succeeded();
        let name = printed.strip_suffix(b"\n").unwrap();
        assert_eq!(server.root.read([b"d/", name].concat()), b"content");
    }
    let url = format!("{root}new/deep/");
    run(&mut ftp(&["put", "--unique", "--create-dirs", &file, &url])).succeeded();
    assert_eq!(fs::read_dir(server.root.join("new/deep")).unwrap().count(), 1);
    // A server that accepts no suggested name, and does not report the chosen one.
    let acts = [("STOU x", Act::Say("501 no")), ("STOU", Act::Take("150 go", "226 done"))];
    let peer = Peer::start(&acts);
    assert!(run(&mut ftp(&["put", "--unique", &file, &peer.url("x")])).succeeded().is_empty());
    assert!(peer.seen().contains("STOU x, EPSV, STOU, "), "{}", peer.seen());
    let ran =
        run(ftp(&["put", "--unique", "--verify", "size", &file]).arg(Peer::start(&acts).url("x")));
    failed(&ran, 14, "does not report the name");
}

#[test]
fn two_downloads_to_one_name_leave_one_complete_file_hl_12_cl_53() {
    let server = OurServer::start();
    let (a, b) = (vec![b'a'; 3_000_000], vec![b'b'; 3_000_000]);
    server.root.write("a", &a);
    server.root.write("b", &b);
    let here = TempRoot::new();
    for _ in 0..5 {
        let start = |name: &str| {
            Running::start(
                ftp(&["get", &server.url(name), &text(&here.join("x"))])
                    .stdout(Stdio::null())
                    .stderr(Stdio::null()),
            )
        };
        let mut both = [start("a"), start("b")];
        for one in &mut both {
            let status = one.wait(Instant::now() + LIMIT).expect("it ends");
            assert_eq!(status.code(), Some(0));
        }
        let got = here.read("x");
        assert!(got == a || got == b);
        assert_eq!(here.names(), [b"x"]);
    }
}

#[test]
fn a_signal_ends_parallel_rate_limited_downloads_li_10_hl_10() {
    let server = OurServer::start();
    let names: Vec<String> = (0..4).map(|number| format!("file{number}")).collect();
    for name in &names {
        server.root.write(name, &[b'x'; 4_000_000]);
    }
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let here = TempRoot::new();
        let urls = names.iter().map(|name| server.url(name));
        let mut get = ftp(&["get", "-j", "4", "--limit-rate", "1000", "-P"]);
        get.arg(here.path()).args(urls).stdout(Stdio::null()).stderr(Stdio::null());
        let mut get = Running::start(&mut get);
        // All temporary files exist. They have no names until they are complete.
        let id = get.child.id().to_string();
        let is_begun = |link: &Path| {
            fs::read_link(link).is_ok_and(|to| to.starts_with(here.path()))
                && fs::metadata(link).is_ok_and(|file| file.is_file() && file.len() > 0)
        };
        let begun = || {
            let open = fs::read_dir(format!("/proc/{id}/fd")).ok()?.flatten();
            (open.filter(|link| is_begun(&link.path())).count() == 4).then_some(())
        };
        get.wait_until(LIMIT, begun).unwrap();
        assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
        let status = get.wait(Instant::now() + LIMIT).expect("it ends");
        assert_eq!(status.code(), Some(code));
        assert!(here.names().is_empty(), "{:?}", here.names());
    }
}

#[test]
fn limit_rate_is_not_exceeded_and_loses_no_data() {
    let server = OurServer::start();
    let content = ftp_tests::content::binary(100_000, 7);
    server.root.write("x", &content);
    let here = TempRoot::new();
    let new = text(&here.join("new"));
    let start = Instant::now();
    run(&mut ftp(&["get", "--limit-rate", "200K", &server.url("x"), &new])).succeeded();
    // A shorter time would exceed the limit, however fast the machine is.
    assert!(start.elapsed() >= Duration::from_millis(450), "{:?}", start.elapsed());
    assert_eq!(here.read("new"), content);
    run(&mut ftp(&["put", "--limit-rate", "1M", &new, &server.url("y")])).succeeded();
    assert_eq!(server.root.read("y"), content);
}

#[test]
fn the_overall_timeout_spans_all_retries() {
    const RETRIES: usize = 20;
    let here = TempRoot::new();
    let hang = vec![("RETR", Act::SendAndHang(TEN, Vec::new()))];
    let new = text(&here.join("new"));
    let retries = RETRIES.to_string();
    let limits =
        ["--retry", &retries, "--retry-delay", "0", "--timeout", "1", "--stall-timeout", "400ms"];
    // On a busy machine, the first connection may take all of the time.
    at_last("a second connection", || {
        let peer = Peer::start_several(vec![hang.clone(); RETRIES + 1]);
        failed(&run(ftp(&["get", &peer.url("x"), &new]).args(limits)), 10, "timed out");
        let connections = count(&peer, "RETR");
        assert!(connections <= RETRIES, "{}", peer.seen());
        (connections >= 2).then_some(())
    });
}
