//! Mode B: uploads that are requested together with the end of the upload before, and servers that
//! refuse one of them, break off, or answer out of order.

use std::net::TcpStream;

use ftp_client::error::Phase;
use ftp_client::{Client, Error, TimeVal, Verb};
use ftp_tests::wait::patiently;

use crate::blocks::{begin, builder, read_file};
use crate::peer::{Peer, SHORT, Server, timeouts, was_reset};

/// The names of the files, which are also their contents.
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// Uploads a file and compares its size; announces the next one.
fn put(client: &mut Client, name: &str, next: Option<&str>) -> Result<(), Error> {
    let mut upload = client.store(name)?;
    if let Some(next) = next {
        upload.plan_next(next);
    }
    upload.copy_from(&mut name.as_bytes())?;
    match client.size(name)? {
        Some(1) => Ok(()),
        _ => Err(Error::Changed),
    }
}

/// Uploads all files in order.
fn put_all(client: &mut Client) -> [Result<(), Error>; 5] {
    let mut next = NAMES.into_iter().skip(1);
    NAMES.map(|name| put(client, name, next.next()))
}

/// Answers the first upload, over a new data connection. Then nothing goes ahead, because the
/// server has not shown that it keeps the connection.
fn first(peer: &mut Peer) -> TcpStream {
    begin(peer);
    peer.answer("STOR a", "150 Opening");
    let mut data = peer.data();
    assert_eq!(read_file(&mut data), b"a");
    peer.reply("250 done");
    peer.answer("SIZE a", "213 1");
    peer.answer("STOR b", "125 Go on");
    data
}

/// Takes one upload, then the commands that came with its end.
fn take(peer: &mut Peer, data: &mut TcpStream, name: &str, next: &str) {
    assert_eq!(read_file(data), name.as_bytes());
    peer.expect_together(&[&format!("SIZE {name}"), &format!("STOR {next}")]);
}

/// Answers one upload over a new data connection.
fn alone(peer: &mut Peer, name: &str) -> TcpStream {
    peer.epsv();
    peer.answer(&format!("STOR {name}"), "150 Opening");
    let mut data = peer.data();
    assert_eq!(read_file(&mut data), name.as_bytes());
    peer.reply("250 done");
    peer.answer(&format!("SIZE {name}"), "213 1");
    data
}

fn is_refused(result: &Result<(), Error>, code: u16) -> bool {
    matches!(result, Err(Error::Refused { reply, .. }) if reply.code().value() == code)
}

#[test]
fn an_upload_takes_one_round_trip_cl_76() {
    let (server, mut client) = Server::logged_in_with(builder(), |mut peer| {
        let mut data = first(&mut peer);
        for (name, next) in [("b", "c"), ("c", "d"), ("d", "e")] {
            take(&mut peer, &mut data, name, next);
            // The data of a file waits for its own 125.
            assert!(data.set_nonblocking(true).is_ok() && data.peek(&mut [0]).is_err());
            data.set_nonblocking(false).unwrap();
            peer.send("250 done\r\n213 1\r\n125 Go on\r\n");
        }
        assert_eq!(read_file(&mut data), b"e");
        peer.reply("250 done");
        peer.answer("SIZE e", "213 1");
        peer.answer("NOOP", "200 ok");
    });
    assert!(put_all(&mut client).iter().all(Result::is_ok));
    client.noop().unwrap();
    server.end();
}

#[test]
fn the_time_of_an_upload_is_set_together_with_the_end_of_the_next_one_cl_76() {
    let (server, mut client) = Server::logged_in_with(builder(), |mut peer| {
        let mut data = first(&mut peer);
        for (before, name, next) in [("a", "b", "c"), ("b", "c", "d"), ("c", "d", "e")] {
            assert_eq!(read_file(&mut data), name.as_bytes());
            let (size, store) = (format!("SIZE {name}"), format!("STOR {next}"));
            peer.expect_together(&[&size, &format!("MFMT 20200102030405 {before}"), &store]);
            let set = if before == "b" { "550 no" } else { "213 Modify=20200102030405; x" };
            peer.send(format!("250 done\r\n213 1\r\n{set}\r\n125 Go on\r\n"));
        }
        // Without a next upload, nothing goes ahead.
        assert_eq!(read_file(&mut data), b"e");
        peer.reply("250 done");
        peer.answer("SIZE e", "213 1");
        peer.answer("MFMT 20200102030405 d", "213 Modify=20200102030405; d");
    });
    let time = TimeVal::parse(b"20200102030405").unwrap();
    put(&mut client, "a", Some("b")).unwrap();
    for pair in NAMES.windows(2) {
        let (before, name) = (pair[0], pair[1]);
        let mut upload = client.store(name).unwrap();
        if let Some(next) = NAMES.iter().skip_while(|next| **next != name).nth(1) {
            upload.plan_next(next);
        }
        upload.plan_time(before, time);
        upload.copy_from(&mut name.as_bytes()).unwrap();
        assert_eq!(client.size(name).unwrap(), Some(1));
        let set = client.set_modified(before, time);
        assert_eq!(set.is_ok(), before != "b", "{before}: {set:?}");
    }
    server.end();
}

