//! Uploads under a temporary name whose rename lost its reply: another attempt is done only if the
//! server shows that the rename happened.

use std::io::Read;

use ftp_client::error::{JobFault, Unsupported};
use ftp_client::file::TemporaryName;
use ftp_client::pool::Repeat;
use ftp_client::tree::RemoveOptions;
use ftp_client::{Done, Error, ErrorKind, FileOptions, Place, Put};

use super::{Local, Server, THEN, on, opened};
use crate::peer::Peer;

const FIVE: &str = "213 5";
const NONE: &str = "550 no such file";
const LATER: &str = "213 20260101000001";

/// What the server says about the size and the time of a file.
type Said = [&'static str; 2];

/// Answers the questions for the temporary file and the target.
fn about_both(peer: &mut Peer, temporary: Said, target: Said) {
    for (name, [size, time]) in [(".in.a", temporary), ("a", target)] {
        peer.answer(&format!("SIZE {name}"), size);
        peer.answer(&format!("MDTM {name}"), time);
    }
}

/// Answers the questions for the temporary file directly before its rename.
fn is_ours(peer: &mut Peer, [size, time]: Said) {
    peer.answer("SIZE .in.a", size);
    peer.answer("MDTM .in.a", time);
}

/// Uploads `hello` as `.in.a`, and loses the reply to `RNTO`.
fn upload(peer: &mut Peer, before: [Said; 2]) {
    peer.answer("TYPE I", "200 ok");
    let mut bytes = Vec::new();
    opened(peer, "STOR .in.a").read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"hello");
    peer.reply("226 done");
    let [temporary, target] = before;
    peer.answer("MDTM .in.a", temporary[1]);
    peer.answer("SIZE .in.a", FIVE);
    peer.answer("FEAT", "502 what");
    about_both(peer, temporary, target);
    is_ours(peer, temporary);
    peer.answer("RNFR .in.a", "350 go on");
    peer.expect("RNTO a");
}

/// Takes the upload in once more.
fn take_in_again(peer: &mut Peer) {
    let mut bytes = Vec::new();
    opened(peer, "STOR .in.a").read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"hello");
    peer.reply("226 done");
}

/// Uploads a file, with as many attempts as the server has scripts.
fn put(server: &Server) -> Result<Done, Error> {
    let (local, options) = (Local::holding("hello"), FileOptions::new().retried(true));
    let path = local.path("a");
    let mut job =
        Put::from_path(&path, Place::at("a"), &options).store_as(TemporaryName::parse(b".in.*"));
    server.queue().run(|client| job.attempt(client, &()))
}

#[test]
fn a_rename_that_lost_its_reply_is_done_only_if_the_facts_moved() {
    let (new, none, other) = ([FIVE, THEN], [NONE, NONE], [FIVE, LATER]);
    // Before the rename and after it: the temporary file, the target; and whether that proves it.
    for (before, now, is_done) in [
        ([new, none], [none, new], true),
        ([new, other], [none, new], true),
        ([new, ["213 4", THEN]], [none, new], true),
        // The target had equal facts, or has other ones.
        ([new, new], [none, new], false),
        ([new, none], [none, other], false),
        ([new, none], [none, none], false),
        // Both names exist, but the temporary file is another one.
        ([new, none], [other, new], false),
        // A size alone tells nothing.
        ([[FIVE, "500 what"], none], [none, [FIVE, "500 what"]], false),
    ] {
        let server = Server::start(vec![
            on(move |mut peer| {
                upload(&mut peer, before);
                peer.close();
            }),
            on(move |mut peer| {
                peer.answer("FEAT", "502 what");
                peer.answer("TYPE I", "200 ok");
                about_both(&mut peer, now[0], now[1]);
            }),
        ]);
        let done = put(&server);
        match is_done {
            true => assert_eq!(done.unwrap().size, 5, "{before:?} {now:?}"),
            false => assert!(
                matches!(&done, Err(Error::Job(JobFault::PerhapsRenamed { .. }))),
                "{before:?} {now:?} {done:?}"
            ),
        }
        server.end();
    }
}

