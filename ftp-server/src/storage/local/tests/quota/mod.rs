//! The limit on bytes below a root; [`files`] tests the limit on the number of files, and [`counts`]
//! the counts of a whole tree.

mod counts;
mod files;

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::thread;
use std::time::Duration;

use super::usage::{Cost, Seen};
use super::*;
use crate::log::messages;
use crate::storage::StreamEnd;

fn path(name: &str) -> VirtualPath {
    name.split('/').fold(VirtualPath::root(), |path, name| path.join(name.as_bytes()))
}

fn kind<T>(result: StorageResult<T>) -> Option<StorageErrorKind> {
    result.err().map(|error| error.kind)
}

/// Stores `length` bytes. If the storage refuses them at any point, no file is left.
fn store(storage: &LocalStorage, name: &str, mode: WriteMode, length: usize) -> StorageResult<()> {
    let mut upload = storage.write(&path(name), mode, Keep::Bytes(b"ann"))?;
    let stored = (|| {
        while !upload.prepare()? {}
        for piece in vec![b'n'; length].chunks(100) {
            upload.write_all(piece)?;
        }
        Ok(())
    })();
    match stored {
        Ok(()) => upload.commit(),
        Err(error) => {
            upload.abort(StreamEnd::Failed);
            Err(error)
        }
    }
}

/// Returns the number of bytes that are kept for the user `ann`.
fn kept(storage: &LocalStorage, name: &str) -> Option<u64> {
    storage.unfinished(&path(name), Some(b"ann")).unwrap().map(|found| found.kept)
}

/// Interrupts an upload of `length` bytes.
fn cut(storage: &LocalStorage, name: &str, mode: WriteMode, length: usize) {
    let mut upload = storage.write(&path(name), mode, Keep::Bytes(b"ann")).unwrap();
    upload.write_all(&vec![b'c'; length]).unwrap();
    upload.abort(StreamEnd::Cut);
}

impl Tree {
    /// Returns the cost of everything below the root, computed with `std::fs`.
    fn cost(&self) -> Cost {
        fn below(directory: &Path) -> Cost {
            let entries = fs::read_dir(directory).unwrap().map(Result::unwrap);
            let costs = entries.map(|entry| match entry.metadata().unwrap() {
                // Records are free, and running uploads, which are locked, count their bytes
                // themselves.
                _ if is_record(&entry.file_name().to_string_lossy()) => Cost::default(),
                file if file.is_file()
                    && has_bytes(&entry.file_name().to_string_lossy())
                    && fs::File::open(entry.path()).unwrap().try_lock().is_err() =>
                {
                    Cost::default()
                }
                file if file.is_file() => Cost::of_file(file.len()),
                directory if directory.is_dir() => Cost::DIRECTORY.plus(below(&entry.path())),
                _ => Cost::default(),
            });
            costs.fold(Cost::default(), Cost::plus)
        }
        below(&self.root)
    }

    fn bytes(&self) -> u64 {
        self.cost().bytes
    }

    /// Asserts that the count equals the actual cost.
    fn check(&self, storage: &LocalStorage, limit: u64, what: &str) {
        // If the count is uncertain, it is repeated in the background.
        storage.left().unwrap();
        storage.files.root.usage().settle();
        let quota = storage.quota().unwrap();
        assert_eq!(quota.max_bytes, Some(limit));
        let counted = Cost { bytes: quota.bytes, files: quota.files };
        assert_eq!(counted, self.cost(), "{what}: {:?}", self.names(""));
    }
}

impl Tree {
    /// Like [`bytes`](Self::bytes), but works while files are created and removed. An upload may
    /// have the bytes of the file that it replaces a second time.
    fn total_file_size(&self) -> u64 {
        let entries = fs::read_dir(&self.root).unwrap().filter_map(Result::ok);
        let entries = entries.filter(|entry| !name::is_temporary(entry.file_name().as_bytes()));
        entries.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
    }
}

