//! AUTH, PBSZ, PROT, CCC, REIN, the policies, and the moments around a handshake.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use ftp_proto::Network;
use ftp_server::{
    AuthError, Authenticator, Login, LoginAttempt, MemoryStorage, Rights, Tls, TlsPolicy,
    TlsVersion, UserTable,
};
use ftp_tests::raw::RawSession;
use ftp_tests::tls::{TlsClient, Version};
use ftp_tests::wait::wait_until;

use super::super::events::Log;
use super::super::{Fixture, play};
use super::Secure;

#[test]
fn auth_tls_upgrades_a_session_cm_60_cm_63_cm_67_cm_68_cm_69_cm_71_tl_04_dv_14_cx_09_cx_13() {
    for version in Version::ALL {
        let secure = Secure::new();
        let client = secure.client().version(version);
        let mut session = secure.fixture.greeted();
        play(&mut session, &[("PBSZ 0", 503), ("PROT P", 503), ("AUTH", 501), ("AUTH X", 504)]);
        assert_eq!(session.start_tls(&client).version, version);
        play(
            &mut session,
            &[
                ("AUTH TLS", 503),
                ("PROT P", 503),
                ("PBSZ x", 501),
                ("PBSZ 4294967296", 501),
                ("PBSZ 4294967295", 200),
                ("PROT P", 200),
                ("PROT C", 200),
                ("PROT S", 536),
                ("PROT E", 536),
                ("PROT X", 504),
                ("PROT", 501),
                ("USER u", 331),
                ("PASS p", 230),
                ("PBSZ 0", 200),
                ("PROT p", 200),
                ("CCC", 534),
                ("PWD", 257),
            ],
        );
        assert_eq!(session.ask("PBSZ 17").text(), "200 PBSZ=0");
        session.expect("QUIT", 221);
        session.expect_closed();
    }
}

#[test]
fn mechanism_names_of_auth_cm_61_cm_62() {
    let plain = Fixture::new();
    play(&mut plain.greeted(), &[("AUTH TLS", 502), ("AUTH", 502), ("CCC", 533)]);
    let secure = Secure::new();
    for name in ["SSL", "TLS-P", "ssl", "GSSAPI"] {
        play(&mut secure.fixture.greeted(), &[(&format!("AUTH {name}"), 504)]);
    }
    for name in ["TLS", "tls", "TLS-C", "Tls-c"] {
        secure.fixture.greeted().expect(format!("AUTH {name}"), 234);
    }
    let off = Secure::with(|tls| tls.control(TlsPolicy::Off));
    play(&mut off.fixture.greeted(), &[("AUTH TLS", 502), ("USER u", 331)]);
    // The drafts also protected data.
    let alias = Secure::with(|tls| tls.auth_ssl_alias(true));
    alias.fixture.write("f", b"content");
    for name in ["SSL", "TLS-P"] {
        let client = alias.client();
        let mut session = alias.fixture.greeted();
        session.expect(format!("AUTH {name}"), 234);
        let tls = client.connect(session.stream().try_clone().unwrap()).unwrap();
        session.put_on(Box::new(tls));
        play(&mut session, &[("USER u", 331), ("PASS p", 230)]);
        assert_eq!(session.tls_download(&client, "RETR f"), b"content");
    }
}

#[test]
fn feat_lists_tls_only_with_a_certificate_cm_137() {
    let features = |session: &mut RawSession| {
        let text = session.expect("FEAT", 211).text();
        ["AUTH TLS", "PBSZ", "PROT"].map(|word| text.contains(&format!("\n {word}")))
    };
    assert_eq!(features(&mut Fixture::new().greeted()), [false; 3]);
    let secure = Secure::new();
    assert_eq!(features(&mut secure.fixture.greeted()), [true; 3]);
    assert_eq!(features(&mut secure.greeted(&secure.client())), [true; 3]);
}

