//! Parts of files, lengths known in advance, and names chosen by the server.

use std::io::{Read, Write};

use ftp_client::{Client, Download, Error, Report, Verb};

use crate::peer::{Peer, Server};

fn read(mut download: Download<&mut Client>) -> (Vec<u8>, Result<Report, Error>) {
    let mut bytes = Vec::new();
    download.read_to_end(&mut bytes).unwrap();
    (bytes, download.finish())
}

/// Answers `RETR` of `a`.
fn sends(peer: &mut Peer, bytes: &[u8]) {
    peer.answer("RETR a", "150 ok");
    peer.send_data(bytes);
    peer.reply("226 done");
}

fn features(peer: &mut Peer, lines: &str) {
    peer.answer("FEAT", &format!("211-features\r\n{lines}211 end"));
}

#[test]
fn a_range_is_requested_with_rang_as_10() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        features(&mut peer, " RANG STREAM\r\n");
        peer.image_epsv();
        peer.answer("RANG 10 14", "350 ok");
        peer.answer("RETR a", "150 here (100 bytes)");
        peer.send_data(b"12345");
        peer.reply("226 done");
        // The next transfer covers the whole file, and RANG ended with its transfer.
        peer.epsv();
        sends(&mut peer, b"all");
        // After a refused transfer RANG is still in force.
        peer.epsv();
        peer.answer("RANG 0 0", "350 ok");
        peer.answer("RETR a", "550 no such file");
        peer.epsv();
        peer.answer("RANG 1 0", "350 ok");
        sends(&mut peer, b"all");
        peer.epsv();
        peer.answer("RANG 7 8", "350 ok");
        sends(&mut peer, b"1");
    });
    let (bytes, report) = read(client.retrieve_range("a", 10, 5).unwrap());
    assert_eq!((bytes.as_slice(), report.unwrap().is_stopped), (&b"12345"[..], false));
    assert_eq!(read(client.retrieve("a").unwrap()).0, b"all");
    assert!(matches!(
        client.retrieve_range("a", 0, 1),
        Err(Error::Refused { verb: Verb::Retr, .. })
    ));
    assert_eq!(read(client.retrieve("a").unwrap()).0, b"all");
    let (bytes, report) = read(client.retrieve_range("a", 7, 2).unwrap());
    assert_eq!(bytes, b"1");
    assert!(matches!(report, Err(Error::Incomplete { bytes: 1, announced: Some(2), .. })));
    server.end();
}

#[test]
fn an_ignored_rang_is_aborted_and_replaced_by_rest_hc_21() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        features(&mut peer, " RANG STREAM\r\n");
        peer.image_epsv();
        peer.answer("RANG 2 4", "350 ok");
        peer.answer("RETR a", "150 ok");
        let mut data = peer.data();
        data.write_all(b"0123456789").unwrap();
        peer.expect_abort();
        drop(data);
        peer.send("426 cut\r\n226 aborted\r\n");
        // The next part uses REST.
        peer.epsv();
        peer.answer("REST 2", "350 ok");
        sends(&mut peer, b"234");
    });
    let (bytes, report) = read(client.retrieve_range("a", 2, 3).unwrap());
    assert_eq!(bytes, b"012");
    assert!(matches!(report, Err(Error::Incomplete { bytes: 4, announced: Some(3), .. })));
    let (bytes, report) = read(client.retrieve_range("a", 2, 3).unwrap());
    assert_eq!((bytes.as_slice(), report.unwrap().bytes), (&b"234"[..], 3));
    server.end();
}

#[test]
fn a_range_with_rest_is_aborted_after_its_last_byte_hc_21() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        features(&mut peer, " RANG STREAM\r\n");
        peer.image_epsv();
        // The server does not know RANG after all, and does not get it again.
        peer.answer("RANG 10 14", "500 what");
        peer.epsv();
        peer.answer("REST 10", "350 ok");
        peer.answer("RETR a", "150 ok");
        let mut data = peer.data();
        data.write_all(&[b'x'; 100_000]).unwrap();
        peer.expect_abort();
        drop(data);
        peer.send("426 cut\r\n226 aborted\r\n");
        // To the very end of the file: nothing to abort.
        peer.epsv();
        peer.answer("REST 10", "350 ok");
        sends(&mut peer, b"12345");
        // Beyond the end of the file.
        peer.epsv();
        peer.answer("REST 10", "350 ok");
        sends(&mut peer, b"123");
        // Dropped before its end.
        peer.epsv();
        peer.answer("REST 10", "350 ok");
        peer.answer("RETR a", "150 ok");
        let mut data = peer.data();
        data.write_all(b"12345").unwrap();
        peer.expect_abort();
        drop(data);
        peer.send("426 cut\r\n226 aborted\r\n");
        peer.answer("NOOP", "200 ok");
    });
    let (bytes, report) = read(client.retrieve_range("a", 10, 5).unwrap());
    let report = report.unwrap();
    assert_eq!((bytes.as_slice(), report.bytes), (&b"xxxxx"[..], 5));
    assert_eq!((report.is_stopped, report.reply.code().value()), (true, 150));
    let (bytes, report) = read(client.retrieve_range("a", 10, 5).unwrap());
    assert_eq!((bytes.as_slice(), report.unwrap().is_stopped), (&b"12345"[..], false));
    let (bytes, report) = read(client.retrieve_range("a", 10, 5).unwrap());
    assert_eq!(bytes, b"123");
    assert!(matches!(report, Err(Error::Incomplete { bytes: 3, announced: Some(5), .. })));
    let download = client.retrieve_range("a", 10, 5).unwrap();
    assert!(matches!(
        download.finish(),
        Err(Error::Incomplete { bytes: 0, announced: Some(5), .. })
    ));
    for (offset, length) in [(0, 0), (u64::MAX, 1), (u64::MAX, 2), (u64::MAX / 2, 2)] {
        assert!(matches!(client.retrieve_range("a", offset, length), Err(Error::Argument(_))));
    }
    client.noop().unwrap();
    server.end();
}

