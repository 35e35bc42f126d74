//! What a server is made of, until it listens.

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::auth::{Authenticator, Login, Rights, UserTable};
use crate::config::ServerConfig;
use crate::context::{Context, Hooks};
use crate::error::Error;
use crate::log::Observer;
use crate::net::admission::{self, Admission};
use crate::net::socket;
use crate::server::{Endpoint, Server};
use crate::service::Greeting;
use crate::site_commands::SiteCommands;
use crate::storage::{ConfinementPolicy, LocalConfig, LocalStorage, Storage};
use crate::testing::{Faults, Recorder, Script};
use crate::tls::{Acceptor, Tls};

/// Says what a server serves, to whom, and where it listens.
#[must_use = "a builder does nothing before bind"]
#[derive(Default)]
pub struct ServerBuilder {
    /// Boxed, because every call of the builder moves it.
    parts: Box<Parts>,
}

/// What a server is made of.
#[derive(Default)]
struct Parts {
    config: ServerConfig,
    users: Vec<User>,
    anonymous: Option<Rights>,
    root: Option<PathBuf>,
    local: LocalConfig,
    storage: Option<Arc<dyn Storage>>,
    authenticator: Option<Arc<dyn Authenticator>>,
    once_bound: Option<OnceBound>,
    hooks: Hooks,
    tls: Option<Tls>,
    /// Where TLS comes before the greeting.
    implicit: Vec<SocketAddr>,
    /// Sockets of the embedder, which listen already.
    given: Vec<Endpoint>,
}

struct User {
    name: Vec<u8>,
    password: Vec<u8>,
    rights: Rights,
}

/// What is to be done between binding and serving.
type OnceBound = Box<dyn FnOnce() -> io::Result<()> + Send>;

impl Server {
    /// A server with default settings, no users and nothing to serve yet.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
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
        self.parts.users.push(User { name: name.into(), password: password.into(), rights });
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
    pub fn listener(mut self, socket: TcpListener) -> Self {
        self.parts.given.push(Endpoint { socket, greeting: Greeting::Clear });
        self
    }

    /// As [`listener`](Self::listener), with TLS from the first byte as at an address of
    /// [`implicit_tls`](Self::implicit_tls).
    pub fn implicit_tls_listener(mut self, socket: TcpListener) -> Self {
        self.parts.given.push(Endpoint { socket, greeting: Greeting::Tls });
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
        self.parts.hooks.site = Some(Arc::new(commands));
        self
    }

