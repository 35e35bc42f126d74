//! A local file that one download at a time extends. A download from byte 0 empties the local file
//! when the first byte arrives.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use ftp_proto::Escaped;

use super::partial::PartialFile;
use super::record::{Record, remove_sidecar};
use crate::error::io_again;
use crate::system::{MetadataExt, OpenOptionsExt, OsStrExt, appending, lock, lockable, unlock};

/// A locked local file that a download extends.
#[derive(Debug)]
pub(super) struct Growing {
    pub(super) partial: PartialFile,
    pub(super) path: PathBuf,
    /// Whether the file was created for this download. Such a file is removed if nothing arrives.
    is_new: bool,
}

impl Growing {
    /// Opens the file at `path`. The file must have `length` bytes, or be missing if `length` is 0;
    /// its first `offset` bytes are kept. `record` is stored with the file; `None` removes a stored
    /// one.
    pub(super) fn open(
        path: PathBuf,
        length: u64,
        offset: u64,
        mode: u32,
        record: Option<Record>,
    ) -> io::Result<Self> {
        let (file, is_new) = open_alone(&path, length, mode)?;
        let partial = PartialFile::new(file, offset).recorded(path.clone(), record);
        if is_new {
            // From now on, the file is known to be this program's, even if nothing arrives.
            partial.store_record(0);
        }
        Ok(Self { partial, path, is_new })
    }

    /// Keeps the file even if it is empty.
    pub(super) const fn keep(&mut self) {
        self.is_new = false;
    }
}

impl Drop for Growing {
    fn drop(&mut self) {
        if self.is_new {
            remove_empty(self.partial.file(), &self.path);
        }
        unlock(self.partial.file());
    }
}

/// Removes the file at `path` if it is empty and is still `file`.
pub(super) fn remove_empty(file: &File, path: &Path) {
    if file.metadata().is_ok_and(|metadata| metadata.len() == 0) && is_at(file, path) {
        let _ = fs::remove_file(path);
        remove_sidecar(path);
    }
}

/// Opens and locks a file for appending. Without the lock, two downloads that extend the same file
/// would mix their bytes. `length` is the expected length. A new file gets `mode`, which the
/// umask restricts. Also returns whether the file was created.
fn open_alone(path: &Path, length: u64, mode: u32) -> io::Result<(File, bool)> {
    let options = || {
        let mut options = OpenOptions::new();
        appending(lockable(&mut options));
        options
    };
    let made = options().read(true).create_new(true).mode(mode).open(path);
    let is_new = made.is_ok();
    let opened = made.or_else(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => options().read(true).open(path),
        _ => Err(error),
    });
    let file = opened.or_else(|error| match error.kind() {
        // The file may be writable but not readable. If it is neither, or if there is no file, the
        // first error says why.
        io::ErrorKind::PermissionDenied => options().open(path).map_err(|_| error),
        _ => Err(error),
    });
    let file = file.map_err(|error| named(path, &error))?;
    // On file systems without locks, the length still shows whether the file has changed.
    let is_locked = lock(&file).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
    let is_same = file.metadata().is_ok_and(|metadata| metadata.len() == length);
    if is_locked || !is_same || !is_at(&file, path) {
        return Err(named(path, &io::Error::other("another program is writing to it")));
    }
    Ok((file, is_new))
}

/// Returns whether `path` leads to this file.
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    let id = |metadata: Metadata| (metadata.dev(), metadata.ino());
    let here = file.metadata().map(id);
    let there = fs::symlink_metadata(path).map(id);
    matches!((here, there), (Ok(here), Ok(there)) if here == there)
}

/// The error of a local file, with its path.
#[derive(Debug, thiserror::Error)]
#[error("{}: {error}", Escaped(path.as_os_str().as_bytes()))]
struct NamedError {
    path: PathBuf,
    error: io::Error,
}

/// Adds the file's name to an error.
pub(crate) fn named(path: &Path, error: &io::Error) -> io::Error {
    let named = NamedError { path: path.to_owned(), error: io_again(error) };
    io::Error::new(error.kind(), named)
}

/// Returns a copy of an error that has a path already, or needs none.
pub(super) fn named_again(error: &io::Error) -> io::Error {
    let named_error = error.get_ref().and_then(|error| error.downcast_ref::<NamedError>());
    named_error.map_or_else(|| io_again(error), |inner| named(&inner.path, &inner.error))
}

/// Returns the error without the file's name, for a caller that knows another one.
pub(crate) fn unnamed(error: &io::Error) -> io::Error {
    let named = error.get_ref().and_then(|error| error.downcast_ref::<NamedError>());
    named.map_or_else(|| io_again(error), |named| unnamed(&named.error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_created_is_not_reported_as_missing() {
        // Not even root can create a file here; a container may have mounted it read-only.
        let error = Growing::open("/sys/ftp-client".into(), 0, 0, 0o666, None).unwrap_err();
        assert_ne!(error.kind(), io::ErrorKind::NotFound, "{error}");
    }

    #[test]
    fn a_starting_child_process_does_not_keep_the_lock() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Growing::open(directory.path().join("f.part"), 0, 0, 0o666, None);
        let mut growing = open().unwrap();
        growing.keep();
        assert!(open().is_err(), "another download extends it");
        // A child process has such a copy until it runs its program.
        let copy = growing.partial.file().try_clone().unwrap();
        drop(growing);
        open().unwrap();
        drop(copy);
    }
}
