//! Uploads that did not end with success, as a storage remembers them.
//!
//! An upload that is published in one step leaves the old file, or no file, under its name until it
//! is complete. A client whose connection broke would take the old file for its own, shorter file.
//! It would then send only the rest, and the new file would begin with old content. So a storage
//! leaves one record of each unfinished upload. The server answers `SIZE`, `REST` and `APPE` by
//! that record.
//!
//! Running uploads notice that a file was stored, renamed or removed at their place, but only once
//! that is certain, and they never wait. `s3::rivals` is separate: it orders all publications under
//! a key, those without a record too, and counts one with an unknown outcome.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use super::StreamEnd;
use crate::lock::Lock;

/// Time for which an unfinished upload is remembered. It is shorter than a day, so that a daily job
/// never meets the record of its previous run.
pub(crate) const REMEMBERED: Duration = Duration::from_secs(12 * 60 * 60);

/// The record of an upload that did not end with success, or still runs. It began at byte 0, or
/// after the bytes of an earlier record.
///
/// A storage forgets the record:
///
/// - when an upload of any user stores the file, or a file is renamed to its name;
/// - when the file that the upload was going to replace is changed, removed or renamed;
/// - when the directory is removed (the record moves together with its directory);
/// - after 12 hours.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Unfinished {
    /// Number of received bytes that are kept, from the beginning of the file; 0 if none are.
    pub kept: u64,
    /// A number that identifies the kept bytes. Each upload that leaves a record leaves another
    /// number.
    pub number: u64,
    /// The time at which the upload ended, in seconds since 1970-01-01T00:00:00Z.
    pub when: i64,
    /// Whether an upload of the user to this path is running. The other fields then describe
    /// nothing.
    pub is_running: bool,
}

/// The running uploads of a storage that leave a record if they do not end with success. `P` is
/// where an upload is going.
#[derive(Debug)]
pub(crate) struct RunningUploads<P>(Lock<Vec<Run<P>>>);

#[derive(Debug)]
struct Run<P> {
    user: Vec<u8>,
    place: P,
    /// Grows from upload to upload, if the storage numbers them.
    begun: u64,
    signs: Arc<Signs>,
}

/// What has happened since an upload began.
#[derive(Debug, Default)]
struct Signs {
    /// The upload leaves no record any more.
    is_overtaken: AtomicBool,
    /// How often a file was stored at its place, or the file there was renamed or removed.
    changes: AtomicU64,
}

impl<P> Default for RunningUploads<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P> RunningUploads<P> {
    pub(crate) const fn new() -> Self {
        Self(Lock::new(Vec::new()))
    }

    fn runs(&self) -> MutexGuard<'_, Vec<Run<P>>> {
        self.0.lock()
    }

    /// Marks the uploads to these places as overtaken.
    fn overtake(&self, is_place: impl Fn(&Run<P>) -> bool) {
        for run in self.runs().iter().filter(|run| is_place(run)) {
            run.signs.is_overtaken.store(true, Ordering::SeqCst);
        }
    }
}

impl<P: PartialEq> RunningUploads<P> {
    /// Begins an upload. Earlier uploads of this user to the same place leave no record any more.
    /// `is_first` is whether this upload neither ends nor resumes a record.
    pub(crate) fn begin(&self, user: Option<&[u8]>, place: P, is_first: bool) -> Overtaken {
        self.begin_numbered(user, place, is_first, 0)
    }

    /// As [`begin`](Self::begin). `begun` is the number for [`changed_until`](Self::changed_until).
    pub(crate) fn begin_numbered(
        &self,
        user: Option<&[u8]>,
        place: P,
        is_first: bool,
        begun: u64,
    ) -> Overtaken {
        let is_first = is_first && !self.has(user, &place);
        self.forget(user, &place);
        let user = user.unwrap_or_default();
        let signs = Arc::default();
        let run = Run { user: user.to_vec(), place, begun, signs: Arc::clone(&signs) };
        self.runs().push(run);
        Overtaken { signs, is_first }
    }

    /// Lets the uploads of this user to this place that are running leave no record.
    pub(crate) fn forget(&self, user: Option<&[u8]>, place: &P) {
        let user = user.unwrap_or_default();
        self.overtake(|run| run.user == user && run.place == *place);
    }

    /// Ends an upload. Returns where it was going, which changes when its directory is renamed.
    pub(crate) fn end(&self, upload: &Overtaken) -> Option<P> {
        let mut runs = self.runs();
        let at = runs.iter().position(|run| Arc::ptr_eq(&run.signs, &upload.signs))?;
        Some(runs.remove(at).place)
    }

    /// Records that a file was stored, renamed or removed. The uploads to this place that are
    /// running leave no record any more.
    pub(crate) fn changed(&self, place: &P) {
        self.changed_until(place, u64::MAX);
    }

    /// As [`changed`](Self::changed), but only for uploads that began with this number or earlier.
    pub(crate) fn changed_until(&self, place: &P, latest: u64) {
        let is_here = |run: &Run<P>| run.place == *place && run.begun <= latest;
        self.overtake(is_here);
        for run in self.runs().iter().filter(|run| is_here(run)) {
            run.signs.changes.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Returns whether an upload of this user to this place is running.
    pub(crate) fn has(&self, user: Option<&[u8]>, place: &P) -> bool {
        let user = user.unwrap_or_default();
        self.runs().iter().any(|run| run.user == user && run.place == *place)
    }
}

impl RunningUploads<Vec<u8>> {
    /// Returns whether an upload to a path below this directory is running.
    pub(crate) fn has_below(&self, directory: &[u8]) -> bool {
        self.runs().iter().any(|run| below(&run.place, directory).is_some())
    }

    /// Lets the uploads to paths below a directory leave no record, if they began with the number
    /// `latest` or earlier.
    pub(crate) fn overtake_below(&self, directory: &[u8], latest: u64) {
        self.overtake(|run| run.begun <= latest && below(&run.place, directory).is_some());
    }

    /// Moves the uploads to paths below a directory that was renamed, if they began with the number
    /// `latest` or earlier.
    pub(crate) fn moved(&self, from: &[u8], to: &[u8], latest: u64) {
        for run in self.runs().iter_mut().filter(|run| run.begun <= latest) {
            if let Some(rest) = below(&run.place, from) {
                run.place = [to, rest].concat();
            }
        }
    }
}

/// Returns the rest of a path after a directory, with its slash; `None` if the path is not below
/// the directory.
pub(crate) fn below<'a>(path: &'a [u8], directory: &[u8]) -> Option<&'a [u8]> {
    path.strip_prefix(directory).filter(|rest| rest.starts_with(b"/"))
}

/// Whether an upload has been overtaken: since it began, its name got another file or lost its
/// file, or the same user began another upload. It then leaves no record.
#[derive(Debug)]
pub(crate) struct Overtaken {
    signs: Arc<Signs>,
    /// Whether there was no unfinished upload of the same user when this one began.
    pub(crate) is_first: bool,
}

impl Overtaken {
    pub(crate) fn get(&self) -> bool {
        self.signs.is_overtaken.load(Ordering::SeqCst)
    }

    /// Returns how often a file was stored at the place of the upload, or renamed or removed.
    pub(crate) fn changes(&self) -> u64 {
        self.signs.changes.load(Ordering::SeqCst)
    }

    /// Returns whether an upload that ended like this leaves neither a record nor bytes.
    pub(crate) fn leaves_nothing(&self, end: StreamEnd) -> bool {
        self.get() || self.is_first && end == StreamEnd::Refused
    }
}
