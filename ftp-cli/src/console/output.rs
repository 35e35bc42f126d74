//! Writes data and results to standard output from several threads.

use std::io::{self, BufWriter, Write};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use ftp_proto::Escaped;

use crate::exit::Failure;
use crate::lock::lock;

/// Standard output, shared by threads; writes are not interleaved.
#[derive(Clone)]
pub(crate) struct Output(Arc<Mutex<Box<dyn Write + Send>>>);

impl Output {
    pub(crate) fn new(writer: impl Write + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Box::new(writer))))
    }

    /// Waits until no write is under way, for at most `limit`. Returns whether one still is then:
    /// nothing reads what was written before.
    pub(super) fn is_blocked_for(&self, limit: Duration) -> bool {
        const STEP: Duration = Duration::from_millis(10);
        let begun = Instant::now();
        while matches!(self.0.try_lock(), Err(TryLockError::WouldBlock)) {
            if begun.elapsed() >= limit {
                return true;
            }
            thread::sleep(STEP);
        }
        false
    }

    fn writer(&self) -> MutexGuard<'_, Box<dyn Write + Send>> {
        lock(&self.0)
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer().write(bytes)
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer().write_all(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer().flush()
    }
}

/// Result lines on standard output: exact bytes, except that control characters are escaped on a
/// terminal, unless `--raw-names` is given.
pub(crate) struct ResultLines {
    output: BufWriter<Output>,
    escapes: bool,
}

impl ResultLines {
    pub(crate) fn new(output: Output, escapes: bool) -> Self {
        Self { output: BufWriter::new(output), escapes }
    }

    /// Writes one line.
    ///
    /// # Errors
    ///
    /// Returns `BrokenPipe` if standard output has no reader, and `Local` if it is closed or full.
    pub(crate) fn print(&mut self, line: &[u8]) -> Result<(), Failure> {
        let written = match self.escapes {
            true => writeln!(self.output, "{}", Escaped(line)),
            false => self.output.write_all(line).and_then(|()| self.output.write_all(b"\n")),
        };
        written.map_err(|error| Failure::output(&error))
    }

    /// Flushes the output.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`print`](Self::print).
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.output.flush().map_err(|error| Failure::output(&error))
    }
}

/// Writes data or results to standard output.
///
/// # Errors
///
/// Returns `BrokenPipe` if standard output has no reader, and `Local` if it is closed or full.
pub(crate) fn print(output: &mut dyn Write, bytes: &[u8]) -> Result<(), Failure> {
    let written = output.write_all(bytes).and_then(|()| output.flush());
    written.map_err(|error| Failure::output(&error))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Buffer that keeps all written bytes, shared by its clones.
    #[derive(Clone, Default)]
    pub(crate) struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Kept {
        pub(crate) fn bytes(&self) -> Vec<u8> {
            self.0.lock().unwrap().clone()
        }
    }

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
