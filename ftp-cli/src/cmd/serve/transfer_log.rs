//! Writes the transfer log: a file in xferlog format that may be renamed while the server runs, or
//! replaced by a reloaded configuration.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use ftp_server::{Event, EventKind, LogWriter, Observer, Xferlog};
use rustix::fs::OFlags;

use super::logging::{LOG, no_thread};
use super::privileges::RunAs;
use crate::display::shown_path;
use crate::exit::Failure;
use crate::lock::lock;

/// Time that the shutdown waits for the log to be written.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The transfer log, if there is one.
pub(super) struct Transfers {
    log: Mutex<Option<Log>>,
    /// User who must be able to reopen it.
    owner: Option<RunAs>,
}

/// A file that lines are appended to.
pub(super) struct Log {
    path: PathBuf,
    writer: LogWriter,
    xferlog: Xferlog,
}

impl Log {
    fn start(path: &Path, owner: Option<&RunAs>) -> Result<Self, Failure> {
        let file = open(path, owner).map_err(|error| Failure::local(shown_path(path), &error))?;
        let writer = LogWriter::start(shown_path(path), file)
            .map_err(|error| no_thread("the log", &error))?;
        let xferlog = Xferlog::new(writer.clone());
        Ok(Self { path: path.to_owned(), writer, xferlog })
    }
}

/// Opens a log for appending. Does not wait for the reader of a pipe. A new file gets the owner; an
/// existing one keeps its own.
fn open(path: &Path, owner: Option<&RunAs>) -> io::Result<File> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let mut options = File::options();
    options.append(true).mode(0o640).custom_flags(flags);
    match options.open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        opened => return opened,
    }
    match options.create_new(true).open(path) {
        // Another process created it, or a symbolic link points to a missing file.
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

impl Transfers {
    /// Returns an empty log. `owner` is the user of the process after dropping privileges.
    pub(super) fn new(owner: Option<RunAs>) -> Self {
        Self { log: Mutex::default(), owner }
    }

    /// Opens the new log file, unless it is open already; [`set`](Self::set) starts using it. The
    /// process may lack the permission by now.
    ///
    /// # Errors
    ///
    /// Returns `Local` if the file cannot be opened, `Internal` if a thread cannot be started.
    pub(super) fn prepare(&self, path: Option<&Path>) -> Result<Option<Option<Log>>, Failure> {
        let is_same = self.log().as_ref().map(|log| &*log.path) == path;
        if is_same {
            return Ok(None);
        }
        path.map(|path| Log::start(path, self.owner.as_ref())).transpose().map(Some)
    }

    /// Switches to the opened file.
    pub(super) fn set(&self, prepared: Option<Option<Log>>) {
        if let Some(log) = prepared {
            // The previous log writes its last lines; no session waits for them.
            let former = std::mem::replace(&mut *self.log(), log);
            drop(former);
        }
    }

    /// Reopens the file by its name, as the old one may have been renamed. Returns false and logs
    /// the cure if that fails; lines go to the old file then.
    pub(super) fn open_again(&self) -> bool {
        // No session waits while the file is being opened.
        let current = self.log().as_ref().map(|log| (log.path.clone(), log.writer.clone()));
        let Some((path, writer)) = current else { return false };
        match open(&path, self.owner.as_ref()) {
            Ok(file) => writer.replace(file),
            Err(error) => {
                let shown = shown_path(&path);
                let user = self.owner.as_ref().map_or("the server's user".to_owned(), |user| {
                    format!("user \"{user}\" (security.run_as)")
                });
                log::error!(
                    target: LOG,
                    "{shown}: {error}; transfers are logged to the old file. After renaming, \
                 create a file that {user} can write, or make the directory writable"
                );
                return false;
            }
        }
        true
    }

    /// Waits briefly for the last lines.
    pub(super) fn flush(&self) {
        let writer = self.log().as_ref().map(|log| log.writer.clone());
        if let Some(writer) = writer {
            writer.flush(LAST_LINES);
        }
    }

    fn log(&self) -> MutexGuard<'_, Option<Log>> {
        lock(&self.log)
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
