//! Begins uploads, depending on existing objects and unfinished uploads.

use std::sync::Arc;

use super::copying::Copying;
use super::inner::Inner;
use super::objects::{Condition, StoredObject};
use super::partial::{self, ResumedUpload};
use super::record::StoreRecord;
use super::rivals::Publishing;
use super::upload::{Begun, S3Upload};
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
        let watch = (mode != WriteMode::Replace).then(|| store.rivals.watch(&key));
        let find_old = || self.old(path, &key, mode);
        let (old, found) = match leaves_record && self.keeps(user) {
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
        // A note about another version of the object does not count as a record.
        let version = old.as_ref().map(StoredObject::version);
        let is_first = found.as_ref().is_none_or(|found| found.note.old != version);
        // An upload that began earlier leaves no record, whether it runs at this server or not.
        let has_rival = match &found {
            Some(_) if matches!(mode, WriteMode::Resume(_)) => false,
            Some(found) if found.is_running => !store.end_leases(&note_key)?,
            Some(found) => partial::discard(store, &note_key, found).map(|()| false)?,
            None => false,
        };
        let resumed = match mode {
            WriteMode::Resume(_) if store.running.has(user, &key.as_bytes().to_vec()) => {
                return Err(Kind::Busy.into());
            }
            WriteMode::Resume(from) => {
                Some(ResumedUpload::take_up(store, &note_key, found, old.as_ref(), from)?)
            }
            _ => None,
        };
        let (condition, refusal) = match (mode, &old) {
            (WriteMode::Replace, _) => (Condition::None, Kind::Exists),
            (_, Some(old)) => (Condition::Is(old.tag.clone()), Kind::Exists),
            (_, None) => (Condition::New, Kind::Exists),
        };
        let refusal = if leaves_record { refusal } else { Kind::Busy };
        let record = leaves_record.then(|| {
            let keys = (&*key, &*note_key);
            let keeps = is_image && self.keeps(user);
            let (facts, old) = ((keeps, has_rival, is_first), old.as_ref());
            StoreRecord::begin(store, keys, user, old, facts)
        });
        let (id, store) = (Inner::unique()?, Arc::clone(store));
        let begun = Begun { store, key, id, multipart: None, record, lease: None };
        let watch = watch.unwrap_or_default();
        let upload = S3Upload::new(begun, Publishing { condition, watch, refusal });
        Ok(Box::new(match (resumed, old) {
            (Some(resumed), _) => upload.resumed(resumed),
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
        mode: WriteMode,
    ) -> StorageResult<Option<StoredObject>> {
        let is_whole = matches!(mode, WriteMode::Create | WriteMode::Replace);
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
