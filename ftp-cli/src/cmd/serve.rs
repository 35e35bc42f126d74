//! `serve [DIR]`: the server. With no option it serves the current directory, read-only, to
//! anyone on this computer; with `--config` what a file says, which SIGHUP has read again.

mod check;
mod homes;
mod plan;

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use ftp_server::{EventLog, LogFormat, LogWriter, Server, ServerBuilder, Xferlog};
use log::{Level, LevelFilter};
use rustix::fs::OFlags;
use signal_hook::consts::SIGHUP;

use self::homes::{Kept, Sweeper};
use self::plan::{Plan, Refusal};
use crate::credentials::VARIABLE;
use crate::exit::{Exit, Failure};
use crate::options::Options;
use crate::output;
use crate::privileges;
use crate::settings::{FIXED, available, has_ipv6};
use crate::signals;
use crate::stdio::Stdio;
use crate::target::shown_path;
use crate::trace;

/// Where the server logs, as far as it is known here what there is to say.
const LOG: &str = "ftp_server";

/// What a signal asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Event {
    Stop,
    Reload,
}

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result<(), Failure> {
    let mut plan = Plan::new(options, std::env::var_os(VARIABLE)).map_err(|refusal| {
        refusal.lines.iter().for_each(|line| stdio.messages.line(line));
        refusal.failure
    })?;
    let messages = stdio.messages.clone();
    if options.has("check") {
        trace::start(options, &messages, LevelFilter::Info)?;
        return output::print(&mut stdio.output, check::check(&plan, options).as_bytes());
    }
    let (quiet, format) = (options.is_quiet(), plan.settings.log_format);
    let queue = messages.queued().map_err(|error| no_thread(&error))?;
    let log = Arc::new(EventLog::new(format, queue).with_sessions(options.is_verbose()));
    trace::start_in(&log, options);
    let say = |level, text: &str| match format {
        _ if quiet => {}
        LogFormat::Text => messages.say(text),
        LogFormat::Json => log.message(level, text),
    };
    if privileges::is_root() && plan.settings.run_as.is_none() {
        let text = "warning: running as root; --set security.run_as=USER gives that up";
        say(Level::Warn, text);
    }
    // Before anybody is told that there is a server to stop.
    let (sender, events) = mpsc::channel();
    let last_word = messages.clone();
    let (mut first, has_file) = (true, options.has("config"));
    signals::on_signals(has_file, move |signal| match signal {
        // Whoever waits for sessions to end reads nothing again.
        SIGHUP if has_file => drop(sender.send(Event::Reload)),
        _ if std::mem::take(&mut first) && sender.send(Event::Stop).is_ok() => {}
        _ => signals::end(signal, &last_word),
    })?;
    let transfers = plan.settings.log_transfers.as_deref().map(Transfers::start).transpose()?;
    let mut builder = Server::builder();
    if !quiet {
        builder = builder.observer(Arc::clone(&log));
    }
    if let Some(transfers) = &transfers {
        builder = builder.observer(Xferlog::new(transfers.writer.clone()));
    }
    let (server, mut kept) = start(&plan, builder)?;
    let mut sweeper = sweep(&plan);
    let addresses: Vec<String> = server.local_addrs().map(|at| at.to_string()).collect();
    say(Level::Info, &format!("listening on {}", addresses.join(", ")));
    kept.iter().for_each(Kept::tell);
    plan.overridden().iter().for_each(|line| say(Level::Warn, &format!("warning: {line}")));
    plan.in_words().iter().for_each(|line| say(Level::Info, line));
    let started = plan.clone();
    while next(&events) == Event::Reload {
        // Whatever the file says now: who renames a log waits for it.
        transfers.iter().for_each(Transfers::open_again);
        match plan.again(options) {
            Ok(new) => {
                if let Some(found) = reload(&server, &started, &plan, &new) {
                    if found != kept {
                        found.iter().for_each(Kept::tell);
                    }
                    (plan, kept) = (new, found);
                    sweeper = sweep(&plan);
                }
            }
            Err(Refusal { lines, failure }) => {
                lines.iter().for_each(|line| log::error!(target: LOG, "{line}"));
                log::error!(target: LOG, "{}; nothing has changed", failure.message);
            }
        }
    }
    drop(sweeper);
    let report = server.shutdown(plan.settings.shutdown_grace);
    if let Some(transfers) = transfers {
        transfers.writer.flush(LAST_LINES);
    }
    let (drained, cut) = (report.drained, report.cut + report.stuck);
    say(Level::Info, &format!("stopped; sessions ended: {drained}, cut: {cut}"));
    Ok(())
}

/// How long the end waits for the log of transfers to be written.
const LAST_LINES: Duration = Duration::from_secs(1);

