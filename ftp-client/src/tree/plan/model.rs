//! What a plan consists of: the steps of a mirror, in order.

use std::collections::{BTreeSet, HashSet};
use std::time::Instant;

use ftp_proto::Pathname;

use crate::error::ErrorKind;
use crate::event::Verify;
use crate::file::journal::LocalFacts;
use crate::pool::crew::SMALL;
use crate::tree::entry::{ObjectKind, Stamp, TreeEntry};
use crate::tree::fault::{Causes, Setting, TreeFault};
use crate::tree::manifest::{Deploy, Sum};

/// Up to this number of small files, each has a data connection of its own.
const FEW: usize = 7;

/// Smallest size of a large file in bytes.
pub(crate) const LARGE: u64 = 16 << 20;

/// Steps of a mirror, in order: directories, copies, links, removals, permissions. Files of the
/// source are removed last.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// All directories of the source that are mirrored, parents first. The first is the top.
    pub(crate) directories: Vec<PlannedDirectory>,
    pub(crate) copies: Vec<PlannedCopy>,
    /// Numbers of the copies that all connections download together.
    pub(crate) large: Vec<usize>,
    pub(crate) links: Vec<PlannedLink>,
    /// Permission bits of directories, and of files that are otherwise equal.
    pub(crate) modes: Vec<PlannedMode>,
    /// For each directory, first its entries, then the directory itself.
    pub(crate) removals: Vec<Removal>,
    /// Names under which nothing is written: an object of another type that has the name stays.
    pub(crate) blocked: Vec<Vec<u8>>,
    /// Directories to remove that may be links, unless the target shows links. Servers list links to
    /// directories as directories, and the target of a link must never be touched.
    pub(super) unproved: Vec<Vec<u8>>,
    /// Steps that cannot be done.
    pub(crate) failures: Vec<TreeFault>,
    /// The failures after which nothing is deleted.
    pub(crate) causes: Causes,
    /// Whether [`SyncOptions::ignores_errors`] limits the causes to their directories.
    pub(crate) ignores_errors: bool,
    /// Whether the causes hold back removals.
    pub(crate) is_withheld: bool,
    /// Messages about names that the target spells in another way.
    pub(crate) spelled: Vec<String>,
    /// Number of the first copy that [has twins](PlannedCopy::has_twins), or that is a rename: those are
    /// the last ones, and one job makes them in turn.
    pub(crate) first_twin: usize,
    /// Messages about objects that are left out on purpose, and about limits of the comparison.
    pub(crate) left_out: Vec<String>,
    /// Whether symbolic links are left out that could be followed.
    pub(crate) skips_links: bool,
    /// Number of files and links that are equal on both sides.
    pub(crate) same: usize,
    /// Whether the source has no files, or only files that patterns exclude. Those do not show that the
    /// right source is there: one with nothing but an ignore file may be a disk that is not mounted.
    pub(crate) has_empty_source: bool,
    /// Whether the source has a file whose size or time the options exclude.
    pub(crate) has_unfit: bool,
    /// Number of files of the source that the options exclude.
    pub(crate) unselected: usize,
    /// With `moves`, the files that are equal on both sides.
    pub(crate) equal: Vec<PlannedCopy>,
    /// Whether files of the source are removed once the target has them.
    pub(crate) moves: bool,
    /// Total size of all copies in bytes, as far as sizes are known.
    pub(crate) bytes: u64,
    /// With a manifest, what is known of the target.
    pub(crate) deploy: Option<Box<Deploy>>,
    /// Whether the server has shown that it does not set modification times.
    pub(crate) drops_times: bool,
    /// When the first listing was asked for.
    pub(crate) begun: Option<Instant>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct PlannedDirectory {
    /// Path from the top; the path of the top itself is empty.
    pub(crate) path: Vec<u8>,
    /// Whether the target lacks the directory.
    pub(crate) is_new: bool,
    /// Whether a step in the directory is impossible.
    pub(crate) has_failed: bool,
    /// Whether the target may take another name of the source for this directory's name.
    pub(crate) has_twins: bool,
    /// Whether the target's directory may be the top of the source: it shows a name that the top has.
    pub(crate) may_be_source: bool,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct PlannedCopy {
    /// Index of the file's directory in the plan.
    pub(crate) place: usize,
    pub(crate) name: Vec<u8>,
    pub(crate) size: Option<u64>,
    pub(crate) stamp: Option<Stamp>,
    pub(crate) why: Difference,
    /// With `permissions`, the permission bits of the source, if known.
    pub(crate) mode: Option<u16>,
    /// Whether the target does not list the name, but has the file under another spelling.
    pub(crate) is_spelled: bool,
    /// Whether the target may take another name of the source for the file's name, or for its
    /// temporary name.
    pub(crate) has_twins: bool,
    /// With a manifest, the content.
    pub(crate) sum: Option<Box<Sum>>,
    /// The path of the target's file of this content, which is renamed instead of removed.
    pub(crate) from: Option<Vec<u8>>,
}

/// Condition, besides an equal size, for two files to count as the same.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Rule {
    /// No further condition: `Compare::Size`.
    SizeOnly,
    /// The same digest, which the caller requests.
    SameHash,
    /// The same modification time, to the second: for targets whose times can be set.
    SameTime,
    /// The target was written after the last change of the source: for targets whose server cannot
    /// set times and uses its own clock.
    ///
    /// The modification time alone is not enough: a file that was renamed over the source keeps its
    /// old modification time. If both times are in the same second, the source counts as changed.
    NotBefore,
}

