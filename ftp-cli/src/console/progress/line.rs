//! Builds the progress line, shortened to the width of the terminal, because a wrapped line could
//! not be cleared.

use std::time::Duration;

use indicatif::{HumanBytes, HumanDuration, ProgressState};

/// Mark for omitted text.
const ELLIPSIS: char = '\u{2026}';

/// Parts of a line; the name is separate, since it is shortened first.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    pub(super) head: String,
    pub(super) name: String,
    pub(super) tail: String,
}

impl Line {
    /// Appends `figures` to the line.
    pub(super) fn with(mut self, figures: &str) -> Self {
        self.tail.push_str(figures);
        self
    }

    /// Returns the line, shortened to fewer than `columns` columns: first the name, to at least one
    /// letter, then the end of the line.
    pub(super) fn fitting(self, columns: usize) -> String {
        let Self { head, name, tail } = self;
        let room = columns.saturating_sub(1);
        let beside = width(&head) + width(&tail);
        let name = shortened(&name, room.saturating_sub(beside).max(2));
        shortened(&format!("{head}{name}{tail}"), room)
    }
}

/// Returns the transferred bytes, the total, the rate, and the remaining or elapsed time. `kept` is
/// the number of bytes that were transferred before this run, which `progress` does not count.
pub(super) fn figures(progress: &ProgressState, kept: u64, total: Option<u64>) -> String {
    let done = kept + progress.pos();
    let speed = progress.per_sec();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the cast saturates, and a rate is never negative"
    )]
    let rate = HumanBytes(speed as u64);
    let bytes = HumanBytes(done);
    match total {
        Some(total) => {
            #[expect(clippy::cast_precision_loss, reason = "an estimate")]
            let left = total.saturating_sub(done) as f64 / speed;
            // Without a rate, nothing is known.
            let left = HumanDuration(Duration::try_from_secs_f64(left).unwrap_or_default());
            format!("{bytes} of {}  {rate}/s  {left:#} left", HumanBytes(total))
        }
        None => format!("{bytes}  {rate}/s  {:#}", HumanDuration(progress.elapsed())),
    }
}

/// Returns the largest possible width of a text in columns. Counts two columns for East Asian
/// letters, and also for narrower characters from U+1100 except the ellipsis.
fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
}

const fn columns(char: char) -> usize {
    if (char as u32) < 0x1100 || char == ELLIPSIS { 1 } else { 2 }
}

/// Returns as much of the beginning as fits, with a mark if text is omitted.
fn shortened(text: &str, room: usize) -> String {
    if width(text) <= room {
        return text.to_owned();
    }
    let (mut left, mut short) = (room.saturating_sub(1), String::new());
    for char in text.chars() {
        let Some(rest) = left.checked_sub(columns(char)) else { break };
        short.push(char);
        left = rest;
    }
    if room > 0 {
        short.push(ELLIPSIS);
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_fits_and_the_name_is_shortened_first_li_04() {
        let line = |name: &str| Line {
            head: "[1/2] ".to_owned(),
            name: name.to_owned(),
            tail: "  1 of 2".to_owned(),
        };
        for (name, columns, want) in [
            ("abcdef", usize::MAX, "[1/2] abcdef  1 of 2"),
            ("abcdef", 21, "[1/2] abcdef  1 of 2"),
            ("abcdef", 20, "[1/2] abcd\u{2026}  1 of 2"),
            ("abcdef", 17, "[1/2] a\u{2026}  1 of 2"),
            ("abcdef", 12, "[1/2] a\u{2026}  \u{2026}"),
            ("\u{6f22}\u{5b57}\u{6f22}", 21, "[1/2] \u{6f22}\u{5b57}\u{6f22}  1 of 2"),
            ("\u{6f22}\u{5b57}\u{6f22}", 20, "[1/2] \u{6f22}\u{5b57}\u{2026}  1 of 2"),
            ("abcdef", 2, "\u{2026}"),
            ("abcdef", 1, ""),
            ("abcdef", 0, ""),
        ] {
            let shown = line(name).fitting(columns);
            assert_eq!(shown, want, "{name} in {columns}");
            assert!(width(&shown) < columns.max(1), "{shown:?} in {columns}");
        }
    }
}
