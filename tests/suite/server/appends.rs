//! Appends as clients see them: of several sessions, of local programs, and those that are cut.

use std::fs::File;
use std::io::Write as _;

use ftp_tests::wait::wait_until;

use super::Fixture;
use super::partial::moved;

/// Bytes of an append that goes on in its file before it has ended.
pub(super) static IN_PLACE: [u8; (1 << 20) + 8] = [b'n'; (1 << 20) + 8];

#[test]
fn a_line_of_a_local_program_survives_each_end_of_an_append_fs_16() {
    for end in ["226", "ABOR", "a reset", "a lost control connection"] {
        for own in [b"mine\n", &IN_PLACE[..100_000], &IN_PLACE] {
            let fixture = Fixture::new();
            fixture.write("f", "old\n");
            let mut session = fixture.session();
            session.expect("TYPE I", 200);
            let mut data = session.passive();
            session.expect("APPE f", 150);
            data.write_all(own);
            wait_until("the bytes are read", || moved(&mut session) == own.len() as u64);
            let mut local = File::options().append(true).open(fixture.path("f")).expect("a file");
            local.write_all(b"local\n").expect("room");
            match end {
                "226" => {
                    data.close();
                    session.expect_reply(226);
                }
                "ABOR" => {
                    session.expect("ABOR", 426);
                    session.expect_reply(226);
                }
                "a reset" => {
                    data.reset();
                    session.expect_reply(426);
                }
                _ => drop(session),
            }
            let mut other = fixture.session();
            other.expect("TYPE I", 200);
            let length = || std::fs::metadata(fixture.path("f")).expect("a file").len();
            let told = |size: &str| size == format!("213 {}", length());
            wait_until("the append has ended", || told(&other.expect("SIZE f", 213).text()));
            let want = match end {
                _ if own.len() > 1 << 20 => [b"old\n", own, b"local\n"].concat(),
                // A short append is written at its end.
                "226" => [b"old\nlocal\n", own].concat(),
                _ => b"old\nlocal\n".to_vec(),
            };
            assert!(fixture.read("f") == want, "{end} {}", own.len());
            assert_eq!(fixture.names(), ["f"], "{end}");
        }
    }
}

#[test]
fn a_slow_append_does_not_stop_another_one_fs_16_hd_14() {
    let fixture = Fixture::new();
    fixture.write("f", "old\n");
    let begin = |bytes: &[u8]| {
        let mut session = fixture.session();
        session.expect("TYPE I", 200);
        let mut data = session.passive();
        session.expect("APPE f", 150);
        data.write_all(bytes);
        wait_until("the bytes are read", || moved(&mut session) == bytes.len() as u64);
        (session, data)
    };
    let (mut slow, slow_data) = begin(b"slow\n");
    let (mut silent, mut silent_data) = begin(&IN_PLACE);
    // The append in place loses its turn only now that another one waits.
    let mut other = fixture.session();
    other.upload("APPE f", b"other\n");
    silent_data.write_all(b"more");
    silent.expect_reply(451);
    slow_data.close();
    slow.expect_reply(226);
    let want = [b"old\n", &IN_PLACE[..], b"other\n", b"slow\n"].concat();
    assert!(fixture.read("f") == want);
    assert_eq!(slow.download("RETR f"), want);
}

#[test]
fn an_append_after_rest_needs_the_length_that_the_client_knows_fs_16() {
    let fixture = Fixture::new();
    fixture.write("f", "old");
    let (mut session, mut other) = (fixture.session(), fixture.session());
    session.expect("TYPE I", 200);
    other.expect("TYPE I", 200);
    let mut data = session.passive();
    session.expect("REST 3", 350);
    session.expect("STOR f", 150);
    data.write_all(b"+rest");
    other.upload("APPE f", b"+other");
    data.close();
    session.expect_reply(451);
    assert_eq!(fixture.read("f"), b"old+other");
}
