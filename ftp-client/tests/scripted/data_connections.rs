//! The methods of data connections, and what the client learns from failures.

mod active;

use std::net::{SocketAddr, TcpListener, TcpStream};

use ftp_client::listing::{ListOptions, ListingForm};
use ftp_client::{
    AddressRule, Client, EpsvArgument, Error, ErrorKind, Extended, HostReason, Mode, PortRanges,
    Verb,
};
use ftp_tests::port::OwnPort;

use crate::peer::{Peer, SHORT, Server, get, timeouts};

fn retr(peer: &mut Peer) {
    peer.answer("RETR a", "150 Opening");
    peer.send_data(b"hello");
    peer.reply("226 done");
}

#[test]
fn pasv_is_remembered_after_epsv_fails_cl_21_hc_01() {
    for reply in [
        "500 what?",
        "501 no",
        "502 no",
        "522 use (2)",
        "550 Permission denied.",
        "229 somewhere",
        "229 (|||99999|)",
        "229 (||)",
    ] {
        let (server, mut client) = Server::logged_in(move |mut peer| {
            peer.answer("TYPE I", "200 ok");
            peer.answer("EPSV", reply);
            // The announced host is another one, and is ignored.
            peer.pasv();
            peer.answer("RETR a", "550 not yet");
            peer.pasv();
            retr(&mut peer);
        });
        assert!(
            matches!(get(&mut client), Err(Error::Refused { verb: Verb::Retr, .. })),
            "{reply}"
        );
        assert_eq!(get(&mut client).unwrap(), b"hello", "{reply}");
        server.end();
    }
}

#[test]
fn a_refused_epsv_port_falls_back_to_pasv_cl_21() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.answer("TYPE I", "200 ok");
        peer.expect("EPSV");
        let closed = OwnPort::claim_closed();
        peer.reply(&format!("229 (|||{}|)", closed.number()));
        // Whether the verb is sent before the refusal is seen depends on the kernel.
        let line = peer.line();
        if line == b"RETR a\r\n" {
            peer.expect_abort();
            peer.send("425 no\r\n226 aborted\r\n");
            peer.pasv();
        } else {
            assert_eq!(line, b"PASV\r\n");
            let [high, low] = peer.listen().to_be_bytes();
            peer.reply(&format!("227 127,0,0,1,{high},{low}"));
        }
        retr(&mut peer);
        peer.pasv();
        retr(&mut peer);
    });
    assert_eq!(get(&mut client).unwrap(), b"hello");
    assert_eq!(get(&mut client).unwrap(), b"hello");
    server.end();
}

#[test]
fn the_error_lists_each_failed_attempt() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.answer("TYPE I", "200 ok");
        peer.answer("EPSV", "502 no EPSV");
        peer.answer("PASV", "502 no PASV");
        peer.answer("PASV", "530 log in first");
        peer.answer("NOOP", "200 ok");
    });
    let error = get(&mut client).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no data connection: EPSV refused: 502 no EPSV; PASV refused: 502 no PASV"
    );
    let error = get(&mut client).unwrap_err();
    assert_eq!(error.to_string(), "PASV refused: 530 log in first");
    client.noop().unwrap();
    server.end();
}

#[test]
fn epsv_always_and_never() {
    for (extended, want) in [(Extended::Always, Verb::Epsv), (Extended::Never, Verb::Pasv)] {
        let builder = Client::builder().timeouts(timeouts()).epsv(extended);
        let (server, mut client) = Server::logged_in_with(builder, move |mut peer| {
            peer.answer("TYPE I", "200 ok");
            peer.answer(want.as_str(), "502 no");
            match want {
                Verb::Epsv => peer.epsv(),
                _ => peer.pasv(),
            }
            retr(&mut peer);
        });
        let Err(Error::DataConnection(attempts)) = get(&mut client) else { panic!("{want}") };
        assert_eq!(attempts.iter().map(|attempt| attempt.way).collect::<Vec<_>>(), [want]);
        assert_eq!(get(&mut client).unwrap(), b"hello");
        server.end();
    }
}