    /// Tells this observer what happens. There may be several; each event goes to all of them in the
    /// order in which they were given.
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.parts.hooks.observers.add(Arc::new(observer));
        self
    }

    /// Keeps commands and events in this recorder, for a test.
    pub fn recorder(mut self, recorder: &Recorder) -> Self {
        self.script().recorders.push(recorder.clone());
        self.observer(recorder.clone())
    }

    /// Lets chosen commands go wrong, for a test. It replaces the faults that were given before.
    pub fn faults(mut self, faults: Faults) -> Self {
        self.script().faults = faults;
        self
    }

    fn script(&mut self) -> &mut Script {
        let script = self.parts.hooks.script.get_or_insert_default();
        Arc::get_mut(script).expect("no server has it before the builder is done")
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
    fn start(mut self: Box<Self>, plaintext: Vec<TcpListener>) -> Result<Server, Error> {
        let endpoints = self.endpoints(plaintext)?;
        if endpoints.is_empty() {
            return Err(Error::Address(io::ErrorKind::InvalidInput.into()));
        }
        if let Some(act) = self.once_bound.take() {
            act().map_err(Error::OnceBound)?;
        }
        let admission = admission(&self.config);
        // Threads for handshakes are no session's, and so never confined.
        let tls = self.tls.take().map(|tls| Acceptor::new(tls, None)).transpose();
        let tls = tls.map_err(Error::Tls)?.map(Arc::new);
        let authenticator = match self.authenticator.take() {
            Some(authenticator) => authenticator,
            None => self.users()?,
        };
        let Self { config, hooks, .. } = *self;
        let context = Context::hooked(config, authenticator, tls, admission, hooks);
        Server::start(&context, endpoints)
    }

    /// All sockets to accept on, listening.
    fn endpoints(&mut self, plaintext: Vec<TcpListener>) -> Result<Vec<Endpoint>, Error> {
        let is_tls = |given: &Endpoint| given.greeting == Greeting::Tls;
        let has_implicit = !self.implicit.is_empty() || self.given.iter().any(is_tls);
        if self.tls.is_none() && has_implicit {
            return Err(Error::NoCertificate);
        }
        let plaintext = plaintext.into_iter();
        let mut endpoints: Vec<_> =
            plaintext.map(|socket| Endpoint { socket, greeting: Greeting::Clear }).collect();
        for given in self.given.drain(..) {
            socket::adopt(&given.socket).map_err(Error::Address)?;
            endpoints.push(given);
        }
        for address in &self.implicit {
            endpoints.push(Endpoint { socket: listen(*address)?, greeting: Greeting::Tls });
        }
        Ok(endpoints)
    }

    /// The users that were named, on the storage or the root.
    fn users(&mut self) -> Result<Arc<dyn Authenticator>, Error> {
        let storage = match (self.storage.take(), self.root.take()) {
            (Some(storage), _) => storage,
            (None, Some(root)) => Arc::new(self.local_storage(&root)?),
            (None, None) => return Err(Error::NoStorage),
        };
        let login = |rights| Login::new(Arc::clone(&storage), rights);
        let mut table = UserTable::new();
        for user in self.users.drain(..) {
            table = table.user(user.name, user.password, login(user.rights));
        }
        if let Some(rights) = self.anonymous {
            table = table.anonymous(login(rights));
        }
        Ok(Arc::new(table))
    }

    fn local_storage(&self, root: &Path) -> Result<LocalStorage, Error> {
        let shown = root.display().to_string();
        let local = LocalStorage::open(root)
            .map_err(|source| Error::Root { root: shown.clone(), source })?
            .configured(self.local)
            .map_err(|source| Error::Confinement { root: shown.clone(), source })?;
        let walls = local.walls();
        let is_lacking = self.local.confine == ConfinementPolicy::BestEffort
            && !(walls.openat2 && walls.landlock.is_some());
        let level = if is_lacking { log::Level::Warn } else { log::Level::Info };
        log::log!(level, "sessions are kept beneath {shown} by {walls}");
        let all_rights = self.users.iter().map(|user| user.rights).chain(self.anonymous);
        // Where no user may upload, uploads leave nothing to sweep.
        if all_rights.into_iter().any(Rights::let_upload) {
            local.start_sweeper().map_err(Error::Thread)?;
        }
        Ok(local)
    }
}

/// Counts sessions up to the limit of the settings, or of the system if that is lower.
fn admission(config: &ServerConfig) -> Arc<Admission> {
    let (system_cap, system_reason) = admission::system_cap();
    let wanted = config.limits.sessions;
    let (cap, reason) = match wanted > 0 && wanted < system_cap {
        true => (wanted, "configuration"),
        false => (system_cap, system_reason),
    };
    log::info!(target: "ftp_server::admission", "at most {cap} sessions, by {reason}");
    Admission::new(cap, config.limits.per_address)
}

fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    socket::bind(address).map_err(|source| Error::Bind { address, source })
}

impl std::fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Parts { config, users, anonymous, root, local, tls, implicit, .. } = &*self.parts;
        let users: Vec<_> = users.iter().map(|user| ftp_proto::Escaped(&user.name)).collect();
        let mut shown = f.debug_struct("ServerBuilder");
        shown.field("config", config).field("users", &users).field("anonymous", anonymous);
        shown.field("root", root).field("local", local).field("tls", tls);
        shown.field("implicit", implicit).finish_non_exhaustive()
    }
}
