//! Temporary keys for a role, which a fake service issues.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use ftp_tests::peer::ObjectStore;
use ftp_tests::wait::wait_until;
use tempfile::TempDir;

use super::super::issued_keys::{Issuer, KeySource, WebIdentity, first, keep_valid};
use super::fake::Fault;
use super::*;

const ROLE: &str = "arn:aws:iam::1:role/ftp";

fn token_file(token: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, token).unwrap();
    (directory, file)
}

fn with_role(endpoint: &str, file: &PathBuf) -> S3StoreBuilder {
    settings(endpoint).web_identity(ROLE, file).sts_endpoint(endpoint)
}

#[test]
fn keys_are_issued_for_a_token_and_renewed_when_they_expire() {
    let fake = Fake::start();
    let (_directory, file) = token_file("good token\n");
    let storage = with_role(&fake.endpoint(), &file).build().unwrap().storage("").unwrap();
    put(&storage, "f", WriteMode::Create, b"one").unwrap();
    assert_eq!(fake.tokens(), ["good token"]);
    // The platform has replaced the token meanwhile.
    std::fs::write(&file, "good+token=2").unwrap();
    fake.expire_keys();
    assert_eq!(kind(put(&storage, "f", WriteMode::Replace, b"two")), Some(Kind::Io));
    wait_until("new keys", || put(&storage, "f", WriteMode::Replace, b"two").is_ok());
    assert_eq!(fake.tokens(), ["good token", "good+token=2"]);
    assert_eq!(read(&storage, "f").unwrap(), b"two");
    // New keys that expire too are not renewed again for half a minute, however many requests fail.
    fake.expire_keys();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        assert_eq!(kind(put(&storage, "f", WriteMode::Replace, b"three")), Some(Kind::Io));
    }
    assert_eq!(fake.tokens().len(), 2);
}

#[test]
fn access_keys_are_renewed_early_and_kept_if_renewal_fails() {
    let fake = Fake::start();
    let (_directory, file) = token_file("good");
    let store = store_at(&fake);
    let identity = KeySource::Role(WebIdentity {
        role: ROLE.to_owned(),
        token_file: file.clone(),
        endpoint: Some(fake.endpoint()),
    });
    let issuer = || Issuer::new(&identity, "us-east-1", S3Timeouts::default(), None).unwrap();
    let (_, due) = first(&issuer());
    let left = due.duration_since(Instant::now()).as_secs();
    assert!((2_600..=2_700).contains(&left), "three quarters of an hour, not {left} s");
    let storage = store.storage("").unwrap();
    assert!(put(&storage, "f", WriteMode::Create, b"one").is_err(), "keys are needed now");
    let renew_at_once = || {
        let (weak, issuer) = (Arc::downgrade(&store.inner), issuer());
        thread::spawn(move || keep_valid(&weak, &issuer, Instant::now()))
    };
    let renewing = renew_at_once();
    wait_until("new keys", || put(&storage, "f", WriteMode::Replace, b"one").is_ok());
    std::fs::write(&file, "bad").unwrap();
    let (asked, failing) = (fake.count("AssumeRoleWithWebIdentity"), renew_at_once());
    wait_until("a refusal", || fake.count("AssumeRoleWithWebIdentity") > asked);
    put(&storage, "f", WriteMode::Replace, b"two").unwrap();
    assert_eq!(fake.tokens(), ["good", "good"]);
    // The threads end when the last clone of the store is dropped.
    drop((store, storage));
    renewing.join().unwrap();
    failing.join().unwrap();
}

#[test]
fn missing_access_keys_are_explained_and_obtained_later() {
    let fake = Fake::start();
    let (directory, file) = token_file("bad");
    let store = with_role(&fake.endpoint(), &file).build().unwrap();
    let error = store.probe().unwrap_err().to_string();
    assert!(error.starts_with("no access keys: AssumeRoleWithWebIdentity: "), "{error}");
    assert!(error.contains("400 InvalidIdentityToken"), "{error}");
    std::fs::write(&file, "good").unwrap();
    wait_until("keys", || store.probe().is_ok());

    // Checks the reasons without a thread that could get keys meanwhile.
    let reason_within = |file: &Path, answer| {
        let identity = KeySource::Role(WebIdentity {
            role: ROLE.to_owned(),
            token_file: file.to_owned(),
            endpoint: Some(fake.endpoint()),
        });
        let timeouts = S3Timeouts::new().answer(answer).connect(answer);
        let issuer = Issuer::new(&identity, "us-east-1", timeouts, None).unwrap();
        first(&issuer).0.unwrap_err()
    };
    let reason = |file: &Path| reason_within(file, Duration::from_secs(60));
    assert!(reason(&directory.path().join("none")).contains("cannot read the token: No such"));
    assert!(reason(directory.path()).ends_with("cannot read the token: not a file"));
    for (token, want) in [(" \n", "the file is empty"), (&"x".repeat(65_537), "64 KiB")] {
        std::fs::write(&file, token).unwrap();
        assert!(reason(&file).ends_with(want), "{want}");
    }
    std::fs::write(&file, "good").unwrap();
    for (fault, want) in [
        (Fault::Half, "no response"),
        (Fault::Refuse(200, "x"), "AccessKeyId is missing"),
        (Fault::Refuse(503, "SlowDown"), "503 SlowDown"),
    ] {
        fake.fail("AssumeRoleWithWebIdentity", 0, 10, fault);
        assert!(reason(&file).contains(want), "{want}");
        fake.works();
    }
    fake.fail("AssumeRoleWithWebIdentity", 0, 100, Fault::Stall);
    assert!(reason_within(&file, Duration::from_millis(250)).contains("no response"));
}

/// Keys come from the service of moto, which is not a fake.
#[test]
fn moto_issues_keys() {
    let Some(engine) = ObjectStore::moto() else { return };
    let (_directory, file) = token_file("a token that moto does not check");
    let store = with_role(&engine.endpoint(), &file).build().unwrap();
    let keys = format!("{store:?}");
    assert!(keys.contains("session_token: Some(\"****\")"), "{keys}");
    let storage = store.storage("").unwrap();
    put(&storage, "f", WriteMode::Create, b"content").unwrap();
    assert_eq!(read(&storage, "f").unwrap(), b"content");
}
