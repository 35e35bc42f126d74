//! Requirements of every ledger, tested with two servers.

mod away;
mod paused;

use std::io::Write as _;
use std::sync::{Arc, Barrier, mpsc};
use std::time::Duration;

use ftp_tests::at_once::at_once;
use ftp_tests::wait::{at_last, wait_until};

use super::*;
use crate::storage::space::Cost;
use crate::storage::{
    Keep, MemoryStorage, RoomFor, Storage, StorageErrorKind as Kind, StorageResult, StreamEnd,
    VirtualPath, WriteMode,
};
use crate::testing::storage_contract;

/// Longer than any test.
const LONG: Duration = Duration::from_secs(600);

/// The shortest lease for a clock that counts seconds.
const SHORT: Duration = Duration::from_secs(2);

const LIMIT: u64 = 1_000_000;

fn path(text: &str) -> VirtualPath {
    text.into()
}

fn kind<T>(result: StorageResult<T>) -> Option<Kind> {
    result.err().map(|error| error.kind)
}

fn node<L: Ledger + 'static>(ledger: L, lease: Duration) -> SharedState {
    SharedState::start(ledger, lease, WithoutLedger::Refuse).unwrap()
}

fn put(storage: &SharedQuota, name: &str, mode: WriteMode, length: usize) -> StorageResult<()> {
    let mut upload = storage.write(&path(name), mode, Keep::Shared)?;
    upload.write_all(&vec![b'x'; length])?;
    upload.flush()?;
    while !upload.ready()? {}
    while !upload.prepare_commit()? {}
    upload.commit()
}

/// Returns the end of a change that adds a byte.
fn settled(id: String) -> record::Later {
    let (added, freed) = (Cost::bytes(1), Cost::default());
    record::Later::Settle { id, added, freed, moved: Some(freed) }
}

/// Returns the bytes of all files.
fn stored(files: &MemoryStorage) -> u64 {
    files.files().into_iter().map(|path| files.get(path).unwrap().len() as u64).sum()
}

/// Returns the bytes that the record has, once all changes are made.
fn recorded(nodes: &[&SharedState], storage: &SharedQuota) -> u64 {
    nodes.iter().for_each(|node| node.flush());
    storage.space(&VirtualPath::root(), RoomFor::User).unwrap().bytes
}

/// Tests all requirements of a ledger. Each call to `open` stands for another server.
pub(crate) fn assert_ledger_contract<L: Ledger + 'static>(open: impl Fn() -> L + Sync) {
    assert_compare_and_replace(&open);
    assert_no_change_is_lost(&open);
    counts_sessions(&open);
    keeps_a_quota(&open);
    outlives_a_server(&open);
}

fn assert_compare_and_replace<L: Ledger>(open: &impl Fn() -> L) {
    let (one, other) = (open(), open());
    let before = one.read("a/b%20").unwrap();
    assert_eq!(before.version, None);
    assert!(one.replace("a/b%20", None, b"1").unwrap());
    assert!(!other.replace("a/b%20", None, b"2").unwrap());
    let found = other.read("a/b%20").unwrap();
    assert_eq!(found.content, b"1");
    let version = found.version.as_deref();
    assert!(found.time + Duration::from_secs(2) >= before.time);
    let content = b"two\r\n".repeat(10_000);
    assert!(other.replace("a/b%20", version, &content).unwrap());
    assert!(!one.replace("a/b%20", version, b"3").unwrap());
    assert_eq!(one.read("a/b%20").unwrap().content, content);
    assert!(!one.replace("none", version, b"3").unwrap());
    assert_eq!(one.read("none").unwrap().version, None);
}

fn assert_no_change_is_lost<L: Ledger + 'static>(open: &(impl Fn() -> L + Sync)) {
    let made = at_once(4, 0..4, |_| {
        let node = node(open(), LONG);
        let mut count = 0;
        for number in 0..25 {
            let id = format!("{}", number % 2);
            let later = settled(id);
            let change = node.inner.change("changes", |record, (now, _)| record.apply(&later, now));
            count += u64::from(change.is_ok());
        }
        count
    });
    let node = node(open(), LONG);
    let used = node.inner.change("changes", |record, _| record.used.bytes).unwrap();
    assert_eq!((used, made.iter().sum::<u64>()), (100, 100));
}

