//! Rights by directory: the longest path decides, for every command and at both ends of a rename.

use std::collections::BTreeMap;
use std::fs;
use std::net::Shutdown;
use std::path::Path;
use std::sync::Arc;

use ftp_server::{LocalStorage, Login, Rights, Server, UserTable};
use ftp_tests::raw::RawSession;

use super::partial::moved;
use super::play;

/// A server whose user `u` may read everything but hand in below `/in`, and work in `/in/work`; and
/// whose user `box` may only hand in, but read `/pub` and work in `/own`.
fn server(root: &Path) -> Server {
    for name in ["in/work", "pub", "plain", "own"] {
        fs::create_dir_all(root.join(name)).expect("a directory");
    }
    for name in ["in/secret", "in/work/draft", "pub/file", "plain/file", "file"] {
        fs::write(root.join(name), name).expect("a file");
    }
    let storage = Arc::new(LocalStorage::open(root).expect("it opens"));
    let reader = Login::new(storage.clone(), Rights::READ | Rights::RENAME)
        .directory("/in", Rights::DROP_BOX)
        .directory("/in/work", Rights::FULL)
        .mkdir_parents(true);
    let drop_box = Login::new(storage, Rights::DROP_BOX)
        .directory("/pub", Rights::READ)
        .directory("/own", Rights::FULL);
    let table = UserTable::new().user("u", "p", reader).user("box", "p", drop_box);
    let builder = Server::builder().config(super::quick()).authenticator(table);
    builder.bind("127.0.0.1:0").expect("a server on loopback")
}

/// A server with this login for the user `u`.
fn server_of(login: Login) -> Server {
    let table = UserTable::new().user("u", "p", login);
    let builder = Server::builder().config(super::quick()).authenticator(table);
    builder.bind("127.0.0.1:0").expect("a server on loopback")
}

