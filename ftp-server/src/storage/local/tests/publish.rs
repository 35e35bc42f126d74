//! How a complete upload gets its name, as other programs and other users of the machine see it; and
//! what is refused before the client sends the file.

use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::sync::atomic::AtomicBool;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::fs::{IFlags, ioctl_setflags};
use rustix::io::Errno;

use super::StorageErrorKind::{BadRestart, Busy, Fixed, NameNotAllowed, NotEmpty, NotFound};
use super::*;

const USER: &[u8] = b"ann";

struct Watcher {
    queue: OwnedFd,
    directory: PathBuf,
}

impl Watcher {
    fn of(directory: &Path) -> Self {
        let queue = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).unwrap();
        let flags = WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO | WatchFlags::CREATE;
        inotify::add_watch(&queue, directory, flags).unwrap();
        Self { queue, directory: directory.to_owned() }
    }

    /// Returns the events since the last call, until the end of writing of `name`. A child process
    /// that another test starts may have the file open for a moment.
    fn events_until_written(&self, name: &str) -> Vec<(ReadFlags, String)> {
        let mut events = Vec::new();
        wait_until("the end of writing is seen", || {
            events.extend(self.events());
            events.contains(&(ReadFlags::CLOSE_WRITE, name.to_owned()))
        });
        events
    }

    /// Returns the events since the last call, without new and moved hidden files. Each event must
    /// name a file that exists.
    fn events(&self) -> Vec<(ReadFlags, String)> {
        let mut buffer = [std::mem::MaybeUninit::uninit(); 4_096];
        let mut reader = Reader::new(&self.queue, &mut buffer);
        let mut events = Vec::new();
        loop {
            let event = match reader.next() {
                Err(Errno::AGAIN) => return events,
                event => event.unwrap(),
            };
            let name = event.file_name().unwrap().to_str().unwrap().to_owned();
            if event.events() == ReadFlags::CLOSE_WRITE || !name.starts_with('.') {
                assert!(self.directory.join(&name).exists(), "{name}: {:?}", event.events());
                events.push((event.events(), name));
            }
        }
    }
}

fn names_in(directory: &Path) -> impl Iterator<Item = String> {
    fs::read_dir(directory).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap())
}

/// Stores a file in each way, and checks what a watcher sees.
fn check_events(tree: &Tree, directory: &str) {
    let published = |name: &str| {
        vec![(ReadFlags::MOVED_TO, name.to_owned()), (ReadFlags::CLOSE_WRITE, name.to_owned())]
    };
    let storage = LocalStorage::open(tree.root.join(directory)).unwrap();
    let watcher = Watcher::of(&tree.root.join(directory));
    for sync in [SyncPolicy::None, SyncPolicy::FileAndDirectory] {
        let storage = storage.clone().with(|config| config.sync = sync);
        let store = |mode, content: &[u8]| {
            let mut upload = storage.write(&path("scan.pdf"), mode, Keep::Bytes(USER)).unwrap();
            while !upload.prepare().unwrap() {}
            upload.write_all(content).unwrap();
            upload.flush().unwrap();
            upload.commit().unwrap();
            watcher.events_until_written("scan.pdf")
        };
        for mode in [WriteMode::Create, WriteMode::Replace, WriteMode::From(0), WriteMode::From(2)]
        {
            assert_eq!(store(mode, b"content"), published("scan.pdf"), "{directory} {mode:?}");
        }
        let in_place = vec![(ReadFlags::CLOSE_WRITE, "scan.pdf".to_owned())];
        assert_eq!(store(WriteMode::Append, b" and more"), in_place, "{directory}");
        storage.remove(&path("scan.pdf")).unwrap();
        // An interrupted upload is no event of the file, and a resumed one is.
        let mut cut =
            storage.write(&path("scan.pdf"), WriteMode::Replace, Keep::Bytes(USER)).unwrap();
        cut.write_all(b"content").unwrap();
        drop(cut);
        // The thread that syncs the record may have it open for longer than the session its bytes.
        let hidden: Vec<_> = names_in(&tree.root.join(directory))
            .filter(|name| is_record(name) || has_bytes(name))
            .collect();
        let mut events = Vec::new();
        wait_until("both hidden files are closed", || {
            events.extend(watcher.events());
            let is_closed =
                |name: &String| events.contains(&(ReadFlags::CLOSE_WRITE, name.clone()));
            hidden.len() == 2 && hidden.iter().all(is_closed)
        });
        assert!(events.iter().all(|(_, name)| name != "scan.pdf"), "{events:?}");
        assert_eq!(store(WriteMode::Resume(6), b"t and end"), published("scan.pdf"), "{directory}");
        storage.remove(&path("scan.pdf")).unwrap();
        assert_eq!(storage.unfinished(&path("scan.pdf"), Some(USER)).unwrap(), None);
        assert_eq!(store(WriteMode::Append, b"new"), published("scan.pdf"), "{directory}");
        storage.remove(&path("scan.pdf")).unwrap();
        assert_eq!(watcher.events(), []);
    }
}

