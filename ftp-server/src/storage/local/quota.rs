//! What users with a limit have left of it, which is counted first where nobody knows.

use std::sync::Arc;
use std::time::Duration;

use super::root::Root;
use super::sweep;
use super::usage::{Charge, Counting};
use crate::storage::{StorageError, StorageErrorKind};
use crate::{limits, threads};

/// How long a question waits for a count without which there is no answer. The client hears nothing
/// meanwhile, and is not heard.
const WAIT: Duration = Duration::from_secs(5);

/// How many bytes of `limit` are left, counting first if nobody has, or long ago.
///
/// # Errors
///
/// `Busy` if counting takes too long to wait for. It goes on.
pub(super) fn left(root: &Arc<Root>, limit: u64) -> Result<u64, StorageError> {
    left_within(root, limit, WAIT)?.ok_or_else(|| StorageErrorKind::Busy.into())
}

/// The same, waiting no longer than `longest`. `None` if that was not enough.
///
/// # Errors
///
/// There is no thread to count in.
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

/// Begins an upload of somebody with this limit.
///
/// # Errors
///
/// `OverQuota` if nothing is left of it.
pub(super) fn begin(root: &Arc<Root>, limit: Option<u64>) -> Result<Charge, StorageError> {
    if let Some(limit) = limit
        && left(root, limit)? == 0
    {
        return Err(StorageErrorKind::OverQuota.into());
    }
    Ok(root.usage().charge(limit))
}

/// The same where nothing has to be left: the upload goes on with a part that counts already, and
/// what it does not keep of that makes room.
///
/// # Errors
///
/// `Busy` if counting takes too long to wait for.
pub(super) fn go_on(root: &Arc<Root>, limit: Option<u64>) -> Result<Charge, StorageError> {
    if let Some(limit) = limit {
        left(root, limit)?;
    }
    Ok(root.usage().charge(limit))
}
