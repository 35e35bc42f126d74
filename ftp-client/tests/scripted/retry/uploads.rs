//! Uploads that are retried: the client checks the server's bytes before it sends more.

use std::io::{Cursor, Read, Write};
use std::sync::mpsc;

use ftp_client::error::{JobFault, Recovery};
use ftp_client::file::{Existing, TemporaryName};
use ftp_client::{Client, Error, ErrorKind, FileOptions, Place, Put, Resume, Verb};

use super::{Local, Script, Server, THEN, on, opened};
use crate::peer::{Peer, SHORT, reset, timeouts, was_reset};

/// The commands of an attempt before an upload.
fn about_upload(peer: &mut Peer, size: &str) {
    peer.answer("SIZE a", size);
}

/// The question for the last bytes before the resume point, of a server without digests.
fn about_end(peer: &mut Peer) {
    peer.answer("FEAT", "502 what");
    send_end(peer, b"hello");
}

fn read_all(mut data: std::net::TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    data.read_to_end(&mut bytes).unwrap();
    bytes
}

/// `TYPE I` and an upload whose connection breaks after all bytes were sent.
fn interrupted_upload(size: &'static str) -> Script {
    on(move |mut peer| {
        peer.answer("TYPE I", "200 ok");
        about_upload(&mut peer, size);
        if size == "500 what" {
            peer.refuse_probe();
            peer.answer("MDTM a", size);
        }
        let data = opened(&mut peer, "STOR a");
        assert_eq!(read_all(data), b"hello, world");
        peer.close();
    })
}

#[test]
fn an_interrupted_upload_resumes_at_the_end_of_the_servers_file() {
    // Before, there was no file, or one of another length.
    for before in ["550 no such file", "213 400", "213 3"] {
        let server = Server::start(vec![
            interrupted_upload(before),
            on(|mut peer| {
                peer.answer("TYPE I", "200 ok");
                about_upload(&mut peer, "213 5");
                about_end(&mut peer);
                let data = opened(&mut peer, "APPE a");
                assert_eq!(read_all(data), b", world");
                peer.reply("226 done");
                peer.answer("SIZE a", "213 12");
                peer.answer("QUIT", "221 bye");
            }),
        ]);
        let mut queue = server.queue();
        let done = Local::holding("hello, world").upload(&mut queue).unwrap();
        assert_eq!((done.attempts, done.resumed, done.size), (2, 5, 12));
        assert_eq!(done.bytes, 7);
        queue.quit().unwrap();
        server.end();
    }
}

/// No byte was sent, so the server appends none, even if it carries the first `APPE` out late.
#[test]
fn an_append_to_a_part_that_got_no_reply_is_sent_again() {
    let resumes = |peer: &mut Peer| {
        peer.answer("TYPE I", "200 ok");
        about_upload(peer, "213 5");
        about_end(peer);
    };
    let server = Server::start(vec![
        interrupted_upload("550 no such file"),
        on(move |mut peer| {
            resumes(&mut peer);
            peer.epsv();
            peer.expect("APPE a");
            peer.close();
        }),
        on(move |mut peer| {
            resumes(&mut peer);
            let data = opened(&mut peer, "APPE a");
            assert_eq!(read_all(data), b", world");
            peer.reply("226 done");
            peer.answer("SIZE a", "213 12");
        }),
    ]);
    let done = Local::holding("hello, world").upload(&mut server.queue()).unwrap();
    assert_eq!((done.attempts, done.resumed, done.size), (3, 5, 12));
    server.end();
}

#[test]
fn an_upload_that_lost_its_final_reply_is_confirmed_with_appe() {
    let server = Server::start(vec![
        interrupted_upload("550 no such file"),
        on(|mut peer| {
            peer.answer("TYPE I", "200 ok");
            // The length of a partial upload without a name.
            peer.answer("SIZE a", "213 12");
            peer.answer("FEAT", "211-x\r\n MDTM\r\n211 end");
            send_end(&mut peer, b"hello, world");
            peer.answer("MDTM a", "550 no such file");
            peer.answer("MLST a", "550 no such file");
            let data = opened(&mut peer, "REST 12, STOR a");
            assert_eq!(read_all(data), b"");
            peer.reply("226 done");
            peer.answer("SIZE a", "213 12");
        }),
    ]);
    let done = Local::holding("hello, world").upload(&mut server.queue()).unwrap();
    assert_eq!((done.attempts, done.resumed, done.size), (2, 12, 12));
    assert_eq!(done.bytes, 0);
    server.end();
}