/// Returns the letters that MLSD shows of each entry of a directory.
fn letters(session: &mut RawSession, directory: &str) -> BTreeMap<String, String> {
    let listed = String::from_utf8(session.download(format!("MLSD {directory}"))).expect("text");
    let entry = |line: &str| {
        let (facts, name) = line.split_once(' ').unwrap_or_else(|| panic!("no name in {line}"));
        let (_, perm) = facts.split_once("perm=").unwrap_or_else(|| panic!("no perm in {line}"));
        (name.to_owned(), perm.split(';').next().unwrap_or_default().to_owned())
    };
    listed.lines().map(entry).collect()
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
fn the_longest_matching_directory_rule_decides_the_rights() {
    let root = tempfile::tempdir().expect("a directory");
    let server = server(root.path());
    let mut session = RawSession::login(server.local_addr(), "u", "p");
    for (line, code) in [
        ("TYPE I", 200),
        ("SIZE file", 213),
        ("RETR plain/file", 226),
        ("STOR new", 550),
        ("MKD new", 550),
        ("DELE file", 550),
        // A drop box, by whatever path.
        ("SIZE in/secret", 550),
        ("SIZE /plain/../in/./secret", 550),
        ("RETR in/secret", 550),
        ("MDTM in/secret", 550),
        ("MLST in/secret", 550),
        ("HASH in/secret", 550),
        ("STAT in", 550),
        ("AVBL in", 550),
        ("LIST in", 550),
        ("LIST -a in", 550),
        ("LIST in/*", 550),
        ("NLST in", 550),
        ("NLST in/s*", 550),
        ("MLSD in", 550),
        ("STOR in/new", 226),
        ("STOR in/new", 553),
        ("STOR in/secret", 553),
        ("APPE in/secret", 550),
        ("DELE in/new", 550),
        ("MKD in/made", 257),
        ("STOR in/a/b/c", 226),
        ("RMD in/made", 550),
        ("MFMT 20200101000000 in/new", 550),
        ("SITE CHMOD 600 in/new", 550),
        // All rights within it.
        ("RETR in/work/draft", 226),
        ("STOR in/work/draft", 226),
        ("APPE in/work/draft", 226),
        ("LIST in/work", 226),
        ("MFMT 20200101000000 in/work/draft", 213),
        ("SITE CHMOD 600 in/work/draft", 200),
        ("STOR in/work/x/y", 226),
        ("DELE in/work/x/y", 250),
        ("RMD in/work/x", 250),
        // The current directory counts too.
        ("CWD in", 250),
        ("LIST", 550),
        ("NLST *", 550),
        ("MLSD", 550),
        ("STOU", 226),
        ("CWD work", 250),
        ("LIST", 226),
        ("CWD /in/none", 550),
        ("CWD /", 250),
        ("LIST", 226),
        ("STOU", 550),
    ] {
        assert_eq!(last_code(&mut session, line), code, "{line}");
    }
    let mut drop_box = RawSession::login(server.local_addr(), "box", "p");
    for (line, code) in [
        ("TYPE I", 200),
        ("LIST", 550),
        ("LIST pub", 226),
        ("RETR pub/file", 226),
        ("STOR pub/new", 550),
        ("RETR file", 550),
        ("STOR new", 226),
        ("STOR pubnew", 226),
        ("RETR pubnew", 550),
    ] {
        assert_eq!(last_code(&mut drop_box, line), code, "{line}");
    }
    // Before login and for the user, the features are those of any directory.
    let features = drop_box.expect("FEAT", 211).text();
    assert!(features.contains("SIZE") && features.contains("MLST"), "{features}");
}

#[test]
fn perm_facts_follow_the_directory_rule_of_each_entry() {
    let root = tempfile::tempdir().expect("a directory");
    let server = server(root.path());
    let mut session = RawSession::login(server.local_addr(), "u", "p");
    let letters = letters(&mut session, "/");
    let perm = |name: &str| &*letters[name];
    assert_eq!(perm("file"), "fr");
    assert_eq!(perm("plain"), "efl");
    assert_eq!(perm("in"), "cem");
    assert!(session.expect("MLST in/work/draft", 250).text().contains("perm=adfrw;"));
}

#[test]
fn a_rename_requires_rights_at_source_and_target() {
    let root = tempfile::tempdir().expect("a directory");
    for name in ["a", "b", "read", "in", "up/deep"] {
        fs::create_dir_all(root.path().join(name)).expect("a directory");
    }
    for name in ["a/one", "a/two", "a/three", "read/one", "in/one", "free"] {
        fs::write(root.path().join(name), name).expect("a file");
    }
    let storage = Arc::new(LocalStorage::open(root.path()).expect("it opens"));
    let blind = Rights::WRITE | Rights::RENAME | Rights::DELETE;
    let login = Login::new(storage, Rights::FULL)
        .directory("/a", Rights::FULL)
        .directory("/b", blind)
        .directory("/read", Rights::READ)
        .directory("/in", Rights::DROP_BOX)
        .directory("/up/deep", Rights::READ);
    let server = server_of(login);
    let mut session = RawSession::login(server.local_addr(), "u", "p");
    for (from, codes) in [
        // Within a rule, and between rules that allow it.
        ("a/one", [("a/other", 250)]),
        ("a/other", [("free2", 250)]),
        ("free2", [("a/one", 250)]),
        ("a/one", [("b/one", 250)]),
        // What could not be read comes nowhere where it can.
        ("b/one", [("a/one", 550)]),
        ("b/one", [("b/two", 250)]),
        // Nothing leaves or reaches places without the right.
        ("a/two", [("read/two", 550)]),
        ("a/two", [("in/two", 550)]),
        // A directory with a rule stays where it is, and so do those above it.
        ("up", [("down", 550)]),
        ("a", [("c", 550)]),
        ("a/two", [("up/deep", 550)]),
        ("free", [("free3", 250)]),
    ] {
        session.expect(format!("RNFR {from}"), 350);
        for (to, code) in codes {
            session.expect(format!("RNTO {to}"), code);
        }
    }
    play(&mut session, &[("RNFR read/one", 550), ("RNFR in/one", 550), ("RNFR up/deep", 550)]);
    for (name, content) in [("b/two", "a/one"), ("a/two", "a/two"), ("free3", "free")] {
        assert_eq!(fs::read_to_string(root.path().join(name)).expect(name), content);
    }
}

#[test]
fn a_rename_does_not_reveal_hidden_names_or_bypass_the_mkdir_right() {
    let root = tempfile::tempdir().expect("a directory");
    for name in ["blind/d", "seen/d", "lst", "made"] {
        fs::create_dir_all(root.path().join(name)).expect("a directory");
    }
    for name in ["blind/d/hidden", "blind/file", "seen/file"] {
        fs::write(root.path().join(name), name).expect("a file");
    }
    let storage = Arc::new(LocalStorage::open(root.path()).expect("it opens"));
    let blind = Rights::CREATE | Rights::DELETE | Rights::RENAME;
    let listed = Rights::LIST | Rights::CREATE | Rights::RENAME;
    let login = Login::new(storage, Rights::READ)
        .directory("/blind", blind)
        .directory("/seen", blind | Rights::LIST)
        .directory("/lst", listed)
        .directory("/made", listed | Rights::MKDIR);
    let server = server_of(login);
    let mut session = RawSession::login(server.local_addr(), "u", "p");
    for (from, to, code) in [
        ("blind/d", "lst/d", 550),
        ("blind/d", "made/d", 550),
        ("blind/file", "lst/file", 550),
        ("seen/file", "lst/file", 250),
        ("seen/d", "lst/d", 550),
        ("seen/d", "seen/e", 250),
        ("seen/e", "made/d", 250),
    ] {
        session.expect(format!("RNFR {from}"), 350);
        assert_eq!(session.ask(format!("RNTO {to}")).code, code, "{from} to {to}");
    }
    assert!(root.path().join("blind/d/hidden").exists());
}

#[test]
fn a_directory_with_a_rule_cannot_be_removed_or_renamed() {
    let root = tempfile::tempdir().expect("a directory");
    for name in ["in/work/x", "up", "plain"] {
        fs::create_dir_all(root.path().join(name)).expect("a directory");
    }
    let storage = Arc::new(LocalStorage::open(root.path()).expect("it opens"));
    let login = Login::new(storage, Rights::FULL)
        .directory("/in/work", Rights::FULL)
        .directory("/up/missing", Rights::READ);
    let server = server_of(login);
    let mut session = RawSession::login(server.local_addr(), "u", "p");
    let top = letters(&mut session, "/");
    assert_eq!((&*top["in"], &*top["up"], &*top["plain"]), ("celmp", "celmp", "cdeflmp"));
    assert_eq!(letters(&mut session, "in")["work"], "celmp");
    assert_eq!(letters(&mut session, "in/work")["x"], "cdeflmp");
    for (line, code) in [
        ("RMD in/work/x", 250),
        ("RMD in/work", 550),
        ("RMD in", 550),
        ("RMD up", 550),
        ("STOR in/work", 553),
        ("RMD plain", 250),
    ] {
        assert_eq!(last_code(&mut session, line), code, "{line}");
    }
    assert!(root.path().join("in/work").is_dir());
}

#[test]
fn every_command_fails_with_550_in_a_directory_without_rights() {
    let root = tempfile::tempdir().expect("a directory");
    for name in ["private/pub", "private/inner"] {
        fs::create_dir_all(root.path().join(name)).expect("a directory");
    }
    for name in ["private/file", "private/pub/file", "free"] {
        fs::write(root.path().join(name), name).expect("a file");
    }
    let storage = Arc::new(LocalStorage::open(root.path()).expect("it opens"));
    let login = Login::new(storage, Rights::FULL)
        .directory("/private", Rights::NONE)
        .directory("/private/pub", Rights::READ)
        .mkdir_parents(true);
    let server = server_of(login);
    let mut session = RawSession::login(server.local_addr(), "u", "p");
    session.expect("TYPE I", 200);
    let commands = [
        "CWD private",
        "CWD private/inner",
        "CWD private/none",
        "LIST private",
        "LIST private/*",
        "NLST private",
        "MLSD private",
        "MLST private",
        "MLST private/file",
        "STAT private",
        "AVBL private",
        "RETR private/file",
        "HASH private/file",
        "SIZE private/file",
        "SIZE private/none",
        "MDTM private/file",
        "STOR private/file",
        "STOR private/new",
        "STOR private/a/b",
        "APPE private/file",
        "DELE private/file",
        "MKD private/new",
        "RMD private/inner",
        "RMD private",
        "RNFR private/file",
        "MFMT 20200101000000 private/file",
        "SITE CHMOD 600 private/file",
    ];
    for line in commands {
        assert_eq!(last_code(&mut session, line), 550, "{line}");
    }
    play(&mut session, &[("RNFR free", 350), ("RNTO private/free", 550)]);
    assert_eq!(letters(&mut session, "/")["private"], "");
    play(&mut session, &[("CWD private/pub", 250), ("SIZE file", 213), ("CDUP", 550)]);
    assert_eq!(super::names_in(&root.path().join("private")), ["file", "inner", "pub"]);
}

#[test]
fn partial_uploads_are_kept_only_where_they_can_be_resumed() {
    let root = tempfile::tempdir().expect("a directory");
    let server = server(root.path());
    for (user, path, is_kept) in
        [("u", "in/work", true), ("u", "in", false), ("box", "own", true), ("box", "plain", false)]
    {
        let mut session = RawSession::login(server.local_addr(), user, "p");
        session.expect("TYPE I", 200);
        let mut data = session.passive();
        session.expect(format!("STOR {path}/cut"), 150);
        data.write_all(&[b'x'; 100]);
        ftp_tests::wait::wait_until("the bytes arrive", || moved(&mut session) == 100);
        session.stream().shutdown(Shutdown::Both).expect("it ends");
        drop(data);
        let kept = || {
            let names = super::names_in(&root.path().join(path));
            // A record without bytes is left everywhere.
            names.iter().filter(|name| super::has_bytes(name)).count()
        };
        let count = usize::from(is_kept);
        ftp_tests::wait::wait_until("the upload ends", || {
            server.sessions().is_empty() && kept() == count
        });
    }
}
