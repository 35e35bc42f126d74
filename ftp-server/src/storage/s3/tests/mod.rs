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
mod sessions;
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

/// Returns the names of what a store lacks.
fn missing(features: S3Features) -> Vec<&'static str> {
    let all = [
        (features.conditional_writes, "conditional writes"),
        (features.conditional_completion, "conditional CompleteMultipartUpload"),
        (features.conditional_copy, "conditional CopyObject"),
        (features.conditional_removal, "conditional DeleteObject"),
        (!features.refuses_conditions, "requests with conditions"),
        (features.copies, "CopyObject"),
        (features.part_copies, "UploadPartCopy"),
        (features.checksums, "checks of x-amz-checksum-sha256"),
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

/// Returns the storages on the fake store: alone, with times, and with a quota and its ledger.
pub(in crate::storage) fn shipped() -> [Shipped; 3] {
    [
        Shipped {
            name: "S3",
            make: || {
                let fake = Fake::start();
                (Arc::new(on(&fake).rename_trees(100)), Arc::new(fake))
            },
            reopen: Some(|(_, kept)| {
                let fake = kept.downcast_ref::<Fake>().unwrap();
                Arc::new(on(fake).rename_trees(100))
            }),
        },
        Shipped {
            name: "S3 with times",
            make: || {
                let fake = Fake::start();
                (Arc::new(on(&fake).rename_trees(100).keep_times(true)), Arc::new(fake))
            },
            reopen: None,
        },
        Shipped {
            name: "S3 with a quota",
            make: || {
                let fake = Fake::start();
                let store = store_at(&fake);
                let ledger = S3Ledger::open(&store, "").unwrap();
                let files = store.storage("files").unwrap().rename_trees(100);
                let (storage, state) = with_quota(files, ledger);
                (storage, Arc::new((fake, state)))
            },
            reopen: None,
        },
    ]
}

/// Returns bytes that reveal a wrong offset: every 251 bytes begin with another byte.
fn content(length: usize) -> Vec<u8> {
    let bytes: Vec<u8> = (0..251).chain(0..251).collect();
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
