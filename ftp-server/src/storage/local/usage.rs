//! What the files and directories below a root cost, for users who may have only a part of it.
//!
//! All that this process has open of a root shares one count. It is made by a walk when somebody
//! with a limit first needs it, and kept by what is done from then on. What running uploads have
//! written beside is counted from the start, so that many of them together stay below the limit.
//!
//! Nobody waits for a walk but who cannot go on without it, and that not for long: others add, move
//! and remove files meanwhile. What the walk may have missed of that is counted besides, and what
//! it may have met in vain is not taken away: the count may be too high then, never too low.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};
use std::time::{Duration, Instant};

use super::shelf::Shelf;
use crate::lock::unpoisoned;
use crate::storage::{EntryKind, Metadata, StorageError, StorageErrorKind};

/// How old a count may be, for whoever still has room by it.
const OLD: Duration = Duration::from_secs(24 * 60 * 60);

/// How old a count may be by which an upload is refused.
const OLD_FOR_REFUSAL: Duration = Duration::from_secs(10 * 60);

/// What a directory costs, and a file without content: about what it takes on a disk.
pub(super) const COST_OF_OBJECT: u64 = 4 * 1024;

/// What a regular file of this length costs.
pub(super) const fn cost_of_file(size: u64) -> u64 {
    if size == 0 { COST_OF_OBJECT } else { size }
}

/// How many walks are tried while directories are moved about.
const WALKS: u32 = 3;

/// All that is in use, by device and inode of the root.
static USAGES: Mutex<Vec<(Identity, Weak<Usage>)>> = Mutex::new(Vec::new());

/// Device and inode of a root.
type Identity = (u64, u64);

/// What is below a root.
#[derive(Debug, Default)]
pub(super) struct Usage {
    /// Held while files come and go: by many at a time where there is no count, else by one, for
    /// whom the size of what goes is then sure. A walk has it at its beginning and at its end, so
    /// that whatever happens does so before it, during it or after it. Comes before `state`.
    names: RwLock<()>,
    state: Mutex<UsageState>,
    /// A thread that counted has ended.
    counted: Condvar,
    /// What is kept of cut uploads.
    shelf: Shelf,
    /// The files that are just being added to, each with its length without that.
    growing: Mutex<Vec<(Identity, u64)>>,
}

#[derive(Debug, Default)]
struct UsageState {
    count: Option<Count>,
    /// How many counts there were.
    counts: u64,
    /// A thread counts, or is about to.
    is_counting: bool,
    /// What happened since its walk began, while one goes on.
    meanwhile: Option<Meanwhile>,
    /// What running uploads have written.
    running: u64,
    /// How many uploads run.
    uploads: usize,
}

/// What a walk has seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// What it costs.
    pub(super) bytes: u64,
    /// Whether that was all: nothing could not be read.
    pub(super) is_whole: bool,
}

#[derive(Debug)]
struct Count {
    /// What all that has a name costs, what is kept for users included.
    bytes: u64,
    made: Instant,
    /// It may be too high.
    is_doubtful: bool,
}

/// What a walk may have missed.
#[derive(Debug, Default)]
struct Meanwhile {
    /// The bytes of files that came, or were moved.
    bytes: u64,
    /// A directory was moved, with nobody knows what.
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

    /// The count may be too high: it is made anew when nobody writes. Until then it does, or who is
    /// just writing could go beyond the limit.
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
    /// The one of this root.
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

    /// How many bytes of `limit` are left, `None` if that is not known within `longest`: without a
    /// count, or with an old one, `start_count` is to start a thread that makes one. Where an old
    /// count leaves some, it does until there is a new one.
    ///
    /// # Errors
    ///
    /// There is no thread to count in.
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
                // It may have counted by now.
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

    /// Takes what a walk through the tree gives; walks again if that cannot have met all there is.
    /// What it could not see may still be there, so that the count does not fall then.
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
                // It may have met what uploads write in place that began before this.
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

    /// Waits until nobody counts.
    #[cfg(test)]
    pub(super) fn settle(&self) {
        let waited = self.counted.wait_while(self.state(), |state| state.is_counting);
        drop(unpoisoned(waited));
    }

    /// Lets it seem that somebody counts, or has ended to.
    #[cfg(test)]
    pub(super) fn seem_to_count(&self, counts: bool) {
        self.state().is_counting = counts;
        self.counted.notify_all();
    }

    /// Lets it seem that a walk goes on, or not, and says what it may have missed so far: how many
    /// bytes, and whether nobody knows how many.
    #[cfg(test)]
    pub(super) fn seem_to_walk(&self, walks: bool) -> (u64, bool) {
        let new = walks.then(Meanwhile::default);
        let former = std::mem::replace(&mut self.state().meanwhile, new).unwrap_or_default();
        (former.bytes, former.is_unknown)
    }

    /// Lets the next who needs it count anew.
    #[cfg(test)]
    pub(super) fn forget(&self) {
        self.state().count = None;
    }

