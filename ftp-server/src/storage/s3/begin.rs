//! Begins uploads, depending on existing objects and partial uploads.

use std::sync::Arc;

use super::copying::Copying;
use super::inner::Inner;
use super::objects::{Condition, Object};
use super::partial::{self, Lease};
use super::replaced::Replaced;
use super::upload::{Begun, Publishing, S3Upload};
use super::{S3Storage, keys, multipart, work};
use crate::storage::{StorageError, StorageErrorKind as Kind, Upload, VirtualPath, WriteMode};

impl S3Storage {
    /// Begins an upload. An interrupted upload may be kept for `user` to resume; with `None`, no
    /// partial upload is kept.
    pub(super) fn begin(
        &self,
        path: &VirtualPath,
        mode: WriteMode,
        user: Option<&[u8]>,
    ) -> Result<Box<dyn Upload>, StorageError> {
        let key = self.keys.file(path)?;
        self.check_parent(path)?;
        let note_key = user.map(|user| self.keys.note(&key, user));
        let find_old = || self.old(path, &key, mode);
        let (old, kept) = match &note_key {
            None => (find_old(), Ok(None)),
            Some(note_key) => work::both(find_old, || partial::find(&self.inner, note_key))?,
        };
        // Only the existence of the note is used here, because its content may have changed in the
        // meantime.
        let (old, has_note) = (old?, kept?.is_some());
        if old.is_some() && mode == WriteMode::Create {
            return Err(Kind::Exists.into());
        }
        let from = match (mode, &old) {
            (WriteMode::From(from), _) => from,
            (WriteMode::Append, Some(old)) => old.size,
            _ => 0,
        };
        let begun = Begun {
            store: Arc::clone(&self.inner),
            id: Inner::unique()?,
            multipart: None,
            note_key,
            rival: None,
            lease: None,
            replaced: old
                .as_ref()
                .filter(|_| mode == WriteMode::Replace)
                .map(|old| Replaced::new(&self.keys, &key, user, old)),
            key,
        };
        match old {
            Some(old) => Self::begin_over(begun, has_note, &old, mode, from),
            None => Self::begin_new(begun, has_note, mode, from),
        }
    }

    /// Begins an upload to an existing file. `has_note` is true if the user has a partial upload
    /// for the same path.
    fn begin_over(
        mut begun: Begun,
        has_note: bool,
        old: &Object,
        mode: WriteMode,
        from: u64,
    ) -> Result<Box<dyn Upload>, StorageError> {
        if from > old.size {
            return Err(Kind::BadRestart.into());
        }
        // The partial upload is older than the file, so it cannot be resumed.
        if let Some(note_key) = begun.note_key.take()
            && has_note
            && !discard_kept(&begun.store, &note_key)?
        {
            begun.rival = Some(note_key);
        }
        let condition = match mode {
            WriteMode::Append | WriteMode::From(1..) => Condition::Is(old.tag.clone()),
            _ => Condition::None,
        };
        let publishing = Publishing { condition, refusal: Kind::Busy, replaces: true };
        let upload = S3Upload::new(begun, publishing);
        Ok(Box::new(match from {
            0 => upload,
            _ => upload.after(Copying::new(old.tag.clone(), from)),
        }))
    }

    /// Begins an upload of a new file, or resumes a partial upload.
    fn begin_new(
        mut begun: Begun,
        has_note: bool,
        mode: WriteMode,
        from: u64,
    ) -> Result<Box<dyn Upload>, StorageError> {
        let (condition, refusal) = match mode {
            WriteMode::Replace => (Condition::None, Kind::Exists),
            WriteMode::Append => (Condition::New, Kind::Busy),
            WriteMode::Create | WriteMode::From(_) => (Condition::New, Kind::Exists),
        };
        let publishing = Publishing { condition, refusal, replaces: false };
        let Some(note_key) = begun.note_key.clone() else {
            return match from {
                0 => Ok(Box::new(S3Upload::new(begun, publishing))),
                _ => Err(Kind::BadRestart.into()),
            };
        };
        if from == 0 {
            if has_note && !discard_kept(&begun.store, &note_key)? {
                // The note belongs to another session, which is still uploading or died recently.
                begun.rival = begun.note_key.take();
            }
            return Ok(Box::new(S3Upload::new(begun, publishing)));
        }
        if !has_note {
            return Err(Kind::BadRestart.into());
        }
        let store = Arc::clone(&begun.store);
        let found = partial::find(&store, &note_key)?.ok_or(Kind::BadRestart)?;
        if found.is_running {
            return Err(Kind::Busy.into());
        }
        let kept = partial::load(&store, found)?.ok_or(Kind::BadRestart)?;
        let more = from.checked_sub(kept.stored()).filter(|_| from <= kept.size());
        let more = more.ok_or(Kind::BadRestart)?;
        let tail = match &kept.tail {
            Some((owner, _)) if more > 0 => {
                let tail = keys::tail(&store.hidden, owner);
                let found = store.client.get_small(&tail, more)?;
                let tail = found.map(|(_, bytes)| bytes).unwrap_or_default();
                if tail.len() as u64 != more {
                    return Err(Kind::BadRestart.into());
                }
                tail
            }
            _ => Vec::new(),
        };
        begun.lease = Some(Lease::take_up(&store, &note_key, &kept, Inner::unique()?)?);
        begun.id.clone_from(&kept.note().object);
        let (key, upload) = (begun.key.clone(), kept.note().upload.clone());
        begun.multipart = upload.map(|upload| multipart::Multipart { key, upload });
        Ok(Box::new(S3Upload::new(begun, publishing).resumed(kept.parts, tail)))
    }

    /// Returns the file that an upload would replace or extend; `None` if there is none. For a
    /// whole new file, one listing is enough: it finds neither a file nor a directory.
    fn old(
        &self,
        path: &VirtualPath,
        key: &str,
        mode: WriteMode,
    ) -> Result<Option<Object>, StorageError> {
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

/// Discards a partial upload, if there is one. Returns `false` if another session is still
/// uploading.
fn discard_kept(store: &Inner, note_key: &str) -> Result<bool, StorageError> {
    match partial::find(store, note_key)? {
        Some(found) if found.is_running => Ok(false),
        Some(found) => {
            partial::discard(store, note_key, &found)?;
            Ok(true)
        }
        None => Ok(true),
    }
}
