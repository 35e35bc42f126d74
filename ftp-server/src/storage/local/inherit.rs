//! What a new file or directory gets: by the settings, from the file that it replaces, and from its
//! directory. What the settings give prevails.

use std::os::fd::AsFd;

use ftp_proto::Escaped;
use rustix::buffer::spare_capacity;
use rustix::fs::{
    Access, AtFlags, Gid, Mode, OFlags, Uid, XattrFlags, accessat, fchmod, fchown, fremovexattr,
    fsetxattr, getxattr, lgetxattr, llistxattr, openat,
};
use rustix::io::{Errno, Result, retry_on_intr};
use rustix::process::geteuid;

use super::directory::{self, Directory, exceeds_access, may_give_to_group, may_give_to_user};
use super::policy::LocalConfig;
use super::root;
use crate::storage::{EntryKind, Metadata, StorageError, StorageErrorKind};

const ACL: &str = "system.posix_acl_access";
const DEFAULT_ACL: &str = "system.posix_acl_default";

/// Tags of the entries of an ACL that correspond to the bits of a mode. A mask stands for the group.
const OWNER: u8 = 0x01;
const GROUP: u8 = 0x04;
const MASK: u8 = 0x10;
const OTHER: u8 = 0x20;

/// Size of the first buffer for attributes, and the largest one that Linux fills, in bytes.
const ATTRIBUTES: usize = 1024;
const ATTRIBUTES_MAX: usize = 64 * 1024;

/// Returns whether new objects in a directory take over a default ACL. The kernel then ignores the
/// umask, and later changes of the mode would cut the ACL's mask.
fn has_default_acl(directory: &Directory) -> bool {
    let found = getxattr(directory.path_of(b""), DEFAULT_ACL, &mut [0_u8; 4]);
    matches!(found, Ok(_) | Err(Errno::RANGE))
}

/// The mode of a file that will replace another one, until it is complete. The rights of the old
/// file would be given to another owner, to another group and to the entries of a default ACL.
pub(super) const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);

/// The owner, group and mode that the settings give to new files or to new directories.
#[derive(Clone, Copy, Debug)]
pub(super) struct Given {
    owner: Option<Uid>,
    group: Option<Gid>,
    mode: Option<Mode>,
    umask: u32,
}

/// The owner that a complete file is to get by [`give_to`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Heir {
    user: Uid,
    /// Whether the settings name the owner, and not only the replaced file had it.
    is_given: bool,
}

impl LocalConfig {
    pub(super) fn for_files(self) -> Given {
        Given::new(self, self.file_mode)
    }

    pub(super) fn for_directories(self) -> Given {
        Given::new(self, self.directory_mode)
    }
}

impl Given {
    fn new(config: LocalConfig, mode: Option<u32>) -> Self {
        // The largest number stands for no change.
        let id = |id: Option<u32>| id.filter(|id| *id != u32::MAX);
        Self {
            owner: id(config.owner).map(Uid::from_raw),
            group: id(config.group).map(Gid::from_raw),
            mode: mode.map(|bits| Mode::from_raw_mode(bits & 0o777)),
            umask: config.umask,
        }
    }

    /// Returns whether the owner is another user than the server's.
    pub(super) fn gives_away(self) -> bool {
        self.owner.is_some_and(|owner| owner != geteuid())
    }

    /// Returns `Fixed` with the reason if the server may not give its objects to the owner or the
    /// group, so that the client learns it before it sends a file.
    pub(super) fn check(self) -> std::result::Result<(), StorageError> {
        let reason = if !self.owner.is_none_or(|owner| may_give_to_user(owner.as_raw())) {
            "the server may not give files to their owner"
        } else if !self.group.is_none_or(|group| may_give_to_group(group.as_raw())) {
            "the server may not give files to their group"
        } else {
            return Ok(());
        };
        log::error!("{reason} in the settings: it lacks CAP_CHOWN");
        Err(StorageErrorKind::Fixed(reason).into())
    }

    /// Checks whether the server may replace the content of an existing file, even if it may write to
    /// the directory. A file of the owner in the settings counts as the server's own, because a user's
    /// earlier uploads belong to that owner.
    pub(super) fn check_writable(
        self,
        directory: &Directory,
        name: &[u8],
        old: &Metadata,
    ) -> Result<()> {
        let is_own = self.owner.is_some_and(|owner| old.user_id() == Some(owner.as_raw()));
        match retry_on_intr(|| accessat(directory, name, Access::WRITE_OK, AtFlags::empty())) {
            Err(Errno::ACCESS) if is_own && old.mode & 0o200 != 0 || exceeds_access() => Ok(()),
            Err(errno) if errno != Errno::NOENT => Err(errno),
            _ => Ok(()),
        }
    }

