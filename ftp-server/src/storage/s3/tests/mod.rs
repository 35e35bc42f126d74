//! The storage on a fake store in this process, which fails on demand, and on real stores.

mod engines;
mod fake;
mod faults;
mod files;
mod identity;
mod interrupted;
mod killed;
mod late;
mod ledger;
mod listings;
mod moves;
mod partial;
mod platform;
mod proof;
mod removals;
mod rivals;
mod seen;
mod sessions;
mod swept;
mod worlds;

use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use self::fake::Fake;
use super::*;
use crate::storage::StreamEnd;
use crate::storage::tests::{Shipped, with_quota};

const USER: &[u8] = b"ann";

/// The requests to a store, in three groups: those at the higher price; HEAD and GET; DELETE.
const OPERATIONS: [&[&str]; 3] = [
    &[
        "PutObject",
        "CopyObject",
        "ListObjectsV2",
        "ListParts",
        "CreateMultipartUpload",
        "UploadPart",
        "UploadPartCopy",
        "CompleteMultipartUpload",
    ],
    &["HeadObject", "GetObject"],
    &["DeleteObject", "AbortMultipartUpload"],
];

/// Minimum size of a part in an upload of several parts, in bytes.
const PART: usize = 5 * 1024 * 1024;

fn missing(features: S3Features) -> Vec<&'static str> {
    let all = [
        (features.conditional_writes, "conditional writes"),
        (features.conditional_completion, "conditional CompleteMultipartUpload"),
        (features.conditional_copy, "conditional CopyObject"),
        (features.conditional_removal, "conditional DeleteObject"),
        (!features.refuses_conditions, "requests with conditions"),
        (features.copies, "CopyObject"),
        (features.part_copies, "UploadPartCopy"),
        (features.removes_abandoned, "a lifecycle rule AbortIncompleteMultipartUpload"),
        (features.removes_old_versions, "a lifecycle rule NoncurrentVersionExpiration"),
    ];
    all.into_iter().filter_map(|(is_there, name)| (!is_there).then_some(name)).collect()
}

fn path(text: &str) -> VirtualPath {
    text.into()
}

fn kind<T>(result: StorageResult<T>) -> Option<Kind> {
    result.err().map(|error| error.kind)
}

/// Returns settings for a store that always responds, on a computer that may be busy. Each of these
/// stores is as if it were in a process of its own.
fn settings(endpoint: &str) -> S3StoreBuilder {
    static PROCESSES: AtomicUsize = AtomicUsize::new(0);
    let timeouts = S3Timeouts::new().retries(Duration::from_secs(12));
    S3Store::builder(endpoint, "bucket")
        .process(PROCESSES.fetch_add(1, Ordering::SeqCst))
        .credentials("key", "secret")
        .timeouts(timeouts)
        .patience(Duration::from_secs(60))
        .part_size(PART as u64)
        .memory(4 * PART as u64)
}

/// Returns a storage for a store that may not respond; `limit` scales the timeouts.
fn hasty(fake: &Fake, limit: Duration) -> S3Storage {
    let timeouts = S3Timeouts::new()
        .connect(5 * limit)
        .idle(limit)
        .answer(limit)
        .commit(2 * limit)
        .retries(12 * limit);
    settings(&fake.endpoint()).timeouts(timeouts).build().unwrap().storage("").unwrap()
}

fn store_at(fake: &Fake) -> S3Store {
    settings(&fake.endpoint()).build().unwrap()
}

fn on(fake: &Fake) -> S3Storage {
    store_at(fake).storage("").unwrap()
}

/// A place for the files of one storage, in a store that lives as long.
struct Place {
    endpoint: String,
    keys: (&'static str, &'static str),
    prefix: String,
    _fake: Option<Fake>,
}

impl Place {
    fn fake() -> Self {
        let fake = Fake::start();
        let prefix = Inner::unique().unwrap();
        Self { endpoint: fake.endpoint(), keys: ("key", "secret"), prefix, _fake: Some(fake) }
    }

