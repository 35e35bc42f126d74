//! Uploads that did not end with success: what is kept, for which user and how long.

use std::time::{Duration, SystemTime};

use super::StorageErrorKind::{BadRestart, Busy, Exists};
use super::*;
use crate::storage::StreamEnd;

pub(super) const USER: &[u8] = b"ann";

pub(super) fn begin(
    storage: &LocalStorage,
    name: &str,
    mode: WriteMode,
    content: &[u8],
) -> Box<dyn Upload> {
    let mut upload = storage.write(&path(name), mode, Keep::Bytes(USER)).unwrap();
    upload.write_all(content).unwrap();
    upload
}

/// Interrupts an upload of the user after `content`.
pub(super) fn cut(storage: &LocalStorage, name: &str, mode: WriteMode, content: &[u8]) {
    begin(storage, name, mode, content).abort(StreamEnd::Cut);
}

fn fail(storage: &LocalStorage, name: &str, mode: WriteMode, content: &[u8]) {
    begin(storage, name, mode, content).abort(StreamEnd::Failed);
}

pub(super) fn finish(storage: &LocalStorage, name: &str, mode: WriteMode, content: &[u8]) {
    begin(storage, name, mode, content).commit().unwrap();
}

/// Returns the number of kept bytes; `None` without a record.
fn kept_for(storage: &LocalStorage, name: &str, user: Option<&[u8]>) -> Option<u64> {
    let found = storage.unfinished(&path(name), user).unwrap()?;
    assert!(!found.is_running);
    Some(found.kept)
}

pub(super) fn kept(storage: &LocalStorage, name: &str) -> Option<u64> {
    kept_for(storage, name, Some(USER))
}

pub(super) fn is_running(storage: &LocalStorage, name: &str) -> bool {
    storage.unfinished(&path(name), Some(USER)).unwrap().is_some_and(|found| found.is_running)
}

pub(super) fn record_of(tree: &Tree, name: &str) -> PathBuf {
    let record = name::of_record(Some(USER), name.as_bytes());
    tree.root.join(String::from_utf8(record).unwrap())
}

/// Returns the kept bytes.
fn bytes(tree: &Tree) -> Vec<u8> {
    fs::read(tree.hidden(has_bytes)).unwrap()
}

/// Returns whether there is a record, and no bytes are kept.
fn has_empty_record(tree: &Tree) -> bool {
    tree.hidden(is_record).exists() && !tree.names("").iter().any(|name| has_bytes(name))
}

pub(super) fn set_age(file: &Path, hours: u64) {
    let then = SystemTime::now() - Duration::from_secs(hours * 3_600);
    fs::OpenOptions::new().append(true).open(file).unwrap().set_modified(then).unwrap();
}

/// Lets `name` have this content, or no file.
pub(super) fn set(tree: &Tree, name: &str, content: Option<&str>) {
    match content {
        Some(content) => tree.put(name, content),
        None => drop(fs::remove_file(tree.root.join(name))),
    }
}

#[test]
fn a_user_can_resume_an_interrupted_upload_fs_15_fs_16_hf_17() {
    let tree = Tree::new();
    fs::create_dir(tree.root.join("d")).unwrap();
    for storage in tree.storages() {
        for old in [None, Some("old"), Some("old and much longer")] {
            for (name, gone_on, want) in [
                ("f", WriteMode::Resume(10), "0123456789new".to_owned()),
                ("f", WriteMode::Resume(9), "012345678new".to_owned()),
                ("d/f", WriteMode::Resume(4), "0123new".to_owned()),
                ("d/f", WriteMode::Resume(0), "new".to_owned()),
                ("d/f", WriteMode::Replace, "new".to_owned()),
            ] {
                set(&tree, name, old);
                cut(&storage, name, WriteMode::Replace, b"0123456789");
                // The bytes are invisible, and only their own user has a record of them.
                let shown = storage.stat(&path(name), Ask::Facts).ok().map(|file| file.size);
                assert_eq!(shown, old.map(|old| old.len() as u64));
                assert_eq!(read(&storage, name).ok(), old.map(|old| old.as_bytes().to_vec()));
                let listed = [list(&storage, "/"), list(&storage, "d")].concat();
                assert!(listed.iter().all(|(name, _)| name == b"d" || name == b"f"));
                assert_eq!(kept(&storage, name), Some(10));
                assert_eq!(kept_for(&storage, name, Some(b"bob")), None);
                assert_eq!(kept_for(&storage, name, None), None);
                let others = storage.write(&path(name), WriteMode::Resume(2), Keep::Bytes(b"bob"));
                assert_eq!(kind(others), Some(BadRestart));
                finish(&storage, name, gone_on, b"new");
                assert_eq!(tree.get(name), want.as_bytes(), "{old:?} {gone_on:?}");
                assert_eq!(kept(&storage, name), None);
                storage.remove(&path(name)).unwrap();
                let left = (tree.names_with_records(""), tree.names_with_records("d"));
                assert_eq!(left, (vec!["d".to_owned()], vec![]));
            }
        }
    }
}

