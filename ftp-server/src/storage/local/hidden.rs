//! Hidden files of uploads: their locks, and the removal of abandoned ones.
//!
//! A process that writes to a hidden file holds a lock (`flock`) on it as long as the file has the
//! hidden name. The kernel releases the lock when the process ends. So the lock distinguishes files
//! that a server is writing, perhaps in another container, from files that a killed server left.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::RwLock;
use std::thread;
use std::time::Duration;

use ftp_proto::Escaped;
use rustix::fs::{
    AtFlags, FlockOperation, Mode, OFlags, Timespec, Timestamps, flock, ftruncate, futimens,
    openat, renameat, unlinkat,
};
use rustix::io::{Errno, Result, retry_on_intr};
use rustix::process::geteuid;

use super::directory::Directory;
use super::name::{self, Hidden};
use super::root;
use super::usage::{Cost, Usage};
use crate::deadline::unix_now;
use crate::lock::unpoisoned;
use crate::storage::unfinished::REMEMBERED;
use crate::storage::{EntryKind, Metadata};

/// How often, and after how long, to try again to lock a file that is to be removed: another process
/// may be looking at it for a moment.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(1);

/// Shared by the sessions of this process that look at a hidden file, for which they lock it.
static LOOKING: RwLock<()> = RwLock::new(());

/// Locks a file; returns EWOULDBLOCK if the file is already locked.
pub(crate) fn lock(file: impl AsFd) -> Result<()> {
    retry_on_intr(|| flock(&file, FlockOperation::NonBlockingLockExclusive))
}

/// Releases the lock of a file. Closing the file does not always unlock it: a child process that is
/// being started shares the open file and its lock until it executes its program.
pub(crate) fn unlock(file: impl AsFd) {
    // This fails only on file systems without locks.
    let _ = retry_on_intr(|| flock(&file, FlockOperation::Unlock));
}

/// Opens a hidden file to write at its end, and locks it. Returns EWOULDBLOCK if the file is already
/// locked. Returns ENOENT if there is no file, or if the object with this name cannot be a hidden
/// file of an upload.
pub(super) fn open_locked(directory: BorrowedFd<'_>, name: &[u8]) -> Result<(OwnedFd, Metadata)> {
    let (file, found) = open_for(OFlags::WRONLY | OFlags::APPEND, directory, name)?;
    match is_of_server(directory, &found, &[]) {
        true => Ok((file, found)),
        false => {
            unlock(&file);
            Err(Errno::NOENT)
        }
    }
}

/// Opens and locks a hidden file of any owner, only to examine or remove it. Programs that watch the
/// directory would take the end of a descriptor for writing for a finished file.
fn open_to_look(directory: BorrowedFd<'_>, name: &[u8]) -> Result<(OwnedFd, Metadata)> {
    match open_for(OFlags::RDONLY, directory, name) {
        // NFS locks only files that are open for writing.
        Err(Errno::BADF) => open_locked(directory, name),
        opened => opened,
    }
}

