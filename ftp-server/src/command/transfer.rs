//! Transfers (RFC 959 §4.1.3; RFC 3659 §5): RETR, STOR, APPE, STOU, REST, ABOR.

use std::sync::Arc;

use ftp_proto::{Pathname, Reply, ReplyCode, RepresentationType, RestartMarker, TransferMode};

use super::space::{allows_size, guarded};
use super::{space, unfinished};
use crate::auth::Rights;
use crate::data::{AsciiOutgoing, BlockOutgoing, DeflateOutgoing, ImageOutgoing};
use crate::log::EventKind;
use crate::net::random;
use crate::reply::{self, Purpose};
use crate::session::{Payload, PreparedTransfer, Session, TransferState};
use crate::storage::{
    Ask, Keep, Storage, StorageError, StorageErrorKind, StorageResult, Upload, VirtualPath,
    WaitLimit, WriteMode, check_directory, is_made,
};
use crate::threads;

/// `REST <offset>`: 350. The offset counts bytes as they are transferred in the type of the next
/// transfer.
pub(super) fn rest(session: &mut Session, marker: RestartMarker) -> Reply {
    session.transfer.restart = marker.offset();
    Reply::new(ReplyCode::PENDING, format!("Restarting at {marker}"))
}

/// `RETR <file>`: sends the file from the restart offset on; 554 if that is after the end.
pub(super) fn retr(session: &mut Session, path: &Pathname) -> Result<PreparedTransfer, Reply> {
    let path = session.resolve(path);
    let storage = Arc::clone(session.shared_storage_at(&path, Rights::RETRIEVE)?);
    let opened =
        open(session, &*storage, path.clone()).map_err(reply::failure_of(Purpose::Existing))?;
    unfinished::read(session, &*storage, &path)?;
    Ok(opened)
}

fn open(
    session: &Session,
    storage: &dyn Storage,
    path: VirtualPath,
) -> StorageResult<PreparedTransfer> {
    let offset = session.transfer.restart;
    let source = wait_limit(session, storage).source(storage.read(&path)?);
    Ok(match session.transfer.representation {
        RepresentationType::Image => {
            let outgoing = ImageOutgoing::new(source, offset)?;
            let text = format!("Opening data connection ({} bytes)", outgoing.expected());
            PreparedTransfer::send(path, outgoing).announce(text)
        }
        RepresentationType::Ascii => {
            PreparedTransfer::send(path, AsciiOutgoing::new(source, offset)?)
        }
    })
}

/// Returns how long a storage may be not ready.
fn wait_limit(session: &Session, storage: &dyn Storage) -> WaitLimit {
    WaitLimit::with(storage, session.context.config.timeouts.stall)
}

/// `STOR <file>`: receives the file. A restart offset keeps the bytes before it. Without an offset,
/// the server creates missing parent directories if
/// [`mkdir_parents`](crate::Login::mkdir_parents) is set.
pub(super) fn stor(session: &mut Session, path: &Pathname) -> Result<PreparedTransfer, Reply> {
    let may_write = session.may(&session.resolve(path), Rights::WRITE);
    let may_replace = may_write && session.may_overwrite();
    let mode = if may_replace { WriteMode::Replace } else { WriteMode::Create };
    receive(session, path, Rights::CREATE, mode)
}

/// `APPE <file>`: appends to the file, and creates a missing one. With a restart offset, it acts as
/// `STOR` with that offset. If `SIZE` has told the client the length of an unfinished upload,
/// `APPE` resumes that upload instead, and needs the rights that `STOR` with that offset needs.
pub(super) fn appe(session: &mut Session, path: &Pathname) -> Result<PreparedTransfer, Reply> {
    receive(session, path, Rights::APPEND, WriteMode::Append)
}

