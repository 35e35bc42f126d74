//! Data connections whose handshake the server begins (`SSCN`), as copies between servers need. The
//! test is the other server.

use std::io::Write;
use std::net::Ipv4Addr;
use std::time::Duration;

use ftp_proto::Network;
use ftp_server::{Rights, Server, ServerConfig, Tls, TlsPolicy};
use ftp_tests::raw::{DEADLINE, RawData, RawSession};
use ftp_tests::root::TempRoot;
use ftp_tests::site::OurServer;
use ftp_tests::tls::{Authority, End, Kind, TlsClient, TlsServer, Version};
use ftp_tests::wait::patiently;

use super::super::block::read_file;
use super::super::play;
use super::tls_of;

/// Starts a server that shows a certificate of this kind, for users with these rights.
fn server_with(
    tls: Tls,
    networks: &[&str],
    rights: Rights,
    adjust: impl FnOnce(&mut ServerConfig),
) -> OurServer {
    let networks = networks.iter().map(|text| Network::parse(text.as_bytes()).unwrap());
    let mut config = ServerConfig::new().fxp_networks(Vec::from_iter(networks));
    adjust(&mut config);
    OurServer::at(Ipv4Addr::LOCALHOST, Server::builder().config(config).tls(tls), rights)
}

/// Starts a server that trusts the servers that `trust` names.
fn server(trust: impl FnOnce(Tls) -> Tls) -> OurServer {
    let tls = trust(tls_of(&Authority::new().issue(Kind::Good)));
    server_with(tls, &["127.0.0.0/8"], Rights::FULL | Rights::FXP, |_| {})
}

/// Returns a session under TLS with protected data, in type I, where the server begins handshakes.
fn session(server: &OurServer) -> RawSession {
    let client = TlsClient::trusting_any_certificate();
    let mut session = RawSession::secure(server.address, &client, server.user, server.password);
    play(&mut session, &[("TYPE I", 200), ("SSCN ON", 200)]);
    session
}

/// Opens a data connection for `command`: the server listens, or connects.
fn open(session: &mut RawSession, command: &str, connects: bool) -> RawData {
    if connects {
        let listener = session.active();
        session.expect(command, 150);
        return listener.accept();
    }
    let data = session.passive();
    session.expect(command, 150);
    data
}

/// Sends a file as the other server, whatever the handshake brings.
fn offer(session: &mut RawSession, other: &TlsServer) {
    let data = open(session, "STOR f", false).into_stream();
    if let Ok(mut data) = other.accept(data) {
        let _ = data.write_all(b"content").and_then(|()| data.finish());
    }
}

#[test]
fn sscn_needs_tls_a_trusted_server_and_the_right_cm_73() {
    let trusting = server(|tls| tls.sscn_any(true));
    let client = TlsClient::trusting_any_certificate();
    let mut session = RawSession::greeted(trusting.address);
    session.expect("SSCN", 530);
    session.expect(format!("USER {}", trusting.user), 331);
    session.expect(format!("PASS {}", trusting.password), 230);
    session.expect("SSCN ON", 503);
    session.start_tls(&client);
    session.expect(format!("USER {}", trusting.user), 331);
    session.expect(format!("PASS {}", trusting.password), 230);
    assert!(session.expect("FEAT", 211).text().contains(" SSCN"));
    let says = |session: &mut RawSession, line: &str, want: &str| {
        assert_eq!(session.expect(line, 200).text().trim_end(), format!("200 {want}"), "{line}");
    };
    let (as_client, as_server) = ("SSCN:CLIENT METHOD", "SSCN:SERVER METHOD");
    says(&mut session, "SSCN", as_server);
    says(&mut session, "SSCN OFF", as_server);
    session.expect("SSCN ON", 503);
    session.protect();
    let state = |session: &mut RawSession| session.expect("STAT", 211).text().contains("SSCN ON");
    assert!(!state(&mut session));
    says(&mut session, "sscn on", as_client);
    assert!(state(&mut session));
    session.expect("SSCN x", 501);
    session.expect("SSCN ONE", 501);
    says(&mut session, "SSCN", as_client);
    // Without effect meanwhile.
    session.expect("PROT C", 200);
    assert!(!state(&mut session));
    says(&mut session, "SSCN OFF", as_server);
    session.expect("PROT P", 200);
    says(&mut session, "SSCN ON", as_client);

    // REIN ends it, with TLS.
    session.expect("REIN", 220);
    session = RawSession::secure(trusting.address, &client, trusting.user, trusting.password);
    says(&mut session, "SSCN", as_server);

    let tls = || tls_of(&Authority::new().issue(Kind::Good));
    let everywhere = &["127.0.0.0/8"][..];
    let both = Rights::FULL | Rights::FXP;
    for (tls, networks, rights, code) in [
        (tls(), everywhere, both, 502),
        (tls().sscn_any(true), &[], both, 502),
        (tls().sscn_any(true).data(TlsPolicy::Off), everywhere, both, 502),
        (tls().sscn_any(true), everywhere, Rights::FULL, 550),
    ] {
        let server = server_with(tls, networks, rights, |_| {});
        let mut session = RawSession::greeted(server.address);
        session.start_tls(&client);
        session.expect(format!("USER {}", server.user), 331);
        session.expect(format!("PASS {}", server.password), 230);
        session.expect("PBSZ 0", 200);
        session.ask("PROT P");
        assert!(!session.expect("FEAT", 211).text().contains("SSCN"), "{code}");
        session.expect("SSCN ON", code);
    }
}

