//! The standard streams of a run, which tests can replace, and the form in which users see names,
//! sizes, times and errors.
//!
//! Writes data and results to standard output from several threads, and messages, one line each, to
//! standard error, which progress and trace use too.
//!
//! Messages hide the arguments that may contain a password: those with an `@` after a colon, except
//! URLs without a password. Many places in the code quote invalid values and names of missing files.
//! So every message is searched for the arguments.
//!
//! Also logs the records of the libraries: the FTP dialogue for `--trace`, other records as messages.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Read, Write};
use std::path::{Path, is_separator};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime};
use std::{env, fmt, process};

use env_logger::{Builder, Target};
use ftp_client::{Counts, Error};
pub(crate) use ftp_proto::text::values::{counted, rounded_size, timestamp};
use ftp_proto::{Escaped, FtpUrl, TimeVal};
#[cfg(feature = "server")]
use ftp_server::{EventLog, LogWriter};
use log::LevelFilter;

use crate::exit::{Exit, Failure, Result};
use crate::lock;
use crate::options::{Options, is_url, may_hold_password, split_at_colon};
use crate::system::{self, OsStrExt};

/// Returns standard input, output and error of this process.
pub(crate) fn standard() -> (Box<dyn Read + Send>, Output, Messages) {
    let (input, output, error) = system::streams();
    let mut output = Output::new(output);
    let messages = Messages::new(error, io::stderr().is_terminal());
    if io::stdout().is_terminal() {
        output.beside = Some(messages.bar.clone());
    }
    (input, output, messages)
}

/// Reads a file that an option names, or standard input for `-`. Returns its name for messages too.
///
/// # Errors
///
/// Returns `Local` if it cannot be read.
pub(crate) fn read(file: &OsStr, input: &mut dyn Read) -> Result<(String, Vec<u8>)> {
    let name = if file == "-" { "standard input".to_owned() } else { shown_path(Path::new(file)) };
    let read = match file == "-" {
        true => {
            let mut text = Vec::new();
            input.read_to_end(&mut text).map(|_| text)
        }
        false => read_whole(Path::new(file)).map(|(text, _)| text),
    };
    let text = read.map_err(|error| Failure::local(&name, &error))?;
    Ok((name, text))
}

/// Reads a file to its end. Returns the time of its last change too.
///
/// # Errors
///
/// Returns the system's errors, and `ResourceBusy` for a regular file that changes meanwhile: a list
/// that is just being written would let through what it excludes.
pub(crate) fn read_whole(path: &Path) -> io::Result<(Vec<u8>, SystemTime)> {
    let mut file = File::open(path)?;
    let (before, mut text) = (file.metadata()?, Vec::new());
    file.read_to_end(&mut text)?;
    let (after, changed) = (file.metadata()?, before.modified()?);
    match after.modified()? == changed && after.len() == before.len() || !after.is_file() {
        true => Ok((text, changed)),
        false => Err(io::Error::new(ErrorKind::ResourceBusy, "changed while it was read")),
    }
}

/// The progress line, which owns the line of the cursor. Whatever is written to the same terminal goes
/// through here.
#[derive(Clone, Default)]
struct TerminalLine(Arc<Mutex<Option<String>>>);

impl TerminalLine {
    /// Writes while the progress line, if there is one, is cleared.
    fn give_way<T>(&self, write: impl FnOnce() -> T) -> T {
        let line = lock(&self.0);
        let Some(text) = &*line else {
            drop(line);
            return write();
        };
        Self::draw("");
        let written = write();
        Self::draw(text);
        written
    }

    fn replace(&self, text: Option<String>) {
        let mut line = lock(&self.0);
        if line.is_some() || text.is_some() {
            Self::draw(text.as_deref().unwrap_or_default());
        }
        *line = text;
    }

    /// Replaces what is drawn. Without padding, so that a line does not wrap if the window becomes
    /// narrower. In the background, the line would appear in what the user types at the shell.
    fn draw(text: &str) {
        if !system::is_in_foreground() {
            return;
        }
        let mut stderr = io::stderr().lock();
        let _ = write!(stderr, "\r\x1b[2K{text}").and_then(|()| stderr.flush());
    }
}

/// Standard output, shared by threads; writes are not interleaved.
#[derive(Clone)]
pub(crate) struct Output {
    writer: Arc<Mutex<Box<dyn Write + Send>>>,
    /// The line of the progress bar, if this is a terminal.
    beside: Option<TerminalLine>,
}

