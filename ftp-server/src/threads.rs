//! How every thread of the server is started.

use std::io;
use std::thread::{Builder, JoinHandle};

/// Starts a thread with a stack of `stack` bytes. Without a name, it has the name of the thread that
/// starts it.
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
