//! The logs of a daemon: the event log, which can go to syslog, and the transfer log. A log file
//! may be renamed while the server runs.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;
use std::{fmt, process};

use log::Level;
use rustix::fs::OFlags;

use super::DaemonError;
use super::config::{Config, LogFormat, LogTarget, Settings};
use super::privileges::{RunAs, is_root};
use crate::lock::Lock;
use crate::{Event, EventKind, EventLog, LogWriter, Observer, Xferlog};
use ftp_proto::text::values::shown_path;

/// Target of the `log` crate for messages of the daemon itself.
pub(super) const LOG: &str = "ftp_server";

/// Maximum time to wait for log lines to be written, at shutdown and when a log is reopened.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Receives what a daemon announces: where it listens, and how it ends.
type DaemonAnnouncer = Box<dyn Fn(Level, &str) + Send + Sync>;

/// The event log of a daemon, which also takes what the daemon announces when it starts and stops.
pub struct DaemonLog {
    events: Arc<EventLog>,
    writer: LogWriter,
    file: Option<LogFile>,
    /// Whether events are written; messages always are.
    pub(super) has_events: bool,
    announcer: Option<DaemonAnnouncer>,
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
                (file.writer.clone(), Some(file), false)
            }
            LogTarget::Syslog => {
                let syslog = Syslog::connect(Path::new(SYSLOG))
                    .map_err(|error| DaemonError::local(SYSLOG, &error))?;
                (LogWriter::start("syslog", syslog).map_err(failed)?, None, true)
            }
        };
        let events = EventLog::new(writer.clone())
            .json(settings.log_format == LogFormat::Json)
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

/// The transfer log, a file in xferlog format, if there is one. A reload can switch to another file.
#[derive(Default)]
pub(crate) struct Transfers(Lock<Option<TransferLog>>);

pub(crate) struct TransferLog {
    file: LogFile,
    xferlog: Xferlog,
}

impl Transfers {
    /// Opens the new log file, unless it is open already; [`set`](Self::set) starts using it. If
    /// the process has dropped privileges, it may lack the permission to open the file.
    ///
    /// # Errors
    ///
    /// Returns `Local` if the file cannot be opened, or `Internal` if a thread cannot be started.
    pub(crate) fn prepare(
        &self,
        settings: &Settings,
    ) -> Result<Option<Option<TransferLog>>, DaemonError> {
        let path = settings.log_transfers.as_deref();
        if self.log().as_ref().map(|log| &*log.file.path) == path {
            return Ok(None);
        }
        let named = |error: DaemonError| {
            DaemonError::new(error.kind, format!("log.transfers: {}", error.message))
        };
        let start = |path: &Path| {
            let file = LogFile::start(path, settings.run_as.clone()).map_err(named)?;
            let xferlog = Xferlog::new(file.writer.clone());
            Ok(TransferLog { file, xferlog })
        };
        path.map(start).transpose().map(Some)
    }

    /// Switches to the opened file.
    pub(crate) fn set(&self, prepared: Option<Option<TransferLog>>) {
        if let Some(log) = prepared {
            // Dropping the former log writes its last lines; the lock is free by then, so sessions do
            // not wait for that.
            let former = std::mem::replace(&mut *self.log(), log);
            drop(former);
        }
    }

    /// Reopens the file by its name. Returns `None` if there is no file.
    pub(crate) fn open_again(&self) -> Option<Result<(), String>> {
        // The lock is not held, so that sessions can log while the file is being opened.
        let file = self.file();
        file.map(|file| file.open_again())
    }

    /// Waits briefly for the last lines.
    pub(crate) fn flush(&self) {
        if let Some(file) = self.file() {
            file.writer.flush(LAST_LINES);
        }
    }

    fn file(&self) -> Option<LogFile> {
        self.log().as_ref().map(|log| log.file.clone())
    }

    fn log(&self) -> MutexGuard<'_, Option<TransferLog>> {
        self.0.lock()
    }
}

impl Observer for Transfers {
    fn observe(&self, event: &Event<'_>) {
        if let EventKind::Transferred(_) = event.kind
            && let Some(log) = &*self.log()
        {
            log.xferlog.observe(event);
        }
    }
}

/// The socket on which all syslog daemons of Linux listen, journald included.
pub(super) const SYSLOG: &str = "/dev/log";

/// The facility `ftp` (RFC 5424, section 6.2.1).
const FACILITY: u8 = 11;

/// The severity of a line without a priority: informational.
const INFORMATIONAL: u8 = 6;

/// A connection to the local syslog daemon, with one datagram per line. A line given to `write` can
/// begin with its priority in the form of sd-daemon(3), `<6>text`.
struct Syslog {
    path: PathBuf,
    /// `None` after an error: the daemon may have been restarted.
    socket: Option<UnixDatagram>,
}

impl Syslog {
    /// Connects to the daemon.
    ///
    /// # Errors
    ///
    /// Returns the system's error if no daemon listens.
    fn connect(path: &Path) -> io::Result<Self> {
        let mut syslog = Self { path: path.to_owned(), socket: None };
        syslog.socket = Some(syslog.open()?);
        Ok(syslog)
    }

