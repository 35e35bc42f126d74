//! Removes what a plan removes: the sources of moved files, and the extras of the target.

use ftp_proto::Pathname;
use std::collections::VecDeque;

use super::{Copier, DirectoryState, Run, with_retries};
use crate::client::flight::TOGETHER;
use crate::event::Event;
use crate::tree::fault::{TreeFault, is_below};
use crate::tree::plan::{Removal, Removed};

impl Run<'_> {
    /// Removes the source files that were copied, or that were equal to the target's files.
    pub(super) fn remove_sources(&mut self, copier: &mut Copier<'_>) {
        let plan = self.plan;
        let copied = std::mem::take(&mut self.copied);
        let copied = copied.iter().filter_map(|(number, copied)| {
            plan.copies.get(*number).map(|copy| (copy, Some(copied)))
        });
        for (copy, copied) in plan.equal.iter().map(|copy| (copy, None)).chain(copied) {
            if self.is_over() {
                return;
            }
            let Some(place) = plan.directories.get(copy.place) else { continue };
            if self.unconfirmed.contains(&copy.place) {
                continue;
            }
            let path = plan.path_of(copy);
            let mut repeat = self.reporter.memory();
            let removed = with_retries(copier, self.reporter, &path, |copier| {
                copier.remove_source(&place.path, copy, copied, &mut repeat)
            });
            match removed {
                Ok(()) => {
                    self.done.moved += 1;
                    self.reporter.on.event(Event::SourceRemoved { path: &path });
                }
                Err(failure) => {
                    self.fail_apart(copy.place, &path, failure, DirectoryState::Failed);
                }
            }
        }
    }

    /// Removes the extras that go first, or all others, unless a failure holds them back.
    pub(super) fn remove_all(&mut self, copier: &mut Copier<'_>, first: bool) {
        let plan = self.plan;
        // The last listed directory that turned out to be a link or empty, and was removed.
        let mut gone: Option<&[u8]> = None;
        // The last object that could not be removed.
        let mut kept: Option<&[u8]> = None;
        let mut is_withheld = false;
        let mut sent = SentRemovals::default();
        for (number, removal) in plan.removals.iter().enumerate() {
            // What was sent is reported, whatever happened since.
            if self.is_over() && sent.results.is_empty() {
                return;
            }
            if removal.is_first != first || self.renamed.contains(removal.path.as_slice()) {
                continue;
            }
            // The object counts as not tried.
            if !self.is_permitted(removal) {
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
                self.done.done += usize::from(is_counted);
                continue;
            }
            let path = &removal.path;
            let mut repeat = self.reporter.memory();
            if number >= sent.end {
                self.look(copier, Pathname::split(path).0);
                if let Some(fault) = self.foreign(path, "not deleted") {
                    self.fail_apart(removal.place, path, fault, self.state(removal.place));
                    kept = Some(path);
                    continue;
                }
                sent = self.send(copier, number);
            }
            if sent.is_lost {
                copier.lose_removal(removal, &mut repeat);
            }
            let mut known = sent.results.pop_front();
            let done = with_retries(copier, self.reporter, path, |copier| {
                known.take().unwrap_or_else(|| copier.remove(removal, &mut repeat))
            });
            match done {
                Ok(false) => {}
                Ok(true) => {
                    match (&mut self.deploy, removal.what) {
                        (Some(deploy), Removed::Entry) => deploy.forget(path),
                        // After a lost reply, the next run asks for what was in it by name.
                        (Some(deploy), Removed::Directory) if !repeat.is_uncertain() => {
                            deploy.forget_directory(path);
                        }
                        _ => {}
                    }
                    match is_counted {
                        true => self.done.done += 1,
                        // The object was a link or an empty directory; the step that removes the
                        // object itself counts it.
                        false => gone = Some(&removal.path),
                    }
                    self.done.removed += 1;
                    self.reporter.on.event(Event::Removed { path: &removal.path });
                }
                // Its parent directories cannot be removed either.
                Err(failure) => {
                    self.fail_apart(removal.place, path, failure, self.state(removal.place));
                    kept = Some(path);
                }
            }
        }
        if is_withheld {
            self.reporter.withheld(&self.causes, plan.ignores_errors);
        }
    }

    fn is_permitted(&self, removal: &Removal) -> bool {
        let place = self.plan.directories.get(removal.place).map_or(&[][..], |place| &place.path);
        self.causes.permit(place, self.plan.ignores_errors)
    }

    /// Sends the removal `number`, which is permitted, together with those that follow, if they are
    /// files. None of them depends on another one.
    fn send(&self, copier: &mut Copier<'_>, number: usize) -> SentRemovals {
        let next = self.plan.removals.iter().skip(number).take(TOGETHER);
        let above = |removal: &Removal| Pathname::split(&removal.path).0.to_vec();
        let looked = self.plan.removals.get(number).filter(|_| self.deploy.is_some()).map(above);
        let is_free = |next: &&Removal| {
            next.what == Removed::Entry
                && looked.as_ref().is_none_or(|looked| *looked == above(next))
                && self.foreign(&next.path, "").is_none()
                && next.is_first == self.plan.removals.get(number).is_some_and(|it| it.is_first)
                && !self.renamed.contains(next.path.as_slice())
                && self.is_permitted(next)
                && !self.unconfirmed.contains(&next.place)
        };
        let files: Vec<_> = next.take_while(is_free).collect();
        let all = files.len().max(1);
        let (sent, results, is_lost) = match copier.remove_together(&files) {
            // The others are sent next.
            Ok(results) if !results.is_empty() => (results.len(), results.into(), false),
            Ok(_) => (all, VecDeque::new(), false),
            Err(failure) => (all, VecDeque::from([Err(failure)]), true),
        };
        SentRemovals { end: number + sent, results, is_lost }
    }
}

/// Removals that were sent together.
#[derive(Default)]
struct SentRemovals {
    /// Number of the removal that follows the last one.
    end: usize,
    /// Results that were not reported yet; none if each removal is to be sent by itself.
    results: VecDeque<Result<bool, TreeFault>>,
    /// Whether the results were lost with the connection. The first one is then its failure.
    is_lost: bool,
}