/// Encodes outgoing data as the session's mode requires. Mode Z compresses the data; the client
/// gets 450 if too many transfers use compression. Mode B divides the data into blocks, with
/// restart markers if `is_file` is set.
pub(super) fn in_mode(
    session: &Session,
    mut transfer: PreparedTransfer,
    is_file: bool,
) -> Result<PreparedTransfer, Reply> {
    let TransferState { mode, restart, deflate_level, .. } = session.transfer;
    transfer.stays_open = mode == TransferMode::Block;
    transfer.payload = match transfer.payload {
        Payload::Send(outgoing) if transfer.stays_open => {
            let offset = is_file.then_some(restart);
            Payload::Send(Box::new(BlockOutgoing::new(outgoing, offset)))
        }
        Payload::Send(outgoing) if mode == TransferMode::Deflate => {
            let (deflating, peer) = (&session.context.deflating, session.peer.ip());
            let deflated = DeflateOutgoing::new(outgoing, deflate_level, deflating, peer);
            Payload::Send(Box::new(deflated.ok_or_else(reply::too_much_to_compress)?))
        }
        payload => payload,
    };
    Ok(transfer)
}

fn receive(
    session: &mut Session,
    path: &Pathname,
    right: Rights,
    mode: WriteMode,
) -> Result<PreparedTransfer, Reply> {
    let path = session.resolve(path);
    let is_ascii = session.transfer.representation == RepresentationType::Ascii;
    let (right, mode) = match session.transfer.restart {
        0 => (right, mode),
        offset => (Rights::WRITE, WriteMode::From(offset)),
    };
    let shared = Arc::clone(session.shared_storage_at(&path, right)?);
    let storage = &*shared;
    check_name(session, storage, &path, mode)?;
    let mode = unfinished::upload_mode(session, storage, &path, mode)?;
    if matches!(mode, WriteMode::Resume(_)) {
        // An `APPE` that resumes replaces the file, as `STOR` after `REST` does, or makes a new one.
        let missing =
            storage.stat(&path, Ask::Facts).is_err_and(|it| it.kind == StorageErrorKind::NotFound);
        session.storage_at(&path, if missing { Rights::CREATE } else { Rights::WRITE })?;
        check_name(session, storage, &path, mode)?;
    }
    if is_ascii && matches!(mode, WriteMode::From(_) | WriteMode::Resume(_)) {
        let text = "Restarting an upload needs TYPE I";
        return Err(Reply::new(ReplyCode::TYPE_MISMATCH, text));
    }
    let present = match mode {
        WriteMode::Create | WriteMode::Replace => 0,
        WriteMode::From(offset) | WriteMode::Resume(offset) => offset,
        WriteMode::Append => storage.stat(&path, Ask::Facts).map_or(0, |file| file.size),
    };
    if !allows_size(session, present) {
        return Err(reply::storage_failure(&StorageErrorKind::OverQuota.into(), Purpose::MakeFile));
    }
    let directory = path.parent().unwrap_or_default();
    let makes_parents = makes_parents(session, &directory, mode);
    let room = match makes_parents {
        true => nearest_directory(storage, &directory),
        false => directory.clone(),
    };
    threads::serve(session.peer.ip());
    let begin = || {
        session.check_new_name(&path)?;
        storage.write(&path, mode, Keep::new(session.owner(&path), !is_ascii))
    };
    // The partial upload to resume must not be removed to make room for itself.
    let resumed = matches!(mode, WriteMode::Resume(_)).then(begin);
    let room = space::check(session, storage, room)?;
    let begun = match resumed.unwrap_or_else(begin) {
        Err(error) if error.kind == StorageErrorKind::NotFound && makes_parents => {
            make_all(session, storage, directory).and_then(|()| begin())
        }
        begun => begun,
    };
    let upload = begun.map_err(|error| session.refusal(&path, &error, Purpose::MakeFile))?;
    let upload = wait_limit(session, storage).upload(upload);
    unfinished::forget_told(session, &path);
    let grows = (mode == WriteMode::Append).then(|| path.clone());
    let upload = guarded(session, shared, room, present, grows, upload);
    Ok(PreparedTransfer::receive(path, upload, session.encoding(present)))
}

