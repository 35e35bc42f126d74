//! Lists the two sides of a mirror for a plan.

mod remote;

use std::collections::{HashMap, HashSet};
use std::fs::Metadata;
use std::io;

use ftp_proto::{HiddenFile, Pathname};

pub(crate) use self::remote::{RemoteTree, TargetSeen, look_at, look_for};
use super::entry::{self, Clock, ObjectKind, Stamp, TreeEntry};
use super::fault::{Setting, TreeFault};
use super::links::Proof;
use super::local::Directory;
use super::manifest::{ManifestRecord, Sum, first_32};
use super::names::Relation;
use crate::digest::{Checksum, Digest, HashAlgorithm};
use crate::error::ErrorKind;
use crate::file::journal::LocalFacts;
use crate::listing::Budget;

#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) items: Vec<TreeEntry>,
    /// Reason why an unlisted object may exist.
    pub(crate) doubt: Option<TreeFault>,
    /// Whether that reason is a line that cannot be parsed: an object that exists is missing.
    pub(crate) lacks: bool,
    /// Whether the directory may contain unlisted names that begin with a dot.
    pub(crate) hides: bool,
}

impl Contents {
    /// Returns the memory of the entries in bytes.
    pub(crate) fn weight(&self) -> usize {
        self.items.iter().map(|item| item.weight() + Budget::weight_of_name(&[])).sum()
    }

    pub(crate) fn may_be_of_file(&self, path: &[u8]) -> bool {
        let is_it = |item: &TreeEntry| {
            item.kind == ObjectKind::File
                && Pathname::split(&item.name).1 == Pathname::split(path).1
        };
        matches!(self.items.as_slice(), [only] if is_it(only))
    }
}

/// What a server tells about a name that a listing does not show.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    There(TreeEntry),
    Missing,
    /// It does not answer.
    Nothing,
}

/// Links among the directories of a listing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Links {
    pub(crate) names: HashSet<Vec<u8>>,
    /// Link counts of the directories; `None` for a listing without counts.
    pub(crate) counts: HashMap<Vec<u8>, Option<u64>>,
    /// Evidence that the other listed directories are real directories, if there is any.
    pub(crate) proof: Proof,
}

impl Links {
    /// Returns the value for a listing that marks links itself.
    pub(crate) fn marked() -> Self {
        Self { proof: Proof::Directory, ..Self::unproved() }
    }

    /// Returns the value for a directory that cannot be listed.
    fn unproved() -> Self {
        Self { names: HashSet::new(), counts: HashMap::new(), proof: Proof::None }
    }
}

/// A tree to list. Paths are relative to its top; the path of the top itself is empty.
pub(crate) trait Scan {
    /// Returns the content of a directory. Fails if the directory exceeds the limits.
    ///
    /// # Errors
    ///
    /// Returns a failure if the directory cannot be read completely. A failure that is not fatal
    /// concerns only this directory.
    fn list(&mut self, path: &[u8], limits: Budget) -> Result<Contents, TreeFault>;

    /// Returns the exact modification time of a file in seconds since 1970-01-01T00:00:00Z. Returns
    /// `None` if the time is available only from the listing.
    ///
    /// # Errors
    ///
    /// Returns errors that end the connection.
    fn modified(&mut self, path: &[u8]) -> Result<Option<i64>, TreeFault>;

    /// Asks for the modification times of several files at once, if that saves time: the next calls
    /// of [`modified`](Self::modified) for these paths then know the answers.
    ///
    /// # Errors
    ///
    /// Returns errors that end the connection.
    fn ask_times(&mut self, _paths: Vec<Vec<u8>>) -> Result<(), TreeFault> {
        Ok(())
    }

    /// Returns the size of the file at `path` on a server, following links. Returns `None` if the
    /// server reports no size, as for a directory.
    ///
    /// # Errors
    ///
    /// Returns errors that end the connection.
    fn size(&mut self, _path: &[u8]) -> Result<Option<u64>, TreeFault> {
        Ok(None)
    }

    /// Asks a server for the file at `path`, which a listing does not show, but which may be there.
    ///
    /// # Errors
    ///
    /// Returns errors that end the connection.
    fn seek(&mut self, _path: &[u8]) -> Result<Told, TreeFault> {
        Ok(Told::Missing)
    }

    /// Returns whether the server, asked for it by name, says that there is no object at `path`.
    ///
    /// # Errors
    ///
    /// Returns errors that end the connection.
    fn denies(&mut self, _path: &[u8]) -> Result<bool, TreeFault> {
        Ok(false)
    }

