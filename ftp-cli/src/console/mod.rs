//! Everything about the terminal and the process: standard streams, messages, signals, the trace
//! and progress.

pub(crate) mod output;
#[cfg(feature = "client")]
pub(crate) mod progress;
pub(crate) mod signals;

pub(crate) use output::{Dialogue, Hidden, Messages, Output, Printable, ResultLines, Stdio};
#[cfg(feature = "client")]
pub(crate) use progress::{Board, Meter, When, is_talkative};
pub(crate) use signals::Cleanup;
