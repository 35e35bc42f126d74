//! Uploads appear completely or not at all.

use std::io::Read as _;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use ftp_tests::wait::wait_until;
use rustix::fs::{SeekFrom, seek};

use super::StorageErrorKind::{
    BadRestart, Busy, Denied, Exists, IsDirectory, NameNotAllowed, NoSpace, NotFound,
};
use super::*;
use crate::storage::StreamEnd;

const MODES: [WriteMode; 4] =
    [WriteMode::Create, WriteMode::Replace, WriteMode::Append, WriteMode::From(0)];

fn policies(storage: &LocalStorage) -> [LocalStorage; 3] {
    [SyncPolicy::None, SyncPolicy::File, SyncPolicy::FileAndDirectory]
        .map(|sync| storage.clone().with(|config| config.sync = sync))
}

#[test]
fn a_new_file_becomes_visible_only_on_commit_fs_12_fs_13() {
    let tree = Tree::new();
    fs::create_dir(tree.root.join("d")).unwrap();
    for storage in tree.storages().iter().flat_map(policies) {
        for mode in MODES {
            for name in ["f", "d/f"] {
                let mut upload = storage.write(&path(name), mode, Keep::Shared).unwrap();
                upload.write_all(b"con").unwrap();
                upload.write_all(b"tent").unwrap();
                upload.flush().unwrap();
                assert_eq!(kind(storage.stat(&path(name), Ask::Facts)), Some(NotFound));
                assert_eq!(kind(storage.read(&path(name))), Some(NotFound));
                assert!(list(&storage, "d").is_empty());
                upload.commit().unwrap();
                assert_eq!(tree.get(name), b"content", "{mode:?}");
                storage.remove(&path(name)).unwrap();
            }
        }
    }
    assert_eq!(tree.names(""), ["d"]);
    assert!(tree.names("d").is_empty());
}

#[test]
fn an_empty_upload_makes_an_empty_file() {
    let tree = Tree::new();
    for storage in tree.storages() {
        for mode in MODES {
            storage.write(&path("f"), mode, Keep::Shared).unwrap().commit().unwrap();
            assert_eq!(tree.get("f"), b"");
            fs::remove_file(tree.root.join("f")).unwrap();
        }
    }
}

#[test]
fn the_old_content_stays_until_commit_and_for_its_readers_fs_13_fs_19() {
    let tree = Tree::new();
    for storage in tree.storages().iter().flat_map(policies) {
        tree.put("f", "old");
        fs::hard_link(tree.root.join("f"), tree.root.join("other name")).unwrap();
        let mut reader = storage.read(&path("f")).unwrap();
        let mut upload = storage.write(&path("f"), WriteMode::Replace, Keep::Shared).unwrap();
        upload.write_all(b"the new content").unwrap();
        assert_eq!(read(&storage, "f").unwrap(), b"old");
        upload.commit().unwrap();
        assert_eq!(read(&storage, "f").unwrap(), b"the new content");
        let mut content = Vec::new();
        reader.read_to_end(&mut content).unwrap();
        assert_eq!(content, b"old");
        assert_eq!(tree.get("other name"), b"old");
        assert_eq!(tree.names(""), ["f", "other name"]);
        fs::remove_file(tree.root.join("other name")).unwrap();
    }
}

#[test]
fn an_upload_that_is_not_committed_leaves_nothing_dc_55_hf_17() {
    let tree = Tree::new();
    tree.put("old", "old");
    for storage in tree.storages() {
        for mode in [WriteMode::Replace, WriteMode::Append, WriteMode::From(0), WriteMode::From(2)]
        {
            for end in [Some(StreamEnd::Cut), Some(StreamEnd::Failed), None] {
                let mut upload = storage.write(&path("old"), mode, Keep::Shared).unwrap();
                upload.write_all(b"part").unwrap();
                match end {
                    Some(end) => upload.abort(end),
                    None => drop(upload),
                }
                assert_eq!(tree.names(""), ["old"], "{mode:?} {end:?}");
                assert_eq!(tree.get("old"), b"old", "{mode:?} {end:?}");
            }
        }
        for mode in MODES {
            let mut upload = storage.write(&path("new"), mode, Keep::Shared).unwrap();
            upload.write_all(b"part").unwrap();
            drop(upload);
            assert_eq!(tree.names(""), ["old"], "{mode:?}");
        }
    }
}

