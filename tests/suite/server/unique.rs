//! STOU (RFC 1123 §4.1.2.9).

use std::collections::HashSet;
use std::thread;

use ftp_tests::raw::RawSession;
use ftp_tests::scale;

use super::{Fixture, play};

/// Stores `content` and returns the name that the server chose.
fn store(session: &mut RawSession, line: &str, content: &[u8]) -> String {
    let mut data = session.passive();
    let reply = session.expect(line, 150).text();
    let name = reply.strip_prefix("150 FILE: ").expect("RFC 1123's form").to_owned();
    data.write_all(content);
    data.close();
    session.expect_reply(226);
    name
}

#[test]
fn stou_gives_a_new_name_cm_109() {
    let fixture = Fixture::new();
    fixture.write("taken", "old");
    std::fs::create_dir(fixture.path("d")).expect("a directory");
    let mut session = fixture.session();
    session.expect("TYPE I", 200);
    let first = store(&mut session, "STOU", b"1");
    let second = store(&mut session, "STOU taken", b"2");
    assert!(second.starts_with("taken."), "{second}");
    session.expect("CWD d", 250);
    let third = store(&mut session, "STOU a b", b"3");
    assert!(third.starts_with("a b."), "{third}");
    session.expect("TYPE A", 200);
    let fourth = store(&mut session, "STOU ", b"4\r\n");
    assert_eq!(fixture.read("taken"), b"old");
    assert_eq!((fixture.read(&first), fixture.read(&second)), (b"1".to_vec(), b"2".to_vec()));
    assert_eq!(fixture.read(&format!("d/{third}")), b"3");
    assert_eq!(fixture.read(&format!("d/{fourth}")), b"4\n");
}

#[test]
fn invalid_stou_commands_are_refused_cm_110_cm_111() {
    let fixture = Fixture::new();
    let long = format!("STOU {}", "x".repeat(239));
    let mut session = fixture.session();
    session.expect("STOU", 425);
    session.expect("PASV", 227);
    play(&mut session, &[("REST 5", 350), ("STOU", 503)]);
    for line in ["STOU a/b", "STOU /", "STOU .hidden", "STOU .", "STOU ..", &long] {
        session.expect("PASV", 227);
        session.expect(line, 553);
        session.expect(line, 425);
    }
    let mut session = RawSession::login(fixture.server.local_addr(), "reader", "p");
    session.expect("PASV", 227);
    session.expect("STOU", 550);
    assert_eq!(fixture.published(), [""; 0]);
}

#[test]
fn an_aborted_stou_leaves_no_file_cm_109_fs_13() {
    let fixture = Fixture::new();
    let mut session = fixture.session();
    let mut data = session.passive();
    session.expect("STOU", 150);
    data.write_all(b"half");
    session.expect("ABOR", 426);
    session.expect_reply(226);
    assert_eq!(fixture.published(), [""; 0]);
}

#[test]
fn parallel_stou_uploads_get_different_names_at_scale_hp_17() {
    let (sessions, files) = (scale::count(16, 64), scale::count(20, 1_000));
    let fixture = Fixture::new();
    let address = fixture.server.local_addr();
    let names: Vec<String> = thread::scope(|scope| {
        let threads: Vec<_> = (0..sessions)
            .map(|_| {
                scope.spawn(move || {
                    let mut session = RawSession::login(address, "u", "p");
                    (0..files).map(|_| store(&mut session, "STOU x", b"x")).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a thread")).collect()
    });
    let distinct: HashSet<&String> = names.iter().collect();
    assert_eq!(distinct.len(), sessions * files);
    assert_eq!(fixture.names().len(), sessions * files);
}
