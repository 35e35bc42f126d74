//! Uploads whose bytes are reserved before they are stored.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use super::quota::Names;
use super::reservation::Reservation;
use crate::storage::cost::Cost;
use crate::storage::{StorageError, StorageErrorKind as Kind, StreamEnd, Upload};

/// Maximum time that an upload waits while another session changes its file.
const PATIENCE: Duration = Duration::from_secs(20);

/// Pause between two attempts, after which the session also checks on its client.
const STEP: Duration = Duration::from_millis(100);

/// The progress of an upload.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    /// The upload is not published.
    Writing,
    /// The upload may already have been published.
    Publishing,
}

/// An upload within a quota.
pub(super) struct QuotaUpload {
    inner: Option<Box<dyn Upload>>,
    reservation: Option<Reservation>,
    target: Names,
    /// Number of bytes of the file before the first byte to write.
    kept: u64,
    /// Number of reserved bytes that are not written yet.
    left: u64,
    written: u64,
    /// The cost of the file that is replaced.
    replaced: Cost,
    phase: Phase,
    /// The time since which the upload has waited for another session that changes the file.
    waiting: Option<Instant>,
}

impl QuotaUpload {
    /// Wraps an upload to a file whose first `kept` bytes exist. `left` is the number of bytes that
    /// the upload may write before it must reserve more.
    pub(super) fn new(
        inner: Box<dyn Upload>,
        reservation: Reservation,
        target: Names,
        (kept, left): (u64, u64),
    ) -> Self {
        Self {
            inner: Some(inner),
            reservation: Some(reservation),
            target,
            kept,
            left,
            written: 0,
            replaced: Cost::default(),
            phase: Phase::Writing,
            waiting: None,
        }
    }

    fn inner(&mut self) -> Result<&mut Box<dyn Upload>, StorageError> {
        self.inner.as_mut().ok_or_else(|| Kind::Io.into())
    }

    /// Proves the reservation, and determines the cost of the replaced file, before the new one is
    /// published. Returns `false` if the upload must wait, because another session changes the file.
    fn begin_to_publish(&mut self) -> Result<bool, StorageError> {
        if self.phase == Phase::Writing
            && let Some(reservation) = &mut self.reservation
        {
            match self.target.claim(reservation) {
                Ok(replaced) => self.replaced = replaced,
                Err(error) if error.kind == Kind::Busy => {
                    if self.waiting.get_or_insert_with(Instant::now).elapsed() >= PATIENCE {
                        return Err(error);
                    }
                    thread::sleep(STEP);
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
            self.phase = Phase::Publishing;
        }
        Ok(true)
    }

    fn settle(&mut self) {
        if let Some(reservation) = self.reservation.take() {
            let added = Cost::of_file(self.kept.saturating_add(self.written));
            reservation.settle(added, self.replaced);
        }
    }

    /// Ends the reservation of an upload that was not confirmed. `error` is the reason, if
    /// publishing failed.
    fn give_up(&mut self, error: Option<&StorageError>) {
        let Some(reservation) = self.reservation.take() else { return };
        match (self.phase, error) {
            (Phase::Writing, _) => drop(reservation),
            (Phase::Publishing, Some(error)) => reservation.fail(error),
            (Phase::Publishing, None) => reservation.abandon(),
        }
    }
}

impl io::Write for QuotaUpload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.left == 0 && !bytes.is_empty() {
            let Some(reservation) = &mut self.reservation else {
                return Err(StorageError::from(Kind::Io).into());
            };
            let former = reservation.bytes();
            reservation.add_ahead(Cost::BYTE)?;
            self.left = reservation.bytes() - former;
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        let count = self.inner()?.write(bytes.get(..most).unwrap_or_default())?;
        self.left = self.left.saturating_sub(count as u64);
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner()?.flush()
    }
}

impl Upload for QuotaUpload {
    fn prepare(&mut self) -> Result<bool, StorageError> {
        self.inner()?.prepare()
    }

    fn ready(&mut self) -> Result<bool, StorageError> {
        self.inner()?.ready()
    }

    fn prepare_commit(&mut self) -> Result<bool, StorageError> {
        Ok(self.begin_to_publish()? && self.inner()?.prepare_commit()?)
    }

    fn published_size(&self) -> Option<u64> {
        self.inner.as_ref().and_then(|upload| upload.published_size())
    }

    fn inode(&self) -> Option<u64> {
        self.inner.as_ref().and_then(|upload| upload.inode())
    }

    fn commit(mut self: Box<Self>) -> Result<(), StorageError> {
        while !self.begin_to_publish()? {}
        let inner = self.inner.take().ok_or(Kind::Io)?;
        match inner.commit() {
            Ok(()) => {
                self.settle();
                Ok(())
            }
            Err(error) => {
                self.give_up(Some(&error));
                Err(error)
            }
        }
    }

    fn abort(mut self: Box<Self>, end: StreamEnd) {
        self.give_up(None);
        if let Some(inner) = self.inner.take() {
            inner.abort(end);
        }
    }
}

impl Drop for QuotaUpload {
    fn drop(&mut self) {
        self.give_up(None);
    }
}
