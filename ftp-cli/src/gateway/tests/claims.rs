//! Servers that confirm what they have not done, or have done otherwise.

use super::*;

/// What a server does in place of a rename to an older file, and confirms.
type Odd = fn(&MemoryStorage, &VirtualPath, &VirtualPath) -> StorageResult<()>;

const BESIDE: Odd = |files, from, _| files.rename(from, &"/a (1)".into(), true);
const NOTHING: Odd = |_, _, _| Ok(());
const TOUCHES: Odd = |files, _, to| files.set(to, ftp_server::Change::Modified(5)).map(drop);

#[test]
fn a_server_that_does_not_replace_by_a_rename_is_found_out() {
    for (odd, older, want) in [
        (BESIDE, "older file", Kind::Io),
        (BESIDE, "old", Kind::Unknown),
        (NOTHING, "older file", Kind::Io),
        (NOTHING, "old", Kind::Unknown),
        (NOTHING, "new", Kind::Unknown),
        (TOUCHES, "old", Kind::Unknown),
    ] {
        for is_recent in [false, true] {
            let files = MemoryStorage::new();
            files.put("/a", older).unwrap();
            if !is_recent {
                files.set(&"/a".into(), ftp_server::Change::Modified(1_000_000)).unwrap();
            }
            let (_other, door) = door_over(OddRename(files.clone(), odd), &Recorder::new());
            let storage = door.storage("", None).unwrap();
            store(&*storage, "/new").unwrap();
            assert_eq!(store(&*storage, "/a").unwrap_err().kind, want, "{older}");
            let renamed = storage.rename(&"/new".into(), &"/a".into(), true);
            assert_eq!(renamed.unwrap_err().kind, want, "{older}");
            assert_eq!(files.get("/a").as_deref(), Some(older.as_bytes()));
        }
    }
}

/// The one that ends first makes the other one's new name that of an older file.
#[test]
fn an_upload_looks_at_its_name_in_the_turn_of_the_rename() {
    let files = MemoryStorage::new();
    let (_other, door) = door_over(OddRename(files.clone(), BESIDE), &Recorder::new());
    let storage = door.storage("", None).unwrap();
    let write = |bytes: &[u8]| {
        let mut upload = storage.write(&"/a".into(), WriteMode::Replace, Keep::Shared).unwrap();
        upload.write_all(bytes).unwrap();
        upload
    };
    let (one, other) = (write(b"one"), write(b"the other"));
    one.commit().unwrap();
    assert_eq!(other.commit().map_err(|error| error.kind), Err(Kind::Io));
    assert_eq!(files.get("/a").as_deref(), Some(&b"one"[..]));
}

#[test]
fn a_removal_or_a_time_that_is_only_claimed_is_not_confirmed() {
    let files = MemoryStorage::new();
    files.put("/a", "old").unwrap();
    files.mkdir(&"/d".into()).unwrap();
    let (_other, door) = door_over(Claiming(files.clone()), &Recorder::new());
    let storage = door.storage("", None).unwrap();
    let kind = |error: StorageError| error.kind;
    assert_eq!(storage.remove(&"/a".into()).map_err(kind), Err(Kind::Io));
    assert_eq!(storage.rmdir(&"/d".into()).map_err(kind), Err(Kind::Io));
    let set = |time| storage.set(&"/a".into(), ftp_server::Change::Modified(time)).map_err(kind);
    assert_eq!(set(1_000_000).map(drop), Err(Kind::Io));
    let now = files.stat(&"/a".into(), Ask::Facts).unwrap().modified;
    // A disk may round it.
    assert_eq!(set(now + 1).map(|found| found.modified), Ok(now));
    // Another client stores a file of this name.
    files.put("/newer", "another").unwrap();
    storage.remove(&"/newer".into()).unwrap();
    assert_eq!(files.get("/newer").as_deref(), Some(&b"another one"[..]));
}

/// The times of two questions can differ.
#[test]
fn a_removal_that_is_only_claimed_is_judged_by_one_question() {
    let address = old_server_with("UTF8", |data, control| {
        send(data, control, b"-rw-r--r-- 1 u u 5 Jan 1 2026 a\r\n");
    });
    let front = Front::of(address, ("u", "p"), "");
    let said = front.client().delete("/a").unwrap_err();
    assert!(said.to_string().contains("451"), "{said}");
}

/// A storage that does nothing and confirms it.
struct Claiming(MemoryStorage);

