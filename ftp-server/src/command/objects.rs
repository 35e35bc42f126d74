//! Files and directories (RFC 959 §4.1.1 and §4.1.3; RFC 3659 §3 and §4; draft-somers-ftp-mfxx-04):
//! SIZE, HASH and XCRC, MDTM, DELE, RNFR, RNTO; CWD, CDUP, PWD, MKD, RMD; MFMT and MFF.

use std::fmt::Write as _;
use std::sync::Arc;

use ftp_proto::{
    Escaped, Facts, Pathname, Permissions, Reply, ReplyCode, RepresentationType, TimeVal,
};

use super::digest::{Digesting, Hasher, RangeArgument};
use super::{space, unfinished};
use crate::auth::Rights;
use crate::data::AsciiOutgoing;
use crate::limits;
use crate::log::EventKind;
use crate::reply::{self, Purpose};
use crate::session::{Place, Session, Working};
use crate::storage::{
    Ask, Capabilities, Change, Metadata, Source, Storage, StorageError, StorageErrorKind,
    StorageResult, VirtualPath, check_directory, is_made,
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
        Some((size, _)) => Some((size, None)),
        None => match regular(&*storage, &path) {
            Err(error) if error.kind == StorageErrorKind::NotFound => None,
            found => {
                let found = found.map_err(reply::failure_of(Purpose::Existing))?;
                Some((found.size, Some(found.version())))
            }
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

/// `HASH <file>`: 213 with the digest of the whole file by the chosen algorithm, or of the bytes
/// whose length `SIZE` has told ([`unfinished::digested`]). 553 for a
/// directory, 556 for a file that is too large or takes too long. 450 if it
/// gets no turn in time among the digests in progress.
///
/// The user needs the right to read the file: with a digest, a client can check a guess at the
/// content.
pub(super) fn hash(session: &Session, path: &Pathname) -> Result<Working, Reply> {
    let resolved = session.resolve(path);
    let opened = digested(session, &resolved)?;
    let digesting = Digesting::of_hash(opened, session.transfer.algorithm, path.clone());
    Ok(Working::new(resolved, digesting, Place::Digest))
}

/// `XCRC "<file>" [<start> [<end>]]` and similar: 250 with the digest of the file, or of its bytes from
/// `start` to before `end`.
pub(super) fn xdigest(
    session: &Session,
    hasher: Hasher,
    argument: &[u8],
) -> Result<Working, Reply> {
    let wrong = |text: &str| Reply::new(ReplyCode::BAD_ARGUMENT, text);
    let RangeArgument { path, first, end } = RangeArgument::parse(argument)
        .ok_or_else(|| wrong("Expected a path, or a path in quotes and a range"))?;
    let resolved = session.resolve(&path);
    let (mut source, length) = digested(session, &resolved)?;
    let size = length.unwrap_or_else(|| source.size());
    if end.unwrap_or(first) > size {
        return Err(wrong("The range ends after the file"));
    }
    source.seek_to(first).map_err(reply::failure_of(Purpose::Digest))?;
    let length = end.or(length).map(|end| end - first);
    Ok(Working::new(resolved, Digesting::new((source, length), hasher, None), Place::Digest))
}

/// Opens what a digest reads at `path`, as [`unfinished::digested`] does, unless it is too large.
fn digested(
    session: &Session,
    path: &VirtualPath,
) -> Result<(Box<dyn Source>, Option<u64>), Reply> {
    let storage = session.storage_at(path, Rights::RETRIEVE)?;
    let opened = unfinished::digested(session, storage, path);
    let (source, length) = opened.map_err(reply::failure_of(Purpose::Digest))?;
    match source.size() > limits::DIGEST_SIZE {
        true => Err(reply::too_much_to_digest()),
        false => Ok((source, length)),
    }
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
    unfinished::forget_told(session, &path);
    let storage = session.storage_at(&path, Rights::DELETE)?;
    let removed = storage.remove(&path);
    let is_removed = is_made(&removed);
    let is_missing = removed.as_ref().is_err_and(|error| error.kind == StorageErrorKind::NotFound);
    let removed = match is_removed || is_missing {
        false => removed,
        true => match storage.forget(&path, session.owner(&path)) {
            Ok(record) if is_missing && unfinished::has_bytes(record) => Ok(()),
            Ok(_) => removed,
            Err(error) if is_missing => Err(error),
            Err(error) => {
                // The file is gone, and with it what its record was about.
                log::warn!(
                    "{}: cannot end the record of an upload: {error}",
                    Escaped(path.as_bytes())
                );
                removed
            }
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
    let storage = session.storage().filter(|_| session.may_rename(&from, &to));
    let storage = storage.ok_or_else(reply::no_right)?;
    if from == to {
        // The object stays, and with it what is known of unfinished uploads to its name.
        let found = storage.stat(&to, Ask::Facts);
        found.map_err(reply::failure_of(Purpose::Existing))?;
        return Ok(Reply::new(ReplyCode::FILE_ACTION_OKAY, "Renamed"));
    }
    let replace = session.may_overwrite() && session.may(&to, Rights::DELETE);
    // A storage finds the record of this user, which may be one of another server, only by its name. An
    // upload that another session begins after the rename leaves a later record, which stays.
    let number = |path| Some((path, unfinished::number(session, storage, path)?));
    let records: Vec<_> = [&from, &to].into_iter().filter_map(number).collect();
    let renamed = session.check_new_name(&to).and_then(|()| storage.rename(&from, &to, replace));
    if is_made(&renamed) {
        // If the old name stays, both lead to one object, and so does the old file of a cut upload.
        let is_gone = |error: StorageError| error.kind == StorageErrorKind::NotFound;
        if !records.is_empty() && storage.stat(&from, Ask::Facts).is_err_and(is_gone) {
            for (path, number) in records {
                unfinished::end(session, storage, path, number);
            }
        }
        session.tell(EventKind::Renamed { from: &from, to: &to });
    }
    unfinished::forget_told(session, &from);
    unfinished::forget_told(session, &to);
    renamed.map_err(reply::failure_of(Purpose::NewName))?;
    Ok(Reply::new(ReplyCode::FILE_ACTION_OKAY, "Renamed"))
}

/// `CWD <directory>`: 250, or 550 if it is not an accessible directory.
pub(super) fn cwd(session: &mut Session, path: &Pathname) -> Result<Reply, Reply> {
    let path = session.resolve(path);
    enter(session, path)
}

/// `CWD` without a name: 250, and the directory stays. Devices with an empty directory field send it,
/// and store nothing after a refusal.
pub(super) fn stay(session: &mut Session) -> Reply {
    if !std::mem::replace(&mut session.login.has_named_no_directory, true) {
        let (peer, user) = (session.peer.address, session.shown_user());
        log::info!("{peer} {user}: CWD without a name: the directory stays");
    }
    Reply::new(ReplyCode::FILE_ACTION_OKAY, "The command names no directory, nothing changed")
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

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct AttributeChange {
    /// New modification time, in seconds since 1970-01-01T00:00:00Z.
    pub(super) modified: Option<i64>,
    pub(super) mode: Option<u32>,
}

/// Permission bits that clients can set. Set-id bits have no use on transferred files.
const MODE: u32 = 0o777;

/// `MFMT <time> <path>`: 213 with the stored time.
pub(super) fn mfmt(session: &mut Session, time: &TimeVal, path: &Pathname) -> Result<Reply, Reply> {
    let change = AttributeChange { modified: Some(time.unix_seconds()), mode: None };
    change.make(session, path).map(|facts| stored_facts(facts, path))
}

/// `MFF <fact>=<value>;... <path>`: 213 with the stored values; 504 for a fact that cannot be
/// changed, 501 for an invalid value. If the client repeats a fact, the first value counts.
pub(super) fn mff(session: &mut Session, facts: &Facts) -> Result<Reply, Reply> {
    let wrong = || Reply::new(ReplyCode::BAD_ARGUMENT, "Bad fact value");
    let path = Pathname::new(facts.name()).map_err(|_| wrong())?;
    let (_, capabilities) = session.offer();
    let mut change = AttributeChange::default();
    let mut is_known = true;
    for (name, value) in facts.iter() {
        let is = |fact: &str, needed| {
            name.eq_ignore_ascii_case(fact.as_bytes()) && capabilities.contains(needed)
        };
        if is("Modify", Capabilities::SET_TIMES) {
            let time = TimeVal::parse(value).map_err(|_| wrong())?;
            change.modified.get_or_insert(time.unix_seconds());
        } else if is("UNIX.mode", Capabilities::CHMOD) {
            let permissions = Permissions::parse(value).ok_or_else(wrong)?;
            change.mode.get_or_insert(permissions.mode().into());
        } else {
            is_known = false;
        }
    }
    if !is_known {
        let text = "This fact cannot be changed";
        return Err(Reply::new(ReplyCode::PARAMETER_NOT_IMPLEMENTED, text));
    }
    change.make(session, &path).map(|facts| stored_facts(facts, &path))
}

fn stored_facts(facts: String, path: &Pathname) -> Reply {
    let mut text = facts.into_bytes();
    text.push(b' ');
    text.extend_from_slice(path.as_bytes());
    Reply::new(ReplyCode::FILE_STATUS, text)
}

impl AttributeChange {
    /// Makes the change and returns the stored facts.
    pub(super) fn make(self, session: &mut Session, path: &Pathname) -> Result<String, Reply> {
        let path = session.resolve(path);
        let needs = |wanted, right| if wanted { right } else { Rights::NONE };
        let rights = needs(self.modified.is_some(), Rights::WRITE)
            | needs(self.mode.is_some(), Rights::CHMOD);
        let storage = Arc::clone(session.shared_storage_at(&path, rights)?);
        if self.mode.is_some_and(|mode| mode > MODE) {
            let text = "Only permission bits can be set";
            return Err(Reply::new(ReplyCode::FILE_UNAVAILABLE, text));
        }
        let failed = reply::failure_of(Purpose::Existing);
        let set = |change| storage.set(&path, change);
        // The mode is set first, because a storage that can set times may refuse modes. If the mode
        // is refused, nothing has changed.
        let bits = self.mode.map(|mode| set(Change::Mode(mode))).transpose().map_err(&failed)?;
        let told = self.modified.and_then(|_| unfinished::told_version(session, &*storage, &path));
        let time = self.modified.map(|time| set(Change::Modified(time))).transpose();
        let now = time.as_ref().ok().copied().flatten();
        if let (Some(told), Some(now)) = (told, now) {
            unfinished::tell_new_time(session, &path, told, &now);
        }
        let modified = now.map(|now| now.modified);
        let mode = bits.map(|now| now.mode);
        if modified.is_some() || mode.is_some() {
            session.tell(EventKind::Changed { path: &path, modified, mode });
        }
        let time = time.map_err(failed)?;
        let mut facts = String::new();
        // Writing to a string does not fail, here and below.
        if let Some(now) = time {
            let time = TimeVal::from_unix_seconds(now.modified).ok_or_else(reply::no_time)?;
            let _ = write!(facts, "Modify={time};");
        }
        if let Some(now) = bits {
            let _ = write!(facts, "UNIX.mode={:04o};", now.mode);
        }
        Ok(facts)
    }
}