/// Refuses a path if the user's rights or the settings forbid replacing the existing object there,
/// or creating a missing file.
fn check_name(
    session: &Session,
    storage: &dyn Storage,
    path: &VirtualPath,
    mode: WriteMode,
) -> Result<(), Reply> {
    // Replacing the end of a file counts as replacing the file. Users of a drop box must not learn
    // whether an existing name is a link that leads out of the root.
    let must_be_new = match mode {
        WriteMode::Create => session.rights_at(path).is_drop_box(),
        WriteMode::From(_) | WriteMode::Resume(_) => !session.may_overwrite(),
        WriteMode::Replace | WriteMode::Append => false,
    };
    if must_be_new && storage.stat(path, Ask::Facts).is_ok() {
        return Err(reply::storage_failure(&StorageErrorKind::Exists.into(), Purpose::MakeFile));
    }
    // The right to append does not include the right to create.
    let must_exist = mode == WriteMode::Append && !session.may(path, Rights::CREATE);
    let is_missing = |error: StorageError| error.kind == StorageErrorKind::NotFound;
    if must_exist && storage.stat(path, Ask::Facts).is_err_and(is_missing) {
        return Err(reply::no_right());
    }
    Ok(())
}

/// Returns the directory or its nearest existing parent. New directories in it use the free space
/// of its file system.
fn nearest_directory(storage: &dyn Storage, directory: &VirtualPath) -> VirtualPath {
    let mut nearest = directory.clone();
    while let Some(parent) = nearest.parent()
        && check_directory(storage, &nearest).is_err()
    {
        nearest = parent;
    }
    nearest
}

fn makes_parents(session: &Session, directory: &VirtualPath, mode: WriteMode) -> bool {
    // An upload can be resumed only in an existing directory.
    !matches!(mode, WriteMode::From(_) | WriteMode::Resume(_))
        && session.user().is_some_and(|user| user.mkdir_parents)
        && session.may(directory, Rights::MKDIR)
}

/// Creates a directory and its missing parents. Existing directories need no rights.
fn make_all(session: &Session, storage: &dyn Storage, directory: VirtualPath) -> StorageResult<()> {
    let check = |directory: &VirtualPath| match session.may(directory, Rights::MKDIR) {
        true => session.check_new_name(directory),
        false => Err(StorageErrorKind::Denied.into()),
    };
    let make = |directory: &VirtualPath| match check(directory) {
        Err(denied) if check_directory(storage, directory).is_err() => Err(denied),
        _ => {
            let made = storage.mkdir(directory);
            if is_made(&made) {
                session.tell(EventKind::DirectoryMade { path: directory });
            }
            match made {
                // The directory exists, perhaps because another session has just created it.
                Err(error) if error.kind == StorageErrorKind::Exists => Ok(()),
                // The directory is made, but no file is stored.
                Err(error) if error.kind == StorageErrorKind::Unsynced => {
                    Err(StorageError { kind: StorageErrorKind::Io, ..error })
                }
                made => made,
            }
        }
    };
    let mut at = directory;
    let mut missing = Vec::new();
    while let Err(error) = make(&at) {
        match at.parent() {
            Some(parent) if error.kind == StorageErrorKind::NotFound => {
                missing.push(std::mem::replace(&mut at, parent));
            }
            _ => return Err(error),
        }
    }
    missing.iter().rev().try_for_each(make)
}

/// `ABOR` without a transfer: 226 if a data connection is prepared or open, which the server then
/// closes; otherwise 225. During a transfer, the session's loop handles `ABOR`.
pub(super) fn abor(session: &mut Session) -> Reply {
    match session.transfer.channel.take() {
        Some(_) => Reply::new(ReplyCode::TRANSFER_COMPLETE, "Data connection closed"),
        None => Reply::new(ReplyCode::NOTHING_TO_ABORT, "Nothing to abort"),
    }
}

/// Prefix of the names of `STOU` if the client sends none.
const UNIQUE_PREFIX: &[u8] = b"stou";

/// Number of names that `STOU` tries. The names are random, so a second is needed only if another
/// program guesses the first.
const UNIQUE_ATTEMPTS: u32 = 8;

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
    let prefix = prefix.map_or(UNIQUE_PREFIX, Pathname::as_bytes);
    let shared = session.shared_storage_at(&session.login.directory, Rights::CREATE)?;
    let storage = &**shared;
    let is_denied = session.check_new_name(&session.login.directory.join(prefix)).is_err();
    if is_denied || prefix.starts_with(b".") || prefix.contains(&b'/') {
        let refused = StorageErrorKind::NameNotAllowed.into();
        return Err(reply::storage_failure(&refused, Purpose::MakeFile));
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
    let upload = wait_limit(session, storage).upload(upload);
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
    for _ in 0..UNIQUE_ATTEMPTS {
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
