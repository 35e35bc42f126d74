//! The owner, the group and the modes that the settings give to what users store.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use rustix::fs::{Mode, XattrFlags, getxattr, setxattr};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_keep_capabilities};

use super::super::inherit::restrict;
use super::StorageErrorKind::{Denied, Fixed};
use super::kept_attributes::acl;
use super::*;

const USER: &[u8] = b"ann";

/// The server's user, and the owner and the group in the settings.
const SERVER: u32 = 1_000;
const OWNER: u32 = 2_000;
const GROUP: u32 = 33;

/// Owner, group and mode of a file before it is replaced. Anybody may replace it.
const OLD: (u32, u32, u32) = (3_000, 77, 0o646);

/// A server: its capabilities, and whether it is a member of the group.
#[derive(Clone, Copy, Debug)]
enum Who {
    Root,
    With(CapabilitySet),
    Member,
    Neither,
}

impl Who {
    fn user(self) -> u32 {
        if matches!(self, Self::Root) { 0 } else { SERVER }
    }

    /// Runs `act` with these rights.
    fn act<T: Send>(self, act: impl FnOnce() -> T + Send) -> T {
        match self {
            Self::Root => act(),
            Self::Member => as_user(SERVER, &[GROUP], act),
            Self::Neither => as_user(SERVER, &[], act),
            Self::With(mine) => std::thread::scope(|scope| {
                let thread = scope.spawn(|| {
                    set_keep_capabilities(true).unwrap();
                    set_thread_groups(&[]).unwrap();
                    let (group, user) = (Gid::from_raw(SERVER), Uid::from_raw(SERVER));
                    set_thread_res_gid(group, group, group).unwrap();
                    set_thread_res_uid(user, user, user).unwrap();
                    let inheritable = CapabilitySet::empty();
                    let sets = CapabilitySets { effective: mine, permitted: mine, inheritable };
                    set_capabilities(None, sets).unwrap();
                    act()
                });
                thread.join().unwrap()
            }),
        }
    }
}

/// Returns owner, group and mode.
fn rights(object: impl AsRef<Path>) -> (u32, u32, u32) {
    let found = fs::metadata(object).unwrap();
    (found.uid(), found.gid(), found.mode() & 0o7777)
}

fn set_mode(object: &Path, mode: u32) {
    fs::set_permissions(object, fs::Permissions::from_mode(mode)).unwrap();
}

/// Returns a tree in which every user may store files; `None` if the tests cannot try other users.
fn open_tree() -> Option<Tree> {
    let tree = Tree::new();
    set_mode(&tree.root, 0o777);
    let can = is_privileged();
    if !can {
        println!("skipped: no other user can be tried");
    }
    can.then_some(tree)
}

/// A way to make a file or a directory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    Stor,
    Replace,
    Stou,
    Appe,
    Resume,
    ResumeAfterRestart,
    Published,
    Mkd,
    MkdirParents,
}

impl Way {
    const ALL: [Self; 9] = [
        Self::Stor,
        Self::Replace,
        Self::Stou,
        Self::Appe,
        Self::Resume,
        Self::ResumeAfterRestart,
        Self::Published,
        Self::Mkd,
        Self::MkdirParents,
    ];