#[test]
fn commands_pipelined_after_auth_are_never_executed_fr_28_ht_01() {
    let secure = Secure::new();
    for behind in ["USER u\r\nPASS p\r\nMKD made\r\n", "NOOP\r\n", "x", "\r\n"] {
        let mut session = secure.fixture.greeted();
        session.send(format!("AUTH TLS\r\n{behind}"));
        session.expect_reply(421);
        session.expect_closed();
    }
    assert_eq!(secure.fixture.names(), [""; 0]);
}

#[test]
fn auth_resets_the_login_and_the_session_state_cm_64_ht_21() {
    let secure = Secure::new();
    secure.fixture.write("f", b"0123456789");
    std::fs::create_dir(secure.fixture.path("d")).unwrap();
    let client = secure.client();
    let mut session = secure.fixture.session();
    play(
        &mut session,
        &[("TYPE I", 200), ("CWD d", 250), ("EPSV ALL", 200), ("EPSV", 229), ("REST 3", 350)],
    );
    session.start_tls(&client);
    play(&mut session, &[("CWD d", 530), ("PASS p", 503), ("USER u", 331), ("PASS p", 230)]);
    assert!(session.ask("PWD").text().starts_with("257 \"/\""));
    // The type, EPSV ALL, the listener and the offset are reset.
    play(&mut session, &[("PORT 127,0,0,1,200,200", 200), ("RETR d", 550), ("RETR f", 425)]);
    assert!(session.ask("STAT").text().contains("TYPE A"));
    session.protect();
    session.expect("TYPE I", 200);
    assert_eq!(session.tls_download(&client, "RETR f"), b"0123456789");
    // The same holds for a session that never logged in.
    let mut session = secure.fixture.greeted();
    session.expect("USER u", 331);
    session.start_tls(&client);
    play(&mut session, &[("PASS p", 503)]);
}

#[test]
fn a_failed_handshake_closes_without_a_plaintext_reply_cm_66_ht_12_ht_14_tl_07() {
    let secure = Secure::new();
    let refused = |client: &TlsClient| {
        let mut session = secure.fixture.greeted();
        session.expect("AUTH TLS", 234);
        client.connect(session.stream().try_clone().unwrap()).unwrap_err().to_string()
    };
    for protocols in [&["h2"][..], &["http/1.1"], &["h2", "http/1.1"]] {
        let error = refused(&secure.client().alpn(protocols));
        assert!(error.contains("NoApplicationProtocol"), "{protocols:?}: {error}");
    }
    for protocols in [&[][..], &["ftp"], &["h2", "ftp"]] {
        let shaken = secure.fixture.greeted().start_tls(&secure.client().alpn(protocols));
        let want = (!protocols.is_empty()).then(|| b"ftp".to_vec());
        assert_eq!(shaken.alpn, want, "{protocols:?}");
    }
    let hello = secure.client().hello();
    let mut tampered = hello.clone();
    tampered[5] ^= 0xff;
    let empty_records = [0x16, 3, 1, 0, 0].repeat(4_096);
    for (what, bytes) in [
        ("commands", &b"USER u\r\nPASS p\r\n"[..]),
        ("a close_notify", &[0x15, 3, 1, 0, 2, 1, 0]),
        ("an unknown alert", &[0x15, 3, 1, 0, 2, 2, 250]),
        ("data", &[0x17, 3, 3, 0, 3, 1, 2, 3]),
        ("a record that is too long", &[0x16, 3, 1, 0xff, 0xff, 1]),
        ("an unknown kind of record", &[0x63, 3, 1, 0, 1, 1]),
        ("SSLv2", &[0x80, 0x2e, 1, 0, 2]),
        ("empty records", &empty_records),
        ("a hello that is none", &tampered),
    ] {
        let mut stream = connect_for_handshake(&secure);
        // The server may close the connection before it has read everything.
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said);
        // At most an alert, and no reply.
        assert!(said.is_empty() || said.starts_with(&[0x15, 3]), "{what}: {}", said.escape_ascii());
    }
    // A hello in records of one byte each is accepted.
    let mut stream = connect_for_handshake(&secure);
    for byte in &hello[5..] {
        stream.write_all(&[0x16, 3, 1, 0, 1, *byte]).unwrap();
    }
    let mut head = [0; 3];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(head, [0x16, 3, 3], "a ServerHello");
    secure.session(&secure.client()).expect_in_step();
}