/// Some servers keep the old file, and give the new one another name.
#[test]
fn an_upload_over_a_file_is_done_only_if_that_is_gone_after_the_rename() {
    let (new, old) = ([FIVE, LATER], [FIVE, THEN]);
    for (before, now, is_done) in [
        (old, new, true),
        (old, old, false),
        (["213 4", THEN], ["213 4", THEN], false),
        ([NONE, NONE], [NONE, NONE], true),
    ] {
        let server = Server::start(vec![on(move |mut peer| {
            peer.answer("TYPE I", "200 ok");
            opened(&mut peer, "STOR .in.a").read_to_end(&mut Vec::new()).unwrap();
            peer.reply("226 done");
            peer.answer("MDTM .in.a", LATER);
            peer.answer("SIZE .in.a", FIVE);
            peer.answer("FEAT", "502 what");
            about_both(&mut peer, new, before);
            is_ours(&mut peer, new);
            peer.answer("RNFR .in.a", "350 go on");
            peer.answer("RNTO a", "250 done");
            // Nothing is asked about a name that was free.
            if before[0] != NONE {
                peer.answer("SIZE a", now[0]);
                peer.answer("MDTM a", now[1]);
            }
        })]);
        let (local, options) = (Local::holding("hello"), FileOptions::new().retried(true));
        let path = local.path("a");
        let mut job = Put::from_path(&path, Place::at("a"), &options)
            .store_as(TemporaryName::parse(b".in.*"));
        match server.queue().run(|client| Ok(job.attempt(client, &()))).unwrap() {
            Ok(done) => assert!(is_done, "{before:?} {now:?} {done:?}"),
            Err(Error::Job(JobFault::NotReplaced)) => assert!(!is_done, "{before:?} {now:?}"),
            Err(error) => panic!("{error}"),
        }
        server.end();
    }
}

/// The connection ends after the upload is verified. On the next one, another file may have its
/// temporary name.
#[test]
fn what_has_the_temporary_name_on_another_connection_is_looked_at_before_its_rename() {
    for (now, is_same) in [
        ([FIVE, THEN], true),
        (["213 3", THEN], false),
        ([FIVE, LATER], false),
        ([NONE, NONE], false),
        // A size alone tells nothing.
        ([FIVE, "500 what"], false),
    ] {
        let server = Server::start(vec![
            on(|mut peer| {
                peer.answer("TYPE I", "200 ok");
                opened(&mut peer, "STOR .in.a").read_to_end(&mut Vec::new()).unwrap();
                peer.reply("226 done");
                peer.answer("MDTM .in.a", THEN);
                peer.answer("SIZE .in.a", FIVE);
                peer.answer("FEAT", "502 what");
                about_both(&mut peer, [FIVE, THEN], [NONE, NONE]);
                is_ours(&mut peer, [FIVE, THEN]);
                peer.expect("RNFR .in.a");
                peer.close();
            }),
            on(move |mut peer| {
                peer.answer("FEAT", "502 what");
                peer.answer("TYPE I", "200 ok");
                about_both(&mut peer, now, [NONE, NONE]);
                if !is_same {
                    take_in_again(&mut peer);
                    peer.answer("MDTM .in.a", LATER);
                    peer.answer("SIZE .in.a", FIVE);
                    about_both(&mut peer, [FIVE, LATER], [NONE, NONE]);
                    is_ours(&mut peer, [FIVE, LATER]);
                }
                peer.answer("RNFR .in.a", "350 go on");
                peer.answer("RNTO a", "250 done");
            }),
        ]);
        put(&server).unwrap_or_else(|error| panic!("{now:?}: {error}"));
        server.end();
    }
}

/// Another sender stores a file of equal size under the temporary name between the confirmation and the
/// rename, on the same connection.
#[test]
fn a_file_that_another_sender_puts_under_the_temporary_name_is_not_renamed() {
    for (is_standard, is_lost) in [(false, false), (false, true), (true, false), (true, true)] {
        let (server, mut client) = crate::peer::Server::logged_in(move |mut peer| {
            peer.answer("TYPE I", "200 ok");
            peer.epsv();
            let line = String::from_utf8(peer.line()).unwrap();
            let name = line.trim_end().strip_prefix("STOR ").unwrap();
            match name.strip_prefix(".in.a.") {
                Some(mark) => assert!(is_standard && mark.len() == 16, "{name}"),
                None => assert!(!is_standard && name == ".in.a", "{name}"),
            }
            peer.reply("150 Opening");
            peer.data().read_to_end(&mut Vec::new()).unwrap();
            peer.reply("226 done");
            let later = if is_lost { LATER } else { THEN };
            for (verb, said) in [("MDTM", THEN), ("SIZE", FIVE), ("SIZE", FIVE), ("MDTM", later)] {
                peer.answer(&format!("{verb} {name}"), said);
            }
            match is_lost {
                false => {
                    peer.answer(&format!("RNFR {name}"), "350 go on");
                    peer.answer("RNTO a", "250 done");
                }
                // Under the random name, it is not another sender's.
                true if is_standard => peer.answer(&format!("DELE {name}"), "250 gone"),
                true => {}
            }
        });
        let (local, options) = (Local::holding("hello"), FileOptions::new());
        let path = local.path("a");
        let job = Put::from_path(&path, Place::at("a"), &options);
        let name = match is_standard {
            true => Some(TemporaryName::standard()),
            false => TemporaryName::parse(b".in.*"),
        };
        let done = job.store_as(name).attempt(&mut client, &());
        match is_lost {
            true => assert!(matches!(done, Err(Error::Job(JobFault::NotReplaced))), "{done:?}"),
            false => assert_eq!(done.unwrap().size, 5),
        }
        server.end();
    }
}

