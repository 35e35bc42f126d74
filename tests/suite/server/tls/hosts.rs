//! Virtual hosts: the choice by `HOST` (RFC 7151) and by the TLS server name (RFC 6066).

use std::sync::Arc;

use ftp_proto::HostName;
use ftp_server::{
    Authenticator, Login, LoginAttempt, MemoryStorage, Rights, Server, SessionReuse, VirtualHost,
};
use ftp_tests::raw::RawSession;
use ftp_tests::tls::{Authority, Handshake, Kind, Pair, TlsClient, Version};

use super::super::play;
use super::tls_of;

const A: &str = "a.example.invalid";
const B: &str = "b.example.invalid";

/// Accepts anybody.
struct Anybody;

impl Authenticator for Anybody {
    fn login(&self, _attempt: &LoginAttempt<'_>) -> Result<Login, ftp_server::AuthError> {
        Ok(Login::new(Arc::new(MemoryStorage::new()), Rights::FULL))
    }
}

/// A server with two hosts and a certificate for each.
struct Hosts {
    server: Server,
    authority: Authority,
    own: Pair,
    a: Pair,
    b: Pair,
}

fn name(text: &str) -> HostName {
    HostName::parse(text.as_bytes()).unwrap()
}

impl Hosts {
    fn new(reuse: SessionReuse) -> Self {
        let authority = Authority::new();
        let [own, a, b] =
            [Kind::Good, Kind::Named(A), Kind::Named(B)].map(|kind| authority.issue(kind));
        let tls = tls_of(&own).host(name(A), &tls_of(&a)).host(name(B), &tls_of(&b));
        let hosts = vec![VirtualHost::new(name(A)).banner("This is A"), VirtualHost::new(name(B))];
        let config = super::super::quick().hosts(hosts);
        let server = Server::builder()
            .config(config)
            .authenticator(Anybody)
            .tls(tls.session_reuse(reuse))
            .implicit_tls("127.0.0.1:0".parse().unwrap())
            .bind("127.0.0.1:0")
            .unwrap();
        Self { server, authority, own, a, b }
    }

    fn greeted(&self) -> RawSession {
        RawSession::greeted(self.server.local_addr())
    }

    /// Returns the host of the only session, after a login.
    #[track_caller]
    fn host_of(&self, session: &mut RawSession) -> Option<String> {
        play(session, &[("USER u", 331), ("PASS p", 230)]);
        let port = session.stream().local_addr().unwrap().port();
        let sessions = self.server.sessions();
        let found = sessions.into_iter().find(|session| session.peer.port() == port).unwrap();
        found.host.map(|host| host.to_string())
    }
}

#[track_caller]
fn is(shaken: &Handshake, pair: &Pair) {
    assert!(shaken.certificate.as_deref() == Some(&pair.certificate()[..]), "another certificate");
}

#[test]
fn the_server_name_selects_the_certificate_and_the_host_cm_23_cm_25() {
    for version in Version::ALL {
        let hosts = Hosts::new(SessionReuse::Require);
        for (asked, pair) in [(A, &hosts.a), (B, &hosts.b)] {
            let client = TlsClient::trusting(&hosts.authority).version(version).name(asked);
            let mut session = hosts.greeted();
            is(&session.start_tls(&client), pair);
            assert_eq!(hosts.host_of(&mut session).as_deref(), Some(asked));
            session.protect();
            session.tls_upload(&client, "STOR f", asked.as_bytes());
            let mut data = session.tls_data(&client, "RETR f");
            assert!(data.shaken().resumed);
            assert_eq!(data.read_to_its_end().0, asked.as_bytes());
            let _gone = data.finish();
            session.expect_reply(226);
        }
        // Another HOST than that name is none of this connection, and changes nothing.
        let client = TlsClient::trusting(&hosts.authority).version(version).name(A);
        let mut session = hosts.greeted();
        session.start_tls(&client);
        play(&mut session, &[(&*format!("HOST {B}"), 504), ("HOST 127.0.0.1", 504)]);
        assert_eq!(session.ask("HOST A.Example.INVALID").text(), "220 This is A");
        play(&mut session, &[(&*format!("HOST {B}"), 504)]);
        assert_eq!(hosts.host_of(&mut session).as_deref(), Some(A));
        // An unknown name: the server itself.
        let client = TlsClient::trusting(&hosts.authority).version(version).name("localhost");
        let mut session = hosts.greeted();
        is(&session.start_tls(&client), &hosts.own);
        play(&mut session, &[("HOST localhost", 504), (&*format!("HOST {A}"), 504)]);
        assert_eq!(hosts.host_of(&mut session), None);
        // So is one that no host can have.
        let client =
            TlsClient::trusting_any_certificate().version(version).name("ftp_a.example.invalid");
        let mut session = hosts.greeted();
        is(&session.start_tls(&client), &hosts.own);
        play(&mut session, &[(&*format!("HOST {A}"), 504)]);
        assert_eq!(hosts.host_of(&mut session), None);
    }
}

