//! `JobFault`: what a job with whole files can meet beyond the failures of its commands.

use std::path::PathBuf;

use ftp_proto::{Escaped, Reply};

use super::{Error, ErrorKind, Recovery, named_path};
use crate::listing::MOST_OBJECTS;

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
    /// Source and target of a copy are the same file of one server, which would empty it. If
    /// `is_certain` is false, they may be: no difference in size or time is known.
    #[error("source and target {}", match is_certain {
        true => "are the same file",
        false => "may be the same file: no difference in size or time is known",
    })]
    OntoItself {
        /// Whether the server's facts or paths prove it.
        is_certain: bool,
    },
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
    /// An earlier attempt may have left an incomplete file, and the server does not report its
    /// size.
    #[error(
        "an earlier attempt may have left an incomplete file, and the server does not report its \
         size"
    )]
    Leftover,
    /// The server does not report the name that it chose (`STOU`).
    #[error("the server does not report the name that it chose")]
    NoName,
    /// The upload is complete under its temporary name, but lacks its final name.
    #[error("uploaded as {}, but not renamed: {cause}{}", Escaped(temporary), match removed {
        true => "; the temporary file was removed",
        false => "",
    })]
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
    PerhapsRenamed {
        /// The path with the temporary name.
        temporary: Vec<u8>,
    },
    /// The server takes the target for the same file as this other target of the run; nothing was
    /// sent.
    #[error(
        "not uploaded: the server stores it as the same file as {}; rename one of them",
        Escaped(.0)
    )]
    SameName(Vec<u8>),
    /// The file was uploaded, but the server may take the target for the same file as this other
    /// target of the run, which may be replaced.
    #[error(
        "uploaded, but perhaps the same file as {} on the server, which does not tell",
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
    /// The server has no such file.
    #[error("there is no such file on the server")]
    Missing,
    /// The server does not report these facts, which the options need: `sizes` or
    /// `modification times`.
    #[error("the server does not report {0}")]
    Unreported(&'static str),
    /// The server's file may be this local file, which the download would empty or remove.
    #[error("source and {} may be the same file", named_path(.0))]
    MayBeSource(PathBuf),
    // Moves.
    /// Another job, also of another program, is moving the local file at this path.
    #[error("{}: another run is moving this file; try again later", named_path(.0))]
    Locked(PathBuf),
    /// The local side is not a regular file with a path.
    #[error("only a regular file can be moved")]
    NotRegular,
    /// The journal at this path cannot be understood.
    #[error("{}: not a journal of this program; move it away", named_path(.0))]
    BadJournal(PathBuf),
    /// Another local file has the name of the open one; nothing was sent.
    #[error("another local file has this name now, so nothing was sent; run the command again")]
    OtherSource,
    /// The local file was uploaded, but has changed since, so it was not removed.
    #[error("uploaded, but not removed: the local file changed")]
    SourceChanged,
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
    /// Nothing was moved: the server does not report this fact, which shows that its file has not changed: `size` or
    /// `modification time`.
    #[error("not moved: the server does not report the {0} of the file")]
    NotMoved(&'static str),
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
    // Removals.
    /// The object is listed as a directory, but another fact contradicts that: it may be a symbolic
    /// link. Its content was kept.
    #[error(
        "it may be a symbolic link: the server lists links as directories, so its content was kept"
    )]
    ShownAsDirectory,
    /// Nothing proves that the object is a directory and not a symbolic link, so its content was
    /// kept. [`RemoveOptions::is_directory`](crate::tree::RemoveOptions::is_directory) removes it.
    #[error("it may be a symbolic link, so its content was kept")]
    MayBeLink,
    /// The directory is too many levels below the first one. Its content was kept.
    #[error("the tree is too deep; its content was kept")]
    TooDeep,
    /// The listed name [is not safe](crate::Entry::is_safe_name).
    #[error("not a valid name; kept")]
    UnsafeName,
    /// The tree has more objects than one removal takes. Another one removes the rest.
    #[error("the tree has more than {} objects", MOST_OBJECTS)]
    TooMany,
}

impl JobFault {
    /// Returns the error that the fault comes from.
    pub(super) fn cause(&self) -> Option<&Error> {
        match self {
            Self::Appended(cause)
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
            Self::SameFile | Self::OntoItself { .. } | Self::MayBeSource(_) => ErrorKind::Usage,
            Self::SameName(_) | Self::Missing => ErrorKind::Refused,
            Self::NotTimed(cause) if cause.kind() == ErrorKind::Refused => ErrorKind::Unsupported,
            Self::NoName
            | Self::Unreported(_)
            | Self::NoSize
            | Self::NotMoved(_)
            | Self::ShownAsDirectory
            | Self::MayBeLink
            | Self::TooDeep
            | Self::UnsafeName
            | Self::TooMany => ErrorKind::Unsupported,
            Self::NoTime
            | Self::Spent
            | Self::NotRegular
            | Self::BadJournal(_)
            | Self::OtherSource => ErrorKind::Local,
            Self::Locked(_) => ErrorKind::Limit,
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
            | Self::PerhapsRenamed { .. }
            | Self::PerhapsSameName(_) => Some(Recovery::Impossible),
            // The transfer itself is complete.
            Self::SourceChanged | Self::ServerChanged | Self::NotShown(_) => {
                Some(Recovery::Impossible)
            }
            _ => None,
        }
    }
}
