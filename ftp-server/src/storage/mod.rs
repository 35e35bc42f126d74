//! The [`Storage`] of a session, and its implementations.
//!
//! - [`LocalStorage`] serves the files below one directory of this computer.
//! - [`MemoryStorage`] keeps files in memory.
//! - `S3Storage`, with the feature `s3`, keeps files in an object store.
//! - [`MountedStorage`] joins several storages in one tree.
//! - [`Partials`] lets users resume uploads to any storage.
//! - [`FaultStorage`] fails on demand, for tests.

mod capabilities;
mod confinement;
mod error;
mod fault;
mod forward;
mod local;
mod memory;
mod metadata;
mod mounted;
mod partials;
mod path;
mod records;
mod remote;
#[cfg(feature = "s3")]
mod s3;
pub(crate) mod space;
#[cfg(test)]
mod tests;
pub(crate) mod unfinished;

pub use capabilities::Capabilities;
pub(crate) use capabilities::WaitLimit;
pub use confinement::{Confine, ConfinementPolicy};
pub(crate) use confinement::{ConfinementStatus, close_confinements, confine};
pub use error::{StorageError, StorageErrorKind};
pub(crate) use error::{StorageResult, is_made, without_number};
pub use fault::{Fault, FaultStorage, StorageCall};
pub use local::{LocalConfig, LocalStorage, PartialPolicy, SyncPolicy};
#[cfg(feature = "daemon")]
pub(crate) use local::{
    Tally, exceeds_access, free_bytes, is_hidden_name, lock, may_access, may_give_to_group,
    may_give_to_user, owns_all_files, rename_new, unlock,
};
pub use memory::MemoryStorage;
pub(crate) use metadata::Version;
pub use metadata::{DirectoryUse, Entries, Entry, EntryKind, Metadata};
pub use mounted::MountedStorage;
pub use partials::Partials;
pub use path::VirtualPath;
pub(crate) use remote::RemoteStorage;
#[cfg(feature = "s3")]
pub use s3::{S3Error, S3Features, S3Ledger, S3Storage, S3Store, S3StoreBuilder, S3Timeouts};
pub use space::Space;
pub use unfinished::Unfinished;

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use crate::forward_storage;

/// The files that a session reads and writes. The authenticator chooses a storage at login, and
/// sessions may share a storage. All calls block.
///
/// Methods with a default refuse the call by default: with `Unsupported`, the client gets 502. All
/// other methods are required, because no answer is safe for every storage. A storage that wraps
/// another one forwards what it does not change: see [`forward_storage!`](crate::forward_storage).
///
/// # Promises
///
/// The server promises that each path is absolute and normalized, and that the user has the right to
/// the call. Sessions call a storage from their own threads, at the same time also for one path; the
/// storage decides the order. A storage promises:
///
/// - After an error nothing has changed, except after `Unsynced`. After `Unknown`, `Stalled`, `Io` and
///   `Busy` the server makes no assumption: the change may be made.
/// - After success, each later call of any session sees the change.
/// - `NotFound` means that the object is proved to be absent, for example not that a disk or a server
///   does not answer. A client may remove its own copy.
/// - A storage whose calls can wait for a network [says so](Capabilities::REMOTE).
///
/// [`testing::storage_contract`](crate::testing::storage_contract) checks most of this, and
/// [`testing::restart_contract`](crate::testing::restart_contract) what must outlive the server.
///
/// # Errors and replies
///
/// | [`StorageErrorKind`] | reply |
/// |---|---|
/// | `NotFound`, `Denied`, `Fixed`, `NotDirectory`, `NotEmpty`, `CrossesMounts`, `Refused` | 550 |
/// | `NameNotAllowed` | 553 if the command makes this name, otherwise 550 |
/// | `Exists` | 553 for uploads and `RNTO`, 550 for `MKD` |
/// | `IsDirectory`, `NotFile` | 553 for uploads (a directory also for `HASH`), otherwise 550 |
/// | `Busy`, `Unavailable`, `NotNow` | 450 |
/// | `Io`, `Stalled`, `Unknown`, `Unsynced` | 451 |
/// | `NoSpace`, `Uncounted` | 452 |
/// | `OverQuota` | 552 |
/// | `BadRestart` | 554 |
/// | `Unsupported` | 502 |
///
/// After the 150 of a transfer, only the rows with 452, 552 and 553 have their codes, and those that
/// decide on the content of a file: `Refused` gets 550, with the text of the error's source, and
/// `NotNow` 450. `Denied`, `NotFile` and `Unsupported` without an error of the system get 550. All
/// others are 451.
///
/// # Objects in place of files
///
/// A storage can also use a store that has objects with keys, but no paths or directories. For an
/// example, see `S3Storage` (feature `s3`). There, a file is an object, and a directory is a prefix
/// of keys. An upload is a multipart upload, which `commit` completes. Leave out the methods that
/// your store does not support.
///
/// If calls wait for a network, say so with [`Capabilities::REMOTE`]. Uploads and downloads do slow
/// work in the methods that a session calls repeatedly: `prepare`, `ready`, `prepare_commit`, reads
/// and writes. Between these calls, the session checks whether its client is still connected.
pub trait Storage: Send + Sync {
    /// Returns the optional abilities of this storage. The server refuses commands that need another
    /// ability, and `FEAT` does not list them.
    fn capabilities(&self) -> Capabilities;

