//! The records of unfinished uploads. A record is a note in the store (see `partial`), which names
//! the version of the object that the upload is to replace.
//!
//! An upload over an existing object has its note before it can be taken for a complete one: the
//! store gets it after a second or the first MiB, or when the upload is cut. Until the store has the
//! note, this process remembers the record, also after the upload has ended and in spite of a
//! reload. A note of a file that was stored since needs no removal: the object names the versions
//! that it has replaced.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::encode::{hex, sha256};
use super::error::S3Error;
use super::inner::Inner;
use super::multipart::Part;
use super::objects::{Condition, ID, StoredObject};
use super::partial::{self, Note};
use super::remembered::LateChanges;
use super::rivals::Rivals;
use crate::limits;
use crate::lock::Lock;
use crate::storage::unfinished::{Overtaken, RunningUploads};
use crate::storage::{StorageErrorKind as Kind, StorageResult, StreamEnd};
use crate::threads::ThreadJob;

/// Time after which an upload over an existing object is noted. Quicker ones need no request more.
const QUICK: Duration = Duration::from_secs(1);

/// Number of bytes after which an upload over an existing object is noted.
pub(super) const SMALL: u64 = 1024 * 1024;

/// Maximum interval at which a note is renewed, and the time after which a note that could not be
/// written is tried again.
const LONGEST_TICK: Duration = Duration::from_secs(20);
const AGAIN: Duration = Duration::from_secs(5);

/// Maximum number of notes of a bucket that are written or renewed at a time.
const AT_A_TIME: usize = 8;

/// Maximum number of replaced versions that an object names.
const REPLACED: usize = 8;

/// Number of hexadecimal digits that name a replaced version.
const DIGITS: usize = 16;

/// Returns the metadata that identifies a new version of an object, which replaces `old`. It names
/// the versions that were replaced as a whole. Versions that were changed in part only have a dash,
/// until the object is replaced as a whole.
pub(super) fn new_id(old: Option<&StoredObject>, is_whole: bool) -> Result<String, S3Error> {
    let dash = if is_whole { "" } else { "-" };
    let own = old.map(|old| format!("{dash}{}", name_of(&old.version())));
    let earlier = old.and_then(|old| old.metadata(ID)).unwrap_or_default().split('.').skip(1);
    let earlier = earlier.filter(|name| name.trim_start_matches('-').len() == DIGITS);
    let earlier = earlier.map(|name| if is_whole { name.trim_start_matches('-') } else { name });
    let names = own.into_iter().chain(earlier.map(str::to_owned)).take(REPLACED);
    let id = std::iter::once(Inner::unique()?).chain(names);
    Ok(id.collect::<Vec<_>>().join("."))
}

fn name_of(version: &str) -> String {
    let mut name = hex(&sha256(version.as_bytes()));
    name.truncate(DIGITS);
    name
}

/// Returns whether a record of an upload that was to replace the version `old` has ended: there is
/// nothing to mix with, or a server has stored a whole file over that version since. Any other
/// change of the object proves nothing.
pub(super) fn has_ended(old: Option<&str>, now: Option<&StoredObject>) -> bool {
    match (old, now) {
        (Some(old), Some(now)) => {
            let mut replaced = now.metadata(ID).unwrap_or_default().split('.').skip(1);
            let name = name_of(old);
            replaced.any(|other| other == name)
        }
        (None, None) => false,
        _ => true,
    }
}

/// What this process knows of its changes of a bucket. It outlives each [`S3Store`](super::S3Store),
/// whatever a reload changes of the store's settings.
#[derive(Default)]
pub(super) struct Memory {
    /// The uploads that leave a record, by their keys.
    pub(super) running: RunningUploads<Vec<u8>>,
    /// Sessions that publish under the same key.
    pub(super) rivals: Rivals,
    pub(super) late: Arc<LateChanges>,
    /// The number of the latest of these uploads.
    pub(super) latest: AtomicU64,
    pub(super) records: Lock<Vec<Weak<StoreRecord>>>,
    /// The records of uploads that have ended, which the store does not have yet.
    pub(super) pending: Lock<Vec<Arc<StoreRecord>>>,
}

