//! Reads the values of settings from text, and shows them as text, grouped by their syntax.

mod dates;
mod directories;
mod lists;
mod mounts;
mod numbers;
mod texts;
mod words;

pub(crate) use dates::{EXPIRY, Expiry};
pub(crate) use directories::{DIRECTORIES, directory_path, directory_rights};
pub(crate) use lists::{
    ADDRESSES, ARGUMENTS, EVENTS, HOSTS, NAMES, NETWORKS, OVERRIDES, PATTERNS, PINS, PROGRAM, USERS,
};
pub(crate) use mounts::{MOUNTS, MountPoint, mount_path, mounted_root};
pub(crate) use numbers::{
    ATTEMPTS, COUNT, FILES, IDLE_TIME, MODE, NUMBER, OWN_COUNT, OWN_IDLE_TIME, OWN_UMASK,
    PROCESSES, RATE, SIZE, SPEED, TIME, UMASK, WAITING_TIME,
};
pub(crate) use texts::{
    ACCESS_KEY, ADDRESS, BUCKET, ENDPOINT, FILE, GROUP, HOME, LEDGER, LINE, LOG_TARGET, METRICS,
    OWN_ROOT, PASSWORD, PORTS, REGION, RIGHTS, ROLE, ROOT, RUN_AS,
};
pub(crate) use words::{
    CLIENTS, CONFINE, LOG, ON_FAILURE, OWN_PARTIAL, OWN_SWITCH, OWN_SYNC, PARTIAL, REUSE, SWITCH,
    SYNC, TLS, TYPE, VERSION,
};

use super::kind::Kind;

/// Text form of values of the type `T`.
pub(crate) struct Form<T: 'static> {
    pub(crate) kind: Kind,
    /// Parses a value, or returns a message about the error.
    pub(crate) read: fn(&str) -> Result<T, String>,
    pub(crate) show: fn(&T) -> String,
}

impl<T> Form<T> {
    pub(crate) const fn new(
        kind: Kind,
        read: fn(&str) -> Result<T, String>,
        show: fn(&T) -> String,
    ) -> Self {
        Self { kind, read, show }
    }
}

/// Reads a value. Returns `None` if the text is empty.
pub(crate) fn unless_empty<T>(
    text: &str,
    read: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, String> {
    if text.is_empty() { Ok(None) } else { read(text).map(Some) }
}

/// Shows a value that may be missing.
pub(crate) fn optional<T: ToString>(value: &Option<T>) -> String {
    or_quotes(value.as_ref().map_or_else(String::new, ToString::to_string))
}

/// Returns the text, or a pair of quotes if it is empty.
pub(crate) fn or_quotes(shown: String) -> String {
    if shown.is_empty() { "\"\"".to_owned() } else { shown }
}
