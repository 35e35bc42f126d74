//! The running server: start, reconfiguration, shutdown, and the errors of the first two.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::auth::Authenticator;
use crate::config::ServerConfig;
use crate::context::{Context, Current};
use crate::limits;
use crate::lock::Lock;
use crate::net::listener::{self, ListeningSocket};
use crate::service::register::Register;
use crate::service::{Greeting, SessionInfo};
use crate::shares::host_of;
use crate::storage::StorageError;
use crate::tls::{Acceptor, Resumptions, Tls};

/// Time for cut sessions to send a last reply. After that, the server closes their connections, and
/// gives them the same time again to end.
const CUT: Duration = Duration::from_secs(2);

/// A running server. Dropping this value stops the server at once, like `shutdown(Duration::ZERO)`.
#[derive(Debug)]
pub struct Server {
    current: Arc<Current>,
    /// Held while the settings change, so that two changes at once both take effect.
    change: Lock<()>,
    /// The address of the first listener.
    address: SocketAddr,
    listeners: Vec<Listening>,
    /// The thread that moves sessions to new threads.
    relay: Option<JoinHandle<()>>,
}

struct Listening {
    /// `None` once the socket is closed.
    socket: Option<Arc<ListeningSocket>>,
    address: SocketAddr,
    greeting: Greeting,
    thread: Option<JoinHandle<()>>,
}

/// Result of a shutdown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Sessions that ended by themselves: idle ones at once, others after their transfer.
    pub drained: usize,
    /// Sessions that were cut at the deadline, or earlier because their transfer stalled, and that
    /// then ended.
    pub cut: usize,
    /// Sessions that did not end within a few seconds after they were cut. Usually, such a session
    /// waits for a call to a storage or an authenticator; its thread ends when that call returns.
    pub stuck: usize,
    /// Numbers of TLS data connections with and without session resumption.
    pub resumptions: Resumptions,
}

/// A handle that ends the grace period of [`Server::shutdown`] early, from another thread. The
/// handle does not keep the server running.
#[derive(Clone, Debug)]
pub struct ShutdownHandle {
    register: Arc<Register>,
}

pub(crate) struct Endpoint {
    pub(crate) socket: TcpListener,
    pub(crate) greeting: Greeting,
    /// Whether the embedder or another process may hold the socket too.
    pub(crate) is_shared: bool,
}

impl Server {
    /// Starts the server's threads, and accepts connections on all `endpoints`. The builder ensures
    /// that `endpoints` is not empty.
    pub(crate) fn start(context: &Arc<Context>, endpoints: Vec<Endpoint>) -> Result<Self, Error> {
        let first = endpoints.first().expect("the builder refuses to start without an endpoint");
        let address = first.socket.local_addr().map_err(Error::Address)?;
        context.watchdog.start(context.observers.clone()).map_err(Error::Thread)?;
        context.announcer.start().map_err(Error::Thread)?;
        let relay = Some(context.relay.start().map_err(Error::Thread)?);
        let current = Current::new(Arc::clone(context));
        let change = Lock::new(());
        let mut server = Self { current, change, address, listeners: Vec::new(), relay };
        server.warn_of_ports(context);
        for endpoint in endpoints {
            // A failure drops `server`, which stops the threads that it has started.
            let listening = Listening::start(endpoint, &server.current)?;
            let greeting = listening.greeting;
            let how = if greeting == Greeting::Tls { ", with implicit TLS" } else { "" };
            log::info!("listening on {}{how}", listening.address);
            server.listeners.push(listening);
        }
        Ok(server)
    }

    /// Returns the first address that the server listens on. If the given port was 0, the address
    /// has the port that the system chose.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Returns all addresses with a plaintext greeting: first those that the builder bound, then
    /// those of the sockets from [`listener`](crate::ServerBuilder::listener).
    pub fn local_addrs(&self) -> impl Iterator<Item = SocketAddr> {
        self.addresses(Greeting::Clear)
    }

