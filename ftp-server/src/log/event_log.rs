//! The log of what happens: one line for each login, refusal and transfer. `docs/log.md` says what
//! stands in it.

use std::fmt::Display;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use log::Level;

use super::line::{self, Line, Stamp};
use super::observer::{Event, EventKind, Observer, SessionEnd};
use super::writer::LogWriter;
use crate::lock::unpoisoned;
use crate::net::complaints::Complaints;

/// How the lines of a log are written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LogFormat {
    /// `2026-11-20T15:04:05.678Z login session=7 peer=192.0.2.9 port=50212 user="cam1"`.
    #[default]
    Text,
    /// `{"time":"2026-11-20T15:04:05.678Z","event":"login","session":7,"peer":"192.0.2.9",…}`.
    Json,
}

/// Writes what happens, a line an event, in the form that `docs/log.md` describes.
#[derive(Debug)]
pub struct EventLog {
    /// Otherwise text.
    is_json: AtomicBool,
    writer: LogWriter,
    /// Beginnings and ends of sessions have lines too.
    is_verbose: bool,
    refusals: Refusals,
}

impl EventLog {
    /// Writes lines of this format to `writer`.
    #[must_use]
    pub fn new(format: LogFormat, writer: LogWriter) -> Self {
        let is_json = AtomicBool::new(format == LogFormat::Json);
        Self { is_json, writer, is_verbose: false, refusals: Refusals::default() }
    }

    /// Writes lines of another format from now on.
    pub fn set_format(&self, format: LogFormat) {
        self.is_json.store(format == LogFormat::Json, Ordering::Relaxed);
    }

    /// The format of the lines that are written now.
    #[must_use]
    pub fn format(&self) -> LogFormat {
        match self.is_json.load(Ordering::Relaxed) {
            true => LogFormat::Json,
            false => LogFormat::Text,
        }
    }

    /// The same with lines for the beginning and the end of each session, if that is wanted.
    #[must_use]
    pub fn sessions(self, is_verbose: bool) -> Self {
        Self { is_verbose, ..self }
    }

    /// Writes a line of words for people, between those of the events.
    pub fn message(&self, level: Level, text: impl Display) {
        let time = Stamp::now();
        let text = text.to_string();
        let line = match self.format() {
            LogFormat::Text => format!("{time} {}", line::printable(&text)),
            LogFormat::Json => Line::message(level, &text).json(&time),
        };
        self.writer.line(&line);
    }
}

impl Observer for EventLog {
    fn observe(&self, event: &Event<'_>) {
        let Some(unsaid) = self.refusals.due(event) else { return };
        if level(event) > Level::Info && !self.is_verbose && unsaid == 0 {
            return;
        }
        let time = Stamp::now();
        let line = Line::of(event, unsaid);
        self.writer.line(&match self.format() {
            LogFormat::Text => format!("{time} {line}"),
            LogFormat::Json => line.json(&time),
        });
    }
}

/// Gives the lines to the `log` crate, under the target `ftp_server::events` and without a time:
/// whoever prints them knows it.
#[derive(Debug, Default)]
pub(crate) struct LogCrate {
    refusals: Refusals,
}

impl Observer for LogCrate {
    fn observe(&self, event: &Event<'_>) {
        let level = level(event);
        if log::log_enabled!(target: TARGET, level)
            && let Some(unsaid) = self.refusals.due(event)
        {
            log::log!(target: TARGET, level, "{}", Line::of(event, unsaid));
        }
    }
}

const TARGET: &str = "ftp_server::events";

fn level(event: &Event<'_>) -> Level {
    match event.kind {
        EventKind::Connected { .. } | EventKind::Ended { end: SessionEnd::Closed, .. } => {
            Level::Debug
        }
        EventKind::Refused(_) | EventKind::LoginRefused { .. } | EventKind::Banned { .. } => {
            Level::Warn
        }
        EventKind::Ended { end: SessionEnd::Panicked, .. } => Level::Error,
        _ => Level::Info,
    }
}

/// Connections that are refused may be very many: a line a second for each reason is enough. What may
/// be very much in a session, that has counted.
#[derive(Debug, Default)]
struct Refusals(Mutex<Complaints>);

impl Refusals {
    /// How many of the kind had no line before this one; `None` if this one has none either.
    fn due(&self, event: &Event<'_>) -> Option<u64> {
        let EventKind::Refused(refusal) = event.kind else { return event.unsaid };
        let mut complaints = unpoisoned(self.0.lock());
        complaints.due(refusal.as_str(), 1, Instant::now())
    }
}
