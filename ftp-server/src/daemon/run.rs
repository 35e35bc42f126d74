//! A running daemon: its thread, the events that the thread handles, the handle of the program, and
//! what the program decides about the start.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{fmt, io};

use super::apply::Sockets;
use super::certificate::watch::Renewed;
use super::config::Config;
use super::control::protocol::SessionTarget;
use super::control::{ControlCall, ControlRequest, ControlSocket, Status};
use super::hooks::Hooks;
use super::logging::{DaemonLog, LOG};
use super::metrics::MetricsEndpoint;
use super::reload::{Prepared, Reloads, Waiter};
use super::running::Running;
use super::systemd::Service;
use super::{DaemonError, DaemonErrorKind, start_thread};
use crate::builder::OnceBound;
use crate::lock::Lock;
use crate::{SessionInfo, ShutdownHandle};

/// Interval at which a draining server checks whether the last session has ended.
const DRAIN_CHECK: Duration = Duration::from_millis(200);

/// A server that runs as its [`Config`] says, with users, hooks, certificates, logs, metrics, a
/// control socket, and the protocols of systemd. Its thread runs until the daemon is stopped; a
/// `Daemon` that is dropped stops at once.
///
/// ```no_run
/// use ftp_server::daemon::{Config, Daemon};
///
/// let daemon = Daemon::start(Config::read("server.toml")?)?;
/// println!("listening on {:?}", daemon.local_addrs());
/// daemon.apply(Config::read("server.toml")?)?; // as a reload does
/// daemon.join()?;
/// # Ok::<(), ftp_server::daemon::DaemonError>(())
/// ```
pub struct Daemon {
    events: Sender<DaemonEvent>,
    thread: Lock<Option<JoinHandle<()>>>,
    shutdown: ShutdownHandle,
    hooks: Arc<Hooks>,
    plaintext: Vec<SocketAddr>,
    implicit: Vec<SocketAddr>,
}

impl fmt::Debug for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plaintext, implicit, .. } = self;
        f.debug_struct("Daemon")
            .field("plaintext", plaintext)
            .field("implicit", implicit)
            .finish_non_exhaustive()
    }
}

impl Daemon {
    /// Starts a daemon. Returns when it accepts connections.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Config::validate`], and why a part of the daemon cannot be started.
    pub fn start(config: Config) -> Result<Self, DaemonError> {
        Self::start_with(config, Setup::default())
    }

    /// Starts a daemon as [`start`](Self::start) does; `setup` adds what the program decides.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`start`](Self::start).
    pub fn start_with(config: Config, mut setup: Setup) -> Result<Self, DaemonError> {
        config.validate()?;
        let log = match setup.log.take() {
            Some(log) => Some(log),
            None => DaemonLog::of(&config)?.map(Arc::new),
        };
        let settings = &config.settings;
        let mut service = Service::connect(settings.environment);
        // Done while the process may still be root.
        let control = ControlSocket::bind(settings)?;
        let endpoint = MetricsEndpoint::bind(settings)?;
        let running = Running::start(config, setup, log)?;
        let (sender, receiver) = mpsc::channel();
        let events = sender.clone();
        let send = move |call| events.send(DaemonEvent::Control(call)).is_ok();
        let control = control.map(|control| control.start(send)).transpose()?;
        let metrics = || Arc::clone(&running.parts.metrics);
        let endpoint = endpoint.map(|endpoint| endpoint.start(metrics())).transpose()?;
        service.ready(&running.server);
        let shutdown = running.server.shutdown_handle();
        let hooks = Arc::clone(&running.parts.lasting.hooks);
        let plaintext = running.server.local_addrs().collect();
        let implicit = running.server.implicit_addrs().collect();
        let events = sender.clone();
        let work = move || {
            let mut running = running;
            work(&mut running, &mut service, EventQueue::new(receiver), &sender);
            drop((control, endpoint));
            service.stopping();
            running.shut_down();
        };
        let thread = start_thread("daemon", work);
        let thread = thread.map_err(|error| DaemonError::no_thread("the daemon", &error))?;
        let thread = Lock::new(Some(thread));
        Ok(Self { events, thread, shutdown, hooks, plaintext, implicit })
    }

