//! Plans a mirror by listing both trees before any change. So a caller can show the plan,
//! `most_deletions` is checked before any removal, and the progress display knows the total.

mod deploy;
mod held;
mod links;
mod model;
mod removals;
mod same;
mod spellings;

use ftp_proto::{HiddenFile, Pathname};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;
use std::time::Instant;

use self::held::{TargetEntries, Weighed, find};
pub use self::model::Difference;
pub(crate) use self::model::{
    Copied, LARGE, Plan, PlannedCopy, PlannedDirectory, PlannedLink, PlannedMode, Removal, Removed,
    Rule, SeenEntry, way_to,
};
use self::spellings::{Spelling, Spellings};
use super::entry::{Clock, ObjectKind, Stamp, TreeEntry, check_name, file_of_piece};
use super::fault::{Setting, TreeFault, shown};
use super::links::Proof;
use super::manifest::Deploy;
use super::names::fold;
use super::options::SyncOptions;
use super::scan::{self, Contents, Links, Scan, Told};
use crate::age::{depends_on_zone, now};
use crate::error::{Error, ErrorKind, Unsupported};
use crate::listing::Budget;

/// Largest depth of a tree: a server can list an endless tree.
const DEPTH: usize = 128;

/// Age in seconds from which an unfinished file is of no use.
const OLD: i64 = 90 * 86_400;

/// Why an object is left out on both sides.
const OF_JOB: &str = "it is a file of this job";

pub(crate) struct PlanOptions<'a> {
    pub(crate) options: &'a SyncOptions<'a>,
    pub(crate) rule: Rule,
    pub(crate) objects: usize,
    /// The unique fact of the source's top (`MLST`), if the target may be on the same server.
    pub(crate) top: Option<Vec<u8>>,
}

/// The name under which the target has, or gets, an object of the source.
struct NameThere {
    name: Vec<u8>,
    /// Whether it is not the name in the source.
    is_spelled: bool,
    /// Whether no other name that the target lists may be the object.
    is_clear: bool,
    /// Whether the listing of the target lacks the name.
    is_unlisted: bool,
    /// Whether the object may be there although the listing lacks the name.
    is_doubtful: bool,
}

impl Plan {
    /// Lists both trees and plans the mirror.
    ///
    /// # Errors
    ///
    /// Returns failures that end the run, such as a lost connection, an unreadable source, too many
    /// objects, or a temporary name that exists already.
    pub(crate) fn make(
        source: &mut dyn Scan,
        target: &mut dyn Scan,
        top_is_new: bool,
        wish: &PlanOptions<'_>,
        deploy: Option<Deploy>,
    ) -> Result<Self, TreeFault> {
        let top = source.identity();
        let mut planner = Planner {
            source,
            target,
            wish,
            plan: Self {
                moves: wish.options.moves,
                ignores_errors: wish.options.ignores_errors,
                deploy: deploy.map(Box::new),
                begun: Some(Instant::now()),
                ..Self::default()
            },
            seen: 0,
            budget: Budget::default(),
            weighed: Weighed::default(),
            above: top.into_iter().collect(),
            listings: Vec::new(),
            is_link: false,
            links: HashMap::new(),
            clock: None,
            source_clock: None,
            refused: Vec::new(),
            coarse: None,
            lacks_modes: false,
            asked: 0,
            has_set_time: false,
            lacks_times: false,
        };
        planner.begin_deploy()?;
        planner.enter(&[], top_is_new, false)?;
        planner.check_modes();
        let shows_links = planner.target.shows_links();
        let mut plan = planner.plan;
        plan.withhold();
        plan.keep_unproved(shows_links);
        if wish.options.backup.is_none() && !wish.options.permissions {
            plan.pair_renames();
        }
        plan.note_sent();
        // Stable: the order of all other copies stays.
        let is_apart = |copy: &PlannedCopy| !copy.has_twins && copy.from.is_none();
        plan.copies.sort_by_key(|copy| !is_apart(copy));
        plan.first_twin = plan.copies.partition_point(is_apart);
        plan.has_empty_source = plan.copies.is_empty() && plan.same == 0 && !plan.has_unfit;
        Ok(plan)
    }
}