#[test]
fn a_watcher_sees_each_stored_file_once_under_its_name_fs_12() {
    let tree = Tree::new();
    for directory in ["plain", "memory", "overlay", "foreign", "lower", "upper", "work"] {
        fs::create_dir(tree.root.join(directory)).unwrap();
    }
    check_events(&tree, "plain");
    let at = |name: &str| tree.root.join(name).into_os_string().into_string().unwrap();
    let layers =
        format!("lowerdir={},upperdir={},workdir={}", at("lower"), at("upper"), at("work"));
    for (directory, arguments) in [
        ("memory", ["-t", "tmpfs", "-o", "size=1m", "tmpfs"]),
        ("overlay", ["-t", "overlay", "-o", &layers, "overlay"]),
    ] {
        match Mount::of(&arguments, tree.root.join(directory)) {
            Some(_mount) => check_events(&tree, directory),
            None => println!("skipped: no {directory} can be mounted here"),
        }
    }
    on_foreign_disks(&tree, &tree.root.join("foreign"), || check_events(&tree, "foreign"));
}

/// Disks of other systems, which refuse some names: the program that makes one, its options, and the
/// arguments of `mount`.
const FOREIGN: [(&str, &[&str], [&str; 4]); 3] = [
    ("mkfs.vfat", &[], ["-t", "vfat", "-o", "loop,utf8"]),
    ("mkntfs", &["-F", "-Q"], ["-t", "ntfs-3g", "-o", "windows_names"]),
    ("mkfs.exfat", &[], ["-t", "exfat-fuse", "-o", "loop"]),
];

/// Mounts each disk of another system that can be mounted here, and calls `check`.
fn on_foreign_disks(tree: &Tree, directory: &Path, check: impl Fn()) {
    let disk = tree.top.join("disk").into_os_string().into_string().unwrap();
    for (make, options, arguments) in FOREIGN {
        fs::File::create(&disk).unwrap().set_len(16 << 20).unwrap();
        let made = Command::new(make).args(options).arg(&disk).output();
        let is_made = made.is_ok_and(|made| made.status.success());
        let arguments = [&arguments[..], &[&disk]].concat();
        match is_made.then(|| Mount::of(&arguments, directory.to_owned())).flatten() {
            Some(_mount) => check(),
            None => println!("skipped: no disk of {make} can be mounted here"),
        }
    }
}

#[test]
fn a_name_that_the_disk_refuses_is_refused_before_the_data_cm_86_cm_93_cm_105_fs_12() {
    let tree = Tree::new();
    on_foreign_disks(&tree, &tree.root, || names_are_refused(&tree));
}

