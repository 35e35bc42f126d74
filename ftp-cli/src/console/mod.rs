//! Everything about the terminal and the process: standard streams, messages, signals, the trace
//! and progress.

pub(crate) mod children;
pub(crate) mod closed;
pub(crate) mod echo;
pub(crate) mod ending;
pub(crate) mod hidden;
pub(crate) mod ignored_signals;
pub(crate) mod messages;
pub(crate) mod output;
pub(crate) mod progress;
pub(crate) mod signals;
pub(crate) mod stdio;
pub(crate) mod threads;
pub(crate) mod trace;
pub(crate) mod watchdog;
