//! Opens the storage that `root` in the settings names: a local directory, or objects of a store.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use super::config::Root;
use super::stores::Stores;
use crate::daemon::values::in_full;
use crate::storage::{ConfinementStatus, StorageResult, Tally};
use crate::{LocalConfig, LocalStorage, Storage};

/// Device and inode, and the creation time if the file system records it: a new directory can get
/// the inode of a removed one.
pub(super) type Identity = (u64, u64, Option<SystemTime>);

/// An open storage.
pub(super) struct UserStorage {
    pub(super) storage: Arc<dyn Storage>,
    /// The mechanisms that confine sessions to a directory.
    pub(super) walls: Option<ConfinementStatus>,
    /// The used space for quotas, which is kept while no session has the storage open.
    pub(super) tally: Option<Tally>,
}

/// Returns the identity of the directory that has the root's path now. All objects of stores have
/// the same identity.
pub(super) fn identity(root: &Root) -> StorageResult<Identity> {
    let Some(directory) = root.directory() else { return Ok((0, 0, None)) };
    let metadata = fs::metadata(directory)?;
    Ok((metadata.dev(), metadata.ino(), metadata.created().ok()))
}

/// Creates the root if it is missing, accessible only to the server's user. Returns whether the
/// root was missing.
///
/// Creates only the last directory of the path, and does not follow a symbolic link in its place.
pub(super) fn create(root: &Path) -> StorageResult<bool> {
    match fs::DirBuilder::new().mode(0o700).create(root) {
        Ok(()) => {
            sync_name(root)?;
            Ok(true)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Syncs the name of a new directory: otherwise, a power cut could remove it with the first uploads,
/// which are synced and confirmed.
fn sync_name(directory: &Path) -> io::Result<()> {
    let parent = directory.parent().unwrap_or(directory);
    match File::open(parent) {
        Ok(parent) => parent.sync_all(),
        // The server may create directories there, but not read the parent.
        Err(_) => Ok(rustix::fs::syncfs(File::open(directory)?)?),
    }
}

pub(super) fn open(
    root: &Root,
    config: LocalConfig,
    stores: &Stores,
) -> StorageResult<UserStorage> {
    let local = match root {
        Root::Directory(path) => LocalStorage::open(path)?.configured(config)?,
        Root::Objects(objects) => {
            let storage = stores.storage(objects, config)?;
            return Ok(UserStorage { storage, walls: None, tally: None });
        }
    };
    Ok(UserStorage {
        walls: Some(local.confinement_status()),
        tally: Some(local.tally()),
        storage: Arc::new(local),
    })
}

/// Returns why no session can be confined as the settings require, whatever its root.
pub(super) fn lack_of_walls(config: LocalConfig) -> Option<String> {
    let tried = LocalStorage::open("/").and_then(|root| root.configured(config));
    tried.err().map(|error| in_full(&error))
}

/// Removes abandoned partial uploads. Skips a root that cannot be opened; the start or the login
/// reports it. Returns whether the whole tree could be read.
pub(super) fn tidy_up(root: &Path) -> bool {
    LocalStorage::open(root).is_ok_and(|local| local.tidy_up())
}
