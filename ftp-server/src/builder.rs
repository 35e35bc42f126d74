//! The builder of a server.

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ftp_proto::{Reply, Verb};

use crate::auth::{Authenticator, Login, Rights, UserTable};
use crate::budget;
use crate::config::ServerConfig;
use crate::context::{Context, EmbedderHooks, SiteRequest};
use crate::ledger::SharedState;
use crate::log::Observer;
use crate::net::admission::Admission;
use crate::net::{random, socket};
use crate::server::{Endpoint, Error, Server};
use crate::service::Greeting;
use crate::storage::{ConfinementPolicy, LocalConfig, LocalStorage, Storage};
use crate::testing::{ProtocolFault, Recorder, Script};
use crate::tls::{Acceptor, Tls};

/// Builder that collects the settings, users and addresses of a [`Server`].
#[must_use = "a builder does nothing before bind"]
#[derive(Default)]
pub struct ServerBuilder {
    /// Boxed, because every builder method moves it.
    parts: Box<ServerParts>,
}

#[derive(Default)]
struct ServerParts {
    config: ServerConfig,
    users: Vec<BuilderUser>,
    anonymous: Option<Rights>,
    root: Option<PathBuf>,
    local: LocalConfig,
    storage: Option<Arc<dyn Storage>>,
    authenticator: Option<Arc<dyn Authenticator>>,
    once_bound: Option<OnceBound>,
    hooks: EmbedderHooks,
    tls: Option<Tls>,
    implicit: Vec<SocketAddr>,
    /// Whether addresses that the computer does not have yet are allowed.
    freebind: bool,
    /// Listening sockets that the embedder has passed.
    given: Vec<Endpoint>,
}

struct BuilderUser {
    name: Vec<u8>,
    password: Vec<u8>,
    rights: Rights,
}

/// An action between binding and serving.
pub(crate) type OnceBound = Box<dyn FnOnce() -> io::Result<()> + Send>;

impl Server {
    /// Returns a builder with default settings and without users, files or addresses.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }
}

impl ServerBuilder {
    /// Sets the server's settings.
    pub fn config(mut self, config: ServerConfig) -> Self {
        self.parts.config = config;
        self
    }

    /// Serves the files below this directory. Has no effect if [`storage`](Self::storage) or
    /// [`authenticator`](Self::authenticator) is set.
    pub fn root(mut self, root: impl AsRef<Path>) -> Self {
        self.parts.root = Some(root.as_ref().to_owned());
        self
    }

    /// Sets the settings for the storage of files below [`root`](Self::root).
    pub fn local_config(mut self, config: LocalConfig) -> Self {
        self.parts.local = config;
        self
    }

    /// Serves the files of this storage, instead of those below [`root`](Self::root).
    pub fn storage(mut self, storage: impl Storage + 'static) -> Self {
        self.parts.storage = Some(Arc::new(storage));
        self
    }

    /// Adds a user with a plaintext password, or replaces the user of this name.
    pub fn user(
        mut self,
        name: impl Into<Vec<u8>>,
        password: impl Into<Vec<u8>>,
        rights: Rights,
    ) -> Self {
        self.parts.users.push(BuilderUser { name: name.into(), password: password.into(), rights });
        self
    }

    /// Adds the user `anonymous`, also called `ftp`, who logs in with any password (RFC 1635).
    pub fn anonymous(mut self, rights: Rights) -> Self {
        self.parts.anonymous = Some(rights);
        self
    }

    /// Sets the authenticator, which decides about logins and chooses each user's storage. It
    /// replaces the users, root and storage of this builder.
    pub fn authenticator(mut self, authenticator: impl Authenticator + 'static) -> Self {
        self.parts.authenticator = Some(Arc::new(authenticator));
        self
    }

    /// Runs `act` after all addresses are bound, and before the root directory is opened and the
    /// first thread starts. Use this action to drop the privileges that ports below 1024 need.
    pub fn once_bound(mut self, act: impl FnOnce() -> io::Result<()> + Send + 'static) -> Self {
        self.parts.once_bound = Some(Box::new(act));
        self
    }

    /// Enables TLS. Without TLS, the server rejects `AUTH` with 502.
    pub fn tls(mut self, tls: Tls) -> Self {
        self.parts.tls = Some(tls);
        self
    }

    /// Also listens on this address, with implicit TLS (usually on port 990). TLS starts with the
    /// first byte, and data connections are protected without `PROT`.
    pub fn implicit_tls(mut self, address: SocketAddr) -> Self {
        self.parts.implicit.push(address);
        self
    }

    /// Sets whether the server can listen on addresses that the computer does not have yet, such as
    /// one that the network assigns later (default: `false`). Clients can connect once the computer
    /// has the address.
    pub fn freebind(mut self, enabled: bool) -> Self {
        self.parts.freebind = enabled;
        self
    }

