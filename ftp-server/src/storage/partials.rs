//! Resumable uploads for any storage.

#[cfg(test)]
mod tests;

use std::io::{self, Write as _};
use std::sync::Arc;

use super::metadata::Version;
use super::records::{MemoryRecords, RecordedUpload};
use super::space::{Content, Room};
use super::{
    Ask, Keep, Metadata, Source, Storage, StorageErrorKind as Kind, StorageResult, StreamEnd,
    Unfinished, Upload, VirtualPath, WriteMode, is_made,
};
use crate::forward_storage;
use crate::lock::Lock;

/// Default limit of the kept bytes.
const LIMIT: u64 = 64 * 1024 * 1024;

/// Maximum number of kept bytes that are stored again between two checks on the client.
const STEP: usize = 1024 * 1024;

/// A storage whose users can resume unfinished uploads for 12 hours, even if the wrapped storage
/// only publishes whole files. That storage then needs no [`WriteMode::Resume`], and never gets
/// `Keep::Bytes`. Of its [`unfinished`](Storage::unfinished), only [`Unfinished::UNKNOWN`] counts.
///
/// A copy of the received bytes is kept in memory, for all users at most 64 MiB or
/// [`max_bytes`](Self::max_bytes). The bytes of running uploads count too. To make room, the oldest
/// bytes are dropped. Of an upload that has no room all the same, only the beginning is kept. Memory
/// that grows may take twice its size.
///
/// Nothing survives the end of the process. If the wrapped storage outlives it, a client that
/// appends the rest of an upload after a restart appends it to the old file, unless
/// [`unfinished`](Storage::unfinished) of that storage returns [`Unfinished::UNKNOWN`]. Better, keep the
/// records with the files, in `unfinished` of your own storage, and test it with
/// [`testing::restart_contract`](crate::testing::restart_contract).
///
/// A resumed upload stores the kept bytes again, then the new ones. It fails with `Exists` if another
/// file was stored since it began, but may replace one that is stored while it is being published.
/// All changes that other programs make end a record if the size, the time or the identity of the
/// old file shows them. Therefore, each upload needs one further [`stat`](Storage::stat). Wrap a
/// storage once, and share the clones: each clone has the same records.
///
/// ```
/// use std::io::Write;
///
/// use ftp_server::{Ask, Keep, MemoryStorage, Partials, Storage, StreamEnd, WriteMode};
///
/// let storage = Partials::new(MemoryStorage::new()).max_bytes(16 * 1024 * 1024);
/// let mut upload = storage.write(&"/a".into(), WriteMode::Create, Keep::Bytes(b"ann"))?;
/// upload.write_all(b"first ")?;
/// upload.abort(StreamEnd::Cut);
///
/// let kept = storage.unfinished(&"/a".into(), Some(b"ann"))?.map_or(0, |found| found.kept);
/// let mut upload = storage.write(&"/a".into(), WriteMode::Resume(kept), Keep::Bytes(b"ann"))?;
/// upload.write_all(b"and last")?;
/// upload.commit()?;
/// assert_eq!(storage.stat(&"/a".into(), Ask::Facts)?.size, 14);
/// # Ok::<(), ftp_server::StorageError>(())
/// ```
#[derive(Clone)]
pub struct Partials {
    inner: Arc<dyn Storage>,
    records: Arc<Lock<MemoryRecords<Version>>>,
    room: Arc<Room>,
    /// The root of the wrapped storage in the paths of the records; empty, or with a slash before it.
    top: Arc<[u8]>,
}

ftp_proto::debug_fields!(Partials { room }..);

impl Partials {
    /// Wraps `storage`.
    #[must_use]
    pub fn new(storage: impl Storage + 'static) -> Self {
        let records = Arc::new(Lock::new(MemoryRecords::default()));
        Self { inner: Arc::new(storage), records, room: Room::new(LIMIT), top: Arc::default() }
    }

