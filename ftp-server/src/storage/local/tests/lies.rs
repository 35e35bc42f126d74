//! Disks whose answers are wrong, and other programs at a bad moment: each test makes false what the
//! code takes for granted.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ftp_tests::lying_disk::{CREATE, FLUSH, FSYNC, LyingDisk, OPENDIR, RENAME, WRITE};
use rustix::io::Errno;

use super::StorageErrorKind::{BadRestart, Busy, Exists, Io, NotEmpty, NotFound, Unsupported};
use super::*;
use crate::storage::StreamEnd;

fn names(storage: &LocalStorage, ask: Ask) -> Vec<Vec<u8>> {
    let entries = storage.list(&path("/"), ask).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().name).collect();
    names.sort();
    names
}

#[test]
fn a_disk_that_reports_no_kinds_lists_the_same_names_and_counts_the_same_bytes_hp_23() {
    const LIMIT: u64 = 100_000;
    let tree = Tree::new();
    let files = [("a", "12345"), ("b", "678"), (".ftp-upload-0123456789abcdef", "hidden")];
    let Some(disk) = LyingDisk::mount(&tree.root, files) else { return };
    for hides_kinds in [false, true] {
        disk.lies().hides_kinds = hides_kinds;
        let storage = tree.storage().with(|config| config.quota = LIMIT);
        for ask in [Ask::Facts, Ask::Names] {
            assert_eq!(names(&storage, ask), [b"a", b"b"], "{hides_kinds} {ask:?}");
        }
        assert_eq!(storage.left().unwrap(), Some(LIMIT - 8), "{hides_kinds}");
    }
}

#[test]
fn a_listing_shows_the_size_of_now_and_not_the_one_that_the_kernel_remembers() {
    let tree = Tree::new();
    let Some(disk) = LyingDisk::mount(&tree.root, [("log", "one")]) else { return };
    disk.lies().keeps_names = true;
    let storage = tree.storage();
    assert_eq!(list(&storage, "/")[0].1.size, 3);
    // Another computer appends to the file, which changes nothing in its directory.
    disk.lies().files.get_mut("log").unwrap().extend(b"two");
    assert_eq!(list(&storage, "/")[0].1.size, 6);
    assert_eq!(storage.stat(&path("log"), Ask::Facts).unwrap().size, 6);
}

#[test]
fn a_listing_that_the_disk_breaks_off_is_an_error_and_no_shorter_listing_cm_112() {
    let tree = Tree::new();
    let Some(disk) = LyingDisk::mount(&tree.root, [("a", ""), ("b", "")]) else { return };
    let storage = tree.storage();
    // ENOENT is the error of a directory that was removed, but also any error of some disks.
    for (errno, want) in [(Errno::IO, Io), (Errno::NOENT, NotFound)] {
        disk.lies().listing_error = errno.raw_os_error();
        for ask in [Ask::Facts, Ask::Names] {
            let mut entries = storage.list(&path("/"), ask).unwrap();
            let ended = entries.find_map(Result::err).unwrap();
            assert_eq!(ended.kind, want, "{ask:?}");
            assert!(entries.next().is_none());
        }
    }
}

#[test]
fn a_listing_lacks_no_name_although_the_time_of_its_directory_stands_still_ls_31() {
    let tree = Tree::new();
    let files = ["a", "b", "c"].map(|name| (name, ""));
    let Some(disk) = LyingDisk::mount(&tree.root, files) else { return };
    let storage = tree.storage();
    for ask in [Ask::Names, Ask::Facts] {
        disk.lies().files.insert("a".to_owned(), Vec::new());
        // The next names move up, and the reading passes over one of them.
        disk.lies().vanishes = Some("a".to_owned());
        let listed = names(&storage, ask);
        assert!([b"b", b"c"].iter().all(|name| listed.iter().any(|it| it == name)), "{listed:?}");
    }
}

