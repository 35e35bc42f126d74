//! Shows progress on standard error: bytes, total, rate, time left.
//!
//! indicatif measures the rate, but draws nothing: its terminal pads each line with spaces to the
//! window's width. If the window becomes narrower, these lines wrap, and the wrapped parts are never
//! cleared.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanDuration, ProgressBar, ProgressDrawTarget};

use super::output::{Messages, rounded_size, shown_local};
use crate::exit::Result;
use crate::options::Options;
use crate::report::{Events, Object};
use crate::{Stdio, lock, system};

/// Intervals between updates: on a terminal, and elsewhere, where each update is a line.
const TERMINAL: Duration = Duration::from_millis(100);
const ELSEWHERE: Duration = Duration::from_secs(1);

/// Condition for showing progress.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum When {
    Auto,
    Always,
    Never,
}

impl When {
    /// Reads `--progress`. Without that option, returns `Never` if `--quiet` is given or the trace
    /// goes to standard error, else `Auto`.
    ///
    /// # Errors
    ///
    /// Returns `Usage` for another word.
    pub(crate) fn from_options(options: &Options) -> Result<Self> {
        let words = [("auto", Self::Auto), ("always", Self::Always), ("never", Self::Never)];
        let when = options.parsed("progress", |text| crate::options::values::word(text, &words))?;
        Ok(when.unwrap_or(if options.is_quiet() || options.optional("trace") == Some(None) {
            Self::Never
        } else {
            Self::Auto
        }))
    }
}

/// Progress of all transfers of a command, on the display and as events for `--json`. Clears the
/// display when dropped.
pub(crate) struct Board {
    when: When,
    messages: Messages,
    events: Events,
    files: usize,
    /// Whether one line is drawn again and again, not each state as a separate line.
    redraws: bool,
    state: Mutex<BoardState>,
}

#[derive(Default)]
struct BoardState {
    bar: Option<ProgressBar>,
    drawn: Option<Instant>,
    /// Number of bytes that this run has transferred, over all files.
    moved: u64,
    /// Number of bytes that were transferred before, minus those of attempts that were given up: they
    /// count as done, but not for the rate and the remaining time.
    kept: i64,
    /// The number and the bytes of each file whose last attempt has not ended with its last byte.
    unfinished: HashMap<String, (usize, u64)>,
    /// Total size of all files, if known.
    total: Option<u64>,
    begun: usize,
    /// The transfer that is shown.
    line: Line,
}

impl Board {
    pub(crate) fn new(when: When, stdio: &Stdio, files: usize, total: Option<u64>) -> Self {
        let messages = stdio.messages.clone();
        let events = stdio.events.clone();
        let state = Mutex::new(BoardState { total, ..BoardState::default() });
        let redraws = messages.redraws();
        Self { when, messages, events, files, redraws, state }
    }

    /// Returns whether progress is neither shown nor emitted.
    pub(crate) fn is_hidden(&self) -> bool {
        !self.is_shown() && !self.events.is_on()
    }

    fn is_shown(&self) -> bool {
        match self.when {
            When::Never => false,
            When::Auto => self.redraws,
            When::Always => true,
        }
    }

