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

/// The result for one line of a listing.
#[derive(Clone, Eq, PartialEq)]
#[non_exhaustive]
pub enum ListLine {
    /// An object.
    Entry(Entry),
    /// A line about the listing, not about an object: an empty line, `total 12` or `.:`.
    Skipped,
    /// A line in no known form, unchanged. Often it is a message such as `ftpd: .: Permission
    /// denied`.
    Unparsed(Vec<u8>),
}

impl fmt::Debug for ListLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry(entry) => entry.fmt(f),
            Self::Skipped => f.write_str("Skipped"),
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
    /// Parses one line of a `LIST` listing without the context of other lines; see [`ListParser`].
    ///
    /// ```
    /// use ftp_proto::{EntryKind, ListLine, TimeVal};
    ///
    /// let now = TimeVal::parse(b"20260701120000")?;
    /// let line = ListLine::parse(b"01-29-26  09:16AM       <DIR>          a b", now);
    /// let ListLine::Entry(entry) = line else { panic!("{line:?}") };
    /// assert_eq!((entry.kind, entry.name), (Some(EntryKind::Directory), b"a b".to_vec()));
    /// assert_eq!(ListLine::parse(b"total 12", now), ListLine::Skipped);
    /// # Ok::<(), ftp_proto::ParseError>(())
    /// ```
    #[must_use]
    pub fn parse(line: &[u8], reference: TimeVal) -> Self {
        ListParser::new(reference).parse(line)
    }

    /// Parses one line of an `MLSD` listing (RFC 3659 §7.2): facts, one SP, the name. A line that
    /// begins with SP has no facts.
    ///
    /// Returns `Skipped` for an empty line or a lone SP, TAB or CR, and `Unparsed` for any other
    /// line for which [`Facts::parse`] fails.
    #[must_use]
    pub fn parse_facts(line: &[u8]) -> Self {
        match Facts::parse(line) {
            Ok(facts) => {
                let mut entry = Entry::from(&facts);
                if entry.is_dir() {
                    drop_slash(&mut entry);
                }
                Self::Entry(entry)
            }
            Err(_) if line.len() < 2 && is_blank(line) => Self::Skipped,
            _ => Self::Unparsed(line.to_vec()),
        }
    }

    /// Parses one line of an `NLST` listing, which is only a name.
    ///
    /// For `NLST dir`, some servers send `dir/name` and others `name`. Pass the argument of the
    /// command as `directory` (empty if it had none). If the line begins with `directory` and `/`,
    /// both are removed; otherwise, a leading `./` is removed. A `/` at the end marks a directory and
    /// is removed, too. A name can still contain `/`; it is then
    /// [not safe](Entry::is_safe_name). Empty lines are skipped. Messages cannot be distinguished
    /// from names.
    ///
    /// ```
    /// use ftp_proto::ListLine;
    ///
    /// let ListLine::Entry(entry) = ListLine::parse_name(b"pub/a.txt", b"pub") else { panic!() };
    /// assert_eq!(entry.name, b"a.txt");
    /// ```
    #[must_use]
    pub fn parse_name(line: &[u8], directory: &[u8]) -> Self {
        if line.is_empty() {
            return Self::Skipped;
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
        Self::Entry(entry)
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
/// let ListLine::Entry(entry) = line else { panic!("{line:?}") };
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

    /// Returns whether a year may follow the time of an `ls -l` line, as in `May 28 19:50 2023 name`.
    ///
    /// In one line, the year can also be the beginning of the name. If all lines of a listing are
    /// like this, call [`years_follow_times`](Self::years_follow_times) before you parse the first.
    #[must_use]
    pub fn may_have_year_after_time(&self, line: &[u8]) -> bool {
        unix::may_have_year_after_time(line, self.reference)
    }

    /// Makes the parser read a year after each time of an `ls -l` line.
    pub const fn years_follow_times(&mut self) {
        self.habits.years_follow_times = true;
    }

    /// Returns whether a line is about the listing itself, such as `total 12` or an empty line.
    #[must_use]
    pub fn is_header(line: &[u8]) -> bool {
        is_header(line)
    }

    /// Parses the next line without its line ending. Every sequence of bytes has a result.
    ///
    /// SP and TAB before an `ls -l` or DOS line are ignored. A line without a name after its date
    /// is `Unparsed`.
    pub fn parse(&mut self, line: &[u8]) -> ListLine {
        let is_first = !self.has_begun;
        self.has_begun |= !is_blank(line);
        if is_header(line) || (is_first && is_word_and_number(line)) {
            return ListLine::Skipped;
        }
        match self.entry(line) {
            Some((form, mut entry)) if !entry.name.is_empty() => {
                self.form = Some(form);
                if entry.is_dir() {
                    drop_slash(&mut entry);
                }
                ListLine::Entry(entry)
            }
            _ => ListLine::Unparsed(line.to_vec()),
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
            ListLine::Entry(entry) if is_facts(head) => Some((ListForm::Facts, entry)),
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
mod tests {
    use super::*;

    fn reference() -> TimeVal {
        TimeVal::parse(b"20240301000000").unwrap()
    }

    #[test]
    fn form_returns_the_format_of_the_last_entry() {
        let mut parser = ListParser::new(reference());
        assert_eq!(parser.form(), None);
        for (line, want) in [
            (&b"-rw-r--r-- 1 a b 5 Jan 1 10:00 x"[..], ListForm::Unix),
            (b"total 5", ListForm::Unix),
            (b"01-02-21  10:11AM  5 x", ListForm::Dos),
            (b"+,\tx", ListForm::Eplf),
            (b"nothing of the kind", ListForm::Eplf),
            (b"size=5; x", ListForm::Facts),
        ] {
            parser.parse(line);
            assert_eq!(parser.form(), Some(want), "{}", Escaped(line));
        }
    }

    #[test]
    fn mlsx_lines_without_a_fact_are_unparsed() {
        for line in ["size=5 x", "size; x", "; x", "= x"] {
            let got = ListLine::parse(line.as_bytes(), reference());
            assert_eq!(got, ListLine::Unparsed(line.into()), "{line}");
        }
    }

    #[test]
    fn lines_that_only_begin_with_total_are_not_headers_ls_42() {
        for line in [
            "total abc",
            "total 12abcd",
            "total 12é",
            "total 12 more",
            "total 1,5 GB x",
            "total of them",
            "error 550",
            "x.txt 12",
        ] {
            let got = ListLine::parse(line.as_bytes(), reference());
            assert_eq!(got, ListLine::Unparsed(line.into()), "{line}");
        }
    }

    #[test]
    fn a_year_after_the_time_is_read_on_request() {
        let line = b"-rw-r--r-- 1 a b 5 May 28 19:50 2023 photo.jpg";
        let read = |parser: &mut ListParser| {
            let ListLine::Entry(entry) = parser.parse(line) else { panic!("not an entry") };
            (entry.name_lossy().into_owned(), entry.modified.unwrap().time.to_string())
        };
        let mut parser = ListParser::new(reference());
        assert!(parser.may_have_year_after_time(line));
        assert_eq!(read(&mut parser).0, "2023 photo.jpg");
        parser.years_follow_times();
        assert_eq!(read(&mut parser), ("photo.jpg".to_owned(), "20230528195000".to_owned()));
        for line in [
            "-rw-r--r-- 1 a b 5 May 28 19:50 2023",
            "-rw-r--r-- 1 a b 5 May 28 19:50 photo 2023",
            "-rw-r--r-- 1 a b 5 May 28 19:50  2023 photo",
            "-rw-r--r-- 1 a b 5 May 28 19:50 1023 photo",
            "-rw-r--r-- 1 a b 5 May 28 2023 2023 photo",
            "total 5",
        ] {
            assert!(!parser.may_have_year_after_time(line.as_bytes()), "{line}");
        }
    }

    #[test]
    fn totals_in_other_languages_are_skipped_ls_42() {
        for line in [
            "samtals 8",
            "összesen 8",
            "toplam 8",
            "celkem 8",
            "yhteensä 8",
            "всього 8",
            "Summa: 8",
        ] {
            let mut parser = ListParser::new(reference());
            assert_eq!(parser.parse(b""), ListLine::Skipped);
            assert_eq!(parser.parse(line.as_bytes()), ListLine::Skipped, "{line}");
            // After the first line, only known words are totals.
            let want = match line.starts_with("Summa") {
                true => ListLine::Unparsed(line.into()),
                false => ListLine::Skipped,
            };
            assert_eq!(parser.parse(line.as_bytes()), want, "{line}");
        }
    }

    #[test]
    fn a_slash_after_the_name_of_a_directory_is_removed() {
        for (line, name) in [
            ("drwxr-xr-x 1 a b 5 Jan 1 10:00 x/", "x"),
            ("-rw-r--r-- 1 a b 5 Jan 1 10:00 x/", "x/"),
            ("drwxr-xr-x 1 a b 5 Jan 1 10:00 a/x/", "a/x"),
            ("01-02-21  10:11AM       <DIR>          x/", "x"),
            ("drwxr-xr-x 1 a b 5 Jan 1 10:00 /", "/"),
        ] {
            let ListLine::Entry(entry) = ListLine::parse(line.as_bytes(), reference()) else {
                panic!("{line}")
            };
            assert_eq!(entry.name_lossy(), name, "{line}");
        }
    }

    #[test]
    fn a_slash_after_the_name_of_a_directory_is_no_part_of_it_in_any_listing() {
        use EntryKind::{Directory, File};
        let names = |line: &str| ListLine::parse_name(line.as_bytes(), b"pub");
        let facts = |line: &str| ListLine::parse_facts(line.as_bytes());
        for (line, name, kind) in [
            (names("sub/"), "sub", Some(Directory)),
            (names("pub/sub/"), "sub", Some(Directory)),
            (names("./sub/"), "sub", Some(Directory)),
            (names("pub/"), "pub", Some(Directory)),
            (names("sub"), "sub", None),
            (names("a//"), "a/", Some(Directory)),
            (names("/"), "/", None),
            (facts("type=dir; sub/"), "sub", Some(Directory)),
            (facts("type=file; x/"), "x/", Some(File)),
            (facts("modify=20240101000000; x/"), "x/", None),
        ] {
            let ListLine::Entry(entry) = line else { panic!("{name}") };
            assert_eq!((&*entry.name_lossy(), entry.kind), (name, kind));
        }
        let ListLine::Entry(entry) = facts("type=cdir; ./") else { panic!("no entry") };
        assert_eq!(entry.role, Role::Itself);
    }

    #[test]
    fn blank_lines_between_facts_are_skipped() {
        for line in ["", " ", "\r", "\t"] {
            assert_eq!(ListLine::parse_facts(line.as_bytes()), ListLine::Skipped, "{line:?}");
        }
        for line in ["  ", "\t\t", "x"] {
            assert_ne!(ListLine::parse_facts(line.as_bytes()), ListLine::Skipped, "{line:?}");
        }
    }

    #[test]
    fn eplf_facts_are_bounded_hc_23_hc_32() {
        let bomb = format!("+{}r,s7,s8,\tname", "x=,".repeat(20_000));
        let entry = parse_eplf(bomb.as_bytes()).unwrap();
        assert_eq!((entry.size, entry.kind), (Some(7), Some(EntryKind::File)));
        for facts in ["m99999999999999", "m-1", "m", "m9223372036854775808", "m1e3"] {
            let line = format!("+{facts},up999,s-1,\t../x");
            let entry = parse_eplf(line.as_bytes()).unwrap();
            assert_eq!((entry.modified, entry.permissions, entry.size), (None, None, None));
            assert!(!entry.is_safe_name());
        }
        for line in ["+", "+r,s1, name", "", "+r"] {
            assert_eq!(parse_eplf(line.as_bytes()), None, "{line}");
        }
        assert!(!parse_eplf(b"+\t").unwrap().is_safe_name());
        assert_eq!(parse_eplf(b"+r,/,\tx").unwrap().kind, None);
    }
}

#[cfg(test)]
mod tests_of_lines {
    use super::*;
    use crate::bytes::any_chunking;

    fn read(pieces: &[&[u8]]) -> Vec<ListEvent> {
        let mut reader = ListReader::new();
        let mut events = Vec::new();
        for mut piece in pieces.iter().copied() {
            while !piece.is_empty() {
                piece = &piece[reader.push(piece)..];
                events.extend(std::iter::from_fn(|| reader.next()));
                assert!(reader.line.len() <= limits::LISTING_LINE + 1);
                assert_eq!(reader.room(), limits::READ_AHEAD);
            }
        }
        events.extend(reader.finish());
        assert_eq!(reader.finish(), None);
        events
    }

    fn lines(lines: &[&str]) -> Vec<ListEvent> {
        lines.iter().map(|line| ListEvent::Line(line.as_bytes().to_vec())).collect()
    }

    #[test]
    fn lines_are_the_same_for_any_chunking_go_02() {
        for (input, want) in [
            ("", &[][..]),
            ("\r\n", &[""]),
            ("a\r\nb\nc", &["a", "b", "c"]),
            ("a\r\n\r\n\nb\r\n", &["a", "", "", "b"]),
            ("a\rb\r\r\nc\r", &["a\rb\r", "c"]),
            ("\0\u{ff}\n", &["\0\u{ff}"]),
        ] {
            any_chunking(input.as_bytes(), read, &lines(want));
        }
    }

    #[test]
    fn a_line_of_the_maximum_length_is_accepted_hc_15() {
        let longest = "x".repeat(limits::LISTING_LINE);
        for end in ["", "\r", "\n", "\r\n"] {
            let input = format!("{longest}{end}");
            assert_eq!(read(&[input.as_bytes()]), lines(&[&longest]));
            let (head, tail) = input.as_bytes().split_at(limits::LISTING_LINE);
            assert_eq!(read(&[head, tail]), lines(&[&longest]));
        }
    }

    #[test]
    fn an_overlong_line_is_reported_at_once_and_skipped_hc_15() {
        for tail in ["x", "xx", "\rx", "\r\r"] {
            let line = format!("{}{tail}", "x".repeat(limits::LISTING_LINE));
            let want = [vec![ListEvent::TooLong], lines(&["next"])].concat();
            for cut in limits::LISTING_LINE - 1..line.len() {
                let (head, tail) = line.as_bytes().split_at(cut);
                let more = vec![b'y'; limits::READ_AHEAD * 3];
                assert_eq!(read(&[head, tail, &more, b"\r\nnext\r\n"]), want);
                assert_eq!(read(&[head, tail, b"\r\nne", b"xt"]), want);
            }
            assert_eq!(read(&[line.as_bytes()]), [ListEvent::TooLong]);
        }
    }

    #[test]
    fn an_endless_line_yields_one_event_hc_15() {
        let mut reader = ListReader::new();
        let piece = [b'-'; limits::READ_AHEAD];
        let mut events = 0;
        for _ in 0..4_096 {
            assert_eq!(reader.push(&piece), piece.len());
            while reader.next().is_some() {
                events += 1;
            }
            assert!(reader.line.capacity() + reader.input.capacity() <= 4 * limits::LISTING_LINE);
        }
        assert_eq!((events, reader.finish()), (1, None));
    }
}
