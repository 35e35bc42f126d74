//! Files in a bucket of an object store that supports the protocol of Amazon S3.

mod begin;
mod connection;
mod encode;
mod error;
mod http;
mod inner;
mod issued_keys;
mod keys;
mod ledger;
mod multipart;
mod objects;
mod pages;
mod partial;
mod probe;
mod proof;
mod record;
mod remembered;
mod rename;
mod rivals;
mod source;
mod store;
#[cfg(test)]
pub(super) mod tests;
mod upload;

pub use connection::S3Timeouts;
pub use error::S3Error;
pub use ledger::S3Ledger;
pub use probe::S3Features;
pub use store::{S3Store, S3StoreBuilder};

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use self::encode::sha256;
use self::inner::Inner;
use self::keys::Keys;
use self::objects::{Condition, MTIME, StoredObject};
use self::pages::{Page, Pages};
use self::partial::Found;
use self::record::discard_ended;
use self::rename::Move;
use self::source::S3Source;
use super::confinement::Confinement;
use super::{
    Ask, Capabilities, Change, Confine, ConfinementPolicy, Entries, Entry, Keep, Metadata, RoomFor,
    Source, Space, Storage, StorageError, StorageErrorKind as Kind, StorageResult, Unfinished,
    Upload, VirtualPath, WriteMode,
};

/// The objects of an [`S3Store`] below a prefix, as files and directories.
///
/// The key of a file is the prefix followed by the path. A directory exists if the key of an object
/// begins with the prefix, the path of the directory and a `/`. `MKD` stores an empty object whose
/// key is the prefix, the path of the directory and a `/`. If another program made the directory
/// without this object, the directory disappears with its last file. Names are UTF-8 without ASCII
/// control characters and `\`, and keys have at most 1,023 bytes.
///
/// # Uploads
///
/// A file becomes visible in one step when the store has all of its bytes; until then the old file
/// stays. Files larger than one [part](S3StoreBuilder::part_size) are stored in parts while they
/// arrive.
///
/// - [`WriteMode::Create`] fails if another session has created the file first: always among the
///   sessions of one process, and between others if the store supports conditional requests (see
///   [`S3Store::probe`]). For files of several parts, many stores let two servers succeed if they
///   finish at the same moment.
/// - [`WriteMode::Append`] and [`WriteMode::From`] copy the old bytes to a new object, because
///   objects cannot grow. The store itself copies 5 MiB or more; the server copies smaller amounts.
///   Both modes fail with `Busy` if the object changes in the meantime.
/// - The bytes of an interrupted upload are kept for 12 hours (see
///   [`keep_partials`](Self::keep_partials)), unless the file that it was to replace changes. Its
///   record stays until a server stores, renames or removes the file, or for up to 90 days if there
///   was no file. Every
///   server that uses the bucket can resume the upload for the same user. Resuming at an offset
///   inside the stored parts fails with `BadRestart`, because stores do not return the content of
///   parts.
/// - If the server dies, its uploads can be resumed when the [lease](S3StoreBuilder::lease) has
///   expired; until then, resuming them fails with `Busy`. The last stored part and the bytes after
///   it are lost. An upload over an existing file leaves a record if it had run for a second or had
///   received 1 MiB.
/// - If the server dies while it publishes a file, the file may or may not become visible.
///
/// # Requests without a response
///
/// A store may make a change long after the server has given up waiting for the response. So each
/// change carries the version of the object that it was made for, also when it is sent again. If
/// another session has changed the object, an upload or a removal looks at the object again, and
/// then replaces or removes the newer version. A late request changes nothing newer, with two
/// exceptions: if a client stores exactly the same bytes again, stores take the new object for the
/// old one; and a file that was new, and was removed since, can come back.
///
/// If the store does not check the condition of a change (see [`S3Store::probe`]), other changes of
/// its path fail with `Busy` for the time [`S3Timeouts::late`], also at another [`S3Store`] of the
/// process with this endpoint, bucket and hidden prefix. A request that the store makes even
/// later, or after a restart of the server, replaces or removes newer bytes.
///
/// # Renaming
///
/// A rename copies the object, checks the copy, and removes the original. Until the removal, both
/// names exist; if the server dies, both stay. If the original changes in the meantime, it stays,
/// and the rename fails with `Busy`. The copy may stay too. If the store ignores the condition of a
/// removal or of a copy (see [`S3Store::probe`]), this holds only for changes by the same server.
///
/// Renaming a directory fails with `Unsupported`, unless [`rename_trees`](Self::rename_trees)
/// allows it. The storage moves the files one by one, so an error leaves some files at the old path
/// and some at the new one. The same rename then moves the other files. Partial uploads in the
/// directory lose their bytes. One that is running still goes to the old path, but leaves no record
/// there.
///
/// # Times
///
/// The modification time of a file is the time of its upload or of its last rename. With
/// [`keep_times`](Self::keep_times), `MFMT` changes it, and a time that rclone has stored in the
/// object's metadata replaces it.
#[derive(Clone)]
pub struct S3Storage {
    inner: Arc<Inner>,
    keys: Keys,
    /// Maximum number of objects in a directory that can be renamed.
    rename_trees: usize,
    keeps_times: bool,
    keeps_partials: bool,
    policy: ConfinementPolicy,
    /// Whether the threads of its own sessions are confined.
    is_confined: bool,
}

