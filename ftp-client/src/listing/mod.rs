//! Listings: lines as received, entries parsed from them, and whole trees (RFC 959 §4.1.3 `LIST`,
//! `NLST`; RFC 3659 §7 `MLSD`).
//!
//! [`Client::list`](crate::Client::list) returns [`Entries`], and
//! [`Client::walk`](crate::Client::walk) a [`Walk`] through a tree:
//!
//! ```no_run
//! use ftp_client::listing::Walked;
//!
//! # let mut client = ftp_client::Client::builder().connect("ftp.example.org")?;
//! for found in client.walk("pub").depth(3) {
//!     match found? {
//!         Walked::Entry { path, .. } => println!("{}", String::from_utf8_lossy(&path)),
//!         Walked::Skipped { why, .. } => println!("left out: {why}"),
//!     }
//! }
//! # Ok::<(), ftp_client::Error>(())
//! ```

mod entries;
mod lines;
mod walk;

use ftp_proto::Entry;

pub use crate::client::absence::Existence;
use crate::error::{Error, ListingCut};
pub(crate) use entries::Beginning;
pub use entries::{Entries, Listing};
pub use lines::Lines;
pub use walk::{Skipped, Walk, Walked};

/// The largest number of objects in a tree, and of lines in a listing that is not held in memory: a
/// server can invent objects.
pub(crate) const MOST_OBJECTS: usize = 10_000_000;

/// The command that lists a directory.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ListingForm {
    /// `MLSD` if the server lists `MLST` in `FEAT`, else `LIST`; also `LIST` if `MLSD` is refused.
    #[default]
    Auto,
    /// `MLSD`: exact, but missing on old servers (RFC 3659 §7).
    Mlsd,
    /// `LIST`: available everywhere, but without a standard format, so this library must guess the
    /// format.
    List,
    /// `NLST`: names only. Some servers leave out directories. If the server refuses `NLST`, as some
    /// do for an empty directory, the client uses `LIST`.
    Nlst,
}

/// Options of a listing.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct ListOptions {
    /// Whether to ask for names that begin with a dot, with `-a` in `LIST` and `NLST` (default:
    /// false).
    ///
    /// Servers may otherwise leave them out. If a server takes `-a` for a name and refuses it or
    /// lists nothing, the client lists again without `-a`. `MLSD` is not affected.
    pub all: bool,
    /// The command to use (default: [`Auto`](ListingForm::Auto)).
    pub form: ListingForm,
}

ftp_proto::settings! {
    ListOptions {
        all: bool = false,
        form: ListingForm = ListingForm::Auto,
    }
}

impl ListOptions {
    /// Returns the default options with this command.
    #[must_use]
    pub const fn by(form: ListingForm) -> Self {
        Self { all: false, form }
    }
}

/// Bytes that an allocation takes in addition to its content, on average: the allocator's own
/// bookkeeping and rounding.
const ALLOCATION: usize = 24;

/// The entries, and the memory for their names, that one or several listings may still take: a
/// server may send listings without end.
///
/// A program that holds the names of a tree, its paths, or its failures should count them all in
/// one budget, so that a hostile server cannot fill the memory of the host.
///
/// ```
/// use ftp_client::listing::Budget;
/// use ftp_client::Entry;
///
/// let mut budget = Budget::new().bytes(1_000);
/// let entry = Entry::new("a.txt");
/// budget.hold(Budget::weight_of(&entry))?;
/// assert!(budget.bytes < 1_000);
/// budget.release(Budget::weight_of(&entry));
/// assert_eq!(budget.bytes, 1_000);
/// assert!(budget.hold(1_001).is_err());
/// # Ok::<(), ftp_client::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Budget {
    /// The maximum number of entries and unknown lines (default: 1,000,000).
    pub entries: usize,
    /// The maximum memory of these entries and lines, in bytes (default: [`Budget::BYTES`]).
    pub bytes: usize,
}

ftp_proto::settings! {
    Budget {
        entries: usize = 1_000_000,
        bytes: usize = Self::BYTES,
    }
}

impl Budget {
    /// The memory for the names of one tree by default: 100 MiB.
    pub const BYTES: usize = 100 << 20;

    /// Counts `bytes` as held.
    ///
    /// # Errors
    ///
    /// Returns [`Error::ListingCut`] of [`ListingCut::TooLong`] if no such memory is left. The bytes
    /// are then not counted.
    pub fn hold(&mut self, bytes: usize) -> Result<(), Error> {
        self.bytes = self.bytes.checked_sub(bytes).ok_or_else(too_long)?;
        Ok(())
    }

    /// Counts held `bytes` as free again.
    pub const fn release(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Returns the bytes of memory that an entry takes, with its name and its other fields.
    #[must_use]
    pub fn weight_of(entry: &Entry) -> usize {
        let fields = [&entry.owner, &entry.group, &entry.target, &entry.unique];
        let fields = fields.into_iter().flatten().map(|field| Self::weight_of_name(field));
        size_of::<Entry>() - size_of::<Vec<u8>>()
            + Self::weight_of_name(&entry.name)
            + fields.sum::<usize>()
    }

    /// Returns the bytes of memory that a name or path takes as a `Vec<u8>`.
    #[must_use]
    pub const fn weight_of_name(name: &[u8]) -> usize {
        size_of::<Vec<u8>>() + ALLOCATION + name.len()
    }
}

impl Listing {
    /// Returns the bytes of memory that the entries and lines take, as a [`Budget`] counts them.
    #[must_use]
    pub fn weight(&self) -> usize {
        let lines = self.unparsed.iter().map(|line| Budget::weight_of_name(line));
        self.entries.iter().map(Budget::weight_of).chain(lines).sum()
    }
}

pub(super) const fn too_long() -> Error {
    Error::ListingCut(ListingCut::TooLong)
}
