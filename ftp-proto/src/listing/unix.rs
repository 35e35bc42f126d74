//! Listings in the format of `ls -l`, which most servers send whatever their operating system.

use super::date::{self, Column, Date};
use super::dos::without_groups;
use super::entry::{Entry, EntryKind, Permissions};
use super::words::{Word, Words, split_digits};
use crate::time_val::TimeVal;

/// The minimum widths of the group and size columns, if no SP separates them.
const GROUP_COLUMN: usize = 8;
const SIZE_COLUMN: usize = 6;

/// What earlier lines showed about the column in which names begin; see [`Column::LooseYear`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Habits {
    /// Whether a name came one SP after a left-aligned year; if so, further SP belong to names.
    years_are_exact: bool,
}

impl Habits {
    pub(super) const fn new() -> Self {
        Self { years_are_exact: false }
    }
}

/// Parses one line: `[inode] [blocks] mode [links] [owner] [group] [size] date name`.
///
/// Owner and group may contain SP, and columns may be missing. Parsing therefore starts at the
/// date: the first one directly after the mode or a possible size.
pub(super) fn parse(line: &[u8], reference: TimeVal, habits: &mut Habits) -> Option<Entry> {
    let mut words = Words::new(line);
    let mut first = words.next()?;
    for _ in 0..2 {
        if first.is_digits() {
            first = words.next()?;
        }
    }
    let mut entry = Entry::default();
    let mut netware = false;
    let start = if let Some(length) = read_mode(first.bytes, &mut entry) {
        first.start + length
    } else {
        let rights = words.next()?;
        read_netware(first.bytes, rights.bytes, &mut entry)?;
        netware = true;
        rights.end()
    };

    let (date, end, mut entry) = find_date(line, start, &entry, reference)?;
    let columns = line.get(start..end)?;
    if netware {
        entry.owner = some(columns.trim_ascii());
    } else {
        read_columns(columns, &mut entry);
    }
    entry.modified = date.modified;

    let rest = line.get(date.end..)?.strip_prefix(b" ")?;
    let name = if netware { rest.trim_ascii_start() } else { name_in(rest, date.column, habits) };
    let (name, target) = match entry.kind {
        Some(EntryKind::Link) => split_target(name, entry.size),
        _ => (name, None),
    };
    let Entry { name, role, .. } = Entry::new(name);
    Some(Entry { name, role, target: target.map(<[u8]>::to_vec), ..entry })
}

/// Finds the first date directly after the mode or a possible size. Returns the date, the offset at
/// which the columns before the size end, and a copy of `entry` with the size.
fn find_date(
    line: &[u8],
    start: usize,
    entry: &Entry,
    reference: TimeVal,
) -> Option<(Date, usize, Entry)> {
    let mut before: Option<Word<'_>> = None;
    let mut doubtful = None;
    let mut words = Words::new(line).from(start);
    loop {
        let rest = words;
        let Some(word) = words.next() else {
            return doubtful.or_else(|| find_unreadable_date(line, start, entry, reference));
        };
        if let Some(date) = date::read(rest, reference) {
            let mut sized = entry.clone();
            if let Some(end) = read_size(line, start, before, &mut sized) {
                if !is_owner(line, start, date, before, reference) {
                    return Some((date, end, sized));
                }
                doubtful.get_or_insert((date, end, sized));
            }
        }
        before = Some(word);
    }
}

/// Finds a date whose month cannot be read, after a size in digits: one unreadable field must not
/// hide the name and the size.
fn find_unreadable_date(
    line: &[u8],
    start: usize,
    entry: &Entry,
    reference: TimeVal,
) -> Option<(Date, usize, Entry)> {
    let mut words = Words::new(line).from(start);
    while let Some(size) = words.next() {
        if size.is_digits()
            && let Some(date) = date::read_without_month(words, reference)
        {
            let mut sized = entry.clone();
            sized.set_size(size.bytes);
            return Some((date, size.start, sized));
        }
    }
    None
}

/// Returns the name in `rest`, the text after the date. The last column of the date may be padded.
fn name_in<'a>(rest: &'a [u8], column: Column, habits: &mut Habits) -> &'a [u8] {
    match column {
        Column::LooseYear if !rest.starts_with(b" ") => {
            habits.years_are_exact = true;
            rest
        }
        Column::LooseYear if habits.years_are_exact => rest,
        Column::LooseYear | Column::NoTime => match rest.strip_prefix(b" ") {
            // A single SP is the name itself, not padding before a missing name.
            None | Some(b"") => rest,
            Some(name) => name,
        },
        Column::Exact => rest,
    }
}

