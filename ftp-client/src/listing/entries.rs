//! Entries that are read from the lines of a listing.

use std::collections::VecDeque;
use std::time::SystemTime;

use ftp_proto::{Entry, ListForm, ListLine, ListParser, ParseError, ParseErrorKind, Role, TimeVal};

use super::lines::Rest;
use super::{Lines, ListingForm};
use crate::client::Client;
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
/// The last item is an error if the listing is not proved whole, as for [`Lines`]. So a loop that
/// takes all items without one has seen all that the server lists; whether that is also what
/// begins with a dot, [`shows_hidden`](Self::shows_hidden) tells. Dropped before that, it does no
/// I/O; the next call on the client aborts the transfer first. Unless a directory seems to lie in
/// itself, no more than one line is held, however long the listing is.
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
    /// Read, and not yet given.
    ready: VecDeque<Listed>,
    /// `None` if nothing is left to be read.
    lines: Option<Lines<'a>>,
    reading: Reading,
}

/// How the lines of a listing are read.
#[derive(Debug)]
struct Reading {
    form: ListingForm,
    parser: ListParser,
    /// The argument of the command, empty if it had none.
    directory: Vec<u8>,
    shows_hidden: bool,
}

impl Reading {
    fn new(form: ListingForm, directory: Vec<u8>) -> Self {
        // It has no option for that, and no server is known that leaves them out.
        let shows_hidden = form == ListingForm::Mlsd;
        Self { form, parser: ListParser::new(now()), directory, shows_hidden }
    }

    fn line(&mut self, line: &[u8]) -> Option<Listed> {
        let parsed = match self.form {
            ListingForm::Mlsd => ListLine::parse_facts(line),
            ListingForm::Nlst => ListLine::parse_name(line, &self.directory),
            _ => self.parser.parse(line),
        };
        match parsed {
            ListLine::Entry(entry) => {
                // What has `.` hides nothing, and where Windows is a dot means nothing.
                self.shows_hidden |= entry.role != Role::Member
                    || entry.name.first() == Some(&b'.')
                    || matches!(self.parser.form(), Some(ListForm::Dos | ListForm::Os2));
                Some(Listed::Entry(entry))
            }
            ListLine::Unparsed(line) => Some(Listed::Unparsed(line)),
            _ => None,
        }
    }
}

/// The beginning of a listing, and how to go on with it, apart from the client.
#[derive(Debug)]
pub(crate) struct Beginning {
    ready: VecDeque<Listed>,
    rest: Option<Rest>,
    reading: Reading,
}

impl Beginning {
    /// Whether the listing ended without an entry or a line that is not understood. One of `.`
    /// is an entry.
    pub(crate) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.rest.is_none()
    }

    /// The only entry of a listing that ended with it, if it has the name of the directory.
    ///
    /// vsftpd lists so a directory that it must not read, and others what is none.
    pub(crate) fn own_name(&self) -> Option<&Entry> {
        match self.ready.front() {
            Some(Listed::Entry(entry)) if self.ready.len() == 1 && self.rest.is_none() => {
                Some(entry).filter(|entry| self.is_own(entry))
            }
            _ => None,
        }
    }

    fn is_own(&self, entry: &Entry) -> bool {
        let directory = &self.reading.directory;
        let end = directory.iter().rposition(|byte| *byte != b'/').map_or(0, |at| at + 1);
        let directory = directory.get(..end).expect("it was found in there");
        let name = directory.rsplit(|byte| *byte == b'/').next().expect("a split has a part");
        entry.role == Role::Member
            && !name.is_empty()
            && (entry.name == name || entry.name == directory)
    }

    /// Whether it cannot be one of [`own_name`](Self::own_name) any more, nor empty.
    fn is_decided(&self) -> bool {
        match self.ready.front() {
            None => false,
            Some(Listed::Entry(entry)) => self.ready.len() > 1 || !self.is_own(entry),
            Some(Listed::Unparsed(_)) => true,
        }
    }
}

