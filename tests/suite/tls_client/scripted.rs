//! The client with a scripted peer under TLS that breaks the rules.

use std::io::{Read, Write};
use std::time::Duration;

use ftp_client::error::{CertificateFault, Phase, TlsError};
use ftp_client::{Client, Error, Tls, TlsVersion};
use ftp_tests::tls::{Authority, Kind, TlsServer, Version};
use ftp_tests::wait::patiently;

use super::peer::{Server, explicit, get, sound, timeouts};

#[test]
fn auth_comes_first_and_prot_before_or_after_the_login_cl_01_cl_02_tl_06_tl_08_tl_23() {
    for before_login in [false, true] {
        let (authority, pair, tls) = sound();
        let tls = tls.alpn(&["ftp"]);
        let server = Server::start(move |mut peer| {
            peer.reply("220 ready");
            peer.answer("AUTH TLS", "234 go on");
            assert!(peer.encrypt(&tls));
            let protect = [("PBSZ 0", "200 PBSZ=0"), ("PROT P", "200 private")];
            let log_in = [("USER u", "331 password"), ("PASS p", "230 in")];
            let order = if before_login { [protect, log_in] } else { [log_in, protect] };
            order.concat().into_iter().for_each(|(line, reply)| peer.answer(line, reply));
            // The earlier FEAT is forgotten, like everything else from before.
            peer.answer("FEAT", "211-features\r\n SIZE\r\n211 end");
            peer.answer("QUIT", "221 bye");
        });
        let tls = explicit(&authority).protect_before_login(before_login);
        let mut client = server.log_in(tls);
        let info = client.tls().unwrap().clone();
        assert_eq!(info.version, TlsVersion::V1_3);
        assert!(info.alpn && info.pin == Some(pair.pin()), "{info:?}");
        assert_eq!(info.certificates, [pair.certificate().to_vec()]);
        assert!(client.features().unwrap().has("SIZE"));
        client.quit().unwrap();
        server.end();
    }
}

#[test]
fn the_server_name_and_alpn_are_sent_on_each_connection_tl_06() {
    // An address is not a server name (RFC 6066 §3).
    for (host, name) in [("localhost", Some("localhost")), ("127.0.0.1", None)] {
        for version in Version::ALL {
            let (authority, _, tls) = sound();
            let server =
                Server::secured(tls.version(version).alpn(&["ftp"]), move |mut peer, tls| {
                    let asked = |shaken: ftp_tests::tls::Handshake| {
                        assert_eq!(shaken.server_name.as_deref(), name, "{host} {version:?}");
                        assert_eq!(shaken.alpn.as_deref(), Some(&b"ftp"[..]), "{host} {version:?}");
                    };
                    asked(peer.shaken());
                    peer.image_epsv();
                    peer.answer("RETR a", "150 here it comes");
                    let mut data = peer.secure_data(tls);
                    asked(data.shaken());
                    data.finish().unwrap();
                    peer.reply("226 done");
                    peer.expect_end();
                });
            let builder = Client::builder().timeouts(timeouts()).tls(explicit(&authority));
            let address = format!("{host}:{}", server.address.port());
            let mut client = builder.connect(&address).unwrap();
            client.login("u", "p").unwrap();
            assert_eq!(get(&mut client).unwrap(), b"");
            drop(client);
            server.end();
        }
    }
}

#[test]
fn plaintext_injected_after_the_auth_reply_is_refused_tl_22_ht_02() {
    for injected in ["230 ok\r\n", "220", "\r\n", "\x16\x03\x01"] {
        let (authority, _, _) = sound();
        let server = Server::start(move |mut peer| {
            peer.reply("220 ready");
            peer.expect("AUTH TLS");
            peer.send(format!("234 go on\r\n{injected}"));
            peer.expect_end();
        });
        let error = server.connect(explicit(&authority)).unwrap_err();
        let is_it = matches!(error, Error::Tls(TlsError::InjectedPlaintext));
        assert!(is_it, "{injected:?}: {error}");
        server.end();
    }
}

