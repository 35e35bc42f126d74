//! Sessions of this process that change the object under the same key. Some stores ignore the
//! condition that an object is new or unchanged; among its own sessions, the server checks it.
//!
//! Publications under one key take turns in the order in which they came: uploads, appends, the
//! targets of renames, and changes of times. So do removals that the store does not check. One that
//! may still be made is left to `LateChanges`. The running uploads of `storage::unfinished` are
//! separate: they concern only uploads with records, ignore unknown outcomes, and never wait.
//!
//! An object that must not have changed is removed here, too. With a store that ignores the condition
//! of a removal, the server looks at the object right before, in its turn.

use std::sync::{Arc, Condvar};
use std::time::{Duration, Instant};

use super::error::S3Error;
use super::http::{self, Client, LOOKS, Request, Treatment, Treatments, check_wanted};
use super::inner::Inner;
use super::objects::Condition;
use crate::lock::{Lock, unpoisoned};
use crate::storage::{StorageErrorKind as Kind, StorageResult};
use crate::threads::RECENT;

/// The changes of this process that take turns. They outlive each store.
#[derive(Default)]
pub(super) struct Rivals {
    /// The keys of those that go on or wait, in the order in which they came.
    turns: Lock<Vec<Arc<str>>>,
    /// Wakes those who wait.
    ended: Condvar,
}

/// The version of the object that a change is made for, and the error if it is another one by then.
/// With `None` as the error, the object is looked at again, and the newer version is changed.
pub(super) type Publishing = (Condition, Option<Kind>);

/// Publishes whatever others do meanwhile. The caller looks at the object itself.
pub(super) const ALWAYS: Publishing = (Condition::None, Some(Kind::Busy));

impl Inner {
    /// Changes the object under `key`, one change at a time. `act` sends the change, with the
    /// condition of its [`Turn`], by [`Turn::change`].
    ///
    /// # Errors
    ///
    /// Returns the error of `publishing` if the object is another one; `Busy` if an earlier request
    /// may still change it; `Unknown` if an attempt without a response may have changed it before
    /// others did; or an error of `act`.
    pub(super) fn publish<T>(
        &self,
        key: &str,
        (condition, refusal): Publishing,
        mut act: impl FnMut(&mut Turn<'_>) -> StorageResult<T>,
    ) -> StorageResult<T> {
        let mut turn = self.memory.rivals.turn(key);
        self.check_late(key)?;
        let begun = Instant::now();
        // The store may ignore the condition.
        if let Some(refusal) = refusal.filter(|_| condition != Condition::None)
            && !condition.is_met(self.client.head(key)?.as_ref())
        {
            return Err(refusal.into());
        }
        turn.condition = condition;
        for _ in 0..LOOKS {
            turn.is_refused = false;
            let done = act(&mut turn);
            if turn.is_refused && self.client.late.has_since(key, begun) {
                return done.map_err(S3Error::after_change);
            }
            if refusal.is_some() || !turn.is_refused {
                return done;
            }
            // Only a client that is there now wants the newer version changed, too.
            check_wanted(Duration::ZERO)?;
            turn.condition = Condition::of(self.client.head(key)?.as_ref());
        }
        Err(Kind::Busy.into())
    }

    /// Waits for its turn under a key that nothing is published under, unless the store checks the
    /// conditions of removals.
    pub(super) fn turn_of_own(&self, key: &str) -> Option<Turn<'_>> {
        let is_checked =
            |operation| self.client.checks.known(operation).is_some_and(Treatments::are_checked);
        (!is_checked("DeleteObject") || !is_checked("PutObject"))
            .then(|| self.memory.rivals.turn(key))
    }
}