#[test]
fn a_refused_upload_does_not_affect_the_others_cl_76() {
    for code in [550, 553, 452] {
        let (server, mut client) = Server::logged_in_with(builder(), move |mut peer| {
            let mut data = first(&mut peer);
            take(&mut peer, &mut data, "b", "c");
            peer.send(format!("250 done\r\n213 1\r\n{code} not this one\r\n"));
            // Not a byte of the refused file arrives.
            peer.answer("STOR d", "125 Go on");
            take(&mut peer, &mut data, "d", "e");
            peer.send("250 done\r\n213 1\r\n125 Go on\r\n");
            assert_eq!(read_file(&mut data), b"e");
            peer.reply("250 done");
            peer.answer("SIZE e", "213 1");
        });
        let results = put_all(&mut client);
        assert!(is_refused(&results[2], code), "{results:?}");
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 4, "{results:?}");
        server.end();
    }
}

#[test]
fn an_upload_failing_at_its_end_does_not_affect_the_next_cl_76() {
    let (server, mut client) = Server::logged_in_with(builder(), |mut peer| {
        let mut data = first(&mut peer);
        take(&mut peer, &mut data, "b", "c");
        // The server closes the data connection, so it refuses the next upload too.
        drop(data);
        peer.send("552 disk full\r\n550 no such file\r\n425 no data connection\r\n");
        data = alone(&mut peer, "c");
        peer.answer("STOR d", "125 Go on");
        take(&mut peer, &mut data, "d", "e");
        // Or it keeps the connection, and already waits for the next file.
        peer.send("451 trouble\r\n213 0\r\n125 Go on\r\n");
        assert!(was_reset(&data), "the client has dropped the upload");
        peer.reply("426 cut");
        alone(&mut peer, "e");
        peer.answer("NOOP", "200 ok");
    });
    let results = put_all(&mut client);
    assert!(is_refused(&results[1], 552) && is_refused(&results[3], 451), "{results:?}");
    assert!(results[2].is_ok() && results[4].is_ok(), "{results:?}");
    client.noop().unwrap();
    server.end();
}

#[test]
fn a_data_connection_closed_after_a_file_is_replaced_cl_76() {
    for confirmation in ["226 done", "250 done"] {
        let (server, mut client) = Server::logged_in_with(builder(), move |mut peer| {
            let mut data = first(&mut peer);
            take(&mut peer, &mut data, "b", "c");
            drop(data);
            peer.send(format!("{confirmation}\r\n213 1\r\n425 no data connection\r\n"));
            // After a 226 the size may have been dropped together with the upload.
            let mut line = peer.line();
            if line == b"SIZE b\r\n" {
                peer.reply("213 1");
                line = peer.line();
            }
            assert_eq!(line, b"EPSV\r\n");
            let port = peer.listen();
            peer.reply(&format!("229 ok (|||{port}|)"));
            peer.answer("STOR c", "150 Opening");
            let mut data = peer.data();
            assert_eq!(read_file(&mut data), b"c");
            peer.reply("250 done");
            peer.answer("SIZE c", "213 1");
        });
        put(&mut client, "a", Some("b")).unwrap();
        put(&mut client, "b", Some("c")).unwrap();
        put(&mut client, "c", None).unwrap();
        server.end();
    }
}

#[test]
fn a_lost_connection_fails_all_unconfirmed_uploads_cl_76() {
    // What the server sends before it closes the control connection; the number of whole files.
    for (replies, whole) in [
        ("", 1),
        ("250 done\r\n", 1),
        ("250 done\r\n213 1\r\n", 2),
        ("250 done\r\n213 1\r\n125 Go on\r\n", 2),
        ("250 done\r\n213 1\r\n421 good bye\r\n", 2),
    ] {
        let (server, mut client) = Server::logged_in_with(builder(), move |mut peer| {
            let mut data = first(&mut peer);
            take(&mut peer, &mut data, "b", "c");
            peer.send(replies);
            if replies.contains("125") {
                // In the middle of the file.
                let mut byte = [0];
                assert!(std::io::Read::read(&mut data, &mut byte).is_ok());
            }
            peer.close();
        });
        let results = put_all(&mut client);
        let done = results.iter().take_while(|result| result.is_ok()).count();
        assert_eq!(done, whole, "{replies}: {results:?}");
        assert!(results.iter().skip(done).all(Result::is_err), "{replies}: {results:?}");
        server.end();
    }
}

