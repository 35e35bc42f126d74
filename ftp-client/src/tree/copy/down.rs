//! Copies from a server to this computer: each file over one connection, or a large one over the
//! connections of all jobs, in ranges ([`Get::attempt_over`]).

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use ftp_proto::Pathname;

use super::Copier;
use super::local_side::LocalSide;
use super::remote_side::{RemoteSide, TimeProof, prove_content, prove_facts};
use crate::digest::Checksum;
use crate::error::{Error, ErrorKind, Recovery};
use crate::event::Observer;
use crate::file::Done;
use crate::file::begin::InTree;
use crate::file::evidence::{Origin, Resume};
use crate::file::get::Get;
use crate::file::options::{Existing, FileOptions, Left};
use crate::file::partial::unnamed;
use crate::file::pieces::remove_pieces;
use crate::system::{OsStrExt, local_name};
use crate::transfer::RateLimit;
use crate::tree::entry::{Stamp, name_of_pieces};
use crate::tree::fault::{TreeFault, shown};
use crate::tree::local::{Backup, Directory, part_of};
use crate::tree::options::SyncOptions;
use crate::tree::plan::{Copied, Plan, PlannedCopy};
use crate::url_path::Place;

pub(crate) struct Down<'a> {
    pub(crate) from: RemoteSide<'a>,
    pub(crate) to: LocalSide<'a>,
    pub(crate) options: &'a SyncOptions<'a>,
    /// The path of the next file on the server, and whether its time must be asked for.
    pub(crate) next: Option<(Vec<u8>, bool)>,
}