    /// Wraps another storage, whose uploads have their records and kept bytes together with those of
    /// this one: one limit holds for both. `top` is empty, or a name that begins with a slash. A
    /// storage with the name of an earlier one has the same files, and gets its records; a storage
    /// `/a/b` has those below `/b` of a storage `/a`.
    #[must_use]
    pub fn beside(&self, top: &[u8], storage: impl Storage + 'static) -> Self {
        Self { inner: Arc::new(storage), top: top.into(), ..self.clone() }
    }

    /// Returns a path as the records have it.
    fn at(&self, path: &VirtualPath) -> VirtualPath {
        path.below(&self.top)
    }

    /// Limits the kept bytes of all users together (default: 64 MiB). Call it before the first
    /// upload.
    #[must_use]
    pub fn max_bytes(self, bytes: u64) -> Self {
        Self { room: Room::new(bytes), ..self }
    }

    /// Returns the version of the file at `path`; `None` if there can be none.
    fn version(&self, path: &VirtualPath) -> StorageResult<Option<Version>> {
        version(self.inner.stat(path, Ask::Facts))
    }

    fn record(
        &self,
        path: &VirtualPath,
        user: Option<&[u8]>,
        find: FindRecord,
    ) -> StorageResult<Option<Unfinished>> {
        let place = self.at(path);
        if !self.records.lock().may_have(&place, user) {
            return Ok(None);
        }
        let version = self.version(path)?;
        Ok(find(&mut self.records.lock(), &place, user, version.as_ref()))
    }

    /// Makes a change of the object at `path`. If it is made, `record` gets the number of the latest
    /// upload that began before it.
    fn change(
        &self,
        path: &VirtualPath,
        change: fn(&dyn Storage, &VirtualPath) -> StorageResult<()>,
        record: fn(&mut MemoryRecords<Version>, &VirtualPath, u64),
    ) -> StorageResult<()> {
        let latest = self.records.lock().latest();
        let changed = change(&*self.inner, path);
        if is_made(&changed) {
            record(&mut self.records.lock(), &self.at(path), latest);
        }
        changed
    }
}

type FindRecord = fn(
    &mut MemoryRecords<Version>,
    &VirtualPath,
    Option<&[u8]>,
    Option<&Version>,
) -> Option<Unfinished>;

/// Returns the version of what a storage has found; `None` if there can be none.
fn version(found: StorageResult<Metadata>) -> StorageResult<Option<Version>> {
    match found {
        Ok(found) => Ok(Some(found.version())),
        Err(error) => match error.kind {
            Kind::NotFound | Kind::NotDirectory | Kind::NameNotAllowed | Kind::Denied => Ok(None),
            _ => Err(error),
        },
    }
}

impl Storage for Partials {
    forward_storage!(self, self.inner; capabilities, confine, stat, list, read, set, space);

    fn write(
        &self,
        path: &VirtualPath,
        mode: WriteMode,
        keep: Keep<'_>,
    ) -> StorageResult<Box<dyn Upload>> {
        // The version from before the upload: if the file is changed meanwhile, no record is left.
        let old = match mode {
            WriteMode::From(_) | WriteMode::Append => None,
            _ => self.version(path)?,
        };
        let inner_mode = match mode {
            WriteMode::Resume(_) if old.is_some() => WriteMode::Replace,
            WriteMode::Resume(_) => WriteMode::Create,
            mode => mode,
        };
        let inner = self.inner.write(path, inner_mode, Keep::Shared)?;
        let mut content = Content::empty(Arc::clone(&self.room));
        let begun = self.records.lock().begin(&self.at(path), mode, keep, old, &mut content);
        match begun {
            Ok(record) => Ok(Box::new(PartialsUpload {
                partials: self.clone(),
                path: path.clone(),
                inner: Some(inner),
                record,
                content: Some(content),
                stored: 0,
                is_full: false,
                is_prepared: false,
                latest: None,
            })),
            Err(error) => {
                inner.abort(StreamEnd::Refused);
                Err(error)
            }
        }
    }

