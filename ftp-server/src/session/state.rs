//! A session: the state RFC 959 §4.1 speaks of, owned by one thread and so locked by nobody.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use ftp_proto::{
    HostName, NetworkProtocol, Password, Pathname, ProtectionLevel, Reply, TransferParameters,
};

use crate::auth::{Offer, Rights, UserSession};
use crate::context::{Context, Current};
use crate::data::{DataChannel, DataPeer};
use crate::deadline;
use crate::digest::Algorithm;
use crate::limits;
use crate::listing::FactSelection;
use crate::log::{Event, EventKind};
use crate::name_pattern::is_denied;
use crate::net::complaints::SessionComplaints;
use crate::net::socket;
use crate::rate::Throttle;
use crate::reply::{self, Purpose};
use crate::storage::{Storage, StorageError, StorageErrorKind, VirtualPath};
use crate::tls::{Acceptor, Secured, TlsInfo, TlsPolicy};

/// What the server knows of one client.
pub(crate) struct Session {
    /// What it began with, at the greeting or at the last `REIN`.
    pub(crate) context: Arc<Context>,
    /// The state that it begins with again.
    pub(crate) current: Arc<Current>,
    /// Which of all sessions this is.
    pub(crate) number: u64,
    /// Both ends of the control connection; an IPv4-mapped address is written as IPv4.
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
    /// What `HOST` chose.
    pub(crate) host: Option<HostName>,
    pub(crate) access: Access,
    /// Since when there is nobody logged in.
    pub(crate) nobody_since: Instant,
    pub(crate) login_failures: u32,
    /// `CLNT` was given.
    pub(crate) is_client_known: bool,
    /// How often the log was told of what this client can repeat.
    complaints: SessionComplaints,
    pub(crate) parameters: TransferParameters,
    /// What `OPTS MLST` chose.
    pub(crate) facts: FactSelection,
    /// What `OPTS HASH` chose.
    pub(crate) algorithm: Algorithm,
    /// The current directory.
    pub(crate) directory: VirtualPath,
    /// What `PASV`, `EPSV`, `PORT` or `EPRT` prepared.
    pub(crate) channel: Option<DataChannel>,
    /// `EPSV ALL` was given.
    pub(crate) epsv_all: bool,
    /// What `RNFR` named.
    pub(crate) rename_from: Option<VirtualPath>,
    /// What `REST` set, in bytes; 0 is nothing.
    pub(crate) restart: u64,
    /// Cut uploads whose length `SIZE` told, and which `APPE` resumes.
    pub(crate) told: Vec<(VirtualPath, u64)>,
    /// What data connections share with the control connection, if that is under TLS.
    pub(crate) secured: Option<Box<Secured>>,
    /// It was from the start.
    pub(crate) is_implicit: bool,
    /// `PBSZ` was given.
    pub(crate) has_buffer_size: bool,
    /// What `PROT` set.
    pub(crate) protection: ProtectionLevel,
}

/// How far the login has come.
pub(crate) enum Access {
    /// Nothing yet, or a `PASS` that was refused.
    Greeted,
    /// `USER` was given.
    Named(Vec<u8>),
    /// `PASS` was right, and `ACCT` is wanted.
    Unaccounted {
        /// The argument of `USER`.
        name: Vec<u8>,
        /// The argument of `PASS`, with which the login is tried again.
        password: Password,
    },
    /// Logged in.
    User(User),
}

/// Who is logged in.
pub(crate) struct User {
    pub(crate) name: Vec<u8>,
    /// Whose the uploads are; `None` for an identity that many share.
    pub(crate) owner: Option<Vec<u8>>,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) rights: Rights,
    /// A directory that is there already was as good as made.
    pub(crate) mkdir_existing_ok: bool,
    /// Directories that are missing above a file are made with it.
    pub(crate) mkdir_parents: bool,
    /// Whether connections are to be protected, beyond what the server asks for.
    pub(crate) tls: TlsPolicy,
    /// How fast bytes may move.
    pub(crate) throttle: Throttle,
    /// Counts this session, if their number is limited by user.
    pub(crate) _counted: Option<UserSession>,
}

impl Session {
    pub(crate) fn new(current: Arc<Current>, peer: SocketAddr, local: SocketAddr) -> Self {
        Self {
            context: current.get(),
            current,
            number: 0,
            peer: socket::canonical(peer),
            local: socket::canonical(local),
            host: None,
            access: Access::Greeted,
            nobody_since: Instant::now(),
            login_failures: 0,
            is_client_known: false,
            complaints: SessionComplaints::new(socket::canonical(peer)),
            parameters: TransferParameters::default(),
            facts: FactSelection::default(),
            algorithm: Algorithm::default(),
            directory: VirtualPath::root(),
            channel: None,
            epsv_all: false,
            rename_from: None,
            restart: 0,
            told: Vec::new(),
            secured: None,
            is_implicit: false,
            has_buffer_size: false,
            protection: ProtectionLevel::Clear,
        }
    }