#[test]
fn another_spelling_of_a_name_reaches_no_hidden_file_and_evades_no_record_fs_14_fs_15() {
    let tree = Tree::new();
    let hidden = ".ftp-upload-0123456789abcdef-f.part";
    let Some(disk) = LyingDisk::mount(&tree.root, [("f", "old file"), (hidden, "x")]) else {
        return;
    };
    disk.lies().folds = true;
    let storage = tree.storage();
    assert_eq!(storage.stat(&path("F"), Ask::Facts).unwrap().size, 8);
    assert_eq!(kind(storage.read(&path(hidden.to_uppercase()))), Some(NotFound));
    let mut upload = storage.write(&path("f"), WriteMode::Replace, Keep::Bytes(b"u")).unwrap();
    upload.write_all(b"new").unwrap();
    upload.abort(StreamEnd::Cut);
    for spelling in ["f", "F"] {
        assert!(storage.unfinished(&path(spelling), Some(b"u")).unwrap().is_some(), "{spelling}");
    }
}

#[test]
fn a_file_whose_sync_the_disk_ignored_is_told_as_it_is_and_stored_again_hf_04() {
    let tree = Tree::new();
    let Some(disk) = LyingDisk::mount(&tree.root, []) else { return };
    let storage = tree.storage().with(|config| config.sync = SyncPolicy::FileAndDirectory);
    let store = || {
        let mut upload = storage.write(&path("f"), WriteMode::Replace, Keep::Shared).unwrap();
        upload.write_all(b"content").unwrap();
        upload.commit().unwrap();
    };
    store();
    // After a power cut, the disk has the name without its bytes.
    disk.lies().files.insert("f".to_owned(), Vec::new());
    let seen = storage.stat(&path("f"), Ask::Facts).unwrap();
    assert_eq!(seen.size, 0);
    let mut read = String::new();
    storage.read(&path("f")).unwrap().read_to_string(&mut read).unwrap();
    assert_eq!(read, "");
    store();
    assert_eq!(disk.lies().files["f"], b"content");
}

#[test]
fn a_cut_upload_that_cannot_make_its_record_becomes_it_fs_15_hf_04() {
    let tree = Tree::new();
    let Some(disk) = LyingDisk::mount(&tree.root, []) else { return };
    let storage = tree.storage().with(|config| config.sync = SyncPolicy::FileAndDirectory);
    let begin = |mode| {
        let mut upload = storage.write(&path("f"), mode, Keep::Bytes(b"u")).unwrap();
        upload.write_all(b"new").unwrap();
        upload
    };
    let cut_while = |(call, errno): (u32, Errno), upload: Box<dyn Upload>| {
        disk.lies().fails = Some((call, errno.raw_os_error()));
        upload.abort(StreamEnd::Cut);
        disk.lies().fails = None;
    };
    let left = || storage.unfinished(&path("f"), Some(b"u")).unwrap().map(|left| left.kept);
    // No free inode; a user who may have no more of them; bytes that the disk could not write.
    for fault in [(CREATE, Errno::NOSPC), (CREATE, Errno::DQUOT), (FSYNC, Errno::IO)] {
        cut_while(fault, begin(WriteMode::Replace));
        assert_eq!(left(), Some(0), "{fault:?}");
        assert_eq!(disk.lies().files.len(), 1, "{fault:?}");
        begin(WriteMode::Replace).abort(StreamEnd::Cut);
        assert_eq!(left(), Some(3), "{fault:?}");
        // The record of an upload that resumes is there, but says nothing of a file that is not.
        cut_while(fault, begin(WriteMode::Resume(2)));
        assert_eq!(left(), Some(0), "{fault:?}");
        assert_eq!(disk.lies().files.len(), 1, "{fault:?}");
        let upload = begin(WriteMode::Replace);
        upload.commit().unwrap();
        assert_eq!((left(), disk.lies().files.len()), (None, 1), "{fault:?}");
        storage.remove(&path("f")).unwrap();
    }
    // Another program has made a file of this name since: it is forbidden to resume at its length.
    let upload = begin(WriteMode::Replace);
    disk.lies().files.insert("f".to_owned(), b"another".to_vec());
    cut_while((CREATE, Errno::NOSPC), upload);
    assert_eq!((left(), tree.get("f")), (Some(0), b"another".to_vec()));
    // The user has stored it with a second attempt since.
    storage.remove(&path("f")).unwrap();
    let (first, mut second) = (begin(WriteMode::Replace), begin(WriteMode::Replace));
    second.write_all(b"er").unwrap();
    second.commit().unwrap();
    cut_while((CREATE, Errno::NOSPC), first);
    assert_eq!((left(), tree.get("f")), (Some(0), b"newer".to_vec()));
    storage.remove(&path("f")).unwrap();
    let publishing = storage.with(|config| config.partial = PartialPolicy::Publish);
    let mut upload = publishing.write(&path("f"), WriteMode::Replace, Keep::Bytes(b"u")).unwrap();
    upload.write_all(b"new").unwrap();
    cut_while((FSYNC, Errno::IO), upload);
    assert!(publishing.unfinished(&path("f"), Some(b"u")).unwrap().is_some());
    assert_eq!(disk.lies().files.len(), 1);
}

