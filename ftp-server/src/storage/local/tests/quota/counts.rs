//! Counts of a whole tree, and uploads that wait for one.

use super::*;

#[test]
fn files_moved_or_stored_during_a_count_are_counted_hp_23() {
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
            limited.left()
        });
        let counts: Vec<_> = counts.collect();
        // If a count fails, the other thread must end all the same.
        is_over.store(true, Ordering::SeqCst);
        counts.into_iter().map(|left| LIMIT - left.unwrap().unwrap_or(LIMIT)).min()
    });
    assert!(least >= Some(MOVED as u64 + REST), "{least:?}");
    limited.files.root.usage().forget();
    tree.check(&limited, LIMIT, "in the end");
}

#[test]
fn changes_that_a_walk_may_have_missed_are_recorded_hp_23() {
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
        assert_eq!(during(&|| store(&free, "c", WriteMode::Resume(50), 20).unwrap()), one(70));
        // The walk may have counted a removed file, so its cost is not subtracted.
        let remove = |name: &str| storage.remove(&path(name)).unwrap();
        assert_eq!(during(&|| ["e/a", "b", "c"].into_iter().for_each(remove)), none);
    }
}

#[test]
fn moving_a_directory_restarts_the_count_hp_23() {
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
fn operations_that_need_no_count_do_not_wait_for_it_hp_23() {
    const LIMIT: u64 = 10_000;
    let tree = Tree::new();
    tree.put("a", [b'a'; 100]);
    let storage = tree.storage().with(|config| config.quota = LIMIT);
    let usage = storage.files.root.usage();
    // An append runs during the walk, so the count is uncertain.
    let upload = storage.write(&path("a"), WriteMode::Append, Keep::Shared).unwrap();
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
fn an_upload_waits_for_a_count_hp_23_cm_105() {
    const LIMIT: u64 = 10_000;
    let tree = Tree::new();
    tree.put("old", [b'o'; 400]);
    let storage = tree.storage().with(|config| config.quota = LIMIT);
    let usage = storage.files.root.usage();
    let modes = [
        ("new", WriteMode::Create),
        ("old", WriteMode::Append),
        ("old", WriteMode::From(50)),
        ("old", WriteMode::Replace),
    ];
    usage.seem_to_count(true);
    // Errors that do not depend on the count are reported at once.
    let missing = storage.write(&path("no/where"), WriteMode::Create, Keep::Shared);
    assert_eq!(kind(missing), Some(StorageErrorKind::NotFound));
    for (name, mode) in modes {
        let busy = storage.write(&path(name), mode, Keep::Bytes(b"ann"));
        assert_eq!(kind(busy), Some(StorageErrorKind::Busy), "{name}");
    }
    assert_eq!(tree.names(""), ["old"], "nothing is left of them");
    for (name, mode) in modes {
        usage.forget();
        usage.seem_to_count(true);
        thread::scope(|scope| {
            let stored = scope.spawn(|| store(&storage, name, mode, 100));
            usage.seem_to_count(false);
            stored.join().unwrap().unwrap();
        });
        tree.check(&storage, LIMIT, &format!("{mode:?}"));
    }
}

#[test]
fn an_unreliable_count_is_repeated_hp_23() {
    const LIMIT: u64 = 10_000;
    let tree = Tree::new();
    tree.put("a", [b'a'; 1_000]);
    let free = tree.storage();
    let limited = tree.storage().with(|config| config.quota = LIMIT);
    // The count runs while a storage without a limit appends to a file in place.
    for end in [None, Some(StreamEnd::Cut)] {
        let mut upload = appends::in_place(&free, "a");
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
        let mut other = limited.write(&path("other"), WriteMode::Create, Keep::Shared).unwrap();
        let mut upload = appends::in_place(&limited, "b");
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
    tree.check(&tree.storage().with(|config| config.quota = LIMIT), LIMIT, "opened again");
}