    /// Makes `f`, `d`, or `d/f`. `others` returns a storage as a server opens it after its start, and
    /// `private` is called for the hidden file of an upload.
    fn make(
        self,
        open: &(dyn Fn() -> LocalStorage + Sync),
        hidden: &(dyn Fn() + Sync),
    ) -> StorageResult<()> {
        let storage = open();
        let store =
            |storage: &LocalStorage, name: &str, mode, content: &[u8]| -> StorageResult<()> {
                let mut upload = storage.write(&path(name), mode, Keep::Bytes(USER))?;
                upload.write_all(content)?;
                hidden();
                upload.commit()
            };
        let cut = |storage: &LocalStorage| -> StorageResult<()> {
            let mut upload = storage.write(&path("f"), WriteMode::Replace, Keep::Bytes(USER))?;
            upload.write_all(b"new")?;
            hidden();
            drop(upload);
            Ok(())
        };
        match self {
            Self::Stor | Self::Replace => store(&storage, "f", WriteMode::Replace, b"new"),
            Self::Stou => store(&storage, "f", WriteMode::Create, b"new"),
            Self::Appe => store(&storage, "f", WriteMode::Append, b"new"),
            Self::Resume => {
                cut(&storage)?;
                store(&storage, "f", WriteMode::Resume(2), b"w")
            }
            Self::ResumeAfterRestart => {
                cut(&storage)?;
                drop(storage);
                let storage = open();
                let kept = storage.unfinished(&path("f"), Some(USER))?;
                assert_eq!(kept.map(|kept| kept.kept), Some(3), "the hidden file is the server's");
                store(&storage, "f", WriteMode::Resume(2), b"w")
            }
            Self::Published => {
                let storage = storage.with(|config| config.partial = PartialPolicy::Publish);
                cut(&storage)
            }
            Self::Mkd => storage.mkdir(&path("d")),
            Self::MkdirParents => {
                storage.mkdir(&path("d"))?;
                store(&storage, "d/f", WriteMode::Replace, b"new")
            }
        }
    }
}

/// What the settings say: owner, group, file mode and directory mode.
type Wanted = (Option<u32>, Option<u32>, Option<u32>, Option<u32>);

/// Returns owner, group and mode of a new object, or of one that replaces [`OLD`]; the first is the
/// error of the call. This is the model: it shares no code with the storage.
fn model(
    who: Who,
    (owner, group, file_mode, directory_mode): Wanted,
    is_directory: bool,
    old: Option<(u32, u32, u32)>,
) -> Option<(u32, u32, u32)> {
    let gives = matches!(who, Who::Root | Who::With(_));
    let joins = gives || matches!(who, Who::Member);
    if owner.is_some() && !gives || group.is_some() && !joins {
        return None;
    }
    let server = who.user();
    let old_owner = old.map_or(server, |(owner, ..)| if gives { owner } else { server });
    let loses_group = old.is_some() && group.is_none() && !gives;
    let old_group = match old {
        Some((_, group, _)) if gives => group,
        _ => server,
    };
    let mode = match (is_directory, old) {
        (true, _) => directory_mode.unwrap_or(0o755),
        // The group of the server gets what all others have.
        (false, Some(_)) if loses_group => file_mode.unwrap_or(0o666),
        (false, Some((.., mode))) => file_mode.unwrap_or(mode),
        (false, None) => file_mode.unwrap_or(0o644),
    };
    Some((owner.unwrap_or(old_owner), group.unwrap_or(old_group), mode))
}

#[test]
fn what_users_store_belongs_to_whom_the_settings_say_fs_21() {
    let Some(tree) = open_tree() else { return };
    let wanted: [Wanted; 7] = [
        (None, None, None, None),
        (Some(OWNER), None, None, None),
        (None, Some(GROUP), None, None),
        (Some(OWNER), Some(GROUP), None, None),
        (None, None, Some(0o640), Some(0o750)),
        (Some(OWNER), None, Some(0o660), Some(0o770)),
        (Some(OWNER), Some(GROUP), Some(0o666), Some(0o777)),
    ];
    let chown_alone = Who::With(CapabilitySet::CHOWN);
    let mut stored = 0;
    for who in [Who::Root, chown_alone, Who::Member, Who::Neither] {
        for wanted in wanted {
            for way in Way::ALL {
                stored += usize::from(check_way(&tree, who, wanted, way));
            }
        }
    }
    // The model refuses some, and not all.
    assert!((100..7 * 9 * 4).contains(&stored), "{stored}");
}

