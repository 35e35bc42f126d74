//! Copies from a server to this computer.

use std::io;

use ftp_proto::TimeVal;

use super::local_side::LocalSide;
use super::remote_side::{RemoteSide, modified, prove, prove_content, prove_unchanged};
use crate::client::Client;
use crate::error::{Error, ErrorKind};
use crate::event::{Event, Observer};
use crate::file::checksum::Checksum;
use crate::file::origin::Origin;
use crate::file::partial::Salvage;
use crate::transfer::{Download, RateLimit, Watch};
use crate::tree::copy::Copied;
use crate::tree::entry::Stamp;
use crate::tree::fault::TreeFault;
use crate::tree::local::{Backup, Directory, Draft};
use crate::tree::path::join;
use crate::tree::plan::{Plan, PlannedCopy};

pub(crate) struct Down<'a> {
    pub(crate) from: RemoteSide<'a>,
    pub(crate) to: LocalSide<'a>,
    /// Whether partial downloads are kept and resumed.
    pub(crate) resumes: bool,
    pub(crate) rate_limit: Option<RateLimit>,
}

/// Number of downloads to announce at a time. More are announced if fewer than `FEW` announced
/// downloads are left.
const NAMED: usize = 512;
const FEW: usize = 128;

impl Down<'_> {
    pub(crate) fn plan(&mut self, plan: &Plan, number: usize) {
        let Down { from, resumes: false, .. } = self else { return };
        let top = from.place.top;
        // If there is no connection, the copy itself reports the failure.
        let Ok(client) = from.hand.client() else { return };
        let left = client.planned_downloads();
        if left < FEW {
            let next = plan.apart().iter().skip(number + left).take(NAMED);
            client.plan_downloads(
                next.map(|copy| (join(top, &plan.path_of(copy)), listed_time(copy).is_none())),
            );
        }
    }

    pub(crate) fn copy(
        &mut self,
        path: &[u8],
        copy: &PlannedCopy,
        on: &dyn Observer,
    ) -> Result<u64, TreeFault> {
        let below = join(path, &copy.name);
        let there = join(self.from.place.top, &below);
        let backup = self.to.backup;
        let directory = self.to.directory(path)?;
        let client = self.from.hand.client()?;
        // The time is requested before the data: if the file changes during the download, the next
        // run copies it again.
        let listed = listed_time(copy);
        let known = match listed {
            None if self.resumes => modified(client, &there)?,
            listed => listed,
        };
        let here = |error: io::Error| TreeFault::local(&below, &error);
        let now = Origin::new(copy.size, known.and_then(TimeVal::from_unix_seconds));
        let draft = match self.resumes {
            true => Draft::part(directory, &copy.name, now),
            false => Draft::new(directory),
        };
        let mut draft = draft.map_err(here)?;
        let asks_time = listed.is_none() && !self.resumes;
        on.event(Event::Begun {
            source: &there,
            target: &below,
            at: draft.offset(),
            total: copy.size,
        });
        let mut meter = |piece: &[u8]| on.event(Event::Moved { bytes: piece.len() as u64 });
        let mut watch = Watch::new().rate_limit(self.rate_limit.clone()).meter(&mut meter);
        let received = receive_rest(client, &there, &mut draft, copy.size, asks_time, &mut watch);
        let Received { bytes, size: all, is_announced, modified } =
            received.map_err(|error| match error {
                Error::Local(error) => TreeFault::local(b"the local file", &error)
                    .ending(!client.is_settled())
                    .about(&there),
                error => TreeFault::from(error).about(&there),
            })?;
        match copy.size {
            _ if is_announced => {}
            Some(size) if size != all => check_length(client, &there, all, copy.size)?,
            Some(_) => {}
            None => prove(client, &there, all)?,
        }
        let published = publish(draft, (directory, path), backup, copy, known.or(modified));
        published.map_err(|error| TreeFault::local(&below, &error))?;
        Ok(bytes)
    }

    pub(crate) fn remove_source(
        &mut self,
        path: &[u8],
        copy: &PlannedCopy,
        copied: Option<&Copied>,
    ) -> Result<(), TreeFault> {
        let below = join(path, &copy.name);
        let there = join(self.from.place.top, &below);
        let file = self.to.directory(path)?.read(&copy.name);
        let file = file.map_err(|error| TreeFault::local(&below, &error))?;
        let here = file.metadata().map_err(|error| TreeFault::local(&below, &error))?;
        let client = self.from.hand.client()?;
        let checksum = Checksum::for_server(client)?;
        match copied {
            Some(_) if checksum.is_none() => {
                let listed = copy.stamp.and_then(Stamp::exact);
                prove_unchanged(client, &there, &here, listed)?;
            }
            _ => prove_content(client, &there, (&file, here.len()))?,
        }
        client.delete(&there).map_err(|error| TreeFault::from(error).about(&there))
    }
}

/// Gives a complete file its modification time and its final name in the directory at `path`. With
/// `backup`, a replaced file is kept there.
pub(crate) fn publish(
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
pub(crate) fn listed_time(copy: &PlannedCopy) -> Option<i64> {
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
        let error = match received(download, draft, watch) {
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

/// Receives a download until the server confirms that it is complete.
fn received(
    download: Download<&mut Client>,
    draft: &mut Draft<'_>,
    watch: &mut Watch<'_>,
) -> Result<u64, Error> {
    Ok(download.copy_to_watched(draft, watch)?.bytes)
}

/// Compares the received `bytes` with the current size of the file. They differ from its listed
/// size: the file may have grown, or the transfer may be incomplete.
fn check_length(
    client: &mut Client,
    path: &[u8],
    bytes: u64,
    listed: Option<u64>,
) -> Result<(), TreeFault> {
    match client.size(path) {
        Ok(Some(size)) if size == bytes => Ok(()),
        Ok(size) => {
            let size = size.or(listed).unwrap_or_default();
            let text = format!("received {bytes} bytes of {size}");
            Err(TreeFault::item(ErrorKind::Integrity, text).about(path))
        }
        Err(error) => Err(TreeFault::from(error).about(path)),
    }
}