#[test]
fn an_unused_rest_or_rang_is_reset_as_10() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        features(&mut peer, " RANG STREAM\r\n HASH MD5*\r\n");
        for (offer, set, reset) in
            [("REST 5", "RANG 1 2", "REST 0"), ("RANG 3 4", "REST 5", "RANG 1 0")]
        {
            peer.answer(offer, "350 ok");
            if set.starts_with("RANG") {
                peer.image_epsv();
            } else {
                peer.epsv();
            }
            peer.answer(reset, "350 ok");
            peer.answer(set, "350 ok");
            sends(&mut peer, b"12");
        }
        peer.answer("RANG 3 4", "350 ok");
        peer.answer("RANG 1 0", "350 ok");
        peer.answer("HASH a", "213 MD5 0-1 00112233445566778899aabbccddeeff a");
        peer.answer("SIZE a", "213 2");
        peer.answer("RANG 3 4", "350 ok");
        peer.epsv_after_type("A");
        peer.answer("RANG 1 0", "350 ok");
        peer.answer("NLST", "226 none");
    });
    client.features().unwrap();
    let quote = |client: &mut Client, line: &str| {
        let command = ftp_client::RawCommand::new(line).unwrap();
        assert_eq!(client.quote(&command).unwrap().code().value(), 350);
    };
    quote(&mut client, "REST 5");
    assert_eq!(read(client.retrieve_range("a", 1, 2).unwrap()).0, b"12");
    quote(&mut client, "RANG 3 4");
    assert_eq!(read(client.retrieve_from("a", 5).unwrap()).0, b"12");
    quote(&mut client, "RANG 3 4");
    client.hash("a", None).unwrap();
    quote(&mut client, "RANG 3 4");
    let options = ftp_client::listing::ListOptions::by(ftp_client::listing::ListingForm::Nlst);
    let _ = client.list_with("", options).map(Iterator::count);
    server.end();
}

#[test]
fn the_offset_of_a_refused_transfer_is_not_that_of_the_next_one_as_10() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.answer("TYPE I", "200 ok");
        for command in ["RETR a", "STOR a"] {
            peer.epsv();
            peer.answer("REST 5", "350 ok");
            // pyftpdlib keeps the offset if it denies the right.
            peer.answer(command, "550 Not enough privileges.");
            peer.epsv();
            peer.answer("REST 0", "350 ok");
            sends(&mut peer, b"all");
            peer.epsv();
            sends(&mut peer, b"all");
        }
    });
    for is_upload in [false, true] {
        let refused = match is_upload {
            false => client.retrieve_from("a", 5).map(drop),
            true => client.store_from("a", 5).map(drop),
        };
        assert!(matches!(refused, Err(Error::Refused { verb: Verb::Retr | Verb::Stor, .. })));
        assert_eq!(read(client.retrieve("a").unwrap()).0, b"all");
        assert_eq!(read(client.retrieve("a").unwrap()).0, b"all");
    }
    server.end();
}

#[test]
fn an_unexpected_length_is_an_error_hc_19_hc_16() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.image_epsv();
        sends(&mut peer, b"12345");
        for bytes in [&b"1234"[..], b"123456"] {
            peer.epsv();
            sends(&mut peer, bytes);
        }
    });
    for (length, came) in [(5, 5), (5, 4), (5, 6)] {
        let mut download = client.retrieve("a").unwrap();
        download.expect_length(length);
        match read(download).1 {
            Ok(report) => assert_eq!((report.bytes, came), (length, length)),
            Err(Error::Incomplete { bytes, announced: Some(5), .. }) => assert_eq!(bytes, came),
            Err(error) => panic!("{error}"),
        }
    }
    server.end();
}

#[test]
fn stou_returns_the_unique_name() {
    for (wish, first, last, early, late) in [
        ("", "150 FILE: a.1", "226 done", Some("a.1"), Some("a.1")),
        ("a b", "125 FILE: a b.1", "250 done", Some("a b.1"), Some("a b.1")),
        ("", "150 ok", "226 Transfer complete (unique file name:a.2).", None, Some("a.2")),
        ("", "150 ok", "226 done", None, None),
    ] {
        let (server, mut client) = Server::logged_in(move |mut peer| {
            peer.image_epsv();
            peer.answer(format!("STOU {wish}").trim_end(), first);
            assert_eq!(peer.read_data(), b"12345");
            peer.reply(last);
        });
        let mut upload = client.store_unique(wish).unwrap();
        let name = upload.unique_name();
        assert_eq!(name.as_ref().map(|name| name.as_bytes()), early.map(str::as_bytes));
        upload.write_all(b"12345").unwrap();
        let name = upload.finish().unwrap().unique_name;
        assert_eq!(name.as_ref().map(|name| name.as_bytes()), late.map(str::as_bytes));
        server.end();
    }
}

#[test]
fn a_dropped_unique_upload_is_aborted() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.image_epsv();
        peer.answer("STOU", "150 FILE: a.1");
        let data = peer.data();
        peer.expect_abort();
        assert!(crate::peer::was_reset(&data));
        peer.send("426 cut\r\n226 aborted\r\n");
        peer.answer("NOOP", "200 ok");
    });
    let mut upload = client.store_unique("").unwrap();
    upload.write_all(b"half").unwrap();
    drop(upload);
    client.noop().unwrap();
    server.end();
}
