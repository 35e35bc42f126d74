//! Data connections that the server makes.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use ftp_client::error::Phase;
use ftp_client::{Client, Error, ErrorKind, Extended, PortRanges};
use ftp_tests::port::OwnPort;
use ftp_tests::wait::patiently;

use super::{active, active_builder, retr, stranger};
use crate::peer::{SHORT, Server, get, timeouts};

#[test]
fn active_mode_falls_back_from_eprt_to_port_cl_22() {
    let (server, mut client) = Server::logged_in_with(active_builder(), |mut peer| {
        peer.answer("TYPE I", "200 ok");
        active(&mut peer, "EPRT");
        peer.reply("200 ok");
        retr(&mut peer);
        active(&mut peer, "EPRT");
        peer.reply("550 Permission denied.");
        active(&mut peer, "PORT");
        peer.reply("200 ok");
        // The server connects before its 150, as some do.
        peer.expect("RETR a");
        peer.send_data(b"hello");
        peer.send("150 Opening\r\n226 done\r\n");
        active(&mut peer, "PORT");
        peer.reply("200 ok");
        retr(&mut peer);
    });
    for _ in 0..3 {
        assert_eq!(get(&mut client).unwrap(), b"hello");
    }
    server.end();
}

#[test]
fn a_refused_eprt_without_a_fallback_is_reported() {
    let builder = active_builder().eprt(Extended::Always);
    let (server, mut client) = Server::logged_in_with(builder, |mut peer| {
        peer.answer("TYPE I", "200 ok");
        active(&mut peer, "EPRT");
        peer.reply("500 no");
        peer.answer("NOOP", "200 ok");
    });
    let error = get(&mut client).unwrap_err();
    assert_eq!(error.to_string(), "no data connection: EPRT refused: 500 no");
    client.noop().unwrap();
    server.end();
}

#[test]
fn a_data_connection_from_another_host_is_closed_cl_32_hc_27() {
    let (server, mut client) = Server::logged_in_with(active_builder(), |mut peer| {
        peer.answer("TYPE I", "200 ok");
        active(&mut peer, "EPRT");
        peer.reply("200 ok");
        peer.expect("RETR a");
        let mut stranger = stranger(peer.active.unwrap());
        assert_eq!(stranger.read(&mut [0; 1]).unwrap_or(0), 0, "it is closed");
        peer.reply("150 Opening");
        peer.send_data(b"hello");
        peer.reply("226 done");
    });
    assert_eq!(get(&mut client).unwrap(), b"hello");
    server.end();
}

#[test]
fn the_error_names_the_other_host_that_connected_hc_27() {
    patiently(SHORT, |limit| {
        let builder = active_builder().timeouts(timeouts().data_connect(limit));
        let (server, mut client) = Server::logged_in_with(builder, |mut peer| {
            peer.answer("TYPE I", "200 ok");
            active(&mut peer, "EPRT");
            peer.reply("200 ok");
            peer.answer("RETR a", "150 Opening");
            let _stranger = stranger(peer.active.unwrap());
            peer.expect_abort();
            peer.send("426 no\r\n226 ok\r\n");
            peer.drain();
        });
        let error = client.retrieve("a").unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("only 127.0.0.2 connected, which is not the server's address"),
            "{text}"
        );
        assert_eq!(error.kind(), ErrorKind::Data);
        drop(client);
        server.end();
    });
}

#[test]
fn a_data_connection_after_the_final_reply_is_accepted_cl_32_hc_17() {
    let (server, mut client) = Server::logged_in_with(active_builder(), |mut peer| {
        peer.answer("TYPE I", "200 ok");
        active(&mut peer, "EPRT");
        peer.reply("200 ok");
        peer.expect("RETR a");
        let _stranger = stranger(peer.active.unwrap());
        peer.send("150 Opening\r\n226 done\r\n");
        // To the client, the connection looks lost on the way and sent again.
        assert!(peer.client_is_silent_for(SHORT));
        peer.send_data(b"hello");
        // Both connections wait at once, that of the other host first.
        active(&mut peer, "EPRT");
        let at = peer.active.unwrap();
        let _stranger = stranger(at);
        peer.send_data(b"hello");
        peer.reply("200 ok");
        peer.answer("RETR a", "226 done");
    });
    for _ in 0..2 {
        assert_eq!(get(&mut client).unwrap(), b"hello");
    }
    server.end();
}

