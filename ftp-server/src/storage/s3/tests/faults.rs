//! A store that stalls, resets connections, refuses requests and sends wrong data. The session gets
//! the right error in bounded time, and never a false success.

use std::time::Instant;

use ftp_tests::at_once::at_once;
use ftp_tests::wait::{patiently, wait_until};

use super::super::http::lost;
use super::fake::Fault;
use super::*;

/// More than all timeouts of the settings together, with a reserve for a busy computer.
const BOUND: Duration = Duration::from_secs(120);

/// Transient faults, such as those of a store that is busy or restarts.
const PASSING: [Fault; 7] = [
    Fault::Stall,
    Fault::Reset,
    Fault::LoseAnswer,
    Fault::Half,
    Fault::Refuse(500, "InternalError"),
    Fault::Refuse(503, "SlowDown"),
    Fault::Delay(Duration::from_millis(100)),
];

/// Permanent faults, and the kind of error that the session gets.
const LASTING: [(Fault, Kind); 6] = [
    (Fault::Stall, Kind::Io),
    (Fault::Reset, Kind::Io),
    (Fault::Refuse(500, "InternalError"), Kind::Io),
    (Fault::Refuse(503, "SlowDown"), Kind::Busy),
    (Fault::Refuse(403, "AccessDenied"), Kind::Denied),
    (Fault::Refuse(403, "SignatureDoesNotMatch"), Kind::Io),
];

/// How long tests wait for a store that never responds.
const STALL: Duration = Duration::from_secs(1);

/// Returns a storage for a store with this fault. If the store never responds, `limit` scales the
/// timeouts.
fn with(fake: &Fake, fault: Fault, limit: Duration) -> S3Storage {
    if fault == Fault::Stall { hasty(fake, limit) } else { on(fake) }
}

/// Returns the requests of two uploads, each with the length of the file: a small file, and a file
/// of several parts.
fn cases() -> impl Iterator<Item = (usize, &'static str)> {
    const SMALL: [&str; 3] = ["HeadObject", "ListObjectsV2", "PutObject"];
    const LARGE: [&str; 3] = ["CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"];
    let small = SMALL.map(|operation| (9, operation));
    small.into_iter().chain(LARGE.map(|operation| (2 * PART + 9, operation)))
}

#[test]
fn downloads_survive_transient_faults() {
    let bytes = content(3 * PART);
    at_once(6, PASSING, |fault| {
        patiently(STALL, |limit| {
            let fake = Fake::start();
            fake.store("f", &bytes);
            fake.fail("GetObject", 0, 2, fault);
            assert!(read(&with(&fake, fault, limit), "f").unwrap() == bytes, "{fault:?}");
            if fault != Fault::Half {
                fake.fail("HeadObject", 0, 2, fault);
                let size = with(&fake, fault, limit).stat(&path("f"), Ask::Facts).unwrap().size;
                assert_eq!(size, bytes.len() as u64, "{fault:?}");
            }
        });
    });
    // After an interruption, only the missing bytes are requested again.
    let fake = Fake::start();
    fake.store("f", &bytes);
    fake.fail("GetObject", 0, 1, Fault::Half);
    assert!(read(&on(&fake), "f").unwrap() == bytes);
    assert_eq!(fake.count("GetObject"), 2);
}

#[test]
fn a_request_that_keeps_failing_is_sent_four_times() {
    let fake = Fake::start();
    let timeouts = S3Timeouts::new().retries(BOUND);
    let store = settings(&fake.endpoint()).timeouts(timeouts).build().unwrap();
    fake.fail("HeadObject", 0, 99, Fault::Refuse(503, "SlowDown"));
    let found = store.storage("").unwrap().stat(&path("f"), Ask::Facts);
    assert_eq!((kind(found), fake.count("HeadObject")), (Some(Kind::Busy), 4));
}

#[test]
fn downloads_fail_with_the_error_of_the_store() {
    let bytes = content(PART);
    at_once(6, LASTING, |(fault, want)| {
        patiently(STALL, |limit| {
            let fake = Fake::start();
            fake.store("f", &bytes);
            let begun = Instant::now();
            fake.fail("GetObject", 0, 99, fault);
            assert_eq!(kind(read(&with(&fake, fault, limit), "f")), Some(want), "{fault:?}");
            // The reason for a refused HEAD is in the response to GET.
            fake.fail("HeadObject", 0, 99, fault);
            assert_eq!(
                kind(with(&fake, fault, limit).stat(&path("f"), Ask::Facts)),
                Some(want),
                "{fault:?}"
            );
            assert!(begun.elapsed() < BOUND.max(60 * limit));
        });
    });
}

