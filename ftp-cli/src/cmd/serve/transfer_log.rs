//! The log of transfers: a file in the form of xferlog that may be renamed while the server runs,
//! and may be another one by a configuration that is read again.

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

/// How long the end waits for the log to be written.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The log of transfers, if there is one.
pub(super) struct Transfers {
    log: Mutex<Option<Log>>,
    /// Who will have to open it again.
    owner: Option<RunAs>,
}

/// A file that lines are added to.
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

/// Opens a log to add to it. A pipe that nobody reads is not waited for. A file that is made here
/// becomes the owner's; one that was there stays whose it is.
fn open(path: &Path, owner: Option<&RunAs>) -> io::Result<File> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let mut options = File::options();
    options.append(true).mode(0o640).custom_flags(flags);
    match options.open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        opened => return opened,
    }
    match options.create_new(true).open(path) {
        // Somebody was faster, or a link leads to where nothing is.
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
    /// None so far. `owner` is whom the process will run as once it has given up root.
    pub(super) fn new(owner: Option<RunAs>) -> Self {
        Self { log: Mutex::default(), owner }
    }

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
        path.map(|path| Log::start(path, self.owner.as_ref())).transpose().map(Some)
    }

    /// Goes on with what was opened.
    pub(super) fn set(&self, prepared: Option<Option<Log>>) {
        if let Some(log) = prepared {
            // The one before writes its last lines, for which no session waits.
            let former = std::mem::replace(&mut *self.log(), log);
            drop(former);
        }
    }

    /// Goes on in the file that has the name now: the one before may have been renamed. False if it
    /// could not be opened, so that lines go to the one before, of which is told with what to do.
    pub(super) fn open_again(&self) -> bool {
        // No session waits while the file is opened.
        let current = self.log().as_ref().map(|log| (log.path.clone(), log.writer.clone()));
        let Some((path, writer)) = current else { return false };
        match open(&path, self.owner.as_ref()) {
            Ok(file) => writer.replace(file),
            Err(error) => {
                let shown = shown_path(&path);
                let user =
                    self.owner.as_ref().map_or("the user of the server".to_owned(), |user| {
                        format!("{user} (security.run_as)")
                    });
                log::error!(
                    target: LOG,
                    "{shown}: {error}; transfers go to the file before. Whoever renames it is to \
                     make a new one that {user} may write, or let that one write its directory"
                );
                return false;
            }
        }
        true
    }

    /// Waits a moment for the last lines.
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
