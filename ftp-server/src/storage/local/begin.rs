//! Begins uploads, depending on existing files, kept partial uploads and the quota.

use super::append::Appending;
use super::files::Files;
use super::replacement::Replacement;
use super::target::Target;
use super::usage::Cost;
use super::waiting::{self, Waiting};
use super::{name, quota, record};
use crate::storage::{StorageErrorKind, StorageResult, Upload, VirtualPath, WriteMode};

/// Begins an upload once the remaining quota is known. An interrupted upload may be kept for `user`
/// to resume; with `None`, no partial upload is kept.
pub(super) fn begin(
    files: &Files,
    path: &VirtualPath,
    mode: WriteMode,
    user: Option<&[u8]>,
) -> StorageResult<Box<dyn Upload>> {
    if path.is_root() {
        return Err(StorageErrorKind::IsDirectory.into());
    }
    name::check_new(path)?;
    let target = Target::find(&files.root, path, mode)?;
    let old = if is_in_place(files, &target, mode) { None } else { target.existing };
    let wanted = quota::wanted(name_of(&target), old.as_ref());
    match files.knows_usage(wanted, waiting::STEP)? {
        true => begin_at(files, target, mode, user),
        false => Ok(Box::new(begin_later(files, path, mode, user, wanted))),
    }
}

/// Returns the cost of the target's name, which is zero if the name already exists.
fn name_of(target: &Target) -> Cost {
    if target.existing.is_some() { Cost::default() } else { Cost::NAME }
}

/// Returns whether the upload adds to the end of the existing file.
fn is_in_place(files: &Files, target: &Target, mode: WriteMode) -> bool {
    let size = target.existing.map(|old| files.root.usage().settled(old).size);
    match mode {
        WriteMode::Append => size.is_some(),
        WriteMode::From(from) => from > 0 && Some(from) == size,
        WriteMode::Create | WriteMode::Replace | WriteMode::Resume(_) => false,
    }
}

/// Returns an upload that begins once it is known whether the quota permits `wanted`. When the
/// upload begins, it looks up the path again.
fn begin_later(
    files: &Files,
    path: &VirtualPath,
    mode: WriteMode,
    user: Option<&[u8]>,
    wanted: Cost,
) -> Waiting {
    let files = files.clone();
    let path = path.clone();
    let user = user.map(<[u8]>::to_vec);
    Waiting::new(move || {
        if !files.knows_usage(wanted, waiting::STEP)? {
            return Ok(None);
        }
        let target = Target::find(&files.root, &path, mode)?;
        begin_at(&files, target, mode, user.as_deref()).map(Some)
    })
}

fn begin_at(
    files: &Files,
    target: Target,
    mode: WriteMode,
    user: Option<&[u8]>,
) -> StorageResult<Box<dyn Upload>> {
    if let Some(old) = target.existing {
        old.kind.check_file()?;
    }
    let given = files.config.for_files();
    if let WriteMode::Resume(from) = mode {
        target.check_replaceable(given)?;
        return Ok(Box::new(Replacement::resume(target, from, files.config, user)?));
    }
    let size = target.existing.map_or(0, |old| files.root.usage().settled(old).size);
    if matches!(mode, WriteMode::From(from) if from > size) {
        return Err(StorageErrorKind::BadRestart.into());
    }
    let is_in_place = is_in_place(files, &target, mode);
    if !is_in_place {
        target.check_replaceable(given)?;
    }
    let old = target.existing.filter(|_| !is_in_place);
    let begin = || quota::begin(&files.root, files.config.limit(), name_of(&target), old.as_ref());
    let begins_again = matches!(mode, WriteMode::Create | WriteMode::Replace);
    let charge = match begin() {
        // The bytes of an earlier upload make room. Its record stays until this upload has begun.
        Err(error) if begins_again && error.kind == StorageErrorKind::OverQuota => {
            record::drop_bytes(&target, user);
            begin()
        }
        begun => begun,
    }?;
    if is_in_place {
        let expected = if let WriteMode::From(from) = mode { Some(from) } else { None };
        return Ok(Box::new(Appending::begin(target, expected, files.config, charge)?));
    }
    Ok(Box::new(Replacement::begin(&target, mode, files.config, user, charge)?))
}
