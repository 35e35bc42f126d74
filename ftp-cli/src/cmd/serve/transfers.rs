//! The log of transfers: a file in the form of xferlog that may be renamed while the server runs,
//! and may be another one by a configuration that is read again.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ftp_server::{Event, EventKind, LogWriter, Observer, Xferlog};
use rustix::fs::OFlags;

use super::{LOG, no_thread};
use crate::exit::Failure;
use crate::target::shown_path;

/// How long the end waits for the log to be written.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The log of transfers, if there is one.
#[derive(Default)]
pub(super) struct Transfers(Mutex<Option<Log>>);

/// A file that lines are added to.
pub(super) struct Log {
    path: PathBuf,
    writer: LogWriter,
    xferlog: Xferlog,
}

impl Log {
    fn start(path: &Path) -> Result<Self, Failure> {
        let file = open(path).map_err(|error| Failure::local(shown_path(path), &error))?;
        let writer = LogWriter::start(shown_path(path), file)
            .map_err(|error| no_thread("the log", &error))?;
        let xferlog = Xferlog::new(writer.clone());
        Ok(Self { path: path.to_owned(), writer, xferlog })
    }
}

/// Opens a log to add to it. A pipe that nobody reads is not waited for.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    File::options().append(true).create(true).mode(0o640).custom_flags(flags).open(path)
}

impl Transfers {
    /// Opens the file that is the log from now on, if it is not already; [`set`](Self::set) makes it
    /// so. Whoever the process runs as by now may not be allowed to open it.
    ///
    /// # Errors
    ///
    /// `Local` if the file cannot be opened, `Internal` for want of a thread.
    pub(super) fn prepare(&self, path: Option<&Path>) -> Result<Option<Option<Log>>, Failure> {
        let is_same = self.log().as_ref().map(|log| &*log.path) == path;
        if is_same {
            return Ok(None);
        }
        path.map(Log::start).transpose().map(Some)
    }

    /// Goes on with what was opened.
    pub(super) fn set(&self, prepared: Option<Option<Log>>) {
        if let Some(log) = prepared {
            // The one before writes its last lines, for which no session waits.
            let former = std::mem::replace(&mut *self.log(), log);
            drop(former);
        }
    }

    /// Goes on in the file that has the name now: the one before may have been renamed.
    pub(super) fn open_again(&self) {
        // No session waits while the file is opened.
        let current = self.log().as_ref().map(|log| (log.path.clone(), log.writer.clone()));
        let Some((path, writer)) = current else { return };
        match open(&path) {
            Ok(file) => writer.replace(file),
            Err(error) => {
                let shown = shown_path(&path);
                log::error!(target: LOG, "{shown}: {error}; transfers go to the file before");
            }
        }
    }

    /// Waits a moment for the last lines.
    pub(super) fn flush(&self) {
        let writer = self.log().as_ref().map(|log| log.writer.clone());
        if let Some(writer) = writer {
            writer.flush(LAST_LINES);
        }
    }

    fn log(&self) -> MutexGuard<'_, Option<Log>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
