//! `serve [DIR]`: the server. With no option it serves the current directory, read-only, to
//! anyone on this computer; with `--config` what a file says, which SIGHUP has read again.

mod certificate;
mod check;
mod findings;
mod hooks;
mod logging;
mod outgoing;
mod plan;
pub(crate) mod privileges;
pub(crate) mod settings;
#[cfg_attr(not(feature = "tls"), path = "tls_absent.rs")]
mod tls;
mod transfer_log;
mod users;

use std::fmt::Display;
use std::io;
use std::rc::Rc;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use ftp_server::{Activity, Cutter, EventLog, LogFormat, Server, ServerBuilder, SessionInfo, Tls};
use signal_hook::consts::SIGHUP;

use self::certificate::Certificates;
use self::hooks::Hooks;
use self::plan::{PlanError, ServePlan};
pub(crate) use self::tls::self_signed;
use self::transfer_log::Transfers;
use self::users::{Kept, Sweeper};
use crate::connect::credentials::VARIABLE;
use crate::console::signals;
use crate::console::stdio::Stdio;
use crate::console::trace;
use crate::exit::{Exit, Failure};
use crate::options::Options;
use crate::options::values;

use self::logging::{LOG, no_thread};
use crate::cmd::serve::settings::{FIXED, available, has_ipv6};
use crate::display::in_full;
use crate::report::events::Events;
use log::{Level, LevelFilter};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Event {
    Stop,
    Reload,
}

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result<(), Failure> {
    let plan = ServePlan::new(options, std::env::var_os(VARIABLE)).map_err(|refusal| {
        refusal.lines.iter().for_each(|line| stdio.messages.line(line));
        refusal.failure
    })?;
    let messages = stdio.messages.clone();
    if options.has("check") {
        trace::start(options, &messages, LevelFilter::Info)?;
        return check::check(&plan, options, stdio);
    }
    let quiet = options.is_quiet();
    let queue = messages.queued().map_err(|error| no_thread("the log", &error))?;
    let log = EventLog::new(plan.settings.log_format, queue);
    let log = Arc::new(log.with_sessions(options.is_verbose()));
    trace::start_in(&log, options);
    let say = |level, text: &dyn Display| match log.format() {
        _ if quiet => {}
        LogFormat::Text => messages.say(text),
        LogFormat::Json => log.message(level, text),
    };
    if privileges::is_root() && plan.settings.run_as.is_none() {
        let text = "warning: running as root; --set security.run_as=USER gives that up";
        say(Level::Warn, &text);
    }
    // Before anybody is told that there is a server to stop.
    let (sender, events) = mpsc::channel();
    let (last_word, cutter) = (messages.clone(), Arc::new(OnceLock::<Cutter>::new()));
    let (mut count, has_file, second) = (0_u32, options.has("config"), Arc::clone(&cutter));
    let hooks = Arc::new(Hooks::default());
    let hooks_too = Arc::clone(&hooks);
    // Without a file to read, a certificate or a log to open again, it means that the terminal is gone.
    let has_certificate = plan.settings.tls.certificate.is_some();
    let hears_hangup = has_file || has_certificate || plan.settings.log_transfers.is_some();
    signals::on_signals(hears_hangup, move |signal| {
        if hears_hangup && signal == SIGHUP {
            // Whoever waits for sessions to end reads nothing again.
            let _ = sender.send(Event::Reload);
            return;
        }
        count = count.saturating_add(1);
        match (count, second.get()) {
            (1, _) if sender.send(Event::Stop).is_ok() => {}
            // Each session says what became of its transfer, and keeps what it may.
            (2, Some(cutter)) => {
                cutter.cut();
                hooks_too.cut();
            }
            _ => signals::end(signal, &last_word, &Events::default()),
        }
    })?;
    let mut certificates = Certificates::default();
    let mut tls = certificates.load(&plan.settings)?;
    let transfers = Arc::new(Transfers::new(plan.settings.run_as.clone()));
    transfers.set(transfers.prepare(plan.settings.log_transfers.as_deref())?);
    let mut builder = Server::builder();
    if !quiet {
        builder = builder.observer(Arc::clone(&log));
    }
    hooks.prepare(&plan.settings).map_err(|error| no_thread("hooks", &error))?;
    hooks.set(&plan.settings);
    builder = builder.observer(Arc::clone(&transfers)).observer(Arc::clone(&hooks));
    let (server, mut kept) = start(&plan, tls.clone(), builder)?;
    // There is one, and this is the only place that sets it.
    let _ = cutter.set(server.cutter());
    let mut sweeper = sweep(&plan, None);
    listening(&server).iter().for_each(|line| say(Level::Info, line));
    if let Some(tls) = tls.as_ref().filter(|_| plan.settings.tls.self_signed) {
        say(Level::Info, &format_args!("clients know this server by --pin {}", tls.pin()));
    }
    kept.iter().for_each(Kept::tell);
    for line in plan.overridden().into_iter().chain(plan.lost(options)) {
        say(Level::Warn, &format_args!("warning: {line}"));
    }
    plan.in_words().iter().for_each(|line| say(Level::Info, line));
    let started = Rc::new(plan);
    let mut plan = Rc::clone(&started);
    while next(&events) == Event::Reload {
        // Whatever the file says now: who renames a log waits for it.
        let is_open = transfers.open_again();
        if !has_file && !has_certificate {
            if is_open {
                log::info!(target: LOG, "log.transfers was opened again");
            }
            continue;
        }
        match plan.again(options) {
            Ok(new) => {
                let loaded = certificates.load(&new.settings);
                let plans = [&started, &plan, &new];
                if let Some(found) =
                    reload(&server, plans, (&mut tls, loaded), (&transfers, &hooks))
                {
                    log.set_format(new.settings.log_format);
                    if found != kept {
                        found.iter().for_each(Kept::tell);
                    }
                    (plan, kept) = (Rc::new(new), found);
                    sweeper = sweep(&plan, sweeper);
                }
            }
            Err(PlanError { lines, failure }) => {
                lines.iter().for_each(|line| log::error!(target: LOG, "{line}"));
                log::error!(target: LOG, "{}; nothing has changed", failure.message);
            }
        }
    }
    drop(sweeper);
    let (grace, start) = (plan.settings.shutdown_grace, Instant::now());
    if let Some(waits) = waits_for(&server, grace) {
        say(Level::Info, &waits);
    }
    let report = server.shutdown(grace);
    // What was stored while transfers could finish has its program, too.
    hooks.finish(grace.saturating_sub(start.elapsed()));
    transfers.flush();
    let (drained, cut) = (report.drained, report.cut + report.stuck);
    let (resumed, missed) = (report.resumptions.resumed, report.resumptions.missed);
    let tls = match resumed + missed {
        0 => String::new(),
        _ => format!("; data connections under TLS that resumed: {resumed}, did not: {missed}"),
    };
    say(Level::Info, &format_args!("stopped; sessions ended: {drained}, cut: {cut}{tls}"));
    Ok(())
}

