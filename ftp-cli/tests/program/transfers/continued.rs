//! Resumed transfers, from a partial file or an interrupted upload: only after the beginning of the
//! same file.

use std::fs;
use std::io::Write;
use std::time::{Duration, SystemTime};

use ftp_server::{Rights, Server};
use ftp_tests::process::run;
use ftp_tests::root::TempRoot;
use ftp_tests::site::OurServer;

use super::{PLAIN, count, sent, ten, text};
use crate::peer::{Act, Peer};
use crate::{failed, ftp};

/// 80,000 bytes in which no two pieces are equal.
fn numbers() -> Vec<u8> {
    (0..20_000_u32).flat_map(u32::to_be_bytes).collect()
}

/// The acts of one connection: the size and time of the file, and its data.
fn told(size: &'static str, time: &'static str, retr: Act) -> Vec<(&'static str, Act)> {
    vec![("SIZE", Act::Say(size)), ("MDTM", Act::Say(time)), ("RETR", retr)]
}

const OLD: &str = "213 19990101000000";
const EIGHTY: &str = "213 80000";

/// The first connection of a download that leaves `NAME.part` with 70,000 of 80,000 bytes.
fn cut_late() -> Vec<(&'static str, Act)> {
    told(EIGHTY, OLD, Act::Send(PLAIN, numbers()[..70_000].to_vec(), "426 cut"))
}

#[test]
fn the_reason_for_discarding_a_part_is_reported_once() {
    let here = TempRoot::new();
    let new = text(&here.join("new"));
    let mut again = told(EIGHTY, OLD, Act::Send(PLAIN, numbers(), "226 done"));
    again.push(("REST", Act::Say("502 no")));
    let peer = Peer::start_several(vec![cut_late(), again]);
    run(&mut ftp(&["get", "-c", &peer.url("x"), &new])).exited(9);
    let ran = run(&mut ftp(&["get", "-c", &peer.url("x"), &new]));
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(said.contains("the server cannot resume"), "{said} {}", peer.seen());
    assert_eq!(said.matches("downloading from the start").count(), 1, "{said}");
    ran.exited(0);
    assert_eq!((here.read("new"), here.names()), (numbers(), vec![b"new".to_vec()]));
}

#[test]
fn files_of_other_programs_are_never_used_as_parts() {
    for name in ["new.part", "new"] {
        let here = TempRoot::new();
        let new = text(&here.join("new"));
        here.write(name, b"0123");
        let peer = Peer::start_several(vec![told("213 10", OLD, sent(b'x'))]);
        let ran = run(&mut ftp(&["get", "-c", &peer.url("x"), &new]));
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        ran.exited(0);
        assert_eq!(here.read("new"), ten(b'x'));
        assert!(name == "new" || here.read(name) == b"0123", "{name}");
        assert_eq!(said.contains("use --if-changed"), name == "new", "{said}");
        assert!(!peer.seen().contains("REST"), "{}", peer.seen());
    }
}

#[test]
fn a_target_never_becomes_the_part_of_another_one_of_its_run() {
    let here = TempRoot::new();
    let acts = vec![
        ("SIZE", Act::Say("213 10")),
        ("MDTM", Act::Say(OLD)),
        ("RETR h/a.part", sent(b'p')),
        ("RETR h/a", sent(b'a')),
    ];
    let peer = Peer::start(&acts);
    let urls = [peer.url("h/a.part"), peer.url("h/a")];
    run(ftp(&["get", "-c", "-P"]).arg(here.path()).args(&urls)).exited(0);
    assert_eq!((here.read("a.part"), here.read("a")), (ten(b'p'), ten(b'a')));
    assert_eq!(here.names().len(), 2);
    // In a later run too: `a.part` is a complete file.
    let peer = Peer::start(&acts);
    run(ftp(&["get", "-c", "-P"]).arg(here.path()).arg(peer.url("h/a"))).exited(0);
    assert_eq!((here.read("a.part"), here.read("a")), (ten(b'p'), ten(b'a')));
}

#[test]
fn a_complete_file_is_not_fetched_again_until_it_is_edited() {
    let here = TempRoot::new();
    let new = text(&here.join("new"));
    let acts = || told("213 10", OLD, sent(b'x'));
    let peer = Peer::start_several(vec![acts(), acts(), acts(), acts()]);
    let get = || run(&mut ftp(&["get", "-c", &peer.url("x"), &new])).exited(0);
    get();
    get();
    assert_eq!(count(&peer, "RETR"), 1, "{}", peer.seen());
    for (year, times) in [(2030, 2), (1990, 3)] {
        let file = fs::File::options().write(true).open(&new).unwrap();
        (&file).write_all(b"edited").unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs((year - 1970) * 31_557_600);
        file.set_modified(time).unwrap();
        get();
        assert_eq!((count(&peer, "RETR"), here.read("new")), (times, ten(b'x')));
    }
}

