//! Existing objects, and the commands on them other than uploads.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::StorageErrorKind::{
    Denied, Exists, IsDirectory, NameNotAllowed, NotDirectory, NotEmpty, NotFile, NotFound,
    Unsupported,
};
use super::*;
use crate::forward_storage;

#[test]
fn the_root_must_be_a_directory_hp_26() {
    let tree = Tree::new();
    tree.put("f", "");
    assert_eq!(kind(LocalStorage::open(tree.root.join("missing"))), Some(NotFound));
    assert_eq!(kind(LocalStorage::open(tree.root.join("f"))), Some(NotDirectory));
    assert!(LocalStorage::open("").is_err());
}

#[test]
fn the_root_is_held_and_not_looked_up_again_fs_04() {
    let tree = Tree::new();
    tree.put("f", "content");
    let storage = tree.storage();
    fs::rename(&tree.root, tree.top.join("moved")).unwrap();
    std::os::unix::fs::symlink(&tree.outside, &tree.root).unwrap();
    assert_eq!(read(&storage, "f").unwrap(), b"content");
    assert_eq!(kind(storage.read(&path("secret"))), Some(NotFound));
    upload(&storage, "g", WriteMode::Create, b"g");
    assert!(tree.top.join("moved/g").exists());
}

#[test]
fn stat_matches_the_metadata_of_the_system() {
    let tree = Tree::new();
    tree.put("f", "12345");
    fs::create_dir(tree.root.join("d")).unwrap();
    fs::hard_link(tree.root.join("f"), tree.root.join("g")).unwrap();
    let mode = fs::Permissions::from_mode(0o4751);
    fs::set_permissions(tree.root.join("f"), mode).unwrap();
    for storage in tree.storages() {
        for (name, kind) in [("f", EntryKind::File), ("d", EntryKind::Directory)] {
            let want = fs::metadata(tree.root.join(name)).unwrap();
            let metadata = storage.stat(&path(name), Ask::Facts).unwrap();
            assert_eq!(metadata.kind, kind);
            assert_eq!(metadata.size, want.len());
            assert_eq!(metadata.modified, want.mtime());
            assert_eq!(metadata.mode, want.mode() & 0o7777);
            assert_eq!(metadata.links, want.nlink());
            assert_eq!(metadata.identity, (want.dev(), want.ino()));
        }
        assert_eq!(storage.stat(&path("/"), Ask::Facts).unwrap().kind, EntryKind::Directory);
        let [f, g] = ["f", "g"].map(|name| storage.stat(&path(name), Ask::Facts).unwrap());
        assert_eq!(f, g);
        assert_ne!(f.identity, storage.stat(&path("d"), Ask::Facts).unwrap().identity);
        for name in ["missing", "f/below", "d/missing", "missing/below", &"x".repeat(256)] {
            assert_eq!(kind(storage.stat(&path(name), Ask::Facts)), Some(NotFound), "{name}");
        }
    }
}

#[test]
fn read_can_start_at_any_offset() {
    let tree = Tree::new();
    tree.put("f", "0123456789");
    tree.put("empty", "");
    fs::create_dir(tree.root.join("d")).unwrap();
    for storage in tree.storages() {
        let mut source = storage.read(&path("f")).unwrap();
        assert_eq!(source.size(), 10);
        for (offset, want) in [(0, &b"0123456789"[..]), (7, b"789"), (10, b""), (3, b"3456789")] {
            source.seek_to(offset).unwrap();
            let mut rest = Vec::new();
            source.read_to_end(&mut rest).unwrap();
            assert_eq!(rest, want);
        }
        assert_eq!(kind(source.seek_to(11)), Some(StorageErrorKind::BadRestart));
        assert_eq!(kind(source.seek_to(u64::MAX)), Some(StorageErrorKind::BadRestart));
        source.seek_to(4).unwrap();
        let descriptor = source.descriptor().unwrap();
        assert_eq!(rustix::fs::tell(descriptor).unwrap(), 4);
        assert_eq!(read(&storage, "empty").unwrap(), b"");
        assert_eq!(kind(storage.read(&path("d"))), Some(IsDirectory));
        assert_eq!(kind(storage.read(&path("/"))), Some(IsDirectory));
        for name in ["missing", "f/below", "d/missing", &"x".repeat(256)] {
            assert_eq!(kind(storage.read(&path(name))), Some(NotFound), "{name}");
        }
    }
}