#[test]
fn an_invalid_record_is_refused_at_its_header_ht_12() {
    let secure = Secure::new();
    // Each head announces bytes that never come.
    for (what, head) in [
        ("a kind below all others", [19, 3, 3, 0, 9]),
        ("a kind above all others", [25, 3, 3, 0, 9]),
        ("another protocol", [0x16, 2, 0, 0, 9]),
        ("a record that is too long", [0x16, 3, 1, 0xff, 0xff]),
    ] {
        let mut stream = connect_for_handshake(&secure);
        stream.write_all(&head).unwrap();
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said);
        // A client that is only slow gets no alert when its time is over.
        assert!(said.starts_with(&[0x15, 3]), "{what}: {}", said.escape_ascii());
    }
}

/// Otherwise, a client without a login could make the server keep a message of 64 KiB.
#[test]
fn a_client_hello_is_limited_to_16_kib_ho_18() {
    let secure = Secure::new();
    // The first record of a handshake, whose message announces this length.
    let announcing = |length: usize, sent: usize| {
        let record = u16::try_from(4 + sent).unwrap().to_be_bytes();
        let length = u32::try_from(length).unwrap().to_be_bytes();
        let message = [&[1], &length[1..], &vec![0; sent]].concat();
        [&[0x16, 3, 1], &record[..], &message].concat()
    };
    let mut trickled = announcing(16_000, 0);
    trickled.extend([0x16, 3, 1, 0, 1, 0].repeat(4_000));
    for (what, bytes, is_refused) in [
        ("as long as is allowed", announcing(16_384, 100), false),
        ("too long, as announced", announcing(16_385, 0), true),
        ("too long, in a record that is not whole", announcing(65_535, 16_000), true),
        ("too many bytes in records of one byte", trickled, true),
    ] {
        let mut stream = connect_for_handshake(&secure);
        // A handshake may take 10 s in all.
        let patience = Duration::from_secs(if is_refused { 8 } else { 2 });
        stream.set_read_timeout(Some(patience)).unwrap();
        let begun = Instant::now();
        let _ = stream.write_all(&bytes);
        let ended = stream.read_to_end(&mut Vec::new());
        let waits = matches!(&ended, Err(error) if error.kind() == ErrorKind::WouldBlock);
        assert_eq!(!waits, is_refused, "{what}: {ended:?} after {:?}", begun.elapsed());
    }
    secure.session(&secure.client()).expect_in_step();
}

fn connect_for_handshake(secure: &Secure) -> TcpStream {
    let mut session = secure.fixture.greeted();
    session.expect("AUTH TLS", 234);
    session.stream().try_clone().unwrap()
}

#[test]
fn a_stalled_handshake_times_out_after_ten_seconds_st_11_ht_11() {
    let secure = Secure::new();
    let hello = secure.client().hello();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for (what, first) in
            [("silence", 0), ("half a record", hello.len() / 2), ("a hello", hello.len())]
        {
            let (secure, hello) = (&secure, &hello);
            scope.spawn(move || {
                let mut stream = connect_for_handshake(secure);
                stream.write_all(&hello[..first]).unwrap();
                expect_end_at_ten_seconds(&mut stream, begun, what);
            });
        }
        let (secure, hello) = (&secure, &hello);
        scope.spawn(move || {
            let mut stream = connect_for_handshake(secure);
            let mut reader = stream.try_clone().unwrap();
            let sending = scope.spawn(move || {
                for byte in hello {
                    // The server sends nothing, and closes the connection after the timeout.
                    if stream.write_all(&[*byte]).is_err() {
                        return;
                    }
                    std::thread::sleep(Duration::from_secs(1));
                }
            });
            expect_end_at_ten_seconds(&mut reader, begun, "a byte a second");
            let _ = sending.join();
        });
    });
}

