//! The storage of a user before the login; the login opens the directory.

use std::sync::Arc;

use crate::{
    Capabilities, Entries, Metadata, Source, Storage, StorageError, StorageErrorKind, Upload,
    VirtualPath, WriteMode,
};

use super::home::Home;

pub(super) struct Unopened(pub(super) Arc<Home>);

impl Storage for Unopened {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities().unwrap_or(Capabilities::NONE)
    }

    fn stat(&self, _path: &VirtualPath) -> Result<Metadata, StorageError> {
        Err(StorageErrorKind::NotFound.into())
    }

    fn list(&self, _path: &VirtualPath) -> Result<Entries, StorageError> {
        Err(StorageErrorKind::NotFound.into())
    }

    fn read(&self, _path: &VirtualPath) -> Result<Box<dyn Source>, StorageError> {
        Err(StorageErrorKind::NotFound.into())
    }

    fn write(
        &self,
        _path: &VirtualPath,
        _mode: WriteMode,
    ) -> Result<Box<dyn Upload>, StorageError> {
        Err(StorageErrorKind::NotFound.into())
    }
}
