//! Copies a large file from a server over the connections of all jobs, in ranges, as `get
//! --segments` does.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::sync::Mutex;

use ftp_client::{
    Error, Event, FileOptions, Get, Left, Observer, Place, Pool, RateLimit, Sink, remove_pieces,
};

use super::super::entry::name_of_pieces;
use super::super::local_tree::{Directory, Draft};
use super::super::plan::PlannedCopy;
use super::super::trees::failed;
use super::down::{Down, listed_time, publish};
use super::{Copied, Copier};
use crate::console::progress::{Board, Meter};
use crate::display::{shown, shown_path};
use crate::exit::{Exit, Failure, Recovery};
use crate::lock::lock;
use crate::report::json::Object;
use ftp_client::tree::path::{join, split};

/// Longest result of [`name_of_pieces`] in bytes: a name has at most 255 bytes, and pieces add
/// `.part.segment-` and a position.
const LONGEST: usize = 255 - 14 - 20;

/// Rate limit of a file, and receivers of its progress.
pub(crate) struct Progress<'a> {
    pub(crate) board: &'a Board,
    pub(crate) rate_limit: Option<&'a RateLimit>,
    /// Function that adds to each event of the file the fields that identify the file.
    pub(crate) fields: &'a (dyn Fn(Object) -> Object + Sync),
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
    progress: &Progress<'_>,
) -> Result<Option<Copied>, Failure> {
    let mut sides = jobs.iter_mut().filter_map(|job| match job {
        Copier::Down(down) => Some(down),
        Copier::Up(_) | Copier::Across(_) => None,
    });
    let Some(Down { from, to, resumes }) = sides.next() else { return Ok(None) };
    let below = join(path, &copy.name);
    let there = join(from.top, &below);
    let (url, backup) = (from.url, to.backup);
    let directory = to.directory(path)?;
    // If a download over a single connection left a partial file, a single connection resumes it.
    if *resumes && directory.has_part(&copy.name) {
        return Ok(None);
    }
    let mut count = 1;
    for Down { from, .. } in sides {
        from.sessions.pool_of(url)?;
        count += 1;
    }
    let pool = from.sessions.pool_of(url)?;
    let file = LargeFile { there: &there, below: &below, name: &copy.name, directory };
    let Some((bytes, modified)) = file.gather((&pool, count), progress)? else { return Ok(None) };
    let here = |error: io::Error| failed(&below, &error);
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
}

impl LargeFile<'_> {
    /// Downloads the file in ranges. Returns the received bytes and the time of the file, or `None`
    /// if the file needs a single connection instead.
    fn gather(
        &self,
        (pool, count): (&Pool<'_>, usize),
        progress: &Progress<'_>,
    ) -> Result<Option<(u64, i64)>, Failure> {
        let name = name_of_pieces(self.name);
        // Pieces are opened by path. This path, through the open directory, cannot lead out of the
        // tree.
        let Some(inside) = self.directory.path().filter(|_| name.len() <= LONGEST) else {
            return Ok(None);
        };
        let target = inside.join(OsStr::from_bytes(&name));
        let prefix = format!("{}/", shown_path(&inside));
        let failed_here = |error: &io::Error| {
            let message = error.to_string().replace(&prefix, "");
            failed(self.below, &io::Error::new(error.kind(), message))
        };
        let options = FileOptions::new().preserve(true).rate_limit(progress.rate_limit.cloned());
        let mut job = Get::new(Place::at(self.there), Sink::Path(&target), &options);
        let show = Shown { progress, name: self.below, meter: Mutex::new(None) };
        let done = job.attempt_over(pool, count, &show);
        drop(show);
        let mut failure = match done {
            Ok(done) => {
                let modified = fs::metadata(&target).map_err(|error| failed_here(&error))?.mtime();
                return Ok(Some((done.bytes, modified)));
            }
            Err(Error::Local(error)) => failed_here(&error),
            Err(error) => Failure::from(error).context(shown(self.there)),
        };
        if let Left::Ranges(_) = job.left() {
            let (above, _) = split(self.below);
            let part = shown(&join(above, &name)) + ".part";
            let hint = "run the same command again to resume from the ranges in";
            failure.message.push_str(&format!("; {hint} {part}*"));
        }
        if !is_due_to_ranges(&failure) {
            return Err(failure);
        }
        // A single connection starts from byte 0. The next run removes any remaining pieces.
        let _ = remove_pieces(&target);
        let _ = self.directory.clear(&[&name, &b".part"[..]].concat());
        Ok(None)
    }
}

/// Shows the progress of a file.
struct Shown<'a> {
    progress: &'a Progress<'a>,
    name: &'a [u8],
    meter: Mutex<Option<Meter<'a>>>,
}

impl Observer for Shown<'_> {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Begun { at, total, .. } => {
                let Progress { board, fields, .. } = self.progress;
                *lock(&self.meter) = Some(board.begin(self.name, at, total, fields));
            }
            Event::Moved { bytes } => {
                lock(&self.meter).iter_mut().for_each(|meter| meter.add(bytes));
            }
            _ => {}
        }
    }

    fn wants_bytes(&self) -> bool {
        true
    }
}

/// Returns whether a single connection may succeed where ranges failed, for example because another
/// run uses the pieces. Transient failures can occur in any transfer: `--retry`, or the next run,
/// resumes the ranges.
fn is_due_to_ranges(failure: &Failure) -> bool {
    let is_full = failure.exit == Exit::Local && failure.fatal;
    let is_over = is_full || failure.exit == Exit::Timeout || failure.is_signal();
    failure.recovery != Recovery::TryAgain && !is_over
}
