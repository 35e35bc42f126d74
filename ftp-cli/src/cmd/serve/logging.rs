//! The log of `serve`.

use std::fmt::Display;
use std::io;
use std::sync::Arc;

use ftp_server::{EventLog, LogFormat};
use log::Level;

use crate::console::messages::Messages;
use crate::console::trace;
use crate::exit::{Exit, Failure};
use crate::options::Options;

/// Log target of the server, for messages of the command line.
pub(super) const LOG: &str = "ftp_server";

/// Returns the failure for a thread that cannot be started.
pub(super) fn no_thread(what: &str, error: &io::Error) -> Failure {
    Failure::new(Exit::Internal, format!("cannot start a thread for {what}: {error}"))
}

/// The log of events, and of messages about the server itself.
pub(super) struct ServerLog {
    pub(super) events: Arc<EventLog>,
    messages: Messages,
    pub(super) is_quiet: bool,
}

impl ServerLog {
    /// Starts logging on standard error.
    ///
    /// # Errors
    ///
    /// Returns `Internal` if a thread cannot be started.
    pub(super) fn start(
        format: LogFormat,
        options: &Options,
        messages: &Messages,
    ) -> Result<Self, Failure> {
        let queue = messages.queued().map_err(|error| no_thread("the log", &error))?;
        let events = EventLog::new(format, queue);
        let events = Arc::new(events.sessions(options.is_verbose()));
        trace::start_in(&events, options);
        Ok(Self { events, messages: messages.clone(), is_quiet: options.is_quiet() })
    }

    /// Logs a message about the server, in the format of the log.
    pub(super) fn say(&self, level: Level, text: &dyn Display) {
        match self.events.format() {
            _ if self.is_quiet => {}
            LogFormat::Text => self.messages.say(text),
            LogFormat::Json => self.events.message(level, text),
        }
    }
}
