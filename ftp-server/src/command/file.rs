//! Single files (RFC 959 §4.1.3; RFC 3659 §3 and §4): SIZE, MDTM, DELE, RNFR, RNTO.

use ftp_proto::{Pathname, Reply, ReplyCode, RepresentationType, TimeVal};

use super::replacing;
use crate::auth::Rights;
use crate::data::AsciiOutgoing;
use crate::limits;
use crate::log::EventKind;
use crate::reply::{self, Purpose};
use crate::session::{Outcome, Session};
use crate::storage::{EntryKind, Metadata, Storage, StorageError, StorageErrorKind, VirtualPath};

/// `SIZE <file>`: 213 with the number of bytes that RETR would send in the current type.
///
/// In type ASCII, the server must read the file to count the bytes, so a large file gets 550. In
/// type image, if there is no file, `SIZE` reports the length of the user's kept partial upload. If
/// the user's unfinished upload was going to replace the file, the user gets 554 instead of the
/// length. The code is not 550, because to curl a 550 means a missing file.
///
/// Clients verify an upload with `SIZE` as the next command. If the storage has just reported the
/// size of the stored file, the server does not ask the storage again.
pub(super) fn size(session: &mut Session, path: &Pathname) -> Outcome {
    let path = session.resolve(path);
    let proved = session.proved_size.take().filter(|(_, when)| {
        session.stored.as_ref() == Some(&path) && when.elapsed() < limits::PROVED_SIZE
    });
    let proved = proved.map(|(size, _)| size);
    session.told_partials.retain(|(name, _)| *name != path);
    let Some(storage) = session.storage_at(&path, Rights::LIST) else {
        return reply::no_right().into();
    };
    let found = || regular(storage, &path).map(|metadata| metadata.size);
    let mut partial = None;
    let size = match session.parameters.representation {
        RepresentationType::Image => match proved.map_or_else(found, Ok) {
            Ok(size) => Ok(Some(size)),
            Err(error) => {
                let size = kept_size(session, storage, &path, error);
                partial = size.as_ref().ok().copied();
                size.map(Some)
            }
        },
        RepresentationType::Ascii => {
            let source = storage.read(&path);
            source.and_then(|source| AsciiOutgoing::count(source, limits::ASCII_SIZE))
        }
    };
    if let Some(size) = partial {
        session.told_partials.push((path, size));
    } else if size.is_ok()
        && session.may(&path, Rights::WRITE)
        && let Err(refusal) = replacing::check_told(session, storage, &path)
    {
        return refusal.into();
    }
    match size {
        Ok(Some(size)) => Reply::new(ReplyCode::FILE_STATUS, size.to_string()).into(),
        Ok(None) => {
            let text = "Too large to count in type ASCII, use TYPE I";
            Reply::new(ReplyCode::FILE_UNAVAILABLE, text).into()
        }
        Err(error) => reply::storage_failure(&error, Purpose::Existing).into(),
    }
}

/// Returns the length of this user's kept partial upload if there is one and no file; otherwise
/// returns `error`. The client can resume the upload at that length, with `REST` and `STOR` or with
/// `APPE`.
fn kept_size(
    session: &Session,
    storage: &dyn Storage,
    path: &VirtualPath,
    error: StorageError,
) -> Result<u64, StorageError> {
    match session.owner(path) {
        Some(owner)
            if error.kind == StorageErrorKind::NotFound
                && session.told_partials.len() < limits::PARTIALS_TOLD =>
        {
            storage.partial_size(path, owner).or(Err(error))
        }
        _ => Err(error),
    }
}

/// `MDTM <file>`: 213 with the modification time; 550 for a directory.
pub(super) fn mdtm(session: &Session, path: &Pathname) -> Outcome {
    let path = session.resolve(path);
    let Some(storage) = session.storage_at(&path, Rights::LIST) else {
        return reply::no_right().into();
    };
    match regular(storage, &path) {
        Ok(metadata) => match TimeVal::from_unix_seconds(metadata.modified) {
            Some(time) => Reply::new(ReplyCode::FILE_STATUS, time.to_string()).into(),
            None => reply::no_time().into(),
        },
        Err(error) => reply::storage_failure(&error, Purpose::Existing).into(),
    }
}

