//! Events of a server, their observers, and the logs that some observers write.

mod event_log;
mod line;
mod observer;
mod writer;
mod xferlog;

pub use event_log::EventLog;
pub(crate) use line::{Complaints, Line, SessionComplaints};
#[cfg(feature = "daemon")]
pub(crate) use line::{Ration, unescaped};
pub(crate) use observer::Settle;
pub use observer::{
    Direction, Event, EventKind, Observer, Refusal, SessionEnd, Transfer, TransferEnd,
};
pub use writer::LogWriter;
pub use xferlog::Xferlog;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use event_log::LogCrate;

use crate::storage::{StorageErrorKind as Kind, StorageResult, is_made};

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

    pub(crate) fn before_publication(
        &self,
        event: &Event<'_>,
        hidden_file: Option<(u64, u64)>,
    ) -> Announcement {
        let announce =
            |observer: &Arc<dyn Observer>| observer.before_publication(event, hidden_file);
        Announcement(self.others.iter().filter_map(announce).collect())
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

/// What observers were told of an upload before its publication. It moves to whoever learns how the
/// publication ended. Dropped without an end, it stays with the observers: a hook's event waits for
/// the next server, because an event told too often is better than one that is never told.
#[derive(Default)]
#[must_use]
pub(crate) struct Announcement(Vec<Settle>);

impl Announcement {
    /// Ends the announcement as the publication has ended, unless the storage does not know that.
    pub(crate) fn settle(self, published: &StorageResult<()>) {
        match published {
            Err(error) if matches!(error.kind, Kind::Unknown | Kind::Stalled) => {}
            published => self.0.into_iter().for_each(|end| end(is_made(published))),
        }
    }
}

/// The messages that code sends to the `log` crate, for tests.
#[cfg(test)]
pub(crate) mod messages {
    use std::cell::RefCell;
    use std::sync::Once;

    use log::{Level, LevelFilter, Log, Metadata, Record};

    thread_local! {
        /// The least severe level to keep, and the messages of this thread, while [`of`] runs.
        static MESSAGES: RefCell<Option<(Level, Vec<String>)>> = const { RefCell::new(None) };
    }

    struct Kept;

    impl Log for Kept {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            MESSAGES.with_borrow(|kept| {
                kept.as_ref().is_some_and(|(least, _)| metadata.level() <= *least)
            })
        }

        fn log(&self, record: &Record<'_>) {
            if !self.enabled(record.metadata()) {
                return;
            }
            let message = record.args().to_string();
            MESSAGES.with_borrow_mut(|kept| {
                if let Some((_, messages)) = kept {
                    messages.push(message);
                }
            });
        }

        fn flush(&self) {}
    }

    /// Returns the messages that `work` logs in this thread at the level `least` or a more severe one.
    pub(crate) fn of(least: Level, work: impl FnOnce()) -> Vec<String> {
        static INSTALL: Once = Once::new();
        INSTALL.call_once(|| {
            log::set_logger(&Kept).unwrap();
            log::set_max_level(LevelFilter::Debug);
        });
        MESSAGES.set(Some((least, Vec::new())));
        work();
        MESSAGES.take().unwrap().1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::Lock;
    use crate::storage::StorageError;

    struct Panicking;

    impl Observer for Panicking {
        fn observe(&self, _: &Event<'_>) {
            panic!("as the test wants");
        }
    }

    /// Keeps what becomes of an announced upload.
    struct Told(Arc<Lock<Vec<bool>>>);

    impl Observer for Told {
        fn observe(&self, _: &Event<'_>) {}

        fn before_publication(&self, _: &Event<'_>, _: Option<(u64, u64)>) -> Option<Settle> {
            let ends = Arc::clone(&self.0);
            Some(Box::new(move |is_made| ends.lock().push(is_made)))
        }
    }

    #[test]
    fn an_announcement_ends_as_the_publication_does_dc_45() {
        let ends: Arc<Lock<Vec<bool>>> = Arc::default();
        let mut observers = Observers::default();
        observers.add(Arc::new(Told(Arc::clone(&ends))));
        let announce = || {
            let peer = ([192, 0, 2, 1], 7).into();
            observers.before_publication(&Event::of_peer(peer, EventKind::LoggedIn), None)
        };
        drop(announce());
        assert!(ends.lock().is_empty());
        for (published, want) in [
            (Ok(()), &[true][..]),
            (Err(Kind::Unsynced), &[true]),
            (Err(Kind::Denied), &[false]),
            (Err(Kind::Busy), &[false]),
            (Err(Kind::Unknown), &[]),
            (Err(Kind::Stalled), &[]),
        ] {
            announce().settle(&published.map_err(StorageError::from));
            assert_eq!(std::mem::take(&mut *ends.lock()), want, "{published:?}");
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
