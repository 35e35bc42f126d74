//! Reservations: the bytes and paths that a change of a storage needs, and uploads whose bytes are
//! reserved before they are stored.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{io, thread};

use super::LedgerError;
use super::quota::{Account, Names, begin_count, wait_for_count};
use super::record::{Later, Verdict};
use super::shared::{Held, WithoutLedger, unique};
use crate::forward_storage;
use crate::storage::space::Cost;
use crate::storage::{StorageError, StorageErrorKind as Kind, StorageResult, StreamEnd, Upload};
use crate::threads::Polled;

/// The number of bytes to reserve ahead: the quota divided by [`SHARE`], between these bounds.
/// While much of the quota is left, the reservations of one server should not cause refusals on
/// another.
const LEAST_STEP: u64 = 64 * 1024;
const MOST_STEP: u64 = 64 * 1024 * 1024;
const SHARE: u64 = 64;

/// A reservation. Dropping it releases the bytes and paths.
pub(super) struct Reservation {
    account: Arc<Account>,
    id: String,
    cost: Cost,
    names: Vec<String>,
    is_over: bool,
}

ftp_proto::debug_fields!(Reservation { cost }..);

impl Reservation {
    pub(super) fn new(account: &Arc<Account>) -> StorageResult<Self> {
        let account = Arc::clone(account);
        let id = unique().map_err(unknown)?;
        Ok(Self { account, id, cost: Cost::default(), names: Vec::new(), is_over: false })
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.cost.bytes
    }

    /// Reserves exactly `wanted`.
    ///
    /// # Errors
    ///
    /// Returns `OverQuota` if the quota has no room, or `Busy` if the files are being counted. If
    /// [`WithoutLedger::Refuse`] is set, returns `Uncounted` if the ledger fails, even if it fails
    /// during a count of the files. Returns the error of the storage if the files cannot be
    /// counted.
    pub(super) fn add(&mut self, wanted: Cost) -> StorageResult<()> {
        self.reserve(wanted, 0)
    }

    /// Reserves `wanted`, and more bytes ahead if any are left.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`add`](Self::add).
    pub(super) fn add_ahead(&mut self, wanted: Cost) -> StorageResult<()> {
        let step = (self.account.limit.bytes / SHARE).clamp(LEAST_STEP, MOST_STEP);
        self.reserve(wanted, step)
    }

    fn reserve(&mut self, wanted: Cost, ahead: u64) -> StorageResult<()> {
        let account = Arc::clone(&self.account);
        let shared = account.shared();
        let mut has_counted = false;
        loop {
            let changed = shared.change(&account.record, |record, times| {
                let verdict = record.reserve(&self.id, (wanted, ahead), account.limit, times);
                (verdict, record.needs_count(times.0))
            });
            match changed {
                Ok((Verdict::Granted(more), needs_count)) => {
                    self.cost = self.cost.plus(wanted).plus(Cost::bytes(more));
                    self.hold();
                    if needs_count && !has_counted {
                        begin_count(&account)?;
                    }
                    return Ok(());
                }
                Ok((Verdict::Uncounted | Verdict::Over { is_old: true }, _) | (_, true))
                    if !has_counted =>
                {
                    match wait_for_count(&account) {
                        Ok(()) => has_counted = true,
                        Err(error) if error.kind == Kind::Uncounted => {
                            return self.reserve_without(error, wanted.plus(Cost::bytes(ahead)));
                        }
                        Err(error) => return Err(error),
                    }
                }
                Ok((Verdict::Over { .. }, _)) => return Err(Kind::OverQuota.into()),
                Ok((Verdict::Uncounted, _)) => return Err(Kind::Busy.into()),
                Err(error) => {
                    let wanted = wanted.plus(Cost::bytes(ahead));
                    return self.reserve_without(unknown(error), wanted);
                }
            }
        }
    }

    /// Reserves `wanted` without the ledger if [`WithoutLedger::Allow`] is set. Otherwise, fails
    /// with `Uncounted`.
    fn reserve_without(&mut self, error: StorageError, wanted: Cost) -> StorageResult<()> {
        self.without(error)?;
        self.cost = self.cost.plus(wanted);
        self.hold();
        Ok(())
    }

