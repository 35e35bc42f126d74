//! A server's life: built, bound, accepting, shut down.

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::auth::{Authenticator, Login, Rights, UserTable};
use crate::config::ServerConfig;
use crate::context::{Context, Current};
use crate::error::Error;
use crate::limits;
use crate::log::{Observer, Observers};
use crate::net::admission::{self, Admission};
use crate::net::{listener, socket};
use crate::service::Greeting;
use crate::service::SessionInfo;
use crate::service::register::Register;
use crate::site_commands::SiteCommands;
use crate::storage::{ConfinementPolicy, LocalConfig, LocalStorage, Storage};
use crate::tls::Resumptions;
use crate::tls::{Acceptor, Tls};

/// How long sessions that were cut may take to say so before their connections are closed under
/// them, and then to notice.
const CUT: Duration = Duration::from_secs(2);

/// A running server. Dropping it is `shutdown(Duration::ZERO)`.
#[derive(Debug)]
pub struct Server {
    current: Arc<Current>,
    /// The address of the first listener.
    address: SocketAddr,
    listeners: Vec<Listening>,
    /// Hands sessions over to fresh threads.
    relay: Option<JoinHandle<()>>,
}

struct Listening {
    socket: Arc<TcpListener>,
    address: SocketAddr,
    greeting: Greeting,
    thread: Option<JoinHandle<()>>,
}

/// What a shutdown found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Sessions that ended by themselves: idle ones at once, others when their transfer was
    /// done.
    pub drained: usize,
    /// Sessions that were cut because the deadline had come, and then ended.
    pub cut: usize,
    /// Sessions that had not ended a few seconds after they were cut: their storage or
    /// authenticator does not return. Their threads end when it does.
    pub stuck: usize,
    /// The data connections under TLS of all sessions that there were.
    pub resumptions: Resumptions,
}

/// Ends the grace of a shutdown early, from another thread than the one that waits in
/// [`Server::shutdown`]. It does not keep the server running.
#[derive(Clone, Debug)]
pub struct Cutter {
    register: Arc<Register>,
}

/// Says what a server serves, to whom, and where it listens.
#[must_use = "a builder does nothing before bind"]
#[derive(Default)]
pub struct ServerBuilder {
    /// In memory of its own: it goes from hand to hand with each call.
    parts: Box<Parts>,
}

/// What a server is made of.
#[derive(Default)]
struct Parts {
    config: ServerConfig,
    users: Vec<(Vec<u8>, Vec<u8>, Rights)>,
    anonymous: Option<Rights>,
    root: Option<PathBuf>,
    local: LocalConfig,
    storage: Option<Arc<dyn Storage>>,
    authenticator: Option<Arc<dyn Authenticator>>,
    once_bound: Option<OnceBound>,
    observers: Observers,
    tls: Option<Tls>,
    /// Where TLS comes before the greeting.
    implicit: Vec<SocketAddr>,
    /// Sockets of the embedder, which listen already.
    given: Vec<(TcpListener, Greeting)>,
    site: Option<Arc<dyn SiteCommands>>,
}

/// What is to be done between binding and serving.
type OnceBound = Box<dyn FnOnce() -> io::Result<()> + Send>;

impl Server {
    /// A server with default settings, no users and nothing to serve yet.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }

    /// The first address it listens on, with the port the system chose where 0 was asked for.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// All addresses it listens on and greets in clear, in the order they were given.
    pub fn local_addrs(&self) -> impl Iterator<Item = SocketAddr> {
        self.addresses(Greeting::Clear)
    }

    /// All addresses of [`implicit_tls`](ServerBuilder::implicit_tls), in the order they were given.
    pub fn implicit_addrs(&self) -> impl Iterator<Item = SocketAddr> {
        self.addresses(Greeting::Tls)
    }

