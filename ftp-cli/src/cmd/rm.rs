//! `rm [-r] [-f] URL...`: removes files, and trees.
//!
//! FTP has no command for a tree, and servers differ in what they show of symbolic links: some list
//! one to a directory as a directory. Nothing that a link leads to is ever meant, so each "directory" has
//! to pass these before anything in it is touched:
//!
//! - no listing shows it as a link, `LIST` being asked too where `MLSD` was read;
//! - `DELE` is refused: where that is the system's unlink, it removes a link and no directory;
//! - `RMD` is refused, and not because it is no directory;
//! - that is because it is not empty, in the server's words, or there may be as many directories as
//!   are listed beside it, by the count of links of the one that they lie in (a directory has two,
//!   and one more for each directory in it; some servers always say 1 or 2, and so do some file
//!   systems).
//!
//! A server that gives neither reasons nor counts proves nothing, and what it shows stays: aioftp
//! does where a link lies in the directory of the login, or in any on Btrfs. There the user's word
//! counts: what is named with a `/` at its end is a directory.

use std::collections::HashMap;

use ftp_client::{Client, Entered, Error, Listing, ListingForm, Place};
use ftp_proto::{Entry, EntryKind, Escaped, FtpUrl, Verb};

use crate::console::stdio::Stdio;
use crate::exit::{Exit, Failure};
use crate::options::Options;
use crate::remote::links::{NO_DIRECTORY, NOT_EMPTY, Proof, by_list, list, says};
use crate::remote::object::{self, is_no};
use crate::remote::path::{self, join};
use crate::report::for_each_url::{self, Outcome, Reporter, for_each_url};
use crate::report::json::Object;

/// How deep a tree may be, and how many objects it may have: a server can invent them.
const DEPTH: usize = 128;
const OBJECTS: usize = 10_000_000;

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result<(), Failure> {
    if options.operands.is_empty() {
        return Err(Failure::usage("rm needs a URL: ftp-cli rm [-r] [-f] URL..."));
    }
    for_each_url::are_named(&options.operands)?;
    let recursive = options.has("recursive");
    let force = options.has("force");
    for_each_url(options, stdio, &options.operands, "objects removed", |client, url, told| {
        let how = How { recursive, force, as_directory: url.is_directory() };
        remove(client, url, Place::of(url), how, told)
    })
}

/// What is asked for.
#[derive(Clone, Copy)]
pub(super) struct How {
    /// A directory, with all that is in it.
    pub(super) recursive: bool,
    /// What is not there is no failure.
    pub(super) force: bool,
    /// By its name (`x/`) the user says that it is a directory, and not a link to one.
    pub(super) as_directory: bool,
}

/// Removes the object at `place`.
///
/// # Errors
///
/// The server's refusal; `Partial` if of a tree some was removed and some was not.
pub(super) fn remove(
    client: &mut Client,
    url: &FtpUrl,
    mut place: Place,
    how: How,
    told: &Reporter,
) -> Result<Outcome, Failure> {
    loop {
        let path = path::without_slash(place.path()).to_vec();
        let error = match client.delete(&path) {
            Ok(()) => return Ok(Outcome::Done("removed")),
            Err(error) if is_refusal(&error) => error,
            Err(error) => return Err(error.into()),
        };
        if how.recursive
            && let Some(seen) = tree_at(client, &path)?
        {
            let removed = 0;
            let left = OBJECTS;
            let failures = 0;
            let last = None;
            let mut tree = Tree { client, url, told, removed, left, failures, last };
            let proof = if how.as_directory { seen.proof.or_named() } else { seen.proof };
            tree.directory(&path, Seen { proof, ..seen })?;
            return tree.finish();
        }
        match place.enter(client, &error)? {
            Entered::There => {}
            _ if how.force && object::look(client, &path, ListingForm::Auto)?.is_none() => {
                // A directory that is shown nowhere is there if it can be entered.
                return match object::can_enter(client, &path) {
                    Ok(()) => Err(error.into()),
                    Err(refused) if is_no(&refused) => Ok(Outcome::Skipped("is not there")),
                    Err(error) => Err(error.into()),
                };
            }
            _ => return Err(error.into()),
        }
    }
}

