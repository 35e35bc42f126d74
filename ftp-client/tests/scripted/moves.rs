//! Jobs that remove their source: what a program that embeds the library gets.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::time::SystemTime;

use ftp_client::error::JobFault;
use ftp_client::file::{Existing, TemporaryName, Verify};
use ftp_client::{Client, Error, ErrorKind, FileOptions, Get, Place, Put};
use ftp_proto::TimeVal;

use crate::peer::{Peer, Server};

const THEN: &str = "213 20200101000000";

/// Returns the names in a directory.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Answers the questions about `name`, which has five bytes.
fn about(peer: &mut Peer, name: &str) {
    peer.answer(&format!("SIZE {name}"), "213 5");
    peer.answer(&format!("MDTM {name}"), THEN);
}

fn take_in(peer: &mut Peer, name: &str) {
    peer.epsv();
    peer.answer(&format!("STOR {name}"), "150 ok");
    let mut bytes = Vec::new();
    peer.data().read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"hello");
    peer.reply("226 done");
    if name.starts_with(".in.") {
        peer.answer(&format!("MDTM {name}"), THEN);
    }
    peer.answer(&format!("SIZE {name}"), "213 5");
}

/// Downloads `a` to `a`, up to the removal.
fn download(peer: &mut Peer) {
    peer.answer("FEAT", "502 what");
    peer.answer("TYPE I", "200 ok");
    // Twice: a later change gets another time, whatever the server's clock shows.
    about(peer, "a");
    about(peer, "a");
    peer.epsv();
    peer.answer("RETR a", "150 Opening for a (5 bytes)");
    peer.send_data(b"hello");
    peer.reply("226 done");
    // It has not changed, neither during the download nor until its removal.
    about(peer, "a");
    about(peer, "a");
}

#[test]
fn a_download_removes_its_source_when_it_is_complete_here() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a");
    let own = path.clone();
    let (server, mut client) = Server::logged_in(move |mut peer| {
        download(&mut peer);
        assert_eq!(fs::read(&own).unwrap(), b"hello");
        peer.answer("DELE a", "250 gone");
    });
    let options = FileOptions::new().moves(true);
    let mut job = Get::to_path(Place::at("a"), &path, &options);
    let done = job.attempt(&mut client, &()).unwrap();
    assert_eq!((done.bytes, done.verified), (5, Verify::Size));
    assert_eq!(names(root.path()), ["a"]);
    server.end();
}

#[test]
fn a_job_continues_the_removal_that_another_one_could_not_make() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a");
    let (server, mut client) = Server::logged_in(|mut peer| {
        download(&mut peer);
        peer.answer("DELE a", "450 busy");
        // The next job downloads nothing. The target could be the server's file: the peer does not show
        // what the job creates beside it.
        peer.answer("SIZE a", "213 5");
        assert!(peer.line().starts_with(b"SIZE ftp-cli-"));
        peer.reply("550 no such file");
        peer.answer("MDTM a", THEN);
        about(&mut peer, "a");
        about(&mut peer, "a");
        peer.answer("DELE a", "250 gone");
    });
    let options = FileOptions::new().moves(true);
    let get = || Get::to_path(Place::at("a"), &path, &options);
    let failed = get().attempt(&mut client, &()).unwrap_err();
    assert!(matches!(failed, Error::Job(JobFault::NotRemoved(_))), "{failed}");
    assert!(failed.is_transient(), "{failed}");
    assert_eq!(names(root.path()).len(), 2);
    assert_eq!(get().attempt(&mut client, &()).unwrap().bytes, 0);
    assert_eq!(names(root.path()), ["a"]);
    server.end();
}

