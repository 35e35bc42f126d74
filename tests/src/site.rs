//! A running server of any kind: its address, its user, and the directory it serves.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::ops::Deref;
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, fs};

use ftp_server::{LoginPolicy, PasswordHash, Rights, Server, ServerBuilder, ServerConfig};

use crate::names::percent;
use crate::port::OwnPort;
use crate::process::Running;
use crate::raw::RawSession;
use crate::root::TempRoot;
use crate::wait::wait_until;

/// The facts about a server that a client needs.
#[derive(Debug)]
pub struct Site {
    /// The directory that is served.
    pub root: TempRoot,
    /// The server's address.
    pub address: SocketAddr,
    /// The user, who has every right.
    pub user: &'static str,
    /// The password of that user.
    pub password: &'static str,
}

impl Site {
    /// Returns the URL of a name in the root, including the login. The name is one segment.
    #[must_use]
    pub fn url(&self, name: impl AsRef<[u8]>) -> String {
        let (user, password) = (percent(self.user.as_bytes()), percent(self.password.as_bytes()));
        format!("ftp://{user}:{password}@{}/{}", self.address, percent(name.as_ref()))
    }

    /// Opens a raw session, and logs in.
    #[track_caller]
    #[must_use]
    pub fn session(&self) -> RawSession {
        RawSession::login(self.address, self.user, self.password)
    }

    /// Asserts that the root contains only `names`, including hidden and temporary files.
    #[track_caller]
    pub fn assert_only(&self, names: &[&[u8]]) {
        let mut want: Vec<_> = names.iter().map(|name| name.to_vec()).collect();
        want.sort();
        let show = |names: &[Vec<u8>]| -> Vec<String> {
            names.iter().map(|name| name.escape_ascii().to_string()).collect()
        };
        assert_eq!(show(&self.root.names_without_records()), show(&want), "what the root holds");
    }

    /// Removes everything in the root.
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

/// An embedded server of this project over a temporary directory. It stops on drop.
#[derive(Debug)]
pub struct OurServer {
    // Dropped in this order: the server ends before its directory is removed.
    _gateway: Option<Gateway>,
    /// The server.
    pub server: Server,
    site: Site,
}

/// A gateway that runs as a program.
#[derive(Debug)]
struct Gateway {
    _running: Running,
    port: OwnPort,
    _etc: TempRoot,
}

impl Gateway {
    /// Starts a gateway to a server, if `FTP_GATEWAY` has the path of our program.
    #[track_caller]
    fn to(site: &Site) -> Option<Self> {
        let program = env::var_os("FTP_GATEWAY")?;
        let (port, etc) = (OwnPort::claim(), TempRoot::new());
        let Site { address, user, password, .. } = site;
        let hash = PasswordHash::new(password.as_bytes()).expect("a hash");
        let secret = etc.write("password", password.as_bytes());
        let config = format!(
            "listen.addresses = [\"{}\"]\nlimits.ban_after = 0\n\
             users.{user} = {{ password = \"{hash}\", root = \"store:other\", rights = \"full\" }}\n\
             stores.other = {{ url = \"ftp://{user}@{address}\", password_file = \"{}\" }}\n",
            port.address(),
            secret.display()
        );
        let config = etc.write("gateway.toml", config.as_bytes());
        let mut command = Command::new(program);
        command.arg("serve").arg("--config").arg(config).stdout(Stdio::null());
        let _running = Running::start(command.stderr(Stdio::null()));
        wait_until("the gateway listens", || TcpStream::connect(port.address()).is_ok());
        Some(Self { _running, port, _etc: etc })
    }
}

impl OurServer {
    /// Starts a server with default settings, but without a delay after a wrong password. If the
    /// environment has `FTP_GATEWAY`, its clients use a gateway to it.
    #[track_caller]
    #[must_use]
    pub fn start() -> Self {
        let mut own =
            Self::with(ServerConfig::new().logins(LoginPolicy::new().delay(Duration::ZERO)));
        own._gateway = Gateway::to(&own.site);
        if let Some(gateway) = &own._gateway {
            own.site.address = gateway.port.address();
        }
        own
    }

    /// Starts a server with these settings.
    #[track_caller]
    #[must_use]
    pub fn with(config: ServerConfig) -> Self {
        Self::built(Server::builder().config(config))
    }

    /// Starts a server with a builder that gets root, user and address here.
    #[track_caller]
    #[must_use]
    pub fn built(builder: ServerBuilder) -> Self {
        Self::at(Ipv4Addr::LOCALHOST, builder, Rights::FULL)
    }

    /// Starts a server on a loopback address, for a user with these rights, with a builder that
    /// gets root, user and address here.
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
        Self { _gateway: None, server, site: Site { root, address, user, password } }
    }
}

impl Deref for OurServer {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}