    fn store(&self) -> S3Store {
        settings(&self.endpoint).credentials(self.keys.0, self.keys.1).build().unwrap()
    }

    fn storage(&self) -> S3Storage {
        self.store().storage(&self.prefix).unwrap().rename_trees(100)
    }
}

const WITH_QUOTA: &str = "S3 with a quota";

/// Returns the storages on stores: alone, with times, and with a quota and its ledger.
fn shipped_at(new: impl Fn() -> Place + Clone + Send + 'static) -> [Shipped; 3] {
    let (with_times, for_quota) = (new.clone(), new.clone());
    [
        Shipped {
            name: "S3",
            make: Box::new(move || {
                let place = new();
                (Arc::new(place.storage()), Arc::new(place))
            }),
            reopen: Some(Box::new(|(_, kept)| {
                Arc::new(kept.downcast_ref::<Place>().unwrap().storage())
            })),
        },
        Shipped {
            name: "S3 with times",
            make: Box::new(move || {
                let place = with_times();
                (Arc::new(place.storage().keep_times(true)), Arc::new(place))
            }),
            reopen: None,
        },
        Shipped {
            name: WITH_QUOTA,
            make: Box::new(move || {
                let place = for_quota();
                let ledger = S3Ledger::open(&place.store(), &place.prefix).unwrap();
                let (storage, state) = with_quota(place.storage(), ledger);
                (storage, Arc::new((place, state)))
            }),
            reopen: None,
        },
    ]
}

/// Returns the storages on the fake store.
pub(in crate::storage) fn shipped() -> [Shipped; 3] {
    shipped_at(Place::fake)
}

/// Returns bytes that reveal a wrong offset: every 251 bytes begin with another byte.
fn content(length: usize) -> Vec<u8> {
    in_pieces(length, |byte| byte)
}

/// Returns bytes that are made of those of [`content`].
fn in_pieces(length: usize, make: fn(u8) -> u8) -> Vec<u8> {
    let bytes: Vec<u8> = (0..251).chain(0..251).map(make).collect();
    // Whole pieces are many times as fast as bytes in code that is not optimized.
    let pieces = (0..length.div_ceil(251)).map(|piece| &bytes[piece % 251..][..251]);
    let mut content = pieces.collect::<Vec<_>>().concat();
    content.truncate(length);
    content
}

fn read(storage: &S3Storage, name: &str) -> StorageResult<Vec<u8>> {
    let mut bytes = Vec::new();
    storage.read(&path(name))?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn put(storage: &S3Storage, name: &str, mode: WriteMode, bytes: &[u8]) -> StorageResult<()> {
    let mut upload = storage.write(&path(name), mode, Keep::Bytes(USER))?;
    upload.write_all(bytes)?;
    upload.commit()
}

/// Interrupts an upload after these bytes.
fn cut(storage: &S3Storage, name: &str, mode: WriteMode, bytes: &[u8]) {
    let mut upload = storage.write(&path(name), mode, Keep::Bytes(USER)).unwrap();
    upload.write_all(bytes).unwrap();
    upload.abort(StreamEnd::Cut);
}

/// Returns the number of bytes of a record; 0 if it only forbids to resume at the length of the file.
fn kept(storage: &S3Storage, name: &str) -> Option<u64> {
    storage.unfinished(&path(name), Some(USER)).unwrap().map(|found| found.kept)
}

/// Returns the number that `SIZE` tells; `None` if no bytes are kept.
fn told(storage: &S3Storage, name: &str) -> Option<u64> {
    kept(storage, name).filter(|kept| *kept > 0).map(|kept| kept - 1)
}

fn names(storage: &S3Storage, directory: &str) -> Vec<String> {
    let text = |name: Vec<u8>| String::from_utf8(name).unwrap();
    let mut names: Vec<_> = storage
        .list(&path(directory), Ask::Names)
        .unwrap()
        .map(|it| text(it.unwrap().name))
        .collect();
    names.sort();
    names
}
