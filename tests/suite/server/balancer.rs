//! Connections that a load balancer passes on: headers of the PROXY protocol, and the client that
//! they name.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ftp_proto::Network;
use ftp_server::{
    Event, EventKind, Limits, Observer, PassiveAddress, PassivePolicy, Refusal, Rights, Server,
    ServerConfig, UserTable,
};
use ftp_tests::at_once::at_once;
use ftp_tests::raw::{RawData, RawSession};
use ftp_tests::wait::{at_last, wait_until};

use super::Fixture;
use super::data::passive_address;

/// The time in which a header must come.
const HEADER: Duration = Duration::from_secs(5);

/// The address of the balancer, another one of this machine.
const BALANCER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

fn network(text: &str) -> Network {
    Network::parse(text.as_bytes()).expect("a network")
}

fn balanced() -> ServerConfig {
    super::quick().proxy_protocol([network("127.0.0.2/32")])
}

/// Returns a header of version 1 for a client that connected to 198.51.100.1.
fn named(client: &str) -> String {
    format!("PROXY TCP4 {client} 198.51.100.1 50000 21\r\n")
}

/// Returns a header of version 2.
fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, rest].concat()
}

/// Returns a connection of the balancer that begins with these bytes.
#[track_caller]
fn through(fixture: &Fixture, first: impl AsRef<[u8]>) -> RawSession {
    let mut session = RawSession::connect_from(BALANCER, fixture.server.local_addr());
    session.send(first);
    session
}

#[track_caller]
fn logged_in(fixture: &Fixture, header: impl AsRef<[u8]>) -> RawSession {
    let mut session = through(fixture, header);
    session.expect_reply(220);
    session.expect("USER u", 331);
    session.expect("PASS p", 230);
    session
}

/// Collects refused connections, and the clients that connected and where.
#[derive(Clone, Default)]
struct Seen {
    refused: Arc<Mutex<Vec<(IpAddr, Refusal)>>>,
    connected: Arc<Mutex<Vec<(SocketAddr, SocketAddr)>>>,
}

impl Observer for Seen {
    fn observe(&self, event: &Event<'_>) {
        match event.kind {
            EventKind::Refused(why) => {
                self.refused.lock().unwrap().push((event.peer.ip(), why));
            }
            EventKind::Connected { local, .. } => {
                self.connected.lock().unwrap().push((event.peer, local));
            }
            _ => {}
        }
    }
}

#[test]
fn a_proxy_header_names_the_client_and_consumes_no_other_byte() {
    let seen = Seen::default();
    let fixture = Fixture::with(|builder| builder.config(balanced()).observer(seen.clone()));
    let v4 = [192, 0, 2, 7, 198, 51, 100, 1, 0xc3, 0x50, 0, 21];
    let mapped = |host: [u8; 4]| Ipv4Addr::from(host).to_ipv6_mapped().octets();
    let inner = [&mapped([192, 0, 2, 7])[..], &mapped([198, 51, 100, 1]), &v4[8..]].concat();
    let more = [&v4[..], &[4, 0, 3, 1, 2, 3, 0xee, 0, 0]].concat();
    let six = b"PROXY TCP6 2001:db8::7 2001:db8::1 50000 21\r\n";
    for (header, peer, reached) in [
        (named("192.0.2.7").into_bytes(), "192.0.2.7:50000", "198.51.100.1:21"),
        (binary(0x21, 0x11, &v4), "192.0.2.7:50000", "198.51.100.1:21"),
        (binary(0x21, 0x11, &more), "192.0.2.7:50000", "198.51.100.1:21"),
        (binary(0x21, 0x21, &inner), "192.0.2.7:50000", "198.51.100.1:21"),
        (six.to_vec(), "[2001:db8::7]:50000", "[2001:db8::1]:21"),
    ] {
        // All in one segment, in any pieces, and byte by byte.
        let first = [&header[..], b"USER u\r\nPASS p\r\n"].concat();
        for pieces in [first.len(), 20, 1] {
            let mut session = through(&fixture, "");
            first.chunks(pieces).for_each(|piece| session.send(piece));
            session.expect_reply(220);
            session.expect_reply(331);
            session.expect_reply(230);
            let sessions = fixture.server.sessions();
            assert!(sessions.iter().any(|session| session.peer == peer.parse().unwrap()));
            let told = session.ask("STAT").text();
            let host = peer.parse::<SocketAddr>().unwrap().ip();
            assert!(told.contains(&format!("Connected from {host}")), "{told}");
            session.expect("QUIT", 221);
            session.expect_closed();
            let ends = seen.connected.lock().unwrap().pop().unwrap();
            assert_eq!(ends, (peer.parse().unwrap(), reached.parse().unwrap()));
        }
    }
    assert!(seen.refused.lock().unwrap().is_empty());
}

