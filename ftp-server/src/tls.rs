//! TLS (RFC 4217), by rustls: what is set about it, and what a control connection needs of it.
//!
//! What is random or slow of a handshake is done by few threads beside those of sessions
//! (`tls/pool.rs`); a session waits for its socket itself, so that a client that stalls keeps
//! nobody but its own session.

mod certificate;
mod connection;
mod handshake;
mod load;
mod pool;
mod resumption;

pub(crate) use self::connection::{Connection, RECORD, size_of_records};
pub(crate) use self::handshake::Handshake;

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use base64ct::{Base64, Encoding};
use ftp_proto::{HostName, Network, TimeVal};
use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ParsedCertificate, ProducesTickets, ResolvesServerCert,
    ServerConfig, StoresServerSessions, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls_pki_types::ServerName;
use sha2::{Digest, Sha256};

use self::certificate::Certificate;
use self::load::Pem;
use self::pool::Pool;
use self::resumption::Resumption;
use crate::data::deadline;
use crate::protection::{
    ClientCertificates, SessionReuse, TlsError, TlsInfo, TlsPolicy, TlsVersion,
};

/// A certificate with its key, and what is asked of the connections that it protects.
///
/// ```no_run
/// use std::path::Path;
///
/// use ftp_server::{Rights, Server, Tls, TlsPolicy};
///
/// let tls = Tls::from_files(Path::new("/etc/ftp/cert.pem"), Path::new("/etc/ftp/key.pem"))?;
/// let server = Server::builder()
///     .root("/srv/ftp")
///     .user("u", "p", Rights::FULL)
///     .tls(tls.control(TlsPolicy::Required).data(TlsPolicy::Required))
///     .bind("0.0.0.0:21")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Tls(Arc<Settings>);

#[derive(Clone)]
struct Settings {
    pair: Arc<CertifiedKey>,
    control: TlsPolicy,
    data: TlsPolicy,
    reuse: SessionReuse,
    allow_missing_close_notify: bool,
    min_version: TlsVersion,
    clients: Option<Arc<dyn ClientCertVerifier>>,
    cert_user: bool,
    exempt: Vec<Network>,
    auth_ssl_alias: bool,
}

impl Tls {
    /// A pair of PEM files: the certificate, with those that lead to its issuer behind it, and its
    /// private key (PKCS #8, PKCS #1 or SEC 1, without a pass phrase). Both may be the same file.
    ///
    /// # Errors
    ///
    /// [`TlsError`] names the file and what is wrong: it cannot be read, is empty, or has no such
    /// thing in it; the key is another one's; the certificate has expired or is not valid yet.
    pub fn from_files(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        Self::new(&Pem::read(certificate)?, &Pem::read(key)?)
    }

