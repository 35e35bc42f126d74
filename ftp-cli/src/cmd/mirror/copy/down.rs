//! Copies from a server to this computer.

use std::io;

use ftp_client::{Client, Error, Origin, Salvage, TimeVal};

use super::super::entry::Stamp;
use super::super::local_tree::{Backup, Directory, Draft};
use super::super::plan::{Plan, PlannedCopy};
use super::super::trees::failed;
use super::Copied;
use super::local_side::{LocalSide, broken};
use super::remote_side::{RemoteSide, about, modified, prove, prove_content, prove_unchanged};
use super::watch::Watch;
use crate::display::shown;
use crate::exit::{Exit, Failure};
use ftp_client::tree::path::join;

pub(crate) struct Down<'a> {
    pub(crate) from: RemoteSide<'a>,
    pub(crate) to: LocalSide<'a>,
    /// `--continue`.
    pub(crate) resumes: bool,
}

/// Number of downloads to announce at a time. More are announced if fewer than `FEW` announced
/// downloads are left.
const NAMED: usize = 512;
const FEW: usize = 128;

impl Down<'_> {
    pub(super) fn plan(&mut self, plan: &Plan, number: usize) {
        let Down { from, resumes: false, .. } = self else { return };
        let top = from.top;
        // If there is no connection, the copy itself reports the failure.
        let Ok(client) = from.client() else { return };
        let left = client.planned_downloads();
        if left < FEW {
            let next = plan.apart().iter().skip(number + left).take(NAMED);
            client.plan_downloads(
                next.map(|copy| (join(top, &plan.path_of(copy)), listed_time(copy).is_none())),
            );
        }
    }

    pub(super) fn copy(
        &mut self,
        path: &[u8],
        copy: &PlannedCopy,
        watch: &mut Watch<'_>,
    ) -> Result<u64, Failure> {
        let below = join(path, &copy.name);
        let there = join(self.from.top, &below);
        let backup = self.to.backup;
        let directory = self.to.directory(path)?;
        let client = self.from.client()?;
        // The time is requested before the data: if the file changes during the download, the next
        // run copies it again.
        let listed = listed_time(copy);
        let known = match listed {
            None if self.resumes => modified(client, &there)?,
            listed => listed,
        };
        let here = |error: io::Error| failed(&below, &error);
        let now = Origin::new(copy.size, known.and_then(TimeVal::from_unix_seconds));
        let draft = match self.resumes {
            true => Draft::part(directory, &copy.name, now),
            false => Draft::new(directory),
        };
        let mut draft = draft.map_err(here)?;
        let asks_time = listed.is_none() && !self.resumes;
        let received = receive_rest(client, &there, &mut draft, copy.size, asks_time, watch);
        let here_failed = |error: &io::Error| failed(b"the local file", error);
        let Received { bytes, size: all, is_announced, modified } =
            received.map_err(|error| broken(client, error, here_failed).context(shown(&there)))?;
        match copy.size {
            _ if is_announced => {}
            Some(size) if size != all => check_length(client, &there, all, copy.size)?,
            Some(_) => {}
            None => prove(client, &there, all)?,
        }
        let published = publish(draft, (directory, path), backup, copy, known.or(modified));
        published.map_err(|error| failed(&below, &error))?;
        Ok(bytes)
    }

    pub(super) fn remove_source(
        &mut self,
        path: &[u8],
        copy: &PlannedCopy,
        copied: Option<&Copied>,
    ) -> Result<(), Failure> {
        let below = join(path, &copy.name);
        let there = join(self.from.top, &below);
        let file = self.to.directory(path)?.read(&copy.name);
        let file = file.map_err(|error| failed(&below, &error))?;
        let here = file.metadata().map_err(|error| failed(&below, &error))?;
        let checksum = self.from.checksum()?;
        let client = self.from.client()?;
        match copied {
            Some(_) if checksum.is_none() => {
                let listed = copy.stamp.and_then(Stamp::exact);
                prove_unchanged(client, &there, &here, listed)?;
            }
            _ => prove_content(client, &there, (&file, here.len()), checksum)?,
        }
        client.delete(&there).map_err(|error| about(&there, &error))
    }
}

/// Gives a complete file its modification time and its final name in the directory at `path`. With
/// `backup`, a replaced file is kept there.
pub(super) fn publish(
    draft: Draft<'_>,
    (directory, path): (&Directory, &[u8]),
    backup: Option<&Backup>,
    copy: &PlannedCopy,
    modified: Option<i64>,
) -> io::Result<()> {
    if let Some(backup) = backup.filter(|_| copy.replaces()) {
        backup.keep(directory, path, &copy.name)?;
    }
    draft.commit(&copy.name, copy.replaces(), modified, copy.mode)
}

/// Returns the listed modification time of a file, if that time is exact.
pub(super) fn listed_time(copy: &PlannedCopy) -> Option<i64> {
    copy.stamp.and_then(Stamp::exact)
}

/// Result of a download.
struct Received {
    bytes: u64,
    /// Size of the file, including the bytes that were kept.
    size: u64,
    /// Whether the server reported that size.
    is_announced: bool,
    /// Modification time of the file, if it was requested.
    modified: Option<i64>,
}

/// Downloads the missing part of the file at `path` into `draft`; `size` is the file's listed size.
/// If the download starts from byte 0 and `asks_time` is set, also asks for the file's time.
fn receive_rest(
    client: &mut Client,
    path: &[u8],
    draft: &mut Draft<'_>,
    size: Option<u64>,
    asks_time: bool,
    watch: &mut Watch<'_>,
) -> Result<Received, Error> {
    loop {
        let kept = draft.offset();
        let rest = size.map(|size| size.saturating_sub(kept)).filter(|_| kept > 0);
        if rest == Some(0) {
            return Ok(Received { bytes: 0, size: kept, is_announced: true, modified: None });
        }
        let download = match kept {
            0 if asks_time => client.retrieve_with_time(path)?,
            0 => client.retrieve(path)?,
            kept => client.retrieve_rest(path, kept, None)?,
        };
        let offset = download.offset();
        if offset != kept {
            draft.empty().map_err(Error::Local)?;
        }
        let is_announced = download.announced().is_some();
        let modified = download.modified().map(|time| time.unix_seconds());
        let error = match watch.receive(download, draft) {
            Ok(bytes) => {
                return Ok(Received { bytes, size: offset + bytes, is_announced, modified });
            }
            Err(error) => error,
        };
        match draft.salvage(&error, rest) {
            Salvage::Kept => return Err(error),
            Salvage::Wrong => {
                draft.empty().map_err(Error::Local)?;
                return Err(error);
            }
            Salvage::SentFromStart => draft.empty().map_err(Error::Local)?,
        }
    }
}

/// Compares the received `bytes` with the current size of the file. They differ from its listed
/// size: the file may have grown, or the transfer may be incomplete.
fn check_length(
    client: &mut Client,
    path: &[u8],
    bytes: u64,
    listed: Option<u64>,
) -> Result<(), Failure> {
    match client.size(path) {
        Ok(Some(size)) if size == bytes => Ok(()),
        Ok(size) => {
            let size = size.or(listed).unwrap_or_default();
            let message = format!("{}: received {bytes} bytes of {size}", shown(path));
            Err(Failure::item(Exit::Integrity, message))
        }
        Err(error) => Err(about(path, &error)),
    }
}
