//! The state of a session (RFC 959 §4.1). One thread owns it, so there are no locks.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ftp_proto::{
    AsciiDecoder, DeflateLevel, HostName, NetworkProtocol, Password, Pathname, RepresentationType,
    TransferMode,
};

use crate::auth::{
    DirectoryRights, IsClientGone, LocalPaths, Login, Rights, UserSession, all_rights, rights_at,
};
use crate::command::Algorithm;
use crate::config::{NamePattern, ServerConfig};
use crate::context::{Context, Current};
use crate::data::{Blocks, DataChannel, DataPeer, Encoding, Inflating};
use crate::deadline::{Rate, Throttle};
use crate::ledger::Presence;
use crate::listing::FactSelection;
use crate::lock::Lock;
use crate::log::{Event, EventKind, SessionComplaints};
use crate::net::socket::Ends;
use crate::reply::{self, Explanation};
use crate::service::{Away, LateTeller};
use crate::storage::{Capabilities, Storage, Version, VirtualPath};
use crate::tls::{Acceptor, AskedName, Secured, TlsInfo, TlsPolicy, TlsRules};
use crate::{deadline, limits};

/// Everything the server knows about one client. `REIN` and `AUTH` replace whole parts of it: a
/// field that must survive them belongs in [`Peer`].
pub(crate) struct Session {
    /// The context that was current at the greeting, or at the last `REIN`.
    pub(crate) context: Arc<Context>,
    /// The virtual host that `HOST` or the TLS server name chose. `AUTH` keeps it.
    pub(crate) host: Option<HostName>,
    /// TLS state that data connections share with the control connection. `REIN` ends TLS.
    pub(crate) secured: Option<Box<Secured>>,
    pub(crate) peer: Peer,
    pub(crate) login: SessionLogin,
    pub(crate) transfer: TransferState,
}

/// The other end of the control connection, until the connection closes.
pub(crate) struct Peer {
    /// The source of the next context.
    pub(crate) current: Arc<Current>,
    pub(crate) number: u64,
    /// The client's address on the control connection; IPv4-mapped addresses appear as IPv4.
    pub(crate) address: SocketAddr,
    /// Whether the client is unknown, so that `address` is that of the balancer.
    pub(crate) is_unknown: bool,
    /// The address that the client connected to: this server's, or its balancer's.
    pub(crate) reached: SocketAddr,
    /// The server's own address on the control connection.
    pub(crate) local: SocketAddr,
    /// Whether TLS was on from the start.
    pub(crate) is_implicit: bool,
    pub(crate) logged_out_since: Instant,
    pub(crate) login_failures: u32,
    /// Whether `CLNT` was sent.
    pub(crate) is_client_known: bool,
    /// The calls of storages that can wait for long; `None` if the session has had no such storage.
    pub(crate) away: Option<Arc<Away>>,
    pub(crate) complaints: SessionComplaints,
}

#[derive(Default)]
pub(crate) struct SessionLogin {
    pub(crate) access: Access,
    /// During a login, returns whether the client has gone, so that the decision is useless.
    pub(crate) is_client_gone: Option<Box<IsClientGone>>,
    /// Whether observers know that a login was refused because TLS is required.
    pub(crate) has_been_told_of_tls: bool,
    /// Whether a `CWD` without a name was logged, which is done once per login.
    pub(crate) has_named_no_directory: bool,
    /// The current directory.
    pub(crate) directory: VirtualPath,
    /// The path that `RNFR` named.
    pub(crate) rename_from: Option<VirtualPath>,
    /// What replies told the client about paths. `command/unfinished` decides by it whether an upload
    /// can resume.
    pub(crate) heard: Vec<Heard>,
    /// Whether `heard` is incomplete: entries were evicted, or the client learned sizes from a
    /// listing.
    pub(crate) has_forgotten: bool,
    /// The file that the last upload stored.
    pub(crate) stored: Option<VirtualPath>,
    /// The size that the storage has just proved for `stored`, and when. Stale after the next
    /// command.
    pub(crate) proved_size: Option<(u64, Instant)>,
}

