//! Removes an object, and with it a whole tree.
//!
//! FTP has no command to remove a tree, and servers differ in how they list symbolic links. Some
//! list a link to a directory as a directory. The target of a link must never be touched, so a
//! directory is entered only if it is proved to be none ([`links`](super::links)), or if the caller
//! says so ([`RemoveOptions::is_directory`], [`RemoveOptions::no_links`]); else it stays.
//!
//! `DELE` is sent only for what a listing shows as a file or a link, and `RMD` only after all that is
//! listed in the directory is gone: on some servers, `RMD` removes a directory with its content.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use ftp_proto::{Entry, EntryKind, Pathname, Verb};

use super::entry::Stamp;
use super::execute::Summary;
use super::links::{Counted, Proof, ShownLinks, by_list, list};
use crate::age;
use crate::client::Client;
use crate::client::absence::Existence;
use crate::client::flight::TOGETHER;
use crate::client::repeat::Repeat;
use crate::error::{Error, JobFault, Unsupported};
use crate::event::{Event, Observer};
use crate::listing::{Budget, Listing, ListingForm, MOST_OBJECTS};
use crate::url_path::Place;

/// Options of a [removal](Repeat::remove).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RemoveOptions {
    /// Whether to remove a directory with its content (default: false).
    pub recursive: bool,
    /// Whether to succeed if there is no object (default: false).
    pub ignore_missing: bool,
    /// Whether the caller knows that the object is a directory, not a link to one (default: false).
    /// The server's listings can still contradict that.
    pub is_directory: bool,
    /// Whether the server has no links to directories, so that what it lists as a directory is one
    /// (default: false).
    pub no_links: bool,
    /// When the caller began a listing that shows a file or a link at this path (default: never). For
    /// a minute, the object is then removed without another look at it.
    pub listed: Option<Instant>,
}

ftp_proto::settings! {
    RemoveOptions {
        recursive: bool = false,
        ignore_missing: bool = false,
        is_directory: bool = false,
        no_links: bool = false,
        listed: Option<Instant> = None,
    }
}

impl Repeat {
    /// Removes the object at `place`, and with [`RemoveOptions::recursive`] everything below it.
    ///
    /// In the result, [`removed`](Summary::removed) and [`failed`](Summary::failed) count. Both are 0
    /// only if there is no object and [`RemoveOptions::ignore_missing`] allows that.
    ///
    /// Symbolic links are removed, but not followed: a listed directory that may be a link is kept.
    /// In a tree, each object has its event, [`Event::Removed`] or [`Event::Failed`], and a failure
    /// does not end the removal of the others. An object that one command removes has no event.
    ///
    /// If the server takes several commands at once, files are removed together. If their replies are
    /// lost with the connection, they have no events.
    ///
    /// ```no_run
    /// # let mut client = ftp_client::Client::builder().connect("ftp.example.org")?;
    /// use ftp_client::tree::RemoveOptions;
    /// use ftp_client::pool::Repeat;
    /// use ftp_client::{Event, Place};
    ///
    /// let options = RemoveOptions::new().recursive(true);
    /// let show = |event: Event<'_>| {
    ///     if let Event::Failed { path, why } = event {
    ///         eprintln!("{}: {why}", String::from_utf8_lossy(path));
    ///     }
    /// };
    /// let done = Repeat::new().remove(&mut client, Place::at("old"), options, &show)?;
    /// println!("{} removed, {} failed", done.removed, done.failed);
    /// # Ok::<(), ftp_client::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the server's refusal to remove the object itself, [`Error::ListingCut`] if the names
    /// of the tree need more memory than [`Budget::BYTES`], [`Error::Job`] of [`JobFault::TooMany`],
    /// and errors that concern more than one object, such as those of the connection. A part of the
    /// tree may have been removed by then.
    pub fn remove(
        &mut self,
        client: &mut Client,
        mut place: Place,
        options: RemoveOptions,
        on: &dyn Observer,
    ) -> Result<Summary, Error> {
        let none = Summary::default();
        client.tests_flights |= options.recursive;
        client.names_are_listed |= options.recursive;
        loop {
            let path = Pathname::without_slash(place.path()).to_vec();
            // Another program may have made the directory again.
            if self.has_lost(Verb::Rmd, &path) {
                return match client.lacks(&path)? {
                    true => Ok(Summary { removed: 1, ..none }),
                    false => Err(Error::Uncertain { verb: Verb::Rmd, reply: None }),
                };
            }
            let mut shown = ShownLinks::default();
            if options.recursive
                && let Some(seen) = tree_at(client, &path, &mut shown)?
            {
                let budget = Budget::new().entries(MOST_OBJECTS);
                let mut tree = Tree {
                    client,
                    repeat: self,
                    on,
                    budget,
                    shown,
                    options,
                    way: Vec::new(),
                    links: 0,
                    done: none,
                };
                tree.directory(&path, seen)?;
                return Ok(tree.done);
            }
            let error = match self.remove_other(client, &path, options) {
                Ok(()) => return Ok(Summary { removed: 1, ..none }),
                Err(error) if is_refusal(&error) || error.is_no() => error,
                Err(error) => return Err(error),
            };
            match place.enter(client, &error)? {
                true => {}
                _ if options.ignore_missing && client.lacks(&path)? => return Ok(none),
                _ => return Err(error),
            }
        }
    }
}

