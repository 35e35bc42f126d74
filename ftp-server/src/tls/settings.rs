//! TLS settings.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use ftp_proto::{HostName, TimeVal};
#[cfg(feature = "self-signed")]
use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ParsedCertificate, ResolvesServerCert, ServerConfig, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls_pki_types::{CertificateDer, ServerName};

use super::load::{self, Certificate, KeyDigest, Pem, Trusted};
use super::policy::{ClientCertificates, TlsError, TlsRules};

/// A certificate with its key, and the TLS settings of a server.
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
    /// Certificates of virtual hosts.
    pub(super) hosts: HashMap<HostName, Arc<dyn ResolvesServerCert>>,
    pub(super) provider: Arc<CryptoProvider>,
    pub(super) rules: TlsRules,
    pub(super) clients: Option<Arc<dyn ClientCertVerifier>>,
    /// Other servers with which this server begins handshakes.
    pub(super) other_servers: Trusted,
}

#[derive(Clone)]
pub(super) enum Identity {
    /// This certificate, used with the other settings.
    Pair(Arc<CertifiedKey>),
    /// The embedder's configuration.
    Given(Arc<ServerConfig>),
}

impl Identity {
    pub(super) fn resolver(&self) -> Arc<dyn ResolvesServerCert> {
        match self {
            Self::Pair(pair) => Arc::new(SingleCertAndKey::from(Arc::clone(pair))),
            Self::Given(config) => Arc::clone(&config.cert_resolver),
        }
    }
}

impl Tls {
    /// Reads a certificate chain and its private key from PEM files, which may be the same file.
    /// The chain begins with the server's certificate; the key is PKCS #8, PKCS #1 or SEC 1,
    /// without a passphrase.
    ///
    /// # Errors
    ///
    /// Returns a [`TlsError`] that names the file if:
    ///
    /// - a file is unreadable, empty or invalid, or lacks a certificate or key;
    /// - the key is encrypted, or belongs to another certificate;
    /// - the certificate has expired or is not valid yet.
    pub fn from_files(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let certificate = Pem::read(certificate)?;
        let tls = Self::new(&certificate, &Pem::read(key)?, ring())?;
        load::check_dates(&certificate)?;
        Ok(tls)
    }

    /// Reads PEM files like [`from_files`](Self::from_files), but also accepts a certificate that
    /// has expired or is not valid yet: for a server that must start although the clock may be
    /// wrong. Clients that verify certificates refuse such a certificate.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`from_files`](Self::from_files), except those about dates.
    pub fn from_files_ignoring_dates(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        Self::new(&Pem::read(certificate)?, &Pem::read(key)?, ring())
    }

