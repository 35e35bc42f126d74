//! What a failed system call means for the one who asked.

use rustix::io::Errno;

use crate::storage::{EntryKind, StorageError, StorageErrorKind};

/// What a system call said, in general.
pub(super) fn system(errno: Errno) -> StorageError {
    std::io::Error::from(errno).into()
}

/// What a system call said, but of this kind.
pub(super) fn as_kind(kind: StorageErrorKind, errno: Errno) -> StorageError {
    StorageError { kind, source: Some(errno.into()) }
}

/// What looking up a path said: a name too long, or below a file, is not there.
pub(super) fn lookup(errno: Errno) -> StorageError {
    match errno {
        Errno::NOTDIR | Errno::NAMETOOLONG | Errno::INVAL => {
            as_kind(StorageErrorKind::NotFound, errno)
        }
        _ => system(errno),
    }
}

/// What a call on a name that should exist said, its directory being open.
pub(super) fn existing(errno: Errno) -> StorageError {
    match errno {
        Errno::NAMETOOLONG | Errno::INVAL => as_kind(StorageErrorKind::NotFound, errno),
        _ => system(errno),
    }
}

/// What a call that makes a name said: file systems with rules of their own (FAT, case folding)
/// refuse names by EINVAL and EILSEQ.
pub(super) fn creation(errno: Errno) -> StorageError {
    match errno {
        Errno::INVAL | Errno::ILSEQ => as_kind(StorageErrorKind::NameNotAllowed, errno),
        _ => system(errno),
    }
}

/// What rename said: EINVAL is a directory that would be moved below itself.
pub(super) fn rename_error(errno: Errno) -> StorageError {
    match errno {
        Errno::INVAL => as_kind(StorageErrorKind::Denied, errno),
        Errno::EXIST => as_kind(StorageErrorKind::NotEmpty, errno),
        _ => creation(errno),
    }
}

/// Refuses what cannot be read or written.
pub(super) fn needs_file(kind: EntryKind) -> Result<(), StorageError> {
    match kind {
        EntryKind::File => Ok(()),
        EntryKind::Directory => Err(StorageErrorKind::IsDirectory.into()),
        EntryKind::Symlink | EntryKind::Special => Err(StorageErrorKind::NotFile.into()),
    }
}
