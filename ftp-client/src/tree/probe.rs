//! Tries what no listing shows, with a file or a directory that is removed at once: the clock and the
//! file system of a target, whether two directories are one, and how a server stores names that are
//! not UTF-8.

use std::fs::File;
use std::io::{self, Write};

use ftp_proto::{Entry, Escaped, HiddenFile, Pathname, TimeVal};

use super::entry::{Clock, TEMPORARY};
use super::fault::TreeFault;
use super::hand::Hand;
use super::local::{Directory, ODD_TIME};
use crate::age::now;
use crate::client::Client;
use crate::error::Error;
use crate::listing::{Budget, ListOptions};
use crate::random;

/// Writes a file into `directory`, optionally sets its time to `set`, asks for its modification
/// time, and removes it. Returns the local time before the file was written, the reported time, and
/// the local time after it was written. Returns `None` if the server stores no file, or reports no
/// time.
fn time_of_file(
    client: &mut Client,
    directory: &[u8],
    set: Option<i64>,
) -> Result<Option<(i64, i64, i64)>, TreeFault> {
    let refused = |error| match error {
        Error::Refused { .. } | Error::Unsupported(_) => Ok(None),
        error => Err(TreeFault::from(error)),
    };
    // All runs use one name: if the server permits no deletion, only one file is left.
    let path = Pathname::join(directory, &[TEMPORARY, b"clock.tmp"].concat());
    let before = now();
    let stored = match client.store(&path) {
        Ok(mut upload) => match upload.write_all(b"\n") {
            Ok(()) => upload.finish().map(drop),
            Err(error) => Err(Error::downcast(error).unwrap_or_else(Error::io)),
        },
        Err(error) => return refused(error),
    };
    let (after, is_stored) = (now(), stored.is_ok());
    let set = match set.and_then(TimeVal::from_unix_seconds).filter(|_| is_stored) {
        Some(time) => match client.set_modified(&path, time) {
            // The reported time shows it.
            Err(Error::Refused { .. }) => Ok(()),
            set => set.map(drop),
        },
        None => stored,
    };
    let times = set.and_then(|()| client.modified(&path));
    // Some servers keep what a failed upload has sent.
    match client.delete(&path) {
        Ok(()) => {}
        Err(Error::Refused { .. }) if is_stored => warn_remains(&path),
        Err(Error::Refused { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    match times {
        Ok(times) => Ok(times.map(|there| (before, there.unix_seconds(), after))),
        Err(error) => refused(error),
    }
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

/// Converts a time that the server reports of the file at `path` to the earliest and the latest time
/// of the local clock, once per connection with a test file. Returns `None` as [`clock`] does.
///
/// # Errors
///
/// Returns errors that end the connection.
pub(crate) fn local_time(
    client: &mut Client,
    path: &[u8],
    time: i64,
) -> Result<Option<(i64, i64)>, Error> {
    if client.clock.is_none() {
        client.clock = clock(client, Pathname::split(path).0)?;
    }
    Ok(client.clock.map(|clock| (time - clock.most, time - clock.least)))
}

/// Returns by how many seconds the server changes an odd time that it is to set. Returns `None` if it
/// accepts no file in `directory`, or reports no times.
///
/// # Errors
///
/// Returns errors that end the connection.
pub(crate) fn time_error(client: &mut Client, directory: &[u8]) -> Result<Option<u64>, TreeFault> {
    let times = time_of_file(client, directory, Some(ODD_TIME))?;
    Ok(times.map(|(_, there, _)| there.abs_diff(ODD_TIME)))
}

/// Warns about a test object that the server does not remove.
fn warn_remains(path: &[u8]) {
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

/// Creates an empty file, and returns its name and the locked file.
pub(crate) fn create_probe(directory: &Directory) -> io::Result<(Vec<u8>, File)> {
    let name = probe_name();
    directory.create(&name).map(|file| (name, file))
}

/// Returns a name that no other object has: one that an earlier run left must prove nothing. It does not
/// begin with a dot, because some servers hide such names.
pub(crate) fn probe_name() -> Vec<u8> {
    let (process, number) = (std::process::id(), random::number());
    [HiddenFile::PROBE, format!("{process:x}-{number:x}.tmp").as_bytes()].concat()
}

/// A server's treatment of names that are not UTF-8.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Names {
    /// As far as is known, the server keeps each byte of the name.
    Kept {
        /// Whether the server reads a doubled 0xFF as one, if that was observed.
        doubles: Option<bool>,
    },
    Changed,
}

impl Names {
    /// The value for a server that was not tested.
    pub(crate) const UNKNOWN: Self = Self::Kept { doubles: None };
}

/// Suffixes of the test directories: the Telnet byte 0xFF, a hyphen, and a byte that is not valid
/// UTF-8 by itself. They differ only in the last byte.
const ODD: [&[u8]; 2] = [b"\xff-\xe9", b"\xff-\xe8"];

/// Finds out how a server stores names that are not UTF-8, unless `is_all_text`. Some servers
/// store U+FFFD for each invalid byte, so that two files become one without an error; others close
/// the connection. `top` is an existing directory.
///
/// # Errors
///
/// Returns failures of the connection. If the server closes the connection during the test, returns
/// [`Names::Changed`] instead.
pub(crate) fn learn_names(
    hand: &mut Hand<'_>,
    top: &[u8],
    is_all_text: bool,
) -> Result<Names, TreeFault> {
    if is_all_text {
        return Ok(Names::UNKNOWN);
    }
    let client = hand.client()?;
    let tried = try_names(client, top);
    if !matches!(tried, Ok(Names::Kept { doubles: Some(_) })) {
        client.forget_telnet_byte();
    }
    match tried {
        Ok(names) => Ok(names),
        Err(Error::Refused { .. }) => Ok(Names::UNKNOWN),
        Err(error) => {
            hand.drop_client();
            match error {
                Error::Closed => Ok(Names::Changed),
                error => Err(error.into()),
            }
        }
    }
}

/// Creates a directory with a name that is not UTF-8, and looks for it in the listing.
fn try_names(client: &mut Client, top: &[u8]) -> Result<Names, Error> {
    let start = format!("{:x}-", std::process::id());
    let start = [TEMPORARY, start.as_bytes()].concat();
    let charset = client.config.charset;
    let odd = match charset {
        Some(charset) => charset.samples(),
        None => Some(ODD.map(<[u8]>::to_vec)),
    };
    let Some(odd) = odd else { return Ok(Names::UNKNOWN) };
    let named = |sent: &[&[u8]]| {
        let sent = [&start, sent.concat().as_slice()].concat();
        charset.map_or_else(|| sent.clone(), |charset| charset.decode(&sent))
    };
    let [name, other] = odd.each_ref().map(|odd| named(&[odd]));
    // The test directory may get another name, which tells how the server reads 0xFF.
    client.pathname(&Pathname::join(top, &name))?;
    client.double_telnet_byte(client.doubles_telnet_byte());
    // If the server refuses even this directory, nothing is known about other names.
    client.mkdir(Pathname::join(top, &name))?;
    let listed = client
        .list_with(top, ListOptions { all: true, ..ListOptions::default() })
        .and_then(|entries| entries.gather(Budget::default()));
    let listed = match listed {
        Err(Error::Refused { .. }) => Vec::new(),
        listed => listed?.entries,
    };
    let holds = |name: &[u8]| listed.iter().any(|entry| entry.name == name);
    let doubled = named(&[b"\xff", &odd[0]]);
    let names = if holds(&name) {
        let doubles = odd[0].contains(&0xff).then(|| client.doubles_telnet_byte());
        Names::Kept { doubles }
    } else if holds(&doubled) {
        Names::Kept { doubles: Some(false) }
    } else if stores_another(client, top, &start, &listed)? {
        // The directory was listed with another name, so the server changed the name.
        remove(client, &Pathname::join(top, &name))?;
        return Ok(Names::Changed);
    } else {
        // The listing does not show the directory under a recognised name. If the server refuses
        // the second name, the server changed both names to the same name.
        match client.mkdir(Pathname::join(top, &other)) {
            Err(Error::Refused { .. }) => Names::Changed,
            made => {
                made?;
                remove_probe(client, &Pathname::join(top, &other))?;
                Names::UNKNOWN
            }
        }
    };
    remove_probe(client, &Pathname::join(top, &name))?;
    Ok(names)
}

/// Calls `is_there` with the name of an empty directory that exists in `there` on a server meanwhile. If
/// another directory shows this name, both are one. Returns `None` if the server refuses the directory.
///
/// # Errors
///
/// Returns errors of the connection, and those of `is_there`.
pub(crate) fn with_remote_probe<T>(
    at: &mut Client,
    there: &[u8],
    is_there: impl FnOnce(&[u8]) -> Result<T, Error>,
) -> Result<Option<T>, Error> {
    let name = probe_name();
    let made = Pathname::join(there, &name);
    if !make_remote_probe(at, &made)? {
        return Ok(None);
    }
    let seen = is_there(&name);
    remove_probe(at, &made)?;
    seen.map(Some)
}

/// Creates an empty directory on a server. Returns whether the server has not refused it.
///
/// # Errors
///
/// Returns errors of the connection.
pub(crate) fn make_remote_probe(at: &mut Client, path: &[u8]) -> Result<bool, Error> {
    match at.mkdir(path) {
        Err(Error::Refused { .. } | Error::Argument(_)) => Ok(false),
        made => made.map(|_| true),
    }
}

/// Removes the first removable directory that is listed with this prefix. Returns whether there was
/// one.
fn stores_another(
    client: &mut Client,
    top: &[u8],
    start: &[u8],
    listed: &[Entry],
) -> Result<bool, Error> {
    for entry in listed.iter().filter(|entry| entry.name.starts_with(start)) {
        if remove(client, &Pathname::join(top, &entry.name))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes a test directory, or reports that the directory remains.
///
/// # Errors
///
/// Returns errors of the connection.
pub(crate) fn remove_probe(client: &mut Client, path: &[u8]) -> Result<(), Error> {
    if !remove(client, path)? {
        warn_remains(path);
    }
    Ok(())
}

/// Removes a directory. Returns whether the server removed it.
fn remove(client: &mut Client, path: &[u8]) -> Result<bool, Error> {
    match client.rmdir(path) {
        Ok(()) => Ok(true),
        Err(Error::Refused { .. } | Error::Argument(_)) => Ok(false),
        Err(error) => Err(error),
    }
}
