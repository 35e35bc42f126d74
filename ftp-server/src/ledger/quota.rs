//! A storage with a quota that several servers share, and the counts of its files.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use super::record::{Time, UsageRecord};
use super::reservation::{QuotaUpload, Reservation, unknown};
use super::shared::{Held, SharedInner, SharedState, digest, record_name, unique};
use crate::storage::space::Cost;
use crate::storage::{
    Ask, Capabilities, EntryKind, Keep, RoomFor, Space, Storage, StorageErrorKind as Kind,
    StorageResult, Upload, VirtualPath, WriteMode,
};
use crate::{forward_storage, threads};

/// A storage with a quota that several servers share: see [`SharedState::quota`].
///
/// The server reserves bytes in steps before it stores them, and records the size of the file after
/// the upload. If a server dies, its reserved bytes count until its lease has expired and the files
/// are counted again. If a server was only paused, it reserves the bytes of its upload again before
/// it publishes the file. So uploads never exceed the quota, except with
/// [`WithoutLedger::Allow`](crate::WithoutLedger::Allow).
///
/// Files stored by other programs, or by servers without this quota, are included from the next
/// count on. The files are counted when the quota is first used, and again at the first upload or
/// `MKD` once the count is 24 hours old. Files that are stored during a count may count twice. So
/// before the server refuses an upload, it counts again if the count may be too high or is older
/// than 10 minutes. Bytes of interrupted uploads do not count.
///
/// The size of a file must not change while it is replaced. So if two sessions change the same file
/// at once, one change fails with `Busy`. An upload waits up to 20 s before it fails.
#[derive(Clone)]
pub struct SharedQuota {
    account: Arc<Account>,
    limit: Space,
}

ftp_proto::debug_fields!(SharedQuota { account: account.record, limit }..);

/// A quota and its record.
#[derive(Clone)]
pub(super) struct Account {
    state: SharedState,
    pub(super) storage: Arc<dyn Storage>,
    pub(super) record: String,
    pub(super) limit: Cost,
}

impl Account {
    pub(super) fn shared(&self) -> &SharedInner {
        &self.state.inner
    }
}

/// The path that an upload changes, and the account whose quota applies.
#[derive(Clone)]
pub(super) struct Names {
    account: Arc<Account>,
    path: VirtualPath,
    /// Whether the ledger or the storage can wait for long.
    pub(super) is_remote: bool,
}

impl SharedState {
    /// Returns a storage with a quota that all servers share. The record of `account` keeps the
    /// usage. All servers must use the same account for the same files. Other files need another
    /// account, because each server counts files by listing the storage. Set the limits with
    /// [`SharedQuota::max_bytes`] and [`SharedQuota::max_files`]; without one, `SITE QUOTA` says that
    /// there is no quota.
    ///
    /// The storage itself must have no quota.
    #[must_use]
    pub fn quota(&self, storage: impl Storage + 'static, account: impl AsRef<[u8]>) -> SharedQuota {
        let account = Account {
            state: self.clone(),
            storage: Arc::new(storage),
            record: record_name("quota", account.as_ref()),
            limit: Cost { bytes: u64::MAX, files: u64::MAX },
        };
        SharedQuota { account: Arc::new(account), limit: Space::used(0, 0) }
    }
}