    /// Returns the plaintext addresses.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.plaintext
    }

    /// Returns the addresses with implicit TLS.
    #[must_use]
    pub fn implicit_addrs(&self) -> &[SocketAddr] {
        &self.implicit
    }

    /// Applies a configuration to new sessions, or rejects it as a whole. Some settings need a
    /// restart, as `dist/server.toml` says. Returns the changes in the words of the log.
    ///
    /// # Errors
    ///
    /// Returns the reason if the configuration is invalid or cannot be used, or `Internal` if the
    /// daemon is stopping. Nothing has changed then. Also returns `Local` if a file or directory does
    /// not answer within 20 s; the configuration takes effect when it does.
    pub fn apply(&self, config: Config) -> Result<String, DaemonError> {
        let (sender, outcome) = mpsc::channel();
        let sent = self.events.send(DaemonEvent::Apply(Box::new(config), sender));
        sent.ok().and_then(|()| outcome.recv().ok()).unwrap_or_else(|| Err(stopping()))
    }

    /// Requests a reload: the logs are reopened, and the configuration file and the certificates
    /// are read again. Returns at once; the log has the outcome.
    pub fn reload(&self) {
        // A daemon that is stopping reloads nothing.
        let _ = self.events.send(DaemonEvent::Reload);
    }

    /// Requests a stop: the listeners close, and transfers have the time of
    /// `timeouts.shutdown_grace` to finish. Returns at once.
    pub fn stop(&self) {
        // Nothing receives the event if the daemon is already stopping.
        let _ = self.events.send(DaemonEvent::Stop);
    }

    /// Ends the time that a stop gives to transfers and hooks. Each session logs the end of its
    /// transfer, and keeps the partial file if the settings allow that.
    pub fn cut_short(&self) {
        self.shutdown.cut_short();
        self.hooks.cut();
    }

    /// Waits until the daemon has stopped: after [`stop`](Self::stop), or at the end of the last
    /// session after [`drain`](Self::drain).
    ///
    /// # Errors
    ///
    /// Returns `Internal` if the daemon's thread has panicked.
    pub fn join(&self) -> Result<(), DaemonError> {
        let thread = self.thread.lock().take();
        let panicked = |_| DaemonError::new(DaemonErrorKind::Internal, "the daemon has panicked");
        thread.map_or(Ok(()), |thread| thread.join().map_err(panicked))
    }

    /// Returns the sessions; none once the daemon is stopping.
    #[must_use]
    pub fn who(&self) -> Vec<SessionInfo> {
        self.call(|running| running.server.sessions()).unwrap_or_default()
    }

    /// Returns the state of the daemon, or `None` if it is stopping.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        self.call(|running| running.status())
    }

    /// Ends sessions now. Returns their number.
    pub fn kick(&self, sessions: SessionTarget) -> usize {
        self.call(move |running| running.kick(&sessions)).unwrap_or_default()
    }

    /// Lifts the ban on a host, or all bans. Returns their number.
    pub fn unban(&self, host: Option<IpAddr>) -> usize {
        self.call(move |running| running.unban(host)).unwrap_or_default()
    }

    /// Accepts no more connections, and stops the daemon after the last session. Returns the number
    /// of open sessions, or `None` if the daemon is already draining or stopping.
    pub fn drain(&self) -> Option<usize> {
        self.call(Running::drain).flatten()
    }

    /// Calls `act` in the daemon's thread, and returns its result; `None` if the daemon is stopping.
    fn call<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Running) -> T + Send + 'static,
    ) -> Option<T> {
        let (sender, receiver) = mpsc::channel();
        // A caller that has gone needs no result.
        let act = move |running: &mut Running| drop(sender.send(act(running)));
        self.events.send(DaemonEvent::Act(Box::new(act))).ok()?;
        receiver.recv().ok()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop();
        self.cut_short();
        // A panic is in the output of the process already.
        let _ = self.join();
    }
}

fn stopping() -> DaemonError {
    DaemonError::new(DaemonErrorKind::Internal, "the daemon is stopping")
}

/// Handles events until [`DaemonEvent::Stop`]. Later requests are refused.
fn work(
    running: &mut Running,
    service: &mut Service,
    mut queue: EventQueue,
    sender: &Sender<DaemonEvent>,
) {
    let mut reloads = Reloads::default();
    loop {
        let can_start = match queue.next(service, running, &reloads) {
            DaemonEvent::Stop => return,
            DaemonEvent::Reload => reloads.add(None, Waiter::Signal),
            DaemonEvent::Apply(config, caller) => {
                reloads.add(Some(config), Waiter::Program(caller))
            }
            DaemonEvent::ReloadLate => {
                reloads.tell_delay();
                service.ready(&running.server);
                false
            }
            DaemonEvent::Prepared(prepared) => {
                // The log has the outcome too.
                reloads.end(&running.finish(*prepared));
                service.ready(&running.server);
                true
            }
            DaemonEvent::CertificatesDue => {
                let sender = sender.clone();
                // A server that is stopping no longer needs new certificates.
                let deliver =
                    move |renewed| drop(sender.send(DaemonEvent::Certificates(Box::new(renewed))));
                running.attend_certificates(deliver);
                false
            }
            DaemonEvent::Certificates(renewed) => {
                running.take_certificates(*renewed);
                false
            }
            DaemonEvent::Act(act) => {
                act(running);
                false
            }
            DaemonEvent::Control(call) => match (call.request.answer(running), &call.request) {
                (Some(answer), _) => {
                    call.answer(answer);
                    false
                }
                (None, ControlRequest::Users(style)) => {
                    let list = running.users(*style);
                    call.answer_by(list);
                    false
                }
                (None, _) => reloads.add(None, Waiter::Control(call)),
            },
        };
        if can_start {
            start_next(running, service, &mut reloads, sender);
        }
    }
}

