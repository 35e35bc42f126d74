//! Renames objects by a copy and a removal, because stores have no rename.

use std::collections::BTreeSet;

use super::error::S3Error;
use super::inner::Inner;
use super::multipart::PARTS;
use super::objects::{Condition, ID, StoredObject};
use super::pages::Listed;
use super::partial::{self, Moved};
use super::rivals::{Publishing, Turn};
use super::{S3Storage, http, keys};
use crate::storage::{StorageErrorKind as Kind, StorageResult, VirtualPath, check_rename};

/// Maximum size of an object that one request can copy, in bytes.
pub(super) const COPIED: u64 = 5 * 1024 * 1024 * 1024;

/// Maximum length of the object that a move of a directory leaves until it has succeeded.
const LONGEST: u64 = 64;

impl S3Storage {
    pub(super) fn move_object(
        &self,
        from: &VirtualPath,
        to: &VirtualPath,
        replace: bool,
    ) -> StorageResult<()> {
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
        let publishing = match replace {
            true => Publishing::always(),
            false => self.inner.publish_new(&to_key),
        };
        let target = self.inner.client.head(&to_key)?;
        let mut failed = None;
        match (&target, replace) {
            (Some(_), false) => return Err(Kind::Exists.into()),
            (Some(_), true) if is_directory => return Err(Kind::NotDirectory.into()),
            (Some(_), true) => {}
            (None, _) if self.inner.has_directory(&self.directory(to)?)? => {
                if is_directory {
                    failed = self.failed_move(&self.directory(from)?, &self.directory(to)?)?;
                }
                if failed.is_none() {
                    return Err(if replace { Kind::IsDirectory } else { Kind::Exists }.into());
                }
            }
            (None, _) => {}
        }
        let latest = self.inner.latest();
        let moved = match source {
            Some(source) => {
                let (keys, condition) = ((&*from_key, &*to_key), &publishing.condition);
                let id = Inner::unique()?;
                self.inner.publish(&to_key, &publishing, |turn| {
                    move_file(&self.inner, turn, keys, &source, condition, &id).map(drop)
                })
            }
            None => self.move_tree(&self.directory(from)?, &self.directory(to)?, failed),
        };
        self.inner.forget_directories();
        moved?;
        self.inner.running.stored(&to_key.as_bytes().to_vec(), latest);
        // A record of the new name ends, unless the name was free.
        if target.is_some() {
            self.discard_records(&to_key).map_err(S3Error::after_change)?;
        }
        let key = if is_directory { &to_key } else { &from_key };
        self.end_records(key, latest).map_err(S3Error::after_change)
    }

    /// Returns the id of an earlier move to the directory `to` that has failed; `None` if there was
    /// none, or if the directory has other files too.
    fn failed_move(&self, from: &str, to: &str) -> StorageResult<Option<String>> {
        let client = &self.inner.client;
        let key = keys::tree_move(&self.inner.hidden, (from, to));
        let found = if self.rename_trees > 0 { client.get_small(&key, LONGEST)? } else { None };
        let Some(id) = found.and_then(|(_, bytes)| String::from_utf8(bytes).ok()) else {
            return Ok(None);
        };
        let mut is_own = true;
        self.inner.each_key(to, |listed| {
            let is_marker = listed.key.ends_with('/') && listed.size == 0;
            if is_own && !is_marker {
                let object = client.head(&listed.key)?;
                is_own = object.is_none_or(|object| {
                    object.metadata(ID).is_some_and(|copy| copy.starts_with(&id))
                });
            }
            Ok(())
        })?;
        Ok(is_own.then_some(id))
    }

    /// Returns the objects of a directory. Fails with `Unsupported` if there are more than
    /// `rename_trees`.
    fn tree(&self, from: &str) -> StorageResult<Vec<Listed>> {
        let most = self.rename_trees;
        let mut found = Vec::new();
        if most > 0 {
            let listed = self.inner.each_key(from, |listed| {
                found.push(listed);
                match found.len() > most {
                    true => Err(S3Error::Configuration("too many objects".to_owned())),
                    false => Ok(()),
                }
            });
            match listed {
                Err(S3Error::Configuration(_)) => found.clear(),
                listed => listed?,
            }
        }
        if found.is_empty() { Err(Kind::Unsupported.into()) } else { Ok(found) }
    }

