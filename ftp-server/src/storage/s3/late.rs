//! Changes without a response. The store may still make such a change, at any time. If the store is
//! proved to check its condition, it replaces and removes nothing newer. Otherwise nothing else
//! changes under its key for [`S3Timeouts::late`](super::S3Timeouts::late).

use std::time::{Duration, Instant};

use crate::lock::Lock;

/// The changes of this process that had no response. They outlive each store.
#[derive(Default)]
pub(super) struct LateChanges(Lock<Vec<LateChange>>);

#[derive(Clone)]
struct LateChange {
    key: String,
    operation: &'static str,
    has_condition: bool,
    since: Instant,
    /// The time for which it blocks its path, which a reload does not shorten.
    limit: Duration,
}

impl LateChanges {
    /// Adds a request whose connection is closed. Forgets those whose time is over.
    pub(super) fn add(
        &self,
        (key, operation): (&str, &'static str),
        has_condition: bool,
        limit: Duration,
    ) {
        let mut all = self.0.lock();
        all.retain(|late| late.since.elapsed() < late.limit);
        let (key, since) = (key.to_owned(), Instant::now());
        all.push(LateChange { key, operation, has_condition, since, limit });
    }

    /// Returns whether a change of this object may still be made: one whose time is not over, unless
    /// it has a condition that the store checks for this operation.
    pub(super) fn has_pending(&self, key: &str, checks: impl Fn(&'static str) -> bool) -> bool {
        let of_key =
            self.0.lock().iter().filter(|late| late.key == key).cloned().collect::<Vec<_>>();
        let is_harmless = |late: &LateChange| {
            late.since.elapsed() >= late.limit || late.has_condition && checks(late.operation)
        };
        !of_key.iter().all(is_harmless)
    }

    /// Returns whether a change of this object had no response after `begun`.
    pub(super) fn has_since(&self, key: &str, begun: Instant) -> bool {
        self.0.lock().iter().any(|late| late.key == key && late.since >= begun)
    }
}
