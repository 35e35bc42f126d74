//! Failing storages and authenticators: what the client sees, and that no other session does.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ftp_server::testing::{Fault, FaultStorage, StorageCall};
use ftp_server::{
    Ask, AuthError, Authenticator, Entries, Entry, Keep, LocalConfig, LocalStorage, Login,
    LoginAttempt, Metadata, PartialPolicy, Rights, Server, ServerConfig, Source, Storage,
    StorageError, StorageErrorKind, SyncPolicy, Upload, VirtualPath, WriteMode, forward_storage,
};
use ftp_tests::raw::{DEADLINE, RawSession};
use ftp_tests::wait::{at_last, wait_until};

use super::Fixture;

/// A local storage, except for files with special names.
struct Faulty(LocalStorage);

fn is(path: &VirtualPath, name: &str) -> bool {
    path.name() == Some(name.as_bytes())
}

impl Storage for Faulty {
    forward_storage!(self, self.0; capabilities, confine, unfinished, kept, forget, remove, rmdir);
    forward_storage!(self, self.0; mkdir, rename, set, space);

    fn stat(&self, path: &VirtualPath, ask: Ask) -> Result<Metadata, StorageError> {
        assert!(!is(path, "panic"), "a storage that panics, as the test wants");
        if is(path, "unseen") {
            return Err(StorageErrorKind::Denied.into());
        }
        let metadata = self.0.stat(path, ask)?;
        Ok(if is(path, "grown") { metadata.size(5) } else { metadata })
    }

    fn list(&self, path: &VirtualPath, ask: Ask) -> Result<Entries, StorageError> {
        let entries = self.0.list(path, ask)?;
        Ok(match path.name() {
            Some(b"unreadable") => {
                Entries::new(entries.take(1).chain([Err(StorageErrorKind::Io.into())]))
            }
            Some(b"endless") => Entries::new(endless(self.0.stat(path, Ask::Facts)?)),
            _ => entries,
        })
    }

    fn read(&self, path: &VirtualPath) -> Result<Box<dyn Source>, StorageError> {
        assert!(!is(path, "panic"), "a storage that panics, as the test wants");
        let source = self.0.read(path)?;
        Ok(match path.name() {
            Some(b"bad-disk") => Box::new(Breaking { source, left: 300_000 }),
            Some(b"growing") => Box::new(Growing { reads: 0 }),
            _ => source,
        })
    }

    fn write(
        &self,
        path: &VirtualPath,
        mode: WriteMode,
        _: Keep<'_>,
    ) -> Result<Box<dyn Upload>, StorageError> {
        assert!(!is(path, "panic"), "a storage that panics, as the test wants");
        self.0.write(path, mode, Keep::Shared)
    }
}

/// An endless directory, with one matching entry far down.
fn endless(metadata: Metadata) -> impl Iterator<Item = Result<Entry, StorageError>> {
    (0_u64..).map(move |number| {
        let name = if number == 200_000 { "needle" } else { "hay" };
        Ok(Entry::new(name, metadata))
    })
}

/// A file whose end cannot be read.
struct Breaking {
    source: Box<dyn Source>,
    left: usize,
}

impl Read for Breaking {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::other("a bad sector"));
        }
        let most = buffer.len().min(self.left);
        let count = self.source.read(&mut buffer[..most])?;
        self.left -= count;
        Ok(count)
    }
}

impl Source for Breaking {
    fn size(&self) -> u64 {
        self.source.size()
    }

    fn seek_to(&mut self, offset: u64) -> Result<(), StorageError> {
        self.source.seek_to(offset)
    }
}

/// A small file that grows as fast as it is read.
struct Growing {
    reads: u32,
}

impl Read for Growing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reads += 1;
        assert!(self.reads < 10_000, "read on and on");
        buffer.fill(b'\n');
        Ok(buffer.len())
    }
}

impl Source for Growing {
    fn size(&self) -> u64 {
        5
    }

    fn seek_to(&mut self, _offset: u64) -> Result<(), StorageError> {
        Ok(())
    }
}

/// Accepts all users, but panics at one name.
struct Open(Arc<dyn Storage>);

