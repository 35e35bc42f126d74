//! Names that the target may take for one object: finds them before anything is written.

use ftp_proto::Pathname;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use super::held::{TargetEntries, find, too_many};
use super::{PlannedCopy, Planner, Subdirectory};
use crate::error::ErrorKind;
use crate::file::TemporaryName;
use crate::listing::Budget;
use crate::tree::entry::{ObjectKind, TreeEntry};
use crate::tree::fault::{Setting, TreeFault, shown};
use crate::tree::names::{Relation, fold};
use crate::tree::options::LinkChoice;

pub(crate) enum Spelling {
    Own,
    /// Its own name, though the target may list an object that no deploy stored as a spelling of it.
    Unclear,
    /// The target lists the object under this name.
    Other(Vec<u8>),
    /// The target has another object of this run under the name, so nothing can be written.
    Taken,
}

/// Names of equal [`fold`].
type Alike = Arc<Vec<Vec<u8>>>;

/// Names of one directory that may be one object with another name there, by their [`fold`].
pub(crate) struct Spellings<'a> {
    sources: HashMap<Vec<u8>, Alike>,
    /// Names that the target lists.
    listed: HashMap<Vec<u8>, Alike>,
    /// Listed names that are the spelling of a source's name.
    taken: HashSet<Vec<u8>>,
    temporary: Option<&'a TemporaryName>,
    /// The bytes of memory that the names take in the budget.
    pub(crate) held: usize,
}

impl<'a> Spellings<'a> {
    /// Finds the names in sorted entries.
    ///
    /// # Errors
    ///
    /// Returns a failure that ends the plan if the names do not fit into `budget`.
    pub(crate) fn new(
        sources: &[TreeEntry],
        targets: &TargetEntries,
        temporary: Option<&'a TemporaryName>,
        budget: &mut Budget,
    ) -> Result<Self, TreeFault> {
        // Few names share a fold. To save memory, only those are kept.
        let state = RandomState::new();
        let hash = |name: &[u8]| state.hash_one(fold(name));
        let only_listed = targets.names().filter(|name| find(sources, name).is_none());
        let all = sources.iter().map(|item| item.name.as_slice()).chain(only_listed);
        let mut seen: Vec<u64> = all.map(hash).collect();
        if let Some(temporary) = temporary {
            seen.extend(sources.iter().map(|item| hash(&temporary.of(&item.name))));
        }
        seen.sort_unstable();
        let may_meet = |name: &&[u8]| {
            let hash = hash(name);
            let first = seen.partition_point(|seen| *seen < hash);
            seen.get(first + 1) == Some(&hash)
        };
        let mut held = 0;
        let mut keep = |known: &mut HashMap<Vec<u8>, Alike>, name: &[u8]| {
            // The name may be the first one of its fold, and the spelling of another one.
            let bytes = 6 * Budget::weight_of_name(name);
            budget.hold(bytes).map_err(|_| too_many())?;
            held += bytes;
            Arc::make_mut(known.entry(fold(name)).or_default()).push(name.to_vec());
            Ok::<(), TreeFault>(())
        };
        let (mut of_sources, mut of_targets) = (HashMap::new(), HashMap::new());
        let names = sources.iter().map(|item| item.name.as_slice());
        names.filter(may_meet).try_for_each(|name| keep(&mut of_sources, name))?;
        targets.names().filter(may_meet).try_for_each(|name| keep(&mut of_targets, name))?;
        let taken = HashSet::new();
        Ok(Self { sources: of_sources, listed: of_targets, taken, temporary, held })
    }

    pub(crate) fn mark_twins(&self, copies: &mut [PlannedCopy], below: &mut [Subdirectory]) {
        for copy in copies {
            let temporary = self.temporary.map(|temporary| temporary.of(&copy.name));
            // A listed name is not another listed name.
            copy.has_twins = !copy.replaces() && self.has_twins(&copy.name, &copy.name)
                || temporary.is_some_and(|temporary| self.has_twins(&temporary, &copy.name));
        }
        for directory in below.iter_mut().filter(|directory| directory.is_new) {
            directory.has_twins = self.has_twins(&directory.name, &directory.name);
        }
    }

    /// Returns whether the source has a name that may be the same object as `name`, other than `own`.
    fn has_twins(&self, name: &[u8], own: &[u8]) -> bool {
        let names = self.sources.get(&fold(name)).into_iter().flat_map(|names| names.iter());
        names.into_iter().any(|other| other != name && other != own)
    }
}