#[test]
fn a_partial_file_grows_with_each_attempt_fs_15() {
    let tree = Tree::new();
    for storage in tree.storages() {
        for old in [None, Some("old")] {
            set(&tree, "f", old);
            cut(&storage, "f", WriteMode::Replace, b"01234");
            cut(&storage, "f", WriteMode::Resume(5), b"56");
            assert_eq!(kept(&storage, "f"), Some(7));
            cut(&storage, "f", WriteMode::Resume(3), b"abc");
            assert_eq!(kept(&storage, "f"), Some(6));
            // No byte arrived: the kept bytes stay.
            cut(&storage, "f", WriteMode::Resume(6), b"");
            assert_eq!(kept(&storage, "f"), Some(6));
            let beyond = storage.write(&path("f"), WriteMode::Resume(7), Keep::Bytes(USER));
            assert_eq!(kind(beyond), Some(BadRestart));
            assert_eq!((kept(&storage, "f"), bytes(&tree).len()), (Some(6), 6));
            // The newer upload replaces the kept one.
            cut(&storage, "f", WriteMode::Replace, b"xy");
            assert_eq!(kept(&storage, "f"), Some(2));
            finish(&storage, "f", WriteMode::Resume(2), b"z");
            assert_eq!(tree.get("f"), b"xyz");
            assert_eq!(tree.names_with_records(""), ["f"]);
            storage.remove(&path("f")).unwrap();
        }
    }
}

#[test]
fn each_record_has_another_number_fs_15() {
    let tree = Tree::new();
    for storage in tree.storages() {
        let number = || storage.unfinished(&path("f"), Some(USER)).unwrap().unwrap().number;
        let mut numbers = Vec::new();
        for mode in [WriteMode::Replace, WriteMode::Resume(2), WriteMode::Replace] {
            // Content of the same length and, on a fast machine, of the same second.
            cut(&storage, "f", mode, &b"0123"[..if mode == WriteMode::Replace { 4 } else { 2 }]);
            assert_eq!(kept(&storage, "f"), Some(4));
            assert_eq!(number(), number());
            assert!(!numbers.contains(&number()), "{mode:?}");
            numbers.push(number());
            // The clock of a file system may be coarse.
            std::thread::sleep(Duration::from_millis(20));
        }
        storage.forget(&path("f"), Some(USER)).unwrap();
    }
}

#[test]
fn a_failed_upload_keeps_only_the_bytes_of_earlier_ones_fs_15_hf_17() {
    let tree = Tree::new();
    for storage in tree.storages() {
        for old in [None, Some("old")] {
            set(&tree, "f", old);
            fail(&storage, "f", WriteMode::Replace, b"0123");
            assert_eq!(kept(&storage, "f"), Some(0));
            assert!(has_empty_record(&tree));
            for (from, left) in [(4, 4), (2, 2), (0, 0)] {
                cut(&storage, "f", WriteMode::Replace, b"0123");
                fail(&storage, "f", WriteMode::Resume(from), b"abcdef");
                assert_eq!(kept(&storage, "f"), Some(left));
                match left {
                    0 => assert!(has_empty_record(&tree)),
                    _ => assert_eq!(bytes(&tree), b"0123"[..usize::try_from(left).unwrap()]),
                }
            }
            // A second attempt discards the first one at once.
            cut(&storage, "f", WriteMode::Replace, b"0123");
            let second = begin(&storage, "f", WriteMode::Replace, b"");
            assert!(is_running(&storage, "f") && bytes(&tree).is_empty());
            second.abort(StreamEnd::Failed);
            assert_eq!(kept(&storage, "f"), Some(0));
            storage.forget(&path("f"), Some(USER)).unwrap();
            assert_eq!(tree.names_with_records("").len(), usize::from(old.is_some()));
        }
        fs::remove_file(tree.root.join("f")).unwrap();
    }
}