    /// Claims these paths, so that no other session on any server changes them. Proves that the
    /// bytes are still reserved: if this process was paused for longer than the lease, other servers
    /// may have used them. Then reserves them again.
    ///
    /// # Errors
    ///
    /// Returns `Busy` if another session is changing one of them, or `Uncounted` if the ledger
    /// fails and [`WithoutLedger::Refuse`] is set. Also returns the errors of [`add`](Self::add).
    pub(super) fn claim(&mut self, names: Vec<String>) -> StorageResult<()> {
        let account = Arc::clone(&self.account);
        let (shared, record) = (account.shared(), &account.record);
        loop {
            let claimed = shared.change(record, |record, times| {
                let is_kept = record.has_reserved(&self.id, self.cost);
                is_kept.then(|| record.claim(&self.id, &names, times))
            });
            match claimed {
                Ok(Some(true)) => {}
                Ok(Some(false)) => return Err(Kind::Busy.into()),
                Ok(None) => {
                    shared.give_up(record, &self.id);
                    let cost = std::mem::take(&mut self.cost);
                    self.add(cost).inspect_err(|_| self.cost = cost)?;
                    continue;
                }
                Err(error) => self.without(unknown(error))?,
            }
            self.names = names;
            self.hold();
            return Ok(());
        }
    }

    /// Continues without the ledger if [`WithoutLedger::Allow`] is set.
    ///
    /// # Errors
    ///
    /// Returns `Uncounted` if [`WithoutLedger::Refuse`] is set.
    fn without(&self, error: StorageError) -> StorageResult<()> {
        let (shared, record) = (self.account.shared(), &self.account.record);
        match shared.without() {
            WithoutLedger::Refuse => {
                let id = self.id.clone();
                if self.cost == Cost::default() && self.names.is_empty() {
                    shared.later(record, Later::Release { id });
                }
                Err(error)
            }
            WithoutLedger::Allow => {
                shared.later(record, Later::Doubt);
                Ok(())
            }
        }
    }

    fn hold(&self) {
        let limit = self.account.limit;
        let held = Held::Lease { cost: self.cost, names: self.names.clone(), limit };
        self.account.shared().hold(&self.account.record, &self.id, held);
    }

    /// Ends the reservation: `added` now counts as used, and `freed` no longer does. `moved` has
    /// another name; `None` is a tree of unknown cost.
    pub(super) fn settle(mut self, added: Cost, freed: Cost, moved: Option<Cost>) {
        let id = self.id.clone();
        self.end(Some(Later::Settle { id, added, freed, moved }));
    }

    /// Leaves the lease to expire, because it is in doubt whether the bytes were committed. Its
    /// expiry triggers a recount.
    fn abandon(mut self) {
        self.end(None);
    }

    /// Ends the reservation of a failed change that would have added bytes.
    pub(super) fn fail(self, error: &StorageError) {
        if error.is_in_doubt() {
            self.abandon();
        }
    }

    /// Ends the reservation of a failed change that would have freed bytes.
    pub(super) fn fail_to_free(self, error: &StorageError) {
        if error.is_in_doubt() {
            self.account.shared().later(&self.account.record, Later::Doubt);
        }
    }

