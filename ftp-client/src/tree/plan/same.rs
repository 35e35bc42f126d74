//! Compares files of both sides by what the listings show, or by times and digests that are asked for,
//! and measures the target's clock for this.

use ftp_proto::Pathname;

use super::held::TargetEntries;
use super::model::{Difference, Rule};
use super::{PlannedCopy, Planner, name_of};
use crate::age::now;
use crate::error::ErrorKind;
use crate::tree::entry::{Clock, ObjectKind, Stamp, TreeEntry};
use crate::tree::fault::TreeFault;
use crate::tree::local::rounds_to;
use crate::tree::scan::ask;

/// Number of directories in which measuring the target's clock is tried before giving up.
const REFUSALS: usize = 4;

/// Largest number of files whose times are asked for together.
const TOGETHER: usize = 64;

/// The earliest and the latest time that ext4 stores, in seconds; it takes them for those beyond. XFS and
/// Btrfs store fewer or more.
const OF_DISKS: (i64, i64) = (-(1 << 31), (1 << 34) - (1 << 31) - 1);

struct FilePair {
    /// The entry of the source.
    item: TreeEntry,
    /// The entry of the target.
    other: TreeEntry,
    /// The clocks of source and target.
    clocks: [Clock; 2],
    rule: Rule,
}

impl FilePair {
    fn verdict(&self) -> Verdict {
        let [item, other] = self.by_clocks();
        compare(&item, &other, self.rule)
    }

    fn by_clocks(&self) -> [TreeEntry; 2] {
        let [of_source, of_target] = self.clocks;
        [self.item.by(of_source), self.other.by(of_target)]
    }
}