fn no_thread(error: &io::Error) -> Failure {
    Failure::new(Exit::Internal, format!("no thread for the log: {error}"))
}

/// The log of transfers.
struct Transfers {
    path: PathBuf,
    writer: LogWriter,
}

impl Transfers {
    fn start(path: &Path) -> Result<Self, Failure> {
        let file = Self::open(path).map_err(|error| Failure::local(shown_path(path), &error))?;
        let writer = LogWriter::start(shown_path(path), file).map_err(|error| no_thread(&error))?;
        Ok(Self { path: path.to_owned(), writer })
    }

    /// Opens it to add to it. A pipe that nobody reads is not waited for.
    fn open(path: &Path) -> io::Result<File> {
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        File::options().append(true).create(true).mode(0o640).custom_flags(flags).open(path)
    }

    /// Goes on in the file that has the name now: the one before may have been renamed. Whoever the
    /// process runs as by now may not be allowed to open it.
    fn open_again(&self) {
        match Self::open(&self.path) {
            Ok(file) => self.writer.replace(file),
            Err(error) => {
                let shown = shown_path(&self.path);
                log::error!(target: LOG, "{shown}: {error}; transfers go to the file before");
            }
        }
    }
}

/// What is asked for next: to read the file again, however often that was said, or to stop.
fn next(events: &Receiver<Event>) -> Event {
    // An error would mean that the thread of the signals is gone: stop as at a signal.
    let Ok(first) = events.recv() else { return Event::Stop };
    let is_stop = |event| event == Event::Stop;
    if is_stop(first) || events.try_iter().any(is_stop) { Event::Stop } else { Event::Reload }
}

/// The server, and what keeps its sessions in their directories.
fn start(plan: &Plan, builder: ServerBuilder) -> Result<(Server, Option<Kept>), Failure> {
    let addresses = available(&plan.settings.listen, has_ipv6);
    let (homes, run_as) = (plan.homes(), plan.settings.run_as.clone());
    let builder = builder.config(plan.settings.server()).authenticator(homes.clone());
    // Whoever serves the directories is to be able to open them.
    let (sender, looked) = mpsc::channel();
    let builder = builder.once_bound(move || {
        run_as.map_or(Ok(()), |run_as| run_as.give_up_root())?;
        let found = homes.look();
        let is_some = found.is_ok();
        drop(sender.send(found));
        if is_some { Ok(()) } else { Err(io::Error::other("no directory to serve")) }
    });
    let bound = builder.bind_all(&addresses);
    let looked = looked.try_recv().unwrap_or(Ok(None));
    let server = bound.map_err(|error| {
        // An address that cannot be had is a matter of the network.
        let exit = match error {
            ftp_server::Error::Bind { .. } | ftp_server::Error::Address(_) => Exit::Network,
            ftp_server::Error::OnceBound(_) => Exit::Usage,
            _ => Exit::Internal,
        };
        match &looked {
            Err(failure) => failure.clone(),
            Ok(_) => Failure::new(exit, in_full(&error)),
        }
    })?;
    Ok((server, looked.ok().flatten()))
}

/// Tidies the directories of a plan up. Without a thread for it that waits for the next start.
fn sweep(plan: &Plan) -> Option<Sweeper> {
    let failed = |error| log::warn!(target: LOG, "no thread to tidy up in: {error}");
    Sweeper::start(&plan.homes()).map_err(failed).ok()
}

/// Gives what was read to new sessions, and says what differs from before. `None` if it could not;
/// otherwise what keeps those sessions in their directories.
fn reload(server: &Server, started: &Plan, former: &Plan, plan: &Plan) -> Option<Option<Kept>> {
    for key in plan.settings.changes(&started.settings) {
        if FIXED.contains(&key) {
            log::warn!(target: LOG, "{key} differs; it stays as it is until the next start");
        }
    }
    let (config, homes) = (plan.settings.server(), plan.homes());
    let changed = homes.look().map_err(|failure| failure.message).and_then(|kept| {
        server.reconfigure(config, homes).map_err(|error| in_full(&error)).map(|()| kept)
    });
    let kept = match changed {
        Ok(kept) => kept,
        Err(error) => {
            log::error!(target: LOG, "{error}; nothing has changed");
            return None;
        }
    };
    for line in plan.overridden() {
        log::warn!(target: LOG, "{line}");
    }
    let mut changes = plan.settings.changes(&former.settings);
    changes.retain(|key| !FIXED.contains(key));
    let changes = if changes.is_empty() { "nothing".to_owned() } else { changes.join(", ") };
    log::info!(target: LOG, "configuration read again; changed: {changes}");
    Some(kept)
}

/// An error with its causes.
fn in_full(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        message = format!("{message}: {error}");
        cause = error.source();
    }
    message
}
