//! Listings: lines as received, entries parsed from them, and whole trees (RFC 959 §4.1.3 `LIST`,
//! `NLST`; RFC 3659 §7 `MLSD`).
//!
//! [`Client::list`](crate::Client::list) returns [`Entries`], and
//! [`Client::walk`](crate::Client::walk) a [`Walk`] through a tree:
//!
//! ```no_run
//! use ftp_client::listing::{WalkOptions, Walked};
//!
//! # let mut client = ftp_client::Client::builder().connect("ftp.example.org")?;
//! for found in client.walk("pub", WalkOptions::new().depth(3)) {
//!     match found? {
//!         Walked::Entry { path, .. } => println!("{}", String::from_utf8_lossy(&path)),
//!         Walked::Skipped { why, .. } => println!("left out: {why}"),
//!     }
//! }
//! # Ok::<(), ftp_client::Error>(())
//! ```

mod budget;
mod cut;
mod entries;
mod lines;
mod walk;

pub use budget::Budget;
pub(crate) use entries::Beginning;
pub use entries::{Entries, ListLimits, Listed, Listing};
pub use lines::Lines;
pub use walk::{Skipped, Walk, WalkOptions, Walked};

/// The largest number of objects in a tree, and of lines in a listing that is not held in memory: a
/// server can invent objects.
pub(crate) const MOST_OBJECTS: usize = 10_000_000;

/// The command that lists a directory.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
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
