//! Files below one directory of this machine.
#![allow(missing_docs, dead_code, unused)]
use super::*;
pub struct LocalStorage;
#[derive(Clone, Copy, Debug, Eq, PartialEq, Default)]
pub enum SyncPolicy {
    None,
    #[default]
    File,
    FileAndDirectory,
}
impl LocalStorage {
    pub fn open(root: impl AsRef<std::path::Path>) -> Result<Self, StorageError> {
        Ok(Self)
    }
    pub fn with_sync(self, sync: SyncPolicy) -> Self {
        self
    }
}
impl Storage for LocalStorage {
    fn stat(&self, path: &VirtualPath) -> Result<Metadata, StorageError> {
        Err(StorageErrorKind::NotFound.into())
    }
    fn list(&self, path: &VirtualPath) -> Result<Entries, StorageError> {
        Err(StorageErrorKind::NotFound.into())
    }
    fn read(&self, path: &VirtualPath) -> Result<Box<dyn Source>, StorageError> {
        Err(StorageErrorKind::NotFound.into())
    }
    fn write(&self, path: &VirtualPath, mode: WriteMode) -> Result<Box<dyn Upload>, StorageError> {
        Err(StorageErrorKind::NotFound.into())
    }
    fn remove(&self, path: &VirtualPath) -> Result<(), StorageError> {
        Err(StorageErrorKind::NotFound.into())
    }
    fn rmdir(&self, path: &VirtualPath) -> Result<(), StorageError> {
        Err(StorageErrorKind::NotFound.into())
    }
    fn mkdir(&self, path: &VirtualPath) -> Result<(), StorageError> {
        Err(StorageErrorKind::NotFound.into())
    }
    fn rename(
        &self,
        from: &VirtualPath,
        to: &VirtualPath,
        replace: bool,
    ) -> Result<(), StorageError> {
        Err(StorageErrorKind::NotFound.into())
    }
}
