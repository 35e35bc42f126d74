//! `UploadFault`: what only the upload of a whole file, or its copy to another server, can meet.

use ftp_proto::{Escaped, Reply};

use super::{Error, ErrorKind};
use crate::pool::patience::Recovery;

/// Why the upload of a whole file, or its copy to another server, failed, beyond the failures of its
/// commands. `Display` explains it.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UploadFault {
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
}

impl UploadFault {
    /// Returns the error that the fault comes from.
    pub(super) fn cause(&self) -> Option<&Error> {
        match self {
            Self::Appended(cause) | Self::NotTimed(cause) | Self::NotRenamed { cause, .. } => {
                Some(cause)
            }
            _ => None,
        }
    }

    pub(super) fn kind(&self) -> ErrorKind {
        match self {
            Self::SameFile | Self::OntoItself { .. } => ErrorKind::Usage,
            Self::SameName(_) => ErrorKind::Refused,
            Self::NoName => ErrorKind::Unsupported,
            Self::NotTimed(cause) if cause.kind() == ErrorKind::Refused => ErrorKind::Unsupported,
            Self::NoTime | Self::Spent => ErrorKind::Local,
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
            _ => None,
        }
    }
}
