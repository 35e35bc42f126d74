//! One local file and its transfer: whole or not there, gone on with where it was cut, and tried
//! again where that makes sense.

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
pub(crate) mod resume;
pub(crate) mod retry;
#[cfg(unix)]
pub(crate) mod upload;

use crate::transfer::Report;

/// How [`Client::download_to`](crate::Client::download_to) and
/// [`Client::upload_from`](crate::Client::upload_from) move a file. By default they move all of it,
/// replace what has its name, and leave its time alone.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[must_use]
pub struct FileOptions {
    pub(crate) resume: bool,
    pub(crate) keep_existing: bool,
    pub(crate) preserve: bool,
    pub(crate) hash: bool,
}

impl FileOptions {
    /// The default ones.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the transfer goes on after what an earlier one moved.
    pub const fn resume(mut self, on: bool) -> Self {
        self.resume = on;
        self
    }

    /// Whether a download leaves a file alone that has the name by the time it is whole. It then
    /// ends with [`Error::Local`](crate::Error::Local), `AlreadyExists`.
    pub const fn keep_existing(mut self, on: bool) -> Self {
        self.keep_existing = on;
        self
    }

    /// Whether the server has to compute a digest of the file, which is compared with that of the
    /// local one.
    pub const fn hash(mut self, on: bool) -> Self {
        self.hash = on;
        self
    }

    /// Whether the file gets the modification time of the one that it was made of, as far as the
    /// server tells or takes it.
    pub const fn preserve(mut self, on: bool) -> Self {
        self.preserve = on;
        self
    }
}

/// How a file was found to be whole, beyond the server's word that the transfer is complete.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Verified {
    /// The server tells nothing more.
    No,
    /// The server tells its size.
    Size,
    /// The server computed the same digest.
    Hash,
}

/// A file that was moved.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FileReport {
    /// How many tries it took: 1 without a [`Retry`](crate::Retry).
    pub tries: u32,
    /// How many of its bytes were there from before.
    pub resumed: u64,
    /// How many bytes it has.
    pub size: u64,
    /// The transfer; `None` if nothing was missing.
    pub report: Option<Report>,
    /// How it was found to be whole.
    pub verified: Verified,
}
