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

use super::execute::Summary;
use super::links::{Counted, Proof, ShownLinks, by_list, list};
use crate::age;
use crate::client::Client;
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
}

ftp_proto::settings! {
    RemoveOptions {
        recursive: bool = false,
        ignore_missing: bool = false,
        is_directory: bool = false,
        no_links: bool = false,
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
            let mut shown = ShownLinks::default();
            if options.recursive
                && let Some(seen) = tree_at(client, &path, &mut shown)?
            {
                let budget = Budget::new().entries(MOST_OBJECTS);
                let no_links = options.no_links;
                let mut tree = Tree {
                    client,
                    repeat: self,
                    on,
                    budget,
                    shown,
                    no_links,
                    links: 0,
                    done: none,
                };
                let proof = match seen.proof {
                    _ if no_links => Proof::Directory,
                    proof if options.is_directory => proof.or_named(),
                    proof => proof,
                };
                tree.directory(&path, Seen { proof, ..seen })?;
                return Ok(tree.done);
            }
            let error = match self.delete(client, &path) {
                Ok(()) => return Ok(Summary { removed: 1, ..none }),
                Err(error) if is_refusal(&error) => error,
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
}

/// Returns what listings show about the directory at `path`. Returns `None` if it is not a
/// directory, or if the server shows it as a link.
fn tree_at(
    client: &mut Client,
    path: &[u8],
    shown: &mut ShownLinks,
) -> Result<Option<Seen>, Error> {
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
        return Ok(Some(Seen { depth: 0, links: None, proof: Proof::None }));
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
            Some(Seen { depth: 0, links, proof })
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
    no_links: bool,
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
        let Seen { depth, links, proof } = seen;
        match proof {
            Proof::Directory if depth >= DEPTH => return self.keep(path, JobFault::TooDeep),
            Proof::Directory => {}
            Proof::TooMany => return self.keep(path, JobFault::ShownAsDirectory),
            Proof::None => return self.keep(path, JobFault::MayBeLink),
        }
        let mut before: Option<HashSet<Vec<u8>>> = None;
        loop {
            let form = if before.is_none() { ListingForm::Auto } else { ListingForm::List };
            let looked = Instant::now();
            let listing = match list(self.client, path, form, self.budget)? {
                Ok(listing) => listing,
                Err(error) => return self.fail(path, error),
            };
            let held = listing.weight();
            self.budget.hold(held)?;
            let links_before = self.links;
            let is_empty = self.contents(path, &listing, (depth, links), before.as_ref())?;
            self.budget.release(held);
            if !is_empty {
                // The reason is reported already.
                return Ok(false);
            }
            let names = listing.entries.into_iter().map(|entry| entry.name);
            // The removal of the content took long: others may have stored something since, which RMD
            // removes too on some servers. So is the target of a link whose removal was only claimed.
            if self.links > links_before || age::is_old(looked, Instant::now()) {
                before.get_or_insert_default().extend(names);
                continue;
            }
            match self.repeat.remove_listed(self.client, path) {
                Ok(()) if depth == 0 && self.is_still_there(path)? => {
                    return self.keep(path, JobFault::StillThere);
                }
                Ok(()) => return Ok(self.gone(path)),
                // MLSD can omit entries that LIST shows, such as dangling links on ProFTPD. What was
                // removed, but is listed, was not removed.
                Err(error) if is_refusal(&error) && before.is_none() => {
                    before = Some(names.collect());
                }
                Err(error) => return self.fail(path, error),
            }
        }
    }

    fn is_still_there(&mut self, path: &[u8]) -> Result<bool, Error> {
        match self.client.absent(&[(path.to_vec(), false)]) {
            Err(Error::Refused { .. }) => Ok(false),
            told => Ok(told?.contains(&Some(false))),
        }
    }

    /// Removes the content of a directory. Returns whether all listed entries were removed. `before`
    /// has the names that were removed already; others may have come since.
    fn contents(
        &mut self,
        path: &[u8],
        listing: &Listing,
        (depth, links): (usize, Option<u64>),
        before: Option<&HashSet<Vec<u8>>>,
    ) -> Result<bool, Error> {
        self.shown.note_listing(self.client, path, listing)?;
        let listed = match self.links(path, listing) {
            Ok(listed) => listed,
            Err(error) => return self.fail(path, error),
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
        let proof = match is_marked || self.no_links {
            true => Proof::Directory,
            false => {
                let counts = listing.entries.iter().map(|entry| {
                    let is_directory = kind_of(entry) == Some(EntryKind::Directory);
                    (entry, is_directory.then(|| links_of(entry)))
                });
                self.shown.judge(self.client, &Counted::of(path, links, counts), self.budget)?
            }
        };
        let (mut all_gone, mut files) = (true, Vec::new());
        let mut seen = HashSet::new();
        // A name that is listed twice is one object.
        for entry in listing.entries.iter().filter(|entry| seen.insert(&entry.name)) {
            let left = self.budget.entries.checked_sub(1);
            self.budget.entries = left.ok_or(Error::Job(JobFault::TooMany))?;
            let path = Pathname::join(path, &entry.name);
            all_gone &= match kind_of(entry) {
                _ if !entry.is_safe_name() => self.keep(&path, JobFault::UnsafeName)?,
                _ if before.is_some_and(|before| before.contains(&entry.name)) => {
                    self.done.removed -= 1;
                    self.keep(&path, JobFault::StillThere)?
                }
                // MLSD can omit links, and only those.
                _ if before.is_some() && !entry.is_link() => {
                    self.keep(&path, JobFault::CameSince)?
                }
                None => self.fail(&path, Error::Unsupported(Unsupported::NoType))?,
                Some(EntryKind::Directory) => {
                    let links = links_of(entry);
                    // What follows can end the run.
                    self.files(&mut files)?
                        & self.directory(&path, Seen { depth: depth + 1, links, proof })?
                }
                Some(kind) => {
                    self.links += usize::from(kind != EntryKind::File);
                    files.push(path);
                    files.len() < TOGETHER || self.files(&mut files)?
                }
            };
        }
        self.budget.release(held);
        Ok(self.files(&mut files)? && all_gone)
    }

    /// Removes listed files, together if the server takes several commands at once. Returns whether all
    /// were removed.
    fn files(&mut self, paths: &mut Vec<Vec<u8>>) -> Result<bool, Error> {
        let mut all_gone = true;
        while paths.len() > 1
            && let Some(results) = self.client.delete_together(paths)?
        {
            // All that were removed are reported before the first error.
            let mut ended = Ok(());
            for (path, result) in paths.drain(..results.len()).zip(results) {
                match self.after_delete(&path, result) {
                    Ok(is_gone) => all_gone &= is_gone,
                    Err(error) => ended = ended.and(Err(error)),
                }
            }
            ended?;
        }
        for path in paths.drain(..) {
            let result = self.client.delete(&path);
            all_gone &= self.after_delete(&path, result)?;
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
            Some(EntryKind::Directory) => !self.shown.in_mlsd() && !self.no_links,
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

/// Returns whether the server refused the removal, permanently or temporarily: some servers reply
/// 4xx where others reply 5xx. A 530 reply does not count, because the login is missing.
fn is_refusal(error: &Error) -> bool {
    matches!(error, Error::Refused { verb: Verb::Dele | Verb::Rmd, .. })
        && !error.is_not_logged_in()
}