/// Makes an object in this way, compares it with the model, and returns whether it was made.
fn check_way(tree: &Tree, who: Who, wanted: Wanted, way: Way) -> bool {
    let at = format!("{who:?} {wanted:?} {way:?}");
    let (file, directory) = (tree.root.join("f"), tree.root.join("d"));
    let old = (way == Way::Replace).then_some(OLD);
    if old.is_some() {
        fs::write(&file, "old").unwrap();
        chown(&file, Some(OLD.0), Some(OLD.1)).unwrap();
        set_mode(&file, OLD.2);
    }
    let open = || {
        LocalStorage::open(&tree.root).unwrap().with(|config| {
            config.sync = SyncPolicy::None;
            (config.owner, config.group, config.file_mode, config.directory_mode) = wanted;
        })
    };
    let hidden = || {
        for directory in [&tree.root, &directory] {
            let entries = fs::read_dir(directory).into_iter().flatten();
            let hidden = entries
                .map(|entry| entry.unwrap().path())
                .filter(|file| name::hidden(file.file_name().unwrap().as_bytes()).is_some());
            for file in hidden {
                let (owner, _, mode) = rights(&file);
                assert_eq!(owner, who.user(), "{at}: only the server's own file can be kept");
                assert!(mode == 0o600, "{at}: {mode:o}");
            }
        }
    };
    let made = who.act(|| way.make(&open, &hidden));
    let want_file = model(who, wanted, false, old);
    let want_directory = model(who, wanted, true, None);
    let makes_directory = matches!(way, Way::Mkd | Way::MkdirParents);
    let is_made = made.is_ok();
    match (made, if makes_directory { want_directory } else { want_file }) {
        (Err(error), None) => {
            let is_right = if makes_directory {
                error.kind == Denied
            } else {
                matches!(error.kind, Fixed(why) if why.starts_with("the server may not give"))
            };
            assert!(is_right, "{at}: {error:?}");
            // Nothing is there, and what was there is.
            let left: &[&str] = if old.is_some() { &["f"] } else { &[] };
            assert_eq!(tree.names_with_records(""), left, "{at}");
            assert!(old.is_none() || rights(&file) == OLD && tree.get("f") == b"old", "{at}");
        }
        (made, Some((owner, group, mode))) if makes_directory => {
            assert_eq!(rights(&directory), (owner, group, mode), "{at}");
            let enters = owner == who.user()
                || matches!(who, Who::Root)
                || mode & 0o2 != 0
                || mode & 0o20 != 0 && group == SERVER;
            assert_eq!(made.is_ok(), way == Way::Mkd || enters, "{at}: {made:?}");
            if way == Way::MkdirParents && enters {
                assert_eq!(Some(rights(directory.join("f"))), want_file, "{at}");
            }
        }
        (made, Some(want)) => {
            made.unwrap_or_else(|error| panic!("{at}: {error:?}"));
            assert_eq!((rights(&file), tree.get("f")), (want, b"new".to_vec()), "{at}");
            assert_eq!(tree.names_with_records(""), ["f"], "{at}");
        }
        (Ok(()), None) => panic!("{at}: it was made"),
    }
    let _ = fs::remove_file(&file);
    let _ = fs::remove_dir_all(&directory);
    is_made
}

