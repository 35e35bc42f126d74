//! Wrong passwords: when they are answered, what they cost, and how often they may come.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use ftp_proto::Network;
use ftp_server::{
    AuthError, Authenticator, LocalStorage, Login, LoginAttempt, PasswordHash, Rights, Server,
    ServerConfig, UserTable,
};
use ftp_tests::network::in_own_network;
use ftp_tests::raw::{DEADLINE, RawSession};
use ftp_tests::scale;
use ftp_tests::wait::{at_last, patiently, wait_until};

use super::events::Log;
use super::{Fixture, play};

/// An argon2id hash that takes long enough to measure, and matches no password.
const SLOW: &str = "$argon2id$v=19$m=8192,t=24,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA";

/// Returns the time from a line to its reply.
fn time_of(session: &mut RawSession, line: &str, code: u16) -> Duration {
    let start = Instant::now();
    session.expect(line, code);
    start.elapsed()
}

#[test]
fn each_failed_login_doubles_the_delay_cm_12() {
    let login_delay = Duration::from_millis(300);
    let fixture =
        Fixture::configured(super::quick_with(|config| config.logins.delay = login_delay));
    std::thread::scope(|scope| {
        for user in ["u", "unknown", "anonymous"] {
            let mut session = fixture.greeted();
            scope.spawn(move || {
                for (times, code) in [(1, 530), (2, 530), (4, 421)] {
                    session.expect(format!("USER {user}"), 331);
                    let took = time_of(&mut session, "PASS wrong", code);
                    assert!(took >= login_delay * times, "{user}: {took:?}");
                }
                session.expect_closed();
            });
        }
    });
    // The right password is answered at once, compared with 10 minutes.
    let login_delay = Duration::from_secs(600);
    let fixture =
        Fixture::configured(super::quick_with(|config| config.logins.delay = login_delay));
    drop(fixture.session());
}

#[test]
fn commands_during_the_login_delay_are_answered_after_it_cm_12_fr_26() {
    let login_delay = Duration::from_millis(300);
    let fixture =
        Fixture::configured(super::quick_with(|config| config.logins.delay = login_delay));
    let mut session = fixture.greeted();
    let begun = Instant::now();
    session.send("USER u\r\nPASS wrong\r\nABOR\r\nSTAT\r\nNO");
    session.expect_reply(331);
    session.send("OP\r\n");
    for code in [530, 225, 530, 200] {
        session.expect_reply(code);
    }
    assert!(begun.elapsed() >= login_delay);
    // A client that sends everything and closes its side still gets the replies, with the same
    // delay.
    let mut session = fixture.greeted();
    let begun = Instant::now();
    session.send("USER u\r\nPASS wrong\r\nQUIT\r\n");
    session.stream().shutdown(std::net::Shutdown::Write).expect("a connection");
    for code in [331, 530, 221] {
        session.expect_reply(code);
    }
    session.expect_closed();
    assert!(begun.elapsed() >= login_delay);
    // Lines beyond the queue stay unread.
    let mut session = fixture.greeted();
    session.send(format!("USER u\r\nPASS wrong\r\n{}", "NOOP\r\n".repeat(2_000)));
    session.expect_reply(331);
    session.expect_reply(530);
    (0..2_000).for_each(|_| drop(session.expect_reply(200)));
    session.expect_in_step();
}

#[test]
fn a_disconnect_ends_the_login_delay_cm_12() {
    let config = super::quick_with(|config| {
        config.logins.delay = Duration::from_secs(600);
        config.timeouts.login = Duration::from_secs(600);
    });
    let fixture = Fixture::configured(config);
    for is_reset in [false, true] {
        let mut session = fixture.greeted();
        session.expect("USER u", 331);
        session.line("PASS wrong");
        assert_eq!(fixture.server.sessions().len(), 1);
        if is_reset {
            let linger = socket2::SockRef::from(session.stream()).set_linger(Some(Duration::ZERO));
            linger.expect("a socket that is reset when it is closed");
        }
        drop(session);
        wait_until("it is not waited for", || fixture.server.sessions().is_empty());
    }
}

#[test]
fn a_shutdown_does_not_wait_for_login_delays_cm_12_st_13() {
    let config = super::quick_with(|config| {
        config.logins.delay = Duration::from_secs(600);
        config.timeouts.login = Duration::from_secs(600);
    });
    let fixture = Fixture::configured(config);
    let mut session = fixture.greeted();
    session.expect("USER u", 331);
    session.line("PASS wrong");
    let report = fixture.server.shutdown(DEADLINE);
    assert_eq!((report.drained, report.cut, report.stuck), (1, 0, 0));
    session.expect_reply(421);
    session.expect_closed();
}

