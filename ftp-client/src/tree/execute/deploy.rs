//! What only a deploy does. It renames instead of uploading, and writes the list after its last step.
//! It looks again at what it replaces: its plan can be hours old when a step's turn comes, and what
//! others have changed meanwhile is theirs.

use ftp_proto::{Pathname, TimeVal};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Mutex;
use std::time::Instant;

use super::{Copier, Run, with_retries};
use crate::age::{ZONES, is_about, is_old};
use crate::client::absence::Existence;
use crate::error::ErrorKind;
use crate::event::Event;
use crate::lock;
use crate::tree::copy::modified;
use crate::tree::entry::Stamp;
use crate::tree::fault::{Setting, TreeFault};
use crate::tree::local::rounds_to;
use crate::tree::manifest::{Deploy, ManifestRecord, Sum, remote};
use crate::tree::plan::{Plan, PlannedCopy};
use crate::tree::scan::Contents;

impl<'a> Run<'a> {
    /// Gives files of the target, which would be removed, the names of copies. Returns the numbers of the
    /// copies that need no upload, or must not be tried.
    pub(super) fn rename_all(&mut self, copier: &mut Copier<'_>) -> HashSet<usize> {
        let plan = self.plan;
        let (mut done, mut sent, mut paths) = (HashSet::new(), Vec::new(), Vec::new());
        for (number, copy) in plan.copies.iter().enumerate().skip(plan.apart().len()) {
            let Some(from) = copy.from.as_deref() else { continue };
            if self.is_over() || !self.may_copy(copy) {
                continue;
            }
            match self.rename(copier, copy, from) {
                Some(true) => {
                    sent.push((number, copy, from));
                    paths.push(plan.path_of(copy));
                }
                Some(false) => {}
                None => drop(done.insert(number)),
            }
        }
        if sent.is_empty() {
            return done;
        }
        // A 250 proves nothing: without its new name, a file is sent, and its old name removed.
        let shown = with_retries(copier, self.reporter, b"", |copier| copier.shown(&paths));
        let shown = shown.unwrap_or_else(|failure| {
            self.report(b"", failure);
            Vec::new()
        });
        let mut shown = shown.into_iter();
        for ((number, copy, from), path) in sent.into_iter().zip(&paths) {
            if shown.next() != Some(Existence::Present) {
                self.settle_rename(copier, copy.place, from);
                continue;
            }
            done.insert(number);
            self.done.done += 1;
            self.done.renamed += 1;
            let place = plan.directories.get(copy.place);
            self.note_written(place.map_or(&[], |place| &place.path), &copy.name);
            self.stored.push((number, copy.sum.as_ref().map(|sum| sum.identity), None));
            self.renamed.insert(from);
            self.reporter.on.event(Event::Renamed { from, path });
        }
        done
    }

    /// Renames a file of the target. Returns whether the server has confirmed it, or `None` if the copy must
    /// not be tried.
    fn rename(
        &mut self,
        copier: &mut Copier<'_>,
        copy: &'a PlannedCopy,
        from: &'a [u8],
    ) -> Option<bool> {
        // A rename removes a name.
        if !self.causes.permit(Pathname::split(from).0, self.plan.ignores_errors) {
            return Some(false);
        }
        let path = self.plan.path_of(copy);
        self.look_again(copier, Pathname::split(from).0);
        self.look_again(copier, Pathname::split(&path).0);
        if self.foreign(from, "").or_else(|| self.foreign_copy(copy)).is_some() {
            return Some(false);
        }
        // Sent once: if the server has carried it out, another user's new file can have the old name now.
        match copier.rename(from, &path) {
            Ok(is_confirmed) => Some(is_confirmed),
            Err(failure) if failure.ends_run() && failure.kind() != ErrorKind::Cancelled => {
                copier.disconnect();
                self.settle_rename(copier, copy.place, from);
                Some(false)
            }
            // The file stays uncertain, so the next run sends it.
            Err(failure) => {
                self.fail(copy.place, &path, failure, super::DirectoryState::Failed);
                None
            }
        }
    }

