//! Uploads that did not end with success, as a storage remembers them.
//!
//! An upload that is published in one step leaves the old file, or no file, under its name until it
//! is complete. A client whose connection broke would take the old file for its own, shorter file.
//! It would then send only the rest, and the new file would begin with old content. So a storage
//! leaves one record of each unfinished upload. The server answers `SIZE`, `REST` and `APPE` by
//! that record.
//!
//! Running uploads notice that a file was stored, renamed or removed at their place, but only once
//! that is certain, and they never wait. `s3::rivals` is separate: it orders all changes under a key,
//! also those without a record.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use super::StreamEnd;
use crate::lock::Lock;

/// Time for which the bytes of an unfinished upload are kept by default. It is shorter than a day, so
/// that a daily job never continues the bytes of its previous run.
pub(crate) const REMEMBERED: Duration = Duration::from_secs(12 * 60 * 60);

/// Time for which the record of an unfinished upload of a new file is kept. It outlives the bytes: a
/// client that resumes after a weekend with `APPE` must not make a file of the rest alone. The record of
/// a replacement has no age, because a clock can be set by years.
pub(crate) const RECORDED: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// The record of an upload that did not end with success, or still runs. It began at byte 0, or
/// after the bytes of an earlier record.
///
/// The record and the bytes are two things. The record forbids to resume at the length of the old
/// file. A storage forgets it only:
///
/// - when an upload of any user from byte 0 stores the file, or the user's own upload is resumed and
///   stores it;
/// - when the file is removed or gets another name, or another file is renamed to its name;
/// - when the file that the upload was going to replace is gone, or a file appears where there was
///   none;
/// - when the directory is removed (the record moves together with its directory);
/// - after 90 days, if there was no file to replace.
///
/// The bytes go earlier: after 12 hours, under any limit, and if the old file differs in any way from
/// the one that the upload was going to replace. The record then has no bytes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Unfinished {
    /// Number of received bytes that are kept, from the beginning of the file; 0 if none are.
    pub kept: u64,
    /// A number that identifies the kept bytes. Each upload that leaves a record leaves another
    /// number.
    pub number: u64,
    /// Whether an upload of the user to this path is running. The other fields then describe
    /// nothing.
    pub is_running: bool,
    /// Whether nothing is known: see [`UNKNOWN`](Self::UNKNOWN).
    pub is_unknown: bool,
}

impl Unfinished {
    /// What a storage returns that has no record, but forgets its records when the process ends, while
    /// its files stay: an upload may have been cut before. `REST` before an upload is then refused with
    /// 554, and `APPE` to bytes with 450 in a session that has asked for their number, as those do that
    /// resume.
    pub const UNKNOWN: Self = Self { kept: 0, number: 0, is_running: false, is_unknown: true };
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
    /// The same user began another upload, or discarded this one.
    is_superseded: AtomicBool,
    /// The file at its place was removed or renamed, and no other one has been stored there since.
    is_gone: AtomicBool,
    /// How often a file was stored at its place, or the file there was renamed or removed.
    changes: AtomicU64,
}

impl<P> Run<P> {
    fn is_latest(&self) -> bool {
        !self.signs.is_superseded.load(Ordering::SeqCst)
    }
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

    /// Lets the uploads to these places leave no record any more.
    fn supersede(&self, is_place: impl Fn(&Run<P>) -> bool) {
        for run in self.runs().iter().filter(|run| is_place(run)) {
            run.signs.is_superseded.store(true, Ordering::SeqCst);
        }
    }
}

impl<P: PartialEq> RunningUploads<P> {
    /// Begins an upload. Earlier uploads of this user to the same place leave no record any more.
    /// `is_first` is whether this upload neither ends nor resumes a record. `begun` is its number, if
    /// the storage has them.
    pub(crate) fn begin(
        &self,
        user: Option<&[u8]>,
        place: P,
        is_first: bool,
        begun: u64,
    ) -> Overtaken {
        let user = user.unwrap_or_default();
        let is_here = |run: &Run<P>| run.user == user && run.place == place;
        let is_first = is_first && !self.runs().iter().any(is_here);
        self.supersede(is_here);
        let signs = Arc::default();
        let run = Run { user: user.to_vec(), place, begun, signs: Arc::clone(&signs) };
        self.runs().push(run);
        Overtaken { signs, is_first }
    }

