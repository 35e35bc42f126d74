//! The logs of `serve`: the event log and the transfer log.

mod log_file;
mod syslog;
mod target;
mod transfer_log;

pub(super) use self::syslog::SOCKET as SYSLOG;
pub(super) use self::target::LogTarget;
pub(super) use self::transfer_log::Transfers;

use std::fmt::Display;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ftp_server::{EventLog, LogFormat, LogWriter};
use log::Level;

use self::log_file::LogFile;
use self::syslog::Syslog;
use super::privileges::RunAs;
use crate::console::output::{self, Messages};
use crate::exit::{Exit, Failure};
use crate::options::Options;

/// Target of the `log` crate for messages of `serve` itself.
pub(super) const LOG: &str = "ftp_server";

/// Maximum time to wait for log lines to be written, at shutdown and when a log is reopened.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Returns the failure for a thread that cannot be started.
pub(super) fn no_thread(what: &str, error: &io::Error) -> Failure {
    Failure::new(Exit::Internal, format!("cannot start a thread for {what}: {error}"))
}

/// The log of events and of messages about the server itself.
pub(super) struct ServerLog {
    pub(super) events: Arc<EventLog>,
    writer: LogWriter,
    pub(super) messages: Messages,
    target: LogTarget,
    /// The log, if it is a file.
    file: Option<LogFile>,
    /// Whether lines begin with a priority, which a journal or syslog daemon reads.
    has_priorities: bool,
    pub(super) is_quiet: bool,
}

/// The settings of the event log.
pub(crate) struct LogSettings {
    pub(crate) target: LogTarget,
    pub(crate) format: LogFormat,
    /// User who must be able to reopen a log file.
    pub(crate) owner: Option<RunAs>,
}

impl ServerLog {
    /// Starts logging.
    ///
    /// # Errors
    ///
    /// Returns `Local` if the target cannot be opened, or `Internal` if a thread cannot be started.
    pub(super) fn start(
        settings: LogSettings,
        options: &Options,
        messages: &Messages,
    ) -> Result<Self, Failure> {
        let LogSettings { target, format, owner } = settings;
        let failed = |error: io::Error| no_thread("the log", &error);
        let (writer, file, has_priorities) = match &target {
            LogTarget::Stderr => (messages.queued().map_err(failed)?, None, is_journal()),
            LogTarget::File(path) => {
                let file = LogFile::start(path, owner)?;
                (file.writer().clone(), Some(file), false)
            }
            LogTarget::Syslog(form) => {
                let syslog = Syslog::connect(Path::new(SYSLOG), *form)
                    .map_err(|error| Failure::local(SYSLOG, &error))?;
                (LogWriter::start("syslog", syslog).map_err(failed)?, None, true)
            }
        };
        let events = EventLog::new(format, writer.clone())
            .sessions(options.is_verbose())
            .priorities(has_priorities);
        let events = Arc::new(events);
        output::start_in(&events, options);
        let (messages, is_quiet) = (messages.clone(), options.is_quiet());
        if target != LogTarget::Stderr && !is_quiet {
            messages.say(format_args!("logging to {target}"));
        }
        Ok(Self { events, writer, messages, target, file, has_priorities, is_quiet })
    }

    /// Logs a message about the server in the format of the log, unless `--quiet` is given.
    pub(super) fn say(&self, level: Level, text: &dyn Display) {
        let is_console = self.target == LogTarget::Stderr && !self.has_priorities;
        match self.events.format() {
            _ if self.is_quiet => {}
            LogFormat::Text if is_console => self.messages.say(text),
            _ => self.log(level, &text.to_string()),
        }
    }

    /// Logs why the server ends, unless the log is standard error, where the program prints the
    /// reason anyway.
    pub(super) fn fail(&self, failure: &Failure) {
        if self.target != LogTarget::Stderr {
            self.log(Level::Error, &failure.message);
        }
    }

    fn log(&self, level: Level, text: &str) {
        self.events.message(level, self.messages.plain(text));
    }

    /// Reopens a log file by its name. Returns `None` if the log is not a file.
    pub(super) fn open_again(&self) -> Option<Result<(), String>> {
        self.file.as_ref().map(LogFile::open_again)
    }

    /// Waits briefly for the last lines.
    pub(super) fn flush(&self) {
        self.writer.flush(LAST_LINES);
    }
}

/// Returns whether standard error is a journal's stream, which reads priorities (systemd.exec(5)).
fn is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let stderr = rustix::fs::fstat(io::stderr());
    stderr.is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}
