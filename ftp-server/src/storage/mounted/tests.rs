use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;

use super::*;
use crate::forward_storage;
use crate::storage::{
    ConfinementPolicy, Fault, FaultStorage, LocalConfig, LocalStorage, MemoryStorage, StorageCall,
};

fn path(text: &str) -> VirtualPath {
    text.into()
}

fn kind<T>(result: StorageResult<T>) -> Option<Kind> {
    result.err().map(|error| error.kind)
}

fn names(storage: &dyn Storage, directory: &str) -> Vec<String> {
    let text = |name: Vec<u8>| String::from_utf8(name).unwrap();
    let names =
        storage.list(&path(directory), Ask::Names).unwrap().map(|entry| text(entry.unwrap().name));
    let mut names: Vec<_> = names.collect();
    let entries =
        storage.list(&path(directory), Ask::Facts).unwrap().map(|entry| text(entry.unwrap().name));
    let mut entries: Vec<_> = entries.collect();
    names.sort();
    entries.sort();
    assert_eq!(names, entries, "{directory}");
    names
}

fn store(storage: &dyn Storage, name: &str) -> StorageResult<()> {
    let mut upload = storage.write(&path(name), WriteMode::Replace, Keep::Bytes(b"ann"))?;
    upload.write_all(name.as_bytes())?;
    upload.commit()
}

/// The storages of a tree, in order: at `/`, at `/pub`, and at both `/pub/in` and `/x/y/deep`.
struct Storages {
    own: MemoryStorage,
    shared: MemoryStorage,
    third: MemoryStorage,
}

impl Storages {
    fn new() -> Self {
        let [own, shared, third] = [(); 3].map(|()| MemoryStorage::new());
        own.put("/own", "own").unwrap();
        own.put("/pub/hidden", "hidden").unwrap();
        own.put("/x/file", "file").unwrap();
        shared.put("/a", "shared").unwrap();
        shared.put("/d/b", "b").unwrap();
        third.put("/c", "third").unwrap();
        Self { own, shared, third }
    }

    /// Returns the tree, with `/gone` and `/far/off` unavailable.
    fn tree(&self) -> MountedStorage {
        MountedStorage::new(self.own.clone())
            .mount("/pub", self.shared.clone())
            .and_then(|tree| tree.mount("/x/y/deep", self.third.clone()))
            .and_then(|tree| tree.mount("/pub/in", self.third.clone()))
            .and_then(|tree| tree.unavailable("/gone"))
            .and_then(|tree| tree.unavailable("/far/off"))
            .unwrap()
    }
}

#[test]
fn paths_lead_to_the_storage_of_the_longest_mount_point() {
    let tree = Storages::new().tree();
    for (directory, want) in [
        ("/", &["far", "gone", "own", "pub", "x"][..]),
        ("/pub", &["a", "d", "in"]),
        ("/pub/d", &["b"]),
        ("/pub/in", &["c"]),
        ("/x", &["file", "y"]),
        ("/x/y", &["deep"]),
        ("/x/y/deep", &["c"]),
        ("/far", &["off"]),
    ] {
        assert_eq!(names(&tree, directory), want, "{directory}");
        tree.stat(&path(directory), Ask::Directory).unwrap();
        assert_eq!(tree.stat(&path(directory), Ask::Facts).unwrap().kind, EntryKind::Directory);
    }
    for (file, size) in [("/own", 3), ("/pub/a", 6), ("/pub/in/c", 5), ("/x/y/deep/c", 5)] {
        assert_eq!(tree.stat(&path(file), Ask::Facts).unwrap().size, size);
        assert_eq!(tree.read(&path(file)).unwrap().size(), size);
    }
    assert_eq!(kind(tree.stat(&path("/pub/hidden"), Ask::Facts)), Some(Kind::NotFound));
    assert_eq!(kind(tree.stat(&path("/publ"), Ask::Facts)), Some(Kind::NotFound));
    let identity = |place: &str| tree.stat(&path(place), Ask::Facts).unwrap().identity;
    assert_ne!(identity("/x/y"), identity("/gone"));
    assert_ne!(identity("/far"), identity("/far/off"));
}