    fn addresses(&self, greeting: Greeting) -> impl Iterator<Item = SocketAddr> {
        let those = self.listeners.iter().filter(move |listening| listening.greeting == greeting);
        those.map(|listening| listening.address)
    }

    /// Who is connected now, and what each session does; the oldest first. It costs the sessions
    /// next to nothing.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionInfo> {
        self.current.get().register.who()
    }

    /// How many data connections were under TLS since the start, and how many of them resumed a
    /// session of their control connection. The end of the server is logged with it.
    #[must_use]
    pub fn resumptions(&self) -> Resumptions {
        self.current.get().register.resumed.get()
    }

    /// Ends the session of this number as a shutdown does whose deadline has come: a transfer is cut
    /// with 426, then there is a 421. False if there is no such session any more.
    ///
    /// Returns at once. The session ends as soon as its storage or authenticator lets it.
    #[expect(clippy::must_use_candidate, reason = "who is gone already is as good as ended")]
    pub fn kick(&self, number: u64) -> bool {
        self.current.get().register.kick(number)
    }

    /// Gives new settings and users to the sessions that begin from now on, by a connection or anew by
    /// `REIN`; those that run keep theirs. Which line ends a connection takes
    /// ([`strict_crlf`](ServerConfig::strict_crlf)) stays as it was when it was made. Only [`sessions`](crate::Limits::sessions) stays as it was at the start, and
    /// [`rate_per_user`](crate::Limits::rate_per_user) for a user until none of the user's sessions
    /// is left. Where what is said of bans changes, those that there are end. A host name that is
    /// to be announced is looked up first, for a few seconds at most.
    ///
    /// ```
    /// use ftp_server::{Rights, Server, UserTable};
    ///
    /// let root = tempfile::tempdir()?;
    /// let server =
    ///     Server::builder().root(root.path()).user("u", "p", Rights::READ).bind("127.0.0.1:0")?;
    /// let config = server.config().with(|config| config.banner = "Closed for today".to_owned());
    /// server.reconfigure(config, UserTable::new())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Thread`] if there is none to look names up in; nothing has changed then.
    pub fn reconfigure(
        &self,
        config: ServerConfig,
        authenticator: impl Authenticator + 'static,
    ) -> Result<(), Error> {
        let former = self.current.get();
        let tls = former.tls.clone();
        self.change(&former, &former.with(config, Arc::new(authenticator), tls))
    }

    /// The same and [`set_tls`](Self::set_tls) in one step: no connection gets settings of before
    /// with a certificate of now, or the other way about.
    ///
    /// # Errors
    ///
    /// Those of both; nothing has changed then.
    pub fn reconfigure_with_tls(
        &self,
        config: ServerConfig,
        authenticator: impl Authenticator + 'static,
        tls: Option<Tls>,
    ) -> Result<(), Error> {
        let former = self.current.get();
        let acceptor = acceptor(tls, &former)?;
        self.change(&former, &former.with(config, Arc::new(authenticator), acceptor))
    }

    /// Protects the connections that come from now on by this, or does not any more; those that are
    /// there keep what they began with, for data connections too. To be called by one thread at a
    /// time, as [`reconfigure`](Self::reconfigure). Without TLS, implicit listeners close what
    /// connects to them.
    ///
    /// # Errors
    ///
    /// [`Error::Tls`] if there are no threads for handshakes; nothing has changed then.
    pub fn set_tls(&self, tls: Option<Tls>) -> Result<(), Error> {
        let former = self.current.get();
        let acceptor = acceptor(tls, &former)?;
        let (config, authenticator) = (former.config.clone(), Arc::clone(&former.authenticator));
        self.change(&former, &former.with(config, authenticator, acceptor))
    }

    fn change(&self, former: &Context, context: &Arc<Context>) -> Result<(), Error> {
        context.announcer.start().map_err(Error::Thread)?;
        if !Arc::ptr_eq(&context.passive_ports, &former.passive_ports) {
            self.warn_of_ports(context);
        }
        context.admission.set_per_host(context.config.limits.per_address);
        let ends_bans = !Arc::ptr_eq(&context.bans, &former.bans);
        self.current.set(Arc::clone(context));
        if ends_bans {
            former.watchdog.end_bans();
        }
        Ok(())
    }

    /// The settings of sessions that begin now.
    #[must_use]
    pub fn config(&self) -> ServerConfig {
        self.current.get().config.clone()
    }

    /// Says early that no passive data connection will come about.
    fn warn_of_ports(&self, context: &Context) {
        if context.config.passive.ports.is_some()
            && let Err(error) = context.passive_ports.listen(self.address, self.address.ip())
        {
            log::warn!("none of the passive ports can be had: {error}");
        }
    }

    /// What can end the grace of [`shutdown`](Self::shutdown) while that waits.
    #[must_use]
    pub fn cutter(&self) -> Cutter {
        Cutter { register: Arc::clone(&self.current.get().register) }
    }

    /// Stops. The listeners close first; idle sessions get 421 at once; transfers may finish
    /// until `deadline` has passed or a [`Cutter`] says so, and are cut then with 426 and 421.
    ///
    /// Returns when all sessions have ended, at the latest some seconds after the deadline.
    #[expect(clippy::must_use_candidate, reason = "few ask how it went")]
    pub fn shutdown(mut self, deadline: Duration) -> ShutdownReport {
        self.stop(deadline)
    }

    fn stop(&mut self, deadline: Duration) -> ShutdownReport {
        let start = Instant::now();
        let register = Arc::clone(&self.current.get().register);
        let before = register.start_draining();
        for listening in &mut self.listeners {
            // accept(2) ends with EINVAL; it fails only on a socket that does not listen.
            let _ = SockRef::from(&*listening.socket).shutdown(std::net::Shutdown::Both);
            if let Some(thread) = listening.thread.take()
                && thread.join().is_err()
            {
                log::error!("the accepting thread of {} had panicked", listening.address);
            }
        }
        // Those that were accepted in between are sessions like any other.
        let before = before.max(register.wake_idle());
        let stall = self.current.get().config.timeouts.stall.min(limits::DRAIN_STALL);
        let (left, stalled) = register.drain(deadline.saturating_sub(start.elapsed()), stall);
        let mut stuck = 0;
        if left > 0 {
            register.cut();
            stuck = register.wait(CUT);
        }
        if stuck > 0 {
            register.break_off();
            stuck = register.wait(CUT);
        }
        self.current.get().relay.stop();
        if let Some(relay) = self.relay.take()
            && relay.join().is_err()
        {
            log::error!("the thread that hands sessions over had panicked");
        }
        let resumptions = register.resumed.get();
        let cut = left + stalled - stuck;
        let drained = before.saturating_sub(cut + stuck);
        let report = ShutdownReport { drained, cut, stuck, resumptions };
        log::info!(
            "stopped: {} sessions drained, {} cut, {} stuck",
            report.drained,
            report.cut,
            report.stuck
        );
        let Resumptions { resumed, missed } = resumptions;
        if resumed + missed > 0 {
            log::info!("data under TLS: {resumed} connections resumed a session, {missed} did not");
        }
        report
    }
}

