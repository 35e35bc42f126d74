//! How many bytes the files beneath a root have, for those who may have only so many.
//!
//! All that this process has open of a root shares one count. It is made by a walk when somebody
//! with a limit first needs it, and kept by what is done from then on. What running uploads have
//! written beside is counted from the start, so that many of them together stay below the limit.

use std::collections::BTreeMap;
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak,
};
use std::time::{Duration, Instant};

use super::directory::Directory;
use super::root::Root;
use super::sweep;
use crate::storage::{EntryKind, StorageError, StorageErrorKind};

/// How old a count may be, for whoever still has room by it.
const OLD: Duration = Duration::from_secs(24 * 60 * 60);

/// How old a count may be by which an upload is refused.
const OLD_FOR_REFUSAL: Duration = Duration::from_secs(10 * 60);

/// All that is in use, by device and inode of the root.
static USAGES: Mutex<BTreeMap<(u64, u64), Weak<Usage>>> = Mutex::new(BTreeMap::new());

/// The bytes beneath a root.
#[derive(Debug, Default)]
pub(super) struct Usage {
    /// Held while files come and go: by many at a time where nobody counts, else by one, for whom
    /// the size of what goes is then sure. Comes before `state`.
    names: RwLock<()>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    count: Option<Count>,
    /// How many counts there were.
    counts: u64,
    /// What running uploads have written.
    running: u64,
    /// How many uploads run.
    uploads: usize,
}

#[derive(Debug)]
struct Count {
    /// What files have that have a name, those that are kept for users among them.
    bytes: u64,
    made: Instant,
}

impl State {
    fn total(&self) -> u64 {
        self.count.as_ref().map_or(0, |count| count.bytes).saturating_add(self.running)
    }

    fn add(&mut self, bytes: u64) {
        if let Some(count) = &mut self.count {
            count.bytes = count.bytes.saturating_add(bytes);
        }
    }

    fn subtract(&mut self, bytes: u64) {
        if let Some(count) = &mut self.count {
            count.bytes = count.bytes.saturating_sub(bytes);
        }
    }
}

impl Usage {
    /// The one of the root with this device and inode.
    pub(super) fn of(identity: (u64, u64)) -> Arc<Self> {
        let mut usages = USAGES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(usage) = usages.get(&identity).and_then(Weak::upgrade) {
            return usage;
        }
        usages.retain(|_, usage| usage.strong_count() > 0);
        let usage = Arc::default();
        usages.insert(identity, Arc::downgrade(&usage));
        usage
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that panics is done while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many bytes of `limit` are left, counting first if nobody has, or long ago.
    pub(super) fn left(&self, root: &Arc<Root>, limit: u64) -> Result<u64, StorageError> {
        loop {
            {
                let state = self.state();
                let left = limit.saturating_sub(state.total());
                if let Some(count) = &state.count
                    && !is_too_old(count.made.elapsed(), left, state.uploads)
                {
                    return Ok(left);
                }
            }
            self.count(root)?;
        }
    }

    fn count(&self, root: &Arc<Root>) -> Result<(), StorageError> {
        let asked = Instant::now();
        let _alone = self.names.write().unwrap_or_else(PoisonError::into_inner);
        // Somebody else has counted meanwhile.
        if self.state().count.as_ref().is_some_and(|count| count.made >= asked) {
            return Ok(());
        }
        self.state().counts += 1;
        let bytes = sweep::count(root)?;
        self.state().count = Some(Count { bytes, made: Instant::now() });
        Ok(())
    }

    /// Lets the next who needs it count anew.
    pub(super) fn forget(&self) {
        self.state().count = None;
    }

    /// To be held while a file gets a name, or loses one.
    pub(super) fn change(&self) -> Change<'_> {
        let shared = self.names.read().unwrap_or_else(PoisonError::into_inner);
        if self.state().count.is_none() {
            return Change { usage: self, alone: None, _shared: Some(shared) };
        }
        drop(shared);
        let alone = self.names.write().unwrap_or_else(PoisonError::into_inner);
        Change { usage: self, alone: Some(alone), _shared: None }
    }

    /// Begins an upload of somebody with this limit.
    ///
    /// # Errors
    ///
    /// `OverQuota` if nothing is left of it.
    pub(super) fn begin(
        self: &Arc<Self>,
        root: &Arc<Root>,
        limit: Option<u64>,
    ) -> Result<Charge, StorageError> {
        if let Some(limit) = limit
            && self.left(root, limit)? == 0
        {
            return Err(StorageErrorKind::OverQuota.into());
        }
        let mut state = self.state();
        state.uploads += 1;
        let (usage, counts) = (Arc::clone(self), state.counts);
        Ok(Charge { usage, limit, bytes: 0, in_place: false, counts })
    }
}

/// Whether a count of this age, by which so much is left, is to be made anew.
const fn is_too_old(age: Duration, left: u64, uploads: usize) -> bool {
    let limit = if left == 0 { OLD_FOR_REFUSAL } else { OLD };
    // What running uploads write to in place would be counted twice.
    uploads == 0 && age.as_secs() >= limit.as_secs()
}

/// Files get or lose names, and nobody counts meanwhile.
pub(super) struct Change<'a> {
    usage: &'a Usage,
    alone: Option<RwLockWriteGuard<'a, ()>>,
    _shared: Option<RwLockReadGuard<'a, ()>>,
}

impl Change<'_> {
    /// How many bytes go with a name, if that matters to anybody.
    pub(super) fn size_of(&self, directory: &Directory, name: &[u8]) -> u64 {
        let found = self.alone.as_ref().and_then(|_| directory.metadata(name).ok());
        found.filter(|found| found.kind == EntryKind::File).map_or(0, |found| found.size)
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
        state.subtract(size);
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

    /// Nobody can say what was given back for this file, which was removed meanwhile.
    pub(super) fn lost(&self) {
        self.usage.forget();
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let mut state = self.usage.state();
        state.running = state.running.saturating_sub(self.bytes);
        state.uploads = state.uploads.saturating_sub(1);
        if self.in_place && state.counts != self.counts {
            state.count = None;
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
