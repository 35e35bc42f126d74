//! Interrupted uploads, which any server that uses the bucket can resume.

use ftp_tests::wait::wait_until;

use super::super::partial::{self, Note};
use super::super::record::StoreRecord;
use super::fake::Fault;
use super::*;
use crate::command::unfinished::tests::{Act, World, check, check_random, is_of_others};

fn unfinished(storage: &S3Storage, user: Option<&[u8]>) -> Option<Unfinished> {
    storage.unfinished(&path("f"), user).unwrap()
}

fn forget(storage: &S3Storage) -> StorageResult<Option<Unfinished>> {
    storage.forget(&path("f"), Some(USER))
}

#[test]
fn another_server_can_resume_an_interrupted_upload_fs_15_fs_16_hf_17() {
    let fake = Fake::start();
    let bytes = content(3 * PART + 100);
    for length in [2, 1_000, PART, PART + 1, 2 * PART + 9] {
        let (one, other) = (on(&fake), on(&fake));
        cut(&one, "f", WriteMode::Replace, &bytes[..length]);
        assert_eq!(kind(other.stat(&path("f"), Ask::Facts)), Some(Kind::NotFound));
        assert_eq!(names(&other, "/"), [""; 0]);
        let size = told(&other, "f").unwrap();
        assert_eq!(size, length as u64 - 1);
        assert_eq!(unfinished(&other, Some(b"bob")), None);
        let start = usize::try_from(size).unwrap();
        let more = (start + 7).max(PART);
        cut(&other, "f", WriteMode::Resume(size), &bytes[start..more]);
        assert_eq!(told(&one, "f"), Some(more as u64 - 1));
        put(&one, "f", WriteMode::Resume(more as u64 - 1), &bytes[more - 1..]).unwrap();
        assert!(fake.content("f").unwrap() == bytes, "{length}");
        assert_eq!((told(&one, "f"), fake.uploads()), (None, 0));
        assert_eq!(fake.keys(".ftp-server/"), [""; 0]);
        one.remove(&path("f")).unwrap();
    }
}

#[test]
fn the_reported_partial_size_is_always_below_the_file_size_fs_15() {
    let fake = Fake::start();
    let storage = on(&fake);
    let bytes = content(2 * PART);
    // All bytes have arrived and the last part is stored, but the file is not published.
    let mut upload = storage.write(&path("f"), WriteMode::Create, Keep::Bytes(USER)).unwrap();
    upload.write_all(&bytes).unwrap();
    upload.flush().unwrap();
    while !upload.ready().unwrap() {}
    assert_eq!(fake.count("UploadPart"), 2);
    upload.abort(StreamEnd::Cut);
    let size = told(&storage, "f").unwrap();
    assert_eq!(size, bytes.len() as u64 - 1);
    put(&storage, "f", WriteMode::Resume(size), &bytes[bytes.len() - 1..]).unwrap();
    assert!(fake.content("f").unwrap() == bytes);
}

/// Writes bytes to a new file, and waits until the store has `parts` parts of it.
fn write(storage: &S3Storage, fake: &Fake, bytes: &[u8], parts: usize) -> Box<dyn Upload> {
    let mut upload = storage.write(&path("f"), WriteMode::Replace, Keep::Bytes(USER)).unwrap();
    upload.write_all(bytes).unwrap();
    wait_until("the parts are stored", || upload.ready().unwrap() && fake.parts() == parts);
    upload
}

#[test]
fn the_note_of_a_running_upload_is_renewed_fs_18() {
    let fake = Fake::start();
    let lease = Duration::from_secs(8);
    let start = || settings(&fake.endpoint()).lease(lease).build().unwrap().storage("").unwrap();
    let (one, other) = (start(), start());
    let upload = write(&one, &fake, &content(PART + 1), 1);
    for _ in 0..2 {
        // Without a renewal, the lease would have expired by now.
        fake.age(9);
        let before = fake.last_change(".ftp-server/");
        wait_until("the note is renewed", || fake.last_change(".ftp-server/") > before);
        let refused = other.write(&path("f"), WriteMode::Resume(PART as u64), Keep::Bytes(USER));
        assert_eq!(kind(refused), Some(Kind::Busy));
    }
    upload.abort(StreamEnd::Cut);
    assert_eq!(told(&other, "f"), Some(PART as u64));
}

