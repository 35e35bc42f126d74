//! Commands that are sent together, and recovery if that fails.

use std::io::{Read, Write};

use ftp_client::listing::{ListOptions, ListingForm};
use ftp_client::{Client, ClientBuilder, Error, RepresentationType, TimeVal, Verb};

use crate::peer::{Peer, SHORT, Server, get, timeouts};

fn builder() -> ClientBuilder {
    Client::builder().timeouts(timeouts()).pipeline(true)
}

/// Answers `EPSV` and a verb that came with it.
fn both(peer: &mut Peer, data: &[u8]) {
    let port = peer.listen();
    peer.send(format!("229 ok (|||{port}|)\r\n150 Opening\r\n"));
    peer.send_data(data);
    peer.reply("226 done");
}

/// The usual dialogue: each command waits for the reply to the one before it.
fn one_by_one(peer: &mut Peer) {
    peer.expect("EPSV");
    assert!(peer.client_is_silent_for(SHORT), "RETR waits for the answer to EPSV");
    let port = peer.listen();
    peer.reply(&format!("229 ok (|||{port}|)"));
    peer.answer("RETR a", "150 Opening");
    peer.send_data(b"hello");
    peer.reply("226 done");
}

#[test]
fn type_epsv_and_the_transfer_command_are_pipelined_cl_14() {
    let (server, mut client) = Server::logged_in_with(builder(), |mut peer| {
        peer.expect_together(&["TYPE I", "EPSV", "RETR a"]);
        peer.reply("200 ok");
        both(&mut peer, b"hello");
        peer.expect_together(&["EPSV", "RETR a"]);
        both(&mut peer, b"hello");
        peer.expect_together(&["TYPE A", "EPSV", "NLST"]);
        peer.reply("200 ok");
        both(&mut peer, b"a\r\n");
        peer.expect_together(&["EPSV", "RETR a"]);
        both(&mut peer, b"hello");
        // A missing file is an ordinary reply.
        peer.expect_together(&["EPSV", "RETR a"]);
        peer.send("229 ok (|||50004|)\r\n550 no such file\r\n");
        peer.expect_together(&["EPSV", "RETR a"]);
        both(&mut peer, b"hello");
        peer.answer("NOOP", "200 ok");
    });
    for _ in 0..2 {
        assert_eq!(get(&mut client).unwrap(), b"hello");
    }
    let names: Vec<_> = client
        .list_lines("", ListOptions::by(ListingForm::Nlst))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(names, [b"a"]);
    client.set_representation(RepresentationType::Ascii);
    assert_eq!(get(&mut client).unwrap(), b"hello");
    let error = get(&mut client).unwrap_err();
    assert_eq!(error.to_string(), "RETR refused: 550 no such file");
    assert_eq!(get(&mut client).unwrap(), b"hello");
    client.noop().unwrap();
    server.end();
}

#[test]
fn mdtm_is_pipelined_with_the_download_cl_14() {
    let (server, mut client) = Server::logged_in_with(builder(), |mut peer| {
        peer.expect_together(&["MDTM a", "TYPE I", "EPSV", "RETR a"]);
        peer.send("213 20200102030405\r\n200 ok\r\n");
        both(&mut peer, b"hello");
        // A server that does not report the time may still have the file.
        peer.expect_together(&["MDTM a", "EPSV", "RETR a"]);
        peer.reply("500 what?");
        both(&mut peer, b"hello");
        peer.expect_together(&["MDTM a", "EPSV", "RETR a"]);
        peer.send("550 no such file\r\n229 ok (|||50004|)\r\n550 no such file\r\n");
        // An unexpected reply ends pipelining: the time is known, and the rest is sent one by one.
        peer.expect_together(&["MDTM a", "EPSV", "RETR a"]);
        peer.send("213 20200102030405\r\n500 what?\r\n503 EPSV first\r\n");
        let mut line = peer.line();
        if line == b"\xff\xf4\xff\xf2ABOR\r\n" {
            peer.send("225 nothing\r\n");
            line = peer.line();
        }
        assert_eq!(line, b"EPSV\r\n");
        let port = peer.listen();
        peer.reply(&format!("229 ok (|||{port}|)"));
        peer.answer("RETR a", "150 Opening");
        peer.send_data(b"hello");
        peer.reply("226 done");
        peer.answer("NOOP", "200 ok");
    });
    let time = TimeVal::parse(b"20200102030405").ok();
    for want in [Some(time), Some(None), None, Some(time)] {
        let Some(want) = want else {
            let error = client.retrieve_with_time("a").unwrap_err();
            assert_eq!(error.to_string(), "RETR refused: 550 no such file");
            continue;
        };
        let mut file = client.retrieve_with_time("a").unwrap();
        let mut content = Vec::new();
        file.read_to_end(&mut content).unwrap();
        assert_eq!((file.modified(), content.as_slice()), (want, &b"hello"[..]));
        file.finish().unwrap();
    }
    client.noop().unwrap();
    server.end();
}

