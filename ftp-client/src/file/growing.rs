//! A file that is made longer by one download at a time, or emptied when its first byte comes.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use ftp_proto::Escaped;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::origin::Origin;

/// How much is compared at a time, in bytes.
const BLOCK: usize = 256 * 1_024;

/// A file that is made longer, locked.
#[derive(Debug)]
pub(super) struct Growing {
    pub(super) file: File,
    pub(super) path: PathBuf,
    /// Where the first byte goes. What stands after it now stays until that comes.
    start: Option<u64>,
    /// The same, also once that byte came.
    offset: u64,
    /// What it is the beginning of, to be written down with the first byte.
    origin: Option<Origin>,
    /// Whether it was made for this, and goes again if nothing comes.
    is_new: bool,
}

impl Growing {
    /// Opens the file at `path`, in which there are `length` bytes now and `offset` of them are to
    /// stay.
    pub(super) fn open(
        path: PathBuf,
        length: u64,
        offset: u64,
        origin: Option<Origin>,
    ) -> io::Result<Self> {
        let (file, is_new) = open_alone(&path, length)?;
        Ok(Self { file, path, start: Some(offset), offset, origin, is_new })
    }

    /// The file stays, even if it is empty.
    pub(super) const fn keep(&mut self) {
        self.is_new = false;
    }

    /// The file, with nothing after the place of the first byte.
    pub(super) fn begun(&mut self) -> io::Result<&mut File> {
        if let Some(start) = self.start {
            self.file.set_len(start)?;
            if let Some(origin) = self.origin.take() {
                origin.write_to(&self.file);
            }
            self.start = None;
        }
        Ok(&mut self.file)
    }

    /// Takes away what came, and leaves what was there before.
    pub(super) fn restore(&self) {
        if self.start.is_none() && self.offset > 0 {
            // What cannot be cut off now is cut off, or found to be too long, by the next try.
            let _ = self.file.set_len(self.offset);
        }
    }

    /// Whether all that came is what the file begins with: then the server may have sent it from
    /// its start, although it agreed to another offset.
    pub(super) fn is_repeated(&self) -> io::Result<bool> {
        if self.start.is_some() || self.offset == 0 {
            return Ok(false);
        }
        let file = File::open(&self.path)?;
        let length = file.metadata()?.len().saturating_sub(self.offset).min(self.offset);
        let mut first = vec![0; BLOCK];
        let mut came = vec![0; BLOCK];
        let mut at = 0;
        while at < length {
            let piece = usize::try_from(length - at).unwrap_or(BLOCK).min(BLOCK);
            let (first, _) = first.split_at_mut(piece);
            let (came, _) = came.split_at_mut(piece);
            file.read_exact_at(first, at)?;
            file.read_exact_at(came, self.offset + at)?;
            if first != came {
                return Ok(false);
            }
            at += piece as u64;
        }
        Ok(length > 0)
    }
}

impl Drop for Growing {
    fn drop(&mut self) {
        if self.is_new {
            remove_empty(&self.file, &self.path);
        }
    }
}

/// Removes a file that has nothing in it.
pub(super) fn remove_empty(file: &File, path: &Path) {
    if file.metadata().is_ok_and(|metadata| metadata.len() == 0) && is_at(file, path) {
        let _ = fs::remove_file(path);
    }
}

/// Opens a file for appending that nobody else appends to: two that go on with the same file would
/// each take what the other wrote for its own. `length` is how long it was found to be; with the
/// file comes whether it had to be made.
fn open_alone(path: &Path, length: u64) -> io::Result<(File, bool)> {
    let made = OpenOptions::new().append(true).create_new(true).open(path);
    let is_new = made.is_ok();
    let file = made.or_else(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => OpenOptions::new().append(true).open(path),
        _ => Err(error),
    });
    let file = file.map_err(|error| named(path, &error))?;
    // Where there are no locks, it is as it was found or it is not.
    let is_locked = flock(&file, FlockOperation::NonBlockingLockExclusive)
        .is_err_and(|error| error == Errno::WOULDBLOCK);
    let is_same = file.metadata().is_ok_and(|metadata| metadata.len() == length);
    if is_locked || !is_same || !is_at(&file, path) {
        return Err(named(path, &io::Error::other("another program is writing to it")));
    }
    Ok((file, is_new))
}

/// Whether `path` leads to this file.
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    let id = |metadata: Metadata| (metadata.dev(), metadata.ino());
    let here = file.metadata().map(id);
    let there = fs::symlink_metadata(path).map(id);
    matches!((here, there), (Ok(here), Ok(there)) if here == there)
}

/// Says which file an error is about.
pub(super) fn named(path: &Path, error: &io::Error) -> io::Error {
    let path = Escaped(path.as_os_str().as_bytes());
    io::Error::new(error.kind(), format!("{path}: {error}"))
}
