//! Several directories of the disk in one tree, as a client meets them.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::time::Duration;

use ftp_server::testing::{Fault, FaultStorage, StorageCall};
use ftp_server::{
    LocalConfig, LocalStorage, Login, MemoryStorage, MountedStorage, Rights, Server, SyncPolicy,
    UserTable,
};
use ftp_tests::raw::RawSession;
use ftp_tests::root::TempRoot;
use ftp_tests::wait::wait_until;

use super::partial::moved;
use super::play;

/// A root with a quota, a shared directory mounted at `/pub`, one at `/far/away`, where the root has
/// nothing, and an unavailable one at `/gone`.
struct Mounted {
    own: TempRoot,
    shared: TempRoot,
    away: TempRoot,
    server: Server,
}

impl Mounted {
    fn new(login: impl FnOnce(Login) -> Login) -> Self {
        let [own, shared, away] = [(); 3].map(|()| TempRoot::new());
        own.write("file", b"own");
        fs::create_dir(own.join("pub")).expect("a directory");
        own.write("pub/hidden", b"hidden");
        shared.write("a", b"shared");
        fs::create_dir(shared.join("d")).expect("a directory");
        shared.write("d/b", b"b");
        away.write("c", b"away");
        symlink(away.path(), shared.join("out")).expect("a link");
        symlink("../pub", own.join("pub/round")).expect("a link");
        let local = |root: &TempRoot, quota| {
            let config = LocalConfig::new().sync(SyncPolicy::None).quota(quota);
            let storage = LocalStorage::open(root.path()).expect("it opens");
            storage.configured(config).expect("a storage")
        };
        let tree = MountedStorage::new(local(&own, 50_000))
            .mount("/pub", local(&shared, 0))
            .and_then(|tree| tree.mount("/far/away", local(&away, 0)))
            .and_then(|tree| tree.unavailable("/gone"));
        let storage = Arc::new(tree.expect("mount points"));
        let login = login(Login::new(storage, Rights::FULL));
        let table = UserTable::new().user("u", "p", login);
        let builder = Server::builder().config(super::quick()).authenticator(table);
        let server = builder.bind("127.0.0.1:0").expect("a server on loopback");
        Self { own, shared, away, server }
    }

    fn session(&self) -> RawSession {
        let mut session = RawSession::login(self.server.local_addr(), "u", "p");
        session.expect("TYPE I", 200);
        session
    }
}

/// Returns the last word of each line of a listing, sorted.
fn names(session: &mut RawSession, command: &str) -> Vec<String> {
    let listed = String::from_utf8(session.download(command)).expect("text");
    let name = |line: &str| line.rsplit(' ').next().unwrap_or_default().to_owned();
    let mut names: Vec<_> = listed.lines().map(name).collect();
    names.sort();
    names
}

/// Clients count subdirectories before they remove a tree: without the link count, none is removed.
#[test]
fn a_remote_mount_takes_no_link_count_from_the_directories_beside_it_ls_22_ls_25() {
    let root = TempRoot::new();
    fs::create_dir_all(root.join("t/d")).expect("directories");
    let delay = Fault::Delay(Duration::ZERO);
    let far = FaultStorage::new(MemoryStorage::new()).from(StorageCall::List, 1, delay);
    let own = LocalStorage::open(root.path()).expect("it opens");
    let storage = MountedStorage::new(own).mount("/far", far).expect("a mount point");
    let builder = Server::builder().storage(storage).user("u", "p", Rights::FULL);
    let server = builder.bind("127.0.0.1:0").expect("a server on loopback");
    let mut session = RawSession::login(server.local_addr(), "u", "p");
    for (line, links) in [("LIST -a t", "3"), ("LIST -a t/d", "2")] {
        let text = String::from_utf8(session.download(line)).expect("UTF-8");
        let first: Vec<&str> = text.lines().next().expect("a line").split_whitespace().collect();
        assert_eq!((first[1], first[8]), (links, "."), "{line}");
    }
}

