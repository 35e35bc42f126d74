//! STOU (RFC 959 §4.1.3; RFC 1123 §4.1.2.9).

use std::sync::Arc;

use ftp_proto::{AsciiDecoder, Pathname, Reply, RepresentationType};

use super::space;
use crate::auth::Rights;
use crate::net::random;
use crate::reply::{self, Purpose};
use crate::session::{PreparedTransfer, Session};
use crate::storage::{StorageError, StorageErrorKind, Upload, VirtualPath, WriteMode};

/// How names begin for clients that do not say.
const PREFIX: &[u8] = b"stou";

/// How many names are tried. One is enough, unless somebody can guess them.
const ATTEMPTS: u32 = 8;

/// `STOU [<prefix>]`: stores a file in the current directory under a name that nothing had, which
/// the 150 reply tells in the form that RFC 1123 §4.1.2.9 wants: `150 FILE: name`.
///
/// The name is random behind the prefix, so that sessions do not run after the same next number,
/// and is given only if it is still free when the file is whole.
pub(super) fn stou(
    session: &Session,
    prefix: Option<&Pathname>,
) -> Result<PreparedTransfer, Reply> {
    let prefix = prefix.map_or(PREFIX, Pathname::as_bytes);
    let shared = session.shared_storage(Rights::CREATE).ok_or_else(reply::no_right)?;
    let storage = &**shared;
    let is_denied = session.check_new_name(&session.directory.join(prefix)).is_err();
    if is_denied || prefix.starts_with(b".") || prefix.contains(&b'/') {
        let error = StorageErrorKind::NameNotAllowed.into();
        return Err(reply::storage_failure(&error, Purpose::MakeFile));
    }
    let room = space::check(session, storage, session.directory.clone())?;
    let begin = |path: &VirtualPath| {
        session.check_new_name(path)?;
        storage.write(path, WriteMode::Create)
    };
    let (path, upload) = with_new_name(&session.directory, prefix, begin)
        .map_err(|error| session.refusal(&error, Purpose::MakeFile))?;
    let is_ascii = session.parameters.representation == RepresentationType::Ascii;
    let announcement = [b"FILE: ", path.name().unwrap_or_default()].concat();
    let upload = space::within(session, Arc::clone(shared), room, upload);
    let transfer = PreparedTransfer::receive(path, upload, is_ascii.then(AsciiDecoder::new));
    Ok(transfer.announce(announcement))
}

/// Begins an upload under a name that is not taken.
fn with_new_name(
    directory: &VirtualPath,
    prefix: &[u8],
    begin: impl Fn(&VirtualPath) -> Result<Box<dyn Upload>, StorageError>,
) -> Result<(VirtualPath, Box<dyn Upload>), StorageError> {
    for _ in 0..ATTEMPTS {
        let random = random::number().map_err(std::io::Error::from)?;
        let path = directory.join(&[prefix, format!(".{random:016x}").as_bytes()].concat());
        match begin(&path) {
            Err(error) if error.kind == StorageErrorKind::Exists => {}
            begun => return begun.map(|upload| (path, upload)),
        }
    }
    // Others were faster each time; the next one may be.
    Err(StorageErrorKind::Busy.into())
}