#[test]
fn the_login_timeout_runs_during_the_login_delay_cm_12_st_10() {
    let config = super::quick_with(|config| {
        config.logins.delay = Duration::from_secs(50);
        config.timeouts.login = Duration::from_millis(500);
    });
    let fixture = Fixture::configured(config);
    // On a busy machine, the time may be over before the password arrives.
    at_last("the password arrives in time", || {
        let mut session = RawSession::connect(fixture.server.local_addr());
        session.try_send("USER u\r\nPASS wrong\r\n").ok()?;
        let replies = std::iter::from_fn(|| session.try_reply().ok());
        let codes: Vec<_> = replies.map(|reply| reply.code).collect();
        (codes == [220, 331, 530, 421]).then_some(())
    });
}

fn greeting(from: &str, server: SocketAddr) -> u16 {
    RawSession::connect_from(from.parse().expect("an address"), server).reply().code
}

fn port_of(session: &RawSession) -> u16 {
    session.stream().local_addr().expect("an address").port()
}

fn fail(session: &mut RawSession, code: u16) {
    session.expect("USER u", 331);
    session.expect("PASS wrong", code);
}

/// The login watchdog used to end sessions that sent USER after their login timeout.
#[test]
fn the_login_timeout_does_not_end_logged_in_sessions() {
    let limit = Duration::from_secs(1);
    let config = super::quick_with(|config| config.timeouts.login = limit);
    let fixture = Fixture::configured(config);
    let mut session = RawSession::login_in_time(fixture.server.local_addr(), "u", "p");
    let start = Instant::now();
    while start.elapsed() < limit + limit / 4 {
        session.expect("USER u", 530);
        session.expect("PASS p", 503);
    }
}

#[test]
fn a_host_with_too_many_failed_logins_is_banned_for_a_time_hs_28_hs_29() {
    let test =
        "server::guessing::a_host_with_too_many_failed_logins_is_banned_for_a_time_hs_28_hs_29";
    let addresses =
        ["192.0.2.1/24", "192.0.2.2/24", "2001:db8::1/64", "2001:db8::2/64", "2001:db8:1::1/64"];
    if !in_own_network(test, &addresses) {
        return;
    }
    let root = tempfile::tempdir().expect("a directory");
    let (log, ban_for) = (Log::new(), Duration::from_secs(1));
    let config = |seconds| {
        super::quick_with(|config| {
            config.logins.ban_after = 7;
            config.logins.ban_for = seconds;
        })
    };
    let server = Server::builder().root(root.path()).config(config(Duration::from_secs(600)));
    let server = server.user("u", "p", Rights::FULL);
    let server = server.observer(log.text());
    let server = server.bind("[::]:0").expect("a server");
    let at = |host: &str| SocketAddr::new(host.parse().unwrap(), server.local_addr().port());
    let from = |host: &str, to: &str| {
        let mut session = RawSession::connect_from(host.parse().unwrap(), at(to));
        session.expect_reply(220);
        session
    };
    // Returns the session for the last guess.
    let guess = |attacker: &str, to: &str| {
        for _ in 0..2 {
            let mut session = from(attacker, to);
            [530, 530, 421].into_iter().for_each(|code| fail(&mut session, code));
            session.expect_closed();
        }
        from(attacker, to)
    };
    let has_begun = |who: &str, seconds: &str| {
        let begins = format!(" {who} seconds={seconds}");
        let is_told = |line: &&String| line.contains(" ban session=") && line.ends_with(&begins);
        assert_eq!(log.lines().iter().filter(is_told).count(), 1, "{:?}", log.lines());
    };
    let hosts = [
        ("192.0.2.2", "192.0.2.2", "192.0.2.1", "192.0.2.1", "192.0.2.2/32"),
        ("2001:db8::2", "2001:db8::1", "2001:db8:1::1", "2001:db8::1", "2001:db8::/64"),
    ];
    for (attacker, again, other, to, network) in hosts {
        let (mut idle, mut user) = (from(attacker, to), from(attacker, to));
        play(&mut user, &[("USER u", 331), ("PASS p", 230)]);
        let mut last = guess(attacker, to);
        assert_eq!(greeting(again, at(to)), 220, "six are not seven");
        fail(&mut last, 530);
        let mut refused = RawSession::connect_from(again.parse().unwrap(), at(to));
        assert_eq!(refused.expect_reply(421).bytes, b"421 Too many failed logins\r\n");
        refused.expect_closed();
        let is_told = |line: &String| {
            line.contains(&format!(" refused peer={again} ")) && line.contains(" reason=banned")
        };
        wait_until("the refusal is logged", || {
            // One refusal per second is logged, and it may be of another host.
            let _ = greeting(again, at(to));
            std::thread::park_timeout(Duration::from_millis(50));
            log.lines().iter().any(is_told)
        });
        // The user can log in from other hosts, and existing sessions continue.
        let mut elsewhere = RawSession::login_from(other.parse().unwrap(), at(to), "u", "p");
        elsewhere.expect_in_step();
        user.expect_in_step();
        idle.expect("USER u", 331);
        assert_eq!(idle.expect("PASS p", 421).bytes, b"421 Too many failed logins\r\n");
        idle.expect_closed();
        let port = port_of(&last);
        has_begun(&format!("peer={attacker} port={port} network={network}"), "600.000");
    }
    // The same with short bans, which end by themselves.
    let storage = LocalStorage::open(root.path()).expect("it opens");
    let users = UserTable::new().user("u", "p", Login::new(Arc::new(storage), Rights::FULL));
    server.reconfigure(config(ban_for), users).expect("a change");
    for (attacker, again, _, to, network) in hosts {
        let mut last = guess(attacker, to);
        let begun = Instant::now();
        fail(&mut last, 530);
        wait_until("the ban ends", || {
            std::thread::park_timeout(Duration::from_millis(50));
            greeting(again, at(to)) == 220
        });
        // The peer of the last login, which the end of the ban reports too.
        let who = format!("peer={attacker} port={} network={network}", port_of(&last));
        has_begun(&who, "1.000");
        let ends = format!(" ban-ended {who}");
        wait_until("the end of the ban is logged", || {
            log.lines().iter().any(|line| line.ends_with(&ends))
        });
        assert!(begun.elapsed() >= ban_for, "{:?}: the ban ends early", begun.elapsed());
        RawSession::login_from(again.parse().unwrap(), at(to), "u", "p").expect_in_step();
    }
}

