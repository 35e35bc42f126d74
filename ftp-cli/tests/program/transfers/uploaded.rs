//! What counts as uploaded: the confirmation, the size, and what a lost reply leaves open.

use std::fs;

use ftp_tests::process::{LIMIT, run, run_with};
use ftp_tests::root::TempRoot;
use ftp_tests::site::OurServer;

use super::{count, ten, text};
use crate::peer::{Act, Peer};
use crate::{failed, ftp};

const TAKE: Act = Act::Take("150 go", "226 done");

const RETRY: [&str; 4] = ["--retry", "3", "--retry-delay", "0s"];

#[test]
fn a_spent_source_has_one_attempt_whatever_fails_after_the_data() {
    let feat = ("FEAT", Act::Say("211-x\r\n SIZE\r\n XCRC\r\n211 end"));
    let size = ("SIZE", Act::Say("213 10"));
    for (options, acts, code) in [
        (&[][..], vec![("STOR", Act::TakeAndRefuse("150 go", 3, "426 cut"))], 9),
        (&[], vec![("STOR", Act::Take("150 go", "451 no"))], 9),
        (&[], vec![("STOR", Act::TakeAndBreak("150 go"))], 11),
        (&[], vec![("STOR", TAKE), ("SIZE", Act::Say("213 4"))], 11),
        (&["--verify", "size"], vec![("STOR", TAKE), ("SIZE", Act::Say("450 busy"))], 9),
        (
            &["--verify", "hash"],
            vec![("STOR", TAKE), size.clone(), feat.clone(), ("XCRC", Act::Say("250 0"))],
            11,
        ),
        (&["--temp"], vec![("STOR", TAKE), size.clone(), ("RNFR", Act::Say("450 busy"))], 9),
        (
            &["--temp"],
            vec![
                ("STOR", TAKE),
                size.clone(),
                ("RNFR", Act::Say("350 go")),
                ("RNTO", Act::Say("450 busy")),
            ],
            9,
        ),
    ] {
        // Another attempt would succeed with no bytes at all.
        let again =
            vec![("STOR", TAKE), ("RNFR", Act::Say("350 go")), ("RNTO", Act::Say("250 ok"))];
        let peer = Peer::start_several(vec![acts.clone(), again]);
        let mut put = ftp(&["put", "-", &peer.url("x")]);
        let ran = run_with(put.args(options).args(RETRY), &ten(b'x'), LIMIT);
        assert_ne!(ran.code(), Some(0), "{options:?} {acts:?} {}", peer.seen());
        assert!(ran.code() == Some(code) || code == 11, "{options:?} {acts:?} {ran:?}");
        assert_eq!(count(&peer, "STOR"), 1, "{options:?} {acts:?} {}", peer.seen());
    }
}

#[test]
fn a_unique_upload_whose_reply_was_lost_is_not_stored_twice() {
    let here = TempRoot::new();
    let file = text(&here.write("file", &ten(b'x')));
    for act in [Act::TakeAndBreak("150 FILE: u1"), Act::Take("150 FILE: u1", "451 no")] {
        let peer = Peer::start_several(vec![vec![("STOU", act)], vec![("STOU", TAKE)]]);
        let ran = run(ftp(&["put", "--unique", &file, &peer.url("x")]).args(RETRY));
        assert_ne!(ran.code(), Some(0), "{ran:?}");
        assert_eq!(count(&peer, "STOU"), 1, "{}", peer.seen());
    }
    // A refusal has stored nothing.
    let peer = Peer::start(&[("STOU", Act::Say("450 busy")), ("STOU", TAKE)]);
    run(ftp(&["put", "--unique", &file, &peer.url("x")]).args(RETRY)).exited(0);
}