#[test]
fn a_name_of_255_bytes_can_be_resumed() {
    for length in [250, 251, 255] {
        let here = TempRoot::new();
        let name = "n".repeat(length);
        let new = text(&here.join(&name));
        let whole = told(EIGHTY, OLD, Act::Send(PLAIN, numbers()[4_464..].to_vec(), "226 done"));
        let peer = Peer::start_several(vec![cut_late(), whole]);
        run(&mut ftp(&["get", "-c", &peer.url("x"), &new])).exited(9);
        assert_eq!(here.names().len(), 1);
        run(&mut ftp(&["get", "-c", &peer.url("x"), &new])).exited(0);
        assert!(peer.seen().contains("REST 4464, RETR x"), "{}", peer.seen());
        assert_eq!((here.read(&name), here.names().len()), (numbers(), 1), "{length}");
    }
}

#[test]
fn two_names_that_the_disk_takes_for_one_never_replace_each_other() {
    let here = TempRoot::new();
    here.mkdir("d");
    // As on a disk without case: both lead to one file.
    std::os::unix::fs::symlink("d", here.join("D")).unwrap();
    let script = here.write("script", b"get a d/f\nget b D/f\n");
    let peer = Peer::start(&[("RETR a", sent(b'a')), ("RETR b", sent(b'b'))]);
    let mut batch = ftp(&["batch", &peer.url(""), &text(&script)]);
    let ran = run(batch.current_dir(here.path()));
    failed(&ran, 12, "the file system takes this name for d/f");
    assert_eq!(here.read("d/f"), ten(b'a'));
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
        (Act::Say("550 no"), "none", 8, 1),
        // A script tries again after 4, 9 and 10.
        (Act::Take("150 go", "426 cut"), "none", 11, 1),
        (Act::Take("150 go", "451 error"), "none", 11, 1),
        (Act::TakeAndRefuse("150 go", 3, "426 cut"), "none", 11, 1),
        (Act::TakeAndBreak("150 go"), "none", 11, 1),
        (Act::Take("150 go", "226 done"), "size", 11, 1),
    ] {
        let peer = Peer::start(&[("APPE", act), again(), feat(), ("SIZE", Act::Say("213 1"))]);
        let retry = ["put", "--append", "--retry", "3", "--retry-delay", "0s", "--verify", verify];
        let ran = run(ftp(&retry).args([&file, &peer.url("x")]));
        ran.exited(code);
        assert_eq!(count(&peer, "APPE"), tries, "{verify} {code}: {}", peer.seen());
        if code == 11 && verify == "none" {
            failed(&ran, 11, "the number of appended bytes is unknown");
        }
    }
    // An APPE that the server did not get, or refused with 421, is sent on the next connection.
    for (verb, act, code, tries) in [
        ("EPSV", Act::Break, 0, 1),
        ("EPSV", Act::Say("421 bye"), 0, 1),
        ("APPE", Act::Say("421 bye"), 0, 2),
        ("APPE", Act::Break, 11, 1),
    ] {
        let case = format!("{verb} {act:?}");
        let size = |told| vec![feat(), ("SIZE", Act::Say(told))];
        let first = [size("213 1"), vec![(verb, act)]].concat();
        let second =
            [size("213 1"), size("213 6"), vec![("APPE", Act::Take("150 go", "226 done"))]];
        let peer = Peer::start_several(vec![first, second.concat()]);
        let retry = ["put", "--append", "--retry", "3", "--retry-delay", "0s"];
        let ran = run(ftp(&retry).args([&file, &peer.url("x")]));
        ran.exited(code);
        assert_eq!(count(&peer, "APPE"), tries, "{case}: {}", peer.seen());
    }
}

