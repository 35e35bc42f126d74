//! Files under hidden names: who has one, and how one is removed that nobody has.
//!
//! Whoever writes to such a file holds its lock (`flock`) for as long as it has the hidden name.
//! The kernel gives the lock back with the process, so that what a server left that was killed is
//! told from what another one, perhaps in another container, is just writing.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, flock, openat, unlinkat};
use rustix::io::{Errno, Result, retry_on_intr};

use super::directory::Directory;
use super::name::{self, Hidden};
use super::policy::KEPT;
use super::root;
use super::usage::{self, Usage};
use crate::storage::{EntryKind, Metadata};

/// Takes the lock of a file. EWOULDBLOCK if somebody has it.
pub(super) fn lock(file: impl AsFd) -> Result<()> {
    retry_on_intr(|| flock(&file, FlockOperation::NonBlockingLockExclusive))
}

/// Gives the lock back. Closing the file is not enough: a child that this process is just
/// starting has the file open too, and with it the lock, until it runs its program.
pub(super) fn unlock(file: impl AsFd) {
    // It fails only where there are no locks.
    let _ = retry_on_intr(|| flock(&file, FlockOperation::Unlock));
}

/// Opens a hidden file for writing at its end, and locks it. EWOULDBLOCK if somebody has it,
/// ENOENT if it is none that this storage has made.
pub(super) fn open_locked(directory: BorrowedFd<'_>, name: &[u8]) -> Result<(OwnedFd, Metadata)> {
    let flags = OFlags::WRONLY
        | OFlags::APPEND
        | OFlags::NONBLOCK
        | OFlags::NOFOLLOW
        | OFlags::NOCTTY
        | OFlags::CLOEXEC;
    let file = match retry_on_intr(|| openat(directory, name, flags, Mode::empty())) {
        // No regular file: a link, a directory, a FIFO without a reader.
        Err(Errno::LOOP | Errno::ISDIR | Errno::NXIO) => Err(Errno::NOENT),
        file => file,
    }?;
    let opened = root::metadata_of(&file)?;
    if opened.kind != EntryKind::File || opened.links > 1 {
        return Err(Errno::NOENT);
    }
    lock(&file)?;
    // Whoever had the lock until now may have given the file another name, or written to it.
    let found = root::metadata_at(directory, name, AtFlags::empty());
    match found {
        Ok(found) if found.identity == opened.identity => Ok((file, found)),
        Ok(_) | Err(_) => {
            unlock(&file);
            Err(Errno::NOENT)
        }
    }
}

/// What is kept under a hidden name for a user to go on with, unless it is too old.
pub(super) fn kept(directory: &Directory, name: &[u8]) -> Option<Metadata> {
    let found = directory.metadata(name).ok()?;
    let is_kept = found.kind == EntryKind::File && found.links <= 1 && !is_old(&found);
    is_kept.then_some(found)
}

/// Whether a hidden file was last written to so long ago that nobody goes on with it.
pub(super) fn is_old(file: &Metadata) -> bool {
    seconds_left(file) <= 0
}

/// How many seconds a hidden file is still kept.
pub(super) fn seconds_left(file: &Metadata) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let kept = i64::try_from(KEPT.as_secs()).unwrap_or(i64::MAX);
    // A clock that was put back makes nothing immortal.
    file.modified.saturating_add(kept).saturating_sub(now).min(kept)
}

/// Whether nobody writes to a hidden file just now.
pub(super) fn is_left(directory: BorrowedFd<'_>, name: &[u8]) -> bool {
    open_locked(directory, name).is_ok_and(|(file, _)| {
        unlock(&file);
        true
    })
}

/// Removes a hidden file that nobody writes to. False if somebody does.
pub(super) fn remove(usage: &Usage, directory: BorrowedFd<'_>, name: &[u8]) -> Result<bool> {
    let change = usage.change();
    let (file, found) = match open_locked(directory, name) {
        Ok(found) => found,
        Err(Errno::WOULDBLOCK) => return Ok(false),
        Err(Errno::NOENT) => return Ok(true),
        Err(errno) => return Err(errno),
    };
    let removed = retry_on_intr(|| unlinkat(directory, name, AtFlags::empty()));
    if removed.is_ok() && name::hidden(name) == Some(Hidden::Kept) {
        change.freed(usage::cost_of_file(found.size));
        usage.shelf().take(found.identity);
    }
    unlock(&file);
    removed.map(|()| true)
}
