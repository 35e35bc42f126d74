//! Transfers under a rate limit: their speed, and commands during them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ftp_server::{Login, MemoryStorage, Rights, Server, UserLimits, UserTable};
use ftp_tests::raw::RawSession;
use ftp_tests::wait::patiently;

use super::{CUT, Fixture};

const RATE: u64 = 64 * 1024;

/// The minimum duration of a second's bytes: some may move at once, and late ones catch up.
const SECOND: Duration = Duration::from_millis(750);

/// The maximum duration, on any machine.
const LONG: Duration = Duration::from_secs(60);

fn content(seconds: u64) -> Vec<u8> {
    vec![b'\n'; usize::try_from(RATE * seconds).expect("it fits")]
}

#[test]
fn each_session_is_limited_to_its_rate() {
    let config = super::quick_with(|config| config.limits.rate_per_session = RATE);
    let fixture = Fixture::configured(config);
    fixture.write("file", content(1));
    fixture.write("half", vec![b'\n'; content(1).len() / 2]);
    let mut session = fixture.session();
    let timed = |session: &mut RawSession, act: &dyn Fn(&mut RawSession)| {
        let start = Instant::now();
        act(session);
        let took = start.elapsed();
        assert!(took >= SECOND && took < LONG, "{took:?}");
    };
    // Sent by the kernel, and converted to twice as many bytes.
    session.expect("TYPE I", 200);
    timed(&mut session, &|session| assert!(session.download("RETR file") == content(1)));
    session.expect("TYPE A", 200);
    timed(&mut session, &|session| assert_eq!(session.download("RETR half").len(), 64 * 1024));
    session.expect("TYPE I", 200);
    timed(&mut session, &|session| session.upload("STOR new", &content(1)));
    assert!(fixture.read("new") == content(1));
    // Sessions do not wait for each other.
    let mut sessions: Vec<_> = (0..64).map(|_| fixture.session()).collect();
    let start = Instant::now();
    std::thread::scope(|scope| {
        for session in &mut sessions {
            scope.spawn(|| {
                session.expect("TYPE I", 200);
                timed(session, &|session| assert!(session.download("RETR file") == content(1)));
            });
        }
    });
    assert!(start.elapsed() < 60 * SECOND, "{:?}", start.elapsed());
}

#[test]
fn all_sessions_of_a_user_share_one_rate_limit() {
    let config = super::quick_with(|config| config.limits.rate_per_user = RATE);
    let fixture = Fixture::with(|builder| {
        builder.config(config).user("v", "p", Rights::FULL).anonymous(Rights::READ)
    });
    fixture.write("file", content(1));
    let start = Instant::now();
    std::thread::scope(|scope| {
        for (user, verb) in
            [("u", "RETR file"), ("u", "RETR file"), ("u", "STOR"), ("v", "RETR file")]
        {
            let address = fixture.server.local_addr();
            scope.spawn(move || {
                let mut session = RawSession::login(address, user, "p");
                session.set_deadline(LONG);
                session.expect("TYPE I", 200);
                match verb {
                    "STOR" => session.upload("STOR new", &content(1)),
                    _ => assert!(session.download(verb) == content(1)),
                }
                assert!(start.elapsed() >= SECOND, "{:?}", start.elapsed());
            });
        }
    });
    let took = start.elapsed();
    assert!(took >= 3 * SECOND && took < LONG, "{took:?}");
}

#[test]
fn a_user_can_have_custom_rate_limits() {
    // So slow that no transfer ends within a test.
    let config = super::quick_with(|config| {
        config.limits.rate_per_session = 1;
        config.limits.rate_per_user = 1;
    });
    let storage = Arc::new(MemoryStorage::new());
    let login = |rate_per_session, rate_per_user| {
        let limits =
            UserLimits::default().rate_per_session(rate_per_session).rate_per_user(rate_per_user);
        Login::new(storage.clone(), Rights::FULL).limits(limits)
    };
    let table = UserTable::new()
        .user("any", "p", login(0, 0))
        .user("of-session", "p", login(RATE, 0))
        .user("of-user", "p", login(0, RATE));
    let server = Server::builder().config(config).authenticator(table).bind("127.0.0.1:0");
    let server = server.unwrap();
    let upload = |user| {
        let mut session = RawSession::login(server.local_addr(), user, "p");
        session.set_deadline(LONG);
        session.expect("TYPE I", 200);
        let start = Instant::now();
        session.upload(format!("STOR {user}"), &content(1));
        start.elapsed()
    };
    upload("any");
    for user in ["of-session", "of-user"] {
        let took = upload(user);
        assert!(took >= SECOND && took < LONG, "{user}: {took:?}");
    }
}

#[test]
fn abor_and_stat_are_served_during_a_rate_limited_transfer_cm_133_dc_45() {
    patiently(CUT, |_| {
        let stall = Duration::from_millis(200);
        let config = super::quick_with(|config| {
            config.limits.rate_per_session = 2;
            config.timeouts.stall = stall;
        });
        let fixture = Fixture::configured(config);
        fixture.write("file", content(1));
        fixture.write("short", "abc");
        let mut session = fixture.session();
        session.expect("TYPE I", 200);
        // Each byte takes longer than the stall timeout.
        assert_eq!(session.download("RETR short"), b"abc");
        // Sent before the command, so that a busy machine does not let the upload stall.
        let mut data = session.passive();
        data.write_all(b"abc");
        data.close();
        session.expect("STOR new", 150);
        session.expect_reply(226);
        assert_eq!(fixture.read("new"), b"abc");
        for (line, wants) in [("RETR file", "bytes so far"), ("STOR cut", "bytes so far")] {
            let mut data = session.passive();
            if line.starts_with("STOR") {
                data.write_all(&[b'x'; 1_000]);
            }
            // The whole transfer would take minutes.
            session.expect(line, 150);
            assert!(session.expect("STAT", 211).text().contains(wants));
            session.expect("ABOR", 426);
            session.expect_reply(226);
        }
        // A shutdown is noticed too.
        let _data = session.passive();
        session.expect("RETR file", 150);
        let report = fixture.server.shutdown(Duration::from_millis(100));
        assert_eq!((report.cut, report.stuck), (1, 0));
        session.expect_reply(426);
        session.expect_reply(421);
    });
}
