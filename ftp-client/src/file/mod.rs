//! Transfers of one local file, with resume, checks and retries.

#[cfg(unix)]
pub(crate) mod begin;
#[cfg(unix)]
pub(crate) mod checksum;
#[cfg(unix)]
mod download;
pub(crate) mod evidence;
#[cfg(unix)]
pub(crate) mod get;
#[cfg(unix)]
pub(crate) mod growing;
#[cfg(unix)]
pub(crate) mod journal;
#[cfg(unix)]
pub(crate) mod local;
#[cfg(unix)]
mod moving;
pub(crate) mod options;
#[cfg(unix)]
pub(crate) mod origin;
#[cfg(unix)]
mod part;
#[cfg(unix)]
pub(crate) mod partial;
#[cfg(unix)]
pub(crate) mod pieces;
#[cfg(unix)]
pub(crate) mod put;
#[cfg(unix)]
mod receive;
#[cfg(unix)]
pub(crate) mod record;
#[cfg(unix)]
pub(crate) mod relay;
pub(crate) mod retry;
#[cfg(unix)]
pub(crate) mod segments;
#[cfg(unix)]
pub(crate) mod selection;
#[cfg(unix)]
mod small;
#[cfg(unix)]
mod take;
#[cfg(unix)]
pub(crate) mod targets;
#[cfg(unix)]
pub(crate) mod upload;
#[cfg(unix)]
pub(crate) mod verify;

use std::time::Duration;

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

/// The result of a job that transfers one file.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Done {
    /// The number of attempts; 1 without a [`Retry`](crate::Retry).
    pub attempts: u32,
    /// The size of the file in bytes; 0 if the servers of a [`Relay`](crate::Relay) do not report
    /// it.
    pub size: u64,
    /// The number of bytes that an earlier attempt or run had already transferred.
    pub resumed: u64,
    /// The number of bytes that this job transferred, without the resumed ones.
    pub bytes: u64,
    /// The time that the transfer of these bytes took.
    pub duration: Duration,
    /// How the file was verified.
    pub verified: Verified,
    /// The reason why nothing was transferred, if the options excluded the file.
    pub skipped: Option<&'static str>,
    /// The name that the server chose, if it chose one.
    pub name: Option<Vec<u8>>,
}

impl Done {
    /// Returns the result of a transfer of `bytes` bytes after `resumed` earlier ones.
    pub(crate) const fn moved(bytes: u64, resumed: u64, duration: Duration) -> Self {
        let verified = Verified::No;
        let size = resumed.saturating_add(bytes);
        Self { attempts: 1, size, resumed, bytes, duration, verified, skipped: None, name: None }
    }

    /// Returns the result for a file that the options exclude for this reason.
    #[must_use]
    pub fn skipped(why: &'static str) -> Self {
        Self { skipped: Some(why), ..Self::moved(0, 0, Duration::ZERO) }
    }
}

impl Verified {
    /// Returns the word for this: `none`, `size` or `hash`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::No => "none",
            Self::Size => "size",
            Self::Hash => "hash",
        }
    }
}
