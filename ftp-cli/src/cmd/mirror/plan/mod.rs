//! Plans a mirror by listing both trees before any change. So `--dry-run` can show the plan,
//! `--max-delete` is checked before any removal, and the progress display knows the total.

mod large;
mod links;
mod removals;
mod same;

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::compare::{Difference, Rule};
use super::entry::{
    self, Clock, ObjectKind, Stamp, TreeEntry, check_name, file_of_piece, is_temporary,
    is_unfinished,
};
use super::filter::Filter;
use super::options::LinkChoice;
use super::trees::{Contents, Links, Side};
use crate::display::shown;
use crate::exit::{Exit, Failure};
use crate::remote::links::Proof;
use crate::remote::path::{join, split};
use crate::transfer::options::TemporaryName;

/// Largest depth of a tree: a server can list an endless tree.
const DEPTH: usize = 128;

/// Largest number of objects in both trees, unless a lower limit is requested.
pub(super) const OBJECTS: usize = 1_000_000;

/// Largest memory usage, in bytes, of the directories that are being compared.
const HELD: usize = 256 << 20;

/// Options of a plan.
pub(super) struct PlanOptions<'a> {
    pub(super) choice: &'a Filter,
    pub(super) rule: Rule,
    /// `--delete`.
    pub(super) deletes: bool,
    /// Largest number of objects in both trees.
    pub(super) objects: usize,
    /// Whether `--continue` is set and times decide which files can be resumed.
    pub(super) resumes: bool,
    /// Whether nothing may be written, not even a test file.
    pub(super) is_dry: bool,
    /// `--remove-source`.
    pub(super) moves: bool,
    /// The temporary name of `--temp`.
    pub(super) temporary: Option<&'a TemporaryName>,
    pub(super) links: LinkChoice,
    /// `--perms`.
    pub(super) perms: bool,
}

/// Steps of a mirror, in order: directories, copies, links, removals, permissions. Files of the
/// source are removed last.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// All directories of the source that are mirrored, parents first. The first is the top.
    pub(super) directories: Vec<PlannedDirectory>,
    pub(super) copies: Vec<PlannedCopy>,
    /// Numbers of the copies that all connections download together.
    pub(super) large: Vec<usize>,
    /// Symbolic links to create.
    pub(super) links: Vec<PlannedLink>,
    /// Permission bits of directories, and of files that are otherwise equal.
    pub(super) modes: Vec<PlannedMode>,
    /// For each directory: first the check [`Below`](Removed::Below), then its entries, then the
    /// directory itself.
    pub(super) removals: Vec<Removal>,
    /// Temporary files at the target; some may be leftovers of killed runs.
    pub(super) temporary: Vec<Vec<u8>>,
    /// Steps that cannot be done.
    pub(super) failures: Vec<Failure>,
    /// Messages about objects that are left out on purpose, and about limits of the comparison.
    pub(super) left_out: Vec<String>,
    /// Number of files and links that are equal on both sides.
    pub(super) same: usize,
    /// Whether the source has no files at all, selected or not.
    pub(super) has_empty_source: bool,
    /// Number of files of the source that the options exclude.
    pub(super) unselected: usize,
    /// With `--remove-source`, the files that are equal on both sides.
    pub(super) equal: Vec<PlannedCopy>,
    /// Whether files of the source are removed once the target has them.
    pub(super) moves: bool,
    /// Total size of all copies in bytes, as far as sizes are known.
    pub(super) bytes: u64,
}

/// A directory to mirror.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct PlannedDirectory {
    /// Path from the top; the path of the top itself is empty.
    pub(super) path: Vec<u8>,
    /// Whether the target lacks the directory.
    pub(super) is_new: bool,
    /// Whether a step in the directory is impossible; if so, nothing is removed from the directory.
    pub(super) has_failed: bool,
}

/// A file to copy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct PlannedCopy {
    /// Index of the file's directory in the plan.
    pub(super) place: usize,
    pub(super) name: Vec<u8>,
    pub(super) size: Option<u64>,
    pub(super) stamp: Option<Stamp>,
    pub(super) why: Difference,
    /// Whether the target's file may be a partial copy: it is shorter, and was written after the
    /// last change of the source.
    pub(super) may_continue: bool,
    /// With `--perms`, the permission bits of the source, if known.
    pub(super) mode: Option<u16>,
}

