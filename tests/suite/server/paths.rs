//! Section 8 of the conformance lines: hostile pathnames and names.

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::time::Instant;

use ftp_proto::Pathname;
use ftp_server::NamePattern;
use ftp_tests::raw::{DEADLINE, RawSession};

use super::{Fixture, play};

/// Returns the name that `MLST` shows for a path.
fn shown(session: &mut RawSession, path: &str) -> String {
    let line = session.expect(format!("MLST {path}"), 250).lines.remove(1);
    let line = String::from_utf8(line).expect("text");
    line.split_once("; ").expect("a name behind the facts").1.to_owned()
}

#[test]
fn paths_are_resolved_lexically_fs_01_fs_02_fs_03_fs_08_hp_01() {
    let fixture = Fixture::new();
    for directory in ["a/b", "etc", "....", "..%2f", "..\\", "~", "C:", "\u{c0}\u{ae}"] {
        std::fs::create_dir_all(fixture.path(directory)).expect("a directory");
    }
    fixture.write("etc/passwd", "ours");
    let mut session = fixture.session();
    session.expect("CWD a/b", 250);
    for (path, want) in [
        ("/", "/"),
        (".", "/a/b"),
        ("..", "/a"),
        ("../..", "/"),
        ("../../..", "/"),
        ("../../../../../../etc/passwd", "/etc/passwd"),
        ("/../../etc/passwd", "/etc/passwd"),
        ("..//..", "/"),
        ("//etc///passwd", "/etc/passwd"),
        ("/etc/./passwd", "/etc/passwd"),
        ("/etc/", "/etc"),
        ("/a/../../..", "/"),
        ("/a/nowhere/../b", "/a/b"),
        ("/....//", "/...."),
        ("/..%2f", "/..%2f"),
        ("/..\\", "/..\\"),
        ("/~", "/~"),
        ("/C:", "/C:"),
        ("/\u{c0}\u{ae}", "/\u{c0}\u{ae}"),
    ] {
        assert_eq!(shown(&mut session, path), want, "{path}");
    }
    session.expect("TYPE I", 200);
    assert_eq!(session.download("RETR ../../../etc/passwd"), b"ours");
    assert_eq!(session.download("NLST ../../.././etc"), b"../../.././etc/passwd\r\n");
    for line in ["CWD ~root", "CWD C:\\", "CWD ..\\..", "SIZE ~/etc/passwd", "CWD ....//etc"] {
        session.expect(line, 550);
    }
    session.expect("CWD //a", 250);
    assert_eq!(session.expect("PWD", 257).bytes, b"257 \"/a\" is the current directory\r\n");
    for line in ["SIZE", "MDTM", "HASH", "MFMT 20000101000000", "SITE CHMOD 600"] {
        let code = session.ask(format!("{line} ../../../etc/passwd")).code;
        assert!(matches!(code, 200 | 213), "{line}: {code}");
    }
    session.upload("STOR ../../new", b"new");
    play(
        &mut session,
        &[
            ("RNFR /../new", 350),
            ("RNTO ../../../newer", 250),
            ("DELE ../newer", 250),
            ("MKD ../../made", 257),
            ("RMD /../made", 250),
        ],
    );
}

#[test]
fn symlinks_out_of_the_root_are_refused_by_every_verb_fs_04_hp_02() {
    let outside = tempfile::tempdir().expect("a directory");
    std::fs::write(outside.path().join("secret"), "secret").expect("a file");
    let fixture = Fixture::new();
    fixture.write("mine", "");
    symlink(outside.path(), fixture.path("out")).expect("a link");
    symlink("..", fixture.path("up")).expect("a link");
    symlink(outside.path().join("secret"), fixture.path("leak")).expect("a link");
    let mut session = fixture.session();
    session.expect("TYPE I", 200);
    for link in ["out", "up"] {
        session.expect(format!("CWD {link}"), 550);
        session.expect(format!("STAT {link}/secret"), 550);
        session.expect(format!("AVBL {link}"), 550);
        session.expect("PASV", 227);
        session.expect(format!("MLSD {link}"), 550);
        // The link itself is an entry like any other.
        let listed = session.download(format!("LIST {link}"));
        assert!(listed.starts_with(b"l") && listed.iter().filter(|&&b| b == b'\n').count() == 1);
    }
    for path in ["out/secret", "leak"] {
        for line in ["SIZE", "MDTM", "HASH", "MFMT 20000101000000", "SITE CHMOD 600"] {
            session.expect(format!("{line} {path}"), 550);
        }
        session.expect(format!("MFF Modify=20000101000000;UNIX.mode=600; {path}"), 550);
        for verb in ["RETR", "STOR", "APPE"] {
            session.expect("PASV", 227);
            session.expect(format!("{verb} {path}"), 550);
        }
    }
    play(
        &mut session,
        &[
            ("DELE out/secret", 550),
            ("RNFR out/secret", 550),
            ("RNFR mine", 350),
            ("RNTO out/mine", 550),
            ("MKD out/x", 550),
            ("RMD out", 550),
            ("MLST out/secret", 550),
        ],
    );
    assert_eq!(super::names_in(outside.path()), ["secret"]);
    assert_eq!(std::fs::read(outside.path().join("secret")).expect("it"), b"secret");
}

