//! `serve [DIR]`: runs the server. Without options it serves the current directory, read-only, to
//! anyone on this computer; with `--config`, it reads its settings from a file, which SIGHUP
//! reloads. The server itself is ftp-server's daemon.

mod options;
mod privileges;
mod urls;
mod vsftpd;

use std::env;
use std::net::TcpListener;
use std::os::fd::{AsFd, IntoRawFd, OwnedFd};
use std::sync::{Arc, Mutex};

use ftp_server::EventLog;
use ftp_server::daemon::{Config, Daemon, DaemonLog, Setup};
use log::{Level, LevelFilter};
use rustix::io::{FdFlags, fcntl_setfd};
use signal_hook::consts::SIGHUP;
use socket2::{Domain, SockRef, Type};

use self::options::Refusal;
pub(super) use self::options::key_and_value;
pub(super) use self::privileges::drop_privileges;
use self::privileges::is_root;
use self::urls::Listening;
use crate::connect::credentials::VARIABLE;
use crate::console::output::plain;
use crate::console::{Messages, Stdio, output, signals};
use crate::exit::{Exit, Failure, Result};
use crate::lock;
use crate::options::Options;
use crate::report::Events;
use crate::system::is_journal;

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result {
    if let Some(path) = options.value("from-vsftpd") {
        return vsftpd::run(options, path.as_ref(), stdio);
    }
    let sockets = Sockets::passed()?;
    let config = options::config(options, env::var_os(VARIABLE), sockets.counts());
    let config = config.map_err(|Refusal { lines, failure }| {
        lines.iter().for_each(|line| stdio.messages.error(line));
        failure
    })?;
    if options.has("check") {
        output::start(options, &stdio.messages, LevelFilter::Info)?;
        return print_check(&config, options, stdio);
    }
    let log = open_log(&config, options, &stdio.messages)?;
    let announcer = Announcer::new(&config, &log, options, &stdio.messages);
    let announced = announcer.clone();
    let log = Arc::new(log.announcing(move |level, text| announced.say(level, text)));
    output::start_in(log.events(), options);
    if let Some(target) = config.log_target().filter(|_| !options.is_quiet()) {
        stdio.messages.say(format_args!("logging to {target}"));
    }
    let ended = serve(config, sockets, &log, &announcer, &stdio.messages);
    if let Err(failure) = &ended {
        announcer.fail(failure);
    }
    log.flush();
    ended
}

/// Serves until a signal or the control socket stops the daemon.
fn serve(
    config: Config,
    sockets: Sockets,
    log: &Arc<DaemonLog>,
    announcer: &Announcer,
    messages: &Messages,
) -> Result {
    if is_root() && config.run_as().is_none() {
        let text = "warning: running as root; use --set security.run_as=USER to drop privileges";
        announcer.say(Level::Warn, text);
    }
    // Set up before the log announces the server, so that a signal can stop it from then on.
    let served = Arc::new(Mutex::new(Served::default()));
    heed_signals(config.can_reload(), messages, &served)?;
    let (tls, user) = (config.tls_policy(), config.only_user());
    let (has_passwords, announcer) = (config.has_passwords(), announcer.clone());
    let run_as = config.run_as().cloned();
    let setup = Setup::new()
        .log(Arc::clone(log))
        .sockets(sockets.plaintext, sockets.implicit)
        .once_bound(move || drop_privileges(run_as.as_ref()))
        .once_listening(move |plaintext, implicit| {
            let listening = Listening { plaintext, implicit, tls, user, has_passwords };
            let own = urls::own_addresses();
            listening.line(&own).iter().for_each(|line| announcer.say(Level::Info, line));
            listening.warning(&own).iter().for_each(|line| announcer.say(Level::Warn, line));
        });
    let daemon = Arc::new(Daemon::start_with(config, setup)?);
    lock(&served).by(&daemon);
    daemon.join()?;
    Ok(())
}

/// Prints what to correct, and the settings as TOML, each with its origin as a comment.
fn print_check(config: &Config, options: &Options, stdio: &mut Stdio) -> Result {
    let report = config.check(drop_privileges);
    let text = if options.is_verbose() { &report.details } else { &report.text };
    stdio.print_report(&plain(text))?;
    let Some(kind) = report.kind else { return Ok(()) };
    let found = match report.problems {
        1 => "1 problem found".to_owned(),
        count => format!("{count} problems found"),
    };
    Err(Failure::new(Exit::from(kind), format!("--check: {found}")))
}

fn open_log(config: &Config, options: &Options, messages: &Messages) -> Result<DaemonLog> {
    let stderr = || Ok((messages.queued()?, is_journal()));
    let log = DaemonLog::open(config, options.is_verbose(), stderr)?;
    Ok(if options.is_quiet() { log.without_events() } else { log })
}

/// Writes what the daemon announces: to standard error, or to its log.
#[derive(Clone)]
struct Announcer {
    messages: Messages,
    events: Arc<EventLog>,
    is_stderr: bool,
    is_quiet: bool,
}

impl Announcer {
    fn new(config: &Config, log: &DaemonLog, options: &Options, messages: &Messages) -> Self {
        Self {
            messages: messages.clone(),
            events: Arc::clone(log.events()),
            is_stderr: config.log_target().is_none(),
            is_quiet: options.is_quiet(),
        }
    }

    /// Logs a message about the server in the format of the log, unless `--quiet` is given.
    fn say(&self, level: Level, text: &str) {
        match self.events.is_json() {
            _ if self.is_quiet => {}
            false if self.is_stderr && !is_journal() => self.messages.say(text),
            _ => self.events.message(level, self.messages.plain(text)),
        }
    }

