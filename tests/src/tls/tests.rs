//! Tests of these tools against each other, and against other servers.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;

use super::{Authority, End, Kind, Secured, TlsClient, TlsServer, TlsStream, Version};
use crate::peer::RealServer;
use crate::raw::RawSession;

/// Both ends of a connection after a handshake, successful or not.
fn meet(
    client: &TlsClient,
    server: &TlsServer,
) -> (std::io::Result<TlsStream>, std::io::Result<TlsStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::scope(|scope| {
        let serving = scope.spawn(|| server.accept(listener.accept().unwrap().0));
        (client.connect(TcpStream::connect(address).unwrap()), serving.join().unwrap())
    })
}

fn met(client: &TlsClient, server: &TlsServer) -> (TlsStream, TlsStream) {
    let (client, server) = meet(client, server);
    (client.unwrap(), server.unwrap())
}

#[test]
fn tls_peers_exchange_data_and_see_how_the_stream_ends() {
    let authority = Authority::new();
    let pair = authority.issue(Kind::Good);
    let say_end = |stream: &mut TlsStream, end| match end {
        End::CloseNotify => stream.finish().unwrap(),
        End::Fin => stream.cut().unwrap(),
        End::Reset => unreachable!("no end that leaves the connection"),
    };
    for version in Version::ALL {
        let client = TlsClient::trusting(&authority).version(version);
        let server = TlsServer::showing(&pair).alpn(&["ftp"]);
        for want in [End::CloseNotify, End::Fin] {
            let (mut near, mut far) = met(&client, &server);
            let (near_shaken, far_shaken) = (near.shaken(), far.shaken());
            assert_eq!((near_shaken.version, far_shaken.version), (version, version));
            assert_eq!(far_shaken.alpn.as_deref(), Some(&b"ftp"[..]));
            assert_eq!(far_shaken.server_name.as_deref(), Some("localhost"));
            assert_eq!(near_shaken.certificate.as_deref(), Some(&pair.certificate()[..]));
            near.write_all(b"up").unwrap();
            say_end(&mut near, want);
            assert_eq!(far.read_to_its_end(), (b"up".to_vec(), want));
            far.write_all(b"down").unwrap();
            say_end(&mut far, want);
            assert_eq!(near.read_to_its_end(), (b"down".to_vec(), want));
        }
        let (near, mut far) = met(&client, &server);
        near.reset();
        assert_eq!(far.read_to_its_end().1, End::Reset);
    }
}

#[test]
fn records_are_sent_one_by_one() {
    let authority = Authority::new();
    let server = TlsServer::showing(&authority.issue(Kind::Good)).tickets(0);
    let plain = vec![b'x'; 40_000];
    for count in 0..=3 {
        let (mut near, mut far) = met(&TlsClient::trusting(&authority), &server);
        let records = near.records(&plain);
        assert_eq!(records.len(), 3, "records of up to 16,384 bytes");
        for record in &records[..count] {
            near.inject(record).unwrap();
        }
        near.cut().unwrap();
        let want = (plain[..plain.len().min(count * 16_384)].to_vec(), End::Fin);
        assert_eq!(far.read_to_its_end(), want);
    }
    let (mut near, mut far) = met(&TlsClient::trusting(&authority), &server);
    let goodbye = near.close_notify_record();
    near.inject(&goodbye).unwrap();
    assert_eq!(far.read_to_its_end(), (Vec::new(), End::CloseNotify));
    let (mut near, mut far) = met(&TlsClient::trusting(&authority), &server);
    far.inject(b"200 in clear\r\n").unwrap();
    assert_eq!(near.read(&mut [0; 9]).unwrap_err().kind(), ErrorKind::InvalidData);
}

#[test]
fn each_certificate_has_the_fault_that_it_was_issued_for() {
    let authority = Authority::new();
    let client = TlsClient::trusting(&authority);
    for (kind, want) in [
        (Kind::Good, None),
        (Kind::EndsSoon, None),
        (Kind::Expired, Some("certificate expired")),
        (Kind::NotYetValid, Some("certificate not valid yet")),
        (Kind::OtherName, Some("certificate not valid for name \"localhost\"")),
        (Kind::OtherUsage, Some("does not allow extended key usage")),
        (Kind::Client("joe"), Some("does not allow extended key usage")),
        (Kind::SelfSigned, Some("UnknownIssuer")),
        (Kind::SelfSignedAuthority, Some("CaUsedAsEndEntity")),
    ] {
        let server = TlsServer::showing(&authority.issue(kind));
        let said = meet(&client, &server).0.err().map(|error| error.to_string());
        match (&said, want) {
            (None, None) => {}
            (Some(said), Some(want)) if said.contains(want) => {}
            _ => panic!("{kind:?}: {said:?}, and not {want:?}"),
        }
        assert!(meet(&TlsClient::trusting_any_certificate(), &server).0.is_ok(), "{kind:?}");
    }
    let stranger = TlsServer::showing(&Authority::new().issue(Kind::Good));
    assert!(meet(&client, &stranger).0.is_err());
}

