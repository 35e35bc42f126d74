//! Requests that the store executes long after the server has given them up.

use ftp_tests::at_once::at_once;
use ftp_tests::wait::{patiently, wait_until};

use super::super::connection::HOSTS;
use super::fake::{Fault, LATE};
use super::*;

/// A change, and the operation that makes it.
type Late = (&'static str, fn(&S3Storage) -> StorageResult<()>);

const CHANGES: [Late; 6] = [
    ("PutObject", |storage| put(storage, "f", WriteMode::Replace, b"late")),
    ("PutObject", |storage| put(storage, "f", WriteMode::Append, b"late")),
    ("CompleteMultipartUpload", |storage| {
        put(storage, "f", WriteMode::Replace, &content(PART + 9))
    }),
    ("CopyObject", |storage| storage.set(&path("f"), Change::Modified(9)).map(drop)),
    ("CopyObject", |storage| storage.rename(&path("g"), &path("f"), true)),
    ("DeleteObject", |storage| storage.remove(&path("f"))),
];

/// Makes a change whose first request is executed only after [`Fake::release`], and returns the
/// storage.
fn change_late(
    fake: &Fake,
    (operation, change): Late,
    limit: Duration,
    late: Duration,
) -> S3Storage {
    fake.store("f", b"old");
    fake.store("g", b"other");
    let storage = hasty(fake, limit).keep_times(true);
    let store = settings(&fake.endpoint()).timeouts(storage.inner.client.timeouts.late(late));
    let storage = store.build().unwrap().storage("").unwrap().keep_times(true);
    for tested in ["DeleteObject", "CopyObject", "CompleteMultipartUpload", "UploadPartCopy"] {
        storage.inner.test(tested).unwrap();
    }
    fake.fail(operation, 0, 1, Fault::Late);
    change(&storage).unwrap();
    storage
}

#[test]
fn a_request_that_the_store_makes_late_changes_nothing_newer() {
    at_once(6, CHANGES, |late| {
        patiently(Duration::from_millis(300), |limit| {
            let fake = Fake::start();
            let storage = change_late(&fake, late, limit, Duration::from_secs(600));
            put(&storage, "f", WriteMode::Replace, b"newer").unwrap();
            fake.release();
            wait_until("the late request is made", || fake.count(LATE) == 1);
            assert_eq!(fake.content("f").as_deref(), Some(&b"newer"[..]), "{}", late.0);
        });
    });
}

#[test]
fn a_request_without_a_response_blocks_its_path_if_the_store_ignores_conditions() {
    at_once(6, CHANGES, |late| {
        patiently(Duration::from_millis(300), |limit| {
            let careless = || {
                let fake = Fake::start();
                fake.ignore_conditions(true);
                fake.ignore_conditions_of_removals(true);
                fake
            };
            let fake = careless();
            let storage = change_late(&fake, late, limit, Duration::from_secs(600));
            fake.store("f", b"old");
            let store = || put(&storage, "f", WriteMode::Replace, b"newer");
            for change in [&store as &dyn Fn() -> _, &|| storage.remove(&path("f"))] {
                assert_eq!(kind(change()), Some(Kind::Busy), "{}", late.0);
            }
            put(&storage, "h", WriteMode::Replace, b"of another path").unwrap();
            // The time is over.
            let fake = careless();
            let storage = change_late(&fake, late, limit, Duration::ZERO);
            put(&storage, "f", WriteMode::Replace, b"newer").unwrap();
        });
    });
}

#[test]
fn a_file_that_was_replaced_meanwhile_is_replaced_in_its_newer_version() {
    for length in [4, PART + 9] {
        let fake = Fake::start();
        let (one, other) = (on(&fake), on(&fake));
        for is_removed in [false, true] {
            fake.store("f", b"old");
            let bytes = content(length);
            let mut upload = one.write(&path("f"), WriteMode::Replace, Keep::Bytes(USER)).unwrap();
            upload.write_all(&bytes).unwrap();
            if length > PART {
                // Its note names the parts then.
                let parts = u64::from(is_removed) + 1;
                wait_until("a part is sent", || fake.count("UploadPart") >= parts);
            }
            match is_removed {
                true => other.remove(&path("f")).unwrap(),
                false => put(&other, "f", WriteMode::Replace, b"newer").unwrap(),
            }
            let done = upload.commit();
            if length > PART && !is_removed {
                // A later upload of the same user discards the parts of the earlier one.
                assert_eq!(kind(done), Some(Kind::Busy));
                assert_eq!(fake.content("f").unwrap(), b"newer");
                continue;
            }
            done.unwrap();
            assert!(fake.content("f").unwrap() == bytes, "{length} {is_removed}");
        }
    }
}

#[test]
fn an_upload_that_is_refused_when_its_client_is_gone_replaces_nothing() {
    let fake = Fake::start();
    fake.store("f", b"old");
    let (one, other) = (on(&fake), on(&fake));
    let mut upload = one.write(&path("f"), WriteMode::Replace, Keep::Bytes(USER)).unwrap();
    upload.write_all(b"late").unwrap();
    fake.fail("PutObject", 0, 1, Fault::Late);
    let job = crate::threads::ThreadJob::begin(move || kind(upload.commit())).unwrap();
    wait_until("the file is published", || fake.count("PutObject") == 1);
    put(&other, "f", WriteMode::Replace, b"newer").unwrap();
    job.cancel();
    fake.release();
    assert!(job.finish().unwrap().is_some());
    assert_eq!(fake.content("f").unwrap(), b"newer");
}

#[test]
fn a_time_is_not_set_on_a_file_that_was_stored_meanwhile() {
    let fake = Fake::start();
    fake.store("f", b"old");
    let (one, other) = (on(&fake).keep_times(true), on(&fake));
    fake.fail("CopyObject", 0, 1, Fault::Late);
    let setting = std::thread::spawn(move || kind(one.set(&path("f"), Change::Modified(9))));
    wait_until("the copy is requested", || fake.count("CopyObject") == 1);
    put(&other, "f", WriteMode::Replace, b"newer").unwrap();
    fake.release();
    assert_eq!(setting.join().unwrap(), Some(Kind::Busy));
    assert_eq!(fake.content("f").unwrap(), b"newer");
}

#[test]
fn a_file_that_was_replaced_meanwhile_is_removed_in_its_newer_version() {
    for is_ignored in [false, true] {
        let fake = Fake::start();
        fake.ignore_conditions_of_removals(is_ignored);
        fake.store("f", b"old");
        let (one, other) = (on(&fake), on(&fake));
        one.inner.checks("DeleteObject");
        let operation = if is_ignored { "HeadObject" } else { "DeleteObject" };
        let from = fake.count(operation);
        fake.fail(operation, u64::from(is_ignored), 1, Fault::Late);
        let removing = std::thread::spawn(move || one.remove(&path("f")));
        wait_until("the request is there", || fake.count(operation) > from + u64::from(is_ignored));
        put(&other, "f", WriteMode::Replace, b"newer").unwrap();
        fake.release();
        removing.join().unwrap().unwrap();
        assert_eq!(fake.content("f"), None, "{is_ignored}");
    }
}

#[test]
fn files_are_replaced_at_a_store_that_refuses_conditions() {
    let fake = Fake::start();
    fake.store("f", b"old");
    fake.fail("PutObject", 0, 1, Fault::Refuse(501, "NotImplemented"));
    put(&on(&fake), "f", WriteMode::Replace, b"new").unwrap();
    assert_eq!(fake.content("f").unwrap(), b"new");
}

#[test]
fn a_store_that_has_moved_is_found_at_once() {
    let (old, new) = (Fake::start(), Fake::start());
    let address = |fake: &Fake| fake.endpoint().trim_start_matches("http://").parse().unwrap();
    let name = "moved.test".to_owned();
    HOSTS.lock().push((name.clone(), address(&old)));
    let storage = settings("http://moved.test").build().unwrap().storage("").unwrap();
    old.store("f", b"old");
    new.store("f", b"in the new place");
    assert_eq!(storage.stat(&path("f"), Ask::Facts).unwrap().size, 3);
    HOSTS.lock().retain(|(host, _)| *host != name);
    HOSTS.lock().push((name, address(&new)));
    old.fail("HeadObject", 0, 99, Fault::Reset);
    assert_eq!(storage.stat(&path("f"), Ask::Facts).unwrap().size, 16);
}
