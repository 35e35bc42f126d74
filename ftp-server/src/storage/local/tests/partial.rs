//! Interrupted uploads: how much is kept, for which user and how long; and the removal of abandoned
//! files.

use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use ftp_tests::wait::wait_until;

use super::StorageErrorKind::{BadRestart, Busy, Exists, NotEmpty, NotFound};
use super::*;
use crate::storage::StreamEnd;

const USER: &[u8] = b"ann";

/// Interrupts an upload of the user after `content`.
fn cut(storage: &LocalStorage, name: &str, mode: WriteMode, content: &[u8]) {
    end(storage, name, mode, content, StreamEnd::Cut);
}

fn end(storage: &LocalStorage, name: &str, mode: WriteMode, content: &[u8], end: StreamEnd) {
    let mut upload = storage.write_as(&path(name), mode, USER).unwrap();
    upload.write_all(content).unwrap();
    upload.abort(end);
}

fn finish(storage: &LocalStorage, name: &str, mode: WriteMode, content: &[u8]) {
    let mut upload = storage.write_as(&path(name), mode, USER).unwrap();
    upload.write_all(content).unwrap();
    upload.commit().unwrap();
}

/// Returns the number of kept bytes.
fn kept(storage: &LocalStorage, name: &str) -> Option<u64> {
    // The storage reports one byte less to the user.
    storage.partial_size(&path(name), USER).ok().map(|told| told + 1)
}

/// Makes the partial upload of `name` this many hours old.
fn age(tree: &Tree, name: &str, hours: u64) {
    let hidden = tree.root.join(std::str::from_utf8(&name::kept(USER, name.as_bytes())).unwrap());
    set_age(&hidden, hours);
}

fn set_age(file: &Path, hours: u64) {
    let then = SystemTime::now() - Duration::from_secs(hours * 3_600);
    fs::OpenOptions::new().append(true).open(file).unwrap().set_modified(then).unwrap();
}

#[test]
fn a_user_can_resume_an_interrupted_upload_fs_15_fs_16_hf_17() {
    let tree = Tree::new();
    fs::create_dir(tree.root.join("d")).unwrap();
    for storage in tree.storages() {
        for begun in [WriteMode::Create, WriteMode::Replace, WriteMode::Append] {
            for (name, gone_on, want) in [
                ("f", WriteMode::Append, "new"),
                ("f", WriteMode::From(10), "0123456789new"),
                ("f", WriteMode::From(9), "012345678new"),
                ("d/f", WriteMode::From(4), "0123new"),
                ("d/f", WriteMode::Replace, "new"),
                ("f", WriteMode::Create, "new"),
            ] {
                cut(&storage, name, begun, b"0123456789");
                // The partial upload is invisible, except that its own user can see its length.
                assert_eq!(kind(storage.stat(&path(name))), Some(NotFound));
                assert_eq!(kind(storage.read(&path(name))), Some(NotFound));
                assert!(list(&storage, "/").iter().all(|(name, _)| name == b"d"));
                assert!(list(&storage, "d").is_empty());
                assert_eq!(kept(&storage, name), Some(10));
                let others = storage.partial_size(&path(name), b"bob");
                assert_eq!(kind(others), Some(NotFound));
                finish(&storage, name, gone_on, b"new");
                assert_eq!(tree.get(name), want.as_bytes(), "{begun:?} {gone_on:?}");
                assert_eq!(kept(&storage, name), None);
                storage.remove(&path(name)).unwrap();
                assert_eq!((tree.names(""), tree.names("d")), (vec!["d".to_owned()], vec![]));
            }
        }
    }
}

#[test]
fn a_partial_file_grows_with_each_attempt_fs_15() {
    let tree = Tree::new();
    for storage in tree.storages() {
        cut(&storage, "f", WriteMode::Replace, b"01234");
        cut(&storage, "f", WriteMode::From(5), b"56");
        assert_eq!(kept(&storage, "f"), Some(7));
        cut(&storage, "f", WriteMode::From(3), b"abc");
        assert_eq!(kept(&storage, "f"), Some(6));
        // No byte arrived: the kept bytes stay.
        cut(&storage, "f", WriteMode::From(6), b"");
        assert_eq!(kept(&storage, "f"), Some(6));
        let beyond = storage.write_as(&path("f"), WriteMode::From(7), USER);
        assert_eq!(kind(beyond), Some(BadRestart));
        // The newer upload replaces the kept one.
        cut(&storage, "f", WriteMode::Replace, b"xy");
        assert_eq!(kept(&storage, "f"), Some(2));
        finish(&storage, "f", WriteMode::From(2), b"z");
        assert_eq!(tree.get("f"), b"xyz");
        assert_eq!(tree.names(""), ["f"]);
        storage.remove(&path("f")).unwrap();
    }
}