/// What a user may do with a file and a directory of the owner in the settings, by the capabilities
/// of the server.
#[test]
fn what_a_server_can_do_with_files_that_it_gave_away_fs_21() {
    let Some(tree) = open_tree() else { return };
    const CHOWN: CapabilitySet = CapabilitySet::CHOWN;
    const MODES: CapabilitySet = CapabilitySet::DAC_OVERRIDE;
    const OWNS: CapabilitySet = CapabilitySet::FOWNER;
    type Act = fn(&LocalStorage) -> StorageResult<()>;
    fn put(storage: &LocalStorage, name: &str, mode: WriteMode) -> StorageResult<()> {
        let mut upload = storage.write(&path(name), mode, Keep::Shared)?;
        while !upload.prepare()? {}
        upload.write_all(b"more")?;
        upload.commit()
    }
    #[rustfmt::skip]
    let acts: [(&str, Act, &[CapabilitySet]); 12] = [
        // Each with the capabilities that it needs besides CAP_CHOWN.
        ("STOR",          |all| put(all, "f", WriteMode::Replace),                  &[]),
        ("DELE",          |all| all.remove(&path("f")),                             &[]),
        ("RNTO",          |all| all.rename(&path("f"), &path("g"), false),          &[]),
        ("RNTO onto it",  |all| { put(all, "g", WriteMode::Create)?; all.rename(&path("g"), &path("f"), true) }, &[]),
        ("RMD",           |all| all.rmdir(&path("d")),                              &[]),
        ("RNTO of a directory", |all| all.rename(&path("d"), &path("e"), false),    &[]),
        ("RETR",          |all| read(all, "f").map(drop),                           &[MODES]),
        ("APPE",          |all| put(all, "f", WriteMode::Append),                   &[MODES]),
        ("REST and STOR", |all| put(all, "f", WriteMode::From(1)),                  &[MODES]),
        ("STOR in it",    |all| put(all, "d/f", WriteMode::Create),                 &[MODES]),
        ("MFMT",          |all| all.set(&path("f"), Change::Modified(1_000_000_000)).map(drop), &[OWNS]),
        ("SITE CHMOD",    |all| all.set(&path("f"), Change::Mode(0o600)).map(drop),             &[OWNS]),
    ];
    for mine in [CHOWN, CHOWN | OWNS, CHOWN | MODES, CHOWN | OWNS | MODES] {
        for (name, act, needed) in acts {
            let storage = tree.storage().with(|config| {
                (config.owner, config.group) = (Some(OWNER), Some(GROUP));
                (config.file_mode, config.directory_mode) = (Some(0o640), Some(0o750));
                config.quota = 1 << 20;
            });
            let may = needed.iter().all(|one| mine.contains(*one));
            Who::With(mine).act(|| {
                put(&storage, "f", WriteMode::Create).unwrap();
                storage.mkdir(&path("d")).unwrap();
                let left = storage.left().unwrap();
                let done = act(&storage);
                let want = if may { None } else { Some(Denied) };
                assert_eq!(kind(done), want, "{name} with {mine:?}");
                assert!(may || storage.left().unwrap() == left, "{name} with {mine:?}");
                // A file that was given again is the owner's again.
                let given = (OWNER, GROUP, 0o640);
                if name == "STOR" || name == "REST and STOR" && may || name == "RNTO onto it" {
                    assert_eq!(rights(tree.root.join("f")), given, "{name} with {mine:?}");
                }
            });
            assert!(may || tree.get("f") == b"more", "{name} with {mine:?}");
            for left in tree.names_with_records("") {
                let left = tree.root.join(left);
                let _ = fs::remove_dir_all(&left);
                let _ = fs::remove_file(&left);
            }
        }
    }
}

#[test]
fn a_file_to_give_away_is_refused_in_a_sticky_directory_of_another_user_fs_21() {
    let Some(tree) = open_tree() else { return };
    let storage = tree.storage().with(|config| config.owner = Some(OWNER));
    let store = || kind(storage.write(&path("f"), WriteMode::Create, Keep::Shared).map(drop));
    let refused = Some(Fixed("the file of another user is in a sticky directory"));
    let chown_alone = Who::With(CapabilitySet::CHOWN);
    for (mode, owner, who, want) in [
        (0o777, 0, chown_alone, None),
        (0o1777, 0, chown_alone, refused),
        (0o1777, 0, Who::With(CapabilitySet::CHOWN | CapabilitySet::FOWNER), None),
        (0o1777, SERVER, chown_alone, None),
        (0o1777, 0, Who::Root, None),
    ] {
        chown(&tree.root, Some(owner), None).unwrap();
        set_mode(&tree.root, mode);
        assert_eq!(who.act(store), want, "{mode:o} {owner} {who:?}");
        if want.is_none() {
            who.act(|| upload(&storage, "f", WriteMode::Create, b"x"));
            assert_eq!(rights(tree.root.join("f")).0, OWNER);
            fs::remove_file(tree.root.join("f")).unwrap();
        }
    }
}

