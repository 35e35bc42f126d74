//! The stall timeout of storages that do not bound their waits themselves.

use std::io;
use std::time::{Duration, Instant};

use super::{Capabilities, Source, Storage, StorageErrorKind, StorageResult, Upload};
use crate::forward_storage;

/// How long the sources and uploads of a storage may be not ready; `None` if they bound that time
/// themselves.
#[derive(Clone, Copy)]
pub(crate) struct WaitLimit(Option<Duration>);

impl WaitLimit {
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
    /// The time since which it is neither ready nor advancing, and its progress.
    since: Option<(Instant, u64)>,
}

impl<T> Awaited<T> {
    fn check(&mut self, is_ready: bool, progress: u64) -> StorageResult<bool> {
        match self.since {
            _ if is_ready => self.since = None,
            Some((since, before)) if before == progress => {
                if since.elapsed() >= self.limit {
                    return Err(StorageErrorKind::Stalled.into());
                }
            }
            _ => self.since = Some((Instant::now(), progress)),
        }
        Ok(is_ready)
    }
}

impl io::Read for Awaited<Box<dyn Source>> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer)
    }
}

impl Source for Awaited<Box<dyn Source>> {
    forward_storage!(self, self.inner; size, seek_to, descriptor);

    fn ready(&mut self) -> StorageResult<bool> {
        let is_ready = self.inner.ready()?;
        self.check(is_ready, 0)
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
    forward_storage!(self, self.inner; progress, published_size, inode, target, descriptor);
    forward_storage!(self, self.inner; commit, abort);

    fn prepare(&mut self) -> StorageResult<bool> {
        let is_ready = self.inner.prepare()?;
        self.check(is_ready, self.inner.progress())
    }

    fn ready(&mut self) -> StorageResult<bool> {
        let is_ready = self.inner.ready()?;
        self.check(is_ready, self.inner.progress())
    }

    fn prepare_commit(&mut self) -> StorageResult<bool> {
        let is_ready = self.inner.prepare_commit()?;
        self.check(is_ready, self.inner.progress())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_ready_ends_unless_it_advances() {
        let mut awaited = Awaited { inner: (), limit: Duration::ZERO, since: None };
        for (is_ready, progress, want) in [
            (false, 0, Some(false)),
            (true, 0, Some(true)),
            (false, 1, Some(false)),
            (false, 2, Some(false)),
            (false, 2, None),
        ] {
            let got = awaited.check(is_ready, progress).map_err(|error| error.kind);
            assert_eq!(got, want.ok_or(StorageErrorKind::Stalled), "{is_ready} {progress}");
        }
    }
}