    /// Returns the files on disk that sessions need: [`Confine::Neutral`] if there are none,
    /// [`Confine::No`] if they cannot be named. Once after a login,
    /// the server confines the session's thread to them for good. The thread serves no other user
    /// afterwards; after `REIN`, the session continues in another thread. If the thread cannot be
    /// confined, the session ends with 421. The server keeps the answer for the life of the storage
    /// object, so a storage that opens its directory again must be a new object.
    ///
    /// A confined thread can open no other file, not even `/dev/urandom`: the system refuses it, and
    /// the client gets 550. Open what the storage needs besides when you make it, or in a thread of
    /// its own. A wrapper that forwards `confine` is subject to this too.
    fn confine(&self) -> Confine<'_>;

    /// Returns the metadata of the object at `path`. Follows a symbolic link if its target exists
    /// below the root; otherwise the kind is [`EntryKind::Symlink`].
    ///
    /// # Errors
    ///
    /// Returns `NotFound` if there is no object, `Denied` if access is forbidden, or `Io` if the
    /// storage fails. If `ask` is [`Ask::Directory`], the error for another object can be
    /// `NotDirectory`; the server checks the kind in any case.
    fn stat(&self, path: &VirtualPath, ask: Ask) -> StorageResult<Metadata>;

    /// Returns the entries of the directory at `path`, in any order. Omits `.`, `..` and hidden
    /// files of the storage, such as unfinished uploads. Skips entries that vanish during the
    /// listing, and holds a bounded number of entries. If `ask` is [`Ask::Names`], the entries may
    /// include objects whose metadata the storage cannot read.
    ///
    /// # Errors
    ///
    /// Returns `NotFound` if there is no object, `NotDirectory` if it is not a directory, `Denied`
    /// if listing is forbidden, or `Io` if the storage fails. An item of the iterator that is an
    /// error ends the listing.
    fn list(&self, path: &VirtualPath, ask: Ask) -> StorageResult<Entries>;

    /// Opens the regular file at `path`. Never blocks on a FIFO or device.
    ///
    /// # Errors
    ///
    /// Returns:
    ///
    /// - `NotFound` if there is no object;
    /// - `IsDirectory` or `NotFile` if the object is not a regular file;
    /// - `Denied` if reading is forbidden;
    /// - `Io` if the storage fails.
    fn read(&self, path: &VirtualPath) -> StorageResult<Box<dyn Source>>;

