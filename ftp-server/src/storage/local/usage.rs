//! The cost of files and directories below a root, and the use of quotas.
//!
//! All storages of a root in this process share one count. A walk makes the first count when a user
//! with a quota needs it, and each change updates the count. Running uploads are counted
//! separately, from their beginning, so that many uploads together stay below the limit.
//!
//! Only calls that need the count wait for a walk, for at most 5 s; other sessions can add, move
//! and remove files during the walk. Objects that the walk may have missed are added, and objects
//! that it may have seen twice are not subtracted. Such changes can therefore make the count too
//! high, but never too low.

use std::sync::{Arc, Condvar, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};
use std::time::{Duration, Instant};

use super::kept_uploads::KeptUploads;
use crate::lock::{Lock, Stripes, unpoisoned};
pub(super) use crate::storage::space::{COST_OF_OBJECT, Cost};
use crate::storage::{EntryKind, Metadata, StorageErrorKind, StorageResult};

/// Maximum age of a count that is used to accept an upload.
const OLD: Duration = Duration::from_secs(24 * 60 * 60);

/// Maximum age of a count that is used to refuse an upload.
const OLD_FOR_REFUSAL: Duration = Duration::from_secs(10 * 60);

/// Maximum number of walks to try while directories are being moved.
const WALKS: u32 = 3;

/// The counts in use, by device and inode of the root.
static USAGES: Lock<Vec<(DeviceInode, Weak<Usage>)>> = Lock::new(Vec::new());

type DeviceInode = (u64, u64);

#[derive(Debug, Default)]
pub(super) struct Usage {
    /// Lock held while names change. While there is no count, sessions share it. While there is a
    /// count, each session holds it exclusively, so that the size of a removed file is certain. A
    /// walk holds it exclusively at its beginning and end, so that each change happens before,
    /// during or after the walk. Code that needs both locks takes `names` before `state`.
    names: RwLock<()>,
    state: Lock<UsageState>,
    /// Signal for the end of a count.
    counted: Condvar,
    /// The kept partial uploads.
    shelf: KeptUploads,
}

#[derive(Debug, Default)]
struct UsageState {
    count: Option<UsageCount>,
    /// Number of completed counts.
    counts: u64,
    /// Whether a thread is counting or about to count.
    is_counting: bool,
    /// The changes since the running walk began.
    meanwhile: Option<MissedChanges>,
    /// Cost of running uploads, without the bytes that [`credits`](Self::credits) cover.
    running: Cost,
    /// Number of running uploads.
    uploads: usize,
    /// The files that running uploads are to replace.
    credits: Vec<Credit>,
    /// Number of uploads begun so far.
    begun: u64,
}

/// The bytes of a file that a running upload is to replace. The upload may write as many bytes
/// without a further charge, because the file still counts and goes when the upload is published.
/// Each file is credited to one upload only.
#[derive(Debug)]
struct Credit {
    file: DeviceInode,
    upload: u64,
    used: u64,
    left: u64,
}

/// A file or directory whose removal frees its cost.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Leaving {
    pub(super) cost: Cost,
    /// The file, if an upload may be credited with it.
    file: Option<DeviceInode>,
}

impl From<Cost> for Leaving {
    fn from(cost: Cost) -> Self {
        Self { cost, file: None }
    }
}

/// Result of a walk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) cost: Cost,
    /// Whether everything could be read.
    pub(super) is_whole: bool,
}

#[derive(Debug)]
struct UsageCount {
    /// Cost of all objects with a name, including kept partial uploads.
    cost: Cost,
    made: Instant,
    /// Whether the cost may be too high.
    is_doubtful: bool,
}

#[derive(Debug, Default)]
struct MissedChanges {
    /// Cost of new or moved files.
    cost: Cost,
    /// Whether a directory with unknown content was moved.
    is_unknown: bool,
}

impl UsageState {
    /// Returns the cost of everything that is counted so far.
    fn total(&self) -> Cost {
        let counted = self.count.as_ref().map_or_else(Cost::default, |count| count.cost);
        counted.plus(self.running)
    }

    fn add(&mut self, cost: Cost) {
        if let Some(count) = &mut self.count {
            count.cost = count.cost.plus(cost);
        }
        self.may_be_missed(cost);
    }

    /// Marks the count as possibly too high, so that it is repeated when no upload runs. Until then
    /// it stays, because running uploads could otherwise exceed the limit.
    fn doubt(&mut self) {
        if let Some(count) = &mut self.count {
            count.is_doubtful = true;
        }
    }

