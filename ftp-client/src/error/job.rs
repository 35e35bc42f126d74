//! What a job can meet beyond the failures of its commands: `JobFault` with whole files, `TreeFault`
//! with a tree.

use std::fmt;
use std::io;
use std::path::PathBuf;

use ftp_proto::{Escaped, Reply};

use super::{Error, ErrorKind, LocalPath, Recovery, io_again};
use crate::listing::{Budget, MOST_OBJECTS};

/// Why a job with whole files failed, beyond the failures of its commands: an upload, a download, a
/// copy from server to server, a move or a removal. `Display` explains it.
///
/// A move is a transfer that removes its source. After a fault of a move, the source still exists,
/// except if the error of a removal is not a reply of the server.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobFault {
    // Uploads, and copies to another server.
    /// The server's file is longer than the local file, so it cannot be its beginning.
    #[error("the server's file is longer: {there} bytes instead of {here}")]
    #[non_exhaustive]
    Longer {
        /// The size of the server's file in bytes.
        there: u64,
        /// The size of the local file in bytes.
        here: u64,
    },
    /// The local file changed during the upload.
    #[error("changed during the upload")]
    LocalChanged,
    /// The URL leads to the local file itself, which the server would empty.
    #[error("the local file and the server's file are the same file")]
    SameFile,
    /// Source and target of a copy are one path of one server.
    #[error("source and target are the same file")]
    OntoItself,
    /// Bytes that an earlier attempt consumed cannot be read again.
    #[error("the source cannot be read again")]
    Spent,
    /// The server confirmed the transfer with a reply that speaks of an abort, and reports no size.
    #[error("perhaps incomplete: the server says {0}")]
    Aborted(Reply),
    /// The server appended an unknown number of bytes before this error.
    #[error("{0}; the number of appended bytes is unknown")]
    Appended(Box<Error>),
    /// The server stored another name, which this holds: it changes names that are not UTF-8.
    #[error("the server changes names that are not UTF-8: it stored {}", Escaped(.0))]
    OtherName(Vec<u8>),
    /// The server confirmed the upload, but still has a file with the facts of the old one.
    #[error("confirmed, but nothing shows that the server's file is the new one")]
    NotReplaced,
    /// An earlier attempt may have left an incomplete file, and the server does not report its size,
    /// or does not let its end be compared.
    #[error(
        "an earlier attempt may have left an incomplete file, which could not be compared with the \
         local one"
    )]
    Leftover,
    /// An earlier attempt sent all bytes, but its confirmation was lost, and the server neither lets
    /// them be compared nor takes the file again; or the source cannot be read again.
    #[error("perhaps complete, but could not be compared: {0}")]
    NotCompared(Box<Error>),
    /// The server does not report the name that it chose (`STOU`).
    #[error("the server does not report the name that it chose")]
    NoName,
    /// The upload is complete under its temporary name, but lacks its final name.
    #[error("uploaded as {}, but not renamed: {cause}{}", Escaped(temporary), match removed {
        true => "; the temporary file was removed",
        false => "",
    })]
    #[non_exhaustive]
    NotRenamed {
        /// The path with the temporary name.
        temporary: Vec<u8>,
        /// The error of the rename.
        cause: Box<Error>,
        /// Whether the file with the temporary name was removed.
        removed: bool,
    },
    /// The reply to the rename was lost, and the files on the server do not show whether it
    /// happened.
    #[error("uploaded as {}, which may have been renamed: the reply was lost", Escaped(temporary))]
    #[non_exhaustive]
    PerhapsRenamed {
        /// The path with the temporary name.
        temporary: Vec<u8>,
    },
    /// The server takes the target for the same file as this other target; nothing was
    /// sent.
    #[error(
        "not uploaded: the server stores it as the same file as {}; rename one of them",
        Escaped(.0)
    )]
    SameName(Vec<u8>),
    /// The file was uploaded, but the server may take the target for the same file as this other
    /// target, which may be replaced.
    #[error(
        "uploaded, but it may be the same file as {} on the server; that could not be checked",
        Escaped(.0)
    )]
    PerhapsSameName(Vec<u8>),
    /// FTP has no form for the modification time of the local file.
    #[error("FTP cannot represent the local file's modification time")]
    NoTime,
    /// The file was uploaded, but its modification time could not be set.
    #[error("uploaded, but the time could not be set: {0}")]
    NotTimed(Box<Error>),
    // Downloads.
    /// The local file is not as long as what was received and kept, so it got no name: another
    /// program changed it, or the file system lost bytes.
    #[error(
        "the local file has {here} bytes instead of {received}: another program changed it, or the \
         disk lost bytes"
    )]
    #[non_exhaustive]
    LengthChanged {
        /// The length of the local file in bytes.
        here: u64,
        /// The number of bytes that it should have.
        received: u64,
    },
    /// A download in place failed by this error, and another program has written to the file meanwhile.
    #[error("{0}; another program has written to the local file: what was received stays in it")]
    NotUndone(Box<Error>),
    /// The server has no such file.
    #[error("there is no such file on the server")]
    Missing,
    /// The server does not report this fact of its files, which the options need.
    #[error("the server does not report {0}s")]
    Unreported(FileFact),
    /// The server's file may be this local file, which the download would empty or remove.
    #[error("source and {} may be the same file", LocalPath(.0))]
    MayBeSource(PathBuf),
    // Moves.
    /// Another job, also of another program, is moving the local file at this path.
    #[error("{}: another job is moving this file; try again later", LocalPath(.0))]
    Locked(PathBuf),
    /// The local side is not a regular file with a path.
    #[error("only a regular file can be moved")]
    NotRegular,
    /// The journal at this path cannot be understood.
    #[error("{}: not a journal of an upload; move it away", LocalPath(.0))]
    BadJournal(PathBuf),
    /// Another local file has the name of the open one; nothing was sent.
    #[error("another local file has this name now, so nothing was sent")]
    OtherSource,
    /// The local file was uploaded, but has changed since, so it was not removed.
    #[error("uploaded, but not removed: the local file changed")]
    SourceChanged,
    /// The local file was uploaded, but another program has locked it, so it was not removed.
    #[error("uploaded, but not removed: another program has locked the local file")]
    SourceInUse,
    /// The local file was uploaded, but not removed: a file from an earlier removal, which was
    /// interrupted, has this path and may be the only copy of its content.
    #[error(
        "{}: left by an earlier job that was killed while it removed its source: compare this file \
         with the server's, then delete it",
        LocalPath(.0)
    )]
    LeftAside(PathBuf),
    /// The file was uploaded, but the server does not report its size, so the local file was not
    /// removed.
    #[error("uploaded, but not removed: the server does not report the size of the file")]
    NoSize,
    /// The file was uploaded, but the server does not list this target of the same directory as it
    /// was uploaded, so the local file was not removed.
    #[error(
        "uploaded, but not removed: the server does not list {} as it was uploaded",
        Escaped(.0)
    )]
    NotShown(Vec<u8>),
    /// Nothing was moved: the server does not report this fact, which shows that its file has not
    /// changed.
    #[error("not moved: the server does not report the {0} of the file")]
    NotMoved(FileFact),
    /// The server's file keeps changing; it was not downloaded.
    #[error("the file on the server keeps changing, so it was not downloaded; try again later")]
    Unsettled,
    /// The server's file changed during the download; nothing was moved.
    #[error("the file on the server changed during the download, so it was not moved")]
    ChangedMeanwhile,
    /// The file was downloaded, but the server's file has changed since, so it was not removed.
    #[error("downloaded, but not removed: the file on the server changed")]
    ServerChanged,
    /// The file was downloaded, but the server's file could not be removed.
    #[error("downloaded, but not removed: {0}")]
    NotRemoved(Box<Error>),
    // Renamings.
    /// The server confirmed the renaming, but shows only the old name.
    #[error("the server has confirmed the renaming, but shows only the old name")]
    OldName,
    // Removals.
    /// The object is a directory, and only other objects are to be removed.
    #[error("is a directory")]
    IsDirectory,
    /// The listing of the directory shows something, so it was not removed.
    #[error("the directory is not empty")]
    NotEmpty,
    /// The object is listed as a directory, but another fact contradicts that: it may be a symbolic
    /// link. Its content was kept.
    #[error(
        "it may be a symbolic link: the server lists links as directories, so its content was kept"
    )]
    ShownAsDirectory,
    /// Nothing proves that the object is a directory and not a symbolic link, so its content was
    /// kept. [`RemoveOptions::is_directory`](crate::tree::RemoveOptions::is_directory) and
    /// [`no_links`](crate::tree::RemoveOptions::no_links) remove it.
    #[error("it may be a symbolic link, so its content was kept")]
    MayBeLink,
    /// The server confirmed the removal, but the object is still there.
    #[error("the server has confirmed the removal, but it is still there")]
    StillThere,
    /// The object was missing in the first listing of its directory, so it may be another user's.
    #[error("it was not in the first listing of its directory, so it may be new; kept")]
    CameSince,
    /// A later listing shows the object as another type than the first one, or no longer as a
    /// directory, so it was kept.
    #[error("it has changed since it was listed; kept")]
    OtherType,
    /// The directory is too many levels below the first one. Its content was kept.
    #[error("the tree is too deep; its content was kept")]
    TooDeep,
    /// Listing the directory and those above it takes longer than a listing can be believed, so its content
    /// was kept.
    #[error("the server lists it too slowly; its content was kept")]
    ListedTooSlowly,
    /// The listed name [is not safe](crate::Entry::is_safe_name).
    #[error("not a valid name; kept")]
    UnsafeName,
    /// The tree has more objects than one removal takes. Another one removes the rest.
    #[error("the tree has more than {} objects", MOST_OBJECTS)]
    TooMany,
}