fn counts_sessions<L: Ledger + 'static>(open: &impl Fn() -> L) {
    let (one, other) = (node(open(), LONG), node(open(), LONG));
    let first = one.enter(b"ann", 2).unwrap().unwrap();
    let second = other.enter(b"ann", 2).unwrap().unwrap();
    assert!(one.enter(b"ann", 2).unwrap().is_none());
    assert!(other.enter(b"ann", 2).unwrap().is_none());
    let _bob = other.enter(b"bob", 1).unwrap().unwrap();
    drop(first);
    // This server knows at once that its session has ended.
    let third = one.enter(b"ann", 2).unwrap().unwrap();
    drop(second);
    other.flush();
    let _fourth = one.enter(b"ann", 2).unwrap().unwrap();
    assert!(other.enter(b"ann", 2).unwrap().is_none());
    drop(third);
    at_last("the other server knows it", || other.enter(b"ann", 2).unwrap());
}

fn keeps_a_quota<L: Ledger + 'static>(open: &(impl Fn() -> L + Sync)) {
    let files = Arc::new(MemoryStorage::new());
    files.put("old", vec![b'o'; 300_000]).unwrap();
    let nodes = [node(open(), LONG), node(open(), LONG)];
    let on = |node: &SharedState| node.quota(Arc::clone(&files), "files").max_bytes(LIMIT);
    let [one, other] = nodes.each_ref().map(on);
    let recorded = || recorded(&nodes.each_ref(), &one);
    // The first upload counts the existing files.
    put(&one, "new", WriteMode::Create, 400_000).unwrap();
    assert_eq!(recorded(), 700_000);
    assert_eq!(kind(put(&other, "third", WriteMode::Create, 300_001)), Some(Kind::OverQuota));
    assert_eq!((recorded(), stored(&files)), (700_000, 700_000));
    put(&other, "third", WriteMode::Create, 300_000).unwrap();
    assert_eq!(kind(put(&one, "fourth", WriteMode::Create, 1)), Some(Kind::OverQuota));
    assert_eq!(kind(one.mkdir(&path("d"))), Some(Kind::OverQuota));
    one.remove(&path("old")).unwrap();
    assert_eq!(recorded(), 700_000);
    other.mkdir(&path("d")).unwrap();
    put(&other, "new", WriteMode::Replace, 10_000).unwrap();
    put(&one, "new", WriteMode::Append, 5_000).unwrap();
    put(&one, "new", WriteMode::From(1_000), 2_000).unwrap();
    assert_eq!(recorded(), 300_000 + 4_096 + 3_000);
    other.rename(&path("new"), &path("d/renamed"), false).unwrap();
    other.rename(&path("d/renamed"), &path("third"), true).unwrap();
    one.rmdir(&path("d")).unwrap();
    assert_eq!((recorded(), stored(&files)), (3_000, 3_000));
    // Many uploads at once never exceed the limit, and the remaining space can be used.
    let put_some = |number: usize| {
        let storage = if number.is_multiple_of(2) { &one } else { &other };
        kind(put(storage, &format!("many{number}"), WriteMode::Create, 120_000))
    };
    let ends = at_once(4, 0..12, put_some);
    assert!(ends.iter().flatten().all(|kind| *kind == Kind::OverQuota), "{ends:?}");
    let filled = stored(&files);
    assert!(filled <= LIMIT && filled > LIMIT / 2, "{filled}");
    assert_eq!(recorded(), filled);
    // Two servers that replace one file agree on its size.
    let ends = at_once(2, [&one, &other], |storage| put(storage, "third", WriteMode::Replace, 9));
    assert!(ends.iter().all(Result::is_ok), "{ends:?}");
    assert_eq!(recorded(), stored(&files));
    assert_eq!(stored(&files), filled - 3_000 + 9);
}

/// Lets a server die with a session, in the middle of one upload, and after another upload that is
/// not recorded yet.
fn outlives_a_server<L: Ledger + 'static>(open: &impl Fn() -> L) {
    let other = node(open(), LONG);
    let die = |name: &str, lease| {
        let files = Arc::new(MemoryStorage::new());
        let dead = node(open(), lease);
        let on = |node: &SharedState| node.quota(Arc::clone(&files), name).max_bytes(LIMIT);
        std::mem::forget(dead.enter(name.as_bytes(), 1).unwrap().unwrap());
        dead.die();
        let storage = on(&dead);
        let mut upload = storage.write(&path("lost"), WriteMode::Create, Keep::Shared).unwrap();
        upload.write_all(&[b'x'; 500_000]).unwrap();
        std::mem::forget(upload);
        put(&storage, "stored", WriteMode::Create, 300_000).unwrap();
        (on(&other), Arc::clone(&files))
    };
    let (storage, _files) = die("long", LONG);
    assert_eq!(kind(put(&storage, "f", WriteMode::Create, 600_000)), Some(Kind::OverQuota));
    assert!(other.enter(b"long", 1).unwrap().is_none());
    let (storage, files) = die("short", SHORT);
    let enter = || other.enter(b"short", 1).unwrap();
    let _session = at_last("the session of the dead server ends", enter);
    at_last("its reservation ends", || put(&storage, "f", WriteMode::Create, 600_000).ok());
    // The file counts twice if it was stored during the count. Then an upload that does not fit
    // counts again.
    let is_refused =
        || kind(put(&storage, "g", WriteMode::Create, 100_001)) == Some(Kind::OverQuota);
    wait_until("the record is right", || {
        assert!(is_refused());
        recorded(&[&other], &storage) == 900_000
    });
    assert_eq!(stored(&files), 900_000);
}