#[test]
fn open_connections_of_a_banned_host_get_no_further_guesses_hs_28() {
    let test = "server::guessing::open_connections_of_a_banned_host_get_no_further_guesses_hs_28";
    if !in_own_network(test, &["192.0.2.1/24", "192.0.2.2/24"]) {
        return;
    }
    /// Counts the calls.
    struct Counting(AtomicUsize);

    impl Authenticator for Counting {
        fn login(&self, _attempt: &LoginAttempt<'_>) -> Result<Login, AuthError> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Err(AuthError::Refused)
        }
    }

    let asked = Arc::new(Counting(AtomicUsize::new(0)));
    let log = Log::new();
    let ban_for = Duration::from_secs(600);
    let config = super::quick_with(|config| {
        config.logins.ban_after = 5;
        config.logins.ban_for = ban_for;
    });
    let builder = Server::builder().config(config).authenticator(Arc::clone(&asked));
    let server = builder.observer(log.text()).bind("192.0.2.1:0");
    let server = server.expect("a server");
    let mut sessions: Vec<_> = (0..20)
        .map(|_| {
            let mut session = RawSession::connect_from([192, 0, 2, 2].into(), server.local_addr());
            session.expect_reply(220);
            session
        })
        .collect();
    let (first, rest) = sessions.split_at_mut(5);
    first.iter_mut().for_each(|session| fail(session, 530));
    first.iter_mut().chain(rest).for_each(|session| fail(session, 421));
    sessions.iter_mut().for_each(RawSession::expect_closed);
    assert_eq!(asked.0.load(Ordering::SeqCst), 5, "guesses");
    let refused = |line: &&String| line.contains(" login-refused ");
    let lines = log.lines();
    let banned = lines.iter().filter(refused).filter(|line| line.contains(" reason=banned"));
    assert_eq!((lines.iter().filter(refused).count(), banned.count()), (25, 20), "{lines:?}");
}

