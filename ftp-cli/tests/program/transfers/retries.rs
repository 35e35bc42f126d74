//! Retries of `get` and `put`: what is tried again, what is not, and what a retry transfers.

use std::fs;

use ftp_server::{Limits, ServerConfig};
use ftp_tests::process::{LIMIT, run, run_with};
use ftp_tests::root::TempRoot;
use ftp_tests::site::OurServer;

use super::{TEN, count, sent, ten, text};
use crate::peer::{Act, Peer};
use crate::{failed, ftp};

#[test]
fn a_failed_server_does_not_stop_files_from_other_servers() {
    let here = TempRoot::new();
    let dead = Peer::start(&[("RETR", Act::Say("421 going down"))]);
    let peer = Peer::start(&[("RETR", sent(b'c'))]);
    let urls = [dead.url("a"), dead.url("b"), peer.url("c")];
    let ran = run(ftp(&["get", "-P"]).arg(here.path()).args(&urls));
    failed(&ran, 12, "1 of 3 files fetched, 1 failed, 1 not tried");
    assert_eq!(here.names(), [b"c"]);
    assert_eq!(count(&dead, "RETR"), 1);
}

#[test]
fn a_refused_login_is_not_repeated_for_each_item() {
    let here = TempRoot::new();
    let [a, b, c] = ["a", "b", "c"].map(|name| text(&here.write(name, b"x")));
    let script = text(&here.write("script", b"rm a\nrm b\nrm c\n"));
    let new = text(&here.join("new"));
    fs::create_dir(&new).unwrap();
    for (refused, reply) in [
        ("PASS", "530 no"),
        ("PASS", "500 no"),
        ("USER", "530 no"),
        ("USER", "532 need account"),
        ("ACCT", "530 no"),
    ] {
        let connections = || {
            let account = ("PASS", Act::Say("332 account?"));
            let refusal = (refused, Act::Say(reply));
            let acts = if refused == "ACCT" { vec![account, refusal] } else { vec![refusal] };
            Peer::start_several(vec![acts; 4])
        };
        for words in [
            &["put", &a, &b, &c, "/"][..],
            &["put", "-j3", &a, &b, &c, "/"],
            &["get", "-P", &new, "/a", "/b", "/c"],
            &["get", "-j3", "-P", &new, "/a", "/b", "/c"],
            &["get", "-P", &new, "/a*", "/b*", "/c"],
            &["rm", "/a", "/b", "/c"],
            &["mkdir", "/a", "/b", "/c"],
            &["ls", "/a", "/b", "/c"],
            &["batch", "/", &script],
            &["put", "-r", &text(here.path()), "/"],
            &["mirror", "/", &new],
        ] {
            let peer = connections();
            let start = peer.url("").replace("ftp://", "ftp://user:wrong@");
            let start = start.trim_end_matches('/');
            let is_path =
                |word: &&&str| word.starts_with('/') && !word.starts_with(&text(here.path()));
            let words: Vec<_> = words
                .iter()
                .map(|word| match is_path(&word) {
                    true => format!("{start}{word}"),
                    false => (*word).to_owned(),
                })
                .collect();
            let words: Vec<_> = words.iter().map(String::as_str).collect();
            let retry = ["--retry", "2", "--retry-delay", "0s", "--account", "x"];
            let ran = run(ftp(&words).args(retry));
            let said = String::from_utf8_lossy(&ran.stderr).into_owned();
            assert!(said.contains(reply), "{refused} {words:?}: {said}");
            assert_eq!(count(&peer, "USER"), 1, "{refused} {words:?}: {said}");
            let is_tree = words.contains(&"-r") || words[0] == "mirror";
            assert!(is_tree || said.contains("1 failed, 2 not tried"), "{words:?}: {said}");
            ran.exited(6);
        }
    }
}

#[test]
fn a_refused_login_stops_neither_other_users_nor_other_servers() {
    let here = TempRoot::new();
    let peer = Peer::start_several(vec![
        vec![("PASS", Act::Say("530 no"))],
        vec![("RETR", sent(b'c')), ("DELE", Act::Say("250 gone"))],
    ]);
    let of = |user: &str, name: &str| peer.url(name).replace("ftp://", &format!("ftp://{user}@"));
    let urls = [of("anna:x", "a"), of("anna:x", "b"), of("bob:y", "c")];
    let ran = run(ftp(&["get", "-P"]).arg(here.path()).args(&urls));
    failed(&ran, 12, "1 of 3 files fetched, 1 failed, 1 not tried");
    assert_eq!(here.names(), [b"c"]);

    let wrong = Peer::start_several(vec![vec![("PASS", Act::Say("530 no"))]; 2]);
    let right = Peer::start(&[("DELE", Act::Say("250 gone"))]);
    let ran = run(&mut ftp(&["rm", &wrong.url("a"), &wrong.url("b"), &right.url("c")]));
    failed(&ran, 12, "1 of 3 objects removed, 1 failed, 1 not tried");
    assert_eq!((count(&wrong, "PASS"), count(&right, "DELE")), (1, 1));
}