impl Cutter {
    /// Has the shutdown that goes on, or the next one, cut at once what does not end by itself, as if
    /// its deadline had come. Returns at once; the shutdown still takes its moment to let sessions
    /// keep or discard what they have received, and say so.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use ftp_server::{MemoryStorage, Rights, Server};
    ///
    /// let server = Server::builder()
    ///     .user("u", "p", Rights::FULL)
    ///     .storage(MemoryStorage::new())
    ///     .bind("127.0.0.1:0")?;
    /// let cutter = server.cutter();
    /// let stopping = std::thread::spawn(move || server.shutdown(Duration::from_secs(600)));
    /// cutter.cut();
    /// stopping.join().expect("no panic");
    /// # Ok::<(), ftp_server::Error>(())
    /// ```
    pub fn cut(&self) {
        self.register.hurry();
    }
}

/// What protects connections by `tls`. The threads for handshakes stay.
fn acceptor(tls: Option<Tls>, former: &Context) -> Result<Option<Arc<Acceptor>>, Error> {
    let acceptor = tls.map(|tls| Acceptor::new(tls, former.tls.as_deref())).transpose();
    Ok(acceptor.map_err(Error::Tls)?.map(Arc::new))
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.listeners.iter().any(|listening| listening.thread.is_some()) {
            self.stop(Duration::ZERO);
        }
    }
}

