//! Asks both sides again before something is removed, and the target once more afterwards.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use ftp_proto::Pathname;

use super::{Copier, Run, with_retries};
use crate::age::is_old;
use crate::client::absence::Existence;
use crate::error::ErrorKind;
use crate::tree::fault::TreeFault;
use crate::tree::names::{AGAIN, lacking};
use crate::tree::plan::{Plan, Removal, Removed, way_to};

/// The largest number of objects of a directory that one look is about.
const SOME: usize = 2_000;

/// What was seen before removals.
pub(super) struct Looks<'a> {
    /// The numbers of the removals in each directory.
    inside: HashMap<&'a [u8], Vec<usize>>,
    /// When each directory was looked at, and the last removal that the look was about.
    at: HashMap<&'a [u8], (Instant, usize)>,
    /// Removals that must not be tried, and why; `None` if that is reported.
    pub(super) stays: HashMap<usize, Option<TreeFault>>,
    /// Directories with objects that are not removed.
    pub(super) full: HashSet<&'a [u8]>,
    /// The numbers of the directories that are removed.
    outer: HashMap<&'a [u8], usize>,
    /// The name of the file that marks the top of the source.
    pub(super) mark: Option<Vec<u8>>,
}

impl<'a> Looks<'a> {
    pub(super) fn new(plan: &'a Plan, first: bool) -> Self {
        let mut inside: HashMap<&[u8], Vec<usize>> = HashMap::new();
        let mut outer = HashMap::new();
        for (number, removal) in plan.removals.iter().enumerate() {
            if removal.is_first == first {
                inside.entry(Pathname::split(&removal.path).0).or_default().push(number);
                if removal.what == Removed::Directory {
                    outer.insert(removal.path.as_slice(), number);
                }
            }
        }
        let (at, stays, full) = (HashMap::new(), HashMap::new(), HashSet::new());
        Self { inside, at, stays, full, outer, mark: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.inside.is_empty()
    }

    /// Returns the directory above `path` that must stay, for example because the source turned out to
    /// have it, and the number of its removal. What is in it stays, too.
    pub(super) fn kept_above(&self, path: &[u8]) -> Option<(&'a [u8], usize)> {
        let mut above = Pathname::split(path).0;
        while !above.is_empty() {
            if let Some((&directory, &number)) = self.outer.get_key_value(above)
                && self.stays.contains_key(&number)
            {
                return Some((directory, number));
            }
            above = Pathname::split(above).0;
        }
        None
    }

    fn is_fresh(&self, directory: &[u8], number: usize, now: Instant) -> bool {
        let at = self.at.get(directory);
        at.is_some_and(|(at, last)| !is_old(*at, now) && number <= *last)
    }
}

/// Returns why an object must stay.
fn kept(why: &str, path: &[u8]) -> TreeFault {
    TreeFault::item(ErrorKind::Integrity, why).about(path)
}

impl<'a> Run<'a> {
    /// Looks at the directories on the way to a removal, unless that was done a moment before.
    pub(super) fn look(&mut self, copier: &mut Copier<'_>, looks: &mut Looks<'a>, number: usize) {
        let plan = self.plan;
        let Some(removal) = plan.removals.get(number) else { return };
        let place = plan.directories.get(removal.place).map_or(&[][..], |place| &place.path);
        let inner = match removal.what {
            Removed::Directory => &removal.path[..],
            Removed::Entry => Pathname::split(&removal.path).0,
        };
        let is_end = |at: &usize| *at == place.len() || inner.get(*at).is_none_or(|it| *it == b'/');
        for end in (place.len()..=inner.len()).filter(is_end) {
            let directory = inner.get(..end).unwrap_or_default();
            if !self.is_over() && !looks.is_fresh(directory, number, Instant::now()) {
                self.look_in(copier, looks, directory, end == place.len(), number);
            }
        }
        if removal.what == Removed::Directory && looks.full.contains(removal.path.as_slice()) {
            let why = "not deleted: it has objects that are not removed";
            looks.stays.entry(number).or_insert_with(|| Some(kept(why, &removal.path)));
        }
    }