/// The server may carry out the first one later: then it would publish what another sender writes under the
/// temporary name by then.
#[test]
fn a_rename_of_a_name_that_others_have_is_not_repeated() {
    let (new, none, old) = ([FIVE, THEN], [NONE, NONE], ["213 4", THEN]);
    for (before, now) in [(none, none), (none, new), (old, old), (old, none)] {
        let server = Server::start(vec![
            on(move |mut peer| {
                upload(&mut peer, [new, before]);
                peer.close();
            }),
            on(move |mut peer| {
                peer.answer("FEAT", "502 what");
                peer.answer("TYPE I", "200 ok");
                about_both(&mut peer, new, now);
            }),
        ]);
        let done = put(&server);
        assert!(
            matches!(&done, Err(Error::Job(JobFault::PerhapsRenamed { .. }))),
            "{before:?} {now:?} {done:?}"
        );
        server.end();
    }
}

/// As above, for an upload that removes its source: its journal leads the next attempt.
#[test]
fn a_move_whose_rename_got_no_reply_is_over_only_if_the_facts_moved() {
    let (new, none) = ([FIVE, THEN], [NONE, NONE]);
    for (temporary, target, is_done) in [
        (none, new, true),
        (new, none, false),
        (new, new, false),
        (["213 4", THEN], new, false),
        (none, [FIVE, LATER], false),
        (none, none, false),
    ] {
        let first = on(move |mut peer| {
            answer_about(&mut peer, none, none);
            peer.reply("150 Opening");
            peer.data().read_to_end(&mut Vec::new()).unwrap();
            peer.reply("226 done");
            assert_eq!(answer_about(&mut peer, new, none), "RNFR .in.a");
            peer.reply("350 go on");
            peer.expect("RNTO a");
            peer.close();
        });
        let again = on(move |mut peer| assert_eq!(answer_about(&mut peer, temporary, target), ""));
        let server = Server::start(vec![first, again]);
        let (local, options) =
            (Local::holding("hello"), FileOptions::new().moves(true).retried(true));
        let path = local.path("a");
        let mut job = Put::from_path(&path, Place::at("a"), &options)
            .store_as(TemporaryName::parse(b".in.*"));
        let done = server.queue().run(|client| job.attempt(client, &()));
        let case = format!("{temporary:?} {target:?} {done:?}");
        match is_done {
            true => assert!(done.is_ok(), "{case}"),
            false => {
                let is_open = matches!(done, Err(Error::Job(JobFault::PerhapsRenamed { .. })));
                assert!(is_open && job.is_final(), "{case}");
            }
        }
        // The source, and the journal beside it.
        let count = std::fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!((path.exists(), count), if is_done { (false, 0) } else { (true, 2) }, "{case}");
        server.end();
    }
}

