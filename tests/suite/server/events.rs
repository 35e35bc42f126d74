//! Events for observers, and the lines of the log, which are stable.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ftp_proto::{Network, ReplyCode};
use ftp_server::testing::{Fault, FaultStorage, StorageCall};
use ftp_server::{
    Activity, Event, EventKind, EventLog, LocalStorage, LogWriter, Login, MemoryStorage, Observer,
    Refusal, Rights, Server, ServerBuilder, SessionEnd, StorageErrorKind, UserTable, Xferlog,
};
use ftp_tests::peer::Peer;
use ftp_tests::process::{LIMIT, run_with};
use ftp_tests::raw::RawSession;
use ftp_tests::wait::wait_until;

use super::Fixture;

/// A file in memory.
#[derive(Clone, Default)]
pub(super) struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The log of one server, in memory.
pub(super) struct Log {
    kept: Kept,
    writer: LogWriter,
}

impl Log {
    pub(super) fn new() -> Self {
        let kept = Kept::default();
        let writer = LogWriter::start("a test", kept.clone()).expect("a thread");
        Self { kept, writer }
    }

    /// Returns an observer that writes lines of text here.
    pub(super) fn text(&self) -> EventLog {
        self.json(false)
    }

    /// Returns an observer that writes here, in JSON or in text.
    pub(super) fn json(&self, is_json: bool) -> EventLog {
        EventLog::new(self.writer.clone()).json(is_json)
    }

    /// Returns the lines so far: events before a reply are reported before it.
    pub(super) fn lines(&self) -> Vec<String> {
        assert!(self.writer.flush(LIMIT));
        let text = self.kept.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        String::from_utf8(text).expect("UTF-8").lines().map(str::to_owned).collect()
    }

    /// Returns the lines without differences between runs: the time, which is checked to be valid,
    /// seconds, and the ports of `sessions`, which become `P1`, `P2` and so on.
    fn equal_lines(&self, sessions: &[SocketAddr]) -> Vec<String> {
        let lines = self.lines();
        lines.iter().map(|line| equal(line, sessions)).collect()
    }
}

fn equal(line: &str, sessions: &[SocketAddr]) -> String {
    let shape: String =
        line.chars().map(|char| if char.is_ascii_digit() { '0' } else { char }).collect();
    let is_json = line.starts_with('{');
    let time = if is_json {
        "{\"time\":\"0000-00-00T00:00:00.000Z\","
    } else {
        "0000-00-00T00:00:00.000Z "
    };
    assert!(shape.starts_with(time), "{line}");
    let mut line = line[time.len()..].to_owned();
    for (number, address) in sessions.iter().enumerate() {
        for (name, end) in [("port=", " "), ("\"port\":", ",")] {
            let port = format!("{name}{}{end}", address.port());
            line = line.replace(&port, &format!("{name}P{}{end}", number + 1));
        }
    }
    for name in ["seconds=", "\"seconds\":"] {
        if let Some((before, after)) = line.split_once(name) {
            let end = after.find([' ', ',']).expect("something is behind it");
            let seconds: f64 = after[..end].parse().expect("a number");
            assert!(
                (0.0..60.0).contains(&seconds)
                    && after[..end].split('.').nth(1).unwrap().len() == 3
            );
            line = format!("{before}{name}S{}", &after[end..]);
        }
    }
    line
}

pub(super) fn address(session: &RawSession) -> SocketAddr {
    session.stream().local_addr().expect("an address")
}

/// One line of each kind, by a real session.
fn play(fixture: &Fixture) -> SocketAddr {
    fixture.write("a \"b\"", "12345");
    let mut session = RawSession::greeted(fixture.server.local_addr());
    session.expect("USER x\" reason=none", 331);
    session.expect("PASS secret", 530);
    session.expect("USER u", 331);
    session.expect("PASS p", 230);
    session.expect("TYPE I", 200);
    assert_eq!(session.download("RETR a \"b\""), b"12345");
    session.expect("TYPE A", 200);
    session.upload("STOR new", b"a\r\nb\r\n");
    session.expect("TYPE I", 200);
    session.expect("PASV", 227);
    session.expect("RETR none", 550);
    let _ = session.download("NLST");
    session.expect("HASH new", 213);
    session.expect("MKD d", 257);
    session.expect("MFMT 20260102030405 new", 213);
    session.expect("SITE CHMOD 600 new", 200);
    session.expect("RNFR new", 350);
    session.expect("RNTO d/\u{e9}", 250);
    session.expect([&b"DELE d/"[..], "\u{e9}".as_bytes()].concat(), 250);
    session.expect("RMD d", 250);
    session.expect("REIN", 220);
    session.expect("USER reader", 331);
    session.expect("PASS p", 230);
    session.expect("PASV", 227);
    session.expect("STOR x\u{9b}2J", 550);
    session.expect("QUIT", 221);
    let address = address(&session);
    session.expect_closed();
    address
}

