//! Commands that change names (`MKD`, `RNFR` and `RNTO`, `DELE` and `RMD`) or attributes (`MFMT`
//! and `SITE CHMOD`). If the policy requires it, a changed name is on disk before the client gets
//! the reply.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, Timespec, Timestamps, chmodat, fchmod, fstat, futimens, mkdirat,
    openat, renameat, unlinkat, utimensat,
};
use rustix::io::{Errno, retry_on_intr};

use super::directory::{
    self, Directory, creation, existing, lookup, rename_error, system, unsynced,
};
use super::files::Files;
use super::root::{self, Root};
use super::usage::{self, Cost, Leaving};
use super::{name, names, record, sweep};
use crate::deadline::unix_now;
use crate::storage::{
    EntryKind, Metadata, StorageError, StorageErrorKind, StorageResult, VirtualPath, check_rename,
};

pub(super) fn remove(files: &Files, path: &VirtualPath) -> StorageResult<()> {
    if path.is_root() {
        return Err(StorageErrorKind::IsDirectory.into());
    }
    name::check_existing(path)?;
    let (directory, name) = files.parent(path)?;
    let change = files.root.usage().change();
    let cost = change.cost_of(|| directory.metadata(name).ok());
    retry_on_intr(|| unlinkat(&directory, name, AtFlags::empty())).map_err(existing)?;
    change.freed(cost);
    drop(change);
    let ending = record::removed(&directory, name);
    directory.sync(files.config.sync).map_err(unsynced)?;
    ending.end(&directory);
    Ok(())
}

pub(super) fn rmdir(files: &Files, path: &VirtualPath) -> StorageResult<()> {
    if path.is_root() {
        return Err(StorageErrorKind::Denied.into());
    }
    name::check_existing(path)?;
    let (directory, name) = files.parent(path)?;
    // Some file systems remove a directory with all that is in it, unless the kernel looks after that.
    match sweep::open_empty(&directory, name) {
        Err(Errno::NOTEMPTY) => return Err(StorageErrorKind::NotEmpty.into()),
        Err(Errno::ACCESS) if names::is_of_kernel(&directory) => {}
        listed => drop(listed.map_err(existing)?),
    }
    let remove = || {
        let change = files.root.usage().change();
        match retry_on_intr(|| unlinkat(&directory, name, AtFlags::REMOVEDIR)) {
            // Some file systems report a non-empty directory with EEXIST.
            Err(Errno::EXIST) => Err(Errno::NOTEMPTY),
            removed => removed.inspect(|()| change.freed(Cost::DIRECTORY)),
        }
    };
    match remove() {
        // To clients, a directory that contains only hidden files of uploads is empty.
        Err(Errno::NOTEMPTY) => sweep::empty(&directory, name).and_then(|()| remove()),
        removed => removed,
    }
    .map_err(existing)?;
    directory.sync(files.config.sync).map_err(unsynced)
}

pub(super) fn mkdir(files: &Files, path: &VirtualPath) -> StorageResult<()> {
    if path.is_root() {
        return Err(StorageErrorKind::Exists.into());
    }
    name::check_new(path)?;
    let (directory, name) = files.parent(path)?;
    if directory.metadata(name).is_ok() {
        return Err(StorageErrorKind::Exists.into());
    }
    let given = files.config.for_directories();
    given.check().map_err(|_| StorageErrorKind::Denied)?;
    let usage = files.root.usage();
    let charge = || files.charge(Cost::DIRECTORY, None);
    let mut charge = sweep::give_way(&files.root, name::owner_of(None), charge)?;
    let change = usage.change();
    let (bits, later) = given.modes_of_directory(&directory);
    retry_on_intr(|| mkdirat(&directory, name, bits)).map_err(|no| creation(&directory, no))?;
    charge.keep();
    given.furnish_directory(later, &directory, name).map_err(|errno| {
        // The client gets an error, so the directory must not stay. It stays if it is not empty.
        if retry_on_intr(|| unlinkat(&directory, name, AtFlags::REMOVEDIR)).is_ok() {
            change.freed(Cost::DIRECTORY);
        }
        system(errno)
    })?;
    drop(change);
    directory.sync(files.config.sync).map_err(unsynced)
}