impl Storage for Claiming {
    ftp_server::forward_storage!(self, self.0; capabilities, confine, stat, list, read, write, unfinished);
    ftp_server::forward_storage!(self, self.0; kept, forget, mkdir, rename, space);

    fn remove(&self, path: &VirtualPath) -> StorageResult<()> {
        if path == &"/newer".into() { self.0.put("/newer", "another one") } else { Ok(()) }
    }

    fn rmdir(&self, _: &VirtualPath) -> StorageResult<()> {
        Ok(())
    }

    fn set(
        &self,
        path: &VirtualPath,
        change: ftp_server::Change,
    ) -> StorageResult<ftp_server::Metadata> {
        let found = self.0.stat(path, Ask::Facts)?;
        let ftp_server::Change::Modified(time) = change else { return Ok(found) };
        Ok(found.modified(time))
    }
}

/// There can be several hosts at an address, disks below a directory, and rules for directories.
#[test]
fn one_rename_or_upload_in_place_proves_nothing_of_the_next() {
    let changed = Arc::new(AtomicBool::new(false));
    for in_place in [false, true] {
        changed.store(false, Ordering::SeqCst);
        let files = MemoryStorage::new();
        files.put("/a", "older file").unwrap();
        files.put("/d/a", "older file").unwrap();
        let other = Changing(files.clone(), Arc::clone(&changed));
        let (_other, mut door) = door_over(other, &Recorder::new());
        Arc::get_mut(&mut door.target).unwrap().in_place = in_place;
        let storage = door.storage("", None).unwrap();
        let rename = |from: &str, to: &str| storage.rename(&from.into(), &to.into(), true);
        for name in ["/a", "/b"] {
            store(&*storage, name).unwrap();
        }
        rename("/b", "/c").unwrap();
        rename("/c", "/a").unwrap();
        changed.store(true, Ordering::SeqCst);
        let stored = store(&*storage, "/d/a").map_err(|error| error.kind);
        assert_eq!(stored, Err(if in_place { Kind::Unknown } else { Kind::Io }));
        for (from, to) in [("/a", "/d/a"), ("/a", "/b"), ("/a", "/d/b"), ("/d", "/e")] {
            assert_eq!(rename(from, to).map_err(|error| error.kind), Err(Kind::Io), "{from} {to}");
        }
        assert_eq!(files.get("/d/a").as_deref(), Some(&b"older file"[..]));
    }
}

/// A storage that once told so, does nothing in place of a rename, and stores beside older files.
struct Changing(MemoryStorage, Arc<AtomicBool>);

impl Storage for Changing {
    ftp_server::forward_storage!(self, self.0; capabilities, confine, stat, list, read, unfinished, kept);
    ftp_server::forward_storage!(self, self.0; forget, remove, rmdir, mkdir, set, space);

    fn rename(&self, from: &VirtualPath, to: &VirtualPath, replace: bool) -> StorageResult<()> {
        match self.1.load(Ordering::SeqCst) {
            true => Ok(()),
            false => self.0.rename(from, to, replace),
        }
    }

    fn write(
        &self,
        path: &VirtualPath,
        mode: WriteMode,
        keep: Keep<'_>,
    ) -> StorageResult<Box<dyn Upload>> {
        match self.1.load(Ordering::SeqCst) {
            true => StoresBeside(self.0.clone()).write(path, mode, keep),
            false => self.0.write(path, mode, keep),
        }
    }
}

/// Stores three bytes.
fn store(storage: &dyn Storage, name: &str) -> StorageResult<()> {
    let mut upload = storage.write(&name.into(), WriteMode::Replace, Keep::Shared)?;
    upload.write_all(b"new")?;
    upload.commit()
}

struct OddRename(MemoryStorage, Odd);

impl Storage for OddRename {
    ftp_server::forward_storage!(self, self.0; capabilities, confine, stat, list, read, write, unfinished);
    ftp_server::forward_storage!(self, self.0; kept, forget, remove, rmdir, mkdir, set, space);

    fn rename(&self, from: &VirtualPath, to: &VirtualPath, replace: bool) -> StorageResult<()> {
        match self.0.stat(to, Ask::Facts) {
            Ok(_) => self.1(&self.0, from, to),
            Err(_) => self.0.rename(from, to, replace),
        }
    }
}

