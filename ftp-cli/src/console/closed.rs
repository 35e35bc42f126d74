//! Detects standard streams that were closed when the process started.
//!
//! Before `main`, Rust's runtime opens `/dev/null` in place of each closed stream. Output to it is
//! lost without an error, and input from it is empty. In `main`, the stream looks like a
//! `/dev/null` that was passed on purpose, so this code runs earlier.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::stdio;

static INPUT: AtomicBool = AtomicBool::new(false);
static OUTPUT: AtomicBool = AtomicBool::new(false);

/// Records which streams are closed. Runs before the runtime, so it makes only one system call.
#[ctor::ctor]
fn look() {
    let [input, output] = [stdio::stdin(), stdio::stdout()];
    let mut streams =
        [input, output].map(|stream| PollFd::from_borrowed_fd(stream, PollFlags::empty()));
    let _ = poll(&mut streams, Some(&Timespec::default()));
    let [input, output] = streams.map(|stream| stream.revents().contains(PollFlags::NVAL));
    INPUT.store(input, Ordering::Relaxed);
    OUTPUT.store(output, Ordering::Relaxed);
}

/// Returns whether standard input was closed.
pub(crate) fn is_input_closed() -> bool {
    INPUT.load(Ordering::Relaxed)
}

/// Returns whether standard output was closed.
pub(crate) fn is_output_closed() -> bool {
    OUTPUT.load(Ordering::Relaxed)
}

/// Replacement for a closed stream: every read and write fails.
pub(crate) struct Closed;

fn closed<T>() -> io::Result<T> {
    Err(io::Error::new(ErrorKind::NotConnected, "closed"))
}

impl Read for Closed {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        closed()
    }
}

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        closed()
    }

    fn flush(&mut self) -> io::Result<()> {
        closed()
    }
}