    /// Begins an upload to `path`. The new content appears only at the end, in [`Upload::commit`].
    /// [`WriteMode::Append`] may write in place.
    ///
    /// Session threads call this method, and may be [confined](Self::confine): all files that it
    /// opens must be below the directories that `confine` names.
    ///
    /// # Errors
    ///
    /// Returns:
    ///
    /// - `NameNotAllowed` if clients may not create this name;
    /// - `NotFound` if the parent is missing;
    /// - `IsDirectory` or `NotFile` if the existing object is not a regular file;
    /// - `Exists` if there is an object and the mode is [`WriteMode::Create`];
    /// - `BadRestart` if the file is shorter than the offset of [`WriteMode::From`];
    /// - `Denied` if writing is forbidden, or `Busy` if another session writes to the file;
    /// - `NoSpace` or `OverQuota` if there is no room;
    /// - `Io` if the storage fails.
    fn write(
        &self,
        path: &VirtualPath,
        mode: WriteMode,
        keep: Keep<'_>,
    ) -> StorageResult<Box<dyn Upload>>;

    /// Returns the record of `user`'s unfinished upload to `path`; `user` is `None` for all shared
    /// logins together. Other users' records have no effect.
    ///
    /// Without a record, a client that resumes an upload appends the rest of the new file to the old
    /// one, or takes the old file for its complete upload. So an upload that was interrupted must
    /// leave a record, at least one without bytes. A storage that keeps none returns `None` here and
    /// in [`forget`](Self::forget), and must be wrapped in [`Partials`].
    ///
    /// # Errors
    ///
    /// Returns `Io` or `Busy` if the storage fails. A missing parent directory is not an error.
    fn unfinished(
        &self,
        path: &VirtualPath,
        user: Option<&[u8]>,
    ) -> StorageResult<Option<Unfinished>>;

    /// Opens the kept bytes of the record that [`unfinished`](Self::unfinished) returns, for `HASH`.
    ///
    /// # Errors
    ///
    /// Returns `NotFound` if there are none, or if the storage cannot read them: then a client cannot
    /// prove what it has sent, and sends the file from byte 0. Otherwise an error of [`unfinished`](Self::unfinished).
    fn kept(&self, path: &VirtualPath, user: Option<&[u8]>) -> StorageResult<Box<dyn Source>>;

    /// Discards the record of `user`'s unfinished upload to `path`, and the kept bytes. If there is no
    /// file, the user's uploads to `path` that are running leave no record any more. Returns the record.
    /// The server calls this method when the user removes `path`, even if there is no file.
    ///
    /// # Errors
    ///
    /// Returns an error of [`unfinished`](Self::unfinished).
    fn forget(&self, path: &VirtualPath, user: Option<&[u8]>) -> StorageResult<Option<Unfinished>>;