    /// Returns all addresses with [implicit TLS](crate::ServerBuilder::implicit_tls): first those
    /// of the sockets from [`implicit_tls_listener`](crate::ServerBuilder::implicit_tls_listener),
    /// then the others. Each group keeps the order of the builder's calls.
    pub fn implicit_addrs(&self) -> impl Iterator<Item = SocketAddr> {
        self.addresses(Greeting::Tls)
    }

    fn addresses(&self, greeting: Greeting) -> impl Iterator<Item = SocketAddr> {
        let those = self.listeners.iter().filter(move |listening| listening.greeting == greeting);
        those.map(|listening| listening.address)
    }

    /// Returns the connected sessions and their activity, the oldest first. The call costs the
    /// sessions almost nothing.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionInfo> {
        self.current.get().register.who()
    }

    /// Returns how many TLS data connections since the start resumed a TLS session of their control
    /// connection, and how many did not. A shutdown logs these numbers too.
    #[must_use]
    pub fn resumptions(&self) -> Resumptions {
        self.current.get().register.resumed.get()
    }

    /// Returns whether the server accepts connections: each accept loop is running, and has handled
    /// waiting connections since the previous call. Call this method from a watchdog, at intervals
    /// of at least 1 s, so that the loops have time in between. After
    /// [`stop_listening`](Self::stop_listening), it returns `true`, because there is no loop.
    ///
    /// ```
    /// use ftp_server::{MemoryStorage, Rights, Server};
    ///
    /// let server = Server::builder()
    ///     .user("u", "p", Rights::FULL)
    ///     .storage(MemoryStorage::new())
    ///     .bind("127.0.0.1:0")?;
    /// assert!(server.is_accepting());
    /// # Ok::<(), ftp_server::Error>(())
    /// ```
    #[must_use]
    pub fn is_accepting(&self) -> bool {
        // Asks all loops, even after one that does not accept, so that each remembers this call.
        self.listeners.iter().filter(|listening| !listening.is_accepting()).count() == 0
    }

    /// Ends the session with this number as a shutdown at its deadline does: a transfer is cut with
    /// 426, then 421 follows. Returns `false` if there is no such session.
    ///
    /// Does not wait for the end: the session ends as soon as its storage or authenticator returns.
    pub fn kick(&self, number: u64) -> bool {
        self.current.get().register.kick(number)
    }

    /// Ends the session with this number: an idle session gets 421 at once, any other session after
    /// its running command. Returns `false` if there is no such session, or if this method was
    /// already called for it.
    pub fn dismiss(&self, number: u64) -> bool {
        self.current.get().register.dismiss(number)
    }

    /// Ends each session whose login is in progress, with 421 once its authenticator has admitted the
    /// user. Call this after a change of what the authenticator decides by, and before the
    /// [`sessions`](Self::sessions) whose users are no longer admitted are dismissed: an authenticator may
    /// have taken long, and each session that it had admitted before is among them.
    pub fn void_logins(&self) {
        self.current.get().register.void_logins();
    }

    /// Closes the listening sockets. A socket that another process or the embedder also holds stays
    /// open there. Running sessions continue: [`sessions`](Self::sessions) shows when the last one
    /// has ended, and [`shutdown`](Self::shutdown) ends them earlier.
    pub fn stop_listening(&mut self) {
        self.current.get().register.close();
        for listening in &mut self.listeners {
            // The socket is dropped here, so that no client waits on a socket without an accept
            // loop.
            let Some(socket) = listening.socket.take() else { continue };
            socket.close();
            if let Some(thread) = listening.thread.take()
                && thread.join().is_err()
            {
                log::error!("{}: the accept loop panicked", listening.address);
            }
        }
    }

    /// Returns the hosts that this server bans for failed logins, and the remaining time of each
    /// ban. For IPv6, a host is a /64 network.
    #[must_use]
    pub fn bans(&self) -> Vec<(IpAddr, Duration)> {
        self.current.get().bans.list(Instant::now())
    }

    /// Lifts the ban on the host of `address`, and forgets its failed logins. Other servers that
    /// share a ledger keep a ban that they already know of. Returns whether this server banned the
    /// host.
    pub fn unban(&self, address: IpAddr) -> bool {
        let context = self.current.get();
        let was_banned = context.bans.lift(address, Instant::now());
        if was_banned {
            let host = host_of(address);
            context.watchdog.end_bans(|peer| host.contains(peer.ip()));
        }
        was_banned
    }

    /// Changes settings and users for sessions that begin from now on, with a connection or with
    /// `REIN`. Running sessions keep theirs.
    ///
    /// Exceptions: [`strict_crlf`](ServerConfig::strict_crlf) does not change during a connection.
    /// [`sessions`](crate::Limits::sessions) keeps its value from the start.
    /// [`rate_per_user`](crate::Limits::rate_per_user) keeps its old value for a user until all
    /// sessions of that user have ended. If the settings of bans change, existing bans end, and the
    /// new settings apply to all sessions. This method first looks up a new host name for PASV
    /// replies, for a few seconds at most.
    ///
    /// ```
    /// use ftp_server::{Rights, Server, UserTable};
    ///
    /// let root = tempfile::tempdir()?;
    /// let server =
    ///     Server::builder().root(root.path()).user("u", "p", Rights::READ).bind("127.0.0.1:0")?;
    /// let config = server.config().banner("Closed for today");
    /// server.reconfigure(config, UserTable::new())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns [`Error::Thread`] if a thread for lookups cannot be started. The configuration then
    /// stays as it was.
    pub fn reconfigure(
        &self,
        config: ServerConfig,
        authenticator: impl Authenticator + 'static,
    ) -> Result<(), Error> {
        self.change(|former| Ok(former.with(config, Arc::new(authenticator), former.tls.clone())))
    }

    /// Calls [`reconfigure`](Self::reconfigure) and [`set_tls`](Self::set_tls) in one step: no
    /// connection gets old settings with a new certificate, or new settings with an old one.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Thread`] or [`Error::Tls`] if one of the two methods would return it.
    /// Nothing has changed then.
    pub fn reconfigure_with_tls(
        &self,
        config: ServerConfig,
        authenticator: impl Authenticator + 'static,
        tls: Option<Tls>,
    ) -> Result<(), Error> {
        self.change(|former| {
            Ok(former.with(config, Arc::new(authenticator), acceptor(tls, former)?))
        })
    }

    /// Changes or removes TLS for sessions that begin from now on, with a connection or with
    /// `REIN`. Running sessions, and their data connections, keep their TLS settings. Without
    /// TLS, implicit listeners close each connection.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Tls`] if a thread for handshakes cannot be started, or if rustls rejects
    /// the settings. Nothing has changed then.
    pub fn set_tls(&self, tls: Option<Tls>) -> Result<(), Error> {
        self.change(|former| {
            let authenticator = Arc::clone(&former.authenticator);
            Ok(former.with(former.config.clone(), authenticator, acceptor(tls, former)?))
        })
    }

    fn change(
        &self,
        new: impl FnOnce(&Context) -> Result<Arc<Context>, Error>,
    ) -> Result<(), Error> {
        let _alone = self.change.lock();
        let former = self.current.get();
        let context = new(&former)?;
        context.announcer.start().map_err(Error::Thread)?;
        if !Arc::ptr_eq(&context.passive_ports, &former.passive_ports) {
            self.warn_of_ports(&context);
        }
        context.admission.set_per_host(context.config.limits.per_address);
        let ends_bans = !Arc::ptr_eq(&context.bans, &former.bans);
        self.current.set(context);
        if ends_bans {
            former.watchdog.end_bans(|_| true);
        }
        Ok(())
    }

    /// Returns the settings for new sessions.
    #[must_use]
    pub fn config(&self) -> ServerConfig {
        self.current.get().config.clone()
    }

    /// Logs a warning if no passive port is available, before a client needs one.
    fn warn_of_ports(&self, context: &Context) {
        if context.config.passive.ports.is_some()
            && let Err(error) = context.passive_ports.listen(self.address, self.address.ip())
        {
            log::warn!("no passive port is available: {error}");
        }
    }

    /// Returns a handle that can end the grace period of [`shutdown`](Self::shutdown).
    #[must_use]
    pub fn shutdown_handle(&self) -> ShutdownHandle {
        ShutdownHandle { register: Arc::clone(&self.current.get().register) }
    }

    /// Stops the server. The listeners close first, and idle sessions get 421 at once. Transfers
    /// may finish until `deadline` has passed or a [`ShutdownHandle`] acts; then the server cuts
    /// them with 426 and 421. The server cuts a transfer earlier if the client sends or reads no
    /// byte for 5 s, or for [`stall`](crate::Timeouts::stall) if that is less. A socket of
    /// [`listener`](crate::ServerBuilder::listener) that another process holds too stays open
    /// there. Clients can still connect to it, and wait until that process accepts the connection.
    ///
    /// Returns when all sessions have ended, or at the latest a few seconds after the deadline.
    /// Observers have got all events of the sessions that have ended.
    pub fn shutdown(mut self, deadline: Duration) -> ShutdownReport {
        self.stop(deadline)
    }

    fn stop(&mut self, deadline: Duration) -> ShutdownReport {
        let start = Instant::now();
        let register = Arc::clone(&self.current.get().register);
        let before = register.start_draining();
        self.stop_listening();
        // Connections that were accepted in the meantime have become sessions, which must end too.
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
            log::error!("the thread that moves sessions to new threads panicked");
        }
        if let Some(shared) = &self.current.get().shared {
            shared.flush();
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
            log::info!("TLS data connections: {resumed} resumed a session, {missed} did not");
        }
        report
    }
}

