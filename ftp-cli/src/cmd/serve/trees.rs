//! The directories of each user: the root, and the others mounted into its tree.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ftp_proto::Escaped;
use ftp_server::{LocalConfig, Login, MountedStorage, Rights, Storage, StorageError, VirtualPath};

use super::logging::LOG;
use super::settings::{Expiry, MountPoint, User};
use super::users::{Home, Role};
use crate::display::shown_path;

/// The directories of a user.
pub(super) struct Tree {
    pub(super) root: Arc<Home>,
    /// Those with a longer path come first.
    mounts: Vec<Mount>,
}

/// A directory that is mounted into a tree.
#[derive(Clone)]
pub(super) struct Mount {
    pub(super) path: VirtualPath,
    pub(super) home: Arc<Home>,
}

impl Tree {
    pub(super) fn new(root: Arc<Home>, mut mounts: Vec<Mount>) -> Self {
        mounts.sort_by_key(|mount| std::cmp::Reverse(mount.path.as_bytes().len()));
        Self { root, mounts }
    }

    /// Returns the directories of a user: the root, and those mounted into the tree. Only the root
    /// has a quota. `home` finds each of them.
    pub(super) fn of(
        user: &User,
        of_all: LocalConfig,
        mut home: impl FnMut(&Path, LocalConfig, Rights, Role) -> Arc<Home>,
    ) -> Arc<Self> {
        let config = of_all.with(|config| {
            config.quota = user.quota;
            config.max_files = user.max_files;
            config.umask = user.umask.unwrap_or(config.umask);
            config.partial = user.partial.unwrap_or(config.partial);
            config.sync = user.sync.unwrap_or(config.sync);
        });
        let role = if user.create_home { Role::MadeRoot } else { Role::Root };
        let root = home(&user.root, config, user.all_rights(), role);
        let config = config.with(|config| {
            config.quota = 0;
            config.max_files = 0;
        });
        let mounts = user.mounts.iter().map(|MountPoint { path, directory }| {
            let home = home(directory, config, user.rights_below(path), Role::Mounted);
            Mount { path: path.clone(), home }
        });
        Arc::new(Self::new(root, mounts.collect()))
    }

    /// Returns the login of the user, whose directories are opened later.
    pub(super) fn login(&self, user: &User) -> Login {
        let mut login = self
            .root
            .login(user.rights)
            .tls(user.tls)
            .mkdir_parents(user.mkdir_parents)
            .mkdir_existing_ok(user.mkdir_existing_ok)
            .limits(user.limits)
            .enabled(user.enabled)
            .networks(user.networks.clone());
        login.expires = user.expires.map(Expiry::end);
        login.idle = user.idle_timeout;
        login.overwrite = user.overwrite;
        login.directories.clone_from(&user.directories);
        login
    }

    /// Returns the tree with another root.
    pub(super) fn with_root(&self, root: Arc<Home>) -> Self {
        Self { root, mounts: self.mounts.clone() }
    }

    /// Returns the path on disk of a file of the tree.
    pub(super) fn local_path(&self, path: &VirtualPath) -> PathBuf {
        let within = |mount: &Mount| {
            let below = path.relative_to(&mount.path)?;
            Some(mount.home.path.join(OsStr::from_bytes(below.relative())))
        };
        let mounted = self.mounts.iter().find_map(within);
        mounted.unwrap_or_else(|| self.root.path.join(OsStr::from_bytes(path.relative())))
    }

    /// Returns the tree of an open root, for a login of `user`. A directory that cannot be opened
    /// is unavailable in this session, and logged.
    ///
    /// # Errors
    ///
    /// Returns an error if a mount point is invalid.
    pub(super) fn storage(
        &self,
        root: Arc<dyn Storage>,
        user: &[u8],
    ) -> Result<Arc<dyn Storage>, StorageError> {
        if self.mounts.is_empty() {
            return Ok(root);
        }
        let mut tree = MountedStorage::new(root);
        for Mount { path, home } in &self.mounts {
            tree = match home.open() {
                Ok(open) => tree.mount(path, open.storage)?,
                Err(error) => {
                    let user = Escaped(user);
                    let shown = shown_path(&home.path);
                    let why = reason(&error);
                    log::error!(target: LOG, "{user}: {path} is unavailable: {shown}: {why}");
                    tree.unavailable(path)?
                }
            };
        }
        Ok(Arc::new(tree))
    }
}

/// Returns why a directory cannot be opened: in the system's words, if it has said so.
pub(super) fn reason(error: &StorageError) -> String {
    error.source.as_ref().map_or_else(|| error.to_string(), ToString::to_string)
}
