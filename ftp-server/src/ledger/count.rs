//! Counts the files of a storage, for the record of its quota.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use super::quota::Account;
use super::record::{Time, UsageRecord};
use super::reservation::unknown;
use super::shared::{Held, unique};
use crate::storage::space::Cost;
use crate::storage::{
    Ask, EntryKind, Storage, StorageErrorKind as Kind, StorageResult, VirtualPath,
};
use crate::threads;

/// Maximum time that a change waits for a count.
const WAIT: Duration = Duration::from_secs(5);

/// Counts the files in the background, unless another count is in flight or has just finished.
///
/// # Errors
///
/// Returns the system's error if no thread can be started.
pub(super) fn begin(account: &Arc<Account>) -> StorageResult<()> {
    let account = Arc::clone(account);
    start(move || {
        if let Err(error) = count(&account, UsageRecord::needs_count) {
            log::warn!("cannot count the files for a quota: {error}");
        }
    })
}

/// Counts the files, and waits at most [`WAIT`] for the result.
///
/// # Errors
///
/// Returns `Busy` if the count takes too long or another count is running; a slow count continues
/// in its thread. Returns the error of the storage if the count fails, `Uncounted` if the ledger fails,
/// or the system's error if no thread can be started.
pub(super) fn wait(account: &Arc<Account>) -> StorageResult<()> {
    let account = Arc::clone(account);
    let (sender, result) = mpsc::sync_channel(1);
    start(move || {
        // The session may no longer be waiting.
        let _ = sender.send(count(&account, |_, _| true));
    })?;
    match result.recv_timeout(WAIT) {
        Ok(Ok(true)) => Ok(()),
        Ok(Err(error)) => Err(error),
        Ok(Ok(false)) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
            Err(Kind::Busy.into())
        }
    }
}

fn start(work: impl FnOnce() + Send + 'static) -> StorageResult<()> {
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
