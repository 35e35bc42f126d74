//! The cost of files and directories below a root, for quotas.
//!
//! All storages of a root in this process share one count. A walk makes it when a user with a quota
//! first needs it, and each change updates it. The bytes of running uploads count separately from
//! the start, so that many uploads together stay below the limit.
//!
//! Only calls that need the count wait for a walk, and not for long; other sessions can add, move
//! and remove files during it. Changes that the walk may have missed are added, and those it may
//! have seen twice are not subtracted: the count may be too high then, but never too low.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};
use std::time::{Duration, Instant};

use super::shelf::Shelf;
use crate::lock::unpoisoned;
use crate::storage::{EntryKind, Metadata, StorageError, StorageErrorKind};

/// Maximum age of a count by which an upload is accepted.
const OLD: Duration = Duration::from_secs(24 * 60 * 60);

/// Maximum age of a count by which an upload is refused.
const OLD_FOR_REFUSAL: Duration = Duration::from_secs(10 * 60);

/// Cost of a directory or an empty file, in bytes: about the space it takes on a disk.
pub(super) const COST_OF_OBJECT: u64 = 4 * 1024;

/// Returns the cost of a regular file of this length, in bytes.
pub(super) const fn cost_of_file(size: u64) -> u64 {
    if size == 0 { COST_OF_OBJECT } else { size }
}

/// Number of walks to try while directories are being moved.
const WALKS: u32 = 3;

/// The counts in use, by device and inode of the root.
static USAGES: Mutex<Vec<(Identity, Weak<Usage>)>> = Mutex::new(Vec::new());

/// Device and inode.
type Identity = (u64, u64);

/// The objects below a root.
#[derive(Debug, Default)]
pub(super) struct Usage {
    /// Held while names change: shared by many sessions without a count, otherwise exclusive, so
    /// that the size of a removed file is certain. A walk holds it at its beginning and end, so
    /// that every change happens before, during or after it. Locked before `state`.
    names: RwLock<()>,
    state: Mutex<UsageState>,
    /// Signals the end of a count.
    counted: Condvar,
    /// The kept partial uploads.
    shelf: Shelf,
    /// Files with a running append, each with its old length.
    growing: Mutex<Vec<(Identity, u64)>>,
}

#[derive(Debug, Default)]
struct UsageState {
    count: Option<Count>,
    /// Number of counts so far.
    counts: u64,
    /// A thread is counting, or about to.
    is_counting: bool,
    /// The changes since the running walk began.
    meanwhile: Option<Meanwhile>,
    /// Bytes of running uploads.
    running: u64,
    /// Number of running uploads.
    uploads: usize,
}

/// Result of a walk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// Its cost in bytes.
    pub(super) bytes: u64,
    /// Whether everything could be read.
    pub(super) is_whole: bool,
}

#[derive(Debug)]
struct Count {
    /// Cost of all objects with a name, including kept partial uploads.
    bytes: u64,
    made: Instant,
    /// The cost may be too high.
    is_doubtful: bool,
}

/// Changes that a running walk may have missed.
#[derive(Debug, Default)]
struct Meanwhile {
    /// Bytes of new or moved files.
    bytes: u64,
    /// A directory with unknown content was moved.
    is_unknown: bool,
}

impl UsageState {
    fn total(&self) -> u64 {
        self.count.as_ref().map_or(0, |count| count.bytes).saturating_add(self.running)
    }

    fn left(&self, limit: u64) -> u64 {
        limit.saturating_sub(self.total())
    }

    fn add(&mut self, bytes: u64) {
        if let Some(count) = &mut self.count {
            count.bytes = count.bytes.saturating_add(bytes);
        }
        self.may_be_missed(bytes);
    }

    /// Marks the count as possibly too high: it is made again when no upload runs. Until then it
    /// stays, or running uploads could exceed the limit.
    fn doubt(&mut self) {
        if let Some(count) = &mut self.count {
            count.is_doubtful = true;
        }
    }

