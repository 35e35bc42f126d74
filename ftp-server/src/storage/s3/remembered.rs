//! What this process remembers of a bucket: changes without a response, and what was seen of directories
//! a moment ago.
//!
//! The store may still make a change without a response, at any time. If the store is proved to check
//! its condition, it replaces and removes nothing newer. Otherwise nothing else changes under its key
//! for [`S3Timeouts::late`](super::S3Timeouts::late).
//!
//! What was seen of directories saves requests: the look whether a directory exists, and, while uploads
//! to a directory follow each other, the looks whether each of their names is free.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use crate::lock::Lock;

/// Maximum number of changes to remember, each with its key.
pub(super) const MOST_LATE: usize = if cfg!(test) { 16 } else { 10_000 };

/// The changes of this process that had no response. They outlive each store.
#[derive(Default)]
pub(super) struct LateChanges(Lock<Vec<LateChange>>);

/// The last of several changes of a kind under one key.
#[derive(Clone)]
struct LateChange {
    /// The key; `None` for those of all keys that found no room.
    key: Option<String>,
    operation: &'static str,
    /// The header of its condition.
    condition: Option<&'static str>,
    since: Instant,
    /// The end of the time for which it blocks its path, which a reload does not shorten.
    until: Option<Instant>,
}

impl LateChange {
    /// Returns whether it may still be made. A time that no clock can show never ends.
    fn is_pending(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    fn is_of(&self, key: &str) -> bool {
        self.key.as_ref().is_none_or(|own| own == key)
    }
}

impl LateChanges {
    /// Adds a request whose connection is closed. Forgets those whose time is over. If there are too
    /// many, the request counts as one of each key.
    pub(super) fn add(
        &self,
        (key, operation): (&str, &'static str),
        condition: Option<&'static str>,
        limit: Duration,
    ) {
        let mut all = self.0.lock();
        let since = Instant::now();
        all.retain(|it| it.is_pending(since));
        let until = since.checked_add(limit);
        let is_it = |it: &LateChange| (it.operation, it.condition) == (operation, condition);
        let place =
            |key: Option<&str>| all.iter().position(|it| it.key.as_deref() == key && is_it(it));
        let own = place(Some(key)).or_else(|| place(None).filter(|_| all.len() >= MOST_LATE));
        if let Some(earlier) = own.and_then(|at| all.get_mut(at)) {
            earlier.since = since;
            earlier.until = earlier.until.zip(until).map(|(one, other)| one.max(other));
            return;
        }
        let key = (all.len() < MOST_LATE).then(|| key.to_owned());
        all.push(LateChange { key, operation, condition, since, until });
    }

    /// Returns whether a change of this object may still be made: one whose time is not over, unless
    /// it has a condition that the store checks for this operation.
    pub(super) fn has_pending(
        &self,
        key: &str,
        checks: impl Fn(&'static str, &'static str) -> bool,
    ) -> bool {
        let now = Instant::now();
        // A check can send requests.
        let mut all = self.0.lock().clone();
        all.retain(|late| late.is_of(key) && late.is_pending(now));
        all.iter().any(|late| !late.condition.is_some_and(|it| checks(late.operation, it)))
    }

    /// Returns whether a change of this object had no response after `begun`.
    pub(super) fn has_since(&self, key: &str, begun: Instant) -> bool {
        self.0.lock().iter().any(|late| late.is_of(key) && late.since >= begun)
    }

    /// Returns whether none may still be made.
    pub(super) fn is_over(&self) -> bool {
        let now = Instant::now();
        !self.0.lock().iter().any(|late| late.is_pending(now))
    }
}

/// Time for which what was seen of a directory is assumed.
const SEEN: Duration = Duration::from_secs(5);

/// Maximum number of directories to remember, and of those whose names are remembered.
const MOST_SEEN: usize = 1_024;
const MOST_LISTED: usize = 16;

/// Maximum number of names in a directory that is listed, which are one page.
pub(super) const NAMES: u32 = 1_000;

/// Directories that were found, by their prefixes.
#[derive(Default)]
pub(super) struct SeenDirectories(Lock<HashMap<String, SeenDirectory>>);

struct SeenDirectory {
    when: Instant,
    /// Whether an upload to the directory has begun since.
    is_used: bool,
    names: Option<TakenNames>,
}

/// The names in a directory that are taken, and the keys of its notes of unfinished uploads. What this
/// process adds is here before it is in the store.
#[derive(Default)]
struct TakenNames {
    /// Whether all are here that there were at the time of the listing.
    are_all: bool,
    taken: HashSet<String>,
}

/// Whether a name was free a moment ago.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Look {
    Free,
    /// It is taken, or nothing is known.
    Needed,
    /// List the directory, for this upload and later ones; the time identifies the cache entry.
    List(Instant),
}

impl SeenDirectories {
    pub(super) fn has(&self, prefix: &str) -> bool {
        self.0.lock().get(prefix).is_some_and(|seen| seen.when.elapsed() < SEEN)
    }

    pub(super) fn add(&self, prefix: &str) {
        let mut all = self.0.lock();
        all.retain(|_, seen| seen.when.elapsed() < SEEN);
        if all.len() >= MOST_SEEN {
            all.clear();
        }
        let seen = SeenDirectory { when: Instant::now(), is_used: false, names: None };
        all.insert(prefix.to_owned(), seen);
    }

    /// Takes a name for an upload.
    pub(super) fn take(&self, (prefix, name): (&str, &str), note_key: &str) -> Look {
        let mut all = self.0.lock();
        let listed = all.values().filter(|seen| seen.names.is_some()).count();
        let Some(seen) = all.get_mut(prefix) else { return Look::Needed };
        match &mut seen.names {
            Some(names) => {
                let is_free =
                    names.taken.insert(name.to_owned()) && !names.taken.contains(note_key);
                if names.are_all && is_free { Look::Free } else { Look::Needed }
            }
            None if std::mem::replace(&mut seen.is_used, true) && listed < MOST_LISTED => {
                let taken = HashSet::from([name.to_owned()]);
                seen.names = Some(TakenNames { are_all: false, taken });
                Look::List(seen.when)
            }
            None => Look::Needed,
        }
    }

    /// Lets no upload assume that the name of this key is free.
    pub(super) fn take_name(&self, key: &str) {
        let (prefix, name) = split(key.trim_end_matches('/'));
        let mut all = self.0.lock();
        if let Some(known) = all.get_mut(prefix).and_then(|seen| seen.names.as_mut()) {
            known.taken.insert(name.to_owned());
        }
    }

    /// Adds the names of a listing that began after the time `when` of the directory, unless the
    /// directory was forgotten since.
    pub(super) fn learn(
        &self,
        prefix: &str,
        when: Instant,
        names: impl IntoIterator<Item = String>,
    ) {
        let mut all = self.0.lock();
        let seen = all.get_mut(prefix).filter(|seen| seen.when == when);
        if let Some(known) = seen.and_then(|seen| seen.names.as_mut()) {
            known.taken.extend(names);
            known.are_all = true;
        }
    }

    /// Forgets a directory, or with an empty prefix all of them: a removed object may have been the
    /// last one in any of them.
    pub(super) fn forget(&self, prefix: &str) {
        self.0.lock().retain(|seen, _| !seen.starts_with(prefix));
    }
}

/// Returns the prefix of the directory of a key, and the name.
pub(super) fn split(key: &str) -> (&str, &str) {
    key.split_at(key.rfind('/').map_or(0, |slash| slash + 1))
}
