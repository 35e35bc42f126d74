//! Measures the clock and the file system of a target, and whether two directories are one, with a
//! file that is removed at once.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use ftp_proto::{Escaped, Pathname, TimeVal};

use super::entry::{Clock, PROBE, TEMPORARY};
use super::fault::TreeFault;
use super::local::{Directory, ODD_TIME};
use crate::client::Client;
use crate::error::Error;

/// Writes a file into `directory`, optionally sets its time to `set`, asks for its modification
/// time, and removes it. Returns the local time before the file was written, the reported time, and
/// the local time after it was written. Returns `None` if the server refuses a step other than the
/// removal, or reports no time.
fn time_of_file(
    client: &mut Client,
    directory: &[u8],
    set: Option<i64>,
) -> Result<Option<(i64, i64, i64)>, TreeFault> {
    let refused = |error| match error {
        Error::Refused(..) | Error::Unsupported(_) => Ok(None),
        error => Err(TreeFault::from(error)),
    };
    // All runs use one name: if the server permits no deletion, only one file is left.
    let path = Pathname::join(directory, &[TEMPORARY, b"clock.tmp"].concat());
    let before = now();
    let stored = client.store(&path).and_then(|mut upload| {
        upload.write_all(b"\n").map_err(|error| Error::recover(error).unwrap_or_else(Error::Io))?;
        upload.finish()
    });
    if let Err(error) = stored {
        return refused(error);
    }
    let after = now();
    let set = match set.and_then(TimeVal::from_unix_seconds) {
        Some(time) => client.set_modified(&path, time).map(drop),
        None => Ok(()),
    };
    let times = set.and_then(|()| client.modified(&path));
    match client.delete(&path) {
        Ok(()) => {}
        Err(Error::Refused(..)) => warn_remains(&path),
        Err(error) => return Err(error.into()),
    }
    match times {
        Ok(times) => Ok(times.map(|there| (before, there.unix_seconds(), after))),
        Err(error) => refused(error),
    }
}

/// Returns the current time in seconds since 1970-01-01T00:00:00Z.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.ok().and_then(|since| i64::try_from(since.as_secs()).ok()).unwrap_or_default()
}

/// Measures the server's clock: some servers report local time as UTC. Returns `None` if the server
/// accepts no file in `directory`, or reports no times.
///
/// # Errors
///
/// Returns errors that end the connection.
pub(crate) fn clock(client: &mut Client, directory: &[u8]) -> Result<Option<Clock>, TreeFault> {
    let times = time_of_file(client, directory, None)?;
    Ok(times.map(|(before, there, after)| Clock::by(before, there, after)))
}

/// Returns whether the server's file system stores only even seconds.
///
/// # Errors
///
/// Returns errors that end the connection.
pub(crate) fn is_coarse(client: &mut Client, directory: &[u8]) -> Result<bool, TreeFault> {
    let times = time_of_file(client, directory, Some(ODD_TIME))?;
    Ok(times.is_some_and(|(_, there, _)| (there - ODD_TIME).abs() == 1))
}

/// Warns about a test object that the server does not remove.
pub(crate) fn warn_remains(path: &[u8]) {
    let path = Escaped(path);
    log::warn!(
        target: "ftp_client",
        "{path}: the server refuses to remove this test object; delete it yourself"
    );
}

/// Calls `is_there` with the name of an empty file that exists in the local `directory` meanwhile. If
/// a directory on a server shows this name, both are one.
///
/// # Errors
///
/// Returns the system's errors.
pub(crate) fn with_probe<T>(
    directory: &Directory,
    is_there: impl FnOnce(&[u8]) -> T,
) -> io::Result<T> {
    let (name, _held) = create_probe(directory)?;
    let found = is_there(&name);
    directory.remove(&name, false).map(|()| found)
}

/// Creates an empty file, and returns its name and the locked file. The name does not begin with a
/// dot, because some servers hide such names.
fn create_probe(directory: &Directory) -> io::Result<(Vec<u8>, File)> {
    static MADE: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id();
        let name = [PROBE, format!("{process:x}-{number:x}.tmp").as_bytes()].concat();
        match directory.create(&name) {
            Ok(file) => return Ok((name, file)),
            // An earlier process with the same id left this file.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}
