//! Records of unfinished uploads, and what happens to their directory.

use super::StorageErrorKind::{Busy, NotEmpty};
use super::partial::{USER, begin, cut, finish, is_running, kept};
use super::*;
use crate::storage::StreamEnd;

#[test]
fn a_directory_with_nothing_but_hidden_files_can_be_removed_fs_14_fs_15_cm_87() {
    let tree = Tree::new();
    for storage in tree.storages() {
        storage.mkdir(&path("d")).unwrap();
        for name in ["d/a", "d/b"] {
            cut(&storage, name, WriteMode::Replace, b"part");
        }
        cut(&storage, "d/empty", WriteMode::Replace, b"");
        tree.put("d/.ftp-upload-0123456789abcdef", "stale");
        tree.put("d/file", "");
        // A visible file prevents the removal, and then nothing is removed.
        assert_eq!(kind(storage.rmdir(&path("d"))), Some(NotEmpty));
        assert_eq!(tree.names_with_records("d").len(), 7);
        // A running upload also prevents the removal.
        let running = begin(&storage, "d/a", WriteMode::Resume(4), b"");
        assert_eq!(kind(storage.rmdir(&path("d"))), Some(NotEmpty));
        storage.remove(&path("d/file")).unwrap();
        assert_eq!(kind(storage.rmdir(&path("d"))), Some(Busy));
        drop(running);
        let running = begin(&storage, "d/new", WriteMode::Replace, b"part");
        assert_eq!(kind(storage.rmdir(&path("d"))), Some(Busy));
        drop(running);
        assert_eq!(
            ["d/a", "d/empty", "d/new"].map(|name| kept(&storage, name)),
            [Some(4), Some(0), Some(4)]
        );
        storage.rmdir(&path("d")).unwrap();
        assert!(tree.names_with_records("").is_empty());
        // The records do not come back with another directory of the same name.
        storage.mkdir(&path("d")).unwrap();
        assert_eq!(kept(&storage, "d/a"), None);
        storage.rmdir(&path("d")).unwrap();
    }
}

#[test]
fn a_record_moves_with_its_directory_fs_15() {
    let tree = Tree::new();
    for storage in tree.storages() {
        fs::create_dir_all(tree.root.join("d/in")).unwrap();
        tree.put("d/in/old", "old");
        cut(&storage, "d/in/new", WriteMode::Replace, b"0123");
        cut(&storage, "d/in/old", WriteMode::Replace, b"0123");
        let running = begin(&storage, "d/in/running", WriteMode::Replace, b"01");
        storage.rename(&path("d"), &path("e"), true).unwrap();
        assert!(is_running(&storage, "e/in/running"));
        drop(running);
        assert_eq!(
            ["e/in/new", "e/in/old", "e/in/running"].map(|name| kept(&storage, name)),
            [Some(4), Some(4), Some(2)]
        );
        for name in ["e/in/new", "e/in/old", "e/in/running"] {
            finish(&storage, name, WriteMode::Resume(2), b"new");
            assert_eq!(tree.get(name), b"01new");
        }
        assert_eq!(tree.names_with_records("e/in"), ["new", "old", "running"]);
        fs::remove_dir_all(tree.root.join("e")).unwrap();
    }
}

#[test]
fn a_refused_rmdir_keeps_the_partial_files_in_the_directory_fs_15_cm_87() {
    let tree = Tree::new();
    for storage in tree.storages() {
        storage.mkdir(&path("d")).unwrap();
        let names: Vec<String> = (0..20).map(|number| format!("d/{number}")).collect();
        names.iter().for_each(|name| cut(&storage, name, WriteMode::Create, b"01234"));
        let upload = storage.write(&path("d/7"), WriteMode::Resume(5), Keep::Bytes(USER)).unwrap();
        assert_eq!(kind(storage.rmdir(&path("d"))), Some(Busy));
        upload.abort(StreamEnd::Cut);
        assert!(names.iter().all(|name| kept(&storage, name) == Some(5)));
        storage.rmdir(&path("d")).unwrap();
    }
}
