//! Progress on standard error: bytes, total, rate, time left.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};

use crate::exit::Failure;
use crate::options::Options;
use crate::stdio::{Messages, Stdio};

/// How long until it is drawn anew: on a terminal, and elsewhere, where each is a line.
const TERMINAL: Duration = Duration::from_millis(100);
const ELSEWHERE: Duration = Duration::from_secs(1);

/// What indicatif allows. It lets the first twenty through at once, so the time is kept here.
const HERTZ: u8 = 20;

/// When progress is shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum When {
    Auto,
    Always,
    Never,
}

impl When {
    /// Reads `--progress`. It is off with `--quiet`, and while a trace shares the terminal.
    ///
    /// # Errors
    ///
    /// Usage: another word.
    pub(crate) fn from_options(options: &Options) -> Result<Self, Failure> {
        let words = [("auto", Self::Auto), ("always", Self::Always), ("never", Self::Never)];
        let when = options.parsed("progress", |text| crate::values::word(text, &words))?;
        Ok(when.unwrap_or(if options.is_quiet() || options.trace() == Some(None) {
            Self::Never
        } else {
            Self::Auto
        }))
    }
}

/// The progress of one transfer. What is dropped is wiped away.
pub(crate) struct Progress(Option<Shown>);

struct Shown {
    bar: ProgressBar,
    every: Duration,
    drawn: Cell<Instant>,
    /// Bytes since then.
    since: Cell<u64>,
}

impl Progress {
    /// Whether nobody is shown anything.
    pub(crate) const fn is_hidden(&self) -> bool {
        self.0.is_none()
    }

    /// Begins at `done` of `total` bytes, if that is known.
    pub(crate) fn start(
        when: When,
        messages: &Messages,
        name: &str,
        done: u64,
        total: Option<u64>,
    ) -> Self {
        let (target, every) = match (when, messages.is_terminal()) {
            (When::Never, _) | (When::Auto, false) => return Self(None),
            (_, true) => (ProgressDrawTarget::stderr_with_hz(HERTZ), TERMINAL),
            (When::Always, false) => {
                let lines = Box::new(Lines(messages.clone()));
                (ProgressDrawTarget::term_like_with_hz(lines, HERTZ), ELSEWHERE)
            }
        };
        let bar = ProgressBar::with_draw_target(total, target).with_prefix(name.to_owned());
        let template = match total {
            Some(_) => "{prefix}  {bytes} of {total_bytes}  {bytes_per_sec}  {eta} left",
            None => "{prefix}  {bytes}  {bytes_per_sec}  {elapsed}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_position(done);
        bar.reset_eta();
        Self(Some(Shown { bar, every, drawn: Cell::new(Instant::now()), since: Cell::new(0) }))
    }

    /// So many bytes more.
    pub(crate) fn add(&self, bytes: u64) {
        let Some(shown) = &self.0 else { return };
        let since = shown.since.get() + bytes;
        if shown.drawn.get().elapsed() < shown.every {
            shown.since.set(since);
            return;
        }
        shown.since.set(0);
        shown.drawn.set(Instant::now());
        shown.bar.inc(since);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(shown) = &self.0 {
            shown.bar.finish_and_clear();
        }
    }
}

/// Whether a word about success is wanted: by people at a terminal, and with `--verbose`.
pub(crate) fn is_talkative(options: &Options, stdio: &Stdio) -> bool {
    options.is_verbose() || (stdio.messages.is_terminal() && !options.is_quiet())
}

/// Draws into what is no terminal: each state on a line of its own.
struct Lines(Messages);

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lines")
    }
}

impl TermLike for Lines {
    fn width(&self) -> u16 {
        100
    }

    fn move_cursor_up(&self, _lines: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_down(&self, _lines: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_right(&self, _columns: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_left(&self, _columns: usize) -> io::Result<()> {
        Ok(())
    }

    fn write_line(&self, line: &str) -> io::Result<()> {
        self.write_str(line)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        // indicatif pads the last line with spaces and draws nothing to wipe.
        let text = text.trim_end();
        if !text.is_empty() {
            self.0.line(text);
        }
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}
