//! `STOR` and `APPE`: only the server's confirmation counts, and no partial file looks complete.

use std::fs;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::time::Duration;

use ftp_client::error::Phase;
use ftp_client::file::{StoreAs, Verify};
use ftp_client::{
    Client, Download, Error, FileOptions, Get, Place, Put, RepresentationType, Resume, Upload,
    UploadMode, Verb,
};
use ftp_tests::wait::patiently;

use crate::peer::{SHORT, Server, reset, timeouts, was_reset};

#[test]
fn store_append_and_store_from() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.answer("TYPE I", "200 ok");
        for commands in [&["STOR a"][..], &["APPE a"], &["REST 5", "STOR a"], &["STOR a"]] {
            peer.epsv();
            for command in commands {
                let reply = if command.starts_with("REST") { "350 ok" } else { "150 ok" };
                peer.answer(command, reply);
            }
            assert_eq!(peer.read_data(), b"hello");
            peer.reply("226 done");
        }
    });
    for step in 0..4 {
        let mut file = match step {
            1 => client.append("a").unwrap(),
            2 => client.store_from("a", 5).unwrap(),
            _ => client.store("a").unwrap(),
        };
        file.write_all(b"hel").unwrap();
        file.write_all(b"lo").unwrap();
        assert_eq!(file.transferred(), 5);
        let report = file.finish().unwrap();
        assert_eq!((report.bytes, report.reply.code().value()), (5, 226));
    }
    server.end();
}

#[test]
fn ascii_transfers_convert_line_endings() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.answer("TYPE A", "200 ok");
        peer.epsv();
        peer.answer("STOR a", "150 ok");
        assert_eq!(peer.read_data(), b"a\r\nb\r\n\r\n");
        peer.reply("226 done");
    });
    client.set_representation(RepresentationType::Ascii);
    let mut file = client.store("a").unwrap();
    file.write_all(b"a\nb\r").unwrap();
    file.write_all(b"\n\n").unwrap();
    assert_eq!(file.finish().unwrap().bytes, 6);
    server.end();
}

#[test]
fn a_refusal_while_uploading_is_not_a_broken_pipe() {
    for reply in ["552 quota", "452 disk full", "426 cut"] {
        let (server, mut client) = Server::logged_in(move |mut peer| {
            peer.image_epsv();
            peer.answer("STOR a", "150 ok");
            let mut data = peer.data();
            data.read_exact(&mut [0; 100]).unwrap();
            peer.reply(reply);
            reset(data);
            peer.answer("NOOP", "200 ok");
        });
        let mut file = client.store("a").unwrap();
        let error = loop {
            if let Err(error) = file.write_all(&[0; 65_536]) {
                break Error::downcast(error).unwrap();
            }
        };
        assert!(matches!(&error, Error::Refused { verb: Verb::Stor, .. }), "{error}");
        assert_eq!(error.to_string(), format!("STOR refused: {reply}"));
        assert!(file.write(b"x").is_err(), "it stays failed");
        assert_eq!(file.finish().unwrap_err().to_string(), error.to_string());
        client.noop().unwrap();
        server.end();
    }
}

#[test]
fn a_refusal_after_a_short_upload_is_reported() {
    // All bytes fit into the kernel's buffers; only the last reply reports the failure.
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.image_epsv();
        peer.answer("STOR a", "150 ok");
        let mut data = peer.data();
        data.read_exact(&mut [0; 5]).unwrap();
        peer.reply("553 not here");
        reset(data);
        peer.answer("NOOP", "200 ok");
    });
    let mut file = client.store("a").unwrap();
    file.write_all(b"hello").unwrap();
    let error = file.finish().unwrap_err();
    assert_eq!(error.to_string(), "STOR refused: 553 not here");
    client.noop().unwrap();
    server.end();
}

