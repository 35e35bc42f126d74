//! Executes a plan: directories first, then copies in parallel jobs, links, removals and
//! permissions. Files of the source are removed last.

mod confirm;
mod copies;
mod deploy;
mod looks;
mod removals;

use ftp_proto::Pathname;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Instant;

use self::copies::copy_all;
use self::deploy::LooksAtTarget;
use super::copy::Copier;
use super::fault::{Causes, Reporter, Setting, TreeFault, is_below};
use super::manifest::Deploy;
use super::names::WrittenAlike;
use super::plan::{Copied, Plan, PlannedCopy, PlannedMode};
use crate::age::TICK;
use crate::error::{Error, ErrorKind, Recovery};
use crate::event::{Event, Observer};
use crate::file::journal::LocalFacts;

/// What a run did.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Summary {
    /// Number of copied files.
    pub copied: usize,
    /// Number of transferred bytes.
    pub bytes: u64,
    /// Number of files of the target that were renamed instead of sent.
    pub renamed: usize,
    /// Number of directories that were created.
    pub made: usize,
    /// Number of objects that were removed from the target.
    pub removed: usize,
    /// Number of files that were removed from the source.
    pub moved: usize,
    /// Number of symbolic links that were created.
    pub links: usize,
    /// Number of objects of which only the permissions were set.
    pub modes: usize,
    /// Number of files and links that were equal on both sides.
    pub same: usize,
    /// Number of steps that are complete, and of files and links that were equal. A file whose copy
    /// succeeded counts here even if its source could not be removed, which is a failure.
    pub done: usize,
    /// Number of steps that failed.
    pub failed: usize,
    /// Number of steps that were not tried.
    pub not_tried: usize,
}

/// Adds the path of one object to its events.
pub(crate) struct OfPath<'a> {
    pub(crate) on: &'a dyn Observer,
    pub(crate) path: &'a [u8],
}

