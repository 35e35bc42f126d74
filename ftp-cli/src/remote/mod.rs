//! Finds remote objects by pattern, and formats them.

pub(crate) mod order;
pub(crate) mod pattern;
pub(crate) mod show_entry;
