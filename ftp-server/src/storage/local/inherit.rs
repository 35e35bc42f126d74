//! What a new file or directory takes over: from the file that it replaces, and from its directory.

use std::os::fd::AsFd;

use ftp_proto::Escaped;
use rustix::buffer::spare_capacity;
use rustix::fs::{
    Gid, Mode, Uid, XattrFlags, fchmod, fchown, fremovexattr, fsetxattr, getxattr, lgetxattr,
    llistxattr,
};
use rustix::io::{Errno, Result, retry_on_intr};

use super::directory::Directory;
use super::policy::Umask;
use crate::storage::{EntryKind, Metadata};

const ACL: &str = "system.posix_acl_access";
const DEFAULT_ACL: &str = "system.posix_acl_default";

/// Size of the first buffer for attributes, and the largest one that Linux fills, in bytes.
const ATTRIBUTES: usize = 1024;
const ATTRIBUTES_MAX: usize = 64 * 1024;

/// Returns whether new objects in a directory take over a default ACL. The kernel then ignores the
/// umask, and later changes of the mode would cut the ACL's mask.
fn has_default_acl(directory: &Directory) -> bool {
    let found = getxattr(directory.path_of(b""), DEFAULT_ACL, &mut [0_u8; 4]);
    matches!(found, Ok(_) | Err(Errno::RANGE))
}

/// Returns the mode with which to create a file or directory, and the mode to set afterwards, if
/// that is necessary. `all` is the mode without a umask.
pub(super) fn mode_of_new(umask: Umask, directory: &Directory, all: u32) -> (Mode, Option<Mode>) {
    if umask.is_of_process() || has_default_acl(directory) {
        return (Mode::from_raw_mode(all), None);
    }
    let bits = umask.apply(all);
    (bits, umask.is_looser_than_process().then_some(bits))
}

/// The mode of a file that will replace another one, until it is complete. The rights of the old
/// file would be given to another owner, to another group and to the entries of a default ACL.
pub(super) const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);

/// Gives a complete file what the file `old` with this name has: extended attributes of users,
/// group, ACL and mode. `new` is the metadata of the file. Returns the owner that the file is to get
/// by [`give_to`], if it differs.
///
/// What the server may not or the file system cannot set stays as it is, which is logged once. If
/// the group or the ACL cannot be kept, the file's group gets no more rights than all other users.
///
/// # Errors
///
/// Returns EDQUOT if the quota of the file system does not permit the group.
pub(super) fn take_over(
    file: impl AsFd,
    new: &Metadata,
    directory: &Directory,
    name: &[u8],
    old: &Metadata,
) -> Result<Option<Uid>> {
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
        let value = with_buffer(read)?;
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
    let (user_now, group_now) = new.ids.unwrap_or_default();
    let mut is_group_kept = group == group_now;
    if !is_group_kept {
        match retry_on_intr(|| fchown(file, None, Some(Gid::from_raw(group)))) {
            Ok(()) => is_group_kept = true,
            Err(Errno::DQUOT) => return Err(Errno::DQUOT),
            Err(errno) => lost.push(("group", errno)),
        }
    }
    let mut is_acl_kept = false;
    if has_old_acl && is_group_kept {
        match copy(ACL.as_bytes()) {
            Ok(()) => is_acl_kept = true,
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
    set_mode(file, new.mode, Mode::from_raw_mode(bits))?;
    if let Some((what, errno)) = lost.first() {
        report(what, *errno, directory, name);
    }
    Ok((user != user_now).then(|| Uid::from_raw(user)))
}

/// Gives a file to the owner of the file that it replaces, if the server may do so. This is the last
/// step before the file gets its name: only then can the server not use the file any more, because a
/// hidden file of another owner could be a stranger's.
///
/// # Errors
///
/// Returns EDQUOT if the quota of the file system does not permit the owner.
pub(super) fn give_to(owner: Uid, file: impl AsFd, at: &Directory, name: &[u8]) -> Result<()> {
    match retry_on_intr(|| fchown(&file, Some(owner), None)) {
        Err(errno) if errno != Errno::DQUOT => {
            report("owner", errno, at, name);
            Ok(())
        }
        given => given,
    }
}

/// Logs once what a replaced file loses.
fn report(what: &str, errno: Errno, directory: &Directory, name: &[u8]) {
    if directory.root().reports_loss() {
        log::warn!(
            "{}: cannot keep the {what} of the replaced file: {errno}; the next replaced files are \
             not logged",
            Escaped(name)
        );
    }
}

/// Sets the permission bits of an open file or directory, if they differ from `now`. File systems
/// without permission bits, or with one owner for all files, may refuse. The object then keeps its
/// bits.
pub(super) fn set_mode(object: impl AsFd, now: u32, bits: Mode) -> Result<()> {
    if now == bits.as_raw_mode() {
        return Ok(());
    }
    match retry_on_intr(|| fchmod(&object, bits)) {
        Err(Errno::PERM | Errno::OPNOTSUPP) => Ok(()),
        changed => changed,
    }
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
