//! The confinement of sessions to a root.

use std::sync::OnceLock;

use super::root::Root;
use crate::storage::{Confinement, StorageError, StorageErrorKind};

/// The confinement to one root. The ruleset, which occupies a file descriptor, is created only when
/// a session first needs it. Sessions of a [`MountedStorage`](crate::MountedStorage) do not need
/// it: they are confined to several roots at once.
#[derive(Debug)]
pub(super) struct RootConfinement {
    abi: u8,
    made: OnceLock<Confinement>,
}

impl RootConfinement {
    /// Returns the confinement to `root`, after checking that the system supports it.
    ///
    /// # Errors
    ///
    /// Returns `Unsupported` if the system does not support confinement, or `Io` if the check fails
    /// for another reason.
    pub(super) fn of(root: &Root) -> Result<Self, StorageError> {
        let confinement = Confinement::beneath(root)?;
        Ok(Self { abi: confinement.abi(), made: OnceLock::new() })
    }

    /// Returns the confinement to `root`, or `None` if the system does not support it.
    ///
    /// # Errors
    ///
    /// Returns `Io` if the system supports confinement, but the check fails.
    pub(super) fn if_any(root: &Root) -> Result<Option<Self>, StorageError> {
        match Self::of(root) {
            Err(StorageError { kind: StorageErrorKind::Unsupported, .. }) => Ok(None),
            made => made.map(Some),
        }
    }

    /// Returns the version of the Landlock ABI in use.
    pub(super) const fn abi(&self) -> u8 {
        self.abi
    }

    /// Confines the calling thread to `root`, which must be the same root in each call.
    ///
    /// # Errors
    ///
    /// Returns `Io` or `Denied` if the thread cannot be confined.
    pub(super) fn enter(&self, root: &Root) -> Result<(), StorageError> {
        if let Some(confinement) = self.made.get() {
            return confinement.enter();
        }
        let confinement = Confinement::beneath(root)?;
        confinement.enter()?;
        // If another session was faster, its ruleset stays.
        let _ = self.made.set(confinement);
        Ok(())
    }
}