#[test]
fn an_unread_upload_times_out_or_fails_with_the_servers_reply() {
    for reply in [None, Some("452 disk full")] {
        // Only a server that is silent is waited for.
        let stall = if reply.is_some() { timeouts().stall } else { SHORT };
        let builder = Client::builder().timeouts(timeouts().stall(stall));
        let (server, mut client) = Server::logged_in_with(builder, move |mut peer| {
            peer.image_epsv();
            peer.answer("STOR a", "150 ok");
            let _unread = peer.data();
            if let Some(reply) = reply {
                peer.reply(reply);
            } else {
                peer.expect_abort();
                peer.send("426 cut\r\n226 aborted\r\n");
            }
            peer.answer("NOOP", "200 ok");
        });
        let mut file = client.store("a").unwrap();
        let error = loop {
            if let Err(error) = file.write_all(&[0; 65_536]) {
                break Error::downcast(error).unwrap();
            }
        };
        match reply {
            None => assert!(matches!(error, Error::Timeout(Phase::Stall)), "{error}"),
            Some(reply) => assert_eq!(error.to_string(), format!("STOR refused: {reply}")),
        }
        drop(file);
        client.noop().unwrap();
        server.end();
    }
}

#[test]
fn an_abandoned_upload_resets_the_data_connection() {
    for way in 0..3 {
        let (server, mut client) = Server::logged_in(move |mut peer| {
            peer.image_epsv();
            peer.answer("STOR a", "150 ok");
            let data = peer.data();
            if way == 2 {
                assert!(was_reset(&data), "the client was dropped");
                return;
            }
            peer.expect_abort();
            assert!(was_reset(&data));
            peer.send("426 cut\r\n226 aborted\r\n");
            peer.answer("NOOP", "200 ok");
        });
        let mut file = client.store("a").unwrap();
        file.write_all(b"half of it").unwrap();
        match way {
            0 => file.abort().unwrap(),
            _ => drop(file),
        }
        if way < 2 {
            client.noop().unwrap();
        }
        drop(client);
        server.end();
    }
}

#[test]
fn a_confirmation_before_any_data_is_an_error_hc_17() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.image_epsv();
        peer.answer("STOR a", "226 done already");
        let _data = peer.data();
        peer.answer("NOOP", "200 ok");
    });
    let mut file = client.store("a").unwrap();
    let error = Error::downcast(file.write_all(b"hello").unwrap_err()).unwrap();
    assert!(matches!(error, Error::Unexpected { verb: Verb::Stor, .. }), "{error}");
    assert!(file.finish().is_err());
    client.noop().unwrap();
    server.end();
}

#[test]
fn an_early_confirmation_after_other_replies_is_an_error_hc_17() {
    let (said, has_said) = std::sync::mpsc::channel();
    let (server, mut client) = Server::logged_in(move |mut peer| {
        peer.image_epsv();
        peer.answer("STOR a", "150 ok");
        let data = peer.data();
        peer.send("150 still\r\n125 here\r\n226 I have it all\r\n");
        said.send(()).unwrap();
        peer.answer("NOOP", "200 ok");
        drop(data);
    });
    let mut file = client.store("a").unwrap();
    file.write_all(b"hello").unwrap();
    has_said.recv().unwrap();
    let error = file.finish().unwrap_err();
    assert!(matches!(error, Error::Unexpected { verb: Verb::Stor, .. }), "{error}");
    client.noop().unwrap();
    server.end();
}

#[test]
fn an_early_confirmation_of_a_large_file_is_an_error_hc_17() {
    // Half of it is more than socket buffers hold.
    const LENGTH: usize = 64 << 20;
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.image_epsv();
        peer.answer("STOR a", "150 ok");
        let mut data = peer.data();
        data.read_exact(&mut vec![0; LENGTH / 2]).unwrap();
        peer.reply("226 I have it all");
        let _ = data.read_to_end(&mut Vec::new());
        drop(data);
        peer.allow_abort();
        peer.answer("NOOP", "200 ok");
    });
    let file = tempfile::tempfile().unwrap();
    file.set_len(LENGTH as u64).unwrap();
    let sent = client.store("a").unwrap().copy_from_file(&file);
    assert!(matches!(sent, Err(Error::Unexpected { verb: Verb::Stor, .. })), "{sent:?}");
    client.noop().unwrap();
    server.end();
}

