//! Attacks by peers, and what they must never see.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ftp_server::{Tls, TlsPolicy};
use ftp_tests::raw::{DEADLINE, RawSession};
use ftp_tests::scale;
use ftp_tests::tls::{End, Version};
use ftp_tests::wait::{at_last, patiently, wait_until};

use super::super::{CUT, play, quick_with};
use super::Secure;

/// Passes on the bytes of client and server, and keeps those of the server.
struct Tap {
    session: RawSession,
    said: Arc<Mutex<Vec<u8>>>,
    ended: std::thread::JoinHandle<()>,
}

impl Tap {
    fn on(secure: &Secure) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        let mut server = TcpStream::connect(secure.fixture.server.local_addr()).unwrap();
        let said = Arc::new(Mutex::new(Vec::new()));
        let mut up = (far.try_clone().unwrap(), server.try_clone().unwrap());
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut up.0, &mut up.1);
            let _ = up.1.shutdown(Shutdown::Write);
        });
        let kept = Arc::clone(&said);
        let ended = std::thread::spawn(move || {
            let mut bytes = [0; 4_096];
            while let Ok(count @ 1..) = server.read(&mut bytes) {
                kept.lock().unwrap().extend_from_slice(&bytes[..count]);
                let _ = far.write_all(&bytes[..count]);
            }
            let _ = far.shutdown(Shutdown::Write);
        });
        let mut session = RawSession::over(near);
        session.expect_reply(220);
        Self { session, said, ended }
    }

    /// Asserts that the server sent only the greeting, the 234, and records. Returns their number.
    fn records(self) -> usize {
        drop(self.session);
        self.ended.join().unwrap();
        let said = self.said.lock().unwrap();
        let lines = said.windows(2).enumerate().filter(|(_, two)| *two == b"\r\n");
        let clear = lines.map(|(at, _)| at + 2).nth(1).expect("220 and 234");
        let (mut rest, mut count) = (&said[clear..], 0);
        while let [kind, 3, 1..=3, high, low, ..] = *rest {
            assert!((20..=23).contains(&kind), "record {count}: {kind}");
            let length = 5 + usize::from(u16::from_be_bytes([high, low]));
            rest = rest.get(length..).expect("a whole record");
            count += 1;
        }
        assert!(rest.is_empty(), "in clear: {}", rest.escape_ascii());
        count
    }
}

#[test]
fn no_reply_is_sent_in_plaintext_under_tls_ht_19() {
    patiently(CUT, |_| {
        let secure = Secure::new();
        secure.fixture.write("f", vec![b'x'; 20 << 20]);
        let client = secure.client();
        let mut tap = Tap::on(&secure);
        let session = &mut tap.session;
        session.start_tls(&client);
        play(session, &[("USER u", 331), ("PASS p", 230), ("PBSZ 0", 200), ("PROT P", 200)]);
        play(
            session,
            &[("TYPE I", 200), ("MLST f", 250), ("STAT", 211), ("STAT f", 213), ("PWD", 257)],
        );
        // Data connections bypass the tap, which passes on only their announcement.
        let download = session.tls_data(&client, "RETR f");
        session.expect("STAT", 211);
        session.expect("ABOR", 426);
        session.expect_reply(226);
        drop(download);
        let mut upload = session.tls_data(&client, "STOR g");
        upload.write_all(b"some").unwrap();
        session.expect("STAT", 211);
        session.send("\u{0}\r\n");
        session.send("ABOR\r\n");
        session.expect_reply(426);
        session.expect_reply(226);
        session.expect_reply(501);
        session.expect("QUIT", 221);
        session.expect_closed();
        assert!(tap.records() > 20);
        // A late login, a kicked session, and a server that shuts down.
        let config = quick_with(|config| config.timeouts.login = Duration::from_secs(1));
        let hasty = Secure::built(|tls| tls, |builder| builder.config(config));
        // A busy machine may be late for the handshake too.
        let mut late = at_last("a handshake in time", || {
            let mut late = Tap::on(&hasty);
            late.session.try_send("AUTH TLS\r\n").ok()?;
            late.session.try_reply().ok().filter(|reply| reply.code == 234)?;
            let tls = hasty.client().connect(late.session.stream().try_clone().unwrap()).ok()?;
            late.session.put_on(Box::new(tls));
            Some(late)
        });
        late.session.expect_reply(421);
        late.session.expect_closed();
        late.records();
        let mut kicked = Tap::on(&secure);
        kicked.session.start_tls(&client);
        play(&mut kicked.session, &[("USER u", 331), ("PASS p", 230)]);
        let number = secure.fixture.server.sessions().last().unwrap().number;
        assert!(secure.fixture.server.kick(number));
        kicked.session.expect_reply(421);
        kicked.session.expect_closed();
        kicked.records();
        let mut drained = Tap::on(&secure);
        drained.session.start_tls(&client);
        play(&mut drained.session, &[("USER u", 331), ("PASS p", 230)]);
        drop(secure);
        drained.session.expect_reply(421);
        drained.session.expect_closed();
        drained.records();
    });
}

