//! Metadata of objects in a storage, and the entries of a directory.

use std::fmt;
use std::time::Duration;

use super::remote::RemoteEntries;
use super::{StorageErrorKind, StorageResult};

/// One entry of a directory.
#[derive(Clone)]
#[non_exhaustive]
pub struct Entry {
    /// The name, without a directory part.
    pub name: Vec<u8>,
    /// The metadata of the object.
    pub metadata: Metadata,
    /// The text of the link, if the name is a symbolic link that the storage follows: `metadata` is
    /// that of the object to which it leads. The text is empty if clients may not see it. `FEAT`
    /// promises clients that a directory without it is not a link, so that they remove its content.
    pub link: Option<Vec<u8>>,
}

ftp_proto::debug_fields!(Entry {
    name: ftp_proto::Escaped(name),
    metadata,
    link: link.as_deref().map(ftp_proto::Escaped),
});

impl Entry {
    /// Returns an entry named `name`, which must have no directory part.
    #[must_use]
    pub fn new(name: impl Into<Vec<u8>>, metadata: Metadata) -> Self {
        Self { name: name.into(), metadata, link: None }
    }

    /// Makes the entry that of a symbolic link with this text, or not.
    #[must_use]
    pub fn through(mut self, link: Option<Vec<u8>>) -> Self {
        self.link = link;
        self
    }
}

/// Metadata of an object.
///
/// ```
/// use ftp_server::Metadata;
///
/// let file = Metadata::file(5).modified(1_700_000_000).identity(0, 7);
/// assert_eq!((file.mode, file.links), (0o644, 1));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Metadata {
    /// Kind of object.
    pub kind: EntryKind,
    /// Size in bytes; can be any number for a directory.
    pub size: u64,
    /// Modification time of the content, in seconds since 1970-01-01T00:00:00Z.
    pub modified: i64,
    /// Permission bits, up to `0o7777`.
    pub mode: u32,
    /// Number of names (hard links).
    pub links: u64,
    /// User and group id, if the storage has them.
    pub ids: Option<(u32, u32)>,
    /// Device and inode number, or another pair of numbers that no other object has: the `unique` fact
    /// of `MLSD`. With (0, 0), the object has no such fact.
    pub identity: (u64, u64),
    /// Whether the object cannot be renamed or, if it is a directory, removed, whatever rights the user
    /// has. `RNFR` refuses it, and its `perm` fact shows that.
    pub is_fixed: bool,
    /// The operations that the storage allows in a directory, or in the directory of a file, which the
    /// `perm` fact shows.
    pub directory_use: DirectoryUse,
}

/// The operations that a storage allows in a directory, whatever rights the client has.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum DirectoryUse {
    /// All operations that the client's rights allow.
    #[default]
    Full,
    /// Clients can enter and list the directory, but not create or remove anything in it.
    Browse,
    /// No operation.
    Unavailable,
}

/// Kind of an object.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link that the storage cannot follow. For example, its target is missing or
    /// outside the root.
    Symlink,
    /// A FIFO, socket or device, which FTP can neither read nor write.
    Special,
}

/// What differs between two contents of a file, as far as its metadata shows: the identity without
/// the device, the size and the time.
pub(crate) type Version = (u64, u64, i64);

impl EntryKind {
    /// Checks that this is a regular file.
    ///
    /// # Errors
    ///
    /// Returns `IsDirectory` or `NotFile` if it is not.
    pub fn check_file(self) -> StorageResult<()> {
        match self {
            Self::File => Ok(()),
            Self::Directory => Err(StorageErrorKind::IsDirectory.into()),
            Self::Symlink | Self::Special => Err(StorageErrorKind::NotFile.into()),
        }
    }
}

impl Metadata {
    /// Returns the version of a file's content. The device does not count, because a restart may
    /// change it, nor does the time of the last change of its attributes: a change of owner or mode
    /// does not make another file of it.
    pub(crate) fn version(&self) -> Version {
        (self.identity.1, self.size, self.modified)
    }

    pub(crate) fn user_id(&self) -> Option<u32> {
        self.ids.map(|(user, _)| user)
    }

