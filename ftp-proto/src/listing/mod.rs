//! Directory listings: the data sent for `LIST`, `NLST` and `MLSD`.
//!
//! RFC 959 §4.1.3 defines no format for `LIST`. Servers send the output of their system's listing
//! command or an imitation of it, so parsing is guesswork, based on lines of real servers
//! (`tests/listings`). `NLST` sends one name per line, and RFC 3659 §7 defines the format for
//! `MLSD`.
//!
//! Each line is parsed by itself, in time linear in its length, and every line has a result. Lines
//! in no known form are returned unchanged. Showing such a line helps the user more than an error,
//! and a wrong guess could make a client delete the wrong file.

mod date;
mod dos;
mod entry;
mod unix;
mod words;

pub use entry::{Entry, EntryKind, Modified, Permissions, Precision, Role, Zone};

use std::fmt;

use crate::bytes::{self, Escaped, ReadAhead, split_once};
use crate::fact::Facts;
use crate::limits;
use crate::time_val::TimeVal;

/// One line of a listing, unless the line is about the listing itself: an empty line, `total 12` or
/// `.:`.
#[derive(Clone, Eq, PartialEq)]
pub enum ListLine {
    /// An object in the directory, as the server names it. If
    /// [`is_safe_name`](Entry::is_safe_name) returns false, the name must not become part of a local
    /// path.
    Entry(Entry),
    /// A line in no known form, as received: an object that cannot be parsed, or a message such as
    /// `ftpd: .: Permission denied`. If a listing has such a line, do not delete files that the
    /// listing lacks.
    Unparsed(Vec<u8>),
}

impl fmt::Debug for ListLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry(entry) => entry.fmt(f),
            Self::Unparsed(line) => f.debug_tuple("Unparsed").field(&Escaped(line)).finish(),
        }
    }
}

/// The line formats that [`ListParser`] knows.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ListForm {
    /// `ls -l` in its many variants, including NetWare's.
    Unix,
    /// `MM-DD-YY hh:mmAM <DIR> name` and its variants.
    Dos,
    /// IBM's server for OS/2: size, attributes, date, time, name.
    Os2,
    /// `+facts<TAB>name`.
    Eplf,
    /// The lines of `MLSD`, sent for `LIST`.
    Facts,
}

impl ListLine {
    /// Parses one line of a `LIST` listing without the context of other lines; see
    /// [`ListParser::parse`].
    ///
    /// ```
    /// use ftp_proto::{EntryKind, ListLine, TimeVal};
    ///
    /// let now = TimeVal::parse(b"20260701120000")?;
    /// let line = ListLine::parse(b"01-29-26  09:16AM       <DIR>          a b", now);
    /// let Some(ListLine::Entry(entry)) = line else { panic!("{line:?}") };
    /// assert_eq!((entry.kind, entry.name), (Some(EntryKind::Directory), b"a b".to_vec()));
    /// assert_eq!(ListLine::parse(b"total 12", now), None);
    /// # Ok::<(), ftp_proto::ParseError>(())
    /// ```
    #[must_use]
    pub fn parse(line: &[u8], reference: TimeVal) -> Option<Self> {
        ListParser::new(reference).parse(line)
    }

    /// Parses one line of an `MLSD` listing (RFC 3659 §7.2): facts, one SP, the name. A line that
    /// begins with SP has no facts.
    ///
    /// Returns `None` for an empty line or a lone SP, TAB or CR, and `Unparsed` for any other line
    /// for which [`Facts::parse`] fails.
    #[must_use]
    pub fn parse_facts(line: &[u8]) -> Option<Self> {
        match Facts::parse(line) {
            Ok(facts) => {
                let mut entry = Entry::from(&facts);
                if entry.is_dir() {
                    drop_slash(&mut entry);
                }
                Some(Self::Entry(entry))
            }
            Err(_) if line.len() < 2 && is_blank(line) => None,
            _ => Some(Self::Unparsed(line.to_vec())),
        }
    }

