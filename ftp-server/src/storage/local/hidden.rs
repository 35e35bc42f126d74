//! Hidden files of uploads: their locks, and the removal of abandoned ones.
//!
//! A process that writes to a hidden file holds a lock (`flock`) on it as long as the file has the
//! hidden name. The kernel releases the lock when the process ends. So the lock distinguishes files
//! that a server is writing, perhaps in another container, from files that a killed server left.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;
use std::time::Duration;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, flock, openat, unlinkat};
use rustix::io::{Errno, Result, retry_on_intr};
use rustix::process::geteuid;

use super::root;
use super::turn::unlock;
use super::usage::{Cost, Usage};
use crate::deadline::unix_now;
use crate::storage::{EntryKind, Metadata};

/// How often, and after how long, to try again to lock a file: another process may be looking at it for
/// a moment.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(1);

const ALONE: FlockOperation = FlockOperation::NonBlockingLockExclusive;

/// Calls `lock` again for a moment while it returns EWOULDBLOCK.
pub(super) fn patiently<T>(mut lock: impl FnMut() -> Result<T>) -> Result<T> {
    for _ in 0..TRIES {
        match lock() {
            Err(Errno::WOULDBLOCK) => thread::sleep(PAUSE),
            done => return done,
        }
    }
    lock()
}

/// Opens a hidden file to write at its end, and locks it. Returns EWOULDBLOCK if the file is already
/// locked. Returns ENOENT if there is no file, or if the object with this name cannot be a hidden
/// file of an upload.
pub(super) fn open_locked(directory: BorrowedFd<'_>, name: &[u8]) -> Result<(OwnedFd, Metadata)> {
    let (file, found) = open_for(OFlags::WRONLY | OFlags::APPEND, ALONE, directory, name)?;
    match is_of_server(directory, &found) {
        true => Ok((file, found)),
        false => {
            unlock(&file);
            Err(Errno::NOENT)
        }
    }
}

/// Opens and locks a hidden file of any owner, only to remove it. Programs that watch the
/// directory would take the end of a descriptor for writing for a finished file.
fn open_to_remove(directory: BorrowedFd<'_>, name: &[u8]) -> Result<(OwnedFd, Metadata)> {
    match open_for(OFlags::RDONLY, ALONE, directory, name) {
        // NFS locks only files that are open for writing.
        Err(Errno::BADF) => open_locked(directory, name),
        opened => opened,
    }
}

/// Opens a hidden file. Returns ENOENT if the object with this name cannot be one.
pub(super) fn open(
    access: OFlags,
    directory: BorrowedFd<'_>,
    name: &[u8],
) -> Result<(OwnedFd, Metadata)> {
    let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match retry_on_intr(|| openat(directory, name, access | flags, Mode::empty())) {
        // The object is a link, a directory, or a FIFO without a reader.
        Err(Errno::LOOP | Errno::ISDIR | Errno::NXIO) => Err(Errno::NOENT),
        file => file,
    }?;
    let opened = root::metadata_of(&file)?;
    if is_plain(&opened) { Ok((file, opened)) } else { Err(Errno::NOENT) }
}

fn open_for(
    access: OFlags,
    lock: FlockOperation,
    directory: BorrowedFd<'_>,
    name: &[u8],
) -> Result<(OwnedFd, Metadata)> {
    let (file, opened) = open(access, directory, name)?;
    retry_on_intr(|| flock(&file, lock))?;
    // The previous owner of the lock may have renamed the file, or written to it.
    let found = root::metadata_at(directory, name, AtFlags::empty());
    match found {
        Ok(found) if found.identity == opened.identity => Ok((file, found)),
        Ok(_) | Err(_) => {
            unlock(&file);
            Err(Errno::NOENT)
        }
    }
}

/// Returns whether an object is a file with one name.
fn is_plain(found: &Metadata) -> bool {
    found.kind == EntryKind::File && found.links <= 1
}