#[test]
fn aborted_and_failed_uploads_are_not_kept_fs_15_hf_17() {
    let tree = Tree::new();
    for storage in tree.storages() {
        for ended in [StreamEnd::Abort, StreamEnd::Failed] {
            end(&storage, "f", WriteMode::Replace, b"0123", ended);
            assert!(tree.names("").is_empty(), "{ended:?}");
            cut(&storage, "f", WriteMode::Replace, b"0123");
            end(&storage, "f", WriteMode::From(4), b"4", ended);
            assert!(tree.names("").is_empty(), "{ended:?}");
        }
        // A user who aborts a second attempt discards the first one too.
        cut(&storage, "f", WriteMode::Replace, b"0123");
        end(&storage, "f", WriteMode::Replace, b"", StreamEnd::Abort);
        assert!(tree.names("").is_empty());
    }
}

#[test]
fn an_interrupted_upload_keeps_only_the_existing_file_fs_15() {
    let tree = Tree::new();
    for policy in [PartialPolicy::Resume, PartialPolicy::Discard, PartialPolicy::Publish] {
        for storage in tree.storages().map(|storage| storage.with(|config| config.partial = policy))
        {
            tree.put("f", "old");
            for mode in [WriteMode::Replace, WriteMode::From(1), WriteMode::Append] {
                cut(&storage, "f", mode, b"part");
                assert_eq!((tree.get("f"), tree.names("")), (b"old".to_vec(), vec!["f".into()]));
            }
            fs::remove_file(tree.root.join("f")).unwrap();
            // The same holds if a file appears during the upload.
            let mut upload = storage.write_as(&path("f"), WriteMode::Replace, USER).unwrap();
            upload.write_all(b"part").unwrap();
            tree.put("f", "other");
            drop(upload);
            assert_eq!((tree.get("f"), tree.names("")), (b"other".to_vec(), vec!["f".into()]));
            fs::remove_file(tree.root.join("f")).unwrap();
        }
    }
}

#[test]
fn writing_to_a_newer_file_discards_the_partial_file_fs_15() {
    let tree = Tree::new();
    for storage in tree.storages() {
        for (mode, want) in [
            (WriteMode::Replace, "new"),
            (WriteMode::Append, "othernew"),
            (WriteMode::From(2), "otnew"),
        ] {
            cut(&storage, "f", WriteMode::Replace, b"0123456789");
            fs::write(tree.root.join("f"), "other").unwrap();
            finish(&storage, "f", mode, b"new");
            assert_eq!((tree.get("f"), tree.names("")), (want.into(), vec!["f".to_owned()]));
            // A new file of that name begins with its own content.
            storage.remove(&path("f")).unwrap();
            assert_eq!(kept(&storage, "f"), None, "{mode:?}");
            finish(&storage, "f", WriteMode::Append, b"next");
            assert_eq!(tree.get("f"), b"next");
            storage.remove(&path("f")).unwrap();
        }
    }
}

#[test]
fn partial_files_are_discarded_or_published_by_policy_fs_15() {
    let tree = Tree::new();
    for storage in tree.storages() {
        let discarding = storage.clone().with(|config| config.partial = PartialPolicy::Discard);
        cut(&discarding, "f", WriteMode::Replace, b"part");
        assert!(tree.names("").is_empty());
        let publishing = storage.clone().with(|config| config.partial = PartialPolicy::Publish);
        cut(&publishing, "f", WriteMode::Replace, b"part");
        assert_eq!((tree.get("f"), tree.names("")), (b"part".to_vec(), vec!["f".into()]));
        assert_eq!(kept(&publishing, "f"), None);
        storage.remove(&path("f")).unwrap();
        end(&publishing, "f", WriteMode::Replace, b"part", StreamEnd::Abort);
        cut(&publishing, "f", WriteMode::Replace, b"");
        // The same holds without a user.
        for storage in [&storage, &publishing] {
            let mut upload = storage.write(&path("f"), WriteMode::Replace).unwrap();
            upload.write_all(b"part").unwrap();
            drop(upload);
        }
        assert!(tree.names("").is_empty());
    }
}

