//! Transfers that end in unusual ways: one test for each fixed bug.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use ftp_client::file::{StoreAs, Verify};
use ftp_client::{Client, Error, ErrorKind, Extended, FileOptions, Place, Put, Verb};
use ftp_tests::port::OwnPort;
use ftp_tests::wait::patiently;

use crate::peer::{Peer, SHORT, SOON, Server, get, reset, timeouts};

#[test]
fn endless_150_replies_do_not_delay_an_abort_hc_12() {
    patiently(SHORT, |reply| {
        let builder = Client::builder().timeouts(timeouts().reply(reply));
        let (server, mut client) = Server::logged_in_with(builder, |mut peer| {
            peer.image_epsv();
            peer.answer("RETR a", "150 go");
            let _data = peer.data();
            let flood = b"150 go\r\n".repeat(1_000);
            while peer.try_send(&flood) {}
        });
        let started = Instant::now();
        drop(client.retrieve("a").unwrap());
        // The error depends on whether the ABOR could be sent.
        assert!(client.noop().is_err());
        let error = client.noop().unwrap_err();
        assert!(matches!(error, Error::Closed), "{error}");
        assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
        drop(client);
        server.end();
    });
}

#[test]
fn a_226_while_the_data_port_is_refused_leaves_the_client_usable() {
    let builder = Client::builder().timeouts(timeouts()).epsv(Extended::Always);
    let (server, mut client) = Server::logged_in_with(builder, |mut peer| {
        peer.answer("TYPE I", "200 ok");
        for _ in 0..100 {
            peer.expect("EPSV");
            let closed = OwnPort::claim_closed();
            peer.reply(&format!("229 (|||{}|)", closed.number()));
            // It arrives before or after the refusal of the port.
            peer.answer("RETR a", "226 nothing to send");
            let line = peer.line();
            match line.as_slice() {
                b"NOOP\r\n" => peer.reply("200 ok"),
                line => {
                    assert!(line.ends_with(b"ABOR\r\n"));
                    peer.send("226 nothing to abort\r\n");
                    peer.answer("NOOP", "200 ok");
                }
            }
        }
    });
    let started = Instant::now();
    for _ in 0..100 {
        if let Ok(file) = client.retrieve("a") {
            drop(file);
        }
        client.noop().unwrap();
    }
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    server.end();
}

#[test]
fn an_upload_reset_after_its_confirmation_is_an_error_hc_20() {
    for _ in 0..3 {
        let (server, mut client) = Server::logged_in(|mut peer| {
            peer.image_epsv();
            peer.answer("STOR a", "150 go");
            let mut data = peer.data();
            data.read_exact(&mut [0; 100]).unwrap();
            peer.reply("226 done");
            // After the wait for the last reply; closed with unread data, which resets it.
            std::thread::sleep(Duration::from_millis(50));
            drop(data);
            peer.answer("NOOP", "200 ok");
        });
        let mut file = client.store("a").unwrap();
        file.write_all(&[0; 1_000]).unwrap();
        let error = file.finish().unwrap_err();
        assert!(
            matches!(error, Error::Io(_) | Error::Unexpected { verb: Verb::Stor, .. }),
            "{error}"
        );
        client.noop().unwrap();
        server.end();
    }
}

/// Confirms a transfer and resets its data connection, in this or the other order.
fn confirm_and_reset(peer: &mut Peer, data: TcpStream, confirms_first: bool, last: &str) {
    if confirms_first {
        peer.reply(last);
    }
    reset(data);
    if !confirms_first {
        peer.reply(last);
    }
}

/// Sends a file of five bytes; then resets the data connection and confirms, or the other way round.
fn sends_and_resets(peer: &mut Peer, confirms_first: bool, first: &str, bytes: &[u8], last: &str) {
    peer.answer("RETR a", first);
    let mut data = peer.data();
    data.write_all(bytes).unwrap();
    confirm_and_reset(peer, data, confirms_first, last);
}

