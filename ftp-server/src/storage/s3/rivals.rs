//! Sessions of this process that publish objects under the same key. Some stores ignore the condition
//! that an object is new or unchanged; among its own sessions, the server checks it without a request.
//!
//! Publications under one key take turns in the order in which they came, appends, renames and
//! changes of times too, and one with an unknown outcome counts. The running uploads of
//! `storage::unfinished` are separate: they concern only uploads with records, also notice removals,
//! ignore unknown outcomes, and never wait.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, Weak};

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
    /// The keys of the publications that go on or wait, in the order in which they came.
    turns: Vec<Arc<str>>,
    /// The publications that depend on what the caller has seen under their keys.
    watched: Vec<(Arc<str>, Weak<AtomicBool>)>,
}

/// Whether a publication must not be made any more: it depends on what the caller has seen, and
/// another one came in between, or the caller has given it up. The default depends on nothing.
#[derive(Clone, Default)]
pub(super) struct Watch(Arc<AtomicBool>);

impl Watch {
    /// Gives up the publication. If it waits for its turn, it is not made.
    pub(super) fn give_up(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Rivals {
    /// Watches a key. Call this before you look at its object.
    pub(super) fn watch(&self, key: &str) -> Watch {
        let watch = Watch::default();
        let turn = self.turn(key, &watch);
        let mut state = unpoisoned(self.state.lock());
        state.watched.retain(|(_, other)| other.strong_count() > 0);
        state.watched.push((Arc::clone(&turn.key), Arc::downgrade(&watch.0)));
        watch
    }

    /// Publishes an object under `key`, one publication at a time.
    ///
    /// # Errors
    ///
    /// Returns `refusal` if another object was published, or may have been, since `watch` began, or if
    /// the publication was given up; otherwise an error of `act`.
    pub(super) fn publish<T>(
        &self,
        key: &str,
        watch: &Watch,
        refusal: Kind,
        act: impl FnOnce() -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let mut turn = self.turn(key, watch);
        if watch.0.load(Ordering::SeqCst) {
            return Err(refusal.into());
        }
        turn.may_be_made = true;
        let result = act();
        let is_open = |error: &StorageError| {
            matches!(error.kind, Kind::Unknown | Kind::Io | Kind::Busy | Kind::Unavailable)
        };
        turn.may_be_made = result.as_ref().map_or_else(is_open, |_| true);
        result
    }

    /// Waits for the end of all publications under `key` that came before.
    fn turn(&self, key: &str, watch: &Watch) -> Turn<'_> {
        let turn = Turn { rivals: self, key: key.into(), watch: watch.clone(), may_be_made: false };
        let mut state = unpoisoned(self.state.lock());
        state.turns.push(Arc::clone(&turn.key));
        let must_wait = |state: &mut State| {
            let first = state.turns.iter().find(|other| **other == turn.key);
            first.is_some_and(|first| !Arc::ptr_eq(first, &turn.key))
        };
        drop(unpoisoned(self.ended.wait_while(state, must_wait)));
        turn
    }
}

/// A publication that goes on or waits.
struct Turn<'a> {
    rivals: &'a Rivals,
    key: Arc<str>,
    watch: Watch,
    may_be_made: bool,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = unpoisoned(self.rivals.state.lock());
        state.turns.retain(|other| !Arc::ptr_eq(other, &self.key));
        let is_own = |other: &Arc<AtomicBool>| Arc::ptr_eq(&self.watch.0, other);
        let here = state.watched.iter().filter(|(key, _)| self.may_be_made && *key == self.key);
        for rival in here.filter_map(|(_, rival)| rival.upgrade()).filter(|it| !is_own(it)) {
            rival.store(true, Ordering::SeqCst);
        }
        self.rivals.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use ftp_tests::wait::wait_until;

    use super::*;

    #[test]
    fn publications_under_one_key_take_turns_in_the_order_in_which_they_came() {
        let (rivals, order) = (Rivals::default(), Mutex::new(Vec::new()));
        let publish = &|number, meanwhile: &dyn Fn()| {
            let publishes = || {
                meanwhile();
                order.lock().unwrap().push(number);
                Ok(())
            };
            rivals.publish("f", &Watch::default(), Kind::Busy, publishes).unwrap();
        };
        for _ in 0..20 {
            thread::scope(|scope| {
                publish(1, &|| {
                    scope.spawn(move || publish(2, &|| {}));
                    wait_until("2 waits", || rivals.state.lock().unwrap().turns.len() == 2);
                });
                // This thread is awake, and the other one is not.
                publish(3, &|| {});
            });
            assert_eq!(std::mem::take(&mut *order.lock().unwrap()), [1, 2, 3]);
        }
    }
}