#[test]
fn a_confirmation_before_the_end_of_the_data_is_an_error_hc_17() {
    for is_reset in [false, true] {
        let (said, has_said) = std::sync::mpsc::channel();
        let (server, mut client) = Server::logged_in(move |mut peer| {
            peer.image_epsv();
            peer.answer("STOR a", "150 ok");
            let mut data = peer.data();
            data.read_exact(&mut [0; 100]).unwrap();
            if is_reset {
                // Before or after the client ends its data: the client must see both.
                reset(data);
                peer.reply("226 I have it all");
            } else {
                peer.reply("226 I have it all");
                said.send(()).unwrap();
                let _ = data.read_to_end(&mut Vec::new());
            }
            peer.answer("NOOP", "200 ok");
        });
        let mut file = client.store("a").unwrap();
        file.write_all(&[0; 1_000]).unwrap();
        if !is_reset {
            has_said.recv().unwrap();
        }
        let error = file.finish().unwrap_err();
        match error {
            Error::Unexpected { verb: Verb::Stor, .. } => {}
            Error::Io(_) if is_reset => {}
            error => panic!("{error}"),
        }
        client.noop().unwrap();
        server.end();
    }
}

#[test]
fn a_file_is_sent_from_its_position_to_its_end() {
    let content: Vec<u8> =
        (0..3_000_000_u32).map(|n| if n % 80 == 0 { b'\n' } else { b'x' }).collect();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&content).unwrap();
    let as_text = content[5..].split(|byte| *byte == b'\n').collect::<Vec<_>>().join(&b"\r\n"[..]);
    for (representation, typed, want) in [
        (RepresentationType::Image, "TYPE I", content[5..].to_vec()),
        (RepresentationType::Ascii, "TYPE A", as_text),
    ] {
        let (server, mut client) = Server::logged_in(move |mut peer| {
            peer.answer(typed, "200 ok");
            peer.epsv();
            peer.answer("STOR a", "150 ok");
            let got = peer.read_data();
            assert!(got == want, "{} bytes, not {}", got.len(), want.len());
            peer.reply("226 done");
        });
        client.set_representation(representation);
        file.seek(SeekFrom::Start(5)).unwrap();
        let report = client.store("a").unwrap().copy_from_file(&file).unwrap();
        assert_eq!(report.bytes, content.len() as u64 - 5);
        server.end();
    }
}

#[test]
fn a_pipe_is_sent_as_a_file() {
    let (read, mut write) = std::io::pipe().unwrap();
    write.write_all(b"hello").unwrap();
    drop(write);
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.image_epsv();
        peer.answer("STOR a", "150 ok");
        assert_eq!(peer.read_data(), b"hello");
        peer.reply("226 done");
    });
    let pipe = fs::File::from(std::os::fd::OwnedFd::from(read));
    assert_eq!(client.store("a").unwrap().copy_from_file(&pipe).unwrap().bytes, 5);
    server.end();
}

#[test]
fn an_upload_whose_source_is_another_transfer_is_aborted_with_it() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.image_epsv();
        peer.answer("STOR a", "150 ok");
        assert!(was_reset(&peer.data()), "a server would take it for the whole file");
        peer.expect_abort();
        peer.send("426 cut\r\n226 aborted\r\n");
        peer.answer("NOOP", "200 ok");
    });
    let mut upload = client.store("a").unwrap();
    upload.write_all(b"half").unwrap();
    // As `std::io::copy` returns it, if the download of another client fails.
    let error = upload.fail(Error::Timeout(Phase::Stall).into());
    assert!(matches!(error, Error::Timeout(Phase::Stall)), "{error}");
    client.noop().unwrap();
    server.end();
}