    /// Accepts connections on this socket, for example one from a service manager. The socket must
    /// be bound and listening. You can pass several sockets, either in addition to the addresses of
    /// [`bind`](Self::bind), or alone with [`start`](Self::start). If another process or a clone of
    /// this handle also holds the socket, the socket stays open when the server stops.
    pub fn listener(mut self, socket: TcpListener) -> Self {
        self.parts.given.push(Endpoint { socket, greeting: Greeting::Clear, is_shared: true });
        self
    }

    /// Accepts connections with implicit TLS on this socket. Combines [`listener`](Self::listener)
    /// and [`implicit_tls`](Self::implicit_tls).
    pub fn implicit_tls_listener(mut self, socket: TcpListener) -> Self {
        self.parts.given.push(Endpoint { socket, greeting: Greeting::Tls, is_shared: true });
        self
    }

    /// Sets the handler of `SITE` commands that the server does not know. It answers a command with
    /// one final reply: 2yz, 4yz or 5yz. For a 1yz or 3yz, the client gets 451 instead. `None` means
    /// that the word is unknown: the client gets 504.
    ///
    /// The session's thread calls the handler and waits for its answer. The thread may be confined
    /// to the user's files, and then the handler cannot open any others.
    ///
    /// The server handles the words `HELP` and `CHMOD` itself. It handles `QUOTA` itself if the
    /// user's storage has [`Capabilities::QUOTA`](crate::Capabilities::QUOTA), even if the user has
    /// no quota.
    ///
    /// ```
    /// use ftp_server::{MemoryStorage, Reply, ReplyCode, Rights, Server};
    ///
    /// let server = Server::builder()
    ///     .storage(MemoryStorage::new())
    ///     .user("u", "p", Rights::FULL)
    ///     .site(|request| {
    ///         (request.word == b"PING").then(|| Reply::new(ReplyCode::OKAY, "Pong"))
    ///     })
    ///     .bind("127.0.0.1:0")?;
    /// # drop(server);
    /// # Ok::<(), ftp_server::Error>(())
    /// ```
    pub fn site(
        mut self,
        commands: impl Fn(&SiteRequest<'_>) -> Option<Reply> + Send + Sync + 'static,
    ) -> Self {
        self.parts.hooks.site = Some(Arc::new(commands));
        self
    }

    /// Counts the sessions of each user, and the failed logins of each host, across all servers
    /// that share the ledger of `state`. The limits are those of [`ServerConfig`] and of the user.
    /// [`Server::reconfigure`] does not change the ledger.
    pub fn shared_state(mut self, state: SharedState) -> Self {
        self.parts.hooks.shared = Some(state);
        self
    }

    /// Adds an observer. Each event goes to the `log` crate, and then to all observers in the order
    /// in which they were added.
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.parts.hooks.observers.add(Arc::new(observer));
        self
    }

    /// Adds a recorder, which records commands and events for a test.
    pub fn recorder(mut self, recorder: &Recorder) -> Self {
        self.script().recorders.push(recorder.clone());
        self.observer(recorder.clone())
    }

    /// Adds a fault, which the server simulates at the `nth` command with this verb, counted from 1
    /// over all sessions, for a test. If several faults match a command, the first one applies.
    ///
    /// ```
    /// use ftp_server::testing::ProtocolFault;
    /// use ftp_server::{MemoryStorage, Rights, Server, Verb};
    ///
    /// // The first download ends after 1,000 bytes; the second upload is refused with 421.
    /// let server = Server::builder()
    ///     .storage(MemoryStorage::new())
    ///     .user("u", "p", Rights::FULL)
    ///     .fault(Verb::Retr, 1, ProtocolFault::Abort { after: 1_000 })
    ///     .fault(Verb::Stor, 2, ProtocolFault::Close)
    ///     .bind("127.0.0.1:0")?;
    /// # Ok::<(), ftp_server::Error>(())
    /// ```
    pub fn fault(mut self, verb: Verb, nth: u64, fault: ProtocolFault) -> Self {
        self.script().faults.add(verb, nth, fault);
        self
    }

    fn script(&mut self) -> &mut Script {
        let script = self.parts.hooks.script.get_or_insert_default();
        Arc::get_mut(script).expect("the server gets the script only when the builder is done")
    }

    /// Listens on the first of `addresses` that is available, as [`TcpListener::bind`] does, and
    /// starts the server. Also uses the sockets of [`listener`](Self::listener) and the addresses
    /// of [`implicit_tls`](Self::implicit_tls). When this method returns, clients can connect.
    ///
    /// # Errors
    ///
    /// Returns an [`Error`] if the server cannot start; in that case it listens on no address.
    pub fn bind(self, addresses: impl ToSocketAddrs) -> Result<Server, Error> {
        let addresses: Vec<_> = addresses.to_socket_addrs().map_err(Error::Address)?.collect();
        let mut result = Err(no_address());
        for address in addresses {
            result = self.parts.listen(address);
            if result.is_ok() {
                break;
            }
        }
        self.parts.start(vec![result?])
    }

