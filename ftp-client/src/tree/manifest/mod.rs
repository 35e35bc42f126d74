//! The list of a deploy: a file in the target's top that names what earlier runs stored there, so
//! that the content decides, and only what a run stored is deleted.
//!
//! The list is true at every moment, whenever a run is killed: before the first copy, a run writes a
//! list that names the files which it is about to send as pending, and at the end a list without
//! them. It is replaced by a rename, and ends with its own digest, so that a part of it is never
//! believed. [`DECISIONS`] is the table of what happens to a file.

pub(crate) mod remote;
mod text;

use std::collections::BTreeMap;
use std::ops::Bound;

pub(crate) use self::text::{first_32, sha256};

use ftp_proto::Pathname;

use super::entry::{Stamp, TreeEntry};
use crate::age::{AHEAD, BEHIND, ZONES};
use crate::digest::{Digest, HashAlgorithm};
use crate::error::ErrorKind;
use crate::file::journal::LocalFacts;
use crate::listing::Budget;
use crate::random;
use crate::tree::fault::{Setting, TreeFault};

/// Largest size of a list in bytes. A run holds the text and two lists, each of which takes about as
/// much memory.
pub(crate) const LARGEST: usize = 16 << 20;

/// The size and the content of a local file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Sum {
    pub(crate) size: u64,
    /// SHA-256.
    pub(crate) digest: [u8; 32],
    /// What shows that the file is unchanged since.
    pub(crate) identity: LocalFacts,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct ManifestRecord {
    pub(crate) size: u64,
    /// SHA-256 of the content.
    pub(crate) digest: [u8; 32],
    /// The range of the modification time that the server listed after the upload, or that the
    /// upload is to get, in seconds since 1970-01-01T00:00:00Z.
    pub(crate) modified: Option<(i64, i64)>,
    /// Of a pending file, for a server that sets no times: the target had no file of this name.
    pub(crate) is_new: bool,
}

impl ManifestRecord {
    /// Returns whether a file of the server is as recorded, as far as its facts are known.
    fn is_of(&self, file: &TreeEntry) -> bool {
        file.size == Some(self.size) && self.has_time_of(file)
    }

    pub(crate) fn digest(&self) -> Digest {
        Digest { algorithm: HashAlgorithm::Sha256, bytes: self.digest.to_vec() }
    }

    /// Returns the record without what could prove that a file is the recorded one.
    pub(crate) fn uncertain(self) -> Self {
        Self { modified: None, is_new: false, ..self }
    }

    /// Returns the record with the listed time of a file of the server, if that can be the recorded one in
    /// another time zone.
    pub(crate) fn in_other_zone(self, file: &TreeEntry) -> Option<Self> {
        let (then, now) = (self.modified?, range(file.stamp?));
        let shift = now.0.saturating_sub(then.0);
        let is_zone = (-AHEAD - BEHIND..=AHEAD + BEHIND).contains(&shift)
            && (shift != 0 && shift.rem_euclid(ZONES) == 0)
            && now.1.saturating_sub(then.1) == shift;
        (is_zone && file.size == Some(self.size)).then_some(Self { modified: Some(now), ..self })
    }

    /// Returns whether the times do not contradict each other. A listing shows the same time less
    /// precisely once the file is old.
    fn has_time_of(&self, file: &TreeEntry) -> bool {
        let contains =
            |outer: (i64, i64), inner: (i64, i64)| outer.0 <= inner.0 && inner.1 <= outer.1;
        match (self.modified, file.stamp.map(range)) {
            (Some(then), Some(now)) => contains(then, now) || contains(now, then),
            _ => true,
        }
    }
}

const fn range(stamp: Stamp) -> (i64, i64) {
    (stamp.earliest, stamp.latest)
}

/// Files by their paths from the top.
pub(crate) type Records = BTreeMap<Vec<u8>, ManifestRecord>;

#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Manifest {
    /// A random number, which tells whether another run has written the list.
    pub(crate) generation: u64,
    pub(crate) files: Records,
    /// The files that a run was about to send: the target may have the old file, a part or the new
    /// file.
    pub(crate) pending: Records,
}

impl Manifest {
    /// Returns the list after two runs at the same time, of which the other one has written this
    /// list: both may have sent the files that this run has `touched`.
    pub(crate) fn after_both(
        mut self,
        touched: impl Iterator<Item = (Vec<u8>, ManifestRecord)>,
    ) -> Self {
        for (path, record) in touched {
            let theirs = self.pending.get(&path).or(self.files.get(&path)).map(|it| it.size);
            let size = record.size.max(theirs.unwrap_or_default());
            self.pending.insert(path, ManifestRecord { size, ..record.uncertain() });
        }
        self.generation = random::number();
        self
    }

