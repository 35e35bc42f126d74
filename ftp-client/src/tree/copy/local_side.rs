//! The local side of a synchronization.

use ftp_proto::Pathname;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::error::ErrorKind as FaultKind;
use crate::system::OsStrExt;
use crate::tree::entry::{TreeEntry, may_be_partial};
use crate::tree::fault::{CHANGED, GONE, TreeFault};
use crate::tree::local::{Backup, Directory};
use crate::tree::names::Relation;
use crate::tree::plan::{PlannedLink, Removal, Removed};

/// The reason if no path leads to an open directory.
const NO_PROC: &str = "cannot be written safely, because /proc is not mounted";

/// An open directory, with its path from the top, and a path that leads to it, if there is one.
type OpenDirectory = (Vec<u8>, Directory, Option<PathBuf>);

pub(crate) struct LocalSide<'a> {
    pub(super) top: &'a Directory,
    pub(crate) backup: Option<&'a Backup>,
    /// The path of the tree as the caller wrote it.
    pub(super) here: &'a Path,
    /// The last used directory, which stays open while files in it are copied.
    held: Option<OpenDirectory>,
}

impl<'a> LocalSide<'a> {
    pub(crate) fn new(top: &'a Directory, here: &'a Path, backup: Option<&'a Backup>) -> Self {
        Self { top, backup, here, held: None }
    }

    pub(crate) fn link(&mut self, path: &[u8], link: &PlannedLink) -> Result<(), TreeFault> {
        let below = Pathname::join(path, &link.name);
        let here = |error: io::Error| TreeFault::local(&below, &error);
        let backup = self.backup.filter(|_| link.replaces);
        let directory = self.directory(path)?;
        if let Some(backup) = backup {
            backup.take(directory, path, &link.name).map_err(here)?;
        }
        let replaces = link.replaces && backup.is_none();
        directory.link(&link.name, &link.link, replaces).map_err(here)
    }

    pub(crate) fn relation(&self, listed: &[u8], unlisted: &[u8]) -> Result<Relation, TreeFault> {
        self.top.relation(listed, unlisted).map_err(|error| TreeFault::local(unlisted, &error))
    }

    pub(crate) fn set_mode(&mut self, path: &[u8], mode: u16) -> Result<(), TreeFault> {
        let (above, name) = Pathname::split(path);
        let set = self.directory(above)?.set_mode(name, mode);
        set.map_err(|error| TreeFault::local(path, &error))
    }

    pub(crate) fn directory(&mut self, path: &[u8]) -> Result<&Directory, TreeFault> {
        self.hold(path).map(|(_, directory, _)| directory)
    }

    /// Returns the directory at `path`, and a path that leads to it: through the open directory, so
    /// that it cannot lead out of the tree.
    ///
    /// # Errors
    ///
    /// Returns the system's errors, and an error without `/proc`: a path by names would lead out of
    /// the tree as soon as somebody swaps a directory for a link.
    pub(crate) fn directory_and_path(
        &mut self,
        path: &[u8],
    ) -> Result<(&Directory, &Path), TreeFault> {
        let here = self.here;
        match self.hold(path)? {
            (_, directory, Some(inside)) => Ok((directory, inside)),
            (_, _, None) => {
                let error = io::Error::new(ErrorKind::Unsupported, NO_PROC);
                Err(TreeFault::local(here.as_os_str().as_bytes(), &error).ending(true))
            }
        }
    }

    /// Opens the directory at `path`, if it is not the last used one.
    fn hold(&mut self, path: &[u8]) -> Result<&OpenDirectory, TreeFault> {
        let last = self.held.take().filter(|(held, ..)| held == path);
        let held = match last {
            Some(held) => held,
            None => {
                let below = self.top.below(path);
                let directory = below.map_err(|error| TreeFault::local(path, &error))?;
                let inside = directory.path();
                (path.to_vec(), directory, inside)
            }
        };
        Ok(self.held.insert(held))
    }

    pub(crate) fn make(&self, path: &[u8]) -> Result<(), TreeFault> {
        let (above, name) = Pathname::split(path);
        let made = self.top.below(above).and_then(|directory| directory.make(name));
        made.map_err(|error| TreeFault::local(path, &error))
    }

    pub(crate) fn remove(&self, removal: &Removal) -> Result<(), TreeFault> {
        let here = |error: io::Error| TreeFault::local(&removal.path, &error);
        let (path, name) = Pathname::split(&removal.path);
        let is_directory = removal.what == Removed::Directory;
        let directory = self.top.below(path).map_err(here)?;
        let why = match directory.found(name).map_err(here)? {
            // In the meantime, a copy may have renamed this partial file to its final name.
            None if may_be_partial(name) => return Ok(()),
            None => Some(GONE),
            Some(found) if removal.seen.differs(&TreeEntry::local(name, &found)) => Some(CHANGED),
            Some(_) => None,
        };
        if let Some(why) = why {
            return Err(TreeFault::item(FaultKind::Integrity, why).about(&removal.path));
        }
        // A run that began after the plan was made may be writing to the file.
        let held = match !is_directory && may_be_partial(name) {
            true => directory.hold(name).map_err(here)?,
            false => None,
        };
        let gone = match self.backup.filter(|_| !is_directory) {
            Some(backup) => backup.take(&directory, path, name),
            None => directory.remove(name, is_directory),
        };
        drop(held);
        gone.map_err(here)
    }
}
