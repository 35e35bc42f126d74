//! The usage of quotas. The files are counted first if necessary.

use std::sync::Arc;
use std::time::Duration;

use super::root::Root;
use super::sweep;
use super::usage::{Charge, Cost, Counting};
use crate::storage::{Metadata, StorageErrorKind, StorageResult};
use crate::{limits, threads};

/// Maximum time that [`used`] waits for a count. During the wait, the session does not check
/// whether its client is still connected.
const WAIT: Duration = Duration::from_secs(5);

/// Returns the usage under `limit`. Counts first if there is no count, or if the count is old and
/// leaves less than `wanted` of the limit.
///
/// # Errors
///
/// Returns `Busy` if the count takes longer than [`WAIT`]; the count then continues. Returns an
/// error if no thread can be started for the count.
pub(super) fn used(root: &Arc<Root>, limit: Cost, wanted: Cost) -> StorageResult<Cost> {
    used_within(root, limit, wanted, WAIT)?.ok_or_else(|| StorageErrorKind::Busy.into())
}

/// Returns the result of [`used`], or `None` if the count takes longer than `longest`.
///
/// # Errors
///
/// Returns an error if no thread can be started for the count.
pub(super) fn used_within(
    root: &Arc<Root>,
    limit: Cost,
    wanted: Cost,
    longest: Duration,
) -> StorageResult<Option<Cost>> {
    root.usage().used_within(limit, wanted, longest, |counting: Counting| {
        let root = Arc::clone(root);
        let count = move || counting.walk(|| sweep::count(&root));
        threads::start(Some("count"), limits::SESSION_STACK, count).map(drop)
    })
}

/// Returns the cost that must fit within the limit before an upload begins that needs `cost` and is
/// to replace `old`.
pub(super) const fn wanted(cost: Cost, old: Option<&Metadata>) -> Cost {
    if old.is_some() { cost } else { cost.plus(Cost::BYTE) }
}

/// Begins an upload under this limit, and reserves `cost`. `old` is the file that the upload is to
/// replace; as many bytes as it has are free.
///
/// # Errors
///
/// Returns `OverQuota` if no bytes are left or `cost` does not fit, or an error of [`used`].
pub(super) fn begin(
    root: &Arc<Root>,
    limit: Option<Cost>,
    cost: Cost,
    old: Option<&Metadata>,
) -> StorageResult<Charge> {
    if let Some(limit) = limit {
        used(root, limit, wanted(cost, old))?;
    }
    let mut charge = root.usage().charge(limit, old);
    charge.grow(cost.plus(Cost::BYTE))?;
    charge.shrink(1);
    Ok(charge)
}

/// Begins an upload that resumes kept bytes. The upload can begin even if no quota is left,
/// because these bytes are already counted. `old` is the file that the upload is to replace.
///
/// # Errors
///
/// Returns an error of [`used`].
pub(super) fn go_on(
    root: &Arc<Root>,
    limit: Option<Cost>,
    old: Option<&Metadata>,
) -> StorageResult<Charge> {
    if let Some(limit) = limit {
        used(root, limit, Cost::BYTE)?;
    }
    Ok(root.usage().charge(limit, old))
}