    fn unfinished(
        &self,
        path: &VirtualPath,
        user: Option<&[u8]>,
    ) -> StorageResult<Option<Unfinished>> {
        match self.record(path, user, MemoryRecords::unfinished)? {
            None => Ok(self.inner.unfinished(path, user)?.filter(|found| found.is_unknown)),
            found => Ok(found),
        }
    }

    fn kept(&self, _: &VirtualPath, _: Option<&[u8]>) -> StorageResult<Box<dyn Source>> {
        Err(Kind::NotFound.into())
    }

    fn forget(&self, path: &VirtualPath, user: Option<&[u8]>) -> StorageResult<Option<Unfinished>> {
        self.record(path, user, MemoryRecords::forget)
    }

    fn remove(&self, path: &VirtualPath) -> StorageResult<()> {
        self.change(path, |inner, path| inner.remove(path), MemoryRecords::removed)
    }

    fn rmdir(&self, path: &VirtualPath) -> StorageResult<()> {
        let is_running = self.records.lock().is_running_below(&self.at(path));
        if is_running && self.inner.list(path, Ask::Names)?.next().is_none() {
            return Err(Kind::Busy.into());
        }
        self.change(path, |inner, path| inner.rmdir(path), MemoryRecords::removed_directory)
    }

    fn mkdir(&self, path: &VirtualPath) -> StorageResult<()> {
        self.change(path, |inner, path| inner.mkdir(path), MemoryRecords::made_directory)
    }

    fn rename(&self, from: &VirtualPath, to: &VirtualPath, replace: bool) -> StorageResult<()> {
        let (old, new) = (&self.at(from), &self.at(to));
        let before = self.records.lock().begin_rename(old, new);
        let renamed = self.inner.rename(from, to, replace);
        let is_moved = is_made(&renamed) && from != to;
        let begun = self.records.lock().latest();
        // Unless there is a directory of the old name again, all uploads below it were to the old one,
        // those too that began between the call and the move.
        let may_have = is_moved && self.records.lock().may_have_below(old);
        let stands = || self.inner.stat(from, Ask::Directory);
        let is_gone = may_have && stands().is_err_and(|error| error.kind == Kind::NotFound);
        let latest = if is_gone { begun } else { before };
        let mut records = self.records.lock();
        if records.end_rename(old, new) && is_moved {
            records.made_directory(new, before);
            records.renamed(old, new, latest);
        }
        drop(records);
        renamed
    }
}

/// An upload whose bytes are kept if it is interrupted.
struct PartialsUpload {
    partials: Partials,
    path: VirtualPath,
    /// `None` once it has ended.
    inner: Option<Box<dyn Upload>>,
    /// What the upload leaves if it is interrupted; `None` if that is nothing.
    record: Option<RecordedUpload<Version>>,
    /// A copy of the received bytes; `None` once the upload leaves nothing.
    content: Option<Content>,
    /// Number of bytes of earlier uploads that were stored again.
    stored: usize,
    /// Whether there was no room for more bytes.
    is_full: bool,
    /// Whether the inner upload has done what precedes its first byte.
    is_prepared: bool,
    /// The latest upload that began before this one could be published; `None` while it cannot.
    latest: Option<u64>,
}

impl PartialsUpload {
    fn inner(&mut self) -> StorageResult<&mut Box<dyn Upload>> {
        self.inner.as_mut().ok_or_else(|| Kind::Io.into())
    }

