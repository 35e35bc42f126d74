//! Commands that change the tree: directories, deleting, renaming, and refusals without
//! overwriting.

use std::os::unix::net::UnixListener;

use ftp_server::Rights;
use ftp_tests::raw::RawSession;

use crate::server::{Fixture, play};

#[test]
fn cm_80_to_89_hp_12_directories() {
    let fixture = Fixture::new();
    fixture.write("file", "");
    let mut session = fixture.session();
    let reply = session.expect("MKD a\"b", 257);
    assert!(reply.bytes.starts_with(b"257 \"/a\"\"b\""), "{reply:?}");
    session.expect("CWD a\"b", 250);
    assert_eq!(session.expect("PWD", 257).bytes, b"257 \"/a\"\"b\" is the current directory\r\n");
    play(
        &mut session,
        &[
            ("CDUP", 250),
            ("CDUP", 250),
            ("XCUP", 250),
            ("CDUP x", 501),
            ("PWD x", 501),
            ("CWD", 250),
            ("CWD ", 250),
            ("XCWD", 250),
            ("CWD nowhere", 550),
            ("CWD file", 550),
            ("MKD d", 257),
            ("MKD d", 550),
            ("MKD file", 550),
            ("MKD d/e/f", 550),
            ("MKD", 501),
            ("MKD .ftp-upload-x", 553),
            ("MKD /", 550),
            ("MKD d/e", 257),
            ("XMKD d/e/f", 257),
            ("RMD d", 550),
            ("RMD file", 550),
            ("RMD nowhere", 550),
            ("RMD /", 550),
            ("RMD", 501),
            ("XRMD d/e/f", 250),
            ("XCWD d/e", 250),
            // CM-88, CM-83: the current directory is removed.
            ("RMD /d/e", 250),
            ("PWD", 257),
            ("MKD x", 550),
            ("CDUP", 250),
            ("PWD", 257),
        ],
    );
}

/// A device whose directory field is empty stored nothing after the refusal.
#[test]
fn a_cwd_without_a_name_leaves_the_directory_cm_80() {
    let fixture = Fixture::new();
    std::fs::create_dir(fixture.path("d")).expect("a directory");
    let mut session = fixture.session();
    for (line, code) in [("CWD d", 250), ("RNFR /d", 350), ("CWD ", 250), ("RNTO /e", 503)] {
        session.expect(line, code);
    }
    assert_eq!(session.expect("PWD", 257).bytes, b"257 \"/d\" is the current directory\r\n");
    session.expect("TYPE I", 200);
    session.upload("STOR picture.jpg", b"picture");
    assert!(fixture.path("d/picture.jpg").exists());
}

#[test]
fn dv_04_double_slashes() {
    let fixture = Fixture::new();
    let mut session = fixture.session();
    play(&mut session, &[("MKD x", 257), ("CWD //x", 250), ("CWD //x/./", 250)]);
    assert!(session.expect("PWD", 257).text().contains("\"/x\""));
}

#[test]
fn cm_90_to_95_hs_23_deleting_and_renaming() {
    let fixture = Fixture::new();
    for name in ["a", "b", "c"] {
        fixture.write(name, name);
    }
    let mut session = fixture.session();
    play(
        &mut session,
        &[
            ("MKD d", 257),
            ("DELE", 501),
            ("DELE d", 550),
            ("DELE nowhere", 550),
            ("DELE /", 550),
            ("DELE c", 250),
            ("RNFR", 501),
            ("RNFR nowhere", 550),
            ("RNFR /", 550),
            ("RNTO x", 503),
            ("RNFR a", 350),
            ("RNTO", 501),
            ("RNTO x", 503),
            ("RNFR a", 350),
            ("NOOP", 200),
            ("STAT", 211),
            ("RNTO x", 250),
            ("RNFR x", 350),
            ("CWD d", 250),
            ("RNTO a", 503),
            ("CWD /", 250),
            ("RNFR x", 350),
            ("XYZZY", 500),
            ("RNTO a", 503),
            // CM-95: the second replaces the first.
            ("RNFR x", 350),
            ("RNFR nowhere", 550),
            ("RNTO a", 503),
            ("RNFR b", 350),
            ("RNFR x", 350),
            ("RNTO a", 250),
            ("RNFR a", 350),
            ("RNTO d", 550),
            ("RNFR a", 350),
            ("RNTO nowhere/a", 550),
            ("RNFR a", 350),
            ("RNTO .ftp-upload-x", 553),
            ("RNFR d", 350),
            ("RNTO b", 550),
            ("RNFR d", 350),
            ("RNTO d/e", 550),
            ("RNFR a", 350),
            ("RNTO a", 250),
            // CM-94
            ("RNFR a", 350),
            ("RNTO b", 250),
        ],
    );
    assert_eq!(fixture.names(), ["b", "d"]);
    assert_eq!(fixture.read("b"), b"a");
}