/// The file is gone when the next job asks for it. Only a directory that is listed proves that.
#[test]
fn a_killed_move_is_over_only_if_the_source_is_proved_to_be_gone() {
    for is_listed in [true, false] {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a");
        let (server, mut client) = Server::logged_in(move |mut peer| {
            download(&mut peer);
            peer.answer("DELE a", "450 busy");
            let mut asked = Vec::new();
            loop {
                let line = String::from_utf8(peer.line()).unwrap();
                match line.trim_end() {
                    "TYPE A" | "TYPE I" => peer.reply("200 ok"),
                    "EPSV" => {
                        let port = peer.listen();
                        peer.reply(&format!("229 ok (|||{port}|)"));
                    }
                    "LIST -a" | "LIST" if is_listed => {
                        peer.reply("150 ok");
                        peer.send_data(b"-rw-r--r-- 1 u u 5 Jan 1 2020 b\r\n");
                        peer.reply("226 done");
                    }
                    "QUIT" => {
                        peer.reply("221 bye");
                        return assert_eq!(asked.contains(&"RETR a".to_owned()), !is_listed);
                    }
                    line => {
                        asked.push(line.to_owned());
                        peer.reply("550 none");
                    }
                }
            }
        });
        let options = FileOptions::new().moves(true);
        let get = || Get::to_path(Place::at("a"), &path, &options);
        get().attempt(&mut client, &()).unwrap_err();
        let done = get().attempt(&mut client, &());
        match is_listed {
            true => assert_eq!((done.unwrap().bytes, names(root.path()).len()), (0, 1)),
            // A later run goes on if somebody may list the directory by then.
            false => assert_eq!((done.is_err(), names(root.path()).len()), (true, 2)),
        }
        assert_eq!(fs::read(&path).unwrap(), b"hello");
        client.quit().unwrap();
        server.end();
    }
}

/// The server stores both names of two runs as `a\u{fffd}`, and answers questions about either.
#[test]
#[cfg(target_os = "linux")]
fn a_source_stays_if_its_odd_name_is_not_listed() {
    use std::os::unix::ffi::OsStrExt;

    for listed in ["a\u{fffd}".as_bytes(), b"a\xe9"] {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(std::ffi::OsStr::from_bytes(b"a\xe9"));
        fs::write(&path, "hello").unwrap();
        let (server, mut client) = Server::logged_in(move |mut peer| {
            let mut stored = false;
            loop {
                let line = peer.line();
                match line.trim_ascii_end().split(|byte| *byte == b' ').next().unwrap() {
                    b"SIZE" => peer.reply(if stored { "213 5" } else { "550 no such file" }),
                    b"MDTM" => peer.reply(THEN),
                    b"TYPE" => peer.reply("200 ok"),
                    b"EPSV" => {
                        let port = peer.listen();
                        peer.reply(&format!("229 ok (|||{port}|)"));
                    }
                    b"STOR" => {
                        peer.reply("150 ok");
                        peer.data().read_to_end(&mut Vec::new()).unwrap();
                        peer.reply("226 done");
                        stored = true;
                    }
                    b"LIST" => {
                        peer.reply("150 ok");
                        let line = [b"-rw-r--r-- 1 u g 5 Jan 1 2020 ", listed, b"\r\n"].concat();
                        peer.send_data(&line);
                        peer.reply("226 done");
                    }
                    b"QUIT" => return peer.reply("221 bye"),
                    _ => peer.reply("502 what"),
                }
            }
        });
        let options = FileOptions::new().moves(true);
        let put = Put::from_path(&path, Place::at(b"a\xe9"), &options).attempt(&mut client, &());
        assert_eq!(put.is_ok(), listed == b"a\xe9", "{put:?}");
        assert_eq!(path.exists(), put.is_err());
        client.quit().unwrap();
        server.end();
    }
}

