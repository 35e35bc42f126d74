//! Transfers that end in unusual ways: one test for each fixed bug.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use ftp_client::{Client, Error, Extended, Verb};
use ftp_tests::port::OwnPort;
use ftp_tests::wait::patiently;

use crate::peer::{SHORT, SOON, Server, timeouts};

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
        assert!(matches!(error, Error::Io(_) | Error::Unexpected(Verb::Stor, _)), "{error}");
        client.noop().unwrap();
        server.end();
    }
}
