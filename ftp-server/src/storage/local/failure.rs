//! Converts errors of system calls to storage errors.

use rustix::io::Errno;

use super::directory::Directory;
use crate::storage::{Metadata, StorageError, StorageErrorKind};

/// Converts an error from any system call.
pub(super) fn system(errno: Errno) -> StorageError {
    std::io::Error::from(errno).into()
}

/// Converts an error into an error of this kind.
pub(super) fn as_kind(kind: StorageErrorKind, errno: Errno) -> StorageError {
    StorageError { kind, source: Some(errno.into()) }
}

/// Converts an error from syncing a change that is made.
pub(super) fn unsynced(errno: Errno) -> StorageError {
    as_kind(StorageErrorKind::Unsynced, errno)
}

/// Converts an error from a path lookup. A name that is too long, or is below a file, counts as
/// missing.
pub(super) fn lookup(errno: Errno) -> StorageError {
    match errno {
        Errno::NOTDIR | Errno::NAMETOOLONG | Errno::INVAL => {
            as_kind(StorageErrorKind::NotFound, errno)
        }
        _ => system(errno),
    }
}

/// Converts an error from a call that needs an existing name in an open directory.
pub(super) fn existing(errno: Errno) -> StorageError {
    match errno {
        Errno::NAMETOOLONG | Errno::INVAL => as_kind(StorageErrorKind::NotFound, errno),
        _ => system(errno),
    }
}

/// Converts an error from creating a name in a directory. File systems with special rules (FAT, case
/// folding) refuse names with EINVAL or EILSEQ; exfat-fuse refuses them with ENOENT, although the
/// directory exists.
pub(super) fn creation(at: &Directory, errno: Errno) -> StorageError {
    let is_name = match errno {
        Errno::INVAL | Errno::ILSEQ => true,
        Errno::NOENT => at.look().is_ok_and(|(found, _)| found.links > 0),
        _ => false,
    };
    if is_name { as_kind(StorageErrorKind::NameNotAllowed, errno) } else { system(errno) }
}

/// Converts an error from renaming an existing object to a name in the directory `to`. EINVAL also
/// means that a directory would move below itself.
pub(super) fn rename_error(errno: Errno, object: &Metadata, to: &Directory) -> StorageError {
    match errno {
        Errno::INVAL if to.is_within(object.identity) => as_kind(StorageErrorKind::Denied, errno),
        Errno::EXIST => as_kind(StorageErrorKind::NotEmpty, errno),
        Errno::XDEV => as_kind(StorageErrorKind::CrossesMounts, errno),
        _ => creation(to, errno),
    }
}
