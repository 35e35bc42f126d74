//! Converts errors of system calls to storage errors.

use rustix::io::Errno;

use crate::storage::{EntryKind, StorageError, StorageErrorKind};

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

/// Converts an error from creating a name. File systems with special rules (FAT, case folding)
/// refuse names with EINVAL or EILSEQ.
pub(super) fn creation(errno: Errno) -> StorageError {
    match errno {
        Errno::INVAL | Errno::ILSEQ => as_kind(StorageErrorKind::NameNotAllowed, errno),
        _ => system(errno),
    }
}

/// Converts an error from a rename. EINVAL means that a directory would move below itself.
pub(super) fn rename_error(errno: Errno) -> StorageError {
    match errno {
        Errno::INVAL => as_kind(StorageErrorKind::Denied, errno),
        Errno::EXIST => as_kind(StorageErrorKind::NotEmpty, errno),
        Errno::XDEV => as_kind(StorageErrorKind::CrossesMounts, errno),
        _ => creation(errno),
    }
}

/// Returns an error unless the object is a regular file.
pub(super) fn needs_file(kind: EntryKind) -> Result<(), StorageError> {
    match kind {
        EntryKind::File => Ok(()),
        EntryKind::Directory => Err(StorageErrorKind::IsDirectory.into()),
        EntryKind::Symlink | EntryKind::Special => Err(StorageErrorKind::NotFile.into()),
    }
}