struct Planner<'a> {
    source: &'a mut dyn Scan,
    target: &'a mut dyn Scan,
    wish: &'a PlanOptions<'a>,
    plan: Plan,
    seen: usize,
    /// The memory of the directories that are being compared, and of the plan.
    budget: Budget,
    weighed: Weighed,
    /// Unique identifiers of the directories from the top to the current one.
    above: Vec<Vec<u8>>,
    /// Hashes of the listings of those directories, to notice a link that leads to one of them.
    listings: Vec<u64>,
    /// Whether a link on a server leads to the current directory, or to one above it.
    is_link: bool,
    links: HashMap<Vec<u8>, Rc<Links>>,
    clock: Option<Clock>,
    /// That of the source, if files are left out by their age before they are removed.
    source_clock: Option<Option<Clock>>,
    /// Directories in which the target's clock could not be measured.
    refused: Vec<Vec<u8>>,
    /// A directory of the target, and whether it stores only even seconds.
    coarse: Option<(Vec<u8>, bool)>,
    /// With `permissions`, whether permissions are missing in a listing.
    lacks_modes: bool,
    /// Number of missing names of the list of a deploy that the target was asked for.
    asked: usize,
    /// Whether the server was asked to set the time of a test file.
    has_set_time: bool,
    /// Whether the source's server does not tell the time of a file that may be unchanged.
    lacks_times: bool,
}

struct Subdirectory {
    name: Vec<u8>,
    /// Whether the target lacks the subdirectory.
    is_new: bool,
    unique: Option<Vec<u8>>,
    mode: Option<u16>,
    /// As [`PlannedDirectory::has_twins`].
    has_twins: bool,
    /// Whether a link on a server leads to the directory.
    is_link: bool,
}

impl Subdirectory {
    fn of(item: TreeEntry, is_new: bool, mode: Option<u16>, is_link: bool) -> Self {
        let TreeEntry { name, unique, .. } = item;
        Self { name, is_new, unique, mode, has_twins: false, is_link }
    }
}

