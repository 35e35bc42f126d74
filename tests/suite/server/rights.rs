//! The rights of users one by one, and drop boxes.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use ftp_server::{LocalStorage, Login, NamePattern, Rights, Server, UserTable};
use ftp_tests::raw::RawSession;

use super::{Fixture, names_in, play};

/// Makes a directory with one object of each kind.
fn furnish(root: &Path) {
    fs::create_dir_all(root.join("dir/sub")).expect("a directory");
    fs::write(root.join("file"), "content").expect("a file");
    fs::write(root.join("dir/inner"), "inner").expect("a file");
    symlink("/etc", root.join("out")).expect("a link");
    symlink("nowhere", root.join("gone")).expect("a link");
}

fn storage(root: &Path) -> Arc<LocalStorage> {
    Arc::new(LocalStorage::open(root).expect("it opens"))
}

/// Sends a line after PASV, and data if the command receives some. Returns the last code.
fn last_code(session: &mut RawSession, line: &str) -> u16 {
    let mut data = session.passive();
    match session.ask(line).code {
        150 => {
            if line.starts_with("STO") || line.starts_with("APPE") {
                data.write_all(b"data");
                data.close();
            } else {
                drop(data.read_to_end());
            }
            session.reply().code
        }
        code => code,
    }
}

#[test]
fn each_right_allows_only_its_own_commands() {
    let base = tempfile::tempdir().expect("a directory");
    let users = [
        ("none", Rights::NONE),
        ("list", Rights::LIST),
        ("read", Rights::RETRIEVE),
        ("create", Rights::CREATE),
        ("list-create", Rights::LIST | Rights::CREATE),
        ("write", Rights::WRITE),
        ("append", Rights::APPEND),
        ("delete", Rights::DELETE),
        ("rename", Rights::RENAME),
        ("mkdir", Rights::MKDIR),
        ("chmod", Rights::CHMOD),
        ("full", Rights::FULL),
    ];
    let mut table = UserTable::new();
    for (name, rights) in users {
        let root = base.path().join(name);
        furnish(&root);
        table = table.user(name, "p", Login::new(storage(&root), rights));
    }
    let builder = Server::builder().config(super::quick()).authenticator(table);
    let server = builder.bind("127.0.0.1:0").expect("a server on loopback");
    for (name, rights) in users {
        let mut session = RawSession::login(server.local_addr(), name, "p");
        for (line, needs, code) in [
            ("PWD", Rights::NONE, 257),
            ("CWD dir", Rights::NONE, 250),
            ("CDUP", Rights::NONE, 250),
            ("ALLO 1", Rights::NONE, 200),
            ("STAT", Rights::NONE, 211),
            ("SIZE file", Rights::LIST, 213),
            ("MDTM file", Rights::LIST, 213),
            ("MLST file", Rights::LIST, 250),
            ("STAT file", Rights::LIST, 213),
            ("AVBL", Rights::LIST, 213),
            ("LIST", Rights::LIST, 226),
            ("NLST file", Rights::LIST, 226),
            ("MLSD dir", Rights::LIST, 226),
            ("RETR file", Rights::RETRIEVE, 226),
            ("HASH file", Rights::RETRIEVE, 213),
            ("STOR new", Rights::CREATE, 226),
            ("STOU", Rights::CREATE, 226),
            ("MFMT 20200101000000 file", Rights::WRITE, 213),
            ("MFF Modify=20200101000000; file", Rights::WRITE, 213),
            ("APPE file", Rights::APPEND, 226),
            ("MKD made", Rights::MKDIR, 257),
            ("SITE CHMOD 600 file", Rights::CHMOD, 200),
            ("MFF UNIX.mode=0600; file", Rights::CHMOD, 213),
            ("RNFR file", Rights::RENAME, 350),
            ("DELE file", Rights::DELETE, 250),
            ("RMD dir/sub", Rights::DELETE, 250),
        ] {
            let want = if rights.contains(needs) { code } else { 550 };
            assert_eq!(last_code(&mut session, line), want, "{name}: {line}");
        }
    }
    // The right to create a file does not include replacing one.
    for (name, code, content) in
        [("create", 553, "content"), ("list-create", 553, "content"), ("write", 226, "data")]
    {
        let mut session = RawSession::login(server.local_addr(), name, "p");
        assert_eq!(last_code(&mut session, "STOR file"), code, "{name}");
        assert_eq!(fs::read(base.path().join(name).join("file")).expect("it"), content.as_bytes());
        session.expect("REST 2", 350);
        session.expect("TYPE I", 200);
        let code = if name == "write" { 226 } else { 550 };
        assert_eq!(last_code(&mut session, "STOR file"), code, "{name}");
    }
}