    /// Returns the mode that an object created with fewer rights would have had by the default ACL of the
    /// directory, as the kernel computes it, or else by the umask.
    fn mode_later(self, directory: &Directory, all: u32) -> Mode {
        let path = directory.path_of(b"");
        let read =
            |buffer: &mut Vec<u8>| getxattr(&*path, DEFAULT_ACL, spare_capacity(buffer)).map(drop);
        let acl = with_buffer(read).unwrap_or_default();
        let (entries, _) = acl.get(4..).unwrap_or_default().as_chunks::<8>();
        let rights =
            |tag| entries.iter().find(|entry| entry[0] == tag).map(|entry| u32::from(entry[2]));
        match (rights(OWNER), rights(MASK).or_else(|| rights(GROUP)), rights(OTHER)) {
            (Some(owner), Some(group), Some(other)) => {
                Mode::from_raw_mode(all & (owner << 6 | group << 3 | other))
            }
            _ => Mode::from_raw_mode(all & !self.umask),
        }
    }

    /// Returns the mode that a new file gets when it is complete.
    pub(super) fn mode_of_complete(self, directory: &Directory) -> Mode {
        self.mode.unwrap_or_else(|| self.mode_later(directory, 0o666))
    }

    /// Gives a complete new file its group and this mode. `now` is the metadata of the file, and
    /// changes with it. Returns the owner that the file is to get by [`give_to`].
    ///
    /// # Errors
    ///
    /// Returns EDQUOT if the quota of the file system does not permit the group, and another error if
    /// the group or the mode cannot be set.
    pub(super) fn furnish(
        self,
        file: impl AsFd,
        now: &mut Metadata,
        bits: Mode,
        (directory, name): (&Directory, &[u8]),
    ) -> Result<Option<Heir>> {
        if let Some(group) = self.group {
            set_group(&file, now, group).map_err(|errno| refused("group", errno, name))?;
        }
        // A directory keeps the bits that its parent has passed on. A filter of system calls may
        // forbid to set them again. Then the mode of `mkdir` stays, unless only the server could
        // use the directory.
        let kept = if now.kind == EntryKind::Directory { now.mode & 0o7000 } else { 0 };
        let all = bits | Mode::from_raw_mode(kept);
        let stays = kept != 0 && self.owner.is_none() && self.group.is_none();
        let is_set = set_mode(&file, now, all)? || !stays && set_mode(&file, now, bits)?;
        if !is_set && (self.mode.is_some() || stays) {
            report("set the mode of the file", Errno::PERM, directory, name);
        }
        Ok(self.heir(now))
    }

    /// Returns the mode with which to create a directory, and the mode that it is to get.
    pub(super) fn modes_of_directory(self, directory: &Directory) -> (Mode, Mode) {
        let bits = self.mode.unwrap_or_else(|| self.mode_later(directory, 0o777));
        // Until it has its owner and group, the server's group must not use it.
        let is_given = self.owner.is_some() || self.group.is_some();
        (if is_given { Mode::RWXU } else { bits | Mode::RWXU }, bits)
    }

    fn heir(self, now: &Metadata) -> Option<Heir> {
        let user = self.owner.filter(|owner| now.user_id() != Some(owner.as_raw()));
        user.map(|user| Heir { user, is_given: true })
    }

    /// Gives a new directory its group, its mode and its owner.
    ///
    /// # Errors
    ///
    /// Returns EDQUOT if the quota of the file system does not permit the owner or the group, and
    /// another error if one of them or the mode cannot be set.
    pub(super) fn furnish_directory(
        self,
        mode: Mode,
        directory: &Directory,
        name: &[u8],
    ) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = match retry_on_intr(|| openat(directory, name, flags, Mode::empty())) {
            // Some disks show directories that nobody can read. Then it has what the disk gave it.
            Err(Errno::ACCESS) if (self.owner, self.group, self.mode) == (None, None, None) => {
                return Ok(());
            }
            made => made?,
        };
        let mut now = root::metadata_of(&made)?;
        let has_group = self.group.is_none_or(|group| now.group_id() == Some(group.as_raw()));
        let is_given = !has_group || self.heir(&now).is_some();
        let is_empty = || directory::all_names(&made, Errno::NOTEMPTY, &|_| false).is_ok();
        let is_set = now.mode & 0o777 == mode.as_raw_mode();
        if !is_given && (is_set || self.mode.is_none() && !is_empty()) {
            return Ok(());
        }
        // Another user who may write to the parent could have moved a directory here. Some file
        // systems show the same owner for all files, so a mode alone asks only for an empty one.
        let is_own = !is_given || now.user_id() == Some(geteuid().as_raw());
        if !is_own || !is_empty() {
            return Err(refused("owner or mode", Errno::NOTEMPTY, name));
        }
        match self.furnish(&made, &mut now, mode, (directory, name))? {
            Some(heir) => give_to(heir, &made, directory, name),
            None => Ok(()),
        }
    }
}

