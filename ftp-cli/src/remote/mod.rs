//! Objects on a server: what they are, which of them are links, and how they are shown.

pub(crate) mod links;
pub(crate) mod object;
pub(crate) mod path;
pub(crate) mod show_entry;