impl Authenticator for Open {
    fn login(&self, attempt: &LoginAttempt<'_>) -> Result<Login, AuthError> {
        assert!(attempt.user != b"panic", "an authenticator that panics, as the test wants");
        Ok(Login::new(Arc::clone(&self.0), Rights::FULL))
    }
}

fn faulty() -> Fixture {
    let root = tempfile::tempdir().expect("a directory");
    let storage = Arc::new(Faulty(LocalStorage::open(root.path()).expect("a storage")));
    let builder = Server::builder().config(super::quick());
    let server = builder.authenticator(Open(storage)).bind("127.0.0.1:0").expect("a server");
    Fixture { root, server }
}

#[test]
fn a_read_error_fails_with_451_cm_102_dc_51_dc_55() {
    let fixture = faulty();
    fixture.write("bad-disk", vec![b'x'; 2_000_000]);
    std::fs::create_dir(fixture.path("unreadable")).expect("a directory");
    std::fs::write(fixture.path("unreadable/a"), "").expect("a file");
    let mut session = fixture.session();
    for (kind, line) in [("I", "RETR bad-disk"), ("A", "RETR bad-disk"), ("I", "MLSD unreadable")] {
        session.expect(format!("TYPE {kind}"), 200);
        let data = session.passive();
        session.expect(line, 150);
        // The data connection closes before the reply.
        let came = data.read_to_end().len();
        assert!(came <= 300_000, "{came}");
        session.expect_reply(451);
    }
    session.expect("TYPE A", 200);
    session.expect("REST 400000", 350);
    session.expect("PASV", 227);
    session.expect("RETR bad-disk", 451);
    session.expect_in_step();
}

#[test]
fn a_pattern_search_can_be_aborted_dc_45_fr_26_ls_27() {
    let fixture = faulty();
    std::fs::create_dir(fixture.path("endless")).expect("a directory");
    let mut session = fixture.session();
    for line in ["LIST endless/*.txt", "NLST endless/*.txt"] {
        session.expect("PASV", 227);
        session.line(line);
        // It is not known yet whether the listing has a line, so there is no 150. A reply to STAT
        // would look like that to the listing (FR-26).
        session.send("STAT\r\nABOR\r\n");
        session.expect_reply(426);
        session.expect_reply(226);
        session.expect_reply(211);
    }
    session.line("STAT endless/*.txt");
    session.send("STAT\r\nABOR\r\n");
    for code in [426, 226, 211] {
        session.expect_reply(code);
    }
    // After a first match, the search for more still reads the control connection.
    let mut data = session.passive();
    session.expect("NLST endless/n*", 150);
    assert_eq!(data.read_exact(16), b"endless/needle\r\n");
    session.expect("STAT", 211);
    session.expect("ABOR", 426);
    session.expect_reply(226);
    session.expect_in_step();
}

/// Starts a server over a directory, with the faults of `plan`. Partial uploads are not kept.
fn planned(plan: impl FnOnce(FaultStorage) -> FaultStorage) -> Fixture {
    planned_with(super::quick(), plan)
}

/// As [`planned`], with other settings.
fn planned_with(config: ServerConfig, plan: impl FnOnce(FaultStorage) -> FaultStorage) -> Fixture {
    let root = tempfile::tempdir().expect("a directory");
    let local = LocalStorage::open(root.path()).expect("a storage");
    let discarding = LocalConfig::new().sync(SyncPolicy::None).partial(PartialPolicy::Discard);
    let local = local.configured(discarding).expect("a storage");
    let builder = Server::builder().config(config).storage(plan(FaultStorage::new(local)));
    let server = builder.user("u", "p", Rights::FULL).bind("127.0.0.1:0").expect("a server");
    Fixture { root, server }
}

const REFUSALS: [(StorageErrorKind, u16); 4] = [
    (StorageErrorKind::NoSpace, 452),
    (StorageErrorKind::OverQuota, 552),
    (StorageErrorKind::Io, 451),
    (StorageErrorKind::Denied, 550),
];

