//! A server that runs, whoever wrote it: where it is, who may log in, and the directory it serves;
//! and the place of one that does not.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::time::Duration;

use ftp_server::{Rights, Server, ServerBuilder, ServerConfig};
use socket2::{Domain, Socket, Type};

use crate::names::percent;
use crate::raw::RawSession;
use crate::root::TempRoot;

/// An address that refuses connections for as long as this is held: the port is taken, and nobody
/// listens there.
#[derive(Debug)]
pub struct ClosedPort {
    socket: Socket,
}

impl ClosedPort {
    /// Takes a port.
    #[track_caller]
    #[must_use]
    pub fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        socket.bind(&any.into()).expect("a free port");
        Self { socket }
    }

    /// Where nobody listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        let address = self.socket.local_addr().expect("a bound socket has an address");
        address.as_socket().expect("it is one of IPv4")
    }
}

impl Default for ClosedPort {
    fn default() -> Self {
        Self::new()
    }
}

/// What a client needs to know.
#[derive(Debug)]
pub struct Site {
    /// The directory that is served.
    pub root: TempRoot,
    /// Where the server listens.
    pub address: SocketAddr,
    /// Who may log in, with every right.
    pub user: &'static str,
    /// With this password.
    pub password: &'static str,
}

impl Site {
    /// The URL of a name in the root, login included. The name is one segment.
    #[must_use]
    pub fn url(&self, name: impl AsRef<[u8]>) -> String {
        let (user, password) = (percent(self.user.as_bytes()), percent(self.password.as_bytes()));
        format!("ftp://{user}:{password}@{}/{}", self.address, percent(name.as_ref()))
    }

    /// A session by hand, logged in.
    #[track_caller]
    #[must_use]
    pub fn session(&self) -> RawSession {
        RawSession::login(self.address, self.user, self.password)
    }

    /// Insists that the root holds nothing but `names`, hidden and temporary files included.
    #[track_caller]
    pub fn assert_only(&self, names: &[&[u8]]) {
        let mut want: Vec<_> = names.iter().map(|name| name.to_vec()).collect();
        want.sort();
        let show = |names: &[Vec<u8>]| -> Vec<String> {
            names.iter().map(|name| name.escape_ascii().to_string()).collect()
        };
        assert_eq!(show(&self.root.names()), show(&want), "what the root holds");
    }

    /// Takes away all that the root holds.
    #[track_caller]
    pub fn clear(&self) {
        for name in self.root.names() {
            let path = self.root.join(name);
            let gone =
                if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            gone.unwrap_or_else(|error| panic!("{path:?}: {error}"));
        }
    }
}

/// Our server, embedded in the test, over a temporary directory. It stops when this is dropped.
#[derive(Debug)]
pub struct OurServer {
    // Dropped in this order: the server ends before its directory goes.
    /// The server.
    pub server: Server,
    site: Site,
}

impl OurServer {
    /// With default settings, but that no wrong password is waited for.
    #[track_caller]
    #[must_use]
    pub fn start() -> Self {
        Self::with(ServerConfig::default().with(|config| config.logins.delay = Duration::ZERO))
    }

    /// With these settings.
    #[track_caller]
    #[must_use]
    pub fn with(config: ServerConfig) -> Self {
        Self::built(Server::builder().config(config))
    }

    /// With a builder that is given root, user and address yet.
    #[track_caller]
    #[must_use]
    pub fn built(builder: ServerBuilder) -> Self {
        Self::at(Ipv4Addr::LOCALHOST, builder, Rights::FULL)
    }

    /// On a loopback address, for a user with these rights, with a builder that is given root,
    /// user and address yet.
    #[track_caller]
    #[must_use]
    pub fn at(host: impl Into<std::net::IpAddr>, builder: ServerBuilder, rights: Rights) -> Self {
        let root = TempRoot::new();
        let (user, password) = ("user", "pass word");
        let server = builder
            .root(root.path())
            .user(user, password, rights)
            .bind((host.into(), 0))
            .unwrap_or_else(|error| panic!("our server does not start: {error}"));
        let address = server.local_addr();
        Self { server, site: Site { root, address, user, password } }
    }
}

impl Deref for OurServer {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}
