//! What threads and runs share: mutexes, the start of a thread, and `--lock FILE`, which allows one
//! run at a time.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::display::shown_path;
use crate::exit::{Exit, Failure, Result};
use crate::options::Options;

/// Locks a mutex, even if a thread panicked while holding it: that panic is reported elsewhere.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Locks the file of `--lock` until the returned value is dropped. Creates the file if it is
/// missing, and never removes it.
///
/// # Errors
///
/// Returns `Limit` if another run has the lock, and `Local` if the file cannot be opened or locked.
pub(crate) fn hold(options: &Options) -> Result<Option<File>> {
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

/// Starts a thread with this name.
///
/// # Errors
///
/// Returns the system's error if the thread cannot be started.
pub(crate) fn start_thread(
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    // One type for all threads: the standard library's code for each type takes 2 KB.
    let work: Box<dyn FnOnce() + Send> = Box::new(work);
    Builder::new().name(name.to_owned()).spawn(work)
}
