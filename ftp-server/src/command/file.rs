//! Single files (RFC 959 §4.1.3; RFC 3659 §3 and §4): SIZE, MDTM, DELE, RNFR, RNTO.

use std::sync::Arc;

use ftp_proto::{Pathname, Reply, ReplyCode, RepresentationType, TimeVal};

use super::unfinished;
use crate::auth::Rights;
use crate::data::AsciiOutgoing;
use crate::limits;
use crate::log::EventKind;
use crate::reply::{self, Purpose};
use crate::session::Session;
use crate::storage::{
    Ask, Metadata, Storage, StorageErrorKind, StorageResult, VirtualPath, is_made,
};

/// `SIZE <file>`: 213 with the number of bytes that RETR would send in the current type.
///
/// In type ASCII, the server must read the file to count the bytes, so a large file gets 550. If an
/// upload of the user is unfinished, [`unfinished::size`] has the answer. Its refusal is not a 550,
/// because to curl a 550 means a missing file.
///
/// Clients verify an upload with `SIZE` as the next command. If the storage has just reported the
/// size of the stored file, the server does not ask the storage again.
pub(super) fn size(session: &mut Session, path: &Pathname) -> Result<Reply, Reply> {
    let path = session.resolve(path);
    let proved = session.login.proved_size.take().filter(|(_, when)| {
        session.login.stored.as_ref() == Some(&path) && when.elapsed() < limits::PROVED_SIZE
    });
    let storage = Arc::clone(session.shared_storage_at(&path, Rights::LIST)?);
    let file = match proved {
        Some((size, _)) => Some(size),
        None => match regular(&*storage, &path) {
            Err(error) if error.kind == StorageErrorKind::NotFound => None,
            found => Some(found.map_err(reply::failure_of(Purpose::Existing))?.size),
        },
    };
    let is_image = session.transfer.representation == RepresentationType::Image;
    let mut size = unfinished::size(session, &*storage, &path, file, is_image)?;
    if !is_image {
        let count = |source| AsciiOutgoing::count(source, limits::ASCII_SIZE);
        let counted = storage.read(&path).and_then(|source| match &session.peer.away {
            Some(away) => away.ask(move || count(source)),
            None => count(source),
        });
        size = counted.map_err(reply::failure_of(Purpose::Existing))?.ok_or_else(|| {
            let text = "Too large to count in type ASCII, use TYPE I";
            Reply::new(ReplyCode::FILE_UNAVAILABLE, text)
        })?;
    }
    Ok(Reply::new(ReplyCode::FILE_STATUS, size.to_string()))
}

/// `MDTM <file>`: 213 with the modification time; 550 for a directory.
pub(super) fn mdtm(session: &mut Session, path: &Pathname) -> Result<Reply, Reply> {
    let path = session.resolve(path);
    let storage = session.storage_at(&path, Rights::LIST)?;
    let metadata = regular(storage, &path).map_err(|error| {
        unfinished::tell_no_time(session, &path, &error);
        reply::storage_failure(&error, Purpose::Existing)
    })?;
    let time = TimeVal::from_unix_seconds(metadata.modified).ok_or_else(reply::no_time)?;
    Ok(Reply::new(ReplyCode::FILE_STATUS, time.to_string()))
}

fn regular(storage: &dyn Storage, path: &VirtualPath) -> StorageResult<Metadata> {
    let metadata = storage.stat(path, Ask::Facts)?;
    metadata.kind.check_file().map(|()| metadata)
}

/// `DELE <file>`: 250; 550 for a directory. Also deletes the kept bytes of this user's unfinished
/// upload. If there is no file, deletes only these bytes.
pub(super) fn dele(session: &mut Session, path: &Pathname) -> Result<Reply, Reply> {
    let path = session.resolve(path);
    unfinished::unhear(session, &path);
    let storage = session.storage_at(&path, Rights::DELETE)?;
    let removed = storage.remove(&path);
    let is_removed = is_made(&removed);
    let is_missing = removed.as_ref().is_err_and(|error| error.kind == StorageErrorKind::NotFound);
    let removed = match is_removed || is_missing {
        false => removed,
        true => match storage.forget(&path, session.owner(&path)) {
            Ok(record) if is_missing && unfinished::has_bytes(record) => Ok(()),
            Ok(_) => removed,
            Err(error) => removed.and(Err(error)),
        },
    };
    if is_removed || removed.is_ok() {
        session.tell(EventKind::Deleted { path: &path });
    }
    removed.map_err(reply::failure_of(Purpose::Existing))?;
    Ok(Reply::new(ReplyCode::FILE_ACTION_OKAY, "File deleted"))
}

/// `RNFR <from>`: 350 if the file or directory exists, and the storage can move it.
pub(super) fn rnfr(session: &mut Session, path: &Pathname) -> Result<Reply, Reply> {
    let path = session.resolve(path);
    let storage = session.storage_at(&path, Rights::RENAME)?;
    let found = storage.stat(&path, Ask::Facts).map_err(reply::failure_of(Purpose::Existing))?;
    if found.is_fixed || path.is_root() {
        return Err(reply::no_right());
    }
    session.login.rename_from = Some(path);
    Ok(Reply::new(ReplyCode::PENDING, "Ready for RNTO"))
}

/// `RNTO <to>`: 250. To replace a file, the user needs the right to delete it, and the `overwrite`
/// setting must allow it.
pub(super) fn rnto(session: &mut Session, path: &Pathname) -> Result<Reply, Reply> {
    let to = session.resolve(path);
    let no_name = || Reply::new(ReplyCode::BAD_SEQUENCE, "Use RNFR first");
    let from = session.login.rename_from.take().ok_or_else(no_name)?;
    unfinished::unhear(session, &from);
    unfinished::unhear(session, &to);
    let storage = session.storage().filter(|_| session.may_rename(&from, &to));
    let storage = storage.ok_or_else(reply::no_right)?;
    let replace = session.may_overwrite() && session.may(&to, Rights::DELETE);
    let renamed = session.check_new_name(&to).and_then(|()| storage.rename(&from, &to, replace));
    if is_made(&renamed) {
        // Bytes kept for either name would now belong to another file. If the storage fails here, it
        // still notices that the file is another one.
        for path in [&from, &to] {
            let _ = storage.forget(path, session.owner(path));
        }
        session.tell(EventKind::Renamed { from: &from, to: &to });
    }
    renamed.map_err(reply::failure_of(Purpose::NewName))?;
    Ok(Reply::new(ReplyCode::FILE_ACTION_OKAY, "Renamed"))
}
