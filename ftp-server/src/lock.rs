//! Locks that a panic does not spoil.

use std::sync::{LockResult, PoisonError};

/// What a lock or a wait gives, after a panic of its former holder too: nothing that could panic is
/// done between two states that fit together, so what it guards is as good as any.
pub(crate) fn unpoisoned<Guard>(locked: LockResult<Guard>) -> Guard {
    locked.unwrap_or_else(PoisonError::into_inner)
}