#[test]
fn low_ports_are_refused_cl_35_hc_01_hc_03() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.answer("TYPE I", "200 ok");
        peer.answer("EPSV", "229 (|1|10.0.0.1|80|)");
        peer.answer("PASV", "227 (127,0,0,1,0,22)");
        peer.answer("NOOP", "200 ok");
    });
    let error = get(&mut client).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no data connection: EPSV with 127.0.0.1:80: not supported: a data port below 1024; \
         PASV with 127.0.0.1:22: not supported: a data port below 1024"
    );
    client.noop().unwrap();
    server.end();
}

#[test]
fn unreadable_227_is_a_protocol_error_cl_24_hc_04() {
    for reply in ["227 (1,2,3,4,5)", "227 (1,2,3,4,256,1)", "227 ok", "227 1,2,3,4,0,0", "200 ok"] {
        let builder = Client::builder().timeouts(timeouts()).epsv(Extended::Never);
        let (server, mut client) = Server::logged_in_with(builder, move |mut peer| {
            peer.answer("TYPE I", "200 ok");
            peer.answer("PASV", reply);
            peer.expect_end();
        });
        let error = get(&mut client).unwrap_err();
        assert!(matches!(error, Error::Protocol(_)), "{reply}: {error}");
        assert!(matches!(client.noop(), Err(Error::Closed)));
        server.end();
    }
}

#[test]
fn a_229_reply_to_pasv_is_accepted_cl_29() {
    let builder = Client::builder().timeouts(timeouts()).epsv(Extended::Never);
    let (server, mut client) = Server::logged_in_with(builder, |mut peer| {
        peer.answer("TYPE I", "200 ok");
        peer.expect("PASV");
        let port = peer.listen();
        peer.reply(&format!("229 (|||{port}|)"));
        retr(&mut peer);
    });
    assert_eq!(get(&mut client).unwrap(), b"hello");
    server.end();
}

/// Waits for `EPRT` or `PORT`, and records the address.
pub(crate) fn active(peer: &mut Peer, verb: &str) {
    let line = String::from_utf8(peer.line()).unwrap();
    let argument = line.trim_end().strip_prefix(verb).unwrap_or_else(|| panic!("{line}"));
    let port = if verb == "EPRT" {
        let port = argument.strip_prefix(" |1|127.0.0.1|").unwrap().strip_suffix('|').unwrap();
        port.parse::<u16>().unwrap()
    } else {
        let (high, low) = argument.strip_prefix(" 127,0,0,1,").unwrap().split_once(',').unwrap();
        u16::from_be_bytes([high.parse().unwrap(), low.parse().unwrap()])
    };
    peer.active = Some(SocketAddr::from(([127, 0, 0, 1], port)));
}

fn active_builder() -> ftp_client::ClientBuilder {
    Client::builder().timeouts(timeouts()).mode(Mode::Active)
}

/// A connection from another address than the peer's.
fn stranger(to: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.into()
}

#[test]
fn an_unresponsive_epsv_port_falls_back_to_pasv_cl_21() {
    let timeouts = timeouts().data_connect(SHORT);
    let builder = Client::builder().timeouts(timeouts);
    let (server, mut client) = Server::logged_in_with(builder, |mut peer| {
        // A listener with a full queue does not answer new connections.
        let hole = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let hole = hole.unwrap();
        hole.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        hole.listen(0).unwrap();
        let address = hole.local_addr().unwrap().as_socket().unwrap();
        let _first = TcpStream::connect(address).unwrap();
        peer.answer("EPSV", &format!("229 (|||{}|)", address.port()));
        peer.answer("NLST", "150 here it comes");
        peer.expect_abort();
        peer.send("426 nobody came\r\n226 aborted\r\n");
        for _ in 0..2 {
            peer.pasv();
            peer.answer("NLST", "150 here it comes");
            peer.send_data(b"a\r\nb\r\n");
            peer.reply("226 done");
        }
    });
    for _ in 0..2 {
        let names: Result<Vec<_>, _> =
            client.list_lines("", ListOptions::by(ListingForm::Nlst)).unwrap().collect();
        assert_eq!(names.unwrap(), [b"a", b"b"]);
    }
    server.end();
}

