//! The answers about a path whose last upload did not end with 226.
//!
//! Until then, the path still refers to the old file, or to none. A client whose connection broke
//! must not take the length of the old file for that of its own partial upload: it would send only
//! the rest, and the new file would begin with old content. Servers that write files in place do
//! not have this problem, and some clients always resume. So `SIZE` tells the length of what the
//! client has sent, and every way to resume leads to the client's own bytes, or to a refusal.
//!
//! The answer depends on the command, on the [record](crate::storage::Unfinished) of the user's
//! upload, and on what the session has been told about the path. [`TABLE`] has them all.

use std::time::Duration;

use ftp_proto::{Reply, ReplyCode};

use crate::auth::Rights;
use crate::limits;
use crate::reply::{self, Purpose};
use crate::session::{Heard, HeardSize, Session};
use crate::storage::{
    Ask, Metadata, Source, Storage, StorageError, StorageErrorKind, StorageResult, Unfinished,
    Version, VirtualPath, WriteMode,
};

/// Number of received bytes from which an upload can be resumed. `SIZE` tells one byte less than
/// was received, so that a client that has sent everything still has a byte to send. A 0 would tell
/// nothing.
const RESUMABLE: u64 = 2;

/// Time after which an `APPE` without a `SIZE` in its session extends the old file: a client that
/// resumes asks for the size, and comes earlier; a logger never asks, and comes again.
const APPENDABLE: Duration = Duration::from_secs(60 * 60);

/// A command whose answer depends on the record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum RecordRequest {
    /// `STOR` or `APPE` after `REST` with a number above 0.
    Restart,
    /// `APPE`.
    Append,
    Size,
}