#[test]
fn no_login_is_sent_unless_auth_succeeds_tl_20_ht_03_ht_04() {
    for (reply, want) in [
        ("500 what?", 500),
        ("502 no", 502),
        ("504 not that", 504),
        ("530 log in first", 530),
        ("534 no", 534),
        ("421 later", 0),
        ("431 later", 431),
        ("450 later", 450),
        ("200 fine", 200),
        ("220 hello again", 220),
        ("230 in", 230),
        ("232 in", 232),
        ("235 done", 235),
        ("334 more", 334),
    ] {
        let (authority, _, _) = sound();
        let server = Server::start(move |mut peer| {
            peer.reply("220 ready");
            peer.answer("AUTH TLS", reply);
            if reply.starts_with('5') {
                // The first reply counts.
                peer.answer("AUTH SSL", "501 no");
            }
            peer.expect_end();
        });
        match server.connect(explicit(&authority)).unwrap_err() {
            Error::Tls(TlsError::Refused(reply)) => assert_eq!(reply.code().value(), want),
            Error::ServiceClosing(_) | Error::Unexpected { .. } => {}
            error => panic!("{reply}: {error:?}"),
        }
        server.end();
    }
    // Silence, and an end.
    for hangs_up in [false, true] {
        let (authority, _, _) = sound();
        let server = Server::start(move |mut peer| {
            peer.reply("220 ready");
            peer.expect("AUTH TLS");
            if !hangs_up {
                peer.expect_end();
            }
        });
        let limits = match hangs_up {
            true => timeouts(),
            false => timeouts().reply(Duration::from_millis(150)),
        };
        let builder = Client::builder().timeouts(limits);
        match server.connect_with(builder, explicit(&authority)).unwrap_err() {
            Error::Timeout(Phase::Reply(_)) if !hangs_up => {}
            Error::Closed if hangs_up => {}
            error => panic!("{error:?}"),
        }
        server.end();
    }
    // A greeting that claims a login.
    let (authority, _, _) = sound();
    let server = Server::start(|mut peer| {
        peer.reply("230 in");
        peer.expect_end();
    });
    assert!(matches!(server.connect(explicit(&authority)), Err(Error::Greeting(_))));
    server.end();
}

#[test]
fn a_server_that_knows_only_auth_ssl_is_asked_for_it_tl_20() {
    let (authority, _, tls) = sound();
    let server = Server::start(move |mut peer| {
        peer.reply("220 ready");
        peer.answer("AUTH TLS", "504 not that");
        peer.answer("AUTH SSL", "234 go on");
        assert!(peer.encrypt(&tls));
        peer.answer("USER u", "331 password");
        peer.answer("PASS p", "230 in");
        peer.answer("PBSZ 0", "200 PBSZ=0");
        peer.answer("PROT P", "200 private");
        peer.answer("QUIT", "221 bye");
    });
    let client = server.log_in(explicit(&authority));
    assert!(client.tls().is_some());
    client.quit().unwrap();
    server.end();
}

#[test]
fn opportunistic_tls_falls_back_to_plaintext_visibly_tl_21_hc_26() {
    for (reply, goes_on) in [
        ("500 what?", true),
        ("502 no", true),
        ("504 not that", true),
        ("534 no", true),
        ("530 log in first", false),
        ("431 later", false),
        ("450 later", false),
        ("200 fine", false),
    ] {
        let server = Server::start(move |mut peer| {
            peer.reply("220 ready");
            peer.answer("AUTH TLS", reply);
            if reply.starts_with('5') {
                peer.answer("AUTH SSL", "501 no");
            }
            if goes_on {
                peer.answer("USER u", "230 in");
            }
            peer.expect_end();
        });
        let (authority, _, _) = sound();
        let tls = Tls::opportunistic().roots([authority.certificate().to_vec()]);
        match server.connect(tls) {
            Ok(mut client) => {
                assert!(goes_on, "{reply}");
                // Before USER.
                let said = client.tls_refusal().unwrap().to_string();
                assert!(reply.starts_with(&said[..3]) && client.tls().is_none(), "{said}");
                client.login("u", "p").unwrap();
            }
            Err(error) => assert!(!goes_on, "{reply}: {error}"),
        }
        server.end();
    }
    // A failed handshake is not a refusal: nothing continues in plaintext.
    let server = Server::start(|mut peer| {
        peer.reply("220 ready");
        peer.answer("AUTH TLS", "234 go on");
        peer.send("500 no\r\n");
        peer.line();
    });
    assert!(matches!(
        server.connect(Tls::opportunistic().accept_invalid_certificates(true)),
        Err(Error::Tls(_))
    ));
    server.end();
}