static MEMORIES: Lock<BTreeMap<String, Arc<Memory>>> = Lock::new(BTreeMap::new());

impl Memory {
    /// Returns the memory of a bucket, which these words name.
    pub(super) fn of(bucket: String) -> Arc<Self> {
        let mut memories = MEMORIES.lock();
        // A reload can name other buckets again and again. What knows of danger has users, or a change
        // without a response.
        memories.retain(|_, memory| Arc::strong_count(memory) > 1 || !memory.late.is_over());
        Arc::clone(memories.entry(bucket).or_default())
    }

    fn records(&self) -> Vec<Arc<StoreRecord>> {
        let mut records = self.records.lock();
        records.retain(|record| record.strong_count() > 0);
        records.iter().filter_map(Weak::upgrade).collect()
    }

    /// Returns the records of uploads of this process whose note has this key.
    pub(super) fn of_note(&self, note_key: &str) -> Vec<Arc<StoreRecord>> {
        let mut records = self.records();
        records.retain(|record| record.note_key == note_key);
        records
    }
}

impl Inner {
    fn tick(&self) -> Duration {
        (self.lease / 3).min(LONGEST_TICK)
    }

    /// Writes and renews the notes that are due, in threads.
    pub(super) fn attend(self: &Arc<Self>) {
        let records = self.memory.records();
        let busy = records.iter().filter(|record| record.is_attended.load(Ordering::SeqCst));
        let free = AT_A_TIME.saturating_sub(busy.count());
        let now = Instant::now();
        let due = |record: &Arc<StoreRecord>| record.due.lock().filter(|due| *due <= now);
        let mut all: Vec<_> =
            records.iter().filter_map(|record| Some((due(record)?, record))).collect();
        // Those that wait longest come first, so that all have their turn.
        all.sort_by_key(|(due, _)| *due);
        all.into_iter().take(free).for_each(|(_, record)| record.attend(self));
    }
}

/// The record that a running upload leaves if it does not end with success. The upload runs until
/// the last clone is dropped.
pub(super) struct StoreRecord {
    pub(super) note_key: String,
    /// The version of the object that the upload is to replace; `None` if there was no object.
    pub(super) old: Option<String>,
    /// Whether there may be an object nevertheless: it was not looked for, because a listing a moment ago
    /// did not have it.
    may_replace: AtomicBool,
    /// Whether the received bytes are kept.
    pub(super) keeps: bool,
    key: String,
    user: Vec<u8>,
    overtaken: Overtaken,
    memory: Arc<Memory>,
    state: Lock<NoteState>,
    /// When the note is to be written, or written again; `None` if it is not.
    due: Lock<Option<Instant>>,
    is_attended: AtomicBool,
    /// Whether the store may have the note.
    is_noted: AtomicBool,
    /// Whether another session has replaced the note, and whether it has taken over the bytes.
    is_lost: AtomicBool,
    has_lost_bytes: AtomicBool,
    /// Whether the note is not to be written any more.
    is_over: AtomicBool,
    /// Whether the upload has ended, and only the note is still to be written.
    is_pending: AtomicBool,
}

struct NoteState {
    note: Note,
    /// The entity tag of the note; `None` if it is not written, or no longer renewed.
    tag: Option<String>,
    /// Whether the store has had the note.
    is_written: bool,
    renewed: Instant,
}

impl Drop for StoreRecord {
    fn drop(&mut self) {
        self.memory.running.end(&self.overtaken);
    }
}