/// The last bytes before the resume point, which the server sends.
fn send_end(peer: &mut Peer, end: &[u8]) {
    opened(peer, "RETR a").write_all(end).unwrap();
    peer.reply("226 done");
}

/// An attempt that begins at byte 0 and succeeds.
fn send_all(peer: &mut Peer) {
    let data = opened(peer, "STOR a");
    assert_eq!(read_all(data), b"hello, world");
    peer.reply("226 done");
    peer.answer("SIZE a", "213 12");
}

/// The byte that came late, while the next attempt began to append.
#[test]
fn an_appended_file_of_the_right_size_is_compared_too() {
    let server = Server::start(vec![
        interrupted_upload("550 no such file"),
        on(|mut peer| {
            peer.answer("TYPE I", "200 ok");
            about_upload(&mut peer, "213 5");
            about_end(&mut peer);
            let data = opened(&mut peer, "APPE a");
            assert_eq!(read_all(data), b", world");
            peer.close();
        }),
        on(|mut peer| {
            peer.answer("TYPE I", "200 ok");
            about_upload(&mut peer, "213 12");
            peer.answer("FEAT", "502 what");
            send_end(&mut peer, b"hello,, worl");
            send_all(&mut peer);
        }),
    ]);
    let done = Local::holding("hello, world").upload(&mut server.queue()).unwrap();
    assert_eq!((done.attempts, done.resumed, done.size), (3, 0, 12));
    server.end();
}

#[test]
fn own_bytes_that_a_server_does_not_send_are_sent_again_as_09() {
    // The size after the gap, and the answer to the question for the last bytes.
    for (size, refusal) in [
        ("213 12", "550 no"),
        ("213 12", "450 busy"),
        ("213 12", "425 no port"),
        ("213 5", "550 no"),
        ("213 5", "425 no port"),
        ("213 5", "450 busy"),
    ] {
        let server = Server::start(vec![
            interrupted_upload("550 no such file"),
            on(move |mut peer| {
                peer.answer("TYPE I", "200 ok");
                about_upload(&mut peer, size);
                peer.answer("FEAT", "502 what");
                peer.epsv();
                peer.answer("RETR a", refusal);
                send_all(&mut peer);
            }),
        ]);
        let done = Local::holding("hello, world").upload(&mut server.queue()).unwrap();
        assert_eq!(done.resumed, 0, "{size} {refusal}");
        server.end();
    }
}

#[test]
fn a_file_of_equal_size_after_a_lost_reply_is_compared_as_09() {
    for (end, is_own) in [("hello, world", true), ("other, bytes", false)] {
        let server = Server::start(vec![
            interrupted_upload("550 no such file"),
            on(move |mut peer| {
                peer.answer("TYPE I", "200 ok");
                about_upload(&mut peer, "213 12");
                peer.answer("FEAT", "502 what");
                send_end(&mut peer, end.as_bytes());
                match is_own {
                    true => {
                        peer.answer("MDTM a", THEN);
                        peer.answer("SIZE a", "213 12");
                    }
                    false => send_all(&mut peer),
                }
            }),
        ]);
        let done = Local::holding("hello, world").upload(&mut server.queue()).unwrap();
        assert_eq!(done.bytes == 0, is_own);
        server.end();
    }
}

/// A drop box: it neither shows a file nor replaces one.
#[test]
fn a_file_that_can_neither_be_compared_nor_sent_again_is_perhaps_complete() {
    for size in ["213 12", "550 no"] {
        let server = Server::start(vec![
            interrupted_upload("550 no such file"),
            on(move |mut peer| {
                peer.answer("TYPE I", "200 ok");
                about_upload(&mut peer, size);
                if size == "213 12" {
                    peer.answer("FEAT", "502 what");
                    peer.epsv();
                    peer.answer("RETR a", "550 no");
                }
                peer.epsv();
                peer.answer("STOR a", "553 exists");
            }),
        ]);
        let error = Local::holding("hello, world").upload(&mut server.queue()).unwrap_err();
        assert!(matches!(error, Error::Job(JobFault::NotCompared(_))), "{error}");
        assert_eq!(error.kind(), ErrorKind::Integrity);
        server.end();
    }
}

