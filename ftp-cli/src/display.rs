//! Formats names, sizes, times and errors for users.

use std::borrow::Cow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use ftp_proto::{Escaped, TimeVal};
pub(crate) use ftp_server::daemon::values::{counted, rounded_size as size, timestamp};

use crate::options::{is_url, split_at_colon};

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

/// Returns the current time in Unix seconds, to compare with file times and certificates.
pub(crate) fn unix_time() -> i64 {
    TimeVal::try_from(SystemTime::now()).map_or(0, |now| now.unix_seconds())
}

/// Breaks text into lines of at most `width` columns, all but the first indented by `indent`.
pub(crate) fn wrapped(text: &str, indent: usize, width: usize) -> String {
    let mut lines = String::new();
    let mut column = indent;
    for (at, word) in text.split(' ').enumerate() {
        let length = word.chars().count();
        if at > 0 && column + 1 + length > width {
            lines.extend(["\n", &" ".repeat(indent)]);
            column = indent;
        } else if at > 0 {
            lines.push(' ');
            column += 1;
        }
        lines.push_str(word);
        column += length;
    }
    lines
}

/// Formats a transfer: `64.0 MiB in 1.25 s (51.2 MiB/s)`.
pub(crate) fn transferred(bytes: u64, time: Duration) -> String {
    let micros = time.as_micros().max(1);
    let rate = u64::try_from(u128::from(bytes) * 1_000_000 / micros).unwrap_or(u64::MAX);
    format!("{} in {:.2} s ({}/s)", size(bytes), time.as_secs_f64(), size(rate))
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