/// Gives a complete file what the file `old` with this name has, unless the settings give something
/// else: extended attributes of users, group, ACL and mode. `new` is the metadata of the file, and
/// changes with it. Returns the owner that the file is to get by [`give_to`], if it differs.
///
/// What the server may not or the file system cannot set stays as it is, which is logged once. If
/// the group or the ACL cannot be kept, the file's group gets no more rights than all other users.
///
/// # Errors
///
/// Returns EDQUOT if the quota of the file system does not permit the group, and another error if the
/// group or the mode in the settings cannot be set.
pub(super) fn take_over(
    given: Given,
    file: impl AsFd,
    new: &mut Metadata,
    directory: &Directory,
    name: &[u8],
    old: &Metadata,
) -> Result<Option<Heir>> {
    let file = file.as_fd();
    let mut lost = Vec::new();
    // If the file has vanished by now, or another object has its name, only the mode is known.
    let found = directory.metadata(name).ok().filter(|found| found.kind == EntryKind::File);
    let old = found.as_ref().unwrap_or(old);
    let path = directory.path_of(name);
    let names = with_buffer(|buffer| llistxattr(&*path, spare_capacity(buffer)).map(drop));
    // The call fails if the file system has no attributes.
    let names = names.unwrap_or_default();
    let copy = |attribute: &[u8]| {
        let read =
            |buffer: &mut Vec<u8>| lgetxattr(&*path, attribute, spare_capacity(buffer)).map(drop);
        let mut value = with_buffer(read)?;
        if let Some(mode) = given.mode.filter(|_| attribute == ACL.as_bytes()) {
            restrict(&mut value, mode);
        }
        retry_on_intr(|| fsetxattr(file, attribute, &value, XattrFlags::empty()))
    };
    let mut has_old_acl = false;
    for attribute in names.split(|&byte| byte == 0) {
        has_old_acl |= attribute == ACL.as_bytes();
        // Attributes of an overlay describe the old file to the kernel.
        if attribute.starts_with(b"user.")
            && !attribute.starts_with(b"user.overlay.")
            && let Err(errno) = copy(attribute)
        {
            lost.push(("extended attributes", errno));
        }
    }
    let (user, group) = old.ids.unwrap_or_default();
    let mut is_group_kept = true;
    match set_group(file, new, given.group.unwrap_or(Gid::from_raw(group))) {
        Err(errno) if given.group.is_some() || errno == Errno::DQUOT => {
            return Err(refused("group", errno, name));
        }
        Err(errno) => {
            is_group_kept = false;
            lost.push(("group", errno));
        }
        Ok(()) => {}
    }
    let mut is_acl_kept = false;
    // The owner of the old file had chosen its ACL, which says nothing about files of another owner.
    let is_stranger = given.owner.is_some_and(|owner| owner.as_raw() != user);
    if has_old_acl && is_group_kept && !is_stranger {
        match copy(ACL.as_bytes()) {
            Ok(()) => {
                is_acl_kept = true;
                new.mode = given.mode.map_or(old.mode & 0o777, |mode| mode.as_raw_mode());
            }
            Err(errno) => lost.push(("ACL", errno)),
        }
    }
    if !is_acl_kept && has_default_acl(directory) {
        // The ACL that the directory has passed on would get the rights of the group.
        match retry_on_intr(|| fremovexattr(file, ACL)) {
            Err(Errno::NODATA) => {}
            removed => removed?,
        }
    }
    // With an ACL, the bits of the group are the mask of the ACL.
    let bits = match is_group_kept && is_acl_kept == has_old_acl {
        true => old.mode & 0o777,
        false => old.mode & 0o707 | (old.mode & 0o007) << 3,
    };
    if let Some((what, errno)) = lost.first() {
        report(&format!("keep the {what} of the replaced file"), *errno, directory, name);
    }
    let mode = given.mode.unwrap_or(Mode::from_raw_mode(bits));
    let heir = given.furnish(file, new, mode, (directory, name))?;
    let is_other = given.owner.is_none() && new.user_id() != Some(user);
    Ok(heir.or(is_other.then(|| Heir { user: Uid::from_raw(user), is_given: false })))
}

