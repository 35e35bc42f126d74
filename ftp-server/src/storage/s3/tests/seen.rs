//! Uploads that follow each other in a directory, whose names are not looked for one by one.

use ftp_tests::wait::{patiently, wait_until};

use super::fake::Fault;
use super::*;

/// Returns a storage that knows the names in the root, and a server in another process.
fn two_servers(fake: &Fake) -> [S3Storage; 2] {
    let (storage, other) = (on(fake), on(fake));
    for name in ["first", "second"] {
        put(&storage, name, WriteMode::Replace, b"").unwrap();
    }
    [storage, other]
}

#[test]
fn uploads_that_follow_each_other_send_one_request_each() {
    patiently(Duration::from_secs(1), |_| {
        let fake = Fake::start();
        let [storage, _] = two_servers(&fake);
        fake.store("d/f", b"old");
        let before = fake.count(fake::ANY);
        for number in 0..9 {
            put(&storage, &format!("f{number}"), WriteMode::Replace, b"new").unwrap();
        }
        assert_eq!(fake.count(fake::ANY) - before, 9);
        // What is taken is looked at.
        let before = fake.count("HeadObject");
        put(&storage, "f0", WriteMode::Replace, b"newer").unwrap();
        assert_eq!(fake.count("HeadObject") - before, 1);
        assert_eq!(fake.content("f0").unwrap(), b"newer");
        storage.mkdir(&path("f9")).unwrap();
        assert_eq!(kind(put(&storage, "f9", WriteMode::Replace, b"")), Some(Kind::IsDirectory));
    });
}

#[test]
fn a_file_that_another_server_stores_under_a_name_that_was_free_is_seen() {
    let fake = Fake::start();
    let [storage, other] = two_servers(&fake);
    for (mode, name, want) in
        [(WriteMode::Create, "new", Some(Kind::Exists)), (WriteMode::Replace, "newer", None)]
    {
        put(&other, name, WriteMode::Create, b"of the other server").unwrap();
        assert_eq!(kind(put(&storage, name, mode, b"late")), want);
        let content = if want.is_none() { &b"late"[..] } else { b"of the other server" };
        assert_eq!(fake.content(name).unwrap(), content);
    }
}

#[test]
fn a_directory_that_is_made_meanwhile_keeps_its_files_beside_a_file_of_its_name() {
    let fake = Fake::start();
    let [storage, other] = two_servers(&fake);
    other.mkdir(&path("n")).unwrap();
    put(&other, "n/f", WriteMode::Create, b"in it").unwrap();
    put(&storage, "n", WriteMode::Create, b"beside it").unwrap();
    assert_eq!(names(&other, "/"), ["first", "n", "second"]);
    assert_eq!(read(&other, "n").unwrap(), b"beside it");
    assert_eq!(
        (names(&other, "n"), read(&other, "n/f").unwrap()),
        (vec!["f".into()], b"in it".into())
    );
}

/// However such an upload ends, its client must not go on at the length of a file of another server.
#[test]
fn an_upload_to_a_name_that_was_free_leaves_a_record_over_a_file_of_another_server_fs_15() {
    let large = content(2 * PART);
    for (sent, is_killed) in [(&b"cut"[..], false), (&large, false), (&large, true)] {
        let fake = Fake::start();
        let [storage, other] = two_servers(&fake);
        let keep = Keep::Bytes(USER);
        let mut upload = storage.write(&path("n"), WriteMode::Replace, keep).unwrap();
        put(&other, "n", WriteMode::Create, b"old").unwrap();
        upload.write_all(sent).unwrap();
        match is_killed {
            true => {
                wait_until("the note", || !fake.keys(".ftp-server/").is_empty());
                std::mem::forget(upload);
            }
            false => upload.abort(StreamEnd::Cut),
        }
        let found = other.unfinished(&path("n"), Some(USER)).unwrap().unwrap();
        assert!(found.is_running == is_killed && found.kept == 0, "{found:?}");
        assert_eq!(fake.content("n").unwrap(), b"old");
    }
}

#[test]
fn a_record_that_the_store_does_not_accept_is_remembered_for_a_name_that_was_free_fs_15() {
    let fake = Fake::start();
    let [storage, other] = two_servers(&fake);
    put(&other, "n", WriteMode::Create, b"old").unwrap();
    let mut upload = storage.write(&path("n"), WriteMode::Replace, Keep::Bytes(USER)).unwrap();
    upload.write_all(b"cut").unwrap();
    fake.fail(fake::ANY, 0, 10_000, Fault::Refuse(403, "ExpiredToken"));
    upload.abort(StreamEnd::Cut);
    assert_eq!(storage.inner.memory.pending.lock().len(), 1);
    fake.works();
    let until = || storage.inner.memory.pending.lock().is_empty();
    wait_until("the store has the record", until);
    let found = other.unfinished(&path("n"), Some(USER)).unwrap().unwrap();
    assert_eq!((found.kept, found.is_running), (0, false));
}

#[test]
fn each_name_is_looked_for_if_the_store_checks_no_conditions() {
    let fake = Fake::start();
    fake.ignore_conditions(true);
    let [storage, other] = two_servers(&fake);
    put(&other, "n", WriteMode::Create, b"old").unwrap();
    assert_eq!(kind(put(&storage, "n", WriteMode::Create, b"new")), Some(Kind::Exists));
    let before = fake.count("ListObjectsV2");
    put(&storage, "m", WriteMode::Replace, b"").unwrap();
    assert_eq!(fake.count("ListObjectsV2") - before, 1);
}

#[test]
fn names_are_listed_only_if_one_page_has_them_all() {
    let fake = Fake::start();
    fake.limit_pages(3);
    for name in ["a", "b", "c", "d"] {
        fake.store(name, b"old");
    }
    let [storage, _] = two_servers(&fake);
    assert_eq!(kind(put(&storage, "d", WriteMode::Create, b"new")), Some(Kind::Exists));
}
