//! Room for what is to be stored: ALLO (RFC 959 §4.1.3), AVBL.

use ftp_proto::{Pathname, Reply, ReplyCode};

use crate::auth::Rights;
use crate::reply::{self, Purpose};
use crate::session::{Outcome, Session};
use crate::storage::{Storage, StorageError, StorageErrorKind, VirtualPath};

/// `ALLO <size> [R <size>]`: 200, or 452 if there is known to be less room than that. Nothing is
/// set aside and no length is promised.
pub(super) fn allo(session: &Session, size: u64) -> Outcome {
    // Nothing fits always, even where less is left than is kept free.
    if size > 0
        && let Some(storage) = session.storage(Rights::NONE)
    {
        // The current directory may be gone.
        let root = VirtualPath::root();
        let free = storage.space(&session.directory).or_else(|_| storage.space(&root));
        if let Err(refusal) = fits(session, size, &free) {
            return refusal.into();
        }
    }
    Reply::new(ReplyCode::OKAY, "Nothing has to be set aside").into()
}

/// `AVBL [<directory>]`: 213 with how many bytes can be stored there.
pub(super) fn avbl(session: &Session, path: Option<&Pathname>) -> Outcome {
    let path = session.resolve_or_here(path);
    let Some(storage) = session.storage(Rights::LIST) else { return reply::no_right().into() };
    match storage.space(&path) {
        Ok(free) => {
            let free = free.saturating_sub(session.context.config.min_free);
            Reply::new(ReplyCode::FILE_STATUS, free.to_string()).into()
        }
        Err(error) => reply::storage_failure(&error, Purpose::Existing).into(),
    }
}

/// Refuses, with 452, to begin a file in a directory in which less is known to be left than is
/// kept free.
pub(super) fn check(
    session: &Session,
    storage: &dyn Storage,
    directory: &VirtualPath,
) -> Result<(), Reply> {
    // Where nothing is kept, nothing has to be known.
    if session.context.config.min_free == 0 {
        return Ok(());
    }
    fits(session, 0, &storage.space(directory))
}

fn fits(session: &Session, size: u64, free: &Result<u64, StorageError>) -> Result<(), Reply> {
    match free {
        Ok(free) if *free < size.saturating_add(session.context.config.min_free) => {
            let error = StorageErrorKind::NoSpace.into();
            Err(reply::storage_failure(&error, Purpose::MakeFile))
        }
        // A storage that does not tell is asked by the upload itself.
        _ => Ok(()),
    }
}