impl Planner<'_> {
    /// Verifies that the temporary names of the copies from number `first` on do not exist.
    pub(super) fn check_temporary(
        &self,
        path: &[u8],
        first: usize,
        items: &[TreeEntry],
        targets: &TargetEntries,
    ) -> Result<(), TreeFault> {
        let Some(temporary) = &self.wish.options.temporary else { return Ok(()) };
        for copy in self.plan.copies.iter().skip(first) {
            let name = temporary.of(&copy.name);
            let place = match () {
                () if find(items, &name).is_some() => "the source",
                () if targets.had(&name) => "the target",
                () => continue,
            };
            let (name, copy) =
                (shown(&Pathname::join(path, &name)), shown(&Pathname::join(path, &copy.name)));
            let text = format!(
                "{name} is the temporary name of {copy}, but exists in {place}; nothing was copied; choose another pattern, or remove {name}"
            );
            return Err(TreeFault::new(ErrorKind::Usage, text).of(Setting::Temporary));
        }
        Ok(())
    }

    /// Returns whether an object of this kind is written to the target.
    pub(crate) fn is_written(&self, item: &TreeEntry) -> bool {
        match item.kind {
            ObjectKind::File | ObjectKind::Directory => true,
            ObjectKind::Link => self.wish.options.links == LinkChoice::Keep,
            ObjectKind::Special | ObjectKind::Own | ObjectKind::Unknown => false,
        }
    }

    /// Finds the name under which the target has, or gets, the source's object `name`. If the
    /// target lists another name that may be the same object, asks for both.
    ///
    /// # Errors
    ///
    /// Returns failures that end the plan. Other failures are recorded in the plan.
    pub(crate) fn spelling(
        &mut self,
        path: &[u8],
        place: usize,
        (name, kind): (&[u8], ObjectKind),
        targets: &mut TargetEntries,
        spellings: &mut Spellings<'_>,
    ) -> Result<Spelling, TreeFault> {
        if targets.get(name).is_some() {
            return Ok(Spelling::Own);
        }
        let own = fold(name);
        let known = spellings.listed.get(&own).cloned().unwrap_or_default();
        let there = if self.target.is_local() { "the disk" } else { "the server" };
        let its_path = Pathname::join(path, name);
        let mut found = Vec::new();
        for other in known.iter() {
            let relation = self.target.relation(&Pathname::join(path, other), &its_path)?;
            if relation == Relation::Two {
                // The name is free, whichever other name the question is about.
                found.clear();
                break;
            }
            found.push((other, relation));
        }
        let is_source = |other: &Vec<u8>| {
            spellings.sources.get(&own).is_some_and(|names| names.contains(other))
        };
        match found.as_slice() {
            [] => Ok(Spelling::Own),
            [(other, Relation::One)] => {
                let (its_name, other_name) = (shown(&its_path), shown(other));
                let is_taken = is_source(other) || !spellings.taken.insert((*other).clone());
                // An earlier run may have moved the other file there, so it may be the only copy.
                if is_taken || self.wish.options.moves && kind == ObjectKind::File {
                    let why = format!(
                        "not copied: {there} stores it as the same file as {other_name}; rename one of them"
                    );
                    self.fail(place, &its_path, self.side_of_target(), &why);
                    if !is_source(other) {
                        targets.take(other);
                    }
                    return Ok(Spelling::Taken);
                }
                let message = format!("{its_name}: {there} lists it as {other_name}");
                self.plan.spelled.push(message);
                Ok(Spelling::Other((*other).clone()))
            }
            found => {
                let mut is_clear = true;
                for (other, _) in found {
                    let other_path = Pathname::join(path, other);
                    let deploy = self.plan.deploy.as_ref();
                    is_clear &= deploy.is_some_and(|deploy| deploy.owns(&other_path));
                    let message = format!(
                        "{}: may be the same file as {} on {there}; that could not be checked, so {} is kept",
                        shown(&its_path),
                        shown(other),
                        shown(other),
                    );
                    self.plan.failures.push(TreeFault::item(ErrorKind::Integrity, message));
                    self.weigh()?;
                    if !is_source(other) {
                        targets.take(other);
                    }
                }
                Ok(if is_clear { Spelling::Own } else { Spelling::Unclear })
            }
        }
    }

    /// Returns whether writing the temporary name `temporary` may replace an object of the target
    /// that has another spelling of this name. Records the failure of the copy then.
    pub(crate) fn meets(
        &mut self,
        path: &[u8],
        place: usize,
        temporary: &[u8],
        name: &[u8],
        spellings: &Spellings<'_>,
    ) -> Result<bool, TreeFault> {
        let known =
            spellings.listed.get(&fold(temporary)).into_iter().flat_map(|names| names.iter());
        for other in known.filter(|other| *other != temporary) {
            let relation = self
                .target
                .relation(&Pathname::join(path, other), &Pathname::join(path, temporary))?;
            if relation != Relation::Two {
                let why = format!(
                    "not copied: its temporary name {} may be the same file as {}; choose another pattern for temporary names",
                    shown(temporary),
                    shown(other)
                );
                self.fail(place, &Pathname::join(path, name), self.side_of_target(), &why);
                return Ok(true);
            }
        }
        Ok(false)
    }
}
