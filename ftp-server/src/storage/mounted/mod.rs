//! Several storages in one tree.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::{
    Ask, Capabilities, Change, Confine, DirectoryUse, Entries, Entry, EntryKind, Keep, Metadata,
    RoomFor, Source, Space, Storage, StorageError, StorageErrorKind as Kind, StorageResult,
    Unfinished, Upload, VirtualPath, WriteMode,
};

/// Several storages in one tree: the first one at `/`, the others mounted at directories below it.
///
/// - A path belongs to the storage with the longest mount point that contains the path. That
///   storage sees the path from its own root, so its symbolic links never lead into another
///   storage.
/// - A mount point appears in the listing of its parent directory, even if the storage there has no
///   such directory. The mount point hides an object of that storage with the same path, and
///   everything below that object. Symbolic links of that storage can still lead to hidden objects.
///   Missing directories above a mount point appear in listings, but nothing can be stored in them.
/// - A mount point and the directories above it can be neither renamed nor removed. Renaming from
///   one storage to another fails with `CrossesMounts`.
/// - Each storage has its own [`space`](Storage::space): free bytes, and a quota or none.
/// - A mount point whose storage is [`unavailable`](Self::unavailable) is still listed. Access to
///   its files fails with `Unavailable`, so that no client concludes that the files were removed.
///
/// The thread of a session is confined to what all storages need together, unless one of them says
/// [`Confine::No`]. A storage that wraps another must forward [`confine`](Storage::confine).
///
/// ```
/// use ftp_server::{Ask, MemoryStorage, MountedStorage, Rights, Server, Storage, VirtualPath};
///
/// let own = MemoryStorage::new();
/// let shared = MemoryStorage::new();
/// shared.put("/manual.txt", "how to")?;
///
/// let tree = MountedStorage::new(own).mount("/team/pub", shared)?;
/// assert_eq!(tree.stat(&VirtualPath::from("/team/pub/manual.txt"), Ask::Facts)?.size, 6);
/// let mut names = tree.list(&VirtualPath::root(), Ask::Names)?;
/// assert_eq!(names.next().expect("the mount")?.name, b"team");
///
/// let server = Server::builder().storage(tree).user("u", "p", Rights::FULL).bind("127.0.0.1:0")?;
/// # server.shutdown(std::time::Duration::ZERO);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct MountedStorage {
    root: Arc<dyn Storage>,
    /// Mounts, sorted by the length of their paths, the longest first.
    mounts: Vec<Mount>,
}

#[derive(Clone)]
struct Mount {
    path: VirtualPath,
    /// `None` if the storage is unavailable.
    storage: Option<Arc<dyn Storage>>,
}

struct MountPlace<'a> {
    storage: &'a dyn Storage,
    /// The path from the root of the storage.
    path: VirtualPath,
    /// The mount point; `None` for the first storage.
    mount: Option<&'a VirtualPath>,
}

impl MountedStorage {
    /// Returns a tree with one storage, at `/`. Use [`mount`](Self::mount) to add others.
    #[must_use]
    pub fn new(root: impl Storage + 'static) -> Self {
        Self { root: Arc::new(root), mounts: Vec::new() }
    }

    /// Mounts a storage at a directory of the tree. This directory may be below another mount
    /// point.
    ///
    /// # Errors
    ///
    /// Returns `Denied` if the path is `/`, `Exists` if it is already a mount point, or
    /// `NameNotAllowed` if it is too long for clients.
    pub fn mount(
        self,
        path: impl Into<VirtualPath>,
        storage: impl Storage + 'static,
    ) -> StorageResult<Self> {
        self.with(Mount { path: path.into(), storage: Some(Arc::new(storage)) })
    }

    /// Adds a mount point whose storage is unavailable, such as a disk that is not connected.
    ///
    /// # Errors
    ///
    /// Returns an error of [`mount`](Self::mount).
    pub fn unavailable(self, path: impl Into<VirtualPath>) -> StorageResult<Self> {
        self.with(Mount { path: path.into(), storage: None })
    }