    /// Starts the server on the sockets of [`listener`](Self::listener) and the addresses of
    /// [`implicit_tls`](Self::implicit_tls) only.
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
    /// Returns an [`Error`] if the server cannot start; in that case it listens on no address.
    pub fn start(self) -> Result<Server, Error> {
        self.parts.start(Vec::new())
    }

    /// Listens on all `addresses` and starts the server. `addresses` may be empty if the builder
    /// has another address or socket, from [`implicit_tls`](Self::implicit_tls) or
    /// [`listener`](Self::listener).
    ///
    /// # Errors
    ///
    /// Returns an [`Error`] if the server cannot start; in that case it listens on no address.
    pub fn bind_all(self, addresses: &[SocketAddr]) -> Result<Server, Error> {
        let listeners: Result<Vec<_>, _> =
            addresses.iter().map(|address| self.parts.listen(*address)).collect();
        self.parts.start(listeners?)
    }
}

impl ServerParts {
    fn start(mut self: Box<Self>, plaintext: Vec<TcpListener>) -> Result<Server, Error> {
        let endpoints = self.endpoints(plaintext)?;
        if endpoints.is_empty() {
            return Err(no_address());
        }
        if let Some(act) = self.once_bound.take() {
            act().map_err(Error::OnceBound)?;
        }
        if let Err(error) = random::number() {
            log::error!("the system returns no random numbers: {error}; transfers will fail");
        }
        let admission = admission(&self.config);
        // The threads for handshakes start here, outside of sessions, so they are never confined.
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

    fn listen(&self, address: SocketAddr) -> Result<TcpListener, Error> {
        let socket = socket::bind(address, self.freebind);
        socket.map_err(|source| Error::Bind { address, source })
    }

    /// Binds the addresses with implicit TLS, and returns all listening sockets.
    fn endpoints(&mut self, plaintext: Vec<TcpListener>) -> Result<Vec<Endpoint>, Error> {
        let is_tls = |given: &Endpoint| given.greeting == Greeting::Tls;
        let has_implicit = !self.implicit.is_empty() || self.given.iter().any(is_tls);
        if self.tls.is_none() && has_implicit {
            return Err(Error::NoCertificate);
        }
        let plaintext = plaintext.into_iter();
        let own = |socket, greeting| Endpoint { socket, greeting, is_shared: false };
        let mut endpoints: Vec<_> = plaintext.map(|socket| own(socket, Greeting::Clear)).collect();
        for given in self.given.drain(..) {
            socket::adopt(&given.socket).map_err(Error::Address)?;
            endpoints.push(given);
        }
        for address in &self.implicit {
            endpoints.push(own(self.listen(*address)?, Greeting::Tls));
        }
        Ok(endpoints)
    }

    /// Returns an authenticator for the builder's users, with the builder's storage or root.
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
        let status = local.confinement_status();
        let is_lacking = self.local.confine == ConfinementPolicy::BestEffort && status.is_lacking();
        let level = if is_lacking { log::Level::Warn } else { log::Level::Info };
        log::log!(level, "sessions are confined to {shown} by {status}");
        let all_rights = self.users.iter().map(|user| user.rights).chain(self.anonymous);
        // If no user may upload, there is nothing to sweep.
        if all_rights.into_iter().any(Rights::let_upload) {
            local.start_sweeper().map_err(Error::Thread)?;
        }
        Ok(local)
    }
}

fn no_address() -> Error {
    Error::Address(io::Error::new(io::ErrorKind::InvalidInput, "no address given"))
}

/// Returns the limits on connections. The total limit is the configured limit or the system's
/// limit, whichever is lower.
fn admission(config: &ServerConfig) -> Arc<Admission> {
    let (system_cap, system_reason) = budget::system_cap();
    let wanted = config.limits.sessions;
    let (cap, reason) = match wanted > 0 && wanted < system_cap {
        true => (wanted, "configuration"),
        false => (system_cap, system_reason),
    };
    log::info!(target: "ftp_server::admission", "at most {cap} sessions, limited by {reason}");
    Admission::new(cap, config.limits.per_address)
}

impl std::fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ServerParts { config, users, anonymous, root, local, tls, implicit, .. } = &*self.parts;
        let users: Vec<_> = users.iter().map(|user| ftp_proto::Escaped(&user.name)).collect();
        let mut shown = f.debug_struct("ServerBuilder");
        shown.field("config", config).field("users", &users).field("anonymous", anonymous);
        shown.field("root", root).field("local", local).field("tls", tls);
        shown.field("implicit", implicit).finish_non_exhaustive()
    }
}
