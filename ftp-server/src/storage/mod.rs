//! Where files are: the [`Storage`] a session works on; [`LocalStorage`], which keeps them below
//! one directory of this machine; [`MemoryStorage`]; and [`FaultStorage`], which lets one fail.

mod confinement;
mod error;
mod fault;
mod local;
mod memory;
mod metadata;
mod path;
mod shared;

pub use confinement::{Confinement, ConfinementPolicy, Walls};
pub use error::{StorageError, StorageErrorKind};
pub use fault::{Fault, FaultStorage, StorageCall};
pub use local::{LocalConfig, LocalStorage, PartialPolicy, SyncPolicy, Tally};
pub use memory::MemoryStorage;
pub use metadata::{Entry, EntryKind, Metadata};
pub use path::VirtualPath;

use std::io;
use std::ops::BitOr;
use std::os::fd::BorrowedFd;

/// What a session reads from and writes to. One is chosen at login and shared by every session
/// that logs in so; all calls block.
///
/// Rights are checked before a method is called: a storage answers only for what it can do. What
/// it cannot do at all it leaves to the methods as they stand, which are `Unsupported`: the
/// client is then told 502. A storage that lists, reads and writes is a whole one.
///
/// # Objects in place of files
///
/// A store of objects, with keys in place of paths and no directories, as behind the interface of
/// Amazon's S3, fits like this:
///
/// | here | there |
/// | --- | --- |
/// | `stat` | the object of that key, by HEAD; else, if a listing by prefix `key/` has anything, a directory, with a time of its own choice |
/// | `list` | a listing by prefix `key/` and delimiter `/`, page by page as the iterator is asked; common prefixes are directories |
/// | `read` | GET with a range, begun at the first read; `seek_to` chooses where, `size` is from HEAD; no descriptor |
/// | `write`: `Create`, `Replace` | a multipart upload, each part sent when so many bytes came; begins with HEAD, for `Create`, and for the key being a directory |
/// | `write`: `From(n)` | the same, its first part copied by the store from the first n bytes (`prepare`) |
/// | `write`: `Append` | as `From(size)`, since objects do not grow; `Unsupported` where a copy of all of it is not wanted: 502 |
/// | `flush` | sends the last part |
/// | `commit` | completes the multipart upload: the object is there, whole, from then on; with `If-None-Match: *` for `Create`, whose failure is `Exists` |
/// | `abort`, drop | aborts the multipart upload |
/// | `write_as`, `partial_size`, `forget_partial` | for `StreamEnd::Cut` keeps the upload, by user and key, and one less than the sum of its parts; a rule of the bucket's own removes it after a day |
/// | `remove` | HEAD, for `NotFound`, and DELETE |
/// | `mkdir`, `rmdir` | an empty object `key/`; `rmdir` is `NotEmpty` where the prefix has anything else |
/// | `rename` | `Unsupported`: it would be a copy and a removal, neither at once nor in one step; 502 to RNTO |
/// | `set_times`, `chmod`, `space` | nothing of the kind: not among its capabilities, so that `FEAT` does not list them |
///
/// What takes long is best done in the methods that may be called again and again (`prepare`, reads
/// and writes of a part): in between, a session listens to its client.
pub trait Storage: Send + Sync {
    /// What this storage can do beyond the methods that every one has. The commands that need
    /// more are not served without it, and `FEAT` does not list them.
    fn capabilities(&self) -> Capabilities {
        Capabilities::NONE
    }

    /// Called once after a login to this storage, on the thread of the session, before anything is
    /// asked of it there: here a storage may confine the thread to what belongs to it, which cannot
    /// be undone. The thread serves nobody else afterwards; a session whose user leaves by `REIN`
    /// goes on in another. As it stands, nothing happens.
    ///
    /// # Errors
    ///
    /// Any: the session ends with 421.
    fn enter(&self) -> Result<(), StorageError> {
        Ok(())
    }

    /// What is at `path`. A symbolic link that leads to something beneath the root is that
    /// thing; another is [`EntryKind::Symlink`].
    ///
    /// # Errors
    ///
    /// `NotFound`, `Denied`, `Io`.
    fn stat(&self, path: &VirtualPath) -> Result<Metadata, StorageError>;

