//! What a new file takes over from the file that it replaces, and from its directory.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use rustix::fs::{XattrFlags, getxattr, setxattr};
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use super::*;
use crate::log::messages;

const ACCESS: &str = "system.posix_acl_access";
const DEFAULT: &str = "system.posix_acl_default";

/// Returns an ACL in the form of Linux: tag, rights and user or group of each entry.
pub(super) fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, rights, id) in entries {
        bytes.extend_from_slice(&tag.to_le_bytes());
        bytes.extend_from_slice(&rights.to_le_bytes());
        bytes.extend_from_slice(&id.to_le_bytes());
    }
    bytes
}

fn attribute(file: &Path, name: &str) -> Option<Vec<u8>> {
    let mut buffer = [0; 1_024];
    match getxattr(file, name, &mut buffer) {
        Ok(length) => Some(buffer[..length].to_vec()),
        Err(Errno::NODATA) => None,
        Err(errno) => panic!("{name}: {errno}"),
    }
}

fn set(file: &Path, name: &str, value: &[u8]) {
    setxattr(file, name, value, XattrFlags::empty()).unwrap();
}

/// Returns owner, group and mode.
fn rights(file: &Path) -> (u32, u32, u32) {
    let found = fs::metadata(file).unwrap();
    (found.uid(), found.gid(), found.mode() & 0o7777)
}

/// Returns whether the tests can try other users, and the disk has ACLs.
fn can_try(tree: &Tree) -> bool {
    let minimal = acl(&[(1, 7, !0), (4, 5, !0), (32, 5, !0)]);
    let can = is_privileged()
        && setxattr(&tree.root, ACCESS, &minimal, XattrFlags::empty()).is_ok()
        && setxattr(&tree.root, "trusted.x", b"x", XattrFlags::empty()).is_ok();
    if !can {
        println!("skipped: no other user can be tried, or the disk has no ACLs");
    }
    can
}

/// Makes a file of user 2000 and group 33 with ACL and attributes.
fn make_old(tree: &Tree, mode: u32, acl: Option<&[u8]>) -> PathBuf {
    let file = tree.root.join("f");
    let _ = fs::remove_file(&file);
    fs::write(&file, "old").unwrap();
    set(&file, "user.x", b"value");
    set(&file, "user.long", &[b'l'; 1_024]);
    set(&file, "user.overlay.x", b"layer");
    set(&file, "trusted.x", b"value");
    let capability = [&0x0200_0000_u32.to_le_bytes()[..], &[1; 16]].concat();
    chown(&file, Some(2_000), Some(33)).unwrap();
    set(&file, "security.capability", &capability);
    if let Some(acl) = acl {
        set(&file, ACCESS, acl);
    }
    fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    file
}

#[test]
fn a_new_file_keeps_what_the_replaced_one_had_fs_17() {
    let tree = Tree::new();
    if !can_try(&tree) {
        return;
    }
    fs::set_permissions(&tree.root, fs::Permissions::from_mode(0o777)).unwrap();
    let shared = acl(&[(1, 6, !0), (2, 6, 77), (4, 4, !0), (16, 6, !0), (32, 0, !0)]);
    let is_root = |act: &(dyn Fn() + Sync)| act();
    let is_member = |act: &(dyn Fn() + Sync)| as_user(1_000, &[33], act);
    let is_neither = |act: &(dyn Fn() + Sync)| as_user(1_000, &[], act);
    // It may give files away, but not change files of others.
    let gives_away = |act: &(dyn Fn() + Sync)| {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut mine = capabilities(None).unwrap();
                mine.effective = CapabilitySet::CHOWN | CapabilitySet::DAC_OVERRIDE;
                set_capabilities(None, mine).unwrap();
                act();
            });
        });
    };
    type Who<'a> = &'a dyn Fn(&(dyn Fn() + Sync));
    /// Who replaces a file of which mode, with or without an ACL; owner, group and mode of the new
    /// file; and whether the ACL denies the group the right to write.
    type Case<'a> = (Who<'a>, u32, bool, (u32, u32, u32), bool);
    #[rustfmt::skip]
    let cases: [Case<'_>; 11] = [
        (&is_root,    0o640,  false, (2_000, 33, 0o640), true),
        (&is_root,    0o6775, false, (2_000, 33, 0o775), true),
        (&is_root,    0o660,  true,  (2_000, 33, 0o660), true),
        (&is_root,    0o600,  true,  (2_000, 33, 0o600), true),
        (&gives_away, 0o664,  false, (2_000, 33, 0o664), true),
        (&gives_away, 0o660,  true,  (2_000, 33, 0o660), true),
        (&is_member,  0o660,  false, (1_000, 33, 0o660), true),
        (&is_member,  0o660,  true,  (1_000, 33, 0o660), false),
        // A foreign group gets no more than all others have.
        (&is_neither, 0o676,  false, (1_000, 1_000, 0o666), true),
        (&is_neither, 0o606,  false, (1_000, 1_000, 0o666), true),
        (&is_neither, 0o606,  true,  (1_000, 1_000, 0o666), true),
    ];
    for sync in [SyncPolicy::None, SyncPolicy::FileAndDirectory] {
        for (at, (who, mode, has_acl, want, may_read)) in cases.iter().enumerate() {
            let old_acl = has_acl.then(|| match mode {
                // Others may write this file, so that anybody can replace it.
                0o606 => acl(&[(1, 6, !0), (2, 6, 77), (4, 4, !0), (16, 6, !0), (32, 6, !0)]),
                _ if !may_read => {
                    acl(&[(1, 6, !0), (2, 6, 77), (4, 6, !0), (16, 6, !0), (32, 0, !0)])
                }
                _ => shared.clone(),
            });
            let file = make_old(&tree, *mode, old_acl.as_deref());
            let kept = attribute(&file, ACCESS);
            let storage = tree.storage().with(|config| config.sync = sync);
            who(&|| upload(&storage, "f", WriteMode::Replace, b"new"));
            assert_eq!((tree.get("f"), rights(&file)), (b"new".to_vec(), *want), "{at}");
            let is_kept = want.1 == 33;
            assert_eq!(attribute(&file, ACCESS), kept.filter(|_| is_kept), "{at}");
            assert_eq!(attribute(&file, "user.x").as_deref(), Some(&b"value"[..]), "{at}");
            assert_eq!(attribute(&file, "user.long").map(|it| it.len()), Some(1_024), "{at}");
            for never in ["user.overlay.x", "trusted.x", "security.capability"] {
                assert_eq!(attribute(&file, never), None, "{at} {never}");
            }
        }
    }
}

