//! Whether what a server shows as a directory may be a link to one.
//!
//! Some servers follow links in all that they list, so that what is removed "in a directory" would
//! be removed through a link. `LIST` shows links where `MLSD` does not; and where both follow them,
//! the count of links of a directory tells how many directories can lie in it: a directory has two,
//! and one more for each directory in it.

use ftp_client::{Client, Error, ListLimits, ListOptions, Listing, ListingForm};

use super::object::is_no;

/// What servers say, in small letters, of what is no directory, and of one that is not empty: the
/// words of their systems.
pub(crate) const NO_DIRECTORY: &[&[u8]] = &[b"not a directory", b"enotdir"];
pub(crate) const NOT_EMPTY: &[&[u8]] = &[b"not empty", b"notempty", b"isn't empty"];

/// Whether a refusal holds one of these.
pub(crate) fn says(error: &Error, words: &[&[u8]]) -> bool {
    let Some(reply) = error.reply() else { return false };
    let text = reply.text().to_ascii_lowercase();
    words.iter().any(|words| text.windows(words.len()).any(|window| window == *words))
}

/// What is known, before the server says why it does not remove it, of whether a "directory" is
/// one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Proof {
    /// All that are listed with it can be directories, or the user says that it is one.
    Directory,
    /// More are listed than there can be.
    TooMany,
    /// Nothing.
    None,
}

impl Proof {
    /// By how many directories are listed in one, and its count of links. One link is what file
    /// systems say that do not count.
    pub(crate) fn by_count(directories: usize, links: Option<u64>) -> Self {
        match links.and_then(|links| links.checked_sub(2)) {
            Some(most) if directories as u64 <= most => Self::Directory,
            Some(_) => Self::TooMany,
            None => Self::None,
        }
    }

    /// With the user's word that it is a directory, against which a count still stands.
    pub(crate) const fn or_named(self) -> Self {
        match self {
            Self::TooMany => Self::TooMany,
            Self::Directory | Self::None => Self::Directory,
        }
    }
}

/// What `LIST` shows of a directory, if it shows it.
///
/// # Errors
///
/// Those of the connection, 4yz, and a listing that is not proved whole.
pub(crate) fn by_list(client: &mut Client, directory: &[u8]) -> Result<Option<Listing>, Error> {
    match list(client, directory, ListingForm::List)? {
        Err(error @ Error::ListingCut(_)) => Err(error),
        listed => Ok(listed.ok()),
    }
}

/// A whole listing, hidden names too where the server lists them. The inner error is a refusal, or
/// that the listing is not proved whole.
///
/// # Errors
///
/// Those of the connection, and 4yz.
pub(crate) fn list(
    client: &mut Client,
    directory: &[u8],
    form: ListingForm,
) -> Result<Result<Listing, Error>, Error> {
    let entries = client.list_directory(directory, ListOptions { all: true, form });
    match entries.and_then(|entries| entries.gather(ListLimits::default())) {
        Err(error) if is_no(&error) || matches!(error, Error::ListingCut(_)) => Ok(Err(error)),
        listed => listed.map(Ok),
    }
}