#[test]
fn create_never_replaces_cm_105_cm_109() {
    let tree = Tree::new();
    for storage in tree.storages() {
        tree.put("f", "old");
        assert_eq!(kind(storage.write(&path("f"), WriteMode::Create, Keep::Shared)), Some(Exists));
        fs::remove_file(tree.root.join("f")).unwrap();
        // A file that appeared during the upload is not replaced either.
        let mut upload = storage.write(&path("f"), WriteMode::Create, Keep::Shared).unwrap();
        upload.write_all(b"late").unwrap();
        tree.put("f", "early");
        assert_eq!(kind(upload.commit()), Some(Exists));
        assert_eq!(tree.get("f"), b"early");
        assert_eq!(tree.names(""), ["f"]);
    }
}

#[test]
fn replace_handles_files_created_or_removed_meanwhile() {
    let tree = Tree::new();
    for storage in tree.storages() {
        for (before, after) in [(false, true), (true, false), (true, true)] {
            let file = tree.root.join("f");
            let set = |there| match there {
                true => fs::write(&file, "other").unwrap(),
                false => drop(fs::remove_file(&file)),
            };
            set(before);
            let mut upload = storage.write(&path("f"), WriteMode::Replace, Keep::Shared).unwrap();
            upload.write_all(b"mine").unwrap();
            set(after);
            upload.commit().unwrap();
            assert_eq!(tree.get("f"), b"mine", "{before} {after}");
            fs::remove_file(&file).unwrap();
        }
        let upload = storage.write(&path("f"), WriteMode::Replace, Keep::Shared).unwrap();
        fs::create_dir(tree.root.join("f")).unwrap();
        assert_eq!(kind(upload.commit()), Some(IsDirectory));
        fs::remove_dir(tree.root.join("f")).unwrap();
        assert!(tree.names("").is_empty());
    }
}

#[test]
fn an_upload_into_a_removed_directory_is_refused() {
    let tree = Tree::new();
    for storage in tree.storages() {
        fs::create_dir(tree.root.join("d")).unwrap();
        let mut upload = storage.write(&path("d/f"), WriteMode::Replace, Keep::Shared).unwrap();
        upload.write_all(b"x").unwrap();
        fs::remove_dir_all(tree.root.join("d")).unwrap();
        assert_eq!(kind(upload.commit()), Some(NotFound));
    }
}

#[test]
fn append_writes_in_place_and_rolls_back_on_interruption_fs_16() {
    let tree = Tree::new();
    for storage in tree.storages().iter().flat_map(policies) {
        tree.put("f", "old");
        let before = storage.stat(&path("f"), Ask::Facts).unwrap().identity;
        upload(&storage, "f", WriteMode::Append, b"+new");
        assert_eq!(tree.get("f"), b"old+new");
        upload(&storage, "f", WriteMode::From(7), b"+er");
        assert_eq!(tree.get("f"), b"old+new+er");
        assert_eq!(storage.stat(&path("f"), Ask::Facts).unwrap().identity, before);
        let mut upload = storage.write(&path("f"), WriteMode::Append, Keep::Shared).unwrap();
        upload.write_all(b"part").unwrap();
        assert_eq!(tree.get("f"), b"old+new+erpart");
        drop(upload);
        assert_eq!(tree.get("f"), b"old+new+er");
    }
}

#[test]
fn a_time_that_is_set_during_an_append_stays_after_its_rollback_fs_16_cm_123() {
    let tree = Tree::new();
    for storage in tree.storages() {
        tree.put("f", "old");
        for (modified, before) in [(1_000_000_001, true), (1_000_000_002, false)] {
            let mut append = storage.write(&path("f"), WriteMode::Append, Keep::Shared).unwrap();
            let set = || storage.set(&path("f"), Change::Modified(modified)).unwrap();
            if before {
                set();
            }
            append.write_all(b"part").unwrap();
            if !before {
                set();
            }
            let told = || storage.stat(&path("f"), Ask::Facts).unwrap();
            assert_eq!((told().size, told().modified), (3, modified));
            append.abort(StreamEnd::Cut);
            assert_eq!((told().size, told().modified), (3, modified));
        }
    }
}

