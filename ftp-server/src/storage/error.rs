//! Errors of a storage, and their kinds.

use std::io;

use rustix::io::Errno;

pub(crate) type StorageResult<T> = Result<T, StorageError>;

/// Error of a storage.
#[derive(Debug, thiserror::Error)]
#[error("{kind}")]
#[non_exhaustive]
pub struct StorageError {
    /// Kind of the error.
    pub kind: StorageErrorKind,
    /// The error of the system or of an underlying store, if there is one.
    #[source]
    pub source: Option<io::Error>,
}

/// Kind of a storage error, which determines the reply to the client.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StorageErrorKind {
    /// The name does not exist.
    #[error("no such file or directory")]
    NotFound,
    /// The operation is forbidden, or the path leads out of the root.
    #[error("permission denied")]
    Denied,
    /// The name already exists.
    #[error("already exists")]
    Exists,
    /// The storage cannot create or replace the file, for this reason.
    #[error("cannot store the file: {0}")]
    Fixed(&'static str),
    /// The object is a directory, but a file is needed.
    #[error("is a directory")]
    IsDirectory,
    /// The object is not a directory, but a directory is needed.
    #[error("not a directory")]
    NotDirectory,
    /// The directory still has entries.
    #[error("directory not empty")]
    NotEmpty,
    /// The object is neither a file nor a directory.
    #[error("not a regular file")]
    NotFile,
    /// The storage does not allow this name.
    #[error("file name not allowed")]
    NameNotAllowed,
    /// The restart offset is beyond the end of the file, or the storage cannot resume there.
    #[error("cannot resume at this offset")]
    BadRestart,
    /// The storage is full.
    #[error("no space left")]
    NoSpace,
    /// The user's quota is exceeded, or the file would be too large.
    #[error("quota exceeded")]
    OverQuota,
    /// The current usage of the quota is unknown.
    #[error("cannot check the quota now")]
    Uncounted,
    /// The object or the storage is busy; a later attempt may succeed.
    #[error("busy")]
    Busy,
    /// The new name is in another storage or file system.
    #[error("cannot be moved to another file system")]
    CrossesMounts,
    /// The storage of this directory is not available, for example because a disk is not connected.
    #[error("not available")]
    Unavailable,
    /// The storage does not support the operation.
    #[error("not supported by the storage")]
    Unsupported,
    /// The storage does not accept the content of this file, or refuses the call. The reply shows the text of
    /// [`source`](StorageError::source) if there is one, so it must be fit for clients.
    #[error("content refused")]
    Refused,
    /// The storage cannot decide on the content of this file now; a later attempt may succeed.
    #[error("content cannot be checked now, try again later")]
    NotNow,
    /// The change is made, but it could not be synced: a power failure can undo it.
    #[error("done, but not safely on the disk")]
    Unsynced,
    /// The storage has not answered. The change may be made already, or be made later.
    #[error("no answer from the storage; the change may still be made")]
    Unknown,
    /// The storage has made no progress for too long. An upload may be stored all the same.
    #[error("storage stalled; an upload may still be stored")]
    Stalled,
    /// Another error.
    #[error("local error")]
    Io,
}

/// Returns whether a change is made, even if it could not be synced.
pub(crate) fn is_made<T>(changed: &StorageResult<T>) -> bool {
    match changed {
        Ok(_) => true,
        Err(error) => error.kind == StorageErrorKind::Unsynced,
    }
}

impl StorageError {
    /// Returns an error without an underlying error.
    #[must_use]
    pub const fn new(kind: StorageErrorKind) -> Self {
        Self { kind, source: None }
    }

    /// Returns an error of this kind whose source is an error of the system or of an underlying
    /// store.
    #[must_use]
    pub const fn caused_by(kind: StorageErrorKind, source: io::Error) -> Self {
        Self { kind, source: Some(source) }
    }

    /// Returns `Busy` if the session has given up the call of a [remote](super::Capabilities::REMOTE) storage
    /// that runs in this thread, because its client has left or has sent `ABOR`. Ask directly before each
    /// change that follows a wait: newer files may have been stored since. If the process was stopped
    /// meanwhile, waits until the session has looked at its client.
    ///
    /// # Errors
    ///
    /// Returns `Busy` in that case.
    pub fn check_wanted() -> Result<(), Self> {
        match crate::threads::is_wanted(crate::threads::RECENT) {
            true => Ok(()),
            false => Err(Self::new(StorageErrorKind::Busy)),
        }
    }

    /// Returns whether the storage has no such directory.
    pub(crate) const fn is_missing(&self) -> bool {
        matches!(self.kind, StorageErrorKind::NotFound | StorageErrorKind::NotDirectory)
    }

    /// Returns whether the storage may have made the change without confirming it, or may still
    /// make it.
    pub(crate) const fn is_in_doubt(&self) -> bool {
        use StorageErrorKind::{Busy, Io, Stalled, Unknown, Unsynced};
        matches!(self.kind, Io | Stalled | Unknown | Unsynced | Busy)
    }