#[test]
fn a_part_of_a_replaced_remote_file_is_not_resumed_as_09() {
    let here = TempRoot::new();
    let new = text(&here.join("new"));
    let get = |peer: &Peer| run(&mut ftp(&["get", "-c", &peer.url("x"), &new]));
    // Both times are long before the partial file: only the record shows the change.
    let other =
        told(EIGHTY, "213 19990202000000", Act::Send(PLAIN, vec![b'b'; 80_000], "226 done"));
    let peer = Peer::start_several(vec![cut_late(), other]);
    get(&peer).exited(9);
    assert_eq!(here.read("new.part"), numbers()[..70_000]);
    let ran = get(&peer);
    assert!(String::from_utf8_lossy(&ran.stderr).contains("downloading from the start"), "{ran:?}");
    ran.succeeded();
    assert!(!peer.seen().contains("REST"), "{}", peer.seen());
    assert_eq!(here.read("new"), vec![b'b'; 80_000]);
    fs::remove_file(&new).unwrap();

    // The same file is resumed, whatever the local time of the partial file.
    let rest = told(EIGHTY, OLD, Act::Send(PLAIN, numbers()[4_464..].to_vec(), "226 done"));
    let peer = Peer::start_several(vec![cut_late(), rest]);
    get(&peer).exited(9);
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
    let part = fs::File::options().write(true).open(here.join("new.part")).unwrap();
    part.set_modified(long_ago).unwrap();
    get(&peer).succeeded();
    assert!(peer.seen().contains("REST 4464, RETR x"), "{}", peer.seen());
    assert_eq!(here.read("new"), numbers());
}

#[test]
fn a_part_of_another_server_user_or_path_is_not_resumed() {
    // The file has the same size and time everywhere.
    let whole = || told(EIGHTY, OLD, Act::Send(PLAIN, vec![b'b'; 80_000], "226 done"));
    for (one, other) in [("x", "y"), ("x", "%2Fx"), ("x", "d/x")] {
        let here = TempRoot::new();
        let new = text(&here.join("new"));
        let peer = Peer::start_several(vec![cut_late(), whole()]);
        run(&mut ftp(&["get", "-c", &peer.url(one), &new])).exited(9);
        let ran = run(&mut ftp(&["get", "-c", &peer.url(other), &new]));
        assert!(String::from_utf8_lossy(&ran.stderr).contains("another file"), "{ran:?}");
        ran.exited(0);
        assert_eq!((here.read("new"), here.names()), (vec![b'b'; 80_000], vec![b"new".to_vec()]));
    }
    for (host, user) in [("localhost", ""), ("127.0.0.1", "you:word@")] {
        let here = TempRoot::new();
        let new = text(&here.join("new"));
        let peer = Peer::start_several(vec![cut_late(), whole()]);
        run(&mut ftp(&["get", "-c", &peer.url("x"), &new])).exited(9);
        let url = peer.url("x").replace("127.0.0.1", &format!("{user}{host}"));
        run(&mut ftp(&["get", "-c", "-4", &url, &new])).exited(0);
        assert_eq!(here.read("new"), vec![b'b'; 80_000], "{url}");
    }
}

#[test]
fn a_file_that_changes_during_a_resumed_download_fails() {
    let here = TempRoot::new();
    let changed = vec![
        ("SIZE", Act::Say(EIGHTY)),
        ("MDTM", Act::Say(OLD)),
        ("MDTM", Act::Say("213 19990202000000")),
        ("RETR", Act::Send(PLAIN, numbers()[4_464..].to_vec(), "226 done")),
    ];
    let peer = Peer::start_several(vec![cut_late(), changed]);
    let get = || run(&mut ftp(&["get", "-c", &peer.url("x"), &text(&here.join("new"))]));
    get().exited(9);
    failed(&get(), 11, "changed during the download");
    assert!(here.names().is_empty(), "a mixture is of no use: {:?}", here.names());
}

#[test]
fn a_server_that_ignores_rest_leaves_no_mixed_file_as_09() {
    let get = |here: &TempRoot, second: Vec<(&'static str, Act)>| {
        let peer = Peer::start_several(vec![cut_late(), second]);
        let get = || run(&mut ftp(&["get", "-c", &peer.url("x"), &text(&here.join("x"))]));
        get().exited(9);
        assert_eq!(here.read("x.part"), numbers()[..70_000]);
        get()
    };
    let about = || vec![("SIZE", Act::Say(EIGHTY)), ("MDTM", Act::Say(OLD))];
    // The server sends everything from byte 0: the file is downloaded again as a whole.
    let here = TempRoot::new();
    let again = || ("RETR", Act::Send(PLAIN, numbers(), "226 done"));
    let ran = get(&here, [about(), vec![again(), again()]].concat());
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(said.contains("downloading from the start"), "{ran:?}");
    ran.succeeded();
    assert_eq!((here.read("x"), here.names()), (numbers(), vec![b"x".to_vec()]));
    // Interrupted before that shows: only the existing bytes stay.
    let here = TempRoot::new();
    let other = Act::SendAndBreak(PLAIN, numbers()[4_464..10_000].to_vec());
    assert_ne!(get(&here, [about(), vec![("RETR", other)]].concat()).code(), Some(0));
    assert_eq!(here.read("x.part"), numbers()[..70_000]);
    // An interrupted rest is kept.
    let here = TempRoot::new();
    let rest = Act::SendAndBreak(PLAIN, numbers()[4_464..75_000].to_vec());
    assert_ne!(get(&here, [about(), vec![("RETR", rest)]].concat()).code(), Some(0));
    assert_eq!(here.read("x.part"), numbers()[..75_000]);
}