    fn may_be_missed(&mut self, cost: Cost) {
        if let Some(meanwhile) = &mut self.meanwhile {
            meanwhile.cost = meanwhile.cost.plus(cost);
        }
    }

    fn subtract(&mut self, cost: Cost) {
        if let Some(count) = &mut self.count {
            count.cost = count.cost.minus(cost);
        }
    }

    /// Subtracts the cost of something that was removed. An upload that is to replace it must now
    /// pay for all its bytes.
    fn remove(&mut self, gone: Leaving) {
        self.subtract(gone.cost);
        if let Some(file) = gone.file {
            self.end_credits(|credit| credit.file == file);
        }
    }

    /// Ends credits, and charges the bytes that they covered. Returns the number of these bytes.
    fn end_credits(&mut self, which: impl Fn(&Credit) -> bool) -> u64 {
        let ended = self.credits.extract_if(.., |credit| which(credit));
        let used = ended.map(|credit| credit.used).sum();
        self.running = self.running.plus(Cost::bytes(used));
        used
    }

    fn credit(&mut self, upload: u64) -> Option<&mut Credit> {
        self.credits.iter_mut().find(|credit| credit.upload == upload)
    }
}

impl Usage {
    pub(super) fn of(identity: DeviceInode) -> Arc<Self> {
        let mut usages = USAGES.lock();
        let known = usages.iter().find(|(known, _)| *known == identity);
        if let Some(usage) = known.and_then(|(_, usage)| usage.upgrade()) {
            return usage;
        }
        usages.retain(|(_, usage)| usage.strong_count() > 0);
        let usage = Arc::default();
        usages.push((identity, Arc::downgrade(&usage)));
        usage
    }

    /// Returns the count of this root; `None` if no storage or tally of the root exists.
    pub(super) fn in_use(identity: DeviceInode) -> Option<Arc<Self>> {
        let usages = USAGES.lock();
        usages.iter().find(|(known, _)| *known == identity).and_then(|(_, usage)| usage.upgrade())
    }

    /// Returns the records for the file `name` in a directory that all roots have known since `until`.
    pub(super) fn kept_in_all_roots(
        directory: DeviceInode,
        name: &[u8],
        until: Instant,
    ) -> Vec<Vec<u8>> {
        Self::all().flat_map(|usage| usage.shelf.of_target(directory, name, until)).collect()
    }

    /// Returns whether a record that any root knows names these bytes.
    pub(super) fn have_bytes(name: &[u8]) -> bool {
        Self::all().any(|usage| usage.shelf.has_bytes(name))
    }

    fn all() -> impl Iterator<Item = Arc<Self>> {
        let all: Vec<_> = USAGES.lock().iter().map(|(_, usage)| usage.clone()).collect();
        all.into_iter().filter_map(|usage| usage.upgrade())
    }