/// Gives a complete file or directory to its owner: to the one in the settings, or to that of the
/// file that it replaces, if the server may do so. This is the last step before the file gets its
/// name: only then can the server not use the file any more, because a hidden file of another owner
/// could be a stranger's.
///
/// # Errors
///
/// Returns EDQUOT if the quota of the file system does not permit the owner, and another error if the
/// owner in the settings cannot be set.
pub(super) fn give_to(heir: Heir, file: impl AsFd, at: &Directory, name: &[u8]) -> Result<()> {
    match retry_on_intr(|| fchown(&file, Some(heir.user), None)) {
        Err(errno) if heir.is_given || errno == Errno::DQUOT => Err(refused("owner", errno, name)),
        Err(errno) => {
            report("keep the owner of the replaced file", errno, at, name);
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// Sets the bits of a mode in an ACL, so that the file is never open to more users than with them:
/// the kernel takes the mode of the file from the ACL (xattr of acl(5): a version, then entries of
/// tag, permissions and id).
pub(super) fn restrict(acl: &mut [u8], mode: Mode) {
    let (entries, _) = acl.get_mut(4..).unwrap_or_default().as_chunks_mut::<8>();
    let has_mask = entries.iter().any(|entry| entry[0] == MASK);
    for entry in entries {
        let shift = match entry[0] {
            OWNER => 6,
            GROUP if !has_mask => 3,
            MASK => 3,
            OTHER => 0,
            _ => continue,
        };
        entry[2] = u8::try_from(mode.as_raw_mode() >> shift & 7).unwrap_or(0);
    }
}

/// Logs that a file or directory cannot get what the settings give, and returns the error.
fn refused(what: &str, errno: Errno, name: &[u8]) -> Errno {
    if errno != Errno::DQUOT {
        log::error!("{}: cannot set the {what} in the settings: {errno}", Escaped(name));
    }
    // Elsewhere, this error is about the name. Here, the number is unknown in a container.
    if errno == Errno::INVAL { Errno::PERM } else { errno }
}

/// Logs once what a file does not get.
fn report(what: &str, errno: Errno, directory: &Directory, name: &[u8]) {
    if directory.root().reports_loss() {
        log::warn!("{}: cannot {what}: {errno}; the next files are not logged", Escaped(name));
    }
}

/// Sets the group of an open file or directory, if it differs from that in `now`.
fn set_group(object: impl AsFd, now: &mut Metadata, group: Gid) -> Result<()> {
    let (user, group_now) = now.ids.unwrap_or_default();
    if group_now != group.as_raw() {
        retry_on_intr(|| fchown(&object, None, Some(group)))?;
        now.ids = Some((user, group.as_raw()));
    }
    Ok(())
}

/// Sets the permission bits of an open file or directory, if they differ from those in `now`. Returns
/// `false` if the object keeps its bits, as on file systems without permission bits, or with one
/// owner for all files.
pub(super) fn set_mode(object: impl AsFd, now: &mut Metadata, bits: Mode) -> Result<bool> {
    if now.mode == bits.as_raw_mode() {
        return Ok(true);
    }
    match retry_on_intr(|| fchmod(&object, bits)) {
        Err(Errno::PERM | Errno::OPNOTSUPP) => return Ok(false),
        changed => changed?,
    }
    now.mode = bits.as_raw_mode();
    Ok(true)
}

/// Fills a buffer with attributes. A second, larger buffer is used if the first one is too small.
fn with_buffer(fill: impl Fn(&mut Vec<u8>) -> Result<()>) -> Result<Vec<u8>> {
    let mut buffer = Vec::with_capacity(ATTRIBUTES);
    match fill(&mut buffer) {
        Err(Errno::RANGE) => {
            let mut buffer = Vec::with_capacity(ATTRIBUTES_MAX);
            fill(&mut buffer).map(|()| buffer)
        }
        filled => filled.map(|()| buffer),
    }
}
