//! Why a configuration is refused, or why a daemon cannot start or change.

use std::fmt;
use std::io;

/// Why a configuration is refused, or why a daemon cannot start or change. `Display` shows it
/// without its [`lines`](Self::lines).
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct DaemonError {
    pub(crate) kind: DaemonErrorKind,
    pub(crate) message: String,
    pub(crate) lines: Vec<String>,
}

/// Who can correct a [`DaemonError`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum DaemonErrorKind {
    /// The author of the configuration: a value is invalid or contradicts another.
    Configuration,
    /// The owner of a local file, directory or socket.
    Local,
    /// The network: an address cannot be bound, or another server does not answer.
    Network,
    /// This build, or another server, lacks an ability.
    Unsupported,
    /// The system has no thread or memory left, or the daemon has ended.
    Internal,
}

impl DaemonError {
    pub(crate) fn new(kind: DaemonErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), lines: Vec::new() }
    }

    pub(crate) fn configuration(message: impl Into<String>) -> Self {
        Self::new(DaemonErrorKind::Configuration, message)
    }

    /// Returns the failure of the local file or socket `what`.
    pub(crate) fn local(what: impl fmt::Display, error: &io::Error) -> Self {
        Self::new(DaemonErrorKind::Local, format!("{what}: {error}"))
    }

    /// Returns the failure of a thread that cannot be started.
    pub(crate) fn no_thread(what: &str, error: &io::Error) -> Self {
        let message = format!("cannot start a thread for {what}: {error}");
        Self::new(DaemonErrorKind::Internal, message)
    }

    /// Returns the refusal of the configuration `name` because of these errors.
    pub(crate) fn refused(name: &str, lines: Vec<String>) -> Self {
        let errors = super::values::counted(lines.len(), "error");
        Self { lines, ..Self::configuration(format!("{name}: {errors}")) }
    }

    /// Returns who can correct the error.
    #[must_use]
    pub fn kind(&self) -> DaemonErrorKind {
        self.kind
    }

    /// Returns one line for each error in the configuration: `FILE:LINE:COLUMN: KEY: REASON`, with
    /// a suggestion if a similar key or value exists. Empty for other errors.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Returns the lines and the message, one per line.
    pub(crate) fn whole(&self) -> String {
        let message = std::iter::once(&self.message);
        self.lines.iter().chain(message).cloned().collect::<Vec<_>>().join("\n")
    }
}