#[test]
fn hs_23_st_05_commands_between_rnfr_and_rnto_cancel_the_rename() {
    let fixture = Fixture::new();
    fixture.write("a", "a");
    let mut session = fixture.session();
    let too_long = format!("RNFR {}", "n".repeat(9_000));
    let others = ["USER b", "PASS b", "CWD /", "TYPE I", "PASV", "STAT /", "SITE HELP", "HASH a"];
    let bad_forms = ["RNTO b\r", "RNFR a\0b", "RNFR\ta", " RNFR a", &too_long];
    for between in others.into_iter().chain(bad_forms) {
        session.expect("RNFR a", 350);
        session.ask(between);
        session.expect("RNTO c", 503);
    }
    for between in ["NOOP", "STAT", "NOOP x", ""] {
        session.expect("RNFR a", 350);
        session.ask(between);
        session.expect("RNTO a", 250);
    }
    assert_eq!(fixture.names(), ["a"]);
}

#[test]
fn cm_93_an_existing_target_fails_with_553_without_overwrite() {
    let fixture = Fixture::configured(crate::server::quick().overwrite(false));
    fixture.write("a", "a");
    fixture.write("b", "b");
    let mut session = fixture.session();
    play(&mut session, &[("RNFR a", 350), ("RNTO b", 553)]);
    session.expect("PASV", 227);
    session.expect("STOR b", 553);
    session.upload("STOR c", b"c");
    assert_eq!((fixture.read("a"), fixture.read("b")), (b"a".to_vec(), b"b".to_vec()));
}

#[test]
fn rest_does_not_bypass_disabled_overwrite() {
    let fixture = Fixture::configured(crate::server::quick().overwrite(false));
    fixture.write("a", "0123");
    let mut session = fixture.session();
    session.expect("TYPE I", 200);
    for command in ["STOR a", "APPE a"] {
        for offset in [1, 4, 9] {
            session.expect("PASV", 227);
            session.expect(format!("REST {offset}"), 350);
            session.expect(command, 553);
        }
    }
    session.expect("PASV", 227);
    session.expect("REST 1", 350);
    session.expect("STOR new", 554);
    session.upload("APPE a", b"45");
    assert_eq!(fixture.read("a"), b"012345");
    assert_eq!(fixture.names(), ["a"]);
}

#[test]
fn a_missing_right_fails_with_550() {
    let fixture = Fixture::new();
    fixture.write("a", "a");
    let mut session = RawSession::login(fixture.server.local_addr(), "reader", "p");
    for line in ["MKD x", "RMD x", "DELE a", "RNFR a"] {
        session.expect(line, 550);
    }
    for line in ["STOR a", "APPE a", "STOR b"] {
        session.expect("PASV", 227);
        session.expect(line, 550);
    }
    assert_eq!(session.download("RETR a"), b"a");
    assert_eq!((fixture.names(), fixture.read("a")), (vec!["a".to_owned()], b"a".to_vec()));
}

#[test]
fn the_append_right_creates_and_replaces_no_files() {
    let fixture =
        Fixture::with(|builder| builder.user("adder", "p", Rights::READ | Rights::APPEND));
    fixture.write("a", "1");
    let mut session = RawSession::login(fixture.server.local_addr(), "adder", "p");
    session.expect("TYPE I", 200);
    session.upload("APPE a", b"2");
    for line in ["APPE new", "STOR new", "STOR a", "STOU"] {
        session.expect("PASV", 227);
        session.expect(line, 550);
    }
    assert_eq!((fixture.names(), fixture.read("a")), (vec!["a".to_owned()], b"12".to_vec()));
}

#[test]
fn cm_91_cm_92_links_and_sockets_are_renamed_although_the_session_is_confined() {
    let fixture = Fixture::new();
    std::os::unix::fs::symlink("nowhere", fixture.path("link")).expect("a link");
    let _socket = UnixListener::bind(fixture.path("socket")).expect("a socket");
    let mut session = fixture.session();
    for name in ["link", "socket"] {
        session.expect(format!("RNFR {name}"), 350);
        session.expect(format!("RNTO new {name}"), 250);
    }
    assert_eq!(fixture.names(), ["new link", "new socket"]);
}

#[test]
fn hp_01_hp_02_no_path_or_symlink_leads_out_of_the_root() {
    let outside = tempfile::tempdir().expect("a directory");
    std::fs::write(outside.path().join("secret"), "secret").expect("a file");
    let fixture = Fixture::new();
    std::os::unix::fs::symlink(outside.path(), fixture.path("out")).expect("a link");
    std::os::unix::fs::symlink(outside.path().join("secret"), fixture.path("leak"))
        .expect("a link");
    std::os::unix::fs::symlink("..", fixture.path("up")).expect("a link");
    let mut session = fixture.session();
    for line in [
        "CWD out",
        "CWD up",
        "SIZE leak",
        "SIZE out/secret",
        "MDTM leak",
        "MKD out/x",
        "RMD out",
        "DELE out/secret",
        "RNFR out/secret",
        "CWD ../../etc",
        "SIZE ../../etc/passwd",
        "SIZE /etc/passwd",
        "STAT out/secret",
        "MLST out/secret",
    ] {
        session.expect(line, 550);
    }
    for line in
        ["RETR leak", "RETR out/secret", "STOR out/new", "APPE leak", "STOR leak", "MLSD out"]
    {
        session.expect("PASV", 227);
        session.expect(line, 550);
    }
    assert_eq!(crate::server::names_in(outside.path()), ["secret"]);
    assert_eq!(std::fs::read(outside.path().join("secret")).expect("it"), b"secret");
}