/// The reason to copy a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Difference {
    /// The target has no such file.
    New,
    /// The sizes differ.
    Size,
    /// The modification times differ.
    Time,
    /// The digests differ.
    Content,
    /// It is unknown whether the files differ, so the file is copied.
    Doubt,
}

impl Difference {
    /// Returns the words for this: `new`, `another size`, `another time`, `another content` or
    /// `not known to be the same`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Size => "another size",
            Self::Time => "another time",
            Self::Content => "another content",
            Self::Doubt => "not known to be the same",
        }
    }
}

#[derive(Debug)]
pub(crate) struct Copied {
    /// Transferred bytes; between servers, the size of the file.
    pub(crate) bytes: u64,
    pub(crate) verified: Verify,
    pub(crate) source: Option<LocalFacts>,
    /// Modification time that the copy does not have yet, in seconds since 1970-01-01T00:00:00Z.
    pub(crate) due_time: Option<i64>,
    /// The time that the server's file has got, or that the server told right after the upload, if that
    /// must show later that no other file has taken the name.
    pub(crate) noted: Option<i64>,
    /// The failure to set the time or the permissions of the complete copy.
    pub(crate) unset: Option<TreeFault>,
}

impl Copied {
    pub(crate) fn far(bytes: u64, verified: Verify) -> Self {
        Self { bytes, verified, source: None, due_time: None, noted: None, unset: None }
    }
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct PlannedLink {
    /// Index of the link's directory in the plan.
    pub(crate) place: usize,
    pub(crate) name: Vec<u8>,
    pub(crate) link: Vec<u8>,
    pub(crate) replaces: bool,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct PlannedMode {
    /// Index of the directory whose state decides whether the bits are set.
    pub(crate) place: usize,
    /// Path from the top.
    pub(crate) path: Vec<u8>,
    pub(crate) mode: u16,
}

impl PlannedCopy {
    pub(super) fn of(place: usize, item: TreeEntry, why: Difference) -> Self {
        let TreeEntry { name, size, stamp, mode, .. } = item;
        let (is_spelled, has_twins, sum, from) = (false, false, None, None);
        Self { place, name, size, stamp, why, mode, is_spelled, has_twins, sum, from }
    }

    /// Returns whether the target already has a file of the same name.
    pub(crate) fn replaces(&self) -> bool {
        self.why != Difference::New
    }

    /// Returns whether the target may have a file of the same name and size. Until the facts of that
    /// file have changed, nothing shows that it is the copy.
    pub(crate) fn replaces_equal_size(&self) -> bool {
        self.replaces() && self.why != Difference::Size
    }
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Removal {
    /// Index of the planned directory that contains the object, directly or in a subdirectory. If
    /// anything in that directory fails, the object stays.
    pub(crate) place: usize,
    /// Path from the top.
    pub(crate) path: Vec<u8>,
    pub(crate) what: Removed,
    pub(crate) seen: SeenEntry,
    /// Whether a copy renames the object instead.
    pub(crate) is_renamed: bool,
    /// Whether the object goes before anything is written: an object of another type takes its name.
    pub(crate) is_first: bool,
}

impl SeenEntry {
    /// Returns the exact time of the object, if it was listed.
    pub(crate) fn exact(&self) -> Option<i64> {
        self.stamp.and_then(|stamp| stamp.exact())
    }
}

impl Removal {
    pub(super) fn of(place: usize, path: Vec<u8>, what: Removed, item: &TreeEntry) -> Self {
        let seen = SeenEntry::of(item);
        Self { place, path, what, seen, is_renamed: false, is_first: false }
    }
}

/// What a listing shows of an object to remove. Before the removal, another look must show the same.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct SeenEntry {
    pub(crate) kind: ObjectKind,
    size: Option<u64>,
    stamp: Option<Stamp>,
}

impl SeenEntry {
    fn of(item: &TreeEntry) -> Self {
        Self { kind: item.kind, size: item.size, stamp: item.stamp }
    }

    /// Returns whether `now`, a later listing of the same name, shows another object or a change. A
    /// removal in a directory changes the time of that directory.
    pub(crate) fn differs(&self, now: &TreeEntry) -> bool {
        // A listing shows the same time less precisely once the file is old.
        let contains =
            |one: Stamp, two: Stamp| one.earliest <= two.earliest && two.latest <= one.latest;
        let are_other = |one: Stamp, two: Stamp| !contains(one, two) && !contains(two, one);
        let stamps = self.stamp.zip(now.stamp);
        self.kind != now.kind
            || self.kind != ObjectKind::Directory
                && (self.size != now.size || stamps.is_some_and(|(one, two)| are_other(one, two)))
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Removed {
    /// A file or a link.
    Entry,
    /// A directory; its entries are removed first.
    Directory,
}

impl Plan {
    /// Removes the removals that the causes do not permit. Reports this once, with the first cause.
    pub(super) fn withhold(&mut self) {
        let Self { directories, causes, ignores_errors, removals, blocked, .. } = self;
        let before = removals.len();
        removals.retain(|removal| {
            let place = directories.get(removal.place).map_or(&[][..], |place| &place.path);
            let stays = !causes.permit(place, *ignores_errors);
            if stays && removal.is_first {
                blocked.push(removal.path.clone());
            }
            !stays
        });
        if before == removals.len() {
            return;
        }
        match self.causes.first().filter(|_| self.failures.is_empty()) {
            Some(first) => {
                let text = format!("nothing deleted; first failure: {first}");
                let fault = TreeFault::item(ErrorKind::Integrity, text);
                self.failures.push(fault.of(Setting::Deletions));
            }
            None => self.is_withheld = true,
        }
    }

    /// Keeps what may be reached through a link, and the directories above it, unless the target
    /// shows links.
    pub(super) fn keep_unproved(&mut self, shows_links: bool) {
        let Self { removals, blocked, failures, unproved, .. } = self;
        if shows_links {
            return;
        }
        let inner: HashSet<&[u8]> = unproved.iter().map(Vec::as_slice).collect();
        let outer: HashSet<&[u8]> = inner.iter().flat_map(|path| way_to(path)).collect();
        let mut kept = BTreeSet::new();
        let is_kept = |removal: &mut Removal| {
            let link = way_to(&removal.path).filter(|at| inner.contains(at)).last();
            kept.extend(link.map(<[u8]>::to_vec));
            link.is_some() || outer.contains(&*removal.path)
        };
        let first = |removal: Removal| removal.is_first.then_some(removal.path);
        blocked.extend(removals.extract_if(.., is_kept).filter_map(first));
        failures.extend(kept.iter().map(|path| {
            let why = "not deleted: it may be a symbolic link";
            TreeFault::item(ErrorKind::Unsupported, why).about(path).of(Setting::NoLinks)
        }));
    }

    /// Returns whether enough small files are copied for one data connection for all of them to save
    /// time, where a server offers that.
    pub(crate) fn has_small_files(&self) -> bool {
        let small = |copy: &&PlannedCopy| copy.size.is_some_and(|size| size <= SMALL);
        self.apart().iter().filter(small).nth(FEW).is_some()
    }

    /// Returns the copies without twins that are no renames, which jobs can make in parallel.
    pub(crate) fn apart(&self) -> &[PlannedCopy] {
        self.copies.get(..self.first_twin).unwrap_or(&self.copies)
    }

    pub(crate) fn removed(&self) -> impl Iterator<Item = &Removal> {
        self.removals.iter().filter(|removal| !removal.is_renamed)
    }

    /// Returns the largest number of objects that may be removed: if the server refuses a rename, the
    /// file is sent, and its old name removed.
    pub(crate) fn most_removed(&self) -> usize {
        let renamed = self.copies.iter().filter(|copy| copy.from.is_some());
        self.removed().count() + renamed.count()
    }

    pub(crate) fn path_of(&self, copy: &PlannedCopy) -> Vec<u8> {
        let place = self.directories.get(copy.place).map_or(&[][..], |place| &place.path);
        Pathname::join(place, &copy.name)
    }

    pub(crate) fn is_all_text(&self, is_text: impl Fn(&[u8]) -> bool) -> bool {
        let mut made = self.directories.iter().filter(|place| place.is_new);
        self.copies.iter().all(|copy| is_text(&self.path_of(copy)))
            && self.removals.iter().all(|removal| is_text(&removal.path))
            && made.all(|place| is_text(&place.path))
    }

    /// Returns the numbers of the copies of large files. Over a single connection, such a file
    /// would still be in transfer when the other connections are idle.
    pub(crate) fn large_files(&self, jobs: usize) -> Vec<usize> {
        let is_large = |copy: &PlannedCopy| {
            let size = copy.size.unwrap_or_default();
            jobs > 1 && size >= LARGE && size.saturating_mul(jobs as u64) > self.bytes
        };
        let numbered = self.apart().iter().enumerate();
        numbered.filter(|(_, copy)| is_large(copy)).map(|(number, _)| number).collect()
    }
}

/// Returns the paths of an object and of the directories above it; the last one is that of the top.
pub(crate) fn way_to(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(path), |path| (!path.is_empty()).then(|| Pathname::split(path).0))
}