#[test]
fn a_note_that_the_store_has_not_written_is_written_again_fs_15_fs_18() {
    let refusals = [500, 502, 504].map(|status| Fault::Refuse(status, "InternalError"));
    for fault in refusals.into_iter().chain([Fault::Reset, Fault::LoseAnswer]) {
        let fake = Fake::start();
        let storage = on(&fake);
        let store = &storage.inner;
        let key = format!("{}note", keys::NOTES);
        let found = || partial::find(store, &key).unwrap().unwrap();
        let note = Note {
            owner: "ann".to_owned(),
            key: "f".to_owned(),
            object: "id".to_owned(),
            is_active: true,
            keeps: true,
            ..Note::default()
        };
        let fail = |skipped| fake.fail("PutObject", skipped, 1, fault);
        fail(0);
        let record =
            StoreRecord::begin(store, &key, Some(USER), (note, None), (true, false)).unwrap();
        record.write(store).unwrap();
        // A session that dies now names its multipart upload.
        fail(0);
        record.begin_parts(store, "upload").unwrap();
        assert_eq!(found().note.upload.as_deref(), Some("upload"), "{fault:?}");
        fake.age(1_000);
        assert!(!found().is_running);
        fail(0);
        record.write(store).unwrap();
        assert!(found().is_running, "{fault:?}");
        // The object with the last bytes is written before the note.
        fail(1);
        record.leave(store, StreamEnd::Cut, Some((&[], b"tail"))).unwrap();
        let found = found();
        assert!(!found.is_running && !found.note.is_active, "{fault:?}");
        let (by, length) = found.note.tail.unwrap();
        assert_eq!(length, 4);
        let tail = keys::tail(&by);
        assert_eq!(fake.content(&tail).as_deref(), Some(&b"tail"[..]), "{fault:?}");
    }
}

#[test]
fn complete_parts_of_a_dead_server_can_be_resumed_fs_15() {
    let fake = Fake::start();
    let bytes = content(3 * PART + 9);
    let (one, other) = (on(&fake), on(&fake));
    let upload = write(&one, &fake, &bytes, 3);
    // Simulates the death of the server: nothing ends the upload.
    std::mem::forget(upload);
    fake.age(100);
    // The last stored part could be the end of the file.
    let size = told(&other, "f").unwrap();
    assert_eq!(size, 2 * PART as u64);
    let inside = other.write(&path("f"), WriteMode::Resume(size - 1), Keep::Bytes(USER));
    assert_eq!(kind(inside), Some(Kind::BadRestart));
    let rest = &bytes[usize::try_from(size).unwrap()..];
    put(&other, "f", WriteMode::Resume(size), rest).unwrap();
    assert!(fake.content("f").unwrap() == bytes);
    assert_eq!((fake.uploads(), fake.keys(".ftp-server/").len()), (0, 0));
}

#[test]
fn a_text_of_a_dead_server_is_not_resumed_as_an_image_fs_15() {
    let fake = Fake::start();
    let (one, other) = (on(&fake), on(&fake));
    put(&one, "f", WriteMode::Replace, b"old").unwrap();
    let bytes = content(3 * PART + 9);
    let mut upload = one.write(&path("f"), WriteMode::Replace, Keep::Record(USER)).unwrap();
    upload.write_all(&bytes).unwrap();
    wait_until("the parts are stored", || upload.ready().unwrap() && fake.parts() == 3);
    // Simulates the death of the server: nothing ends the upload.
    std::mem::forget(upload);
    fake.age_below(".ftp-server/", 100);
    assert_eq!(unfinished(&other, Some(USER)).map(|found| found.kept), Some(0));
    let resumed = other.write(&path("f"), WriteMode::Resume(5), Keep::Bytes(USER));
    assert_eq!(kind(resumed), Some(Kind::BadRestart));
    put(&other, "f", WriteMode::Replace, &bytes).unwrap();
    assert_eq!((fake.uploads(), fake.keys(".ftp-server/").len()), (0, 0));
}