#[test]
fn replies_out_of_order_close_the_connection_cl_76() {
    for replies in [
        // The size comes first, or the next upload before the size.
        "213 1\r\n250 done\r\n125 Go on\r\n",
        "250 done\r\n125 Go on\r\n213 1\r\n",
        // One too many after the size, or two before it.
        "250 done\r\n213 1\r\n250 done\r\n",
        "250 done\r\n250 done\r\n226 done\r\n213 1\r\n",
    ] {
        let (server, mut client) = Server::logged_in_with(builder(), move |mut peer| {
            let mut data = first(&mut peer);
            take(&mut peer, &mut data, "b", "c");
            peer.send(replies);
            peer.drain();
        });
        put(&mut client, "a", Some("b")).unwrap();
        let is_whole = put(&mut client, "b", Some("c")).is_ok();
        assert_eq!(is_whole, replies.starts_with("250 done\r\n213"), "{replies}");
        assert!(put(&mut client, "c", None).is_err(), "{replies}");
        drop(client);
        server.end();
    }
}

#[test]
fn an_upload_without_a_final_reply_times_out_cl_76() {
    patiently(SHORT, |final_reply| {
        let builder = builder().timeouts(timeouts().final_reply(final_reply));
        let (server, mut client) = Server::logged_in_with(builder, |mut peer| {
            let mut data = first(&mut peer);
            take(&mut peer, &mut data, "b", "c");
            // The server waits for more data, and does not answer.
            peer.drain();
        });
        put(&mut client, "a", Some("b")).unwrap();
        let error = put(&mut client, "b", Some("c")).unwrap_err();
        assert!(matches!(error, Error::Timeout(Phase::FinalReply)), "{error}");
        assert!(put(&mut client, "c", None).is_err());
        drop(client);
        server.end();
    });
}

#[test]
fn another_command_drops_the_requested_upload_cl_76() {
    let (server, mut client) = Server::logged_in_with(builder(), |mut peer| {
        let mut data = first(&mut peer);
        take(&mut peer, &mut data, "b", "c");
        peer.send("250 done\r\n213 1\r\n125 Go on\r\n");
        assert!(was_reset(&data), "this is not the end of an empty file");
        peer.reply("426 cut");
        peer.answer("PWD", "257 \"/\"");
        peer.answer("DELE x", "250 gone");
        alone(&mut peer, "d");
    });
    put(&mut client, "a", Some("b")).unwrap();
    put(&mut client, "b", Some("c")).unwrap();
    assert!(client.make_ready().is_ok() && client.is_settled());
    client.delete("x").unwrap();
    put(&mut client, "d", None).unwrap();
    server.end();
}

#[test]
fn an_aborted_upload_requests_no_next_one_cl_76() {
    let (server, mut client) = Server::logged_in_with(builder(), |mut peer| {
        let data = first(&mut peer);
        peer.expect_abort();
        peer.send("426 cut\r\n226 aborted\r\n");
        assert!(was_reset(&data));
        alone(&mut peer, "c");
    });
    put(&mut client, "a", Some("b")).unwrap();
    let mut upload = client.store("b").unwrap();
    upload.plan_next("c");
    upload.abort().unwrap();
    put(&mut client, "c", None).unwrap();
    server.end();
}

#[test]
fn after_three_dropped_uploads_none_is_requested_ahead_cl_76() {
    let (server, mut client) = Server::logged_in_with(builder(), |mut peer| {
        let mut data = first(&mut peer);
        for _ in 0..3 {
            take(&mut peer, &mut data, "b", "c");
            peer.send("250 done\r\n213 1\r\n125 Go on\r\n");
            assert!(was_reset(&data));
            peer.reply("426 cut");
            peer.answer("NOOP", "200 ok");
            data = alone(&mut peer, "a");
            peer.answer("STOR b", "125 Go on");
        }
        assert_eq!(read_file(&mut data), b"b");
        peer.reply("250 done");
        peer.answer("SIZE b", "213 1");
        peer.answer("NOOP", "200 ok");
    });
    for _ in 0..3 {
        put(&mut client, "a", Some("b")).unwrap();
        put(&mut client, "b", Some("c")).unwrap();
        client.noop().unwrap();
    }
    put(&mut client, "a", None).unwrap();
    put(&mut client, "b", Some("c")).unwrap();
    client.noop().unwrap();
    server.end();
}

#[test]
fn an_early_confirmation_is_an_error_cl_76() {
    let (server, mut client) = Server::logged_in_with(builder(), |mut peer| {
        let data = first(&mut peer);
        peer.send("250 done\r\n");
        peer.answer("NOOP", "200 ok");
        assert!(was_reset(&data));
    });
    put(&mut client, "a", Some("b")).unwrap();
    let mut upload = client.store("b").unwrap();
    upload.plan_next("c");
    let large = b"hello\n".repeat(50_000);
    while std::io::Write::write_all(&mut upload, &large).is_ok() {}
    let error = upload.finish().unwrap_err();
    assert!(matches!(error, Error::Unexpected { verb: Verb::Stor, .. }), "{error}");
    client.noop().unwrap();
    server.end();
}
