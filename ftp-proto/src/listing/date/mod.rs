//! Dates in listings. There is no standard for dates in `LIST`. Each format that is parsed here is
//! sent by some server; `tests/listings` has examples.

#[cfg(test)]
mod tests;

use super::entry::{Modified, Precision, Zone};
use super::words::{
    DAY_MARKS, MONTH_MARKS, Word, Words, YEAR_MARKS, is_mark, month, short, split_digits,
};
use crate::time_val::TimeVal;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Date {
    /// `None` if the date has a known form but does not exist or is ambiguous: the line is still an
    /// entry.
    pub(super) modified: Option<Modified>,
    /// The offset in the line of the first byte after the date.
    pub(super) end: usize,
    pub(super) column: Column,
    /// The year, if the last word of the date is a year in digits.
    pub(super) year: Option<u16>,
}

/// The padding of the last column of a date, which decides where the name begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Column {
    /// No padding: one SP, then the name.
    Exact,
    /// A year after a single SP. `ls` right-aligns years in a column as wide as `hh:mm`; some
    /// servers left-align them and add one SP.
    LooseYear,
    /// A date without a time in a format that has times for other dates. `ls --time-style=iso` adds
    /// one SP.
    NoTime,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Clock {
    pub(super) hour: u8,
    pub(super) minute: u8,
    pub(super) second: Option<u8>,
}

/// A year, month and day as numbers, which may be out of range.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Ymd {
    pub(super) year: Option<u16>,
    pub(super) month: u16,
    pub(super) day: u16,
}

/// The text after a month and a day.
enum Rest {
    Clock(Clock),
    Year(u16),
}

/// Parses a date that begins with the next of `words`.
pub(super) fn read(mut words: Words<'_>, reference: TimeVal) -> Option<Date> {
    let first = words.next()?;
    let (digits, suffix) = split_digits(first.bytes);
    match (digits.len(), suffix) {
        (0, _) => {
            // Checks the day first, because that is cheaper than checking the name of a month.
            let day = words.next()?;
            let number = day_of_month(day.bytes)?;
            let month = month(first.bytes)?;
            let comma = day.bytes.last() == Some(&b',');
            month_and_day(month, number, day, comma, words, reference)
        }
        (1 | 2, [] | [b'.']) => {
            let second = words.next()?;
            let is_number = second.bytes.first().is_some_and(u8::is_ascii_digit);
            if let Some(month) = Some(second.bytes).filter(|_| !is_number).and_then(month) {
                let day = short(digits, 2)?;
                return month_and_day(month, day, second, false, words, reference);
            }
            // `3 29 03:26`: accepted only with a time, because any three numbers could be day,
            // month and year.
            let month = short(digits, 2)?;
            let day = short(second.bytes, 2)?;
            let time = words.next()?;
            let ymd = Ymd { year: None, month, day };
            let clock = clock(time.bytes)?;
            (suffix.is_empty() && (1..=12).contains(&month))
                .then(|| Date::at(ymd, Some(clock), reference, time))
        }
        (1 | 2, suffix) if is_mark(suffix, &MONTH_MARKS) => {
            let month = short(digits, 2)?;
            let day = words.next()?;
            let (digits, suffix) = split_digits(day.bytes);
            if !(suffix.is_empty() || is_mark(suffix, &DAY_MARKS)) {
                return None;
            }
            month_and_day(month, short(digits, 2)?, day, false, words, reference)
        }
        (4, suffix) if is_mark(suffix, &YEAR_MARKS) => {
            let month = words.next()?;
            let last = words.next()?;
            let (month_digits, month_mark) = split_digits(month.bytes);
            let (day_digits, day_mark) = split_digits(last.bytes);
            if !is_mark(month_mark, &MONTH_MARKS) || !is_mark(day_mark, &DAY_MARKS) {
                return None;
            }
            let ymd = Ymd {
                year: Some(short(digits, 4)?),
                month: short(month_digits, 2)?,
                day: short(day_digits, 2)?,
            };
            Some(Date::at(ymd, None, reference, last))
        }
        _ => joined(first, words, reference),
    }
}

impl Date {
    /// Returns the date `ymd` at the time `clock`; `last` is the last word of the date.
    fn at(ymd: Ymd, clock: Option<Clock>, reference: TimeVal, last: Word<'_>) -> Self {
        let modified = modified(ymd, clock, reference);
        Self { modified, end: last.end(), column: Column::Exact, year: None }
    }

    /// Converts this date to UTC if `word` is an offset from UTC, such as `+0200`; otherwise
    /// returns it unchanged.
    fn in_zone(mut self, word: Word<'_>) -> Self {
        if let Some(ahead) = offset(word.bytes) {
            self.end = word.end();
            self.modified = self.modified.and_then(|modified| {
                let time = TimeVal::from_unix_seconds(modified.time.unix_seconds() - ahead)?;
                Some(Modified { time, zone: Zone::Utc, ..modified })
            });
        }
        self
    }
}