#[test]
fn no_data_is_transferred_if_protection_is_refused_tl_20_ht_05() {
    for (pbsz, prot) in [
        ("500 what?", "503 no"),
        ("200 PBSZ=0", "534 no"),
        ("200 PBSZ=0", "431 later"),
        ("200 PBSZ=0", "504 not that"),
    ] {
        let (authority, _, tls) = sound();
        let server = Server::start(move |mut peer| {
            peer.reply("220 ready");
            peer.answer("AUTH TLS", "234 go on");
            assert!(peer.encrypt(&tls));
            peer.answer("USER u", "230 in");
            peer.answer("PBSZ 0", pbsz);
            peer.answer("PROT P", prot);
            peer.expect_end();
        });
        let mut client = server.connect(explicit(&authority)).unwrap();
        let error = client.login("u", "p").unwrap_err();
        let is_it = matches!(error, Error::Tls(TlsError::DataProtectionRefused { .. }));
        assert!(is_it, "{error}");
        assert!(matches!(get(&mut client), Err(Error::Closed)));
        server.end();
    }
}

#[test]
fn needless_refusals_of_protection_end_nothing_tl_20() {
    for (pbsz, prot, is_clear, goes_on) in [
        // Something else put TLS on the control connection of a server that knows none.
        ("500 what?", "500 what?", true, true),
        ("503 no", "502 no", true, true),
        ("200 PBSZ=0", "534 data must be protected", true, false),
        ("500 what?", "200 private", false, true),
    ] {
        let (authority, _, tls) = sound();
        let server = Server::start(move |mut peer| {
            peer.reply("220 ready");
            peer.answer("AUTH TLS", "234 go on");
            assert!(peer.encrypt(&tls));
            peer.answer("USER u", "230 in");
            peer.answer("PBSZ 0", pbsz);
            peer.answer(if is_clear { "PROT C" } else { "PROT P" }, prot);
            if goes_on {
                peer.answer("NOOP", "200 ok");
            }
            peer.expect_end();
        });
        let tls = explicit(&authority);
        let tls = if is_clear { tls.data_in_clear() } else { tls };
        let mut client = server.connect(tls).unwrap();
        let done = client.login("u", "p").and_then(|()| client.noop().map(drop));
        assert_eq!(done.is_ok(), goes_on, "{pbsz} {prot}: {done:?}");
        drop(client);
        server.end();
    }
}

#[test]
fn a_self_signed_authority_is_trusted_if_the_caller_gives_it_tl_19() {
    let authority = Authority::new();
    let pair = authority.issue(Kind::SelfSignedAuthority);
    let other = authority.issue(Kind::SelfSignedAuthority);
    for version in Version::ALL {
        for (given, host, want) in [(&pair, "localhost", true), (&other, "localhost", false)] {
            let shown = TlsServer::showing(&pair).version(version);
            let server = Server::start(move |mut peer| {
                peer.reply("220 ready");
                peer.answer("AUTH TLS", "234 go on");
                if peer.encrypt(&shown) {
                    peer.expect_end();
                }
            });
            let tls = Tls::explicit().roots([given.certificate().to_vec()]);
            let address = format!("{host}:{}", server.address.port());
            let connected = Client::builder().timeouts(timeouts()).tls(tls).connect(&address);
            assert_eq!(connected.is_ok(), want, "{host}: {connected:?}");
            drop(connected);
            server.end();
        }
    }
}

#[test]
fn invalid_certificates_fail_before_the_login_tl_19_ht_10() {
    use CertificateFault::{
        Expired, NotPinned, NotYetValid, Other, UnknownIssuer, WrongName, WrongPurpose,
    };
    let (authority, other) = (Authority::new(), Authority::new());
    let trusts = || explicit(&authority);
    let pin = other.issue(Kind::Good).pin();
    for (pair, tls, want) in [
        (authority.issue(Kind::Good), trusts(), None),
        (authority.issue(Kind::EndsSoon), trusts(), None),
        (authority.issue(Kind::Expired), trusts(), Some(Expired)),
        (authority.issue(Kind::NotYetValid), trusts(), Some(NotYetValid)),
        (authority.issue(Kind::OtherName), trusts(), Some(WrongName)),
        (authority.issue(Kind::OtherUsage), trusts(), Some(WrongPurpose)),
        (authority.issue(Kind::SelfSigned), trusts(), Some(UnknownIssuer)),
        (authority.issue(Kind::SelfSignedAuthority), trusts(), Some(Other)),
        (other.issue(Kind::Good), trusts(), Some(UnknownIssuer)),
        (authority.issue(Kind::Good), trusts().pin(&pin).unwrap(), Some(NotPinned)),
    ] {
        for version in Version::ALL {
            let shown = TlsServer::showing(&pair).version(version);
            let server = Server::start(move |mut peer| {
                peer.reply("220 ready");
                peer.answer("AUTH TLS", "234 go on");
                if peer.encrypt(&shown) {
                    peer.expect_end();
                }
            });
            match (server.connect(tls.clone()), want) {
                (Ok(_), None) => {}
                (Err(Error::Tls(TlsError::Certificate { fault, pin, cause, .. })), Some(want)) => {
                    assert_eq!((fault, pin), (want, Some(pair.pin())), "{cause:?}");
                }
                (result, want) => panic!("{want:?}: {result:?}"),
            }
            server.end();
        }
    }
}