#[test]
fn a_file_that_shrinks_or_is_removed_while_read_hf_16() {
    let tree = Tree::new();
    tree.put("f", "0123456789");
    let mut source = tree.storage().read(&path("f")).unwrap();
    fs::remove_file(tree.root.join("f")).unwrap();
    let mut some = [0; 4];
    source.read_exact(&mut some).unwrap();
    assert_eq!(&some, b"0123");
    tree.put("g", "0123456789");
    let mut source = tree.storage().read(&path("g")).unwrap();
    fs::OpenOptions::new().write(true).open(tree.root.join("g")).unwrap().set_len(2).unwrap();
    let mut rest = Vec::new();
    source.read_to_end(&mut rest).unwrap();
    assert_eq!((rest.as_slice(), source.size()), (&b"01"[..], 10));
}

#[test]
fn list_returns_every_name_except_reserved_ones_fs_09_fs_14_hp_10() {
    let tree = Tree::new();
    let mut names: Vec<&[u8]> = vec![
        b" both ends ",
        b"-rf",
        b".hidden",
        b"...",
        b"\"quoted\"\"",
        b"*?[",
        b"\x1b[2J\x07",
        b"\xff\xfe",
        b"\xed\xa0\x80",
        "\u{202e}rtl".as_bytes(),
        b"line\r\nbreak",
        b".ftp-upload",
    ];
    for name in &names {
        fs::write(tree.root.join(OsStr::from_bytes(name)), name).unwrap();
    }
    tree.put(".ftp-upload-0123456789abcdef", "unfinished");
    names.sort_unstable();
    for storage in tree.storages() {
        let shown = list(&storage, "/");
        assert_eq!(shown.iter().map(|(name, _)| name.as_slice()).collect::<Vec<_>>(), names);
        for (name, metadata) in &shown {
            assert_eq!(metadata.kind, EntryKind::File);
            assert_eq!(metadata.size, name.len() as u64);
            assert_eq!(storage.stat(&path(name), Ask::Facts).unwrap(), *metadata, "{name:?}");
            assert_eq!(read(&storage, name).unwrap(), *name);
        }
    }
    for name in names {
        tree.storage().remove(&path(name)).unwrap();
    }
    assert_eq!(tree.names(""), [".ftp-upload-0123456789abcdef"]);
}

#[test]
fn list_of_a_non_directory_fails() {
    let tree = Tree::new();
    tree.put("f", "");
    for storage in tree.storages() {
        for (name, want) in [
            ("f", NotDirectory),
            ("f/below", NotFound),
            ("missing", NotFound),
            ("missing/below", NotFound),
            (".ftp-upload-1", NotFound),
        ] {
            assert_eq!(kind(storage.list(&path(name), Ask::Facts)), Some(want), "{name}");
        }
    }
}

#[test]
fn list_returns_each_of_ten_thousand_entries_once_ls_30_hp_15() {
    let tree = Tree::new();
    for number in 0..10_000 {
        tree.put(&format!("a rather long name, so that many buffers are needed {number:05}"), "");
    }
    let storage = tree.storage();
    let mut seen = vec![false; 10_000];
    for entry in storage.list(&path("/"), Ask::Facts).unwrap() {
        let name = String::from_utf8(entry.unwrap().name).unwrap();
        let number: usize = name.rsplit_once(' ').unwrap().1.parse().unwrap();
        assert!(!seen[number], "{name} twice");
        seen[number] = true;
    }
    assert!(seen.iter().all(|seen| *seen));
}

#[test]
fn entries_that_vanish_are_passed_over_ls_31_hp_16_hp_21() {
    let tree = Tree::new();
    fs::create_dir(tree.root.join("d")).unwrap();
    for number in 0..100 {
        tree.put(&format!("d/{number}"), "");
    }
    let storage = tree.storage();
    let mut entries = storage.list(&path("d"), Ask::Facts).unwrap();
    let first = entries.next().unwrap().unwrap();
    fs::remove_dir_all(tree.root.join("d")).unwrap();
    assert_eq!(entries.count(), 0);
    assert!(!first.name.is_empty());
    assert_eq!(kind(storage.list(&path("d"), Ask::Facts)), Some(NotFound));
}