#[test]
fn removed_bans_are_logged_as_ended_hs_28() {
    let test = "server::guessing::removed_bans_are_logged_as_ended_hs_28";
    if !in_own_network(test, &["192.0.2.1/24"]) {
        return;
    }
    let root = tempfile::tempdir().expect("a directory");
    let log = Log::new();
    let config = super::quick_with(|config| {
        config.logins.ban_after = 1;
        config.logins.ban_for = Duration::MAX;
    });
    let server = Server::builder().root(root.path()).config(config.clone());
    let server = server.observer(log.text()).bind("192.0.2.1:0");
    let server = server.expect("a server");
    let (mut guest, mut other) =
        (RawSession::greeted(server.local_addr()), RawSession::greeted(server.local_addr()));
    fail(&mut guest, 530);
    assert_eq!(RawSession::connect(server.local_addr()).reply().code, 421);
    let logins = config.logins.ban_for(Duration::from_secs(600));
    let config = config.logins(logins);
    server.reconfigure(config, UserTable::new()).expect("a change");
    let ended = format!(" ban-ended peer=192.0.2.1 port={} network=192.0.2.1/32", port_of(&guest));
    wait_until("the end of the ban is logged", || {
        log.lines().iter().any(|line| line.ends_with(&ended))
    });
    drop(RawSession::greeted(server.local_addr()));
    // Failures of a session that began before count in the present window.
    fail(&mut other, 530);
    assert_eq!(RawSession::connect(server.local_addr()).reply().code, 421);
    let begins = |line: &String| line.contains(" ban session=2 ") && line.ends_with("=600.000");
    assert_eq!(log.lines().iter().filter(|line| begins(line)).count(), 1, "{:?}", log.lines());
    // An operator ends it earlier.
    let host = "192.0.2.1".parse().expect("an address");
    let bans = server.bans();
    assert!(matches!(bans[..], [(banned, left)] if banned == host && !left.is_zero()), "{bans:?}");
    assert!(server.unban(host) && !server.unban(host) && server.bans().is_empty());
    drop(RawSession::greeted(server.local_addr()));
    let ends = |line: &String| line.contains(" ban-ended ");
    wait_until("the end of the ban is logged", || {
        log.lines().iter().filter(|l| ends(l)).count() == 2
    });
}

#[test]
fn failed_logins_lock_out_no_user_and_loopback_is_exempt_hs_29() {
    let fixture = Fixture::configured(super::quick_with(|config| config.logins.ban_after = 2));
    for _ in 0..4 {
        let mut session = fixture.greeted();
        [530, 530, 421].into_iter().for_each(|code| fail(&mut session, code));
    }
    let address = fixture.server.local_addr();
    RawSession::login_from([127, 0, 0, 2].into(), address, "u", "p").expect_in_step();
    fixture.session().expect_in_step();
}

/// Windows tries an anonymous login for each window, and banned whole offices.
#[test]
fn a_login_as_anonymous_counts_towards_no_ban_hs_28() {
    let test = "server::guessing::a_login_as_anonymous_counts_towards_no_ban_hs_28";
    if !in_own_network(test, &["192.0.2.1/24"]) {
        return;
    }
    let root = tempfile::tempdir().expect("a directory");
    let log = Log::new();
    let config = super::quick_with(|config| config.logins.ban_after = 2);
    let server = Server::builder().root(root.path()).config(config);
    let server = server.user("u", "p", Rights::FULL).observer(log.text());
    let server = server.bind("192.0.2.1:0").expect("a server");
    let connect = || {
        let mut session =
            RawSession::connect_from("192.0.2.1".parse().unwrap(), server.local_addr());
        session.expect_reply(220);
        session
    };
    for name in ["anonymous", "ftp", "Anonymous", "FTP"] {
        let user = format!("USER {name}");
        play(
            &mut connect(),
            &[(&user, 331), ("PASS IEUser@", 530), ("USER u", 331), ("PASS p", 230)],
        );
    }
    let told = log.lines().iter().filter(|line| line.contains(" reason=anonymous")).count();
    assert_eq!(told, 4, "{:?}", log.lines());
    for _ in 0..2 {
        play(&mut connect(), &[("USER u", 331), ("PASS wrong", 530)]);
    }
    let mut session = RawSession::connect_from("192.0.2.1".parse().unwrap(), server.local_addr());
    session.expect_reply(421);
}

