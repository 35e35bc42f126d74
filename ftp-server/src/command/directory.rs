//! Directories (RFC 959 §4.1.1 and §4.1.3): CWD, CDUP, PWD, MKD, RMD.

use ftp_proto::{Pathname, Reply, ReplyCode};

use super::space;
use crate::auth::Rights;
use crate::log::EventKind;
use crate::reply::{self, Purpose};
use crate::session::{Outcome, Session};
use crate::storage::{Ask, StorageErrorKind, VirtualPath, check_directory, is_made};

/// `CWD <directory>`: 250, or 550 if it is not an accessible directory.
pub(super) fn cwd(session: &mut Session, path: &Pathname) -> Outcome {
    let path = session.resolve(path);
    enter(session, path)
}

/// `CDUP`: changes to the parent directory, with the replies of CWD. The root is its own parent.
pub(super) fn cdup(session: &mut Session) -> Outcome {
    let parent = session.login.directory.parent().unwrap_or_default();
    enter(session, parent)
}

fn enter(session: &mut Session, path: VirtualPath) -> Outcome {
    let Some(storage) = session.storage().filter(|_| session.may_enter(&path)) else {
        return reply::no_right().into();
    };
    match check_directory(storage, &path) {
        Ok(()) => {
            session.login.directory = path;
            Reply::new(ReplyCode::FILE_ACTION_OKAY, "Directory changed").into()
        }
        Err(error) => session.refusal(&path, &error, Purpose::Existing).into(),
    }
}

/// `PWD`: 257 with the current directory in quotes, even if it no longer exists.
pub(super) fn pwd(session: &Session) -> Outcome {
    reply::pathname(&session.login.directory, " is the current directory").into()
}

/// `MKD <directory>`: 257 with the absolute path. An existing directory gets 550 (in a drop box:
/// 553), or 257 if [`mkdir_existing_ok`](crate::Login::mkdir_existing_ok) is set.
pub(super) fn mkd(session: &Session, path: &Pathname) -> Outcome {
    let path = session.resolve(path);
    let Some(storage) = session.storage_at(&path, Rights::MKDIR) else {
        return reply::no_right().into();
    };
    let existing_ok = session.user().is_some_and(|user| user.mkdir_existing_ok);
    let room = space::check(session, storage, path.parent().unwrap_or_default());
    if let Err(refusal) = room
        && storage.stat(&path, Ask::Facts).is_err()
    {
        return refusal.into();
    }
    let made = session.check_new_name(&path).and_then(|()| storage.mkdir(&path));
    if is_made(&made) {
        session.tell(EventKind::DirectoryMade { path: &path });
    }
    match made {
        Ok(()) => reply::pathname(&path, " created").into(),
        Err(error)
            if existing_ok
                && error.kind == StorageErrorKind::Exists
                && check_directory(storage, &path).is_ok() =>
        {
            reply::pathname(&path, " exists").into()
        }
        Err(error) => session.refusal(&path, &error, Purpose::MakeDirectory).into(),
    }
}

/// `RMD <directory>`: 250, or 550 if it is not an empty directory. A directory that has or contains
/// a rule in [`Login::directories`](crate::Login::directories) cannot be removed, because a new
/// object with that name would get the rule's rights.
pub(super) fn rmd(session: &Session, path: &Pathname) -> Outcome {
    let path = session.resolve(path);
    let storage = session.storage_at(&path, Rights::DELETE);
    let Some(storage) = storage.filter(|_| !session.holds_rules(&path)) else {
        return reply::no_right().into();
    };
    let removed = storage.rmdir(&path);
    if is_made(&removed) {
        session.tell(EventKind::DirectoryRemoved { path: &path });
    }
    match removed {
        Ok(()) => Reply::new(ReplyCode::FILE_ACTION_OKAY, "Directory removed").into(),
        Err(error) => reply::storage_failure(&error, Purpose::Existing).into(),
    }
}