/// While a program saves files by renames, a name that exists at every moment was left out by most
/// listings of a directory on tmpfs.
#[test]
fn a_listing_lacks_no_name_that_is_replaced_meanwhile_ls_31() {
    let shared = Path::new("/dev/shm");
    let place = if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() };
    // In the large directory any file is saved, in the small one always the same.
    for (count, saved) in [(3_000, 3_000), (20, 1)] {
        let root = tempfile::tempdir_in(&place).unwrap();
        let name = |number: usize| format!("file-{number:05}");
        for number in 0..count {
            fs::write(root.path().join(name(number)), "1").unwrap();
        }
        let storage = LocalStorage::open(root.path()).unwrap();
        let (stop, saves) = (AtomicU32::new(0), AtomicU32::new(0));
        let is_read = || stop.load(Ordering::Relaxed) == 0;
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for number in (0..).map(|turn: usize| turn.wrapping_mul(7_919) % saved) {
                    if !is_read() {
                        break;
                    }
                    let new = root.path().join("new");
                    fs::write(&new, "2").unwrap();
                    fs::rename(&new, root.path().join(name(number))).unwrap();
                    saves.fetch_add(1, Ordering::Relaxed);
                    std::thread::yield_now();
                }
            });
            while saves.load(Ordering::Relaxed) == 0 && !writer.is_finished() {
                std::thread::yield_now();
            }
            let rounds = if count > 100 { 20 } else { 200 };
            let lacking = (0..rounds).find_map(|round| {
                let ask = if round % 2 == 0 { Ask::Names } else { Ask::Facts };
                let entries = storage.list(&VirtualPath::root(), ask).unwrap();
                let mut names: Vec<_> = entries.map(|entry| entry.unwrap().name).collect();
                names.retain(|name| name != b"new");
                names.sort_unstable();
                let want: Vec<_> = (0..count).map(|number| name(number).into_bytes()).collect();
                (names != want).then(|| format!("{round}: {} of {count}", names.len()))
            });
            stop.store(1, Ordering::Relaxed);
            assert_eq!(lacking, None, "after {} saves", saves.load(Ordering::Relaxed));
        });
        assert!(saves.load(Ordering::Relaxed) > 0);
    }
}

#[test]
fn remove_deletes_files_and_symlinks_only_cm_90_hp_20() {
    let tree = Tree::new();
    for storage in tree.storages() {
        tree.put("f", "f");
        fs::create_dir_all(tree.root.join("d")).unwrap();
        tree.link("f", "link");
        tree.link("nowhere", "dangling");
        tree.link("d", "to-directory");
        for (name, want) in [
            ("d", IsDirectory),
            ("/", IsDirectory),
            ("missing", NotFound),
            ("f/below", NotFound),
            ("missing/below", NotFound),
            (".ftp-upload-1", NotFound),
            (&"x".repeat(256), NotFound),
        ] {
            assert_eq!(kind(storage.remove(&path(name))), Some(want), "{name}");
        }
        for name in ["link", "dangling", "to-directory", "f"] {
            storage.remove(&path(name)).unwrap();
        }
        assert_eq!(tree.names(""), ["d"]);
    }
}

#[test]
fn rmdir_removes_only_empty_directories_cm_87_hp_20() {
    let tree = Tree::new();
    tree.put("f", "f");
    fs::create_dir_all(tree.root.join("full/empty")).unwrap();
    tree.link("full/empty", "link");
    for (name, want) in [
        ("full", NotEmpty),
        ("f", NotDirectory),
        ("link", NotDirectory),
        ("/", Denied),
        ("missing", NotFound),
        ("f/below", NotFound),
        ("missing/below", NotFound),
        (".ftp-upload-1", NotFound),
    ] {
        for storage in tree.storages() {
            assert_eq!(kind(storage.rmdir(&path(name))), Some(want), "{name}");
        }
    }
    tree.storage().rmdir(&path("full/empty")).unwrap();
    tree.storage().rmdir(&path("full")).unwrap();
    assert_eq!(tree.names(""), ["f", "link"]);
}

