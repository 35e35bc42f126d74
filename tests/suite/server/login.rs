//! Section 4.1 of the conformance lines: login, and commands before it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ftp_proto::{HostName, RepresentationType};
use ftp_server::{
    AuthError, Authenticator, LocalStorage, Login, LoginAttempt, MemoryStorage, Rights, Server,
    ServerConfig, UserLimits, UserTable, VirtualHost,
};
use ftp_tests::raw::{DEADLINE, RawSession};
use ftp_tests::wait::{at_last, wait_until, wait_until_closed};

use super::{Fixture, play};

/// Decides by a function; accepted users have all rights to a directory.
struct Gate<F> {
    decide: F,
    storage: Arc<LocalStorage>,
}

impl<F> Authenticator for Gate<F>
where
    F: Fn(&LoginAttempt<'_>) -> Result<(), AuthError> + Send + Sync,
{
    fn login(&self, attempt: &LoginAttempt<'_>) -> Result<Login, AuthError> {
        (self.decide)(attempt)?;
        Ok(Login::new(self.storage.clone(), Rights::FULL))
    }
}

fn server(
    config: ServerConfig,
    decide: impl Fn(&LoginAttempt<'_>) -> Result<(), AuthError> + Send + Sync + 'static,
) -> (tempfile::TempDir, Server) {
    let root = tempfile::tempdir().expect("a directory");
    let storage = Arc::new(LocalStorage::open(root.path()).expect("it opens"));
    let builder = Server::builder().config(config).authenticator(Gate { decide, storage });
    (root, builder.bind("127.0.0.1:0").expect("a server on loopback"))
}

#[test]
fn acct_completes_a_login_cm_10_cm_16() {
    let (_root, server) = server(super::quick(), |attempt| match attempt.account {
        None if attempt.password == b"p" => Err(AuthError::NeedAccount),
        Some(b" acc ") if attempt.user == b"u" && attempt.password == b"p" => Ok(()),
        Some(b"more") => Err(AuthError::NeedAccount),
        _ => Err(AuthError::Refused),
    });
    let mut session = RawSession::greeted(server.local_addr());
    play(
        &mut session,
        &[
            ("ACCT", 503),
            ("ACCT x", 503),
            ("USER u", 331),
            ("ACCT x", 503),
            ("PASS p", 332),
            ("PWD", 530),
            ("PASS p", 503),
            ("ACCT", 501),
            ("ACCT  acc ", 230),
            ("PWD", 257),
            ("ACCT", 501),
            ("ACCT x", 202),
            ("PWD", 257),
        ],
    );
    let mut session = RawSession::greeted(server.local_addr());
    play(
        &mut session,
        &[
            ("USER u", 331),
            ("PASS p", 332),
            ("USER u", 331),
            ("ACCT  acc ", 503),
            ("PASS p", 332),
            ("ACCT wrong", 530),
            ("ACCT  acc ", 503),
            ("PASS p", 503),
            ("USER u", 331),
            ("PASS p", 332),
            // An account is requested only once.
            ("ACCT more", 530),
            ("USER u", 331),
            ("PASS p", 332),
            ("HOST somewhere", 220),
            ("ACCT  acc ", 503),
            ("USER u", 331),
        ],
    );
    session.expect("PASS wrong", 421);
    session.expect_closed();
}

#[test]
fn unavailable_user_stores_and_missing_login_directories_cm_13_cm_14() {
    let (_root, server) = server(super::quick(), |attempt| match attempt.user {
        b"store" => Err(AuthError::Unavailable),
        b"home" => Err(AuthError::NoHome),
        b"busy" => Err(AuthError::TooMany),
        _ => Ok(()),
    });
    let mut session = RawSession::greeted(server.local_addr());
    play(
        &mut session,
        &[
            ("USER store", 331),
            ("PASS p", 451),
            ("PASS p", 503),
            ("USER home", 331),
            ("PASS p", 530),
            ("PWD", 530),
            ("USER busy", 331),
        ],
    );
    session.expect("PASS p", 421);
    session.expect_closed();
    let mut session = RawSession::greeted(server.local_addr());
    play(&mut session, &[("USER u", 331), ("PASS p", 230)]);
}

#[test]
fn an_unavailable_user_store_delays_each_attempt_cm_12_cm_13() {
    let delay = Duration::from_millis(300);
    let config = super::quick_with(|config| {
        config.logins.delay = delay;
        config.logins.failures = 2;
    });
    let (_root, server) = server(config, |attempt| match attempt.user {
        b"store" => Err(AuthError::Unavailable),
        _ => Ok(()),
    });
    let mut session = RawSession::greeted(server.local_addr());
    let start = Instant::now();
    for _ in 0..4 {
        play(&mut session, &[("USER store", 331), ("PASS p", 451)]);
    }
    assert!(start.elapsed() >= delay * 4);
    // None of them counts as a failed login.
    play(&mut session, &[("USER u", 331), ("PASS p", 230)]);
}

#[test]
fn user_and_pass_are_refused_after_login_cm_04_cm_09_hs_27() {
    let fixture = Fixture::new();
    let mut session = RawSession::login(fixture.server.local_addr(), "reader", "p");
    session.expect("PASS p", 503);
    let reply = session.expect("USER u", 530);
    assert_eq!(reply.bytes, b"530 Already logged in, send REIN first\r\n");
    play(&mut session, &[("PASS p", 503), ("MKD x", 550), ("PWD", 257)]);
    assert_eq!(fixture.names(), [""; 0]);
}

#[test]
fn dash_password_strips_a_leading_dash_dv_26_cm_11() {
    for (dash_password, refused, taken) in
        [(false, ["-p", "--p", "-"], "p"), (true, ["--p", "p-", "-"], "-p")]
    {
        let config = super::quick_with(|config| {
            config.dash_password = dash_password;
            config.logins.failures = 9;
        });
        let fixture = Fixture::configured(config);
        let mut session = fixture.greeted();
        for password in refused {
            session.expect("USER u", 331);
            session.expect(format!("PASS {password}"), 530);
        }
        session.expect("USER u", 331);
        session.expect(format!("PASS {taken}"), 230);
        play(&mut session, &[("REIN", 220), ("USER u", 331), ("PASS p", 230)]);
    }
}

#[test]
fn rein_resets_the_session_state_cm_17_hs_23() {
    let fixture = Fixture::new();
    fixture.write("a", "12");
    std::fs::create_dir(fixture.path("d")).expect("a directory");
    let mut session = fixture.session();
    let fresh = session.expect("FEAT", 211).text();
    play(
        &mut session,
        &[
            ("TYPE I", 200),
            ("CWD d", 250),
            ("OPTS MLST size;", 200),
            ("OPTS HASH SHA-1", 200),
            ("EPSV ALL", 200),
        ],
    );
    let port = port_of(&session.expect("EPSV", 229).text());
    play(&mut session, &[("REST 1", 350), ("RNFR /a", 350), ("REIN", 220), ("RNTO c", 530)]);
    wait_until_closed(([127, 0, 0, 1], port).into());
    play(
        &mut session,
        &[("PWD", 530), ("ABOR", 225), ("PASS p", 503), ("USER u", 331), ("PASS p", 230)],
    );
    assert_eq!(session.expect("PWD", 257).bytes, b"257 \"/\" is the current directory\r\n");
    assert_eq!(session.expect("FEAT", 211).text(), fresh);
    assert!(session.expect("STAT", 211).text().contains("TYPE A"));
    // EPSV ALL, REST and RNFR are reset.
    assert_eq!(session.download("RETR a"), b"12");
    play(&mut session, &[("RNTO c", 503), ("RNFR a", 350), ("REIN", 220)]);
    play(&mut session, &[("USER reader", 331), ("PASS p", 230), ("RNTO c", 503), ("MKD x", 550)]);
    assert_eq!(fixture.names(), ["a", "d"]);
}

fn port_of(text: &str) -> u16 {
    text.split('|').nth(3).and_then(|port| port.parse().ok()).expect("a port in the 229")
}

#[test]
fn rein_takes_no_argument_cm_18() {
    let fixture = Fixture::new();
    let mut session = fixture.session();
    play(&mut session, &[("REIN x", 501), ("PWD", 257), ("REIN ", 220), ("REIN", 220)]);
}

#[test]
fn rein_does_not_reset_the_failed_login_count_cm_17() {
    let fixture = Fixture::new();
    let mut session = fixture.greeted();
    for _ in 0..2 {
        play(&mut session, &[("USER u", 331), ("PASS wrong", 530), ("REIN", 220)]);
    }
    play(&mut session, &[("USER u", 331), ("PASS p", 230), ("REIN", 220), ("USER u", 331)]);
    session.expect("PASS wrong", 421);
    session.expect_closed();
}

#[test]
fn rein_restarts_the_login_timeout_only_after_a_login_cm_17_st_10() {
    let login = Duration::from_millis(500);
    let fixture = Fixture::configured(super::quick_with(|config| config.timeouts.login = login));
    let address = fixture.server.local_addr();
    // A busy machine may exceed the timeout in the second login too.
    at_last("a second login within the timeout", || {
        let mut user = RawSession::login_in_time(address, "u", "p");
        let mut nobody = fixture.greeted();
        let begun = Instant::now();
        let last = loop {
            nobody.line("REIN");
            match nobody.reply().code {
                220 => {}
                code => break code,
            }
            assert!(begun.elapsed() < DEADLINE, "REIN keeps the session open");
        };
        assert_eq!(last, 421);
        // That took longer than the login timeout.
        user.expect("REIN", 220);
        let is_in = user.try_send("USER u\r\nPASS p\r\nPWD\r\n").is_ok();
        let mut answers = |code| user.try_reply().is_ok_and(|reply| reply.code == code);
        (is_in && answers(331) && answers(230) && answers(257)).then_some(())
    });
}

#[test]
fn any_host_name_is_accepted_if_none_is_configured_cm_23_cm_24_cm_26() {
    let fixture = Fixture::new();
    let mut session = fixture.greeted();
    play(
        &mut session,
        &[
            ("HOST ftp.example.org", 220),
            ("HOST xn--e1afmkfd.com", 220),
            ("HOST 127.0.0.1", 220),
            // RFC 7151 §3.1: an address that is not this server's.
            ("HOST 127.0.0.2", 504),
            ("HOST [::1]", 504),
            ("HOST [::ffff:127.0.0.1]", 220),
            ("HOST 127.0.0.1:21", 501),
            ("HOST [::1]:21", 501),
            ("HOST ::1", 501),
            ("HOST f\u{f6}.de", 501),
            ("HOST", 501),
            ("USER u", 331),
            ("HOST ftp.example.org", 220),
            ("PASS p", 503),
            ("USER u", 331),
            ("HOST", 501),
            ("PASS p", 230),
            ("HOST ftp.example.org", 503),
            ("HOST", 503),
            ("PWD", 257),
        ],
    );
}

#[test]
fn configured_hosts_reach_the_authenticator_cm_23_cm_24() {
    let host = |name: &str| HostName::parse(name.as_bytes()).expect("a host name");
    let mut hosts = ["ftp.example.org", "192.0.2.1"].map(|name| VirtualHost::new(host(name)));
    hosts[0].banner = Some("Files of the example".to_owned());
    let wanted = host("ftp.example.org");
    let config = super::quick().hosts(hosts);
    let (_root, server) = server(config, move |attempt| match attempt.host {
        Some(host) if *host == wanted => Ok(()),
        _ => Err(AuthError::OtherHost),
    });
    let mut session = RawSession::greeted(server.local_addr());
    assert_eq!(session.ask("HOST ftp.example.org").text(), "220 Files of the example");
    assert_eq!(session.ask("HOST 192.0.2.1").text(), "220 Host accepted");
    play(
        &mut session,
        &[
            ("HOST elsewhere.example.org", 504),
            ("HOST 192.0.2.1", 220),
            ("HOST 192.0.2.2", 504),
            ("HOST 127.0.0.1", 220),
            ("HOST FTP.Example.ORG", 220),
            ("USER u", 331),
            ("PASS p", 230),
            ("REIN", 220),
            ("USER u", 331),
            ("PASS p", 530),
            // A refused HOST replaces an accepted one.
            ("HOST ftp.example.org", 220),
            ("HOST elsewhere.example.org", 504),
            ("USER u", 331),
            ("PASS p", 530),
            ("HOST ftp.example.org", 220),
            ("USER u", 331),
            ("PASS p", 230),
        ],
    );
}

#[test]
fn lang_and_clnt_commands_cm_27_cm_28_cm_29() {
    let fixture = Fixture::new();
    let long = format!("CLNT {}", "x".repeat(8_000));
    for mut session in [fixture.greeted(), fixture.session()] {
        play(
            &mut session,
            &[
                ("LANG", 200),
                ("LANG en", 200),
                ("LANG EN-us", 200),
                ("LANG de", 504),
                ("LANG eng", 504),
                ("LANG e_n", 501),
                ("LANG *", 501),
                ("CLNT", 200),
                ("CLNT \x1b[2J client 1.0", 200),
                (&long, 200),
                ("CSID Name=x;", 502),
            ],
        );
    }
}

#[test]
fn tls_commands_are_refused_without_tls_cm_62_cm_67_cm_68_cm_71_cm_72_cm_73() {
    let fixture = Fixture::new();
    for mut session in [fixture.greeted(), fixture.session()] {
        play(
            &mut session,
            &[
                ("AUTH TLS", 502),
                ("AUTH", 502),
                ("PBSZ 0", 503),
                ("PBSZ x", 503),
                ("PROT P", 503),
                ("PROT", 503),
                ("CCC", 533),
                ("CCC x", 501),
                ("ADAT x", 502),
                ("MIC x", 502),
                ("CONF x", 502),
                ("ENC x", 502),
                ("SSCN", 502),
                ("CPSV", 502),
            ],
        );
        let features = session.expect("FEAT", 211).text();
        for word in ["AUTH", "PBSZ", "PROT", "CCC"] {
            assert!(!features.contains(word), "CM-137: {features}");
        }
    }
}

#[test]
fn the_sessions_of_a_user_are_limited_cm_15() {
    let fixture = Fixture::configured(super::quick_with(|config| config.limits.per_user = 2));
    let mut first = fixture.session();
    let mut second = fixture.session();
    let mut third = fixture.greeted();
    third.expect("USER u", 331);
    third.expect("PASS p", 421);
    third.expect_closed();
    let mut other = RawSession::login(fixture.server.local_addr(), "reader", "p");
    other.expect("PWD", 257);
    // REIN and QUIT both free the user's place.
    first.expect("REIN", 220);
    let mut third = fixture.session();
    play(&mut first, &[("USER u", 331)]);
    first.expect("PASS p", 421);
    second.expect("QUIT", 221);
    second.expect_closed();
    // A session that ended does not count on.
    wait_until("a place of the user is free", || {
        let mut again = fixture.greeted();
        again.expect("USER u", 331);
        let code = again.ask("PASS p").code;
        assert!([230, 421].contains(&code), "{code}");
        code == 230
    });
    third.expect("PWD", 257);
}

#[test]
fn a_user_can_have_a_custom_session_limit_cm_15() {
    let login = |sessions| {
        let mut limits = UserLimits::default();
        limits.sessions = sessions;
        Login::new(Arc::new(MemoryStorage::new()), Rights::FULL).limits(limits)
    };
    let table = UserTable::new()
        .user("as-all", "p", login(None))
        .user("one", "p", login(Some(1)))
        .user("any", "p", login(Some(0)));
    let config = super::quick_with(|config| config.limits.per_user = 2);
    let server = Server::builder().config(config).authenticator(table).bind("127.0.0.1:0");
    let server = server.unwrap();
    for (user, most) in [("as-all", Some(2)), ("one", Some(1)), ("any", None)] {
        let login = || RawSession::login(server.local_addr(), user, "p");
        let sessions: Vec<_> = (0..most.unwrap_or(5)).map(|_| login()).collect();
        let mut more = RawSession::greeted(server.local_addr());
        more.expect(format!("USER {user}"), 331);
        more.expect("PASS p", if most.is_some() { 421 } else { 230 });
        drop(sessions);
    }
}

#[test]
fn a_session_frees_its_place_before_its_last_reply_cm_15_cm_21_st_12() {
    let config = |per_user, sessions| {
        super::quick_with(|config| {
            config.limits.per_user = per_user;
            config.limits.sessions = sessions;
        })
    };
    for config in [config(1, 0), config(0, 1)] {
        let fixture = Fixture::configured(config);
        for _ in 0..20 {
            // Bytes after the last command keep the server reading for a moment.
            let mut session = fixture.session();
            session.send("QUIT\r\n\r\n");
            session.expect_reply(221);
            let mut next = fixture.session();
            next.send("QUIT\r\n");
            next.expect_reply(221);
            session.expect_closed();
            next.send("\r\n");
            next.expect_closed();
        }
    }
}

#[test]
fn the_session_limit_counts_anonymous_aliases_as_one_user_cm_15() {
    let fixture = Fixture::with(|builder| {
        builder
            .config(super::quick_with(|config| config.limits.per_user = 1))
            .user("U", "p", Rights::READ)
            .anonymous(Rights::READ)
    });
    let address = fixture.server.local_addr();
    let refused = |name: &str| {
        let mut session = fixture.greeted();
        session.expect(format!("USER {name}"), 331);
        session.expect("PASS p", 421);
        session.expect_closed();
    };
    // Two different names are two users.
    let _users = [RawSession::login(address, "u", "p"), RawSession::login(address, "U", "p")];
    refused("u");
    refused("U");
    // One user with two names, in any case, is one.
    let _anonymous = RawSession::login(address, "anonymous", "p");
    for name in ["anonymous", "ftp", "FTP", "Anonymous"] {
        refused(name);
    }
}

#[test]
fn mkdir_existing_ok_lets_mkd_accept_an_existing_directory_cm_85() {
    let root = tempfile::tempdir().expect("a directory");
    std::fs::write(root.path().join("file"), "").expect("a file");
    let storage: Arc<LocalStorage> = Arc::new(LocalStorage::open(root.path()).expect("it opens"));
    let login = Login::new(storage, Rights::FULL);
    let table = UserTable::new().user("strict", "p", login.clone()).user(
        "camera",
        "p",
        login.mkdir_existing_ok(true),
    );
    let server = Server::builder().authenticator(table).bind("127.0.0.1:0").expect("a server");
    let mut session = RawSession::login(server.local_addr(), "camera", "p");
    play(&mut session, &[("MKD d", 257), ("MKD d/", 257), ("XMKD /d", 257), ("MKD /", 257)]);
    play(&mut session, &[("MKD file", 550), ("MKD .ftp-upload-0", 553), ("MKD d/x/y", 550)]);
    assert!(session.expect("MKD d", 257).bytes.starts_with(b"257 \"/d\" "));
    let mut session = RawSession::login(server.local_addr(), "strict", "p");
    play(&mut session, &[("MKD d", 550), ("MKD /", 550), ("MKD e", 257)]);
}

/// A device that sends no `TYPE` would store pictures with other bytes.
#[test]
fn a_user_can_begin_with_type_image_cm_32() {
    let storage = Arc::new(MemoryStorage::new());
    let login = Login::new(Arc::clone(&storage) as _, Rights::FULL);
    let table = UserTable::new().user("other", "p", login.clone()).user(
        "camera",
        "p",
        login.representation(RepresentationType::Image),
    );
    let server = Server::builder().authenticator(table).bind("127.0.0.1:0").expect("a server");
    let mut session = RawSession::login(server.local_addr(), "camera", "p");
    let picture = b"a picture\r\n with\n line\r ends";
    session.upload("STOR f", picture);
    assert_eq!(session.download("RETR f"), picture);
    // The type of a user ends with the login, and TYPE overrides it.
    session.expect("TYPE A", 200);
    assert_ne!(session.download("RETR f"), picture);
    play(&mut session, &[("REIN", 220), ("USER other", 331), ("PASS p", 230)]);
    assert_ne!(session.download("RETR f"), picture);
    play(&mut session, &[("REIN", 220), ("USER camera", 331), ("PASS p", 230)]);
    assert_eq!(session.download("RETR f"), picture);
}

#[test]
fn known_and_unknown_names_get_the_same_replies_hs_30() {
    let config = super::quick_with(|config| config.logins.failures = u32::MAX);
    let fixture = Fixture::with(|builder| {
        let known = (0..500).map(|number| format!("known{number}"));
        known.fold(builder.config(config), |builder, name| builder.user(name, "p", Rights::READ))
    });
    let mut session = fixture.greeted();
    let mut replies = std::collections::BTreeSet::new();
    for number in 0..500 {
        for who in ["known", "other"] {
            let named = session.ask(format!("USER {who}{number}")).bytes;
            replies.insert((named, session.ask("PASS wrong").bytes));
        }
    }
    let replies: Vec<_> = replies.into_iter().collect();
    let [(named, refused)] = &replies[..] else { panic!("they differ: {replies:?}") };
    assert!(named.starts_with(b"331 ") && refused.starts_with(b"530 "), "{replies:?}");
}
