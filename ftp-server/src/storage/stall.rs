//! The stall timeout of storages that do not bound their waits themselves.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use super::{Capabilities, Source, Storage, StorageErrorKind, StorageResult, StreamEnd, Upload};

/// How long the sources and uploads of a storage may be not ready; `None` if they bound that time
/// themselves.
#[derive(Clone, Copy)]
pub(crate) struct Patience(Option<Duration>);

impl Patience {
    pub(crate) fn with(storage: &dyn Storage, stall: Duration) -> Self {
        let is_bounded = storage.capabilities().contains(Capabilities::BOUNDED_WAITS);
        Self((!is_bounded).then_some(stall))
    }

    pub(crate) fn source(self, inner: Box<dyn Source>) -> Box<dyn Source> {
        match self.0 {
            Some(limit) => Box::new(Awaited { inner, limit, since: None }),
            None => inner,
        }
    }

    pub(crate) fn upload(self, inner: Box<dyn Upload>) -> Box<dyn Upload> {
        match self.0 {
            Some(limit) => Box::new(Awaited { inner, limit, since: None }),
            None => inner,
        }
    }
}

/// A source or an upload that fails if it has not been ready for a time.
struct Awaited<T> {
    inner: T,
    limit: Duration,
    /// The time since which it is not ready.
    since: Option<Instant>,
}

impl<T> Awaited<T> {
    fn is_ready(&mut self, ask: impl FnOnce(&mut T) -> StorageResult<bool>) -> StorageResult<bool> {
        if ask(&mut self.inner)? {
            self.since = None;
            return Ok(true);
        }
        match self.since.get_or_insert_with(Instant::now).elapsed() < self.limit {
            true => Ok(false),
            false => Err(StorageErrorKind::Stalled.into()),
        }
    }
}

impl io::Read for Awaited<Box<dyn Source>> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer)
    }
}

impl Source for Awaited<Box<dyn Source>> {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn seek_to(&mut self, offset: u64) -> StorageResult<()> {
        self.inner.seek_to(offset)
    }

    fn ready(&mut self) -> StorageResult<bool> {
        self.is_ready(|inner| inner.ready())
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.inner.descriptor()
    }
}

impl io::Write for Awaited<Box<dyn Upload>> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl Upload for Awaited<Box<dyn Upload>> {
    fn prepare(&mut self) -> StorageResult<bool> {
        self.is_ready(|inner| inner.prepare())
    }

    fn ready(&mut self) -> StorageResult<bool> {
        self.is_ready(|inner| inner.ready())
    }

    fn prepare_commit(&mut self) -> StorageResult<bool> {
        self.is_ready(|inner| inner.prepare_commit())
    }

    fn published_size(&self) -> Option<u64> {
        self.inner.published_size()
    }

    fn inode(&self) -> Option<u64> {
        self.inner.inode()
    }

    fn commit(self: Box<Self>) -> StorageResult<()> {
        self.inner.commit()
    }

    fn abort(self: Box<Self>, end: StreamEnd) {
        self.inner.abort(end);
    }
}
