//! A session: the state RFC 959 §4.1 speaks of, owned by one thread and so locked by nobody.

mod control;
mod outcome;
mod run;

pub(crate) use outcome::{Outcome, Transfer};
pub(crate) use run::run;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use ftp_proto::{HostName, NetworkProtocol, Password, Pathname, TransferParameters};

use crate::auth::{Offer, Rights};
use crate::context::Context;
use crate::data::DataChannel;
use crate::digest::Algorithm;
use crate::listing::FactSelection;
use crate::presence::Present;
use crate::storage::{Storage, VirtualPath};

/// What the server knows of one client.
pub(crate) struct Session {
    pub(crate) context: Arc<Context>,
    /// Both ends of the control connection; an IPv4-mapped address is written as IPv4.
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
    /// What `HOST` chose.
    pub(crate) host: Option<HostName>,
    pub(crate) access: Access,
    /// Since when there is nobody logged in.
    pub(crate) nobody_since: Instant,
    pub(crate) login_failures: u32,
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
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) rights: Rights,
    /// A directory that is there already was as good as made.
    pub(crate) mkdir_existing_ok: bool,
    /// Counts this session, if users may have only so many.
    pub(crate) _present: Option<Present>,
}

impl Session {
    pub(crate) fn new(context: Arc<Context>, peer: SocketAddr, local: SocketAddr) -> Self {
        Self {
            context,
            peer: canonical(peer),
            local: canonical(local),
            host: None,
            access: Access::Greeted,
            nobody_since: Instant::now(),
            login_failures: 0,
            parameters: TransferParameters::default(),
            facts: FactSelection::default(),
            algorithm: Algorithm::default(),
            directory: VirtualPath::root(),
            channel: None,
            epsv_all: false,
            rename_from: None,
            restart: 0,
        }
    }

    /// Goes back to where the session began; only the failed logins are not forgotten. The time
    /// to log in does not begin anew for those who never have.
    pub(crate) fn reinitialize(&mut self) {
        let new = Self::new(Arc::clone(&self.context), self.peer, self.local);
        let nobody_since = match self.user() {
            Some(_) => new.nobody_since,
            None => self.nobody_since,
        };
        *self = Self { login_failures: self.login_failures, nobody_since, ..new };
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
        let user = self.user().filter(|user| user.rights.contains(rights))?;
        Some(&*user.storage)
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

/// An IPv4-mapped address as the IPv4 address it is; any other as it is, with the scope that a
/// link-local one needs.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        IpAddr::V6(_) => address,
    }
}
