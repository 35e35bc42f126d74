//! Forwarding of the methods of a storage to another storage.

/// Implements the named methods of [`Storage`](crate::Storage), [`Source`](crate::Source) or
/// [`Upload`](crate::Upload) by calls of another storage, source or upload.
///
/// A storage that wraps another one names the methods that it does not change. A wrapper that
/// leaves out a method without a default does not compile: otherwise it could, for example, take
/// away the confinement of sessions, or the knowledge that an upload was cut. The first argument is
/// `self`, the second one the other storage; in methods that return a `Result`, it can end in `?`.
///
/// A wrapped source or upload must forward all methods, those with a default too: otherwise a wait
/// of the inner one blocks the session.
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

#[doc(hidden)]
#[macro_export]
macro_rules! __forward_method {
    ([$($this:tt)+] $inner:expr; $name:ident($($arg:ident: $type:ty),*) -> Result<$done:ty>) => {
        fn $name($($this)+, $($arg: $type),*) -> Result<$done, $crate::StorageError> {
            $inner.$name($($arg),*)
        }
    };
    ([$($this:tt)+] $inner:expr; $name:ident($($arg:ident: $type:ty),*) -> $output:ty) => {
        fn $name($($this)+, $($arg: $type),*) -> $output {
            $inner.$name($($arg),*)
        }
    };
    (capabilities $self:ident $inner:expr) => {
        $crate::__forward_method! { [&$self] $inner; capabilities() -> $crate::Capabilities }
    };
    (confine $self:ident $inner:expr) => {
        $crate::__forward_method! { [&$self] $inner; confine() -> $crate::Confine<'_> }
    };
    (stat $self:ident $inner:expr) => {
        $crate::__forward_method! { [&$self] $inner;
            stat(path: &$crate::VirtualPath, ask: $crate::Ask) -> Result<$crate::Metadata> }
    };
    (list $self:ident $inner:expr) => {
        $crate::__forward_method! { [&$self] $inner;
            list(path: &$crate::VirtualPath, ask: $crate::Ask) -> Result<$crate::Entries> }
    };
    (read $self:ident $inner:expr) => {
        $crate::__forward_method! { [&$self] $inner;
            read(path: &$crate::VirtualPath) -> Result<Box<dyn $crate::Source>> }
    };
    (write $self:ident $inner:expr) => {
        $crate::__forward_method! { [&$self] $inner;
            write(path: &$crate::VirtualPath, mode: $crate::WriteMode, keep: $crate::Keep<'_>) -> Result<Box<dyn $crate::Upload>> }
    };
    (unfinished $self:ident $inner:expr) => {
        $crate::__forward_method! { [&$self] $inner;
            unfinished(path: &$crate::VirtualPath, user: Option<&[u8]>) -> Result<Option<$crate::Unfinished>> }
    };
    (kept $self:ident $inner:expr) => {
        $crate::__forward_method! { [&$self] $inner;
            kept(path: &$crate::VirtualPath, user: Option<&[u8]>) -> Result<Box<dyn $crate::Source>> }
    };
    (forget $self:ident $inner:expr) => {
        $crate::__forward_method! { [&$self] $inner;
            forget(path: &$crate::VirtualPath, user: Option<&[u8]>) -> Result<Option<$crate::Unfinished>> }
    };
    (remove $self:ident $inner:expr) => {
        $crate::__forward_method! { [&$self] $inner;
            remove(path: &$crate::VirtualPath) -> Result<()> }
    };
    (rmdir $self:ident $inner:expr) => {
        $crate::__forward_method! { [&$self] $inner;
            rmdir(path: &$crate::VirtualPath) -> Result<()> }
    };
    (mkdir $self:ident $inner:expr) => {
        $crate::__forward_method! { [&$self] $inner;
            mkdir(path: &$crate::VirtualPath) -> Result<()> }
    };
    (rename $self:ident $inner:expr) => {
        $crate::__forward_method! { [&$self] $inner;
            rename(from: &$crate::VirtualPath, to: &$crate::VirtualPath, replace: bool) -> Result<()> }
    };
    (set $self:ident $inner:expr) => {
        $crate::__forward_method! { [&$self] $inner;
            set(path: &$crate::VirtualPath, change: $crate::Change) -> Result<$crate::Metadata> }
    };
    (space $self:ident $inner:expr) => {
        $crate::__forward_method! { [&$self] $inner;
            space(path: &$crate::VirtualPath, room: $crate::RoomFor) -> Result<$crate::Space> }
    };
    (size $self:ident $inner:expr) => {
        $crate::__forward_method! { [&$self] $inner; size() -> u64 }
    };
    (seek_to $self:ident $inner:expr) => {
        $crate::__forward_method! { [&mut $self] $inner; seek_to(offset: u64) -> Result<()> }
    };
    (prepare $self:ident $inner:expr) => {
        $crate::__forward_method! { [&mut $self] $inner; prepare() -> Result<bool> }
    };
    (ready $self:ident $inner:expr) => {
        $crate::__forward_method! { [&mut $self] $inner; ready() -> Result<bool> }
    };
    (prepare_commit $self:ident $inner:expr) => {
        $crate::__forward_method! { [&mut $self] $inner; prepare_commit() -> Result<bool> }
    };
    (progress $self:ident $inner:expr) => {
        $crate::__forward_method! { [&$self] $inner; progress() -> u64 }
    };
    (published_size $self:ident $inner:expr) => {
        $crate::__forward_method! { [&$self] $inner; published_size() -> Option<u64> }
    };
    (hidden_file $self:ident $inner:expr) => {
        $crate::__forward_method! { [&$self] $inner; hidden_file() -> Option<(u64, u64)> }
    };
    (target $self:ident $inner:expr) => {
        $crate::__forward_method! { [&mut $self] $inner;
            target() -> Option<Result<$crate::Metadata, $crate::StorageError>> }
    };
    (descriptor $self:ident $inner:expr) => {
        $crate::__forward_method! { [&$self] $inner;
            descriptor() -> Option<std::os::fd::BorrowedFd<'_>> }
    };
    (commit $self:ident $inner:expr) => {
        $crate::__forward_method! { [$self: Box<Self>] $inner; commit() -> Result<()> }
    };
    (abort $self:ident $inner:expr) => {
        $crate::__forward_method! { [$self: Box<Self>] $inner; abort(end: $crate::StreamEnd) -> () }
    };
}