#[test]
fn an_interrupted_upload_that_fills_the_quota_can_be_resumed_hp_23_fs_15() {
    let tree = Tree::new();
    for storage in tree.storages() {
        let storage = storage.with(|config| config.quota = 1_000);
        cut(&storage, "f", WriteMode::Replace, 1_000);
        assert_eq!(storage.left().unwrap(), Some(0));
        // The user sends the last byte again, because `SIZE` reported one byte less.
        store(&storage, "f", WriteMode::Resume(999), 1).unwrap();
        assert_eq!(storage.stat(&path("f"), Ask::Facts).unwrap().size, 1_000);
        tree.check(&storage, 1_000, "resumed");
        storage.remove(&path("f")).unwrap();
        cut(&storage, "f", WriteMode::Replace, 1_000);
        let more = kind(store(&storage, "f", WriteMode::Resume(999), 2));
        assert_eq!(more, Some(StorageErrorKind::OverQuota));
        tree.check(&storage, 1_000, "refused");
        // The partial upload stays, without the byte to send again, until the quota permits the
        // rest.
        assert_eq!(kept(&storage, "f"), Some(999));
        let storage = storage.with(|config| config.quota = 2_000);
        store(&storage, "f", WriteMode::Resume(998), 3).unwrap();
        assert_eq!(storage.stat(&path("f"), Ask::Facts).unwrap().size, 1_001);
        storage.remove(&path("f")).unwrap();
    }
}

#[test]
fn every_operation_keeps_the_quota_count_exact_hp_23() {
    const LIMIT: u64 = 100_000;
    let tree = Tree::new();
    fs::create_dir(tree.root.join("d")).unwrap();
    tree.put("before", [b'b'; 1_000]);
    tree.put("d/below", [b'b'; 500]);
    tree.link("before", "link");
    for storage in tree.storages() {
        let storage = storage.with(|config| config.quota = LIMIT);
        let check = |what: &str| tree.check(&storage, LIMIT, what);
        check("at first");
        for mode in [WriteMode::Create, WriteMode::Append, WriteMode::From(50), WriteMode::Replace]
        {
            store(&storage, "a", mode, 700).unwrap();
            check(&format!("{mode:?}"));
        }
        store(&storage, "a", WriteMode::From(700), 30).unwrap();
        check("at the end");
        storage.set(&path("a"), Change::Mode(0o600)).unwrap();
        storage.set(&path("a"), Change::Modified(1_000_000_000)).unwrap();
        storage.mkdir(&path("e")).unwrap();
        check("attributes and directories");
        store(&storage, "b", WriteMode::Create, 300).unwrap();
        storage.rename(&path("a"), &path("c"), true).unwrap();
        check("renamed");
        storage.rename(&path("b"), &path("c"), true).unwrap();
        check("renamed over a file");
        storage.rename(&path("c"), &path("e/c"), true).unwrap();
        storage.rename(&path("e"), &path("d/e"), true).unwrap();
        check("a directory moved");
        storage.remove(&path("d/e/c")).unwrap();
        check("removed");
        // The bytes of an interrupted upload count until it is resumed or discarded.
        cut(&storage, "f", WriteMode::Replace, 900);
        assert_eq!(kept(&storage, "f"), Some(900));
        check("kept");
        cut(&storage, "f", WriteMode::Resume(400), 100);
        check("kept, gone back and gone on");
        cut(&storage, "f", WriteMode::Replace, 40);
        check("kept again");
        store(&storage, "f", WriteMode::Resume(40), 60).unwrap();
        check("resumed to the end");
        assert_eq!(storage.stat(&path("f"), Ask::Facts).unwrap().size, 100);
        storage.remove(&path("f")).unwrap();
        cut(&storage, "f", WriteMode::Replace, 70);
        store(&storage, "f", WriteMode::Replace, 20).unwrap();
        check("another one in its place");
        storage.remove(&path("f")).unwrap();
        cut(&storage, "f", WriteMode::Replace, 70);
        storage.forget(&path("f"), Some(b"ann")).unwrap();
        check("forgotten");
        cut(&storage, "f", WriteMode::Replace, 70);
        let upload = storage.write(&path("f"), WriteMode::Resume(60), Keep::Bytes(b"ann")).unwrap();
        upload.abort(StreamEnd::Failed);
        check("failed");
        cut(&storage, "f", WriteMode::Replace, 70);
        store(&storage, "f", WriteMode::Append, 10).unwrap();
        check("a new file in its place");
        cut(&storage, "f", WriteMode::Replace, 90);
        check("kept beside the file");
        cut(&storage, "f", WriteMode::Resume(80), 20);
        check("kept beside the file, and gone on");
        store(&storage, "f", WriteMode::Resume(100), 5).unwrap();
        check("resumed over the file");
        cut(&storage, "f", WriteMode::Replace, 90);
        storage.rename(&path("before"), &path("f"), true).unwrap();
        check("a file renamed to its name");
        storage.rename(&path("f"), &path("before"), true).unwrap();
        cut(&storage, "d/e/f", WriteMode::Replace, 80);
        storage.rmdir(&path("d/e")).unwrap();
        check("gone with its directory");
        assert_eq!(kind(storage.mkdir(&path("d"))), Some(StorageErrorKind::Exists));
        assert_eq!(tree.names(""), ["before", "d", "link"]);
    }
}

