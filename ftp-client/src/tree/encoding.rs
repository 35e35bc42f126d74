//! Learns how a server stores names that are not UTF-8, by creating a directory that is removed at
//! once.

use ftp_proto::{Entry, Pathname};

use super::entry::TEMPORARY;
use super::fault::TreeFault;
use super::hand::Hand;
use super::plan::Plan;
use super::probe::warn_remains;
use crate::client::Client;
use crate::error::Error;
use crate::listing::{ListLimits, ListOptions};

/// A server's treatment of names that are not UTF-8.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Names {
    /// As far as is known, the server keeps each byte of the name.
    Kept {
        /// Whether the server reads a doubled 0xFF as one, if that was observed.
        doubles: Option<bool>,
    },
    /// The server changes the name.
    Changed,
}

impl Names {
    /// The value for a server that was not tested.
    pub(crate) const UNKNOWN: Self = Self::Kept { doubles: None };
}

/// Suffixes of the test directories: the Telnet byte 0xFF, a hyphen, and a byte that is not valid
/// UTF-8 by itself. They differ only in the last byte.
const ODD: [&[u8]; 2] = [b"\xff-\xe9", b"\xff-\xe8"];

/// Returns whether a path is UTF-8; every server is expected to keep such a path.
pub(crate) fn is_text(path: &[u8]) -> bool {
    std::str::from_utf8(path).is_ok()
}

/// Finds out how a server stores names that are not UTF-8, if `plan` has such a name. Some servers
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
    plan: &Plan,
) -> Result<Names, TreeFault> {
    let mut made = plan.directories.iter().filter(|place| place.is_new);
    let is_all_text = plan.copies.iter().all(|copy| is_text(&plan.path_of(copy)))
        && made.all(|place| is_text(&place.path));
    if is_all_text {
        return Ok(Names::UNKNOWN);
    }
    match try_names(hand.client()?, top) {
        Ok(names) => Ok(names),
        Err(Error::Refused(..)) => Ok(Names::UNKNOWN),
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
    let [name, other] = ODD.map(|odd| [&start, odd].concat());
    // If the server refuses even this directory, nothing is known about other names.
    client.mkdir(Pathname::join(top, &name))?;
    let listed = client
        .list_with(top, ListOptions { all: true, ..ListOptions::default() })
        .and_then(|entries| entries.gather(ListLimits::default()));
    let listed = match listed {
        Err(Error::Refused(..)) => Vec::new(),
        listed => listed?.entries,
    };
    let holds = |name: &[u8]| listed.iter().any(|entry| entry.name == name);
    let doubled = [&start, b"\xff".as_slice(), ODD[0]].concat();
    let names = if holds(&name) {
        Names::UNKNOWN
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
            Err(Error::Refused(..)) => Names::Changed,
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
fn remove_probe(client: &mut Client, path: &[u8]) -> Result<(), Error> {
    if !remove(client, path)? {
        warn_remains(path);
    }
    Ok(())
}

/// Removes a directory. Returns whether the server removed it.
fn remove(client: &mut Client, path: &[u8]) -> Result<bool, Error> {
    match client.rmdir(path) {
        Ok(()) => Ok(true),
        Err(Error::Refused(..) | Error::Argument(_)) => Ok(false),
        Err(error) => Err(error),
    }
}