#[test]
fn uploads_and_restarts_are_not_pipelined_cl_14() {
    let (server, mut client) = Server::logged_in_with(builder(), |mut peer| {
        for verb in ["STOR a", "APPE a"] {
            peer.expect(if verb == "STOR a" { "TYPE I" } else { "EPSV" });
            if verb == "STOR a" {
                peer.reply("200 ok");
                peer.expect("EPSV");
            }
            assert!(peer.client_is_silent_for(SHORT), "{verb} waits for the answer to EPSV");
            let port = peer.listen();
            peer.reply(&format!("229 ok (|||{port}|)"));
            peer.answer(verb, "150 Opening");
            assert_eq!(peer.read_data(), b"hello");
            peer.reply("226 done");
        }
        peer.epsv();
        peer.answer("REST 2", "350 ok");
        peer.answer("RETR a", "150 Opening");
        peer.send_data(b"llo");
        peer.reply("226 done");
    });
    for append in [false, true] {
        let file = if append { client.append("a") } else { client.store("a") };
        let mut file = file.unwrap();
        file.write_all(b"hello").unwrap();
        file.finish().unwrap();
    }
    let mut file = client.retrieve_from("a", 2).unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    file.finish().unwrap();
    assert_eq!(bytes, b"llo");
    server.end();
}

#[test]
fn an_unexpected_reply_ends_pipelining_and_mixes_up_no_reply_cl_14_hc_17() {
    // The replies to TYPE, EPSV and RETR; and whether RETR waits for a connection that does not
    // come.
    for (answers, waits) in [
        (["200 ok", "502 what?", "425 no port"], false),
        (["200 ok", "502 what?", "150 Opening"], true),
        (["200 ok", "522 use (1)", "503 EPSV first"], false),
        (["200 ok", "229 somewhere", "150 Opening"], true),
        (["200 ok", "229 ok (|||22|)", "150 Opening"], true),
        (["200 ok", "229 ok (|2||50004|)", "150 Opening"], true),
        (["500 what?", "229 ok (|||50004|)", "150 Opening"], true),
        (["451 not now", "451 not now", "451 not now"], false),
        (["200 ok", "229 ok (|||{port}|)", "425 too early"], false),
        (["200 ok", "229 ok (|||{port}|)", "500 what?"], false),
    ] {
        let [set, port, verb] = answers;
        let (server, mut client) = Server::logged_in_with(builder(), move |mut peer| {
            peer.expect_together(&["TYPE I", "EPSV", "RETR a"]);
            let listening = peer.listen().to_string();
            let port = port.replace("{port}", &listening);
            peer.send(format!("{set}\r\n{port}\r\n{verb}\r\n"));
            let mut line = peer.line();
            if line == b"\xff\xf4\xff\xf2ABOR\r\n" {
                peer.send(if waits { "426 cut\r\n226 aborted\r\n" } else { "225 nothing\r\n" });
                line = peer.line();
            }
            // A refused type is not in force.
            assert_eq!(line == b"TYPE I\r\n", set != "200 ok", "{}", line.escape_ascii());
            if set != "200 ok" {
                peer.reply("200 ok");
                line = peer.line();
            }
            assert_eq!(line.escape_ascii().to_string(), "EPSV\\r\\n");
            let port = peer.listen();
            peer.reply(&format!("229 ok (|||{port}|)"));
            peer.answer("RETR a", "150 Opening");
            peer.send_data(b"hello");
            peer.reply("226 done");
            one_by_one(&mut peer);
            peer.answer("NOOP", "200 ok");
        });
        for _ in 0..2 {
            assert_eq!(get(&mut client).unwrap(), b"hello", "{answers:?}");
        }
        client.noop().unwrap();
        server.end();
    }
}

#[test]
fn a_server_that_takes_one_command_at_a_time_says_nothing_about_another_one_cl_14() {
    let builder = builder();
    let (slow, mut client) = Server::logged_in_with(builder.clone(), |mut peer| {
        peer.expect_together(&["TYPE I", "EPSV", "RETR a"]);
        peer.send("200 ok\r\n502 what?\r\n425 no port\r\n");
        one_by_one(&mut peer);
    });
    assert_eq!(get(&mut client).unwrap(), b"hello");
    slow.end();
    let (quick, mut client) = Server::logged_in_with(builder, |mut peer| {
        peer.expect_together(&["TYPE I", "EPSV", "RETR a"]);
        peer.reply("200 ok");
        both(&mut peer, b"hello");
    });
    assert_eq!(get(&mut client).unwrap(), b"hello");
    quick.end();
}

#[test]
fn a_missing_or_extra_reply_closes_the_session_cl_13_cl_14_hc_17() {
    for (answers, closes) in [
        ("200 ok\r\n", true),
        ("200 ok\r\n229 ok (|||{port}|)\r\n", true),
        ("150 Opening\r\n", false),
        ("200 ok\r\n421 good bye\r\n", false),
        ("200 ok\r\n200 ok\r\n229 ok (|||{port}|)\r\n150 Opening\r\n", false),
    ] {
        let (server, mut client) = Server::logged_in_with(builder(), move |mut peer| {
            peer.expect_together(&["TYPE I", "EPSV", "RETR a"]);
            let port = peer.listen().to_string();
            peer.send(answers.replace("{port}", &port));
            if closes {
                peer.close();
            } else {
                peer.drain();
            }
        });
        let error = get(&mut client).unwrap_err();
        let right = match &error {
            Error::Closed => closes,
            Error::ServiceClosing(_) => answers.contains("421"),
            Error::Unexpected { verb: Verb::Type, .. } => answers.starts_with("150"),
            Error::Unexpected { .. } | Error::Desynchronised | Error::Protocol(_) => {
                answers.contains("200 ok\r\n200 ok")
            }
            _ => false,
        };
        assert!(right, "{answers}: {error}");
        assert!(matches!(client.noop(), Err(Error::Closed)), "{answers}");
        drop(client);
        server.end();
    }
}
