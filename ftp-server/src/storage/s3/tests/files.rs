//! Files and directories, on the fake store.

use ftp_tests::wait::{patiently, wait_until};

use super::*;
use crate::storage::{EntryKind, MemoryStorage};
use crate::testing::storage_contract;

#[test]
fn s3_storage_behaves_like_memory_storage_fs_15_fs_16_cm_107_cm_108() {
    let make = || {
        let fake = Fake::start();
        let storage = on(&fake).rename_trees(100);
        (storage, fake)
    };
    storage_contract(1..=40, make).unwrap();
}

#[test]
fn files_of_all_sizes_are_stored_and_read_whole() {
    let fake = Fake::start();
    let storage = on(&fake);
    for length in [0, 1, PART - 1, PART, PART + 1, 2 * PART, 3 * PART + 7] {
        let bytes = content(length);
        put(&storage, "f", WriteMode::Replace, &bytes).unwrap();
        assert_eq!(fake.content("f").as_deref(), Some(&*bytes), "{length}");
        assert_eq!(read(&storage, "f").unwrap(), bytes);
        assert_eq!(storage.stat(&path("f"), Ask::Facts).unwrap().size, length as u64);
        let mut source = storage.read(&path("f")).unwrap();
        for offset in [length / 2, length, 0] {
            source.seek_to(offset as u64).unwrap();
            let mut rest = Vec::new();
            source.read_to_end(&mut rest).unwrap();
            assert_eq!(rest, bytes[offset..]);
        }
        assert_eq!(kind(source.seek_to(length as u64 + 1)), Some(Kind::BadRestart));
        assert_eq!((fake.uploads(), fake.keys(".ftp-server/").len()), (0, 0));
    }
    // One request stores a small file.
    let before = fake.count("PutObject");
    put(&storage, "f", WriteMode::Replace, b"small").unwrap();
    assert_eq!((fake.count("PutObject") - before, fake.count("UploadPart") > 0), (1, true));
}

#[test]
fn downloads_one_after_the_other_share_a_connection() {
    let fake = Fake::start();
    let storage = on(&fake);
    fake.store("large", &content(1_000_000));
    fake.store("f", b"f");
    for name in ["f", "large", "f", "f"] {
        read(&storage, name).unwrap();
    }
    assert_eq!((fake.count("GetObject"), fake.count(fake::CONNECTION)), (4, 1));
}

#[test]
fn appends_and_restarts_copy_the_old_bytes_cm_107_cm_108() {
    let fake = Fake::start();
    let storage = on(&fake);
    let (old, new) = (content(2 * PART + 5), content(PART + 9));
    for (length, mode, want) in [
        (0, WriteMode::Append, 0),
        (10, WriteMode::Append, 10),
        (10, WriteMode::From(4), 4),
        (PART, WriteMode::Append, PART),
        (2 * PART + 5, WriteMode::Append, 2 * PART + 5),
        (2 * PART + 5, WriteMode::From(PART as u64 + 3), PART + 3),
        (2 * PART + 5, WriteMode::From(7), 7),
    ] {
        for added in [0, 1, new.len()] {
            fake.store("f", &old[..length]);
            let mut upload = storage.write(&path("f"), mode, Keep::Bytes(USER)).unwrap();
            while !upload.prepare().unwrap() {}
            upload.write_all(&new[..added]).unwrap();
            assert_eq!(fake.content("f").unwrap(), old[..length]);
            upload.commit().unwrap();
            let want = [&old[..want], &new[..added]].concat();
            assert_eq!(fake.content("f").unwrap(), want, "{length} {mode:?} {added}");
        }
    }
    assert_eq!(
        kind(storage.write(&path("f"), WriteMode::From(1 << 40), Keep::Shared)),
        Some(Kind::BadRestart)
    );
    // Another session has changed the file.
    for length in [10, 2 * PART] {
        fake.store("f", &old[..length]);
        let mut upload = storage.write(&path("f"), WriteMode::Append, Keep::Shared).unwrap();
        upload.write_all(b"more").unwrap();
        fake.store("f", b"other");
        assert_eq!(kind(upload.commit()), Some(Kind::Busy));
        assert_eq!(fake.content("f").unwrap(), b"other");
        // The same, but before the old bytes are copied.
        fake.store("f", &old[..length]);
        let mut upload = storage.write(&path("f"), WriteMode::Append, Keep::Shared).unwrap();
        fake.store("f", b"other");
        let written = upload.write_all(b"more").map_err(StorageError::from);
        assert_eq!(kind(written), Some(Kind::Busy), "{length}");
        drop(upload);
        assert_eq!(fake.content("f").unwrap(), b"other");
        // The object was removed.
        fake.store("f", &old[..length]);
        let mut upload = storage.write(&path("f"), WriteMode::Append, Keep::Shared).unwrap();
        storage.remove(&path("f")).unwrap();
        let written = upload.write_all(b"more").map_err(StorageError::from);
        assert_eq!(kind(written), Some(Kind::Busy), "{length}");
        drop(upload);
        assert_eq!(fake.content("f"), None);
    }
    assert_eq!(fake.uploads(), 0);
}