#[test]
fn special_files_never_block_a_command_fs_11_hp_07() {
    let fixture = Fixture::new();
    let fifo = std::process::Command::new("mkfifo").arg(fixture.path("fifo")).status();
    assert!(fifo.expect("mkfifo runs").success());
    let _socket = std::os::unix::net::UnixListener::bind(fixture.path("socket")).expect("a socket");
    std::fs::create_dir(fixture.path("directory")).expect("a directory");
    let mut session = fixture.session();
    let begun = Instant::now();
    for name in ["fifo", "socket", "directory"] {
        for (verb, code) in [("RETR", 550), ("STOR", 553), ("APPE", 553)] {
            session.expect("PASV", 227);
            session.expect(format!("{verb} {name}"), code);
        }
        session.expect(format!("SIZE {name}"), 550);
        session.expect(format!("MDTM {name}"), 550);
        session.expect(format!("HASH {name}"), if name == "directory" { 553 } else { 550 });
    }
    for line in ["SITE CHMOD 600 fifo", "MFMT 20000101000000 socket"] {
        session.expect(line, 550);
    }
    assert!(begun.elapsed() < DEADLINE, "something waited for a FIFO");
    let listing = String::from_utf8(session.download("MLSD")).expect("text");
    assert!(!listing.contains("fifo") && !listing.contains("socket"), "LS-14: {listing}");
}

#[test]
fn denied_names_cannot_be_created_by_any_verb_fs_06_cm_86_cm_93_cm_105_cm_111_ls_09() {
    let deny_names = ["*.exe", ".ht*", "con"].map(|text| NamePattern::parse(text.as_bytes()));
    let deny_names: Vec<_> = deny_names.into_iter().collect::<Result<_, _>>().expect("patterns");
    let fixture = Fixture::configured(super::quick().deny_names(deny_names));
    std::fs::create_dir(fixture.path("dir.exe")).expect("a directory");
    fixture.write("old.exe", "old");
    fixture.write("plain", "p");
    let mut session = fixture.session();
    session.expect("TYPE I", 200);
    for name in ["a.exe", "A.EXE", ".htaccess", "dir.exe/.ht", "old.exe", "con", "./x/../Con"] {
        for line in ["STOR", "APPE"] {
            session.expect("PASV", 227);
            session.expect(format!("{line} {name}"), 553);
        }
        play(
            &mut session,
            &[
                ("REST 1", 350),
                ("PASV", 227),
                (&format!("STOR {name}"), 553),
                (&format!("MKD {name}"), 553),
                ("RNFR plain", 350),
                (&format!("RNTO {name}"), 553),
                ("RNFR dir.exe", 350),
                (&format!("RNTO {name}"), 553),
            ],
        );
    }
    for line in ["STOU x.exe", "STOU con"] {
        session.expect("PASV", 227);
        session.expect(line, 553);
    }
    let reader = &mut RawSession::login(fixture.server.local_addr(), "reader", "p");
    play(reader, &[("MKD a.exe", 550), ("RNFR old.exe", 550)]);
    let perm = |session: &mut RawSession, name: &str| {
        let facts = session.expect(format!("MLST {name}"), 250).text();
        facts.split("perm=").nth(1).and_then(|rest| rest.split(';').next()).map(str::to_owned)
    };
    assert_eq!(perm(&mut session, "old.exe").as_deref(), Some("dfr"));
    assert_eq!(perm(&mut session, "dir.exe").as_deref(), Some("cdeflmp"));
    assert_eq!(perm(&mut session, "plain").as_deref(), Some("adfrw"));
    // Existing objects stay usable, and names that only look similar can be created.
    assert_eq!(session.download("RETR old.exe"), b"old");
    session.upload("STOR dir.exe/a.exe.txt", b"1");
    play(
        &mut session,
        &[
            ("RNFR old.exe", 350),
            ("RNTO new", 250),
            ("DELE dir.exe/a.exe.txt", 250),
            ("RMD dir.exe", 250),
            ("MKD contents", 257),
        ],
    );
    assert_eq!(fixture.names(), ["contents", "new", "plain"]);
}

