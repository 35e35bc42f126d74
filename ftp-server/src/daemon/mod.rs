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
mod error;
mod home;
mod hooks;
pub mod json;
mod local_socket;
mod logging;
mod logins;
mod metrics;
mod own_files;
mod privileges;
mod programs;
mod run;
mod running;
mod setup;
#[cfg_attr(not(all(feature = "s3", feature = "redis")), path = "stores_absent.rs")]
mod stores;
mod sweeper;
mod systemd;
pub mod toml_text;
mod trees;
mod user_storage;
mod users;
pub mod values;

pub use self::check::{CheckReport, check};
pub use self::config::{ABOUT, Config, SettingHelp, settings};
pub use self::error::{DaemonError, DaemonErrorKind};
pub use self::logging::DaemonLog;
pub use self::privileges::RunAs;
pub use self::run::Daemon;
pub use self::setup::Setup;

use std::io;
use std::thread::JoinHandle;

use crate::threads;

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
