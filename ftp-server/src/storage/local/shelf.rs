//! What is kept of cut uploads below a root: whose it is, where, and which goes first.
//!
//! What an earlier process left comes here by the first walk of the sweeper, the rest when it is
//! kept. A part is known by its device and inode. One that others have moved or removed is not found
//! any more, and forgotten where it should make way. One whose day is over counts, and makes way, as
//! long as nobody has swept it away.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use std::os::fd::AsFd;

use rustix::io::Errno;

use super::directory::Directory;
use super::hidden;
use super::name::{self, Owner};
use super::policy::Bounds;
use super::root::Root;
use crate::storage::Metadata;

/// All that is kept below one root.
#[derive(Debug, Default)]
pub(super) struct Shelf(Mutex<Vec<Part>>);

/// What came of one cut upload.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// The directory it is in, relative to the root.
    directory: Vec<u8>,
    /// Its hidden name.
    name: Vec<u8>,
    file: Metadata,
}

impl Part {
    pub(super) fn new(directory: &[u8], name: &[u8], file: Metadata) -> Self {
        Self { directory: directory.to_vec(), name: name.to_vec(), file }
    }

    fn owner(&self) -> Owner {
        name::owner(&self.name)
    }

    /// Removes it. False if a session resumes it just now, or if the system fails. What others have
    /// removed or moved is gone from here as well.
    fn remove(&self, root: &Arc<Root>) -> bool {
        let is_gone = match Directory::open(root, &self.directory) {
            Ok(directory) => hidden::remove(root.usage(), directory.as_fd(), &self.name),
            Err(errno) => Ok(matches!(errno, Errno::NOENT | Errno::NOTDIR)),
        };
        let is_gone = is_gone.unwrap_or(false);
        if is_gone {
            // By then it may have another number: some file systems give them as they like.
            root.usage().shelf().take(self.file.identity);
        }
        is_gone
    }
}

impl Shelf {
    fn parts(&self) -> MutexGuard<'_, Vec<Part>> {
        // Nothing that panics is done while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn by_age(&self, owner: Option<Owner>) -> Vec<Part> {
        let mut parts = self.parts().clone();
        parts.retain(|part| owner.is_none_or(|owner| owner == part.owner()));
        parts.sort_by_key(|part| part.file.modified);
        parts
    }
}

/// Makes way for `new`, which its user is to have besides what is kept for that user already: the
/// oldest parts go first. False if there is no way, since the others are just being resumed.
pub(super) fn make_way(root: &Arc<Root>, new: &Part, bounds: Bounds) -> bool {
    let size = new.file.size;
    let mut parts = root.usage().shelf().by_age(Some(new.owner()));
    parts.retain(|part| part.file.identity != new.file.identity);
    let mut bytes: u64 = parts.iter().map(|part| part.file.size).sum();
    let mut files = parts.len();
    let mut oldest = parts.iter();
    while !bounds.allow(files + 1, size.saturating_add(bytes)) {
        let Some(part) = oldest.next() else { return false };
        if part.remove(root) {
            files -= 1;
            bytes = bytes.saturating_sub(part.file.size);
        }
    }
    true
}

/// Removes parts of any user, the oldest first, until it is enough, or there are no more. Returns how
/// many are gone.
pub(super) fn give_up(root: &Arc<Root>, is_enough: impl Fn() -> bool) -> usize {
    let mut gone = 0;
    for part in root.usage().shelf().by_age(None) {
        if gone > 0 && is_enough() {
            break;
        }
        gone += usize::from(part.remove(root));
    }
    if gone > 0 {
        log::info!("{gone} cut uploads given up for want of room");
    }
    gone
}