#[test]
fn a_proxy_header_from_an_untrusted_address_is_a_bad_command() {
    let fixture = Fixture::configured(balanced());
    let mut session = fixture.greeted();
    session.expect(named("192.0.2.7").trim_end(), 500);
    session.expect("USER u", 331);
    session.expect("PASS p", 230);
    assert_eq!(fixture.server.sessions()[0].peer.ip(), Ipv4Addr::LOCALHOST);
    let mut session = fixture.greeted();
    session.send(binary(0x21, 0x11, &[0; 12]));
    assert!(session.reply().code >= 500);
    // Without networks, the balancer is a client like any other.
    let fixture = Fixture::new();
    let mut session = through(&fixture, named("192.0.2.7"));
    session.expect_reply(220);
    session.expect_reply(500);
    assert_eq!(fixture.server.sessions()[0].peer.ip(), BALANCER);
}

#[test]
fn a_missing_or_invalid_proxy_header_is_refused_without_delaying_others() {
    let seen = Seen::default();
    let fixture = Fixture::with(|builder| builder.config(balanced()).observer(seen.clone()));
    let cut = named("192.0.2.7");
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
    let bad = [
        b"USER u\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00".to_vec(),
        b"PROXY TCP4 192.0.2.7 198.51.100.1 50000\r\n".to_vec(),
        long.into_bytes(),
        vec![b'P'; 5_000],
        binary(0x21, 0x11, &[0; 11]),
        binary(0x21, 0x11, &[0; 600]),
        binary(0x2f, 0x11, &[0; 12]),
        named("0.0.0.0").into_bytes(),
        named("224.0.0.1").into_bytes(),
        // From here on, the header ends too early or not in time.
        b"PROXY TCP4 192.0.2.7 ".to_vec(),
        binary(0x21, 0x11, &[0; 12])[..20].to_vec(),
        Vec::new(),
        cut.as_bytes()[..cut.len() - 1].to_vec(),
    ];
    let count = bad.len();
    at_once(count, bad.into_iter().enumerate(), |(number, bytes)| {
        let mut session = through(&fixture, &bytes);
        if number == 11 || number == 12 {
            session.stream().shutdown(Shutdown::Write).unwrap();
        }
        // Others are served meanwhile.
        logged_in(&fixture, named("192.0.2.9")).expect("QUIT", 221);
        RawSession::login(fixture.server.local_addr(), "u", "p").expect("QUIT", 221);
        // Unread bytes may reset the connection before the reply is read.
        if let Ok(reply) = session.try_reply() {
            assert_eq!(reply.code, 421, "{number}: {reply:?}");
        }
    });
    wait_until("all are reported", || seen.refused.lock().unwrap().len() == count);
    let refused = seen.refused.lock().unwrap();
    assert!(refused.iter().all(|refused| *refused == (BALANCER, Refusal::Header)), "{refused:?}");
}

#[test]
fn port_probes_without_a_proxy_header_are_not_logged() {
    let seen = Seen::default();
    let fixture = Fixture::with(|builder| builder.config(balanced()).observer(seen.clone()));
    for _ in 0..3 {
        drop(through(&fixture, ""));
        through(&fixture, "").reset();
    }
    wait_until("they are gone", || fixture.server.sessions().is_empty());
    assert!(seen.refused.lock().unwrap().is_empty());
    // A server that stops does not wait for headers.
    let waiting = at_last("both wait", || {
        let begun = Instant::now();
        let waiting = [through(&fixture, ""), through(&fixture, "PROXY ")];
        while begun.elapsed() < HEADER {
            if fixture.server.sessions().len() == 2 {
                return Some(waiting);
            }
            std::thread::yield_now();
        }
        None
    });
    let report = fixture.server.shutdown(Duration::from_secs(600));
    assert_eq!((report.cut, report.stuck), (0, 0));
    drop(waiting);
}

