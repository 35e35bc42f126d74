//! The rules of single users: who may log in when and from where, and limits that no other user
//! has.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use ftp_proto::Network;
use ftp_server::{
    AuthError, Authenticator, Event, EventKind, Keep, Login, LoginAttempt, MemoryStorage, Observer,
    Rights, Server, Storage, StorageError, Upload, UserLimits, UserTable, VirtualPath, WriteMode,
    forward_storage,
};
use ftp_tests::raw::RawSession;

use super::play;

fn login(rights: Rights) -> Login {
    Login::new(Arc::new(MemoryStorage::new()), rights)
}

/// Collects the reasons of refused logins.
#[derive(Default)]
struct Reasons(Mutex<Vec<(String, AuthError)>>);

impl Observer for Reasons {
    fn observe(&self, event: &Event<'_>) {
        if let EventKind::LoginRefused { user, reason, .. } = event.kind {
            let user = String::from_utf8_lossy(user).into_owned();
            self.0.lock().expect("no panic").push((user, reason));
        }
    }
}

/// A table that itself refuses users who may not log in.
struct Barring(UserTable);

impl Authenticator for Barring {
    fn login(&self, attempt: &LoginAttempt<'_>) -> Result<Login, AuthError> {
        let login = self.0.login(attempt)?;
        login.objection(attempt.peer.ip(), SystemTime::now()).map_or(Ok(login), Err)
    }
}

#[test]
fn barred_users_are_refused_like_a_wrong_password_hs_30() {
    let hour = Duration::from_secs(3_600);
    let now = SystemTime::now();
    let network = |text: &[u8]| Network::parse(text).expect("a network");
    let users = [
        ("on", login(Rights::READ), None),
        ("off", login(Rights::READ).enabled(false), Some(AuthError::Disabled)),
        ("past", login(Rights::READ).expires(now), Some(AuthError::Expired)),
        ("future", login(Rights::READ).expires(now + hour), None),
        (
            "elsewhere",
            login(Rights::READ).networks([network(b"192.0.2.0/24"), network(b"::/0")]),
            Some(AuthError::Network),
        ),
        ("here", login(Rights::READ).networks([network(b"127.0.0.0/8")]), None),
    ];
    let table = users
        .iter()
        .fold(UserTable::new(), |table, (name, login, _)| table.user(*name, "p", login.clone()));
    let authenticators: [Arc<dyn Authenticator>; 2] =
        [Arc::new(table.clone()), Arc::new(Barring(table))];
    for authenticator in authenticators {
        let reasons = Arc::new(Reasons::default());
        let config = super::quick_with(|config| config.logins.failures = 3);
        let builder = Server::builder().config(config).observer(Arc::clone(&reasons));
        let server = builder.authenticator(authenticator).bind("127.0.0.1:0").expect("a server");
        for (name, _, refusal) in &users {
            let mut session = RawSession::greeted(server.local_addr());
            let user = format!("USER {name}");
            let Some(refusal) = refusal else {
                play(&mut session, &[(&user, 331), ("PASS p", 230)]);
                continue;
            };
            let mut refused = |password: &str| {
                session.expect(&user, 331);
                session.ask(password).text()
            };
            // Nothing tells the right password from a wrong one, not even the count of failures.
            assert_eq!(refused("PASS p"), refused("PASS wrong"), "{name}");
            assert_eq!(refused("PASS p"), "421 Too many failed logins", "{name}");
            let seen = std::mem::take(&mut *reasons.0.lock().expect("no panic"));
            let want = [*refusal, AuthError::Refused, *refusal];
            assert_eq!(seen, want.map(|reason| ((*name).to_owned(), reason)));
        }
    }
}

#[test]
fn a_user_can_have_a_custom_idle_timeout_st_08() {
    let idle = Duration::from_millis(300);
    let table = UserTable::new().user("short", "p", login(Rights::READ).idle(idle)).user(
        "long",
        "p",
        login(Rights::READ).idle(Duration::from_secs(300)),
    );
    let config = super::quick_with(|config| config.timeouts.idle = idle);
    let server = |config| {
        let builder = Server::builder().config(config).authenticator(table.clone());
        builder.bind("127.0.0.1:0").expect("a server")
    };
    let by_server = server(config);
    let by_user = server(super::quick());
    let mut short = RawSession::login(by_user.local_addr(), "short", "p");
    let mut long = RawSession::login(by_server.local_addr(), "long", "p");
    short.expect_reply(421);
    short.expect_closed();
    // As long as that of the server again.
    std::thread::sleep(2 * idle);
    long.expect("NOOP", 200);
}