impl Planner<'_> {
    /// Plans a directory and everything below it.
    fn enter(&mut self, path: &[u8], is_new: bool, has_twins: bool) -> Result<(), TreeFault> {
        let contents = match self.read_source(path) {
            Ok(contents) => contents,
            Err(failure) if failure.ends_run() || path.is_empty() => return Err(failure),
            Err(failure) => {
                // The content is unknown, so nothing in the directory is changed.
                self.give_up(path, failure);
                return Ok(());
            }
        };
        if path.is_empty() && contents.items.is_empty() && !self.source.is_empty(path)? {
            // A source that is missing, or cannot be read, must not pass for an empty one.
            let message = "the listing is empty, but the directory may be unreadable";
            return Err(TreeFault::new(ErrorKind::Refused, message));
        }
        let listing = hash_of(&contents.items);
        if !contents.items.is_empty() && self.is_link && self.listings.contains(&listing) {
            let failure =
                TreeFault::item(ErrorKind::Protocol, format!("{}: contains itself", shown(path)));
            self.give_up(path, failure);
            return Ok(());
        }
        let of_source = contents.weight();
        self.hold(of_source)?;
        let there = match is_new {
            true => Contents::default(),
            false => match self.read_target(path)? {
                Some(there) => there,
                None => {
                    self.budget.release(of_source);
                    return Ok(());
                }
            },
        };
        let place = self.plan.directories.len();
        // The top of the source has the first name on the way here.
        let first = path.split(|byte| *byte == b'/').next().unwrap_or_default();
        let has_first = || there.items.iter().any(|item| fold(&item.name) == fold(first));
        let may_be_source = !is_new && (!first.is_ascii() || has_first());
        let (path_of, has_failed) = (path.to_vec(), false);
        let planned =
            PlannedDirectory { path: path_of, is_new, has_failed, has_twins, may_be_source };
        self.plan.directories.push(planned);

        let of_target = there.weight();
        self.hold(of_target)?;
        let subdirectories = self.plan_items(path, place, contents, there)?;
        self.weigh()?;
        self.budget.release(of_source + of_target);
        let held = subdirectories.iter().map(Subdirectory::weight).sum();
        self.hold(held)?;
        self.listings.push(listing);
        for subdirectory in subdirectories {
            self.enter_below(path, place, subdirectory)?;
        }
        self.listings.pop();
        self.forget_links(path);
        self.budget.release(held);
        Ok(())
    }

    /// Plans the entries of one directory on both sides. Returns the directory's subdirectories.
    fn plan_items(
        &mut self,
        path: &[u8],
        place: usize,
        contents: Contents,
        there: Contents,
    ) -> Result<Vec<Subdirectory>, TreeFault> {
        let Contents { items, doubt, lacks, hides } = contents;
        match doubt {
            Some(doubt) if lacks => {
                self.fail_with(place, doubt.in_words(name_of(path)));
            }
            Some(doubt) => self.doubt(path, doubt),
            None => {}
        }
        let mut targets = TargetEntries::new(there);
        let first = self.plan.copies.len();
        let mut subdirectories = Vec::new();
        let temporary = self.wish.options.temporary.as_ref();
        self.forget_missing(path, &items, &targets)?;
        self.note_exposed(path, &targets);
        let mut spellings = Spellings::new(&items, &targets, temporary, &mut self.budget)?;
        let mut timed = 0;
        for (number, item) in items.iter().enumerate() {
            if number >= timed {
                let next = items.get(number..).unwrap_or_default();
                timed = number + self.ask_times(path, next, &targets)?;
            }
            if let Err(why) = check_name(&item.name) {
                // The real name of this object is unknown, so any object of the target may be its
                // copy.
                self.fail(place, &Pathname::join(path, &item.name), ErrorKind::Protocol, why);
            } else {
                let item = item.clone();
                let subdirectory =
                    self.plan_item(path, place, item, &mut targets, &mut spellings)?;
                subdirectories.extend(subdirectory);
            }
            self.weigh()?;
        }
        let copies = self.plan.copies.get_mut(first..).unwrap_or_default();
        spellings.mark_twins(copies, &mut subdirectories);
        self.budget.release(spellings.held);
        self.check_temporary(path, first, &items, &targets)?;
        if self.wish.options.deletes {
            // A copy may still use the pieces of its file.
            let copies = self.plan.copies.get(first..).unwrap_or_default();
            let is_piece = |name: &[u8]| {
                let file = file_of_piece(name).filter(|_| self.target.is_local());
                file.is_some_and(|file| copies.iter().any(|copy| copy.name == file))
            };
            let doubt = targets.doubt.take();
            let mut extra = targets
                .into_rest(|item| find(&items, &item.name).is_none() && !is_piece(&item.name));
            let is_empty = items.is_empty();
            self.keep_spelled(path, &mut extra, items.iter().map(|item| item.name.as_slice()))?;
            drop(items);
            if hides {
                self.keep_hidden(path, &mut extra)?;
            }
            self.remove_extra(path, place, extra, doubt, is_empty)?;
        }
        Ok(subdirectories)
    }

    /// Plans one object of the source. Returns the object if it is a directory.
    fn plan_item(
        &mut self,
        path: &[u8],
        place: usize,
        mut item: TreeEntry,
        targets: &mut TargetEntries,
        spellings: &mut Spellings<'_>,
    ) -> Result<Option<Subdirectory>, TreeFault> {
        let its_path = Pathname::join(path, &item.name);
        if let Some(hidden) = item.hidden() {
            self.leave_hidden(&its_path, &item, hidden);
            return Ok(None);
        }
        let is_link = item.kind == ObjectKind::Link;
        if is_link {
            self.follow(&its_path, &mut item)?;
        }
        if !self.chooses(&its_path, &mut item)? {
            return Ok(None);
        }
        if self.plan.deploy.as_ref().is_some_and(|deploy| deploy.is_own(&its_path)) {
            let text = "exists in the source, but is the name of the list in the target";
            let fault = TreeFault::new(ErrorKind::Usage, text).about(&its_path);
            return Err(fault.of(Setting::Manifest));
        }
        let Some(there) = self.name_there(path, place, &item, targets, spellings)? else {
            return Ok(None);
        };
        let other = targets.get(&there.name);
        let kind_there = other.map(|other| other.kind);
        if [Some(item.kind), kind_there].contains(&Some(ObjectKind::Own)) {
            self.leave_out(&its_path, OF_JOB);
            return Ok(None);
        }
        let mode = self.wanted_mode(&item, other);
        match (item.kind, kind_there) {
            (ObjectKind::File, None | Some(ObjectKind::File)) => {
                self.plan_file(place, its_path, mode, item, &there, targets)?;
            }
            (ObjectKind::Directory, None | Some(ObjectKind::Directory)) => {
                let is_new = kind_there.is_none()
                    && !(self.may_be_unlisted(&its_path, &there)
                        && self.target.is_directory(&its_path)?);
                if there.is_spelled {
                    targets.take(&there.name);
                }
                return Ok(Some(Subdirectory::of(item, is_new, mode, is_link)));
            }
            (ObjectKind::File | ObjectKind::Directory, Some(kind_there)) => {
                if !self.replaces_other_kind(
                    (path, place),
                    &its_path,
                    kind_there,
                    &there,
                    targets,
                )? {
                    return Ok(None);
                }
                if item.kind == ObjectKind::Directory {
                    return Ok(Some(Subdirectory::of(item, true, mode, is_link)));
                }
                self.deploy_file(place, its_path, mode, item, Told::Missing)?;
            }
            (ObjectKind::Link, _) => {
                self.plan_link(place, &its_path, item, &there.name, targets);
            }
            (ObjectKind::Special | ObjectKind::Own, _) => {
                self.leave_out(&its_path, "neither a file nor a directory");
            }
            (ObjectKind::Unknown, _) => {
                let why = "the listing does not show its type, or shows two";
                self.fail(place, &its_path, ErrorKind::Protocol, why);
            }
        }
        Ok(None)
    }

    /// Leaves out a hidden file of this program.
    fn leave_hidden(&mut self, path: &[u8], item: &TreeEntry, hidden: HiddenFile) {
        let whose = match hidden {
            HiddenFile::Manifest => "the list of a deploy",
            _ => "a temporary file of a transfer",
        };
        match hidden {
            _ if item.stamp.is_some_and(|stamp| stamp.latest < now() - OLD) => {
                self.leave_out(path, &format!("{whose}, unchanged for 90 days; remove it"));
            }
            // The upload of its file goes on.
            HiddenFile::Journal => {}
            _ => self.leave_out(path, whose),
        }
    }

    /// Returns whether the options choose an object, and counts a file that they leave out.
    fn chooses(&mut self, path: &[u8], item: &mut TreeEntry) -> Result<bool, TreeFault> {
        let is_file = item.kind == ObjectKind::File;
        let is_chosen = (self.wish.options.choice)(path, item.kind == ObjectKind::Directory);
        if is_chosen && is_file && self.needs_times() {
            scan::ask(&mut *self.source, path, item)?;
        }
        let stamp = match is_chosen && is_file {
            true => self.age_of(path, item)?,
            false => item.stamp,
        };
        let is_fit = !is_file || self.takes_file(item, stamp);
        if !(is_chosen && is_fit) {
            self.plan.unselected += usize::from(is_file);
            self.plan.has_unfit |= is_chosen;
        }
        Ok(is_chosen && is_fit)
    }

    /// Returns the name under which the target has, or gets, an object of the source. Returns `None` if
    /// nothing can be written there.
    fn name_there(
        &mut self,
        path: &[u8],
        place: usize,
        item: &TreeEntry,
        targets: &mut TargetEntries,
        spellings: &mut Spellings<'_>,
    ) -> Result<Option<NameThere>, TreeFault> {
        let spelling = match self.is_written(item) {
            true => self.spelling(path, place, (&item.name, item.kind), targets, spellings)?,
            false => Spelling::Own,
        };
        let is_clear = !matches!(spelling, Spelling::Unclear);
        let name = match spelling {
            Spelling::Own | Spelling::Unclear => item.name.clone(),
            Spelling::Other(name) => name,
            Spelling::Taken => return Ok(None),
        };
        let temporary = self.wish.options.temporary.as_ref();
        if let Some(temporary) = temporary.filter(|_| item.kind == ObjectKind::File) {
            let temporary = temporary.of(&item.name);
            if self.meets(path, place, &temporary, &item.name, spellings)? {
                targets.take(&name);
                return Ok(None);
            }
        }
        let is_spelled = name != item.name;
        if let Some(deploy) = self.plan.deploy.as_mut().filter(|_| is_spelled) {
            deploy.respell(&Pathname::join(path, &name), &Pathname::join(path, &item.name));
        }
        let is_unlisted = targets.get(&name).is_none();
        let is_doubtful = is_unlisted && (!is_clear || targets.may_lack(&item.name));
        Ok(Some(NameThere { name, is_spelled, is_clear, is_unlisted, is_doubtful }))
    }

    /// Returns whether the target may have an object that its listing lacks: a truncated listing must not
    /// turn another user's edit into a missing file.
    fn may_be_unlisted(&self, path: &[u8], there: &NameThere) -> bool {
        let is_deployed = || self.plan.deploy.as_ref().is_some_and(|deploy| deploy.owns(path));
        there.is_unlisted && self.trusts_list() && (there.is_doubtful || is_deployed())
    }

    /// Plans a file that the target has as a file, or lacks.
    fn plan_file(
        &mut self,
        place: usize,
        path: Vec<u8>,
        mode: Option<u16>,
        item: TreeEntry,
        there: &NameThere,
        targets: &mut TargetEntries,
    ) -> Result<(), TreeFault> {
        let before = self.plan.copies.len();
        match targets.take(&there.name) {
            other if self.plan.deploy.is_some() => {
                let told = match other {
                    Some(other) => Told::There(other),
                    None if self.may_be_unlisted(&path, there) => match self.target.seek(&path)? {
                        Told::Missing if !there.is_clear => Told::Nothing,
                        told => told,
                    },
                    None => Told::Missing,
                };
                self.deploy_file(place, path, mode, item, told)?;
            }
            Some(other) => drop(self.compare_both(place, path, mode, [item, other])?),
            None => {
                self.copy(place, item, Difference::New);
                return Ok(());
            }
        }
        let copies = self.plan.copies.get_mut(before..).unwrap_or_default();
        copies.iter_mut().for_each(|copy| copy.is_spelled = there.is_spelled);
        Ok(())
    }

    /// Plans the removal of an object that is in the way, of another type than the source's. Returns
    /// `false` if it stays, which is a failure.
    fn replaces_other_kind(
        &mut self,
        (above, place): (&[u8], usize),
        path: &[u8],
        kind_there: ObjectKind,
        there: &NameThere,
        targets: &mut TargetEntries,
    ) -> Result<bool, TreeFault> {
        // What the target has there is not an extra.
        let other = targets.take(&there.name).filter(|_| !there.is_spelled);
        if self.makes_way(above, place, other, targets.doubt.clone())? {
            return Ok(true);
        }
        let why = "the target has an object of another type with this name";
        let failure = TreeFault::item(self.side_of_target(), why).about(path);
        let is_owned = self.plan.deploy.as_ref().is_some_and(|it| it.owns(path));
        let failure = match kind_there {
            ObjectKind::Link => failure.of(Setting::Links),
            _ if is_owned && !self.wish.options.deletes => failure.of(Setting::Replaced),
            _ => failure,
        };
        self.fail_with(place, failure);
        Ok(false)
    }

    /// Plans a subdirectory, unless the tree is too deep or contains itself.
    fn enter_below(
        &mut self,
        path: &[u8],
        place: usize,
        subdirectory: Subdirectory,
    ) -> Result<(), TreeFault> {
        let Subdirectory { name, is_new, unique, mode, has_twins, is_link } = subdirectory;
        self.weigh()?;
        let below = Pathname::join(path, &name);
        if self.above.len() >= DEPTH {
            self.fail(place, &below, ErrorKind::Protocol, "is too deep");
            return Ok(());
        }
        if unique.is_some() && self.above.iter().any(|above| Some(above) == unique.as_ref()) {
            self.fail(place, &below, ErrorKind::Protocol, "contains itself");
            return Ok(());
        }
        self.above.push(unique.unwrap_or_default());
        let inside = self.plan.directories.len();
        let is_outer_link = self.is_link;
        self.is_link |= is_link;
        self.enter(&below, is_new, has_twins)?;
        self.is_link = is_outer_link;
        self.above.pop();
        if let Some(mode) = mode.filter(|_| self.plan.directories.len() > inside) {
            // The mode is set after all other steps in the directory, because it may forbid further
            // changes there.
            self.plan.modes.push(PlannedMode { place: inside, path: below, mode });
        }
        Ok(())
    }

    fn read_source(&mut self, path: &[u8]) -> Result<Contents, TreeFault> {
        let contents = self.source.list(path, self.limits());
        self.count(contents)
    }

    /// Returns the content of a target directory, or `None` if too little is known to change
    /// anything there.
    fn read_target(&mut self, path: &[u8]) -> Result<Option<Contents>, TreeFault> {
        let contents = self.target.list(path, self.limits());
        match self.count(contents) {
            Ok(contents) => Ok(Some(contents)),
            Err(failure) if failure.ends_run() => Err(failure),
            // The listing is incomplete, so not all names in the directory are known.
            Err(failure) if failure.kind() == ErrorKind::Integrity => match path.is_empty() {
                true => Err(failure),
                false => {
                    self.give_up(path, failure);
                    Ok(None)
                }
            },
            // The directory counts as empty: all files are copied again, and nothing is removed.
            Err(failure) => {
                let doubt = Some(failure.clone().with_kind(ErrorKind::Protocol));
                let what = match self.trusts_list() {
                    true => "the server is asked for each file of this directory",
                    false => "all files in this directory are copied, changed or not",
                };
                match self.wish.options.deletes {
                    true => {
                        let failure = failure.then("nothing is deleted there").then(what);
                        self.plan.failures.push(failure);
                    }
                    false => self.plan.left_out.push(format!("{failure}: {what}")),
                }
                Ok(Some(Contents { doubt, hides: true, ..Contents::default() }))
            }
        }
    }

    fn copy(&mut self, place: usize, item: TreeEntry, why: Difference) {
        self.plan.bytes = self.plan.bytes.saturating_add(item.size.unwrap_or_default());
        let copy = PlannedCopy::of(place, item, why);
        let mode = copy.mode.filter(|_| self.wish.options.permissions);
        self.plan.copies.push(PlannedCopy { mode, ..copy });
    }

    /// Returns why a directory of the target may be reached through a link, if it may. Nothing is
    /// removed from such a directory.
    fn doubt_on_the_way(&mut self, path: &[u8]) -> Result<Option<TreeFault>, TreeFault> {
        let is_proved = self.wish.options.no_links || self.target.shows_links();
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        let ends: Vec<usize> = ends.chain((!path.is_empty()).then_some(path.len())).collect();
        for end in ends {
            let its_path = path.get(..end).unwrap_or_default();
            let (above, name) = Pathname::split(its_path);
            let (what, setting) = match self.links(above) {
                Ok(links) if links.names.contains(name) => ("is a symbolic link", Setting::Links),
                Ok(links) if !is_proved && links.proof == Proof::TooMany => {
                    ("may be a symbolic link", Setting::NoLinks)
                }
                // If listings prove nothing, the source's directory of the same name counts as
                // proof.
                Ok(_) => continue,
                Err(failure) if failure.ends_run() => return Err(failure),
                Err(failure) => return Ok(Some(failure)),
            };
            let why = format!("{} {what}", name_of(its_path));
            return Ok(Some(TreeFault::item(ErrorKind::Protocol, why).of(setting)));
        }
        Ok(None)
    }

    /// Records a failure because of which nothing in a directory is changed.
    fn give_up(&mut self, path: &[u8], failure: TreeFault) {
        self.plan.causes.add(path, &failure);
        self.plan.failures.push(failure);
    }

    fn side_of_target(&self) -> ErrorKind {
        if self.target.is_local() { ErrorKind::Local } else { ErrorKind::Refused }
    }

    fn fail(&mut self, place: usize, path: &[u8], exit: ErrorKind, why: &str) {
        self.fail_with(place, TreeFault::item(exit, format!("{}: {why}", shown(path))));
    }

    /// Records a failure that leaves something of the source without its copy.
    fn fail_with(&mut self, place: usize, failure: TreeFault) {
        if let Some(place) = self.plan.directories.get_mut(place) {
            place.has_failed = true;
            self.plan.causes.add(&place.path, &failure);
        }
        self.plan.failures.push(failure);
    }

    /// Records a failure to delete an object of the target.
    fn keep(&mut self, path: &[u8], exit: ErrorKind, why: &str) {
        self.plan.failures.push(TreeFault::item(exit, format!("{}: {why}", shown(path))));
    }

    /// Records a reason why the source may have unlisted objects.
    fn doubt(&mut self, path: &[u8], doubt: TreeFault) {
        self.plan.causes.add(path, &doubt.in_words(name_of(path)));
    }

    fn takes_file(&self, item: &TreeEntry, stamp: Option<Stamp>) -> bool {
        let times = stamp.map(|stamp| (stamp.earliest, stamp.latest));
        self.wish.options.selection.refuses(item.size, times).is_none()
    }

    /// Returns the time of a file by which it may be left out. If the source is removed, a time of another
    /// zone must not pass for an old one: a program may still be writing the file.
    fn age_of(&mut self, path: &[u8], item: &TreeEntry) -> Result<Option<Stamp>, TreeFault> {
        let is_taken = self.plan.moves && !self.source.is_local() && !self.wish.options.is_dry;
        let (Some(stamp), Some(latest)) = (item.stamp, self.wish.options.selection.times.1) else {
            return Ok(item.stamp);
        };
        if !is_taken || !depends_on_zone(stamp.latest, latest) {
            return Ok(item.stamp);
        }
        let clock = match self.source_clock {
            Some(clock) => clock,
            None => *self.source_clock.insert(self.source.clock(Pathname::split(path).0)?),
        };
        if clock.is_none() {
            let fault = Error::Unsupported(Unsupported::UnknownAge);
            self.plan.failures.push(TreeFault::from(fault).about(path));
        }
        Ok(clock.map(|clock| stamp.by(clock)))
    }

    fn leave_out(&mut self, path: &[u8], what: &str) {
        self.plan.left_out.push(format!("{}: skipped: {what}", shown(path)));
    }
}

/// Returns a hash of a listing: of names, sizes and times.
fn hash_of(items: &[TreeEntry]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for item in items {
        let stamp = item.stamp.map(|stamp| (stamp.earliest, stamp.latest));
        (&item.name, item.size, stamp).hash(&mut hasher);
    }
    hasher.finish()
}

fn name_of(path: &[u8]) -> String {
    if path.is_empty() { "the top directory".to_owned() } else { shown(path) }
}

#[cfg(test)]
mod tests;