/// What the session has been told about the path.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Told {
    #[default]
    Nothing,
    /// `SIZE` told the length of the bytes that are still kept.
    TheseBytes,
    /// `SIZE` told the length of bytes that are not kept any more.
    OtherBytes,
    /// `SIZE` or `MLST` told the length of the file, or the session has read the file.
    TheFile,
    /// `MLST` or `MDTM` got 550, because there is no file.
    NoFile,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum RecordState {
    NoRecord,
    Running,
    Kept,
    /// No bytes are kept.
    Lost,
    /// The storage has forgotten the uploads of an earlier process.
    Unknown,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Answer {
    /// As if there were no record.
    AsUsual,
    /// Upload: go on with the kept bytes. `SIZE`: their number, less one.
    OnKept,
    /// 450.
    Later,
    /// 554: the client must send the file from byte 0. If there is no file, `SIZE` gets 550.
    FromStart,
}

/// The answers, by request and by what the session was told. The columns are the states.
#[rustfmt::skip]
const TABLE: &[(RecordRequest, Told, [Answer; 5])] = {
    use Answer::{AsUsual, FromStart, Later, OnKept};
    use RecordRequest::{Append, Restart, Size};
    use Told::{NoFile, Nothing, OtherBytes, TheFile, TheseBytes};
    &[
        //                     no record  running  kept       lost       unknown
        (Restart, Nothing,    [AsUsual,   Later,   OnKept,    FromStart, FromStart]),
        (Restart, NoFile,     [AsUsual,   Later,   OnKept,    FromStart, FromStart]),
        (Restart, TheseBytes, [Later,     Later,   OnKept,    FromStart, FromStart]),
        (Restart, OtherBytes, [Later,     Later,   Later,     FromStart, FromStart]),
        (Restart, TheFile,    [AsUsual,   Later,   FromStart, FromStart, FromStart]),
        (Append,  Nothing,    [AsUsual,   Later,   Later,     Later,     Later]),
        (Append,  NoFile,     [AsUsual,   Later,   Later,     Later,     Later]),
        (Append,  TheseBytes, [Later,     Later,   OnKept,    Later,     Later]),
        (Append,  OtherBytes, [Later,     Later,   Later,     Later,     Later]),
        (Append,  TheFile,    [AsUsual,   Later,   Later,     Later,     Later]),
        (Size,    Nothing,    [AsUsual,   Later,   OnKept,    FromStart, AsUsual]),
        (Size,    NoFile,     [AsUsual,   AsUsual, AsUsual,   AsUsual,   AsUsual]),
        (Size,    TheseBytes, [AsUsual,   Later,   OnKept,    FromStart, AsUsual]),
        (Size,    OtherBytes, [AsUsual,   Later,   OnKept,    FromStart, AsUsual]),
        (Size,    TheFile,    [AsUsual,   Later,   OnKept,    FromStart, AsUsual]),
    ]
};

fn answer(request: RecordRequest, told: Told, state: RecordState) -> Answer {
    let row = TABLE.iter().find(|(of, heard, _)| (*of, *heard) == (request, told));
    let row = row.map_or([Answer::Later; 5], |(_, _, row)| *row);
    let [no_record, running, kept, lost, unknown] = row;
    match state {
        RecordState::NoRecord => no_record,
        RecordState::Running => running,
        RecordState::Kept => kept,
        RecordState::Lost => lost,
        RecordState::Unknown => unknown,
    }
}

fn state(record: Option<Unfinished>) -> RecordState {
    match record {
        None => RecordState::NoRecord,
        Some(Unfinished { is_running: true, .. }) => RecordState::Running,
        Some(Unfinished { is_unknown: true, .. }) => RecordState::Unknown,
        Some(Unfinished { kept: RESUMABLE.., .. }) => RecordState::Kept,
        Some(_) => RecordState::Lost,
    }
}

/// Changes what a session remembers of a path. At most [`limits::PATHS_HEARD`] paths are remembered;
/// to forget one is safe, because uploads to it are then answered as if the session had been told
/// nothing. But the length of kept bytes is never forgotten, because the client may still send their
/// rest. If there is nothing else to forget, returns `false`: the client must not be told anything.
fn note_told(session: &mut Session, path: &VirtualPath, change: impl FnOnce(&mut Heard)) -> bool {
    let all = &mut session.login.heard;
    if let Some(heard) = all.iter_mut().find(|heard| heard.path == *path) {
        change(heard);
        return true;
    }
    if all.len() >= limits::PATHS_HEARD {
        let is_other = |heard: &Heard| !matches!(heard.size, HeardSize::Kept { .. });
        session.login.has_forgotten = true;
        match all.iter().position(is_other) {
            Some(at) => drop(all.remove(at)),
            None => return false,
        }
    }
    let mut heard = Heard::of(path);
    change(&mut heard);
    all.push(heard);
    true
}

/// Forgets what the session was told about a path.
pub(super) fn forget_told(session: &mut Session, path: &VirtualPath) {
    for heard in session.login.heard.iter_mut().filter(|heard| heard.path == *path) {
        *heard = Heard { has_asked: heard.has_asked, ..Heard::of(path) };
    }
    session.login.heard.retain(|heard| heard.path != *path || heard.has_asked);
}

fn may_upload(session: &Session, path: &VirtualPath) -> bool {
    let rights = [Rights::CREATE, Rights::WRITE, Rights::APPEND];
    rights.into_iter().any(|right| session.may(path, right))
}

/// Returns the record of the user's upload to a path. Asks the storage only if there can be one,
/// because an object store would need a request.
fn record(
    session: &Session,
    storage: &dyn Storage,
    path: &VirtualPath,
) -> StorageResult<Option<Unfinished>> {
    match may_upload(session, path) {
        true => storage.unfinished(path, session.owner(path)),
        false => Ok(None),
    }
}

/// Returns the number of a record that no running upload has, for [`end`].
pub(super) fn number(session: &Session, storage: &dyn Storage, path: &VirtualPath) -> Option<u64> {
    let record = record(session, storage, path).ok()??;
    (!record.is_running && !record.is_unknown).then_some(record.number)
}

/// Ends the record with this number. A later one stays: it forbids to resume at another file's length.
pub(super) fn end(session: &Session, storage: &dyn Storage, path: &VirtualPath, number: u64) {
    let now = record(session, storage, path);
    let is_same = |record: Unfinished| !record.is_running && record.number == number;
    if now.is_ok_and(|now| now.is_none_or(is_same)) {
        let _ = storage.forget(path, session.owner(path));
    }
}

fn told(heard: Option<&Heard>, record: Option<Unfinished>) -> Told {
    match heard {
        Some(Heard { has_read: true, .. } | Heard { size: HeardSize::File { .. }, .. }) => {
            Told::TheFile
        }
        Some(Heard { size: HeardSize::NoFile, .. }) => Told::NoFile,
        Some(Heard { size: HeardSize::Kept { number, .. }, .. }) => {
            match record.is_some_and(|record| record.number == *number) {
                true => Told::TheseBytes,
                false => Told::OtherBytes,
            }
        }
        None | Some(Heard { size: HeardSize::Nothing, .. }) => Told::Nothing,
    }
}

/// Returns the length of the kept bytes that `SIZE` has told; 0 if it has told none.
const fn told_length(heard: Option<&Heard>) -> u64 {
    match heard {
        Some(Heard { size: HeardSize::Kept { told, .. }, .. }) => *told,
        _ => 0,
    }
}

/// Opens what `HASH` digests, and returns the number of bytes to read; `None` for all. If `SIZE` has
/// told this session the length of kept bytes, these are digested, so that the client can compare
/// them with what it has sent.
pub(super) fn digested(
    session: &Session,
    storage: &dyn Storage,
    path: &VirtualPath,
) -> StorageResult<(Box<dyn Source>, Option<u64>)> {
    let heard = session.login.heard.iter().find(|heard| heard.path == *path);
    let length = told_length(heard);
    if length > 0 {
        let record = record(session, storage, path)?;
        if (told(heard, record), state(record)) == (Told::TheseBytes, RecordState::Kept) {
            match storage.kept(path, session.owner(path)) {
                Err(error) if error.kind == StorageErrorKind::NotFound => {}
                kept => return Ok((kept?, Some(length))),
            }
        }
    }
    Ok((storage.read(path)?, None))
}

/// Returns the mode in which an upload begins, or the refusal. `mode` is the mode that the upload
/// has if nothing is unfinished.
pub(super) fn upload_mode(
    session: &Session,
    storage: &dyn Storage,
    path: &VirtualPath,
    mode: WriteMode,
) -> Result<WriteMode, Reply> {
    let request = match mode {
        WriteMode::From(_) => RecordRequest::Restart,
        WriteMode::Append => RecordRequest::Append,
        _ => {
            session.context.sights.remove(session.owner(path), path);
            return Ok(mode);
        }
    };
    let failed = |error: StorageError| session.refusal(path, &error, Purpose::MakeFile);
    let record = record(session, storage, path).map_err(failed)?;
    let heard = session.login.heard.iter().find(|heard| heard.path == *path);
    let told_length = told_length(heard);
    match (answer(request, told(heard, record), state(record)), mode) {
        (Answer::AsUsual, mode) => match heard.map(|heard| heard.size) {
            // It goes on in the file whose size this session was told.
            Some(HeardSize::File { size, version }) => {
                match is_still(storage, path, size, version).map_err(failed)? {
                    true => Ok(mode),
                    false => Err(Reply::new(ReplyCode::FILE_BUSY, ANOTHER)),
                }
            }
            _ => Ok(mode),
        },
        (Answer::OnKept, WriteMode::From(at)) => match record {
            Some(Unfinished { kept, .. }) if at <= kept => Ok(WriteMode::Resume(at)),
            _ => Err(from_start()),
        },
        (Answer::OnKept, _) => Ok(WriteMode::Resume(told_length)),
        (Answer::FromStart, _) => Err(from_start()),
        // Without a file, nothing of the client's bytes is left to be continued.
        (Answer::Later, WriteMode::From(_))
            if record.is_none() && storage.stat(path, Ask::Facts).is_err() =>
        {
            Err(from_start())
        }
        (Answer::Later, WriteMode::Append) if is_log(session, path, record) => Ok(mode),
        (Answer::Later, WriteMode::Append) => match state(record) {
            RecordState::Running => Err(failed(StorageErrorKind::Busy.into())),
            // An append to an empty or missing file joins it to no other bytes.
            RecordState::Unknown if !holds_bytes(storage, path).map_err(failed)? => Ok(mode),
            state => Err(Reply::new(ReplyCode::FILE_BUSY, why_not_appended(state))),
        },
        (Answer::Later, _) => Err(failed(StorageErrorKind::Busy.into())),
    }
}

/// Why an upload does not go on in a file.
const ANOTHER: &str = "The file has changed since its size was told; ask for SIZE again";

const fn why_not_appended(state: RecordState) -> &'static str {
    match state {
        RecordState::Unknown => {
            "This may not be what you have sent; send the whole file, or delete it"
        }
        _ => "An upload of this file was interrupted; send the whole file, or delete it",
    }
}

