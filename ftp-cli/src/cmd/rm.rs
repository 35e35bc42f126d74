//! `rm [-r] [-f] URL...`: removes files, and with `-r` trees.
//!
//! FTP has no command to remove a tree, and servers differ in how they list symbolic links. Some
//! list a link to a directory as a directory. The target of a link must never be touched, so each
//! "directory" must pass these checks before anything in it is removed:
//!
//! - no listing shows it as a link; after `MLSD`, `LIST` is sent too;
//! - `DELE` is refused: on servers that implement it with `unlink`, `DELE` removes a link but not a
//!   directory;
//! - `RMD` is refused, and the reply does not say that the object is not a directory;
//! - the server's reply says that the directory is not empty, or the link count of the parent
//!   allows all listed directories. (A directory has two links, and one more per subdirectory; some
//!   servers and file systems always report 1 or 2.)
//!
//! If the server's replies give no reason and its listings no usable link counts, nothing proves
//! that a directory is not a link. Such a directory stays. Examples are aioftp with a link in the
//! login directory, and any directory on Btrfs. In these cases the user decides: a name that the
//! user ends with `/` counts as a directory.

use std::collections::{HashMap, HashSet};

use ftp_client::{Budget, Client, Entered, Error, Listing, ListingForm, Place, Repeat};
use ftp_proto::{Entry, EntryKind, Escaped, FtpUrl, Verb};

use crate::console::stdio::Stdio;
use crate::display::counted;
use crate::exit::{Exit, Failure};
use crate::options::Options;
use crate::options::urls;
use crate::remote::pattern::{self, NO_MATCH, Named};
use crate::report::for_each_url::{self, Outcome, Reporter, for_each_url};
use crate::report::json::Object;
use ftp_client::tree::links::{NO_DIRECTORY, NOT_EMPTY, Proof, by_list, list, says};
use ftp_client::tree::path::{self, join};

/// Largest depth of a tree, and largest number of objects in it: a server can invent objects.
const DEPTH: usize = 128;
const OBJECTS: usize = 10_000_000;

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result<(), Failure> {
    if options.operands.is_empty() {
        return Err(Failure::usage("rm needs a URL: ftp-cli rm [-r] [-f] URL..."));
    }
    for_each_url::are_named(&options.operands)?;
    let recursive = options.has("recursive");
    let force = options.has("force");
    let globs = options.has("glob");
    if globs {
        options.operands.iter().try_for_each(|url| pattern::is_usable(&urls::parse(url)?))?;
    }
    for_each_url(
        options,
        stdio,
        &options.operands,
        "objects removed",
        |client, url, reporter, repeat| {
            let how = RemovalOptions { recursive, force, as_directory: url.is_directory() };
            match globs || pattern::is_pattern(url) {
                true => remove_named(client, url, globs, how, reporter, repeat),
                false => remove(client, url, Place::of(url), how, reporter, repeat),
            }
        },
    )
}

/// Removes the object that a URL names, or the objects that match its pattern.
fn remove_named(
    client: &mut Client,
    url: &FtpUrl,
    globs: bool,
    how: RemovalOptions,
    reporter: &Reporter,
    repeat: &mut Repeat,
) -> Result<Outcome, Failure> {
    let (directory, entries, invalid) = match pattern::named(client, url, globs) {
        Ok(Named::Itself) => return remove(client, url, Place::of(url), how, reporter, repeat),
        Ok(Named::Matches { directory, entries, invalid }) => (directory, entries, invalid),
        // An earlier attempt has removed the last match.
        Err(failure) if failure.message == NO_MATCH && repeat.is_uncertain() => {
            return Ok(Outcome::Done("removed"));
        }
        Err(failure) if how.force && is_nothing(client, url, &failure)? => {
            return Ok(Outcome::Skipped("does not exist"));
        }
        Err(failure) => return Err(failure),
    };
    let mut counts = Counts::default();
    for name in invalid {
        counts.failed(url, &join(&directory, &name), pattern::invalid(&name), reporter);
    }
    for entry in entries {
        let path = join(&directory, &entry.name);
        match remove(client, url, Place::at(&path), how, reporter, repeat) {
            Ok(outcome) => {
                counts.removed += 1;
                let event = || {
                    let event = Object::event("done").text("source", &url.to_string());
                    event.name("name", &path)
                };
                reporter.report(outcome, Escaped(&path), event);
            }
            Err(failure) if failure.fatal => return Err(failure.context(Escaped(&path))),
            Err(failure) => counts.failed(url, &path, failure, reporter),
        }
    }
    counts.finish()
}

