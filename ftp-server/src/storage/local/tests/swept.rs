//! The removal of abandoned files: of a killed server, and of uploads that nobody has resumed.

use ftp_tests::wait::wait_until;

use super::StorageErrorKind::BadRestart;
use super::partial::{USER, begin, cut, finish, is_running, kept, record_of, set, set_age};
use super::*;

/// Waits until a walk has left only these names, which takes a moment.
#[track_caller]
fn wait_for_names(tree: &Tree, directory: &str, want: &[&str]) {
    wait_until("the names are as expected", || tree.names(directory) == want);
}

#[test]
fn temporary_files_of_a_killed_server_are_removed_at_startup_fs_14() {
    let tree = Tree::new();
    let stale = ".ftp-upload-0123456789abcdef";
    let other = ".ftp-upload-of-somebody-else";
    fs::create_dir_all(tree.root.join("a/b/c")).unwrap();
    tree.link(&tree.outside, "link");
    fs::write(tree.outside.join(stale), "outside").unwrap();
    tree.link(tree.outside.join("secret"), "a/.ftp-upload-fedcba9876543210");
    for directory in [".", "a", "a/b", "a/b/c"] {
        tree.put(&format!("{directory}/{stale}"), "stale");
        tree.put(&format!("{directory}/{other}"), "other");
        tree.put(&format!("{directory}/file"), "file");
    }
    // A file that this or another server is writing is locked.
    let mut running =
        tree.storage().write(&path("a/b/new"), WriteMode::Create, Keep::Shared).unwrap();
    running.write_all(b"con").unwrap();
    cut(&tree.storage(), "young", WriteMode::Replace, b"young");
    cut(&tree.storage(), "old", WriteMode::Replace, b"old");
    set_record_age(&record_of(&tree, "old"), 13);
    let storage = tree.storage();
    storage.start_sweeper().unwrap();
    wait_until("the names are as expected", || {
        let (hidden, names): (Vec<_>, Vec<_>) =
            tree.names("").into_iter().partition(|name| has_bytes(name));
        hidden.len() == 1 && names == [other, "a", "file", "link"]
    });
    wait_for_names(&tree, "a", &[".ftp-upload-fedcba9876543210", other, "b", "file"]);
    wait_for_names(&tree, "a/b/c", &[other, "file"]);
    running.write_all(b"tent").unwrap();
    running.commit().unwrap();
    wait_for_names(&tree, "a/b", &[other, "c", "file", "new"]);
    assert_eq!(tree.get("a/b/new"), b"content");
    assert_eq!(fs::read(tree.outside.join(stale)).unwrap(), b"outside");
    finish(&storage, "young", WriteMode::Resume(5), b"er");
    assert_eq!(tree.get("young"), b"younger");
}

#[test]
fn the_sweeper_leaves_links_with_upload_names_alone_fs_14() {
    let tree = Tree::new();
    fs::write(tree.outside.join("victim"), "victim").unwrap();
    fs::hard_link(tree.outside.join("victim"), tree.root.join(".ftp-upload-0000000000000001"))
        .unwrap();
    tree.link(tree.outside.join("victim"), ".ftp-upload-0000000000000002");
    fs::write(tree.root.join(".ftp-upload-0000000000000003"), "left").unwrap();
    let root = Arc::new(Root::open(&tree.root).unwrap());
    // A walk continues only while another owner holds the root.
    let _held = Arc::clone(&root);
    assert!(sweep::once(&root).0 && sweep::once(&root).0);
    assert_eq!(tree.names(""), [".ftp-upload-0000000000000001", ".ftp-upload-0000000000000002"]);
    assert_eq!(fs::read(tree.outside.join("victim")).unwrap(), b"victim");
}

#[test]
fn a_changing_file_has_one_record_which_outlives_its_bytes_fs_14_hp_23() {
    let tree = Tree::new();
    let storage = tree.storage().with(|config| config.partial_files = 3);
    tree.put("f", "old");
    for (hours, content) in (0..5).zip([&b"part"[..], b""].into_iter().cycle()) {
        set_age(&tree.root.join("f"), hours);
        cut(&storage, "f", WriteMode::Replace, content);
    }
    assert_eq!(tree.names_with_records("").len(), 3);
    // Neither a weekend ends it, nor a clock that is set from 1970 to now, or was years ahead.
    for (hours, bytes) in [(11, 1), (2, 0), (89 * 24, 0), (40 * 365 * 24, 0)] {
        set_record_age(&tree.hidden(is_record), hours);
        assert_eq!(kept(&storage, "f"), Some(4 * bytes));
        assert!(storage.tidy_up());
        assert_eq!(tree.names_with_records("").len() as u64, 2 + bytes);
    }
    // Nor does it end that of a server that was killed.
    let record = tree.hidden(is_record);
    fs::write(&record, "").unwrap();
    set_age(&record, 40 * 365 * 24);
    assert!(storage.tidy_up());
    assert_eq!(kept(&storage, "f"), Some(0));
    assert_eq!(tree.get("f"), b"old");
}

