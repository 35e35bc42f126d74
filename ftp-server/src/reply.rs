//! Replies that several commands share, and the reply codes of storage errors. Only MLSD uses a
//! different code for one error: 501 for a path that is not a directory (RFC 3659 §7.2.1).

use std::cell::Cell;

use ftp_proto::{Pathname, Reply, ReplyCode};
use rustix::io::Errno;

use crate::storage::{StorageError, StorageErrorKind as Kind, VirtualPath};

/// The purpose of a call to the storage, on which the reply to an error depends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Purpose {
    /// Examining, reading, changing or removing an existing object.
    Existing,
    /// Listing a directory with a data connection: LIST, NLST, MLSD. curl takes a 450 for an empty
    /// directory.
    List,
    /// Reading a file for its digest: HASH.
    Digest,
    /// Storing a file: STOR, STOU, APPE.
    MakeFile,
    /// Making a directory: MKD.
    MakeDirectory,
    /// Moving an object to a new name: RNTO.
    NewName,
}

/// The reason for a storage error, for the log. The reply leaves it out: a client cannot change it,
/// and need not know it.
#[derive(Default)]
pub(crate) struct Explanation {
    /// Why the system forbade what the command needed; `None` if the user's rights or the storage
    /// itself refused it.
    pub(crate) cause: Option<&'static str>,
    /// What the system or the store has said, if there is no cause.
    pub(crate) error: Option<String>,
}

thread_local! {
    /// The explanation of the last such error of this thread.
    static EXPLANATION: Cell<Explanation> =
        const { Cell::new(Explanation { cause: None, error: None }) };
}

/// Returns the explanation of the last command of this thread, and forgets it.
pub(crate) fn take_explanation() -> Explanation {
    EXPLANATION.take()
}

fn explain(error: &StorageError) {
    let errno = error.source.as_ref().and_then(Errno::from_io_error);
    let cause = match errno {
        _ if let Kind::Fixed(reason) = error.kind => Some(reason),
        Some(Errno::ACCESS | Errno::PERM) => Some("permission of the server's user"),
        Some(Errno::ROFS) => Some("read-only file system"),
        _ => None,
    };
    let error = if cause.is_none() { error.reason() } else { None };
    EXPLANATION.set(Explanation { cause, error });
}

pub(crate) fn storage_failure(error: &StorageError, purpose: Purpose) -> Reply {
    explain(error);
    let makes = !matches!(purpose, Purpose::Existing | Purpose::List | Purpose::Digest);
    let code = match error.kind {
        Kind::NameNotAllowed if makes => ReplyCode::NAME_NOT_ALLOWED,
        Kind::Exists if matches!(purpose, Purpose::MakeFile | Purpose::NewName) => {
            ReplyCode::NAME_NOT_ALLOWED
        }
        Kind::IsDirectory | Kind::NotFile if purpose == Purpose::MakeFile => {
            ReplyCode::NAME_NOT_ALLOWED
        }
        Kind::IsDirectory if purpose == Purpose::Digest => ReplyCode::NAME_NOT_ALLOWED,
        Kind::BadRestart => ReplyCode::BAD_RESTART,
        Kind::NoSpace | Kind::Uncounted => ReplyCode::NO_SPACE,
        Kind::OverQuota => ReplyCode::OVER_QUOTA,
        Kind::Busy | Kind::Unavailable | Kind::NotNow if purpose != Purpose::List => {
            ReplyCode::FILE_BUSY
        }
        Kind::Busy | Kind::Unavailable | Kind::NotNow => ReplyCode::LOCAL_ERROR,
        Kind::Io | Kind::Stalled | Kind::Unknown | Kind::Unsynced => ReplyCode::LOCAL_ERROR,
        Kind::Unsupported => ReplyCode::NOT_IMPLEMENTED,
        _ => ReplyCode::FILE_UNAVAILABLE,
    };
    with_reason(code, error)
}

/// Returns the reply to an error. A refusal has the reason that the storage gives.
fn with_reason(code: ReplyCode, error: &StorageError) -> Reply {
    match (error.kind, &error.source) {
        (Kind::Refused, Some(why)) => Reply::new(code, why.to_string()),
        _ => Reply::new(code, sentence(error.kind)),
    }
}

pub(crate) fn failure_of(purpose: Purpose) -> impl Fn(StorageError) -> Reply {
    move |error| storage_failure(&error, purpose)
}