    /// As [`from_files`](Self::from_files), with what would be in the files.
    ///
    /// # Errors
    ///
    /// As there; the certificate and the key are called so.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        Self::new(&Pem::given(certificate, "the certificate"), &Pem::given(key, "the key"))
    }

    fn new(certificate: &Pem, key: &Pem) -> Result<Self, TlsError> {
        let pair = Arc::new(load::pair(certificate, key)?);
        Ok(Self(Arc::new(Settings {
            pair,
            control: TlsPolicy::default(),
            data: TlsPolicy::default(),
            reuse: SessionReuse::default(),
            allow_missing_close_notify: false,
            min_version: TlsVersion::V1_2,
            clients: None,
            cert_user: false,
            exempt: Vec::new(),
            auth_ssl_alias: false,
        })))
    }

    /// Whether control connections are protected. [`TlsPolicy::Optional`].
    #[must_use]
    pub fn control(mut self, policy: TlsPolicy) -> Self {
        self.settings().control = policy;
        self
    }

    /// Whether data connections are. [`TlsPolicy::Optional`].
    #[must_use]
    pub fn data(mut self, policy: TlsPolicy) -> Self {
        self.settings().data = policy;
        self
    }

    /// What is asked of the sessions of data connections. [`SessionReuse::Observe`].
    #[must_use]
    pub fn session_reuse(mut self, reuse: SessionReuse) -> Self {
        self.settings().reuse = reuse;
        self
    }

    /// Whether an upload whose TLS ends without a `close_notify` is taken as whole, as old clients
    /// need it. Then one that somebody cut cannot be told from one that is whole. `false`.
    #[must_use]
    pub fn allow_missing_close_notify(mut self, allow: bool) -> Self {
        self.settings().allow_missing_close_notify = allow;
        self
    }

    /// The oldest version that is spoken. [`TlsVersion::V1_2`].
    #[must_use]
    pub fn min_version(mut self, version: TlsVersion) -> Self {
        self.settings().min_version = version;
        self
    }

    /// Asks clients for certificates that lead to one of those in this PEM file.
    ///
    /// # Errors
    ///
    /// [`TlsError`] names the file and what is wrong with it.
    pub fn client_ca_file(
        mut self,
        path: &Path,
        wanted: ClientCertificates,
    ) -> Result<Self, TlsError> {
        let roots = load::roots(&Pem::read(path)?)?;
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
        let verifier = match wanted {
            ClientCertificates::Required => verifier,
            ClientCertificates::Optional => verifier.allow_unauthenticated(),
        };
        let file = path.display().to_string();
        let verifier = verifier.build().map_err(|error| load::unusable(&file, &error))?;
        self.settings().clients = Some(verifier);
        Ok(self)
    }

    /// Whether a login needs a client certificate whose common name or mail address is the argument of
    /// `USER`; others get 530. `false`.
    #[must_use]
    pub fn cert_user(mut self, needed: bool) -> Self {
        self.settings().cert_user = needed;
        self
    }

    /// Networks whose clients may do without TLS though it is required. None.
    #[must_use]
    pub fn exempt(mut self, networks: Vec<Network>) -> Self {
        self.settings().exempt = networks;
        self
    }

    /// Whether `AUTH SSL` and `AUTH TLS-P` of drafts before RFC 4217 are served: as `AUTH TLS`, and
    /// data is protected from the start. `false`: 504.
    #[must_use]
    pub fn auth_ssl_alias(mut self, served: bool) -> Self {
        self.settings().auth_ssl_alias = served;
        self
    }

    /// What clients can pin in place of an issuer: `sha256//` and the digest of the public key in
    /// base64, as curl has it.
    #[must_use]
    pub fn pin(&self) -> String {
        let leaf = self.0.pair.end_entity_cert().and_then(ParsedCertificate::try_from);
        let key = leaf.map(|leaf| leaf.subject_public_key_info().to_vec()).unwrap_or_default();
        format!("sha256//{}", Base64::encode_string(&Sha256::digest(key)))
    }

    /// Until when the certificate is valid, in UTC. `None` if it does not say so in a way that is
    /// understood, as none does that was loaded.
    #[must_use]
    pub fn not_after(&self) -> Option<TimeVal> {
        let leaf = Certificate::parse(self.certificate())?;
        TimeVal::parse(leaf.not_after.trim_end_matches('Z').as_bytes()).ok()
    }

    /// Whether clients that go to this host name or address take the certificate for its own
    /// (RFC 6125): by its alternative names, of which `*.example.org` is for one label.
    #[must_use]
    pub fn is_for(&self, host: &str) -> bool {
        let leaf = self.0.pair.end_entity_cert().and_then(ParsedCertificate::try_from);
        let name = ServerName::try_from(host);
        leaf.is_ok_and(|leaf| name.is_ok_and(|name| verify_server_name(&leaf, &name).is_ok()))
    }

    /// The certificate itself, without those above it, in DER.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        self.0.pair.end_entity_cert().map_or(&[], |leaf| leaf)
    }

    fn settings(&mut self) -> &mut Settings {
        Arc::make_mut(&mut self.0)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { control, data, reuse, min_version, .. } = &*self.0;
        let mut shown = f.debug_struct("Tls");
        shown.field("control", control).field("data", data).field("session_reuse", reuse);
        shown.field("min_version", min_version).field("pin", &self.pin()).finish_non_exhaustive()
    }
}

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
        let versions: &[_] = match settings.0.min_version {
            TlsVersion::V1_2 => &[&TLS13, &TLS12],
            TlsVersion::V1_3 => &[&TLS13],
        };
        let config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .map_err(io::Error::other)?;
        let config = match &settings.0.clients {
            Some(verifier) => config.with_client_cert_verifier(Arc::clone(verifier)),
            None => config.with_no_client_auth(),
        };
        let named = Named::new(Arc::clone(&settings.0.pair));
        let mut config = config.with_cert_resolver(Arc::new(named));
        // Whoever was led here by another protocol does not get any further (CVE-2021-3618).
        config.alpn_protocols = vec![b"ftp".to_vec()];
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
        let deadline = deadline(Instant::now(), limit);
        self.pool.run(deadline, move || acceptor.make())?
    }

    fn make(self: &Arc<Self>) -> io::Result<(Handshake, Secured)> {
        let mut secured = Secured {
            acceptor: Arc::clone(self),
            resumption: None,
            named: Arc::new(Named::new(Arc::clone(&self.settings.0.pair))),
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
        let is_named = |der: &[u8]| Certificate::parse(der).is_some_and(|shown| shown.names(user));
        !self.acceptor.settings.0.cert_user || self.user.as_deref().is_some_and(is_named)
    }

    /// Begins to protect a data connection. An upload brings no tickets: nobody may read them behind
    /// it, and to close with them unread would reset the connection under the data.
    pub(crate) fn protect_data(&self, is_upload: bool) -> io::Result<Handshake> {
        self.begin(if is_upload || self.resumption.is_none() { 0 } else { 2 })
    }

    /// Begins a handshake that ends with so many tickets of TLS 1.3.
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

/// Shows the one certificate, and keeps the name that was asked for.
#[derive(Debug)]
struct Named {
    pair: Arc<CertifiedKey>,
    asked: OnceLock<String>,
}

impl Named {
    const fn new(pair: Arc<CertifiedKey>) -> Self {
        Self { pair, asked: OnceLock::new() }
    }
}

impl ResolvesServerCert for Named {
    fn resolve(&self, client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if let Some(name) = client_hello.server_name() {
            // The first one is that of the control connection.
            let _ = self.asked.set(name.to_owned());
        }
        Some(Arc::clone(&self.pair))
    }
}

/// What the whole process has of it is nobody's choice here.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(ring::default_provider())))
}