    fn may_be_missed(&mut self, bytes: u64) {
        if let Some(meanwhile) = &mut self.meanwhile {
            meanwhile.bytes = meanwhile.bytes.saturating_add(bytes);
        }
    }

    fn subtract(&mut self, bytes: u64) {
        if let Some(count) = &mut self.count {
            count.bytes = count.bytes.saturating_sub(bytes);
        }
    }
}

impl Usage {
    /// Returns the count of this root.
    pub(super) fn of(identity: Identity) -> Arc<Self> {
        let mut usages = unpoisoned(USAGES.lock());
        let known = usages.iter().find(|(known, _)| *known == identity);
        if let Some(usage) = known.and_then(|(_, usage)| usage.upgrade()) {
            return usage;
        }
        usages.retain(|(_, usage)| usage.strong_count() > 0);
        let usage = Arc::default();
        usages.push((identity, Arc::downgrade(&usage)));
        usage
    }

    fn state(&self) -> MutexGuard<'_, UsageState> {
        unpoisoned(self.state.lock())
    }

    /// Returns how many bytes of `limit` are left, or `None` if that is not known within `longest`.
    /// Without a count, or with an old one, `start_count` starts a thread that counts. If an old
    /// count leaves some bytes, it holds until there is a new one.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no thread for the count.
    pub(super) fn left_within(
        self: &Arc<Self>,
        limit: u64,
        longest: Duration,
        start_count: impl Fn(Counting) -> std::io::Result<()>,
    ) -> Result<Option<u64>, StorageError> {
        let start = Instant::now();
        let mut state = self.state();
        loop {
            let left = state.left(limit);
            let uploads = state.uploads;
            if state.count.as_ref().is_some_and(|count| !count.is_too_old(left, uploads)) {
                return Ok(Some(left));
            }
            if !state.is_counting {
                state.is_counting = true;
                drop(state);
                start_count(Counting(Arc::clone(self)))?;
                // The thread may have finished by now.
                state = self.state();
            }
            let left = state.left(limit);
            if left > 0 && state.count.is_some() {
                return Ok(Some(left));
            }
            let wait = longest.saturating_sub(start.elapsed());
            if wait.is_zero() {
                return Ok(None);
            }
            let is_counting = |state: &mut UsageState| state.is_counting;
            let waited = self.counted.wait_timeout_while(state, wait, is_counting);
            state = unpoisoned(waited).0;
        }
    }

    /// Takes the result of a walk, and walks again if it cannot have seen everything. Objects that
    /// it could not read may still exist, so the count does not fall then.
    pub(super) fn walk(&self, mut count: impl FnMut() -> Option<Seen>) {
        for _ in 0..WALKS {
            let alone = self.alone();
            self.state().meanwhile = Some(Meanwhile::default());
            drop(alone);
            let seen = count();
            let _alone = self.alone();
            let mut state = self.state();
            let meanwhile = state.meanwhile.take().unwrap_or_default();
            let Some(seen) = seen else { return };
            if !meanwhile.is_unknown {
                let former = state.count.as_ref().map_or(0, |count| count.bytes);
                let least = if seen.is_whole { 0 } else { former };
                let bytes = seen.bytes.saturating_add(meanwhile.bytes).max(least);
                // The walk may have seen the data of uploads that write in place since before.
                state.counts += 1;
                let made = Instant::now();
                let is_doubtful = false;
                state.count = Some(Count { bytes, made, is_doubtful });
                return;
            }
        }
    }

    fn alone(&self) -> RwLockWriteGuard<'_, ()> {
        unpoisoned(self.names.write())
    }

    /// Waits until no thread counts.
    #[cfg(test)]
    pub(super) fn settle(&self) {
        let waited = self.counted.wait_while(self.state(), |state| state.is_counting);
        drop(unpoisoned(waited));
    }

    /// Pretends that a thread counts, or has finished.
    #[cfg(test)]
    pub(super) fn seem_to_count(&self, counts: bool) {
        self.state().is_counting = counts;
        self.counted.notify_all();
    }

    /// Pretends that a walk runs or has ended, and returns what it may have missed so far: the
    /// bytes, and whether their number is unknown.
    #[cfg(test)]
    pub(super) fn seem_to_walk(&self, walks: bool) -> (u64, bool) {
        let new = walks.then(Meanwhile::default);
        let former = std::mem::replace(&mut self.state().meanwhile, new).unwrap_or_default();
        (former.bytes, former.is_unknown)
    }

    /// Makes the next check count again.
    #[cfg(test)]
    pub(super) fn forget(&self) {
        self.state().count = None;
    }

    /// Returns the kept partial uploads.
    pub(super) const fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    fn growing(&self) -> MutexGuard<'_, Vec<(Identity, u64)>> {
        unpoisoned(self.growing.lock())
    }

    /// Records an append to a file that may still return to this length.
    pub(super) fn grows(&self, file: Identity, length: u64) {
        self.growing().push((file, length));
    }

    /// Records that a file has its final length.
    pub(super) fn has_grown(&self, file: Identity) {
        self.growing().retain(|(growing, _)| *growing != file);
    }

    /// Returns metadata as clients see it: without the bytes of a running append, which may be
    /// removed again.
    pub(super) fn settled(&self, mut found: Metadata) -> Metadata {
        if found.kind == EntryKind::File {
            found.size = self.former(&found).unwrap_or(found.size);
        }
        found
    }

    /// Returns the old length of a file with a running append.
    pub(super) fn former(&self, found: &Metadata) -> Option<u64> {
        let growing = self.growing();
        let known = growing.iter().find(|(file, _)| *file == found.identity);
        known.map(|(_, length)| found.size.min(*length))
    }

    /// Returns a guard to hold while names change.
    pub(super) fn change(&self) -> Change<'_> {
        let shared = unpoisoned(self.names.read());
        if self.state().count.is_none() {
            return Change { usage: self, alone: None, _shared: Some(shared) };
        }
        drop(shared);
        let alone = self.alone();
        Change { usage: self, alone: Some(alone), _shared: None }
    }

    /// Counts an upload under this limit.
    pub(super) fn charge(self: &Arc<Self>, limit: Option<u64>) -> Charge {
        let mut state = self.state();
        state.uploads += 1;
        let usage = Arc::clone(self);
        let counts = state.counts;
        Charge { usage, limit, bytes: 0, in_place: false, counts }
    }
}

