//! The remaining quota of users, after a count if necessary.

use std::sync::Arc;
use std::time::Duration;

use super::root::Root;
use super::sweep;
use super::usage::{Charge, Counting};
use crate::storage::{StorageError, StorageErrorKind};
use crate::{limits, threads};

/// How long a question waits for a necessary count. During the wait the session ignores its client.
const WAIT: Duration = Duration::from_secs(5);

/// Returns how many bytes of `limit` are left, after a count if there is none or only an old one.
///
/// # Errors
///
/// Returns `Busy` if the count takes too long; it continues.
pub(super) fn left(root: &Arc<Root>, limit: u64) -> Result<u64, StorageError> {
    left_within(root, limit, WAIT)?.ok_or_else(|| StorageErrorKind::Busy.into())
}

/// Returns how many bytes are left, or `None` if the count takes longer than `longest`.
///
/// # Errors
///
/// Returns an error if there is no thread for the count.
pub(super) fn left_within(
    root: &Arc<Root>,
    limit: u64,
    longest: Duration,
) -> Result<Option<u64>, StorageError> {
    root.usage().left_within(limit, longest, |counting: Counting| {
        let root = Arc::clone(root);
        let count = move || counting.walk(|| sweep::count(&root));
        threads::start(Some("count"), limits::SESSION_STACK, count).map(drop)
    })
}

/// Begins an upload under this limit.
///
/// # Errors
///
/// Returns `OverQuota` if nothing is left.
pub(super) fn begin(root: &Arc<Root>, limit: Option<u64>) -> Result<Charge, StorageError> {
    if let Some(limit) = limit
        && left(root, limit)? == 0
    {
        return Err(StorageErrorKind::OverQuota.into());
    }
    Ok(root.usage().charge(limit))
}

/// Begins an upload that resumes a partial one. No bytes need to be left, because it counts
/// already.
///
/// # Errors
///
/// Returns `Busy` if the count takes too long.
pub(super) fn go_on(root: &Arc<Root>, limit: Option<u64>) -> Result<Charge, StorageError> {
    if let Some(limit) = limit {
        left(root, limit)?;
    }
    Ok(root.usage().charge(limit))
}
