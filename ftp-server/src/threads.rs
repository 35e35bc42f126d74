//! Starts the threads of the server.

use std::io;
use std::thread::{Builder, JoinHandle};

use crate::budget;

/// Starts a thread with a stack of `stack` bytes. Without a name, the thread inherits the name of
/// its parent thread.
///
/// # Errors
///
/// Returns the system's error, or `OutOfMemory` if the thread and the other threads might use up the
/// address space: an allocation that fails would abort the process.
pub(crate) fn start(
    name: Option<&str>,
    stack: usize,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    budget::check_room_for_thread(stack)?;
    let mut builder = Builder::new().stack_size(stack);
    if let Some(name) = name {
        builder = builder.name(name.to_owned());
    }
    builder.spawn(work)
}