#[test]
fn an_exact_mode_is_the_mask_of_an_acl_and_set_group_id_is_passed_on_fs_21() {
    let Some(tree) = open_tree() else { return };
    let of_group = acl(&[(1, 7, !0), (2, 7, 77), (4, 5, !0), (16, 7, !0), (32, 5, !0)]);
    let default = "system.posix_acl_default";
    if setxattr(&tree.root, default, &of_group, XattrFlags::empty()).is_err() {
        println!("skipped: the disk has no ACLs");
        return;
    }
    chown(&tree.root, None, Some(77)).unwrap();
    set_mode(&tree.root, 0o2777);
    for (group, file_mode, directory_mode, want) in [
        (None, Some(0o640), Some(0o750), [(77, 0o640), (77, 0o2750)]),
        (Some(GROUP), Some(0o640), Some(0o750), [(GROUP, 0o640), (GROUP, 0o2750)]),
        // Without modes in the settings, the ACL decides.
        (Some(GROUP), None, None, [(GROUP, 0o664), (GROUP, 0o2775)]),
    ] {
        let storage = tree.storage().with(|config| {
            (config.owner, config.group) = (Some(OWNER), group);
            (config.file_mode, config.directory_mode) = (file_mode, directory_mode);
        });
        upload(&storage, "f", WriteMode::Create, b"x");
        storage.mkdir(&path("d")).unwrap();
        for (name, (group, mode)) in ["f", "d"].into_iter().zip(want) {
            let made = tree.root.join(name);
            assert_eq!(rights(&made), (OWNER, group, mode), "{name}");
            let acl = getxattr(&made, "system.posix_acl_access", &mut [0; 100]);
            assert!(acl.is_ok(), "{name}: the entries of the ACL stay");
        }
        storage.remove(&path("f")).unwrap();
        storage.rmdir(&path("d")).unwrap();
    }
}

#[test]
fn an_acl_never_opens_a_file_beyond_its_mode_fs_21() {
    for (old, new) in [
        (
            &[(1, 7, !0), (2, 7, 77), (4, 5, !0), (16, 7, !0), (32, 6, !0)][..],
            &[(1, 6, !0), (2, 7, 77), (4, 5, !0), (16, 4, !0), (32, 0, !0)][..],
        ),
        (&[(1, 7, !0), (4, 7, !0), (32, 7, !0)], &[(1, 6, !0), (4, 4, !0), (32, 0, !0)]),
        (&[], &[]),
    ] {
        let mut found = acl(old);
        restrict(&mut found, Mode::from_raw_mode(0o640));
        assert_eq!(found, acl(new));
    }
    restrict(&mut [1, 0], Mode::empty());
}

#[test]
fn what_is_given_to_a_group_is_private_until_it_has_the_group_fs_21() {
    let Some(tree) = open_tree() else { return };
    let default = acl(&[(1, 7, !0), (2, 7, 77), (4, 7, !0), (16, 7, !0), (32, 5, !0)]);
    for has_acl in [false, true] {
        if has_acl {
            let name = "system.posix_acl_default";
            if setxattr(&tree.root, name, &default, XattrFlags::empty()).is_err() {
                return println!("skipped: the disk has no ACLs");
            }
        }
        let storage = tree.storage().with(|config| config.group = Some(GROUP));
        let mut file = storage.write(&path("f"), WriteMode::Create, Keep::Shared).unwrap();
        file.write_all(b"x").unwrap();
        let hidden = fs::read_dir(&tree.root).unwrap().next().unwrap().unwrap().path();
        assert_eq!(rights(hidden).2, 0o600, "{has_acl}");
        file.commit().unwrap();
        let config = storage.files.config;
        let (parent, _) = storage.files.parent(&path("d")).unwrap();
        let (mode, _) = config.for_directories().modes_of_directory(&parent);
        assert_eq!(mode.as_raw_mode(), 0o700, "{has_acl}");
        storage.mkdir(&path("d")).unwrap();
        let want = if has_acl { [0o664, 0o775] } else { [0o644, 0o755] };
        let found = ["f", "d"].map(|name| rights(tree.root.join(name)));
        assert_eq!(found.map(|(_, group, mode)| (group, mode)), want.map(|mode| (GROUP, mode)));
        storage.remove(&path("f")).unwrap();
        storage.rmdir(&path("d")).unwrap();
    }
}

