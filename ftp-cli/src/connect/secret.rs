//! A password, functions that read one from a line, and files that only their owner may change.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{self, BufReader, ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags, open};

use crate::display::shown;
use crate::exit::Failure;
use crate::options::values;

/// Longest line in bytes; a longer one means the wrong file.
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

    /// Checks that the password can be sent in an FTP command line. `name` is its source.
    ///
    /// # Errors
    ///
    /// Returns `Usage` with the name of the first invalid byte.
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

/// Returns the first line of a file, without its line ending.
///
/// # Errors
///
/// Returns `Local` if the file cannot be read. Returns `Usage` if its first line is empty or too
/// long, or has a byte that FTP cannot send.
pub(crate) fn read_file(path: &OsStr) -> Result<Secret, Failure> {
    let shown = shown(path.as_bytes());
    let file = File::open(path).map_err(|error| Failure::local(&shown, &error))?;
    read_line(&mut BufReader::new(file), &shown)
}

/// Returns the next line of the source `name`, without its line ending and without a byte order
/// mark. Reads nothing after the line.
///
/// # Errors
///
/// Returns the same errors as [`read_file`].
#[expect(clippy::unbuffered_bytes, reason = "a buffer would consume bytes after the line")]
pub(crate) fn read_line(input: &mut dyn Read, name: &str) -> Result<Secret, Failure> {
    let mut line = Vec::new();
    for byte in input.bytes() {
        match byte.map_err(|error| Failure::local(name, &error))? {
            b'\n' => break,
            _ if line.len() == LONGEST => {
                return Err(Failure::usage(format!(
                    "{name}: line too long for a secret: expected at most {LONGEST} bytes"
                )));
            }
            byte => line.push(byte),
        }
    }
    let line = values::without_mark(line.strip_suffix(b"\r").unwrap_or(&line));
    if line.is_empty() {
        let message = format!("{name}: expected a secret, but the line is empty or missing");
        return Err(Failure::usage(message));
    }
    let secret = Secret::new(line);
    secret.is_sendable(name).map(|()| secret)
}

/// Returns the only line of the source `name`, read to its end.
///
/// # Errors
///
/// Returns the same errors as [`read_file`], and `Usage` if anything follows the line.
pub(crate) fn read_only_line(input: &mut dyn Read, name: &str) -> Result<Secret, Failure> {
    let line = read_line(input, name)?;
    let mut behind = [0];
    match input.read_exact(&mut behind) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(line),
        Err(error) => Err(Failure::local(name, &error)),
        Ok(()) => Err(Failure::usage(format!("{name}: expected only one line"))),
    }
}

/// Largest file in bytes that [`read_own`] reads.
pub(crate) const LARGEST: u64 = 1 << 20;

/// Reads a file of the user's own. Follows symbolic links: the owner and mode of the target count.
///
/// # Errors
///
/// Returns the system's errors, and `FileTooLarge` above 1 MiB. Returns `InvalidInput` for a file
/// that is not regular, because it might never end.
pub(crate) fn read_own(path: &Path) -> io::Result<(Metadata, Vec<u8>)> {
    // Opening a FIFO must not wait for its writer.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(open(path, flags, Mode::empty())?);
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut text = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut text)?;
    match text.len() as u64 > LARGEST {
        true => Err(ErrorKind::FileTooLarge.into()),
        false => Ok((metadata, text)),
    }
}

/// Returns why `user` should not trust a file, if another user except root owns it, or if its mode
/// has a bit of `forbidden`: then `what` others can do, and the mode that is right.
pub(crate) fn unfit(
    metadata: &Metadata,
    user: u32,
    (forbidden, what, right): (u32, &str, u32),
) -> Option<String> {
    let owner = metadata.uid();
    let mode = metadata.mode() & 0o7777;
    if owner != user && owner != 0 {
        return Some(format!("owned by another user (uid {owner}); you or root must own it"));
    }
    let is_open = mode & forbidden != 0;
    is_open.then(|| format!("{what} others (mode {mode:04o}); use chmod {right:o}"))
}

fn unsendable(name: &str, what: &str) -> Failure {
    Failure::usage(format!("{name}: invalid password: it contains {what}, which FTP cannot send"))
}