    pub(crate) fn group_id(&self) -> Option<u32> {
        self.ids.map(|(_, group)| group)
    }

    /// Returns metadata of an empty object of this kind. The modification time is
    /// 1970-01-01T00:00:00Z. The object has one name, no known owner and the identity (0, 0), and all
    /// operations are allowed. The mode is `0o755` for a directory, otherwise `0o644`.
    #[must_use]
    pub const fn new(kind: EntryKind) -> Self {
        let mode = match kind {
            EntryKind::Directory => 0o755,
            EntryKind::File | EntryKind::Symlink | EntryKind::Special => 0o644,
        };
        let directory_use = DirectoryUse::Full;
        Self {
            kind,
            size: 0,
            modified: 0,
            mode,
            links: 1,
            ids: None,
            identity: (0, 0),
            is_fixed: false,
            directory_use,
        }
    }

    /// Returns metadata of a file of `size` bytes, otherwise like [`new`](Self::new).
    #[must_use]
    pub const fn file(size: u64) -> Self {
        Self::new(EntryKind::File).size(size)
    }

    /// Returns metadata of a directory.
    #[must_use]
    pub const fn directory() -> Self {
        Self::new(EntryKind::Directory)
    }

    /// Sets the size in bytes.
    #[must_use]
    pub const fn size(mut self, size: u64) -> Self {
        self.size = size;
        self
    }

    /// Sets the modification time, in seconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn modified(mut self, modified: i64) -> Self {
        self.modified = modified;
        self
    }

    /// Sets the permission bits, up to `0o7777`.
    #[must_use]
    pub const fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Sets the number of names.
    #[must_use]
    pub const fn links(mut self, links: u64) -> Self {
        self.links = links;
        self
    }

    /// Sets the user and group id.
    #[must_use]
    pub const fn owner(mut self, user: u32, group: u32) -> Self {
        self.ids = Some((user, group));
        self
    }

    /// Sets the identity, which must be unique to this object.
    #[must_use]
    pub const fn identity(mut self, device: u64, inode: u64) -> Self {
        self.identity = (device, inode);
        self
    }

    /// Checks that the object is a directory.
    ///
    /// # Errors
    ///
    /// Returns `NotDirectory` if it is not.
    pub fn check_directory(&self) -> StorageResult<()> {
        match self.kind {
            EntryKind::Directory => Ok(()),
            _ => Err(StorageErrorKind::NotDirectory.into()),
        }
    }

    /// Forbids to rename the object, and limits the operations in it if it is a directory.
    #[must_use]
    pub const fn fixed(mut self, within: DirectoryUse) -> Self {
        self.is_fixed = true;
        self.directory_use = within;
        self
    }
}

/// The entries of a directory. After an error there are no more items.
///
/// ```
/// use ftp_server::{Entries, Entry, Metadata, StorageError};
///
/// let entry = Entry::new("readme", Metadata::file(9));
/// let mut entries = Entries::new(std::iter::once(Ok(entry)));
/// assert_eq!(entries.next().expect("an entry")?.name, b"readme");
/// assert!(entries.next().is_none());
/// # Ok::<(), StorageError>(())
/// ```
pub struct Entries(Items);

enum Items {
    Here(Box<dyn Iterator<Item = StorageResult<Entry>> + Send>),
    Remote(Box<RemoteEntries>),
}

impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entries").finish_non_exhaustive()
    }
}

impl Entries {
    /// Wraps an iterator, whose calls may block.
    pub fn new(items: impl Iterator<Item = StorageResult<Entry>> + Send + 'static) -> Self {
        Self(Items::Here(Box::new(items)))
    }

    pub(super) fn remote(items: RemoteEntries) -> Self {
        Self(Items::Remote(Box::new(items)))
    }

    /// Waits at most `limit` for the next item, and returns whether it is available without a wait.
    pub(crate) fn is_ready(&mut self, limit: Duration) -> bool {
        match &mut self.0 {
            Items::Here(_) => true,
            Items::Remote(items) => items.is_ready(limit),
        }
    }
}

impl Iterator for Entries {
    type Item = StorageResult<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Items::Here(items) => items.next(),
            Items::Remote(items) => items.next(),
        }
    }
}
