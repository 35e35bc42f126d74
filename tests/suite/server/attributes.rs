//! Metadata of files, read and changed: MFMT, MFF, SITE; and free space: ALLO, AVBL.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use ftp_server::Rights;
use ftp_tests::raw::RawSession;

use super::{Fixture, play};

fn modified(fixture: &Fixture, name: &str) -> i64 {
    std::fs::metadata(fixture.path(name)).expect("it is there").mtime()
}

fn mode(fixture: &Fixture, name: &str) -> u32 {
    std::fs::metadata(fixture.path(name)).expect("it is there").mode() & 0o7777
}

#[test]
fn mfmt_sets_the_modification_time_cm_123_cm_120() {
    let fixture = Fixture::new();
    fixture.write("a b", "");
    std::fs::create_dir(fixture.path("d")).expect("a directory");
    let mut session = fixture.session();
    let reply = session.expect("MFMT 19990929003355 a b", 213);
    assert_eq!(reply.bytes, b"213 Modify=19990929003355; a b\r\n");
    assert_eq!(modified(&fixture, "a b"), 938_565_235);
    assert_eq!(session.expect("MDTM a b", 213).bytes, b"213 19990929003355\r\n");
    // The reply has the stored time, in whole seconds.
    let reply = session.expect("mfmt 20240229235959.75 ../d/", 213);
    assert_eq!(reply.bytes, b"213 Modify=20240229235959; ../d/\r\n");
    assert_eq!(modified(&fixture, "d"), 1_709_251_199);
    play(
        &mut session,
        &[
            ("MFMT", 501),
            ("MFMT 19990929003355", 501),
            ("MFMT 19990929003355 ", 501),
            ("MFMT 19990229003355 a b", 501),
            ("MFMT 1999092900335 a b", 501),
            ("MFMT 199909290033550 a b", 501),
            ("MFMT 19990929246060 a b", 501),
            ("MFMT x a b", 501),
            ("MFMT 19990929003355 nowhere", 550),
            ("MFMT 19990929003355 .ftp-upload-0", 550),
            ("MDTM 20000101000000 a b", 550),
            ("MFCT 19990929003355 a b", 502),
        ],
    );
    assert_eq!(modified(&fixture, "a b"), 938_565_235);
    let mut reader = RawSession::login(fixture.server.local_addr(), "reader", "p");
    reader.expect("MFMT 20000101000000 a b", 550);
    assert_eq!(modified(&fixture, "a b"), 938_565_235);
}

#[test]
fn mff_sets_facts_cm_124() {
    let fixture = Fixture::new();
    fixture.write("a b", "");
    let mut session = fixture.session();
    for (line, want) in [
        ("MFF Modify=19990929003355; a b", "213 Modify=19990929003355; a b"),
        ("mff unix.MODE=640; a b", "213 UNIX.mode=0640; a b"),
        (
            "MFF UNIX.mode=0600;modify=20000101000000; a b",
            "213 Modify=20000101000000;UNIX.mode=0600; a b",
        ),
        (
            "MFF UNIX.mode=0600;UNIX.mode=0644;Modify=20000101000000;Modify=20010101000000; a b",
            "213 Modify=20000101000000;UNIX.mode=0600; a b",
        ),
    ] {
        assert_eq!(session.expect(line, 213).text(), want);
    }
    play(
        &mut session,
        &[
            ("MFF", 501),
            ("MFF  a b", 501),
            ("MFF a", 501),
            ("MFF Modify=19990929003355;", 501),
            ("MFF Modify=19990229003355; a b", 501),
            ("MFF UNIX.mode=8; a b", 501),
            ("MFF UNIX.mode=00644; a b", 501),
            ("MFF Create=19990929003355; a b", 504),
            ("MFF Modify=19990929003355;X.colour=red; a b", 504),
            ("MFF X.colour=red;Modify=x; a b", 501),
            ("MFF UNIX.mode=4755; a b", 550),
            ("MFF Modify=19990929003355; nowhere", 550),
        ],
    );
    assert_eq!((modified(&fixture, "a b"), mode(&fixture, "a b")), (946_684_800, 0o600));
}