#[test]
fn uploads_onto_the_bytes_of_a_file_leave_nothing_fs_15_fs_16() {
    let tree = Tree::new();
    for policy in [PartialPolicy::Resume, PartialPolicy::Discard, PartialPolicy::Publish] {
        for storage in tree.storages().map(|storage| storage.with(|config| config.partial = policy))
        {
            for (old, mode) in [
                (Some("old"), WriteMode::Append),
                (Some("old"), WriteMode::From(1)),
                (Some("old"), WriteMode::From(3)),
                (None, WriteMode::Append),
            ] {
                set(&tree, "f", old);
                for ends in [cut, fail] {
                    ends(&storage, "f", mode, b"part");
                    assert_eq!(kept(&storage, "f"), None, "{mode:?}");
                    let left = tree.names_with_records("");
                    assert_eq!(left, old.map_or(vec![], |_| vec!["f".to_owned()]), "{mode:?}");
                    assert_eq!(read(&storage, "f").ok(), old.map(|old| old.as_bytes().to_vec()));
                }
            }
        }
    }
}

#[test]
fn partial_files_are_discarded_or_published_by_policy_fs_15() {
    let tree = Tree::new();
    for storage in tree.storages() {
        for old in [None, Some("old")] {
            let with = |policy| storage.clone().with(|config| config.partial = policy);
            let is_whole = || read(&storage, "f").ok() == old.map(|old| old.as_bytes().to_vec());
            let is_record =
                |found: Option<u64>| found == Some(0) && tree.hidden(is_record).exists();
            set(&tree, "f", old);
            let discarding = with(PartialPolicy::Discard);
            cut(&discarding, "f", WriteMode::Replace, b"part");
            assert!(is_record(kept(&discarding, "f")) && is_whole());
            // Bytes that an earlier server kept do not count, and cannot be resumed.
            cut(&storage, "f", WriteMode::Replace, b"part");
            assert_eq!(kept(&discarding, "f"), Some(0));
            let resumed = discarding.write(&path("f"), WriteMode::Resume(2), Keep::Bytes(USER));
            assert_eq!(kind(resumed), Some(BadRestart));
            let publishing = with(PartialPolicy::Publish);
            fail(&publishing, "f", WriteMode::Replace, b"part");
            assert!(is_record(kept(&publishing, "f")) && is_whole());
            cut(&publishing, "f", WriteMode::Replace, b"");
            assert!(is_record(kept(&publishing, "f")) && is_whole());
            // A text, too, is published: many devices never send TYPE.
            for is_image in [false, true] {
                let upload = publishing.write(
                    &path("f"),
                    WriteMode::Replace,
                    Keep::new(Some(USER), is_image),
                );
                upload.unwrap().write_all(b"part").unwrap();
                if old.is_none() {
                    assert_eq!((tree.get("f"), kept(&publishing, "f")), (b"part".to_vec(), None));
                    assert_eq!(tree.names_with_records(""), ["f"]);
                    storage.remove(&path("f")).unwrap();
                } else {
                    assert!(is_record(kept(&publishing, "f")) && is_whole());
                }
            }
            // A shared login has a record, but no bytes. All shared logins have the same one.
            for storage in [&storage, &publishing] {
                storage.forget(&path("f"), Some(USER)).unwrap();
                let mut upload =
                    storage.write(&path("f"), WriteMode::Replace, Keep::Shared).unwrap();
                upload.write_all(b"part").unwrap();
                drop(upload);
                assert!(is_record(kept_for(storage, "f", None)) && is_whole());
                assert_eq!(kept(storage, "f"), None);
                storage.forget(&path("f"), None).unwrap();
            }
            assert_eq!(tree.names_with_records("").len(), usize::from(old.is_some()));
        }
        fs::remove_file(tree.root.join("f")).unwrap();
    }
}

