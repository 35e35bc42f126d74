//! The life of a server: timeouts, shutdown, and attacks that must not end it.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ftp_proto::Network;
use ftp_server::{
    AuthError, Authenticator, LocalStorage, Login, LoginAttempt, PassivePolicy, Rights, Server,
    Storage, UserTable,
};
use ftp_tests::network::in_own_network;
use ftp_tests::peer::Peer;
use ftp_tests::process::run;
use ftp_tests::raw::{DEADLINE, RawSession};
use ftp_tests::wait::{at_last, patiently, wait_until, wait_until_closed};

use super::{CUT, DRAIN_STALL, Fixture};

#[test]
fn st_08_hs_06_incomplete_commands_do_not_extend_the_idle_timeout() {
    let idle = Duration::from_millis(1_500);
    let fixture = Fixture::configured(super::quick_with(|config| config.timeouts.idle = idle));
    let login = || RawSession::login_in_time(fixture.server.local_addr(), "u", "p");
    let mut silent = login();
    let start = Instant::now();
    let mut dripping = login();
    wait_until("the session ends", || {
        std::thread::park_timeout(Duration::from_millis(100));
        dripping.try_send("N").is_err()
    });
    assert!(start.elapsed() >= idle, "{:?}: too early", start.elapsed());
    silent.expect_reply(421);
    silent.expect_closed();
}

#[test]
fn st_10_hs_05_hs_35_a_session_without_a_login_times_out() {
    let login = Duration::from_millis(1_500);
    let fixture = Fixture::configured(super::quick_with(|config| config.timeouts.login = login));
    let mut silent = RawSession::connect(fixture.server.local_addr());
    let mut busy = fixture.greeted();
    wait_until("the session ends", || {
        busy.try_send("NOOP\r\n").is_err() || !busy.try_reply().is_ok_and(|reply| reply.code == 200)
    });
    silent.expect_reply(220);
    silent.expect_reply(421);
    silent.expect_closed();
    let address = fixture.server.local_addr();
    RawSession::login_in_time(address, "u", "p").expect_in_step();
}

#[test]
fn queued_commands_do_not_extend_the_login_timeout() {
    struct Slow;
    impl Authenticator for Slow {
        fn login(&self, _attempt: &LoginAttempt<'_>) -> Result<Login, AuthError> {
            std::thread::park_timeout(Duration::from_millis(300));
            Err(AuthError::Refused)
        }
    }
    let config = super::quick_with(|config| {
        config.timeouts.login = Duration::from_millis(700);
        config.logins.failures = u32::MAX;
    });
    let fixture = Fixture::with(|builder| builder.config(config).authenticator(Slow));
    let mut session = fixture.greeted();
    session.send("USER a\r\nPASS b\r\n".repeat(40));
    let codes: Vec<_> = std::iter::from_fn(|| session.try_reply().ok()).map(|r| r.code).collect();
    assert_eq!(codes.last(), Some(&421));
    assert!(codes.iter().filter(|&&code| code == 530).count() < 40, "{codes:?}");
}

#[test]
fn st_13_shutdown_finishes_transfers_and_ends_idle_sessions() {
    at_last("a transfer goes on in time", shut_down_with_a_transfer);
}

/// Returns `None` if the transfer stood still for so long that the shutdown cut it.
fn shut_down_with_a_transfer() -> Option<()> {
    let fixture = Fixture::new();
    let mut idle = fixture.session();
    let mut busy = fixture.session();
    let data = busy.passive();
    busy.expect("STOR a", 150);
    let address = fixture.server.local_addr();
    let Fixture { root, server } = fixture;
    let begun = Instant::now();
    let stopping = std::thread::spawn(move || server.shutdown(DEADLINE));
    idle.expect_reply(421);
    idle.expect_closed();
    wait_until_closed(address);
    // The server may have closed it.
    let _ = data.stream().write_all(b"whole");
    data.close();
    let is_late = begun.elapsed() >= DRAIN_STALL;
    let code = busy.reply().code;
    if is_late && code == 426 {
        return None;
    }
    assert_eq!(code, 226);
    busy.expect_reply(421);
    busy.expect_closed();
    let report = stopping.join().expect("it stops");
    assert_eq!((report.drained, report.cut, report.stuck), (2, 0, 0));
    assert_eq!(std::fs::read(root.path().join("a")).expect("it"), b"whole");
    Some(())
}

#[test]
fn st_13_shutdown_interrupts_unfinished_transfers() {
    patiently(CUT, |_| {
        let fixture = Fixture::new();
        let mut busy = fixture.session();
        let mut data = busy.passive();
        busy.expect("STOR a", 150);
        data.write_all(b"half");
        let report = fixture.server.shutdown(Duration::from_millis(200));
        assert_eq!((report.drained, report.cut, report.stuck), (0, 1, 0));
        busy.expect_reply(426);
        busy.expect_reply(421);
        busy.expect_closed();
        assert_eq!(super::published_in(fixture.root.path()), [""; 0]);
    });
}