#[test]
fn an_upload_removes_its_source_when_the_server_has_it() {
    for is_temporary in [false, true] {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a");
        fs::write(&path, "hello").unwrap();
        let own = path.clone();
        let (server, mut client) = Server::logged_in(move |mut peer| {
            peer.answer("TYPE I", "200 ok");
            match is_temporary {
                false => {
                    peer.answer("SIZE a", "550 no such file");
                    take_in(&mut peer, "a");
                }
                true => {
                    peer.answer("SIZE .in.a", "550 no such file");
                    take_in(&mut peer, ".in.a");
                    peer.answer("FEAT", "502 what");
                    // For the journal, and directly before the rename.
                    about(&mut peer, ".in.a");
                    about(&mut peer, ".in.a");
                    peer.answer("RNFR .in.a", "350 go on");
                    assert!(own.exists());
                    peer.answer("RNTO a", "250 done");
                    about(&mut peer, "a");
                }
            }
        });
        let options = FileOptions::new().moves(true);
        let store = is_temporary.then(|| TemporaryName::parse(b".in.*").unwrap());
        let mut job = Put::from_path(&path, Place::at("a"), &options).store_as(store);
        assert_eq!(job.attempt(&mut client, &()).unwrap().verified, Verify::Size);
        assert!(names(root.path()).is_empty());
        server.end();
    }
}

/// Some servers keep the old file, and give the new one another name.
#[test]
fn a_source_stays_unless_its_file_has_the_final_name_after_the_renaming() {
    const GONE: &str = "550 no such file";
    for (size, time, old, is_there) in [
        ("213 5", THEN, None, true),
        // The time of the renaming.
        ("213 5", "213 20200101000001", None, true),
        ("213 5", "213 20191231235959", None, false),
        ("213 4", THEN, None, false),
        // A program at the server has taken the file.
        (GONE, GONE, Some(GONE), true),
        // The server has only confirmed.
        (GONE, GONE, Some(THEN), false),
    ] {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a");
        fs::write(&path, "hello").unwrap();
        let (server, mut client) = Server::logged_in(move |mut peer| {
            peer.answer("TYPE I", "200 ok");
            peer.answer("SIZE .in.a", "550 no such file");
            take_in(&mut peer, ".in.a");
            peer.answer("FEAT", "502 what");
            about(&mut peer, ".in.a");
            about(&mut peer, ".in.a");
            peer.answer("RNFR .in.a", "350 go on");
            peer.answer("RNTO a", "250 done");
            peer.answer("SIZE a", size);
            peer.answer("MDTM a", time);
            if let Some(old) = old {
                peer.answer("MDTM a", GONE);
                peer.answer("MLST a", "502 what");
                peer.answer("MDTM .in.a", old);
                if old == GONE {
                    peer.answer("MLST .in.a", "502 what");
                }
            }
        });
        let options = FileOptions::new().moves(true);
        let mut job = Put::from_path(&path, Place::at("a"), &options)
            .store_as(TemporaryName::parse(b".in.*"));
        match job.attempt(&mut client, &()) {
            Ok(_) => assert!(is_there, "{size} {time}"),
            Err(failed) => {
                let is_only_confirmed = match &failed {
                    Error::Job(JobFault::NotRenamed { cause, .. }) => {
                        matches!(**cause, Error::Job(JobFault::OldName))
                    }
                    _ => false,
                };
                let is_another = matches!(failed, Error::Job(JobFault::NotReplaced));
                assert!(is_another || is_only_confirmed && old.is_some(), "{failed}");
                assert!(!is_there, "{size} {time}");
            }
        }
        assert_eq!(path.exists(), !is_there, "{size} {time}");
        server.end();
    }
}