#[test]
fn an_upload_whose_end_is_lost_twice_on_the_way_starts_again() {
    let lost = || {
        on(|mut peer| {
            peer.answer("TYPE I", "200 ok");
            about_upload(&mut peer, "213 5");
            peer.answer("FEAT", "502 what");
            reset(opened(&mut peer, "RETR a"));
            peer.close();
        })
    };
    let again = |size: &'static str| {
        on(move |mut peer| {
            peer.answer("TYPE I", "200 ok");
            about_upload(&mut peer, size);
            send_all(&mut peer);
        })
    };
    let first = interrupted_upload("550 no such file");
    let server = Server::start(vec![first, lost(), lost(), again("213 5")]);
    let done = Local::holding("hello, world").upload(&mut server.queue()).unwrap();
    assert_eq!((done.attempts, done.resumed, done.size), (4, 0, 12));
    server.end();
}

#[test]
fn an_upload_does_not_resume_a_file_it_did_not_send() {
    for (before, then) in [
        // The old file still exists.
        ("213 5", "213 5"),
        // More than was sent: another client wrote it.
        ("550 no such file", "213 13"),
        ("213 3", "213 400"),
        // No file, or no report.
        ("550 no such file", "550 no such file"),
        ("500 what", "500 what"),
    ] {
        let server = Server::start(vec![
            interrupted_upload(before),
            on(move |mut peer| {
                peer.answer("TYPE I", "200 ok");
                about_upload(&mut peer, then);
                let data = opened(&mut peer, "STOR a");
                assert_eq!(read_all(data), b"hello, world");
                peer.reply("226 done");
                peer.answer("SIZE a", if then == "500 what" { then } else { "213 12" });
            }),
        ]);
        let done = Local::holding("hello, world").upload(&mut server.queue()).unwrap();
        assert_eq!((done.attempts, done.resumed, done.size), (2, 0, 12));
        server.end();
    }
}

#[test]
fn an_upload_starts_again_if_appe_is_refused() {
    for refusal in ["451 a: Append/Restart not permitted, try again", "554 no"] {
        let server = Server::start(vec![
            interrupted_upload("550 no such file"),
            on(move |mut peer| {
                peer.answer("TYPE I", "200 ok");
                about_upload(&mut peer, "213 5");
                about_end(&mut peer);
                peer.epsv();
                peer.answer("APPE a", refusal);
                let data = opened(&mut peer, "STOR a");
                assert_eq!(read_all(data), b"hello, world");
                peer.reply("226 done");
                peer.answer("SIZE a", "213 12");
            }),
        ]);
        let done = Local::holding("hello, world").upload(&mut server.queue()).unwrap();
        assert_eq!((done.attempts, done.resumed), (2, 0), "{refusal}");
        server.end();
    }
}

#[test]
fn an_upload_with_missing_or_repeated_bytes_starts_again() {
    // It takes the rest for the whole file, or appends it to more bytes than it reported.
    for length in ["213 7", "213 19"] {
        let server = Server::start(vec![
            interrupted_upload("550 no such file"),
            on(move |mut peer| {
                peer.answer("TYPE I", "200 ok");
                about_upload(&mut peer, "213 5");
                about_end(&mut peer);
                let data = opened(&mut peer, "APPE a");
                assert_eq!(read_all(data), b", world");
                peer.reply("226 done");
                peer.answer("SIZE a", length);
                about_upload(&mut peer, length);
                // This attempt fails before it begins, which makes the server's bytes no better.
                peer.answer("EPSV", "425 not now");
                about_upload(&mut peer, length);
                let data = opened(&mut peer, "STOR a");
                assert_eq!(read_all(data), b"hello, world");
                peer.reply("226 done");
                peer.answer("SIZE a", "213 12");
            }),
        ]);
        let done = Local::holding("hello, world").upload(&mut server.queue()).unwrap();
        assert_eq!((done.attempts, done.resumed, done.size), (4, 0, 12));
        server.end();
    }
}

#[test]
fn a_failing_source_aborts_the_upload_li_09() {
    struct Broken(Cursor<&'static [u8]>);
    impl Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(std::io::Error::other("the disk is gone")),
                count => Ok(count),
            }
        }
    }
    let server = Server::start(vec![on(|mut peer| {
        peer.answer("TYPE I", "200 ok");
        let data = opened(&mut peer, "STOR a");
        peer.expect_abort();
        assert!(was_reset(&data));
        peer.send("426 cut\r\n226 aborted\r\n");
        peer.answer("QUIT", "221 bye");
    })]);
    let mut queue = server.queue();
    let mut source = Broken(Cursor::new(b"hello"));
    let failed = queue.run(|client| client.store("a")?.copy_from(&mut source));
    assert!(matches!(failed, Err(Error::Local(_))), "{failed:?}");
    queue.quit().unwrap();
    server.end();
}

