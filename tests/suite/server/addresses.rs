//! Data connections: ports, announced addresses, other hosts, FXP.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use ftp_proto::Network;
use ftp_server::{PassiveAddress, Rights, Server};
use ftp_tests::network::in_own_network;
use ftp_tests::port::OwnPorts;
use ftp_tests::raw::{RawData, RawSession};
use ftp_tests::wait::{at_last, wait_until_closed};
use socket2::{Domain, Socket, Type};

use super::Fixture;
use super::data::{content, passive_address};

/// Another loopback address of this machine, which stands for another host.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

fn network(text: &str) -> Network {
    Network::parse(text.as_bytes()).expect("a network")
}

fn port_command(address: SocketAddr) -> String {
    let IpAddr::V4(host) = address.ip() else { panic!("PORT is for IPv4") };
    let [h1, h2, h3, h4] = host.octets();
    format!("PORT {h1},{h2},{h3},{h4},{},{}", address.port() / 256, address.port() % 256)
}

/// Returns the address in the reply to `EPSV`, which is 425 as long as a program that another test
/// starts holds a copy of the only port.
fn passive_address_at_last(session: &mut RawSession) -> SocketAddr {
    at_last("a passive port", || {
        let reply = session.ask("EPSV");
        (reply.code == 229).then(|| session.data_address(&reply))
    })
}

#[test]
fn exhausted_passive_ports_fail_with_425_and_are_released_cm_37_dc_02_dc_04_hd_09() {
    let own = OwnPorts::claim(4);
    let passive_ports = Some(own.ranges());
    let fixture =
        Fixture::configured(super::quick_with(|config| config.passive.ports = passive_ports));
    fixture.write("a", "a");
    let address = fixture.server.local_addr();
    let from = |last| RawSession::login_from([127, 0, 0, last].into(), address, "u", "p");
    let retrieve = |session: &mut RawSession| {
        let own = session.stream().local_addr().expect("an address").ip();
        let data = RawData::connect_from(own, passive_address_at_last(session));
        session.expect("RETR a", 150);
        assert_eq!(data.read_to_end(), b"a");
        session.expect_reply(226);
    };
    let mut sessions = [1, 1, 1, 2].map(from);
    let ports = sessions.each_mut().map(|session| passive_address_at_last(session).port());
    assert_eq!(BTreeSet::from(ports), own.numbers().collect());
    // One address may hold all but one of them.
    let mut greedy = from(1);
    greedy.expect("PASV", 425);
    greedy.expect_in_step();
    // ABOR, the end of a session and the use of a port return it at once.
    let [first, second, ..] = &mut sessions;
    first.expect("ABOR", 226);
    retrieve(&mut from(3));
    second.expect("QUIT", 221);
    second.expect_closed();
    retrieve(&mut greedy);
}

#[test]
fn a_flood_of_pasv_never_holds_more_than_one_port_hd_10_st_07() {
    let own = OwnPorts::claim(1);
    let passive_ports = Some(own.ranges());
    let fixture =
        Fixture::configured(super::quick_with(|config| config.passive.ports = passive_ports));
    fixture.write("a", "a");
    let mut session = fixture.session();
    // With only one port, holding a second one would get 425. So does a port that cannot be opened
    // again yet, because a program that another test starts holds a copy of it.
    let mut refused = 0;
    for _ in 0..500 {
        for (line, code) in [("PASV", 227), ("EPSV", 229)] {
            let reply = session.ask(line);
            assert!([code, 425].contains(&reply.code), "{reply:?}");
            refused += u32::from(reply.code == 425);
        }
    }
    assert!(refused < 100, "{refused} of 1,000");
    let data = RawData::connect(passive_address_at_last(&mut session));
    session.expect("RETR a", 150);
    assert_eq!(data.read_to_end(), b"a");
    session.expect_reply(226);
}

#[test]
fn a_passive_port_listens_only_on_the_control_connection_address_dc_01_dc_08() {
    let root = tempfile::tempdir().expect("a directory");
    let own = OwnPorts::claim(1);
    let passive_ports = Some(own.ranges());
    let config = super::quick_with(|config| config.passive.ports = passive_ports);
    let server = Server::builder().root(root.path()).config(config).user("u", "p", Rights::FULL);
    let server = server.bind("0.0.0.0:0").expect("a server on all addresses");
    let local = SocketAddr::new(ELSEWHERE.into(), server.local_addr().port());
    let mut session = RawSession::login_from(ELSEWHERE.into(), local, "u", "p");
    std::fs::write(root.path().join("a"), "a").expect("a file");
    let address = passive_address_at_last(&mut session);
    assert_eq!(address.ip(), ELSEWHERE);
    let other = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port());
    assert!(TcpStream::connect(other).is_err(), "nobody listens on other addresses");
    // One connection is used, and the port closes with it.
    let data = RawData::connect_from(ELSEWHERE.into(), address);
    let second = RawData::connect_from(ELSEWHERE.into(), address);
    session.expect("RETR a", 150);
    assert_eq!(data.read_to_end(), b"a");
    session.expect_reply(226);
    wait_until_closed(address);
    second.stream().set_read_timeout(Some(ftp_tests::raw::DEADLINE)).expect("a timeout");
    let mut second = second.stream();
    let ended = std::io::Read::read(&mut second, &mut [0; 1]);
    assert!(!ended.is_ok_and(|count| count > 0), "nothing for a second connection");
}