#[test]
fn a_killed_move_goes_on_only_in_its_own_directory() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("f");
    fs::write(&path, "hello").unwrap();
    let options = FileOptions::new().moves(true);
    let put = || {
        let job = Put::from_path(&path, Place::at("f"), &options);
        job.store_as(TemporaryName::parse(b".in.*"))
    };
    let begin = |peer: &mut Peer, directory: &str| {
        peer.answer(&format!("CWD {directory}"), "250 in");
        peer.answer("PWD", &format!("257 \"/{directory}\""));
    };
    let send = |peer: &mut Peer| {
        peer.answer("TYPE I", "200 ok");
        peer.answer("SIZE .in.f", "550 no such file");
        take_in(peer, ".in.f");
        peer.answer("FEAT", "502 what");
        about(peer, ".in.f");
        about(peer, ".in.f");
        peer.answer("RNFR .in.f", "350 go on");
        peer.expect("RNTO f");
    };
    // The reply to the rename is lost, and so is the job.
    let (server, mut client) = Server::logged_in(move |mut peer| {
        begin(&mut peer, "a");
        send(&mut peer);
        peer.close();
    });
    client.cwd("a").unwrap();
    put().attempt(&mut client, &()).unwrap_err();
    server.end();
    assert!(names(root.path()).len() > 1);
    // There is no file of this name in the other directory.
    let (server, mut client) = Server::logged_in(move |mut peer| {
        begin(&mut peer, "b");
        send(&mut peer);
        peer.reply("553 not here");
    });
    client.cwd("b").unwrap();
    put().attempt(&mut client, &()).unwrap_err();
    server.end();
    assert_eq!(fs::read(&path).unwrap(), b"hello");
}

#[test]
fn a_file_is_moved_by_one_job_at_a_time() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a");
    let own = path.clone();
    let (server, mut client) = Server::logged_in(move |mut peer| {
        download(&mut peer);
        // Another job cannot move the same file meanwhile.
        let (other, mut another) = Server::logged_in(|_peer| {});
        let options = FileOptions::new().moves(true);
        let mut job = Put::from_path(&own, Place::at("b"), &options);
        let refused = job.attempt(&mut another, &()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Limit, "{refused}");
        other.end();
        peer.answer("DELE a", "250 gone");
    });
    let options = FileOptions::new().moves(true);
    let mut job = Get::to_path(Place::at("a"), &path, &options);
    job.attempt(&mut client, &()).unwrap();
    server.end();
}

#[test]
fn only_a_file_with_a_path_is_moved() {
    let (server, mut client) = Server::logged_in(|_peer| {});
    let options = FileOptions::new().moves(true);
    let mut sink = Vec::new();
    let mut get = Get::to_writer(Place::at("a"), &mut sink, &options);
    let refused = get.attempt(&mut client, &()).unwrap_err();
    assert!(matches!(refused, Error::Job(JobFault::NotRegular)), "{refused}");
    let mut source = &b"hello"[..];
    let mut put = Put::from_reader(&mut source, Place::at("a"), &options);
    let refused = put.attempt(&mut client, &()).unwrap_err();
    assert!(matches!(refused, Error::Job(JobFault::NotRegular)), "{refused}");
    server.end();
}

#[test]
fn an_old_file_of_equal_size_gets_no_time_and_costs_no_source() {
    for (moves, preserves) in [(true, false), (true, true), (false, true)] {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("b");
        fs::write(&path, "hello").unwrap();
        // The server stores the upload under another name.
        let (server, mut client) = Server::logged_in(|mut peer| {
            peer.answer("TYPE I", "200 ok");
            peer.answer("SIZE a", "213 5");
            peer.answer("FEAT", "502 what");
            peer.answer("MDTM a", THEN);
            take_in(&mut peer, "a");
            peer.answer("MDTM a", THEN);
        });
        let options = FileOptions::new().moves(moves).preserve(preserves);
        let failed = Put::from_path(&path, Place::at("a"), &options).attempt(&mut client, &());
        let failed = failed.unwrap_err();
        assert!(matches!(failed, Error::Job(JobFault::NotReplaced)), "{failed}");
        assert_eq!(fs::read(&path).unwrap(), b"hello");
        drop(client);
        server.end();
    }
}

