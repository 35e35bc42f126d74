//! `download_to` and `upload_from`: whole files, resumed after interruptions.

use std::fs;
use std::time::{Duration, SystemTime};

use ftp_client::error::JobFault;
use ftp_client::file::{Existing, SkipReason, TemporaryName, Verify};
use ftp_client::{Error, FileOptions, Get, Place, Put, Resume};

use crate::peer::{Peer, Server};

const THEN: &str = "213 20200101000000";

/// `SIZE` and `MDTM`.
fn about(peer: &mut Peer, size: u64, modified: &str) {
    peer.answer("SIZE a", &format!("213 {size}"));
    peer.answer("MDTM a", modified);
}

#[test]
fn a_download_replaces_the_target_only_when_complete() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a");
    fs::write(&path, "old").unwrap();
    let old = path.clone();
    let (server, mut client) = Server::logged_in(move |mut peer| {
        peer.image_epsv();
        peer.answer("RETR a", "150 ok");
        peer.send_data(b"hello");
        assert_eq!(fs::read(&old).unwrap(), b"old");
        peer.reply("226 done");
        peer.answer("SIZE a", "213 5");
        peer.epsv();
        peer.answer("RETR a", "150 ok");
        peer.send_data(b"hell");
        peer.reply("226 done");
        peer.answer("SIZE a", "213 5");
        peer.epsv();
        peer.answer("RETR a", "550 gone");
    });
    let options = FileOptions::new();
    let done = client.download_to("a", &path, &options, &()).unwrap();
    assert_eq!((done.size, done.resumed, done.verified), (5, 0, Verify::Size));
    assert_eq!(fs::read(&path).unwrap(), b"hello");
    let short = client.download_to("a", &path, &options, &());
    assert!(
        matches!(short, Err(Error::Incomplete { bytes: 4, announced: Some(5), .. })),
        "{short:?}"
    );
    let gone = client.download_to("a", &path, &options, &());
    assert!(matches!(gone, Err(Error::Refused { .. })), "{gone:?}");
    assert_eq!(fs::read(&path).unwrap(), b"hello");
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    server.end();
}

#[test]
fn a_connection_that_is_lost_before_the_size_is_told_completes_no_download() {
    for existing in [Existing::Replace, Existing::ReplaceDifferent] {
        let is_asked = existing == Existing::ReplaceDifferent;
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a");
        fs::write(&path, "old").unwrap();
        let (server, mut client) = Server::logged_in(move |mut peer| {
            if is_asked {
                peer.answer("MDTM a", THEN);
                peer.answer("TYPE I", "200 ok");
                peer.answer("SIZE a", "213 5");
                peer.epsv();
            } else {
                peer.image_epsv();
            }
            peer.answer("RETR a", "150 ok");
            peer.send_data(b"h");
            peer.reply("226 done");
            peer.expect("SIZE a");
            peer.close();
        });
        let options = FileOptions::new().existing(existing).retried(true);
        let mut job = Get::to_path(Place::at("a"), &path, &options);
        let lost = job.attempt(&mut client, &()).unwrap_err();
        assert!(matches!(lost, Error::Closed | Error::Incomplete { .. }), "{lost:?}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        server.end();
        if is_asked {
            continue;
        }
        // A server that always closes here is asked first.
        let (server, mut client) = Server::logged_in(|mut peer| {
            peer.answer("TYPE I", "200 ok");
            about(&mut peer, 5, THEN);
            peer.epsv();
            peer.answer("RETR a", "150 ok");
            peer.send_data(b"hello");
            peer.reply("226 done");
            peer.close();
        });
        let done = job.attempt(&mut client, &()).unwrap();
        assert_eq!((done.size, done.verified), (5, Verify::Size));
        assert_eq!(fs::read(&path).unwrap(), b"hello");
        server.end();
    }
}

#[test]
fn a_download_preserves_the_modification_time_on_request() {
    for has_mdtm in [true, false] {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a");
        let (server, mut client) = Server::logged_in(move |mut peer| {
            // Asked before the data: a later change of the file shows in the next run.
            match has_mdtm {
                true => peer.answer("MDTM a", THEN),
                false => {
                    peer.answer("MDTM a", "500 what?");
                    let facts = " type=file;modify=20200101000000; a";
                    peer.answer("MLST a", &format!("250-facts\r\n{facts}\r\n250 end"));
                }
            }
            peer.image_epsv();
            peer.answer("RETR a", "150 ok");
            peer.send_data(b"hello");
            peer.reply("226 done");
            peer.answer("SIZE a", "213 5");
        });
        let options = FileOptions::new().preserve(true);
        client.download_to("a", &path, &options, &()).unwrap();
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        let modified = modified.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        assert_eq!(modified, 1_577_836_800);
        server.end();
    }
}

#[test]
fn keep_existing_preserves_a_file_created_during_the_download() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a");
    let other = path.clone();
    let (server, mut client) = Server::logged_in(move |mut peer| {
        peer.image_epsv();
        peer.answer("RETR a", "150 Opening for a (5 bytes)");
        fs::write(other, "another").unwrap();
        peer.send_data(b"hello");
        peer.reply("226 done");
    });
    let options = FileOptions::new().existing(Existing::Keep);
    let done = client.download_to("a", &path, &options, &()).unwrap();
    assert_eq!(done.skipped, Some(SkipReason::NowExists));
    assert_eq!(fs::read(&path).unwrap(), b"another");
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    server.end();
}

