//! Kept bytes above storages that keep none.

use std::io::Write as _;

use super::*;
use crate::command::unfinished::tests::check_all;
use crate::forward_storage;
use crate::lock::Lock;
use crate::storage::{
    Capabilities, Change, Fault, FaultStorage, MemoryStorage, Metadata, StorageCall, StorageError,
};
use crate::testing::storage_contract;

/// Files that are stored in one step when an upload is complete, by a storage that knows nothing of
/// unfinished uploads. Only the size and the time tell two contents of a file apart.
#[derive(Clone)]
struct OneStep(MemoryStorage);

impl Storage for OneStep {
    forward_storage!(self, self.0; confine, list, read, remove, rmdir, mkdir, rename, space);

    fn capabilities(&self) -> Capabilities {
        Capabilities::NONE
    }

    fn stat(&self, path: &VirtualPath, ask: Ask) -> StorageResult<Metadata> {
        self.0.stat(path, ask).map(|found| found.identity(0, 0))
    }

    fn unfinished(&self, _: &VirtualPath, _: Option<&[u8]>) -> StorageResult<Option<Unfinished>> {
        Ok(None)
    }

    fn kept(&self, _: &VirtualPath, _: Option<&[u8]>) -> StorageResult<Box<dyn Source>> {
        Err(Kind::NotFound.into())
    }

    fn forget(&self, _: &VirtualPath, _: Option<&[u8]>) -> StorageResult<Option<Unfinished>> {
        Ok(None)
    }

    fn write(
        &self,
        path: &VirtualPath,
        mode: WriteMode,
        keep: Keep<'_>,
    ) -> StorageResult<Box<dyn Upload>> {
        assert_eq!((keep, matches!(mode, WriteMode::Resume(_))), (Keep::Shared, false));
        self.0.write(path, mode, keep)?.abort(StreamEnd::Refused);
        let (files, path) = (self.0.clone(), path.clone());
        Ok(<dyn Upload>::in_memory(Vec::new(), move |bytes| {
            let mut upload = files.write(&path, mode, Keep::Shared)?;
            upload.write_all(&bytes)?;
            upload.commit()
        }))
    }
}

fn one_step() -> Partials {
    Partials::new(OneStep(MemoryStorage::new()))
}

fn begin(storage: &Partials, name: &str, mode: WriteMode) -> Box<dyn Upload> {
    storage.write(&name.into(), mode, Keep::Bytes(b"ann")).unwrap()
}

fn cut(storage: &Partials, name: &str, bytes: &[u8]) {
    begin(storage, name, WriteMode::Replace).write_all(bytes).unwrap();
}

/// Returns the number of bytes that are kept for the user `ann`.
fn kept(storage: &Partials, name: &str) -> Option<u64> {
    storage.unfinished(&name.into(), Some(b"ann")).unwrap().map(|found| found.kept)
}

#[test]
fn every_sequence_of_commands_ends_as_promised_above_other_storages_fs_15() {
    let length = if ftp_tests::scale::is_full() { 4 } else { 3 };
    check_all(length, 1, one_step);
    check_all(length, 1, || Partials::new(MemoryStorage::new()));
}

#[test]
fn partials_keep_the_promises_of_a_storage() {
    storage_contract(1..=200, || (one_step(), ())).unwrap();
    storage_contract(1..=200, || (Partials::new(MemoryStorage::new()), ())).unwrap();
}

