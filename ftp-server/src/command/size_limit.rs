//! The size limit of a user's files.

use std::io;
use std::sync::Arc;

use crate::session::Session;
use crate::storage::{Storage, StorageError, StorageErrorKind, StreamEnd, Upload, VirtualPath};

/// Returns whether the user may store a file of this size.
pub(super) fn allows(session: &Session, size: u64) -> bool {
    session.file_size().is_none_or(|most| size <= most)
}

/// Wraps an upload so that it fails with `OverQuota` at the user's size limit. The file already has
/// `present` bytes. If the upload appends, `grows` is the file to append to; its size is checked
/// again once the upload has begun.
pub(super) fn limited(
    session: &Session,
    present: u64,
    grows: Option<(Arc<dyn Storage>, VirtualPath)>,
    upload: Box<dyn Upload>,
) -> Box<dyn Upload> {
    match session.file_size() {
        Some(most) => Box::new(Limited { upload, most, left: most.saturating_sub(present), grows }),
        None => upload,
    }
}

/// Writes at most `left` bytes of `bytes`, and subtracts the number of written bytes from `left`.
/// Returns that number.
pub(super) fn write_up_to(
    left: &mut u64,
    upload: &mut dyn Upload,
    bytes: &[u8],
) -> io::Result<usize> {
    let most = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
    let written = upload.write(bytes.get(..most).unwrap_or_default())?;
    *left = left.saturating_sub(u64::try_from(written).unwrap_or(u64::MAX));
    Ok(written)
}

struct Limited {
    upload: Box<dyn Upload>,
    most: u64,
    /// Bytes that may still be stored.
    left: u64,
    /// The file to append to, until its size is checked.
    grows: Option<(Arc<dyn Storage>, VirtualPath)>,
}

impl io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.left == 0 && !bytes.is_empty() {
            return Err(StorageError::from(StorageErrorKind::OverQuota).into());
        }
        write_up_to(&mut self.left, &mut *self.upload, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.upload.flush()
    }
}

impl Upload for Limited {
    fn prepare(&mut self) -> Result<bool, StorageError> {
        let is_done = self.upload.prepare()?;
        // Other sessions may have appended before this upload locked the file.
        if is_done
            && let Some((storage, path)) = self.grows.take()
            && let Ok(file) = storage.stat(&path)
        {
            self.left = self.most.saturating_sub(file.size);
        }
        Ok(is_done)
    }

    fn ready(&mut self) -> Result<bool, StorageError> {
        self.upload.ready()
    }

    fn prepare_commit(&mut self) -> Result<bool, StorageError> {
        self.upload.prepare_commit()
    }

    fn published_size(&self) -> Option<u64> {
        self.upload.published_size()
    }

    fn commit(self: Box<Self>) -> Result<(), StorageError> {
        self.upload.commit()
    }

    fn abort(self: Box<Self>, end: StreamEnd) {
        self.upload.abort(end);
    }
}