    /// Stores bytes of earlier uploads again. Returns whether all are stored.
    fn store_again(&mut self) -> StorageResult<bool> {
        let former = self.record.as_ref().map_or(0, RecordedUpload::former);
        let kept = self.content.as_ref().and_then(|content| content.bytes.get(self.stored..former));
        let (Some(kept @ [_, ..]), Some(inner)) = (kept, &mut self.inner) else { return Ok(true) };
        if !inner.ready()? {
            return Ok(false);
        }
        match inner.write(kept.get(..STEP).unwrap_or(kept)) {
            Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
            Ok(count) => self.stored += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
        Ok(self.stored == former)
    }

    fn store_all_again(&mut self) -> StorageResult<()> {
        while !self.store_again()? {}
        Ok(())
    }

    /// Adds received bytes to the kept ones, as many as there is room for.
    fn keep(&mut self, bytes: &[u8]) {
        let keeps = self.record.as_ref().is_some_and(|record| record.keeps);
        let Some(content) = self.content.as_mut().filter(|_| keeps && !self.is_full) else {
            return;
        };
        while content.add(bytes).is_err() {
            if !self.partials.records.lock().drop_oldest(0) {
                self.is_full = true;
                let free = usize::try_from(self.partials.room.free()).unwrap_or(usize::MAX);
                // If another upload takes the room at this moment, fewer bytes are kept.
                let _ = content.add(bytes.get(..free).unwrap_or_default());
                return;
            }
        }
    }

    /// Stores the rest, checks that no file is lost that was stored since, and publishes.
    fn publish(&mut self) -> StorageResult<()> {
        self.store_all_again()?;
        if let (Some(record), Some(inner)) = (&self.record, &mut self.inner) {
            record.check_loss(|| match inner.target() {
                Some(found) => version(found),
                None => self.partials.version(&self.path),
            })?;
        }
        let latest = self.latest.unwrap_or_else(|| self.partials.records.lock().latest());
        let published = self.inner.take().ok_or(Kind::Io)?.commit();
        if is_made(&published) {
            self.content = None;
            let place = self.partials.at(&self.path);
            let mut records = self.partials.records.lock();
            match self.record {
                Some(_) => records.stored(&place, latest),
                None => records.extended(&place, latest),
            }
        }
        published
    }

    fn end_inner(&mut self, end: StreamEnd) {
        if let Some(inner) = self.inner.take() {
            inner.abort(end);
        }
    }

    fn cut(&mut self, end: StreamEnd) {
        self.end_inner(end);
        if let Some(record) = &self.record {
            record.cut(&mut self.content, end);
        }
    }
}

impl io::Write for PartialsUpload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.store_all_again()?;
        let count = self.inner()?.write(bytes)?;
        self.keep(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.store_all_again()?;
        self.inner()?.flush()
    }
}

impl Upload for PartialsUpload {
    fn prepare(&mut self) -> StorageResult<bool> {
        self.is_prepared = self.is_prepared || self.inner()?.prepare()?;
        Ok(self.is_prepared && self.store_again()?)
    }

    fn ready(&mut self) -> StorageResult<bool> {
        self.inner()?.ready()
    }

    fn prepare_commit(&mut self) -> StorageResult<bool> {
        if !self.store_again()? {
            return Ok(false);
        }
        // The check asks the storage, which may take long. And nothing may come between the check
        // and the publication, which the inner upload may do here.
        if self.record.as_ref().is_some_and(RecordedUpload::must_check_loss) {
            return Ok(true);
        }
        // The first call may already make the file visible, even if it returns `false`.
        self.latest.get_or_insert_with(|| self.partials.records.lock().latest());
        self.inner()?.prepare_commit()
    }

    fn progress(&self) -> u64 {
        self.stored as u64 + self.inner.as_ref().map_or(0, |upload| upload.progress())
    }

    fn published_size(&self) -> Option<u64> {
        self.inner.as_ref().and_then(|upload| upload.published_size())
    }

    fn hidden_file(&self) -> Option<(u64, u64)> {
        self.inner.as_ref().and_then(|upload| upload.hidden_file())
    }

    fn commit(mut self: Box<Self>) -> StorageResult<()> {
        let published = self.publish();
        if !is_made(&published) {
            self.cut(StreamEnd::Failed);
        }
        published
    }

    fn abort(mut self: Box<Self>, end: StreamEnd) {
        self.cut(end);
    }
}

impl Drop for PartialsUpload {
    fn drop(&mut self) {
        self.end_inner(StreamEnd::Cut);
        if let Some(record) = self.record.take() {
            self.partials.records.lock().end(record, self.content.take());
        }
    }
}