    /// Returns the error and its underlying error for a log line.
    pub(crate) fn in_full(&self) -> String {
        let why = self.source.as_ref().map_or(String::new(), |why| format!(": {why}"));
        format!("{self}{why}")
    }

    /// Returns what the underlying error says, unless the kind says the same.
    pub(crate) fn reason(&self) -> Option<String> {
        let text = without_number(&self.source.as_ref()?.to_string()).to_owned();
        (!text.eq_ignore_ascii_case(&self.kind.to_string())).then_some(text)
    }
}

/// Returns the text of a system error without its number, which adds nothing to it.
pub(crate) fn without_number(text: &str) -> &str {
    text.split(" (os error ").next().unwrap_or_default()
}

impl From<StorageErrorKind> for StorageError {
    fn from(kind: StorageErrorKind) -> Self {
        Self::new(kind)
    }
}

impl From<StorageError> for io::Error {
    /// Returns the system's error if its kind identifies this error, otherwise an error that wraps
    /// this error. [`StorageError::from`] restores this error from either result.
    fn from(error: StorageError) -> Self {
        match error.source {
            Some(source) if kind_of(&source) == error.kind && !has_own_kind(&source) => source,
            source => Self::other(StorageError { kind: error.kind, source }),
        }
    }
}

impl From<io::Error> for StorageError {
    /// Unwraps a [`StorageError`] or [`StorageErrorKind`] from an [`io::Error::other`], and
    /// converts every other error by its kind. An [`Upload`](super::Upload) or
    /// [`Source`](super::Source) can return such a wrapped error.
    fn from(error: io::Error) -> Self {
        if let Some(kind) = inner::<StorageErrorKind>(&error) {
            return Self::new(*kind);
        }
        match error.downcast::<Self>() {
            Ok(own) => own,
            Err(error) => Self { kind: kind_of(&error), source: Some(error) },
        }
    }
}

fn inner<T: std::error::Error + 'static>(error: &io::Error) -> Option<&T> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

/// Returns whether the error wraps a [`StorageError`] or [`StorageErrorKind`].
fn has_own_kind(error: &io::Error) -> bool {
    inner::<StorageErrorKind>(error).is_some() || inner::<StorageError>(error).is_some()
}

fn kind_of(error: &io::Error) -> StorageErrorKind {
    use io::ErrorKind as Io;
    match error.kind() {
        Io::NotFound => StorageErrorKind::NotFound,
        Io::PermissionDenied | Io::ReadOnlyFilesystem | Io::CrossesDevices => {
            StorageErrorKind::Denied
        }
        Io::AlreadyExists => StorageErrorKind::Exists,
        Io::IsADirectory => StorageErrorKind::IsDirectory,
        Io::NotADirectory => StorageErrorKind::NotDirectory,
        Io::DirectoryNotEmpty => StorageErrorKind::NotEmpty,
        Io::InvalidFilename => StorageErrorKind::NameNotAllowed,
        // Too many subdirectories in a directory, or too many hard links to a file, also count as a
        // lack of space.
        Io::StorageFull | Io::TooManyLinks => StorageErrorKind::NoSpace,
        Io::QuotaExceeded | Io::FileTooLarge => StorageErrorKind::OverQuota,
        Io::ResourceBusy | Io::ExecutableFileBusy | Io::WouldBlock => StorageErrorKind::Busy,
        // Errors without a stable name in the standard library.
        _ => match Errno::from_io_error(error) {
            Some(Errno::LOOP) => StorageErrorKind::Denied,
            Some(Errno::NXIO | Errno::NODEV) => StorageErrorKind::NotFile,
            _ => StorageErrorKind::Io,
        },
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

    #[test]
    fn storage_error_kind_and_text_survive_conversion_to_io_error() {
        use StorageErrorKind as Kind;
        let text = |error: &StorageError| error.source.as_ref().map(ToString::to_string);
        for (kind, source) in [
            (Kind::Busy, Some(io::Error::other("the store says 503 SlowDown"))),
            (Kind::Busy, Some(io::Error::from(Errno::CONNREFUSED))),
            (Kind::Io, Some(io::Error::other("the store says 500 InternalError"))),
            (Kind::NoSpace, Some(io::Error::from(Errno::NOSPC))),
            (Kind::OverQuota, None),
        ] {
            let number = source.as_ref().and_then(io::Error::raw_os_error);
            let error = StorageError { kind, source };
            let want = text(&error);
            // A wrapping storage may convert an error back and forth any number of times.
            let there = StorageError::from(io::Error::from(error));
            let back = StorageError::from(io::Error::from(there));
            assert_eq!((back.kind, text(&back)), (kind, want));
            assert_eq!(back.source.and_then(|source| source.raw_os_error()), number);
        }
        // Callers of `io::Write` can still recognize the system's error.
        let full = StorageError::from(io::Error::from(Errno::NOSPC));
        assert_eq!(io::Error::from(full).kind(), io::ErrorKind::StorageFull);
        let own = StorageError::from(io::Error::other(Kind::Exists));
        assert_eq!(own.kind, Kind::Exists);
    }
}
