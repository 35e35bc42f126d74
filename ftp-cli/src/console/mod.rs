//! Everything about the terminal and the process: standard streams, messages, signals, the trace
//! and progress.

pub(crate) mod output;
#[cfg(feature = "client")]
pub(crate) mod progress;
pub(crate) mod signals;
pub(crate) mod stdio;