impl Repeat {
    /// Removes an object that is not a directory (`DELE`). If it may be one, or the caller takes it for
    /// one, it can only be a link: some servers remove a directory by `DELE`, and a file is another object.
    fn remove_other(
        &mut self,
        client: &mut Client,
        path: &[u8],
        options: RemoveOptions,
    ) -> Result<(), Error> {
        let is_listed = options.listed.is_some_and(|begun| !age::is_old(begun, Instant::now()));
        let is_asked = !is_listed && !self.has_lost(Verb::Dele, path);
        if is_asked && (options.is_directory || may_be_directory(client, path)?) {
            let shown = client.look(path, ListingForm::List)?;
            if !shown.is_some_and(|entry| entry.is_link()) {
                client.can_enter(path)?;
                return Err(Error::Job(JobFault::IsDirectory));
            }
        }
        self.delete(client, path)
    }
}

/// Returns whether `MLST` shows a directory at `path`.
fn may_be_directory(client: &mut Client, path: &[u8]) -> Result<bool, Error> {
    let shown = if client.features()?.has("MLST") { client.stat(path)? } else { None };
    Ok(shown.is_some_and(|entry| entry.is_dir()))
}

/// Largest depth of a tree: a server can invent directories.
const DEPTH: usize = 128;

/// Facts about a directory from listings.
#[derive(Clone, Copy)]
struct Seen {
    /// Depth below the first directory.
    depth: usize,
    /// Link count, if reported.
    links: Option<u64>,
    proof: Proof,
    /// Until when what was listed proves this.
    until: Instant,
}

/// What is known of a listed name.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Fate {
    /// It was not tried yet. The first listing showed a directory, or another object.
    Listed { is_directory: bool },
    /// Its removal was confirmed.
    Gone,
    /// It stays, and the reason was reported.
    Kept,
}

/// What a pass over a listing has left.
enum Pass {
    Nothing,
    /// Objects whose reason was reported.
    Kept,
    /// Names that were not tried: the listing, or one on the way to it, is too old for that.
    Stale,
}