#[test]
fn a_reset_after_the_last_byte_does_not_fail_a_download_of_the_servers_size_hc_20() {
    for confirms_first in [false, true] {
        for (first, bytes, last, size, want) in [
            ("150 go", &b"hello"[..], "226 done", Some("213 5"), true),
            ("150 go (5 bytes)", b"hello", "226 done", Some("213 5"), true),
            ("150 go (1 bytes)", b"hello", "226 done", Some("213 5"), true),
            ("150 go", b"", "226 done", Some("213 0"), true),
            ("150 go", b"hell", "226 done", Some("213 5"), false),
            ("150 go (4 bytes)", b"hell", "226 done", Some("213 5"), false),
            ("150 go", b"hello", "226 done", Some("213 4"), false),
            ("150 go (5 bytes)", b"hello", "226 done", Some("550 no"), false),
            ("150 go (0 bytes)", b"", "226 done", Some("500 what"), false),
            ("150 go", b"hello", "426 cut", None, false),
            ("150 go", b"hello", "451 disk", None, false),
        ] {
            let (server, mut client) = Server::logged_in(move |mut peer| {
                peer.image_epsv();
                sends_and_resets(&mut peer, confirms_first, first, bytes, last);
                if let Some(size) = size {
                    peer.answer("SIZE a", size);
                }
                peer.answer("NOOP", "200 ok");
            });
            let got = get(&mut client);
            let case = format!("{confirms_first} {first} {last} {size:?}: {got:?}");
            assert_eq!(got.is_ok(), want, "{case}");
            if let Err(error) = got {
                let is_refusal = matches!(error, Error::Refused { verb: Verb::Retr, .. });
                assert!(is_refusal || matches!(error, Error::Io(_)), "{case}");
                assert_eq!(is_refusal, size.is_none(), "{case}");
                // The next file is not affected.
                assert!(is_refusal || !error.affects_others(), "{case}");
            }
            client.noop().unwrap();
            server.end();
        }
    }
}

#[test]
fn a_part_that_has_come_whole_needs_no_end() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.answer("FEAT", "500 none");
        peer.answer("TYPE I", "200 ok");
        peer.epsv();
        peer.answer("REST 2", "350 ok");
        sends_and_resets(&mut peer, true, "150 go", b"llo", "226 done");
    });
    let mut part = Vec::new();
    let mut download = client.retrieve_range("a", 2, 3).unwrap();
    download.read_to_end(&mut part).unwrap();
    download.finish().unwrap();
    assert_eq!(part, b"llo");
    server.end();
}

#[test]
fn an_empty_file_needs_no_data_connection() {
    // The server closes its port without accepting.
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.image_epsv();
        peer.expect("RETR a");
        drop(peer.listener());
        peer.send("150 go\r\n226 done\r\n");
        peer.answer("SIZE a", "213 0");
        peer.epsv();
        peer.expect("STOR a");
        drop(peer.listener());
        peer.send("150 go\r\n226 done\r\n");
        peer.answer("SIZE a", "213 0");
    });
    assert_eq!(get(&mut client).unwrap(), b"");
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a");
    fs::write(&path, "").unwrap();
    let done = client.upload_from(&path, "a", &FileOptions::new(), &()).unwrap();
    assert_eq!(done.verified, Verify::Size);
    server.end();
}

/// Takes an upload of five bytes, and resets its data connection, before or after the confirmation.
fn takes_and_resets(peer: &mut Peer, confirms_first: bool, last: &str) {
    peer.answer("STOR a", "150 go");
    let mut data = peer.data();
    let mut bytes = Vec::new();
    data.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"hello");
    confirm_and_reset(peer, data, confirms_first, last);
}