    /// Starts a file: `done` of its `total` bytes have already been transferred. `fields` adds the
    /// fields of the events.
    pub(crate) fn begin<'a>(
        &'a self,
        path: &[u8],
        done: u64,
        total: Option<u64>,
        fields: impl Fn(Object) -> Object + Send + Sync + 'a,
    ) -> Meter<'a> {
        let fields = Box::new(fields);
        self.events.emit(|| {
            let start = fields(Object::event("start")).number_if("size", total);
            start.number_if("offset", Some(done).filter(|done| *done > 0))
        });
        let is_shown = self.is_shown();
        let name = if is_shown { shown_local(path) } else { String::new() };
        let reported = Instant::now();
        let mut meter =
            Meter { board: self, name, number: 0, fields, done, total, reported, is_shown };
        if is_shown {
            let mut state = self.state();
            if self.files == 1 {
                state.total = total;
            }
            // A file may begin again after a failed attempt: `done` replaces its bytes.
            let before = state.unfinished.remove(&meter.name);
            let (number, before) = before.unwrap_or_else(|| {
                state.begun += 1;
                (state.begun, 0)
            });
            meter.number = number;
            state.kept += done.cast_signed() - before.cast_signed();
            state.line = meter.line();
            state.bar.get_or_insert_with(|| {
                let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
                bar.reset_eta();
                bar
            });
            state.drawn.get_or_insert_with(Instant::now);
        }
        meter
    }

    /// Shows the line of the last transfer, with the figures of all.
    fn draw(&self, mut state: MutexGuard<'_, BoardState>) {
        let Some(bar) = &state.bar else { return };
        bar.set_position(state.moved);
        let figures = figures(bar, state.kept, state.total);
        let line = state.line.clone();
        state.drawn = Some(Instant::now());
        drop(state);
        match self.redraws {
            // The terminal echoes ^C after the line, which must not wrap then.
            true => {
                let columns = terminal_width().saturating_sub(3);
                self.messages.show_progress(Some(line.fitting(&figures, columns)));
            }
            false => self.messages.line(line.fitting(&figures, usize::MAX)),
        }
    }

    /// Clears the display and forgets the files before, so that the next one has its own numbers.
    pub(crate) fn clear(&self) {
        match self.redraws {
            true => self.messages.show_progress(None),
            // The last line, or the only one.
            false => self.draw(self.state()),
        }
        *self.state() = BoardState::default();
    }

    fn state(&self) -> MutexGuard<'_, BoardState> {
        lock(&self.state)
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Progress of one transfer.
pub(crate) struct Meter<'a> {
    board: &'a Board,
    /// Name of the transfer, if it is shown.
    name: String,
    /// Which of the files it is, from 1.
    number: usize,
    fields: Box<dyn Fn(Object) -> Object + Send + Sync + 'a>,
    done: u64,
    total: Option<u64>,
    /// Time of the last event.
    reported: Instant,
    is_shown: bool,
}

impl Drop for Meter<'_> {
    fn drop(&mut self) {
        if self.is_shown {
            let mut state = self.board.state();
            state.line = self.line();
            if self.board.files == 1 || self.total != Some(self.done) {
                state.unfinished.insert(self.name.clone(), (self.number, self.done));
            }
            drop(state);
            // The next message would be followed by the line of a file that has ended.
            if self.board.redraws {
                self.board.messages.show_progress(None);
            }
        }
    }
}

impl Meter<'_> {
    pub(crate) fn add(&mut self, bytes: u64) {
        self.done += bytes;
        if self.reported.elapsed() >= ELSEWHERE && self.board.events.is_on() {
            self.reported = Instant::now();
            self.board.events.emit(|| {
                let event = (self.fields)(Object::event("progress")).number("bytes", self.done);
                event.number_if("size", self.total)
            });
        }
        if !self.is_shown {
            return;
        }
        let mut state = self.board.state();
        state.moved += bytes;
        let every = if self.board.redraws { TERMINAL } else { ELSEWHERE };
        if state.drawn.is_none_or(|drawn| drawn.elapsed() >= every) {
            state.line = self.line();
            self.board.draw(state);
        }
    }

    /// Returns the beginning of the line: the name, and for several files the number of this file and
    /// how much of it is done.
    fn line(&self) -> Line {
        let (name, number, files) = (self.name.clone(), self.number, self.board.files);
        if files == 1 {
            return Line { head: String::new(), name, part: None };
        }
        let part = match self.total.filter(|total| *total > 0) {
            Some(total) => format!("{}%", u128::from(self.done) * 100 / u128::from(total)),
            None => rounded_size(self.done),
        };
        Line { head: format!("[{number}/{files}] "), name, part: Some(part) }
    }
}

const ELLIPSIS: char = '\u{2026}';

/// Columns of a name that stay if figures can go instead.
const SHORTEST_NAME: usize = 12;

