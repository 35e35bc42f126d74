//! Executes a plan: directories first, then copies in parallel jobs, links, removals and
//! permissions. Files of the source are removed last.

mod confirm;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ftp_client::RateLimit;
use ftp_client::tree::Causes;

use super::compare::Difference;
use super::copy::{Copied, Copier, Progress, Watch, copy_together};
use super::plan::{Plan, PlannedCopy, PlannedMode, Removed};
use crate::connect::retry::{RetryObserver, Retrying, pause_until};
use crate::console::messages::Messages;
use crate::console::progress::Board;
use crate::display::shown;
use crate::exit::{Exit, Failure};
use crate::lock::lock;
use crate::report::events::Events;
use crate::report::json::Object;
use crate::report::tally::Tally;
use ftp_client::tree::path::{join, split};

/// Function from a path, relative to the top, to the name of the object in messages and events.
pub(super) type Naming<'a> = dyn Fn(&[u8]) -> Vec<u8> + Sync + 'a;

/// Receivers of messages, events and progress.
pub(super) struct MirrorReporter<'a> {
    pub(super) messages: &'a Messages,
    pub(super) events: &'a Events,
    /// Whether to print a line for each object.
    pub(super) each: bool,
    /// Whether to print a line for each removal.
    pub(super) removals: bool,
    pub(super) source: &'a Naming<'a>,
    pub(super) target: &'a Naming<'a>,
    /// Progress display.
    pub(super) board: &'a Board,
    pub(super) rate_limit: Option<&'a RateLimit>,
    pub(super) retrying: Retrying,
    /// Receiver of the reports about retries.
    pub(super) witness: &'a RetryObserver<'a>,
}

impl MirrorReporter<'_> {
    /// Adds the fields that identify an object.
    fn named(&self, event: Object, path: &[u8]) -> Object {
        event.name("source", &(self.source)(path)).name("target", &(self.target)(path))
    }

    fn done(&self, path: &[u8], what: &str, bytes: u64) {
        self.events.done(
            || {
                let event = self.named(Object::event("done"), path).text("action", what);
                event.number("bytes", bytes)
            },
            bytes,
        );
        let is_said = self.each || self.removals && what == REMOVED;
        self.messages.say_if(is_said, format_args!("{}: {what}", shown(path)));
    }
}

/// Result of a removal.
const REMOVED: &str = "removed";

/// Totals of a mirror.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Totals {
    pub(super) copied: usize,
    pub(super) bytes: u64,
    pub(super) made: usize,
    pub(super) removed: usize,
    /// Files of the source that were removed: `--remove-source`.
    pub(super) sources: usize,
    /// Symbolic links that were created.
    pub(super) links: usize,
    /// Objects of which only the permissions were set.
    pub(super) modes: usize,
    pub(super) failed: usize,
}

/// State of a directory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum DirectoryState {
    Fine,
    /// An object in the directory failed.
    Failed,
    /// The directory is missing: no step in it can be done.
    Missing,
}

/// Pause after which any change to a file also changes its modification time. FAT stores only even
/// seconds.
const TICK: Duration = Duration::from_millis(2_100);

/// Verifies that no file is moved to itself, and ensures that later changes to the sources can be
/// detected.
///
/// # Errors
///
/// Returns `Usage` if a directory is the same on both sides, because the move would delete its
/// files. Also returns the failures of the checks.
fn prepare_moves(
    plan: &Plan,
    copier: &mut Copier<'_>,
    reporter: &MirrorReporter<'_>,
) -> Result<(), Failure> {
    let moved: HashSet<usize> =
        plan.copies.iter().chain(&plan.equal).map(|copy| copy.place).collect();
    for (at, place) in plan.directories.iter().enumerate() {
        if place.is_new || !moved.contains(&at) {
            continue;
        }
        let path = place.path.as_slice();
        if with_retries(copier, reporter, path, |copier| copier.is_same_directory(path))? {
            let source = shown(&(reporter.source)(path));
            let target = shown(&(reporter.target)(path));
            let message = format!(
                "--remove-source: {source} and {target} are the same directory; no file was copied or removed"
            );
            return Err(Failure::new(Exit::Usage, message));
        }
    }
    if !plan.copies.is_empty()
        && with_retries(copier, reporter, b"", |copier| copier.relies_on_times())?
    {
        // The listing already has the times. A file that changes after this pause, for example
        // during its download, gets a different time, whichever clock sets it.
        pause_until(Instant::now() + TICK, reporter.witness.canceller);
    }
    Ok(())
}