    /// Moves all objects of a directory, or those that are left if a move with the id `failed` has
    /// failed.
    fn move_tree(&self, from: &str, to: &str, failed: Option<String>) -> StorageResult<()> {
        let (store, objects) = (&self.inner, self.tree(from)?);
        let own_key = keys::tree_move(&store.hidden, (from, to));
        let is_again = failed.is_some();
        // No session has stored a file in the new directory, which does not exist yet.
        let new = |listed: &Listed| store.publish_new(&listed.key.replacen(from, to, 1));
        let publishings: Vec<_> = objects.iter().map(new).collect();
        let id = match failed {
            Some(id) => id,
            None => {
                let mut id = Inner::unique()?;
                id.truncate(16);
                let bytes = id.as_bytes();
                store.client.put(&own_key, bytes, &Condition::None, &id, store.checksums)?;
                id
            }
        };
        // The object of a directory is listed before its files, so the new directory exists first.
        let mut moved = Moved::new();
        let (mut directories, mut markers) = (BTreeSet::new(), Vec::new());
        for (Listed { key, size, .. }, publishing) in objects.iter().zip(&publishings) {
            let Some(rest) = key.strip_prefix(from) else { continue };
            let new = format!("{to}{rest}");
            let slashes = key.match_indices('/').map(|(at, _)| at + 1);
            directories
                .extend(slashes.filter_map(|end| Some(key.get(from.len()..end)?.to_owned())));
            if key.ends_with('/') && *size == 0 {
                // Some stores cannot copy the object of a directory.
                let unique = Inner::unique()?;
                store.client.put(&new, &[], &Condition::None, &unique, store.checksums)?;
                markers.push(key);
                continue;
            }
            let versions = store.publish(&new, publishing, |turn| {
                // Another session may have removed the object.
                let Some(object) = store.client.head(key)? else { return Ok(None) };
                let copied = if is_again { store.client.head(&new)? } else { None };
                let condition = copied.map_or(Condition::New, |copied| Condition::Is(copied.tag));
                let own = format!("{id}{}", Inner::unique()?.get(..16).unwrap_or_default());
                let copy = move_file(store, turn, (key, &new), &object, &condition, &own)?;
                Ok(Some((object.version(), copy.version())))
            })?;
            moved.extend(versions.map(|versions| (new, versions)));
        }
        // SeaweedFS keeps a directory whose object is removed before its files.
        for key in markers.into_iter().rev() {
            store.client.delete(key, &Condition::None)?;
        }
        // These uploads go on to the old name, of a directory that is gone.
        store.running.supersede_below(from.trim_end_matches('/').as_bytes(), store.latest());
        for rest in directories {
            let (old, new) = (format!("{from}{rest}"), format!("{to}{rest}"));
            let notes = (&*self.keys.notes(&old), &*self.keys.notes(&new));
            partial::move_notes(store, notes, (from, to), &moved)?;
        }
        Ok(store.client.delete(&own_key, &Condition::None)?)
    }
}

/// Copies an object, checks the copy, which gets the metadata `id`, and removes the original if it
/// has not changed. Returns the copy.
fn move_file(
    store: &Inner,
    turn: &mut Turn<'_>,
    (from, to): (&str, &str),
    object: &StoredObject,
    condition: &Condition,
    id: &str,
) -> StorageResult<StoredObject> {
    let mut metadata = object.kept.clone();
    metadata.retain(|(name, _)| name != ID);
    metadata.push((ID.to_owned(), id.to_owned()));
    let copied = match object.size <= COPIED {
        true => {
            turn.change(|| store.client.copy(from, &object.tag, to, condition, &metadata)).map(drop)
        }
        false => copy_parts(store, turn, (from, to), object, condition, &metadata, id),
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
    let is_whole = |copy: &StoredObject| copy.size == object.size && copy.metadata(ID) == Some(id);
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
    turn: &mut Turn<'_>,
    (from, to): (&str, &str),
    object: &StoredObject,
    condition: &Condition,
    metadata: &[(String, String)],
    id: &str,
) -> Result<(), S3Error> {
    const STEP: u64 = 1024 * 1024 * 1024;
    let client = &store.client;
    let upload = client.create_upload(to, metadata)?;
    let step = STEP.max(object.size / u64::from(PARTS / 2));
    let mut copy = || {
        let mut parts = Vec::new();
        let mut at = 0;
        while at < object.size {
            let end = (at + step).min(object.size);
            let number = u32::try_from(parts.len()).unwrap_or(PARTS) + 1;
            let copy = || client.copy_part(&upload, number, from, &object.tag, at..end);
            parts.push(http::change(copy)?);
            at = end;
        }
        turn.change(|| client.complete(&upload, &parts, condition, id)).map(drop)
    };
    copy().inspect_err(|_| {
        // If the store keeps the parts, its lifecycle rule removes them.
        let _ = client.abort_upload(&upload);
    })
}
