//! Renames that fail and are repeated, while other servers store files.

use std::collections::BTreeMap;
use std::thread;

use ftp_tests::scale::is_full;
use ftp_tests::wait::wait_until;

use super::fake::{ANY, Fault};
use super::*;

/// Returns a storage of another server, which sends each request once.
fn node(fake: &Fake) -> S3Storage {
    let timeouts = S3Timeouts::new().retries(Duration::from_millis(1));
    let store = settings(&fake.endpoint()).timeouts(timeouts).build().unwrap();
    store.storage("").unwrap().rename_trees(9)
}

/// The files that clients see.
fn files(fake: &Fake) -> BTreeMap<String, Vec<u8>> {
    let keys = fake.keys("").into_iter().filter(|key| !key.starts_with('.'));
    keys.map(|key| (key.clone(), fake.content(&key).unwrap())).collect()
}

fn move_tree(storage: &S3Storage) -> Option<Kind> {
    kind(storage.rename(&path("d"), &path("n"), true))
}

/// What another client does at another server.
#[derive(Clone, Copy, Debug)]
enum Act {
    Nothing,
    Store(&'static str),
    Remove(&'static str),
}

const ACTS: [Act; 7] = [
    Act::Nothing,
    Act::Store("d/1"),
    Act::Store("d/2"),
    Act::Store("n/1"),
    Act::Store("n/3"),
    Act::Remove("d/2"),
    Act::Remove("n/1"),
];

impl Act {
    /// Acts, and returns the content that the client has replaced or removed.
    fn act(self, fake: &Fake) -> Option<Vec<u8>> {
        let other = node(fake);
        let (Self::Store(name) | Self::Remove(name)) = self else { return None };
        let old = fake.content(name);
        let _ = match self {
            Self::Remove(_) => other.remove(&path(name)),
            _ => put(&other, name, WriteMode::Replace, b"of another client"),
        };
        old.filter(|old| fake.content(name).as_ref() != Some(old))
    }
}

/// Makes a store in which a move of a directory has failed at its request number `at`. Returns
/// `None` if it has succeeded before.
fn failed_at(at: u64, is_made: bool) -> Option<Fake> {
    let fake = Fake::start();
    for key in ["d/", "d/1", "d/2", "first"] {
        fake.store(key, key.as_bytes());
    }
    fake.store("d/", b"");
    let storage = node(&fake);
    // The first rename tests the store.
    storage.rename(&path("first"), &path("last"), true).unwrap();
    if is_made {
        fake.fail(ANY, at, 1, Fault::LoseAnswer);
    }
    fake.fail(ANY, at, 10_000, Fault::Reset);
    let failed = move_tree(&storage);
    fake.works();
    failed.map(|_| fake)
}

/// Checks what the repetition of the move has left.
fn check(fake: &Fake, before: &BTreeMap<String, Vec<u8>>, gone: &[Vec<u8>], case: &str) {
    let after = files(fake);
    for (key, bytes) in before {
        let is_left = after.values().any(|left| left == bytes) || gone.contains(bytes);
        assert!(is_left, "{case}: the content of {key} is lost: {before:?} {after:?}");
    }
}

#[test]
fn a_repeated_move_of_a_directory_replaces_no_file_that_was_stored_since() {
    for is_made in [false, true] {
        for at in 0.. {
            if failed_at(at, is_made).is_none() {
                assert!(at > 15, "{at}");
                break;
            }
            for act in ACTS {
                let case = format!("{at} {is_made} {act:?}");
                let fake = failed_at(at, is_made).unwrap();
                act.act(&fake);
                let before = files(&fake);
                let moved = move_tree(&node(&fake));
                check(&fake, &before, &[], &case);
                match moved {
                    None => assert!(fake.keys("d/").is_empty(), "{case}"),
                    Some(Kind::Unknown) => panic!("{case}"),
                    Some(_) => assert_eq!(files(&fake), before, "{case}"),
                }
            }
        }
    }
}

#[test]
fn a_repeated_move_of_a_directory_and_another_server_replace_nothing_of_each_other() {
    // The first move fails before its end, with one file moved, and with one copied.
    let steps = if is_full() { 1 } else { 5 };
    for at in (0..20).step_by(steps) {
        for act in [Act::Store("d/2"), Act::Store("n/2"), Act::Store("n/1"), Act::Store("d/1")] {
            for during in (at % 3..).step_by(steps.min(3)) {
                let Some(fake) = failed_at(at, true) else { break };
                let case = format!("{at} {during} {act:?}");
                let before = files(&fake);
                let from = fake.count(ANY);
                fake.fail(ANY, during, 1, Fault::Hold);
                let mover = node(&fake);
                let moving = thread::spawn(move || move_tree(&mover));
                let is_held = || fake.count(ANY) > from + during;
                wait_until("the request", || is_held() || moving.is_finished());
                let is_during = is_held();
                if !is_during {
                    fake.works();
                }
                let gone: Vec<_> = act.act(&fake).into_iter().collect();
                let stored = files(&fake);
                fake.release();
                moving.join().unwrap();
                check(&fake, &before, &gone, &case);
                let own: BTreeMap<_, _> =
                    stored.into_iter().filter(|(_, bytes)| bytes == b"of another client").collect();
                check(&fake, &own, &[], &case);
                if !is_during {
                    break;
                }
            }
        }
    }
}

#[test]
fn a_file_that_is_stored_during_a_rename_to_its_name_stays_although_copies_are_unconditional() {
    for are_ignored in [false, true] {
        for length in [0, 7, 5 * 1024 * 1024 + 3] {
            for during in 0.. {
                let fake = Fake::start();
                if are_ignored {
                    fake.ignore_conditions_of_copies();
                }
                fake.store_with("a", &content(length), &[("x-amz-meta-title", "of a")]);
                let mover = on(&fake);
                for name in ["first", "second"] {
                    fake.store(name, b"");
                    // The first rename tests the store.
                    mover.rename(&path(name), &path("last"), true).unwrap();
                }
                let (from, parts) = (fake.count(ANY), fake.count("UploadPartCopy"));
                fake.fail(ANY, during, 1, Fault::Hold);
                let moving =
                    thread::spawn(move || kind(mover.rename(&path("a"), &path("new"), false)));
                let is_held = || fake.count(ANY) > from + during;
                wait_until("the request", || is_held() || moving.is_finished());
                let is_during = is_held();
                if !is_during {
                    fake.works();
                }
                let created = kind(put(&on(&fake), "new", WriteMode::Create, b"of another"));
                fake.release();
                let moved = moving.join().unwrap();
                let case = format!("{are_ignored} {length} {during} {moved:?} {created:?}");
                match created {
                    None => {
                        assert_eq!(fake.content("new").unwrap(), b"of another", "{case}");
                        assert_eq!(fake.size("a"), Some(length), "{case}");
                        assert!(matches!(moved, Some(Kind::Exists)), "{case}");
                    }
                    Some(Kind::Exists) => {
                        assert_eq!((moved, fake.size("new")), (None, Some(length)), "{case}");
                        let title = ("x-amz-meta-title".to_owned(), "of a".to_owned());
                        assert!(fake.headers("new").contains(&title), "{case}");
                        let in_parts = fake.count("UploadPartCopy") > parts;
                        assert_eq!(in_parts, are_ignored && length > 0, "{case}");
                    }
                    created => panic!("{case} {created:?}"),
                }
                assert_eq!(fake.uploads(), 0, "{case}");
                if !is_during {
                    break;
                }
            }
        }
    }
}

#[test]
fn a_rename_that_fails_after_its_copy_says_that_the_change_may_be_made() {
    let denied = Fault::Refuse(403, "AccessDenied");
    for at in 0.. {
        let fake = Fake::start();
        let storage = node(&fake);
        fake.store("first", b"");
        storage.rename(&path("first"), &path("last"), true).unwrap();
        for key in ["a", "b"] {
            fake.store(key, key.as_bytes());
        }
        let before = files(&fake);
        fake.fail(ANY, at, 10_000, denied);
        let moved = kind(storage.rename(&path("a"), &path("b"), true));
        match (moved, files(&fake) == before) {
            (None, _) => break,
            (Some(Kind::Unknown), false) => {}
            (Some(Kind::Denied), true) => {}
            other => panic!("{at} {other:?}"),
        }
    }
}

#[test]
fn a_rename_keeps_all_that_the_store_knows_of_an_object() {
    let fake = Fake::start();
    let storage = on(&fake).keep_times(true);
    let headers = [
        ("content-type", "image/jpeg"),
        ("expires", "Mon, 12 Oct 2009 17:50:30 GMT"),
        ("x-amz-meta-title", "größe  two"),
        ("x-amz-storage-class", "STANDARD_IA"),
    ];
    fake.store_with("a", b"a", &headers);
    fake.store_with("tiered", b"t", &[("x-amz-storage-class", "WARM-TIER")]);
    storage.rename(&path("a"), &path("b"), false).unwrap();
    storage.set(&path("b"), Change::Modified(7)).unwrap();
    let found = fake.headers("b");
    for (name, value) in headers {
        assert!(found.contains(&(name.to_owned(), value.to_owned())), "{name} {found:?}");
    }
    // A class of the store itself is not one for new objects.
    storage.rename(&path("tiered"), &path("t"), false).unwrap();
    assert!(fake.headers("t").iter().all(|(name, _)| name != "x-amz-storage-class"));
}

#[test]
fn a_store_that_takes_two_names_for_one_is_found() {
    let aliases: [fn(&str) -> String; 3] = [
        |key| key.to_lowercase(),
        |key| key.trim_end_matches(['.', ' ']).to_owned(),
        |key| key.replace("a\u{308}", "ä"),
    ];
    for alias in aliases {
        let fake = Fake::start();
        fake.take_keys_for_one(alias);
        let error = store_at(&fake).probe().unwrap_err().to_string();
        assert!(error.contains("two names must be two objects"), "{error}");
        assert!(fake.keys("").is_empty());
    }
}

#[test]
fn a_backslash_in_a_name_leads_to_no_other_object() {
    let fake = Fake::start();
    // SeaweedFS does so.
    fake.take_keys_for_one(|key| key.replace('\\', "/"));
    let storage = on(&fake);
    fake.store("closed/secret", b"secret");
    fake.store(".ftp-server/own", b"own");
    for name in ["closed\\secret", ".ftp-server\\own", "\\closed"] {
        assert_eq!(kind(read(&storage, name)), Some(Kind::NotFound), "{name}");
        assert_eq!(kind(storage.remove(&path(name))), Some(Kind::NotFound), "{name}");
        let stored = put(&storage, name, WriteMode::Replace, b"new");
        assert_eq!(kind(stored), Some(Kind::NameNotAllowed), "{name}");
        assert_eq!(kind(storage.mkdir(&path(name))), Some(Kind::NameNotAllowed), "{name}");
        let renamed = storage.rename(&path("closed/secret"), &path(name), true);
        assert_eq!(kind(renamed), Some(Kind::NameNotAllowed), "{name}");
    }
    assert_eq!(fake.content("closed/secret").unwrap(), b"secret");
    assert!(store_at(&fake).storage("CORP\\anna").is_err());
}

#[test]
fn a_name_of_a_file_and_a_directory_is_listed_once_even_on_two_pages() {
    let fake = Fake::start();
    for key in ["d/a", "d/a!", "d/a-1", "d/a.txt", "d/a/x", "d/b"] {
        fake.store(key, b"");
    }
    for page in 1..=6 {
        fake.limit_pages(page);
        assert_eq!(names(&on(&fake), "d"), ["a", "a!", "a-1", "a.txt", "b"], "{page}");
    }
}

#[test]
fn a_moved_directory_is_gone_although_tags_in_listings_have_no_quotes() {
    let fake = Fake::start();
    fake.hide_quotes();
    let storage = on(&fake).rename_trees(9);
    storage.mkdir(&path("d")).unwrap();
    storage.rename(&path("d"), &path("e"), false).unwrap();
    assert_eq!(fake.keys(""), ["e/"]);
}

#[test]
fn a_directory_that_another_server_has_removed_is_in_nobodys_way() {
    let fake = Fake::start();
    let (one, other) = (on(&fake).rename_trees(9), on(&fake));
    for name in ["d", "f"] {
        one.mkdir(&path(name)).unwrap();
        one.stat(&path(name), Ask::Directory).unwrap();
        other.rmdir(&path(name)).unwrap();
    }
    one.mkdir(&path("d")).unwrap();
    fake.store("x", b"x");
    one.rename(&path("x"), &path("f"), false).unwrap();
    assert_eq!(fake.content("f").unwrap(), b"x");
}

#[test]
fn a_move_of_a_directory_leaves_what_is_forbidden_forbidden_fs_15() {
    let fake = Fake::start();
    let storage = on(&fake).rename_trees(9);
    let keep = || {
        for key in ["d/", "d/a", "d/b", "d/c", "first"] {
            fake.store(key, b"old");
        }
        fake.store("d/", b"");
        // The first rename tests the store.
        storage.rename(&path("first"), &path("last"), true).unwrap();
        for name in ["d/a", "d/b", "d/c"] {
            cut(&storage, name, WriteMode::Replace, b"0123456789");
        }
    };
    let note = |name: &str| storage.keys.note(name, USER);
    // The move fails when a file has been moved, and is repeated.
    keep();
    fake.fail("CopyObject", 1, 9, Fault::Refuse(403, "AccessDenied"));
    assert_eq!(kind(storage.rename(&path("d"), &path("e"), false)), Some(Kind::Unknown));
    fake.works();
    // A record cannot be read; and where another one is, an upload to a free name was cut.
    fake.store(&note("d/b"), b"damaged");
    cut(&storage, "e/c", WriteMode::Replace, b"01");
    storage.rename(&path("d"), &path("e"), false).unwrap();
    for name in ["e/a", "e/b"] {
        assert_eq!(kept(&storage, name), Some(0), "{name}");
    }
    assert_eq!(kept(&storage, "e/c"), Some(0));
    assert_eq!(fake.keys(&storage.keys.notes("d/")), [""; 0]);
    // A file is there again under the old name.
    for name in ["e/a", "e/b", "e/c"] {
        storage.remove(&path(name)).unwrap();
    }
    storage.rmdir(&path("e")).unwrap();
    keep();
    fake.fail("DeleteObject", 3, 1, Fault::Hold);
    let slow = storage.clone();
    let slow = thread::spawn(move || slow.rename(&path("d"), &path("e"), false));
    wait_until("the old one is gone", || fake.keys("d").is_empty());
    fake.store("d/a", b"of another program");
    fake.release();
    slow.join().unwrap().unwrap();
    for name in ["d/a", "e/a"] {
        assert_eq!(kept(&storage, name), Some(0), "{name}");
    }
    assert_eq!(kept(&storage, "e/b"), Some(0));
}

#[test]
fn a_move_of_a_directory_takes_only_its_own_records_with_it_fs_15() {
    for is_ignored in [false, true] {
        let fake = Fake::start();
        let storage = on(&fake).rename_trees(9);
        for key in ["d/a", "d/b", "first"] {
            fake.store(key, b"old");
        }
        // The first rename tests the store.
        storage.rename(&path("first"), &path("last"), true).unwrap();
        fake.ignore_conditions(is_ignored);
        for name in ["d/b", "d/new", "d/other"] {
            cut(&storage, name, WriteMode::Replace, b"0123456789");
        }
        let mut running =
            storage.write(&path("d/running"), WriteMode::Create, Keep::Bytes(USER)).unwrap();
        running.write_all(b"0123456789").unwrap();
        fake.fail("CopyObject", 0, 1, Fault::Hold);
        let slow = storage.clone();
        let slow = thread::spawn(move || slow.rename(&path("d"), &path("e"), false));
        wait_until("the new directory is there", || !fake.keys("e/").is_empty());
        cut(&storage, "d/later", WriteMode::Replace, b"01234");
        cut(&storage, "e/other", WriteMode::Replace, b"another file");
        fake.release();
        slow.join().unwrap().unwrap();
        running.abort(StreamEnd::Cut);
        for (name, want) in
            [("b", Some(0)), ("new", None), ("other", Some(12)), ("later", None), ("running", None)]
        {
            let is = ["e", "d"].map(|above| kept(&storage, &format!("{above}/{name}")));
            assert_eq!(is, [want, None], "{name}");
        }
    }
}

#[test]
fn a_move_of_a_directory_takes_no_records_of_a_new_one_of_its_name_with_it_fs_15() {
    let fake = Fake::start();
    let storage = on(&fake).rename_trees(9);
    for key in ["d/", "d/a"] {
        fake.store(key, b"");
    }
    // A store that is proved to check conditions lets nobody wait for a removal.
    for operation in ["CopyObject", "DeleteObject", "PutObject"] {
        assert!(storage.inner.test(operation).unwrap().are_checked());
    }
    for name in ["d/a", "d/new"] {
        cut(&storage, name, WriteMode::Replace, b"0123456789");
    }
    // The object of the directory is removed last.
    fake.fail("DeleteObject", 1, 1, Fault::Hold);
    let slow = storage.clone();
    let slow = thread::spawn(move || slow.rename(&path("d"), &path("e"), false));
    wait_until("the old one is gone", || fake.keys("d").is_empty());
    storage.inner.seen.forget("");
    storage.mkdir(&path("d")).unwrap();
    cut(&storage, "d/later", WriteMode::Replace, b"01234");
    fake.release();
    slow.join().unwrap().unwrap();
    let all = ["e/a", "e/new", "e/later", "d/a", "d/new"].map(|name| kept(&storage, name));
    assert_eq!(all, [Some(0), None, None, None, None]);
}

#[test]
fn a_running_upload_that_resumes_one_leaves_no_record_in_a_renamed_directory_fs_15() {
    for is_stored in [false, true] {
        let fake = Fake::start();
        let storage = on(&fake).rename_trees(9);
        for key in ["d/", "d/a", "first"] {
            fake.store(key, b"old");
        }
        // The first rename tests the store.
        storage.rename(&path("first"), &path("last"), true).unwrap();
        cut(&storage, "d/new", WriteMode::Replace, b"0123456789");
        let mut running =
            storage.write(&path("d/new"), WriteMode::Resume(9), Keep::Bytes(USER)).unwrap();
        running.write_all(b"9abc").unwrap();
        storage.rename(&path("d"), &path("e"), false).unwrap();
        match is_stored {
            true => running.commit().unwrap(),
            false => running.abort(StreamEnd::Cut),
        }
        let want = is_stored.then(|| b"0123456789abc".to_vec());
        assert_eq!((fake.content("d/new"), fake.keys(".ftp-server/")), (want, Vec::new()));
        for name in ["d/new", "e/new"] {
            assert_eq!(storage.unfinished(&path(name), Some(USER)).unwrap(), None, "{name}");
        }
    }
}