#[test]
fn a_failed_upload_keeps_the_existing_file_cm_104_cm_106_dc_55_hf_01_hf_02_hf_03_hf_04() {
    use StorageCall::{UploadCommit, UploadFlush, UploadWrite};
    let content = super::data::content(100_000);
    // CX-08: after the 150, although RFC 959 lists no 452 there.
    for (kind, code) in REFUSALS {
        for call in [UploadWrite, UploadFlush, UploadCommit] {
            let fixture = planned(|storage| storage.at(call, 1, Fault::Fail(kind)));
            fixture.write("old", "old");
            let mut session = fixture.session();
            let mut data = session.passive();
            session.expect("STOR old", 150);
            data.write_all(b"some");
            data.close();
            session.expect_reply(code);
            let left = (fixture.read("old"), fixture.published());
            assert_eq!(left, (b"old".into(), vec!["old".into()]));
            // After a failure only a new and complete upload counts.
            session.upload("STOR old", &content);
            assert_eq!(fixture.read("old"), content, "{call:?}");
        }
    }
}

#[test]
fn a_client_that_keeps_sending_gets_the_reply_before_a_reset_hf_01_cm_106() {
    at_last("a client is faster than the reset", fill_the_buffers_of_a_refused_upload);
}

/// Returns `None` if the client was so slow that the server stopped waiting for it.
fn fill_the_buffers_of_a_refused_upload() -> Option<()> {
    const WAIT: Duration = Duration::from_secs(1);
    let full = Fault::Fail(StorageErrorKind::NoSpace);
    let fixture = planned(|storage| storage.from(StorageCall::UploadWrite, 2, full));
    let mut session = fixture.session();
    let data = session.passive();
    let begun = Instant::now();
    session.expect("STOR f", 150);
    // It fills the buffers of both systems, and looks for a reply when they are full.
    data.stream().set_nonblocking(true).expect("a socket");
    let full = loop {
        if let Err(error) = data.stream().write_all(&[b'x'; 65_536]) {
            break error;
        }
    };
    let is_late = begun.elapsed() >= WAIT;
    session.expect_reply(452);
    session.expect_in_step();
    if is_late && full.kind() != io::ErrorKind::WouldBlock {
        return None;
    }
    assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    Some(())
}

#[test]
fn a_full_disk_after_any_write_fails_with_452_hf_01_cm_106_dc_55() {
    let content = super::data::content(300_000);
    for (command, want) in [("STOR old", &b""[..]), ("APPE old", b"old"), ("STOR new", b"")] {
        let mut failed = 0;
        for nth in 1.. {
            let full = Fault::Fail(StorageErrorKind::NoSpace);
            let fixture = planned(|storage| storage.from(StorageCall::UploadWrite, nth, full));
            fixture.write("old", "old");
            let mut session = fixture.session();
            session.expect("TYPE I", 200);
            let data = session.passive();
            session.expect(command, 150);
            // The server closes the connection when it cannot write any more.
            let sent = data.stream().write_all(&content).is_ok();
            let _ = data.stream().shutdown(Shutdown::Write);
            let reply = session.reply();
            if reply.code == 226 {
                assert!(sent && nth > 1);
                let name = command.rsplit(' ').next().expect("a name");
                assert_eq!(fixture.read(name), [want, &content].concat());
                break;
            }
            failed += 1;
            assert_eq!(reply.code, 452, "{command} {nth}");
            let left = (fixture.read("old"), fixture.published());
            assert_eq!(left, (b"old".into(), vec!["old".into()]));
            session.expect_in_step();
        }
        assert!(failed >= 2, "{command}: {failed}");
    }
}

#[test]
fn short_and_interrupted_reads_and_writes_keep_files_intact_fs_20_hf_10() {
    let fixture = planned(|storage| {
        storage
            .every(StorageCall::SourceRead, 2, Fault::Interrupt)
            .every(StorageCall::UploadWrite, 2, Fault::Interrupt)
            .every(StorageCall::UploadFlush, 2, Fault::Interrupt)
            .from(StorageCall::SourceRead, 1, Fault::Short(5))
            .from(StorageCall::UploadWrite, 1, Fault::Short(3))
    });
    let content = super::data::content(20_000);
    let mut session = fixture.session();
    session.expect("TYPE I", 200);
    session.upload("STOR halting", &content);
    assert_eq!(fixture.read("halting"), content);
    assert_eq!(session.download("RETR halting"), content);
    session.expect("REST 10001", 350);
    assert_eq!(session.download("RETR halting"), &content[10_001..]);
    session.expect("REST 10001", 350);
    session.upload("STOR halting", &content[10_001..]);
    assert_eq!(fixture.read("halting"), content);
    session.expect("TYPE A", 200);
    session.upload("STOR halting", b"one\r\ntwo\r\n");
    assert_eq!(fixture.read("halting"), b"one\ntwo\n");
    session.expect("SIZE halting", 213);
    assert_eq!(session.download("RETR halting"), b"one\r\ntwo\r\n");
    session.upload("APPE halting", b"end");
    assert_eq!(fixture.read("halting"), b"one\ntwo\nend");
}

