//! What a caller can say about the transfer of one file, and what its result says.
//! Also limits of size and age.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use ftp_proto::{Escaped, RepresentationType};

use super::evidence::Resume;
use crate::event::Verify;
use crate::transfer::RateLimit;

/// Options of whole-file transfers: plain data that any number of jobs can share.
///
/// By default the whole file is transferred in type image, an existing file is replaced, the result
/// is verified as far as the server allows, and the modification time is not set.
#[derive(Clone, Debug)]
#[must_use]
pub struct FileOptions {
    pub(crate) representation: RepresentationType,
    pub(crate) resume: Resume,
    pub(crate) existing: Existing,
    pub(crate) verify: Verify,
    pub(crate) moves: bool,
    pub(crate) retried: bool,
    pub(crate) preserve: bool,
    pub(crate) creates_directories: bool,
    pub(crate) most_bytes: Option<u64>,
    pub(crate) selection: Selection,
    pub(crate) rate_limit: Option<RateLimit>,
    pub(crate) journals: Option<PathBuf>,
}

/// What happens to an existing target.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Existing {
    /// It is replaced.
    #[default]
    Replace,
    /// It is kept, and the transfer is skipped.
    Keep,
    /// It is replaced if its modification time is earlier than that of the source.
    ReplaceOlder,
    /// It is replaced unless it has the size and the modification time of the source.
    ReplaceDifferent,
}

impl Default for FileOptions {
    fn default() -> Self {
        Self {
            representation: RepresentationType::Image,
            resume: Resume::Own,
            existing: Existing::Replace,
            verify: Verify::IfKnown,
            moves: false,
            retried: false,
            preserve: false,
            creates_directories: false,
            most_bytes: None,
            selection: Selection::default(),
            rate_limit: None,
            journals: None,
        }
    }
}

impl FileOptions {
    /// Returns the default options.
    pub fn new() -> Self {
        Self::default()
    }

    setters! {
        /// Sets the representation type (default: image).
        representation(representation: RepresentationType) => representation = representation;
        /// Sets what a resume may rely on (default: [`Resume::Own`]).
        resume(resume: Resume) => resume = resume;
        /// Sets what happens to an existing target (default: [`Existing::Replace`]).
        existing(existing: Existing) => existing = existing;
        /// Sets how the result is verified (default: [`Verify::IfKnown`]).
        verify(verify: Verify) => verify = verify;
        /// Sets whether the source is removed once it is complete at the target (default: no).
        ///
        /// No file is lost if the program is killed. A lock file beside the local file excludes other
        /// moves of it, and a journal there lets the next run continue; only an upload without
        /// [temporary name](crate::Put::store_as) is sent again.
        ///
        /// The transfer fails, and the source stays, unless the server reports the size of its file.
        /// After a download, it must also report the modification time or a digest; after an upload,
        /// the facts or a digest must show that its file is the new one.
        moves(on: bool) => moves = on;
        /// Sets whether the caller attempts a failed job again (default: no). An upload under a
        /// [temporary name](crate::Put::store_as) then asks for the facts of both names before it is
        /// renamed, so that another attempt can tell whether a rename with a lost reply happened.
        retried(on: bool) => retried = on;
        /// Sets whether the target gets the modification time of the source (default: no). If that is
        /// unknown, the transfer fails; a [`Relay`](crate::file::Relay) only notes it.
        preserve(on: bool) => preserve = on;
        /// Sets whether an upload creates missing parent directories on the server (default: no).
        creates_directories(on: bool) => creates_directories = on;
        /// Sets the largest number of bytes that a download may have; one more ends it (default: none).
        most_bytes(most: Option<u64>) => most_bytes = most;
        /// Sets the smallest and the largest size in bytes of the files that are transferred (default: no
        /// limits); both are inside. If the size is unknown, a download fails, and an upload is skipped.
        sizes(smallest: Option<u64>, largest: Option<u64>) => selection.sizes = (smallest, largest);
        /// Sets the earliest and the latest modification time of the files that are transferred, in seconds
        /// since 1970-01-01T00:00:00Z (default: no limits); both are inside. If the time is unknown, a
        /// download fails, and an upload is skipped.
        times(earliest: Option<i64>, latest: Option<i64>) => selection.times = (earliest, latest);
        /// Sets a limit of bytes per second (default: none).
        rate_limit(limit: Option<RateLimit>) => rate_limit = limit;
        /// Sets the directory for the journals of uploads whose own directory cannot be written
        /// (default: none; such uploads cannot be resumed by a later run).
        journals(directory: Option<PathBuf>) => journals = directory;
    }
}

/// Limits on the size and the modification time of files. By default there are none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Selection {
    /// The smallest and the largest.
    pub(crate) sizes: (Option<u64>, Option<u64>),
    /// The earliest and the latest.
    pub(crate) times: (Option<i64>, Option<i64>),
}

impl Selection {
    pub(crate) fn needs_size(&self) -> bool {
        self.sizes != (None, None)
    }

    pub(crate) fn needs_time(&self) -> bool {
        self.times != (None, None)
    }