ftp_proto::debug_fields!(
    S3Storage { inner: inner.client.bucket, keys, rename_trees, keeps_times }..
);

impl S3Storage {
    const fn new(inner: Arc<Inner>, keys: Keys) -> Self {
        Self {
            inner,
            keys,
            rename_trees: 0,
            keeps_times: false,
            keeps_partials: true,
            policy: ConfinementPolicy::BestEffort,
            is_confined: false,
        }
    }

    /// Allows renaming directories with up to `objects` objects, which the storage moves one by one
    /// (default: 0).
    #[must_use]
    pub const fn rename_trees(mut self, objects: usize) -> Self {
        self.rename_trees = objects;
        self
    }

    /// Sets whether clients can set modification times (default: false).
    ///
    /// The time is stored in the object's metadata, in the format of rclone. Therefore each change
    /// copies the object, and a listing with times needs one request per file. If the store checks
    /// neither the condition of a copy nor that of the completion of a multipart upload, changing a
    /// time fails with `Unsupported`, because it could replace a newer file.
    #[must_use]
    pub const fn keep_times(mut self, keep: bool) -> Self {
        self.keeps_times = keep;
        self
    }

    /// Sets whether the bytes of interrupted uploads are kept (default: true).
    #[must_use]
    pub const fn keep_partials(mut self, keep: bool) -> Self {
        self.keeps_partials = keep;
        self
    }

    /// Confines the threads of sessions, so that they cannot open any local file (default: only as
    /// part of a [`MountedStorage`](crate::MountedStorage)).
    ///
    /// # Errors
    ///
    /// Returns `Unsupported` if `policy` requires confinement and the system has no usable
    /// Landlock, or `Io` if the system refuses for another reason.
    pub fn confine(mut self, policy: ConfinementPolicy) -> StorageResult<Self> {
        self.policy = policy;
        self.is_confined = Confinement::check(policy, &[])?.is_some();
        Ok(self)
    }

    /// Returns the key of a path that should exist. Returns `NotFound` if the path cannot have a
    /// key, or `IsDirectory` if it is the root.
    fn existing(&self, path: &VirtualPath) -> StorageResult<String> {
        self.keys.file(path).map_err(|error| match error.kind {
            Kind::NameNotAllowed => Kind::NotFound.into(),
            _ => error,
        })
    }

    /// Returns the prefix of a directory that should exist.
    fn directory(&self, path: &VirtualPath) -> StorageResult<String> {
        if path.is_root() { self.keys.directory(path) } else { Ok(self.existing(path)? + "/") }
    }

    /// Returns `NotFound` if the parent directory of `path` does not exist.
    fn check_parent(&self, path: &VirtualPath) -> StorageResult<()> {
        let parent = path.parent().unwrap_or_default();
        if parent.is_root() || self.inner.has_directory(&self.directory(&parent)?)? {
            Ok(())
        } else {
            Err(Kind::NotFound.into())
        }
    }

