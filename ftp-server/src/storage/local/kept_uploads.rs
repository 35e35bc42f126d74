//! The shelf: all records of unfinished uploads below a root, with owner, place, age and kept bytes.
//!
//! The first walk of the sweeper adds the records that an earlier process left. Sessions add those
//! of the uploads that they cut. A record whose directory was moved, or that was removed, stays on the
//! shelf until a walk, or until its bytes are to make room: for newer ones of the same user, for a
//! visible file under a quota, or on a full disk.

use std::time::Instant;

use super::name::{self, Owner};
use crate::lock::Lock;

/// All records below one root.
#[derive(Debug, Default)]
pub(super) struct KeptUploads(Lock<Vec<KeptPart>>);

#[derive(Clone, Debug)]
pub(super) struct KeptPart {
    /// The directory of the record when it was put here, relative to the root.
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
    until: i64,
    /// Whether the upload was to replace a file.
    is_over: bool,
    /// The time at which it was put here.
    put: Instant,
}

impl KeptPart {
    /// Returns a record without bytes.
    pub(super) fn new(directory: Vec<u8>, above: (u64, u64), record: &[u8], is_over: bool) -> Self {
        let (record, bytes, put) = (record.to_vec(), Vec::new(), Instant::now());
        Self { directory, above, record, bytes, size: 0, until: 0, is_over, put }
    }

    pub(super) fn with_bytes(self, bytes: &[u8], size: u64, until: i64) -> Self {
        Self { bytes: bytes.to_vec(), size, until, ..self }
    }

    pub(super) fn owner(&self) -> Owner {
        name::owner(&self.record)
    }

    fn is(&self, above: (u64, u64), record: &[u8]) -> bool {
        self.above == above && self.record == record
    }
}

impl KeptUploads {
    /// Adds a record, or updates it.
    pub(super) fn put(&self, part: KeptPart) {
        let mut parts = self.0.lock();
        parts.retain(|old| !old.is(part.above, &part.record));
        parts.push(part);
    }

    /// Records that these bytes are gone. Returns how many there were, if any.
    pub(super) fn emptied(&self, bytes: &[u8]) -> Option<u64> {
        let mut parts = self.0.lock();
        let part = parts.iter_mut().find(|part| part.bytes == bytes && part.size > 0)?;
        Some(std::mem::take(&mut part.size))
    }

    /// Returns whether a record names these bytes.
    pub(super) fn has_bytes(&self, bytes: &[u8]) -> bool {
        self.0.lock().iter().any(|part| part.bytes == bytes && part.size > 0)
    }

    /// Forgets a record that is gone, or is that of a running upload.
    pub(super) fn take(&self, above: (u64, u64), record: &[u8]) {
        self.0.lock().retain(|part| !part.is(above, record));
    }

    /// Returns the records of all users for the file `name` in a directory that were put here by
    /// `until`.
    pub(super) fn of_target(&self, above: (u64, u64), name: &[u8], until: Instant) -> Vec<Vec<u8>> {
        let parts = self.0.lock();
        let is_there = |part: &&KeptPart| {
            part.above == above && part.put <= until && name::is_of_target(&part.record, name)
        };
        parts.iter().filter(is_there).map(|part| part.record.clone()).collect()
    }

    /// Returns the number of records of `owner`, of uploads over an existing file or of others.
    pub(super) fn records_of(&self, owner: Owner, is_over: bool) -> usize {
        let is_it = |part: &&KeptPart| part.is_over == is_over && part.owner() == owner;
        self.0.lock().iter().filter(is_it).count()
    }

    /// Forgets what a walk through the whole tree that began at `start` has not seen.
    pub(super) fn forget_unseen(&self, start: Instant) {
        self.0.lock().retain(|part| part.put >= start);
    }

    /// Forgets all records in a directory that is gone.
    pub(super) fn forget_in(&self, above: (u64, u64)) {
        self.0.lock().retain(|part| part.above != above);
    }

    /// Returns the records with bytes, the oldest first.
    pub(super) fn by_age(&self) -> Vec<KeptPart> {
        let mut parts = self.0.lock().clone();
        parts.retain(|part| part.size > 0);
        parts.sort_by_key(|part| part.until);
        parts
    }
}