#[test]
fn an_upload_over_quota_is_refused_and_not_counted_hp_23_cm_105_cm_106_hf_03() {
    const LIMIT: u64 = 10_000;
    let over = Some(StorageErrorKind::OverQuota);
    let tree = Tree::new();
    for storage in tree.storages() {
        tree.put("old", [b'o'; 4_000]);
        let storage = storage.with(|config| config.quota = LIMIT);
        storage.files.root.usage().forget();
        for (mode, least) in [
            (WriteMode::Create, 6_001),
            (WriteMode::Replace, 10_001),
            (WriteMode::Append, 6_001),
            (WriteMode::From(4_000), 6_001),
            (WriteMode::From(1_000), 9_001),
        ] {
            let name = if mode == WriteMode::Create { "new" } else { "old" };
            assert_eq!(kind(store(&storage, name, mode, least)), over, "{mode:?}");
            tree.check(&storage, LIMIT, &format!("{mode:?}"));
            assert!(tree.get("old") == [b'o'; 4_000], "{mode:?}");
            assert_eq!(tree.names(""), ["old"], "{mode:?}");
        }
        // The old file does not count, because the new file takes its place.
        store(&storage, "old", WriteMode::Replace, 10_000).unwrap();
        assert_eq!(storage.left().unwrap(), Some(0));
        store(&storage, "old", WriteMode::Replace, 6_000).unwrap();
        assert_eq!(storage.left().unwrap(), Some(4_000));
        store(&storage, "last", WriteMode::Create, 4_000).unwrap();
        for mode in [WriteMode::Create, WriteMode::Append] {
            let name = if mode == WriteMode::Create { "new" } else { "old" };
            assert_eq!(kind(store(&storage, name, mode, 0)), over, "{mode:?}");
        }
        // A file can be replaced by one of the same length, although the quota is full.
        for (mode, most) in [(WriteMode::Replace, 6_000), (WriteMode::From(1), 5_999)] {
            assert_eq!(kind(store(&storage, "old", mode, most + 1)), over, "{mode:?}");
            store(&storage, "old", mode, most).unwrap();
            tree.check(&storage, LIMIT, &format!("{mode:?} at the limit"));
        }
        // A storage without a limit ignores the limit of others, but its bytes count.
        let without = storage.clone().with(|config| config.quota = 0);
        store(&without, "more", WriteMode::Create, 50).unwrap();
        assert_eq!((storage.left().unwrap(), without.left().unwrap()), (Some(0), None));
        for name in ["old", "last", "more"] {
            storage.remove(&path(name)).unwrap();
        }
        tree.check(&storage, LIMIT, "at last");
    }
}

