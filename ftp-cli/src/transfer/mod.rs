//! The move of one file between a server and here: `download.rs` and `upload.rs` do it, the others
//! are what both need.

pub(crate) mod context;
pub(crate) mod download;
pub(crate) mod local_file;
pub(crate) mod options;
pub(crate) mod target;
pub(crate) mod upload;
pub(crate) mod verify;
