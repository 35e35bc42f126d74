//! Uploads to a disk that is slower than the network: the session answers its client before and
//! between the syncs.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use ftp_server::testing::{Fault, FaultStorage, StorageCall};
use ftp_server::{
    Keep, LocalStorage, MemoryStorage, Rights, Server, Storage, StorageError, StreamEnd, Upload,
    VirtualPath, WriteMode, forward_storage,
};
use ftp_tests::raw::RawSession;
use ftp_tests::wait::wait_until;

fn serve(storage: impl Storage + 'static) -> Server {
    let builder = Server::builder().config(super::quick()).storage(storage);
    builder.user("u", "p", Rights::FULL).bind("127.0.0.1:0").expect("a server")
}

fn session(server: &Server) -> RawSession {
    let mut session = RawSession::login(server.local_addr(), "u", "p");
    session.expect("TYPE I", 200);
    session
}

fn expect_aborted(session: &mut RawSession) {
    session.expect("ABOR", 426);
    session.expect_reply(226);
    session.expect_in_step();
}

#[test]
fn an_upload_that_keeps_old_bytes_is_answered_before_they_are_copied_dc_46_fs_16() {
    let root = tempfile::tempdir().expect("a directory");
    let content = super::data::content(100_000);
    std::fs::write(root.path().join("old"), &content).expect("a file");
    let local = LocalStorage::open(root.path()).expect("a root");
    // It copies for ever.
    let storage = FaultStorage::new(local).from(StorageCall::UploadPrepare, 1, Fault::NotYet);
    let server = serve(storage.clone());
    let begin = |session: &mut RawSession| {
        let data = session.passive();
        session.expect("REST 99999", 350);
        session.expect("STOR old", 150);
        data
    };
    let mut session = session(&server);
    for _ in 0..2 {
        let _data = begin(&mut session);
        assert!(session.expect("STAT", 211).text().contains("Transfer in progress"));
        let asked = storage.count(StorageCall::UploadPrepare);
        wait_until("it copies", || storage.count(StorageCall::UploadPrepare) > asked);
        expect_aborted(&mut session);
    }
    let _data = begin(&mut session);
    let report = server.shutdown(Duration::from_millis(100));
    assert_eq!((report.drained, report.cut, report.stuck), (0, 1, 0));
    session.expect_reply(426);
    session.expect_reply(421);
    assert_eq!(std::fs::read(root.path().join("old")).expect("a file"), content);
}

#[test]
fn data_that_comes_during_the_copy_is_stored_after_it_fs_16() {
    let storage = MemoryStorage::new();
    let content = super::data::content(100_000);
    storage.put("/old", content.clone()).expect("a file");
    let slow = (1..50).fold(FaultStorage::new(storage.clone()), |storage, nth| {
        storage.at(StorageCall::UploadPrepare, nth, Fault::NotYet)
    });
    let server = serve(slow);
    let mut session = session(&server);
    let mut data = session.passive();
    session.expect("REST 50000", 350);
    session.expect("STOR old", 150);
    data.write_all(b"new");
    data.close();
    session.expect_reply(226);
    assert_eq!(storage.get("old").expect("a file"), [&content[..50_000], b"new"].concat());
}

/// A disk whose syncs end when the test says so.
#[derive(Clone, Default)]
struct Disk(Arc<(Mutex<DiskState>, Condvar)>);

#[derive(Default)]
struct DiskState {
    begun: u32,
    may_end: u32,
}

impl Disk {
    fn sync(&self) {
        let (state, changed) = &*self.0;
        let mut state = state.lock().unwrap();
        state.begun += 1;
        let number = state.begun;
        drop(changed.wait_while(state, |state| state.may_end < number).unwrap());
    }

    fn begun(&self) -> u32 {
        self.0.0.lock().unwrap().begun
    }

    fn end_sync(&self, number: u32) {
        self.0.0.lock().unwrap().may_end = number;
        self.0.1.notify_all();
    }
}

/// A storage on this disk that syncs each piece of an upload.
struct OnDisk(MemoryStorage, Disk);

impl Storage for OnDisk {
    forward_storage!(self, self.0; capabilities, confine, stat, list, read);
    forward_storage!(self, self.0; unfinished, kept, forget, space);

    fn write(
        &self,
        path: &VirtualPath,
        mode: WriteMode,
        keep: Keep<'_>,
    ) -> Result<Box<dyn Upload>, StorageError> {
        let upload = self.0.write(path, mode, keep)?;
        Ok(Box::new(Synced { upload, waits: false, disk: self.1.clone() }))
    }
}

struct Synced {
    upload: Box<dyn Upload>,
    /// Whether bytes wait for the disk.
    waits: bool,
    disk: Disk,
}

impl Write for Synced {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.waits = true;
        // Each piece is shorter than what the session has received.
        self.upload.write(&bytes[..bytes.len().div_ceil(4)])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.upload.flush()
    }
}

impl Upload for Synced {
    fn ready(&mut self) -> Result<bool, StorageError> {
        if !self.waits {
            return Ok(true);
        }
        self.disk.sync();
        self.waits = false;
        Ok(false)
    }

    fn commit(self: Box<Self>) -> Result<(), StorageError> {
        self.upload.commit()
    }

    fn abort(self: Box<Self>, end: StreamEnd) {
        self.upload.abort(end);
    }
}

#[test]
fn an_abort_is_heard_after_the_sync_that_runs_dc_45_dc_46() {
    for kind in ["I", "A"] {
        let (storage, disk) = (MemoryStorage::new(), Disk::default());
        let server = serve(OnDisk(storage.clone(), disk.clone()));
        let mut session = session(&server);
        session.expect(format!("TYPE {kind}"), 200);
        let mut data = session.passive();
        session.expect("STOR f", 150);
        data.write_all(&super::data::content(8_000));
        wait_until("the first piece is synced", || disk.begun() == 1);
        disk.end_sync(1);
        wait_until("the second piece is synced", || disk.begun() == 2);
        session.line("ABOR");
        disk.end_sync(2);
        session.expect_reply(426);
        session.expect_reply(226);
        session.expect_in_step();
        assert_eq!((disk.begun(), storage.files().len()), (2, 0), "{kind}");
    }
}
