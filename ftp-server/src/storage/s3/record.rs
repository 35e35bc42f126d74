//! The records of unfinished uploads. A record is a note in the store (see `partial`), which names
//! the version of the object that the upload was to replace.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::inner::Inner;
use super::objects::StoredObject;
use super::{S3Storage, identity, partial};
use crate::storage::unfinished::Overtaken;
use crate::storage::{StorageErrorKind as Kind, StorageResult, StreamEnd, Unfinished, VirtualPath};

/// The record that a running upload leaves if it does not end with success.
#[derive(Clone)]
pub(super) struct StoreRecord {
    pub(super) note_key: String,
    /// The version of the object that the upload is to replace; `None` if there was no object.
    pub(super) old: Option<String>,
    /// Whether the received bytes are kept.
    pub(super) keeps: bool,
    /// Whether the note of an upload at another server, which this one overtakes, may still exist.
    pub(super) has_rival: bool,
    run: Arc<RunningUpload>,
}

/// An upload of this process. It runs until the last clone of its record is dropped.
struct RunningUpload {
    store: Arc<Inner>,
    overtaken: Overtaken,
}

impl Drop for RunningUpload {
    fn drop(&mut self) {
        self.store.running.end(&self.overtaken);
    }
}

impl StoreRecord {
    pub(super) fn begin(
        store: &Arc<Inner>,
        (key, note_key): (&str, &str),
        user: Option<&[u8]>,
        old: Option<&StoredObject>,
        (keeps, has_rival, is_first): (bool, bool, bool),
    ) -> Self {
        let number = store.latest.fetch_add(1, Ordering::SeqCst) + 1;
        let place = key.as_bytes().to_vec();
        let overtaken = store.running.begin_numbered(user, place, is_first, number);
        let run = Arc::new(RunningUpload { store: Arc::clone(store), overtaken });
        let old = old.map(StoredObject::version);
        Self { note_key: note_key.to_owned(), old, keeps, has_rival, run }
    }

    pub(super) fn is_overtaken(&self) -> bool {
        self.run.overtaken.is_superseded() || self.run.overtaken.changes() > 0
    }

    pub(super) fn leaves_nothing(&self, end: StreamEnd) -> bool {
        self.run.overtaken.leaves_nothing(end)
    }
}

impl S3Storage {
    /// Returns whether the received bytes of this user's uploads are kept.
    pub(super) fn keeps(&self, user: Option<&[u8]>) -> bool {
        user.is_some() && self.keeps_partials
    }

    /// Returns the record of `user`'s upload to `path`. If `forgets` is set, discards it; the
    /// user's uploads to `path` that this process runs then leave no record any more.
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
        let runs_here = store.running.has(user, &place);
        if forgets {
            store.running.forget(user, &place);
            store.end_leases(&note_key)?;
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

    /// Returns what a note says; `None` if the object has changed since.
    fn describe(
        &self,
        path: &VirtualPath,
        user: Option<&[u8]>,
        found: &partial::Found,
    ) -> StorageResult<Option<Unfinished>> {
        let version = match self.object(path) {
            Ok((_, object)) => Some(object.version()),
            Err(error) if error.kind == Kind::NotFound => None,
            Err(error) if error.kind == Kind::IsDirectory => return Ok(None),
            Err(error) => return Err(error),
        };
        if found.note.old != version {
            return Ok(None);
        }
        let kept = match self.keeps(user) {
            true => partial::load(&self.inner, found)?.map_or(0, |kept| kept.received()),
            false => 0,
        };
        let (number, _) = identity(&self.inner, &found.tag);
        Ok(Some(Unfinished { kept, number, when: found.when, is_running: false }))
    }

    /// Ends the records of all users, because the object at `key` was removed. Uploads that are
    /// running go on. `latest` is the number before the removal.
    pub(super) fn end_records(&self, key: &str, latest: u64) -> StorageResult<()> {
        self.inner.running.removed(&key.as_bytes().to_vec(), latest);
        let prefix = self.keys.notes_of(key);
        Ok(partial::discard_all(&self.inner, &prefix, |found| !found.is_running)?)
    }
}