    /// Checks that the next run can read the list.
    ///
    /// # Errors
    ///
    /// Returns `Integrity` if it is too large.
    pub(crate) fn check_size(&self) -> Result<(), TreeFault> {
        if self.encode().len() <= LARGEST {
            return Ok(());
        }
        let text = "too many files for one list; split the tree";
        Err(TreeFault::new(ErrorKind::Integrity, text).never_retried().of(Setting::Manifest))
    }

    /// Returns the memory of the list in bytes.
    pub(crate) fn weight(&self) -> usize {
        self.files.keys().chain(self.pending.keys()).map(|path| weight_of(path)).sum()
    }
}

/// Returns the memory of a record of the file at `path`.
pub(crate) fn weight_of(path: &[u8]) -> usize {
    size_of::<ManifestRecord>() + Budget::weight_of_name(path)
}

/// Why a list proves nothing. `Display` continues a sentence that begins with its name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Distrust {
    #[error("does not exist yet")]
    Missing,
    #[error("cannot be read")]
    Unread,
    #[error("is incomplete or was changed")]
    Cut,
    #[error("is not a list of uploaded files")]
    Foreign,
    #[error("was written by a newer version")]
    Newer,
    #[error("is larger than 16 MiB")]
    TooLarge,
}

/// A deploy: what is known of the target, and what the list will say of it.
#[derive(Debug)]
pub(crate) struct Deploy {
    pub(crate) name: Vec<u8>,
    /// The list as it is to be written; with the generation that the target's list has now.
    pub(crate) list: Manifest,
    pub(crate) distrust: Option<Distrust>,
    /// Whether files that changed on the server are replaced and deleted too.
    pub(crate) replaces_changed: bool,
    /// Whether the caller's comparison proves that a file which is not listed has the same content.
    pub(crate) compares: bool,
    pub(crate) takes_times: bool,
    /// Whether the list differs from the target's.
    pub(crate) has_changed: bool,
    /// The files that this run is about to send.
    pub(crate) sent: Records,
}

impl Deploy {
    /// Returns whether `path` is that of the list itself, or of its next version.
    pub(crate) fn is_own(&self, path: &[u8]) -> bool {
        path.strip_prefix(self.name.as_slice()).is_some_and(|rest| rest.is_empty() || rest == NEW)
    }

    pub(crate) fn record(&self, path: &[u8]) -> Option<ManifestRecord> {
        self.list.pending.get(path).or(self.list.files.get(path)).copied()
    }

    /// Returns the facts that decide about the file at `path`: `here` is the source's content,
    /// `there` the target's file.
    pub(crate) fn facts(
        &self,
        path: &[u8],
        here: Option<&Sum>,
        there: Option<&TreeEntry>,
    ) -> (Claim, Here, There) {
        let (stored, pending) = (self.list.files.get(path), self.list.pending.get(path));
        let claim = match (self.distrust, stored, pending) {
            (Some(_), ..) => Claim::Unknown,
            (None, _, Some(_)) => Claim::Pending,
            (None, Some(_), None) => Claim::Stored,
            (None, None, None) => Claim::None,
        };
        let record = self.record(path);
        let source = match (here, record) {
            (None, _) => Here::Absent,
            (Some(sum), Some(record)) if (sum.size, sum.digest) == (record.size, record.digest) => {
                Here::Same
            }
            (Some(_), _) => Here::Other,
        };
        let Some(file) = there else { return (claim, source, There::Missing) };
        let was_stored = stored.is_some_and(|stored| stored.is_of(file));
        let target = match (pending, record) {
            // The time proves that the upload has ended, unless the old file had it too. Without
            // times, the size of a file that was missing does.
            (Some(pending), _) => {
                let is_timed = pending.modified.is_some() && file.stamp.is_some();
                let is_proved = is_timed || pending.is_new && source != Here::Absent;
                match () {
                    () if pending.is_of(file) && is_proved && !was_stored => There::AsListed,
                    // What was not begun is still the old file.
                    () if was_stored && source == Here::Absent => There::AsListed,
                    () if was_stored || file.size <= Some(pending.size) => There::OtherTime,
                    () => There::OtherSize,
                }
            }
            (None, Some(record)) if record.is_of(file) => There::AsListed,
            (None, Some(record)) if file.size == Some(record.size) => There::OtherTime,
            (None, _) => There::OtherSize,
        };
        (claim, source, target)
    }

    /// Records that the target has a file with this content.
    pub(crate) fn keep(&mut self, path: Vec<u8>, sum: &Sum, file: &TreeEntry) {
        let known = self.list.files.get(&path).filter(|known| known.is_of(file));
        let listed = file.stamp.map(range);
        let modified = known.and_then(|known| known.modified).or(listed);
        let record = ManifestRecord { size: sum.size, digest: sum.digest, modified, is_new: false };
        let was_pending = self.list.pending.remove(&path).is_some();
        let before = self.list.files.insert(path, record);
        self.has_changed |= was_pending || before != Some(record);
    }