/// The parts of a line that are about one file. `part` says how much of it is done, if the figures
/// after it are those of all files.
#[derive(Clone, Debug, Default)]
struct Line {
    head: String,
    name: String,
    part: Option<String>,
}

impl Line {
    /// Returns the line with as many of the figures as fit into fewer than `columns` columns. The
    /// name is shortened only if no figure is left that the rest can do without: a figure that is cut
    /// is a wrong one.
    fn fitting(self, [amount, rate, time]: &[String; 3], columns: usize) -> String {
        let Self { head, name, part } = self;
        let tails = match part {
            None => vec![
                format!("  {amount}  {rate}  {time}"),
                format!("  {amount}  {time}"),
                format!("  {amount}"),
            ],
            Some(part) => vec![
                format!(" {part}; all: {amount}  {rate}  {time}"),
                format!(" {part}; all: {amount}  {time}"),
                format!(" {part}; all: {time}"),
                format!(" {part}"),
            ],
        };
        let room = columns.saturating_sub(1);
        let least = width(&name).min(SHORTEST_NAME) + width(&head);
        let fits = |tail: &&String| least + width(tail) <= room;
        let tail = tails.iter().find(fits).or(tails.last()).map_or("", String::as_str);
        let beside = width(&head) + width(tail);
        let name = shortened(&name, room.saturating_sub(beside).max(2));
        shortened(&format!("{head}{name}{tail}"), room)
    }
}

