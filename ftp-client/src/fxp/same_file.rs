//! Whether two sessions, or two paths of them, lead to one object by what the servers say of themselves.

use ftp_proto::{Entry, Pathname};

use super::begin::answered;
use crate::client::Client;
use crate::error::{Error, JobFault};

/// Returns whether two sessions are with the same server: compares the addresses, or the hosts and
/// ports that the caller named if a proxy hides the addresses.
fn share_server([from, at]: [&Client; 2]) -> bool {
    match (from.peer_addr(), at.peer_addr()) {
        (Some(one), Some(other)) => one == other,
        _ => match (from.identity(), at.identity()) {
            (Some(one), Some(other)) => {
                one.host.eq_ignore_ascii_case(&other.host) && one.port == other.port
            }
            _ => false,
        },
    }
}

pub(crate) fn share_login([from, at]: [&Client; 2]) -> bool {
    share_server([from, at]) && from.user() == at.user()
}

/// Checks that a copy is not of a file onto itself: that `target`, and `stored` if the copy has a temporary
/// name in the same directory, are not the path `source` of one login. Through links, or through two
/// addresses of one server, two paths can lead to one file all the same: what the copy replaces stays whole
/// until the copy is complete.
///
/// # Errors
///
/// Returns [`JobFault::OntoItself`], and errors of the connections.
pub(crate) fn check_apart(
    [from, at]: [&mut Client; 2],
    [source, target]: [&[u8]; 2],
    stored: Option<&[u8]>,
) -> Result<(), Error> {
    // A server that does not report its current directory shows nothing.
    if share_login([from, at])
        && let Some(names) = from.names_from_root(source)
        && let Some(there) = at.names_from_root(target)
        && let (Some((own, directory)), Some((name, above))) =
            (names.split_last(), there.split_last())
        && directory == above
        && (own == name || stored.is_some_and(|stored| Pathname::split(stored).1 == own))
    {
        return Err(Error::Job(JobFault::OntoItself));
    }
    Ok(())
}

/// Returns the entry of an object if `MLST` gives `unique`.
///
/// # Errors
///
/// Returns errors of the connection. A refusal shows nothing.
pub(crate) fn identified(client: &mut Client, path: &[u8]) -> Result<Option<Entry>, Error> {
    if !answered(client.features())?.is_some_and(|features| features.has("MLST")) {
        return Ok(None);
    }
    let entry = answered(client.stat(path))?.flatten();
    Ok(entry.filter(|entry| entry.unique.is_some()))
}
