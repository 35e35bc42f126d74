//! Requests that the store executes long after the server has given them up.

use std::time::Instant;

use ftp_tests::at_once::at_once;
use ftp_tests::wait::{patiently, wait_until};

use super::super::connection::HOSTS;
use super::super::http::{IF_IS, IF_NEW, Treatment, Treatments};
use super::super::record::Memory;
use super::super::remembered::{LateChanges, MOST_LATE};
use super::fake::{Fault, LATE, Page};
use super::*;

/// A change, and the operation that makes it.
type Late = (&'static str, fn(&S3Storage) -> StorageResult<()>);

const CHANGES: [Late; 6] = [
    ("PutObject", |storage| put(storage, "f", WriteMode::Replace, b"late")),
    ("PutObject", |storage| put(storage, "f", WriteMode::Append, b"late")),
    ("CompleteMultipartUpload", |storage| {
        put(storage, "f", WriteMode::Replace, &content(PART + 9))
    }),
    ("CopyObject", |storage| storage.rename(&path("g"), &path("f"), true)),
    ("DeleteObject", |storage| storage.remove(&path("f"))),
    ("CopyObject", |storage| storage.set(&path("f"), Change::Modified(9)).map(drop)),
];

/// Makes a change whose first request is executed only after [`Fake::release`]. Returns the storage,
/// and the error.
fn change_late(
    fake: &Fake,
    (operation, change): Late,
    limit: Duration,
    late: Duration,
) -> (S3Storage, Option<Kind>) {
    fake.store("f", b"old");
    fake.store("g", b"other");
    let storage = hasty(fake, limit).keep_times(true);
    let store = settings(&fake.endpoint()).timeouts(storage.inner.client.timeouts.late(late));
    let storage = store.build().unwrap().storage("").unwrap().keep_times(true);
    for tested in ["DeleteObject", "CopyObject", "CompleteMultipartUpload", "UploadPartCopy"] {
        storage.inner.test(tested).unwrap();
    }
    fake.fail(operation, 0, 1, Fault::Late);
    let changed = kind(change(&storage));
    (storage, changed)
}

#[test]
fn a_request_that_the_store_makes_late_changes_nothing_newer() {
    at_once(6, CHANGES, |late| {
        patiently(Duration::from_millis(300), |limit| {
            let fake = Fake::start();
            let (storage, changed) = change_late(&fake, late, limit, Duration::from_secs(600));
            assert_eq!(changed, None, "{}", late.0);
            put(&storage, "f", WriteMode::Replace, b"newer").unwrap();
            fake.release();
            wait_until("the late request is made", || fake.count(LATE) == 1);
            assert_eq!(fake.content("f").as_deref(), Some(&b"newer"[..]), "{}", late.0);
        });
    });
}

#[test]
fn a_request_without_a_response_is_sent_once_and_blocks_its_path_if_no_condition_is_checked() {
    // No time is set there.
    let changes = CHANGES.into_iter().take(5);
    at_once(5, changes.flat_map(|late| [(late, true), (late, false)]), |(late, ignores)| {
        patiently(Duration::from_millis(300), |limit| {
            let careless = || {
                let fake = Fake::start();
                match ignores {
                    true => fake.ignore_conditions(true),
                    false => fake.refuse_conditions(&CONDITIONAL),
                }
                fake.ignore_conditions_of_removals(ignores);
                fake
            };
            let fake = careless();
            let (storage, changed) = change_late(&fake, late, limit, Duration::from_secs(600));
            assert_eq!(changed, Some(Kind::Io), "{} {ignores}", late.0);
            fake.store("f", b"old");
            let store = || put(&storage, "f", WriteMode::Replace, b"newer");
            for change in [&store as &dyn Fn() -> _, &|| storage.remove(&path("f"))] {
                assert_eq!(kind(change()), Some(Kind::Busy), "{}", late.0);
            }
            put(&storage, "h", WriteMode::Replace, b"of another path").unwrap();
            // The time is over.
            let fake = careless();
            let (storage, _) = change_late(&fake, late, limit, Duration::ZERO);
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
    job.end().cancel();
    fake.release();
    assert!(job.finish().unwrap().is_some());
    assert_eq!(fake.content("f").unwrap(), b"newer");
}

/// A process that was stopped for minutes goes on in all of its threads at once.
#[test]
fn a_change_waits_for_a_session_that_has_not_seen_its_client_for_long() {
    for is_there in [true, false] {
        let fake = Fake::start();
        fake.store("f", b"old");
        let storage = on(&fake);
        fake.fail("HeadObject", 0, 1, Fault::Hold);
        let removal = move || kind(storage.remove(&path("f")));
        let job = crate::threads::ThreadJob::begin(removal).unwrap();
        wait_until("the file is looked at", || fake.count("HeadObject") == 1);
        let long_ago = Instant::now().checked_sub(2 * crate::threads::RECENT).unwrap();
        job.end().seen(long_ago);
        fake.release();
        assert!(job.wait(Duration::from_millis(300)).is_none());
        assert_eq!(fake.content("f").unwrap(), b"old");
        match is_there {
            true => job.end().seen(Instant::now()),
            false => job.end().cancel(),
        }
        assert_eq!(job.finish().unwrap().is_none(), is_there);
        assert_eq!(fake.content("f").is_none(), is_there);
    }
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
        one.inner.test("DeleteObject").unwrap();
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

const CONDITIONAL: [&str; 4] =
    ["PutObject", "CompleteMultipartUpload", "CopyObject", "DeleteObject"];

#[test]
fn a_store_that_refuses_conditions_is_used_without_them() {
    let fake = Fake::start();
    fake.refuse_conditions(&CONDITIONAL);
    let storage = on(&fake).keep_times(true).rename_trees(9);
    let large = content(PART + 9);
    fake.store("f", b"old");
    put(&storage, "f", WriteMode::Replace, b"new").unwrap();
    put(&storage, "f", WriteMode::Append, b"er").unwrap();
    assert_eq!(fake.content("f").unwrap(), b"newer");
    assert_eq!(kind(put(&storage, "f", WriteMode::Create, b"")), Some(Kind::Exists));
    // The server looks itself, directly before.
    let mut late = storage.write(&path("f"), WriteMode::Append, Keep::Shared).unwrap();
    late.write_all(b"?").unwrap();
    fake.store("f", b"of another server");
    assert_eq!(kind(late.commit()), Some(Kind::Busy));
    // Its note is written again and again.
    cut(&storage, "f", WriteMode::Replace, &large);
    assert_eq!(storage.unfinished(&path("f"), Some(USER)).unwrap().unwrap().kept, PART as u64 + 9);
    put(&storage, "f", WriteMode::Replace, &large).unwrap();
    storage.rename(&path("f"), &path("g"), true).unwrap();
    put(&storage, "f", WriteMode::Replace, b"over").unwrap();
    storage.rename(&path("f"), &path("g"), true).unwrap();
    assert_eq!((fake.content("f"), fake.content("g").unwrap()), (None, b"over".to_vec()));
    // A change of a time would replace what another server stores at the same moment.
    assert_eq!(kind(storage.set(&path("g"), Change::Modified(9))), Some(Kind::Unsupported));
    storage.remove(&path("g")).unwrap();
    for change in [S3Storage::mkdir, S3Storage::rmdir] {
        change(&storage, &path("d")).unwrap();
    }
    assert_eq!((fake.keys(""), fake.uploads()), (Vec::new(), 0));
    let features = store_at(&fake).probe().unwrap();
    assert!(features.refuses_conditions && features.copies && !features.conditional_copy);
}

#[test]
fn a_gateway_that_answers_501_takes_the_condition_off_no_request() {
    for page in [Page::Gateway, Page::Html, Page::Empty] {
        for is_late in [false, true] {
            let fake = Fake::start();
            fake.store("f", b"old");
            let (storage, other) = (on(&fake), on(&fake));
            let mut upload = storage.write(&path("f"), WriteMode::Append, Keep::Shared).unwrap();
            upload.write_all(b"?").unwrap();
            put(&other, "f", WriteMode::Replace, b"newer").unwrap();
            let gateway = Fault::Page { status: 501, page, is_late };
            fake.fail("PutObject", 0, 99, gateway);
            assert!(upload.commit().is_err());
            // Plain replacements fail, too: nothing is sent without a condition.
            let replaced = kind(put(&storage, "f", WriteMode::Replace, b"through"));
            fake.works();
            let want: &[u8] = if is_late { b"through" } else { b"newer" };
            assert_eq!(replaced, (!is_late).then_some(Kind::Io), "{page:?}");
            assert_eq!(fake.content("f").unwrap(), want, "{page:?}");
            // The store checks conditions, now as before.
            assert!(storage.inner.test("PutObject").unwrap().are_checked());
        }
    }
}

#[test]
fn a_test_of_the_store_is_made_once_and_forgotten_if_it_failed() {
    let fake = Fake::start();
    fake.refuse_conditions(&["PutObject"]);
    let storage = on(&fake);
    let before = fake.count("PutObject");
    let tests = at_once(4, [0; 4], |_| storage.inner.test("PutObject").unwrap());
    assert_eq!(tests, [Treatments::both(Treatment::Refused); 4]);
    assert_eq!(fake.count("PutObject") - before, 3);
    assert_eq!(fake.keys(""), [""; 0]);
    // It was another program between the server and the store.
    fake.refuse_conditions(&[]);
    storage.inner.client.checks.forget_lacks();
    assert!(storage.inner.test("PutObject").unwrap().are_checked());
    storage.inner.client.checks.forget_lacks();
    assert!(storage.inner.client.checks.known("PutObject").is_some());
}

#[test]
fn an_append_that_was_carried_out_is_never_refused() {
    for other in [WriteMode::Append, WriteMode::Replace] {
        let fake = Fake::start();
        fake.store("f", b"old");
        let (one, two) = (on(&fake), on(&fake));
        // The store takes it, and the answer is lost with the connection.
        fake.fail("PutObject", 0, 1, Fault::LoseAnswer);
        fake.fail("HeadObject", 2, 1, Fault::Late);
        let appending =
            std::thread::spawn(move || kind(put(&one, "f", WriteMode::Append, b" one")));
        wait_until("it is carried out", || fake.content("f").is_some_and(|it| it == b"old one"));
        wait_until("the server looks", || fake.count("HeadObject") >= 3);
        put(&two, "f", other, b" two").unwrap();
        fake.release();
        assert_eq!(appending.join().unwrap(), Some(Kind::Unknown), "{other:?}");
    }
}

#[test]
fn what_may_still_be_changed_is_known_after_a_reload() {
    patiently(Duration::from_millis(300), |limit| {
        let fake = Fake::start();
        fake.ignore_conditions(true);
        fake.store("f", b"old");
        let timeouts = S3Timeouts::new().answer(limit).retries(12 * limit);
        let settings = settings(&fake.endpoint()).timeouts(timeouts);
        let storage = |settings: &S3StoreBuilder| {
            settings.clone().build().unwrap().storage("").unwrap().keep_times(true)
        };
        let old = storage(&settings);
        fake.fail("PutObject", 0, 1, Fault::Late);
        assert_eq!(kind(put(&old, "f", WriteMode::Replace, b"late")), Some(Kind::Io));
        // Another key, and other settings.
        let timeouts = timeouts.late(Duration::ZERO);
        let reloaded = settings.credentials("another", "key").part_size(2 * PART as u64);
        let new = storage(&reloaded.timeouts(timeouts));
        for storage in [&old, &new] {
            let refused = kind(put(storage, "f", WriteMode::Replace, b"newer"));
            assert_eq!(refused, Some(Kind::Busy));
        }
        // Sessions of both take turns.
        let turn = old.inner.memory.rivals.turn("g");
        let (sender, done) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            put(&new, "g", WriteMode::Replace, b"").unwrap();
            sender.send(()).unwrap();
        });
        assert!(done.recv_timeout(limit).is_err());
        drop(turn);
        done.recv().unwrap();
        fake.release();
    });
}

#[test]
fn a_removal_waits_for_changes_of_its_own_path_only() {
    let fake = Fake::start();
    fake.ignore_conditions_of_removals(true);
    let storage = on(&fake);
    let names: Vec<_> = (0..200).map(|number| format!("f{number}")).collect();
    for name in &names {
        fake.store(name, b"");
    }
    let _turn = storage.inner.memory.rivals.turn("g");
    for name in &names {
        storage.remove(&path(name)).unwrap();
    }
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

#[test]
fn each_kind_of_condition_is_proved_by_itself() {
    const LATER: Duration = Duration::from_secs(600);
    for (refused, lost) in [(IF_IS, "f"), (IF_NEW, "n")] {
        patiently(Duration::from_millis(300), |limit| {
            let fake = Fake::start();
            fake.refuse_condition(&[refused], &["PutObject"]);
            fake.store("f", b"old");
            let storage = hasty(&fake, limit);
            let timeouts = storage.inner.client.timeouts.late(LATER);
            let store = settings(&fake.endpoint()).timeouts(timeouts).build().unwrap();
            let storage = store.storage("").unwrap();
            let found = store.inner.test("PutObject").unwrap();
            for header in [IF_IS, IF_NEW] {
                let is_checked = found.of(header) == Treatment::Checked;
                assert_eq!(is_checked, header != refused, "{refused}");
            }
            // Only a change whose condition is checked is sent again, and leaves its path free.
            for name in ["f", "n"] {
                fake.fail("PutObject", 0, 1, Fault::Late);
                let stored = kind(put(&storage, name, WriteMode::Replace, b"new"));
                assert_eq!(stored, (name == lost).then_some(Kind::Io), "{refused} {name}");
                let again = kind(put(&storage, name, WriteMode::Replace, b"newer"));
                assert_eq!(again, (name == lost).then_some(Kind::Busy), "{refused} {name}");
            }
            fake.release();
        });
    }
}

#[test]
fn changes_without_a_response_that_find_no_room_count_for_each_path() {
    let (late, long) = (LateChanges::default(), Duration::from_secs(600));
    let add = |key: &str, condition, limit| late.add((key, "PutObject"), condition, limit);
    let is_free = |key: &str| !late.has_pending(key, |_, header| header == IF_IS);
    for number in 0..MOST_LATE {
        // Each of them twice.
        (0..2).for_each(|_| add(&number.to_string(), None, long));
    }
    add("checked", Some(IF_IS), long);
    assert!(is_free("other") && !is_free("0"));
    add("0", None, long);
    assert!(is_free("other"));
    add("more", None, Duration::ZERO);
    assert!(is_free("other"));
    let before = Instant::now();
    add("more", Some(IF_NEW), long);
    assert!(!is_free("other") && late.has_since("other", before));
}

#[test]
fn what_is_known_of_a_bucket_that_nobody_uses_is_forgotten_unless_a_change_may_still_be_made() {
    let name = |text: &str| format!("{text} {}", std::process::id());
    let weak = |memory: Arc<Memory>| Arc::downgrade(&memory);
    let (unused, used) = (weak(Memory::of(name("unused"))), Memory::of(name("used")));
    let dangerous = Memory::of(name("dangerous"));
    dangerous.late.add(("f", "PutObject"), None, Duration::from_secs(600));
    let (dangerous, is_used) = (weak(dangerous), Arc::downgrade(&used));
    let _other = Memory::of(name("other"));
    assert!(unused.upgrade().is_none());
    assert!(dangerous.upgrade().is_some() && is_used.upgrade().is_some());
}