#[test]
fn an_append_is_not_ready_while_the_old_bytes_are_copied() {
    for (length, operation) in [(10, "GetObject"), (2 * PART, "UploadPartCopy")] {
        patiently(Duration::from_secs(1), |limit| {
            let fake = Fake::start();
            let storage = on(&fake);
            let old = content(length);
            fake.store("f", &old);
            let mut upload =
                storage.write(&path("f"), WriteMode::Append, Keep::Bytes(USER)).unwrap();
            fake.fail(operation, 0, 1, fake::Fault::Delay(limit));
            assert!(!upload.ready().unwrap(), "{operation}");
            while !upload.ready().unwrap() {}
            upload.write_all(b"more").unwrap();
            upload.commit().unwrap();
            assert_eq!(fake.content("f").unwrap(), [&*old, b"more"].concat());
        });
    }
}

#[test]
fn cut_uploads_of_shared_logins_and_appends_leave_no_bytes() {
    let fake = Fake::start();
    let storage = on(&fake);
    for name in ["new", "old"] {
        for length in [3, PART + 3, 2 * PART + 3] {
            for mode in [WriteMode::Replace, WriteMode::Append] {
                fake.store("old", b"old");
                let mut upload = storage.write(&path(name), mode, Keep::Shared).unwrap();
                upload.write_all(&content(length)).unwrap();
                upload.abort(StreamEnd::Cut);
                let found = storage.unfinished(&path(name), None).unwrap();
                let want = (mode == WriteMode::Replace).then_some(0);
                assert_eq!(found.map(|found| found.kept), want, "{name} {length} {mode:?}");
                storage.forget(&path(name), None).unwrap();
                assert_eq!(fake.keys(""), ["old"], "{name} {length} {mode:?}");
                assert_eq!((fake.content("old").unwrap(), fake.uploads()), (b"old".to_vec(), 0));
            }
        }
    }
}