#[test]
fn mkdir_makes_one_directory_cm_85_cm_86_fs_06() {
    let tree = Tree::new();
    tree.put("f", "f");
    tree.link("nowhere", "dangling");
    let longest = "x".repeat(255);
    let too_long = "x".repeat(256);
    for storage in tree.storages() {
        for name in ["d", "d/e", &longest, "\u{e9}", " "] {
            storage.mkdir(&path(name)).unwrap();
            assert!(tree.root.join(name).is_dir(), "{name}");
        }
        storage.mkdir(&path(b"\xff")).unwrap();
        for (name, want) in [
            ("d", Exists),
            ("f", Exists),
            ("dangling", Exists),
            ("/", Exists),
            ("missing/below", NotFound),
            ("f/below", NotFound),
            (&too_long, NameNotAllowed),
            ("a\rb", NameNotAllowed),
            ("a\nb", NameNotAllowed),
            (".ftp-upload-1", NameNotAllowed),
        ] {
            assert_eq!(kind(storage.mkdir(&path(name))), Some(want), "{name}");
        }
        for name in [&b"d/e"[..], b"d", longest.as_bytes(), "\u{e9}".as_bytes(), b" ", b"\xff"] {
            storage.rmdir(&path(name)).unwrap();
        }
    }
    fs::create_dir(tree.root.join("plain")).unwrap();
    tree.storage().mkdir(&path("made")).unwrap();
    let mode = |name| fs::metadata(tree.root.join(name)).unwrap().mode();
    assert_eq!(mode("made"), mode("plain"));
}

#[test]
fn rename_moves_cm_92_cm_94() {
    let tree = Tree::new();
    for storage in tree.storages() {
        tree.put("f", "f");
        fs::create_dir_all(tree.root.join("d/e")).unwrap();
        storage.rename(&path("f"), &path("d/g"), false).unwrap();
        storage.rename(&path("d/g"), &path("d/e/h"), true).unwrap();
        storage.rename(&path("d/e"), &path("moved"), false).unwrap();
        assert_eq!(tree.get("moved/h"), b"f");
        tree.put("old", "old");
        storage.rename(&path("moved/h"), &path("old"), true).unwrap();
        assert_eq!(tree.get("old"), b"f");
        tree.link("nowhere", "link");
        storage.rename(&path("link"), &path("d/link"), false).unwrap();
        storage.rename(&path("old"), &path("d/link"), true).unwrap();
        assert_eq!(tree.names("d"), ["link"]);
        assert_eq!(tree.get("d/link"), b"f");
        storage.remove(&path("d/link")).unwrap();
        storage.rmdir(&path("d")).unwrap();
        storage.rmdir(&path("moved")).unwrap();
        assert!(tree.names("").is_empty());
    }
}

#[test]
fn renames_that_are_refused_cm_93_hp_19_hp_20() {
    let tree = Tree::new();
    tree.put("f", "f");
    tree.put("g", "g");
    fs::create_dir_all(tree.root.join("d/e")).unwrap();
    fs::create_dir(tree.root.join("empty")).unwrap();
    tree.link("d", "link");
    let too_long = "x".repeat(256);
    for (from, to, replace, want) in [
        ("f", "g", false, Exists),
        ("f", "d", false, Exists),
        ("d", "f", false, Exists),
        ("f", "link", false, Exists),
        ("f", "d", true, IsDirectory),
        ("f", "empty", true, IsDirectory),
        ("empty", "d", true, IsDirectory),
        ("d", "empty", true, IsDirectory),
        ("d/e", "d", true, IsDirectory),
        ("d", "f", true, NotDirectory),
        ("d", "d/e/new", true, Denied),
        ("d", "d/new", false, Denied),
        ("d", "link/new", true, Denied),
        ("/", "new", true, Denied),
        ("/", "/", true, Denied),
        ("d", "/", true, IsDirectory),
        ("missing", "new", true, NotFound),
        ("missing", "f", true, NotFound),
        ("missing", "f", false, NotFound),
        ("missing", "missing", true, NotFound),
        ("f", "missing/new", true, NotFound),
        ("f", "g/new", true, NotFound),
        ("f/below", "new", true, NotFound),
        (".ftp-upload-1", "new", true, NotFound),
        ("f", ".ftp-upload-1", true, NameNotAllowed),
        ("f", &too_long, true, NameNotAllowed),
        (&too_long, "new", true, NotFound),
        ("f", "a\nb", true, NameNotAllowed),
        ("missing", "a\nb", true, NameNotAllowed),
    ] {
        let refused = kind(tree.storage().rename(&path(from), &path(to), replace));
        assert_eq!(refused, Some(want), "{from} {to} {replace}");
    }
    assert_eq!(tree.names(""), ["d", "empty", "f", "g", "link"]);
    assert_eq!((tree.get("f"), tree.get("g")), (b"f".to_vec(), b"g".to_vec()));
}