#[test]
fn the_227_address_depends_on_the_client_network_dc_05_dc_06() {
    let address = |text: &str| PassiveAddress::parse(text.as_bytes()).expect("an address");
    let fixture = Fixture::configured(super::quick_with(|config| {
        config.passive.address = Some(address("198.51.100.1"));
        config.passive.overrides = vec![
            (vec![network("127.0.0.2")], address("192.0.2.7")),
            (vec![network("127.0.0.3")], address("localhost")),
        ];
    }));
    fixture.write("a", "a");
    for (last, want) in [(1, "(127,0,0,1,"), (2, "(192,0,2,7,"), (3, "(127,0,0,1,")] {
        let from = [127, 0, 0, last].into();
        let mut session = RawSession::login_from(from, fixture.server.local_addr(), "u", "p");
        let reply = session.expect("PASV", 227);
        assert!(reply.text().contains(want), "{reply:?}");
        // EPSV announces no address.
        let data = RawData::connect_from(from, passive_address(&mut session));
        session.expect("RETR a", 150);
        assert_eq!(data.read_to_end(), b"a");
        session.expect_reply(226);
    }
}

#[test]
fn addresses_and_limits_of_non_loopback_clients_dc_06_cm_44_cm_45_hd_03_hd_04_st_12_ho_08() {
    let test = "server::addresses::addresses_and_limits_of_non_loopback_clients_dc_06_cm_44_cm_45_hd_03_hd_04_st_12_ho_08";
    if !in_own_network(test, &["192.0.2.1/24", "192.0.2.2/24", "2001:db8::1/64", "2001:db8::2/64"])
    {
        return;
    }
    let root = tempfile::tempdir().expect("a directory");
    std::fs::write(root.path().join("a"), "a").expect("a file");
    let config = super::quick_with(|config| {
        config.passive.address = Some(PassiveAddress::Address([198, 51, 100, 1].into()));
        config.fxp_networks = vec![network("0.0.0.0/0"), network("::/0")];
        config.limits.per_address = 2;
    });
    let server = Server::builder().root(root.path()).config(config);
    let server =
        server.user("u", "p", Rights::FULL | Rights::FXP).bind("[::]:0").expect("a server");
    let at = |host: &str| SocketAddr::new(host.parse().unwrap(), server.local_addr().port());

    let own = "192.0.2.2".parse().unwrap();
    let mut session = RawSession::login_from(own, at("192.0.2.1"), "u", "p");
    let reply = session.expect("PASV", 227);
    assert!(reply.text().contains("(198,51,100,1,"), "{reply:?}");
    let data = RawData::connect_from(own, passive_address(&mut session));
    session.expect("RETR a", 150);
    assert_eq!(data.read_to_end(), b"a");
    session.expect_reply(226);
    for host in ["127.0.0.1", "0.0.0.0", "255.255.255.255", "224.0.0.1", "169.254.0.1"] {
        session.expect(port_command(format!("{host}:5000").parse().unwrap()), 504);
        session.expect(format!("EPRT |1|{host}|5000|"), 504);
        session.expect(format!("EPRT |2|::ffff:{host}|5000|"), 504);
    }
    // Addresses of the other family get 522 rather than 504.
    for host in ["::", "::1", "ff02::1", "fe80::1"] {
        session.expect(format!("EPRT |2|{host}|5000|"), 522);
    }
    session.expect("PORT 203,0,113,1,200,1", 200);
    session.expect("EPRT |2|2001:db8::9|5000|", 200);

    // At most two connections from one address or one /64; loopback is exempt.
    let second = RawSession::login_from(own, at("192.0.2.1"), "u", "p");
    let greeting = |mut session: RawSession| session.reply().code;
    assert_eq!(greeting(RawSession::connect_from(own, at("192.0.2.1"))), 421);
    let other = "192.0.2.1".parse().unwrap();
    assert_eq!(greeting(RawSession::connect_from(other, at("192.0.2.1"))), 220);
    let six: Vec<_> = ["2001:db8::1", "2001:db8::2"]
        .map(|from| RawSession::login_from(from.parse().unwrap(), at("2001:db8::1"), "u", "p"))
        .into();
    let third = RawSession::connect_from("2001:db8::1".parse().unwrap(), at("2001:db8::1"));
    assert_eq!(greeting(third), 421);
    for _ in 0..200 {
        assert_eq!(greeting(RawSession::connect_from(own, at("192.0.2.1"))), 421);
    }
    let local: Vec<_> = (0..4).map(|_| RawSession::login(at("127.0.0.1"), "u", "p")).collect();
    drop((session, second, six, local));
}

