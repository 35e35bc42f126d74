//! Unix, Linux included.

pub(crate) use std::os::unix::ffi::{OsStrExt, OsStringExt};
pub(crate) use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::fchown;
use std::path::Path;

use rustix::fs::{Access, FlockOperation, Mode, OFlags, RawMode, fchmod, flock};

/// Reads the descriptor that [`Waker`] wakes.
pub(crate) type Woken = io::PipeReader;

pub(crate) type Waker = io::PipeWriter;

/// Returns a descriptor that becomes readable when a byte is written to the other end.
///
/// # Errors
///
/// Returns the system's error.
pub(crate) fn bell() -> io::Result<(Woken, Waker)> {
    io::pipe()
}

/// Flags with which opening neither follows a symbolic link nor waits for the other end of a FIFO.
#[expect(clippy::cast_possible_wrap, reason = "the flags of all systems are small")]
pub(crate) const ALONE: i32 = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).bits() as i32;

/// Locks a file for this program. Some file systems lock only files that are open for writing.
///
/// # Errors
///
/// Returns `WouldBlock` if another program has the lock, and other errors on file systems without
/// locks.
pub(crate) fn lock(file: &File) -> io::Result<()> {
    Ok(flock(file, FlockOperation::NonBlockingLockExclusive)?)
}

/// Opens and locks a file that is removed next. On a file system without locks, it is only opened.
///
/// # Errors
///
/// Returns the system's error, for which [`is_in_use`] is true if another program has the lock.
pub(crate) fn open_last(path: &Path) -> io::Result<File> {
    locked(File::open(path)?)
}

/// Locks an open file, as [`open_last`] does.
pub(crate) fn locked(file: File) -> io::Result<File> {
    match lock(&file) {
        Err(error) if is_in_use(&error) => Err(error),
        _ => Ok(file),
    }
}

/// Returns whether this is the error of opening or locking a file that another program has.
pub(crate) fn is_in_use(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

/// Device and inode of a file.
pub(crate) type FileId = (u64, u64);

/// Returns what tells the file at `path` from all others.
///
/// # Errors
///
/// Returns the system's error.
pub(crate) fn file_id(path: &Path) -> io::Result<FileId> {
    std::fs::metadata(path).map(|file| (file.dev(), file.ino()))
}

/// Returns whether two statuses are those of one file.
pub(crate) fn is_same(one: &Metadata, other: &Metadata) -> bool {
    inode(one) == inode(other)
}

/// Returns the device and inode of a file, if the system tells them.
#[expect(clippy::unnecessary_wraps, reason = "Windows does not tell them")]
pub(crate) fn inode(file: &Metadata) -> Option<FileId> {
    Some((file.dev(), file.ino()))
}

/// Unlocks a file. Closing the file does not always do that: a child process that another thread is
/// starting shares the open file and its lock until it runs its program. Fails only on file systems
/// without locks.
pub(crate) fn unlock(file: &File) {
    let _ = flock(file, FlockOperation::Unlock);
}

/// Sets that the file is opened so that a later [`lock`] can keep other programs from writing to it.
pub(crate) const fn lockable(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

pub(crate) fn appending(options: &mut OpenOptions) -> &mut OpenOptions {
    options.append(true)
}

/// Sets the length of a file that was opened with [`appending`]. Writing goes on at its end.
///
/// # Errors
///
/// Returns the system's error.
pub(crate) fn set_length(file: &File, length: u64) -> io::Result<()> {
    file.set_len(length)
}

/// Copies the permissions of the file to be replaced and, if allowed, its group and its owner. The
/// set-user-ID and set-group-ID bits are left out: they would let the new content run with the
/// rights of the old owner. If the group is another one, it gets the rights of all other users.
///
/// # Errors
///
/// Returns the system's error if the permissions cannot be set.
pub(crate) fn take_over(file: &File, old: &Metadata) -> io::Result<()> {
    let new = file.metadata()?;
    let has_group = new.gid() == old.gid() || fchown(file, None, Some(old.gid())).is_ok();
    let bits = old.mode() & 0o777;
    let bits = if has_group { bits } else { bits & 0o707 | (bits & 0o007) << 3 };
    // Some disks refuse each change of permissions, also to those that all their files have.
    if new.mode() & 0o7777 != bits {
        fchmod(file, Mode::from_raw_mode(RawMode::try_from(bits).unwrap_or(0o600)))?;
    }
    // Last: the permissions of another user's file can no longer be changed.
    if new.uid() != old.uid() {
        let _ = fchown(file, Some(old.uid()), None);
    }
    Ok(())
}

/// Checks that a local file can have this path.
///
/// # Errors
///
/// Returns `InvalidInput` if the system would store the file under another name, or not as a file.
#[expect(clippy::unnecessary_wraps, reason = "other systems refuse names")]
pub(crate) const fn check_path(_: &Path) -> io::Result<()> {
    Ok(())
}

pub(super) fn is_at(file: &impl AsFd, path: &Path) -> bool {
    let own = rustix::fs::fstat(file).map(|stat| (stat.st_dev, stat.st_ino));
    let found = rustix::fs::stat(path).map(|stat| (stat.st_dev, stat.st_ino));
    own.is_ok() && own == found
}

/// Syncs the entries of a directory to disk. Some file systems cannot do that, and some directories
/// cannot be opened.
///
/// # Errors
///
/// Returns the system's error if the directory could be synced, but was not.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    match File::open(directory).and_then(|directory| directory.sync_all()) {
        Err(error) if matches!(error.kind(), InvalidInput | PermissionDenied | Unsupported) => {
            Ok(())
        }
        synced => synced,
    }
}

/// Returns the error if no file of a directory can be made or replaced.
pub(crate) fn check_directory(directory: &Path) -> io::Result<()> {
    Ok(rustix::fs::access(directory, Access::WRITE_OK | Access::EXEC_OK)?)
}

/// Closes another descriptor of a file. Some file systems tell only then that they could not store
/// what was written: those in user space, of a network, or with quotas.
///
/// # Errors
///
/// Returns the system's error.
pub(crate) fn close_copy(file: &File) -> io::Result<()> {
    Ok(nix::unistd::close(file.try_clone()?)?)
}