/// What the server says to be a directory and not a link.
fn tree_at(client: &mut Client, path: &[u8]) -> Result<Option<Seen>, Error> {
    let (directory, name) = path::split(path);
    let found = object::look(client, path, ListingForm::Auto)?;
    if !found.is_some_and(|entry| entry.is_dir()) {
        return Ok(None);
    }
    let Some(beside) = by_list(client, directory)? else {
        return Ok(Some(Seen { depth: 0, links: None, proof: Proof::None }));
    };
    let count = beside.entries.iter().filter(|entry| entry.is_dir()).count();
    let itself = match (beside.itself, path::split(directory)) {
        (Some(itself), _) => Some(itself),
        // Of the first directory, and of the login's, nothing else is told.
        (None, (_, b"")) => None,
        (None, (above, name)) => {
            by_list(client, above)?.and_then(|above| named(above.entries, name))
        }
    };
    let proof = Proof::by_count(count, itself.and_then(|itself| itself.links));
    Ok(match named(beside.entries, name) {
        Some(listed) if listed.is_link() => None,
        listed => Some(Seen { depth: 0, links: listed.and_then(|listed| listed.links), proof }),
    })
}

fn named(entries: Vec<Entry>, name: &[u8]) -> Option<Entry> {
    entries.into_iter().find(|entry| entry.name == name)
}

/// A tree that is being removed.
struct Tree<'a> {
    client: &'a mut Client,
    url: &'a FtpUrl,
    told: &'a Reporter,
    removed: usize,
    /// How many objects may still be looked at.
    left: usize,
    failures: usize,
    last: Option<Failure>,
}