#[test]
fn feat_and_help_depend_on_the_rights_of_the_user_cm_134_cm_137() {
    let fixture = Fixture::with(|builder| {
        builder.user("box", "p", Rights::DROP_BOX).user("nobody", "p", Rights::NONE)
    });
    let words = |session: &mut RawSession, line: &str, code| -> BTreeSet<String> {
        let text = session.expect(line, code).text();
        text.split_whitespace().map(str::to_owned).collect()
    };
    let has = |words: &BTreeSet<String>, all: &[&str]| all.iter().all(|word| words.contains(*word));
    let none_of = |words: &BTreeSet<String>, all: &[&str]| !all.iter().any(|w| words.contains(*w));
    let look = ["SIZE", "MDTM", "AVBL", "MLST"];
    let change = ["DELE", "RMD", "RNFR", "RNTO", "APPE", "MFMT", "MFF"];
    for (user, may, may_not) in [
        (
            "u",
            &[&look[..], &change, &["STOR", "STOU", "RETR", "MKD", "LIST"]].concat()[..],
            &[][..],
        ),
        (
            "reader",
            &[&look[..], &["RETR", "LIST", "HASH", "REST"]].concat(),
            &[&change[..], &["STOR", "STOU", "MKD", "ALLO"]].concat(),
        ),
        (
            "box",
            &["STOR", "STOU", "MKD", "ALLO", "CWD", "PASV"],
            &[&look[..], &change, &["RETR", "LIST", "NLST", "MLSD", "REST", "HASH"]].concat(),
        ),
        (
            "nobody",
            &["CWD", "QUIT"],
            &[&look[..], &change, &["STOR", "STOU", "MKD", "LIST"]].concat(),
        ),
    ] {
        let mut session = RawSession::login(fixture.server.local_addr(), user, "p");
        let help = words(&mut session, "HELP", 214);
        assert!(has(&help, may) && none_of(&help, may_not), "{user}: {help:?}");
        let features = words(&mut session, "FEAT", 211);
        assert!(none_of(&features, may_not), "{user}: {features:?}");
        assert_eq!(has(&features, &look), has(&help, &look), "{user}: {features:?}");
        // HELP shows the form of any command.
        session.expect("HELP RETR", 214);
    }
    let mut anyone = fixture.greeted();
    assert!(has(&words(&mut anyone, "HELP", 214), &["RETR", "STOR", "DELE"]));
}

/// Starts a server with a drop box over a directory with objects.
fn drop_box(adjust: impl FnOnce(Login) -> Login) -> (tempfile::TempDir, Server) {
    let root = tempfile::tempdir().expect("a directory");
    furnish(root.path());
    let login = adjust(Login::new(storage(root.path()), Rights::DROP_BOX));
    let table = UserTable::new().user("box", "p", login);
    let builder = Server::builder().config(super::quick()).authenticator(table);
    let server = builder.bind("127.0.0.1:0").expect("a server on loopback");
    (root, server)
}