#[test]
fn a_refused_head_is_no_reason_if_get_finds_the_object() {
    // The clock of the store has jumped, or a proxy had no store for a moment.
    for (status, code) in [(403, "RequestTimeTooSkewed"), (403, ""), (404, ""), (400, "")] {
        let fake = Fake::start();
        for (key, bytes) in [("f", &b"bytes"[..]), ("empty", b"")] {
            fake.store(key, bytes);
            fake.fail("HeadObject", 0, 1, Fault::Refuse(status, code));
            let size = on(&fake).stat(&path(key), Ask::Facts).unwrap().size;
            assert_eq!(size, bytes.len() as u64, "{status} {key}");
        }
        fake.fail("HeadObject", 0, 99, Fault::Refuse(status, code));
        assert_eq!(kind(on(&fake).stat(&path("f"), Ask::Facts)), Some(Kind::Io), "{status}");
    }
}

#[test]
fn a_damaged_or_changed_object_fails_the_download() {
    let fake = Fake::start();
    let storage = on(&fake);
    put(&storage, "f", WriteMode::Replace, &content(1_000)).unwrap();
    fake.fail("GetObject", 0, 99, Fault::Damage);
    let error = read(&storage, "f").unwrap_err();
    assert!(error.source.unwrap().to_string().contains("checksum"));
    fake.works();
    // The rest would belong to another object. A large one is read when the client wants it.
    put(&storage, "f", WriteMode::Replace, &content(200_000)).unwrap();
    fake.fail("GetObject", 0, 1, Fault::Half);
    let mut source = storage.read(&path("f")).unwrap();
    put(&storage, "f", WriteMode::Replace, &content(2_000)).unwrap();
    let error = source.read_to_end(&mut Vec::new()).map_err(StorageError::from).unwrap_err();
    assert!(error.source.unwrap().to_string().contains("changed"));
}

#[test]
fn a_download_fails_if_the_store_ignores_its_offset() {
    let fake = Fake::start();
    let storage = on(&fake);
    put(&storage, "f", WriteMode::Replace, &content(1_000)).unwrap();
    fake.ignore_ranges();
    for offset in [1, 999] {
        let mut source = storage.read(&path("f")).unwrap();
        source.seek_to(offset).unwrap();
        let error = StorageError::from(source.read(&mut [0; 10]).unwrap_err());
        let said = error.source.unwrap().to_string();
        assert!(said.contains(&format!("expected bytes {offset}-")), "{said}");
    }
}

#[test]
fn uploads_survive_transient_faults() {
    let cases = PASSING.iter().flat_map(|fault| cases().map(|case| (case, *fault)));
    at_once(6, cases.collect::<Vec<_>>(), |((length, operation), fault)| {
        // These responses have no body that could be incomplete.
        let has_body = !matches!(operation, "HeadObject" | "PutObject" | "UploadPart");
        if fault == Fault::Half && !has_body {
            return;
        }
        patiently(STALL, |limit| {
            let bytes = content(length);
            let fake = Fake::start();
            let storage = with(&fake, fault, limit);
            storage.mkdir(&path("d")).unwrap();
            // The object is requested only if there is one.
            let mode = match operation {
                "HeadObject" => WriteMode::Replace,
                _ => WriteMode::Create,
            };
            if mode == WriteMode::Replace {
                fake.store("d/f", b"old");
            }
            fake.fail(operation, 0, 2, fault);
            let stored = put(&storage, "d/f", mode, &bytes);
            assert_eq!(kind(stored), None, "{operation} {fault:?}");
            assert!(fake.count(operation) > 0, "{operation}");
            assert!(fake.content("d/f").unwrap() == bytes, "{operation} {fault:?}");
            assert_eq!(fake.keys(""), ["d/", "d/f"], "{operation} {fault:?}");
            // If the response that begins an upload is lost, an upload without parts remains.
            let lost = matches!(fault, Fault::LoseAnswer | Fault::Half);
            let left = if lost && operation == "CreateMultipartUpload" { 2 } else { 0 };
            if fault == Fault::Stall {
                // A response that arrives too late counts as lost.
                assert!(fake.uploads() <= 2, "{operation} {fault:?}");
            } else {
                assert_eq!(fake.uploads(), left, "{operation} {fault:?}");
            }
        });
    });
}

