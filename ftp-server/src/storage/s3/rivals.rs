//! Sessions of this process that publish objects under the same key. Some stores ignore the condition
//! that an object is new or unchanged; among its own sessions, the server checks it without a request.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use crate::lock::unpoisoned;

/// The publications that depend on what the caller has seen under their keys.
#[derive(Default)]
pub(super) struct Rivals(Mutex<Vec<(String, Weak<AtomicBool>)>>);

/// A publication that depends on what the caller has seen: whether another one came before it.
#[derive(Clone)]
pub(super) struct Watch(Arc<AtomicBool>);

impl Rivals {
    /// Watches a key. Call this before you look at its object.
    pub(super) fn watch(&self, key: &str) -> Watch {
        let is_overtaken = Arc::new(AtomicBool::new(false));
        let mut watched = unpoisoned(self.0.lock());
        watched.retain(|(_, other)| other.strong_count() > 0);
        watched.push((key.to_owned(), Arc::downgrade(&is_overtaken)));
        Watch(is_overtaken)
    }

    /// Begins to publish an object. Returns whether the caller may: since its `watch` began, no other
    /// publication under this key has begun. All others that watch the key may no more, even if this
    /// publication fails: its outcome can stay unknown.
    pub(super) fn begin(&self, key: &str, watch: Option<&Watch>) -> bool {
        let watched = unpoisoned(self.0.lock());
        if watch.is_some_and(|Watch(is_overtaken)| is_overtaken.load(Ordering::SeqCst)) {
            return false;
        }
        let is_own = |other: &Arc<AtomicBool>| watch.is_some_and(|own| Arc::ptr_eq(&own.0, other));
        let rivals = watched.iter().filter(|(other, _)| other == key);
        for rival in rivals.filter_map(|(_, rival)| rival.upgrade()).filter(|it| !is_own(it)) {
            rival.store(true, Ordering::SeqCst);
        }
        true
    }
}
