//! `serve [DIR]`: runs the server. Without options it serves the current directory, read-only, to
//! anyone on this computer; with `--config` it follows a file, which SIGHUP reloads.

mod certificate;
mod check;
mod findings;
mod hooks;
mod logging;
mod outgoing;
mod plan;
pub(crate) mod privileges;
mod reload;
mod running;
pub(crate) mod settings;
mod start;
mod systemd;
#[cfg_attr(not(feature = "tls"), path = "tls_absent.rs")]
mod tls;
mod transfer_log;
mod user_storage;
mod users;

use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, OnceLock};

use ftp_server::{Server, ShutdownHandle};
use log::{Level, LevelFilter};
use signal_hook::consts::SIGHUP;

use self::hooks::Hooks;
use self::logging::ServerLog;
use self::plan::ServePlan;
use self::running::Running;
use self::systemd::Service;
pub(crate) use self::tls::self_signed;
use crate::connect::credentials::VARIABLE;
use crate::console::messages::Messages;
use crate::console::signals;
use crate::console::stdio::Stdio;
use crate::console::trace;
use crate::exit::Failure;
use crate::options::Options;
use crate::report::events::Events;

/// Request of a signal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Event {
    Stop,
    Reload,
}

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result<(), Failure> {
    let mut service = Service::with_sockets()?;
    let passed = service.sockets.count();
    let plan = ServePlan::new(options, std::env::var_os(VARIABLE), passed).map_err(|refusal| {
        refusal.lines.iter().for_each(|line| stdio.messages.line(line));
        refusal.failure
    })?;
    if options.has("check") {
        trace::start(options, &stdio.messages, LevelFilter::Info)?;
        return check::check(&plan, options, stdio);
    }
    let log = ServerLog::start(plan.settings.log_format, options, &stdio.messages)?;
    if privileges::is_root() && plan.settings.run_as.is_none() {
        let text = "warning: running as root; use --set security.run_as=USER to drop privileges";
        log.say(Level::Warn, &text);
    }
    service.connect();
    let hooks = Arc::new(Hooks::default());
    let shutdown = Arc::new(OnceLock::new());
    // Before the first log line announces a server that can be stopped.
    let events = heed_signals(hears_hangup(&plan, options), &stdio.messages, &shutdown, &hooks)?;
    let mut running = Running::start(plan, options, &log, hooks, &mut service)?;
    // There is only one, and it is set only here.
    let _ = shutdown.set(running.shutdown_handle());
    running.announce(&log);
    service.ready(running.server());
    while next(&events, &mut service, running.server()) == Event::Reload {
        service.reloading();
        running.reload(&log);
        service.ready(running.server());
    }
    service.stopping();
    running.shut_down(&log);
    Ok(())
}

/// Returns whether SIGHUP can reload a file, certificate or log. If not, SIGHUP means that the
/// terminal is gone.
fn hears_hangup(plan: &ServePlan, options: &Options) -> bool {
    options.has("config")
        || plan.settings.tls.certificate.is_some()
        || plan.settings.log_transfers.is_some()
}

/// Handles signals in a thread: the first requests a stop, the second aborts transfers with the
/// `shutdown`, the third exits at once.
fn heed_signals(
    hears_hangup: bool,
    messages: &Messages,
    shutdown: &Arc<OnceLock<ShutdownHandle>>,
    hooks: &Arc<Hooks>,
) -> Result<Receiver<Event>, Failure> {
    let (sender, events) = mpsc::channel();
    let messages = messages.clone();
    let shutdown = Arc::clone(shutdown);
    let hooks = Arc::clone(hooks);
    let mut count = 0_u32;
    signals::on_signals(hears_hangup, move |signal| {
        if hears_hangup && signal == SIGHUP {
            // A server that is stopping reloads nothing.
            let _ = sender.send(Event::Reload);
            return;
        }
        count = count.saturating_add(1);
        match (count, shutdown.get()) {
            (1, _) if sender.send(Event::Stop).is_ok() => {}
            // Each session logs the end of its transfer, and keeps the partial file if it may.
            (2, Some(shutdown)) => {
                shutdown.cut_short();
                hooks.cut();
            }
            _ => signals::end(signal, &messages, &Events::default()),
        }
    })?;
    Ok(events)
}

/// Returns the next request; several reloads in a row count as one. Until then, the service manager
/// gets its signs of life.
fn next(events: &Receiver<Event>, service: &mut Service, server: &Server) -> Event {
    let first = loop {
        let received = match service.pause() {
            Some(pause) => events.recv_timeout(pause),
            None => events.recv().map_err(RecvTimeoutError::from),
        };
        match received {
            Ok(first) => break first,
            Err(RecvTimeoutError::Timeout) => service.beat(server),
            // The signal thread is gone: stop as for a signal.
            Err(RecvTimeoutError::Disconnected) => return Event::Stop,
        }
    };
    let is_stop = |event| event == Event::Stop;
    if is_stop(first) || events.try_iter().any(is_stop) { Event::Stop } else { Event::Reload }
}