#[test]
fn directories_are_markers_and_prefixes() {
    let fake = Fake::start();
    let storage = on(&fake);
    fake.store("p/q/f", b"f");
    fake.store("a", b"file");
    for (name, is) in [("/", true), ("p", true), ("p/q", true), ("p/q/f", false)] {
        let want = if is { EntryKind::Directory } else { EntryKind::File };
        assert_eq!(storage.stat(&path(name), Ask::Facts).unwrap().kind, want, "{name}");
        let refused = kind(storage.stat(&path(name), Ask::Directory));
        assert_eq!(refused, (!is).then_some(Kind::NotDirectory), "{name}");
    }
    assert_eq!(names(&storage, "/"), ["a", "p"]);
    assert_eq!(names(&storage, "p"), ["q"]);
    assert_eq!(kind(storage.rmdir(&path("p"))), Some(Kind::NotEmpty));
    assert_eq!(kind(storage.rmdir(&path("a"))), Some(Kind::NotDirectory));
    assert_eq!(kind(storage.list(&path("a"), Ask::Names).map(drop)), Some(Kind::NotDirectory));
    assert_eq!(kind(storage.list(&path("x"), Ask::Names).map(drop)), Some(Kind::NotFound));
    storage.mkdir(&path("m")).unwrap();
    assert_eq!((fake.content("m/"), names(&storage, "m")), (Some(vec![]), vec![]));
    assert_eq!(kind(storage.mkdir(&path("m"))), Some(Kind::Exists));
    assert_eq!(kind(storage.mkdir(&path("p"))), Some(Kind::Exists));
    assert_eq!(kind(storage.mkdir(&path("a"))), Some(Kind::Exists));
    assert_eq!(kind(storage.mkdir(&path("x/y"))), Some(Kind::NotFound));
    // Without a marker, a directory disappears with its last file.
    storage.remove(&path("p/q/f")).unwrap();
    assert_eq!(kind(storage.stat(&path("p"), Ask::Facts)), Some(Kind::NotFound));
    storage.rmdir(&path("m")).unwrap();
    assert_eq!(fake.keys(""), ["a"]);
}

#[test]
fn foreign_keys_are_listed_once_or_hidden() {
    let fake = Fake::start();
    let storage = on(&fake);
    for key in ["both", "both/f", "x\ny", ".ftp-server/partial/x", "d//f", "+ %&<é>", "d/f"] {
        fake.store(key, b"1");
    }
    assert_eq!(names(&storage, "/"), ["+ %&<é>", "both", "d"]);
    assert_eq!(names(&storage, "d"), ["f"]);
    assert_eq!(read(&storage, "+ %&<é>").unwrap(), b"1");
    for name in [".ftp-server", ".ftp-server/partial/x"] {
        assert_eq!(kind(storage.stat(&path(name), Ask::Facts)), Some(Kind::NotFound));
        let refused = kind(storage.write(&path(name), WriteMode::Replace, Keep::Shared));
        assert_eq!(refused, Some(Kind::NameNotAllowed));
    }
    // A storage below a prefix does not reach other keys.
    let below = store_at(&fake).storage("d").unwrap();
    assert_eq!(names(&below, "/"), ["f"]);
    assert_eq!(kind(below.stat(&path("both"), Ask::Facts)), Some(Kind::NotFound));
    assert!(
        store_at(&fake)
            .storage("none")
            .unwrap()
            .list(&path("/"), Ask::Facts)
            .unwrap()
            .next()
            .is_none()
    );
}

#[test]
fn objects_without_a_path_are_not_listed_and_logged_once() {
    let fake = Fake::start();
    let storage = on(&fake);
    let longest = "x".repeat(1_023);
    let pathless =
        ["t\tab", "del\x7f", "c\x01/f", &format!("{longest}x"), "a//b", "e/../f", "h/./i"];
    for key in pathless {
        fake.store(key, b"1");
    }
    fake.store("good", b"1");
    fake.store(&longest, b"1");
    let said = crate::log::messages::of(log::Level::Warn, || {
        for _ in 0..2 {
            assert_eq!(names(&storage, "/"), ["a", "e", "good", "h", &longest]);
            for name in names(&storage, "/") {
                // Whatever is listed can be used.
                let found = storage.stat(&path(&name), Ask::Facts).unwrap().kind;
                match found {
                    EntryKind::File => assert_eq!(read(&storage, &name).unwrap(), b"1"),
                    _ => assert!(names(&storage, &name).is_empty(), "{name}"),
                }
            }
            for name in ["a", "e", "h"] {
                assert_eq!(kind(storage.rmdir(&path(name))), Some(Kind::NotEmpty));
            }
        }
    });
    assert_eq!(said.len(), 4, "{said:?}");
    for (line, key) in said.iter().zip(["\"del\\u{7f}\"", "\"a/", "\"e/", "\"h/"]) {
        assert!(line.contains("holds objects without a path") && line.contains(key), "{line}");
    }
    assert_eq!(fake.keys("").len(), 9, "nothing is removed");
    // Without these objects, the directory can be removed.
    storage.mkdir(&path("a/d")).unwrap();
    storage.rmdir(&path("a/d")).unwrap();
    assert_eq!(names(&storage, "a"), [""; 0]);
}