impl Observer for OfPath<'_> {
    fn event(&self, event: Event<'_>) {
        let path = self.path;
        // A job's own paths can lead through an open directory, and mean nothing to a receiver.
        let event = match event {
            // A copy is done once its times are set, which the run reports.
            Event::Done { .. } => return,
            Event::Begun { at, total, .. } => {
                Event::Begun { source: path, target: path, at, total }
            }
            Event::FromZero { why, .. } => Event::FromZero { target: path, why },
            Event::Comparing { bytes, .. } => Event::Comparing { target: path, bytes },
            Event::Note { note, .. } => Event::Note { target: path, note },
            event => event,
        };
        self.on.event(Event::Of { path, event: &event });
    }

    fn wants_bytes(&self) -> bool {
        self.on.wants_bytes()
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum DirectoryState {
    Fine,
    /// An object in the directory failed.
    Failed,
    /// The directory is missing: no step in it can be done.
    Missing,
}

/// Verifies that no file is moved to itself, or uploaded onto itself: most servers empty a file when its
/// upload begins. Facts that differ prove nothing: a file can grow between the listings of the two
/// sides. Ensures that later changes to the sources of moves can be detected.
///
/// # Errors
///
/// Returns `Usage` if a directory is the same on both sides. Also returns the failures of the
/// checks.
fn check_sides(
    plan: &Plan,
    copier: &mut Copier<'_>,
    reporter: &Reporter<'_>,
) -> Result<(), TreeFault> {
    let replaced = plan.copies.iter().filter(|copy| copy.replaces());
    let places: BTreeSet<usize> = match plan.moves {
        true => plan.copies.iter().chain(&plan.equal).map(|copy| copy.place).collect(),
        false if !copier.writes_in_place() => BTreeSet::new(),
        // The server may still serve a disk that is mounted here; one file of the top tells.
        false if !copier.may_share_disk() => replaced.take(1).map(|_| 0).collect(),
        false => replaced.map(|copy| copy.place).collect(),
    };
    let places = places.iter().filter_map(|at| plan.directories.get(*at));
    for path in places.filter(|place| !place.is_new).map(|place| place.path.as_slice()) {
        match with_retries(copier, reporter, path, |copier| copier.is_same_directory(path)) {
            Ok(true) => {
                let text =
                    "source and target are the same directory; no file was copied or removed";
                let fault = TreeFault::new(ErrorKind::Usage, text);
                let fault = if plan.moves { fault.of(Setting::Moves) } else { fault };
                return Err(fault.about(if path.is_empty() { b"." } else { path }));
            }
            Ok(false) => {}
            // A read-only source is not an error, nor is a server that does not report whether a
            // file exists, unless sources are removed.
            Err(fault)
                if !plan.moves
                    && [ErrorKind::Local, ErrorKind::Unsupported].contains(&fault.kind()) => {}
            Err(failure) => return Err(failure),
        }
    }
    if with_retries(copier, reporter, b"", |copier| copier.relies_on_times(plan))? {
        // The listing already has the times. A file that changes after this pause, for example
        // during its download, gets a different time, whichever clock sets it.
        reporter.pause(TICK);
    }
    Ok(())
}

/// Executes `plan` with `jobs` of the copiers; with `None`, with as many as help. Returns the totals and the result. `sync` writes copies to disk.
/// If the plan has copies, it is called once: at the end, but before any source is removed. `deploy`
/// has the list that is written after the last step.
///
/// Removes only what the causes of the plan and of the run permit. After a fatal failure, removes
/// nothing at all.
pub(crate) fn act(
    plan: &Plan,
    jobs: Option<usize>,
    copiers: &mut [Copier<'_>],
    reporter: &Reporter<'_>,
    sync: &dyn Fn() -> Result<(), TreeFault>,
    deploy: Option<Deploy>,
) -> (Summary, Result<(), TreeFault>) {
    if let Some(first) = copiers.first_mut()
        && let Err(failure) = check_sides(plan, first, reporter)
    {
        return (Summary::default(), Err(failure));
    }
    let new = plan.directories.iter().filter(|place| place.is_new).count();
    let steps = new + plan.copies.len() + plan.links.len() + plan.modes.len();
    let all = plan.same + steps + plan.removed().count() + plan.failures.len();
    let states = plan.directories.iter().map(|place| match place.has_failed {
        true => DirectoryState::Failed,
        false => DirectoryState::Fine,
    });
    let states = states.collect();
    let done = Summary { same: plan.same, done: plan.same, ..Summary::default() };
    let causes = plan.causes.clone();
    let (copied, written, unconfirmed) = (Vec::new(), HashMap::new(), HashSet::new());
    let mut alike = WrittenAlike::default();
    for place in plan.directories.iter().filter(|place| place.has_twins) {
        let (above, name) = Pathname::split(&place.path);
        alike.expect(above, name);
    }
    for copy in plan.copies.iter().filter(|copy| copy.has_twins) {
        let Some(place) = plan.directories.get(copy.place) else { continue };
        let temporary = copiers.first().and_then(|first| first.temporary(&copy.name));
        [Some(copy.name.clone()), temporary]
            .into_iter()
            .flatten()
            .for_each(|name| alike.expect(&place.path, &name));
    }
    let notes_names = plan.moves || !plan.removals.is_empty();
    let mut run = Run {
        plan,
        reporter,
        ended: None,
        done,
        states,
        causes,
        copied,
        written,
        alike,
        notes_names,
        unconfirmed,
        deploy,
        stored: Vec::new(),
        renamed: HashSet::new(),
        blocked: plan.blocked.iter().map(Vec::as_slice).collect(),
        looks: LooksAtTarget::since(plan.begun.unwrap_or_else(Instant::now)),
    };
    for fault in &plan.failures {
        run.report(b"", fault.clone());
    }
    if plan.is_withheld {
        reporter.withheld(&plan.causes, plan.ignores_errors);
    }
    if let Some(first) = copiers.first_mut() {
        run.remove_all(first, true);
        run.make_directories(first);
    }
    run = copy_all(run, jobs, copiers);
    if let Some(first) = copiers.first_mut() {
        run.copy_twins(first);
        run.make_links(first);
        run.confirm_names(first);
        run.remove_all(first, false);
        run.set_modes(first);
        run.write_list(first);
    }
    let synced = if plan.copies.is_empty() { Ok(()) } else { sync() };
    if let (Some(first), true, Ok(())) = (copiers.first_mut(), plan.moves, &synced) {
        run.remove_sources(first);
    }
    let Run { mut done, ended, .. } = run;
    done.not_tried = all.saturating_sub(done.done + done.failed);
    (done, ended.map_or(synced, Err))
}

struct Run<'a> {
    plan: &'a Plan,
    reporter: &'a Reporter<'a>,
    /// The failure after which nothing more is tried.
    ended: Option<TreeFault>,
    done: Summary,
    states: Vec<DirectoryState>,
    /// The failures after which nothing is deleted.
    causes: Causes,
    /// With `moves`, the copies of this run, with their numbers in the plan.
    copied: Vec<(usize, Copied)>,
    /// Names that this run wrote and the target did not list before, by the path of their
    /// directory, as far as they must be confirmed.
    written: HashMap<&'a [u8], HashSet<&'a [u8]>>,
    /// Those of them that the target may take for the name of a copy or directory.
    alike: WrittenAlike<'a>,
    /// Whether names must be confirmed.
    notes_names: bool,
    /// Directories that do not show all of those names: nothing is deleted there, and no source of
    /// theirs is removed.
    unconfirmed: HashSet<usize>,
    deploy: Option<Deploy>,
    /// Numbers of the copies whose content the target has now, the identity of what was sent, `None` if it
    /// changed meanwhile, and the time that the server's file then had, if it is known.
    stored: Vec<(usize, Option<LocalFacts>, Option<i64>)>,
    renamed: HashSet<&'a [u8]>,
    /// Names that objects of another type still have, which should have gone first.
    blocked: HashSet<&'a [u8]>,
    /// With the list of a deploy, what the target has shown since the plan.
    looks: LooksAtTarget,
}

impl<'a> Run<'a> {
    fn state(&self, place: usize) -> DirectoryState {
        self.states.get(place).copied().unwrap_or(DirectoryState::Missing)
    }

    /// Returns whether nothing keeps the copy from being tried.
    fn may_copy(&self, copy: &PlannedCopy) -> bool {
        self.state(copy.place) != DirectoryState::Missing
            && (self.blocked.is_empty() || !self.blocked.contains(&*self.plan.path_of(copy)))
    }

    /// Records a failure that leaves something of the source without its copy.
    fn fail(&mut self, place: usize, path: &[u8], failure: TreeFault, state: DirectoryState) {
        if let Some(place) = self.plan.directories.get(place) {
            self.causes.add(&place.path, &failure);
        }
        self.fail_apart(place, path, failure, state);
    }

    /// Records a failure that holds back no deletions.
    fn fail_apart(&mut self, place: usize, path: &[u8], failure: TreeFault, state: DirectoryState) {
        self.report(path, failure);
        if let Some(known) = self.states.get_mut(place) {
            *known = state;
        }
    }

    fn report(&mut self, path: &[u8], fault: TreeFault) {
        self.done.failed += 1;
        let why = Error::from(fault.clone());
        self.reporter.on.event(Event::Failed { path, why: &why });
        if fault.ends_run() {
            self.ended.get_or_insert(fault);
        }
    }

    const fn is_over(&self) -> bool {
        self.ended.is_some()
    }

    fn make_directories(&mut self, copier: &mut Copier<'_>) {
        let mut missing: Vec<&[u8]> = Vec::new();
        let plan = self.plan;
        for (at, place) in plan.directories.iter().enumerate() {
            let path = place.path.as_slice();
            if self.blocked.contains(path) {
                missing.push(path);
            }
            if missing.iter().any(|missing| is_below(path, missing)) {
                if let Some(state) = self.states.get_mut(at) {
                    *state = DirectoryState::Missing;
                }
            } else if place.is_new && !self.is_over() {
                let (above, name) = Pathname::split(path);
                let made = self.check_twins(copier, above, name).and_then(|unclear| {
                    let mut repeat = self.reporter.memory();
                    with_retries(copier, self.reporter, path, |copier| {
                        copier.make(path, &mut repeat)
                    })?;
                    unclear.into_iter().for_each(|failure| self.note_unclear(at, path, failure));
                    Ok(())
                });
                match made {
                    Ok(()) => {
                        self.done.done += 1;
                        self.done.made += 1;
                        self.note_written(above, name);
                        self.reporter.on.event(Event::Made { path });
                    }
                    Err(failure) => {
                        self.fail(at, path, failure, DirectoryState::Missing);
                        missing.push(path);
                    }
                }
            }
        }
    }

    fn make_links(&mut self, copier: &mut Copier<'_>) {
        let plan = self.plan;
        for link in &plan.links {
            let Some(place) = plan.directories.get(link.place) else { continue };
            if self.is_over() || self.state(link.place) == DirectoryState::Missing {
                continue;
            }
            let path = Pathname::join(&place.path, &link.name);
            match with_retries(copier, self.reporter, &path, |copier| {
                copier.link(&place.path, link)
            }) {
                Ok(()) => {
                    self.done.done += 1;
                    self.done.links += 1;
                    if !link.replaces {
                        self.note_written(&place.path, &link.name);
                    }
                    self.reporter.on.event(Event::Linked { path: &path });
                }
                Err(failure) => self.fail(link.place, &path, failure, DirectoryState::Failed),
            }
        }
    }

    /// Sets the permissions that no copy has set.
    fn set_modes(&mut self, copier: &mut Copier<'_>) {
        let plan = self.plan;
        for PlannedMode { place, path, mode } in &plan.modes {
            let is_ready = match self.is_directory(*place, path) {
                // The next run must be able to create missing objects in the directory.
                true => self.is_complete(*place),
                false => self.state(*place) != DirectoryState::Missing,
            };
            if self.is_over() || !is_ready {
                continue;
            }
            match with_retries(copier, self.reporter, path, |copier| copier.set_mode(path, *mode)) {
                Ok(true) => {
                    self.done.done += 1;
                    self.done.modes += 1;
                    self.reporter.on.event(Event::ModeSet { path });
                }
                // The object counts as not tried.
                Ok(false) => {}
                // Only the permissions are missing; the content is complete.
                Err(failure) => self.fail_apart(*place, path, failure, self.state(*place)),
            }
        }
    }

    /// Returns whether `path` is the directory `place` itself, not a file in it.
    fn is_directory(&self, place: usize, path: &[u8]) -> bool {
        self.plan.directories.get(place).is_some_and(|place| place.path == path)
    }

    /// Returns whether nothing has failed in the directory `place`, or below it.
    fn is_complete(&self, place: usize) -> bool {
        let Some(top) = self.plan.directories.get(place) else { return false };
        // The plan lists a directory before everything below it.
        let below = self.plan.directories.iter().zip(&self.states).skip(place);
        below
            .take_while(|(place, _)| is_below(&place.path, &top.path))
            .all(|(_, state)| *state == DirectoryState::Fine)
    }
}

/// Runs one action on the object at `path`, which may be repeated, with retries of transient
/// failures if requested.
fn with_retries<T>(
    copier: &mut Copier<'_>,
    reporter: &Reporter<'_>,
    path: &[u8],
    act: impl FnMut(&mut Copier<'_>) -> Result<T, TreeFault>,
) -> Result<T, TreeFault> {
    retried(copier, reporter, path, |copier, fault| copier.replaces(fault), act)
}

/// Runs one action with retries; `replaces` as for [`Reporter::next`].
fn retried<T>(
    copier: &mut Copier<'_>,
    reporter: &Reporter<'_>,
    path: &[u8],
    mut replaces: impl FnMut(&mut Copier<'_>, &TreeFault) -> bool,
    mut act: impl FnMut(&mut Copier<'_>) -> Result<T, TreeFault>,
) -> Result<T, TreeFault> {
    let mut attempt = reporter.patience.first();
    loop {
        let fault = match act(copier) {
            Err(fault) => fault,
            done => return done,
        };
        if fault.ends_run() && fault.kind() != ErrorKind::Cancelled {
            // The old connection cannot be used for the next attempt.
            copier.disconnect();
        }
        reporter.next(&mut attempt, path, fault, &mut |fault| replaces(copier, fault))?;
    }
}

/// Returns whether replies were out of step, and a new connection replaces the old one. A copy has
/// its own rule for a lost connection.
fn is_out_of_step(copier: &mut Copier<'_>, fault: &TreeFault) -> bool {
    fault.recovery() == Recovery::Reconnect && copier.replaces(fault)
}
