//! The standard streams of every system.

use std::io::{self, ErrorKind, Read, Write};

/// Standard input, output and error.
pub(crate) type Streams = (Box<dyn Read + Send>, Box<dyn Write + Send>, Box<dyn Write + Send>);

/// Replacement for a closed stream: every read and write fails.
pub(super) struct Closed;

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
