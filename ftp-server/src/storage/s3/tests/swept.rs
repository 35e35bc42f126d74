//! What a sweep removes of interrupted uploads, and what it leaves.

use ftp_tests::wait::wait_until;

use super::super::partial;
use super::fake::Fault;
use super::*;

#[test]
fn a_swept_note_stays_until_the_parts_that_it_names_are_removed() {
    let fake = Fake::start();
    let storage = on(&fake);
    cut(&storage, "f", WriteMode::Replace, &content(PART + 10));
    fake.age(12 * 3_600);
    fake.fail("AbortMultipartUpload", 0, 1, Fault::Refuse(403, "AccessDenied"));
    assert_eq!(partial::sweep(&storage.inner).unwrap(), 0);
    assert_eq!((fake.uploads(), fake.keys(".ftp-server/partial/").len()), (1, 1));
    // Another server may have been quicker.
    fake.fail("AbortMultipartUpload", 0, 1, Fault::Refuse(404, "NoSuchUpload"));
    assert_eq!(partial::sweep(&storage.inner).unwrap(), 1);
    assert_eq!(fake.keys("").len(), 1);
    fake.age(90 * 86_400);
    assert_eq!(partial::sweep(&storage.inner).unwrap(), 1);
    assert_eq!(fake.keys(""), [""; 0]);
}

#[test]
fn partial_files_at_a_store_that_tells_no_times_of_objects_expire_too_fs_15() {
    let fake = Fake::start();
    fake.hide_times();
    fake.store("f", b"old");
    let storage = on(&fake);
    cut(&storage, "f", WriteMode::Replace, &content(PART + 10));
    fake.age(3_600);
    assert_eq!(partial::sweep(&storage.inner).unwrap(), 0);
    // The second in which the store is asked does not count for the version of the old file.
    std::thread::sleep(Duration::from_millis(1_100));
    assert_eq!(told(&storage, "f"), Some((PART + 9) as u64));
    // The bytes go, and the record still forbids to resume at the length of the old file.
    fake.age(12 * 3_600);
    assert_eq!(partial::sweep(&storage.inner).unwrap(), 1);
    assert_eq!((fake.uploads(), fake.keys(".ftp-server/").len()), (0, 1));
    assert_eq!(partial::sweep(&storage.inner).unwrap(), 0);
    assert_eq!(kept(&storage, "f"), Some(0));
    // However long the store has it, by any clock.
    fake.age(1_000 * 86_400);
    assert_eq!(partial::sweep(&storage.inner).unwrap(), 0);
    assert_eq!(kept(&storage, "f"), Some(0));
    fake.remove("f");
    assert_eq!(partial::sweep(&storage.inner).unwrap(), 1);
    assert_eq!(fake.keys(".ftp-server/"), [""; 0]);
}

#[test]
fn last_bytes_are_removed_a_day_after_their_upload_and_never_resumed_in_part_fs_15() {
    let fake = Fake::start();
    let storage = on(&fake);
    cut(&storage, "f", WriteMode::Replace, b"0123");
    fake.store(&keys::tail("left"), b"4567");
    // The upload that goes on with them has been running for long.
    for (hours, left) in [(20, 2), (5, 0)] {
        fake.age_below(keys::TAILS, hours * 3_600);
        partial::sweep(&storage.inner).unwrap();
        assert_eq!(fake.keys(keys::TAILS).len(), left, "{hours}");
    }
    let resumed = storage.write(&path("f"), WriteMode::Resume(4), Keep::Bytes(USER));
    assert_eq!(kind(resumed), Some(Kind::BadRestart));
    put(&storage, "f", WriteMode::Replace, b"whole").unwrap();
    assert_eq!((fake.content("f"), fake.keys(".ftp-server/")), (Some(b"whole".to_vec()), vec![]));
}

#[test]
fn expired_partial_files_are_removed_at_startup() {
    let fake = Fake::start();
    cut(&on(&fake), "f", WriteMode::Create, &content(PART + 10));
    fake.age(12 * 3_600);
    assert!(fake.uploads() == 1 && fake.keys("").len() == 2);
    let started = settings(&fake.endpoint()).lease(Duration::from_secs(2)).build().unwrap();
    // The record stays.
    let is_removed = || fake.uploads() == 0 && fake.keys("").len() == 1;
    wait_until("old uploads are removed", is_removed);
    drop(started);
}

