//! What a server makes of names that are not UTF-8, learned by making a directory that is removed
//! at once.

use ftp_client::{Client, Entry, Error, ListLimits, ListOptions};
use ftp_proto::FtpUrl;

use super::entry::TEMPORARY;
use super::plan::Plan;
use super::probe::stays;
use crate::connect::sessions::Sessions;
use crate::exit::Failure;
use crate::remote::path::join;

/// What a server makes of names that are not UTF-8.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Names {
    /// It keeps each byte, as far as is known.
    Kept {
        /// Whether it reads a 0xFF that is sent twice as one, where that was seen.
        doubles: Option<bool>,
    },
    /// It stores another name.
    Changed,
}

impl Names {
    /// Of a server that was not asked.
    pub(super) const UNKNOWN: Self = Self::Kept { doubles: None };
}

/// The ends of the names of directories that show what a server makes of such names: a Telnet byte,
/// and one that no UTF-8 has alone, in which they differ.
const ODD: [&[u8]; 2] = [b"\xff-\xe9", b"\xff-\xe8"];

/// Whether a path is UTF-8, so that every server keeps it that keeps any name.
pub(super) fn is_text(path: &[u8]) -> bool {
    std::str::from_utf8(path).is_ok()
}

/// Finds out what a server makes of names that are not UTF-8, if `plan` has one: some store U+FFFD
/// for each such byte, where two files would become one, and 226 would tell nothing of it; some
/// close the connection. `top` is a directory that is there.
///
/// # Errors
///
/// What there is no connection for.
pub(super) fn learn_names(
    sessions: &mut Sessions<'_>,
    url: &FtpUrl,
    top: &[u8],
    plan: &Plan,
) -> Result<Names, Failure> {
    let mut made = plan.directories.iter().filter(|place| place.is_new);
    let is_all_text = plan.copies.iter().all(|copy| is_text(&plan.path_of(copy)))
        && made.all(|place| is_text(&place.path));
    if is_all_text {
        return Ok(Names::UNKNOWN);
    }
    match try_names(sessions.client(url)?, top) {
        Ok(names) => Ok(names),
        Err(Error::Refused(..)) => Ok(Names::UNKNOWN),
        Err(error) => {
            sessions.drop_client(url);
            match error {
                Error::Closed => Ok(Names::Changed),
                error => Err(error.into()),
            }
        }
    }
}

/// Makes a directory with such a name, and looks for it.
fn try_names(client: &mut Client, top: &[u8]) -> Result<Names, Error> {
    let start = format!("{:x}-", std::process::id());
    let start = [TEMPORARY, start.as_bytes()].concat();
    let [name, other] = ODD.map(|odd| [&start, odd].concat());
    // Where even that is refused, each of the names is refused, or not.
    client.mkdir(join(top, &name))?;
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
        // In the form in which it was made, whatever that means.
        remove(client, &join(top, &name))?;
        return Ok(Names::Changed);
    } else {
        // It shows what it has in another way, or not at all: are two names two directories?
        match client.mkdir(join(top, &other)) {
            Err(Error::Refused(..)) => Names::Changed,
            made => {
                made?;
                remove_probe(client, &join(top, &other))?;
                Names::UNKNOWN
            }
        }
    };
    remove_probe(client, &join(top, &name))?;
    Ok(names)
}

/// Whether one of the names that are listed and begin so is a directory's: it is removed.
fn stores_another(
    client: &mut Client,
    top: &[u8],
    start: &[u8],
    listed: &[Entry],
) -> Result<bool, Error> {
    for entry in listed.iter().filter(|entry| entry.name.starts_with(start)) {
        if remove(client, &join(top, &entry.name))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes a directory that was made to learn from it, or says that it stays.
fn remove_probe(client: &mut Client, path: &[u8]) -> Result<(), Error> {
    if !remove(client, path)? {
        stays(path);
    }
    Ok(())
}

/// Removes a directory. Whether the server did.
fn remove(client: &mut Client, path: &[u8]) -> Result<bool, Error> {
    match client.rmdir(path) {
        Ok(()) => Ok(true),
        Err(Error::Refused(..) | Error::Argument(_)) => Ok(false),
        Err(error) => Err(error),
    }
}