/// What a session remembers of one path, until it uploads, renames or removes the file there.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) path: VirtualPath,
    /// What the last reply to `SIZE`, `MLST` or `MDTM` said.
    pub(crate) size: HeardSize,
    pub(crate) has_read: bool,
    /// Whether a `RETR` got 450: the client may compare the old file with its unfinished upload.
    pub(crate) is_warned: bool,
    /// Whether the session has asked for the size, as clients that resume do, and loggers do not.
    pub(crate) has_asked: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum HeardSize {
    Nothing,
    /// `SIZE` told this length of the kept bytes with this number.
    Kept {
        told: u64,
        number: u64,
    },
    /// The size of this version of the file; `None` if the session had just stored it.
    File {
        size: u64,
        version: Option<Version>,
    },
    NoFile,
}

impl Heard {
    /// Returns what a session remembers of a path before it was told anything.
    pub(crate) fn of(path: &VirtualPath) -> Self {
        let path = path.clone();
        Self { path, size: HeardSize::Nothing, has_read: false, is_warned: false, has_asked: false }
    }
}

#[derive(Default)]
pub(crate) struct TransferState {
    /// What `TYPE` set.
    pub(crate) representation: RepresentationType,
    /// What `MODE` set.
    pub(crate) mode: TransferMode,
    /// The level of mode Z that `OPTS MODE Z` chose.
    pub(crate) deflate_level: DeflateLevel,
    /// The facts that `OPTS MLST` chose.
    pub(crate) facts: FactSelection,
    /// The algorithm that `OPTS HASH` chose.
    pub(crate) algorithm: Algorithm,
    /// The data connection that `PASV`, `EPSV`, `PORT` or `EPRT` prepared, or that a transfer in
    /// mode B has left open.
    pub(crate) channel: Option<DataChannel>,
    /// The data connection of a refused transfer, and the longest time to keep it. Closing it while
    /// the client sends, for example in a TLS handshake, would reset it. curl and lftp would then
    /// lose the reply.
    pub(crate) refused: Option<(TcpStream, Duration)>,
    pub(crate) epsv_all: bool,
    /// The offset that `REST` set, in bytes; 0: none.
    pub(crate) restart: u64,
    /// Whether another command has cancelled `REST`: what a client then uploads without a new `REST`
    /// may be the end of a file.
    pub(crate) has_lost_restart: bool,
    /// Whether `PBSZ` was sent, or is not needed after implicit TLS or `AUTH SSL`.
    pub(crate) has_buffer_size: bool,
    /// Whether `PROT P` is in force.
    pub(crate) is_private: bool,
    /// Whether the server begins the handshakes of its data connections (`SSCN ON`).
    pub(crate) begins_handshakes: bool,
}

/// Progress of the login.
#[derive(Default)]
pub(crate) enum Access {
    /// No `USER` yet, or a refused `PASS`.
    #[default]
    Greeted,
    /// `USER` was given.
    Named(Vec<u8>),
    /// `PASS` was correct, and `ACCT` is missing.
    Unaccounted {
        /// The argument of `USER`.
        name: Vec<u8>,
        /// The argument of `PASS`, kept to check the login again once `ACCT` has arrived.
        password: Password,
    },
    User(User),
}

/// A logged-in user.
pub(crate) struct User {
    pub(crate) name: Vec<u8>,
    /// Owner of partial uploads; `None` for a shared login.
    pub(crate) owner: Option<Vec<u8>>,
    pub(crate) storage: Arc<dyn Storage>,
    /// The same storage for another thread of the session; `None` if calls never wait for long.
    pub(crate) remote: Option<Arc<dyn Storage>>,
    pub(crate) rights: Rights,
    /// Rules that give the user other rights in some directories.
    pub(crate) directories: Box<[DirectoryRights]>,
    pub(crate) hide_names: Arc<Vec<NamePattern>>,
    pub(crate) mkdir_existing_ok: bool,
    pub(crate) mkdir_parents: bool,
    /// TLS policy of the user, in addition to the server's.
    pub(crate) tls: TlsPolicy,
    /// Rate limits of uploads.
    pub(crate) up: Throttle,
    /// Rate limits of downloads and listings.
    pub(crate) down: Throttle,
    /// Largest file to store, in bytes; 0 for unlimited.
    pub(crate) file_size: u64,
    /// Idle timeout of the user, if it differs from the server's.
    pub(crate) idle: Option<Duration>,
    /// Whether files may be replaced; `None` if the server's setting applies.
    pub(crate) overwrite: Option<bool>,
    pub(crate) local_paths: Option<Arc<LocalPaths>>,
    /// A guard that counts this session.
    pub(crate) _counted: UserSession,
    /// A guard that counts this session on all servers of the ledger.
    pub(crate) _present: Option<Box<Presence>>,
}

