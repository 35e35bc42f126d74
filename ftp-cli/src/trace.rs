//! The log of the libraries: the dialogue with the server for `--trace`, the rest for people.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use ftp_proto::Escaped;
use ftp_server::EventLog;
use log::{LevelFilter, Log, Metadata, Record};

use crate::exit::Failure;
use crate::options::Options;
use crate::stdio::{Messages, Printable};

/// The target under which the client logs each line it sends and receives. Passwords are `****`
/// there already.
const WIRE: &str = "ftp_client::wire";

/// Where a server logs its start and end, which `serve` says itself.
const LIFE: &str = "ftp_server::server";

/// Where it logs what happens, of which `serve` keeps a log of its own.
const EVENTS: &str = "ftp_server::events";

/// Where the dialogue goes.
pub(crate) enum Dialogue {
    Nowhere,
    /// Standard error, with the rest of the log.
    Messages,
    Writer(Box<dyn Write + Send>),
}

/// Starts to log as `--trace`, `--verbose` and `--quiet` say. `usual` is the level of what is
/// said without them.
///
/// # Errors
///
/// `Local` if the file of the trace cannot be written.
pub(crate) fn start(
    options: &Options,
    messages: &Messages,
    usual: LevelFilter,
) -> Result<(), Failure> {
    let dialogue = match options.trace() {
        None => Dialogue::Nowhere,
        Some(None) => Dialogue::Messages,
        Some(Some(file)) => Dialogue::Writer(Box::new(create(file)?)),
    };
    install(dialogue, messages, level(options, usual));
    Ok(())
}

/// Starts to log what a server says besides its events, among these.
pub(crate) fn start_in(log: &Arc<EventLog>, options: &Options) {
    let (level, log) = (level(options, LevelFilter::Info), Arc::clone(log));
    let levels = vec![(LIFE, of_life(level)), (EVENTS, LevelFilter::Off), ("ftp_server", level)];
    begin(levels, move |record| log.message(record.level(), record.args()));
}

/// How much is said.
fn level(options: &Options, usual: LevelFilter) -> LevelFilter {
    match (options.is_quiet(), options.is_verbose()) {
        (true, _) => LevelFilter::Error,
        (_, true) => LevelFilter::Debug,
        _ => usual,
    }
}

/// How much of a server's start and end.
fn of_life(level: LevelFilter) -> LevelFilter {
    if level == LevelFilter::Info { LevelFilter::Warn } else { level }
}

fn create(file: &OsStr) -> Result<File, Failure> {
    let created = File::create(file);
    created.map_err(|error| Failure::local(Escaped(file.as_bytes()), &error))
}

/// Makes this the log of the process, unless it has one: a program that calls [`run`](crate::run)
/// more than once, or logs itself, keeps its first.
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
    let levels =
        vec![(LIFE, of_life(level)), (WIRE, wire), ("ftp_client", level), ("ftp_server", level)];
    begin(levels, move |record| {
        let line = format!("{} {}\n", now(), Printable(&record.args().to_string()));
        match &file {
            Some(file) if record.target() == WIRE => {
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                // There is nobody to tell that a trace cannot be written.
                let _ = file.write_all(line.as_bytes());
            }
            _ => messages.write(line.as_bytes()),
        }
    });
}

/// What is said of a target and those below it, the narrower ones first.
type Levels = Vec<(&'static str, LevelFilter)>;

/// Makes this the log of the process, unless it has one.
fn begin(levels: Levels, write: impl Fn(&Record<'_>) + Send + Sync + 'static) {
    let most = levels.iter().map(|(_, level)| *level).max();
    if log::set_boxed_logger(Box::new(Selected { levels, write: Box::new(write) })).is_ok() {
        log::set_max_level(most.unwrap_or(LevelFilter::Off));
    }
}

/// A log of what the levels let through; of a target that is none of theirs, nothing.
struct Selected {
    levels: Levels,
    write: Box<dyn Fn(&Record<'_>) + Send + Sync>,
}

impl Log for Selected {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let is_of = |(target, _): &&(&str, _)| metadata.target().starts_with(target);
        let found = self.levels.iter().find(is_of);
        found.is_some_and(|(_, level)| metadata.level() <= *level)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            (self.write)(record);
        }
    }

    fn flush(&self) {}
}

/// The time of day, UTC: `15:04:05.678`.
fn now() -> String {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (seconds, millis) = (time.as_secs(), time.subsec_millis());
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{hour:02}:{minute:02}:{second:02}.{millis:03}")
}
