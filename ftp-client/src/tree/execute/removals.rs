//! Removes what a plan removes: the sources of moved files, and the extras of the target.

use std::collections::{HashSet, VecDeque};

use super::looks::Looks;
use ftp_proto::Pathname;

use super::{Copier, DirectoryState, Run, with_retries};
use crate::age;
use crate::client::flight::TOGETHER;
use crate::error::ErrorKind;
use crate::event::Event;
use crate::tree::fault::{GONE, TreeFault, UNCERTAIN, is_below};
use crate::tree::plan::{Removal, Removed};

impl<'a> Run<'a> {
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
        let mut looks = Looks::new(plan, first);
        if looks.is_empty() || self.is_over() {
            return;
        }
        let mark = copier.mark();
        looks.mark = mark.as_ref().map(|mark| mark.name.clone());
        let is_apart = mark.is_some() || self.is_apart(copier, &mut looks);
        // The last object that could not be removed.
        let mut kept: Option<&[u8]> = None;
        let (mut is_withheld, mut gone) = (false, Vec::new());
        let mut sent = SentRemovals::default();
        for (number, removal) in plan.removals.iter().enumerate() {
            // What was sent is reported, whatever happened since.
            if (!is_apart || self.is_over()) && sent.results.is_empty() {
                break;
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
            if number >= sent.end {
                if let Some(above) = self.stays(copier, &mut looks, number) {
                    kept = Some(above);
                    continue;
                }
                if self.is_over() {
                    break;
                }
                sent = self.send(copier, &mut looks, number);
            }
            match self.remove(copier, removal, &mut sent) {
                true => gone.push(number),
                // Its parent directories cannot be removed either.
                false => kept = Some(&removal.path),
            }
        }
        drop(mark);
        if first {
            let done: HashSet<usize> = gone.iter().copied().collect();
            let left = plan.removals.iter().enumerate();
            let left = left.filter(|(number, it)| it.is_first && !done.contains(number));
            self.blocked.extend(left.map(|(_, removal)| removal.path.as_slice()));
        }
        for path in self.confirm_removals(copier, &gone) {
            if let Some(deploy) = &mut self.deploy {
                deploy.take(path);
            }
        }
        if is_withheld {
            self.reporter.withheld(&self.causes, plan.ignores_errors);
        }
    }

    /// Looks at the object of the removal `number`. If it stays, reports why, and returns its path or that
    /// of a directory above it that stays.
    fn stays(
        &mut self,
        copier: &mut Copier<'_>,
        looks: &mut Looks<'a>,
        number: usize,
    ) -> Option<&'a [u8]> {
        let removal = self.plan.removals.get(number)?;
        self.look(copier, looks, number);
        let above = looks.kept_above(&removal.path);
        let (path, number) = above.unwrap_or((&removal.path[..], number));
        let why = looks.stays.remove(&number)?;
        if let Some(why) = why {
            self.fail_apart(removal.place, path, why, self.state(removal.place));
        }
        Some(path)
    }

    /// Removes an object, or takes the result of its removal if that was sent. Reports the result, and
    /// returns whether the object is gone.
    fn remove(
        &mut self,
        copier: &mut Copier<'_>,
        removal: &Removal,
        sent: &mut SentRemovals,
    ) -> bool {
        let path = &removal.path;
        let mut known = sent.results.pop_front();
        let (mut tries, mut is_lost) = (0, sent.is_lost);
        let done = with_retries(copier, self.reporter, path, |copier| {
            tries += 1;
            if let Some(known) = known.take() {
                return known;
            }
            // Another program may have taken the name since.
            if (tries > 1 || is_lost) && is_gone(copier, removal, is_lost)? {
                return Ok(());
            }
            copier.remove(removal).inspect_err(|_| is_lost |= copier.has_lost_removal())
        });
        match done {
            Ok(()) => {
                self.done.done += 1;
                self.done.removed += 1;
                self.reporter.on.event(Event::Removed { path });
                true
            }
            Err(failure) => {
                self.fail_apart(removal.place, path, failure, self.state(removal.place));
                false
            }
        }
    }

    pub(super) fn is_permitted(&self, removal: &Removal) -> bool {
        let place = self.plan.directories.get(removal.place).map_or(&[][..], |place| &place.path);
        self.causes.permit(place, self.plan.ignores_errors)
    }

    /// Sends the removal `number`, which is permitted, together with those that follow, if they are
    /// files. None of them depends on another one.
    fn send(
        &mut self,
        copier: &mut Copier<'_>,
        looks: &mut Looks<'a>,
        number: usize,
    ) -> SentRemovals {
        let plan = self.plan;
        let is_first = plan.removals.get(number).is_some_and(|it| it.is_first);
        let mut files = Vec::new();
        for (number, next) in plan.removals.iter().enumerate().skip(number).take(TOGETHER) {
            let is_free = next.what == Removed::Entry
                && next.is_first == is_first
                && !self.renamed.contains(next.path.as_slice())
                && self.is_permitted(next)
                && !self.unconfirmed.contains(&next.place);
            if is_free {
                self.look(copier, looks, number);
            }
            let stays = looks.stays.contains_key(&number) || looks.kept_above(&next.path).is_some();
            if !is_free || self.is_over() || stays {
                break;
            }
            files.push(next);
        }
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

/// Returns whether the object of a removal that failed is gone, and fails if it is another one, or may be
/// because the reply `is_lost`.
fn is_gone(copier: &mut Copier<'_>, removal: &Removal, is_lost: bool) -> Result<bool, TreeFault> {
    // A local object is looked at when it is removed.
    if matches!(copier, Copier::Down(_)) {
        return Ok(false);
    }
    let stays =
        |why| Err(TreeFault::item(ErrorKind::Integrity, why).about(&removal.path).never_retried());
    let look = copier.look(Pathname::split(&removal.path).0, false, &[removal])?;
    match look.stays.first() {
        Some(Some(GONE)) => Ok(true),
        Some(Some(why)) => stays(*why),
        // Another program may have made the directory again, or stored a file of the same size and time.
        _ if is_lost
            && (removal.what == Removed::Directory
                || !age::is_from_before(removal.seen.exact())) =>
        {
            stays(UNCERTAIN)
        }
        _ => Ok(false),
    }
}

#[derive(Default)]
struct SentRemovals {
    /// Number of the removal that follows the last one.
    end: usize,
    /// Results that were not reported yet; none if each removal is to be sent by itself.
    results: VecDeque<Result<(), TreeFault>>,
    /// Whether the results were lost with the connection. The first one is then its failure.
    is_lost: bool,
}