#[test]
fn a_time_that_a_session_sets_vouches_for_no_other_file_fs_15_cm_123_cm_124() {
    const TIME: &str = "MFMT 20200101000000 a";
    let fixture = Fixture::new();
    let (mut session, mut other) = (fixture.session(), fixture.session());
    session.expect("TYPE I", 200);
    other.expect("TYPE I", 200);
    for (change, code) in [
        (TIME, 213),
        ("MFMT 20200101000000 ./a", 213),
        ("MFMT 20201301000000 a", 501),
        ("MFF Modify=20200101000000;UNIX.mode=0640; a", 213),
        ("MFF UNIX.mode=0640; a", 213),
        ("MFF UNIX.mode=7777; a", 550),
        ("MFF Modify=20200101000000;UNIX.mode=7777; a", 550),
    ] {
        for stores_after in [false, true] {
            other.upload("STOR a", b"0123456789");
            session.expect("SIZE a", 213);
            if stores_after {
                session.expect(change, code);
            }
            other.upload("STOR a", b"abcdefghij");
            if !stores_after {
                session.expect(change, code);
            }
            session.expect("EPSV", 229);
            session.expect("APPE a", 450);
            session.expect("REST 5", 350);
            session.expect("EPSV", 229);
            session.expect("STOR a", 450);
            assert_eq!(fixture.read("a"), b"abcdefghij", "{change} {stores_after}");
        }
        // The file is the one that it was told of, whatever its time and mode are now.
        session.expect("SIZE a", 213);
        session.expect(change, code);
        session.upload("APPE a", b"k");
        assert_eq!(fixture.read("a"), b"abcdefghijk", "{change}");
    }
}

#[test]
fn each_mff_fact_requires_its_right_cm_124_cm_137() {
    let fixture = Fixture::with(|builder| {
        builder.user("writer", "p", Rights::READ | Rights::WRITE).user(
            "keeper",
            "p",
            Rights::READ | Rights::CHMOD,
        )
    });
    fixture.write("a", "");
    for (user, time, bits, feature) in [
        ("writer", 213, 550, Some(" MFF Modify;")),
        ("keeper", 550, 213, Some(" MFF UNIX.mode;")),
        ("reader", 550, 550, None),
    ] {
        let mut session = RawSession::login(fixture.server.local_addr(), user, "p");
        session.expect("MFF Modify=20000101000000; a", time);
        session.expect("MFMT 20000101000000 a", time);
        session.expect("MFF UNIX.mode=600; a", bits);
        session.expect("MFF UNIX.mode=600;Modify=20000101000000; a", 550);
        session.expect("SITE CHMOD 600 a", if bits == 213 { 200 } else { bits });
        let features = session.expect("FEAT", 211).text();
        let found = features.lines().find(|line| line.starts_with(" MFF"));
        assert_eq!(found, feature, "{user}");
        assert_eq!(features.contains(" MFMT"), time == 213, "{user}");
    }
}

#[test]
fn site_chmod_cm_139_cm_140_hs_34() {
    let outside = tempfile::tempdir().expect("a directory");
    std::fs::write(outside.path().join("secret"), "").expect("a file");
    let fixture = Fixture::new();
    fixture.write("a b", "");
    symlink(outside.path().join("secret"), fixture.path("leak")).expect("a link");
    symlink("a b", fixture.path("inner")).expect("a link");
    let mut session = fixture.session();
    play(
        &mut session,
        &[
            ("SITE", 501),
            ("SITE CHMOD", 501),
            ("SITE CHMOD 644", 501),
            ("SITE CHMOD 64 a b", 501),
            ("SITE CHMOD 00644 a b", 501),
            ("SITE CHMOD 648 a b", 501),
            ("SITE CHMOD u+x a b", 501),
            ("SITE CHMOD 640 a b", 200),
        ],
    );
    assert_eq!(mode(&fixture, "a b"), 0o640);
    play(
        &mut session,
        &[
            ("site chmod 0604 inner", 200),
            ("SITE EXEC id", 504),
            ("SITE CPFR a b", 504),
            ("SITE CPTO c", 504),
            ("SITE UMASK", 504),
            ("SITE UMASK 0", 504),
            ("SITE CHMOD 7777 a b", 550),
            ("SITE CHMOD 4755 a b", 550),
            ("SITE CHMOD 1777 a b", 550),
            ("SITE CHMOD 0644 ../../x", 550),
            ("SITE CHMOD 0600 leak", 550),
            ("SITE CHMOD 0600 nowhere", 550),
        ],
    );
    assert_eq!(mode(&fixture, "a b"), 0o604);
    let secret = std::fs::metadata(outside.path().join("secret")).expect("it");
    assert_ne!(secret.permissions().mode() & 0o777, 0o600);
    let help = session.expect("SITE HELP", 214).text();
    assert!(help.contains("SITE CHMOD <mode> <path>"), "{help}");
    session.expect("site help chmod", 214);
    let form = "214 Syntax: SITE HELP | CHMOD <mode> <path> | QUOTA\r\n";
    assert_eq!(session.expect("HELP SITE", 214).bytes, form.as_bytes());
    let mut reader = RawSession::login(fixture.server.local_addr(), "reader", "p");
    let help = reader.expect("SITE HELP", 214).text();
    assert!(!help.contains("CHMOD"), "who may not is not told of it: {help}");
    assert_eq!(reader.expect("HELP SITE", 214).bytes, b"214 Syntax: SITE HELP | QUOTA\r\n");
}

