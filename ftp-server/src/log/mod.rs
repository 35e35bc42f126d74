//! Events of a server, their observers, and the logs that some observers write.

mod event_log;
mod line;
#[cfg(test)]
pub(crate) mod messages;
mod observer;
mod writer;
mod xferlog;

pub use event_log::{EventLog, LogFormat};
pub(crate) use line::Line;
#[cfg(feature = "daemon")]
pub(crate) use line::{Stamp, calendar, to_seconds, unescaped};
pub(crate) use observer::Observers;
pub use observer::{
    Direction, Event, EventKind, LoginRefusal, Observer, Refusal, SessionEnd, Transfer, TransferEnd,
};
pub use writer::LogWriter;
pub use xferlog::Xferlog;