#[test]
fn what_a_new_file_cannot_keep_is_logged_once_fs_17() {
    let tree = Tree::new();
    if !can_try(&tree) {
        return;
    }
    fs::set_permissions(&tree.root, fs::Permissions::from_mode(0o777)).unwrap();
    let storage = tree.storage();
    let warned = as_user(1_000, &[], || {
        messages::of(log::Level::Warn, || {
            for name in ["f", "g"] {
                upload(&storage, name, WriteMode::Replace, b"own");
                upload(&storage, name, WriteMode::Replace, b"own again");
            }
        })
    });
    assert_eq!(warned, Vec::<String>::new());
    make_old(&tree, 0o606, None);
    fs::rename(tree.root.join("f"), tree.root.join("g")).unwrap();
    make_old(&tree, 0o606, None);
    let warned = as_user(1_000, &[], || {
        messages::of(log::Level::Warn, || {
            upload(&storage, "f", WriteMode::Replace, b"new");
            upload(&storage, "g", WriteMode::Replace, b"new");
        })
    });
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert!(warned[0].starts_with("f: cannot keep the group of the replaced file: "), "{warned:?}");
}

#[test]
fn new_objects_obey_a_default_acl_instead_of_the_umask_fs_17() {
    let tree = Tree::new();
    if !can_try(&tree) {
        return;
    }
    let of_group = acl(&[(1, 7, !0), (2, 7, 33), (4, 5, !0), (16, 7, !0), (32, 0, !0)]);
    let minimal = acl(&[(1, 7, !0), (4, 7, !0), (32, 5, !0)]);
    for (passed_on, file_mode, directory_mode) in
        [(&of_group, 0o660, 0o770), (&minimal, 0o664, 0o775)]
    {
        set(&tree.root, DEFAULT, passed_on);
        for umask in [0o022, 0o077, 0, 0o777] {
            let storage = tree.storage().with(|config| config.umask = umask);
            upload(&storage, "f", WriteMode::Create, b"x");
            storage.mkdir(&path("d")).unwrap();
            for (name, mode) in [("f", file_mode), ("d", directory_mode)] {
                let made = tree.root.join(name);
                assert_eq!(rights(&made).2, mode, "{name} {umask:o}");
                assert_eq!(attribute(&made, ACCESS).is_some(), passed_on == &of_group);
            }
            // A replaced file without an ACL stays one.
            fs::remove_file(tree.root.join("f")).unwrap();
            fs::write(tree.root.join("f"), "old").unwrap();
            let _ = rustix::fs::removexattr(tree.root.join("f"), ACCESS);
            let bits = fs::Permissions::from_mode(0o640);
            fs::set_permissions(tree.root.join("f"), bits).unwrap();
            upload(&storage, "f", WriteMode::Replace, b"new");
            assert_eq!(rights(&tree.root.join("f")).2, 0o640, "{umask:o}");
            assert_eq!(attribute(&tree.root.join("f"), ACCESS), None);
            storage.remove(&path("f")).unwrap();
            storage.rmdir(&path("d")).unwrap();
        }
    }
}

#[test]
fn new_files_and_directories_obey_the_umask_set_fs_17() {
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