fn start_next(
    running: &mut Running,
    service: &mut Service,
    reloads: &mut Reloads,
    sender: &Sender<DaemonEvent>,
) {
    let Some((config, waiters)) = reloads.take() else { return };
    service.reloading();
    let reload = running.reload(config);
    reloads.begin(Arc::clone(&reload.stage), waiters);
    let sender = sender.clone();
    let prepare = move || {
        // A server that is stopping no longer needs the parts.
        drop(sender.send(DaemonEvent::Prepared(Box::new(reload.prepare()))));
    };
    if let Err(error) = start_thread("reload", prepare) {
        let failure = DaemonError::no_thread("a reload", &error);
        log::error!(target: LOG, "{}", failure.message);
        reloads.end(&Err(failure));
        service.ready(&running.server);
    }
}

pub(super) enum DaemonEvent {
    /// A request to stop, or the end of the last session of a draining server.
    Stop,
    Reload,
    /// A request of the program to apply a configuration, and where the outcome goes.
    Apply(Box<Config>, Sender<Result<String, DaemonError>>),
    /// Those who wait for a reload are to be told what it waits for.
    ReloadLate,
    /// A reload has prepared new parts, or failed.
    Prepared(Box<Prepared>),
    /// It is time to check the certificate files, or to report certificates that expire soon.
    CertificatesDue,
    Certificates(Box<Renewed>),
    Control(ControlCall),
    /// A request of the program.
    Act(Box<dyn FnOnce(&mut Running) + Send>),
}

/// The events that are not handled yet, the oldest first.
struct EventQueue {
    receiver: Receiver<DaemonEvent>,
    waiting: VecDeque<DaemonEvent>,
}

impl EventQueue {
    const fn new(receiver: Receiver<DaemonEvent>) -> Self {
        Self { receiver, waiting: VecDeque::new() }
    }

    /// Waits for the next event. A stop comes first, and several reloads count as one. Notifies the
    /// watchdog of the service manager while it waits.
    fn next(
        &mut self,
        service: &mut Service,
        running: &mut Running,
        reloads: &Reloads,
    ) -> DaemonEvent {
        loop {
            // Many requests in a row must not delay the watchdog.
            if service.pause().is_some_and(|pause| pause.is_zero()) {
                service.beat(&running.server);
            }
            self.waiting.extend(self.receiver.try_iter());
            if let Some(event) = self.take() {
                return event;
            }
            let certificates = running.certificate_pause();
            if certificates.is_some_and(|pause| pause.is_zero()) {
                return DaemonEvent::CertificatesDue;
            }
            let late = reloads.pause();
            if late.is_some_and(|pause| pause.is_zero()) {
                return DaemonEvent::ReloadLate;
            }
            let check = match running.has_drained() {
                Some(true) => return DaemonEvent::Stop,
                Some(false) => Some(DRAIN_CHECK),
                None => None,
            };
            let hooks = running.parts.lasting.hooks.attend();
            let pauses = [service.pause(), check, certificates, late, hooks];
            let received = match pauses.into_iter().flatten().min() {
                Some(pause) => self.receiver.recv_timeout(pause),
                None => self.receiver.recv().map_err(RecvTimeoutError::from),
            };
            match received {
                Ok(event) => self.waiting.push_back(event),
                Err(RecvTimeoutError::Timeout) => {}
                // All threads that send events are gone: stop as for a signal.
                Err(RecvTimeoutError::Disconnected) => return DaemonEvent::Stop,
            }
        }
    }

    fn take(&mut self) -> Option<DaemonEvent> {
        if self.waiting.iter().any(|event| matches!(event, DaemonEvent::Stop)) {
            return Some(DaemonEvent::Stop);
        }
        let event = self.waiting.pop_front()?;
        if matches!(event, DaemonEvent::Reload) {
            self.waiting.retain(|event| !matches!(event, DaemonEvent::Reload));
        }
        Some(event)
    }
}