    /// Returns why a file is left out, or `None` if it is not. `times` is the range that contains
    /// its modification time. An unknown fact is outside of every limit.
    pub(crate) fn refuses(
        &self,
        size: Option<u64>,
        times: Option<(i64, i64)>,
    ) -> Option<SkipReason> {
        let is_small = |least: u64| size.is_none_or(|size| size < least);
        let is_large = |most: u64| size.is_none_or(|size| size > most);
        // A file that may be too new is left out, because another program may still be writing it.
        // A file that may be new enough is kept.
        let is_new = |latest: i64| times.is_none_or(|(_, end)| end > latest);
        let is_old = |earliest: i64| times.is_none_or(|(_, end)| end < earliest);
        match () {
            () if self.sizes.0.is_some_and(is_small) => Some(SkipReason::TooSmall),
            () if self.sizes.1.is_some_and(is_large) => Some(SkipReason::TooLarge),
            () if self.times.1.is_some_and(is_new) => Some(SkipReason::TooNew),
            () if self.times.0.is_some_and(is_old) => Some(SkipReason::TooOld),
            () => None,
        }
    }
}

/// What a failed attempt left.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Left {
    /// Nothing arrived, or the failure came before the data.
    #[default]
    Nothing,
    /// The received bytes were removed.
    Removed,
    /// The received bytes were removed, because some of them may be wrong.
    Wrong,
    /// The received bytes are in this partial file, which a later run can resume.
    Part(PathBuf),
    /// The received ranges are in files whose names begin with this path, which a later
    /// [`attempt_over`](crate::Get::attempt_over) resumes.
    Ranges(PathBuf),
    /// The received bytes are in the target itself.
    InPlace,
    /// The stream has received bytes.
    Stream,
}

/// The reason why a job skips its file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SkipReason {
    /// The target exists, and [`Existing::Keep`] keeps it.
    Exists,
    /// The target was made during the transfer, and [`Existing::Keep`] keeps it.
    NowExists,
    /// The target is as new as the source ([`Existing::ReplaceOlder`]).
    NotNewer,
    /// The target has the size and time of the source.
    Unchanged,
    /// The file is smaller than the [`sizes`](FileOptions::sizes) allow.
    TooSmall,
    /// The file is larger than the [`sizes`](FileOptions::sizes) allow.
    TooLarge,
    /// The file is newer than the [`times`](FileOptions::times) allow.
    TooNew,
    /// The file is older than the [`times`](FileOptions::times) allow.
    TooOld,
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exists => "exists",
            Self::NowExists => "now exists",
            Self::NotNewer => "not newer",
            Self::Unchanged => "unchanged",
            Self::TooSmall => "too small",
            Self::TooLarge => "too large",
            Self::TooNew => "too new",
            Self::TooOld => "too old",
        })
    }
}

/// The result of a job that transfers one file.
#[derive(Clone)]
#[non_exhaustive]
pub struct Done {
    /// The number of attempts; 1 without a [`Retry`](crate::Retry).
    pub attempts: u32,
    /// The size of the file in bytes; 0 if the servers of a [`Relay`](crate::file::Relay) do not report
    /// it.
    pub size: u64,
    /// The number of bytes that an earlier attempt or run had already transferred.
    pub resumed: u64,
    /// The number of bytes that this job transferred, without the resumed ones.
    pub bytes: u64,
    /// The time that the transfer of these bytes took.
    pub duration: Duration,
    /// How the file was verified; [`Verify::None`] if the server provides nothing to compare, and never
    /// [`Verify::IfKnown`].
    pub verified: Verify,
    /// The reason why nothing was transferred, if the file was skipped.
    pub skipped: Option<SkipReason>,
    /// The name that the server chose, if it chose one.
    pub name: Option<Vec<u8>>,
}

ftp_proto::debug_fields!(Done {
    attempts,
    size,
    resumed,
    bytes,
    duration,
    verified,
    skipped,
    name: name.as_deref().map(Escaped),
});

impl Done {
    pub(crate) const fn moved(bytes: u64, resumed: u64, duration: Duration) -> Self {
        let verified = Verify::None;
        let size = resumed.saturating_add(bytes);
        Self { attempts: 1, size, resumed, bytes, duration, verified, skipped: None, name: None }
    }

    /// Returns the result for a file that is skipped for this reason.
    #[must_use]
    pub fn skipped(why: SkipReason) -> Self {
        Self { skipped: Some(why), ..Self::moved(0, 0, Duration::ZERO) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_sizes_or_times_fail_a_selection() {
        let sizes = Selection { sizes: (Some(5), Some(9)), ..Selection::default() };
        let ages = Selection { times: (Some(50), Some(100)), ..Selection::default() };
        for (selection, size, times, is_taken) in [
            (&sizes, Some(5), None, true),
            (&sizes, Some(9), None, true),
            (&sizes, Some(4), None, false),
            (&sizes, Some(10), None, false),
            (&sizes, None, Some((70, 70)), false),
            (&ages, None, Some((100, 100)), true),
            (&ages, None, Some((101, 101)), false),
            (&ages, None, Some((90, 101)), false),
            (&ages, None, Some((50, 50)), true),
            (&ages, None, Some((40, 50)), true),
            (&ages, None, Some((40, 49)), false),
            (&ages, Some(7), None, false),
            (&Selection::default(), None, None, true),
        ] {
            let refused = selection.refuses(size, times);
            assert_eq!(refused.is_none(), is_taken, "{selection:?} {size:?} {times:?}");
        }
    }
}