fn names_are_refused(tree: &Tree) {
    let storage = tree.storage();
    tree.put("f", "f");
    fs::create_dir(tree.root.join("d")).unwrap();
    for name in ["a:b.jpg", "what?", "<x>"] {
        let refused = kind(storage.write(&path(name), WriteMode::Replace, Keep::Shared));
        assert_eq!(refused, Some(NameNotAllowed), "{name}");
        assert_eq!(kind(storage.mkdir(&path(name))), Some(NameNotAllowed), "{name}");
        for from in ["f", "d"] {
            let refused = kind(storage.rename(&path(from), &path(name), true));
            assert_eq!(refused, Some(NameNotAllowed), "{from} {name}");
        }
    }
    fs::remove_file(tree.root.join("f")).unwrap();
    fs::remove_dir(tree.root.join("d")).unwrap();
    upload(&storage, "a-b.jpg", WriteMode::Replace, b"x");
    // Hidden names are matched regardless of case, as the disk matches them.
    let mut cut = storage.write(&path("cut"), WriteMode::Replace, Keep::Bytes(USER)).unwrap();
    cut.write_all(b"part").unwrap();
    drop(cut);
    let hidden = tree.names("")[0].clone();
    for name in [hidden.to_uppercase(), hidden] {
        assert_eq!(kind(storage.read(&path(&name))), Some(NotFound), "{name}");
    }
    let found = storage.unfinished(&path("cut"), Some(USER)).unwrap();
    assert_eq!(found.map(|found| found.kept), Some(4));
}

#[test]
fn a_stranger_reads_nothing_of_a_private_file_while_it_is_replaced_fs_17() {
    if !is_privileged() {
        println!("skipped: no other user can be tried");
        return;
    }
    const ROUNDS: u8 = 200;
    let tree = Tree::new();
    // The directory passes on rights to the stranger, which the private file does not have.
    let passed_on =
        kept_attributes::acl(&[(1, 7, !0), (2, 7, 65_534), (4, 7, !0), (16, 7, !0), (32, 7, !0)]);
    let _ = rustix::fs::setxattr(
        &tree.root,
        "system.posix_acl_default",
        &passed_on,
        rustix::fs::XattrFlags::empty(),
    );
    tree.put("f", "old");
    let _ = rustix::fs::removexattr(tree.root.join("f"), "system.posix_acl_access");
    fs::set_permissions(tree.root.join("f"), fs::Permissions::from_mode(0o600)).unwrap();
    let storage = tree.storage();
    let done = AtomicBool::new(false);
    let (seen, opened) = std::thread::scope(|scope| {
        let stranger = scope.spawn(|| {
            as_user(65_534, &[], || {
                let mut open = Vec::new();
                let mut seen = 0;
                while !done.load(Ordering::Relaxed) {
                    for entry in fs::read_dir(&tree.root).unwrap().flatten() {
                        seen += 1;
                        open.extend(
                            fs::File::open(entry.path()).ok().map(|file| (file, entry.path())),
                        );
                    }
                }
                (seen, open)
            })
        });
        for round in 0..ROUNDS {
            upload(&storage, "f", WriteMode::Replace, &[round; 5_000]);
        }
        done.store(true, Ordering::Relaxed);
        stranger.join().unwrap()
    });
    assert!(seen > ROUNDS.into());
    assert!(opened.is_empty(), "{opened:?}");
    assert_eq!(fs::metadata(tree.root.join("f")).unwrap().mode() & 0o7777, 0o600);
}

#[test]
fn removing_empty_directories_does_not_harm_uploads_fs_14_cm_87() {
    let tree = Tree::new();
    let storage = tree.storage();
    let done = AtomicBool::new(false);
    let removed = std::thread::scope(|scope| {
        let find = scope.spawn(|| {
            let mut removed = 0;
            while !done.load(Ordering::Relaxed) {
                let mut find = Command::new("find");
                find.arg(&tree.root).args([
                    "-mindepth",
                    "1",
                    "-type",
                    "d",
                    "-empty",
                    "-delete",
                    "-print",
                ]);
                removed += find.output().map_or(1, |it| it.stdout.len());
            }
            removed
        });
        for round in 0..100 {
            let name = format!("{round}/f");
            let mut upload = (0..1_000)
                .find_map(|_| {
                    let _ = storage.mkdir(&path(round.to_string()));
                    storage.write(&path(&name), WriteMode::Create, Keep::Shared).ok()
                })
                .expect("the upload begins before the directory is removed");
            upload.write_all(b"con").unwrap();
            std::thread::sleep(std::time::Duration::from_millis(5));
            upload.write_all(b"tent").unwrap();
            assert_eq!(kind(storage.rmdir(&path(round.to_string()))), Some(Busy));
            upload.commit().unwrap();
            assert_eq!(tree.get(&name), b"content");
            assert_eq!(kind(storage.rmdir(&path(round.to_string()))), Some(NotEmpty));
            storage.remove(&path(&name)).unwrap();
        }
        done.store(true, Ordering::Relaxed);
        find.join().unwrap()
    });
    assert!(removed > 0);
}

