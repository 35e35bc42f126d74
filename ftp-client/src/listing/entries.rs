//! Entries parsed from the lines of a listing.

use std::collections::VecDeque;
use std::time::SystemTime;

use ftp_proto::{Entry, Escaped, ListForm, ListLine, ListParser, Role, TimeVal};

use super::lines::ListingRest;
use super::{Budget, Lines, ListingForm, too_long};
use crate::client::Client;
use crate::error::Error;

/// The entries of a directory, read line by line.
///
/// The directory itself, its parent, and lines such as `total 12` are left out. If a date has no
/// year, the year is derived from the clock of this system.
///
/// The last item is an error if the listing is not proved complete, as for [`Lines`]. A loop that
/// ends without an error has seen all that the server lists; [`shows_hidden`](Self::shows_hidden)
/// returns whether that includes names that begin with a dot. Dropping the iterator early does no
/// I/O; the next call on the client aborts the transfer first. Usually only one line is held in
/// memory.
///
/// ```no_run
/// # let mut client = ftp_client::Client::builder().connect("ftp.example.org")?;
/// use ftp_client::ListLine;
///
/// for item in client.list("pub")? {
///     match item? {
///         ListLine::Entry(entry) => println!("{:?} {}", entry.size, entry.name_lossy()),
///         ListLine::Unparsed(line) => println!("? {}", String::from_utf8_lossy(&line)),
///     }
/// }
/// # Ok::<(), ftp_client::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "a listing that is dropped is aborted"]
pub struct Entries<'a> {
    /// Entries that were read but not yet returned.
    ready: VecDeque<ListLine>,
    /// `None` if nothing is left to read.
    lines: Option<Lines<'a>>,
    /// The error after the last entry.
    failed: Option<Error>,
    reading: Reading,
}

#[derive(Debug)]
struct Reading {
    form: ListingForm,
    parser: ListParser,
    /// The paths of the directory with which its names may begin: the one that the caller gave,
    /// which can be empty, and the absolute one.
    paths: Vec<Vec<u8>>,
    shows_hidden: bool,
    count: usize,
    /// Whether the first line was the beginning of a reply, as were the listing one.
    is_framed: bool,
    /// Whether the first line ended in CR CR LF.
    has_crs: bool,
}

impl Reading {
    fn new(form: ListingForm, paths: Vec<Vec<u8>>) -> Self {
        // `MLSD` has no option for hidden names, and no known server leaves them out.
        let shows_hidden = form == ListingForm::Mlsd;
        let parser = ListParser::new(now());
        let (count, is_framed, has_crs) = (0, false, false);
        Self { form, parser, paths, shows_hidden, count, is_framed, has_crs }
    }

    fn directory(&self) -> &[u8] {
        self.paths.first().map_or(b"", Vec::as_slice)
    }

    /// Removes the path of the directory before a name, which servers on IBM i send, or `./`.
    fn shorten(&self, entry: &mut Entry) {
        if entry.role != Role::Member || !entry.name.contains(&b'/') {
            return;
        }
        let below = self.paths.iter().filter(|path| !path.is_empty()).find_map(|path| {
            let rest = entry.name.strip_prefix(path.as_slice())?;
            if path.ends_with(b"/") { Some(rest) } else { rest.strip_prefix(b"/") }
        });
        let below = below.or_else(|| entry.name.strip_prefix(b"./"));
        if let Some(name) = below.filter(|name| !name.is_empty()) {
            let Entry { name, role, .. } = Entry::new(name);
            (entry.name, entry.role) = (name, role);
        }
    }

    /// Parses the next line. Returns `None` if it is about the listing itself.
    fn take(&mut self, mut line: Vec<u8>) -> Option<ListLine> {
        self.count += 1;
        if self.is_frame(&mut line) { None } else { self.line(&line) }
    }

    /// Removes what some servers put around a line: a byte order mark before the first one, a second CR
    /// and NULs at the end. Returns whether the line only frames the listing, as in a reply.
    fn is_frame(&mut self, line: &mut Vec<u8>) -> bool {
        if self.count == 1 && self.form != ListingForm::Nlst && line.starts_with(b"\xef\xbb\xbf") {
            line.drain(..3);
        }
        while line.pop_if(|last| *last == 0).is_some() {}
        // A CR can also be the end of a name.
        self.has_crs |= self.count == 1 && line.ends_with(b"\r");
        line.pop_if(|last| self.has_crs && *last == b'\r');
        let is_first = self.count == 1 && line.starts_with(b"250-");
        let is_last = self.is_framed && line.starts_with(b"250 ");
        let is_frame = self.form == ListingForm::Mlsd && (is_first || is_last);
        self.is_framed |= is_frame;
        is_frame
    }