impl Output {
    pub(crate) fn new(writer: impl Write + Send + 'static) -> Self {
        Self { writer: Arc::new(Mutex::new(Box::new(writer))), beside: None }
    }

    fn with<T>(&self, write: impl FnOnce(&mut dyn Write) -> T) -> T {
        let write = || write(&mut **lock(&self.writer));
        match &self.beside {
            Some(line) => line.give_way(write),
            None => write(),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.with(|writer| writer.write(bytes))
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.with(|writer| writer.write_all(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        lock(&self.writer).flush()
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

/// Waits a short time for queued messages.
type Flush = Box<dyn Fn() -> bool + Send + Sync>;

/// Standard error, shared by messages, progress and trace.
#[derive(Clone)]
pub(crate) struct Messages {
    writer: Arc<Mutex<Box<dyn Write + Send>>>,
    is_terminal: bool,
    has_colours: bool,
    /// Waits for queued messages, if they are queued.
    flush: Arc<OnceLock<Flush>>,
    /// Line of the progress bar, which is cleared before messages.
    bar: TerminalLine,
    /// Arguments that are never shown.
    hidden: Arc<OnceLock<Hidden>>,
    /// The file of `--log-file`.
    log: Arc<OnceLock<Mutex<Log>>>,
    pub(crate) replies: Arc<Replies>,
    pub(crate) usage: Arc<Usage>,
    /// What [`say_once`](Self::say_once) has written.
    said: Arc<Mutex<HashSet<String>>>,
}

/// A file to which an option sends messages or the dialogue.
struct Log {
    option: &'static str,
    writer: Box<dyn Write + Send>,
    /// Whether a write error was reported already.
    has_failed: bool,
}

impl Log {
    fn new(option: &'static str, writer: impl Write + Send + 'static) -> Mutex<Self> {
        Mutex::new(Self { option, writer: Box::new(writer), has_failed: false })
    }

    /// Writes one line in one call, because other processes may append to the same file. Reports the
    /// first error.
    fn write(&mut self, line: &str, messages: &Messages) {
        if let Err(error) = self.writer.write_all(line.as_bytes())
            && !std::mem::replace(&mut self.has_failed, true)
        {
            messages.line(format_args!("ftp-cli: {}: cannot write: {error}", self.option));
        }
    }
}

/// Maximum time that the program waits, before it exits, for queued messages to be written.
#[cfg(feature = "server")]
const LAST_WORDS: Duration = Duration::from_secs(1);

impl Messages {
    pub(crate) fn new(writer: impl Write + Send + 'static, is_terminal: bool) -> Self {
        let (flush, bar, hidden, log, replies, usage, said) = Default::default();
        let writer: Box<dyn Write + Send> = Box::new(writer);
        let writer = Arc::new(Mutex::new(writer));
        let has_colours = has_colours(is_terminal);
        Self { writer, is_terminal, has_colours, flush, bar, hidden, log, replies, usage, said }
    }

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
        let _ = self.log.set(Log::new("--log-file", append_to(path)?));
        Ok(())
    }

    /// Draws the progress line, shortened to the width of the terminal, or removes it.
    pub(crate) fn show_progress(&self, line: Option<String>) {
        self.bar.replace(line);
    }

    /// Queues later messages, so that they never block, even if no program reads them. Returns the
    /// queue.
    ///
    /// # Errors
    ///
    /// Returns the system's error if a thread cannot be started.
    #[cfg(feature = "server")]
    pub(crate) fn queued(&self) -> io::Result<LogWriter> {
        let queue = LogWriter::start("the log", io::sink())?;
        let mut writer = lock(&self.writer);
        queue.replace(std::mem::replace(&mut *writer, Box::new(queue.clone())));
        let flushed = queue.clone();
        let _ = self.flush.set(Box::new(move || flushed.flush(LAST_WORDS)));
        Ok(queue)
    }

    /// Waits a short time for queued messages to be written.
    pub(crate) fn settle(&self) {
        if let Some(flush) = self.flush.get() {
            flush();
        }
    }

    pub(crate) const fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Returns whether a line can be drawn again: standard error is a terminal with control
    /// sequences.
    pub(crate) fn redraws(&self) -> bool {
        self.is_terminal && env::var_os("TERM").is_none_or(|name| name != "dumb")
    }

    /// Writes one message on one line, after the program name. Escapes control characters from any
    /// source.
    pub(crate) fn say(&self, message: impl fmt::Display) {
        self.say_if(true, message);
    }

    /// Writes a message like [`say`](Self::say); if `is_shown` is false, only to the log file.
    pub(crate) fn say_if(&self, is_shown: bool, message: impl fmt::Display) {
        if is_shown {
            let line = format!("ftp-cli: {message}");
            let head = "ftp-cli: warning:";
            match line.starts_with(head) {
                true => self.coloured(Colour::Warning, head, &line),
                false => self.line(line),
            }
        }
        self.log(message);
    }

    /// Writes the message of a failure like [`say`](Self::say), as an error.
    pub(crate) fn fail(&self, message: impl fmt::Display) {
        self.error(&format!("ftp-cli: {message}"));
        self.log(message);
    }

    /// Writes one line like [`line`](Self::line), as an error: a journal gets its priority, and the
    /// program's name has a colour on a terminal.
    pub(crate) fn error(&self, line: &str) {
        match system::is_journal() {
            true => self.line(format_args!("<3>{line}")),
            false => self.coloured(Colour::Error, "ftp-cli:", line),
        }
    }

    /// Writes a line that begins with `head`, which has a colour on a terminal.
    fn coloured(&self, colour: Colour, head: &str, line: &str) {
        let line = Printable(&self.plain(line)).to_string();
        let line = match line.strip_prefix(head) {
            Some(rest) if self.has_colours => format!("{}{rest}\n", colour.paint(head)),
            _ => line + "\n",
        };
        self.write(line.as_bytes());
    }

    /// Writes a message like [`say_if`](Self::say_if), unless an earlier connection has written it.
    pub(crate) fn say_once(&self, is_shown: bool, message: impl fmt::Display) {
        let message = message.to_string();
        if lock(&self.said).insert(message.clone()) {
            self.say_if(is_shown, message);
        }
    }

    pub(crate) fn log(&self, message: impl fmt::Display) {
        let Some(log) = self.log.get() else { return };
        let mut log = lock(log);
        let message = message.to_string();
        let message = self.plain(&message);
        let time = timestamp();
        log.write(&format!("{time} ftp-cli[{}]: {}\n", process::id(), Printable(&message)), self);
    }

    /// Writes one line with control characters escaped.
    pub(crate) fn line(&self, line: impl fmt::Display) {
        let line = line.to_string();
        self.write(format!("{}\n", Printable(&self.plain(&line))).as_bytes());
    }

    /// Removes hidden arguments, system error numbers and byte positions from a text.
    pub(crate) fn plain<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let text = plain(text);
        match self.hidden.get() {
            Some(hidden) => hidden.leave_out(text),
            None => text,
        }
    }

    /// Writes raw bytes. Errors of writing to standard error are ignored.
    pub(crate) fn write(&self, bytes: &[u8]) {
        self.bar.give_way(|| {
            let mut writer = lock(&self.writer);
            let _ = writer.write_all(bytes).and_then(|()| writer.flush());
        });
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

/// Texts that are never shown, in each form in which a message may quote them. The default hides
/// nothing.
#[derive(Clone, Default)]
pub(crate) struct Hidden {
    /// The longest first.
    forms: Arc<[String]>,
    instead: &'static str,
}

impl Hidden {
    /// Selects, from the arguments of a run, those that must be hidden.
    pub(crate) fn among(arguments: &[OsString]) -> Self {
        let values = arguments.iter().map(|argument| value(argument.as_bytes()));
        Self::of(values.filter(|value| is_secret(value)), "(an argument that may hold a password)")
    }

    pub(crate) fn of<'s>(secrets: impl Iterator<Item = &'s [u8]>, instead: &'static str) -> Self {
        let forms = |secret: &[u8]| {
            let text = String::from_utf8_lossy(secret);
            let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
            [text.into_owned(), Escaped(secret).to_string(), quoted]
        };
        let mut forms: Vec<_> = secrets.flat_map(forms).filter(|form| !form.is_empty()).collect();
        forms.sort_by_key(|form| Reverse(form.len()));
        Self { forms: forms.into(), instead }
    }

    pub(crate) fn leave_out<'t>(&self, text: impl Into<Cow<'t, str>>) -> Cow<'t, str> {
        let mut text = text.into();
        for form in self.forms.iter() {
            if text.contains(form) {
                text = Cow::Owned(text.replace(form, self.instead));
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

/// Starts logging as `--trace`, `--verbose` and `--quiet` say. `usual` is the level without them.
///
/// # Errors
///
/// Returns `Local` if the trace file cannot be opened.
pub(crate) fn start(options: &Options, messages: &Messages, usual: LevelFilter) -> Result {
    // The file keeps what it has: a line of `batch` may name it, which is refused only later.
    let open = |file: Option<&OsStr>| file.map(append_to).transpose();
    let dialogue = options.optional("trace").map(open).transpose()?;
    install(dialogue, messages, level(options, usual));
    Ok(())
}

/// Starts to write a server's log messages to its event log. Omits its events, which `serve` logs
/// there itself.
#[cfg(feature = "server")]
pub(crate) fn start_in(log: &Arc<EventLog>, options: &Options) {
    let log = Arc::clone(log);
    let _ = logger(level(options, LevelFilter::Info))
        .filter_module(EVENTS, LevelFilter::Off)
        .format(move |_, record| {
            let words = record.args().to_string();
            log.message(record.level(), format_args!("{}", plain(&words)));
            Ok(())
        })
        .try_init();
}

fn level(options: &Options, usual: LevelFilter) -> LevelFilter {
    match (options.is_quiet(), options.is_verbose()) {
        (true, _) => LevelFilter::Error,
        (_, true) => LevelFilter::Debug,
        _ => usual,
    }
}

/// Returns a logger that writes only what a format writes.
fn logger(level: LevelFilter) -> Builder {
    // `serve` reports the start and the end of a server itself.
    let of_life = if level == LevelFilter::Info { LevelFilter::Warn } else { level };
    let mut logger = Builder::new();
    logger
        .filter_level(LevelFilter::Off)
        .filter_module("ftp_server", level)
        .filter_module(LIFE, of_life)
        .target(Target::Pipe(Box::new(io::sink())));
    logger
}

/// Opens a file to which an option sends lines, or creates it.
fn append_to(file: &OsStr) -> Result<File> {
    let opened = File::options().append(true).create(true).open(file);
    opened.map_err(|error| Failure::local(shown_path(Path::new(file)), &error))
}

/// Installs the logger of the process, unless the process already has one. A program that calls
/// [`run`](crate::run) more than once, or has its own logger, keeps the first logger. The `dialogue` goes
/// nowhere (`None`), to standard error with the rest of the log (`Some(None)`), or to a writer.
pub(crate) fn install(
    dialogue: Option<Option<impl Write + Send + 'static>>,
    messages: &Messages,
    level: LevelFilter,
) {
    let wire = if dialogue.is_some() { LevelFilter::Debug } else { LevelFilter::Off };
    let file = dialogue.flatten().map(|writer| Log::new("--trace", writer));
    let messages = messages.clone();
    let _ = logger(level)
        .filter_module("ftp_client", level)
        .filter_module(WIRE, wire)
        .format(move |_, record| {
            let line = format!("{} {}\n", now(), Printable(&record.args().to_string()));
            match (record.target() == WIRE, &file) {
                (true, Some(file)) => {
                    lock(file).write(&line, &messages);
                    return Ok(());
                }
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
    timestamp().get(11..23).unwrap_or_default().to_owned()
}

/// The reconnects of one run, shared by its threads, and whether a session ended with a reply that
/// was never read.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    pub(crate) reconnects: AtomicU32,
    was_unread: AtomicBool,
}

impl Replies {
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
        if !self.was_unread.load(Ordering::Relaxed) {
            return Ok(());
        }
        let message = "the server sent more replies than commands, so what it confirmed may have \
                       failed; check the result, or use --verify size";
        Err(Failure::new(Exit::Integrity, message).never_retried())
    }
}

/// What one run has transferred, and what that cost.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    pub(crate) counts: Counts,
    files: AtomicU64,
    bytes: AtomicU64,
    /// Why a login was anonymous, if nothing has named a user.
    pub(crate) anonymous: OnceLock<&'static str>,
    /// A hint at what a signal has removed or left of a download.
    pub(crate) left: OnceLock<String>,
}

impl Usage {
    pub(crate) fn add(&self, files: u64, bytes: u64) {
        self.files.fetch_add(files, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Writes everything on one line.
impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = self.files.load(Ordering::Relaxed);
        if files > 0 {
            let size = rounded_size(self.bytes.load(Ordering::Relaxed));
            write!(f, "{}, {size}, ", counted(files, "file"))?;
        }
        let counts = &self.counts;
        write!(f, "{} of ", counted(counts.round_trips(), "round trip"))?;
        write!(f, "{:.1} ms, ", counts.latency().as_secs_f64() * 1_000.0)?;
        write!(f, "{}, ", counted(counts.connections(), "connection"))?;
        write!(f, "login {:.2} s", counts.login().as_secs_f64())
    }
}

/// Removes system error numbers and byte positions, which mean nothing to users, from a text.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(text);
    // Windows ends its texts with a full stop.
    remove_numbers(&mut text, ". (os error ", ")");
    remove_numbers(&mut text, " (os error ", ")");
    remove_numbers(&mut text, " at byte ", "");
    text
}

/// Removes each number between `mark` and `end`, and these two texts.
fn remove_numbers(text: &mut Cow<'_, str>, mark: &str, end: &str) {
    let mut from = 0;
    while let Some(at) = text.get(from..).and_then(|rest| rest.find(mark)) {
        let start = from + at;
        let number = from + at + mark.len();
        let rest = text.get(number..).unwrap_or_default();
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if digits > 0 && rest.get(digits..).is_some_and(|rest| rest.starts_with(end)) {
            text.to_mut().replace_range(start..number + digits + end.len(), "");
            from = start;
        } else {
            from = number;
        }
    }
}

/// Returns the current time in Unix seconds, to compare with file times and certificates.
pub(crate) fn unix_time() -> i64 {
    TimeVal::try_from(SystemTime::now()).map_or(0, |now| now.unix_seconds())
}

/// Breaks text into lines of at most `width` columns, all but the first indented by `indent`.
pub(crate) fn wrapped(text: &str, indent: usize, width: usize) -> String {
    let mut lines = String::new();
    let mut column = indent;
    for (at, word) in text.split(' ').enumerate() {
        let length = word.chars().count();
        if at > 0 && column + 1 + length > width {
            lines.extend(["\n", &" ".repeat(indent)]);
            column = indent;
        } else if at > 0 {
            lines.push(' ');
            column += 1;
        }
        lines.push_str(word);
        column += length;
    }
    lines
}

/// Formats a transfer: `64.0 MiB in 1.25 s (51.2 MiB/s)`.
pub(crate) fn transferred(bytes: u64, time: Duration) -> String {
    let micros = time.as_micros().max(1);
    let rate = u64::try_from(u128::from(bytes) * 1_000_000 / micros).unwrap_or(u64::MAX);
    format!("{} in {:.2} s ({}/s)", rounded_size(bytes), time.as_secs_f64(), rounded_size(rate))
}

/// Returns a path for messages: `""` for an empty one. If the path is a URL, replaces its login with
/// `****`.
pub(crate) fn shown(path: &[u8]) -> String {
    let login = |path| {
        let (scheme, rest) = split_at_colon(path).filter(|_| is_url(path))?;
        let at = rest.iter().rposition(|byte| *byte == b'@')?;
        Some((scheme, rest.get(at..)?))
    };
    match login(path) {
        Some((scheme, rest)) => format!("{}://****{}", Escaped(scheme), Escaped(rest)),
        None if path.is_empty() => "\"\"".to_owned(),
        None => Escaped(path).to_string(),
    }
}

pub(crate) fn shown_path(path: &Path) -> String {
    shown_local(path.as_os_str().as_bytes())
}

/// Returns the bytes of a local path for messages. Backslashes that separate its parts stay single.
pub(crate) fn shown_local(path: &[u8]) -> String {
    match is_separator('\\') && !path.is_empty() && !is_url(path) {
        true => Printable(&String::from_utf8_lossy(path)).to_string(),
        false => shown(path),
    }
}

/// The meaning of a coloured word, and the code of its colour (ECMA-48, SGR).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Colour {
    Good = 32,
    Warning = 33,
    Error = 31,
}

impl Colour {
    pub(crate) fn paint(self, text: &str) -> String {
        format!("\x1b[{}m{text}\x1b[0m", self as u8)
    }
}

/// The words at the beginning of the lines of a report.
const GRADES: [(&str, Colour); 3] =
    [("ok", Colour::Good), ("warn", Colour::Warning), ("fail", Colour::Error)];

/// Returns whether a stream shows colours: it is a terminal that has them, and `NO_COLOR` is unset or
/// empty (no-color.org).
pub(crate) fn has_colours(is_terminal: bool) -> bool {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty());
    is_terminal && set("NO_COLOR").is_none() && set("TERM").is_some_and(|name| name != "dumb")
}

/// Returns a report with the first word of each line in its colour, if it is a grade.
pub(crate) fn graded(report: &str) -> String {
    let painted = report.split_inclusive('\n').map(|line| {
        let grade = GRADES.iter().find_map(|(word, colour)| {
            let rest = line.strip_prefix(word)?;
            rest.starts_with(' ').then(|| format!("{}{rest}", colour.paint(word)))
        });
        grade.unwrap_or_else(|| line.to_owned())
    });
    painted.collect()
}

#[cfg(test)]
pub(crate) mod tests;