fn open_for(access: OFlags, directory: BorrowedFd<'_>, name: &[u8]) -> Result<(OwnedFd, Metadata)> {
    let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match retry_on_intr(|| openat(directory, name, access | flags, Mode::empty())) {
        // The object is a link, a directory, or a FIFO without a reader.
        Err(Errno::LOOP | Errno::ISDIR | Errno::NXIO) => Err(Errno::NOENT),
        file => file,
    }?;
    let opened = root::metadata_of(&file)?;
    if !is_plain(&opened) {
        return Err(Errno::NOENT);
    }
    lock(&file)?;
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
/// another user, a file of the directory's owner will do: the owner can replace every file in it. The
/// same is true of the owners to whom the server gives its complete files, `heirs`: a server that is
/// killed after it has given the new file to its owner leaves it without its name.
fn is_of_server(directory: BorrowedFd<'_>, found: &Metadata, heirs: &[Option<u32>]) -> bool {
    is_plain(found)
        && (found.user_id() == Some(geteuid().as_raw())
            || heirs.iter().any(|heir| heir.is_some() && *heir == found.user_id())
            || root::metadata_of(directory).is_ok_and(|it| it.user_id() == found.user_id()))
}

/// Returns the metadata of a hidden file; `None` if the file is missing, too old, or not a file of
/// an upload that was to get one of these owners.
pub(super) fn kept(directory: &Directory, name: &[u8], heirs: &[Option<u32>]) -> Option<Metadata> {
    let found = directory.metadata(name).ok()?;
    (is_of_server(directory.as_fd(), &found, heirs) && !is_old(&found)).then_some(found)
}

/// Returns whether a hidden file is too old to be resumed.
pub(super) fn is_old(file: &Metadata) -> bool {
    seconds_left(file) <= 0
}

/// Returns the number of seconds that a hidden file will still be kept; 0 or less if it is too old.
pub(super) fn seconds_left(file: &Metadata) -> i64 {
    let kept = i64::try_from(REMEMBERED.as_secs()).unwrap_or(i64::MAX);
    // A clock that was set back must not keep a file forever.
    file.modified.saturating_add(kept).saturating_sub(unix_now()).min(kept)
}

/// Checks whether a process is writing to a hidden file.
///
/// # Errors
///
/// Returns EWOULDBLOCK if a process is writing to it, ENOENT if it is missing or not a file of an
/// upload, and another error if the file system has no locks.
pub(super) fn check_left(directory: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
    let _looking = unpoisoned(LOOKING.read());
    open_to_look(directory, name).map(|(file, _)| unlock(&file))
}

/// Frees the space of an upload whose server was killed, and moves the empty file, which is its
/// record, to the name of a kept upload. Returns that name and the file's metadata, or `None` if the
/// upload is still running or the file is missing.
///
/// Locks do not reach all servers: this file may be open through another mount, such as FUSE or NFS
/// without locks. So it loses its name first. A server that still writes to it then fails to give it
/// the final name, and its client learns that.
pub(super) fn free_left(
    usage: &Usage,
    directory: BorrowedFd<'_>,
    name: &[u8],
) -> Option<(Vec<u8>, Metadata)> {
    let (file, found) = open_locked(directory, name).ok()?;
    let left = match name::kept_of(name).filter(|_| found.size > 0) {
        Some(kept) => {
            // Until it is empty, its lock says that it cannot be resumed.
            let is_moved = remove(usage, directory, &kept) == Ok(true)
                && retry_on_intr(|| renameat(directory, name, directory, &*kept)).is_ok();
            (is_moved && cut_to_nothing(&file, name, &found)).then_some(kept)
        }
        None => Some(name.to_vec()),
    };
    let found = root::metadata_of(&file).ok();
    unlock(&file);
    left.zip(found)
}

/// Frees the space of a file, which keeps its time. Returns whether that was possible.
fn cut_to_nothing(file: &OwnedFd, name: &[u8], found: &Metadata) -> bool {
    let time = Timespec { tv_sec: found.modified, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    let emptied = retry_on_intr(|| ftruncate(file, 0)).and_then(|()| futimens(file, &times));
    if let Err(errno) = emptied {
        let name = Escaped(name);
        log::warn!("{name}: cannot free the space of an interrupted upload: {errno}");
    }
    emptied.is_ok()
}

/// Drops the bytes of a kept upload, and keeps its record. Returns `false` if there are none, or if
/// a session is resuming the upload.
pub(super) fn drop_bytes(directory: &Directory, name: &[u8]) -> bool {
    let usage = directory.root().usage();
    let change = usage.change();
    let Ok((file, found)) = open_locked(directory.as_fd(), name) else { return false };
    let is_emptied = found.size > 0 && cut_to_nothing(&file, name, &found);
    unlock(&file);
    if is_emptied {
        change.freed(Cost::of_file(found.size));
        usage.shelf().emptied(found.identity);
    }
    is_emptied
}

/// Removes a hidden file. If a process is writing to it, does nothing and returns `false`. A
/// missing file counts as removed.
///
/// # Errors
///
/// Returns an error if the file cannot be removed, or if its file system has no locks and a process
/// might be writing to it.
pub(super) fn remove(usage: &Usage, directory: BorrowedFd<'_>, name: &[u8]) -> Result<bool> {
    match try_remove(usage, directory, name) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Removes a hidden file as [`remove`] does, but returns EWOULDBLOCK if a process is writing to it,
/// and ENOENT if it is missing.
pub(super) fn try_remove(usage: &Usage, directory: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
    let mut removed = remove_now(usage, directory, name);
    for _ in 0..TRIES {
        if removed != Err(Errno::WOULDBLOCK) {
            break;
        }
        thread::sleep(PAUSE);
        let _alone = unpoisoned(LOOKING.write());
        removed = remove_now(usage, directory, name);
    }
    removed
}

fn remove_now(usage: &Usage, directory: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
    let change = usage.change();
    let what = name::hidden(name);
    let (file, found) = match open_to_look(directory, name) {
        // A kept file gets another name before anybody writes to it.
        Err(errno)
            if what == Some(Hidden::Kept) && !matches!(errno, Errno::WOULDBLOCK | Errno::NOENT) =>
        {
            return retry_on_intr(|| unlinkat(directory, name, AtFlags::empty()));
        }
        opened => opened?,
    };
    let removed = retry_on_intr(|| unlinkat(directory, name, AtFlags::empty()));
    let what = what.filter(|_| removed.is_ok());
    if what == Some(Hidden::Kept) && found.size > 0 {
        change.freed(Cost::of_file(found.size));
    }
    if what.is_some_and(|what| what != Hidden::Running) {
        usage.shelf().take(found.identity);
    }
    unlock(&file);
    removed
}
