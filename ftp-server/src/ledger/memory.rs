//! A ledger in the memory of this process.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Instant;

use super::{Ledger, LedgerAnswer, LedgerError, LedgerRecord};
use crate::lock::Lock;

/// A [`Ledger`] in the memory of this process, for several [`Server`](crate::Server)s in the same
/// process, and for tests.
#[derive(Debug, Default)]
pub struct MemoryLedger {
    records: Lock<HashMap<String, LedgerRecord>>,
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
        let record = self.records.lock().get(name).cloned();
        Ok(LedgerAnswer::new(record, START.get_or_init(Instant::now).elapsed()))
    }

    fn replace(
        &self,
        name: &str,
        version: Option<&[u8]>,
        content: &[u8],
    ) -> Result<bool, LedgerError> {
        let mut records = self.records.lock();
        if records.get(name).map(|record| &*record.version) != version {
            return Ok(false);
        }
        let record = LedgerRecord::new(content.to_vec(), content.to_vec());
        records.insert(name.to_owned(), record);
        Ok(true)
    }
}
