//! Parses values of options and settings: times, words, numbers; finds similar words; and formats
//! values for messages.

use std::fmt::Display;
use std::iter;

use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::{Escaped, ParseError, ParseErrorKind, PortRanges};

use super::{Stamp, calendar, to_seconds};

/// Longest time of any setting, short enough that adding two of them does not overflow a clock.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3_600);

/// Parses a time, as a number of seconds or with a unit: `30`, `1.5`, `250 ms`, `30s`, `5 min`,
/// `2 h`.
///
/// # Errors
///
/// Returns a message about the error.
pub fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let wrong = || format!("invalid time \"{text}\": expected a time such as 30, 250 ms or 5 min");
    let (number, unit) = split(text);
    let millis = match unit {
        "ms" => 1,
        "" | "s" | "sec" | "second" | "seconds" => 1_000,
        "m" | "min" | "minute" | "minutes" => 60_000,
        "h" | "hour" | "hours" => 3_600_000,
        "d" | "day" | "days" => 86_400_000,
        _ => return Err(wrong()),
    };
    let number = billionths(number).ok_or_else(wrong)?;
    // A billionth of a second is a nanosecond.
    match u64::try_from(number.saturating_mul(millis) / 1_000).map(Duration::from_nanos) {
        Ok(time) if time <= LONGEST => Ok(time),
        _ => Err(format!("invalid time \"{text}\": expected at most 365 days")),
    }
}

/// Splits a decimal number from its unit.
fn split(text: &str) -> (&str, &str) {
    let end = text.find(|char: char| !char.is_ascii_digit() && char != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim())
}

/// Parses a decimal number in billionths: `30` or `1.5`; finer digits are dropped.
fn billionths(number: &str) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let digits = whole.bytes().chain(fraction.bytes().chain(iter::repeat(b'0')).take(9));
    // Saturates, because every caller rejects the maximum as too large.
    Some(digits.fold(0, |sum: u128, digit| {
        sum.saturating_mul(10).saturating_add(u128::from(digit.wrapping_sub(b'0')))
    }))
}

/// Parses a time greater than 0, like [`duration`].
///
/// # Errors
///
/// Returns a message about the error; 0 is an error too.
pub fn waiting_time(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("the time must be greater than 0".to_owned()),
        time => Ok(time),
    }
}

/// Returns a text without the byte order mark that some editors write at its beginning.
#[must_use]
pub fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

/// Formats a time in hours, minutes or seconds: the largest unit of which it is a multiple. A time
/// with a fraction is shown in milliseconds if it is below 1 s, else in seconds with three
/// decimals.
#[must_use]
pub fn show(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds, time.subsec_millis()) {
        (0, millis) if millis > 0 => format!("{millis} ms"),
        (_, millis) if millis > 0 => format!("{seconds}.{millis:03} s"),
        _ if seconds >= 3_600 && seconds.is_multiple_of(3_600) => format!("{} h", seconds / 3_600),
        _ if seconds >= 60 && seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        _ => format!("{seconds} s"),
    }
}

/// Parses a number of bytes: `4096`, `64 MiB`, `1GiB`, `500K`. A letter alone is a power of 1024.
///
/// # Errors
///
/// Returns a message about the error.
pub fn size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let wrong =
        || format!("invalid size \"{text}\": expected a size such as 4096, 64 MiB or 1 GiB");
    let split = text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let shift = match unit.trim() {
        "" | "B" => 0,
        "K" | "k" | "KiB" => 10,
        "M" | "m" | "MiB" => 20,
        "G" | "g" | "GiB" => 30,
        "T" | "t" | "TiB" => 40,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).ok_or_else(|| format!("invalid size \"{text}\": too large"))
}