#[test]
fn a_replacement_within_the_quota_succeeds_at_every_fill_hp_23_fs_17() {
    const LIMIT: usize = 10_000;
    let over = Some(StorageErrorKind::OverQuota);
    let tree = Tree::new();
    let storage = tree.storage().with(|config| config.quota = LIMIT as u64);
    for old in [0_usize, 1, 4_096, 7_000, 10_000] {
        for filler in [0, LIMIT - old.max(if old == 0 { 4_096 } else { old })] {
            for new in [1_usize, 4_096, 6_000, 10_000] {
                tree.put("f", vec![b'o'; old]);
                tree.put("filler", vec![b'f'; filler.max(1)]);
                if filler == 0 {
                    fs::remove_file(tree.root.join("filler")).unwrap();
                }
                storage.files.root.usage().forget();
                let stored = kind(store(&storage, "f", WriteMode::Replace, new));
                let fits = filler + new <= LIMIT;
                assert_eq!(stored, (!fits).then_some(over).flatten(), "{old} {filler} {new}");
                assert_eq!(tree.get("f").len(), if fits { new } else { old });
                tree.check(&storage, LIMIT as u64, &format!("{old} {filler} {new}"));
                let _ = fs::remove_file(tree.root.join("filler"));
            }
        }
    }
}

#[test]
fn each_replaced_file_is_credited_to_one_upload_hp_23() {
    const LIMIT: u64 = 10_000;
    let over = Some(StorageErrorKind::OverQuota);
    let tree = Tree::new();
    let storage = tree.storage().with(|config| config.quota = LIMIT);
    let fill = |upload: &mut Box<dyn Upload>, length: usize| {
        kind(upload.write_all(&vec![b'n'; length]).map_err(StorageError::from))
    };
    let begin = || storage.write(&path("f"), WriteMode::Replace, Keep::Bytes(b"ann"));
    tree.put("f", [b'o'; 7_000]);
    tree.put("filler", [b'f'; 3_000]);
    storage.files.root.usage().forget();
    tree.check(&storage, LIMIT, "at first");
    // The first upload has the old file's bytes, also after it has ended, and nothing else has.
    let mut first = begin().unwrap();
    assert_eq!(kind(begin()), over);
    assert_eq!(fill(&mut first, 7_000), None);
    assert_eq!(kind(store(&storage, "new", WriteMode::Create, 0)), over);
    drop(first);
    let mut first = begin().unwrap();
    assert_eq!(fill(&mut first, 7_001), over);
    drop(first);
    // When the old file goes, the upload pays for its bytes, and nobody else can use them.
    let mut first = begin().unwrap();
    assert_eq!(fill(&mut first, 5_000), None);
    storage.remove(&path("f")).unwrap();
    assert_eq!(storage.left().unwrap(), Some(LIMIT - 3_000 - 5_000));
    assert_eq!(kind(store(&storage, "new", WriteMode::Create, 2_001)), over);
    assert_eq!(fill(&mut first, 2_000), None);
    first.commit().unwrap();
    tree.check(&storage, LIMIT, "removed meanwhile");
    // The old file was moved: both files stay, and there is no room for them.
    let mut first = begin().unwrap();
    assert_eq!(fill(&mut first, 7_000), None);
    storage.rename(&path("f"), &path("moved"), false).unwrap();
    assert_eq!(kind(first.commit()), over);
    tree.check(&storage, LIMIT, "moved meanwhile");
    assert_eq!(tree.names(""), ["filler", "moved"]);
    // Two uploads replace a file at the same time, with room for both.
    storage.remove(&path("moved")).unwrap();
    store(&storage, "f", WriteMode::Create, 2_000).unwrap();
    let [mut first, mut second] = [begin().unwrap(), begin().unwrap()];
    assert_eq!((fill(&mut first, 3_000), fill(&mut second, 4_000)), (None, None));
    assert_eq!(fill(&mut second, 1), over);
    first.commit().unwrap();
    assert_eq!((storage.left().unwrap(), fill(&mut second, 1)), (Some(0), over));
    second.commit().unwrap();
    tree.check(&storage, LIMIT, "the second");
    storage.remove(&path("filler")).unwrap();
    storage.remove(&path("f")).unwrap();
    tree.check(&storage, LIMIT, "in the end");
}