#[test]
fn long_listings_come_page_by_page() {
    let fake = Fake::start();
    let storage = on(&fake);
    for number in 0..2_500 {
        fake.store(&format!("d/{number:04}"), b"");
        fake.store(&format!("d/e{number:04}/f"), b"");
    }
    let mut entries = storage.list(&path("d"), Ask::Facts).unwrap();
    assert!(entries.next().is_some());
    assert_eq!(fake.count("ListObjectsV2"), 1);
    assert_eq!(entries.count(), 4_999);
    assert_eq!(fake.count("ListObjectsV2"), 5);
}

#[test]
fn disabled_checksums_are_not_sent_to_the_store() {
    for checksums in [true, false] {
        let fake = Fake::start();
        let store = settings(&fake.endpoint()).checksums(checksums).build().unwrap();
        let storage = store.storage("").unwrap();
        fake.refuse_checksums();
        let stored = put(&storage, "f", WriteMode::Create, b"1");
        assert_eq!(kind(stored), checksums.then_some(Kind::Io));
        assert_eq!(kind(storage.mkdir(&path("d"))), checksums.then_some(Kind::Io));
    }
}

#[test]
fn files_of_several_parts_are_stored_in_a_bucket_with_object_lock() {
    for checksums in [true, false] {
        let fake = Fake::start();
        fake.lock_objects();
        let store = settings(&fake.endpoint()).checksums(checksums).build().unwrap();
        let storage = store.storage("").unwrap();
        for length in [10, PART + 9] {
            put(&storage, "f", WriteMode::Replace, &content(length)).unwrap();
            assert!(fake.content("f").unwrap() == content(length), "{checksums} {length}");
        }
    }
}

#[test]
fn a_file_never_takes_the_name_of_a_directory() {
    let fake = Fake::start();
    let storage = on(&fake);
    fake.store("f", b"1");
    fake.store("d/g", b"2");
    for (replace, want) in [(false, Kind::Exists), (true, Kind::IsDirectory)] {
        assert_eq!(kind(storage.rename(&path("f"), &path("d"), replace)), Some(want));
    }
    assert_eq!(names(&storage, "/"), ["d", "f"]);
}

#[test]
fn files_are_renamed_by_copy_and_removal() {
    let fake = Fake::start();
    let storage = on(&fake);
    fake.store("a", b"one");
    fake.store("b", b"two");
    storage.rename(&path("a"), &path("c"), false).unwrap();
    assert_eq!((fake.content("a"), fake.content("c").unwrap()), (None, b"one".to_vec()));
    assert_eq!(kind(storage.rename(&path("c"), &path("b"), false)), Some(Kind::Exists));
    storage.rename(&path("c"), &path("b"), true).unwrap();
    assert_eq!((fake.keys(""), fake.content("b").unwrap()), (vec!["b".into()], b"one".to_vec()));
    for (from, to, want) in [
        ("x", "y", Kind::NotFound),
        ("b", "x/y", Kind::NotFound),
        ("/", "x", Kind::Denied),
        ("b", "/", Kind::IsDirectory),
    ] {
        assert_eq!(kind(storage.rename(&path(from), &path(to), true)), Some(want), "{from} {to}");
    }
    // The copy failed silently, so the original stays.
    fake.fail("HeadObject", 2, 1, fake::Fault::Refuse(404, "NoSuchKey"));
    fake.fail("GetObject", 1, 1, fake::Fault::Refuse(404, "NoSuchKey"));
    assert_eq!(kind(storage.rename(&path("b"), &path("z"), true)), Some(Kind::Unknown));
    assert_eq!(fake.content("b").unwrap(), b"one");
}