/// Parses a rate in bytes per second: `500K`, `2M`, `1.5 MiB/s`, `4096`. A letter alone is a power
/// of 1024, as in curl and wget.
///
/// # Errors
///
/// Returns a message about the error.
pub fn rate(text: &str) -> Result<u64, String> {
    let wrong =
        || format!("invalid rate \"{text}\": expected a rate such as 4096, 500K or 2 MiB/s");
    let bare = text.trim();
    let bare = bare.strip_suffix("/s").unwrap_or(bare).trim_end();
    let (number, unit) = split(bare);
    let unit = match unit {
        "" | "B" => 1,
        "K" | "k" | "KiB" => 1 << 10,
        "M" | "m" | "MiB" => 1 << 20,
        "G" | "g" | "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    let number = billionths(number).ok_or_else(wrong)?;
    match u64::try_from(number.saturating_mul(unit) / 1_000_000_000).ok() {
        Some(0) => Err("the rate must be greater than 0".to_owned()),
        Some(bytes) => Ok(bytes),
        None => Err(format!("invalid rate \"{text}\": too large")),
    }
}

/// Formats a number of bytes in the largest unit of which it is a multiple.
#[must_use]
pub fn show_size(bytes: &u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let whole = |(shift, _): &&(u32, &str)| *bytes > 0 && bytes.is_multiple_of(1 << shift);
    match units.iter().find(whole) {
        Some((shift, unit)) => format!("{} {unit}", bytes >> shift),
        None => bytes.to_string(),
    }
}

/// Parses a list of ports and ranges: `50000-50099,51000`.
///
/// # Errors
///
/// Returns a message about the error.
pub fn ports(text: &str) -> Result<PortRanges, String> {
    let wrong = |error: ParseError| {
        let item = text.get(error.at..).unwrap_or_default().split(',').next().unwrap_or_default();
        let ends = item.split_once('-').map(|(first, last)| (first.trim(), last.trim()));
        match ends.map(|(first, last)| (first.parse::<u16>(), last.parse::<u16>())) {
            Some((Ok(first), Ok(last))) if first > last => {
                format!("invalid port range \"{}\": first port above the last", item.trim())
            }
            _ if error.kind == ParseErrorKind::TooLong => "too many port ranges".to_owned(),
            _ => format!(
                "invalid port range \"{}\": expected ports such as 50000-50099,51000",
                item.trim()
            ),
        }
    };
    PortRanges::parse(text.as_bytes()).map_err(wrong)
}

/// Parses an address or a host name.
///
/// # Errors
///
/// Returns a message about the error.
pub fn host(text: &str) -> Result<String, String> {
    // Resolvers accept more names than the standards allow.
    if text.is_empty() || text.contains(|char: char| char.is_whitespace() || char.is_control()) {
        return Err(format!("invalid host {text:?}: expected an address or a host name"));
    }
    Ok(text.to_owned())
}

/// Returns whether this is an absolute path that the system accepts.
#[must_use]
pub fn is_absolute(path: &str) -> bool {
    path.starts_with('/') && !path.contains('\0')
}

/// Parses one of a few words.
///
/// # Errors
///
/// Returns a message that lists all words.
pub fn word<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    Err(format!("invalid value \"{text}\": expected {}", known.join(", ")))
}

/// Returns the word of `known` that is most similar to `given`, if it is similar enough.
#[must_use]
pub fn nearest<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = given.chars().count() / 3 + 1;
    known
        .map(|word| (strsim::levenshtein(given, word), word))
        .filter(|(distance, _)| *distance <= near)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// Returns a hint to the most similar word of `known`, or nothing if no word is similar enough.
pub fn did_you_mean<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> String {
    nearest(given, known).map_or_else(String::new, |near| format!("; did you mean {near}?"))
}

/// Returns a number with its noun, such as "1 file", "2 files" or "0 directories".
#[must_use]
pub fn counted<N: Copy + Display + From<u8> + PartialEq>(number: N, noun: &str) -> String {
    if number == N::from(1) {
        return format!("1 {noun}");
    }
    match noun.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{number} {stem}ies"),
        _ => format!("{number} {noun}s"),
    }
}

/// Formats a number of bytes in its largest unit, with one decimal from 1 KiB: `17 B`, `1.5 KiB`,
/// `64.0 MiB`.
#[must_use]
pub fn rounded_size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut tenths = u128::from(bytes) * 10;
    let mut name = "B";
    for unit in units {
        if tenths < 10_240 {
            break;
        }
        // Rounded to the nearest tenth of the next unit.
        tenths = (tenths + 512) / 1_024;
        name = unit;
    }
    if name == "B" {
        return format!("{bytes} B");
    }
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}

/// Returns the current time in UTC, with milliseconds (RFC 3339 §5.6): `2024-02-29T13:45:59.120Z`.
#[must_use]
pub fn timestamp() -> String {
    Stamp::now().to_string()
}

/// Returns a time in UTC, to the second: `2024-02-29T13:45:59Z`.
#[must_use]
pub fn instant(time: SystemTime) -> String {
    format!("{}Z", to_seconds(calendar(time)))
}

/// Returns a path for messages.
#[must_use]
pub fn shown_path(path: &Path) -> String {
    // On Unix, these bytes are those of the path.
    Escaped(path.as_os_str().as_encoded_bytes()).to_string()
}