#[test]
fn an_upload_whose_directory_was_made_without_a_reply_goes_on() {
    // The second directory was not made before the connection broke.
    let server = Server::start(vec![
        on(|mut peer| {
            peer.answer("TYPE I", "200 ok");
            peer.answer("SIZE x/y/a", "550 no such file");
            peer.epsv();
            peer.answer("STOR x/y/a", "550 no such directory");
            peer.answer("MKD x/y", "550 no such directory");
            peer.expect("MKD x");
            peer.close();
        }),
        on(|mut peer| {
            peer.answer("TYPE I", "200 ok");
            peer.answer("SIZE x/y/a", "550 no such file");
            peer.epsv();
            peer.answer("STOR x/y/a", "550 no such directory");
            peer.answer("MKD x/y", "257 made");
            let data = opened(&mut peer, "STOR x/y/a");
            assert_eq!(read_all(data), b"hello, world");
            peer.reply("226 done");
            peer.answer("SIZE x/y/a", "213 12");
            peer.drain();
        }),
    ]);
    let options = FileOptions::new().creates_directories(true);
    let (local, mut queue) = (Local::holding("hello, world"), server.queue());
    let done = queue.upload_from(local.path("a"), "x/y/a", &options).unwrap();
    assert_eq!((done.attempts, done.size), (2, 12));
    drop(queue);
    server.end();
}

#[test]
fn a_directory_that_is_missed_only_after_the_150_is_made() {
    let server = Server::start(vec![on(|mut peer| {
        peer.answer("TYPE I", "200 ok");
        peer.answer("SIZE x/a", "550 no such file");
        let data = opened(&mut peer, "STOR x/a");
        read_all(data);
        peer.reply("550 no such directory");
        peer.answer("MKD x", "257 \"/x\"");
        let data = opened(&mut peer, "STOR x/a");
        assert_eq!(read_all(data), b"hello, world");
        peer.reply("226 done");
        peer.answer("SIZE x/a", "213 12");
        peer.drain();
    })]);
    let options = FileOptions::new().creates_directories(true);
    let (local, mut queue) = (Local::holding("hello, world"), server.queue());
    let done = queue.upload_from(local.path("a"), "x/a", &options).unwrap();
    assert_eq!((done.attempts, done.size), (1, 12));
    drop(queue);
    server.end();
}

#[test]
fn a_directory_that_another_job_made_meanwhile_is_used() {
    let server = Server::start(vec![on(|mut peer| {
        peer.answer("TYPE I", "200 ok");
        peer.answer("SIZE x/a", "550 no such file");
        peer.epsv();
        peer.answer("STOR x/a", "550 no such directory");
        peer.answer("MKD x", "550 exists");
        peer.answer("FEAT", "502 what");
        peer.answer("PWD", "257 \"/\"");
        peer.answer("CWD x", "250 in");
        peer.answer("CWD /", "250 back");
        let data = opened(&mut peer, "STOR x/a");
        assert_eq!(read_all(data), b"hello, world");
        peer.reply("226 done");
        peer.answer("SIZE x/a", "213 12");
        peer.drain();
    })]);
    let options = FileOptions::new().creates_directories(true);
    let (local, mut queue) = (Local::holding("hello, world"), server.queue());
    let done = queue.upload_from(local.path("a"), "x/a", &options).unwrap();
    assert_eq!(done.attempts, 1);
    drop(queue);
    server.end();
}

/// Answers questions about `a`, which has this content, and sends it. Returns the first other
/// command.
fn asked(peer: &mut Peer, content: Option<&str>) -> String {
    loop {
        let line = String::from_utf8(peer.line()).unwrap();
        match (line.trim_end(), content) {
            ("FEAT", _) => peer.reply("211-have\r\n SIZE\r\n MDTM\r\n MLST\r\n211 end"),
            ("TYPE I", _) => peer.reply("200 ok"),
            ("SIZE a", Some(content)) => peer.reply(&format!("213 {}", content.len())),
            ("MDTM a", Some(_)) => peer.reply(THEN),
            ("SIZE a" | "MDTM a" | "MLST a", _) => peer.reply("550 no such file"),
            ("MLST", _) => peer.reply("250-x\r\n type=dir; /\r\n250 end"),
            ("MLSD" | "LIST" | "LIST -a" | "NLST", _) => peer.reply("502 what"),
            ("EPSV", _) => {
                let port = peer.listen();
                peer.reply(&format!("229 ok (|||{port}|)"));
            }
            ("RETR a", Some(content)) => {
                peer.reply("150 go on");
                peer.send_data(content.as_bytes());
                peer.reply("226 done");
            }
            (line, _) => return line.to_owned(),
        }
    }
}

