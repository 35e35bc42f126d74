//! Resumed transfers, from a partial file or an interrupted upload: only after the beginning of the
//! same file.

use std::fs;
use std::time::{Duration, SystemTime};

use ftp_server::{Rights, Server};
use ftp_tests::process::run;
use ftp_tests::root::TempRoot;
use ftp_tests::site::OurServer;

use super::{PLAIN, TEN, count, sent, ten, text};
use crate::peer::{Act, Peer};
use crate::{failed, ftp};

#[test]
fn the_reason_for_discarding_a_part_is_reported_once() {
    let here = TempRoot::new();
    let part = here.write("new.part", b"xxxxx");
    let ago = SystemTime::now() - Duration::from_secs(60);
    fs::File::options().write(true).open(&part).unwrap().set_modified(ago).unwrap();
    let peer = Peer::start(&[
        ("FEAT", Act::Say("211-x\r\n SIZE\r\n211 end")),
        ("SIZE", Act::Say("213 10")),
        ("REST", Act::Say("502 no")),
        ("RETR", sent(b'x')),
    ]);
    let ran = run(&mut ftp(&["get", "-c", &peer.url("x"), &text(&here.join("new"))]));
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(said.contains("the server cannot resume"), "{said} {}", peer.seen());
    assert_eq!(said.matches("downloading from the start").count(), 1, "{said}");
    ran.exited(0);
    assert_eq!(here.read("new"), ten(b'x'));
}

#[test]
fn an_append_of_unknown_outcome_is_not_retried() {
    let here = TempRoot::new();
    let file = text(&here.write("file", b"12345"));
    let feat = || ("FEAT", Act::Say("211-x\r\n SIZE\r\n211 end"));
    let again = || ("APPE", Act::Take("150 go", "226 done"));
    // The outcome of the first APPE, the requested verification, the exit code, and the number of
    // APPE.
    for (act, verify, code, tries) in [
        (Act::Say("450 busy"), "none", 0, 2),
        (Act::Take("150 go", "426 cut"), "none", 9, 1),
        (Act::Take("150 go", "451 error"), "none", 9, 1),
        (Act::TakeAndRefuse("150 go", 3, "426 cut"), "none", 9, 1),
        (Act::Take("150 go", "226 done"), "size", 11, 1),
    ] {
        let peer = Peer::start(&[("APPE", act), again(), feat(), ("SIZE", Act::Say("213 1"))]);
        let retry = ["put", "--append", "--retry", "3", "--retry-delay", "0s", "--verify", verify];
        let ran = run(ftp(&retry).args([&file, &peer.url("x")]));
        ran.exited(code);
        assert_eq!(count(&peer, "APPE"), tries, "{verify} {code}: {}", peer.seen());
        if code == 9 {
            failed(&ran, 9, "the number of appended bytes is unknown");
        }
    }
}

