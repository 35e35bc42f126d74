//! What a storage can do, and what it promises; the stall timeout of storages that do not promise to
//! bound their waits.

use std::io;
use std::ops::BitOr;
use std::time::{Duration, Instant};

#[cfg(doc)]
use super::{Change, RoomFor};
use super::{Source, Storage, StorageErrorKind, StorageResult, Upload};
use crate::forward_storage;

/// A set of abilities beyond listing, reading and writing.
///
/// ```
/// use ftp_server::Capabilities;
///
/// let both = Capabilities::SPACE | Capabilities::DIGEST;
/// assert!(both.contains(Capabilities::DIGEST));
/// assert!(!both.contains(Capabilities::CHMOD));
/// assert!(Capabilities::ALL.contains(both));
/// ```
// Not of the crate bitflags: its `all()` would include the promises below, which a storage must know.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Capabilities(u16);

impl Capabilities {
    /// No abilities beyond listing, reading and writing.
    pub const NONE: Self = Self(0);
    /// [`Change::Modified`]: `MFMT`, and `Modify` of `MFF`.
    pub const SET_TIMES: Self = Self(1);
    /// [`Change::Mode`]: `SITE CHMOD`, and `UNIX.mode` of `MFF`.
    pub const CHMOD: Self = Self(1 << 1);
    /// [`Storage::space`] for an amount: `AVBL`, and the check of `ALLO`.
    pub const SPACE: Self = Self(1 << 2);
    /// Reading a whole file of up to 8 GiB only to compute its digest is acceptable: `HASH`.
    pub const DIGEST: Self = Self(1 << 3);
    /// [`Storage::space`] for [`RoomFor::User`]: `SITE QUOTA`.
    pub const QUOTA: Self = Self(1 << 4);
    /// All abilities.
    pub const ALL: Self = Self((1 << 5) - 1);
    /// No ability: calls can wait for long, for example for a network. The server then makes each
    /// call of the storage that returns a `Result` in a thread of its own, and each step of a
    /// listing. While the call waits, the session answers `ABOR`, and notices that its client has
    /// gone or that the server is shutting down. The session then gives up the call, which goes on
    /// alone: its change may still happen, and its event comes then. The session's next call begins
    /// when that one has ended. The connection counts until then.
    ///
    /// Calls of a [`Source`] or an [`Upload`] stay in the session's thread, except
    /// [`Upload::commit`]; let their `prepare` and `ready` return in time.
    pub const REMOTE: Self = Self(1 << 5);
    /// No ability: while `prepare`, `ready` or `prepare_commit` return `false`, work advances, or a
    /// timeout of the storage itself runs. Without this, a transfer ends with 451 when they have
    /// returned nothing but `false` for [`Timeouts::stall`](crate::Timeouts::stall), without
    /// [progress](Upload::progress), and the log says `stall`.
    pub const BOUNDED_WAITS: Self = Self(1 << 6);

    /// No ability: a promise that each listing shows a symbolic link as one, with
    /// [`Entry::through`](crate::Entry::through). `FEAT` passes it on as `X-LINKS`: clients then enter
    /// what is listed as a directory, and remove what is in it.
    pub const LINKS: Self = Self(1 << 7);

    /// Returns whether the set contains all of `capabilities`.
    #[must_use]
    pub const fn contains(self, capabilities: Self) -> bool {
        self.0 & capabilities.0 == capabilities.0
    }

    /// Returns the set if `is_true` is set, otherwise no abilities.
    pub(crate) const fn only_if(self, is_true: bool) -> Self {
        if is_true { self } else { Self::NONE }
    }

    pub(crate) const fn without(self, capabilities: Self) -> Self {
        Self(self.0 & !capabilities.0)
    }
}

impl BitOr for Capabilities {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

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
    forward_storage!(self, self.inner; progress, published_size, hidden_file, target, descriptor);
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