/// Times have whole seconds, so that of a file which was replaced at once proves nothing.
#[test]
fn a_file_of_equal_size_is_replaced_if_its_time_or_its_bytes_prove_it() {
    for in_place in [false, true] {
        let files = MemoryStorage::new();
        files.put("/a", "old").unwrap();
        files.put("/b", "old").unwrap();
        let (_other, mut door) = door_over(files.clone(), &Recorder::new());
        Arc::get_mut(&mut door.target).unwrap().in_place = in_place;
        files.set(&"/b".into(), ftp_server::Change::Modified(1_000_000)).unwrap();
        let storage = door.storage("", None).unwrap();
        for name in ["/b", "/b", "/a"] {
            store(&*storage, name).unwrap();
            assert_eq!(files.get(name).as_deref(), Some(&b"new"[..]));
        }
    }
}

/// Afterwards, nothing would prove it.
#[test]
fn a_file_that_cannot_be_read_does_not_replace_one_of_equal_size_and_time() {
    let files = MemoryStorage::new();
    files.put("/a", "old").unwrap();
    files.put("/b", "new").unwrap();
    for path in ["/a", "/b"] {
        files.set(&path.into(), ftp_server::Change::Modified(1_000_000)).unwrap();
    }
    let other = FaultStorage::new(files.clone());
    let other = other.from(StorageCall::Read, 1, Fault::Fail(Kind::Denied));
    let (_other, door) = door_over(other, &Recorder::new());
    let renamed = door.storage("", None).unwrap().rename(&"/b".into(), &"/a".into(), true);
    assert_eq!(renamed.unwrap_err().kind, Kind::Refused);
    assert_eq!(files.get("/a").as_deref(), Some(&b"old"[..]));
}

/// As Pure-FTPd does with `AutoRename`.
#[test]
fn a_server_that_stores_beside_the_old_file_is_found_out_in_place() {
    for (older, hashes) in [("old", false), ("old", true), ("older file", false)] {
        let files = MemoryStorage::new();
        files.put("/a", older).unwrap();
        let (_other, mut door) = door_over(StoresBeside(files.clone()), &Recorder::new());
        let target = Arc::get_mut(&mut door.target).unwrap();
        (target.in_place, target.hashes) = (true, hashes);
        let storage = door.storage("", None).unwrap();
        assert_eq!(store(&*storage, "/a").unwrap_err().kind, Kind::Unknown, "{older}");
        assert_eq!(files.get("/a").as_deref(), Some(older.as_bytes()));
        assert_eq!(files.get("/a (1)").as_deref(), Some(&b"new"[..]));
        // Two that are equal cannot be told from each other, and need not be.
        files.put("/a", "new").unwrap();
        store(&*storage, "/a").unwrap();
    }
}

/// A marker is sent again. Nothing tells the time of the file, and nobody may read it.
#[test]
fn an_empty_file_in_place_of_an_empty_one_needs_no_proof() {
    let files = MemoryStorage::new();
    files.put("/a", "").unwrap();
    let (_other, mut door) = door_over(DropBox(files), &Recorder::new());
    Arc::get_mut(&mut door.target).unwrap().in_place = true;
    let storage = door.storage("", None).unwrap();
    let upload = |bytes: &[u8]| {
        let mut upload = storage.write(&"/a".into(), WriteMode::Replace, Keep::Shared)?;
        upload.write_all(bytes)?;
        upload.commit()
    };
    upload(b"").unwrap();
    upload(b"new").unwrap();
    assert_eq!(upload(b"two").unwrap_err().kind, Kind::Unknown);
}

struct DropBox(MemoryStorage);

impl Storage for DropBox {
    ftp_server::forward_storage!(self, self.0; capabilities, confine, list, write, unfinished, kept);
    ftp_server::forward_storage!(self, self.0; forget, remove, rmdir, mkdir, rename, set, space);

    fn stat(&self, path: &VirtualPath, ask: Ask) -> StorageResult<ftp_server::Metadata> {
        Ok(self.0.stat(path, ask)?.modified(0))
    }

    fn read(&self, _: &VirtualPath) -> StorageResult<Box<dyn ftp_server::Source>> {
        Err(Kind::Denied.into())
    }
}

struct StoresBeside(MemoryStorage);

impl Storage for StoresBeside {
    ftp_server::forward_storage!(self, self.0; capabilities, confine, stat, list, read, unfinished, kept);
    ftp_server::forward_storage!(self, self.0; forget, remove, rmdir, mkdir, rename, set, space);