#[test]
fn only_one_session_at_a_time_can_resume_an_upload_fs_15_fs_18() {
    let tree = Tree::new();
    for storage in tree.storages() {
        let resume = |from, content| begin(&storage, "f", WriteMode::Resume(from), content);
        cut(&storage, "f", WriteMode::Replace, b"0123");
        let first = resume(4, b"");
        assert!(is_running(&storage, "f"));
        let second = storage.write(&path("f"), WriteMode::Resume(2), Keep::Bytes(USER));
        assert_eq!(kind(second), Some(Busy));
        // The refused one has not ended the first one.
        drop(first);
        assert_eq!(kept(&storage, "f"), Some(4));
        // Another upload starts from the beginning and completes first; the resumed one is not lost
        // in silence, and leaves nothing.
        let first = resume(4, b"");
        finish(&storage, "f", WriteMode::Replace, b"whole");
        assert_eq!(kind(first.commit()), Some(Exists));
        assert_eq!((tree.get("f"), tree.names("")), (b"whole".into(), vec!["f".into()]));
        assert_eq!(kept(&storage, "f"), Some(0));
        storage.remove(&path("f")).unwrap();
        storage.forget(&path("f"), Some(USER)).unwrap();
        // The record of an upload that began later is the one that counts.
        cut(&storage, "f", WriteMode::Replace, b"0123");
        let first = resume(4, b"45");
        cut(&storage, "f", WriteMode::Replace, b"xy");
        assert!(!is_running(&storage, "f"));
        drop(first);
        assert_eq!((kept(&storage, "f"), bytes(&tree)), (Some(2), b"xy".into()));
        // The upload that ends first with success is stored, and ends all records.
        let first = resume(2, b"z");
        cut(&storage, "f", WriteMode::Replace, b"other");
        first.commit().unwrap();
        assert_eq!((tree.get("f"), tree.names_with_records("")), (b"xyz".into(), vec!["f".into()]));
        storage.remove(&path("f")).unwrap();
    }
}

#[test]
fn a_look_at_a_record_does_not_take_another_look_for_an_upload_fs_15() {
    let tree = Tree::new();
    for storage in tree.storages() {
        cut(&storage, "f", WriteMode::Replace, b"0123");
        // Another process looks at it.
        let looking = fs::File::open(record_of(&tree, "f")).unwrap();
        looking.lock_shared().unwrap();
        assert!(!is_running(&storage, "f"));
        assert_eq!(kept(&storage, "f"), Some(4));
        drop(looking);
        storage.forget(&path("f"), Some(USER)).unwrap();
    }
}

