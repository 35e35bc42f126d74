//! Greedy clients that hold everything scarce, and a newcomer from elsewhere.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use ftp_proto::Network;
use ftp_server::ServerConfig;
use ftp_tests::port::OwnPorts;
use ftp_tests::raw::{RawData, RawReply, RawSession};

use super::Fixture;

/// The address of a balancer, which can name any client.
const BALANCER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 2));

/// The time in which a newcomer must log in, list and transfer.
const AT_ONCE: Duration = Duration::from_secs(2);

/// The clients of one greedy host, of two, and of many networks of one site.
fn greedy() -> [Box<dyn Fn(usize) -> String>; 3] {
    [
        Box::new(|_| "192.0.2.1".to_owned()),
        Box::new(|number| format!("192.0.2.{}", 1 + number % 2)),
        Box::new(|number| format!("2001:db8:0:{number:x}::1")),
    ]
}

struct Balanced {
    fixture: Fixture,
    _own: OwnPorts,
}

/// Returns a server with few of everything, behind a balancer.
fn balanced() -> Balanced {
    let ports = OwnPorts::claim(10);
    let config: ServerConfig = super::quick_with(|config| {
        config.proxy_protocol = vec![Network::parse(b"127.0.0.2/32").expect("a network")];
        config.passive.ports = Some(ports.ranges());
        config.limits.sessions = 40;
        config.limits.per_address = 0;
    });
    let fixture = Fixture::configured(config);
    fixture.write("a", "content");
    Balanced { fixture, _own: ports }
}

impl Balanced {
    /// Returns a new connection of a client.
    fn connect(&self, client: &str) -> RawSession {
        let mut session = RawSession::connect_from(BALANCER, self.fixture.server.local_addr());
        let header = match client.parse().expect("an address") {
            IpAddr::V4(_) => format!("PROXY TCP4 {client} 198.51.100.1 50000 21\r\n"),
            IpAddr::V6(_) => format!("PROXY TCP6 {client} 2001:db8:ffff::1 50000 21\r\n"),
        };
        session.send(header);
        session
    }

    /// Returns a logged-in session of a client, or the reply that refuses it.
    fn log_in(&self, client: &str) -> Result<RawSession, RawReply> {
        let mut session = self.connect(client);
        let greeting = session.reply();
        if greeting.code != 220 {
            return Err(greeting);
        }
        session.expect("USER u", 331);
        session.expect("PASS p", 230);
        Ok(session)
    }

    /// Logs in, lists, and transfers both ways.
    fn use_as(&self, client: &str) {
        let mut session = self.log_in(client).expect("a session");
        for (line, content) in [("NLST a", &b"a\r\n"[..]), ("RETR a", b"content")] {
            let mut data = self.data(&mut session);
            session.line(line);
            data.greet(client);
            session.expect_reply(150);
            assert_eq!(data.0.read_to_end(), content);
            session.expect_reply(226);
        }
        session.expect("HASH a", 213);
        session.expect("QUIT", 221);
    }

    fn data(&self, session: &mut RawSession) -> Data {
        let reply = session.expect("EPSV", 229);
        let port = session.data_address(&reply).port();
        let address = SocketAddr::new(self.fixture.server.local_addr().ip(), port);
        Data(RawData::connect_from(BALANCER, address))
    }
}

/// A data connection of the balancer.
struct Data(RawData);

impl Data {
    fn greet(&mut self, client: &str) {
        self.0.write_all(format!("PROXY TCP4 {client} 198.51.100.1 50001 20\r\n").as_bytes());
    }
}

/// Checks that newcomers are served at once while others hold what `occupy` takes.
#[track_caller]
fn newcomers_are_served_at_once<T>(occupy: impl Fn(&Balanced, &dyn Fn(usize) -> String) -> T) {
    for client in greedy() {
        let balanced = balanced();
        let _occupied = occupy(&balanced, &client);
        // On a busy machine, one of many is enough.
        let mut times = Vec::new();
        let is_soon = (7..30).any(|last| {
            let begun = Instant::now();
            balanced.use_as(&format!("198.51.100.{last}"));
            times.push(begun.elapsed());
            times.last().is_some_and(|time| *time < AT_ONCE)
        });
        assert!(is_soon, "{times:?}: {}", client(0));
    }
}

#[test]
fn logged_in_sessions_of_one_network_keep_no_other_out_ho_09_st_12() {
    newcomers_are_served_at_once(|balanced, client| {
        let sessions: Vec<_> = (0..60).map_while(|at| balanced.log_in(&client(at)).ok()).collect();
        assert!(sessions.len() >= 35, "{}", sessions.len());
        sessions
    });
}

#[test]
fn ports_without_a_client_keep_no_other_from_its_files_hd_09() {
    newcomers_are_served_at_once(|balanced, client| {
        let sessions = (0..12).map(|number| {
            let mut session = balanced.log_in(&client(number)).expect("a session");
            session.line("EPSV");
            session.line("RETR a");
            session
        });
        sessions.collect::<Vec<_>>()
    });
}

#[test]
fn silent_connections_of_one_network_keep_no_other_out_ho_09_st_12() {
    newcomers_are_served_at_once(|balanced, client| {
        let connect = |number| {
            let mut session = balanced.connect(&client(number));
            // Before its header is read, a connection has no network.
            session.reply();
            session
        };
        (0..60).map(connect).collect::<Vec<_>>()
    });
}

#[test]
fn digests_without_end_delay_no_other_cm_126_hs_37() {
    newcomers_are_served_at_once(|balanced, client| {
        let large = std::fs::File::create(balanced.fixture.path("large")).expect("a file");
        large.set_len(7 << 30).expect("a sparse file");
        let sessions = (0..8).map(|number| {
            let mut session = balanced.log_in(&client(number)).expect("a session");
            (0..20).for_each(|_| session.line("HASH large"));
            session
        });
        sessions.collect::<Vec<_>>()
    });
}
