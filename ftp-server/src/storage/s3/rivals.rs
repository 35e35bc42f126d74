//! Sessions of this process that publish objects under the same key. Some stores ignore the condition
//! that an object is new or unchanged; among its own sessions, the server checks it. That takes a
//! request only if another object was published.
//!
//! Publications under one key take turns in the order in which they came, appends, renames and
//! changes of times too. One that may still be made is left to `late`. The running uploads of
//! `storage::unfinished` are separate: they concern only uploads with records, also notice removals,
//! ignore unknown outcomes, and never wait.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Weak};

use super::error::S3Error;
use super::http::{self, LOOKS};
use super::inner::Inner;
use super::objects::Condition;
use crate::lock::{Lock, unpoisoned};
use crate::storage::{StorageErrorKind as Kind, StorageResult};

/// The publications of this process.
#[derive(Default)]
pub(super) struct Rivals {
    state: Lock<RivalsState>,
    /// Wakes those who wait for the end of a publication.
    ended: Condvar,
}

#[derive(Default)]
struct RivalsState {
    /// The keys of the publications that go on or wait, in the order in which they came.
    turns: Vec<Arc<str>>,
    /// The publications that depend on what the caller has seen under their keys.
    watched: Vec<(Arc<str>, Weak<AtomicBool>)>,
}

/// Whether another publication was or may have been made since the caller has looked at an object.
/// The default watches nothing.
#[derive(Clone, Default)]
pub(super) struct RivalsWatch(Arc<AtomicBool>);

/// The conditions under which a file is published.
#[derive(Clone)]
pub(super) struct Publishing {
    /// The version of the object that was looked at last; `None` if `act` looks at it.
    pub(super) condition: Condition,
    pub(super) watch: RivalsWatch,
    /// The error if the condition is not met. `None`: the object is looked at again, and the newer
    /// version is replaced.
    pub(super) refusal: Option<Kind>,
}

impl Publishing {
    /// Publishes whatever others do meanwhile. The caller looks at the object itself.
    pub(super) fn always() -> Self {
        let (condition, watch) = (Condition::None, RivalsWatch::default());
        Self { condition, watch, refusal: Some(Kind::Busy) }
    }
}

impl Inner {
    /// Returns the conditions for a new object at `key`. Call this before you look for another one.
    pub(super) fn publish_new(&self, key: &str) -> Publishing {
        let watch = self.rivals.watch(key);
        Publishing { condition: Condition::New, watch, refusal: Some(Kind::Exists) }
    }

