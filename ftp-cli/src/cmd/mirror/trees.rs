//! Lists the two sides of a mirror for a plan.

use std::collections::{HashMap, HashSet};
use std::io;

use ftp_client::tree::{self, Relation};
use ftp_client::{Budget, Checksum, Client, Digest, Error, ListLimits, ListOptions, ListingForm};
use ftp_proto::Fact;

use super::entry::{self, Clock, ObjectKind, TreeEntry};
use super::local_tree::Directory;
use super::plan::OBJECTS;
use super::probe;
use crate::display::shown;
use crate::exit::{Exit, Failure};

use ftp_client::tree::links::{Proof, by_list};
use ftp_client::tree::path::{join, split};

/// Largest number of times that a directory is listed if it shows more subdirectories than its link
/// count allows.
const LOOKS: usize = 3;

/// Content of a directory.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) items: Vec<TreeEntry>,
    /// Reason why an unlisted object may exist.
    pub(super) doubt: Option<String>,
    /// Whether the directory may contain unlisted names that begin with a dot.
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
    /// Evidence that the other listed directories are real directories, if there is any.
    pub(super) proof: Proof,
}

impl Links {
    /// Returns the value for a listing that marks links itself.
    pub(super) fn marked() -> Self {
        Self { names: HashSet::new(), proof: Proof::Directory }
    }
}

/// A tree to list. Paths are relative to its top; the path of the top itself is empty.
pub(super) trait Side {
    /// Returns the content of a directory. Fails if the directory exceeds the limits.
    ///
    /// # Errors
    ///
    /// Returns a failure if the directory cannot be read completely. A failure that is not fatal
    /// concerns only this directory.
    fn list(&mut self, path: &[u8], limits: ListLimits) -> Result<Contents, Failure>;

    /// Returns the exact modification time of a file in seconds since 1970-01-01T00:00:00Z. Returns
    /// `None` if the time is available only from the listing.
    ///
    /// # Errors
    ///
    /// Returns errors that end the connection.
    fn modified(&mut self, path: &[u8]) -> Result<Option<i64>, Failure>;

    /// Returns the size of the file at `path` on a server, following links. Returns `None` if the
    /// server reports no size, as for a directory.
    ///
    /// # Errors
    ///
    /// Returns errors that end the connection.
    fn size(&mut self, _path: &[u8]) -> Result<Option<u64>, Failure> {
        Ok(None)
    }

    /// Returns whether the link at `path` on a server leads to a directory.
    ///
    /// # Errors
    ///
    /// Returns errors that end the connection.
    fn is_directory(&mut self, _path: &[u8]) -> Result<bool, Failure> {
        Ok(false)
    }

    /// Returns whether `unlisted`, which is about to be written, is the object `listed`. Both are
    /// paths in one directory.
    ///
    /// # Errors
    ///
    /// Returns errors that end the connection.
    fn relation(&mut self, _listed: &[u8], _unlisted: &[u8]) -> Result<Relation, Failure> {
        Ok(Relation::Two)
    }

    /// Returns the unique identifier of the top if a link in this tree may lead to the top.
    fn identity(&mut self) -> Option<Vec<u8>> {
        None
    }

    /// Returns whether a directory without listed entries exists and is empty.
    ///
    /// # Errors
    ///
    /// Returns errors that end the connection.
    fn is_empty(&mut self, path: &[u8]) -> Result<bool, Failure>;

    /// Returns the links among the listed directories: a server may list links as their targets.
    ///
    /// # Errors
    ///
    /// Returns a failure if the directory cannot be listed.
    fn links(&mut self, path: &[u8]) -> Result<Links, Failure>;

    /// Returns whether the objects of this tree are local files.
    fn is_local(&self) -> bool;

    /// Returns the reason to keep an object that the other side lacks, for example because another
    /// run may need the object. Returns `None` if the object may be removed.
    fn needed(&mut self, _path: &[u8], _item: &TreeEntry) -> Option<String> {
        None
    }

    /// Measures the clock of this side with a test file in a directory. Returns `None` if the clock
    /// cannot be measured in this directory.
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

