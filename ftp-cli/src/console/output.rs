//! Writes data and results to standard output from several threads, and messages, one line each, to
//! standard error, which progress and trace use too.
//!
//! Messages hide the arguments that may contain a password: those with an `@` after a colon, except
//! URLs without a password. Many places in the code quote invalid values and names of missing files.
//! So every message is searched for the arguments.
//!
//! Also logs the records of the libraries: the FTP dialogue for `--trace`, other records as messages.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::process;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use env_logger::{Builder, Target};
use ftp_client::{Counts, Error};
use ftp_proto::{Escaped, FtpUrl};
use ftp_server::{EventLog, LogWriter};
use log::LevelFilter;

use crate::display::{self, counted};
use crate::exit::{Exit, Failure, Result};
use crate::lock;
use crate::options::{Options, is_url, may_hold_password};

/// Standard output, shared by threads; writes are not interleaved.
#[derive(Clone)]
pub(crate) struct Output(Arc<Mutex<Box<dyn Write + Send>>>);

impl Output {
    pub(crate) fn new(writer: impl Write + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Box::new(writer))))
    }

    /// Waits until no write is under way, for at most `limit`. Returns whether one still is then:
    /// nothing reads what was written before.
    pub(super) fn is_blocked_for(&self, limit: Duration) -> bool {
        const STEP: Duration = Duration::from_millis(10);
        let begun = Instant::now();
        while matches!(self.0.try_lock(), Err(TryLockError::WouldBlock)) {
            if begun.elapsed() >= limit {
                return true;
            }
            thread::sleep(STEP);
        }
        false
    }

    fn writer(&self) -> MutexGuard<'_, Box<dyn Write + Send>> {
        lock(&self.0)
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer().write(bytes)
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer().write_all(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer().flush()
    }
}

/// Result lines on standard output: exact bytes, except that control characters are escaped on a
/// terminal, unless `--raw-names` is given.
pub(crate) struct ResultLines {
    output: BufWriter<Output>,
    escapes: bool,
}

impl ResultLines {
    pub(crate) fn new(output: Output, escapes: bool) -> Self {
        Self { output: BufWriter::new(output), escapes }
    }

    /// Writes one line.
    ///
    /// # Errors
    ///
    /// Returns `BrokenPipe` if standard output has no reader, and `Local` if it is closed or full.
    pub(crate) fn print(&mut self, line: &[u8]) -> Result {
        let written = match self.escapes {
            true => writeln!(self.output, "{}", Escaped(line)),
            false => self.output.write_all(line).and_then(|()| self.output.write_all(b"\n")),
        };
        written.map_err(|error| Failure::output(&error))
    }

    /// Flushes the output.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`print`](Self::print).
    pub(crate) fn flush(&mut self) -> Result {
        self.output.flush().map_err(|error| Failure::output(&error))
    }
}

/// Writes data or results to standard output.
///
/// # Errors
///
/// Returns `BrokenPipe` if standard output has no reader, and `Local` if it is closed or full.
pub(crate) fn print(output: &mut dyn Write, bytes: &[u8]) -> Result {
    let written = output.write_all(bytes).and_then(|()| output.flush());
    written.map_err(|error| Failure::output(&error))
}

/// Clears the progress bar, acts, and draws the bar again.
pub(crate) type Suspend = Arc<dyn Fn(&dyn Fn()) + Send + Sync>;

/// Standard error, shared by messages, progress and trace.
#[derive(Clone)]
pub(crate) struct Messages {
    writer: Arc<Mutex<Box<dyn Write + Send>>>,
    is_terminal: bool,
    /// Queue for messages that must not block.
    queue: Arc<OnceLock<LogWriter>>,
    /// Progress bar that is cleared before messages.
    bar: Arc<Mutex<Option<Suspend>>>,
    /// Arguments that are never shown.
    hidden: Arc<OnceLock<Hidden>>,
    /// The file of `--log-file`.
    log: Arc<OnceLock<Mutex<Log>>>,
    replies: Arc<Replies>,
    usage: Arc<Usage>,
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
        let (queue, bar, hidden, log, replies, usage) = Default::default();
        let writer: Box<dyn Write + Send> = Box::new(writer);
        let writer = Arc::new(Mutex::new(writer));
        Self { writer, is_terminal, queue, bar, hidden, log, replies, usage }
    }

    /// Returns the count of what the run does about replies that are out of step.
    pub(crate) fn replies(&self) -> &Replies {
        &self.replies
    }

    /// Returns the counts of what the run has transferred, and of what that cost.
    pub(crate) fn usage(&self) -> &Usage {
        &self.usage
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
    pub(crate) fn log_to(&self, path: &OsStr) -> Result {
        let opened = File::options().append(true).create(true).open(path);
        let file = opened.map_err(|error| Failure::local(Escaped(path.as_bytes()), &error))?;
        let _ = self.log.set(Mutex::new(Log { file, has_failed: false }));
        Ok(())
    }

    /// Writes each later message while `bar`, if there is one, is cleared.
    pub(crate) fn share_with(&self, bar: Option<Suspend>) {
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
            Some(suspend) => suspend(&|| self.write_now(bytes)),
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

/// Replacement text.
const INSTEAD: &str = "(an argument that may hold a password)";

/// Hidden arguments, in each form in which a message may quote them. The default hides nothing.
#[derive(Clone, Default)]
pub(crate) struct Hidden(Arc<[String]>);

impl Hidden {
    /// Selects, from the arguments of a run, those that must be hidden.
    pub(crate) fn among(arguments: &[OsString]) -> Self {
        let mut forms = Vec::new();
        for argument in arguments {
            let value = value(argument.as_bytes());
            if !is_secret(value) {
                continue;
            }
            let text = String::from_utf8_lossy(value);
            let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
            forms.extend([text.into_owned(), Escaped(value).to_string(), quoted]);
        }
        Self(forms.into())
    }

    /// Returns the text without the hidden arguments.
    pub(crate) fn leave_out<'t>(&self, text: impl Into<Cow<'t, str>>) -> Cow<'t, str> {
        let mut text = text.into();
        for form in self.0.iter() {
            if text.contains(form) {
                text = Cow::Owned(text.replace(form, INSTEAD));
            }
        }
        text
    }
}

