//! Plans a deploy: the list of the target decides about each file.

use ftp_proto::Pathname;
use std::collections::HashMap;

use super::held::{TargetEntries, find};
use super::{Plan, PlannedCopy, PlannedMode, Planner, Removed};
use crate::error::ErrorKind;
use crate::file::TemporaryName;
use crate::tree::entry::{ObjectKind, Stamp, TreeEntry};
use crate::tree::fault::{Setting, TreeFault, shown};
use crate::tree::manifest::{Claim, Here, LARGEST, ManifestRecord, ManifestStep, Sum, There, step};
use crate::tree::options::Compare;
use crate::tree::plan::Difference;
use crate::tree::scan::Told;

/// The largest number of missing names that a run asks for. The others wait for the next run.
const ASKED: usize = 64;

impl Planner<'_> {
    /// Counts the list's memory, and says what it proves.
    pub(super) fn begin_deploy(&mut self) -> Result<(), TreeFault> {
        let Some(deploy) = &self.plan.deploy else { return Ok(()) };
        // A second list is written before the copies.
        let weight = 2 * deploy.list.weight();
        let (name, unsure) = (shown(&deploy.name), deploy.list.pending.len());
        let note = match (deploy.distrust, unsure) {
            (Some(why), _) => {
                Some(format!("{name} {why}: files are compared without it, and none is deleted"))
            }
            (None, 0) => None,
            (None, _) => Some(format!(
                "{name}: another deploy was interrupted, or still runs; {unsure} of its files are checked or sent again"
            )),
        };
        self.plan.left_out.extend(note);
        self.hold(weight)
    }

    /// Returns whether the list of earlier deploys decides about files.
    pub(super) fn trusts_list(&self) -> bool {
        self.plan.deploy.as_ref().is_some_and(|deploy| deploy.distrust.is_none())
    }

    /// Decides about a file that the source has, and perhaps the target.
    pub(super) fn deploy_file(
        &mut self,
        place: usize,
        path: Vec<u8>,
        mode: Option<u16>,
        mut item: TreeEntry,
        told: Told,
    ) -> Result<(), TreeFault> {
        let is_told = !matches!(told, Told::Nothing);
        let other = match told {
            Told::There(other) => Some(other),
            Told::Missing | Told::Nothing => None,
        };
        let known = self.source.sum(&path);
        let known = known.and_then(|sum| Ok((sum, self.facts(&path, Some(&sum), other.as_ref())?)));
        let (sum, mut facts) = match known {
            Ok(known) => known,
            Err(failure) if failure.ends_run() => return Err(failure),
            Err(failure) => {
                self.fail_with(place, failure);
                return Ok(());
            }
        };
        if !is_told {
            facts.2 = There::OtherSize;
        }
        item.size = Some(sum.size);
        let Some(deploy) = &mut self.plan.deploy else { return Ok(()) };
        let compares = deploy.compares;
        match (step(facts, false, deploy.replaces_changed), other) {
            (ManifestStep::Keep, Some(other)) => {
                deploy.keep(path.clone(), &sum, &other);
                self.plan.same += 1;
                let planned = mode.map(|mode| PlannedMode { place, path, mode });
                self.plan.modes.extend(planned);
            }
            (ManifestStep::Compare, Some(other)) if compares => {
                let first = self.plan.copies.len();
                let both = [item, other.clone()];
                let is_same = self.compare_both(place, path.clone(), mode, both)?;
                self.add_sum(first, &sum);
                if let Some(deploy) = self.plan.deploy.as_mut().filter(|_| is_same) {
                    deploy.keep(path, &sum, &other);
                }
            }
            (ManifestStep::Tell, _) => {
                let why = match facts.0 {
                    _ if !is_told => {
                        "not copied: the server does not tell whether it has a file of this name"
                    }
                    Claim::None => {
                        "not copied: the server has a file of this name that no earlier deploy stored"
                    }
                    _ => "not copied: changed on the server since it was deployed",
                };
                let failure = TreeFault::item(ErrorKind::Integrity, why).about(&path);
                self.fail_with(place, failure.of(Setting::Changed));
            }
            (_, other) => {
                if other.is_none() && facts.0 == Claim::Stored {
                    let what = "missing on the server: copied again";
                    self.plan.left_out.push(format!("{}: {what}", shown(&path)));
                }
                let why = match other.map(|other| other.size) {
                    None => Difference::New,
                    Some(size) if size != Some(sum.size) => Difference::Size,
                    Some(_) if facts.0 == Claim::Stored => Difference::Content,
                    Some(_) => Difference::Doubt,
                };
                let first = self.plan.copies.len();
                self.copy(place, item, why);
                self.add_sum(first, &sum);
            }
        }
        Ok(())
    }

    /// Adds the content of a file to its copy, if one was planned.
    fn add_sum(&mut self, first: usize, sum: &Sum) {
        let copies = self.plan.copies.get_mut(first..).unwrap_or_default();
        copies.iter_mut().for_each(|copy| copy.sum = Some(Box::new(*sum)));
    }

    /// Returns the facts that decide about the file at `path`. If the caller wants digests, that of
    /// the server shows a change that its listing does not.
    fn facts(
        &mut self,
        path: &[u8],
        here: Option<&Sum>,
        there: Option<&TreeEntry>,
    ) -> Result<(Claim, Here, There), TreeFault> {
        let nothing = (Claim::Unknown, Here::Absent, There::Missing);
        let Some(deploy) = &self.plan.deploy else { return Ok(nothing) };
        let mut facts = deploy.facts(path, here, there);
        let is_asked =
            facts.2 == There::AsListed && self.wish.options.compare == Some(Compare::Digest);
        if let Some(record) = deploy.record(path).filter(|_| is_asked)
            && !self.target.has_digest(path, &record.digest())?
        {
            facts.2 = There::OtherTime;
        }
        // The zone of a listing can change: with a container, or each half-year on some Windows servers.
        let record = deploy.record(path).zip(there);
        if (facts.0, facts.2) == (Claim::Stored, There::OtherTime)
            && let Some(moved) = record.and_then(|(record, there)| record.in_other_zone(there))
            && moved.size <= LARGEST as u64
            && self.target.has_content(path, &moved)?
            && let Some(deploy) = &mut self.plan.deploy
        {
            deploy.list.files.insert(path.to_vec(), moved);
            deploy.has_changed = true;
            facts.2 = There::AsListed;
        }
        Ok(facts)
    }

    /// Removes from `extra` what the list does not name, and what changed on the server.
    pub(super) fn keep_unowned(
        &mut self,
        path: &[u8],
        extra: &mut Vec<TreeEntry>,
    ) -> Result<(), TreeFault> {
        for item in std::mem::take(extra) {
            let is_owned = self.is_owned(&Pathname::join(path, &item.name), &item);
            if self.unless_failed(is_owned)? == Some(true) {
                extra.push(item);
            }
        }
        Ok(())
    }

    /// Plans to remove an object that earlier deploys have stored, before one of another type takes
    /// its name. Returns whether all of it goes.
    pub(super) fn makes_way(
        &mut self,
        path: &[u8],
        place: usize,
        other: Option<TreeEntry>,
        doubt: Option<TreeFault>,
    ) -> Result<bool, TreeFault> {
        let may_go = self.plan.deploy.is_some() && self.wish.options.deletes;
        let Some(other) = other.filter(|_| may_go) else { return Ok(false) };
        let first = self.plan.removals.len();
        let goes = self.remove_extra(path, place, vec![other], doubt, false)?;
        let removals = self.plan.removals.get_mut(first..).unwrap_or_default();
        removals.iter_mut().for_each(|removal| removal.is_first = goes);
        Ok(goes)
    }

    /// Returns whether an extra of the target may be removed, or the failure that keeps it.
    fn is_owned(&mut self, path: &[u8], item: &TreeEntry) -> Result<bool, TreeFault> {
        let Some(deploy) = &self.plan.deploy else { return Ok(true) };
        if item.kind == ObjectKind::Directory {
            return Ok(deploy.owns_below(path));
        }
        if item.kind != ObjectKind::File || deploy.is_own(path) {
            return Ok(false);
        }
        if self.is_leftover(path, item) {
            return Ok(true);
        }
        let facts = self.facts(path, None, Some(item))?;
        let Some(deploy) = &self.plan.deploy else { return Ok(true) };
        let failure = |why| Err(TreeFault::item(ErrorKind::Integrity, why).about(path));
        match step(facts, true, deploy.replaces_changed) {
            ManifestStep::Remove => Ok(true),
            // Since the interruption, another program may have taken the name.
            ManifestStep::Spare if facts.0 == Claim::Pending => failure(
                "not deleted: an interrupted run may have written it, or another program; delete it yourself",
            ),
            ManifestStep::Spare => {
                failure("not deleted: changed on the server since it was deployed")
                    .map_err(|failure| failure.of(Setting::Changed))
            }
            _ => Ok(false),
        }
    }

    /// Returns whether an extra is the temporary file of an upload that was interrupted.
    pub(super) fn is_leftover(&self, path: &[u8], item: &TreeEntry) -> bool {
        let Some(deploy) = &self.plan.deploy else { return false };
        let (above, name) = Pathname::split(path);
        let chosen = self.wish.options.temporary.as_ref();
        let temporary = chosen.cloned().unwrap_or_else(TemporaryName::standard);
        let Some(name) = temporary.file_of(name) else { return false };
        let pending = deploy.list.pending.get(&Pathname::join(above, name));
        pending.is_some_and(|pending| item.size <= Some(pending.size))
    }

    /// Notes what others can still read: what earlier deploys have stored, and is left out now, and the
    /// history of a site.
    pub(super) fn note_exposed(&mut self, path: &[u8], targets: &TargetEntries) {
        let Some(deploy) = &self.plan.deploy else { return };
        for item in targets.items() {
            let (its_path, is_directory) =
                (Pathname::join(path, &item.name), item.kind == ObjectKind::Directory);
            let is_left_out = !(self.wish.options.choice)(&its_path, is_directory);
            let what = match () {
                () if is_directory && item.name == b".git" => "others may read the history in it",
                () if is_left_out && deploy.owns(&its_path) => {
                    "left out now, but earlier deploys have stored it"
                }
                () => continue,
            };
            let note =
                format!("{}: is still in the target: {what}; remove it yourself", shown(&its_path));
            self.plan.left_out.push(note);
        }
    }

    /// Forgets listed files in and below a directory that neither side has. A listing can leave out
    /// a name, and an unlisted file would belong to nobody, so each is asked for by its name. In doubt
    /// it stays in the list, where it does no harm.
    pub(super) fn forget_missing(
        &mut self,
        path: &[u8],
        items: &[TreeEntry],
        targets: &TargetEntries,
    ) -> Result<(), TreeFault> {
        let Some(deploy) = &self.plan.deploy else { return Ok(()) };
        let missing = deploy.missing(path, |name| {
            find(items, name).is_some() || targets.had(name) || targets.may_lack(name)
        });
        for path in missing {
            if self.asked < ASKED
                && self.target.denies(&path)?
                && let Some(deploy) = &mut self.plan.deploy
            {
                deploy.forget_stored(&path);
            }
            self.asked += 1;
        }
        Ok(())
    }
}

