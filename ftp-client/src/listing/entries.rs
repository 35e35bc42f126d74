//! Entries that are read from the lines of a listing.

use std::time::SystemTime;

use ftp_proto::{Entry, ListLine, ListParser, ParseError, ParseErrorKind, Role, TimeVal};

use super::{Lines, ListingForm};
use crate::error::Error;

/// What a line of a listing says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Listed {
    /// An object in the directory. The name is the server's word: one for which
    /// [`is_safe_name`](Entry::is_safe_name) is false is no name of something in the directory,
    /// and must not become part of a local path.
    Entry(Entry),
    /// A line in no known form, as it came: a message for people, or an object that is not
    /// understood. Whoever removes what a listing lacks should not, with one of these in it.
    Unparsed(Vec<u8>),
}

/// What is in a directory, read line by line.
///
/// The listed directory itself and the one above, which servers list too, are left out, and so
/// are lines about the listing, such as `total 12`. Dates that lack the year are read by the
/// clock of this system.
///
/// The last item is an error if the server does not say that the listing is whole, so a loop that
/// takes all items without one has seen all of it. Dropped before that, it does no I/O; the next
/// call on the client aborts the transfer first. No more than one line is held, however long the
/// listing is.
///
/// ```no_run
/// # let mut client = ftp_client::Client::builder().connect("ftp.example.org")?;
/// use ftp_client::Listed;
///
/// for item in client.list("pub")? {
///     match item? {
///         Listed::Entry(entry) => println!("{:?} {}", entry.size, entry.name_lossy()),
///         Listed::Unparsed(line) => println!("? {}", String::from_utf8_lossy(&line)),
///     }
/// }
/// # Ok::<(), ftp_client::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "a listing that is dropped is aborted"]
pub struct Entries<'a> {
    lines: Lines<'a>,
    parser: ListParser,
    /// The argument of the command, empty if it had none.
    directory: Vec<u8>,
}

impl<'a> Entries<'a> {
    pub(crate) fn new(lines: Lines<'a>, directory: Vec<u8>) -> Self {
        Self { lines, parser: ListParser::new(now()), directory }
    }

    /// How the directory is listed: never [`Auto`](ListingForm::Auto).
    #[must_use]
    pub const fn form(&self) -> ListingForm {
        self.lines.form()
    }

    /// Reads the listing to its end and keeps it.
    ///
    /// # Errors
    ///
    /// Those of the items; [`Error::Protocol`], of kind `TooLong`, for a listing beyond `limits`.
    pub fn gather(mut self, limits: ListLimits) -> Result<Listing, Error> {
        self.gather_with(limits, false)
    }

    /// The same, with the listed directory and the one above if `with_roles`.
    pub(super) fn gather_with(
        &mut self,
        limits: ListLimits,
        with_roles: bool,
    ) -> Result<Listing, Error> {
        let mut listing = Listing { form: self.form(), ..Listing::default() };
        let mut held = 0_usize;
        while let Some(listed) = self.step(true)? {
            if let Listed::Entry(entry) = &listed
                && entry.role != Role::Member
                && !with_roles
            {
                if entry.role == Role::Itself {
                    listing.itself = Some(entry.clone());
                }
                continue;
            }
            held = held.saturating_add(weight(&listed));
            if listing.entries.len() + listing.unparsed.len() >= limits.entries
                || held > limits.bytes
            {
                return Err(too_long(limits));
            }
            match listed {
                Listed::Entry(entry) => listing.entries.push(entry),
                Listed::Unparsed(line) => listing.unparsed.push(line),
            }
        }
        Ok(listing)
    }

    fn step(&mut self, with_roles: bool) -> Result<Option<Listed>, Error> {
        loop {
            let Some(line) = self.lines.next().transpose()? else { return Ok(None) };
            let parsed = match self.form() {
                ListingForm::Mlsd => ListLine::parse_facts(&line),
                ListingForm::Nlst => ListLine::parse_name(&line, &self.directory),
                _ => self.parser.parse(&line),
            };
            match parsed {
                ListLine::Entry(entry) if with_roles || entry.role == Role::Member => {
                    return Ok(Some(Listed::Entry(entry)));
                }
                ListLine::Unparsed(line) => return Ok(Some(Listed::Unparsed(line))),
                _ => {}
            }
        }
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<Listed, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step(false).transpose()
    }
}

/// A whole listing, collected.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Listing {
    /// What is in the directory, in the order of the server.
    pub entries: Vec<Entry>,
    /// Lines in no known form; see [`Listed::Unparsed`].
    pub unparsed: Vec<Vec<u8>>,
    /// The listed directory itself, where the server lists it as `.` or by the fact `type=cdir`.
    /// The last, if there are several.
    pub itself: Option<Entry>,
    /// How it was listed.
    pub form: ListingForm,
}

/// How much of a listing is kept at most: a server may send one without an end.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ListLimits {
    /// Entries, and lines in no known form. 1,000,000.
    pub entries: usize,
    /// Bytes of memory that they take. 256 MiB.
    pub bytes: usize,
}

impl Default for ListLimits {
    fn default() -> Self {
        Self { entries: 1_000_000, bytes: 256 << 20 }
    }
}

pub(super) const fn too_long(limits: ListLimits) -> Error {
    let kind = ParseErrorKind::TooLong;
    Error::Protocol(ParseError::new("listing, by number of entries", limits.entries, kind))
}

/// How many bytes of memory it takes.
fn weight(listed: &Listed) -> usize {
    let held = match listed {
        Listed::Unparsed(line) => line.len(),
        Listed::Entry(entry) => weight_of(entry),
    };
    size_of::<Entry>() + held
}

/// How many bytes of memory the fields of an entry take beside it.
pub(super) fn weight_of(entry: &Entry) -> usize {
    let fields = [&entry.owner, &entry.group, &entry.target, &entry.unique];
    let fields = fields.into_iter().flatten().map(Vec::len);
    entry.name.len() + fields.sum::<usize>()
}

/// The time by the clock of this system.
fn now() -> TimeVal {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or_default();
    let first = TimeVal::new(1970, 1, 1, 0, 0, 0);
    TimeVal::from_unix_seconds(seconds).or(first).expect("1970-01-01 is in the calendar")
}
