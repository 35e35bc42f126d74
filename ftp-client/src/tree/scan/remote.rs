//! Lists a tree on a server, and asks the server about single names.

use std::collections::{HashMap, HashSet};

use ftp_proto::{Escaped, Pathname};

use super::{Contents, Links, Scan, Told, why_needed, without_digest};
use crate::client::Client;
use crate::digest::{Checksum, Digest};
use crate::error::{Error, ErrorKind};
use crate::listing::{Budget, ListOptions, Listing, ListingForm};
use crate::tree::entry::{self, Clock, ObjectKind, Stamp, TreeEntry};
use crate::tree::fault::{Reporter, Setting, TreeFault};
use crate::tree::hand::Hand;
use crate::tree::links::{Counted, Proof, ShownLinks, by_list};
use crate::tree::manifest::{ManifestRecord, remote::receive, sha256};
use crate::tree::names::{Relation, look};
use crate::tree::options::OBJECTS;
use crate::tree::probe;

pub(crate) struct RemoteTree<'a, 'p> {
    /// The connection. It is replaced if the server closes it between two questions.
    pub(crate) hand: &'a mut Hand<'p>,
    /// Path of the top; empty for the login directory.
    pub(crate) top: &'a [u8],
    pub(crate) options: ListOptions,
    /// Content of the top, if it was listed already.
    pub(crate) first: Option<Contents>,
    /// The modification times that were asked for together, by path.
    times: HashMap<Vec<u8>, Option<i64>>,
    /// A link that `MLSD` has shown, and what is known of links.
    link: Option<Vec<u8>>,
    shown: ShownLinks,
    /// How often a listing is asked for that the server refuses for now.
    reporter: Option<&'a Reporter<'a>>,
}

impl<'a, 'p> RemoteTree<'a, 'p> {
    pub(crate) fn new(hand: &'a mut Hand<'p>, top: &'a [u8], options: ListOptions) -> Self {
        let (first, times, link) = (None, HashMap::new(), None);
        Self {
            hand,
            top,
            options,
            first,
            times,
            link,
            shown: ShownLinks::default(),
            reporter: None,
        }
    }

    /// Makes it ask again for a listing that the server refuses for now.
    pub(crate) fn patient(self, reporter: &'a Reporter<'a>) -> Self {
        Self { reporter: Some(reporter), ..self }
    }

    fn named(&self, path: &[u8]) -> Vec<u8> {
        Pathname::join(self.top, path)
    }

    /// Returns whether the top is a file: servers report no size for a directory.
    ///
    /// # Errors
    ///
    /// Returns errors that end the connection.
    pub(crate) fn is_file(&mut self) -> Result<bool, TreeFault> {
        let top = self.top;
        let refused = |error| match error {
            Error::Refused { .. } | Error::Argument(_) => Ok(false),
            error => Err(TreeFault::from(error)),
        };
        self.hand.ask(|client| match client.stat(top) {
            Ok(Some(entry)) if entry.kind.is_some() => Ok(entry.is_file()),
            Ok(_) => client.size(top).map(|size| size.is_some()).or_else(refused),
            Err(error) => refused(error),
        })
    }

    /// Returns the link count of a directory, from the listing of its parent.
    fn count_of(&mut self, path: &[u8], limits: Budget) -> Result<Option<u64>, TreeFault> {
        let (above, name) = Pathname::split(path);
        // The root directory and the login directory have no known parent.
        if name.is_empty() {
            return Ok(None);
        }
        let above = self.by_list(above, limits)?.map(|listing| listing.entries);
        let itself = above.into_iter().flatten().find(|entry| entry.name == name);
        Ok(itself.and_then(|entry| entry.links))
    }

    fn by_list(&mut self, path: &[u8], limits: Budget) -> Result<Option<Listing>, TreeFault> {
        self.hand.ask(|client| by_list(client, path, limits).map_err(|error| about(path, error)))
    }
}