#[test]
fn the_memory_ledger_meets_the_ledger_contract() {
    let ledger = Arc::new(MemoryLedger::new());
    assert_ledger_contract(|| Arc::clone(&ledger));
}

#[cfg(feature = "redis")]
#[test]
fn the_redis_ledger_meets_the_ledger_contract() {
    let Some(server) = ftp_tests::peer::Redis::start() else { return };
    assert_ledger_contract(|| RedisLedger::connect(&server.url()).unwrap());
    let refused = |url: &str| match RedisLedger::connect(url) {
        Err(LedgerError::Unfit { why: text }) => text,
        other => panic!("{other:?}"),
    };
    let url = server.url().replace("redis://", "redis://:secret@");
    let text = refused(&url);
    assert!(text.contains("redis: ") && !text.contains("secret"), "{text}");
    let text = refused(&format!("{}/99", server.url()));
    assert!(text.contains("out of range"), "{text}");
}

#[test]
fn a_storage_with_quota_behaves_like_the_wrapped_storage() {
    let make = || {
        let node = node(MemoryLedger::new(), LONG);
        (node.quota(MemoryStorage::new(), "files"), node)
    };
    storage_contract(1..=4, make).unwrap();
}

#[test]
fn concurrent_appends_are_counted_in_full() {
    let files = Arc::new(MemoryStorage::new());
    files.put("f", "").unwrap();
    let node = node(MemoryLedger::new(), LONG);
    let quota = node.quota(Arc::clone(&files), "files").max_bytes(LIMIT);
    let mut first = quota.write(&path("f"), WriteMode::Append, Keep::Shared).unwrap();
    first.write_all(&[b'x'; 10_000]).unwrap();
    put(&quota, "f", WriteMode::Append, 20_000).unwrap();
    first.commit().unwrap();
    assert_eq!((recorded(&[&node], &quota), stored(&files)), (30_000, 30_000));
}

#[test]
fn interrupted_uploads_release_their_reservations() {
    let node = node(MemoryLedger::new(), LONG);
    let storage = node.quota(MemoryStorage::new(), "files").max_bytes(LIMIT).max_files(2);
    for end in [StreamEnd::Cut, StreamEnd::Failed] {
        let mut upload = storage.write(&path("f"), WriteMode::Create, Keep::Shared).unwrap();
        upload.write_all(&[b'x'; 900_000]).unwrap();
        assert!(recorded(&[&node], &storage) >= 900_000);
        upload.abort(end);
        assert_eq!(recorded(&[&node], &storage), 0);
    }
    drop(storage.write(&path("f"), WriteMode::Create, Keep::Shared).unwrap());
    put(&storage, "a", WriteMode::Create, 0).unwrap();
    put(&storage, "b", WriteMode::Create, 1).unwrap();
    assert_eq!(kind(put(&storage, "c", WriteMode::Create, 1)), Some(Kind::OverQuota));
    put(&storage, "b", WriteMode::Replace, 2).unwrap();
    assert_eq!(recorded(&[&node], &storage), 4_096 + 2);
}

#[test]
fn files_are_recounted_after_a_commit_with_unknown_outcome() {
    use crate::storage::{Fault, FaultStorage, StorageCall};
    for lease in [LONG, SHORT] {
        let node = node(MemoryLedger::new(), lease);
        let fault = Fault::Fail(Kind::Io);
        let faulty =
            FaultStorage::new(MemoryStorage::new()).at(StorageCall::UploadCommit, 1, fault);
        let storage = node.quota(faulty, "files").max_bytes(LIMIT);
        let put = || put(&storage, "f", WriteMode::Create, 600_000);
        assert_eq!(kind(put()), Some(Kind::Io));
        if lease == LONG {
            // The file may be stored.
            assert_eq!(kind(put()), Some(Kind::OverQuota));
            continue;
        }
        at_last("the files are counted", || put().ok());
        // The file counts twice if it was stored during the count. Then the next upload that does
        // not fit counts again.
        let other = || self::put(&storage, "other", WriteMode::Create, 0);
        wait_until("the record is right", || {
            let is_stored = other().is_ok() && storage.remove(&path("other")).is_ok();
            is_stored && recorded(&[&node], &storage) == 600_000
        });
    }
}