#[test]
fn a_matching_pin_accepts_any_certificate_tl_19a() {
    let authority = Authority::new();
    for kind in [Kind::SelfSigned, Kind::SelfSignedAuthority, Kind::Expired, Kind::OtherName] {
        let pair = authority.issue(kind);
        let other = authority.issue(Kind::Good).pin();
        let shown = TlsServer::showing(&pair);
        let server = Server::start(move |mut peer| {
            peer.reply("220 ready");
            peer.answer("AUTH TLS", "234 go on");
            assert!(peer.encrypt(&shown));
            peer.expect_end();
        });
        let tls = Tls::explicit().pin(&other).unwrap().pin(&pair.pin()).unwrap();
        drop(server.connect(tls).unwrap());
        server.end();
    }
}

#[test]
fn a_different_certificate_for_data_is_refused_tl_18_ht_09() {
    let authority = Authority::new();
    let pair = authority.issue(Kind::Good);
    for accepts_anything in [false, true] {
        for kind in [Kind::Good, Kind::OtherName, Kind::Expired, Kind::SelfSigned] {
            // Another key, and no session of the control connection to resume.
            let control = TlsServer::showing(&pair).tickets(0).forgetful();
            let stranger = TlsServer::showing(&authority.issue(kind));
            let server = Server::secured(control, move |mut peer, _| {
                peer.image_epsv();
                peer.answer("RETR a", "150 here it comes");
                let data = peer.data();
                assert!(stranger.accept(data).is_err(), "{kind:?}");
                peer.reply("426 no handshake");
                peer.answer("NOOP", "200 ok");
                peer.expect_end();
            });
            let tls = explicit(&authority).accept_invalid_certificates(accepts_anything);
            let mut client = server.log_in(tls);
            match get(&mut client).unwrap_err() {
                Error::Tls(TlsError::Certificate { fault, .. }) => {
                    assert_eq!(fault, CertificateFault::NotOfControl);
                }
                error => panic!("{error:?}"),
            }
            // The replies still match the commands.
            client.noop().unwrap();
            drop(client);
            server.end();
        }
    }
}

#[test]
fn a_server_that_stops_reading_under_tls_causes_a_timeout_hc_19() {
    let (authority, _, tls) = sound();
    let server = Server::secured(tls, |mut peer, tls| {
        peer.image_epsv();
        peer.answer("STOR a", "150 go on");
        let _unread = peer.secure_data(tls);
        peer.answer("ABOR", "426 cut");
        peer.reply("226 aborted");
        peer.answer("NOOP", "200 ok");
    });
    let stall = Duration::from_millis(150);
    let builder = Client::builder().timeouts(timeouts().stall(stall));
    let mut client = server.connect_with(builder, explicit(&authority)).unwrap();
    client.login("u", "p").unwrap();
    let mut file = client.store("a").unwrap();
    let error = loop {
        if let Err(error) = file.write_all(&[0; 65_536]) {
            break Error::downcast(error).unwrap();
        }
    };
    assert!(matches!(error, Error::Timeout(Phase::Stall)), "{error}");
    drop(file);
    client.noop().unwrap();
    server.end();
}

#[test]
fn plaintext_data_under_prot_p_is_refused_ht_17_ht_18() {
    let (authority, _, tls) = sound();
    let server = Server::secured(tls, move |mut peer, _| {
        peer.image_epsv();
        peer.answer("RETR a", "150 here it comes");
        let mut data = peer.data();
        data.write_all(b"in clear, whatever was agreed on").unwrap();
        let _ = data.read_to_end(&mut Vec::new());
        drop(data);
        peer.reply("226 done");
        peer.answer("NOOP", "200 ok");
        peer.expect_end();
    });
    let mut client = server.log_in(explicit(&authority));
    let error = get(&mut client).unwrap_err();
    assert!(matches!(error, Error::Tls(TlsError::Failed(_))), "{error:?}");
    client.noop().unwrap();
    drop(client);
    server.end();
}

