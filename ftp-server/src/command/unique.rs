//! STOU (RFC 959 §4.1.3; RFC 1123 §4.1.2.9).

use std::sync::Arc;

use ftp_proto::{Pathname, Reply};

use super::guarded::guarded;
use super::space;
use crate::auth::Rights;
use crate::net::random;
use crate::reply::{self, Purpose};
use crate::session::{PreparedTransfer, Session};
use crate::storage::{Keep, StorageErrorKind, StorageResult, Upload, VirtualPath, WriteMode};

/// Prefix of the names if the client sends none.
const PREFIX: &[u8] = b"stou";

/// Number of names to try. The names are random, so a second is needed only if another program
/// guesses the first.
const ATTEMPTS: u32 = 8;

/// `STOU [<prefix>]`: stores a file in the current directory under a new name. The 150 or 125 reply
/// announces the name as RFC 1123 §4.1.2.9 requires, for example `150 FILE: name`.
///
/// The part after the prefix is random, so that sessions do not compete for the next number. If the
/// name is no longer free when the upload is complete, the upload fails. A prefix that begins with
/// a dot or contains a slash gets 553.
pub(super) fn stou(
    session: &Session,
    prefix: Option<&Pathname>,
) -> Result<PreparedTransfer, Reply> {
    let prefix = prefix.map_or(PREFIX, Pathname::as_bytes);
    let shared = session.shared_storage_at(&session.login.directory, Rights::CREATE)?;
    let storage = &**shared;
    let is_denied = session.check_new_name(&session.login.directory.join(prefix)).is_err();
    if is_denied || prefix.starts_with(b".") || prefix.contains(&b'/') {
        let error = StorageErrorKind::NameNotAllowed.into();
        return Err(reply::storage_failure(&error, Purpose::MakeFile));
    }
    let room = space::check(session, storage, session.login.directory.clone())?;
    let begin = |path: &VirtualPath| {
        session.check_new_name(path)?;
        let upload = storage.write(path, WriteMode::Create, Keep::Shared)?;
        // Nobody resumes an upload under a random name, so it needs no record.
        storage.forget(path, None)?;
        Ok(upload)
    };
    let (path, upload) = with_new_name(&session.login.directory, prefix, begin)
        .map_err(|error| session.refusal(&session.login.directory, &error, Purpose::MakeFile))?;
    let announcement = [b"FILE: ", path.name().unwrap_or_default()].concat();
    let upload = guarded(session, Arc::clone(shared), room, 0, None, upload);
    let transfer = PreparedTransfer::receive(path, upload, session.encoding(0));
    Ok(transfer.announce(announcement))
}

/// Begins an upload under a free name. Returns the path and the upload.
fn with_new_name(
    directory: &VirtualPath,
    prefix: &[u8],
    begin: impl Fn(&VirtualPath) -> StorageResult<Box<dyn Upload>>,
) -> StorageResult<(VirtualPath, Box<dyn Upload>)> {
    for _ in 0..ATTEMPTS {
        let random = random::number().map_err(std::io::Error::from)?;
        let path = directory.join(&[prefix, format!(".{random:016x}").as_bytes()].concat());
        match begin(&path) {
            Err(error) if error.kind == StorageErrorKind::Exists => {}
            begun => return begun.map(|upload| (path, upload)),
        }
    }
    // Each name was already taken; the client's next try may succeed.
    Err(StorageErrorKind::Busy.into())
}