/// Returns an error with its causes.
pub fn in_full(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        message = format!("{message}: {error}");
        cause = error.source();
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_plural_of_their_noun() {
        for (number, noun, want) in [
            (1, "file", "1 file"),
            (0, "directory", "0 directories"),
            (2, "file", "2 files"),
            (2, "day", "2 days"),
            (3, "copy", "3 copies"),
        ] {
            assert_eq!(counted(number, noun), want);
        }
    }

    #[test]
    fn duration_reads_units() {
        for (text, millis, shown) in [
            ("30", 30_000, "30 s"),
            ("1.5", 1_500, "1.500 s"),
            ("250 ms", 250, "250 ms"),
            ("30s", 30_000, "30 s"),
            ("60 s", 60_000, "1 min"),
            (" 5 min ", 300_000, "5 min"),
            ("5m", 300_000, "5 min"),
            ("2 hours", 7_200_000, "2 h"),
            ("90 min", 5_400_000, "90 min"),
            (".5 h", 1_800_000, "30 min"),
            ("7d", 604_800_000, "168 h"),
            ("5.", 5_000, "5 s"),
            ("0.0010000000009", 1, "1 ms"),
            ("0", 0, "0 s"),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
            assert_eq!(show(Duration::from_millis(millis)), shown, "{text}");
        }
    }

    #[test]
    fn ports_and_hosts_are_read() {
        for (text, want) in [
            ("21, 300-400", Ok("21,300-400")),
            ("400-300", Err("\"400-300\": first port above the last")),
            ("21,x", Err("invalid port range \"x\"")),
            ("", Err("invalid port range \"\"")),
        ] {
            let read = ports(text).map(|ports| ports.to_string());
            match want {
                Ok(want) => assert_eq!(read.as_deref(), Ok(want), "{text}"),
                Err(want) => assert!(read.unwrap_err().contains(want), "{text}"),
            }
        }
        for text in ["203.0.113.7", "2001:db8::1", "ftp.example.org.", "my_host"] {
            assert_eq!(host(text).as_deref(), Ok(text));
        }
        for text in ["", " ", "a b", "a\n"] {
            assert!(host(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn invalid_durations_are_refused() {
        for text in
            ["", "s", "abc", "-1", ".", "1.2.3", "5 parsecs", "1e9", "9000 h", "inf", "\u{661}"]
        {
            assert!(duration(text).is_err(), "{text}");
        }
        let digits = "9".repeat(1_000);
        assert!(duration(&digits).unwrap_err().contains("at most 365 days"));
        assert!(rate(&digits).unwrap_err().contains("too large"));
        assert_eq!(duration("8760 h"), Ok(LONGEST));
        assert!(waiting_time("0").is_err());
    }

    #[test]
    fn nearest_finds_what_was_meant() {
        let known = ["limits.sessions", "timeouts.idle", "timeouts.login", "stall-timeout"];
        for (given, want) in [
            ("limits.session", Some("limits.sessions")),
            ("timeout.idle", Some("timeouts.idle")),
            ("stal-timeout", Some("stall-timeout")),
            ("idle", None),
            ("", None),
            ("completely.different", None),
        ] {
            assert_eq!(nearest(given, known.into_iter()), want, "{given}");
        }
    }

    #[test]
    fn sizes_are_parsed_and_shown() {
        for (text, want) in [
            ("0", Ok("0")),
            ("4096", Ok("4 KiB")),
            ("64 MiB", Ok("64 MiB")),
            (" 1GiB ", Ok("1 GiB")),
            ("1025", Ok("1025")),
            ("3 B", Ok("3")),
            ("2 TiB", Ok("2 TiB")),
            ("500K", Ok("500 KiB")),
            ("3m", Ok("3 MiB")),
            ("64 MB", Err("invalid size")),
            ("MiB", Err("invalid size")),
            ("-1", Err("invalid size")),
            ("99999999 TiB", Err("too large")),
            ("99999999999999999999", Err("invalid size")),
        ] {
            let read = size(text).map(|bytes| show_size(&bytes));
            match want {
                Ok(want) => assert_eq!(read.as_deref(), Ok(want), "{text}"),
                Err(want) => assert!(read.unwrap_err().contains(want), "{text}"),
            }
        }
    }

    #[test]
    fn rates_are_parsed() {
        for (text, want) in [
            ("4096", Ok(4_096)),
            ("500K", Ok(512_000)),
            ("500k", Ok(512_000)),
            ("1.5M", Ok(1_572_864)),
            (" 2 MiB/s ", Ok(2_097_152)),
            ("1G", Ok(1 << 30)),
            ("0", Err("greater than 0")),
            ("0.0001K", Err("greater than 0")),
            ("K", Err("invalid rate")),
            ("", Err("invalid rate")),
            ("-1", Err("invalid rate")),
            ("1.", Ok(1)),
            ("0.0005M", Ok(524)),
            (".", Err("invalid rate")),
            ("1.2.3", Err("invalid rate")),
            ("5 parsecs", Err("invalid rate")),
            ("99999999999G", Err("too large")),
        ] {
            match (rate(text), want) {
                (Ok(rate), Ok(want)) => assert_eq!(rate, want, "{text}"),
                (Err(wrong), Err(want)) => assert!(wrong.contains(want), "{text}: {wrong}"),
                (read, _) => panic!("{text}: {read:?}"),
            }
        }
    }

    #[test]
    fn rounded_sizes_keep_three_digits() {
        for (bytes, want) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (1_536, "1.5 KiB"),
            (1_048_576, "1.0 MiB"),
            (67_108_864, "64.0 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(rounded_size(bytes), want);
        }
    }
}
