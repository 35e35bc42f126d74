//! Compares files of both sides by their times, and measures the clocks for it.

use super::super::compare::{Difference, Rule, Verdict, compare};
use super::{Planner, name_of};
use crate::cmd::mirror::entry::{Clock, Stamp, TreeEntry};
use crate::cmd::mirror::trees::Side;
use crate::exit::Failure;
use crate::remote::path::split;

/// Number of directories in which measuring the target's clock is tried.
const REFUSALS: usize = 4;

impl Planner<'_> {
    pub(super) fn compare(
        &mut self,
        place: usize,
        path: &[u8],
        mut item: TreeEntry,
        mut other: TreeEntry,
    ) -> Result<(), Failure> {
        let rule = self.wish.rule;
        let is_resumed = self.wish.resumes && is_shorter(&item, &other);
        let goes_by_clocks = is_resumed || rule == Rule::NotBefore && item.size == other.size;
        let [of_source, of_target] = match goes_by_clocks {
            true => [self.clock_of_source(), self.clock(path)?],
            false => [Clock::OURS; 2],
        };
        let judge = |item: &TreeEntry, other: &TreeEntry| {
            compare(&item.by(of_source), &other.by(of_target), rule)
        };
        let mut verdict = judge(&item, &other);
        if verdict == Verdict::Unclear {
            // One question about a file that may be the same is cheaper than the file.
            ask(&mut *self.source, path, &mut item)?;
            ask(&mut *self.target, path, &mut other)?;
            verdict = judge(&item, &other);
        }
        if verdict == Verdict::Differs(Difference::Time)
            && rule == Rule::SameTime
            && is_rounded(&item, &other)
            && self.is_coarse(path)?
        {
            verdict = Verdict::Same;
        }
        match verdict {
            Verdict::Same => self.plan.same += 1,
            Verdict::Differs(why) => {
                let may_continue =
                    is_resumed && is_newer(&item.by(of_source), &other.by(of_target));
                self.copy(place, item, why);
                if let Some(copy) = self.plan.copies.last_mut() {
                    copy.may_continue = may_continue;
                }
            }
            Verdict::Unclear => self.copy(place, item, Difference::Doubt),
        }
        Ok(())
    }

    /// Returns the source's clock, which is not measured: nothing is written there.
    fn clock_of_source(&self) -> Clock {
        if self.source.is_local() { Clock::OURS } else { Clock::UNKNOWN }
    }

    /// Returns the target's clock, measured if the target uses its own times: a server that reports
    /// another time zone would hide changes for hours.
    fn clock(&mut self, path: &[u8]) -> Result<Clock, Failure> {
        if let Some(clock) = self.clock {
            return Ok(clock);
        }
        let (directory, _) = split(path);
        if self.wish.is_dry {
            let note = "--dry-run does not measure the server's clock; if the clocks differ, the list of copies may be wrong";
            self.plan.left_out.push(note.to_owned());
            return Ok(*self.clock.insert(Clock::OURS));
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
                "{}: cannot measure the server's clock: files that changed up to 14 hours before their copy are copied again",
                name_of(directory)
            ));
        }
        self.refused.push(directory.to_vec());
        Ok(Clock::UNKNOWN)
    }

    /// Returns whether the target stores only even seconds at `path`.
    fn is_coarse(&mut self, path: &[u8]) -> Result<bool, Failure> {
        let (directory, _) = split(path);
        if let Some((_, is_coarse)) = self.coarse.as_ref().filter(|(at, _)| at == directory) {
            return Ok(*is_coarse);
        }
        let is_coarse = !self.wish.is_dry && self.target.is_coarse(directory)?;
        self.coarse = Some((directory.to_vec(), is_coarse));
        Ok(is_coarse)
    }
}

/// Returns whether a file of the target may be a partial copy, by its size.
fn is_shorter(source: &TreeEntry, target: &TreeEntry) -> bool {
    target.size > Some(0) && target.size < source.size
}

/// Returns whether a file of the target was written after the last change of the source.
fn is_newer(source: &TreeEntry, target: &TreeEntry) -> bool {
    source.stamp.zip(target.stamp).is_some_and(|(of_source, of_target)| {
        of_target.earliest > of_source.latest.max(source.changed.unwrap_or(i64::MIN))
    })
}

/// Returns whether the target's time is the source's as FAT rounds it: the even second next to it.
fn is_rounded(source: &TreeEntry, target: &TreeEntry) -> bool {
    let exact = |item: &TreeEntry| item.stamp.and_then(Stamp::exact);
    exact(source).zip(exact(target)).is_some_and(|(of_source, of_target)| {
        of_target % 2 == 0 && of_source.abs_diff(of_target) == 1
    })
}

/// Returns a message for a clock that differs by a minute or more.
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

/// Asks for the modification time of a file, unless it is known to the second.
fn ask(side: &mut dyn Side, path: &[u8], item: &mut TreeEntry) -> Result<(), Failure> {
    if item.stamp.and_then(Stamp::exact).is_none()
        && let Some(time) = side.modified(path)?
    {
        item.stamp = Some(Stamp::at(time));
    }
    Ok(())
}