/// A symbolic link to create.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct PlannedLink {
    /// Index of the link's directory in the plan.
    pub(super) place: usize,
    pub(super) name: Vec<u8>,
    /// Target of the link.
    pub(super) link: Vec<u8>,
    /// Whether an existing link of that name is replaced.
    pub(super) replaces: bool,
}

/// Permission bits to set.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct PlannedMode {
    /// Index of the directory whose state decides whether the bits are set.
    pub(super) place: usize,
    /// Path from the top.
    pub(super) path: Vec<u8>,
    pub(super) mode: u16,
}

impl PlannedCopy {
    /// Returns the copy of a file in the directory `place`.
    fn of(place: usize, item: TreeEntry, why: Difference) -> Self {
        let TreeEntry { name, size, stamp, mode, .. } = item;
        Self { place, name, size, stamp, why, may_continue: false, mode }
    }

    /// Returns whether the target already has a file of the same name.
    pub(super) fn replaces(&self) -> bool {
        self.why != Difference::New
    }
}

/// An object to remove from the target.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Removal {
    /// Index of the planned directory that contains the object, directly or in a subdirectory. If
    /// anything in that directory fails, the object stays.
    pub(super) place: usize,
    /// Path from the top.
    pub(super) path: Vec<u8>,
    pub(super) what: Removed,
}

/// An object to remove, or a check before a removal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Removed {
    /// A file or a link.
    Entry,
    /// A directory; its entries are removed first.
    Directory,
    /// No removal, but a check that this is a directory, before its entries are removed. Servers
    /// list links to directories as directories, and the target of a link must never be touched.
    Below {
        /// Whether listings prove that the object is a directory.
        proof: Proof,
    },
}

impl Plan {
    /// Lists both trees and plans the mirror.
    ///
    /// # Errors
    ///
    /// Returns failures that end the run, such as a lost connection, an unreadable source, too many
    /// objects, or a temporary name that exists already.
    pub(super) fn make(
        source: &mut dyn Side,
        target: &mut dyn Side,
        top_is_new: bool,
        wish: &PlanOptions<'_>,
    ) -> Result<Self, Failure> {
        let top = source.identity();
        let mut planner = Planner {
            source,
            target,
            wish,
            plan: Self { moves: wish.moves, ..Self::default() },
            seen: 0,
            held: 0,
            above: top.into_iter().collect(),
            links: HashMap::new(),
            clock: None,
            refused: Vec::new(),
            coarse: None,
            lacks_modes: false,
        };
        planner.enter(&[], top_is_new)?;
        planner.check_modes();
        let mut plan = planner.plan;
        plan.has_empty_source = plan.copies.is_empty() && plan.same == 0 && plan.unselected == 0;
        Ok(plan)
    }

    /// Returns the objects to remove.
    pub(super) fn removed(&self) -> impl Iterator<Item = &Removal> {
        self.removals.iter().filter(|removal| !matches!(removal.what, Removed::Below { .. }))
    }

    /// Returns the path of a copy, from the top.
    pub(super) fn path_of(&self, copy: &PlannedCopy) -> Vec<u8> {
        let place = self.directories.get(copy.place).map_or(&[][..], |place| &place.path);
        join(place, &copy.name)
    }
}

struct Planner<'a> {
    source: &'a mut dyn Side,
    target: &'a mut dyn Side,
    wish: &'a PlanOptions<'a>,
    plan: Plan,
    /// Number of objects seen.
    seen: usize,
    held: usize,
    /// Unique identifiers of the directories from the top to the current one.
    above: Vec<Vec<u8>>,
    /// Links of the target, by directory.
    links: HashMap<Vec<u8>, Rc<Links>>,
    /// Clock of the target, once known.
    clock: Option<Clock>,
    /// Directories in which the target's clock could not be measured.
    refused: Vec<Vec<u8>>,
    /// A directory of the target, and whether it stores only even seconds.
    coarse: Option<(Vec<u8>, bool)>,
    /// With `--perms`, whether permissions are missing in a listing.
    lacks_modes: bool,
}

