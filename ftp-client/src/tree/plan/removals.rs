//! Plans removals from the target (`deletes`).

use ftp_proto::Pathname;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;

use super::held::within;
use super::model::{Removal, Removed};
use super::{DEPTH, OF_JOB, Planner, name_of};
use crate::error::ErrorKind;
use crate::listing::Budget;
use crate::tree::entry::{self, ObjectKind, TreeEntry, check_name};
use crate::tree::fault::{Setting, TreeFault, shown};
use crate::tree::links::Proof;
use crate::tree::names::{fold, replaced};
use crate::tree::options::SyncOptions;
use crate::tree::scan::Links;

/// Why an object stays that the source shows only in one of its listings.
const HIDDEN: &str =
    "the source has it in LIST, but not in MLSD: perhaps a link with a missing target";

/// Largest number of names of equal [`fold`] for which the target is asked.
const SPELLINGS: usize = 16;

impl Planner<'_> {
    /// Keeps objects of the target that the source may have but does not list.
    pub(crate) fn keep_hidden(
        &mut self,
        path: &[u8],
        extra: &mut Vec<TreeEntry>,
    ) -> Result<(), TreeFault> {
        let choice = &self.wish.options.choice;
        let is_hidden = |item: &TreeEntry| {
            item.name.first() == Some(&b'.')
                && item.hidden().is_none()
                && choice(&Pathname::join(path, &item.name), item.kind == ObjectKind::Directory)
        };
        self.leave(path, extra, is_hidden, "the source may hide names that begin with a dot")
    }

    /// Keeps extras that the target may have stored for one of these names of the source, whether the
    /// run writes that name or leaves it out.
    pub(crate) fn keep_spelled<'n>(
        &mut self,
        path: &[u8],
        extra: &mut Vec<TreeEntry>,
        names: impl Iterator<Item = &'n [u8]>,
    ) -> Result<(), TreeFault> {
        // Few names share a fold, so only hashes are kept of all.
        let state = RandomState::new();
        let hash = |name: &[u8]| state.hash_one(fold(name));
        let folds: HashSet<u64> = extra.iter().map(|item| hash(&item.name)).collect();
        let mut alike: HashMap<u64, Vec<&[u8]>> = HashMap::new();
        for name in names.filter(|_| !folds.is_empty()) {
            let own = hash(name);
            if folds.contains(&own) {
                alike.entry(own).or_default().push(name);
            }
        }
        let mut kept = HashSet::new();
        for item in extra.iter().filter(|_| !alike.is_empty()) {
            let Some(names) = alike.get(&hash(&item.name)) else { continue };
            let its_path = Pathname::join(path, &item.name);
            let mut relate =
                |name: &[u8]| self.target.relation(&its_path, &Pathname::join(path, name));
            let asked = names.iter().take(SPELLINGS).copied();
            if names.len() > SPELLINGS || replaced(asked, &mut relate)?.is_some() {
                kept.insert(item.name.clone());
            }
        }
        let is_kept = |item: &TreeEntry| kept.contains(&item.name);
        self.leave(path, extra, is_kept, "the source may have it in another spelling")
    }

    /// Keeps objects of the target, and says why.
    fn leave(
        &mut self,
        path: &[u8],
        extra: &mut Vec<TreeEntry>,
        is_kept: impl Fn(&TreeEntry) -> bool,
        why: &str,
    ) -> Result<(), TreeFault> {
        for item in extra.extract_if(.., |item| is_kept(item)) {
            let path = shown(&Pathname::join(path, &item.name));
            self.plan.left_out.push(format!("{path}: not deleted: {why}"));
            self.weigh()?;
        }
        Ok(())
    }

    /// Plans the removal of objects that only the target has. Returns whether all of them can be
    /// removed.
    pub(crate) fn remove_extra(
        &mut self,
        path: &[u8],
        place: usize,
        mut extra: Vec<TreeEntry>,
        doubt: Option<TreeFault>,
        source_is_empty: bool,
    ) -> Result<bool, TreeFault> {
        let all = extra.len();
        extra.retain(|item| {
            let path = Pathname::join(path, &item.name);
            (self.wish.options.choice)(&path, item.kind == ObjectKind::Directory)
        });
        self.keep_unowned(path, &mut extra)?;
        if !extra.is_empty() {
            let names = within(self.source.names_by_list(path, self.limits()));
            let Some(names) = self.unless_failed(names)? else { return Ok(false) };
            self.leave(path, &mut extra, |item| names.contains(&item.name), HIDDEN)?;
            self.keep_spelled(path, &mut extra, names.iter().map(Vec::as_slice))?;
        }
        let are_all = extra.len() == all;
        if extra.is_empty() {
            return Ok(are_all);
        }
        if source_is_empty && !self.source.is_empty(path)? {
            let text = "the listing of the source is empty, but the source may be unreadable";
            self.doubt(path, TreeFault::item(ErrorKind::Protocol, text));
        }
        let doubt = match doubt {
            None => self.doubt_on_the_way(path)?,
            doubt => doubt,
        };
        if let Some(doubt) = doubt {
            let place = format!("{}: nothing deleted there", name_of(path));
            self.plan.failures.push(doubt.in_words(place));
            return Ok(false);
        }
        Ok(self.remove_all(path, place, extra, 1)? && are_all)
    }

    /// Returns what was asked for, or `None` after a failure that does not end the run, which is noted.
    pub(super) fn unless_failed<T>(
        &mut self,
        asked: Result<T, TreeFault>,
    ) -> Result<Option<T>, TreeFault> {
        match asked {
            Err(failure) if !failure.ends_run() => {
                self.plan.failures.push(failure);
                Ok(None)
            }
            asked => asked.map(Some),
        }
    }

    /// Plans the removal of several objects. Returns whether all of them can be removed.
    fn remove_all(
        &mut self,
        path: &[u8],
        place: usize,
        mut items: Vec<TreeEntry>,
        depth: usize,
    ) -> Result<bool, TreeFault> {
        let all = items.len();
        if depth > 1 {
            self.keep_unowned(path, &mut items)?;
        }
        let mut all_go = items.len() == all;
        entry::sort(&mut items);
        let links = match items.iter().any(|item| item.kind == ObjectKind::Directory) {
            true => self.links(path),
            false => Ok(Rc::new(Links::marked())),
        };
        let Some(links) = self.unless_failed(links)? else { return Ok(false) };
        for item in items {
            all_go &= self.remove_item(path, place, &item, &links, depth)?;
            self.weigh()?;
        }
        Ok(all_go)
    }

    /// Plans the removal of one object in the directory at `path`. Returns whether the object can
    /// be removed.
    fn remove_item(
        &mut self,
        path: &[u8],
        place: usize,
        item: &TreeEntry,
        links: &Links,
        depth: usize,
    ) -> Result<bool, TreeFault> {
        let its_path = Pathname::join(path, &item.name);
        let kind = if links.names.contains(&item.name) { ObjectKind::Link } else { item.kind };
        let choice = &self.wish.options.choice;
        if !choice(&its_path, kind == ObjectKind::Directory)
            || kind == ObjectKind::File && !self.takes_file(item, item.stamp)
        {
            return Ok(false);
        }
        if item.name == SyncOptions::MANIFEST.as_bytes()
            && self.plan.deploy.is_none()
            && !self.target.is_local()
        {
            let text = "the directory belongs to a deploy (it has a manifest); nothing was done";
            let fault = TreeFault::new(ErrorKind::Usage, text).about(&its_path);
            return Err(fault.of(Setting::Deployed));
        }
        // Two addresses, or two users, of one server can have different paths of the same directory.
        if self.wish.top.as_ref().is_some_and(|top| Some(top) == item.unique.as_ref()) {
            let text = "is in the target, but has the source's unique fact (MLST), so it may be the source; nothing was done";
            return Err(TreeFault::new(ErrorKind::Usage, text).about(&its_path));
        }
        let is_own = kind == ObjectKind::Own;
        let needed = match is_own {
            true => Some(OF_JOB.to_owned()),
            false if self.is_leftover(&its_path, item) => None,
            false => self.target.needed(&its_path, item),
        };
        if let Some(why) = needed {
            self.plan.left_out.push(format!("{}: not deleted: {why}", shown(&its_path)));
            return Ok(false);
        }
        if let Err(why) = check_target_name(&item.name, self.target.is_local()) {
            self.keep(&its_path, self.side_of_target(), why);
            return Ok(false);
        }
        let what = match kind {
            ObjectKind::Directory if depth + self.above.len() >= DEPTH => {
                self.keep(&its_path, self.side_of_target(), "is too deep");
                return Ok(false);
            }
            ObjectKind::Directory
                if !self.remove_below(place, &its_path, links.proof, depth)? =>
            {
                return Ok(false);
            }
            ObjectKind::Directory => Removed::Directory,
            ObjectKind::Unknown => {
                let why = "the listing does not show its type, or shows two";
                self.keep(&its_path, self.side_of_target(), why);
                return Ok(false);
            }
            ObjectKind::File | ObjectKind::Link | ObjectKind::Special | ObjectKind::Own => {
                Removed::Entry
            }
        };
        self.plan.removals.push(Removal::of(place, its_path, what, item));
        Ok(true)
    }

    /// Plans the removal of everything in a directory. Returns whether all of it can be removed.
    fn remove_below(
        &mut self,
        place: usize,
        path: &[u8],
        proof: Proof,
        depth: usize,
    ) -> Result<bool, TreeFault> {
        let below = self.target.list(path, self.limits());
        let below = self.count(below);
        let Some(below) = self.unless_failed(below)? else { return Ok(false) };
        if let Some(doubt) = below.doubt {
            self.plan.failures.push(doubt.with_kind(self.side_of_target()).about(path));
            return Ok(false);
        }
        if proof != Proof::Directory && !self.wish.options.no_links {
            self.hold(Budget::weight_of_name(path))?;
            self.plan.unproved.push(path.to_vec());
        }
        let held = below.weight();
        self.hold(held)?;
        self.weigh()?;
        let all_go = self.remove_all(path, place, below.items, depth + 1)?;
        self.forget_links(path);
        self.budget.release(held);
        Ok(all_go)
    }

    /// Returns the links in a directory of the target, which is listed only once.
    pub(crate) fn links(&mut self, path: &[u8]) -> Result<Rc<Links>, TreeFault> {
        if let Some(links) = self.links.get(path) {
            return Ok(Rc::clone(links));
        }
        let (above, name) = Pathname::split(path);
        let above = self.links.get(above).filter(|_| !name.is_empty());
        let count = above.and_then(|above| above.counts.get(name).copied());
        let links = Rc::new(within(self.target.links(path, count, self.limits()))?);
        self.hold(links.weight() + Budget::weight_of_name(path))?;
        self.links.insert(path.to_vec(), Rc::clone(&links));
        Ok(links)
    }
}

fn check_target_name(name: &[u8], is_local: bool) -> Result<(), &'static str> {
    match check_name(name) {
        // Local names can contain characters that FTP does not allow.
        Err(_) if is_local && !matches!(name, b"" | b"." | b"..") && !name.contains(&b'/') => {
            Ok(())
        }
        checked => checked,
    }
}