impl SharedQuota {
    /// Limits the total size of all files in bytes (default: unlimited). A directory or an empty
    /// file counts as 4 KiB.
    #[must_use]
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        Arc::make_mut(&mut self.account).limit.bytes = bytes;
        self.limit = self.limit.max_bytes(bytes);
        self
    }

    /// Limits the number of files and directories (default: unlimited).
    #[must_use]
    pub fn max_files(mut self, files: u64) -> Self {
        Arc::make_mut(&mut self.account).limit.files = files;
        self.limit = self.limit.max_files(files);
        self
    }

    fn inner(&self) -> &dyn Storage {
        &*self.account.storage
    }

    fn begin(
        &self,
        path: &VirtualPath,
        mode: WriteMode,
        begin: impl FnOnce() -> StorageResult<Box<dyn Upload>>,
    ) -> StorageResult<Box<dyn Upload>> {
        let old = size_of(self.inner(), path);
        let kept = match mode {
            WriteMode::Append => None,
            WriteMode::From(from) | WriteMode::Resume(from) => Some(from),
            WriteMode::Create | WriteMode::Replace => Some(0),
        };
        let name = if old.is_some() { Cost::default() } else { Cost::NAME };
        // The kept bytes of an interrupted upload have not counted until now, so they are reserved
        // too.
        let resumed = if let WriteMode::Resume(from) = mode { from } else { 0 };
        let mut reservation = Reservation::new(&self.account)?;
        reservation.add_ahead(name.plus(Cost::bytes(resumed.saturating_add(1))))?;
        let (account, path) = (Arc::clone(&self.account), path.clone());
        let is_remote = self.capabilities().contains(Capabilities::REMOTE);
        let target = Names { account, path, is_remote };
        Ok(Box::new(QuotaUpload::new(begin()?, reservation, target, (kept, resumed))))
    }

    /// Makes a change that removes or moves the objects at these paths. `costs` returns the cost that
    /// the change frees, and the cost of what it moves: see [`Reservation::settle`].
    fn change(
        &self,
        paths: &[&VirtualPath],
        costs: impl FnOnce() -> (Cost, Option<Cost>),
        change: impl FnOnce() -> StorageResult<()>,
    ) -> StorageResult<()> {
        let mut reservation = Reservation::new(&self.account)?;
        reservation.claim(paths.iter().map(|path| digest(path.as_bytes())).collect())?;
        let (freed, moved) = costs();
        let changed = change();
        match &changed {
            Ok(()) => reservation.settle(Cost::default(), freed, moved),
            Err(error) => reservation.fail_to_free(error),
        }
        changed
    }
}

impl Names {
    /// Claims the file until the reservation ends, so that no other session changes or creates it.
    /// Returns the cost of the file, and its size.
    pub(super) fn claim(&self, reservation: &mut Reservation) -> StorageResult<(Cost, u64)> {
        reservation.claim(vec![digest(self.path.as_bytes())])?;
        let size = size_of(&*self.account.storage, &self.path);
        Ok((size.map_or(Cost::default(), Cost::of_file), size.unwrap_or(0)))
    }
}

/// Returns the size of a file in bytes; `None` if there is no file, or if it cannot be examined. In
/// these cases, the storage decides whether the change fails, and nothing counts as freed.
fn size_of(storage: &dyn Storage, path: &VirtualPath) -> Option<u64> {
    let found = storage.stat(path, Ask::Facts).ok()?;
    (found.kind == EntryKind::File).then_some(found.size)
}

/// Returns the cost of a file; zero if there is no file.
fn cost_of(storage: &dyn Storage, path: &VirtualPath) -> Cost {
    size_of(storage, path).map_or(Cost::default(), Cost::of_file)
}

/// Counts changes, and forwards all other calls to the inner storage.
impl Storage for SharedQuota {
    fn capabilities(&self) -> Capabilities {
        let is_remote = self.account.state.is_remote();
        self.inner().capabilities() | Capabilities::QUOTA | Capabilities::REMOTE.only_if(is_remote)
    }

    forward_storage!(self, self.inner(); confine, stat, list, read, unfinished, kept, forget, set);

    fn write(
        &self,
        path: &VirtualPath,
        mode: WriteMode,
        keep: Keep<'_>,
    ) -> StorageResult<Box<dyn Upload>> {
        self.begin(path, mode, || self.inner().write(path, mode, keep))
    }

    fn remove(&self, path: &VirtualPath) -> StorageResult<()> {
        let costs = || (cost_of(self.inner(), path), Some(Cost::default()));
        self.change(&[path], costs, || self.inner().remove(path))
    }

    fn rmdir(&self, path: &VirtualPath) -> StorageResult<()> {
        let costs = || (Cost::DIRECTORY, Some(Cost::default()));
        self.change(&[path], costs, || self.inner().rmdir(path))
    }

    fn mkdir(&self, path: &VirtualPath) -> StorageResult<()> {
        let mut reservation = Reservation::new(&self.account)?;
        reservation.add(Cost::DIRECTORY)?;
        let made = self.inner().mkdir(path);
        match &made {
            Ok(()) => reservation.settle(Cost::DIRECTORY, Cost::default(), Some(Cost::default())),
            Err(error) => reservation.fail(error),
        }
        made
    }