#[test]
fn epsv_all_is_sent_once_and_rules_out_pasv_cl_34() {
    let builder = Client::builder().timeouts(timeouts()).epsv_all(true);
    let (server, mut client) = Server::logged_in_with(builder.clone(), |mut peer| {
        peer.answer("PWD", "257 \"/\"");
        peer.answer("TYPE I", "200 ok");
        peer.answer("EPSV ALL", "220 as you like");
        peer.epsv();
        retr(&mut peer);
        peer.epsv();
        retr(&mut peer);
        // PASV is not tried any more.
        peer.answer("EPSV", "500 what?");
        peer.epsv();
        retr(&mut peer);
    });
    client.pwd().unwrap();
    for _ in 0..2 {
        assert_eq!(get(&mut client).unwrap(), b"hello");
    }
    let error = get(&mut client).unwrap_err();
    assert_eq!(error.to_string(), "no data connection: EPSV refused: 500 what?");
    assert_eq!(get(&mut client).unwrap(), b"hello");
    server.end();

    let (server, mut client) = Server::logged_in_with(builder.clone(), |mut peer| {
        peer.answer("TYPE I", "200 ok");
        peer.answer("EPSV ALL", "501 not that");
        peer.answer("NOOP", "200 ok");
    });
    let error = get(&mut client).unwrap_err();
    assert_eq!(error.to_string(), "no data connection: EPSV ALL refused: 501 not that");
    assert!(!error.is_transient() && error.kind() == ErrorKind::Unsupported);
    let Error::DataConnection(attempts) = error else { panic!("{error}") };
    assert_eq!(attempts[0].epsv, EpsvArgument::All);
    client.noop().unwrap();
    server.end();

    // A server that is only busy may accept the promise later.
    let (server, mut client) = Server::logged_in_with(builder.clone(), |mut peer| {
        peer.answer("TYPE I", "200 ok");
        peer.answer("EPSV ALL", "450 not now");
        peer.answer("EPSV ALL", "200 ok");
        peer.epsv();
        retr(&mut peer);
    });
    let error = get(&mut client).unwrap_err();
    assert!(error.is_transient() && error.kind() == ErrorKind::Data, "{error}");
    assert_eq!(get(&mut client).unwrap(), b"hello");
    server.end();

    // The client does not even connect for a promise that it cannot keep.
    for builder in [builder.clone().mode(Mode::Active), builder.epsv(Extended::Never)] {
        assert!(matches!(
            builder.connect(&OwnPort::claim_closed().address().to_string()),
            Err(Error::Unsupported(_))
        ));
    }
}

#[test]
fn epsv_all_is_not_sent_by_default_cl_34() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.image_epsv();
        retr(&mut peer);
    });
    assert_eq!(get(&mut client).unwrap(), b"hello");
    server.end();
}

/// `EPSV 1`, for a server that does not accept `EPSV` alone.
fn epsv_1(peer: &mut Peer) {
    peer.expect("EPSV 1");
    let port = peer.listen();
    // Some servers fill in protocol and address then.
    peer.reply(&format!("229 Extended Passive Mode (|1|10.0.0.1|{port}|)"));
}