#[test]
fn each_text_log_line_has_the_documented_format() {
    let log = Log::new();
    let with = |builder: ServerBuilder| builder.observer(log.text().sessions(true));
    let fixture = Fixture::with(with);
    let server = fixture.server.local_addr();
    let peer = play(&fixture);
    let want = [
        &*format!("connected session=1 peer=127.0.0.1 port=P1 local={server}"),
        r#"login-refused session=1 peer=127.0.0.1 port=P1 user="x\" reason=none" reason=credentials"#,
        r#"login session=1 peer=127.0.0.1 port=P1 user="u""#,
        r#"transfer session=1 peer=127.0.0.1 port=P1 user="u" verb=RETR path="/a \"b\"" bytes=5 seconds=S type=I end=fin reply=226"#,
        r#"transfer session=1 peer=127.0.0.1 port=P1 user="u" verb=STOR path="/new" bytes=6 seconds=S type=A end=fin reply=226"#,
        r#"transfer session=1 peer=127.0.0.1 port=P1 user="u" verb=RETR path="/none" bytes=0 seconds=S type=I end=refused reply=550"#,
        r#"transfer session=1 peer=127.0.0.1 port=P1 user="u" verb=NLST path="/" bytes=12 seconds=S type=I end=fin reply=226"#,
        r#"transfer session=1 peer=127.0.0.1 port=P1 user="u" verb=HASH path="/new" bytes=4 seconds=S type=I end=fin reply=213"#,
        r#"mkdir session=1 peer=127.0.0.1 port=P1 user="u" path="/d""#,
        r#"change session=1 peer=127.0.0.1 port=P1 user="u" path="/new" modified=20260102030405"#,
        r#"change session=1 peer=127.0.0.1 port=P1 user="u" path="/new" mode=0600"#,
        "rename session=1 peer=127.0.0.1 port=P1 user=\"u\" path=\"/new\" to=\"/d/\u{e9}\"",
        "delete session=1 peer=127.0.0.1 port=P1 user=\"u\" path=\"/d/\u{e9}\"",
        r#"rmdir session=1 peer=127.0.0.1 port=P1 user="u" path="/d""#,
        r#"logout session=1 peer=127.0.0.1 port=P1 user="u""#,
        r#"login session=1 peer=127.0.0.1 port=P1 user="reader""#,
        r#"transfer session=1 peer=127.0.0.1 port=P1 user="reader" verb=STOR path="/x\u{9b}2J" bytes=0 seconds=S type=A end=refused reply=550"#,
        r#"ended session=1 peer=127.0.0.1 port=P1 user="reader" seconds=S end=closed"#,
    ];
    assert_eq!(log.equal_lines(&[peer]), want);
    let text = log.lines().concat();
    assert!(!text.contains("secret"), "a password is in the log");
}