    fn write(
        &self,
        path: &VirtualPath,
        mode: WriteMode,
        keep: Keep<'_>,
    ) -> StorageResult<Box<dyn Upload>> {
        let is_free = self.0.stat(path, Ask::Facts).is_err();
        let beside = VirtualPath::from("/a (1)");
        self.0.write(if is_free { path } else { &beside }, mode, keep)
    }
}

/// The new name shows the file itself.
#[test]
fn a_rename_that_changes_the_case_is_confirmed_by_a_server_that_folds_it() {
    let files = MemoryStorage::new();
    files.put("/a", "old").unwrap();
    let (_other, door) = door_over(Folding(files), &Recorder::new());
    door.storage("", None).unwrap().rename(&"/a".into(), &"/A".into(), true).unwrap();
}

struct Folding(MemoryStorage);

impl Storage for Folding {
    ftp_server::forward_storage!(self, self.0; capabilities, confine, list, read, write, unfinished, kept);
    ftp_server::forward_storage!(self, self.0; forget, remove, rmdir, mkdir, set, space);

    fn stat(&self, path: &VirtualPath, ask: Ask) -> StorageResult<ftp_server::Metadata> {
        self.0.stat(&path.to_string().to_lowercase().as_str().into(), ask)
    }

    fn rename(&self, _: &VirtualPath, _: &VirtualPath, _: bool) -> StorageResult<()> {
        Ok(())
    }
}

/// Another client appends to the file in that moment.
#[test]
fn a_file_that_grows_while_it_is_renamed_has_its_new_name() {
    for (older, want) in [(None, Ok(())), (Some("older file"), Err(Kind::Unknown))] {
        let files = MemoryStorage::new();
        files.put("/new", "new").unwrap();
        if let Some(older) = older {
            files.put("/a", older).unwrap();
        }
        let (_other, door) = door_over(Growing(files.clone()), &Recorder::new());
        let storage = door.storage("", None).unwrap();
        let renamed = storage.rename(&"/new".into(), &"/a".into(), true);
        assert_eq!(renamed.map_err(|error| error.kind), want);
        assert_eq!(files.get("/a").as_deref(), Some(&b"new and more"[..]));
    }
}

/// A storage in which each file that is renamed grows.
struct Growing(MemoryStorage);

impl Storage for Growing {
    ftp_server::forward_storage!(self, self.0; capabilities, confine, stat, list, read, write, unfinished);
    ftp_server::forward_storage!(self, self.0; kept, forget, remove, rmdir, mkdir, set, space);

    fn rename(&self, from: &VirtualPath, to: &VirtualPath, replace: bool) -> StorageResult<()> {
        self.0.rename(from, to, replace)?;
        self.0.put(to.clone(), "new and more")
    }
}

/// A storage in which a program takes what gets a name, and that keeps times in minutes.
struct Inbox(MemoryStorage);

impl Storage for Inbox {
    ftp_server::forward_storage!(self, self.0; capabilities, confine, stat, list, read, write, unfinished, kept);
    ftp_server::forward_storage!(self, self.0; forget, remove, rmdir, mkdir, space);

    fn rename(&self, from: &VirtualPath, to: &VirtualPath, replace: bool) -> StorageResult<()> {
        self.0.rename(from, to, replace)?;
        self.0.remove(to)
    }

    fn set(
        &self,
        path: &VirtualPath,
        change: ftp_server::Change,
    ) -> StorageResult<ftp_server::Metadata> {
        match change {
            ftp_server::Change::Modified(time) => {
                self.0.set(path, ftp_server::Change::Modified(time - time % 60))
            }
            change => self.0.set(path, change),
        }
    }
}

#[test]
fn what_another_program_takes_or_the_server_rounds_is_confirmed() {
    let files = MemoryStorage::new();
    files.put("/a", "kept").unwrap();
    let (_other, door) = door_over(Inbox(files.clone()), &Recorder::new());
    let storage = door.storage("", None).unwrap();
    for _ in 0..2 {
        let mut upload = storage.write(&"/b".into(), WriteMode::Replace, Keep::Shared).unwrap();
        upload.write_all(b"new").unwrap();
        upload.commit().unwrap();
        let set = storage.set(&"/a".into(), ftp_server::Change::Modified(125)).unwrap();
        assert_eq!(set.modified, 120);
    }
    assert_eq!(files.list(&"/".into(), Ask::Names).unwrap().count(), 1);
}