impl StoreRecord {
    /// Begins the record of an upload. `tag` is the entity tag of its note if that is written.
    ///
    /// # Errors
    ///
    /// Returns `NoSpace` if too many records wait for a store that does not accept them.
    pub(super) fn begin(
        store: &Inner,
        note_key: &str,
        user: Option<&[u8]>,
        (note, tag): (Note, Option<String>),
        (is_first, may_replace): (bool, bool),
    ) -> StorageResult<Arc<Self>> {
        let memory = Arc::clone(&store.memory);
        let is_noted = tag.is_some();
        if !is_noted && may_replace && memory.pending.lock().len() >= limits::RECORDS {
            return Err(Kind::NoSpace.into());
        }
        let number = memory.latest.fetch_add(1, Ordering::SeqCst) + 1;
        let place = note.key.as_bytes().to_vec();
        let now = Instant::now();
        let due = match is_noted {
            true => Some(now + store.tick()),
            false => may_replace.then(|| now + QUICK),
        };
        let record = Arc::new(Self {
            note_key: note_key.to_owned(),
            old: note.old.clone(),
            may_replace: AtomicBool::new(may_replace),
            keeps: note.keeps,
            key: note.key.clone(),
            user: user.unwrap_or_default().to_vec(),
            overtaken: memory.running.begin(user, place, is_first, number),
            memory: Arc::clone(&memory),
            state: Lock::new(NoteState { note, tag, is_written: is_noted, renewed: now }),
            due: Lock::new(due),
            is_attended: AtomicBool::new(false),
            is_noted: AtomicBool::new(is_noted),
            is_lost: AtomicBool::new(false),
            has_lost_bytes: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            is_pending: AtomicBool::new(false),
        });
        memory.records.lock().push(Arc::downgrade(&record));
        Ok(record)
    }

    fn may_replace(&self) -> bool {
        self.may_replace.load(Ordering::SeqCst)
    }

    /// Returns whether there was no object when the upload began, or it was removed since.
    pub(super) fn has_nothing_to_mix_with(&self) -> bool {
        self.overtaken.is_gone() || self.old.is_none() && self.overtaken.changes() == 0
    }

    /// Returns `Busy` if another session is known to have taken over the bytes of the upload.
    pub(super) fn check(&self) -> StorageResult<()> {
        match self.has_lost_bytes.load(Ordering::SeqCst) {
            true => Err(Kind::Busy.into()),
            false => Ok(()),
        }
    }

    /// Returns `Busy` if another session has taken over the bytes of the upload. Renews the note
    /// first if at least half of the lease has passed.
    pub(super) fn prove(&self, store: &Inner) -> StorageResult<()> {
        let state = self.state.lock();
        let is_due = state.tag.is_some() && state.renewed.elapsed() >= store.lease / 2;
        drop(state);
        if self.keeps && is_due {
            self.write(store)?;
        }
        self.check()
    }

    /// Writes the note of an upload that may replace an object, unless the store has it already.
    pub(super) fn note_first(&self, store: &Inner) -> Result<(), S3Error> {
        let is_needed = self.may_replace() && !self.state.lock().is_written;
        if is_needed { self.write(store) } else { Ok(()) }
    }

    /// Adds the id of the multipart upload to the note, and writes it, if another server would find
    /// something in it.
    pub(super) fn begin_parts(&self, store: &Inner, upload: &str) -> Result<(), S3Error> {
        self.state.lock().note.upload = Some(upload.to_owned());
        if self.keeps || self.may_replace() { self.write(store) } else { Ok(()) }
    }