/// Parses a mode such as `drwxr-xr-x`, with an optional `+`, `.` or `@` for an access control list
/// or other attributes. Returns its length, since the link count may follow without SP.
fn read_mode(word: &[u8], entry: &mut Entry) -> Option<usize> {
    let (&kind, rest) = word.split_first()?;
    if kind == b'r' {
        // The letter of the type is missing, so the type is unknown.
        let letters: &[u8; 9] = word.try_into().ok()?;
        entry.permissions = Some(Permissions::read(letters)?);
        return Some(word.len());
    }
    entry.kind = Some(match kind {
        b'-' | b'f' => EntryKind::File,
        b'd' => EntryKind::Directory,
        b'l' => EntryKind::Link,
        b'b' | b'c' | b'p' | b's' | b'D' | b'P' | b'w' => EntryKind::Other,
        _ => return None,
    });
    let Some((letters, rest)) = rest.split_first_chunk::<9>() else {
        // A mode of six letters comes from a system with only owner and others; eight letters are a
        // mistake of some servers.
        let is_letter = |letter: &u8| b"-rwxsStT".contains(letter);
        return (rest.len() >= 6 && rest.iter().all(is_letter)).then_some(word.len());
    };
    entry.permissions = Some(Permissions::read(letters)?);
    let glued = match rest {
        [b'+' | b'.' | b'@', rest @ ..] => rest,
        rest => rest,
    };
    glued.iter().all(u8::is_ascii_digit).then_some(word.len() - glued.len())
}

/// Parses the mode of NetWare: `d` or `-`, then eight rights in brackets.
fn read_netware(kind: &[u8], rights: &[u8], entry: &mut Entry) -> Option<()> {
    entry.kind = Some(match kind {
        b"-" => EntryKind::File,
        b"d" => EntryKind::Directory,
        _ => return None,
    });
    let rights = rights.strip_prefix(b"[")?.strip_suffix(b"]")?;
    let is_right = |right: &u8| right.is_ascii_uppercase() || *right == b'-';
    (rights.len() == 8 && rights.iter().all(is_right)).then_some(())
}

/// Parses `word`, the text before the date, as the size, and returns the start of the size. If
/// `word` is `None`, nothing is between the mode and the date, and the result is `start`. Returns
/// `None` if `word` cannot be a size; what follows is then not the date of the line.
fn read_size(
    line: &[u8],
    start: usize,
    word: Option<Word<'_>>,
    entry: &mut Entry,
) -> Option<usize> {
    let Some(word) = word else { return Some(start) };
    let (digits, rest) = split_digits(word.bytes);
    match (digits, rest) {
        (digits, []) => {
            // A device has two numbers, `1,   3`.
            let before = line.get(start..word.start)?.trim_ascii_end();
            if entry.kind == Some(EntryKind::Other)
                && let Some(before) = before.strip_suffix(b",")
            {
                let length = before.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
                return Some(start + before.len() - length);
            }
            entry.set_size(digits);
            Some(word.start)
        }
        // `109,767`: the two numbers of a device, without SP between them.
        ([_, ..], [b',', minor @ ..]) if entry.kind == Some(EntryKind::Other) => {
            minor.iter().all(u8::is_ascii_digit).then_some(word.start)
        }
        (digits @ [_, ..], rest) => {
            if let Some(digits) = without_groups(word.bytes) {
                entry.set_size(&digits);
                return Some(word.start);
            }
            if rest == b"B" {
                entry.set_size(digits);
                return Some(word.start);
            }
            // `33.5k`, `33,5k`: rounded, so the exact size stays unknown.
            let point = rest.strip_prefix(b".").or_else(|| rest.strip_prefix(b","));
            let fraction = point.map_or(rest, |rest| split_digits(rest).1);
            let (unit, more) = fraction.split_first()?;
            let is_unit = b"kKMGTPE".contains(unit) && matches!(more, b"" | b"B" | b"iB");
            is_unit.then_some(word.start)
        }
        // A 32-bit size that overflowed to a negative number.
        ([], [b'-', rest @ ..]) => {
            (!rest.is_empty() && rest.iter().all(u8::is_ascii_digit)).then_some(word.start)
        }
        // `ftpadmin125435904`: the group and the size fill their columns. Otherwise there is no
        // size, and the digits belong to the group.
        ([], rest) => {
            let digits = rest.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
            let (group, digits) = rest.split_at_checked(rest.len() - digits)?;
            let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
            let is_filled = group.len() >= GROUP_COLUMN && digits.len() >= SIZE_COLUMN;
            if !is_filled || !group.iter().all(is_name) {
                return None;
            }
            entry.set_size(digits);
            Some(word.start + group.len())
        }
    }
}