impl Scan for RemoteTree<'_, '_> {
    fn list(&mut self, path: &[u8], limits: Budget) -> Result<Contents, TreeFault> {
        if let Some(contents) = self.first.take_if(|_| path.is_empty()) {
            return Ok(contents);
        }
        let (below, path, options) = (path, self.named(path), self.options);
        let hand = &mut *self.hand;
        let mut ask = || {
            hand.ask(|client| {
                // What they offer comes into force before the first listing.
                client.features()?;
                let listing = client.list_directory(&path, options);
                let listing = listing.and_then(|entries| entries.gather(limits));
                listing.map_err(|error| about(&path, error))
            })
        };
        let listing = match self.reporter {
            None => ask(),
            Some(reporter) => {
                let listed = reporter.persist(below, &mut |_| false, || match ask() {
                    Err(fault) if fault.is_for_now() => Err(fault),
                    listed => Ok(listed),
                });
                // The whole plan is not repeated for it too.
                listed.unwrap_or_else(|fault| Err(fault.never_retried()))
            }
        }?;
        if let Some(line) = listing.unparsed.first().filter(|_| listing.entries.is_empty()) {
            return self.hand.ask(|client| Err(client.unreadable_listing(line).into()));
        }
        let lacks = !listing.unparsed.is_empty();
        let doubt = if let Some(line) = listing.unparsed.first() {
            let text = format!("cannot parse a line of its listing: {}", Escaped(line));
            Some(TreeFault::item(ErrorKind::Protocol, text))
        } else if listing.form != ListingForm::Mlsd && path.iter().any(is_special) {
            // The listing may show matches of a pattern instead of the directory.
            let text = "its path has characters that servers may take for a pattern";
            Some(TreeFault::item(ErrorKind::Protocol, text))
        } else {
            None
        };
        let hides = !listing.shows_hidden;
        let mut links = listing.entries.iter().filter(|entry| entry.is_link());
        if let Some(link) = links.next().filter(|_| listing.form == ListingForm::Mlsd) {
            self.link = Some(Pathname::join(&path, &link.name));
        }
        // With a duplicate name, two files would have the same path. If a store lists a file and a
        // directory of one name, or two files, which one a command means is unknown.
        let mut items: Vec<TreeEntry> = listing.entries.into_iter().map(TreeEntry::from).collect();
        entry::sort(&mut items);
        items.dedup_by(|other, one| {
            let is_double = other.name == one.name;
            let is_directory = one.kind == ObjectKind::Directory && other.kind == one.kind;
            if is_double && !is_directory && *other != *one {
                one.kind = ObjectKind::Unknown;
            }
            is_double
        });
        // The entries of a listing are larger, and their memory was used again.
        items.shrink_to_fit();
        Ok(Contents { items, doubt, lacks, hides })
    }

    fn kept(&self) -> usize {
        self.first.as_ref().map_or(0, Contents::weight)
    }

    fn modified(&mut self, path: &[u8]) -> Result<Option<i64>, TreeFault> {
        if let Some(time) = self.times.remove(path) {
            return Ok(time);
        }
        let path = self.named(path);
        self.hand.ask(|client| match client.modified(&path) {
            Ok(time) => Ok(time.map(|time| time.unix_seconds())),
            Err(Error::Refused { .. } | Error::Argument(_)) => Ok(None),
            Err(error) => Err(error.into()),
        })
    }

    fn ask_times(&mut self, paths: Vec<Vec<u8>>) -> Result<(), TreeFault> {
        let named: Vec<_> = paths.iter().map(|path| self.named(path)).collect();
        let times = self.hand.ask(|client| match client.modified_together(&named) {
            Err(Error::Refused { .. }) => Ok(None),
            times => times.map_err(TreeFault::from),
        })?;
        let seconds = times.into_iter().flatten().map(|time| time.map(|time| time.unix_seconds()));
        self.times = paths.into_iter().zip(seconds).collect();
        Ok(())
    }

    fn size(&mut self, path: &[u8]) -> Result<Option<u64>, TreeFault> {
        let path = self.named(path);
        self.hand.ask(|client| match client.size(&path) {
            Err(Error::Refused { .. } | Error::Argument(_)) => Ok(None),
            size => size.map_err(TreeFault::from),
        })
    }

    fn seek(&mut self, path: &[u8]) -> Result<Told, TreeFault> {
        let path = self.named(path);
        self.hand.ask(|client| match told(client, &path) {
            Err(Error::Refused { .. } | Error::Argument(_)) => Ok(Told::Nothing),
            told => told.map_err(TreeFault::from),
        })
    }

    fn denies(&mut self, path: &[u8]) -> Result<bool, TreeFault> {
        let path = self.named(path);
        self.hand.ask(|client| match client.denies(&path) {
            Err(Error::Refused { .. } | Error::Argument(_)) => Ok(false),
            denies => Ok(denies?.unwrap_or(false)),
        })
    }

    fn is_directory(&mut self, path: &[u8]) -> Result<bool, TreeFault> {
        let path = self.named(path);
        self.hand.ask(|client| match client.enters(&path) {
            Err(Error::Refused { .. } | Error::Argument(_)) => Ok(false),
            entered => entered.map_err(TreeFault::from),
        })
    }

    fn relation(&mut self, listed: &[u8], unlisted: &[u8]) -> Result<Relation, TreeFault> {
        let (listed, unlisted) = (self.named(listed), self.named(unlisted));
        self.hand.ask(|client| Ok(look(client, &listed, &unlisted)?))
    }