    fn with(mut self, mount: Mount) -> StorageResult<Self> {
        if mount.path.is_root() {
            return Err(Kind::Denied.into());
        }
        if mount.path.is_too_long() {
            return Err(Kind::NameNotAllowed.into());
        }
        if self.mounts.iter().any(|other| other.path == mount.path) {
            return Err(Kind::Exists.into());
        }
        let length = |mount: &Mount| mount.path.as_bytes().len();
        let at = self.mounts.partition_point(|other| length(other) > length(&mount));
        self.mounts.insert(at, mount);
        Ok(self)
    }

    /// Returns the storage to which a path belongs, and the path in that storage.
    ///
    /// # Errors
    ///
    /// Returns `Unavailable` if that storage is unavailable.
    fn place(&self, path: &VirtualPath) -> StorageResult<MountPlace<'_>> {
        let within = |mount: &'_ Mount| path.relative_to(&mount.path);
        match self.mounts.iter().find_map(|mount| Some((mount, within(mount)?))) {
            Some((Mount { path: mount, storage: Some(storage) }, path)) => {
                Ok(MountPlace { storage, path, mount: Some(mount) })
            }
            Some((Mount { storage: None, .. }, _)) => Err(Kind::Unavailable.into()),
            None => Ok(MountPlace { storage: &self.root, path: path.clone(), mount: None }),
        }
    }

    /// Returns the result of [`place`](Self::place) for a path that must exist in a storage.
    ///
    /// # Errors
    ///
    /// Returns `Denied` if the directory exists only because there is a mount point below it.
    /// Returns `Unavailable` if the storage is unavailable, or an error of the storage.
    fn existing(&self, path: &VirtualPath) -> StorageResult<MountPlace<'_>> {
        match self.is_made_up(path)? {
            true => Err(Kind::Denied.into()),
            false => self.place(path),
        }
    }

    fn is_mount_point(&self, path: &VirtualPath) -> bool {
        self.mounts.iter().any(|mount| mount.path == *path)
    }

    /// Returns whether `path` is a mount point or a directory above one.
    fn holds_mounts(&self, path: &VirtualPath) -> bool {
        self.mounts.iter().any(|mount| mount.path.is_at_or_below(path))
    }

    /// Returns the names in `directory` that are mount points or have one below them.
    fn names_of_mounts(&self, directory: &VirtualPath) -> BTreeSet<Vec<u8>> {
        let below = self.mounts.iter().filter_map(|mount| mount.path.relative_to(directory));
        let names = below.filter(|below| !below.is_root()).map(|below| {
            let first = below.relative().split(|&byte| byte == b'/').next();
            first.unwrap_or_default().to_vec()
        });
        names.collect()
    }

    /// Returns whether this directory exists only because there is a mount point below it.
    ///
    /// # Errors
    ///
    /// Returns an error if the storage cannot tell whether it has the directory.
    fn is_made_up(&self, path: &VirtualPath) -> StorageResult<bool> {
        if !self.holds_mounts(path) || self.is_mount_point(path) {
            return Ok(false);
        }
        let MountPlace { storage, path, .. } = self.place(path)?;
        match storage.stat(&path, Ask::Facts) {
            Ok(found) => Ok(found.kind != EntryKind::Directory),
            Err(error) if error.is_missing() => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Returns the error `taken` if `path` is a mount point or a directory above one.
    fn check_new(&self, path: &VirtualPath, taken: Kind) -> StorageResult<()> {
        match self.holds_mounts(path) {
            true => Err(taken.into()),
            false => Ok(()),
        }
    }

    /// Converts the error for an object that could not be created at `path`. If the parent exists
    /// only because there is a mount point below it, the error must not say that the parent is
    /// missing, because listings show it.
    fn refused(&self, path: &VirtualPath, error: StorageError) -> StorageError {
        let is_in_made_up =
            || path.parent().is_some_and(|parent| self.is_made_up(&parent).is_ok_and(|it| it));
        match error.kind {
            Kind::NotFound | Kind::NotDirectory if is_in_made_up() => Kind::Denied.into(),
            _ => error,
        }
    }

    /// Returns the entries of `directory` that are mount points or have one below them.
    fn entries_of_mounts(
        &self,
        directory: &VirtualPath,
        names: &BTreeSet<Vec<u8>>,
        ask: Ask,
    ) -> Vec<Entry> {
        let entry = |name: &Vec<u8>| {
            let failed = || Metadata::directory().fixed(DirectoryUse::Unavailable);
            let metadata = match ask {
                Ask::Names => Metadata::directory(),
                _ => self.stat(&directory.join(name), ask).unwrap_or_else(|_| failed()),
            };
            Entry::new(&**name, metadata)
        };
        names.iter().map(entry).collect()
    }

    /// Returns the metadata of a directory that no storage provides: an unavailable mount point, or
    /// a directory above a mount point. Nothing can be stored in it.
    fn made_up(&self, path: &VirtualPath) -> Metadata {
        // No device has such a number. Each mount point has only one directory above it at each
        // depth, so the pair of depth and number is unique.
        let number = self.mounts.iter().position(|mount| mount.path.is_at_or_below(path));
        let depth = path.as_bytes().iter().filter(|&&byte| byte == b'/').count();
        let [number, depth] = [number.unwrap_or_default(), depth].map(|it| it as u64);
        let within = match self.is_mount_point(path) {
            true => DirectoryUse::Unavailable,
            false => DirectoryUse::Browse,
        };
        Metadata::directory().mode(0o555).identity(u64::MAX - depth, number).fixed(within)
    }
}

impl Storage for MountedStorage {
    fn capabilities(&self) -> Capabilities {
        let sum = self.all().fold(Capabilities::NONE, |sum, one| sum | one.capabilities());
        [Capabilities::BOUNDED_WAITS, Capabilities::LINKS].into_iter().fold(sum, |sum, promise| {
            let is_kept = self.all().all(|storage| storage.capabilities().contains(promise));
            sum.without(promise) | promise.only_if(is_kept)
        })
    }

    fn confine(&self) -> Confine<'_> {
        self.all().fold(Confine::Neutral, |needed, storage| needed.and(storage.confine()))
    }

    fn stat(&self, path: &VirtualPath, ask: Ask) -> StorageResult<Metadata> {
        // For a link to the outside, the two kinds of questions have different answers.
        if ask == Ask::Directory && self.is_made_up(path)? {
            return Ok(self.made_up(path));
        }
        let found = self.place(path).and_then(|place| place.storage.stat(&place.path, ask));
        if !self.holds_mounts(path) {
            return found;
        }
        let is_made_up = match &found {
            Ok(found) => found.kind != EntryKind::Directory,
            // A failing disk must not look like an empty directory.
            Err(error) if self.is_mount_point(path) => {
                error.kind == Kind::Unavailable && ask != Ask::Directory
            }
            Err(error) => error.is_missing(),
        };
        match (is_made_up, found) {
            (true, _) => Ok(self.made_up(path)),
            (false, found) => found.map(|found| found.fixed(found.directory_use)),
        }
    }

    fn list(&self, path: &VirtualPath, ask: Ask) -> StorageResult<Entries> {
        let names = self.names_of_mounts(path);
        let mounted = self.entries_of_mounts(path, &names, ask).into_iter().map(Ok);
        if self.is_made_up(path)? {
            return Ok(Entries::new(mounted));
        }
        let MountPlace { storage, path: inner, .. } = self.place(path)?;
        if names.is_empty() {
            return storage.list(&inner, ask);
        }
        let others = storage.list(&inner, ask)?.filter(move |entry| {
            let entry = entry.as_ref();
            entry.map_or(true, |entry| !names.contains(&entry.name))
        });
        Ok(Entries::new(mounted.chain(others)))
    }

    fn read(&self, path: &VirtualPath) -> StorageResult<Box<dyn Source>> {
        if self.is_made_up(path)? {
            return Err(Kind::IsDirectory.into());
        }
        let MountPlace { storage, path, .. } = self.place(path)?;
        storage.read(&path)
    }

    fn write(
        &self,
        path: &VirtualPath,
        mode: WriteMode,
        keep: Keep<'_>,
    ) -> StorageResult<Box<dyn Upload>> {
        let MountPlace { storage, path: inner, .. } = self.place(path)?;
        self.check_new(path, Kind::IsDirectory)?;
        storage.write(&inner, mode, keep).map_err(|error| self.refused(path, error))
    }

    fn unfinished(
        &self,
        path: &VirtualPath,
        user: Option<&[u8]>,
    ) -> StorageResult<Option<Unfinished>> {
        let MountPlace { storage, path, .. } = self.place(path)?;
        storage.unfinished(&path, user)
    }

    fn kept(&self, path: &VirtualPath, user: Option<&[u8]>) -> StorageResult<Box<dyn Source>> {
        let MountPlace { storage, path, .. } = self.place(path)?;
        storage.kept(&path, user)
    }

    fn forget(&self, path: &VirtualPath, user: Option<&[u8]>) -> StorageResult<Option<Unfinished>> {
        let MountPlace { storage, path, .. } = self.place(path)?;
        storage.forget(&path, user)
    }

    fn remove(&self, path: &VirtualPath) -> StorageResult<()> {
        self.check_new(path, Kind::IsDirectory)?;
        let MountPlace { storage, path, .. } = self.place(path)?;
        storage.remove(&path)
    }

    fn rmdir(&self, path: &VirtualPath) -> StorageResult<()> {
        let is_mount_point = self.is_mount_point(path);
        self.check_new(path, if is_mount_point { Kind::Denied } else { Kind::NotEmpty })?;
        let MountPlace { storage, path, .. } = self.place(path)?;
        storage.rmdir(&path)
    }

    fn mkdir(&self, path: &VirtualPath) -> StorageResult<()> {
        self.check_new(path, Kind::Exists)?;
        let MountPlace { storage, path: inner, .. } = self.place(path)?;
        storage.mkdir(&inner).map_err(|error| self.refused(path, error))
    }

    fn rename(&self, from: &VirtualPath, to: &VirtualPath, replace: bool) -> StorageResult<()> {
        self.check_new(from, Kind::Denied)?;
        let source = self.place(from)?;
        let target = self.place(to)?;
        self.check_new(to, Kind::IsDirectory)?;
        if source.mount != target.mount {
            return Err(Kind::CrossesMounts.into());
        }
        let renamed = source.storage.rename(&source.path, &target.path, replace);
        renamed.map_err(|error| self.refused(to, error))
    }

    fn set(&self, path: &VirtualPath, change: Change) -> StorageResult<Metadata> {
        let MountPlace { storage, path, .. } = self.existing(path)?;
        storage.set(&path, change)
    }

    fn space(&self, path: &VirtualPath, room: RoomFor) -> StorageResult<Space> {
        let MountPlace { storage, path, .. } = self.existing(path)?;
        storage.space(&path, room)
    }
}

impl MountedStorage {
    /// Returns all storages that are available.
    fn all(&self) -> impl Iterator<Item = &Arc<dyn Storage>> {
        let mounted = self.mounts.iter().filter_map(|mount| mount.storage.as_ref());
        [&self.root].into_iter().chain(mounted)
    }
}

impl fmt::Debug for MountedStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.mounts.iter().map(|mount| &mount.path)).finish()
    }
}