impl Listening {
    fn start(endpoint: Endpoint, current: &Arc<Current>) -> Result<Self, Error> {
        let Endpoint { socket, greeting, is_shared } = endpoint;
        let address = socket.local_addr().map_err(Error::Address)?;
        let socket = Arc::new(match is_shared {
            true => ListeningSocket::shared(socket).map_err(Error::Address)?,
            false => ListeningSocket::own(socket),
        });
        let thread = listener::start(Arc::clone(&socket), greeting, Arc::clone(current));
        let thread = Some(thread.map_err(Error::Thread)?);
        Ok(Self { socket: Some(socket), address, greeting, thread })
    }

    fn is_accepting(&self) -> bool {
        let Some(socket) = &self.socket else { return true };
        let runs = self.thread.as_ref().is_some_and(|thread| !thread.is_finished());
        socket.responds() && runs
    }
}

impl ShutdownHandle {
    /// Cuts all sessions of the running shutdown, or of the next one, as if its deadline had
    /// passed. Returns at once. The shutdown still gives sessions a moment to reply, and to keep or
    /// discard received data.
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
    /// let handle = server.shutdown_handle();
    /// let stopping = std::thread::spawn(move || server.shutdown(Duration::from_secs(600)));
    /// handle.cut_short();
    /// stopping.join().expect("no panic");
    /// # Ok::<(), ftp_server::Error>(())
    /// ```
    pub fn cut_short(&self) {
        self.register.hurry();
    }
}

