//! Formats names, sizes, times and errors for users.

use std::borrow::Cow;
use std::fmt::Display;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use ftp_proto::{Escaped, TimeVal};

use crate::options::urls::{is_url, split_at_colon};

/// Returns a number with its noun, such as "1 file", "2 files" or "0 directories".
pub(crate) fn counted<N: Copy + Display + From<u8> + PartialEq>(number: N, noun: &str) -> String {
    if number == N::from(1) {
        return format!("1 {noun}");
    }
    match noun.strip_suffix('y') {
        Some(stem) => format!("{number} {stem}ies"),
        None => format!("{number} {noun}s"),
    }
}

/// Removes system error numbers and byte positions, which mean nothing to users, from a text.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(text);
    remove_numbers(&mut text, " (os error ", ")");
    remove_numbers(&mut text, " at byte ", "");
    text
}

/// Removes each number between `mark` and `end`, and these two texts.
fn remove_numbers(text: &mut Cow<'_, str>, mark: &str, end: &str) {
    let mut from = 0;
    while let Some(at) = text.get(from..).and_then(|rest| rest.find(mark)) {
        let start = from + at;
        let number = from + at + mark.len();
        let rest = text.get(number..).unwrap_or_default();
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if digits > 0 && rest.get(digits..).is_some_and(|rest| rest.starts_with(end)) {
            text.to_mut().replace_range(start..number + digits + end.len(), "");
            from = start;
        } else {
            from = number;
        }
    }
}

/// Formats a number of bytes in its largest unit, with one decimal from 1 KiB: `17 B`, `1.5 KiB`,
/// `64.0 MiB`.
pub(crate) fn size(bytes: u64) -> String {
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

/// Formats a transfer: `64.0 MiB in 1.25 s (51.2 MiB/s)`.
pub(crate) fn transferred(bytes: u64, time: Duration) -> String {
    let micros = time.as_micros().max(1);
    let rate = u64::try_from(u128::from(bytes) * 1_000_000 / micros).unwrap_or(u64::MAX);
    format!("{} in {:.2} s ({}/s)", size(bytes), time.as_secs_f64(), size(rate))
}

/// Returns the current time in UTC, with milliseconds (RFC 3339 §5.6): `2024-02-29T13:45:59.120Z`.
pub(crate) fn timestamp() -> String {
    let now = time_val(SystemTime::now());
    format!("{}.{:03}Z", to_seconds(now), now.nanosecond() / 1_000_000)
}

/// Returns a time in UTC, to the second: `2024-02-29T13:45:59Z`.
pub(crate) fn instant(time: SystemTime) -> String {
    format!("{}Z", to_seconds(time_val(time)))
}

/// Converts a time. Returns the first day of year 0 for years before 0 or after 9999, which have no
/// format.
fn time_val(time: SystemTime) -> TimeVal {
    let unknown = TimeVal::new(0, 1, 1, 0, 0, 0).expect("the first day of year 0 exists");
    TimeVal::try_from(time).unwrap_or(unknown)
}

fn to_seconds(time: TimeVal) -> String {
    let date = format!("{:04}-{:02}-{:02}", time.year(), time.month(), time.day());
    format!("{date}T{:02}:{:02}:{:02}", time.hour(), time.minute(), time.second())
}

/// Returns a path for messages. If the path is a URL, replaces its login with `****`.
pub(crate) fn shown(path: &[u8]) -> String {
    let login = |path| {
        let (scheme, rest) = split_at_colon(path).filter(|_| is_url(path))?;
        let at = rest.iter().rposition(|byte| *byte == b'@')?;
        Some((scheme, rest.get(at..)?))
    };
    match login(path) {
        Some((scheme, rest)) => format!("{}://****{}", Escaped(scheme), Escaped(rest)),
        None => Escaped(path).to_string(),
    }
}

/// Returns a path for messages.
pub(crate) fn shown_path(path: &Path) -> String {
    shown(path.as_os_str().as_bytes())
}

/// Returns an error with its causes.
pub(crate) fn in_full(error: &dyn std::error::Error) -> String {
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
    fn plain_removes_os_error_numbers() {
        for (text, want) in [
            ("x: Permission denied (os error 13)", "x: Permission denied"),
            ("a (os error 2) at path \"b\"; c (os error 111)", "a at path \"b\"; c"),
            (
                "a (os error ), b (os error x) (os error 1",
                "a (os error ), b (os error x) (os error 1",
            ),
            ("x: unexpected byte at byte 12; y", "x: unexpected byte; y"),
            ("nothing", "nothing"),
        ] {
            assert_eq!(plain(text), want);
        }
    }

    #[test]
    fn size_keeps_three_digits() {
        for (bytes, want) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (1_536, "1.5 KiB"),
            (1_048_576, "1.0 MiB"),
            (67_108_864, "64.0 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(size(bytes), want);
        }
    }

    #[test]
    fn a_transfer_in_zero_time_has_a_zero_rate() {
        assert_eq!(transferred(0, Duration::ZERO), "0 B in 0.00 s (0 B/s)");
        let half = transferred(1_048_576, Duration::from_millis(500));
        assert_eq!(half, "1.0 MiB in 0.50 s (2.0 MiB/s)");
    }

    #[test]
    fn shown_leaves_out_the_password_of_a_url() {
        for (path, want) in [
            ("a:b@c", "a:b@c"),
            ("/d/http://u:p@h", "/d/http://u:p@h"),
            ("ftp://h/x", "ftp://h/x"),
            ("FTPES://u:p@q@h/x", "FTPES://****@h/x"),
        ] {
            assert_eq!(shown(path.as_bytes()), want);
        }
    }
}
