//! A regular file that is being read.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{SeekFrom, seek};
use rustix::io::{read, retry_on_intr};

use super::failure::system;
use crate::storage::{Source, StorageErrorKind, StorageResult};

/// An open file, and its size when it was opened, without the bytes of a running append.
#[derive(Debug)]
pub(super) struct LocalSource {
    file: OwnedFd,
    size: u64,
    /// Bytes left to read if an upload was appending to the file when it was opened, otherwise
    /// `None`. The appended bytes are not read, because they may be removed again.
    left: Option<u64>,
}

impl LocalSource {
    /// Returns a source; `former` is the length before a running append, if there is one.
    pub(super) fn new(file: OwnedFd, size: u64, former: Option<u64>) -> Self {
        Self { file, size: former.unwrap_or(size), left: former }
    }
}

impl io::Read for LocalSource {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = self.left.and_then(|left| usize::try_from(left).ok()).unwrap_or(buffer.len());
        let most = most.min(buffer.len());
        let buffer = buffer.get_mut(..most).unwrap_or_default();
        let count = retry_on_intr(|| read(&self.file, &mut *buffer))?;
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
        }
        Ok(count)
    }
}

impl Source for LocalSource {
    fn size(&self) -> u64 {
        self.size
    }

    fn seek_to(&mut self, offset: u64) -> StorageResult<()> {
        if offset > self.size {
            return Err(StorageErrorKind::BadRestart.into());
        }
        retry_on_intr(|| seek(&self.file, SeekFrom::Start(offset))).map_err(system)?;
        self.left = self.left.map(|_| self.size - offset);
        Ok(())
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        // The kernel would send the appended bytes too.
        self.left.is_none().then(|| self.file.as_fd())
    }
}
