//! What was seen of directories a moment ago. It saves requests: the look whether a directory exists,
//! and, while uploads to a directory follow each other, the looks whether each of their names is free.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use crate::lock::Lock;

/// Time for which what was seen of a directory is assumed.
const SEEN: Duration = Duration::from_secs(5);

/// Maximum number of directories to remember, and of those whose names are remembered.
const MOST: usize = 1_024;
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
        if all.len() >= MOST {
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