#[test]
fn each_storage_error_before_the_150_has_its_code_cm_105_hf_03_hf_05() {
    for (kind, code) in [
        (StorageErrorKind::NoSpace, 452),
        (StorageErrorKind::OverQuota, 552),
        (StorageErrorKind::Denied, 550),
        (StorageErrorKind::Busy, 450),
        (StorageErrorKind::Io, 451),
        (StorageErrorKind::Unsupported, 502),
    ] {
        let fault = Fault::Fail(kind);
        let fixture = planned(|storage| storage.from(StorageCall::Write, 1, fault));
        let mut session = fixture.session();
        for line in ["STOR f", "STOU", "APPE f"] {
            session.expect("PASV", 227);
            session.expect(line, code);
        }
        assert_eq!(fixture.names(), [""; 0]);
    }
}

#[test]
fn a_disk_that_does_not_tell_its_free_space_gets_no_upload_cm_105() {
    for (kind, code) in [(StorageErrorKind::Io, 451), (StorageErrorKind::Unsupported, 226)] {
        let config = super::quick_with(|config| config.limits.min_free = 1);
        let fault = Fault::Fail(kind);
        let fixture = planned_with(config, |all| all.from(StorageCall::Space, 1, fault));
        let mut session = fixture.session();
        for line in ["STOR f", "STOU", "APPE f"] {
            match code {
                226 => session.upload(line, b"all"),
                _ => {
                    session.expect("PASV", 227);
                    session.expect(line, code);
                }
            }
        }
        assert_eq!(fixture.names().is_empty(), code == 451);
    }
}

#[test]
fn an_upload_aborted_while_syncing_is_not_published_dc_40_dc_46_st_15() {
    at_last("an abort in time", abort_while_syncing);
    at_last("an end in time", || {
        // A killed client: the end of its data arrives before that of its control connection.
        let (fixture, mut session) = slow_to_sync();
        let mut data = session.passive();
        session.expect("STOR f", 150);
        data.write_all(b"half");
        let begun = Instant::now();
        data.close();
        session.stream().shutdown(Shutdown::Both).expect("it ends");
        let is_late = begun.elapsed() >= SYNC;
        drop(session);
        let report = fixture.server.shutdown(DEADLINE);
        assert_eq!((report.cut, report.stuck), (0, 0));
        let names = super::published_in(fixture.root.path());
        assert!(names.is_empty() || is_late, "{names:?}");
        names.is_empty().then_some(())
    });
}

/// The duration of a sync of [`slow_to_sync`].
const SYNC: Duration = Duration::from_millis(300);

fn slow_to_sync() -> (Fixture, RawSession) {
    let slow = Fault::Delay(SYNC);
    let fixture = planned(|storage| storage.from(StorageCall::UploadFlush, 1, slow));
    let session = fixture.session();
    (fixture, session)
}

/// Returns `None` if the command was sent so late that the sync was over.
fn abort_while_syncing() -> Option<()> {
    let (fixture, mut session) = slow_to_sync();
    let mut data = session.passive();
    session.expect("STOR f", 150);
    data.write_all(b"all");
    let begun = Instant::now();
    data.close();
    session.line("ABOR");
    let is_late = begun.elapsed() >= SYNC;
    let code = session.reply().code;
    if is_late && code == 226 {
        return None;
    }
    assert_eq!(code, 426);
    session.expect_reply(226);
    assert_eq!(fixture.published(), [""; 0]);
    Some(())
}

