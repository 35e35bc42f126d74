//! Decides whether a listed directory may be a symbolic link to a directory.
//!
//! Some servers follow links in all listings. What looks like a directory may be a link, and
//! removing its content would remove objects elsewhere. `LIST` may show links where `MLSD` does
//! not. If both follow links, the link count of a directory shows how many real subdirectories it
//! has: a directory has two links, and one more per subdirectory.

use crate::client::Client;
use crate::error::Error;
use crate::listing::{Budget, ListOptions, Listing, ListingForm};

/// Lower-case words in replies that refuse an object because it is not a directory, or a directory
/// because it is not empty. They come from the servers' operating systems.
pub(crate) const NO_DIRECTORY: &[&[u8]] = &[b"not a directory", b"enotdir"];
pub(crate) const NOT_EMPTY: &[&[u8]] = &[b"not empty", b"notempty", b"isn't empty"];

/// Returns whether the reply that caused `error` contains one of `words`.
pub(crate) fn says(error: &Error, words: &[&[u8]]) -> bool {
    let Some(reply) = error.reply() else { return false };
    let text = reply.text().to_ascii_lowercase();
    words.iter().any(|words| text.windows(words.len()).any(|window| window == *words))
}

/// Evidence on whether a listed directory is real or a link.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Proof {
    /// The link count allows all listed directories to be real, or the user says that this is a
    /// directory.
    Directory,
    /// More directories are listed than can exist.
    TooMany,
    /// No evidence.
    None,
}

impl Proof {
    /// Judges by the number of listed subdirectories and the link count. A count of one means that
    /// the file system does not count links.
    pub(crate) fn by_count(directories: usize, links: Option<u64>) -> Self {
        match links.and_then(|links| links.checked_sub(2)) {
            Some(most) if directories as u64 <= most => Self::Directory,
            Some(_) => Self::TooMany,
            None => Self::None,
        }
    }

    /// Adds the user's claim that this is a directory; the link count can still contradict that.
    pub(crate) const fn or_named(self) -> Self {
        match self {
            Self::TooMany => Self::TooMany,
            Self::Directory | Self::None => Self::Directory,
        }
    }
}

/// Returns the `LIST` listing of a directory within limits, if the server sends one.
///
/// # Errors
///
/// Returns errors of the connection, 4xx and 530 replies, and an incomplete listing.
pub(crate) fn by_list(
    client: &mut Client,
    directory: &[u8],
    limits: Budget,
) -> Result<Option<Listing>, Error> {
    match list(client, directory, ListingForm::List, limits)? {
        Err(error @ Error::ListingCut(_)) => Err(error),
        listed => Ok(listed.ok()),
    }
}

/// Returns a complete listing within limits, including hidden names if the server lists them. The
/// inner error is a refusal, or an incomplete listing.
///
/// # Errors
///
/// Returns errors of the connection, and 4xx and 530 replies.
pub(crate) fn list(
    client: &mut Client,
    directory: &[u8],
    form: ListingForm,
    limits: Budget,
) -> Result<Result<Listing, Error>, Error> {
    let entries = client.list_directory(directory, ListOptions { all: true, form });
    match entries.and_then(|entries| entries.gather(limits)) {
        Err(error) if error.is_no() || matches!(error, Error::ListingCut(_)) => Ok(Err(error)),
        listed => listed.map(Ok),
    }
}
