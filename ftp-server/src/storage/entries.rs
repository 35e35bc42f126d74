//! The entries of a directory, in the order in which a storage finds them.

use std::fmt;
use std::time::Duration;

use super::remote::RemoteEntries;
use super::{Entry, StorageResult};

/// The entries of a directory. After an error there are no more items.
///
/// ```
/// use ftp_server::{Entries, Entry, Metadata, StorageError};
///
/// let entry = Entry::new("readme", Metadata::file(9));
/// let mut entries = Entries::new(std::iter::once(Ok(entry)));
/// assert_eq!(entries.next().expect("an entry")?.name, b"readme");
/// assert!(entries.next().is_none());
/// # Ok::<(), StorageError>(())
/// ```
pub struct Entries(Items);

enum Items {
    Here(Box<dyn Iterator<Item = StorageResult<Entry>> + Send>),
    Remote(Box<RemoteEntries>),
}

impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entries").finish_non_exhaustive()
    }
}

impl Entries {
    /// Wraps an iterator, whose calls may block.
    pub fn new(items: impl Iterator<Item = StorageResult<Entry>> + Send + 'static) -> Self {
        Self(Items::Here(Box::new(items)))
    }

    pub(super) fn remote(items: RemoteEntries) -> Self {
        Self(Items::Remote(Box::new(items)))
    }

    /// Waits at most `limit` for the next item, and returns whether it is available without a wait.
    pub(crate) fn is_ready(&mut self, limit: Duration) -> bool {
        match &mut self.0 {
            Items::Here(_) => true,
            Items::Remote(items) => items.is_ready(limit),
        }
    }
}

impl Iterator for Entries {
    type Item = StorageResult<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Items::Here(items) => items.next(),
            Items::Remote(items) => items.next(),
        }
    }
}