#[test]
fn an_append_compares_the_sizes_before_and_after() {
    let here = TempRoot::new();
    let file = text(&here.write("file", &ten(b'x')));
    for (before, after, code) in [
        ("213 5", "213 15", 0),
        ("213 5", "213 10", 11),
        ("213 5", "213 6", 11),
        ("550 no", "213 10", 0),
        ("550 no", "213 0", 11),
        ("450 busy", "213 9", 11),
        ("450 busy", "213 10", 0),
        ("550 no", "550 no", 0),
    ] {
        let size = |reply| ("SIZE", Act::Say(reply));
        let peer = Peer::start(&[size(before), size(after), ("APPE", TAKE)]);
        run(ftp(&["put", "--append", &file, &peer.url("x")]).args(RETRY)).exited(code);
        assert_eq!(count(&peer, "APPE"), 1, "{}", peer.seen());
    }
}

#[test]
fn a_file_that_vanishes_after_its_confirmation_is_only_a_note() {
    let here = TempRoot::new();
    let file = text(&here.write("file", &ten(b'x')));
    for (options, code, said) in [
        (&[][..], 0, false),
        (&["-v"], 0, true),
        (&["--verify", "size"], 14, false),
        (&["--remove-source"], 14, false),
    ] {
        let size = ("SIZE", Act::Say("550 no such file"));
        let peer = Peer::start(&[("STOR", TAKE), size]);
        let ran = run(ftp(&["put", &file, &peer.url("x")]).args(options));
        ran.exited(code);
        let words = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(words.contains("does not report its size"), said, "{options:?} {words}");
        assert!(fs::exists(&file).unwrap(), "{options:?}");
    }
}

#[test]
fn a_confirmation_that_speaks_of_an_abort_is_not_a_success_without_a_size() {
    let here = TempRoot::new();
    let file = text(&here.write("file", &ten(b'x')));
    let said = || Act::Take("150 go", "226 Transfer aborted");
    let peer = Peer::start(&[("STOR", said())]);
    failed(&run(&mut ftp(&["put", &file, &peer.url("x")])), 11, "226 Transfer aborted");
    let peer = Peer::start(&[("STOR", said()), ("SIZE", Act::Say("213 10"))]);
    run(&mut ftp(&["put", &file, &peer.url("x")])).exited(0);
}

#[test]
fn a_file_is_not_uploaded_onto_itself() {
    let server = OurServer::start();
    let local = server.root.write("f", b"content");
    let path = text(&local);
    for options in
        [&[][..], &["-c"], &["--remove-source"], &["--append"], &["--append", "--verify", "none"]]
    {
        let ran = run(ftp(&["put"]).args(options).args([&path, &server.url("f")]));
        failed(&ran, 2, "are the same file");
        assert_eq!(server.root.read("f"), b"content", "{options:?}");
    }
    let link = server.root.join("link");
    fs::hard_link(&local, &link).unwrap();
    let ran = run(&mut ftp(&["put", &text(&link), &server.url("f")]));
    failed(&ran, 2, "are the same file");
    // A link in another directory leads to it, too.
    fs::remove_file(&link).unwrap();
    fs::create_dir(server.root.join("pub")).unwrap();
    fs::hard_link(&local, server.root.join("pub/f")).unwrap();
    for options in [&[][..], &["-p"], &["-c"], &["--append"]] {
        let ran = run(ftp(&["put"]).args(options).args([&path, &server.url("pub/")]));
        failed(&ran, 2, "are the same file");
        assert_eq!(server.root.read("f"), b"content", "{options:?}");
    }
    fs::remove_file(server.root.join("pub/f")).unwrap();
    // Another file of the same name, size and time is replaced.
    let here = TempRoot::new();
    let other = here.write("f", b"CONTENT");
    let time = fs::metadata(&local).unwrap().modified().unwrap();
    fs::File::options().write(true).open(&other).unwrap().set_modified(time).unwrap();
    run(&mut ftp(&["put", "-p", &text(&other), &server.url("f")])).exited(0);
    assert_eq!(server.root.read("f"), b"CONTENT");
    assert_eq!(here.names(), [b"f"]);
}