#[test]
fn many_uploads_at_once_never_have_more_than_the_limit_hp_23() {
    const LIMIT: u64 = 100_000;
    let tree = Tree::new();
    // Storages of two logins, before and after a change to the configuration.
    let storages = [
        tree.storage().with(|config| config.quota = LIMIT),
        tree.storage().with(|config| config.quota = LIMIT),
    ];
    let refused = AtomicU64::new(0);
    let stored = AtomicU64::new(0);
    thread::scope(|scope| {
        for number in 0..8_usize {
            let storage = &storages[number % 2];
            let refused = &refused;
            let stored = &stored;
            scope.spawn(move || {
                for round in 0..40 {
                    let name = format!("{}", (number + round) % 5);
                    let done = match round % 8 {
                        0 => storage.remove(&path(&name)),
                        1 => storage.rename(&path(&name), &path("other"), true),
                        2 => store(storage, &name, WriteMode::Append, 9_000),
                        3 => store(storage, &name, WriteMode::From(100), 9_000),
                        _ => store(storage, &name, WriteMode::Replace, 20_000),
                    };
                    match kind(done) {
                        None => stored.fetch_add(1, Ordering::SeqCst),
                        Some(StorageErrorKind::OverQuota) => refused.fetch_add(1, Ordering::SeqCst),
                        Some(_) => 0,
                    };
                }
            });
        }
        let largest = (0..200).map(|_| tree.total_file_size()).max().unwrap();
        assert!(largest <= LIMIT, "{largest}");
    });
    assert!(refused.load(Ordering::SeqCst) > 0 && stored.load(Ordering::SeqCst) > 0);
    // Bytes that arrived during a new count may count twice until the next walk, but are never
    // missed.
    storages[0].files.root.usage().settle();
    let left = storages[0].left().unwrap().unwrap();
    assert!(LIMIT - left >= tree.bytes(), "{left} left");
    storages[0].files.root.usage().settle();
    storages[0].files.root.usage().forget();
    tree.check(&storages[0], LIMIT, "in the end");
}

#[test]
fn files_removed_by_the_sweeper_free_quota_hp_23_fs_14() {
    const LIMIT: u64 = 10_000;
    let tree = Tree::new();
    let storage = tree.storage().with(|config| config.quota = LIMIT);
    cut(&storage, "f", WriteMode::Replace, 900);
    tree.check(&storage, LIMIT, "kept");
    storage.files.root.usage().forget();
    tree.check(&storage, LIMIT, "kept, and counted again");
    set_record_age(&tree.hidden(is_record), 12);
    tree.storage().tidy_up();
    assert!(tree.names("").is_empty());
    assert_eq!(storage.left().unwrap(), Some(LIMIT));
}

