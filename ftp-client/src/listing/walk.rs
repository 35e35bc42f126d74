//! Directory trees. FTP has no portable command to list a tree, so each directory is listed
//! separately, over the same control connection.

use std::collections::VecDeque;
use std::fmt;

use ftp_proto::{Entry, EntryKind, Escaped, Pathname, Role};

use super::{Budget, ListOptions, Listing, ListingForm, too_long};
use crate::client::Client;
use crate::error::{Error, ListingCut};

/// An item of a walk: everything is either listed or left out, so match both.
pub enum Walked {
    /// An object. The entries of a directory follow later.
    #[non_exhaustive]
    Entry {
        /// The path of the object: the path of the first directory, as given, and the names below
        /// that directory. Each of these names [is safe](Entry::is_safe_name).
        path: Vec<u8>,
        /// The number of directories between the object and the first directory; 0 for an entry of
        /// the first directory.
        depth: usize,
        /// The object's entry in the listing.
        entry: Entry,
    },
    /// Something that the walk leaves out.
    #[non_exhaustive]
    Skipped {
        /// The path of the directory that is left out, or that contains what is left out.
        directory: Vec<u8>,
        /// The reason.
        why: Skipped,
    },
}

ftp_proto::debug_fields! { Walked:
    Entry { path: Escaped(path), depth, entry }
    Skipped { directory: Escaped(directory), why }
}

/// Why a walk leaves something out. `Display` explains it.
#[non_exhaustive]
pub enum Skipped {
    /// An entry whose name [is not safe](Entry::is_safe_name).
    UnsafeName(Entry),
    /// A line in no known form.
    Unparsed(Vec<u8>),
    /// A directory that cannot be listed: the server refuses it, or its path cannot be sent.
    Unlisted(Error),
    /// Entries that may be missing, because the listing of the directory is not proved complete.
    Cut(ListingCut),
    /// A directory deeper than [`Walk::depth`].
    TooDeep,
    /// A directory that contains itself, according to the server's unique identifiers (RFC 3659
    /// §7.5.2). Entering it would never end.
    Loop,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnsafeName(entry) => write!(f, "unsafe name: {}", Escaped(&entry.name)),
            Self::Unparsed(line) => write!(f, "not understood: {}", Escaped(line)),
            Self::Unlisted(error) => write!(f, "not listed: {error}"),
            Self::Cut(why) => write!(f, "may be incomplete: {why}"),
            Self::TooDeep => f.write_str("too deep"),
            Self::Loop => f.write_str("contains itself"),
        }
    }
}

impl fmt::Debug for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Skipped({self})")
    }
}

/// A walk through a directory tree: an iterator over everything below a directory.
///
/// The entries of a directory come first, then those of its subdirectories. If a listing does not
/// tell the type of an object, the walk asks whether it is a directory (`MLST`, `CWD`). Symbolic
/// links are returned but not followed. If a server shows a link to a directory as a directory, the walk
/// follows it up to the depth limit. If the server sends unique identifiers, the walk leaves out a
/// link to a directory that contains the link. Everything left out is returned as
/// [`Walked::Skipped`], with the reason.
///
/// The last item may be an error: the first directory cannot be listed, the connection is lost, or
/// the limits are exceeded ([`ListingCut::TooLong`]). Another [`Error::ListingCut`] after all other
/// items means that at least one listing is not proved complete. Dropping a walk leaves the client
/// usable.
#[derive(Debug)]
#[must_use = "nothing is listed until the caller requests the first item"]
pub struct Walk<'a> {
    client: &'a mut Client,
    list: ListOptions,
    depth: usize,
    /// Items to return before the next entry.
    ready: VecDeque<Walked>,
    /// Lines and entries of the current directory that were not returned yet.
    unparsed: std::vec::IntoIter<Vec<u8>>,
    entries: std::vec::IntoIter<Entry>,
    /// The bytes of memory that the listing of the current directory takes.
    listed: usize,
    /// Whether to ask for the type of an object that the listing does not tell.
    asks: bool,
    /// The directories from the first to the current one. Initially the list holds only a virtual
    /// directory, whose single entry is the first directory.
    open: Vec<Open>,
    /// The number of items that may still be returned, and the memory for the directories in `open`
    /// and their subdirectories.
    budget: Budget,
    /// The first reason why a listing is not proved complete.
    cut: Option<ListingCut>,
}