    fn end(&mut self, later: Option<Later>) {
        self.is_over = true;
        let (shared, record) = (self.account.shared(), &self.account.record);
        shared.give_up(record, &self.id);
        if let Some(later) = later {
            shared.later(record, later);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.is_over && (self.cost != Cost::default() || !self.names.is_empty()) {
            self.end(Some(Later::Release { id: self.id.clone() }));
        }
    }
}

/// Returns the storage error for a quota that cannot be checked.
pub(super) fn unknown(error: LedgerError) -> StorageError {
    StorageError::caused_by(Kind::Uncounted, io::Error::other(error))
}

/// Maximum time that an upload waits while another session changes its file.
const PATIENCE: Duration = Duration::from_secs(20);

/// Pause between two attempts, after which the session also checks on its client.
const STEP: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum ReservationPhase {
    /// The upload is not published.
    Writing,
    /// The upload may already have been published.
    Publishing,
}

/// The cost and the size of the file if an upload may replace it now.
type Replaceable = Option<(Cost, u64)>;

/// A reservation after a question to the ledger, and the answer.
type ReservationAnswer = (Option<Reservation>, StorageResult<Replaceable>);

pub(super) struct QuotaUpload {
    inner: Option<Box<dyn Upload>>,
    /// `None` once the reservation has ended, and during a question to the ledger.
    reservation: Option<Reservation>,
    /// If the upload ends during a question, the reservation is released after the answer.
    asked: Polled<ReservationAnswer>,
    target: Names,
    /// Number of bytes of the file before the first byte to write; `None` for an append, until the file
    /// is claimed: others may append to it meanwhile.
    kept: Option<u64>,
    /// How many of these bytes are reserved, because they have not counted until now.
    resumed: u64,
    written: u64,
    /// Whether all bytes are written.
    is_whole: bool,
    replaced: Cost,
    phase: ReservationPhase,
    /// The time since which the upload has waited for another session that changes the file.
    waiting: Option<Instant>,
}

impl QuotaUpload {
    /// Wraps an upload to a file whose first `kept` bytes exist; `None` for an append. `resumed` is how
    /// many of them are reserved.
    pub(super) fn new(
        inner: Box<dyn Upload>,
        reservation: Reservation,
        target: Names,
        (kept, resumed): (Option<u64>, u64),
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
            phase: ReservationPhase::Writing,
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
        question: fn(&Names, &mut Reservation) -> StorageResult<Replaceable>,
    ) -> StorageResult<bool> {
        let (mut reservation, target) = (self.reservation.take(), self.target.clone());
        let asked = self.asked.poll(self.target.is_remote, STEP, move || {
            let answer = reservation.as_mut().ok_or(Kind::Io.into());
            let answer = answer.and_then(|reservation| question(&target, reservation));
            (reservation, answer)
        });
        let Some((reservation, answer)) = asked? else { return Ok(false) };
        self.reservation = reservation;
        if let Some((replaced, size)) = answer? {
            (self.replaced, self.phase) = (replaced, ReservationPhase::Publishing);
            self.kept.get_or_insert(size);
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
        if self.phase == ReservationPhase::Publishing {
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
        Ok(self.phase == ReservationPhase::Publishing)
    }

    fn settle(&mut self) {
        if let Some(reservation) = self.reservation.take() {
            let added = Cost::of_file(self.kept.unwrap_or(0).saturating_add(self.written));
            reservation.settle(added, self.replaced, Some(Cost::default()));
        }
    }

    /// Ends the reservation of an upload that was not confirmed. `error` is the reason, if
    /// publishing failed.
    fn give_up(&mut self, error: Option<&StorageError>) {
        let Some(reservation) = self.reservation.take() else { return };
        match (self.phase, error) {
            (ReservationPhase::Writing, _) => drop(reservation),
            (ReservationPhase::Publishing, Some(error)) => reservation.fail(error),
            (ReservationPhase::Publishing, None) => reservation.abandon(),
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
    forward_storage!(self, self.inner()?; prepare);

    fn ready(&mut self) -> StorageResult<bool> {
        Ok((self.is_whole || self.reserve()?) && self.inner()?.ready()?)
    }

    fn prepare_commit(&mut self) -> StorageResult<bool> {
        Ok(self.begin_to_publish()? && self.inner()?.prepare_commit()?)
    }

    fn progress(&self) -> u64 {
        self.inner.as_ref().map_or(0, |upload| upload.progress())
    }

    fn published_size(&self) -> Option<u64> {
        self.inner.as_ref().and_then(|upload| upload.published_size())
    }

    fn hidden_file(&self) -> Option<(u64, u64)> {
        self.inner.as_ref().and_then(|upload| upload.hidden_file())
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.inner.as_ref().and_then(|upload| upload.descriptor())
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