/// As at the start of a server that was killed: nothing else removes what it left for an hour.
#[test]
fn a_walk_that_lacked_descriptors_comes_again_soon_fs_14() {
    let tree = Tree::new();
    let Some(disk) = LyingDisk::mount(&tree.root, []) else { return };
    let storage = tree.storage();
    let pause = || sweep::once(&storage.files.root).1;
    for (errno, is_soon) in [(Errno::NFILE, true), (Errno::MFILE, true), (Errno::IO, false)] {
        disk.lies().fails = Some((OPENDIR, errno.raw_os_error()));
        assert_eq!(pause() < sweep::AGAIN, is_soon, "{errno}");
        disk.lies().fails = None;
        assert!(pause() >= sweep::AGAIN);
    }
}

#[test]
fn a_listing_shows_a_name_that_cannot_be_examined_ls_31() {
    let tree = Tree::new();
    let files = [("a", ""), ("b", "secret"), ("d/f", "")];
    let Some(disk) = LyingDisk::mount(&tree.root, files) else { return };
    let storage = tree.storage();
    for (name, want) in [("b", EntryKind::Special), ("d", EntryKind::Directory)] {
        for errno in [Errno::ACCESS, Errno::PERM, Errno::NOTCONN, Errno::STALE] {
            disk.lies().unknown = Some((name.to_owned(), errno.raw_os_error()));
            let listed = list(&storage, "/");
            let found = listed.iter().find(|(listed, _)| *listed == name.as_bytes()).unwrap();
            assert_eq!((listed.len(), found.1.kind), (3, want), "{name} {errno}");
            assert_eq!(names(&storage, Ask::Names), [b"a", b"b", b"d"], "{name} {errno}");
        }
        disk.lies().unknown = Some((name.to_owned(), Errno::NOENT.raw_os_error()));
        assert_eq!(storage.list(&path("/"), Ask::Facts).unwrap().count(), 2, "{name}");
        disk.lies().unknown = Some((name.to_owned(), Errno::IO.raw_os_error()));
        let ended = storage.list(&path("/"), Ask::Facts).unwrap().find_map(Result::err);
        assert_eq!(ended.unwrap().kind, Io, "{name}");
    }
}

#[test]
fn a_target_that_cannot_be_looked_up_is_neither_resumed_nor_replaced_fs_15() {
    let tree = Tree::new();
    let Some(disk) = LyingDisk::mount(&tree.root, [("a", "old")]) else { return };
    let storage = tree.storage();
    disk.lies().unknown = Some(("a".to_owned(), Errno::IO.raw_os_error()));
    assert_eq!(kind(storage.unfinished(&path("a"), Some(b"u"))), Some(Io));
    for mode in [WriteMode::Replace, WriteMode::Append, WriteMode::From(1), WriteMode::Resume(1)] {
        assert_eq!(kind(storage.write(&path("a"), mode, Keep::Bytes(b"u"))), Some(Io), "{mode:?}");
    }
    disk.lies().unknown = None;
    assert_eq!(tree.get("a"), b"old");
}

#[test]
fn two_files_with_one_inode_number_stay_two_files_cm_93_ls_08() {
    let tree = Tree::new();
    let Some(disk) = LyingDisk::mount(&tree.root, [("a", "one"), ("b", "two")]) else { return };
    disk.lies().inode = Some(7);
    let storage = tree.storage();
    let shown = list(&storage, "/");
    assert_eq!(shown[0].1.identity, shown[1].1.identity);
    assert_eq!(kind(storage.rename(&path("a"), &path("b"), false)), Some(Exists));
    assert_eq!((tree.get("a"), tree.get("b")), (b"one".to_vec(), b"two".to_vec()));
    storage.rename(&path("a"), &path("b"), true).unwrap();
    assert_eq!(names(&storage, Ask::Names), [b"b"]);
    assert_eq!(tree.get("b"), b"one");
}