    /// After a rename whose reply was lost, or that was perhaps not carried out, asks whether the old name
    /// is still there: then it is removed with the other extras. If nothing tells, it stays, which is a
    /// failure.
    fn settle_rename(&mut self, copier: &mut Copier<'_>, place: usize, from: &'a [u8]) {
        let existence = with_retries(copier, self.reporter, from, |copier| {
            copier.on_target(|client, place| Ok(client.existence(Pathname::join(place.top, from))?))
        });
        let fault = match existence {
            Ok(Existence::Present) => return,
            Ok(Existence::Absent) => None,
            Ok(Existence::Unknown) => {
                let why = "not deleted: nothing shows whether it was renamed; delete it yourself";
                Some(TreeFault::item(ErrorKind::Integrity, why).about(from))
            }
            Err(fault) => Some(fault),
        };
        self.renamed.insert(from);
        if let Some(fault) = fault {
            self.fail_apart(place, from, fault, super::DirectoryState::Failed);
        }
    }

    /// Writes the list that is true from now on, unless it is as before. After a failure that ended
    /// the run, the list stays that says which files are uncertain.
    pub(super) fn write_list(&mut self, copier: &mut Copier<'_>) {
        let Some(mut deploy) = self.deploy.take().filter(|_| !self.is_over()) else { return };
        let written = self.note_stored(copier, &mut deploy).and_then(|()| {
            if !deploy.has_changed {
                return Ok(());
            }
            let list = deploy.ended();
            list.check_size()?;
            let name = deploy.name.as_slice();
            with_retries(copier, self.reporter, name, |copier| {
                copier.on_target(|client, place| {
                    let path = Pathname::join(place.top, name);
                    let theirs = match remote::read(client, &path)? {
                        // The reply to an earlier attempt was lost.
                        Ok(now) if now.generation == list.generation => return Ok(()),
                        Ok(now) if deploy.is_expected(&now) => None,
                        Ok(now) => Some(now),
                        Err(_) => None,
                    };
                    let Some(theirs) = theirs else { return remote::write(client, &path, &list) };
                    remote::write(client, &path, &theirs.after_both(self.touched()))?;
                    let text = "another deploy has changed the target meanwhile; deploy again once it has ended";
                    Err(TreeFault::item(ErrorKind::Integrity, text).about(name).never_retried())
                })
            })
        });
        if let Err(failure) = written {
            self.report(&deploy.name, failure.of(Setting::Manifest));
        }
    }

    /// Notes the files that this run has stored, with the times that the server lists now.
    fn note_stored(
        &mut self,
        copier: &mut Copier<'_>,
        deploy: &mut Deploy,
    ) -> Result<(), TreeFault> {
        let mut places: BTreeMap<usize, Vec<(&PlannedCopy, _, _)>> = BTreeMap::new();
        let plan = self.plan;
        for (number, sent, noted) in &self.stored {
            let Some(copy) = plan.copies.get(*number) else { continue };
            places.entry(copy.place).or_default().push((copy, *sent, *noted));
        }
        for (place, copies) in places {
            let Some(place) = plan.directories.get(place) else { continue };
            let listed =
                with_retries(copier, self.reporter, &place.path, |copier| copier.list(&place.path));
            let items = match listed {
                Ok(contents) => contents.items,
                Err(failure) if failure.ends_run() => return Err(failure),
                Err(_) => Vec::new(),
            };
            for (copy, sent, noted) in copies {
                let found = items.binary_search_by(|item| item.name.cmp(&copy.name));
                let found = found.ok().and_then(|at| items.get(at));
                let path = self.plan.path_of(copy);
                let Some(record) = deploy.sent.get_mut(&path) else { continue };
                // What changed before it was sent is read again: the upload has ended unchanged.
                let sum = match copy.sum.as_deref() {
                    Some(sum) if Some(sum.identity) == sent => Some(*sum),
                    _ => copier.sum(&path).ok().filter(|now| Some(now.identity) == sent),
                };
                let size = found.and_then(|found| found.size);
                let stamp = found.and_then(|found| found.stamp);
                let is_later = noted.zip(stamp).is_some_and(|(noted, stamp)| !is_of(stamp, noted));
                // A name may be listed late.
                let from = copy.from.as_deref().filter(|from| self.renamed.contains(from));
                let is_told = |sum: &Sum| match found {
                    None => from.is_none(),
                    Some(_) => size == Some(sum.size),
                };
                // Some servers list sizes and times in another form.
                let is_other = |sum: &Sum| size.is_some_and(|size| size != sum.size) || is_later;
                let is_foreign = match sum.filter(is_other) {
                    Some(sum) => self.is_foreign(copier, &path, sum.size, noted)?,
                    None => false,
                };
                if let Some(sum) = sum.filter(|sum| is_told(sum) || is_foreign) {
                    *record = ManifestRecord { size: sum.size, digest: sum.digest, ..*record };
                    let own = if is_foreign { noted.map(Stamp::at) } else { stamp };
                    deploy.stored(&path, own);
                    if let Some(from) = from {
                        deploy.take(from);
                    }
                } else {
                    // The source changed while it was sent or since, or nothing shows the file: it stays
                    // uncertain, up to this size.
                    let size = size.unwrap_or_default().max(record.size);
                    *record = ManifestRecord { size, ..record.uncertain() };
                }
            }
        }
        Ok(())
    }