#[test]
fn new_settings_apply_to_new_sessions_and_after_rein_cm_17() {
    let fixture = Fixture::new();
    fixture.write("a", "old");
    let mut running = fixture.session();
    let mut data = running.passive();
    running.expect("STOR b", 150);
    data.write_all(b"half");
    let mut named = fixture.greeted();
    named.expect("USER u", 331);
    let mut nobody = fixture.greeted();
    let mut other = RawSession::connect_from([127, 0, 0, 2].into(), fixture.server.local_addr());
    other.expect_reply(220);

    let storage = LocalStorage::open(fixture.root.path()).expect("the root");
    let users = UserTable::new().user("new", "q", Login::new(Arc::new(storage), Rights::READ));
    let config = fixture
        .server
        .config()
        .banner("Anew")
        .overwrite(false)
        .passive(PassivePolicy::new().enabled(false));
    fixture.server.reconfigure(config.clone(), users).expect("a change");
    assert_eq!(fixture.server.config(), config);

    let mut new = RawSession::connect(fixture.server.local_addr());
    let greeting = new.reply();
    assert_eq!((greeting.code, greeting.text()), (220, "220 Anew".to_owned()));
    new.expect("USER u", 331);
    new.expect("PASS p", 530);
    new.expect("USER new", 331);
    new.expect("PASS q", 230);
    new.expect("PASV", 502);
    // Existing sessions keep their settings, even at a login, until REIN.
    data.write_all(b" and half");
    data.close();
    running.expect_reply(226);
    assert_eq!(fixture.read("b"), b"half and half");
    running.upload("STOR a", b"new");
    named.expect("PASS p", 230);
    for session in [&mut running, &mut nobody] {
        session.expect("REIN", 220);
        session.expect("USER u", 331);
        session.expect("PASS p", 530);
        session.expect("USER new", 331);
        session.expect("PASS q", 230);
        session.expect("PASV", 502);
    }
    // REIN fails from an address that may not connect any more.
    let config = config.deny([Network::parse(b"127.0.0.2").expect("a network")]);
    fixture.server.reconfigure(config, UserTable::new()).expect("a change");
    other.expect("USER u", 331);
    assert_eq!(other.expect("REIN", 421).text(), "421 Not available to your address");
    other.expect_closed();
    named.expect_in_step();
    // The client sees the end before the session has ended at the server.
    wait_until("all sessions are there", || fixture.server.sessions().len() == 4);
    let report = fixture.server.shutdown(DEADLINE);
    assert_eq!((report.drained, report.cut, report.stuck), (4, 0, 0));
}

#[test]
fn a_shutdown_reports_drained_cut_and_stuck_sessions_st_13() {
    let shut_down = |_| at_last("a transfer goes on in time", shut_down_with_all_kinds_of_sessions);
    patiently(CUT, shut_down);
}

/// Returns `None` if the transfer that should end stood still for so long that the shutdown cut it.
fn shut_down_with_all_kinds_of_sessions() -> Option<()> {
    /// Accepts all users, but one only when released, after reporting that it waits.
    struct Waiting(Arc<LocalStorage>, Mutex<(Sender<()>, Receiver<()>)>);
    impl Authenticator for Waiting {
        fn login(&self, attempt: &LoginAttempt<'_>) -> Result<Login, AuthError> {
            if attempt.user == b"stuck" {
                let ends = self.1.lock().expect("nothing panics here");
                ends.0.send(()).expect("the test waits");
                // An error means that the test is over.
                let _ = ends.1.recv();
            }
            Ok(Login::new(Arc::clone(&self.0) as Arc<dyn Storage>, Rights::FULL))
        }
    }
    let root = tempfile::tempdir().expect("a directory");
    let ((go_on, waiting), (says, waits)) = (channel(), channel());
    let storage = LocalStorage::open(root.path()).expect("a storage");
    let authenticator = Waiting(Arc::new(storage), Mutex::new((says, waiting)));
    let builder = Server::builder().config(super::quick()).authenticator(authenticator);
    let server = builder.bind("127.0.0.1:0").expect("a server");
    let login = || RawSession::login(server.local_addr(), "u", "p");
    let (mut idle, mut busy, mut done) = (login(), login(), login());
    let mut half = busy.passive();
    busy.expect("STOR half", 150);
    half.write_all(b"half");
    let mut whole = done.passive();
    done.expect("STOR whole", 150);
    whole.write_all(b"whole");
    let mut stuck = RawSession::greeted(server.local_addr());
    stuck.expect("USER stuck", 331);
    stuck.send("PASS p\r\n");
    waits.recv().expect("it asks the authenticator");
    let (begun, hurry) = (Instant::now(), server.shutdown_handle());
    let stopping = std::thread::spawn(move || server.shutdown(10 * DEADLINE));
    idle.expect_reply(421);
    whole.close();
    let is_late = begun.elapsed() >= DRAIN_STALL;
    let code = done.reply().code;
    if is_late && code == 426 {
        hurry.cut_short();
        return None;
    }
    assert_eq!(code, 226);
    done.expect_reply(421);
    for session in [&mut idle, &mut done] {
        session.expect_closed();
    }
    hurry.cut_short();
    busy.expect_reply(426);
    busy.expect_reply(421);
    let report = stopping.join().expect("it stops");
    assert_eq!((report.drained, report.cut, report.stuck), (2, 1, 1));
    assert_eq!(super::published_in(root.path()), ["whole"]);
    drop(go_on);
    stuck.expect_closed();
    Some(())
}