#[test]
fn a_user_can_have_a_custom_overwrite_setting() {
    for (of_server, of_user, code, replaces) in [
        (true, None, 226, true),
        (true, Some(false), 553, false),
        (false, Some(true), 226, true),
        (false, None, 553, false),
    ] {
        let mut login = login(Rights::FULL);
        login.overwrite = of_user;
        let config = super::quick().overwrite(of_server);
        let builder = Server::builder().config(config);
        let builder = builder.authenticator(UserTable::new().user("u", "p", login));
        let server = builder.bind("127.0.0.1:0").expect("a server");
        let mut session = RawSession::login(server.local_addr(), "u", "p");
        session.upload("STOR a", b"old");
        session.upload("STOR b", b"new");
        let facts = session.expect("MLST a", 250).text();
        assert_eq!(facts.contains("perm=adfrw;"), replaces, "{facts}");
        let mut data = session.passive();
        if session.ask("STOR a").code == 150 {
            data.write_all(b"new");
            data.close();
            session.expect_reply(code);
        } else {
            assert_eq!(code, 553);
        }
        session.expect("RNFR b", 350);
        session.expect("RNTO a", if replaces { 250 } else { 553 });
    }
}

const RATE: u64 = 64 * 1024;

#[test]
fn uploads_and_downloads_have_separate_rate_limits() {
    let limited = UserLimits::default();
    // Under the rate of the other direction this would take two minutes.
    let large = vec![b'x'; 8 << 20];
    let most = Duration::from_secs(60);
    let storage = MemoryStorage::new();
    storage.put("/large", &large).expect("room");
    let up = Login::new(Arc::new(storage), Rights::FULL);
    let table = UserTable::new()
        .user("up", "p", up.limits(limited.rate_up(RATE).rate_down(0)))
        .user("down", "p", login(Rights::FULL).limits(limited.rate_down(RATE)));
    let builder = Server::builder().config(super::quick()).authenticator(table);
    let server = builder.bind("127.0.0.1:0").expect("a server");
    let second = vec![b'x'; usize::try_from(RATE).expect("it fits")];
    let slow = |act: &mut dyn FnMut()| {
        let start = Instant::now();
        act();
        assert!(start.elapsed() >= Duration::from_millis(750), "{:?}", start.elapsed());
    };
    let unlimited = |act: &mut dyn FnMut()| {
        let start = Instant::now();
        act();
        assert!(start.elapsed() < most, "{:?}", start.elapsed());
    };
    let mut up = RawSession::login(server.local_addr(), "up", "p");
    up.expect("TYPE I", 200);
    slow(&mut || up.upload("STOR a", &second));
    unlimited(&mut || assert_eq!(up.download("RETR large").len(), large.len()));
    let mut down = RawSession::login(server.local_addr(), "down", "p");
    down.expect("TYPE I", 200);
    unlimited(&mut || down.upload("STOR a", &large));
    down.upload("STOR b", &second);
    slow(&mut || assert_eq!(down.download("RETR b").len(), second.len()));
}

