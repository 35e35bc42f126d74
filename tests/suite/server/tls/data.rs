//! Data connections under TLS: their beginning, their end, and session resumption.

use std::io::{Read, Write};

use ftp_server::SessionReuse;
use ftp_tests::raw::RawSession;
use ftp_tests::tls::{End, TlsClient, Version};

use super::super::block::{blocks, read_file};
use super::super::deflate::{deflated, inflated};
use super::super::events::Log;
use super::super::quick;
use super::Secure;

/// Returns bytes that differ at every place.
fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

#[test]
fn files_and_listings_are_transferred_under_tls_tl_13_tl_15() {
    for version in Version::ALL {
        let secure = Secure::new();
        let client = secure.client().version(version);
        let mut session = secure.session(&client);
        for length in [0, 1, 16_383, 16_384, 16_385, 3 << 20] {
            let bytes = content(length);
            session.tls_upload(&client, "STOR f", &bytes);
            assert_eq!(secure.fixture.read("f"), bytes);
            assert_eq!(session.tls_download(&client, "RETR f"), bytes);
        }
        session.tls_upload(&client, "APPE f", b"more");
        assert_eq!(secure.fixture.read("f").len(), (3 << 20) + 4);
        session.expect("REST 3145728", 350);
        assert_eq!(session.tls_download(&client, "RETR f"), b"more");
        assert_eq!(session.tls_download(&client, "NLST"), b"f\r\n");
        for verb in ["LIST", "MLSD"] {
            assert!(session.tls_download(&client, verb).ends_with(b"f\r\n"), "{verb}");
        }
        session.expect("TYPE A", 200);
        session.tls_upload(&client, "STOR t", b"a\r\nb\r\n");
        assert_eq!(secure.fixture.read("t"), b"a\nb\n");
        assert_eq!(session.tls_download(&client, "RETR t"), b"a\r\nb\r\n");
    }
}

#[test]
fn the_server_keeps_the_tls_server_role_in_active_mode_tl_05() {
    for version in Version::ALL {
        let secure = Secure::new();
        let client = secure.client().version(version);
        let mut session = secure.session(&client);
        let listener = session.active();
        session.expect("STOR f", 150);
        let mut data = listener.accept().tls(&client);
        data.write_all(b"content").unwrap();
        data.finish().unwrap();
        session.expect_reply(226);
        let listener = session.active();
        session.expect("RETR f", 150);
        let mut data = listener.accept().tls(&client);
        assert_eq!(data.read_to_its_end(), (b"content".to_vec(), End::CloseNotify));
        session.expect_reply(226);
    }
}

#[test]
fn prot_applies_to_the_next_transfer_cm_70_ht_18() {
    let secure = Secure::new();
    let client = secure.client();
    let mut session = secure.session(&client);
    let data = session.passive();
    session.expect("PROT C", 200);
    session.expect("STOR f", 150);
    // Plaintext data is stored unchanged, even if it looks like a handshake.
    let hello = client.hello();
    let mut data = data;
    data.write_all(&hello);
    data.close();
    session.expect_reply(226);
    assert_eq!(secure.fixture.read("f"), hello);
}

#[test]
fn unprotected_data_fails_with_522_and_the_session_continues_tl_12_ht_17_cx_04() {
    let secure = Secure::new();
    let client = secure.client();
    let mut session = secure.session(&client);
    for clear in [&b"raw bytes"[..], b"", &[0x15, 3, 3, 0, 2, 2, 40]] {
        let mut data = session.passive();
        session.expect("STOR f", 150);
        data.write_all(clear);
        data.close();
        session.expect_reply(522);
        session.expect_in_step();
    }
    assert_eq!(secure.fixture.published(), [""; 0]);
    // A silent peer gets ten seconds.
    let begun = std::time::Instant::now();
    let data = session.passive();
    session.expect("RETR none", 550);
    drop(data);
    let data = session.passive();
    session.expect("LIST", 150);
    session.expect_reply(522);
    assert!(begun.elapsed() >= std::time::Duration::from_secs(10), "{:?}", begun.elapsed());
    drop(data);
    session.tls_upload(&client, "STOR f", b"content");
}