#[test]
fn only_one_session_at_a_time_can_resume_an_upload_fs_15_fs_18() {
    let tree = Tree::new();
    for storage in tree.storages() {
        cut(&storage, "f", WriteMode::Replace, b"0123");
        let first = storage.write_as(&path("f"), WriteMode::From(4), USER).unwrap();
        let second = storage.write_as(&path("f"), WriteMode::From(2), USER);
        assert_eq!(kind(second), Some(Busy));
        // A third upload starts from the beginning and completes first; it does not affect the
        // resumed one.
        finish(&storage, "f", WriteMode::Replace, b"whole");
        assert_eq!(tree.get("f"), b"whole");
        assert_eq!(kind(first.commit()), Some(Exists));
        assert_eq!((tree.get("f"), tree.names("")), (b"whole".to_vec(), vec!["f".into()]));
        storage.remove(&path("f")).unwrap();
        // An upload that is interrupted during the resumed one does not replace it.
        cut(&storage, "f", WriteMode::Replace, b"0123");
        let mut first = storage.write_as(&path("f"), WriteMode::From(4), USER).unwrap();
        cut(&storage, "f", WriteMode::Replace, b"xy");
        first.write_all(b"45").unwrap();
        first.commit().unwrap();
        assert_eq!((tree.get("f"), tree.names("")), (b"012345".to_vec(), vec!["f".into()]));
        storage.remove(&path("f")).unwrap();
    }
}

#[test]
fn partial_files_expire_after_a_day_fs_15() {
    let tree = Tree::new();
    for storage in tree.storages() {
        cut(&storage, "f", WriteMode::Replace, b"0123");
        age(&tree, "f", 23);
        assert_eq!(kept(&storage, "f"), Some(4));
        age(&tree, "f", 24);
        assert_eq!(kept(&storage, "f"), None);
        assert_eq!(kind(storage.write_as(&path("f"), WriteMode::From(4), USER)), Some(BadRestart));
        finish(&storage, "f", WriteMode::Append, b"new");
        assert_eq!((tree.get("f"), tree.names("")), (b"new".to_vec(), vec!["f".into()]));
        storage.remove(&path("f")).unwrap();
    }
}

#[test]
fn a_foreign_file_with_the_name_of_a_partial_file_is_untouched_fs_15_hp_22() {
    let tree = Tree::new();
    let hidden = String::from_utf8(name::kept(USER, b"f")).unwrap();
    fs::write(tree.outside.join("victim"), "victim").unwrap();
    for storage in tree.storages() {
        let make: [&dyn Fn(); 4] = [
            &|| tree.link(tree.outside.join("victim"), &hidden),
            &|| fs::hard_link(tree.outside.join("victim"), tree.root.join(&hidden)).unwrap(),
            &|| tree.fifo(&hidden),
            &|| fs::create_dir(tree.root.join(&hidden)).unwrap(),
        ];
        for make in make {
            make();
            assert_eq!(kept(&storage, "f"), None);
            let beyond = storage.write_as(&path("f"), WriteMode::From(6), USER);
            assert_eq!(kind(beyond), Some(BadRestart));
            finish(&storage, "f", WriteMode::Append, b"new");
            assert_eq!(tree.get("f"), b"new");
            storage.remove(&path("f")).unwrap();
            cut(&storage, "f", WriteMode::Replace, b"part");
            assert_eq!(kept(&storage, "f"), None);
            assert_eq!(tree.names(""), [&*hidden]);
            let there = tree.root.join(&hidden);
            fs::remove_file(&there).or_else(|_| fs::remove_dir(&there)).unwrap();
        }
    }
    assert_eq!(fs::read(tree.outside.join("victim")).unwrap(), b"victim");
}

/// Waits until a walk has left only these names, which takes a moment.
#[track_caller]
fn wait_for_names(tree: &Tree, directory: &str, want: &[&str]) {
    wait_until("the names are as expected", || tree.names(directory) == want);
}

