//! A directory of users, and what the server remembers about it between logins.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, Weak};

use super::config::{Root, User};
use super::logging::LOG;
use super::own_files::OwnFiles;
use super::stores::Stores;
use super::user_storage::{self, Identity, UserStorage};
use super::values::shown_path;
use crate::lock::Lock;
use crate::storage::{ConfinementStatus, StorageResult, Tally};
use crate::{Capabilities, LocalConfig, Storage};

/// A place that users log in to or that is mounted in their trees: a directory, or objects of a
/// store.
pub(super) struct Home {
    root: Root,
    stores: Arc<Stores>,
    own: Arc<OwnFiles>,
    pub(super) config: LocalConfig,
    pub(super) role: Role,
    /// The directory that was last opened.
    found: Lock<Option<OpenedRoot>>,
    remembered: Remembered,
    /// Capabilities of the directory, once known.
    capabilities: OnceLock<Capabilities>,
    /// Whether users of the configuration have the home, which is then always remembered.
    is_listed: bool,
}

/// All homes, by root. Several homes of one root have different settings, and share what is known
/// about the root.
#[derive(Default)]
pub(super) struct Places {
    homes: Lock<BTreeMap<Root, Vec<Arc<Home>>>>,
    /// The object stores that roots name.
    stores: Arc<Stores>,
    /// The files of the server, which no root may contain.
    own: Arc<OwnFiles>,
}

/// Largest number of roots that are remembered although no session uses them. Roots of users of the
/// configuration do not count.
const MOST: usize = 1_000;

/// Largest number of homes with different settings that are remembered for one root, unless sessions
/// or users of the configuration use more.
const SETTINGS: usize = 16;

/// Directories in which users of `auth.program` may have stored files; at most [`MOST`].
static WRITTEN: Lock<BTreeSet<PathBuf>> = Lock::new(BTreeSet::new());

/// Returns the directories in which users of `auth.program` may have stored files.
pub(super) fn written() -> BTreeSet<PathBuf> {
    WRITTEN.lock().clone()
}

impl Places {
    pub(super) fn new(stores: Arc<Stores>, own: Arc<OwnFiles>) -> Self {
        Self { homes: Lock::default(), stores, own }
    }

    /// Notes where a user of `auth.program` may store files.
    pub(super) fn note_written(&self, user: &User) {
        let mut written = WRITTEN.lock();
        for path in user.written() {
            if written.len() < MOST {
                written.insert(path.to_owned());
            }
        }
    }

    /// Returns the home with this root and these settings. `is_listed` tells whether a user of the
    /// configuration has it.
    pub(super) fn home(
        &self,
        root: &Root,
        config: LocalConfig,
        role: Role,
        is_listed: bool,
    ) -> Arc<Home> {
        let mut all = self.homes.lock();
        let is_needed = |home: &Arc<Home>| home.is_listed || Arc::strong_count(home) > 1;
        if !is_listed && all.len() >= MOST && !all.contains_key(root) {
            all.retain(|_, homes| homes.iter().any(is_needed));
        }
        let there = all.entry(root.clone()).or_default();
        let mut same = there.iter().filter(|home| home.config == config && home.role == role);
        if let Some(home) = same.find(|home| home.is_listed || !is_listed) {
            return Arc::clone(home);
        }
        if !is_listed && there.len() >= SETTINGS {
            // The first home has counted the used space, so it is kept.
            let mut is_first = true;
            there.retain(|home| std::mem::take(&mut is_first) || is_needed(home));
        }
        let remembered = there.first().map(|home| Arc::clone(&home.remembered));
        let home = Arc::new(Home {
            root: root.clone(),
            stores: Arc::clone(&self.stores),
            own: Arc::clone(&self.own),
            config,
            role,
            found: Lock::default(),
            remembered: remembered.unwrap_or_default(),
            capabilities: OnceLock::new(),
            is_listed,
        });
        there.push(Arc::clone(&home));
        home
    }

    /// Returns all homes.
    pub(super) fn all(&self) -> Vec<Arc<Home>> {
        self.homes.lock().values().flatten().map(Arc::clone).collect()
    }
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
struct OpenedRoot {
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
type Remembered = Arc<Lock<Option<(Identity, Tally)>>>;

impl Home {
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

    /// Returns why no user may have this home: it leads to a file of the server.
    pub(super) fn objection(&self) -> Option<String> {
        self.own.objection(&self.root)
    }

    /// Creates the directory if it is missing and its role allows that.
    pub(super) fn make(&self) -> StorageResult<()> {
        if self.role == Role::MadeRoot
            && let Some(path) = self.root.directory().filter(|path| !path.exists())
            && user_storage::create(path)?
        {
            log::info!(target: LOG, "created {}", shown_path(path));
        }
        Ok(())
    }

    pub(super) fn open(&self) -> StorageResult<Open> {
        let identity = user_storage::identity(&self.root)?;
        let mut found = self.found.lock();
        // If the path now leads to another directory, drops what is known about the former one.
        drop(found.take_if(|found| found.identity != identity));
        if let Some(open) = found.as_ref().and_then(OpenedRoot::open) {
            return Ok(open);
        }
        let mut remembered = self.remembered.lock();
        drop(remembered.take_if(|(known, _)| *known != identity));
        let opened = user_storage::open(&self.root, self.config, &self.stores)?;
        let UserStorage { storage, walls, tally } = opened;
        let _ = self.capabilities.set(storage.capabilities());
        *remembered = tally.map(|tally| (identity, tally));
        *found = Some(OpenedRoot { identity, storage: Arc::downgrade(&storage), walls });
        Ok(Open { storage, walls })
    }
}

impl OpenedRoot {
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
    use crate::storage::{Keep, RoomFor};

    #[test]
    fn quota_usage_is_remembered_between_sessions_hp_23() {
        const QUOTA: u64 = 10_000;
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("home");
        fs::create_dir(&root).unwrap();
        fs::write(root.join("file"), [b'f'; 1_000]).unwrap();
        let place = Root::from(&*root);
        let places = Places::default();
        let home = |config| places.home(&place, config, Role::Root, true);
        let limited = home(LocalConfig::new().quota(QUOTA));
        let free = home(LocalConfig::default());
        let left = |home: &Home| {
            let storage = home.open().unwrap().storage;
            storage.space(&VirtualPath::root(), RoomFor::User).unwrap().bytes_left()
        };
        assert_eq!(left(&limited), Some(QUOTA - 1_000));
        // No session has the directory open. A second walk would find the new file.
        while limited.found.lock().as_ref().unwrap().storage.strong_count() > 0 {
            thread::yield_now();
        }
        fs::write(root.join("behind"), [b'b'; 500]).unwrap();
        assert_eq!(left(&limited), Some(QUOTA - 1_000));
        // Files of users without a limit count too.
        let path = VirtualPath::root().join(b"more");
        let storage = free.open().unwrap().storage;
        let mut upload = storage.write(&path, WriteMode::Create, Keep::Shared).unwrap();
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