    fn rename(&self, from: &VirtualPath, to: &VirtualPath, replace: bool) -> StorageResult<()> {
        let costs = || {
            let freed = match from == to || !replace {
                true => Cost::default(),
                false => cost_of(self.inner(), to),
            };
            (freed, size_of(self.inner(), from).map(Cost::of_file))
        };
        self.change(&[from, to], costs, || self.inner().rename(from, to, replace))
    }

    fn space(&self, path: &VirtualPath, room: RoomFor) -> StorageResult<Space> {
        if room != RoomFor::User {
            return self.inner().space(path, room);
        }
        let (shared, record) = (self.account.shared(), &self.account.record);
        let total = || shared.change(record, |record, _| record.total()).map_err(unknown);
        let used = match total()? {
            Some(used) => used,
            None => {
                wait_for_count(&self.account)?;
                total()?.ok_or(Kind::Busy)?
            }
        };
        Ok(Space { bytes: used.bytes, files: used.files, ..self.limit })
    }
}

/// Maximum time that a change waits for a count.
const COUNT_WAIT: Duration = Duration::from_secs(5);

/// Counts the files in the background, unless another count is in flight or has just finished.
///
/// # Errors
///
/// Returns the system's error if no thread can be started.
pub(super) fn begin_count(account: &Arc<Account>) -> StorageResult<()> {
    let account = Arc::clone(account);
    start_count(move || {
        if let Err(error) = count(&account, UsageRecord::needs_count) {
            log::warn!("cannot count the files for a quota: {error}");
        }
    })
}

/// Counts the files, and waits at most [`COUNT_WAIT`] for the result.
///
/// # Errors
///
/// Returns `Busy` if the count takes too long or another count is running; a slow count continues
/// in its thread. Returns the error of the storage if the count fails, `Uncounted` if the ledger fails,
/// or the system's error if no thread can be started.
pub(super) fn wait_for_count(account: &Arc<Account>) -> StorageResult<()> {
    let account = Arc::clone(account);
    let (sender, result) = mpsc::sync_channel(1);
    start_count(move || {
        // The session may no longer be waiting.
        let _ = sender.send(count(&account, |_, _| true));
    })?;
    match result.recv_timeout(COUNT_WAIT) {
        Ok(Ok(true)) => Ok(()),
        Ok(Err(error)) => Err(error),
        Ok(Ok(false)) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
            Err(Kind::Busy.into())
        }
    }
}

fn start_count(work: impl FnOnce() + Send + 'static) -> StorageResult<()> {
    Ok(threads::start(Some("count"), threads::JOB_STACK, work).map(drop)?)
}

/// Counts the files if `is_needed` by the record at this time. Returns whether the result was
/// recorded; `false` means that no count is needed, or that another one is running or has replaced
/// this one.
fn count(account: &Account, is_needed: impl Fn(&UsageRecord, Time) -> bool) -> StorageResult<bool> {
    let (shared, record) = (account.shared(), &account.record);
    let id = unique().map_err(unknown)?;
    let begun = shared.change(record, |record, times| {
        is_needed(record, times.0) && record.begin_count(&id, times)
    });
    if !begun.map_err(unknown)? {
        return Ok(false);
    }
    shared.hold(record, &id, Held::Count);
    let found = walk(&*account.storage);
    shared.give_up(record, &id);
    let cost = found.as_ref().ok().copied();
    let ended = shared.change(record, |record, (now, _)| record.end_count(&id, cost, now));
    found?;
    ended.map_err(unknown)
}

/// Returns the cost of all files and directories.
fn walk(storage: &dyn Storage) -> StorageResult<Cost> {
    let mut total = Cost::default();
    let mut waiting = vec![VirtualPath::root()];
    while let Some(directory) = waiting.pop() {
        let entries = match storage.list(&directory, Ask::Facts) {
            Ok(entries) => entries,
            // The directory was removed meanwhile.
            Err(error) if error.kind == Kind::NotFound && !directory.is_root() => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            total = total.plus(match entry.metadata.kind {
                EntryKind::Directory => {
                    waiting.push(directory.join(&entry.name));
                    Cost::DIRECTORY
                }
                EntryKind::File => Cost::of_file(entry.metadata.size),
                EntryKind::Symlink | EntryKind::Special => Cost::of_file(0),
            });
        }
    }
    Ok(total)
}