impl Planner<'_> {
    /// Compares a file that both sides have, and plans a copy if the rule requires one.
    ///
    /// # Errors
    ///
    /// Returns failures that end the plan. Other failures are recorded in the plan.
    pub(crate) fn compare(
        &mut self,
        place: usize,
        path: &[u8],
        item: TreeEntry,
        other: TreeEntry,
    ) -> Result<(), TreeFault> {
        let rule = self.rule();
        let goes_by_clocks = rule == Rule::NotBefore && item.size == other.size;
        let clocks = match goes_by_clocks {
            true => [self.clock_of_source(), self.clock(path)?],
            false => [Clock::OURS; 2],
        };
        let mut pair = FilePair { item, other, clocks, rule };
        let Some(mut verdict) = self.judge(place, path, &mut pair)? else { return Ok(()) };
        if verdict == Verdict::Differs(Difference::Time)
            && rule == Rule::SameTime
            && is_rounded(&pair.item, &pair.other)
            && self.is_coarse(path)?
        {
            verdict = Verdict::Same;
        }
        let is_later = |pair: &FilePair| {
            let times = pair.item.stamp.zip(pair.other.stamp);
            times.is_some_and(|(here, there)| there.earliest > here.latest)
        };
        if verdict == Verdict::Differs(Difference::Time)
            && rule == Rule::SameTime
            && is_later(&pair)
            && self.drops_times(path)?
        {
            return self.compare(place, path, pair.item, pair.other);
        }
        self.plan_verdict(place, pair, verdict)
    }

    /// Returns the verdict on a pair. Requests digests or exact times if the listings are not
    /// enough. Returns `None` if the digests cannot be compared, after recording a failure of the
    /// file.
    fn judge(
        &mut self,
        place: usize,
        path: &[u8],
        pair: &mut FilePair,
    ) -> Result<Option<Verdict>, TreeFault> {
        let rule = pair.rule;
        let verdict = pair.verdict();
        // Equal times are not enough proof to remove the source.
        let is_doubtful =
            self.wish.options.moves && rule == Rule::SameTime && verdict == Verdict::Same;
        if rule == Rule::SameHash && verdict == Verdict::Unclear
            || is_doubtful && self.offers_digest()?
        {
            return match self.has_same_content(path) {
                Ok(true) => Ok(Some(Verdict::Same)),
                Ok(false) => Ok(Some(Verdict::Differs(Difference::Content))),
                Err(failure) if failure.ends_run() => Err(failure),
                Err(failure) => {
                    self.fail_with(place, failure);
                    Ok(None)
                }
            };
        }
        if verdict != Verdict::Unclear {
            return Ok(Some(verdict));
        }
        // If a file may be the same, asking for its time is cheaper than copying it.
        ask(&mut *self.source, path, &mut pair.item)?;
        ask(&mut *self.target, path, &mut pair.other)?;
        Ok(Some(pair.verdict()))
    }

    pub(super) fn needs_times(&self) -> bool {
        // To detect changes of a moved file, its time must be known before the download.
        self.wish.options.selection.needs_time()
            || self.wish.options.moves && !self.source.is_local()
    }

    /// Asks both sides for the times that the comparison of the next files needs. Returns the number
    /// of `items` that this covers, which is at least 1.
    pub(super) fn ask_times(
        &mut self,
        path: &[u8],
        items: &[TreeEntry],
        targets: &TargetEntries,
    ) -> Result<usize, TreeFault> {
        // The comparison of a file with the target's clock measures that clock first.
        if self.rule() == Rule::NotBefore && self.clock.is_none() {
            return Ok(1);
        }
        let mut unknown = [Vec::new(), Vec::new()];
        let mut count = 0;
        for item in items {
            let lacks = self.lacks_times(path, item, targets.get(&item.name));
            for (paths, _) in unknown.iter_mut().zip(lacks).filter(|(_, lacks)| *lacks) {
                paths.push(Pathname::join(path, &item.name));
            }
            count += 1;
            if unknown.iter().any(|paths| paths.len() == TOGETHER) {
                break;
            }
        }
        let [of_source, of_target] = unknown;
        // A single question is asked where its answer is needed.
        for (side, paths) in [(&mut self.source, of_source), (&mut self.target, of_target)] {
            if paths.len() > 1 {
                side.ask_times(paths)?;
            }
        }
        Ok(count.max(1))
    }

    /// Returns whether the comparison of a file needs times that the listings lack: that of the
    /// source's file, and that of the target's.
    fn lacks_times(&self, path: &[u8], item: &TreeEntry, other: Option<&TreeEntry>) -> [bool; 2] {
        let lacks = |item: &TreeEntry| item.stamp.and_then(Stamp::exact).is_none();
        let other = other.filter(|other| other.kind == ObjectKind::File);
        let choice = &self.wish.options.choice;
        if item.kind != ObjectKind::File || !choice(&Pathname::join(path, &item.name), false) {
            return [false; 2];
        }
        let needs_item = lacks(item) && self.needs_times();
        let rule = self.rule();
        let (Some(other), false) = (other, rule == Rule::SameHash) else {
            return [needs_item, false];
        };
        let clocks = match (rule, self.clock) {
            (Rule::NotBefore, Some(clock)) => [self.clock_of_source(), clock],
            _ => [Clock::OURS; 2],
        };
        let [of_source, of_target] = clocks;
        let is_unclear =
            compare(&item.by(of_source), &other.by(of_target), rule) == Verdict::Unclear;
        [needs_item || is_unclear && lacks(item), is_unclear && lacks(other)]
    }

    /// Counts a pair as the same, or plans its copy.
    fn plan_verdict(
        &mut self,
        place: usize,
        pair: FilePair,
        verdict: Verdict,
    ) -> Result<(), TreeFault> {
        match verdict {
            // If no digest was compared, only a new copy is enough proof.
            Verdict::Same
                if self.wish.options.moves
                    && (pair.rule == Rule::NotBefore || !self.offers_digest()?) =>
            {
                self.copy(place, pair.item, Difference::Doubt);
            }
            Verdict::Same => {
                self.plan.same += 1;
                if self.wish.options.moves {
                    self.plan.equal.push(PlannedCopy::of(place, pair.item, Difference::Doubt));
                }
            }
            Verdict::Differs(why) => self.copy(place, pair.item, why),
            Verdict::Unclear => {
                if !self.source.is_local() && pair.rule == Rule::SameTime && !self.lacks_times {
                    self.lacks_times = true;
                    let note = "the server reports no exact times of its files (MDTM), so files of equal size are copied again, changed or not; compare by size instead";
                    self.plan.left_out.push(note.to_owned());
                }
                self.copy(place, pair.item, Difference::Doubt);
            }
        }
        Ok(())
    }

    fn offers_digest(&mut self) -> Result<bool, TreeFault> {
        let far = if self.source.is_local() { &mut *self.target } else { &mut *self.source };
        match far.checksum() {
            Ok(_) => Ok(true),
            Err(failure) if failure.kind() == ErrorKind::Unsupported => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// Returns whether both sides have the same content at `path`, compared by digest.
    fn has_same_content(&mut self, path: &[u8]) -> Result<bool, TreeFault> {
        let (here, there) = match self.source.is_local() {
            true => (&mut *self.source, &mut *self.target),
            false => (&mut *self.target, &mut *self.source),
        };
        let checksum = there.checksum()?;
        let digest = here.digest(path, checksum)?;
        there.has_digest(path, &digest)
    }

    /// Returns the source's clock. The clock is not measured, because nothing is written to the
    /// source.
    fn clock_of_source(&self) -> Clock {
        if self.source.is_local() { Clock::OURS } else { Clock::UNKNOWN }
    }

    /// Returns the target's clock, which is measured once. Without the measurement, a server that
    /// reports another time zone would hide changes for hours.
    fn clock(&mut self, path: &[u8]) -> Result<Clock, TreeFault> {
        if let Some(clock) = self.clock {
            return Ok(clock);
        }
        let (directory, _) = Pathname::split(path);
        if self.wish.options.is_dry && !self.target.is_local() {
            let note = "a dry run does not measure the server's clock, so files that changed less than 14 hours before their last copy are listed too";
            self.plan.left_out.push(note.to_owned());
            return Ok(*self.clock.insert(Clock::UNKNOWN));
        }
        if self.refused.len() == REFUSALS || self.refused.iter().any(|at| at == directory) {
            return Ok(Clock::UNKNOWN);
        }
        if let Some(clock) = self.target.clock(directory)? {
            self.plan.left_out.extend(difference(clock));
            return Ok(*self.clock.insert(clock));
        }
        if self.refused.is_empty() {
            self.plan.left_out.push(format!(
                "{}: the server's clock is unknown: files that changed less than 14 hours before their last copy are copied again",
                name_of(directory)
            ));
        }
        self.refused.push(directory.to_vec());
        Ok(Clock::UNKNOWN)
    }

    fn rule(&self) -> Rule {
        match self.wish.rule {
            Rule::SameTime if self.plan.drops_times => Rule::NotBefore,
            rule => rule,
        }
    }

    /// Returns whether the target does not keep the times that it is to set, which is measured once,
    /// and only for a file that is newer there, as all would be.
    fn drops_times(&mut self, path: &[u8]) -> Result<bool, TreeFault> {
        if self.wish.options.is_dry || std::mem::replace(&mut self.has_set_time, true) {
            return Ok(false);
        }
        // A time zone is not another time.
        let error = self.target.time_error(Pathname::split(path).0)?;
        self.plan.drops_times = error.is_some_and(|seconds| seconds > 86_400);
        if self.plan.drops_times {
            let note = "the server does not set modification times, although it lists the command: a file of equal size counts as unchanged if the server's was written later";
            self.plan.left_out.push(note.to_owned());
        }
        Ok(self.plan.drops_times)
    }

    /// Returns whether the target stores only even seconds in the directory of `path`.
    fn is_coarse(&mut self, path: &[u8]) -> Result<bool, TreeFault> {
        let (directory, _) = Pathname::split(path);
        if let Some((_, is_coarse)) = self.coarse.as_ref().filter(|(at, _)| at == directory) {
            return Ok(*is_coarse);
        }
        let is_coarse = !self.wish.options.is_dry && self.target.time_error(directory)? == Some(1);
        self.coarse = Some((directory.to_vec(), is_coarse));
        Ok(is_coarse)
    }
}

/// Returns whether the target's time can be the source's time, rounded by FAT.
fn is_rounded(source: &TreeEntry, target: &TreeEntry) -> bool {
    let exact = |item: &TreeEntry| item.stamp.and_then(Stamp::exact);
    exact(source).zip(exact(target)).is_some_and(|(source, target)| rounds_to(source, target))
}

/// Returns a message if the server's clock differs from the local clock by a minute or more.
fn difference(clock: Clock) -> Option<String> {
    let between = i64::midpoint(clock.least, clock.most);
    let seconds = between.abs();
    let way = if between > 0 { "fast" } else { "slow" };
    (seconds >= 60).then(|| {
        let hours = seconds / 3_600;
        let minutes = seconds / 60 % 60;
        let seconds = seconds % 60;
        format!("the server's clock is {hours}:{minutes:02}:{seconds:02} {way}; times are adjusted")
    })
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verdict {
    Same,
    Differs(Difference),
    /// The listings do not decide: times are missing or too coarse, or contents must be compared.
    Unclear,
}

/// Compares a file with the file of the same name at the target. A file without the facts that
/// `rule` needs never counts as [`Same`](Verdict::Same).
fn compare(source: &TreeEntry, target: &TreeEntry, rule: Rule) -> Verdict {
    let (Some(here), Some(there)) = (source.size, target.size) else {
        return Verdict::Differs(Difference::Doubt);
    };
    if here != there {
        return Verdict::Differs(Difference::Size);
    }
    match rule {
        Rule::SizeOnly => return Verdict::Same,
        Rule::SameHash => return Verdict::Unclear,
        Rule::SameTime | Rule::NotBefore => {}
    }
    let (Some(of_source), Some(of_target)) = (source.stamp, target.stamp) else {
        return Verdict::Unclear;
    };
    let differs = Verdict::Differs(Difference::Time);
    match rule {
        Rule::NotBefore => {
            let changed = source.changed.unwrap_or(i64::MIN);
            if of_target.earliest > of_source.latest.max(changed) {
                // A guessed year, or a time that has not come yet, proves nothing.
                let is_doubtful = of_target.is_guess || of_target.latest > now();
                if is_doubtful { Verdict::Unclear } else { Verdict::Same }
            } else if of_target.latest <= of_source.earliest.max(changed) {
                differs
            } else {
                Verdict::Unclear
            }
        }
        _ => match (of_source.exact(), of_target.exact()) {
            (Some(here), Some(there))
                if here == there || here.clamp(OF_DISKS.0, OF_DISKS.1) == there =>
            {
                Verdict::Same
            }
            _ if of_source.latest < of_target.earliest => differs,
            _ if of_target.latest < of_source.earliest => differs,
            _ => Verdict::Unclear,
        },
    }
}

#[cfg(test)]
mod tests {
    use Difference::{Doubt, Size, Time};
    use Verdict::{Differs, Same, Unclear};

    use ftp_proto::{Modified, Precision, Zone};

    use super::*;
    use crate::tree::entry::{ObjectKind, Stamp};

    fn item(size: Option<u64>, times: Option<(i64, i64)>, changed: Option<i64>) -> TreeEntry {
        let stamp = times.map(|(earliest, latest)| Stamp::between(earliest, latest));
        TreeEntry {
            name: b"x".to_vec(),
            kind: ObjectKind::File,
            size,
            stamp,
            changed,
            unique: None,
            mode: None,
            target: None,
        }
    }

    #[test]
    fn uncertain_times_or_sizes_never_compare_as_same() {
        let file = |from, to| item(Some(5), Some((from, to)), None);
        let whole = |at| file(at, at);
        for (source, target, same_time, not_before) in [
            (whole(100), whole(100), Same, Differs(Time)),
            (whole(100), whole(101), Differs(Time), Same),
            (whole(101), whole(100), Differs(Time), Differs(Time)),
            // What ext4 stores of the years 1850 and 2500, and of others.
            (whole(-3_786_825_600), whole(-2_147_483_648), Same, Same),
            (whole(16_725_225_600), whole(15_032_385_535), Same, Differs(Time)),
            (whole(16_725_225_600), whole(15_032_385_534), Differs(Time), Differs(Time)),
            // A minute of LIST that contains the second, and one that does not.
            (file(60, 119), whole(100), Unclear, Unclear),
            (file(60, 119), whole(120), Differs(Time), Same),
            (whole(100), file(60, 119), Unclear, Unclear),
            (whole(59), file(60, 119), Differs(Time), Same),
            (whole(120), file(60, 119), Differs(Time), Differs(Time)),
            // Times in the same minute may differ in their seconds.
            (file(60, 119), file(60, 119), Unclear, Unclear),
            (item(Some(5), None, None), whole(1), Unclear, Unclear),
            (whole(1), item(Some(5), None, None), Unclear, Unclear),
            (item(Some(4), Some((1, 1)), None), whole(1), Differs(Size), Differs(Size)),
            (item(None, Some((1, 1)), None), whole(1), Differs(Doubt), Differs(Doubt)),
            (whole(1), item(None, Some((1, 1)), None), Differs(Doubt), Differs(Doubt)),
        ] {
            let shown = format!("{source:?} {target:?}");
            assert_eq!(compare(&source, &target, Rule::SameTime), same_time, "{shown}");
            assert_eq!(compare(&source, &target, Rule::NotBefore), not_before, "{shown}");
        }
    }

    #[test]
    fn neither_a_guessed_year_nor_a_time_to_come_proves_a_newer_target_cl_52() {
        let source = item(Some(5), Some((100, 100)), None);
        let listed = |precision| {
            let time = ftp_proto::TimeVal::parse(b"20200102030400").unwrap();
            let stamp = Stamp::from(Modified { time, precision, zone: Zone::Unknown });
            TreeEntry { stamp: Some(stamp), ..item(Some(5), None, None) }
        };
        assert_eq!(compare(&source, &listed(Precision::Minute), Rule::NotBefore), Unclear);
        assert_eq!(compare(&source, &listed(Precision::Day), Rule::NotBefore), Same);
        let clock = Clock { least: 0, most: 5 };
        let minute = listed(Precision::Minute).by(clock);
        assert_eq!(compare(&source, &minute, Rule::NotBefore), Unclear);
        let now = now();
        for (at, want) in [(now - 1, Same), (now + 3_600, Unclear)] {
            let target = item(Some(5), Some((at, at)), None);
            assert_eq!(compare(&source, &target, Rule::NotBefore), want);
        }
    }

    #[test]
    fn an_old_file_moved_in_after_the_copy_counts_as_changed() {
        let source = item(Some(5), Some((100, 100)), Some(300));
        for (at, want) in [(299, Differs(Time)), (300, Differs(Time)), (301, Same)] {
            let target = item(Some(5), Some((at, at)), None);
            assert_eq!(compare(&source, &target, Rule::NotBefore), want);
        }
        let same = item(Some(5), Some((100, 100)), None);
        assert_eq!(compare(&source, &same, Rule::SameTime), Same);
    }

    #[test]
    fn size_only_ignores_times() {
        let target = |size| item(size, None, None);
        let source = item(Some(5), Some((1, 1)), None);
        assert_eq!(compare(&source, &target(Some(5)), Rule::SizeOnly), Same);
        assert_eq!(compare(&source, &target(Some(6)), Rule::SizeOnly), Differs(Size));
        assert_eq!(compare(&source, &target(None), Rule::SizeOnly), Differs(Doubt));
    }
}