#[test]
fn rolling_back_an_append_never_lengthens_the_file() {
    let tree = Tree::new();
    tree.put("f", "0123456789");
    let mut upload = tree.storage().write(&path("f"), WriteMode::Append, Keep::Shared).unwrap();
    upload.write_all(b"part").unwrap();
    fs::OpenOptions::new().write(true).open(tree.root.join("f")).unwrap().set_len(3).unwrap();
    upload.abort(StreamEnd::Cut);
    assert_eq!(tree.get("f"), b"012");
}

#[test]
fn an_append_to_a_removed_or_renamed_file_fails() {
    let tree = Tree::new();
    let storage = tree.storage();
    tree.put("f", "old");
    tree.put("g", "old");
    let begin = |name| {
        let mut upload = storage.write(&path(name), WriteMode::Append, Keep::Shared).unwrap();
        upload.write_all(b"+new").unwrap();
        upload
    };
    let replaced = begin("f");
    let removed = begin("g");
    upload(&storage, "f", WriteMode::Replace, b"other");
    storage.remove(&path("g")).unwrap();
    for upload in [replaced, removed] {
        assert_eq!(kind(upload.commit()), Some(NotFound));
    }
    assert_eq!(tree.get("f"), b"other");
    // The client would not look for the appended bytes under another name.
    let renamed = begin("f");
    storage.rename(&path("f"), &path("h"), false).unwrap();
    tree.put("f", "rotated");
    assert_eq!(kind(renamed.commit()), Some(NotFound));
    assert_eq!((tree.get("f"), tree.get("h")), (b"rotated".to_vec(), b"other".to_vec()));
}

#[test]
fn an_append_that_begins_during_a_download_is_not_read_fs_16_cm_103() {
    let tree = Tree::new();
    for storage in tree.storages() {
        for (read_before, is_committed) in [(0, false), (4, false), (10, true)] {
            tree.put("f", "0123456789");
            let mut source = storage.read(&path("f")).unwrap();
            let mut content = vec![0; read_before];
            source.read_exact(&mut content).unwrap();
            let mut append = storage.write(&path("f"), WriteMode::Append, Keep::Shared).unwrap();
            append.write_all(b"more").unwrap();
            assert!(source.descriptor().is_none());
            source.read_to_end(&mut content).unwrap();
            assert_eq!(content, b"0123456789");
            if is_committed {
                append.commit().unwrap();
                // A download that has ended at the known length stays there.
                assert_eq!(source.read_to_end(&mut content).unwrap(), 0);
                source = storage.read(&path("f")).unwrap();
                content.clear();
                source.read_to_end(&mut content).unwrap();
                assert_eq!(content, b"0123456789more");
            } else {
                append.abort(StreamEnd::Cut);
            }
        }
        // What another program adds is read.
        tree.put("f", "0123456789");
        let mut source = storage.read(&path("f")).unwrap();
        tree.put("f", "0123456789more");
        let mut content = Vec::new();
        source.read_to_end(&mut content).unwrap();
        assert_eq!(content, b"0123456789more");
        assert!(source.descriptor().is_some());
    }
}

#[test]
fn a_download_is_not_cut_inside_an_append_that_was_committed_meanwhile_fs_16_cm_103() {
    let tree = Tree::new();
    for storage in tree.storages() {
        let begin = |more: &[u8]| {
            let mut append = storage.write(&path("f"), WriteMode::Append, Keep::Shared).unwrap();
            append.write_all(more).unwrap();
            append
        };
        for read_before in [0, 10, 12, 14] {
            tree.put("f", "0123456789");
            let mut source = storage.read(&path("f")).unwrap();
            begin(b"more").commit().unwrap();
            let mut content = vec![0; read_before];
            source.read_exact(&mut content).unwrap();
            let append = begin(b"again");
            assert!(source.descriptor().is_none());
            source.read_to_end(&mut content).unwrap();
            assert_eq!(content, b"0123456789more", "{read_before}");
            append.abort(StreamEnd::Cut);
        }
        // The kernel has sent bytes that may be removed again.
        tree.put("f", "0123456789");
        let mut source = storage.read(&path("f")).unwrap();
        let file = source.descriptor().unwrap().try_clone_to_owned().unwrap();
        let append = begin(b"more");
        seek(&file, SeekFrom::Start(12)).unwrap();
        assert!(source.read(&mut [0]).is_err());
        append.abort(StreamEnd::Cut);
    }
}