#[test]
fn the_acl_of_a_strangers_file_does_not_stay_with_the_owner_in_the_settings_fs_21() {
    let Some(tree) = open_tree() else { return };
    let (file, name) = (tree.root.join("f"), "system.posix_acl_access");
    let of_user = acl(&[(1, 6, !0), (2, 6, 77), (4, 4, !0), (16, 6, !0), (32, 0, !0)]);
    for (user, is_kept) in [(OWNER, true), (77, false)] {
        fs::write(&file, "old").unwrap();
        chown(&file, Some(user), None).unwrap();
        if setxattr(&file, name, &of_user, XattrFlags::empty()).is_err() {
            return println!("skipped: the disk has no ACLs");
        }
        let storage = tree.storage().with(|config| config.owner = Some(OWNER));
        upload(&storage, "f", WriteMode::Replace, b"new");
        assert_eq!(getxattr(&file, name, &mut [0; 100]).is_ok(), is_kept, "{user}");
        let (owner, _, mode) = rights(&file);
        assert_eq!((owner, mode), (OWNER, if is_kept { 0o660 } else { 0o600 }), "{user}");
        fs::remove_file(&file).unwrap();
    }
}

#[test]
fn only_an_empty_new_directory_is_given_away_fs_21() {
    let Some(tree) = open_tree() else { return };
    let config = LocalConfig::default().owner(Some(OWNER));
    let storage = tree.storage();
    let (parent, _) = storage.files.parent(&path("d")).unwrap();
    let found = tree.root.join("d");
    // Another user may exchange the new directory before the server has opened it.
    for (owner, content, is_given) in [(0, None, true), (0, Some("f"), false), (5, None, false)] {
        fs::create_dir(&found).unwrap();
        chown(&found, Some(owner), None).unwrap();
        content.inspect(|name| fs::write(found.join(name), "x").unwrap());
        let mode = Mode::from_raw_mode(0o755);
        let given = config.for_directories().furnish_directory(mode, &parent, b"d");
        assert_eq!(
            (given.is_ok(), rights(&found).0),
            (is_given, if is_given { OWNER } else { owner })
        );
        fs::remove_dir_all(&found).unwrap();
    }
    // A mode alone must not open a directory of the server's that was moved here.
    for (content, is_given) in [(None, true), (Some("f"), false)] {
        fs::create_dir(&found).unwrap();
        set_mode(&found, 0o700);
        content.inspect(|name| fs::write(found.join(name), "x").unwrap());
        let config = LocalConfig::default().directory_mode(Some(0o777));
        let mode = Mode::from_raw_mode(0o777);
        let given = config.for_directories().furnish_directory(mode, &parent, b"d");
        assert_eq!(
            (given.is_ok(), rights(&found).2),
            (is_given, if is_given { 0o777 } else { 0o700 })
        );
        fs::remove_dir_all(&found).unwrap();
    }
}

#[test]
fn a_server_killed_after_it_gave_a_file_away_leaves_a_record_fs_21() {
    let Some(tree) = open_tree() else { return };
    for owner in [OWNER, 5, 0] {
        tree.put("f", "old");
        let storage = tree.storage().with(|config| config.owner = Some(owner));
        let mut upload = storage.write(&path("f"), WriteMode::Replace, Keep::Bytes(USER)).unwrap();
        upload.write_all(b"whole").unwrap();
        // The server is killed.
        std::mem::forget(upload);
        let left = tree.hidden(has_bytes);
        chown(&left, Some(owner), None).unwrap();
        fs::File::open(&left).unwrap().unlock().unwrap();
        let other = tree.root.join("d");
        fs::create_dir(&other).unwrap();
        for name in tree.names_with_records("") {
            let _ = fs::rename(tree.root.join(&name), other.join(&name));
        }
        fs::copy(other.join(left.file_name().unwrap()), other.join("copy")).unwrap();
        fs::rename(other.join("copy"), other.join(left.file_name().unwrap())).unwrap();
        let found = storage.unfinished(&path("d/f"), Some(USER)).unwrap();
        assert_eq!(found.map(|it| it.kept), Some(0), "{owner}");
        fs::remove_dir_all(other).unwrap();
    }
}