#[test]
fn directories_are_renamed_only_up_to_a_limit() {
    let fake = Fake::start();
    for key in ["d/", "d/a", "d/e/b"] {
        fake.store(key, key.as_bytes());
    }
    let rename = |most| on(&fake).rename_trees(most).rename(&path("d"), &path("n"), true);
    assert_eq!(kind(rename(0)), Some(Kind::Unsupported));
    assert_eq!(kind(rename(2)), Some(Kind::Unsupported));
    assert_eq!(fake.keys(""), ["d/", "d/a", "d/e/b"]);
    rename(3).unwrap();
    assert_eq!(fake.keys(""), ["n/", "n/a", "n/e/b"]);
    assert_eq!(fake.content("n/e/b").unwrap(), b"d/e/b");
}

#[test]
fn a_directory_whose_move_failed_half_way_can_be_moved_again() {
    let fake = Fake::start();
    let storage = on(&fake).rename_trees(9);
    storage.mkdir(&path("d")).unwrap();
    storage.mkdir(&path("d/empty")).unwrap();
    for name in ["d/1", "d/2", "d/e/3"] {
        fake.store(name, name.as_bytes());
    }
    let rename = || kind(storage.rename(&path("d"), &path("n"), false));
    // One file is copied but not removed, and another one is not copied.
    fake.fail("DeleteObject", 3, 4, fake::Fault::Refuse(503, "SlowDown"));
    assert_eq!(rename(), Some(Kind::Unknown));
    assert_eq!(fake.content("n/1"), fake.content("d/1"));
    // A file that a client has stored meanwhile is no part of the failed move.
    put(&storage, "n/x", WriteMode::Replace, b"of a client").unwrap();
    assert_eq!(rename(), Some(Kind::Exists));
    storage.remove(&path("n/x")).unwrap();
    // A file that has changed since does not replace the copy of the old one.
    fake.store("d/1", b"new");
    assert_eq!(rename(), Some(Kind::Exists));
    assert_eq!(
        (fake.content("n/1").unwrap(), fake.content("d/1").unwrap()),
        (b"d/1".into(), b"new".into())
    );
    storage.remove(&path("n/1")).unwrap();
    fake.fail("CopyObject", 1, 4, fake::Fault::Refuse(503, "SlowDown"));
    assert_eq!(rename(), Some(Kind::Unknown));
    assert_eq!((fake.content("n/1").as_deref(), fake.content("d/1")), (Some(&b"new"[..]), None));
    assert_eq!(rename(), None);
    assert_eq!(fake.keys(""), ["n/", "n/1", "n/2", "n/e/3", "n/empty/"]);
    assert_eq!(fake.content("n/2").unwrap(), b"d/2");
    // The move has succeeded, so the next one does not join two directories.
    storage.mkdir(&path("d")).unwrap();
    assert_eq!(rename(), Some(Kind::Exists));
}

