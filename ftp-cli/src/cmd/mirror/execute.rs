//! Executes a plan: directories first, then copies in parallel jobs, removals last.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use ftp_client::RateLimit;

use super::copy::{Copier, Watch};
use super::plan::{Plan, Removed};
use crate::connect::retry::{Retrying, Witness};
use crate::console::messages::Messages;
use crate::console::progress::Board;
use crate::display::shown;
use crate::exit::Failure;
use crate::lock::lock;
use crate::report::events::Events;
use crate::report::json::Object;
use crate::report::tally::Tally;

/// Returns the name by which messages and events refer to the object at a path from the top.
pub(super) type Naming<'a> = dyn Fn(&[u8]) -> Vec<u8> + Sync + 'a;

/// Receivers of messages, events and progress.
pub(super) struct MirrorReporter<'a> {
    pub(super) messages: &'a Messages,
    pub(super) events: &'a Events,
    /// Whether to print a line for each object.
    pub(super) each: bool,
    pub(super) source: &'a Naming<'a>,
    pub(super) target: &'a Naming<'a>,
    /// Progress display.
    pub(super) board: &'a Board,
    pub(super) rate_limit: Option<&'a RateLimit>,
    pub(super) retrying: Retrying,
    /// Receiver of retries.
    pub(super) witness: &'a Witness<'a>,
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
        self.messages.say_if(self.each, format_args!("{}: {what}", shown(path)));
    }
}

/// Totals of a mirror.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Totals {
    pub(super) copied: usize,
    pub(super) bytes: u64,
    pub(super) made: usize,
    pub(super) removed: usize,
}

/// State of a directory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum DirectoryState {
    Fine,
    /// An object in it failed: nothing in it is removed.
    Failed,
    /// It is missing: nothing in it can be done.
    Missing,
}

/// Executes `plan` with all jobs. Returns the totals and the result.
///
/// Nothing is removed from a directory in which anything failed, nor anywhere after a fatal
/// failure.
pub(super) fn act(
    plan: &Plan,
    jobs: &mut [Copier<'_>],
    reporter: &MirrorReporter<'_>,
) -> (Totals, Result<(), Failure>) {
    let new = plan.directories.iter().filter(|place| place.is_new).count();
    let all = plan.same + new + plan.copies.len() + plan.removed().count() + plan.failures.len();
    let tally = Tally::new(all, "objects mirrored", reporter.messages, reporter.events);
    let states = plan.directories.iter().map(|place| match place.has_failed {
        true => DirectoryState::Failed,
        false => DirectoryState::Fine,
    });
    let states = states.collect();
    let mut run = Run { plan, reporter, tally, done: Totals::default(), states, is_over: false };
    (0..plan.same).for_each(|_| run.tally.done());
    for failure in &plan.failures {
        let _ = run.tally.failed(failure.clone(), |error| error);
    }
    if let Some(first) = jobs.first_mut() {
        run.make_directories(first);
    }
    run = copy_all(run, jobs);
    if let Some(first) = jobs.first_mut() {
        run.remove_all(first);
    }
    (run.done, run.tally.finish())
}

/// Progress of a plan.
struct Run<'a> {
    plan: &'a Plan,
    reporter: &'a MirrorReporter<'a>,
    tally: Tally<'a>,
    done: Totals,
    /// States of the plan's directories.
    states: Vec<DirectoryState>,
    /// Whether further attempts are useless.
    is_over: bool,
}

impl<'a> Run<'a> {
    fn state(&self, place: usize) -> DirectoryState {
        self.states.get(place).copied().unwrap_or(DirectoryState::Missing)
    }

    fn fail(&mut self, place: usize, path: &[u8], failure: Failure, state: DirectoryState) {
        let reporter = self.reporter;
        let ended = self.tally.failed(failure, |error| reporter.named(error, path));
        self.is_over |= ended.is_break();
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
                match with_retries(copier, self.reporter, path, |copier| copier.make(path)) {
                    Ok(()) => {
                        self.tally.done();
                        self.done.made += 1;
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

    fn remove_all(&mut self, copier: &mut Copier<'_>) {
        // Object that is gone with everything that was expected in it.
        let mut gone: Option<&[u8]> = None;
        for removal in &self.plan.removals {
            if self.is_over {
                return;
            }
            // Counted as not tried.
            if self.state(removal.place) != DirectoryState::Fine {
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
                        // It was a link, or is empty by now: it is counted later.
                        false => gone = Some(&removal.path),
                    }
                    self.done.removed += 1;
                    self.reporter.done(&removal.path, "removed", 0);
                }
                // Its parent directories cannot be removed either.
                Err(failure) => {
                    self.fail(removal.place, &removal.path, failure, DirectoryState::Failed);
                }
            }
        }
    }
}

/// Returns whether `path` is `directory`, or is below it.
fn is_below(path: &[u8], directory: &[u8]) -> bool {
    directory.is_empty()
        || path.strip_prefix(directory).is_some_and(|rest| matches!(rest, [] | [b'/', ..]))
}

fn copy_all<'a>(run: Run<'a>, jobs: &mut [Copier<'_>]) -> Run<'a> {
    let plan = run.plan;
    let reporter = run.reporter;
    let next = AtomicUsize::new(0);
    let is_over = AtomicBool::new(run.is_over);
    let run = Mutex::new(run);
    // The first job is connected already. If a server refuses more connections, fewer jobs are
    // used, before work is assigned to them.
    let work = &|copier: &mut Copier<'_>, is_first: bool| {
        while !is_over.load(Ordering::Relaxed) && (is_first || copier.connect().is_ok()) {
            let Some(copy) = plan.copies.get(next.fetch_add(1, Ordering::Relaxed)) else { return };
            let Some(place) = plan.directories.get(copy.place) else { continue };
            // Counted as not tried.
            if lock(&run).state(copy.place) == DirectoryState::Missing {
                continue;
            }
            let path = plan.path_of(copy);
            let copied = with_retries(copier, reporter, &path, |copier| {
                let fields = |event: Object| reporter.named(event, &path);
                let meter = reporter.board.begin(&path, 0, copy.size, &fields);
                let mut watch = Watch { meter, rate_limit: reporter.rate_limit };
                copier.copy(&place.path, copy, &mut watch)
            });
            let mut run = lock(&run);
            match copied {
                Ok(bytes) => {
                    run.tally.done();
                    run.done.copied += 1;
                    run.done.bytes += bytes;
                    reporter.done(&path, "copied", bytes);
                }
                Err(failure) => run.fail(copy.place, &path, failure, DirectoryState::Failed),
            }
            if run.is_over {
                is_over.store(true, Ordering::Relaxed);
            }
        }
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

/// Runs one action on the object at `path`, with retries of transient failures if requested.
fn with_retries<T>(
    copier: &mut Copier<'_>,
    reporter: &MirrorReporter<'_>,
    path: &[u8],
    mut act: impl FnMut(&mut Copier<'_>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let fields = |event: Object| reporter.named(event, path);
    reporter.retrying.run(reporter.witness, &fields, |_| {
        act(copier).inspect_err(|failure| {
            if failure.fatal {
                // The old connection is useless for the next attempt.
                copier.disconnect();
            }
        })
    })
}