#[test]
fn a_panic_in_any_storage_call_ends_only_its_session_st_16_hf_12() {
    use StorageCall as Call;
    for (call, line) in [
        (Call::Stat, "SIZE f"),
        (Call::Stat, "CWD d"),
        (Call::List, "MLSD"),
        (Call::NextEntry, "MLSD"),
        (Call::Read, "RETR f"),
        (Call::SourceRead, "RETR f"),
        (Call::SourceSeek, "RETR f"),
        (Call::Write, "STOR f"),
        (Call::UploadPrepare, "STOR f"),
        (Call::UploadWrite, "STOR f"),
        (Call::UploadFlush, "STOR f"),
        (Call::UploadCommit, "STOR f"),
        (Call::Remove, "DELE f"),
        (Call::Rmdir, "RMD d"),
        (Call::Mkdir, "MKD e"),
        (Call::Rename, "RNTO g"),
        (Call::Set, "MFMT 19990929003355 f"),
        (Call::Set, "SITE CHMOD 600 f"),
        (Call::Space, "AVBL"),
    ] {
        let fixture = planned(|storage| storage.at(call, 1, Fault::Panic));
        fixture.write("f", "old");
        std::fs::create_dir(fixture.path("d")).expect("a directory");
        let mut witness = fixture.session();
        let mut session = fixture.session();
        session.expect("TYPE I", 200);
        if call == Call::Rename {
            session.expect("RNFR f", 350);
        }
        let data = match call {
            Call::SourceSeek => {
                let data = session.passive();
                session.expect("REST 1", 350);
                Some(data)
            }
            Call::Rename => None,
            _ => Some(session.passive()),
        };
        session.line(line);
        if let Some(data) = data {
            // It may be closed already.
            let _ = data.stream().write_all(b"new");
            let _ = data.stream().shutdown(Shutdown::Write);
        }
        while session.try_reply().is_ok_and(|reply| reply.code == 150) {}
        session.expect_closed();
        witness.expect_in_step();
        wait_until("nothing is left", || fixture.published() == ["d", "f"]);
        assert_eq!(fixture.read("f"), b"old");
        drop(witness);
        let report = fixture.server.shutdown(DEADLINE);
        assert_eq!((report.cut, report.stuck), (0, 0), "{call:?}");
    }
}

#[test]
fn a_panic_ends_only_its_session_st_16_hf_12() {
    let fixture = faulty();
    let mut witness = fixture.session();
    let address = fixture.server.local_addr();
    for line in ["SIZE panic", "STAT panic", "RETR panic", "STOR panic", "LIST panic"] {
        let mut session = fixture.session();
        session.expect("PASV", 227);
        session.line(line);
        session.expect_closed();
    }
    let mut session = RawSession::greeted(address);
    session.expect("USER panic", 331);
    session.line("PASS x");
    session.expect_closed();
    witness.expect_in_step();
    drop(witness);
    // All of them returned their places.
    let report = fixture.server.shutdown(DEADLINE);
    assert_eq!((report.cut, report.stuck), (0, 0));
}

#[test]
fn replies_to_changes_need_no_second_lookup_cm_123_cm_124_cm_139() {
    let fixture = faulty();
    fixture.write("unseen", "");
    let mut session = fixture.session();
    // As with a directory that can no longer be searched, or a name that now leads elsewhere.
    session.expect("MDTM unseen", 550);
    session.expect("SITE CHMOD 640 unseen", 200);
    let reply = session.expect("MFF UNIX.mode=600;Modify=20000101000000; unseen", 213);
    assert_eq!(reply.bytes, b"213 Modify=20000101000000;UNIX.mode=0600; unseen\r\n");
    let reply = session.expect("MFMT 19990929003355 unseen", 213);
    assert_eq!(reply.bytes, b"213 Modify=19990929003355; unseen\r\n");
}

#[test]
fn size_in_ascii_reads_at_most_1_mib_cm_122() {
    let fixture = faulty();
    for (name, size) in [("grown", (1 << 20) + 1), ("growing", 5), ("most", 1 << 20)] {
        fixture.write(name, vec![b'x'; size]);
    }
    let mut session = fixture.session();
    session.expect("SIZE growing", 550);
    // The opened file counts, not the one that had the name before.
    session.expect("SIZE grown", 550);
    assert_eq!(session.expect("SIZE most", 213).bytes, b"213 1048576\r\n");
}