/// Returns the transferred bytes with the total, the rate, and the remaining or elapsed time. `kept` is
/// the number of bytes that were transferred before this run, which `progress` does not count.
fn figures(progress: &ProgressBar, kept: i64, total: Option<u64>) -> [String; 3] {
    let done = HumanBytes(progress.position().saturating_add_signed(kept));
    let speed = progress.per_sec();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the cast saturates, and a rate is never negative"
    )]
    let rate = format!("{}/s", HumanBytes(speed as u64));
    match total {
        Some(total) => {
            #[expect(clippy::cast_precision_loss, reason = "an estimate")]
            let left = total.saturating_sub(done.0) as f64 / speed;
            // Without a rate, nothing is known.
            let left = HumanDuration(Duration::try_from_secs_f64(left).unwrap_or_default());
            [format!("{done} of {}", HumanBytes(total)), rate, format!("{left:#} left")]
        }
        None => [done.to_string(), rate, format!("{:#} so far", HumanDuration(progress.elapsed()))],
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

/// Returns the number of columns of the terminal.
fn terminal_width() -> usize {
    match system::terminal_size().0 {
        0 => 80,
        columns => columns.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::console::output::tests::Kept;

    #[test]
    fn resumed_bytes_count_as_done_but_not_for_the_rate() {
        const GIB: u64 = 1 << 30;
        let kept = Kept::default();
        let stdio = Stdio::captured(io::empty(), io::sink(), kept.clone());
        for files in [1, 2] {
            let board = Board::new(When::Always, &stdio, files, Some(4 * GIB));
            let fields = |object| object;
            let mut meter = board.begin(b"file", GIB, Some(4 * GIB), fields);
            meter.add(1 << 20);
            let end = Instant::now() + Duration::from_millis(50);
            while Instant::now() < end {
                std::thread::park_timeout(end.saturating_duration_since(Instant::now()));
            }
            meter.add(1 << 20);
            drop(meter);
            drop(board);
        }
        let text = String::from_utf8(kept.bytes()).unwrap();
        assert_eq!(text.matches("1.00 GiB of 4.00 GiB").count(), 2, "{text}");
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.contains(" MiB/s") && !text.contains(" GiB/s"), "{text}");
    }

    #[test]
    fn a_file_that_begins_again_shows_its_own_bytes() {
        let kept = Kept::default();
        let stdio = Stdio::captured(io::empty(), io::sink(), kept.clone());
        for files in [1, 2] {
            let board = Board::new(When::Always, &stdio, files, None);
            let fields = |object| object;
            for (done, moved) in [(100, 50), (150, 10), (0, 30), (30, 970)] {
                board.begin(b"file", done, Some(1_000), fields).add(moved);
                let state = board.state();
                assert_eq!(state.moved.saturating_add_signed(state.kept), done + moved);
            }
            // Only the bytes of this run count for the rate.
            assert_eq!(board.state().moved, 1_060);
        }
    }

    #[test]
    fn a_line_fits_and_no_figure_is_cut_li_04() {
        let figures = ["3.78 MiB of 127.79 MiB", "2.06 MiB/s", "60s left"].map(str::to_owned);
        let long = "a-name-of-more-than-twelve-letters.bin";
        let wide = "\u{6f22}\u{5b57}\u{6f22}\u{5b57}\u{6f22}\u{5b57}\u{6f22}";
        for (part, name, columns, want) in [
            (None, "f.bin", usize::MAX, "f.bin  3.78 MiB of 127.79 MiB  2.06 MiB/s  60s left"),
            (None, "f.bin", 52, "f.bin  3.78 MiB of 127.79 MiB  2.06 MiB/s  60s left"),
            (None, "f.bin", 51, "f.bin  3.78 MiB of 127.79 MiB  60s left"),
            (None, "f.bin", 39, "f.bin  3.78 MiB of 127.79 MiB"),
            (None, "f.bin", 28, "f.\u{2026}  3.78 MiB of 127.79 MiB"),
            (None, "f.bin", 20, "f\u{2026}  3.78 MiB of 12\u{2026}"),
            (None, "f.bin", 2, "\u{2026}"),
            (None, "f.bin", 1, ""),
            (None, "f.bin", 0, ""),
            (
                Some("10%"),
                long,
                80,
                "[1/308] a-name-of-more-\u{2026} 10%; all: 3.78 MiB of 127.79 MiB  2.06 MiB/s  60s left",
            ),
            (
                Some("10%"),
                long,
                70,
                "[1/308] a-name-of-more-th\u{2026} 10%; all: 3.78 MiB of 127.79 MiB  60s left",
            ),
            (
                Some("10%"),
                long,
                60,
                "[1/308] a-name-of-more-than-twelve-lett\u{2026} 10%; all: 60s left",
            ),
            (Some("10%"), long, 30, "[1/308] a-name-of-more-t\u{2026} 10%"),
            (
                Some("3.8 MiB"),
                wide,
                40,
                "[1/308] \u{6f22}\u{5b57}\u{6f22}\u{5b57}\u{6f22}\u{5b57}\u{6f22} 3.8 MiB",
            ),
        ] {
            let head = if part.is_some() { "[1/308] " } else { "" }.to_owned();
            let part = part.map(str::to_owned);
            let shown = Line { head, name: name.to_owned(), part }.fitting(&figures, columns);
            assert_eq!(shown, want, "{name} in {columns}");
            assert!(width(&shown) < columns.max(1), "{shown:?} in {columns}");
        }
    }

    #[test]
    fn each_number_of_a_line_is_of_the_file_beside_it() {
        let stdio = Stdio::captured(io::empty(), io::sink(), io::sink());
        let board = Board::new(When::Always, &stdio, 2, Some(4_000));
        let fields = |object| object;
        let mut one = board.begin(b"one", 0, Some(1_000), fields);
        let two = board.begin(b"two", 0, None, fields);
        one.add(250);
        let shown = |meter: &Meter<'_>| {
            let Line { head, name, part } = meter.line();
            format!("{head}{name} {}", part.unwrap_or_default())
        };
        assert_eq!([&one, &two].map(shown), ["[1/2] one 25%", "[2/2] two 0 B"]);
        drop(one);
        // Its second attempt is no third file.
        let one = board.begin(b"one", 500, Some(1_000), fields);
        assert_eq!(shown(&one), "[1/2] one 50%");
        drop((one, two));

        // Each line of a batch has a display of its own.
        let board = Board::new(When::Always, &stdio, 1, None);
        for name in [b"one", b"two"] {
            board.begin(name, 0, Some(1_000), fields).add(1_000);
            let BoardState { moved, total, .. } = *board.state();
            assert_eq!((moved, total), (1_000, Some(1_000)));
            board.clear();
        }
    }
}
