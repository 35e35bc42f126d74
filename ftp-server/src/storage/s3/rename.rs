//! Renames objects by a copy and a removal, because stores have no rename.

use super::S3Storage;
use super::error::S3Error;
use super::inner::Inner;
use super::multipart::PARTS;
use super::objects::{Condition, ID, Object};
use super::partial::{self, Moved};
use crate::storage::{StorageError, StorageErrorKind as Kind, VirtualPath, check_rename};

/// Maximum size of an object that one request can copy, in bytes.
pub(super) const COPIED: u64 = 5 * 1024 * 1024 * 1024;

impl S3Storage {
    pub(super) fn move_object(
        &self,
        from: &VirtualPath,
        to: &VirtualPath,
        replace: bool,
    ) -> Result<(), StorageError> {
        check_rename(from, to)?;
        let (from_key, to_key) = (self.existing(from)?, self.keys.file(to)?);
        let source = self.inner.client.head(&from_key)?;
        let is_directory = source.is_none() && self.inner.has_directory(&self.directory(from)?)?;
        if source.is_none() && !is_directory {
            return Err(Kind::NotFound.into());
        }
        self.check_parent(to)?;
        if from == to {
            return Ok(());
        }
        if to.is_at_or_below(from) {
            return Err(Kind::Denied.into());
        }
        let target = self.inner.client.head(&to_key)?;
        match (&target, replace) {
            (Some(_), false) => return Err(Kind::Exists.into()),
            (Some(_), true) if is_directory => return Err(Kind::NotDirectory.into()),
            (Some(_), true) => {}
            (None, _) if self.inner.has_directory(&self.directory(to)?)? => {
                return Err(if replace { Kind::IsDirectory } else { Kind::Exists }.into());
            }
            (None, _) => {}
        }
        let moved = match source {
            Some(source) => {
                let condition = if replace { Condition::None } else { Condition::New };
                move_file(&self.inner, &from_key, &source, &to_key, &condition).map(drop)
            }
            None => self.move_tree(&self.directory(from)?, &self.directory(to)?),
        };
        self.inner.forget_directories();
        moved?;
        self.inner.running.changed(&to_key.as_bytes().to_vec());
        // The records of the other name remember that there was no file, or another one.
        self.end_records(if is_directory { &to_key } else { &from_key })
    }

    /// Moves all objects of a directory. Fails with `Unsupported` if the directory contains more
    /// than `rename_trees` objects.
    fn move_tree(&self, from: &str, to: &str) -> Result<(), StorageError> {
        let most = self.rename_trees;
        let mut keys = Vec::new();
        if most > 0 {
            let listed = self.inner.each_key(from, |listed| {
                keys.push(listed.key);
                match keys.len() > most {
                    true => Err(S3Error::Configuration("too many objects".to_owned())),
                    false => Ok(()),
                }
            });
            match listed {
                Err(S3Error::Configuration(_)) => keys.clear(),
                listed => listed?,
            }
        }
        if keys.is_empty() {
            return Err(Kind::Unsupported.into());
        }
        // The object of a directory is listed before its files, so the new directory exists first.
        let mut moved = Moved::new();
        for key in &keys {
            let Some(rest) = key.strip_prefix(from) else { continue };
            // Another session may have removed the object.
            if let Some(object) = self.inner.client.head(key)? {
                let to = format!("{to}{rest}");
                let copy = move_file(&self.inner, key, &object, &to, &Condition::New)?;
                moved.insert(to, (object.version(), copy.version()));
            }
        }
        for key in keys.iter().filter(|key| key.ends_with('/')) {
            let new = format!("{to}{}", key.strip_prefix(from).unwrap_or_default());
            let notes = (&*self.keys.notes(key), &*self.keys.notes(&new));
            partial::move_notes(&self.inner, notes, (from, to), &moved)?;
        }
        Ok(())
    }
}

/// Copies an object, checks the copy, and removes the original if it has not changed. Returns the
/// copy.
fn move_file(
    store: &Inner,
    from: &str,
    object: &Object,
    to: &str,
    condition: &Condition,
) -> Result<Object, StorageError> {
    let id = Inner::unique()?;
    let mut metadata = object.kept.clone();
    metadata.retain(|(name, _)| name != ID);
    metadata.push((ID.to_owned(), id.clone()));
    let copied = match object.size <= COPIED {
        true => store.client.copy(from, &object.tag, to, condition, &metadata).map(drop),
        false => copy_parts(store, from, object, to, condition, &metadata, &id),
    };
    match copied {
        Err(error) if error.is_precondition() && *condition == Condition::New => {
            // Either the target exists now, or the original has changed.
            let is_taken = store.client.head(to)?.is_some();
            return Err(if is_taken { Kind::Exists } else { Kind::Busy }.into());
        }
        Err(error) if error.is_precondition() => return Err(Kind::Busy.into()),
        copied => copied?,
    }
    let is_whole = |copy: &Object| copy.size == object.size && copy.metadata(ID) == Some(&*id);
    let copy = store.client.head(to)?.filter(is_whole).ok_or(Kind::Busy)?;
    match store.delete_if(from, &object.tag) {
        // Another session has stored a newer file under the old name. The newer file stays.
        Err(error) if error.is_precondition() => Err(Kind::Busy.into()),
        done => Ok(done.map(|()| copy)?),
    }
}

/// Copies an object that is too large for one request.
fn copy_parts(
    store: &Inner,
    from: &str,
    object: &Object,
    to: &str,
    condition: &Condition,
    metadata: &[(String, String)],
    id: &str,
) -> Result<(), S3Error> {
    const STEP: u64 = 1024 * 1024 * 1024;
    let client = &store.client;
    let upload = client.create_upload(to, metadata)?;
    let step = STEP.max(object.size / u64::from(PARTS / 2));
    let copy = || {
        let mut parts = Vec::new();
        let mut at = 0;
        while at < object.size {
            let end = (at + step).min(object.size);
            let number = u32::try_from(parts.len()).unwrap_or(PARTS) + 1;
            parts.push(client.copy_part(&upload, number, from, &object.tag, at..end)?);
            at = end;
        }
        client.complete(&upload, &parts, condition, id).map(drop)
    };
    copy().or_else(|error| {
        client.abort_upload(&upload)?;
        Err(error)
    })
}