/// Also by a job that removes its source, which stays.
#[test]
fn a_file_that_was_stored_during_an_upload_under_a_temporary_name_is_kept() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a");
    fs::write(&path, "hello").unwrap();
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_577_836_800);
    fs::File::options().write(true).open(&path).unwrap().set_modified(then).unwrap();
    let own = || TemporaryName::parse(b".in.*").unwrap();
    for (existing, moves, store, why) in [
        (Existing::Keep, false, TemporaryName::standard(), SkipReason::NowExists),
        (Existing::Keep, true, TemporaryName::standard(), SkipReason::NowExists),
        (Existing::Keep, false, own(), SkipReason::NowExists),
        (Existing::ReplaceOlder, false, own(), SkipReason::NotNewer),
        (Existing::ReplaceDifferent, false, own(), SkipReason::Unchanged),
    ] {
        let (server, mut client) = Server::logged_in(move |mut peer| {
            let (mut is_stored, mut is_removed) = (false, false);
            loop {
                let line = String::from_utf8(peer.line()).unwrap();
                let (verb, name) = line.trim_end().split_once(' ').unwrap_or((line.trim_end(), ""));
                match verb {
                    "TYPE" => peer.reply("200 ok"),
                    "FEAT" => peer.reply("211-x\r\n MDTM\r\n MLST\r\n SIZE\r\n211 end"),
                    "MDTM" if is_stored => peer.reply("213 20200101000000"),
                    "SIZE" if is_stored => peer.reply("213 5"),
                    // The directory.
                    "MLST" if name.is_empty() => peer.reply("250-x\r\n type=dir; /\r\n250 end"),
                    "MDTM" | "SIZE" | "MLST" => peer.reply("550 no such file"),
                    "EPSV" => {
                        let port = peer.listen();
                        peer.reply(&format!("229 ok (|||{port}|)"));
                    }
                    "STOR" => {
                        peer.reply("150 ok");
                        assert_eq!(peer.read_data(), b"hello");
                        is_stored = true;
                        peer.reply("226 done");
                    }
                    "DELE" => {
                        assert!(name.starts_with(".in.a"), "{line}");
                        is_removed = true;
                        peer.reply("250 gone");
                    }
                    "QUIT" => {
                        assert!(is_removed, "{existing:?}");
                        return peer.reply("221 bye");
                    }
                    _ => panic!("{line}"),
                }
            }
        });
        let options = FileOptions::new().existing(existing).moves(moves);
        let mut job = Put::from_path(&path, Place::at("a"), &options).store_as(Some(store));
        let done = job.attempt(&mut client, &()).unwrap();
        assert_eq!(done.skipped, Some(why), "{existing:?}");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1, "{existing:?}");
        client.quit().unwrap();
        server.end();
    }
}

