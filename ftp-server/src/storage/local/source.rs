//! A regular file that is being read.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{SeekFrom, seek};
use rustix::io::{read, retry_on_intr};

use crate::storage::{Source, StorageError, StorageErrorKind};

/// An open file and the size it had then.
#[derive(Debug)]
pub(super) struct LocalSource {
    file: OwnedFd,
    size: u64,
}

impl LocalSource {
    pub(super) const fn new(file: OwnedFd, size: u64) -> Self {
        Self { file, size }
    }
}

impl io::Read for LocalSource {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(retry_on_intr(|| read(&self.file, &mut *buffer))?)
    }
}

impl Source for LocalSource {
    fn size(&self) -> u64 {
        self.size
    }

    fn seek_to(&mut self, offset: u64) -> Result<(), StorageError> {
        if offset > self.size {
            return Err(StorageErrorKind::BadRestart.into());
        }
        retry_on_intr(|| seek(&self.file, SeekFrom::Start(offset))).map_err(super::system)?;
        Ok(())
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }
}
