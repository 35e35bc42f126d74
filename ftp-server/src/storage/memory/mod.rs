//! Files in memory, for tests and short-lived data.

#[cfg(test)]
pub(super) mod tests;
mod tree;

use std::io::{self, Cursor};
use std::ops::Bound;
use std::sync::{Arc, MutexGuard};

use self::tree::{MemoryDirectory, MemoryObject, Node, Tree};
use super::records::{MemoryRecords, RecordedUpload};
use super::space::{Charge, Content, Room};
use super::{
    Ask, Capabilities, Change, Confine, Entries, Entry, EntryKind, Keep, Metadata, RoomFor, Source,
    Space, Storage, StorageErrorKind as Kind, StorageResult, StreamEnd, Unfinished, Upload,
    VirtualPath, WriteMode, check_rename,
};
use crate::deadline::unix_now;
use crate::lock::Lock;

/// Default limit in bytes.
const LIMIT: u64 = 64 * 1024 * 1024;

/// Cost of an object besides its name and content, in bytes: about the memory that the tree needs.
const OBJECT: u64 = 256;

/// Maximum length of a name in bytes, as on a disk.
const LONGEST: usize = 255;

/// A tree of files in memory, shared by its clones and freed with the last one.
///
/// It has all [`Capabilities`], but no quotas. It keeps times and permission bits, but the bits
/// have no effect. [`space`](Storage::space) returns the free bytes, and a user can resume an
/// unfinished upload for 12 hours. There are no links. An upload, even an append, becomes visible only
/// when it is committed. Readers see a file as it was when they opened it.
///
/// The limit of the whole tree is 64 MiB, or the one given to [`limited`](Self::limited). It covers
/// the contents of all files, of running and partial uploads, and of deleted or replaced files that
/// are being read. For each object, it also covers the name and 256 bytes. A call that would exceed
/// the limit fails with `NoSpace`. A growing file may take twice its size in memory.
///
/// ```
/// use std::time::Duration;
///
/// use ftp_server::{MemoryStorage, Rights, Server};
///
/// let storage = MemoryStorage::new();
/// storage.put("/pub/hello", "hello\n")?;
///
/// let server =
///     Server::builder().storage(storage.clone()).user("u", "p", Rights::FULL).bind("127.0.0.1:0")?;
/// // Clients of server.local_addr() can read /pub/hello, and their uploads appear in the storage.
/// server.shutdown(Duration::ZERO);
/// assert_eq!(storage.get("/pub/hello").as_deref(), Some(&b"hello\n"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct MemoryStorage {
    tree: Arc<Lock<Tree>>,
    room: Arc<Room>,
}

impl Default for MemoryStorage {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStorage {
    /// Returns an empty tree of at most 64 MiB.
    #[must_use]
    pub fn new() -> Self {
        let root = MemoryObject {
            node: Node::Directory(MemoryDirectory::new()),
            modified: unix_now(),
            mode: 0o755,
            number: 1,
            version: 0,
            _charge: None,
        };
        let tree = Tree { root, next: 2, records: MemoryRecords::default() };
        Self { tree: Arc::new(Lock::new(tree)), room: Room::new(LIMIT) }
    }

    /// Returns an empty tree of at most `bytes` bytes.
    #[must_use]
    pub fn limited(bytes: u64) -> Self {
        Self { room: Room::new(bytes), ..Self::new() }
    }

    /// Creates or replaces a file, and creates missing parent directories.
    ///
    /// # Errors
    ///
    /// Returns:
    ///
    /// - `NotDirectory` if a parent is a file;
    /// - `IsDirectory` if `path` is a directory;
    /// - `NameNotAllowed` if clients may not create the path;
    /// - `NoSpace` if the limit is reached.
    pub fn put(
        &self,
        path: impl Into<VirtualPath>,
        content: impl AsRef<[u8]>,
    ) -> StorageResult<()> {
        let path = path.into();
        let mut missing = Vec::new();
        let mut directory = path.parent();
        while let Some(path) = directory {
            match self.stat(&path, Ask::Facts) {
                Ok(Metadata { kind: EntryKind::Directory, .. }) => break,
                Ok(_) => return Err(Kind::NotDirectory.into()),
                Err(_) => {
                    directory = path.parent();
                    missing.push(path);
                }
            }
        }
        for path in missing.iter().rev() {
            self.mkdir(path)?;
        }
        let mut upload = self.write(&path, WriteMode::Replace, Keep::Shared)?;
        upload.write_all(content.as_ref())?;
        upload.commit()
    }

    /// Returns the content of a file; `None` if there is no such file.
    #[must_use]
    pub fn get(&self, path: impl Into<VirtualPath>) -> Option<Vec<u8>> {
        match &self.tree().object(&path.into()).ok()?.node {
            Node::File(content) => Some(content.bytes.clone()),
            Node::Directory(_) => None,
        }
    }

