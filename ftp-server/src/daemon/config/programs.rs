//! The keys of `[auth]`.

use std::path::PathBuf;
use std::time::Duration;

use super::row::with_defaults;
use crate::daemon::hooks::HookEvent;

with_defaults! {
    /// The program that checks the logins of users who are not in the configuration.
    #[derive(Clone, Debug)]
    pub(crate) struct AuthSettings {
        /// Program that checks a login, with its arguments; empty for none.
        pub(crate) program: Vec<String>,
        /// Time for which an accepted password is remembered, so that the program does not run again.
        pub(crate) cache: Duration = Duration::from_secs(60),
        /// Timeout of one process.
        pub(crate) timeout: Duration = Duration::from_secs(5),
        /// Largest number of simultaneous processes.
        pub(crate) workers: usize = 4,
    }
}

with_defaults! {
    /// Programs that the server runs after events.
    #[derive(Clone, Debug)]
    pub(crate) struct HookSettings {
        /// Program to run after each completed upload, with its arguments; empty for none.
        pub(crate) stored: Vec<String>,
        /// Timeout of one process of either program.
        pub(crate) timeout: Duration = Duration::from_secs(60),
        /// Program that gets events as JSON.
        pub(crate) program: Option<PathBuf>,
        /// Events that `program` gets.
        pub(crate) events: Vec<HookEvent>,
        /// Largest number of simultaneous processes of `program`.
        pub(crate) processes: usize = 4,
        /// Largest number of retries of `program` after a failure.
        pub(crate) retries: u32 = 3,
        /// Pause before the first retry of `program`.
        pub(crate) retry_delay: Duration = Duration::from_secs(1),
        /// Directory for events that `program` did not handle.
        pub(crate) dead_letters: Option<PathBuf>,
        /// Directory of the queued events.
        pub(crate) spool: Option<PathBuf>,
    }
}

impl HookSettings {
    /// Returns a contradiction, if there is one: the wrong key, and what it needs.
    pub(super) fn contradictions(&self) -> Option<(&'static str, String)> {
        match (&self.program, self.events.is_empty()) {
            (Some(_), true) => Some(("hooks.program", "needs hooks.events".to_owned())),
            (None, false) => Some(("hooks.events", "needs hooks.program".to_owned())),
            _ => None,
        }
    }
}