/// Returns how many of these transfers resumed a session.
fn resumed(session: &mut RawSession, client: &TlsClient, command: &str, count: usize) -> usize {
    let mut resumed = 0;
    for _ in 0..count {
        let mut data = session.tls_data(client, command);
        resumed += usize::from(data.shaken().resumed);
        data.finish().unwrap();
        data.read_to_its_end();
        session.expect_reply(226);
    }
    resumed
}

#[test]
fn tls_session_resumption_follows_the_policy_tl_09_tl_10_ht_16() {
    for version in Version::ALL {
        for (reuse, want) in [
            (SessionReuse::Off, 0..1),
            (SessionReuse::Observe, 2..51),
            (SessionReuse::Prefer, 8..51),
            (SessionReuse::Require, 50..51),
        ] {
            let secure = Secure::with(|tls| tls.session_reuse(reuse));
            let client = secure.client().version(version);
            let mut session = secure.session(&client);
            let count = resumed(&mut session, &client, "STOR f", 50);
            assert!(want.contains(&count), "{version:?} {reuse:?}: {count}");
            let counted = secure.fixture.server.resumptions();
            let resumed = count as u64;
            assert_eq!((counted.resumed, counted.missed), (resumed, 50 - resumed), "{reuse:?}");
        }
        let secure = Secure::with(|tls| tls.session_reuse(SessionReuse::Require));
        let client = secure.client().version(version);
        let mut session = secure.session(&client);
        session.tls_upload(&client, "STOR f", b"content");
        for _ in 0..100 {
            assert_eq!(session.tls_download(&client, "RETR f"), b"content");
        }
    }
}

#[test]
fn a_missing_or_foreign_tls_session_fails_with_522_tl_09_tl_11_ht_15_hd_06() {
    for version in Version::ALL {
        let secure = Secure::with(|tls| tls.session_reuse(SessionReuse::Require));
        secure.fixture.write("f", b"content");
        let (a, b) = (secure.client().version(version), secure.client().version(version));
        let mut of_a = secure.session(&a);
        let mut of_b = secure.session(&b);
        let stranger = secure.client().version(version);
        for (what, client) in [("another user's", &b), ("nobody's", &stranger)] {
            let data = of_a.passive();
            of_a.expect("RETR f", 150);
            // With TLS 1.3 the client does not see the refusal at once.
            if let Ok(mut data) = client.connect(data.into_stream()) {
                assert!(!data.shaken().resumed, "{what}");
                let (said, end) = data.read_to_its_end();
                assert_eq!((said.len(), end == End::CloseNotify), (0, false), "{what}");
            }
            of_a.expect_reply(522);
        }
        assert_eq!(of_a.tls_download(&a, "RETR f"), b"content");
        of_b.expect("PWD", 257);
        // Refused connections count too, and the counts survive a change of the settings.
        let server = &secure.fixture.server;
        server.set_tls(None).unwrap();
        let counted = server.resumptions();
        assert_eq!((counted.resumed, counted.missed), (1, 2));
    }
}

#[test]
fn a_tls_session_from_before_rein_or_auth_fails_with_522_tl_09_tl_11_ht_15() {
    for version in Version::ALL {
        let secure = Secure::with(|tls| tls.session_reuse(SessionReuse::Require));
        secure.fixture.write("f", b"content");
        let former = secure.client().version(version);
        let mut session = secure.fixture.greeted();
        session.expect("AUTH TLS", 234);
        let tcp = session.stream().try_clone().unwrap();
        let mut tls = former.connect(tcp.try_clone().unwrap()).unwrap();
        tls.write_all(b"REIN\r\n").unwrap();
        assert_eq!(tls.read_to_its_end().1, End::CloseNotify);
        tls.close_notify().unwrap();
        drop(tls);
        // The same connection, with all earlier sessions of its client.
        let mut session = RawSession::over(tcp);
        let now = secure.client().version(version);
        session.start_tls(&now);
        session.expect("USER u", 331);
        session.expect("PASS p", 230);
        session.protect();
        let tickets = former.sessions().count();
        assert!(tickets > 0, "nothing to try");
        let data = session.passive();
        session.expect("RETR f", 150);
        if let Ok(mut data) = former.connect(data.into_stream()) {
            assert!(!data.shaken().resumed);
            assert_eq!(data.read_to_its_end().0, b"");
        }
        session.expect_reply(522);
        session.expect("TYPE I", 200);
        assert_eq!(session.tls_download(&now, "RETR f"), b"content");
    }
}

