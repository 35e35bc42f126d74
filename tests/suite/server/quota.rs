//! Users with a limit of bytes, and files that other local users link to.

use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use ftp_server::{
    Keep, LocalConfig, LocalStorage, Login, MemoryStorage, Rights, Server, Storage, StorageError,
    StreamEnd, SyncPolicy, Upload, UserTable, VirtualPath, WriteMode, forward_storage,
};
use ftp_tests::raw::{DEADLINE, RawSession};
use ftp_tests::wait::wait_until;
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use super::appends::IN_PLACE;
use super::partial::moved;
use super::{Fixture, play, published_in, quick};

/// Starts a server whose user `u` may store this many bytes.
fn limited(bytes: u64) -> Fixture {
    limited_to(bytes, 0)
}

/// Starts a server whose user `u` may store this many bytes, files and directories. The user `box`
/// can only create files.
fn limited_to(bytes: u64, files: u64) -> Fixture {
    Fixture::with(|builder| builder).with_users(|root| {
        let storage = LocalStorage::open(root).expect("a root");
        let login = |quota, max_files| {
            let config =
                LocalConfig::new().sync(SyncPolicy::None).quota(quota).max_files(max_files);
            let storage = storage.clone().configured(config).expect("a storage");
            Login::new(Arc::new(storage), Rights::FULL)
        };
        let mut drop_box = login(bytes, files);
        drop_box.rights = Rights::DROP_BOX;
        let table = UserTable::new().user("u", "p", login(bytes, files)).user("box", "p", drop_box);
        table.user("free", "p", login(0, 0))
    })
}

impl Fixture {
    /// The same fixture with another server over its directory.
    fn with_users(self, users: impl FnOnce(&Path) -> UserTable) -> Self {
        let builder = Server::builder().config(quick()).authenticator(users(self.root.path()));
        let server = builder.bind("127.0.0.1:0").expect("a server on loopback");
        Self { root: self.root, server }
    }

    /// Returns the total size of the files in the root.
    fn stored(&self) -> u64 {
        let length = |name: &String| self.path(name).metadata().map_or(0, |file| file.len());
        // Records are free.
        self.names().iter().filter(|name| !name.starts_with(super::RECORD)).map(length).sum()
    }
}

impl Fixture {
    /// Returns the total size of the complete files in the root while other sessions store; `None`
    /// if it changed meanwhile. An upload may have the bytes of the file that it replaces a second
    /// time.
    fn stored_at_once(&self) -> Option<u64> {
        let look = || -> Vec<(u64, u64)> {
            let names = self.published().into_iter().filter(|name| !name.ends_with(".part"));
            let files = names.filter_map(|name| self.path(&name).metadata().ok());
            files.map(|file| (file.ino(), file.len())).collect()
        };
        let found = look();
        (found == look()).then(|| found.iter().map(|(_, length)| length).sum())
    }
}

/// Sends `length` bytes to `command`; returns the last code.
fn store(session: &mut RawSession, rest: Option<u64>, command: &str, length: usize) -> u16 {
    let data = session.passive();
    if let Some(offset) = rest {
        session.expect(format!("REST {offset}"), 350);
    }
    let reply = session.ask(command);
    if reply.code != 150 {
        return reply.code;
    }
    let mut stream = data.stream();
    // The server closes the connection when it accepts no more.
    let _ = stream.write_all(&vec![b'n'; length]);
    let _ = stream.shutdown(Shutdown::Write);
    session.reply().code
}