impl Count {
    /// Returns whether the count, which leaves this many bytes, must be repeated.
    fn is_too_old(&self, left: u64, uploads: usize) -> bool {
        self.is_doubtful && uploads == 0 || is_too_old(self.made.elapsed(), left, uploads)
    }
}

/// Returns whether a count of this age, with this many bytes left by it, must be repeated.
const fn is_too_old(age: Duration, left: u64, uploads: usize) -> bool {
    let limit = if left == 0 { OLD_FOR_REFUSAL } else { OLD };
    // Uploads that write in place would be counted twice.
    uploads == 0 && age.as_secs() >= limit.as_secs()
}

/// A running or planned count; dropping it ends the count.
pub(super) struct Counting(Arc<Usage>);

impl Counting {
    /// Walks as [`Usage::walk`].
    pub(super) fn walk(&self, count: impl FnMut() -> Option<Seen>) {
        self.0.walk(count);
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.is_counting = false;
        // Left over by a panic.
        state.meanwhile = None;
        drop(state);
        self.0.counted.notify_all();
    }
}

/// A guard while names change: no walk begins or ends while it exists.
pub(super) struct Change<'a> {
    usage: &'a Usage,
    alone: Option<RwLockWriteGuard<'a, ()>>,
    _shared: Option<RwLockReadGuard<'a, ()>>,
}

