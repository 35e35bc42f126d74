//! The limits of kept partial uploads, and the locks on hidden files.

use std::os::fd::OwnedFd;

use ftp_tests::wait::at_last;
use rustix::io::Errno;

use super::super::directory::Directory;
use super::*;
use crate::storage::unfinished::REMEMBERED;
use crate::storage::{RoomFor, StreamEnd};

/// Interrupts an upload of `length` bytes.
fn cut(storage: &LocalStorage, user: &str, name: &str, length: usize) {
    let mut upload =
        storage.write(&path(name), WriteMode::Replace, Keep::Bytes(user.as_bytes())).unwrap();
    upload.write_all(&vec![b'c'; length]).unwrap();
}

/// Returns the number of kept bytes; `None` without a record.
fn size(storage: &LocalStorage, user: &str, name: &str) -> Option<u64> {
    storage.unfinished(&path(name), Some(user.as_bytes())).unwrap().map(|found| found.kept)
}

/// Returns the names that have a record.
fn recorded<'a>(storage: &LocalStorage, user: &str, names: &[&'a str]) -> Vec<&'a str> {
    names.iter().copied().filter(|name| size(storage, user, name).is_some()).collect()
}

/// Returns the names of which bytes are kept.
fn kept<'a>(storage: &LocalStorage, user: &str, names: &[&'a str]) -> Vec<&'a str> {
    names.iter().copied().filter(|name| size(storage, user, name) > Some(0)).collect()
}

#[test]
fn the_oldest_partial_files_of_a_user_are_evicted_fs_15() {
    const NAMES: [&str; 5] = ["a", "b", "d/c", "e", "f"];
    for (files, bytes, want) in [
        (3, 0, vec!["d/c", "e", "f"]),
        (0, 250, vec!["e", "f"]),
        (4, 350, vec!["d/c", "e", "f"]),
        (0, 0, NAMES.to_vec()),
    ] {
        let tree = Tree::new();
        fs::create_dir(tree.root.join("d")).unwrap();
        for storage in tree.storages() {
            let storage = storage
                .with(|config| (config.partial_files, config.partial_bytes) = (files, bytes));
            cut(&storage, "bob", "a", 100);
            NAMES.iter().for_each(|name| cut(&storage, "ann", name, 100));
            assert_eq!(kept(&storage, "ann", &NAMES), want, "{files} {bytes}");
            // No record goes.
            assert_eq!(recorded(&storage, "ann", &NAMES), NAMES, "{files} {bytes}");
            // Partial uploads of other users stay.
            assert_eq!(kept(&storage, "bob", &NAMES), ["a"]);
            for (user, name) in NAMES.map(|name| ("ann", name)).into_iter().chain([("bob", "a")]) {
                let _ = storage.forget(&path(name), Some(user.as_bytes()));
            }
            assert_eq!(tree.names("").len() + tree.names("d").len(), 1);
        }
    }
}

#[test]
fn a_partial_file_over_the_limit_keeps_its_beginning_fs_15() {
    let tree = Tree::new();
    for storage in tree.storages() {
        let storage = storage
            .with(|config| (config.partial_files, config.partial_bytes) = (0, 250))
            .with(|config| config.quota = 10_000);
        let size = |name: &str| size(&storage, "ann", name);
        cut(&storage, "ann", "small", 100);
        cut(&storage, "ann", "f", 400);
        assert_eq!((size("small"), size("f")), (Some(0), Some(250)));
        assert_eq!(storage.left().unwrap(), Some(10_000 - 250));
        // A partial upload stays even if more of it arrives than fits.
        for length in [1, 2, 300] {
            let mut resumed =
                storage.write(&path("f"), WriteMode::Resume(249), Keep::Bytes(b"ann")).unwrap();
            resumed.write_all(&vec![b'r'; length]).unwrap();
            drop(resumed);
            assert_eq!((size("f"), storage.left().unwrap()), (Some(250), Some(10_000 - 250)));
        }
        let mut resumed =
            storage.write(&path("f"), WriteMode::Resume(249), Keep::Bytes(b"ann")).unwrap();
        resumed.write_all(&[b'e'; 300]).unwrap();
        resumed.commit().unwrap();
        assert_eq!(tree.get("f"), [[b'c'; 249].as_slice(), &[b'e'; 300]].concat());
        storage.remove(&path("f")).unwrap();
    }
}

