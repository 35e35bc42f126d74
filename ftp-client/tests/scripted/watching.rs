//! Replies on the control connection while no data moves.

use std::io::{Read, Write};
use std::sync::mpsc::channel;
use std::time::Instant;

use ftp_client::error::Phase;
use ftp_client::{Client, Error, Severity, Verb};

use crate::peer::{Peer, SHORT, SOON, Server, timeouts};

/// The server's action while no data moves.
type Act = fn(Peer) -> Option<Peer>;

/// Ways to give up, and the expected error of each.
const GIVES_UP: &[(Act, &str)] = &[
    (
        |mut peer| {
            peer.reply("426 cut");
            Some(peer)
        },
        "refused: 426 cut",
    ),
    (
        |mut peer| {
            for byte in b"451-tape\r\n450 no\r\n451 torn\r\n" {
                peer.send([*byte]);
            }
            Some(peer)
        },
        "refused: 451 tape / 450 no / torn",
    ),
    (
        |mut peer| {
            peer.send("150 once more\r\n552 too large\r\n");
            Some(peer)
        },
        "refused: 552 too large",
    ),
    (
        |mut peer| {
            peer.reply("421 going down");
            None
        },
        "the server is closing the connection: 421 going down",
    ),
    (
        |peer| {
            peer.close();
            None
        },
        "the control connection is closed",
    ),
    (
        |mut peer| {
            peer.reply("SSH-2.0-x");
            None
        },
        "protocol error: invalid reply: unexpected character",
    ),
];

/// Asserts how the transfer ended, and whether the connection is still usable.
#[track_caller]
fn check(error: &Error, want: &str, begin: Instant, client: &mut Client) {
    assert!(error.to_string().ends_with(want), "{error}, not {want}");
    assert!(begin.elapsed() < SOON, "{want}");
    match error {
        Error::Refused { .. } => client.noop().unwrap(),
        _ => assert!(matches!(client.noop(), Err(Error::Closed)), "{error}"),
    }
}

#[test]
fn a_stalled_download_ends_with_the_servers_reply_hc_19_hc_20_cl_10() {
    for &(act, want) in GIVES_UP {
        let (over, is_over) = channel::<()>();
        let (server, mut client) = Server::logged_in(move |mut peer| {
            peer.image_epsv();
            peer.answer("RETR a", "150 Opening");
            let mut data = peer.data();
            data.write_all(b"hello").unwrap();
            if let Some(mut peer) = act(peer) {
                peer.answer("NOOP", "200 ok");
            }
            // The data connection does not show it.
            let _ = is_over.recv();
            drop(data);
        });
        let begin = Instant::now();
        let mut file = client.retrieve("a").unwrap();
        let error = file.read_to_end(&mut Vec::new()).unwrap_err();
        let error = Error::downcast(error).unwrap();
        assert_eq!(file.finish().unwrap_err().to_string(), error.to_string());
        check(&error, want, begin, &mut client);
        drop(over);
        server.end();
    }
}

#[test]
fn a_stalled_upload_ends_with_the_servers_reply_hc_19_hc_20_cl_10() {
    for &(act, want) in GIVES_UP {
        let (over, is_over) = channel::<()>();
        let (server, mut client) = Server::logged_in(move |mut peer| {
            peer.image_epsv();
            peer.answer("STOR a", "150 Opening");
            let data = peer.data();
            if let Some(mut peer) = act(peer) {
                peer.answer("NOOP", "200 ok");
            }
            // The data connection does not show it.
            let _ = is_over.recv();
            drop(data);
        });
        let begin = Instant::now();
        let mut file = client.store("a").unwrap();
        let error = loop {
            if let Err(error) = file.write_all(&[0; 65_536]) {
                break Error::downcast(error).unwrap();
            }
        };
        drop(file);
        check(&error, want, begin, &mut client);
        drop(over);
        server.end();
    }
}

#[test]
fn an_upload_confirmed_before_its_end_fails_hc_17() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.image_epsv();
        peer.answer("STOR a", "150 Opening");
        let _unread = peer.data();
        peer.reply("226 I have it all");
        peer.answer("NOOP", "200 ok");
    });
    let begin = Instant::now();
    let mut file = client.store("a").unwrap();
    let error = loop {
        if let Err(error) = file.write_all(&[0; 65_536]) {
            break Error::downcast(error).unwrap();
        }
    };
    assert!(matches!(error, Error::Unexpected { verb: Verb::Stor, .. }), "{error}");
    assert!(begin.elapsed() < SOON && file.finish().is_err());
    client.noop().unwrap();
    server.end();
}

#[test]
fn a_confirmation_may_arrive_before_the_data_ends_cl_08() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.image_epsv();
        peer.answer("RETR a", "150 Opening (10 bytes)");
        let mut data = peer.data();
        data.write_all(b"hello").unwrap();
        peer.reply("226 done");
        // So that the client reads it while it waits for data.
        assert!(peer.client_is_silent_for(SHORT));
        data.write_all(b"world").unwrap();
        drop(data);
        peer.answer("NOOP", "200 ok");
    });
    let mut file = client.retrieve("a").unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"helloworld");
    assert_eq!(file.finish().unwrap().reply.code().value(), 226);
    client.noop().unwrap();
    server.end();
}

#[test]
fn a_stall_after_the_confirmation_times_out_hc_19() {
    let timeouts = timeouts().data_connect(SHORT);
    let builder = Client::builder().timeouts(timeouts);
    let (server, mut client) = Server::logged_in_with(builder, |mut peer| {
        peer.image_epsv();
        peer.answer("RETR a", "150 Opening");
        let mut data = peer.data();
        data.write_all(b"hello").unwrap();
        peer.reply("226 done");
        peer.answer("NOOP", "200 ok");
        drop(data);
    });
    let begin = Instant::now();
    let mut file = client.retrieve("a").unwrap();
    let error = Error::downcast(file.read_to_end(&mut Vec::new()).unwrap_err()).unwrap();
    assert!(matches!(error, Error::Timeout(Phase::Stall)), "{error}");
    assert!(begin.elapsed() < SOON && file.finish().is_err());
    client.noop().unwrap();
    server.end();
}

#[test]
fn refusals_are_transient_or_permanent_with_code_and_text_cl_09() {
    for (reply, code, severity, text) in [
        ("450 busy", 450, Severity::Transient, "450 busy"),
        ("452-no\r\n space\r\n452 left", 452, Severity::Transient, "452 no / space / left"),
        ("550 not there", 550, Severity::Permanent, "550 not there"),
        ("599", 599, Severity::Permanent, "599 "),
    ] {
        let (server, mut client) = Server::logged_in(move |mut peer| peer.answer("DELE a", reply));
        let error = client.delete("a").unwrap_err();
        let Error::Refused { verb: Verb::Dele, reply, .. } = &error else { panic!("{error}") };
        assert_eq!((reply.code().value(), reply.code().severity()), (code, severity));
        assert_eq!(error.is_transient(), severity == Severity::Transient);
        assert_eq!(error.to_string().trim_end(), format!("DELE refused: {text}").trim_end());
        server.end();
    }
}