#[test]
fn mount_points_are_directories_to_every_command() {
    let mounted = Mounted::new(|login| login);
    let mut session = mounted.session();
    for command in ["LIST", "NLST", "MLSD"] {
        assert_eq!(names(&mut session, command), ["far", "file", "gone", "pub"], "{command}");
    }
    assert_eq!(names(&mut session, "LIST -a /"), [".", "far", "file", "gone", "pub"]);
    assert_eq!(names(&mut session, "NLST pub"), ["pub/a", "pub/d", "pub/out"]);
    assert_eq!(names(&mut session, "LIST p*"), ["pub"]);
    assert_eq!(names(&mut session, "NLST pub/?"), ["pub/a", "pub/d"]);
    assert_eq!(names(&mut session, "MLSD far"), ["away"]);
    let status = session.expect("STAT far", 212).text();
    assert!(status.contains(" away\n"), "{status}");
    play(&mut session, &[("CWD pub/d", 250), ("SIZE b", 213), ("MDTM ../a", 213)]);
    assert_eq!(session.expect("PWD", 257).text(), "257 \"/pub/d\" is the current directory");
    assert_eq!(session.download("RETR ../a"), b"shared");
    play(&mut session, &[("CDUP", 250), ("SIZE d/b", 213), ("CDUP", 250), ("SIZE file", 213)]);
    play(&mut session, &[("CWD far", 250), ("CWD away", 250), ("CWD ../../pub", 250)]);
    session.upload("STOR d/new", b"new");
    assert_eq!(mounted.shared.read("d/new"), b"new");
    play(&mut session, &[("RNFR d/new", 350), ("RNTO moved", 250), ("DELE moved", 250)]);
    play(&mut session, &[("MKD e", 257), ("RMD e", 250), ("MLST /pub", 250), ("MLST /far", 250)]);
    // What the root has in the place of a mount is hidden, and links lead nowhere else.
    play(&mut session, &[("SIZE hidden", 550), ("SIZE out/c", 550), ("CWD out", 550)]);
    assert_eq!(mounted.own.read("pub/hidden"), b"hidden");
    session.expect_in_step();
}

#[test]
fn mount_points_cannot_be_removed_or_renamed() {
    let mounted = Mounted::new(|login| login.mkdir_parents(true));
    let mut session = mounted.session();
    for directory in ["/pub", "/far", "/far/away", "/gone"] {
        for verb in ["DELE", "RMD", "RNFR", "MKD"] {
            session.expect(format!("{verb} {directory}"), 550);
        }
        let refusal = if directory == "/gone" { 450 } else { 550 };
        session.expect(format!("SITE CHMOD 700 {directory}"), refusal);
        play(&mut session, &[("RNFR file", 350)]);
        session.expect(format!("RNTO {directory}"), refusal);
    }
    // Nothing can be stored above a mount point, and nothing done in an unavailable one.
    let listed = String::from_utf8(session.download("MLSD /")).expect("text");
    for (name, letters) in [("pub", "celmp"), ("far", "el"), ("gone", "")] {
        let line = listed.lines().find(|line| line.ends_with(&format!(" {name}")));
        let line = line.unwrap_or_else(|| panic!("no {name} in {listed}"));
        assert!(line.contains(&format!(";perm={letters};")), "{line}");
        let alone = session.expect(format!("MLST {name}"), 250).text();
        assert!(alone.contains(&format!(";perm={letters};")), "{alone}");
    }
    let refused = |session: &mut RawSession, from: &str, to: &str| {
        session.expect(format!("RNFR {from}"), 350);
        let reply = session.expect(format!("RNTO {to}"), 550).text();
        assert_eq!(reply, "550 Cannot be moved to another file system", "{from} {to}");
    };
    refused(&mut session, "file", "pub/file");
    refused(&mut session, "pub/a", "a");
    refused(&mut session, "pub/d", "far/away/d");
    // Above a mount point there is no directory that could hold a file.
    for name in ["far/new", "far/new/deep"] {
        let _data = session.passive();
        session.expect(format!("STOR {name}"), 550);
    }
    assert!(!mounted.own.join("far").exists());
    session.upload("STOR far/away/x/y", b"deep");
    assert_eq!(mounted.away.read("x/y"), b"deep");
    for line in ["CWD gone", "MLSD gone", "SIZE gone/x", "MKD gone/x", "AVBL gone"] {
        let _data = line.starts_with("MLSD").then(|| session.passive());
        // curl takes a 450 for an empty directory.
        let code = if line.starts_with("MLSD") { 451 } else { 450 };
        assert_eq!(session.expect(line, code).text(), format!("{code} Not available"), "{line}");
    }
    session.expect_in_step();
}