#[test]
fn allow_and_deny_lists_decide_which_hosts_may_connect() {
    let networks = |texts: &[&str]| {
        let network = |text: &&str| Network::parse(text.as_bytes()).expect("a network");
        texts.iter().map(network).collect::<Vec<_>>()
    };
    for (allow, deny, want) in [
        (&[][..], &[][..], [220, 220, 220]),
        (&["127.0.0.1", "127.0.0.2"], &[], [220, 220, 421]),
        (&[], &["127.0.0.2"], [220, 421, 220]),
        (&["127.0.0.0/30"], &["127.0.0.2"], [220, 421, 220]),
        (&["10.0.0.0/8"], &[], [421, 421, 421]),
        (&["0.0.0.0/0"], &["0.0.0.0/0"], [421, 421, 421]),
    ] {
        let config = super::quick().allow(networks(allow)).deny(networks(deny));
        let fixture = Fixture::configured(config);
        for (last, want) in (1_u8..).zip(want) {
            let from = IpAddr::from([127, 0, 0, last]);
            let mut session = RawSession::connect_from(from, fixture.server.local_addr());
            let reply = session.reply();
            assert_eq!(reply.code, want, "{from}: {allow:?} {deny:?}");
            if want == 421 {
                assert_eq!(reply.bytes, b"421 Not available to your address\r\n");
                session.expect_closed();
            }
        }
    }
}

/// Starts a server with one user by password hash.
fn hashed(hash: PasswordHash, config: ServerConfig) -> (tempfile::TempDir, Server) {
    let root = tempfile::tempdir().expect("a directory");
    let storage = Arc::new(LocalStorage::open(root.path()).expect("it opens"));
    let table = UserTable::new().user_with_hash("u", hash, Login::new(storage, Rights::FULL));
    let builder = Server::builder().config(config).authenticator(table);
    (root, builder.bind("127.0.0.1:0").expect("a server on loopback"))
}

#[test]
fn unknown_names_take_as_long_as_wrong_passwords_at_scale_cm_12_hs_31() {
    // Everything happens in one dialogue without a login.
    let login = Duration::from_secs(900);
    let config = super::quick_with(|config| {
        config.timeouts.login = login;
        config.logins.failures = u32::MAX;
    });
    let (_root, server) = hashed(SLOW.parse().expect("a hash"), config);
    let mut session = RawSession::greeted(server.local_addr());
    // Other load only adds to a time, so the minimum counts.
    let mut least: BTreeMap<&str, Duration> = BTreeMap::new();
    let mut measure = |number: usize| {
        for (kind, name) in [("known", "u".to_owned()), ("unknown", format!("other{number}"))] {
            session.expect(format!("USER {name}"), 331);
            let took = time_of(&mut session, "PASS wrong", 530);
            let so_far = least.entry(kind).or_insert(took);
            *so_far = took.min(*so_far);
        }
        (least["known"], least["unknown"])
    };
    let count = scale::count(9, 200);
    let (mut known, mut unknown) = (0..count).map(&mut measure).last().expect("some");
    // A busy machine needs more measurements.
    for number in count..10 * count {
        if unknown >= known / 2 && unknown <= known * 2 {
            break;
        }
        (known, unknown) = measure(number);
    }
    println!("wrong password: {known:?}, unknown name: {unknown:?}");
    // A name without a hash computation would be much faster.
    assert!(known >= Duration::from_millis(20), "{known:?}");
    assert!(unknown >= known / 2 && unknown <= known * 2, "{known:?}, {unknown:?}");
    if scale::is_full() {
        assert!(known.abs_diff(unknown) < Duration::from_millis(50), "{known:?}, {unknown:?}");
    }
}

#[test]
fn many_huge_passwords_do_not_block_other_logins_hs_32() {
    let hash = PasswordHash::new(b"p").expect("a hash");
    let login = Duration::from_secs(900);
    let config = super::quick_with(|config| {
        config.timeouts.login = login;
        config.logins.failures = u32::MAX;
    });
    let (_root, server) = hashed(hash, config);
    let address = server.local_addr();
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(move || {
                let mut session = RawSession::greeted(address);
                for _ in 0..2 {
                    session.expect("USER u", 331);
                    session.expect(format!("PASS {}", "x".repeat(8_000)), 530);
                }
            });
        }
        RawSession::login(address, "u", "p").expect_in_step();
    });
}

/// Accepts the password `p`, but does not return for `stuck` until released. Counts these.
struct Stuck {
    storage: Arc<LocalStorage>,
    asked: AtomicUsize,
    release: Mutex<mpsc::Receiver<()>>,
}

impl Authenticator for Stuck {
    fn login(&self, attempt: &LoginAttempt<'_>) -> Result<Login, AuthError> {
        if attempt.user == b"stuck" {
            self.asked.fetch_add(1, Ordering::SeqCst);
            // The sender is dropped at the release.
            let _ = self.release.lock().unwrap_or_else(PoisonError::into_inner).recv();
        }
        match attempt.password {
            b"p" => Ok(Login::new(self.storage.clone(), Rights::FULL)),
            _ => Err(AuthError::Refused),
        }
    }
}

