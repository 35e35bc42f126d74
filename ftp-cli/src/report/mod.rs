//! Handles the items of a command, sequentially or in parallel, and reports them: as events for
//! programs, and as counts.

pub(crate) mod events;
#[cfg(feature = "client")]
pub(crate) mod jobs;
