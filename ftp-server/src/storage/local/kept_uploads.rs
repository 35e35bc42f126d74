//! The shelf: all kept partial uploads below a root, with owner, place and age.
//!
//! The first walk of the sweeper adds the partial uploads that an earlier process left. Sessions
//! add the uploads that they keep after an interruption. Each upload is identified by device and
//! inode. An upload that another program has moved or removed stays on the shelf until its
//! eviction. An upload that is too old counts towards the bounds until the sweeper removes
//! it. Records without bytes are on the shelf too. Evictions make room: for newer uploads of the
//! same user, or on a full disk.

use std::sync::MutexGuard;

use super::name::{self, Owner};
use crate::lock::Lock;
use crate::storage::Metadata;

/// All kept partial uploads below one root.
#[derive(Debug, Default)]
pub(super) struct KeptUploads(Lock<Vec<KeptPart>>);

/// A kept partial upload.
#[derive(Clone, Debug)]
pub(super) struct KeptPart {
    /// The directory of the upload, relative to the root.
    pub(super) directory: Vec<u8>,
    /// Device and inode of that directory.
    pub(super) above: (u64, u64),
    /// The hidden name of the upload.
    pub(super) name: Vec<u8>,
    pub(super) file: Metadata,
}

impl KeptPart {
    pub(super) fn new(directory: Vec<u8>, above: (u64, u64), name: &[u8], file: Metadata) -> Self {
        Self { directory, above, name: name.to_vec(), file }
    }

    pub(super) fn owner(&self) -> Owner {
        name::owner(&self.name)
    }
}

impl KeptUploads {
    fn parts(&self) -> MutexGuard<'_, Vec<KeptPart>> {
        self.0.lock()
    }

    /// Adds a partial upload, or updates its length.
    pub(super) fn put(&self, part: KeptPart) {
        let mut parts = self.parts();
        let identity = part.file.identity;
        parts.retain(|old| old.file.identity != identity);
        parts.push(part);
    }

    /// Records that a partial upload has lost its bytes.
    pub(super) fn emptied(&self, identity: (u64, u64)) {
        for part in self.parts().iter_mut().filter(|part| part.file.identity == identity) {
            part.file.size = 0;
        }
    }

    /// Forgets a partial upload that was removed or published.
    pub(super) fn take(&self, identity: (u64, u64)) {
        self.parts().retain(|part| part.file.identity != identity);
    }

    /// Updates the paths of partial uploads in and below a directory that was moved. `paths` returns
    /// its old and new path, without symbolic links.
    pub(super) fn moved(&self, paths: impl FnOnce() -> (Vec<u8>, Vec<u8>)) {
        let mut parts = self.parts();
        if parts.is_empty() {
            return;
        }
        let (from, to) = paths();
        for part in parts.iter_mut() {
            if let Some(rest) = part.directory.strip_prefix(&*from)
                && (rest.is_empty() || rest.starts_with(b"/"))
            {
                part.directory = [&to, rest].concat();
            }
        }
    }

    /// Returns the partial uploads of all users to the file `name` in a directory.
    pub(super) fn of_target(&self, directory: (u64, u64), name: &[u8]) -> Vec<KeptPart> {
        let parts = self.parts();
        let is_there =
            |part: &&KeptPart| part.above == directory && name::is_of_target(&part.name, name);
        parts.iter().filter(is_there).cloned().collect()
    }

    /// Returns the partial uploads of `owner`, or of all users if `None`, the oldest first.
    pub(super) fn by_age(&self, owner: Option<Owner>) -> Vec<KeptPart> {
        let mut parts = self.parts().clone();
        parts.retain(|part| owner.is_none_or(|owner| owner == part.owner()));
        parts.sort_unstable_by_key(|part| part.file.modified);
        parts
    }
}
