//! Changes without a response. The store may still make such a change, at any time. If the store is
//! proved to check its condition, it replaces and removes nothing newer. Otherwise nothing else
//! changes under its key for [`S3Timeouts::late`](super::S3Timeouts::late).

use std::time::{Duration, Instant};

use crate::lock::Lock;

/// Maximum number of changes to remember, each with its key.
pub(super) const MOST: usize = if cfg!(test) { 16 } else { 10_000 };

/// The changes of this process that had no response. They outlive each store.
#[derive(Default)]
pub(super) struct LateChanges(Lock<Vec<LateChange>>);

/// The last of several changes of a kind under one key.
#[derive(Clone)]
struct LateChange {
    /// The key; `None` for those of all keys that found no room.
    key: Option<String>,
    operation: &'static str,
    /// The header of its condition.
    condition: Option<&'static str>,
    since: Instant,
    /// The end of the time for which it blocks its path, which a reload does not shorten.
    until: Option<Instant>,
}

impl LateChange {
    /// Returns whether it may still be made. A time that no clock can show never ends.
    fn is_pending(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    fn is_of(&self, key: &str) -> bool {
        self.key.as_ref().is_none_or(|own| own == key)
    }
}

impl LateChanges {
    /// Adds a request whose connection is closed. Forgets those whose time is over. If there are too
    /// many, the request counts as one of each key.
    pub(super) fn add(
        &self,
        (key, operation): (&str, &'static str),
        condition: Option<&'static str>,
        limit: Duration,
    ) {
        let mut all = self.0.lock();
        let since = Instant::now();
        all.retain(|it| it.is_pending(since));
        let until = since.checked_add(limit);
        let is_it = |it: &LateChange| (it.operation, it.condition) == (operation, condition);
        let place =
            |key: Option<&str>| all.iter().position(|it| it.key.as_deref() == key && is_it(it));
        let own = place(Some(key)).or_else(|| place(None).filter(|_| all.len() >= MOST));
        if let Some(earlier) = own.and_then(|at| all.get_mut(at)) {
            earlier.since = since;
            earlier.until = earlier.until.zip(until).map(|(one, other)| one.max(other));
            return;
        }
        let key = (all.len() < MOST).then(|| key.to_owned());
        all.push(LateChange { key, operation, condition, since, until });
    }

    /// Returns whether a change of this object may still be made: one whose time is not over, unless
    /// it has a condition that the store checks for this operation.
    pub(super) fn has_pending(
        &self,
        key: &str,
        checks: impl Fn(&'static str, &'static str) -> bool,
    ) -> bool {
        let now = Instant::now();
        // A check can send requests.
        let mut all = self.0.lock().clone();
        all.retain(|late| late.is_of(key) && late.is_pending(now));
        all.iter().any(|late| !late.condition.is_some_and(|it| checks(late.operation, it)))
    }

    /// Returns whether a change of this object had no response after `begun`.
    pub(super) fn has_since(&self, key: &str, begun: Instant) -> bool {
        self.0.lock().iter().any(|late| late.is_of(key) && late.since >= begun)
    }

    /// Returns whether none may still be made.
    pub(super) fn is_over(&self) -> bool {
        let now = Instant::now();
        !self.0.lock().iter().any(|late| late.is_pending(now))
    }
}