#[test]
fn dropping_a_server_stops_it() {
    patiently(CUT, |_| {
        let fixture = Fixture::new();
        let mut session = fixture.session();
        let address = fixture.server.local_addr();
        drop(fixture);
        session.expect_reply(421);
        wait_until_closed(address);
    });
}

#[test]
fn many_servers_in_one_process() {
    let fixtures: Vec<_> = (0..20).map(|_| Fixture::new()).collect();
    for fixture in &fixtures {
        fixture.session().expect_in_step();
    }
}

#[test]
fn two_hundred_sessions_are_served_at_once_and_end() {
    let fixture = Fixture::new();
    let mut sessions: Vec<_> = (0..200).map(|_| fixture.session()).collect();
    for session in &mut sessions {
        session.expect_in_step();
    }
    let report = fixture.server.shutdown(DEADLINE);
    assert_eq!((report.drained, report.cut, report.stuck), (200, 0, 0));
}

#[test]
fn clients_without_a_login_do_not_lock_out_users_ho_09_ho_10_hs_05() {
    let config = |login| {
        super::quick_with(|config| {
            config.limits.sessions = 40;
            config.timeouts.login = Duration::from_secs(login);
        })
    };
    let connect = |fixture: &Fixture| {
        let mut session = RawSession::connect(fixture.server.local_addr());
        (session.reply().code, session)
    };
    let fixture = Fixture::configured(config(600));
    let mut user = fixture.session();
    // Half of the places, with some bytes at times, which do not count as a login.
    let half_open: Vec<_> = (0..20).map(|_| connect(&fixture)).collect();
    assert!(half_open.iter().all(|(code, _)| *code == 220));
    // Each newcomer takes the place of the oldest.
    let more: Vec<_> = (0..30).map(|_| connect(&fixture)).collect();
    wait_until("the others are closed", || fixture.server.sessions().len() == 21);
    user.expect_in_step();
    drop((half_open, more));
    // The same with a short time to log in, which a busy machine may exceed.
    let fixture = Fixture::configured(config(1));
    let login = || RawSession::login_in_time(fixture.server.local_addr(), "u", "p");
    let mut user = login();
    let mut half_open: Vec<_> = (0..20).map(|_| connect(&fixture)).collect();
    wait_until("they are gone", || {
        std::thread::park_timeout(Duration::from_millis(100));
        half_open.iter_mut().all(|(_, session)| session.try_send("U").is_err())
    });
    // Their places are free again, and a login frees a place for the next client.
    let mut users: Vec<_> = (0..34).map(|_| login()).collect();
    assert_eq!(connect(&fixture).0, 421, "all places are taken, except those for other networks");
    users.iter_mut().for_each(RawSession::expect_in_step);
    user.expect_in_step();
}

#[test]
fn sessions_survive_an_interface_going_down_and_up_ho_16() {
    let test = "server::life::sessions_survive_an_interface_going_down_and_up_ho_16";
    if !in_own_network(test, &["192.0.2.1/24"]) {
        return;
    }
    let interface = |state: &str| {
        let ip = Peer::find("ip").expect("what made this network");
        run(ip.command().args(["link", "set", "lo", state])).succeeded();
    };
    let root = tempfile::tempdir().expect("a directory");
    std::fs::write(root.path().join("a"), "a").expect("a file");
    let builder = || Server::builder().root(root.path()).user("u", "p", Rights::FULL);
    let of_one = builder().bind("192.0.2.1:0").expect("a server of one address");
    let of_all = builder().bind("0.0.0.0:0").expect("a server of all addresses");
    let addresses =
        [of_one.local_addr(), SocketAddr::new([192, 0, 2, 1].into(), of_all.local_addr().port())];
    let mut idle: Vec<_> =
        addresses.iter().map(|address| RawSession::login(*address, "u", "p")).collect();
    for _ in 0..3 {
        interface("down");
        for address in &addresses {
            let connected = TcpStream::connect_timeout(address, Duration::from_millis(100));
            assert!(connected.is_err(), "nobody is reached");
        }
        interface("up");
        for address in &addresses {
            let mut session = RawSession::login(*address, "u", "p");
            assert_eq!(session.download("RETR a"), b"a");
        }
        // No timeout has passed, so the connections still exist.
        idle.iter_mut().for_each(RawSession::expect_in_step);
    }
}
