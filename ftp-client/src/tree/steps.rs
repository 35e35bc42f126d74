//! What a plan shows its caller before it is carried out.

use ftp_proto::{Escaped, Pathname};

use super::fault::TreeFault;
use super::sync::TreeSync;

/// What happens to an object of a [plan](TreeSync::steps).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Action {
    /// A directory is created.
    Make,
    /// A file is copied.
    Copy,
    /// A symbolic link is created.
    Link,
    /// An object of the target is removed.
    Delete,
    /// Permission bits are set.
    SetMode,
    /// A file of the target gets another name.
    Rename,
}

/// One step of a [plan](TreeSync::steps).
#[derive(Clone)]
#[non_exhaustive]
pub struct PlannedStep {
    /// What happens.
    pub action: Action,
    /// The path of the object, from the top; empty for the top itself.
    pub path: Vec<u8>,
    /// The size of a copied file in bytes, if it is known.
    pub size: Option<u64>,
    /// The reason for a copy, such as `new` or `another size`.
    pub why: Option<&'static str>,
    /// The path of a file that is renamed, from the top.
    pub from: Option<Vec<u8>>,
}

ftp_proto::debug_fields!(PlannedStep {
    action,
    path: Escaped(path),
    size,
    why,
    from: from.as_deref().map(Escaped),
});

impl TreeSync<'_> {
    /// Returns the steps, in the order in which they are carried out.
    pub fn steps(&self) -> impl Iterator<Item = PlannedStep> + '_ {
        let plan = &self.plan;
        let step = |action, path| PlannedStep { action, path, size: None, why: None, from: None };
        let made = plan.directories.iter().filter(|place| place.is_new);
        let made = made.map(move |place| step(Action::Make, place.path.clone()));
        let copies = plan.copies.iter().map(|copy| PlannedStep {
            action: if copy.from.is_some() { Action::Rename } else { Action::Copy },
            path: plan.path_of(copy),
            size: copy.size,
            why: Some(copy.why.as_str()).filter(|_| copy.from.is_none()),
            from: copy.from.clone(),
        });
        let links = plan.links.iter().map(move |link| {
            let place = plan.directories.get(link.place).map_or(&[][..], |place| &place.path);
            step(Action::Link, Pathname::join(place, &link.name))
        });
        let modes = plan.modes.iter().map(move |mode| step(Action::SetMode, mode.path.clone()));
        let removed = move |first| {
            let removed = plan.removed().filter(move |removal| removal.is_first == first);
            removed.map(move |removal| step(Action::Delete, removal.path.clone()))
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
    pub fn withheld(&self) -> Option<&str> {
        self.plan.causes.first().filter(|_| self.plan.is_withheld)
    }

    /// Returns messages about objects that are left out on purpose, and about limits of the
    /// comparison.
    pub fn notes(&self) -> impl Iterator<Item = &str> {
        self.plan.left_out.iter().map(String::as_str)
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