#[test]
fn a_root_whose_inode_number_changes_is_counted_again_hp_23() {
    const LIMIT: u64 = 100_000;
    let tree = Tree::new();
    let Some(disk) = LyingDisk::mount(&tree.root, [("a", "12345")]) else { return };
    let open = || tree.storage().with(|config| config.quota = LIMIT);
    let before = open();
    assert_eq!(before.left().unwrap(), Some(LIMIT - 5));
    disk.lies().files.insert("b".to_owned(), b"678".to_vec());
    disk.lies().root_inode = Some(4_711);
    assert_eq!(open().left().unwrap(), Some(LIMIT - 8));
}

#[test]
fn an_unknown_free_space_is_told_apart_from_a_disk_that_does_not_answer() {
    let tree = Tree::new();
    let Some(disk) = LyingDisk::mount(&tree.root, [("a", "")]) else { return };
    let storage = tree.storage();
    let free = |room| storage.space(&path("/"), room);
    assert_eq!(free(RoomFor::New(1)).unwrap().free, Some((1 << 20) * 4_096));
    disk.lies().hides_size = true;
    assert_eq!(kind(free(RoomFor::New(1))), Some(Unsupported));
    for (errno, want) in [(Errno::IO, Io), (Errno::NOSYS, Unsupported)] {
        disk.lies().space_error = errno.raw_os_error();
        assert_eq!(kind(free(RoomFor::New(1))), Some(want), "{errno}");
        assert_eq!(kind(free(RoomFor::More(0))), Some(want), "{errno}");
    }
}

#[test]
fn a_full_directory_stays_although_the_disk_would_remove_it_cm_87() {
    let tree = Tree::new();
    let hidden = |directory| format!("{directory}/.ftp-upload-0123456789abcdef");
    let (full, hidden) = (hidden("full"), hidden("hidden"));
    let files = [("full/f", "one"), (&*full, ""), (&*hidden, "")];
    let Some(disk) = LyingDisk::mount(&tree.root, files) else { return };
    let storage = tree.storage();
    assert_eq!(kind(storage.rmdir(&path("full"))), Some(NotEmpty));
    // The listing fails before it shows a name.
    disk.lies().listing_error = Errno::IO.raw_os_error();
    assert_eq!(kind(storage.rmdir(&path("full"))), Some(Io));
    disk.lies().listing_error = 0;
    assert_eq!(tree.get("full/f"), b"one");
    storage.rmdir(&path("hidden")).unwrap();
    assert_eq!(names(&storage, Ask::Names), [b"full"]);
}

#[test]
fn an_upload_onto_the_beginning_of_a_file_loses_no_newer_one_cm_107() {
    let tree = Tree::new();
    for storage in tree.storages() {
        let begin = || {
            tree.put("f", "0123456789");
            storage.write(&path("f"), WriteMode::From(5), Keep::Shared).unwrap()
        };
        // Another program replaces or shortens the file, after its beginning was copied or before.
        for (new, is_copied, want) in [
            ("the newer file", true, Busy),
            ("the newer file", false, Busy),
            ("01", false, BadRestart),
        ] {
            let mut upload = begin();
            while is_copied && !upload.prepare().unwrap() {}
            if want == Busy {
                fs::remove_file(tree.root.join("f")).unwrap();
            }
            tree.put("f", new);
            let written = upload.write_all(b"end").map_err(StorageError::from);
            let ended = written.and_then(|()| upload.commit());
            assert_eq!(kind(ended), Some(want), "{new} {is_copied}");
            assert_eq!(tree.get("f"), new.as_bytes());
        }
    }
}

