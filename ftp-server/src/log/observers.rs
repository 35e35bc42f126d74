//! The observers of one server.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::event_log::LogCrate;
use super::observer::{Event, Observer};

/// The observers: the `log` crate first, then the others in the order in which they were added.
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

    /// Announces an upload that is about to be published.
    pub(crate) fn before_publication(&self, event: &Event<'_>, inode: Option<u64>) {
        for observer in &self.others {
            observer.before_publication(event, inode);
        }
    }

    /// Returns whether any observer receives events of sessions: one that was added, or the `log`
    /// crate if it is enabled.
    pub(crate) fn are_listening(&self) -> bool {
        !self.others.is_empty() || LogCrate::is_listening()
    }

    /// Sends an event as [`tell`](Self::tell) does, but catches panics of observers. Threads that
    /// must survive a panic call this method.
    pub(crate) fn tell_unharmed(&self, event: &Event<'_>) {
        let told = catch_unwind(AssertUnwindSafe(|| self.tell(event)));
        if told.is_err() {
            log::error!("an observer panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{EventKind, messages};

    struct Panicking;

    impl Observer for Panicking {
        fn observe(&self, _: &Event<'_>) {
            panic!("as the test wants");
        }
    }

    #[test]
    fn only_a_panicking_observer_is_reported() {
        let peer = ([192, 0, 2, 1], 7).into();
        let event = Event::of_peer(peer, EventKind::LoggedIn);
        let mut observers = Observers::default();
        assert_eq!(
            messages::of(log::Level::Warn, || observers.tell_unharmed(&event)),
            Vec::<String>::new()
        );
        observers.add(Arc::new(Panicking));
        assert_eq!(
            messages::of(log::Level::Warn, || observers.tell_unharmed(&event)),
            ["an observer panicked"]
        );
    }
}