/// Returns what listings show about the directory at `path`. Returns `None` if it is not a
/// directory, or if the server shows it as a link.
fn tree_at(
    client: &mut Client,
    path: &[u8],
    shown: &mut ShownLinks,
) -> Result<Option<Seen>, Error> {
    let begun = Instant::now();
    let (directory, name) = Pathname::split(path);
    let found = client.look(path, ListingForm::Auto)?;
    let is_directory = match found.and_then(|entry| entry.kind) {
        None => client.visits(path)? == Some(true),
        Some(kind) => kind == EntryKind::Directory,
    };
    if !is_directory {
        return Ok(None);
    }
    let Some(beside) = by_list(client, directory, Budget::default())? else {
        return Ok(Some(Seen {
            depth: 0,
            links: None,
            proof: Proof::None,
            until: age::lasts_until(begun),
        }));
    };
    shown.note_listing(client, directory, &beside)?;
    let mut counted = Counted::of_listing(directory, None, &beside);
    // Two listings are never held at a time.
    let (itself, listed) = (beside.itself, named(beside.entries, name));
    let itself = match (itself, Pathname::split(directory)) {
        (Some(itself), _) => Some(itself),
        // The root directory and the login directory have no known parent.
        (None, (_, b"")) => None,
        (None, (above, name)) => {
            by_list(client, above, Budget::default())?.and_then(|above| named(above.entries, name))
        }
    };
    Ok(match listed {
        Some(listed) if listed.is_link() => None,
        listed => {
            let listed = listed.filter(Entry::is_dir);
            let is_listed = listed.is_some();
            let links = listed.and_then(|listed| listed.links);
            counted.links = itself.and_then(|itself| itself.links);
            counted.below.push((path.to_vec(), links));
            let proof = match is_listed {
                true if shown.in_list() => Proof::Directory,
                true => shown.judge(client, &counted, Budget::default())?,
                // A count without it can fit because it is a link.
                false => Proof::None,
            };
            Some(Seen { depth: 0, links, proof, until: age::lasts_until(begun) })
        }
    })
}

fn named(entries: Vec<Entry>, name: &[u8]) -> Option<Entry> {
    entries.into_iter().find(|entry| entry.name == name)
}

struct Tree<'a> {
    client: &'a mut Client,
    repeat: &'a mut Repeat,
    on: &'a dyn Observer,
    /// The number of objects that may still be listed, and the memory for the listings of the
    /// directories on the way.
    budget: Budget,
    shown: ShownLinks,
    options: RemoveOptions,
    /// The directories on the way, and what proves that they are none but directories.
    way: Vec<(Vec<u8>, Seen)>,
    links: usize,
    done: Summary,
}

/// What `LIST` shows about objects that may be directories according to `MLSD`, by name.
type ListedLinks<'n> = HashMap<&'n [u8], LinkFacts>;

struct LinkFacts {
    kind: Option<EntryKind>,
    links: Option<u64>,
    /// Whether `LIST` shows the object.
    is_listed: bool,
}

/// An upper bound of the memory that the facts about one directory take, in bytes.
const LINK_FACTS: usize = 100;