fn expect_end_at_ten_seconds(stream: &mut TcpStream, begun: Instant, what: &str) {
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut said = Vec::new();
    let ended = stream.read_to_end(&mut said);
    assert!(!matches!(&ended, Err(error) if error.kind() == ErrorKind::WouldBlock));
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(9_900), "{what}: {took:?}");
    assert!(took < Duration::from_secs(60), "{what}: {took:?}");
    assert!(!said.starts_with(b"4"), "{what}: {}", said.escape_ascii());
}

/// The operator of a device reads the log, not the names of rustls.
#[test]
fn handshakes_that_cannot_succeed_are_logged_in_plain_words_hs_17() {
    let log = Log::new();
    let observer = log.text();
    let secure = Secure::built(
        |tls| tls,
        |builder| builder.observer(observer).implicit_tls(([127, 0, 0, 1], 0).into()),
    );
    let hello = secure.client().hello();
    let mut old_suites = hello.clone();
    // A record's header, a message's header, the version and the random come first.
    let suites = 44 + usize::from(hello[43]);
    let length = usize::from(u16::from_be_bytes([hello[suites], hello[suites + 1]]));
    // TLS_RSA_WITH_AES_128_CBC_SHA.
    let cbc = [0, 0x2f].repeat(length / 2);
    old_suites[suites + 2..suites + 2 + length].copy_from_slice(&cbc);
    let http = secure.client().alpn(&["h2", "http/1.1"]).hello();
    let implicit = secure.fixture.server.implicit_addrs().next().unwrap();
    let plaintext = secure.fixture.server.local_addr();
    for (to, after, bytes, words) in [
        (implicit, "", &b"USER u\r\n"[..], "not TLS: the client speaks plaintext"),
        (plaintext, "AUTH TLS", &old_suites, "the client offers only old cipher suites"),
        (
            plaintext,
            "AUTH TLS",
            &http,
            "the client offers only other protocols by ALPN: h2, http/1.1 (",
        ),
        (plaintext, "", &hello, "the client began TLS without AUTH TLS"),
    ] {
        let mut session = RawSession::connect(to);
        if to == plaintext {
            session.expect_reply(220);
        }
        if !after.is_empty() {
            session.expect(after, 234);
        }
        session.send(bytes);
        let mut stream = session.stream().try_clone().unwrap();
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
        wait_until(words, || {
            let has_words = |line: &String| line.contains("end=failed") && line.contains(words);
            log.lines().iter().any(has_words)
        });
    }
}

#[test]
fn a_login_refused_for_missing_tls_is_logged_tl_01() {
    let log = Log::new();
    let observer = log.text();
    let required = |tls: Tls| tls.control(TlsPolicy::Required);
    let secure = Secure::built(required, |builder| builder.observer(observer));
    let mut session = secure.fixture.greeted();
    play(&mut session, &[("USER u", 534), ("USER v", 534), ("PASS p", 534)]);
    play(&mut session, &[("CWD /", 534)]);
    let lines = log.lines();
    let refused: Vec<_> = lines.iter().filter(|line| line.contains("login-refused")).collect();
    assert_eq!(refused.len(), 1, "{lines:?}");
    assert!(refused[0].contains(" user=\"u\" reason=protection"), "{lines:?}");
}