    /// Returns whether `path`, a link or a name that a listing does not show, leads to a directory of
    /// a server.
    ///
    /// # Errors
    ///
    /// Returns errors that end the connection.
    fn is_directory(&mut self, _path: &[u8]) -> Result<bool, TreeFault> {
        Ok(false)
    }

    /// Returns whether `unlisted`, which is about to be written, is the object `listed`. Both are
    /// paths in one directory.
    ///
    /// # Errors
    ///
    /// Returns errors that end the connection.
    fn relation(&mut self, _listed: &[u8], _unlisted: &[u8]) -> Result<Relation, TreeFault> {
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
    fn is_empty(&mut self, _path: &[u8]) -> Result<bool, TreeFault> {
        Ok(true)
    }

    /// Returns the names in a directory by `LIST`, if [`list`](Self::list) uses `MLSD`: some servers
    /// leave links with a missing target out of `MLSD`, for example to a disk that is not mounted. A
    /// server that refuses `LIST` has no other names.
    ///
    /// # Errors
    ///
    /// Returns a failure if the listing is incomplete, or a line cannot be parsed.
    fn names_by_list(
        &mut self,
        _path: &[u8],
        _limits: Budget,
    ) -> Result<HashSet<Vec<u8>>, TreeFault> {
        Ok(HashSet::new())
    }

    /// Returns the links among the listed directories: a server may list links as their targets.
    /// `count` is the link count of the directory itself, if the directory above it was listed.
    ///
    /// # Errors
    ///
    /// Returns a failure if the directory cannot be listed.
    fn links(
        &mut self,
        _path: &[u8],
        _count: Option<Option<u64>>,
        _limits: Budget,
    ) -> Result<Links, TreeFault> {
        Ok(Links::marked())
    }

    fn shows_links(&self) -> bool {
        false
    }

    /// Returns the memory of a listing that is kept for [`list`](Self::list), in bytes.
    fn kept(&self) -> usize {
        0
    }

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
    fn clock(&mut self, _path: &[u8]) -> Result<Option<Clock>, TreeFault> {
        Ok(Some(Clock::OURS))
    }

    /// Returns by how many seconds a directory changes an odd time that is set: 1 if it stores only even
    /// seconds, like FAT. Measures with a test file; returns `None` if the directory takes none.
    ///
    /// # Errors
    ///
    /// Returns errors that end the connection.
    fn time_error(&mut self, _path: &[u8]) -> Result<Option<u64>, TreeFault> {
        Ok(None)
    }

    /// Returns an empty digest of an algorithm that the server offers.
    ///
    /// # Errors
    ///
    /// Returns `Unsupported` if the server offers no supported algorithm. Also returns errors that
    /// end the connection.
    fn checksum(&mut self) -> Result<Checksum, TreeFault> {
        Err(without_digest())
    }

    /// Returns the digest of a local file.
    ///
    /// # Errors
    ///
    /// Returns `Local` if the file cannot be read.
    fn digest(&mut self, _path: &[u8], _checksum: Checksum) -> Result<Digest, TreeFault> {
        Err(without_digest())
    }

    /// Returns the size and SHA-256 of a local file.
    ///
    /// # Errors
    ///
    /// Returns `Local` if the file cannot be read, and `Integrity` if it changes meanwhile.
    fn sum(&mut self, _path: &[u8]) -> Result<Sum, TreeFault> {
        Err(without_digest())
    }

    /// Returns whether the file at `path` on the server has this digest.
    ///
    /// # Errors
    ///
    /// Returns the server's refusal, and errors that end the connection.
    fn has_digest(&mut self, _path: &[u8], _digest: &Digest) -> Result<bool, TreeFault> {
        Err(without_digest())
    }

    /// Returns whether the file at `path` on the server has the recorded content. For that, fetches it.
    ///
    /// # Errors
    ///
    /// Returns errors that end the connection.
    fn has_content(&mut self, _path: &[u8], _record: &ManifestRecord) -> Result<bool, TreeFault> {
        Ok(false)
    }
}

/// Asks for the modification time of a file, unless it is known to the second.
pub(crate) fn ask(side: &mut dyn Scan, path: &[u8], item: &mut TreeEntry) -> Result<(), TreeFault> {
    if item.stamp.and_then(Stamp::exact).is_none()
        && let Some(time) = side.modified(path)?
    {
        item.stamp = Some(Stamp::at(time));
    }
    Ok(())
}

fn without_digest() -> TreeFault {
    let text = "the server offers no suitable digest";
    TreeFault::new(ErrorKind::Unsupported, text).of(Setting::Compare)
}

/// A local tree; `None` if it is missing.
pub(crate) struct LocalTree<'a>(pub(super) Option<&'a Directory>);