    /// Returns whether a planned step may still replace or remove the file at `path`, which the
    /// target now lists as `there`. A file that the list does not name was compared when the copy was
    /// planned; if there was none, others have stored it since. Of a copy, `copy` has whether it
    /// replaces a file, and its content.
    pub(crate) fn permits(
        &self,
        path: &[u8],
        copy: Option<(bool, Option<&Sum>)>,
        there: Option<&TreeEntry>,
    ) -> bool {
        if self.record(path).is_none() {
            return copy.is_none_or(|(replaces, _)| replaces)
                || there.is_none()
                || self.replaces_changed;
        }
        let facts = self.facts(path, copy.and_then(|(_, sum)| sum), there);
        let step = step(facts, true, self.replaces_changed);
        match copy {
            Some(_) => !matches!(step, ManifestStep::Tell),
            None => step == ManifestStep::Remove,
        }
    }

    /// Gives what is at `old` and below it the path `new`, which the target takes for the same one.
    pub(crate) fn respell(&mut self, old: &[u8], new: &[u8]) {
        let moved = self.take(old);
        for (records, moved) in
            [&mut self.list.files, &mut self.list.pending].into_iter().zip(moved)
        {
            records.extend(moved.into_iter().map(|(path, record)| {
                (
                    path.strip_prefix(old)
                        .map_or_else(|| path.clone(), |rest| [new, rest].concat()),
                    record,
                )
            }));
        }
    }

    /// Takes what is at `path` and below it out of the list.
    pub(crate) fn take(&mut self, path: &[u8]) -> [Records; 2] {
        [&mut self.list.files, &mut self.list.pending].map(|records| {
            let inside = below(records, path).map(|(path, _)| path.clone());
            let paths: Vec<_> = inside.chain([path.to_vec()]).collect();
            let gone = paths.into_iter().filter_map(|path| records.remove_entry(&path));
            let gone: Records = gone.collect();
            self.has_changed |= !gone.is_empty();
            gone
        })
    }

    /// Returns the paths in the directory at `path` that neither side has, from its names, but at or
    /// below which the list has files. A file that is pending stays in the list: another run may be
    /// about to send it.
    pub(crate) fn missing(&self, path: &[u8], is_there: impl Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
        let start = path.len() + usize::from(!path.is_empty());
        let names = below(&self.list.files, path).filter_map(|(listed, _)| {
            let name = listed.get(start..)?.split(|byte| *byte == b'/').next()?;
            (!is_there(name)).then(|| Pathname::join(path, name))
        });
        let mut paths: Vec<_> = names.collect();
        paths.dedup();
        paths
    }

    /// Forgets the files at and below `path`, which the target proves to be gone, but none that is
    /// pending.
    pub(crate) fn forget_stored(&mut self, path: &[u8]) {
        let [_, pending] = self.take(path);
        self.list.pending.extend(pending);
    }

    /// Returns whether the list has a file at `path`, or below it.
    pub(crate) fn owns(&self, path: &[u8]) -> bool {
        self.record(path).is_some() || self.owns_below(path)
    }

    pub(crate) fn owns_below(&self, path: &[u8]) -> bool {
        self.distrust.is_none()
            && [&self.list.files, &self.list.pending]
                .iter()
                .any(|records| below(records, path).next().is_some())
    }

    /// Returns the list that is true while the files of this run are sent.
    pub(crate) fn announced(&self) -> Manifest {
        let mut list = Manifest { generation: random::number(), ..self.list.clone() };
        list.pending.extend(self.sent.iter().map(|(path, record)| (path.clone(), *record)));
        list
    }

    /// Records that a file is complete; `modified` is the time that the server lists.
    pub(crate) fn stored(&mut self, path: &[u8], modified: Option<Stamp>) {
        if let Some(record) = self.sent.remove(path) {
            self.list.pending.remove(path);
            let record = ManifestRecord { modified: modified.map(range), is_new: false, ..record };
            self.list.files.insert(path.to_vec(), record);
            self.has_changed = true;
        }
    }

    /// Returns whether the target's list is the one that this run has read or written.
    pub(crate) fn is_expected(&self, now: &Manifest) -> bool {
        self.distrust.is_none() && self.list.generation == now.generation
    }

    /// Returns the list that is true at the end: what was not confirmed stays pending.
    pub(crate) fn ended(&mut self) -> Manifest {
        let files = std::mem::take(&mut self.list.files);
        let mut pending = std::mem::take(&mut self.list.pending);
        pending.append(&mut self.sent);
        Manifest { generation: random::number(), files, pending }
    }
}