#[test]
fn each_json_log_line_has_the_documented_format() {
    let log = Log::new();
    let fixture = Fixture::with(|builder| builder.observer(log.json(true)));
    let peer = play(&fixture);
    let want = [
        r#""event":"login-refused","session":1,"peer":"127.0.0.1","port":P1,"user":"x\" reason=none","reason":"credentials"}"#,
        r#""event":"login","session":1,"peer":"127.0.0.1","port":P1,"user":"u"}"#,
        r#""event":"transfer","session":1,"peer":"127.0.0.1","port":P1,"user":"u","verb":"RETR","path":"/a \"b\"","bytes":5,"seconds":S,"type":"I","end":"fin","reply":226}"#,
        r#""event":"transfer","session":1,"peer":"127.0.0.1","port":P1,"user":"u","verb":"STOR","path":"/new","bytes":6,"seconds":S,"type":"A","end":"fin","reply":226}"#,
        r#""event":"transfer","session":1,"peer":"127.0.0.1","port":P1,"user":"u","verb":"RETR","path":"/none","bytes":0,"seconds":S,"type":"I","end":"refused","reply":550}"#,
        r#""event":"transfer","session":1,"peer":"127.0.0.1","port":P1,"user":"u","verb":"NLST","path":"/","bytes":12,"seconds":S,"type":"I","end":"fin","reply":226}"#,
        r#""event":"transfer","session":1,"peer":"127.0.0.1","port":P1,"user":"u","verb":"HASH","path":"/new","bytes":4,"seconds":S,"type":"I","end":"fin","reply":213}"#,
        r#""event":"mkdir","session":1,"peer":"127.0.0.1","port":P1,"user":"u","path":"/d"}"#,
        r#""event":"change","session":1,"peer":"127.0.0.1","port":P1,"user":"u","path":"/new","modified":"20260102030405"}"#,
        r#""event":"change","session":1,"peer":"127.0.0.1","port":P1,"user":"u","path":"/new","mode":"0600"}"#,
        "\"event\":\"rename\",\"session\":1,\"peer\":\"127.0.0.1\",\"port\":P1,\"user\":\"u\",\"path\":\"/new\",\"to\":\"/d/\u{e9}\"}",
        "\"event\":\"delete\",\"session\":1,\"peer\":\"127.0.0.1\",\"port\":P1,\"user\":\"u\",\"path\":\"/d/\u{e9}\"}",
        r#""event":"rmdir","session":1,"peer":"127.0.0.1","port":P1,"user":"u","path":"/d"}"#,
        r#""event":"logout","session":1,"peer":"127.0.0.1","port":P1,"user":"u"}"#,
        r#""event":"login","session":1,"peer":"127.0.0.1","port":P1,"user":"reader"}"#,
        r#""event":"transfer","session":1,"peer":"127.0.0.1","port":P1,"user":"reader","verb":"STOR","path":"/x\\u{9b}2J","bytes":0,"seconds":S,"type":"A","end":"refused","reply":550}"#,
    ];
    assert_eq!(log.equal_lines(&[peer]), want);
    // Parsed by another program: every name and value, in this order.
    let Some(python) = Peer::python("json") else { return };
    let script = "import json, sys\nfor line in sys.stdin: print(list(json.loads(line)))\n";
    let input: String = log.lines().iter().map(|line| format!("{line}\n")).collect();
    let ran = run_with(python.command().args(["-c", script]), input.as_bytes(), LIMIT);
    let names = String::from_utf8(ran.succeeded()).expect("UTF-8");
    let login = "['time', 'event', 'session', 'peer', 'port', 'user']";
    assert_eq!(names.lines().nth(1), Some(login));
    assert_eq!(names.lines().count(), want.len());
}

