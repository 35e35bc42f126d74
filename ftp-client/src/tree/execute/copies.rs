//! Copies the files of a plan, each by one job, and large ones by all jobs together.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Mutex;
use std::time::Instant;

use super::deploy::look_apart;
use super::{DirectoryState, OfPath, Run, is_out_of_step, retried, with_retries};
use crate::age::is_old;
use crate::client::Client;
use crate::error::{Error, ErrorKind, JobFault, Recovery};
use crate::pool::crew::Worker;
use crate::tree::copy::{Copier, copy_together};
use crate::tree::fault::TreeFault;
use crate::tree::plan::{Copied, LARGE, PlannedCopy};
use crate::{lock, unpoisoned};

/// Copies the large files, one after the other, each over the connections of all jobs. Otherwise a
/// large file could keep a single connection busy after all other files are done. Returns the
/// numbers of the copies that need no further attempt.
fn copy_large(run: &mut Run<'_>, jobs: &mut [Copier<'_>]) -> HashSet<usize> {
    let (plan, reporter) = (run.plan, run.reporter);
    let mut settled = HashSet::new();
    for number in plan.large.iter().copied() {
        let Some(copy) = plan.copies.get(number) else { continue };
        let Some(place) = plan.directories.get(copy.place) else { continue };
        if run.is_over() || !run.may_copy(copy) {
            continue;
        }
        let path = plan.path_of(copy);
        let on = OfPath { on: reporter.on, path: &path };
        let copied =
            reporter.persist(&path, &mut |_| false, || copy_together(jobs, &place.path, copy, &on));
        if let Some(copied) = copied.transpose() {
            run.count_copy(number, copied);
            settled.insert(number);
        }
    }
    settled
}

/// Copies all files without twins. `jobs` as for [`act`](super::act).
pub(super) fn copy_all<'a>(
    mut run: Run<'a>,
    jobs: Option<usize>,
    copiers: &mut [Copier<'_>],
) -> Run<'a> {
    let settled = &copy_large(&mut run, copiers);
    let plan = run.plan;
    let sizes = plan.apart().iter().map(|copy| copy.size);
    let largest = sizes.reduce(|one, other| Some(one?.max(other?))).flatten();
    let run = Mutex::new(run);
    if !lock(&run).is_over() {
        let copiers: Vec<_> = copiers.iter_mut().map(|it| Mutex::new(Some(it))).collect();
        TreeWorker::work(jobs, plan.apart().len(), largest, |number| TreeWorker {
            copier: copiers
                .get(number)
                .and_then(|it| lock(it).take())
                .expect("one for each worker"),
            run: &run,
            settled,
            is_first: number == 0,
            untimed: None,
            is_proven: false,
        });
    }
    unpoisoned(run.into_inner())
}

struct TreeWorker<'w, 'c, 'a> {
    copier: &'w mut Copier<'c>,
    run: &'w Mutex<Run<'a>>,
    /// Copies that need no further attempt.
    settled: &'w HashSet<usize>,
    /// Whether this worker's connection is used after the copies.
    is_first: bool,
    /// The copy before, whose time is set together with the end of the next one, and when it ended.
    untimed: Option<(usize, Copied, Instant)>,
    /// Whether the connection has made a copy. A server may close it after a number of files.
    is_proven: bool,
}

