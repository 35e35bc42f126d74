//! Finds out what remote objects are, which of them are links, and formats them.

pub(crate) mod links;
pub(crate) mod object;
pub(crate) mod order;
pub(crate) mod path;
pub(crate) mod pattern;
pub(crate) mod same_file;
pub(crate) mod show_entry;