#[test]
fn the_log_tells_how_each_transfer_ended() {
    let log = Log::new();
    let fixture = Fixture::with(|builder| builder.observer(log.text()));
    let begin = |session: &mut RawSession, name: &str| {
        let mut data = session.passive();
        session.expect(format!("STOR {name}"), 150);
        data.write_all(b"half");
        let is_here = |activity: Activity| matches!(activity, Activity::Transfer { bytes: 4, .. });
        wait_until("the bytes are read", || {
            fixture.server.sessions().into_iter().any(|session| is_here(session.activity))
        });
        data
    };
    let mut one = fixture.session();
    begin(&mut one, "reset").reset();
    one.expect_reply(426);
    let data = begin(&mut one, "abor");
    one.expect("ABOR", 426);
    one.expect_reply(226);
    drop(data);
    // The server ends this session, the client the next.
    let mut cut = fixture.session();
    let data = begin(&mut cut, "cut");
    assert!(fixture.server.kick(2));
    cut.expect_reply(426);
    cut.expect_reply(421);
    cut.expect_closed();
    drop(data);
    let mut lost = fixture.session();
    let data = begin(&mut lost, "lost");
    drop(lost);
    let is_told = |line: &String| line.contains(" path=\"/lost\" ");
    wait_until("the end is logged", || log.lines().iter().any(is_told));
    drop(data);
    // A separate server with short timeouts. A busy machine must not exceed them before.
    let config = super::quick_with(|config| {
        config.timeouts.stall = Duration::from_millis(300);
        config.timeouts.data_connect = Duration::from_millis(300);
    });
    let hasty = Fixture::with(|builder| builder.config(config).observer(log.text()));
    let mut late = hasty.session();
    let mut data = late.passive();
    data.write_all(b"half");
    late.expect("STOR stall", 150);
    late.expect_reply(426);
    drop(data);
    late.expect("PASV", 227);
    late.expect("STOR no-data", 150);
    late.expect_reply(425);
    // A separate full storage.
    let full = Fault::Fail(StorageErrorKind::NoSpace);
    let storage = FaultStorage::new(MemoryStorage::new()).from(StorageCall::UploadWrite, 1, full);
    let builder = Server::builder().storage(storage).user("u", "p", Rights::FULL);
    let builder = builder.observer(log.text());
    let server = builder.bind("127.0.0.1:0").expect("a server");
    let mut full = RawSession::login(server.local_addr(), "u", "p");
    let mut data = full.passive();
    full.expect("STOR full", 150);
    data.write_all(b"much");
    data.close();
    full.expect_reply(452);
    let stored: Vec<_> = log
        .equal_lines(&[])
        .into_iter()
        .filter_map(|line| line.split_once(" verb=STOR ").map(|(_, rest)| rest.to_owned()))
        .collect();
    assert_eq!(
        stored,
        [
            r#"path="/reset" bytes=4 seconds=S type=A end=reset reply=426"#,
            r#"path="/abor" bytes=4 seconds=S type=A end=abor reply=426"#,
            r#"path="/cut" bytes=4 seconds=S type=A end=cut reply=426"#,
            r#"path="/lost" bytes=4 seconds=S type=A end=control-lost"#,
            r#"path="/stall" bytes=4 seconds=S type=A end=stall reply=426"#,
            r#"path="/no-data" bytes=0 seconds=S type=A end=no-data reply=425"#,
            r#"path="/full" bytes=0 seconds=S type=A end=storage reply=452"#,
        ]
    );
}

#[test]
fn changes_that_were_not_synced_are_told_as_made() {
    use StorageCall::{Mkdir, Remove, Rename, Rmdir, UploadCommit};
    let log = Log::new();
    let unsynced = Fault::Fail(StorageErrorKind::Unsynced);
    let calls = [UploadCommit, Mkdir, Rmdir, Remove, Rename].into_iter();
    let memory = MemoryStorage::new();
    memory.put("/f", b"x").expect("a file");
    let memory = FaultStorage::new(memory);
    let storage = calls.fold(memory, |storage, call| storage.from(call, 1, unsynced));
    let login = Login::new(Arc::new(storage.clone()), Rights::FULL).mkdir_parents(true);
    let builder = Server::builder().config(super::quick());
    let builder = builder.authenticator(UserTable::new().user("u", "p", login));
    let server = builder.observer(log.text()).bind("127.0.0.1:0");
    let server = server.expect("a server on loopback");
    let mut session = RawSession::login(server.local_addr(), "u", "p");
    let mut data = session.passive();
    session.expect("STOR new", 150);
    data.write_all(b"much");
    data.close();
    session.expect_reply(451);
    for line in ["MKD made", "RMD removed", "DELE f"] {
        session.expect(line, 451);
    }
    assert_eq!(storage.count(StorageCall::Forget), 1);
    session.expect("RNFR f", 350);
    // No upload was cut, so there is no record to forget.
    session.expect("RNTO g", 451);
    assert_eq!(storage.count(StorageCall::Forget), 1);
    // The directory is made, but no byte of the file is received.
    let _data = session.passive();
    let reply = session.expect("STOR parent/f", 451).text();
    assert_eq!(reply, "451 Local error");
    let told = |line: &String| {
        let (event, rest) = line.split_once(' ')?;
        let (_, what) = rest.split_once(" user=\"u\" ")?;
        (event != "command-refused").then(|| format!("{event} {what}"))
    };
    let told: Vec<_> = log.equal_lines(&[]).iter().filter_map(told).collect();
    assert_eq!(
        told,
        [
            r#"transfer verb=STOR path="/new" bytes=4 seconds=S type=A end=fin reply=451"#,
            r#"mkdir path="/made""#,
            r#"rmdir path="/removed""#,
            r#"delete path="/f""#,
            r#"rename path="/f" to="/g""#,
            r#"mkdir path="/parent""#,
            r#"transfer verb=STOR path="/parent/f" bytes=0 seconds=S type=A end=refused reply=451"#,
        ]
    );
}