#[test]
fn only_one_append_to_a_file_runs_at_a_time() {
    let tree = Tree::new();
    tree.put("f", "old");
    for storage in tree.storages() {
        let first = storage.write(&path("f"), WriteMode::Append, Keep::Shared).unwrap();
        assert_eq!(kind(storage.write(&path("f"), WriteMode::Append, Keep::Shared)), Some(Busy));
        assert_eq!(kind(storage.write(&path("f"), WriteMode::From(3), Keep::Shared)), Some(Busy));
        drop(first);
        drop(storage.write(&path("f"), WriteMode::Append, Keep::Shared).unwrap());
    }
}

#[test]
fn parallel_appends_to_a_missing_file_lose_no_upload() {
    let tree = Tree::new();
    for storage in tree.storages() {
        let mut first = storage.write(&path("f"), WriteMode::Append, Keep::Shared).unwrap();
        first.write_all(b"first").unwrap();
        upload(&storage, "f", WriteMode::Append, b"second");
        assert_eq!(kind(first.commit()), Some(Busy));
        assert_eq!(tree.get("f"), b"second");
        assert_eq!(tree.names(""), ["f"]);
        storage.remove(&path("f")).unwrap();
    }
}

#[test]
fn from_keeps_the_first_bytes_cm_107_hp_24() {
    let tree = Tree::new();
    for storage in tree.storages() {
        for (from, content, want) in [
            (0, &b"new"[..], &b"new"[..]),
            (1, b"new", b"0new"),
            (4, b"", b"0123"),
            (9, b"!", b"012345678!"),
            (10, b"", b"0123456789"),
            (10, b"more", b"0123456789more"),
        ] {
            tree.put("f", "0123456789");
            upload(&storage, "f", WriteMode::From(from), content);
            assert_eq!(tree.get("f"), want, "{from}");
        }
        tree.put("f", "0123456789");
        for from in [11, 1 << 62, u64::MAX] {
            let refused = kind(storage.write(&path("f"), WriteMode::From(from), Keep::Shared));
            assert_eq!(refused, Some(BadRestart), "{from}");
        }
        assert_eq!(
            kind(storage.write(&path("missing"), WriteMode::From(1), Keep::Shared)),
            Some(BadRestart)
        );
        tree.put("empty", "");
        upload(&storage, "empty", WriteMode::From(0), b"x");
        assert_eq!(tree.get("empty"), b"x");
        assert_eq!(tree.names(""), ["empty", "f"]);
    }
}

#[test]
fn a_write_from_an_offset_keeps_the_beginning_of_a_large_file() {
    let tree = Tree::new();
    let old: Vec<u8> = (0..=250).cycle().take(1_500_000).collect();
    tree.put("f", &old);
    upload(&tree.storage(), "f", WriteMode::From(1_234_567), b"end");
    assert_eq!(tree.get("f"), [&old[..1_234_567], b"end"].concat());
}

#[test]
fn permission_bits_are_kept_or_new_fs_17() {
    let tree = Tree::new();
    let mode = |name: &str| fs::metadata(tree.root.join(name)).unwrap().mode() & 0o7777;
    for storage in tree.storages() {
        tree.put("plain", "");
        upload(&storage, "new", WriteMode::Create, b"x");
        assert_eq!(mode("new"), mode("plain"));
        for (bits, want) in [(0o600, 0o600), (0o664, 0o664), (0o755, 0o755), (0o4755, 0o755)] {
            for write in [WriteMode::Replace, WriteMode::From(0)] {
                let permissions = fs::Permissions::from_mode(bits);
                fs::set_permissions(tree.root.join("plain"), permissions).unwrap();
                upload(&storage, "plain", write, b"x");
                assert_eq!(mode("plain"), want, "{bits:o}");
            }
        }
        fs::remove_file(tree.root.join("plain")).unwrap();
        fs::remove_file(tree.root.join("new")).unwrap();
    }
}

#[test]
fn a_file_that_may_not_be_written_is_not_replaced() {
    if is_privileged() {
        println!("skipped: mode bits do not bind whoever runs this");
        return;
    }
    let tree = Tree::new();
    tree.put("f", "old");
    fs::set_permissions(tree.root.join("f"), fs::Permissions::from_mode(0o444)).unwrap();
    for storage in tree.storages() {
        for mode in [WriteMode::Replace, WriteMode::Append, WriteMode::From(1)] {
            assert_eq!(kind(storage.write(&path("f"), mode, Keep::Shared)), Some(Denied));
        }
    }
}