    /// Goes back to where a session begins, with the settings and users that there are now; only the
    /// failed logins, and that the client has said its name, are not forgotten. The time to log in
    /// does not begin again for those who never have.
    pub(crate) fn reinitialize(&mut self) {
        let new = Self::new(Arc::clone(&self.current), self.peer, self.local);
        let nobody_since = match self.user() {
            Some(_) => new.nobody_since,
            None => self.nobody_since,
        };
        let Self { number, login_failures, is_client_known, .. } = *self;
        let nobody = SessionComplaints::new(self.peer);
        let complaints = std::mem::replace(&mut self.complaints, nobody);
        *self = Self { number, login_failures, is_client_known, complaints, nobody_since, ..new };
    }

    /// Forgets all that was said in plaintext, where somebody else may have said it, but for the host and
    /// the failed logins (RFC 4217 §4.2).
    pub(crate) fn forget_for_tls(&mut self) {
        let context = Arc::clone(&self.context);
        let host = self.host.take();
        self.reinitialize();
        (self.context, self.host) = (context, host);
    }

    /// Whether the client has to protect the control connection before it logs in.
    pub(crate) fn needs_tls(&self) -> bool {
        self.demands(Acceptor::control_policy) == TlsPolicy::Required
    }

    /// Whether data connections are to be protected.
    pub(crate) fn data_policy(&self) -> TlsPolicy {
        let own = self.user().map_or(TlsPolicy::Optional, |user| user.tls);
        match self.demands(Acceptor::data_policy) {
            // What a user needs holds, whatever the server does for others.
            _ if own == TlsPolicy::Required => own,
            TlsPolicy::Optional => own,
            policy => policy,
        }
    }

    fn demands(&self, policy: fn(&Acceptor) -> TlsPolicy) -> TlsPolicy {
        let Some(acceptor) = &self.context.tls else { return TlsPolicy::Off };
        match policy(acceptor) {
            TlsPolicy::Required if acceptor.is_exempt(self.peer.ip()) => TlsPolicy::Optional,
            policy => policy,
        }
    }

    /// How the control connection is protected, if it is.
    pub(crate) fn tls(&self) -> Option<TlsInfo> {
        self.secured.as_ref().and_then(|secured| secured.info())
    }

    /// Keeps a command line for the recorders of a test, if there are any.
    pub(crate) fn record(&self, line: &[u8]) {
        if let Some(script) = &self.context.script {
            script.hear(self.number, line);
        }
    }

    /// Tells of what happened in this session.
    pub(crate) fn tell(&self, kind: EventKind<'_>) {
        let user = self.user().map(|user| &*user.name);
        let session = Some(self.number);
        let peer = self.peer;
        let tls = self.tls();
        let unsaid = self.unsaid(&kind);
        self.context.observers.tell(&Event { session, peer, user, tls, kind, unsaid });
    }

    /// What [`Event::unsaid`] says of an event: refusals cost a client next to nothing, and must not
    /// fill the disk with lines.
    fn unsaid(&self, kind: &EventKind<'_>) -> Option<u64> {
        const REFUSALS: &str = "refusals";
        let complaints = &self.complaints;
        match kind {
            EventKind::Transferred(transfer) if transfer.is_cheap() => {
                complaints.due(REFUSALS, limits::REFUSAL_LINES)
            }
            EventKind::LoginRefused { .. } => complaints.due("logins", limits::REFUSAL_LINES),
            // The last line of a session says how many were left out at its end.
            EventKind::Ended { .. } => Some(complaints.take_unsaid(REFUSALS)),
            _ => Some(0),
        }
    }

    /// Warns of something that a client can bring about as often as it likes.
    pub(crate) fn warn(&self, kind: &'static str, detail: &dyn std::fmt::Display) {
        self.complaints.warn(kind, detail);
    }

    /// When the session ends if nobody is logged in by then.
    pub(crate) fn login_deadline(&self) -> Instant {
        deadline::after(self.nobody_since, self.context.config.timeouts.login)
    }

    /// Where a pathname of the client's leads.
    pub(crate) fn resolve(&self, path: &Pathname) -> VirtualPath {
        self.directory.resolve(path)
    }

    /// As [`resolve`](Self::resolve); the current directory if there is none.
    pub(crate) fn resolve_or_here(&self, path: Option<&Pathname>) -> VirtualPath {
        path.map_or_else(|| self.directory.clone(), |path| self.resolve(path))
    }

    pub(crate) fn user(&self) -> Option<&User> {
        match &self.access {
            Access::User(user) => Some(user),
            Access::Greeted | Access::Named(_) | Access::Unaccounted { .. } => None,
        }
    }

    /// The storage of the user who is logged in, if that user has all of `rights`.
    pub(crate) fn storage(&self, rights: Rights) -> Option<&dyn Storage> {
        self.shared_storage(rights).map(|storage| &**storage)
    }