impl User {
    pub(crate) fn new(
        config: &ServerConfig,
        name: Vec<u8>,
        login: Login,
        counted: UserSession,
        present: Option<Box<Presence>>,
    ) -> Self {
        let limits = login.limits;
        let of_session = limits.rate_per_session.unwrap_or(config.limits.rate_per_session);
        let shared = counted.rate();
        let both: Vec<Arc<Rate>> = Rate::new(of_session).into_iter().chain(shared).collect();
        let throttle =
            |rate| Throttle::new(Rate::new(rate).into_iter().chain(both.iter().cloned()));
        Self {
            owner: (!login.is_shared).then(|| login.name.unwrap_or_else(|| name.clone())),
            name,
            storage: login.storage,
            remote: None,
            rights: login.rights,
            directories: login.directories.into(),
            hide_names: login.hide_names,
            mkdir_existing_ok: login.mkdir_existing_ok,
            mkdir_parents: login.mkdir_parents,
            tls: login.tls,
            up: throttle(limits.rate_up),
            down: throttle(limits.rate_down),
            file_size: limits.file_size,
            idle: login.idle,
            overwrite: login.overwrite,
            local_paths: login.local_paths,
            _counted: counted,
            _present: present,
        }
    }

    pub(crate) fn rights_at(&self, path: &VirtualPath) -> Rights {
        rights_at(self.rights, &self.directories, path)
    }
}

impl Peer {
    pub(crate) fn ip(&self) -> IpAddr {
        self.address.ip()
    }

    pub(crate) fn protocol(&self) -> NetworkProtocol {
        NetworkProtocol::of(self.ip())
    }
}

impl TransferState {
    /// Cancels `REST`, and remembers if there was one.
    pub(crate) const fn lose_restart(&mut self) {
        self.has_lost_restart |= self.restart != 0;
        self.restart = 0;
    }

    pub(crate) fn close_open_data(&mut self) {
        self.channel.take_if(|channel| channel.is_open());
    }
}

impl Session {
    pub(crate) fn new(current: Arc<Current>, ends: Ends) -> Self {
        let Ends { peer: address, is_unknown, reached, local } = ends;
        Self {
            context: current.get(),
            host: None,
            secured: None,
            peer: Peer {
                current,
                number: 0,
                address,
                is_unknown,
                reached,
                local,
                is_implicit: false,
                logged_out_since: Instant::now(),
                login_failures: 0,
                is_client_known: false,
                away: None,
                complaints: SessionComplaints::new(address),
            },
            login: SessionLogin::default(),
            transfer: TransferState::default(),
        }
    }

    /// Returns to the state after the greeting, with the current settings and users, and without
    /// TLS. Only the [`Peer`] stays.
    pub(crate) fn reinitialize(&mut self) {
        self.log_out();
        // A new field must be named here.
        let Self { context, host, secured, peer, login: _, transfer: _ } = self;
        *context = peer.current.get();
        (*host, *secured) = (None, None);
    }

    /// Ends the login, and forgets everything that the client has set but the host. If no user was
    /// logged in, the login timeout does not start again.
    ///
    /// `AUTH` forgets all of it because an attacker may have sent it in plaintext (RFC 4217 §4.2).
    pub(crate) fn log_out(&mut self) {
        if self.user().is_some() {
            self.tell(EventKind::LoggedOut);
            self.peer.logged_out_since = Instant::now();
        }
        (self.login, self.transfer) = Default::default();
    }