#[test]
fn plaintext_login_is_refused_when_tls_is_required_tl_01_tl_02_cm_03_ht_20() {
    let secure = Secure::with(|tls| tls.control(TlsPolicy::Required));
    let mut session = secure.fixture.greeted();
    play(
        &mut session,
        &[
            ("USER u", 534),
            ("USER nobody", 534),
            ("PASS p", 534),
            ("ACCT x", 534),
            ("REIN", 534),
            ("CWD /", 534),
            ("STAT", 534),
            ("RETR f", 534),
            ("PBSZ 0", 503),
            ("PROT P", 503),
            ("CCC", 533),
            ("FEAT", 211),
            ("HELP", 214),
            ("NOOP", 200),
            ("HOST 127.0.0.1", 220),
            ("SYST", 215),
            ("OPTS UTF8 ON", 200),
            ("LANG", 200),
            ("CLNT x", 200),
            ("ABOR", 225),
            ("SMNT x", 502),
        ],
    );
    session.start_tls(&secure.client());
    play(
        &mut session,
        &[("USER u", 331), ("PASS p", 230), ("REIN", 534), ("CCC", 534), ("PWD", 257)],
    );
    // Exempt networks need no TLS.
    let here = || vec![Network::parse(b"127.0.0.0/8").unwrap()];
    let exempt = Secure::with(|tls| {
        tls.control(TlsPolicy::Required).data(TlsPolicy::Required).exempt(here())
    });
    exempt.fixture.write("f", b"content");
    let mut session = exempt.fixture.session();
    session.expect("TYPE I", 200);
    assert_eq!(session.download("RETR f"), b"content");
}

#[test]
fn data_protection_follows_the_policy_tl_01_cm_68_cm_117_cx_03() {
    let required = Secure::with(|tls| tls.data(TlsPolicy::Required));
    required.fixture.write("f", b"content");
    let client = required.client();
    let mut session = required.fixture.session();
    // Before the object is checked, so the prepared connection stays.
    play(
        &mut session,
        &[("EPSV", 229), ("RETR f", 521), ("RETR none", 521), ("STOR g", 521), ("LIST", 521)],
    );
    play(&mut session, &[("ABOR", 226), ("RETR f", 521)]);
    session.start_tls(&client);
    play(&mut session, &[("USER u", 331), ("PASS p", 230), ("PBSZ 0", 200), ("PROT C", 534)]);
    play(&mut session, &[("EPSV", 229), ("RETR f", 521), ("PROT P", 200)]);
    assert_eq!(required.session(&client).tls_download(&client, "RETR f"), b"content");
    let off = Secure::with(|tls| tls.data(TlsPolicy::Off));
    off.fixture.write("f", b"content");
    let mut session = off.greeted(&off.client());
    play(&mut session, &[("USER u", 331), ("PASS p", 230), ("PBSZ 0", 200), ("PROT P", 534)]);
    play(&mut session, &[("PROT C", 200), ("TYPE I", 200)]);
    assert_eq!(session.download("RETR f"), b"content");
}

#[test]
fn a_user_can_have_a_custom_tls_policy_tl_01() {
    let storage = || std::sync::Arc::new(MemoryStorage::new());
    let login = |policy| Login::new(storage(), Rights::FULL).tls(policy);
    let users = UserTable::new()
        .user("secret", "p", login(TlsPolicy::Required))
        .user("plain", "p", login(TlsPolicy::Off))
        .user("any", "p", login(TlsPolicy::Optional));
    let secure = Secure::built(|tls| tls, |builder| builder.authenticator(users));
    let client = secure.client();
    for (user, clear, protected) in [("secret", 534, 230), ("plain", 230, 534), ("any", 230, 230)] {
        let user = format!("USER {user}");
        play(&mut secure.fixture.greeted(), &[(&user, 331), ("PASS x", 530), (&user, 331)]);
        play(&mut secure.fixture.greeted(), &[(&user, 331), ("PASS p", clear)]);
        play(&mut secure.greeted(&client), &[(&user, 331), ("PASS p", protected)]);
    }
    let mut session = secure.greeted(&client);
    play(&mut session, &[("USER secret", 331), ("PASS p", 230), ("EPSV", 229), ("STOR f", 521)]);
    play(&mut session, &[("PBSZ 0", 200), ("PROT C", 534), ("PROT P", 200)]);
    session.tls_upload(&client, "STOR f", b"content");
}