#[test]
fn what_only_the_rename_would_refuse_is_refused_before_the_data_cm_105_fs_12() {
    if !is_privileged() {
        println!("skipped: flags and mounts need privileges");
        return;
    }
    let tree = Tree::new();
    let storage = tree.storage();
    let modes = [WriteMode::Replace, WriteMode::From(0), WriteMode::From(1)];
    let check = |name: &str, reason: &'static str| {
        for mode in modes {
            assert_eq!(
                kind(storage.write(&path(name), mode, Keep::Shared)),
                Some(Fixed(reason)),
                "{mode:?}"
            );
        }
        assert_eq!(tree.get(name), b"old");
    };
    // A file of another user in a sticky directory.
    fs::create_dir(tree.root.join("sticky")).unwrap();
    fs::set_permissions(tree.root.join("sticky"), fs::Permissions::from_mode(0o1777)).unwrap();
    tree.put("sticky/f", "old");
    let open = fs::Permissions::from_mode(0o666);
    fs::set_permissions(tree.root.join("sticky/f"), open).unwrap();
    as_user(1_000, &[], || {
        check("sticky/f", "the file of another user is in a sticky directory");
        upload(&storage, "sticky/g", WriteMode::Replace, b"mine");
        upload(&storage, "sticky/g", WriteMode::Replace, b"mine again");
        upload(&storage, "sticky/f", WriteMode::Append, b" and more");
    });
    upload(&storage, "sticky/f", WriteMode::Replace, b"the administrator may");
    if storage.confinement_status().to_string().contains("lacks statx") {
        println!("skipped: only statx shows mount points and flags");
        return;
    }
    // A file that is mounted alone, as in a container.
    for name in ["mounted", "source"] {
        tree.put(name, "old");
    }
    let source = tree.root.join("source").into_os_string().into_string().unwrap();
    match Mount::of(&["--bind", &source], tree.root.join("mounted")) {
        Some(_mount) => {
            check("mounted", "the file is a mount point");
            upload(&storage, "mounted", WriteMode::Append, b" and more");
        }
        None => println!("skipped: no file can be mounted here"),
    }
    // Flags of files and directories.
    fs::create_dir(tree.root.join("d")).unwrap();
    tree.put("d/f", "old");
    for (name, flag, reason) in [
        ("d/f", IFlags::IMMUTABLE, "the file is immutable"),
        ("d/f", IFlags::APPEND, "the file is append-only"),
        ("d", IFlags::IMMUTABLE, "the directory is immutable"),
        ("d", IFlags::APPEND, "the directory is append-only"),
    ] {
        let object = fs::File::open(tree.root.join(name)).unwrap();
        if ioctl_setflags(&object, flag).is_err() {
            println!("skipped: this file system has no flags");
            break;
        }
        check("d/f", reason);
        if name == "d" {
            let refused = kind(storage.write(&path("d/new"), WriteMode::Create, Keep::Shared));
            assert_eq!(refused, Some(Fixed(reason)));
        }
        ioctl_setflags(&object, IFlags::empty()).unwrap();
    }
    assert_eq!(tree.names("d"), ["f"]);
}

