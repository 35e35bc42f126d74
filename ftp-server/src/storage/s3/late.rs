//! Changes without a response. The store may still make such a change, at any time. If the store is
//! proved to check its condition, it replaces and removes nothing newer. Otherwise nothing else
//! changes under its key for [`S3Timeouts::late`](super::S3Timeouts::late).

use std::io;
use std::time::{Duration, Instant};

use super::http::Request;
use super::inner::Inner;
use crate::lock::Lock;
use crate::storage::{StorageError, StorageErrorKind as Kind, StorageResult};

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
    pub(super) fn add(&self, request: &Request<'_>, limit: Duration) {
        let mut all = self.0.lock();
        all.retain(|late| late.since.elapsed() < limit);
        all.push(LateChange {
            key: request.key.unwrap_or_default().to_owned(),
            operation: request.operation,
            has_condition: request.headers.iter().any(|(name, _)| name.starts_with("if-")),
            since: Instant::now(),
        });
    }

    fn of(&self, key: &str) -> Vec<LateChange> {
        self.0.lock().iter().filter(|late| late.key == key).cloned().collect()
    }

    /// Returns whether a change of this object had no response after `begun`.
    pub(super) fn has_since(&self, key: &str, begun: Instant) -> bool {
        self.0.lock().iter().any(|late| late.key == key && late.since >= begun)
    }
}

impl Inner {
    /// Returns `Busy` if an earlier change of this object may still replace or remove what another
    /// one stores now.
    pub(super) fn check_late(&self, key: &str) -> StorageResult<()> {
        let limit = self.client.timeouts.late;
        let is_harmless = |late: &LateChange| {
            late.since.elapsed() >= limit || late.has_condition && self.checks(late.operation)
        };
        if self.client.late.of(key).iter().all(is_harmless) {
            return Ok(());
        }
        let why = "the store may still make an earlier change of this object";
        Err(StorageError::caused_by(Kind::Busy, io::Error::other(why)))
    }
}