#[test]
fn an_incomplete_first_attempt_does_not_make_the_retry_skip_the_upload() {
    let here = TempRoot::new();
    let old = text(&here.write("old", b"0123456789"));
    let retry = ["--verify", "none", "--retry", "1", "--retry-delay", "0"];
    let missing = [
        ("MDTM", Act::Say("550 no")),
        ("FEAT", Act::Say("211-x\r\n MDTM\r\n211 end")),
        ("LIST", Act::Send("150 list", Vec::new(), "226 done")),
    ];
    // At the second attempt, the server has a file with the time of the break.
    let there = ("MDTM", Act::Say("213 20991231235959"));
    let stored = ("STOR", Act::Take("150 go", "226 done"));
    for option in ["-n", "--newer"] {
        for (size, content, code, stores) in [
            ("213 9", &b"012345678"[..], 0, 2),
            ("213 10", b"0123456789", 0, 2),
            // Without content to compare.
            ("213 0", b"", 0, 2),
            // Another's file is kept, although the upload is not verified.
            ("213 5", b"OTHER", 11, 1),
            ("213 10", b"0123456OTH", 11, 1),
            // More than was sent may be another's file, or a part that the server has stored otherwise.
            ("213 11", b"", 11, 1),
            ("550 no", b"", 11, 1),
        ] {
            let first = [missing.to_vec(), vec![("STOR", Act::TakeAndBreak("150 go"))]].concat();
            let second = vec![there.clone(), ("SIZE", Act::Say(size)), stored.clone()];
            let sent = ("RETR", Act::Send("150 go", content.to_vec(), "226 done"));
            let second = [second, vec![sent]].concat();
            // `--newer` also asks for the size to compare it.
            let second = [second.clone(), vec![("SIZE", Act::Say(size))]].concat();
            let peer = Peer::start_several(vec![first, second]);
            let ran = run(ftp(&["put", option, &old, &peer.url("x")]).args(retry));
            ran.exited(code);
            assert_eq!(count(&peer, "STOR"), stores, "{option} {size}: {}", peer.seen());
        }
        // A part in TYPE A, which the server stores with other line ends, and one that ends in zeros.
        let cut = vec![("STOR", Act::TakeAndBreak("150 go"))];
        let zeros = ("RETR", Act::Send("150 go", vec![0; 10], "226 done"));
        for (form, size) in [(&["-a"][..], "213 9"), (&["-a"], "213 11"), (&[], "213 10")] {
            let second = vec![there.clone(), ("SIZE", Act::Say(size)), zeros.clone()];
            let peer = Peer::start_several(vec![[missing.to_vec(), cut.clone()].concat(), second]);
            let retry = ["--retry", "1", "--retry-delay", "0"];
            let ran = run(ftp(&["put", option, &old, &peer.url("x")]).args(form).args(retry));
            failed(&ran, 11, "an earlier attempt may have left an incomplete file");
            assert_eq!(count(&peer, "STOR"), 1, "{option} {size}: {}", peer.seen());
        }
    }
}

#[test]
fn an_upload_of_another_sender_that_made_the_server_busy_is_kept() {
    let here = TempRoot::new();
    let old = text(&here.write("old", b"0123456789"));
    let missing = [
        ("MDTM", Act::Say("550 no")),
        ("FEAT", Act::Say("211-x\r\n MDTM\r\n211 end")),
        ("LIST", Act::Send("150 list", Vec::new(), "226 done")),
    ];
    for option in ["-n", "--newer"] {
        for verify in ["none", "size"] {
            // An empty file may be a running upload, or what this one has left: some servers create the
            // file before the data connection is open.
            for (refusal, size, code) in [
                (Act::Say("450 busy: another upload"), "213 0", 11),
                (Act::Reset("425 no data connection"), "213 0", 11),
                (Act::Say("450 busy: another upload"), "213 5", 0),
            ] {
                let there = [
                    ("MDTM", Act::Say("213 20991231235959")),
                    ("SIZE", Act::Say(size)),
                    ("SIZE", Act::Say(size)),
                    ("STOR", Act::Take("150 go", "226 done")),
                    ("SIZE", Act::Say("213 10")),
                ];
                let first = [missing.to_vec(), vec![("STOR", refusal)]].concat();
                let peer = Peer::start(&[first, there.to_vec()].concat());
                let retry = ["--verify", verify, "--retry", "1", "--retry-delay", "0"];
                let ran = run(ftp(&["put", option, &old, &peer.url("x")]).args(retry));
                ran.exited(code);
                assert_eq!(count(&peer, "STOR"), 1, "{option} {verify} {size}: {}", peer.seen());
            }
        }
    }
}