#[test]
fn data_under_prot_c_is_passed_on_unchanged_ht_18() {
    let hello = b"\x16\x03\x01\x00\x05hello".to_vec();
    let (authority, _, tls) = sound();
    let sent = hello.clone();
    let server = Server::start(move |mut peer| {
        peer.reply("220 ready");
        peer.answer("AUTH TLS", "234 go on");
        assert!(peer.encrypt(&tls));
        peer.answer("USER u", "230 in");
        peer.answer("PBSZ 0", "200 PBSZ=0");
        peer.answer("PROT C", "200 clear");
        peer.image_epsv();
        peer.answer("RETR a", "150 here it comes");
        peer.data().write_all(&sent).unwrap();
        peer.reply("226 done");
        peer.expect_end();
    });
    let mut client = server.log_in(explicit(&authority).data_in_clear());
    assert_eq!(get(&mut client).unwrap(), hello);
    assert_eq!(client.tls().unwrap().data_connections, 0);
    drop(client);
    server.end();
}

#[test]
fn a_refusal_during_the_data_handshake_is_reported() {
    let (authority, _, tls) = sound();
    let server = Server::secured(tls, |mut peer, _| {
        peer.image_epsv();
        peer.answer("RETR a", "150 here it comes");
        let _silent = peer.data();
        peer.reply("451 no longer");
        peer.answer("NOOP", "200 ok");
    });
    let mut client = server.log_in(explicit(&authority));
    let error = get(&mut client).unwrap_err();
    assert_eq!(error.to_string(), "RETR refused: 451 no longer");
    client.noop().unwrap();
    server.end();
}

#[test]
fn a_stalled_handshake_times_out() {
    let limits = timeouts().handshake(Duration::from_millis(150));
    let (authority, _, tls) = sound();
    let server = Server::start(|mut peer| {
        peer.reply("220 ready");
        peer.answer("AUTH TLS", "234 go on");
        peer.line();
    });
    let builder = Client::builder().timeouts(limits);
    let error = server.connect_with(builder.clone(), explicit(&authority)).unwrap_err();
    assert!(matches!(error, Error::Timeout(Phase::Handshake)), "{error:?}");
    server.end();
    // On a data connection: the transfer is aborted, and the session continues.
    patiently(Duration::from_millis(500), |handshake| {
        let server = Server::secured(tls.clone(), |mut peer, _| {
            peer.image_epsv();
            peer.answer("RETR a", "150 here it comes");
            let data = peer.data();
            peer.answer("ABOR", "426 aborted\r\n226 ok");
            drop(data);
            peer.answer("NOOP", "200 ok");
            peer.expect_end();
        });
        let builder = Client::builder().timeouts(timeouts().handshake(handshake));
        let mut client = server.connect_with(builder, explicit(&authority)).unwrap();
        client.login("u", "p").unwrap();
        let error = get(&mut client).unwrap_err();
        assert!(matches!(error, Error::Timeout(Phase::Handshake)), "{error:?}");
        client.noop().unwrap();
        drop(client);
        server.end();
    });
}

#[test]
fn coalesced_replies_are_all_read_under_tls() {
    // A record larger than one read, and the end of a transfer directly after its beginning.
    let (authority, _, tls) = sound();
    let server = Server::secured(tls, move |mut peer, tls| {
        let long = format!("214-{}\r\n", "x".repeat(12_000));
        peer.answer("HELP", &format!("{long}214 end"));
        peer.image_epsv();
        peer.expect("RETR a");
        peer.send("150 here it comes\r\n226 done\r\n");
        let mut data = peer.secure_data(tls);
        data.write_all(b"hello").unwrap();
        data.finish().unwrap();
        peer.answer("NOOP", "200 ok");
        peer.expect_end();
    });
    let mut client = server.log_in(explicit(&authority));
    let help = ftp_client::RawCommand::new("HELP").unwrap();
    assert_eq!(client.quote(&help).unwrap().lines().count(), 2);
    assert_eq!(get(&mut client).unwrap(), b"hello");
    client.noop().unwrap();
    drop(client);
    server.end();
}