    /// If a directory is missing or unreadable, some servers send an empty listing without an
    /// error. Most of these servers also omit `.` and `..` in that case.
    fn is_empty(&mut self, path: &[u8]) -> Result<bool, TreeFault> {
        let (path, form) = (self.named(path), self.options.form);
        self.hand.ask(|client| is_empty(client, &path, form).map_err(TreeFault::from))
    }

    fn names_by_list(
        &mut self,
        path: &[u8],
        limits: Budget,
    ) -> Result<HashSet<Vec<u8>>, TreeFault> {
        let (path, form) = (self.named(path), self.options.form);
        self.hand.ask(|client| {
            let is_mlsd = match form {
                ListingForm::Auto => client.features()?.has("MLST"),
                form => form == ListingForm::Mlsd,
            };
            let listed = match is_mlsd {
                true => by_list(client, &path, limits).map_err(|error| about(&path, error))?,
                false => None,
            };
            let Some(Listing { entries, unparsed, .. }) = listed else { return Ok(HashSet::new()) };
            match unparsed.first() {
                Some(line) => Err(client.unreadable_listing(line).into()),
                None => Ok(entries.into_iter().map(|entry| entry.name).collect()),
            }
        })
    }

    /// Asks `LIST` for links, because some servers show links in `LIST`, but their targets in
    /// `MLSD`.
    fn links(
        &mut self,
        path: &[u8],
        count: Option<Option<u64>>,
        limits: Budget,
    ) -> Result<Links, TreeFault> {
        let path = self.named(path);
        let (shown, link) = (&mut self.shown, self.link.take());
        self.hand.ask(|client| Ok(shown.note(client, link.as_deref(), true)?))?;
        if self.shown.in_mlsd() {
            return Ok(Links::marked());
        }
        let Some(listed) = self.by_list(&path, limits)? else { return Ok(Links::unproved()) };
        let shown = &mut self.shown;
        self.hand.ask(|client| Ok(shown.note_listing(client, &path, &listed)?))?;
        let bytes = limits.bytes.saturating_sub(listed.weight());
        let limits = Budget { bytes, ..limits };
        let own = match count {
            None if listed.itself.is_none() => self.count_of(&path, limits)?,
            count => count.flatten(),
        };
        let (shown, seen) = (&mut self.shown, Counted::of_listing(&path, own, &listed));
        let proof = match shown.in_list() {
            true => Proof::Directory,
            false => self.hand.ask(|client| Ok(shown.judge(client, &seen, limits)?))?,
        };
        let mut links = Links { proof, ..Links::unproved() };
        for entry in listed.entries {
            if entry.is_dir() {
                links.counts.insert(entry.name, entry.links);
            } else if entry.is_link() {
                links.names.insert(entry.name);
            }
        }
        Ok(links)
    }

    fn shows_links(&self) -> bool {
        self.shown.in_list()
    }

    fn is_local(&self) -> bool {
        false
    }

    /// Temporary files are kept: the server does not tell whether a program is writing to them.
    fn needed(&mut self, _path: &[u8], item: &TreeEntry) -> Option<String> {
        let why = item.hidden().map(|_| "it may be a temporary file of another job");
        why_needed(item).or(why).map(str::to_owned)
    }

    fn clock(&mut self, path: &[u8]) -> Result<Option<Clock>, TreeFault> {
        let path = self.named(path);
        self.hand.ask(|client| probe::clock(client, &path))
    }

    fn time_error(&mut self, path: &[u8]) -> Result<Option<u64>, TreeFault> {
        let path = self.named(path);
        self.hand.ask(|client| probe::time_error(client, &path))
    }

    fn checksum(&mut self) -> Result<Checksum, TreeFault> {
        let checksum = self.hand.ask(|client| Ok(Checksum::for_server(client)?))?;
        checksum.ok_or_else(without_digest)
    }

    fn has_digest(&mut self, path: &[u8], digest: &Digest) -> Result<bool, TreeFault> {
        let path = self.named(path);
        self.hand.ask(|client| match client.compare_hash(&path, digest) {
            Ok(()) => Ok(true),
            Err(Error::Mismatch { .. }) => Ok(false),
            Err(error) => Err(about(&path, error)),
        })
    }

    fn has_content(&mut self, path: &[u8], record: &ManifestRecord) -> Result<bool, TreeFault> {
        let path = self.named(path);
        self.hand.ask(|client| match receive(client, &path) {
            Ok(bytes) => Ok(bytes.len() as u64 == record.size && sha256(&bytes) == record.digest),
            Err(Error::Refused { .. }) => Ok(false),
            Err(error) => Err(about(&path, error)),
        })
    }
}