    /// Removes a file or symbolic link.
    ///
    /// # Errors
    ///
    /// Returns:
    ///
    /// - `NotFound` if there is no object;
    /// - `IsDirectory` if the object is a directory;
    /// - `Denied` if the removal is forbidden;
    /// - `Busy` if the object is in use, or `Io` if the storage fails.
    fn remove(&self, _path: &VirtualPath) -> StorageResult<()> {
        Err(StorageErrorKind::Unsupported.into())
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    ///
    /// Returns:
    ///
    /// - `NotFound` if there is no object;
    /// - `NotDirectory` if the object is not a directory, or `NotEmpty` if it has entries;
    /// - `Denied` if the removal is forbidden, or if `path` is the root;
    /// - `Busy` if the directory is in use, or `Io` if the storage fails.
    fn rmdir(&self, _path: &VirtualPath) -> StorageResult<()> {
        Err(StorageErrorKind::Unsupported.into())
    }

    /// Makes a directory.
    ///
    /// # Errors
    ///
    /// Returns:
    ///
    /// - `Exists` if there is an object with this name;
    /// - `NotFound` if the parent is missing;
    /// - `NameNotAllowed` if clients may not create this name;
    /// - `Denied` if the directory may not be created;
    /// - `NoSpace` or `OverQuota` if there is no room;
    /// - `Io` if the storage fails.
    fn mkdir(&self, _path: &VirtualPath) -> StorageResult<()> {
        Err(StorageErrorKind::Unsupported.into())
    }

    /// Renames the object at `from` to `to`, in one step unless the documentation of the storage
    /// says otherwise. Replaces an existing file if `replace` is set.
    ///
    /// # Errors
    ///
    /// Returns:
    ///
    /// - `NotFound` if there is no object at `from`, or if the parent of `to` is missing;
    /// - `NameNotAllowed` if clients may not create the name `to`;
    /// - `Exists` if there is an object at `to` and `replace` is not set;
    /// - `IsDirectory`, `NotDirectory` or `NotEmpty` if the object at `to` cannot be replaced;
    /// - `CrossesMounts` if `to` is in another storage or file system;
    /// - `Denied` if the rename is forbidden, or `Io` if the storage fails.
    fn rename(&self, _from: &VirtualPath, _to: &VirtualPath, _replace: bool) -> StorageResult<()> {
        Err(StorageErrorKind::Unsupported.into())
    }

    /// Changes an attribute of the file or directory at `path`. Returns the new metadata of the
    /// changed object itself, because `path` may lead to another object by then.
    ///
    /// # Errors
    ///
    /// Returns `NotFound` if there is no object, `NotFile` if this attribute of it cannot be changed,
    /// `Denied` if the change is forbidden, or `Io` if the storage fails. Returns `Denied` for the
    /// mode of the root directory: without the right to search it, no client could undo the change.
    fn set(&self, _path: &VirtualPath, _change: Change) -> StorageResult<Metadata> {
        Err(StorageErrorKind::Unsupported.into())
    }

    /// Returns the space in the directory at `path`; [`Space::default`] if nothing is known. Then the
    /// server keeps no space free.
    ///
    /// - For [`RoomFor::New`] and [`RoomFor::More`], only the number of free bytes, regardless of
    ///   quotas. If less than that room is free, discards partial uploads first, the oldest first.
    ///   The number is lower if the file system cannot create enough objects. Needs
    ///   [`Capabilities::SPACE`].
    /// - For [`RoomFor::User`], only the usage and limits of the user's quota, for `ALLO`, `AVBL` and
    ///   `SITE QUOTA`. The storage itself must refuse uploads that exceed the quota, with
    ///   `OverQuota`. Needs [`Capabilities::QUOTA`].
    ///
    /// # Errors
    ///
    /// Returns the errors of [`stat`](Self::stat) of a directory. For the quota, returns `Busy` if
    /// the usage is not known yet, or `Uncounted` if it cannot be determined now.
    fn space(&self, path: &VirtualPath, room: RoomFor) -> StorageResult<Space>;
}

/// Checks that the directory at `path` can be the current directory.
///
/// # Errors
///
/// Returns `NotDirectory` if the object is not a directory, or an error of [`Storage::stat`].
pub(crate) fn check_directory(storage: &dyn Storage, path: &VirtualPath) -> StorageResult<()> {
    storage.stat(path, Ask::Directory)?.check_directory()
}

/// What the server needs to know of an object. A storage may leave out the rest, or ignore this.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Ask {
    /// All metadata.
    Facts,
    /// All metadata, for a reply of at most 4 KiB: a storage need not hold more of a directory.
    Start,
    /// All metadata, and for a file also which changes the system permits in its directory:
    /// [`Metadata::directory_use`].
    Permissions,
    /// Whether the object is a directory that can be the current directory.
    Directory,
    /// The names of entries, without their metadata.
    Names,
}

/// A file that is being read, from its beginning or from the offset given to
/// [`seek_to`](Source::seek_to).
pub trait Source: io::Read + Send {
    /// Returns the size of the file when it was opened, in bytes.
    fn size(&self) -> u64;