#[test]
fn a_drop_box_accepts_only_new_files_and_directories() {
    let (root, server) = drop_box(|login| login);
    let mut session = RawSession::login(server.local_addr(), "box", "p");
    for (line, code) in [
        ("STOR new", 226),
        ("STOR new", 553),
        ("STOR dir/new", 226),
        ("STOU", 226),
        ("STOU photo", 226),
        ("MKD made", 257),
        ("MKD made", 553),
        ("STOR made/new", 226),
        ("CWD made", 250),
        ("STOR newer", 226),
        ("STOR new", 553),
        ("CDUP", 250),
        ("STOR missing/x", 550),
        ("MKD missing/x", 550),
        ("STOR .ftp-upload-0", 553),
        ("APPE new", 550),
        ("DELE new", 550),
        ("RNFR new", 550),
        ("MFMT 20200101000000 new", 550),
        ("SITE CHMOD 600 new", 550),
    ] {
        assert_eq!(last_code(&mut session, line), code, "{line}");
    }
    // An aborted upload leaves nothing, and its name is free.
    let mut data = session.passive();
    session.expect("STOR cut", 150);
    data.write_all(b"half");
    session.expect("ABOR", 426);
    session.expect_reply(226);
    assert_eq!(last_code(&mut session, "STOR cut"), 226);
    assert_eq!(fs::read(root.path().join("file")).expect("it"), b"content");
    assert_eq!(names_in(&root.path().join("made")), ["new", "newer"]);
    assert_eq!(names_in(&root.path().join("dir")), ["inner", "new", "sub"]);
    let names = names_in(root.path());
    assert_eq!(names.iter().filter(|name| name.starts_with("stou.")).count(), 1, "{names:?}");
    assert_eq!(names.iter().filter(|name| name.starts_with("photo.")).count(), 1, "{names:?}");
    assert_eq!(names.len(), 9, "{names:?}");
}

#[test]
fn a_drop_box_does_not_reveal_its_contents() {
    let (_root, server) = drop_box(|login| login);
    let mut session = RawSession::login(server.local_addr(), "box", "p");
    session.expect("TYPE I", 200);
    let there = ["file", "dir", "dir/inner", "out", "gone"];
    let missing = ["missing", "missing/x", "dir/missing"];
    let everything = [&there[..], &missing].concat();
    let beyond = ["file/x", "out/passwd", "gone/x"];
    for (command, names) in [
        ("SIZE", &everything[..]),
        ("MDTM", &everything),
        ("MLST", &everything),
        ("STAT", &everything),
        ("LIST", &everything),
        ("NLST", &everything),
        ("MLSD", &everything),
        ("AVBL", &everything),
        ("HASH", &everything),
        ("RETR", &everything),
        ("APPE", &everything),
        ("DELE", &everything),
        ("RMD", &everything),
        ("RNFR", &everything),
        ("MFMT 20200101000000", &everything),
        ("MFF UNIX.mode=600;", &everything),
        ("SITE CHMOD 600", &everything),
        ("CWD", &["file", "dir/inner", "out", "gone", "missing", "missing/x", "file/x"]),
        ("STOR", &["file", "dir", "dir/inner", "out", "gone"]),
        ("MKD", &["file", "dir", "dir/inner", "out", "gone"]),
        ("STOR", &[&beyond[..], &["missing/x"]].concat()),
        ("MKD", &[&beyond[..], &["missing/x"]].concat()),
        ("REST 2\r\nSTOR", &everything),
    ] {
        let mut replies = BTreeSet::new();
        for name in names {
            session.expect("PASV", 227);
            session.line(format!("{command} {name}"));
            if command.starts_with("REST") {
                session.expect_reply(350);
            }
            replies.insert(session.reply().bytes);
            session.line("ABOR");
            session.reply();
        }
        let said: Vec<_> = replies.iter().map(|reply| reply.escape_ascii().to_string()).collect();
        let code =
            if names == there && ["STOR", "MKD"].contains(&command) { "553 " } else { "550 " };
        assert!(said.len() == 1 && said[0].starts_with(code), "{command}: {said:?}");
    }
    // Devices change to the directory before they store a file.
    play(&mut session, &[("CWD dir", 250), ("CWD sub", 250), ("CWD /", 250)]);
}

#[test]
fn mkd_of_an_existing_directory_can_succeed_in_a_drop_box_cm_85() {
    let (root, server) = drop_box(|login| login.mkdir_existing_ok(true));
    let mut session = RawSession::login(server.local_addr(), "box", "p");
    play(
        &mut session,
        &[("MKD dir", 257), ("MKD dir/sub", 257), ("MKD file", 553), ("MKD new", 257)],
    );
    assert!(root.path().join("new").is_dir());
}

