//! The limit on the number of files and directories below a root.

use super::*;

#[test]
fn files_are_limited_in_number_hp_23_cm_86_cm_105_cm_106() {
    const LIMIT: u64 = 1_000_000;
    let over = Some(StorageErrorKind::OverQuota);
    let tree = Tree::new();
    for storage in tree.storages() {
        tree.put("old", "old");
        let storage = storage.with(|config| {
            config.quota = LIMIT;
            config.max_files = 3;
        });
        storage.files.root.usage().forget();
        store(&storage, "new", WriteMode::Create, 10).unwrap();
        // A running upload of a new file takes the last place.
        let upload = storage.write(&path("running"), WriteMode::Create, Keep::Shared).unwrap();
        assert_eq!(kind(store(&storage, "more", WriteMode::Create, 0)), over);
        assert_eq!(kind(storage.mkdir(&path("d"))), over);
        drop(upload);
        storage.mkdir(&path("d")).unwrap();
        for mode in [WriteMode::Create, WriteMode::Replace, WriteMode::Append, WriteMode::From(0)] {
            assert_eq!(kind(store(&storage, "more", mode, 10)), over, "{mode:?}");
        }
        // These modes need no further place.
        for mode in [WriteMode::Replace, WriteMode::Append, WriteMode::From(1)] {
            store(&storage, "old", mode, 20).unwrap();
            tree.check(&storage, LIMIT, &format!("{mode:?}"));
        }
        storage.rename(&path("new"), &path("d/new"), false).unwrap();
        storage.rename(&path("old"), &path("d/new"), true).unwrap();
        // An interrupted upload takes a place until another one needs it.
        cut(&storage, "f", WriteMode::Replace, 50);
        store(&storage, "f", WriteMode::Resume(40), 10).unwrap();
        storage.remove(&path("f")).unwrap();
        cut(&storage, "f", WriteMode::Replace, 50);
        store(&storage, "f2", WriteMode::Create, 0).unwrap();
        storage.remove(&path("f2")).unwrap();
        store(&storage, "f", WriteMode::Create, 50).unwrap();
        tree.check(&storage, LIMIT, "resumed");
        storage.remove(&path("d/new")).unwrap();
        storage.rmdir(&path("d")).unwrap();
        storage.remove(&path("f")).unwrap();
        tree.check(&storage, LIMIT, "at last");
    }
}

#[test]
fn an_exceeded_file_limit_still_permits_writes_to_existing_files_hp_23_fs_15() {
    const LIMIT: u64 = 1_000_000;
    let over = Some(StorageErrorKind::OverQuota);
    let tree = Tree::new();
    for storage in tree.storages() {
        let storage = storage.with(|config| {
            config.quota = LIMIT;
            config.max_files = 2;
        });
        // Another program stores files.
        ["a", "b", "c"].iter().for_each(|name| tree.put(name, "old"));
        storage.files.root.usage().forget();
        tree.check(&storage, LIMIT, "before");
        for mode in [WriteMode::Replace, WriteMode::Append, WriteMode::From(1)] {
            assert_eq!(kind(store(&storage, "a", mode, 20)), None, "{mode:?}");
            assert!(store(&storage, "new", mode, 20).is_err(), "{mode:?}");
        }
        assert_eq!(kind(store(&storage, "new", WriteMode::Create, 0)), over);
        assert_eq!(kind(storage.mkdir(&path("d"))), over);
        tree.check(&storage, LIMIT, "after");
        ["a", "b", "c"].iter().for_each(|name| storage.remove(&path(name)).unwrap());
    }
}

#[test]
fn at_the_file_limit_only_new_files_wait_for_a_new_count_hp_23() {
    const LIMIT: u64 = 1_000_000;
    let tree = Tree::new();
    ["a", "b"].iter().for_each(|name| tree.put(name, "old"));
    let storage = tree.storage().with(|config| {
        config.quota = LIMIT;
        config.max_files = 2;
    });
    tree.check(&storage, LIMIT, "before");
    let usage = storage.files.root.usage();
    if !usage.seem_older(Duration::from_secs(11 * 60)) {
        return println!("skipped: the system has just started");
    }
    // Simulates a count that never ends.
    usage.seem_to_count(true);
    assert_eq!(storage.quota().unwrap().files_left(), Some(0));
    for mode in [WriteMode::Replace, WriteMode::Append, WriteMode::From(1)] {
        let mut upload = storage.write(&path("a"), mode, Keep::Shared).unwrap();
        upload.write_all(b"more").unwrap();
        upload.commit().unwrap();
    }
    let busy = storage.write(&path("new"), WriteMode::Create, Keep::Shared);
    assert_eq!(kind(busy), Some(StorageErrorKind::Busy), "it waits");
    usage.seem_to_count(false);
    tree.check(&storage, LIMIT, "after");
}

#[test]
fn a_file_removed_during_its_replacement_frees_no_file_quota_hp_23() {
    const LIMIT: u64 = 1_000_000;
    let tree = Tree::new();
    for storage in tree.storages() {
        let storage = storage.with(|config| {
            config.quota = LIMIT;
            config.max_files = 2;
        });
        let names = ["a", "b"];
        names.iter().for_each(|name| store(&storage, name, WriteMode::Create, 10).unwrap());
        let mut uploads =
            names.map(|name| storage.write(&path(name), WriteMode::Replace, Keep::Shared).unwrap());
        uploads.iter_mut().for_each(|upload| upload.write_all(b"replaced").unwrap());
        names.iter().for_each(|name| storage.remove(&path(name)).unwrap());
        store(&storage, "c", WriteMode::Create, 10).unwrap();
        let outcomes = uploads.map(|upload| kind(upload.commit()));
        assert_eq!(outcomes, [None, Some(StorageErrorKind::OverQuota)]);
        assert_eq!(tree.names(""), ["a", "c"]);
        tree.check(&storage, LIMIT, "after");
        names.iter().chain(&["c"]).for_each(|name| drop(storage.remove(&path(name))));
    }
}