/// A link on the server leads to the local file from another directory, where no probe shows.
#[test]
fn a_file_with_several_names_is_not_sent_to_one_that_looks_like_it() {
    for (zone, is_one) in [(0, true), (2 * 3_600, true), (5, false)] {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("b");
        fs::write(&path, "hello").unwrap();
        fs::hard_link(&path, root.path().join("c")).unwrap();
        let then = TimeVal::from_unix_seconds(1_577_836_800 + zone).unwrap();
        let modified = SystemTime::from(TimeVal::from_unix_seconds(1_577_836_800).unwrap());
        fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        let (server, mut client) = Server::logged_in(move |mut peer| {
            peer.answer("TYPE I", "200 ok");
            peer.answer("SIZE a", "213 5");
            peer.refuse_probe();
            peer.answer("MDTM a", &format!("213 {then}"));
            if !is_one {
                take_in(&mut peer, "a");
            }
        });
        let options = FileOptions::new();
        let done = Put::from_path(&path, Place::at("a"), &options).attempt(&mut client, &());
        match done {
            Ok(done) => assert!(!is_one && done.size == 5),
            Err(error) => {
                assert!(is_one && matches!(error, Error::Job(JobFault::SameFile)), "{error}");
            }
        }
        server.end();
    }
}

/// `--verify none` is the user's word: no question is asked to prove the upload.
#[test]
fn a_time_that_nobody_wants_verified_costs_no_question() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("b");
    fs::write(&path, "hello").unwrap();
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.answer("TYPE I", "200 ok");
        peer.epsv();
        peer.answer("STOR a", "150 ok");
        assert_eq!(peer.read_data(), b"hello");
        peer.reply("226 done");
        assert!(peer.line().starts_with(b"MFMT "), "no question comes first");
        peer.reply("213 Modify=20200101000000; a");
    });
    let options = FileOptions::new().preserve(true).verify(Verify::None);
    Put::from_path(&path, Place::at("a"), &options).attempt(&mut client, &()).unwrap();
    server.end();
}

/// Uploads five bytes to `a` with their time, which the server gets only if its file is proved to be new.
#[track_caller]
fn put_with_its_time(path: &Path, client: &mut Client, is_done: bool) {
    let options = FileOptions::new().preserve(true);
    let done = Put::from_path(path, Place::at("a"), &options).attempt(client, &());
    match is_done {
        true => assert_eq!(done.unwrap().size, 5),
        false => assert!(matches!(done, Err(Error::Job(JobFault::NotReplaced))), "{done:?}"),
    }
}

/// Neither 450 nor 500 says that there is no file: only another question does.
#[test]
fn a_server_that_tells_no_size_does_not_prove_that_there_was_no_old_file() {
    for (size, is_absent, then, is_done) in [
        ("450 busy", true, THEN, true),
        ("450 busy", false, "213 20200101000001", true),
        ("450 busy", false, THEN, false),
        ("500 what", true, THEN, true),
        ("500 what", false, "213 20200101000001", true),
        ("500 what", false, THEN, false),
    ] {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("b");
        fs::write(&path, "hello").unwrap();
        let (server, mut client) = Server::logged_in(move |mut peer| {
            peer.answer("TYPE I", "200 ok");
            peer.answer("SIZE a", size);
            peer.answer("FEAT", "211-have\r\n MDTM\r\n MFMT\r\n211 end");
            if is_absent {
                peer.answer("MDTM a", "550 no such file");
                peer.answer("PWD", "257 \"/\"");
                peer.answer("CWD a", "550 no such directory");
            } else {
                peer.answer("MDTM a", THEN);
                peer.answer("MDTM a", THEN);
            }
            take_in(&mut peer, "a");
            if !is_absent {
                peer.answer("MDTM a", then);
            }
            if is_done {
                assert!(peer.line().starts_with(b"MFMT "), "the time is set");
                peer.reply("213 Modify=20200101000000; a");
            }
        });
        put_with_its_time(&path, &mut client, is_done);
        drop(client);
        server.end();
    }
}

