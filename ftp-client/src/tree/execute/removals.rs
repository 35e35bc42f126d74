//! Removes what a plan removes: the sources of moved files, and the extras of the target.

use super::{Copier, DirectoryState, Run, is_below, with_retries};
use crate::event::Event;
use crate::tree::plan::Removed;

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

    /// Removes the extras, unless a failure holds them back.
    pub(super) fn remove_all(&mut self, copier: &mut Copier<'_>) {
        let plan = self.plan;
        // The last listed directory that turned out to be a link or empty, and was removed.
        let mut gone: Option<&[u8]> = None;
        // The last object that could not be removed.
        let mut kept: Option<&[u8]> = None;
        let mut is_withheld = false;
        for removal in &plan.removals {
            if self.is_over() {
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
                self.done.done += usize::from(is_counted);
                continue;
            }
            let path = &removal.path;
            let mut repeat = self.reporter.memory();
            let done = with_retries(copier, self.reporter, path, |copier| {
                copier.remove(removal, &mut repeat)
            });
            match done {
                Ok(false) => {}
                Ok(true) => {
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
            self.reporter.withheld(plan, &self.causes);
        }
    }
}