    /// Whether the directory at `path` can be the current one. As it stands, any directory that
    /// there is can be.
    ///
    /// # Errors
    ///
    /// `NotFound`, `NotDirectory`, `Denied`, `Io`.
    fn check_directory(&self, path: &VirtualPath) -> Result<(), StorageError> {
        match self.stat(path)?.kind {
            EntryKind::Directory => Ok(()),
            _ => Err(StorageErrorKind::NotDirectory.into()),
        }
    }

    /// The entries of the directory at `path`, in no order, without `.` and `..` and without
    /// what the storage keeps to itself, such as unfinished uploads. Entries that vanish
    /// meanwhile are passed over. Holds no more than a bounded number of them at a time.
    ///
    /// # Errors
    ///
    /// `NotFound`, `NotDirectory`, `Denied`, `Io`; an item that is an error ends the listing.
    fn list(&self, path: &VirtualPath) -> Result<Entries, StorageError>;

    /// Opens the regular file at `path`. Never blocks on a FIFO or device.
    ///
    /// # Errors
    ///
    /// `NotFound`, `IsDirectory`, `NotFile`, `Denied`, `Io`.
    fn read(&self, path: &VirtualPath) -> Result<Box<dyn Source>, StorageError>;

    /// Begins an upload to `path`. Nothing of it shows under that name before
    /// [`Upload::commit`] returns, except where [`WriteMode::Append`] says otherwise.
    ///
    /// # Errors
    ///
    /// `NameNotAllowed`, `IsDirectory`, `Exists` (with [`WriteMode::Create`]), `NotFile`,
    /// `NotFound` for a missing parent, `BadRestart`, `Denied`, `NoSpace`, `OverQuota`, `Io`.
    fn write(&self, path: &VirtualPath, mode: WriteMode) -> Result<Box<dyn Upload>, StorageError>;

    /// As [`write`](Self::write), for a user of this name, who alone logs in by it. Of a new file
    /// whose upload is cut a storage may keep what came: [`WriteMode::From`] of the same user then
    /// resumes it as if it were the file, which it becomes, and shows as, with [`Upload::commit`].
    /// Any other mode begins a new file, and gives up what was kept.
    ///
    /// As it stands, nothing is kept.
    ///
    /// # Errors
    ///
    /// Those of [`write`](Self::write); `Busy` while another session goes on with it.
    fn write_as(
        &self,
        path: &VirtualPath,
        mode: WriteMode,
        _user: &[u8],
    ) -> Result<Box<dyn Upload>, StorageError> {
        self.write(path, mode)
    }

    /// How many bytes `user` is told are kept of an upload to `path`, where there is no file:
    /// after them [`write_as`](Self::write_as) can resume it. It must be less than what came, and
    /// more than 0. A client that sent all of it and never heard so would otherwise find the length
    /// of its own file, and take it for stored.
    ///
    /// As it stands, nothing is.
    ///
    /// # Errors
    ///
    /// `NotFound` if nothing is kept, or where nothing can be.
    fn partial_size(&self, _path: &VirtualPath, _user: &[u8]) -> Result<u64, StorageError> {
        Err(StorageErrorKind::NotFound.into())
    }

    /// Forgets what is kept of an upload of `user` to `path`, as when the user removes the file of
    /// that name, or gives the name to another.
    ///
    /// As it stands, nothing is kept.
    ///
    /// # Errors
    ///
    /// `NotFound` if nothing is kept, or where nothing can be; `Busy` while a session goes on with
    /// it; `Io`.
    fn forget_partial(&self, _path: &VirtualPath, _user: &[u8]) -> Result<(), StorageError> {
        Err(StorageErrorKind::NotFound.into())
    }