#[test]
fn a_new_upload_discards_the_parts_of_a_dead_server_fs_15() {
    let fake = Fake::start();
    let bytes = content(2 * PART + 9);
    let (one, other) = (on(&fake), on(&fake));
    for is_replaced in [false, true] {
        std::mem::forget(write(&one, &fake, &bytes, 2));
        // The client does not resume, and its lease has not expired.
        if is_replaced {
            fake.store("f", b"of another program");
        }
        put(&other, "f", WriteMode::Replace, b"other").unwrap();
        other.remove(&path("f")).unwrap();
        fake.age(100);
        assert_eq!(told(&other, "f"), None);
        assert_eq!((fake.uploads(), fake.keys(".ftp-server/").len()), (0, 0));
    }
}

#[test]
fn a_server_notices_that_its_upload_was_taken_over_fs_18() {
    let fake = Fake::start();
    let lease = Duration::from_secs(3);
    let start = || settings(&fake.endpoint()).lease(lease).build().unwrap().storage("").unwrap();
    let (one, other) = (start(), start());
    let bytes = content(4 * PART);
    let mut first = write(&one, &fake, &bytes[..2 * PART + 1], 2);
    let mut resumed = None;
    wait_until("the other server takes the upload up", || {
        // As if the server had not renewed its notes for a while.
        fake.age(100);
        resumed = other.write(&path("f"), WriteMode::Resume(PART as u64), Keep::Bytes(USER)).ok();
        resumed.is_some()
    });
    wait_until("the first one notices", || kind(first.ready()) == Some(Kind::Busy));
    first.abort(StreamEnd::Failed);
    let mut second = resumed.unwrap();
    second.write_all(&bytes[PART..]).unwrap();
    second.commit().unwrap();
    assert!(fake.content("f").unwrap() == bytes);
    assert_eq!((fake.uploads(), fake.keys(".ftp-server/").len()), (0, 0));
}

#[test]
fn two_sessions_of_one_upload_never_mix_their_bytes_fs_18() {
    let fake = Fake::start();
    let bytes = content(4 * PART);
    let (one, other) = (on(&fake), on(&fake));
    let mut first = write(&one, &fake, &bytes[..2 * PART + 1], 2);
    fake.age(100);
    let mut second =
        other.write(&path("f"), WriteMode::Resume(PART as u64), Keep::Bytes(USER)).unwrap();
    let changed: Vec<u8> = bytes.iter().map(|byte| byte ^ 1).collect();
    second.write_all(&changed[PART..3 * PART + 1]).unwrap();
    while !second.ready().unwrap() {}
    // The first session has not noticed this yet, and replaces a part of the second session's
    // upload.
    let first = first.write_all(&bytes[2 * PART + 1..]).map_err(StorageError::from).and(Ok(first));
    let first = kind(first.and_then(Upload::commit));
    let second = kind(second.commit());
    let want = match (first, second) {
        (Some(Kind::Busy), Some(Kind::Busy)) => None,
        (None, Some(Kind::Busy | Kind::Exists)) => Some(bytes),
        (Some(Kind::Busy | Kind::Exists), None) => {
            Some([&bytes[..PART], &changed[PART..3 * PART + 1]].concat())
        }
        both => panic!("{both:?}"),
    };
    assert!(fake.content("f") == want, "{first:?} {second:?}");
}