    /// Returns the current usage, or `None` if it is not known within `longest`. If there is no
    /// count or only an old one, `start_count` starts a thread that counts. An old count that
    /// permits `wanted` within `limit` is used until the new count is complete.
    ///
    /// # Errors
    ///
    /// Returns an error if no thread can be started for the count.
    pub(super) fn used_within(
        self: &Arc<Self>,
        limit: Cost,
        wanted: Cost,
        longest: Duration,
        start_count: impl Fn(Counting) -> std::io::Result<()>,
    ) -> StorageResult<Option<Cost>> {
        let start = Instant::now();
        let mut state = self.state.lock();
        loop {
            let used = state.total();
            let is_full = !limit.permits(wanted, used);
            let uploads = state.uploads;
            if state.count.as_ref().is_some_and(|count| !count.is_too_old(is_full, uploads)) {
                return Ok(Some(used));
            }
            if !state.is_counting {
                state.is_counting = true;
                drop(state);
                start_count(Counting(Arc::clone(self)))?;
                // The thread may have finished by now.
                state = self.state.lock();
            }
            let used = state.total();
            if limit.permits(wanted, used) && state.count.is_some() {
                return Ok(Some(used));
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

    /// Sets the count to the result of a walk, and walks again if a moved directory may have been
    /// missed. If the walk could not read everything, the count does not fall, because unread
    /// objects may still exist.
    pub(super) fn walk(&self, mut count: impl FnMut() -> Option<Seen>) {
        for _ in 0..WALKS {
            let alone = self.alone();
            self.state.lock().meanwhile = Some(MissedChanges::default());
            drop(alone);
            let seen = count();
            let _alone = self.alone();
            let mut state = self.state.lock();
            let meanwhile = state.meanwhile.take().unwrap_or_default();
            let Some(seen) = seen else { return };
            if !meanwhile.is_unknown {
                let former = state.count.as_ref().map(|count| count.cost);
                let least = former.filter(|_| !seen.is_whole).unwrap_or_default();
                let cost = seen.cost.plus(meanwhile.cost).at_least(least);
                // Uploads that write in place compare this number with the one at their beginning,
                // because the walk may have counted their data too.
                state.counts += 1;
                let made = Instant::now();
                let is_doubtful = false;
                state.count = Some(UsageCount { cost, made, is_doubtful });
                return;
            }
        }
    }

    fn alone(&self) -> RwLockWriteGuard<'_, ()> {
        unpoisoned(self.names.write())
    }

    /// Waits until no thread is counting.
    #[cfg(test)]
    pub(super) fn settle(&self) {
        let waited = self.counted.wait_while(self.state.lock(), |state| state.is_counting);
        drop(unpoisoned(waited));
    }

    /// Pretends that a thread is counting or has finished.
    #[cfg(test)]
    pub(super) fn seem_to_count(&self, counts: bool) {
        self.state.lock().is_counting = counts;
        self.counted.notify_all();
    }

    /// Pretends that a walk runs or has ended. Returns the cost that it may have missed so far, and
    /// whether that cost is unknown.
    #[cfg(test)]
    pub(super) fn seem_to_walk(&self, walks: bool) -> (Cost, bool) {
        let new = walks.then(MissedChanges::default);
        let former = std::mem::replace(&mut self.state.lock().meanwhile, new).unwrap_or_default();
        (former.cost, former.is_unknown)
    }

    /// Pretends that the count is older by `age`. Returns `false` if the system has been running
    /// for a shorter time.
    #[cfg(test)]
    pub(super) fn seem_older(&self, age: Duration) -> bool {
        let mut state = self.state.lock();
        let count = state.count.as_mut().unwrap();
        let made = count.made.checked_sub(age);
        count.made = made.unwrap_or(count.made);
        made.is_some()
    }

    /// Makes the next check count again.
    #[cfg(test)]
    pub(super) fn forget(&self) {
        self.state.lock().count = None;
    }

    /// Returns the count, if there is one. Does not wait.
    #[cfg(feature = "daemon")]
    pub(super) fn known(&self) -> Option<Cost> {
        let state = self.state.try_lock()?;
        state.count.as_ref().map(|_| state.total())
    }

    /// Returns the kept partial uploads.
    pub(super) const fn shelf(&self) -> &KeptUploads {
        &self.shelf
    }

    /// Returns a guard to hold while names change.
    pub(super) fn change(&self) -> NameChange<'_> {
        let shared = unpoisoned(self.names.read());
        if self.state.lock().count.is_none() {
            return NameChange { usage: self, alone: None, _shared: Some(shared) };
        }
        drop(shared);
        let alone = self.alone();
        NameChange { usage: self, alone: Some(alone), _shared: None }
    }

    /// Begins to count an upload under this limit. `old` is the file that it is to replace.
    pub(super) fn charge(
        self: &Arc<Self>,
        limit: Option<Cost>,
        old: Option<&Metadata>,
    ) -> UploadCharge {
        let mut state = self.state.lock();
        state.uploads += 1;
        state.begun += 1;
        let upload = state.begun;
        // Without a count, the file to be replaced is not counted either.
        if let Some(old) = old
            && state.count.is_some()
            && state.credits.iter().all(|credit| credit.file != old.identity)
        {
            let left = Cost::of_file(old.size).bytes;
            state.credits.push(Credit { file: old.identity, upload, used: 0, left });
        }
        let usage = Arc::clone(self);
        let counts = state.counts;
        UploadCharge { usage, limit, upload, cost: Cost::default(), in_place: false, counts }
    }
}

impl UsageCount {
    /// Returns whether the count must be repeated. `is_full` means that, by this count, the limit
    /// is reached.
    fn is_too_old(&self, is_full: bool, uploads: usize) -> bool {
        self.is_doubtful && uploads == 0 || is_too_old(self.made.elapsed(), is_full, uploads)
    }
}

/// Returns whether a count of this age must be repeated.
const fn is_too_old(age: Duration, is_full: bool, uploads: usize) -> bool {
    let limit = if is_full { OLD_FOR_REFUSAL } else { OLD };
    // A count during uploads that write in place would include their data twice.
    uploads == 0 && age.as_secs() >= limit.as_secs()
}

/// A running or planned count; dropping it ends the count.
pub(super) struct Counting(Arc<Usage>);

impl Counting {
    pub(super) fn walk(&self, count: impl FnMut() -> Option<Seen>) {
        self.0.walk(count);
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.is_counting = false;
        // Here, `meanwhile` is still set only after a panic.
        state.meanwhile = None;
        drop(state);
        self.0.counted.notify_all();
    }
}

/// Locks for directories, of all roots: one can be below another. There are enough that a disk which does
/// not answer holds up few others.
static NAMING: Stripes<RwLock<()>, 1024> = Stripes([const { RwLock::new(()) }; 1024]);

/// A guard held while a file gets a name in a directory.
pub(super) enum Naming {
    Shared { _guard: RwLockReadGuard<'static, ()> },
    Alone { _guard: RwLockWriteGuard<'static, ()> },
}

/// Returns a guard to hold, before that of a [`change`](Usage::change), while a file gets a name in this
/// directory. With `alone`, nobody else has one: what has the name at a look has it until the change. The
/// name does not count, because some disks take two for one.
pub(super) fn naming(directory: DeviceInode, alone: bool) -> Naming {
    let lock = NAMING.of(directory);
    match alone {
        true => Naming::Alone { _guard: unpoisoned(lock.write()) },
        false => Naming::Shared { _guard: unpoisoned(lock.read()) },
    }
}

/// A guard held while names change. No walk begins or ends while it exists.
pub(super) struct NameChange<'a> {
    usage: &'a Usage,
    alone: Option<RwLockWriteGuard<'a, ()>>,
    _shared: Option<RwLockReadGuard<'a, ()>>,
}

impl NameChange<'_> {
    /// Returns the usage that removing the object found by `look` frees; zero while there is no
    /// count.
    pub(super) fn cost_of(&self, look: impl FnOnce() -> Option<Metadata>) -> Leaving {
        let found = self.alone.as_ref().and_then(|_| look());
        let file = found.filter(|found| found.kind == EntryKind::File);
        file.map_or_else(Leaving::default, |file| Leaving {
            cost: Cost::of_file(file.size),
            file: Some(file.identity),
        })
    }