#[test]
fn refused_commands_are_logged_with_the_reason() {
    for (is_json, mark) in [(false, " verb="), (true, ",\"verb\":")] {
        let log = Log::new();
        let config = super::quick().overwrite(false);
        let with = |builder: ServerBuilder| builder.config(config).observer(log.json(is_json));
        let fixture = Fixture::with(with);
        fixture.write("a", "1");
        fixture.write("b", "2");
        let mut session = fixture.session();
        session.expect("MKD d", 257);
        session.expect("CWD d", 250);
        for refused in ["CWD no \"dir\"", "MKD /d", "RMD /none", "DELE none", "RNFR none"] {
            session.expect(refused, 550);
        }
        session.expect("CDUP", 250);
        session.expect("RNFR a", 350);
        session.expect("RNTO b", 553);
        // Refused commands that name no file or directory have no line.
        session.expect("MKD", 501);
        session.expect("TYPE X", 501);
        session.expect("SIZE none", 550);
        session.expect("MFMT 20200101000000 none", 550);
        session.expect("MLST none", 550);
        session.expect("PASV", 227);
        session.expect("LIST -la none", 550);
        // A session gets ten lines per second.
        let mut session = fixture.session();
        session.expect("MFF Modify=20200101000000; none", 550);
        session.expect("HASH none", 550);
        session.expect("XCRC \"none\" 0 1", 550);
        session.expect("STAT none", 550);
        let mut reader = RawSession::login(fixture.server.local_addr(), "reader", "p");
        reader.expect("MKD x", 550);
        reader.expect("RNTO x", 503);
        let lines: Vec<_> = log
            .lines()
            .iter()
            .filter(|line| line.contains("command-refused"))
            .map(|line| line.split_once(mark).expect("a verb").1.to_owned())
            .collect();
        let want = match is_json {
            false => [
                r#"CWD path="/d/no \"dir\"" reply=550 text="No such file or directory""#,
                r#"MKD path="/d" reply=550 text="Already exists""#,
                r#"RMD path="/none" reply=550 text="No such file or directory""#,
                r#"DELE path="/d/none" reply=550 text="No such file or directory""#,
                r#"RNFR path="/d/none" reply=550 text="No such file or directory""#,
                r#"RNTO path="/a" to="/b" reply=553 text="Already exists""#,
                r#"SIZE path="/none" reply=550 text="No such file or directory""#,
                r#"MFMT path="/none" reply=550 text="No such file or directory""#,
                r#"MLST path="/none" reply=550 text="No such file or directory""#,
                r#"LIST path="/none" reply=550 text="No such file or directory""#,
                r#"MFF path="/none" reply=550 text="No such file or directory""#,
                r#"HASH path="/none" reply=550 text="No such file or directory""#,
                r#"XCRC path="/none" reply=550 text="No such file or directory""#,
                r#"STAT path="/none" reply=550 text="No such file or directory""#,
                r#"MKD path="/x" reply=550 text="Permission denied""#,
                r#"RNTO path="/x" reply=503 text="Bad sequence of commands""#,
            ],
            _ => [
                r#""CWD","path":"/d/no \"dir\"","reply":550,"text":"No such file or directory"}"#,
                r#""MKD","path":"/d","reply":550,"text":"Already exists"}"#,
                r#""RMD","path":"/none","reply":550,"text":"No such file or directory"}"#,
                r#""DELE","path":"/d/none","reply":550,"text":"No such file or directory"}"#,
                r#""RNFR","path":"/d/none","reply":550,"text":"No such file or directory"}"#,
                r#""RNTO","path":"/a","to":"/b","reply":553,"text":"Already exists"}"#,
                r#""SIZE","path":"/none","reply":550,"text":"No such file or directory"}"#,
                r#""MFMT","path":"/none","reply":550,"text":"No such file or directory"}"#,
                r#""MLST","path":"/none","reply":550,"text":"No such file or directory"}"#,
                r#""LIST","path":"/none","reply":550,"text":"No such file or directory"}"#,
                r#""MFF","path":"/none","reply":550,"text":"No such file or directory"}"#,
                r#""HASH","path":"/none","reply":550,"text":"No such file or directory"}"#,
                r#""XCRC","path":"/none","reply":550,"text":"No such file or directory"}"#,
                r#""STAT","path":"/none","reply":550,"text":"No such file or directory"}"#,
                r#""MKD","path":"/x","reply":550,"text":"Permission denied"}"#,
                r#""RNTO","path":"/x","reply":503,"text":"Bad sequence of commands"}"#,
            ],
        };
        assert_eq!(lines, want);
    }
}