    /// Returns an empty digest of an algorithm that the server offers.
    ///
    /// # Errors
    ///
    /// Returns `Unsupported` if the server offers no supported algorithm. Also returns errors that
    /// end the connection.
    fn checksum(&mut self) -> Result<Checksum, Failure> {
        Err(without_digest())
    }

    /// Returns the digest of a local file.
    ///
    /// # Errors
    ///
    /// Returns `Local` if the file cannot be read.
    fn digest(&mut self, _path: &[u8], _checksum: Checksum) -> Result<Digest, Failure> {
        Err(without_digest())
    }

    /// Returns whether the file at `path` on the server has this digest.
    ///
    /// # Errors
    ///
    /// Returns the server's refusal, and errors that end the connection.
    fn has_digest(&mut self, _path: &[u8], _digest: &Digest) -> Result<bool, Failure> {
        Err(without_digest())
    }
}

fn without_digest() -> Failure {
    Failure::new(
        Exit::Unsupported,
        "--compare hash: the server offers no digest that this program supports",
    )
}

/// A local tree; `None` if it is missing.
pub(super) struct LocalTree<'a>(pub(super) Option<&'a Directory>);

impl Side for LocalTree<'_> {
    fn list(&mut self, path: &[u8], limits: ListLimits) -> Result<Contents, Failure> {
        let Some(top) = self.0 else { return Ok(Contents::default()) };
        let items = top.below(path).and_then(|directory| directory.items(limits.entries));
        let items = items.map_err(|error| failed(path, &error))?;
        Ok(Contents { items, doubt: None, hides: false })
    }

    fn modified(&mut self, _path: &[u8]) -> Result<Option<i64>, Failure> {
        Ok(None)
    }

    fn relation(&mut self, listed: &[u8], unlisted: &[u8]) -> Result<Relation, Failure> {
        match self.0 {
            Some(top) => top.relation(listed, unlisted).map_err(|error| failed(unlisted, &error)),
            None => Ok(Relation::Two),
        }
    }

    fn identity(&mut self) -> Option<Vec<u8>> {
        self.0.and_then(Directory::identity)
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

    fn needed(&mut self, path: &[u8], item: &TreeEntry) -> Option<String> {
        if entry::is_of_move(&item.name) {
            return Some(OF_MOVE.to_owned());
        }
        if item.kind != ObjectKind::File || !entry::may_be_partial(&item.name) {
            return None;
        }
        let (above, name) = split(path);
        let directory = self.0?.below(above);
        directory.and_then(|directory| directory.hold(name)).err().map(|error| error.to_string())
    }

    fn is_coarse(&mut self, path: &[u8]) -> Result<bool, Failure> {
        let directory = self.0.and_then(|top| top.below(path).ok());
        // An unwritable directory does not matter, because nothing is copied into it.
        Ok(directory.is_some_and(|directory| directory.is_coarse().unwrap_or(false)))
    }

    fn digest(&mut self, path: &[u8], mut checksum: Checksum) -> Result<Digest, Failure> {
        let here = |error: io::Error| failed(path, &error);
        let top = self.0.ok_or_else(|| here(io::ErrorKind::NotFound.into()))?;
        let (above, name) = split(path);
        let file = top.below(above).and_then(|directory| directory.read(name)).map_err(here)?;
        let length = file.metadata().map_err(here)?.len();
        checksum.update_from(&file, length).map_err(here)?;
        Ok(checksum.finish())
    }
}

/// Returns the failure of one local object.
pub(super) fn failed(path: &[u8], error: &io::Error) -> Failure {
    let what = if path.is_empty() { ".".to_owned() } else { shown(path) };
    // With a full or read-only disk, the next file would fail too.
    let fatal = matches!(
        error.kind(),
        io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::ReadOnlyFilesystem
    );
    Failure { fatal, ..Failure::local(what, error) }
}

/// Reason to keep the files of an interrupted move: one of them may be the only copy.
const OF_MOVE: &str = "it belongs to an interrupted move";

/// A tree on a server.
pub(super) struct RemoteTree<'a> {
    pub(super) client: &'a mut Client,
    /// Path of the top; empty for the login directory.
    pub(super) top: &'a [u8],
    pub(super) options: ListOptions,
    /// Content of the top, if it was listed already.
    pub(super) first: Option<Contents>,
    /// Link counts of listed directories by path; `None` for a listing without counts.
    counts: HashMap<Vec<u8>, Option<u64>>,
}