#[test]
fn an_upload_truncated_at_any_record_fails_with_426_fs_15_tl_14_ht_06_dc_53() {
    let bytes = content(50_000);
    for version in Version::ALL {
        let secure = Secure::new();
        let client = secure.client().version(version);
        let mut session = secure.session(&client);
        let records = 4;
        for edge in 0..=records {
            for is_reset in [false, true] {
                let mut data = session.tls_data(&client, "STOR f");
                let made = data.records(&bytes);
                assert_eq!(made.len(), records);
                made[..edge].iter().for_each(|record| data.inject(record).unwrap());
                if is_reset {
                    data.reset();
                } else {
                    data.cut().unwrap();
                    let (_, end) = data.read_to_its_end();
                    assert_ne!(end, End::CloseNotify, "at {edge}");
                }
                session.expect_reply(426);
                assert_eq!(secure.fixture.published(), [""; 0], "at {edge}, {is_reset}");
            }
        }
        // Also within a record, and within the close_notify itself.
        let mut data = session.tls_data(&client, "STOR f");
        let made = data.records(&bytes).concat();
        let whole = [made, data.close_notify_record()].concat();
        data.inject(&whole[..whole.len() - 1]).unwrap();
        data.cut().unwrap();
        session.expect_reply(426);
        assert_eq!(secure.fixture.published(), [""; 0]);
        // An old file stays.
        secure.fixture.write("old", b"old");
        let mut data = session.tls_data(&client, "STOR old");
        data.write_all(b"new").unwrap();
        data.cut().unwrap();
        session.expect_reply(426);
        assert_eq!(secure.fixture.read("old"), b"old");
    }
}

#[test]
fn a_missing_close_notify_is_accepted_if_allowed_tl_14() {
    let secure = Secure::with(|tls| tls.allow_missing_close_notify(true));
    let client = secure.client();
    let mut session = secure.session(&client);
    let mut data = session.tls_data(&client, "STOR f");
    data.write_all(b"content").unwrap();
    data.cut().unwrap();
    session.expect_reply(226);
    assert_eq!(secure.fixture.read("f"), b"content");
    // Half a record is not an end, and neither is a reset.
    let mut data = session.tls_data(&client, "STOR g");
    let records = data.records(&content(20_000));
    data.inject(&records[0]).unwrap();
    data.inject(&records[1][..100]).unwrap();
    data.cut().unwrap();
    session.expect_reply(426);
    let data = session.tls_data(&client, "STOR g");
    data.reset();
    session.expect_reply(426);
    assert_eq!(secure.fixture.published(), ["f"]);
}

#[test]
fn an_upload_completes_at_close_notify_without_a_fin_tl_15() {
    let secure = Secure::new();
    let client = secure.client();
    let mut session = secure.session(&client);
    let mut data = session.tls_data(&client, "STOR f");
    data.write_all(b"content").unwrap();
    data.close_notify().unwrap();
    // The socket is still open on this side.
    session.expect_reply(226);
    assert_eq!(data.read_to_its_end(), (Vec::new(), End::CloseNotify));
}

#[test]
fn log_lines_report_the_tls_version_and_session_reuse_tl_09() {
    for (version, word) in [(Version::V1_2, "1.2"), (Version::V1_3, "1.3")] {
        let log = Log::new();
        let observer = log.text();
        let secure = Secure::built(|tls| tls, |builder| builder.observer(observer));
        let client = secure.client().version(version);
        let mut session = secure.session(&client);
        session.tls_upload(&client, "STOR f", b"content");
        assert_eq!(session.tls_download(&client, "RETR f"), b"content");
        let stranger = secure.client().version(version);
        let mut data = session.tls_data(&stranger, "STOR g");
        data.write_all(b"half").unwrap();
        data.cut().unwrap();
        session.expect_reply(426);
        let data = session.passive();
        session.expect("LIST", 150);
        data.close();
        session.expect_reply(522);
        session.expect("PROT C", 200);
        assert_eq!(session.download("RETR f"), b"content");
        let ends: Vec<_> = log
            .lines()
            .iter()
            .filter_map(|line| {
                let (_, end) = line.split_once("user=\"u\"")?;
                let from = end.find(" end=").or_else(|| end.find(" tls="))?;
                Some(end[from + 1..].replace(word, "VERSION"))
            })
            .collect();
        let want = [
            "tls=VERSION",
            "end=close-notify reply=226 tls=VERSION reuse=yes",
            "end=close-notify reply=226 tls=VERSION reuse=yes",
            "end=truncated reply=426 tls=VERSION reuse=no",
            "end=no-tls reply=522",
            "end=fin reply=226",
        ];
        assert_eq!(ends, want);
    }
}

