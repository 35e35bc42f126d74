//! Describes how sessions are confined to their directories.

use log::Level;

use super::logging::LOG;

/// Description of the confinement of sessions to their directories, for messages.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Kept {
    pub(super) level: Level,
    pub(super) text: String,
}

impl Kept {
    pub(super) fn log(&self) {
        log::log!(target: LOG, self.level, "{}", self.text);
    }
}