impl Down<'_> {
    pub(super) fn plan(&mut self, plan: &Plan, copies: &[&PlannedCopy]) {
        let top = self.from.place.top;
        let names = |copy: &&PlannedCopy| {
            (Pathname::join(top, &plan.path_of(copy)), listed_time(copy).is_none())
        };
        self.next = copies.get(1).map(names);
        if self.options.resume != Resume::Own {
            return;
        }
        // If there is no connection, the copy itself reports the failure.
        let Ok(client) = self.from.hand.client() else { return };
        client.plan_each(copies.iter().map(names));
    }

    pub(super) fn copy(
        &mut self,
        path: &[u8],
        copy: &PlannedCopy,
        on: &dyn Observer,
    ) -> Result<Copied, TreeFault> {
        let there = Pathname::join(self.from.place.top, &Pathname::join(path, &copy.name));
        let backup = self.to.backup;
        let top = self.to.top;
        let (directory, inside) = self.to.directory_and_path(path)?;
        let parts = part_of(&copy.name);
        let next = self.next.as_ref().map(|(next, asks_time)| (&**next, *asks_time));
        let target = CopyTarget { top, directory, inside, backup, path, copy, parts, next };
        let client = self.from.hand.client()?;
        let done =
            target.fetch(&there, self.options.resume, self.options.rate_limit.as_ref(), |job| {
                job.attempt(client, on).map_err(|error| (error, client.is_settled()))
            })?;
        Ok(Copied::far(done.bytes, done.verified))
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

struct CopyTarget<'a> {
    top: &'a Directory,
    directory: &'a Directory,
    /// A path that leads to the directory.
    inside: &'a Path,
    backup: Option<&'a Backup>,
    /// The path of the directory from the top.
    path: &'a [u8],
    copy: &'a PlannedCopy,
    /// The name from which the names of partial files are derived.
    parts: Vec<u8>,
    /// As [`InTree::next`].
    next: Option<(&'a [u8], bool)>,
}

impl CopyTarget<'_> {
    /// Downloads the file at `there` of the server. `attempt` runs the job, and returns an error
    /// with whether the connection is settled.
    fn fetch(
        &self,
        there: &[u8],
        resume: Resume,
        rate_limit: Option<&RateLimit>,
        attempt: impl FnOnce(&mut Get<'_>) -> Result<Done, (Error, bool)>,
    ) -> Result<Done, TreeFault> {
        let Self { top, directory, inside, backup, path, copy, next, .. } = *self;
        let below = Pathname::join(path, &copy.name);
        // The plan refuses names that lead out of the directory; this is the last line of defence.
        let name = local_name(&copy.name).map_err(|error| TreeFault::local(&below, &error))?;
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
        let target = inside.join(name);
        let parts = inside.join(OsStr::from_bytes(&self.parts));
        // The time is requested before the data: if the file changes during the download, the next
        // run copies it again.
        let known = listed_time(copy);
        let asks_time = known.is_none();
        let listed = Origin::new(copy.size, copy.stamp.and_then(Stamp::listed));
        let mut job = Get::to_path(Place::at(there), &target, &options)
            .listed(copy.size)
            .modified(known.map(system_time))
            .in_tree(InTree {
                parts,
                asks_time,
                next,
                listed,
                is_synced_alone: directory.is_synced_apart(top),
                before: &before,
            });
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

fn system_time(seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let time = match seconds < 0 {
        true => SystemTime::UNIX_EPOCH.checked_sub(distance),
        false => SystemTime::UNIX_EPOCH.checked_add(distance),
    };
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Copies a file into the directory at `path` over the connections of all `jobs`. Returns `None` if
/// the file needs a single connection instead.
///
/// # Errors
///
/// Returns the same failures as [`Copier::copy`]. Received ranges are kept, and the next attempt
/// resumes them.
pub(crate) fn copy_together(
    jobs: &mut [Copier<'_>],
    path: &[u8],
    copy: &PlannedCopy,
    on: &dyn Observer,
) -> Result<Option<Copied>, TreeFault> {
    let mut sides = jobs.iter_mut().filter_map(|job| match job {
        Copier::Down(down) => Some(down),
        Copier::Up(_) | Copier::Across(_) => None,
    });
    let Some(Down { from, to, options, .. }) = sides.next() else { return Ok(None) };
    let there = Pathname::join(from.place.top, &Pathname::join(path, &copy.name));
    let (top, backup) = (to.top, to.backup);
    let (directory, inside) = to.directory_and_path(path)?;
    // If a download over a single connection left a partial file, a single connection resumes it.
    if options.resume != Resume::Own && directory.has_part(&copy.name) {
        return Ok(None);
    }
    let mut count = 1;
    for Down { from, .. } in sides {
        from.hand.give_back();
        count += 1;
    }
    let pool = from.hand.give_back();
    let parts = name_of_pieces(&copy.name);
    let target = CopyTarget { top, directory, inside, backup, path, copy, parts, next: None };
    let done = target.fetch(&there, Resume::Own, options.rate_limit.as_ref(), |job| {
        job.attempt_over(pool, count, on).map_err(|error| (error, true))
    });
    let fault = match done {
        Ok(done) => return Ok(Some(Copied::far(done.bytes, done.verified))),
        Err(fault) => fault,
    };
    if !is_due_to_ranges(&fault) {
        return Err(fault);
    }
    // A single connection starts from byte 0. The next run removes any remaining pieces.
    let _ = remove_pieces(&inside.join(OsStr::from_bytes(&target.parts)));
    let part = [&target.parts, b".part".as_slice()].concat();
    if let Ok(Some(_held)) = directory.hold(&part) {
        let _ = directory.remove(&part, false);
    }
    Ok(None)
}

/// Returns whether a single connection may succeed where ranges failed, for example because another
/// run uses the pieces. Transient failures can occur in any transfer: another attempt, or the next run,
/// resumes the ranges.
fn is_due_to_ranges(fault: &TreeFault) -> bool {
    let is_full = fault.kind() == ErrorKind::Local && fault.ends_run();
    let is_over = is_full || [ErrorKind::Timeout, ErrorKind::Cancelled].contains(&fault.kind());
    fault.recovery() != Recovery::TryAgain && !is_over
}