impl Plan {
    /// Plans a rename instead of a removal and a copy of the same content.
    pub(super) fn pair_renames(&mut self) {
        let Some(deploy) = &self.deploy else { return };
        let mut free: HashMap<_, Vec<usize>> = HashMap::new();
        for (number, removal) in self.removals.iter().enumerate() {
            if let Some(ManifestRecord { size: 1.., digest, .. }) =
                deploy.list.files.get(&removal.path)
                && removal.what == Removed::Entry
                && !removal.is_first
                && !deploy.list.pending.contains_key(&removal.path)
            {
                free.entry(*digest).or_default().push(number);
            }
        }
        let is_new = |copy: &&mut PlannedCopy| {
            copy.why == Difference::New && !copy.has_twins && !copy.is_spelled
        };
        for copy in self.copies.iter_mut().filter(is_new) {
            let Some(sum) = &copy.sum else { continue };
            let number = free.get_mut(&sum.digest).and_then(Vec::pop);
            if let Some(removal) = number.and_then(|number| self.removals.get_mut(number)) {
                removal.is_renamed = true;
                copy.from = Some(removal.path.clone());
                self.bytes = self.bytes.saturating_sub(sum.size);
            }
        }
    }

    pub(super) fn note_sent(&mut self) {
        let Some(mut deploy) = self.deploy.take() else { return };
        for copy in &self.copies {
            let Some(sum) = &copy.sum else { continue };
            let time = copy.stamp.and_then(Stamp::exact).filter(|_| deploy.takes_times);
            let is_upload = copy.from.is_none();
            let path = self.path_of(copy);
            // The old file may have the size and the time that the upload is to get. Only if the
            // list has its facts can a later run tell the two apart.
            let is_old_known = !deploy.replaces_changed && deploy.list.files.contains_key(&path);
            let is_told = is_upload && (is_old_known || !copy.replaces());
            let record = ManifestRecord {
                size: sum.size,
                digest: sum.digest,
                modified: time.filter(|_| is_told).map(|time| (time, time)),
                is_new: is_upload && !deploy.takes_times && !copy.replaces(),
            };
            deploy.sent.insert(path, record);
        }
        self.deploy = Some(deploy);
    }
}
