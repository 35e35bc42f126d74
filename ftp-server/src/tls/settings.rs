//! What is set about TLS.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use base64ct::{Base64, Encoding};
use ftp_proto::{Network, TimeVal};
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ParsedCertificate, ServerConfig, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, ServerName};
use sha2::{Digest, Sha256};

use super::certificate::Certificate;
use super::load::{self, Pem};
use super::policy::{ClientCertificates, SessionReuse, TlsError, TlsPolicy, TlsVersion};
use super::provider::ring;

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
pub struct Tls(pub(super) Arc<Settings>);

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) identity: Identity,
    pub(super) provider: Arc<CryptoProvider>,
    pub(super) control: TlsPolicy,
    pub(super) data: TlsPolicy,
    pub(super) reuse: SessionReuse,
    pub(super) allow_missing_close_notify: bool,
    pub(super) min_version: TlsVersion,
    pub(super) clients: Option<Arc<dyn ClientCertVerifier>>,
    pub(super) cert_user: bool,
    pub(super) exempt: Vec<Network>,
    pub(super) auth_ssl_alias: bool,
}

/// Who the server shows itself as.
#[derive(Clone)]
pub(super) enum Identity {
    /// By this certificate, with all else as the settings say.
    Pair(Arc<CertifiedKey>),
    /// As the embedder's configuration says.
    Given(Arc<ServerConfig>),
}

impl Tls {
    /// A pair of PEM files: the certificate, followed by those that lead to its issuer, and its
    /// private key (PKCS #8, PKCS #1 or SEC 1, without a pass phrase). Both may be the same file.
    ///
    /// # Errors
    ///
    /// [`TlsError`] names the file and what is wrong: it cannot be read, is empty, or has no such
    /// thing in it; the key is another one's; the certificate has expired or is not valid yet.
    pub fn from_files(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        Self::new(&Pem::read(certificate)?, &Pem::read(key)?, ring())
    }

    /// As [`from_files`](Self::from_files), with what would be in the files.
    ///
    /// # Errors
    ///
    /// As there; the certificate and the key are called so.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        Self::from_pem_with_provider(certificate, key, ring())
    }

    /// As [`from_pem`](Self::from_pem), with other cryptography than that of *ring*.
    ///
    /// # Errors
    ///
    /// As there; `Unusable` for a key that the provider cannot use.
    pub fn from_pem_with_provider(
        certificate: &[u8],
        key: &[u8],
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let certificate = Pem::given(certificate, "the certificate");
        Self::new(&certificate, &Pem::given(key, "the key"), provider)
    }

    /// TLS as a configuration of rustls says: its certificates, versions, cipher suites and
    /// verifier of client certificates. [`min_version`](Self::min_version) and
    /// [`client_ca_file`](Self::client_ca_file) change nothing then. Sessions and tickets are
    /// those of [`session_reuse`](Self::session_reuse), since what is resumed tells whose a data
    /// connection is; there is no early data; and a configuration without ALPN gets `ftp`.
    #[must_use]
    pub fn from_config(config: Arc<ServerConfig>) -> Self {
        let provider = Arc::clone(config.crypto_provider());
        Self::of(Identity::Given(config), provider)
    }

    fn new(certificate: &Pem, key: &Pem, provider: Arc<CryptoProvider>) -> Result<Self, TlsError> {
        let pair = load::pair(certificate, key, &provider)?;
        Ok(Self::of(Identity::Pair(Arc::new(pair)), provider))
    }

    fn of(identity: Identity, provider: Arc<CryptoProvider>) -> Self {
        Self(Arc::new(Settings {
            identity,
            provider,
            control: TlsPolicy::default(),
            data: TlsPolicy::default(),
            reuse: SessionReuse::default(),
            allow_missing_close_notify: false,
            min_version: TlsVersion::V1_2,
            clients: None,
            cert_user: false,
            exempt: Vec::new(),
            auth_ssl_alias: false,
        }))
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
        let verifier =
            WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&self.0.provider));
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
    /// base64, as curl has it. `None` for [`from_config`](Self::from_config).
    #[must_use]
    pub fn pin(&self) -> Option<String> {
        let leaf = ParsedCertificate::try_from(self.leaf()?).ok()?;
        let digest = Sha256::digest(&*leaf.subject_public_key_info());
        Some(format!("sha256//{}", Base64::encode_string(&digest)))
    }

    /// Until when the certificate is valid, in UTC. `None` for [`from_config`](Self::from_config).
    #[must_use]
    pub fn not_after(&self) -> Option<TimeVal> {
        Some(Certificate::parse(self.certificate()?).ok()?.not_after)
    }

    /// Whether clients that go to this host name or address take the certificate for its own
    /// (RFC 6125): by its alternative names, of which `*.example.org` is for one label.
    #[must_use]
    pub fn is_for(&self, host: &str) -> bool {
        let leaf = self.leaf().and_then(|leaf| ParsedCertificate::try_from(leaf).ok());
        let name = ServerName::try_from(host);
        leaf.is_some_and(|leaf| name.is_ok_and(|name| verify_server_name(&leaf, &name).is_ok()))
    }

    /// The certificate itself, without those above it, in DER. `None` for
    /// [`from_config`](Self::from_config).
    #[must_use]
    pub fn certificate(&self) -> Option<&[u8]> {
        self.leaf().map(|leaf| &**leaf)
    }

    fn leaf(&self) -> Option<&CertificateDer<'static>> {
        match &self.0.identity {
            Identity::Pair(pair) => pair.cert.first(),
            Identity::Given(_) => None,
        }
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