/// Returns whether an apparent date may consist of numbers and an owner named like a month (`1 jan
/// 2000`, `jan 20 4096`). This is possible if at most one word precedes the apparent date, and
/// another date follows, directly or after a number.
fn is_owner(
    line: &[u8],
    start: usize,
    date: Date,
    before: Option<Word<'_>>,
    reference: TimeVal,
) -> bool {
    let Some(year) = date.year else { return false };
    if before.is_some_and(|before| Words::new(line).from(start).peek() != Some(before)) {
        return false;
    }
    let after = Words::new(line).from(date.end);
    let mut after_number = after;
    let number = after_number.next().filter(Word::is_digits);
    let follows = |words| date::read(words, reference).is_some();
    // A date without a time may be the beginning of a name.
    let follows_whole =
        |words| date::read(words, reference).is_some_and(|date| date.column != Column::NoTime);
    let is_year = (1970..=reference.year() + 1).contains(&year);
    // The apparent year is really the size if another date follows it: any date after an
    // implausible year, only a whole one after a plausible year.
    (number.is_some() && follows(after_number) && (before.is_none() || !is_year))
        || if is_year { follows_whole(after) } else { follows(after) }
}

/// Parses links, owner and group from the text between the mode and the size.
fn read_columns(columns: &[u8], entry: &mut Entry) {
    let mut columns = columns.trim_ascii();
    let size = entry.size.unwrap_or(0);
    let words = Words::new(columns);
    if let Some(links) = words.peek().filter(Word::is_digits) {
        let owner = columns.split_at(links.end()).1.trim_ascii();
        // NetPresenz for the Mac sends the sizes of both forks, which add up to the file's size. A
        // one-byte file of user 0 looks the same, so a 1 counts as the number of links.
        let forks = crate::bytes::decimal(links.bytes).zip(crate::bytes::decimal(owner));
        let are_forks = forks.is_some_and(|(a, b)| a != 1 && a.checked_add(b) == Some(size));
        if are_forks && entry.kind == Some(EntryKind::File) {
            return;
        }
        entry.links = crate::bytes::decimal(links.bytes);
        columns = owner;
    }
    // NetPresenz shows a directory as `folder` and the number of its entries.
    if columns == b"folder" && entry.links.is_none() {
        entry.size = None;
        return;
    }
    let (owner, group) = split_owner(columns);
    entry.owner = some(owner);
    entry.group = some(group);
}

/// Splits owner and group at the first gap wider than one SP, or else at the first SP. Groups with
/// SP (`Domain Users`) are more common than owners with SP.
fn split_owner(columns: &[u8]) -> (&[u8], &[u8]) {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let gap = columns.windows(2).position(|pair| pair.iter().all(is_blank));
    let at = gap.or_else(|| columns.iter().position(is_blank)).unwrap_or(columns.len());
    let (owner, group) = columns.split_at(at);
    (owner, group.trim_ascii_start())
}

/// Splits `name -> target` of a link. If the name or target also contains ` -> `, the size decides:
/// it is the length of the target. If the size points at no ` -> `, the first one counts.
fn split_target(name: &[u8], size: Option<u64>) -> (&[u8], Option<&[u8]>) {
    const ARROW: &[u8] = b" -> ";
    let at = |at: usize| Some((name.get(..at)?, name.get(at..)?.strip_prefix(ARROW)?));
    let by_size = size
        .and_then(|size| usize::try_from(size).ok())
        .and_then(|size| name.len().checked_sub(size)?.checked_sub(ARROW.len()))
        .and_then(at);
    let first = || name.windows(ARROW.len()).position(|window| window == ARROW).and_then(at);
    let whole = |parts: &(&[u8], &[u8])| !parts.0.is_empty() && !parts.1.is_empty();
    match by_size.filter(whole).or_else(first).filter(whole) {
        Some((name, target)) => (name, Some(target)),
        None => (name, None),
    }
}