/// The reply to `RNTO` is lost, and the source of the move changes before the next attempt.
#[test]
fn a_late_rename_does_not_meet_a_source_that_has_changed() {
    let (new, none) = ([FIVE, THEN], [NONE, NONE]);
    let (told, first_name) = std::sync::mpsc::channel();
    let server = Server::start(vec![
        on(move |mut peer| {
            let stored = answer_about(&mut peer, none, none);
            peer.reply("150 Opening");
            peer.data().read_to_end(&mut Vec::new()).unwrap();
            peer.reply("226 done");
            assert!(answer_about(&mut peer, new, none).starts_with("RNFR .in.a."));
            peer.reply("350 go on");
            peer.expect("RNTO a");
            told.send(stored).unwrap();
        }),
        on(move |mut peer| {
            assert!(answer_about(&mut peer, new, none).starts_with("RNFR .in.a."));
            peer.reply("350 go on");
            peer.answer("RNTO a", "250 done");
            let stored = answer_about(&mut peer, none, new);
            assert!(stored.starts_with("STOR .in.a.") && stored != first_name.recv().unwrap());
            peer.reply("552 no room");
            answer_about(&mut peer, none, new);
        }),
    ]);
    let (local, options) = (Local::holding("hello"), FileOptions::new().moves(true).retried(true));
    let path = local.path("a");
    let mut job =
        Put::from_path(&path, Place::at("a"), &options).store_as(Some(TemporaryName::standard()));
    let done = server.queue().run(|client| {
        let done = job.attempt(client, &());
        std::fs::write(&path, "changed").unwrap();
        done
    });
    assert!(matches!(done, Err(Error::Refused { .. })), "{done:?}");
    server.end();
}

/// Answers the questions for the temporary file and the target. Returns the first other command.
fn answer_about(peer: &mut Peer, temporary: Said, target: Said) -> String {
    loop {
        let line = String::from_utf8(peer.line()).unwrap();
        let line = line.trim_end();
        let (verb, path) = line.split_once(' ').unwrap_or((line, ""));
        let [size, time] = if path.starts_with(".in.a") { temporary } else { target };
        match verb {
            "SIZE" => peer.reply(size),
            "MDTM" => peer.reply(time),
            "TYPE" => peer.reply("200 ok"),
            "EPSV" => {
                let port = peer.listen();
                peer.reply(&format!("229 here (|||{port}|)"));
            }
            "" | "STOR" | "RNFR" => return line.to_owned(),
            _ => peer.reply("502 what"),
        }
    }
}

#[test]
fn a_listing_that_may_hide_a_name_does_not_prove_that_it_was_removed() {
    // A listing lacks another spelling of a name, too.
    for (name, others, size, is_gone) in [
        ("x", "1 u u 1 Jan 1 2020 a", Some(NONE), true),
        ("X", "1 u u 1 Jan 1 2020 x", Some(FIVE), false),
        (".x", "1 u u 1 Jan 1 2020 a", None, false),
        (".x", "1 u u 1 Jan 1 2020 .a", Some(NONE), true),
    ] {
        let server = Server::start(vec![
            on(move |mut peer| {
                peer.expect(format!("DELE {name}"));
                peer.close();
            }),
            on(move |mut peer| {
                peer.answer(&format!("MDTM {name}"), "500 what");
                peer.answer(&format!("MLST {name}"), "500 what");
                peer.answer("FEAT", "500 what");
                peer.epsv();
                peer.answer("LIST -a", "150 ok");
                peer.send_data(format!("-rw-r--r-- {others}\r\n").as_bytes());
                peer.reply("226 done");
                if let Some(size) = size {
                    peer.answer("TYPE I", "200 ok");
                    peer.answer(&format!("SIZE {name}"), size);
                }
                if is_gone {
                    lists_again(&mut peer, &format!("-rw-r--r-- {others}\r\n"));
                }
            }),
        ]);
        let mut delete = Repeat::new();
        let done = server.queue().run(|client| delete.delete(client, name));
        assert_eq!(done.is_ok(), is_gone, "{name}, {others}: {done:?}");
        server.end();
    }
}

/// Nothing but a listing tells of the name, so another one is asked for.
fn lists_again(peer: &mut Peer, listed: &str) {
    loop {
        let line = String::from_utf8(peer.line()).unwrap();
        match line.trim_end() {
            "EPSV" => {
                let port = peer.listen();
                peer.reply(&format!("229 here (|||{port}|)"));
            }
            "TYPE A" => peer.reply("200 ok"),
            "LIST -a" => {
                peer.reply("150 ok");
                peer.send_data(listed.as_bytes());
                return peer.reply("226 done");
            }
            line if line.starts_with('M') => peer.reply("500 what"),
            line => panic!("{line}"),
        }
    }
}