/// Parses a date whose month is three digits or other marks instead of letters, such as
/// `000 00 00:00`. The date has no value. Only the context shows whether this is a date at all.
pub(super) fn read_without_month(mut words: Words<'_>, reference: TimeVal) -> Option<Date> {
    let month = words.next()?.bytes;
    if month.len() != 3 || month.iter().any(|byte| !byte.is_ascii() || byte.is_ascii_alphabetic()) {
        return None;
    }
    let day = words.next()?;
    let number = day_of_month(day.bytes)?;
    month_and_day(0, number, day, false, words, reference)
}

/// Parses the text after a month and a day, or after a day and a month: a time, a year, or both.
/// Both are possible after a day with a comma (`Oct 08, 2002 09:47`), or if the time has seconds.
/// `last` is the later of the words for month and day.
fn month_and_day(
    month: u16,
    day: u16,
    last: Word<'_>,
    comma: bool,
    mut words: Words<'_>,
    reference: TimeVal,
) -> Option<Date> {
    let word = words.next()?;
    let ymd = |year| Ymd { year, month, day };
    match time_or_year(word.bytes)? {
        Rest::Clock(clock) => {
            // `ls -lT`: a time with seconds, then the year.
            let year = words.peek().filter(|_| clock.second.is_some());
            match year.and_then(|year| Some((year, four_digits(year.bytes)?))) {
                Some((word, year)) => Some(Date::at(ymd(Some(year)), Some(clock), reference, word)),
                None => Some(Date::at(ymd(None), Some(clock), reference, word)),
            }
        }
        Rest::Year(year) => {
            let time = words.peek().filter(|_| comma);
            if let Some((word, clock)) = time.and_then(|word| Some((word, clock(word.bytes)?))) {
                return Some(Date::at(ymd(Some(year)), Some(clock), reference, word));
            }
            let mut date = Date::at(ymd(Some(year)), None, reference, word);
            date.year = Some(year);
            if word.start == last.end() + 1 && word.bytes.len() == 4 {
                date.column = Column::LooseYear;
            }
            Some(date)
        }
    }
}

/// Parses a date in one word, such as `2005-06-07`, `09-26` or `01-jun-99`, and the year or the
/// time and zone that may follow it.
fn joined(first: Word<'_>, words: Words<'_>, reference: TimeVal) -> Option<Date> {
    let mark = *first.bytes.iter().find(|byte| matches!(byte, b'-' | b'/' | b'.'))?;
    if first.bytes.len() > 11 {
        return None;
    }
    let mut parts = first.bytes.split(|&byte| byte == mark);
    let a = parts.next()?;
    let b = parts.next()?;
    let c = parts.next();
    let end = parts.next();
    let next = words.peek();
    let time = next.and_then(|word| Some((word, clock(word.bytes)?)));
    match (a.len(), c, end) {
        // `09-26 13:45`, `09-26 2000`
        (1 | 2, None, None) => {
            let month = short(a, 2)?;
            let day = short(b, 2)?;
            let ymd = |year| Ymd { year, month, day };
            let word = next?;
            match time_or_year(word.bytes)? {
                Rest::Clock(clock) => Some(Date::at(ymd(None), Some(clock), reference, word)),
                Rest::Year(year) => Some(Date::at(ymd(Some(year)), None, reference, word)),
            }
        }
        // `2005-06-07 21:22`, `2005-06-07 21:22:33.123456789 +0200`, `2005-06-07`
        (4, Some(c), None) => {
            let ymd = Ymd { year: Some(short(a, 4)?), month: short(b, 2)?, day: short(c, 2)? };
            let Some((word, clock)) = time else {
                let mut date = Date::at(ymd, None, reference, first);
                date.column = Column::NoTime;
                return Some(date);
            };
            let date = Date::at(ymd, Some(clock), reference, word);
            let zone = words.from(word.end()).peek().filter(|_| clock.second.is_some());
            Some(zone.map_or(date, |zone| date.in_zone(zone)))
        }
        // `01-jun-99`, `01-Jun-1999 12:30`
        (1 | 2, Some(c), None) if b.first().is_some_and(|byte| !byte.is_ascii_digit()) => {
            let ymd = Ymd { year: Some(year(c)?), month: month(b)?, day: short(a, 2)? };
            let (word, clock) = time.map_or((first, None), |(word, clock)| (word, Some(clock)));
            Some(Date::at(ymd, clock, reference, word))
        }
        // `24-04-2003 17:12`: with `.`, the day comes first. With another separator, the numbers
        // must allow only one order of day and month, or the date has no value.
        (1 | 2, Some(c), None) => {
            let a = short(a, 2)?;
            let b = short(b, 2)?;
            let year = four_digits(c)?;
            let (word, clock) = time?;
            let (day, month) = match (mark, a > 12, b > 12) {
                (b'.', ..) | (_, true, _) => (a, b),
                (_, false, true) => (b, a),
                (..) if a == b => (a, b),
                (..) => (0, 0),
            };
            Some(Date::at(Ymd { year: Some(year), month, day }, Some(clock), reference, word))
        }
        _ => None,
    }
}