/// A fact of a file that a server reports.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum FileFact {
    /// Its size in bytes.
    Size,
    /// Its modification time.
    ModificationTime,
}

impl fmt::Display for FileFact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Size => "size",
            Self::ModificationTime => "modification time",
        })
    }
}

impl JobFault {
    pub(super) fn cause(&self) -> Option<&Error> {
        match self {
            Self::Appended(cause)
            | Self::NotCompared(cause)
            | Self::NotUndone(cause)
            | Self::NotTimed(cause)
            | Self::NotRenamed { cause, .. }
            | Self::NotRemoved(cause) => Some(cause),
            _ => None,
        }
    }

    /// Returns whether other jobs over the same control connection would fail too.
    pub(super) fn affects_others(&self) -> bool {
        matches!(self, Self::TooMany) || self.cause().is_some_and(Error::affects_others)
    }

    pub(super) fn kind(&self) -> ErrorKind {
        match self {
            Self::SameFile | Self::OntoItself | Self::MayBeSource(_) => ErrorKind::Usage,
            Self::SameName(_) | Self::Missing | Self::IsDirectory | Self::NotEmpty => {
                ErrorKind::Refused
            }
            Self::NotTimed(cause) if cause.kind() == ErrorKind::Refused => ErrorKind::Unsupported,
            Self::NoName
            | Self::Unreported(_)
            | Self::NoSize
            | Self::NotMoved(_)
            | Self::ShownAsDirectory
            | Self::MayBeLink
            | Self::TooDeep
            | Self::ListedTooSlowly
            | Self::UnsafeName
            | Self::TooMany => ErrorKind::Unsupported,
            Self::NoTime
            | Self::Spent
            | Self::NotRegular
            | Self::BadJournal(_)
            | Self::LeftAside(_)
            | Self::OtherSource => ErrorKind::Local,
            Self::Locked(_) => ErrorKind::Limit,
            // The file may be complete, or hold the bytes, whatever ended the attempt.
            Self::NotCompared(_) => ErrorKind::Integrity,
            Self::Appended(cause) if cause.kind() != ErrorKind::Cancelled => ErrorKind::Integrity,
            _ => self.cause().map_or(ErrorKind::Integrity, Error::kind),
        }
    }