#[test]
fn epsv_names_the_protocol_after_a_522_lists_it_cl_30_hc_30() {
    for first in ["522 Network protocol not supported, use (1,2)", "522 say which (7, 1)"] {
        let (server, mut client) = Server::logged_in(move |mut peer| {
            peer.answer("TYPE I", "200 ok");
            peer.answer("EPSV", first);
            epsv_1(&mut peer);
            retr(&mut peer);
            epsv_1(&mut peer);
            retr(&mut peer);
            // The client does not ask a second time.
            peer.answer("EPSV 1", "522 use (1)");
            peer.pasv();
            retr(&mut peer);
        });
        for _ in 0..3 {
            assert_eq!(get(&mut client).unwrap(), b"hello", "{first}");
        }
        server.end();
    }
    for list in ["(2)", "(", "()", "(1,,2)", "(99999999999)"] {
        let (server, mut client) = Server::logged_in(move |mut peer| {
            peer.answer("TYPE I", "200 ok");
            peer.answer("EPSV", &format!("522 use {list}"));
            peer.pasv();
            retr(&mut peer);
        });
        assert_eq!(get(&mut client).unwrap(), b"hello", "{list}");
        server.end();
    }
}

#[test]
fn a_229_for_another_protocol_is_aborted_cl_30() {
    for answer in ["226 closed", "502 what?"] {
        let (server, mut client) = Server::logged_in(move |mut peer| {
            peer.answer("TYPE I", "200 ok");
            peer.answer("EPSV", "229 Extended Passive Mode (|2||50004|)");
            peer.answer("ABOR", answer);
            epsv_1(&mut peer);
            retr(&mut peer);
        });
        assert_eq!(get(&mut client).unwrap(), b"hello");
        server.end();
    }
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.answer("TYPE I", "200 ok");
        peer.answer("EPSV", "229 Extended Passive Mode (|2||50004|)");
        peer.answer("ABOR", "225 nothing to do");
        peer.answer("EPSV 1", "501 no");
        peer.pasv();
        retr(&mut peer);
    });
    assert_eq!(get(&mut client).unwrap(), b"hello");
    server.end();
}

/// A client that uses the announced host.
fn trusting(rule: AddressRule) -> ftp_client::ClientBuilder {
    let builder = Client::builder().timeouts(timeouts()).epsv(Extended::Never);
    builder.passive_address(rule)
}

#[test]
fn settings_allow_third_hosts_and_low_ports_cl_27_cl_35_hc_01() {
    for rule in [AddressRule::Reply, AddressRule::Smart] {
        let (server, mut client) = Server::logged_in_with(trusting(rule), |mut peer| {
            peer.answer("TYPE I", "200 ok");
            peer.expect("PASV");
            let elsewhere = TcpListener::bind("127.0.0.2:0").unwrap();
            let [high, low] = elsewhere.local_addr().unwrap().port().to_be_bytes();
            peer.reply(&format!("227 (127,0,0,2,{high},{low})"));
            peer.listen_at(elsewhere);
            retr(&mut peer);
        });
        assert_eq!(get(&mut client).unwrap(), b"hello", "{rule:?}");
        server.end();
    }
    let builder = trusting(AddressRule::Peer).allow_low_ports(true);
    let (server, mut client) = Server::logged_in_with(builder, |mut peer| {
        peer.answer("TYPE I", "200 ok");
        // Port 1, which has no listener.
        peer.expect("PASV");
        peer.reply("227 (127,0,0,1,0,1)");
        if peer.line() == b"RETR a\r\n" {
            peer.expect_abort();
            peer.send("425 no\r\n226 aborted\r\n");
        }
    });
    let error = get(&mut client).unwrap_err().to_string();
    assert!(error.contains("PASV with 127.0.0.1:1: ") && error.contains("refused"), "{error}");
    drop(client);
    server.end();
}

