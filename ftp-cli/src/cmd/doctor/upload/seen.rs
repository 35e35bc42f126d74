//! Observations about uploads.

use ftp_proto::Reply;

/// Outcome of one step.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Done,
    /// The server refused the step.
    Refused(Reply),
    /// The step succeeded, but the content is wrong.
    Changed(String),
    /// The transfer stalled, or its end was never confirmed.
    Stalled(String),
    /// There was no data connection, so nothing is known about the step.
    NoData(String),
    Failed(String),
    /// Not tried, because an earlier step failed.
    NotTried,
}

/// All observations about a test upload.
#[derive(Debug)]
pub(crate) struct UploadSeen {
    pub(crate) directory: String,
    /// Whether the server reports that the directory is missing.
    pub(crate) is_missing: bool,
    /// Storing a small file, tried only if a large one stalled.
    pub(crate) small: Step,
    pub(crate) put: Step,
    /// Reading the file back; only `Changed` and `Stalled` count against the upload.
    pub(crate) back: Step,
    pub(crate) append: Step,
    pub(crate) resume: Step,
    pub(crate) rename: Step,
    pub(crate) delete: Step,
    /// Seconds by which the server's clock is ahead, and the uncertainty.
    pub(crate) clock: Option<(i64, i64)>,
    /// Files that remain.
    pub(crate) left: Vec<String>,
}

impl UploadSeen {
    /// Returns the observations before the first step.
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
