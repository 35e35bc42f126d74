//! Reports the items of a command: events for programs, counts, and the items themselves,
//! sequentially or in parallel.

pub(crate) mod events;
pub(crate) mod for_each_url;
pub(crate) mod jobs;
pub(crate) mod json;
pub(crate) mod tally;
