//! What is set about TLS.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use base64ct::{Base64, Encoding};
use ftp_proto::{Network, TimeVal};
use rustls::client::verify_server_name;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls_pki_types::ServerName;
use sha2::{Digest, Sha256};

use super::certificate::Certificate;
use super::load::{self, Pem};
use super::policy::{ClientCertificates, SessionReuse, TlsError, TlsPolicy, TlsVersion};
use super::provider::provider;

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
    pub(super) pair: Arc<CertifiedKey>,
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