#[test]
fn transient_failures_are_retried_and_5yz_and_452_never() {
    let here = TempRoot::new();
    let (file, new) = (text(&here.write("file", &ten(b'x'))), text(&here.join("new")));
    let busy = || Act::Say("450 busy");
    for (acts, retries, code, tries) in [
        (vec![busy(), sent(b'x')], "1", 0, 2),
        (vec![busy(), busy(), sent(b'x')], "1", 9, 2),
        (vec![busy(), sent(b'x')], "0", 9, 1),
        (vec![Act::Say("550 no"), sent(b'x')], "5", 8, 1),
        (vec![Act::Say("425 no data"), sent(b'x')], "5", 0, 2),
        (vec![Act::Send(TEN, vec![b'y'; 9], "226 done"), sent(b'x')], "5", 0, 2),
        (vec![Act::Send(TEN, vec![b'y'; 9], "226 done"); 3], "5", 11, 2),
        (vec![Act::Send(TEN, vec![b'y'; 9], "426 cut"), sent(b'x')], "5", 0, 2),
    ] {
        let shown = format!("{acts:?}");
        let acts: Vec<_> = acts.into_iter().map(|act| ("RETR", act)).collect();
        let peer = Peer::start(&acts);
        let limits = ["--retry", retries, "--retry-delay", "0"];
        let limits = if retries == "0" { &limits[..2] } else { &limits[..] };
        run(ftp(&["get", &peer.url("x"), &new]).args(limits)).exited(code);
        assert_eq!(count(&peer, "RETR"), tries, "{shown}: {}", peer.seen());
        assert_eq!(fs::read(&new).ok(), (code == 0).then(|| ten(b'x')), "{shown}");
        let _ = fs::remove_file(&new);
    }
    for (refusal, tries) in [("452 full", 1), ("552 quota", 1), ("553 no", 1), ("450 busy", 2)] {
        let peer = Peer::start(&[("STOR", Act::Say(refusal))]);
        let arguments = ["put", "--retry", "1", "--retry-delay", "0", &file, &peer.url("x")];
        run(&mut ftp(&arguments));
        assert_eq!(count(&peer, "STOR"), tries, "{refusal}: {}", peer.seen());
    }
    // Bytes written to a pipe cannot be taken back.
    let peer =
        Peer::start(&[("RETR", Act::Send(TEN, vec![b'y'; 9], "426 cut")), ("RETR", sent(b'x'))]);
    let arguments = ["get", "--retry", "3", "--retry-delay", "0", &peer.url("x"), "-"];
    let ran = run(&mut ftp(&arguments));
    ran.exited(9);
    assert_eq!((ran.stdout.as_slice(), count(&peer, "RETR")), (&b"yyyyyyyyy"[..], 1));
}

#[test]
fn a_connection_limit_of_the_server_fails_no_transfer() {
    let here = TempRoot::new();
    let names: Vec<String> = (0..20).map(|number| format!("file{number}")).collect();
    for sessions in [1, 3, 0] {
        let config = ServerConfig::new().limits(Limits::new().sessions(sessions));
        let server = OurServer::with(config);
        let locals: Vec<String> =
            names.iter().map(|name| text(&here.write(name, name.as_bytes()))).collect();
        run(ftp(&["put", "-j", "8"]).args(&locals).arg(server.url(""))).succeeded();
        for name in &names {
            assert_eq!(server.root.read(name), name.as_bytes());
        }
        let there = TempRoot::new();
        let urls = names.iter().map(|name| server.url(name));
        run(ftp(&["get", "-j", "8", "-P"]).arg(there.path()).args(urls)).succeeded();
        assert_eq!(there.names().len(), names.len());
        for name in &names {
            assert_eq!(there.read(name), name.as_bytes());
        }
    }
}

#[test]
fn consumed_standard_input_is_not_sent_by_a_retry() {
    let peer = Peer::start(&[("STOR", Act::TakeAndRefuse("150 go", 10, "426 cut"))]);
    let arguments = ["put", "--retry", "3", "--retry-delay", "0", "-", &peer.url("x")];
    let ran = run_with(&mut ftp(&arguments), &vec![b'x'; 5_000_000], LIMIT);
    ran.exited(9);
    assert_eq!(count(&peer, "STOR"), 1, "{}", peer.seen());
}
