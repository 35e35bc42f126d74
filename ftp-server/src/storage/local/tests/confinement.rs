//! No path leads out of the root.

use std::sync::atomic::AtomicBool;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::StorageErrorKind::{Denied, Exists, IsDirectory, NameNotAllowed, NotFile, NotFound};
use super::*;

/// Checks that every call for a name below `way`, which leads out of the root, is denied.
fn assert_everything_is_denied(storage: &LocalStorage, way: &str) {
    let secret = path(way).join(b"secret");
    let new = path(way).join(b"new");
    assert_eq!(kind(storage.stat(&secret, Ask::Facts)), Some(Denied), "stat {way}");
    assert_eq!(kind(storage.list(&path(way), Ask::Facts)), Some(Denied), "list {way}");
    assert_eq!(kind(storage.read(&secret)), Some(Denied), "read {way}");
    for mode in [
        WriteMode::Create,
        WriteMode::Replace,
        WriteMode::Append,
        WriteMode::From(0),
        WriteMode::From(6),
    ] {
        assert_eq!(
            kind(storage.write(&secret, mode, Keep::Shared)),
            Some(Denied),
            "{mode:?} {way}"
        );
        assert_eq!(kind(storage.write(&new, mode, Keep::Shared)), Some(Denied), "{mode:?} {way}");
    }
    assert_eq!(kind(storage.remove(&secret)), Some(Denied), "remove {way}");
    assert_eq!(kind(storage.rmdir(&secret)), Some(Denied), "rmdir {way}");
    assert_eq!(kind(storage.mkdir(&new)), Some(Denied), "mkdir {way}");
    assert_eq!(kind(storage.set(&secret, Change::Modified(0))), Some(Denied), "set {way}");
    assert_eq!(kind(storage.set(&secret, Change::Mode(0o600))), Some(Denied), "chmod {way}");
    assert_eq!(kind(storage.space(&path(way), RoomFor::More(0))), Some(Denied), "space {way}");
    assert_eq!(kind(storage.rename(&secret, &path("x"), true)), Some(Denied), "rename {way}");
    assert_eq!(kind(storage.rename(&path("f"), &new, true)), Some(Denied), "rename {way}");
}

#[test]
fn symlinks_out_of_the_root_are_refused_fs_04_hp_02() {
    let tree = Tree::new();
    tree.put("f", "f");
    fs::create_dir(tree.root.join("d")).unwrap();
    let outside = tree.outside.clone();
    tree.link(&outside, "absolute");
    tree.link("../outside", "relative");
    tree.link("relative", "twice");
    tree.link("../../outside", "d/below");
    tree.link("d/../../outside", "around");
    for storage in tree.storages() {
        for way in ["absolute", "relative", "twice", "d/below", "around"] {
            assert_everything_is_denied(&storage, way);
            assert_eq!(
                storage.stat(&path(way), Ask::Facts).unwrap().kind,
                EntryKind::Symlink,
                "{way}"
            );
        }
    }
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    assert_eq!(fs::read(outside.join("secret")).unwrap(), b"secret");
}

#[test]
fn a_link_to_a_file_outside_is_neither_read_nor_changed_hp_02_cm_140() {
    let tree = Tree::new();
    tree.link("../outside/secret", "relative");
    tree.link(tree.outside.join("secret"), "absolute");
    tree.link("../outside/new", "dangling");
    tree.link("..", "up");
    for storage in tree.storages() {
        for name in ["relative", "absolute", "dangling", "up"] {
            assert_eq!(kind(storage.read(&path(name))), Some(Denied), "{name}");
            for mode in [WriteMode::Replace, WriteMode::Append, WriteMode::From(6)] {
                assert_eq!(
                    kind(storage.write(&path(name), mode, Keep::Shared)),
                    Some(Denied),
                    "{name}"
                );
            }
            let refused = kind(storage.write(&path(name), WriteMode::Create, Keep::Shared));
            assert_eq!(refused, Some(Exists), "{name}");
            assert_eq!(kind(storage.mkdir(&path(name))), Some(Exists), "{name}");
            assert_eq!(kind(storage.set(&path(name), Change::Modified(0))), Some(Denied), "{name}");
            assert_eq!(kind(storage.set(&path(name), Change::Mode(0o600))), Some(Denied), "{name}");
            assert_eq!(
                storage.stat(&path(name), Ask::Facts).unwrap().kind,
                EntryKind::Symlink,
                "{name}"
            );
        }
        let kinds = list(&storage, "/").into_iter().map(|(_name, metadata)| metadata.kind);
        assert_eq!(kinds.collect::<Vec<_>>(), [EntryKind::Symlink; 4]);
    }
    // The link itself can be removed: it is a name in the tree.
    let storage = tree.storage();
    storage.rename(&path("absolute"), &path("moved"), false).unwrap();
    storage.remove(&path("moved")).unwrap();
    storage.remove(&path("relative")).unwrap();
    assert_eq!(fs::read_dir(&tree.outside).unwrap().count(), 1);
    assert_eq!(fs::read(tree.outside.join("secret")).unwrap(), b"secret");
}

