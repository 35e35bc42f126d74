//! `UploadFault`: what only the upload of a whole file, or its copy to another server, can meet.

use std::fmt;

use ftp_proto::{Escaped, Reply};

use super::{Error, ErrorKind};
use crate::pool::patience::Recovery;

/// Why the upload of a whole file, or its copy to another server, failed, beyond the failures of its
/// commands. `Display` explains it.
#[derive(Debug)]
#[non_exhaustive]
pub enum UploadFault {
    /// The server's file is longer than the local file, so it cannot be its beginning.
    Longer {
        /// The size of the server's file in bytes.
        there: u64,
        /// The size of the local file in bytes.
        here: u64,
    },
    /// The local file changed during the upload.
    LocalChanged,
    /// The URL leads to the local file itself, which the server would empty.
    SameFile,
    /// Source and target of a copy are the same file of one server, which would empty it. If
    /// `is_certain` is false, they may be: no difference in size or time is known.
    OntoItself {
        /// Whether the server's facts or paths prove it.
        is_certain: bool,
    },
    /// Bytes that an earlier attempt consumed cannot be read again.
    Spent,
    /// The server confirmed the transfer with a reply that speaks of an abort, and reports no size.
    Aborted(Reply),
    /// The server appended an unknown number of bytes before this error.
    Appended(Box<Error>),
    /// The server stored another name, which this holds: it changes names that are not UTF-8.
    OtherName(Vec<u8>),
    /// The server confirmed the upload, but still has a file with the facts of the old one.
    NotReplaced,
    /// An earlier attempt may have left an incomplete file, and the server does not report its
    /// size.
    Leftover,
    /// The server does not report the name that it chose (`STOU`).
    NoName,
    /// The upload is complete under its temporary name, but lacks its final name.
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
    PerhapsRenamed {
        /// The path with the temporary name.
        temporary: Vec<u8>,
    },
    /// The server takes the target for the same file as this other target of the run; nothing was
    /// sent.
    SameName(Vec<u8>),
    /// The file was uploaded, but the server may take the target for the same file as this other
    /// target of the run, which may be replaced.
    PerhapsSameName(Vec<u8>),
    /// FTP has no form for the modification time of the local file.
    NoTime,
    /// The file was uploaded, but its modification time could not be set.
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

    pub(super) fn again(&self) -> Self {
        match self {
            Self::Longer { there, here } => Self::Longer { there: *there, here: *here },
            Self::LocalChanged => Self::LocalChanged,
            Self::SameFile => Self::SameFile,
            Self::OntoItself { is_certain } => Self::OntoItself { is_certain: *is_certain },
            Self::Spent => Self::Spent,
            Self::Aborted(reply) => Self::Aborted(reply.clone()),
            Self::Appended(cause) => Self::Appended(Box::new(cause.again())),
            Self::OtherName(name) => Self::OtherName(name.clone()),
            Self::NotReplaced => Self::NotReplaced,
            Self::Leftover => Self::Leftover,
            Self::NoName => Self::NoName,
            Self::NotRenamed { temporary, cause, removed } => Self::NotRenamed {
                temporary: temporary.clone(),
                cause: Box::new(cause.again()),
                removed: *removed,
            },
            Self::PerhapsRenamed { temporary } => {
                Self::PerhapsRenamed { temporary: temporary.clone() }
            }
            Self::SameName(name) => Self::SameName(name.clone()),
            Self::PerhapsSameName(name) => Self::PerhapsSameName(name.clone()),
            Self::NoTime => Self::NoTime,
            Self::NotTimed(cause) => Self::NotTimed(Box::new(cause.again())),
        }
    }
}

impl fmt::Display for UploadFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Longer { there, here } => {
                write!(f, "the server's file is longer: {there} bytes instead of {here}")
            }
            Self::LocalChanged => f.write_str("changed during the upload"),
            Self::SameFile => f.write_str("the local file and the server's file are the same file"),
            Self::OntoItself { is_certain: true } => {
                f.write_str("source and target are the same file")
            }
            Self::OntoItself { is_certain: false } => f.write_str(
                "source and target may be the same file: no difference in size or time is known",
            ),
            Self::Spent => f.write_str("the source cannot be read again"),
            Self::Aborted(reply) => write!(f, "perhaps incomplete: the server says {reply}"),
            Self::Appended(cause) => write!(f, "{cause}; the number of appended bytes is unknown"),
            Self::OtherName(name) => write!(
                f,
                "the server changes names that are not UTF-8: it stored {}",
                Escaped(name)
            ),
            Self::NotReplaced => {
                f.write_str("confirmed, but nothing shows that the server's file is the new one")
            }
            Self::Leftover => f.write_str(
                "an earlier attempt may have left an incomplete file, and the server does not \
                 report its size",
            ),
            Self::NoName => f.write_str("the server does not report the name that it chose"),
            Self::NotRenamed { temporary, cause, removed } => {
                write!(f, "uploaded as {}, but not renamed: {cause}", Escaped(temporary))?;
                match removed {
                    true => f.write_str("; the temporary file was removed"),
                    false => Ok(()),
                }
            }
            Self::PerhapsRenamed { temporary } => write!(
                f,
                "uploaded as {}, which may have been renamed: the reply was lost",
                Escaped(temporary)
            ),
            Self::SameName(name) => write!(
                f,
                "not uploaded: the server stores it as the same file as {}; rename one of them",
                Escaped(name)
            ),
            Self::PerhapsSameName(name) => write!(
                f,
                "uploaded, but perhaps the same file as {} on the server, which does not tell",
                Escaped(name)
            ),
            Self::NoTime => f.write_str("FTP cannot represent the local file's modification time"),
            Self::NotTimed(cause) => {
                write!(f, "uploaded, but the time could not be set: {cause}")
            }
        }
    }
}

impl std::error::Error for UploadFault {}
