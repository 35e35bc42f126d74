//! What a plan shows its caller before it is carried out.

use ftp_proto::{Escaped, Pathname};

use super::fault::TreeFault;
use super::plan::Difference;
use super::sync::TreeSync;

/// One step of a [plan](TreeSync::steps). Paths are from the top; that of the top itself is empty.
#[derive(Clone)]
#[non_exhaustive]
pub enum PlannedStep {
    /// A directory is created.
    Make {
        /// The path of the directory.
        path: Vec<u8>,
    },
    /// A file is copied.
    #[non_exhaustive]
    Copy {
        /// The path of the file.
        path: Vec<u8>,
        /// Its size in bytes, if it is known.
        size: Option<u64>,
        /// The reason.
        why: Difference,
    },
    /// A symbolic link is created.
    Link {
        /// The path of the link.
        path: Vec<u8>,
    },
    /// An object of the target is removed.
    Delete {
        /// The path of the object.
        path: Vec<u8>,
    },
    /// Permission bits are set.
    SetMode {
        /// The path of the object.
        path: Vec<u8>,
    },
    /// A file of the target gets another name.
    #[non_exhaustive]
    Rename {
        /// The former path.
        from: Vec<u8>,
        /// The path of the file.
        path: Vec<u8>,
        /// Its size in bytes, if it is known.
        size: Option<u64>,
    },
}

ftp_proto::debug_fields! { PlannedStep:
    Make { path: Escaped(path) }
    Copy { path: Escaped(path), size, why }
    Link { path: Escaped(path) }
    Delete { path: Escaped(path) }
    SetMode { path: Escaped(path) }
    Rename { from: Escaped(from), path: Escaped(path), size }
}

impl PlannedStep {
    /// Returns the path of the object.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        let (Self::Make { path }
        | Self::Copy { path, .. }
        | Self::Link { path }
        | Self::Delete { path }
        | Self::SetMode { path }
        | Self::Rename { path, .. }) = self;
        path
    }
}

impl TreeSync<'_> {
    /// Returns the steps, in the order in which they are carried out.
    pub fn steps(&self) -> impl Iterator<Item = PlannedStep> + '_ {
        let plan = &self.plan;
        let made = plan.directories.iter().filter(|place| place.is_new);
        let made = made.map(|place| PlannedStep::Make { path: place.path.clone() });
        let copies = plan.copies.iter().map(|copy| {
            let (path, size) = (plan.path_of(copy), copy.size);
            match copy.from.clone() {
                Some(from) => PlannedStep::Rename { from, path, size },
                None => PlannedStep::Copy { path, size, why: copy.why },
            }
        });
        let links = plan.links.iter().map(|link| {
            let place = plan.directories.get(link.place).map_or(&[][..], |place| &place.path);
            PlannedStep::Link { path: Pathname::join(place, &link.name) }
        });
        let modes = plan.modes.iter().map(|mode| PlannedStep::SetMode { path: mode.path.clone() });
        let removed = move |first| {
            let removed = plan.removed().filter(move |removal| removal.is_first == first);
            removed.map(|removal| PlannedStep::Delete { path: removal.path.clone() })
        };
        removed(true).chain(made).chain(copies).chain(links).chain(removed(false)).chain(modes)
    }

    /// Returns the objects that cannot be synchronized.
    pub fn failures(&self) -> impl Iterator<Item = &TreeFault> {
        self.plan.failures.iter()
    }

    /// Returns the first of the [failures](Self::failures) that hold back deletions: all of them, or
    /// with [`SyncOptions::ignores_errors`](super::SyncOptions::ignores_errors) some.
    #[must_use]
    pub fn withheld(&self) -> Option<&TreeFault> {
        self.plan.causes.first().filter(|_| self.plan.is_withheld)
    }

    /// Returns messages about objects that are left out on purpose, and about limits of the
    /// comparison.
    pub fn notes(&self) -> impl Iterator<Item = &str> {
        self.plan.left_out.iter().map(String::as_str)
    }

    /// Returns whether symbolic links are left out that
    /// [`LinkChoice::Follow`](super::LinkChoice::Follow) would follow.
    #[must_use]
    pub const fn skips_links(&self) -> bool {
        self.plan.skips_links
    }

    /// Returns messages about names that the target spells in another way.
    pub fn spellings(&self) -> impl Iterator<Item = &str> {
        self.plan.spelled.iter().map(String::as_str)
    }

    /// Returns the number of files to copy.
    #[must_use]
    pub fn copies(&self) -> usize {
        self.plan.copies.iter().filter(|copy| copy.from.is_none()).count()
    }

    /// Returns the total size of all copies in bytes, as far as sizes are known.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.plan.bytes
    }

    /// Returns the number of files and links that are equal on both sides.
    #[must_use]
    pub const fn same(&self) -> usize {
        self.plan.same
    }

    /// Returns the number of files of the source that the [choice](super::SyncOptions::choice), their
    /// [size](super::SyncOptions::sizes) or their [time](super::SyncOptions::times) leaves out.
    #[must_use]
    pub const fn unselected(&self) -> usize {
        self.plan.unselected
    }

    /// Returns the number of objects that would be deleted or renamed, if that makes
    /// [`run`](Self::run) refuse the plan: it exceeds
    /// [`SyncOptions::most_deletions`](super::SyncOptions::most_deletions), or there is no such limit
    /// and the source has no files, or only files that patterns exclude, so it may be the wrong one.
    #[must_use]
    pub fn excess(&self) -> Option<usize> {
        let planned = self.plan.most_removed();
        let is_refused = match self.options.most_deletions {
            Some(most) => planned > most,
            None => self.plan.has_empty_source && planned > 0,
        };
        is_refused.then_some(planned)
    }
}