impl ServerBuilder {
    /// Replaces the settings.
    pub fn config(mut self, config: ServerConfig) -> Self {
        self.parts.config = config;
        self
    }

    /// Serves the files below this directory.
    pub fn root(mut self, root: impl AsRef<Path>) -> Self {
        self.parts.root = Some(root.as_ref().to_owned());
        self
    }

    /// Sets how the files below [`root`](Self::root) are kept.
    pub fn local_config(mut self, config: LocalConfig) -> Self {
        self.parts.local = config;
        self
    }

    /// Serves this storage.
    pub fn storage(mut self, storage: impl Storage + 'static) -> Self {
        self.parts.storage = Some(Arc::new(storage));
        self
    }

    /// Lets a user in, with a plain password.
    pub fn user(
        mut self,
        name: impl Into<Vec<u8>>,
        password: impl Into<Vec<u8>>,
        rights: Rights,
    ) -> Self {
        self.parts.users.push((name.into(), password.into(), rights));
        self
    }

    /// Lets `anonymous` and `ftp` in with any password (RFC 1635).
    pub fn anonymous(mut self, rights: Rights) -> Self {
        self.parts.anonymous = Some(rights);
        self
    }

    /// Leaves it to this authenticator who may log in and what each works on; users, root and
    /// storage named here are then not looked at.
    pub fn authenticator(mut self, authenticator: impl Authenticator + 'static) -> Self {
        self.parts.authenticator = Some(Arc::new(authenticator));
        self
    }

    /// Does `act` when all addresses are bound, and before the root directory is opened and the
    /// first thread starts: the moment to give up the privileges that ports below 1024 need.
    pub fn once_bound(mut self, act: impl FnOnce() -> io::Result<()> + Send + 'static) -> Self {
        self.parts.once_bound = Some(Box::new(act));
        self
    }

    /// Protects connections by TLS, as it says. Without it `AUTH` is not served.
    pub fn tls(mut self, tls: Tls) -> Self {
        self.parts.tls = Some(tls);
        self
    }

    /// Listens on this address as well, with TLS from the first byte on: clients are greeted inside,
    /// and their data is protected without their asking. By custom that is port 990.
    pub fn implicit_tls(mut self, address: SocketAddr) -> Self {
        self.parts.implicit.push(address);
        self
    }

    /// Accepts connections on this socket, which is bound and listens already: one that a service
    /// manager passed, or that the embedder has set up. There may be several, beside the addresses
    /// of [`bind`](Self::bind) or alone with [`start`](Self::start).
    pub fn listener(mut self, listener: TcpListener) -> Self {
        self.parts.given.push((listener, Greeting::Clear));
        self
    }

    /// As [`listener`](Self::listener), with TLS from the first byte as at an address of
    /// [`implicit_tls`](Self::implicit_tls).
    pub fn implicit_tls_listener(mut self, listener: TcpListener) -> Self {
        self.parts.given.push((listener, Greeting::Tls));
        self
    }