impl Worker for TreeWorker<'_, '_, '_> {
    fn connect(&mut self, _: usize) -> Result<(), Error> {
        // The first worker's connection is needed after the copies, so its file has all attempts.
        if self.is_first {
            return Ok(());
        }
        self.copier.connect().map_err(|fault| Error::Fewer(Box::new(fault.into())))
    }

    fn client(&self) -> Option<&Client> {
        self.copier.client()
    }

    fn repeats(&self, _: usize) -> bool {
        !self.copier.keeps_old()
    }

    fn ahead(&self, number: usize) -> usize {
        let Run { plan, .. } = *lock(self.run);
        let size = plan.apart().get(number).and_then(|copy| copy.size);
        // Other workers are free sooner than one that copies a large file.
        if size.is_some_and(|size| size < LARGE) { self.copier.ahead() } else { 0 }
    }

    fn act(&mut self, number: usize, following: &[usize]) -> Result<bool, Error> {
        let Run { plan, reporter, .. } = *lock(self.run);
        let Some(copy) = plan.apart().get(number) else { return Ok(false) };
        let Some(place) = plan.directories.get(copy.place) else { return Ok(false) };
        // Without its directory, or after the end, the copy counts as not tried.
        let copies: Vec<_> = [&[number], following].concat();
        let is_tried = |number: &usize, copy: &PlannedCopy| {
            lock(self.run).may_copy(copy) && !self.settled.contains(number)
        };
        if lock(self.run).is_over() || !is_tried(&number, copy) {
            return Ok(false);
        }
        let path = plan.path_of(copy);
        // A copy that the server already waits for was looked at with the one before.
        if !self.copier.has_next() {
            look_apart(self.run, self.copier, &place.path);
            if let Some(fault) = lock(self.run).foreign_copy(copy) {
                return Err(fault.into());
            }
        }
        // A copy that will not be tried must not be announced.
        let is_planned = |number: &usize, copy: &PlannedCopy| {
            let run = lock(self.run);
            let path = plan.directories.get(copy.place).map_or(&[][..], |place| &place.path);
            let is_free = !run.is_look_due(path) && run.foreign_copy(copy).is_none();
            drop(run);
            is_free && is_tried(number, copy)
        };
        let copies = copies
            .iter()
            .filter_map(|number| plan.apart().get(*number).filter(|copy| is_planned(number, copy)));
        self.copier.plan(plan, &copies.collect::<Vec<_>>());
        let is_proven = &mut self.is_proven;
        let copied = retried(self.copier, reporter, &path, is_out_of_step, |copier| {
            let on = OfPath { on: reporter.on, path: &path };
            match copier.copy(&place.path, copy, &on) {
                Err(failure)
                    if failure.kind() == ErrorKind::Network
                        && failure.recovery() == Recovery::TryAgain
                        && *is_proven =>
                {
                    *is_proven = false;
                    copier.disconnect();
                    copier.copy(&place.path, copy, &on)
                }
                copied => copied,
            }
        });
        self.is_proven |= copied.is_ok();
        complete(self.untimed.take(), self.copier, self.run);
        let copied = copied?;
        self.untimed = Some((number, copied, Instant::now()));
        if !self.copier.has_next() {
            complete(self.untimed.take(), self.copier, self.run);
        }
        Ok(true)
    }

    fn failed(&mut self, number: usize, error: Error) -> ControlFlow<()> {
        lock(self.run).count_copy(number, Err(error.into()));
        ControlFlow::Continue(())
    }

    fn end(mut self) {
        complete(self.untimed.take(), self.copier, self.run);
        if !self.is_first {
            let ended = lock(self.run).ended.clone();
            self.copier.quit(ended.as_ref());
        }
    }
}

/// Sets the missing time of a copy, and counts the copy.
fn complete(
    copied: Option<(usize, Copied, Instant)>,
    copier: &mut Copier<'_>,
    run: &Mutex<Run<'_>>,
) {
    let Some((number, mut copied, stored)) = copied else { return };
    copied.noted = copied.noted.filter(|_| copied.due_time.is_none());
    let Run { plan, reporter, .. } = *lock(run);
    let path = plan.copies.get(number).map(|copy| plan.path_of(copy));
    // After retries of the next copy, another user's file can have the name: without its time, the next
    // run sends the file again.
    let due_time = copied.due_time.filter(|_| !is_old(stored, Instant::now()));
    if let Some((path, time)) = path.zip(due_time) {
        // If the run is over, the time stays unset, and the next run copies the file again.
        if lock(run).is_over() {
            return;
        }
        match with_retries(copier, reporter, &path, |copier| copier.set_time(&path, time)) {
            Err(failure) if failure.ends_run() => {
                return lock(run).count_copy(number, Err(failure));
            }
            Ok(()) if copier.sets_times() => copied.noted = Some(time),
            set => copied.unset = set.err().or(copied.unset),
        }
    }
    lock(run).count_copy(number, Ok(copied));
}

impl Run<'_> {
    pub(super) fn count_copy(&mut self, number: usize, copied: Result<Copied, TreeFault>) {
        let plan = self.plan;
        let Some(copy) = plan.copies.get(number) else { return };
        let path = plan.path_of(copy);
        match copied {
            Ok(mut copied) => {
                if !copy.replaces() {
                    let place = plan.directories.get(copy.place).map(|place| place.path.as_slice());
                    self.note_written(place.unwrap_or_default(), &copy.name);
                }
                if copy.sum.is_some() {
                    self.stored.push((number, copied.source, copied.noted));
                }
                let unset = copied.unset.take();
                self.done.copied += 1;
                self.done.bytes += copied.bytes;
                self.reporter.copied(&path, copied.bytes, copied.verified);
                match unset {
                    // The content is complete, but the source stays.
                    Some(failure) => {
                        self.fail_apart(copy.place, &path, failure, DirectoryState::Failed);
                    }
                    None => {
                        self.done.done += 1;
                        if plan.moves {
                            self.copied.push((number, copied));
                        }
                    }
                }
            }
            Err(failure) => {
                let cause = failure.cause();
                let is_changed = matches!(cause, Some(Error::Job(JobFault::LocalChanged)));
                if copy.sum.is_some() && is_changed {
                    self.stored.push((number, None, None));
                }
                self.fail(copy.place, &path, failure, DirectoryState::Failed);
            }
        }
    }
}