#[test]
fn many_transfers_share_one_tls_data_connection_cm_147() {
    for version in Version::ALL {
        let secure = Secure::built(|tls| tls, |builder| builder.config(quick()));
        let client = secure.client().version(version);
        let mut session = secure.session(&client);
        session.expect("MODE B", 200);
        let mut data = session.tls_data(&client, "STOR a");
        let mut first = 150;
        for (name, length) in [("a", 0), ("b", 1), ("c", 100_000)] {
            let content = vec![b'x'; length];
            if first != 150 {
                session.expect(format!("STOR {name}"), first);
            }
            data.write_all(&blocks(&content, 20_000)).unwrap();
            session.expect_reply(250);
            first = 125;
            assert!(secure.fixture.read(name) == content);
            session.expect(format!("RETR {name}"), 125);
            assert!(read_file(&mut data).0 == content);
            session.expect_reply(250);
        }
        // Several at once, in one record.
        data.write_all(&[blocks(b"1", 9), blocks(b"2", 9), blocks(b"3", 9)].concat()).unwrap();
        session.send("STOR 1\r\nSTOR 2\r\nRETR 1\r\nSTOR 3\r\nRETR 3\r\n");
        for _ in 0..5 {
            session.expect_reply(125);
            session.expect_reply(250);
        }
        assert_eq!(read_file(&mut data).0, b"1");
        assert_eq!(read_file(&mut data).0, b"3");
        assert_eq!(secure.fixture.read("2"), b"2");
        // The end of the connection is protected too.
        session.expect("MODE S", 200);
        assert_eq!(data.read(&mut [0]).unwrap(), 0, "a close_notify");
        // A cut is a cut, even with close_notify; and PROT C does not use a protected connection.
        session.expect("MODE B", 200);
        let mut data = session.tls_data(&client, "STOR d");
        let whole = blocks(b"content", 9);
        data.write_all(&whole[..whole.len() - 1]).unwrap();
        data.close_notify().unwrap();
        session.expect_reply(426);
        let mut data = session.tls_data(&client, "STOR d");
        data.write_all(&whole).unwrap();
        session.expect_reply(250);
        session.expect("PROT C", 200);
        assert_eq!(data.read(&mut [0]).unwrap(), 0, "a close_notify");
        session.expect("RETR d", 425);
    }
}

#[test]
fn mode_z_works_under_tls_cm_142_cm_143() {
    for version in Version::ALL {
        let config = quick().compression(true);
        let secure = Secure::built(|tls| tls, |builder| builder.config(config));
        let client = secure.client().version(version);
        let mut session = secure.session(&client);
        session.expect("MODE Z", 200);
        let bytes = b"a line of a log\n".repeat(20_000);
        let stream = deflated(&bytes);
        session.tls_upload(&client, "STOR f", &stream);
        assert!(secure.fixture.read("f") == bytes);
        let sent = session.tls_download(&client, "RETR f");
        assert!(sent.len() < bytes.len() / 2 && inflated(&sent) == bytes, "{}", sent.len());
        session.expect("REST 100000", 350);
        assert!(inflated(&session.tls_download(&client, "RETR f")) == bytes[100_000..]);
        assert!(inflated(&session.tls_download(&client, "MLSD")).ends_with(b"f\r\n"));
        // Neither a cut stream nor a whole one without close_notify becomes a file.
        for length in [stream.len() / 2, stream.len()] {
            let mut data = session.tls_data(&client, "STOR g");
            data.write_all(&stream[..length]).unwrap();
            data.cut().unwrap();
            session.expect_reply(426);
            assert_eq!(secure.fixture.published(), ["f"], "{length}");
        }
        session.expect("MODE S", 200);
        assert!(session.tls_download(&client, "RETR f") == bytes);
    }
}
