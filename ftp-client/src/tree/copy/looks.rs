//! Looks at both sides again before something is removed: the plan is older, and a name that a
//! listing lacks may exist all the same.

use std::collections::HashSet;
use std::fs::File;

use ftp_proto::Pathname;

use super::{Across, Copier, Down, Up};
use crate::client::absence::Existence;
use crate::client::flight::TOGETHER;
use crate::listing::Budget;
use crate::tree::entry::ObjectKind;
use crate::tree::fault::{CHANGED, GONE, TreeFault};
use crate::tree::local::Directory;
use crate::tree::options::OBJECTS;
use crate::tree::plan::Removal;
use crate::tree::probe::{create_probe, make_remote_probe, probe_name, remove_probe};
use crate::tree::scan::{Contents, RemoteTree, Scan};

/// Why an object stays that the plan removes.
const THERE: &str = "not deleted: the source has this name";
const UNSURE: &str = "not deleted: the source does not show whether it has this name";

/// What both sides show of the objects to remove in one directory.
pub(crate) struct Look {
    /// For each of them, why it stays, if it does.
    pub(crate) stays: Vec<Option<&'static str>>,
    /// The names in the directory, if the target is a server.
    pub(crate) names: Vec<Vec<u8>>,
    pub(crate) has_more: bool,
}

/// A file in the top of a local source, until this is dropped.
pub(crate) struct Mark<'a> {
    top: &'a Directory,
    pub(crate) name: Vec<u8>,
    _held: File,
}

impl Drop for Mark<'_> {
    fn drop(&mut self) {
        let _ = self.top.remove(&self.name, false);
    }
}

impl<'a> Copier<'a> {
    /// Asks both sides about objects to remove in the directory at `path` of the target, which the
    /// source has too if `is_shared`. A local object is looked at when it is removed.
    ///
    /// # Errors
    ///
    /// Returns the failure of a question. Then nothing is known of any of the objects.
    pub(crate) fn look(
        &mut self,
        path: &[u8],
        is_shared: bool,
        removals: &[&Removal],
    ) -> Result<Look, TreeFault> {
        let mut look =
            Look { stays: vec![None; removals.len()], names: Vec::new(), has_more: false };
        let name_of = |removal: &Removal| Pathname::split(&removal.path).1.to_vec();
        if is_shared {
            let names: Vec<_> = removals
                .iter()
                .map(|removal| (name_of(removal), removal.seen.kind == ObjectKind::File))
                .collect();
            let found = self.existences(path, &names)?;
            for ((removal, stays), found) in removals.iter().zip(&mut look.stays).zip(found) {
                *stays = match found {
                    // What goes first makes way for an object of the source with this name.
                    _ if removal.is_first => None,
                    Existence::Absent => None,
                    Existence::Present => Some(THERE),
                    Existence::Unknown => Some(UNSURE),
                };
            }
        }
        if matches!(self, Self::Down(_)) {
            return Ok(look);
        }
        let Contents { items, lacks, .. } = self.list(path)?;
        for (removal, stays) in removals.iter().zip(&mut look.stays) {
            let name = name_of(removal);
            let now = items.binary_search_by(|item| item.name.cmp(&name));
            let why = match now.ok().and_then(|at| items.get(at)) {
                None => Some(GONE),
                Some(now) if removal.seen.differs(now) => Some(CHANGED),
                Some(_) => None,
            };
            *stays = stays.or(why);
        }
        look.has_more = lacks;
        look.names = items.into_iter().map(|item| item.name).collect();
        Ok(look)
    }