#[test]
fn an_unavailable_mount_is_listed_and_fails() {
    let tree = Storages::new().tree();
    for mount in ["/gone", "/far/off"] {
        let shown = tree.stat(&path(mount), Ask::Facts).unwrap();
        assert_eq!(shown.kind, EntryKind::Directory);
        assert_eq!((shown.is_fixed, shown.directory_use), (true, DirectoryUse::Unavailable));
        let below = path(mount).join(b"file");
        for (what, refused) in [
            ("check", kind(tree.stat(&path(mount), Ask::Directory))),
            ("list", kind(tree.list(&path(mount), Ask::Facts))),
            ("names", kind(tree.list(&path(mount), Ask::Names))),
            ("stat", kind(tree.stat(&below, Ask::Facts))),
            ("read", kind(tree.read(&below))),
            ("write", kind(tree.write(&below, WriteMode::Replace, Keep::Shared))),
            ("mkdir", kind(tree.mkdir(&below))),
            ("remove", kind(tree.remove(&below))),
            ("rename", kind(tree.rename(&path("/own"), &below, true))),
            ("space", kind(tree.space(&path(mount), RoomFor::More(0)))),
        ] {
            assert_eq!(refused, Some(Kind::Unavailable), "{mount} {what}");
        }
    }
}

#[test]
fn a_mount_that_cannot_be_examined_is_listed_without_operations() {
    for fault in [Kind::Io, Kind::Busy, Kind::Unavailable] {
        let far = FaultStorage::new(MemoryStorage::new());
        let far = far.from(StorageCall::Stat, 1, Fault::Fail(fault));
        let tree = MountedStorage::new(MemoryStorage::new()).mount("/far/in", far).unwrap();
        for (directory, want) in [("/", DirectoryUse::Browse), ("/far", DirectoryUse::Unavailable)]
        {
            let shown =
                tree.list(&path(directory), Ask::Facts).unwrap().next().unwrap().unwrap().metadata;
            assert!(shown.is_fixed);
            assert_eq!(shown.directory_use, want, "{directory} {fault:?}");
        }
    }
}

#[test]
fn an_unreadable_directory_above_a_mount_fails_and_is_not_empty() {
    let own = MemoryStorage::new();
    own.put("/a/file", "file").unwrap();
    for fault in [Kind::Denied, Kind::Io, Kind::Unavailable, Kind::Busy] {
        let faulty = FaultStorage::new(own.clone()).from(StorageCall::Stat, 1, Fault::Fail(fault));
        let tree = MountedStorage::new(faulty)
            .mount("/a/b", MemoryStorage::new())
            .and_then(|tree| tree.unavailable("/gone"))
            .and_then(|tree| tree.mount("/gone/more/inner", MemoryStorage::new()))
            .unwrap();
        for (place, want) in [("/a", fault), ("/gone/more", Kind::Unavailable)] {
            for (what, refused) in [
                ("stat", kind(tree.stat(&path(place), Ask::Facts))),
                ("check", kind(tree.stat(&path(place), Ask::Directory))),
                ("list", kind(tree.list(&path(place), Ask::Facts))),
                ("names", kind(tree.list(&path(place), Ask::Names))),
                ("read", kind(tree.read(&path(place)))),
                ("space", kind(tree.space(&path(place), RoomFor::More(0)))),
            ] {
                assert_eq!(refused, Some(want), "{place} {what}");
            }
        }
        // Mounts below these directories still work.
        for mount in ["/a/b", "/gone/more/inner"] {
            store(&tree, &format!("{mount}/new")).unwrap();
            assert_eq!(names(&tree, mount), ["new"]);
        }
    }
}

