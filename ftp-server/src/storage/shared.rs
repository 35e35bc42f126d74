//! A storage in an `Arc`.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use super::{
    Capabilities, Change, Entries, Keep, Metadata, Quota, RoomFor, Source, Storage, StorageError,
    Unfinished, Upload, VirtualPath, WriteMode,
};

/// Forwards every call to the inner storage, so that you can keep a handle to it.
impl<T: Storage + ?Sized> Storage for Arc<T> {
    fn capabilities(&self) -> Capabilities {
        (**self).capabilities()
    }

    fn is_remote(&self) -> bool {
        (**self).is_remote()
    }

    fn enter(&self) -> Result<(), StorageError> {
        (**self).enter()
    }

    fn confinement_roots(&self) -> Option<Vec<BorrowedFd<'_>>> {
        (**self).confinement_roots()
    }

    fn stat(&self, path: &VirtualPath) -> Result<Metadata, StorageError> {
        (**self).stat(path)
    }

    fn check_directory(&self, path: &VirtualPath) -> Result<(), StorageError> {
        (**self).check_directory(path)
    }

    fn list(&self, path: &VirtualPath) -> Result<Entries, StorageError> {
        (**self).list(path)
    }

    fn list_names(&self, path: &VirtualPath) -> Result<Entries<Vec<u8>>, StorageError> {
        (**self).list_names(path)
    }

    fn read(&self, path: &VirtualPath) -> Result<Box<dyn Source>, StorageError> {
        (**self).read(path)
    }

    fn write(
        &self,
        path: &VirtualPath,
        mode: WriteMode,
        keep: Keep<'_>,
    ) -> Result<Box<dyn Upload>, StorageError> {
        (**self).write(path, mode, keep)
    }

    fn unfinished(
        &self,
        path: &VirtualPath,
        user: Option<&[u8]>,
    ) -> Result<Option<Unfinished>, StorageError> {
        (**self).unfinished(path, user)
    }

    fn forget(
        &self,
        path: &VirtualPath,
        user: Option<&[u8]>,
    ) -> Result<Option<Unfinished>, StorageError> {
        (**self).forget(path, user)
    }

    fn remove(&self, path: &VirtualPath) -> Result<(), StorageError> {
        (**self).remove(path)
    }

    fn rmdir(&self, path: &VirtualPath) -> Result<(), StorageError> {
        (**self).rmdir(path)
    }

    fn mkdir(&self, path: &VirtualPath) -> Result<(), StorageError> {
        (**self).mkdir(path)
    }

    fn rename(
        &self,
        from: &VirtualPath,
        to: &VirtualPath,
        replace: bool,
    ) -> Result<(), StorageError> {
        (**self).rename(from, to, replace)
    }

    fn set(&self, path: &VirtualPath, change: Change) -> Result<Metadata, StorageError> {
        (**self).set(path, change)
    }

    fn space(&self, path: &VirtualPath, room: RoomFor) -> Result<u64, StorageError> {
        (**self).space(path, room)
    }

    fn quota(&self, path: &VirtualPath) -> Result<Option<Quota>, StorageError> {
        (**self).quota(path)
    }
}
