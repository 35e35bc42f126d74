//! Listings of servers on Windows and OS/2.

use super::date::{Clock, Ymd, clock, modified, year};
use super::entry::{Entry, EntryKind};
use super::words::{Word, Words, short};
use crate::time_val::TimeVal;

/// The order of the numbers in a date: day-month-year or month-day-year.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Order {
    DayFirst,
    MonthFirst,
}

/// The width of the gap between `<DIR>` and the name; further SP belong to the name.
const DIRECTORY_GAP: usize = 10;

/// Parses one line: a date, a time, then `<DIR>` or a size, then the name.
///
/// `order` is the order that earlier lines proved for dates such as `03-04-21`. An unambiguous line
/// sets it.
pub(super) fn parse(line: &[u8], reference: TimeVal, order: &mut Option<Order>) -> Option<Entry> {
    let mut words = Words::new(line);
    let first = words.next()?;
    let numbers = Numbers::read(first.bytes)?;
    let time = Time::read(&mut words)?;
    let what = words.next()?;
    let mut entry = Entry::default();
    let rest = line.get(what.end()..)?.strip_prefix(b" ")?;
    let name = match what.bytes {
        b"<DIR>" | b"<dir>" => {
            entry.kind = Some(EntryKind::Directory);
            without_blanks(rest, DIRECTORY_GAP - 1)
        }
        b"<JUNCTION>" | b"<SYMLINKD>" | b"<SYMLINK>" => {
            entry.kind = Some(EntryKind::Link);
            without_blanks(rest, DIRECTORY_GAP - 1)
        }
        digits => {
            entry.kind = Some(EntryKind::File);
            entry.set_size(&without_groups(digits)?);
            rest
        }
    };
    let known = numbers.order();
    let order = match (known, numbers.mark) {
        (Some(known), _) => Some(*order.insert(known)),
        (None, b'.') => Some(Order::DayFirst),
        (None, b'-') => order.or(Some(Order::MonthFirst)),
        (None, _) => order.or(time.half.then_some(Order::MonthFirst)),
    };
    let ymd = numbers.ymd(order);
    entry.modified = ymd.and_then(|ymd| modified(ymd, Some(time.clock), reference));
    let (name, target) = match entry.kind {
        Some(EntryKind::Link) => split_target(name),
        _ => (name, None),
    };
    entry.target = target.map(<[u8]>::to_vec);
    Some(named(entry, name))
}

/// Splits `name [target]`, as `dir` shows links and junctions.
fn split_target(name: &[u8]) -> (&[u8], Option<&[u8]>) {
    let parts = name.strip_suffix(b"]").and_then(|rest| {
        let at = rest.windows(2).rposition(|pair| pair == b" [")?;
        Some((rest.get(..at)?, rest.get(at + 2..)?))
    });
    match parts {
        Some((name, target)) if !name.is_empty() && !target.is_empty() => (name, Some(target)),
        _ => (name, None),
    }
}

/// Parses one line of IBM's server for OS/2: size, optional attributes and `DIR`, date, time, name.
pub(super) fn parse_os2(line: &[u8], reference: TimeVal) -> Option<Entry> {
    let mut words = Words::new(line);
    let size = words.next().filter(Word::is_digits)?;
    let mut entry = Entry { kind: Some(EntryKind::File), ..Entry::default() };
    let mut word = words.next()?;
    for _ in 0..2 {
        if word.bytes == b"DIR" {
            entry.kind = Some(EntryKind::Directory);
        } else if !word.bytes.iter().all(|byte| b"RHSA".contains(byte)) {
            break;
        }
        word = words.next()?;
    }
    let numbers = Numbers::read(word.bytes).filter(|numbers| numbers.mark == b'-')?;
    let time = words.next()?;
    let clock = clock(time.bytes)?;
    // Two SP separate the time and the name.
    let name = without_blanks(line.get(time.end()..)?.strip_prefix(b" ")?, 1);
    if entry.kind == Some(EntryKind::File) {
        entry.set_size(size.bytes);
    }
    let ymd = numbers.ymd(Some(Order::MonthFirst));
    entry.modified = ymd.and_then(|ymd| modified(ymd, Some(clock), reference));
    Some(named(entry, name))
}

