//! Whole trees, directory by directory. FTP has no command for that which servers share, so each
//! directory is listed for itself, over the one control connection.

use std::collections::VecDeque;
use std::fmt;

use ftp_proto::{Entry, Escaped, Role};

use super::entries::{too_long, weight_of};
use super::{ListLimits, ListOptions, Listing};
use crate::client::Client;
use crate::error::{Error, ListingCut};

/// How far a walk goes, and how it lists.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct WalkOptions {
    /// How each directory is listed: by default with names that begin with a dot. `NLST` tells no
    /// directory from a file, so with it a walk stays in the first.
    pub list: ListOptions,
    /// How many directories deep it goes: with 1 only what is in the first is given. 128.
    pub depth: usize,
    /// How many items it gives, and how many bytes of memory it holds at a time, before it fails.
    /// A directory is held whole while it is gone through, each of its entries with its path.
    pub limits: ListLimits,
}

impl Default for WalkOptions {
    fn default() -> Self {
        let list = ListOptions { all: true, ..ListOptions::default() };
        Self { list, depth: 128, limits: ListLimits::default() }
    }
}

/// What a walk comes across.
#[derive(Debug)]
pub enum Walked {
    /// An object. If it is a directory, what is in it follows later.
    Entry {
        /// Its path: that of the directory the walk began in, as it was given, and names below
        /// it, each of which [is safe](Entry::is_safe_name).
        path: Vec<u8>,
        /// How many directories below the first it lies; 0 for what is in that.
        depth: usize,
        /// What the listing says of it.
        entry: Entry,
    },
    /// Something that is left out.
    Skipped {
        /// The path of the directory that it is in, or of the one that it is about.
        directory: Vec<u8>,
        /// Why.
        why: Skipped,
    },
}

/// Why a walk leaves something out. `Display` says it for people.
#[derive(Debug)]
#[non_exhaustive]
pub enum Skipped {
    /// An entry whose name [is not safe](Entry::is_safe_name): it names nothing in its directory.
    UnsafeName(Entry),
    /// A line in no known form.
    Unparsed(Vec<u8>),
    /// A directory that cannot be listed: the server refuses, or its path cannot be sent.
    Unlisted(Error),
    /// What else is in a directory of which the listing is not proved whole.
    Cut(ListingCut),
    /// A directory deeper than [`WalkOptions::depth`].
    TooDeep,
    /// A directory that is one of those it lies in, by what the server tells it by (RFC 3659
    /// §7.5.2): to go on would not end.
    Loop,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnsafeName(entry) => write!(f, "not a name: {}", Escaped(&entry.name)),
            Self::Unparsed(line) => write!(f, "not understood: {}", Escaped(line)),
            Self::Unlisted(error) => write!(f, "not listed: {error}"),
            Self::Cut(why) => write!(f, "not proved to be all: {why}"),
            Self::TooDeep => f.write_str("too deep"),
            Self::Loop => f.write_str("lies in itself"),
        }
    }
}

/// A walk through a tree: an iterator over all that is in a directory and below it.
///
/// A directory's entries come one after the other, then those of the directories in it. Symbolic
/// links are given and not followed; a server that shows a link to a directory as a directory is
/// believed, up to the depth, or to the directory that the link lies in if the server tells
/// objects apart. What is left out is given too, with the reason.
///
/// The error that ends a walk is its last item: the first directory cannot be listed, the
/// connection is lost, there is more than the limits allow, or, after all else, the listing of
/// some directory is not proved whole ([`Error::ListingCut`]). A walk that is dropped leaves the
/// client as it was.
#[derive(Debug)]
#[must_use = "nothing is listed before the first item is asked for"]
pub struct Walk<'a> {
    client: &'a mut Client,
    options: WalkOptions,
    /// Read and not yet given.
    ready: VecDeque<Walked>,
    /// From the first directory to the one that is gone through. Before the first it is one that
    /// holds nothing but it.
    open: Vec<Open>,
    /// How many items may still come.
    left: usize,
    /// How many bytes of memory `ready` takes.
    held: usize,
    /// Why the first listing that is not proved whole is not.
    cut: Option<ListingCut>,
}

/// A directory whose entries were read.
#[derive(Debug)]
struct Open {
    unique: Option<Vec<u8>>,
    /// The directories in it that were not gone through.
    directories: std::vec::IntoIter<Below>,
    /// How many bytes of memory they took at first.
    held: usize,
}

/// A directory to be listed.
#[derive(Debug)]
struct Below {
    path: Vec<u8>,
    unique: Option<Vec<u8>>,
}

impl Below {
    /// How many bytes of memory it takes.
    fn weight(&self) -> usize {
        size_of::<Self>() + self.path.len() + self.unique.as_ref().map_or(0, Vec::len)
    }
}

impl Walked {
    /// How many bytes of memory it takes.
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

    /// Lists a directory.
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
            // No line told it of the first directory, and no entry of another did.
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

    /// Gives the entries of a directory, and finds those that are to be gone through.
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
            // Paths are long where the tree is deep, however short the listing.
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

    /// Whether this is a directory that is being gone through.
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
        }
        item
    }
}

/// The path of what is in a directory.
fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    match directory {
        [] | [.., b'/'] => [directory, name].concat(),
        _ => [directory, b"/", name].concat(),
    }
}
