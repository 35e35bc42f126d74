//! A file that is being written, and the steps of its upload.

use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Advice, fadvise, fdatasync, ftruncate};
use rustix::io::{Result, retry_on_intr, write};

use super::failure::system;
use super::policy::SyncPolicy;
use super::usage::{Charge, Cost};
use crate::storage::StorageError;

/// Number of bytes after which the system starts writing to disk, so that the final sync of a long
/// file has less to do. Shorter files do not benefit from that.
const WRITE_BACK: NonZeroU64 = NonZeroU64::new(8 * 1024 * 1024).expect("not zero");

/// An open file, written from `position` on.
#[derive(Debug)]
pub(super) struct Output {
    file: OwnedFd,
    sync: SyncPolicy,
    position: u64,
    /// Position up to which writing to disk has started.
    started: u64,
    /// Whether all data written so far is on disk, as far as the policy requires that.
    is_synced: bool,
    charge: Charge,
}

impl Output {
    /// Wraps a file to be written from `position`, which must already be the file's offset.
    pub(super) const fn new(
        file: OwnedFd,
        position: u64,
        sync: SyncPolicy,
        charge: Charge,
    ) -> Self {
        Self { file, sync, position, started: position, is_synced: false, charge }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Phase::Data.comes_next();
        let written = self
            .spend(to_u64(bytes.len()), |file| retry_on_intr(|| write(file, bytes)).map(to_u64))?;
        Ok(usize::try_from(written).unwrap_or(usize::MAX))
    }

    /// Lets `add` write at most `most` bytes, and charges the quota for the number that `add`
    /// returns.
    pub(super) fn spend(
        &mut self,
        most: u64,
        add: impl FnOnce(&OwnedFd) -> Result<u64>,
    ) -> std::result::Result<u64, StorageError> {
        self.charge.grow(Cost::bytes(most))?;
        let added = add(&self.file);
        let count = added.as_ref().map_or(0, |added| *added);
        self.charge.shrink(most.saturating_sub(count));
        self.advance(count);
        added.map_err(system)
    }

    /// Returns the cost of the file for the quota.
    pub(super) const fn charge(&mut self) -> &mut Charge {
        &mut self.charge
    }

    /// Returns the current length of the file.
    pub(super) const fn position(&self) -> u64 {
        self.position
    }

    /// Truncates the file to `length` bytes if it is longer.
    pub(super) fn cut_to(&mut self, length: u64) -> Result<()> {
        let gone = self.position.saturating_sub(length);
        if gone > 0 {
            retry_on_intr(|| ftruncate(&self.file, length))?;
            self.charge.shrink(gone);
            self.position = length;
            self.is_synced = false;
        }
        Ok(())
    }

    fn advance(&mut self, added: u64) {
        self.position = self.position.saturating_add(added);
        self.is_synced = false;
        while self.sync != SyncPolicy::None
            && self.position.saturating_sub(self.started) >= WRITE_BACK.get()
        {
            // The advice starts writing the pages to disk. If the call fails, the final sync has
            // more to do.
            let _ = fadvise(&self.file, self.started, Some(WRITE_BACK), Advice::DontNeed);
            self.started = self.started.saturating_add(WRITE_BACK.get());
        }
    }

    /// Syncs the content to disk if the policy requires that. A failure is final, because the
    /// system may have dropped data that it could not write.
    pub(super) fn sync(&mut self) -> Result<()> {
        if self.sync != SyncPolicy::None && !self.is_synced {
            Phase::Sync.comes_next();
            retry_on_intr(|| fdatasync(&self.file))?;
        }
        self.is_synced = true;
        Ok(())
    }

    /// Returns the sync policy of the file.
    pub(super) const fn policy(&self) -> SyncPolicy {
        self.sync
    }
}

fn to_u64(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

impl AsFd for Output {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// A step of an upload, for a test that kills a server at each step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    /// A write of received data.
    Data,
    /// The sync of the data.
    Sync,
    /// Giving the file its name.
    Name,
    /// The sync of the directory, if the policy requires it, and the reply.
    Published,
}

impl Phase {
    /// Does nothing; in tests, reports that this step comes next.
    #[cfg(not(test))]
    pub(super) const fn comes_next(self) {}

    #[cfg(test)]
    pub(super) fn comes_next(self) {
        if let Some(listener) = LISTENER.get() {
            listener(self);
        }
    }
}

/// Receiver of the steps, in a process that does nothing else.
#[cfg(test)]
pub(super) static LISTENER: std::sync::OnceLock<fn(Phase)> = std::sync::OnceLock::new();
