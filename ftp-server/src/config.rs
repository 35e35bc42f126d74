//! What can be set about a server.

use std::time::Duration;

use ftp_proto::HostName;

use crate::storage::SyncPolicy;

/// The settings of a server that do not concern its users. `Default` gives what is
/// said at each field.
///
/// ```
/// use std::time::Duration;
///
/// use ftp_server::ServerConfig;
///
/// let config = ServerConfig { idle: Duration::from_secs(60), ..ServerConfig::default() };
/// assert_eq!(config.per_address, 0);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerConfig {
    /// The text of the greeting, behind `220 `. `Service ready`: it names neither product nor
    /// version.
    pub banner: String,
    /// How long a session may be connected without being logged in. 60 s.
    pub login: Duration,
    /// How long a session may go without a command. 5 min (RFC 1123 §4.1.3.2).
    pub idle: Duration,
    /// How long a data connection may take to come about once 150 was sent. 30 s.
    pub data_connect: Duration,
    /// How long a transfer may go without one byte moved. 60 s.
    pub stall: Duration,
    /// How many sessions there may be. 0: as many as the system's limits allow, found at start.
    pub sessions: usize,
    /// How many connections one IPv4 address, or one /64 of IPv6, may have; loopback may have
    /// any number. 0: any number.
    pub per_address: usize,
    /// How many sessions one user may have. 0: any number.
    pub per_user: usize,
    /// After how many failed logins a connection is closed. 3.
    pub login_failures: u32,
    /// The virtual hosts that `HOST` may choose (RFC 7151). Which host was chosen the
    /// authenticator is told. None: any name is taken.
    pub hosts: Vec<HostName>,
    /// Whether `PASV` and `EPSV` are served. `true`.
    pub passive: bool,
    /// Whether `PORT` and `EPRT` are served. `true` (RFC 1123 §4.1.2.13).
    pub active: bool,
    /// Whether `STOR` and `RNTO` may replace a file, or a part of it behind `REST`; `APPE` may
    /// add to one in any case. `true`.
    pub overwrite: bool,
    /// How many bytes of a storage that tells its free space are kept free: an upload does not
    /// begin beyond them, `ALLO` refuses to, and `AVBL` leaves them out. 0.
    pub min_free: u64,
    /// What of an upload is on disk when 226 is sent, below a root directory.
    /// [`SyncPolicy::File`].
    pub sync: SyncPolicy,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            banner: "Service ready".to_owned(),
            login: Duration::from_secs(60),
            idle: Duration::from_secs(300),
            data_connect: Duration::from_secs(30),
            stall: Duration::from_secs(60),
            sessions: 0,
            per_address: 0,
            per_user: 0,
            login_failures: 3,
            hosts: Vec::new(),
            passive: true,
            active: true,
            overwrite: true,
            min_free: 0,
            sync: SyncPolicy::File,
        }
    }
}
