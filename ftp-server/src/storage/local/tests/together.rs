//! Records of unfinished uploads while other sessions, users and roots change the same names.

use std::sync::Barrier;
use std::sync::atomic::AtomicBool;

use super::partial::{USER, begin, cut, finish, kept};
use super::*;
use crate::lock::Lock;
use crate::storage::StreamEnd;

#[test]
fn uploads_of_one_name_that_begin_at_once_do_not_take_each_others_file_fs_18() {
    const CLIENTS: usize = 6;
    let tree = Tree::new();
    let storage = tree.storage().with(|config| config.sync = SyncPolicy::None);
    for round in 0..200 {
        let barrier = Barrier::new(CLIENTS);
        let turn = Lock::new(());
        std::thread::scope(|scope| {
            for client in (b'a'..).take(CLIENTS) {
                let (storage, barrier, turn, tree) = (&storage, &barrier, &turn, &tree);
                scope.spawn(move || {
                    barrier.wait();
                    // Another command looks for the record meanwhile.
                    let _ = storage.unfinished(&path("f"), Some(USER)).unwrap();
                    let upload = begin(storage, "f", WriteMode::Replace, &[client; 20]);
                    barrier.wait();
                    let _turn = turn.lock();
                    upload.commit().unwrap();
                    assert_eq!(tree.get("f"), [client; 20], "{round}");
                });
            }
        });
        if round % 2 == 0 {
            storage.remove(&path("f")).unwrap();
        }
    }
}

/// One of them would lose the bytes of the other one, which are confirmed.
#[test]
fn of_uploads_that_go_on_in_a_file_at_once_one_is_stored_cm_107() {
    let tree = Tree::new();
    let storage = tree.storage().with(|config| config.sync = SyncPolicy::None);
    let barrier = Barrier::new(2);
    for round in 0..300 {
        tree.put("f", "0123456789");
        let both = [b'a', b'b'].map(|client| {
            let mode = WriteMode::From(5);
            let mut upload = begin(&storage, "f", mode, &[client; 20]);
            while !upload.prepare_commit().unwrap() {}
            upload
        });
        let stored = std::thread::scope(|scope| {
            let ends = both.map(|upload| {
                scope.spawn(|| {
                    barrier.wait();
                    upload.commit().is_ok()
                })
            });
            ends.into_iter().map(|end| end.join().unwrap()).filter(|is_stored| *is_stored).count()
        });
        assert_eq!(stored, 1, "{round}");
    }
}

/// The ends of two disk images are equal.
#[test]
fn an_overtaken_upload_forbids_unless_all_its_bytes_are_those_of_the_file_fs_15() {
    let tree = Tree::new();
    let storage = tree.storage();
    let image = |middle: u8| [&[0; 100_000][..], &[middle; 10], &[0; 100_000]].concat();
    for (stored, forbids) in [(image(1), false), (image(2), true)] {
        let first = begin(&storage, "f", WriteMode::Replace, &image(1));
        finish(&storage, "f", WriteMode::Replace, &[&stored[..], b"end"].concat());
        first.abort(StreamEnd::Cut);
        assert_eq!(kept(&storage, "f"), forbids.then_some(0));
    }
}

#[test]
fn an_upload_discards_kept_bytes_although_another_one_has_the_usual_name_fs_15() {
    let tree = Tree::new();
    let storage = tree.storage().with(|config| config.sync = SyncPolicy::None);
    let files = || tree.names("").len();
    let first = begin(&storage, "f", WriteMode::Replace, b"first");
    cut(&storage, "f", WriteMode::Replace, b"0123");
    assert_eq!(files(), 2);
    let third = begin(&storage, "f", WriteMode::Replace, b"third");
    assert_eq!(files(), 2);
    // An upload that ended a record leaves one, even if it is refused.
    third.abort(StreamEnd::Refused);
    first.abort(StreamEnd::Cut);
    assert_eq!(kept(&storage, "f"), Some(0));
}

#[test]
fn of_uploads_that_are_cut_while_others_begin_no_bytes_are_left_without_a_record_fs_15() {
    let tree = Tree::new();
    let storage = tree.storage();
    for round in 0..200 {
        let is_over = round % 2 == 0;
        let names: &[&str] = if is_over { &["f"] } else { &[] };
        if is_over {
            tree.put("f", b"old");
        }
        let first = begin(&storage, "f", WriteMode::Replace, b"first");
        let barrier = Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                barrier.wait();
                first.abort(StreamEnd::Cut);
            });
            barrier.wait();
            cut(&storage, "f", WriteMode::Replace, b"other");
        });
        storage.forget(&path("f"), Some(USER)).unwrap();
        assert_eq!(tree.names(""), names, "{round}");
        let _ = fs::remove_file(tree.root.join("f"));
    }
}

#[test]
fn a_forgotten_record_is_gone_even_while_others_look_for_it_cm_109_fs_15() {
    let tree = Tree::new();
    let storage = tree.storage().with(|config| config.sync = SyncPolicy::None);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let _ = storage.unfinished(&path("f"), Some(USER)).unwrap();
                }
            });
        }
        let left = (0..300).find(|_| {
            cut(&storage, "f", WriteMode::Replace, b"0123");
            storage.forget(&path("f"), Some(USER)).unwrap();
            !tree.names("").is_empty()
        });
        done.store(true, Ordering::Relaxed);
        assert_eq!(left, None);
    });
}

