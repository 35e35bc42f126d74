//! Which standard streams were closed when the process was started.
//!
//! Before `main`, Rust's runtime opens `/dev/null` in the place of each. What is written there is
//! lost without an error, and what is read is an empty file. Afterwards nothing tells it from a
//! `/dev/null` that another program passed on purpose, so it is looked at before that.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::fcntl_getfd;
use rustix::stdio;

static INPUT: AtomicBool = AtomicBool::new(false);
static OUTPUT: AtomicBool = AtomicBool::new(false);

/// Runs before the runtime is there: it makes two system calls, and nothing else.
#[ctor::ctor]
fn look() {
    INPUT.store(fcntl_getfd(stdio::stdin()).is_err(), Ordering::Relaxed);
    OUTPUT.store(fcntl_getfd(stdio::stdout()).is_err(), Ordering::Relaxed);
}

/// Whether standard input was closed.
pub(crate) fn is_input_closed() -> bool {
    INPUT.load(Ordering::Relaxed)
}

/// Whether standard output was closed.
pub(crate) fn is_output_closed() -> bool {
    OUTPUT.load(Ordering::Relaxed)
}

/// Stands in for a stream that was closed: whoever uses it fails.
pub(crate) struct Closed;

fn closed<T>() -> io::Result<T> {
    Err(io::Error::new(ErrorKind::NotConnected, "it is closed"))
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
