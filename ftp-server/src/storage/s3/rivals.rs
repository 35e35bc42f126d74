//! Sessions of this process that publish objects under the same key. Some stores ignore the condition
//! that an object is new or unchanged; among its own sessions, the server checks it without a request.
//!
//! Publications under one key take turns, appends and renames too, and one with an unknown outcome
//! counts. The running uploads of `storage::unfinished` are separate: they concern only uploads with
//! records, also notice removals, ignore unknown outcomes, and never wait.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};

use crate::lock::unpoisoned;
use crate::storage::{StorageError, StorageErrorKind as Kind};

/// The publications of this process.
#[derive(Default)]
pub(super) struct Rivals {
    state: Mutex<State>,
    /// Wakes those who wait for the end of a publication.
    ended: Condvar,
}

#[derive(Default)]
struct State {
    /// The keys whose objects are being published.
    publishing: Vec<String>,
    /// The publications that depend on what the caller has seen under their keys.
    watched: Vec<(String, Weak<AtomicBool>)>,
}

/// A publication that depends on what the caller has seen: whether another one came in between.
#[derive(Clone)]
pub(super) struct Watch(Arc<AtomicBool>);

impl Rivals {
    /// Watches a key. Call this before you look at its object.
    pub(super) fn watch(&self, key: &str) -> Watch {
        let mut state = self.when_quiet(key);
        state.watched.retain(|(_, other)| other.strong_count() > 0);
        let is_overtaken = Arc::new(AtomicBool::new(false));
        state.watched.push((key.to_owned(), Arc::downgrade(&is_overtaken)));
        Watch(is_overtaken)
    }

    /// Publishes an object under `key`, one publication at a time.
    ///
    /// # Errors
    ///
    /// Returns `refusal` if another object was published, or may have been, since `watch` began, or
    /// an error of `act`.
    pub(super) fn publish<T>(
        &self,
        key: &str,
        watch: Option<&Watch>,
        refusal: Kind,
        act: impl FnOnce() -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let mut state = self.when_quiet(key);
        if watch.is_some_and(|Watch(is_overtaken)| is_overtaken.load(Ordering::SeqCst)) {
            return Err(refusal.into());
        }
        state.publishing.push(key.to_owned());
        drop(state);
        let mut turn = Turn { rivals: self, key, watch, may_be_made: true };
        let result = act();
        let is_open = |error: &StorageError| {
            matches!(error.kind, Kind::Unknown | Kind::Io | Kind::Busy | Kind::Unavailable)
        };
        turn.may_be_made = result.as_ref().map_or_else(is_open, |_| true);
        result
    }

    /// Waits until no object is being published under `key`.
    fn when_quiet(&self, key: &str) -> MutexGuard<'_, State> {
        let mut state = unpoisoned(self.state.lock());
        while state.publishing.iter().any(|other| other == key) {
            state = unpoisoned(self.ended.wait(state));
        }
        state
    }
}

/// A publication that goes on.
struct Turn<'a> {
    rivals: &'a Rivals,
    key: &'a str,
    watch: Option<&'a Watch>,
    may_be_made: bool,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = unpoisoned(self.rivals.state.lock());
        state.publishing.retain(|other| other != self.key);
        let is_own =
            |other: &Arc<AtomicBool>| self.watch.is_some_and(|own| Arc::ptr_eq(&own.0, other));
        let here = state.watched.iter().filter(|(key, _)| self.may_be_made && key == self.key);
        for rival in here.filter_map(|(_, rival)| rival.upgrade()).filter(|it| !is_own(it)) {
            rival.store(true, Ordering::SeqCst);
        }
        self.rivals.ended.notify_all();
    }
}