pub(super) fn rename(
    files: &Files,
    from: &VirtualPath,
    to: &VirtualPath,
    replace: bool,
) -> StorageResult<()> {
    check_rename(from, to)?;
    name::check_existing(from)?;
    name::check_new(to)?;
    let (from_directory, from_name) = files.parent(from)?;
    let (to_directory, to_name) = files.parent(to)?;
    let usage = files.root.usage();
    let naming = usage::naming(to_directory.identity().map_err(system)?, false);
    let change = usage.change();
    change.moves(|| from_directory.metadata(from_name).ok());
    // The error does not say which name it is about.
    let refuse = |errno| match from_directory.metadata(from_name) {
        Ok(old) => rename_error(errno, &old, &to_directory),
        Err(errno) => existing(errno),
    };
    let mut is_same_object = false;
    match directory::rename_new((&from_directory, from_name), (&to_directory, to_name)) {
        Err(Errno::EXIST) => {
            let old = from_directory.metadata(from_name).map_err(existing)?;
            let taken = to_directory.metadata(to_name).map_err(existing)?;
            is_same_object = old.identity == taken.identity;
            // The two names are equal, or differ only in case on a file system that ignores case.
            // If `is_one_name` is `false` for the same object, the names are hard links, and
            // rename(2) would keep both.
            let is_one_name = is_same_object
                && (old.kind == EntryKind::Directory || old.links == 1 || from == to)
                && is_one_name(&from_directory, from_name, &to_directory, to_name);
            if !is_one_name && !replace {
                return Err(StorageErrorKind::Exists.into());
            }
            // rename(2) would let a directory replace an empty directory.
            if !is_one_name && taken.kind == EntryKind::Directory {
                return Err(StorageErrorKind::IsDirectory.into());
            }
            let replaced = match is_same_object {
                true => Leaving::default(),
                false => change.cost_of(|| to_directory.metadata(to_name).ok()),
            };
            retry_on_intr(|| renameat(&from_directory, from_name, &to_directory, to_name))
                .map_err(refuse)?;
            change.freed(replaced);
        }
        done => done.map_err(refuse)?,
    }
    drop((change, naming));
    // Where both names lead to one object, rename(2) keeps both: the old file of a cut upload stays.
    let endings = (!is_same_object).then(|| {
        let removed = record::removed(&from_directory, from_name);
        (removed, record::replaced(&to_directory, to_name))
    });
    // Syncs the new name first, so that at least one of the two names is on disk at any moment.
    to_directory.sync(files.config.sync).map_err(unsynced)?;
    if !to_directory.is_same(&from_directory) {
        from_directory.sync(files.config.sync).map_err(unsynced)?;
    }
    if let Some((removed, replaced)) = endings {
        removed.end(&from_directory);
        replaced.end(&to_directory);
    }
    Ok(())
}

/// Returns whether two names with one inode number are one name in two spellings. They are two if
/// the directory lists both: 9p and some FUSE file systems give the same number to two files.
fn is_one_name(in_one: &Directory, one: &[u8], in_other: &Directory, other: &[u8]) -> bool {
    let same = in_one.identity().is_ok_and(|it| in_other.identity() == Ok(it));
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let is_alone = |name: &[u8]| {
        let opened = retry_on_intr(|| openat(in_one, ".", flags, Mode::empty()));
        opened.is_ok_and(|it| directory::all_names(&it, Errno::EXIST, &|it| it != name).is_ok())
    };
    same && (one == other || is_alone(one) || is_alone(other))
}

/// A file or directory whose attributes will be changed. It is opened with `O_PATH`, which needs no
/// right to read it. Older kernels cannot change attributes through such a descriptor, so the calls
/// use the descriptor's link in `/proc`. The link leads to the same object even if another object
/// has the name by now. Without `/proc`, the object is opened for reading.
pub(super) struct Changeable {
    link: Option<String>,
    /// The metadata of the object when it was found.
    pub(super) metadata: Metadata,
    descriptor: OwnedFd,
}