/// Returns an acceptor for `tls` that takes over the handshake threads of `former`, or `None`
/// without TLS.
fn acceptor(tls: Option<Tls>, former: &Context) -> Result<Option<Arc<Acceptor>>, Error> {
    let acceptor = tls.map(|tls| Acceptor::new(tls, former.tls.as_deref())).transpose();
    Ok(acceptor.map_err(Error::Tls)?.map(Arc::new))
}

impl Drop for Server {
    fn drop(&mut self) {
        // Without a relay, `shutdown` has already stopped the server.
        if self.relay.is_some() {
            self.stop(Duration::ZERO);
        }
    }
}

impl std::fmt::Debug for Listening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Listening({})", self.address)
    }
}

/// Reason why a server could not be started or reconfigured. Clients cannot cause this error on a
/// running server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server cannot listen on the address, for example because the address is in use.
    #[error("cannot listen on {address}")]
    Bind {
        /// The requested address.
        address: SocketAddr,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// No address was given, an address cannot be resolved, or a given socket cannot be used.
    #[error("cannot listen on the given addresses")]
    Address(#[source] io::Error),
    /// The directory of [`ServerBuilder::root`](crate::ServerBuilder::root) cannot be opened.
    #[error("cannot open the root directory {root}")]
    Root {
        /// The directory.
        root: String,
        /// The storage's error.
        #[source]
        source: StorageError,
    },
    /// The system lacks a mechanism that
    /// [`ConfinementPolicy::Require`](crate::ConfinementPolicy::Require) needs to confine sessions.
    #[error("cannot confine sessions to {root}")]
    Confinement {
        /// The directory.
        root: String,
        /// The missing mechanism.
        #[source]
        source: StorageError,
    },
    /// The action of [`ServerBuilder::once_bound`](crate::ServerBuilder::once_bound) failed.
    #[error("cannot prepare the server")]
    OnceBound(#[source] io::Error),
    /// The builder has neither a root directory, nor a storage, nor an authenticator.
    #[error("cannot start: no files to serve; set a root directory, a storage or an authenticator")]
    NoStorage,
    /// The builder has a listener for [implicit TLS](crate::ServerBuilder::implicit_tls), but no
    /// [certificate](crate::ServerBuilder::tls).
    #[error("cannot listen with implicit TLS: no certificate")]
    NoCertificate,
    /// A thread for TLS handshakes could not be started, or rustls rejects the TLS settings.
    #[error("cannot prepare TLS handshakes")]
    Tls(#[source] io::Error),
    /// A server thread other than those for TLS handshakes could not be started.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

impl Error {
    /// Returns whether repeating the same call later may succeed. Returns `true` if an
    /// address is in use, if the system lacks descriptors or memory for a listener, or if a thread
    /// could not be started.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Bind { source, .. } => {
                source.kind() == io::ErrorKind::AddrInUse || is_shortage(source)
            }
            Self::Address(source) => is_shortage(source),
            Self::Thread(_) => true,
            // The other errors are those of rustls.
            Self::Tls(source) => source.raw_os_error().is_some(),
            Self::Root { .. }
            | Self::Confinement { .. }
            | Self::OnceBound(_)
            | Self::NoCertificate
            | Self::NoStorage => false,
        }
    }
}

/// Returns whether the system lacked descriptors or memory.
fn is_shortage(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_transient_if_another_process_can_end_it() {
        let bind = |errno: Errno| Error::Bind {
            address: SocketAddr::from(([127, 0, 0, 1], 21)),
            source: errno.into(),
        };
        for (error, want) in [
            (bind(Errno::ADDRINUSE), true),
            (bind(Errno::MFILE), true),
            (bind(Errno::ACCESS), false),
            (Error::Thread(Errno::AGAIN.into()), true),
            (Error::Tls(Errno::AGAIN.into()), true),
            // rustls rejects the settings.
            (Error::Tls(io::Error::other("no cipher suite")), false),
            (Error::Address(io::ErrorKind::InvalidInput.into()), false),
            (Error::Address(Errno::MFILE.into()), true),
            (Error::OnceBound(io::ErrorKind::PermissionDenied.into()), false),
            (Error::NoCertificate, false),
            (Error::NoStorage, false),
        ] {
            assert_eq!(error.is_transient(), want, "{error}");
        }
    }
}

#[cfg(all(test, feature = "tls"))]
mod tests_of_tls {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;
    use crate::log::messages;
    use crate::{MemoryStorage, Rights, Tls};

    #[test]
    fn the_log_names_each_address_and_those_with_implicit_tls() {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = certificate.self_signed(&key).unwrap().pem();
        let tls = Tls::from_pem(certificate.as_bytes(), key.serialize_pem().as_bytes()).unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let builder = Server::builder().storage(MemoryStorage::new()).user("u", "p", Rights::READ);
        let builder = builder.tls(tls).implicit_tls(any);
        let mut server = None;
        let said = messages::of(log::Level::Info, || server = Some(builder.bind(any).unwrap()));
        let server = server.unwrap();
        let implicit = server.addresses(Greeting::Tls).next().unwrap();
        let plain = format!("listening on {}", server.local_addrs().next().unwrap());
        let implicit = format!("listening on {implicit}, with implicit TLS");
        let said: Vec<_> = said.iter().filter(|line| line.starts_with("listening")).collect();
        assert_eq!(said, [&plain, &implicit]);
    }
}