pub(super) type OnceListening = Box<dyn FnOnce(Vec<SocketAddr>, Vec<SocketAddr>)>;

/// What a program decides about the start of a [`Daemon`](super::Daemon).
#[derive(Default)]
pub struct Setup {
    pub(super) sockets: Sockets,
    pub(super) once_bound: Option<OnceBound>,
    pub(super) once_listening: Option<OnceListening>,
    pub(super) log: Option<Arc<DaemonLog>>,
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sockets, log, .. } = self;
        f.debug_struct("Setup").field("sockets", sockets).field("log", log).finish_non_exhaustive()
    }
}

impl Setup {
    /// Returns a setup that decides nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Accepts connections on these listening sockets too, such as those of a service manager: the
    /// second ones have implicit TLS. [`Config::sockets`](super::Config::sockets) must announce
    /// them.
    #[must_use]
    pub fn sockets(self, plaintext: Vec<TcpListener>, implicit: Vec<TcpListener>) -> Self {
        Self { sockets: Sockets { plaintext, implicit }, ..self }
    }

    /// Calls `act` when all addresses are bound and no user's directory has been opened yet. This is
    /// the place to switch to the user of [`Config::run_as`](super::Config::run_as). If `act`
    /// fails, the daemon does not start.
    #[must_use]
    pub fn once_bound(self, act: impl FnOnce() -> io::Result<()> + Send + 'static) -> Self {
        Self { once_bound: Some(Box::new(act)), ..self }
    }

    /// Calls `act` when the server listens and has announced that, with its plaintext addresses and
    /// those with implicit TLS.
    #[must_use]
    pub fn once_listening(
        self,
        act: impl FnOnce(Vec<SocketAddr>, Vec<SocketAddr>) + 'static,
    ) -> Self {
        Self { once_listening: Some(Box::new(act)), ..self }
    }