#[test]
fn names_and_places_that_are_refused_cm_105_fs_06_fs_14_hp_09_hp_22() {
    let tree = Tree::new();
    tree.put("f", "f");
    fs::create_dir(tree.root.join("d")).unwrap();
    let longest = "x".repeat(255);
    let too_long = "x".repeat(256);
    for storage in tree.storages() {
        for mode in MODES {
            for (name, want) in [
                ("/", IsDirectory),
                ("d", IsDirectory),
                ("missing/f", NotFound),
                ("f/below", NotFound),
                (&too_long, NameNotAllowed),
                ("a\rb", NameNotAllowed),
                ("a\nb", NameNotAllowed),
                (".ftp-upload-1", NameNotAllowed),
                (".ftp-upload-1/f", NameNotAllowed),
                (&"d/".repeat(129), NameNotAllowed),
            ] {
                assert_eq!(
                    kind(storage.write(&path(name), mode, Keep::Shared)),
                    Some(want),
                    "{name} {mode:?}"
                );
            }
        }
        upload(&storage, &longest, WriteMode::Create, b"x");
        upload(&storage, &longest, WriteMode::Replace, b"y");
        assert_eq!(tree.get(&longest), b"y");
        storage.remove(&path(&longest)).unwrap();
    }
    for name in [&b"\xff\xfe"[..], b" ", b"-rf", b"\"", b"\x1b[2J"] {
        let mut upload =
            tree.storage().write(&path(name), WriteMode::Create, Keep::Shared).unwrap();
        upload.write_all(name).unwrap();
        upload.commit().unwrap();
        assert_eq!(read(&tree.storage(), name).unwrap(), name);
        tree.storage().remove(&path(name)).unwrap();
    }
    assert_eq!(tree.names(""), ["d", "f"]);
}

#[test]
fn concurrent_uploads_to_one_name_are_never_mixed_fs_18_hp_18() {
    const LENGTH: usize = 100_000;
    let tree = Tree::new();
    for storage in tree.storages() {
        std::thread::scope(|scope| {
            for byte in b'a'..b'a' + 16 {
                let storage = &storage;
                scope.spawn(move || {
                    for _ in 0..4 {
                        let mut upload =
                            storage.write(&path("f"), WriteMode::Replace, Keep::Shared).unwrap();
                        for chunk in [byte; LENGTH].chunks(8_192) {
                            upload.write_all(chunk).unwrap();
                        }
                        upload.commit().unwrap();
                        let content = read(storage, "f").unwrap();
                        assert_eq!(content.len(), LENGTH);
                        assert!(content.iter().all(|other| *other == content[0]));
                    }
                });
            }
        });
        assert_eq!(tree.names(""), ["f"]);
        storage.remove(&path("f")).unwrap();
    }
}