    /// What is kept of cut uploads.
    pub(super) const fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    fn growing(&self) -> MutexGuard<'_, Vec<(Identity, u64)>> {
        unpoisoned(self.growing.lock())
    }

    /// A file is being added to from now on, which may yet be cut back to this length.
    pub(super) fn grows(&self, file: Identity, length: u64) {
        self.growing().push((file, length));
    }

    /// A file has the length it is to have.
    pub(super) fn has_grown(&self, file: Identity) {
        self.growing().retain(|(growing, _)| *growing != file);
    }

    /// What users are told of a file: what is just being added to it may go again.
    pub(super) fn settled(&self, mut found: Metadata) -> Metadata {
        if found.kind == EntryKind::File {
            found.size = self.former(&found).unwrap_or(found.size);
        }
        found
    }

    /// How long a file was that is just being added to.
    pub(super) fn former(&self, found: &Metadata) -> Option<u64> {
        let growing = self.growing();
        let known = growing.iter().find(|(file, _)| *file == found.identity);
        known.map(|(_, length)| found.size.min(*length))
    }

    /// To be held while something gets a name, or loses one.
    pub(super) fn change(&self) -> Change<'_> {
        let shared = unpoisoned(self.names.read());
        if self.state().count.is_none() {
            return Change { usage: self, alone: None, _shared: Some(shared) };
        }
        drop(shared);
        let alone = self.alone();
        Change { usage: self, alone: Some(alone), _shared: None }
    }

    /// Counts an upload of somebody with this limit.
    pub(super) fn charge(self: &Arc<Self>, limit: Option<u64>) -> Charge {
        let mut state = self.state();
        state.uploads += 1;
        let usage = Arc::clone(self);
        let counts = state.counts;
        Charge { usage, limit, bytes: 0, in_place: false, counts }
    }
}

impl Count {
    /// Whether it is to be made anew, so much being left by it.
    fn is_too_old(&self, left: u64, uploads: usize) -> bool {
        self.is_doubtful && uploads == 0 || is_too_old(self.made.elapsed(), left, uploads)
    }
}

/// Whether a count of this age, by which so much is left, is to be made anew.
const fn is_too_old(age: Duration, left: u64, uploads: usize) -> bool {
    let limit = if left == 0 { OLD_FOR_REFUSAL } else { OLD };
    // What running uploads write to in place would be counted twice.
    uploads == 0 && age.as_secs() >= limit.as_secs()
}

/// A thread counts, or is about to; with this dropped it has ended.
pub(super) struct Counting(Arc<Usage>);

impl Counting {
    /// As [`Usage::walk`].
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

/// Files get or lose names, and no walk begins or ends meanwhile.
pub(super) struct Change<'a> {
    usage: &'a Usage,
    alone: Option<RwLockWriteGuard<'a, ()>>,
    _shared: Option<RwLockReadGuard<'a, ()>>,
}

impl Change<'_> {
    /// What goes with a file's name, if that matters to anybody.
    pub(super) fn size_of(&self, look: impl FnOnce() -> Option<Metadata>) -> u64 {
        let found = self.alone.as_ref().and_then(|_| look());
        found
            .filter(|found| found.kind == EntryKind::File)
            .map_or(0, |found| cost_of_file(found.size))
    }

    /// What has this name is about to get another one.
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

    /// So many bytes are gone.
    pub(super) fn freed(&self, bytes: u64) {
        self.usage.state().subtract(bytes);
    }
}

/// What an upload has written, given back with this unless it is [kept](Self::keep).
#[derive(Debug)]
pub(super) struct Charge {
    usage: Arc<Usage>,
    limit: Option<u64>,
    bytes: u64,
    /// Whether a walk meets what is written.
    in_place: bool,
    /// How many counts there were when it began.
    counts: u64,
}

impl Charge {
    /// The same for a file that has a name while it is written.
    pub(super) fn in_place(mut self) -> Self {
        self.in_place = true;
        self
    }

    /// Sets `bytes` aside that are to be written.
    ///
    /// # Errors
    ///
    /// `OverQuota`, and nothing is set aside.
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

    /// Gives back what was not written after all.
    pub(super) fn shrink(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes);
        if bytes == 0 {
            return;
        }
        self.bytes -= bytes;
        let mut state = self.usage.state();
        state.running = state.running.saturating_sub(bytes);
    }

    /// Takes over the first `kept` bytes of a file of `size`, the rest being gone.
    pub(super) fn take_over(&mut self, size: u64, kept: u64) {
        let mut state = self.usage.state();
        state.subtract(cost_of_file(size));
        state.running = state.running.saturating_add(kept);
        self.bytes = self.bytes.saturating_add(kept);
    }

    /// What was written is a file now, or a part of one.
    pub(super) fn keep(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        let mut state = self.usage.state();
        state.running = state.running.saturating_sub(bytes);
        state.add(bytes);
    }

    /// What was written is there still, or whoever removed the file has taken it for a part of it,
    /// which nobody can say.
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