#[test]
fn a_file_whose_rename_had_not_begun_is_sent_again_on_a_new_connection() {
    let here = TempRoot::new();
    let file = text(&here.write("file", &ten(b'x')));
    let size = ("SIZE", Act::Say("213 10"));
    let first = vec![("STOR", TAKE), size.clone(), ("RNFR", Act::Say("421 bye"))];
    let second =
        vec![size, ("RNFR", Act::Say("350 go")), ("RNTO", Act::Say("250 ok")), ("STOR", TAKE)];
    let peer = Peer::start_several(vec![first, second]);
    run(&mut ftp(&["put", "--temp", &file, &peer.url("x")])).exited(0);
    // Another file may have the temporary name there.
    assert_eq!(count(&peer, "STOR"), 2, "{}", peer.seen());
}

#[test]
fn a_refused_final_name_names_the_cure() {
    let here = TempRoot::new();
    let file = text(&here.write("file", &ten(b'x')));
    let peer = Peer::start(&[
        ("STOR .in.x", TAKE),
        ("RNFR", Act::Say("350 go")),
        ("RNTO", Act::Say("553 exists")),
        ("DELE", Act::Say("250 gone")),
    ]);
    let ran = run(&mut ftp(&["put", "--temp=.in.*", &file, &peer.url("x")]));
    failed(&ran, 8, "remove the old file first, or omit --temp");
    let peer = Peer::start(&[("STOR .in.x", Act::Say("550 no"))]);
    let ran = run(&mut ftp(&["put", "--temp=.in.*", &file, &peer.url("x")]));
    failed(&ran, 8, ".in.x: STOR refused: 550 no");
}

#[test]
fn a_missing_directory_names_the_option_that_creates_it() {
    const HINT: &str = "; if a directory is missing, use --create-dirs";
    let (server, here) = (OurServer::start(), TempRoot::new());
    let file = text(&here.write("file", &ten(b'x')));
    server.root.mkdir("there");
    server.root.mkdir("there/x");
    for (path, options, is_missing) in [
        ("no/x", &[][..], true),
        ("there/no/", &[], true),
        ("no/such/x", &["--temp"], true),
        ("no/such/x", &["--append"], true),
        // The server refuses for another reason.
        ("there/x", &[], false),
        ("file/no/x", &["--create-dirs"], false),
    ] {
        server.root.write("file", b"");
        let ran = run(ftp(&["put"]).args(options).arg(&file).arg(server.url(path)));
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(ran.code(), Some(8), "{path} {said}");
        assert_eq!(said.trim_end().ends_with(HINT), is_missing, "{path} {said}");
    }
    // A name that is not allowed: only the question tells that the directory exists.
    for (refusal, is_missing) in [("250 here", false), ("550 none", true)] {
        let peer = Peer::start(&[
            ("STOR d/x", Act::Say("553 no")),
            ("PWD", Act::Say("257 \"/\"")),
            ("CWD d", Act::Say(refusal)),
            ("CWD /", Act::Say("250 back")),
        ]);
        let ran = run(&mut ftp(&["put", &file, &peer.url("d/x")]));
        failed(&ran, 8, "STOR refused: 553 no");
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(said.trim_end().ends_with(HINT), is_missing, "{said}");
    }
}

#[test]
fn a_source_is_kept_if_nothing_shows_that_the_servers_file_is_new() {
    let here = TempRoot::new();
    let size = || ("SIZE", Act::Say("213 10"));
    let time = |reply| ("MDTM", Act::Say(reply));
    let (old, new) = ("213 20260101000000", "213 20260101000001");
    for (after, code) in [(old, 11), (new, 0)] {
        let file = text(&here.write("file", &ten(b'x')));
        let acts = [size(), time(old), time(after), ("STOR", TAKE)];
        let peer = Peer::start(&acts);
        run(&mut ftp(&["put", "--remove-source", &file, &peer.url("x")])).exited(code);
        assert_eq!(fs::exists(&file).unwrap(), code != 0, "{}", peer.seen());
    }
}
