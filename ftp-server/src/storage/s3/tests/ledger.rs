//! Ledgers in object stores.

use ftp_tests::peer::ObjectStore;

use super::super::encode::{AHEAD, now};
use super::fake::Fault;
use super::*;
use crate::ledger::tests::assert_ledger_contract;
use crate::ledger::{Ledger as _, LedgerError};

fn open(endpoint: &str) -> S3Ledger {
    S3Ledger::open(&settings(endpoint).build().unwrap(), "a ledger").unwrap()
}

#[test]
fn the_s3_ledger_meets_the_ledger_contract() {
    let fake = Fake::start();
    assert_ledger_contract(|| open(&fake.endpoint()));
    assert!(fake.keys(".ftp-server/probe/").is_empty());
    // Users never see the ledger.
    assert!(names(&on(&fake), "/").is_empty());
}

#[test]
fn a_store_that_ignores_if_match_is_refused_as_an_s3_ledger() {
    let fake = Fake::start();
    fake.ignore_conditions(true);
    let store = store_at(&fake);
    let error = S3Ledger::open(&store, "").unwrap_err().to_string();
    assert!(error.contains("ignores If-Match"), "{error}");
    // Without an earlier proof, the first use refuses the store.
    let ledger = S3Ledger::new(&store, "").unwrap();
    for error in [ledger.read("r").unwrap_err(), ledger.replace("r", None, b"1").unwrap_err()] {
        assert!(matches!(error, LedgerError::Unfit { .. }), "{error}");
    }
    assert!(fake.keys("").is_empty());
    fake.ignore_conditions(false);
    assert!(ledger.replace("r", None, b"1").unwrap());
    let error = S3Ledger::open(&store, "a//b").unwrap_err().to_string();
    assert!(error.contains("invalid prefix"), "{error}");
}

#[test]
fn a_record_change_with_a_lost_response_is_made_once() {
    let fake = Fake::start();
    let ledger = open(&fake.endpoint());
    fake.fail("PutObject", 0, 1, Fault::LoseAnswer);
    assert!(ledger.replace("r", None, b"1").unwrap());
    let version = ledger.read("r").unwrap().version;
    fake.fail("PutObject", 0, 1, Fault::LoseAnswer);
    assert!(ledger.replace("r", version.as_deref(), b"2").unwrap());
    assert_eq!(ledger.read("r").unwrap().content, b"2");
}

#[test]
fn servers_whose_clocks_differ_by_hours_share_the_time_of_the_ledger() {
    let fake = Fake::start();
    // Each server runs in a thread, with its own clock.
    let times = ftp_tests::at_once::at_once(3, [-7_200, 0, 86_400], |ahead| {
        AHEAD.set(ahead);
        let ledger = open(&fake.endpoint());
        let name = format!("{ahead}");
        // Without a record, and with one.
        let missing = ledger.read(&name).unwrap().time;
        assert!(ledger.replace(&name, None, b"1").unwrap());
        let found = ledger.read(&name).unwrap().time;
        AHEAD.set(0);
        [missing, found]
    });
    let own = u64::try_from(now()).unwrap();
    for time in times.as_flattened() {
        assert!(time.as_secs().abs_diff(own) < 60, "{time:?} {own}");
    }
}

#[test]
fn a_failing_store_is_unavailable_or_unfit_as_a_ledger() {
    let fake = Fake::start();
    let ledger = open(&fake.endpoint());
    fake.fail("GetObject", 0, 99, Fault::Refuse(503, "SlowDown"));
    let error = ledger.read("r").unwrap_err();
    assert!(matches!(&error, LedgerError::Away { why } if why.contains("SlowDown")), "{error}");
    fake.works();
    fake.fail("GetObject", 0, 99, Fault::Refuse(403, "AccessDenied"));
    let error = ledger.read("r").unwrap_err();
    assert!(
        matches!(&error, LedgerError::Unfit { why } if why.contains("AccessDenied")),
        "{error}"
    );
}

#[test]
fn a_failed_record_write_is_an_error_and_not_a_conflict() {
    let fake = Fake::start();
    let ledger = open(&fake.endpoint());
    assert!(ledger.replace("r", None, b"1").unwrap());
    assert!(!ledger.replace("r", None, b"2").unwrap());
    for (fault, want) in [
        (Fault::Refuse(403, "AccessDenied"), "AccessDenied"),
        (Fault::Refuse(503, "SlowDown"), "SlowDown"),
    ] {
        fake.works();
        fake.fail("PutObject", 0, 99, fault);
        let error = ledger.replace("other", None, b"1").unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
    }
}

// moto checks a condition some time before it stores, so it sometimes loses changes.
#[test]
fn seaweedfs_meets_the_ledger_contract() {
    let Some(engine) = ObjectStore::seaweedfs() else { return };
    engines::on_engine(&engine, "");
    let settings = settings(&engine.endpoint()).timeouts(S3Timeouts::default());
    assert_ledger_contract(|| S3Ledger::open(&settings.clone().build().unwrap(), "").unwrap());
}
