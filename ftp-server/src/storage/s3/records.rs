//! What a storage says and ends of the records of unfinished uploads.

use super::objects::StoredObject;
use super::partial::{self, Found};
use super::record::discard_ended;
use super::{S3Storage, identity};
use crate::storage::{StorageErrorKind as Kind, StorageResult, Unfinished, VirtualPath};

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
        Ok(Some(Unfinished { kept, number, when: found.when, ..Unfinished::default() }))
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