/// What follows the name of the list in the name of its next version.
pub(crate) const NEW: &[u8] = b".new";

fn below<'r>(
    records: &'r Records,
    path: &[u8],
) -> impl Iterator<Item = (&'r Vec<u8>, &'r ManifestRecord)> {
    let first = if path.is_empty() { Vec::new() } else { [path, b"/"].concat() };
    let start = Bound::Included(first.clone());
    let range = records.range((start, Bound::Unbounded));
    range.take_while(move |(path, _)| path.starts_with(&first))
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Claim {
    /// There is no list that proves anything.
    Unknown,
    /// The list does not name the file.
    None,
    /// An earlier run has stored it.
    Stored,
    /// An earlier run was about to send it, and did not say how that ended.
    Pending,
}

/// The source's file, compared with the listed content.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Here {
    Same,
    Other,
    Absent,
}

/// The target's file, compared with the list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum There {
    /// Of a pending file: as the whole upload left it.
    AsListed,
    /// Of a pending file: of a size that the upload cannot have left.
    OtherSize,
    /// Of a pending file: of unknown content, but no larger than the upload.
    OtherTime,
    Missing,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ManifestStep {
    /// Both sides are equal.
    Keep,
    Copy,
    /// As without a list: the caller's comparison decides.
    Compare,
    /// The target's file stays, and that is a failure.
    Tell,
    Remove,
    /// The target's file would be removed, but stays, which is a failure.
    Spare,
    Leave,
}

/// One row: the step of all combinations of these facts.
struct Decision(&'static [Claim], &'static [Here], &'static [There], ManifestStep);

#[rustfmt::skip]
const DECISIONS: &[Decision] = {
    use Claim::{None as Unlisted, Pending, Stored, Unknown};
    use Here::{Absent, Other, Same};
    use There::{AsListed, Missing, OtherSize, OtherTime};
    const PRESENT: &[There] = &[AsListed, OtherSize, OtherTime];
    &[
        // Without a list, nothing is deleted.
        Decision(&[Unknown],          &[Same, Other], &[Missing],                                ManifestStep::Copy),
        Decision(&[Unknown],          &[Same, Other], PRESENT,                                   ManifestStep::Compare),
        // What the list does not name belongs to others.
        Decision(&[Unlisted],         &[Same, Other], &[Missing],                                ManifestStep::Copy),
        Decision(&[Unlisted],         &[Same, Other], PRESENT,                                   ManifestStep::Tell),
        Decision(&[Unknown, Unlisted], &[Absent],     PRESENT,                                   ManifestStep::Leave),
        Decision(&[Unknown, Unlisted, Stored, Pending], &[Absent], &[Missing],                   ManifestStep::Leave),
        Decision(&[Stored],           &[Same],        &[AsListed],                               ManifestStep::Keep),
        Decision(&[Stored],           &[Other],       &[AsListed],                               ManifestStep::Copy),
        // What was removed by hand comes back; what was changed by hand stays.
        Decision(&[Stored],           &[Same, Other], &[Missing],                                ManifestStep::Copy),
        Decision(&[Stored],           &[Same, Other], &[OtherSize, OtherTime],                   ManifestStep::Tell),
        Decision(&[Stored, Pending],  &[Absent],      &[AsListed],                               ManifestStep::Remove),
        Decision(&[Stored, Pending],  &[Absent],      &[OtherSize, OtherTime],                   ManifestStep::Spare),
        // What an interrupted run may have begun is sent again, unless its end is proved.
        Decision(&[Pending],          &[Same],        &[AsListed],                               ManifestStep::Keep),
        Decision(&[Pending],          &[Other],       &[AsListed],                               ManifestStep::Copy),
        Decision(&[Pending],          &[Same, Other], &[OtherTime, Missing],                     ManifestStep::Copy),
        Decision(&[Pending],          &[Same, Other], &[OtherSize],                              ManifestStep::Tell),
    ]
};

/// Returns the step for a file. Only with `deletes`, files are removed. `replaces_changed` also
/// replaces and removes what changed on the server, but removes only what the list names as stored.
pub(crate) fn step(
    (claim, here, there): (Claim, Here, There),
    deletes: bool,
    replaces_changed: bool,
) -> ManifestStep {
    let fits =
        |row: &&Decision| row.0.contains(&claim) && row.1.contains(&here) && row.2.contains(&there);
    match DECISIONS.iter().find(fits).map_or(ManifestStep::Leave, |row| row.3) {
        ManifestStep::Tell if replaces_changed => ManifestStep::Copy,
        ManifestStep::Remove | ManifestStep::Spare if !deletes => ManifestStep::Leave,
        ManifestStep::Spare if replaces_changed && claim == Claim::Stored => ManifestStep::Remove,
        step => step,
    }
}

#[cfg(test)]
mod tests;