/// What the end of the server waits for, if for anything.
fn waits_for(server: &Server, grace: Duration) -> Option<String> {
    let is_busy = |session: &SessionInfo| session.activity != Activity::Idle;
    let transfers = match server.sessions().iter().filter(|session| is_busy(session)).count() {
        0 => return None,
        1 => "1 transfer".to_owned(),
        count => format!("{count} transfers"),
    };
    let grace = values::show(grace);
    Some(format!("stopping: waiting up to {grace} for {transfers}; a second signal ends them now"))
}

/// What is asked for next: to read the file again, however often that was said, or to stop.
fn next(events: &Receiver<Event>) -> Event {
    // An error would mean that the thread of the signals is gone: stop as at a signal.
    let Ok(first) = events.recv() else { return Event::Stop };
    let is_stop = |event| event == Event::Stop;
    if is_stop(first) || events.try_iter().any(is_stop) { Event::Stop } else { Event::Reload }
}

/// The server, and what keeps its sessions in their directories.
fn start(
    plan: &ServePlan,
    tls: Option<Tls>,
    mut builder: ServerBuilder,
) -> Result<(Server, Option<Kept>), Failure> {
    if let Some(tls) = tls {
        builder = builder.tls(tls);
    }
    for address in available(&plan.settings.implicit, has_ipv6) {
        builder = builder.implicit_tls(address);
    }
    let addresses = available(&plan.settings.listen, has_ipv6);
    let (homes, run_as) = (Arc::new(plan.homes()), plan.settings.run_as.clone());
    let builder = builder.config(plan.settings.server()).authenticator(Arc::clone(&homes));
    let looked = Arc::new(OnceLock::new());
    let found = Arc::clone(&looked);
    // Whoever serves the directories is to be able to open them.
    let builder = builder.once_bound(move || {
        run_as.map_or(Ok(()), |run_as| run_as.give_up_root())?;
        match found.get_or_init(|| homes.look()) {
            Ok(_) => Ok(()),
            Err(_) => Err(io::Error::other("no directory to serve")),
        }
    });
    let bound = builder.bind_all(&addresses);
    let server = bound.map_err(|error| {
        // An address that cannot be had is a matter of the network.
        let exit = match error {
            ftp_server::Error::Bind { .. } | ftp_server::Error::Address(_) => Exit::Network,
            ftp_server::Error::OnceBound(_) => Exit::Usage,
            _ => Exit::Internal,
        };
        match looked.get() {
            Some(Err(failure)) => failure.clone(),
            _ => Failure::new(exit, in_full(&error)),
        }
    })?;
    let kept = looked.get().and_then(|looked| looked.clone().ok().flatten());
    Ok((server, kept))
}

