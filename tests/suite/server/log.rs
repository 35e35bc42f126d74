//! Hostile names in the log: one line each, only as text, and a limited number of lines.

use std::net::Ipv4Addr;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use ftp_tests::raw::{RawData, RawSession};
use log::{LevelFilter, Log, Metadata, Record};

use super::data::passive_address;
use super::{Fixture, events, quick_with};

/// The client whose log records are kept. Other tests run in this process too, and a port of theirs
/// may be the same, but no other test has this address.
const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 0, 18, 1);

/// Keeps the log records about [`CLIENT`].
#[derive(Default)]
struct Kept {
    messages: Mutex<Vec<String>>,
}

impl Log for Kept {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // The HTTP client would write each byte of an object.
        metadata.target().starts_with("ftp")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let message = record.args().to_string();
        if message.contains(&format!(" peer={CLIENT} ")) || message.contains(&format!("{CLIENT}:"))
        {
            self.messages.lock().unwrap_or_else(PoisonError::into_inner).push(message);
        }
    }

    fn flush(&self) {}
}

static LOG: OnceLock<Kept> = OnceLock::new();

#[test]
fn hostile_names_are_logged_without_control_characters_hs_18() {
    let log = LOG.get_or_init(Kept::default);
    log::set_logger(log).expect("no other test has a logger");
    log::set_max_level(LevelFilter::Trace);
    let fixture = Fixture::new();
    let hostile: [&[u8]; 6] = [
        b"%n%s%x\x1b[2J\x1b]0;x\x07",
        b"\x1b[31m127.0.18.1:1 u: logged in\x08\x7f\x9b\x84",
        "\u{202e}\u{2066}\u{2028}\u{85}\u{9b}".as_bytes(),
        b"a\tb\x0bc\x0cd\xff\xff\xfe",
        b"\\x1b[2J \\n \"quoted\"",
        &[b'%'; 200],
    ];
    let mut lines = 0;
    for name in hostile {
        let long = [name, &[0x1b; 4_000]].concat();
        for name in [name, &long] {
            let address = fixture.server.local_addr();
            let mut session = RawSession::connect_from(CLIENT.into(), address);
            session.expect_reply(220);
            // Beyond 512 bytes it is not a user name, and is not logged.
            let code = if name.len() > 512 { 501 } else { 331 };
            session.expect([b"USER ", name].concat(), code);
            if code == 331 {
                session.expect([b"PASS ", name].concat(), 530);
                lines += 1;
            }
            session.expect("USER u", 331);
            session.expect("PASS p", 230);
            session.expect([b"CLNT ", name].concat(), 200);
            session.expect_in_step();
            // As the name of a file, valid or not.
            let data = RawData::connect_from(CLIENT.into(), passive_address(&mut session));
            let code = session.ask([b"STOR ", name].concat()).code;
            if code == 150 {
                data.close();
                session.expect_reply(226);
            }
            lines += usize::from(code != 501);
            for verb in ["RETR ", "MLSD ", "NLST "] {
                session.expect("PASV", 227);
                session.send([verb.as_bytes(), name, b"\r\nABOR\r\n"].concat());
                while !matches!(session.reply().code, 225 | 226) {}
            }
            for verb in ["CWD ", "MKD ", "RNFR ", "SIZE ", "HASH ", "SITE ", "OPTS ", "HELP "] {
                session.ask([verb.as_bytes(), name].concat());
            }
            session.ask(name);
            session.expect("QUIT", 221);
            session.expect_closed();
        }
    }
    let messages = log.messages.lock().unwrap();
    let of = |what: &str| messages.iter().filter(|message| message.contains(what)).count();
    assert_eq!(of("login-refused ") + of(" verb=STOR path=\"/"), lines);
    assert!(lines > 10 && of("client is") > 10, "{lines}: {messages:?}");
    assert!(of("%n%s") > 4, "nothing in a name is a format");
    let fake = |message: &&String| message.starts_with("127.0.18.1:1 ");
    assert_eq!(messages.iter().find(fake), None);
    for message in &*messages {
        let is_text = |char: char| {
            let overrides = ['\u{2028}', '\u{2029}'].contains(&char)
                || ('\u{202a}'..='\u{202e}').contains(&char)
                || ('\u{2066}'..='\u{2069}').contains(&char);
            !char.is_control() && !overrides
        };
        assert!(message.chars().all(is_text), "{message:?}");
    }
}

#[test]
fn refused_logins_do_not_fill_the_log_ho_06() {
    let log = events::Log::new();
    let config = quick_with(|config| {
        (config.logins.delay, config.logins.failures) = (Duration::ZERO, u32::MAX);
        config.logins.ban_after = 0;
    });
    let observer = log.text();
    let fixture = Fixture::with(|builder| builder.config(config).observer(observer));
    let mut session = fixture.greeted();
    let start = Instant::now();
    for _ in 0..250 {
        session.expect("USER u", 331);
        session.expect("PASS wrong", 530);
    }
    let seconds = start.elapsed().as_secs();
    session.expect("QUIT", 221);
    session.expect_closed();
    let lines = log.lines();
    let refused = lines.iter().filter(|line| line.contains("login-refused ")).count();
    let most = 10 * (usize::try_from(seconds).unwrap() + 1);
    assert!((1..=most).contains(&refused), "{refused} lines in {seconds} s");
}

/// The names are as hostile as a command line allows.
#[test]
fn refused_transfers_with_long_names_do_not_fill_the_log_ho_06() {
    for is_json in [false, true] {
        let log = events::Log::new();
        let fixture = Fixture::with(|builder| builder.observer(log.json(is_json)));
        let address = fixture.server.local_addr();
        let [mut session, mut other] =
            ["u", "reader"].map(|user| RawSession::login(address, user, "p"));
        let start = Instant::now();
        for _ in 0..250 {
            session.expect([b"RETR ", &[1; 4_000][..]].concat(), 425);
            session.expect([b"CWD ", &[1; 4_000][..]].concat(), 550);
        }
        other.expect([b"STOR ", &[b'"'; 4_000][..]].concat(), 425);
        session.expect("QUIT", 221);
        session.expect_closed();
        let seconds = start.elapsed().as_secs();
        let lines = log.lines();
        let mark = if is_json { "\"unsaid\":" } else { "unsaid=" };
        let (mut refused, mut unsaid) = (0, 0);
        for line in &lines {
            assert!(line.len() < 1_000, "{} bytes: {line}", line.len());
            refused += usize::from(line.contains("RETR") || line.contains("CWD"));
            if let Some((_, rest)) = line.split_once(mark) {
                let count: String = rest.chars().take_while(char::is_ascii_digit).collect();
                unsaid += count.parse::<usize>().expect("a count");
            }
        }
        // A few lines per second, and all refusals are counted: the last ones by the line of the
        // session's end, unless the machine is so slow that each had a line.
        let most = 10 * (usize::try_from(seconds).unwrap() + 1);
        assert!((1..=most).contains(&refused), "{refused} lines in {seconds} s");
        assert_eq!(refused + unsaid, 500, "{lines:?}");
        // Lines of other sessions are not suppressed.
        let stored = lines.iter().filter(|line| line.contains("STOR")).count();
        assert_eq!(stored, 1, "{lines:?}");
    }
}