impl<'a> Entries<'a> {
    pub(crate) fn new(lines: Lines<'a>, directory: Vec<u8>) -> Self {
        let reading = Reading::new(lines.form(), directory);
        Self { ready: VecDeque::new(), lines: Some(lines), reading }
    }

    /// Reads as far as it takes to know how it begins.
    pub(crate) fn begin(self) -> Result<Beginning, Error> {
        let Self { ready, mut lines, reading } = self;
        let mut beginning = Beginning { ready, rest: None, reading };
        while !beginning.is_decided()
            && let Some(line) = lines.as_mut().and_then(Iterator::next).transpose()?
        {
            beginning.ready.extend(beginning.reading.line(&line));
        }
        beginning.rest = lines.and_then(Lines::suspend);
        Ok(beginning)
    }

    /// Goes on with a listing.
    pub(crate) fn resume(client: &'a mut Client, beginning: Beginning) -> Self {
        let Beginning { ready, rest, reading } = beginning;
        Self { ready, lines: rest.map(|rest| Lines::resume(client, rest)), reading }
    }

    /// Reads all of it, with the directory itself and the one above.
    pub(crate) fn read_ahead(mut self, limits: ListLimits) -> Result<Beginning, Error> {
        let mut ready = VecDeque::new();
        let mut held = 0_usize;
        while let Some(listed) = self.step(true)? {
            held = held.saturating_add(weight(&listed));
            if ready.len() >= limits.entries || held > limits.bytes {
                return Err(too_long(limits));
            }
            ready.push_back(listed);
        }
        Ok(Beginning { ready, rest: None, reading: self.reading })
    }

    /// How the directory is listed: never [`Auto`](ListingForm::Auto).
    #[must_use]
    pub const fn form(&self) -> ListingForm {
        self.reading.form
    }

    /// Whether names that begin with a dot are known to be listed, by what was read so far: it is
    /// listed by `MLSD`, there is such a name in it, `.` among them, or its form is that of
    /// Windows. Where not, the directory may hold more of them.
    #[must_use]
    pub const fn shows_hidden(&self) -> bool {
        self.reading.shows_hidden
    }

    /// Reads the listing to its end and keeps it.
    ///
    /// # Errors
    ///
    /// Those of the items; [`Error::Protocol`], of kind `TooLong`, for a listing beyond `limits`.
    pub fn gather(mut self, limits: ListLimits) -> Result<Listing, Error> {
        let (listing, ended) = self.gather_with(limits, false);
        ended.map(|()| listing)
    }

    /// The same, with the listed directory and the one above if `with_roles`; and what came of it
    /// before an error.
    pub(super) fn gather_with(
        &mut self,
        limits: ListLimits,
        with_roles: bool,
    ) -> (Listing, Result<(), Error>) {
        let mut listing = Listing { form: self.form(), ..Listing::default() };
        let ended = self.gather_into(&mut listing, limits, with_roles);
        listing.shows_hidden = self.shows_hidden();
        (listing, ended)
    }

    fn gather_into(
        &mut self,
        listing: &mut Listing,
        limits: ListLimits,
        with_roles: bool,
    ) -> Result<(), Error> {
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
        Ok(())
    }

    fn step(&mut self, with_roles: bool) -> Result<Option<Listed>, Error> {
        loop {
            if let Some(listed) = self.ready.pop_front() {
                match &listed {
                    Listed::Entry(entry) if !with_roles && entry.role != Role::Member => continue,
                    _ => return Ok(Some(listed)),
                }
            }
            let Some(lines) = &mut self.lines else { return Ok(None) };
            let Some(line) = lines.next().transpose()? else { return Ok(None) };
            self.ready.extend(self.reading.line(&line));
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
    /// Whether names that begin with a dot are known to be among the entries, as far as there are
    /// any: see [`Entries::shows_hidden`].
    pub shows_hidden: bool,
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
