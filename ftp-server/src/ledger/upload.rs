//! Uploads whose bytes are reserved before they are stored.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use super::quota::Names;
use super::reservation::Reservation;
use crate::storage::space::Cost;
use crate::storage::{StorageError, StorageErrorKind as Kind, StorageResult, StreamEnd, Upload};
use crate::threads::Polled;

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

/// A reservation after a question to the ledger, and the answer. It has the cost of the file if the
/// upload may replace it now.
type Answer = (Option<Reservation>, StorageResult<Option<Cost>>);

/// An upload within a quota.
pub(super) struct QuotaUpload {
    inner: Option<Box<dyn Upload>>,
    /// `None` once the reservation has ended, and during a question to the ledger.
    reservation: Option<Reservation>,
    /// If the upload ends during a question, the reservation is released after the answer.
    asked: Polled<Answer>,
    target: Names,
    /// Number of bytes of the file before the first byte to write.
    kept: u64,
    /// How many of these bytes are reserved, because they have not counted until now.
    resumed: u64,
    written: u64,
    /// Whether all bytes are written.
    is_whole: bool,
    /// The cost of the file that is replaced.
    replaced: Cost,
    phase: Phase,
    /// The time since which the upload has waited for another session that changes the file.
    waiting: Option<Instant>,
}

impl QuotaUpload {
    /// Wraps an upload to a file whose first `kept` bytes exist. `resumed` is how many of them are
    /// reserved.
    pub(super) fn new(
        inner: Box<dyn Upload>,
        reservation: Reservation,
        target: Names,
        (kept, resumed): (u64, u64),
    ) -> Self {
        Self {
            inner: Some(inner),
            reservation: Some(reservation),
            asked: Polled::default(),
            target,
            kept,
            resumed,
            written: 0,
            is_whole: false,
            replaced: Cost::default(),
            phase: Phase::Writing,
            waiting: None,
        }
    }

    fn inner(&mut self) -> StorageResult<&mut Box<dyn Upload>> {
        self.inner.as_mut().ok_or_else(|| Kind::Io.into())
    }

    /// Asks the ledger, for up to [`STEP`] if it can wait for long. Returns whether there is an
    /// answer; it can be that to an earlier question.
    fn ask(
        &mut self,
        question: fn(&Names, &mut Reservation) -> StorageResult<Option<Cost>>,
    ) -> StorageResult<bool> {
        let (mut reservation, target) = (self.reservation.take(), self.target.clone());
        let asked = self.asked.poll(self.target.is_remote, STEP, move || {
            let answer = reservation.as_mut().ok_or(Kind::Io.into());
            let answer = answer.and_then(|reservation| question(&target, reservation));
            (reservation, answer)
        });
        let Some((reservation, answer)) = asked? else { return Ok(false) };
        self.reservation = reservation;
        if let Some(replaced) = answer? {
            (self.replaced, self.phase) = (replaced, Phase::Publishing);
        }
        Ok(true)
    }

    /// Returns the number of reserved bytes that are not written yet.
    fn left(&self) -> u64 {
        let reserved = self.reservation.as_ref().map_or(0, Reservation::bytes);
        reserved.saturating_sub(self.resumed.saturating_add(self.written))
    }

    /// Reserves more bytes if none are left. Returns `false` if the upload must wait.
    fn reserve(&mut self) -> StorageResult<bool> {
        Ok(self.left() > 0
            || self.ask(|_, reservation| reservation.add_ahead(Cost::BYTE).map(|()| None))?)
    }

    /// Proves the reservation, and determines the cost of the replaced file, before the new one is
    /// published. Returns `false` if the upload must wait, for the ledger or because another session
    /// changes the file.
    fn begin_to_publish(&mut self) -> StorageResult<bool> {
        if self.phase == Phase::Publishing {
            return Ok(true);
        }
        match self.ask(|target, reservation| target.claim(reservation).map(Some)) {
            Err(error) if error.kind == Kind::Busy => {
                if self.waiting.get_or_insert_with(Instant::now).elapsed() >= PATIENCE {
                    return Err(error);
                }
                thread::sleep(STEP);
            }
            asked => _ = asked?,
        }
        Ok(self.phase == Phase::Publishing)
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
        while !bytes.is_empty() && !self.reserve()? {}
        let most = usize::try_from(self.left()).unwrap_or(usize::MAX).min(bytes.len());
        let count = self.inner()?.write(bytes.get(..most).unwrap_or_default())?;
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.is_whole = true;
        self.inner()?.flush()
    }
}

impl Upload for QuotaUpload {
    fn prepare(&mut self) -> StorageResult<bool> {
        self.inner()?.prepare()
    }

    fn ready(&mut self) -> StorageResult<bool> {
        Ok((self.is_whole || self.reserve()?) && self.inner()?.ready()?)
    }

    fn prepare_commit(&mut self) -> StorageResult<bool> {
        Ok(self.begin_to_publish()? && self.inner()?.prepare_commit()?)
    }

    fn published_size(&self) -> Option<u64> {
        self.inner.as_ref().and_then(|upload| upload.published_size())
    }

    fn inode(&self) -> Option<u64> {
        self.inner.as_ref().and_then(|upload| upload.inode())
    }

    fn commit(mut self: Box<Self>) -> StorageResult<()> {
        while !self.begin_to_publish()? {}
        let inner = self.inner.take().ok_or(Kind::Io)?;
        let published = inner.commit();
        match &published {
            Ok(()) => self.settle(),
            Err(error) => self.give_up(Some(error)),
        }
        published
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