#[test]
fn an_exceeded_quota_fails_with_552_and_keeps_the_file_cm_54_cm_105_cm_106_cm_128_hp_23_hf_03() {
    let fixture = limited(1_000_000);
    fixture.write("old", vec![b'o'; 400_000]);
    let mut session = fixture.session();
    play(&mut session, &[("TYPE I", 200), ("ALLO 600000", 200), ("ALLO 600001", 552)]);
    assert_eq!(session.expect("AVBL", 213).bytes, b"213 600000\r\n");
    for (rest, command) in [
        (None, "STOR new"),
        (None, "APPE old"),
        (Some(399_000), "STOR old"),
        (Some(400_000), "STOR old"),
        // Nobody may resume it after this.
        (None, "STOR old"),
        (None, "STOU"),
    ] {
        assert_eq!(store(&mut session, rest, command, 1_000_001), 552, "{command} {rest:?}");
        assert!(fixture.read("old") == [b'o'; 400_000], "{command} {rest:?}");
        assert_eq!(fixture.published(), ["old"], "{command} {rest:?}");
        // The next command must not meet the record of this one.
        session.ask("DELE new");
        assert_eq!(session.expect("AVBL", 213).bytes, b"213 600000\r\n", "{command} {rest:?}");
    }
    // A replaced or removed file frees its bytes.
    assert_eq!(store(&mut session, None, "STOR old", 1_000_000), 226);
    assert_eq!(store(&mut session, None, "STOR old", 1_000_000), 226);
    assert_eq!(store(&mut session, None, "STOR old", 600_000), 226);
    assert_eq!(store(&mut session, None, "STOR last", 400_000), 226);
    assert_eq!(store(&mut session, None, "STOR more", 0), 552);
    play(&mut session, &[("ALLO 0", 200), ("ALLO 1", 552), ("AVBL", 213), ("MKD d", 552)]);
    play(&mut session, &[("RNFR last", 350), ("RNTO old", 250), ("ALLO 600000", 200)]);
    play(&mut session, &[("DELE old", 250), ("ALLO 1000000", 200), ("ALLO 1000001", 552)]);
    // Another user has no limit there, but all bytes count.
    let mut free = RawSession::login(fixture.server.local_addr(), "free", "p");
    free.expect("TYPE I", 200);
    free.upload("STOR theirs", &[b't'; 1_000_000]);
    assert_eq!(store(&mut session, None, "STOR more", 1), 552);
    assert_eq!(store(&mut free, None, "STOR more", 1), 226);
    session.expect_in_step();
}

