//! Renames objects by a copy and a removal, because stores have no rename.

use std::collections::{BTreeSet, HashSet};
use std::io;

use super::encode::{hex, sha256};
use super::error::S3Error;
use super::http::Treatment;
use super::inner::Inner;
use super::multipart::{LEAST, PARTS};
use super::objects::{Condition, ID, StoredObject};
use super::pages::Listed;
use super::rivals::{ALWAYS, Turn};
use super::{S3Storage, http, keys, partial};
use crate::storage::{
    StorageError, StorageErrorKind as Kind, StorageResult, VirtualPath, check_rename,
};

/// Maximum size of an object that one request can copy, in bytes.
const COPIED: u64 = 5 * 1024 * 1024 * 1024;

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
        let is_directory = source.is_none() && self.inner.has_keys(&self.directory(from)?)?;
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
        let mut failed = None;
        match (&target, replace) {
            (Some(_), false) => return Err(Kind::Exists.into()),
            (Some(_), true) if is_directory => return Err(Kind::NotDirectory.into()),
            (Some(_), true) => {}
            (None, _) if self.inner.has_keys(&self.directory(to)?)? => {
                if is_directory {
                    failed = self.failed_move(&self.directory(from)?, &self.directory(to)?)?;
                }
                if failed.is_none() {
                    return Err(if replace { Kind::IsDirectory } else { Kind::Exists }.into());
                }
            }
            (None, _) => {}
        }
        self.inner.seen.take_name(&to_key);
        let latest = self.inner.latest();
        let moved = match source {
            Some(object) => {
                let id = Inner::unique()?;
                let file = Move { store: &self.inner, from: &from_key, to: &to_key, object, id };
                let copied = self
                    .inner
                    .publish(&to_key, ALWAYS, |turn| file.copy(turn, target.as_ref(), replace));
                copied.and_then(|()| file.remove())
            }
            None => self.move_tree(&self.directory(from)?, &self.directory(to)?, failed),
        };
        self.inner.seen.forget("");
        moved?;
        self.inner.memory.running.stored(&to_key.as_bytes().to_vec(), latest);
        // A record of the new name ends, unless the name was free.
        if target.is_some() {
            self.discard_records(&to_key).map_err(S3Error::after_change)?;
        }
        let key = if is_directory { &to_key } else { &from_key };
        self.end_records(key, latest).map_err(S3Error::after_change)
    }

    /// Returns the id of an earlier move to the directory `to` that has failed. Returns `None` if
    /// there was none, or if the directory has a file that is not the copy of what is still in
    /// `from`: that file could be the only one of its content.
    fn failed_move(&self, from: &str, to: &str) -> StorageResult<Option<String>> {
        let client = &self.inner.client;
        let key = keys::tree_move((from, to));
        let found = if self.rename_trees > 0 { client.get_small(&key, LONGEST)? } else { None };
        let Some(id) = found.and_then(|(_, bytes)| String::from_utf8(bytes).ok()) else {
            return Ok(None);
        };
        let mut left = HashSet::new();
        self.inner.each_key(from, |listed| {
            left.extend(listed.key.strip_prefix(from).map(str::to_owned));
            Ok(())
        })?;
        let mut is_own = true;
        self.inner.each_key(to, |listed| {
            let is_marker = listed.key.ends_with('/') && listed.size == 0;
            if !is_own || is_marker {
                return Ok(());
            }
            let Some(copy) = client.head(&listed.key)? else { return Ok(()) };
            let rest = listed.key.strip_prefix(to).unwrap_or_default();
            let source = match left.contains(rest) {
                true => client.head(&format!("{from}{rest}"))?,
                false => None,
            };
            let own = copy.metadata(ID).unwrap_or_default();
            is_own = source.map_or(own.starts_with(&id), |it| own == copy_id(&id, &it));
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
        let mut is_changed = false;
        let moved = self.move_objects((from, to), failed, &mut is_changed);
        moved.map_err(|error| if is_changed { S3Error::after_change(error) } else { error })
    }

    fn move_objects(
        &self,
        (from, to): (&str, &str),
        failed: Option<String>,
        is_changed: &mut bool,
    ) -> StorageResult<()> {
        let (store, objects) = (&self.inner, self.tree(from)?);
        let own_key = keys::tree_move((from, to));
        let is_again = failed.is_some();
        let id = match failed {
            Some(id) => id,
            None => {
                let mut id = Inner::unique()?;
                id.truncate(16);
                let bytes = id.as_bytes();
                store.put(&own_key, bytes, &Condition::None)?;
                id
            }
        };
        // The object of a directory is listed before its files, so the new directory exists first.
        let (mut directories, mut markers) = (BTreeSet::new(), Vec::new());
        for Listed { key, size, tag, .. } in &objects {
            let Some(rest) = key.strip_prefix(from) else { continue };
            let new = format!("{to}{rest}");
            let slashes = key.match_indices('/').map(|(at, _)| at + 1);
            directories
                .extend(slashes.filter_map(|end| Some(key.get(from.len()..end)?.to_owned())));
            if key.ends_with('/') && *size == 0 {
                // Some stores cannot copy the object of a directory.
                refused(store.put(&new, &[], &Condition::New))?;
                *is_changed = true;
                markers.push((key, tag));
                continue;
            }
            // Another session may have removed the object.
            let Some(object) = store.client.head(key)? else { continue };
            let id = copy_id(&id, &object);
            let file = Move { store, from: key, to: &new, object, id };
            store.publish(&new, ALWAYS, |turn| {
                let made = if is_again { store.client.head(&new)? } else { None };
                match made.is_some_and(|made| file.has_made(&made)) {
                    true => Ok(()),
                    false => file.copy(turn, None, false),
                }
            })?;
            *is_changed = true;
            file.remove()?;
        }
        // SeaweedFS keeps a directory whose object is removed before its files.
        for (key, tag) in markers.into_iter().rev() {
            refused(match tag {
                Some(tag) => store.delete_if(key, tag),
                None => store.client.delete(key, &Condition::None),
            })?;
        }
        // These uploads go on to the old name, of a directory that is gone.
        store.memory.running.supersede_below(from.trim_end_matches('/').as_bytes(), store.latest());
        for rest in directories {
            let (old, new) = (format!("{from}{rest}"), format!("{to}{rest}"));
            let notes = (&*self.keys.notes(&old), &*self.keys.notes(&new));
            partial::move_notes(store, notes, (from, to))?;
        }
        Ok(store.client.delete(&own_key, &Condition::None)?)
    }
}

/// Returns the metadata `id` of the copy of this version of an object by the move of a directory.
fn copy_id(id: &str, object: &StoredObject) -> String {
    let digest = sha256(object.tag.as_bytes());
    format!("{id}{}", hex(digest.get(..8).unwrap_or_default()))
}

/// Returns whether a change was made, or refused because of its condition.
fn refused<T>(changed: Result<T, S3Error>) -> Result<bool, S3Error> {
    match changed {
        Err(error) if error.is_precondition() => Ok(true),
        changed => changed.map(|_| false),
    }
}

/// The move of an object, or a change of its metadata.
pub(super) struct Move<'a> {
    pub(super) store: &'a Inner,
    pub(super) from: &'a str,
    pub(super) to: &'a str,
    /// The original, which must not have changed.
    pub(super) object: StoredObject,
    /// The metadata that identifies the copy.
    pub(super) id: String,
}

