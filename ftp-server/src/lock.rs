//! Locks without poisoning.

use std::sync::{LockResult, PoisonError};

/// Returns the guard even if another holder has panicked. Nothing that can panic runs between two
/// consistent states, so the data is intact.
pub(crate) fn unpoisoned<Guard>(locked: LockResult<Guard>) -> Guard {
    locked.unwrap_or_else(PoisonError::into_inner)
}
