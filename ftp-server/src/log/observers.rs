//! Who is told what happens.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::event_log::LogCrate;
use super::observer::{Event, Observer};

/// Who is told: the log first, then the others in the order in which they came.
#[derive(Clone, Default)]
pub(crate) struct Observers {
    log: Arc<LogCrate>,
    others: Vec<Arc<dyn Observer>>,
}

impl Observers {
    pub(crate) fn add(&mut self, observer: Arc<dyn Observer>) {
        self.others.push(observer);
    }

    pub(crate) fn tell(&self, event: &Event<'_>) {
        self.log.observe(event);
        for observer in &self.others {
            observer.observe(event);
        }
    }

    /// As [`tell`](Self::tell), from a thread that must not end by a panic.
    pub(crate) fn tell_unharmed(&self, event: &Event<'_>) {
        let told = catch_unwind(AssertUnwindSafe(|| self.tell(event)));
        if told.is_err() {
            log::error!("an observer panicked");
        }
    }
}