#[test]
fn rein_returns_to_plaintext_if_tls_is_optional_cm_19_cm_20() {
    for version in Version::ALL {
        let secure = Secure::new();
        secure.fixture.write("f", b"content");
        let client = secure.client().version(version);
        let mut session = secure.fixture.greeted();
        session.expect("AUTH TLS", 234);
        let tcp = session.stream().try_clone().unwrap();
        let mut tls = client.connect(tcp.try_clone().unwrap()).unwrap();
        tls.write_all(b"PBSZ 0\r\nPROT P\r\nUSER u\r\nPASS p\r\nREIN\r\n").unwrap();
        let (said, end) = tls.read_to_its_end();
        assert_eq!(end, ftp_tests::tls::End::CloseNotify);
        assert!(secure.fixture.server.sessions()[0].tls.is_some(), "until the client agrees");
        let said = String::from_utf8(said).unwrap();
        let codes: Vec<_> = said.lines().map(|line| line.split_once(' ').unwrap().0).collect();
        assert_eq!(codes, ["200", "200", "331", "230", "220"]);
        tls.close_notify().unwrap();
        drop(tls);
        // In plaintext, from the start.
        let mut session = RawSession::over(tcp);
        play(&mut session, &[("PWD", 530), ("PROT P", 503), ("USER u", 331), ("PASS p", 230)]);
        session.expect("TYPE I", 200);
        assert_eq!(session.download("RETR f"), b"content");
        assert!(session.ask("STAT").text().contains("Data connections are in plaintext"));
        // Then under TLS again.
        assert_eq!(secure.fixture.server.sessions()[0].tls, None);
        session.start_tls(&client);
        play(&mut session, &[("PROT P", 503), ("PWD", 530), ("USER u", 331), ("PASS p", 230)]);
        let want = match version {
            Version::V1_2 => TlsVersion::V1_2,
            Version::V1_3 => TlsVersion::V1_3,
        };
        assert_eq!(secure.fixture.server.sessions()[0].tls, Some(want));
    }
}

#[test]
fn tls_commands_after_rein_are_not_read_without_limit_cm_20() {
    let secure = Secure::new();
    let mut session = secure.fixture.greeted();
    session.expect("AUTH TLS", 234);
    let mut tls = secure.client().connect(session.stream().try_clone().unwrap()).unwrap();
    tls.write_all(b"REIN\r\n").unwrap();
    let lines = b"NOOP\r\n".repeat(10_000);
    // The kernel holds a few MiB for both sides, and the server next to nothing.
    let refused = (0..2_000).any(|_| tls.write_all(&lines).is_err());
    assert!(refused, "114 MiB were taken");
    let mut session = secure.greeted(&secure.client());
    play(&mut session, &[("USER u", 331), ("PASS p", 230)]);
}

#[test]
fn invalid_tls_after_rein_ends_the_session_cm_20() {
    for version in Version::ALL {
        let secure = Secure::new();
        let mut session = secure.fixture.greeted();
        session.expect("AUTH TLS", 234);
        let mut tcp = session.stream().try_clone().unwrap();
        let client = secure.client().version(version);
        let mut tls = client.connect(tcp.try_clone().unwrap()).unwrap();
        tls.write_all(b"REIN\r\n").unwrap();
        assert_eq!(tls.read_to_its_end().1, ftp_tests::tls::End::CloseNotify);
        // Of the greatest length, and no record can be decrypted so.
        tcp.write_all(&[&[23, 3, 3, 0, 64][..], &[7; 64]].concat()).unwrap();
        let mut rest = Vec::new();
        let error = tcp.read_to_end(&mut rest).err().map(|error| error.kind());
        assert!(matches!(error, None | Some(ErrorKind::ConnectionReset)), "{error:?}");
        wait_until("the session is over", || secure.fixture.server.sessions().is_empty());
        let mut session = secure.greeted(&secure.client());
        play(&mut session, &[("USER u", 331), ("PASS p", 230)]);
    }
}

