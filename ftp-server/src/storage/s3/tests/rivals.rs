//! Sessions of one process that change the object under the same key.

use ftp_tests::wait::{patiently, wait_until};

use super::*;
use crate::testing::racing;

#[test]
fn sessions_of_one_server_do_not_race_even_if_the_store_ignores_conditions() {
    let careless = || {
        let fake = Fake::start();
        fake.ignore_conditions(true);
        fake
    };
    for _ in 0..3 {
        racing(&on(&careless())).unwrap();
    }
    let fake = careless();
    let storage = on(&fake);
    put(&storage, "f", WriteMode::Create, b"old").unwrap();
    let begin = |mode, bytes: &[u8]| {
        let mut upload = storage.write(&path("f"), mode, Keep::Shared).unwrap();
        upload.write_all(bytes).unwrap();
        upload
    };
    // Of two that append to the same object, one would lose its bytes.
    let (one, other) = (begin(WriteMode::Append, b" one"), begin(WriteMode::Append, b" other"));
    one.commit().unwrap();
    assert_eq!(kind(other.commit()), Some(Kind::Busy));
    assert_eq!(read(&storage, "f").unwrap(), b"old one");
    let (appended, replaced) = (begin(WriteMode::Append, b"!"), begin(WriteMode::Replace, b"new"));
    replaced.commit().unwrap();
    assert_eq!(kind(appended.commit()), Some(Kind::Busy));
    put(&storage, "f", WriteMode::Append, b"er").unwrap();
    assert_eq!(read(&storage, "f").unwrap(), b"newer");

    // Some requests are refused at first, so that other sessions begin meanwhile.
    for round in 0..4 {
        fake.fail("PutObject", round, 2, fake::Fault::Refuse(503, "SlowDown"));
        let append = || put(&storage, "f", WriteMode::Append, b"+").is_ok();
        let appended = std::thread::scope(|scope| {
            let sessions = [0; 4].map(|_| scope.spawn(append));
            sessions.map(|session| session.join().unwrap()).into_iter().filter(|it| *it).count()
        });
        fake.works();
        let content = read(&storage, "f").unwrap();
        assert!(appended > 0 && content.len() == "newer".len() + appended, "{content:?}");
        put(&storage, "f", WriteMode::Replace, b"newer").unwrap();
    }
    // A session whose publication certainly failed is in nobody's way.
    storage.remove(&path("f")).unwrap();
    let (denied, other) = (begin(WriteMode::Create, b"one"), begin(WriteMode::Create, b"other"));
    fake.fail("PutObject", 0, 1, fake::Fault::Refuse(403, "AccessDenied"));
    denied.commit().unwrap_err();
    fake.works();
    other.commit().unwrap();
    assert_eq!(read(&storage, "f").unwrap(), b"other");
}

#[test]
fn only_a_publication_that_may_be_made_is_in_the_way_of_others() {
    use fake::Fault;
    for is_ignored in [false, true] {
        let fake = Fake::start();
        let storage = on(&fake);
        let begin = |mode, bytes: &[u8]| {
            let mut upload = storage.write(&path("f"), mode, Keep::Shared).unwrap();
            upload.write_all(bytes).unwrap();
            upload
        };
        // The store's condition refuses the first one, because another program has changed the file.
        fake.store("f", b"old");
        let refused = begin(WriteMode::Append, b" one");
        fake.store("f", b"new");
        let other = begin(WriteMode::Append, b" other");
        assert_eq!(kind(refused.commit()), Some(Kind::Busy));
        other.commit().unwrap();
        assert_eq!(fake.content("f").unwrap(), b"new other");
        fake.ignore_conditions(is_ignored);
        storage.inner.test("PutObject").unwrap();
        for (fault, count, want) in [
            (Fault::Refuse(507, "XMinioStorageFull"), 1, None),
            (Fault::Refuse(403, "SignatureDoesNotMatch"), 1, None),
            (Fault::Refuse(503, "SlowDown"), 4, None),
            (Fault::Refuse(500, "InternalError"), 4, is_ignored.then_some(Kind::Busy)),
            (Fault::Reset, 4, is_ignored.then_some(Kind::Busy)),
        ] {
            let (failed, other) = (begin(WriteMode::Append, b"?"), begin(WriteMode::Append, b"!"));
            fake.fail("PutObject", 0, count, fault);
            failed.commit().unwrap_err();
            fake.works();
            assert_eq!(kind(other.commit()), want, "{fault:?}");
        }
    }
}

#[test]
fn a_file_is_created_after_another_one_of_its_name_is_gone() {
    for is_ignored in [false, true] {
        let fake = Fake::start();
        fake.ignore_conditions(is_ignored);
        let storage = on(&fake);
        for is_moved in [false, true] {
            let [first, second, third] = [b"1", b"2", b"3"].map(|bytes| {
                let mut upload =
                    storage.write(&path("f"), WriteMode::Create, Keep::Shared).unwrap();
                upload.write_all(bytes).unwrap();
                upload
            });
            first.commit().unwrap();
            match is_moved {
                true => storage.rename(&path("f"), &path("g"), true).unwrap(),
                false => storage.remove(&path("f")).unwrap(),
            }
            second.commit().unwrap();
            assert_eq!(kind(third.commit()), Some(Kind::Exists), "{is_ignored} {is_moved}");
            assert_eq!(fake.content("f").unwrap(), b"2");
            storage.remove(&path("f")).unwrap();
        }
    }
}

