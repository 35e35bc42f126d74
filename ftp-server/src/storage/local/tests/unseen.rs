//! Counts of trees that cannot be read completely, or that change during the count.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::*;

/// Returns the counted bytes, after any running walk has ended.
fn counted(storage: &LocalStorage, limit: u64) -> u64 {
    storage.left().unwrap();
    storage.files.root.usage().settle();
    limit - storage.left().unwrap().unwrap()
}

#[test]
fn a_tree_deeper_than_any_path_still_counts_hp_23() {
    const LIMIT: u64 = 10_000_000;
    let tree = Tree::new();
    let storage = tree.storage().with(|config| config.quota = LIMIT);
    let deep = |name: &str, levels: usize| {
        let mut at = VirtualPath::root();
        for _ in 0..levels {
            at = at.join(name.as_bytes());
            storage.mkdir(&at).unwrap();
        }
        at
    };
    let upper = deep("u", 120);
    let lower = deep("l", 120);
    let mut upload = storage.write(&lower.join(b"f"), WriteMode::Create, Keep::Shared).unwrap();
    upload.write_all(&[b'f'; 500_000]).unwrap();
    upload.commit().unwrap();
    let before = counted(&storage, LIMIT);
    // No command can name the file any more, but it still exists.
    storage.rename(&path("l"), &upper.join(b"l"), false).unwrap();
    storage.files.root.usage().forget();
    assert_eq!(counted(&storage, LIMIT), before);
    // Files of unfinished uploads are removed at that depth too.
    let mut below = tree.root.clone();
    for name in std::iter::repeat_n("u", 120).chain(std::iter::repeat_n("l", 120)) {
        below.push(name);
    }
    fs::write(below.join(".ftp-upload-0123456789abcdef"), "left").unwrap();
    fs::create_dir(below.join("beside")).unwrap();
    tree.storage().tidy_up();
    let mut names: Vec<_> =
        fs::read_dir(&below).unwrap().map(|it| it.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["beside", "f"]);
}

#[test]
fn rolling_back_an_append_waits_for_running_removals_hp_23_fs_16() {
    const LIMIT: u64 = 10_000;
    let tree = Tree::new();
    tree.put("f", [b'f'; 500]);
    let storage = tree.storage().with(|config| config.quota = LIMIT);
    assert_eq!(counted(&storage, LIMIT), 500);
    let (ready, is_ready) = mpsc::channel();
    let (go, may_go) = mpsc::channel::<()>();
    let length = || fs::metadata(tree.root.join("f")).unwrap().len();
    thread::scope(|scope| {
        let storage = &storage;
        let cut = scope.spawn(move || {
            let mut upload = appends::in_place(storage, "f");
            upload.write_all(&[b'a'; 1_000]).unwrap();
            ready.send(()).unwrap();
            may_go.recv().unwrap();
            drop(upload);
        });
        is_ready.recv().unwrap();
        // Removals and replacements hold this guard from reading the length until they are done.
        let change = storage.files.root.usage().change();
        go.send(()).unwrap();
        for _ in 0..50 {
            assert_eq!((length(), cut.is_finished()), (1_500, false));
            thread::sleep(Duration::from_millis(2));
        }
        drop(change);
        cut.join().unwrap();
    });
    assert_eq!((length(), counted(&storage, LIMIT)), (500, 500));
}

#[test]
fn an_open_removed_file_with_a_hidden_name_is_counted_correctly_hp_23_fs_16() {
    const LIMIT: u64 = 10_000;
    let tree = Tree::new();
    tree.put("f", [b'f'; 500]);
    tree.put("g", [b'g'; 5_000]);
    let storage = tree.storage().with(|config| config.quota = LIMIT);
    assert_eq!(counted(&storage, LIMIT), 5_500);
    let mut cut = appends::in_place(&storage, "f");
    cut.write_all(&[b'a'; 1_000]).unwrap();
    // NFS and FUSE keep such a hidden name until the file is closed.
    fs::hard_link(tree.root.join("f"), tree.root.join(".nfs0001")).unwrap();
    storage.remove(&path("f")).unwrap();
    drop(cut);
    fs::remove_file(tree.root.join(".nfs0001")).unwrap();
    assert_eq!(counted(&storage, LIMIT), 5_000);
}

#[test]
fn an_incomplete_count_never_lowers_the_usage_hp_23() {
    use super::usage::{Cost, Seen};
    const LIMIT: u64 = 10_000;
    let tree = Tree::new();
    let storage = tree.storage().with(|config| config.quota = LIMIT);
    let usage = storage.files.root.usage();
    for (bytes, is_whole, want) in
        [(5_000, true, 5_000), (1_000, false, 5_000), (6_000, false, 6_000), (1_000, true, 1_000)]
    {
        usage.walk(|| Some(Seen { cost: Cost::bytes(bytes), is_whole }));
        assert_eq!(storage.left().unwrap(), Some(LIMIT - want), "{bytes} {is_whole}");
    }
}

#[test]
fn a_quota_forbids_making_a_directory_unreadable_hp_23_cm_140() {
    let tree = Tree::new();
    fs::create_dir(tree.root.join("d")).unwrap();
    tree.put("f", "f");
    for storage in tree.storages() {
        let limited = storage.clone().with(|config| config.quota = 100_000);
        for mode in [0o000, 0o300, 0o077, 0o600] {
            assert_eq!(
                kind(limited.set(&path("d"), Change::Mode(mode))),
                Some(StorageErrorKind::Denied)
            );
        }
        for mode in [0o500, 0o700, 0o755] {
            limited.set(&path("d"), Change::Mode(mode)).unwrap();
        }
        limited.set(&path("f"), Change::Mode(0o200)).unwrap();
        storage.set(&path("d"), Change::Mode(0o300)).unwrap();
        storage.set(&path("d"), Change::Mode(0o755)).unwrap();
    }
}

#[test]
fn directories_and_empty_files_use_quota_hp_23_cm_86() {
    const LIMIT: u64 = 20_000;
    let over = Some(StorageErrorKind::OverQuota);
    let tree = Tree::new();
    for storage in tree.storages() {
        let storage = storage.with(|config| config.quota = LIMIT);
        storage.mkdir(&path("d")).unwrap();
        storage.mkdir(&path("d/e")).unwrap();
        upload(&storage, "empty", WriteMode::Create, b"");
        assert_eq!(counted(&storage, LIMIT), 3 * 4_096);
        // A file with content costs its length.
        upload(&storage, "empty", WriteMode::Append, b"no more");
        assert_eq!(counted(&storage, LIMIT), 2 * 4_096 + 7);
        upload(&storage, "empty", WriteMode::Replace, b"");
        upload(&storage, "empty", WriteMode::Append, b"");
        assert_eq!(counted(&storage, LIMIT), 3 * 4_096);
        storage.mkdir(&path("f")).unwrap();
        assert_eq!(kind(storage.mkdir(&path("g"))), over);
        assert_eq!(kind(storage.mkdir(&path("f"))), Some(StorageErrorKind::Exists));
        let another = storage.write(&path("another"), WriteMode::Create, Keep::Shared).unwrap();
        assert_eq!(kind(another.commit()), over);
        storage.files.root.usage().forget();
        assert_eq!(counted(&storage, LIMIT), 4 * 4_096);
        for name in ["d/e", "d", "f"] {
            storage.rmdir(&path(name)).unwrap();
        }
        storage.remove(&path("empty")).unwrap();
        assert_eq!((counted(&storage, LIMIT), tree.names("").len()), (0, 0));
    }
}