#[test]
fn the_text_of_a_link_is_told_only_if_it_stays_in_the_tree_ls_13_ls_22() {
    let tree = Tree::new();
    fs::create_dir(tree.root.join("d")).unwrap();
    tree.put("f", "f");
    let back = format!("../{}/f", tree.root.file_name().unwrap().to_str().unwrap());
    let links: [(&str, &str, Option<&str>); 6] = [
        ("f", "file", Some("f")),
        ("../d", "d/directory", Some("../d")),
        ("file", "twice", Some("file")),
        ("nowhere", "dangling", None),
        ("../outside/secret", "out", None),
        (&back, "back", None),
    ];
    links.iter().for_each(|(text, name, _)| tree.link(text, name));
    for storage in tree.storages() {
        for (_, name, want) in links {
            let link = path(name);
            let mut listed = storage.list(&link.parent().unwrap(), Ask::Facts).unwrap();
            let entry = listed
                .find_map(|entry| entry.ok().filter(|entry| Some(&*entry.name) == link.name()));
            let told = entry.unwrap().link.map(|text| String::from_utf8(text).unwrap());
            assert_eq!(told.as_deref(), want, "{name}");
        }
    }
}

#[test]
fn dot_components_in_a_storage_path_are_refused_hp_01() {
    let tree = Tree::new();
    tree.put("f", "f");
    for storage in tree.storages() {
        for name in ["../outside/secret", "..", ".", "a/../../outside/secret", "f\0"] {
            let path = path(name);
            assert_eq!(kind(storage.stat(&path, Ask::Facts)), Some(NotFound), "{name}");
            assert_eq!(kind(storage.list(&path, Ask::Facts)), Some(NotFound), "{name}");
            assert_eq!(kind(storage.read(&path)), Some(NotFound), "{name}");
            assert_eq!(kind(storage.remove(&path)), Some(NotFound), "{name}");
            assert_eq!(kind(storage.rmdir(&path)), Some(NotFound), "{name}");
            assert_eq!(kind(storage.rename(&path, &super::path("x"), true)), Some(NotFound));
            assert_eq!(kind(storage.mkdir(&path)), Some(NameNotAllowed), "{name}");
            let written = storage.write(&path, WriteMode::Replace, Keep::Shared);
            assert_eq!(kind(written), Some(NameNotAllowed), "{name}");
            let renamed = storage.rename(&super::path("f"), &path, true);
            assert_eq!(kind(renamed), Some(NameNotAllowed), "{name}");
        }
    }
    assert_eq!(tree.names(""), ["f"]);
}

#[test]
fn links_that_stay_in_the_tree_are_followed() {
    let tree = Tree::new();
    fs::create_dir_all(tree.root.join("d/e")).unwrap();
    tree.put("d/f", "content");
    tree.link("d/f", "to-file");
    tree.link("d", "to-directory");
    tree.link("../f", "d/e/up");
    tree.link("nowhere", "dangling");
    tree.link("loop", "loop");
    for storage in tree.storages() {
        let file = storage.stat(&path("d/f"), Ask::Facts).unwrap();
        for name in ["to-file", "to-directory/f", "d/e/up", "to-directory/e/up"] {
            assert_eq!(storage.stat(&path(name), Ask::Facts).unwrap(), file, "{name}");
            assert_eq!(read(&storage, name).unwrap(), b"content", "{name}");
        }
        for (name, kind) in [
            ("to-directory", EntryKind::Directory),
            ("dangling", EntryKind::Symlink),
            ("loop", EntryKind::Symlink),
        ] {
            assert_eq!(storage.stat(&path(name), Ask::Facts).unwrap().kind, kind, "{name}");
        }
        assert_eq!(kind(storage.read(&path("dangling"))), Some(NotFound));
        assert_eq!(kind(storage.read(&path("loop"))), Some(Denied));
        assert_eq!(kind(storage.stat(&path("loop/x"), Ask::Facts)), Some(Denied));
        let shown = list(&storage, "/").into_iter().map(|(_name, metadata)| metadata.kind);
        let want = [
            EntryKind::Directory,
            EntryKind::Symlink,
            EntryKind::Symlink,
            EntryKind::Directory,
            EntryKind::File,
        ];
        assert_eq!(shown.collect::<Vec<_>>(), want);
        for (name, metadata) in list(&storage, "to-directory/e") {
            assert_eq!((name.as_slice(), metadata), (&b"up"[..], file));
        }
    }
}

