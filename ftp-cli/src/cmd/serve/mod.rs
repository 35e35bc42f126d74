//! `serve [DIR]`: runs the server. Without options it serves the current directory, read-only, to
//! anyone on this computer; with `--config`, it reads its settings from a file, which SIGHUP
//! reloads.

mod answered;
mod certificate;
mod check;
mod control;
mod findings;
mod former;
mod home;
pub(crate) mod hooks;
mod kept;
pub(crate) mod local_socket;
mod logging;
mod logins;
pub(crate) mod metrics;
mod outgoing;
mod plan;
pub(crate) mod privileges;
mod programs;
mod queue;
mod reload;
mod running;
pub(crate) mod settings;
mod start;
#[cfg_attr(not(feature = "s3"), path = "stores_absent.rs")]
mod stores;
mod sweeper;
mod systemd;
#[cfg_attr(not(feature = "tls"), path = "tls_absent.rs")]
mod tls;
mod trees;
mod unopened;
mod urls;
mod user_storage;
mod users;

pub(crate) use self::tls::self_signed;

use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, OnceLock};

use ftp_server::ShutdownHandle;
use log::{Level, LevelFilter};
use signal_hook::consts::SIGHUP;

use self::control::ControlSocket;
use self::hooks::Hooks;
use self::logging::ServerLog;
use self::metrics::Endpoint;
use self::plan::ServePlan;
use self::queue::{Event, Queue};
use self::running::Running;
use self::systemd::Service;
use crate::cmd::control::protocol::{Answer, Request};
use crate::connect::credentials::VARIABLE;
use crate::console::output::{self, Messages};
use crate::console::signals;
use crate::console::stdio::Stdio;
use crate::exit::Failure;
use crate::options::Options;
use crate::report::events::Events;

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result<(), Failure> {
    let service = Service::with_sockets()?;
    let passed = service.sockets.count();
    let plan = ServePlan::new(options, std::env::var_os(VARIABLE), passed).map_err(|refusal| {
        refusal.lines.iter().for_each(|line| stdio.messages.line(line));
        refusal.failure
    })?;
    if options.has("check") {
        output::start(options, &stdio.messages, LevelFilter::Info)?;
        return check::check(&plan, options, stdio);
    }
    let log = ServerLog::start(plan.settings.log(), options, &stdio.messages)?;
    let ended = serve(plan, service, options, &log);
    if let Err(failure) = &ended {
        log.fail(failure);
    }
    log.flush();
    ended
}

/// Serves until a signal or the control socket stops it.
fn serve(
    plan: ServePlan,
    mut service: Service,
    options: &Options,
    log: &ServerLog,
) -> Result<(), Failure> {
    if privileges::is_root() && plan.settings.run_as.is_none() {
        let text = "warning: running as root; use --set security.run_as=USER to drop privileges";
        log.say(Level::Warn, &text);
    }
    service.connect();
    let hooks = Arc::new(Hooks::new());
    let shutdown = Arc::new(OnceLock::new());
    // Set up before the log announces the server, so that a signal can stop it from then on.
    let (sender, receiver) = mpsc::channel();
    let hears_hangup = hears_hangup(&plan, options);
    heed_signals(hears_hangup, &log.messages, &shutdown, &hooks, sender.clone())?;
    // Done while the process may still be root.
    let control = ControlSocket::bind(&plan.settings)?;
    let endpoint = Endpoint::bind(&plan.settings)?;
    let mut running = Running::start(plan, options, log, hooks, &mut service)?;
    // Only this call sets the handle, so the call cannot fail.
    let _ = shutdown.set(running.shutdown_handle());
    running.announce(log);
    if let Some(control) = &control {
        control.start(sender.clone())?;
    }
    if let Some(endpoint) = &endpoint {
        endpoint.start(running.metrics())?;
    }
    service.ready(running.server());
    work(&mut running, &mut service, Queue::new(receiver), &sender, log);
    drop((control, endpoint));
    service.stopping();
    running.shut_down(log);
    Ok(())
}

/// Handles events until [`Event::Stop`]. Later requests are refused.
fn work(
    running: &mut Running<'_>,
    service: &mut Service,
    mut queue: Queue,
    sender: &Sender<Event>,
    log: &ServerLog,
) {
    loop {
        match queue.next(service, running) {
            Event::Stop => return,
            // The log has the outcome.
            Event::Reload => drop(reload(running, service, log)),
            Event::CertificatesDue => {
                let sender = sender.clone();
                // A server that is stopping no longer needs new certificates.
                let deliver =
                    move |renewed| drop(sender.send(Event::Certificates(Box::new(renewed))));
                running.attend_certificates(deliver);
            }
            Event::Certificates(renewed) => running.take_certificates(*renewed),
            Event::Control(call) if call.request == Request::Reload => {
                let outcome = reload(running, service, log);
                call.answer(Answer { outcome: outcome.map(|changes| changes + "\n") });
            }
            Event::Control(call) => {
                let answer = running.answer(&call.request);
                call.answer(answer);
            }
        }
    }
}

fn reload(
    running: &mut Running<'_>,
    service: &mut Service,
    log: &ServerLog,
) -> Result<String, String> {
    service.reloading();
    let outcome = running.reload(log);
    service.ready(running.server());
    outcome
}

/// Returns whether SIGHUP has anything to reload: a configuration file, a certificate or a log
/// file. If not, SIGHUP means that the terminal was closed.
fn hears_hangup(plan: &ServePlan, options: &Options) -> bool {
    options.has("config")
        || plan.settings.tls.certificate.is_some()
        || plan.settings.log_transfers.is_some()
        || plan.settings.log_target.path().is_some()
}

/// Handles signals in a thread. The first signal requests a stop. The second aborts transfers
/// through `shutdown` and stops waiting for `hooks`. The third exits at once, and so does the
/// second while the server is still starting. With `hears_hangup`, SIGHUP requests a reload
/// instead.
fn heed_signals(
    hears_hangup: bool,
    messages: &Messages,
    shutdown: &Arc<OnceLock<ShutdownHandle>>,
    hooks: &Arc<Hooks>,
    sender: Sender<Event>,
) -> Result<(), Failure> {
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
            // If the server is already stopping, nothing receives the event, which is not needed
            // then.
            (1, _) => drop(sender.send(Event::Stop)),
            // Each session logs the end of its transfer, and keeps the partial file if the settings
            // allow that.
            (2, Some(shutdown)) => {
                shutdown.cut_short();
                hooks.cut();
            }
            _ => signals::end(signal, &messages, &Events::default()),
        }
    })
}
