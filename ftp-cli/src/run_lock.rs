//! `--lock FILE`: one run at a time.

use std::fs::{File, OpenOptions};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::display::shown_path;
use crate::exit::{Exit, Failure};
use crate::options::Options;

/// Locks the file of `--lock` until the returned value is dropped. Creates the file if it is
/// missing, and never removes it.
///
/// # Errors
///
/// Returns `Limit` if another run has the lock, and `Local` if the file cannot be opened or locked.
pub(crate) fn hold(options: &Options) -> Result<Option<File>, Failure> {
    let Some(path) = options.value("lock").map(Path::new) else { return Ok(None) };
    let opened = OpenOptions::new().create(true).append(true).open(path);
    let file = opened.map_err(|error| Failure::local(shown_path(path), &error))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(Errno::WOULDBLOCK) => {
            let message = format!("{}: locked by another run; nothing was done", shown_path(path));
            Err(Failure::new(Exit::Limit, message))
        }
        Err(error) => Err(Failure::local(shown_path(path), &error.into())),
    }
}
