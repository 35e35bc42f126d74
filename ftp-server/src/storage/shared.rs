//! A storage in an `Arc`.

use std::sync::Arc;

use super::{
    Ask, Capabilities, Change, Confine, Entries, Keep, Metadata, RoomFor, Source, Space, Storage,
    StorageResult, Unfinished, Upload, VirtualPath, WriteMode,
};

/// Forwards every call to the inner storage, so that you can keep a handle to it.
impl<T: Storage + ?Sized> Storage for Arc<T> {
    fn capabilities(&self) -> Capabilities {
        (**self).capabilities()
    }

    fn confine(&self) -> Confine<'_> {
        (**self).confine()
    }

    fn stat(&self, path: &VirtualPath, ask: Ask) -> StorageResult<Metadata> {
        (**self).stat(path, ask)
    }

    fn list(&self, path: &VirtualPath, ask: Ask) -> StorageResult<Entries> {
        (**self).list(path, ask)
    }

    fn read(&self, path: &VirtualPath) -> StorageResult<Box<dyn Source>> {
        (**self).read(path)
    }

    fn write(
        &self,
        path: &VirtualPath,
        mode: WriteMode,
        keep: Keep<'_>,
    ) -> StorageResult<Box<dyn Upload>> {
        (**self).write(path, mode, keep)
    }

    fn unfinished(
        &self,
        path: &VirtualPath,
        user: Option<&[u8]>,
    ) -> StorageResult<Option<Unfinished>> {
        (**self).unfinished(path, user)
    }

    fn forget(&self, path: &VirtualPath, user: Option<&[u8]>) -> StorageResult<Option<Unfinished>> {
        (**self).forget(path, user)
    }

    fn remove(&self, path: &VirtualPath) -> StorageResult<()> {
        (**self).remove(path)
    }

    fn rmdir(&self, path: &VirtualPath) -> StorageResult<()> {
        (**self).rmdir(path)
    }

    fn mkdir(&self, path: &VirtualPath) -> StorageResult<()> {
        (**self).mkdir(path)
    }

    fn rename(&self, from: &VirtualPath, to: &VirtualPath, replace: bool) -> StorageResult<()> {
        (**self).rename(from, to, replace)
    }

    fn set(&self, path: &VirtualPath, change: Change) -> StorageResult<Metadata> {
        (**self).set(path, change)
    }

    fn space(&self, path: &VirtualPath, room: RoomFor) -> StorageResult<Space> {
        (**self).space(path, room)
    }
}