fn some(bytes: &[u8]) -> Option<Vec<u8>> {
    (!bytes.is_empty()).then(|| bytes.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Option<Entry> {
        let reference = TimeVal::new(2026, 7, 1, 12, 0, 0).unwrap();
        parse(line.as_bytes(), reference, &mut Habits::default())
    }

    #[test]
    fn only_symbolic_links_are_split_and_only_once_ls_43() {
        for (kind, size, name, want, target) in [
            ('l', 7, "bin -> usr/bin", "bin", Some("usr/bin")),
            ('l', 0, "bin -> usr/bin", "bin", Some("usr/bin")),
            ('l', 1, "a -> b -> c", "a -> b", Some("c")),
            ('l', 6, "a -> b -> c", "a", Some("b -> c")),
            ('l', 9, "a -> b -> c", "a", Some("b -> c")),
            ('l', 5, "bin", "bin", None),
            ('l', 0, "bin -> ", "bin -> ", None),
            ('l', 3, " -> bin", " -> bin", None),
            ('l', 2, " x  ->   ", " x ", Some("  ")),
            ('-', 7, "bin -> usr/bin", "bin -> usr/bin", None),
            ('d', 7, "bin -> usr/bin", "bin -> usr/bin", None),
        ] {
            let line = format!("{kind}rwxrwxrwx   1 root     other {size:10} Jan 25 00:17 {name}");
            let entry = read(&line).unwrap();
            assert_eq!(entry.name, want.as_bytes(), "{line}");
            assert_eq!(entry.target.as_deref(), target.map(str::as_bytes), "{line}");
        }
    }

    #[test]
    fn names_keep_their_spaces_ls_43() {
        for name in ["a", " a", "  a  ", "a  b", " ", "Jan 25 00:17 b", "\ta", ""] {
            for date in ["Jan 25 00:17", "Apr  8  1994", "2005-06-07 21:22"] {
                let line = format!("-rw-r--r--   1 root     other        531 {date} {name}");
                assert_eq!(read(&line).unwrap().name, name.as_bytes(), "{line:?}");
            }
        }
    }

    #[test]
    fn a_left_aligned_year_is_followed_by_an_extra_space() {
        let reference = TimeVal::new(2026, 7, 1, 12, 0, 0).unwrap();
        let mut habits = Habits::default();
        let mut name = |line: &str| parse(line.as_bytes(), reference, &mut habits).unwrap().name;
        assert_eq!(name("-r--r--r--  1 a b 90 Mar  1 2003  .welcome"), b".welcome");
        assert_eq!(name("-r--r--r--  1 a b 90 Mar  1 2003   x"), b" x");
        assert_eq!(name("-r--r--r--  1 a b 90 Mar  1 2003  "), b" ");
        // After a name without the padding SP, further SP belong to names.
        assert_eq!(name("-r--r--r--  1 a b 90 Nov 5 2018 x"), b"x");
        assert_eq!(name("-r--r--r--  1 a b 90 Nov 5 2018  x"), b" x");
        assert_eq!(name("-r--r--r--  1 a b 90 Mar  1  2003  x"), b" x");
        assert_eq!(name("-r--r--r--  1 a b 90 Mar  1 2003  "), b" ");
    }

    #[test]
    fn an_unreadable_month_hides_neither_name_nor_size() {
        for (date, name) in [
            ("000 00 00:00", "a b"),
            ("000 00 1980", "a"),
            ("000 12 10:00", "May 28 x"),
            ("??? 1 2020", "a"),
        ] {
            let entry = read(&format!("-rw-r--r--   1 root     other        531 {date} {name}"));
            let entry = entry.unwrap();
            assert_eq!((entry.name_lossy().as_ref(), entry.size), (name, Some(531)), "{date}");
            assert_eq!((entry.modified, entry.owner.as_deref()), (None, Some(&b"root"[..])));
        }
        for line in ["-rw-r--r-- 1 a b 5 Xyz 12 10:00 x", "-rw-r--r-- 1 a b 5 000 12 1:0:0:0 x"] {
            assert_eq!(read(line), None, "{line}");
        }
    }

    #[test]
    fn modes_are_read_letter_by_letter() {
        let line = |mode: &str| format!("{mode}   1 root     other        531 Jan 25 00:17 x");
        for (mode, kind) in [
            ("-rw-r--r--", EntryKind::File),
            ("drwxr-xr-x+", EntryKind::Directory),
            ("drwxr-xr-x.", EntryKind::Directory),
            ("lrwxrwxrwx@", EntryKind::Link),
            ("brw-r--r--", EntryKind::Other),
            ("crw-r--r--", EntryKind::Other),
            ("prw-r--r--", EntryKind::Other),
            ("srw-r--r--", EntryKind::Other),
            ("Drw-r--r--", EntryKind::Other),
            ("drwxr-x", EntryKind::Directory),
        ] {
            assert_eq!(read(&line(mode)).unwrap().kind, Some(kind), "{mode}");
        }
        let unknown = read(&line("rw-r--r--")).unwrap();
        assert_eq!((unknown.kind, unknown.permissions), (None, Some(Permissions::new(0o644))));
        for mode in [
            "zrwxr-xr-x",
            "dxrwr-xr-x",
            "-rw-r-",
            "-rw-r--r--x",
            "-rw-r--r--++",
            "-",
            "d",
            "drwxr-",
            "rw-r--r-",
            "",
            "-rw-r--r--+x1",
        ] {
            assert_eq!(read(&line(mode)), None, "{mode}");
        }
    }
}
