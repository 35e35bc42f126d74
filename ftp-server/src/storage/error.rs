//! Failures of a storage, in the terms of FTP's replies.

use std::io;

use rustix::io::Errno;

/// Why a storage did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("{kind}")]
#[non_exhaustive]
pub struct StorageError {
    /// What is wrong.
    pub kind: StorageErrorKind,
    /// What the system said, if it was the system.
    #[source]
    pub source: Option<io::Error>,
}

/// What is wrong, in the terms of FTP's replies.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StorageErrorKind {
    /// There is nothing of that name.
    #[error("no such file or directory")]
    NotFound,
    /// The system forbids it, or it leads out of the root.
    #[error("permission denied")]
    Denied,
    /// There is something of that name already.
    #[error("already exists")]
    Exists,
    /// A directory where a file is needed.
    #[error("is a directory")]
    IsDirectory,
    /// Not a directory where one is needed.
    #[error("not a directory")]
    NotDirectory,
    /// A directory that still has entries.
    #[error("directory not empty")]
    NotEmpty,
    /// Neither a file nor a directory.
    #[error("not a regular file")]
    NotFile,
    /// A name that the storage does not make.
    #[error("file name not allowed")]
    NameNotAllowed,
    /// A restart offset beyond the end.
    #[error("restart offset beyond the end of the file")]
    BadRestart,
    /// The storage is full.
    #[error("no space left")]
    NoSpace,
    /// The user's share of the storage is full, or the file would be too large.
    #[error("quota exceeded")]
    OverQuota,
    /// In use; may work later.
    #[error("busy")]
    Busy,
    /// This storage does not do such things.
    #[error("not supported by the storage")]
    Unsupported,
    /// Anything else.
    #[error("local error")]
    Io,
}

impl StorageError {
    /// An error that no system call caused.
    #[must_use]
    pub const fn new(kind: StorageErrorKind) -> Self {
        Self { kind, source: None }
    }

    /// An error that the system, or the store below, explains.
    #[must_use]
    pub const fn caused_by(kind: StorageErrorKind, source: io::Error) -> Self {
        Self { kind, source: Some(source) }
    }
}

impl From<StorageErrorKind> for StorageError {
    fn from(kind: StorageErrorKind) -> Self {
        Self::new(kind)
    }
}

impl From<StorageError> for io::Error {
    /// What the system said, or else the kind, which comes back by [`StorageError::from`].
    fn from(error: StorageError) -> Self {
        error.source.unwrap_or_else(|| Self::other(error.kind))
    }
}

impl From<io::Error> for StorageError {
    /// Reads what a call of the system said, or a [`StorageErrorKind`] in [`io::Error::other`],
    /// by which an [`Upload`](super::Upload) or [`Source`](super::Source) can say one.
    fn from(error: io::Error) -> Self {
        use io::ErrorKind as Io;
        let own = error.get_ref().and_then(|inner| inner.downcast_ref::<StorageErrorKind>());
        if let Some(kind) = own {
            return Self::new(*kind);
        }
        let kind = match error.kind() {
            Io::NotFound => StorageErrorKind::NotFound,
            Io::PermissionDenied | Io::ReadOnlyFilesystem | Io::CrossesDevices => {
                StorageErrorKind::Denied
            }
            Io::AlreadyExists => StorageErrorKind::Exists,
            Io::IsADirectory => StorageErrorKind::IsDirectory,
            Io::NotADirectory => StorageErrorKind::NotDirectory,
            Io::DirectoryNotEmpty => StorageErrorKind::NotEmpty,
            Io::InvalidFilename => StorageErrorKind::NameNotAllowed,
            // Too many names in one directory, or of one file, is want of room as well.
            Io::StorageFull | Io::TooManyLinks => StorageErrorKind::NoSpace,
            Io::QuotaExceeded | Io::FileTooLarge => StorageErrorKind::OverQuota,
            Io::ResourceBusy | Io::ExecutableFileBusy | Io::WouldBlock => StorageErrorKind::Busy,
            // What the library has no stable word for.
            _ => match Errno::from_io_error(&error) {
                Some(Errno::LOOP) => StorageErrorKind::Denied,
                Some(Errno::NXIO | Errno::NODEV) => StorageErrorKind::NotFile,
                _ => StorageErrorKind::Io,
            },
        };
        Self { kind, source: Some(error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_errors_cm_86_cm_90_cm_105_cm_106_hf_01_hf_03_hf_04_hf_05() {
        use StorageErrorKind as Kind;
        for (errno, want) in [
            (Errno::NOENT, Kind::NotFound),
            (Errno::ACCESS, Kind::Denied),
            (Errno::PERM, Kind::Denied),
            (Errno::ROFS, Kind::Denied),
            (Errno::XDEV, Kind::Denied),
            (Errno::LOOP, Kind::Denied),
            (Errno::EXIST, Kind::Exists),
            (Errno::ISDIR, Kind::IsDirectory),
            (Errno::NOTDIR, Kind::NotDirectory),
            (Errno::NOTEMPTY, Kind::NotEmpty),
            (Errno::NAMETOOLONG, Kind::NameNotAllowed),
            (Errno::NXIO, Kind::NotFile),
            (Errno::NODEV, Kind::NotFile),
            (Errno::NOSPC, Kind::NoSpace),
            (Errno::MLINK, Kind::NoSpace),
            (Errno::DQUOT, Kind::OverQuota),
            (Errno::FBIG, Kind::OverQuota),
            (Errno::BUSY, Kind::Busy),
            (Errno::TXTBSY, Kind::Busy),
            (Errno::AGAIN, Kind::Busy),
            (Errno::IO, Kind::Io),
            (Errno::STALE, Kind::Io),
            (Errno::MFILE, Kind::Io),
            (Errno::NOMEM, Kind::Io),
        ] {
            let error = StorageError::from(io::Error::from(errno));
            assert_eq!(error.kind, want, "{errno}");
            assert!(error.source.is_some_and(|source| source.raw_os_error().is_some()));
        }
        assert_eq!(StorageError::from(io::Error::other("x")).kind, Kind::Io);
        assert_eq!(StorageError::from(io::Error::from(io::ErrorKind::WriteZero)).kind, Kind::Io);
    }
}
