//! Standard streams of a run, which tests can replace, and streams that were closed when the process
//! started.
//!
//! Before `main`, Rust's runtime opens `/dev/null` in place of each closed stream. Output to it is
//! lost without an error, and input from it is empty. In `main`, the stream looks like a
//! `/dev/null` that was passed on purpose, so `look` runs earlier.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Read, Write};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::stdio;

use super::output::{Messages, Output, ResultLines};
use super::signals::{Cleanup, Ending};
use crate::display::shown_path;
use crate::exit::{Failure, Result};
use crate::options::Options;
use crate::report::Events;

/// Streams of a run: data on `input` and `output`, messages on `messages`.
pub struct Stdio {
    pub(crate) input: Box<dyn Read + Send>,
    pub(crate) output: Box<dyn Write>,
    /// Standard output for several threads.
    pub(crate) shared_output: Output,
    /// Events of `--json`.
    pub(crate) events: Events,
    pub(crate) messages: Messages,
    /// Whether this run owns the process and handles signals.
    pub(crate) is_process: bool,
    /// Agreement about which thread ends the process.
    pub(crate) ending: Ending,
    /// What must be cleaned up then, once the command has begun.
    pub(crate) cleanup: Arc<OnceLock<Cleanup>>,
}

impl Stdio {
    /// Returns the streams of this process.
    #[must_use]
    pub fn process() -> Self {
        let output = match OUTPUT_IS_CLOSED.load(Ordering::Relaxed) {
            true => Output::new(Closed),
            false => Output::new(Standard(stdio::stdout)),
        };
        let input: Box<dyn Read + Send> = match INPUT_IS_CLOSED.load(Ordering::Relaxed) {
            true => Box::new(Closed),
            false => Box::new(Standard(stdio::stdin)),
        };
        let messages = Messages::new(Standard(stdio::stderr), io::stderr().is_terminal());
        Self::with(input, output, messages, true)
    }

    /// Returns streams that replace those of this process, and are not a terminal. The caller
    /// handles signals, except during `serve`, which handles them itself.
    pub fn captured(
        input: impl Read + Send + 'static,
        output: impl Write + Send + 'static,
        error: impl Write + Send + 'static,
    ) -> Self {
        let messages = Messages::new(error, false);
        Self::with(Box::new(input), Output::new(output), messages, false)
    }

    fn with(
        input: Box<dyn Read + Send>,
        output: Output,
        messages: Messages,
        is_process: bool,
    ) -> Self {
        Self {
            input,
            output: Box::new(output.clone()),
            shared_output: output,
            events: Events::default(),
            messages,
            is_process,
            ending: Ending::default(),
            cleanup: Arc::default(),
        }
    }

    /// Returns whether standard output is a terminal.
    pub(crate) fn output_is_terminal(&self) -> bool {
        self.is_process && io::stdout().is_terminal()
    }

    /// Returns the writer of result lines, escaped for a terminal as the options say.
    pub(crate) fn lines(&self, options: &Options) -> ResultLines {
        let escapes = !options.has("raw-names") && self.output_is_terminal();
        ResultLines::new(self.shared_output.clone(), escapes)
    }
}

/// Reads a file that an option names, or standard input for `-`. Returns its name for messages too.
///
/// # Errors
///
/// Returns `Local` if it cannot be read.
pub(crate) fn read(file: &OsStr, input: &mut dyn Read) -> Result<(String, Vec<u8>)> {
    let name = match file == "-" {
        true => "standard input".to_owned(),
        false => shown_path(Path::new(file)),
    };
    let mut text = Vec::new();
    let read = match file == "-" {
        true => input.read_to_end(&mut text),
        false => File::open(file).and_then(|mut file| file.read_to_end(&mut text)),
    };
    read.map_err(|error| Failure::local(&name, &error))?;
    Ok((name, text))
}

/// A standard stream of the process, by its descriptor. [`io::stdin`] takes an unreadable descriptor
/// for the end of the data, and [`io::stdout`] scans each block of a file for line feeds.
struct Standard(fn() -> BorrowedFd<'static>);

impl Read for Standard {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let stream = (self.0)();
        when_ready(stream, PollFlags::IN, || rustix::io::read(stream, &mut *buffer))
    }
}

impl Write for Standard {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let stream = (self.0)();
        when_ready(stream, PollFlags::OUT, || rustix::io::write(stream, bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Repeats `act` on a stream until it is ready. Another program that shares the stream may have set
/// `O_NONBLOCK`.
fn when_ready<T>(
    stream: BorrowedFd<'_>,
    interest: PollFlags,
    mut act: impl FnMut() -> Result<T, Errno>,
) -> io::Result<T> {
    loop {
        match act() {
            Err(Errno::AGAIN) => {
                let _ = poll(&mut [PollFd::from_borrowed_fd(stream, interest)], None);
            }
            done => return Ok(done?),
        }
    }
}

ftp_proto::debug_fields!(Stdio { is_process }..);

/// Whether standard input was closed when the process started.
static INPUT_IS_CLOSED: AtomicBool = AtomicBool::new(false);
/// Whether standard output was closed when the process started.
static OUTPUT_IS_CLOSED: AtomicBool = AtomicBool::new(false);

/// Records which streams are closed. Runs before the runtime, so it makes only one system call.
#[ctor::ctor]
fn look() {
    let [input, output] = [stdio::stdin(), stdio::stdout()];
    let mut streams =
        [input, output].map(|stream| PollFd::from_borrowed_fd(stream, PollFlags::empty()));
    let _ = poll(&mut streams, Some(&Timespec::default()));
    let [input, output] = streams.map(|stream| stream.revents().contains(PollFlags::NVAL));
    INPUT_IS_CLOSED.store(input, Ordering::Relaxed);
    OUTPUT_IS_CLOSED.store(output, Ordering::Relaxed);
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