#[test]
fn the_server_starts_the_handshake_whichever_side_connects_cm_73() {
    let authority = Authority::new();
    let root = TempRoot::new();
    let ca = authority.write(&root, "ca.pem");
    let server = server(|tls| tls.sscn_ca_file(&ca).unwrap());
    let pair = authority.issue(Kind::Good);
    let mut session = session(&server);
    for version in Version::ALL {
        let other = TlsServer::showing(&pair).version(version);
        for connects in [false, true] {
            for length in [0, 1, 300_000] {
                let bytes: Vec<u8> = (0_u8..=250).cycle().take(length).collect();
                let data = open(&mut session, "STOR f", connects).into_stream();
                let mut data = other.accept(data).unwrap();
                data.write_all(&bytes).unwrap();
                data.finish().unwrap();
                session.expect_reply(226);
                assert_eq!(server.root.read("f"), bytes);
                let data = open(&mut session, "RETR f", connects).into_stream();
                let mut data = other.accept(data).unwrap();
                assert_eq!(data.read_to_its_end(), (bytes, End::CloseNotify));
                drop(data);
                session.expect_reply(226);
            }
        }
    }
    // Afterwards the client of the session is the TLS client again.
    session.expect("SSCN OFF", 200);
    let client = TlsClient::trusting_any_certificate();
    assert_eq!(session.tls_download(&client, "RETR f").len(), 300_000);
}

#[test]
fn changing_sscn_closes_an_open_data_connection_cm_73_cm_145() {
    let server = server(|tls| tls.sscn_any(true));
    server.root.write("f", b"content");
    let mut session = session(&server);
    session.expect("MODE B", 200);
    let other = TlsServer::showing(&Authority::new().issue(Kind::SelfSigned));
    let data = open(&mut session, "RETR f", false).into_stream();
    let mut data = other.accept(data).unwrap();
    assert_eq!(read_file(&mut data).0, b"content");
    session.expect_reply(250);
    // Nothing changes, and the next file comes.
    play(&mut session, &[("SSCN", 200), ("SSCN ON", 200)]);
    session.expect("RETR f", 125);
    assert_eq!(read_file(&mut data).0, b"content");
    session.expect_reply(250);
    session.expect("SSCN OFF", 200);
    assert_eq!(data.read_to_its_end(), (Vec::new(), End::CloseNotify));
}

#[test]
fn an_upload_without_close_notify_fails_under_sscn_too_cm_73() {
    let server = server(|tls| tls.sscn_any(true));
    let mut session = session(&server);
    let other = TlsServer::showing(&Authority::new().issue(Kind::SelfSigned));
    let data = open(&mut session, "STOR f", false).into_stream();
    let mut data = other.accept(data).unwrap();
    data.write_all(b"content").unwrap();
    data.cut().unwrap();
    session.expect_reply(426);
    assert!(!server.root.join("f").exists());
}

