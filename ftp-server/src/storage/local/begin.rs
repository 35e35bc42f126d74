//! Begins uploads, depending on existing files, kept partial uploads and the quota.

use super::append::Appending;
use super::files::Files;
use super::replacement::Replacement;
use super::target::Target;
use super::usage::Cost;
use super::{name, sweep};
use crate::storage::{StorageErrorKind, StorageResult, Upload, VirtualPath, WriteMode};

/// Begins an upload. An interrupted upload may be kept for `user` to resume; with `None`, no partial
/// upload is kept.
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
    if let Some(old) = target.existing {
        old.kind.check_file()?;
    }
    let given = files.config.for_files();
    if let WriteMode::Resume(from) = mode {
        target.check_replaceable(given)?;
        let refused = target.clone();
        let resumed = Replacement::resume(target, from, files.config, user);
        return Ok(Box::new(resumed.map_err(|error| refused.explained(given, error))?));
    }
    let size = target.existing.map_or(0, |old| old.size);
    if matches!(mode, WriteMode::From(from) if from > size) {
        return Err(StorageErrorKind::BadRestart.into());
    }
    let is_in_place = !files.config.whole && is_in_place(&target, mode);
    let mode = match mode {
        WriteMode::Append if !is_in_place && target.existing.is_some() => WriteMode::From(size),
        mode => mode,
    };
    if !is_in_place {
        target.check_replaceable(given)?;
    }
    let old = target.existing.filter(|_| !is_in_place);
    let owner = name::owner_of(user);
    let cost = if target.existing.is_some() { Cost::default() } else { Cost::NAME };
    let charge = sweep::give_way(&files.root, owner, || files.charge(cost, old.as_ref()))?;
    if is_in_place {
        let expected = if let WriteMode::From(from) = mode { Some(from) } else { None };
        return Ok(Box::new(Appending::begin(target, expected, files.config, charge)?));
    }
    let begun = Replacement::begin(&target, mode, files.config, user, charge);
    Ok(Box::new(begun.map_err(|error| target.explained(given, error))?))
}

/// Returns whether the upload adds to the end of the existing file.
fn is_in_place(target: &Target, mode: WriteMode) -> bool {
    let size = target.existing.map(|old| old.size);
    match mode {
        WriteMode::Append => size.is_some(),
        WriteMode::From(from) => from > 0 && Some(from) == size,
        WriteMode::Create | WriteMode::Replace | WriteMode::Resume(_) => false,
    }
}