#[test]
fn each_mount_has_its_own_free_space_and_quota_cm_54_cm_128_cm_139() {
    let mounted = Mounted::new(|login| login);
    let mut session = mounted.session();
    let bytes = |session: &mut RawSession, line: &str| -> u64 {
        let text = session.expect(line, 213).text();
        text.trim_start_matches("213 ").parse().expect("a number")
    };
    assert!(bytes(&mut session, "AVBL") < 50_000);
    assert!(bytes(&mut session, "AVBL pub") > 50_000);
    play(&mut session, &[("ALLO 60000", 552), ("SITE QUOTA", 211)]);
    play(&mut session, &[("CWD pub", 250), ("ALLO 60000", 200), ("SITE QUOTA", 200)]);
    session.upload("STOR large", &[b'l'; 60_000]);
    // Nothing can be stored here, so no quota applies.
    play(&mut session, &[("CWD /far", 250), ("ALLO 1", 200), ("AVBL", 550), ("SITE QUOTA", 550)]);
    session.expect_in_step();
}

#[test]
fn partial_uploads_in_a_mount_are_kept_and_resumed_there_fs_15() {
    let mounted = Mounted::new(|login| login);
    let mut cut = mounted.session();
    let mut data = cut.passive();
    cut.expect("STOR pub/d/f", 150);
    data.write_all(&[b'f'; 10_000]);
    // A reset discards what was not read.
    wait_until("the bytes are read", || moved(&mut cut) == 10_000);
    data.reset();
    cut.expect_reply(426);
    let mut session = mounted.session();
    let told = session.expect("SIZE pub/d/f", 213).text();
    let told: usize = told.trim_start_matches("213 ").parse().expect("a number");
    session.expect("SIZE d/f", 550);
    let mut data = session.passive();
    session.expect(format!("REST {told}"), 350);
    session.expect("STOR pub/d/f", 150);
    data.write_all(&vec![b'f'; 10_000 - told]);
    data.close();
    session.expect_reply(226);
    assert_eq!(mounted.shared.read("d/f"), [b'f'; 10_000]);
    assert_eq!(names(&mut session, "NLST pub/d"), ["pub/d/b", "pub/d/f"]);
    assert!(!mounted.own.join("d").exists());
}

#[test]
fn directory_rights_apply_in_mounts() {
    let mounted = Mounted::new(|login| {
        login.directory("/pub", Rights::READ).directory("/far/away", Rights::NONE)
    });
    let mut session = mounted.session();
    session.upload("STOR new", b"new");
    assert_eq!(session.download("RETR pub/a"), b"shared");
    for line in ["STOR pub/new", "APPE pub/a"] {
        let _data = session.passive();
        session.expect(line, 550);
    }
    play(&mut session, &[("DELE pub/a", 550), ("MKD pub/e", 550), ("RNFR pub/a", 550)]);
    play(&mut session, &[("CWD far", 250), ("CWD away", 550), ("SIZE away/c", 550)]);
    assert_eq!(mounted.shared.read("a"), b"shared");
    session.expect_in_step();
}

#[test]
fn a_session_with_mounts_can_log_in_again_after_rein() {
    let mounted = Mounted::new(|login| login);
    let mut session = mounted.session();
    // The thread of the first user is confined for good; the next one gets another.
    play(&mut session, &[("REIN", 220), ("USER u", 331), ("PASS p", 230)]);
    play(&mut session, &[("TYPE I", 200), ("SIZE pub/a", 213), ("SIZE file", 213)]);
    session.expect("QUIT", 221);
    wait_until("the session ended", || mounted.server.sessions().is_empty());
}