/// Decides nothing before the decision is useless. Counts its beginnings and ends.
#[derive(Default)]
struct Patient([AtomicUsize; 2]);

impl Authenticator for Patient {
    fn login(&self, attempt: &LoginAttempt<'_>) -> Result<Login, AuthError> {
        self.0[0].fetch_add(1, Ordering::SeqCst);
        while !attempt.is_client_gone() {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.0[1].fetch_add(1, Ordering::SeqCst);
        Err(AuthError::Unavailable)
    }
}

#[test]
fn a_waiting_authenticator_learns_that_its_decision_is_useless_hf_13_st_13() {
    type End = fn(Server, &mut Option<RawSession>) -> Option<Server>;
    let vanish: End = |server, session| {
        *session = None;
        Some(server)
    };
    let shut_down: End = |server, _session| {
        let report = server.shutdown(DEADLINE);
        assert_eq!((report.drained, report.cut, report.stuck), (1, 0, 0));
        None
    };
    let kick: End = |server, _session| {
        assert!(server.kick(1));
        Some(server)
    };
    for (end, what) in [
        (vanish, "PASS p\r\n"),
        (shut_down, "PASS p\r\n"),
        // A client that closed its side would still expect the reply to the last command.
        (shut_down, "PASS p\r\nNOOP\r\n"),
        (kick, "PASS p\r\nNOOP\r\n"),
    ] {
        patiently(Duration::from_secs(1), |limit| {
            let authenticator = Arc::new(Patient::default());
            let builder = Server::builder().config(super::quick());
            let builder = builder.authenticator(Arc::clone(&authenticator));
            let server = builder.bind("127.0.0.1:0").expect("a server on loopback");
            let mut session = RawSession::greeted(server.local_addr());
            session.expect("USER u", 331);
            session.send(what);
            let count = |at: usize| authenticator.0[at].load(Ordering::SeqCst);
            wait_until("the password is asked for", || count(0) > 0);
            let start = Instant::now();
            let mut session = Some(session);
            let _server = end(server, &mut session);
            wait_until("the authenticator returns", || count(1) > 0);
            assert!(start.elapsed() < limit, "{what:?}: {:?}", start.elapsed());
        });
    }
}

#[test]
fn a_hanging_authenticator_blocks_only_one_session_hf_13() {
    let root = tempfile::tempdir().expect("a directory");
    let storage = Arc::new(LocalStorage::open(root.path()).expect("it opens"));
    let (may_go_on, release) = mpsc::channel();
    let login = Duration::from_secs(1);
    let config = |login| {
        super::quick_with(|config| {
            config.timeouts.login = login;
            config.limits.sessions = 5;
            config.limits.per_user = 3;
        })
    };
    let asked = AtomicUsize::new(0);
    let authenticator = Arc::new(Stuck { storage, asked, release: Mutex::new(release) });
    let builder = Server::builder().config(config(login)).authenticator(Arc::clone(&authenticator));
    let server = builder.bind("127.0.0.1:0").expect("a server on loopback");
    let address = server.local_addr();

    // On a busy machine, the time may be over before the password arrives.
    let is_asked = || authenticator.asked.load(Ordering::SeqCst) > 0;
    let (begun, mut stuck) = at_last("the password arrives in time", || {
        let begun = Instant::now();
        let mut stuck = RawSession::connect(address);
        stuck.try_send("USER stuck\r\nPASS p\r\n").ok()?;
        for code in [220, 331] {
            stuck.try_reply().ok().filter(|reply| reply.code == code)?;
        }
        while !is_asked() {
            if server.sessions().is_empty() {
                return None;
            }
            std::thread::yield_now();
        }
        Some((begun, stuck))
    });
    // All others have time.
    server.reconfigure(config(Duration::from_secs(600)), Arc::clone(&authenticator)).unwrap();
    let mut user = RawSession::login(address, "u", "p");
    assert_eq!(stuck.expect_reply(421).bytes, b"421 Timeout\r\n");
    assert!(begun.elapsed() >= login);
    stuck.expect_closed();
    // Its thread still runs, but others can get its place.
    user.expect_in_step();
    let _second = RawSession::login(address, "u", "p");
    let waiting = [RawSession::greeted(address), RawSession::greeted(address)];
    drop(may_go_on);
    drop(waiting);
    user.expect_in_step();
    let report = server.shutdown(DEADLINE);
    assert_eq!((report.cut, report.stuck), (0, 0));
}