#[test]
fn uploads_through_symlinks_write_to_the_target() {
    let tree = Tree::new();
    fs::create_dir_all(tree.root.join("d/e")).unwrap();
    tree.put("d/f", "old");
    tree.link("e/../f", "d/first");
    tree.link("d/first", "second");
    tree.link("d/e", "directory");
    tree.link("d/e/..", "dots");
    tree.link("d/new", "dangling");
    tree.link("missing/new", "lost");
    tree.link("d/.ftp-upload-1", "hidden");
    tree.link("loop", "loop");
    for storage in tree.storages() {
        upload(&storage, "second", WriteMode::Replace, b"new");
        assert_eq!(tree.get("d/f"), b"new");
        upload(&storage, "second", WriteMode::Append, b"er");
        assert_eq!(tree.get("d/f"), b"newer");
        upload(&storage, "second", WriteMode::From(3), b"s");
        assert_eq!(tree.get("d/f"), b"news");
        upload(&storage, "dangling", WriteMode::Replace, b"made");
        assert_eq!(tree.get("d/new"), b"made");
        for (name, want) in [
            ("directory", IsDirectory),
            ("dots", IsDirectory),
            ("lost", NotFound),
            ("hidden", NameNotAllowed),
            ("loop", Denied),
        ] {
            assert_eq!(
                kind(storage.write(&path(name), WriteMode::Replace, Keep::Shared)),
                Some(want),
                "{name}"
            );
        }
    }
    assert!(fs::symlink_metadata(tree.root.join("second")).unwrap().is_symlink());
    assert_eq!(tree.names("d"), ["e", "f", "first", "new"]);
}

#[test]
fn procfs_magic_links_are_refused_hp_05() {
    let (pipe, _end) = std::io::pipe().unwrap();
    let pipe = format!("fd/{}", std::os::fd::AsRawFd::as_raw_fd(&pipe));
    for storage in [LocalStorage::open("/proc/self").unwrap(), deprived(Path::new("/proc/self"))] {
        for name in ["root/etc/passwd", "cwd/Cargo.toml", "exe", &pipe] {
            let read = kind(storage.read(&path(name)));
            // The text of the link to a pipe is the name of a missing file.
            let is_refused = |it| it == Some(Denied) || name == pipe && it == Some(NotFound);
            assert!(is_refused(read), "{name}: {read:?}");
            assert!(
                storage.write(&path(name), WriteMode::Replace, Keep::Shared).is_err(),
                "{name}"
            );
        }
        assert_eq!(kind(storage.list(&path("root"), Ask::Facts)), Some(Denied));
        assert_eq!(storage.stat(&path("root"), Ask::Facts).unwrap().kind, EntryKind::Symlink);
    }
}

#[test]
fn special_files_are_refused_without_blocking_fs_11_hp_07() {
    let tree = Tree::new();
    tree.fifo("fifo");
    let _listener = std::os::unix::net::UnixListener::bind(tree.root.join("socket")).unwrap();
    let begun = std::time::Instant::now();
    let devices = LocalStorage::open("/dev").unwrap();
    for (storage, name) in [
        (&tree.storage(), "fifo"),
        (&tree.storage(), "socket"),
        (&tree.deprived(), "fifo"),
        (&devices, "null"),
        (&devices, "zero"),
    ] {
        assert_eq!(kind(storage.read(&path(name))), Some(NotFile), "{name}");
        for mode in [WriteMode::Replace, WriteMode::Append, WriteMode::From(0)] {
            assert_eq!(
                kind(storage.write(&path(name), mode, Keep::Shared)),
                Some(NotFile),
                "{name}"
            );
        }
        assert_eq!(
            kind(storage.write(&path(name), WriteMode::Create, Keep::Shared)),
            Some(Exists),
            "{name}"
        );
        assert_eq!(
            storage.stat(&path(name), Ask::Facts).unwrap().kind,
            EntryKind::Special,
            "{name}"
        );
        assert_eq!(
            kind(storage.list(&path(name), Ask::Facts)),
            Some(StorageErrorKind::NotDirectory)
        );
    }
    let shown = list(&tree.storage(), "/");
    assert!(shown.iter().all(|(_name, metadata)| metadata.kind == EntryKind::Special));
    assert!(begun.elapsed().as_secs() < 60, "something waited for a FIFO");
    tree.storage().remove(&path("fifo")).unwrap();
}