#[test]
fn a_sweep_goes_on_after_an_object_that_it_cannot_remove() {
    let fake = Fake::start();
    let storage = on(&fake);
    for name in ["f", "g", "h"] {
        cut(&storage, name, WriteMode::Replace, b"0123");
    }
    fake.age(90 * 86_400);
    // The first removal tests the store.
    storage.inner.delete_if("none", "tag").unwrap();
    fake.fail("DeleteObject", 0, 1, Fault::Refuse(403, "AccessDenied"));
    assert_eq!(partial::sweep(&storage.inner).unwrap(), 2);
    assert_eq!(partial::sweep(&storage.inner).unwrap(), 1);
    assert_eq!(fake.keys(""), [""; 0]);
    // A store that refuses everything is not asked about each object.
    for number in 0..20 {
        cut(&storage, &number.to_string(), WriteMode::Replace, b"0123");
    }
    fake.age(90 * 86_400);
    fake.fail("DeleteObject", 0, u64::MAX / 2, Fault::Refuse(403, "AccessDenied"));
    let before = fake.count("DeleteObject");
    assert!(partial::sweep(&storage.inner).is_err());
    assert!(fake.count("DeleteObject") - before < 20);
}

/// Returns a storage that gives a request up after some seconds, and does not repeat it then. Others wait for
/// that if it is about their upload.
fn soon_given_up(fake: &Fake) -> S3Storage {
    let soon = Duration::from_secs(4);
    let timeouts = S3Timeouts::new().idle(soon).answer(soon).retries(soon);
    settings(&fake.endpoint()).timeouts(timeouts).build().unwrap().storage("").unwrap()
}

#[test]
fn a_sweep_leaves_a_note_that_is_written_meanwhile() {
    for operation in ["GetObject", "PutObject"] {
        let fake = Fake::start();
        let storage = soon_given_up(&fake);
        cut(&storage, "f", WriteMode::Replace, b"0123");
        let key = fake.keys(".ftp-server/partial/").pop().unwrap();
        let found = partial::find(&storage.inner, &key).unwrap().unwrap();
        storage.inner.delete_if("none", "tag").unwrap();
        fake.age(13 * 3_600);
        // The request is delayed until the upload is resumed.
        let from = fake.count(operation);
        fake.fail(operation, 0, 1, Fault::Late);
        let sweeping = {
            let storage = storage.clone();
            std::thread::spawn(move || partial::sweep(&storage.inner).unwrap())
        };
        wait_until("the sweep is there", || fake.count(operation) > from);
        let kept = partial::KeptBytes { parts: Vec::new(), tail: found.note.tail.clone() };
        partial::take_over(&storage.inner, &key, &found, &kept).unwrap();
        fake.release();
        assert_eq!(sweeping.join().unwrap(), 0, "{operation}");
        // The note names a tail that is older than itself.
        let found = partial::find(&storage.inner, &key).unwrap().unwrap();
        assert!(partial::load(&storage.inner, &found).unwrap().is_some());
        assert_eq!(fake.keys(".ftp-server/").len(), 2, "{operation}");
    }
}

#[test]
fn a_sweep_without_times_leaves_an_upload_that_is_resumed_meanwhile() {
    for operation in ["GetObject", "PutObject"] {
        let fake = Fake::start();
        fake.hide_times();
        let storage = soon_given_up(&fake);
        cut(&storage, "f", WriteMode::Replace, &content(PART + 10));
        let key = fake.keys(".ftp-server/partial/").pop().unwrap();
        let found = partial::find(&storage.inner, &key).unwrap().unwrap();
        let kept = partial::load(&storage.inner, &found).unwrap().unwrap();
        storage.inner.delete_if("none", "tag").unwrap();
        fake.age(13 * 3_600);
        // The request is delayed until the upload is resumed: the note was listed long before.
        let from = fake.count(operation);
        fake.fail(operation, 0, 1, Fault::Late);
        let sweeping = {
            let storage = storage.clone();
            std::thread::spawn(move || partial::sweep(&storage.inner).unwrap())
        };
        wait_until("the sweep is there", || fake.count(operation) > from);
        partial::take_over(&storage.inner, &key, &found, &kept).unwrap();
        fake.release();
        assert_eq!(sweeping.join().unwrap(), 0, "{operation}");
        let found = partial::find(&storage.inner, &key).unwrap().unwrap();
        assert!(partial::load(&storage.inner, &found).unwrap().is_some(), "{operation}");
        assert_eq!((fake.uploads(), fake.keys(".ftp-server/").len()), (1, 2), "{operation}");
    }
}

#[test]
fn a_sweep_goes_on_after_a_note_that_it_cannot_read() {
    let fake = Fake::start();
    let storage = on(&fake);
    let old = [keys::TAILS, keys::TREE_MOVES, keys::PROBES];
    cut(&storage, "f", WriteMode::Replace, b"0123");
    fake.age(13 * 3_600);
    for prefix in &old {
        fake.store(&format!("{prefix}left"), b"4567");
        fake.age_below(&format!("{prefix}left"), 30 * 3_600);
    }
    fake.fail("GetObject", 0, 1, Fault::Refuse(403, "AccessDenied"));
    assert_eq!(partial::sweep(&storage.inner).unwrap(), 0);
    assert_eq!(old.each_ref().map(|prefix| fake.keys(prefix).len()), [1, 0, 0]);
    assert_eq!(partial::sweep(&storage.inner).unwrap(), 1);
    assert_eq!((fake.keys(old[0]), told(&storage, "f")), (vec![], None));
}