#[test]
fn one_of_many_creators_wins_hp_17() {
    let tree = Tree::new();
    for storage in tree.storages() {
        let won: usize = std::thread::scope(|scope| {
            let create = || {
                let upload = storage.write(&path("f"), WriteMode::Create, Keep::Shared);
                usize::from(upload.and_then(|upload| upload.commit()).is_ok())
            };
            let threads: Vec<_> = (0..16).map(|_| scope.spawn(create)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(won, 1);
        assert_eq!(tree.names(""), ["f"]);
        storage.remove(&path("f")).unwrap();
    }
}

#[test]
fn a_long_upload_with_file_sync_has_the_right_content() {
    let tree = Tree::new();
    let storage = tree.storage().with(|config| config.sync = SyncPolicy::File);
    let mut upload = storage.write(&path("f"), WriteMode::Create, Keep::Shared).unwrap();
    let chunk: Vec<u8> = (0..=u8::MAX).cycle().take(1 << 20).collect();
    for _ in 0..70 {
        upload.write_all(&chunk).unwrap();
    }
    upload.commit().unwrap();
    let mut file = fs::File::open(tree.root.join("f")).unwrap();
    let mut got = vec![0; chunk.len()];
    for _ in 0..70 {
        file.read_exact(&mut got).unwrap();
        assert!(got == chunk);
    }
    assert_eq!(file.read(&mut got).unwrap(), 0);
}

#[test]
fn a_full_disk_keeps_existing_files_cm_86_cm_106_hf_01() {
    let tree = Tree::new();
    let Some(_mount) = Mount::new(tree.root.clone(), "size=1m,nr_inodes=32") else {
        println!("skipped: no file system can be mounted here");
        return;
    };
    let old = vec![b'o'; 300_000];
    let chunk = [b'n'; 10_000];
    for storage in tree.storages() {
        for mode in [WriteMode::Replace, WriteMode::Append, WriteMode::From(200_000)] {
            tree.put_when_it_fits("f", &old);
            let mut upload = storage.write(&path("f"), mode, Keep::Shared).unwrap();
            let error = (0..200).find_map(|_| upload.write_all(&chunk).err()).unwrap();
            assert_eq!(StorageError::from(error).kind, NoSpace, "{mode:?}");
            upload.abort(StreamEnd::Failed);
            assert_eq!(tree.get("f"), old, "{mode:?}");
            assert_eq!(tree.names(""), ["f"], "{mode:?}");
        }
        // The copy of the old content does not fit either.
        tree.put_when_it_fits("f", &[b'o'; 700_000]);
        let mut upload = storage.write(&path("f"), WriteMode::From(699_999), Keep::Shared).unwrap();
        let refused = std::iter::repeat_with(|| upload.prepare()).find_map(Result::err).unwrap();
        assert_eq!(refused.kind, NoSpace);
        drop(upload);
        assert_eq!(tree.names(""), ["f"]);
    }
    let storage = tree.storage();
    let refused = (0..32).find_map(|number| kind(storage.mkdir(&path(number.to_string()))));
    assert_eq!(refused, Some(NoSpace));
    assert_eq!(kind(storage.write(&path("new"), WriteMode::Create, Keep::Shared)), Some(NoSpace));
}

#[test]
fn a_disk_remounted_read_only_refuses_changes_hf_05() {
    let tree = Tree::new();
    let Some(mount) = Mount::new(tree.root.clone(), "size=1m") else {
        println!("skipped: no file system can be mounted here");
        return;
    };
    tree.put("f", "old");
    fs::create_dir(tree.root.join("d")).unwrap();
    let storages = tree.storages();
    // A program that another test starts may have the written file open for a moment.
    wait_until("nobody writes there", || {
        let remount = Command::new("mount").args(["-o", "remount,ro"]).arg(&mount.0).output();
        remount.unwrap().status.success()
    });
    for storage in storages {
        for mode in [WriteMode::Replace, WriteMode::Append, WriteMode::From(1)] {
            assert_eq!(
                kind(storage.write(&path("f"), mode, Keep::Shared)),
                Some(Denied),
                "{mode:?}"
            );
        }
        assert_eq!(
            kind(storage.write(&path("new"), WriteMode::Create, Keep::Shared)),
            Some(Denied)
        );
        assert_eq!(kind(storage.mkdir(&path("new"))), Some(Denied));
        assert_eq!(kind(storage.remove(&path("f"))), Some(Denied));
        assert_eq!(kind(storage.rmdir(&path("d"))), Some(Denied));
        assert_eq!(kind(storage.rename(&path("f"), &path("g"), true)), Some(Denied));
        assert_eq!(read(&storage, "f").unwrap(), b"old");
    }
}

#[test]
fn a_mount_point_in_the_tree_cannot_be_removed_or_renamed_into_cm_90_cm_93() {
    let tree = Tree::new();
    fs::create_dir(tree.root.join("m")).unwrap();
    let Some(_mount) = Mount::new(tree.root.join("m"), "size=1m") else {
        println!("skipped: no file system can be mounted here");
        return;
    };
    tree.put("f", "f");
    for storage in tree.storages() {
        let moved = storage.rename(&path("f"), &path("m/f"), true);
        assert_eq!(kind(moved), Some(StorageErrorKind::CrossesMounts));
        assert_eq!(kind(storage.rmdir(&path("m"))), Some(Busy));
        upload(&storage, "m/g", WriteMode::Replace, b"g");
        assert_eq!(read(&storage, "m/g").unwrap(), b"g");
        assert_eq!(kind(storage.rmdir(&path("m"))), Some(StorageErrorKind::NotEmpty));
        storage.remove(&path("m/g")).unwrap();
    }
}