/// Where only the last change of any kind differs, as after a backup by a hard link, the bytes decide.
#[test]
fn an_upload_onto_the_beginning_of_a_file_sees_changes_of_it_within_the_second_cm_107() {
    let tree = Tree::new();
    // Where a program writes, and whether it sets the time back.
    for (at, sets_back, is_seen) in
        [(Some(9), false, true), (Some(0), true, true), (Some(9), true, false), (None, true, false)]
    {
        for storage in tree.storages() {
            tree.put("f", "0123456789");
            let _ = fs::remove_file(tree.root.join("link"));
            let file = fs::File::options().write(true).open(tree.root.join("f")).unwrap();
            let time = file.metadata().unwrap().modified().unwrap();
            let mut upload = storage.write(&path("f"), WriteMode::From(5), Keep::Shared).unwrap();
            while !upload.prepare().unwrap() {}
            upload.write_all(b"end").unwrap();
            thread::sleep(Duration::from_millis(20));
            match at {
                Some(at) => std::os::unix::fs::FileExt::write_all_at(&file, b"x", at).unwrap(),
                None => fs::hard_link(tree.root.join("f"), tree.root.join("link")).unwrap(),
            }
            if sets_back {
                file.set_modified(time).unwrap();
            }
            assert_eq!(kind(upload.commit()), is_seen.then_some(Busy), "{at:?} {sets_back}");
            assert_eq!(tree.get("f") == b"01234end", !is_seen, "{at:?} {sets_back}");
        }
    }
}

#[test]
fn a_cut_upload_that_fits_no_more_leaves_a_record_without_bytes_hp_23_fs_15() {
    const LIMIT: u64 = 10_000;
    let user = Some(&b"u"[..]);
    let tree = Tree::new();
    tree.put("f", [b'o'; 6_000]);
    let storage = tree.storage().with(|config| config.quota = LIMIT);
    let keep = Keep::Bytes(b"u");
    let mut cut = storage.write(&path("f"), WriteMode::Replace, keep).unwrap();
    // The file that is replaced pays for these bytes, until the upload is cut.
    cut.write_all(&[b'n'; 3_000]).unwrap();
    let mut other = storage.write(&path("g"), WriteMode::Replace, keep).unwrap();
    other.write_all(&[b'g'; 4_000]).unwrap();
    other.commit().unwrap();
    cut.abort(StreamEnd::Cut);
    let record = storage.unfinished(&path("f"), user).unwrap().unwrap();
    assert_eq!((record.kept, record.is_running), (0, false));
    assert_eq!(storage.left().unwrap(), Some(0));
}

#[test]
fn a_mounted_disk_that_tells_no_size_counts_too_hp_23() {
    const LIMIT: u64 = 100_000;
    let tree = Tree::new();
    let mounted = tree.root.join("d");
    fs::create_dir(&mounted).unwrap();
    let Some(disk) = LyingDisk::mount(&mounted, [("a", "12345")]) else { return };
    for hides_size in [false, true] {
        disk.lies().hides_size = hides_size;
        let storage = tree.storage().with(|config| config.quota = LIMIT);
        // The directory counts as 4 KiB.
        assert_eq!(storage.left().unwrap(), Some(LIMIT - 4_096 - 5), "{hides_size}");
    }
}

#[test]
fn links_are_listed_although_their_directory_moves_meanwhile_ls_13() {
    let tree = Tree::new();
    fs::create_dir(tree.root.join("d")).unwrap();
    tree.put("f", "12345");
    for name in ["d/one", "d/two"] {
        tree.link("../f", name);
    }
    for ask in [Ask::Facts, Ask::Names] {
        let storage = tree.storage();
        let mut entries = storage.list(&path("d"), ask).unwrap();
        let first = entries.next().unwrap().unwrap();
        fs::rename(tree.root.join("d"), tree.root.join("e")).unwrap();
        let second = entries.next().unwrap().unwrap();
        fs::rename(tree.root.join("e"), tree.root.join("d")).unwrap();
        let mut names = [first.name, second.name];
        names.sort();
        assert_eq!(names, [b"one", b"two"], "{ask:?}");
        assert!(entries.next().is_none());
    }
}

/// The number of the call that gives a file a new name.
const RENAME_NEW: u32 = 45;