#[test]
fn a_download_that_is_confirmed_too_early_is_kept_and_resumed() {
    let here = TempRoot::new();
    let sent = |bytes: &[u8]| told(EIGHTY, OLD, Act::Send(PLAIN, bytes.to_vec(), "226 done"));
    let numbers = numbers();
    let (early, earlier, rest) = (&numbers[..70_000], &numbers[4_464..75_000], &numbers[9_464..]);
    let peer = Peer::start_several([early, earlier, rest].map(sent).to_vec());
    let get = || run(&mut ftp(&["get", "-c", &peer.url("x"), &text(&here.join("x"))]));
    failed(&get(), 11, "size mismatch: 70000 bytes here, 80000 on the server; use --verify none");
    assert_eq!(here.read("x.part"), early);
    failed(&get(), 11, "x.part; use -c to resume");
    assert_eq!(here.read("x.part"), numbers[..75_000]);
    get().succeeded();
    assert!(peer.seen().contains("REST 9464, RETR x"), "{}", peer.seen());
    assert_eq!((here.read("x"), here.names()), (numbers.clone(), vec![b"x".to_vec()]));
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
    failed(&run(&mut ftp(&["get", "-c", &url, &new])), 11, "new.part; use -c to resume");
    assert_eq!((here.read("new.part"), here.names().len()), (ten(b'x'), 1));
    let url = Peer::start(&acts).url("x");
    run(&mut ftp(&["get", "--verify", "none", &url, &new])).succeeded();
    assert_eq!(here.read("new"), ten(b'x'));
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
    // Without a time of the server too: the bytes are of the same process.
    for time in [OLD, "502 what"] {
        let here = TempRoot::new();
        let lost = Act::SendAndBreak(PLAIN, numbers()[..70_000].to_vec());
        let rest = Act::Send(PLAIN, numbers()[4_464..].to_vec(), "226 done");
        let peer = Peer::start_several(vec![told(EIGHTY, time, lost), told(EIGHTY, time, rest)]);
        let new = text(&here.join("new"));
        let limits = ["--retry", "1", "--retry-delay", "0"];
        run(ftp(&["get", "-c", &peer.url("x"), &new]).args(limits)).succeeded();
        assert_eq!(here.read("new"), numbers());
        assert!(peer.seen().contains("REST 4464, RETR x"), "{}", peer.seen());
        assert_eq!(count(&peer, "USER"), 2);
    }
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
        acts(Act::Send("150 go", vec![7; 3_000], "226 done")),
    ]);
    let retry = ["get", "-c", "--retry", "1", "--retry-delay", "0s", "--log-file", &log];
    run(ftp(&retry).args([&peer.url("x"), &text(&here.join("new"))])).exited(0);
    assert!(last().ends_with(", resumed after 1.0 KiB"), "{}", last());
    assert_eq!(here.read("new"), [7; 3_000]);
}

#[test]
fn a_refused_download_after_rest_is_tried_once_from_the_start() {
    for refusal in ["450 no", "451 no", "426 no", "501 no", "550 no", "554 no"] {
        let here = TempRoot::new();
        let new = text(&here.join("new"));
        let mut again = told(EIGHTY, OLD, Act::Say(refusal));
        again.push(("RETR", Act::Send(PLAIN, numbers(), "226 done")));
        let peer = Peer::start_several(vec![cut_late(), again]);
        run(&mut ftp(&["get", "-c", &peer.url("x"), &new])).exited(9);
        run(&mut ftp(&["get", "-c", &peer.url("x"), &new])).exited(0);
        assert!(here.read("new") == numbers(), "{refusal}: {}", peer.seen());
    }
}