#[test]
fn the_oldest_bytes_make_room_and_of_a_longer_upload_the_beginning_is_kept_fs_15() {
    let storage = one_step().max_bytes(10);
    let all_kept = || ["/a", "/b", "/c"].map(|name| kept(&storage, name));
    cut(&storage, "/a", b"01234");
    cut(&storage, "/b", b"01234");
    assert_eq!(all_kept(), [Some(5), Some(5), None]);
    // The record stays: without it, the client would take the old file for its own.
    cut(&storage, "/c", b"0");
    assert_eq!(all_kept(), [Some(0), Some(5), Some(1)]);
    let mut upload = begin(&storage, "/c", WriteMode::Create);
    for bytes in [&b"01234567"[..], b"89xy", b"z"] {
        upload.write_all(bytes).unwrap();
    }
    upload.abort(StreamEnd::Cut);
    assert_eq!(all_kept(), [Some(0), Some(0), Some(10)]);
    let mut upload = begin(&storage, "/c", WriteMode::Resume(9));
    upload.write_all(b"9xyz").unwrap();
    // There is no room besides a running upload.
    cut(&storage, "/a", b"01234");
    upload.commit().unwrap();
    assert_eq!(all_kept(), [Some(0), Some(0), None]);
    assert_eq!(storage.stat(&"/c".into(), Ask::Facts).unwrap().size, 13);
    assert_eq!(storage.room.free(), 10);
}

#[test]
fn changes_behind_the_back_of_the_layer_end_a_record_fs_15() {
    let files = MemoryStorage::new();
    let storage = Partials::new(OneStep(files.clone()));
    for change in ["put", "remove", "put"] {
        cut(&storage, "/a", b"01234");
        assert_eq!(kept(&storage, "/a"), Some(5));
        match change {
            "put" => files.put("/a", "another").unwrap(),
            _ => files.remove(&"/a".into()).unwrap(),
        }
        assert_eq!(kept(&storage, "/a"), None);
        let resumed = storage.write(&"/a".into(), WriteMode::Resume(2), Keep::Bytes(b"ann"));
        assert_eq!(resumed.err().map(|error| error.kind), Some(Kind::BadRestart));
    }
}

#[test]
fn a_resumed_upload_replaces_no_file_that_was_stored_since_fs_15() {
    let storage = one_step();
    let store = |bytes: &[u8]| {
        let mut upload = begin(&storage, "/a", WriteMode::Replace);
        upload.write_all(bytes).unwrap();
        upload.commit().unwrap();
    };
    // Neither the size nor the time shows that the file is another one.
    for old in [None, Some(b"old")] {
        if let Some(old) = old {
            store(old);
        }
        cut(&storage, "/a", b"01234");
        let mut resumed = begin(&storage, "/a", WriteMode::Resume(4));
        store(b"new");
        resumed.write_all(b"4").unwrap();
        assert_eq!(resumed.commit().unwrap_err().kind, Kind::Exists);
        assert_eq!(kept(&storage, "/a"), None);
        let mut content = String::new();
        io::Read::read_to_string(&mut storage.read(&"/a".into()).unwrap(), &mut content).unwrap();
        assert_eq!(content, "new");
        storage.remove(&"/a".into()).unwrap();
    }
}

#[test]
fn kept_bytes_are_stored_again_in_steps_whatever_the_storage_does_fs_15() {
    let files = MemoryStorage::new();
    let faulty = FaultStorage::new(files.clone())
        .at(StorageCall::UploadPrepare, 1, Fault::NotYet)
        .every(StorageCall::UploadReady, 2, Fault::NotYet)
        .every(StorageCall::UploadWrite, 3, Fault::Interrupt)
        .from(StorageCall::UploadWrite, 2, Fault::Short(2));
    let storage = Partials::new(faulty.clone());
    for prepares in [true, false] {
        cut(&storage, "/a", b"0123456789");
        let mut upload = begin(&storage, "/a", WriteMode::Resume(9));
        while prepares && !upload.prepare().unwrap() {}
        upload.write_all(b"x").unwrap();
        upload.flush().unwrap();
        while !upload.prepare_commit().unwrap() {}
        upload.commit().unwrap();
        assert_eq!(files.get("/a").unwrap(), b"012345678x");
    }
    // After an error of the storage, the bytes of the first attempt stay.
    let full =
        FaultStorage::new(files).from(StorageCall::UploadWrite, 2, Fault::Fail(Kind::OverQuota));
    let storage = Partials::new(full);
    cut(&storage, "/b", b"0123456789");
    let mut upload = begin(&storage, "/b", WriteMode::Resume(9));
    assert_eq!(StorageError::from(upload.write_all(b"x").unwrap_err()).kind, Kind::OverQuota);
    upload.abort(StreamEnd::Failed);
    assert_eq!(kept(&storage, "/b"), Some(9));
}

