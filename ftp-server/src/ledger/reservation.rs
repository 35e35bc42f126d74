//! Reservations: the bytes and paths that a change of a storage needs.

use std::sync::Arc;

use super::LedgerError;
use super::count::{self, CountError};
use super::quota::Account;
use super::record::{Later, Verdict};
use super::shared::{Held, WithoutLedger, unique};
use crate::storage::space::Cost;
use crate::storage::{StorageError, StorageErrorKind as Kind, StorageResult};

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
    /// Creates an empty reservation.
    pub(super) fn new(account: &Arc<Account>) -> StorageResult<Self> {
        let account = Arc::clone(account);
        let id = unique().map_err(unknown)?;
        Ok(Self { account, id, cost: Cost::default(), names: Vec::new(), is_over: false })
    }

    /// Returns the number of reserved bytes.
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
                        count::begin(&account)?;
                    }
                    return Ok(());
                }
                Ok((Verdict::Uncounted | Verdict::Over { is_old: true }, _) | (_, true))
                    if !has_counted =>
                {
                    match count::wait(&account) {
                        Ok(()) => has_counted = true,
                        Err(CountError::Ledger(error)) => {
                            return self.reserve_without(error, wanted.plus(Cost::bytes(ahead)));
                        }
                        Err(CountError::Storage(error)) => return Err(error),
                    }
                }
                Ok((Verdict::Over { .. }, _)) => return Err(Kind::OverQuota.into()),
                Ok((Verdict::Uncounted, _)) => return Err(Kind::Busy.into()),
                Err(error) => {
                    return self.reserve_without(error, wanted.plus(Cost::bytes(ahead)));
                }
            }
        }
    }

    /// Reserves `wanted` without the ledger if [`WithoutLedger::Allow`] is set. Otherwise, fails
    /// with `Uncounted`.
    fn reserve_without(&mut self, error: LedgerError, wanted: Cost) -> StorageResult<()> {
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
                Err(error) => self.without(error)?,
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
    fn without(&self, error: LedgerError) -> StorageResult<()> {
        let (shared, record) = (self.account.shared(), &self.account.record);
        match shared.without() {
            WithoutLedger::Refuse => {
                let id = self.id.clone();
                if self.cost == Cost::default() && self.names.is_empty() {
                    shared.later(record, Later::Release { id });
                }
                Err(unknown(error))
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

    /// Ends the reservation: `added` now counts as used, and `freed` no longer does.
    pub(super) fn settle(mut self, added: Cost, freed: Cost) {
        let id = self.id.clone();
        self.end(Some(Later::Settle { id, added, freed }));
    }

    /// Lets the reservation expire, because it is unknown whether its bytes are stored. After that,
    /// a server counts the files again.
    pub(super) fn abandon(mut self) {
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
    StorageError::caused_by(Kind::Uncounted, std::io::Error::other(error))
}
