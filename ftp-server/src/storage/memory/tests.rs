//! Memory storage, and what it shares with local storage.

use super::*;
use crate::storage::{LocalStorage, Partials, StorageError, SyncPolicy};
use crate::testing::storage_contract;

fn path(text: &str) -> VirtualPath {
    text.split('/')
        .filter(|name| !name.is_empty())
        .fold(VirtualPath::root(), |path, name| path.join(name.as_bytes()))
}

/// Returns the number of bytes that are kept for the user `ann`.
fn kept(storage: &dyn Storage, name: &str) -> Option<u64> {
    storage.unfinished(&path(name), Some(b"ann")).unwrap().map(|found| found.kept)
}

#[test]
fn memory_storage_behaves_like_local_storage_fs_15_fs_16_cm_107_cm_108() {
    let local = || {
        let root = tempfile::tempdir().unwrap();
        let local = LocalStorage::open(root.path()).unwrap();
        (local.configured(crate::storage::LocalConfig::new().sync(SyncPolicy::None)).unwrap(), root)
    };
    storage_contract(1..=200, local).unwrap();
    storage_contract([1], || (MemoryStorage::new(), ())).unwrap();
}

#[test]
fn partial_files_move_and_vanish_with_their_directory_fs_15_cm_87() {
    let root = tempfile::tempdir().unwrap();
    let local = LocalStorage::open(root.path()).unwrap();
    let memory = MemoryStorage::new();
    let layered = Partials::new(MemoryStorage::new());
    for storage in [&local as &dyn Storage, &memory, &layered] {
        for name in ["d", "d/e", "dd"] {
            storage.mkdir(&path(name)).unwrap();
        }
        let cut = |name| {
            let upload = storage.write(&path(name), WriteMode::Replace, Keep::Bytes(b"ann"));
            upload.unwrap().write_all(b"0123").unwrap();
        };
        let size = |name| kept(storage, name);
        ["d/e/f", "dd/f"].into_iter().for_each(cut);
        storage.rename(&path("d"), &path("x"), true).unwrap();
        assert_eq!(["d/e/f", "x/e/f", "dd/f"].map(size), [None, Some(4), Some(4)]);
        storage.rmdir(&path("x/e")).unwrap();
        storage.mkdir(&path("x/e")).unwrap();
        assert_eq!(["x/e/f", "dd/f"].map(size), [None, Some(4)]);
        // Users can resume only their own uploads, and only once.
        let forget = |user: &[u8]| storage.forget(&path("dd/f"), Some(user)).unwrap();
        assert_eq!(storage.unfinished(&path("dd/f"), Some(b"bob")).unwrap(), None);
        assert_eq!(forget(b"ann").map(|found| found.kept), Some(4));
        assert_eq!(size("dd/f"), None);
        assert_eq!(forget(b"ann"), None);
    }
}

#[test]
fn an_upload_that_begins_with_old_content_loses_no_newer_file_fs_16_cm_107() {
    let root = tempfile::tempdir().unwrap();
    let local = LocalStorage::open(root.path()).unwrap();
    let memory = MemoryStorage::new();
    let layered = Partials::new(MemoryStorage::new());
    let file = path("f");
    for storage in [&local as &dyn Storage, &memory, &layered] {
        let store = |mode, content: &[u8]| {
            let mut upload = storage.write(&file, mode, Keep::Shared).unwrap();
            upload.write_all(content).unwrap();
            upload.commit()
        };
        let changes = [
            (Some(WriteMode::Replace), Some("complete")),
            (Some(WriteMode::Append), Some("old contentcomplete")),
            (None, None),
        ];
        for (change, want) in changes {
            store(WriteMode::Replace, b"old content").unwrap();
            let mut upload = storage.write(&file, WriteMode::From(4), Keep::Shared).unwrap();
            upload.write_all(b"new").unwrap();
            match change {
                Some(mode) => store(mode, b"complete").unwrap(),
                None => storage.remove(&file).unwrap(),
            }
            assert_eq!(upload.commit().map_err(|error| error.kind), Err(Kind::Busy));
            let mut content = Vec::new();
            let source = storage.read(&file).map(|mut it| it.read_to_end(&mut content).unwrap());
            assert_eq!(source.ok().map(|_| &*content), want.map(str::as_bytes));
        }
        store(WriteMode::Replace, b"old content").unwrap();
        store(WriteMode::From(4), b"new").unwrap();
        assert_eq!(storage.stat(&file, Ask::Facts).unwrap().size, 7);
    }
}

#[test]
fn writing_to_a_newer_file_discards_the_partial_file_fs_15() {
    let storage = MemoryStorage::new();
    let file = path("f");
    let begin = |mode| storage.write(&file, mode, Keep::Bytes(b"ann")).unwrap();
    begin(WriteMode::Replace).write_all(b"0123456789").unwrap();
    assert_eq!(kept(&storage, "f"), Some(10));
    storage.put(&file, "other").unwrap();
    assert_eq!(kept(&storage, "f"), None);
    storage.remove(&file).unwrap();
    assert_eq!(kept(&storage, "f"), None);
}