/// aioftp has `MLST`, and neither `FEAT` nor `SIZE`.
#[test]
fn a_server_without_feat_is_asked_by_mlst_whether_an_upload_is_new() {
    let told = |time: &str| format!("250-it\r\n type=file;size=5;modify={time}; a\r\n250 end");
    for (is_absent, time, is_done) in
        [(true, "", true), (false, "20200101000001", true), (false, "20200101000000", false)]
    {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("b");
        fs::write(&path, "hello").unwrap();
        let (server, mut client) = Server::logged_in(move |mut peer| {
            peer.answer("TYPE I", "200 ok");
            peer.answer("SIZE a", "502 what");
            peer.answer("FEAT", "502 what");
            if is_absent {
                peer.answer("MLST a", "550 no such file");
            } else {
                peer.answer("MLST a", &told("20200101000000"));
                peer.answer("MLST a", &told("20200101000000"));
            }
            take_in(&mut peer, "a");
            if !is_absent {
                peer.answer("MLST a", &told(time));
            }
            if is_done {
                assert!(peer.line().starts_with(b"MFMT "), "the time is set");
                peer.reply("213 Modify=20200101000000; a");
            }
        });
        put_with_its_time(&path, &mut client, is_done);
        drop(client);
        server.end();
    }
}

/// A server that refuses the size of a file that it has just stored may have had one before, too.
#[test]
fn a_refused_size_proves_a_file_new_only_if_the_server_then_tells_it() {
    for after in ["213 5", "550 denied"] {
        let is_done = after == "213 5";
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("b");
        fs::write(&path, "hello").unwrap();
        let (server, mut client) = Server::logged_in(move |mut peer| {
            peer.answer("TYPE I", "200 ok");
            peer.answer("SIZE a", "550 denied");
            peer.epsv();
            peer.answer("STOR a", "150 ok");
            assert_eq!(peer.read_data(), b"hello");
            peer.reply("226 done");
            peer.answer("SIZE a", after);
            if is_done {
                assert!(peer.line().starts_with(b"MFMT "), "the time is set");
                peer.reply("213 Modify=20200101000000; a");
            } else {
                peer.answer("SIZE a", after);
                peer.answer("FEAT", "502 what");
            }
        });
        put_with_its_time(&path, &mut client, is_done);
        drop(client);
        server.end();
    }
}

/// What this server stores within its own clock would be newer than any change of the source meanwhile.
#[test]
fn a_file_that_changes_while_it_is_sent_is_sent_again_where_no_time_can_be_set() {
    for changes in [1, 3] {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("b");
        fs::write(&path, "0").unwrap();
        let own = path.clone();
        let (server, mut client) = Server::logged_in(move |mut peer| {
            for upload in 0..3.min(changes + 1) {
                let stored = if upload == 0 { "20000101000000" } else { "20991231235959" };
                peer.answer("MDTM a", &format!("213 {stored}"));
                match upload {
                    0 => peer.answer("TYPE I", "200 ok"),
                    _ => peer.answer("SIZE a", "213 1"),
                }
                peer.epsv();
                peer.answer("STOR a", "150 ok");
                assert_eq!(peer.read_data(), upload.to_string().as_bytes());
                if upload < changes {
                    fs::write(&own, (upload + 1).to_string()).unwrap();
                }
                peer.reply("226 done");
                if upload < changes {
                    let line = peer.line();
                    assert!(line.starts_with(b"MFMT ") && line.ends_with(b" a\r\n"), "{line:?}");
                    // It confirms the time, and keeps its own.
                    peer.reply("213 ok");
                    peer.answer("MDTM a", "213 20991231235959");
                } else {
                    peer.answer("SIZE a", "213 1");
                }
            }
        });
        let options = FileOptions::new().existing(Existing::ReplaceOlder);
        let done = Put::from_path(&path, Place::at("a"), &options).attempt(&mut client, &());
        match done {
            Ok(done) => assert_eq!((changes, done.bytes), (1, 1)),
            Err(Error::Job(JobFault::LocalChanged)) => assert_eq!(changes, 3),
            Err(error) => panic!("{error}"),
        }
        server.end();
    }
}