    /// Lets the TLS server name choose the host. Unlike a `HOST` in plaintext, that name cannot be
    /// changed on the network path (RFC 7151 §3.2.2). If the client sent no name, the host that
    /// `HOST` chose stays.
    pub(crate) fn choose_host_by_tls(&mut self) {
        let chosen = match self.asked_name() {
            AskedName::Missing => return,
            AskedName::Host(asked) if self.host.as_ref() == Some(&asked) => return,
            AskedName::Host(_) | AskedName::Foreign => self.host_by_tls(),
        };
        self.host = chosen;
    }

    /// Returns the configured host whose name is the client's TLS server name, if there is one.
    pub(crate) fn host_by_tls(&self) -> Option<HostName> {
        let AskedName::Host(asked) = self.asked_name() else { return None };
        self.context.config.host(&asked).map(|host| host.name.clone())
    }

    /// Returns the TLS server name that the client sent, or [`AskedName::Missing`] without TLS.
    pub(crate) fn asked_name(&self) -> AskedName {
        self.secured.as_ref().map_or(AskedName::Missing, |secured| secured.server_name())
    }

    /// Records how an upload ended. `proved_size` is the size of the stored file, if the storage has
    /// told it.
    pub(crate) fn end_upload(
        &mut self,
        path: &VirtualPath,
        is_stored: bool,
        proved_size: Option<u64>,
    ) {
        if !is_stored {
            self.context.reads.remove(self.owner(path), path);
        }
        self.login.stored = is_stored.then(|| path.clone());
        let proved_size = proved_size.filter(|_| is_stored);
        self.login.proved_size = proved_size.map(|size| (size, Instant::now()));
    }

    /// Returns the banner of the session's virtual host, or `None` if the server's banner applies.
    pub(crate) fn host_banner(&self) -> Option<&str> {
        self.context.config.host(self.host.as_ref()?)?.banner.as_deref()
    }

    /// Returns the session's host for logs, or `None` on a server without hosts, because any name
    /// is accepted there.
    pub(crate) fn shown_host(&self) -> Option<&HostName> {
        self.host.as_ref().filter(|_| !self.context.config.hosts.is_empty())
    }

    /// Returns whether the client must start TLS before login.
    pub(crate) fn needs_tls(&self) -> bool {
        self.demands(|tls| tls.control) == TlsPolicy::Required
    }

    pub(crate) fn data_policy(&self) -> TlsPolicy {
        let own = self.user().map_or(TlsPolicy::Optional, |user| user.tls);
        match self.demands(|tls| tls.data) {
            // The user's requirement applies, whatever the server's policy is.
            _ if own == TlsPolicy::Required => own,
            TlsPolicy::Optional => own,
            policy => policy,
        }
    }

    fn demands(&self, policy: fn(&TlsRules) -> TlsPolicy) -> TlsPolicy {
        let Some(acceptor) = &self.context.tls else { return TlsPolicy::Off };
        match policy(acceptor.rules()) {
            TlsPolicy::Required if acceptor.rules().is_exempt(self.peer.ip()) => {
                TlsPolicy::Optional
            }
            policy => policy,
        }
    }

    /// Returns the TLS parameters of the control connection, or `None` in plaintext.
    pub(crate) fn tls(&self) -> Option<TlsInfo> {
        self.secured.as_ref().and_then(|secured| secured.info())
    }

    /// Keeps a command line for the recorders of a test, if there are any.
    pub(crate) fn record(&self, line: &[u8]) {
        if let Some(script) = &self.context.script {
            script.hear(self.peer.number, line);
        }
    }

    pub(crate) fn tell(&self, kind: EventKind<'_>) {
        let Explanation { cause, error } = match kind {
            EventKind::Transferred(_) | EventKind::CommandRefused { .. } => {
                reply::take_explanation()
            }
            _ => Explanation::default(),
        };
        let event = Event { cause, error: error.as_deref(), ..self.event(kind) };
        self.context.observers.tell(&event);
    }

    /// Returns an event of this session without an explanation.
    pub(crate) fn event<'a>(&'a self, kind: EventKind<'a>) -> Event<'a> {
        let local_paths = self.user().and_then(|user| user.local_paths.as_deref());
        let user = self.user().map(|user| &*user.name);
        let session = Some(self.peer.number);
        let peer = self.peer.address;
        let tls = self.tls();
        let host = self.shown_host();
        let unsaid = self.unsaid(&kind);
        Event { session, user, tls, host, unsaid, local_paths, ..Event::of_peer(peer, kind) }
    }