#[test]
fn rename_to_itself_changes_nothing_hp_19() {
    let tree = Tree::new();
    tree.put("f", "f");
    fs::hard_link(tree.root.join("f"), tree.root.join("g")).unwrap();
    fs::create_dir(tree.root.join("d")).unwrap();
    tree.link("d", "link");
    for storage in tree.storages() {
        for replace in [false, true] {
            for name in ["f", "d", "link"] {
                storage.rename(&path(name), &path(name), replace).unwrap();
            }
        }
        // Two names of one file both stay, as in rename(2).
        assert_eq!(kind(storage.rename(&path("f"), &path("g"), false)), Some(Exists));
        storage.rename(&path("f"), &path("g"), true).unwrap();
        assert_eq!(tree.names(""), ["d", "f", "g", "link"]);
    }
}

#[test]
fn an_unsearchable_directory_cannot_be_entered_or_listed_cm_80_cm_112() {
    let tree = Tree::new();
    for name in ["closed", "open"] {
        fs::create_dir(tree.root.join(name)).unwrap();
    }
    tree.put("f", "f");
    tree.link("open", "link");
    tree.link(&tree.outside, "out");
    let closed = tree.root.join("closed");
    fs::set_permissions(closed, fs::Permissions::from_mode(0o644)).unwrap();
    for storage in tree.storages() {
        for name in ["/", "open"] {
            storage.stat(&path(name), Ask::Directory).unwrap();
        }
        storage.stat(&path("link"), Ask::Directory).unwrap();
        assert_eq!(kind(storage.stat(&path("f"), Ask::Directory)), Some(NotDirectory));
        assert_eq!(kind(storage.stat(&path("f").join(b"g"), Ask::Directory)), Some(NotFound));
        assert_eq!(kind(storage.stat(&path("missing"), Ask::Directory)), Some(NotFound));
        assert_eq!(kind(storage.stat(&path("out"), Ask::Directory)), Some(Denied));
        if is_privileged() {
            println!("skipped in part: mode bits do not bind whoever runs this");
        } else {
            assert_eq!(kind(storage.stat(&path("closed"), Ask::Directory)), Some(Denied));
            assert_eq!(kind(storage.list(&path("closed"), Ask::Facts)), Some(Denied));
        }
    }
}