#[test]
fn a_third_host_needs_both_the_right_and_the_network_hd_01_hd_02_hd_04_cm_43_cm_44() {
    let networks = vec![network("127.0.0.0/8")];
    // The right without a network, and the network without the right.
    for (user, fxp_networks) in [("fxp", vec![]), ("u", networks)] {
        let fixture = Fixture::configured(super::quick().fxp_networks(fxp_networks));
        fixture.write("a", "secret");
        let mut session = RawSession::login(fixture.server.local_addr(), user, "p");
        let victim = TcpListener::bind((ELSEWHERE, 0)).expect("a listener elsewhere");
        victim.set_nonblocking(true).expect("a socket");
        let port = victim.local_addr().expect("an address").port();
        for line in [
            port_command(victim.local_addr().expect("an address")),
            format!("EPRT |1|{ELSEWHERE}|{port}|"),
            format!("EPRT |2|::ffff:{ELSEWHERE}|{port}|"),
            "PORT 127,0,0,1,0,25".to_owned(),
            "EPRT |1|127.0.0.1|1023|".to_owned(),
            "EPRT |1|127.0.0.1|0|".to_owned(),
        ] {
            session.expect(&line, 504);
            session.expect("RETR a", 425);
        }
        assert!(victim.accept().is_err(), "no connection was tried");
        session.expect(format!("EPRT |2|::ffff:127.0.0.1|{port}|"), 200);
        let reply = session.expect("EPRT |3|x|5000|", 522);
        assert!(reply.text().ends_with("use (1)"), "CM-48: {reply:?}");
        let stranger = RawData::connect_from(ELSEWHERE.into(), passive_address(&mut session));
        session.expect("RETR a", 150);
        stranger.expect_reset();
        session.expect("ABOR", 426);
        session.expect_reply(226);
    }
}

#[test]
fn third_hosts_get_data_with_the_right_and_the_network_dc_30_dc_31_cm_48_cm_50() {
    let fxp_networks = vec![network("127.0.0.2"), network("::1")];
    let fixture = Fixture::configured(super::quick().fxp_networks(fxp_networks));
    let want = content(100_000);
    fixture.write("a", &want);
    let mut session = RawSession::login(fixture.server.local_addr(), "fxp", "p");
    session.expect("TYPE I", 200);
    let target = TcpListener::bind((ELSEWHERE, 0)).expect("a listener elsewhere");
    session.expect(port_command(target.local_addr().expect("an address")), 200);
    session.expect("RETR a", 150);
    let (data, _) = target.accept().expect("the server connects");
    assert_eq!(RawData::over(data).read_to_end(), want);
    session.expect_reply(226);
    let stranger = RawData::connect_from(ELSEWHERE.into(), passive_address(&mut session));
    session.expect("RETR a", 150);
    assert_eq!(stranger.read_to_end(), want);
    session.expect_reply(226);
    for (line, code) in [
        ("PORT 127,0,0,2,3,255", 504),
        ("PORT 127,0,0,3,200,1", 504),
        ("PORT 224,0,0,1,200,1", 504),
        ("EPRT |1|0.0.0.0|5000|", 504),
        ("EPRT |2|::2|5000|", 522),
        ("EPRT |2|::1|1023|", 504),
    ] {
        session.expect(line, code);
    }
    let reply = session.expect("EPRT |3|x|5000|", 522);
    assert!(reply.text().ends_with("use (1,2)"), "{reply:?}");
    let Ok(target) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else {
        eprintln!("skipped: the part with IPv6: this machine has no IPv6 loopback");
        return;
    };
    let port = target.local_addr().expect("an address").port();
    session.expect(format!("EPRT |2|::1|{port}|"), 200);
    session.expect("RETR a", 150);
    let (data, _) = target.accept().expect("the server connects");
    assert_eq!(RawData::over(data).read_to_end(), want);
    session.expect_reply(226);
}