    /// Returns the paths of all files, sorted. Uncommitted uploads are not included.
    ///
    /// ```
    /// use ftp_server::{MemoryStorage, VirtualPath};
    ///
    /// let storage = MemoryStorage::new();
    /// storage.put("/b/c", "two")?;
    /// storage.put("/a", "one")?;
    /// assert_eq!(storage.files(), ["/a", "/b/c"].map(VirtualPath::from));
    /// # Ok::<(), ftp_server::StorageError>(())
    /// ```
    #[must_use]
    pub fn files(&self) -> Vec<VirtualPath> {
        let mut files = self.tree().files();
        files.sort_unstable_by(|one, other| one.as_bytes().cmp(other.as_bytes()));
        files
    }

    fn tree(&self) -> MutexGuard<'_, Tree> {
        // A thread that panics while it holds the lock has not changed anything yet.
        self.tree.lock()
    }

    fn charge(&self, bytes: u64) -> StorageResult<Charge> {
        let mut charge = Charge { room: Arc::clone(&self.room), bytes: 0 };
        charge.grow(bytes)?;
        Ok(charge)
    }

    fn no_content(&self) -> Content {
        Content::empty(Arc::clone(&self.room))
    }

    fn begin(
        &self,
        path: &VirtualPath,
        mode: WriteMode,
        keep: Keep<'_>,
    ) -> StorageResult<Box<dyn Upload>> {
        if path.is_root() {
            return Err(Kind::IsDirectory.into());
        }
        check_new(path)?;
        let mut tree = self.tree();
        tree.directory(&path.parent().unwrap_or_default()).map_err(|_| Kind::NotFound)?;
        let old = match tree.object(path) {
            Ok(MemoryObject { node: Node::Directory(_), .. }) => {
                return Err(Kind::IsDirectory.into());
            }
            Ok(_) if mode == WriteMode::Create => return Err(Kind::Exists.into()),
            Ok(MemoryObject { node: Node::File(content), .. }) => Some(Arc::clone(content)),
            Err(_) => None,
        };
        let mut content = self.no_content();
        let version = tree.version(path);
        let unfinished = tree.records.begin(path, mode, keep, version, &mut content)?;
        if let WriteMode::From(from) = mode {
            let old = old.as_ref().map_or(&[][..], |old| &old.bytes);
            let first = usize::try_from(from).ok().and_then(|count| old.get(..count));
            content.add(first.ok_or(Kind::BadRestart)?)?;
        }
        let (storage, path, old) = (self.clone(), path.clone(), version);
        let content = Some(content);
        Ok(Box::new(MemoryUpload { storage, path, mode, old, unfinished, content }))
    }
}

impl Storage for MemoryStorage {
    fn capabilities(&self) -> Capabilities {
        Capabilities::ALL | Capabilities::BOUNDED_WAITS | Capabilities::LINKS
    }