    /// Returns what another attempt can do, if the kind does not tell.
    pub(crate) fn recovery(&self) -> Option<Recovery> {
        match self {
            Self::NotRenamed { cause, .. } => Some(cause.recovery()),
            Self::Longer { .. }
            | Self::Appended(_)
            | Self::OtherName(_)
            | Self::NotCompared(_)
            | Self::NotUndone(_)
            | Self::PerhapsRenamed { .. }
            | Self::PerhapsSameName(_)
            | Self::OldName => Some(Recovery::Impossible),
            // The transfer itself is complete.
            Self::SourceChanged | Self::SourceInUse | Self::ServerChanged | Self::NotShown(_) => {
                Some(Recovery::Impossible)
            }
            _ => None,
        }
    }
}

/// Why a step of a tree failed. `Display` names the object and the reason.
#[derive(Clone, Debug)]
pub struct TreeFault {
    /// The objects that the reason is about, outermost first, each with a colon.
    objects: String,
    error: Option<Box<Error>>,
    /// The kind, if it is not that of the error.
    kind: Option<ErrorKind>,
    /// The reason, if it is not the text of the error.
    text: Option<String>,
    /// What follows the reason: consequences and advice.
    after: String,
    setting: Option<Setting>,
    ends_run: bool,
    recovery: Recovery,
}

