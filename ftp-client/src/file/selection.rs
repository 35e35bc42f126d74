//! Which downloads are skipped, by the options, the server's facts about the file, and the local
//! file.

use std::fs::{self, Metadata};
use std::path::Path;

use ftp_proto::{Pathname, TimeVal};

use super::begin::Sink;
use super::get::Get;
use super::local::parent;
use super::options::Existing;
use crate::client::Client;
use crate::error::{Error, JobFault};
use crate::system::MetadataExt;
use crate::tree::local::{Directory, rounds_to};

impl Get<'_> {
    /// Returns why the download is skipped, or `None` if it is not. The reason depends on the
    /// server's facts about the file, and on the local file.
    pub(super) fn skips(&self, client: &mut Client) -> Result<Option<&'static str>, Error> {
        let selection = self.job.options.selection;
        let existing = self.job.options.existing;
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
        let path = self.job.place.path();
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
        // As for trees: FAT stores only even seconds.
        let is_coarse = |path: &Path| Directory::open(parent(path))?.is_coarse();
        let is_rounded = || {
            rounds_to(time, here.mtime())
                && self.target().is_some_and(|path| is_coarse(path).unwrap_or(false))
        };
        let is_same = size == Some(here.len()) && (here.mtime() == time || is_rounded());
        Ok(match existing {
            Existing::ReplaceOlder if here.mtime() >= time => Some("not newer on the server"),
            _ => is_same.then_some("unchanged"),
        })
    }

    /// Checks that the local file is not the server's, if the download would empty or remove it: the
    /// server is on this computer, and both have the same size and time. A fact that is unknown
    /// proves nothing.
    pub(super) fn check_apart(&self, client: &mut Client) -> Result<(), Error> {
        let is_at_risk = self.job.options.moves || matches!(self.to, Sink::InPlace(_));
        let Some(target) = self.target().filter(|_| is_at_risk) else { return Ok(()) };
        let Ok(here) = fs::metadata(target) else { return Ok(()) };
        if here.len() > 0 && client.is_near() && is_like(client, self.job.place.path(), &here) {
            return Err(Error::Job(JobFault::MayBeSource(target.to_owned())));
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
/// Returns [`JobFault::Missing`] or [`JobFault::Unreported`] if there is none, and the
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
    let (directory, _) = Pathname::split(path);
    let is_missing = match client.is_there(path) {
        // A refused listing proves nothing. If the server does not enter the directory either, the
        // file counts as missing.
        Ok(None) if !directory.is_empty() => client
            .can_enter(directory)
            .map_or_else(|error| if error.is_no() { Ok(true) } else { Err(error) }, |()| Ok(false)),
        is_there => is_there.map(|is_there| is_there == Some(false)),
    };
    match is_missing {
        Ok(true) => Error::Job(JobFault::Missing),
        Ok(false) => Error::Job(JobFault::Unreported(facts)),
        Err(error) => error,
    }
}
