//! What a mirror has to do, found by looking at both trees before anything is done: so that
//! `--dry-run` says exactly that, `--max-delete` is kept before anything goes, and progress knows
//! the total.

mod removals;
mod same;

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::compare::{Difference, Rule};
use super::entry::{
    self, Clock, ObjectKind, Stamp, TreeEntry, check_name, is_temporary, is_unfinished,
};
use super::filter::Filter;
use super::trees::{Contents, Links, Side};
use crate::display::shown;
use crate::exit::{Exit, Failure};
use crate::remote::links::Proof;
use crate::remote::path::{join, split};

/// How deep a tree may be: a server can list one that has no end.
const DEPTH: usize = 128;

/// How many objects both trees may have, for the same reason, unless less is wished.
pub(super) const OBJECTS: usize = 1_000_000;

/// How many bytes of memory the directories take that are being looked at.
const HELD: usize = 256 << 20;

/// What is wanted.
pub(super) struct Wish<'a> {
    pub(super) choice: &'a Filter,
    pub(super) rule: Rule,
    /// `--delete`.
    pub(super) deletes: bool,
    /// How many objects both trees may have.
    pub(super) objects: usize,
    /// `--continue`, where that goes by times.
    pub(super) resumes: bool,
    /// Whether nothing may be written, not even to learn something.
    pub(super) is_dry: bool,
}

/// What is to be done, in order: directories, copies, removals.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// All directories of the source that are mirrored, each after the one it lies in. The first
    /// is the top.
    pub(super) directories: Vec<PlannedDirectory>,
    pub(super) copies: Vec<PlannedCopy>,
    /// Each directory first as what lies [`Below`](Removed::Below), then what is in it, then itself.
    pub(super) removals: Vec<Removal>,
    /// Temporary files at the target, of which some may be of runs that were killed.
    pub(super) temporary: Vec<Vec<u8>>,
    /// What cannot be done.
    pub(super) failures: Vec<Failure>,
    /// What is left out on purpose, in words.
    pub(super) left_out: Vec<String>,
    /// How many files are the same on both sides.
    pub(super) same: usize,
    /// How many bytes all copies have, as far as sizes are known.
    pub(super) bytes: u64,
}

/// A directory on both sides.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct PlannedDirectory {
    /// From the top, which is the empty path.
    pub(super) path: Vec<u8>,
    /// Whether the target lacks it.
    pub(super) is_new: bool,
    /// Whether something in it cannot be done: then nothing in it is removed.
    pub(super) has_failed: bool,
}

/// A file to be copied.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct PlannedCopy {
    /// In which of the plan's directories.
    pub(super) place: usize,
    pub(super) name: Vec<u8>,
    pub(super) size: Option<u64>,
    pub(super) stamp: Option<Stamp>,
    pub(super) why: Difference,
    /// Whether the target's file may be the beginning of it: it is shorter, and was written after
    /// the source was last changed.
    pub(super) may_continue: bool,
}

impl PlannedCopy {
    /// Whether the target has a file of its name.
    pub(super) fn replaces(&self) -> bool {
        self.why != Difference::New
    }
}

/// An object to be removed from the target.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Removal {
    /// Because this directory of the plan lacks it at the source. If anything goes wrong there, it
    /// stays.
    pub(super) place: usize,
    /// From the top.
    pub(super) path: Vec<u8>,
    pub(super) what: Removed,
}

/// What is removed, or comes before that.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Removed {
    /// A file or a link.
    Entry,
    /// A directory, which is empty then.
    Directory,
    /// Nothing yet: what is in this directory comes next, and it is made sure first that it is one.
    /// Servers show links to directories as directories, and nothing that a link leads to is ever meant.
    Below {
        /// Whether it is one, as far as listings tell.
        proof: Proof,
    },
}

impl Plan {
    /// Looks at both trees.
    ///
    /// # Errors
    ///
    /// What leaves nothing to go on with: a connection that is lost, a source that cannot be read,
    /// more objects than are held.
    pub(super) fn make(
        source: &mut dyn Side,
        target: &mut dyn Side,
        top_is_new: bool,
        wish: &Wish<'_>,
    ) -> Result<Self, Failure> {
        let mut planner = Planner {
            source,
            target,
            wish,
            plan: Self::default(),
            seen: 0,
            held: 0,
            above: Vec::new(),
            links: HashMap::new(),
            clock: None,
            refused: Vec::new(),
            coarse: None,
        };
        planner.enter(&[], top_is_new)?;
        Ok(planner.plan)
    }

