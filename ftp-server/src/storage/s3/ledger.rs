//! A ledger in an object store. Each record is one object, which is replaced only if the entity tag
//! is unchanged.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use super::encode::now;
use super::error::S3Error;
use super::inner::Inner;
use super::keys::{HIDDEN, Keys};
use super::objects::Condition;
use super::store::S3Store;
use crate::ledger::{Ledger, LedgerAnswer, LedgerError};

/// Maximum length of a record, in bytes. A lease takes about 100 bytes.
const LONGEST: u64 = 1024 * 1024;

/// A [`Ledger`] in an object store that supports conditional writes. Each change to a record takes
/// two requests.
///
/// The records are below `.ftp-server/`, which users never see.
#[derive(Debug)]
pub struct S3Ledger {
    store: S3Store,
    /// The prefix of the keys of all records.
    prefix: String,
    /// Whether a test has shown that the store supports conditional writes.
    is_proved: AtomicBool,
    /// Seconds by which the store's clock is ahead of this computer's.
    ahead: AtomicI64,
}

impl S3Ledger {
    /// Opens the ledger named `name` in a bucket. All servers that share state must use the same
    /// name. Logins wait for the ledger, so use a store with short
    /// [timeouts](crate::S3StoreBuilder::timeouts).
    ///
    /// # Errors
    ///
    /// Returns an error of [`new`](Self::new) or [`prove`](Ledger::prove).
    pub fn open(store: &S3Store, name: &str) -> Result<Self, LedgerError> {
        let ledger = Self::new(store, name)?;
        ledger.prove()?;
        Ok(ledger)
    }

    /// Returns a ledger without sending a request. The first use of the ledger calls
    /// [`prove`](Ledger::prove).
    ///
    /// # Errors
    ///
    /// Returns [`LedgerError::Unfit`] if the name cannot be part of a key.
    pub fn new(store: &S3Store, name: &str) -> Result<Self, LedgerError> {
        if Keys::new(name).is_none() {
            let text = format!("invalid prefix {name:?}: expected names separated by slashes");
            return Err(LedgerError::Unfit { why: text });
        }
        let name = name.trim_matches('/');
        let slash = if name.is_empty() { "" } else { "/" };
        let prefix = format!("{HIDDEN}ledger/{name}{slash}");
        let (is_proved, ahead) = (AtomicBool::new(false), AtomicI64::new(0));
        Ok(Self { store: store.clone(), prefix, is_proved, ahead })
    }

    fn inner(&self) -> &Inner {
        &self.store.inner
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

impl Ledger for S3Ledger {
    /// Unless that is already known, verifies that the store supports conditional writes: one that
    /// ignores them would silently lose changes.
    fn prove(&self) -> Result<(), LedgerError> {
        if self.is_proved.load(Ordering::Acquire) {
            return Ok(());
        }
        let store = self.inner();
        let found = store.test("PutObject").map_err(|error| failure(&error))?;
        if !found.are_checked() {
            // The next proof tests it again.
            store.client.checks.forget_lacks();
            let text =
                "the store ignores If-Match or If-None-Match, so the ledger would lose changes";
            return Err(LedgerError::Unfit { why: text.to_owned() });
        }
        let time = store.client.clock().map_err(|error| failure(&error))?.unwrap_or_else(now);
        self.ahead.store(time.saturating_sub(now()), Ordering::Relaxed);
        self.is_proved.store(true, Ordering::Release);
        Ok(())
    }

    fn read(&self, name: &str) -> Result<LedgerAnswer, LedgerError> {
        self.prove()?;
        let found = self
            .inner()
            .client
            .get_small(&self.key(name), LONGEST)
            .map_err(|error| failure(&error))?;
        let own = now();
        let (version, content) = found
            .map(|(object, content)| {
                self.ahead.store(object.answered.saturating_sub(own), Ordering::Relaxed);
                (object.tag.into_bytes(), content)
            })
            .unzip();
        // For a missing object, `get_small` returns no time, so the last known difference is used.
        let time = own.saturating_add(self.ahead.load(Ordering::Relaxed));
        let time = Duration::from_secs(u64::try_from(time).unwrap_or(0));
        Ok(LedgerAnswer { content: content.unwrap_or_default(), version, time })
    }

    fn replace(
        &self,
        name: &str,
        version: Option<&[u8]>,
        content: &[u8],
    ) -> Result<bool, LedgerError> {
        let condition = match version {
            Some(tag) => Condition::Is(String::from_utf8_lossy(tag).into_owned()),
            None => Condition::New,
        };
        self.prove()?;
        let store = self.inner();
        let id = Inner::unique().map_err(|error| failure(&error))?;
        match store.client.put(&self.key(name), content, &condition, &id, store.checksums) {
            Ok(_) => Ok(true),
            Err(error) if error.is_precondition() || error.is_missing() => Ok(false),
            Err(error) => Err(failure(&error)),
        }
    }
}

fn failure(error: &S3Error) -> LedgerError {
    let text = error.to_string();
    match error {
        // The store received too many requests, or a request took too long.
        S3Error::Refused { status: 408 | 429, .. } => LedgerError::Away { why: text },
        S3Error::Refused { status: 400..500, .. } => LedgerError::Unfit { why: text },
        _ => LedgerError::Away { why: text },
    }
}
