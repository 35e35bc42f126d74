//! The event log: one line for each login, refusal, transfer and change. `docs/log.md` describes
//! the lines.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use log::Level;

use ftp_proto::text::Stamp;

use super::line::{self, Complaints, Line};
use super::observer::{Event, EventKind, Observer, SessionEnd};
use super::writer::LogWriter;
use crate::lock::Lock;

/// An [`Observer`] that writes events as lines, in the form that `docs/log.md` describes.
#[derive(Debug)]
pub struct EventLog {
    /// JSON if `true`, otherwise text.
    is_json: AtomicBool,
    writer: LogWriter,
    /// Whether the beginning and end of each session are logged.
    is_verbose: bool,
    has_priorities: bool,
    refusals: Refusals,
}

impl EventLog {
    /// Returns a log that writes lines to `writer`.
    #[must_use]
    pub fn new(writer: LogWriter) -> Self {
        let (is_json, refusals) = (AtomicBool::new(false), Refusals::default());
        Self { is_json, writer, is_verbose: false, has_priorities: false, refusals }
    }

    /// Sets whether lines are JSON, such as
    /// `{"time":"2026-11-20T15:04:05.678Z","event":"login","session":7,"peer":"192.0.2.9",…}`
    /// (default: `false`). Lines of text look like
    /// `2026-11-20T15:04:05.678Z login session=7 peer=192.0.2.9 port=50212 user="cam1"`.
    #[must_use]
    pub fn json(self, is_json: bool) -> Self {
        self.set_json(is_json);
        self
    }

    /// Sets whether later lines are JSON.
    pub fn set_json(&self, is_json: bool) {
        self.is_json.store(is_json, Ordering::Relaxed);
    }

    /// Returns whether lines are JSON.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.is_json.load(Ordering::Relaxed)
    }

    /// Sets whether the beginning and end of each session are logged (default: `false`). If
    /// `false`, the end is logged only if the session failed or panicked, or if the log left out
    /// some of its refusals.
    #[must_use]
    pub fn sessions(self, is_verbose: bool) -> Self {
        Self { is_verbose, ..self }
    }

    /// Sets whether each line begins with its priority, in the form of sd-daemon(3) (default:
    /// `false`). The usual priority is `<6>`; more important lines have lower numbers, and debug
    /// lines have `<7>`. Lines in the text form then have no time: the journal or the syslog daemon
    /// adds it.
    #[must_use]
    pub fn priorities(self, has_priorities: bool) -> Self {
        Self { has_priorities, ..self }
    }

    /// Writes a message for the operator as a separate line.
    pub fn message(&self, level: Level, text: impl Display) {
        let text = text.to_string();
        match self.is_json() {
            false => self.write_text(level, &line::printable(&text)),
            true => self.write_json(level, &Line::message(level, &text)),
        }
    }

    fn write_text(&self, level: Level, text: &dyn Display) {
        self.writer.line(&match self.has_priorities {
            true => format!("<{}>{text}", severity(level)),
            false => format!("{} {text}", Stamp::now()),
        });
    }

    fn write_json(&self, level: Level, line: &Line) {
        let json = line.json(&Stamp::now());
        self.writer.line(&match self.has_priorities {
            true => format!("<{}>{json}", severity(level)),
            false => json,
        });
    }
}

impl Event<'_> {
    /// Returns the event as the JSON object that an [`EventLog`] writes, with the current time.
    /// Appends the fields in `more`. `docs/log.md` describes the fields and their escapes. Unlike
    /// in a log, names have their full length, and there is no field `unsaid`.
    ///
    /// ```
    /// use ftp_server::{Event, Observer};
    ///
    /// struct Printer;
    ///
    /// impl Observer for Printer {
    ///     fn observe(&self, event: &Event<'_>) {
    ///         println!("{}", event.to_json(&[("node", b"nas")]));
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn to_json(&self, more: &[(&'static str, &[u8])]) -> String {
        let time = Stamp::now();
        let mut line = Line::of(self, 0);
        more.iter().for_each(|(name, value)| line.bytes(name, value));
        line.json_with_names(&time, usize::MAX)
    }
}

impl Observer for EventLog {
    fn observe(&self, event: &Event<'_>) {
        let Some(unsaid) = self.refusals.due(event) else { return };
        let level = level(event);
        if level > Level::Info && !self.is_verbose && unsaid == 0 {
            return;
        }
        let line = Line::of(event, unsaid);
        match self.is_json() {
            false => self.write_text(level, &line),
            true => self.write_json(level, &line),
        }
    }
}

/// Returns the severity of a level as a number (RFC 5424 §6.2.1).
const fn severity(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// An observer that passes each event as a line to the `log` crate, with the target
/// `ftp_server::events`. The lines have no time, because the logger adds it.
#[derive(Debug, Default)]
pub(crate) struct LogCrate {
    refusals: Refusals,
}

impl LogCrate {
    /// Returns whether the logger of the process accepts events of [`Level::Info`].
    pub(super) fn is_listening() -> bool {
        log::log_enabled!(target: TARGET, Level::Info)
    }
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

/// Rate limit of the lines about refused connections: one per second for each reason, because there
/// may be very many. Each session limits its own events.
#[derive(Debug, Default)]
struct Refusals(Lock<Complaints>);

impl Refusals {
    /// Returns the number of similar events that were left out since the last line, or `None` if
    /// this event is left out too.
    fn due(&self, event: &Event<'_>) -> Option<u64> {
        let EventKind::Refused(refusal) = event.kind else { return event.unsaid };
        let mut complaints = self.0.lock();
        complaints.due(refusal.as_str(), 1, Instant::now())
    }
}
