//! The limit on bytes below a root; [`files`] tests the limit on the number of files.

mod files;

use std::io::Write as _;
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

fn kind<T>(result: Result<T, StorageError>) -> Option<StorageErrorKind> {
    result.err().map(|error| error.kind)
}

/// Stores `length` bytes. If the storage refuses them at any point, no file is left.
fn store(
    storage: &LocalStorage,
    name: &str,
    mode: WriteMode,
    length: usize,
) -> Result<(), StorageError> {
    let mut upload = storage.write_as(&path(name), mode, b"ann")?;
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

/// Interrupts an upload of `length` bytes.
fn cut(storage: &LocalStorage, name: &str, mode: WriteMode, length: usize) {
    let mut upload = storage.write_as(&path(name), mode, b"ann").unwrap();
    upload.write_all(&vec![b'c'; length]).unwrap();
    upload.abort(StreamEnd::Cut);
}

impl Tree {
    /// Returns the cost of everything below the root, computed with `std::fs`.
    fn cost(&self) -> Cost {
        fn below(directory: &Path) -> Cost {
            let entries = fs::read_dir(directory).unwrap().map(Result::unwrap);
            let costs = entries.map(|entry| match entry.metadata().unwrap() {
                _ if is_sign(&entry.path()) => Cost::default(),
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
        let quota = storage.quota(&path("")).unwrap().unwrap();
        assert_eq!(quota.max_bytes, Some(limit));
        let counted = Cost { bytes: quota.bytes, files: quota.files };
        assert_eq!(counted, self.cost(), "{what}: {:?}", self.names(""));
    }
}

#[test]
fn a_cut_upload_that_fills_the_quota_can_be_resumed_hp_23_fs_15() {
    let tree = Tree::new();
    for storage in tree.storages() {
        let storage = storage.with(|config| config.quota = 1_000);
        cut(&storage, "f", WriteMode::Replace, 1_000);
        assert_eq!(storage.left().unwrap(), Some(0));
        // The user sends the last byte again, because `SIZE` reported one byte less.
        store(&storage, "f", WriteMode::From(999), 1).unwrap();
        assert_eq!(storage.stat(&path("f")).unwrap().size, 1_000);
        tree.check(&storage, 1_000, "resumed");
        storage.remove(&path("f")).unwrap();
        cut(&storage, "f", WriteMode::Replace, 1_000);
        let more = kind(store(&storage, "f", WriteMode::From(999), 2));
        assert_eq!(more, Some(StorageErrorKind::OverQuota));
        tree.check(&storage, 1_000, "refused");
        // The partial upload stays, without the byte to send again, until the quota permits the
        // rest.
        let told = storage.partial_size(&path("f"), b"ann");
        assert_eq!(told.unwrap(), 998);
        let storage = storage.with(|config| config.quota = 2_000);
        store(&storage, "f", WriteMode::From(998), 3).unwrap();
        assert_eq!(storage.stat(&path("f")).unwrap().size, 1_001);
        storage.remove(&path("f")).unwrap();
    }
}

#[test]
fn whatever_is_done_the_count_is_what_there_is_hp_23() {
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
        storage.chmod(&path("a"), 0o600).unwrap();
        storage.set_times(&path("a"), 1_000_000_000).unwrap();
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
        // The bytes of an interrupted upload count until it is resumed, discarded or aborted.
        cut(&storage, "f", WriteMode::Replace, 900);
        assert_eq!(storage.partial_size(&path("f"), b"ann").unwrap(), 899);
        check("kept");
        cut(&storage, "f", WriteMode::From(400), 100);
        check("kept, gone back and gone on");
        cut(&storage, "f", WriteMode::Replace, 40);
        check("kept anew");
        store(&storage, "f", WriteMode::From(40), 60).unwrap();
        check("resumed to the end");
        assert_eq!(storage.stat(&path("f")).unwrap().size, 100);
        storage.remove(&path("f")).unwrap();
        cut(&storage, "f", WriteMode::Replace, 70);
        store(&storage, "f", WriteMode::Replace, 20).unwrap();
        check("another one in its place");
        storage.remove(&path("f")).unwrap();
        cut(&storage, "f", WriteMode::Replace, 70);
        storage.forget_partial(&path("f"), b"ann").unwrap();
        check("forgotten");
        cut(&storage, "f", WriteMode::Replace, 70);
        let upload = storage.write_as(&path("f"), WriteMode::From(70), b"ann").unwrap();
        upload.abort(StreamEnd::Abort);
        check("given up");
        cut(&storage, "f", WriteMode::Replace, 70);
        store(&storage, "f", WriteMode::Append, 10).unwrap();
        check("a new file in its place");
        storage.remove(&path("f")).unwrap();
        cut(&storage, "d/e/f", WriteMode::Replace, 80);
        storage.rmdir(&path("d/e")).unwrap();
        check("gone with its directory");
        assert_eq!(kind(storage.mkdir(&path("d"))), Some(StorageErrorKind::Exists));
        assert_eq!(tree.names(""), ["before", "d", "link"]);
    }
}

#[test]
fn what_is_too_much_is_refused_and_given_back_hp_23_cm_105_cm_106_hf_03() {
    const LIMIT: u64 = 10_000;
    let over = Some(StorageErrorKind::OverQuota);
    let tree = Tree::new();
    for storage in tree.storages() {
        tree.put("old", [b'o'; 4_000]);
        let storage = storage.with(|config| config.quota = LIMIT);
        storage.files.root.usage().forget();
        for (mode, least) in [
            (WriteMode::Create, 6_001),
            (WriteMode::Replace, 6_001),
            (WriteMode::Append, 6_001),
            (WriteMode::From(4_000), 6_001),
            (WriteMode::From(1_000), 5_001),
        ] {
            let name = if mode == WriteMode::Create { "new" } else { "old" };
            assert_eq!(kind(store(&storage, name, mode, least)), over, "{mode:?}");
            tree.check(&storage, LIMIT, &format!("{mode:?}"));
            assert!(tree.get("old") == [b'o'; 4_000], "{mode:?}");
            assert_eq!(tree.names(""), ["old"], "{mode:?}");
        }
        // The old file counts only until the new file takes its name.
        store(&storage, "old", WriteMode::Replace, 6_000).unwrap();
        assert_eq!(storage.left().unwrap(), Some(4_000));
        store(&storage, "last", WriteMode::Create, 4_000).unwrap();
        for mode in [WriteMode::Create, WriteMode::Replace, WriteMode::Append, WriteMode::From(1)] {
            let name = if mode == WriteMode::Create { "new" } else { "old" };
            assert_eq!(kind(store(&storage, name, mode, 0)), over, "{mode:?}");
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
        let largest = (0..200).map(|_| tree.bytes_of_what_is_there()).max().unwrap();
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
fn what_comes_while_it_is_counted_is_not_missed_hp_23() {
    const LIMIT: u64 = 1_000_000;
    const MOVED: usize = 1_000;
    // The cost of the files that stay, and of 20 directories.
    const REST: u64 = 1_000 + 20 * 4_096;
    let tree = Tree::new();
    // Enough files that a walk takes a while.
    for number in 0..20 {
        fs::create_dir(tree.root.join(format!("d{number}"))).unwrap();
        (0..50).for_each(|file| tree.put(&format!("d{number}/{file}"), b"x"));
    }
    tree.put("d0/moved", [b'm'; MOVED]);
    let free = tree.storage();
    let limited = tree.storage().with(|config| config.quota = LIMIT);
    let is_over = AtomicBool::new(false);
    let least = thread::scope(|scope| {
        scope.spawn(|| {
            let mut at = 0;
            while !is_over.load(Ordering::SeqCst) {
                let to = (at + 7) % 20;
                let from = format!("d{at}/moved");
                let to_path = format!("d{to}/moved");
                free.rename(&path(&from), &path(&to_path), false).unwrap();
                at = to;
            }
        });
        let counts = (0..100).map(|_| {
            limited.files.root.usage().forget();
            LIMIT - limited.left().unwrap().unwrap_or(LIMIT)
        });
        let least = counts.min();
        is_over.store(true, Ordering::SeqCst);
        least
    });
    assert!(least >= Some(MOVED as u64 + REST), "{least:?}");
    limited.files.root.usage().forget();
    tree.check(&limited, LIMIT, "in the end");
}

#[test]
fn a_walk_is_told_what_it_may_have_missed_hp_23() {
    let tree = Tree::new();
    fs::create_dir(tree.root.join("d")).unwrap();
    fs::create_dir(tree.root.join("e")).unwrap();
    tree.link("d", "link");
    let storage = tree.storage().with(|config| config.quota = 10_000);
    for is_first in [true, false] {
        let usage = storage.files.root.usage();
        tree.put("a", [b'a'; 300]);
        match is_first {
            true => usage.forget(),
            false => tree.check(&storage, 10_000, "before"),
        }
        let during = |act: &dyn Fn()| {
            usage.seem_to_walk(true);
            act();
            usage.seem_to_walk(false)
        };
        let rename = |from: &str, to: &str| storage.rename(&path(from), &path(to), true).unwrap();
        let free = storage.clone().with(|config| config.quota = 0);
        let one = |bytes| (Cost { bytes, files: 1 }, false);
        let none = (Cost::default(), false);
        assert_eq!(during(&|| rename("a", "e/a")), one(300));
        assert_eq!(during(&|| rename("link", "link2")), none);
        assert_eq!(during(&|| rename("link2", "link")), none);
        assert_eq!(during(&|| rename("d", "e/d")), (Cost::default(), true));
        assert_eq!(during(&|| rename("e/d", "d")), (Cost::default(), true));
        assert_eq!(during(&|| store(&free, "b", WriteMode::Replace, 70).unwrap()), one(70));
        let added = (Cost::bytes(30), false);
        assert_eq!(during(&|| store(&free, "b", WriteMode::Append, 30).unwrap()), added);
        assert_eq!(during(&|| cut(&free, "c", WriteMode::Replace, 50)), one(50));
        assert_eq!(during(&|| store(&free, "c", WriteMode::From(50), 20).unwrap()), one(70));
        // The walk may have counted a removed file, so its cost is not subtracted.
        let remove = |name: &str| storage.remove(&path(name)).unwrap();
        assert_eq!(during(&|| ["e/a", "b", "c"].into_iter().for_each(remove)), none);
    }
}

#[test]
fn a_directory_that_moves_has_the_walk_begin_anew_hp_23() {
    const LIMIT: u64 = 10_000;
    let tree = Tree::new();
    fs::create_dir(tree.root.join("d")).unwrap();
    fs::create_dir(tree.root.join("e")).unwrap();
    let storage = tree.storage().with(|config| config.quota = LIMIT);
    let usage = storage.files.root.usage();
    let to_and_fro = || {
        storage.rename(&path("d"), &path("e/d"), false).unwrap();
        storage.rename(&path("e/d"), &path("d"), false).unwrap();
    };
    let mut walks = 0;
    usage.walk(|| {
        walks += 1;
        if walks == 1 {
            to_and_fro();
        }
        Some(Seen { cost: Cost::bytes(walks), is_whole: true })
    });
    assert_eq!((walks, storage.left().unwrap()), (2, Some(LIMIT - 2)));
    // The walk ends even if the moves continue.
    let mut walks = 0;
    usage.walk(|| {
        walks += 1;
        to_and_fro();
        Some(Seen { cost: Cost::bytes(1_000), is_whole: true })
    });
    assert_eq!((walks, storage.left().unwrap()), (3, Some(LIMIT - 2)));
    // The result of an incomplete walk is ignored.
    usage.walk(|| None);
    assert_eq!(storage.left().unwrap(), Some(LIMIT - 2));
}

#[test]
fn a_count_of_the_whole_tree_warns_of_nothing() {
    let tree = Tree::new();
    fs::create_dir(tree.root.join("d")).unwrap();
    tree.put("d/a", [b'a'; 100]);
    let storage = tree.storage();
    // A walk ends early if nothing else uses the root.
    let root = Arc::clone(&storage.files.root);
    let warned = messages::of(log::Level::Warn, || {
        let seen = sweep::count(&root).unwrap();
        assert!(seen.is_whole && seen.cost == tree.cost());
    });
    assert_eq!(warned, Vec::<String>::new());
}

#[test]
fn nobody_waits_for_a_count_who_can_do_without_hp_23() {
    const LIMIT: u64 = 10_000;
    let tree = Tree::new();
    tree.put("a", [b'a'; 100]);
    let storage = tree.storage().with(|config| config.quota = LIMIT);
    let usage = storage.files.root.usage();
    // An append runs during the walk, so the count is uncertain.
    let upload = storage.write(&path("a"), WriteMode::Append).unwrap();
    usage.forget();
    tree.check(&storage, LIMIT, "before");
    drop(upload);
    // Simulates a count that never ends.
    usage.seem_to_count(true);
    assert_eq!(storage.left().unwrap(), Some(LIMIT - 100));
    store(&storage, "b", WriteMode::Create, 100).unwrap();
    storage.rename(&path("b"), &path("c"), true).unwrap();
    storage.remove(&path("c")).unwrap();
    usage.forget();
    store(&storage.clone().with(|config| config.quota = 0), "b", WriteMode::Create, 100).unwrap();
    storage.rename(&path("b"), &path("c"), true).unwrap();
    storage.remove(&path("c")).unwrap();
    // A call that needs the count waits until the count is complete.
    thread::scope(|scope| {
        let waits = scope.spawn(|| storage.left());
        thread::sleep(Duration::from_millis(50));
        assert!(!waits.is_finished());
        usage.seem_to_count(false);
        assert_eq!(waits.join().unwrap().unwrap(), Some(LIMIT - 100));
    });
}

#[test]
fn an_upload_waits_for_a_count_step_by_step_hp_23_cm_105() {
    const LIMIT: u64 = 10_000;
    let tree = Tree::new();
    tree.put("old", [b'o'; 400]);
    let storage = tree.storage().with(|config| config.quota = LIMIT);
    let usage = storage.files.root.usage();
    let begin = |name: &str, mode| {
        usage.forget();
        usage.seem_to_count(true);
        let mut upload = storage.write_as(&path(name), mode, b"ann").unwrap();
        // The session can check on its client in between.
        assert!(!upload.prepare().unwrap(), "{name}");
        assert!(!upload.prepare().unwrap(), "{name}");
        upload
    };
    // Errors that do not depend on the count are reported at once.
    usage.seem_to_count(true);
    let missing = storage.write(&path("no/where"), WriteMode::Create);
    assert_eq!(kind(missing), Some(StorageErrorKind::NotFound));
    // After an abort, no file was created.
    begin("new", WriteMode::Create).abort(StreamEnd::Abort);
    drop(begin("old", WriteMode::Append));
    assert_eq!(tree.names(""), ["old"]);
    // The upload then works as without the wait.
    for (name, mode, length) in [
        ("new", WriteMode::Create, 100),
        ("old", WriteMode::Append, 100),
        ("old", WriteMode::From(50), 10),
        ("old", WriteMode::Replace, 300),
    ] {
        let mut upload = begin(name, mode);
        usage.seem_to_count(false);
        while !upload.prepare().unwrap() {}
        upload.write_all(&vec![b'n'; length]).unwrap();
        upload.commit().unwrap();
        tree.check(&storage, LIMIT, &format!("{mode:?}"));
    }
    assert_eq!(tree.get("old").len(), 300);
    // Without `prepare`, the upload waits in its first write, or at its end.
    let mut upload = begin("new", WriteMode::Append);
    usage.seem_to_count(false);
    upload.write_all(b"more").unwrap();
    upload.commit().unwrap();
    let upload = begin("empty", WriteMode::Create);
    usage.seem_to_count(false);
    upload.commit().unwrap();
    assert_eq!((tree.get("new").len(), tree.get("empty").len()), (104, 0));
    // The upload is refused if no quota is left or the name was taken in the meantime.
    let mut upload = begin("taken", WriteMode::Create);
    tree.put("taken", [b't'; 10]);
    usage.seem_to_count(false);
    let refused = std::iter::repeat_with(|| upload.prepare()).find_map(Result::err).unwrap();
    assert_eq!(refused.kind, StorageErrorKind::Exists);
    let mut upload = begin("beyond", WriteMode::Create);
    tree.put("much", [b'm'; 10_000]);
    usage.seem_to_count(false);
    let refused = std::iter::repeat_with(|| upload.prepare()).find_map(Result::err).unwrap();
    assert_eq!(refused.kind, StorageErrorKind::OverQuota);
    assert_eq!(tree.names(""), ["empty", "much", "new", "old", "taken"]);
}

impl Tree {
    /// Like [`bytes`](Self::bytes), but works while files are created and removed.
    fn bytes_of_what_is_there(&self) -> u64 {
        let entries = fs::read_dir(&self.root).unwrap().filter_map(Result::ok);
        entries.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
    }
}

#[test]
fn a_count_that_cannot_be_right_is_made_anew_hp_23() {
    const LIMIT: u64 = 10_000;
    let tree = Tree::new();
    tree.put("a", [b'a'; 1_000]);
    let free = tree.storage();
    let limited = tree.storage().with(|config| config.quota = LIMIT);
    // The count runs while a storage without a limit appends to a file in place.
    for end in [None, Some(StreamEnd::Cut)] {
        let mut upload = free.write(&path("a"), WriteMode::Append).unwrap();
        upload.write_all(&[b'a'; 300]).unwrap();
        limited.files.root.usage().forget();
        // The walk counts the appended bytes, and so does the writer: the count is too high rather
        // than too low.
        assert!(limited.left().unwrap().unwrap() <= LIMIT - tree.bytes());
        match end {
            None => upload.commit().unwrap(),
            Some(end) => upload.abort(end),
        }
        tree.check(&limited, LIMIT, "added to");
    }
    // The file is removed during an append.
    for adds in [true, false] {
        tree.put("b", [b'b'; 1_000]);
        limited.files.root.usage().forget();
        tree.check(&limited, LIMIT, "before");
        let mut other = limited.write(&path("other"), WriteMode::Create).unwrap();
        let mut upload = limited.write(&path("b"), WriteMode::Append).unwrap();
        upload.write_all(&[b'b'; 300]).unwrap();
        limited.remove(&path("b")).unwrap();
        match adds {
            true => assert!(upload.commit().is_err()),
            false => drop(upload),
        }
        // An upload that was running all the time may use only the bytes that are really left.
        let beyond = LIMIT - tree.bytes() + 1;
        let beyond = vec![b'o'; usize::try_from(beyond).unwrap()];
        let refused = other.write_all(&beyond).map_err(StorageError::from);
        assert_eq!(kind(refused), Some(StorageErrorKind::OverQuota));
        drop(other);
        tree.check(&limited, LIMIT, "removed meanwhile");
    }
    // Changes by other programs are counted once no storage holds the root any more.
    tree.put("c", [b'c'; 2_000]);
    assert_eq!(limited.left().unwrap().unwrap(), LIMIT - tree.bytes() + 2_000);
    // The counting thread must have dropped the root too.
    let usage = limited.files.root.usage();
    let root = &limited.files.root;
    while Arc::strong_count(usage) > 2 || Arc::strong_count(root) > 1 {
        thread::yield_now();
    }
    drop((free, limited));
    tree.check(&tree.storage().with(|config| config.quota = LIMIT), LIMIT, "opened anew");
}

#[test]
fn the_sweeper_gives_back_what_it_removes_hp_23_fs_14() {
    const LIMIT: u64 = 10_000;
    let tree = Tree::new();
    let storage = tree.storage().with(|config| config.quota = LIMIT);
    cut(&storage, "f", WriteMode::Replace, 900);
    tree.check(&storage, LIMIT, "kept");
    storage.files.root.usage().forget();
    tree.check(&storage, LIMIT, "kept, and counted anew");
    let kept = tree.root.join(&tree.names("")[0]);
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(25 * 60 * 60);
    fs::File::options().write(true).open(kept).unwrap().set_modified(long_ago).unwrap();
    tree.storage().tidy_up();
    assert!(tree.names("").is_empty());
    assert_eq!(storage.left().unwrap(), Some(LIMIT));
}

#[test]
fn files_with_several_names_are_left_alone_if_that_is_wanted_hp_08() {
    let tree = Tree::new();
    fs::hard_link(tree.outside.join("secret"), tree.root.join("f")).unwrap();
    tree.put("plain", b"plain");
    fs::create_dir(tree.root.join("d")).unwrap();
    for storage in tree.storages() {
        let denies = storage.clone().with(|config| config.deny_hardlinks = true);
        let append = [WriteMode::Append, WriteMode::From(6)];
        assert_eq!(kind(denies.read(&path("f"))), Some(StorageErrorKind::Denied));
        for mode in append.into_iter().chain([WriteMode::From(3)]) {
            let begun = denies.write(&path("f"), mode);
            assert_eq!(kind(begun), Some(StorageErrorKind::Denied), "{mode:?}");
        }
        assert_eq!(kind(denies.chmod(&path("f"), 0o666)), Some(StorageErrorKind::Denied));
        assert_eq!(kind(denies.set_times(&path("f"), 0)), Some(StorageErrorKind::Denied));
        assert_eq!(kind(denies.chmod(&path("d"), 0o755)), None);
        assert_eq!(kind(denies.read(&path("plain"))), None);
        assert_eq!(kind(storage.read(&path("f"))), None);
        for mode in append {
            drop(storage.write(&path("f"), mode).unwrap());
        }
        assert_eq!(tree.get("f"), b"secret");
    }
    // A replaced file is not read.
    store(&tree.storage().with(|config| config.deny_hardlinks = true), "f", WriteMode::Replace, 3)
        .unwrap();
    assert_eq!(fs::read(tree.outside.join("secret")).unwrap(), b"secret");
    assert_eq!(tree.get("f"), b"nnn");
}