#[test]
fn temporary_files_of_a_killed_server_are_removed_at_startup_fs_14() {
    let tree = Tree::new();
    let stale = ".ftp-upload-0123456789abcdef";
    let other = ".ftp-upload-of-somebody-else";
    fs::create_dir_all(tree.root.join("a/b/c")).unwrap();
    tree.link(&tree.outside, "link");
    fs::write(tree.outside.join(stale), "outside").unwrap();
    tree.link(tree.outside.join("secret"), "a/.ftp-upload-fedcba9876543210");
    for directory in [".", "a", "a/b", "a/b/c"] {
        tree.put(&format!("{directory}/{stale}"), "stale");
        tree.put(&format!("{directory}/{other}"), "other");
        tree.put(&format!("{directory}/file"), "file");
    }
    // A file that this or another server is writing is locked.
    let mut running = tree.storage().write(&path("a/b/new"), WriteMode::Create).unwrap();
    running.write_all(b"con").unwrap();
    cut(&tree.storage(), "young", WriteMode::Replace, b"young");
    cut(&tree.storage(), "old", WriteMode::Replace, b"old");
    age(&tree, "old", 25);
    let storage = tree.storage();
    storage.start_sweeper().unwrap();
    let young = String::from_utf8(name::kept(USER, b"young")).unwrap();
    wait_for_names(&tree, "", &[&young, other, "a", "file", "link"]);
    wait_for_names(&tree, "a", &[".ftp-upload-fedcba9876543210", other, "b", "file"]);
    wait_for_names(&tree, "a/b/c", &[other, "file"]);
    running.write_all(b"tent").unwrap();
    running.commit().unwrap();
    wait_for_names(&tree, "a/b", &[other, "c", "file", "new"]);
    assert_eq!(tree.get("a/b/new"), b"content");
    assert_eq!(fs::read(tree.outside.join(stale)).unwrap(), b"outside");
    finish(&storage, "young", WriteMode::From(5), b"er");
    assert_eq!(tree.get("young"), b"younger");
}

#[test]
fn the_sweeper_leaves_links_with_upload_names_alone_fs_14() {
    let tree = Tree::new();
    fs::write(tree.outside.join("victim"), "victim").unwrap();
    fs::hard_link(tree.outside.join("victim"), tree.root.join(".ftp-upload-0000000000000001"))
        .unwrap();
    tree.link(tree.outside.join("victim"), ".ftp-upload-0000000000000002");
    fs::write(tree.root.join(".ftp-upload-0000000000000003"), "left").unwrap();
    let root = Arc::new(Root::open(&tree.root).unwrap());
    // A walk continues only while another owner holds the root.
    let _held = Arc::clone(&root);
    assert!(sweep::once(&root) && sweep::once(&root));
    assert_eq!(tree.names(""), [".ftp-upload-0000000000000001", ".ftp-upload-0000000000000002"]);
    assert_eq!(fs::read(tree.outside.join("victim")).unwrap(), b"victim");
}

/// Returns the path of the only sign of an interrupted replacement.
fn sign(tree: &Tree) -> Option<PathBuf> {
    let mut names = tree.names_with_markers("").into_iter().map(|name| tree.root.join(name));
    let sign = names.find(|name| is_sign(name));
    assert!(!names.any(|name| is_sign(&name)));
    sign
}

#[test]
fn an_interrupted_replacement_leaves_a_marker_until_the_file_changes_fs_13_fs_15() {
    let tree = Tree::new();
    for storage in tree.storages() {
        let is_known = |user| storage.has_cut_replacement(&path("f"), user);
        for change in [
            &(|| finish(&storage, "f", WriteMode::Replace, b"new content")) as &dyn Fn(),
            &|| finish(&storage, "f", WriteMode::Append, b" and more"),
            &|| storage.rename(&path("g"), &path("f"), true).unwrap(),
            &|| storage.remove(&path("f")).unwrap(),
            &|| storage.rename(&path("f"), &path("h"), true).unwrap(),
            &|| set_age(&tree.root.join("f"), 1),
            &|| set_age(&sign(&tree).unwrap(), 24),
        ] {
            tree.put("f", "old");
            tree.put("g", "another");
            assert!(!is_known(Some(USER)));
            let mut upload = storage.write_as(&path("f"), WriteMode::Replace, USER).unwrap();
            upload.write_all(b"part").unwrap();
            assert!(is_known(Some(USER)), "it runs");
            drop(upload);
            assert!(is_known(Some(USER)) && !is_known(Some(b"bob")) && !is_known(None));
            assert_eq!(tree.get("f"), b"old");
            // Another attempt ends in the same way, with a new sign.
            cut(&storage, "f", WriteMode::Replace, b"");
            assert!(is_known(Some(USER)) && sign(&tree).is_some());
            change();
            assert!(!is_known(Some(USER)));
            assert!(!storage.has_cut_replacement(&path("h"), Some(USER)));
            if let Some(sign) = sign(&tree) {
                fs::remove_file(sign).unwrap();
            }
        }
        // A resumed upload depends on the old content anyway.
        tree.put("f", "old");
        cut(&storage, "f", WriteMode::From(1), b"part");
        assert!(!is_known(Some(USER)) && sign(&tree).is_none());
        fs::remove_file(tree.root.join("f")).unwrap();
        fs::remove_file(tree.root.join("g")).unwrap();
        fs::remove_file(tree.root.join("h")).unwrap();
    }
}