    /// Lets the uploads of this user to this place that are running leave no record. Those whose file was
    /// removed leave none anyway, unless another file has its name when they end.
    pub(crate) fn forget(&self, user: Option<&[u8]>, place: &P) {
        let user = user.unwrap_or_default();
        let is_gone = |run: &Run<P>| run.signs.is_gone.load(Ordering::SeqCst);
        self.supersede(|run| run.user == user && run.place == *place && !is_gone(run));
    }

    /// Ends an upload. Returns where it was going, which changes when its directory is renamed.
    pub(crate) fn end(&self, upload: &Overtaken) -> Option<P> {
        let mut runs = self.runs();
        let at = runs.iter().position(|run| Arc::ptr_eq(&run.signs, &upload.signs))?;
        Some(runs.remove(at).place)
    }

    /// Records that the file at this place was removed or renamed. The uploads that began with the
    /// number `latest` or earlier leave no record, unless another file has its name when they end.
    pub(crate) fn removed(&self, place: &P, latest: u64) {
        self.changed(place, latest, true);
    }

    /// Records that a file was stored at this place, or that its file has changed. The uploads that
    /// began with the number `latest` or earlier leave a record without bytes: their clients must not
    /// resume at the length of that file.
    pub(crate) fn stored(&self, place: &P, latest: u64) {
        self.changed(place, latest, false);
    }

    fn changed(&self, place: &P, latest: u64, is_gone: bool) {
        for run in self.runs().iter().filter(|run| run.place == *place && run.begun <= latest) {
            run.signs.changes.fetch_add(1, Ordering::SeqCst);
            run.signs.is_gone.store(is_gone, Ordering::SeqCst);
        }
    }

    /// Returns whether an upload of this user to this place is running. Those that a newer one has
    /// superseded do not count: they are the attempts of a client over a line that is dead.
    pub(crate) fn has(&self, user: Option<&[u8]>, place: &P) -> bool {
        let user = user.unwrap_or_default();
        self.runs().iter().any(|run| run.user == user && run.place == *place && run.is_latest())
    }
}

impl RunningUploads<Vec<u8>> {
    /// Returns whether an upload to a path below this directory is running.
    pub(crate) fn has_below(&self, directory: &[u8]) -> bool {
        self.runs().iter().any(|run| below(&run.place, directory).is_some())
    }

    /// Lets the uploads to paths below a directory leave no record, if they began with the number
    /// `latest` or earlier.
    pub(crate) fn supersede_below(&self, directory: &[u8], latest: u64) {
        self.supersede(|run| run.begun <= latest && below(&run.place, directory).is_some());
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

/// What has happened to the place of an upload since it began.
#[derive(Debug)]
pub(crate) struct Overtaken {
    signs: Arc<Signs>,
    /// Whether there was no unfinished upload of the same user when this one began.
    pub(crate) is_first: bool,
}

impl Overtaken {
    /// Returns whether the record of the place belongs to a newer upload of the same user, or was
    /// discarded.
    pub(crate) fn is_superseded(&self) -> bool {
        self.signs.is_superseded.load(Ordering::SeqCst)
    }

    /// Returns whether the file at the place was removed or renamed, and no other one stored since.
    pub(crate) fn is_gone(&self) -> bool {
        self.signs.is_gone.load(Ordering::SeqCst)
    }

    /// Returns how often a file was stored at the place of the upload, or renamed or removed.
    pub(crate) fn changes(&self) -> u64 {
        self.signs.changes.load(Ordering::SeqCst)
    }

    /// Returns whether an upload that ended like this leaves neither a record nor bytes, whatever file
    /// there is now.
    pub(crate) fn leaves_nothing(&self, end: StreamEnd) -> bool {
        self.is_superseded() || self.is_first && end == StreamEnd::Refused
    }
}
