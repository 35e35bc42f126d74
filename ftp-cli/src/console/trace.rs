//! Logs the records of the libraries: the FTP dialogue for `--trace`, other records as messages.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use env_logger::{Builder, Target};
use ftp_proto::Escaped;
use ftp_server::EventLog;
use log::LevelFilter;

use super::messages::{Messages, Printable};
use crate::display;
use crate::exit::Failure;
use crate::lock::lock;
use crate::options::Options;

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
pub(crate) fn start(
    options: &Options,
    messages: &Messages,
    usual: LevelFilter,
) -> Result<(), Failure> {
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

fn create(file: &OsStr) -> Result<File, Failure> {
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
    let logged = messages.clone();
    let _ = Builder::new()
        .filter_level(LevelFilter::Off)
        .filter_module("ftp_client", level)
        .filter_module("ftp_server", level)
        .filter_module(LIFE, of_life(level))
        .filter_module(WIRE, wire)
        .target(Target::Pipe(Box::new(ToMessages(messages.clone()))))
        .format(move |out, record| {
            let line = format!("{} {}\n", now(), Printable(&record.args().to_string()));
            match &file {
                Some(file) if record.target() == WIRE => {
                    let mut file = lock(file);
                    file.write_all(line.as_bytes())
                }
                _ if record.target() == WIRE => out.write_all(line.as_bytes()),
                _ => {
                    logged.log(record.args());
                    out.write_all(line.as_bytes())
                }
            }
        })
        .try_init();
}

/// Returns the time of day in UTC: `15:04:05.678`.
fn now() -> String {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = time.as_secs();
    let millis = time.subsec_millis();
    let hour = seconds / 3_600 % 24;
    let minute = seconds / 60 % 60;
    let second = seconds % 60;
    format!("{hour:02}:{minute:02}:{second:02}.{millis:03}")
}

struct ToMessages(Messages);

impl Write for ToMessages {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
