//! How every thread of the server is started.

use std::io;
use std::thread::{Builder, JoinHandle};

/// Starts a thread with a stack of so many bytes. Without a name it has that of the one it is started
/// by.
pub(crate) fn start(
    name: Option<&str>,
    stack: usize,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    start_boxed(name, stack, Box::new(work))
}

/// All kinds of work are one to the standard library, which would else have its code to start a
/// thread once for each.
fn start_boxed(
    name: Option<&str>,
    stack: usize,
    work: Box<dyn FnOnce() + Send>,
) -> io::Result<JoinHandle<()>> {
    let mut builder = Builder::new().stack_size(stack);
    if let Some(name) = name {
        builder = builder.name(name.to_owned());
    }
    builder.spawn(work)
}