    fn look_in(
        &mut self,
        copier: &mut Copier<'_>,
        looks: &mut Looks<'a>,
        directory: &'a [u8],
        is_shared: bool,
        number: usize,
    ) {
        let numbers = looks.inside.get(directory).map_or(&[][..], Vec::as_slice);
        let next = numbers.get(numbers.partition_point(|it| *it < number)..).unwrap_or_default();
        // Names of a server's source are asked for one by one.
        let most = if matches!(copier, Copier::Up(_)) { usize::MAX } else { SOME };
        let next: Vec<usize> = next.iter().copied().take(most).collect();
        let plan = self.plan;
        let removals: Vec<&Removal> =
            next.iter().filter_map(|number| plan.removals.get(*number)).collect();
        let looked = with_retries(copier, self.reporter, directory, |copier| {
            copier.look(directory, is_shared, &removals)
        });
        match looked {
            Ok(look) if looks.mark.as_ref().is_some_and(|mark| look.names.contains(mark)) => {
                self.report(directory, is_source(directory));
            }
            Ok(look) => {
                for (removal, (number, why)) in removals.iter().zip(next.iter().zip(look.stays)) {
                    if let Some(why) = why {
                        looks.stays.insert(*number, Some(kept(why, &removal.path)));
                    }
                }
                let expected: HashSet<&[u8]> =
                    removals.iter().map(|removal| Pathname::split(&removal.path).1).collect();
                let is_new = |name: &Vec<u8>| !expected.contains(&**name);
                let is_full = look.has_more || look.names.iter().any(is_new);
                match is_full {
                    true => looks.full.insert(directory),
                    false => looks.full.remove(directory),
                };
            }
            Err(failure) => {
                looks.stays.extend(next.iter().map(|number| (*number, None)));
                looks.full.insert(directory);
                let failure = failure.then("nothing deleted there");
                match next.first() {
                    Some(first) if !failure.ends_run() => {
                        looks.stays.insert(*first, Some(failure));
                    }
                    _ => self.report(directory, failure),
                }
            }
        }
        let last = if next.len() < most { None } else { next.last().copied() };
        looks.at.insert(directory, (Instant::now(), last.unwrap_or(usize::MAX)));
    }

    /// Returns whether none of the directories in which something is removed is the source itself. Else,
    /// ends the run. Where that is unknown, everything stays.
    pub(super) fn is_apart(&mut self, copier: &mut Copier<'_>, looks: &mut Looks<'a>) -> bool {
        let plan = self.plan;
        let shared = plan.directories.iter().filter(|place| place.may_be_source);
        let shared: HashSet<&[u8]> = shared.map(|place| place.path.as_slice()).collect();
        let loses = |numbers: &Vec<usize>| {
            let mut removals = numbers.iter().filter_map(|number| plan.removals.get(*number));
            removals.any(|removal| self.is_permitted(removal))
        };
        let asked = looks.inside.iter().filter(|(path, numbers)| {
            (looks.outer.contains_key(*path) || shared.contains(*path)) && loses(numbers)
        });
        let mut asked: Vec<&[u8]> = asked.map(|(path, _)| *path).collect();
        asked.sort_unstable();
        if asked.is_empty() {
            return true;
        }
        let found = with_retries(copier, self.reporter, b"", |copier| copier.source_among(&asked));
        let found = match found {
            Ok(found) => found,
            Err(failure) => {
                self.report(b"", failure.then("nothing deleted"));
                return false;
            }
        };
        for (path, found) in asked.into_iter().zip(found) {
            if found == Existence::Present {
                self.report(path, is_source(path));
                return false;
            }
            let inside = looks.inside.get(path).filter(|_| found == Existence::Unknown);
            let stays = match looks.outer.get(path) {
                Some(number) => inside.map(|_| std::slice::from_ref(number)),
                None => inside.map(Vec::as_slice),
            };
            for (at, number) in stays.unwrap_or_default().iter().enumerate() {
                let why = "not deleted: nothing shows whether it is the source itself";
                looks.stays.insert(*number, (at == 0).then(|| kept(why, path)));
            }
        }
        true
    }