/// Shows a directory without `name`.
fn shows_no(peer: &mut Peer, name: &str) {
    peer.answer(&format!("MDTM {name}"), NONE);
    peer.answer(&format!("MLST {name}"), "500 what");
    peer.answer("TYPE A", "200 ok");
    peer.epsv();
    peer.answer("LIST -a", "150 ok");
    peer.send_data(b"-rw-r--r-- 1 u u 5 Jan 1 2020 day.tmp\r\n");
    peer.reply("226 done");
}

/// A server whose disk hangs carries out the first `RNTO` after a second one, and moves what has the old name
/// by then.
#[test]
fn a_rename_that_got_no_reply_is_not_sent_again() {
    let old = ["213 4", THEN];
    // The target before the attempt, both names after it, and whether that proves the rename.
    for (before, source, target, is_done) in [
        ([NONE, NONE], [FIVE, THEN], None, false),
        (old, [FIVE, THEN], None, false),
        (old, ["213 6", THEN], None, false),
        ([NONE, NONE], [NONE, NONE], Some([FIVE, THEN]), true),
        ([NONE, NONE], [NONE, NONE], Some([FIVE, LATER]), false),
        ([NONE, NONE], [NONE, NONE], Some([NONE, NONE]), false),
        ([FIVE, THEN], [NONE, NONE], Some([FIVE, THEN]), false),
    ] {
        let server = Server::start(vec![
            on(move |mut peer| {
                peer.answer("FEAT", "502 what");
                peer.answer("TYPE I", "200 ok");
                peer.answer("SIZE day.tmp", FIVE);
                peer.answer("MDTM day.tmp", THEN);
                match before[0] {
                    NONE => shows_no(&mut peer, "day"),
                    size => {
                        peer.answer("MDTM day", before[1]);
                        peer.answer("SIZE day", size);
                        peer.answer("MDTM day", before[1]);
                    }
                }
                peer.answer("RNFR day.tmp", "350 go on");
                peer.expect("RNTO day");
                peer.close();
            }),
            on(move |mut peer| match target {
                None => peer.answer("MDTM day.tmp", source[1]),
                Some([size, time]) => {
                    peer.answer("MDTM day.tmp", NONE);
                    peer.answer("MLST day.tmp", "500 what");
                    peer.answer("FEAT", "502 what");
                    peer.epsv();
                    peer.answer("LIST -a", "150 ok");
                    peer.send_data(b"-rw-r--r-- 1 u u 5 Jan 1 2020 day\r\n");
                    peer.reply("226 done");
                    peer.answer("TYPE I", "200 ok");
                    peer.answer("SIZE day", size);
                    peer.answer("MDTM day", time);
                    if is_done {
                        // The proof that it is there.
                        peer.answer("MDTM day", time);
                    }
                }
            }),
        ]);
        let mut rename = Repeat::new();
        let done = server.queue().run(|client| rename.rename(client, "day.tmp", "day"));
        match is_done {
            true => done.unwrap(),
            false => {
                let error = done.unwrap_err();
                let text = "RNTO got no reply; the server may have renamed it, or still do so: look at \
                            both names before you try again";
                assert_eq!(error.to_string(), text, "{before:?} {source:?} {target:?}");
                assert_eq!(error.kind(), ErrorKind::Integrity);
            }
        }
        server.end();
    }
}

/// A directory can be a lock, which another client may have made since.
#[test]
fn a_new_directory_is_not_removed_by_the_second_attempt() {
    const LISTED: &[u8] = b"drwxr-xr-x 2 u u 4 Jan 1 2020 lock\r\n";
    const OTHER: &[u8] = b"drwxr-xr-x 2 u u 4 Jan 1 2020 Lock\r\n";
    // What is listed, and whether the directory can be entered.
    for (listed, is_entered) in [(LISTED, true), (OTHER, true), (OTHER, false)] {
        let is_gone = listed == OTHER && !is_entered;
        let server = Server::start(vec![
            on(|mut peer| {
                peer.answer("FEAT", "211-features\r\n MLST type*;size*;modify*;\r\n211 end");
                peer.epsv();
                peer.answer("MLSD lock", "150 ok");
                peer.send_data(b"");
                peer.reply("226 done");
                let mut line = peer.line();
                if line.starts_with(b"PWD") {
                    peer.reply("257 \"/\"");
                    line = peer.line();
                }
                assert!(line.starts_with(b"RMD lock"), "{}", line.escape_ascii());
                peer.close();
            }),
            on(move |mut peer| {
                peer.answer("MDTM lock", NONE);
                peer.answer("MLST lock", "500 what");
                peer.answer("FEAT", "502 what");
                peer.epsv();
                peer.answer("LIST -a", "150 ok");
                peer.send_data(listed);
                peer.reply("226 done");
                if listed == OTHER {
                    peer.answer("PWD", "257 \"/\"");
                    peer.answer("CWD lock", if is_entered { "250 in it" } else { "550 no" });
                    if is_entered {
                        peer.answer("CWD /", "250 back");
                    }
                }
            }),
        ]);
        let mut removal = Repeat::new();
        let done = server.queue().run(|client| removal.rmdir(client, "lock"));
        assert_eq!(done.is_ok(), is_gone, "{listed:?} {is_entered}: {done:?}");
        assert!(is_gone || matches!(done, Err(Error::Uncertain { .. })), "{listed:?}: {done:?}");
        server.end();
    }
}