#[test]
fn refused_connections_are_logged_at_most_once_per_second_ho_06() {
    let log = Log::new();
    let config = super::quick_with(|config| config.limits.sessions = 3);
    let fixture = Fixture::with(|builder| builder.config(config).observer(log.text()));
    let address = fixture.server.local_addr();
    let _first = fixture.session();
    let _second = fixture.session();
    let start = Instant::now();
    for _ in 0..50 {
        let mut session = RawSession::connect(address);
        session.expect_reply(421);
        session.expect_closed();
    }
    let lines = log.lines();
    let seconds = usize::try_from(start.elapsed().as_secs()).unwrap();
    let refused: Vec<_> = lines.iter().filter(|line| line.contains(" refused peer=")).collect();
    assert!((1..seconds + 3).contains(&refused.len()), "{refused:?}");
    assert!(refused[0].ends_with(" reason=full"), "{refused:?}");
}

#[test]
fn reconfiguring_keeps_the_observers() {
    let log = Log::new();
    let fixture = Fixture::with(|builder| builder.observer(log.text()));
    let storage = LocalStorage::open(fixture.root.path()).expect("a storage");
    let login = Login::new(Arc::new(storage), Rights::READ);
    let users = || UserTable::new().user("new", "p", login.clone());
    let change = |config| fixture.server.reconfigure(config, users()).expect("a change");
    let old = fixture.session();
    change(super::quick());
    let new = RawSession::login(fixture.server.local_addr(), "new", "p");
    change(super::quick().deny([Network::parse(b"127.0.0.0/8").expect("a network")]));
    let mut denied = RawSession::connect(fixture.server.local_addr());
    denied.expect_reply(421);
    let peers = [address(&old), address(&new), address(&denied)];
    denied.expect_closed();
    // The last one is reported after the reply.
    wait_until("three lines are logged", || log.lines().len() >= 3);
    let want = [
        r#"login session=1 peer=127.0.0.1 port=P1 user="u""#,
        r#"login session=2 peer=127.0.0.1 port=P2 user="new""#,
        "refused peer=127.0.0.1 port=P3 reason=denied",
    ];
    assert_eq!(log.equal_lines(&peers), want);
}

#[test]
fn a_login_beyond_the_session_limit_is_logged_as_too_many() {
    let log = Log::new();
    let config = super::quick_with(|config| config.limits.per_user = 1);
    let fixture = Fixture::with(|builder| builder.config(config).observer(log.text()));
    let _first = fixture.session();
    let mut second = fixture.greeted();
    second.expect("USER u", 331);
    second.expect("PASS p", 421);
    let lines = log.equal_lines(&[address(&second)]);
    let want = r#"login-refused session=2 peer=127.0.0.1 port=P1 user="u" reason=too-many"#;
    assert_eq!(lines.last().map(String::as_str), Some(want));
}