impl Tree<'_> {
    /// Removes a directory and its content. Returns whether the directory was removed; an error
    /// ends the removal of the whole tree.
    fn directory(&mut self, path: &[u8], seen: Seen) -> Result<bool, Error> {
        let depth = seen.depth;
        if self.repeat.has_lost(Verb::Rmd, path) {
            return self.fail(path, Error::Uncertain { verb: Verb::Rmd, reply: None });
        }
        match self.proof(seen) {
            Proof::Directory if depth >= DEPTH => return self.keep(path, JobFault::TooDeep),
            Proof::Directory => {}
            Proof::TooMany => return self.keep(path, JobFault::ShownAsDirectory),
            Proof::None => return self.keep(path, JobFault::MayBeLink),
        }
        self.way.push((path.to_vec(), seen));
        let is_gone = self.entered(path, depth);
        self.way.truncate(depth);
        is_gone
    }

    /// Removes a directory to which the way is proved.
    fn entered(&mut self, path: &[u8], depth: usize) -> Result<bool, Error> {
        let (mut form, mut fates, mut links_before) = (ListingForm::Auto, None, self.links);
        let mut has_waited = false;
        while let Some(seen) = self.on_way(depth)? {
            let begun = Instant::now();
            let listing = match list(self.client, path, form, self.budget)? {
                Ok(listing) => listing,
                Err(error) => return self.fail(path, error),
            };
            // The fates have the names, too.
            let held = 2 * listing.weight();
            self.budget.hold(held)?;
            let tried = (self.done.removed, self.done.failed);
            let (pass, until) = self.contents(path, &listing, (seen, begun), &mut fates)?;
            self.budget.release(held);
            let has_tried = tried != (self.done.removed, self.done.failed);
            match pass {
                // The server may have paused once.
                Pass::Stale if has_tried || !std::mem::replace(&mut has_waited, true) => continue,
                Pass::Stale => return self.keep(path, JobFault::ListedTooSlowly),
                // The reason is reported already.
                Pass::Kept => return Ok(false),
                Pass::Nothing => {}
            }
            // The removal of the content took long: others may have stored something since, which RMD
            // removes too on some servers. So is the target of a link whose removal was only claimed.
            if self.links > links_before || !self.is_fresh(depth, until)? {
                links_before = self.links;
                form = ListingForm::List;
                continue;
            }
            match self.repeat.remove_listed(self.client, path) {
                Ok(()) if depth == 0 && self.is_still_there(path)? => {
                    return self.keep(path, JobFault::StillThere);
                }
                Ok(()) => return Ok(self.gone(path)),
                // MLSD can omit entries that LIST shows, such as dangling links on ProFTPD. What was
                // removed, but is listed, was not removed.
                Err(error) if is_refusal(&error) && form != ListingForm::List => {
                    form = ListingForm::List;
                }
                Err(error) => return self.fail(path, error),
            }
        }
        Ok(false)
    }

    fn proof(&self, seen: Seen) -> Proof {
        match seen.proof {
            _ if self.options.no_links => Proof::Directory,
            proof if self.options.is_directory && seen.depth == 0 => proof.or_named(),
            proof => proof,
        }
    }

    /// Returns what proves the directory of this depth, unless one on the way to it is no longer proved.
    /// What was shown too long ago is asked for again, outermost first: a link that has taken the name
    /// of a directory would lead all that follows elsewhere.
    fn on_way(&mut self, depth: usize) -> Result<Option<Seen>, Error> {
        for at in 0..=depth {
            let Some((path, seen)) = self.way.get(at) else { return Ok(None) };
            if Instant::now() < seen.until {
                continue;
            }
            let path = path.clone();
            let again = tree_at(self.client, &path, &mut self.shown)?;
            let why = again.map_or(JobFault::OtherType, |_| JobFault::MayBeLink);
            let again = again.map(|again| Seen { depth: at, ..again });
            let Some(again) = again.filter(|again| self.proof(*again) == Proof::Directory) else {
                self.way.truncate(at);
                self.keep(&path, why)?;
                return Ok(None);
            };
            if let Some((_, seen)) = self.way.get_mut(at) {
                *seen = again;
            }
        }
        Ok(self.way.get(depth).map(|(_, seen)| *seen))
    }

    /// Returns whether a listing of the directory of this depth still proves what it shows.
    fn is_fresh(&mut self, depth: usize, until: Instant) -> Result<bool, Error> {
        Ok(self.on_way(depth)?.is_some() && Instant::now() < until)
    }

    fn is_still_there(&mut self, path: &[u8]) -> Result<bool, Error> {
        match self.client.existences(&[(path.to_vec(), false)]) {
            Err(Error::Refused { .. }) => Ok(false),
            told => Ok(told?.contains(&Existence::Present)),
        }
    }

    /// Removes the content of a directory, whose listing was `begun` then. `fates` has what earlier passes
    /// know of its names; others may have come since. Returns until when the listing proves what it shows,
    /// too.
    fn contents(
        &mut self,
        path: &[u8],
        listing: &Listing,
        (Seen { depth, links, .. }, begun): (Seen, Instant),
        fates: &mut Option<HashMap<Vec<u8>, Fate>>,
    ) -> Result<(Pass, Instant), Error> {
        self.shown.note_listing(self.client, path, listing)?;
        let listed = match self.links(path, listing) {
            Ok(listed) => listed,
            Err(error) => {
                self.fail(path, error)?;
                return Ok((Pass::Kept, begun));
            }
        };
        let held = listed.len() * LINK_FACTS;
        self.budget.hold(held)?;
        let kind_of =
            |entry: &Entry| listed.get(&*entry.name).map_or(entry.kind, |listed| listed.kind);
        let links_of =
            |entry: &Entry| listed.get(&*entry.name).map_or(entry.links, |listed| listed.links);
        let is_marked = if listing.form == ListingForm::Mlsd && listed.is_empty() {
            self.shown.in_mlsd()
        } else {
            self.shown.in_list() && !listed.values().any(|listed| !listed.is_listed)
        };
        let proof = match is_marked || self.options.no_links {
            true => Proof::Directory,
            false => {
                let counts = listing.entries.iter().map(|entry| {
                    let is_directory = kind_of(entry) == Some(EntryKind::Directory);
                    (entry, is_directory.then(|| links_of(entry)))
                });
                self.shown.judge(self.client, &Counted::of(path, links, counts), self.budget)?
            }
        };
        // All questions together took as long.
        let until = age::lasts_until(begun);
        let listed_as = |entry: &Entry| Fate::Listed {
            is_directory: kind_of(entry) == Some(EntryKind::Directory),
        };
        let fates = fates.get_or_insert_with(|| {
            listing.entries.iter().map(|entry| (entry.name.clone(), listed_as(entry))).collect()
        });
        let (mut is_kept, mut is_stale, mut files) = (false, false, Vec::new());
        let mut seen = HashSet::new();
        // A name that is listed twice is one object.
        for entry in listing.entries.iter().filter(|entry| seen.insert(&entry.name)) {
            let left = self.budget.entries.checked_sub(1);
            self.budget.entries = left.ok_or(Error::Job(JobFault::TooMany))?;
            let path = Pathname::join(path, &entry.name);
            let fate = fates.get(&entry.name).copied();
            let is_lost = self.repeat.has_lost(Verb::Dele, &path);
            let is_gone = match kind_of(entry) {
                // The reason is reported already.
                _ if fate == Some(Fate::Kept) => false,
                _ if !entry.is_safe_name() => self.keep(&path, JobFault::UnsafeName)?,
                _ if fate == Some(Fate::Gone) => {
                    self.done.removed -= 1;
                    self.keep(&path, JobFault::StillThere)?
                }
                // MLSD can omit links, and only those.
                _ if fate.is_none() && !entry.is_link() => self.keep(&path, JobFault::CameSince)?,
                None => self.fail(&path, Error::Unsupported(Unsupported::NoType))?,
                _ if fate.is_some_and(|fate| fate != listed_as(entry)) => {
                    self.keep(&path, JobFault::OtherType)?
                }
                Some(EntryKind::Directory) => {
                    // What follows can end the run.
                    is_kept |= !self.files(&mut files, (depth, until), fates)?;
                    if !self.is_fresh(depth, until)? {
                        is_stale = true;
                        break;
                    }
                    let links = links_of(entry);
                    self.directory(&path, Seen { depth: depth + 1, links, proof, until })?
                }
                _ if is_lost && !is_from_before(entry) => {
                    self.fail(&path, Error::Uncertain { verb: Verb::Dele, reply: None })?
                }
                Some(kind) => {
                    self.links += usize::from(kind != EntryKind::File);
                    files.push(path);
                    if files.len() == TOGETHER {
                        is_kept |= !self.files(&mut files, (depth, until), fates)?;
                        is_stale = !files.is_empty();
                    }
                    if is_stale {
                        break;
                    }
                    continue;
                }
            };
            is_kept |= !is_gone;
            fates.insert(entry.name.clone(), if is_gone { Fate::Gone } else { Fate::Kept });
        }
        if !is_stale {
            is_kept |= !self.files(&mut files, (depth, until), fates)?;
        }
        self.budget.release(held);
        let pass = match is_kept {
            _ if !files.is_empty() || is_stale => Pass::Stale,
            true => Pass::Kept,
            false => Pass::Nothing,
        };
        Ok((pass, until))
    }

    /// Removes listed files while their listing proves them, together if the server takes several commands
    /// at once. Returns whether all that were tried are gone; the others stay in `paths`.
    fn files(
        &mut self,
        paths: &mut Vec<Vec<u8>>,
        (depth, until): (usize, Instant),
        fates: &mut HashMap<Vec<u8>, Fate>,
    ) -> Result<bool, Error> {
        let (mut all_gone, mut alone) = (true, false);
        while let Some(first) = paths.first()
            && self.is_fresh(depth, until)?
        {
            alone |= paths.len() == 1;
            let together = match alone {
                true => None,
                false => self.client.delete_together(paths).inspect_err(|_| {
                    paths.iter().for_each(|path| self.repeat.lose_removal(path));
                })?,
            };
            alone |= together.is_none();
            let results = match together {
                Some(results) => results,
                None => vec![self.repeat.delete_listed(self.client, first)],
            };
            // All that were removed are reported before the first error.
            let mut ended = Ok(());
            for (path, result) in paths.drain(..results.len()).zip(results) {
                match self.after_delete(&path, result) {
                    Ok(is_gone) => {
                        all_gone &= is_gone;
                        let fate = if is_gone { Fate::Gone } else { Fate::Kept };
                        fates.insert(Pathname::split(&path).1.to_vec(), fate);
                    }
                    Err(error) => ended = ended.and(Err(error)),
                }
            }
            ended?;
        }
        Ok(all_gone)
    }

    fn after_delete(&mut self, path: &[u8], result: Result<(), Error>) -> Result<bool, Error> {
        match result {
            Ok(()) => Ok(self.gone(path)),
            Err(error) if is_refusal(&error) => self.fail(path, error),
            Err(error) => Err(error),
        }
    }

    /// Returns what `LIST` shows about the objects of `listing` that may be directories. Asks nothing
    /// if there are none, if `listing` is itself from `LIST`, or if `MLSD` marks links.
    fn links<'n>(&mut self, path: &[u8], listing: &'n Listing) -> Result<ListedLinks<'n>, Error> {
        let mut listed = HashMap::new();
        let is_asked = |entry: &&Entry| match entry.kind {
            Some(EntryKind::Directory) => !self.shown.in_mlsd() && !self.options.no_links,
            kind => kind.is_none(),
        };
        if listing.form != ListingForm::List {
            let directories = listing.entries.iter().filter(is_asked);
            let facts = |entry: &Entry| LinkFacts {
                kind: entry.kind,
                links: entry.links,
                is_listed: false,
            };
            listed.extend(directories.map(|entry| (&*entry.name, facts(entry))));
        }
        if listed.is_empty() {
            return Ok(listed);
        }
        let Some(by_list) = by_list(self.client, path, self.budget)? else { return Ok(listed) };
        self.shown.note_listing(self.client, path, &by_list)?;
        for entry in by_list.entries {
            if let Some(facts) = listed.get_mut(&*entry.name) {
                let (kind, links) = (entry.kind.or(facts.kind), entry.links);
                *facts = LinkFacts { kind, links, is_listed: true };
            }
        }
        Ok(listed)
    }

    fn gone(&mut self, path: &[u8]) -> bool {
        self.done.removed += 1;
        self.on.event(Event::Removed { path });
        true
    }

    fn keep(&mut self, path: &[u8], why: JobFault) -> Result<bool, Error> {
        self.fail(path, Error::Job(why))
    }

    /// Reports that an object could not be removed. Returns an error that concerns others too,
    /// instead of reporting it.
    fn fail(&mut self, path: &[u8], error: Error) -> Result<bool, Error> {
        if error.affects_others() {
            return Err(error);
        }
        self.done.failed += 1;
        self.on.event(Event::Failed { path, why: &error });
        Ok(false)
    }
}

/// Returns whether nobody has stored the listed file since its removal got no reply.
fn is_from_before(entry: &Entry) -> bool {
    age::is_from_before(entry.modified.and_then(|modified| Stamp::from(modified).exact()))
}

/// Returns whether the server refused the removal, permanently or temporarily: some servers reply
/// 4xx where others reply 5xx. A 530 reply does not count, because the login is missing.
fn is_refusal(error: &Error) -> bool {
    matches!(error, Error::Refused { verb: Verb::Dele | Verb::Rmd, .. })
        && !error.is_not_logged_in()
}

#[cfg(test)]
mod tests;