    /// Parses one line of an `NLST` listing, which is only a name.
    ///
    /// For `NLST dir`, some servers send `dir/name` and others `name`. Pass the argument of the
    /// command as `directory` (empty if it had none). If the line begins with `directory` and `/`,
    /// both are removed; otherwise, a leading `./` is removed. A `/` at the end marks a directory and
    /// is removed, too. A name can still contain `/`; it is then
    /// [not safe](Entry::is_safe_name). Returns `None` for an empty line. Messages cannot
    /// be distinguished from names.
    ///
    /// ```
    /// use ftp_proto::ListLine;
    ///
    /// let line = ListLine::parse_name(b"pub/a.txt", b"pub");
    /// let Some(ListLine::Entry(entry)) = line else { panic!("{line:?}") };
    /// assert_eq!(entry.name, b"a.txt");
    /// ```
    #[must_use]
    pub fn parse_name(line: &[u8], directory: &[u8]) -> Option<Self> {
        if line.is_empty() {
            return None;
        }
        let below = |directory: &[u8]| -> Option<&[u8]> {
            let rest = line.strip_prefix(directory)?;
            let rest = if directory.ends_with(b"/") { rest } else { rest.strip_prefix(b"/")? };
            (!rest.is_empty()).then_some(rest)
        };
        let given = Some(directory).filter(|directory| !directory.is_empty());
        let name = given.and_then(below).or_else(|| below(b"./")).unwrap_or(line);
        let mut entry = Entry::new(name);
        if drop_slash(&mut entry) {
            entry.kind = Some(EntryKind::Directory);
        }
        Some(Self::Entry(entry))
    }
}

/// A parser for the lines of one `LIST` listing, in order.
///
/// Each line is parsed by itself, so a listing may mix formats. Only the following is remembered
/// from earlier lines, and it never decides whether a line is an entry:
///
/// - whether dates such as `03-04-21` begin with the month or the day, once a number over 12 has
///   shown the order. Before that, a date with `-` begins with the month, as IIS sends it. So does
///   a date with `/` if AM or PM follows; otherwise, its value is unknown;
/// - whether a left-aligned year is followed by a padding SP, as on servers for VMS, or by the
///   name.
///
/// A first line of a word and a number, such as `samtals 8`, is skipped as a total.
///
/// ```
/// use ftp_proto::{ListLine, ListParser, TimeVal};
///
/// let now = TimeVal::parse(b"20260701120000")?;
/// let mut parser = ListParser::new(now);
/// let line = parser.parse(b"lrwxrwxrwx   1 root     other          7 Jan 25 00:17 bin -> usr/bin");
/// let Some(ListLine::Entry(entry)) = line else { panic!("{line:?}") };
/// assert_eq!(entry.name, b"bin");
/// assert_eq!(entry.target.as_deref(), Some(b"usr/bin".as_slice()));
/// assert_eq!(entry.owner.as_deref(), Some(b"root".as_slice()));
/// assert_eq!(entry.permissions.unwrap().to_string(), "rwxrwxrwx");
/// assert_eq!(entry.modified.unwrap().time.to_string(), "20260125001700");
/// # Ok::<(), ftp_proto::ParseError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ListParser {
    reference: TimeVal,
    form: Option<ListForm>,
    order: Option<dos::Order>,
    habits: unix::Habits,
    /// Whether a line that is not blank was parsed.
    has_begun: bool,
}

impl ListParser {
    /// Returns a parser for a listing made at about the time `reference`.
    ///
    /// A date without a year means the latest such time that is at most one day after `reference`.
    #[must_use]
    pub const fn new(reference: TimeVal) -> Self {
        let habits = unix::Habits::new();
        Self { reference, form: None, order: None, habits, has_begun: false }
    }

    /// Returns the format of the last entry; `None` before the first.
    #[must_use]
    pub const fn form(&self) -> Option<ListForm> {
        self.form
    }

    /// Returns whether a line is about the listing itself, such as `total 12` or an empty line.
    #[must_use]
    pub fn is_header(line: &[u8]) -> bool {
        is_header(line)
    }

    /// Parses the next line without its line ending. Returns `None` if the line is about the listing
    /// itself.
    ///
    /// SP and TAB before an `ls -l` or DOS line are ignored. A line without a name after its date
    /// is `Unparsed`.
    pub fn parse(&mut self, line: &[u8]) -> Option<ListLine> {
        let is_first = !self.has_begun;
        self.has_begun |= !is_blank(line);
        if is_header(line) || (is_first && is_word_and_number(line)) {
            return None;
        }
        match self.entry(line) {
            Some((form, mut entry)) if !entry.name.is_empty() => {
                self.form = Some(form);
                if entry.is_dir() {
                    drop_slash(&mut entry);
                }
                Some(ListLine::Entry(entry))
            }
            _ => Some(ListLine::Unparsed(line.to_vec())),
        }
    }

    fn entry(&mut self, line: &[u8]) -> Option<(ListForm, Entry)> {
        if line.first() == Some(&b'+') {
            return Some((ListForm::Eplf, parse_eplf(line)?));
        }
        if let Some(entry) = unix::parse(line, self.reference, &mut self.habits) {
            return Some((ListForm::Unix, entry));
        }
        if let Some(entry) = dos::parse(line, self.reference, &mut self.order) {
            return Some((ListForm::Dos, entry));
        }
        if let Some(entry) = dos::parse_os2(line, self.reference) {
            return Some((ListForm::Os2, entry));
        }
        let head = line.split(|&byte| byte == b' ').next()?;
        match ListLine::parse_facts(line) {
            Some(ListLine::Entry(entry)) if is_facts(head) => Some((ListForm::Facts, entry)),
            _ => None,
        }
    }
}