#[test]
fn a_started_transfer_without_a_data_connection_fails_hc_17_hc_19() {
    // A listener with a full queue does not answer new connections.
    let hole = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    hole.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    hole.listen(0).unwrap();
    let silent = hole.local_addr().unwrap().as_socket().unwrap();
    let _first = TcpStream::connect(silent).unwrap();
    let timeouts = timeouts().data_connect(Duration::from_millis(500));
    let passive = Client::builder().timeouts(timeouts).epsv(Extended::Always);
    for (builder, is_active) in [(active_builder().timeouts(timeouts), true), (passive, false)] {
        let (server, mut client) = Server::logged_in_with(builder, move |mut peer| {
            peer.answer("TYPE I", "200 ok");
            if is_active {
                active(&mut peer, "EPRT");
                peer.reply("200 ok");
            } else {
                peer.answer("EPSV", &format!("229 (|||{}|)", silent.port()));
            }
            peer.expect("RETR a");
            peer.send("150 Opening\r\n226 done\r\n");
            // The client sends it if these come too late.
            peer.allow_abort();
            peer.answer("NOOP", "200 ok");
        });
        let error = get(&mut client).unwrap_err();
        assert!(matches!(error, Error::DataConnection(_)), "{error}");
        client.noop().unwrap();
        server.end();
    }
}

#[test]
fn endless_150_replies_do_not_prevent_the_data_timeout_hc_12_hc_19() {
    let hole = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    hole.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    hole.listen(0).unwrap();
    let silent = hole.local_addr().unwrap().as_socket().unwrap();
    let _first = TcpStream::connect(silent).unwrap();
    let gives_up = |is_active: bool, limit| {
        let timeouts = timeouts().data_connect(limit).reply(limit);
        let builder = match is_active {
            true => active_builder(),
            false => Client::builder().epsv(Extended::Always),
        };
        let (server, mut client) =
            Server::logged_in_with(builder.timeouts(timeouts), move |mut peer| {
                peer.answer("TYPE I", "200 ok");
                if is_active {
                    active(&mut peer, "EPRT");
                    peer.reply("200 ok");
                } else {
                    peer.answer("EPSV", &format!("229 (|||{}|)", silent.port()));
                }
                peer.expect("RETR a");
                // Until the client gives up.
                while peer.try_send(&b"150 still\r\n".repeat(100)) {}
            });
        let error = get(&mut client).unwrap_err();
        let Error::DataConnection(attempts) = &error else { panic!("{error}") };
        assert!(
            matches!(attempts[0].error, Error::Timeout(Phase::DataConnect | Phase::Reply(_))),
            "{error}"
        );
        assert!(matches!(client.noop(), Err(Error::Closed)), "it cannot be used on");
        server.end();
    };
    for is_active in [false, true] {
        patiently(SHORT, |limit| gives_up(is_active, limit));
    }
}

#[test]
fn a_425_in_active_mode_is_reported() {
    let (server, mut client) = Server::logged_in_with(active_builder(), |mut peer| {
        peer.answer("TYPE I", "200 ok");
        active(&mut peer, "EPRT");
        peer.reply("200 ok");
        peer.expect("RETR a");
        peer.send("150 Opening\r\n425 cannot connect to you\r\n");
        peer.answer("NOOP", "200 ok");
    });
    let error = get(&mut client).unwrap_err();
    assert_eq!(error.to_string(), "RETR refused: 425 cannot connect to you");
    assert!(error.is_transient());
    client.noop().unwrap();
    server.end();
}

#[test]
fn a_server_that_does_not_connect_times_out_hc_19() {
    let timeouts = timeouts().data_connect(SHORT);
    let builder = active_builder().timeouts(timeouts);
    let (server, mut client) = Server::logged_in_with(builder, |mut peer| {
        peer.answer("TYPE I", "200 ok");
        active(&mut peer, "EPRT");
        peer.reply("200 ok");
        peer.answer("RETR a", "150 Opening");
        peer.expect_abort();
        peer.send("426 cut\r\n226 aborted\r\n");
        peer.answer("NOOP", "200 ok");
    });
    let Err(Error::DataConnection(attempts)) = get(&mut client) else { panic!("no connection") };
    assert!(matches!(
        attempts.as_slice(),
        [attempt] if matches!(attempt.error, Error::Timeout(Phase::DataConnect))
    ));
    client.noop().unwrap();
    server.end();
}

#[test]
fn active_mode_announces_the_configured_address_and_port_cl_33() {
    let port = OwnPort::claim();
    let free = port.number();
    let ports = PortRanges::parse(free.to_string().as_bytes()).unwrap();
    for (address, want) in [("203.0.113.7", "203,0,113,7"), ("localhost", "127,0,0,1")] {
        let builder = active_builder().active_ports(ports.clone()).active_address(address);
        let (server, mut client) = Server::logged_in_with(builder, move |mut peer| {
            peer.answer("TYPE I", "200 ok");
            let dotted = want.replace(',', ".");
            peer.answer(&format!("EPRT |1|{dotted}|{free}|"), "502 what?");
            let [high, low] = free.to_be_bytes();
            for _ in 0..2 {
                peer.answer(&format!("PORT {want},{high},{low}"), "200 ok");
                // As if a NAT had forwarded it.
                peer.active = Some(SocketAddr::from(([127, 0, 0, 1], free)));
                retr(&mut peer);
            }
        });
        for _ in 0..2 {
            assert_eq!(get(&mut client).unwrap(), b"hello", "{address}");
        }
        server.end();
    }
}