/// Returns the reply to a command that the storage refused in a drop box, a directory that accepts
/// uploads but hides its content. The user must not learn more about existing objects than
/// necessary. If the object to make already exists, the reply is 553, whatever kind of object it
/// is. A name that may not be created, and errors such as a full disk, get their usual reply. All
/// other errors get "Permission denied".
pub(crate) fn blind_failure(error: &StorageError, purpose: Purpose) -> Reply {
    explain(error);
    let makes = matches!(purpose, Purpose::MakeFile | Purpose::MakeDirectory);
    match error.kind {
        Kind::Exists | Kind::IsDirectory | Kind::NotFile | Kind::Busy if makes => {
            Reply::new(ReplyCode::NAME_NOT_ALLOWED, sentence(Kind::Exists))
        }
        Kind::NameNotAllowed if makes => storage_failure(error, purpose),
        Kind::NoSpace
        | Kind::OverQuota
        | Kind::Uncounted
        | Kind::Io
        | Kind::Stalled
        | Kind::Unknown
        | Kind::Unsynced
        | Kind::Unsupported => storage_failure(error, purpose),
        _ => no_right(),
    }
}

/// Returns the final reply of a transfer whose storage failed after the 150.
pub(crate) fn transfer_failure(error: &StorageError) -> Reply {
    explain(error);
    let code = match error.kind {
        Kind::NoSpace | Kind::Uncounted => ReplyCode::NO_SPACE,
        Kind::OverQuota => ReplyCode::OVER_QUOTA,
        // Another session has taken the name since the 150, or the file system refuses it only now.
        Kind::Exists | Kind::NameNotAllowed => ReplyCode::NAME_NOT_ALLOWED,
        Kind::Refused => ReplyCode::FILE_UNAVAILABLE,
        // Without an error of the system, such as EROFS, the storage itself has decided: for good.
        Kind::Denied | Kind::NotFile | Kind::Unsupported if error.source.is_none() => {
            ReplyCode::FILE_UNAVAILABLE
        }
        Kind::NotNow => ReplyCode::FILE_BUSY,
        _ => ReplyCode::LOCAL_ERROR,
    };
    with_reason(code, error)
}

pub(crate) fn no_right() -> Reply {
    Reply::new(ReplyCode::FILE_UNAVAILABLE, "Permission denied")
}

/// Returns the reply for a time that no reply can show, because its year does not have four digits.
pub(crate) fn no_time() -> Reply {
    Reply::new(ReplyCode::FILE_UNAVAILABLE, "Time cannot be shown")
}

/// Returns the reply to a `HASH` of a file that is too large or takes too long.
pub(crate) fn too_much_to_digest() -> Reply {
    Reply::new(ReplyCode::AGAINST_POLICY, "Too large for HASH")
}

/// Returns the reply if a digest gets no turn within
/// [`limits::DIGEST_WAIT`](crate::limits::DIGEST_WAIT).
pub(crate) fn too_many_digests() -> Reply {
    Reply::new(ReplyCode::FILE_BUSY, "Too many digests in progress, try again later")
}

/// Returns the reply if a search takes longer than [`limits::PREPARE`](crate::limits::PREPARE).
pub(crate) fn too_much_to_prepare() -> Reply {
    Reply::new(ReplyCode::LOCAL_ERROR, "Preparing the data took too long")
}

/// Returns the reply to a `STAT` whose lines would take too much memory. With a code of success, a client
/// would take the first ones for all.
pub(crate) fn too_many_to_show() -> Reply {
    Reply::new(ReplyCode::FILE_BUSY, "Too many entries for STAT, use LIST")
}

/// Returns the reply to a transfer in mode Z if too many other transfers compress their data.
pub(crate) fn too_much_to_compress() -> Reply {
    Reply::new(ReplyCode::FILE_BUSY, "Too many compressed transfers, use MODE S or try later")
}

/// Returns a 257 with the pathname in quotes and a comment (RFC 959 Appendix II), or a 550 if a
/// reply cannot carry the pathname.
pub(crate) fn pathname(path: &VirtualPath, comment: &str) -> Reply {
    match Pathname::new(path.as_bytes()) {
        Ok(path) => {
            let mut text = path.quoted();
            text.extend_from_slice(comment.as_bytes());
            Reply::new(ReplyCode::PATHNAME, text)
        }
        // The path has CR, LF or NUL, from a name on the disk, and no reply can carry it unchanged.
        Err(_) => Reply::new(ReplyCode::FILE_UNAVAILABLE, "Path cannot be shown"),
    }
}