/// The next event of a [`ListReader`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ListEvent {
    /// A line without its line ending. It contains no LF and may be empty.
    Line(Vec<u8>),
    /// The current line is longer than [`limits::LISTING_LINE`]. Reported once per line, as soon as
    /// the limit is exceeded; the rest of the line is discarded.
    TooLong,
}

/// A reader that splits the bytes of a listing into lines.
///
/// A line ends at LF or CR LF: RFC 959 §3.1.1.1 demands CR LF, but many servers omit the CR. A CR
/// elsewhere belongs to the line. The reader holds at most [`limits::READ_AHEAD`] unread bytes and
/// one line of [`limits::LISTING_LINE`] bytes.
///
/// ```
/// use ftp_proto::{ListEvent, ListReader};
///
/// let mut reader = ListReader::new();
/// let mut lines = Vec::new();
/// for mut rest in [&b"one\r\ntw"[..], b"o"] {
///     while !rest.is_empty() {
///         let taken = reader.push(rest);
///         rest = &rest[taken..];
///         while let Some(event) = reader.next() {
///             lines.push(event);
///         }
///     }
/// }
/// lines.extend(reader.finish());
/// assert_eq!(lines, [ListEvent::Line(b"one".to_vec()), ListEvent::Line(b"two".to_vec())]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct ListReader {
    input: ReadAhead,
    line: Vec<u8>,
    /// Whether the current line was reported as too long; the rest of it is discarded.
    too_long: bool,
}

impl ListReader {
    /// Returns a reader at the start of a listing.
    #[must_use]
    pub const fn new() -> Self {
        Self { input: ReadAhead::new(), line: Vec::new(), too_long: false }
    }

    /// Takes at most [`room`](Self::room) received bytes, and returns how many it took.
    ///
    /// Push the rest after [`next`](Self::next) has returned `None`.
    #[must_use = "it may take fewer bytes than it was given"]
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        self.input.push(bytes)
    }

    /// Returns how many bytes [`push`](Self::push) would take now, up to [`limits::READ_AHEAD`].
    #[must_use]
    pub fn room(&self) -> usize {
        self.input.room()
    }

    /// Returns the next event, or `None` until more bytes are pushed.
    #[expect(clippy::should_implement_trait, reason = "the end is not final: more may be pushed")]
    pub fn next(&mut self) -> Option<ListEvent> {
        loop {
            let waiting = self.input.waiting();
            if waiting.is_empty() {
                return None;
            }
            let (piece, is_ended) = match split_once(waiting, b'\n') {
                Some((piece, _)) => (piece, true),
                None => (waiting, false),
            };
            // A CR at the limit may belong to the line ending, so the line keeps it, as one byte
            // over the limit, until the next byte is known.
            let length = self.line.len() + piece.len();
            let last = piece.last().or(self.line.last());
            let content = length - usize::from(last == Some(&b'\r'));
            if !self.too_long && content <= limits::LISTING_LINE {
                self.line.extend_from_slice(piece);
            }
            let looked_at = piece.len() + usize::from(is_ended);
            self.input.take(looked_at);
            if !self.too_long && content > limits::LISTING_LINE {
                self.line = Vec::new();
                self.too_long = !is_ended;
                return Some(ListEvent::TooLong);
            }
            if is_ended && !std::mem::take(&mut self.too_long) {
                return Some(self.take_line());
            }
        }
    }

    /// Returns the last line if it lacks its line ending, otherwise `None`.
    ///
    /// Call it at the end of the data, after [`next`](Self::next) has returned `None`.
    pub fn finish(&mut self) -> Option<ListEvent> {
        let line = !self.line.is_empty() && !self.too_long;
        self.too_long = false;
        line.then(|| self.take_line())
    }

    fn take_line(&mut self) -> ListEvent {
        let mut line = std::mem::take(&mut self.line);
        line.pop_if(|last| *last == b'\r');
        ListEvent::Line(line)
    }
}

