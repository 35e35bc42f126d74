//! Directory trees. FTP has no portable command to list a tree, so each directory is listed
//! separately, over the same control connection.

use std::collections::VecDeque;
use std::fmt;

use ftp_proto::{Entry, Escaped, Role};

use super::entries::{too_long, weight_of};
use super::{ListLimits, ListOptions, Listing};
use crate::client::Client;
use crate::error::{Error, ListingCut};

/// Options of a walk.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct WalkOptions {
    /// How each directory is listed (default: with names that begin with a dot).
    ///
    /// `NLST` does not tell directories from files, so with it a walk stays in the first directory.
    pub list: ListOptions,
    /// The maximum number of directory levels; 1 returns only the entries of the first directory
    /// (default: 128).
    pub depth: usize,
    /// The maximum number of items that a walk returns, and the maximum memory that it holds at a
    /// time; a walk that exceeds them fails.
    ///
    /// All entries of a directory are held in memory, with their paths, while they are returned.
    pub limits: ListLimits,
}

impl Default for WalkOptions {
    fn default() -> Self {
        let list = ListOptions { all: true, ..ListOptions::default() };
        Self { list, depth: 128, limits: ListLimits::default() }
    }
}

/// An item of a walk.
#[derive(Debug)]
pub enum Walked {
    /// An object. The entries of a directory follow later.
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
    Skipped {
        /// The path of the directory that is left out, or that contains what is left out.
        directory: Vec<u8>,
        /// The reason.
        why: Skipped,
    },
}

/// Why a walk leaves something out. `Display` explains it.
#[derive(Debug)]
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
    /// A directory deeper than [`WalkOptions::depth`].
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

/// A walk through a directory tree: an iterator over everything below a directory.
///
/// The entries of a directory come first, then those of its subdirectories. Symbolic links are
/// returned but not followed. If a server shows a link to a directory as a directory, the walk
/// follows it up to the depth limit. If the server sends unique identifiers, the walk leaves out a
/// link to a directory that contains the link. Everything left out is returned as
/// [`Walked::Skipped`], with the reason.
///
/// The last item may be an error: the first directory cannot be listed, the connection is lost, or
/// the limits are exceeded. An [`Error::ListingCut`] after all other items means that at least one
/// listing is not proved complete. Dropping a walk leaves the client usable.
#[derive(Debug)]
#[must_use = "nothing is listed until the caller requests the first item"]
pub struct Walk<'a> {
    client: &'a mut Client,
    options: WalkOptions,
    /// Items that were read but not yet returned.
    ready: VecDeque<Walked>,
    /// The directories from the first to the current one. Initially the list holds only a virtual
    /// directory, whose single entry is the first directory.
    open: Vec<Open>,
    /// The number of items that may still be returned.
    left: usize,
    /// The bytes of memory that `ready` takes.
    held: usize,
    /// The first reason why a listing is not proved complete.
    cut: Option<ListingCut>,
}

/// A directory whose entries were read.
#[derive(Debug)]
struct Open {
    unique: Option<Vec<u8>>,
    /// Its subdirectories that have not been entered yet.
    directories: std::vec::IntoIter<Below>,
    /// The bytes of memory that all its subdirectories take.
    held: usize,
}

/// A directory to be listed.
#[derive(Debug)]
struct Below {
    path: Vec<u8>,
    unique: Option<Vec<u8>>,
}

impl Below {
    /// Returns the bytes of memory that this value takes.
    fn weight(&self) -> usize {
        size_of::<Self>() + self.path.len() + self.unique.as_ref().map_or(0, Vec::len)
    }
}

impl Walked {
    /// Returns the bytes of memory that this value takes.
    fn weight(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Entry { path, entry, .. } => path.len() + weight_of(entry),
                Self::Skipped { directory, why } => {
                    directory.len()
                        + match why {
                            Skipped::UnsafeName(entry) => weight_of(entry),
                            Skipped::Unparsed(line) => line.len(),
                            _ => 0,
                        }
                }
            }
    }
}

impl<'a> Walk<'a> {
    pub(crate) fn new(client: &'a mut Client, directory: &[u8], options: WalkOptions) -> Self {
        let first = Below { path: directory.to_vec(), unique: None };
        let open = vec![Open { unique: None, directories: vec![first].into_iter(), held: 0 }];
        let left = options.limits.entries;
        Self { client, options, ready: VecDeque::new(), open, left, held: 0, cut: None }
    }