    /// Lists again the directories of a server from which objects were removed: some servers confirm
    /// removals without carrying them out. Returns the paths of the objects that are gone.
    pub(super) fn confirm_removals(
        &mut self,
        copier: &mut Copier<'_>,
        gone: &[usize],
    ) -> Vec<&'a [u8]> {
        let (plan, reporter) = (self.plan, self.reporter);
        let removals = gone.iter().filter_map(|number| plan.removals.get(*number));
        let paths: HashSet<&[u8]> = removals.map(|removal| removal.path.as_slice()).collect();
        let mut inside: HashMap<&[u8], HashSet<&[u8]>> = HashMap::new();
        // What was in a directory that is gone is gone.
        for (above, name) in paths.iter().map(|path| Pathname::split(path)) {
            if !paths.contains(above) && !matches!(copier, Copier::Down(_)) {
                inside.entry(above).or_default().insert(name);
            }
        }
        let mut unproved: HashSet<Vec<u8>> = HashSet::new();
        let pause = |_: &mut Copier<'_>| {
            reporter.pause(AGAIN);
            Ok(())
        };
        let still = lacking(copier, inside, pause, |copier, (above, names)| {
            if self.is_over() {
                return Err(());
            }
            match with_retries(copier, reporter, above, |copier| copier.list(above)) {
                Ok(listed) => {
                    let listed = listed.items.into_iter().map(|item| item.name);
                    let left = listed.filter(|name| names.contains(name.as_slice()));
                    let left: Vec<_> = left.map(|name| Pathname::join(above, &name)).collect();
                    Ok(Some(left).filter(|left| !left.is_empty()))
                }
                Err(failure) => {
                    unproved.insert(above.to_vec());
                    self.report(above, failure);
                    Ok(None)
                }
            }
        });
        for path in still.unwrap_or_default().into_iter().flat_map(|(_, left)| left) {
            self.done.done = self.done.done.saturating_sub(1);
            self.done.removed = self.done.removed.saturating_sub(1);
            self.report(
                &path,
                kept("the server has confirmed its removal, but still lists it", &path),
            );
            unproved.insert(path);
        }
        let is_gone = |path: &&'a [u8]| !way_to(path).any(|it| unproved.contains(it));
        paths.into_iter().filter(is_gone).collect()
    }
}

fn is_source(path: &[u8]) -> TreeFault {
    let text = "is the source itself, which lies in the target; nothing more was done";
    TreeFault::new(ErrorKind::Usage, text).about(if path.is_empty() { b"." } else { path })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::age::LOOK;

    #[test]
    fn each_file_goes_by_a_look_of_the_last_minute_cl_52() {
        let (at, stays, full) = (HashMap::new(), HashMap::new(), HashSet::new());
        let (inside, outer) = (HashMap::new(), HashMap::new());
        let mut looks = Looks { inside, at, stays, full, outer, mark: None };
        let seen = Instant::now();
        assert!(!looks.is_fresh(b"d", 3, seen));
        looks.at.insert(b"d", (seen, 5));
        for (number, after, want) in [
            (3, LOOK / 2, true),
            (3, LOOK, false),
            // Beyond the last object that was asked for.
            (5, LOOK / 2, true),
            (6, LOOK / 2, false),
        ] {
            assert_eq!(looks.is_fresh(b"d", number, seen + after), want, "{number} {after:?}");
        }
        assert!(!looks.is_fresh(b"e", 3, seen));
    }
}