/// Returns what the server tells about the file at `path`. Its refusal means that the file is missing
/// only if the server offers one of the questions; that of `SIZE` counts if it offers no other.
fn told(client: &mut Client, path: &[u8]) -> Result<Told, Error> {
    let features = client.features()?;
    let name = Pathname::split(path).1.to_vec();
    if features.has("MLST")
        && let Some(entry) = client.stat(path)?
    {
        return Ok(Told::There(TreeEntry { name, ..TreeEntry::from(entry) }));
    }
    let (time, size) = (client.modified(path)?, client.size(path)?);
    if time.is_none() && size.is_none() {
        let is_missing = client.denies(path)?.unwrap_or_else(|| features.has("SIZE"));
        return Ok(if is_missing { Told::Missing } else { Told::Nothing });
    }
    let stamp = time.map(|time| Stamp::at(time.unix_seconds()));
    let kind = ObjectKind::File;
    let (changed, unique, mode, target) = (None, None, None, None);
    Ok(Told::There(TreeEntry { name, kind, size, stamp, changed, unique, mode, target }))
}

/// Returns whether a directory without listed entries is proved to exist.
fn is_empty(client: &mut Client, path: &[u8], form: ListingForm) -> Result<bool, Error> {
    let refused = |error| match error {
        Error::Refused { .. } | Error::Argument(_) | Error::ListingCut(_) => Ok(false),
        error => Err(error),
    };
    if form != ListingForm::List {
        match client.stat(path) {
            // A server may list nothing of a directory that it may read but not enter.
            Ok(Some(entry)) if entry.is_dir() => return client.enters(path).or_else(refused),
            Ok(Some(_)) => return Ok(false),
            Ok(None) => {}
            Err(error) => return refused(error),
        }
    }
    let options = ListOptions { all: true, form: ListingForm::List };
    let lines = match client.list_lines(path, options) {
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

/// Returns the failure of a listing: a refusal or an incomplete listing concerns only that
/// directory.
fn about(path: &[u8], error: Error) -> TreeFault {
    let alone = matches!(error, Error::Refused { .. } | Error::Argument(_) | Error::ListingCut(_));
    let fault = TreeFault::from(error);
    let fault = if alone { fault.of_one() } else { fault.ending(true) };
    if path.is_empty() { fault.in_words("login directory") } else { fault.about(path) }
}

/// Returns whether servers that list with `ls` take the byte for a part of a pattern.
const fn is_special(byte: &u8) -> bool {
    matches!(byte, b'*' | b'?' | b'[' | b']' | b'{' | b'}' | b'\\')
}

/// Lists the top of the source, which must be a directory.
///
/// # Errors
///
/// Returns `Refused` if the top is a file. Also returns the failures of the listing. `kept` is the
/// memory of the target's top.
pub(crate) fn look_at(source: &mut RemoteTree<'_, '_>, kept: usize) -> Result<(), TreeFault> {
    let bytes = Budget::BYTES.saturating_sub(kept);
    match source.list(&[], Budget { entries: OBJECTS, bytes }) {
        Ok(contents) if contents.may_be_of_file(source.top) && source.is_file()? => {}
        Ok(contents) => {
            source.first = Some(contents);
            return Ok(());
        }
        Err(failure) if failure.is_refusal() && source.is_file()? => {}
        Err(failure) => return Err(failure),
    }
    let message = "is a file, not a directory";
    Err(TreeFault::new(ErrorKind::Refused, message).of(Setting::Source))
}

/// Properties of a remote target, found before its tree is listed.
pub(crate) struct TargetSeen {
    /// Whether the top must be created.
    pub(crate) is_new: bool,
    pub(crate) is_sure: bool,
    pub(crate) takes_times: bool,
}

/// Examines the top of a target.
///
/// # Errors
///
/// Returns the failures of the listing. A refused listing is not a failure: it means that the top
/// is missing, or, if `is_careful`, that it cannot be entered either. Only a 5yz reply is certain.
pub(crate) fn look_for(
    target: &mut RemoteTree<'_, '_>,
    is_careful: bool,
) -> Result<TargetSeen, TreeFault> {
    let takes_times = target.hand.ask(|client| {
        let features = client.features()?;
        Ok(features.has("MFMT") || features.has_with("SITE", "UTIME"))
    })?;
    let seen = |is_new, is_sure| TargetSeen { is_new, is_sure, takes_times };
    if target.top.is_empty() || target.top == b"/" {
        return Ok(seen(false, true));
    }
    match target.list(&[], Budget::new().entries(OBJECTS)) {
        Ok(contents) => {
            let is_there = !contents.items.is_empty() || target.is_empty(&[])?;
            target.first = Some(contents);
            Ok(seen(!is_there, is_there))
        }
        Err(failure) if failure.is_refusal() => {
            let is_there = is_careful && target.is_directory(&[])?;
            let is_sure = is_there || failure.kind() == ErrorKind::Refused;
            Ok(seen(!is_there, is_sure))
        }
        Err(failure) => Err(failure),
    }
}