#[test]
fn the_length_and_depth_of_paths_are_limited_fs_06_fs_07_hp_09() {
    let fixture = Fixture::new();
    let mut session = fixture.session();
    let longest = "x".repeat(255);
    session.expect(format!("MKD {longest}"), 257);
    session.upload(format!("STOR {longest}/{longest}"), b"");
    session.expect(format!("RNFR {longest}/{longest}"), 350);
    session.expect(format!("RNTO {}", "y".repeat(255)), 250);
    let path = |length: usize| {
        let path = format!("/{}", format!("{}/", "z".repeat(254)).repeat(20));
        path.get(..length).expect("so long").to_owned()
    };
    let levels = |levels: usize| "/d".repeat(levels);
    // A missing parent gets 550, an impossible name 553.
    for (name, makes) in [
        ("x".repeat(256), 553),
        ("x".repeat(4_096), 553),
        (path(4_096), 550),
        (path(4_097), 553),
        (levels(128), 550),
        (levels(129), 553),
    ] {
        session.expect(format!("MKD {name}"), makes);
        for verb in ["STOR", "APPE"] {
            session.expect("PASV", 227);
            session.expect(format!("{verb} {name}"), makes);
        }
        session.expect(format!("RNFR {}", "y".repeat(255)), 350);
        session.expect(format!("RNTO {name}"), makes);
        for line in ["CWD", "SIZE", "MDTM", "DELE", "RMD", "RNFR", "MLST", "STAT", "HASH"] {
            session.expect(format!("{line} {name}"), 550);
        }
        session.expect("PASV", 227);
        session.expect(format!("RETR {name}"), 550);
    }
    // The deepest path, level by level.
    for _ in 0..128 {
        play(&mut session, &[("MKD d", 257), ("CWD d", 250)]);
    }
    play(&mut session, &[("MKD d", 553), ("CWD d", 550), ("SIZE d", 550)]);
    session.expect("PASV", 227);
    session.expect("STOR d", 553);
    session.expect("CDUP", 250);
    session.upload("STOR f", b"deep");
}

#[test]
fn hostile_names_round_trip_byte_for_byte_fs_09_fs_10_hp_10() {
    let fixture = Fixture::new();
    let names: [&[u8]; 14] = [
        b"\x1b[2J",
        b"\x07",
        b"\"",
        b" both ",
        b"-rf",
        b"*",
        b"[a]",
        b"\xff",
        b"\xff\xf4\xff\xf2",
        b"\xed\xa0\x80",
        "\u{202e}txt.exe".as_bytes(),
        b"a;b=c; d",
        b"%2e%2e",
        b"type=dir; x",
    ];
    // A 0xFF is doubled on the control connection, because of Telnet.
    let line = |verb: &str, name: &[u8]| {
        let mut line = verb.as_bytes().to_vec();
        line.push(b' ');
        for &byte in name {
            line.extend(std::iter::repeat_n(byte, if byte == 0xff { 2 } else { 1 }));
        }
        line
    };
    let mut session = fixture.session();
    play(&mut session, &[("TYPE I", 200), ("MKD d", 257), ("CWD d", 250)]);
    for name in names {
        session.upload(line("STOR", name), name);
        let on_disk = fixture.path("d").join(std::ffi::OsStr::from_bytes(name));
        assert_eq!(std::fs::read(on_disk).expect("under its own name"), name);
    }
    let listing = session.download("MLSD");
    let mut found = HashSet::new();
    for entry in listing.split(|&byte| byte == b'\n').filter_map(|line| line.strip_suffix(b"\r")) {
        let facts = ftp_proto::Facts::parse(entry).expect("facts and a name");
        assert_eq!(facts.kind(), Some(ftp_proto::FactType::File));
        // FS-10: the directory's path and the name lead to the same object.
        let path = [b"/d/", facts.name()].concat();
        let told = session.expect(line("MLST", &path), 250).lines.remove(1);
        let told = ftp_proto::Facts::parse(told.get(1..).expect("SP")).expect("facts");
        assert_eq!(told.get("unique"), facts.get("unique"));
        assert_eq!(told.name(), path);
        found.insert(facts.name().to_vec());
    }
    assert_eq!(found, names.iter().map(|name| name.to_vec()).collect());
    for name in names {
        assert_eq!(session.download(line("RETR", name)), name);
        session.expect(line("DELE", name), 250);
    }
    assert_eq!(super::names_in(&fixture.path("d")), [""; 0]);
}

