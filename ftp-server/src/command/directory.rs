//! Directories (RFC 959 §4.1.1 and §4.1.3): CWD, CDUP, PWD, MKD, RMD.

use ftp_proto::{Pathname, Reply, ReplyCode};

use super::space;
use crate::auth::Rights;
use crate::log::EventKind;
use crate::reply::{self, Purpose};
use crate::session::Session;
use crate::storage::{Ask, StorageErrorKind, VirtualPath, check_directory, is_made};

/// `CWD <directory>`: 250, or 550 if it is not an accessible directory.
pub(super) fn cwd(session: &mut Session, path: &Pathname) -> Result<Reply, Reply> {
    let path = session.resolve(path);
    enter(session, path)
}

/// `CDUP`: changes to the parent directory, with the replies of CWD. The root is its own parent.
pub(super) fn cdup(session: &mut Session) -> Result<Reply, Reply> {
    let parent = session.login.directory.parent().unwrap_or_default();
    enter(session, parent)
}

fn enter(session: &mut Session, path: VirtualPath) -> Result<Reply, Reply> {
    let storage = session.storage().filter(|_| session.may_enter(&path));
    check_directory(storage.ok_or_else(reply::no_right)?, &path)
        .map_err(|error| session.refusal(&path, &error, Purpose::Existing))?;
    session.login.directory = path;
    Ok(Reply::new(ReplyCode::FILE_ACTION_OKAY, "Directory changed"))
}

/// `PWD`: 257 with the current directory in quotes, even if it no longer exists.
pub(super) fn pwd(session: &Session) -> Reply {
    reply::pathname(&session.login.directory, " is the current directory")
}

/// `MKD <directory>`: 257 with the absolute path. An existing directory gets 550 (in a drop box:
/// 553), or 257 if [`mkdir_existing_ok`](crate::Login::mkdir_existing_ok) is set.
pub(super) fn mkd(session: &Session, path: &Pathname) -> Result<Reply, Reply> {
    let path = session.resolve(path);
    let storage = session.storage_at(&path, Rights::MKDIR)?;
    let existing_ok = session.user().is_some_and(|user| user.mkdir_existing_ok);
    let room = space::check(session, storage, path.parent().unwrap_or_default());
    if let Err(refusal) = room
        && storage.stat(&path, Ask::Facts).is_err()
    {
        return Err(refusal);
    }
    let made = session.check_new_name(&path).and_then(|()| storage.mkdir(&path));
    if is_made(&made) {
        session.tell(EventKind::DirectoryMade { path: &path });
    }
    match made {
        Ok(()) => Ok(reply::pathname(&path, " created")),
        Err(error)
            if existing_ok
                && error.kind == StorageErrorKind::Exists
                && check_directory(storage, &path).is_ok() =>
        {
            Ok(reply::pathname(&path, " exists"))
        }
        Err(error) => Err(session.refusal(&path, &error, Purpose::MakeDirectory)),
    }
}

/// `RMD <directory>`: 250, or 550 if it is not an empty directory. A directory that has or contains
/// a rule in [`Login::directories`](crate::Login::directories) cannot be removed, because a new
/// object with that name would get the rule's rights.
pub(super) fn rmd(session: &Session, path: &Pathname) -> Result<Reply, Reply> {
    let path = session.resolve(path);
    let storage = session.storage_at(&path, Rights::DELETE)?;
    if session.holds_rules(&path) {
        return Err(reply::no_right());
    }
    let removed = storage.rmdir(&path);
    if is_made(&removed) {
        session.tell(EventKind::DirectoryRemoved { path: &path });
    }
    removed.map_err(reply::failure_of(Purpose::Existing))?;
    Ok(Reply::new(ReplyCode::FILE_ACTION_OKAY, "Directory removed"))
}