#[test]
fn implicit_listeners_use_tls_from_the_start_tl_03_rp_13() {
    let secure =
        Secure::built(|tls| tls, |builder| builder.implicit_tls(([127, 0, 0, 1], 0).into()));
    secure.fixture.write("f", b"content");
    let address = secure.fixture.server.implicit_addrs().next().unwrap();
    let client = secure.client();
    let mut session = RawSession::implicit(address, &client);
    play(&mut session, &[("AUTH TLS", 503), ("USER u", 331), ("PASS p", 230), ("TYPE I", 200)]);
    // PBSZ is not needed, and data is protected.
    assert_eq!(session.tls_download(&client, "RETR f"), b"content");
    play(&mut session, &[("REIN", 534), ("CCC", 534), ("PROT C", 200)]);
    assert_eq!(session.download("RETR f"), b"content");
    // A refused client gets no reply in plaintext.
    let config = secure.fixture.server.config();
    let denied = config.deny([Network::parse(b"127.0.0.0/8").unwrap()]);
    secure.fixture.server.reconfigure(denied, UserTable::new()).unwrap();
    let mut said = Vec::new();
    let _ = TcpStream::connect(address).unwrap().read_to_end(&mut said);
    assert_eq!(said, b"");
}

#[test]
fn telnet_commands_are_removed_under_tls_too_fr_25() {
    let secure = Secure::new();
    let mut session = secure.greeted(&secure.client());
    // IAC IP, IAC DM, and a refused option.
    session.send(b"\xff\xf4\xff\xf2NO\xff\xf1OP\r\n\xff\xfd\x01NOOP\r\n");
    session.expect_reply(200);
    session.expect_reply(200);
    assert_eq!(session.telnet(), [vec![0xff, 0xfc, 1]]);
}

#[test]
fn host_must_match_the_tls_server_name_cm_25() {
    let secure = Secure::new();
    let mut session = secure.greeted(&secure.client());
    play(&mut session, &[("HOST ftp.example.org", 504), ("HOST localhost", 220)]);
}

#[test]
fn third_host_addresses_are_refused_under_prot_p_dc_32() {
    let config = super::super::quick().fxp_networks([Network::parse(b"127.0.0.0/8").unwrap()]);
    let secure = Secure::built(|tls| tls, |builder| builder.config(config));
    let mut session = secure.greeted(&secure.client());
    play(&mut session, &[("USER fxp", 331), ("PASS p", 230), ("PORT 127,0,0,9,200,200", 200)]);
    session.protect();
    for line in ["PORT 127,0,0,9,200,200", "EPRT |1|127.0.0.9|51400|"] {
        play(&mut session, &[(line, 504)]);
    }
    play(&mut session, &[("PORT 127,0,0,1,200,200", 200), ("PROT C", 200)]);
    play(&mut session, &[("EPRT |1|127.0.0.9|51400|", 200)]);
}

/// Accepts all users under this version of TLS.
struct Only(TlsVersion);

impl Authenticator for Only {
    fn login(&self, attempt: &LoginAttempt<'_>) -> Result<Login, AuthError> {
        match attempt.tls {
            Some(tls) if tls.version == self.0 => {
                Ok(Login::new(std::sync::Arc::new(MemoryStorage::new()), Rights::FULL))
            }
            _ => Err(AuthError::Refused),
        }
    }
}

#[test]
fn the_authenticator_sees_the_tls_version() {
    let secure = Secure::built(|tls| tls, |builder| builder.authenticator(Only(TlsVersion::V1_3)));
    play(&mut secure.fixture.greeted(), &[("USER u", 331), ("PASS p", 530)]);
    for (version, code) in [(Version::V1_2, 530), (Version::V1_3, 230)] {
        let mut session = secure.greeted(&secure.client().version(version));
        play(&mut session, &[("USER u", 331), ("PASS p", code)]);
    }
    // The oldest version is the configured one.
    let newest = Secure::with(|tls| tls.min_version(TlsVersion::V1_3));
    let mut session = newest.fixture.greeted();
    session.expect("AUTH TLS", 234);
    let old = newest.client().version(Version::V1_2);
    assert!(old.connect(session.stream().try_clone().unwrap()).is_err());
    newest.session(&newest.client()).expect_in_step();
}
