//! The storage on real stores: moto and SeaweedFS, if they are installed; s3s-fs and Garage, if
//! `tests/engines` has built them.

use ftp_tests::at_once::at_once;
use ftp_tests::peer::ObjectStore;
use ftp_tests::scale::{count, is_full, some};
use ftp_tests::wait::at_last;

use super::*;

/// Returns a storage below the prefix, for a store that may be busy.
pub(super) fn on_engine(engine: &ObjectStore, prefix: &str) -> S3Storage {
    let store = settings(&engine.endpoint()).credentials(engine.access_key, engine.secret_key);
    let store = store.timeouts(S3Timeouts::default()).build().unwrap();
    // A store that has just started does not accept objects at once.
    at_last("the store takes objects", || {
        let made = store.inner.client.put("made", b"", &Condition::None, "id", true);
        made.ok()
    });
    store.storage(prefix).unwrap()
}

/// Checks that the storage keeps each promise, in a full run also with times and with a quota, and
/// that servers can share it.
fn works(engine: &ObjectStore) {
    // Waits until the store accepts objects.
    drop(on_engine(engine, ""));
    let (endpoint, keys) = (engine.endpoint(), (engine.access_key, engine.secret_key));
    let place = move || {
        let (endpoint, prefix) = (endpoint.clone(), Inner::unique().unwrap());
        Place { endpoint, keys, prefix, _fake: None }
    };
    // Garage ignores conditions, so it has no ledger.
    let is_meant = |storage: &Shipped| engine.name != "Garage" || storage.name != WITH_QUOTA;
    for storage in some(shipped_at(place).into_iter().filter(is_meant).collect(), 1) {
        let found = storage.broken(count(1, 4) as u64);
        assert!(found.is_empty(), "{}: {}", engine.name, found.join("\n"));
        storage.tells_each_change_once();
    }
    keeps_files(engine);
    resumes_uploads(engine);
    keeps_odd_names(engine);
    moves_made_directories(engine);
}

/// Checks that a directory that `MKD` has made is renamed with its content.
fn moves_made_directories(engine: &ObjectStore) {
    let storage = on_engine(engine, &Inner::unique().unwrap()).rename_trees(9);
    storage.mkdir(&path("d")).unwrap();
    storage.mkdir(&path("d/e")).unwrap();
    put(&storage, "d/f", WriteMode::Create, b"bytes").unwrap();
    storage.rename(&path("d"), &path("n"), false).unwrap();
    assert_eq!(
        (names(&storage, "/"), names(&storage, "n")),
        (vec!["n".into()], vec!["e".into(), "f".into()])
    );
    assert_eq!(read(&storage, "n/f").unwrap(), b"bytes", "{}", engine.name);
}

/// Checks that another server reads the whole content of replaced, extended and resumed files.
fn keeps_files(engine: &ObjectStore) {
    let name = engine.name;
    let (one, other) = (on_engine(engine, "p"), on_engine(engine, "p"));
    let hidden = || {
        let mut count = 0;
        let counted = one.inner.each_key(".ftp-server/", |_| {
            count += 1;
            Ok(())
        });
        counted.map(|()| count).unwrap()
    };
    let (bytes, before) = (content(3 * PART + 77), hidden());
    for length in [0, 1, PART + 1, bytes.len()] {
        put(&one, "f", WriteMode::Replace, &bytes[..length]).unwrap();
        assert!(read(&other, "f").unwrap() == bytes[..length], "{name} {length}");
    }
    put(&one, "f", WriteMode::Append, b"more").unwrap();
    assert!(read(&other, "f").unwrap() == [&bytes[..], b"more"].concat(), "{name}");
    put(&one, "f", WriteMode::From(PART as u64 + 3), b"end").unwrap();
    assert!(read(&other, "f").unwrap() == [&bytes[..PART + 3], b"end"].concat(), "{name}");
    let timed = one.clone().keep_times(true);
    assert_eq!(timed.set(&path("f"), Change::Modified(938_565_235)).unwrap().modified, 938_565_235);
    assert_eq!(timed.stat(&path("f"), Ask::Facts).unwrap().modified, 938_565_235, "{name}");
    assert_eq!(hidden(), before, "{name}");
}

fn resumes_uploads(engine: &ObjectStore) {
    let prefix = Inner::unique().unwrap();
    let (one, other) = (on_engine(engine, &prefix), on_engine(engine, &prefix));
    let (name, bytes) = (engine.name, content(3 * PART + 77));
    for (first, second) in [(10, PART + 10), (2 * PART + 9, 2 * PART + 20)] {
        cut(&one, "g", WriteMode::Create, &bytes[..first]);
        assert_eq!(kind(other.stat(&path("g"), Ask::Facts)), Some(Kind::NotFound));
        let kept = other.unfinished(&path("g"), Some(USER)).unwrap().map(|found| found.kept);
        assert_eq!(kept, Some(first as u64), "{name}");
        let size = first as u64 - 1;
        cut(&other, "g", WriteMode::Resume(size), &bytes[first - 1..second]);
        put(&one, "g", WriteMode::Resume(second as u64), &bytes[second..]).unwrap();
        assert!(read(&other, "g").unwrap() == bytes, "{name}");
        one.remove(&path("g")).unwrap();
    }
}

