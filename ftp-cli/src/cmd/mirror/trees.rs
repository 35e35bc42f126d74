//! The two sides of a mirror, as far as a plan has to look at them.

use std::collections::{HashMap, HashSet};
use std::io;

use ftp_client::{Client, Error, ListLimits, ListOptions, ListingForm};

use super::entry::{self, Clock, ObjectKind, TreeEntry};
use super::local_tree::Directory;
use super::probe;
use crate::display::shown;
use crate::exit::{Exit, Failure};
use crate::remote::links::{Proof, by_list};
use crate::remote::path::{join, split};

/// How often a directory is looked at in which more directories are listed than were counted.
const LOOKS: usize = 3;

/// What is in a directory.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) items: Vec<TreeEntry>,
    /// Why something that is not there may not be taken for gone.
    pub(super) doubt: Option<String>,
    /// Whether it may hold more names that begin with a dot.
    pub(super) hides: bool,
}

impl Contents {
    /// Whether this may be the listing of a file at `path` rather than of a directory.
    pub(super) fn may_be_of_file(&self, path: &[u8]) -> bool {
        let is_it = |item: &TreeEntry| {
            item.kind == ObjectKind::File && split(&item.name).1 == split(path).1
        };
        matches!(self.items.as_slice(), [only] if is_it(only))
    }
}

/// What is known of the directories that a listing shows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Links {
    /// These are links.
    pub(super) names: HashSet<Vec<u8>>,
    /// Whether the others are directories.
    pub(super) proof: Proof,
}

impl Links {
    /// Of a listing that tells links from what they lead to.
    pub(super) fn told() -> Self {
        Self { names: HashSet::new(), proof: Proof::Directory }
    }
}

/// A tree that is looked at. Paths are from its top, which is the empty one.
pub(super) trait Side {
    /// What is in a directory, `limit` objects at most.
    ///
    /// # Errors
    ///
    /// If it cannot be read to its end. One that is not fatal is about this directory alone.
    fn list(&mut self, path: &[u8], limit: usize) -> Result<Contents, Failure>;

    /// When a file was modified, to the second, if the listing did not say it exactly and anything
    /// else does: seconds since 1970-01-01T00:00:00Z.
    ///
    /// # Errors
    ///
    /// What ends the connection.
    fn modified(&mut self, path: &[u8]) -> Result<Option<i64>, Failure>;

    /// Whether a directory in which nothing was found is there and empty.
    ///
    /// # Errors
    ///
    /// What ends the connection.
    fn is_empty(&mut self, path: &[u8]) -> Result<bool, Failure>;

    /// Which of the directories that were listed in one are none: a server may have told links from
    /// what they lead to, or not.
    ///
    /// # Errors
    ///
    /// If it cannot be listed.
    fn links(&mut self, path: &[u8]) -> Result<Links, Failure>;

    /// Whether its objects are files of this system.
    fn is_local(&self) -> bool;

    /// What its clock says, by a file that is written into a directory and removed; `None` if that
    /// cannot be done there.
    ///
    /// # Errors
    ///
    /// What ends the connection.
    fn clock(&mut self, _path: &[u8]) -> Result<Option<Clock>, Failure> {
        Ok(Some(Clock::OURS))
    }

    /// Whether it keeps only every second time in a directory, as FAT does, by such a file.
    ///
    /// # Errors
    ///
    /// What ends the connection.
    fn is_coarse(&mut self, path: &[u8]) -> Result<bool, Failure>;
}

/// A local tree; `None` if there is none.
pub(super) struct LocalTree<'a>(pub(super) Option<&'a Directory>);

impl Side for LocalTree<'_> {
    fn list(&mut self, path: &[u8], limit: usize) -> Result<Contents, Failure> {
        let Some(top) = self.0 else { return Ok(Contents::default()) };
        let items = top.below(path).and_then(|directory| directory.items(limit));
        let items = items.map_err(|error| failed(path, &error))?;
        Ok(Contents { items, doubt: None, hides: false })
    }

    fn modified(&mut self, _path: &[u8]) -> Result<Option<i64>, Failure> {
        Ok(None)
    }

    fn is_empty(&mut self, _path: &[u8]) -> Result<bool, Failure> {
        Ok(true)
    }

    fn links(&mut self, _path: &[u8]) -> Result<Links, Failure> {
        Ok(Links::told())
    }

    fn is_local(&self) -> bool {
        true
    }

    fn is_coarse(&mut self, path: &[u8]) -> Result<bool, Failure> {
        let directory = self.0.and_then(|top| top.below(path).ok());
        // Where nothing can be written, nothing is copied.
        Ok(directory.is_some_and(|directory| directory.is_coarse().unwrap_or(false)))
    }
}