#[test]
fn swapping_a_directory_for_a_symlink_exposes_nothing_outside_hp_03() {
    let tree = Tree::new();
    fs::create_dir(tree.root.join("d")).unwrap();
    tree.put("d/secret", "inside");
    tree.link("../outside", "other");
    let exchange = || {
        let (one, two) = (tree.root.join("d"), tree.root.join("other"));
        renameat_with(CWD, &one, CWD, &two, RenameFlags::EXCHANGE)
    };
    if exchange().is_err() {
        println!("skipped: names cannot be exchanged here");
        return;
    }
    let secret = identity(&tree.outside.join("secret"));
    for storage in [tree.storage(), tree.deprived()] {
        let done = AtomicBool::new(false);
        // Returns what escaped.
        let play = |round: usize| {
            if read(&storage, "d/secret").is_ok_and(|content| content != b"inside") {
                return Some("content");
            }
            let name = path(format!("d/{round}"));
            if let Ok(mut upload) = storage.write(&name, WriteMode::Replace, Keep::Shared) {
                let _ = upload.write_all(b"x").map_err(StorageError::from);
                let _ = upload.commit();
            }
            let _ = storage.mkdir(&path(format!("d/dir{round}")));
            let _ = storage.remove(&name);
            if storage
                .stat(&path("d/secret"), Ask::Facts)
                .is_ok_and(|metadata| metadata.identity == secret)
            {
                return Some("metadata");
            }
            let mut entries = storage.list(&path("d"), Ask::Facts).into_iter().flatten().flatten();
            entries.any(|entry| entry.metadata.identity == secret).then_some("entry")
        };
        let escaped = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    exchange().unwrap();
                }
            });
            let escaped = (0..400).find_map(play);
            done.store(true, Ordering::Relaxed);
            escaped
        });
        assert_eq!(escaped, None);
    }
    assert_eq!(fs::read_dir(&tree.outside).unwrap().count(), 1);
    assert_eq!(fs::read(tree.outside.join("secret")).unwrap(), b"secret");
}

fn identity(path: &Path) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::metadata(path).unwrap();
    (metadata.dev(), metadata.ino())
}

#[test]
fn an_upload_does_not_follow_its_directory_out_of_the_root_hp_04() {
    let tree = Tree::new();
    fs::create_dir_all(tree.root.join("a/b")).unwrap();
    let mut upload =
        tree.storage().write(&path("a/b/f"), WriteMode::Replace, Keep::Shared).unwrap();
    upload.write_all(b"x").unwrap();
    fs::rename(tree.root.join("a"), tree.outside.join("a")).unwrap();
    assert_eq!(kind(upload.commit()), Some(NotFound));
    assert_eq!(fs::read_dir(tree.outside.join("a/b")).unwrap().count(), 0);
}

#[test]
fn an_upload_follows_its_directory_within_the_root() {
    let tree = Tree::new();
    fs::create_dir_all(tree.root.join("a/b/c")).unwrap();
    fs::create_dir_all(tree.root.join("x/y/z")).unwrap();
    let storage = tree.storage();
    for (from, to) in [("a/b/c", "c"), ("c", "x/y/z/c"), ("x/y/z/c", "a/b/c")] {
        let mut upload =
            storage.write(&path(from).join(b"f"), WriteMode::Replace, Keep::Shared).unwrap();
        upload.write_all(from.as_bytes()).unwrap();
        storage.rename(&path(from), &path(to), false).unwrap();
        upload.commit().unwrap();
        assert_eq!(tree.get(&format!("{to}/f")), from.as_bytes());
    }
}