#[test]
fn uploads_fail_with_the_error_of_the_store() {
    let cases = LASTING.iter().flat_map(|fault| cases().map(|case| (case, *fault)));
    at_once(6, cases.collect::<Vec<_>>(), |((length, operation), (fault, want))| {
        patiently(STALL, |limit| {
            let fake = Fake::start();
            fake.store("d/f", b"old");
            let storage = with(&fake, fault, limit);
            let begun = Instant::now();
            fake.fail(operation, 0, 99, fault);
            if operation == "HeadObject" {
                // The reason for a refused HEAD is in the response to GET.
                fake.fail("GetObject", 0, 99, fault);
            }
            let stored = put(&storage, "d/f", WriteMode::Replace, &content(length));
            assert_eq!(kind(stored), Some(want), "{operation} {fault:?}");
            assert!(fake.count(operation) > 0, "{operation}");
            assert!(begun.elapsed() < BOUND.max(60 * limit));
            assert_eq!(fake.content("d/f").unwrap(), b"old", "{operation} {fault:?}");
        });
    });
}

#[test]
fn an_error_in_the_body_of_a_200_response_is_a_failure() {
    let bytes = content(PART + 9);
    for (code, want) in [("InternalError", Kind::Io), ("SlowDown", Kind::Busy)] {
        let fake = Fake::start();
        let storage = on(&fake);
        fake.store("old", b"old");
        fake.fail("CompleteMultipartUpload", 0, 99, Fault::HiddenError(code));
        assert_eq!(kind(put(&storage, "f", WriteMode::Replace, &bytes)), Some(want));
        assert_eq!(fake.content("f"), None);
        fake.fail("CopyObject", 0, 99, Fault::HiddenError(code));
        assert_eq!(kind(storage.rename(&path("old"), &path("new"), true)), Some(want));
        assert_eq!((fake.content("old").unwrap(), fake.content("new")), (b"old".to_vec(), None));
        fake.works();
        fake.fail("CompleteMultipartUpload", 0, 1, Fault::HiddenError(code));
        put(&storage, "g", WriteMode::Create, &bytes).unwrap();
        assert!(fake.content("g").unwrap() == bytes);
    }
}

#[test]
fn after_a_lost_response_the_stored_object_decides() {
    let fake = Fake::start();
    let storage = on(&fake);
    for (length, operation) in [(9, "PutObject"), (PART + 9, "CompleteMultipartUpload")] {
        let bytes = content(length);
        // The file exists after the first attempt, so the store would refuse the second one.
        fake.fail(operation, 0, 1, Fault::LoseAnswer);
        put(&storage, "f", WriteMode::Create, &bytes).unwrap();
        assert_eq!(fake.count(operation), 1);
        assert!(fake.content("f").unwrap() == bytes);
        // Here, another program has stored the existing file.
        storage.remove(&path("f")).unwrap();
        let mut upload = storage.write(&path("f"), WriteMode::Create, Keep::Shared).unwrap();
        upload.write_all(&bytes).unwrap();
        fake.store("f", b"other");
        fake.fail(operation, 0, 1, Fault::Reset);
        assert_eq!(kind(upload.commit()), Some(Kind::Exists));
        assert_eq!(fake.content("f").unwrap(), b"other");
        storage.remove(&path("f")).unwrap();
    }
}

/// Makes a change whose responses are lost, at a store that answers only a number of requests for the
/// state of an object. Returns how often the change was made, failed, and is in doubt.
fn doubt(
    operation: &'static str,
    change: impl Fn(&S3Storage) -> StorageResult<()>,
    is_made: impl Fn(&Fake) -> bool,
) -> [u32; 3] {
    let mut ends = [0; 3];
    for (answered, fault) in (0..8).flat_map(|n| [(n, Fault::LoseAnswer), (n, Fault::Reset)]) {
        let fake = Fake::start();
        let timeouts = S3Timeouts::new().retries(Duration::from_millis(1));
        let store = settings(&fake.endpoint()).timeouts(timeouts).build().unwrap();
        let storage = store.storage("").unwrap();
        for key in ["f", "from", "first"] {
            fake.store(key, b"bytes");
        }
        fake.store("e/", b"");
        // The first rename tests the store.
        storage.rename(&path("first"), &path("second"), true).unwrap();
        fake.fail(operation, 0, 99, fault);
        ["HeadObject", "GetObject"]
            .iter()
            .for_each(|name| fake.fail(name, answered, 99, Fault::Reset));
        let end = kind(change(&storage));
        let end = match (end, is_made(&fake)) {
            (None, true) => 0,
            (Some(Kind::Unknown), _) => 2,
            (Some(Kind::Io), false) => 1,
            end => panic!("{operation} {answered} {fault:?}: {end:?}"),
        };
        ends[end] += 1;
    }
    ends
}