#[test]
fn a_file_whose_upload_by_another_sender_has_just_ended_is_kept() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("b");
    fs::write(&path, "hello").unwrap();
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_577_836_800);
    fs::File::options().write(true).open(&path).unwrap().set_modified(then).unwrap();
    for (existing, why, is_busy) in [
        (Existing::Keep, SkipReason::Exists, true),
        (Existing::Keep, SkipReason::Exists, false),
        (Existing::ReplaceOlder, SkipReason::NotNewer, true),
        (Existing::ReplaceDifferent, SkipReason::Unchanged, true),
    ] {
        let (server, mut client) = Server::logged_in(move |mut peer| {
            let mut asked = 0;
            loop {
                let line = String::from_utf8(peer.line()).unwrap();
                match line.trim_end() {
                    "TYPE I" => peer.reply("200 ok"),
                    "PWD" => peer.reply("257 \"/\""),
                    "FEAT" => peer.reply("211-x\r\n MDTM\r\n MLST\r\n SIZE\r\n211 end"),
                    "SIZE a" => {
                        asked += 1;
                        peer.reply(if is_busy && asked == 1 { "450 busy" } else { "213 5" });
                    }
                    "MDTM a" if asked > 0 => peer.reply(THEN),
                    "MLST" => peer.reply("250-x\r\n type=dir; /\r\n250 end"),
                    "MDTM a" | "MLST a" => peer.reply("550 no such file"),
                    "QUIT" => return peer.reply("221 bye"),
                    _ => panic!("{line}"),
                }
            }
        });
        let options = FileOptions::new().existing(existing).resume(Resume::Proven);
        let done = client.upload_from(&path, "a", &options, &()).unwrap();
        assert_eq!(done.skipped, Some(why), "{existing:?} {is_busy}");
        client.quit().unwrap();
        server.end();
    }
}

/// A user who may only upload gets 550 for every name; FAT takes two names for one, also short ones.
#[test]
fn a_name_that_may_be_taken_is_not_free() {
    let root = tempfile::tempdir().unwrap();
    for (name, features, listing, is_free) in [
        ("A", " MDTM\r\n MLST\r\n", None, false),
        ("A", " SIZE\r\n", Some("-rw-r--r-- 1 u u 5 Jan 1 2020 a\r\n"), false),
        ("A~1", " SIZE\r\n", Some("-rw-r--r-- 1 u u 5 Jan 1 2020 abcdefghij\r\n"), false),
        ("A", " SIZE\r\n", Some("-rw-r--r-- 1 u u 5 Jan 1 2020 b\r\n"), true),
    ] {
        let path = root.path().join(name);
        fs::write(&path, "hello").unwrap();
        for existing in [Existing::Keep, Existing::ReplaceOlder, Existing::ReplaceDifferent] {
            let (server, mut client) = Server::logged_in(move |mut peer| {
                loop {
                    let line = String::from_utf8(peer.line()).unwrap();
                    match line.trim_end().split(' ').next().unwrap() {
                        "TYPE" => peer.reply("200 ok"),
                        "FEAT" => peer.reply(&format!("211-x\r\n{features}211 end")),
                        "EPSV" => {
                            let port = peer.listen();
                            peer.reply(&format!("229 ok (|||{port}|)"));
                        }
                        "LIST" if listing.is_some() => {
                            peer.reply("150 ok");
                            peer.send_data(listing.unwrap().as_bytes());
                            peer.reply("226 done");
                        }
                        "STOR" => {
                            assert!(is_free, "{line}");
                            return peer.reply("553 as far as the test goes");
                        }
                        "QUIT" => return peer.reply("221 bye"),
                        "MLSD" | "NLST" if listing.is_some() => peer.reply("502 what"),
                        _ => peer.reply("550 not enough privileges"),
                    }
                }
            });
            let options = FileOptions::new().existing(existing);
            let error = client.upload_from(&path, name, &options, &()).unwrap_err();
            let is_refused = matches!(&error, Error::Refused { verb: ftp_client::Verb::Stor, .. });
            assert_eq!(is_refused, is_free, "{name} {existing:?}: {error}");
            if !is_free {
                assert_eq!(
                    error.kind(),
                    ftp_client::ErrorKind::Unsupported,
                    "{name} {existing:?}: {error}"
                );
                client.quit().unwrap();
            }
            server.end();
        }
    }
}

#[test]
fn keep_existing_requests_nothing_for_an_existing_file() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a");
    fs::write(&path, "hello").unwrap();
    let (server, mut client) = Server::logged_in(|_peer| {});
    let options = FileOptions::new().resume(Resume::Proven).existing(Existing::Keep);
    let done = client.download_to("a", &path, &options, &()).unwrap();
    assert_eq!(done.skipped, Some(SkipReason::Exists));
    assert_eq!(fs::read(&path).unwrap(), b"hello");
    server.end();
}