    /// Uses this log. By default, the daemon opens the target of `log.target` itself, and prints
    /// nothing if that is `stderr`.
    #[must_use]
    pub fn log(self, log: impl Into<Arc<DaemonLog>>) -> Self {
        Self { log: Some(log.into()), ..self }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use ftp_tests::lying_disk::LyingDisk;
    use ftp_tests::raw::RawSession;
    use ftp_tests::root::TempRoot;
    use ftp_tests::wait::wait_until;

    use super::*;
    use crate::Rights;
    use crate::log::messages;

    #[test]
    fn a_program_sees_and_ends_the_sessions_of_its_daemon() {
        let (root, logs) = (TempRoot::new(), TempRoot::new());
        let log = logs.join("log");
        let mut config = Config::new();
        config.share(root.path(), Rights::FULL);
        config.add_user("u", "p");
        let target = format!("file:{}", log.display());
        for (key, value) in [("listen.addresses", "127.0.0.1:0"), ("log.target", &target)] {
            config.set(key, value).unwrap();
        }
        let daemon = Daemon::start(config.clone()).unwrap();
        let address = daemon.local_addrs()[0];
        let mut session = RawSession::login(address, "u", "p");
        let mut other = RawSession::login(address, "u", "p");
        let [first, _] = &daemon.who()[..] else { panic!("{:?}", daemon.who()) };
        assert_eq!(first.user.as_deref(), Some(&b"u"[..]));
        assert_eq!(daemon.kick(SessionTarget::Number(first.number)), 1);
        session.expect_reply(421);
        session.expect_closed();
        assert_eq!(daemon.unban(None), 0);

        config.set("server.banner", "Changed").unwrap();
        let outcome = daemon.apply(config.clone()).unwrap();
        assert_eq!(outcome, "configuration reloaded; changed: server.banner");
        assert_eq!(RawSession::greeting(address).unwrap().text(), "220 Changed");
        config.set("anonymous.enabled", "true").unwrap();
        let wrong = daemon.apply(config).unwrap_err();
        assert_eq!(wrong.to_string(), "settings: 1 error; configuration unchanged");
        assert_eq!(wrong.lines(), ["set: anonymous.enabled: needs anonymous.root"]);

        wait_until("one session is left", || daemon.who().len() == 1);
        assert_eq!(daemon.drain(), Some(1));
        assert!(daemon.status().unwrap().is_draining && daemon.drain().is_none());
        other.expect("QUIT", 221);
        daemon.join().unwrap();
        assert!(daemon.status().is_none() && daemon.who().is_empty());
        let lines = std::fs::read_to_string(&log).unwrap();
        assert!(lines.contains("login session=") && lines.contains("stopped; "), "{lines}");
    }

    /// As a network mount whose server is away does, at a start, a reload, a stop.
    #[test]
    fn a_disk_that_does_not_answer_holds_up_only_its_own_users() {
        let (root, silent) = (TempRoot::new(), TempRoot::new());
        root.write("f", b"content");
        let Some(disk) = LyingDisk::mount(silent.path(), [("d/f", "x")]) else { return };
        let mut config = Config::new();
        config.share(root.path(), Rights::FULL);
        config.add_user("u", "p");
        let hash = "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5";
        for number in 0..6 {
            let user = format!("users.s{number}");
            let place = silent.join("d").display().to_string();
            config.set(&format!("{user}.password"), hash).unwrap();
            config.set(&format!("{user}.root"), &place).unwrap();
            config.set(&format!("{user}.quota"), &format!("{} MiB", number + 1)).unwrap();
        }
        config.set("listen.addresses", "127.0.0.1:0").unwrap();
        // The disk answers nothing as long as the test holds what it says.
        let held = disk.lies();
        let mut daemon = None;
        let said = messages::of(log::Level::Warn, || {
            daemon = Some(Daemon::start(config.clone()).unwrap());
        });
        assert!(said.iter().any(|line| line.contains("does not answer")), "{said:?}");
        let daemon = daemon.unwrap();
        let address = daemon.local_addrs()[0];
        let mut session = RawSession::login(address, "u", "p");
        config.set("server.banner", "Changed").unwrap();
        thread::scope(|scope| {
            let reload = scope.spawn(|| daemon.apply(config.clone()));
            while !reload.is_finished() {
                // Each question is one that the daemon's thread answers.
                assert!(daemon.status().is_some_and(|status| status.sessions.len() == 1));
                session.expect("SIZE f", 213);
            }
            let changes = reload.join().unwrap().unwrap();
            assert_eq!(changes, "configuration reloaded; changed: server.banner");
        });
        session.expect("QUIT", 221);
        daemon.stop();
        daemon.join().unwrap();
        drop(held);
    }

    #[test]
    fn a_root_on_a_disk_that_is_not_mounted_refuses_logins_until_it_is() {
        let (root, other) = (TempRoot::new(), TempRoot::new());
        let hash = "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5";
        let directory = root.join("disk/data");
        let mut config = Config::new();
        for (key, value) in [
            ("listen.addresses", "127.0.0.1:0"),
            ("users.u.password", hash),
            ("users.u.root", &directory.display().to_string()),
            ("users.v.password", hash),
            ("users.v.root", &other.path().display().to_string()),
        ] {
            config.set(key, value).unwrap();
        }
        let daemon = Daemon::start(config).unwrap();
        let login = || RawSession::try_login(daemon.local_addrs()[0], "u", "Hello world!");
        assert!(login().is_none());
        std::fs::create_dir_all(&directory).unwrap();
        assert!(login().is_some());
    }

    /// `replace` is the only function that puts a configuration to use.
    #[test]
    fn a_start_and_each_reload_apply_a_configuration_in_the_same_way_hf_15() {
        let root = TempRoot::new();
        let mut config = Config::new();
        config.share(root.path(), Rights::FULL);
        config.add_user("u", "p");
        config.set("listen.addresses", "127.0.0.1:0").unwrap();
        let said = messages::of(log::Level::Debug, || {
            let running = Running::start(config.clone(), Setup::default(), None);
            let mut running = running.unwrap();
            let mut apply = |config| {
                let prepared = running.reload(Some(Box::new(config))).prepare();
                running.finish(prepared)
            };
            for banner in ["one", "two"] {
                config.set("server.banner", banner).unwrap();
                apply(config.clone()).unwrap();
            }
            config.set("anonymous.enabled", "true").unwrap();
            apply(config).unwrap_err();
            running.shut_down();
        });
        let applied: Vec<_> =
            said.iter().filter_map(|line| line.strip_prefix("configuration applied to ")).collect();
        assert_eq!(applied, ["the new server", "the running server", "the running server"]);
    }

    #[test]
    fn a_stop_comes_before_reloads_and_repeated_reloads_are_merged() {
        let mut queue = EventQueue::new(mpsc::channel().1);
        let taken =
            |queue: &mut EventQueue| queue.take().map(|event| matches!(event, DaemonEvent::Stop));
        queue.waiting.extend([DaemonEvent::Reload, DaemonEvent::Reload]);
        assert_eq!(taken(&mut queue), Some(false));
        assert_eq!(taken(&mut queue), None);
        queue.waiting.extend([DaemonEvent::Reload, DaemonEvent::Stop]);
        assert_eq!(taken(&mut queue), Some(true));
    }
}