/// Records events as words, and panics at a chosen one.
struct Words {
    said: Arc<Mutex<Vec<String>>>,
    panics_at: fn(&EventKind<'_>) -> bool,
}

impl Observer for Words {
    fn observe(&self, event: &Event<'_>) {
        let user = event.user.map_or("-".into(), String::from_utf8_lossy);
        let word = match event.kind {
            EventKind::Connected { .. } => "connected",
            EventKind::Refused(Refusal::Full) => "full",
            EventKind::LoggedIn => "in",
            EventKind::LoggedOut => "out",
            EventKind::Transferred(_) => "moved",
            EventKind::Ended { end: SessionEnd::Closed, .. } => "closed",
            EventKind::Ended { end: SessionEnd::Panicked, .. } => "panicked",
            _ => "else",
        };
        let number = event.session.map_or("-".to_owned(), |number| number.to_string());
        self.said.lock().expect("nothing panics here").push(format!("{number} {user} {word}"));
        assert!(!(self.panics_at)(&event.kind), "an observer that panics, as the test wants");
    }
}

/// Records the inode and length of each announced upload, and whether its file already has its name.
struct Announced(Arc<Mutex<Vec<String>>>, std::path::PathBuf);

impl Observer for Announced {
    fn observe(&self, event: &Event<'_>) {
        if let EventKind::Transferred(transfer) = event.kind {
            let mut said = self.0.lock().expect("nothing panics here");
            said.push(format!("{} {:?}", transfer.end.as_str(), transfer.reply));
        }
    }

    fn before_publication(
        &self,
        event: &Event<'_>,
        hidden_file: Option<(u64, u64)>,
    ) -> Option<Box<dyn FnOnce(bool) + Send>> {
        let EventKind::Transferred(transfer) = event.kind else { panic!("{event:?}") };
        let has_name = self.1.join("a").exists();
        let (end, reply) = (transfer.end.as_str(), transfer.reply);
        let (inode, length) = hidden_file.expect("a hidden file");
        let bytes = transfer.bytes;
        let mut said = self.0.lock().expect("nothing panics here");
        said.push(format!("{inode} {length} {has_name} {bytes} {end} {reply:?}"));
        let said = Arc::clone(&self.0);
        Some(Box::new(move |is_made| {
            said.lock().expect("nothing panics here").push(format!("made: {is_made}"));
        }))
    }
}

#[test]
fn an_upload_is_announced_before_its_file_gets_its_name() {
    let said: Arc<Mutex<Vec<String>>> = Arc::default();
    let root = ftp_tests::root::TempRoot::new();
    let announced = Announced(Arc::clone(&said), root.path().to_owned());
    let builder = Server::builder().root(root.path()).user("u", "p", Rights::FULL);
    let server = builder.observer(announced).bind("127.0.0.1:0").unwrap();
    let mut session = RawSession::login(server.local_addr(), "u", "p");
    let mut data = session.passive();
    session.expect("STOR cut", 150);
    data.write_all(b"x");
    session.expect("ABOR", 426);
    session.expect_reply(226);
    session.upload("STOR a", b"12345");
    let inode = std::os::unix::fs::MetadataExt::ino(&root.join("a").metadata().unwrap());
    let okay = Some(ReplyCode::TRANSFER_COMPLETE);
    let want = [
        format!("abor {:?}", Some(ReplyCode::TRANSFER_ABORTED)),
        format!("{inode} 5 false 5 fin {okay:?}"),
        "made: true".to_owned(),
        format!("fin {okay:?}"),
    ];
    assert_eq!(*said.lock().unwrap(), want);
}

#[test]
fn a_panicking_observer_ends_only_its_session_st_16() {
    let said = Arc::default();
    let panics_at = |kind: &EventKind<'_>| match kind {
        EventKind::Refused(_) => true,
        EventKind::Transferred(transfer) => transfer.path.name() == Some(b"panic"),
        _ => false,
    };
    let words = Words { said: Arc::clone(&said), panics_at };
    let second = Words { said: Arc::clone(&said), panics_at: |_| false };
    let config = super::quick_with(|config| config.limits.sessions = 4);
    let fixture = Fixture::with(|builder| builder.config(config).observer(words).observer(second));
    let mut other = fixture.session();
    let mut session = fixture.session();
    let data = session.passive();
    session.expect("STOR panic", 150);
    data.close();
    // The client gets no reply, but the file exists.
    session.expect_closed();
    assert_eq!(fixture.names(), ["panic"]);
    other.expect_in_step();
    let (_third, _fourth) = (fixture.session(), fixture.session());
    // The accepting thread survives a panic too.
    for _ in 0..3 {
        RawSession::connect(fixture.server.local_addr()).expect_reply(421);
    }
    other.expect("QUIT", 221);
    other.expect_closed();
    wait_until("two sessions are left", || fixture.server.sessions().len() <= 2);
    fixture.session().expect_in_step();
    // The connection closes before its panic is reported.
    let is_panic = |line: &&String| line.ends_with("panicked");
    wait_until("the panic is reported to both", || {
        let said = said.lock().expect("nothing panics there");
        said.iter().filter(is_panic).count() == 2
    });
    let said = said.lock().expect("nothing panics there").clone();
    let of = |number: &str| -> Vec<&str> {
        said.iter().filter_map(|line| line.strip_prefix(number)).collect()
    };
    // The second observer does not get the event at which the first one panicked.
    let want =
        ["- connected", "- connected", "u in", "u in", "u moved", "u panicked", "u panicked"];
    assert_eq!(of("2 "), want);
    let want = ["- connected", "- connected", "u in", "u in", "u closed", "u closed"];
    assert_eq!(of("1 "), want);
    assert_eq!(of("- "), ["- full"; 3]);
}