#[test]
fn markers_of_interrupted_replacements_are_limited_and_expire_fs_14_hp_23() {
    let tree = Tree::new();
    let storage = tree.storage().with(|config| config.partial_files = 3);
    let root = Arc::clone(&storage.files.root);
    let signs = || tree.names_with_markers("").len() - 1;
    tree.put("f", "old");
    for hours in 0..5 {
        set_age(&tree.root.join("f"), hours);
        cut(&storage, "f", WriteMode::Replace, b"part");
    }
    assert_eq!(signs(), 3);
    for name in tree.names_with_markers("") {
        set_age(&tree.root.join(name), 25);
    }
    sweep::Walk::of(&root);
    assert_eq!((signs(), tree.get("f")), (0, b"old".to_vec()));
}

#[test]
fn partial_files_are_swept_after_a_day_fs_14() {
    let tree = Tree::new();
    let storage = tree.storage();
    let root = Arc::clone(&storage.files.root);
    assert_eq!(sweep::Walk::of(&root), None);
    fs::create_dir(tree.root.join("d")).unwrap();
    for (name, hours) in [("a", 3), ("d/b", 20), ("c", 7)] {
        cut(&storage, name, WriteMode::Replace, b"part");
        let directory = tree.root.join(if name == "d/b" { "d" } else { "" });
        let name = name.trim_start_matches("d/").as_bytes();
        set_age(&directory.join(std::str::from_utf8(&name::kept(USER, name)).unwrap()), hours);
    }
    // The next walk is due when the oldest partial upload is a day old.
    let due = sweep::Walk::of(&root).unwrap().as_secs();
    assert!((4 * 3_600 - 60..=4 * 3_600).contains(&due), "{due}");
    assert_eq!((tree.names("").len(), tree.names("d").len()), (3, 1));
    let (kept, news) = mpsc::channel();
    kept.send(()).unwrap();
    let (done, waited) = mpsc::channel();
    let waiting = std::thread::spawn(move || done.send(sweep::wait(&news, None)));
    // The next walk starts after an hour at the earliest, even if another upload is kept.
    assert!(waited.recv_timeout(Duration::from_millis(50)).is_err());
    drop(kept);
    assert!(!waited.recv_timeout(Duration::from_secs(60)).unwrap());
    waiting.join().unwrap().unwrap();
}

#[test]
fn a_directory_with_nothing_but_hidden_files_can_be_removed_fs_14_cm_87() {
    let tree = Tree::new();
    for storage in tree.storages() {
        storage.mkdir(&path("d")).unwrap();
        for name in ["d/a", "d/b"] {
            cut(&storage, name, WriteMode::Replace, b"part");
        }
        tree.put("d/.ftp-upload-0123456789abcdef", "stale");
        tree.put("d/file", "");
        // A visible file prevents the removal, and then nothing is removed.
        assert_eq!(kind(storage.rmdir(&path("d"))), Some(NotEmpty));
        assert_eq!(tree.names("d").len(), 4);
        storage.remove(&path("d/file")).unwrap();
        // A partial upload that a session resumes also prevents the removal.
        let running = storage.write_as(&path("d/a"), WriteMode::From(4), USER).unwrap();
        assert_eq!(kind(storage.rmdir(&path("d"))), Some(Busy));
        drop(running);
        storage.rmdir(&path("d")).unwrap();
        assert!(tree.names("").is_empty());
    }
}

