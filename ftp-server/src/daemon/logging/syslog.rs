//! Sends the log to the local syslog daemon, one datagram per line.

use std::io::{self, ErrorKind, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process;

use crate::daemon::values::timestamp;

/// The socket on which all syslog daemons of Linux listen, journald included.
pub(crate) const SOCKET: &str = "/dev/log";

/// The facility `ftp` (RFC 5424, section 6.2.1).
const FACILITY: u8 = 11;

/// The severity of a line without a priority: informational.
const INFORMATIONAL: u8 = 6;

/// The format of a line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum SyslogFormat {
    /// The format of syslog(3), without the time, which daemons take from their own clock. By
    /// default, journald and other daemons read only this format.
    Traditional,
    /// RFC 5424, for a daemon that is configured to read it.
    Rfc5424,
}

/// A connection to the syslog daemon. A line given to `write` can begin with its priority in the
/// form of sd-daemon(3), `<6>text`. The message to the daemon contains the priority in the form
/// that `format` requires.
pub(super) struct Syslog {
    path: PathBuf,
    format: SyslogFormat,
    /// `None` after an error: the daemon may have been restarted.
    socket: Option<UnixDatagram>,
}

impl Syslog {
    /// Connects to the daemon.
    ///
    /// # Errors
    ///
    /// Returns the system's error if no daemon listens.
    pub(super) fn connect(path: &Path, format: SyslogFormat) -> io::Result<Self> {
        let mut syslog = Self { path: path.to_owned(), format, socket: None };
        syslog.socket = Some(syslog.open()?);
        Ok(syslog)
    }

    fn open(&self) -> io::Result<UnixDatagram> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(&self.path)?;
        Ok(socket)
    }

    /// Sends a message. After a failure, tries once more over a new socket, because the daemon may
    /// have been restarted.
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        if let Some(socket) = &self.socket {
            match socket.send(message) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => return Err(error),
                Err(_) => self.socket = None,
            }
        }
        let socket = self.open()?;
        socket.send(message)?;
        self.socket = Some(socket);
        Ok(())
    }

    fn message(&self, line: &[u8]) -> Vec<u8> {
        let (severity, text) = parse_priority(line);
        let priority = FACILITY * 8 + severity;
        let id = process::id();
        let head = match self.format {
            SyslogFormat::Traditional => format!("<{priority}>ftp-cli[{id}]: "),
            SyslogFormat::Rfc5424 => {
                let time = timestamp();
                format!("<{priority}>1 {time} - ftp-cli {id} - - ")
            }
        };
        [head.as_bytes(), text].concat()
    }
}

impl Write for Syslog {
    /// Sends the first line, and returns its length.
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let line = lines.split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default();
        let text = line.trim_ascii_end();
        if !text.is_empty() {
            self.send(&self.message(text))?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Splits a line into its severity and its text.
fn parse_priority(line: &[u8]) -> (u8, &[u8]) {
    match line {
        [b'<', digit @ b'0'..=b'7', b'>', text @ ..] => (digit - b'0', text),
        _ => (INFORMATIONAL, line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_a_syslog_message_and_reconnects_after_a_restart() {
        let here = tempfile::tempdir().unwrap();
        let path = here.path().join("log");
        assert!(Syslog::connect(&path, SyslogFormat::Traditional).is_err());
        let received = |daemon: &UnixDatagram| {
            let mut message = [0; 200];
            let length = daemon.recv(&mut message).unwrap();
            String::from_utf8(message[..length].to_vec()).unwrap()
        };
        let id = process::id();
        let daemon = UnixDatagram::bind(&path).unwrap();
        let mut syslog = Syslog::connect(&path, SyslogFormat::Traditional).unwrap();
        syslog.write_all(b"<4>one\ntwo <3>\n\n").unwrap();
        assert_eq!(received(&daemon), format!("<92>ftp-cli[{id}]: one"));
        assert_eq!(received(&daemon), format!("<94>ftp-cli[{id}]: two <3>"));
        drop(daemon);
        assert!(syslog.write_all(b"<6>lost\n").is_err());
        std::fs::remove_file(&path).unwrap();
        assert!(syslog.write_all(b"<6>lost\n").is_err());
        let daemon = UnixDatagram::bind(&path).unwrap();
        syslog.write_all(b"<3>three\n").unwrap();
        assert_eq!(received(&daemon), format!("<91>ftp-cli[{id}]: three"));

        let mut syslog = Syslog::connect(&path, SyslogFormat::Rfc5424).unwrap();
        syslog.write_all(b"<7>four\n").unwrap();
        let message = received(&daemon);
        let rest = message.strip_prefix("<95>1 ").unwrap();
        let (time, rest) = rest.split_once(' ').unwrap();
        assert_eq!(time.len(), "2026-11-20T15:04:05.678Z".len());
        assert_eq!(rest, format!("- ftp-cli {id} - - four"));
    }
}