impl Scan for LocalTree<'_> {
    fn list(&mut self, path: &[u8], limits: Budget) -> Result<Contents, TreeFault> {
        let Some(top) = self.0 else { return Ok(Contents::default()) };
        let listed = top.below(path).and_then(|directory| directory.items(limits));
        let (items, is_whole) = listed.map_err(|error| TreeFault::local(path, &error))?;
        let doubt = (!is_whole)
            .then(|| TreeFault::item(ErrorKind::Protocol, "it changes while it is listed"));
        Ok(Contents { items, doubt, ..Contents::default() })
    }

    fn modified(&mut self, _path: &[u8]) -> Result<Option<i64>, TreeFault> {
        Ok(None)
    }

    fn relation(&mut self, listed: &[u8], unlisted: &[u8]) -> Result<Relation, TreeFault> {
        match self.0 {
            Some(top) => {
                top.relation(listed, unlisted).map_err(|error| TreeFault::local(unlisted, &error))
            }
            None => Ok(Relation::Two),
        }
    }

    fn identity(&mut self) -> Option<Vec<u8>> {
        self.0.and_then(Directory::identity)
    }

    fn is_local(&self) -> bool {
        true
    }

    fn needed(&mut self, path: &[u8], item: &TreeEntry) -> Option<String> {
        if let Some(why) = why_needed(item) {
            return Some(why.to_owned());
        }
        if item.kind != ObjectKind::File || !entry::may_be_partial(&item.name) {
            return None;
        }
        let (above, name) = Pathname::split(path);
        let directory = self.0?.below(above);
        directory.and_then(|directory| directory.hold(name)).err().map(|error| error.to_string())
    }

    fn time_error(&mut self, path: &[u8]) -> Result<Option<u64>, TreeFault> {
        let directory = self.0.and_then(|top| top.below(path).ok());
        // An unwritable directory does not matter, because nothing is copied into it.
        Ok(directory.and_then(|directory| directory.is_coarse().ok()).map(u64::from))
    }

    fn digest(&mut self, path: &[u8], checksum: Checksum) -> Result<Digest, TreeFault> {
        self.digest_of(path, checksum).map(|(digest, _)| digest)
    }

    fn sum(&mut self, path: &[u8]) -> Result<Sum, TreeFault> {
        let checksum = Checksum::new(HashAlgorithm::Sha256).ok_or_else(without_digest)?;
        let (digest, [before, after]) = self.digest_of(path, checksum)?;
        let identity = LocalFacts::of(&before);
        if identity != LocalFacts::of(&after) {
            let text = "changed while it was read";
            return Err(TreeFault::item(ErrorKind::Integrity, text).about(path));
        }
        Ok(Sum { size: before.len(), digest: first_32(&digest.bytes), identity })
    }
}

impl LocalTree<'_> {
    /// Returns the digest of a file, and its facts before and after it was read.
    fn digest_of(
        &self,
        path: &[u8],
        mut checksum: Checksum,
    ) -> Result<(Digest, [Metadata; 2]), TreeFault> {
        let here = |error: io::Error| TreeFault::local(path, &error);
        let top = self.0.ok_or_else(|| here(io::ErrorKind::NotFound.into()))?;
        let (above, name) = Pathname::split(path);
        let file = top.below(above).and_then(|directory| directory.read(name)).map_err(here)?;
        let before = file.metadata().map_err(here)?;
        checksum.update_from(&file, before.len()).map_err(here)?;
        Ok((checksum.finish(), [before, file.metadata().map_err(here)?]))
    }
}

/// Returns the reason to keep a hidden file whether or not it is in use, if there is any: a file of an
/// interrupted move may be the only copy, and a server remembers interrupted uploads by its files.
fn why_needed(item: &TreeEntry) -> Option<&'static str> {
    match item.hidden()? {
        HiddenFile::Move | HiddenFile::Journal => Some("it belongs to an interrupted move"),
        HiddenFile::Record | HiddenFile::Bytes => Some("it belongs to an upload to a server"),
        _ => None,
    }
}
