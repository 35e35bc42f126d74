//! What became of the items of a command: events for programs, counts, and the items themselves,
//! one after the other or several at a time.

pub(crate) mod events;
pub(crate) mod for_each_url;
pub(crate) mod jobs;
pub(crate) mod json;
pub(crate) mod tally;
