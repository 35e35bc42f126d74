//! Copies from a server to this computer.

use ftp_proto::Pathname;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::Copied;
use super::local_side::LocalSide;
use super::remote_side::{RemoteSide, TimeProof, prove_content, prove_facts};
use crate::error::Error;
use crate::event::Observer;
use crate::file::Done;
use crate::file::begin::{InTree, Left, Sink};
use crate::file::checksum::Checksum;
use crate::file::evidence::{Origin, Resume};
use crate::file::get::Get;
use crate::file::options::{Existing, FileOptions};
use crate::file::partial::unnamed;
use crate::system::OsStrExt;
use crate::transfer::RateLimit;
use crate::tree::entry::Stamp;
use crate::tree::fault::{TreeFault, shown};
use crate::tree::local::{Backup, Directory, part_of};
use crate::tree::plan::{Plan, PlannedCopy};
use crate::url_path::Place;

pub(crate) struct Down<'a> {
    pub(crate) from: RemoteSide<'a>,
    pub(crate) to: LocalSide<'a>,
    pub(crate) resume: Resume,
    pub(crate) rate_limit: Option<RateLimit>,
    /// The path of the next file on the server, and whether its time must be asked for.
    pub(crate) next: Option<(Vec<u8>, bool)>,
}

impl Down<'_> {
    /// Announces a copy and those that follow it.
    pub(super) fn plan(&mut self, plan: &Plan, copies: &[&PlannedCopy]) {
        let top = self.from.place.top;
        let names = |copy: &&PlannedCopy| {
            (Pathname::join(top, &plan.path_of(copy)), listed_time(copy).is_none())
        };
        self.next = copies.get(1).map(names);
        let Down { from, resume: Resume::Own, .. } = self else { return };
        // If there is no connection, the copy itself reports the failure.
        let Ok(client) = from.hand.client() else { return };
        client.plan_downloads(copies.iter().skip(client.planned_downloads()).map(names));
    }

    pub(super) fn copy(
        &mut self,
        path: &[u8],
        copy: &PlannedCopy,
        on: &dyn Observer,
    ) -> Result<u64, TreeFault> {
        let there = Pathname::join(self.from.place.top, &Pathname::join(path, &copy.name));
        let backup = self.to.backup;
        let (directory, inside) = self.to.directory_and_path(path)?;
        let parts = part_of(&copy.name);
        let next = self.next.as_ref().map(|(next, asks_time)| (&**next, *asks_time));
        let target = CopyTarget { directory, inside, backup, path, copy, parts, next };
        let client = self.from.hand.client()?;
        let done = target.fetch(&there, self.resume, self.rate_limit.as_ref(), |job| {
            job.attempt(client, on).map_err(|error| (error, client.is_settled()))
        })?;
        Ok(done.bytes)
    }

    pub(crate) fn remove_source(
        &mut self,
        path: &[u8],
        copy: &PlannedCopy,
        copied: Option<&Copied>,
    ) -> Result<(), TreeFault> {
        let below = Pathname::join(path, &copy.name);
        let there = Pathname::join(self.from.place.top, &below);
        let file = self.to.directory(path)?.read(&copy.name);
        let file = file.map_err(|error| TreeFault::local(&below, &error))?;
        let here = file.metadata().map_err(|error| TreeFault::local(&below, &error))?;
        let client = self.from.hand.client()?;
        let checksum = Checksum::for_server(client)?;
        match copied {
            Some(_) if checksum.is_none() => {
                let listed = copy.stamp.and_then(Stamp::exact);
                prove_facts(client, &there, &here, &TimeProof::OfDownload(listed))?;
            }
            _ => prove_content(client, &there, &file, &here)?,
        }
        client.delete(&there).map_err(|error| TreeFault::from(error).about(&there))
    }
}

/// The local file of a copy.
pub(super) struct CopyTarget<'a> {
    pub(super) directory: &'a Directory,
    /// A path that leads to the directory.
    pub(super) inside: &'a Path,
    pub(super) backup: Option<&'a Backup>,
    /// The path of the directory from the top.
    pub(super) path: &'a [u8],
    pub(super) copy: &'a PlannedCopy,
    /// The name from which the names of partial files are derived.
    pub(super) parts: Vec<u8>,
    /// As [`InTree::next`].
    pub(super) next: Option<(&'a [u8], bool)>,
}

impl CopyTarget<'_> {
    /// Downloads the file at `there` of the server. `attempt` runs the job, and returns an error
    /// with whether the connection is settled.
    pub(super) fn fetch(
        &self,
        there: &[u8],
        resume: Resume,
        rate_limit: Option<&RateLimit>,
        attempt: impl FnOnce(&mut Get<'_>) -> Result<Done, (Error, bool)>,
    ) -> Result<Done, TreeFault> {
        let Self { directory, inside, backup, path, copy, next, .. } = *self;
        let below = Pathname::join(path, &copy.name);
        // The plan refuses such names; this is the last line of defence.
        directory.check_name(&copy.name).map_err(|error| TreeFault::local(&below, &error))?;
        let before = |file: &File| -> io::Result<()> {
            directory.prepare(file, &copy.name, copy.mode)?;
            match backup.filter(|_| copy.replaces()) {
                Some(backup) => backup.keep(directory, path, &copy.name),
                None => Ok(()),
            }
        };
        let existing = if copy.replaces() { Existing::Replace } else { Existing::Keep };
        let options =
            FileOptions::new().resume(resume).existing(existing).rate_limit(rate_limit.cloned());
        let target = inside.join(OsStr::from_bytes(&copy.name));
        let parts = inside.join(OsStr::from_bytes(&self.parts));
        // The time is requested before the data: if the file changes during the download, the next
        // run copies it again.
        let known = listed_time(copy);
        let asks_time = known.is_none();
        let listed = Origin::new(copy.size, copy.stamp.and_then(Stamp::listed));
        let mut job = Get::new(Place::at(there), Sink::Path(&target), &options)
            .listed(copy.size)
            .modified(known.map(system_time))
            .in_tree(InTree { parts, asks_time, next, listed, before: &before });
        let done = attempt(&mut job).map_err(|(error, is_settled)| {
            let fault = match error {
                Error::Local(error) => {
                    TreeFault::local(&below, &unnamed(&error)).ending(!is_settled)
                }
                error => TreeFault::from(error).about(there),
            };
            match job.left() {
                Left::Ranges(_) => {
                    let parts = Pathname::join(path, &self.parts);
                    let hint = "run the same command again to resume from the ranges in";
                    fault.then(&format!("{hint} {}.part*", shown(&parts)))
                }
                _ => fault,
            }
        })?;
        match done.skipped {
            None => Ok(done),
            // It was not listed, or its name differs only in case on a disk without case.
            Some(_) => Err(TreeFault::local(&below, &io::ErrorKind::AlreadyExists.into())),
        }
    }
}

/// Returns the listed modification time of a file, if that time is exact.
pub(super) fn listed_time(copy: &PlannedCopy) -> Option<i64> {
    copy.stamp.and_then(Stamp::exact)
}

/// Converts a number of seconds since 1970-01-01T00:00:00Z.
fn system_time(seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let time = match seconds < 0 {
        true => SystemTime::UNIX_EPOCH.checked_sub(distance),
        false => SystemTime::UNIX_EPOCH.checked_add(distance),
    };
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}