#[test]
fn attributes_are_kept() {
    let storage = MemoryStorage::new();
    storage.put(path("d/f"), "content").unwrap();
    let changed = storage.set(&path("d/f"), Change::Modified(938_565_235)).unwrap();
    assert_eq!((changed.modified, changed.size, changed.links), (938_565_235, 7, 1));
    assert_eq!(storage.set(&path("d/f"), Change::Mode(0o4600)).unwrap().mode, 0o600);
    assert_eq!(storage.set(&path("d"), Change::Mode(0o700)).unwrap().mode, 0o700);
    assert_eq!(storage.set(&path("/"), Change::Mode(0)).unwrap_err().kind, Kind::Denied);
    let replaced =
        storage.put(path("d/f"), "other").and_then(|()| storage.stat(&path("d/f"), Ask::Facts));
    assert_eq!(replaced.unwrap().mode, 0o600);
    assert_eq!(storage.stat(&path("d/f"), Ask::Facts).unwrap().identity, changed.identity);
    for name in ["a\nb", "a\rb", "a\0b", &"x".repeat(256)] {
        assert_eq!(storage.mkdir(&path(name)).unwrap_err().kind, Kind::NameNotAllowed);
    }
    assert_eq!(storage.put(path("d/f/g"), "").unwrap_err().kind, Kind::NotDirectory);
}

#[test]
fn a_limited_memory_storage_runs_full_hf_01() {
    let storage = MemoryStorage::limited(10_000);
    let left = || storage.space(&VirtualPath::root(), RoomFor::More(0)).unwrap().free.unwrap();
    storage.put(path("f"), vec![b'o'; 4_000]).unwrap();
    assert_eq!(left(), 10_000 - 4_000 - OBJECT - 1);
    let before = left();
    for mode in [WriteMode::Replace, WriteMode::Append, WriteMode::From(2_000)] {
        let mut upload = storage.write(&path("f"), mode, Keep::Shared).unwrap();
        let full = (0..100).find_map(|_| upload.write_all(&[b'n'; 100]).err()).unwrap();
        assert_eq!(StorageError::from(full).kind, Kind::NoSpace, "{mode:?}");
        assert!(left() < 100);
        drop(upload);
        assert_eq!(left(), before);
        assert_eq!(storage.get(path("f")).unwrap(), [b'o'; 4_000]);
    }
    // Readers can still read a file after it was replaced.
    let reader = storage.read(&path("f")).unwrap();
    storage.put(path("f"), "new").unwrap();
    assert_eq!(left(), before - 3);
    drop(reader);
    assert_eq!(left(), before + 4_000 - 3);
    // Names count towards the limit too.
    let refused = (0..100).find_map(|number| storage.mkdir(&path(&number.to_string())).err());
    assert_eq!(refused.unwrap().kind, Kind::NoSpace);
    for number in 0..100 {
        let _ = storage.rmdir(&path(&number.to_string()));
    }
    storage.remove(&path("f")).unwrap();
    assert_eq!(left(), 10_000);
}

#[test]
fn bytes_that_make_room_leave_their_record_fs_15() {
    let storage = MemoryStorage::limited(1_000);
    let begin = || storage.write(&path("f"), WriteMode::Replace, Keep::Bytes(b"ann")).unwrap();
    begin().write_all(&[b'o'; 900]).unwrap();
    // Bytes that cannot make enough room are not lost for it.
    assert_eq!(storage.space(&VirtualPath::root(), RoomFor::More(1_001)).unwrap().free, Some(100));
    assert_eq!(kept(&storage, "f"), Some(900));
    assert_eq!(storage.space(&VirtualPath::root(), RoomFor::More(500)).unwrap().free, Some(1_000));
    assert_eq!(kept(&storage, "f"), Some(0));
}

#[test]
fn a_listing_continues_while_entries_are_added_and_removed_ls_31_hp_16() {
    let storage = MemoryStorage::new();
    for name in ["a", "b", "c", "e"] {
        storage.put(path(name), "").unwrap();
    }
    let mut entries = storage.list(&VirtualPath::root(), Ask::Facts).unwrap();
    let mut next = || entries.next().map(|entry| entry.unwrap().name);
    assert_eq!(next().as_deref(), Some(&b"a"[..]));
    storage.remove(&path("a")).unwrap();
    storage.remove(&path("b")).unwrap();
    storage.put(path("d"), "").unwrap();
    for name in [b"c", b"d", b"e"] {
        assert_eq!(next().as_deref(), Some(&name[..]));
    }
    assert_eq!(next(), None);
}

#[test]
fn a_failed_publication_leaves_the_earlier_bytes_fs_15() {
    for expected in [Kind::NotFound, Kind::NoSpace] {
        let storage = MemoryStorage::limited(1_000);
        storage.mkdir(&path("d")).unwrap();
        let begin = |mode| storage.write(&path("d/f"), mode, Keep::Bytes(b"ann")).unwrap();
        begin(WriteMode::Create).write_all(b"01234").unwrap();
        let mut resumed = begin(WriteMode::Resume(5));
        resumed.write_all(b"567").unwrap();
        let mut filler = storage.write(&path("filler"), WriteMode::Create, Keep::Shared).unwrap();
        let name = match expected {
            Kind::NoSpace => {
                let free = usize::try_from(storage.room.free()).unwrap();
                filler.write_all(&vec![0; free]).unwrap();
                "d/f"
            }
            _ => {
                storage.rename(&path("d"), &path("e"), false).unwrap();
                "e/f"
            }
        };
        assert_eq!(resumed.commit().unwrap_err().kind, expected);
        assert_eq!(kept(&storage, name), Some(5), "{expected:?}");
    }
}