#[test]
fn overtaken_uploads_leave_no_bytes_fs_15_fs_18() {
    let tree = Tree::new();
    for storage in tree.storages() {
        let bob = |mode| storage.write(&path("f"), mode, Keep::Bytes(b"bob")).unwrap();
        // Another file at the name forbids to resume at its length.
        for (old, has_record, change) in [
            (None, true, &(|| bob(WriteMode::Create).commit().unwrap()) as &dyn Fn()),
            (Some("old"), true, &|| bob(WriteMode::Replace).commit().unwrap()),
            (Some("old"), false, &|| storage.remove(&path("f")).unwrap()),
            (Some("old"), false, &|| storage.rename(&path("f"), &path("h"), true).unwrap()),
            (Some("old"), true, &|| storage.rename(&path("g"), &path("f"), true).unwrap()),
            (None, true, &|| storage.rename(&path("g"), &path("f"), true).unwrap()),
            (Some("old"), true, &|| tree.put("f", "by another program")),
            (None, true, &|| tree.put("f", "by another program")),
            (None, false, &|| assert!(storage.forget(&path("f"), Some(USER)).unwrap().is_some())),
            // Even if the name is then as it was.
            (None, false, &|| {
                bob(WriteMode::Create).commit().unwrap();
                storage.remove(&path("f")).unwrap();
            }),
        ] {
            set(&tree, "f", old);
            tree.put("g", "another");
            let running = begin(&storage, "f", WriteMode::Replace, b"part");
            change();
            running.abort(StreamEnd::Cut);
            assert_eq!(kept(&storage, "f"), has_record.then_some(0));
            let left = tree.names_with_records("");
            assert_eq!(left.iter().filter(|name| is_record(name)).count(), usize::from(has_record));
            assert!(!left.iter().any(|name| has_bytes(name)), "{left:?}");
            storage.forget(&path("f"), Some(USER)).unwrap();
        }
        set(&tree, "f", None);
        set(&tree, "g", None);
        set(&tree, "h", None);
        // Another upload of the user is the newer one, whether it runs, or left a record.
        let mut first = begin(&storage, "f", WriteMode::Replace, b"first");
        let second = begin(&storage, "f", WriteMode::Replace, b"se");
        first.abort(StreamEnd::Cut);
        assert!(is_running(&storage, "f"));
        second.abort(StreamEnd::Cut);
        assert_eq!(kept(&storage, "f"), Some(2));
        first = begin(&storage, "f", WriteMode::Replace, b"first");
        cut(&storage, "f", WriteMode::Replace, b"second");
        first.abort(StreamEnd::Cut);
        assert_eq!(kept(&storage, "f"), Some(6));
        storage.forget(&path("f"), Some(USER)).unwrap();
        assert!(tree.names_with_records("").is_empty());
    }
}

#[test]
fn a_second_attempt_beside_a_dead_line_has_a_record_of_its_own_fs_15_fs_18() {
    let tree = Tree::new();
    for storage in tree.storages() {
        tree.put("f", "old");
        let record = record_of(&tree, "f");
        let first = begin(&storage, "f", WriteMode::Replace, b"first");
        let second = begin(&storage, "f", WriteMode::Replace, b"second");
        // A server that is killed now, or after the first attempt has ended, leaves the record.
        assert!(record.exists());
        first.abort(StreamEnd::Cut);
        assert!(record.exists() && is_running(&storage, "f"));
        let first = begin(&storage, "f", WriteMode::Replace, b"third");
        second.abort(StreamEnd::Failed);
        assert!(record.exists());
        // Whoever stores the file beside it leaves the record of the one that still runs.
        let last = begin(&storage, "f", WriteMode::Replace, b"last");
        first.commit().unwrap();
        assert!(record.exists() && is_running(&storage, "f"));
        last.abort(StreamEnd::Cut);
        assert_eq!((kept(&storage, "f"), tree.get("f")), (Some(0), b"third".to_vec()));
        storage.forget(&path("f"), Some(USER)).unwrap();
        assert_eq!(tree.names_with_records(""), ["f"]);
    }
}

#[test]
fn a_full_table_of_records_refuses_uploads_and_drops_none_fs_15() {
    let tree = Tree::new();
    let storage = tree.storage();
    let shelf = storage.files.root.usage().shelf();
    for number in 0..crate::limits::RECORDS {
        let record = name::of_record(Some(USER), format!("r{number}").as_bytes());
        shelf.put(kept_uploads::KeptPart::new(Vec::new(), (0, 0), &record, true));
    }
    tree.put("f", "old");
    let refused = storage.write(&path("f"), WriteMode::Replace, Keep::Bytes(USER));
    assert_eq!(kind(refused), Some(StorageErrorKind::NoSpace));
    assert_eq!(
        (tree.names_with_records(""), shelf.records_of(name::owner_of(Some(USER)), true)),
        (vec!["f".to_owned()], crate::limits::RECORDS)
    );
    // Others, and new files, are not affected.
    finish(&storage, "g", WriteMode::Replace, b"new");
    storage.write(&path("f"), WriteMode::Replace, Keep::Bytes(b"bob")).unwrap().commit().unwrap();
}

