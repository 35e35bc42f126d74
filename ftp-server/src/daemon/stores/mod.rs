//! The stores of the configuration: object stores, and those whose kind the program has added.

#[cfg(all(feature = "s3", feature = "redis"))]
mod s3;

use std::collections::BTreeMap;
use std::sync::Arc;

use self::s3::ObjectStores;
use super::check::Findings;
use super::config::{Objects, Settings, StoreSettings, key_of_store};
use super::store_kind::OpenStore;
use crate::daemon::{DaemonError, DaemonErrorKind};
use crate::storage::StorageResult;
use crate::{LocalConfig, SharedState, Storage, StorageErrorKind};

/// The stores by name, and the ledger.
#[derive(Default)]
pub(super) struct Stores {
    objects: ObjectStores,
    own: BTreeMap<String, (StoreSettings, Arc<dyn OpenStore>)>,
}

impl Stores {
    /// Opens the stores. Those of `former` whose values have not changed stay open.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`ObjectStores::open`], and `Local` if another store cannot be opened.
    pub(super) fn open(
        settings: &Settings,
        former: Option<&Self>,
    ) -> Result<Arc<Self>, DaemonError> {
        let mut own = BTreeMap::new();
        for (name, store) in settings.stores.iter().filter(|(_, store)| store.is_own()) {
            let known = former.and_then(|former| former.own.get(name));
            let open = match known.filter(|(known, _)| known.is_same(store)) {
                Some((_, open)) => Arc::clone(open),
                None => open(settings, name)?,
            };
            own.insert(name.clone(), (store.clone(), open));
        }
        let objects = ObjectStores::open(settings, former.map(|former| &former.objects))?;
        Ok(Arc::new(Self { objects, own }))
    }

    pub(super) fn shared_state(&self) -> Result<Option<SharedState>, DaemonError> {
        self.objects.shared_state()
    }

    /// Gives changed keys to the object stores that `former` already had.
    pub(super) fn use_keys(&self, former: &Self) {
        self.objects.use_keys(&former.objects);
    }

    fn own(&self, objects: &Objects) -> Option<&dyn OpenStore> {
        let mut found = self.own.iter().filter(|(name, _)| objects.is_in(name, ""));
        found.next().map(|(_, (_, open))| &**open)
    }

    /// Returns whether each login has a storage of its own there.
    pub(super) fn is_personal(&self, objects: &Objects) -> bool {
        self.own(objects).is_some_and(OpenStore::is_personal)
    }

    /// Returns the files of a root as a storage. Of `config`, only the confinement, the handling of
    /// partial uploads and the limits apply. `login` has the name and the password of a login, for
    /// stores that [need](Self::is_personal) them.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`ObjectStores::storage`] and [`OpenStore::storage`].
    pub(super) fn storage(
        &self,
        objects: &Objects,
        config: LocalConfig,
        login: Option<(&[u8], &[u8])>,
    ) -> StorageResult<Arc<dyn Storage>> {
        let Some(own) = self.own(objects) else { return self.objects.storage(objects, config) };
        // Nothing counts what is there.
        if config.quota > 0 || config.max_files > 0 {
            return Err(StorageErrorKind::Denied.into());
        }
        own.storage(&objects.prefix, login)
    }

    /// Returns a warning for each token that the current user of the process cannot read.
    pub(super) fn unreadable_tokens(&self) -> Vec<String> {
        self.objects.unreadable_tokens()
    }

    /// Tests all stores for `--check`.
    pub(super) fn check(&self, findings: &mut Findings) {
        self.objects.check(findings);
        for (name, (_, open)) in &self.own {
            let key = key_of_store(name, "");
            match open.check() {
                Ok(lines) => {
                    lines.iter().for_each(|line| findings.ok(format_args!("{key}: {line}")));
                }
                Err(why) => findings.fail(DaemonErrorKind::Network, format_args!("{key}: {why}")),
            }
        }
    }
}

fn open(settings: &Settings, name: &str) -> Result<Arc<dyn OpenStore>, DaemonError> {
    let failed =
        |kind, why: String| DaemonError::new(kind, format!("{}: {why}", key_of_store(name, "")));
    let Some((kind, values)) = settings.values_of_store(name) else {
        return Err(failed(DaemonErrorKind::Configuration, "invalid values".to_owned()));
    };
    kind.open(&values).map_err(|why| failed(DaemonErrorKind::Local, why))
}

/// Stands in for object stores in builds without the feature `s3`. Such a build refuses every
/// configuration that names a store.
#[cfg(not(all(feature = "s3", feature = "redis")))]
mod s3 {
    use std::sync::Arc;

    use crate::daemon::DaemonError;
    use crate::daemon::check::Findings;
    use crate::daemon::config::{Objects, Settings};
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

        pub(in crate::daemon) fn check(&self, _findings: &mut Findings) {}
    }
}