/// A failure that is about one local object.
pub(super) fn failed(path: &[u8], error: &io::Error) -> Failure {
    let what = if path.is_empty() { ".".to_owned() } else { shown(path) };
    // A full disk is full for the next file, too.
    let fatal = matches!(
        error.kind(),
        io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::ReadOnlyFilesystem
    );
    Failure { fatal, ..Failure::local(what, error) }
}

/// A tree on a server.
pub(super) struct RemoteTree<'a> {
    pub(super) client: &'a mut Client,
    /// What its top is called there: nothing for the directory in which the login ended.
    pub(super) top: &'a [u8],
    pub(super) options: ListOptions,
    /// What is in the top, where that was listed already.
    pub(super) first: Option<Contents>,
    /// How many links directories have, by what commands call them, as far as that was listed.
    counts: HashMap<Vec<u8>, Option<u64>>,
}

impl<'a> RemoteTree<'a> {
    pub(super) fn new(client: &'a mut Client, top: &'a [u8], options: ListOptions) -> Self {
        Self { client, top, options, first: None, counts: HashMap::new() }
    }

    fn named(&self, path: &[u8]) -> Vec<u8> {
        join(self.top, path)
    }

    /// Whether the top is a file: of a directory, servers tell no size.
    ///
    /// # Errors
    ///
    /// What ends the connection.
    pub(super) fn is_file(&mut self) -> Result<bool, Failure> {
        let refused = |error| match error {
            Error::Refused(..) | Error::Argument(_) => Ok(false),
            error => Err(Failure::from(error)),
        };
        match self.client.stat(self.top) {
            Ok(Some(entry)) if entry.kind.is_some() => Ok(entry.is_file()),
            Ok(_) => self.client.size(self.top).map(|size| size.is_some()).or_else(refused),
            Err(error) => refused(error),
        }
    }

    /// Every listing has a bound, in number and in memory.
    fn gather(
        &mut self,
        path: &[u8],
        options: ListOptions,
        limit: usize,
    ) -> Result<ftp_client::Listing, Failure> {
        let path = self.named(path);
        let limits = ListLimits { entries: limit, ..ListLimits::default() };
        let listing = self.client.list_directory(&path, options);
        listing.and_then(|entries| entries.gather(limits)).map_err(|error| about(&path, error))
    }

    /// How many links a directory has, by the listing of the one that it lies in.
    fn count_of(&mut self, path: &[u8]) -> Result<Option<u64>, Failure> {
        let (above, name) = split(path);
        if let Some(count) = self.counts.get(path) {
            return Ok(*count);
        }
        // Of the first directory, and of the login's, nothing is told.
        if name.is_empty() {
            return Ok(None);
        }
        let above = self.by_list(above)?.map(|listing| listing.entries);
        let itself = above.into_iter().flatten().find(|entry| entry.name == name);
        let count = itself.and_then(|entry| entry.links);
        self.counts.insert(path.to_vec(), count);
        Ok(count)
    }

    fn by_list(&mut self, path: &[u8]) -> Result<Option<ftp_client::Listing>, Failure> {
        by_list(self.client, path).map_err(|error| about(path, error))
    }
}

