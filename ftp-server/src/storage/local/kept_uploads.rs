//! The shelf: all records of unfinished uploads below a root, with owner, place, age and kept bytes.
//!
//! The first walk of the sweeper adds the records that an earlier process left. Sessions add those
//! of the uploads that they cut. A record that another program has moved or removed stays on the
//! shelf until a walk, or until its bytes are to make room: for newer ones of the same user, for a
//! visible file under a quota, or on a full disk.

use std::sync::MutexGuard;

use super::name::{self, Owner};
use crate::lock::Lock;

/// All records below one root.
#[derive(Debug, Default)]
pub(super) struct KeptUploads(Lock<Vec<KeptPart>>);

/// A record, and the bytes that are kept with it.
#[derive(Clone, Debug)]
pub(super) struct KeptPart {
    /// The directory of the record, relative to the root.
    pub(super) directory: Vec<u8>,
    /// Device and inode of that directory.
    pub(super) above: (u64, u64),
    /// The hidden name of the record.
    pub(super) record: Vec<u8>,
    /// The hidden name of the kept bytes.
    pub(super) bytes: Vec<u8>,
    /// Number of kept bytes; 0 if there are none.
    pub(super) size: u64,
    /// The time until which the bytes are kept, in seconds since 1970.
    pub(super) until: i64,
}

impl KeptPart {
    pub(super) fn without_bytes(directory: Vec<u8>, above: (u64, u64), record: &[u8]) -> Self {
        Self { directory, above, record: record.to_vec(), bytes: Vec::new(), size: 0, until: 0 }
    }

    pub(super) fn owner(&self) -> Owner {
        name::owner(&self.record)
    }

    fn is(&self, above: (u64, u64), record: &[u8]) -> bool {
        self.above == above && self.record == record
    }
}

impl KeptUploads {
    fn parts(&self) -> MutexGuard<'_, Vec<KeptPart>> {
        self.0.lock()
    }

    /// Adds a record, or updates it.
    pub(super) fn put(&self, part: KeptPart) {
        let mut parts = self.parts();
        parts.retain(|old| !old.is(part.above, &part.record));
        parts.push(part);
    }

    /// Records that these bytes are gone. Returns how many there were, if any.
    pub(super) fn emptied(&self, bytes: &[u8]) -> Option<u64> {
        let mut parts = self.parts();
        let part = parts.iter_mut().find(|part| part.bytes == bytes && part.size > 0)?;
        Some(std::mem::take(&mut part.size))
    }

    /// Returns whether a record names these bytes.
    pub(super) fn has_bytes(&self, bytes: &[u8]) -> bool {
        self.parts().iter().any(|part| part.bytes == bytes && part.size > 0)
    }

    /// Forgets a record that is gone, or is that of a running upload.
    pub(super) fn take(&self, above: (u64, u64), record: &[u8]) {
        self.parts().retain(|part| !part.is(above, record));
    }

    /// Updates the paths of records in and below a directory that was moved. `paths` returns its old
    /// and new path, without symbolic links.
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

    /// Returns the records of all users for the file `name` in a directory.
    pub(super) fn of_target(&self, above: (u64, u64), name: &[u8]) -> Vec<Vec<u8>> {
        let parts = self.parts();
        let is_there =
            |part: &&KeptPart| part.above == above && name::is_of_target(&part.record, name);
        parts.iter().filter(is_there).map(|part| part.record.clone()).collect()
    }

    /// Returns the number of records of `owner`.
    pub(super) fn records_of(&self, owner: Owner) -> usize {
        self.parts().iter().filter(|part| part.owner() == owner).count()
    }

    /// Returns the records with bytes, the oldest first.
    pub(super) fn by_age(&self) -> Vec<KeptPart> {
        let mut parts = self.parts().clone();
        parts.retain(|part| part.size > 0);
        parts.sort_by_key(|part| part.until);
        parts
    }
}