#[test]
fn partial_files_are_removed_with_their_file_or_directory_fs_15_cm_87() {
    let fake = Fake::start();
    let storage = on(&fake).rename_trees(10);
    let kept = |length| {
        cut(&storage, "f", WriteMode::Replace, &content(length));
        assert_eq!(told(&storage, "f"), Some(length as u64 - 1));
    };
    for length in [10, PART + 10] {
        kept(length);
        assert_eq!(forget(&storage).unwrap().map(|found| found.kept), Some(length as u64));
        assert_eq!(forget(&storage).unwrap(), None);
        kept(length);
        put(&storage, "f", WriteMode::Replace, b"new").unwrap();
        storage.remove(&path("f")).unwrap();
        assert_eq!(told(&storage, "f"), None);
        // Another user has stored a file.
        kept(length);
        fake.store("f", b"other");
        assert_eq!(told(&storage, "f"), None);
        put(&storage, "f", WriteMode::Append, b"more").unwrap();
        assert_eq!(fake.content("f").unwrap(), b"othermore");
        storage.remove(&path("f")).unwrap();
        assert_eq!(told(&storage, "f"), None);
        // Half a day passes.
        kept(length);
        fake.age(12 * 3_600);
        assert_eq!(told(&storage, "f"), None);
        let refused = storage.write(&path("f"), WriteMode::Resume(4), Keep::Bytes(USER));
        assert_eq!(kind(refused), Some(Kind::BadRestart));
        // After a while, the store sweeps by itself.
        assert!(store_at(&fake).sweep().unwrap() <= 1);
        let tails = keys::TAILS;
        wait_until("no bytes are left", || fake.uploads() == 0 && fake.keys(tails).is_empty());
    }
    storage.mkdir(&path("d")).unwrap();
    for length in [10, PART + 10] {
        cut(&storage, "d/f", WriteMode::Replace, &content(length));
        storage.rmdir(&path("d")).unwrap();
        storage.mkdir(&path("d")).unwrap();
        assert_eq!((told(&storage, "d/f"), fake.uploads()), (None, 0));
    }
}

#[test]
fn a_failed_upload_abort_is_an_error_unless_the_upload_is_missing() {
    for (fault, want) in [
        (Fault::Refuse(404, "NoSuchUpload"), None),
        (Fault::Refuse(403, "AccessDenied"), Some(Kind::Denied)),
    ] {
        let fake = Fake::start();
        let storage = on(&fake);
        cut(&storage, "f", WriteMode::Replace, &content(PART + 10));
        fake.fail("AbortMultipartUpload", 0, 99, fault);
        assert_eq!(kind(forget(&storage)), want);
    }
}

#[test]
fn keep_partials_false_keeps_no_partial_files() {
    let fake = Fake::start();
    let storage = on(&fake).keep_partials(false);
    for length in [10, PART + 10] {
        cut(&storage, "f", WriteMode::Create, &content(length));
        assert_eq!(unfinished(&storage, Some(USER)).map(|found| found.kept), Some(0));
        assert_eq!((fake.uploads(), fake.keys("").len()), (0, 1), "{length}");
    }
}

#[test]
fn only_one_session_at_a_time_can_resume_an_upload_fs_15_fs_18() {
    let fake = Fake::start();
    let storage = on(&fake);
    for length in [10, PART + 10] {
        let size = length as u64;
        cut(&storage, "f", WriteMode::Replace, &content(length));
        let first = storage.write(&path("f"), WriteMode::Resume(size), Keep::Bytes(USER)).unwrap();
        let second = storage.write(&path("f"), WriteMode::Resume(size), Keep::Bytes(USER));
        assert_eq!(kind(second), Some(Kind::Busy));
        assert!(unfinished(&storage, Some(USER)).unwrap().is_running);
        // A third upload starts from the beginning and completes first.
        put(&storage, "f", WriteMode::Replace, b"whole").unwrap();
        // The first upload was not to replace this file.
        assert_eq!(kind(first.commit()), Some(Kind::Exists));
        assert_eq!(fake.content("f").unwrap(), b"whole");
        storage.remove(&path("f")).unwrap();
        assert_eq!((told(&storage, "f"), fake.uploads()), (None, 0), "{length}");
    }
}

#[test]
fn a_failed_upload_keeps_only_bytes_of_earlier_ones_fs_15_hf_17() {
    let fake = Fake::start();
    let storage = on(&fake);
    let bytes = content(3 * PART);
    for (old, former) in [(None, 0), (None, 10), (Some(b"old"), 10), (Some(b"old"), PART + 10)] {
        old.into_iter().for_each(|old| fake.store("f", old));
        if former > 0 {
            cut(&storage, "f", WriteMode::Replace, &bytes[..former]);
        }
        let mode = if former > 0 { WriteMode::Resume(former as u64) } else { WriteMode::Replace };
        for operation in ["CompleteMultipartUpload", "UploadPart"] {
            fake.fail(operation, 0, 99, Fault::Refuse(503, "SlowDown"));
            let mut upload = storage.write(&path("f"), mode, Keep::Bytes(USER)).unwrap();
            match upload.write_all(&bytes[former..]).and_then(|()| upload.flush()) {
                Ok(()) => assert_eq!(kind(upload.commit()), Some(Kind::Busy)),
                Err(_) => upload.abort(StreamEnd::Failed),
            }
            fake.works();
            let found = unfinished(&storage, Some(USER)).unwrap();
            assert_eq!((found.kept, found.is_running), (former as u64, false), "{operation}");
            assert_eq!(fake.content("f"), old.map(|old| old.to_vec()));
        }
        put(&storage, "f", mode, &bytes[former..]).unwrap();
        assert!(fake.content("f").unwrap() == bytes);
        assert_eq!((fake.uploads(), fake.keys(".ftp-server/").len()), (0, 0));
        storage.remove(&path("f")).unwrap();
    }
}