/// The setting of [`SyncOptions`](crate::tree::SyncOptions), or the side, that a failure is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Setting {
    /// [`backup`](crate::tree::SyncOptions::backup).
    Backup,
    /// [`replaces_changed`](crate::tree::SyncOptions::replaces_changed).
    Changed,
    /// [`compare`](crate::tree::SyncOptions::compare).
    Compare,
    /// [`deletes`](crate::tree::SyncOptions::deletes): what holds back deletions.
    Deletions,
    /// A [`manifest`](crate::tree::SyncOptions::manifest) that the job does not use.
    Deployed,
    /// [`links`](crate::tree::SyncOptions::links).
    Links,
    /// [`manifest`](crate::tree::SyncOptions::manifest).
    Manifest,
    /// [`moves`](crate::tree::SyncOptions::moves).
    Moves,
    /// [`creates_parents`](crate::tree::SyncOptions::creates_parents).
    Parents,
    /// [`no_links`](crate::tree::SyncOptions::no_links).
    NoLinks,
    /// [`permissions`](crate::tree::SyncOptions::permissions).
    Permissions,
    /// [`deletes`](crate::tree::SyncOptions::deletes): what an object of another type would replace.
    Replaced,
    /// The source itself.
    Source,
    /// [`temporary`](crate::tree::SyncOptions::temporary).
    Temporary,
}