#[test]
fn a_file_that_another_program_stored_meanwhile_is_kept_with_no_clobber() {
    for (there, next) in [("hello", "APPE a"), ("olleh", "")] {
        let server = Server::start(vec![
            on(|mut peer| {
                assert_eq!(asked(&mut peer, None), "STOR a");
                peer.reply("150 go on");
                assert_eq!(peer.read_data(), b"hello, world");
                peer.close();
            }),
            on(move |mut peer| assert_eq!(asked(&mut peer, Some(there)), next)),
        ]);
        let (local, mut queue) = (Local::holding("hello, world"), server.queue().attempts(2));
        let options = FileOptions::new().existing(Existing::Keep).retried(true);
        let done = queue.upload_from(local.path("a"), "a", &options);
        match next {
            // Nothing proves that this upload has left no part of it.
            "" => {
                let error = done.unwrap_err();
                assert!(matches!(error, Error::Job(JobFault::Leftover)), "{error:?}");
            }
            _ => drop(done.unwrap_err()),
        }
        drop(queue);
        server.end();
    }
}

/// Answers as a server without files until an upload begins, and returns its command.
fn asked_for_upload(peer: &mut Peer) -> String {
    loop {
        let line = String::from_utf8(peer.line()).unwrap();
        match line.trim_end() {
            "EPSV" => {
                let port = peer.listen();
                peer.reply(&format!("229 here (|||{port}|)"));
            }
            "TYPE I" => peer.reply("200 ok"),
            "FEAT" => peer.reply("502 what"),
            line if line.starts_with("STOR ") => return line.to_owned(),
            _ => peer.reply("550 no such file"),
        }
    }
}

/// A server whose disk hangs can carry out `STOR` after its client has gone, and empty the file that another
/// attempt has stored: a silent server, and one whose connection a proxy ends.
#[test]
fn an_upload_command_without_a_reply_is_not_sent_again_for_the_same_name() {
    let pattern = || TemporaryName::parse(b".in.*");
    let random = || Some(TemporaryName::standard());
    let (own, proven) = (Resume::Own, Resume::Proven);
    for (name, resume, ends) in [
        (None, own, false),
        (None, own, true),
        (pattern(), own, false),
        (random(), own, false),
        (random(), own, true),
        (random(), proven, false),
    ] {
        let is_random = name.is_some() && name != pattern();
        let (told, first_command) = mpsc::channel();
        let first = on(move |mut peer| {
            let _ = told.send(asked_for_upload(&mut peer));
            if !ends {
                // The client gives up.
                peer.drain();
            }
        });
        let again = on(move |mut peer| {
            let command = asked_for_upload(&mut peer);
            let first = first_command.recv().unwrap();
            assert!(command.starts_with("STOR .in.a.") && command != first, "{first} {command}");
            peer.reply("150 Opening");
            assert_eq!(read_all(peer.data()), b"hello, world");
            peer.reply("226 done");
            loop {
                match peer.line().get(..4).unwrap_or_default() {
                    b"SIZE" => peer.reply("213 12"),
                    b"MDTM" => peer.reply(THEN),
                    b"RNFR" => peer.reply("350 go on"),
                    b"RNTO" => return peer.reply("250 done"),
                    _ => peer.reply("502 what"),
                }
            }
        });
        let server = Server::start(
            vec![first, again].into_iter().take(if is_random { 2 } else { 1 }).collect(),
        );
        let (local, options) = (Local::holding("hello, world"), FileOptions::new().resume(resume));
        let path = local.path("a");
        let mut job = Put::from_path(&path, Place::at("a"), &options).store_as(name);
        let patience = Client::builder().timeouts(timeouts().reply(SHORT * 4));
        let done = server.queue_with(patience).run(|client| job.attempt(client, &()));
        match is_random {
            true => assert_eq!(done.unwrap().bytes, 12),
            false => {
                let error = done.unwrap_err();
                assert!(matches!(error, Error::Uncertain { verb: Verb::Stor, .. }), "{error}");
                let want = (ErrorKind::Integrity, Recovery::Impossible);
                assert_eq!((error.kind(), error.recovery()), want);
                assert!(job.is_final());
            }
        }
        server.end();
    }
}