    /// Reads a certificate chain and its private key from PEM texts, as
    /// [`from_files`](Self::from_files) does from files.
    ///
    /// # Errors
    ///
    /// Returns an error of [`from_files`](Self::from_files), with `the certificate` or `the key` in
    /// place of the file.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        Self::from_pem_with_provider(certificate, key, ring())
    }

    /// Reads PEM texts like [`from_pem`](Self::from_pem), and uses this cryptographic provider
    /// instead of *ring*.
    ///
    /// # Errors
    ///
    /// Returns an error of [`from_pem`](Self::from_pem), or [`TlsError::Unusable`] if the provider
    /// cannot use the key.
    pub fn from_pem_with_provider(
        certificate: &[u8],
        key: &[u8],
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let certificate = Pem::given(certificate, "the certificate");
        let tls = Self::new(&certificate, &Pem::given(key, "the key"), provider)?;
        load::check_dates(&certificate)?;
        Ok(tls)
    }

    /// Uses a configuration of rustls: its certificates, versions, cipher suites and verifier of
    /// client certificates.
    ///
    /// With it, [`client_ca_file`](Self::client_ca_file) has no effect, and
    /// [`min_version`](Self::min_version) applies only to handshakes that this server begins
    /// ([`sscn_ca_file`](Self::sscn_ca_file)). For session resumption,
    /// [`session_reuse`](Self::session_reuse) overrides the configuration, because resumption
    /// identifies the client of a data connection. Early data is disabled, and a configuration
    /// without ALPN protocols gets `ftp`.
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
            hosts: HashMap::new(),
            provider,
            rules: TlsRules::default(),
            clients: None,
            other_servers: Trusted::default(),
        }))
    }

    /// Adds the certificate of a virtual host, or replaces it. Only the certificate of `identity`
    /// is used: the settings of `self` apply to all hosts.
    ///
    /// The TLS server name of the control connection chooses the host (RFC 6066). Without a server
    /// name, the last `HOST` command before `AUTH` chooses it (RFC 7151). Other clients get the
    /// certificate of `self`. Data connections use the same certificate as their control
    /// connection, whatever name the client sends. The server compares whole names and ignores
    /// case; there are no wildcards.
    ///
    /// [`ServerConfig::hosts`](crate::ServerConfig::hosts) lists the names that `HOST` accepts.
    ///
    /// ```
    /// use ftp_server::{
    ///     HostName, MemoryStorage, Rights, Server, ServerConfig, Tls, VirtualHost,
    /// };
    ///
    /// let identity = |name: &str| -> Result<Tls, Box<dyn std::error::Error>> {
    ///     let made = rcgen::generate_simple_self_signed([name.to_owned()])?;
    ///     Ok(Tls::from_pem(made.cert.pem().as_bytes(), made.signing_key.serialize_pem().as_bytes())?)
    /// };
    /// let name = HostName::parse(b"files.example.org")?;
    /// let tls = identity("ftp.example.org")?
    ///     .host(name.clone(), &identity("files.example.org")?);
    /// let hosts = vec![VirtualHost::new(name).banner("Files of the example")];
    /// let server = Server::builder()
    ///     .storage(MemoryStorage::new())
    ///     .user("u", "p", Rights::FULL)
    ///     .config(ServerConfig::new().hosts(hosts))
    ///     .tls(tls)
    ///     .bind("127.0.0.1:0")?;
    /// # drop(server);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn host(mut self, name: HostName, identity: &Self) -> Self {
        let resolver = identity.0.identity.resolver();
        self.settings().hosts.insert(name, resolver);
        self
    }

    /// Asks clients for certificates that one of the CAs in this PEM file has issued.
    ///
    /// # Errors
    ///
    /// Returns a [`TlsError`] that names the file and the reason if the file cannot be used.
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

    /// Serves `SSCN`, and begins TLS handshakes with servers whose certificate was issued by one of
    /// the CAs in this PEM file.
    ///
    /// After `SSCN ON`, the server is the TLS client of its data connections. A client can then
    /// copy a file between two servers under TLS. The server checks the chain and the dates of the
    /// other server's certificate, but no name, because it knows only an address. If the other
    /// server asks for a certificate, this server shows its own; with
    /// [`from_config`](Self::from_config), it has none to show.
    /// [`session_reuse`](Self::session_reuse) does not apply to these connections.
    ///
    /// `SSCN` also needs TLS on control and data connections,
    /// [`fxp_networks`](crate::ServerConfig::fxp_networks), and the right
    /// [`FXP`](crate::Rights::FXP).
    ///
    /// # Errors
    ///
    /// Returns a [`TlsError`] that names the file and the reason if the file cannot be used.
    pub fn sscn_ca_file(mut self, path: &Path) -> Result<Self, TlsError> {
        let roots = load::roots(&Pem::read(path)?)?;
        self.settings().other_servers.roots = Some(roots);
        Ok(self)
    }

    /// Serves `SSCN`, and begins TLS handshakes with servers that have the key of this
    /// [`pin`](Self::pin), whatever the issuer of their certificate. Several pins can be added; see
    /// [`sscn_ca_file`](Self::sscn_ca_file).
    ///
    /// # Errors
    ///
    /// Returns [`TlsError::Unusable`] if the pin is not `sha256//` and a SHA-256 digest in base64.
    pub fn sscn_pin(mut self, pin: &str) -> Result<Self, TlsError> {
        let key = KeyDigest::parse(pin)
            .ok_or_else(|| load::unusable(pin, &"expected sha256// and 44 characters of base64"))?;
        self.settings().other_servers.keys.push(key);
        Ok(self)
    }

    /// Sets whether to serve `SSCN` and to begin TLS handshakes with any server, whatever
    /// certificate it has (default: `false`). Anyone on the network path between the servers can
    /// then read and change the data. See [`sscn_ca_file`](Self::sscn_ca_file).
    #[must_use]
    pub fn sscn_any(mut self, any: bool) -> Self {
        self.settings().other_servers.anything = any;
        self
    }

    /// Returns the pin for clients: `sha256//` and the SHA-256 digest of the public key in base64,
    /// as in curl. Returns `None` with [`from_config`](Self::from_config).
    #[must_use]
    pub fn pin(&self) -> Option<String> {
        Some(KeyDigest::of(self.leaf()?)?.pin())
    }

    /// Returns the end of the certificate's validity, in UTC. Returns `None` with
    /// [`from_config`](Self::from_config).
    #[must_use]
    pub fn not_after(&self) -> Option<TimeVal> {
        Some(Certificate::parse(self.certificate()?).ok()?.not_after)
    }

    /// Returns whether an alternative name of the certificate matches this host name or address
    /// (RFC 6125). The `*` in `*.example.org` stands for one label. Returns `false` with
    /// [`from_config`](Self::from_config).
    #[must_use]
    pub fn is_for(&self, host: &str) -> bool {
        let leaf = self.leaf().and_then(|leaf| ParsedCertificate::try_from(leaf).ok());
        let name = ServerName::try_from(host);
        leaf.is_some_and(|leaf| name.is_ok_and(|name| verify_server_name(&leaf, &name).is_ok()))
    }

    /// Returns whether the chain contains the certificate of the issuer, or the certificate is
    /// self-signed. Most clients know only root CAs, and refuse a certificate whose issuer is
    /// missing. Returns `true` with [`from_config`](Self::from_config).
    #[must_use]
    pub fn has_issuer(&self) -> bool {
        let Identity::Pair(pair) = &self.0.identity else { return true };
        let mut chain = pair.cert.iter().filter_map(|der| Certificate::parse(der).ok());
        let Some(leaf) = chain.next() else { return true };
        leaf.is_issued_by(&leaf) || chain.any(|issuer| leaf.is_issued_by(&issuer))
    }

    /// Returns the server's certificate in DER, without its chain. Returns `None` with
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

    pub(super) fn rules(&mut self) -> &mut TlsRules {
        &mut self.settings().rules
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TlsRules { control, data, reuse, min_version, .. } = &self.0.rules;
        let mut shown = f.debug_struct("Tls");
        shown.field("control", control).field("data", data).field("session_reuse", reuse);
        shown.field("min_version", min_version).field("pin", &self.pin()).finish_non_exhaustive()
    }
}

