//! How connections come under TLS: what a server needs for that, and what a control connection
//! shares with its data connections.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use ftp_proto::HostName;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert, ServerConfig,
    StoresServerSessions,
};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};

use super::certificate::Certificate;
use super::connection::Connection;
use super::handshake::Handshake;
use super::policy::{SessionReuse, TlsInfo, TlsPolicy, TlsVersion};
use super::pool::Pool;
use super::resumption::Resumption;
use super::settings::{Identity, Tls};
use crate::deadline;

/// What a server needs to protect connections.
pub(crate) struct Acceptor {
    settings: Tls,
    /// What all connections have in common.
    config: ServerConfig,
    pool: Arc<Pool>,
}

impl Acceptor {
    /// Takes the threads for handshakes over from a former one, if there is one.
    pub(crate) fn new(settings: Tls, former: Option<&Self>) -> io::Result<Self> {
        let pool = match former {
            Some(former) => Arc::clone(&former.pool),
            None => Arc::new(Pool::start()?),
        };
        let mut config = match &settings.0.identity {
            Identity::Pair(pair) => config_of(&settings, Arc::clone(pair))?,
            Identity::Given(config) => (**config).clone(),
        };
        if config.alpn_protocols.is_empty() {
            // A client that was led here by another protocol gets no further (CVE-2021-3618).
            config.alpn_protocols = vec![b"ftp".to_vec()];
        }
        config.max_early_data_size = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self { settings, config, pool })
    }

    /// Whether control connections are protected.
    pub(crate) fn control_policy(&self) -> TlsPolicy {
        self.settings.0.control
    }

    /// Whether data connections are.
    pub(crate) fn data_policy(&self) -> TlsPolicy {
        self.settings.0.data
    }

    pub(crate) fn reuse(&self) -> SessionReuse {
        self.settings.0.reuse
    }

    pub(crate) fn allows_missing_close_notify(&self) -> bool {
        self.settings.0.allow_missing_close_notify
    }

    pub(crate) fn serves_auth_ssl(&self) -> bool {
        self.settings.0.auth_ssl_alias
    }

    /// Whether a login needs a certificate of the user's.
    pub(crate) fn wants_user_certificates(&self) -> bool {
        self.settings.0.cert_user
    }

    /// Whether a client there may do without TLS, whatever is required.
    pub(crate) fn is_exempt(&self, peer: IpAddr) -> bool {
        self.settings.0.exempt.iter().any(|network| network.contains(peer))
    }

    /// Begins to protect a control connection, within `limit`. What that takes is made by the threads for handshakes:
    /// what is freed on the way the C library keeps for the thread that did.
    pub(crate) fn protect_control(
        self: &Arc<Self>,
        limit: Duration,
    ) -> io::Result<(Handshake, Secured)> {
        let acceptor = Arc::clone(self);
        let deadline = deadline::after(Instant::now(), limit);
        self.pool.run(deadline, move || acceptor.make())?
    }

    fn make(self: &Arc<Self>) -> io::Result<(Handshake, Secured)> {
        let mut secured = Secured {
            acceptor: Arc::clone(self),
            resumption: None,
            named: Arc::new(Named::new(Arc::clone(&self.config.cert_resolver))),
            user: None,
            info: None,
        };
        let tickets = match self.reuse() {
            SessionReuse::Off => 0,
            SessionReuse::Observe => 2,
            SessionReuse::Prefer => 8,
            SessionReuse::Require => 64,
        };
        if tickets > 0 {
            secured.resumption = Some(Arc::new(Resumption::new()?));
        }
        Ok((secured.begin(tickets)?, secured))
    }
}

/// The configuration that the settings describe.
fn config_of(settings: &Tls, pair: Arc<CertifiedKey>) -> io::Result<ServerConfig> {
    let versions: &[_] = match settings.0.min_version {
        TlsVersion::V1_2 => &[&TLS13, &TLS12],
        TlsVersion::V1_3 => &[&TLS13],
    };
    let config = ServerConfig::builder_with_provider(Arc::clone(&settings.0.provider))
        .with_protocol_versions(versions)
        .map_err(io::Error::other)?;
    let config = match &settings.0.clients {
        Some(verifier) => config.with_client_cert_verifier(Arc::clone(verifier)),
        None => config.with_no_client_auth(),
    };
    Ok(config.with_cert_resolver(Arc::new(SingleCertAndKey::from(pair))))
}

/// What the data connections of a protected control connection share with it.
pub(crate) struct Secured {
    pub(crate) acceptor: Arc<Acceptor>,
    /// What can be resumed, if anything can.
    resumption: Option<Arc<Resumption>>,
    named: Arc<Named>,
    /// The certificate of the client, if it showed one.
    user: Option<Vec<u8>>,
    info: Option<TlsInfo>,
}

impl Secured {
    /// Takes note of how the control connection came about.
    pub(crate) fn established(&mut self, connection: &Connection) {
        self.info = connection.info();
        self.user = connection.client_certificate();
    }

    /// How the control connection is protected.
    pub(crate) fn info(&self) -> Option<TlsInfo> {
        self.info
    }

    /// The name that the client asked for, if it is one.
    pub(crate) fn server_name(&self) -> Option<HostName> {
        self.named.asked.get().and_then(|name| HostName::parse(name.as_bytes()).ok())
    }

    /// Whether the client may log in as `user`, by its certificate.
    pub(crate) fn may_be(&self, user: &[u8]) -> bool {
        let is_named = |der: &[u8]| Certificate::parse(der).is_ok_and(|shown| shown.names(user));
        !self.acceptor.settings.0.cert_user || self.user.as_deref().is_some_and(is_named)
    }

    /// Begins to protect a data connection. An upload brings no tickets: nobody may read them after
    /// it, and to close with them unread would reset the connection under the data.
    pub(crate) fn protect_data(&self, is_upload: bool) -> io::Result<Handshake> {
        self.begin(if is_upload || self.resumption.is_none() { 0 } else { 2 })
    }

    /// Begins a handshake that ends with this number of tickets of TLS 1.3.
    fn begin(&self, tickets: usize) -> io::Result<Handshake> {
        let mut config = self.acceptor.config.clone();
        config.cert_resolver = Arc::clone(&self.named) as Arc<dyn ResolvesServerCert>;
        if let Some(resumption) = &self.resumption {
            config.ticketer = Arc::clone(resumption) as Arc<dyn ProducesTickets>;
            config.session_storage = Arc::clone(resumption) as Arc<dyn StoresServerSessions>;
        }
        config.send_tls13_tickets = tickets;
        Handshake::new(Arc::new(config), Arc::clone(&self.acceptor.pool))
    }
}

/// Shows the server's certificate, and keeps the name that was asked for.
#[derive(Debug)]
struct Named {
    shown: Arc<dyn ResolvesServerCert>,
    asked: OnceLock<String>,
}

impl Named {
    const fn new(shown: Arc<dyn ResolvesServerCert>) -> Self {
        Self { shown, asked: OnceLock::new() }
    }
}

impl ResolvesServerCert for Named {
    fn resolve(&self, client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if let Some(name) = client_hello.server_name() {
            // The first one is that of the control connection.
            let _ = self.asked.set(name.to_owned());
        }
        self.shown.resolve(client_hello)
    }
}