#[test]
fn a_partial_file_can_be_deleted_unless_it_is_being_resumed_fs_15() {
    let tree = Tree::new();
    for storage in tree.storages() {
        let forget = |user| kind(storage.forget_partial(&path("f"), user));
        cut(&storage, "f", WriteMode::Replace, b"0123");
        assert_eq!(forget(b"bob"), Some(NotFound));
        let upload = storage.write_as(&path("f"), WriteMode::From(4), USER).unwrap();
        assert_eq!(forget(USER), Some(Busy));
        drop(upload);
        assert_eq!(kept(&storage, "f"), Some(4));
        // A storage that keeps nothing has no partial uploads.
        let other = storage.clone().with(|config| config.partial = PartialPolicy::Discard);
        assert_eq!(kind(other.forget_partial(&path("f"), USER)), Some(NotFound));
        assert_eq!(kept(&storage, "f"), Some(4));
        assert_eq!(forget(USER), None);
        assert_eq!(forget(USER), Some(NotFound));
        assert!(tree.names("").is_empty());
    }
}

#[test]
fn a_refused_rmdir_keeps_the_partial_files_in_the_directory_fs_15_cm_87() {
    let tree = Tree::new();
    for storage in tree.storages() {
        storage.mkdir(&path("d")).unwrap();
        let names: Vec<String> = (0..20).map(|number| format!("d/{number}")).collect();
        names.iter().for_each(|name| cut(&storage, name, WriteMode::Create, b"01234"));
        let upload = storage.write_as(&path("d/7"), WriteMode::From(5), USER).unwrap();
        assert_eq!(kind(storage.rmdir(&path("d"))), Some(Busy));
        assert!(names.iter().all(|name| kept(&storage, name) == Some(5)));
        upload.abort(StreamEnd::Abort);
        storage.rmdir(&path("d")).unwrap();
    }
}

#[test]
fn a_resumed_upload_does_not_overwrite_a_newer_file_fs_15_fs_18() {
    let tree = Tree::new();
    for storage in tree.storages() {
        for (mode, want) in [(WriteMode::From(2), Exists), (WriteMode::Append, Busy)] {
            cut(&storage, "f", WriteMode::Replace, b"0123");
            let upload = storage.write_as(&path("f"), mode, USER).unwrap();
            tree.put("f", "other");
            assert_eq!(kind(upload.commit()), Some(want));
            assert_eq!((tree.get("f"), tree.names("")), (b"other".to_vec(), vec!["f".into()]));
            storage.remove(&path("f")).unwrap();
        }
    }
}

#[test]
fn the_sweeper_ends_with_its_storage_fs_14() {
    let tree = Tree::new();
    let storage = tree.storage();
    storage.start_sweeper().unwrap();
    storage.start_sweeper().unwrap();
    let root = Arc::downgrade(&storage.files.root);
    let (kept, news) = mpsc::channel();
    drop(storage);
    // The sweeper may still be in its first walk.
    let end = std::time::Instant::now() + Duration::from_secs(60);
    while root.strong_count() > 0 {
        assert!(std::time::Instant::now() < end);
        std::thread::yield_now();
    }
    // If nothing is kept, the sweeper waits until the root is dropped.
    kept.send(()).unwrap();
    drop(kept);
    assert!(!sweep::wait(&news, None));
}

#[test]
fn new_files_and_directories_obey_the_umask_set_fs_17() {
    use std::os::unix::fs::PermissionsExt;
    let tree = Tree::new();
    for storage in tree.storages() {
        for (umask, file, directory) in
            [(0o022, 0o644, 0o755), (0, 0o666, 0o777), (0o077, 0o600, 0o700), (0o027, 0o640, 0o750)]
        {
            let storage = storage.clone().with(|config| config.umask = umask);
            upload(&storage, "f", WriteMode::Create, b"x");
            storage.mkdir(&path("d")).unwrap();
            let mode = |name: &str| {
                fs::metadata(tree.root.join(name)).unwrap().permissions().mode() & 0o7777
            };
            assert_eq!((mode("f"), mode("d")), (file, directory), "{umask:03o}");
            storage.remove(&path("f")).unwrap();
            storage.rmdir(&path("d")).unwrap();
        }
    }
}

#[test]
fn walks_have_a_low_priority() {
    let tree = Tree::new();
    let storage = tree.storage();
    storage.start_sweeper().unwrap();
    // Field 19 of stat(5) is the nice value; the fields after the name begin with number 3.
    let is_low = |stat: String| {
        let (head, rest) = stat.rsplit_once(") ").unwrap();
        head.ends_with("(sweep") && rest.split(' ').nth(19 - 3) == Some("10")
    };
    wait_until("the walk has a low priority", || {
        let threads = fs::read_dir("/proc/self/task").unwrap();
        let stats = threads.filter_map(|it| fs::read_to_string(it.ok()?.path().join("stat")).ok());
        stats.into_iter().any(is_low)
    });
}