    fn line(&mut self, line: &[u8]) -> Option<ListLine> {
        let mut parsed = match self.form {
            ListingForm::Mlsd => ListLine::parse_facts(line),
            ListingForm::Nlst => ListLine::parse_name(line, self.directory()),
            _ => self.parser.parse(line),
        };
        if let Some(ListLine::Entry(entry)) = &mut parsed {
            self.shorten(entry);
            // A listing with `.` hides nothing, and on Windows a dot has no special meaning.
            self.shows_hidden |= entry.role != Role::Member
                || entry.name.first() == Some(&b'.')
                || matches!(self.parser.form(), Some(ListForm::Dos | ListForm::Os2));
        }
        parsed
    }
}

/// A partly read listing that does not borrow the client.
#[derive(Debug)]
pub(crate) struct Beginning {
    ready: VecDeque<ListLine>,
    rest: Option<ListingRest>,
    /// The error after the last line.
    failed: Option<Error>,
    reading: Reading,
}

impl Beginning {
    pub(crate) fn of_nothing(form: ListingForm, path: Vec<u8>) -> Self {
        let reading = Reading::new(form, vec![path]);
        Self { ready: VecDeque::new(), rest: None, failed: None, reading }
    }

    /// Returns whether the listing ended without an entry or an unknown line. A `.` counts as an
    /// entry.
    pub(crate) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.rest.is_none()
    }

    /// Returns the only entry of a complete listing, if that entry has the name of the directory.
    ///
    /// vsftpd lists an unreadable directory like this; other servers list a file like this.
    pub(crate) fn own_name(&self) -> Option<&Entry> {
        match self.ready.front() {
            Some(ListLine::Entry(entry)) if self.ready.len() == 1 && self.rest.is_none() => {
                Some(entry).filter(|entry| self.is_own(entry))
            }
            _ => None,
        }
    }

    /// Returns whether the listing ended without an error.
    pub(crate) const fn is_whole(&self) -> bool {
        self.rest.is_none() && self.failed.is_none()
    }

    /// Returns whether the listing shows an object of this name that may be a directory.
    pub(crate) fn may_have_directory(&self, name: &[u8]) -> bool {
        self.ready.iter().any(|listed| {
            matches!(listed, ListLine::Entry(entry)
                if entry.role == Role::Member && entry.name == name && !entry.is_file())
        })
    }

    fn is_own(&self, entry: &Entry) -> bool {
        let directory = self.reading.directory();
        let end = directory.iter().rposition(|byte| *byte != b'/').map_or(0, |at| at + 1);
        let directory = directory.get(..end).expect("`end` is within the path");
        let name = directory.rsplit(|byte| *byte == b'/').next().expect("a split has parts");
        entry.role == Role::Member
            && !name.is_empty()
            && (entry.name == name || entry.name == directory)
    }

    /// Returns whether the lines so far rule out that the listing is empty or consists only of its
    /// [`own_name`](Self::own_name).
    fn is_decided(&self) -> bool {
        match self.ready.front() {
            None => false,
            Some(ListLine::Entry(entry)) => self.ready.len() > 1 || !self.is_own(entry),
            Some(ListLine::Unparsed(_)) => true,
        }
    }
}

impl<'a> Entries<'a> {
    pub(crate) fn new(lines: Lines<'a>, paths: Vec<Vec<u8>>) -> Self {
        let reading = Reading::new(lines.form(), paths);
        Self { ready: VecDeque::new(), lines: Some(lines), failed: None, reading }
    }

    /// Reads until the listing ends or [`is_decided`](Beginning::is_decided) returns true.
    pub(crate) fn begin(self) -> Result<Beginning, Error> {
        let Self { ready, mut lines, reading, .. } = self;
        let mut beginning = Beginning { ready, rest: None, failed: None, reading };
        while !beginning.is_decided()
            && let Some(line) = lines.as_mut().and_then(Iterator::next).transpose()?
        {
            beginning.ready.extend(beginning.reading.take(line));
        }
        beginning.rest = lines.and_then(Lines::suspend);
        Ok(beginning)
    }

    /// Reads until the listing ends, or has this number of lines.
    pub(crate) fn begin_short(self, most: usize) -> Beginning {
        let Self { mut ready, mut lines, mut failed, mut reading } = self;
        while ready.len() < most
            && let Some(reader) = &mut lines
        {
            match reader.next() {
                Some(Ok(line)) => ready.extend(reading.take(line)),
                end => {
                    lines = None;
                    failed = end.and_then(Result::err);
                }
            }
        }
        Beginning { ready, rest: lines.and_then(Lines::suspend), failed, reading }
    }

