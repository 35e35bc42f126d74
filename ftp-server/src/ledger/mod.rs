//! State that several servers share: the quota of a directory, the sessions of a user, and the failed
//! logins of hosts.
//!
//! A [`Ledger`] keeps small records and replaces one only if it has not changed meanwhile. That is
//! all that servers need to agree: [`MemoryLedger`] does it in this process, `S3Ledger` with the
//! conditional writes of an object store, and `RedisLedger` with a script. [`record`] says what a
//! record contains, and [`shared`] when it changes.

mod count;
mod hosts;
mod memory;
mod quota;
mod record;
#[cfg(feature = "redis")]
mod redis;
mod reservation;
mod shared;
#[cfg(test)]
pub(crate) mod tests;
mod upload;

pub(crate) use hosts::BanPolicy;
pub use memory::MemoryLedger;
pub use quota::SharedQuota;
#[cfg(feature = "redis")]
pub use redis::RedisLedger;
pub(crate) use shared::Presence;
pub use shared::{SharedState, WithoutLedger};

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A place for small records that several servers read and replace.
///
/// A server changes a record by reading it, and by replacing exactly the version that it has read.
/// If another server was faster, it begins again. So an implementation needs nothing but one atomic
/// comparison. All calls block, and must end by themselves within some seconds.
pub trait Ledger: fmt::Debug + Send + Sync {
    /// Returns a record, and the time.
    ///
    /// # Errors
    ///
    /// Returns [`LedgerError::Away`] without an answer.
    fn read(&self, name: &str) -> Result<LedgerAnswer, LedgerError>;

    /// Replaces a record that still has this version; `None`: creates a record that does not exist.
    /// Returns `false` if it has changed meanwhile.
    ///
    /// If it is uncertain whether the record was replaced, either result is right: each change can
    /// be made twice.
    ///
    /// # Errors
    ///
    /// Returns [`LedgerError::Away`] without an answer.
    fn replace(
        &self,
        name: &str,
        version: Option<&[u8]>,
        content: &[u8],
    ) -> Result<bool, LedgerError>;
}

impl<T: Ledger + ?Sized> Ledger for Arc<T> {
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

/// The answer of a [`Ledger`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LedgerAnswer {
    /// The record; `None` if it does not exist.
    pub record: Option<LedgerRecord>,
    /// The time by the ledger's own clock, since any moment that all servers share. Leases end by
    /// this time, so that the clocks of servers do not matter.
    pub time: Duration,
}

/// A record of a [`Ledger`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LedgerRecord {
    /// The content.
    pub content: Vec<u8>,
    /// A value that differs for each different content.
    pub version: Vec<u8>,
}

/// Error of a [`Ledger`]. It never contains a secret.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The ledger cannot be used: its URL is wrong, or it lacks something.
    #[error("{0}")]
    Unfit(String),
    /// The ledger does not answer, or refuses.
    #[error("the ledger does not answer: {0}")]
    Away(String),
    /// A record is not what this version of the server writes.
    #[error("the record {0:?} of the ledger is damaged, or of another version")]
    Damaged(String),
    /// Other servers change the record all the time.
    #[error("the record {0:?} of the ledger changes too often")]
    Contended(String),
}
