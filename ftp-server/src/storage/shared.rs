//! A storage in an `Arc`.

use std::sync::Arc;

use super::{
    Ask, Capabilities, Change, Confine, Entries, Keep, Metadata, RoomFor, Source, Space, Storage,
    StorageError, Unfinished, Upload, VirtualPath, WriteMode,
};

/// Forwards every call to the inner storage, so that you can keep a handle to it.
impl<T: Storage + ?Sized> Storage for Arc<T> {
    fn capabilities(&self) -> Capabilities {
        (**self).capabilities()
    }

    fn confine(&self) -> Confine<'_> {
        (**self).confine()
    }

    fn stat(&self, path: &VirtualPath, ask: Ask) -> Result<Metadata, StorageError> {
        (**self).stat(path, ask)
    }

    fn list(&self, path: &VirtualPath, ask: Ask) -> Result<Entries, StorageError> {
        (**self).list(path, ask)
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

    fn space(&self, path: &VirtualPath, room: RoomFor) -> Result<Space, StorageError> {
        (**self).space(path, room)
    }
}
