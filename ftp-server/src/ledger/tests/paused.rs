//! Uploads of a server that was paused for longer than its lease, and uploads of one name at once.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;
use crate::ledger::shared::record_name;
use crate::storage::{Keep, Upload};

/// Begins an upload, and writes all of its bytes.
fn begin(storage: &SharedQuota, name: &str, length: usize) -> Box<dyn Upload> {
    let mut upload = storage.write(&path(name), WriteMode::Replace, Keep::Shared).unwrap();
    upload.write_all(&vec![b'x'; length]).unwrap();
    upload.flush().unwrap();
    upload
}

#[test]
fn an_upload_of_a_paused_server_stays_within_the_quota() {
    // The bytes that another server stores during the pause, whether the paused server renews its
    // leases before it continues the upload, and the result of this upload.
    for (other_bytes, is_renewed, want) in [
        (700_000, false, Some(Kind::OverQuota)),
        (700_000, true, Some(Kind::OverQuota)),
        (200_000, false, None),
        (200_000, true, None),
    ] {
        let what = format!("{other_bytes} {is_renewed}");
        let (ledger, files) = (Arc::new(MemoryLedger::new()), Arc::new(MemoryStorage::new()));
        let paused = node(Arc::clone(&ledger), Duration::from_millis(100));
        let other = node(Arc::clone(&ledger), LONG);
        let on = |node: &SharedState| node.quota(Arc::clone(&files), "files").max_bytes(LIMIT);
        let (one, two) = (on(&paused), on(&other));
        paused.die();
        let upload = begin(&one, "f", 700_000);
        wait_until("the reservation ends", || {
            // Begins a count, and stores nothing: a file that is stored during a count may count twice.
            drop(two.write(&path("g"), WriteMode::Create, Keep::Shared));
            recorded(&[&other], &two) < 700_000
        });
        put(&two, "other", WriteMode::Create, other_bytes).unwrap();
        if is_renewed {
            paused.inner.renew(&record_name("quota", b"files")).unwrap();
        }
        assert_eq!(kind(upload.commit()), want, "{what}");
        let all = other_bytes as u64 + if want.is_none() { 700_000 } else { 0 };
        assert_eq!(stored(&files), all, "{what}");
        paused.inner.change("quota/files", |_, _| ()).unwrap();
        assert_eq!(recorded(&[&other], &two), all, "{what}");
    }
}

#[test]
fn a_reservation_survives_the_loss_of_all_records() {
    let (ledger, files) = (Arc::new(MemoryLedger::new()), Arc::new(MemoryStorage::new()));
    let node = node(Arc::clone(&ledger), LONG);
    let storage = node.quota(Arc::clone(&files), "files").max_bytes(LIMIT);
    put(&storage, "old", WriteMode::Create, 300_000).unwrap();
    let upload = begin(&storage, "f", 600_000);
    ledger.forget();
    upload.commit().unwrap();
    assert_eq!((recorded(&[&node], &storage), stored(&files)), (900_000, 900_000));
}

#[test]
fn a_new_name_that_two_sessions_store_at_once_counts_once() {
    let ledger = Arc::new(MemoryLedger::new());
    let files = Arc::new(MemoryStorage::new());
    let nodes = [node(Arc::clone(&ledger), LONG), node(Arc::clone(&ledger), LONG)];
    let on = |node: &SharedState| node.quota(Arc::clone(&files), "files").max_bytes(LIMIT);
    let [one, other] = nodes.each_ref().map(on);
    let (first, mut second) = (begin(&one, "f", 400_000), begin(&other, "f", 400_001));
    // The first upload is between the look at the replaced file and its publication.
    let mut first = first;
    while !first.prepare_commit().unwrap() {}
    assert!(!second.prepare_commit().unwrap());
    first.commit().unwrap();
    nodes[0].flush();
    while !second.prepare_commit().unwrap() {}
    second.commit().unwrap();
    assert_eq!((recorded(&nodes.each_ref(), &one), stored(&files)), (400_001, 400_001));
    put(&one, "g", WriteMode::Create, 599_999).unwrap();
}

#[test]
fn a_ledger_that_lost_its_last_changes_is_noticed() {
    let (ledger, files) = (Arc::new(MemoryLedger::new()), Arc::new(MemoryStorage::new()));
    let nodes = [node(Arc::clone(&ledger), LONG), node(Arc::clone(&ledger), LONG)];
    let on = |node: &SharedState| node.quota(Arc::clone(&files), "files").max_bytes(LIMIT);
    let [one, other] = nodes.each_ref().map(on);
    let recorded = || recorded(&nodes.each_ref(), &one);
    put(&one, "old", WriteMode::Create, 100_000).unwrap();
    assert_eq!(recorded(), 100_000);
    let snapshot = ledger.records.lock().clone();
    put(&other, "new", WriteMode::Create, 800_000).unwrap();
    assert_eq!(recorded(), 900_000);
    // As after a restart from the snapshot, or at a replica that lagged.
    *ledger.records.lock() = snapshot;
    assert_eq!(kind(put(&one, "f", WriteMode::Create, 100_001)), Some(Kind::OverQuota));
    put(&one, "f", WriteMode::Create, 100_000).unwrap();
    assert_eq!((recorded(), stored(&files)), (1_000_000, 1_000_000));
}

/// A ledger that counts its calls at the same time.
#[derive(Debug, Default)]
struct Crowded {
    ledger: MemoryLedger,
    is_slow: AtomicBool,
    inside: AtomicUsize,
    most: AtomicUsize,
}

impl Ledger for Crowded {
    fn read(&self, name: &str) -> Result<LedgerAnswer, LedgerError> {
        if self.is_slow.load(Ordering::SeqCst) {
            let inside = self.inside.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(inside, Ordering::SeqCst);
            wait_until("others come", || self.most.load(Ordering::SeqCst) >= 4);
            self.inside.fetch_sub(1, Ordering::SeqCst);
        }
        self.ledger.read(name)
    }

    fn replace(
        &self,
        name: &str,
        version: Option<&[u8]>,
        content: &[u8],
    ) -> Result<bool, LedgerError> {
        self.ledger.replace(name, version, content)
    }
}

#[test]
fn the_leases_of_many_users_are_renewed_several_at_a_time() {
    let ledger = Arc::new(Crowded::default());
    let node = node(Arc::clone(&ledger), SHORT);
    let users = (0..40).map(|user| node.enter(format!("u{user}").as_bytes(), 1).unwrap().unwrap());
    let _users: Vec<_> = users.collect();
    ledger.is_slow.store(true, Ordering::SeqCst);
    wait_until("the leases are renewed", || ledger.most.load(Ordering::SeqCst) >= 4);
}