fn named(entry: Entry, name: &[u8]) -> Entry {
    let Entry { name, role, .. } = Entry::new(name);
    Entry { name, role, ..entry }
}

/// Removes up to `most` leading SP, but never the last byte.
fn without_blanks(name: &[u8], most: usize) -> &[u8] {
    let blanks = name.iter().take_while(|&&byte| byte == b' ').count();
    name.get(blanks.min(most).min(name.len().saturating_sub(1))..).unwrap_or(name)
}

/// Returns the digits of a size without the `,` or `.` between groups of three; `None` for other
/// text.
pub(super) fn without_groups(size: &[u8]) -> Option<Vec<u8>> {
    let mut groups = size.split(|byte| matches!(byte, b',' | b'.'));
    let first = groups.next()?;
    let mut digits = first.to_vec();
    for group in groups {
        if group.len() != 3 || first.len() > 3 {
            return None;
        }
        digits.extend_from_slice(group);
    }
    (!first.is_empty() && digits.iter().all(u8::is_ascii_digit)).then_some(digits)
}

/// Three numbers with the same separator.
struct Numbers<'a> {
    parts: [&'a [u8]; 3],
    mark: u8,
}

impl<'a> Numbers<'a> {
    fn read(word: &'a [u8]) -> Option<Self> {
        if word.len() > 10 {
            return None;
        }
        let mark = *word.iter().find(|byte| matches!(byte, b'-' | b'/' | b'.'))?;
        let mut parts = word.split(|&byte| byte == mark);
        let parts = [parts.next()?, parts.next()?, parts.next()?];
        let digits = parts.iter().all(|part| short(part, 4).is_some());
        let length = word.len() == parts.iter().map(|part| part.len()).sum::<usize>() + 2;
        let [a, b, c] = parts.map(<[u8]>::len);
        let forms = matches!((a, b, c), (4, 1 | 2, 1 | 2) | (1 | 2, 1 | 2, 2..=4));
        (digits && length && forms).then_some(Self { parts, mark })
    }

    /// Returns the order, if the numbers allow only one.
    fn order(&self) -> Option<Order> {
        let [a, b, _] = self.parts.map(|part| short(part, 2));
        match (a?, b?) {
            (13.., 1..=12) => Some(Order::DayFirst),
            (1..=12, 13..) => Some(Order::MonthFirst),
            _ => None,
        }
    }

    fn ymd(&self, order: Option<Order>) -> Option<Ymd> {
        let [a, b, c] = self.parts;
        if a.len() == 4 {
            return Some(Ymd { year: Some(year(a)?), month: short(b, 2)?, day: short(c, 2)? });
        }
        let a = short(a, 2)?;
        let b = short(b, 2)?;
        let year = Some(year(c)?);
        match order {
            Some(Order::DayFirst) => Some(Ymd { year, month: b, day: a }),
            Some(Order::MonthFirst) => Some(Ymd { year, month: a, day: b }),
            None => (a == b).then_some(Ymd { year, month: a, day: b }),
        }
    }
}

/// A time on a 24-hour or 12-hour clock.
struct Time {
    clock: Clock,
    half: bool,
}

impl Time {
    /// Parses `17:03`, `05:03PM`, `05:03 PM` or `5:03p`. With AM or PM, an hour other than 1 to 12
    /// becomes 24, which is not a valid hour.
    fn read(words: &mut Words<'_>) -> Option<Self> {
        let word = words.next()?;
        let digits = word.bytes.iter().take_while(|byte| !byte.is_ascii_alphabetic()).count();
        let (time, glued) = word.bytes.split_at_checked(digits)?;
        let mut clock = clock(time)?;
        let afternoon = if glued.is_empty() {
            let half = words.peek().and_then(|word| afternoon(word.bytes));
            if half.is_some() {
                words.next();
            }
            half
        } else {
            Some(afternoon(glued)?)
        };
        if let Some(afternoon) = afternoon {
            clock.hour = match clock.hour {
                12 => u8::from(afternoon) * 12,
                1..=11 => clock.hour + u8::from(afternoon) * 12,
                _ => 24,
            };
        }
        Some(Self { clock, half: afternoon.is_some() })
    }
}

