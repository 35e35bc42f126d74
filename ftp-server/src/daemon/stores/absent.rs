//! Stands in for object stores in builds without the feature `s3`. Such a build refuses every
//! configuration that names a store.

use std::sync::Arc;

use super::super::check::Findings;
use super::super::config::{Objects, Settings};
use crate::daemon::DaemonError;
use crate::storage::StorageResult;
use crate::{LocalConfig, SharedState, Storage, StorageErrorKind};

/// The empty set of stores.
#[derive(Default)]
pub(in crate::daemon) struct ObjectStores(());

impl ObjectStores {
    /// Returns no stores.
    ///
    /// # Errors
    ///
    /// Never fails.
    pub(in crate::daemon) fn open(
        _settings: &Settings,
        _former: Option<&Self>,
    ) -> Result<Self, DaemonError> {
        Ok(Self(()))
    }

    /// Does nothing.
    pub(in crate::daemon) fn use_keys(&self, _former: &Self) {}

    /// Returns `None`, because this build has no ledger.
    ///
    /// # Errors
    ///
    /// Never fails.
    pub(in crate::daemon) fn shared_state(&self) -> Result<Option<SharedState>, DaemonError> {
        Ok(None)
    }

    /// Fails, because this build has no stores.
    ///
    /// # Errors
    ///
    /// Always returns `Unsupported`.
    pub(in crate::daemon) fn storage(
        &self,
        _objects: &Objects,
        _config: LocalConfig,
    ) -> StorageResult<Arc<dyn Storage>> {
        Err(StorageErrorKind::Unsupported.into())
    }

    /// Returns no warnings.
    pub(in crate::daemon) const fn unreadable_tokens(&self) -> Vec<String> {
        Vec::new()
    }

    /// Checks nothing.
    pub(in crate::daemon) fn check(&self, _findings: &mut Findings) {}
}