#[test]
fn a_record_follows_its_upload_into_a_renamed_directory_fs_15() {
    for storage in [&one_step() as &dyn Storage, &MemoryStorage::new()] {
        let kept = |name: &str| {
            storage.unfinished(&name.into(), Some(b"ann")).unwrap().map(|found| found.kept)
        };
        storage.mkdir(&"/d".into()).unwrap();
        let mut upload =
            storage.write(&"/d/a".into(), WriteMode::Create, Keep::Bytes(b"ann")).unwrap();
        upload.write_all(b"01234").unwrap();
        assert_eq!(storage.rmdir(&"/d".into()).unwrap_err().kind, Kind::Busy);
        storage.rename(&"/d".into(), &"/e".into(), false).unwrap();
        upload.abort(StreamEnd::Cut);
        assert_eq!((kept("/d/a"), kept("/e/a")), (None, Some(5)));
        storage.rmdir(&"/e".into()).unwrap();
        assert_eq!(kept("/e/a"), None);
    }
}

/// Files whose storage answers late: something else happens between a change and its answer.
#[derive(Clone)]
struct Late {
    files: OneStep,
    /// What happens before the next rename.
    before: Arc<Lock<Option<Meanwhile>>>,
    meanwhile: Arc<Lock<Option<Meanwhile>>>,
}

type Meanwhile = Box<dyn FnOnce() + Send>;

impl Late {
    fn new(files: &MemoryStorage) -> Self {
        let (before, meanwhile) = Default::default();
        Self { files: OneStep(files.clone()), before, meanwhile }
    }

    fn at_next_answer(&self, then: impl FnOnce() + Send + 'static) {
        *self.meanwhile.lock() = Some(Box::new(then));
    }

    fn answer<T>(&self, answer: T) -> T {
        let then = self.meanwhile.lock().take();
        if let Some(then) = then {
            then();
        }
        answer
    }
}

impl Storage for Late {
    forward_storage!(self, self.files; capabilities, confine, list, read, unfinished, kept, forget);
    forward_storage!(self, self.files; mkdir, space);

    fn stat(&self, path: &VirtualPath, ask: Ask) -> StorageResult<Metadata> {
        self.answer(self.files.stat(path, ask))
    }

    fn write(
        &self,
        path: &VirtualPath,
        mode: WriteMode,
        keep: Keep<'_>,
    ) -> StorageResult<Box<dyn Upload>> {
        let upload = Some(self.files.write(path, mode, keep)?);
        Ok(Box::new(LateUpload { late: self.clone(), upload }))
    }

    fn remove(&self, path: &VirtualPath) -> StorageResult<()> {
        self.answer(self.files.remove(path))
    }

    fn rmdir(&self, path: &VirtualPath) -> StorageResult<()> {
        self.answer(self.files.rmdir(path))
    }

    fn rename(&self, from: &VirtualPath, to: &VirtualPath, replace: bool) -> StorageResult<()> {
        let before = self.before.lock().take();
        if let Some(before) = before {
            before();
        }
        self.answer(self.files.rename(from, to, replace))
    }
}

/// An upload that is visible after the first of two calls of `prepare_commit`.
struct LateUpload {
    late: Late,
    /// `None` once it is visible.
    upload: Option<Box<dyn Upload>>,
}

impl io::Write for LateUpload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.upload.as_mut().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Upload for LateUpload {
    fn prepare_commit(&mut self) -> StorageResult<bool> {
        let Some(upload) = self.upload.take() else { return Ok(true) };
        self.late.answer(upload.commit())?;
        Ok(false)
    }

    fn commit(mut self: Box<Self>) -> StorageResult<()> {
        self.prepare_commit().map(drop)
    }