#[test]
fn a_read_error_aborts_the_upload() {
    let unreadable = fs::File::open("/").unwrap();
    let shrinking = tempfile::tempfile().unwrap();
    // More than the buffers of both sockets hold.
    shrinking.set_len(256 << 20).unwrap();
    for (file, kind) in
        [(unreadable, ErrorKind::IsADirectory), (shrinking, ErrorKind::UnexpectedEof)]
    {
        let shrink = file.try_clone().unwrap();
        let (server, mut client) = Server::logged_in(move |mut peer| {
            peer.image_epsv();
            peer.answer("STOR a", "150 ok");
            let mut data = peer.data();
            if kind == ErrorKind::UnexpectedEof {
                data.read_exact(&mut [0; 100]).unwrap();
                shrink.set_len(1_000).unwrap();
            }
            assert!(was_reset(&data), "a server would take it for the whole file");
            peer.expect_abort();
            peer.send("426 cut\r\n226 aborted\r\n");
            peer.answer("NOOP", "200 ok");
        });
        let Err(Error::Local(error)) = client.store("a").unwrap().copy_from_file(&file) else {
            panic!("a success");
        };
        assert_eq!(error.kind(), kind, "{error}");
        client.noop().unwrap();
        server.end();
    }
}

#[test]
fn a_refusal_while_a_file_is_sent_is_reported_hc_20() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(256 << 20).unwrap();
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.image_epsv();
        peer.answer("STOR a", "150 ok");
        let _unread = peer.data();
        peer.reply("552 too large");
        peer.answer("NOOP", "200 ok");
    });
    let error = client.store("a").unwrap().copy_from_file(&file).unwrap_err();
    assert_eq!(error.to_string(), "STOR refused: 552 too large");
    client.noop().unwrap();
    server.end();
}

#[test]
fn a_size_that_is_not_told_at_once_is_asked_for_again_after_an_upload() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("b");
    fs::write(&path, "hello").unwrap();
    for (size, is_whole) in [("213 5", true), ("213 0", false)] {
        let (server, mut client) = Server::logged_in(move |mut peer| {
            peer.image_epsv();
            peer.answer("STOR a", "150 ok");
            assert_eq!(peer.read_data(), b"hello");
            peer.reply("226 done");
            peer.answer("SIZE a", "450 later");
            peer.answer("SIZE a", size);
        });
        match client.upload_from(&path, "a", &FileOptions::new(), &()) {
            Ok(done) => assert!(is_whole && done.verified == Verify::Size),
            Err(error) => {
                let is_short =
                    matches!(error, Error::Incomplete { bytes: 0, announced: Some(5), .. });
                assert!(!is_whole && is_short, "{error}");
            }
        }
        server.end();
    }
}

/// A size of 9 after five bytes were sent proves nothing if the size before is not known. If it is demanded,
/// nothing is sent: who hears of it afterwards would append once more.
#[test]
fn an_append_to_a_file_of_unknown_size_is_not_verified() {
    const NONE: &str = "550 no such file";
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("b");
    fs::write(&path, "hello").unwrap();
    for (size, facts, after, verified) in [
        ("213 4", "", 9, Verify::Size),
        (NONE, NONE, 5, Verify::Size),
        (NONE, "450 busy", 9, Verify::None),
        ("450 busy", "", 9, Verify::None),
    ] {
        for verify in [Verify::IfKnown, Verify::Size] {
            let (server, mut client) = Server::logged_in(move |mut peer| {
                peer.answer("TYPE I", "200 ok");
                peer.answer("SIZE a", size);
                if size == NONE {
                    peer.answer("FEAT", "211-x\r\n MLST\r\n211 end");
                    peer.answer("MLST a", facts);
                }
                if verified == Verify::None && verify == Verify::Size {
                    return;
                }
                peer.epsv();
                peer.answer("APPE a", "150 ok");
                assert_eq!(peer.read_data(), b"hello");
                peer.reply("226 done");
                peer.answer("SIZE a", &format!("213 {after}"));
            });
            let options = FileOptions::new().verify(verify);
            let mut job = Put::from_path(&path, Place::at("a"), &options).store_as(StoreAs::Append);
            match job.attempt(&mut client, &()) {
                Ok(done) => assert_eq!(done.verified, verified, "{size} {facts} {verify:?}"),
                Err(error) => assert!(
                    verified == Verify::None && verify == Verify::Size,
                    "{size} {facts} {error}"
                ),
            }
            server.end();
        }
    }
}