#[test]
fn partial_files_are_limited_again_by_a_walk_after_their_directory_moved_fs_15() {
    let tree = Tree::new();
    fs::create_dir(tree.root.join("d")).unwrap();
    let storage =
        tree.storage().with(|config| (config.partial_files, config.partial_bytes) = (2, 0));
    ["d/a", "d/b"].iter().for_each(|name| cut(&storage, "ann", name, 10));
    storage.rename(&path("d"), &path("e"), false).unwrap();
    storage.tidy_up();
    cut(&storage, "ann", "c", 10);
    let left = kept(&storage, "ann", &["e/a", "e/b", "c"]);
    assert!(left.len() == 2 && left[1] == "c", "{left:?}");
    // Another process knows the existing partial uploads after its first walk.
    let hidden = tree.names("e");
    fs::rename(tree.root.join("e"), tree.root.join("f")).unwrap();
    drop(storage);
    let storage =
        tree.storage().with(|config| (config.partial_files, config.partial_bytes) = (2, 0));
    storage.tidy_up();
    cut(&storage, "ann", "g", 10);
    let moved = left[0].replace('e', "f");
    assert_eq!(kept(&storage, "ann", &[moved.as_str(), "c", "g"]).len(), 2);
    // A completed partial upload is no longer kept, and one that was moved is not found.
    let left = kept(&storage, "ann", &[moved.as_str(), "c"]);
    let mut resumed =
        storage.write(&path(left[0]), WriteMode::Resume(9), Keep::Bytes(b"ann")).unwrap();
    resumed.write_all(b"!").unwrap();
    resumed.commit().unwrap();
    cut(&storage, "ann", "h", 10);
    assert_eq!(kept(&storage, "ann", &["g", "h"]), ["g", "h"]);
    assert_eq!(hidden.len(), 1);
}

#[test]
fn an_expired_partial_file_can_be_evicted_before_it_is_swept_fs_15() {
    let tree = Tree::new();
    for storage in tree.storages() {
        let storage = storage.with(|config| (config.partial_files, config.partial_bytes) = (2, 0));
        ["a", "b"].iter().for_each(|name| cut(&storage, "ann", name, 10));
        let record = name::of_record(Some(b"ann"), b"a");
        let shown = tree.root.join(String::from_utf8(record).unwrap());
        set_record_age(&shown, REMEMBERED.as_secs() * 3 / 2 / 3_600);
        cut(&storage, "ann", "c", 10);
        assert!(kept(&storage, "ann", &["a", "b", "c"]).len() == 2 && shown.exists());
        give_up_all(&storage);
        assert!(kept(&storage, "ann", &["b", "c"]).is_empty());
        let _ = ["b", "c"].map(|name| storage.forget(&path(name), Some(b"ann")).unwrap());
        assert!(tree.names("").is_empty());
    }
}

#[test]
fn an_upload_that_replaces_a_file_is_kept_within_the_same_limits_fs_15() {
    let tree = Tree::new();
    for storage in tree.storages() {
        let storage =
            storage.with(|config| (config.partial_files, config.partial_bytes) = (2, 250));
        tree.put("old", "old");
        cut(&storage, "ann", "old", 100);
        cut(&storage, "ann", "new", 200);
        assert_eq!(["old", "new"].map(|name| size(&storage, "ann", name)), [Some(0), Some(200)]);
        cut(&storage, "ann", "old", 300);
        assert_eq!(["old", "new"].map(|name| size(&storage, "ann", name)), [Some(250), Some(0)]);
        // Records are not limited.
        ["a", "b"].iter().for_each(|name| cut(&storage, "ann", name, 0));
        let all = ["old", "new", "a", "b"];
        assert_eq!(recorded(&storage, "ann", &all), all);
        all.iter().for_each(|name| {
            storage.forget(&path(name), Some(b"ann")).unwrap();
        });
        assert_eq!(tree.names_with_records(""), ["old"]);
        fs::remove_file(tree.root.join("old")).unwrap();
    }
}

#[test]
fn externally_removed_partial_files_no_longer_count_fs_15() {
    let tree = Tree::new();
    fs::create_dir(tree.root.join("d")).unwrap();
    for storage in tree.storages() {
        let storage = storage.with(|config| (config.partial_files, config.partial_bytes) = (0, 25));
        ["d/a", "b"].iter().for_each(|name| cut(&storage, "ann", name, 10));
        for name in tree.names_with_records("d") {
            fs::remove_file(tree.root.join("d").join(name)).unwrap();
        }
        fs::remove_dir(tree.root.join("d")).unwrap();
        cut(&storage, "ann", "c", 15);
        assert_eq!(kept(&storage, "ann", &["b", "c"]), ["b", "c"]);
        give_up_all(&storage);
        let _ = ["b", "c"].map(|name| storage.forget(&path(name), Some(b"ann")).unwrap());
        fs::create_dir(tree.root.join("d")).unwrap();
        assert_eq!(tree.names(""), ["d"]);
    }
}