fn regular(storage: &dyn Storage, path: &VirtualPath) -> Result<Metadata, StorageError> {
    let metadata = storage.stat(path)?;
    match metadata.kind {
        EntryKind::File => Ok(metadata),
        EntryKind::Directory => Err(StorageErrorKind::IsDirectory.into()),
        EntryKind::Symlink | EntryKind::Special => Err(StorageErrorKind::NotFile.into()),
    }
}

/// `DELE <file>`: 250; 550 for a directory. Also deletes this user's kept partial upload of the
/// file. If there is no file, deletes only the partial upload.
pub(super) fn dele(session: &mut Session, path: &Pathname) -> Outcome {
    let path = session.resolve(path);
    session.told_partials.retain(|(name, _)| *name != path);
    let Some(storage) = session.storage_at(&path, Rights::DELETE) else {
        return reply::no_right().into();
    };
    let removed = match (storage.remove(&path), session.owner(&path)) {
        (Ok(()), Some(owner)) => {
            // If there is no partial upload, the call fails, and there is nothing to delete.
            let _ = storage.forget_partial(&path, owner);
            Ok(())
        }
        (Err(error), Some(owner)) if error.kind == StorageErrorKind::NotFound => {
            storage.forget_partial(&path, owner)
        }
        (removed, _) => removed,
    };
    match removed {
        Ok(()) => {
            replacing::forget(session, &path);
            session.tell(EventKind::Deleted { path: &path });
            Reply::new(ReplyCode::FILE_ACTION_OKAY, "File deleted").into()
        }
        Err(error) => reply::storage_failure(&error, Purpose::Existing).into(),
    }
}

/// `RNFR <from>`: 350 if the file or directory exists, and the storage can move it.
pub(super) fn rnfr(session: &mut Session, path: &Pathname) -> Outcome {
    let path = session.resolve(path);
    let Some(storage) = session.storage_at(&path, Rights::RENAME) else {
        return reply::no_right().into();
    };
    if session.is_fixed(&path) {
        return reply::no_right().into();
    }
    match storage.stat(&path) {
        Ok(_) => {
            session.rename_from = Some(path);
            Reply::new(ReplyCode::PENDING, "Ready for RNTO").into()
        }
        Err(error) => reply::storage_failure(&error, Purpose::Existing).into(),
    }
}

/// `RNTO <to>`: 250. To replace a file, the user needs the right to delete it, and the `overwrite`
/// setting must allow it.
pub(super) fn rnto(session: &mut Session, path: &Pathname) -> Outcome {
    let to = session.resolve(path);
    let Some(from) = session.rename_from.take() else {
        return Reply::new(ReplyCode::BAD_SEQUENCE, "Use RNFR first").into();
    };
    session.told_partials.retain(|(name, _)| ![&from, &to].contains(&name));
    let Some(storage) = session.storage().filter(|_| session.may_rename(&from, &to)) else {
        return reply::no_right().into();
    };
    let replace = session.may_overwrite() && session.may(&to, Rights::DELETE);
    let renamed = session.check_new_name(&to).and_then(|()| storage.rename(&from, &to, replace));
    match renamed {
        Ok(()) => {
            // A partial upload under either name would now belong to another file.
            for path in [&from, &to] {
                if let Some(owner) = session.owner(path) {
                    let _ = storage.forget_partial(path, owner);
                }
                replacing::forget(session, path);
            }
            session.tell(EventKind::Renamed { from: &from, to: &to });
            Reply::new(ReplyCode::FILE_ACTION_OKAY, "Renamed").into()
        }
        Err(error) => reply::storage_failure(&error, Purpose::NewName).into(),
    }
}
