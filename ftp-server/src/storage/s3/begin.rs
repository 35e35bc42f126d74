//! Begins uploads, depending on existing objects and unfinished uploads.

use std::sync::Arc;

use super::inner::Inner;
use super::multipart::Multipart;
use super::objects::{Condition, StoredObject};
use super::partial::{self, Found, Note, ResumedUpload};
use super::record::{StoreRecord, new_id};
use super::upload::{Begun, Copying, S3Upload};
use super::{S3Storage, http};
use crate::storage::{StorageErrorKind as Kind, StorageResult, Upload, VirtualPath, WriteMode};

impl S3Storage {
    /// Begins an upload by `user`; `None` is a shared login, for which no bytes are kept.
    pub(super) fn begin(
        &self,
        path: &VirtualPath,
        mode: WriteMode,
        user: Option<&[u8]>,
        is_image: bool,
    ) -> StorageResult<Box<dyn Upload>> {
        let key = self.keys.file(path)?;
        self.check_parent(path)?;
        let store = &self.inner;
        let note_key = self.keys.note(&key, user.unwrap_or_default());
        let leaves_record = !matches!(mode, WriteMode::Append | WriteMode::From(_));
        let is_whole = matches!(mode, WriteMode::Create | WriteMode::Replace);
        let is_free = match is_whole {
            true => store.takes_free_name(&key, &note_key)?,
            false => {
                store.seen.take_name(&key);
                false
            }
        };
        let find_old = || self.old(path, &key, is_whole);
        let (old, found) = match leaves_record {
            true if is_free => (Ok(None), Ok(None)),
            true => http::both(find_old, || partial::find(store, &note_key))?,
            false => (find_old(), Ok(None)),
        };
        let (old, found) = (old?, found?);
        if old.is_some() && mode == WriteMode::Create {
            return Err(Kind::Exists.into());
        }
        let size = old.as_ref().map_or(0, |old| old.size);
        let copied = match mode {
            WriteMode::From(from) if from > size => return Err(Kind::BadRestart.into()),
            WriteMode::From(from) => from,
            WriteMode::Append => size,
            _ => 0,
        };
        let id = new_id(old.as_ref(), leaves_record)?;
        let keeps = is_image && self.keeps(user);
        let mut begun = Begun { store: Arc::clone(store), key, id, multipart: None, record: None };
        let resumed = match mode {
            WriteMode::Append | WriteMode::From(_) => None,
            WriteMode::Resume(from) => {
                if store.memory.running.has(user, &begun.key.as_bytes().to_vec()) {
                    return Err(Kind::Busy.into());
                }
                let resumed = ResumedUpload::take_up(store, &note_key, found, old.as_ref(), from)?;
                let ((note, tag), key) = (resumed.note, begun.key.clone());
                begun.multipart = note.upload.clone().map(|upload| Multipart { key, upload });
                begun.id.clone_from(&note.object);
                let note = (note, Some(tag));
                let may_replace = old.is_some();
                let record = StoreRecord::begin(store, &note_key, user, note, (false, may_replace));
                begun.record = Some(record?);
                Some((resumed.parts, resumed.tail))
            }
            WriteMode::Create | WriteMode::Replace => {
                let found = found.as_ref();
                begun.record = Some(begun.new_record(
                    &note_key,
                    user,
                    (keeps, is_free),
                    old.as_ref(),
                    found,
                )?);
                None
            }
        };
        let condition = Condition::of(old.as_ref());
        let refusal = match mode {
            WriteMode::Replace => None,
            _ if leaves_record => Some(Kind::Exists),
            _ => Some(Kind::Busy),
        };
        let upload = S3Upload::new(begun, (condition, refusal));
        Ok(Box::new(match (resumed, old) {
            (Some((parts, tail)), _) => upload.resumed(parts, tail),
            (None, Some(old)) if copied > 0 => upload.after(Copying::new(old.tag, copied))?,
            (None, _) => upload,
        }))
    }

    /// Returns the file that an upload would replace or extend; `None` if there is none. For a
    /// whole new file, one listing is enough: it finds neither a file nor a directory.
    fn old(
        &self,
        path: &VirtualPath,
        key: &str,
        is_whole: bool,
    ) -> StorageResult<Option<StoredObject>> {
        if is_whole && !self.inner.has_keys(key)? {
            return Ok(None);
        }
        match self.object(path) {
            Ok((_, object)) => Ok(Some(object)),
            Err(error) if error.kind == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Begun {
    /// Begins the record of an upload from byte 0. An upload of the same user that began earlier
    /// leaves no record any more, whether it runs at this server or not, and the bytes of its record,
    /// which is `found`, are discarded. Over an existing object, the record goes on without a gap.
    fn new_record(
        &self,
        note_key: &str,
        user: Option<&[u8]>,
        (keeps, is_free): (bool, bool),
        old: Option<&StoredObject>,
        found: Option<&Found>,
    ) -> StorageResult<Arc<StoreRecord>> {
        let store = &self.store;
        let earlier = store.memory.of_note(note_key);
        let note = Note {
            owner: Inner::unique()?,
            key: self.key.clone(),
            object: self.id.clone(),
            is_active: true,
            keeps,
            old: old.map(StoredObject::version),
            ..Note::default()
        };
        let is_first = found.is_none_or(|found| found.has_ended(old));
        let kind = (is_first, old.is_some() || is_free);
        let record = StoreRecord::begin(store, note_key, user, (note, None), kind)?;
        let replaced = self.replace_record(
            note_key,
            old,
            found,
            is_first,
            (&record, &earlier, user.is_none()),
        );
        // The earlier records hold no longer, so this one must.
        replaced.inspect_err(|_| record.remember())?;
        Ok(record)
    }

    /// Puts the record in the place of `earlier` ones of this process, and of that in the store.
    fn replace_record(
        &self,
        note_key: &str,
        old: Option<&StoredObject>,
        found: Option<&Found>,
        is_first: bool,
        (record, earlier, is_shared): (&Arc<StoreRecord>, &[Arc<StoreRecord>], bool),
    ) -> StorageResult<()> {
        let store = &self.store;
        let Some(found) = found else { return Ok(()) };
        // An upload of this process goes on, and may still be the last one to be stored. So does one
        // of a shared login, which may be that of another client.
        let goes_on = found.is_running && (!earlier.is_empty() || is_shared);
        if old.is_none() || is_first {
            earlier.iter().try_for_each(|earlier| earlier.end(store).map(drop))?;
            if !goes_on {
                partial::supersede(store, note_key)?;
            }
            return Ok(());
        }
        if !goes_on {
            partial::discard_bytes(store, &found.note)?;
        }
        earlier.iter().for_each(|earlier| earlier.give_up_note());
        Ok(record.write(store)?)
    }
}