/// Returns whether an object can be a hidden file of a server: a file with one name that belongs to
/// the server's user. A local user could plant any other object, and change the file later.
///
/// File systems that show one owner for all files may show another one. There, and in a directory of
/// another user, a file of the directory's owner will do: the owner can replace every file in it.
pub(super) fn is_of_server(directory: BorrowedFd<'_>, found: &Metadata) -> bool {
    is_plain(found)
        && (found.user_id() == Some(geteuid().as_raw())
            || root::metadata_of(directory).is_ok_and(|it| it.user_id() == found.user_id()))
}

/// Returns whether an error is about what this process or the system lacks now, and not about a file.
pub(super) const fn is_shortage(errno: Errno) -> bool {
    matches!(errno, Errno::MFILE | Errno::NFILE | Errno::NOMEM)
}

pub(super) fn is_older_than(file: &Metadata, age: Duration) -> bool {
    file.modified.saturating_add_unsigned(age.as_secs()) <= unix_now()
}

/// Checks whether a process is writing to a hidden file.
///
/// # Errors
///
/// Returns EWOULDBLOCK if a process is writing to it, ENOENT if it is missing or not a file of an
/// upload, and another error if the file system has no locks.
pub(super) fn check_left(directory: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
    // Several processes may look at once.
    open_for(OFlags::RDONLY, FlockOperation::NonBlockingLockShared, directory, name)
        .map(|(file, _)| unlock(&file))
}

/// Removes a hidden file.
///
/// # Errors
///
/// Returns EWOULDBLOCK if a process is writing to it or it `stays`, ENOENT if it is missing, and another
/// error if it cannot be removed, or if its file system has no locks.
pub(super) fn remove(
    usage: &Usage,
    directory: impl AsFd,
    name: &[u8],
    stays: impl Fn() -> bool,
) -> Result<()> {
    let directory = directory.as_fd();
    patiently(|| {
        let change = usage.change();
        // The lock of a file that stays would refuse a session that resumes it at this moment. A session
        // that cuts its upload writes the record before it unlocks the bytes, so this is asked again
        // under the lock.
        if stays() {
            return Err(Errno::WOULDBLOCK);
        }
        let (file, _) = open_to_remove(directory, name)?;
        let removed = match stays() {
            true => Err(Errno::WOULDBLOCK),
            false => retry_on_intr(|| unlinkat(directory, name, AtFlags::empty())),
        };
        if removed.is_ok()
            && let Some(size) = usage.shelf().emptied(name)
        {
            change.freed(Cost::of_file(size));
        }
        unlock(&file);
        removed
    })
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::sync::Arc;

    use super::super::turn;
    use super::*;

    #[test]
    fn kept_bytes_are_not_locked_to_see_that_they_stay_fs_14_fs_15() {
        let top = tempfile::tempdir().unwrap();
        let root = Arc::new(root::Root::open(top.path()).unwrap());
        let file = File::create(top.path().join("bytes")).unwrap();
        // A session that resumes them can take the lock while a walk looks at them.
        let stays = || turn::lock(&file).is_ok();
        let looked = remove(root.usage(), &*root, b"bytes", stays);
        assert_eq!(looked, Err(Errno::WOULDBLOCK));
        assert!(top.path().join("bytes").exists());
    }

    #[test]
    fn a_lock_that_is_held_for_a_moment_is_waited_for_fs_15() {
        let mut left = TRIES;
        let locked = patiently(|| {
            left = left.checked_sub(1).ok_or(Errno::IO)?;
            if left > 0 { Err(Errno::WOULDBLOCK) } else { Ok(()) }
        });
        assert_eq!(locked, Ok(()));
        assert_eq!(patiently(|| Err::<(), _>(Errno::WOULDBLOCK)), Err(Errno::WOULDBLOCK));
        assert_eq!(patiently(|| Err::<(), _>(Errno::ACCESS)), Err(Errno::ACCESS));
    }
}