/// Verifies that no file is uploaded onto itself: most servers empty a file when its upload begins.
/// If the server sets times, the files of a tree that is mirrored onto itself count as equal, and
/// are not uploaded.
///
/// # Errors
///
/// Returns `Usage` if a directory is the same on both sides. Also returns the failures of the
/// checks.
fn prepare_copies(
    plan: &Plan,
    copier: &mut Copier<'_>,
    reporter: &MirrorReporter<'_>,
) -> Result<(), Failure> {
    if !copier.writes_in_place() {
        return Ok(());
    }
    let of_equal_size = |copy: &&PlannedCopy| copy.replaces() && copy.why != Difference::Size;
    let mut checked = None;
    for copy in plan.copies.iter().filter(of_equal_size) {
        let Some(place) = plan.directories.get(copy.place) else { continue };
        if checked.replace(copy.place) == Some(copy.place) {
            continue;
        }
        let path = place.path.as_slice();
        match with_retries(copier, reporter, path, |copier| copier.is_same_directory(path)) {
            Ok(true) => {
                let source = shown(&(reporter.source)(path));
                let target = shown(&(reporter.target)(path));
                let message =
                    format!("{source} and {target} are the same directory; no file was copied");
                return Err(Failure::new(Exit::Usage, message));
            }
            Ok(false) => {}
            // A read-only source is not an error, nor is a server that does not report whether a
            // file exists.
            Err(failure) if matches!(failure.exit, Exit::Local | Exit::Unsupported) => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(())
}

/// Executes `plan` with all jobs. Returns the totals and the result. `sync` writes copies to disk.
/// If the plan has copies, it is called once: at the end, but before any source is removed.
///
/// Removes only what the causes of the plan and of the run permit. After a fatal failure, removes
/// nothing at all.
pub(super) fn act(
    plan: &Plan,
    jobs: &mut [Copier<'_>],
    reporter: &MirrorReporter<'_>,
    sync: &dyn Fn() -> Result<(), Failure>,
) -> (Totals, Result<(), Failure>) {
    if let Some(first) = jobs.first_mut() {
        let checked = match plan.moves {
            true => prepare_moves(plan, first, reporter),
            false => prepare_copies(plan, first, reporter),
        };
        if let Err(failure) = checked {
            return (Totals::default(), Err(failure));
        }
    }
    let new = plan.directories.iter().filter(|place| place.is_new).count();
    let steps = new + plan.copies.len() + plan.links.len() + plan.modes.len();
    let all = plan.same + steps + plan.removed().count() + plan.failures.len();
    let tally = Tally::new(all, "objects mirrored", reporter.messages, reporter.events);
    let states = plan.directories.iter().map(|place| match place.has_failed {
        true => DirectoryState::Failed,
        false => DirectoryState::Fine,
    });
    let states = states.collect();
    let done = Totals::default();
    let causes = plan.causes.clone();
    let (copied, written, unconfirmed) = (Vec::new(), HashMap::new(), HashSet::new());
    let has_twins = plan.apart().len() < plan.copies.len()
        || plan.directories.iter().any(|place| !place.twins.is_empty());
    let notes_names = has_twins || plan.moves || !plan.removals.is_empty();
    let is_over = false;
    let mut run = Run {
        plan,
        reporter,
        tally,
        done,
        states,
        causes,
        copied,
        written,
        notes_names,
        unconfirmed,
        is_over,
    };
    (0..plan.same).for_each(|_| run.tally.done());
    for failure in &plan.failures {
        let _ = run.tally.failed(failure.clone(), |error| error);
        run.done.failed += 1;
    }
    if let Some(first) = jobs.first_mut() {
        run.make_directories(first);
    }
    run = copy_all(run, jobs);
    if let Some(first) = jobs.first_mut() {
        run.copy_twins(first);
        run.make_links(first);
        run.confirm_names(first);
        run.remove_all(first);
        run.set_modes(first);
    }
    let synced = if plan.copies.is_empty() { Ok(()) } else { sync() };
    if let (Some(first), true, Ok(())) = (jobs.first_mut(), plan.moves, &synced) {
        run.remove_sources(first);
    }
    (run.done, run.tally.finish().and(synced))
}

/// Progress of a plan.
struct Run<'a> {
    plan: &'a Plan,
    reporter: &'a MirrorReporter<'a>,
    tally: Tally<'a>,
    done: Totals,
    /// States of the plan's directories.
    states: Vec<DirectoryState>,
    /// The failures after which nothing is deleted.
    causes: Causes,
    /// With `--remove-source`, the copies of this run, with their numbers in the plan.
    copied: Vec<(usize, Copied)>,
    /// Names that this run wrote and the target did not list before, by the path of their
    /// directory, as far as they must be confirmed or have twins.
    written: HashMap<Vec<u8>, Vec<Vec<u8>>>,
    /// Whether those names are needed.
    notes_names: bool,
    /// Directories that do not show all of those names: nothing is deleted there, and no source of
    /// theirs is removed.
    unconfirmed: HashSet<usize>,
    /// Whether to try nothing more.
    is_over: bool,
}

impl<'a> Run<'a> {
    fn state(&self, place: usize) -> DirectoryState {
        self.states.get(place).copied().unwrap_or(DirectoryState::Missing)
    }

    /// Records a failure that leaves something of the source without its copy.
    fn fail(&mut self, place: usize, path: &[u8], failure: Failure, state: DirectoryState) {
        if let Some(place) = self.plan.directories.get(place) {
            self.causes.add(&place.path, &failure.message);
        }
        self.fail_apart(place, path, failure, state);
    }

    /// Records a failure that holds back no deletions.
    fn fail_apart(&mut self, place: usize, path: &[u8], failure: Failure, state: DirectoryState) {
        let reporter = self.reporter;
        let ended = self.tally.failed(failure, |error| reporter.named(error, path));
        self.is_over |= ended.is_break();
        self.done.failed += 1;
        if let Some(known) = self.states.get_mut(place) {
            *known = state;
        }
    }

    fn make_directories(&mut self, copier: &mut Copier<'_>) {
        let mut missing: Vec<&[u8]> = Vec::new();
        for (at, place) in self.plan.directories.iter().enumerate() {
            let path = place.path.as_slice();
            if missing.iter().any(|missing| is_below(path, missing)) {
                if let Some(state) = self.states.get_mut(at) {
                    *state = DirectoryState::Missing;
                }
            } else if place.is_new && !self.is_over {
                let (above, name) = split(path);
                let made =
                    self.check_twins(copier, above, name, &place.twins).and_then(|unclear| {
                        with_retries(copier, self.reporter, path, |copier| copier.make(path))?;
                        unclear
                            .into_iter()
                            .for_each(|failure| self.note_unclear(at, path, failure));
                        Ok(())
                    });
                match made {
                    Ok(()) => {
                        self.tally.done();
                        self.done.made += 1;
                        self.note_written(above, name);
                        self.reporter.done(path, "made", 0);
                    }
                    Err(failure) => {
                        self.fail(at, path, failure, DirectoryState::Missing);
                        missing.push(path);
                    }
                }
            }
        }
    }

    /// Counts and reports the copy with this number.
    fn count_copy(&mut self, number: usize, copied: Result<Copied, Failure>) {
        let plan = self.plan;
        let Some(copy) = plan.copies.get(number) else { return };
        let path = plan.path_of(copy);
        match copied {
            Ok(mut copied) => {
                if !copy.replaces() {
                    let place = plan.directories.get(copy.place).map(|place| place.path.as_slice());
                    self.note_written(place.unwrap_or_default(), &copy.name);
                }
                let unset = copied.unset.take();
                self.done.copied += 1;
                self.done.bytes += copied.bytes;
                self.reporter.done(&path, "copied", copied.bytes);
                match unset {
                    // The content is complete, but the source stays.
                    Some(failure) => {
                        self.fail_apart(copy.place, &path, failure, DirectoryState::Failed);
                    }
                    None => {
                        self.tally.done();
                        if plan.moves {
                            self.copied.push((number, copied));
                        }
                    }
                }
            }
            Err(failure) => self.fail(copy.place, &path, failure, DirectoryState::Failed),
        }
    }

    fn make_links(&mut self, copier: &mut Copier<'_>) {
        let plan = self.plan;
        for link in &plan.links {
            let Some(place) = plan.directories.get(link.place) else { continue };
            if self.is_over || self.state(link.place) == DirectoryState::Missing {
                continue;
            }
            let path = join(&place.path, &link.name);
            match with_retries(copier, self.reporter, &path, |copier| {
                copier.link(&place.path, link)
            }) {
                Ok(()) => {
                    self.tally.done();
                    self.done.links += 1;
                    if !link.replaces {
                        self.note_written(&place.path, &link.name);
                    }
                    self.reporter.done(&path, "linked", 0);
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
            if self.is_over || !is_ready {
                continue;
            }
            match with_retries(copier, self.reporter, path, |copier| copier.set_mode(path, *mode)) {
                Ok(true) => {
                    self.tally.done();
                    self.done.modes += 1;
                    self.reporter.done(path, "mode set", 0);
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

    /// Removes the source files that were copied, or that were equal to the target's files.
    fn remove_sources(&mut self, copier: &mut Copier<'_>) {
        let plan = self.plan;
        let copied = std::mem::take(&mut self.copied);
        let copied = copied.iter().filter_map(|(number, copied)| {
            plan.copies.get(*number).map(|copy| (copy, Some(copied)))
        });
        for (copy, copied) in plan.equal.iter().map(|copy| (copy, None)).chain(copied) {
            if self.is_over {
                return;
            }
            let Some(place) = plan.directories.get(copy.place) else { continue };
            if self.unconfirmed.contains(&copy.place) {
                continue;
            }
            let path = plan.path_of(copy);
            let removed = with_retries(copier, self.reporter, &path, |copier| {
                copier.remove_source(&place.path, copy, copied)
            });
            match removed {
                Ok(()) => {
                    self.done.sources += 1;
                    self.reporter.done(&path, "source removed", 0);
                }
                Err(failure) => {
                    self.fail_apart(copy.place, &path, failure, DirectoryState::Failed);
                }
            }
        }
    }

    fn remove_all(&mut self, copier: &mut Copier<'_>) {
        let plan = self.plan;
        // The last listed directory that turned out to be a link or empty, and was removed.
        let mut gone: Option<&[u8]> = None;
        // The last object that could not be removed.
        let mut kept: Option<&[u8]> = None;
        let mut is_withheld = false;
        for removal in &plan.removals {
            if self.is_over {
                return;
            }
            let place = plan.directories.get(removal.place).map_or(&[][..], |place| &place.path);
            // The object counts as not tried.
            if !self.causes.permit(place, plan.ignores_errors) {
                is_withheld = true;
                continue;
            }
            let is_near =
                |kept: &[u8]| is_below(kept, &removal.path) || is_below(&removal.path, kept);
            if self.unconfirmed.contains(&removal.place) || kept.is_some_and(is_near) {
                continue;
            }
            let is_counted = !matches!(removal.what, Removed::Below { .. });
            if gone.is_some_and(|gone| is_below(&removal.path, gone)) {
                (0..usize::from(is_counted)).for_each(|_| self.tally.done());
                continue;
            }
            let path = &removal.path;
            match with_retries(copier, self.reporter, path, |copier| copier.remove(removal)) {
                Ok(false) => {}
                Ok(true) => {
                    match is_counted {
                        true => self.tally.done(),
                        // The object was a link or an empty directory; the step that removes the
                        // object itself counts it.
                        false => gone = Some(&removal.path),
                    }
                    self.done.removed += 1;
                    self.reporter.done(&removal.path, REMOVED, 0);
                }
                // Its parent directories cannot be removed either.
                Err(failure) => {
                    self.fail_apart(removal.place, path, failure, self.state(removal.place));
                    kept = Some(path);
                }
            }
        }
        if is_withheld {
            let message = plan.withheld(&self.causes);
            self.reporter.messages.say(message);
        }
    }
}

/// Returns whether `path` is `directory`, or is below it.
fn is_below(path: &[u8], directory: &[u8]) -> bool {
    directory.is_empty()
        || path.strip_prefix(directory).is_some_and(|rest| matches!(rest, [] | [b'/', ..]))
}

/// Copies the large files, one after the other, each over the connections of all jobs. Otherwise a
/// large file could keep a single connection busy after all other files are done. Returns the
/// numbers of the copies that need no further attempt.
fn copy_large(run: &mut Run<'_>, jobs: &mut [Copier<'_>]) -> HashSet<usize> {
    let (plan, reporter) = (run.plan, run.reporter);
    let mut settled = HashSet::new();
    for number in plan.large.iter().copied() {
        let Some(copy) = plan.copies.get(number) else { continue };
        let Some(place) = plan.directories.get(copy.place) else { continue };
        if run.is_over || run.state(copy.place) == DirectoryState::Missing {
            continue;
        }
        let path = plan.path_of(copy);
        let fields = |event: Object| reporter.named(event, &path);
        let (board, rate_limit) = (reporter.board, reporter.rate_limit);
        let progress = Progress { board, rate_limit, fields: &fields };
        let copied = reporter.retrying.run(reporter.witness, &shown(&path), &fields, |_| {
            copy_together(jobs, &place.path, copy, &progress)
        });
        if let Some(copied) = copied.transpose() {
            run.count_copy(number, copied);
            settled.insert(number);
        }
    }
    settled
}

fn copy_all<'a>(mut run: Run<'a>, jobs: &mut [Copier<'_>]) -> Run<'a> {
    let plan = run.plan;
    let reporter = run.reporter;
    let settled = &copy_large(&mut run, jobs);
    let next = AtomicUsize::new(0);
    let is_over = AtomicBool::new(run.is_over);
    let run = Mutex::new(run);
    // The first job is connected already. If the server refuses more connections, the other jobs
    // end before they take any work.
    let is_alone = jobs.len() == 1;
    let work = &|copier: &mut Copier<'_>, is_first: bool| {
        let mut row = Vec::new();
        // Whether the connection has made a copy. A server may close it after a number of files.
        let mut is_proven = false;
        while !is_over.load(Ordering::Relaxed) && (is_first || copier.connect().is_ok()) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(copy) = plan.apart().get(number) else { break };
            let Some(place) = plan.directories.get(copy.place) else { continue };
            // Without its directory, the copy counts as not tried.
            let is_missing = lock(&run).state(copy.place) == DirectoryState::Missing;
            if is_missing || settled.contains(&number) {
                continue;
            }
            let path = plan.path_of(copy);
            // A copy that will not be tried must not be announced.
            let following = plan.apart().get(number + 1).map(|next| lock(&run).state(next.place));
            if is_alone && following != Some(DirectoryState::Missing) {
                copier.plan(plan, number);
            }
            let copied = with_retries(copier, reporter, &path, |copier| {
                let fields = |event: Object| reporter.named(event, &path);
                let meter = reporter.board.begin(&path, 0, copy.size, &fields);
                let mut watch = Watch { meter, rate_limit: reporter.rate_limit };
                match copier.copy(&place.path, copy, &mut watch) {
                    Err(failure) if failure.exit == Exit::Network && is_proven => {
                        is_proven = false;
                        copier.disconnect();
                        copier.copy(&place.path, copy, &mut watch)
                    }
                    copied => copied,
                }
            });
            is_proven |= copied.is_ok();
            match copied {
                Ok(copied) => row.push((number, copied)),
                Err(failure) => lock(&run).count_copy(number, Err(failure)),
            }
            if !copier.has_next() {
                complete(&mut row, copier, &run);
            }
            if lock(&run).is_over {
                is_over.store(true, Ordering::Relaxed);
            }
        }
        complete(&mut row, copier, &run);
    };
    if let [only] = jobs {
        work(only, true);
    } else {
        std::thread::scope(|threads| {
            for (number, job) in jobs.iter_mut().enumerate() {
                threads.spawn(move || work(job, number == 0));
            }
        });
    }
    run.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Sets the missing times of consecutive copies, and counts the copies.
fn complete(row: &mut Vec<(usize, Copied)>, copier: &mut Copier<'_>, run: &Mutex<Run<'_>>) {
    let Run { plan, reporter, .. } = *lock(run);
    let path_of = |number: usize| plan.copies.get(number).map(|copy| plan.path_of(copy));
    let due: Vec<_> =
        row.iter().filter_map(|(number, copied)| path_of(*number).zip(copied.due_time)).collect();
    if !due.is_empty() && !lock(run).is_over {
        copier.plan_times(&due);
    }
    for (number, copied) in row.drain(..) {
        let mut set = Ok(());
        if let Some((path, time)) = path_of(number).zip(copied.due_time) {
            // If the run is over, the time stays unset, and the next run copies the file again.
            if lock(run).is_over {
                continue;
            }
            set = with_retries(copier, reporter, &path, |copier| copier.set_time(&path, time));
        }
        let counted = match set {
            Err(failure) if !failure.fatal => {
                let mut copied = copied;
                copied.unset = Some(failure);
                Ok(copied)
            }
            set => set.map(|()| copied),
        };
        lock(run).count_copy(number, counted);
    }
}

/// Runs one action on the object at `path`, with retries of transient failures if requested.
fn with_retries<T>(
    copier: &mut Copier<'_>,
    reporter: &MirrorReporter<'_>,
    path: &[u8],
    mut act: impl FnMut(&mut Copier<'_>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let fields = |event: Object| reporter.named(event, path);
    reporter.retrying.run(reporter.witness, &shown(path), &fields, |_| {
        act(copier).inspect_err(|failure| {
            if failure.fatal {
                // The old connection cannot be used for the next attempt.
                copier.disconnect();
            }
        })
    })
}