/// Parses one line of EPLF, the Easily Parsed LIST Format, by D. J. Bernstein, sent by publicfile,
/// anonftpd and others (<https://cr.yp.to/ftp/list/eplf.html>): `+`, the facts, TAB and the name.
/// Each fact ends with `,`. Unknown facts are skipped; if a fact occurs twice, the first one counts.
fn parse_eplf(line: &[u8]) -> Option<Entry> {
    let line = line.strip_prefix(b"+")?;
    let tab = line.iter().position(|&byte| byte == b'\t')?;
    let mut entry = Entry::new(line.get(tab + 1..)?);
    let mut retrieve = false;
    let mut enter = false;
    let mut sized = false;
    for fact in line.get(..tab)?.split(|&byte| byte == b',') {
        match fact {
            b"r" => retrieve = true,
            b"/" => enter = true,
            [b's', digits @ ..] if !sized => {
                entry.set_size(digits);
                sized = true;
            }
            [b'm', digits @ ..] if entry.modified.is_none() => {
                let seconds = bytes::decimal(digits).and_then(|value| i64::try_from(value).ok());
                let time = seconds.and_then(TimeVal::from_unix_seconds);
                let utc = |time| Modified { time, precision: Precision::Second, zone: Zone::Utc };
                entry.modified = time.map(utc);
            }
            [b'u', b'p', digits @ ..] if entry.permissions.is_none() => {
                entry.permissions = Permissions::read_octal(digits);
            }
            _ => {}
        }
    }
    // `r` means that RETR may work, and `/` that CWD may work. With both or neither, the type is
    // unknown.
    entry.kind = match (retrieve, enter) {
        (true, false) => Some(EntryKind::File),
        (false, true) => Some(EntryKind::Directory),
        _ => None,
    };
    Some(entry)
}

/// Removes the `/` that some servers add to the names of directories, like `ls -p`. Returns whether
/// there was one.
fn drop_slash(entry: &mut Entry) -> bool {
    let name = entry.name.strip_suffix(b"/").filter(|name| !name.is_empty());
    let Some(Entry { name, role, .. }) = name.map(Entry::new) else { return false };
    (entry.name, entry.role) = (name, role);
    true
}

/// Returns whether `head` looks like one or more `fact=value;`.
fn is_facts(head: &[u8]) -> bool {
    head.ends_with(b";") && head.contains(&b'=')
}

fn is_blank(line: &[u8]) -> bool {
    line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r'))
}

/// Returns whether the line is about the listing itself.
///
/// Such lines are blank lines, the total that `ls` writes first, the last line of a listing from
/// VMS, and the heading `.:` of `ls -R`. Headings of other directories are not skipped: the lines
/// after them are not in the listed directory.
fn is_header(line: &[u8]) -> bool {
    let mut rest = words::Words::new(line);
    let Some(first) = rest.next() else { return true };
    if first.bytes == b".:" {
        return rest.peek().is_none();
    }
    let word = first.bytes.strip_suffix(b":").unwrap_or(first.bytes);
    let is = |known: &&str| word.eq_ignore_ascii_case(known.as_bytes());
    if !TOTALS.iter().any(is) {
        return false;
    }
    let Some(second) = rest.next() else { return true };
    if second.bytes.eq_ignore_ascii_case(b"of") {
        return rest.next().is_none_or(|count| is_sum(count.bytes));
    }
    is_sum(second.bytes) && rest.peek().is_none()
}

/// Returns whether the line has the form of a total in some language: a word and a number. Such a
/// line is never an entry, but a message about an error can have this form, too.
fn is_word_and_number(line: &[u8]) -> bool {
    let mut words = words::Words::new(line);
    let (Some(first), Some(second), None) = (words.next(), words.next(), words.next()) else {
        return false;
    };
    let word = first.bytes.strip_suffix(b":").unwrap_or(first.bytes);
    let is_letter = |byte: &u8| byte.is_ascii_alphabetic() || !byte.is_ascii();
    word.iter().all(is_letter)
        && !word.get(..3).is_some_and(|start| start.eq_ignore_ascii_case(b"err"))
        && is_sum(second.bytes)
}

/// Returns whether `word` is a number, optionally with a minus sign, separators and a unit: `-1`,
/// `1,234`, `1.5K`, `12KiB`.
fn is_sum(word: &[u8]) -> bool {
    let number = word.strip_prefix(b"-").unwrap_or(word);
    let is_unit = |byte: &u8| !matches!(byte, b'0'..=b'9' | b'.' | b',');
    let digits = number.iter().position(is_unit).unwrap_or(number.len());
    let (_, unit) = number.split_at(digits);
    number.first().is_some_and(u8::is_ascii_digit)
        && unit.len() <= 3
        && unit.iter().all(u8::is_ascii_alphabetic)
}

/// `total` in the languages of known servers.
const TOTALS: [&str; 17] = [
    "total",
    "totale",
    "totaal",
    "insgesamt",
    "gesamt",
    "итого",
    "razem",
    "合計",
    "总用量",
    "总计",
    "합계",
    "samtals",
    "összesen",
    "toplam",
    "celkem",
    "yhteensä",
    "всього",
];

#[cfg(test)]
mod tests;