    fn abort(self: Box<Self>, _: StreamEnd) {}
}

fn bobs_upload(storage: &Partials) -> Box<dyn Upload> {
    let mut upload = storage.write(&"/a".into(), WriteMode::Replace, Keep::Bytes(b"bob")).unwrap();
    upload.write_all(b"bobs").unwrap();
    upload
}

#[test]
fn a_change_ends_no_record_of_an_upload_that_began_when_it_was_visible_fs_15() {
    for change in ["store", "remove", "rename from", "rename to"] {
        for is_cut_before_the_answer in [true, false] {
            let files = MemoryStorage::new();
            files.put("/a", "old").unwrap();
            files.put("/b", "other").unwrap();
            let late = Late::new(&files);
            let storage = Partials::new(late.clone());
            let mut bob = Some(bobs_upload(&storage));
            let running = Arc::new(Lock::new(None));
            let (anns, of_ann) = (storage.clone(), Arc::clone(&running));
            late.at_next_answer(move || {
                let mut upload = begin(&anns, "/a", WriteMode::Replace);
                upload.write_all(b"0123456789").unwrap();
                *of_ann.lock() = Some(upload).filter(|_| !is_cut_before_the_answer);
            });
            match change {
                "store" => bob.take().unwrap().commit().unwrap(),
                "remove" => storage.remove(&"/a".into()).unwrap(),
                "rename from" => storage.rename(&"/a".into(), &"/c".into(), false).unwrap(),
                _ => storage.rename(&"/b".into(), &"/a".into(), true).unwrap(),
            }
            drop((running.lock().take(), bob));
            assert_eq!(kept(&storage, "/a"), Some(10), "{change} {is_cut_before_the_answer}");
            let left = storage.unfinished(&"/a".into(), Some(b"bob")).unwrap().map(|it| it.kept);
            // The file that was renamed to the name is not the one that he was going to replace.
            assert_eq!(left, (change == "rename to").then_some(0), "{change}");
        }
    }
}

#[test]
fn a_change_ends_resumed_uploads_and_prepared_changes_count_from_their_preparation_fs_15() {
    let files = MemoryStorage::new();
    let date = |files: &MemoryStorage| {
        files.set(&"/a".into(), Change::Modified(1)).unwrap();
    };
    files.put("/a", "olds").unwrap();
    date(&files);
    let late = Late::new(&files);
    let storage = Partials::new(late.clone());
    // The kept bytes are older than the file, though they are resumed after it is visible.
    cut(&storage, "/a", b"0123456789");
    let bob = bobs_upload(&storage);
    let resumed = Arc::new(Lock::new(None));
    let (anns, of_ann, same) = (storage.clone(), Arc::clone(&resumed), files.clone());
    late.at_next_answer(move || {
        date(&same);
        *of_ann.lock() = Some(begin(&anns, "/a", WriteMode::Resume(10)));
    });
    bob.commit().unwrap();
    let resumed = resumed.lock().take().unwrap();
    assert_eq!(resumed.commit().unwrap_err().kind, Kind::Exists);
    assert_eq!(kept(&storage, "/a"), Some(0));
    // A storage can publish when it prepares, even before it says that it is prepared.
    let mut bob = bobs_upload(&storage);
    assert!(!bob.prepare_commit().unwrap());
    cut(&storage, "/a", b"0123456789");
    assert!(bob.prepare_commit().unwrap());
    bob.commit().unwrap();
    assert_eq!(kept(&storage, "/a"), Some(10));
}