#[test]
fn mkdir_parents_creates_missing_directories_for_uploads_cm_105() {
    let root = tempfile::tempdir().expect("a directory");
    furnish(root.path());
    fs::create_dir(root.path().join("there.exe")).expect("a directory");
    let login = |rights| Login::new(storage(root.path()), rights);
    let table = UserTable::new()
        .user("strict", "p", login(Rights::FULL))
        .user("camera", "p", login(Rights::FULL).mkdir_parents(true))
        .user("box", "p", login(Rights::DROP_BOX).mkdir_parents(true))
        .user("writer", "p", login(Rights::WRITE | Rights::LIST).mkdir_parents(true));
    let deny_names = vec![NamePattern::parse(b"*.exe").expect("a pattern")];
    let config = super::quick().deny_names(deny_names);
    let builder = Server::builder().config(config).authenticator(table);
    let server = builder.bind("127.0.0.1:0").expect("a server on loopback");
    let ask = |user: &str, line: &str| {
        let mut session = RawSession::login(server.local_addr(), user, "p");
        session.expect("TYPE I", 200);
        last_code(&mut session, line)
    };
    let deep = format!("STOR {}file", "d/".repeat(127));
    let deeper = format!("STOR {}file", "e/".repeat(128));
    for (user, line, code) in [
        ("strict", "STOR a/b/file", 550),
        ("writer", "STOR a/b/file", 550),
        ("camera", "STOR a/b/file", 226),
        ("camera", "STOR a/b/file", 226),
        ("camera", "STOR a/c/file", 226),
        ("camera", "APPE b/file", 226),
        ("camera", &deep, 226),
        ("camera", &deeper, 553),
        ("box", "STOR in/x", 226),
        ("box", "STOR in/x", 553),
        ("box", "STOR out/x/y", 550),
        ("box", "STOR file/x/y", 550),
        ("camera", "STOR file/x/y", 550),
        ("camera", "STOR out/x/y", 550),
        ("camera", "STOR n/.ftp-upload-0", 553),
        ("camera", "STOR .ftp-upload-0/n", 553),
        ("camera", "MKD n/m", 550),
        ("camera", "STOR n.exe/file", 553),
        ("camera", "STOR n.exe/m/file", 553),
        ("camera", "STOR n/m.exe/file", 553),
        ("camera", "STOR there.exe/m/file", 226),
    ] {
        assert_eq!(ask(user, line), code, "{user}: {line}");
    }
    let mut session = RawSession::login(server.local_addr(), "camera", "p");
    play(&mut session, &[("TYPE I", 200), ("PASV", 227), ("REST 5", 350)]);
    let code = session.ask("STOR n/file").code;
    assert!([550, 554].contains(&code), "{code}");
    assert_eq!(fs::read(root.path().join("a/b/file")).expect("it"), b"data");
    assert_eq!(
        names_in(root.path()),
        ["a", "b", "d", "dir", "file", "gone", "in", "out", "there.exe"]
    );
}

#[test]
fn no_directories_are_created_for_a_file_that_does_not_fit_cm_105() {
    let root = tempfile::tempdir().expect("a directory");
    fs::create_dir(root.path().join("dir")).expect("a directory");
    let login = Login::new(storage(root.path()), Rights::FULL).mkdir_parents(true);
    let table = UserTable::new().user("camera", "p", login);
    let config = super::quick_with(|config| config.limits.min_free = 1 << 60);
    let builder = Server::builder().config(config).authenticator(table);
    let server = builder.bind("127.0.0.1:0").expect("a server on loopback");
    let mut session = RawSession::login(server.local_addr(), "camera", "p");
    for line in ["STOR file", "STOR dir/file", "STOR new/file", "STOR dir/new/newer/file"] {
        assert_eq!(last_code(&mut session, line), 452, "{line}");
    }
    assert_eq!(names_in(root.path()), ["dir"]);
    assert!(names_in(&root.path().join("dir")).is_empty());
}
