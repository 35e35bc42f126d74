//! What devices and old clients say, played against the server: one file in `devices` for each
//! kind, with where that dialogue is from on its first lines. The codes are those that
//! `docs/conformance.md` has for them.
//!
//! | line | meaning |
//! | --- | --- |
//! | `#` | a remark |
//! | `+ name content`, `+ name/` | a file or directory that is there before |
//! | `> line` | the client sends it, with CR LF |
//! | `>> bytes` | the client sends them as they are; escapes are those of Rust |
//! | `< code text` | a reply of that code, in which the text stands; 227 and 229 are connected to |
//! | `[ bytes` | the client sends data and ends it |
//! | `] text` | the next line of data ends in it |
//! | `= name content`, `= name/` | a file or directory that is there now |
//! | `~ names` | all that is there now, hidden names too, in the order of their bytes |
//! | `.` | the client closes the connection |
//! | `..` | the server closes the connection |

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use ftp_tests::raw::{RawData, RawSession};

use super::Fixture;

#[test]
fn every_device_is_served() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("suite/server/devices");
    let entries = fs::read_dir(directory).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 12, "only {} devices", files.len());
    let failed: Vec<_> = files
        .iter()
        .filter(|file| {
            let text = fs::read_to_string(file).unwrap();
            std::panic::catch_unwind(|| play(&text)).is_err()
        })
        .map(|file| file.file_name().unwrap())
        .collect();
    assert!(failed.is_empty(), "{failed:?}; each has its own message above");
}

/// Plays a file to its end.
fn play(text: &str) {
    let fixture = Fixture::new();
    let mut session = Some(RawSession::connect(fixture.server.local_addr()));
    let mut data: Option<RawData> = None;
    let mut received: Option<VecDeque<String>> = None;
    let mut said = 0;
    for line in text.lines() {
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        if kind != "]"
            && let Some(left) = received.take()
        {
            assert!(left.is_empty(), "before {line}: more data came: {left:?}");
        }
        match (kind, &mut session) {
            ("#" | "", _) => {}
            ("+", _) => make(&fixture, rest),
            (">", Some(session)) => session.line(rest),
            (">>", Some(session)) => session.send(unescape(rest)),
            ("<", Some(session)) => {
                let (code, text) = rest.split_once(' ').unwrap_or((rest, ""));
                let reply = session.expect_reply(code.parse().unwrap());
                assert!(reply.text().contains(text), "{line}: {reply:?}");
                if matches!(reply.code, 227 | 229) {
                    data = Some(session.connect_to(&reply));
                }
                said += 1;
            }
            ("[", _) => {
                let mut data = data.take().unwrap();
                data.write_all(&unescape(rest));
                data.close();
            }
            ("]", _) => {
                let lines = received.get_or_insert_with(|| {
                    let bytes = data.take().unwrap().read_to_end();
                    String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
                });
                let next = lines.pop_front();
                // Nothing behind the mark: the end of the data.
                match rest {
                    "" => assert_eq!(next, None, "{line}"),
                    rest => assert!(
                        next.as_ref().is_some_and(|next| next.ends_with(rest)),
                        "{line}: {next:?}"
                    ),
                }
            }
            ("=", _) => wait_for(line, || is_there(&fixture, rest)),
            ("~", _) => wait_for(line, || fixture.names().join(" ") == rest),
            (".", _) => session = None,
            ("..", Some(open)) => {
                open.expect_closed();
                session = None;
            }
            _ => panic!("no such line: {line}"),
        }
    }
    assert!(said > 2, "nothing is looked at");
    if let Some(mut session) = session {
        session.expect_in_step();
    }
}

fn make(fixture: &Fixture, what: &str) {
    match what.strip_suffix('/') {
        Some(name) => fs::create_dir(fixture.path(name)).unwrap(),
        None => {
            let (name, content) = what.split_once(' ').unwrap_or((what, ""));
            fixture.write(name, unescape(content));
        }
    }
}

fn is_there(fixture: &Fixture, what: &str) -> bool {
    match what.strip_suffix('/') {
        Some(name) => fixture.path(name).is_dir(),
        None => {
            let (name, content) = what.split_once(' ').unwrap_or((what, ""));
            fs::read(fixture.path(name)).is_ok_and(|found| found == unescape(content))
        }
    }
}

/// A client that has left does not see when the server is done.
#[track_caller]
fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < end, "it did not come to be: {what}");
        std::thread::yield_now();
    }
}

/// `\r`, `\n` and `\\` of a line.
fn unescape(text: &str) -> Vec<u8> {
    text.replace("\\r", "\r").replace("\\n", "\n").replace("\\\\", "\\").into_bytes()
}
