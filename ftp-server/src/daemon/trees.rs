//! The roots of each user: the root that the user sees as `/`, and the roots that are mounted into
//! the user's tree.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use ftp_proto::Escaped;

use super::config::{MountPoint, Root, User};
use super::home::{Home, Role};
use super::logging::LOG;
use super::privileges::{FileGroup, FileOwner};
use crate::storage::StorageResult;
use crate::{LocalConfig, MountedStorage, Storage, StorageError, VirtualPath};

/// The directories of a user.
pub(super) struct UserTree {
    pub(super) root: Arc<Home>,
    /// Mounts, those with a longer path first.
    mounts: Vec<MountedHome>,
}

/// A directory that is mounted into a tree.
struct MountedHome {
    path: VirtualPath,
    home: Arc<Home>,
}

impl UserTree {
    /// Returns the directories of a user: the root, and those mounted into the tree. Only the root
    /// has a quota. `home` returns the home of a root.
    pub(super) fn of(
        user: &User,
        of_all: LocalConfig,
        home: impl Fn(&Root, LocalConfig, Role) -> Arc<Home>,
    ) -> Self {
        let config = of_all
            .quota(user.quota)
            .max_files(user.max_files)
            .umask(user.umask.unwrap_or(of_all.umask))
            .owner(user.owner.as_ref().map(FileOwner::id))
            .group(user.group.as_ref().map(FileGroup::id))
            .file_mode(user.file_mode)
            .directory_mode(user.directory_mode)
            .partial(user.partial.unwrap_or(of_all.partial))
            .sync(user.sync.unwrap_or(of_all.sync));
        let role = if user.create_home { Role::MadeRoot } else { Role::Root };
        let root = home(&user.root, config, role);
        let config = config.quota(0).max_files(0);
        let mounts = user.mounts.iter().map(|MountPoint { path, root }| MountedHome {
            path: path.clone(),
            home: home(root, config, Role::Mounted),
        });
        let mut mounts: Vec<MountedHome> = mounts.collect();
        mounts.sort_unstable_by_key(|mount| std::cmp::Reverse(mount.path.as_bytes().len()));
        Self { root, mounts }
    }

    /// Returns the path on disk of a file in the tree, or `None` for an object of a store.
    pub(super) fn local_path(&self, path: &VirtualPath) -> Option<PathBuf> {
        let mut mounts = self.mounts.iter();
        let mounted = mounts.find_map(|mount| Some((&mount.home, path.relative_to(&mount.path)?)));
        let (home, below) = mounted.unwrap_or_else(|| (&self.root, path.clone()));
        Some(home.root().directory()?.join(OsStr::from_bytes(below.relative())))
    }

    /// Returns why no user may have this tree: one of its directories leads to a file of the server.
    /// Checked at each login, because links and login programs can change what a root is.
    pub(super) fn objection(&self) -> Option<String> {
        let mounted = self.mounts.iter().map(|mount| &mount.home);
        [&self.root].into_iter().chain(mounted).find_map(|home| home.objection())
    }

    /// Opens the tree for a login of `user`. A mounted directory that cannot be opened is logged,
    /// and is unavailable in this session.
    ///
    /// # Errors
    ///
    /// Returns an error if the root cannot be created or opened, or if a mount point is invalid.
    pub(super) fn open(&self, user: &[u8]) -> StorageResult<Arc<dyn Storage>> {
        self.root.make()?;
        let root = self.root.open()?.storage;
        if self.mounts.is_empty() {
            return Ok(root);
        }
        let mut tree = MountedStorage::new(root);
        for MountedHome { path, home } in &self.mounts {
            tree = match home.open() {
                Ok(open) => tree.mount(path, open.storage)?,
                Err(error) => {
                    let user = Escaped(user);
                    let shown = home.shown();
                    let why = reason(&error);
                    log::error!(target: LOG, "{user}: {path} is unavailable: {shown}: {why}");
                    tree.unavailable(path)?
                }
            };
        }
        Ok(Arc::new(tree))
    }
}

/// Returns why a directory cannot be opened: the system's message, or else the text of the error.
pub(super) fn reason(error: &StorageError) -> String {
    error.source.as_ref().map_or_else(|| error.to_string(), ToString::to_string)
}