    /// Serves the `SITE` commands that the server does not know itself.
    ///
    /// ```
    /// use ftp_server::{MemoryStorage, Reply, ReplyCode, Rights, Server, SiteRequest};
    ///
    /// let server = Server::builder()
    ///     .storage(MemoryStorage::new())
    ///     .user("u", "p", Rights::FULL)
    ///     .site(|request: &SiteRequest<'_>| {
    ///         (request.word == b"PING").then(|| Reply::new(ReplyCode::OKAY, "Pong"))
    ///     })
    ///     .bind("127.0.0.1:0")?;
    /// # drop(server);
    /// # Ok::<(), ftp_server::Error>(())
    /// ```
    pub fn site(mut self, commands: impl SiteCommands + 'static) -> Self {
        self.parts.site = Some(Arc::new(commands));
        self
    }

    /// Tells this observer what happens. There may be several; each event goes to all of them in the
    /// order in which they were given.
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.parts.observers.add(Arc::new(observer));
        self
    }

    /// Listens on `addresses`, the first of them that can be had as [`TcpListener::bind`] does,
    /// and starts accepting: once this returns, clients can connect.
    ///
    /// # Errors
    ///
    /// [`Error`] says what could not be had; nothing listens then.
    pub fn bind(self, addresses: impl ToSocketAddrs) -> Result<Server, Error> {
        let addresses: Vec<_> = addresses.to_socket_addrs().map_err(Error::Address)?.collect();
        let mut result = Err(Error::Address(io::ErrorKind::InvalidInput.into()));
        for address in addresses {
            result = listen(address);
            if result.is_ok() {
                break;
            }
        }
        self.parts.start(vec![result?])
    }

    /// Starts accepting on the sockets of [`listener`](Self::listener) and
    /// [`implicit_tls`](Self::implicit_tls) alone.
    ///
    /// ```
    /// use std::net::TcpListener;
    ///
    /// use ftp_server::{MemoryStorage, Rights, Server};
    ///
    /// let server = Server::builder()
    ///     .storage(MemoryStorage::new())
    ///     .user("u", "p", Rights::FULL)
    ///     .listener(TcpListener::bind("127.0.0.1:0")?)
    ///     .start()?;
    /// assert_eq!(server.local_addrs().count(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error`] says what was missing; nothing listens then.
    pub fn start(self) -> Result<Server, Error> {
        self.parts.start(Vec::new())
    }

    /// Listens on every one of `addresses`, of which there may be none where there is one of
    /// [`implicit_tls`](Self::implicit_tls) or [`listener`](Self::listener).
    ///
    /// # Errors
    ///
    /// [`Error`] says what could not be had; nothing listens then.
    pub fn bind_all(self, addresses: &[SocketAddr]) -> Result<Server, Error> {
        let listeners: Result<Vec<_>, _> =
            addresses.iter().map(|address| listen(*address)).collect();
        self.parts.start(listeners?)
    }
}