#[test]
fn quotes_in_257_are_doubled_hp_12_cm_82_cm_84() {
    let fixture = Fixture::new();
    let mut session = fixture.session();
    let made = session.expect("MKD a\"b\"\"c", 257);
    session.expect("CWD a\"b\"\"c", 250);
    let here = session.expect("PWD", 257);
    assert_eq!(here.bytes, b"257 \"/a\"\"b\"\"\"\"c\" is the current directory\r\n");
    for reply in [made, here] {
        let path = Pathname::parse_quoted(reply.first()).expect("a quoted path");
        assert_eq!(path.as_bytes(), b"/a\"b\"\"c");
    }
}

#[test]
fn quotes_and_escapes_of_any_length_hs_20() {
    let fixture = Fixture::new();
    let mut session = fixture.session();
    let names = ["CWD", "SIZE", "MDTM", "DELE", "RMD", "RNFR", "MLST", "STAT", "HASH", "AVBL"];
    let values = ["TYPE", "MODE", "STRU", "REST", "PORT", "EPRT", "EPSV", "ALLO", "OPTS", "LANG"];
    // Each length near the limits of names, paths and lines, and some between.
    let lengths = (1..=300).chain((301..8_180).step_by(229)).chain(4_090..4_100);
    let lengths = lengths.chain(8_180..=8_187);
    for (index, length) in lengths.enumerate() {
        for pattern in ["\"", "\\", "%", "\\\"", "%\"", "\"\\%"] {
            let torture = pattern.repeat(length).split_at(length).0.to_owned();
            let (name, value) = (names[index % names.len()], values[index % values.len()]);
            session.expect(format!("{name} {torture}"), 550);
            session.expect(format!("{value} {torture}"), 501);
        }
    }
    session.expect(format!("CWD {}", "\"".repeat(8_188)), 550);
    session.expect(format!("CWD {}", "\"".repeat(8_189)), 500);
    session.expect_in_step();

    // The path of an existing object has its quotes doubled, up to the longest name.
    for length in [1, 2, 127, 128, 254, 255, 256] {
        for byte in ["\"", "\\", "%"] {
            let name = byte.repeat(length);
            if length == 256 {
                session.expect(format!("MKD {name}"), 553);
                continue;
            }
            let made = session.expect(format!("MKD {name}"), 257);
            session.expect(format!("CWD {name}"), 250);
            for reply in [made, session.expect("PWD", 257)] {
                let path = Pathname::parse_quoted(reply.first()).expect("a quoted path");
                assert_eq!(path.as_bytes(), format!("/{name}").as_bytes());
            }
            session.expect("CDUP", 250);
            session.expect(format!("RMD {name}"), 250);
        }
    }
    assert_eq!(fixture.names(), [""; 0]);
}

