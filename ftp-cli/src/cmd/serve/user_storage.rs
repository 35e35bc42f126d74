//! Which storage a user works on, by the `root` of the settings: today a local directory. Another
//! kind of storage is another branch of these functions, and nothing else of `serve` has to know.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use ftp_server::{ConfinementStatus, LocalConfig, LocalStorage, Storage, StorageError, Tally};

/// Device and inode, and when it was made, if the file system knows: what is made again may get the
/// inode of what was removed.
pub(super) type Identity = (u64, u64, Option<SystemTime>);

/// An open storage.
pub(super) struct UserStorage {
    pub(super) storage: Arc<dyn Storage>,
    /// What keeps sessions inside.
    pub(super) walls: ConfinementStatus,
    /// What is in use, for a quota, while nobody has the storage open.
    pub(super) tally: Tally,
}

/// Which object the root is at the moment: another directory may have got its path.
pub(super) fn identity(root: &Path) -> Result<Identity, StorageError> {
    let metadata = fs::metadata(root)?;
    Ok((metadata.dev(), metadata.ino(), metadata.created().ok()))
}

pub(super) fn open(root: &Path, config: LocalConfig) -> Result<UserStorage, StorageError> {
    let local = LocalStorage::open(root)?.configured(config)?;
    Ok(UserStorage {
        walls: local.confinement_status(),
        tally: local.tally(),
        storage: Arc::new(local),
    })
}

/// Removes what uploads have left that nobody resumes. A root that cannot be opened is left out:
/// the start or the login tells of it.
pub(super) fn tidy_up(root: &Path) {
    if let Ok(local) = LocalStorage::open(root) {
        local.tidy_up();
    }
}
