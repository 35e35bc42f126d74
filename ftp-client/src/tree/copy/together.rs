//! Copies a large file from a server over the connections of all jobs, in ranges, as
//! [`Get::attempt_over`] does.

use ftp_proto::Pathname;
use std::ffi::OsStr;

use super::down::{CopyTarget, Down};
use super::{Copied, Copier};
use crate::error::ErrorKind;
use crate::event::Observer;
use crate::file::evidence::Resume;
use crate::file::pieces::remove_pieces;
use crate::pool::patience::Recovery;
use crate::system::OsStrExt;
use crate::tree::entry::name_of_pieces;
use crate::tree::fault::TreeFault;
use crate::tree::plan::PlannedCopy;

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
    let Some(Down { from, to, resume, rate_limit, .. }) = sides.next() else { return Ok(None) };
    let there = Pathname::join(from.place.top, &Pathname::join(path, &copy.name));
    let backup = to.backup;
    let (directory, inside) = to.directory_and_path(path)?;
    // If a download over a single connection left a partial file, a single connection resumes it.
    if *resume != Resume::Own && directory.has_part(&copy.name) {
        return Ok(None);
    }
    let mut count = 1;
    for Down { from, .. } in sides {
        from.hand.give_back();
        count += 1;
    }
    let pool = from.hand.give_back();
    let parts = name_of_pieces(&copy.name);
    let target = CopyTarget { directory, inside, backup, path, copy, parts, next: None };
    let done = target.fetch(&there, Resume::Own, rate_limit.as_ref(), |job| {
        job.attempt_over(pool, count, on).map_err(|error| (error, true))
    });
    let fault = match done {
        Ok(done) => return Ok(Some(Copied::far(done.bytes))),
        Err(fault) => fault,
    };
    if !is_due_to_ranges(&fault) {
        return Err(fault);
    }
    // A single connection starts from byte 0. The next run removes any remaining pieces.
    let _ = remove_pieces(&inside.join(OsStr::from_bytes(&target.parts)));
    let _ = directory.clear(&[&target.parts, b".part".as_slice()].concat());
    Ok(None)
}

/// Returns whether a single connection may succeed where ranges failed, for example because another
/// run uses the pieces. Transient failures can occur in any transfer: `--retry`, or the next run,
/// resumes the ranges.
fn is_due_to_ranges(fault: &TreeFault) -> bool {
    let is_full = fault.kind() == ErrorKind::Local && fault.ends_run();
    let is_over = is_full || [ErrorKind::Timeout, ErrorKind::Cancelled].contains(&fault.kind());
    fault.recovery() != Recovery::TryAgain && !is_over
}
