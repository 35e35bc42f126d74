//! What a plan holds in memory: all of it is counted, since a server can invent names without end.

use super::{Copied, PlannedCopy, PlannedDirectory, Planner, Removal, SeenEntry, Subdirectory};
use crate::error::{Error, ErrorKind, ListingCut};
use crate::listing::Budget;
use crate::tree::entry::{self, TreeEntry};
use crate::tree::fault::TreeFault;
use crate::tree::manifest::weight_of;
use crate::tree::scan::{Contents, Links};

/// Numbers of the plan's steps and messages that are counted in the budget, list by list.
pub(super) type Weighed = [usize; 9];

/// Returns the memory of the items of a list that are not counted yet, and counts them.
fn newer<T>(list: &[T], counted: &mut usize, weight: impl Fn(&T) -> usize) -> usize {
    let bytes = list.iter().skip(*counted).map(weight).sum();
    *counted = list.len();
    bytes
}

impl Planner<'_> {
    pub(super) fn limits(&self) -> Budget {
        let kept = self.source.kept() + self.target.kept();
        Budget {
            entries: self.wish.objects - self.seen,
            bytes: self.budget.bytes.saturating_sub(kept),
        }
    }

    pub(super) fn hold(&mut self, bytes: usize) -> Result<(), TreeFault> {
        self.budget.hold(bytes).map_err(|_| too_many())
    }

    pub(super) fn count(
        &mut self,
        listed: Result<Contents, TreeFault>,
    ) -> Result<Contents, TreeFault> {
        let mut contents = within(listed)?;
        self.seen += contents.items.len();
        if self.seen >= self.wish.objects {
            return Err(too_many());
        }
        entry::sort(&mut contents.items);
        Ok(contents)
    }

    /// Counts the memory of the steps and messages that the plan got since the last call.
    pub(super) fn weigh(&mut self) -> Result<(), TreeFault> {
        let plan = &self.plan;
        let name = |name: &[u8]| Budget::weight_of_name(name);
        let [directories, copies, equal, links, modes, removals, failures, notes @ ..] =
            &mut self.weighed;
        // The result of a copy is kept until its source is removed.
        let result = if plan.moves { size_of::<(usize, Copied)>() } else { 0 };
        let copy = |copy: &PlannedCopy| {
            // The content is noted in the list that is written before the copies, and after them.
            let place = plan.directories.get(copy.place).map_or(0, |place| place.path.len());
            let sum = copy
                .sum
                .as_ref()
                .map_or(0, |sum| size_of_val(&**sum) + 3 * (weight_of(&copy.name) + place));
            // Of a name with twins, the fold is kept.
            let twins = if copy.has_twins { 3 * name(&copy.name) } else { 0 };
            size_of::<PlannedCopy>() + name(&copy.name) + result + twins + sum
        };
        // Names that are written are remembered by their address.
        let directory = |place: &PlannedDirectory| {
            size_of::<PlannedDirectory>() + 2 * name(&[]) + 2 * name(&place.path)
        };
        let removal = |gone: &Removal| 2 * name(&gone.path) + size_of::<SeenEntry>();
        let mut bytes = newer(&plan.directories, directories, directory)
            + newer(&plan.copies, copies, copy)
            + newer(&plan.equal, equal, copy)
            + newer(&plan.links, links, |link| 2 * name(&link.name) + name(&link.link))
            + newer(&plan.modes, modes, |mode| 2 * name(&mode.path))
            + newer(&plan.removals, removals, removal)
            + newer(&plan.failures, failures, TreeFault::weight);
        for (texts, counted) in [&plan.left_out, &plan.spelled].into_iter().zip(notes) {
            bytes += newer(texts, counted, |text| name(text.as_bytes()));
        }
        self.hold(bytes)
    }

    /// Frees the links of a directory, to which nothing returns.
    pub(super) fn forget_links(&mut self, path: &[u8]) {
        if let Some(links) = self.links.remove(path) {
            self.budget.release(links.weight() + Budget::weight_of_name(path));
        }
    }
}

/// Ends the plan if a listing did not fit into the memory that is left: the next one would not fit
/// either.
pub(super) fn within<T>(listed: Result<T, TreeFault>) -> Result<T, TreeFault> {
    listed.map_err(|fault| match fault.cause() {
        Some(Error::ListingCut(ListingCut::TooLong)) => too_many(),
        _ => fault,
    })
}

pub(super) fn too_many() -> TreeFault {
    let message = "too many objects for memory; split the tree";
    TreeFault::new(ErrorKind::Integrity, message).never_retried()
}

impl Subdirectory {
    pub(super) fn weight(&self) -> usize {
        let unique = self.unique.as_deref().map_or(0, Budget::weight_of_name);
        size_of::<Self>() + Budget::weight_of_name(&self.name) + unique
    }
}

impl Links {
    pub(super) fn weight(&self) -> usize {
        let slot = |name: &Vec<u8>| 2 * size_of::<(Vec<u8>, u64)>() + Budget::weight_of_name(name);
        self.names.iter().map(slot).chain(self.counts.keys().map(slot)).sum()
    }
}

/// The entries of a directory of the target, by name; those that no step may remove are taken out.
pub(crate) struct TargetEntries {
    /// All entries, sorted by name.
    items: Vec<TreeEntry>,
    is_taken: Vec<bool>,
    pub(super) doubt: Option<TreeFault>,
    /// Whether names that begin with a dot may be missing.
    pub(super) hides: bool,
}

impl TargetEntries {
    /// Returns the entries, which must be sorted.
    pub(super) fn new(there: Contents) -> Self {
        let Contents { items, doubt, hides, .. } = there;
        let is_taken = vec![false; items.len()];
        Self { items, is_taken, doubt, hides }
    }

    /// Returns whether the target may have an object of this name, although it does not list one.
    pub(super) fn may_lack(&self, name: &[u8]) -> bool {
        self.doubt.is_some() || self.hides && name.first() == Some(&b'.')
    }

    pub(super) fn items(&self) -> &[TreeEntry] {
        &self.items
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.items.iter().map(|item| item.name.as_slice())
    }

    /// Returns whether the target has the name, taken out or not.
    pub(super) fn had(&self, name: &[u8]) -> bool {
        find(&self.items, name).is_some()
    }

    /// Returns an entry that was not taken out.
    pub(super) fn get(&self, name: &[u8]) -> Option<&TreeEntry> {
        let at = find(&self.items, name)?;
        self.items.get(at).filter(|_| self.is_taken.get(at) == Some(&false))
    }

    pub(super) fn take(&mut self, name: &[u8]) -> Option<TreeEntry> {
        let taken = self.get(name).cloned()?;
        if let Some(is_taken) = find(&self.items, name).and_then(|at| self.is_taken.get_mut(at)) {
            *is_taken = true;
        }
        Some(taken)
    }

    /// Returns the entries that were not taken out, and that `keeps` accepts.
    pub(super) fn into_rest(self, keeps: impl Fn(&TreeEntry) -> bool) -> Vec<TreeEntry> {
        let Self { mut items, is_taken, .. } = self;
        let mut taken = is_taken.into_iter();
        items.retain(|item| taken.next() == Some(false) && keeps(item));
        items
    }
}

/// Returns the place of a name in sorted entries.
pub(super) fn find(items: &[TreeEntry], name: &[u8]) -> Option<usize> {
    items.binary_search_by(|item| item.name.as_slice().cmp(name)).ok()
}