    fn open(&self) -> io::Result<UnixDatagram> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(&self.path)?;
        Ok(socket)
    }

    /// Sends a message. After a failure, tries once more over a new socket, because the daemon may
    /// have been restarted. While there is no daemon, the line would have to wait.
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        if let Some(socket) = &self.socket {
            match socket.send(message) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => return Err(error),
                Err(_) => self.socket = None,
            }
        }
        let sent = self.open().and_then(|socket| socket.send(message).map(|_| socket));
        self.socket = Some(sent.map_err(|error| match error.kind() {
            // It is not there, or is just ending.
            ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::BrokenPipe => {
                ErrorKind::WouldBlock.into()
            }
            _ => error,
        })?);
        Ok(())
    }

    /// Returns a line as syslog(3) sends it, without a time: all daemons read that, and take the time
    /// from their own clock.
    fn message(line: &[u8]) -> Vec<u8> {
        let (severity, text) = parse_priority(line);
        let head = format!("<{}>ftp-cli[{}]: ", FACILITY * 8 + severity, process::id());
        [head.as_bytes(), text].concat()
    }
}

impl Write for Syslog {
    /// Sends the first line, and returns its length.
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let line = lines.split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default();
        let text = line.trim_ascii_end();
        if !text.is_empty() {
            self.send(&Self::message(text))?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Splits a line into its severity and its text.
fn parse_priority(line: &[u8]) -> (u8, &[u8]) {
    match line {
        [b'<', digit @ b'0'..=b'7', b'>', text @ ..] => (digit - b'0', text),
        _ => (INFORMATIONAL, line),
    }
}

/// A file that lines are appended to. Clones write to the same file.
#[derive(Clone)]
struct LogFile {
    path: PathBuf,
    writer: LogWriter,
    /// User who must be able to reopen the file.
    owner: Option<RunAs>,
}

impl LogFile {
    /// Opens or creates the file. `owner` is the user of the process after dropping privileges. If
    /// the process has dropped them already, it may lack the permission to open the file.
    ///
    /// # Errors
    ///
    /// Returns `Local` if the file cannot be opened, or `Internal` if a thread cannot be started.
    fn start(path: &Path, owner: Option<RunAs>) -> Result<Self, DaemonError> {
        let file = open(path, owner.as_ref())
            .map_err(|error| DaemonError::local(shown_path(path), &error))?;
        let writer = LogWriter::start(shown_path(path), file)
            .map_err(|error| DaemonError::no_thread("the log", &error))?;
        Ok(Self { path: path.to_owned(), writer, owner })
    }

    /// Reopens the file by its name, because the old file may have been renamed.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened, returns and logs the reason and what to do. The old file then
    /// stays in use.
    fn open_again(&self) -> Result<(), String> {
        match open(&self.path, self.owner.as_ref()) {
            Ok(file) => {
                // Lines that were logged before the rotation belong to the rotated file.
                self.writer.flush(LAST_LINES);
                self.writer.replace(file);
                Ok(())
            }
            Err(error) => {
                let shown = shown_path(&self.path);
                let user = self.owner.as_ref().map_or("the server's user".to_owned(), |user| {
                    format!("user \"{user}\" (security.run_as)")
                });
                let failed = format!(
                    "{shown}: {error}; lines are still written to the old file. After renaming, \
                     create a file that {user} can write, or make the directory writable"
                );
                log::error!(target: LOG, "{failed}");
                Err(failed)
            }
        }
    }
}

/// Opens a log for appending. If the file is a named pipe, does not wait for a reader. A new file
/// belongs to `owner`; an existing file keeps its owner.
fn open(path: &Path, owner: Option<&RunAs>) -> io::Result<File> {
    let mut flags = OFlags::NONBLOCK;
    if is_root() && !is_roots_alone(path.parent()) {
        flags |= OFlags::NOFOLLOW;
    }
    let mut options = File::options();
    options.append(true).mode(0o640).custom_flags(flags.bits().cast_signed());
    match options.open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        opened => return opened,
    }
    match options.create_new(true).open(path) {
        // Another process created the file, or a symbolic link points to a missing file.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            options.create_new(false).create(true).open(path)
        }
        Ok(file) => {
            owner.map_or(Ok(()), |owner| owner.give(&file))?;
            Ok(file)
        }
        failed => failed,
    }
}

/// Returns whether only root may write to a directory. In other directories, a link could lead root
/// to any file.
fn is_roots_alone(directory: Option<&Path>) -> bool {
    let metadata = directory.and_then(|directory| directory.metadata().ok());
    metadata.is_some_and(|metadata| metadata.uid() == 0 && metadata.mode() & 0o022 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_a_syslog_message_and_reconnects_after_a_restart() {
        let here = tempfile::tempdir().unwrap();
        let path = here.path().join("log");
        assert!(Syslog::connect(&path).is_err());
        let received = |daemon: &UnixDatagram| {
            let mut message = [0; 200];
            let length = daemon.recv(&mut message).unwrap();
            String::from_utf8(message[..length].to_vec()).unwrap()
        };
        let id = process::id();
        let daemon = UnixDatagram::bind(&path).unwrap();
        let mut syslog = Syslog::connect(&path).unwrap();
        syslog.write_all(b"<4>one\ntwo <3>\n\n").unwrap();
        assert_eq!(received(&daemon), format!("<92>ftp-cli[{id}]: one"));
        assert_eq!(received(&daemon), format!("<94>ftp-cli[{id}]: two <3>"));
        // A process that another test is just starting may keep a copy for a moment.
        daemon.shutdown(std::net::Shutdown::Both).unwrap();
        drop(daemon);
        // Lines wait until there is a daemon again.
        let mut fails = || syslog.write_all(b"<6>three\n").unwrap_err().kind();
        assert_eq!(fails(), ErrorKind::WouldBlock);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(fails(), ErrorKind::WouldBlock);
        let daemon = UnixDatagram::bind(&path).unwrap();
        syslog.write_all(b"<3>three\n").unwrap();
        assert_eq!(received(&daemon), format!("<91>ftp-cli[{id}]: three"));
    }
}