/// Returns *ring* as the cryptographic provider, whatever the default of the process is.
pub(crate) fn ring() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(ring::default_provider())))
}

#[cfg(feature = "self-signed")]
impl Tls {
    /// Creates a new key and a self-signed certificate for these host names and IP addresses, valid
    /// until 31 December 9999. Clients that know the [`pin`](Self::pin) of the key accept the
    /// certificate. Each call creates another key. For a permanent server, keep the certificate and
    /// the key in files, and use [`from_files`](Self::from_files).
    ///
    /// Requires the feature `self-signed`.
    ///
    /// ```
    /// use ftp_server::{MemoryStorage, Rights, Server, Tls};
    ///
    /// let tls = Tls::self_signed(["localhost", "127.0.0.1"])?;
    /// let pin = tls.pin().expect("the certificate is known");
    /// let server = Server::builder()
    ///     .storage(MemoryStorage::new())
    ///     .user("u", "p", Rights::FULL)
    ///     .tls(tls)
    ///     .bind("127.0.0.1:0")?;
    /// assert!(pin.starts_with("sha256//"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns [`TlsError::Unusable`] if a name is not ASCII, or if the system returns no random
    /// bytes.
    pub fn self_signed<N: Into<String>>(
        names: impl IntoIterator<Item = N>,
    ) -> Result<Self, TlsError> {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        let pem =
            self_signed_pem(names).map_err(|error| load::unusable("the certificate", &error))?;
        Self::from_pem(pem.as_bytes(), pem.as_bytes())
    }
}

/// Returns a new key and its certificate, as PEM with the key first.
///
/// The certificate is valid from 1970 to 9999-12-31 (compare RFC 5280 §4.1.2.5). Clients trust its
/// key, not a CA, and a device whose clock starts in 1970 must be able to connect.
#[cfg(feature = "self-signed")]
pub(crate) fn self_signed_pem(names: Vec<String>) -> Result<String, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, "ftp-server");
    params.not_before = date_time_ymd(1970, 1, 1);
    params.not_after = date_time_ymd(9999, 12, 31);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok(key.serialize_pem() + &certificate.pem())
}
