//! Copies a large file from a server over the connections of all jobs, in ranges, as
//! [`Get::attempt_over`] does.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

use super::down::{Down, listed_time, publish};
use super::{Copied, Copier};
use crate::error::{Error, ErrorKind};
use crate::event::Observer;
use crate::file::begin::{Left, Sink};
use crate::file::get::Get;
use crate::file::options::FileOptions;
use crate::file::pieces::remove_pieces;
use crate::pool::Pool;
use crate::pool::patience::Recovery;
use crate::transfer::RateLimit;
use crate::tree::entry::name_of_pieces;
use crate::tree::fault::{TreeFault, shown};
use crate::tree::local::{Directory, Draft};
use crate::tree::path::{join, split};
use crate::tree::plan::PlannedCopy;
use crate::url_path::Place;

/// Longest result of [`name_of_pieces`] in bytes: a name has at most 255 bytes, and pieces add
/// `.part.segment-` and a position.
const LONGEST: usize = 255 - 14 - 20;

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
    let Some(Down { from, to, resumes, rate_limit }) = sides.next() else { return Ok(None) };
    let below = join(path, &copy.name);
    let there = join(from.place.top, &below);
    let backup = to.backup;
    let directory = to.directory(path)?;
    // If a download over a single connection left a partial file, a single connection resumes it.
    if *resumes && directory.has_part(&copy.name) {
        return Ok(None);
    }
    let mut count = 1;
    for Down { from, .. } in sides {
        from.hand.give_back();
        count += 1;
    }
    let pool = from.hand.give_back();
    let rate_limit = rate_limit.clone();
    let file = LargeFile { there: &there, below: &below, name: &copy.name, directory, rate_limit };
    let Some((bytes, modified)) = file.gather((pool, count), on)? else { return Ok(None) };
    let here = |error: io::Error| TreeFault::local(&below, &error);
    let draft = Draft::complete(directory, &name_of_pieces(&copy.name)).map_err(here)?;
    let modified = listed_time(copy).or(Some(modified));
    publish(draft, (directory, path), backup, copy, modified).map_err(here)?;
    Ok(Some(Copied::far(bytes)))
}

/// A file that several connections download.
struct LargeFile<'a> {
    /// Path on the server.
    there: &'a [u8],
    /// Path from the top.
    below: &'a [u8],
    name: &'a [u8],
    directory: &'a Directory,
    rate_limit: Option<RateLimit>,
}

impl LargeFile<'_> {
    /// Downloads the file in ranges. Returns the received bytes and the time of the file, or `None`
    /// if the file needs a single connection instead.
    fn gather(
        &self,
        (pool, count): (&Pool<'_>, usize),
        on: &dyn Observer,
    ) -> Result<Option<(u64, i64)>, TreeFault> {
        let name = name_of_pieces(self.name);
        // Pieces are opened by path. This path, through the open directory, cannot lead out of the
        // tree.
        let Some(inside) = self.directory.path().filter(|_| name.len() <= LONGEST) else {
            return Ok(None);
        };
        let target = inside.join(OsStr::from_bytes(&name));
        let options = FileOptions::new().preserve(true).rate_limit(self.rate_limit.clone());
        let mut job = Get::new(Place::at(self.there), Sink::Path(&target), &options);
        let done = job.attempt_over(pool, count, on);
        let fault = match done {
            Ok(done) => {
                let found = fs::metadata(&target);
                let found = found.map_err(|error| TreeFault::local(self.below, &error))?;
                return Ok(Some((done.bytes, found.mtime())));
            }
            // The text names the path of a piece through the open directory.
            Err(Error::Local(error)) => TreeFault::local(self.below, &error.kind().into()),
            Err(error) => TreeFault::from(error).about(self.there),
        };
        let is_due = is_due_to_ranges(&fault);
        if !is_due {
            return Err(match job.left() {
                Left::Ranges(_) => {
                    let (above, _) = split(self.below);
                    let part = shown(&join(above, &name)) + ".part";
                    let hint = "run the same command again to resume from the ranges in";
                    fault.then(&format!("{hint} {part}*"))
                }
                _ => fault,
            });
        }
        // A single connection starts from byte 0. The next run removes any remaining pieces.
        let _ = remove_pieces(&target);
        let _ = self.directory.clear(&[&name, &b".part"[..]].concat());
        Ok(None)
    }
}

/// Returns whether a single connection may succeed where ranges failed, for example because another
/// run uses the pieces. Transient failures can occur in any transfer: `--retry`, or the next run,
/// resumes the ranges.
fn is_due_to_ranges(fault: &TreeFault) -> bool {
    let is_full = fault.kind() == ErrorKind::Local && fault.ends_run();
    let is_over = is_full || [ErrorKind::Timeout, ErrorKind::Cancelled].contains(&fault.kind());
    fault.recovery() != Recovery::TryAgain && !is_over
}