#[test]
fn partial_files_expire_after_twelve_hours_fs_15() {
    let tree = Tree::new();
    for storage in tree.storages() {
        for old in [None, Some("old")] {
            set(&tree, "f", old);
            for content in [&b"0123"[..], b""] {
                cut(&storage, "f", WriteMode::Replace, content);
                let record = tree.hidden(is_record);
                set_record_age(&record, 11);
                assert_eq!(kept(&storage, "f"), Some(content.len() as u64));
                // The record stays: the client must not resume at the length of the old file.
                set_record_age(&record, 1);
                assert_eq!(kept(&storage, "f"), Some(0));
                let resumed = storage.write(&path("f"), WriteMode::Resume(4), Keep::Bytes(USER));
                assert_eq!(kind(resumed), Some(BadRestart));
            }
            finish(&storage, "f", WriteMode::Replace, b"new");
            assert_eq!(
                (tree.get("f"), tree.names_with_records("")),
                (b"new".into(), vec!["f".into()])
            );
            storage.remove(&path("f")).unwrap();
        }
    }
}

#[test]
fn a_record_ends_only_by_what_the_server_does_fs_13_fs_15() {
    let tree = Tree::new();
    for storage in tree.storages() {
        let bob = |mode| {
            let mut upload = storage.write(&path("f"), mode, Keep::Bytes(b"bob")).unwrap();
            upload.write_all(b"content of bob").unwrap();
            upload
        };
        // Whatever else happens to the old file takes the bytes away, and leaves the record.
        for (old, left, change) in [
            (None, None, &(|| finish(&storage, "f", WriteMode::Replace, b"new")) as &dyn Fn()),
            (Some("old"), None, &|| finish(&storage, "f", WriteMode::Replace, b"new")),
            (Some("old"), Some(0), &|| finish(&storage, "f", WriteMode::Append, b" and more")),
            (Some("old"), Some(0), &|| finish(&storage, "f", WriteMode::From(1), b"new")),
            (None, None, &|| finish(&storage, "f", WriteMode::Resume(2), b"new")),
            (Some("old"), None, &|| finish(&storage, "f", WriteMode::Resume(4), b"new")),
            (None, None, &|| bob(WriteMode::Create).commit().unwrap()),
            (Some("old"), None, &|| bob(WriteMode::Replace).commit().unwrap()),
            (None, None, &|| storage.rename(&path("g"), &path("f"), true).unwrap()),
            (Some("old"), None, &|| storage.rename(&path("g"), &path("f"), true).unwrap()),
            (Some("old"), None, &|| storage.remove(&path("f")).unwrap()),
            (Some("old"), None, &|| storage.rename(&path("f"), &path("h"), true).unwrap()),
            (Some("old"), Some(0), &|| set_age(&tree.root.join("f"), 1)),
            (Some("old"), Some(0), &|| {
                storage.set(&path("f"), Change::Modified(1_000_000_000)).unwrap();
            }),
            (Some("old"), Some(0), &|| tree.put("f", "by another program")),
            // Another inode, as exFAT and most FUSE disks give one at each mount.
            (Some("old"), Some(0), &|| {
                let was = fs::metadata(tree.root.join("f")).unwrap().modified().unwrap();
                fs::copy(tree.root.join("f"), tree.root.join("copy")).unwrap();
                let copy = fs::File::options().append(true).open(tree.root.join("copy")).unwrap();
                copy.set_modified(was).unwrap();
                fs::rename(tree.root.join("copy"), tree.root.join("f")).unwrap();
            }),
            (Some("old"), Some(0), &|| {
                fs::hard_link(tree.root.join("f"), tree.root.join("link")).unwrap();
            }),
            // The record itself has a second name.
            (Some("old"), Some(0), &|| {
                fs::hard_link(record_of(&tree, "f"), tree.root.join("link")).unwrap();
            }),
            (Some("old"), Some(0), &|| fs::remove_file(tree.hidden(has_bytes)).unwrap()),
            (Some("old"), Some(0), &|| fs::write(record_of(&tree, "f"), "torn").unwrap()),
            (Some("old"), None, &|| fs::remove_file(tree.root.join("f")).unwrap()),
            (None, None, &|| tree.put("f", "by another program")),
            (None, Some(0), &|| set_record_age(&record_of(&tree, "f"), 12)),
        ] {
            set(&tree, "f", old);
            tree.put("g", "another");
            assert_eq!(kept(&storage, "f"), None);
            cut(&storage, "f", WriteMode::Replace, b"part");
            assert_eq!(
                (kept(&storage, "f"), kept_for(&storage, "f", Some(b"bob"))),
                (Some(4), None)
            );
            assert_eq!(read(&storage, "f").ok(), old.map(|old| old.as_bytes().to_vec()));
            // Neither a change of its rights nor an upload that fails makes another file of it.
            if old.is_some() {
                storage.set(&path("f"), Change::Mode(0o600)).unwrap();
            }
            drop(bob(WriteMode::Replace));
            storage.forget(&path("f"), Some(b"bob")).unwrap();
            assert_eq!(kept(&storage, "f"), Some(4));
            change();
            assert_eq!(kept(&storage, "f"), left);
            // What is under the name then is no beginning of it.
            let resumed = storage.write(&path("f"), WriteMode::Resume(2), Keep::Bytes(USER));
            assert_eq!(kind(resumed), Some(BadRestart));
            storage.forget(&path("f"), Some(USER)).unwrap();
            storage.forget(&path("f"), Some(b"bob")).unwrap();
            for name in tree.names_with_records("") {
                fs::remove_file(tree.root.join(name)).unwrap();
            }
        }
    }
}

