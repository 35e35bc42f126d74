//! Copies a large file from a server over the connections of all jobs, in ranges, as `get
//! --segments` does.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;

use ftp_client::{FtpUrl, RateLimit, remove_pieces};

use super::super::entry::name_of_pieces;
use super::super::local_tree::{Directory, Draft};
use super::super::plan::PlannedCopy;
use super::super::trees::failed;
use super::down::{Down, listed_time, publish};
use super::{Copied, Copier};
use crate::connect::sessions::Sessions;
use crate::console::progress::Board;
use crate::display::{shown, shown_path};
use crate::exit::{Exit, Failure, Recovery};
use crate::report::json::Object;
use crate::transfer::options::Verify;
use crate::transfer::segments::{Gathered, Order, Whole, gather};
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
    let others = sides.map(|Down { from, .. }| &mut from.sessions);
    let mut connections: Vec<_> = std::iter::once(&mut from.sessions).chain(others).collect();
    let file = LargeFile { url, there: &there, below: &below, name: &copy.name, directory };
    let Some(Whole { file: whole, origin, bytes, .. }) = file.gather(&mut connections, progress)?
    else {
        return Ok(None);
    };
    let here = |error: io::Error| failed(&below, &error);
    // After this rename, no other run extends the file.
    whole.commit(true).map_err(here)?;
    let draft = Draft::complete(directory, &name_of_pieces(&copy.name)).map_err(here)?;
    let modified = origin.modified.map(|time| time.unix_seconds());
    let modified = listed_time(copy).or(modified);
    publish(draft, (directory, path), backup, copy, modified).map_err(here)?;
    Ok(Some(Copied::far(bytes)))
}

/// A file that several connections download.
struct LargeFile<'a> {
    url: &'a FtpUrl,
    /// Path on the server.
    there: &'a [u8],
    /// Path from the top.
    below: &'a [u8],
    name: &'a [u8],
    directory: &'a Directory,
}

impl LargeFile<'_> {
    /// Downloads the file in ranges. Returns `None` if the file needs a single connection instead.
    fn gather(
        &self,
        connections: &mut [&mut Sessions<'_>],
        progress: &Progress<'_>,
    ) -> Result<Option<Whole>, Failure> {
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
        let (above, _) = split(self.below);
        let order = Order {
            url: self.url,
            path: self.there,
            name: self.below,
            target: &target,
            part: Some(shown(&join(above, &name)) + ".part"),
            verify: Verify::BestEffort,
            rate_limit: progress.rate_limit,
            board: progress.board,
            fields: progress.fields,
            failed_here: &failed_here,
        };
        match gather(&order, connections) {
            Ok(Gathered::Whole(whole)) => return Ok(Some(*whole)),
            Ok(Gathered::Alone(_)) => {}
            Err(failure) => {
                let first = connections.first_mut().filter(|_| failure.is_end_of_connection());
                first.into_iter().for_each(|first| first.drop_client(self.url));
                if !is_due_to_ranges(&failure) {
                    let is_here = failure.exit == Exit::Local;
                    return Err(if is_here { failure } else { failure.context(shown(self.there)) });
                }
            }
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
fn is_due_to_ranges(failure: &Failure) -> bool {
    let is_full = failure.exit == Exit::Local && failure.fatal;
    let is_over = is_full || failure.exit == Exit::Timeout || failure.is_signal();
    failure.recovery != Recovery::TryAgain && !is_over
}
