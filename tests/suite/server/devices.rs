//! Dialogues of devices and clients and those in RFCs, played to the server: one file in `devices`
//! for each, with its source in the first lines. The files in `hostile` are dialogues of attackers.
//! The codes are those of `docs/dev/conformance.md`.
//!
//! | line | meaning |
//! | --- | --- |
//! | `#` | a remark |
//! | `% anonymous` | the server lets anyone in, to read |
//! | `+ name content`, `+ name/` | a file or directory that is there before |
//! | `> line` | the client sends it, with CR LF |
//! | `>> bytes` | the client sends them as they are; escapes are those of `matrix.txt` |
//! | `>! bytes` | the same, the last byte as urgent data |
//! | `& PORT`, `& EPRT` | the client listens and sends that with where |
//! | `< code text` | a reply of that code, in which the text stands; 227 and 229 are connected to |
//! | `: text` | that stands in it too |
//! | `[ bytes` | the client sends data and ends it |
//! | `] text` | the next line of data ends in it; with no text: the data ended |
//! | `} text` | one line of data that is left ends in it, in whichever order they came |
//! | `= name content`, `= name/` | a file or directory that is there now |
//! | `~ names` | all that is there now, hidden names too, in the order of their bytes |
//! | `.` | the client closes the connection |
//! | `..` | the server closes the connection |

use std::collections::VecDeque;
use std::fs;
use std::path::Path;

use ftp_server::Rights;
use ftp_tests::raw::{RawData, RawListener, RawReply, RawSession};
use ftp_tests::wait::wait_until;

use super::Fixture;
use super::matrix::unescape;

/// The number of files in `devices`, so that none is lost.
const FILES: usize = 66;

/// The number of files in `hostile`.
const HOSTILE_FILES: usize = 19;

#[test]
fn every_device_dialogue_gets_its_replies() {
    play_all("devices", FILES, 3);
}

#[test]
fn every_hostile_dialogue_gets_its_replies_go_04() {
    // Some attackers are turned away with the second reply.
    play_all("hostile", HOSTILE_FILES, 2);
}

/// Plays all files of a directory. Expects `count` files, with at least `replies` replies in each.
fn play_all(directory: &str, count: usize, replies: usize) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("suite/server").join(directory);
    let entries = fs::read_dir(directory).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), count);
    let failed: Vec<_> = files
        .iter()
        .filter(|file| {
            let text = fs::read_to_string(file).unwrap();
            std::panic::catch_unwind(|| play(&text, replies)).is_err()
        })
        .map(|file| file.file_name().unwrap())
        .collect();
    assert!(failed.is_empty(), "{failed:?}; each has its own message above");
}

/// A data connection, or the wait for one.
enum Data {
    Open(RawData),
    Awaited(RawListener),
}

impl Data {
    #[track_caller]
    fn open(self) -> RawData {
        match self {
            Self::Open(data) => data,
            Self::Awaited(listener) => listener.accept(),
        }
    }
}

/// Plays a file to its end.
fn play(text: &str, replies: usize) {
    let guests = text.lines().any(|line| line == "% anonymous");
    let fixture =
        Fixture::with(|builder| if guests { builder.anonymous(Rights::READ) } else { builder });
    let mut session = Some(RawSession::connect(fixture.server.local_addr()));
    let mut data: Option<Data> = None;
    let mut received: Option<VecDeque<String>> = None;
    let mut last: Option<RawReply> = None;
    let mut said = 0;
    for line in text.lines() {
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        if !matches!(kind, "]" | "}")
            && let Some(left) = received.take()
        {
            assert!(left.is_empty(), "before {line}: more data came: {left:?}");
        }
        match (kind, &mut session) {
            ("#" | "" | "%", _) => {}
            ("+", _) => make(&fixture, rest),
            (">", Some(session)) => session.line(rest),
            (">>", Some(session)) => session.send(unescape(rest)),
            (">!", Some(session)) => session.send_urgent(unescape(rest)),
            ("&", Some(session)) => {
                let listener = session.listen();
                session.line(listener.announcement(rest));
                data = Some(Data::Awaited(listener));
            }
            ("<", Some(session)) => {
                let (code, text) = rest.split_once(' ').unwrap_or((rest, ""));
                let reply = session.expect_reply(code.parse().unwrap());
                assert_contains(line, text, &reply);
                if matches!(reply.code, 227 | 229) {
                    data = Some(Data::Open(session.connect_to(&reply)));
                }
                last = Some(reply);
                said += 1;
            }
            (":", _) => assert_contains(line, rest, last.as_ref().unwrap()),
            ("[", _) => {
                let mut data = data.take().unwrap().open();
                data.write_all(&unescape(rest));
                data.close();
            }
            ("]" | "}", _) => {
                let lines = received.get_or_insert_with(|| {
                    let bytes = data.take().unwrap().open().read_to_end();
                    String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
                });
                match (kind, rest) {
                    // Nothing after the mark: the end of the data.
                    (_, "") => assert_eq!(lines.pop_front(), None, "{line}"),
                    ("]", rest) => {
                        let next = lines.pop_front();
                        let is_it = next.as_ref().is_some_and(|next| next.ends_with(rest));
                        assert!(is_it, "{line}: {next:?}");
                    }
                    (_, rest) => {
                        let at = lines.iter().position(|next| next.ends_with(rest));
                        assert!(at.and_then(|at| lines.remove(at)).is_some(), "{line}: {lines:?}");
                    }
                }
            }
            // A client that has left cannot see when the server is done.
            ("=", _) => wait_until(line, || is_there(&fixture, rest)),
            ("~", _) => wait_until(line, || fixture.published().join(" ") == rest),
            (".", _) => session = None,
            ("..", Some(open)) => {
                open.expect_closed();
                session = None;
            }
            _ => panic!("no such line: {line}"),
        }
    }
    assert!(said >= replies, "nothing is looked at");
    if let Some(mut session) = session {
        session.expect_in_step();
    }
}

/// Returns whether the reply contains the text; `\n` before it stands for the beginning of a line.
#[track_caller]
fn assert_contains(line: &str, text: &str, reply: &RawReply) {
    let text = String::from_utf8(unescape(text)).unwrap();
    assert!(reply.text().contains(&text), "{line}: {reply:?}");
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