#[test]
fn a_record_can_be_forgotten_fs_15() {
    let tree = Tree::new();
    for storage in tree.storages() {
        for old in [None, Some("old")] {
            set(&tree, "f", old);
            let forget =
                |user| storage.forget(&path("f"), Some(user)).unwrap().map(|found| found.kept);
            cut(&storage, "f", WriteMode::Replace, b"0123");
            assert_eq!(forget(b"bob"), None);
            assert_eq!((kept(&storage, "f"), forget(USER), forget(USER)), (Some(4), Some(4), None));
            // A running upload goes on, and leaves no record any more, unless there is a file.
            let upload = begin(&storage, "f", WriteMode::Replace, b"0123");
            let found = storage.forget(&path("f"), Some(USER)).unwrap();
            assert!(found.is_some_and(|found| found.is_running));
            drop(upload);
            assert_eq!(kept(&storage, "f"), old.map(|_| 4));
            storage.forget(&path("f"), Some(USER)).unwrap();
            let upload = begin(&storage, "f", WriteMode::Replace, b"0123");
            assert!(forget(USER).is_some());
            upload.commit().unwrap();
            assert_eq!(
                (tree.get("f"), tree.names_with_records("")),
                (b"0123".into(), vec!["f".into()])
            );
        }
        fs::remove_file(tree.root.join("f")).unwrap();
    }
    for name in ["/", "gone/f", ".ftp-upload-0123456789abcdef", "f/../g"] {
        assert_eq!(tree.storage().unfinished(&path(name), Some(USER)).unwrap(), None, "{name}");
        assert_eq!(tree.storage().forget(&path(name), Some(USER)).unwrap(), None, "{name}");
    }
}

#[test]
fn a_resumed_upload_does_not_overwrite_a_newer_file_fs_15_fs_18() {
    let tree = Tree::new();
    for storage in tree.storages() {
        for old in [None, Some("old")] {
            for (mode, want) in [(WriteMode::Resume(2), Exists), (WriteMode::Append, Busy)] {
                set(&tree, "f", old);
                if mode != WriteMode::Append {
                    cut(&storage, "f", WriteMode::Replace, b"0123");
                } else if old.is_some() {
                    continue;
                }
                let upload = storage.write(&path("f"), mode, Keep::Bytes(USER)).unwrap();
                tree.put("f", "other");
                assert_eq!(kind(upload.commit()), Some(want));
                assert_eq!((tree.get("f"), tree.names("")), (b"other".into(), vec!["f".into()]));
                storage.remove(&path("f")).unwrap();
                assert!(tree.names_with_records("").is_empty());
            }
        }
    }
}