    /// Returns the key and the properties of the file at `path`.
    ///
    /// # Errors
    ///
    /// Returns `IsDirectory` if the path is a directory, `NotFound` if there is neither a file nor
    /// a directory, or an error of the store.
    fn object(&self, path: &VirtualPath) -> StorageResult<(String, StoredObject)> {
        let key = self.existing(path)?;
        match self.inner.client.head(&key)? {
            Some(object) => Ok((key, object)),
            None => Err(self.no_object(path)?.into()),
        }
    }

    /// Returns the kind of error for a path without an object.
    fn no_object(&self, path: &VirtualPath) -> StorageResult<Kind> {
        let is_directory = self.inner.has_directory(&self.directory(path)?)?;
        Ok(if is_directory { Kind::IsDirectory } else { Kind::NotFound })
    }

    /// Returns the kind of error for a path that is not a directory.
    fn no_directory(&self, path: &VirtualPath) -> StorageResult<Kind> {
        let file = self.inner.client.head(&self.existing(path)?)?;
        Ok(if file.is_some() { Kind::NotDirectory } else { Kind::NotFound })
    }
}

/// Returns two numbers that identify a key uniquely across all stores.
fn identity(store: &Inner, key: &str) -> (u64, u64) {
    let client = &store.client;
    let digest = sha256(format!("{}/{}/{key}", client.authority, client.bucket).as_bytes());
    let (numbers, _) = digest.as_chunks::<8>();
    let number = |at: usize| numbers.get(at).copied().map_or(0, u64::from_ne_bytes);
    (number(0), number(1))
}

fn file_metadata(store: &Inner, key: &str, size: u64, modified: i64) -> Metadata {
    let (device, inode) = identity(store, key);
    Metadata::file(size).modified(modified).identity(device, inode)
}

/// Returns the metadata of a directory, without a time, because stores have none for directories.
fn directory_metadata(store: &Inner, prefix: &str) -> Metadata {
    let (device, inode) = identity(store, prefix);
    Metadata::directory().identity(device, inode)
}

/// The records of unfinished uploads.
impl S3Storage {
    /// Returns whether the received bytes of this user's uploads are kept.
    pub(super) fn keeps(&self, user: Option<&[u8]>) -> bool {
        user.is_some() && self.keeps_partials
    }

    /// Returns the record of `user`'s upload to `path`. If `forgets` is set, discards it; the
    /// user's uploads to `path` that this process runs then leave no record any more, unless there
    /// is a file: to resume at its length is forbidden.
    pub(super) fn record(
        &self,
        path: &VirtualPath,
        user: Option<&[u8]>,
        forgets: bool,
    ) -> StorageResult<Option<Unfinished>> {
        let Ok(key) = self.existing(path) else { return Ok(None) };
        let note_key = self.keys.note(&key, user.unwrap_or_default());
        let (store, place) = (&self.inner, key.into_bytes());
        let running = Unfinished { is_running: true, ..Unfinished::default() };
        let runs_here = store.memory.running.has(user, &place);
        if forgets {
            let here = store.memory.of_note(&note_key);
            if here.iter().all(|record| record.has_nothing_to_mix_with()) {
                store.memory.running.forget(user, &place);
                here.iter().try_for_each(|record| record.end(store).map(drop))?;
            }
        }
        if runs_here {
            return Ok(Some(running));
        }
        let Some(found) = partial::find(store, &note_key)? else { return Ok(None) };
        if found.is_running {
            return Ok(Some(running));
        }
        let record = self.describe(path, user, &found)?;
        if forgets {
            partial::discard(store, &note_key, &found)?;
        }
        Ok(record)
    }

    /// Returns what a note says; `None` if it has ended. The bytes count as long as the object is
    /// the one that the upload was to replace.
    fn describe(
        &self,
        path: &VirtualPath,
        user: Option<&[u8]>,
        found: &Found,
    ) -> StorageResult<Option<Unfinished>> {
        let now = match self.object(path) {
            Ok((_, object)) => Some(object),
            Err(error) if error.kind == Kind::NotFound => None,
            Err(error) if error.kind == Kind::IsDirectory => return Ok(None),
            Err(error) => return Err(error),
        };
        if found.has_ended(now.as_ref()) {
            return Ok(None);
        }
        let is_unchanged = found.note.old == now.as_ref().map(StoredObject::version);
        let kept = match is_unchanged && self.keeps(user) {
            true => partial::load(&self.inner, found)?.map_or(0, |kept| kept.received()),
            false => 0,
        };
        let (number, _) = identity(&self.inner, &found.tag);
        Ok(Some(Unfinished { kept, number, ..Unfinished::default() }))
    }