#[test]
fn a_change_of_a_directory_concerns_no_upload_that_began_when_it_was_visible_fs_15() {
    let late = Late::new(&MemoryStorage::new());
    let storage = Partials::new(late.clone());
    let all_kept =
        |names: &[&str]| -> Vec<_> { names.iter().map(|name| kept(&storage, name)).collect() };
    storage.mkdir(&"/d".into()).unwrap();
    cut(&storage, "/d/cut", b"old");
    cut(&storage, "/d/moved", b"old");
    let mut older = begin(&storage, "/d/running", WriteMode::Replace);
    older.write_all(b"old").unwrap();
    let newer = Arc::new(Lock::new(None));
    let (anns, of_ann) = (storage.clone(), Arc::clone(&newer));
    late.at_next_answer(move || {
        cut(&anns, "/e/cut", b"newer");
        cut(&anns, "/e/running", b"newer");
        anns.mkdir(&"/d".into()).unwrap();
        cut(&anns, "/d/later", b"newer");
        let mut upload = begin(&anns, "/d/new", WriteMode::Replace);
        upload.write_all(b"newer").unwrap();
        *of_ann.lock() = Some(upload);
    });
    storage.rename(&"/d".into(), &"/e".into(), false).unwrap();
    drop((older, newer.lock().take()));
    let moved = ["/e/cut", "/e/running", "/e/moved", "/e/later", "/e/new"];
    assert_eq!(all_kept(&moved), [Some(5), Some(5), Some(3), None, None]);
    let old = ["/d/cut", "/d/running", "/d/moved", "/d/later", "/d/new"];
    assert_eq!(all_kept(&old), [None, None, None, Some(5), Some(5)]);
    let anns = storage.clone();
    late.at_next_answer(move || {
        anns.mkdir(&"/d".into()).unwrap();
        cut(&anns, "/d/new", b"newest");
    });
    storage.rmdir(&"/d".into()).unwrap();
    assert_eq!(all_kept(&old), [None, None, None, None, Some(6)]);
}

#[test]
fn records_from_before_a_late_rename_of_their_directory_move_with_it_fs_15() {
    for is_made_again in [false, true] {
        let files = MemoryStorage::new();
        let late = Late::new(&files);
        let storage = Partials::new(late.clone());
        storage.mkdir(&"/d".into()).unwrap();
        files.put("/d/old", "old").unwrap();
        cut(&storage, "/d/first", b"0");
        let running = Arc::new(Lock::new(None));
        let names = ["first", "new", "old", "running", "later"];
        let all_kept = move |storage: &Partials, directory: &str| {
            names.map(|name| kept(storage, &format!("{directory}/{name}")))
        };
        let (anns, of_ann, answers) = (storage.clone(), Arc::clone(&running), late.clone());
        // The rename was called, and is not made yet.
        *late.before.lock() = Some(Box::new(move || {
            cut(&anns, "/d/new", b"01");
            cut(&anns, "/d/old", b"012");
            let mut upload = begin(&anns, "/d/running", WriteMode::Create);
            upload.write_all(b"0123").unwrap();
            *of_ann.lock() = Some(upload);
            answers.at_next_answer(move || {
                if is_made_again {
                    anns.mkdir(&"/d".into()).unwrap();
                    assert_eq!(all_kept(&anns, "/d"), [None; 5]);
                    cut(&anns, "/d/later", b"01234");
                }
            });
        }));
        storage.rename(&"/d".into(), &"/e".into(), false).unwrap();
        drop(running.lock().take());
        assert_eq!(all_kept(&storage, "/e"), [Some(1), Some(2), Some(3), Some(4), None]);
        let later = is_made_again.then_some(5);
        assert_eq!(all_kept(&storage, "/d"), [None, None, None, None, later]);
        // If another program moves a directory, or the answer is lost, the records stay.
        files.rename(&"/e".into(), &"/f".into(), false).unwrap();
        assert_eq!(kept(&storage, "/e/new"), Some(2));
        storage.mkdir(&"/e".into()).unwrap();
        assert_eq!(all_kept(&storage, "/e"), [None; 5]);
    }
}

