//! One line that is drawn anew, at the foot of the terminal, or line after line where there is none.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rustix::termios::tcgetwinsize;

use super::figures::{Figures, Rate};
use super::line::Line;
use crate::stdio::Messages;

/// Moves to the beginning of the line, and wipes all of it away.
const WIPE: &str = "\r\x1b[2K";

/// Where a bar is drawn.
pub(super) enum Place {
    /// Standard error, which is a terminal: in one line.
    Terminal,
    /// What is none: each state is a line of its own.
    Lines(Messages),
}

/// Shows how far a command is, whoever draws it.
#[derive(Clone)]
pub(crate) struct Bar(Arc<Mutex<State>>);

struct State {
    place: Place,
    line: Line,
    bytes: u64,
    total: Option<u64>,
    started: Instant,
    rate: Rate,
    /// Whether the line of the terminal has something of it.
    is_drawn: bool,
}

impl Bar {
    /// One that is not drawn yet.
    pub(super) fn new(place: Place, line: Line, total: Option<u64>) -> Self {
        let started = Instant::now();
        let rate = Rate::new(started);
        let state = State { place, line, bytes: 0, total, started, rate, is_drawn: false };
        Self(Arc::new(Mutex::new(state)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What stands in front of the figures from now on.
    pub(super) fn set_line(&self, line: Line) {
        self.state().line = line;
    }

    /// So many bytes there will be; draws it.
    pub(super) fn set_total(&self, total: u64) {
        let mut state = self.state();
        state.total = Some(total);
        state.draw();
    }

    /// So many bytes there are; draws it.
    pub(super) fn set_bytes(&self, bytes: u64) {
        let mut state = self.state();
        state.bytes = bytes;
        state.rate.record(bytes, Instant::now());
        state.draw();
    }

    /// Wipes it away.
    pub(super) fn wipe(&self) {
        self.state().wipe();
    }

    /// Gives way to what `write` writes, and is drawn again behind it.
    pub(crate) fn suspend(&self, write: impl FnOnce()) {
        let mut state = self.state();
        state.wipe();
        write();
        state.draw();
    }
}

impl State {
    fn draw(&mut self) {
        let now = Instant::now();
        let (bytes, total, rate) = (self.bytes, self.total, self.rate.per_second());
        let figures = Figures { bytes, total, rate, elapsed: now - self.started };
        let line = self.line.clone().with(&figures.to_string());
        match &self.place {
            Place::Lines(messages) => messages.line(line.fitting(usize::MAX)),
            Place::Terminal => {
                let wipe = if self.is_drawn { WIPE } else { "" };
                show(&format!("{wipe}{}", line.fitting(columns())));
                self.is_drawn = true;
            }
        }
    }

    fn wipe(&mut self) {
        if self.is_drawn {
            show(WIPE);
            self.is_drawn = false;
        }
    }
}

/// How wide the window is just then.
fn columns() -> usize {
    match tcgetwinsize(io::stderr()).map_or(0, |size| size.ws_col) {
        0 => 80,
        columns => columns.into(),
    }
}

/// That standard error cannot be written to is nothing to fail over.
fn show(text: &str) {
    let mut stderr = io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}
