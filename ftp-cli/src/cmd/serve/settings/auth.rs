//! The keys of `[auth]`.

use std::time::Duration;

/// The program that checks the logins of users who are not in the configuration.
#[derive(Clone, Debug)]
pub(crate) struct AuthSettings {
    /// Program that checks a login, with its arguments; empty for none.
    pub(crate) program: Vec<String>,
    /// Time for which an accepted password is remembered, so that the program does not run again.
    pub(crate) cache: Duration,
    /// Timeout of one process.
    pub(crate) timeout: Duration,
    /// Largest number of simultaneous processes.
    pub(crate) workers: usize,
}

impl Default for AuthSettings {
    fn default() -> Self {
        Self {
            program: Vec::new(),
            cache: Duration::from_secs(60),
            timeout: Duration::from_secs(5),
            workers: 4,
        }
    }
}