    /// Removes a file or symbolic link.
    ///
    /// # Errors
    ///
    /// `NotFound`, `IsDirectory`, `Denied`, `Busy`, `Io`.
    fn remove(&self, _path: &VirtualPath) -> Result<(), StorageError> {
        Err(StorageErrorKind::Unsupported.into())
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    ///
    /// `NotFound`, `NotDirectory`, `NotEmpty`, `Denied` (the root among others), `Busy`, `Io`.
    fn rmdir(&self, _path: &VirtualPath) -> Result<(), StorageError> {
        Err(StorageErrorKind::Unsupported.into())
    }

    /// Makes a directory.
    ///
    /// # Errors
    ///
    /// `Exists`, `NotFound` for a missing parent, `NameNotAllowed`, `Denied`, `NoSpace`,
    /// `OverQuota`, `Io`.
    fn mkdir(&self, _path: &VirtualPath) -> Result<(), StorageError> {
        Err(StorageErrorKind::Unsupported.into())
    }

    /// Gives the object at `from` the name `to`, in one step. A file there is replaced if
    /// `replace` says so.
    ///
    /// # Errors
    ///
    /// `NotFound`, `Exists`, `NameNotAllowed`, `IsDirectory`, `NotDirectory`, `NotEmpty`,
    /// `Denied`, `Io`.
    fn rename(
        &self,
        _from: &VirtualPath,
        _to: &VirtualPath,
        _replace: bool,
    ) -> Result<(), StorageError> {
        Err(StorageErrorKind::Unsupported.into())
    }

    /// Says when the file or directory at `path` was last modified, in seconds since
    /// 1970-01-01T00:00:00Z. A storage that cannot keep this time exactly keeps the one next to
    /// it. What the changed object is then, is returned: a path may by then lead elsewhere, or
    /// nowhere. With [`Capabilities::SET_TIMES`].
    ///
    /// # Errors
    ///
    /// `NotFound`, `NotFile`, `Denied`, `Io`.
    fn set_times(&self, _path: &VirtualPath, _modified: i64) -> Result<Metadata, StorageError> {
        Err(StorageErrorKind::Unsupported.into())
    }

    /// Sets the permission bits of the file or directory at `path`, 0 to `0o777`. Returns, as
    /// [`set_times`](Self::set_times), what the changed object is then. With
    /// [`Capabilities::CHMOD`].
    ///
    /// # Errors
    ///
    /// `NotFound`, `NotFile`, `Denied` (the root among others: without the right to search it,
    /// nobody could undo it), `Io`.
    fn chmod(&self, _path: &VirtualPath, _mode: u32) -> Result<Metadata, StorageError> {
        Err(StorageErrorKind::Unsupported.into())
    }

    /// How many bytes there still is room for in the directory at `path`, whoever stores them.
    /// With [`Capabilities::SPACE`].
    ///
    /// # Errors
    ///
    /// `NotFound`, `NotDirectory`, `Denied`, `Io`; `Unsupported` for a place that does not tell.
    fn space(&self, _path: &VirtualPath) -> Result<u64, StorageError> {
        Err(StorageErrorKind::Unsupported.into())
    }

    /// Gives up what is kept of cut uploads, the oldest first, until `wanted` bytes are free in the
    /// directory at `path`. Returns how many are free then, less if objects that can still be made
    /// there are fewer than fit in `wanted`. By default nothing is kept, and this is
    /// [`space`](Self::space).
    ///
    /// # Errors
    ///
    /// Those of [`space`](Self::space).
    fn make_room(
        &self,
        path: &VirtualPath,
        _wanted: u64,
        _purpose: RoomFor,
    ) -> Result<u64, StorageError> {
        self.space(path)
    }

    /// How many bytes are left of what this user may have here in all, however much room there is;
    /// `None` without a limit, as it stands. What would be more the storage refuses by
    /// `OverQuota`; this is for those who ask ahead, by `ALLO` and `AVBL`.
    ///
    /// # Errors
    ///
    /// `Io`.
    fn quota(&self) -> Result<Option<u64>, StorageError> {
        Ok(None)
    }
}

/// What a storage can do beyond listing, reading and writing: a set.
///
/// ```
/// use ftp_server::Capabilities;
///
/// let both = Capabilities::SPACE | Capabilities::DIGEST;
/// assert!(both.contains(Capabilities::DIGEST));
/// assert!(!both.contains(Capabilities::CHMOD));
/// assert!(Capabilities::ALL.contains(both));
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Capabilities(u8);

impl Capabilities {
    /// Nothing more.
    pub const NONE: Self = Self(0);
    /// [`Storage::set_times`] works: `MFMT`, and `Modify` of `MFF`.
    pub const SET_TIMES: Self = Self(1);
    /// [`Storage::chmod`] works: `SITE CHMOD`, and `UNIX.mode` of `MFF`.
    pub const CHMOD: Self = Self(1 << 1);
    /// [`Storage::space`] works: `AVBL`, and the look ahead of `ALLO`.
    pub const SPACE: Self = Self(1 << 2);
    /// To read a file only for its digest is no waste: `HASH`.
    pub const DIGEST: Self = Self(1 << 3);
    /// All of them.
    pub const ALL: Self = Self((1 << 4) - 1);