    /// Continues reading at `offset`, in bytes from the beginning, which must not exceed
    /// [`size`](Source::size). Called at most once, before the first read.
    ///
    /// # Errors
    ///
    /// Returns `BadRestart` if `offset` is beyond the size, or `Io` if the storage cannot seek.
    fn seek_to(&mut self, offset: u64) -> StorageResult<()>;

    /// Waits for bytes, for a fraction of a second at most, and returns whether the next read can
    /// return without a long wait. A session calls this method before each read. After `false`, the
    /// session waits 2 ms, checks on its client and calls this method again, for how long depends on
    /// [`Capabilities::BOUNDED_WAITS`]. Without this call, the read itself waits.
    ///
    /// By default, a read never waits for long.
    ///
    /// # Errors
    ///
    /// Returns the error that the next read would return. The client has had the 150 by then: what
    /// can be known earlier is an error of [`Storage::read`].
    fn ready(&mut self) -> StorageResult<bool> {
        Ok(true)
    }

    /// Returns a file descriptor from which the kernel may send directly, beginning at its file
    /// offset; `None` (default) if the session must read the source. A session asks before each
    /// call to the kernel. It reads the rest of a source that returns `None` later, and what
    /// follows the bytes of the [size](Self::size).
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// A file in memory.
impl<T: AsRef<[u8]> + Send> Source for io::Cursor<T> {
    fn size(&self) -> u64 {
        self.get_ref().as_ref().len() as u64
    }

    fn seek_to(&mut self, offset: u64) -> StorageResult<()> {
        if offset > self.size() {
            return Err(StorageErrorKind::BadRestart.into());
        }
        self.set_position(offset);
        Ok(())
    }
}

/// An upload in progress. Dropping an upload must have the effect of [`abort`](Upload::abort) with
/// [`StreamEnd::Cut`].
///
/// After the last byte, a session calls [`flush`](io::Write::flush), which may take a long time: it
/// syncs the bytes to disk if the storage promises that. Then the session checks that its client is
/// still connected. Only after that does it call [`prepare_commit`](Upload::prepare_commit) and
/// [`commit`](Upload::commit).
///
/// A storage that waits for a slow store or network does so in [`prepare`](Upload::prepare),
/// [`ready`](Upload::ready) and [`prepare_commit`](Upload::prepare_commit). The session calls these
/// methods repeatedly, and handles `STAT`, `ABOR` and a shutdown of the server in between. After
/// `false`, the session waits 2 ms before the next call; for how long it calls them depends on
/// [`Capabilities::BOUNDED_WAITS`].
///
/// To convert an error of [`io::Write`], use [`StorageError::from`].
pub trait Upload: io::Write + Send {
    /// Does part of the work that precedes the first byte, for a fraction of a second. Examples are
    /// copying old content and checking the free space. Returns whether all of this work is done. A
    /// session calls this method once before it tells its client to send, and repeatedly after that,
    /// and checks on its client in between. Without these calls, the first write or
    /// [`commit`](Self::commit) does all the work.
    ///
    /// By default, there is nothing to do.
    ///
    /// # Errors
    ///
    /// Returns an error of [`Storage::write`] if the upload begins only here, or if this work
    /// fails. After an error, the upload cannot continue.
    fn prepare(&mut self) -> StorageResult<bool> {
        Ok(true)
    }

    /// Waits until the storage can take more bytes, for a fraction of a second at most. Returns
    /// whether the storage can take them, so that the next write does not take long. After
    /// [`flush`](io::Write::flush), this method waits until all bytes are stored. A session calls
    /// this method before each write. While the result is `false`, the session checks on its client
    /// between the calls. Without this call, the next write or [`commit`](Self::commit) waits.
    ///
    /// By default, there is nothing to wait for.
    ///
    /// # Errors
    ///
    /// Returns the error that the next write would return. After an error, the upload cannot
    /// continue.
    fn ready(&mut self) -> StorageResult<bool> {
        Ok(true)
    }