#[test]
fn only_a_trusted_server_is_accepted_under_sscn_cm_73() {
    let (authority, root) = (Authority::new(), TempRoot::new());
    let ca = authority.write(&root, "ca.pem");
    let stranger = Authority::new().issue(Kind::Good);
    let known = authority.issue(Kind::Good);
    let trusting_ca = || server(|tls| tls.sscn_ca_file(&ca).unwrap());
    let pinning = |pin: String| server(move |tls| tls.sscn_pin(&pin).unwrap());
    for (server, other, code) in [
        (trusting_ca(), &known, 226),
        // The client chose the address, so the name does not matter.
        (trusting_ca(), &authority.issue(Kind::OtherName), 226),
        (trusting_ca(), &stranger, 522),
        (trusting_ca(), &authority.issue(Kind::Expired), 522),
        (trusting_ca(), &authority.issue(Kind::NotYetValid), 522),
        (trusting_ca(), &authority.issue(Kind::OtherUsage), 522),
        (pinning(stranger.pin()), &stranger, 226),
        (pinning(stranger.pin()), &known, 522),
        (server(|tls| tls.sscn_any(true)), &stranger, 226),
        (server(|tls| tls.sscn_any(false).sscn_pin(&known.pin()).unwrap()), &stranger, 522),
    ] {
        let mut session = session(&server);
        offer(&mut session, &TlsServer::showing(other));
        session.expect_reply(code);
        // The session goes on, and nothing of the refused file is there.
        session.expect("SIZE f", if code == 226 { 213 } else { 550 });
    }
    let tls = || tls_of(&known);
    for wrong in ["", "sha256//", "sha256//x", "md5//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="]
    {
        tls().sscn_pin(wrong).unwrap_err();
    }
    tls().sscn_ca_file(&root.join("missing.pem")).unwrap_err();
}

#[test]
fn bytes_after_the_end_of_a_download_are_ignored_cm_73() {
    let server = server(|tls| tls.sscn_any(true));
    server.root.write("f", b"content");
    let mut session = session(&server);
    let pair = Authority::new().issue(Kind::Good);
    for version in Version::ALL {
        let other = TlsServer::showing(&pair).version(version);
        let data = open(&mut session, "RETR f", false).into_stream();
        let mut data = other.accept(data).unwrap();
        assert_eq!(data.read_to_its_end(), (b"content".to_vec(), End::CloseNotify));
        // Half of a record, and no record.
        data.inject(b"\x17\x03\x03\x00\x20 half").unwrap();
        data.inject(b"neither").unwrap();
        drop(data);
        session.expect_reply(226);
    }
    // The other server leaves before it has read everything.
    server.root.write("f", &vec![b'x'; 20 << 20]);
    let data = open(&mut session, "RETR f", false).into_stream();
    drop(TlsServer::showing(&pair).accept(data).unwrap());
    session.expect_reply(426);
    session.expect("NOOP", 200);
}

#[test]
fn a_silent_peer_server_fails_with_522_cm_73() {
    // The limit also applies to the handshake of the control connection.
    patiently(Duration::from_millis(300), |limit| {
        let tls = tls_of(&Authority::new().issue(Kind::Good)).sscn_any(true);
        let server = server_with(tls, &["127.0.0.0/8"], Rights::FULL | Rights::FXP, |config| {
            config.timeouts.tls_handshake = limit;
        });
        let mut session = session(&server);
        session.set_deadline(limit + DEADLINE);
        for connects in [false, true] {
            let data = open(&mut session, "STOR f", connects);
            session.expect_reply(522);
            drop(data);
        }
        // Neither is another TLS client, which waits for nothing.
        let mut data = open(&mut session, "STOR f", false);
        data.write_all(&TlsClient::trusting_any_certificate().hello());
        session.expect_reply(522);
        session.expect("NOOP", 200);
    });
}

#[test]
fn the_server_presents_its_certificate_on_request_cm_73() {
    let authority = Authority::new();
    let own = authority.issue(Kind::Client("server"));
    for version in Version::ALL {
        for (issuer, is_welcome) in [(&authority, true), (&Authority::new(), false)] {
            let tls = tls_of(&own).sscn_any(true);
            let rights = Rights::FULL | Rights::FXP;
            let server = server_with(tls, &["127.0.0.0/8"], rights, |_| {});
            server.root.write("f", b"content");
            let mut session = session(&server);
            let pair = Authority::new().issue(Kind::Good);
            let other = TlsServer::showing(&pair).version(version).clients_of(issuer, true);
            let command = if is_welcome { "RETR f" } else { "STOR new" };
            let data = open(&mut session, command, false).into_stream();
            let shaken = other.accept(data);
            assert_eq!(shaken.is_ok(), is_welcome, "{version:?}: {shaken:?}");
            if let Ok(mut data) = shaken {
                assert_eq!(data.read_to_its_end(), (b"content".to_vec(), End::CloseNotify));
                drop(data);
                session.expect_reply(226);
            } else {
                // By TLS 1.3 the handshake ends before the server learns of the refusal.
                let code = session.reply().code;
                assert!([426, 522].contains(&code), "{version:?}: {code}");
            }
        }
    }
}