fn keeps_odd_names(engine: &ObjectStore) {
    let prefix = Inner::unique().unwrap();
    let (one, other) = (on_engine(engine, &prefix), on_engine(engine, &prefix));
    for odd in ["a b+c%20&<é中>", "'\"#?*", "~.-_"] {
        put(&one, odd, WriteMode::Create, odd.as_bytes()).unwrap();
        assert_eq!(read(&other, odd).unwrap(), odd.as_bytes());
        one.rename(&path(odd), &path("renamed"), false).unwrap();
        one.rename(&path("renamed"), &path(odd), false).unwrap();
    }
    assert_eq!(names(&other, "/").len(), 3, "{}", engine.name);
}

/// Lets eight sessions create the same file at once. Exactly one of them succeeds.
fn decides_races(engine: &ObjectStore) {
    for round in 0..count(2, 5) {
        let name = format!("race{round}");
        let stored = at_once(8, 0..8_u8, |number| {
            let storage = on_engine(engine, "races");
            let bytes = vec![number; 1_000];
            put(&storage, &name, WriteMode::Create, &bytes).map(|()| bytes)
        });
        let storage = on_engine(engine, "races");
        let won: Vec<_> = stored.iter().filter_map(|stored| stored.as_ref().ok()).collect();
        assert_eq!(won.len(), 1, "{}", engine.name);
        assert_eq!(read(&storage, &name).unwrap(), *won[0]);
        for lost in stored.into_iter().filter(Result::is_err) {
            assert_eq!(kind(lost), Some(Kind::Exists), "{}", engine.name);
        }
    }
}

/// Lets four servers store the same name at once. At least one of them succeeds, and the file is
/// that of a server that reported success.
fn concurrent_uploads_leave_one_whole_file(engine: &ObjectStore) {
    for size in [1_000, 2 * PART + 7] {
        let name = format!("of{size}");
        let stored = at_once(4, 0..4_u8, |number| {
            let storage = on_engine(engine, "replaced");
            put(&storage, &name, WriteMode::Replace, &vec![number; size]).map(|()| number)
        });
        let found = read(&on_engine(engine, "replaced"), &name).unwrap();
        let winner = stored.iter().flatten().find(|number| found == vec![**number; size]);
        assert!(winner.is_some(), "{}: {size} bytes, {stored:?}", engine.name);
    }
}

#[test]
fn moto_supports_the_storage_contract() {
    // It takes ten seconds of a processor: each night.
    if !is_full() {
        return;
    }
    let Some(engine) = ObjectStore::moto() else { return };
    // moto checks a condition some time before it stores, so two sessions may both create a file.
    works(&engine);
    concurrent_uploads_leave_one_whole_file(&engine);
    let storage = on_engine(&engine, "");
    let features = S3Store { inner: storage.inner }.probe().unwrap();
    assert_eq!(
        missing(features),
        [
            "conditional CompleteMultipartUpload",
            "conditional CopyObject",
            "a lifecycle rule AbortIncompleteMultipartUpload"
        ]
    );
}

#[test]
fn seaweedfs_supports_the_storage_contract() {
    let Some(engine) = ObjectStore::seaweedfs() else { return };
    works(&engine);
    decides_races(&engine);
    concurrent_uploads_leave_one_whole_file(&engine);
    let storage = on_engine(&engine, "");
    let features = S3Store { inner: storage.inner }.probe().unwrap();
    assert_eq!(missing(features), ["a lifecycle rule AbortIncompleteMultipartUpload"]);
    // SeaweedFS checks signatures.
    let wrong = settings(&engine.endpoint()).credentials("key", "wrong").build().unwrap();
    let error = wrong.probe().unwrap_err().to_string();
    assert!(error.contains("SignatureDoesNotMatch"), "{error}");
}

/// s3s-fs is not suitable for a server: it refuses the markers of directories. It also lists parts
/// without their tags, so uploads cannot be resumed.
#[test]
fn s3s_fs_stores_files_but_fails_the_probe() {
    let Some(engine) = ObjectStore::s3s_fs() else { return };
    keeps_files(&engine);
    let storage = on_engine(&engine, "");
    let error = S3Store { inner: storage.inner }.probe().unwrap_err().to_string();
    assert!(error.ends_with("expected parts with numbers, sizes and tags"), "{error}");
}

/// Three nodes, of which one is killed while an upload runs.
#[test]
fn garage_supports_the_storage_contract_with_a_killed_node() {
    let Some(mut engine) = ObjectStore::garage() else { return };
    works(&engine);
    let storage = on_engine(&engine, "");
    let bytes = content(2 * PART + 9);
    let mut upload = storage.write(&path("running"), WriteMode::Create, Keep::Bytes(USER)).unwrap();
    upload.write_all(&bytes[..PART + 3]).unwrap();
    engine.kill_a_node();
    upload.write_all(&bytes[PART + 3..]).unwrap();
    upload.commit().unwrap();
    assert!(read(&storage, "running").unwrap() == bytes);
    works(&engine);
    let features = S3Store { inner: storage.inner }.probe().unwrap();
    let missing = missing(features);
    let [writes, completion, copy, removal, rule] = missing[..] else { panic!("{missing:?}") };
    assert!(writes.starts_with("conditional writes"), "{missing:?}");
    assert!(completion.starts_with("conditional CompleteMultipartUpload"), "{missing:?}");
    assert!(copy.starts_with("conditional CopyObject"), "{missing:?}");
    assert!(removal.starts_with("conditional DeleteObject"), "{missing:?}");
    assert!(rule.starts_with("a lifecycle rule"), "{missing:?}");
}