#[test]
fn failed_logins_ban_the_client_not_the_balancer() {
    let logins = balanced().logins.ban_after(2);
    let fixture = Fixture::configured(balanced().logins(logins));
    let mut guessing = through(&fixture, named("192.0.2.7"));
    guessing.expect_reply(220);
    for code in [530, 530] {
        guessing.expect("USER u", 331);
        guessing.expect("PASS wrong", code);
    }
    let banned: Vec<IpAddr> = fixture.server.bans().into_iter().map(|(host, _)| host).collect();
    assert_eq!(banned, [IpAddr::from([192, 0, 2, 7])]);
    for header in [named("192.0.2.7"), "PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n".to_owned()] {
        let reply = through(&fixture, header).expect_reply(421).text();
        assert!(reply.contains("Too many failed logins"), "{reply}");
    }
    logged_in(&fixture, named("192.0.2.8")).expect_in_step();
    assert!(fixture.server.unban([192, 0, 2, 7].into()));
    logged_in(&fixture, named("192.0.2.7")).expect_in_step();
}

#[test]
fn limits_and_allow_lists_apply_to_the_client_not_the_balancer() {
    let fixture = Fixture::configured(
        balanced()
            .limits(Limits::new().per_address(1))
            .allow([network("192.0.2.0/24"), network("2001:db8::/32")])
            .deny([network("192.0.2.66")]),
    );
    let first = logged_in(&fixture, named("192.0.2.7"));
    let second = logged_in(&fixture, named("192.0.2.8"));
    through(&fixture, named("192.0.2.7")).expect_reply(421);
    through(&fixture, named("192.0.2.66")).expect_reply(421);
    through(&fixture, named("203.0.113.1")).expect_reply(421);
    // Without a known client the balancer counts, which is not allowed; its own checks are let in.
    through(&fixture, "PROXY UNKNOWN\r\n").expect_reply(421);
    for _ in 0..3 {
        through(&fixture, binary(0x20, 0, &[])).expect_reply(220);
    }
    drop(first);
    wait_until("the place is free", || through(&fixture, named("192.0.2.7")).reply().code == 220);
    drop(second);
}

#[test]
fn changed_proxy_networks_apply_to_new_connections() {
    let fixture = Fixture::configured(balanced());
    let mut early = logged_in(&fixture, named("192.0.2.7"));
    fixture.server.reconfigure(super::quick(), UserTable::new()).unwrap();
    through(&fixture, "").expect_reply(220);
    early.expect_in_step();
    fixture.server.reconfigure(balanced(), UserTable::new()).unwrap();
    through(&fixture, named("192.0.2.7")).expect_reply(220);
}

