//! Receives the bytes of a download and turns them into a file at the end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ftp_client::{Committed, LocalFile};

use super::target::{Target, parent};
use crate::console::output::Output;
use crate::console::signals::Cleanup;
use crate::display::shown_path;
use crate::exit::{Exit, Failure};

/// Destination of a download's bytes: a stream, or a file that gets its final name at the end.
pub(crate) enum Sink {
    Output(Output),
    Direct(File, PathBuf),
    /// A file that is removed on drop, and by a signal.
    Temporary(Temporary),
    /// A file that is kept on drop.
    File(LocalFile),
}

/// A file without its final name yet. If a signal ends the program, the file is removed.
pub(crate) struct Temporary {
    file: LocalFile,
    /// Dropped after the file.
    _listed: Listed,
}

/// Guard of a file that a signal removes.
struct Listed {
    path: PathBuf,
    cleanup: Cleanup,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.cleanup.release(&self.path);
    }
}

impl Sink {
    /// Opens the destination of a download that starts at byte 0.
    ///
    /// # Errors
    ///
    /// Returns `Local` if the file cannot be created or opened.
    pub(crate) fn open(
        target: Target,
        output: &Output,
        cleanup: &Cleanup,
    ) -> Result<Self, Failure> {
        match target {
            Target::Output => Ok(Self::Output(output.clone())),
            Target::Direct(path) => {
                let file = OpenOptions::new().write(true).open(&path);
                let file = file.map_err(|error| Failure::local(shown_path(&path), &error))?;
                Ok(Self::Direct(file, path))
            }
            Target::File(path) => {
                let made = cleanup.guard(|| LocalFile::replacing(&path));
                let file = made.map_err(|error| {
                    let parent = shown_path(parent(&path));
                    Failure::local(format_args!("{parent}: cannot create a file"), &error)
                })?;
                let listed = Listed { path: file.path().to_owned(), cleanup: cleanup.clone() };
                Ok(Self::Temporary(Temporary { file, _listed: listed }))
            }
        }
    }

    /// Opens the file at `path` itself, not a temporary file, and truncates it when the first byte
    /// arrives.
    ///
    /// # Errors
    ///
    /// Returns `Local` if it cannot be opened, is not a regular file, or if another process writes
    /// to it.
    pub(crate) fn in_place(path: &Path) -> Result<Self, Failure> {
        let failed = |error: &io::Error| Failure::local(shown_path(path), error);
        let length = match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_file() => metadata.len(),
            Ok(_) => return Err(failed(&io::Error::other("not a regular file"))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(failed(&error)),
        };
        let file = LocalFile::in_place(path, length, 0);
        file.map(Self::File).map_err(|error| Failure::new(Exit::Local, error.to_string()))
    }

    /// Returns the failure of a write.
    pub(crate) fn failed(&self, error: &io::Error) -> Failure {
        match self {
            Self::Output(_) => Failure::output(error),
            _ => Failure::local(self.shown(), error),
        }
    }

    /// Returns the destination for messages.
    fn shown(&self) -> String {
        match self {
            Self::Output(_) => "standard output".to_owned(),
            Self::Direct(_, path) => shown_path(path),
            Self::Temporary(Temporary { file, .. }) | Self::File(file) => shown_path(file.target()),
        }
    }

    /// Returns whether writing bytes cannot be undone.
    pub(crate) const fn is_stream(&self) -> bool {
        matches!(self, Self::Output(_) | Self::Direct(..))
    }

    /// Returns the local file, if the destination is one.
    pub(crate) const fn file(&self) -> Option<&LocalFile> {
        match self {
            Self::Output(_) | Self::Direct(..) => None,
            Self::Temporary(Temporary { file, .. }) | Self::File(file) => Some(file),
        }
    }

    /// Sets the modification time. Call it after the last byte.
    ///
    /// # Errors
    ///
    /// Returns `Local` if that fails.
    pub(crate) fn set_modified(&self, time: SystemTime) -> Result<(), Failure> {
        let set = self.file().map_or(Ok(()), |file| file.set_modified(time));
        set.map_err(|error| self.failed(&error))
    }

    /// Removes the received bytes, which are known to be wrong.
    pub(crate) fn discard(self) {
        if let Self::File(file) = self {
            file.discard();
        }
    }

    /// Completes the download: syncs a file and renames it to its final name, or flushes a stream.
    /// Replaces an existing file if `replaces` is set.
    ///
    /// # Errors
    ///
    /// Returns `Local`, or `BrokenPipe` for standard output without a reader, if that fails. An
    /// existing file is then unchanged, unless it was opened in place.
    pub(crate) fn commit(self, replaces: bool) -> Result<Committed, Failure> {
        let shown = self.shown();
        let done = match self {
            Self::Output(mut output) => {
                return match output.flush() {
                    Ok(()) => Ok(Committed::Done),
                    Err(error) => Err(Failure::output(&error)),
                };
            }
            // FIFOs and devices need no sync and report EINVAL.
            Self::Direct(file, _) => match file.sync_all() {
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(Committed::Done),
                synced => synced.map(|()| Committed::Done),
            },
            Self::Temporary(Temporary { file, _listed }) => file.commit(replaces),
            Self::File(file) => file.commit(replaces),
        };
        done.map_err(|error| Failure::local(shown, &error))
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Output(output) => output.write(bytes),
            Self::Direct(file, _) => file.write(bytes),
            Self::Temporary(Temporary { file, .. }) | Self::File(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