#[test]
fn the_choice_of_the_data_host_is_reported_cl_25_cl_26_cl_27() {
    for (rule, announced, reason, used, cure) in [
        (
            AddressRule::Peer,
            "127,0,0,2",
            HostReason::PeerRule,
            "127.0.0.1",
            "the address rules `smart` and `reply` would use 127.0.0.2",
        ),
        (
            AddressRule::Reply,
            "127,0,0,2",
            HostReason::ReplyRule,
            "127.0.0.2",
            "the address rule `peer` would use 127.0.0.1",
        ),
        (
            AddressRule::Smart,
            "127,0,0,2",
            HostReason::Plausible,
            "127.0.0.2",
            "the address rule `peer` would use 127.0.0.1",
        ),
    ] {
        let closed = OwnPort::claim_closed();
        let port = closed.number();
        let (server, mut client) = Server::logged_in_with(trusting(rule), move |mut peer| {
            peer.answer("TYPE I", "200 ok");
            let [high, low] = port.to_be_bytes();
            peer.answer("PASV", &format!("227 ({announced},{high},{low})"));
            if peer.line() == b"RETR a\r\n" {
                peer.expect_abort();
                peer.send("425 no\r\n226 aborted\r\n");
            }
        });
        let error = get(&mut client).unwrap_err();
        assert!(error.to_string().contains(cure), "{error}");
        let Error::DataConnection(attempts) = &error else { panic!("{error}") };
        let attempt = &attempts[0];
        assert_eq!(attempt.address.unwrap().to_string(), format!("{used}:{port}"), "{rule:?}");
        let (host, why) = attempt.announced().unwrap();
        assert_eq!((why, host.to_string()), (reason, "127.0.0.2".to_owned()));
        drop(client);
        server.end();
    }
}

#[test]
fn without_a_port_or_an_address_no_port_command_is_sent_cl_33() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let ports = PortRanges::parse(port.to_string().as_bytes()).unwrap();
    let full = format!("no free port in {port}: all of them are in use");
    for (builder, want) in [
        (active_builder().active_ports(ports), full.as_str()),
        (
            active_builder().active_address("2001:db8::7"),
            "cannot announce the address \"2001:db8::7\": no IPv4 address, but the control \
             connection uses IPv4",
        ),
    ] {
        let (server, mut client) = Server::logged_in_with(builder, |mut peer| {
            peer.answer("TYPE I", "200 ok");
            peer.answer("NOOP", "200 ok");
        });
        let error = get(&mut client).unwrap_err();
        assert_eq!(error.to_string(), format!("no data connection: {want}"));
        client.noop().unwrap();
        server.end();
    }
}

#[test]
fn ipv6_uses_only_epsv_and_eprt_cl_20() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else { return };
    let port = listener.local_addr().unwrap().port();
    let server = Server::start_on(listener, |mut peer| {
        peer.reply("220 ready");
        peer.answer("TYPE I", "200 ok");
        peer.expect("EPSV");
        let data = TcpListener::bind("[::1]:0").unwrap();
        peer.reply(&format!("229 (|||{}|)", data.local_addr().unwrap().port()));
        peer.answer("RETR a", "150 Opening");
        drop(data.accept().unwrap());
        peer.reply("226 done");
        peer.answer("EPSV", "522 use (1)");
        peer.answer("NOOP", "200 ok");
    });
    let mut client =
        Client::builder().timeouts(timeouts()).connect(&format!("[::1]:{port}")).unwrap();
    assert_eq!(get(&mut client).unwrap(), b"");
    let error = get(&mut client).unwrap_err();
    assert_eq!(error.to_string(), "no data connection: EPSV refused: 522 use (1)");
    client.noop().unwrap();
    server.end();
    let builder = Client::builder().timeouts(timeouts());
    for (mode, want) in [(Mode::Passive, "PASV"), (Mode::Active, "PORT")] {
        let listener = TcpListener::bind("[::1]:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Server::start_on(listener, |mut peer| {
            peer.reply("220 ready");
            peer.answer("TYPE I", "200 ok");
            peer.answer("NOOP", "200 ok");
        });
        let builder = builder.clone().mode(mode).epsv(Extended::Never).eprt(Extended::Never);
        let mut client = builder.connect(&format!("[::1]:{port}")).unwrap();
        assert_eq!(
            get(&mut client).unwrap_err().to_string(),
            format!("no data connection: not supported: {want} carries IPv4 addresses only")
        );
        client.noop().unwrap();
        server.end();
    }
}
