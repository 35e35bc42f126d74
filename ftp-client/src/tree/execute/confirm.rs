//! Writes names that the target may take for one in turn, and confirms new names by a second
//! listing before anything is removed.

use ftp_proto::Pathname;
use std::collections::HashSet;

use super::{Copier, DirectoryState, OfPath, Run, is_out_of_step, retried, with_retries};
use crate::error::ErrorKind;
use crate::tree::fault::{TreeFault, shown};
use crate::tree::names::{AGAIN, Relation, ShownNames, fold, lacking, replaced};
use crate::tree::plan::PlannedDirectory;
use crate::tree::scan::Contents;

impl<'a> Run<'a> {
    /// Remembers a name that the target did not list before.
    pub(crate) fn note_written(&mut self, directory: &'a [u8], name: &'a [u8]) {
        self.alike.note(directory, name);
        if self.notes_names {
            self.written.entry(directory).or_default().insert(name);
        }
    }

    /// Records that the target does not tell whether a name that was written is another object's.
    pub(crate) fn note_unclear(&mut self, place: usize, path: &[u8], failure: TreeFault) {
        self.fail_apart(place, path, failure, DirectoryState::Failed);
    }

    /// Checks that writing `name` replaces nothing that this run has written. Returns the failure to
    /// report if the target does not tell.
    ///
    /// # Errors
    ///
    /// Returns `Refused` if the target stores both as one object.
    pub(crate) fn check_twins(
        &self,
        copier: &mut Copier<'_>,
        directory: &[u8],
        name: &[u8],
    ) -> Result<Option<TreeFault>, TreeFault> {
        let path = Pathname::join(directory, name);
        let mut unclear = None;
        // The temporary name is written first.
        let names = copier.temporary(name).into_iter().chain([name.to_vec()]);
        for own in names {
            let alike = self.alike.written(directory, &own);
            let mut is_free = false;
            let found = replaced(alike.filter(|twin| ![name, &own].contains(twin)), |twin| {
                // One clear answer tells whether `own` is free, whichever twin it names.
                if is_free {
                    return Ok(Relation::Two);
                }
                let relation = with_retries(copier, self.reporter, &path, |copier| {
                    copier.relation(directory, twin, &own)
                })?;
                is_free = relation == Relation::Two;
                Ok::<_, TreeFault>(relation)
            })?;
            let Some((twin, relation)) = found else { continue };
            let (path, twin) = (shown(&path), shown(twin));
            if relation == Relation::One {
                let message = format!(
                    "{path}: not copied: the target stores it as the same file as {twin}; rename one of them"
                );
                return Err(TreeFault::item(ErrorKind::Refused, message));
            }
            let message = format!(
                "{path}: may be the same file as {twin} in the target; that could not be checked"
            );
            unclear = Some(TreeFault::item(ErrorKind::Integrity, message));
        }
        Ok(unclear)
    }

    /// Makes the copies with twins and those that are renames, in turn.
    pub(crate) fn copy_twins(&mut self, copier: &mut Copier<'_>) {
        let (plan, reporter) = (self.plan, self.reporter);
        let renamed = self.rename_all(copier);
        for (number, copy) in plan.copies.iter().enumerate().skip(plan.apart().len()) {
            let Some(place) = plan.directories.get(copy.place) else { continue };
            if self.is_over() || !self.may_copy(copy) || renamed.contains(&number) {
                continue;
            }
            let path = plan.path_of(copy);
            self.look_again(copier, &place.path);
            if let Some(fault) = self.foreign_copy(copy) {
                self.count_copy(number, Err(fault));
                continue;
            }
            let copied = self.check_twins(copier, &place.path, &copy.name).and_then(|unclear| {
                let copied = retried(copier, reporter, &path, is_out_of_step, |copier| {
                    let on = OfPath { on: reporter.on, path: &path };
                    copier.copy(&place.path, copy, &on)
                })?;
                unclear
                    .into_iter()
                    .for_each(|failure| self.note_unclear(copy.place, &path, failure));
                Ok(copied)
            });
            self.count_copy(number, copied);
        }
    }

    /// Lists again each directory that got new names, if something there is to be removed from
    /// either side. Reports new names that the listing lacks.
    pub(crate) fn confirm_names(&mut self, copier: &mut Copier<'_>) {
        let (plan, reporter) = (self.plan, self.reporter);
        let removes: HashSet<usize> = plan.removals.iter().map(|removal| removal.place).collect();
        let mut changed: Vec<usize> = (0..plan.directories.len()).collect();
        changed.retain(|at| plan.moves || removes.contains(at));
        let pause = |_: &mut Copier<'_>| {
            reporter.pause(AGAIN);
            Ok(())
        };
        let lacked = lacking(copier, changed, pause, |copier, at| match self.is_over() {
            true => Err(()),
            false => Ok(self.missing(copier, *at)),
        });
        for (at, missing) in lacked.unwrap_or_default() {
            self.unconfirmed.insert(at);
            let path = plan.directories.get(at).map_or(&[][..], |place| &place.path);
            let what = if plan.moves { "no source removed there" } else { "nothing deleted there" };
            for name in missing {
                let path = Pathname::join(path, name);
                // The name of a directory can lead to one of another name, which has the copies.
                let is_below = |place: &PlannedDirectory| {
                    let rest = place.path.strip_prefix(path.as_slice());
                    rest.is_some_and(|rest| matches!(rest, [] | [b'/', ..]))
                };
                let below =
                    plan.directories.iter().enumerate().filter(|(_, place)| is_below(place));
                self.unconfirmed.extend(below.map(|(at, _)| at));
                let message = format!(
                    "{}: written, but the target does not list it under this name; {what}",
                    shown(&path)
                );
                let failure = TreeFault::item(ErrorKind::Integrity, message);
                self.fail_apart(at, &path, failure, DirectoryState::Failed);
            }
        }
    }

    /// Returns the new names in a directory that a new listing does not confirm, if there are any.
    fn missing(&mut self, copier: &mut Copier<'_>, at: usize) -> Option<Vec<&'a [u8]>> {
        let plan = self.plan;
        let path = plan.directories.get(at)?.path.as_slice();
        let names = self.written.get(path)?;
        let listed = with_retries(copier, self.reporter, path, |copier| copier.list(path));
        let listed = match listed {
            Ok(Contents { items, hides, .. }) => {
                let names = items.into_iter().map(|item| (item.name, item.size)).collect();
                ShownNames { names, hides_dots: hides }
            }
            // In a directory that cannot be listed, nothing is deleted, and the size of each file
            // has been compared.
            Err(failure) if failure.is_refusal() => return None,
            Err(failure) => {
                self.fail_apart(at, path, failure, DirectoryState::Failed);
                self.unconfirmed.insert(at);
                return None;
            }
        };
        let removed = plan.removals.iter().filter(|removal| removal.place == at);
        let removed = removed.map(|removal| Pathname::split(&removal.path));
        let extras = removed.filter(|(above, _)| *above == path).map(|(_, name)| fold(name));
        let extras = extras.collect();
        let missing: Vec<_> =
            names.iter().copied().filter(|name| !listed.confirms(name, &extras)).collect();
        Some(missing).filter(|missing| !missing.is_empty())
    }
}