#[test]
fn abor_stat_and_quit_work_during_tls_transfers_dc_40_to_dc_47() {
    for version in Version::ALL {
        let secure = Secure::new();
        secure.fixture.write("f", vec![b'x'; 20 << 20]);
        let client = secure.client().version(version);
        let mut session = secure.session(&client);
        // Downloads that no client reads.
        let data = session.tls_data(&client, "RETR f");
        let status = session.expect("STAT", 211).text();
        assert!(status.contains("Transfer in progress"), "{status}");
        session.line("NOOP");
        session.expect("ABOR", 426);
        session.expect_reply(226);
        session.expect_reply(200);
        drop(data);
        // Uploads without data: the received part is discarded.
        let mut data = session.tls_data(&client, "STOR g");
        data.write_all(b"half").unwrap();
        session.expect("STAT", 211);
        session.expect("ABOR", 426);
        session.expect_reply(226);
        let (_, end) = data.read_to_its_end();
        assert_ne!(end, End::CloseNotify);
        assert_eq!(secure.fixture.published(), ["f"]);
        // QUIT waits.
        let mut data = session.tls_data(&client, "STOR g");
        session.line("QUIT");
        data.write_all(b"whole").unwrap();
        data.finish().unwrap();
        session.expect_reply(226);
        session.expect_reply(221);
        session.expect_closed();
        assert_eq!(secure.fixture.read("g"), b"whole");
        // After a disconnect nothing is left.
        let mut session = secure.session(&client);
        let mut data = session.tls_data(&client, "STOR h");
        data.write_all(b"half").unwrap();
        drop(session);
        let (_, end) = data.read_to_its_end();
        assert_ne!(end, End::CloseNotify);
        assert_eq!(secure.fixture.published(), ["f", "g"]);
    }
}

#[test]
fn auth_waits_for_the_end_of_a_transfer_cm_65() {
    let secure = Secure::new();
    let client = secure.client();
    let mut session = secure.fixture.session();
    let mut data = session.passive();
    session.expect("STOR f", 150);
    session.line("AUTH TLS");
    data.write_all(b"content");
    session.expect("STAT", 211);
    data.close();
    session.expect_reply(226);
    session.expect_reply(234);
    let tls = client.connect(session.stream().try_clone().unwrap()).unwrap();
    session.put_on(Box::new(tls));
    play(&mut session, &[("PWD", 530), ("USER u", 331), ("PASS p", 230)]);
    assert_eq!(secure.fixture.read("f"), b"content");
}