/// Returns the time with these fields; `None` if it does not exist. Without a year, it is the
/// latest such time that is at most one day after `reference`. Servers leave out the year for
/// recent months, and their clocks may be in a different time zone.
pub(super) fn modified(ymd: Ymd, clock: Option<Clock>, reference: TimeVal) -> Option<Modified> {
    let month = u8::try_from(ymd.month).ok()?;
    let day = u8::try_from(ymd.day).ok()?;
    let (hour, minute, second, precision) = match clock {
        None => (0, 0, 0, Precision::Day),
        Some(Clock { hour, minute, second: None }) => (hour, minute, 0, Precision::Minute),
        Some(Clock { hour, minute, second: Some(second) }) => {
            (hour, minute, second, Precision::Second)
        }
    };
    let at = |year| TimeVal::new(year, month, day, hour, minute, second);
    let time = match ymd.year {
        Some(year) => at(year),
        None => {
            let latest = reference.unix_seconds() + 86_400;
            // February 29 may be eight years back: 2096 is the leap year before 2104.
            let years = (reference.year().saturating_sub(8)..=reference.year() + 1).rev();
            years.filter_map(at).find(|time| time.unix_seconds() <= latest)
        }
    };
    time.map(|time| Modified { time, precision, zone: Zone::Unknown })
}

/// Parses `h:mm`, `hh:mm` or `hh:m`, with or without `:ss`; fractions are skipped. Numbers out of
/// range are accepted here, so that such a date is recognised, but has no value.
pub(super) fn clock(word: &[u8]) -> Option<Clock> {
    // Checks for digits and colons first, because this runs for each word of a line.
    let (hour, rest) = split_digits(word);
    let (minute, rest) = split_digits(rest.strip_prefix(b":")?);
    let small = |digits| short(digits, 2).and_then(|value| u8::try_from(value).ok());
    let hour = small(hour)?;
    let minute = small(minute)?;
    let second = match rest.strip_prefix(b":") {
        None if rest.is_empty() => None,
        None => return None,
        Some(rest) => {
            let (second, fraction) = split_digits(rest);
            let fraction = fraction.strip_prefix(b".").unwrap_or(fraction);
            if !fraction.iter().all(u8::is_ascii_digit) {
                return None;
            }
            Some(small(second)?)
        }
    };
    Some(Clock { hour, minute, second })
}

fn time_or_year(word: &[u8]) -> Option<Rest> {
    if let Some(clock) = clock(word) {
        return Some(Rest::Clock(clock));
    }
    let (digits, suffix) = split_digits(word);
    (suffix.is_empty() || is_mark(suffix, &YEAR_MARKS)).then_some(())?;
    Some(Rest::Year(four_digits(digits)?))
}

fn four_digits(digits: &[u8]) -> Option<u16> {
    if digits.len() == 4 { short(digits, 4) } else { None }
}

/// Parses a year of two, three or four digits. Two digits mean 1970 to 2069. Three digits come from
/// servers that print years since 1900.
pub(super) fn year(digits: &[u8]) -> Option<u16> {
    let value = short(digits, 4)?;
    match digits.len() {
        2 => Some(value + if value < 70 { 2_000 } else { 1_900 }),
        3 if value < 200 => Some(value + 1_900),
        4 => Some(value),
        _ => None,
    }
}

/// Parses a day of the month: one or two digits, optionally followed by `,` or `.`.
fn day_of_month(word: &[u8]) -> Option<u16> {
    let (digits, suffix) = split_digits(word);
    matches!(suffix, b"" | b"," | b".").then_some(())?;
    short(digits, 2)
}

/// Parses `+hhmm` or `-hhmm` into seconds ahead of UTC.
fn offset(word: &[u8]) -> Option<i64> {
    let (sign, digits) = word.split_first()?;
    let digits = if digits.len() == 4 { i64::from(short(digits, 4)?) } else { return None };
    let seconds = digits / 100 * 3_600 + digits % 100 * 60;
    match sign {
        b'+' => Some(seconds),
        b'-' => Some(-seconds),
        _ => None,
    }
}