#[test]
fn a_change_in_doubt_is_neither_a_success_nor_a_failure_cm_106() {
    let stored = |bytes: Vec<u8>| {
        let is_made = bytes.clone();
        let change = move |storage: &S3Storage| put(storage, "f", WriteMode::Replace, &bytes);
        (change, move |fake: &Fake| fake.content("f").unwrap() == is_made)
    };
    let (put, is_put) = stored(content(9));
    let (complete, is_complete) = stored(content(PART + 9));
    let gone = |key: &'static str| move |fake: &Fake| fake.content(key).is_none();
    for (what, [made, failed, in_doubt]) in [
        ("put", doubt("PutObject", put, is_put)),
        ("complete", doubt("CompleteMultipartUpload", complete, is_complete)),
        ("mkdir", doubt("PutObject", |it| it.mkdir(&path("d")), |it| it.content("d/").is_some())),
        ("remove", doubt("DeleteObject", |it| it.remove(&path("f")), gone("f"))),
        ("rmdir", doubt("DeleteObject", |it| it.rmdir(&path("e")), gone("e/"))),
        (
            "copy",
            doubt("CopyObject", |it| it.rename(&path("from"), &path("to"), true), gone("from")),
        ),
        (
            "rename",
            doubt("DeleteObject", |it| it.rename(&path("from"), &path("to"), true), gone("from")),
        ),
    ] {
        assert!(made > 0 && failed > 0 && in_doubt > 0, "{what}: {made} {failed} {in_doubt}");
    }
}

#[test]
fn a_request_that_was_not_sent_leaves_no_doubt() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let timeouts = S3Timeouts::new().retries(Duration::from_millis(1));
    let store = settings(&format!("http://{closed}")).timeouts(timeouts).build().unwrap();
    let error = store.storage("").unwrap().stat(&path("f"), Ask::Facts).unwrap_err();
    let said = error.source.unwrap().to_string();
    assert!(said.contains("no connection to the store"), "{said}");
    for (error, is_undecided) in [
        (ureq::Error::Io(std::io::ErrorKind::ConnectionRefused.into()), false),
        (ureq::Error::Timeout(ureq::Timeout::Connect), false),
        (ureq::Error::HostNotFound, false),
        (ureq::Error::Io(std::io::ErrorKind::ConnectionReset.into()), true),
        (ureq::Error::Timeout(ureq::Timeout::SendBody), true),
        (ureq::Error::Timeout(ureq::Timeout::RecvResponse), true),
    ] {
        let error = lost("PutObject", &error);
        assert!(error.is_transient() && error.is_undecided() == is_undecided, "{error}");
    }
}

#[test]
fn wrong_checksums_of_the_store_are_failures() {
    let fake = Fake::start();
    let storage = on(&fake);
    for (length, operation) in [(9, "PutObject"), (PART + 9, "UploadPart")] {
        fake.fail(operation, 0, 99, Fault::WrongSum);
        let stored = put(&storage, "f", WriteMode::Replace, &content(length));
        assert_eq!(kind(stored), Some(Kind::Io), "{operation}");
        fake.works();
    }
}

#[test]
fn listings_fail_with_the_error_of_the_store() {
    for (fault, want) in LASTING {
        patiently(STALL, |limit| {
            let fake = Fake::start();
            for number in 0..1_500 {
                fake.store(&format!("{number:04}"), b"");
            }
            let mut entries = with(&fake, fault, limit).list(&path("/"), Ask::Facts).unwrap();
            assert!(entries.by_ref().take(1_000).all(|entry| entry.is_ok()));
            fake.fail("ListObjectsV2", 0, 99, fault);
            let error = entries.next().unwrap().map(|entry| entry.name);
            assert_eq!(kind(error), Some(want), "{fault:?}");
            assert!(entries.next().is_none(), "a listing ends with its error");
        });
    }
}