#[test]
fn a_stalled_tls_transfer_fails_with_426_hd_01_st_09() {
    let config = quick_with(|config| config.timeouts.stall = Duration::from_millis(700));
    let secure = Secure::built(|tls| tls, |builder| builder.config(config));
    secure.fixture.write("f", vec![b'x'; 64 << 20]);
    let client = secure.client();
    let mut session = secure.session(&client);
    let unread = session.tls_data(&client, "RETR f");
    session.expect_reply(426);
    drop(unread);
    let mut silent = session.tls_data(&client, "STOR g");
    silent.write_all(b"some").unwrap();
    session.expect_reply(426);
    assert_eq!(secure.fixture.published(), ["f"]);
    // A busy machine may let this one stall too.
    wait_until("an upload is in time", || {
        let mut data = session.tls_data(&client, "STOR g");
        let _ = data.write_all(b"content").and_then(|()| data.finish());
        let code = session.reply().code;
        assert!([226, 426].contains(&code), "{code}");
        code == 226
    });
}

#[test]
fn key_updates_are_accepted_up_to_a_limit_ht_13_tl_04() {
    let secure = Secure::new();
    let client = secure.client().version(Version::V1_3);
    let connect = || {
        let mut session = secure.fixture.greeted();
        session.expect("AUTH TLS", 234);
        client.connect(session.stream().try_clone().unwrap()).unwrap()
    };
    let noop = |tls: &mut ftp_tests::tls::TlsStream| {
        tls.write_all(b"NOOP\r\n")?;
        let mut reply = [0; 18];
        tls.read_exact(&mut reply).map(|()| reply.starts_with(b"200 "))
    };
    let mut tls = connect();
    let mut count = 0;
    // Commands in between do not reset the count.
    let refused = loop {
        match tls.update_keys().and_then(|()| noop(&mut tls)) {
            Ok(is_right) => assert!(is_right),
            Err(error) => break error,
        }
        count += 1;
        assert!(count <= 32, "{count} updates of the keys");
    };
    assert_eq!(count, 32, "{refused}");
    // Without commands the limit is the same.
    let mut tls = connect();
    for _ in 0..40 {
        if tls.update_keys().is_err() {
            break;
        }
    }
    assert!(noop(&mut tls).is_err());
    // On data connections too.
    let mut session = secure.session(&client);
    let mut data = session.tls_data(&client, "STOR f");
    for _ in 0..40 {
        // The client may have disconnected.
        if data.write_all(b"x").and_then(|()| data.update_keys()).is_err() {
            break;
        }
    }
    session.expect_reply(426);
    assert_eq!(secure.fixture.published(), [""; 0]);
    let mut data = session.tls_data(&client, "STOR f");
    for _ in 0..20 {
        data.write_all(b"x").and_then(|()| data.update_keys()).unwrap();
    }
    data.finish().unwrap();
    data.read_to_its_end();
    session.expect_reply(226);
    assert_eq!(secure.fixture.read("f"), [b'x'; 20]);
}

#[test]
fn stalled_handshakes_do_not_delay_logins_at_scale_ht_11_go_07() {
    let count = scale::count(100, 500);
    // None of them ends within the test.
    let long = Duration::from_secs(600);
    let config = quick_with(|config| {
        config.timeouts.login = long;
        config.timeouts.tls_handshake = long;
    });
    let policy = |tls: Tls| tls.control(TlsPolicy::Required);
    let secure = Secure::built(policy, |builder| builder.config(config));
    let client = secure.client();
    let hello = client.hello();
    let address = secure.fixture.server.local_addr();
    let stalled: Vec<_> = (0..count)
        .map(|number| {
            let mut session = RawSession::greeted(address);
            session.expect("AUTH TLS", 234);
            let mut stream = session.stream().try_clone().unwrap();
            // No byte, half of it, or all of it and then nothing.
            stream.write_all(&hello[..hello.len() * (number % 3) / 2]).unwrap();
            (session, stream)
        })
        .collect();
    let mut slowest = Duration::ZERO;
    for _ in 0..10 {
        let begun = Instant::now();
        let mut session = secure.greeted(&client);
        play(&mut session, &[("USER u", 331), ("PASS p", 230)]);
        slowest = slowest.max(begun.elapsed());
        session.expect("QUIT", 221);
    }
    println!("{count} handshakes that stall: a login takes {slowest:?} at most");
    let limit = if scale::is_full() { Duration::from_millis(1_500) } else { DEADLINE };
    assert!(slowest < limit, "{slowest:?}");
    drop(stalled);
}