impl Change<'_> {
    /// Returns the cost that disappears with a name, if there is a count.
    pub(super) fn size_of(&self, look: impl FnOnce() -> Option<Metadata>) -> u64 {
        let found = self.alone.as_ref().and_then(|_| look());
        found
            .filter(|found| found.kind == EntryKind::File)
            .map_or(0, |found| cost_of_file(found.size))
    }

    /// Records that an object is about to be renamed.
    pub(super) fn moves(&self, look: impl FnOnce() -> Option<Metadata>) {
        if self.usage.state().meanwhile.is_none() {
            return;
        }
        let found = look();
        let mut state = self.usage.state();
        match found {
            Some(found) if found.kind == EntryKind::File => {
                state.may_be_missed(cost_of_file(found.size));
            }
            Some(found) if found.kind != EntryKind::Directory => {}
            _ => {
                if let Some(meanwhile) = &mut state.meanwhile {
                    meanwhile.is_unknown = true;
                }
            }
        }
    }

    /// Subtracts bytes that are gone.
    pub(super) fn freed(&self, bytes: u64) {
        self.usage.state().subtract(bytes);
    }
}

/// The bytes of an upload; dropping it gives them back unless they are [kept](Self::keep).
#[derive(Debug)]
pub(super) struct Charge {
    usage: Arc<Usage>,
    limit: Option<u64>,
    bytes: u64,
    /// Whether a walk sees the written data.
    in_place: bool,
    /// Number of counts at its beginning.
    counts: u64,
}

impl Charge {
    /// Marks the file as one that has a name while it is written.
    pub(super) fn in_place(mut self) -> Self {
        self.in_place = true;
        self
    }

    /// Reserves `bytes` before they are written.
    ///
    /// # Errors
    ///
    /// Returns `OverQuota` without reserving anything.
    pub(super) fn grow(&mut self, bytes: u64) -> Result<(), StorageError> {
        let mut state = self.usage.state();
        let total = state.total().saturating_add(bytes);
        if self.limit.is_some_and(|limit| total > limit) {
            return Err(StorageErrorKind::OverQuota.into());
        }
        state.running = state.running.saturating_add(bytes);
        self.bytes = self.bytes.saturating_add(bytes);
        Ok(())
    }

    /// Gives back bytes that were not written.
    pub(super) fn shrink(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes);
        if bytes == 0 {
            return;
        }
        self.bytes -= bytes;
        let mut state = self.usage.state();
        state.running = state.running.saturating_sub(bytes);
    }

    /// Takes over the first `kept` bytes of a file of `size` bytes, the rest of which is gone.
    pub(super) fn take_over(&mut self, size: u64, kept: u64) {
        let mut state = self.usage.state();
        state.subtract(cost_of_file(size));
        state.running = state.running.saturating_add(kept);
        self.bytes = self.bytes.saturating_add(kept);
    }

    /// Records that the written data is a file now, or a part of one.
    pub(super) fn keep(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        let mut state = self.usage.state();
        state.running = state.running.saturating_sub(bytes);
        state.add(bytes);
    }

    /// Records that the written data may still exist, because it is unknown whether a removal has
    /// counted it.
    pub(super) fn lost(&mut self) {
        self.keep();
        self.usage.state().doubt();
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let mut state = self.usage.state();
        state.running = state.running.saturating_sub(self.bytes);
        state.uploads = state.uploads.saturating_sub(1);
        if self.in_place && state.counts != self.counts {
            state.doubt();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_made_anew_when_it_is_old_and_nobody_writes_hp_23() {
        for (minutes, left, uploads, want) in [
            (0, 0, 0, false),
            (9, 0, 0, false),
            (10, 0, 0, true),
            (10, 0, 1, false),
            (10, 1, 0, false),
            (24 * 60 - 1, 1, 0, false),
            (24 * 60, 1, 0, true),
            (24 * 60, 1, 1, false),
        ] {
            let age = Duration::from_secs(minutes * 60);
            assert_eq!(is_too_old(age, left, uploads), want, "{minutes} {left} {uploads}");
        }
    }
}