#[test]
fn data_connections_require_the_header_or_address_of_the_client() {
    let client: IpAddr = [127, 0, 0, 3].into();
    let fixture = Fixture::configured(balanced());
    fixture.write("a", "a");
    let header = named("127.0.0.3");
    let mut session = logged_in(&fixture, &header);
    let reply = session.expect("PASV", 227).text();
    assert!(reply.contains("(198,51,100,1,"), "the address that the client knows: {reply}");
    // The balancer without a header or with that of another client, its own check, and others.
    for first in ["", "garbage that is long enough", &named("127.0.0.4"), "PROXY UNKNOWN\r\n"] {
        let address = passive_address(&mut session);
        let mut data = RawData::connect_from(BALANCER, address);
        data.write_all(first.as_bytes());
        let stranger = RawData::connect_from([127, 0, 0, 4].into(), address);
        if first.is_empty() {
            data.stream().shutdown(Shutdown::Write).unwrap();
        }
        let mut right = RawData::connect_from(BALANCER, address);
        right.write_all(header.as_bytes());
        session.expect("RETR a", 150);
        assert_eq!(right.read_to_end(), b"a", "{first}");
        session.expect_reply(226);
        data.expect_reset();
        stranger.expect_reset();
    }
    // The header goes before the data of an upload, in the same segment.
    let mut data = RawData::connect_from(BALANCER, passive_address(&mut session));
    data.write_all(format!("{header}content").as_bytes());
    session.expect("STOR b", 150);
    data.close();
    session.expect_reply(226);
    assert_eq!(fixture.read("b"), b"content");
    // Past the balancer, in both directions.
    let data = RawData::connect_from(client, passive_address(&mut session));
    session.expect("RETR a", 150);
    assert_eq!(data.read_to_end(), b"a");
    session.expect_reply(226);
    session.expect("PORT 127,0,0,2,200,1", 504);
    let listener = TcpListener::bind((client, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    session.expect(format!("EPRT |1|127.0.0.3|{port}|"), 200);
    session.expect("RETR a", 150);
    let mut got = Vec::new();
    listener.accept().unwrap().0.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"a");
    session.expect_reply(226);
}

#[test]
fn a_transfer_that_waits_for_a_data_header_can_be_aborted() {
    let fixture = Fixture::configured(balanced());
    fixture.write("a", "a");
    let mut session = logged_in(&fixture, named("127.0.0.3"));
    let address = passive_address(&mut session);
    let mut slow = RawData::connect_from(BALANCER, address);
    slow.write_all(b"PROXY TCP4 ");
    session.expect("RETR a", 150);
    session.expect("ABOR", 426);
    session.expect_reply(226);
    assert_eq!(slow.read_to_end(), b"");
    session.expect_in_step();
}

#[test]
fn pasv_uses_the_configured_address_and_the_family_of_the_client() {
    let address = PassiveAddress::Address([203, 0, 113, 9].into());
    let passive = PassivePolicy::new().address(address);
    let fixture = Fixture::configured(balanced().passive(passive));
    let mut session = logged_in(&fixture, named("192.0.2.7"));
    let reply = session.expect("PASV", 227).text();
    assert!(reply.contains("(203,0,113,9,"), "{reply}");
    // The client's family decides, not that of the connection of the balancer.
    let mut session = logged_in(&fixture, "PROXY TCP6 2001:db8::7 2001:db8::1 50000 21\r\n");
    session.expect("PASV", 522);
    session.expect("EPSV 2", 229);
    session.expect("EPSV 1", 522);
    let mut session = through(&fixture, named("192.0.2.7"));
    session.expect_reply(220);
    session.expect("HOST 198.51.100.1", 220);
    session.expect("HOST 127.0.0.1", 504);
}

#[test]
fn a_balancer_is_exempt_from_the_connection_limits_of_a_host() {
    let root = tempfile::tempdir().unwrap();
    let config = balanced().limits(Limits::new().sessions(24).per_address(2));
    let server = Server::builder().root(root.path()).config(config).user("u", "p", Rights::READ);
    let server = server.bind("127.0.0.1:0").unwrap();
    let connect = |header: &str| {
        let mut session = RawSession::connect_from(BALANCER, server.local_addr());
        session.send(header);
        session
    };
    at_last("the headers come in time", || {
        wait_until("nobody is there", || server.sessions().is_empty());
        let begun = Instant::now();
        // Half of the places are for connections without a login; a host may have 4 of these.
        let mut waiting: Vec<_> = (0..12).map(|_| connect("")).collect();
        while server.sessions().len() < 12 {
            if begun.elapsed() >= HEADER {
                return None;
            }
            std::thread::yield_now();
        }
        // One of those without a header gives way to each client.
        for number in 1..=6 {
            connect(&named(&format!("192.0.2.{number}"))).expect_reply(220);
        }
        for (number, session) in waiting.iter_mut().enumerate().skip(6) {
            let is_sent = session.try_send(named(&format!("192.0.3.{number}"))).is_ok();
            let is_in = is_sent && session.try_reply().is_ok_and(|reply| reply.code == 220);
            assert!(is_in || begun.elapsed() >= HEADER, "{}", session.dialogue());
            is_in.then_some(())?;
        }
        Some(())
    });
}

/// Returns a server for eight sessions, four of them without a login and two of these from a host.
fn small(seen: &Seen) -> Fixture {
    let config = balanced().limits(Limits::new().sessions(8)).deny([network("192.0.2.66")]);
    Fixture::with(|builder| builder.config(config).observer(seen.clone()))
}

#[test]
fn a_refused_client_does_not_evict_another_connection() {
    let seen = Seen::default();
    let fixture = small(&seen);
    let greeted = |host: &str| {
        let mut session = through(&fixture, named(host));
        session.expect_reply(220);
        session
    };
    let mut others = ["192.0.2.2", "192.0.2.2", "192.0.2.1", "192.0.2.1"].map(greeted);
    through(&fixture, named("192.0.2.1")).expect_reply(421);
    through(&fixture, named("192.0.2.66")).expect_reply(421);
    through(&fixture, "garbage\r\n").expect_reply(421);
    drop(through(&fixture, ""));
    for session in &mut others {
        session.expect("USER u", 331);
    }
    // A client that may connect takes the place of the oldest one.
    greeted("192.0.2.3").expect("USER u", 331);
    others[0].expect_reply(421);
    others[1].expect("PASS p", 230);
}

#[test]
fn a_client_refused_by_a_full_server_is_reported_by_address() {
    let seen = Seen::default();
    let fixture = small(&seen);
    let number = |number| named(&format!("192.0.2.{number}"));
    let users: Vec<_> = (1..=8).map(|at| logged_in(&fixture, number(at))).collect();
    for (header, host) in
        [(number(9).into_bytes(), IpAddr::from([192, 0, 2, 9])), (binary(0x20, 0, &[]), BALANCER)]
    {
        through(&fixture, header).expect_reply(421);
        wait_until("it is reported", || !seen.refused.lock().unwrap().is_empty());
        assert_eq!(seen.refused.lock().unwrap().pop(), Some((host, Refusal::Full)));
    }
    drop(users);
}

#[test]
fn active_mode_is_refused_if_the_client_address_is_unknown() {
    let fixture = Fixture::configured(balanced());
    fixture.write("a", "a");
    for header in [b"PROXY UNKNOWN\r\n".to_vec(), binary(0x21, 0, &[])] {
        let mut session = logged_in(&fixture, &header);
        for _ in 0..2 {
            session.expect("PORT 127,0,0,2,200,1", 504);
            session.expect("EPRT |1|127.0.0.2|51201|", 504);
            session.expect("REIN", 220);
            session.expect("USER u", 331);
            session.expect("PASS p", 230);
        }
        let mut data = RawData::connect_from(BALANCER, passive_address(&mut session));
        data.write_all(&header);
        session.expect("RETR a", 150);
        assert_eq!(data.read_to_end(), b"a");
        session.expect_reply(226);
    }
}

#[test]
fn tls_starts_after_the_header_and_its_policy_applies_to_the_client() {
    use std::io::Write;
    use std::net::TcpStream;

    use ftp_server::TlsPolicy;
    use ftp_tests::tls::{Authority, Kind, TlsClient};

    let authority = Authority::new();
    let tls = super::tls::tls_of(&authority.issue(Kind::Good));
    let tls = tls.control(TlsPolicy::Required).exempt(vec![network("192.0.2.0/24")]);
    let implicit = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = implicit.local_addr().unwrap();
    let fixture = Fixture::with(|builder| {
        builder.config(balanced()).tls(tls).implicit_tls_listener(implicit)
    });
    let client = TlsClient::trusting(&authority);
    logged_in(&fixture, named("192.0.2.7")).expect_in_step();
    let mut session = through(&fixture, named("198.51.100.7"));
    session.expect_reply(220);
    assert!(session.ask("USER u").code >= 500);
    session.start_tls(&client);
    session.expect("USER u", 331);
    // On the implicit port, with the hello in the same segment, if TCP puts it there.
    let hello = client.hello();
    let mut stream = RawSession::connect_from(BALANCER, address);
    stream.send([named("198.51.100.7").as_bytes(), &hello].concat());
    let mut first = [0; 1];
    let mut tcp = stream.stream();
    tcp.read_exact(&mut first).unwrap();
    assert_eq!(first, [0x16], "a handshake record answers the hello");
    let tcp = RawSession::connect_from(BALANCER, address).stream().try_clone().unwrap();
    (&tcp).write_all(named("198.51.100.7").as_bytes()).unwrap();
    let tls = client.connect(tcp.try_clone().unwrap()).unwrap();
    let mut session = RawSession::over(tcp);
    session.put_on(Box::new(tls));
    session.expect_reply(220);
    session.expect("USER u", 331);
    session.expect("PASS p", 230);
    // Elsewhere a header is no hello, and without a header there is no handshake.
    for (from, first) in [([127, 0, 0, 1], named("192.0.2.7")), ([127, 0, 0, 2], String::new())] {
        let mut stream: TcpStream =
            RawSession::connect_from(from.into(), address).stream().try_clone().unwrap();
        stream.write_all(&[first.as_bytes(), &hello].concat()).unwrap();
        let mut said = Vec::new();
        let _reset = stream.read_to_end(&mut said);
        assert!(!said.starts_with(b"\x16") && !said.starts_with(b"220"), "{said:?}");
    }
}