    fn confine(&self) -> Confine<'_> {
        Confine::Neutral
    }

    fn stat(&self, path: &VirtualPath, _ask: Ask) -> StorageResult<Metadata> {
        self.tree().object(path).map(MemoryObject::metadata)
    }

    fn list(&self, path: &VirtualPath, _ask: Ask) -> StorageResult<Entries> {
        self.tree().directory(path)?;
        let listing =
            MemoryListing { storage: self.clone(), path: path.clone(), last: Bound::Unbounded };
        Ok(Entries::new(listing))
    }

    fn read(&self, path: &VirtualPath) -> StorageResult<Box<dyn Source>> {
        match &self.tree().object(path)?.node {
            Node::File(content) => Ok(Box::new(Cursor::new(Opened(Arc::clone(content))))),
            Node::Directory(_) => Err(Kind::IsDirectory.into()),
        }
    }

    fn write(
        &self,
        path: &VirtualPath,
        mode: WriteMode,
        keep: Keep<'_>,
    ) -> StorageResult<Box<dyn Upload>> {
        self.begin(path, mode, keep)
    }

    fn unfinished(
        &self,
        path: &VirtualPath,
        user: Option<&[u8]>,
    ) -> StorageResult<Option<Unfinished>> {
        let mut tree = self.tree();
        let version = tree.version(path);
        Ok(tree.records.unfinished(path, user, version.as_ref()))
    }

    fn kept(&self, _: &VirtualPath, _: Option<&[u8]>) -> StorageResult<Box<dyn Source>> {
        Err(Kind::NotFound.into())
    }

    fn forget(&self, path: &VirtualPath, user: Option<&[u8]>) -> StorageResult<Option<Unfinished>> {
        let mut tree = self.tree();
        let version = tree.version(path);
        Ok(tree.records.forget(path, user, version.as_ref()))
    }

    fn remove(&self, path: &VirtualPath) -> StorageResult<()> {
        let mut tree = self.tree();
        match tree.object(path)?.node {
            Node::Directory(_) => Err(Kind::IsDirectory.into()),
            Node::File(_) => {
                tree.take(path)?;
                tree.records.removed(path, u64::MAX);
                Ok(())
            }
        }
    }

    fn rmdir(&self, path: &VirtualPath) -> StorageResult<()> {
        let mut tree = self.tree();
        match tree.directory(path) {
            _ if path.is_root() => Err(Kind::Denied.into()),
            Ok(entries) if !entries.is_empty() => Err(Kind::NotEmpty.into()),
            Ok(_) if tree.records.is_running_below(path) => Err(Kind::Busy.into()),
            Ok(_) => {
                tree.records.removed_directory(path, u64::MAX);
                tree.take(path).map(drop)
            }
            Err(error) => Err(error),
        }
    }

    fn mkdir(&self, path: &VirtualPath) -> StorageResult<()> {
        if path.is_root() {
            return Err(Kind::Exists.into());
        }
        check_new(path)?;
        let mut tree = self.tree();
        if tree.object(path).is_ok() {
            return Err(Kind::Exists.into());
        }
        let charge = self.room_for_object(&tree, path)?;
        Self::make(&mut tree, path, Node::Directory(MemoryDirectory::new()), 0o755, charge)
    }

    fn rename(&self, from: &VirtualPath, to: &VirtualPath, replace: bool) -> StorageResult<()> {
        check_rename(from, to)?;
        check_new(to)?;
        let mut tree = self.tree();
        let is_directory = matches!(tree.object(from)?.node, Node::Directory(_));
        tree.directory(&to.parent().unwrap_or_default()).map_err(|_| Kind::NotFound)?;
        if from == to {
            return Ok(());
        }
        if to.is_at_or_below(from) {
            return Err(Kind::Denied.into());
        }
        match tree.object(to) {
            Ok(_) if !replace => return Err(Kind::Exists.into()),
            Ok(MemoryObject { node: Node::Directory(_), .. }) => {
                return Err(Kind::IsDirectory.into());
            }
            Ok(_) if is_directory => return Err(Kind::NotDirectory.into()),
            Ok(_) | Err(_) => {}
        }
        tree.records.renamed(from, to, u64::MAX);
        let object = tree.take(from)?;
        tree.put(to, object)
    }

    fn set(&self, path: &VirtualPath, change: Change) -> StorageResult<Metadata> {
        let mut tree = self.tree();
        let object = tree.object_mut(path)?;
        match change {
            Change::Modified(time) => object.modified = time,
            Change::Mode(_) if path.is_root() => return Err(Kind::Denied.into()),
            Change::Mode(mode) => object.mode = mode & 0o777,
        }
        Ok(object.metadata())
    }

    fn space(&self, path: &VirtualPath, room: RoomFor) -> StorageResult<Space> {
        let (RoomFor::New(wanted) | RoomFor::More(wanted)) = room else {
            return Ok(Space::default());
        };
        self.tree().directory(path)?;
        loop {
            let free = self.room.free();
            if free >= wanted || !self.tree().records.drop_oldest(wanted - free) {
                return Ok(Space::free(free));
            }
        }
    }
}

impl MemoryStorage {
    /// Checks that an object can be created at `path`, and reserves the room for it.
    fn room_for_object(&self, tree: &Tree, path: &VirtualPath) -> StorageResult<Charge> {
        tree.directory(&path.parent().unwrap_or_default()).map_err(|_| Kind::NotFound)?;
        self.charge(OBJECT.saturating_add(path.name().unwrap_or_default().len() as u64))
    }

    /// Creates an object. The caller has checked that the name is free.
    fn make(
        tree: &mut Tree,
        path: &VirtualPath,
        node: Node,
        mode: u32,
        charge: Charge,
    ) -> StorageResult<()> {
        let (number, version) = (tree.number(), tree.number());
        let _charge = Some(charge);
        tree.put(path, MemoryObject { node, modified: unix_now(), mode, number, version, _charge })
    }
}

/// The entries of a directory, each looked up on demand.
struct MemoryListing {
    storage: MemoryStorage,
    path: VirtualPath,
    last: Bound<Vec<u8>>,
}

impl Iterator for MemoryListing {
    type Item = StorageResult<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        let tree = self.storage.tree();
        let entries = tree.directory(&self.path).ok()?;
        let (name, object) = entries.range((self.last.clone(), Bound::Unbounded)).next()?;
        self.last = Bound::Excluded(name.clone());
        Some(Ok(Entry::new(&**name, object.metadata())))
    }
}