    /// Does part of the work of [`commit`](Self::commit), for a fraction of a second. Returns
    /// whether `commit` can now finish quickly. A session calls this method repeatedly after it has
    /// checked that its client is still connected. Between the calls, the session checks on its
    /// client again. This method must not publish the file, because observers hear of the upload
    /// only after it. Without these calls, `commit` does all the work.
    ///
    /// By default, there is nothing to do.
    ///
    /// # Errors
    ///
    /// Returns an error of [`commit`](Self::commit).
    fn prepare_commit(&mut self) -> StorageResult<bool> {
        Ok(true)
    }

    /// Returns a number that changes whenever work advances while the upload is not ready, such as
    /// the number of copied bytes (default: 0). At each change, the time of
    /// [`Timeouts::stall`](crate::Timeouts::stall) begins again.
    fn progress(&self) -> u64 {
        0
    }

    /// Returns the size of the published file, if the storage knows it without another request. A
    /// session calls this method after [`prepare_commit`](Self::prepare_commit) has returned
    /// `true`. If the next command is `SIZE`, the session then answers it without asking the
    /// storage.
    ///
    /// By default, a session always asks the storage.
    fn published_size(&self) -> Option<u64> {
        None
    }

    /// Returns the inode and the length of the hidden file that [`commit`](Self::commit) will rename to
    /// the final name; `None` (default) if the upload has no such file.
    fn hidden_file(&self) -> Option<(u64, u64)> {
        None
    }

    /// Returns the hidden file with all bytes that were received, so that a program can read it before
    /// [`commit`](Self::commit) gives it the final name; `None` (default) if the upload has no such
    /// file. Ask after [`flush`](io::Write::flush).
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Looks at what is at the path of the upload now, as [`Storage::stat`] does, after all bytes have
    /// been written and before [`commit`](Self::commit). `None` (default): ask the storage. An upload
    /// that holds what such a question needs, for example the only connection, answers it itself.
    fn target(&mut self) -> Option<StorageResult<Metadata>> {
        None
    }

    /// Publishes the received bytes as the content of the file. If the storage promises to sync,
    /// the bytes are on disk before they are visible.
    ///
    /// # Errors
    ///
    /// Returns `Unsynced` if the content is published, but its name could not be synced. After
    /// `Unknown`, `Io` and `Busy`, it may be published. After an error of any other kind, it is not;
    /// the old file, if any, still exists.
    fn commit(self: Box<Self>) -> StorageResult<()>;

    /// Ends an incomplete upload; `end` is the reason. The old file, if any, stays.
    fn abort(self: Box<Self>, end: StreamEnd);
}

impl dyn Upload {
    /// Returns an upload that is received in memory, for storages that store a file as one value. At
    /// the end, `store` publishes `content` and the received bytes after it. Limit the size of files
    /// with [`UserLimits::file_size`](crate::UserLimits::file_size).
    ///
    /// ```
    /// use std::io::Write;
    ///
    /// use ftp_server::{StorageError, Upload};
    ///
    /// let mut upload = <dyn Upload>::in_memory(b"first ".to_vec(), |bytes| {
    ///     assert_eq!(bytes, b"first and last");
    ///     Ok(())
    /// });
    /// upload.write_all(b"and last")?;
    /// upload.commit()?;
    /// # Ok::<(), StorageError>(())
    /// ```
    #[must_use]
    pub fn in_memory(
        content: Vec<u8>,
        store: impl FnOnce(Vec<u8>) -> StorageResult<()> + Send + 'static,
    ) -> Box<Self> {
        Box::new(UploadInMemory { content, store })
    }
}

struct UploadInMemory<F> {
    content: Vec<u8>,
    store: F,
}

impl<F> io::Write for UploadInMemory<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.content.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<F: FnOnce(Vec<u8>) -> StorageResult<()> + Send> Upload for UploadInMemory<F> {
    fn commit(self: Box<Self>) -> StorageResult<()> {
        (self.store)(self.content)
    }

