//! Starts the threads of the server.

use std::io;
use std::thread::{Builder, JoinHandle};

/// Starts a thread with a stack of `stack` bytes. Without a name, the thread inherits the name of
/// its parent thread.
pub(crate) fn start(
    name: Option<&str>,
    stack: usize,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let mut builder = Builder::new().stack_size(stack);
    if let Some(name) = name {
        builder = builder.name(name.to_owned());
    }
    builder.spawn(work)
}