/// Some servers answer 450 for a missing file, or always: nobody uploads it.
#[test]
fn a_size_that_the_server_never_tells_stops_neither_upload_nor_download() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("b");
    fs::write(&path, "hello").unwrap();
    patiently(SHORT, |limit| {
        let builder = || Client::builder().timeouts(timeouts().final_reply(limit));
        let resumes = FileOptions::new().resume(Resume::Proven);
        for appends in [false, true] {
            let (server, mut client) = Server::logged_in_with(builder(), move |mut peer| {
                loop {
                    let line = peer.line();
                    let line = String::from_utf8(line).unwrap();
                    match line.trim_end() {
                        "TYPE I" => peer.reply("200 ok"),
                        "PWD" => peer.reply("257 \"/\""),
                        "FEAT" => peer.reply("502 what"),
                        "SIZE a" => peer.reply("450 busy"),
                        "EPSV" => {
                            let port = peer.listen();
                            peer.reply(&format!("229 ok (|||{port}|)"));
                        }
                        verb @ ("STOR a" | "APPE a") => {
                            assert_eq!(verb == "APPE a", appends);
                            peer.reply("150 ok");
                            assert_eq!(peer.read_data(), b"hello");
                            peer.reply("226 done");
                        }
                        "QUIT" => return peer.reply("221 bye"),
                        other => panic!("{other}"),
                    }
                }
            });
            let job = Put::from_path(&path, Place::at("a"), &resumes);
            let mut job = if appends { job.store_as(StoreAs::Append) } else { job };
            // Nothing verifies it: what the server is asked after its confirmation, it cannot tell either.
            let done = job.attempt(&mut client, &()).map(|done| (done.bytes, done.verified));
            assert_eq!(done.unwrap(), (5, Verify::None), "{appends}");
            client.quit().unwrap();
            server.end();
        }
        let (server, mut client) = Server::logged_in_with(builder(), |mut peer| {
            loop {
                let line = String::from_utf8(peer.line()).unwrap();
                match line.trim_end() {
                    "TYPE I" => peer.reply("200 ok"),
                    "PWD" => peer.reply("257 \"/\""),
                    "FEAT" => peer.reply("502 what"),
                    "SIZE a" | "MDTM a" => peer.reply("450 busy"),
                    "EPSV" => {
                        let port = peer.listen();
                        peer.reply(&format!("229 ok (|||{port}|)"));
                    }
                    "RETR a" => {
                        peer.reply("150 ok");
                        peer.send_data(b"world");
                        peer.reply("226 done");
                    }
                    "QUIT" => return peer.reply("221 bye"),
                    other => panic!("{other}"),
                }
            }
        });
        let new = root.path().join("new");
        let _ = fs::remove_file(&new);
        let mut job = Get::to_path(Place::at("a"), &new, &resumes);
        assert_eq!(job.attempt(&mut client, &()).unwrap().bytes, 5);
        assert_eq!(fs::read(&new).unwrap(), b"world");
        client.quit().unwrap();
        server.end();
    });
}

/// A proxy that dies can cut the data that the server counts as sent, and ends both connections.
#[test]
fn a_connection_that_ends_instead_of_telling_the_size_confirms_no_download() {
    for reply in [None, Some("421 bye")] {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("b");
        fs::write(&path, "hello").unwrap();
        let (server, mut client) = Server::logged_in(move |mut peer| {
            peer.image_epsv();
            peer.answer("RETR a", "150 ok");
            peer.send_data(b"w");
            peer.reply("226 done");
            peer.expect("SIZE a");
            reply.into_iter().for_each(|reply| peer.reply(reply));
        });
        let options = FileOptions::new();
        let done = Get::to_path(Place::at("a"), &path, &options).attempt(&mut client, &());
        assert!(done.is_err(), "{done:?}");
        assert_eq!(fs::read(&path).unwrap(), b"hello");
        server.end();
    }
}