    /// Ends the records of all users, because the object at `key` was removed or replaced. Uploads
    /// that are running go on. `latest` is the number before the removal.
    pub(super) fn end_records(&self, key: &str, latest: u64) -> StorageResult<()> {
        self.inner.memory.running.removed(&key.as_bytes().to_vec(), latest);
        self.discard_records(key)
    }

    /// Ends the records of all users whose uploads to `key` do not run.
    pub(super) fn discard_records(&self, key: &str) -> StorageResult<()> {
        Ok(discard_ended(&self.inner, key, &self.keys.notes_of(key))?)
    }
}

impl Storage for S3Storage {
    fn capabilities(&self) -> Capabilities {
        let times = Capabilities::SET_TIMES.only_if(self.keeps_times);
        let waits = Capabilities::REMOTE | Capabilities::BOUNDED_WAITS;
        Capabilities::DIGEST | Capabilities::LINKS | waits | times
    }

    /// Sessions need no files on disk: the endpoint is resolved in advance.
    fn confine(&self) -> Confine<'_> {
        match self.policy {
            ConfinementPolicy::Off => Confine::No,
            _ if self.is_confined => Confine::Beneath(Vec::new()),
            _ => Confine::Neutral,
        }
    }

    fn stat(&self, path: &VirtualPath, ask: Ask) -> StorageResult<Metadata> {
        if ask == Ask::Directory && !path.is_root() {
            let prefix = self.directory(path)?;
            return match self.inner.has_directory(&prefix)? {
                true => Ok(directory_metadata(&self.inner, &prefix)),
                false => Err(self.no_directory(path)?.into()),
            };
        }
        if path.is_root() {
            return Ok(directory_metadata(&self.inner, &self.directory(path)?));
        }
        match self.object(path) {
            Ok((key, object)) => {
                // If times are not kept, use the store's time, as listings do.
                let time = if self.keeps_times { object.time() } else { object.changed() };
                Ok(file_metadata(&self.inner, &key, object.size, time))
            }
            Err(error) if error.kind == Kind::IsDirectory => {
                Ok(directory_metadata(&self.inner, &self.directory(path)?))
            }
            Err(error) => Err(error),
        }
    }

    fn list(&self, path: &VirtualPath, ask: Ask) -> StorageResult<Entries> {
        let asks_times = self.keeps_times && ask != Ask::Names;
        let (store, keys) = (Arc::clone(&self.inner), self.keys.clone());
        match Listing::begin(store, keys, &self.directory(path)?, asks_times)? {
            Some(listing) => Ok(Entries::new(listing)),
            None if path.is_root() => Ok(Entries::new(std::iter::empty())),
            None => Err(self.no_directory(path)?.into()),
        }
    }

    fn read(&self, path: &VirtualPath) -> StorageResult<Box<dyn Source>> {
        match S3Source::open(&self.inner, self.existing(path)?)? {
            Some(source) => Ok(Box::new(source)),
            None => Err(self.no_object(path)?.into()),
        }
    }

    fn write(
        &self,
        path: &VirtualPath,
        mode: WriteMode,
        keep: Keep<'_>,
    ) -> StorageResult<Box<dyn Upload>> {
        self.begin(path, mode, keep.user(), keep.has_bytes())
    }

    fn unfinished(
        &self,
        path: &VirtualPath,
        user: Option<&[u8]>,
    ) -> StorageResult<Option<Unfinished>> {
        self.record(path, user, false)
    }

    fn kept(&self, _: &VirtualPath, _: Option<&[u8]>) -> StorageResult<Box<dyn Source>> {
        Err(Kind::NotFound.into())
    }

    fn forget(&self, path: &VirtualPath, user: Option<&[u8]>) -> StorageResult<Option<Unfinished>> {
        self.record(path, user, true)
    }

    fn remove(&self, path: &VirtualPath) -> StorageResult<()> {
        let (key, object) = self.object(path)?;
        let latest = self.inner.latest();
        self.inner.delete_latest(&key, object.tag)?;
        self.inner.seen.forget("");
        self.end_records(&key, latest).map_err(S3Error::after_change)
    }

    fn rmdir(&self, path: &VirtualPath) -> StorageResult<()> {
        if path.is_root() {
            return Err(Kind::Denied.into());
        }
        let prefix = &*self.directory(path)?;
        let (mut pages, mut marker) = (Pages::of_keys(prefix, 2), None);
        while let Some(page) = pages.next(&self.inner.client)? {
            if let Some(listed) = page.keys.iter().find(|listed| listed.key != prefix) {
                if !self.keys.has_path(&listed.key) {
                    self.inner.tell_pathless(prefix, &listed.key);
                }
                return Err(Kind::NotEmpty.into());
            }
            marker = page.keys.into_iter().next();
        }
        let Some(marker) = marker else { return Err(self.no_directory(path)?.into()) };
        if self.inner.memory.running.has_below(self.existing(path)?.as_bytes()) {
            return Err(Kind::Busy.into());
        }
        // A file that another session stores at this moment stays, and so does the directory.
        self.inner.delete_latest(prefix, marker.tag.unwrap_or_default())?;
        self.inner.seen.forget("");
        let ended = partial::discard_all(&self.inner, &self.keys.notes(prefix), |_| true);
        ended.map_err(S3Error::after_change)
    }

    fn mkdir(&self, path: &VirtualPath) -> StorageResult<()> {
        if path.is_root() {
            return Err(Kind::Exists.into());
        }
        let key = self.keys.directory(path)?;
        self.check_parent(path)?;
        // Another server may have removed a directory that was found before.
        self.inner.seen.forget(&key);
        self.inner.seen.take_name(&key);
        match self.object(path) {
            Err(error) if error.kind == Kind::NotFound => {}
            Err(error) if error.kind != Kind::IsDirectory => return Err(error),
            _ => return Err(Kind::Exists.into()),
        }
        let id = Inner::unique()?;
        self.inner.publish(&key, rivals::ALWAYS, |turn| {
            let put = || self.inner.store_object(&key, &[], &Condition::New, &id);
            match turn.change(put) {
                Err(error) if error.is_precondition() => Err(Kind::Exists.into()),
                done => Ok(done.map(drop)?),
            }
        })
    }

    fn rename(&self, from: &VirtualPath, to: &VirtualPath, replace: bool) -> StorageResult<()> {
        self.move_object(from, to, replace)
    }

    fn set(&self, path: &VirtualPath, change: Change) -> StorageResult<Metadata> {
        let Change::Modified(modified) = change else { return Err(Kind::Unsupported.into()) };
        if !self.keeps_times {
            return Err(Kind::Unsupported.into());
        }
        let as_file = |error: StorageError| match error.kind {
            Kind::IsDirectory => Kind::NotFile.into(),
            _ => error,
        };
        let key = self.existing(path).map_err(as_file)?;
        self.inner.publish(&key, rivals::ALWAYS, |turn| {
            let (_, mut object) = self.object(path).map_err(as_file)?;
            let id = record::new_id(Some(&object), false)?;
            object.kept.retain(|(name, _)| name != MTIME);
            object.kept.push((MTIME.to_owned(), modified.to_string()));
            let changed = file_metadata(&self.inner, &key, object.size, modified);
            // A newer file keeps its own time.
            let condition = Condition::of(Some(&object));
            let file = Move { store: &self.inner, from: &key, to: &key, object, id };
            if file.send(turn, &condition)? { Ok(changed) } else { Err(Kind::Busy.into()) }
        })
    }

    fn space(&self, _path: &VirtualPath, _room: RoomFor) -> StorageResult<Space> {
        Ok(Space::default())
    }
}