/// Returns whether a pattern failed because it matches nothing, or because its directory is
/// missing.
fn is_nothing(client: &mut Client, url: &FtpUrl, failure: &Failure) -> Result<bool, Failure> {
    if failure.message == NO_MATCH {
        return Ok(true);
    }
    if failure.exit != Exit::Refused {
        return Ok(false);
    }
    let place = Place::of(url);
    let (directory, _) = path::split(place.path());
    if directory.is_empty() {
        return Ok(false);
    }
    match client.can_enter(directory) {
        Ok(()) => Ok(false),
        Err(refused) if refused.is_no() => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Counts of removed objects and failures.
#[derive(Default)]
struct Counts {
    removed: usize,
    failures: usize,
    last: Option<Failure>,
}

impl Counts {
    /// Reports an object that could not be removed.
    fn failed(&mut self, url: &FtpUrl, path: &[u8], failure: Failure, reporter: &Reporter) {
        let mut failure = failure.context(Escaped(path));
        let fields = |error: Object| error.text("source", &url.to_string()).name("name", path);
        reporter.events.failed(&failure, fields);
        failure.reported = true;
        reporter.messages.say(&failure.message);
        self.failures += 1;
        self.last = Some(failure);
    }

    fn finish(self) -> Result<Outcome, Failure> {
        let Self { removed, failures, last } = self;
        let Some(last) = last else { return Ok(Outcome::Reported) };
        let message = format!("{} removed, {failures} failed", counted(removed, "object"));
        let exit = if removed > 0 { Exit::Partial } else { last.exit };
        Err(Failure { exit, message, ..last })
    }
}

/// Options of a removal.
#[derive(Clone, Copy)]
pub(super) struct RemovalOptions {
    /// Whether to remove directories with their content.
    pub(super) recursive: bool,
    /// Whether to ignore missing objects.
    pub(super) force: bool,
    /// Whether to trust that the object is a directory, not a link, because the user typed a `/`
    /// after its name.
    pub(super) as_directory: bool,
}

/// Removes the object at `place`.
///
/// # Errors
///
/// Returns the server's refusal, and errors of the connection. Returns `Unsupported` for a
/// directory that may be a link, and `Partial` if only a part of a tree was removed.
pub(super) fn remove(
    client: &mut Client,
    url: &FtpUrl,
    mut place: Place,
    how: RemovalOptions,
    reporter: &Reporter,
    repeat: &mut Repeat,
) -> Result<Outcome, Failure> {
    loop {
        let path = path::without_slash(place.path()).to_vec();
        let error = match repeat.delete(client, &path) {
            Ok(()) => return Ok(Outcome::Done("removed")),
            Err(error) if is_refusal(&error) => error,
            Err(error) => return Err(error.into()),
        };
        if how.recursive
            && let Some(seen) = tree_at(client, &path)?
        {
            let counts = Counts::default();
            let budget = Budget::default();
            let mut tree = Tree { client, url, reporter, repeat, left: OBJECTS, budget, counts };
            let proof = if how.as_directory { seen.proof.or_named() } else { seen.proof };
            tree.directory(&path, Seen { proof, ..seen })?;
            return tree.counts.finish();
        }
        match place.enter(client, &error)? {
            Entered::There => {}
            _ if how.force && client.look(&path, ListingForm::Auto)?.is_none() => {
                // An unlisted directory exists if it can be entered.
                return match client.can_enter(&path) {
                    Ok(()) => Err(error.into()),
                    Err(refused) if refused.is_no() => Ok(Outcome::Skipped("does not exist")),
                    Err(error) => Err(error.into()),
                };
            }
            _ => return Err(error.into()),
        }
    }
}

/// Returns what listings show about the directory at `path`. Returns `None` if it is not a
/// directory, or if the server shows it as a link.
fn tree_at(client: &mut Client, path: &[u8]) -> Result<Option<Seen>, Error> {
    let (directory, name) = path::split(path);
    let found = client.look(path, ListingForm::Auto)?;
    if !found.is_some_and(|entry| entry.is_dir()) {
        return Ok(None);
    }
    let Some(beside) = by_list(client, directory)? else {
        return Ok(Some(Seen { depth: 0, links: None, proof: Proof::None }));
    };
    let count = beside.entries.iter().filter(|entry| entry.is_dir()).count();
    let itself = match (beside.itself, path::split(directory)) {
        (Some(itself), _) => Some(itself),
        // The root directory and the login directory have no known parent.
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
    reporter: &'a Reporter,
    repeat: &'a mut Repeat,
    /// Number of objects that may still be listed.
    left: usize,
    /// The memory that the listings of the directories on the way take.
    budget: Budget,
    counts: Counts,
}

impl Tree<'_> {
    /// Removes a directory and its content. Returns whether the directory was removed; an error
    /// ends the removal of the whole tree.
    fn directory(&mut self, path: &[u8], seen: Seen) -> Result<bool, Failure> {
        let Seen { depth, links, proof } = seen;
        // An empty directory needs no listing.
        let refused = match self.repeat.rmdir(self.client, path) {
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
            return self.keep(path, "the tree is too deep; its content was kept");
        }
        let mut form = ListingForm::Auto;
        loop {
            let limits = self.budget.limits(self.left);
            let listing = match list(self.client, path, form, limits)? {
                Ok(listing) => listing,
                Err(error) => return self.failed(path, error.into()),
            };
            // `contents` holds the listing of LIST too.
            let held = 2 * listing.weight();
            self.budget.hold(held)?;
            let is_empty = self.contents(path, &listing, depth, links)?;
            self.budget.release(held);
            if !is_empty {
                // The reason is reported already.
                return Ok(false);
            }
            match self.repeat.rmdir(self.client, path) {
                Ok(()) => return Ok(self.gone(path)),
                // MLSD can omit entries that LIST shows, such as dangling links on ProFTPD.
                Err(error) if is_refusal(&error) && listing.form != ListingForm::List => {
                    form = ListingForm::List;
                }
                Err(error) => return self.failed(path, error.into()),
            }
        }
    }

    /// Removes the content of a directory. Returns whether all listed entries were removed.
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
        let mut seen = HashSet::new();
        // A name that is listed twice is one object.
        for entry in listing.entries.iter().filter(|entry| seen.insert(&entry.name)) {
            self.left = self.left.checked_sub(1).ok_or_else(|| {
                let what_to_do = "run rm again to remove the rest";
                let message = format!("the tree has more than {OBJECTS} objects; {what_to_do}");
                Failure::new(Exit::Unsupported, message)
            })?;
            let path = join(path, &entry.name);
            all_gone &= if !entry.is_safe_name() {
                self.keep(&path, "not a valid name; kept")?
            } else if is_link(entry) || !matches!(entry.kind, None | Some(EntryKind::Directory)) {
                self.entry(&path, None)?
            } else {
                let links = listed.get(&entry.name).unwrap_or(entry).links;
                self.entry(&path, Some(Seen { depth: depth + 1, links, proof }))?
            };
        }
        Ok(all_gone)
    }

    /// Removes a listed entry, which may be a directory.
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

    /// Returns the entries of `LIST` by name. Returns an empty map if they are not needed:
    /// `listing` is itself from `LIST`, or shows no directories.
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
        self.counts.removed += 1;
        self.reporter.done("removed", Escaped(path));
        self.reporter.events.done(|| self.fields(Object::event("done"), path), 0);
        true
    }

    fn fields(&self, object: Object, path: &[u8]) -> Object {
        object.text("source", &self.url.to_string()).name("name", path)
    }

    /// Reports that an object was kept, with the reason `why`.
    fn keep(&mut self, path: &[u8], why: &str) -> Result<bool, Failure> {
        self.failed(path, Failure::item(Exit::Unsupported, why))
    }

    /// Reports that an object could not be removed. Returns a fatal failure instead of reporting
    /// it.
    fn failed(&mut self, path: &[u8], failure: Failure) -> Result<bool, Failure> {
        if failure.fatal {
            return Err(failure);
        }
        self.counts.failed(self.url, path, failure, self.reporter);
        Ok(false)
    }
}

/// Facts about a directory from listings.
#[derive(Clone, Copy)]
struct Seen {
    /// Depth below the first directory.
    depth: usize,
    /// Link count, if reported.
    links: Option<u64>,
    proof: Proof,
}

/// Reasons why a directory is not entered.
const SHOWN_AS_DIRECTORY: &str =
    "it may be a symbolic link: the server lists links as directories, so its content was kept";
const UNTOLD: &str =
    "it may be a symbolic link, so its content was kept; if it is a directory, add / to the name";

/// Returns whether the server refused the removal, permanently or temporarily: some servers reply
/// 4xx where others reply 5xx. A 530 reply does not count, because the login is missing.
fn is_refusal(error: &Error) -> bool {
    matches!(error, Error::Refused(Verb::Dele | Verb::Rmd, reply) if reply.code().value() != 530)
}