/// Tidies the directories of a plan up. Without a thread for it that waits for the next start. What
/// looks after the same ones goes on: to walk through all of them again at each signal is much work
/// for nothing.
fn sweep(plan: &ServePlan, former: Option<Sweeper>) -> Option<Sweeper> {
    let homes = plan.homes();
    if let Some(former) = former.filter(|former| former.is_for(&homes)) {
        return Some(former);
    }
    let failed = |error| log::warn!(target: LOG, "no thread to tidy up in: {error}");
    Sweeper::start(&homes).map_err(failed).ok()
}

/// Where the server listens, a line for each way to greet.
fn listening(server: &Server) -> Vec<String> {
    let line = |how: &str, all: Vec<String>| {
        (!all.is_empty()).then(|| format!("listening {how} {}", all.join(", ")))
    };
    let clear = line("on", server.local_addrs().map(|at| at.to_string()).collect());
    let implicit = server.implicit_addrs().map(|at| at.to_string()).collect();
    clear.into_iter().chain(line("with TLS from the start on", implicit)).collect()
}

/// Gives what was read to new sessions, and says what differs from before. `None` if it could not;
/// otherwise what keeps those sessions in their directories. The plans are that of the start, the
/// one in force and the new one; then the certificate in force and the one of the new plan.
fn reload(
    server: &Server,
    [started, former, plan]: [&ServePlan; 3],
    (tls, loaded): (&mut Option<Tls>, Result<Option<Tls>, Failure>),
    (transfers, hooks): (&Transfers, &Arc<Hooks>),
) -> Option<Option<Kept>> {
    for key in plan.settings.changes(&started.settings) {
        if FIXED.contains(&key) {
            log::warn!(target: LOG, "{key} differs; it stays as it is until the next start");
        }
    }
    let (config, homes) = (plan.settings.server(), plan.homes());
    let change = || {
        let loaded = loaded.map_err(Failure::into_message)?;
        let kept = homes.look().map_err(Failure::into_message)?;
        let log = transfers.prepare(plan.settings.log_transfers.as_deref());
        let log = log.map_err(|failure| format!("log.transfers: {}", failure.message))?;
        hooks.prepare(&plan.settings).map_err(|error| no_thread("hooks", &error).into_message())?;
        let changed = server.reconfigure_with_tls(config, homes, loaded.clone());
        changed.map_err(|error| in_full(&error))?;
        transfers.set(log);
        hooks.set(&plan.settings);
        Ok::<_, String>((kept, std::mem::replace(tls, loaded)))
    };
    let changed = change();
    let (kept, shown) = match changed {
        Ok(changed) => changed,
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
    if let (Some(tls), Some(shown)) = (tls, shown)
        && tls.certificate() != shown.certificate()
    {
        changes.push("the certificate");
    }
    let changes = if changes.is_empty() { "nothing".to_owned() } else { changes.join(", ") };
    log::info!(target: LOG, "configuration read again; changed: {changes}");
    Some(kept)
}