/// Whether the server's file is the local one is a side question: that it gets no answer is the error,
/// with the name of its command, and nothing is sent.
#[test]
fn a_side_question_without_an_answer_is_named() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a");
    fs::write(&path, "hello").unwrap();
    patiently(SHORT, |limit| {
        let builder = Client::builder().timeouts(timeouts().reply(limit));
        let (server, mut client) = Server::logged_in_with(builder, |mut peer| {
            loop {
                let line = String::from_utf8(peer.line()).unwrap();
                match line.trim_end() {
                    "TYPE I" => peer.reply("200 ok"),
                    "SIZE a" => peer.reply("213 5"),
                    // What the job creates beside its source.
                    line if line.starts_with("SIZE ") => return peer.drain(),
                    other => panic!("{other}"),
                }
            }
        });
        let options = FileOptions::new();
        let failed = Put::from_path(&path, Place::at("a"), &options).attempt(&mut client, &());
        let failed = failed.unwrap_err();
        assert!(matches!(failed, Error::Timeout(Phase::Reply(Some(Verb::Size)))), "{failed:?}");
        drop(client);
        server.end();
    });
}

#[test]
fn an_upload_that_owns_its_client_moves_and_gives_the_client_back() {
    let (server, client) = Server::logged_in(|mut peer| {
        peer.image_epsv();
        peer.answer("APPE a", "150 ok");
        assert_eq!(peer.read_data(), b"abc");
        peer.reply("226 done");
        peer.epsv();
        peer.answer("STOR b", "553 no");
    });
    let mut upload = Upload::begin(client, "a", UploadMode::Append).unwrap();
    let client = std::thread::spawn(move || {
        upload.write_all(b"abc").unwrap();
        let (report, client) = upload.release();
        assert_eq!(report.unwrap().bytes, 3);
        client
    })
    .join()
    .unwrap();
    assert!(client.is_settled());
    assert!(matches!(Upload::begin(client, "b", UploadMode::Replace), Err(Error::Refused { .. })));
    server.end();
}

#[test]
fn a_transfer_that_waits_for_the_server_is_not_ready() {
    const LIMIT: Duration = Duration::from_millis(1);
    let (full, is_full) = std::sync::mpsc::channel::<()>();
    let (server, mut client) = Server::logged_in(move |mut peer| {
        peer.image_epsv();
        peer.answer("STOR a", "150 ok");
        is_full.recv().unwrap();
        assert!(peer.read_data().iter().all(|byte| *byte == b'x'));
        peer.reply("226 done");
        peer.epsv();
        peer.answer("RETR a", "150 ok");
        let mut data = peer.data();
        is_full.recv().unwrap();
        data.write_all(b"abc").unwrap();
        drop(data);
        peer.reply("226 done");
    });
    let mut upload = Upload::begin(&mut client, "a", UploadMode::Replace).unwrap();
    while upload.is_ready(LIMIT).unwrap() {
        assert!(upload.write(&[b'x'; 65_536]).unwrap() > 0);
    }
    full.send(()).unwrap();
    while !upload.is_ready(Duration::from_secs(1)).unwrap() {}
    upload.finish().unwrap();
    let mut download = Download::begin(&mut client, "a", 0).unwrap();
    assert!(!download.is_ready(LIMIT).unwrap());
    full.send(()).unwrap();
    while !download.is_ready(Duration::from_secs(1)).unwrap() {}
    let mut bytes = Vec::new();
    download.read_to_end(&mut bytes).unwrap();
    assert!(download.is_ready(LIMIT).unwrap(), "the end is ready too");
    download.finish().unwrap();
    assert_eq!(bytes, b"abc");
    server.end();
}
