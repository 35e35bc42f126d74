//! Events of a server, their observers, and the logs that some observers write.

mod event_log;
mod line;
mod observer;
mod writer;
mod xferlog;

pub use event_log::EventLog;
pub(crate) use line::Line;
#[cfg(feature = "daemon")]
pub(crate) use line::{Stamp, calendar, to_seconds, unescaped};
pub(crate) use observer::Observers;
pub use observer::{
    Direction, Event, EventKind, Observer, Refusal, SessionEnd, Transfer, TransferEnd,
};
pub use writer::LogWriter;
pub use xferlog::Xferlog;

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