/// Returns whether `word` is PM; `None` if it is neither AM nor PM.
fn afternoon(word: &[u8]) -> Option<bool> {
    let is = |letters: &[u8]| word.eq_ignore_ascii_case(letters);
    if is(b"PM") || is(b"P") { Some(true) } else { (is(b"AM") || is(b"A")).then_some(false) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(line: &str, order: &mut Option<Order>) -> Option<String> {
        let reference = TimeVal::from_unix_seconds(0).unwrap();
        let entry = parse(line.as_bytes(), reference, order)?;
        Some(entry.modified.map_or("?".into(), |modified| modified.time.to_string()))
    }

    #[test]
    fn twelve_hour_times_run_from_12_to_11() {
        for (text, want) in [
            ("12:00AM", "20210304000000"),
            ("12:59AM", "20210304005900"),
            ("01:00AM", "20210304010000"),
            ("11:59 am", "20210304115900"),
            ("12:00PM", "20210304120000"),
            ("12:00p", "20210304120000"),
            ("11:59PM", "20210304235900"),
            ("23:59", "20210304235900"),
            ("00:00", "20210304000000"),
            ("24:00", "?"),
            ("13:00PM", "?"),
            ("00:00AM", "?"),
        ] {
            let line = format!("03-04-21  {text}       <DIR>          x");
            assert_eq!(time(&line, &mut None).as_deref(), Some(want), "{text}");
        }
    }

    #[test]
    fn date_order_follows_from_numbers_separators_or_earlier_lines() {
        for (date, before, want, after) in [
            ("03-04-21", None, "20210304101100", None),
            ("03-04-21", Some(Order::DayFirst), "20210403101100", Some(Order::DayFirst)),
            ("13-04-21", None, "20210413101100", Some(Order::DayFirst)),
            ("04-13-21", Some(Order::DayFirst), "20210413101100", Some(Order::MonthFirst)),
            ("03.04.2021", None, "20210403101100", None),
            ("03/04/2021", None, "?", None),
            ("04/04/2021", None, "20210404101100", None),
            ("03/04/2021", Some(Order::MonthFirst), "20210304101100", Some(Order::MonthFirst)),
            ("2021-03-04", Some(Order::DayFirst), "20210304101100", Some(Order::DayFirst)),
            ("31-04-21", None, "?", Some(Order::DayFirst)),
            ("00-00-00", None, "?", None),
            ("99-99-99", None, "?", None),
        ] {
            let mut order = before;
            let got = time(&format!("{date}  10:11   5 x"), &mut order);
            assert_eq!((got.as_deref(), order), (Some(want), after), "{date}");
        }
        assert_eq!(time("03/04/21  10:11 AM  5 x", &mut None).unwrap(), "20210304101100");
    }

    #[test]
    fn other_lines_are_not_parsed() {
        for line in [
            "03-04-21",
            "03-04-21 10:11",
            "03-04-21 10:11 <DIR>",
            "03-04-21 10:11 5",
            "03-04-21 10:11 5x x",
            "03-04-21 10:11XM 5 x",
            "03-04-21 10:11 -5 x",
            "03-04-21 10:11 1,5 x",
            "03-04-21 10:11 1000,500 x",
            "03-04-21 10:11 , x",
            "03-04 10:11 5 x",
            "03-04-21-5 10:11 5 x",
            "03/04-21 10:11 5 x",
            "0003-0004-21 10:11 5 x",
            "03-04-2 10:11 5 x",
            "--- 10:11 5 x",
            "a3-04-21 10:11 5 x",
            "03-04-21 1011 5 x",
        ] {
            assert_eq!(time(line, &mut None), None, "{line}");
        }
    }

    #[test]
    fn grouped_digits_are_one_number() {
        for (size, want) in [
            ("9,730", Some("9730")),
            ("1,234,567", Some("1234567")),
            ("1.234", Some("1234")),
            ("589", Some("589")),
            ("123,456", Some("123456")),
            ("1234", Some("1234")),
            ("1234,567", None),
            (",567", None),
            ("1,,234", None),
            ("", None),
        ] {
            let got = without_groups(size.as_bytes());
            assert_eq!(got.as_deref(), want.map(str::as_bytes), "{size}");
        }
    }
}
