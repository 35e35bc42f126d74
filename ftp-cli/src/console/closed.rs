//! Detects standard streams that were closed when the process started.
//!
//! Before `main`, Rust's runtime opens `/dev/null` in place of each closed stream. Output to it is
//! lost without an error, and input from it is empty. Later it looks like a `/dev/null` that was
//! passed on purpose, so this runs earlier.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::fcntl_getfd;
use rustix::stdio;

static INPUT: AtomicBool = AtomicBool::new(false);
static OUTPUT: AtomicBool = AtomicBool::new(false);

/// Runs before the runtime: makes two system calls, and nothing else.
#[ctor::ctor]
fn look() {
    INPUT.store(fcntl_getfd(stdio::stdin()).is_err(), Ordering::Relaxed);
    OUTPUT.store(fcntl_getfd(stdio::stdout()).is_err(), Ordering::Relaxed);
}

/// Returns whether standard input was closed.
pub(crate) fn is_input_closed() -> bool {
    INPUT.load(Ordering::Relaxed)
}

/// Returns whether standard output was closed.
pub(crate) fn is_output_closed() -> bool {
    OUTPUT.load(Ordering::Relaxed)
}

/// Replaces a closed stream: every use fails.
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
