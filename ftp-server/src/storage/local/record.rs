//! The record of an unfinished upload: a hidden file in the directory of its target.
//!
//! The name of that file depends on the user, on the name of the target, and on the file that was
//! to be replaced. So if that file changes, nobody finds the record any more. While the upload
//! runs, its file has one name; a killed server leaves it, and none of its bytes count, because
//! they may not be on disk. An upload that is cut gets the other name after its bytes were synced.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::fd::AsFd;

use rustix::fs::{AtFlags, statat};
use rustix::io::{Errno, retry_on_intr};

use super::directory::{Directory, system};
use super::files::Files;
use super::hidden;
use super::name::{self, RecordNames};
use super::policy::{LocalConfig, PartialPolicy};
use super::target::Target;
use super::usage::Usage;
use crate::storage::unfinished::{Overtaken, RunningUploads};
use crate::storage::{
    Metadata, StorageErrorKind, StorageResult, StreamEnd, Unfinished, VirtualPath, WriteMode,
};

/// The running uploads of this process, under all roots.
static RUNNING: RunningUploads<NamedPlace> = RunningUploads::new();

/// Device and inode of a directory, and a name in it.
type NamedPlace = ((u64, u64), Vec<u8>);

fn place(directory: &Directory, name: &[u8]) -> Result<NamedPlace, Errno> {
    Ok((directory.identity()?, name.to_vec()))
}

/// What becomes of the bytes of an upload that is cut.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum WhenCut {
    Discard,
    Keep,
    /// They get the name of the target.
    Publish,
}

/// The record that a running upload leaves if it does not end with success.
#[derive(Debug)]
pub(super) struct LocalRecord {
    pub(super) names: RecordNames,
    pub(super) when_cut: WhenCut,
    /// The file that the upload is to replace.
    old: Option<Metadata>,
    pub(super) place: NamedPlace,
    pub(super) overtaken: Overtaken,
}

impl LocalRecord {
    /// Begins the record of an upload by `user`; `None` is a shared login, for which no bytes are
    /// kept. `is_first` is whether the upload neither ends nor resumes a record. Nothing of the
    /// upload may fail after this call, because the user's earlier uploads to this target leave no
    /// record any more.
    pub(super) fn begin(
        target: &Target,
        config: LocalConfig,
        user: Option<&[u8]>,
        is_first: bool,
    ) -> StorageResult<Self> {
        let Target { directory, name, existing: old, .. } = target;
        let when_cut = match config.partial {
            _ if keeps_bytes(config, user) => WhenCut::Keep,
            PartialPolicy::Publish if user.is_some() && old.is_none() => WhenCut::Publish,
            _ => WhenCut::Discard,
        };
        let names = name::of_record(user, name, old.as_ref());
        let place = place(directory, name).map_err(system)?;
        let overtaken = RUNNING.begin(user, place.clone(), is_first);
        Ok(Self { names, when_cut, old: *old, place, overtaken })
    }

    /// Ends the records of all users, because the upload was stored.
    pub(super) fn stored(self, directory: &Directory) {
        end_all_at(&self.place, directory);
    }

    /// Returns whether an upload that ended like this leaves its record. `now` is the file that has
    /// its name now.
    pub(super) fn is_valid(&self, end: StreamEnd, now: Option<&Metadata>) -> bool {
        !self.overtaken.leaves_nothing(end) && is_same(self.old.as_ref(), now)
    }
}

impl Drop for LocalRecord {
    fn drop(&mut self) {
        RUNNING.end(&self.overtaken);
    }
}

/// Returns whether the bytes of a user's uploads are kept.
pub(super) fn keeps_bytes(config: LocalConfig, user: Option<&[u8]>) -> bool {
    user.is_some() && config.partial == PartialPolicy::Resume
}

/// Returns whether both are the same file with the same content.
pub(super) fn is_same(one: Option<&Metadata>, other: Option<&Metadata>) -> bool {
    one.map(Metadata::version) == other.map(Metadata::version)
}

/// Returns the record of `user`'s upload to `path`.
pub(super) fn find(
    files: &Files,
    path: &VirtualPath,
    user: Option<&[u8]>,
) -> StorageResult<Option<Unfinished>> {
    match target(files, path)? {
        Some(target) => find_at(&target, files.config, user),
        None => Ok(None),
    }
}

