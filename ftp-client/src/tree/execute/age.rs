//! Looks again at what a deploy replaces: its plan can be hours old when a step's turn
//! comes, and what others have changed meanwhile is theirs.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::time::Instant;

use ftp_proto::Pathname;

use super::{Copier, Run, with_retries};
use crate::age::is_old;
use crate::error::ErrorKind;
use crate::lock;
use crate::tree::fault::{Setting, TreeFault};
use crate::tree::plan::{Plan, PlannedCopy};
use crate::tree::scan::Contents;

/// What a run of a deploy has seen of the target since its plan.
pub(super) struct LooksAtTarget {
    /// When the plan was begun.
    planned: Instant,
    /// When a directory was listed again.
    listed: HashMap<Vec<u8>, Instant>,
    /// The planned files that others have changed since, or that cannot be looked at.
    changed: HashSet<Vec<u8>>,
}

impl LooksAtTarget {
    pub(super) fn since(planned: Instant) -> Self {
        Self { planned, listed: HashMap::new(), changed: HashSet::new() }
    }

    /// Returns whether the directory at `path` must be listed before something in it is replaced or
    /// removed.
    fn is_due(&self, path: &[u8], now: Instant) -> bool {
        let last = self.listed.get(path).map_or(self.planned, |last| *last);
        is_old(last, now)
    }
}

impl Run<'_> {
    /// Returns whether the directory at `path` must be listed before its next step.
    pub(super) fn is_look_due(&self, path: &[u8]) -> bool {
        self.deploy.is_some() && !self.is_over() && self.looks.is_due(path, Instant::now())
    }

    /// Returns the failure of a copy whose target others have changed.
    pub(super) fn foreign_copy(&self, copy: &PlannedCopy) -> Option<TreeFault> {
        self.foreign(&self.plan.path_of(copy), "not copied")
    }

    /// Returns the failure of a step whose object others have changed.
    pub(super) fn foreign(&self, path: &[u8], what: &str) -> Option<TreeFault> {
        let why = format!("{what}: changed on the server since this run began");
        let fault = || TreeFault::item(ErrorKind::Integrity, why).about(path).never_retried();
        self.looks.changed.contains(path).then(|| fault().of(Setting::Changed))
    }

    /// Notes which planned steps in the directory at `path` the new listing forbids.
    fn note_look(&mut self, path: &[u8], listed: &Result<Contents, TreeFault>) {
        let plan: &Plan = self.plan;
        let Some(deploy) = &self.deploy else { return };
        let items = listed.as_ref().ok().filter(|it| it.doubt.is_none()).map(|it| &it.items);
        let found = |name: &[u8]| {
            let items = items?;
            items
                .binary_search_by(|item| item.name.as_slice().cmp(name))
                .ok()
                .and_then(|at| items.get(at))
        };
        for copy in &plan.copies {
            let is_here = plan.directories.get(copy.place).is_some_and(|place| place.path == path);
            let content = (copy.replaces(), copy.sum.as_deref());
            let own = is_here.then(|| (plan.path_of(copy), Some(content)));
            let from = copy.from.iter().filter(|from| Pathname::split(from).0 == path);
            for (its_path, content) in own.into_iter().chain(from.map(|from| (from.clone(), None)))
            {
                let there = found(Pathname::split(&its_path).1);
                if items.is_none() || !deploy.permits(&its_path, content, there) {
                    self.looks.changed.insert(its_path);
                }
            }
        }
        self.looks.listed.insert(path.to_vec(), Instant::now());
    }

    /// Lists the directory at `path` again, if that is due.
    pub(super) fn look_again(&mut self, copier: &mut Copier<'_>, path: &[u8]) {
        if self.is_look_due(path) {
            let listed = with_retries(copier, self.reporter, path, |copier| copier.list(path));
            self.note_look(path, &listed);
        }
    }
}

/// As [`Run::look_again`], and lets other workers use the run meanwhile.
pub(super) fn look_apart(run: &Mutex<Run<'_>>, copier: &mut Copier<'_>, path: &[u8]) {
    let reporter = lock(run).reporter;
    if lock(run).is_look_due(path) {
        let listed = with_retries(copier, reporter, path, |copier| copier.list(path));
        lock(run).note_look(path, &listed);
    }
}