#[test]
fn a_522_reply_lists_only_usable_protocols_cm_48_cm_50() {
    let server = |networks: &[&str]| {
        let fxp_networks: Vec<_> = networks.iter().map(|text| network(text)).collect();
        Fixture::configured(super::quick().fxp_networks(fxp_networks))
    };
    for (networks, user, other, unknown) in [
        (&["127.0.0.0/8"][..], "fxp", "use (1)", "use (1)"),
        (&["127.0.0.0/8", "2001:db8::/32"], "fxp", "use (1)", "use (1,2)"),
        (&["2001:db8::/32"], "fxp", "use (1)", "use (1,2)"),
        (&["2001:db8::/32"], "u", "use (1)", "use (1)"),
        (&[], "fxp", "use (1)", "use (1)"),
    ] {
        let fixture = server(networks);
        let mut session = RawSession::login(fixture.server.local_addr(), user, "p");
        for (line, want) in [("EPRT |2|::1|5000|", other), ("EPRT |3|x|5000|", unknown)] {
            let reply = session.expect(line, 522).text();
            assert!(reply.ends_with(want), "{line} with {networks:?}: {reply}");
        }
    }
}

#[test]
fn a_server_transfers_to_itself_hd_22_dc_30() {
    let fxp_networks = vec![network("127.0.0.0/8")];
    let fixture = Fixture::configured(super::quick().fxp_networks(fxp_networks));
    let want = content(3 << 20);
    fixture.write("a", &want);
    let address = fixture.server.local_addr();
    for from in [[127, 0, 0, 1], [127, 0, 0, 9]] {
        let mut source = RawSession::login_from(from.into(), address, "fxp", "p");
        let mut target = RawSession::login(address, "fxp", "p");
        source.expect("TYPE I", 200);
        target.expect("TYPE I", 200);
        let port = passive_address(&mut source);
        target.expect(port_command(port), 200);
        target.expect("STOR b", 150);
        source.expect("RETR a", 150);
        source.expect_reply(226);
        target.expect_reply(226);
        assert_eq!(fixture.read("b"), want);
        target.expect("DELE b", 250);
    }
}

#[test]
fn active_connections_use_the_port_below_the_control_port_if_free_dc_21() {
    let root = tempfile::tempdir().expect("a directory");
    std::fs::write(root.path().join("a"), "a").expect("a file");
    let config = super::quick_with(|config| config.active_source_port = true);
    let own = OwnPorts::claim(2);
    let (below, port) = own.numbers().into_inner();
    let builder = Server::builder().root(root.path()).config(config).user("u", "p", Rights::FULL);
    let server = builder.bind(("127.0.0.1", port)).expect("an own port");
    let mut session = RawSession::login(server.local_addr(), "u", "p");
    let target = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let mut retrieve = || {
        session.expect(port_command(target.local_addr().expect("an address")), 200);
        session.expect("RETR a", 150);
        let (data, from) = target.accept().expect("the server connects");
        assert_eq!(RawData::over(data).read_to_end(), b"a");
        session.expect_reply(226);
        from.port()
    };
    assert_eq!(retrieve(), below);
    // The earlier connection between the same two ports still lingers, so another port is used.
    retrieve();
    let _taken = TcpListener::bind(("127.0.0.1", below)).expect("an own port");
    assert_ne!(retrieve(), below);
    let fixture = Fixture::new();
    let mut session = fixture.session();
    session.expect(port_command(target.local_addr().expect("an address")), 200);
    session.expect("NLST", 150);
    let (_data, from) = target.accept().expect("the server connects");
    assert_ne!(from.port() + 1, fixture.server.local_addr().port(), "it is off by default");
    session.expect_reply(226);
}

#[test]
fn an_unresponsive_active_address_fails_with_425_and_can_be_aborted_hd_12_dc_22_dc_42() {
    let config =
        super::quick_with(|config| config.timeouts.data_connect = Duration::from_millis(500));
    // A listener with a full queue does not answer new connections.
    let hole = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    hole.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
    hole.listen(0).expect("a listener");
    let address = hole.local_addr().ok().and_then(|address| address.as_socket()).expect("one");
    let _first = TcpStream::connect(address).expect("room for one");
    let fixture = Fixture::configured(config);
    fixture.write("a", "a");
    let mut session = fixture.session();
    for line in ["RETR a", "STOR b"] {
        session.expect(port_command(address), 200);
        session.expect(line, 150);
        session.expect_reply(425);
        session.expect_in_step();
    }
    assert_eq!(fixture.published(), ["a"], "DC-55");
    let fixture = Fixture::configured(super::quick_with(|config| {
        config.timeouts.data_connect = Duration::MAX;
    }));
    let mut session = fixture.session();
    session.expect(port_command(address), 200);
    session.expect("STOR b", 150);
    session.expect("ABOR", 426);
    session.expect_reply(226);
    assert_eq!(fixture.published(), [""; 0]);
}