fn sentence(kind: Kind) -> String {
    let text = kind.to_string();
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(chars).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storage_errors_map_to_reply_codes() {
        use Purpose::{Digest, Existing, List, MakeDirectory, MakeFile, NewName};
        for (purpose, kind, code) in [
            (Existing, Kind::NotFound, 550),
            (Existing, Kind::NameNotAllowed, 550),
            (Existing, Kind::Busy, 450),
            (Existing, Kind::Io, 451),
            (Existing, Kind::Unknown, 451),
            (MakeFile, Kind::Stalled, 451),
            (NewName, Kind::Unsynced, 451),
            (Existing, Kind::Unsupported, 502),
            (Existing, Kind::IsDirectory, 550),
            (Digest, Kind::NotFound, 550),
            (Digest, Kind::NameNotAllowed, 550),
            (Digest, Kind::IsDirectory, 553),
            (Digest, Kind::NotFile, 550),
            (MakeFile, Kind::NotFound, 550),
            (MakeFile, Kind::IsDirectory, 553),
            (MakeFile, Kind::Exists, 553),
            (MakeFile, Kind::NameNotAllowed, 553),
            (MakeFile, Kind::BadRestart, 554),
            (MakeFile, Kind::NoSpace, 452),
            (MakeFile, Kind::Uncounted, 452),
            (MakeFile, Kind::OverQuota, 552),
            (MakeDirectory, Kind::Exists, 550),
            (MakeDirectory, Kind::NameNotAllowed, 553),
            (NewName, Kind::Exists, 553),
            (NewName, Kind::IsDirectory, 550),
            (NewName, Kind::NotEmpty, 550),
            (NewName, Kind::CrossesMounts, 550),
            (NewName, Kind::Unavailable, 450),
            (MakeFile, Kind::Unavailable, 450),
            (Existing, Kind::Unavailable, 450),
            (List, Kind::Unavailable, 451),
            (List, Kind::Busy, 451),
            (List, Kind::NotNow, 451),
            (List, Kind::NotFound, 550),
            (List, Kind::NameNotAllowed, 550),
        ] {
            let reply = storage_failure(&kind.into(), purpose);
            assert_eq!(reply.code().value(), code, "{purpose:?} {kind:?}");
        }
    }

    #[test]
    fn the_log_has_what_a_storage_says_beyond_the_reply() {
        let store = || std::io::Error::other("PutObject: the store responds with 403 SlowDown");
        let system = std::io::Error::from;
        let permission = Some("permission of the server's user");
        for (error, cause, text) in [
            (StorageError::new(Kind::Busy), None, None),
            (StorageError::caused_by(Kind::Busy, store()), None, Some(store().to_string())),
            (system(Errno::NOENT).into(), None, None),
            (system(Errno::NOTEMPTY).into(), None, None),
            (system(Errno::IO).into(), None, Some("Input/output error".to_owned())),
            (system(Errno::ACCESS).into(), permission, None),
            (system(Errno::PERM).into(), permission, None),
            (system(Errno::ROFS).into(), Some("read-only file system"), None),
        ] {
            let replies: [&dyn Fn() -> Reply; 3] = [
                &|| storage_failure(&error, Purpose::Existing),
                &|| blind_failure(&error, Purpose::MakeFile),
                &|| transfer_failure(&error),
            ];
            for reply in replies {
                reply();
                let told = take_explanation();
                assert_eq!((told.cause, told.error), (cause, text.clone()), "{error:?}");
            }
            assert!(take_explanation().cause.is_none());
        }
    }

    #[test]
    fn drop_boxes_reveal_only_existing_names() {
        use Purpose::{Existing, MakeDirectory, MakeFile};
        for (purpose, kind, want) in [
            (MakeFile, Kind::Exists, &b"553 Already exists\r\n"[..]),
            (MakeFile, Kind::IsDirectory, b"553 Already exists\r\n"),
            (MakeFile, Kind::NotFile, b"553 Already exists\r\n"),
            (MakeDirectory, Kind::Exists, b"553 Already exists\r\n"),
            (MakeFile, Kind::NotFound, b"550 Permission denied\r\n"),
            (MakeFile, Kind::Denied, b"550 Permission denied\r\n"),
            (MakeFile, Kind::NotDirectory, b"550 Permission denied\r\n"),
            (MakeFile, Kind::NameNotAllowed, b"553 File name not allowed\r\n"),
            (MakeFile, Kind::NoSpace, b"452 No space left\r\n"),
            (Existing, Kind::NotFound, b"550 Permission denied\r\n"),
            (Existing, Kind::NotDirectory, b"550 Permission denied\r\n"),
            (Existing, Kind::Denied, b"550 Permission denied\r\n"),
        ] {
            assert_eq!(blind_failure(&kind.into(), purpose).encode(), want, "{purpose:?} {kind:?}");
        }
    }

    #[test]
    fn paths_are_quoted_cm_82_hp_12() {
        let path = VirtualPath::root().join(b"a\"b");
        let reply = pathname(&path, " created");
        assert_eq!(reply.encode(), b"257 \"/a\"\"b\" created\r\n");
    }
}
