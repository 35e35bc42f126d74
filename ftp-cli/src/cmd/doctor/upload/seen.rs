//! What was seen of uploads.

use ftp_proto::Reply;

/// What became of one step.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Done,
    /// The server refused it.
    Refused(Reply),
    /// It was done, and what is there now is not what should be.
    Changed(String),
    /// Data stood still, or the end of it was never confirmed.
    Stalled(String),
    /// There was no data connection, which says nothing of files.
    NoData(String),
    Failed(String),
    /// Not tried, since one before it failed.
    NotTried,
}

/// What was seen.
#[derive(Debug)]
pub(crate) struct UploadSeen {
    pub(crate) directory: String,
    /// Whether there is no such directory, as far as the server tells.
    pub(crate) is_missing: bool,
    /// A small file, tried only where a large one stalled.
    pub(crate) small: Step,
    pub(crate) put: Step,
    /// Whether what was stored came back; `NotTried` and `Refused` are no fault of the upload.
    pub(crate) back: Step,
    pub(crate) append: Step,
    pub(crate) resume: Step,
    pub(crate) rename: Step,
    pub(crate) delete: Step,
    /// By how many seconds the server's clock is ahead, and how exactly that is known.
    pub(crate) clock: Option<(i64, i64)>,
    /// What is still there.
    pub(crate) left: Vec<String>,
}

impl UploadSeen {
    /// Before anything was tried.
    pub(crate) fn nothing(directory: String) -> Self {
        Self {
            directory,
            is_missing: false,
            small: Step::NotTried,
            put: Step::NotTried,
            back: Step::NotTried,
            append: Step::NotTried,
            resume: Step::NotTried,
            rename: Step::NotTried,
            delete: Step::NotTried,
            clock: None,
            left: Vec::new(),
        }
    }
}