#[test]
fn a_resumed_file_gets_no_set_id_bits_fs_21() {
    let Some(tree) = open_tree() else { return };
    let storage = tree.storage().with(|config| config.file_mode = Some(0o640));
    let write = |mode, content: &[u8]| {
        let mut upload = storage.write(&path("f"), mode, Keep::Bytes(USER)).unwrap();
        upload.write_all(content).unwrap();
        upload
    };
    drop(write(WriteMode::Replace, b"new"));
    set_mode(&tree.hidden(has_bytes), 0o6755);
    write(WriteMode::Resume(2), b"w").commit().unwrap();
    assert_eq!((rights(tree.root.join("f")).2, tree.get("f")), (0o640, b"new".to_vec()));
}

#[test]
fn a_private_file_that_takes_the_name_meanwhile_stays_private_fs_17_fs_21() {
    let Some(tree) = open_tree() else { return };
    let file = tree.root.join("f");
    for (file_mode, mode) in [(None, 0o600), (Some(0o640), 0o640)] {
        let storage = tree.storage().with(|config| {
            (config.owner, config.group, config.file_mode) = (Some(OWNER), Some(GROUP), file_mode);
        });
        let mut upload = storage.write(&path("f"), WriteMode::Replace, Keep::Shared).unwrap();
        upload.write_all(b"new").unwrap();
        // Another program stores a file that only its owner may read.
        fs::write(&file, "other").unwrap();
        set_mode(&file, 0o600);
        upload.commit().unwrap();
        assert_eq!((rights(&file), tree.get("f")), ((OWNER, GROUP, mode), b"new".to_vec()));
        fs::remove_file(&file).unwrap();
    }
}

/// A server that writes in place could store the file, and the reply named no cause.
#[test]
fn a_file_in_a_closed_directory_is_refused_because_of_the_directory_fs_12_cm_105() {
    let Some(tree) = open_tree() else { return };
    for (name, owner) in [("own", SERVER), ("foreign", 0)] {
        tree.put(name, "old");
        chown(tree.root.join(name), Some(owner), None).unwrap();
    }
    let storage = tree.storage();
    let directory =
        Fixed("the server may not write to the directory, so it can only append to the file");
    let any = Who::With(CapabilitySet::DAC_OVERRIDE);
    for (mode, who, own, foreign, new, use_of) in [
        (0o755, Who::Neither, Some(directory), Some(Denied), Some(Denied), DirectoryUse::Browse),
        (0o777, Who::Neither, None, Some(Denied), None, DirectoryUse::Full),
        (0o755, any, None, None, None, DirectoryUse::Full),
        (0o755, Who::Root, None, None, None, DirectoryUse::Full),
    ] {
        set_mode(&tree.root, mode);
        who.act(|| {
            let store = |name, mode| {
                let begun = storage.write(&path(name), mode, Keep::Shared);
                begun.map(|upload| upload.abort(StreamEnd::Cut))
            };
            let message = format!("{mode:o} {who:?}");
            assert_eq!(kind(store("own", WriteMode::Replace)), own, "{message}");
            assert_eq!(kind(store("foreign", WriteMode::Replace)), foreign, "{message}");
            assert_eq!(kind(store("new", WriteMode::Create)), new, "{message}");
            upload(&storage, "own", WriteMode::Append, b"+");
            let found = storage.stat(&path("own"), Ask::Permissions).unwrap();
            assert_eq!(found.directory_use, use_of, "{message}");
            let listed = storage.list(&VirtualPath::root(), Ask::Permissions).unwrap();
            let listed: Vec<_> = listed.map(|entry| entry.unwrap().metadata).collect();
            assert!(listed.len() >= 2, "{message}");
            assert!(listed.iter().all(|found| found.directory_use == use_of), "{message}");
        });
    }
    assert_eq!(tree.get("own"), b"old++++");
}