    /// How many objects go.
    pub(super) fn removed(&self) -> impl Iterator<Item = &Removal> {
        self.removals.iter().filter(|removal| !matches!(removal.what, Removed::Below { .. }))
    }

    /// The path of a copy, from the top.
    pub(super) fn path_of(&self, copy: &PlannedCopy) -> Vec<u8> {
        let place = self.directories.get(copy.place).map_or(&[][..], |place| &place.path);
        join(place, &copy.name)
    }
}

struct Planner<'a> {
    source: &'a mut dyn Side,
    target: &'a mut dyn Side,
    wish: &'a Wish<'a>,
    plan: Plan,
    /// How many objects were seen.
    seen: usize,
    held: usize,
    /// What the server tells the directories by that are being looked at.
    above: Vec<Vec<u8>>,
    /// What the target told of links.
    links: HashMap<Vec<u8>, Rc<Links>>,
    /// The target's clock, once it is known, and the directories that did not tell.
    clock: Option<Clock>,
    refused: Vec<Vec<u8>>,
    /// Whether a directory of the target keeps only every second time.
    coarse: Option<(Vec<u8>, bool)>,
}

/// A directory of the source, in one that is looked at.
struct Subdirectory {
    name: Vec<u8>,
    /// Whether the target lacks it.
    is_new: bool,
    /// What the server tells it by.
    unique: Option<Vec<u8>>,
}