#[test]
fn the_record_of_a_killed_server_loses_its_bytes_fs_14_fs_15() {
    let tree = Tree::new();
    for old in [None, Some("old")] {
        set(&tree, "f", old);
        let storage = tree.storage();
        // The record of an upload that runs, or was killed, says nothing of bytes that are left.
        cut(&storage, "f", WriteMode::Replace, b"written");
        let record = tree.hidden(is_record);
        fs::write(&record, "").unwrap();
        // Where there is no file, there is nothing to mix with.
        let left = old.map(|_| 0);
        assert_eq!(kept(&storage, "f"), left);
        let resumed = storage.write(&path("f"), WriteMode::Resume(2), Keep::Bytes(USER));
        assert_eq!(kind(resumed), Some(BadRestart));
        assert!(storage.tidy_up());
        let now = (kept(&storage, "f"), tree.names("").len());
        assert_eq!(now, (left, usize::from(old.is_some())));
        // An upload from byte 0 ends it.
        let next = begin(&storage, "f", WriteMode::Replace, b"new");
        assert!(is_running(&storage, "f"));
        next.commit().unwrap();
        assert_eq!((tree.get("f"), tree.names_with_records("")), (b"new".into(), vec!["f".into()]));
    }
}

#[test]
fn files_of_older_versions_are_swept_fs_14() {
    let tree = Tree::new();
    let digits = "0123456789abcdef".repeat(2);
    let [part, sign] = ["kept", "replacing"].map(|word| format!(".ftp-upload-{word}-{digits}"));
    tree.put(&part, "part");
    tree.put(&sign, "");
    assert!(tree.storage().tidy_up());
    assert!(tree.names_with_records("").is_empty());
}

#[test]
fn partial_files_are_swept_after_twelve_hours_fs_14() {
    let tree = Tree::new();
    let storage = tree.storage();
    let root = Arc::clone(&storage.files.root);
    let pause = || sweep::once(&root).1.as_secs();
    assert_eq!(pause(), 12 * 3_600, "nothing is kept");
    fs::create_dir(tree.root.join("d")).unwrap();
    for (directory, name, hours) in [("", "a", 3), ("d", "b", 10), ("", "c", 7)] {
        let place = format!("{directory}/{name}");
        cut(&storage, place.trim_start_matches('/'), WriteMode::Replace, b"part");
        let record = String::from_utf8(name::of_record(Some(USER), name.as_bytes())).unwrap();
        set_record_age(&tree.root.join(directory).join(record), hours);
    }
    // The next walk is due when the oldest partial upload is 12 hours old.
    let due = pause();
    assert!((2 * 3_600 - 60..=2 * 3_600).contains(&due), "{due}");
    assert_eq!((tree.names("").len(), tree.names("d").len()), (3, 1));
    // The next walk begins after an hour at the earliest.
    let record = String::from_utf8(name::of_record(Some(USER), b"c")).unwrap();
    set_record_age(&tree.root.join(record), 4);
    assert_eq!(pause(), 3_600);
}

#[test]
fn the_sweeper_ends_with_its_storage_fs_14() {
    let tree = Tree::new();
    let storage = tree.storage();
    storage.start_sweeper().unwrap();
    storage.start_sweeper().unwrap();
    let root = Arc::downgrade(&storage.files.root);
    drop(storage);
    // The sweeper may still be in its first walk.
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while root.strong_count() > 0 {
        assert!(std::time::Instant::now() < end);
        std::thread::yield_now();
    }
}

#[test]
fn walks_have_a_low_priority() {
    let tree = Tree::new();
    let storage = tree.storage();
    storage.start_sweeper().unwrap();
    // Field 19 of stat(5) is the nice value; the fields after the name begin with number 3.
    let nice = |stat: &str| {
        let (head, rest) = stat.rsplit_once(") ").unwrap();
        (head.ends_with("(sweep"), rest.split(' ').nth(19 - 3).unwrap().parse::<i32>().unwrap())
    };
    let (_, own) = nice(&fs::read_to_string("/proc/thread-self/stat").unwrap());
    wait_until("the walk has a low priority", || {
        let threads = fs::read_dir("/proc/self/task").unwrap();
        let stats = threads.filter_map(|it| fs::read_to_string(it.ok()?.path().join("stat")).ok());
        stats.into_iter().any(|stat| nice(&stat) == (true, (own + 10).min(19)))
    });
}
