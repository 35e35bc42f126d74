//! Names that the target may take for one object: finds them before anything is written.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use super::{PlannedCopy, Planner, Subdirectory};
use crate::error::ErrorKind;
use crate::file::put::TemporaryName;
use crate::tree::entry::{ObjectKind, TreeEntry};
use crate::tree::fault::{TreeFault, shown};
use crate::tree::names::{Relation, fold};
use crate::tree::options::LinkChoice;
use crate::tree::path::join;

/// The name of an object at the target.
pub(crate) enum Spelling {
    /// Its own name.
    Own,
    /// The target lists the object under this name.
    Other(Vec<u8>),
    /// The target has another object of this run under the name, so nothing can be written.
    Taken,
}

/// Names of one directory that may be one object with another name there, by their [`fold`].
pub(crate) struct Spellings<'a> {
    /// Names of the source.
    sources: HashMap<Vec<u8>, Vec<Vec<u8>>>,
    /// Names that the target lists.
    listed: HashMap<Vec<u8>, Vec<Vec<u8>>>,
    /// Listed names that are the spelling of a source's name.
    taken: HashSet<Vec<u8>>,
    temporary: Option<&'a TemporaryName>,
}

impl<'a> Spellings<'a> {
    pub(crate) fn new(
        sources: &[TreeEntry],
        targets: &HashMap<Vec<u8>, TreeEntry>,
        temporary: Option<&'a TemporaryName>,
    ) -> Self {
        // Most names fold like no other. To save memory, only the rest is kept.
        let state = RandomState::new();
        let hash = |name: &[u8]| state.hash_one(fold(name));
        let own: HashSet<&[u8]> = sources.iter().map(|item| item.name.as_slice()).collect();
        let only_listed = || targets.keys().filter(|name| !own.contains(name.as_slice()));
        let mut seen: HashMap<u64, u8> = HashMap::new();
        let all = own.iter().copied().chain(only_listed().map(Vec::as_slice));
        for hash in all.map(hash) {
            let count = seen.entry(hash).or_default();
            *count = count.saturating_add(1);
        }
        if let Some(temporary) = temporary {
            for item in sources {
                seen.entry(hash(&temporary.of(&item.name))).and_modify(|count| *count = u8::MAX);
            }
        }
        let may_meet = |name: &&[u8]| seen.get(&hash(name)).is_some_and(|count| *count > 1);
        let (mut of_sources, mut of_targets) = (HashMap::new(), HashMap::new());
        let keep = |known: &mut HashMap<Vec<u8>, Vec<Vec<u8>>>, name: &[u8]| {
            known.entry(fold(name)).or_default().push(name.to_vec());
        };
        own.iter().copied().filter(may_meet).for_each(|name| keep(&mut of_sources, name));
        let listed = targets.keys().map(Vec::as_slice);
        listed.filter(may_meet).for_each(|name| keep(&mut of_targets, name));
        Self { sources: of_sources, listed: of_targets, taken: HashSet::new(), temporary }
    }

    /// Returns the names of this run and of the target that may be the same object as `name`.
    fn others(&self, name: &[u8], own: &[u8]) -> Vec<Vec<u8>> {
        let folded = fold(name);
        let sources = self.sources.get(&folded).into_iter().flatten();
        sources.filter(|other| *other != name && *other != own).cloned().collect()
    }

    /// Sets the twins of the copies of this directory.
    pub(crate) fn mark_twins(&self, copies: &mut [PlannedCopy]) {
        for copy in copies {
            let mut twins = match copy.replaces() {
                // A listed name is not another listed name.
                true => Vec::new(),
                false => self.others(&copy.name, &copy.name),
            };
            if let Some(temporary) = self.temporary {
                twins.extend(self.others(&temporary.of(&copy.name), &copy.name));
            }
            copy.twins = twins;
        }
    }

    /// Sets the twins of new subdirectories.
    pub(crate) fn mark_directories(&self, subdirectories: &mut [Subdirectory]) {
        for directory in subdirectories.iter_mut().filter(|directory| directory.is_new) {
            directory.twins = self.others(&directory.name, &directory.name);
        }
    }
}

impl Planner<'_> {
    /// Returns whether an object of this kind is written to the target.
    pub(crate) fn is_written(&self, item: &TreeEntry) -> bool {
        match item.kind {
            ObjectKind::File | ObjectKind::Directory => true,
            ObjectKind::Link => self.wish.options.links == LinkChoice::Keep,
            ObjectKind::Special | ObjectKind::Unknown => false,
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
        targets: &mut HashMap<Vec<u8>, TreeEntry>,
        spellings: &mut Spellings<'_>,
    ) -> Result<Spelling, TreeFault> {
        if targets.contains_key(name) {
            return Ok(Spelling::Own);
        }
        let own = fold(name);
        let known = spellings.listed.get(&own).cloned().unwrap_or_default();
        let there = if self.target.is_local() { "the disk" } else { "the server" };
        let its_path = join(path, name);
        let mut found = Vec::new();
        for other in &known {
            let relation = self.target.relation(&join(path, other), &its_path)?;
            if relation != Relation::Two {
                found.push((other, relation));
            }
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
                        targets.remove(*other);
                    }
                    return Ok(Spelling::Taken);
                }
                let message = format!("{its_name}: {there} lists it as {other_name}");
                self.plan.spelled.push(message);
                Ok(Spelling::Other((*other).clone()))
            }
            found => {
                for (other, _) in found {
                    let message = format!(
                        "{}: may be the same file as {} on {there}, which does not tell; {} is kept",
                        shown(&its_path),
                        shown(other),
                        shown(other),
                    );
                    self.plan.failures.push(TreeFault::item(ErrorKind::Integrity, message));
                    if !is_source(other) {
                        targets.remove(*other);
                    }
                }
                Ok(Spelling::Own)
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
        let known = spellings.listed.get(&fold(temporary)).into_iter().flatten();
        for other in known.filter(|other| *other != temporary) {
            let relation = self.target.relation(&join(path, other), &join(path, temporary))?;
            if relation != Relation::Two {
                let why = format!(
                    "not copied: its temporary name {} may be the same file as {}; choose another pattern for temporary names",
                    shown(temporary),
                    shown(other)
                );
                self.fail(place, &join(path, name), self.side_of_target(), &why);
                return Ok(true);
            }
        }
        Ok(false)
    }
}