#[test]
fn host_before_auth_applies_unless_tls_names_another_cm_23_cm_25() {
    for version in Version::ALL {
        let hosts = Hosts::new(SessionReuse::Observe);
        let anybody = TlsClient::trusting_any_certificate().version(version);
        // An address is no server name.
        let unnamed = anybody.clone().name("127.0.0.1");
        let begun = |host: &str| {
            let mut session = hosts.greeted();
            session.expect(format!("HOST {host}"), 220);
            session
        };
        let mut session = begun(A);
        is(&session.start_tls(&unnamed), &hosts.a);
        assert_eq!(hosts.host_of(&mut session).as_deref(), Some(A));
        // Data connections show the same certificate, whatever they ask for.
        session.protect();
        for client in [&unnamed, &anybody.clone().name(B), &anybody.clone().name("x.invalid")] {
            let mut data = session.tls_data(client, "NLST");
            is(&data.shaken(), &hosts.a);
            drop(data.read_to_its_end());
            let _gone = data.finish();
            session.expect_reply(226);
        }
        // After TLS without a name, HOST still chooses the users, as without TLS.
        let mut session = hosts.greeted();
        is(&session.start_tls(&unnamed), &hosts.own);
        play(&mut session, &[(&*format!("HOST {B}"), 220), ("HOST c.invalid", 504)]);
        assert_eq!(hosts.host_of(&mut session), None);
        for (host, asked, pair, want) in [
            (A, A, &hosts.a, Some(A)),
            (B, A, &hosts.a, Some(A)),
            (B, "x.invalid", &hosts.own, None),
            // No host can have this name, and the HOST from before TLS yields to it all the same.
            (B, "ftp_a.example.invalid", &hosts.own, None),
            ("127.0.0.1", B, &hosts.b, Some(B)),
        ] {
            let mut session = begun(host);
            is(&session.start_tls(&anybody.clone().name(asked)), pair);
            assert_eq!(hosts.host_of(&mut session).as_deref(), want, "{host} {asked}");
        }
    }
}

#[test]
fn rein_resets_the_selected_host_cm_17_cm_19() {
    let hosts = Hosts::new(SessionReuse::Observe);
    let mut session = hosts.greeted();
    session.expect(format!("HOST {A}"), 220);
    assert_eq!(hosts.host_of(&mut session).as_deref(), Some(A));
    session.expect("REIN", 220);
    assert_eq!(hosts.host_of(&mut session), None);
    session.expect("REIN", 220);
    // AUTH TLS keeps the host of a login before it; the next login is there again.
    session.expect(format!("HOST {B}"), 220);
    assert_eq!(hosts.host_of(&mut session).as_deref(), Some(B));
    is(&session.start_tls(&TlsClient::trusting_any_certificate().name("127.0.0.1")), &hosts.b);
    assert_eq!(hosts.host_of(&mut session).as_deref(), Some(B));
}

#[test]
fn the_implicit_tls_greeting_depends_on_the_server_name_tl_03() {
    let hosts = Hosts::new(SessionReuse::Observe);
    let address = hosts.server.implicit_addrs().next().unwrap();
    for (asked, greeting, pair) in [
        (A, "220 This is A", &hosts.a),
        (B, "220 Service ready", &hosts.b),
        ("localhost", "220 Service ready", &hosts.own),
    ] {
        let client = TlsClient::trusting(&hosts.authority).name(asked);
        let (mut session, shaken) = RawSession::implicit_unread(address, &client);
        is(&shaken, pair);
        assert_eq!(session.reply().text(), greeting);
    }
}