    /// Returns [`Event::unsaid`] for an event. Logs leave out frequent refusals, because refusals
    /// cost a client almost nothing and must not fill the disk.
    fn unsaid(&self, kind: &EventKind<'_>) -> Option<u64> {
        const REFUSALS: &str = "refusals";
        let complaints = &self.peer.complaints;
        match kind {
            EventKind::Transferred(transfer) if transfer.is_cheap() => {
                complaints.due(REFUSALS, limits::REFUSAL_LINES)
            }
            EventKind::CommandRefused { .. } => complaints.due(REFUSALS, limits::REFUSAL_LINES),
            EventKind::LoginRefused { .. } => complaints.due("logins", limits::REFUSAL_LINES),
            // The log line for the end of a session gives the number of refusals that were left
            // out.
            EventKind::Ended { .. } => Some(complaints.take_unsaid(REFUSALS)),
            _ => Some(0),
        }
    }

    pub(crate) fn late_teller(&self, user: &User) -> LateTeller {
        LateTeller {
            observers: self.context.observers.clone(),
            session: self.peer.number,
            peer: self.peer.address,
            user: user.name.clone(),
            local_paths: user.local_paths.clone(),
            tls: self.tls(),
            host: self.shown_host().cloned(),
            said: Lock::default(),
        }
    }

    /// Returns the time at which the session ends if no user has logged in by then.
    pub(crate) fn login_deadline(&self) -> Instant {
        deadline::after(self.peer.logged_out_since, self.context.config.timeouts.login)
    }

    /// Resolves a pathname against the current directory.
    pub(crate) fn resolve(&self, path: &Pathname) -> VirtualPath {
        self.login.directory.resolve(path)
    }

    /// Resolves a pathname; `None` is the current directory.
    pub(crate) fn resolve_or_here(&self, path: Option<&Pathname>) -> VirtualPath {
        path.map_or_else(|| self.login.directory.clone(), |path| self.resolve(path))
    }

    pub(crate) fn user(&self) -> Option<&User> {
        match &self.login.access {
            Access::User(user) => Some(user),
            Access::Greeted | Access::Named(_) | Access::Unaccounted { .. } => None,
        }
    }

    /// Returns the encoding of an upload with the current transfer parameters. The data begins at
    /// `offset` in the file.
    pub(crate) fn encoding(&self, offset: u64) -> Encoding {
        let is_ascii = self.transfer.representation == RepresentationType::Ascii;
        let is_deflated = self.transfer.mode == TransferMode::Deflate;
        let is_in_blocks = self.transfer.mode == TransferMode::Block;
        Encoding {
            blocks: is_in_blocks.then(|| Blocks::new(offset)),
            deflate: is_deflated
                .then(|| Box::new(Inflating::new(&self.context.deflating, self.peer.ip()))),
            ascii: is_ascii.then(AsciiDecoder::new),
        }
    }

    pub(crate) fn data_peer(&self) -> DataPeer<'_> {
        let config = &self.context.config;
        let is_private = self.transfer.is_private;
        DataPeer {
            peer: self.peer.address,
            local: self.peer.local,
            balancers: &config.proxy_protocol,
            fxp_networks: if self.may_fxp() { &config.fxp_networks } else { &[] },
            connect: config.timeouts.data_connect,
            handshake: config.timeouts.tls_handshake,
            from_port_below: config.active_source_port,
            secured: self.secured.as_deref().filter(|_| is_private),
            begins_handshake: self.transfer.begins_handshakes,
            resumed: &self.context.register.resumed,
            complaints: &self.peer.complaints,
        }
    }

    pub(crate) fn may_have_data_with(&self, host: IpAddr) -> bool {
        self.data_peer().may_have_data_with(host)
    }

    /// Returns whether the user may have data connections with some hosts other than the client's
    /// own.
    pub(crate) fn may_fxp(&self) -> bool {
        let has_right = self.user().is_some_and(|user| user.rights.contains(Rights::FXP));
        has_right && !self.context.config.fxp_networks.is_empty()
    }

    /// Returns whether users with the right `FXP` can make the server begin TLS handshakes
    /// with other servers.
    pub(crate) fn serves_sscn(&self) -> bool {
        let config = &self.context.config;
        let is_possible =
            |tls: &Arc<Acceptor>| tls.trusts_other_servers() && tls.rules().data != TlsPolicy::Off;
        !config.fxp_networks.is_empty() && self.context.tls.as_ref().is_some_and(is_possible)
    }

    /// Returns the rights and capabilities of the user. Before login, returns the rights and
    /// capabilities that at least one user has.
    pub(crate) fn offer(&self) -> (Rights, Capabilities) {
        match self.user() {
            Some(user) => (all_rights(user.rights, &user.directories), user.storage.capabilities()),
            None => self.context.authenticator.offer(),
        }
    }
}

