//! `DownloadFault` and `MoveFault`: what only the download of a whole file can meet, and what only a
//! move can, which is a transfer that removes its source.

use std::path::PathBuf;

use ftp_proto::Escaped;

use super::{Error, ErrorKind, named_path};
use crate::pool::patience::Recovery;

/// Why the download of a whole file failed, beyond the failures of its commands. `Display` explains
/// it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DownloadFault {
    /// The server has no such file.
    #[error("there is no such file on the server")]
    Missing,
    /// The server does not report these facts, which the options need: `sizes` or
    /// `modification times`.
    #[error("the server does not report {0}")]
    Unreported(&'static str),
    /// The server's file may be this local file, which the download would empty or remove.
    #[error("source and {} may be the same file", named_path(.0))]
    SameFile(PathBuf),
}

/// Why a move failed, beyond the failures of its transfer. `Display` explains it.
///
/// The source still exists, except if the error of a removal is not a reply of the server.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MoveFault {
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
    /// The server does not report this fact, which shows that its file has not changed: `size` or
    /// `modification time`.
    #[error("not moved: the server does not report the {0} of the file")]
    Unreported(&'static str),
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
}
