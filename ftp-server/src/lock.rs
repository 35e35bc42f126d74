//! Locks without poisoning.

use std::sync::{LockResult, PoisonError};

/// Returns the guard even if another holder has panicked. Code that changes the data cannot panic
/// while the data is inconsistent, so the data is intact.
pub(crate) fn unpoisoned<Guard>(locked: LockResult<Guard>) -> Guard {
    locked.unwrap_or_else(PoisonError::into_inner)
}