/// As [`find`], for a known target.
pub(super) fn find_at(
    target: &Target,
    config: LocalConfig,
    user: Option<&[u8]>,
) -> StorageResult<Option<Unfinished>> {
    let running = Unfinished { is_running: true, ..Unfinished::default() };
    if RUNNING.has(user, &place(&target.directory, &target.name).map_err(system)?) {
        return Ok(Some(running));
    }
    let names = name::of_record(user, &target.name, target.existing.as_ref());
    let keeps = keeps_bytes(config, user);
    let heirs = [config.owner, target.existing.and_then(|old| old.user_id())];
    for (name, keeps, heirs) in [(&names.kept, keeps, &[][..]), (&names.running, false, &heirs)] {
        let Some(found) = hidden::kept(&target.directory, name, heirs) else { continue };
        match hidden::check_left(target.directory.as_fd(), name) {
            // Another process is writing to the file.
            Err(Errno::WOULDBLOCK) => return Ok(Some(running)),
            // The file is gone.
            Err(Errno::NOENT) => continue,
            // Without locks, it is a record all the same, but no bytes are kept.
            Ok(()) | Err(_) => {}
        }
        return Ok(Some(Unfinished {
            kept: if keeps { found.size } else { 0 },
            number: number(&target.directory, name, &found),
            when: found.modified,
            is_running: false,
        }));
    }
    Ok(None)
}

/// Returns a number that differs from that of any earlier record with this name: an inode may be
/// used again, but each upload changes its attributes, at least when it gets this name.
fn number(directory: &Directory, name: &[u8], found: &Metadata) -> u64 {
    let found_now = retry_on_intr(|| statat(directory, name, AtFlags::SYMLINK_NOFOLLOW));
    let changed = found_now.map(|now| (now.st_ctime, now.st_ctime_nsec)).ok();
    let mut hasher = DefaultHasher::new();
    (found.identity.1, found.size, changed).hash(&mut hasher);
    hasher.finish()
}

/// Discards the record of `user`'s upload to `path`, and returns it. The user's running uploads to
/// `path` leave none any more.
pub(super) fn forget(
    files: &Files,
    path: &VirtualPath,
    user: Option<&[u8]>,
) -> StorageResult<Option<Unfinished>> {
    let Some(target) = target(files, path)? else { return Ok(None) };
    let found = find_at(&target, files.config, user)?;
    RUNNING.forget(user, &place(&target.directory, &target.name).map_err(system)?);
    discard_kept(&target, user);
    for RecordNames { running, .. } in names(&target, user) {
        remove_left(&target.directory, &running);
    }
    Ok(found)
}

/// Returns the target of uploads to `path`; `None` if there can be no upload.
fn target(files: &Files, path: &VirtualPath) -> StorageResult<Option<Target>> {
    let found = name::check_existing(path)
        .and_then(|()| Target::find(&files.root, path, WriteMode::Replace));
    match found {
        Ok(target) => Ok(Some(target)),
        Err(error) if matches!(error.kind, StorageErrorKind::Io | StorageErrorKind::Busy) => {
            Err(error)
        }
        Err(_) => Ok(None),
    }
}

/// Discards the bytes that are kept for `user`, and their records: of an upload that was to replace
/// the file which is there now, and of one that was to be a new file. Returns whether there was any.
pub(super) fn discard_kept(target: &Target, user: Option<&[u8]>) -> bool {
    let discard = |names: RecordNames| remove_left(&target.directory, &names.kept);
    names(target, user).map(discard).fold(false, |any, was_there| any | was_there)
}

/// Removes a hidden file unless an upload is running. If this fails, the sweeper removes it. Returns
/// whether there is or was such a file.
pub(super) fn remove_left(directory: &Directory, hidden: &[u8]) -> bool {
    let removed = hidden::try_remove(directory.root().usage(), directory.as_fd(), hidden);
    removed != Err(Errno::NOENT)
}

/// Discards the bytes of the records of `user`, but not the records.
pub(super) fn drop_bytes(target: &Target, user: Option<&[u8]>) {
    for RecordNames { kept, .. } in names(target, user) {
        hidden::drop_bytes(&target.directory, &kept);
    }
}

fn names(target: &Target, user: Option<&[u8]>) -> impl Iterator<Item = RecordNames> {
    let olds = [Some(None), target.existing.as_ref().map(Some)];
    olds.into_iter().flatten().map(move |old| name::of_record(user, &target.name, old))
}

/// Ends the records of all users, because a file was stored under this name, or the file with this
/// name was renamed or removed.
pub(super) fn end_all(directory: &Directory, name: &[u8]) {
    if let Ok(place) = place(directory, name) {
        end_all_at(&place, directory);
    }
}

fn end_all_at(place: &NamedPlace, directory: &Directory) {
    RUNNING.changed(place);
    for part in Usage::kept_in_all_roots(place.0, &place.1) {
        remove_left(directory, &part.name);
    }
}