/// No fact tells a file from one of its size that another client has stored within the same second.
#[test]
fn a_new_file_is_not_removed_by_the_second_attempt() {
    for is_there in [true, false] {
        let server = Server::start(vec![
            on(|mut peer| {
                peer.answer("FEAT", "502 what");
                peer.expect("DELE day");
                peer.close();
            }),
            on(move |mut peer| match is_there {
                true => peer.answer("MDTM day", THEN),
                false => {
                    peer.answer("MDTM day", NONE);
                    peer.answer("MLST day", "500 what");
                    peer.answer("FEAT", "502 what");
                    peer.epsv();
                    peer.answer("LIST -a", "150 ok");
                    peer.send_data(b"-rw-r--r-- 1 u u 5 Jan 1 2020 day.tmp\r\n");
                    peer.reply("226 done");
                    peer.answer("TYPE I", "200 ok");
                    peer.answer("SIZE day", NONE);
                    lists_again(&mut peer, "-rw-r--r-- 1 u u 5 Jan 1 2020 day.tmp\r\n");
                }
            }),
        ]);
        let (mut removal, options) = (Repeat::new(), RemoveOptions::new());
        let done =
            server.queue().run(|client| removal.remove(client, Place::at("day"), options, &()));
        match is_there {
            true => {
                let text = "DELE got no reply; it may be a new one, after the old one was removed";
                assert_eq!(done.unwrap_err().to_string(), text);
            }
            false => assert_eq!(done.unwrap().removed, 1),
        }
        server.end();
    }
}

#[test]
fn a_file_is_renamed_only_to_a_free_name_and_only_if_it_then_has_it() {
    // What the server tells of the new name before, of both names afterwards, and the result.
    // A server that folds case replaces the file `B` in place of the free name `b`.
    for (before, listed, after, want) in [
        (NONE, "a", Some((THEN, NONE)), Some(Ok(true))),
        (NONE, "a", Some((NONE, NONE)), Some(Ok(true))),
        (NONE, "a", Some((NONE, THEN)), Some(Err(JobFault::OldName.to_string()))),
        (NONE, "B", None, None),
        (THEN, "b", None, Some(Ok(false))),
        ("500 what", "", None, None),
    ] {
        let server = Server::start(vec![on(move |mut peer| {
            peer.answer("MDTM b", before);
            if before != THEN {
                peer.answer("FEAT", "502 what");
                peer.answer("MLST b", "500 what");
                peer.epsv();
                peer.answer("LIST -a", "150 ok");
                let line = format!("-rw-r--r-- 1 u u 5 Jan 1 2020 {listed}\r\n");
                peer.send_data(if before == NONE { line.as_bytes() } else { b"who knows\r\n" });
                peer.reply("226 done");
            }
            let Some((new, old)) = after else { return };
            peer.answer("RNFR a", "350 go on");
            peer.answer("RNTO b", "250 done");
            peer.answer("MDTM b", new);
            if new == NONE {
                peer.answer("MLST b", "500 what");
                peer.answer("MDTM a", old);
                if old == NONE {
                    peer.answer("MLST a", "500 what");
                }
            }
        })]);
        let mut repeat = Repeat::single();
        let renamed = server.queue().attempts(1).run(|client| repeat.rename_new(client, "a", "b"));
        match want {
            Some(want) => {
                assert_eq!(renamed.map_err(|error| error.to_string()), want, "{before} {listed}");
            }
            None => assert!(
                matches!(renamed, Err(Error::Unsupported(Unsupported::NoExistence))),
                "{renamed:?}"
            ),
        }
        server.end();
    }
}