/// As a mount of rclone.
#[test]
fn an_upload_replaces_a_file_on_a_disk_that_creates_only_for_writers_fs_15() {
    let tree = Tree::new();
    let Some(disk) = LyingDisk::mount(&tree.root, [("f", "old")]) else { return };
    disk.lies().makes_for_writers = true;
    let mut upload = tree.storage().write(&path("f"), WriteMode::Replace, Keep::Shared).unwrap();
    upload.write_all(b"newer").unwrap();
    upload.commit().unwrap();
    let names: Vec<_> = disk.lies().files.clone().into_iter().collect();
    assert_eq!(names, [("f".to_owned(), b"newer".to_vec())]);
}

/// As some FUSE disks.
#[test]
fn two_uploads_of_one_new_name_never_both_succeed_without_noreplace_cm_105() {
    let tree = Tree::new();
    let Some(disk) = LyingDisk::mount(&tree.root, []) else { return };
    disk.lies().fails = Some((RENAME_NEW, Errno::INVAL.raw_os_error()));
    let storage = tree.storage();
    let uploads = [b"a", b"b"].map(|content| {
        let mut upload = storage.write(&path("new"), WriteMode::Create, Keep::Shared).unwrap();
        upload.write_all(content).unwrap();
        upload
    });
    // Both look for the name before one of them gets it.
    disk.lies().slow = Duration::from_millis(50);
    let stored = thread::scope(|scope| {
        let threads = uploads.map(|upload| scope.spawn(move || upload.commit()));
        threads.map(|thread| thread.join().unwrap())
    });
    let good = stored.iter().filter(|stored| stored.is_ok()).count();
    assert_eq!(good, 1, "{stored:?}");
}

#[test]
fn an_upload_that_the_disk_refuses_at_any_call_replaces_nothing_cm_106_fs_12_hf_04() {
    let tree = Tree::new();
    let Some(disk) = LyingDisk::mount(&tree.root, [("f", "old")]) else { return };
    let storage = tree.storage().with(|config| config.sync = SyncPolicy::FileAndDirectory);
    // FUSE, NFS and quotas report to the last one only that they have not stored the bytes.
    for call in [WRITE, FSYNC, RENAME, RENAME_NEW, FLUSH] {
        for (name, old) in [("f", Some(&b"old"[..])), ("new", None)] {
            if call == if old.is_some() { RENAME_NEW } else { RENAME } {
                continue;
            }
            disk.lies().fails = Some((call, Errno::IO.raw_os_error()));
            let begun = storage.write(&path(name), WriteMode::Replace, Keep::Shared);
            let stored = begun.and_then(|mut upload| {
                upload.write_all(b"newer")?;
                upload.commit()
            });
            assert_eq!(kind(stored), Some(Io), "{name} {call}");
            let mut lies = disk.lies();
            lies.fails = None;
            assert_eq!(lies.files.get(name).map(|content| &**content), old, "{name} {call}");
        }
    }
}

#[test]
fn a_close_that_takes_long_is_not_waited_for_while_a_file_gets_its_name_fs_18() {
    let tree = Tree::new();
    let Some(disk) = LyingDisk::mount(&tree.root, [("f", "old")]) else { return };
    for sync in [SyncPolicy::None, SyncPolicy::FileAndDirectory] {
        let storage = tree.storage().with(|config| config.sync = sync);
        let mut upload = storage.write(&path("f"), WriteMode::Replace, Keep::Shared).unwrap();
        upload.write_all(b"newer").unwrap();
        upload.flush().unwrap();
        // The disk answers nothing while its files are looked at.
        let slow = disk.lies();
        let (begins, has_begun) = mpsc::channel();
        let complete = &mut upload;
        let prepared = thread::scope(|scope| {
            let preparing = scope.spawn(move || {
                begins.send(()).unwrap();
                complete.prepare_commit()
            });
            has_begun.recv().unwrap();
            thread::sleep(20 * output::SLOW);
            drop(slow);
            preparing.join().unwrap()
        });
        // The session looks at its client before the file gets its name.
        assert!(!prepared.unwrap());
        assert_eq!(storage.stat(&path("f"), Ask::Facts).unwrap().size, 3, "{sync:?}");
        // A further close before the name would fail now.
        disk.lies().fails = Some((FLUSH, Errno::IO.raw_os_error()));
        while !upload.prepare_commit().unwrap() {}
        upload.commit().unwrap();
        let mut lies = disk.lies();
        lies.fails = None;
        lies.files.insert("f".to_owned(), b"old".to_vec());
    }
}