impl TreeFault {
    /// Returns a failure after which nothing more is tried.
    pub(crate) fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        let recovery = match kind {
            ErrorKind::Integrity => Recovery::StartOver,
            _ => Recovery::Impossible,
        };
        Self {
            objects: String::new(),
            error: None,
            kind: Some(kind),
            text: Some(text.into()),
            after: String::new(),
            setting: None,
            ends_run: true,
            recovery,
        }
    }

    /// Returns a failure of one object, which does not affect the next one.
    pub(crate) fn item(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self { ends_run: false, ..Self::new(kind, text) }
    }

    /// Returns the failure of one local object.
    pub(crate) fn local(path: &[u8], error: &io::Error) -> Self {
        let fault = Self::from(Error::local(io_again(error)));
        fault.about(if path.is_empty() { b"." } else { path })
    }

    pub(crate) fn about(self, path: &[u8]) -> Self {
        self.in_words(format_args!("{}", Escaped(path)))
    }

    pub(crate) fn in_words(self, object: impl fmt::Display) -> Self {
        Self { objects: format!("{object}: {}", self.objects), ..self }
    }

    /// Adds a consequence or advice.
    pub(crate) fn then(mut self, text: &str) -> Self {
        self.after.push_str("; ");
        self.after.push_str(text);
        self
    }

    pub(crate) fn of(self, setting: Setting) -> Self {
        Self { setting: Some(setting), ..self }
    }

    pub(crate) fn with_kind(self, kind: ErrorKind) -> Self {
        Self { kind: Some(kind), ..self }
    }

    pub(crate) fn of_one(self) -> Self {
        Self { ends_run: false, ..self }
    }

    pub(crate) fn ending(self, ends_run: bool) -> Self {
        Self { ends_run: self.ends_run || ends_run, ..self }
    }

    pub(crate) fn never_retried(self) -> Self {
        Self { recovery: Recovery::Impossible, ..self }
    }

    /// Returns the memory of the failure in bytes.
    pub(crate) fn weight(&self) -> usize {
        let reply = self.cause().and_then(Error::reply);
        let lines = reply.into_iter().flat_map(|reply| reply.lines());
        let lines = lines.map(Budget::weight_of_name).sum::<usize>();
        let error = self.cause().map_or(0, |_| size_of::<Error>() + lines);
        // A message names objects, which the error can name once more.
        size_of::<Self>() + error + 2 * Budget::weight_of_name(self.to_string().as_bytes())
    }

    /// Returns the kind of the reason.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        let of_error = || self.error.as_ref().map(|error| error.kind());
        self.kind.or_else(of_error).unwrap_or(ErrorKind::Unsupported)
    }

    /// Returns the error of the client or of the local disk, if there is one.
    #[must_use]
    pub fn cause(&self) -> Option<&Error> {
        self.error.as_deref()
    }

    /// Returns the text of `Display`, with the words of `tell` for the [cause](Self::cause). If the
    /// fault has a reason of its own, `tell` is not called.
    pub fn told(&self, tell: impl FnOnce(&Error) -> String) -> String {
        let Self { objects, text, after, .. } = self;
        let reason = text.clone().or_else(|| self.cause().map(tell)).unwrap_or_default();
        format!("{objects}{reason}{after}")
    }

    /// Returns the setting that the failure is about.
    #[must_use]
    pub const fn setting(&self) -> Option<Setting> {
        self.setting
    }

    /// Returns whether nothing more is tried after this failure.
    #[must_use]
    pub const fn ends_run(&self) -> bool {
        self.ends_run
    }

    /// Returns what another attempt can do.
    #[must_use]
    pub const fn recovery(&self) -> Recovery {
        self.recovery
    }

    pub(crate) fn is_refusal(&self) -> bool {
        let kinds = [ErrorKind::Refused, ErrorKind::Temporary, ErrorKind::Data];
        !self.ends_run && kinds.contains(&self.kind())
    }

    /// Returns whether the server refused a command about one object only for now.
    pub(crate) fn is_for_now(&self) -> bool {
        self.is_refusal() && self.recovery == Recovery::TryAgain
    }
}

impl fmt::Display for TreeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.told(|cause| match cause {
            Error::Local(error) => error.to_string(),
            error => error.to_string(),
        }))
    }
}

impl std::error::Error for TreeFault {}

impl From<Error> for TreeFault {
    fn from(error: Error) -> Self {
        if let Error::Tree(fault) = error {
            return *fault;
        }
        let (ends_run, recovery) = (error.affects_others(), error.recovery());
        Self {
            objects: String::new(),
            error: Some(Box::new(error)),
            kind: None,
            text: None,
            after: String::new(),
            setting: None,
            ends_run,
            recovery,
        }
    }
}

impl From<TreeFault> for Error {
    fn from(fault: TreeFault) -> Self {
        Self::Tree(Box::new(fault))
    }
}
