//! `DownloadFault` and `MoveFault`: what only the download of a whole file can meet, and what only a
//! move can, which is a transfer that removes its source.

use std::fmt;
use std::path::PathBuf;

use ftp_proto::Escaped;

use super::{Error, ErrorKind, named_path};
use crate::pool::patience::Recovery;

/// Why the download of a whole file failed, beyond the failures of its commands. `Display` explains
/// it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum DownloadFault {
    /// The server has no such file.
    Missing,
    /// The server does not report these facts, which the options need: `sizes` or
    /// `modification times`.
    Unreported(&'static str),
    /// The server's file may be this local file, which the download would empty or remove.
    SameFile(PathBuf),
}

/// Why a move failed, beyond the failures of its transfer. `Display` explains it.
///
/// The source still exists, except if the error of a removal is not a reply of the server.
#[derive(Debug)]
#[non_exhaustive]
pub enum MoveFault {
    /// Another job, also of another program, is moving the local file at this path.
    Locked(PathBuf),
    /// The local side is not a regular file with a path.
    NotRegular,
    /// The journal at this path cannot be understood.
    BadJournal(PathBuf),
    /// Another local file has the name of the open one; nothing was sent.
    OtherSource,
    /// The local file was uploaded, but has changed since, so it was not removed.
    SourceChanged,
    /// The file was uploaded, but the server does not report its size, so the local file was not
    /// removed.
    NoSize,
    /// The file was uploaded, but the server does not list this target of the same directory as it
    /// was uploaded, so the local file was not removed.
    NotShown(Vec<u8>),
    /// The server does not report this fact, which shows that its file has not changed: `size` or
    /// `modification time`.
    Unreported(&'static str),
    /// The server's file keeps changing; it was not downloaded.
    Unsettled,
    /// The server's file changed during the download; nothing was moved.
    ChangedMeanwhile,
    /// The file was downloaded, but the server's file has changed since, so it was not removed.
    ServerChanged,
    /// The file was downloaded, but the server's file could not be removed.
    NotRemoved(Box<Error>),
}

impl DownloadFault {
    pub(super) const fn kind(&self) -> ErrorKind {
        match self {
            Self::Missing => ErrorKind::Refused,
            Self::Unreported(_) => ErrorKind::Unsupported,
            Self::SameFile(_) => ErrorKind::Usage,
        }
    }
}

impl MoveFault {
    /// Returns the error that the fault comes from.
    pub(super) fn cause(&self) -> Option<&Error> {
        match self {
            Self::NotRemoved(cause) => Some(cause),
            _ => None,
        }
    }

    pub(super) fn kind(&self) -> ErrorKind {
        match self {
            Self::Locked(_) => ErrorKind::Limit,
            Self::NotRegular | Self::BadJournal(_) | Self::OtherSource => ErrorKind::Local,
            Self::NoSize | Self::Unreported(_) => ErrorKind::Unsupported,
            Self::SourceChanged
            | Self::NotShown(_)
            | Self::Unsettled
            | Self::ChangedMeanwhile
            | Self::ServerChanged => ErrorKind::Integrity,
            Self::NotRemoved(cause) => cause.kind(),
        }
    }

    /// Returns what another attempt can do, if the kind does not tell.
    pub(crate) const fn recovery(&self) -> Option<Recovery> {
        match self {
            // The transfer itself is complete.
            Self::SourceChanged | Self::ServerChanged | Self::NotShown(_) => {
                Some(Recovery::Impossible)
            }
            _ => None,
        }
    }

    pub(super) fn again(&self) -> Self {
        match self {
            Self::Locked(path) => Self::Locked(path.clone()),
            Self::NotRegular => Self::NotRegular,
            Self::BadJournal(path) => Self::BadJournal(path.clone()),
            Self::OtherSource => Self::OtherSource,
            Self::SourceChanged => Self::SourceChanged,
            Self::NoSize => Self::NoSize,
            Self::NotShown(path) => Self::NotShown(path.clone()),
            Self::Unreported(what) => Self::Unreported(what),
            Self::Unsettled => Self::Unsettled,
            Self::ChangedMeanwhile => Self::ChangedMeanwhile,
            Self::ServerChanged => Self::ServerChanged,
            Self::NotRemoved(cause) => Self::NotRemoved(Box::new(cause.again())),
        }
    }
}

impl fmt::Display for DownloadFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("there is no such file on the server"),
            Self::Unreported(what) => write!(f, "the server does not report {what}"),
            Self::SameFile(path) => {
                write!(f, "source and {} may be the same file", named_path(path))
            }
        }
    }
}

impl fmt::Display for MoveFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked(path) => {
                let path = named_path(path);
                write!(f, "{path}: another run is moving this file; try again later")
            }
            Self::NotRegular => f.write_str("only a regular file can be moved"),
            Self::BadJournal(path) => {
                write!(f, "{}: not a journal of this program; move it away", named_path(path))
            }
            Self::OtherSource => f.write_str(
                "another local file has this name now, so nothing was sent; run the command again",
            ),
            Self::SourceChanged => f.write_str("uploaded, but not removed: the local file changed"),
            Self::NoSize => f.write_str(
                "uploaded, but not removed: the server does not report the size of the file",
            ),
            Self::NotShown(path) => write!(
                f,
                "uploaded, but not removed: the server does not list {} as it was uploaded",
                Escaped(path)
            ),
            Self::Unreported(what) => {
                write!(f, "not moved: the server does not report the {what} of the file")
            }
            Self::Unsettled => f.write_str(
                "the file on the server keeps changing, so it was not downloaded; try again later",
            ),
            Self::ChangedMeanwhile => f.write_str(
                "the file on the server changed during the download, so it was not moved",
            ),
            Self::ServerChanged => {
                f.write_str("downloaded, but not removed: the file on the server changed")
            }
            Self::NotRemoved(cause) => write!(f, "downloaded, but not removed: {cause}"),
        }
    }
}

impl std::error::Error for DownloadFault {}
impl std::error::Error for MoveFault {}
