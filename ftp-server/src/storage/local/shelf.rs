//! What is kept of cut uploads below a root: whose it is, where, and how old.
//!
//! What an earlier process left comes here by the first walk of the sweeper, the rest when it is
//! kept. A part is known by its device and inode. One that others have moved or removed is not found
//! any more, and forgotten where it should make way. One whose day is over counts, and makes way, as
//! long as nobody has swept it away.

use std::sync::{Mutex, MutexGuard};

use super::name::{self, Owner};
use crate::lock::unpoisoned;
use crate::storage::Metadata;

/// All that is kept below one root.
#[derive(Debug, Default)]
pub(super) struct Shelf(Mutex<Vec<Part>>);

/// What came of one cut upload.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// The directory it is in, relative to the root.
    pub(super) directory: Vec<u8>,
    /// Its hidden name.
    pub(super) name: Vec<u8>,
    pub(super) file: Metadata,
}

impl Part {
    pub(super) fn new(directory: &[u8], name: &[u8], file: Metadata) -> Self {
        Self { directory: directory.to_vec(), name: name.to_vec(), file }
    }

    pub(super) fn owner(&self) -> Owner {
        name::owner(&self.name)
    }
}

impl Shelf {
    fn parts(&self) -> MutexGuard<'_, Vec<Part>> {
        unpoisoned(self.0.lock())
    }

    /// Adds a part, or says of one that is there how long it is now.
    pub(super) fn put(&self, part: Part) {
        let mut parts = self.parts();
        let identity = part.file.identity;
        parts.retain(|old| old.file.identity != identity);
        parts.push(part);
    }

    /// A part is removed, or has become a file.
    pub(super) fn take(&self, identity: (u64, u64)) {
        self.parts().retain(|part| part.file.identity != identity);
    }

    /// A directory has another path now, and what is in it.
    pub(super) fn moved(&self, from: &[u8], to: &[u8]) {
        for part in self.parts().iter_mut() {
            if let Some(rest) = part.directory.strip_prefix(from)
                && (rest.is_empty() || rest.starts_with(b"/"))
            {
                part.directory = [to, rest].concat();
            }
        }
    }

    /// The parts of one user, or of all, the oldest first.
    pub(super) fn by_age(&self, owner: Option<Owner>) -> Vec<Part> {
        let mut parts = self.parts().clone();
        parts.retain(|part| owner.is_none_or(|owner| owner == part.owner()));
        parts.sort_by_key(|part| part.file.modified);
        parts
    }
}