#[test]
fn an_interrupted_replacement_can_be_resumed_at_every_server_fs_13_fs_15() {
    let fake = Fake::start();
    let (one, other) = (on(&fake), on(&fake));
    let bytes = content(2 * PART + 9);
    for length in [100, PART + 1] {
        fake.store("f", b"old");
        cut(&one, "f", WriteMode::Replace, &bytes[..length]);
        assert_eq!(told(&other, "f"), Some(length as u64 - 1));
        assert_eq!(fake.content("f").unwrap(), b"old");
        assert!([Some(&b"bob"[..]), None].map(|user| unfinished(&other, user)) == [None, None]);
        put(&other, "f", WriteMode::Resume(length as u64 - 1), &bytes[length - 1..]).unwrap();
        assert!(fake.content("f").unwrap() == bytes);
        // Another program stores a file, before and after the upload is resumed.
        cut(&one, "f", WriteMode::Replace, &bytes[..length]);
        let mut upload =
            one.write(&path("f"), WriteMode::Resume(length as u64), Keep::Bytes(USER)).unwrap();
        upload.write_all(b"more").unwrap();
        fake.store("f", b"other");
        assert_eq!(kind(upload.commit()), Some(Kind::Exists));
        cut(&one, "f", WriteMode::Replace, &bytes[..length]);
        fake.store("f", b"others");
        assert_eq!(unfinished(&one, Some(USER)).map(|found| found.kept), Some(0));
        assert_eq!(fake.content("f").unwrap(), b"others");
        one.remove(&path("f")).unwrap();
        assert_eq!((fake.uploads(), fake.keys("").len()), (0, 0));
    }
}

#[test]
fn a_server_that_dies_leaves_a_record_fs_13_fs_15() {
    let fake = Fake::start();
    let lease = Duration::from_secs(2);
    let (one, other) = (on(&fake), {
        settings(&fake.endpoint()).lease(lease).build().unwrap().storage("").unwrap()
    });
    for (parts, kept) in [(1, 0), (2, PART as u64 + 1)] {
        fake.store("f", b"old");
        std::mem::forget(write(&one, &fake, &content(parts * PART + 1), parts));
        let found = || unfinished(&other, Some(USER)).unwrap();
        wait_until("the lease expires", || !found().is_running);
        assert_eq!(found().kept, kept);
        put(&other, "f", WriteMode::Replace, b"new").unwrap();
        other.remove(&path("f")).unwrap();
        assert_eq!((fake.uploads(), fake.keys("").len()), (0, 0));
    }
}

#[test]
fn an_overtaken_upload_is_stored_or_leaves_a_record_without_bytes_fs_15_fs_18() {
    let fake = Fake::start();
    let storage = on(&fake);
    let bytes = content(2 * PART + 9);
    for is_cut in [true, false] {
        let mut first = write(&storage, &fake, &bytes[..PART + 1], 1);
        let mut second = storage.write(&path("f"), WriteMode::Replace, Keep::Bytes(USER)).unwrap();
        second.write_all(b"second").unwrap();
        second.commit().unwrap();
        if is_cut {
            first.abort(StreamEnd::Cut);
            assert_eq!(fake.content("f").unwrap(), b"second");
        } else {
            first.write_all(&bytes[PART + 1..]).unwrap();
            first.commit().unwrap();
            assert!(fake.content("f").unwrap() == bytes);
        }
        // The length of the second file is not that of the first one.
        let want = is_cut.then_some(0);
        assert_eq!(unfinished(&storage, Some(USER)).map(|found| found.kept), want);
        storage.remove(&path("f")).unwrap();
        assert_eq!((fake.uploads(), fake.keys("").len()), (0, 0));
    }
}

