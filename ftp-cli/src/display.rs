//! What people and programs read: standard output, and how sizes and times are written.

use std::borrow::Cow;
use std::io::{BufWriter, Write};
use std::time::Duration;

use ftp_proto::Escaped;

use crate::console::stdio::{Output, Stdio};
use crate::exit::Failure;
use crate::options::Options;

/// Lines of results on standard output: exact bytes, but that on a terminal what acts on it is
/// escaped, unless `--raw-names` is given (LI-04, LI-05).
pub(crate) struct Lines {
    output: BufWriter<Output>,
    escapes: bool,
}

impl Lines {
    pub(crate) fn new(options: &Options, stdio: &Stdio) -> Self {
        let escapes = stdio.output_is_terminal && !options.has("raw-names");
        Self::to(stdio.shared_output.clone(), escapes)
    }

    pub(crate) fn to(output: Output, escapes: bool) -> Self {
        Self { output: BufWriter::new(output), escapes }
    }

    /// Writes one line.
    ///
    /// # Errors
    ///
    /// `Local`: standard output is closed or full.
    pub(crate) fn print(&mut self, line: &[u8]) -> Result<(), Failure> {
        let written = match self.escapes {
            true => writeln!(self.output, "{}", Escaped(line)),
            false => self.output.write_all(line).and_then(|()| self.output.write_all(b"\n")),
        };
        written.map_err(|error| Failure::output(&error))
    }

    /// Has all that was written be seen.
    ///
    /// # Errors
    ///
    /// As [`print`](Self::print).
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.output.flush().map_err(|error| Failure::output(&error))
    }
}

/// Writes data or results to standard output.
///
/// # Errors
///
/// `Local`: standard output is closed or full.
pub(crate) fn print(output: &mut dyn Write, bytes: &[u8]) -> Result<(), Failure> {
    let written = output.write_all(bytes).and_then(|()| output.flush());
    written.map_err(|error| Failure::output(&error))
}

/// Words for people, without the number that the system has for an error: its name is there too.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    const MARK: &str = " (os error ";
    let mut text = Cow::Borrowed(text);
    let mut from = 0;
    while let Some(at) = text.get(from..).and_then(|rest| rest.find(MARK)) {
        let (start, number) = (from + at, from + at + MARK.len());
        let rest = text.get(number..).unwrap_or_default();
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if digits > 0 && rest.get(digits..).is_some_and(|rest| rest.starts_with(')')) {
            text.to_mut().replace_range(start..number + digits + 1, "");
            from = start;
        } else {
            from = number;
        }
    }
    text
}

/// A number of bytes with three digits or so: `17 B`, `1.5 KiB`, `64.0 MiB`.
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

/// `64.0 MiB in 1.25 s (51.2 MiB/s)`.
pub(crate) fn transferred(bytes: u64, time: Duration) -> String {
    let micros = time.as_micros().max(1);
    let rate = u64::try_from(u128::from(bytes) * 1_000_000 / micros).unwrap_or(u64::MAX);
    format!("{} in {:.2} s ({}/s)", size(bytes), time.as_secs_f64(), size(rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_leaves_out_the_numbers_of_errors() {
        for (text, want) in [
            ("x: Permission denied (os error 13)", "x: Permission denied"),
            ("a (os error 2) at path \"b\"; c (os error 111)", "a at path \"b\"; c"),
            (
                "a (os error ), b (os error x) (os error 1",
                "a (os error ), b (os error x) (os error 1",
            ),
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
    fn transferred_in_no_time_does_not_divide_by_it() {
        assert_eq!(transferred(0, Duration::ZERO), "0 B in 0.00 s (0 B/s)");
        let half = transferred(1_048_576, Duration::from_millis(500));
        assert_eq!(half, "1.0 MiB in 0.50 s (2.0 MiB/s)");
    }
}
