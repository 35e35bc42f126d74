//! Writes the transfer log, a file in xferlog format. A reload can switch to another file.

use std::path::Path;
use std::sync::MutexGuard;

use super::LAST_LINES;
use super::log_file::LogFile;
use crate::daemon::config::Settings;
use crate::daemon::error::DaemonError;
use crate::lock::Lock;
use crate::{Event, EventKind, Observer, Xferlog};

/// The transfer log, if there is one.
#[derive(Default)]
pub(crate) struct Transfers(Lock<Option<TransferLog>>);

/// A file that lines are appended to.
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
        if self.log().as_ref().map(|log| log.file.path()) == path {
            return Ok(None);
        }
        let named = |error: DaemonError| {
            DaemonError::new(error.kind, format!("log.transfers: {}", error.message))
        };
        let start = |path: &Path| {
            let file = LogFile::start(path, settings.run_as.clone()).map_err(named)?;
            let xferlog = Xferlog::new(file.writer().clone());
            Ok(TransferLog { file, xferlog })
        };
        path.map(start).transpose().map(Some)
    }

    /// Switches to the opened file.
    pub(crate) fn set(&self, prepared: Option<Option<TransferLog>>) {
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