#[test]
fn a_partial_file_being_resumed_is_not_evicted_fs_15() {
    let tree = Tree::new();
    for storage in tree.storages() {
        let storage = storage.with(|config| (config.partial_files, config.partial_bytes) = (2, 0));
        ["a", "b"].iter().for_each(|name| cut(&storage, "ann", name, 10));
        let mut resumed =
            storage.write(&path("a"), WriteMode::Resume(9), Keep::Bytes(b"ann")).unwrap();
        cut(&storage, "ann", "c", 10);
        assert_eq!(["b", "c"].map(|name| size(&storage, "ann", name)), [Some(10), Some(10)]);
        resumed.write_all(b"!!").unwrap();
        // It counts again once it is interrupted.
        drop(resumed);
        assert_eq!(kept(&storage, "ann", &["a", "b", "c"]), ["a", "c"]);
        assert_eq!(size(&storage, "ann", "a"), Some(11));
        // A lack of space does not evict the resumed upload.
        let resumed =
            storage.write(&path("a"), WriteMode::Resume(11), Keep::Bytes(b"ann")).unwrap();
        give_up_all(&storage);
        assert_eq!(size(&storage, "ann", "c"), Some(0));
        resumed.abort(StreamEnd::Failed);
        assert_eq!(size(&storage, "ann", "a"), Some(11));
        let _ = ["a", "b", "c"].map(|name| storage.forget(&path(name), Some(b"ann")).unwrap());
        assert!(tree.names_with_records("").is_empty());
    }
}

#[test]
fn kept_bytes_are_given_up_only_if_they_make_enough_room_fs_15() {
    const MIB: u64 = 1 << 20;
    let tree = Tree::new();
    let Some(_mount) = Mount::new(tree.root.clone(), "size=8m,nr_inodes=20") else {
        println!("skipped: no file system can be mounted here");
        return;
    };
    let storage = tree.storage();
    let cut_all = || {
        for (user, name) in [("ann", "a"), ("ann", "b"), ("bob", "c")] {
            cut(&storage, user, name, 1 << 20);
        }
    };
    cut_all();
    let sizes =
        || [("ann", "a"), ("ann", "b"), ("bob", "c")].map(|(it, name)| size(&storage, it, name));
    let space = |room| storage.space(&path("/"), room).unwrap().free.unwrap();
    let free = space(RoomFor::More(0));
    let all = [Some(MIB); 3];
    // All together are too little.
    for room in [RoomFor::More(free + 4 * MIB), RoomFor::New(free + 4 * MIB)] {
        assert_eq!((space(room), sizes()), (free, all));
    }
    // An emptied file gives no inode back.
    for number in 0..11 {
        tree.put(&format!("e{number}"), "");
    }
    assert!(space(RoomFor::New(free + MIB)) < free);
    assert_eq!(sizes(), all);
    // The oldest goes if that is enough. If a program that another test starts holds its bytes for a
    // moment, it is not.
    at_last("only the oldest goes", || {
        let left = (space(RoomFor::More(free + MIB)), sizes());
        if left == (free + MIB, [Some(0), Some(MIB), Some(MIB)]) {
            return Some(());
        }
        cut_all();
        None
    });
}

#[test]
fn claiming_a_swept_temporary_file_fails_with_eexist_fs_12_fs_14() {
    let tree = Tree::new();
    let storage = tree.storage();
    let directory = Directory::open(&storage.files.root, b"").unwrap();
    let name = name::temporary(b"f").unwrap();
    let shown = tree.root.join(std::str::from_utf8(&name).unwrap());
    let claim = |file: &fs::File| {
        let file = OwnedFd::from(file.try_clone().unwrap());
        replacement::claim(&directory, name.clone(), file).map(drop)
    };
    // Another sweeper has locked the file, and is about to remove it.
    let file = fs::File::create_new(&shown).unwrap();
    let other = fs::File::open(&shown).unwrap();
    other.try_lock().unwrap();
    assert_eq!(claim(&file), Err(Errno::EXIST));
    // The other sweeper was faster: the file is gone, or another upload has its name.
    fs::remove_file(&shown).unwrap();
    drop(other);
    assert_eq!(claim(&file), Err(Errno::EXIST));
    let next = fs::File::create_new(&shown).unwrap();
    assert_eq!(claim(&file), Err(Errno::EXIST));
    assert_eq!(claim(&next), Ok(()));
    assert!(fs::File::open(&shown).unwrap().try_lock().is_err());
}

#[test]
fn a_walk_also_updates_storages_rooted_inside_its_root_fs_15() {
    let tree = Tree::new();
    fs::create_dir_all(tree.root.join("d/inner/e")).unwrap();
    let outer = LocalStorage::open(&tree.root).unwrap();
    cut(&outer, "ann", "d/inner/e/f", 100);
    let inner = LocalStorage::open(tree.root.join("d/inner")).unwrap();
    let directories = |storage: &LocalStorage| {
        let parts = storage.files.root.usage().shelf().by_age();
        parts.into_iter().map(|part| part.directory).collect::<Vec<_>>()
    };
    assert_eq!(directories(&inner), [b""; 0]);
    assert!(outer.tidy_up());
    assert_eq!(directories(&inner), [b"e"]);
    assert_eq!(directories(&outer), [b"d/inner/e"]);
}
