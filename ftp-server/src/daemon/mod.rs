//! The daemon: makes a server of a configuration file, with users, hooks, login programs,
//! certificates, logs, metrics, a control socket, and the protocols of systemd.
//!
//! ```no_run
//! use ftp_server::daemon::{Config, Daemon};
//!
//! let mut config = Config::read("server.toml")?;
//! config.set("limits.sessions", "100")?; // overrides the file
//! let daemon = Daemon::start(config)?;
//! daemon.join()?;
//! # Ok::<(), ftp_server::daemon::DaemonError>(())
//! ```
//!
//! The daemon installs no signal handler, reads no environment variable, changes neither its user
//! nor its umask, and prints nothing. A program that wants these things does them itself, with
//! [`Setup`], [`Config::environment`] and [`Daemon::reload`]. Messages go to the `log` crate.

mod apply;
mod certificate;
mod check;
mod config;
pub mod control;
mod home;
mod hooks;
mod local_socket;
mod logging;
mod logins;
mod metrics;
mod own_files;
mod patience;
mod privileges;
mod programs;
mod reload;
mod run;
mod running;
mod store_kind;
mod stores;
mod systemd;
mod upload_check;
mod users;

pub use self::check::CheckReport;
pub use self::config::{Config, SettingHelp};
pub use self::logging::DaemonLog;
pub use self::privileges::RunAs;
pub use self::run::{Daemon, Setup};
pub use self::store_kind::{OpenStore, StoreKey, StoreKind, StoreValues};

use std::thread::JoinHandle;
use std::{fmt, io};

use crate::threads;

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
        let errors = ftp_proto::text::values::counted(lines.len(), "error");
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

/// Stack of a thread, in bytes. Only touched pages use memory.
const STACK: usize = 2 * 1024 * 1024;

/// Starts a thread with this name.
///
/// # Errors
///
/// Returns the system's error if the thread cannot be started.
fn start_thread(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    threads::start(Some(name), STACK, work)
}