/// Returns the value of an argument that may be an option: the part after `--NAME=` or `-N`, else
/// the whole argument.
fn value(argument: &[u8]) -> &[u8] {
    let value = match argument {
        [b'-', b'-', rest @ ..] => {
            rest.iter().position(|byte| *byte == b'=').and_then(|at| rest.get(at + 1..))
        }
        [b'-', _, rest @ ..] => Some(rest),
        _ => None,
    };
    value.unwrap_or(argument)
}

fn is_secret(value: &[u8]) -> bool {
    match FtpUrl::parse(value) {
        Ok(url) if is_url(value) => url.password().is_some(),
        _ => may_hold_password(value),
    }
}

/// Log target of the client for each line that it sends and receives. The client replaces passwords
/// with `****`.
const WIRE: &str = "ftp_client::wire";

/// Log target of a server for its start and end, which `serve` reports itself.
const LIFE: &str = "ftp_server::server";

/// Log target of a server for its events, which `serve` logs itself.
const EVENTS: &str = "ftp_server::events";

/// Destination of the dialogue.
pub(crate) enum Dialogue {
    Nowhere,
    /// Standard error, with the rest of the log.
    Messages,
    Writer(Box<dyn Write + Send>),
}

/// Starts logging as `--trace`, `--verbose` and `--quiet` say. `usual` is the level without them.
///
/// # Errors
///
/// Returns `Local` if the trace file cannot be created.
pub(crate) fn start(options: &Options, messages: &Messages, usual: LevelFilter) -> Result {
    let dialogue = match options.optional("trace") {
        None => Dialogue::Nowhere,
        Some(None) => Dialogue::Messages,
        Some(Some(file)) => Dialogue::Writer(Box::new(create(file)?)),
    };
    install(dialogue, messages, level(options, usual));
    Ok(())
}

/// Starts to write a server's log messages to its event log. Omits its events, which `serve` logs
/// there itself.
pub(crate) fn start_in(log: &Arc<EventLog>, options: &Options) {
    let level = level(options, LevelFilter::Info);
    let log = Arc::clone(log);
    let _ = Builder::new()
        .filter_level(LevelFilter::Off)
        .filter_module("ftp_server", level)
        .filter_module(LIFE, of_life(level))
        .filter_module(EVENTS, LevelFilter::Off)
        .target(Target::Pipe(Box::new(io::sink())))
        .format(move |_, record| {
            let words = record.args().to_string();
            log.message(record.level(), format_args!("{}", display::plain(&words)));
            Ok(())
        })
        .try_init();
}

/// Returns the log level.
fn level(options: &Options, usual: LevelFilter) -> LevelFilter {
    match (options.is_quiet(), options.is_verbose()) {
        (true, _) => LevelFilter::Error,
        (_, true) => LevelFilter::Debug,
        _ => usual,
    }
}

/// Returns the log level for a server's start and end. The level `Info` becomes `Warn`, because
/// `serve` reports both itself.
fn of_life(level: LevelFilter) -> LevelFilter {
    if level == LevelFilter::Info { LevelFilter::Warn } else { level }
}

fn create(file: &OsStr) -> Result<File> {
    let created = File::create(file);
    created.map_err(|error| Failure::local(Escaped(file.as_bytes()), &error))
}

/// Installs the logger of the process, unless the process already has one. A program that calls
/// [`run`](crate::run) more than once, or has its own logger, keeps the first logger.
pub(crate) fn install(dialogue: Dialogue, messages: &Messages, level: LevelFilter) {
    let wire = match dialogue {
        Dialogue::Nowhere => LevelFilter::Off,
        _ => LevelFilter::Debug,
    };
    let file = match dialogue {
        Dialogue::Writer(writer) => Some(Mutex::new(writer)),
        _ => None,
    };
    let messages = messages.clone();
    let _ = Builder::new()
        .filter_level(LevelFilter::Off)
        .filter_module("ftp_client", level)
        .filter_module("ftp_server", level)
        .filter_module(LIFE, of_life(level))
        .filter_module(WIRE, wire)
        .target(Target::Pipe(Box::new(io::sink())))
        .format(move |_, record| {
            let line = format!("{} {}\n", now(), Printable(&record.args().to_string()));
            match (record.target() == WIRE, &file) {
                (true, Some(file)) => return lock(file).write_all(line.as_bytes()),
                (true, None) => {}
                (false, _) => messages.log(record.args()),
            }
            messages.write(line.as_bytes());
            Ok(())
        })
        .try_init();
}

