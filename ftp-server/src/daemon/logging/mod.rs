//! The logs of a daemon: the event log and the transfer log.

mod log_file;
mod syslog;
mod transfer_log;

pub(super) use self::syslog::SOCKET as SYSLOG;
pub(super) use self::transfer_log::{TransferLog, Transfers};

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use log::Level;

use self::log_file::LogFile;
use self::syslog::{Syslog, SyslogFormat};
use super::config::Config;
use super::error::DaemonError;
use crate::{EventLog, LogWriter};

/// Target of the `log` crate for messages of the daemon itself.
pub(super) const LOG: &str = "ftp_server";

/// Maximum time to wait for log lines to be written, at shutdown and when a log is reopened.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Receives what a daemon announces: where it listens, and how it ends.
type Announcer = Box<dyn Fn(Level, &str) + Send + Sync>;

/// The event log of a daemon, which also takes what the daemon announces when it starts and stops.
pub struct DaemonLog {
    events: Arc<EventLog>,
    writer: LogWriter,
    /// The log, if it is a file.
    file: Option<LogFile>,
    /// Whether events are written; messages always are.
    pub(super) has_events: bool,
    announcer: Option<Announcer>,
}

impl fmt::Debug for DaemonLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DaemonLog").field("events", &self.events).finish_non_exhaustive()
    }
}

impl DaemonLog {
    /// Opens the target that `log.target` names. A file is created if it is missing, and then
    /// belongs to the user of `security.run_as`. For the target `stderr`, `stderr` returns the
    /// writer, and whether its lines begin with a priority. With `is_verbose`, the log contains the
    /// beginning and end of each session.
    ///
    /// # Errors
    ///
    /// Returns `Local` if the target cannot be opened, or `Internal` if a thread cannot be started.
    pub fn open(
        config: &Config,
        is_verbose: bool,
        stderr: impl FnOnce() -> io::Result<(LogWriter, bool)>,
    ) -> Result<Self, DaemonError> {
        let settings = &config.settings;
        let failed = |error: io::Error| DaemonError::no_thread("the log", &error);
        let (writer, file, has_priorities) = match &settings.log_target {
            LogTarget::Stderr => {
                let (writer, has_priorities) = stderr().map_err(failed)?;
                (writer, None, has_priorities)
            }
            LogTarget::File(path) => {
                let file = LogFile::start(path, settings.run_as.clone())?;
                (file.writer().clone(), Some(file), false)
            }
            LogTarget::Syslog(form) => {
                let syslog = Syslog::connect(Path::new(SYSLOG), *form)
                    .map_err(|error| DaemonError::local(SYSLOG, &error))?;
                (LogWriter::start("syslog", syslog).map_err(failed)?, None, true)
            }
        };
        let events = EventLog::new(settings.log_format, writer.clone())
            .sessions(is_verbose)
            .priorities(has_priorities);
        Ok(Self { events: Arc::new(events), writer, file, has_events: true, announcer: None })
    }

    /// Opens the log of a program that does not open it itself: none if the target is `stderr`,
    /// because the daemon never prints.
    pub(super) fn of(config: &Config) -> Result<Option<Self>, DaemonError> {
        match config.settings.log_target {
            LogTarget::Stderr => Ok(None),
            _ => Self::open(config, false, || {
                LogWriter::start("the log", io::sink()).map(|to| (to, false))
            })
            .map(Some),
        }
    }

    /// Leaves out the events of sessions.
    #[must_use]
    pub fn without_events(self) -> Self {
        Self { has_events: false, ..self }
    }

    /// Sends what the daemon announces to `announce` instead of to the log.
    #[must_use]
    pub fn announcing(self, announce: impl Fn(Level, &str) + Send + Sync + 'static) -> Self {
        Self { announcer: Some(Box::new(announce)), ..self }
    }

    /// Returns the log of events, to which a program can add the messages of the `log` crate.
    #[must_use]
    pub fn events(&self) -> &Arc<EventLog> {
        &self.events
    }

    pub(super) fn announce(&self, level: Level, text: &str) {
        match &self.announcer {
            Some(announce) => announce(level, text),
            None => self.events.message(level, text),
        }
    }

    /// Reopens a log file by its name. Returns `None` if the log is not a file.
    pub(super) fn open_again(&self) -> Option<Result<(), String>> {
        self.file.as_ref().map(LogFile::open_again)
    }

    /// Waits briefly for the last lines.
    pub fn flush(&self) {
        self.writer.flush(LAST_LINES);
    }
}

/// Target of the event log.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) enum LogTarget {
    #[default]
    Stderr,
    File(PathBuf),
    /// The local syslog socket.
    Syslog(SyslogFormat),
}

impl LogTarget {
    /// Parses `stderr`, `file:PATH`, `syslog` or `syslog-5424`.
    ///
    /// # Errors
    ///
    /// Returns a message with the expected values.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("file:")) {
            ("stderr", _) => Ok(Self::Stderr),
            ("syslog", _) => Ok(Self::Syslog(SyslogFormat::Traditional)),
            ("syslog-5424", _) => Ok(Self::Syslog(SyslogFormat::Rfc5424)),
            (_, Some(path)) if path.starts_with('/') && !path.contains('\0') => {
                Ok(Self::File(path.into()))
            }
            _ => Err(format!(
                "invalid target \"{text}\": expected stderr, file:/PATH, syslog or syslog-5424"
            )),
        }
    }

    /// Returns the path of the log, if it is a file.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Stderr | Self::Syslog(_) => None,
        }
    }
}

impl fmt::Display for LogTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stderr => f.write_str("stderr"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Syslog(SyslogFormat::Traditional) => f.write_str("syslog"),
            Self::Syslog(SyslogFormat::Rfc5424) => f.write_str("syslog-5424"),
        }
    }
}