    /// As [`storage`](Self::storage), for what outlives a look at the session.
    pub(crate) fn shared_storage(&self, rights: Rights) -> Option<&Arc<dyn Storage>> {
        let user = self.user().filter(|user| user.rights.contains(rights))?;
        Some(&user.storage)
    }

    /// Refuses a name that the configuration says nobody makes. To be asked before the storage,
    /// by whatever makes something.
    pub(crate) fn check_new_name(&self, path: &VirtualPath) -> Result<(), StorageError> {
        let denied = &self.context.config.deny_names;
        match path.name() {
            Some(name) if is_denied(denied, name) => Err(StorageErrorKind::NameNotAllowed.into()),
            _ => Ok(()),
        }
    }

    /// The reply to a command that the storage refused, in the words that this user may hear.
    pub(crate) fn refusal(&self, error: &StorageError, purpose: Purpose) -> Reply {
        match self.user() {
            Some(user) if user.rights.is_drop_box() => reply::blind_failure(error, purpose),
            _ => reply::storage_failure(error, purpose),
        }
    }

    /// Who alone is meant by the uploads of this session, if it is one.
    pub(crate) fn owner(&self) -> Option<&[u8]> {
        self.user().and_then(|user| user.owner.as_deref())
    }

    /// What its data connections have to know of it.
    pub(crate) fn data_peer(&self) -> DataPeer<'_> {
        let config = &self.context.config;
        let is_private = self.protection == ProtectionLevel::Private;
        DataPeer {
            peer: self.peer,
            local: self.local,
            fxp_networks: if self.may_fxp() { &config.fxp_networks } else { &[] },
            connect: config.timeouts.data_connect,
            handshake: config.timeouts.tls_handshake,
            from_port_below: config.active.source_port,
            secured: self.secured.as_deref().filter(|_| is_private),
            resumed: &self.context.register.resumed,
            complaints: &self.complaints,
        }
    }

    /// Whether there may be a data connection with `host`.
    pub(crate) fn may_have_data_with(&self, host: IpAddr) -> bool {
        self.data_peer().may_have_data_with(host)
    }

    /// Whether there may be data connections with any host but the client's own.
    pub(crate) fn may_fxp(&self) -> bool {
        let has_right = self.user().is_some_and(|user| user.rights.contains(Rights::FXP));
        has_right && !self.context.config.fxp_networks.is_empty()
    }

    /// What there is for the user, or for any user as long as nobody is logged in.
    pub(crate) fn offer(&self) -> Offer {
        match self.user() {
            Some(User { storage, rights, .. }) => {
                Offer { rights: *rights, capabilities: storage.capabilities() }
            }
            None => self.context.authenticator.offer(),
        }
    }

    /// The protocol of the control connection.
    pub(crate) fn protocol(&self) -> NetworkProtocol {
        NetworkProtocol::of(self.peer.ip())
    }
}

#[cfg(test)]
mod tests {
    use ftp_proto::Network;

    use super::*;
    use crate::auth::UserTable;
    use crate::config::ServerConfig;
    use crate::net::admission::Admission;
    use crate::storage::LocalStorage;

    /// A session of a user, between these addresses.
    fn session(peer: &str, rights: Rights, networks: &[&str]) -> Session {
        let networks = networks.iter().map(|text| Network::parse(text.as_bytes()).unwrap());
        let config =
            ServerConfig::default().with(|config| config.fxp_networks = networks.collect());
        let context = Context::new(config, Arc::new(UserTable::new()), Admission::new(1, 0));
        let peer = SocketAddr::new(peer.parse().unwrap(), 1_024);
        let mut session = Session::new(Current::new(context), peer, ([192, 0, 2, 1], 21).into());
        let storage = Arc::new(LocalStorage::open(std::env::temp_dir()).unwrap());
        let name = b"u".to_vec();
        let user = User {
            name,
            owner: None,
            storage,
            rights,
            mkdir_existing_ok: false,
            mkdir_parents: false,
            tls: TlsPolicy::default(),
            throttle: Throttle::default(),
            _counted: None,
        };
        session.access = Access::User(user);
        session
    }

    #[test]
    fn data_goes_to_the_client_and_to_nobody_else_dc_30_dc_31_cm_44_cm_45_hd_03_hd_04() {
        let fxp = Rights::FULL | Rights::FXP;
        let everything = ["0.0.0.0/0", "::/0"];
        for (peer, rights, networks, may, may_not) in [
            // Neither the right nor the network is enough.
            (
                "192.0.2.9",
                Rights::FULL,
                &everything[..],
                &["192.0.2.9", "::ffff:192.0.2.9"][..],
                &["192.0.2.8", "10.0.0.1", "::ffff:10.0.0.1", "127.0.0.1", "2001:db8::1"][..],
            ),
            ("192.0.2.9", fxp, &[], &["192.0.2.9"], &["192.0.2.8"]),
            ("192.0.2.9", fxp, &["10.0.0.0/8"], &["192.0.2.9", "10.0.0.1"], &["11.0.0.1"]),
            // What is never meant, whatever the networks say.
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