#[test]
fn no_error_shows_a_secret() {
    let fake = Fake::start();
    let timeouts = S3Timeouts::new()
        .idle(Duration::from_secs(1))
        .answer(Duration::from_secs(1))
        .retries(Duration::from_secs(12));
    let store = settings(&fake.endpoint())
        .timeouts(timeouts)
        .credentials("the-account", "the-hidden-key")
        .session_token("the-hidden-token");
    let storage = store.build().unwrap().storage("").unwrap();
    for fault in [Fault::Refuse(403, "SignatureDoesNotMatch"), Fault::Reset, Fault::Stall] {
        fake.fail("HeadObject", 0, 99, fault);
        let error = storage.stat(&path("f"), Ask::Facts).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("the-hidden"), "{shown}");
        fake.works();
    }
    assert!(!format!("{storage:?}").contains("the-hidden"));
}

#[test]
fn uploads_wait_for_memory_until_a_timeout() {
    let fake = Fake::start();
    let timeouts = S3Timeouts::new().memory(Duration::from_secs(1));
    let store = settings(&fake.endpoint()).memory(2 * PART as u64).timeouts(timeouts);
    let storage = store.build().unwrap().storage("").unwrap();
    let keep = Keep::Bytes(USER);
    let begin = |name: &str| storage.write(&path(name), WriteMode::Replace, keep).unwrap();
    let two_mebibytes = content(2 << 20);
    let mut holding = [begin("a"), begin("b")];
    holding.iter_mut().for_each(|upload| upload.write_all(&two_mebibytes).unwrap());
    // Small files need no share of the memory.
    put(&storage, "small", WriteMode::Replace, &two_mebibytes[..1 << 20]).unwrap();
    let mut waiting = begin("c");
    let refused = waiting.write_all(&two_mebibytes).map_err(StorageError::from);
    assert_eq!(kind(refused), Some(Kind::Busy));
    drop(waiting);
    let mut late = begin("d");
    late.write_all(&two_mebibytes[..1 << 20]).unwrap();
    assert!(!late.ready().unwrap());
    let [first, second] = holding;
    first.commit().unwrap();
    while !late.ready().unwrap() {}
    late.write_all(&two_mebibytes[1 << 20..]).unwrap();
    // An upload whose client is slow while others wait gives its memory back, and keeps its bytes.
    let (mut second, mut next) = (second, begin("e"));
    next.write_all(&two_mebibytes[..1 << 20]).unwrap();
    wait_until("it gives up", || {
        assert!(!next.ready().unwrap());
        kind(second.ready()) == Some(Kind::Busy)
    });
    second.abort(StreamEnd::Failed);
    while !next.ready().unwrap() {}
    late.commit().unwrap();
    assert!(fake.content("d").unwrap() == two_mebibytes);
    let kept = storage.unfinished(&path("b"), Some(USER)).unwrap().unwrap();
    assert_eq!(kept.kept, 2 << 20);
}

#[test]
fn old_bytes_of_uploads_count_as_memory() {
    let fake = Fake::start();
    let store = settings(&fake.endpoint()).memory(2 * PART as u64).build().unwrap();
    let (storage, pool) = (store.storage("").unwrap(), Arc::clone(&store.inner.pool));
    let bytes = content(PART - 1);
    for name in ["cut1", "cut2"] {
        cut(&storage, name, WriteMode::Replace, &bytes);
    }
    fake.store("old1", &bytes);
    fake.store("old2", &bytes);
    let resume = WriteMode::Resume(bytes.len() as u64);
    for (mode, names) in [(resume, ["cut1", "cut2"]), (WriteMode::Append, ["old1", "old2"])] {
        let begin = |name: &str| storage.write(&path(name), mode, Keep::Bytes(USER));
        let mut first = begin(names[0]).unwrap();
        assert_eq!(pool.held(), 10, "{mode:?}");
        assert_eq!(kind(begin(names[1])), Some(Kind::Busy), "{mode:?}");
        while !first.prepare().unwrap() {}
        first.write_all(b"more").unwrap();
        first.commit().unwrap();
        assert_eq!(pool.held(), 0, "{mode:?}");
        let mut second = begin(names[1]).unwrap();
        while !second.prepare().unwrap() {}
        second.commit().unwrap();
        assert!(fake.content(names[1]).unwrap() == bytes, "{mode:?}");
        let all = [&bytes[..], b"more"].concat();
        assert!(fake.content(names[0]).unwrap() == all, "{mode:?}");
    }
}