/// A subdirectory of the source's current directory.
struct Subdirectory {
    name: Vec<u8>,
    /// Whether the target lacks the subdirectory.
    is_new: bool,
    /// Unique identifier, if known.
    unique: Option<Vec<u8>>,
    /// Permission bits to set.
    mode: Option<u16>,
}

impl Planner<'_> {
    /// Plans a directory and everything below it.
    fn enter(&mut self, path: &[u8], is_new: bool) -> Result<(), Failure> {
        let contents = match self.read_source(path) {
            Ok(contents) => contents,
            Err(failure) if failure.fatal || path.is_empty() => return Err(failure),
            Err(failure) => {
                // The content is unknown, so nothing in the directory is changed.
                self.plan.failures.push(failure);
                return Ok(());
            }
        };
        if path.is_empty() && contents.items.is_empty() && !self.source.is_empty(path)? {
            // Mirroring a missing source must not succeed.
            let message = "the listing is empty, so the directory may be missing";
            return Err(Failure::new(Exit::Refused, message));
        }
        let there = match is_new {
            true => Contents::default(),
            false => match self.read_target(path)? {
                Some(there) => there,
                None => return Ok(()),
            },
        };
        let place = self.plan.directories.len();
        let planned = PlannedDirectory { path: path.to_vec(), is_new, has_failed: false };
        self.plan.directories.push(planned);

        let weight = |items: &[TreeEntry]| items.iter().map(TreeEntry::weight).sum::<usize>();
        let held = weight(&contents.items) + weight(&there.items);
        self.held += held;
        if self.held > HELD {
            return Err(too_many());
        }
        if self.target.is_local() {
            let is_leftover = |name: &[u8]| is_temporary(name) || file_of_piece(name).is_some();
            let temporary = there.items.iter().filter(|item| is_leftover(&item.name));
            self.plan.temporary.extend(temporary.map(|item| join(path, &item.name)));
        }
        let subdirectories = self.plan_items(path, place, contents, there)?;
        for subdirectory in subdirectories {
            self.enter_below(path, place, subdirectory)?;
        }
        self.held -= held;
        Ok(())
    }

    /// Plans the entries of one directory on both sides. Returns the directory's subdirectories.
    fn plan_items(
        &mut self,
        path: &[u8],
        place: usize,
        contents: Contents,
        there: Contents,
    ) -> Result<Vec<Subdirectory>, Failure> {
        let mut doubt = contents.doubt;
        let is_empty = contents.items.is_empty();
        let names: HashSet<Vec<u8>> = contents.items.iter().map(|item| item.name.clone()).collect();
        let mut targets: HashMap<Vec<u8>, TreeEntry> =
            there.items.into_iter().map(|item| (item.name.clone(), item)).collect();
        let names_there: HashSet<Vec<u8>> = match self.wish.temporary {
            Some(_) => targets.keys().cloned().collect(),
            None => HashSet::new(),
        };
        let first = self.plan.copies.len();
        let mut subdirectories = Vec::new();
        for item in contents.items {
            if let Err(why) = check_name(&item.name) {
                // The real name of this object is unknown, so any object of the target may be its
                // copy.
                doubt.get_or_insert_with(|| format!("\"{}\" {why}", shown(&item.name)));
                self.fail(place, &join(path, &item.name), Exit::Protocol, why);
                continue;
            }
            subdirectories.extend(self.plan_item(path, place, item, &mut targets)?);
        }
        self.check_temporary(path, first, &names, &names_there)?;
        if self.wish.deletes {
            // Pieces are removed by the run that completes their file or does not need them.
            let is_piece = |name: &[u8]| self.target.is_local() && file_of_piece(name).is_some();
            targets.retain(|name, _| !names.contains(name) && !is_piece(name));
            let mut extra: Vec<TreeEntry> = targets.into_values().collect();
            if contents.hides {
                self.keep_hidden(path, &mut extra);
            }
            self.remove_extra(path, place, extra, there.doubt.or(doubt), is_empty)?;
        }
        Ok(subdirectories)
    }

    /// Verifies that the temporary names of the copies from number `first` on do not exist. At the
    /// target, a name of the default pattern may exist: it counts as an interrupted upload.
    fn check_temporary(
        &self,
        path: &[u8],
        first: usize,
        names: &HashSet<Vec<u8>>,
        names_there: &HashSet<Vec<u8>>,
    ) -> Result<(), Failure> {
        let Some(temporary) = self.wish.temporary else { return Ok(()) };
        let replaces = temporary.of(b"x") == b".in.x";
        for copy in self.plan.copies.iter().skip(first) {
            let name = temporary.of(&copy.name);
            let place = match () {
                () if names.contains(&name) => "the source",
                () if names_there.contains(&name) && !replaces => "the target",
                () => continue,
            };
            let (name, copy) = (shown(&join(path, &name)), shown(&join(path, &copy.name)));
            let message = format!(
                "--temp: {name} is the temporary name of {copy}, but exists in {place}; nothing was copied; choose another pattern, or remove {name}"
            );
            return Err(Failure::usage(message));
        }
        Ok(())
    }

    /// Plans one object of the source. Returns the object if it is a directory.
    fn plan_item(
        &mut self,
        path: &[u8],
        place: usize,
        item: TreeEntry,
        targets: &mut HashMap<Vec<u8>, TreeEntry>,
    ) -> Result<Option<Subdirectory>, Failure> {
        let mut item = item;
        let its_path = join(path, &item.name);
        if is_unfinished(&item.name) {
            self.leave_out(&its_path, "a temporary file of this program");
            return Ok(None);
        }
        if item.kind == ObjectKind::Link {
            self.follow(&its_path, &mut item)?;
        }
        let is_file = item.kind == ObjectKind::File;
        let is_chosen = self.wish.choice.takes(&its_path, item.kind == ObjectKind::Directory);
        // To detect changes of a moved file, its time must be known before the download.
        let needs_time =
            self.wish.choice.needs_time() || self.wish.moves && !self.source.is_local();
        if is_chosen && is_file && needs_time {
            same::ask(&mut *self.source, &its_path, &mut item)?;
        }
        if !is_chosen || is_file && self.wish.choice.is_outside(&item) {
            self.plan.unselected += usize::from(is_file);
            return Ok(None);
        }
        let other = targets.get(&item.name);
        let kind_there = other.map(|other| other.kind);
        let mode = self.wanted_mode(&item, other);
        match (item.kind, kind_there) {
            (ObjectKind::File, None) => self.copy(place, item, Difference::New),
            (ObjectKind::File, Some(ObjectKind::File)) => {
                if let Some(other) = targets.remove(&item.name) {
                    self.compare_both(place, its_path, mode, [item, other])?;
                }
            }
            (ObjectKind::Directory, None | Some(ObjectKind::Directory)) => {
                let is_new = kind_there.is_none();
                let unique = item.unique;
                return Ok(Some(Subdirectory { name: item.name, is_new, unique, mode }));
            }
            (ObjectKind::File | ObjectKind::Directory, Some(_)) => {
                let exit = self.side_of_target();
                self.fail(
                    place,
                    &its_path,
                    exit,
                    "the target has an object of another type with this name",
                );
            }
            (ObjectKind::Link, _) => self.plan_link(place, &its_path, item, targets),
            (ObjectKind::Special, _) => self.leave_out(&its_path, "neither a file nor a directory"),
            (ObjectKind::Unknown, _) => {
                self.fail(place, &its_path, Exit::Protocol, "the listing does not show its type");
            }
        }
        Ok(None)
    }

    /// Plans a subdirectory, unless the tree is too deep or contains itself.
    fn enter_below(
        &mut self,
        path: &[u8],
        place: usize,
        subdirectory: Subdirectory,
    ) -> Result<(), Failure> {
        let Subdirectory { name, is_new, unique, mode } = subdirectory;
        let below = join(path, &name);
        if self.above.len() >= DEPTH {
            self.fail(place, &below, Exit::Protocol, "is too deep");
            return Ok(());
        }
        if unique.is_some() && self.above.iter().any(|above| Some(above) == unique.as_ref()) {
            self.fail(place, &below, Exit::Protocol, "contains itself");
            return Ok(());
        }
        self.above.push(unique.unwrap_or_default());
        let inside = self.plan.directories.len();
        self.enter(&below, is_new)?;
        self.above.pop();
        if let Some(mode) = mode.filter(|_| self.plan.directories.len() > inside) {
            // The mode is set after all other steps in the directory, because it may forbid further
            // changes there.
            self.plan.modes.push(PlannedMode { place: inside, path: below, mode });
        }
        Ok(())
    }

    fn read_source(&mut self, path: &[u8]) -> Result<Contents, Failure> {
        let contents = self.source.list(path, self.wish.objects - self.seen)?;
        self.count(contents)
    }

    /// Returns the content of a target directory, or `None` if too little is known to change
    /// anything there.
    fn read_target(&mut self, path: &[u8]) -> Result<Option<Contents>, Failure> {
        let contents = self.target.list(path, self.wish.objects - self.seen);
        match contents {
            Ok(contents) => self.count(contents).map(Some),
            Err(failure) if failure.fatal => Err(failure),
            // The listing is incomplete, so not all names in the directory are known.
            Err(failure) if failure.exit == Exit::Integrity => match path.is_empty() {
                true => Err(failure),
                false => {
                    self.plan.failures.push(failure);
                    Ok(None)
                }
            },
            // The directory counts as empty: all files are copied again, and nothing is removed.
            Err(failure) => {
                let doubt = Some(failure.message.clone());
                let what = "all files in this directory are copied, changed or not";
                self.plan.left_out.push(format!("{}: {what}", failure.message));
                Ok(Some(Contents { items: Vec::new(), doubt, hides: true }))
            }
        }
    }

    fn count(&mut self, mut contents: Contents) -> Result<Contents, Failure> {
        self.seen += contents.items.len();
        if self.seen >= self.wish.objects {
            return Err(too_many());
        }
        entry::sort(&mut contents.items);
        Ok(contents)
    }

    fn copy(&mut self, place: usize, item: TreeEntry, why: Difference) {
        self.plan.bytes = self.plan.bytes.saturating_add(item.size.unwrap_or_default());
        let copy = PlannedCopy::of(place, item, why);
        let mode = copy.mode.filter(|_| self.wish.perms);
        self.plan.copies.push(PlannedCopy { mode, ..copy });
    }

    /// Returns the reason why a directory of the target may be reached through a link, if any.
    /// Nothing is removed from such a directory.
    fn doubt_on_the_way(&mut self, path: &[u8]) -> Result<Option<String>, Failure> {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        let ends: Vec<usize> = ends.chain((!path.is_empty()).then_some(path.len())).collect();
        for end in ends {
            let (above, name) = split(path.get(..end).unwrap_or_default());
            let may_be_link = match self.links(above) {
                // If listings prove nothing, the source's directory of the same name counts as
                // proof.
                Ok(links) => links.names.contains(name) || links.proof.or_named() == Proof::TooMany,
                Err(failure) if failure.fatal => return Err(failure),
                Err(failure) => return Ok(Some(failure.message)),
            };
            if may_be_link {
                let above = name_of(path.get(..end).unwrap_or_default());
                return Ok(Some(format!("{above} may be a symbolic link")));
            }
        }
        Ok(None)
    }

    fn side_of_target(&self) -> Exit {
        if self.target.is_local() { Exit::Local } else { Exit::Refused }
    }

    fn fail(&mut self, place: usize, path: &[u8], exit: Exit, why: &str) {
        self.fail_with(place, Failure::item(exit, format!("{}: {why}", shown(path))));
    }

    fn fail_with(&mut self, place: usize, failure: Failure) {
        self.plan.failures.push(failure);
        if let Some(place) = self.plan.directories.get_mut(place) {
            place.has_failed = true;
        }
    }

    fn leave_out(&mut self, path: &[u8], what: &str) {
        self.plan.left_out.push(format!("{}: skipped: {what}", shown(path)));
    }
}

fn name_of(path: &[u8]) -> String {
    if path.is_empty() { "the top directory".to_owned() } else { shown(path) }
}

fn too_many() -> Failure {
    let message = "too many objects for memory; mirror the directories one by one";
    Failure::new(Exit::Protocol, message)
}

#[cfg(test)]
mod tests;
