//! Writes messages, one line each, to standard error, which progress and trace use too.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::process;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use ftp_proto::Escaped;
use ftp_server::LogWriter;
use indicatif::ProgressBar;

use super::hidden::Hidden;
use crate::connect::replies::Replies;
use crate::display;
use crate::exit::Failure;
use crate::lock::lock;

/// Standard error, shared by messages, progress and trace.
#[derive(Clone)]
pub(crate) struct Messages {
    writer: Arc<Mutex<Box<dyn Write + Send>>>,
    is_terminal: bool,
    /// Queue for messages that must not block.
    queue: Arc<OnceLock<LogWriter>>,
    /// Progress bar that is cleared before messages.
    bar: Arc<Mutex<Option<ProgressBar>>>,
    /// Arguments that are never shown.
    hidden: Arc<OnceLock<Hidden>>,
    /// The file of `--log-file`.
    log: Arc<OnceLock<Mutex<Log>>>,
    replies: Arc<Replies>,
}

/// A file of messages with timestamps.
struct Log {
    file: File,
    /// Whether a write error was reported already.
    has_failed: bool,
}

/// Maximum time that the program waits, before it exits, for queued messages to be written.
const LAST_WORDS: Duration = Duration::from_secs(1);

impl Messages {
    pub(crate) fn new(writer: impl Write + Send + 'static, is_terminal: bool) -> Self {
        let queue = Arc::default();
        let bar = Arc::default();
        let hidden = Arc::default();
        let log = Arc::default();
        let replies = Arc::default();
        let writer: Box<dyn Write + Send> = Box::new(writer);
        Self { writer: Arc::new(Mutex::new(writer)), is_terminal, queue, bar, hidden, log, replies }
    }

    /// Returns the count of what the run does about replies that are out of step.
    pub(crate) fn replies(&self) -> &Replies {
        &self.replies
    }

    /// Hides these arguments in all later messages.
    pub(crate) fn hide(&self, hidden: &Hidden) {
        let _ = self.hidden.set(hidden.clone());
    }

    /// Appends all later messages, with timestamps, to the file `path`, in addition to standard
    /// error.
    ///
    /// # Errors
    ///
    /// Returns `Local` if the file cannot be opened or created.
    pub(crate) fn log_to(&self, path: &OsStr) -> Result<(), Failure> {
        let opened = File::options().append(true).create(true).open(path);
        let file = opened.map_err(|error| Failure::local(Escaped(path.as_bytes()), &error))?;
        let _ = self.log.set(Mutex::new(Log { file, has_failed: false }));
        Ok(())
    }

    /// Clears this bar, if any, before each later message, and redraws it afterwards.
    pub(crate) fn share_with(&self, bar: Option<ProgressBar>) {
        *lock(&self.bar) = bar;
    }

    /// Queues later messages, so that they never block, even if no program reads them. Returns the
    /// queue.
    ///
    /// # Errors
    ///
    /// Returns the system's error if a thread cannot be started.
    pub(crate) fn queued(&self) -> io::Result<LogWriter> {
        let queue = LogWriter::start("the log", io::sink())?;
        let mut writer = lock(&self.writer);
        queue.replace(std::mem::replace(&mut *writer, Box::new(queue.clone())));
        let _ = self.queue.set(queue.clone());
        Ok(queue)
    }

    /// Waits a short time for queued messages to be written.
    pub(crate) fn settle(&self) {
        if let Some(queue) = self.queue.get() {
            queue.flush(LAST_WORDS);
        }
    }

    pub(crate) const fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Writes one message on one line, after the program name. Escapes control characters from any
    /// source.
    pub(crate) fn say(&self, message: impl fmt::Display) {
        self.say_if(true, message);
    }

    /// Writes a message like [`say`](Self::say); if `is_shown` is false, only to the log file.
    pub(crate) fn say_if(&self, is_shown: bool, message: impl fmt::Display) {
        if is_shown {
            self.line(format_args!("ftp-cli: {message}"));
        }
        self.log(message);
    }

    /// Appends a message to the log file, if there is one.
    pub(crate) fn log(&self, message: impl fmt::Display) {
        let Some(log) = self.log.get() else { return };
        let mut log = lock(log);
        let message = message.to_string();
        let message = self.plain(&message);
        let time = display::timestamp();
        let line = format!("{time} ftp-cli[{}]: {}\n", process::id(), Printable(&message));
        // One call per line, because other processes may append to the same file.
        let written = log.file.write_all(line.as_bytes());
        if let Err(error) = written
            && !std::mem::replace(&mut log.has_failed, true)
        {
            self.line(format_args!("ftp-cli: --log-file: cannot write: {error}"));
        }
    }

    /// Writes one line with control characters escaped.
    pub(crate) fn line(&self, line: impl fmt::Display) {
        let line = line.to_string();
        self.write(format!("{}\n", Printable(&self.plain(&line))).as_bytes());
    }

    /// Removes hidden arguments, system error numbers and byte positions from a text.
    pub(crate) fn plain<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let text = display::plain(text);
        match self.hidden.get() {
            Some(hidden) => hidden.leave_out(text),
            None => text,
        }
    }

    /// Writes raw bytes. Errors of writing to standard error are ignored.
    pub(crate) fn write(&self, bytes: &[u8]) {
        let bar = lock(&self.bar).clone();
        match bar {
            Some(bar) => bar.suspend(|| self.write_now(bytes)),
            None => self.write_now(bytes),
        }
    }

    fn write_now(&self, bytes: &[u8]) {
        let mut writer = lock(&self.writer);
        let _ = writer.write_all(bytes).and_then(|()| writer.flush());
    }
}

/// Text with terminal control characters escaped, and backslashes unchanged: text from a peer has
/// already gone through [`Escaped`], and is not escaped again.
pub(crate) struct Printable<'a>(pub(crate) &'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Most messages contain nothing to escape.
        if self.0.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return f.write_str(self.0);
        }
        for (index, part) in self.0.split('\\').enumerate() {
            if index > 0 {
                f.write_str("\\")?;
            }
            Escaped(part.as_bytes()).fmt(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printable_escapes_once_li_04() {
        for (text, want) in [
            ("plain \u{e9}", "plain \u{e9}"),
            ("a\\x1b[2J", "a\\x1b[2J"),
            ("\x1b]0;x\x07\u{202e}", "\\x1b]0;x\\x07\\u{202e}"),
            ("two\nlines", "two\\x0alines"),
        ] {
            assert_eq!(Printable(text).to_string(), want);
        }
    }
}
