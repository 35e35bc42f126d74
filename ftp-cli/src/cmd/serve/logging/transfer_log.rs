//! Writes the transfer log, a file in xferlog format. A reload can switch to another file.

use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use ftp_server::{Event, EventKind, Observer, Xferlog};

use super::LAST_LINES;
use super::log_file::LogFile;
use crate::cmd::serve::privileges::RunAs;
use crate::exit::Failure;
use crate::lock::lock;

/// The transfer log, if there is one.
pub(crate) struct Transfers {
    log: Mutex<Option<Log>>,
    /// User who must be able to reopen the file.
    owner: Option<RunAs>,
}

/// A file that lines are appended to.
pub(crate) struct Log {
    file: LogFile,
    xferlog: Xferlog,
}

impl Transfers {
    /// Returns a transfer log that has no file yet. `owner` is the user of the process after
    /// dropping privileges.
    pub(crate) fn new(owner: Option<RunAs>) -> Self {
        Self { log: Mutex::default(), owner }
    }

    /// Opens the new log file, unless it is open already; [`set`](Self::set) starts using it. If
    /// the process has dropped privileges, it may lack the permission to open the file.
    ///
    /// # Errors
    ///
    /// Returns `Local` if the file cannot be opened, or `Internal` if a thread cannot be started.
    pub(crate) fn prepare(&self, path: Option<&Path>) -> Result<Option<Option<Log>>, Failure> {
        if self.log().as_ref().map(|log| log.file.path()) == path {
            return Ok(None);
        }
        let start = |path: &Path| {
            let file = LogFile::start(path, self.owner.clone())?;
            let xferlog = Xferlog::new(file.writer().clone());
            Ok(Log { file, xferlog })
        };
        path.map(start).transpose().map(Some)
    }

    /// Switches to the opened file.
    pub(crate) fn set(&self, prepared: Option<Option<Log>>) {
        if let Some(log) = prepared {
            // Dropping the former log writes its last lines. Sessions do not wait: the lock is
            // free.
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
            file.writer().flush(LAST_LINES);
        }
    }

    fn file(&self) -> Option<LogFile> {
        self.log().as_ref().map(|log| log.file.clone())
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
