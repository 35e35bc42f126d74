//! What operating systems do differently with the process, its terminal and its user's files: one file
//! for each system, or family of systems, with the same functions.

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

use std::io;
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
