//! Hidden files of uploads that other users of the computer cannot read, plant or change.

use super::StorageErrorKind::BadRestart;
use super::partial::{USER, begin, cut, finish, kept, record_of, set};
use super::*;
use crate::storage::StreamEnd;

#[test]
fn hidden_bytes_are_private_under_a_random_name_until_they_are_published_fs_12_fs_14() {
    use std::os::unix::fs::PermissionsExt as _;
    let tree = Tree::new();
    let storage = tree.storage().with(|config| config.umask = 0);
    let modes = || {
        let names = tree.names_with_records("").into_iter().filter(|name| name != "f");
        let mode = |name: &String| fs::metadata(tree.root.join(name)).unwrap().permissions().mode();
        names.map(|name| (mode(&name) & 0o7777, has_bytes(&name))).collect::<Vec<_>>()
    };
    let mut seen = Vec::new();
    for old in [None, Some("old")] {
        set(&tree, "f", old);
        let running = begin(&storage, "f", WriteMode::Replace, b"secret");
        seen.push(tree.hidden(has_bytes));
        assert!(modes().iter().all(|(mode, _)| *mode == 0o600));
        running.abort(StreamEnd::Cut);
        assert_eq!(modes(), [(0o600, true), (0o600, false)]);
        // A record has nothing of the content.
        assert!(!fs::read_to_string(record_of(&tree, "f")).unwrap().contains("secret"));
        finish(&storage, "f", WriteMode::Resume(6), b"s");
        let mode = fs::metadata(tree.root.join("f")).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, if old.is_some() { 0o644 } else { 0o666 });
        storage.remove(&path("f")).unwrap();
    }
    assert_ne!(seen[0], seen[1]);
}

#[test]
fn bytes_are_private_again_if_they_cannot_get_their_name_fs_12_fs_14() {
    use std::os::unix::fs::PermissionsExt as _;
    let tree = Tree::new();
    for storage in tree.storages() {
        fs::create_dir(tree.root.join("d")).unwrap();
        cut(&storage, "d/f", WriteMode::Replace, b"0123");
        let resumed = begin(&storage, "d/f", WriteMode::Resume(4), b"secret");
        fs::rename(tree.root.join("d"), tree.outside.join("d")).unwrap();
        assert!(resumed.commit().is_err());
        for entry in fs::read_dir(tree.outside.join("d")).unwrap() {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode() & 0o7777;
            assert_eq!(mode, 0o600, "{:?}", entry.path());
        }
        fs::remove_dir_all(tree.outside.join("d")).unwrap();
    }
}

#[test]
fn a_foreign_file_with_the_name_of_a_partial_file_is_untouched_fs_15_hp_22() {
    let tree = Tree::new();
    let record = record_of(&tree, "f");
    let hidden = record.file_name().unwrap().to_str().unwrap();
    fs::write(tree.outside.join("victim"), "victim").unwrap();
    for storage in tree.storages() {
        let make: [&dyn Fn(&str); 4] = [
            &|hidden| tree.link(tree.outside.join("victim"), hidden),
            &|hidden| {
                fs::hard_link(tree.outside.join("victim"), tree.root.join(hidden)).unwrap();
            },
            &|hidden| tree.fifo(hidden),
            &|hidden| fs::create_dir(tree.root.join(hidden)).unwrap(),
        ];
        for make in make {
            make(hidden);
            assert_eq!(kept(&storage, "f"), None);
            tree.put("f", "old");
            // What is odd forbids, but is never used.
            assert_eq!(kept(&storage, "f"), Some(0));
            let beyond = storage.write(&path("f"), WriteMode::Resume(6), Keep::Bytes(USER));
            assert_eq!(kind(beyond), Some(BadRestart));
            let is_directory = record.is_dir();
            let upload = storage.write(&path("f"), WriteMode::Replace, Keep::Bytes(USER));
            match is_directory {
                // No record can be written here.
                true => assert!(upload.is_err()),
                false => {
                    drop(upload);
                    finish(&storage, "f", WriteMode::Replace, b"new");
                    assert_eq!((tree.get("f"), kept(&storage, "f")), (b"new".to_vec(), None));
                }
            }
            let _ = fs::remove_dir(&record);
            fs::remove_file(tree.root.join("f")).unwrap();
            assert!(tree.names_with_records("").is_empty());
        }
    }
    assert_eq!(fs::read(tree.outside.join("victim")).unwrap(), b"victim");
}

#[test]
fn bytes_that_another_user_of_the_computer_has_written_are_not_used_fs_15_hp_22() {
    if !is_privileged() {
        return println!("skipped: only root can give a file away");
    }
    let tree = Tree::new();
    for storage in tree.storages() {
        cut(&storage, "f", WriteMode::Replace, b"0123");
        let bytes = tree.hidden(has_bytes);
        std::os::unix::fs::chown(&bytes, Some(65_534), None).unwrap();
        assert_eq!(kept(&storage, "f").unwrap_or_default(), 0);
        let resumed = storage.write(&path("f"), WriteMode::Resume(2), Keep::Bytes(USER));
        assert_eq!(kind(resumed), Some(BadRestart));
        finish(&storage, "f", WriteMode::Replace, b"new");
        assert_eq!(tree.get("f"), b"new");
        assert_eq!(tree.names_with_records(""), ["f"]);
        storage.remove(&path("f")).unwrap();
    }
}
