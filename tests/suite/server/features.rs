//! FEAT, HELP and 502 depend on the user's rights and the storage.

use std::sync::Arc;

use ftp_server::{
    Capabilities, LocalStorage, Login, Rights, RoomFor, Server, Space, Storage, StorageError,
    UserTable, VirtualPath, forward_storage,
};
use ftp_tests::raw::RawSession;

use super::{Fixture, play};

/// A storage with only the required methods.
struct Least(LocalStorage);

impl Storage for Least {
    forward_storage!(self, self.0; confine, stat, list, read, write, unfinished, kept, forget);

    fn capabilities(&self) -> Capabilities {
        Capabilities::NONE
    }

    fn space(&self, _: &VirtualPath, _: RoomFor) -> Result<Space, StorageError> {
        Ok(Space::default())
    }
}

fn features(session: &mut RawSession) -> Vec<String> {
    let lines = session.expect("FEAT", 211).lines;
    let features = lines.iter().filter_map(|line| line.strip_prefix(b" "));
    features.map(|feature| String::from_utf8_lossy(feature).into_owned()).collect()
}

const FACTS: &str = "MLST type*;size*;modify*;perm*;unique*;UNIX.mode*;";

#[test]
fn a_minimal_storage_offers_only_what_it_supports_cm_126_cm_127_cm_137() {
    let root = tempfile::tempdir().expect("a directory");
    std::fs::write(root.path().join("a"), "12345").expect("a file");
    std::fs::create_dir(root.path().join("d")).expect("a directory");
    let storage = Least(LocalStorage::open(root.path()).expect("it opens"));
    let server = Server::builder()
        .storage(storage)
        .user("u", "p", Rights::FULL)
        .bind("127.0.0.1:0")
        .expect("a server on loopback");
    let want = [
        "CLNT",
        "EPRT",
        "EPSV",
        "HOST",
        "LANG EN*",
        "MDTM",
        FACTS,
        "MODE B",
        "REST STREAM",
        "SIZE",
        "TVFS",
        "UTF8",
    ];
    let mut greeted = RawSession::greeted(server.local_addr());
    assert_eq!(features(&mut greeted), want, "before login");
    let mut session = RawSession::login(server.local_addr(), "u", "p");
    assert_eq!(features(&mut session), want);
    play(
        &mut session,
        &[
            ("MFMT 20000101000000 a", 502),
            ("MFF Modify=20000101000000; a", 502),
            ("HASH a", 502),
            ("OPTS HASH", 501),
            ("AVBL", 502),
            ("HELP AVBL", 502),
            ("ALLO 9223372036854775807", 200),
            ("SITE CHMOD 600 a", 504),
            ("MKD x", 502),
            ("RMD d", 502),
            ("DELE a", 502),
            ("RNFR a", 350),
            ("RNTO b", 502),
            ("SIZE a", 213),
            ("MDTM a", 213),
        ],
    );
    assert!(!session.expect("SITE HELP", 214).text().contains("CHMOD"));
    for line in ["HELP", "HELP OPTS"] {
        assert!(!session.expect(line, 214).text().contains("HASH"), "{line}");
    }
    assert_eq!(session.download("RETR a"), b"12345");
    session.upload("STOR b", b"b");
    let unique = session.passive();
    session.expect("STOU", 150);
    unique.close();
    session.expect_reply(226);
    assert_eq!(super::names_in(root.path()).len(), 4);
}

#[test]
fn feat_depends_on_the_rights_of_the_user_cm_137() {
    let fixture = Fixture::with(|builder| {
        builder.user("blind", "p", Rights::WRITE | Rights::MKDIR).user("none", "p", Rights::NONE)
    });
    let of = |user: &str| {
        let mut session = RawSession::login(fixture.server.local_addr(), user, "p");
        features(&mut session)
    };
    let always = ["CLNT", "EPRT", "EPSV", "HOST", "LANG EN*"];
    let last = ["TVFS", "UTF8", "X-LINKS"];
    let hash = "HASH SHA-256*;SHA-512;SHA-1;";
    assert_eq!(of("none"), [&always[..], &["MODE B"], &last].concat());
    let blind = ["MFF Modify;", "MFMT", "MODE B", "REST STREAM"];
    assert_eq!(of("blind"), [&always[..], &blind, &last].concat());
    let more = ["AVBL", hash, "MDTM", FACTS, "MODE B", "REST STREAM", "SIZE"];
    let older =
        ["XCRC", "XMD5", "XSHA1", "XSHA256"].map(|verb| format!("{verb} filename;start;end"));
    let older = older.each_ref().map(String::as_str);
    let mut reader = [&always[..], &more, &last, &older].concat();
    reader.sort_unstable();
    assert_eq!(of("reader"), reader);
}

#[test]
fn feat_before_login_lists_what_some_user_can_use_cm_137() {
    let root = tempfile::tempdir().expect("a directory");
    let storage: Arc<dyn Storage> = Arc::new(LocalStorage::open(root.path()).expect("it opens"));
    let login = |rights| Login::new(Arc::clone(&storage), rights);
    let server = Server::builder()
        .authenticator(UserTable::new().anonymous(login(Rights::LIST)))
        .bind("127.0.0.1:0")
        .expect("a server on loopback");
    let mut session = RawSession::greeted(server.local_addr());
    let before = features(&mut session);
    assert!(before.iter().any(|feature| feature == "SIZE"), "{before:?}");
    assert!(!before.iter().any(|feature| feature.starts_with("HASH")), "{before:?}");
    play(&mut session, &[("USER ftp", 331), ("PASS me@", 230)]);
    assert_eq!(features(&mut session), before);
}