#[test]
fn kept_bytes_of_a_former_process_give_way_and_free_quota_hp_23_fs_14_fs_15() {
    const LIMIT: u64 = 10_000;
    let tree = Tree::new();
    let storage = || tree.storage().with(|config| config.quota = LIMIT);
    for removes in [true, false] {
        cut(&storage(), "f", WriteMode::Replace, 9_000);
        let root = tree.root.metadata().unwrap();
        let is_known = || usage::Usage::in_use((root.dev(), root.ino())).is_some();
        wait_until("the former process has ended", || !is_known());
        // No walk of a sweeper has put the record on the shelf of this one.
        let next = storage();
        assert_eq!(next.left().unwrap(), Some(LIMIT - 9_000));
        if removes {
            next.forget(&path("f"), Some(b"ann")).unwrap();
            assert_eq!(next.left().unwrap(), Some(LIMIT));
        }
        let mut upload = next.write(&path("g"), WriteMode::Replace, Keep::Shared).unwrap();
        upload.write_all(&[b'g'; 2_000]).unwrap();
        upload.commit().unwrap();
        assert_eq!(next.left().unwrap(), Some(LIMIT - 2_000));
        next.remove(&path("g")).unwrap();
    }
}

#[test]
fn kept_bytes_give_way_to_whatever_grows_hp_23_fs_15() {
    const LIMIT: u64 = 10_000;
    type Change = fn(&LocalStorage) -> StorageResult<()>;
    let changes: [(&str, Change); 4] = [
        ("a directory", |storage| storage.mkdir(&path("d"))),
        ("an empty file", |storage| store(storage, "g", WriteMode::Replace, 0)),
        ("an append", |storage| store(storage, "old", WriteMode::Append, 3_000)),
        ("an append in place", |storage| {
            append::in_place(|| store(storage, "old", WriteMode::Append, 3_000))
        }),
    ];
    for (what, change) in changes {
        let tree = Tree::new();
        tree.put("old", b"old");
        for storage in tree.storages() {
            let storage = storage.with(|config| config.quota = LIMIT);
            cut(&storage, "f", WriteMode::Replace, 9_000);
            assert_eq!(kept(&storage, "f"), Some(9_000));
            change(&storage).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(kept(&storage, "f"), Some(0), "{what}");
            tree.check(&storage, LIMIT, what);
            let _ = storage.remove(&path("g"));
            let _ = storage.rmdir(&path("d"));
            storage.forget(&path("f"), Some(b"ann")).unwrap();
            tree.put("old", b"old");
            storage.files.root.usage().forget();
        }
    }
}

#[test]
fn deny_hardlinks_refuses_files_with_several_names_hp_08() {
    let tree = Tree::new();
    fs::hard_link(tree.outside.join("secret"), tree.root.join("f")).unwrap();
    tree.put("plain", b"plain");
    fs::create_dir(tree.root.join("d")).unwrap();
    for storage in tree.storages() {
        let denies = storage.clone().with(|config| config.deny_hardlinks = true);
        let append = [WriteMode::Append, WriteMode::From(6)];
        assert_eq!(kind(denies.read(&path("f"))), Some(StorageErrorKind::Denied));
        for mode in append.into_iter().chain([WriteMode::From(3)]) {
            let begun = denies.write(&path("f"), mode, Keep::Shared);
            assert_eq!(kind(begun), Some(StorageErrorKind::Denied), "{mode:?}");
        }
        assert_eq!(
            kind(denies.set(&path("f"), Change::Mode(0o666))),
            Some(StorageErrorKind::Denied)
        );
        assert_eq!(
            kind(denies.set(&path("f"), Change::Modified(0))),
            Some(StorageErrorKind::Denied)
        );
        assert_eq!(kind(denies.set(&path("d"), Change::Mode(0o755))), None);
        assert_eq!(kind(denies.read(&path("plain"))), None);
        assert_eq!(kind(storage.read(&path("f"))), None);
        for mode in append {
            drop(storage.write(&path("f"), mode, Keep::Shared).unwrap());
        }
        assert_eq!(tree.get("f"), b"secret");
    }
    // A replaced file is not read.
    store(&tree.storage().with(|config| config.deny_hardlinks = true), "f", WriteMode::Replace, 3)
        .unwrap();
    assert_eq!(fs::read(tree.outside.join("secret")).unwrap(), b"secret");
    assert_eq!(tree.get("f"), b"nnn");
}