impl Changeable {
    pub(super) fn find(root: &Root, path: &VirtualPath) -> StorageResult<Self> {
        name::check_existing(path)?;
        let open = |flags| root.open_beneath(path.relative(), flags).map_err(lookup);
        let mut descriptor = open(OFlags::PATH)?;
        let metadata = root::metadata_of(&descriptor).map_err(system)?;
        if !matches!(metadata.kind, EntryKind::File | EntryKind::Directory) {
            return Err(StorageErrorKind::NotFile.into());
        }
        let link = root.has_proc().then(|| format!("/proc/self/fd/{}", descriptor.as_raw_fd()));
        if link.is_none() {
            descriptor = open(OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
            if root::metadata_of(&descriptor).map_err(system)?.identity != metadata.identity {
                return Err(StorageErrorKind::NotFound.into());
            }
        }
        Ok(Self { link, metadata, descriptor })
    }

    /// Sets the modification time, in seconds since 1970, and returns the new metadata of the object,
    /// even if its path leads to another object by now.
    ///
    /// # Errors
    ///
    /// Returns `Denied` if the file system reports success, and has stored another time. The old time
    /// is set again, unless another program may have written to the file.
    pub(super) fn set_modified(&self, modified: i64) -> StorageResult<Metadata> {
        // With libfuse 2, many file systems ignore a change of only one time, and report success.
        let old = retry_on_intr(|| fstat(&self.descriptor)).map_err(system)?;
        let accessed =
            Timespec { tv_sec: old.st_atime, tv_nsec: old.st_atime_nsec.try_into().unwrap_or(0) };
        let set = |last_modification| {
            let times = Timestamps { last_access: accessed, last_modification };
            retry_on_intr(|| match &self.link {
                Some(link) => utimensat(CWD, link.as_str(), &times, AtFlags::empty()),
                None => futimens(&self.descriptor, &times),
            })
            .map_err(system)
        };
        let before = unix_now();
        set(Timespec { tv_sec: modified, tv_nsec: 0 })?;
        let now = root::metadata_of(&self.descriptor).map_err(system)?;
        if is_stored(modified, now.modified) {
            return Ok(now);
        }
        if !is_of_writer(now.modified, before, unix_now()) {
            let former = old.st_mtime_nsec.try_into().unwrap_or(0);
            set(Timespec { tv_sec: old.st_mtime, tv_nsec: former })?;
        }
        Err(not_stored("the file system has not stored the time"))
    }

    /// Sets the permission bits, and returns the new metadata. `is_limited` tells whether the storage
    /// has a quota.
    ///
    /// # Errors
    ///
    /// Returns `Denied` for the root, if a quota could no longer count what is in a directory, and if
    /// the file system reports success, and has not stored the bits.
    pub(super) fn set_mode(
        &self,
        mode: u32,
        root: &Root,
        is_limited: bool,
    ) -> StorageResult<Metadata> {
        let is_directory = self.metadata.kind == EntryKind::Directory;
        // Compares identities instead of paths, because a symbolic link can lead to the root.
        if self.metadata.identity == root.identity()
            || is_limited && is_directory && mode & 0o500 != 0o500
        {
            return Err(StorageErrorKind::Denied.into());
        }
        // Clients must not change the set-id and sticky bits of a directory.
        let kept = if is_directory { self.metadata.mode & 0o7000 } else { 0 };
        let bits = Mode::from_raw_mode(mode & 0o777 | kept);
        retry_on_intr(|| match &self.link {
            Some(link) => chmodat(CWD, link.as_str(), bits, AtFlags::empty()),
            None => fchmod(&self.descriptor, bits),
        })
        .map_err(system)?;
        let now = root::metadata_of(&self.descriptor).map_err(system)?;
        match (now.mode ^ mode) & 0o777 {
            0 => Ok(now),
            _ => Err(not_stored("the file system has not stored the mode")),
        }
    }
}

fn not_stored(what: &str) -> StorageError {
    StorageError { kind: StorageErrorKind::Denied, source: Some(std::io::Error::other(what)) }
}

/// Returns whether a time may be that of a write between these times: the old time would hide new
/// content.
const fn is_of_writer(modified: i64, before: i64, after: i64) -> bool {
    // Clocks of disks are coarse, and count in steps.
    before.saturating_sub(modified) <= 2 && modified.saturating_sub(after) <= 2
}

/// Returns whether a file system stores the time `wanted` as `now`: exactly, or as the next even
/// second, as FAT does.
const fn is_stored(wanted: i64, now: i64) -> bool {
    now == wanted || now % 2 == 0 && now.abs_diff(wanted) == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_another_programs_write_is_not_taken_back_cm_123() {
        for (modified, want) in [(97, false), (98, true), (100, true), (105, true), (112, true)] {
            assert_eq!(is_of_writer(modified, 100, 110), want, "{modified}");
        }
        for modified in [113, 0, i64::MIN, i64::MAX] {
            assert!(!is_of_writer(modified, 100, 110), "{modified}");
        }
    }

    #[test]
    fn a_time_may_be_stored_in_steps_of_two_seconds_cm_123() {
        for (wanted, now, want) in [
            (1_000_000_001, 1_000_000_001, true),
            (1_000_000_000, 1_000_000_000, true),
            (1_000_000_001, 1_000_000_000, true),
            (1_000_000_001, 1_000_000_002, true),
            (1_000_000_000, 1_000_000_001, false),
            (1_000_000_000, 999_999_999, false),
            (1_000_000_000, 1_000_000_002, false),
            (1_000_000_000, 1_800_000_000, false),
            (-1, -2, true),
            (-2, -1, false),
            (0, i64::MIN, false),
        ] {
            assert_eq!(is_stored(wanted, now), want, "{wanted} {now}");
        }
    }
}
