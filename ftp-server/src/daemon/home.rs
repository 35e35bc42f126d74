//! A directory of users, and what the server remembers about it between logins.

use std::sync::{Arc, Mutex, OnceLock, Weak};

use crate::{
    Capabilities, ConfinementStatus, LocalConfig, Login, Rights, Storage, StorageError, Tally,
};

use super::config::Root;
use super::logging::LOG;
use super::stores::Stores;
use super::unopened::Unopened;
use super::user_storage::{self, Identity, UserStorage};
use crate::daemon::values::shown_path;
use crate::lock::unpoisoned;

/// A place that users log in to or that is mounted in their trees: a directory, or objects of a
/// store.
pub(super) struct Home {
    root: Root,
    stores: Arc<Stores>,
    pub(super) config: LocalConfig,
    pub(super) role: Role,
    /// The directory that was last opened.
    found: Mutex<Option<Found>>,
    remembered: Remembered,
    /// Capabilities of the directory, once known.
    capabilities: OnceLock<Capabilities>,
}

/// The use of a directory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Role {
    /// The root of users.
    Root,
    /// A root that is created at login if it is missing.
    MadeRoot,
    /// A directory mounted into the trees of users.
    Mounted,
}

/// An opened directory.
struct Found {
    identity: Identity,
    /// The storage, while it is open.
    storage: Weak<dyn Storage>,
    walls: Option<ConfinementStatus>,
}

/// A directory that is open.
pub(super) struct Open {
    pub(super) storage: Arc<dyn Storage>,
    /// The mechanisms that confine sessions to a directory.
    pub(super) walls: Option<ConfinementStatus>,
}

/// Used space of a directory for quotas, and its interrupted uploads. Both are kept between logins,
/// because otherwise each login would walk the directory first. All homes of one root share them.
type Remembered = Arc<Mutex<Option<(Identity, Tally)>>>;

impl Home {
    /// Returns whether the home has these settings.
    pub(super) fn is_like(&self, config: LocalConfig, role: Role) -> bool {
        self.config == config && self.role == role
    }

    /// Returns the home with these settings from `there` or `others`, which all have the same root.
    /// If no home has these settings, adds a new one to `there`.
    pub(super) fn among(
        there: &mut Vec<Arc<Self>>,
        others: &[Arc<Self>],
        stores: &Arc<Stores>,
        root: &Root,
        config: LocalConfig,
        role: Role,
    ) -> Arc<Self> {
        let mut all = others.iter().chain(there.iter());
        if let Some(home) = all.find(|home| home.is_like(config, role)) {
            return Arc::clone(home);
        }
        let known = others.first().or(there.first());
        let remembered = known.map_or_else(Default::default, |home| Arc::clone(&home.remembered));
        let (found, capabilities) = Default::default();
        let (root, stores) = (root.clone(), Arc::clone(stores));
        let home = Arc::new(Self { root, stores, config, role, found, remembered, capabilities });
        there.push(Arc::clone(&home));
        home
    }

    pub(super) fn root(&self) -> &Root {
        &self.root
    }

    /// Returns the root for messages.
    pub(super) fn shown(&self) -> String {
        self.root.shown()
    }

    /// Returns the capabilities of the directory, if they are known already.
    pub(super) fn capabilities(&self) -> Option<Capabilities> {
        self.capabilities.get().copied()
    }

    /// Returns a login whose directory is opened later.
    pub(super) fn login(self: &Arc<Self>, rights: Rights) -> Login {
        Login::new(Arc::new(Unopened(Arc::clone(self))), rights)
    }

    /// Creates the directory if it is missing and its role allows that.
    pub(super) fn make(&self) -> Result<(), StorageError> {
        if self.role == Role::MadeRoot
            && let Some(path) = self.root.directory().filter(|path| !path.exists())
            && user_storage::create(path)?
        {
            log::info!(target: LOG, "created {}", shown_path(path));
        }
        Ok(())
    }

    pub(super) fn open(&self) -> Result<Open, StorageError> {
        let identity = user_storage::identity(&self.root)?;
        let mut found = unpoisoned(self.found.lock());
        // If the path now leads to another directory, drops what is known about the former one.
        drop(found.take_if(|found| found.identity != identity));
        if let Some(open) = found.as_ref().and_then(Found::open) {
            return Ok(open);
        }
        let mut remembered = unpoisoned(self.remembered.lock());
        drop(remembered.take_if(|(known, _)| *known != identity));
        let opened = user_storage::open(&self.root, self.config, &self.stores)?;
        let UserStorage { storage, walls, tally } = opened;
        let _ = self.capabilities.set(storage.capabilities());
        *remembered = tally.map(|tally| (identity, tally));
        *found = Some(Found { identity, storage: Arc::downgrade(&storage), walls });
        Ok(Open { storage, walls })
    }
}

impl Found {
    fn open(&self) -> Option<Open> {
        Some(Open { storage: self.storage.upgrade()?, walls: self.walls })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::thread;

    use crate::{VirtualPath, WriteMode};

    use super::*;

    #[test]
    fn quota_usage_is_remembered_between_sessions_hp_23() {
        const QUOTA: u64 = 10_000;
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("home");
        fs::create_dir(&root).unwrap();
        fs::write(root.join("file"), [b'f'; 1_000]).unwrap();
        let place = Root::from(&*root);
        let (mut there, stores) = (Vec::new(), Arc::default());
        let mut home = |config| Home::among(&mut there, &[], &stores, &place, config, Role::Root);
        let limited = home(LocalConfig::default().with(|config| config.quota = QUOTA));
        let free = home(LocalConfig::default());
        let left = |home: &Home| {
            let quota = home.open().unwrap().storage.quota(&VirtualPath::root());
            quota.unwrap().unwrap().bytes_left()
        };
        assert_eq!(left(&limited), Some(QUOTA - 1_000));
        // No session has the directory open. A second walk would find the new file.
        while limited.found.lock().unwrap().as_ref().unwrap().storage.strong_count() > 0 {
            thread::yield_now();
        }
        fs::write(root.join("behind"), [b'b'; 500]).unwrap();
        assert_eq!(left(&limited), Some(QUOTA - 1_000));
        // Files of users without a limit count too.
        let path = VirtualPath::root().join(b"more");
        let storage = free.open().unwrap().storage;
        let mut upload = storage.write(&path, WriteMode::Create).unwrap();
        upload.write_all(&[b'm'; 70]).unwrap();
        upload.commit().unwrap();
        drop(storage);
        assert_eq!(left(&limited), Some(QUOTA - 1_070));
        // Another directory now has the path, perhaps with the inode of the first.
        fs::remove_dir_all(&root).unwrap();
        fs::create_dir(&root).unwrap();
        assert_eq!(left(&limited), Some(QUOTA));
    }
}