    /// Records that an object is about to be renamed.
    pub(super) fn moves(&self, look: impl FnOnce() -> Option<Metadata>) {
        if self.usage.state.lock().meanwhile.is_none() {
            return;
        }
        let found = look();
        let mut state = self.usage.state.lock();
        match found {
            Some(found) if found.kind == EntryKind::File => {
                state.may_be_missed(Cost::of_file(found.size));
            }
            Some(found) if found.kind != EntryKind::Directory => {}
            _ => {
                if let Some(meanwhile) = &mut state.meanwhile {
                    meanwhile.is_unknown = true;
                }
            }
        }
    }

    /// Subtracts the cost of removed files and directories.
    pub(super) fn freed(&self, gone: impl Into<Leaving>) {
        self.usage.state.lock().remove(gone.into());
    }
}

/// The cost of an upload; it is released on drop unless it is [kept](Self::keep).
#[derive(Debug)]
pub(super) struct UploadCharge {
    usage: Arc<Usage>,
    limit: Option<Cost>,
    /// The number of the upload, which finds its credit.
    upload: u64,
    cost: Cost,
    /// Whether a walk sees the written data.
    in_place: bool,
    /// Number of completed counts when the upload began.
    counts: u64,
}

impl UploadCharge {
    /// Marks the file as having a name while it is written.
    pub(super) fn in_place(mut self) -> Self {
        self.in_place = true;
        self
    }

    /// Reserves `cost` in advance.
    ///
    /// # Errors
    ///
    /// Returns `OverQuota`, without reserving anything, if the limit does not permit `cost`.
    pub(super) fn grow(&mut self, cost: Cost) -> StorageResult<()> {
        let mut state = self.usage.state.lock();
        let left = state.credit(self.upload).map_or(0, |credit| credit.left);
        let used = state.total().minus(Cost::bytes(left));
        if self.limit.is_some_and(|limit| !limit.permits(cost, used)) {
            return Err(StorageErrorKind::OverQuota.into());
        }
        let covered = left.min(cost.bytes);
        if let Some(credit) = state.credit(self.upload) {
            credit.left -= covered;
            credit.used += covered;
        }
        state.running = state.running.plus(cost.minus(Cost::bytes(covered)));
        self.cost = self.cost.plus(cost);
        Ok(())
    }