impl Side for RemoteTree<'_> {
    fn list(&mut self, path: &[u8], limit: usize) -> Result<Contents, Failure> {
        if let Some(contents) = self.first.take_if(|_| path.is_empty()) {
            return Ok(contents);
        }
        let listing = self.gather(path, self.options, limit)?;
        let doubt = if let Some(line) = listing.unparsed.first() {
            Some(format!("of its listing this is not understood: {}", shown(line)))
        } else if listing.form != ListingForm::Mlsd && self.named(path).iter().any(is_special) {
            // What is listed then may be what a pattern matches, and not the directory.
            Some("servers take some characters in its path for a pattern".to_owned())
        } else {
            None
        };
        let hides = !listing.shows_hidden;
        // The same name twice would be two files in one place.
        let mut items: Vec<TreeEntry> = listing.entries.into_iter().map(TreeEntry::from).collect();
        entry::sort(&mut items);
        items.dedup_by(|other, one| other.name == one.name);
        Ok(Contents { items, doubt, hides })
    }

    fn modified(&mut self, path: &[u8]) -> Result<Option<i64>, Failure> {
        let path = self.named(path);
        match self.client.modified(&path) {
            Ok(time) => Ok(time.map(|time| time.unix_seconds())),
            Err(Error::Refused(..) | Error::Argument(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Some servers list nothing, and say that all went well, where there is no such directory or
    /// it must not be read. Most then lack `.` and `..`, too.
    fn is_empty(&mut self, path: &[u8]) -> Result<bool, Failure> {
        let path = self.named(path);
        let refused = |error| match error {
            Error::Refused(..) | Error::Argument(_) | Error::ListingCut(_) => Ok(false),
            error => Err(Failure::from(error)),
        };
        if self.options.form != ListingForm::List {
            match self.client.stat(&path) {
                Ok(Some(entry)) => {
                    return Ok(entry.is_dir());
                }
                Ok(None) => {}
                Err(error) => return refused(error),
            }
        }
        let options = ListOptions { all: true, form: ListingForm::List };
        let lines = match self.client.list_lines(&path, options) {
            Ok(lines) => lines,
            Err(error) => return refused(error),
        };
        let mut found = false;
        for line in lines {
            match line {
                Ok(line) => found |= line.ends_with(b" .") || line.ends_with(b" .."),
                Err(error) => return refused(error),
            }
        }
        Ok(found)
    }

    /// Some servers that list links as what they lead to in `MLSD` show them in `LIST`.
    fn links(&mut self, path: &[u8]) -> Result<Links, Failure> {
        let path = self.named(path);
        let mut looks = 1;
        loop {
            let known = self.count_of(&path)?;
            let Some(listed) = self.by_list(&path)? else {
                return Ok(Links { names: HashSet::new(), proof: Proof::None });
            };
            let directories = || listed.entries.iter().filter(|entry| entry.is_dir());
            let count = listed.itself.as_ref().map_or(known, |itself| itself.links);
            let proof = Proof::by_count(directories().count(), count);
            if proof == Proof::TooMany && looks < LOOKS {
                // A directory that was made since it was counted is no link.
                looks += 1;
                self.counts.remove(&path);
                if listed.itself.is_some() || self.count_of(&path)? != known {
                    continue;
                }
            }
            for entry in directories() {
                self.counts.insert(join(&path, &entry.name), entry.links);
            }
            let links = listed.entries.iter().filter(|entry| entry.is_link());
            let names = links.map(|entry| entry.name.clone()).collect();
            return Ok(Links { names, proof });
        }
    }

    fn is_local(&self) -> bool {
        false
    }

    fn clock(&mut self, path: &[u8]) -> Result<Option<Clock>, Failure> {
        let path = self.named(path);
        probe::clock(self.client, &path)
    }

    fn is_coarse(&mut self, path: &[u8]) -> Result<bool, Failure> {
        let path = self.named(path);
        probe::is_coarse(self.client, &path)
    }
}

/// What a listing failed with: a refusal, and one that is not whole, is about that directory alone.
fn about(path: &[u8], error: Error) -> Failure {
    let alone = matches!(error, Error::Refused(..) | Error::Argument(_) | Error::ListingCut(_));
    let fatal = !alone;
    Failure { fatal, ..Failure::from(error).about(shown(path)) }
}

/// What servers that list by `ls`, or as if, take for a part of a pattern.
const fn is_special(byte: &u8) -> bool {
    matches!(byte, b'*' | b'?' | b'[' | b']' | b'{' | b'}' | b'\\')
}

/// Whether a server said no to a command, rather than anything else going wrong.
pub(super) fn is_refused(failure: &Failure) -> bool {
    matches!(failure.exit, Exit::Refused | Exit::Temporary | Exit::Data) && !failure.fatal
}
