//! STOU (RFC 959 §4.1.3; RFC 1123 §4.1.2.9).

use std::sync::Arc;

use ftp_proto::{AsciiDecoder, Pathname, RepresentationType};

use super::space;
use crate::auth::Rights;
use crate::net::random;
use crate::reply::{self, Purpose};
use crate::session::{Outcome, Session, Transfer};
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
pub(super) fn stou(session: &Session, prefix: Option<&Pathname>) -> Outcome {
    let prefix = prefix.map_or(PREFIX, Pathname::as_bytes);
    let Some(shared) = session.shared_storage(Rights::CREATE) else {
        return reply::no_right().into();
    };
    let storage = &**shared;
    let is_denied = session.check_new_name(&session.directory.join(prefix)).is_err();
    if is_denied || prefix.starts_with(b".") || prefix.contains(&b'/') {
        let error = StorageErrorKind::NameNotAllowed.into();
        return reply::storage_failure(&error, Purpose::MakeFile).into();
    }
    let room = match space::check(session, storage, session.directory.clone()) {
        Ok(room) => room,
        Err(refusal) => return refusal.into(),
    };
    let begin = |path: &VirtualPath| {
        session.check_new_name(path)?;
        storage.write(path, WriteMode::Create)
    };
    match with_new_name(&session.directory, prefix, begin) {
        Ok((path, upload)) => {
            let ascii = session.parameters.representation == RepresentationType::Ascii;
            let announcement = [b"FILE: ", path.name().unwrap_or_default()].concat();
            let upload = space::within(session, Arc::clone(shared), room, upload);
            let transfer = Transfer::receive(path, upload, ascii.then(AsciiDecoder::new));
            transfer.announce(announcement).into()
        }
        Err(error) => session.refusal(&error, Purpose::MakeFile).into(),
    }
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
