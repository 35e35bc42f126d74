//! Changes without a response. The store may still make such a change, at any time. If the store is
//! proved to check its condition, it replaces and removes nothing newer. Otherwise nothing else
//! changes under its key for [`S3Timeouts::late`](super::S3Timeouts::late).

use std::time::{Duration, Instant};

use crate::lock::Lock;

/// The changes of this process that had no response.
#[derive(Default)]
pub(super) struct LateChanges(Lock<Vec<LateChange>>);

#[derive(Clone)]
struct LateChange {
    key: String,
    operation: &'static str,
    has_condition: bool,
    since: Instant,
}

impl LateChanges {
    /// Adds a request whose connection is closed. Forgets those that are older than `limit`.
    pub(super) fn add(
        &self,
        (key, operation): (&str, &'static str),
        has_condition: bool,
        limit: Duration,
    ) {
        let mut all = self.0.lock();
        all.retain(|late| late.since.elapsed() < limit);
        all.push(LateChange {
            key: key.to_owned(),
            operation,
            has_condition,
            since: Instant::now(),
        });
    }

    /// Returns whether a change of this object may still be made: one of the last `limit`, unless it
    /// has a condition that the store checks for this operation.
    pub(super) fn has_pending(
        &self,
        key: &str,
        limit: Duration,
        checks: impl Fn(&'static str) -> bool,
    ) -> bool {
        let of_key =
            self.0.lock().iter().filter(|late| late.key == key).cloned().collect::<Vec<_>>();
        let is_harmless = |late: &LateChange| {
            late.since.elapsed() >= limit || late.has_condition && checks(late.operation)
        };
        !of_key.iter().all(is_harmless)
    }

    /// Returns whether a change of this object had no response after `begun`.
    pub(super) fn has_since(&self, key: &str, begun: Instant) -> bool {
        self.0.lock().iter().any(|late| late.key == key && late.since >= begun)
    }
}