#[test]
fn an_exceeded_file_count_fails_with_552_and_shows_in_site_quota_hp_23_cm_86_cm_105_cm_139() {
    let fixture = limited_to(0, 3);
    fixture.write("old", b"old");
    let mut session = fixture.session();
    session.expect("TYPE I", 200);
    let mut free = RawSession::login(fixture.server.local_addr(), "free", "p");
    let told = |session: &mut RawSession| {
        let reply = session.expect("SITE QUOTA", 211).text();
        reply.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let quota = |bytes: u64, files: u64| {
        let bytes = format!(" Bytes: {bytes} of unlimited");
        ["211-Quota:", &bytes, &format!(" Files: {files} of 3"), "211 End"].map(str::to_owned)
    };
    assert_eq!(told(&mut session), quota(3, 1));
    play(&mut session, &[("MKD d", 257)]);
    session.upload("STOR d/new", b"new");
    assert_eq!(told(&mut session), quota(4_096 + 6, 3));
    for command in ["STOR more", "APPE more", "STOU"] {
        assert_eq!(store(&mut session, None, command, 1), 552, "{command}");
    }
    play(&mut session, &[("MKD e", 552)]);
    // No further file.
    for (rest, command) in [(None, "STOR old"), (None, "APPE old"), (Some(1), "STOR old")] {
        assert_eq!(store(&mut session, rest, command, 10), 226, "{command} {rest:?}");
    }
    assert_eq!(told(&mut session), quota(4_096 + 14, 3));
    play(&mut session, &[("RNFR old", 350), ("RNTO d/new", 250)]);
    session.upload("STOR more", b"more");
    play(&mut session, &[("DELE more", 250), ("DELE d/new", 250), ("RMD d", 250)]);
    assert_eq!(told(&mut session), quota(0, 0));
    // Others have another limit or none, and the same files count.
    (0..3).for_each(|number| free.upload(format!("STOR {number}"), b"x"));
    assert_eq!(store(&mut session, None, "STOR more", 1), 552);
    assert_eq!(free.expect("SITE QUOTA", 200).text(), "200 No quota here");
    play(&mut session, &[("SITE quota", 211), ("SITE QUOTA x", 501)]);
    // A drop box must not tell what others have stored.
    let mut drop_box = RawSession::login(fixture.server.local_addr(), "box", "p");
    play(&mut drop_box, &[("SITE QUOTA", 550)]);
    assert!(!drop_box.expect("SITE HELP", 214).text().contains("QUOTA"));
    session.expect_in_step();
}

#[test]
fn a_partial_file_counts_against_the_quota_until_deleted_hp_23_fs_15_cm_90() {
    let fixture = limited(1_000_000);
    let mut session = fixture.session();
    session.expect("TYPE I", 200);
    let mut cut = fixture.session();
    cut.expect("TYPE I", 200);
    let mut data = cut.passive();
    cut.expect("STOR f", 150);
    data.write_all(&[b'c'; 300_000]);
    // A reset discards what was not read.
    wait_until("the bytes are read", || moved(&mut cut) == 300_000);
    data.reset();
    cut.expect_reply(426);
    let kept = session.expect("SIZE f", 213).text();
    let told: u64 = kept.trim_start_matches("213 ").parse().expect("a number");
    let kept = told + 1;
    assert_eq!(fixture.stored(), kept);
    let left = 1_000_000 - kept;
    session.expect(format!("ALLO {left}"), 200);
    session.expect(format!("ALLO {}", left + 1), 552);
    // Resuming costs only the new bytes. If they are too many, the part stays as it was.
    let more = usize::try_from(1_000_000 - told).expect("a length");
    assert_eq!(store(&mut session, None, "APPE f", more + 1), 552);
    // The last byte was to be sent again, so it is not kept any more.
    assert_eq!(session.expect("SIZE f", 213).text(), format!("213 {}", told - 1));
    assert_eq!(fixture.stored(), told);
    session.expect("DELE f", 250);
    assert!(fixture.names().is_empty());
    session.expect("ALLO 1000000", 200);
}

#[test]
fn parallel_uploads_do_not_exceed_a_quota_hp_23() {
    // Eight times 90,010 bytes do not fit, whichever session is first.
    const LIMIT: u64 = 700_000;
    let fixture = limited(LIMIT);
    let codes: Vec<u16> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|number| {
                let fixture = &fixture;
                scope.spawn(move || {
                    let mut session = fixture.session();
                    session.expect("TYPE I", 200);
                    let mut codes = Vec::new();
                    for round in 0..6 {
                        let (rest, verb) =
                            [(None, "STOR"), (None, "APPE"), (Some(10), "STOR")][round % 3];
                        let command = format!("{verb} {number}");
                        codes.push(store(&mut session, rest, &command, 90_000));
                        assert!(fixture.stored_at_once().is_none_or(|stored| stored <= LIMIT));
                    }
                    codes
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("it ends")).collect()
    });
    // The file to resume did not fit before.
    assert!(codes.iter().all(|code| [226, 450, 552, 554].contains(code)), "{codes:?}");
    assert!(codes.contains(&226) && codes.contains(&552), "{codes:?}");
    let left = LIMIT - fixture.stored();
    let mut session = fixture.session();
    let available = session.expect("AVBL", 213).text();
    assert_eq!(available, format!("213 {left}"));
}

#[test]
fn an_unreadable_directory_still_counts_against_the_quota_hp_23_cm_140() {
    // Mode bits do not bind root, nor a server that root runs. So this thread drops its
    // capabilities, and the server's threads inherit that.
    let without_rights = std::thread::spawn(|| {
        let mut sets = capabilities(None).expect("what this thread may do");
        let beyond = CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
        (sets.effective, sets.permitted) =
            (sets.effective.difference(beyond), sets.permitted.difference(beyond));
        sets.inheritable = CapabilitySet::empty();
        set_capabilities(None, sets).expect("less than that");
        let fixture = limited(10_000_000);
        let mut session = fixture.session();
        play(&mut session, &[("TYPE I", 200), ("MKD d", 257)]);
        session.upload("STOR d/f", &vec![b'f'; 6_000_000]);
        // A user with a quota cannot hide files from the count.
        session.expect("SITE CHMOD 300 d", 550);
        // Another user can, and then the next count would miss them.
        let mut free = RawSession::login(fixture.server.local_addr(), "free", "p");
        play(&mut free, &[("TYPE I", 200), ("SITE CHMOD 300 d", 200)]);
        session.upload("STOR g", &[b'g'; 100]);
        let mut data = session.passive();
        session.expect("APPE g", 150);
        data.write_all(&IN_PLACE);
        wait_until("the bytes are read", || moved(&mut session) == IN_PLACE.len() as u64);
        free.expect("DELE g", 250);
        data.reset();
        session.expect_reply(426);
        // The count is uncertain, and is repeated meanwhile.
        for _ in 0..50 {
            session.expect("ALLO 5000000", 552);
            std::thread::sleep(Duration::from_millis(2));
        }
        free.expect("SITE CHMOD 755 d", 200);
    });
    without_rights.join().expect("it holds");
}

#[test]
fn hard_links_fail_with_550_if_denied_hp_08() {
    let others = tempfile::tempdir().expect("a directory");
    let theirs = others.path().join("protected");
    for deny_hardlinks in [false, true] {
        std::fs::write(&theirs, "protected").expect("a file");
        let fixture = Fixture::keeping(LocalConfig::new().deny_hardlinks(deny_hardlinks));
        std::fs::hard_link(&theirs, fixture.path("f")).expect("a link");
        fixture.write("plain", "plain");
        let mut session = fixture.session();
        play(&mut session, &[("TYPE I", 200), ("SIZE f", 213), ("MDTM f", 213)]);
        if deny_hardlinks {
            for (rest, command) in [
                (None, "RETR f"),
                (None, "APPE f"),
                (Some("REST 9"), "STOR f"),
                (Some("REST 4"), "STOR f"),
                (Some("REST 4"), "RETR f"),
            ] {
                session.expect("PASV", 227);
                if let Some(rest) = rest {
                    session.expect(rest, 350);
                }
                session.expect(command, 550);
            }
            session.expect("HASH f", 550);
            session.expect("SITE CHMOD 666 f", 550);
            session.expect("MFMT 20000101000000 f", 550);
            assert_eq!(session.download("RETR plain"), b"plain");
        } else {
            assert_eq!(session.download("RETR f"), b"protected");
            session.expect("HASH f", 213);
            session.upload("APPE f", b"!");
            assert_eq!(std::fs::read(&theirs).expect("it"), b"protected!");
        }
        let before = std::fs::read(&theirs).expect("it");
        // The replacement is another file.
        session.upload("STOR f", b"new");
        assert_eq!(std::fs::read(&theirs).expect("it"), before);
        assert_eq!(session.download("RETR f"), b"new");
        assert_eq!(published_in(fixture.root.path()), ["f", "plain"]);
    }
}

/// A storage whose uploads never get ready. It reports how each ended.
struct NeverReady(MemoryStorage, Sender<StreamEnd>);

struct Unready(Sender<StreamEnd>);

impl Storage for NeverReady {
    forward_storage!(self, self.0; capabilities, confine, stat, list, read);
    forward_storage!(self, self.0; unfinished, kept, forget, space);

    fn write(
        &self,
        _: &VirtualPath,
        _: WriteMode,
        _: Keep<'_>,
    ) -> Result<Box<dyn Upload>, StorageError> {
        Ok(Box::new(Unready(self.1.clone())))
    }
}

impl Write for Unready {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        panic!("it is not ready")
    }

    fn flush(&mut self) -> io::Result<()> {
        panic!("it is not ready")
    }
}