const PAGE: u32 = 1_000;

/// Number of objects whose metadata are requested at the same time.
const AT_ONCE: usize = 8;

/// The entries of a directory, with one page at a time in memory.
struct Listing {
    store: Arc<Inner>,
    keys: Keys,
    pages: Pages,
    page: VecDeque<Entry>,
    /// The entries whose times are known.
    asked: VecDeque<Entry>,
    /// The objects whose names a directory on this page or a later one may have.
    names: HashSet<String>,
    /// Whether to request the metadata of each object, because the store's listing does not contain
    /// the times that clients have set.
    asks_times: bool,
}

impl Listing {
    /// Begins to list the objects below a prefix. Returns `None` if there are none.
    fn begin(
        store: Arc<Inner>,
        keys: Keys,
        prefix: &str,
        asks_times: bool,
    ) -> Result<Option<Self>, S3Error> {
        let (pages, page) = (Pages::of_directory(prefix, PAGE), VecDeque::new());
        let (asked, names) = (VecDeque::new(), HashSet::new());
        let mut listing = Self { store, keys, pages, page, asked, names, asks_times };
        let is_there = listing.turn()?;
        Ok(is_there.then_some(listing))
    }

    /// Reads the next page with a key or a directory. Returns whether there is one.
    fn turn(&mut self) -> Result<bool, S3Error> {
        let Some(page) = self.pages.next(&self.store.client)? else { return Ok(false) };
        self.page = self.entries(&page);
        Ok(true)
    }

