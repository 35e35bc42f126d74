//! Finds remote objects by pattern, formats them, and finds out why a server refuses them.

pub(crate) mod order;
pub(crate) mod pattern;
pub(crate) mod refusal;
pub(crate) mod show_entry;