fn holds_bytes(storage: &dyn Storage, path: &VirtualPath) -> StorageResult<bool> {
    match storage.stat(path, Ask::Facts) {
        Ok(found) => Ok(found.size > 0),
        Err(error) if error.kind == StorageErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns whether an `APPE` beside this record extends the old file: the session has not asked for a
/// size to resume at, and an `APPE` has met this record before, an hour ago at least.
fn is_log(session: &Session, path: &VirtualPath, record: Option<Unfinished>) -> bool {
    let heard = session.login.heard.iter().find(|heard| heard.path == *path);
    let has_asked = session.login.has_forgotten || heard.is_some_and(|heard| heard.has_asked);
    let Some(record) = record.filter(|record| !record.is_running && !has_asked) else {
        return false;
    };
    let age = || session.context.sights.age(session.owner(path), path, record.number);
    told(heard, Some(record)) == Told::Nothing && (record.is_unknown || age() >= APPENDABLE)
}

/// Returns whether the storage shows this version of a file of this size at `path`.
fn is_still(
    storage: &dyn Storage,
    path: &VirtualPath,
    size: u64,
    version: Option<Version>,
) -> StorageResult<bool> {
    match storage.stat(path, Ask::Facts) {
        Ok(now) => Ok(now.size == size && version.is_none_or(|version| version == now.version())),
        Err(error) if error.kind == StorageErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns the number to tell as the size of a file, or the refusal. `file` is the size of the
/// file; `None` if there is none. It has no version if the session has stored it a moment ago, so
/// that an object store need not be asked. `is_image` is whether the session's type is image.
pub(super) fn size(
    session: &mut Session,
    storage: &dyn Storage,
    path: &VirtualPath,
    file: Option<(u64, Option<Version>)>,
    is_image: bool,
) -> Result<u64, Reply> {
    note_told(session, path, |heard| heard.has_asked = true);
    let record = match file {
        Some((_, None)) => None,
        _ => record(session, storage, path).map_err(reply::failure_of(Purpose::Existing))?,
    };
    let has_been_read = file.is_some() && session.context.reads.has(session.owner(path), path);
    let known = session.login.heard.iter().find(|heard| heard.path == *path);
    let mut told = told(known, record);
    if told == Told::NoFile && file.is_some() {
        told = Told::Nothing;
    }
    let mut told = answer(RecordRequest::Size, told, state(record));
    if has_been_read && told == Answer::OnKept {
        told = Answer::FromStart;
    }
    match (told, file, record) {
        // In type ASCII, the number of kept bytes would tell nothing.
        (Answer::OnKept, _, Some(Unfinished { kept, number, .. })) if is_image => {
            let told = kept.saturating_sub(1);
            // `has_read` is stale: the session read the file before this upload was interrupted.
            let tell = |heard: &mut Heard| {
                (heard.size, heard.has_read) = (HeardSize::Kept { told, number }, false);
            };
            match note_told(session, path, tell) {
                true => Ok(told),
                false => Err(from_start()),
            }
        }
        (Answer::AsUsual, Some((size, version)), _) => {
            note_told(session, path, |heard| heard.size = HeardSize::File { size, version });
            Ok(size)
        }
        (Answer::Later, ..) => {
            Err(reply::storage_failure(&StorageErrorKind::Busy.into(), Purpose::Existing))
        }
        (Answer::FromStart | Answer::OnKept, Some(_), _) => Err(from_start()),
        (_, None, _) => {
            // A 550 to `SIZE` proves less than one to `MLST` or `MDTM`, so only `NoFile` stays.
            for heard in session.login.heard.iter_mut().filter(|heard| heard.path == *path) {
                if heard.size != HeardSize::NoFile {
                    heard.size = HeardSize::Nothing;
                }
            }
            Err(reply::storage_failure(&StorageErrorKind::NotFound.into(), Purpose::Existing))
        }
    }
}

/// Records that the session reads a file. Refuses once if `SIZE` has told the session the length of
/// kept bytes: a client that compares its upload with the file would compare it with the old one.
pub(super) fn read(
    session: &mut Session,
    storage: &dyn Storage,
    path: &VirtualPath,
) -> Result<(), Reply> {
    if !may_upload(session, path) {
        return Ok(());
    }
    let known = session.login.heard.iter().find(|heard| heard.path == *path);
    let was_told =
        known.is_some_and(|known| matches!(known.size, HeardSize::Kept { .. }) && !known.is_warned);
    let failed = |error: StorageError| reply::storage_failure(&error, Purpose::Existing);
    if was_told && has_bytes(record(session, storage, path).map_err(failed)?) {
        note_told(session, path, |heard| heard.is_warned = true);
        // Many clients use a new session for each command: there, `SIZE` gets 554, and `RETR` the file.
        session.context.reads.add(session.owner(path), path);
        return Err(failed(StorageErrorKind::Busy.into()));
    }
    note_told(session, path, |heard| heard.has_read = true);
    session.context.reads.add(session.owner(path), path);
    Ok(())
}

/// Records that `MLST` has told the size of the file: some clients resume at that size.
pub(super) fn tell_file(session: &mut Session, path: &VirtualPath, found: Metadata) {
    if may_upload(session, path) {
        let told = HeardSize::File { size: found.size, version: Some(found.version()) };
        note_told(session, path, |heard| (heard.size, heard.has_asked) = (told, true));
    }
}

/// Returns the version of the file at `path`, if it is still the one that the session was told.
pub(super) fn told_version(
    session: &Session,
    storage: &dyn Storage,
    path: &VirtualPath,
) -> Option<Version> {
    let heard = session.login.heard.iter().find(|heard| heard.path == *path)?;
    let HeardSize::File { version: Some(told), .. } = heard.size else { return None };
    let now = storage.stat(path, Ask::Facts).ok()?;
    (now.version() == told).then_some(told)
}

/// Records that the session itself has set the time of the file whose version it was told. `now` is the
/// object that was changed. If that is another file, which has taken the name meanwhile, the session
/// was told nothing of it.
pub(super) fn tell_new_time(
    session: &mut Session,
    path: &VirtualPath,
    (inode, size, _): Version,
    now: &Metadata,
) {
    if (now.identity.1, now.size) != (inode, size) {
        return;
    }
    for heard in session.login.heard.iter_mut().filter(|heard| heard.path == *path) {
        if let HeardSize::File { version: Some(version), .. } = &mut heard.size {
            *version = now.version();
        }
    }
}

/// Records that a listing has told sizes: some clients resume by them, and do not ask.
pub(super) const fn tell_names(session: &mut Session) {
    session.login.has_forgotten = true;
}

/// Records that `MLST` has told that there is no file.
pub(super) fn tell_no_file(session: &mut Session, path: &VirtualPath, error: &StorageError) {
    if error.kind == StorageErrorKind::NotFound && may_upload(session, path) {
        note_told(session, path, |heard| heard.size = HeardSize::NoFile);
    }
}

/// Records that `MDTM` has told that there is no file. Some clients ask for the time after the size:
/// if `SIZE` has told them the number of kept bytes, they may still send the rest.
pub(super) fn tell_no_time(session: &mut Session, path: &VirtualPath, error: &StorageError) {
    let known = session.login.heard.iter().find(|heard| heard.path == *path);
    if !known.is_some_and(|heard| matches!(heard.size, HeardSize::Kept { .. })) {
        tell_no_file(session, path, error);
    }
}

/// Returns whether `record` makes a path exist for its user, although there is no file.
pub(super) fn has_bytes(record: Option<Unfinished>) -> bool {
    state(record) == RecordState::Kept
}

fn from_start() -> Reply {
    let text = "The upload cannot be resumed; send the file from byte 0";
    Reply::new(ReplyCode::BAD_RESTART, text)
}

#[cfg(test)]
pub(crate) mod tests;