#[test]
fn a_planted_partial_file_is_not_used_hp_22_fs_15() {
    if !is_privileged() {
        println!("skipped: no other user can be tried");
        return;
    }
    let tree = Tree::new();
    let storage = tree.storage();
    fs::set_permissions(&tree.root, fs::Permissions::from_mode(0o1777)).unwrap();
    let hidden = String::from_utf8(name::of_record(Some(USER), b"f")).unwrap();
    let bytes = ".ftp-upload-0123456789abcdef-f.part";
    let text = format!(
        "ftp-upload-record 1\nuser {}\nname f\nbegun 1\nnumber 1\nbytes {}\nleft 7 {} {}\nend\n",
        String::from_utf8_lossy(USER),
        bytes.replace('.', "%2E").replace('-', "%2D"),
        crate::deadline::unix_now(),
        crate::deadline::unix_now() + 1_000,
    );
    let plant = || {
        as_user(65_534, &[], || {
            tree.put(&hidden, &text);
            tree.put(bytes, "planted");
        });
    };
    plant();
    // It forbids, but only where there is a file.
    assert_eq!(storage.unfinished(&path("f"), Some(USER)).unwrap(), None);
    tree.put("f", "old");
    let found = storage.unfinished(&path("f"), Some(USER)).unwrap();
    assert_eq!(found.map(|found| found.kept), Some(0));
    let resumed = storage.write(&path("f"), WriteMode::Resume(6), Keep::Bytes(USER));
    assert_eq!(kind(resumed), Some(BadRestart));
    let mut stored = storage.write(&path("f"), WriteMode::Replace, Keep::Bytes(USER)).unwrap();
    stored.write_all(b"content").unwrap();
    stored.commit().unwrap();
    assert_eq!(tree.get("f"), b"content");
    assert_eq!(fs::metadata(tree.root.join("f")).unwrap().uid(), 0);
    plant();
    // Some file systems show all files as those of one user, who then has the directory too.
    chown(&tree.root, Some(65_534), None).unwrap();
    fs::remove_file(tree.root.join("f")).unwrap();
    let found = storage.unfinished(&path("f"), Some(USER)).unwrap();
    assert_eq!(found.map(|found| found.kept), Some(7));
}

#[test]
fn a_shared_lock_of_a_reader_does_not_block_an_append_fs_16() {
    let tree = Tree::new();
    tree.put("f", "old");
    let reader = fs::File::open(tree.root.join("f")).unwrap();
    reader.lock_shared().unwrap();
    for storage in tree.storages() {
        let mut first = appends::in_place(&storage, "f");
        first.write_all(b"+new").unwrap();
        for other in tree.storages() {
            let mut other = other.write(&path("f"), WriteMode::Append, Keep::Shared).unwrap();
            assert!(!other.prepare_commit().unwrap());
        }
        first.commit().unwrap();
    }
    assert_eq!(tree.get("f"), b"old+new+new");
    // Another process that appends has the lock alone.
    reader.unlock().unwrap();
    reader.lock().unwrap();
    let mut waiting = tree.storage().write(&path("f"), WriteMode::Append, Keep::Shared).unwrap();
    waiting.write_all(b"+last").unwrap();
    assert!(!waiting.prepare_commit().unwrap());
    reader.unlock().unwrap();
    waiting.commit().unwrap();
    assert_eq!(tree.get("f"), b"old+new+new+last");
}

/// As `sed -i` does in a program of `hooks.check`.
#[test]
fn a_file_that_another_program_gives_the_hidden_name_is_not_published_fs_12() {
    let tree = Tree::new();
    for storage in tree.storages() {
        for keep in [Keep::Shared, Keep::Bytes(USER)] {
            tree.put("f", "old");
            let mut upload = storage.write(&path("f"), WriteMode::Replace, keep).unwrap();
            upload.write_all(b"received").unwrap();
            while !upload.prepare_commit().unwrap() {}
            tree.put("other", "of another program");
            fs::rename(tree.root.join("other"), tree.hidden(has_bytes)).unwrap();
            assert_eq!(kind(upload.commit()), Some(StorageErrorKind::Io));
            assert_eq!(tree.get("f"), b"old");
            assert!(!tree.names_with_records("").iter().any(|name| has_bytes(name)));
            storage.remove(&path("f")).unwrap();
        }
    }
}