#[test]
fn changing_the_mode_of_the_root_is_refused_cm_124_cm_139_hp_20() {
    let fixture = Fixture::new();
    fixture.write("a", "");
    std::fs::create_dir(fixture.path("d")).expect("a directory");
    symlink(".", fixture.path("here")).expect("a link");
    let before = mode(&fixture, ".");
    let mut session = fixture.session();
    play(
        &mut session,
        &[
            ("SITE CHMOD 644 /", 550),
            ("SITE CHMOD 644 .", 550),
            ("SITE CHMOD 644 here", 550),
            ("MFF UNIX.mode=644; /", 550),
            ("MFF Modify=20000101000000;UNIX.mode=644; ..", 550),
            ("CWD d", 250),
            ("SITE CHMOD 644 ..", 550),
            ("SITE CHMOD 750 /d", 200),
            ("MFMT 20000101000000 /", 213),
        ],
    );
    assert_eq!(mode(&fixture, "."), before);
    assert_eq!((mode(&fixture, "d"), modified(&fixture, ".")), (0o750, 946_684_800));
    fixture.session().expect("SIZE a", 213);
}

#[test]
fn allo_checks_the_free_space_cm_54_hs_22() {
    let fixture = Fixture::new();
    let mut session = fixture.session();
    let big = format!("ALLO 1{}", "0".repeat(400));
    play(
        &mut session,
        &[
            ("ALLO 0", 200),
            ("ALLO 1024", 200),
            ("ALLO 1024 R 80", 200),
            ("ALLO  1024 ", 200),
            ("ALLO 9223372036854775807", 452),
            ("ALLO 18446744073709551615", 452),
            ("ALLO 18446744073709551616", 501),
            (&big, 501),
            ("ALLO", 501),
            ("ALLO -1", 501),
            ("ALLO +1", 501),
            ("ALLO 0x10", 501),
            ("ALLO 1 S 1", 501),
            ("ALLO 1 R", 501),
        ],
    );
    // ALLO does not fix the length.
    session.expect("ALLO 2", 200);
    session.expect("TYPE I", 200);
    session.upload("STOR a", b"12345");
    assert_eq!(fixture.read("a"), b"12345");
    // Free space does not depend on the user or the directory.
    let mut reader = RawSession::login(fixture.server.local_addr(), "reader", "p");
    reader.expect("ALLO 9223372036854775807", 452);
}

#[test]
fn avbl_reports_the_free_space_cm_128() {
    let fixture = Fixture::with(|builder| builder.user("writer", "p", Rights::WRITE));
    fixture.write("a", "");
    std::fs::create_dir(fixture.path("d")).expect("a directory");
    let mut session = fixture.session();
    for line in ["AVBL", "AVBL ", "AVBL d", "AVBL /"] {
        let free = session.expect(line, 213).text();
        let free = free.strip_prefix("213 ").and_then(|number| number.parse::<u64>().ok());
        assert!(free.is_some_and(|free| free > 0), "{line}");
    }
    play(&mut session, &[("AVBL a", 550), ("AVBL nowhere", 550)]);
    let mut writer = RawSession::login(fixture.server.local_addr(), "writer", "p");
    writer.expect("AVBL", 550);
}

#[test]
fn space_reserved_by_min_free_is_not_available_cm_54_cm_105_cm_109_cm_128() {
    let fixture = Fixture::configured(super::quick_with(|config| config.limits.min_free = 1 << 60));
    fixture.write("a", "old");
    let mut session = fixture.session();
    assert_eq!(session.expect("AVBL", 213).bytes, b"213 0\r\n");
    // A size of 0 always fits, however little is left.
    play(&mut session, &[("ALLO 0", 200), ("ALLO 0 R 0", 200), ("ALLO 1", 452)]);
    for line in ["STOR a", "APPE a", "STOU", "STOR new"] {
        session.expect("PASV", 227);
        session.expect(line, 452);
    }
    assert_eq!((fixture.names(), fixture.read("a")), (vec!["a".to_owned()], b"old".to_vec()));
}