#[test]
fn a_user_can_have_a_maximum_file_size_cm_54() {
    let limits = UserLimits::default().file_size(1_000);
    let table = UserTable::new().user("u", "p", login(Rights::FULL).limits(limits)).user(
        "free",
        "p",
        login(Rights::FULL),
    );
    let builder = Server::builder().config(super::quick()).authenticator(table);
    let server = builder.bind("127.0.0.1:0").expect("a server");
    let mut session = RawSession::login(server.local_addr(), "u", "p");
    let mut store = |before: Option<&str>, line: &str, length: usize| {
        if let Some(before) = before {
            session.expect(before, 350);
        }
        let mut data = session.passive();
        let reply = session.ask(line);
        if reply.code != 150 {
            return reply.text();
        }
        data.write_all(&vec![b'x'; length]);
        data.close();
        session.reply().text()
    };
    let too_large = "552 Quota exceeded";
    for (before, line, length, want) in [
        (None, "TYPE I", 0, "200"),
        (None, "STOR a", 1_001, too_large),
        (None, "SIZE a", 0, "550"),
        (None, "STOR a", 1_000, "226"),
        (None, "SIZE a", 0, "213 1000"),
        (None, "APPE a", 1, too_large),
        (None, "APPE a", 0, "226"),
        (None, "SIZE a", 0, "213 1000"),
        (None, "STOR a", 5_000, too_large),
        (None, "STOR b", 600, "226"),
        (None, "APPE b", 401, too_large),
        (None, "SIZE b", 0, "213 600"),
        (None, "APPE b", 400, "226"),
        (Some("REST 999"), "STOR b", 2, too_large),
        (Some("REST 999"), "STOR b", 1, "226"),
        (Some("REST 1001"), "STOR b", 1, too_large),
        (None, "STOU", 1_001, too_large),
        (None, "ALLO 1001", 0, too_large),
        (None, "ALLO 1000", 0, "200"),
    ] {
        let said = store(before, line, length);
        assert!(said.starts_with(want), "{line} {length}: {said}");
    }
    let mut free = RawSession::login(server.local_addr(), "free", "p");
    free.upload("STOR a", &[b'x'; 5_000]);
    free.expect("ALLO 5000", 200);
}

/// A storage to which another session appends 600 bytes just before an append begins.
struct Overtaken(MemoryStorage);

impl Storage for Overtaken {
    forward_storage!(self, self.0; capabilities, confine, stat, list, read);
    forward_storage!(self, self.0; unfinished, kept, forget, space);

    fn write(
        &self,
        path: &VirtualPath,
        mode: WriteMode,
        _: Keep<'_>,
    ) -> Result<Box<dyn Upload>, StorageError> {
        if mode == WriteMode::Append {
            let mut other = self.0.write(path, mode, Keep::Shared)?;
            other.write_all(&[b'o'; 600])?;
            other.commit()?;
        }
        self.0.write(path, mode, Keep::Shared)
    }
}

#[test]
fn parallel_appends_do_not_exceed_the_maximum_file_size_cm_54() {
    let limits = UserLimits::default().file_size(1_000);
    let memory = MemoryStorage::new();
    memory.put("/a", [b'a'; 300]).expect("room");
    let login = Login::new(Arc::new(Overtaken(memory.clone())), Rights::FULL).limits(limits);
    let builder = Server::builder().config(super::quick());
    let builder = builder.authenticator(UserTable::new().user("u", "p", login));
    let server = builder.bind("127.0.0.1:0").expect("a server");
    let mut session = RawSession::login(server.local_addr(), "u", "p");
    session.expect("TYPE I", 200);
    let mut data = session.passive();
    session.expect("APPE a", 150);
    data.write_all(&[b'x'; 101]);
    data.close();
    session.expect_reply(552);
    assert_eq!(memory.get("/a").expect("a file").len(), 900);
}

#[test]
fn appends_that_end_one_after_the_other_do_not_exceed_the_maximum_file_size_cm_54_fs_16() {
    let root = tempfile::tempdir().expect("a directory");
    std::fs::write(root.path().join("a"), [b'a'; 300]).expect("a file");
    let storage = ftp_server::LocalStorage::open(root.path()).expect("a storage");
    let limits = UserLimits::default().file_size(1_000);
    let login = Login::new(Arc::new(storage), Rights::FULL).limits(limits);
    let builder = Server::builder().config(super::quick());
    let builder = builder.authenticator(UserTable::new().user("u", "p", login));
    let server = builder.bind("127.0.0.1:0").expect("a server");
    let appends = [226, 552].map(|code| {
        let mut session = RawSession::login(server.local_addr(), "u", "p");
        session.expect("TYPE I", 200);
        let mut data = session.passive();
        session.expect("APPE a", 150);
        data.write_all(&[b'x'; 400]);
        (session, data, code)
    });
    for (mut session, data, code) in appends {
        data.close();
        session.expect_reply(code);
    }
    assert_eq!(std::fs::metadata(root.path().join("a")).expect("a file").len(), 700);
}
