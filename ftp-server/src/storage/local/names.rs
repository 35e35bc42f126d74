//! Commands that change names: `MKD`, `RNFR` and `RNTO`, `DELE` and `RMD`. If the policy requires
//! it, the change is on disk before the client gets the reply.

use rustix::fs::{AtFlags, mkdirat, renameat, unlinkat};
use rustix::io::{Errno, retry_on_intr};

use super::failure::{creation, existing, rename_error, system, unsynced};
use super::files::Files;
use super::usage::{self, Cost, Leaving};
use super::{name, record, sweep};
use crate::storage::{EntryKind, StorageErrorKind, StorageResult, VirtualPath, check_rename};

pub(super) fn remove(files: &Files, path: &VirtualPath) -> StorageResult<()> {
    if path.is_root() {
        return Err(StorageErrorKind::IsDirectory.into());
    }
    name::check_existing(path)?;
    let (directory, name) = files.parent(path)?;
    let change = files.root.usage().change();
    let cost = change.cost_of(|| directory.metadata(name).ok());
    retry_on_intr(|| unlinkat(&directory, name, AtFlags::empty())).map_err(existing)?;
    change.freed(cost);
    drop(change);
    record::end_all(&directory, name);
    directory.sync(files.config.sync).map_err(unsynced)
}

pub(super) fn rmdir(files: &Files, path: &VirtualPath) -> StorageResult<()> {
    if path.is_root() {
        return Err(StorageErrorKind::Denied.into());
    }
    name::check_existing(path)?;
    let (directory, name) = files.parent(path)?;
    let remove = || {
        let change = files.root.usage().change();
        match retry_on_intr(|| unlinkat(&directory, name, AtFlags::REMOVEDIR)) {
            // Some file systems report a non-empty directory with EEXIST.
            Err(Errno::EXIST) => Err(Errno::NOTEMPTY),
            removed => removed.inspect(|()| change.freed(Cost::DIRECTORY)),
        }
    };
    match remove() {
        // To clients, a directory that contains only hidden files of uploads is empty.
        Err(Errno::NOTEMPTY) => sweep::empty(&directory, name).and_then(|()| remove()),
        removed => removed,
    }
    .map_err(existing)?;
    directory.sync(files.config.sync).map_err(unsynced)
}

pub(super) fn mkdir(files: &Files, path: &VirtualPath) -> StorageResult<()> {
    if path.is_root() {
        return Err(StorageErrorKind::Exists.into());
    }
    name::check_new(path)?;
    let (directory, name) = files.parent(path)?;
    if directory.metadata(name).is_ok() {
        return Err(StorageErrorKind::Exists.into());
    }
    let given = files.config.for_directories();
    given.check().map_err(|_| StorageErrorKind::Denied)?;
    let usage = files.root.usage();
    let mut charge = usage::begin(&files.root, files.config.limit(), Cost::DIRECTORY, None)?;
    let change = usage.change();
    let (bits, later) = given.modes_of_directory(files.config.mask(), &directory);
    retry_on_intr(|| mkdirat(&directory, name, bits)).map_err(|no| creation(&directory, no))?;
    charge.keep();
    given.furnish_directory(later, &directory, name).map_err(|errno| {
        // The client gets an error, so the directory must not stay. It stays if it is not empty.
        if retry_on_intr(|| unlinkat(&directory, name, AtFlags::REMOVEDIR)).is_ok() {
            change.freed(Cost::DIRECTORY);
        }
        system(errno)
    })?;
    drop(change);
    directory.sync(files.config.sync).map_err(unsynced)
}

pub(super) fn rename(
    files: &Files,
    from: &VirtualPath,
    to: &VirtualPath,
    replace: bool,
) -> StorageResult<()> {
    check_paths(from, to)?;
    let (from_directory, from_name) = files.parent(from)?;
    let (to_directory, to_name) = files.parent(to)?;
    let usage = files.root.usage();
    let change = usage.change();
    change.moves(|| from_directory.metadata(from_name).ok());
    // The error does not say which name it is about.
    let refuse = |errno| match from_directory.metadata(from_name) {
        Ok(old) => rename_error(errno, &old, &to_directory),
        Err(errno) => existing(errno),
    };
    match from_directory.rename_new(from_name, &to_directory, to_name) {
        Err(Errno::EXIST) => {
            let old = from_directory.metadata(from_name).map_err(existing)?;
            let taken = to_directory.metadata(to_name).map_err(existing)?;
            let is_same_object = old.identity == taken.identity;
            // The two names are equal, or differ only in case on a file system that ignores case.
            // If `is_one_name` is `false` for the same object, the names are hard links, and
            // rename(2) would keep both.
            let is_one_name = is_same_object
                && (old.kind == EntryKind::Directory || old.links == 1 || from == to);
            if !is_one_name && !replace {
                return Err(StorageErrorKind::Exists.into());
            }
            // rename(2) would let a directory replace an empty directory.
            if !is_same_object && taken.kind == EntryKind::Directory {
                return Err(StorageErrorKind::IsDirectory.into());
            }
            let replaced = match is_same_object {
                true => Leaving::default(),
                false => change.cost_of(|| to_directory.metadata(to_name).ok()),
            };
            retry_on_intr(|| renameat(&from_directory, from_name, &to_directory, to_name))
                .map_err(refuse)?;
            change.freed(replaced);
        }
        done => done.map_err(refuse)?,
    }
    usage.shelf().moved(|| (from_directory.path_to(from_name), to_directory.path_to(to_name)));
    drop(change);
    record::end_all(&from_directory, from_name);
    record::end_all(&to_directory, to_name);
    // Syncs the new name first, so that at least one of the two names is on disk at any moment.
    to_directory.sync(files.config.sync).map_err(unsynced)?;
    if !to_directory.is_same(&from_directory) {
        from_directory.sync(files.config.sync).map_err(unsynced)?;
    }
    Ok(())
}

/// Returns an error if the paths alone make the rename impossible.
fn check_paths(from: &VirtualPath, to: &VirtualPath) -> StorageResult<()> {
    check_rename(from, to)?;
    name::check_existing(from)?;
    name::check_new(to)
}
