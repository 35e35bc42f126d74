//! What is in directories: lines as the server sent them, entries that are read from them, and
//! whole trees (RFC 959 §4.1.3 `LIST`, `NLST`; RFC 3659 §7 `MLSD`).

mod cut;
mod entries;
mod lines;
mod walk;

pub(crate) use entries::Beginning;
pub use entries::{Entries, ListLimits, Listed, Listing};
pub use lines::Lines;
pub use walk::{Skipped, Walk, WalkOptions, Walked};

/// How a directory is listed.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum ListingForm {
    /// `MLSD` where the server lists `MLST` in `FEAT`, else `LIST`.
    #[default]
    Auto,
    /// `MLSD`: exact, and missing in old servers (RFC 3659 §7).
    Mlsd,
    /// `LIST`: in every server, in a form made for people, which is guessed at.
    List,
    /// `NLST`: the names and nothing else. Some servers leave directories out, and some refuse an
    /// empty directory with 550.
    Nlst,
}

/// What is wanted of a listing.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct ListOptions {
    /// Asks for names with a dot in front too, by `-a` in `LIST` and `NLST`; without it servers may
    /// leave them out. Where a server takes it for a name, and so refuses it or lists nothing, the
    /// listing is made without. `MLSD` shows what it shows without.
    pub all: bool,
    /// By which command.
    pub form: ListingForm,
}

impl ListOptions {
    /// By this command, and otherwise as servers like it.
    #[must_use]
    pub const fn by(form: ListingForm) -> Self {
        Self { all: false, form }
    }
}