    fn entries(&mut self, page: &Page) -> VecDeque<Entry> {
        let directory = &*self.pages.prefix;
        let name_of = |key: &'_ str| -> Option<String> {
            if !self.keys.has_path(key) {
                self.store.tell_pathless(directory, key);
                return None;
            }
            key.strip_prefix(directory).map(str::to_owned)
        };
        let mut entries = VecDeque::new();
        // The object of the directory itself has no name.
        for object in page.keys.iter().filter(|object| object.key != directory) {
            let Some(name) = name_of(&object.key) else { continue };
            let metadata = file_metadata(&self.store, &object.key, object.size, object.modified);
            entries.push_back(Entry::new(&*name, metadata));
            self.names.insert(name);
        }
        for directory in &page.directories {
            let key = directory.strip_suffix('/').unwrap_or(directory);
            // If a directory has the same name as an object, the listing shows only the object.
            if let Some(name) = name_of(key)
                && !self.names.contains(&name)
            {
                entries.push_back(Entry::new(name, directory_metadata(&self.store, directory)));
            }
        }
        // Keys are in order: only names that begin with the name of the object come between it and
        // a directory of that name.
        let keys = page.keys.iter().map(|object| &object.key).chain(&page.directories);
        let last = keys.filter_map(|key| key.strip_prefix(directory)).max().unwrap_or_default();
        self.names.retain(|name| last.starts_with(&**name));
        entries
    }

    /// Returns these entries with their times, which it requests at the same time.
    fn ask(&self, mut entries: Vec<Entry>) -> Result<Vec<Entry>, S3Error> {
        if !self.asks_times || entries.len() < 2 {
            let asked = entries.into_iter().map(|entry| self.asked(entry));
            return asked.filter_map(Result::transpose).collect();
        }
        let second = entries.split_off(entries.len() / 2);
        let (first, second) = http::both(|| self.ask(entries), || self.ask(second))?;
        Ok([first?, second?].concat())
    }

    /// Returns the entry of a file with the time from the object's metadata, if this listing
    /// requests metadata; otherwise returns the entry unchanged. Returns `None` if the object has
    /// been removed in the meantime.
    fn asked(&self, entry: Entry) -> Result<Option<Entry>, S3Error> {
        if !self.asks_times || entry.metadata.kind != crate::storage::EntryKind::File {
            return Ok(Some(entry));
        }
        let key = format!("{}{}", self.pages.prefix, String::from_utf8_lossy(&entry.name));
        let object = self.store.client.head(&key)?;
        let metadata =
            |object: StoredObject| file_metadata(&self.store, &key, object.size, object.time());
        Ok(object.map(|object| Entry::new(&*entry.name, metadata(object))))
    }
}

impl Iterator for Listing {
    type Item = StorageResult<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.asked.pop_front() {
                return Some(Ok(entry));
            }
            if !self.page.is_empty() {
                let few = self.page.drain(..self.page.len().min(AT_ONCE)).collect();
                match self.ask(few) {
                    Ok(asked) => self.asked.extend(asked),
                    Err(error) => return Some(Err(error.into())),
                }
                continue;
            }
            match self.turn() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error.into())),
            }
        }
    }
}
