//! Transfers of one local file, with resume, checks and retries.

pub(crate) mod backoff;
#[cfg(unix)]
pub(crate) mod checksum;
#[cfg(unix)]
mod download;
pub(crate) mod evidence;
#[cfg(unix)]
mod growing;
#[cfg(unix)]
pub(crate) mod local;
pub(crate) mod options;
#[cfg(unix)]
pub(crate) mod origin;
#[cfg(unix)]
pub(crate) mod partial;
#[cfg(unix)]
pub(crate) mod pieces;
#[cfg(unix)]
pub(crate) mod provenance;
#[cfg(unix)]
pub(crate) mod resume;
pub(crate) mod retry;
#[cfg(unix)]
pub(crate) mod upload;

use crate::transfer::Report;

/// How a file was verified, in addition to the server's confirmation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Verified {
    /// Not verified: the server provides nothing to compare.
    No,
    /// The server reports the same size.
    Size,
    /// The server computed the same digest.
    Hash,
}

/// A completed file transfer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FileReport {
    /// The number of attempts; 1 without a [`Retry`](crate::Retry).
    pub attempts: u32,
    /// The number of bytes that an earlier transfer had already transferred.
    pub resumed: u64,
    /// The size of the file in bytes.
    pub size: u64,
    /// The transfer; `None` if nothing was missing.
    pub report: Option<Report>,
    /// How the file was verified.
    pub verified: Verified,
}