    /// Logs why the server ends, unless the log is standard error, where the program prints the
    /// reason anyway.
    fn fail(&self, failure: &Failure) {
        if !self.is_stderr {
            self.events.message(Level::Error, self.messages.plain(&failure.message));
        }
    }
}

/// The daemon, and the signals that have arrived before it was started.
#[derive(Default)]
struct Served {
    daemon: Option<Arc<Daemon>>,
    must_stop: bool,
    must_reload: bool,
}

impl Served {
    fn by(&mut self, daemon: &Arc<Daemon>) {
        if self.must_reload {
            daemon.reload();
        }
        if self.must_stop {
            daemon.stop();
        }
        self.daemon = Some(Arc::clone(daemon));
    }

    fn stop(&mut self) {
        self.must_stop = true;
        self.daemon.iter().for_each(|daemon| daemon.stop());
    }

    fn reload(&mut self) {
        self.must_reload = true;
        self.daemon.iter().for_each(|daemon| daemon.reload());
    }
}

/// Handles signals in a thread. The first signal requests a stop. The second aborts transfers and
/// stops waiting for hooks. The third exits at once, and so does the second while the server is
/// still starting. With `hears_hangup`, SIGHUP requests a reload instead; without it, there is
/// nothing to reload, and SIGHUP means that the terminal was closed.
fn heed_signals(hears_hangup: bool, messages: &Messages, served: &Arc<Mutex<Served>>) -> Result {
    let messages = messages.clone();
    let served = Arc::clone(served);
    let mut count = 0_u32;
    signals::on_signals(hears_hangup, move |signal| {
        let mut served = lock(&served);
        if hears_hangup && signal == SIGHUP {
            return served.reload();
        }
        count = count.saturating_add(1);
        match (count, &served.daemon) {
            (1, _) => served.stop(),
            (2, Some(daemon)) => daemon.cut_short(),
            _ => signals::end(signal, &messages, &Events::default()),
        }
    })
}

/// Listening sockets of a service manager (socket activation, sd_listen_fds(3)).
#[derive(Debug, Default)]
pub(super) struct Sockets {
    /// Sockets with a plaintext greeting: those called `control` or `unknown`, or without a name.
    pub(super) plaintext: Vec<TcpListener>,
    /// Sockets with implicit TLS: those called `implicit`.
    pub(super) implicit: Vec<TcpListener>,
}

impl Sockets {
    fn counts(&self) -> [usize; 2] {
        [self.plaintext.len(), self.implicit.len()]
    }

    /// Takes the sockets that the environment describes. Call it once, before the process opens
    /// anything that stays open.
    ///
    /// # Errors
    ///
    /// Returns `Usage` if a variable has an invalid value, or a descriptor is not a listening TCP
    /// socket.
    pub(super) fn passed() -> Result<Self> {
        let sockets = sd_listen_fds::get();
        let sockets = sockets.map_err(|error| Failure::usage(format!("LISTEN_FDS: {error}")))?;
        let mut passed = Self::default();
        let mut wrong = None;
        let are_named = sockets.iter().any(|(name, _)| name.is_some());
        // All are looked at before a failure: one that is not open must not be closed.
        for (number, (name, socket)) in (3..).zip(sockets) {
            let why = match (name.as_deref(), listener(socket.into_std())) {
                (None, Ok(_)) if are_named => "expected one name per socket".to_owned(),
                (None | Some("control" | "unknown" | ""), Ok(socket)) => {
                    passed.plaintext.push(socket);
                    continue;
                }
                (Some("implicit"), Ok(socket)) => {
                    passed.implicit.push(socket);
                    continue;
                }
                (Some(other), Ok(_)) => format!(
                    "expected the name control or implicit, not \"{other}\"; set \
                     FileDescriptorName= in the socket unit"
                ),
                (_, Err(why)) => why,
            };
            wrong = wrong.or(Some((number, why)));
        }
        let Some((number, why)) = wrong else { return Ok(passed) };
        Err(Failure::usage(format!("LISTEN_FDS: descriptor {number}: {why}")))
    }
}

/// Returns the socket if it listens, and marks it close-on-exec.
fn listener(socket: OwnedFd) -> Result<TcpListener, String> {
    let expected = "expected a listening TCP socket";
    if let Err(error) = fcntl_setfd(socket.as_fd(), FdFlags::CLOEXEC) {
        // The descriptor is not open, so it must not be closed: its number may soon belong to
        // another file.
        let _ = socket.into_raw_fd();
        return Err(format!("{expected}: {error}"));
    }
    let known = SockRef::from(&socket);
    let is_internet = known.domain().is_ok_and(|it| it == Domain::IPV4 || it == Domain::IPV6);
    let is_stream = known.r#type().is_ok_and(|it| it == Type::STREAM);
    if is_internet && is_stream && known.is_listener().unwrap_or(false) {
        return Ok(socket.into());
    }
    Err(format!("{expected}; set ListenStream= and Accept=no in the socket unit"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listening_sockets_are_taken() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(server.local_addr().unwrap()).unwrap();
        let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        for wrong in [OwnedFd::from(client), datagrams.into(), file.into()] {
            let why = listener(wrong).unwrap_err();
            assert!(why.starts_with("expected a listening TCP socket"), "{why}");
        }
        listener(server.into()).unwrap();
    }
}