#[test]
fn file_permissions_of_the_system_are_respected() {
    if is_privileged() {
        println!("skipped: mode bits do not bind whoever runs this");
        return;
    }
    let tree = Tree::new();
    tree.put("f", "f");
    fs::create_dir(tree.root.join("d")).unwrap();
    for (name, mode) in [("f", 0o000), ("d", 0o000)] {
        fs::set_permissions(tree.root.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let storage = tree.storage();
    assert_eq!(kind(storage.read(&path("f"))), Some(Denied));
    assert_eq!(kind(storage.list(&path("d"), Ask::Facts)), Some(Denied));
    assert_eq!(kind(storage.stat(&path("d/x"), Ask::Facts)), Some(Denied));
    assert_eq!(kind(storage.mkdir(&path("d/x"))), Some(Denied));
    fs::set_permissions(tree.root.join("d"), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn times_and_modes_of_readable_objects_can_be_set_without_proc_cm_123() {
    let tree = Tree::new();
    tree.put("f", "f");
    fs::create_dir(tree.root.join("d")).unwrap();
    tree.fifo("pipe");
    let root = Root::open(&tree.root).unwrap().without_proc();
    let files = Files { root: Arc::new(root), config: LocalConfig::default() };
    let storage = LocalStorage { files, landlock: None };
    assert!(storage.capabilities().contains(Capabilities::SET_TIMES | Capabilities::CHMOD));
    assert!(storage.confinement_status().to_string().contains("lacks /proc"));
    for name in ["f", "d"] {
        assert_eq!(storage.set(&path(name), Change::Modified(5)).unwrap().modified, 5, "{name}");
        assert_eq!(storage.set(&path(name), Change::Mode(0o711)).unwrap().mode, 0o711, "{name}");
        assert_eq!(storage.stat(&path(name), Ask::Facts).unwrap().modified, 5, "{name}");
    }
    assert_eq!(kind(storage.set(&path("pipe"), Change::Modified(0))), Some(NotFile));
}

#[test]
fn a_time_that_the_disk_does_not_store_is_an_error_cm_123() {
    let tree = Tree::new();
    let disk = tree.top.join("disk");
    fs::File::create(&disk).unwrap().set_len(1 << 20).unwrap();
    // Inodes of 128 bytes have no times after 2038.
    let mut make = Command::new("mkfs.ext4");
    let made = make.args(["-q", "-I", "128"]).arg(&disk).output();
    let is_made = made.is_ok_and(|made| made.status.success());
    let disk = disk.to_str().unwrap();
    let Some(_mount) =
        is_made.then(|| Mount::of(&["-o", "loop", disk], tree.root.clone())).flatten()
    else {
        println!("skipped: no ext4 can be mounted here");
        return;
    };
    tree.put("f", "f");
    for storage in tree.storages() {
        assert_eq!(
            storage.set(&path("f"), Change::Modified(2_000_000_000)).unwrap().modified,
            2_000_000_000
        );
        let refused = storage.set(&path("f"), Change::Modified(2_200_000_000));
        assert_eq!(kind(refused), Some(Denied));
        let modified = storage.stat(&path("f"), Ask::Facts).unwrap().modified;
        assert_eq!(modified, 2_000_000_000, "the old time");
    }
}

#[test]
fn stat_returns_the_time_that_was_set_cm_123() {
    let tree = Tree::new();
    tree.put("f", "f");
    fs::create_dir(tree.root.join("d")).unwrap();
    tree.link("f", "link");
    for storage in tree.storages() {
        for (name, time) in [("f", 938_565_235), ("d", 0), ("/", 951_782_400)] {
            let accessed = fs::metadata(tree.root.join("f")).unwrap().atime_nsec();
            assert_eq!(
                storage.set(&path(name), Change::Modified(time)).unwrap().modified,
                time,
                "{name}"
            );
            assert_eq!(storage.stat(&path(name), Ask::Facts).unwrap().modified, time, "{name}");
            assert_eq!(fs::metadata(tree.root.join("f")).unwrap().atime_nsec(), accessed);
        }
        assert_eq!(kind(storage.set(&path("missing"), Change::Modified(0))), Some(NotFound));
        assert_eq!(kind(storage.set(&path(".ftp-upload-0"), Change::Modified(0))), Some(NotFound));
    }
    tree.storage().set(&path("link"), Change::Modified(5)).unwrap();
    assert_eq!(fs::metadata(tree.root.join("f")).unwrap().mtime(), 5, "what the link leads to");
    tree.fifo("pipe");
    assert_eq!(kind(tree.storage().set(&path("pipe"), Change::Modified(0))), Some(NotFile));
}

#[test]
fn chmod_sets_only_permission_bits_cm_140() {
    let tree = Tree::new();
    tree.put("f", "f");
    fs::create_dir(tree.root.join("d")).unwrap();
    tree.link("f", "link");
    let mode = |name: &str| fs::metadata(tree.root.join(name)).unwrap().mode() & 0o7777;
    for storage in tree.storages() {
        let set_gid = fs::Permissions::from_mode(0o2755);
        fs::set_permissions(tree.root.join("d"), set_gid.clone()).unwrap();
        fs::set_permissions(tree.root.join("f"), set_gid).unwrap();
        // This also works for a file that the server may not read.
        for bits in [0o000, 0o640] {
            assert_eq!(storage.set(&path("f"), Change::Mode(bits)).unwrap().mode, bits);
            assert_eq!(mode("f"), bits);
        }
        storage.set(&path("f"), Change::Mode(0o7604)).unwrap();
        assert_eq!(mode("f"), 0o604);
        assert_eq!(storage.set(&path("d"), Change::Mode(0o700)).unwrap().mode, 0o2700);
        assert_eq!(mode("d"), 0o2700);
        assert_eq!(kind(storage.set(&path("missing"), Change::Mode(0o600))), Some(NotFound));
        assert_eq!(kind(storage.set(&path(".ftp-upload-0"), Change::Mode(0o600))), Some(NotFound));
        assert_eq!(kind(storage.set(&path("/"), Change::Mode(0o700))), Some(Denied));
    }
    tree.storage().set(&path("link"), Change::Mode(0o444)).unwrap();
    assert_eq!(mode("f"), 0o444, "what the link leads to");
    tree.fifo("pipe");
    assert_eq!(kind(tree.storage().set(&path("pipe"), Change::Mode(0o600))), Some(NotFile));
}

/// exFAT and others report success, and every file keeps its mode.
#[test]
fn a_mode_that_the_disk_does_not_store_is_refused_cm_139() {
    let tree = Tree::new();
    fs::write(tree.outside.join("f"), "f").unwrap();
    fs::set_permissions(tree.outside.join("f"), fs::Permissions::from_mode(0o644)).unwrap();
    let outside = tree.outside.to_str().unwrap();
    let options = ["-t", "fuse.bindfs", "-o", "chmod-ignore", outside];
    let Some(_mount) = Mount::of(&options, tree.root.clone()) else {
        println!("skipped: no bindfs can be mounted here");
        return;
    };
    for storage in tree.storages() {
        let error = storage.set(&path("f"), Change::Mode(0o600)).unwrap_err();
        assert_eq!(error.kind, Denied, "{error:?}");
        assert_eq!(storage.set(&path("f"), Change::Mode(0o644)).unwrap().mode, 0o644);
    }
}

#[test]
fn space_is_the_free_space_of_the_file_system_cm_54_cm_128() {
    let tree = Tree::new();
    tree.put("f", "f");
    fs::create_dir(tree.root.join("d")).unwrap();
    for storage in tree.storages() {
        let free = || {
            let system = rustix::fs::statvfs(&tree.root).unwrap();
            system.f_bavail * system.f_frsize
        };
        // Other programs write to the same file system at the same time.
        let before = free();
        let told = storage.space(&path("d"), RoomFor::More(0)).unwrap().free.unwrap();
        let after = free();
        let slack = 1 << 30;
        let least = before.min(after);
        let most = before.max(after);
        assert!(least.saturating_sub(slack) <= told && told <= most + slack, "{told}");
        assert!(storage.space(&path("/"), RoomFor::More(0)).unwrap().free > Some(0));
        assert_eq!(kind(storage.space(&path("f"), RoomFor::More(0))), Some(NotDirectory));
        assert_eq!(kind(storage.space(&path("missing"), RoomFor::More(0))), Some(NotFound));
    }
}

#[test]
fn space_is_unsupported_on_a_file_system_without_a_size_cm_54() {
    assert_eq!(
        kind(LocalStorage::open("/proc").unwrap().space(&path("/"), RoomFor::More(0))),
        Some(Unsupported)
    );
}

/// A storage with only the required methods.
struct Least(LocalStorage);

impl Storage for Least {
    forward_storage!(self, self.0; confine, stat, list, read, write, unfinished, kept, forget);

    fn capabilities(&self) -> Capabilities {
        Capabilities::NONE
    }

    fn space(&self, _: &VirtualPath, _: RoomFor) -> StorageResult<Space> {
        Ok(Space::default())
    }
}

#[test]
fn omitted_storage_operations_are_unsupported() {
    let tree = Tree::new();
    tree.put("f", "f");
    fs::create_dir(tree.root.join("d")).unwrap();
    let least: Box<dyn Storage> = Box::new(Least(tree.storage()));
    assert!(tree.storage().capabilities().contains(Capabilities::ALL));
    let f = path("f");
    let d = path("d");
    let new = path("new");
    for refused in [
        kind(least.remove(&f)),
        kind(least.rmdir(&d)),
        kind(least.mkdir(&new)),
        kind(least.rename(&f, &new, true)),
        kind(least.set(&f, Change::Modified(0))),
        kind(least.set(&f, Change::Mode(0o600))),
    ] {
        assert_eq!(refused, Some(Unsupported));
    }
    least.stat(&d, Ask::Directory).unwrap().check_directory().unwrap();
    assert_eq!(tree.names(""), ["d", "f"]);
}
