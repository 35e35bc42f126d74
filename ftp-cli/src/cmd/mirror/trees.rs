//! Lists the two sides of a mirror for a plan.

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

/// Number of times that a directory is listed if it shows more subdirectories than its link count.
const LOOKS: usize = 3;

/// Content of a directory.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) items: Vec<TreeEntry>,
    /// Reason why an unlisted object may exist.
    pub(super) doubt: Option<String>,
    /// Whether it may contain unlisted names that begin with a dot.
    pub(super) hides: bool,
}

impl Contents {
    /// Returns whether this may be the listing of a file at `path` instead of a directory.
    pub(super) fn may_be_of_file(&self, path: &[u8]) -> bool {
        let is_it = |item: &TreeEntry| {
            item.kind == ObjectKind::File && split(&item.name).1 == split(path).1
        };
        matches!(self.items.as_slice(), [only] if is_it(only))
    }
}

/// Links among the directories of a listing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Links {
    /// Names of links.
    pub(super) names: HashSet<Vec<u8>>,
    /// Whether the others are directories.
    pub(super) proof: Proof,
}

impl Links {
    /// Returns the links of a listing that marks links itself.
    pub(super) fn marked() -> Self {
        Self { names: HashSet::new(), proof: Proof::Directory }
    }
}

/// A tree to list. Paths are relative to its top, which is the empty path.
pub(super) trait Side {
    /// Returns the content of a directory, at most `limit` objects.
    ///
    /// # Errors
    ///
    /// Returns a failure if it cannot be read completely. A failure that is not fatal concerns only
    /// this directory.
    fn list(&mut self, path: &[u8], limit: usize) -> Result<Contents, Failure>;

    /// Returns the modification time of a file in seconds since 1970-01-01T00:00:00Z, if the
    /// listing lacks it and another source is exact.
    ///
    /// # Errors
    ///
    /// Returns errors that end the connection.
    fn modified(&mut self, path: &[u8]) -> Result<Option<i64>, Failure>;

    /// Returns whether a directory without entries exists and is empty.
    ///
    /// # Errors
    ///
    /// Returns errors that end the connection.
    fn is_empty(&mut self, path: &[u8]) -> Result<bool, Failure>;

    /// Returns which listed directories are links: a server may list links as their targets.
    ///
    /// # Errors
    ///
    /// Returns a failure if it cannot be listed.
    fn links(&mut self, path: &[u8]) -> Result<Links, Failure>;

    /// Returns whether its objects are local files.
    fn is_local(&self) -> bool;

    /// Measures its clock with a test file in a directory; `None` if that is impossible there.
    ///
    /// # Errors
    ///
    /// Returns errors that end the connection.
    fn clock(&mut self, _path: &[u8]) -> Result<Option<Clock>, Failure> {
        Ok(Some(Clock::OURS))
    }

    /// Returns whether a directory stores only even seconds, like FAT, measured with a test file.
    ///
    /// # Errors
    ///
    /// Returns errors that end the connection.
    fn is_coarse(&mut self, path: &[u8]) -> Result<bool, Failure>;
}

/// A local tree; `None` if it is missing.
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
        Ok(Links::marked())
    }

    fn is_local(&self) -> bool {
        true
    }

    fn is_coarse(&mut self, path: &[u8]) -> Result<bool, Failure> {
        let directory = self.0.and_then(|top| top.below(path).ok());
        // If nothing can be written, nothing is copied.
        Ok(directory.is_some_and(|directory| directory.is_coarse().unwrap_or(false)))
    }
}

/// Returns the failure of one local object.
pub(super) fn failed(path: &[u8], error: &io::Error) -> Failure {
    let what = if path.is_empty() { ".".to_owned() } else { shown(path) };
    // A full disk is full for the next file too.
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
    /// Path of its top; empty for the login directory.
    pub(super) top: &'a [u8],
    pub(super) options: ListOptions,
    /// Content of the top, if it was listed already.
    pub(super) first: Option<Contents>,
    /// Link counts of directories by path, as far as listed.
    counts: HashMap<Vec<u8>, Option<u64>>,
}

impl<'a> RemoteTree<'a> {
    pub(super) fn new(client: &'a mut Client, top: &'a [u8], options: ListOptions) -> Self {
        Self { client, top, options, first: None, counts: HashMap::new() }
    }

    fn named(&self, path: &[u8]) -> Vec<u8> {
        join(self.top, path)
    }

    /// Returns whether the top is a file: servers report no size of a directory.
    ///
    /// # Errors
    ///
    /// Returns errors that end the connection.
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

    /// Collects a listing within limits of number and memory.
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

    /// Returns the link count of a directory, from the listing of its parent.
    fn count_of(&mut self, path: &[u8]) -> Result<Option<u64>, Failure> {
        let (above, name) = split(path);
        if let Some(count) = self.counts.get(path) {
            return Ok(*count);
        }
        // The top and the login directory have no known parent.
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
            Some(format!("cannot parse a line of its listing: {}", shown(line)))
        } else if listing.form != ListingForm::Mlsd && self.named(path).iter().any(is_special) {
            // The listing may show matches of a pattern instead of the directory.
            Some("its path has characters that servers may take for a pattern".to_owned())
        } else {
            None
        };
        let hides = !listing.shows_hidden;
        // A duplicate name would be two files in one place.
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

    /// Returns whether a directory without listed entries exists and is empty. Some servers list
    /// nothing, without an error, if the directory is missing or unreadable. Most then omit `.` and
    /// `..` too.
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

    /// Asks `LIST` for links, since some servers list links as their targets only in `MLSD`.
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
                // A directory that was created after the count is not a link.
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

/// Returns the failure of a listing: a refusal or an incomplete listing concerns only that
/// directory.
fn about(path: &[u8], error: Error) -> Failure {
    let alone = matches!(error, Error::Refused(..) | Error::Argument(_) | Error::ListingCut(_));
    let fatal = !alone;
    Failure { fatal, ..Failure::from(error).context(shown(path)) }
}

/// Returns whether servers that list with `ls` take the byte for a part of a pattern.
const fn is_special(byte: &u8) -> bool {
    matches!(byte, b'*' | b'?' | b'[' | b']' | b'{' | b'}' | b'\\')
}

/// Returns whether a failure is the server's refusal of a command.
pub(super) fn is_refused(failure: &Failure) -> bool {
    matches!(failure.exit, Exit::Refused | Exit::Temporary | Exit::Data) && !failure.fatal
}