impl Upload for Unready {
    fn prepare(&mut self) -> Result<bool, StorageError> {
        // As long as one step of waiting for a count.
        std::thread::sleep(Duration::from_millis(20));
        Ok(false)
    }

    fn commit(self: Box<Self>) -> Result<(), StorageError> {
        panic!("it is not ready")
    }

    fn abort(self: Box<Self>, end: StreamEnd) {
        self.0.send(end).expect("the test waits");
    }
}

#[test]
fn an_upload_can_be_aborted_while_it_is_prepared() {
    let (sender, ended) = mpsc::channel();
    let storage = Arc::new(NeverReady(MemoryStorage::new(), sender));
    let users = UserTable::new().user("u", "p", Login::new(storage, Rights::FULL));
    let server = Server::builder().config(quick()).authenticator(users);
    let server = server.bind("127.0.0.1:0").expect("a server on loopback");
    let begun = || {
        let mut session = RawSession::login(server.local_addr(), "u", "p");
        let data = session.passive();
        session.expect("STOR f", 150);
        (session, data)
    };
    let ended = || ended.recv_timeout(DEADLINE).expect("it ends");
    let (mut session, _data) = begun();
    session.expect("ABOR", 426);
    session.expect_reply(226);
    session.expect_in_step();
    assert_eq!(ended(), StreamEnd::Cut);
    // A client that disconnects.
    let (session, _data) = begun();
    session.stream().shutdown(Shutdown::Write).expect("it ends");
    assert_eq!(ended(), StreamEnd::Cut);
    let (session, _data) = begun();
    session.reset();
    assert_eq!(ended(), StreamEnd::Cut);
}
