//! A password, and how one is read from a line.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;

use crate::display::shown;
use crate::exit::Failure;

/// A longer first line is no password, and the file is the wrong one.
const LONGEST: usize = 4_096;

/// A password. It has no `Debug`, so that no log can show it.
#[derive(Clone)]
pub(crate) struct Secret(Vec<u8>);

impl Secret {
    pub(crate) fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Insists that it can be on a command line, which ends at its end. It is called `name`.
    ///
    /// # Errors
    ///
    /// `Usage` with the name of the first byte that cannot.
    pub(crate) fn is_sendable(&self, name: &str) -> Result<(), Failure> {
        let what = self.0.iter().find_map(|byte| match byte {
            0 => Some("NUL"),
            b'\n' => Some("LF"),
            b'\r' => Some("CR"),
            _ => None,
        });
        what.map_or(Ok(()), |what| Err(unsendable(name, what)))
    }
}

/// The first line of a file, without its line end.
///
/// # Errors
///
/// `Local` if the file cannot be read, `Usage` if its first line is empty or too long.
pub(crate) fn read_file(path: &OsStr) -> Result<Secret, Failure> {
    let shown = shown(path.as_bytes());
    let file = File::open(path).map_err(|error| Failure::local(&shown, &error))?;
    read_line(&mut BufReader::new(file), &shown)
}

/// The next line of what is called `name`, without its line end. Nothing after it is read.
///
/// # Errors
///
/// As [`read_file`].
#[expect(clippy::unbuffered_bytes, reason = "a buffer would take what is behind the line")]
pub(crate) fn read_line(input: &mut dyn Read, name: &str) -> Result<Secret, Failure> {
    let mut line = Vec::new();
    for byte in input.bytes() {
        match byte.map_err(|error| Failure::local(name, &error))? {
            b'\n' => break,
            _ if line.len() == LONGEST => {
                return Err(Failure::usage(format!("{name}: the first line is too long")));
            }
            byte => line.push(byte),
        }
    }
    let line = line.strip_suffix(b"\r").unwrap_or(&line);
    if line.is_empty() {
        return Err(Failure::usage(format!("{name}: the first line is empty")));
    }
    let secret = Secret::new(line);
    secret.is_sendable(name).map(|()| secret)
}

/// The only line of what is called `name`, read to its end.
///
/// # Errors
///
/// As [`read_file`], and `Usage` if something follows the line.
pub(crate) fn read_only_line(input: &mut dyn Read, name: &str) -> Result<Secret, Failure> {
    let line = read_line(input, name)?;
    let mut behind = [0];
    match input.read_exact(&mut behind) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(line),
        Err(error) => Err(Failure::local(name, &error)),
        Ok(()) => Err(unsendable(name, "LF")),
    }
}

fn unsendable(name: &str, what: &str) -> Failure {
    Failure::usage(format!("{name}: a {what} is in the password, which no client can send"))
}
