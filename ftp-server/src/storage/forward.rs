//! Forwarding of the methods of a storage to another storage.

/// Implements the named methods of [`Storage`](crate::Storage) by calls of another storage.
///
/// A storage that wraps another one names the methods that it does not change. A wrapper that
/// leaves out a method without a default does not compile: otherwise it could, for example, take
/// away the confinement of sessions, or the knowledge that an upload was cut. The first argument is
/// `self`, the second one the other storage.
///
/// A wrapped [`Source`](crate::Source) or [`Upload`](crate::Upload) must forward all methods, those
/// with a default too: otherwise a wait of the inner one blocks the session.
///
/// ```
/// use ftp_server::{LocalStorage, MemoryStorage, Storage, StorageError, VirtualPath};
/// use ftp_server::{forward_storage, testing};
///
/// /// A storage that reports which files are deleted.
/// struct Reporting<S>(S);
///
/// impl<S: Storage> Storage for Reporting<S> {
///     forward_storage!(self, self.0; capabilities, confine, stat, list, read, write);
///     forward_storage!(self, self.0; unfinished, kept, forget, rmdir, mkdir, rename, set, space);
///
///     fn remove(&self, path: &VirtualPath) -> Result<(), StorageError> {
///         let removed = self.0.remove(path);
///         println!("delete {path}: {removed:?}");
///         removed
///     }
/// }
///
/// testing::storage_contract(1..=5, || (Reporting(MemoryStorage::new()), ()))?;
/// testing::storage_contract(1..=5, || {
///     let root = tempfile::tempdir().expect("a directory");
///     (Reporting(LocalStorage::open(root.path()).expect("a storage")), root)
/// })?;
/// # Ok::<(), String>(())
/// ```
#[macro_export]
macro_rules! forward_storage {
    ($self:ident, $inner:expr; $($method:ident),+) => {
        $($crate::__forward_method!($method $self $inner);)+
    };
}

/// Implements one method of a storage by a call of another storage.
#[doc(hidden)]
#[macro_export]
macro_rules! __forward_method {
    (capabilities $self:ident $inner:expr) => {
        fn capabilities(&$self) -> $crate::Capabilities {
            $inner.capabilities()
        }
    };
    (confine $self:ident $inner:expr) => {
        fn confine(&$self) -> $crate::Confine<'_> {
            $inner.confine()
        }
    };
    (stat $self:ident $inner:expr) => {
        fn stat(
            &$self,
            path: &$crate::VirtualPath,
            ask: $crate::Ask,
        ) -> Result<$crate::Metadata, $crate::StorageError> {
            $inner.stat(path, ask)
        }
    };
    (list $self:ident $inner:expr) => {
        fn list(
            &$self,
            path: &$crate::VirtualPath,
            ask: $crate::Ask,
        ) -> Result<$crate::Entries, $crate::StorageError> {
            $inner.list(path, ask)
        }
    };
    (read $self:ident $inner:expr) => {
        fn read(
            &$self,
            path: &$crate::VirtualPath,
        ) -> Result<Box<dyn $crate::Source>, $crate::StorageError> {
            $inner.read(path)
        }
    };
    (write $self:ident $inner:expr) => {
        fn write(
            &$self,
            path: &$crate::VirtualPath,
            mode: $crate::WriteMode,
            keep: $crate::Keep<'_>,
        ) -> Result<Box<dyn $crate::Upload>, $crate::StorageError> {
            $inner.write(path, mode, keep)
        }
    };
    (unfinished $self:ident $inner:expr) => {
        fn unfinished(
            &$self,
            path: &$crate::VirtualPath,
            user: Option<&[u8]>,
        ) -> Result<Option<$crate::Unfinished>, $crate::StorageError> {
            $inner.unfinished(path, user)
        }
    };
    (kept $self:ident $inner:expr) => {
        fn kept(
            &$self,
            path: &$crate::VirtualPath,
            user: Option<&[u8]>,
        ) -> Result<Box<dyn $crate::Source>, $crate::StorageError> {
            $inner.kept(path, user)
        }
    };
    (forget $self:ident $inner:expr) => {
        fn forget(
            &$self,
            path: &$crate::VirtualPath,
            user: Option<&[u8]>,
        ) -> Result<Option<$crate::Unfinished>, $crate::StorageError> {
            $inner.forget(path, user)
        }
    };
    (remove $self:ident $inner:expr) => {
        fn remove(&$self, path: &$crate::VirtualPath) -> Result<(), $crate::StorageError> {
            $inner.remove(path)
        }
    };
    (rmdir $self:ident $inner:expr) => {
        fn rmdir(&$self, path: &$crate::VirtualPath) -> Result<(), $crate::StorageError> {
            $inner.rmdir(path)
        }
    };
    (mkdir $self:ident $inner:expr) => {
        fn mkdir(&$self, path: &$crate::VirtualPath) -> Result<(), $crate::StorageError> {
            $inner.mkdir(path)
        }
    };
    (rename $self:ident $inner:expr) => {
        fn rename(
            &$self,
            from: &$crate::VirtualPath,
            to: &$crate::VirtualPath,
            replace: bool,
        ) -> Result<(), $crate::StorageError> {
            $inner.rename(from, to, replace)
        }
    };
    (set $self:ident $inner:expr) => {
        fn set(
            &$self,
            path: &$crate::VirtualPath,
            change: $crate::Change,
        ) -> Result<$crate::Metadata, $crate::StorageError> {
            $inner.set(path, change)
        }
    };
    (space $self:ident $inner:expr) => {
        fn space(
            &$self,
            path: &$crate::VirtualPath,
            room: $crate::RoomFor,
        ) -> Result<$crate::Space, $crate::StorageError> {
            $inner.space(path, room)
        }
    };
}