#[test]
fn hostile_patterns_finish_in_bounded_time_hp_13_hp_14_ls_27_ls_28() {
    let fixture = Fixture::new();
    fixture.write(&"a".repeat(255), "");
    std::fs::create_dir_all(fixture.path("d/d/d")).expect("directories");
    let mut session = fixture.session();
    let begun = Instant::now();
    let braces = format!("LIST {}", "{a,b}".repeat(100));
    let stars = format!("NLST {}b", "a*".repeat(120));
    let brackets = format!("LIST {}*", "[".repeat(4_000));
    for line in ["LIST */../*/../*/..", &braces, &stars, &brackets, "LIST *a*a*a*a*a*a*a*b"] {
        session.expect("PASV", 227);
        let code = session.ask(line).code;
        assert!(matches!(code, 150 | 550), "{line}: {code}");
        if code == 150 {
            session.expect("ABOR", 426);
            session.expect_reply(226);
        }
    }
    assert!(begun.elapsed() < DEADLINE, "a pattern costs more than its length");
    let deep = session.download("NLST -R /");
    assert_eq!(deep.split(|&byte| byte == b'\n').count(), 3, "one level: {deep:?}");
}

#[test]
fn impossible_renames_are_refused_cm_93_hp_19() {
    let fixture = Fixture::new();
    fixture.write("file", "f");
    for directory in ["empty", "full/child"] {
        std::fs::create_dir_all(fixture.path(directory)).expect("a directory");
    }
    let mut session = fixture.session();
    for (from, to, code) in [
        ("file", "empty", 550),
        ("file", "full", 550),
        ("empty", "file", 550),
        ("empty", "full", 550),
        ("full", "empty", 550),
        ("full/child", "full", 550),
        ("full", "full/child", 550),
        ("full", "full/child/x", 550),
        ("file", "/", 550),
        ("file", "file/x", 550),
        ("file", "file", 250),
        ("full", "full", 250),
        ("full/child", "full/child/", 250),
    ] {
        session.expect(format!("RNFR {from}"), 350);
        let got = session.ask(format!("RNTO {to}")).code;
        assert_eq!(got, code, "{from} to {to}");
    }
    // The source is removed before RNTO.
    session.expect("RNFR file", 350);
    std::fs::remove_file(fixture.path("file")).expect("it was there");
    session.expect("RNTO new", 550);
    assert_eq!(fixture.names(), ["empty", "full"]);
}

#[test]
fn the_root_cannot_be_removed_or_renamed_hp_20_cm_87() {
    let fixture = Fixture::new();
    let mut session = fixture.session();
    for path in ["/", "..", "../..", "//", "."] {
        for verb in ["RNFR", "RMD", "DELE"] {
            session.expect(format!("{verb} {path}"), 550);
        }
    }
    session.expect("PWD", 257);
}

#[test]
fn commands_in_a_removed_current_directory_fail_with_550_hp_21_cm_83() {
    let fixture = Fixture::new();
    let mut one = fixture.session();
    let mut other = fixture.session();
    play(&mut one, &[("MKD d", 257), ("CWD d", 250), ("MKD e", 257), ("CWD e", 250)]);
    play(&mut other, &[("RMD d/e", 250), ("RMD d", 250)]);
    assert_eq!(one.expect("PWD", 257).bytes, b"257 \"/d/e\" is the current directory\r\n");
    for line in ["CWD .", "CDUP", "SIZE a", "MKD a", "MLST", "STAT .", "AVBL", "DELE a"] {
        one.expect(line, 550);
    }
    for line in ["LIST", "NLST", "MLSD", "STOR a", "RETR a", "STOU"] {
        one.expect("PASV", 227);
        one.expect(line, 550);
    }
    play(&mut one, &[("CWD /", 250), ("MKD d", 257)]);
}

#[test]
fn names_of_temporary_files_are_inaccessible_fs_14_hp_22() {
    let fixture = Fixture::new();
    // A name of another program: the sweeper does not remove it.
    let name = ".ftp-upload-0123456789abcdef-old";
    fixture.write(name, "half");
    let mut session = fixture.session();
    for (verb, code) in [("STOR", 553), ("APPE", 553), ("RETR", 550), ("LIST", 550)] {
        session.expect("PASV", 227);
        session.expect(format!("{verb} {name}"), code);
    }
    for (line, code) in [
        ("DELE", 550),
        ("SIZE", 550),
        ("MLST", 550),
        ("RNFR", 550),
        ("HASH", 550),
        ("SITE CHMOD 600", 550),
        ("MKD", 553),
    ] {
        session.expect(format!("{line} {name}"), code);
    }
    assert_eq!(session.download("NLST"), b"");
    assert_eq!(fixture.read(name), b"half");
}