#[test]
fn an_interrupted_download_resumes_in_its_partial_file_as_09() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a");
    let part = root.path().join("a.part");
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.answer("TYPE I", "200 ok");
        about(&mut peer, 12, THEN);
        peer.epsv();
        peer.answer("RETR a", "150 ok");
        peer.send_data(b"hello");
        peer.reply("426 cut");
        about(&mut peer, 12, THEN);
        peer.epsv();
        peer.answer("RETR a", "150 ok");
        peer.send_data(b"hello, world");
        peer.reply("226 done");
        peer.answer("MDTM a", THEN);
        peer.answer("FEAT", "502 what");
        // The complete file has a record: it is not fetched again.
        about(&mut peer, 12, THEN);
    });
    let options = FileOptions::new().resume(Resume::Proven);
    let cut = client.download_to("a", &path, &options, &()).unwrap_err();
    assert_eq!(cut.to_string(), "RETR refused: 426 cut");
    assert_eq!(fs::read(&part).unwrap(), b"hello");
    assert!(!path.exists());
    let done = client.download_to("a", &path, &options, &()).unwrap();
    assert_eq!((done.resumed, done.size, done.verified), (5, 12, Verify::Size));
    assert_eq!(fs::read(&path).unwrap(), b"hello, world");
    assert!(!part.exists());
    let done = client.download_to("a", &path, &options, &()).unwrap();
    assert_eq!((done.resumed, done.bytes, done.verified), (12, 0, Verify::Size));
    server.end();
}

#[test]
fn a_partial_file_of_another_program_is_neither_used_nor_removed_as_09() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a");
    let part = root.path().join("a.part");
    fs::write(&part, "other").unwrap();
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.answer("TYPE I", "200 ok");
        about(&mut peer, 12, THEN);
        peer.epsv();
        peer.answer("RETR a", "150 ok");
        peer.send_data(b"hello, world");
        peer.reply("226 done");
    });
    let options = FileOptions::new().resume(Resume::Proven);
    let done = client.download_to("a", &path, &options, &()).unwrap();
    assert_eq!((done.resumed, done.size), (0, 12));
    assert_eq!(fs::read(&path).unwrap(), b"hello, world");
    assert_eq!(fs::read(&part).unwrap(), b"other");
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 2);
    server.end();
}

#[test]
fn the_first_byte_too_many_ends_a_download() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a");
    for (resume, verify, most, text) in [
        (Resume::Proven, Verify::IfKnown, None, "150 ok"),
        (Resume::Own, Verify::IfKnown, Some(5), "150 ok"),
        (Resume::Own, Verify::None, Some(5), "150 ok (4 bytes)"),
    ] {
        let (server, mut client) = Server::logged_in(move |mut peer| {
            peer.answer("TYPE I", "200 ok");
            if resume == Resume::Proven {
                about(&mut peer, 5, THEN);
            }
            peer.epsv();
            peer.answer("RETR a", text);
            // Endless, until the client hangs up.
            let mut data = peer.data();
            while std::io::Write::write_all(&mut data, &[7; 65_536]).is_ok() {}
            peer.expect_abort();
            peer.reply("426 stopped");
            peer.reply("226 ok");
        });
        let options = FileOptions::new().resume(resume).verify(verify).most_bytes(most);
        let error = client.download_to("a", &path, &options, &()).unwrap_err();
        let is_too_long = matches!(error, Error::Incomplete { bytes: 6.., announced: Some(5), .. });
        assert!(is_too_long, "{resume:?} {verify:?}: {error:?}");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
        server.end();
    }
}