impl<'a> RemoteTree<'a> {
    pub(super) fn new(client: &'a mut Client, top: &'a [u8], options: ListOptions) -> Self {
        Self { client, top, options, first: None, counts: HashMap::new() }
    }

    fn named(&self, path: &[u8]) -> Vec<u8> {
        join(self.top, path)
    }

    /// Returns whether the top is a file: servers report no size for a directory.
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

    /// Collects a listing, within limits on entries and memory.
    fn gather(
        &mut self,
        path: &[u8],
        options: ListOptions,
        limits: ListLimits,
    ) -> Result<ftp_client::Listing, Failure> {
        let path = self.named(path);
        let listing = self.client.list_directory(&path, options);
        listing.and_then(|entries| entries.gather(limits)).map_err(|error| about(&path, error))
    }

    /// Returns the link count of a directory, from the listing of its parent.
    fn count_of(&mut self, path: &[u8]) -> Result<Option<u64>, Failure> {
        let (above, name) = split(path);
        if let Some(count) = self.counts.get(path) {
            return Ok(*count);
        }
        // The root directory and the login directory have no known parent.
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
    fn list(&mut self, path: &[u8], limits: ListLimits) -> Result<Contents, Failure> {
        if let Some(contents) = self.first.take_if(|_| path.is_empty()) {
            return Ok(contents);
        }
        let listing = self.gather(path, self.options, limits)?;
        if let Some(line) = listing.unparsed.first().filter(|_| listing.entries.is_empty()) {
            return Err(self.client.unreadable_listing(line).into());
        }
        let doubt = if let Some(line) = listing.unparsed.first() {
            Some(format!("cannot parse a line of its listing: {}", shown(line)))
        } else if listing.form != ListingForm::Mlsd && self.named(path).iter().any(is_special) {
            // The listing may show matches of a pattern instead of the directory.
            Some("its path has characters that servers may take for a pattern".to_owned())
        } else {
            None
        };
        let hides = !listing.shows_hidden;
        // With a duplicate name, two files would have the same path.
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

    fn size(&mut self, path: &[u8]) -> Result<Option<u64>, Failure> {
        let path = self.named(path);
        match self.client.size(&path) {
            Err(Error::Refused(..) | Error::Argument(_)) => Ok(None),
            size => size.map_err(Failure::from),
        }
    }

    fn is_directory(&mut self, path: &[u8]) -> Result<bool, Failure> {
        match self.client.can_enter(self.named(path)) {
            Ok(()) => Ok(true),
            Err(Error::Refused(..) | Error::Argument(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn relation(&mut self, listed: &[u8], unlisted: &[u8]) -> Result<Relation, Failure> {
        let (listed, unlisted) = (self.named(listed), self.named(unlisted));
        relation(self.client, &listed, &unlisted)
    }

    /// If a directory is missing or unreadable, some servers send an empty listing without an
    /// error. Most of these servers also omit `.` and `..` in that case.
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

    /// Asks `LIST` for links, because some servers show links in `LIST`, but their targets in
    /// `MLSD`.
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
                // A subdirectory may have been created after the link count was read, so the
                // directory is listed again.
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

    /// Temporary files are kept: the server does not tell whether a program is writing to them.
    fn needed(&mut self, _path: &[u8], item: &TreeEntry) -> Option<String> {
        match entry::is_unfinished(&item.name) {
            true if entry::is_of_move(&item.name) => Some(OF_MOVE.to_owned()),
            true => Some("it may be a temporary file of another run".to_owned()),
            false => None,
        }
    }

    fn clock(&mut self, path: &[u8]) -> Result<Option<Clock>, Failure> {
        let path = self.named(path);
        probe::clock(self.client, &path)
    }

    fn is_coarse(&mut self, path: &[u8]) -> Result<bool, Failure> {
        let path = self.named(path);
        probe::is_coarse(self.client, &path)
    }

    fn checksum(&mut self) -> Result<Checksum, Failure> {
        Checksum::for_server(self.client)?.ok_or_else(without_digest)
    }

    fn has_digest(&mut self, path: &[u8], digest: &Digest) -> Result<bool, Failure> {
        let path = self.named(path);
        match self.client.compare_hash(&path, digest) {
            Ok(()) => Ok(true),
            Err(Error::Mismatch { .. }) => Ok(false),
            Err(error) => Err(about(&path, error)),
        }
    }
}

/// Asks a server whether two paths lead to one object. A refusal to answer proves nothing.
pub(super) fn relation(
    client: &mut Client,
    listed: &[u8],
    unlisted: &[u8],
) -> Result<Relation, Failure> {
    match tree::look(client, listed, unlisted) {
        Err(Error::Refused(..) | Error::Argument(_)) => Ok(Relation::Unclear),
        relation => relation.map_err(Failure::from),
    }
}

/// Returns the failure of a listing: a refusal or an incomplete listing concerns only that
/// directory.
fn about(path: &[u8], error: Error) -> Failure {
    let alone = matches!(error, Error::Refused(..) | Error::Argument(_) | Error::ListingCut(_));
    let fatal = !alone;
    let name = if path.is_empty() { "login directory".to_owned() } else { shown(path) };
    Failure { fatal, ..Failure::from(error).context(name) }
}

/// Returns whether servers that list with `ls` take the byte for a part of a pattern.
const fn is_special(byte: &u8) -> bool {
    matches!(byte, b'*' | b'?' | b'[' | b']' | b'{' | b'}' | b'\\')
}

/// Returns whether a failure is the server's refusal of a command.
fn is_refused(failure: &Failure) -> bool {
    matches!(failure.exit, Exit::Refused | Exit::Temporary | Exit::Data) && !failure.fatal
}

/// Asks for permissions in listings, if the server sends them only on request (`OPTS MLST`).
///
/// # Errors
///
/// Returns errors that end the connection.
pub(super) fn ask_for_modes(client: &mut Client) -> Result<(), Failure> {
    // In FEAT, an asterisk follows each fact that the server sends by default.
    if !client.features()?.has_with("MLST", "UNIX.mode") {
        return Ok(());
    }
    let facts = [Fact::Type, Fact::Size, Fact::Modify, Fact::Unique, Fact::UnixMode];
    match client.select_facts(&facts) {
        Ok(_) | Err(Error::Refused(..)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Lists the top of the source, which must be a directory.
///
/// # Errors
///
/// Returns `Refused` if the top is a file. Also returns the failures of the listing.
pub(super) fn look_at(source: &mut RemoteTree<'_>) -> Result<(), Failure> {
    match source.list(&[], Budget::default().limits(OBJECTS)) {
        Ok(contents) if contents.may_be_of_file(source.top) && source.is_file()? => {}
        Ok(contents) => {
            source.first = Some(contents);
            return Ok(());
        }
        Err(failure) if is_refused(&failure) && source.is_file()? => {}
        Err(failure) => return Err(failure),
    }
    let message = "is a file, not a directory; use ftp-cli get, or fxp without -r";
    Err(Failure::new(Exit::Refused, message))
}

/// Properties of a remote target, found before its tree is listed.
pub(super) struct TargetSeen {
    /// Whether the top must be created.
    pub(super) is_new: bool,
    /// Whether `is_new` is certain.
    pub(super) is_sure: bool,
    /// Whether the server claims to set modification times.
    pub(super) takes_times: bool,
}

/// Examines the top of a target.
///
/// # Errors
///
/// Returns the failures of the listing. A refused listing is not a failure: it means that the top
/// is missing.
pub(super) fn look_for(target: &mut RemoteTree<'_>) -> Result<TargetSeen, Failure> {
    let features = target.client.features()?;
    let takes_times = features.has("MFMT") || features.has_with("SITE", "UTIME");
    let seen = |is_new, is_sure| TargetSeen { is_new, is_sure, takes_times };
    if target.top.is_empty() || target.top == b"/" {
        return Ok(seen(false, true));
    }
    match target.list(&[], Budget::default().limits(OBJECTS)) {
        Ok(contents) => {
            let is_there = !contents.items.is_empty() || target.is_empty(&[])?;
            target.first = Some(contents);
            Ok(seen(!is_there, is_there))
        }
        Err(failure) if is_refused(&failure) => Ok(seen(true, true)),
        Err(failure) => Err(failure),
    }
}
