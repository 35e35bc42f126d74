//! Which files are transferred: limits of size and age, and downloads that are skipped by what
//! exists.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use ftp_proto::TimeVal;

use super::begin::Sink;
use super::get::Get;
use super::options::Existing;
use crate::client::Client;
use crate::error::{DownloadFault, Error};
use crate::tree::path::split;

/// Limits on the size and the modification time of files (see
/// [`FileOptions::only`](crate::FileOptions::only)). By default there are none.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[must_use]
pub struct Selection {
    smallest: Option<u64>,
    largest: Option<u64>,
    earliest: Option<i64>,
    latest: Option<i64>,
}

impl Selection {
    /// Sets the smallest and the largest size in bytes.
    pub const fn sizes(mut self, smallest: Option<u64>, largest: Option<u64>) -> Self {
        (self.smallest, self.largest) = (smallest, largest);
        self
    }

    /// Sets the earliest and the latest modification time, in seconds since 1970-01-01T00:00:00Z.
    pub const fn times(mut self, earliest: Option<i64>, latest: Option<i64>) -> Self {
        (self.earliest, self.latest) = (earliest, latest);
        self
    }

    /// Returns the largest size.
    #[must_use]
    pub const fn largest(&self) -> Option<u64> {
        self.largest
    }

    /// Returns whether the size matters.
    #[must_use]
    pub const fn needs_size(&self) -> bool {
        self.smallest.is_some() || self.largest.is_some()
    }

    /// Returns whether the modification time matters.
    #[must_use]
    pub const fn needs_time(&self) -> bool {
        self.latest.is_some() || self.earliest.is_some()
    }

    /// Returns why a file is left out, or `None` if it is not. `times` is the range that contains
    /// its modification time. An unknown fact is outside of every limit.
    #[must_use]
    pub fn refuses(&self, size: Option<u64>, times: Option<(i64, i64)>) -> Option<&'static str> {
        let is_small = |least: u64| size.is_none_or(|size| size < least);
        let is_large = |most: u64| size.is_none_or(|size| size > most);
        // A file that may be too new is left out, because another program may still be writing it.
        // A file that may be new enough is kept.
        let is_new = |latest: i64| times.is_none_or(|(_, end)| end > latest);
        let is_old = |earliest: i64| times.is_none_or(|(_, end)| end < earliest);
        match () {
            () if self.smallest.is_some_and(is_small) => Some("too small"),
            () if self.largest.is_some_and(is_large) => Some("too large"),
            () if self.latest.is_some_and(is_new) => Some("too new"),
            () if self.earliest.is_some_and(is_old) => Some("too old"),
            () => None,
        }
    }
}

impl Get<'_> {
    /// Returns why the download is skipped, or `None` if it is not. The reason depends on the
    /// server's facts about the file, and on the local file.
    pub(super) fn skips(&self, client: &mut Client) -> Result<Option<&'static str>, Error> {
        let selection = self.options.selection;
        let existing = self.options.existing;
        if existing == Existing::Keep && self.target().is_some_and(is_there) {
            return Ok(Some("exists"));
        }
        let here = match existing {
            Existing::ReplaceOlder | Existing::ReplaceDifferent => {
                self.target().and_then(|path| fs::metadata(path).ok())
            }
            Existing::Replace | Existing::Keep => None,
        };
        let needs_time = selection.needs_time() || here.is_some();
        if !needs_time && !selection.needs_size() {
            return Ok(None);
        }
        let path = self.place.path();
        let time = match needs_time {
            true => Some(modified(client, path)?.unix_seconds()),
            false => None,
        };
        let size = client.size(path)?;
        if size.is_none() && selection.needs_size() {
            return Err(unknown(client, path, "sizes"));
        }
        if let Some(why) = selection.refuses(size, time.map(|time| (time, time))) {
            return Ok(Some(why));
        }
        let Some((here, time)) = here.zip(time) else { return Ok(None) };
        let is_same = here.mtime() == time && size == Some(here.len());
        Ok(match existing {
            Existing::ReplaceOlder => (here.mtime() >= time).then_some("not newer on the server"),
            _ => is_same.then_some("unchanged"),
        })
    }

    /// Checks that the local file is not the server's, if the download would empty or remove it: the
    /// server is on this computer, and both have the same size and time. A fact that is unknown
    /// proves nothing.
    pub(super) fn check_apart(&self, client: &mut Client) -> Result<(), Error> {
        let is_at_risk = self.options.moves || matches!(self.to, Sink::InPlace(_));
        let Some(target) = self.target().filter(|_| is_at_risk) else { return Ok(()) };
        let Ok(here) = fs::metadata(target) else { return Ok(()) };
        let hosts = client.peer_addr().zip(client.local_addr());
        let is_near = hosts.is_some_and(|(peer, own)| peer.ip() == own.ip());
        if here.len() > 0 && is_near && is_like(client, self.place.path(), &here) {
            return Err(Error::Download(DownloadFault::SameFile(target.to_owned())));
        }
        Ok(())
    }

    /// Returns the path of the target, if it is a file.
    pub(super) const fn target(&self) -> Option<&Path> {
        match self.to {
            Sink::Path(path) | Sink::InPlace(path) => Some(path),
            Sink::Stream(_) => None,
        }
    }
}

fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

fn is_like(client: &mut Client, path: &[u8], here: &Metadata) -> bool {
    let time = |client: &mut Client| client.modified(path).ok().flatten();
    client.size(path).ok().flatten() == Some(here.len())
        && time(client).is_some_and(|time| time.unix_seconds() == here.mtime())
}

/// Returns the modification time of a file.
///
/// # Errors
///
/// Returns [`DownloadFault::Missing`] or [`DownloadFault::Unreported`] if there is none, and the
/// errors of the client.
pub(super) fn modified(client: &mut Client, path: &[u8]) -> Result<TimeVal, Error> {
    if let Some(time) = client.readable_time(path)? {
        return Ok(time);
    }
    let entry = client.stat(path)?;
    let time = entry.and_then(|entry| entry.modified).map(|modified| modified.time);
    time.map_or_else(|| Err(unknown(client, path, "modification times")), Ok)
}

/// Returns the error for a file that is missing, or for facts that the server does not report.
fn unknown(client: &mut Client, path: &[u8], facts: &'static str) -> Error {
    let (directory, _) = split(path);
    let is_missing = match client.is_there(path) {
        // A refused listing proves nothing. If the server does not enter the directory either, the
        // file counts as missing.
        Ok(None) if !directory.is_empty() => client
            .can_enter(directory)
            .map_or_else(|error| if error.is_no() { Ok(true) } else { Err(error) }, |()| Ok(false)),
        is_there => is_there.map(|is_there| is_there == Some(false)),
    };
    match is_missing {
        Ok(true) => Error::Download(DownloadFault::Missing),
        Ok(false) => Error::Download(DownloadFault::Unreported(facts)),
        Err(error) => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_sizes_or_times_fail_a_selection() {
        let sizes = Selection::default().sizes(Some(5), Some(9));
        let ages = Selection::default().times(Some(50), Some(100));
        for (selection, size, times, is_taken) in [
            (&sizes, Some(5), None, true),
            (&sizes, Some(9), None, true),
            (&sizes, Some(4), None, false),
            (&sizes, Some(10), None, false),
            (&sizes, None, Some((70, 70)), false),
            (&ages, None, Some((100, 100)), true),
            (&ages, None, Some((101, 101)), false),
            (&ages, None, Some((90, 101)), false),
            (&ages, None, Some((50, 50)), true),
            (&ages, None, Some((40, 50)), true),
            (&ages, None, Some((40, 49)), false),
            (&ages, Some(7), None, false),
            (&Selection::default(), None, None, true),
        ] {
            let refused = selection.refuses(size, times);
            assert_eq!(refused.is_none(), is_taken, "{selection:?} {size:?} {times:?}");
        }
    }
}