    /// Marks the top of a local source with a file while something is removed: a directory of the
    /// target that shows it is the source itself. Returns `None` if the source is on a server, or
    /// cannot be written to: then [`source_among`](Self::source_among) tells.
    pub(crate) fn mark(&self) -> Option<Mark<'a>> {
        let Self::Up(Up { from, .. }) = self else { return None };
        let (name, held) = create_probe(from.top).ok()?;
        Some(Mark { top: from.top, name, _held: held })
    }

    /// Returns for each of these directories of the target whether it is the top of the source: each gets a
    /// test object, and the source is asked for its name. Where none can be made, that is unknown.
    ///
    /// # Errors
    ///
    /// Returns the failures of the questions and of the connections.
    pub(crate) fn source_among(
        &mut self,
        directories: &[&[u8]],
    ) -> Result<Vec<Existence>, TreeFault> {
        let mut found = Vec::new();
        // If the connection ends, at most those of one chunk may stay.
        for directories in directories.chunks(TOGETHER) {
            let mut marks = Vec::new();
            let made = directories.iter().try_for_each(|path| self.make_probe(path, &mut marks));
            let is_file = matches!(self, Self::Down(_));
            let names = marks.iter().flatten().map(|name| (name.clone(), is_file));
            let told = made.and_then(|()| self.existences(b"", &names.collect::<Vec<_>>()));
            let mut removed = Ok(());
            for (path, name) in directories.iter().zip(&marks) {
                if let Some(name) = name {
                    removed = removed.and(self.remove_probe(path, name));
                }
            }
            removed?;
            let mut told = told?.into_iter();
            let told = marks.iter().map(|mark| mark.as_ref().and_then(|_| told.next()));
            found.extend(told.map(|told| told.unwrap_or(Existence::Unknown)));
        }
        Ok(found)
    }

    /// Adds the name of a new test object at `path` to `marks`, or `None` if none can be made.
    fn make_probe(
        &mut self,
        path: &[u8],
        marks: &mut Vec<Option<Vec<u8>>>,
    ) -> Result<(), TreeFault> {
        match self {
            Self::Down(Down { to, .. }) => {
                let made = to.top.below(path).and_then(|directory| create_probe(&directory));
                marks.push(made.ok().map(|(name, _)| name));
            }
            Self::Up(Up { to, .. }) | Self::Across(Across { to, .. }) => {
                // Known before it is made: the reply can be lost.
                let name = probe_name();
                marks.push(Some(name.clone()));
                let there = Pathname::join(to.place.top, path);
                if !make_remote_probe(to.hand.client()?, &Pathname::join(&there, &name))? {
                    marks.pop();
                    marks.push(None);
                }
            }
        }
        Ok(())
    }

    fn remove_probe(&mut self, path: &[u8], name: &[u8]) -> Result<(), TreeFault> {
        match self {
            Self::Down(Down { to, .. }) => {
                let _ = to.top.below(path).and_then(|directory| directory.remove(name, false));
            }
            Self::Up(Up { to, .. }) | Self::Across(Across { to, .. }) => {
                let made = Pathname::join(path, name);
                remove_probe(to.hand.client()?, &Pathname::join(to.place.top, &made))?;
            }
        }
        Ok(())
    }

    /// Returns for each name in the directory at `path` of the source, given with whether it is that of a
    /// file, whether the source has it.
    fn existences(
        &mut self,
        path: &[u8],
        names: &[(Vec<u8>, bool)],
    ) -> Result<Vec<Existence>, TreeFault> {
        let far = match self {
            Self::Up(Up { from, .. }) => {
                let directory =
                    from.top.below(path).map_err(|error| TreeFault::local(path, &error))?;
                let existence = |(name, _): &(Vec<u8>, bool)| match directory.has(name) {
                    Ok(true) => Existence::Present,
                    Ok(false) => Existence::Absent,
                    Err(_) => Existence::Unknown,
                };
                return Ok(names.iter().map(existence).collect());
            }
            Self::Down(Down { from, .. }) | Self::Across(Across { from, .. }) => from,
        };
        // A listing that is cut in silence is cut alike the next time.
        if far.hand.ask(|client| Ok(client.tells_absence()?))? {
            let top = Pathname::join(far.place.top, path);
            let paths: Vec<_> = names
                .iter()
                .map(|(name, is_file)| (Pathname::join(&top, name), *is_file))
                .collect();
            return far.hand.ask(|client| Ok(client.existences(&paths)?));
        }
        let limits = Budget::new().entries(OBJECTS);
        let listed =
            RemoteTree::new(&mut far.hand, far.place.top, far.place.list).list(path, limits)?;
        let shown: HashSet<&[u8]> = listed.items.iter().map(|item| item.name.as_slice()).collect();
        Ok(names
            .iter()
            .map(|(name, _)| match shown.contains(name.as_slice()) {
                true => Existence::Present,
                false if listed.doubt.is_some() => Existence::Unknown,
                false if listed.hides && name.first() == Some(&b'.') => Existence::Unknown,
                false => Existence::Absent,
            })
            .collect())
    }
}
