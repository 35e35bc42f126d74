//! Removals of objects that other sessions replace at the same moment.

use std::thread;

use ftp_tests::wait::wait_until;

use super::fake::Fault;
use super::*;

/// Renames a file, and stores another one under its old name when the operation was requested as
/// often as this. Returns the result of the rename.
fn rename_meanwhile(
    fake: &Fake,
    operation: &'static str,
    times: u64,
    fault: Fault,
) -> Option<Kind> {
    fake.store("f", b"old");
    let storage = on(fake);
    // The first removal tests the store.
    put(&storage, "other", WriteMode::Replace, b"").unwrap();
    storage.rename(&path("other"), &path("another"), true).unwrap();
    let from = fake.count(operation);
    fake.fail(operation, times - 1, 1, fault);
    let renamer = storage.clone();
    let renamed = thread::spawn(move || kind(renamer.rename(&path("f"), &path("g"), true)));
    wait_until("the request is there", || fake.count(operation) >= from + times);
    put(&storage, "f", WriteMode::Replace, b"stored meanwhile").unwrap();
    fake.release();
    renamed.join().unwrap()
}

#[test]
fn a_rename_keeps_a_file_that_is_stored_meanwhile_on_every_store() {
    for is_ignored in [false, true] {
        // The file is stored during the copy, or waits from the last look at it to its removal.
        let waits = Fault::Delay(Duration::from_secs(1));
        for (operation, times, fault) in [("CopyObject", 1, Fault::Hold), ("HeadObject", 4, waits)]
        {
            let fake = Fake::start();
            fake.ignore_conditions_of_removals(is_ignored);
            if operation == "HeadObject" && !is_ignored {
                continue;
            }
            let result = rename_meanwhile(&fake, operation, times, fault);
            let found = fake.content("f");
            assert_eq!(found.as_deref(), Some(&b"stored meanwhile"[..]), "{operation}");
            let want = (operation == "CopyObject").then_some(Kind::Unknown);
            assert_eq!(result, want, "{operation} {is_ignored}");
            assert_eq!(fake.content("g").unwrap(), b"old");
        }
    }
}

#[test]
fn the_note_of_another_session_stays_on_every_store_fs_18() {
    for is_ignored in [false, true] {
        let fake = Fake::start();
        fake.ignore_conditions_of_removals(is_ignored);
        let (one, other) = (on(&fake), on(&fake));
        let bytes = content(2 * PART);
        cut(&one, "f", WriteMode::Create, &bytes);
        let note = fake.keys(".ftp-server/partial/").pop().unwrap();
        let found = super::super::partial::find(&one.inner, &note).unwrap().unwrap();
        let resumed = other.write(&path("f"), WriteMode::Resume(PART as u64), Keep::Bytes(USER));
        let mut resumed = resumed.unwrap();
        super::super::partial::discard(&one.inner, &note, &found).unwrap();
        assert!(fake.content(&note).is_some(), "{is_ignored}");
        resumed.write_all(&bytes[PART..]).unwrap();
        resumed.commit().unwrap();
        assert!(fake.content("f").unwrap() == bytes, "{is_ignored}");
    }
}

#[test]
fn a_store_that_ignores_the_condition_of_a_removal_is_found() {
    let fake = Fake::start();
    fake.ignore_conditions_of_removals(true);
    let features = store_at(&fake).probe().unwrap();
    assert!(features.conditional_writes && !features.conditional_removal);
    assert!(fake.keys("").is_empty() && features.conditional_copy);
    let other = Fake::start();
    other.ignore_conditions_of_copies();
    let features = store_at(&other).probe().unwrap();
    assert!(features.copies && !features.conditional_copy && features.conditional_removal);
    assert!(other.keys("").is_empty());
    // A store may refuse each removal with a condition.
    fake.ignore_conditions_of_removals(false);
    for fault in [Fault::Refuse(501, "NotImplemented"), Fault::Refuse(403, "AccessDenied")] {
        let storage = on(&fake);
        fake.store("f", b"");
        // The first three belong to the test of copies.
        fake.fail("DeleteObject", 3, 1, fault);
        storage.rename(&path("f"), &path("g"), true).unwrap();
        assert_eq!(fake.content("f"), None, "{fault:?}");
    }
}