#[test]
fn xferlog_has_a_line_for_each_file() {
    let log = Log::new();
    let fixture = Fixture::with(|builder| builder.observer(Xferlog::new(log.writer.clone())));
    fixture.write("a b", "12345");
    let mut session = fixture.session();
    session.expect("TYPE I", 200);
    assert_eq!(session.download("RETR a b"), b"12345");
    let _ = session.download("NLST");
    session.expect("TYPE A", 200);
    session.upload("STOR new", b"a\r\nb\r\n");
    session.expect("PASV", 227);
    session.expect("RETR none", 550);
    let data = session.passive();
    session.expect("APPE new", 150);
    data.reset();
    session.expect_reply(426);
    let lines = log.lines();
    let fields: Vec<_> = lines.iter().map(|line| line.split_at(24)).collect();
    let want = [
        " 1 127.0.0.1 5 /a_b b _ o r u ftp 0 * c",
        " 1 127.0.0.1 6 /new a _ i r u ftp 0 * c",
        " 1 127.0.0.1 0 /new a _ i r u ftp 0 * i",
    ];
    assert_eq!(fields.iter().map(|(_, rest)| *rest).collect::<Vec<_>>(), want);
    // The date as another program parses it.
    let Some(python) = Peer::python("datetime") else { return };
    let script = "import datetime, sys\n\
                  now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)\n\
                  for line in sys.stdin:\n    \
                      then = datetime.datetime.strptime(line[:24], '%a %b %d %H:%M:%S %Y')\n    \
                      assert abs((now - then).total_seconds()) < 60, (now, then)\n";
    let input: String = lines.iter().map(|line| format!("{line}\n")).collect();
    run_with(python.command().args(["-c", script]), input.as_bytes(), LIMIT).succeeded();
}

#[test]
fn each_directory_created_for_an_upload_is_logged_cm_105() {
    let root = tempfile::tempdir().expect("a directory");
    let storage = Arc::new(LocalStorage::open(root.path()).expect("it opens"));
    let login = Login::new(storage, Rights::FULL).mkdir_parents(true);
    let log = Log::new();
    let server = Server::builder().config(super::quick());
    let server = server.authenticator(UserTable::new().user("cam", "p", login));
    let server = server.observer(log.text()).bind("127.0.0.1:0");
    let server = server.expect("a server on loopback");
    let mut session = RawSession::login(server.local_addr(), "cam", "p");
    session.expect("TYPE I", 200);
    session.upload("STOR a/b/file", b"x");
    session.upload("STOR a/c/file", b"x");
    session.upload("STOR a/c/file", b"x");
    let made = |path: &str| format!(" mkdir session=1 * user=\"cam\" path=\"{path}\"");
    let stored = |path: &str| format!(" transfer session=1 * verb=STOR path=\"{path}\" bytes=1 *");
    let want = [
        " login session=1 *".to_owned(),
        made("/a"),
        made("/a/b"),
        stored("/a/b/file"),
        made("/a/c"),
        stored("/a/c/file"),
        stored("/a/c/file"),
    ];
    let lines = log.lines();
    assert_eq!(lines.len(), want.len(), "{lines:?}");
    for (line, want) in lines.iter().zip(want) {
        let mut rest = line.as_str();
        for part in want.split('*') {
            let at = rest.find(part).unwrap_or_else(|| panic!("no {part:?} in {line}"));
            rest = &rest[at + part.len()..];
        }
        assert!(want.ends_with('*') || rest.is_empty(), "{line}");
    }
}