/// Returns the time of day in UTC: `15:04:05.678`.
fn now() -> String {
    display::timestamp().get(11..23).unwrap_or_default().to_owned()
}

/// The number of times that one run reconnects because replies were out of step.
const MOST: u32 = 3;

/// The reconnects of one run, shared by its threads, and whether a session ended with a reply that
/// was never read.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    reconnects: AtomicU32,
    was_unread: AtomicBool,
}

impl Replies {
    /// Returns whether one more connection may replace one whose replies were out of step, and
    /// counts it.
    pub(crate) fn may_reconnect(&self) -> bool {
        self.reconnects.fetch_add(1, Ordering::Relaxed) < MOST
    }

    /// Notes the result of QUIT.
    pub(crate) fn note_quit(&self, result: &Result<(), Error>) {
        if result.as_ref().is_err_and(Error::is_out_of_step) {
            self.was_unread.store(true, Ordering::Relaxed);
        }
    }

    /// Returns the failure of a run that seemed to succeed.
    ///
    /// # Errors
    ///
    /// Returns `Integrity` if a session ended with a reply that was never read.
    pub(crate) fn check(&self) -> Result {
        match self.was_unread.load(Ordering::Relaxed) {
            true => {
                let message = "the server sent more replies than commands, so what it confirmed \
                               may have failed; check the result, or use --verify size";
                Err(Failure::new(Exit::Integrity, message).never_retried())
            }
            false => Ok(()),
        }
    }
}

/// What one run has transferred, and what that cost.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    pub(crate) counts: Counts,
    files: AtomicU64,
    bytes: AtomicU64,
    /// Why a login was anonymous, if nothing has named a user.
    anonymous: OnceLock<&'static str>,
    /// The least number of connections that a server allows, if one has refused a connection.
    allowed: Mutex<Option<usize>>,
}

impl Usage {
    pub(crate) fn add(&self, files: u64, bytes: u64) {
        self.files.fetch_add(files, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn note_anonymous(&self, why: &'static str) {
        let _ = self.anonymous.set(why);
    }

    pub(crate) fn anonymous(&self) -> Option<&'static str> {
        self.anonymous.get().copied()
    }

    pub(crate) fn note_allowed(&self, connections: Option<usize>) {
        let mut allowed = lock(&self.allowed);
        *allowed = allowed.into_iter().chain(connections).min();
    }
}

/// Writes everything on one line.
impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = self.files.load(Ordering::Relaxed);
        if files > 0 {
            let size = display::size(self.bytes.load(Ordering::Relaxed));
            write!(f, "{}, {size}, ", counted(files, "file"))?;
        }
        let counts = &self.counts;
        write!(f, "{} of ", counted(counts.round_trips(), "round trip"))?;
        write!(f, "{:.1} ms, ", counts.latency().as_secs_f64() * 1_000.0)?;
        write!(f, "{}, ", counted(counts.connections(), "connection"))?;
        write!(f, "login {:.2} s", counts.login().as_secs_f64())?;
        if let Some(allowed) = *lock(&self.allowed) {
            write!(f, "; the server allows {}", counted(allowed, "connection"))?;
        }
        if counts.is_out_of_order() {
            f.write_str("; answers out of order: one command at a time")?;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
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

    #[test]
    fn arguments_that_may_hold_a_password_are_hidden_in_every_form() {
        let arguments = [
            "get",
            "--jobs=ftp://u:S3cret@h/x",
            "-uu:S3cret@h",
            "u:S3\"cret\x1b@h",
            "ftp://u@h/x",
            "u@h:x",
            "10:30",
        ];
        let hidden = Hidden::among(&arguments.map(OsString::from));
        for (text, want) in [
            ("\"ftp://u:S3cret@h/x\" is not", "\"(an argument that may hold a password)\" is not"),
            ("u:S3cret@h/y: missing", "(an argument that may hold a password)/y: missing"),
            ("u:S3\"cret\\x1b@h", "(an argument that may hold a password)"),
            ("u:S3\\\"cret\x1b@h", "(an argument that may hold a password)"),
            ("ftp://u@h/x, u@h:x, 10:30", "ftp://u@h/x, u@h:x, 10:30"),
        ] {
            assert_eq!(hidden.leave_out(text), want);
        }
        assert_eq!(Hidden::default().leave_out("a:b@c"), "a:b@c");
    }

    /// Buffer that keeps all written bytes, shared by its clones.
    #[derive(Clone, Default)]
    pub(crate) struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Kept {
        pub(crate) fn bytes(&self) -> Vec<u8> {
            self.0.lock().unwrap().clone()
        }
    }

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