    fn abort(self: Box<Self>, _: StreamEnd) {}
}

/// A change of an attribute: see [`Storage::set`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Change {
    /// The modification time in seconds since 1970-01-01T00:00:00Z. A storage with coarser timestamps
    /// stores the nearest time. Needs [`Capabilities::SET_TIMES`].
    Modified(i64),
    /// The permission bits, 0 to `0o777`. Needs [`Capabilities::CHMOD`].
    Mode(u32),
}

/// The room that an operation needs, in bytes, or the question what the user has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RoomFor {
    /// The user's quota.
    User,
    /// New objects.
    New(u64),
    /// More bytes for an existing object; 0 only asks for the free space.
    More(u64),
}

/// Reason for the end of an incomplete upload.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum StreamEnd {
    /// The connection broke or stalled, the session ended, or the client sent `ABOR`. The bytes
    /// received so far are valid.
    Cut,
    /// The storage failed or refused the upload, or the data was malformed. A storage must not keep
    /// the bytes of this upload; bytes kept before it stay.
    Failed,
    /// The server refused the upload before the client could send a byte. It leaves no record, as
    /// if it had never begun, unless it ended the record of an earlier upload.
    Refused,
}

/// What a storage may keep of an upload that is interrupted, and for which user.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Keep<'a> {
    /// Only the record, that of all shared logins together: several people share the login.
    Shared,
    /// Only this user's [record](Storage::unfinished): the bytes are those of a text whose lines the
    /// server has converted, so their number says nothing about the client's file.
    Record(&'a [u8]),
    /// The record and the received bytes, after which this user resumes with [`WriteMode::Resume`].
    Bytes(&'a [u8]),
}

impl<'a> Keep<'a> {
    pub(crate) fn new(user: Option<&'a [u8]>, is_image: bool) -> Self {
        match user {
            Some(user) if is_image => Self::Bytes(user),
            Some(user) => Self::Record(user),
            None => Self::Shared,
        }
    }

    pub(crate) const fn user(self) -> Option<&'a [u8]> {
        match self {
            Self::Shared => None,
            Self::Record(user) | Self::Bytes(user) => Some(user),
        }
    }

    pub(crate) const fn has_bytes(self) -> bool {
        matches!(self, Self::Bytes(_))
    }
}

/// Effect of an upload on an existing file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum WriteMode {
    /// The name must be new.
    Create,
    /// The new content replaces the old.
    Replace,
    /// Append to the old content; take the new bytes back if the upload fails. Create a missing
    /// file.
    Append,
    /// Keep the first N bytes of the old content, drop the rest, and append the new bytes. Fails
    /// with `BadRestart` if the file is shorter or missing, and at the end with `Busy` if it was
    /// replaced, changed or removed meanwhile.
    From(u64),
    /// Go on with the user's unfinished upload after the first N of its kept bytes. The complete
    /// file replaces an existing one. Fails with `BadRestart` if fewer bytes are kept, or none.
    Resume(u64),
}

/// Returns an error if either path is the root.
fn check_rename(from: &VirtualPath, to: &VirtualPath) -> StorageResult<()> {
    match (from.is_root(), to.is_root()) {
        (true, _) => Err(StorageErrorKind::Denied.into()),
        (false, true) => Err(StorageErrorKind::IsDirectory.into()),
        (false, false) => Ok(()),
    }
}

/// Forwards every call to the inner storage, so that you can keep a handle to it.
impl<T: Storage + ?Sized> Storage for Arc<T> {
    forward_storage!(self, (**self); capabilities, confine, stat, list, read, write, unfinished);
    forward_storage!(self, (**self); kept, forget, remove, rmdir, mkdir, rename, set, space);
}