#[test]
fn an_upload_leaves_its_record_in_a_directory_that_was_renamed_fs_15() {
    let tree = Tree::new();
    fs::create_dir(tree.root.join("d")).unwrap();
    for storage in tree.storages() {
        let begun = begin(&storage, "d/f", WriteMode::Replace, b"0123");
        storage.rename(&path("d"), &path("e"), false).unwrap();
        begun.abort(StreamEnd::Cut);
        assert_eq!(kept(&storage, "e/f"), Some(4));
        // After a walk it is found there to make room. It ends with the next file.
        storage.tidy_up();
        give_up_all(&storage);
        assert_eq!(kept(&storage, "e/f"), Some(0));
        storage
            .write(&path("e/f"), WriteMode::Replace, Keep::Bytes(b"bob"))
            .unwrap()
            .commit()
            .unwrap();
        assert_eq!(tree.names_with_records("e"), ["f"]);
        storage.remove(&path("e/f")).unwrap();
        storage.rename(&path("e"), &path("d"), false).unwrap();
    }
}

#[test]
fn records_end_through_any_root_fs_15() {
    let tree = Tree::new();
    fs::create_dir(tree.root.join("d")).unwrap();
    let (outer, inner) = (tree.storage(), LocalStorage::open(tree.root.join("d")).unwrap());
    for (one, name, other, same) in [(&outer, "d/f", &inner, "f"), (&inner, "f", &outer, "d/f")] {
        cut(one, name, WriteMode::Replace, b"0123");
        assert_eq!(kept(other, same), Some(4));
        other
            .write(&path(same), WriteMode::Replace, Keep::Bytes(b"bob"))
            .unwrap()
            .commit()
            .unwrap();
        other.remove(&path(same)).unwrap();
        assert_eq!((kept(one, name), tree.names_with_records("d")), (None, vec![]));
    }
}

#[test]
fn bytes_of_a_running_append_are_hidden_through_any_root_fs_16() {
    let tree = Tree::new();
    fs::create_dir(tree.root.join("d")).unwrap();
    let (outer, inner) = (tree.storage(), LocalStorage::open(tree.root.join("d")).unwrap());
    for (one, name, other, same) in [(&outer, "d/f", &inner, "f"), (&inner, "f", &outer, "d/f")] {
        tree.put("d/f", "old");
        let mut appending = appends::in_place(one, name);
        appending.write_all(b"+more").unwrap();
        assert_eq!(other.stat(&path(same), Ask::Facts).unwrap().size, 3);
        assert_eq!(read(other, same).unwrap(), b"old");
        let beyond = other.write(&path(same), WriteMode::From(5), Keep::Bytes(USER));
        assert_eq!(kind(beyond), Some(StorageErrorKind::BadRestart));
        appending.commit().unwrap();
        assert_eq!(other.stat(&path(same), Ask::Facts).unwrap().size, 8);
        assert_eq!(read(other, same).unwrap(), b"old+more");
    }
}

#[test]
fn an_append_ends_no_record_but_its_bytes_fs_15_fs_16() {
    let tree = Tree::new();
    for storage in tree.storages() {
        tree.put("f", "old content");
        cut(&storage, "f", WriteMode::Replace, b"0123");
        let append = || {
            let mut append = appends::in_place(&storage, "f");
            append.write_all(b"+more").unwrap();
            append
        };
        let appending = append();
        // Whether the bytes still count depends on the second in which the file was changed.
        assert!(kept(&storage, "f").is_some());
        // An upload that begins meanwhile replaces the file as it was before.
        cut(&storage, "f", WriteMode::Replace, b"01234");
        appending.abort(StreamEnd::Cut);
        append().commit().unwrap();
        assert_eq!(kept(&storage, "f"), Some(0));
        storage.remove(&path("f")).unwrap();
        assert!(tree.names_with_records("").is_empty());
    }
}

#[test]
fn a_server_killed_before_the_last_step_leaves_the_record_of_a_file_of_another_owner_fs_15_fs_17() {
    if !is_privileged() {
        return println!("skipped: only root can give a file away");
    }
    let tree = Tree::new();
    for storage in tree.storages() {
        fs::create_dir(tree.root.join("d")).unwrap();
        tree.put("d/f", "old content");
        std::os::unix::fs::chown(tree.root.join("d/f"), Some(1_000), None).unwrap();
        // A record forbids, whoever seems to have written it.
        let hidden = name::of_record(Some(USER), b"f");
        let hidden = format!("d/{}", String::from_utf8(hidden).unwrap());
        tree.put(&hidden, "new");
        for owner in [1_001, 1_000, 0] {
            std::os::unix::fs::chown(tree.root.join(&hidden), Some(owner), None).unwrap();
            assert_eq!(kept(&storage, "d/f"), Some(0), "{owner}");
        }
        storage.remove(&path("d/f")).unwrap();
        storage.rmdir(&path("d")).unwrap();
        // The owner of the file can be kept together with the content.
        tree.put("g", "old content");
        std::os::unix::fs::chown(tree.root.join("g"), Some(1_000), None).unwrap();
        finish(&storage, "g", WriteMode::Replace, b"new");
        let found = fs::metadata(tree.root.join("g")).unwrap();
        assert_eq!(
            (std::os::unix::fs::MetadataExt::uid(&found), tree.get("g")),
            (1_000, b"new".to_vec())
        );
        storage.remove(&path("g")).unwrap();
    }
}

#[test]
fn a_link_that_takes_the_name_during_an_upload_gives_the_file_no_mode_fs_17() {
    let tree = Tree::new();
    for storage in tree.storages() {
        let upload = begin(&storage, "f", WriteMode::Replace, b"new");
        let mode = |name: &str| fs::metadata(tree.root.join(name)).unwrap().permissions();
        tree.link("nowhere", "f");
        upload.commit().unwrap();
        tree.put("other", "");
        assert_eq!((tree.get("f"), mode("f")), (b"new".to_vec(), mode("other")));
        storage.remove(&path("f")).unwrap();
    }
}
