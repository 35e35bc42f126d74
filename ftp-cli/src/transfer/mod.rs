//! Transfers one file: `download.rs` and `upload.rs` do the work, and call the other modules.

pub(crate) mod download;
pub(crate) mod options;
pub(crate) mod target;
pub(crate) mod upload;

pub(crate) use options::{Attempt, Context, RemoteFile, TransferOptions, Verify};
pub(crate) use target::Target;
pub(crate) use upload::UploadObserver;