#[test]
fn an_upload_that_is_given_up_while_another_one_is_published_is_not_stored_dc_46() {
    patiently(Duration::from_secs(1), |limit| {
        let fake = Fake::start();
        let storage = on(&fake);
        fake.fail("PutObject", 0, 1, fake::Fault::Delay(limit));
        let slow = storage.clone();
        let slow = std::thread::spawn(move || put(&slow, "f", WriteMode::Replace, b"slow"));
        wait_until("the first one is published", || fake.count("PutObject") == 1);
        let mut other = storage.write(&path("f"), WriteMode::Replace, Keep::Shared).unwrap();
        other.write_all(b"given up").unwrap();
        let job = crate::threads::ThreadJob::begin(move || other.commit()).unwrap();
        job.end().cancel();
        slow.join().unwrap().unwrap();
        assert_eq!(kind(job.finish().unwrap()), Some(Kind::Io));
        assert_eq!(fake.content("f").unwrap(), b"slow");
    });
}

#[test]
fn a_change_that_is_given_up_before_its_request_is_never_sent_dc_45() {
    type Act = fn(&S3Storage) -> StorageResult<()>;
    type Sent = &'static [(&'static str, u64)];
    const RENAME: Act = |it| it.rename(&path("f"), &path("g"), true);
    const MOVE: Act = |it| it.rename(&path("d"), &path("n"), true);
    const SET: Act = |it| it.set(&path("f"), Change::Modified(7)).map(drop);
    const SLOW: fake::Fault = fake::Fault::Hold;
    const BUSY: fake::Fault = fake::Fault::Refuse(503, "SlowDown");
    // What the change waits for, the requests of the change, and the number of them that are sent.
    let cases: [(&'static str, fake::Fault, Sent, Act); 9] = [
        ("HeadObject", SLOW, &[("CopyObject", 0)], RENAME),
        ("CopyObject", BUSY, &[("CopyObject", 1)], RENAME),
        ("HeadObject", SLOW, &[("CopyObject", 0)], SET),
        ("CopyObject", SLOW, &[("CopyObject", 1), ("DeleteObject", 1)], MOVE),
        ("HeadObject", SLOW, &[("DeleteObject", 0)], |it| it.remove(&path("f"))),
        ("DeleteObject", BUSY, &[("DeleteObject", 1)], |it| it.remove(&path("f"))),
        ("ListObjectsV2", SLOW, &[("DeleteObject", 0)], |it| it.rmdir(&path("e"))),
        ("HeadObject", SLOW, &[("PutObject", 0)], |it| it.mkdir(&path("n"))),
        ("the turn", SLOW, &[("CopyObject", 0)], RENAME),
    ];
    for (at, (operation, fault, want, act)) in cases.into_iter().enumerate() {
        let fake = Fake::start();
        let storage = on(&fake).keep_times(true).rename_trees(9);
        for key in ["f", "d/a", "d/b", "e/", "first"] {
            fake.store(key, b"old");
        }
        // The first rename tests the store.
        storage.rename(&path("first"), &path("last"), true).unwrap();
        let turn = (operation == "the turn").then(|| storage.inner.memory.rivals.turn("g"));
        let heads = if turn.is_some() { 2 } else { 1 };
        let waits = if turn.is_some() { "HeadObject" } else { operation };
        let before = fake.count(waits);
        let counts: Vec<_> = want.iter().map(|(name, _)| fake.count(name)).collect();
        if turn.is_none() {
            fake.fail(operation, 0, 1, fault);
        }
        let own = storage.clone();
        let job = crate::threads::ThreadJob::begin(move || act(&own)).unwrap();
        wait_until("it waits", || fake.count(waits) == before + heads);
        job.end().cancel();
        drop(turn);
        fake.release();
        let ended = job.finish().unwrap();
        assert!(matches!(kind(ended), Some(Kind::Io | Kind::Busy | Kind::Unknown)), "{at}");
        for ((name, want), before) in want.iter().zip(counts) {
            assert_eq!(fake.count(name) - before, *want, "{at} {name}");
        }
    }
}

#[test]
fn only_one_of_two_concurrent_creates_succeeds() {
    let fake = Fake::start();
    let storage = on(&fake);
    for length in [3, PART + 1] {
        let begin = |mode| {
            let mut upload = storage.write(&path("f"), mode, Keep::Shared).unwrap();
            upload.write_all(&content(length)).unwrap();
            upload
        };
        let [first, second] = [(); 2].map(|()| begin(WriteMode::Create));
        let appended = begin(WriteMode::Append);
        let replaced = begin(WriteMode::Replace);
        first.commit().unwrap();
        assert_eq!(kind(second.commit()), Some(Kind::Exists));
        assert_eq!(kind(appended.commit()), Some(Kind::Busy));
        replaced.commit().unwrap();
        storage.remove(&path("f")).unwrap();
        assert_eq!(fake.uploads(), 0);
    }
}

#[test]
fn a_time_is_set_before_or_after_an_upload_to_the_same_name() {
    let fake = Fake::start();
    let storage = on(&fake).keep_times(true);
    fake.store("f", b"old");
    fake.fail("HeadObject", 0, 1, fake::Fault::Delay(Duration::from_millis(500)));
    let slow = storage.clone();
    let slow = std::thread::spawn(move || kind(slow.set(&path("f"), Change::Modified(7))));
    wait_until("the old file is seen", || fake.count("HeadObject") == 1);
    put(&storage, "f", WriteMode::Replace, b"new").unwrap();
    assert_eq!(slow.join().unwrap(), None);
    assert_eq!(fake.content("f").unwrap(), b"new");
    assert!(storage.stat(&path("f"), Ask::Facts).unwrap().modified > 7);
}