    /// Whether all of `capabilities` are among these.
    #[must_use]
    pub const fn contains(self, capabilities: Self) -> bool {
        self.0 & capabilities.0 == capabilities.0
    }
}

impl BitOr for Capabilities {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The entries of a directory, one by one.
pub type Entries = Box<dyn Iterator<Item = Result<Entry, StorageError>>>;

/// A file that is being read, from its beginning or from where [`seek_to`](Source::seek_to) went.
pub trait Source: io::Read {
    /// The size in bytes when the file was opened.
    fn size(&self) -> u64;

    /// Goes on at `offset` bytes from the beginning, at most [`size`](Source::size).
    ///
    /// # Errors
    ///
    /// `Io` where the storage cannot.
    fn seek_to(&mut self, offset: u64) -> Result<(), StorageError>;

    /// The descriptor behind it, if the kernel may send from it directly, beginning at its file
    /// offset.
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// An upload that is not there yet. Dropping it is [`abort`](Upload::abort) with
/// [`StreamEnd::Cut`].
///
/// Behind the last byte a session calls [`flush`](io::Write::flush), which puts the bytes on the
/// disk as far as the storage promises it, and takes its time. Then it looks once more whether its
/// client is still there, and only then calls [`commit`](Upload::commit).
///
/// What goes wrong in [`io::Write`] is read by [`StorageError::from`].
pub trait Upload: io::Write {
    /// Does a part of what has to be done before the first byte is written, such as to copy what
    /// stays of an old content, or to find out whether there is room: as much as takes a fraction of a second. A session calls it until
    /// it says that all is done, by `true`, and looks after its client in between; where nobody
    /// has called it, the first write or [`commit`](Self::commit) does it all.
    ///
    /// As it stands, there is nothing to do.
    ///
    /// # Errors
    ///
    /// `BadRestart`, `NoSpace`, `OverQuota`, `Busy`, `Io`, and those of [`Storage::write`] where all
    /// of it begins only here; the upload is of no more use then.
    fn prepare(&mut self) -> Result<bool, StorageError> {
        Ok(true)
    }

    /// All bytes came: makes them the content of the file, on disk as far as the storage
    /// promises it, and only then visible.
    ///
    /// # Errors
    ///
    /// Any; what was there before is then still there.
    fn commit(self: Box<Self>) -> Result<(), StorageError>;

    /// Not all bytes came, and this is why. What was there before stays.
    fn abort(self: Box<Self>, end: StreamEnd);
}

/// What room is needed for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RoomFor {
    /// An object that is to be made.
    New,
    /// More bytes of one that is there.
    More,
}

/// How a stream of bytes to the server ended, if not well.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum StreamEnd {
    /// The user asked for it with `ABOR`.
    Abort,
    /// The connection broke, stalled, or the session ended.
    Cut,
    /// The storage itself failed.
    Failed,
}

/// What an upload does to a file that is there already.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum WriteMode {
    /// The name must be new.
    Create,
    /// The new content replaces the old.
    Replace,
    /// The old content stays and the new is added behind it, in place; cut back to its old
    /// length if the upload fails. A file that is not there is made.
    Append,
    /// The first so many bytes of the old content stay, the new follow, the rest is gone.
    /// `BadRestart` if there are fewer.
    From(u64),
}