impl Tree<'_> {
    /// Removes a directory and what is in it. Whether it is gone; the error is one that ends it all.
    fn directory(&mut self, path: &[u8], seen: Seen) -> Result<bool, Failure> {
        let Seen { depth, links, proof } = seen;
        // What is empty needs no listing.
        let refused = match self.client.rmdir(path) {
            Ok(()) => return Ok(self.gone(path)),
            Err(error) if is_refusal(&error) => error,
            Err(error) => return Err(error.into()),
        };
        match proof {
            _ if says(&refused, NO_DIRECTORY) => return self.keep(path, SHOWN_AS_DIRECTORY),
            Proof::Directory => {}
            _ if says(&refused, NOT_EMPTY) => {}
            Proof::TooMany => return self.keep(path, SHOWN_AS_DIRECTORY),
            Proof::None => return self.keep(path, UNTOLD),
        }
        if depth >= DEPTH {
            return self.keep(path, "the tree is too deep; nothing in it was removed");
        }
        let mut form = ListingForm::Auto;
        loop {
            let listing = match list(self.client, path, form)? {
                Ok(listing) => listing,
                Err(error) => return self.failed(path, error.into()),
            };
            if !self.contents(path, &listing, depth, links)? {
                // Why is said already.
                return Ok(false);
            }
            match self.client.rmdir(path) {
                Ok(()) => return Ok(self.gone(path)),
                // MLSD leaves out what LIST shows: ProFTPD's links that lead nowhere.
                Err(error) if is_refusal(&error) && listing.form != ListingForm::List => {
                    form = ListingForm::List;
                }
                Err(error) => return self.failed(path, error.into()),
            }
        }
    }

    /// Removes what is in a directory. Whether all that is listed is gone.
    fn contents(
        &mut self,
        path: &[u8],
        listing: &Listing,
        depth: usize,
        links: Option<u64>,
    ) -> Result<bool, Failure> {
        let listed = match self.links(path, listing) {
            Ok(listed) => listed,
            Err(failure) => return self.failed(path, failure),
        };
        let is_link =
            |entry: &Entry| listed.get(&entry.name).is_some_and(|listed| listed.is_link());
        let directories = listing.entries.iter().filter(|entry| entry.is_dir());
        let proof = Proof::by_count(directories.filter(|entry| !is_link(entry)).count(), links);
        let mut all_gone = true;
        for entry in &listing.entries {
            self.left = self.left.checked_sub(1).ok_or_else(|| {
                Failure::new(Exit::Unsupported, format!("more than {OBJECTS} objects"))
            })?;
            let path = join(path, &entry.name);
            all_gone &= if !entry.is_safe_name() {
                self.keep(&path, "not a name in a directory; it was not removed")?
            } else if is_link(entry) || !matches!(entry.kind, None | Some(EntryKind::Directory)) {
                self.entry(&path, None)?
            } else {
                let links = listed.get(&entry.name).unwrap_or(entry).links;
                self.entry(&path, Some(Seen { depth: depth + 1, links, proof }))?
            };
        }
        Ok(all_gone)
    }

    /// Removes what a listing shows, maybe as a directory.
    fn entry(&mut self, path: &[u8], directory: Option<Seen>) -> Result<bool, Failure> {
        let error = match self.client.delete(path) {
            Ok(()) => return Ok(self.gone(path)),
            Err(error) if is_refusal(&error) => error,
            Err(error) => return Err(error.into()),
        };
        match directory {
            Some(_) if says(&error, NO_DIRECTORY) => self.keep(path, SHOWN_AS_DIRECTORY),
            Some(seen) => self.directory(path, seen),
            None => self.failed(path, error.into()),
        }
    }

    /// What `LIST` says, by name, where a listing shows directories by other means.
    fn links(
        &mut self,
        path: &[u8],
        listing: &Listing,
    ) -> Result<HashMap<Vec<u8>, Entry>, Failure> {
        if listing.form == ListingForm::List || !listing.entries.iter().any(Entry::is_dir) {
            return Ok(HashMap::new());
        }
        let entries = by_list(self.client, path)?.map(|listing| listing.entries);
        let entries = entries.into_iter().flatten();
        Ok(entries.map(|entry| (entry.name.clone(), entry)).collect())
    }

    fn gone(&mut self, path: &[u8]) -> bool {
        self.removed += 1;
        self.told.done("removed", Escaped(path));
        self.told.events.done(|| self.about(Object::event("done"), path), 0);
        true
    }

    fn about(&self, object: Object, path: &[u8]) -> Object {
        object.text("source", &self.url.to_string()).name("name", path)
    }

    /// Something stays, for a reason of ours.
    fn keep(&mut self, path: &[u8], why: &str) -> Result<bool, Failure> {
        self.failed(path, Failure::item(Exit::Unsupported, why))
    }

    /// Something stays.
    fn failed(&mut self, path: &[u8], failure: Failure) -> Result<bool, Failure> {
        if failure.fatal {
            return Err(failure);
        }
        let mut failure = failure.about(Escaped(path));
        self.told.events.failed(&failure, |error| self.about(error, path));
        failure.told = true;
        self.told.messages.say(&failure.message);
        self.failures += 1;
        self.last = Some(failure);
        Ok(false)
    }

    fn finish(self) -> Result<Outcome, Failure> {
        let Some(last) = self.last else { return Ok(Outcome::Reported) };
        let removed = self.removed;
        let failures = self.failures;
        let message = format!("{removed} objects removed, {failures} not");
        let exit = if removed > 0 { Exit::Partial } else { last.exit };
        Err(Failure { exit, message, ..last })
    }
}

/// What listings say of a directory.
#[derive(Clone, Copy)]
struct Seen {
    /// How many directories it lies in, below the first.
    depth: usize,
    /// Its count of links, if that is told.
    links: Option<u64>,
    proof: Proof,
}

/// Why something is not entered.
const SHOWN_AS_DIRECTORY: &str =
    "the server shows links as directories; nothing behind it was removed";
const UNTOLD: &str = "the server does not tell whether it is a directory or a link to one; nothing \
    behind it was removed; a / at the end of its name says that it is a directory";

/// Whether the server refuses, for good or for now: some say 4yz to what a directory is refused.
fn is_refusal(error: &Error) -> bool {
    matches!(error, Error::Refused(Verb::Dele | Verb::Rmd, reply) if reply.code().value() != 530)
}