    /// Writes the note, or renews it.
    pub(super) fn write(&self, store: &Inner) -> Result<(), S3Error> {
        let mut state = self.state.lock();
        self.is_noted.store(true, Ordering::SeqCst);
        let is_of_another = state.tag.is_none() && self.overtaken.is_superseded();
        if self.is_over.load(Ordering::SeqCst) || is_of_another {
            *self.due.lock() = None;
            return Ok(());
        }
        let condition = state.tag.clone().map_or(Condition::None, Condition::Is);
        match partial::write(store, &self.note_key, &state.note, &condition) {
            Ok(tag) => {
                (state.tag, state.is_written, state.renewed) = (Some(tag), true, Instant::now());
                *self.due.lock() = Some(Instant::now() + store.tick());
                Ok(())
            }
            Err(error) if error.is_precondition() || error.is_missing() => {
                self.lose(&state.note);
                (state.tag, *self.due.lock()) = (None, None);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn lose(&self, note: &Note) {
        self.is_lost.store(true, Ordering::SeqCst);
        self.is_over.store(true, Ordering::SeqCst);
        self.has_lost_bytes.fetch_or(self.keeps && note.has_bytes(), Ordering::SeqCst);
    }

    /// Writes the note of an upload that may replace an object, in a thread, unless that was begun.
    pub(super) fn note_now(self: &Arc<Self>, store: &Arc<Inner>) {
        if self.may_replace() && !self.is_noted.load(Ordering::SeqCst) {
            self.attend(store);
        }
    }

    /// Does in a thread what is due.
    fn attend(self: &Arc<Self>, store: &Arc<Inner>) {
        if self.is_attended.swap(true, Ordering::SeqCst) {
            return;
        }
        let (record, store) = (Arc::clone(self), Arc::clone(store));
        let attending = ThreadJob::begin(move || {
            let done = match record.is_pending.load(Ordering::SeqCst) {
                false => record.write(&store),
                true => record.settle(&store),
            };
            if let Err(error) = done {
                let key = &record.key;
                log::warn!("{key:?}: cannot write the record of an upload: {error}");
                *record.due.lock() = Some(Instant::now() + AGAIN);
            }
            record.is_attended.store(false, Ordering::SeqCst);
        });
        // Otherwise it is due again.
        self.is_attended.fetch_and(attending.is_ok(), Ordering::SeqCst);
    }

    /// Stops to renew the note. Returns whether the store has it.
    pub(super) fn stop_renewing(&self) -> bool {
        self.is_over.store(true, Ordering::SeqCst);
        *self.due.lock() = None;
        self.state.lock().tag.is_some()
    }

    /// Lets the upload go on without its note, which belongs to a later one.
    pub(super) fn give_up_note(&self) {
        self.is_over.store(true, Ordering::SeqCst);
        self.state.lock().tag = None;
    }

    /// Removes the note of an upload that leaves no record. Returns whether the parts still belong
    /// to this session.
    pub(super) fn end(&self, store: &Inner) -> Result<bool, S3Error> {
        self.is_over.store(true, Ordering::SeqCst);
        let mut state = self.state.lock();
        let Some(tag) = state.tag.take() else { return Ok(self.check().is_ok()) };
        match store.delete_if(&self.note_key, &tag) {
            Err(error) if error.is_precondition() => {
                self.lose(&state.note);
                return Ok(self.check().is_ok());
            }
            done => done?,
        }
        partial::delete_tail(store, &state.note).map(|()| true)
    }

    /// Ends the records, because the upload was stored. If the store keeps the note for now, the
    /// object proves that it has ended.
    pub(super) fn stored(self: &Arc<Self>, store: &Arc<Inner>) {
        self.is_over.store(true, Ordering::SeqCst);
        // A thread that still writes the note holds the record.
        self.memory.running.end(&self.overtaken);
        // The object does not name what was stored since the upload began.
        let has_others = self.overtaken.changes() > 1;
        if !has_others && !self.is_noted.load(Ordering::SeqCst) {
            return;
        }
        let (record, own) = (Arc::clone(self), Arc::clone(store));
        let ended = ThreadJob::begin(move || {
            let ended = record.end(&own).and_then(|_| {
                let all = record.note_key.rsplit_once('-').filter(|_| has_others);
                all.map_or(Ok(()), |(all, _)| discard_ended(&own, &record.key, &format!("{all}-")))
            });
            if let Err(error) = ended {
                let key = &record.key;
                log::warn!("{key:?}: cannot remove the record of a stored file: {error}");
            }
        });
        let _: Option<_> = ended.ok().and_then(|job| job.wait(store.patience));
    }

    /// Leaves the record of an upload that has ended without success: with the parts and the bytes
    /// after them, or if `received` is `None`, with the bytes of earlier uploads. Returns `false` if
    /// the parts of the upload are left to the caller.
    pub(super) fn leave(
        &self,
        store: &Inner,
        end: StreamEnd,
        received: Option<(&[Part], &[u8])>,
    ) -> Result<bool, S3Error> {
        let is_displaced = self.is_displaced();
        if !is_displaced && self.overtaken.leaves_nothing(end) {
            return Ok(false);
        }
        let now = store.client.head(&self.key)?.map(|now| now.version());
        self.may_replace.fetch_and(now.is_some(), Ordering::SeqCst);
        let is_unchanged = self.overtaken.changes() == 0 && now == self.old;
        let none = Some((&[][..], &[][..]));
        let place = self.key.as_bytes().to_vec();
        let runs_again = || self.memory.running.has(Some(&self.user), &place);
        self.is_over.store(true, Ordering::SeqCst);
        let state = self.state.lock();
        let (note, tag) = (state.note.clone(), state.tag.clone());
        let condition = tag.map_or(Condition::None, Condition::Is);
        match now {
            _ if is_unchanged && !is_displaced => {
                partial::leave(store, &self.note_key, &note, received, &condition)?;
                Ok(true)
            }
            // There is nothing to mix with.
            None => Ok(false),
            now if !is_displaced => {
                let note = Note { old: now, ..note };
                partial::leave(store, &self.note_key, &note, none, &condition)?;
                Ok(true)
            }
            // The record of the other upload holds.
            _ if is_unchanged || runs_again() => Ok(false),
            // Another upload has stored the file since, so its length is not that of this one.
            now => {
                let note = Note { old: now, upload: None, tail: None, ..note };
                // The own note, if it is still there, becomes this one.
                let condition = match condition {
                    Condition::None => Condition::New,
                    own => own,
                };
                partial::leave(store, &self.note_key, &note, none, &condition)?;
                Ok(false)
            }
        }
    }

    /// Returns whether the note belongs to another upload of the user.
    fn is_displaced(&self) -> bool {
        self.is_lost.load(Ordering::SeqCst) || self.overtaken.is_superseded()
    }

    /// Remembers the record of an upload that may have replaced an object and could not be left, until the
    /// store accepts it. If the store has the note of the running upload, that one holds.
    pub(super) fn remember(self: &Arc<Self>) {
        if !self.may_replace() || self.is_displaced() || self.state.lock().is_written {
            return;
        }
        self.is_pending.store(true, Ordering::SeqCst);
        *self.due.lock() = Some(Instant::now() + AGAIN);
        self.memory.pending.lock().push(Arc::clone(self));
    }

    /// Leaves a record without bytes, unless it has ended or there is a record of a later upload.
    fn settle(&self, store: &Inner) -> Result<(), S3Error> {
        if !self.overtaken.leaves_nothing(StreamEnd::Failed) {
            let now = store.client.head(&self.key)?;
            let has_ended = has_ended(self.old.as_deref(), now.as_ref());
            // What was stored while the upload was running is not the file that it was to replace.
            let is_free = self.old.is_none();
            let is_other = now.is_some() && (is_free || self.overtaken.changes() > 0);
            // Without a file, there is nothing to mix with.
            if is_other || !has_ended && now.is_some() {
                let mut note = self.state.lock().note.clone();
                if is_other {
                    note.old = now.as_ref().map(StoredObject::version);
                }
                partial::leave(store, &self.note_key, &note, None, &Condition::New)?;
            }
        }
        *self.due.lock() = None;
        self.memory.pending.lock().retain(|other| !std::ptr::eq(&**other, self));
        Ok(())
    }
}

/// Discards the notes of all users about the object at `key`, which was stored, removed or replaced:
/// those of uploads that do not run, and do not replace what is there now. If that cannot be looked
/// at, all stay.
pub(super) fn discard_ended(store: &Inner, key: &str, prefix: &str) -> Result<(), S3Error> {
    let now = OnceCell::new();
    partial::discard_all(store, prefix, |found| {
        let look = || store.client.head(key).map(|now| now.map(|now| now.version())).ok();
        let now: &Option<Option<String>> = now.get_or_init(look);
        let is_ended = now.as_ref().is_some_and(|now| now.is_none() || found.note.old != *now);
        !found.is_running && is_ended
    })
}
