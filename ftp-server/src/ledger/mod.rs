//! State that several servers share: quotas of storages, sessions of users, and failed logins of
//! hosts.
//!
//! A [`Ledger`] keeps small records. It replaces a record only if the record has not changed since
//! the server read it. The servers need no other coordination. [`MemoryLedger`] keeps the records
//! in the memory of this process, `S3Ledger` in an object store with conditional writes, and
//! `RedisLedger` in Redis with a script. [`record`] defines the content of a record, and [`shared`]
//! makes the changes.

mod quota;
mod record;
#[cfg(feature = "redis")]
mod redis;
mod reservation;
mod shared;
#[cfg(test)]
pub(crate) mod tests;

pub use quota::SharedQuota;
#[cfg(feature = "redis")]
pub use redis::RedisLedger;
pub(crate) use shared::{BanPolicy, Presence};
pub use shared::{SharedState, WithoutLedger};

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::lock::Lock;

/// A place for small records that several servers read and replace.
///
/// To change a record, a server reads it and replaces exactly the version that it has read. If
/// another server has changed the record in between, the first server reads it again and retries.
/// So an implementation needs only one atomic operation: compare and replace. All calls block, and
/// must return within a few seconds.
pub trait Ledger: fmt::Debug + Send + Sync {
    /// Returns whether a call can wait, for example for a network (default: `true`). A storage with a
    /// [`quota`](SharedState::quota) then is [remote](crate::Capabilities::REMOTE).
    fn is_remote(&self) -> bool {
        true
    }

    /// Verifies with a test record that the ledger can be used; by default, that is not tested.
    ///
    /// # Errors
    ///
    /// Returns [`LedgerError::Unfit`] if the ledger lacks or refuses an operation, or
    /// [`LedgerError::Away`] if it does not answer or temporarily refuses requests.
    fn prove(&self) -> Result<(), LedgerError> {
        Ok(())
    }

    /// Returns a record and the ledger's time.
    ///
    /// # Errors
    ///
    /// Returns [`LedgerError::Away`] if the ledger does not answer or temporarily refuses requests,
    /// and [`LedgerError::Unfit`] if it cannot be used.
    fn read(&self, name: &str) -> Result<LedgerAnswer, LedgerError>;

    /// Replaces the content of a record if the record still has this version. If `version` is
    /// `None`, creates the record. Returns `false` if the record no longer has this version or,
    /// when `version` is `None`, already exists.
    ///
    /// If it is uncertain whether the record was replaced, an implementation may return either
    /// result: each change can safely be made twice.
    ///
    /// # Errors
    ///
    /// Returns [`LedgerError::Away`] if the ledger does not answer or temporarily refuses requests,
    /// and [`LedgerError::Unfit`] if it cannot be used.
    fn replace(
        &self,
        name: &str,
        version: Option<&[u8]>,
        content: &[u8],
    ) -> Result<bool, LedgerError>;
}

impl<T: Ledger + ?Sized> Ledger for Arc<T> {
    fn is_remote(&self) -> bool {
        (**self).is_remote()
    }

    fn prove(&self) -> Result<(), LedgerError> {
        (**self).prove()
    }

    fn read(&self, name: &str) -> Result<LedgerAnswer, LedgerError> {
        (**self).read(name)
    }

    fn replace(
        &self,
        name: &str,
        version: Option<&[u8]>,
        content: &[u8],
    ) -> Result<bool, LedgerError> {
        (**self).replace(name, version, content)
    }
}

/// The answer of a [`Ledger`]: a record and the time.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct LedgerAnswer {
    /// The content of the record; empty if it does not exist.
    pub content: Vec<u8>,
    /// A value that is different for different contents; `None` if the record does not exist.
    pub version: Option<Vec<u8>>,
    /// The time on the ledger's own clock, since an epoch that is the same for all servers. Leases
    /// expire by this clock, so the servers' clocks do not matter.
    pub time: Duration,
}

impl LedgerAnswer {
    /// Returns an answer with these fields.
    #[must_use]
    pub fn new(content: Vec<u8>, version: Option<Vec<u8>>, time: Duration) -> Self {
        Self { content, version, time }
    }
}

/// Error of a [`Ledger`]. The text never contains a secret.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The ledger cannot be used: its URL is invalid, or it lacks or forbids a required operation.
    #[error("{why}")]
    Unfit {
        /// What is unsuitable, with the text of the ledger if it has sent one.
        why: String,
    },
    /// The ledger does not answer, or temporarily refuses requests.
    #[error("the ledger does not answer: {why}")]
    Away {
        /// What the system or the ledger has said.
        why: String,
    },
    /// A record does not have the format that this version of the server writes.
    #[error("ledger record {record:?}: damaged, or written by another version of the server")]
    Damaged {
        /// The name of the record.
        record: String,
    },
    /// Other servers changed the record each time before this server could replace it.
    #[error("ledger record {record:?}: cannot be replaced: other servers change it too often")]
    Contended {
        /// The name of the record.
        record: String,
    },
}

/// A [`Ledger`] in the memory of this process, for several [`Server`](crate::Server)s in the same
/// process, and for tests.
#[derive(Debug, Default)]
pub struct MemoryLedger {
    records: Lock<HashMap<String, Vec<u8>>>,
}

impl MemoryLedger {
    /// Returns a ledger without records.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Loses all records, as a Redis server without persistence does.
    #[cfg(test)]
    pub(super) fn forget(&self) {
        self.records.lock().clear();
    }
}

impl Ledger for MemoryLedger {
    fn is_remote(&self) -> bool {
        false
    }

    fn read(&self, name: &str) -> Result<LedgerAnswer, LedgerError> {
        static START: OnceLock<Instant> = OnceLock::new();
        let version = self.records.lock().get(name).cloned();
        let content = version.clone().unwrap_or_default();
        Ok(LedgerAnswer { content, version, time: START.get_or_init(Instant::now).elapsed() })
    }

    fn replace(
        &self,
        name: &str,
        version: Option<&[u8]>,
        content: &[u8],
    ) -> Result<bool, LedgerError> {
        let mut records = self.records.lock();
        if records.get(name).map(|content| &**content) != version {
            return Ok(false);
        }
        records.insert(name.to_owned(), content.to_vec());
        Ok(true)
    }
}