#[test]
fn a_change_ends_no_record_of_an_upload_that_began_when_it_was_visible_in_a_bucket_fs_15() {
    for (operation, is_stored) in
        [("PutObject", true), ("CopyObject", true), ("DeleteObject", false), ("RNFR", false)]
    {
        let fake = Fake::start();
        let storage = on(&fake);
        fake.store("f", b"old");
        fake.store("g", b"another");
        // The first rename tests the store.
        storage.rename(&path("g"), &path("h"), false).unwrap();
        // The change is made, and the answer comes later.
        let answer = if is_stored { operation } else { "DeleteObject" };
        fake.fail(answer, 0, 1, Fault::Hold);
        let slow = storage.clone();
        let slow = std::thread::spawn(move || match operation {
            "PutObject" => put(&slow, "f", WriteMode::Replace, b"stored"),
            "CopyObject" => slow.rename(&path("h"), &path("f"), true),
            "DeleteObject" => slow.remove(&path("f")),
            _ => slow.rename(&path("f"), &path("i"), false),
        });
        wait_until("the change is visible", || fake.content("f").as_deref() != Some(&b"old"[..]));
        let mut upload =
            storage.write(&path("f"), WriteMode::Replace, Keep::Bytes(b"bob")).unwrap();
        upload.write_all(b"0123456789").unwrap();
        fake.release();
        slow.join().unwrap().unwrap();
        upload.abort(StreamEnd::Cut);
        let kept = unfinished(&storage, Some(b"bob")).map(|found| found.kept);
        assert_eq!(kept, Some(10), "{operation}");
    }
}

#[test]
fn a_removal_during_an_upload_lets_nobody_join_a_later_file_to_its_end_fs_15() {
    for (is_renamed, is_there) in [(false, false), (false, true), (true, false), (true, true)] {
        let fake = Fake::start();
        let storage = on(&fake);
        fake.store("f", b"old");
        let mut upload = storage.write(&path("f"), WriteMode::Replace, Keep::Bytes(USER)).unwrap();
        upload.write_all(b"0123456789").unwrap();
        match is_renamed {
            true => storage.rename(&path("f"), &path("g"), false).unwrap(),
            false => storage.remove(&path("f")).unwrap(),
        }
        // The session asks the storage to forget what belongs to the name.
        assert!(forget(&storage).unwrap().is_some_and(|found| found.is_running));
        if is_there {
            fake.store("f", b"of another program");
        }
        assert!(unfinished(&storage, Some(USER)).unwrap().is_running);
        upload.abort(StreamEnd::Cut);
        assert_eq!(kept(&storage, "f"), is_there.then_some(0), "{is_renamed}");
        assert_eq!(fake.keys(".ftp-server/").len(), usize::from(is_there), "{is_renamed}");
    }
}

#[test]
fn a_finished_replacement_leaves_no_record_fs_13() {
    let fake = Fake::start();
    let storage = on(&fake);
    for length in [100, 2 * PART] {
        put(&storage, "f", WriteMode::Replace, &content(length)).unwrap();
        put(&storage, "f", WriteMode::Replace, &content(length)).unwrap();
        assert_eq!(fake.keys(".ftp-server/"), [""; 0], "{length}");
    }
}

#[test]
fn a_refused_upload_ends_no_record_of_another_file_fs_15() {
    let fake = Fake::start();
    let acts = [Act::StorCut, Act::OtherUserStores, Act::StorRefused, Act::RestStor];
    check(store_at(&fake).storage("").unwrap(), &acts, World::Objects);
}

#[test]
fn random_sequences_of_commands_end_as_promised_fs_15() {
    let rounds = ftp_tests::scale::count(150, 10_000);
    let fake = Fake::start();
    let store = store_at(&fake);
    // An object store cannot rename a directory.
    let is_possible = |act| act != Act::MoveDirectory && !is_of_others(act);
    check_random(rounds, is_possible, |round| {
        (store.storage(&format!("{round}")).unwrap(), World::Objects)
    });
}
