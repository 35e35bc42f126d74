//! `serve [DIR]`: the server. With no option it serves the current directory, read-only, to
//! anyone on this computer; with `--config` what a file says, which SIGHUP has read again.

mod check;
mod homes;
mod plan;

use std::io;
use std::sync::mpsc::{self, Receiver};

use ftp_server::Server;
use log::LevelFilter;
use signal_hook::consts::SIGHUP;

use self::homes::Sweeper;
use self::plan::{Plan, Refusal};
use crate::credentials::VARIABLE;
use crate::exit::{Exit, Failure};
use crate::options::Options;
use crate::output;
use crate::privileges;
use crate::settings::{FIXED, available, has_ipv6};
use crate::signals;
use crate::stdio::Stdio;
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
    let messages = stdio.messages.clone();
    let mut plan = Plan::new(options, std::env::var_os(VARIABLE)).map_err(|refusal| {
        refusal.lines.iter().for_each(|line| messages.line(line));
        refusal.failure
    })?;
    let quiet = options.is_quiet();
    trace::start(options, &messages, LevelFilter::Info)?;
    if options.has("check") {
        return output::print(&mut stdio.output, check::check(&plan).as_bytes());
    }
    if !quiet && privileges::is_root() && plan.settings.run_as.is_none() {
        messages.say("warning: running as root; --set security.run_as=USER gives that up");
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
    let server = start(&plan)?;
    let mut sweeper = sweep(&plan);
    if !quiet {
        let addresses: Vec<String> = server.local_addrs().map(|at| at.to_string()).collect();
        messages.say(format_args!("listening on {}", addresses.join(", ")));
        plan.in_words().iter().for_each(|line| messages.say(line));
    }
    let started = plan.clone();
    while next(&events) == Event::Reload {
        match plan.again(options) {
            Ok(new) if reload(&server, &started, &plan, &new) => {
                plan = new;
                sweeper = sweep(&plan);
            }
            Ok(_) => {}
            Err(Refusal { lines, failure }) => {
                lines.iter().for_each(|line| log::error!(target: LOG, "{line}"));
                log::error!(target: LOG, "{}; nothing has changed", failure.message);
            }
        }
    }
    drop(sweeper);
    let report = server.shutdown(plan.settings.shutdown_grace);
    if !quiet {
        let (drained, cut) = (report.drained, report.cut + report.stuck);
        messages.say(format_args!("stopped; sessions ended: {drained}, cut: {cut}"));
    }
    Ok(())
}

/// What is asked for next: to read the file again, however often that was said, or to stop.
fn next(events: &Receiver<Event>) -> Event {
    // An error would mean that the thread of the signals is gone: stop as at a signal.
    let Ok(first) = events.recv() else { return Event::Stop };
    let is_stop = |event| event == Event::Stop;
    if is_stop(first) || events.try_iter().any(is_stop) { Event::Stop } else { Event::Reload }
}

fn start(plan: &Plan) -> Result<Server, Failure> {
    let addresses = available(&plan.settings.listen, has_ipv6);
    let (homes, run_as) = (plan.homes(), plan.settings.run_as.clone());
    let builder = Server::builder().config(plan.settings.server.clone());
    let builder = builder.authenticator(homes.clone());
    // Whoever serves the directories is to be able to open them.
    let (sender, failure) = mpsc::channel();
    let builder = builder.once_bound(move || {
        run_as.map_or(Ok(()), |run_as| run_as.give_up_root())?;
        homes.look().map_err(|failure| {
            drop(sender.send(failure));
            io::Error::other("no directory to serve")
        })
    });
    builder.bind_all(&addresses).map_err(|error| {
        // An address that cannot be had is a matter of the network.
        let exit = match error {
            ftp_server::Error::Bind { .. } | ftp_server::Error::Address(_) => Exit::Network,
            ftp_server::Error::OnceBound(_) => Exit::Usage,
            _ => Exit::Internal,
        };
        failure.try_recv().unwrap_or_else(|_| Failure::new(exit, in_full(&error)))
    })
}

/// Tidies the directories of a plan up. Without a thread for it that waits for the next start.
fn sweep(plan: &Plan) -> Option<Sweeper> {
    let failed = |error| log::warn!(target: LOG, "no thread to tidy up in: {error}");
    Sweeper::start(&plan.homes()).map_err(failed).ok()
}

/// Gives what was read to new sessions, and says what differs from before. False if it could not.
fn reload(server: &Server, started: &Plan, former: &Plan, plan: &Plan) -> bool {
    for key in plan.settings.changes(&started.settings) {
        if FIXED.contains(&key) {
            log::warn!(target: LOG, "{key} differs; it stays as it is until the next start");
        }
    }
    let (config, homes) = (plan.settings.server.clone(), plan.homes());
    let changed = homes.look().map_err(|failure| failure.message);
    let changed =
        changed.and_then(|()| server.reconfigure(config, homes).map_err(|error| in_full(&error)));
    if let Err(error) = changed {
        log::error!(target: LOG, "{error}; nothing has changed");
        return false;
    }
    let mut changes = plan.settings.changes(&former.settings);
    changes.retain(|key| !FIXED.contains(key));
    let changes = if changes.is_empty() { "nothing".to_owned() } else { changes.join(", ") };
    log::info!(target: LOG, "configuration read again; changed: {changes}");
    true
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