#[derive(Debug)]
struct Open {
    path: Vec<u8>,
    unique: Option<Vec<u8>>,
    /// Its subdirectories that have not been entered yet.
    directories: VecDeque<Below>,
    /// The bytes of memory that it takes with all its subdirectories.
    held: usize,
}

#[derive(Debug)]
struct Below {
    name: Vec<u8>,
    unique: Option<Vec<u8>>,
}

impl Below {
    /// Returns the bytes of memory that this value takes.
    fn weight(&self) -> usize {
        let unique = self.unique.as_ref().map_or(0, |unique| Budget::weight_of_name(unique));
        Budget::weight_of_name(&self.name) + unique
    }
}

impl<'a> Walk<'a> {
    pub(crate) fn new(client: &'a mut Client, directory: &[u8]) -> Self {
        let first = Below { name: directory.to_vec(), unique: None };
        let directories = VecDeque::from([first]);
        let open = vec![Open { path: Vec::new(), unique: None, directories, held: 0 }];
        Self {
            client,
            list: ListOptions::new().all(true),
            depth: 128,
            ready: VecDeque::new(),
            unparsed: Vec::new().into_iter(),
            entries: Vec::new().into_iter(),
            listed: 0,
            asks: false,
            open,
            budget: Budget::new(),
            cut: None,
        }
    }

    setters! {
        /// Sets how each directory is listed (default: with names that begin with a dot).
        ///
        /// `NLST` does not tell directories from files, so with it a walk stays in the first directory.
        list(list: ListOptions) => list = list;
        /// Sets the maximum number of directory levels; 1 returns only the entries of the first
        /// directory (default: 128).
        depth(depth: usize) => depth = depth;
        /// Sets the maximum number of items that the walk returns, and the maximum memory that it holds
        /// at a time; a walk that exceeds them fails (default: [`Budget::new`]).
        ///
        /// All entries of a directory are held in memory while they are returned, and the names of its
        /// subdirectories until these were walked.
        limits(limits: Budget) => budget = limits;
    }

    /// Returns what is left of the [limits](Self::limits), in which the caller can count the names
    /// that it keeps.
    pub const fn budget(&mut self) -> &mut Budget {
        &mut self.budget
    }

    fn step(&mut self) -> Result<Option<Walked>, Error> {
        loop {
            if let Some(walked) = self.ready.pop_front() {
                let left = self.budget.entries.checked_sub(1);
                self.budget.entries = left.ok_or_else(too_long)?;
                return Ok(Some(walked));
            }
            if let Some(line) = self.unparsed.next() {
                let directory = self.open.last().map_or_else(Vec::new, |open| open.path.clone());
                self.skip(&directory, Skipped::Unparsed(line));
                continue;
            }
            if let Some(entry) = self.entries.next() {
                self.give(entry)?;
                continue;
            }
            self.forget_listing();
            let Some(open) = self.open.last_mut() else {
                return match self.cut.take() {
                    Some(why) => Err(Error::ListingCut(why)),
                    None => Ok(None),
                };
            };
            match open.directories.pop_front() {
                Some(below) => self.enter(below)?,
                None => {
                    self.budget.release(open.held);
                    self.open.pop();
                }
            }
        }
    }