#[test]
fn a_move_of_a_directory_and_an_upload_into_it_never_replace_each_other() {
    for is_stored_first in [true, false] {
        patiently(Duration::from_millis(500), |limit| {
            let fake = Fake::start();
            fake.ignore_conditions(true);
            let storage = on(&fake).rename_trees(9);
            for (key, bytes) in [("d/", ""), ("d/a", "a"), ("d/b", "b"), ("first", "")] {
                fake.store(key, bytes.as_bytes());
            }
            // The first rename tests the store.
            storage.rename(&path("first"), &path("last"), true).unwrap();
            let before = fake.count("CopyObject");
            fake.fail("CopyObject", 0, 1, fake::Fault::Delay(limit));
            let slow = storage.clone();
            let slow = std::thread::spawn(move || kind(slow.rename(&path("d"), &path("n"), false)));
            wait_until("the first file is moved", || fake.count("CopyObject") > before);
            let mut upload = storage.write(&path("n/b"), WriteMode::Create, Keep::Shared).unwrap();
            upload.write_all(b"of a client").unwrap();
            let (winner, refused) = match is_stored_first {
                true => (kind(upload.commit()), slow.join().unwrap()),
                false => (slow.join().unwrap(), kind(upload.commit())),
            };
            // The first file is moved, so the move says that the change may be made.
            let want = if is_stored_first { Kind::Unknown } else { Kind::Exists };
            assert_eq!((winner, refused), (None, Some(want)), "{is_stored_first}");
            let want = if is_stored_first { "of a client" } else { "b" };
            assert_eq!(fake.content("n/b").unwrap(), want.as_bytes());
        });
    }
}

#[test]
fn keep_times_stores_modification_times() {
    let fake = Fake::start();
    let storage = on(&fake).keep_times(true);
    fake.store("f", b"content");
    assert!(storage.capabilities().contains(Capabilities::SET_TIMES));
    let changed = storage.set(&path("f"), Change::Modified(938_565_235)).unwrap();
    assert_eq!((changed.modified, changed.size), (938_565_235, 7));
    assert_eq!(storage.stat(&path("f"), Ask::Facts).unwrap(), changed);
    let listed = storage.list(&path("/"), Ask::Facts).unwrap().next().unwrap().unwrap();
    assert_eq!(listed.metadata, changed);
    assert_eq!(kind(storage.set(&path("x"), Change::Modified(1))), Some(Kind::NotFound));
    let without = on(&fake);
    assert!(!without.capabilities().contains(Capabilities::SET_TIMES));
    assert_eq!(kind(without.set(&path("f"), Change::Modified(1))), Some(Kind::Unsupported));
    // A new upload has a new time.
    put(&storage, "f", WriteMode::Replace, b"new").unwrap();
    assert!(storage.stat(&path("f"), Ask::Facts).unwrap().modified > 938_565_235);
}

#[test]
fn without_keep_times_a_file_has_the_same_time_everywhere() {
    let fake = Fake::start();
    fake.store("f", b"content");
    on(&fake).keep_times(true).set(&path("f"), Change::Modified(938_565_235)).unwrap();
    let storage = on(&fake);
    let found = storage.stat(&path("f"), Ask::Facts).unwrap();
    assert!(found.modified > 938_565_235, "{found:?}");
    let listed = storage.list(&path("/"), Ask::Facts).unwrap().next().unwrap().unwrap();
    assert_eq!(listed.metadata, found);
}

#[test]
fn a_probe_reports_missing_features_of_the_store() {
    let fake = Fake::start();
    let features = store_at(&fake).probe().unwrap();
    assert!(features.conditional_writes && features.conditional_completion);
    assert!(features.copies && features.part_copies);
    assert_eq!(missing(features), ["a lifecycle rule AbortIncompleteMultipartUpload"]);
    assert_eq!((fake.keys("").len(), fake.uploads()), (0, 0));
    fake.ignore_conditions(true);
    fake.fail("CopyObject", 0, 1, fake::Fault::Refuse(501, "NotImplemented"));
    let features = store_at(&fake).probe().unwrap();
    let [writes, completion] = [features.conditional_writes, features.conditional_completion];
    assert!(!writes && !completion && !features.conditional_removal && !features.copies);
    assert_eq!((fake.keys("").len(), fake.uploads()), (0, 0));
    for operation in ["PutObject", "GetObject", "ListObjectsV2", "UploadPart"] {
        fake.fail(operation, 0, 9, fake::Fault::Refuse(403, "AccessDenied"));
        let error = store_at(&fake).probe().unwrap_err().to_string();
        assert!(error.contains(operation) && error.contains("AccessDenied"), "{error}");
        assert!(!error.contains("secret"), "{error}");
        fake.works();
    }
}

