//! Opens the storage of a user, as `root` in the settings names it: today a local directory. For
//! another kind of storage, only these functions need another branch.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use ftp_server::{ConfinementStatus, LocalConfig, LocalStorage, Storage, StorageError, Tally};

/// Device and inode, and the creation time if the file system records it: a new directory can get
/// the inode of a removed one.
pub(super) type Identity = (u64, u64, Option<SystemTime>);

/// An open storage.
pub(super) struct UserStorage {
    pub(super) storage: Arc<dyn Storage>,
    /// The mechanisms that confine sessions to the root.
    pub(super) walls: ConfinementStatus,
    /// The used bytes for a quota, kept while no session has the storage open.
    pub(super) tally: Tally,
}

/// Returns the identity of the present root: another directory may have its path by now.
pub(super) fn identity(root: &Path) -> Result<Identity, StorageError> {
    let metadata = fs::metadata(root)?;
    Ok((metadata.dev(), metadata.ino(), metadata.created().ok()))
}

/// Makes the root if it is missing, for the server's user alone. Returns whether it was missing.
///
/// Only the last directory is made, and a symbolic link in its place is not followed.
pub(super) fn create(root: &Path) -> Result<bool, StorageError> {
    match fs::DirBuilder::new().mode(0o700).create(root) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn open(root: &Path, config: LocalConfig) -> Result<UserStorage, StorageError> {
    let local = LocalStorage::open(root)?.configured(config)?;
    Ok(UserStorage {
        walls: local.confinement_status(),
        tally: local.tally(),
        storage: Arc::new(local),
    })
}

/// Removes abandoned files of uploads. A root that cannot be opened is skipped: the start or the
/// login reports it.
pub(super) fn tidy_up(root: &Path) {
    if let Ok(local) = LocalStorage::open(root) {
        local.tidy_up();
    }
}