#[cfg(test)]
mod tests {
    use ftp_proto::Network;

    use super::*;
    use crate::auth::UserTable;
    use crate::net::admission::Admission;
    use crate::storage::LocalStorage;

    /// Returns a session of a user between these addresses.
    fn session(peer: &str, rights: Rights, networks: &[&str]) -> Session {
        let networks = networks.iter().map(|text| Network::parse(text.as_bytes()).unwrap());
        let config = ServerConfig::new().fxp_networks(Vec::from_iter(networks));
        let context = Context::new(config, Arc::new(UserTable::new()), Admission::new(1, 0));
        let peer = SocketAddr::new(peer.parse().unwrap(), 1_024);
        let mut session =
            Session::new(Current::new(context), Ends::direct(peer, ([192, 0, 2, 1], 21).into()));
        let storage = Arc::new(LocalStorage::open(std::env::temp_dir()).unwrap());
        let (config, counted) = (&session.context.config, &session.context.user_sessions);
        let counted = counted.enter(b"u", 0, 0).unwrap();
        let user = User::new(config, b"u".to_vec(), Login::new(storage, rights), counted, None);
        session.login.access = Access::User(user);
        session
    }

    #[test]
    fn permitted_data_addresses_dc_30_dc_31_cm_44_cm_45_hd_03_hd_04() {
        let fxp = Rights::FULL | Rights::FXP;
        let everything = ["0.0.0.0/0", "::/0"];
        for (peer, rights, networks, may, may_not) in [
            // Neither the right nor the network alone is enough.
            (
                "192.0.2.9",
                Rights::FULL,
                &everything[..],
                &["192.0.2.9", "::ffff:192.0.2.9"][..],
                &["192.0.2.8", "10.0.0.1", "::ffff:10.0.0.1", "127.0.0.1", "2001:db8::1"][..],
            ),
            ("192.0.2.9", fxp, &[], &["192.0.2.9"], &["192.0.2.8"]),
            ("192.0.2.9", fxp, &["10.0.0.0/8"], &["192.0.2.9", "10.0.0.1"], &["11.0.0.1"]),
            // Never allowed, whatever the networks are.
            (
                "192.0.2.9",
                fxp,
                &everything[..],
                &["203.0.113.1", "10.0.0.1", "2001:db8::1", "::ffff:10.0.0.1"],
                &[
                    "0.0.0.0",
                    "0.0.0.1",
                    "255.255.255.255",
                    "224.0.0.1",
                    "127.0.0.1",
                    "127.1.2.3",
                    "169.254.1.1",
                    "::",
                    "::1",
                    "ff02::1",
                    "fe80::1",
                    "::ffff:127.0.0.1",
                ],
            ),
            (
                "127.0.0.1",
                fxp,
                &everything[..],
                &["127.0.0.2", "::1", "10.0.0.1"],
                &["169.254.1.1"],
            ),
            ("127.0.0.1", Rights::FULL, &[], &["127.0.0.1"], &["127.0.0.2", "::1"]),
            ("fe80::2", fxp, &everything[..], &["fe80::2"], &["fe80::1", "127.0.0.1"]),
        ] {
            let session = session(peer, rights, networks);
            let may_have = |text: &str| session.may_have_data_with(text.parse().unwrap());
            for host in may {
                assert!(may_have(host), "{host} for {peer} {networks:?}");
            }
            for host in may_not {
                assert!(!may_have(host), "{host} for {peer} {networks:?}");
            }
        }
    }
}