#[test]
fn a_probe_finds_a_bucket_that_keeps_old_versions_of_own_objects() {
    let rule = |status: &str, filter: &str, action: &str| {
        format!("<Rule><Filter>{filter}</Filter><Status>{status}</Status><{action}/></Rule>")
    };
    let (on, action) = ("Enabled", "NoncurrentVersionExpiration");
    for (rules, want) in [
        (rule(on, "<Prefix>.ftp-server/</Prefix>", action), true),
        (rule(on, "<Prefix></Prefix>", action), true),
        (rule(on, "", action), true),
        (rule("Disabled", "", action), false),
        (rule(on, "<Prefix>users/</Prefix>", action), false),
        (rule(on, "<And><Prefix/><Tag><Key>a</Key></Tag></And>", action), false),
        (rule(on, "", "Expiration"), false),
        (rule(on, "", "Expiration") + &rule(on, "", action), true),
        (String::new(), false),
    ] {
        let fake = Fake::start();
        fake.keep_versions(&rules);
        let features = store_at(&fake).probe().unwrap();
        assert_eq!(features.removes_old_versions, want, "{rules}");
        fake.fail("GetBucketVersioning", 0, 1, fake::Fault::Refuse(403, "AccessDenied"));
        assert!(store_at(&fake).probe().unwrap().removes_old_versions, "the right is missing");
    }
}

#[test]
fn objects_of_different_stores_have_different_identities() {
    let (one, other) = (Fake::start(), Fake::start());
    one.store("f", b"");
    other.store("f", b"");
    let identity = |fake: &Fake| on(fake).stat(&path("f"), Ask::Facts).unwrap().identity;
    assert_ne!(identity(&one), identity(&other));
    assert_eq!(identity(&one), identity(&one));
    assert!(matches!(MemoryStorage::new().confine(), Confine::Neutral));
    assert!(matches!(Storage::confine(&on(&one)), Confine::Neutral));
}

#[test]
fn objects_have_the_headers_that_a_bucket_demands() {
    const HEADERS: [(&str, &str); 2] =
        [("x-amz-server-side-encryption", "aws:kms"), ("x-amz-expected-bucket-owner", "1234")];
    let fake = Fake::start();
    fake.demand(&HEADERS);
    assert_eq!(kind(put(&on(&fake), "f", WriteMode::Replace, b"x")), Some(Kind::Denied));
    let mut builder =
        settings(&fake.endpoint()).object_header("X-Amz-Storage-Class", "STANDARD_IA");
    for (name, value) in HEADERS {
        builder = builder.object_header(name, value);
    }
    let storage = builder.build().unwrap().storage("").unwrap().rename_trees(9).keep_times(true);
    for name in ["a", "d/b"] {
        storage.mkdir(&path("d")).ok();
        put(&storage, name, WriteMode::Replace, b"small").unwrap();
        put(&storage, name, WriteMode::Append, b" and more").unwrap();
        cut(&storage, name, WriteMode::Replace, &content(PART + 9));
        put(&storage, name, WriteMode::Resume(PART as u64 + 9), b"end").unwrap();
        assert_eq!(fake.size(name), Some(PART + 12));
    }
    storage.set(&path("a"), Change::Modified(9)).unwrap();
    storage.rename(&path("a"), &path("c"), false).unwrap();
    storage.rename(&path("d"), &path("e"), false).unwrap();
    assert_eq!(fake.size("e/b"), Some(PART + 12));
    // The copies of a rename keep the class of the original.
    let classes = |key: &str| storage.inner.client.head(key).unwrap().unwrap().kept;
    let class =
        |key: &str| classes(key).into_iter().find(|(name, _)| name == "x-amz-storage-class");
    assert!(class("c").is_some_and(|(_, class)| class == "STANDARD_IA"));
}