/// Returns `NameNotAllowed` if clients may not create the path.
fn check_new(path: &VirtualPath) -> StorageResult<()> {
    let is_bad = |name: &[u8]| {
        let has_bad_byte = name.iter().any(|byte| b"\0\r\n".contains(byte));
        matches!(name, b"." | b"..") || name.len() > LONGEST || has_bad_byte
    };
    match path.is_too_long() || path.relative().split(|&byte| byte == b'/').any(is_bad) {
        true => Err(Kind::NameNotAllowed.into()),
        false => Ok(()),
    }
}

/// The content of a file as it was when it was opened.
struct Opened(Arc<Content>);

impl AsRef<[u8]> for Opened {
    fn as_ref(&self) -> &[u8] {
        &self.0.bytes
    }
}

struct MemoryUpload {
    storage: MemoryStorage,
    path: VirtualPath,
    mode: WriteMode,
    /// The version of the file when the upload began; `None` if there was no file.
    old: Option<u64>,
    /// What the upload leaves if it is interrupted; `None` if that is nothing.
    unfinished: Option<RecordedUpload<u64>>,
    /// The received content; `None` once the upload has ended.
    content: Option<Content>,
}

impl io::Write for MemoryUpload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(content) = &mut self.content {
            content.add(bytes)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Upload for MemoryUpload {
    fn commit(mut self: Box<Self>) -> StorageResult<()> {
        let published = self.publish();
        if published.is_err() {
            self.cut(StreamEnd::Failed);
        }
        published
    }

    fn abort(mut self: Box<Self>, end: StreamEnd) {
        self.cut(end);
    }
}

impl MemoryUpload {
    fn publish(&mut self) -> StorageResult<()> {
        let storage = self.storage.clone();
        let mut tree = storage.tree();
        let appends = self.mode == WriteMode::Append;
        let existed = self.old.is_some();
        // The content that this upload resumes has been replaced.
        if matches!(self.mode, WriteMode::From(1..)) && tree.version(&self.path) != self.old {
            return Err(Kind::Busy.into());
        }
        match tree.object(&self.path) {
            Err(_) if appends && existed => return Err(Kind::NotFound.into()),
            Err(_) => {}
            Ok(MemoryObject { node: Node::Directory(_), .. }) => {
                return Err(Kind::IsDirectory.into());
            }
            Ok(_) if self.mode == WriteMode::Create => return Err(Kind::Exists.into()),
            Ok(_) if appends && !existed => return Err(Kind::Busy.into()),
            Ok(_) => {}
        }
        if let Some(unfinished) = &self.unfinished {
            unfinished.check_loss(|| Ok(tree.version(&self.path)))?;
        }
        // After this, only an append can fail, which leaves no record.
        let charge = match tree.object(&self.path) {
            Ok(_) => None,
            Err(_) => Some(storage.room_for_object(&tree, &self.path)?),
        };
        let content = match &mut self.content {
            Some(content) => std::mem::replace(content, storage.no_content()),
            None => return Ok(()),
        };
        let version = tree.number();
        match tree.object_mut(&self.path) {
            Ok(MemoryObject { node: Node::File(old), modified, version: former, .. }) => {
                if appends {
                    add(&storage, old, content)?;
                } else {
                    *old = Arc::new(content);
                }
                (*modified, *former) = (unix_now(), version);
            }
            _ => {
                let file = Node::File(Arc::new(content));
                let charge = charge.ok_or(Kind::Io)?;
                MemoryStorage::make(&mut tree, &self.path, file, 0o644, charge)?;
            }
        }
        self.content = None;
        match self.unfinished {
            Some(_) => tree.records.stored(&self.path, u64::MAX),
            None => tree.records.extended(&self.path, u64::MAX),
        }
        Ok(())
    }

    fn cut(&mut self, end: StreamEnd) {
        if let Some(unfinished) = &self.unfinished {
            unfinished.cut(&mut self.content, end);
        }
    }
}

impl Drop for MemoryUpload {
    fn drop(&mut self) {
        if let Some(unfinished) = self.unfinished.take() {
            self.storage.tree().records.end(unfinished, self.content.take());
        }
    }
}

/// Appends to a file. If the file is being read, replaces it with an extended copy.
fn add(storage: &MemoryStorage, old: &mut Arc<Content>, more: Content) -> StorageResult<()> {
    if Arc::get_mut(old).is_none() {
        let mut copy = storage.no_content();
        copy.add(&old.bytes)?;
        *old = Arc::new(copy);
    }
    if let Some(old) = Arc::get_mut(old) {
        old.bytes.extend_from_slice(&more.bytes);
        let mut charge = more.charge;
        old.charge.bytes += std::mem::take(&mut charge.bytes);
    }
    Ok(())
}