/// A ledger whose changes wait at a gate, before and after.
#[derive(Debug)]
struct Gated {
    ledger: MemoryLedger,
    gate: Barrier,
}

impl Ledger for Gated {
    fn read(&self, name: &str) -> Result<LedgerAnswer, LedgerError> {
        self.ledger.read(name)
    }

    fn replace(
        &self,
        name: &str,
        version: Option<&[u8]>,
        content: &[u8],
    ) -> Result<bool, LedgerError> {
        self.gate.wait();
        self.gate.wait();
        self.ledger.replace(name, version, content)
    }
}

#[test]
fn a_flush_waits_for_a_delayed_change_in_progress() {
    let gated = Arc::new(Gated { ledger: MemoryLedger::new(), gate: Barrier::new(2) });
    let node = node(Arc::clone(&gated), LONG);
    // The thread that makes delayed changes must not get this one first.
    node.die();
    wait_until("the thread has ended", || Arc::strong_count(&node.inner) == 2);
    node.inner.later("r", settled("id".to_owned()));
    std::thread::scope(|scope| {
        scope.spawn(|| node.inner.change("r", |_, _| ()).unwrap());
        gated.gate.wait();
        let (sender, returned) = mpsc::channel();
        let state = &node;
        scope.spawn(move || {
            state.flush();
            let _ = sender.send(());
        });
        let early = returned.recv_timeout(Duration::from_millis(100));
        gated.gate.wait();
        assert!(early.is_err(), "the change is not made yet");
        returned.recv().unwrap();
    });
}

#[test]
fn failed_logins_of_other_hosts_are_not_read_at_each_login_hs_28() {
    let ledger = Arc::new(MemoryLedger::new());
    let (one, other) = (node(Arc::clone(&ledger), LONG), node(Arc::clone(&ledger), LONG));
    let policy = BanPolicy { after: 3, window: LONG, lasting: LONG };
    let host = |number: u16| std::net::IpAddr::from([0x2001, 0xdb8, 0, number, 0, 0, 0, 0]);
    for number in 0..900 {
        assert_eq!(one.fail(host(number), policy).unwrap(), None);
    }
    let sizes = (0..256).filter_map(|record| {
        let found = ledger.read(&format!("hosts/{record:02x}")).unwrap();
        found.version.map(|_| found.content.len())
    });
    let sizes: Vec<_> = sizes.collect();
    // All of them together have about 67,000 bytes.
    assert!(sizes.len() > 200 && sizes.iter().all(|size| *size < 2_000), "{sizes:?}");
    assert_eq!(other.fail(host(7), policy).unwrap(), None);
    assert!(one.fail(host(7), policy).unwrap().is_some());
    assert!(other.ban_of(host(7)).unwrap().is_some() && other.ban_of(host(8)).unwrap().is_none());
    other.forgive(host(7));
    at_last("the ban ends", || one.ban_of(host(7)).unwrap().is_none().then_some(()));
}

#[test]
fn a_zero_or_nanosecond_lease_is_refused() {
    for lease in [Duration::ZERO, Duration::from_nanos(1)] {
        let state = SharedState::start(MemoryLedger::new(), lease, WithoutLedger::Refuse);
        let error = state.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{error}");
    }
}

#[test]
fn the_ledger_is_released_with_the_last_handle() {
    let ledger = Arc::new(MemoryLedger::new());
    let state = node(Arc::clone(&ledger), LONG);
    let other = state.clone();
    drop(state);
    assert!(Arc::strong_count(&ledger) > 1);
    drop(other);
    wait_until("the thread of the lease has ended", || Arc::strong_count(&ledger) == 1);
}

#[test]
fn record_names_are_percent_encoded_and_bounded() {
    use super::shared::record_name;
    assert_eq!(record_name("quota", b"store/ann"), "quota/store%2Fann");
    assert_eq!(record_name("sessions", b".."), "sessions/%2E%2E");
    let long = |byte: u8| record_name("sessions", &[byte; 200]);
    assert!(long(b'a').len() < 50 && long(b'a') != long(b'b'));
}