#[test]
fn sessions_are_resumed_until_they_are_forgotten() {
    let authority = Authority::new();
    let server = TlsServer::showing(&authority.issue(Kind::Good)).tickets(4);
    for version in Version::ALL {
        let client = TlsClient::trusting(&authority).version(version);
        let resumed = || {
            let (mut near, mut far) = met(&client, &server);
            far.finish().unwrap();
            // The client reads tickets together with the data after them.
            assert_eq!(near.read_to_its_end().1, End::CloseNotify);
            (near.shaken().resumed, far.shaken().resumed)
        };
        assert_eq!(resumed(), (false, false), "{version:?}");
        let tickets = if version == Version::V1_3 { 4 } else { 0 };
        assert_eq!(client.sessions().seen(), tickets);
        assert_eq!(client.sessions().count(), tickets.max(1));
        assert_eq!(resumed(), (true, true), "{version:?}");
        client.sessions().forget();
        assert_eq!(resumed(), (false, false), "{version:?}");
        client.sessions().keep_none();
        assert_eq!(resumed(), (false, false), "{version:?}");
    }
}

#[test]
fn the_tls_server_requires_a_client_certificate() {
    let authority = Authority::new();
    let server =
        TlsServer::showing(&authority.issue(Kind::Good)).clients_of(&authority, true).tickets(0);
    let joe = authority.issue(Kind::Client("joe"));
    let (_, far) = met(&TlsClient::trusting(&authority).certificate(&joe), &server);
    assert_eq!(far.shaken().certificate.as_deref(), Some(&joe.certificate()[..]));
    assert!(meet(&TlsClient::trusting(&authority), &server).1.is_err());
}

/// The abilities of another server.
struct Other {
    start: fn(Secured<'_>) -> Option<RealServer>,
    implicit: bool,
    reuse: bool,
}

#[test]
fn vsftpd_speaks_tls() {
    let start = |secured: Secured<'_>| RealServer::vsftpd_tls(Ipv4Addr::LOCALHOST, secured);
    Other { start, implicit: true, reuse: true }.is_met();
}

#[test]
fn proftpd_speaks_tls() {
    let start = |secured: Secured<'_>| RealServer::proftpd_tls(Ipv4Addr::LOCALHOST, secured);
    Other { start, implicit: true, reuse: true }.is_met();
}

#[test]
fn pure_ftpd_speaks_tls() {
    let start = |secured: Secured<'_>| RealServer::pure_ftpd_tls(Ipv4Addr::LOCALHOST, secured);
    Other { start, implicit: false, reuse: false }.is_met();
}

#[test]
fn pyftpdlib_speaks_tls() {
    let start = |secured: Secured<'_>| RealServer::pyftpdlib_tls(Ipv4Addr::LOCALHOST, secured);
    Other { start, implicit: true, reuse: false }.is_met();
}

impl Other {
    #[track_caller]
    fn is_met(&self) {
        let authority = Authority::new();
        let pair = authority.issue(Kind::Good);
        for version in Version::ALL {
            for implicit in [false, true] {
                for reuse in [false, true] {
                    let secured = Secured { version: Some(version), implicit, reuse, pair: &pair };
                    let can = (self.implicit || !implicit) && (self.reuse || !reuse);
                    let Some(server) = can.then(|| (self.start)(secured)).flatten() else {
                        continue;
                    };
                    transfers(&server, &authority, secured);
                }
            }
        }
    }
}

/// Uploads and downloads a file, with a client that accepts both versions.
#[track_caller]
fn transfers(server: &RealServer, authority: &Authority, secured: Secured<'_>) {
    let client = TlsClient::trusting(authority);
    let mut session = if secured.implicit {
        RawSession::implicit(server.address, &client)
    } else {
        let mut session = RawSession::greeted(server.address);
        let shaken = session.start_tls(&client);
        assert_eq!(Some(shaken.version), secured.version, "{secured:?}");
        session
    };
    session.expect(format!("USER {}", server.user), 331);
    session.expect(format!("PASS {}", server.password), 230);
    session.protect();
    session.expect("TYPE I", 200);
    let data = session.passive();
    session.line("STOR file");
    let begun = session.reply();
    assert!(matches!(begun.code, 125 | 150), "{begun:?}");
    let mut tls = data.tls(&client);
    assert_eq!(Some(tls.shaken().version), secured.version, "{secured:?}");
    if secured.reuse {
        assert!(tls.shaken().resumed, "{secured:?}");
    }
    tls.write_all(b"content").unwrap();
    tls.finish().unwrap();
    drop(tls.read_to_its_end());
    session.expect_reply(226);
    assert_eq!(server.root.read("file"), b"content", "{secured:?}");
    if secured.reuse {
        client.sessions().forget();
        let data = session.passive();
        session.line("RETR file");
        let mut reply = session.reply();
        if reply.code == 150 {
            // Whether the handshake or the first read fails, no byte may arrive.
            if let Ok(mut tls) = client.connect(data.into_stream()) {
                assert_eq!(tls.read_to_its_end().0, b"", "{secured:?}");
            }
            reply = session.reply();
        }
        assert!(reply.code >= 400, "reuse is required: {secured:?}: {reply:?}");
    }
}
