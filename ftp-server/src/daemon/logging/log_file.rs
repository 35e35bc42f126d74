//! A log file, which may be renamed while the server runs.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::{LAST_LINES, LOG};
use crate::LogWriter;
use crate::daemon::DaemonError;
use crate::daemon::privileges::{RunAs, is_root};
use crate::daemon::values::shown_path;

/// A file that lines are appended to. Clones write to the same file.
#[derive(Clone)]
pub(super) struct LogFile {
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
    pub(super) fn start(path: &Path, owner: Option<RunAs>) -> Result<Self, DaemonError> {
        let file = open(path, owner.as_ref())
            .map_err(|error| DaemonError::local(shown_path(path), &error))?;
        let writer = LogWriter::start(shown_path(path), file)
            .map_err(|error| DaemonError::no_thread("the log", &error))?;
        Ok(Self { path: path.to_owned(), writer, owner })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) const fn writer(&self) -> &LogWriter {
        &self.writer
    }

    /// Reopens the file by its name, because the old file may have been renamed.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened, returns and logs the reason and what to do. The old file then
    /// stays in use.
    pub(super) fn open_again(&self) -> Result<(), String> {
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