    /// Publishes an object under `key`, one publication at a time. `act` sends the change, with the
    /// condition of its [`Turn`], by [`Turn::change`].
    ///
    /// # Errors
    ///
    /// Returns the refusal if another object was published since the watch began, and the condition
    /// is not met now; `Busy` if an earlier request may still change the object; or an error of
    /// `act`.
    pub(super) fn publish<T>(
        &self,
        key: &str,
        Publishing { condition, watch, refusal }: &Publishing,
        mut act: impl FnMut(&mut Turn<'_>) -> StorageResult<T>,
    ) -> StorageResult<T> {
        let mut turn = self.rivals.turn(key, watch);
        turn.condition = condition.clone();
        self.check_late(key)?;
        let Some(refusal) = *refusal else { return self.replace(&mut turn, act) };
        let is_rivalled = watch.0.load(Ordering::SeqCst);
        if is_rivalled && !condition.is_met(self.client.head(key)?.as_ref()) {
            return Err(refusal.into());
        }
        act(&mut turn)
    }

    /// Publishes over the object that is there.
    fn replace<T>(
        &self,
        turn: &mut Turn<'_>,
        mut act: impl FnMut(&mut Turn<'_>) -> StorageResult<T>,
    ) -> StorageResult<T> {
        for _ in 0..LOOKS {
            turn.refused = None;
            let done = act(turn);
            turn.condition = match turn.refused {
                Some(ConditionRefusal::Changed) => {
                    Condition::of(http::pause(|| self.client.head(&turn.key))?.as_ref())
                }
                Some(ConditionRefusal::Unknown) if turn.condition != Condition::None => {
                    Condition::None
                }
                _ => return done,
            };
        }
        Err(Kind::Busy.into())
    }
}

impl Rivals {
    /// Watches a key. Call this before you look at its object.
    pub(super) fn watch(&self, key: &str) -> RivalsWatch {
        let watch = RivalsWatch::default();
        let turn = self.turn(key, &watch);
        let mut state = self.state.lock();
        state.watched.retain(|(_, other)| other.strong_count() > 0);
        state.watched.push((Arc::clone(&turn.key), Arc::downgrade(&watch.0)));
        watch
    }

    /// Waits for the end of all publications under `key` that came before.
    pub(super) fn turn(&self, key: &str, watch: &RivalsWatch) -> Turn<'_> {
        let is_made = false;
        let (condition, refused) = (Condition::None, None);
        let (key, watch) = (key.into(), watch.clone());
        let turn = Turn { rivals: self, key, watch, is_made, condition, refused };
        let mut state = self.state.lock();
        state.turns.push(Arc::clone(&turn.key));
        let must_wait = |state: &mut RivalsState| {
            let first = state.turns.iter().find(|other| **other == turn.key);
            first.is_some_and(|first| !Arc::ptr_eq(first, &turn.key))
        };
        drop(unpoisoned(self.ended.wait_while(state, must_wait)));
        turn
    }
}

/// A publication that goes on or waits.
pub(super) struct Turn<'a> {
    rivals: &'a Rivals,
    key: Arc<str>,
    watch: RivalsWatch,
    /// Whether the object was or may have been published.
    is_made: bool,
    /// The condition that the change must carry.
    pub(super) condition: Condition,
    refused: Option<ConditionRefusal>,
}

/// Why the store refused a change with a condition.
#[derive(Clone, Copy)]
enum ConditionRefusal {
    /// The object has changed.
    Changed,
    /// The store knows no such conditions.
    Unknown,
}

impl Turn<'_> {
    /// Sends the request that publishes the object, unless it was given up: see [`http::change`].
    pub(super) fn change<T>(
        &mut self,
        send: impl FnOnce() -> Result<T, S3Error>,
    ) -> Result<T, S3Error> {
        let sent = http::change(send);
        self.is_made = sent.as_ref().map_or_else(S3Error::is_in_doubt, |_| true);
        self.refused = match &sent {
            Err(error) if error.is_changed() => Some(ConditionRefusal::Changed),
            Err(error) if error.status() == Some(501) => Some(ConditionRefusal::Unknown),
            _ => None,
        };
        sent
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.rivals.state.lock();
        state.turns.retain(|other| !Arc::ptr_eq(other, &self.key));
        let is_own = |other: &Arc<AtomicBool>| Arc::ptr_eq(&self.watch.0, other);
        let here = state.watched.iter().filter(|(key, _)| *key == self.key);
        for rival in here.filter_map(|(_, rival)| rival.upgrade()).filter(|it| !is_own(it)) {
            rival.fetch_or(self.is_made, Ordering::SeqCst);
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
        let (rivals, order) = (Rivals::default(), Lock::new(Vec::new()));
        let publish = &|number, meanwhile: &dyn Fn()| {
            let _turn = rivals.turn("f", &RivalsWatch::default());
            meanwhile();
            order.lock().push(number);
        };
        for _ in 0..20 {
            thread::scope(|scope| {
                publish(1, &|| {
                    scope.spawn(move || publish(2, &|| {}));
                    wait_until("2 waits", || rivals.state.lock().turns.len() == 2);
                });
                // This thread is awake, and the other one is not.
                publish(3, &|| {});
            });
            assert_eq!(std::mem::take(&mut *order.lock()), [1, 2, 3]);
        }
    }
}
