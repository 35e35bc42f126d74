//! Tests of the local side.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt, symlink};
#[cfg(target_os = "linux")]
use std::path::Path;

use super::*;
use crate::listing::Budget;
use crate::tree::entry::{ObjectKind, TreeEntry};

fn scene() -> (tempfile::TempDir, Directory) {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("tree/d")).unwrap();
    fs::create_dir(root.path().join("outside")).unwrap();
    fs::write(root.path().join("outside/f"), "outside").unwrap();
    let tree = Directory::open(&root.path().join("tree")).unwrap();
    (root, tree)
}

#[test]
#[cfg(target_os = "linux")]
fn files_are_synced_one_by_one_unless_one_sync_is_known_to_report_their_errors() {
    let (_root, tree) = scene();
    let other = Directory::open(Path::new("/proc")).unwrap();
    // Another file system, and one that is not known to report errors.
    assert!(other.is_synced_apart(&tree));
    assert!(other.is_synced_apart(&other));
}

#[test]
fn a_directory_that_is_removed_meanwhile_is_not_listed_as_empty() {
    let (root, tree) = scene();
    let inside = tree.below(b"d").unwrap();
    assert!(inside.items(Budget::default()).unwrap().0.is_empty());
    fs::remove_dir(root.path().join("tree/d")).unwrap();
    assert_eq!(inside.items(Budget::default()).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn no_link_leads_out_of_the_tree_cl_50_li_08_hc_06_hc_07() {
    let (root, tree) = scene();
    symlink("../outside", root.path().join("tree/l")).unwrap();
    symlink("../outside/f", root.path().join("tree/f")).unwrap();
    assert!(tree.below(b"l").is_err());
    assert!(tree.below(b"l/x").is_err());
    assert!(tree.make(b"l").is_err());
    assert!(tree.read(b"f").is_err());
    let new = tempfile::tempfile().unwrap();
    let refused = tree.prepare(&new, b"f", None).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
    assert_eq!(fs::read(root.path().join("outside/f")).unwrap(), b"outside");

    // The directory was checked, then replaced by a link before the write.
    let held = tree.below(b"d").unwrap();
    fs::rename(root.path().join("tree/d"), root.path().join("tree/e")).unwrap();
    symlink("../outside", root.path().join("tree/d")).unwrap();
    assert!(tree.below(b"d").is_err());
    fs::write(held.path().unwrap().join("new"), "new").unwrap();
    assert!(root.path().join("tree/e/new").exists());
    assert_eq!(fs::read_dir(root.path().join("outside")).unwrap().count(), 1);

    // Only the link itself is removed.
    tree.remove(b"l", false).unwrap();
    assert!(root.path().join("outside/f").exists());
}

#[test]
fn names_that_leave_the_directory_are_refused_hc_05_hc_08() {
    let (_root, tree) = scene();
    for name in [&b""[..], b".", b"..", b"../outside/f", b"/etc/passwd", b"d/x", b"a\0b"] {
        let shown = name.escape_ascii();
        assert!(tree.read(name).is_err(), "{shown}");
        assert!(tree.make(name).is_err(), "{shown}");
        assert!(tree.remove(name, false).is_err(), "{shown}");
        assert!(tree.remove(name, true).is_err(), "{shown}");
        assert!(tree.prepare(&tempfile::tempfile().unwrap(), name, None).is_err(), "{shown}");
    }
    assert!(tree.below(b"../outside").is_err());
    assert_eq!(tree.items(most(10)).unwrap().0.len(), 1);
}

#[test]
fn only_a_regular_file_that_nobody_locks_is_held() {
    let (root, tree) = scene();
    let held = b".ftp-cli-3f-0.tmp";
    let file = tree.create(held).unwrap();
    assert!(tree.hold(held).is_err(), "somebody writes to it");
    drop(file);
    // The state after a process was killed: no descriptor is open.
    assert!(tree.hold(held).unwrap().is_some());
    symlink("../outside/f", root.path().join("tree/.ftp-cli-2f-0.tmp")).unwrap();
    assert!(tree.hold(b".ftp-cli-2f-0.tmp").unwrap().is_none(), "it is a link");
    assert!(tree.hold(b".ftp-cli-1f-0.tmp").unwrap().is_none(), "there is none");
}

#[test]
fn only_regular_files_are_read_and_fifos_do_not_block() {
    let (root, tree) = scene();
    let fifo = root.path().join("tree/p");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    assert!(tree.read(b"p").is_err());
    assert!(tree.read(b"d").is_err());
    assert!(tree.prepare(&tempfile::tempfile().unwrap(), b"p", None).is_err());
    let kinds = |items: Vec<TreeEntry>| {
        let mut kinds: Vec<_> = items.into_iter().map(|item| (item.name, item.kind)).collect();
        kinds.sort_by(|one, other| one.0.cmp(&other.0));
        kinds
    };
    let want = [(b"d".to_vec(), ObjectKind::Directory), (b"p".to_vec(), ObjectKind::Special)];
    assert_eq!(kinds(tree.items(most(2)).unwrap().0), want);
    assert_eq!(tree.items(most(1)).unwrap_err().kind(), ErrorKind::QuotaExceeded);
}

#[test]
fn a_directory_keeps_its_setgid_bit_when_its_mode_changes() {
    let (root, tree) = scene();
    let path = |name: &str| root.path().join(name);
    fs::write(path("tree/f"), "x").unwrap();
    for (name, want) in [("d", 0o2751), ("f", 0o751)] {
        let full = path(&format!("tree/{name}"));
        fs::set_permissions(&full, fs::Permissions::from_mode(0o2770)).unwrap();
        tree.set_mode(name.as_bytes(), 0o751).unwrap();
        assert_eq!(fs::metadata(&full).unwrap().mode() & 0o7777, want, "{name}");
    }
    symlink("../outside/f", path("tree/l")).unwrap();
    assert!(tree.set_mode(b"l", 0o777).is_err());
}

#[test]
fn names_that_a_listing_shows_apart_are_two_objects() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("a"), "a").unwrap();
    fs::hard_link(root.path().join("a"), root.path().join("b")).unwrap();
    let top = Directory::open(root.path()).unwrap();
    for (listed, unlisted, want) in [
        ("a", "A", Relation::Two),
        // A hard link that appeared after the listing.
        ("a", "b", Relation::Two),
        ("gone", "a", Relation::Unclear),
        ("gone", "new", Relation::Unclear),
    ] {
        let found = top.relation(listed.as_bytes(), unlisted.as_bytes()).unwrap();
        assert_eq!(found, want, "{listed} {unlisted}");
    }
}

fn most(entries: usize) -> Budget {
    Budget { entries, ..Budget::default() }
}

#[test]
fn fat_rounds_an_odd_second_to_an_even_one_beside_it() {
    for (source, target, want) in
        [(3, 2, true), (3, 4, true), (2, 3, false), (3, 3, false), (3, 6, false), (-3, -4, true)]
    {
        assert_eq!(rounds_to(source, target), want, "{source} {target}");
    }
}
