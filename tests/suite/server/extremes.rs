//! The longest lines, the deepest paths, and names that broke other servers.

use std::os::unix::fs::symlink;

use ftp_tests::raw::RawSession;

use super::Fixture;

/// Every command with a path.
const WITH_PATH: [&str; 22] = [
    "CWD",
    "MKD",
    "RMD",
    "DELE",
    "RNFR",
    "SIZE",
    "MDTM",
    "MLST",
    "STAT",
    "HASH",
    "AVBL",
    "RETR",
    "STOR",
    "APPE",
    "STOU",
    "LIST",
    "NLST",
    "MLSD",
    "MFMT 20200101000000",
    "MFF Modify=x;",
    "SITE CHMOD 644",
    "SMNT",
];

/// Sends each command with `argument`, with a data connection prepared, and asserts that the
/// session continues.
fn with_every_verb(session: &mut RawSession, argument: &[u8]) {
    for verb in WITH_PATH {
        let listener = session.active();
        let line = [verb.as_bytes(), b" ", argument].concat();
        if session.ask(&line).code == 150 {
            drop(listener.accept());
            session.reply();
        }
        session.expect_in_step();
    }
    session.expect("CWD /", 250);
}

#[test]
fn the_deepest_paths_and_longest_lines_fit_the_stack_ho_14() {
    let fixture = Fixture::new();
    let mut session = fixture.session();
    // 128 names of 31 bytes: the deepest and longest path.
    let name = "d".repeat(31);
    let deepest = vec![name.as_str(); 128].join("/");
    for _ in 0..127 {
        session.expect(format!("MKD {name}"), 257);
        session.expect(format!("CWD {name}"), 250);
    }
    session.upload(format!("STOR {name}"), b"deep");
    session.expect("CWD /", 250);
    session.expect(format!("SIZE {deepest}"), 213);
    let parent = vec![name.as_str(); 127].join("/");
    let dots = format!("{parent}/../{name}/../{name}/{name}");
    // Forty links, each to the next, and one to itself.
    for number in 0..40 {
        let link = fixture.path(&format!("link{number}"));
        symlink(format!("link{}", number + 1), link).expect("a link");
    }
    fixture.write("link40", "end of links");
    symlink("loop", fixture.path("loop")).expect("a link");
    let room = 8_192 - "MFMT 20200101000000 ".len();
    let full = |bytes: &str| bytes.repeat(room / bytes.len());
    let patterns = [format!("{parent}/*"), format!("{parent}/{}", full("?*[a-]").split_off(4_100))];
    for path in [&deepest, &parent, &dots, &patterns[0], &patterns[1]] {
        with_every_verb(&mut session, path.as_bytes());
    }
    for path in ["link0", "link1/x", "loop", "loop/x"] {
        with_every_verb(&mut session, path.as_bytes());
    }
    for bytes in
        ["a", "/", "a/", "../", "./", "*", "[", "[!", "?", "\"", "\\", "%n", " ", "-", ";", "="]
    {
        with_every_verb(&mut session, full(bytes).as_bytes());
    }
    with_every_verb(&mut session, &[0xff; 8_000]);
    for line in
        ["USER", "PASS", "CLNT", "HOST", "OPTS MLST", "HELP", "EPRT", "PORT", "REST", "LANG"]
    {
        session.ask(format!("{line} {}", full("a;")));
    }
    session.expect_in_step();
}