    pub(crate) fn resume(client: &'a mut Client, beginning: Beginning) -> Self {
        let Beginning { ready, rest, failed, reading } = beginning;
        let lines = rest.map(|rest| Lines::resume(client, rest));
        Self { ready, lines, failed, reading }
    }

    /// Returns the command that lists the directory; never [`Auto`](ListingForm::Auto).
    #[must_use]
    pub const fn form(&self) -> ListingForm {
        self.reading.form
    }

    /// Returns whether the lines read so far show that names with a leading dot are listed.
    ///
    /// The result is `true` for `MLSD`, for a listing in DOS or OS/2 form, and once a name with a
    /// leading dot, such as `.` itself, was listed. Otherwise the server may have left such names
    /// out.
    #[must_use]
    pub const fn shows_hidden(&self) -> bool {
        self.reading.shows_hidden
    }

    /// Reads the listing to its end and collects it.
    ///
    /// # Errors
    ///
    /// Returns the error of an item, or [`Error::ListingCut`] of
    /// [`TooLong`](crate::error::ListingCut::TooLong) if the listing exceeds `limits`.
    pub fn gather(mut self, limits: Budget) -> Result<Listing, Error> {
        let (listing, ended) = self.gather_with(limits, false);
        ended.map(|()| listing)
    }

    /// Collects the listing. If `with_roles` is true, it includes the entries of the directory
    /// itself and its parent. After an error, it contains the items that arrived before the error.
    pub(super) fn gather_with(
        &mut self,
        limits: Budget,
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
        mut limits: Budget,
        with_roles: bool,
    ) -> Result<(), Error> {
        while let Some(listed) = self.step(true)? {
            if let ListLine::Entry(entry) = &listed
                && entry.role != Role::Member
                && !with_roles
            {
                if entry.role == Role::Itself {
                    listing.itself = Some(entry.clone());
                }
                continue;
            }
            limits.hold(weight(&listed))?;
            limits.entries = limits.entries.checked_sub(1).ok_or_else(too_long)?;
            match listed {
                ListLine::Entry(entry) => listing.entries.push(entry),
                ListLine::Unparsed(line) => listing.unparsed.push(line),
            }
        }
        Ok(())
    }

    fn step(&mut self, with_roles: bool) -> Result<Option<ListLine>, Error> {
        loop {
            if let Some(listed) = self.ready.pop_front() {
                match &listed {
                    ListLine::Entry(entry) if !with_roles && entry.role != Role::Member => continue,
                    _ => return Ok(Some(listed)),
                }
            }
            let Some(lines) = &mut self.lines else {
                return self.failed.take().map_or(Ok(None), Err);
            };
            match lines.next() {
                Some(Ok(line)) => self.ready.extend(self.reading.take(line)),
                end => {
                    self.lines = None;
                    self.failed = end.and_then(Result::err);
                }
            }
        }
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<ListLine, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step(false).transpose()
    }
}

/// A complete listing.
#[derive(Clone, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Listing {
    /// The entries of the directory, in the server's order.
    pub entries: Vec<Entry>,
    /// Lines in no known form; see [`ListLine::Unparsed`].
    pub unparsed: Vec<Vec<u8>>,
    /// The directory itself, if the server lists it as `.` or with the fact `type=cdir`; the last
    /// one if there are several.
    pub itself: Option<Entry>,
    /// The command that listed the directory.
    pub form: ListingForm,
    /// Whether names that begin with a dot are known to be included: see [`Entries::shows_hidden`].
    pub shows_hidden: bool,
}

impl Listing {
    /// Returns the listing if it is empty, or if at least one of its lines could be parsed.
    ///
    /// # Errors
    ///
    /// Returns [`Error::UnknownListing`], with the system of the server (`SYST`), and the errors of
    /// the connection.
    pub fn understood(self, client: &mut Client) -> Result<Self, Error> {
        match self.unparsed.first().filter(|_| self.entries.is_empty()) {
            Some(line) => Err(client.unreadable_listing(line)),
            None => Ok(self),
        }
    }
}

ftp_proto::debug_fields!(Listing {
    entries,
    unparsed: unparsed.iter().map(|line| Escaped(line)).collect::<Vec<_>>(),
    itself,
    form,
    shows_hidden,
});

/// Returns the bytes of memory that an item takes.
fn weight(listed: &ListLine) -> usize {
    match listed {
        ListLine::Unparsed(line) => Budget::weight_of_name(line),
        ListLine::Entry(entry) => Budget::weight_of(entry),
    }
}

fn now() -> TimeVal {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or_default();
    let first = TimeVal::new(1970, 1, 1, 0, 0, 0);
    TimeVal::from_unix_seconds(seconds).or(first).expect("1970-01-01 is in the calendar")
}