#[test]
fn an_append_that_the_disk_refuses_at_any_call_is_no_success_cm_106_hf_04() {
    let tree = Tree::new();
    let Some(disk) = LyingDisk::mount(&tree.root, []) else { return };
    for sync in [SyncPolicy::None, SyncPolicy::FileAndDirectory] {
        let storage = tree.storage().with(|config| config.sync = sync);
        for call in [WRITE, FSYNC, FLUSH] {
            if (call, sync) == (FSYNC, SyncPolicy::None) {
                continue;
            }
            for mode in [WriteMode::Append, WriteMode::From(3)] {
                // A file of its own: the copy of a descriptor in a starting child of another test can
                // be closed late.
                let name = format!("{mode:?}-{sync:?}-{call}");
                disk.lies().files.insert(name.clone(), b"old".to_vec());
                disk.lies().fails = Some((call, Errno::IO.raw_os_error()));
                let stored =
                    storage.write(&path(&name), mode, Keep::Shared).and_then(|mut upload| {
                        upload.write_all(b"newer")?;
                        upload.commit()
                    });
                assert_eq!(kind(stored), Some(Io), "{name}");
                let mut lies = disk.lies();
                lies.fails = None;
                // This disk loses the whole file when it fails at the end.
                let left = if call == FLUSH { &b""[..] } else { b"old" };
                assert_eq!(lies.files[&name], left, "{name}");
            }
        }
    }
}

#[test]
fn bytes_of_a_cut_upload_that_the_disk_has_lost_at_the_end_are_not_kept_fs_15() {
    let tree = Tree::new();
    let Some(disk) = LyingDisk::mount(&tree.root, [("f", "old")]) else { return };
    let storage = tree.storage();
    disk.lies().fails = Some((FLUSH, Errno::IO.raw_os_error()));
    let mut upload = storage.write(&path("f"), WriteMode::Replace, Keep::Bytes(b"u")).unwrap();
    upload.write_all(b"newer").unwrap();
    upload.abort(StreamEnd::Cut);
    disk.lies().fails = None;
    let left = storage.unfinished(&path("f"), Some(b"u")).unwrap().unwrap();
    assert_eq!(left.kept, 0);
}

#[test]
fn a_name_that_the_disk_denies_is_not_replaced_by_a_new_file() {
    let tree = Tree::new();
    let Some(disk) = LyingDisk::mount(&tree.root, [("a", "old"), ("b", "")]) else { return };
    let storage = tree.storage();
    disk.lies().unknown = Some(("a".to_owned(), Errno::NOENT.raw_os_error()));
    assert_eq!(kind(storage.stat(&path("a"), Ask::Facts)), Some(NotFound));
    assert_eq!(kind(storage.remove(&path("a"))), Some(NotFound));
    assert_eq!(kind(storage.rename(&path("b"), &path("a"), false)), Some(NotFound));
    let mut upload = storage.write(&path("a"), WriteMode::Create, Keep::Shared).unwrap();
    upload.write_all(b"newer").unwrap();
    assert_eq!(kind(upload.commit()), Some(Exists));
    disk.lies().unknown = None;
    assert_eq!(tree.get("a"), b"old");
}

#[test]
fn a_disk_that_spells_names_in_another_way_shows_its_own_spelling() {
    let tree = Tree::new();
    let Some(disk) = LyingDisk::mount(&tree.root, []) else { return };
    let storage = tree.storage();
    let (sent, shown) = ("caf\u{e9}", "cafe\u{301}");
    let mut upload = storage.write(&path(sent), WriteMode::Replace, Keep::Shared).unwrap();
    upload.write_all(b"content").unwrap();
    upload.commit().unwrap();
    // As HFS+ does, which would still find the name that was sent.
    let content = disk.lies().files.remove(sent).unwrap();
    disk.lies().files.insert(shown.to_owned(), content);
    assert_eq!(names(&storage, Ask::Names), [shown.as_bytes()]);
    assert_eq!(storage.stat(&path(shown), Ask::Facts).unwrap().size, 7);
    assert_eq!(kind(storage.stat(&path(sent), Ask::Facts)), Some(NotFound));
}