#[test]
fn mount_points_cannot_be_removed_or_crossed_by_renames() {
    let storages = Storages::new();
    let tree = storages.tree();
    let rename = |from: &str, to: &str| kind(tree.rename(&path(from), &path(to), true));
    for (what, refused, want) in [
        ("remove /pub", kind(tree.remove(&path("/pub"))), Kind::IsDirectory),
        ("rmdir /pub", kind(tree.rmdir(&path("/pub"))), Kind::Denied),
        ("rmdir /gone", kind(tree.rmdir(&path("/gone"))), Kind::Denied),
        ("rmdir /x", kind(tree.rmdir(&path("/x"))), Kind::NotEmpty),
        ("rmdir /x/y", kind(tree.rmdir(&path("/x/y"))), Kind::NotEmpty),
        ("mkdir /pub", kind(tree.mkdir(&path("/pub"))), Kind::Exists),
        ("mkdir /x/y", kind(tree.mkdir(&path("/x/y"))), Kind::Exists),
        ("mkdir /gone", kind(tree.mkdir(&path("/gone"))), Kind::Exists),
        ("store /pub", kind(store(&tree, "/pub")), Kind::IsDirectory),
        ("store /far", kind(store(&tree, "/far")), Kind::IsDirectory),
        ("store /far/new", kind(store(&tree, "/far/new")), Kind::Denied),
        ("mkdir /x/y/new", kind(tree.mkdir(&path("/x/y/new"))), Kind::Denied),
        ("read /far", kind(tree.read(&path("/far"))), Kind::IsDirectory),
        ("chmod /far", kind(tree.set(&path("/far"), Change::Mode(0o700))), Kind::Denied),
    ] {
        assert_eq!(refused, Some(want), "{what}");
    }
    for (from, to, want) in [
        ("/pub", "/p", Kind::Denied),
        ("/x", "/z", Kind::Denied),
        ("/gone", "/z", Kind::Denied),
        ("/own", "/pub", Kind::IsDirectory),
        ("/own", "/far", Kind::IsDirectory),
        ("/own", "/pub/own", Kind::CrossesMounts),
        ("/pub/a", "/a", Kind::CrossesMounts),
        ("/pub/a", "/pub/in/a", Kind::CrossesMounts),
        ("/pub/in/c", "/x/y/deep/e", Kind::CrossesMounts),
        ("/own", "/x/y/own", Kind::Denied),
        ("/x/file", "/x/y/file", Kind::Denied),
    ] {
        assert_eq!(rename(from, to), Some(want), "{from} {to}");
    }
    for (directory, want) in [("/", 4), ("/pub", 1), ("/x", 1), ("/x/y", 1), ("/pub/in", 0)] {
        let entries = tree.list(&path(directory), Ask::Facts).unwrap();
        let fixed = entries.filter(|entry| entry.as_ref().unwrap().metadata.is_fixed).count();
        assert_eq!(fixed, want, "{directory}");
    }
    // Within one storage, renames and uploads work.
    assert_eq!(rename("/pub/a", "/pub/d/a"), None);
    store(&tree, "/pub/in/new").unwrap();
    assert_eq!(storages.third.get("/new").as_deref(), Some(&b"/pub/in/new"[..]));
    assert_eq!(rename("/pub/in/new", "/pub/in/c"), None);
    store(&tree, "/x/new").unwrap();
    tree.mkdir(&path("/pub/e")).unwrap();
    tree.rmdir(&path("/pub/e")).unwrap();
    tree.remove(&path("/pub/d/a")).unwrap();
    assert_eq!(storages.own.get("/pub/hidden").as_deref(), Some(&b"hidden"[..]));
    assert_eq!(storages.shared.files(), [path("/d/b")]);
}

#[test]
fn mount_points_must_be_unique_and_not_the_root() {
    let storages = Storages::new();
    let new = |place: &str| storages.tree().mount(place, MemoryStorage::new());
    assert_eq!(kind(new("/")), Some(Kind::Denied));
    assert_eq!(kind(new("/a/..")), Some(Kind::Denied));
    assert_eq!(kind(new("/pub")), Some(Kind::Exists));
    assert_eq!(kind(new("gone/")), Some(Kind::Exists));
    assert_eq!(kind(new(&"/a".repeat(200))), Some(Kind::NameNotAllowed));
    assert_eq!(kind(new("/pub/in/c")), None);
}

#[test]
fn each_storage_has_its_own_partial_uploads_and_space() {
    let shared = MemoryStorage::limited(1_000_000);
    let tree = MountedStorage::new(MemoryStorage::new()).mount("/pub", shared.clone()).unwrap();
    let mut upload = tree.write(&path("/pub/f"), WriteMode::Replace, Keep::Bytes(b"ann")).unwrap();
    upload.write_all(b"0123456789").unwrap();
    drop(upload);
    let kept = |storage: &dyn Storage, name: &str| {
        storage.unfinished(&path(name), Some(b"ann")).unwrap().map(|found| found.kept)
    };
    assert_eq!(kept(&tree, "/pub/f"), Some(10));
    assert_eq!(kept(&shared, "/f"), Some(10));
    assert_eq!(kept(&tree, "/f"), None);
    assert_eq!(tree.forget(&path("/f"), Some(b"ann")).unwrap(), None);
    let mut upload =
        tree.write(&path("/pub/f"), WriteMode::Resume(9), Keep::Bytes(b"ann")).unwrap();
    upload.write_all(b"9").unwrap();
    upload.commit().unwrap();
    assert_eq!(shared.get("/f").as_deref(), Some(&b"0123456789"[..]));
    drop(tree.write(&path("/pub/f"), WriteMode::Replace, Keep::Bytes(b"ann")).unwrap());
    assert!(tree.forget(&path("/pub/f"), Some(b"ann")).unwrap().is_some());
    assert_eq!(kept(&shared, "/f"), None);
    assert!(tree.space(&path("/pub"), RoomFor::More(0)).unwrap().free.unwrap() < 1_000_000);
    assert!(tree.space(&path("/"), RoomFor::More(0)).unwrap().free.unwrap() > 1_000_000);
}

