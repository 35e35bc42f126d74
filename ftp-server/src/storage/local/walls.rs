//! The confinement of sessions to a root.

use std::sync::OnceLock;

use super::root::Root;
use crate::storage::{Confinement, StorageError, StorageErrorKind};

/// The confinement to one root. Its ruleset, which takes a descriptor, is created for the first
/// session that needs it: a [`MountedStorage`](crate::MountedStorage) confines its sessions to all
/// of its roots at once.
#[derive(Debug)]
pub(super) struct Walls {
    abi: u8,
    made: OnceLock<Confinement>,
}

impl Walls {
    /// Checks that the system can confine threads to the root.
    ///
    /// # Errors
    ///
    /// Returns `Unsupported` if it cannot, and `Io` for other refusals.
    pub(super) fn of(root: &Root) -> Result<Self, StorageError> {
        let confinement = Confinement::beneath(root)?;
        Ok(Self { abi: confinement.abi(), made: OnceLock::new() })
    }

    /// Returns the confinement, or `None` on a system without it.
    ///
    /// # Errors
    ///
    /// Returns `Io` for other refusals.
    pub(super) fn if_any(root: &Root) -> Result<Option<Self>, StorageError> {
        match Self::of(root) {
            Err(StorageError { kind: StorageErrorKind::Unsupported, .. }) => Ok(None),
            made => made.map(Some),
        }
    }

    /// Returns the version of Landlock whose rights are checked.
    pub(super) const fn abi(&self) -> u8 {
        self.abi
    }

    /// Confines the calling thread to the root, which is always the same.
    ///
    /// # Errors
    ///
    /// Returns `Io` or `Denied` if the thread is not confined.
    pub(super) fn enter(&self, root: &Root) -> Result<(), StorageError> {
        if let Some(confinement) = self.made.get() {
            return confinement.enter();
        }
        let confinement = Confinement::beneath(root)?;
        confinement.enter()?;
        // Another session may have been faster; its ruleset stays then.
        let _ = self.made.set(confinement);
        Ok(())
    }
}