    fn step(&mut self) -> Result<Option<Walked>, Error> {
        loop {
            if let Some(walked) = self.ready.pop_front() {
                return Ok(Some(walked));
            }
            let Some(open) = self.open.last_mut() else {
                return match self.cut.take() {
                    Some(why) => Err(Error::ListingCut(why)),
                    None => Ok(None),
                };
            };
            match open.directories.next() {
                Some(below) => self.enter(below)?,
                None => drop(self.open.pop()),
            }
        }
    }

    /// Lists a directory and queues its entries.
    fn enter(&mut self, below: Below) -> Result<(), Error> {
        let Below { path, unique } = below;
        let is_first = self.open.len() == 1;
        let elsewhere = self.open.iter().map(|open| open.held).sum::<usize>();
        let bytes = self.options.limits.bytes.saturating_sub(elsewhere);
        let limits = ListLimits { entries: self.left, bytes };
        self.held = 0;
        let (listing, ended) = match self.client.list_directory(&path, self.options.list) {
            Ok(mut entries) => entries.gather_with(limits, true),
            Err(error) => (Listing::default(), Err(error)),
        };
        let Listing { entries, unparsed, .. } = listing;
        match ended {
            Ok(()) => {}
            Err(Error::ListingCut(why)) => {
                self.skip(&path, Skipped::Cut(why.clone()))?;
                self.cut.get_or_insert(why);
            }
            Err(error @ (Error::Refused(..) | Error::Argument(_))) if !is_first => {
                return self.skip(&path, Skipped::Unlisted(error));
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
            return self.skip(&path, Skipped::Loop);
        }
        for line in unparsed {
            self.skip(&path, Skipped::Unparsed(line))?;
        }
        let mut open = Open { unique, directories: Vec::new().into_iter(), held: 0 };
        open.directories = self.give_all(&path, entries, elsewhere, &mut open)?.into_iter();
        self.open.push(open);
        Ok(())
    }

    /// Queues the entries of a directory, and collects the subdirectories to enter.
    fn give_all(
        &mut self,
        path: &[u8],
        entries: Vec<Entry>,
        elsewhere: usize,
        open: &mut Open,
    ) -> Result<Vec<Below>, Error> {
        let depth = self.open.len() - 1;
        let mut directories = Vec::new();
        for entry in entries.into_iter().filter(|entry| entry.role == Role::Member) {
            if !entry.is_safe_name() {
                self.skip(path, Skipped::UnsafeName(entry))?;
                continue;
            }
            let path = join(path, &entry.name);
            let directory =
                entry.is_dir().then(|| Below { path: path.clone(), unique: entry.unique.clone() });
            self.give(Walked::Entry { path, depth, entry })?;
            open.held += directory.as_ref().map_or(0, Below::weight);
            // In a deep tree paths are long even if listings are short.
            if elsewhere + open.held + self.held > self.options.limits.bytes {
                return Err(too_long(self.options.limits));
            }
            let Some(below) = directory else { continue };
            if depth + 1 >= self.options.depth {
                self.skip(&below.path, Skipped::TooDeep)?;
            } else if below.unique == open.unique && open.unique.is_some()
                || self.is_open(below.unique.as_deref())
            {
                self.skip(&below.path, Skipped::Loop)?;
            } else {
                directories.push(below);
            }
        }
        Ok(directories)
    }

    /// Returns whether the directory with this identifier is being walked.
    fn is_open(&self, unique: Option<&[u8]>) -> bool {
        unique.is_some() && self.open.iter().any(|open| open.unique.as_deref() == unique)
    }

    fn skip(&mut self, directory: &[u8], why: Skipped) -> Result<(), Error> {
        self.give(Walked::Skipped { directory: directory.to_vec(), why })
    }

    fn give(&mut self, walked: Walked) -> Result<(), Error> {
        self.left = self.left.checked_sub(1).ok_or_else(|| too_long(self.options.limits))?;
        self.held += walked.weight();
        self.ready.push_back(walked);
        Ok(())
    }
}

impl Iterator for Walk<'_> {
    type Item = Result<Walked, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.step().transpose();
        if matches!(item, Some(Err(_))) {
            self.ready.clear();
            self.open.clear();
            self.cut = None;
        }
        item
    }
}

/// Returns the path of an entry of a directory.
fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    match directory {
        [] | [.., b'/'] => [directory, name].concat(),
        _ => [directory, b"/", name].concat(),
    }
}