#[test]
fn an_upload_compares_the_size_and_resumes_after_an_interruption() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a");
    fs::write(&path, "hello, world").unwrap();
    let (server, mut client) = Server::logged_in(|mut peer| {
        let store = |peer: &mut Peer, reply: &str| {
            peer.epsv();
            peer.answer("STOR b", "150 ok");
            assert_eq!(peer.read_data(), b"hello, world");
            peer.reply(reply);
        };
        let end = |peer: &mut Peer, bytes: &[u8]| {
            peer.epsv();
            peer.answer("RETR b", "150 ok");
            peer.send_data(bytes);
            peer.reply("226 done");
        };
        peer.answer("TYPE I", "200 ok");
        store(&mut peer, "226 done");
        peer.answer("SIZE b", "213 11");
        // Without a journal and a digest, nothing proves that the server's bytes are ours.
        peer.answer("SIZE b", "213 6");
        peer.answer("FEAT", "211-x\r\n XCRC\r\n211 end");
        peer.answer("XCRC b", "250 00000000");
        // This upload leaves a journal.
        store(&mut peer, "426 cut");
        // The bytes there are compared by their digest, and the whole file when it is complete.
        peer.answer("SIZE b", "213 5");
        peer.answer("XCRC b", "250 3610A686");
        peer.epsv();
        peer.answer("APPE b", "150 ok");
        assert_eq!(peer.read_data(), b", world");
        peer.reply("226 done");
        peer.answer("SIZE b", "213 12");
        peer.answer("XCRC b", "250 FFAB723A");
        // The journal is gone; the digest proves that the file is complete.
        peer.answer("SIZE b", "213 12");
        peer.answer("XCRC b", "250 FFAB723A");
        peer.answer("MDTM b", "213 20260101000000");
        peer.answer("SIZE b", "213 12");
        // The server's file ends in other bytes.
        peer.answer("SIZE b", "213 7");
        peer.answer("XCRC b", "550 no");
        store(&mut peer, "426 cut");
        peer.answer("SIZE b", "213 5");
        peer.answer("XCRC b", "550 no");
        end(&mut peer, b"other");
        store(&mut peer, "451 no");
        // The server cannot resume uploads.
        peer.answer("SIZE b", "213 4");
        peer.answer("XCRC b", "550 no");
        end(&mut peer, b"hell");
        peer.epsv();
        peer.answer("APPE b", "451 b: Restart not permitted, try again");
        store(&mut peer, "226 done");
        peer.answer("SIZE b", "213 12");
        peer.answer("SIZE b", "213 13");
    });
    let options = FileOptions::new();
    let mut put = |options: &FileOptions| client.upload_from(&path, "b", options, &());
    let short = put(&options);
    assert!(matches!(short, Err(Error::Incomplete { bytes: 11, announced: Some(12), .. })));
    let options = options.resume(Resume::Proven);
    assert_eq!(put(&options).unwrap_err().to_string(), "STOR refused: 426 cut");
    let done = put(&options).unwrap();
    assert_eq!((done.resumed, done.size, done.verified), (5, 12, Verify::Digest));
    let done = put(&options).unwrap();
    assert_eq!((done.resumed, done.bytes, done.verified), (12, 0, Verify::Digest));
    assert_eq!(put(&options).unwrap_err().to_string(), "STOR refused: 426 cut");
    assert_eq!(put(&options).unwrap_err().to_string(), "STOR refused: 451 no");
    let done = put(&options).unwrap();
    assert_eq!((done.resumed, done.size), (0, 12));
    let longer = put(&options);
    let is_longer =
        |fault: &JobFault| matches!(fault, JobFault::Longer { there: 13, here: 12, .. });
    assert!(matches!(longer, Err(Error::Job(fault)) if is_longer(&fault)));
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1, "a journal is left");
    let missing = client.upload_from(root.path().join("b"), "a", &options, &());
    assert!(matches!(missing, Err(Error::Local(error)) if error.to_string().contains("/b: ")));
    server.end();
}

#[test]
fn a_checksum_mismatch_leaves_no_file() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a");
    let (server, mut client) = Server::logged_in(|mut peer| {
        for digest in ["cbf43926", "00000000"] {
            // Asked before the data, so that nothing is transferred that cannot be verified.
            if digest == "cbf43926" {
                peer.answer("FEAT", "211-Features:\r\n XCRC\r\n211 End");
                peer.image_epsv();
            } else {
                peer.epsv();
            }
            peer.answer("RETR a", "150 Opening for a (9 bytes)");
            peer.send_data(b"123456789");
            peer.reply("226 done");
            // A busy server is asked again.
            if digest == "cbf43926" {
                peer.answer("XCRC a", "450 busy");
            }
            peer.answer("XCRC a", &format!("250 {digest}"));
        }
    });
    let options = FileOptions::new().verify(Verify::Digest);
    let done = client.download_to("a", &path, &options, &()).unwrap();
    assert_eq!((done.size, done.verified), (9, Verify::Digest));
    fs::remove_file(&path).unwrap();
    let error = client.download_to("a", &path, &options, &()).unwrap_err();
    assert_eq!(error.to_string(), "CRC32 mismatch: cbf43926 here, 00000000 on the server");
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    server.end();
}