impl Parts {
    fn start(mut self: Box<Self>, clear: Vec<TcpListener>) -> Result<Server, Error> {
        let has_implicit = self.given.iter().any(|(_, greeting)| *greeting == Greeting::Tls);
        if self.tls.is_none() && (has_implicit || !self.implicit.is_empty()) {
            return Err(Error::NoCertificate);
        }
        let mut listeners = Vec::new();
        for socket in clear {
            listeners.push((socket, Greeting::Clear));
        }
        for (listener, greeting) in self.given.drain(..) {
            socket::adopt(&listener).map_err(Error::Address)?;
            listeners.push((listener, greeting));
        }
        for address in &self.implicit {
            listeners.push((listen(*address)?, Greeting::Tls));
        }
        let Some((first, _)) = listeners.first() else {
            return Err(Error::Address(io::ErrorKind::InvalidInput.into()));
        };
        if let Some(act) = self.once_bound.take() {
            act().map_err(Error::OnceBound)?;
        }
        let address = first.local_addr().map_err(Error::Address)?;
        let (cap, reason) = admission::system_cap();
        let (cap, reason) = match self.config.limits.sessions {
            wanted if wanted > 0 && wanted < cap => (wanted, "configuration"),
            _ => (cap, reason),
        };
        log::info!(target: "ftp_server::admission", "at most {cap} sessions, by {reason}");
        let admission = Admission::new(cap, self.config.limits.per_address);
        // Threads for handshakes are no session's, and so never confined.
        let tls = self.tls.take().map(|tls| Acceptor::new(tls, None)).transpose();
        let tls = tls.map_err(Error::Tls)?.map(Arc::new);
        let authenticator = self.take_authenticator()?;
        let Self { config, observers, site, .. } = *self;
        let context = Context::observed(config, authenticator, tls, admission, observers, site);
        context.watchdog.start(context.observers.clone()).map_err(Error::Thread)?;
        context.announcer.start().map_err(Error::Thread)?;
        let relay = Some(context.relay.start().map_err(Error::Thread)?);
        let current = Current::new(Arc::clone(&context));
        let mut server = Server { current, address, listeners: Vec::new(), relay };
        server.warn_of_ports(&context);
        for (socket, greeting) in listeners {
            let address = socket.local_addr().map_err(Error::Address)?;
            let socket = Arc::new(socket);
            // A failure drops `server`, which stops the threads that have started.
            let current = Arc::clone(&server.current);
            let thread = listener::start(Arc::clone(&socket), greeting, current);
            let thread = Some(thread.map_err(Error::Thread)?);
            server.listeners.push(Listening { socket, address, greeting, thread });
            let how = if greeting == Greeting::Tls { ", with TLS from the start" } else { "" };
            log::info!("listening on {address}{how}");
        }
        Ok(server)
    }

    fn take_authenticator(&mut self) -> Result<Arc<dyn Authenticator>, Error> {
        if let Some(authenticator) = self.authenticator.take() {
            return Ok(authenticator);
        }
        let storage = match (self.storage.take(), self.root.take()) {
            (Some(storage), _) => storage,
            (None, Some(root)) => {
                let shown = root.display().to_string();
                let local = LocalStorage::open(&root)
                    .map_err(|source| Error::Root { root: shown.clone(), source })?
                    .configured(self.local)
                    .map_err(|source| Error::Confinement { root: shown.clone(), source })?;
                let walls = local.walls();
                let is_lacking = self.local.confine == ConfinementPolicy::BestEffort
                    && !(walls.openat2 && walls.landlock.is_some());
                let level = if is_lacking { log::Level::Warn } else { log::Level::Info };
                log::log!(level, "sessions are kept beneath {shown} by {walls}");
                let all = self.users.iter().map(|(_, _, rights)| rights).chain(&self.anonymous);
                // Where nobody uploads, nothing of uploads is to be looked for.
                let is_written = all.copied().any(Rights::let_upload);
                if is_written {
                    local.start_sweeper().map_err(Error::Thread)?;
                }
                Arc::new(local)
            }
            (None, None) => return Err(Error::NoStorage),
        };
        let login = |rights| Login::new(Arc::clone(&storage), rights);
        let mut table = UserTable::new();
        for (name, password, rights) in self.users.drain(..) {
            table = table.user(name, password, login(rights));
        }
        if let Some(rights) = self.anonymous {
            table = table.anonymous(login(rights));
        }
        Ok(Arc::new(table))
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    socket::bind(address).map_err(|source| Error::Bind { address, source })
}

impl std::fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Parts { config, users, anonymous, root, local, tls, implicit, .. } = &*self.parts;
        let users: Vec<_> = users.iter().map(|(name, ..)| ftp_proto::Escaped(name)).collect();
        let mut shown = f.debug_struct("ServerBuilder");
        shown.field("config", config).field("users", &users).field("anonymous", anonymous);
        shown.field("root", root).field("local", local).field("tls", tls);
        shown.field("implicit", implicit).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Listening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Listening({})", self.address)
    }
}

impl std::fmt::Debug for Current {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Current").field("config", &self.get().config).finish_non_exhaustive()
    }
}
