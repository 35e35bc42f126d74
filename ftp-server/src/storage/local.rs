//! Files below one directory of this machine.

/// Placeholder.
pub struct LocalStorage;
/// Placeholder.
pub enum Sync {}