/// The second file is looked at while the first one waits for its second to pass: it does not wait.
#[test]
fn files_that_are_moved_one_after_the_other_wait_once() {
    let root = tempfile::tempdir().unwrap();
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.answer("FEAT", "502 what");
        peer.answer("TYPE I", "200 ok");
        about(&mut peer, "a");
        about(&mut peer, "b");
        for name in ["a", "b"] {
            about(&mut peer, name);
            peer.epsv();
            peer.answer(&format!("RETR {name}"), "150 Opening for it (5 bytes)");
            peer.send_data(b"hello");
            peer.reply("226 done");
            about(&mut peer, name);
            about(&mut peer, name);
            peer.answer(&format!("DELE {name}"), "250 gone");
        }
    });
    let options = FileOptions::new().moves(true);
    for (name, next) in [("a", Some("b")), ("b", None)] {
        let path = root.path().join(name);
        client.plan_moves(next.map(|next| next.as_bytes().to_vec()));
        Get::to_path(Place::at(name), &path, &options).attempt(&mut client, &()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"hello");
    }
    server.end();
}

#[test]
fn a_source_that_another_program_has_locked_is_not_removed() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("b");
    fs::write(&path, "hello").unwrap();
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.answer("TYPE I", "200 ok");
        peer.answer("SIZE a", "550 no such file");
        take_in(&mut peer, "a");
    });
    let other = fs::File::open(&path).unwrap();
    rustix::fs::flock(&other, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let options = FileOptions::new().moves(true);
    let failed = Put::from_path(&path, Place::at("a"), &options).attempt(&mut client, &());
    let failed = failed.unwrap_err();
    assert!(matches!(failed, Error::Job(JobFault::SourceInUse)), "{failed}");
    assert_eq!(fs::read(&path).unwrap(), b"hello");
    server.end();
}

/// Such as after a power cut.
#[test]
fn a_source_is_sent_again_if_the_server_has_lost_bytes_since_its_renaming() {
    for size in ["213 5", "550 no such file", "213 0"] {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a");
        fs::write(&path, "hello").unwrap();
        let (server, mut client) = Server::logged_in(move |mut peer| {
            let send = |peer: &mut Peer| {
                peer.answer("SIZE .in.a", "550 no such file");
                take_in(peer, ".in.a");
            };
            let rename = |peer: &mut Peer| {
                about(peer, ".in.a");
                about(peer, ".in.a");
                peer.answer("RNFR .in.a", "350 go on");
                peer.answer("RNTO a", "250 done");
                about(peer, "a");
            };
            peer.answer("TYPE I", "200 ok");
            send(&mut peer);
            peer.answer("FEAT", "502 what");
            rename(&mut peer);
            peer.answer("SIZE a", size);
            if size == "213 0" {
                send(&mut peer);
                rename(&mut peer);
            }
        });
        let options = FileOptions::new().moves(true);
        let put = || {
            let job = Put::from_path(&path, Place::at("a"), &options);
            job.store_as(TemporaryName::parse(b".in.*"))
        };
        let other = fs::File::open(&path).unwrap();
        rustix::fs::flock(&other, rustix::fs::FlockOperation::LockExclusive).unwrap();
        let failed = put().attempt(&mut client, &()).unwrap_err();
        assert!(matches!(failed, Error::Job(JobFault::SourceInUse)), "{failed}");
        // A process that another test is just starting may keep a copy for a moment.
        rustix::fs::flock(&other, rustix::fs::FlockOperation::Unlock).unwrap();
        put().attempt(&mut client, &()).unwrap();
        assert!(names(root.path()).is_empty());
        server.end();
    }
}

#[test]
fn an_empty_source_is_removed_if_the_servers_file_is_empty_too() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("b");
    fs::write(&path, "").unwrap();
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.answer("TYPE I", "200 ok");
        peer.answer("SIZE a", "213 0");
        peer.epsv();
        peer.answer("STOR a", "150 ok");
        assert_eq!(peer.read_data(), b"");
        peer.reply("226 done");
        peer.answer("SIZE a", "213 0");
    });
    let options = FileOptions::new().moves(true);
    Put::from_path(&path, Place::at("a"), &options).attempt(&mut client, &()).unwrap();
    assert!(names(root.path()).is_empty());
    server.end();
}
