//! Transfers of one local file, with resume, checks and retries.

pub(crate) mod backoff;
#[cfg(unix)]
pub(crate) mod checksum;
#[cfg(unix)]
mod download;
#[cfg(unix)]
mod growing;
#[cfg(unix)]
pub(crate) mod local;
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

/// Options of [`Client::download_to`](crate::Client::download_to) and
/// [`Client::upload_from`](crate::Client::upload_from).
///
/// By default, the whole file is transferred, an existing file is replaced, and the modification
/// time is not set.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[must_use]
pub struct FileOptions {
    pub(crate) resume: bool,
    pub(crate) keep_existing: bool,
    pub(crate) preserve: bool,
    pub(crate) hash: bool,
}

impl FileOptions {
    /// Returns the default options.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whether to resume an earlier transfer (default: no).
    pub const fn resume(mut self, on: bool) -> Self {
        self.resume = on;
        self
    }

    /// Sets whether a download keeps an existing local file instead of replacing it (default: no).
    ///
    /// If the local file already exists when the download completes, the call fails with
    /// [`Error::Local`](crate::Error::Local) of kind `AlreadyExists`. With
    /// [`resume`](Self::resume), only `NAME.part` is resumed; the existing file is never extended.
    pub const fn keep_existing(mut self, on: bool) -> Self {
        self.keep_existing = on;
        self
    }

    /// Sets whether the server must compute a digest of the file, for comparison with the local
    /// digest (default: no).
    pub const fn hash(mut self, on: bool) -> Self {
        self.hash = on;
        self
    }

    /// Sets whether the new file gets the modification time of the original (default: no).
    ///
    /// If the server does not report the time, a download succeeds without it. If the server
    /// refuses to set the time, an upload fails with [`Error::Refused`](crate::Error::Refused).
    pub const fn preserve(mut self, on: bool) -> Self {
        self.preserve = on;
        self
    }
}

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
