//! What operating systems do differently with the process, its terminal and its user's files: one file
//! for each system, or family of systems, with the same functions. Threads, locks and random names
//! are the same everywhere.

#[cfg(all(feature = "client", target_os = "linux"))]
mod changes;
#[cfg(all(feature = "client", not(target_os = "linux")))]
mod changes_absent;
mod streams;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(all(feature = "client", target_os = "linux"))]
pub(crate) use changes::Changes;
#[cfg(all(feature = "client", not(target_os = "linux")))]
pub(crate) use changes_absent::Changes;
#[cfg(unix)]
pub(crate) use unix::*;
#[cfg(windows)]
pub(crate) use windows::*;

#[cfg(feature = "client")]
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

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

/// Locks a mutex, even if a thread panicked while holding it: that panic is reported elsewhere.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns 16 hexadecimal digits that nobody can guess. The standard library has random bytes on
/// kernels without getrandom(2), too.
#[cfg(feature = "client")]
pub(crate) fn random_name() -> String {
    format!("{:016x}", RandomState::new().build_hasher().finish())
}