impl Rivals {
    /// Waits for the end of all changes under `key` that came before.
    pub(super) fn turn(&self, key: &str) -> Turn<'_> {
        let (key, condition) = (key.into(), Condition::None);
        let turn = Turn { rivals: self, key, condition, is_refused: false };
        let mut turns = self.turns.lock();
        turns.push(Arc::clone(&turn.key));
        let must_wait = |turns: &mut Vec<Arc<str>>| {
            let first = turns.iter().find(|other| **other == turn.key);
            first.is_some_and(|first| !Arc::ptr_eq(first, &turn.key))
        };
        drop(unpoisoned(self.ended.wait_while(turns, must_wait)));
        turn
    }
}

/// A change that goes on or waits.
pub(super) struct Turn<'a> {
    rivals: &'a Rivals,
    key: Arc<str>,
    pub(super) condition: Condition,
    /// Whether the last change was refused because of its condition.
    is_refused: bool,
}

impl Turn<'_> {
    /// Sends the request that changes the object, unless it was given up: see [`http::change`].
    pub(super) fn change<T>(
        &mut self,
        send: impl FnOnce() -> Result<T, S3Error>,
    ) -> Result<T, S3Error> {
        let sent = http::change(send);
        self.is_refused = sent.as_ref().is_err_and(S3Error::is_changed);
        sent
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.rivals.turns.lock().retain(|other| !Arc::ptr_eq(other, &self.key));
        self.rivals.ended.notify_all();
    }
}

impl Client {
    /// Removes an object. A removal without proof counts if the object is then missing.
    pub(super) fn delete(&self, key: &str, condition: &Condition) -> Result<(), S3Error> {
        let headers = condition.header().into_iter().collect();
        let request = Request { headers, ..Request::of("DeleteObject", key) };
        let is_gone = || Ok(self.head(key)?.is_none().then_some(()));
        match self.decided(&request, is_gone, |_| Ok(())) {
            Err(error) if error.is_missing() => Ok(()),
            // Another request can have removed it.
            Err(error) if error.is_precondition() => is_gone()?.ok_or(error),
            done => done,
        }
    }
}

impl Inner {
    /// Removes an object if it still has this entity tag.
    ///
    /// # Errors
    ///
    /// Returns an error for a condition that is not met if another session has replaced the object.
    pub(super) fn delete_if(&self, key: &str, tag: &str) -> Result<(), S3Error> {
        let _turn = self.turn_of_own(key);
        self.delete_in_turn(key, tag)
    }

    fn delete_in_turn(&self, key: &str, tag: &str) -> Result<(), S3Error> {
        let condition = Condition::Is(tag.to_owned());
        match self.test("DeleteObject") {
            Ok(found) if found.is == Treatment::Checked => {
                return self.client.delete(key, &condition);
            }
            // This does not prove that the store ignores the condition.
            Err(error) if error.is_transient() || error.is_in_doubt() => return Err(error),
            _ => {}
        }
        let now = self.client.head(key)?;
        // The look and the test took time.
        check_wanted(RECENT)?;
        match now {
            None => Ok(()),
            now if condition.is_met(now.as_ref()) => self.client.delete(key, &Condition::None),
            Some(_) => Err(S3Error::changed("DeleteObject")),
        }
    }

    /// Removes the object at `key`, also if another session has replaced the one with this entity
    /// tag. Each request carries the version that was looked at last.
    pub(super) fn delete_latest(&self, key: &str, tag: String) -> StorageResult<()> {
        self.publish(key, (Condition::Is(tag), None), |turn| match turn.condition.clone() {
            Condition::Is(tag) => Ok(turn.change(|| self.delete_in_turn(key, &tag))?),
            // It is gone.
            _ => Ok(()),
        })
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
            let _turn = rivals.turn("f");
            meanwhile();
            order.lock().push(number);
        };
        for _ in 0..20 {
            thread::scope(|scope| {
                publish(1, &|| {
                    scope.spawn(move || publish(2, &|| {}));
                    wait_until("2 waits", || rivals.turns.lock().len() == 2);
                });
                // This thread is awake, and the other one is not.
                publish(3, &|| {});
            });
            assert_eq!(std::mem::take(&mut *order.lock()), [1, 2, 3]);
        }
    }
}
