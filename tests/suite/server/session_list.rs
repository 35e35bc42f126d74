//! The sessions of a running server: how they are shown and ended.

use std::io;
use std::time::Duration;

use ftp_server::{Activity, SessionInfo};
use ftp_tests::process::LIMIT;
use ftp_tests::wait::{at_last, wait_until};

use super::Fixture;
use super::events::address;

#[test]
fn sessions_are_listed_and_can_be_kicked_st_13() {
    let fixture = Fixture::new();
    let (mut idle, mut nobody) = (fixture.session(), fixture.greeted());
    let mut busy = fixture.session();
    let mut data = busy.passive();
    busy.expect("STOR a b", 150);
    data.write_all(&[b'x'; 300_000]);
    let server = &fixture.server;
    let sessions = at_last("300,000 bytes are read", || {
        let sessions = server.sessions();
        let all_are_read =
            matches!(sessions[2].activity, Activity::Transfer { bytes: 300_000, .. });
        all_are_read.then_some(sessions)
    });
    let seen: Vec<_> = sessions.iter().map(|s| (s.number, s.peer, s.user.as_deref())).collect();
    let user = Some(&b"u"[..]);
    let want = [(1, address(&idle), user), (2, address(&nobody), None), (3, address(&busy), user)];
    assert_eq!(seen, want);
    assert!(sessions.iter().all(|s| s.since.elapsed().is_ok_and(|age| age < LIMIT)));
    assert_eq!(sessions[0].activity, Activity::Idle);
    match &sessions[2].activity {
        Activity::Transfer { verb, path, .. } => {
            assert_eq!((verb.as_str(), path.as_bytes()), ("STOR", &b"/a b"[..]));
        }
        other => panic!("{other:?}"),
    }
    // After REIN and a new login it is the same session, in another thread.
    idle.expect("REIN", 220);
    assert_eq!(server.sessions()[0].user, None);
    idle.expect("USER reader", 331);
    idle.expect("PASS p", 230);
    let first = &server.sessions()[0];
    assert_eq!((first.number, first.user.as_deref()), (1, Some(&b"reader"[..])));

    assert!(!server.kick(4));
    // Input that was not read yet makes no difference.
    idle.send("NOO");
    for (number, session, replies) in
        [(1, &mut idle, &[421][..]), (2, &mut nobody, &[421]), (3, &mut busy, &[426, 421])]
    {
        assert!(server.kick(number));
        replies.iter().for_each(|code| drop(session.expect_reply(*code)));
        session.expect_closed();
    }
    drop(data);
    wait_until("no session is left", || server.sessions().is_empty());
    assert!(!server.kick(1));
    assert_eq!(fixture.published(), [""; 0], "nothing of the upload is published");
    let mut next = fixture.session();
    next.expect_in_step();
    assert_eq!(server.sessions()[0].number, 4);
}

#[test]
fn a_dismissed_session_ends_after_its_transfer() {
    let fixture = Fixture::new();
    let (mut idle, mut busy) = (fixture.session(), fixture.session());
    let mut data = busy.passive();
    busy.expect("STOR f", 150);
    data.write_all(b"first");
    let server = &fixture.server;
    wait_until("the session is idle for a while", || {
        let first = &server.sessions()[0];
        first.idle > Duration::from_millis(20) && first.activity == Activity::Idle
    });
    idle.expect("NOOP", 200);
    assert!(server.sessions()[0].idle < LIMIT);
    match server.sessions()[1] {
        SessionInfo { activity: Activity::Transfer { elapsed, .. }, idle, .. } => {
            assert!(elapsed > Duration::ZERO && idle == Duration::ZERO);
        }
        ref other => panic!("{other:?}"),
    }
    for number in [1, 2] {
        assert!(server.dismiss(number));
    }
    assert!(!server.dismiss(2));
    idle.expect_reply(421);
    idle.expect_closed();
    data.write_all(b" and last");
    drop(data);
    busy.expect_reply(226);
    busy.expect_reply(421);
    busy.expect_closed();
    assert_eq!(fixture.read("f"), b"first and last");
    wait_until("no session is left", || server.sessions().is_empty());
    assert!(!server.dismiss(1));
}

#[test]
fn stop_listening_keeps_existing_sessions() {
    let fixture = Fixture::new();
    let address = fixture.server.local_addr();
    let mut session = fixture.session();
    let Fixture { mut server, .. } = fixture;
    server.stop_listening();
    let refused = std::net::TcpStream::connect(address).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    session.upload("STOR f", b"content");
    session.expect("QUIT", 221);
    wait_until("no session is left", || server.sessions().is_empty());
    assert_eq!(server.shutdown(LIMIT).drained, 0);
}

#[test]
fn a_session_kicked_while_it_waits_gets_421_st_13() {
    let config = super::quick_with(|config| {
        config.logins.delay = Duration::from_secs(300);
        config.timeouts.login = Duration::from_secs(600);
        config.limits.rate_per_session = 1;
    });
    let fixture = Fixture::configured(config);
    let mut user = fixture.session();
    let mut data = user.passive();
    user.expect("STOR slow", 150);
    data.write_all(b"some bytes");
    let mut guessing = fixture.greeted();
    guessing.expect("USER u", 331);
    guessing.send("PASS wrong\r\n");
    for (number, session, replies) in [(1, &mut user, &[426, 421][..]), (2, &mut guessing, &[421])]
    {
        assert!(fixture.server.kick(number));
        replies.iter().for_each(|code| drop(session.expect_reply(*code)));
        session.expect_closed();
    }
    drop(data);
}