    /// Returns whether the server has a file of another size or time at `path` than this run has stored,
    /// which is then another user's, and reports it.
    fn is_foreign(
        &mut self,
        copier: &mut Copier<'_>,
        path: &[u8],
        size: u64,
        noted: Option<i64>,
    ) -> Result<bool, TreeFault> {
        let asked = with_retries(copier, self.reporter, path, |copier| {
            copier.on_target(|client, place| {
                let path = Pathname::join(place.top, path);
                Ok((client.size(&path)?, modified(client, &path)?))
            })
        });
        let is_other = |time: i64| noted.is_some_and(|noted| !is_of(Stamp::at(time), noted));
        match asked {
            Err(failure) if failure.ends_run() => return Err(failure),
            Ok((now, _)) if now.is_some_and(|now| now != size) => {}
            Ok((_, time)) if time.is_some_and(is_other) => {}
            _ => return Ok(false),
        }
        let why = "changed on the server since this job stored it";
        let fault = TreeFault::item(ErrorKind::Integrity, why).about(path).never_retried();
        self.report(path, fault.of(Setting::Changed));
        Ok(true)
    }

    /// Returns the files that this run may have sent.
    fn touched(&self) -> impl Iterator<Item = (Vec<u8>, ManifestRecord)> {
        self.plan.copies.iter().filter_map(|copy| {
            let sum = copy.sum.as_ref()?;
            let (size, digest) = (sum.size, sum.digest);
            let record = ManifestRecord { size, digest, modified: None, is_new: false };
            Some((self.plan.path_of(copy), record))
        })
    }
}

/// Returns whether a listed time can be the time that was set or told, perhaps in another time zone, or
/// rounded by FAT.
fn is_of(stamp: Stamp, seconds: i64) -> bool {
    let is_zoned = |time: i64| {
        let is_far = time.abs_diff(seconds) > (ZONES / 2).unsigned_abs();
        is_far && TimeVal::from_unix_seconds(time).is_some_and(|time| is_about(time, seconds))
    };
    (stamp.earliest..=stamp.latest).contains(&seconds)
        || stamp.exact().is_some_and(|time| rounds_to(seconds, time) || is_zoned(time))
}

/// What a run of a deploy has seen of the target since its plan.
pub(super) struct LooksAtTarget {
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
        let why = format!("{what}: changed on the server since this job began");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_others_change_right_after_its_upload_has_another_time_cl_81() {
        const THEN: i64 = 1_700_000_001;
        for (time, want) in [
            (THEN, true),
            (THEN - 1, true),
            (THEN + 2, false),
            (THEN + 60, false),
            (THEN + 3_600, true),
            (THEN - 5 * 900, true),
            (THEN + 3_700, false),
            (THEN + 20 * 3_600, false),
        ] {
            assert_eq!(is_of(Stamp::at(time), THEN), want, "{time}");
        }
        assert!(is_of(Stamp::between(THEN - 30, THEN + 29), THEN));
        assert!(!is_of(Stamp::between(THEN + 1, THEN + 60), THEN));
    }
}
