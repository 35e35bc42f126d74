//! What a storage says of its objects.

/// One entry of a directory.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Entry {
    /// Its name, without any directory part.
    pub name: Vec<u8>,
    /// What it is.
    pub metadata: Metadata,
}

impl Entry {
    /// An entry of this name, which has no directory part.
    #[must_use]
    pub fn new(name: impl Into<Vec<u8>>, metadata: Metadata) -> Self {
        Self { name: name.into(), metadata }
    }
}

/// What a storage knows of an object.
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
    /// What kind of object.
    pub kind: EntryKind,
    /// Size in bytes; of a directory, whatever the storage calls its size.
    pub size: u64,
    /// When its content last changed: seconds since 1970-01-01T00:00:00Z.
    pub modified: i64,
    /// The permission bits of its mode, `0o7777`.
    pub mode: u32,
    /// How many names it has.
    pub links: u64,
    /// The numbers of its owner and its group, where the storage has such.
    pub ids: Option<(u32, u32)>,
    /// The device and inode, or any pair of numbers equal exactly for the same object.
    pub identity: (u64, u64),
}

/// What an object is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link that leads nowhere or out of the root.
    Symlink,
    /// A FIFO, socket or device, which FTP can neither read nor write.
    Special,
}

impl Metadata {
    /// An object of this kind: empty, modified at 1970-01-01T00:00:00Z, with one name, no owner
    /// that is known, the identity (0, 0), and the mode `0o755` for a directory or `0o644`.
    #[must_use]
    pub const fn new(kind: EntryKind) -> Self {
        let mode = match kind {
            EntryKind::Directory => 0o755,
            EntryKind::File | EntryKind::Symlink | EntryKind::Special => 0o644,
        };
        Self { kind, size: 0, modified: 0, mode, links: 1, ids: None, identity: (0, 0) }
    }

    /// A file of `size` bytes.
    #[must_use]
    pub const fn file(size: u64) -> Self {
        Self::new(EntryKind::File).size(size)
    }

    /// A directory.
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

    /// Sets when the content last changed, in seconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn modified(mut self, modified: i64) -> Self {
        self.modified = modified;
        self
    }

    /// Sets the permission bits, `0o7777` at most.
    #[must_use]
    pub const fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Sets how many names the object has.
    #[must_use]
    pub const fn links(mut self, links: u64) -> Self {
        self.links = links;
        self
    }

    /// Sets the numbers of the owner and the group.
    #[must_use]
    pub const fn owner(mut self, user: u32, group: u32) -> Self {
        self.ids = Some((user, group));
        self
    }

    /// Sets the pair of numbers that only the same object has.
    #[must_use]
    pub const fn identity(mut self, device: u64, inode: u64) -> Self {
        self.identity = (device, inode);
        self
    }
}