#[test]
fn a_reset_after_the_last_byte_does_not_fail_an_upload_that_is_proved_hc_20() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("local");
    fs::write(&path, "hello").unwrap();
    let then = "213 20200101000000";
    for confirms_first in [false, true] {
        for (before, size, back, want) in [
            // Unknown before: the file is read back.
            (None, "213 5", Some(&b"hello"[..]), true),
            (None, "213 5", Some(b"hallo"), false),
            (None, "213 5", None, false),
            // Missing before, or of another size.
            (Some(["550 no", ""]), "213 5", None, true),
            (Some(["213 4", ""]), "213 5", None, true),
            // Of the same size: the time has moved, or has not.
            (Some(["213 5", "213 20200101000005"]), "213 5", None, true),
            (Some(["213 5", then]), "213 5", Some(b"hello"), true),
            (Some(["213 5", then]), "213 5", Some(b"other"), false),
            (Some(["550 no", ""]), "550 no", None, false),
        ] {
            let (server, mut client) = Server::logged_in(move |mut peer| {
                peer.answer("TYPE I", "200 ok");
                if before.is_some() {
                    // An upload has shown that this server breaks data connections.
                    peer.epsv();
                    takes_and_resets(&mut peer, confirms_first, "226 done");
                    peer.answer("SIZE a", "550 no");
                }
                let has_time = before.is_some_and(|[_, after]| !after.is_empty());
                if let Some([have, _]) = before {
                    peer.answer("SIZE a", have);
                }
                if has_time {
                    peer.answer("FEAT", "500 none");
                    peer.answer("MDTM a", then);
                }
                peer.epsv();
                takes_and_resets(&mut peer, confirms_first, "226 done");
                peer.answer("SIZE a", size);
                if let Some([_, after]) = before.filter(|_| has_time) {
                    peer.answer("MDTM a", after);
                }
                let reads_back = before.is_none() || back.is_some();
                if reads_back {
                    peer.epsv();
                    match back {
                        Some(back) => {
                            sends_and_resets(&mut peer, true, "150 go", back, "226 done");
                            if back == b"hello" {
                                peer.answer("SIZE a", "213 5");
                            }
                        }
                        None => peer.answer("RETR a", "550 no"),
                    }
                }
                peer.drain();
            });
            let options = FileOptions::new();
            if before.is_some() {
                client.upload_from(&path, "a", &options, &()).unwrap_err();
            }
            let done = client.upload_from(&path, "a", &options, &());
            let case = format!("{confirms_first} {before:?} {size} {back:?}: {done:?}");
            assert_eq!(done.is_ok(), want, "{case}");
            if let Err(error) = done {
                assert_eq!(error.kind(), ErrorKind::Network, "{case}");
            }
            drop(client);
            server.end();
        }
    }
}

/// What others append meanwhile does not prove the bytes that a lost connection cost.
#[test]
fn an_append_that_is_cut_is_proved_only_by_the_exact_size() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("local");
    fs::write(&path, "hello").unwrap();
    for (before, after, want) in
        [("213 4", "213 10", false), ("550 no", "213 5", true), ("550 no", "213 10", false)]
    {
        let (server, mut client) = Server::logged_in(move |mut peer| {
            peer.answer("TYPE I", "200 ok");
            peer.answer("SIZE a", before);
            if before == "550 no" {
                peer.answer("FEAT", "211-x\r\n MLST\r\n211 end");
                peer.answer("MLST a", "550 no");
            }
            peer.epsv();
            peer.answer("APPE a", "150 go");
            let mut data = peer.data();
            // A reset before the client has ended its data would be an error of writing.
            data.read_to_end(&mut Vec::new()).unwrap();
            confirm_and_reset(&mut peer, data, false, "226 done");
            peer.answer("SIZE a", after);
            peer.drain();
        });
        let options = FileOptions::new();
        let mut job = Put::from_path(&path, Place::at("a"), &options).store_as(StoreAs::Append);
        let done = job.attempt(&mut client, &());
        assert_eq!(done.is_ok(), want, "{before} {after}: {done:?}");
        drop(client);
        server.end();
    }
}
