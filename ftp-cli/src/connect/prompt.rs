//! Asks for a password on the terminal without showing the answer.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;
use rustix::termios::tcgetattr;

use super::credentials::{Secret, read_line};
use crate::console::echo::{EchoOff, watch};
use crate::console::messages::Printable;
use crate::exit::{Exit, Failure};

/// The controlling terminal of this process.
pub(crate) struct Terminal(File);

impl Terminal {
    /// Opens the terminal, whatever standard input is.
    ///
    /// # Errors
    ///
    /// Returns the system's error if there is no terminal.
    pub(crate) fn find() -> io::Result<Self> {
        let flags = i32::try_from(OFlags::NOCTTY.bits()).unwrap_or_default();
        let mut opening = File::options();
        let terminal = opening.read(true).write(true).custom_flags(flags).open("/dev/tty")?;
        tcgetattr(&terminal)?;
        Ok(Self(terminal))
    }

    /// Asks for one line. Control characters of `prompt` are escaped.
    ///
    /// # Errors
    ///
    /// Returns `Login` if the user types nothing, and `Usage` if the line is too long or has a byte
    /// that FTP cannot send. Returns `Local` if the terminal fails, and `Interrupted` if a signal
    /// is ending the process.
    pub(crate) fn ask(&self, prompt: &str) -> Result<Secret, Failure> {
        let failed = |error: io::Error| Failure::local("terminal", &error);
        watch().map_err(failed)?;
        let prompt = Printable(prompt).to_string();
        let (bell, rung) = UnixStream::pair().map_err(failed)?;
        let hidden = EchoOff::begin(&self.0, prompt, bell).map_err(failed)?;
        let mut line = Vec::new();
        let read = self.read(&rung, &mut line);
        drop(hidden);
        // The typed line ending was not shown either.
        (&self.0).write_all(b"\n").map_err(failed)?;
        match read {
            Ok(()) if line.is_empty() => {
                Err(Failure::new(Exit::Login, "no password: nothing was typed"))
            }
            Ok(()) => read_line(&mut line.as_slice(), "terminal"),
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                Err(Failure::new(Exit::Interrupted, "interrupted"))
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Reads to the end of the line or of the input (Ctrl-D). Returns `Interrupted` if `rung` has
    /// an event, because a signal is ending the process.
    fn read(&self, rung: &UnixStream, line: &mut Vec<u8>) -> io::Result<()> {
        loop {
            let mut watched =
                [PollFd::new(&self.0, PollFlags::IN), PollFd::new(rung, PollFlags::IN)];
            match poll(&mut watched, None) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            let [_, bell] = &watched;
            if !bell.revents().is_empty() {
                return Err(ErrorKind::Interrupted.into());
            }
            let mut piece = [0; 1_024];
            let length = match (&self.0).read(&mut piece) {
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let piece = piece.get(..length).unwrap_or_default();
            let end = piece.iter().position(|byte| *byte == b'\n');
            line.extend_from_slice(piece.get(..end.unwrap_or(length)).unwrap_or_default());
            // Limits the length, because a program may simulate a line that never ends.
            if length == 0 || end.is_some() || line.len() > 8_192 {
                return Ok(());
            }
        }
    }
}