impl Planner<'_> {
    /// Plans a directory, and all below it.
    fn enter(&mut self, path: &[u8], is_new: bool) -> Result<(), Failure> {
        let contents = match self.read_source(path) {
            Ok(contents) => contents,
            Err(failure) if failure.fatal || path.is_empty() => return Err(failure),
            Err(failure) => {
                // Nothing is known of it, so nothing in it is touched.
                self.plan.failures.push(failure);
                return Ok(());
            }
        };
        if path.is_empty() && contents.items.is_empty() && !self.source.is_empty(path)? {
            // To have mirrored what is not there would be no success.
            let message = "is listed as empty, and nothing shows that it is there";
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
            let temporary = there.items.iter().filter(|item| is_temporary(&item.name));
            self.plan.temporary.extend(temporary.map(|item| join(path, &item.name)));
        }
        let subdirectories = self.plan_items(path, place, contents, there)?;
        for subdirectory in subdirectories {
            self.enter_below(path, place, subdirectory)?;
        }
        self.held -= held;
        Ok(())
    }

    /// Plans what is in one directory on either side, but for the directories in it, which are given
    /// back.
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
        let mut subdirectories = Vec::new();
        for item in contents.items {
            if let Err(why) = check_name(&item.name) {
                // Whatever it means, it may mean something that is here.
                doubt.get_or_insert_with(|| format!("\"{}\" {why}", shown(&item.name)));
                self.fail(place, &join(path, &item.name), Exit::Protocol, why);
                continue;
            }
            subdirectories.extend(self.plan_item(path, place, item, &mut targets)?);
        }
        if self.wish.deletes {
            targets.retain(|name, _| !names.contains(name));
            let mut extra: Vec<TreeEntry> = targets.into_values().collect();
            if contents.hides {
                self.keep_hidden(path, &mut extra);
            }
            self.remove_extra(path, place, extra, there.doubt.or(doubt), is_empty)?;
        }
        Ok(subdirectories)
    }

    /// Plans one object of the source; a directory is given back.
    fn plan_item(
        &mut self,
        path: &[u8],
        place: usize,
        item: TreeEntry,
        targets: &mut HashMap<Vec<u8>, TreeEntry>,
    ) -> Result<Option<Subdirectory>, Failure> {
        let its_path = join(path, &item.name);
        if is_unfinished(&item.name) {
            self.leave_out(&its_path, "a temporary file of this program");
            return Ok(None);
        }
        if !self.wish.choice.takes(&its_path, item.kind == ObjectKind::Directory) {
            return Ok(None);
        }
        let kind_there = targets.get(&item.name).map(|other| other.kind);
        match (item.kind, kind_there) {
            (ObjectKind::File, None) => self.copy(place, item, Difference::New),
            (ObjectKind::File, Some(ObjectKind::File)) => {
                if let Some(other) = targets.remove(&item.name) {
                    self.compare(place, &its_path, item, other)?;
                }
            }
            (ObjectKind::Directory, None | Some(ObjectKind::Directory)) => {
                let is_new = kind_there.is_none();
                return Ok(Some(Subdirectory { name: item.name, is_new, unique: item.unique }));
            }
            (ObjectKind::File | ObjectKind::Directory, Some(_)) => {
                let exit = self.side_of_target();
                self.fail(place, &its_path, exit, "something else has its name");
            }
            (ObjectKind::Link, _) => self.leave_out(&its_path, "a symbolic link"),
            (ObjectKind::Special, _) => self.leave_out(&its_path, "neither file nor directory"),
            (ObjectKind::Unknown, _) => {
                self.fail(place, &its_path, Exit::Protocol, "the listing does not say what it is");
            }
        }
        Ok(None)
    }

    /// Plans a directory in another one, unless the tree has no end.
    fn enter_below(
        &mut self,
        path: &[u8],
        place: usize,
        subdirectory: Subdirectory,
    ) -> Result<(), Failure> {
        let Subdirectory { name, is_new, unique } = subdirectory;
        let below = join(path, &name);
        if self.above.len() >= DEPTH {
            self.fail(place, &below, Exit::Protocol, "lies too deep");
            return Ok(());
        }
        if unique.is_some() && self.above.iter().any(|above| Some(above) == unique.as_ref()) {
            self.fail(place, &below, Exit::Protocol, "lies in itself");
            return Ok(());
        }
        self.above.push(unique.unwrap_or_default());
        self.enter(&below, is_new)?;
        self.above.pop();
        Ok(())
    }

    fn read_source(&mut self, path: &[u8]) -> Result<Contents, Failure> {
        let contents = self.source.list(path, self.wish.objects - self.seen)?;
        self.count(contents)
    }

    /// What is in a directory of the target; `None` if too little is known of it to do anything.
    fn read_target(&mut self, path: &[u8]) -> Result<Option<Contents>, Failure> {
        let contents = self.target.list(path, self.wish.objects - self.seen);
        match contents {
            Ok(contents) => self.count(contents).map(Some),
            Err(failure) if failure.fatal => Err(failure),
            // It is not refused, and what it lists is not all: what has a name there is not known.
            Err(failure) if failure.exit == Exit::Integrity => match path.is_empty() {
                true => Err(failure),
                false => {
                    self.plan.failures.push(failure);
                    Ok(None)
                }
            },
            // All is copied again, if that is allowed; nothing is removed.
            Err(failure) => {
                let doubt = Some(failure.message.clone());
                self.plan.left_out.push(format!("{}: all of it is copied", failure.message));
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
        let TreeEntry { name, size, stamp, .. } = item;
        self.plan.bytes = self.plan.bytes.saturating_add(size.unwrap_or_default());
        self.plan.copies.push(PlannedCopy { place, name, size, stamp, why, may_continue: false });
    }

    /// Why what is in a directory of both sides may be reached through a link of the target, where nothing
    /// is ever removed.
    fn doubt_on_the_way(&mut self, path: &[u8]) -> Result<Option<String>, Failure> {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        let ends: Vec<usize> = ends.chain((!path.is_empty()).then_some(path.len())).collect();
        for end in ends {
            let (above, name) = split(path.get(..end).unwrap_or_default());
            let may_be_link = match self.links(above) {
                // That the source has a directory of the name is the user's word for one.
                Ok(links) => links.names.contains(name) || links.proof.or_named() == Proof::TooMany,
                Err(failure) if failure.fatal => return Err(failure),
                Err(failure) => return Ok(Some(failure.message)),
            };
            if may_be_link {
                let above = name_of(path.get(..end).unwrap_or_default());
                return Ok(Some(format!("{above} is shown as a directory, and may be a link")));
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
        self.plan.left_out.push(format!("{}: left out, it is {what}", shown(path)));
    }
}

fn name_of(path: &[u8]) -> String {
    if path.is_empty() { "the top".to_owned() } else { shown(path) }
}

fn too_many() -> Failure {
    let message =
        "more objects than are held in memory; its directories can be mirrored one by one";
    Failure::new(Exit::Protocol, message)
}

#[cfg(test)]
mod tests;