/// Directories on disk: `own`, `shared`, and `secret` outside of both.
fn directories() -> tempfile::TempDir {
    let top = tempfile::tempdir().unwrap();
    for directory in ["own", "shared", "secret"] {
        fs::create_dir(top.path().join(directory)).unwrap();
        fs::write(top.path().join(directory).join("file"), directory).unwrap();
    }
    symlink("../shared", top.path().join("own/link")).unwrap();
    symlink("../secret/file", top.path().join("shared/out")).unwrap();
    symlink("file", top.path().join("shared/in")).unwrap();
    top
}

/// A storage that may need any directory; it forwards the required methods.
struct Anywhere(Box<dyn Storage>);

impl Storage for Anywhere {
    forward_storage!(self, self.0; capabilities, stat, list, read, write);
    forward_storage!(self, self.0; unfinished, kept, forget, space);

    fn confine(&self) -> Confine<'_> {
        Confine::No
    }
}

#[test]
fn a_session_is_confined_to_all_its_roots_hp_02_hp_06() {
    let top = directories();
    let top = top.path();
    let local = |name: &str, confine| {
        let config = LocalConfig::new().confine(confine);
        LocalStorage::open(top.join(name)).unwrap().configured(config).unwrap()
    };
    for confine in [ConfinementPolicy::BestEffort, ConfinementPolicy::Off] {
        let own = local("own", confine);
        let is_confined = own.confinement_status().landlock.is_some();
        assert!(!is_confined || confine == ConfinementPolicy::BestEffort);
        let tree = MountedStorage::new(own)
            .mount("/pub", local("shared", confine))
            .and_then(|tree| tree.mount("/memory", MemoryStorage::new()))
            .unwrap();
        std::thread::scope(|scope| {
            let session = scope.spawn(|| {
                let tree: Arc<dyn Storage> = Arc::new(tree.clone());
                crate::storage::confine(&tree).unwrap();
                for file in ["/file", "/pub/file", "/pub/in"] {
                    assert!(tree.read(&path(file)).is_ok(), "{file}");
                }
                for file in ["/new", "/pub/new", "/memory/new"] {
                    store(&tree, file).unwrap();
                }
                assert_eq!(kind(tree.read(&path("/link/file"))), Some(Kind::Denied));
                assert_eq!(kind(tree.read(&path("/pub/out"))), Some(Kind::Denied));
                let outside = fs::read(top.join("secret/file"));
                assert_eq!(outside.is_err(), is_confined, "{confine:?}");
                assert!(fs::read(top.join("shared/file")).is_ok());
            });
            session.join().unwrap();
        });
    }
    // The thread is not confined if one of the storages may need other directories, even if another
    // storage would confine the thread.
    let confine = ConfinementPolicy::BestEffort;
    let of_anything = MountedStorage::new(local("own", confine))
        .mount("/pub", Anywhere(Box::new(MemoryStorage::new())));
    let of_wrapper = MountedStorage::new(Anywhere(Box::new(local("own", confine))))
        .mount("/pub", local("shared", confine));
    for tree in [of_anything.unwrap(), of_wrapper.unwrap()] {
        std::thread::scope(|scope| {
            let session = scope.spawn(|| {
                let tree: Arc<dyn Storage> = Arc::new(tree.clone());
                crate::storage::confine(&tree).unwrap();
                assert!(fs::read(top.join("secret/file")).is_ok());
                assert!(tree.read(&path("/file")).is_ok());
                store(&tree, "/pub/new").unwrap();
            });
            session.join().unwrap();
        });
    }
}

#[test]
fn a_directory_above_a_mount_can_be_entered_whatever_the_link_that_it_hides() {
    let root = tempfile::tempdir().unwrap();
    symlink("/etc", root.path().join("team")).unwrap();
    symlink("/nowhere", root.path().join("gone")).unwrap();
    let mut tree = MountedStorage::new(LocalStorage::open(root.path()).unwrap());
    for mount in ["/team/pub", "/gone/pub"] {
        tree = tree.mount(mount, MemoryStorage::new()).unwrap();
    }
    for directory in ["/team", "/gone"] {
        for ask in [Ask::Facts, Ask::Directory] {
            let found = tree.stat(&path(directory), ask).unwrap();
            assert_eq!(found.kind, EntryKind::Directory, "{directory} {ask:?}");
        }
    }
}