#[test]
fn a_part_of_a_replaced_remote_file_is_not_resumed_as_09() {
    let here = TempRoot::new();
    let new = text(&here.join("new"));
    let told = |time: &'static str| [("SIZE", Act::Say("213 10")), ("MDTM", Act::Say(time))];
    let get = |acts: &[(&'static str, Act)]| {
        let peer = Peer::start(acts);
        (run(&mut ftp(&["get", "-c", &peer.url("x"), &new])), peer)
    };
    // Both times are long before the partial file: only the recorded origin shows the change.
    let [size, time] = told("213 19990101000000");
    let cut = ("RETR", Act::Send(TEN, b"aaaa".to_vec(), "426 cut"));
    get(&[cut.clone(), size.clone(), time.clone()]).0.exited(9);
    assert_eq!(here.read("new.part"), b"aaaa");
    let [_, other] = told("213 19990202000000");
    let (ran, peer) = get(&[("RETR", sent(b'b')), size.clone(), other]);
    assert!(String::from_utf8_lossy(&ran.stderr).contains("downloading from the start"), "{ran:?}");
    ran.succeeded();
    assert!(!peer.seen().contains("REST"), "{}", peer.seen());
    assert_eq!(here.read("new"), ten(b'b'));
    fs::remove_file(&new).unwrap();

    // The same file is resumed, whatever the local time of the partial file.
    get(&[cut, size.clone(), time.clone()]).0.exited(9);
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
    let part = fs::File::options().write(true).open(here.join("new.part")).unwrap();
    part.set_modified(long_ago).unwrap();
    let rest = ("RETR", Act::Send(PLAIN, vec![b'a'; 6], "226 done"));
    let (ran, peer) = get(&[rest, size, time]);
    ran.succeeded();
    assert!(peer.seen().contains("REST 4, RETR x"), "{}", peer.seen());
    assert_eq!(here.read("new"), ten(b'a'));
}

#[test]
fn a_file_that_changes_during_a_resumed_download_fails() {
    let here = TempRoot::new();
    here.write("new.part", b"aaaa");
    let acts = [
        ("SIZE", Act::Say("213 10")),
        ("MDTM", Act::Say("213 19990101000000")),
        ("MDTM", Act::Say("213 19990202000000")),
        ("RETR", Act::Send(PLAIN, vec![b'b'; 6], "226 done")),
    ];
    let ran = run(&mut ftp(&["get", "-c", &Peer::start(&acts).url("x"), &text(&here.join("new"))]));
    failed(&ran, 11, "changed during the download");
    assert!(here.names().is_empty(), "a mixture is of no use: {:?}", here.names());
}

#[test]
fn a_server_that_ignores_rest_leaves_no_mixed_file_as_09() {
    let whole = b"0123456789".to_vec();
    let size = || ("SIZE", Act::Say("213 10"));
    let get = |here: &TempRoot, acts: &[(&'static str, Act)]| {
        let peer = Peer::start(acts);
        run(&mut ftp(&["get", "-c", &peer.url("x"), &text(&here.join("x"))]))
    };
    for name in ["x", "x.part"] {
        let begin = || {
            let here = TempRoot::new();
            here.write(name, b"0123");
            here
        };
        // The server sends everything from byte 0: the file is downloaded again as a whole.
        let here = begin();
        let again = Act::Send(PLAIN, whole.clone(), "226 done");
        let acts = [size(), ("RETR", again.clone()), ("RETR", again)];
        let ran = get(&here, &acts);
        assert!(
            String::from_utf8_lossy(&ran.stderr).contains("downloading from the start"),
            "{ran:?}"
        );
        ran.succeeded();
        assert_eq!((here.read("x"), here.names()), (whole.clone(), vec![b"x".to_vec()]));
        // Interrupted before that shows: only the existing bytes stay.
        let here = begin();
        let acts = [size(), ("RETR", Act::SendAndBreak(PLAIN, b"012".to_vec()))];
        assert_ne!(get(&here, &acts).code(), Some(0));
        assert_eq!((here.read(name), here.names()), (b"0123".to_vec(), vec![name.into()]));
        // An interrupted rest is kept.
        let here = begin();
        let acts = [size(), ("RETR", Act::SendAndBreak(PLAIN, b"456".to_vec()))];
        assert_ne!(get(&here, &acts).code(), Some(0));
        assert_eq!((here.read(name), here.names()), (b"0123456".to_vec(), vec![name.into()]));
        // Fewer bytes than were missing, and still a confirmation.
        let here = begin();
        let acts = [size(), ("RETR", Act::Send(PLAIN, b"012".to_vec(), "226 done"))];
        get(&here, &acts).exited(11);
        if name == "x" {
            assert_eq!(here.read("x"), b"0123");
        }
        assert_eq!(here.names().len(), usize::from(name == "x"));
    }
}

#[test]
fn a_grown_file_fails_with_a_hint_to_verify_none() {
    let here = TempRoot::new();
    let new = text(&here.join("new"));
    let acts = [("RETR", Act::Send(PLAIN, ten(b'x'), "226 done")), ("SIZE", Act::Say("213 12"))];
    let url = Peer::start(&acts).url("x");
    failed(&run(&mut ftp(&["get", &url, &new])), 11, "use --verify none");
    assert!(here.names().is_empty());
    let url = Peer::start(&acts).url("x");
    run(&mut ftp(&["get", "--verify", "none", &url, &new])).succeeded();
    assert_eq!(here.read("new"), ten(b'x'));
}

#[test]
fn a_download_restarts_if_the_server_cannot_resume() {
    let here = TempRoot::new();
    here.write("new.part", b"aaaa");
    let acts =
        [("SIZE", Act::Say("213 10")), ("REST 4", Act::Say("502 what?")), ("RETR", sent(b'b'))];
    run(&mut ftp(&["get", "-c", &Peer::start(&acts).url("x"), &text(&here.join("new"))]))
        .succeeded();
    assert_eq!((here.read("new"), here.names()), (ten(b'b'), vec![b"new".to_vec()]));
}

#[test]
fn an_upload_emptied_by_the_server_fails_even_without_verification() {
    let here = TempRoot::new();
    let file = text(&here.write("file", &ten(b'x')));
    // All bytes are hidden; REST and STOR would give them their name.
    let peer = Peer::start(&[
        ("SIZE", Act::Say("213 10")),
        ("SIZE", Act::Say("213 0")),
        ("STOR x", Act::Take("150 go", "226 done")),
    ]);
    let ran = run(&mut ftp(&["put", "-c", "--verify", "none", &file, &peer.url("x")]));
    failed(&ran, 11, "size mismatch: 10 bytes here, 0 on the server");
    assert!(peer.seen().contains("REST 10, STOR x, SIZE x"), "{}", peer.seen());
}

#[test]
fn a_connection_lost_at_any_byte_leaves_no_file_hl_04() {
    let mut random = ftp_tests::random::Random::new(4);
    for _ in 0..12 {
        let here = TempRoot::new();
        let length = random.below(200_000);
        let cut = Act::SendAndBreak("150 data (200000 bytes)", vec![b'x'; length]);
        let peer = Peer::start(&[("RETR", cut)]);
        let ran = run(&mut ftp(&["get", &peer.url("x"), &text(&here.join("new"))]));
        assert_ne!(ran.code(), Some(0), "{ran:?}");
        assert!(here.names().is_empty(), "{length}: {:?}", here.names());
        let said = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(said.contains("use -c to keep it"), length > 0, "{said}");
    }
}

#[test]
fn a_retry_after_a_lost_connection_resumes_the_part() {
    let here = TempRoot::new();
    let first = Peer::start_several(vec![
        vec![
            ("SIZE", Act::Say("213 10")),
            ("MDTM", Act::Say("213 19990101000000")),
            ("RETR", Act::SendAndBreak(TEN, b"aaaa".to_vec())),
        ],
        vec![
            ("SIZE", Act::Say("213 10")),
            ("MDTM", Act::Say("213 19990101000000")),
            ("RETR", Act::Send(PLAIN, b"bbbbbb".to_vec(), "226 done")),
        ],
    ]);
    let new = text(&here.join("new"));
    let limits = ["--retry", "1", "--retry-delay", "0"];
    run(ftp(&["get", "-c", &first.url("x"), &new]).args(limits)).succeeded();
    assert_eq!(here.read("new"), b"aaaabbbbbb");
    assert!(first.seen().contains("REST 4, RETR x"), "{}", first.seen());
    assert_eq!(count(&first, "USER"), 2);
}

#[test]
fn each_message_about_a_retry_names_its_object() {
    let (here, tree) = (TempRoot::new(), TempRoot::new());
    let file = text(&here.write("file", b"12345"));
    tree.write("inside", b"12345");
    let script = text(&here.write("script", format!("put {file} x\nget d {file}.2\n").as_bytes()));
    let (new, tree) = (text(&here.join("new")), text(tree.path()));
    // In place of @ comes the URL of the server.
    for (words, verb, name) in [
        (&["put", &file, "@x"][..], "STOR", "file to ftp://"),
        (&["put", &file, "@d/"], "STOR", "file to ftp://"),
        (&["get", "@x", &new], "RETR", "/x: "),
        (&["get", "-P", &text(here.path()), "@x*"], "LIST", "/x*: "),
        (&["ls", "@x"], "LIST", "/x: "),
        (&["rm", "@x"], "DELE", "/x: "),
        (&["mirror", "@x", &new], "LIST", "/x: "),
        (&["mirror", &tree, "@"], "STOR", "inside: "),
        (&["batch", "@", &script], "STOR", "file: "),
        // The name also occurs in "refused".
        (&["batch", "@", &script], "RETR", "ftp-cli: d: "),
    ] {
        for act in [Act::Say("450 busy"), Act::Say("421 going down")] {
            let peer = Peer::start_several(vec![vec![(verb, act)]; 4]);
            let words = words.iter().map(|word| word.replace('@', &peer.url("")));
            let mut ftp = ftp(&["--retry", "1", "--retry-delay", "0s"]);
            let ran = run(ftp.args(words.clone()));
            let said = String::from_utf8_lossy(&ran.stderr).into_owned();
            let mut lines =
                said.lines().filter(|line| line.contains("; attempt 2 of 2 in ")).peekable();
            assert!(lines.peek().is_some(), "{words:?}: {said}");
            assert!(lines.all(|line| line.contains(name)), "{words:?}: {said}");
        }
    }
}

#[test]
fn a_connection_lost_after_a_refusal_reports_the_refusal() {
    let here = TempRoot::new();
    let file = text(&here.write("file", b"12345"));
    let full = || Act::TakeAndRefuse("150 go", 3, "451 Failure writing to local file.");
    let lost = || Act::TakeAndBreak("150 go");
    let put = |acts: Vec<Act>| {
        let acts: Vec<_> = acts.into_iter().map(|act| ("STOR", act)).collect();
        let peer = Peer::start(&acts);
        let more = (acts.len() - 1).to_string();
        let retry = ["put", "--retry", &more, "--retry-delay", "0s", &file, &peer.url("x")];
        run(&mut ftp(&retry))
    };
    // The exit code is that of the last attempt.
    let words = "x: the control connection is closed; an earlier attempt failed: STOR refused: 451 \
                 Failure writing to local file.\n";
    failed(&put(vec![full(), lost()]), 4, words);
    failed(&put(vec![full(), full(), lost()]), 4, words);
    // A success, and another reply, need no repetition.
    put(vec![full(), Act::Take("150 go", "226 done")]).exited(0);
    failed(&put(vec![full(), Act::Say("450 busy")]), 9, "x: STOR refused: 450 busy\n");
}

#[test]
fn a_forbidden_append_hints_at_uploading_from_the_start() {
    let here = TempRoot::new();
    let file = text(&here.write("file", b"12345"));
    let there = |reply: &'static str| {
        Peer::start(&[
            ("FEAT", Act::Say("211-x\r\n SIZE\r\n211 end")),
            ("SIZE", Act::Say("213 3")),
            ("APPE", Act::Say(reply)),
        ])
    };
    let hint = "without -c, the upload starts from the beginning";
    let put = |options: &[&str], reply| {
        run(ftp(&["put"]).args(options).args([&file, &there(reply).url("x")]))
    };
    failed(&put(&["-c", "--verify", "none"], "550 Permission denied"), 8, hint);
    // These have other reasons.
    for (options, reply, code) in [
        (&["-c", "--verify", "none"][..], "552 quota", 8),
        (&["-c", "--verify", "none"], "450 busy", 9),
        (&["--append"], "550 Permission denied", 8),
    ] {
        let ran = put(options, reply);
        failed(&ran, code, reply);
        assert!(!String::from_utf8_lossy(&ran.stderr).contains(hint), "{options:?} {ran:?}");
    }
    // What the hint says works.
    let rights = Rights::parse("list, read, write").unwrap();
    let server = OurServer::at([127, 0, 0, 1], Server::builder(), rights);
    server.root.write("x", b"123");
    failed(&run(&mut ftp(&["put", "-c", &file, &server.url("x")])), 8, hint);
    run(&mut ftp(&["put", &file, &server.url("x")])).exited(0);
    assert_eq!(server.root.read("x"), b"12345");
}

#[test]
fn an_unproved_remote_file_is_named_only_with_verbose() {
    let here = TempRoot::new();
    let locals = ["a", "b"].map(|name| text(&here.write(name, b"12345")));
    let feat = ("FEAT", Act::Say("211-x\r\n SIZE\r\n211 end"));
    for (options, said) in [(&["-c"][..], false), (&["-c", "-v"], true)] {
        let size = |bytes| ("SIZE", Act::Say(bytes));
        let (found, stored) = (size("213 3"), size("213 5"));
        let acts = [found.clone(), stored.clone(), found, stored];
        let take = ("STOR", Act::Take("150 go", "226 done"));
        let peer = Peer::start(&[&acts[..], &[feat.clone(), take]].concat());
        let ran = run(ftp(&["put"]).args(options).args(&locals).arg(peer.url("d/")));
        let words = String::from_utf8_lossy(&ran.stderr).into_owned();
        for name in ["a", "b"] {
            let note = format!("/d/{name}: nothing proves that the server's file is a part");
            assert_eq!(words.contains(&note), said, "{note}: {words}");
        }
        assert!(said || words.is_empty(), "{words}");
        ran.exited(0);
    }
}

#[test]
fn a_resumed_transfer_reports_its_offset() {
    let here = TempRoot::new();
    let file = text(&here.write("file", &[7; 3_000]));
    let (server, log) = (OurServer::start(), text(&here.join("log")));
    let last = || fs::read_to_string(&log).unwrap().lines().rev().nth(1).unwrap().to_owned();
    // From an earlier run.
    let put = || run(&mut ftp(&["put", "-c", "--log-file", &log, &file, &server.url("x")]));
    put().exited(0);
    assert!(last().contains(": 2.9 KiB in ") && !last().contains("resumed"), "{}", last());
    server.root.write("x", &[7; 1_024]);
    put().exited(0);
    assert!(last().contains(": 1.9 KiB in "), "{}", last());
    assert!(last().ends_with(", resumed after 1.0 KiB"), "{}", last());
    put().exited(0);
    assert!(last().contains(": 0 B in ") && last().ends_with("after 2.9 KiB"), "{}", last());
    // From an earlier attempt of the same run.
    let acts = |retr: Act| {
        let size = ("SIZE", Act::Say("213 3000"));
        vec![("RETR", retr), size, ("MDTM", Act::Say("213 19990101000000"))]
    };
    let peer = Peer::start_several(vec![
        acts(Act::SendAndBreak("150 go", vec![7; 1_024])),
        acts(Act::Send("150 go", vec![7; 1_976], "226 done")),
    ]);
    let retry = ["get", "-c", "--retry", "1", "--retry-delay", "0s", "--log-file", &log];
    run(ftp(&retry).args([&peer.url("x"), &text(&here.join("new"))])).exited(0);
    assert!(last().ends_with(", resumed after 1.0 KiB"), "{}", last());
    assert_eq!(here.read("new"), [7; 3_000]);
}