impl Move<'_> {
    /// Copies the object. Replaces the object `target` that was seen under the new name, or a later one
    /// if `replace` is set.
    fn copy(
        &self,
        turn: &mut Turn<'_>,
        target: Option<&StoredObject>,
        replace: bool,
    ) -> StorageResult<()> {
        const TRIES: u32 = 3;
        let client = &self.store.client;
        let mut condition = Condition::of(target);
        for _ in 0..TRIES {
            if self.send(turn, &condition)? {
                let copy = client.head(self.to).map_err(S3Error::after_change)?;
                if copy.is_some_and(|copy| self.has_made(&copy)) {
                    return Ok(());
                }
                let why = io::Error::other("the copy is not under the new name");
                return Err(S3Error::after_change(StorageError::caused_by(Kind::Busy, why)));
            }
            // Either the target or the original has changed.
            let target = client.head(self.to)?;
            match client.head(self.from)? {
                _ if target.is_some() && !replace => return Err(Kind::Exists.into()),
                None => return Err(Kind::NotFound.into()),
                Some(now) if now.tag != self.object.tag => break,
                Some(_) => condition = Condition::of(target.as_ref()),
            }
        }
        let why = "the file or the one under the new name changed meanwhile";
        Err(StorageError::caused_by(Kind::Busy, io::Error::other(why)))
    }

    /// Returns whether an object is the copy.
    fn has_made(&self, copy: &StoredObject) -> bool {
        copy.size == self.object.size && copy.metadata(ID) == Some(&self.id)
    }

    /// Removes the original if it has not changed since it was copied.
    fn remove(&self) -> StorageResult<()> {
        self.store.delete_if(self.from, &self.object.tag).map_err(S3Error::after_change)
    }

    /// Lets the store copy the object. Returns whether the condition was met.
    ///
    /// # Errors
    ///
    /// Returns `Unsupported` if the store checks no condition, and the copy is to replace the object
    /// itself, which could be a newer one by then.
    pub(super) fn send(&self, turn: &mut Turn<'_>, condition: &Condition) -> StorageResult<bool> {
        let (store, client) = (self.store, &self.store.client);
        let mut metadata = self.object.kept.clone();
        metadata.retain(|(name, _)| name != ID);
        metadata.push((ID.to_owned(), self.id.clone()));
        let is_large = self.object.size > COPIED;
        let is_checked = |operation| {
            let found = store.test(operation)?;
            let is_checked = |(header, _): (&str, _)| found.of(header) == Treatment::Checked;
            Ok::<_, S3Error>(condition.header().is_some_and(is_checked))
        };
        let as_copy = !is_large && is_checked("CopyObject")?;
        let in_parts =
            !as_copy && is_checked("CompleteMultipartUpload")? && is_checked("UploadPartCopy")?;
        if self.from == self.to && !as_copy && !in_parts {
            return Err(Kind::Unsupported.into());
        }
        let sent = match in_parts || is_large {
            true => self.copy_parts(turn, condition, &metadata),
            false => {
                let copy = |condition: &Condition| {
                    client.copy(self.from, &self.object.tag, self.to, condition, &metadata)
                };
                let change = || store.conditional(("CopyObject", self.to), condition, copy);
                turn.change(change).map(drop)
            }
        };
        match sent {
            Err(error) if error.is_precondition() || error.is_missing() => Ok(false),
            sent => Ok(sent.map(|()| true)?),
        }
    }

    /// Copies the object with a multipart upload: an object that is too large for one request, or a
    /// store that checks the condition of the completion alone.
    fn copy_parts(
        &self,
        turn: &mut Turn<'_>,
        condition: &Condition,
        metadata: &[(String, String)],
    ) -> Result<(), S3Error> {
        const STEP: u64 = 1024 * 1024 * 1024;
        let (client, object) = (&self.store.client, &self.object);
        let upload = client.create_upload(self.to, metadata)?;
        let step = STEP.max(object.size / u64::from(PARTS / 2));
        let mut copy = || {
            let mut parts = match object.size {
                0 => vec![client.upload_part(&upload, 1, &[])?],
                _ => Vec::new(),
            };
            let mut at = 0;
            while at < object.size {
                let range = at..(at + step).min(object.size);
                let number = u32::try_from(parts.len()).unwrap_or(PARTS) + 1;
                let (from, is_whole) = ((self.from, &*object.tag), object.size <= LEAST);
                at = range.end;
                let part = || client.copy_part(&upload, number, from, range, is_whole);
                parts.push(http::change(part)?);
            }
            let complete =
                |condition: &Condition| client.complete(&upload, &parts, condition, &self.id);
            let operation = "CompleteMultipartUpload";
            let change = || self.store.conditional((operation, self.to), condition, complete);
            turn.change(change).map(drop)
        };
        copy().inspect_err(|_| {
            // If the store keeps the parts, its lifecycle rule removes them.
            let _ = client.abort_upload(&upload);
        })
    }
}