    /// Lists a directory, whose entries are returned next.
    fn enter(&mut self, below: Below) -> Result<(), Error> {
        let Below { name, unique } = below;
        let is_first = self.open.len() == 1;
        let path = self.open.last().map_or_else(Vec::new, |open| Pathname::join(&open.path, &name));
        let (listing, ended) = match self.client.list_directory(&path, self.list) {
            Ok(mut entries) => entries.gather_with(self.budget, true),
            Err(error) => (Listing::default(), Err(error)),
        };
        let listed = listing.weight();
        let Listing { entries, unparsed, form, .. } = listing;
        match ended {
            Ok(()) => {}
            // The limits are those of the whole tree, so the next directory cannot be listed.
            Err(Error::ListingCut(ListingCut::TooLong)) => return Err(too_long()),
            Err(Error::ListingCut(why)) => {
                self.skip(&path, Skipped::Cut(why.clone()));
                self.cut.get_or_insert(why);
            }
            Err(error @ (Error::Refused { .. } | Error::Argument(_))) if !is_first => {
                self.skip(&path, Skipped::Unlisted(error));
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        let itself = entries.iter().find(|entry| entry.role == Role::Itself);
        let mut unique = itself.and_then(|entry| entry.unique.clone()).or(unique);
        let tells_apart = |entry: &Entry| entry.is_dir() && entry.unique.is_some();
        if is_first && unique.is_none() && entries.iter().any(tells_apart) {
            // No listing has shown the identifier of the first directory.
            unique = self.client.stat(&path)?.and_then(|entry| entry.unique);
        }
        if self.is_open(unique.as_deref()) {
            self.skip(&path, Skipped::Loop);
            return Ok(());
        }
        let held = Budget::weight_of_name(&path);
        self.budget.hold(held)?;
        self.budget.hold(listed)?;
        self.listed = listed;
        self.open.push(Open { path, unique, directories: VecDeque::new(), held });
        (self.unparsed, self.entries) = (unparsed.into_iter(), entries.into_iter());
        // `NLST` shows only names: to ask for each would be slow.
        self.asks = form != ListingForm::Nlst;
        Ok(())
    }

    fn forget_listing(&mut self) {
        (self.unparsed, self.entries) = (Vec::new().into_iter(), Vec::new().into_iter());
        self.budget.release(std::mem::take(&mut self.listed));
    }

    /// Queues an entry of the current directory, and remembers a subdirectory to enter.
    fn give(&mut self, mut entry: Entry) -> Result<(), Error> {
        // Its own fields are free from now on, unlike its place in the list.
        let fields = Budget::weight_of(&entry).saturating_sub(size_of::<Entry>());
        self.budget.release(fields);
        self.listed = self.listed.saturating_sub(fields);
        let Some(open) = self.open.last().filter(|_| entry.role == Role::Member) else {
            return Ok(());
        };
        if !entry.is_safe_name() {
            let directory = open.path.clone();
            self.ready.push_back(Walked::Skipped { directory, why: Skipped::UnsafeName(entry) });
            return Ok(());
        }
        let path = Pathname::join(&open.path, &entry.name);
        // The virtual directory does not count.
        let depth = self.open.len() - 2;
        if entry.kind.is_none() && self.asks && self.is_directory(&path)? {
            entry.kind = Some(EntryKind::Directory);
        }
        let below = Below { name: entry.name.clone(), unique: entry.unique.clone() };
        let is_dir = entry.is_dir();
        self.ready.push_back(Walked::Entry { path: path.clone(), depth, entry });
        if !is_dir {
            return Ok(());
        }
        if depth + 1 >= self.depth {
            self.skip(&path, Skipped::TooDeep);
        } else if self.is_open(below.unique.as_deref()) {
            self.skip(&path, Skipped::Loop);
        } else if let Some(open) = self.open.last_mut() {
            let weight = below.weight();
            self.budget.hold(weight)?;
            open.held += weight;
            open.directories.push_back(below);
        }
        Ok(())
    }

    fn is_directory(&mut self, path: &[u8]) -> Result<bool, Error> {
        match self.client.shows_directory(path) {
            // The refusal is about this object, or its name cannot be sent.
            Err(Error::Refused { .. } | Error::Argument(_)) => Ok(false),
            shown => Ok(shown? == Some(true)),
        }
    }

    /// Returns whether the directory with this identifier is being walked.
    fn is_open(&self, unique: Option<&[u8]>) -> bool {
        unique.is_some() && self.open.iter().any(|open| open.unique.as_deref() == unique)
    }

    fn skip(&mut self, directory: &[u8], why: Skipped) {
        self.ready.push_back(Walked::Skipped { directory: directory.to_vec(), why });
    }
}

impl Iterator for Walk<'_> {
    type Item = Result<Walked, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.step().transpose();
        if matches!(item, Some(Err(_))) {
            self.ready.clear();
            self.forget_listing();
            self.open.clear();
            self.cut = None;
        }
        item
    }
}
