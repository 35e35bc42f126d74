//! Stands in for object stores in builds without the feature `s3`. Such a build refuses every
//! configuration that names a store.

use std::sync::Arc;

use ftp_server::{LocalConfig, SharedState, Storage, StorageError, StorageErrorKind};

use super::findings::Findings;
use super::settings::{Objects, Settings};
use crate::exit::Failure;

/// The empty set of stores.
#[derive(Default)]
pub(super) struct Stores(());

impl Stores {
    /// Returns no stores.
    ///
    /// # Errors
    ///
    /// Never fails.
    pub(super) fn open(_settings: &Settings, _former: &Self) -> Result<Arc<Self>, Failure> {
        Ok(Arc::new(Self(())))
    }

    /// Does nothing.
    pub(super) fn use_keys(&self, _former: &Self) {}

    /// Returns no stores.
    ///
    /// # Errors
    ///
    /// Never fails.
    pub(super) fn start(_settings: &Settings) -> Result<Arc<Self>, Failure> {
        Ok(Arc::new(Self(())))
    }

    /// Returns `None`, because this build has no ledger.
    ///
    /// # Errors
    ///
    /// Never fails.
    pub(super) fn shared_state(&self) -> Result<Option<SharedState>, Failure> {
        Ok(None)
    }

    /// Fails, because this build has no stores.
    ///
    /// # Errors
    ///
    /// Always returns `Unsupported`.
    pub(super) fn storage(
        &self,
        _objects: &Objects,
        _config: LocalConfig,
    ) -> Result<Arc<dyn Storage>, StorageError> {
        Err(StorageErrorKind::Unsupported.into())
    }

    /// Returns no warnings.
    pub(super) const fn unreadable_tokens(&self) -> Vec<String> {
        Vec::new()
    }

    /// Checks nothing.
    pub(super) fn check(&self, _findings: &mut Findings) {}
}