    /// Prepares to take the place of `replaced`, which is nothing if no file has the name any more.
    /// Reserves a name if necessary. If the upload was credited with another file, checks that the
    /// limit permits its bytes without that file.
    ///
    /// # Errors
    ///
    /// Returns `OverQuota` if the limit does not permit the name or the bytes.
    pub(super) fn take_place(&mut self, replaced: Leaving) -> StorageResult<()> {
        let mut state = self.usage.state.lock();
        let covered = state.end_credits(|credit| {
            credit.upload == self.upload && Some(credit.file) != replaced.file
        });
        let used = state.total().minus(Cost::bytes(covered)).minus(replaced.cost);
        let is_over = |limit: Cost| !limit.permits(Cost::bytes(covered), used);
        if covered > replaced.cost.bytes && self.limit.is_some_and(is_over) {
            return Err(StorageErrorKind::OverQuota.into());
        }
        drop(state);
        match self.cost.files.saturating_add(replaced.cost.files) {
            0 => self.grow(Cost::NAME),
            _ => Ok(()),
        }
    }

    /// Releases reserved bytes that are not needed.
    pub(super) fn shrink(&mut self, bytes: u64) {
        let bytes = bytes.min(self.cost.bytes);
        if bytes == 0 {
            return;
        }
        let mut state = self.usage.state.lock();
        let covered = state.credit(self.upload).map_or(0, |credit| credit.used);
        let paid = bytes.min(self.cost.bytes - covered.min(self.cost.bytes));
        if let Some(credit) = state.credit(self.upload) {
            credit.used -= bytes - paid;
            credit.left += bytes - paid;
        }
        state.running = state.running.minus(Cost::bytes(paid));
        self.cost.bytes -= bytes;
    }

    /// Takes over the kept bytes of an earlier upload.
    pub(super) fn take_over(&mut self, size: u64) {
        let kept = Cost { bytes: size, ..Cost::NAME };
        let mut state = self.usage.state.lock();
        state.subtract(Cost::of_file(size));
        state.running = state.running.plus(kept);
        self.cost = self.cost.plus(kept);
    }

    /// Records that the reserved bytes and name exist now.
    pub(super) fn keep(&mut self) {
        let mut state = self.usage.state.lock();
        let cost = Self::release(&mut state, self.upload, &mut self.cost);
        state.add(cost);
    }

    /// Records that the written data is now a file, which took the place of `replaced`.
    pub(super) fn keep_as_file(&mut self, replaced: Leaving) {
        // One lock covers all changes, so that no other upload sees more free quota than there is.
        let mut state = self.usage.state.lock();
        let cost = Self::release(&mut state, self.upload, &mut self.cost);
        state.remove(replaced);
        state.add(Cost { files: 1, ..cost });
    }

    /// Ends the credit of an upload, and takes its cost out of the running ones.
    fn release(state: &mut UsageState, upload: u64, cost: &mut Cost) -> Cost {
        state.end_credits(|credit| credit.upload == upload);
        let cost = std::mem::take(cost);
        state.running = state.running.minus(cost);
        cost
    }

    /// Keeps the written data in the count, because it is unknown whether a removal has subtracted
    /// the data. Marks the count as possibly too high.
    pub(super) fn lost(&mut self) {
        self.keep();
        self.usage.state.lock().doubt();
    }
}

impl Drop for UploadCharge {
    fn drop(&mut self) {
        let mut state = self.usage.state.lock();
        Self::release(&mut state, self.upload, &mut self.cost);
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
    fn an_old_count_is_repeated_when_no_upload_runs_hp_23() {
        for (minutes, is_full, uploads, want) in [
            (0, true, 0, false),
            (9, true, 0, false),
            (10, true, 0, true),
            (10, true, 1, false),
            (10, false, 0, false),
            (24 * 60 - 1, false, 0, false),
            (24 * 60, false, 0, true),
            (24 * 60, false, 1, false),
        ] {
            let age = Duration::from_secs(minutes * 60);
            assert_eq!(is_too_old(age, is_full, uploads), want, "{minutes} {is_full} {uploads}");
        }
    }
}
