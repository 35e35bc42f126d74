//! Transfers one file: `download.rs` and `upload.rs` do the work, and call the other modules.

pub(crate) mod download;
pub(crate) mod options;
pub(crate) mod target;
pub(crate) mod upload;