#[test]
fn a_directory_that_takes_the_name_of_another_one_keeps_its_own_records_fs_15() {
    let files = MemoryStorage::new();
    let late = Late::new(&files);
    let storage = Partials::new(late.clone());
    let all_kept = |directory: &str| {
        ["a", "b", "c"].map(|name| kept(&storage, &format!("{directory}/{name}")))
    };
    for directory in ["/d", "/z"] {
        storage.mkdir(&directory.into()).unwrap();
    }
    for (name, bytes) in [("/d/a", "0"), ("/d/b", "01"), ("/z/b", "012"), ("/z/c", "0123")] {
        cut(&storage, name, bytes.as_bytes());
    }
    // The first rename is made, and not answered yet.
    let anns = storage.clone();
    late.at_next_answer(move || anns.rename(&"/z".into(), &"/d".into(), false).unwrap());
    storage.rename(&"/d".into(), &"/e".into(), false).unwrap();
    assert_eq!(all_kept("/e"), [Some(1), Some(2), None]);
    assert_eq!(all_kept("/d"), [None, Some(3), Some(4)]);
    // Another program removes a directory.
    files.rmdir(&"/d".into()).unwrap();
    storage.rename(&"/e".into(), &"/d".into(), false).unwrap();
    assert_eq!(all_kept("/d"), [Some(1), Some(2), None]);
}

#[test]
fn a_resumed_upload_asks_the_storage_directly_before_it_is_published_fs_15() {
    let files = FaultStorage::new(OneStep(MemoryStorage::new()));
    let storage = Partials::new(files.clone());
    cut(&storage, "/a", b"01234");
    let users = [&b"ann"[..], b"bob"];
    drop(bobs_upload(&storage));
    // The session makes these calls in its own thread, however long the storage takes.
    let [ann, bob] = users.map(|user| {
        let mut upload =
            storage.write(&"/a".into(), WriteMode::Resume(4), Keep::Bytes(user)).unwrap();
        let asked = files.count(StorageCall::Stat);
        upload.write_all(user).unwrap();
        while !upload.prepare_commit().unwrap() {}
        assert_eq!(files.count(StorageCall::Stat), asked);
        upload
    });
    ann.commit().unwrap();
    assert_eq!(bob.commit().unwrap_err().kind, Kind::Exists);
    assert_eq!(storage.stat(&"/a".into(), Ask::Facts).unwrap().size, 7);
}

#[test]
fn a_file_that_is_stored_during_the_check_is_not_replaced_fs_15() {
    let files = MemoryStorage::new();
    files.put("/a", "old").unwrap();
    let late = Late::new(&files);
    let storage = Partials::new(late.clone());
    cut(&storage, "/a", b"01234");
    let resumed = begin(&storage, "/a", WriteMode::Resume(5));
    storage.remove(&"/a".into()).unwrap();
    let bob = bobs_upload(&storage);
    late.at_next_answer(|| bob.commit().unwrap());
    assert_eq!(resumed.commit().unwrap_err().kind, Kind::Exists);
    assert_eq!(files.get("/a").unwrap(), b"bobs");
}

#[test]
fn a_removal_during_an_upload_lets_nobody_join_a_later_file_to_its_end_here_fs_15() {
    for (is_renamed, is_there) in [(false, false), (false, true), (true, false), (true, true)] {
        let files = MemoryStorage::new();
        files.put("/f", "old").unwrap();
        let storage = Partials::new(files.clone());
        let file = &"/f".into();
        let mut upload = storage.write(file, WriteMode::Replace, Keep::Bytes(b"ann")).unwrap();
        upload.write_all(b"0123456789").unwrap();
        match is_renamed {
            true => storage.rename(file, &"/g".into(), false).unwrap(),
            false => storage.remove(file).unwrap(),
        }
        // The session asks the storage to forget what belongs to the name.
        assert!(storage.forget(file, Some(b"ann")).unwrap().is_some_and(|it| it.is_running));
        if is_there {
            files.put("/f", "of another program").unwrap();
        }
        upload.abort(StreamEnd::Cut);
        let found = storage.unfinished(file, Some(b"ann")).unwrap();
        assert_eq!(found.map(|found| found.kept), is_there.then_some(0), "{is_renamed}");
    }
}
